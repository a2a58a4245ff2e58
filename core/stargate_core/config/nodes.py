"""YAML as a tree in which every node knows its place.

PyYAML's parser gives events; this module builds the tree from them itself, because the file may come from
anywhere and PyYAML's own tree has no bounds: its composer recurses (deep nesting overflows the stack),
keeps the last of two equal keys, and lets a few nested aliases stand for a billion nodes. So: depth and
number of nodes are bounded, with an alias counting for all it stands for; equal keys are a problem; a tag
that asks for a type of its own is a problem; a key is a scalar and always a text (YAML 1.1 reads the key
`on` as true).

Scalars stay texts here. `resolve` gives one its type, by the core schema of YAML 1.2 (section 10.3.2)
rather than PyYAML's 1.1: `no` and `on` are texts, `1:30` is not ninety, and `012` is twelve.

Anchors and merge keys (`<<`) work, as people use them to write a thing once.
"""

import re
from typing import Any, Final, TypeAlias

import msgspec
import yaml

from stargate_core.config.problems import PROBLEMS_MAX, Path, Place, looks_like_name, quoted

TEXT_CHARS_MAX: Final = 4 << 20
"""A file with 10,000 consumers is 2 MB."""
DEPTH_MAX: Final = 32
NODES_MAX: Final = 500_000
"""Nodes of the tree, each alias counted as what it stands for."""

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_UNPRINTABLE: Final = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What YAML 1.1 (section 5.1) keeps out of a file; PyYAML keeps out the same, and says less about it."""


class Scalar(msgspec.Struct, frozen=True, gc=False):
    """A single value, as text."""

    place: Place
    text: str
    plain: bool
    """Written without quotes, so that its text decides its type."""


class Mapping(msgspec.Struct, frozen=True):
    """Keys and their values, in file order; keys are distinct."""

    place: Place
    entries: list[tuple[Scalar, "Node"]]


class Sequence(msgspec.Struct, frozen=True):
    """A list of values."""

    place: Place
    items: list["Node"]


Node: TypeAlias = Scalar | Mapping | Sequence


class TreeProblem(msgspec.Struct, frozen=True, gc=False):
    """Something wrong with the file as YAML."""

    place: Place
    path: Path
    message: str
    hint: str = ""


class Unreadable(Exception):
    """A file that is no YAML, or more of it than is accepted: nothing else can be said about it."""

    def __init__(self, place: Place, message: str, hint: str = "") -> None:
        self.place: Place = place
        self.message: str = message
        self.hint: str = hint
        super().__init__(message)


_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT: Final = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_FLOAT_CHARS_MAX: Final = 64


def resolve(text: str) -> bool | int | float | str | None:
    """What an unquoted `text` means, by YAML 1.2's core schema; from 19 digits on an integer is a float."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INT.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if len(text) <= _FLOAT_CHARS_MAX and _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


