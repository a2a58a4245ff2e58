"""Words become others of the same form: what decisions depend on stays, what was said does not come back.

A letter becomes a letter of the same case, a digit a digit, a character beyond ASCII one of as many bytes;
blanks, control characters and ASCII punctuation stay. Which letter, is drawn from a hash of the whole text
and a salt that nobody keeps, and not from the letter. So equal texts stay equal (a tool and its calls find
each other), different ones stay different, and nothing but the outline is left of either.

Text and its image are *aligned*: of as many characters, each of as many bytes, and escaped in JSON or not as
before. Everything else here (JSON, frames, heads) builds on that, and so lengths never change.

Some texts have more form than that, and keep it: what begins like a URL, ids with their prefixes, hexadecimal
digits, file names with their endings, base64, which stays base64 of text where it was.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from typing import Final

_SHORT_CHARACTERS_MAX: Final = 24
"""Texts up to this long are kept apart by looking; longer ones are by chance alone."""
_TRIES_MAX: Final = 64

_ALPHABETS: Final = {
    character: "".join(alphabet[at % len(alphabet)] for at in range(256))
    for alphabet in ("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789")
    for character in alphabet
}
_HEX_ALPHABETS: Final = {
    character: "".join(alphabet[at % 16] for at in range(256))
    for alphabet in ("0123456789ABCDEF", "0123456789abcdef")
    for character in alphabet
}

_HEX: Final = re.compile(r"[0-9a-f-]{16,}|[0-9A-F-]{16,}")
_OWN_ID: Final = re.compile(r"[a-z]{1,12}_[0-9a-f]{32}(?:_[0-9]{1,6})?")
"""An id of the gateway's own making: of a request, which the journal's header names too."""
_PREFIX: Final = re.compile(
    r"(?i:data:(?:[a-z]+/[a-z0-9.+-]{1,80})?(?:;[a-z]+=[a-z0-9-]{1,20})?;base64,|data:|https?://|s3://)"
    r"|arn:aws[a-z-]*:|AKIA|ASIA"
    r"|toolu_bdrk_|toolu_|tooluse_|srvtoolu_|call_|chatcmpl-|msg_bdrk_|msg_|resp_|rs_|fc_|sg1\."
)
_ENDING: Final = re.compile(
    r"\.(?:pdf|csv|docx?|xlsx?|html?|txt|text|md|markdown|png|jpe?g|gif|webp|mp3|wav)(?=[?#]|\Z)",
    re.IGNORECASE,
)
_PERCENT: Final = re.compile(r"(%[0-9A-Fa-f]{2})")
_NO_LINE_END: Final = re.compile(rb"[^\r\n]")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_MAGIC: Final = ((b"\x89PNG\r\n\x1a\n", 11), (b"\xff\xd8\xff", 4), (b"GIF8", 8), (b"RIFF", 16), (b"%PDF", 7))
"""What files begin with, and how many characters of base64 must stay for it."""


class Words:
    """The words of one journal, and what stands for them. known: texts that no other one becomes."""

    def __init__(self, salt: bytes, known: frozenset[str] = frozenset()) -> None:
        self._salt = hashlib.blake2b(salt, digest_size=32).digest()
        self._known = known
        self._made: dict[str, str] = {}
        """Short texts, and what they have become."""
        self._taken: set[str] = set()

    def noise(self, text: str, size: int, number: int = 0) -> bytes:
        """So many bytes that only this text gives."""
        begun = hashlib.shake_256(self._salt + number.to_bytes(2, "big"))
        begun.update(text.encode("utf-8", "surrogatepass"))
        return begun.digest(size)

    def word(self, text: str) -> str:
        """What stands for a text: aligned with it."""
        if len(text) > _SHORT_CHARACTERS_MAX:
            return self._image(text, 0)
        made = self._made.get(text)
        if made is None:
            made = self._made[text] = self._unlike_others(text)
        return made

    def base64(self, text: str, redact: Callable[[str], str] | None = None) -> str:
        """What stands for base64: base64 of text where it was that, of a file's beginning where it was one.

        redact: for the text inside; it must give an aligned one.
        """
        if not _BASE64.fullmatch(text) or len(text) % 4:
            return self.word(text)
        data = binascii.a2b_base64(text)  # The pattern and the length leave nothing that it refuses.
        inside = _decoded(data)
        if inside is not None:
            other = (redact or self.word)(inside).encode()
            return base64.b64encode(other).decode() if len(other) == len(data) else self.word(text)
        kept = next((size for magic, size in _MAGIC if data.startswith(magic)), 0)
        for number in range(_TRIES_MAX):
            drawn = base64.b64encode(self.noise(text, len(data), number)).decode()
            drawn = text[:kept] + drawn[kept:]
            if _decoded(binascii.a2b_base64(drawn)) is None:
                return drawn
        return self.word(text)

    def quoted(self, text: str) -> str:
        """What stands for a part of a URL: what is percent-encoded becomes percent-encoded letters."""
        parts = _PERCENT.split(text)
        noise = self.noise(text, len(parts))
        return "".join(
            f"%{0x61 + drawn % 15:02x}" if part.startswith("%") else self.word(part)
            for part, drawn in zip(parts, noise, strict=True)
        )

    def blank(self, data: bytes) -> bytes:
        """What stands for bytes of which nobody knows what they are: line ends stay, and nothing else."""
        return _NO_LINE_END.sub(b"x", data)

    def number(self, text: str) -> str:
        """A number as JSON writes it: other digits of the same form, and no zero where there was none."""
        mantissa, mark, exponent = text, "", ""
        for at, character in enumerate(text):
            if character in "eE":
                mantissa, mark, exponent = text[:at], character, text[at + 1 :]
                break
        if len(exponent) > 3 or (len(exponent) == 3 and exponent.isdigit()):
            return text  # As large as numbers can be: another one may be none at all.
        digits = sum(map(str.isdigit, mantissa))
        # Beyond what a float or a machine's integer can tell apart, the first digits decide how it is read.
        stays = 2 if digits > 18 and "." not in mantissa else 0
        noise = self.noise(text, len(mantissa))
        made = [
            character if character not in "123456789" else "123456789"[drawn % 9]
            for character, drawn in zip(mantissa, noise, strict=True)
        ]
        return mantissa[:stays] + "".join(made[stays:]) + mark + exponent

    def _unlike_others(self, text: str) -> str:
        if not any(map(str.isalnum, text)):
            return self._image(text, 0)
        images = (self._image(text, number) for number in range(_TRIES_MAX))
        made = next((image for image in images if image not in self._taken and image not in self._known), "")
        # Where there are no more others (of single digits there are ten), two become one.
        made = made or self._image(text, 0)
        self._taken.add(made)
        return made

    def _image(self, text: str, number: int) -> str:
        if _OWN_ID.fullmatch(text):
            return text
        begin = 0
        found = _PREFIX.match(text)
        if found is not None:
            begin = found.end()
            if found[0].lower().endswith("base64,"):
                return found[0] + self.base64(text[begin:])
        found = _ENDING.search(text, begin)
        end, resumes = (len(text), len(text)) if found is None else found.span()
        middle = text[begin:end] + text[resumes:]
        alphabets = _HEX_ALPHABETS if _HEX.fullmatch(middle) else _ALPHABETS
        noise = self.noise(text, len(middle), number)
        drawn = [
            alphabets[character][byte] if character in alphabets else _other(character, byte)
            for character, byte in zip(middle, noise, strict=True)
        ]
        made = "".join(drawn)
        return text[:begin] + made[: end - begin] + text[end:resumes] + made[end - begin :]


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _other(character: str, byte: int) -> str:
    """A character that is no letter or digit of ASCII."""
    code = ord(character)
    if code < 0x80 or character.isspace():
        return character
    if 0xD800 <= code < 0xE000:
        # A byte that is no UTF-8, as `surrogateescape` reads it, stays one; another lone surrogate stays.
        return "\udcff" if 0xDC80 <= code < 0xDD00 else character
    if not character.isprintable():
        return _UNSEEN[(code > 0x7FF) + (code > 0xFFFF)]
    if code < 0x800:
        return chr(0x100 + byte % 128)
    return chr(0x4E00 + byte) if code < 0x10000 else chr(0x1F400 + byte % 60)


_UNSEEN: Final = ("\x80", "\u200b", "\U000e0001")
"""What can't be seen, of two, three and four bytes: all alike, for unseen tags can spell words."""
