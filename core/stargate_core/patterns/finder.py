"""Finding matches in a text that comes in pieces, and holding back no more than must be.

A match is the leftmost, of those the longest, of those the one whose pattern comes first. Whether there is
one, and where it ends, depends on the text alone and never on how it was cut: at each place where a match may
begin the automaton runs until it dies, or has seen `chars_max` characters. If the text ends first, that place
and all behind it are held back until more has come; all before it is decided. So what is held is at most
`chars_max` characters and one, and mostly nothing, or the last word.

- *What stands beside a match.* A pattern may name the characters that must not stand right before or behind
  it (a digit beside a card's number makes it another number). The one before is remembered when the rest has
  been let go; for the one behind is waited.
- *A check* (Luhn's, say) may say no to a match; then the next shorter one is asked.
- *A tail.* A match that has reached `chars_max` while its pattern would have gone on (a token of thousands of
  characters) is told as found, and what goes on of its last class is swallowed; of a whole text it is told at
  its whole length. Only what is longer than that without a tail can pass, in part.
- *An end.* `final` says that nothing follows.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from stargate_core.patterns.automaton import Automaton, State
from stargate_core.patterns.syntax import (
    BadPattern,
    Chain,
    Chars,
    Choice,
    Node,
    Parsed,
    Repeat,
    tail_of,
    width_of,
)

CHARS_MAX: Final = 256
"""How long a match may be, where its pattern sets no bound."""
_BEGINS_MAX: Final = 4096
_WORD: Final = r"\w"
_ASCII: Final = tuple(map(chr, range(128)))


class Pattern(msgspec.Struct, frozen=True):
    """What to look for."""

    name: str
    parsed: Parsed
    not_before: str = ""
    """A class of characters, as `re` writes it: none of them may stand right before a match."""
    not_behind: str = ""
    check: Callable[[str], bool] | None = None
    """Whether a match is one, whatever it looks like."""
    tail: str = ""
    """What is swallowed behind a match that was cut at its greatest length."""
    hint: str = ""
    """An expression of `re`'s that matches wherever a match begins: of a whole text only such places are
    looked at. It must not backtrack far, nor match another place's beginning with its own.
    """


def pattern_of(name: str, parsed: Parsed) -> Pattern:
    r"""A pattern of a configuration. Raises BadPattern where its `\b` cannot be taken."""
    return Pattern(
        name,
        parsed,
        not_before=_word_edge(parsed, first=True) if parsed.word_before else "",
        not_behind=_word_edge(parsed, first=False) if parsed.word_after else "",
        tail=tail_of(parsed.node) or "",
    )


Put: TypeAlias = Callable[[Pattern, str], str | None]
"""What stands for a match from now on; None: it stays."""
Pieces: TypeAlias = list[tuple[str, str | None]]
"""A text, piece by piece: what it was, and what stands for it now; None: itself."""


class Finder:
    """Looks for patterns, all at once. chars_max: the longest match, where patterns set no bound."""

    def __init__(self, patterns: Sequence[Pattern], chars_max: int = CHARS_MAX) -> None:
        assert patterns, "nothing to look for"
        self.patterns = tuple(patterns)
        widths = [width_of(pattern.parsed.node)[1] for pattern in patterns]
        self.chars_max = max(chars_max if width is None else min(width, chars_max) for width in widths)
        self.automaton = Automaton(
            [pattern.parsed.node for pattern in patterns],
            [pattern.parsed.ignore_case for pattern in patterns],
        )
        self._befores = [_class(pattern.not_before, pattern.parsed.ignore_case) for pattern in patterns]
        self.behinds = [_class(pattern.not_behind, pattern.parsed.ignore_case) for pattern in patterns]
        self.tails = [_class(pattern.tail, pattern.parsed.ignore_case) for pattern in patterns]
        self.candidates = re.compile("|".join([_beginning(pattern) for pattern in patterns]))
        """Where matches may begin."""
        self._hints = [re.compile(pattern.hint or _beginning(pattern)) for pattern in patterns]
        self._begins: dict[str, State] = {}

    def cursor(self, *, strict: bool = False) -> "Cursor":
        """One text, from its beginning."""
        return Cursor(self, strict=strict)

    def replaced(self, text: str, put: Put) -> str:
        """A whole text, with something else for its matches; itself where it has none."""
        return joined(Cursor(self).feed(text, put, final=True))

    def finds(self, text: str) -> str | None:
        """The name of the first pattern of which a text has a match; None: it has none."""
        found: list[str] = []

        def note(pattern: Pattern, _: str) -> None:
            found.append(pattern.name)

        Cursor(self).feed(text, note, final=True)
        return found[0] if found else None

    def places(self, text: str) -> list[int]:
        """Where in a whole text matches may begin, the last place first."""
        found = {place.start() for hint in self._hints for place in hint.finditer(text)}
        return sorted(found, reverse=True)

    def begin(self, before: str) -> State:
        """The automaton where a match may begin. before: the character before that; '' for none."""
        state = self._begins.get(before)
        if state is None:
            allowed = 0
            for number, pattern in enumerate(self.patterns):
                test = self._befores[number]
                if before and ((test is not None and test.match(before)) or pattern.parsed.at_start):
                    continue
                allowed |= 1 << number
            if len(self._begins) >= _BEGINS_MAX:
                self._begins.clear()
            state = self._begins[before] = self.automaton.begin(allowed)
        return state


class Cursor:
    """One text that comes in pieces. strict: a match with a part of a word or number beside it is none."""

    __slots__ = ("_before", "_finder", "_held", "_strict", "_swallowing")

    def __init__(self, finder: Finder, *, strict: bool = False) -> None:
        self._finder = finder
        self._strict = strict
        self._held = ""
        self._before = ""
        """The last character that was let go."""
        self._swallowing: re.Pattern[str] | None = None

    @property
    def held(self) -> int:
        """How many characters wait for what comes next."""
        return len(self._held)

    def feed(self, text: str, put: Put, *, final: bool = False) -> Pieces:
        """More of the text; what is decided by it. final: nothing follows."""
        pieces: Pieces = []
        text = self._held + text
        finder = self._finder
        at = kept_from = self._swallow(text, pieces)
        whole = final and not self._held and not self._before
        places = finder.places(text) if whole else None
        decided = len(text)
        # The character before stands in front, so that what must not stand there is seen.
        shown, shift = (self._before + text, 1) if self._before and not at else (text, 0)
        while True:
            if places is None:
                candidate = finder.candidates.search(shown, at + shift)
                if candidate is None:
                    break
                at = candidate.start() - shift
            else:
                while places and places[-1] < at:
                    places.pop()
                if not places:
                    break
                at = places.pop()
            found = self._attempt(text, at, final=final)
            if found is None:
                at += 1
                continue
            number, end = found
            if number < 0:
                decided = at
                break
            if whole and self._swallowing is not None:
                end += self._swallow(text[end:], [])  # The match is told as long as it is.
                self._swallowing = None
            instead = put(finder.patterns[number], text[at:end])
            if kept_from < at:
                pieces.append((text[kept_from:at], None))
            pieces.append((text[at:end], instead))
            if instead is None:
                self._swallowing = None
            at = kept_from = end + self._swallow(text[end:], pieces)
        if kept_from < decided:
            pieces.append((text[kept_from:decided], None))
        if decided:
            self._before = text[decided - 1]
        self._held = text[decided:]
        return pieces

    def _swallow(self, text: str, pieces: Pieces) -> int:
        """How much of a text goes on with a match that was cut."""
        tail = self._swallowing
        if tail is None or not text:
            return 0
        end = 0
        while end < len(text) and tail.match(text[end]) is not None:
            end += 1
        if end < len(text):
            self._swallowing = None
        if end:
            pieces.append((text[:end], ""))
        return end

    def _attempt(self, text: str, at: int, *, final: bool) -> tuple[int, int] | None:
        """The match that begins here, as the number of its pattern and its end; None: there is none; -1 for
        the number: that cannot be said yet.
        """
        finder = self._finder
        before = text[at - 1] if at else self._before
        if self._strict and before and _PART.match(before) is not None:
            return None
        state = finder.begin(before)
        ends: list[tuple[int, tuple[int, ...]]] = []
        end, most = at, at + finder.chars_max
        for character in text[at:most]:
            state = state[character]
            if not state.positions:
                break
            end += 1
            if state.accepts:
                ends.append((end, state.accepts))
        alive = end - at > 0 and bool(state.positions)
        if alive and end == len(text) and end < most and not final:
            return -1, end
        while ends:
            end, accepts = ends.pop()
            for number in accepts:
                verdict = self._verdict(text, at, end, number, final=final)
                if verdict is None:
                    return -1, end
                if verdict:
                    if end == most and finder.tails[number] is not None:
                        self._swallowing = finder.tails[number]
                    return number, end
        return None

    def _verdict(self, text: str, at: int, end: int, number: int, *, final: bool) -> bool | None:
        """Whether a match of this pattern is one; None: what comes next says it."""
        finder = self._finder
        pattern, behind = finder.patterns[number], finder.behinds[number]
        cut = end - at == finder.chars_max and finder.tails[number] is not None
        if (behind is not None and not cut) or pattern.parsed.at_end or self._strict:
            if end < len(text):
                follows = text[end]
                if pattern.parsed.at_end or (behind is not None and not cut and behind.match(follows)):
                    return False
                if self._strict and _PART.match(follows) is not None:
                    return False
            elif not final:
                return None
        return pattern.check is None or pattern.check(text[at:end])


def joined(pieces: Pieces) -> str:
    """A text as it is now."""
    return "".join([was if instead is None else instead for was, instead in pieces])


_PART: Final = re.compile(r"[\w.+-]")


def _class(source: str, ignore_case: bool) -> re.Pattern[str] | None:
    return re.compile(source, re.IGNORECASE if ignore_case else 0) if source else None


def _beginning(pattern: Pattern) -> str:
    """An expression for where a match may begin: its first character, and what is not before it."""
    firsts = "|".join(dict.fromkeys(_firsts(pattern.parsed.node)))
    look = f"(?<!{pattern.not_before})" if pattern.not_before else ""
    flags = "(?i:" if pattern.parsed.ignore_case else "(?:"
    return f"{look}{flags}{firsts})"


def _firsts(node: Node) -> list[str]:
    """The classes of the characters that a match may begin with."""
    match node:
        case Chars(source):
            return [source]
        case Repeat(inner, _, _):
            return _firsts(inner)
        case Choice(nodes):
            return [source for one in nodes for source in _firsts(one)]
        case Chain(nodes):
            found: list[str] = []
            for one in nodes:
                found += _firsts(one)
                if width_of(one)[0]:
                    break
            return found


def _reversed(node: Node) -> Node:
    match node:
        case Chars():
            return node
        case Repeat(inner, least, most):
            return Repeat(_reversed(inner), least, most)
        case Choice(nodes):
            return Choice(tuple(_reversed(one) for one in nodes))
        case Chain(nodes):
            return Chain(tuple(_reversed(one) for one in reversed(nodes)))


def _word_edge(parsed: Parsed, *, first: bool) -> str:
    r"""The class that may not stand beyond a `\b`: of words, if the pattern begins (ends) in a word."""
    tests = [re.compile(source) for source in _firsts(parsed.node if first else _reversed(parsed.node))]
    word = re.compile(_WORD)
    kinds = {
        word.match(character) is not None
        for character in _ASCII
        if any(test.match(character) is not None for test in tests)
    }
    if kinds == {True}:
        return r"\w"
    if kinds == {False}:
        raise BadPattern(r"\b is taken beside a letter, digit or _ only; leave it out beside other signs")
    raise BadPattern(
        r"\b stands beside what may be a letter or not; leave it out, or write the class exactly"
    )
