"""Signatures of thoughts: made by the simulator, and known again when a caller sends a thought back.

Claude signs each thought and takes back none that it has not signed, nor one of the last turn whose text was
changed; a gateway that loses or mixes up signatures breaks a conversation at its second turn, and only there.
So the simulator's signatures can be checked too: random bytes, their authentication code, and one over the
thought's text as well. The key is fixed, as a vendor's is: what one simulator has signed, any other takes.

Source: Anthropic's documentation, "Extended thinking".
"""

import base64
import binascii
import hashlib
import hmac
import random
from typing import Final

_KEY: Final = b"stargate-simulator"
_NONCE_BYTES: Final = 18
_CODE_BYTES: Final = 24


def signed(text: str, rng: random.Random) -> str:
    """A signature for a thought."""
    return _signature(rng.randbytes(_NONCE_BYTES), text)


def signed_anew(text: str, signature: str) -> str:
    """The signature of a thought that was cut short, from the one of the whole."""
    return _signature(base64.b64decode(signature)[:_NONCE_BYTES], text)


def is_ours(signature: object) -> bool:
    """Whether a simulator has made this signature, or this redacted thought; for whatever text."""
    parts = _parts(signature)
    return parts is not None and hmac.compare_digest(_code(parts[0], b""), parts[1])


def belongs_to(signature: object, text: str) -> bool:
    """Whether the signature is of this very thought."""
    parts = _parts(signature)
    return parts is not None and hmac.compare_digest(_code(parts[0], text.encode()), parts[2])


def _signature(nonce: bytes, text: str) -> str:
    return base64.b64encode(nonce + _code(nonce, b"") + _code(nonce, text.encode())).decode()


def _parts(signature: object) -> tuple[bytes, bytes, bytes] | None:
    if not isinstance(signature, str):
        return None
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return None
    at = _NONCE_BYTES, _NONCE_BYTES + _CODE_BYTES
    return (raw[: at[0]], raw[at[0] : at[1]], raw[at[1] :]) if len(raw) == at[1] + _CODE_BYTES else None


def _code(nonce: bytes, text: bytes) -> bytes:
    return hashlib.blake2b(nonce + text, digest_size=_CODE_BYTES, key=_KEY).digest()
