"""Keys of the store, in journals: of the many that a session knows, those that its callers have shown.

A session is told all keys that live in the store, by their digests; there may be a hundred thousand, and what
is known of others' keys is nobody's who reads of one request. So only those stay whose key somebody has sent.

Where the configuration has a key too, and the store says of it that it is revoked, the caller's bytes have a
placeholder in the key's place by now. The digest becomes that of the placeholder, or the store would speak of
a key that nobody shows.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from stargate_core.journal.format import Entry, Header, SessionBeginning
from stargate_core.messages import ClientSent, KeysChanged

_FIELD: Final = re.compile(rb"^[!#$%&'*+.^_`|~0-9A-Za-z-]+:([^\r\n]*)", re.MULTILINE)


def digest(key: bytes) -> str:
    """By what the store and the configuration know a key."""
    return hashlib.sha256(key).hexdigest()


def only_shown(
    header: Header, entries: list[Entry], instead: Mapping[bytes, bytes]
) -> tuple[Header, list[Entry]]:
    """The same without the keys that nobody has shown. instead: placeholders, by the keys they stand for."""
    shown = {digest(key): digest(instead.get(key, key)) for key in _keys(entries)}

    def kept(keys: Mapping[str, bytes]) -> dict[str, bytes]:
        return {after: keys[before] for before, after in shown.items() if before in keys}

    beginning = header.beginning
    if isinstance(beginning, SessionBeginning):
        begun = msgspec.structs.replace(beginning.checkpoint, keys=kept(beginning.checkpoint.keys))
        header = msgspec.structs.replace(header, beginning=SessionBeginning(begun))
    told = [
        msgspec.structs.replace(entry, event=KeysChanged(kept(entry.event.entries)))
        if isinstance(entry.event, KeysChanged)
        else entry
        for entry in entries
    ]
    return header, told


def _keys(entries: Iterable[Entry]) -> Iterable[bytes]:
    """What could be a key among what the client has sent: a header's value, or what follows its scheme."""
    sent = b"".join(entry.event.data for entry in entries if isinstance(entry.event, ClientSent))
    for field in _FIELD.finditer(sent):
        value = field[1].strip()
        yield value
        yield value.partition(b" ")[2].strip()
