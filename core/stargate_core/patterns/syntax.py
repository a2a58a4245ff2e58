r"""The language of patterns: regular expressions without what makes them slow.

Python's `re` backtracks. A pattern like `(a+)+$` takes it longer than the universe has, and whoever writes
the text chooses when; so no pattern of a configuration is ever given to it whole. What is taken here is what
an automaton can do, and all of it costs the same:

    abc  \. \n \t \\          characters                    .            any character, also a line's end
    [a-z] [^0-9] \d \w \s     classes, as in Python         a|b  (a)  (?:a)
    a? a* a+ a{2} a{2,} a{,5} a{2,5}                        (?i) at the beginning: in any case
    \b ^ \A  at the beginning, \b $ \Z  at the end          of the whole pattern only

A lazy `a+?` is the same as `a+`: the longest match counts. Back references, lookarounds and flags within are
refused, with the reason. So is a pattern that would need too many states.

Source: K. Thompson, "Regular Expression Search Algorithm" (1968); V. Glushkov, "The Abstract Theory of
Automata" (1961); https://swtch.com/~rsc/regexp/regexp1.html.
"""

import re
from typing import Final, TypeAlias

import msgspec

PATTERN_CHARS_MAX: Final = 1024
STATES_MAX: Final = 512
"""Of one pattern; each repetition that is counted has its own."""
_GROUPS_MAX: Final = 16
"""Groups within groups."""


class BadPattern(Exception):
    """A pattern that is not of this language; the text says what is wrong, and what to do about it."""


class Chars(msgspec.Struct, frozen=True):
    """One character of a class. source: in `re`'s own words, for one character."""

    source: str


class Chain(msgspec.Struct, frozen=True):
    """One after the other."""

    nodes: tuple["Node", ...]


class Choice(msgspec.Struct, frozen=True):
    """One of them."""

    nodes: tuple["Node", ...]


class Repeat(msgspec.Struct, frozen=True):
    """The same several times. most: None for any number."""

    node: "Node"
    least: int
    most: int | None


Node: TypeAlias = Chars | Chain | Choice | Repeat


class Parsed(msgspec.Struct, frozen=True):
    r"""A pattern, read. `\b`, `^` and `$` are no part of what is found, and stand beside it."""

    node: Node
    ignore_case: bool
    word_before: bool
    word_after: bool
    """`\\b` stands there."""
    at_start: bool
    at_end: bool
    """`^`, `$` stand there."""


def parse(pattern: str) -> Parsed:
    """Read a pattern. Raises BadPattern."""
    if len(pattern) > PATTERN_CHARS_MAX:
        raise BadPattern(f"a pattern has at most {PATTERN_CHARS_MAX} characters")
    ignore_case = pattern.startswith("(?i)")
    body = pattern.removeprefix("(?i)")
    word_before = word_after = at_start = at_end = False
    if body.startswith((r"\b", r"\A")):
        word_before, at_start = body[1] == "b", body[1] == "A"
        body = body[2:]
    elif body.startswith("^"):
        at_start, body = True, body[1:]
    if _ends_with(body, "b") or _ends_with(body, "Z") or _ends_with(body, "z"):
        word_after, at_end = body[-1] == "b", body[-1] != "b"
        body = body[:-2]
    elif body.endswith("$") and not _ends_with(body, "$"):
        at_end, body = True, body[:-1]
    node = _Parser(body).whole()
    states = states_in(node)
    if states > STATES_MAX:
        raise BadPattern(
            f"it needs {states} states, and {STATES_MAX} are the most; write smaller numbers in braces, or +"
        )
    if width_of(node)[0] == 0:
        raise BadPattern("it matches the empty text, and so is found in every text")
    return Parsed(node, ignore_case, word_before, word_after, at_start, at_end)


def _ends_with(body: str, letter: str) -> bool:
    """Whether a body ends in this escape, whose backslash is not itself escaped."""
    slashes = len(body) - 1 - len(body[:-1].rstrip("\\"))
    return body.endswith(letter) and slashes % 2 == 1


def states_in(node: Node) -> int:
    """How many characters a node has, each repetition counted."""
    match node:
        case Chars():
            return 1
        case Repeat(inner, least, most):
            return states_in(inner) * max(1, least if most is None else most)
        case Chain(nodes) | Choice(nodes):
            return sum(states_in(one) for one in nodes)


def width_of(node: Node) -> tuple[int, int | None]:
    """How many characters it matches, at least and at most; None for any number."""
    match node:
        case Chars():
            return 1, 1
        case Repeat(inner, least, most):
            low, high = width_of(inner)
            return low * least, None if most is None or high is None else high * most
        case Chain(nodes):
            widths = [width_of(one) for one in nodes]
            highs = [high for _, high in widths if high is not None]
            return sum(low for low, _ in widths), sum(highs) if len(highs) == len(widths) else None
        case Choice(nodes):
            widths = [width_of(one) for one in nodes]
            highs = [high for _, high in widths if high is not None]
            return min(low for low, _ in widths), max(highs) if len(highs) == len(widths) else None


