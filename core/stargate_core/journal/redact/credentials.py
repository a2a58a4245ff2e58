"""Credentials alone: what takes the place of words and secrets where what was said is to stay.

A journal that is not redacted is gone through all the same, as a redacted one is: by the same readers of
heads, JSON, streams and frames. But its words stay, except for secrets in them: those of the configuration,
and what callers have shown, wherever they stand again. So lengths are kept and checksums are right by the
same code.

What stands for a credential is a numbered placeholder, and nothing is drawn from what it was. Ids of key
pairs stay, for they are names. So do a token's claims, which are nothing without their signature.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Final

from stargate_core.journal.placeholders import Placeholders
from stargate_core.journal.redact.secrets import Secrets, code_like
from stargate_core.journal.redact.words import Words

_HEX: Final = frozenset("0123456789abcdef")


class Verbatim(Words):
    """Words that stay, but for the secrets in them."""

    def __init__(self, placeholders: Placeholders) -> None:
        super().__init__(b"")
        self._placeholders = placeholders

    def word(self, text: str) -> str:
        """The text, without secrets."""
        return self._placeholders.in_text(text)

    def quoted(self, text: str) -> str:
        """The part of a URL, without secrets."""
        return self.word(text)

    def number(self, text: str) -> str:
        """The number."""
        return text

    def blank(self, data: bytes) -> bytes:
        """The bytes, without secrets."""
        return self.word(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def base64(self, text: str, redact: Callable[[str], str] | None = None) -> str:
        """The base64, and what is in it without secrets."""
        try:
            inside = binascii.a2b_base64(text, strict_mode=True).decode()
        except ValueError:
            return self.word(text)
        made = (redact or self.word)(inside)
        return text if made == inside else base64.b64encode(made.encode()).decode()


class Credentials(Secrets):
    """What stands for credentials where all else stays."""

    def __init__(self, placeholders: Placeholders, known: frozenset[str], signers: Mapping[str, str]) -> None:
        super().__init__(Verbatim(placeholders), known, signers)
        self._placeholders = placeholders
        self._numbers: dict[str, int] = {}

    def other(self, text: str) -> str:
        """What is nobody's to know, whatever it is."""
        return self._placeholders.shown(text)

    def quoted(self, text: str) -> str:
        """The same in a URL."""
        return self.other(text)

    def signature(self, digits: str) -> str:
        """A signature, in hexadecimal digits if it is one."""
        if not digits or not _HEX.issuperset(digits):
            return self.other(digits)
        number = self._numbers.setdefault(digits, len(self._numbers) + 1)
        return f"{number:0{len(digits)}x}"[-len(digits) :]

    def key_id(self, text: str) -> str:
        """An AWS key id: it stays."""
        return text

    def _token(self, token: re.Match[str]) -> str:
        made = super()._token(token)
        self._placeholders.put(token[0], made)
        return made

    def _no_code(self, signed: str, signature: str) -> str:
        return code_like(self.other(signature))

    def _part(self, part: str) -> str:
        return part
