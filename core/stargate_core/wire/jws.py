"""Signed tokens, as they come over the wire: JWS in its compact form, with a JSON object inside.

RFC 7515 and RFC 7519, and of RFC 8725 what can be said without knowing an issuer. Most ways to deceive a
verifier lie in how two readers understand one token differently, so there is one way to read it here:

- Three parts in base64url (RFC 4648, section 5), without padding, without a stray character, and without bits
  that decode to nothing: no token has two spellings.
- The header and the claims are JSON objects in which no member stands twice. RFC 7515 lets a reader take the
  last one; one that takes the first would see other claims (section 10.12). Only the outermost members are
  looked at: nobody reads what lies below them.
- A header with `crit` asks for rules that nobody here knows, so it is refused, as section 4.1.11 wants.
- A `typ`, if it is there, says that this is a token for access, and not a logout, a proof of possession or a
  security event signed by the same issuer (RFC 8725, section 3.11).
- Where the header says to find a key (`jku`, `jwk`, `x5u`, `x5c`) is never looked at: whose key it must be is
  the configuration's to say.

What comes out is signed by nobody yet.
"""

import binascii
import re
from typing import Any, ClassVar, Final

import msgspec

from stargate_core.secret import Private

_LOOK: Final = re.compile(rb"ey[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")
"""An opened brace and a quote or a blank are `ey` in base64url: what begins so was meant to be a token."""
_PART: Final = re.compile(rb"[A-Za-z0-9_-]+")
_TYPES: Final = ("jwt", "at+jwt", "application/jwt", "application/at+jwt")
_KEY_ID_CHARS_MAX: Final = 256
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_MARKS: Final = re.compile(rb"[][{}:]")


class BadToken(ValueError):
    """What came is no token, or one that nobody should believe; the text says why, and quotes nothing."""


class Token(Private, msgspec.Struct, frozen=True):
    """A token, read and not yet believed."""

    SHOWN: ClassVar[tuple[str, ...]] = ("algorithm",)

    algorithm: str
    key_id: str
    """The header's `kid`; '' if there is none."""
    claims: dict[str, Any]
    signed: bytes
    """What the signature is over."""
    signature: bytes


def looks_like_token(text: bytes) -> bool:
    """Whether this was meant to be a signed token: three parts in base64url, the first one a JSON object."""
    return _LOOK.fullmatch(text) is not None


def parse_token(text: bytes, *, bytes_max: int) -> Token:
    """A token's parts. Raises BadToken."""
    if len(text) > bytes_max:
        raise BadToken(f"longer than {bytes_max} bytes")
    parts = text.split(b".")
    if len(parts) != 3:
        raise BadToken("expected three parts")
    header = _object(parts[0], "header")
    algorithm, key_id, kind = (header.get(name) for name in ("alg", "kid", "typ"))
    if "crit" in header:
        raise BadToken("the header asks for rules that are not known here (crit)")
    if not isinstance(algorithm, str):
        raise BadToken("the header names no algorithm")
    if key_id is not None and not (isinstance(key_id, str) and len(key_id) <= _KEY_ID_CHARS_MAX):
        raise BadToken("the header's kid is no key's name")
    if kind is not None and not (isinstance(kind, str) and kind.lower() in _TYPES):
        raise BadToken("the header's typ is not that of a token for access")
    return Token(
        algorithm=algorithm,
        key_id=key_id or "",
        claims=_object(parts[1], "claims"),
        signed=text[: len(parts[0]) + 1 + len(parts[1])],
        signature=_decoded(parts[2], "signature"),
    )


def _decoded(part: bytes, what: str) -> bytes:
    """A part's bytes. Raises BadToken for any spelling but the one."""
    if not _PART.fullmatch(part) or len(part) % 4 == 1:
        raise BadToken(f"the {what} is not base64url")
    padded = part.translate(_STANDARD) + b"=" * (-len(part) % 4)
    data = binascii.a2b_base64(padded)
    if binascii.b2a_base64(data, newline=False) != padded:
        raise BadToken(f"the {what} has more than one spelling")
    return data


_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def _object(part: bytes, what: str) -> dict[str, Any]:
    """A part's JSON object. Raises BadToken."""
    data = _decoded(part, what)
    try:
        found = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadToken(f"the {what} is no JSON object") from None
    if _members(data) != len(found):
        raise BadToken(f"a member of the {what} stands twice")
    return found


def _members(data: bytes) -> int:
    """How many members a JSON object writes, those that stand twice included: its outermost colons."""
    bare = _STRINGS.sub(b"", data)
    depth = count = 0
    for mark in _MARKS.findall(bare):
        match mark:
            case b"{" | b"[":
                depth += 1
            case b"}" | b"]":
                depth -= 1
            case _:
                count += depth == 1
    return count
