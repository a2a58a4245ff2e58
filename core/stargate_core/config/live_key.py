"""A key that lives in the store: what is written beside its digest, as JSON.

Keys in the file belong to whoever writes the file; these belong to whoever holds the store, and come and go
while the gateway runs. They are kept in one hash, the key's SHA-256 in lower-case hexadecimal digits to the
JSON that is described here, beside a version that changes with every change. `stargate keys` writes them.

An entry may also stand for a key of the file's, and then only says when that one has ended. `revoked` and
`disabled` mean the same; the first is what `stargate keys revoke` writes, for good, the second is the file's
word and may be taken back.

What cannot be read opens nothing. A member that nobody knows is left alone: a newer version may have written
it.
"""

import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from stargate_core.config.schema import ModelGlob

ENTRIES_NAME: Final = "keys"
"""What the hash is called in the store, behind the store's prefix."""
VERSION_NAME: Final = "keys:version"
"""What the version is called: a number that grows with every change."""
DEFAULT_PREFIX: Final = "stargate:"

_BYTES_MAX: Final = 65_536
_MODELS_MAX: Final = 256


class LiveKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the store says of a key; never the key itself."""

    consumer: Annotated[str, Meta(max_length=256)] = ""
    """The username of whoever it belongs to; '' where the file says that."""
    id: Annotated[str, Meta(max_length=256)] | None = None
    """A name for logs; without one they show the digest's last four digits."""
    expires_at: Annotated[datetime.datetime, Meta(tz=True)] | None = None
    disabled: bool = False
    revoked: bool = False
    models: Annotated[list[ModelGlob], Meta(max_length=_MODELS_MAX)] | None = None
    """What may be called with it, of what its consumer may call. None: all of that."""


class BadLiveKey(ValueError):
    """An entry that can't be read; the text says why."""


def parse_live_key(data: bytes) -> LiveKey:
    """An entry's JSON, read. Raises BadLiveKey."""
    if len(data) > _BYTES_MAX:
        raise BadLiveKey(f"longer than {_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(data, type=LiveKey)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadLiveKey(str(error)) from None


def write_live_key(key: LiveKey) -> bytes:
    """An entry's JSON, as `parse_live_key` reads it."""
    return msgspec.json.encode(key)
