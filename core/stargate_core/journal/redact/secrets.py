"""Secrets that callers show, and what stands for them.

A gateway key is compared by its SHA-256. So when a key becomes another text, the digest of the one becomes
that of the other wherever digests are: in the configuration, among the keys of the store. A digest whose key
nobody has shown becomes another one.

What is a placeholder already, because the configuration has the secret itself, stays. So do the forms: a
scheme before a blank, the three parts of a token with their JSON, an AWS key id's first letters.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from stargate_core.journal.redact.words import Words
from stargate_core.secret import Private

_TOKEN: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_SCHEME: Final = re.compile(r"(?i)(bearer|basic|digest|token)( +)(.*)", re.DOTALL)
_TIMES: Final = frozenset({"exp", "nbf", "iat"})
_NAMES: Final = _TIMES | {"iss", "aud", "sub", "alg", "typ", "kid", "crit"}
_CODES: Final = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
_NOBODY: Final[Mapping[str, str]] = MappingProxyType({})
_LITERALS: Final = frozenset({"true", "false", "null"})
_OF_CLAIMS: Final = re.compile(
    r'"(?P<text>(?:[^"\\]|\\.)*+)"(?P<colon>\s*:)?'
    r"|(?P<mark>[{}\[\]])|(?P<number>[0-9][0-9.eE+-]*)|[^\s\"{}\[\]:,0-9-]+",
    re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\u[0-9a-fA-F]{4}|\\.", re.DOTALL)
_ALGORITHM: Final = re.compile(r"[A-Za-z0-9]{1,8}|at\+jwt")


class Secrets:
    """What stands for the secrets of one journal.

    known: texts of its configuration. signers: by tokens, what stands for the secrets that have signed them.
    """

    def __init__(self, words: Words, known: frozenset[str], signers: Mapping[str, str] = _NOBODY) -> None:
        self._words = words
        self._known = known
        self._signers = signers
        self._digests: dict[str, str] = {}

    def shown(self, value: str) -> str:
        """What a caller has shown, a scheme before it perhaps."""
        found = _SCHEME.fullmatch(value)
        if found is not None:
            return found[1] + found[2] + self.key(found[3])
        return self.key(value)

    def key(self, text: str) -> str:
        """A key, or a token."""
        bare = text.strip()
        if bare in self._known:
            # A key of the file's: if the store has it too, it is by what stands for it already.
            self._digests[_sha256(bare)] = _sha256(bare)
            return text
        token = _TOKEN.fullmatch(bare)
        made = self.other(bare) if token is None else self._token(token)
        self._digests[_sha256(bare)] = _sha256(made)
        return text.replace(bare, made, 1) if bare else text

    def digest(self, digits: str) -> str:
        """The SHA-256 of a key, in hexadecimal digits."""
        if _SHA256.fullmatch(digits) is None:
            return self.other(digits)
        return self._digests.get(digits.lower()) or self.signature(digits.lower())

    def other(self, text: str) -> str:
        """What is nobody's to know, whatever it is."""
        return self._words.word(text)

    def quoted(self, text: str) -> str:
        """The same in a URL."""
        return self._words.quoted(text)

    def signature(self, digits: str) -> str:
        """A signature, in hexadecimal digits if it is one."""
        return self._words.word(digits)

    def key_id(self, text: str) -> str:
        """An AWS key id."""
        return self._words.word(text)

    def _token(self, token: re.Match[str]) -> str:
        """A signed token: its issuer, audience and times stay, and whom the configuration names."""
        header, claims, signature = token.groups()
        signed = f"{self._part(header)}.{self._part(claims)}"
        signer = self._signers.get(token[0])
        made = None if signer is None else code(signer, signed, _member(header, "alg"))
        if made is None:
            made = self._no_code(signed, signature)
        if len(made) != len(signature):
            return f"{signed}.{self.other(signature)}"
        return f"{signed}.{_spelled_like(signature, made)}"

    def _no_code(self, signed: str, signature: str) -> str:
        """A signature of as many bytes that nobody has made."""
        return _encoded(self._words.noise(signed, len(signature) * 3 // 4))

    def _part(self, part: str) -> str:
        """A part of a token: JSON, if it is that."""
        text = _decoded(part)
        if text is None:
            return self._words.word(part)
        made = _Claims(self._words, self._known).read(text)
        if len(made.encode()) != len(text.encode()):
            return self._words.word(part)
        return _spelled_like(part, _encoded(made.encode()))


class _Claims:
    """Reads a part of a token, once from its beginning to its end."""

    def __init__(self, words: Words, known: frozenset[str]) -> None:
        self._words = words
        self._known = known
        self._depth = 0
        self._name = ""
        """Of the outermost member whose value is being read."""

    def read(self, text: str) -> str:
        """The part as it is to be."""
        return _OF_CLAIMS.sub(self._token, text)

    def _token(self, found: re.Match[str]) -> str:
        text, colon = found["text"], found["colon"]
        if text is not None:
            if colon is not None and self._depth == 1:
                self._name = text
            stays = text in self._known or (self._depth == 1 and self._stays(text, is_name=colon is not None))
            return f'"{text if stays else self._other(text)}"{colon or ""}'
        if found["mark"] is not None:
            self._depth += 1 if found[0] in "{[" else -1
            return found[0]
        if found["number"] is not None:
            return found[0] if self._name in _TIMES and self._depth == 1 else self._words.number(found[0])
        return found[0] if found[0] in _LITERALS else self._words.word(found[0])

    def _stays(self, text: str, *, is_name: bool) -> bool:
        if is_name:
            return text in _NAMES
        return self._name in ("alg", "typ") and _ALGORITHM.fullmatch(text) is not None

    def _other(self, text: str) -> str:
        return self._words.word(_ESCAPE.sub(lambda escape: "x" * len(escape[0]), text))


class Parts(Private, msgspec.Struct, frozen=True):
    """A token's parts, as far as a signature is concerned."""

    signed: str
    signature: str
    algorithm: str
    issuer: str


def parts_of(text: str) -> Parts | None:
    """The parts of a token; None if it is none."""
    token = _TOKEN.fullmatch(text)
    if token is None:
        return None
    header, claims, signature = token.groups()
    return Parts(f"{header}.{claims}", signature, _member(header, "alg"), _member(claims, "iss"))


def code(secret: str, signed: str, algorithm: str) -> str | None:
    """The signature that a secret gives; None if that is no matter of secrets."""
    digest = _CODES.get(algorithm)
    return None if digest is None else _encoded(hmac.digest(secret.encode(), signed.encode(), digest))


def bare(value: str) -> str:
    """What a caller has shown, without the scheme before it."""
    found = _SCHEME.fullmatch(value)
    return (value if found is None else found[3]).strip()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("latin-1", "replace")).hexdigest()


def _member(part: str, name: str) -> str:
    """A text among a part's members; empty where there is none."""
    try:
        value = msgspec.json.decode(_decoded(part) or "{}", type=dict[str, Any]).get(name)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return value if isinstance(value, str) else ""


def _decoded(part: str) -> str | None:
    try:
        return binascii.a2b_base64(_padded(part), strict_mode=True).decode()
    except ValueError:
        return None


def code_like(text: str) -> str:
    """Letters and digits, made to be the one spelling of some bytes in base64url."""
    return text[:-1] + "A" if len(text) % 4 in (2, 3) else text


def _spelled_like(part: str, made: str) -> str:
    """Of base64url there is one spelling that is read, and others that are not: these stay others."""
    stays = not part or _encoded(binascii.a2b_base64(_padded(part))) == part
    return made if stays else made[:-1] + part[-1]


def _padded(part: str) -> str:
    return part.replace("-", "+").replace("_", "/") + "=" * (-len(part) % 4)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
