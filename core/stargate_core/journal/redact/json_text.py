"""JSON, redacted where it stands: the same tokens in the same places, with other words in them.

It is not decoded and encoded again, for then a length would depend on how somebody spells a blank or an
escape. It is read token by token, and what is broken or cut off is read as far as it goes: a caller's mistake
is a caller's mistake afterwards too, at the same place.

Where in a document one stands decides what is a word:

- *Known*: the APIs' own structure. Members that the gateway knows stay, choices stay, numbers stay.
- *Open*: what people have made: a tool's input, metadata, whatever is below a member that is not known. Names
  are words, and numbers have other digits.
- *Schema*: JSON Schema's own names stay; those of properties are words, and what values may be is.

A name and a text are redacted by one rule, so what a schema requires is what its properties are called. A
text that is JSON itself is redacted as open JSON.

JSON also comes in pieces, as the texts of a stream's events. `Fragments` puts those of one block together,
has them redacted as what they are, and cuts the result where life has cut.
"""

import enum
import re
from collections.abc import Iterator
from typing import Final, TypeAlias

from stargate_core.journal.redact.vocabulary import (
    BASE64,
    CHOICES,
    FRAGMENTS,
    KEYWORDS,
    MESSAGES,
    NAMED,
    OPEN,
    PROPERTIES,
    SCHEMAS,
    TELLING,
    TYPES,
    VALUES,
    VECTORS,
    WORDS,
)
from stargate_core.journal.redact.words import Words

_NESTED_MAX: Final = 4
"""How deep JSON in texts of JSON is looked for; deeper, it is text."""

_TOKEN: Final = re.compile(
    r'(?P<text>"[^"\\]*+(?:\\.[^"\\]*+)*+"?)'
    r"|(?P<number>-?[0-9][0-9.eE+-]*)"
    r"|(?P<mark>[{}\[\],:])"
    r"|(?P<blank>[ \t\r\n]+)"
    r'|(?P<other>[^"{}\[\],:\s0-9-]+|.)',
    re.DOTALL,
)
_UNIT: Final = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\\]|\\", re.DOTALL
)
_SHORT: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LITERALS: Final = frozenset({"true", "false", "null"})
_JSON: Final = re.compile(r"\s*[{\[]")
_PLACE: Final = re.compile(
    r'"(?:contentBlockIndex|index|output_index|summary_index|content_index)"\s*:\s*(\d+)'
)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,254}", re.ASCII)
_TELLING: Final = re.compile("|".join(map(re.escape, TELLING)), re.IGNORECASE)


class Place(enum.Enum):
    """Where in a document one stands."""

    KNOWN = "known"
    OPEN = "open"
    SCHEMA = "schema"
    PROPERTIES = "properties"
    """Below a schema's `properties`: the names are words, and each value a schema."""


Thread: TypeAlias = tuple[str, ...]
"""What the pieces of one text have in common."""


class Fragments:
    """Texts in pieces: collected first, then given out again, in the same order."""

    def __init__(self, json: "JsonText") -> None:
        self._json = json
        self._pieces: dict[Thread, list[str]] = {}
        self._made: dict[Thread, Iterator[str]] | None = None

    def next(self, thread: Thread, piece: str) -> str:
        """What stands for the piece; before `settle`, itself."""
        if self._made is None:
            self._pieces.setdefault(thread, []).append(piece)
            return piece
        return next(self._made[thread])

    def settle(self) -> None:
        """All pieces are there."""
        self._made = {thread: self._cut(pieces) for thread, pieces in self._pieces.items()}

    def _cut(self, pieces: list[str]) -> Iterator[str]:
        made = self._json.open_text("".join(pieces))
        at = 0
        for piece in pieces:
            yield made[at : at + len(piece)]
            at += len(piece)