# The C parser is ten times as fast; both give the same events, and a test holds them to it.
LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(text: str, loader: Any = LOADER) -> tuple[Node | None, list[TreeProblem]]:
    """The tree of a file's only document, and what is wrong with it; the tree is None if the file is empty.

    Raises Unreadable if there is no tree to speak of.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > TEXT_CHARS_MAX:
        raise Unreadable(Place(1, 1), f"expected at most {TEXT_CHARS_MAX} characters, found {len(text)}")
    if found := _UNPRINTABLE.search(text):
        place = place_at(text, found.start())
        raise Unreadable(place, f"the character U+{ord(found[0]):04X} may not stand in YAML")
    tree = _Tree()
    try:
        for event in yaml.parse(text, Loader=loader):
            tree.add(event)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # The parser in Python raises a bare ValueError on "\UFFFFFFFF"; there is no place to tell.
        raise Unreadable(Place(1, 1), f"not YAML: {type(error).__name__}") from None
    return tree.root, tree.problems


def place_at(text: str, index: int) -> Place:
    """The place of the character at `index`."""
    return Place(text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


class _Frame:
    """A collection that is still being read."""

    __slots__ = ("anchor", "entries", "height", "items", "key", "merged", "place", "seen", "weight")

    def __init__(self, place: Place, anchor: str | None, is_mapping: bool) -> None:
        self.place = place
        self.anchor = anchor
        self.entries: list[tuple[Scalar, Node]] | None = [] if is_mapping else None
        self.items: list[Node] = []
        self.key: Node | None = None
        """In a mapping: the key whose value comes next."""
        self.seen: dict[str, Place] = {}
        self.merged: list[Mapping] = []
        self.weight = 1
        self.height = 1

    def node(self) -> Node:
        """The finished collection, merge keys resolved: what is written out wins, then the earlier merge."""
        if self.entries is None:
            return Sequence(self.place, self.items)
        for mapping in self.merged:
            for key, value in mapping.entries:
                if key.text not in self.seen:
                    self.seen[key.text] = key.place
                    self.entries.append((key, value))
        return Mapping(self.place, self.entries)


class _Tree:
    """Builds the tree from the parser's events."""

    __slots__ = ("anchors", "count", "problems", "root", "stack")

    def __init__(self) -> None:
        self.root: Node | None = None
        self.problems: list[TreeProblem] = []
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[Node, int, int]] = {}
        """Each anchor's node, how many nodes it stands for, how deep it is."""
        self.count = 0

    def add(self, event: yaml.Event) -> None:
        """Take the parser's next event. Raises Unreadable at a bound."""
        place = _marked(event.start_mark)
        match event:
            case yaml.DocumentStartEvent() if self.root is not None:
                raise Unreadable(place, "expected one document, found a second one after ---")
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._check_tag(event.tag, place)
                if len(self.stack) >= DEPTH_MAX:
                    raise Unreadable(place, f"expected at most {DEPTH_MAX} levels of nesting")
                self.stack.append(_Frame(place, event.anchor, isinstance(event, yaml.MappingStartEvent)))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                frame = self.stack.pop()
                self._attach(frame.node(), frame.place, frame.weight, frame.height, frame.anchor)
            case yaml.ScalarEvent():
                self._check_tag(event.tag, place)
                if _SURROGATE.search(event.value):  # from an escape; the C parser refuses those itself
                    raise Unreadable(place, "half a surrogate pair is no text")
                scalar = Scalar(place, event.value, event.implicit[0] and event.tag is None)
                self._attach(scalar, place, 1, 1, event.anchor)
            case yaml.AliasEvent():
                if event.anchor not in self.anchors:
                    # The name isn't shown: an unquoted secret may begin with an asterisk.
                    hint = "put a text that begins with * in quotes"
                    raise Unreadable(place, "this alias has no anchor before it", hint)
                node, weight, height = self.anchors[event.anchor]
                self._attach(node, place, weight, height, None)
            case _:
                pass

    def _attach(self, node: Node, place: Place, weight: int, height: int, anchor: str | None) -> None:
        """Put a finished node where it belongs."""
        if anchor is not None:
            self.anchors[anchor] = (node, weight, height)
        if len(self.stack) + height > DEPTH_MAX + 1:
            raise Unreadable(place, f"expected at most {DEPTH_MAX} levels of nesting")
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        top.weight += weight
        top.height = max(top.height, height + 1)
        if sum(frame.weight for frame in self.stack) > NODES_MAX:
            raise Unreadable(
                place, f"expected at most {NODES_MAX} values, aliases counted as what they stand for"
            )
        if top.entries is None:
            top.items.append(node)
        elif top.key is None:
            top.key = node
        else:
            key, top.key = top.key, None
            self._enter(top, key, node)

    def _enter(self, top: _Frame, key: Node, value: Node) -> None:
        """Put a key and its value into a mapping, unless the key is wrong."""
        entries = top.entries
        assert entries is not None
        if not isinstance(key, Scalar):
            self._problem(
                key.place,
                f"expected a name as a key, found a {'list' if isinstance(key, Sequence) else 'mapping'}",
            )
        elif key.text in top.seen:
            name = quoted(key.text) if looks_like_name(key.text) else "this key"
            first = top.seen[key.text].line
            self._problem(key.place, f"{name} stands twice in one mapping, first in line {first}")
        elif key.text == "<<" and key.plain:
            top.seen[key.text] = key.place
            merged = value.items if isinstance(value, Sequence) else [value]
            if all(isinstance(node, Mapping) for node in merged):
                top.merged.extend(node for node in merged if isinstance(node, Mapping))
            else:
                self._problem(value.place, "expected a mapping, or a list of them, to merge")
        elif not key.text.strip():
            self._problem(key.place, "expected a name before the colon")
        elif "${" in key.text:
            self._problem(key.place, "variables stand in values only, not in names")
        else:
            top.seen[key.text] = key.place
            entries.append((key, value))

    def _check_tag(self, tag: str | None, place: Place) -> None:
        # Not shown, for the same reason as an alias.
        if tag is not None:
            hint = "put a text that begins with ! in quotes"
            self._problem(place, "expected a plain value, found a tag", hint)

    def _problem(self, place: Place, message: str, hint: str = "") -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(TreeProblem(place, self._path(), message, hint))

    def _path(self) -> Path:
        """The way to the node that is being read, as far as it is known."""
        path: list[str | int] = []
        for frame in self.stack:
            if frame.entries is None:
                path.append(len(frame.items))
            elif isinstance(frame.key, Scalar):
                path.append(frame.key.text)
        return tuple(path)


def _marked(mark: Any) -> Place:
    """A mark of PyYAML's, which counts from 0; the stubs allow for none at all."""
    return Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)


def _within(place: Place, text: str) -> Place:
    """The place, or the text's end: the parser puts what is missing there on a line that there isn't."""
    lines = f"{text}.".splitlines()
    return place if place.line <= len(lines) else Place(len(lines), len(lines[-1]))


_HINTS: Final = (
    ("\\t", "indent with spaces, not tabs"),
    ("mapping values are not allowed", "check the indentation; put a text with ': ' in it in quotes"),
)


def _syntax_error(error: yaml.MarkedYAMLError, text: str) -> Unreadable:
    """What the parser says, with its place, and a hint for what people most often get wrong."""
    place = _within(_marked(error.problem_mark or error.context_mark), text)
    problem = error.problem or error.context or ""
    if "tag handle" in problem:
        problem = "undefined tag handle"  # the handle may be the head of an unquoted secret
    begun = _within(_marked(error.context_mark), text)
    if error.context is not None and begun.line != place.line:
        problem = f"{problem}, {error.context} that begins in line {begun.line}"
    line = "".join(text.split("\n")[place.line - 1 : place.line])
    hint = next((hint for words, hint in _HINTS if words in problem), "")
    if "${" in line and re.search(r"[\[{].*\$\{", line):
        hint = "inside [ ] and { }, put ${…} in quotes"
    elif "\t" in line[: place.column]:
        hint = _HINTS[0][1]
    return Unreadable(place, f"not YAML: {problem}", hint)
