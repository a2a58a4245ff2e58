"""Placeholders: what stands in a journal where a secret stood in life.

A secret has no encoding, so whoever writes it down must say what stands in its place. Here that is a text of
the same length that says so itself, numbered in the order in which the secrets were met: the same one for the
same secret, within one journal, and nothing of it. So a caller's key still opens what it opened, and whatever
is counted in bytes comes out the same.

A store's URL keeps its form, since others read it: its user, its passwords and what else could be one go.

A secret may also have come in a caller's bytes, cut in two by the network perhaps. There it is a word: the
whole of what stands between blanks, or behind a header's name. A long one is also found between quotes and
the like; a short one is not, for it may be anything there.

What callers have shown, and nobody has called a secret, gets placeholders too where only credentials go
(redact/credentials.py). Where these stand again, in what was said, they are replaced if they are long.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from stargate_core.journal.format import Entry
from stargate_core.messages import ClientSent
from stargate_core.secret import Secret

_URL: Final = re.compile(r"(redis(?:s|\+cluster|\+sentinel)?://)(?:([^/?#]*)@)?([^?]*)(?:\?(.*))?", re.DOTALL)
_PLAIN_URL: Final = "memory:"
_WORD: Final = re.compile(r"\S+", re.ASCII)
_LONG_WORD: Final = re.compile(r"[A-Za-z0-9._~+/-]{8,}={0,2}")
_LONG: Final = 8
_RUN: Final = re.compile(r"[^\s\"'<>(){}\[\],;`]{8,}")
_MARKS: Final = ".:!?*_~+/=-"
"""What a sentence, or a link, may have put beside a word."""
_OPEN_OPTIONS: Final = frozenset({"protocol", "timeout_ms", "verify", "db", "tls", "names"})
"""Of a store's URL: those whose values are nobody's secret."""


class Placeholders:
    """The placeholders of one journal."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._long: dict[str, str] = {}
        """Those that are long, aligned: for each character one of as many bytes."""

    def __call__(self, secret: Secret) -> str:
        """What stands for this secret."""
        text = secret.reveal()
        made = self._of.get(text)
        if made is None:
            url = _URL.fullmatch(text)
            if text == _PLAIN_URL:
                made = text
            elif url is None:
                made = self._new(_bytes(text))
            else:
                made = self._without_passwords(url)
            self.put(text, made)
        return made

    def shown(self, text: str) -> str:
        """What stands for what a caller has shown, as heads are read: each character is a byte."""
        data = text.encode("latin-1", "replace")
        meant = data.decode("utf-8", "surrogateescape")
        if not meant or meant in self._of.values():
            return text
        if meant not in self._of:
            self.put(meant, self._new(data))
        return self._of[meant]

    def in_text(self, text: str) -> str:
        """A text, with placeholders where a long one of those met so far stands again: aligned with it."""
        known = self._long

        def run(found: re.Match[str]) -> str:
            whole = found[0]
            for part in (whole, whole.strip(_MARKS)):
                if part in known:
                    return whole.replace(part, known[part], 1)
            return _LONG_WORD.sub(long_word, whole)

        def long_word(found: re.Match[str]) -> str:
            part = found[0] if found[0] in known else found[0].strip(_MARKS)
            return found[0].replace(part, known[part], 1) if part in known else found[0]

        return _RUN.sub(run, text) if known else text

    def put(self, text: str, made: str) -> None:
        """This stands for that from now on: as many bytes."""
        self._of[text] = made
        if len(text) >= _LONG and text != made:
            self._long[text] = "".join(map(_aligned, text, made))

    @property
    def in_place(self) -> dict[bytes, bytes]:
        """Those met so far, by the secrets they stand for."""
        return {_bytes(text): made.encode() for text, made in self._of.items() if text}

    @property
    def behind(self) -> dict[str, Secret]:
        """The secrets met so far, by what stands for them."""
        return {made: Secret(text) for text, made in self._of.items()}

    def in_bytes(self, entries: Sequence[Entry]) -> list[Entry]:
        """The same entries, with placeholders where callers have shown one of the secrets met so far."""
        pieces = [entry.event.data for entry in entries if isinstance(entry.event, ClientSent)]
        whole = b"".join(pieces)
        known = {text.decode("latin-1"): made.decode() for text, made in self.in_place.items()}
        there = _replaced(whole.decode("latin-1"), known).encode("latin-1")
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

    def _new(self, data: bytes) -> str:
        size = len(data)
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
            text += self._new(_bytes(user)) + colon + self._new(_bytes(password)) + "@"
        text += place
        if options is not None:
            pairs = [option.partition("=") for option in options.split("&")]
            text += "?" + "&".join(
                name + equals + (value if name in _OPEN_OPTIONS else self._new(_bytes(value)))
                for name, equals, value in pairs
            )
        return text


def _replaced(text: str, known: Mapping[str, str]) -> str:
    """The text with each word that is known replaced."""

    def word(found: re.Match[str]) -> str:
        whole = found[0]
        name, colon, value = whole.partition(":")
        if whole in known:
            return known[whole]
        if value in known:
            return name + colon + known[value]
        return _LONG_WORD.sub(long_word, whole)

    def long_word(found: re.Match[str]) -> str:
        return known.get(found[0], found[0])

    return _WORD.sub(word, text) if known else text


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _aligned(character: str, made: str) -> str:
    """What is written for a character: a placeholder's, if it has as many bytes."""
    if character.isascii():
        return made
    if 0xDC80 <= ord(character) < 0xDD00:
        return "\udcff"
    return ("\u0100", "\u4e00", "\U0001f400")[len(character.encode("utf-8", "surrogatepass")) - 2]