class _Level:
    """An object or an array that is open."""

    __slots__ = ("is_object", "name", "place", "wants_name")

    def __init__(self, place: Place, name: str, *, is_object: bool) -> None:
        self.is_object = is_object
        self.place = place
        self.name = name
        """Of the member whose value is being read; of an array, that which it is the value of."""
        self.wants_name = is_object


class JsonText:
    """Redacts JSON."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def redact(
        self, text: str, place: Place = Place.KNOWN, fragments: Fragments | None = None, depth: int = 0
    ) -> str:
        """A document, aligned. fragments: it is one of a stream's."""
        return _Reading(self, self._words, place, fragments, depth).read(text)

    def open_text(self, text: str, depth: int = 0) -> str:
        """What somebody has said, be it JSON or not."""
        if depth < _NESTED_MAX and _JSON.match(text):
            return self.redact(text, Place.OPEN, None, depth + 1)
        return self._words.word(text)


class _Reading:
    """One document."""

    def __init__(
        self, json: JsonText, words: Words, place: Place, fragments: Fragments | None, depth: int
    ) -> None:
        self._json = json
        self._words = words
        self._fragments = fragments
        self._depth = depth
        self._thread: Thread = ()
        self._levels = [_Level(place, "", is_object=False)]

    def read(self, text: str) -> str:
        if self._fragments is not None:
            self._thread = tuple(_PLACE.findall(text))
        return "".join(self._token(found) for found in _TOKEN.finditer(text))

    def _token(self, found: re.Match[str]) -> str:
        token = found[0]
        level = self._levels[-1]
        match found.lastgroup:
            case "text":
                if level.is_object and level.wants_name:
                    return self._member(token, level)
                return self._spelled(token, level)
            case "number":
                words = level.place is not Place.KNOWN or level.name in _NUMBERS_GO
                return self._words.number(token) if words else token
            case "mark":
                self._mark(token, level)
                return token
            case "blank":
                return token
            case _:
                return token if token in _LITERALS else self._words.word(token)

    def _mark(self, mark: str, level: _Level) -> None:
        match mark:
            case "{" | "[":
                place = _below(level, is_object=mark == "{")
                self._levels.append(_Level(place, level.name, is_object=mark == "{"))
            case "}" | "]":
                if len(self._levels) > 1:
                    self._levels.pop()
            case ",":
                level.wants_name = level.is_object
            case _:
                level.wants_name = False

    def _member(self, token: str, level: _Level) -> str:
        units, text, closed = _units(token)
        level.name = text
        stays = (level.place is Place.KNOWN and text in WORDS) or (
            level.place is Place.SCHEMA and text in KEYWORDS
        )
        made = text if stays else self._words.word(text)
        return token if made == text else _respelled(units, made, closed)

    def _spelled(self, token: str, level: _Level) -> str:
        units, text, closed = _units(token)
        made = self._value(text, level)
        if len(made) != len(units) or not _fits(units, made):
            made = self._words.word(text)
        return token if made == text else _respelled(units, made, closed)

    def _value(self, text: str, level: _Level) -> str:
        name = level.name
        if level.place is Place.SCHEMA and _is_keyword(name, text):
            return text
        if level.place is Place.SCHEMA and name == "$ref":
            return "/".join(part if part in _REFERS else self._words.word(part) for part in text.split("/"))
        if level.place is Place.KNOWN:
            if name in CHOICES and text in WORDS:
                return text
            if name in _OF_ERRORS and _error_of(text) in WORDS:
                before, error, after = text.partition(_error_of(text))
                return self._words.word(before) + error + self._words.word(after)
            if name in NAMED and _NAME.fullmatch(text):
                return text
            if self._fragments is not None and name in FRAGMENTS:
                return self._fragments.next((name, *self._thread), text)
            if name in BASE64:
                return self._sealed(name, text)
            if name in MESSAGES:
                return self._told(text)
        return self._json.open_text(text, self._depth)

    def _sealed(self, name: str, text: str) -> str:
        """Base64, as far as it is that. In `bytes` of a stream there is a document of the model's own."""
        if text.startswith("sg1."):
            body = text[4:]
            made = self._words.base64(body + "=" * (-len(body) % 4), self._document)
            return text[:4] + made[: len(body)]
        inside = self._document if name == "bytes" and self._fragments is not None else self._inside
        return self._words.base64(text, inside)

    def _document(self, text: str) -> str:
        if not _JSON.match(text):
            return self._words.word(text)
        return self._json.redact(text, Place.KNOWN, self._fragments, self._depth + 1)

    def _inside(self, text: str) -> str:
        return self._json.open_text(text, self._depth)

    def _told(self, text: str) -> str:
        """What went wrong, in words: those that are looked for stay."""
        made, at = "", 0
        for found in _TELLING.finditer(text):
            made += self._words.word(text[at : found.start()]) + found[0]
            at = found.end()
        return made + self._words.word(text[at:])