def tail_of(node: Node) -> str | None:
    """The class of which a match may end in any number of characters; None where it ends otherwise."""
    while isinstance(node, Chain) and node.nodes:
        node = node.nodes[-1]
    if isinstance(node, Repeat) and node.most is None and isinstance(node.node, Chars):
        return node.node.source
    return None


_BRACES: Final = re.compile(r"\{(\d{0,4})(?:(,)(\d{0,4}))?\}")
_CLASSES: Final = "dDwWsS"
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_HEX: Final = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})")
_SET_WORDS: Final = ("--", "&&", "||", "~~")


class _Parser:
    """Reads one pattern from left to right."""

    __slots__ = ("at", "depth", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def whole(self) -> Node:
        node = self._choice()
        if self.at < len(self.text):
            raise BadPattern("a ) closes nothing; write \\) for the character")
        return node

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _choice(self) -> Node:
        nodes = [self._chain()]
        while self._peek() == "|":
            self.at += 1
            nodes.append(self._chain())
        return nodes[0] if len(nodes) == 1 else Choice(tuple(nodes))

    def _chain(self) -> Node:
        nodes: list[Node] = []
        while self._peek() not in ("", "|", ")"):
            nodes.append(self._repeated(self._atom()))
        return nodes[0] if len(nodes) == 1 else Chain(tuple(nodes))

    def _repeated(self, node: Node) -> Node:
        sign = self._peek()
        braces = self._braces()
        if sign and sign in "*+?":
            self.at += 1
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
        elif braces is not None:
            self.at = braces.end()
            least = int(braces[1] or 0)
            most = least if braces[2] is None else int(braces[3]) if braces[3] else None
            if most is not None and most < least:
                raise BadPattern(f"{braces[0]} wants at least more than at most")
        else:
            return node
        if self._peek() == "?":
            self.at += 1
        if self._peek() in ("*", "+") or self._braces() is not None:
            raise BadPattern(f"{self._peek()} repeats a repetition; write a group around what is repeated")
        return Repeat(node, least, most)

    def _braces(self) -> re.Match[str] | None:
        """The count that stands here; other braces are characters."""
        braces = _BRACES.match(self.text, self.at)
        return braces if braces is not None and (braces[1] or braces[3]) else None

    def _atom(self) -> Node:
        sign = self._peek()
        self.at += 1
        match sign:
            case "(":
                return self._group()
            case "[":
                return self._class()
            case "\\":
                return self._escape()
            case ".":
                return Chars(r"[\s\S]")
            case "*" | "+" | "?":
                raise BadPattern(f"{sign} repeats nothing; write \\{sign} for the character")
            case "^" | "$":
                raise BadPattern(
                    f"{sign} may stand at the pattern's end only; write \\{sign} for the character"
                )
            case _:
                return Chars(re.escape(sign))

    def _group(self) -> Node:
        if self._peek() == "?":
            if not self.text.startswith("?:", self.at):
                raise BadPattern(
                    "lookarounds, named groups and flags within are not taken; write (?:…), and (?i) in front"
                )
            self.at += 2
        self.depth += 1
        if self.depth > _GROUPS_MAX:
            raise BadPattern(f"at most {_GROUPS_MAX} groups may stand within each other")
        node = self._choice()
        if self._peek() != ")":
            raise BadPattern("a ( is not closed; write \\( for the character")
        self.at += 1
        self.depth -= 1
        return node

    def _class(self) -> Node:
        begin = self.at - 1
        if self._peek() == "^":
            self.at += 1
        first = self.at
        pieces = [self.text[begin : self.at]]
        while self._peek() and (self._peek() != "]" or self.at == first):
            sign = self._peek()
            pieces.append("\\[" if sign == "[" else sign)
            self.at += 1
            if sign == "\\":
                pieces.append(self._peek())
                self.at += 1
        if not self._peek():
            raise BadPattern("a [ is not closed; write \\[ for the character")
        self.at += 1
        source = "".join(pieces) + "]"
        try:
            if any(word in source for word in _SET_WORDS):
                raise BadPattern(f"{source} has a sign twice, which is kept for sets of classes; escape it")
            re.compile(source)
        except re.error as error:
            raise BadPattern(f"{source} is no class: {error.msg}") from None
        return Chars(source)

    def _escape(self) -> Node:
        sign = self._peek()
        self.at += 1
        code = _HEX.match(self.text, self.at - 1)
        if code is not None:
            self.at = code.end()
            return Chars(re.escape(chr(int(code[1] or code[2], 16))))
        if sign and sign in _CLASSES:
            return Chars("\\" + sign)
        if sign in _ESCAPED:
            return Chars(re.escape(_ESCAPED[sign]))
        if sign in ("b", "A", "Z", "z"):
            raise BadPattern(f"\\{sign} may stand at the pattern's ends only")
        if not sign or sign.isalnum():
            raise BadPattern(f"\\{sign} is not known; back references are not taken")
        return Chars(re.escape(sign))
