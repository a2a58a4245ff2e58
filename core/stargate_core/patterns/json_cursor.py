r"""Finding matches in JSON that comes in pieces, and leaving it JSON.

The arguments of a tool call arrive as fragments of a text that is JSON. A match must be looked for in what
the strings *say* (`\u0040` is an `@`, and the n of `\n` is no letter), and what stands in its place must be a
part of a string again. So this reads just as much JSON as that needs: where strings begin and end, and
escapes.

Inside a string, what is kept is kept as it was spelt; what is put is escaped. Outside are names of values,
signs and numbers; a number that is a match (a card's, say) becomes a string. It must be the whole number:
with a part of one replaced, the rest would be no JSON. What is no JSON is read the same way, as far as it
goes.
"""

import re
from typing import Final

import msgspec

from stargate_core.patterns.finder import Cursor, Finder, Pieces, Put

_SIGNS: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_ESCAPE: Final = re.compile(r"\\(?:u[0-9A-Fa-f]{4}|[^u])", re.DOTALL)
_PAIR: Final = re.compile(r"\\u([dD][89abAB][0-9A-Fa-f]{2})\\u([dD][c-fC-F][0-9A-Fa-f]{2})")
"""One character beyond the first 65,536, which JSON spells as two (RFC 8259, section 7)."""
_PAIR_BEGUN: Final = re.compile(
    r"\\u[dD][89abAB][0-9A-Fa-f]{2}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9A-Fa-f]?)?)?)?)?\Z"
)
_BEGUN: Final = re.compile(r"\\(?:u[0-9A-Fa-f]{0,3})?\Z")
_PLAIN: Final = re.compile(r'[^"\\]+')


class JsonCursor:
    """One text of JSON, from its beginning."""

    __slots__ = ("_begun", "_cursor", "_finder", "_inside", "_spelt")

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._inside = False
        self._cursor = Cursor(finder, strict=True)
        self._spelt: list[str] = []
        """How the characters were spelt that the cursor holds."""
        self._begun = ""
        """The beginning of an escape."""

    def feed(self, text: str, put: Put, *, final: bool = False) -> str:
        """More of it; what can be told of it now. final: nothing follows."""
        text, self._begun = self._begun + text, ""
        told: list[str] = []
        at = 0
        while at < len(text):
            if text[at] == '"':
                told.append(self._more("", [], put, final=True) + '"')
                self._inside = not self._inside
                self._cursor = Cursor(self._finder, strict=not self._inside)
                at += 1
                continue
            said, spelt, end = self._run(text, at)
            if end == at:
                if not final:
                    self._begun = text[at:]
                    break
                said, spelt, end = text[at:], list(text[at:]), len(text)  # An escape that never ended.
            told.append(self._more(said, spelt, put, final=False))
            at = end
        if final:
            told.append(self._more("", [], put, final=True))
        return "".join(told)

    def _run(self, text: str, at: int) -> tuple[str, list[str], int]:
        """What the text says up to the next quotation mark, how each character is spelt, and where that ends;
        short of an escape that is not whole.
        """
        said: list[str] = []
        spelt: list[str] = []
        while at < len(text) and text[at] != '"':
            plain = _PLAIN.match(text, at)
            if plain is not None:
                said.append(plain[0])
                spelt += plain[0]
                at = plain.end()
                continue
            if not self._inside:
                said.append("\\")
                spelt.append("\\")
                at += 1
                continue
            pair = _PAIR.match(text, at)
            if pair is not None:
                high, low = (int(half, 16) for half in pair.groups())
                said.append(chr(0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF)))
                spelt.append(pair[0])
                at = pair.end()
                continue
            if _PAIR_BEGUN.match(text, at) is not None:
                break
            escape = _ESCAPE.match(text, at)
            if escape is None:
                if _BEGUN.match(text, at) is not None:
                    break
                said.append("\\")
                spelt.append("\\")
                at += 1
                continue
            sign = escape[0][1:]
            said.append(chr(int(sign[1:], 16)) if len(sign) > 1 else _SIGNS.get(sign, sign))
            spelt.append(escape[0])
            at = escape.end()
        return "".join(said), spelt, at

    def _more(self, said: str, spelt: list[str], put: Put, *, final: bool) -> str:
        pieces: Pieces = self._cursor.feed(said, put, final=final)
        spelt = self._spelt + spelt
        told: list[str] = []
        at = 0
        for was, instead in pieces:
            end = at + len(was)
            if instead is None:
                told += spelt[at:end]
            else:
                quoted = msgspec.json.encode(instead).decode()
                told.append(quoted[1:-1] if self._inside else quoted)
            at = end
        self._spelt = spelt[at:]
        return "".join(told)