_NUMBERS_GO: Final = VECTORS | FRAGMENTS | {""}
"""Members of the APIs' own whose numbers are words; without a name, a number is no API's."""
_OF_ERRORS: Final = frozenset({"__type", "code", "Code"})
_REFERS: Final = frozenset({"#", *PROPERTIES, "items", "allOf", "anyOf", "oneOf"})


def _error_of(text: str) -> str:
    """The name of an error in one of the forms that AWS writes it in."""
    return text.partition(":")[0].rpartition("#")[2]


def _is_keyword(name: str, text: str) -> bool:
    return (name == "type" and text in TYPES) or (name == "$schema" and text.startswith("http"))


def _below(level: _Level, *, is_object: bool) -> Place:
    """Where one stands inside of this level's current value."""
    place, name = level.place, level.name
    match place:
        case Place.KNOWN:
            if not level.is_object:
                return place
            if name in SCHEMAS:
                return Place.SCHEMA
            # Of all that is called `input`, only a tool's is an object.
            if name in OPEN or name not in WORDS or (name == "input" and is_object):
                return Place.OPEN
        case Place.SCHEMA:
            if not level.is_object:
                return place
            if name in PROPERTIES:
                return Place.PROPERTIES
            if name in VALUES or name not in KEYWORDS:
                return Place.OPEN
        case Place.PROPERTIES:
            return Place.SCHEMA
        case Place.OPEN:
            pass
    return place


def _units(token: str) -> tuple[list[str], str, str]:
    """The characters of a text as they are spelled, as they are, and the quote at its end, if it is there."""
    closed = '"' if len(token) > 1 and token.endswith('"') and not _ends_escaped(token) else ""
    inner = token[1 : len(token) - len(closed)]
    if "\\" not in inner:
        return list(inner), inner, closed
    units = _UNIT.findall(inner)
    return units, "".join(map(_meant, units)), closed


def _ends_escaped(token: str) -> bool:
    before = token[:-1]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _meant(unit: str) -> str:
    match len(unit):
        case 1:
            return unit
        case 2:
            return _SHORT.get(unit[1], unit[1])
        case 6:
            return chr(_hex(unit[2:]))
        case _:
            high, low = _hex(unit[2:6]), _hex(unit[8:])
            return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


def _hex(digits: str) -> int:
    return int(digits, 16)


def _fits(units: list[str], made: str) -> bool:
    """Whether each character can be spelled as the one that it stands for."""
    return all(
        len(unit) != 2 or _meant(unit) == character for unit, character in zip(units, made, strict=True)
    )


def _respelled(units: list[str], made: str, closed: str) -> str:
    """The text in quotes, each character spelled as the one that it stands for."""
    spelled = made if len("".join(units)) == len(made) else "".join(map(_spell, units, made))
    return f'"{spelled}{closed}'


def _spell(unit: str, character: str) -> str:
    if _meant(unit) == character:
        return unit
    match len(unit):
        case 1:
            return character
        case 2:
            return unit
        case 6:
            return f"\\u{ord(character):04x}"
        case _:
            code = ord(character) - 0x10000
            return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
