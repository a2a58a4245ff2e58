"""Keys for journals: a pair, of which gateways have the public half.

A gateway that is given it can write journals and not read them; nor can whoever takes its disk. A journal is
sealed as libsodium seals (`crypto_box_seal`): to the key, by a sender whom nobody can name. Any libsodium
opens it.

The library is optional: pip install 'stargate-gateway[journal]'.
"""

import base64
from typing import Final

from stargate_core.journal.format import SEALED_MAGIC, Unreadable

try:
    from nacl.exceptions import CryptoError
    from nacl.public import PrivateKey, PublicKey, SealedBox
except ImportError as error:
    raise ImportError("it needs PyNaCl: pip install 'stargate-gateway[journal]'") from error

PUBLIC: Final = "journal-public-"
PRIVATE: Final = "journal-private-"


class BadKey(ValueError):
    """This is no such key. The text does not repeat it."""


def new_pair() -> tuple[str, str]:
    """A fresh public key, and its private one."""
    private = PrivateKey.generate()
    return _written(PUBLIC, bytes(private.public_key)), _written(PRIVATE, bytes(private))


def sealed(data: bytes, public: str) -> bytes:
    """A journal that only the private key opens. Raises BadKey."""
    return SEALED_MAGIC + SealedBox(PublicKey(_read(PUBLIC, public))).encrypt(data)


def opened(data: bytes, private: str) -> bytes:
    """The journal in it. Raises BadKey, and Unreadable where it was sealed for another key, or is torn."""
    box = SealedBox(PrivateKey(_read(PRIVATE, private)))
    try:
        return box.decrypt(data.removeprefix(SEALED_MAGIC))
    except CryptoError:
        raise Unreadable("this key does not open it: it is another's, or the file is torn") from None


def _written(prefix: str, key: bytes) -> str:
    return prefix + base64.urlsafe_b64encode(key).decode().rstrip("=")


def _read(prefix: str, text: str) -> bytes:
    text = text.strip()
    try:
        key = base64.urlsafe_b64decode(text.removeprefix(prefix) + "=")
    except ValueError:
        key = b""
    if not text.startswith(prefix) or len(key) != PrivateKey.SIZE:
        raise BadKey(f"expected a key that begins with {prefix}")
    return key
