"""Kept answers: what an entry of the response cache is, in memory and in the shared store.

An entry is Bedrock's own answer: the headers that mean something, and the body's bytes as they came out of
the HTTP framing, be it one JSON or a whole event stream. So it can be told to anybody who asks the same, in
any dialect and as often as wanted, as if Bedrock had just said it; and a change in how a dialect words its
answers needs no cache to be emptied.

*In memory* entries are held in the order of their last use, and what has not been used for longest makes
room. The bound is in bytes, and counts what Python needs beside the answer itself: a cache of ten thousand
small answers is mostly that. What has outlived its time is given to nobody, and leaves when it is looked for
or when its turn comes; there is no sweep, since the memory is set aside for the cache in any case.

*In the store* an entry is MessagePack with a version in front. Whatever cannot be read, be it another
version's or somebody else's bytes under our key, is as good as nothing kept.
"""

from typing import ClassVar, Final

import msgspec

from stargate_core.dialects.face import Headers
from stargate_core.secret import Private

VERSION: Final = 1
"""Of the form in the store: to be raised whenever an older gateway would misread a newer one's entry."""

_ENTRY_BYTES: Final = 1024
"""What an entry costs beside its texts: two objects and their numbers, a place in a dictionary, a key."""
_HEADER_BYTES: Final = 160
"""What a header costs beside its texts: a pair, two byte strings, a place in a list."""

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Entry(Private, msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One kept answer; always a success (200)."""

    SHOWN: ClassVar[tuple[str, ...]] = ("target",)

    version: int
    target: str
    """The name of the direction that gave it."""
    headers: Headers
    body: bytes


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Entry)


def pack(entry: Entry) -> bytes:
    """The entry as the store keeps it."""
    return _ENCODER.encode(entry)


def unpack(value: bytes) -> Entry | None:
    """An entry out of the store; None where it is none of ours, or of another version."""
    try:
        entry = _DECODER.decode(value)
    except _UNREADABLE:
        return None
    return entry if entry.version == VERSION else None


class _Held:
    """An entry in memory, and its times in nanoseconds."""

    __slots__ = ("cost", "entry", "expires_at", "kept_at")

    def __init__(self, entry: Entry, cost: int, kept_at: int, expires_at: int) -> None:
        self.entry = entry
        self.cost = cost
        self.kept_at = kept_at
        self.expires_at = expires_at


class Entries:
    """The entries in memory. Whoever holds them keeps them within their bound, by `evict`."""

    __slots__ = ("_held", "size")

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        """In the order of their last use."""
        self.size = 0
        """Bytes, bookkeeping included."""

    def __len__(self) -> int:
        return len(self._held)

    def find(self, key: str, now: int) -> tuple[Entry, int] | None:
        """The entry of this key and its age in nanoseconds; it counts as used. None: there is none."""
        held = self._held.pop(key, None)
        if held is None:
            return None
        if held.expires_at <= now:
            self.size -= held.cost
            return None
        self._held[key] = held
        return held.entry, now - held.kept_at

    def keep(self, key: str, entry: Entry, now: int, ttl_ns: int) -> None:
        """Keep an entry, in the place of an older one of this key."""
        older = self._held.pop(key, None)
        if older is not None:
            self.size -= older.cost
        cost = cost_of(key, entry)
        self._held[key] = _Held(entry, cost, now, now + ttl_ns)
        self.size += cost

    def evict(self) -> bool:
        """Forget the entry that has not been used for longest; False if there is none."""
        for key, held in self._held.items():
            del self._held[key]
            self.size -= held.cost
            return True
        return False


def cost_of(key: str, entry: Entry) -> int:
    """What keeping an entry costs in memory, in bytes."""
    headers = sum(_HEADER_BYTES + len(name) + len(value) for name, value in entry.headers)
    # A text that is not ASCII takes up to four bytes a character.
    return _ENTRY_BYTES + len(key) + 4 * len(entry.target) + headers + len(entry.body)
