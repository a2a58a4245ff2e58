"""Placeholders: what stands in a journal where a secret stood in life.

A secret has no encoding, so whoever writes it down must say what stands in its place. Here that is a text of
the same length that says so itself, numbered in the order in which the secrets were met: the same one for the
same secret, within one journal, and nothing of it. So a caller's key still opens what it opened, and whatever
is counted in bytes comes out the same.

A store's URL keeps its form, since others read it: its user, its passwords and what else could be one go.

A secret may also have come in a caller's bytes, cut in two by the network perhaps. There it is a word: the
whole of what stands between blanks, or behind a header's name. A long one is also found between quotes and
the like; a short one is not, for it may be anything there.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from stargate_core.journal.format import Entry
from stargate_core.messages import ClientSent
from stargate_core.secret import Secret

_URL: Final = re.compile(r"(redis(?:s|\+cluster|\+sentinel)?://)(?:([^/?#]*)@)?([^?]*)(?:\?(.*))?", re.DOTALL)
_PLAIN_URL: Final = "memory:"
_WORD: Final = re.compile(rb"\S+")
_LONG_WORD: Final = re.compile(rb"[A-Za-z0-9._~+/-]{8,}={0,2}")
_OPEN_OPTIONS: Final = frozenset({"protocol", "timeout_ms", "verify", "db", "tls", "names"})
"""Of a store's URL: those whose values are nobody's secret."""


class Placeholders:
    """The placeholders of one journal."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}

    def __call__(self, secret: Secret) -> str:
        """What stands for this secret."""
        text = secret.reveal()
        made = self._of.get(text)
        if made is None:
            url = _URL.fullmatch(text)
            if text == _PLAIN_URL:
                made = text
            elif url is None:
                made = self._new(text)
            else:
                made = self._without_passwords(url)
            self._of[text] = made
        return made

    @property
    def in_place(self) -> dict[bytes, bytes]:
        """Those met so far, by the secrets they stand for."""
        return {
            text.encode("utf-8", "surrogatepass"): made.encode() for text, made in self._of.items() if text
        }

    @property
    def behind(self) -> dict[str, Secret]:
        """The secrets met so far, by what stands for them."""
        return {made: Secret(text) for text, made in self._of.items()}

    def in_bytes(self, entries: Sequence[Entry]) -> list[Entry]:
        """The same entries, with placeholders where callers have shown one of the secrets met so far."""
        pieces = [entry.event.data for entry in entries if isinstance(entry.event, ClientSent)]
        whole = b"".join(pieces)
        there = _replaced(whole, self.in_place)
        if there == whole:
            return list(entries)
        assert len(there) == len(whole), "a placeholder has its secret's length"
        out: list[Entry] = []
        at = 0
        for entry in entries:
            event = entry.event
            if isinstance(event, ClientSent):
                end = at + len(event.data)
                out.append(msgspec.structs.replace(entry, event=ClientSent(there[at:end])))
                at = end
            else:
                out.append(entry)
        return out

    def _new(self, text: str) -> str:
        size = len(text.encode("utf-8", "surrogatepass"))
        number = str(len(self._of) + 1)
        named = f"placeholder{number}"
        if len(named) <= size:
            return named.ljust(size, "x")
        return number.rjust(size, "x")[max(len(number) - size, 0) :]

    def _without_passwords(self, url: re.Match[str]) -> str:
        scheme, account, place, options = url.groups()
        text = scheme
        if account is not None:
            user, colon, password = account.partition(":")
            text += self._new(user) + colon + self._new(password) + "@"
        text += place
        if options is not None:
            pairs = [option.partition("=") for option in options.split("&")]
            text += "?" + "&".join(
                name + equals + (value if name in _OPEN_OPTIONS else self._new(value))
                for name, equals, value in pairs
            )
        return text


def _replaced(data: bytes, known: dict[bytes, bytes]) -> bytes:
    """The data with each word that is known replaced."""

    def word(found: re.Match[bytes]) -> bytes:
        text = found[0]
        name, colon, value = text.partition(b":")
        if text in known:
            return known[text]
        if value in known:
            return name + colon + known[value]
        return _LONG_WORD.sub(long_word, text)

    def long_word(found: re.Match[bytes]) -> bytes:
        return known.get(found[0], found[0])

    return _WORD.sub(word, data) if known else data
