"""The form of a journal: what a file holds, and how it is written and read.

    magic, then frames; a frame is its length (four bytes, the most significant first) and so much msgpack
    Header      what is needed to make the machine again: its kind, its beginning, its configurations
    Entry …     what it was told and when, and a short running digest of what it ordered from there
    Trailer     how many entries there were, and two digests of all that was ordered

An entry is an array, the trailer a map: that tells them apart.

Two digests, because most journals are redacted. The *fingerprint* is of the commands themselves, as they are
when this very journal is lived again. The *shape* is of their types, ids and lengths, as they were in life:
redaction changes bytes and never their number, so a redacted journal of the same shape tells the same story.

A journal is self-contained: no file, no environment and no clock is asked when it is read. No secret is in
it: whoever writes it has put a placeholder of the same length in each one's place (placeholders.py), the same
for the same one; reading makes `Secret`s of those again.

What is read may come from anywhere, so everything is bounded, and whatever is wrong is an `Unreadable`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from stargate_core.direction import Order
from stargate_core.gateway.checkpoint import Checkpoint
from stargate_core.gateway.pool import PoolLimits
from stargate_core.gateway.redis_calls import LinkSettings
from stargate_core.messages import (
    BreakerEvent,
    CacheEvent,
    FlightEvent,
    KeyringEvent,
    PoolEvent,
    SessionEvent,
    StoreEvent,
)
from stargate_core.secret import Private, Secret

FORMAT: Final = 1
MAGIC: Final = b"\x93STARGATE-JOURNAL\r\n"
"""Neither text nor the start of any msgpack that is ours, and broken by whatever changes line ends."""
SEALED_MAGIC: Final = b"\x93STARGATE-SEALED-JOURNAL\r\n"
"""What a journal begins with that is encrypted; what follows only the private key's owner can read."""
FRAME_BYTES_MAX: Final = 256 << 20
ENTRIES_MAX: Final = 2_000_000
FOLD_BYTES: Final = 8

Kind: TypeAlias = Literal[
    "session", "flight", "pool", "breaker", "cache", "redis_link", "keyring", "memory_store"
]
AnyEvent: TypeAlias = (
    SessionEvent | FlightEvent | PoolEvent | StoreEvent | KeyringEvent | BreakerEvent | CacheEvent
)
"""Whatever a machine may be told; each machine's own events are among them."""


class Unreadable(Exception):
    """This is no journal, or not a whole one, or not one for this version; the text says which, and where."""


# ------------------------------------------------------------------------------------------------ beginnings


class SessionBeginning(msgspec.Struct, frozen=True, tag="session"):
    """A session, from a moment between two requests on."""

    checkpoint: Checkpoint


class FlightBeginning(msgspec.Struct, frozen=True, tag="flight"):
    """A flight, from its launch on."""

    generation: int
    order: Order
    flight: int
    wall_epoch_ns: int
    seed: str
    """In hexadecimal digits, here and below: it has 128 bits."""
    now: int


class PoolBeginning(msgspec.Struct, frozen=True, tag="pool"):
    """A pool."""

    limits: PoolLimits


class BreakerBeginning(msgspec.Struct, frozen=True, tag="breaker"):
    """A breaker."""


class CacheBeginning(msgspec.Struct, frozen=True, tag="cache"):
    """A cache."""

    bytes_max: int
    entry_bytes_max: int
    shared: bool


class RedisLinkBeginning(msgspec.Struct, frozen=True, tag="redis_link"):
    """A link to a Redis."""

    settings: LinkSettings
    seed: str
    wall_epoch_ns: int


class KeyringBeginning(msgspec.Struct, frozen=True, tag="keyring"):
    """A keyring."""

    now: int
    interval_ns: int
    patience_ns: int
    keys_max: int


class MemoryStoreBeginning(msgspec.Struct, frozen=True, tag="memory_store"):
    """A store in memory."""

    wall_epoch_ns: int
    entry_bytes_max: int
    buckets_max: int


Beginning: TypeAlias = (
    SessionBeginning
    | FlightBeginning
    | PoolBeginning
    | BreakerBeginning
    | CacheBeginning
    | RedisLinkBeginning
    | KeyringBeginning
    | MemoryStoreBeginning
)
"""How a machine is made. A Beginning's tag is the machine's kind."""


# ---------------------------------------------------------------------------------------------------- frames


class Header(Private, msgspec.Struct, frozen=True, kw_only=True):
    """What is known before the first entry."""

    format: int = FORMAT
    package: str
    """The version of Stargate that wrote it."""
    beginning: Beginning
    began_ns: int
    """When, monotonic: times are told from there."""
    configurations: dict[int, bytes] = {}
    """The configurations the machine may need, by generation: their JSON (configurations.py)."""
    request_id: str = ""
    """Of the request that it is about: the one that failed, or the first."""
    cause: str = ""
    """Why it was written: the fault's name, or that of an exception; empty: nothing went wrong."""
    redacted: bool = False
    expires_at: str = ""
    """When the file may be deleted, RFC 3339; empty: never by itself."""

    @property
    def kind(self) -> Kind:
        """Which machine."""
        kind: Kind = type(self.beginning).__struct_config__.tag  # type: ignore[assignment]
        return kind


class Entry(Private, msgspec.Struct, frozen=True, array_like=True):
    """One event."""

    now: int
    event: AnyEvent
    fold: bytes = b""
    """The running digest of all commands up to those that this event gave (digests.py)."""
    shape: tuple[str, ...] = ()
    """The shape of the commands that it gave in life."""
    raised: str = ""
    """The machine failed on it by a bug of ours, with an exception of this name; nothing comes after it."""


class Trailer(msgspec.Struct, frozen=True, kw_only=True):
    """What is known after the last entry."""

    entries: int
    commands: int
    fingerprint: str
    shape: str
    diverged_at: int | None = None
    """The entry from which on the journal, lived again, took another shape than life; None: it kept it."""


class Journal(msgspec.Struct, frozen=True):
    """A whole one, read."""

    header: Header
    entries: list[Entry]
    trailer: Trailer


class _Version(msgspec.Struct):
    """What the header of any version holds."""

    format: int
    package: str = "another version"


# --------------------------------------------------------------------------------------------------- writing


class Encoder:
    """Writes frames. secret: what stands for a Secret, of the same length."""

    def __init__(self, secret: Callable[[Secret], str]) -> None:
        def plain(value: object) -> object:
            if isinstance(value, Secret):
                return secret(value)
            if isinstance(value, Mapping):
                return dict(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            raise NotImplementedError(f"a journal can't hold this: {type(value).__name__}")

        self._encoder = msgspec.msgpack.Encoder(enc_hook=plain)

    def journal(self, journal: Journal) -> bytes:
        """The whole of it."""
        parts: list[Header | Entry | Trailer] = [journal.header, *journal.entries, journal.trailer]
        return MAGIC + b"".join(self._frame(part) for part in parts)

    def _frame(self, part: Header | Entry | Trailer) -> bytes:
        data = self._encoder.encode(part)
        return len(data).to_bytes(4, "big") + data

    def again(self, value: Any, kind: Any) -> Any:
        """The value as it is read again, of one of our own types: without its secrets."""
        return msgspec.msgpack.decode(self._encoder.encode(value), type=kind, dec_hook=restore)


# --------------------------------------------------------------------------------------------------- reading


def restore(kind: type, value: Any) -> Any:
    """A placeholder becomes a Secret again."""
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise NotImplementedError(f"a journal can't hold this: {kind.__name__}")


_VERSION: Final = msgspec.msgpack.Decoder(_Version)
_HEADER: Final = msgspec.msgpack.Decoder(Header, dec_hook=restore)
_ENTRY: Final = msgspec.msgpack.Decoder(Entry, dec_hook=restore)
_TRAILER: Final = msgspec.msgpack.Decoder(Trailer, dec_hook=restore)
_SMALL_MAP: Final = range(0x80, 0x90)
"""What msgpack begins a map with that has fewer than sixteen members."""


def read(data: bytes) -> Journal:
    """The journal that these bytes are. Raises Unreadable, and nothing else."""
    if data.startswith(SEALED_MAGIC):
        raise Unreadable("it is encrypted, and can only be read with its key")
    if not data.startswith(MAGIC):
        raise Unreadable("this is not a journal of Stargate's")
    header, position = _read_header(data)
    entries: list[Entry] = []
    while True:
        part, position = _read_part(data, position, len(entries))
        if isinstance(part, Trailer):
            break
        if len(entries) >= ENTRIES_MAX:
            raise Unreadable(f"it has more than {ENTRIES_MAX} entries")
        entries.append(part)
    if position != len(data):
        raise Unreadable(f"something follows its end, at byte {position}")
    if part.entries != len(entries):
        raise Unreadable(f"its end speaks of {part.entries} entries, and there are {len(entries)}")
    return Journal(header, entries, part)


def _read_header(data: bytes) -> tuple[Header, int]:
    payload, position = _payload(data, len(MAGIC), "its header")
    try:
        version = _VERSION.decode(payload)
        if version.format != FORMAT:
            raise Unreadable(
                f"it is of format {version.format}, written by Stargate {version.package}; "
                f"this version reads format {FORMAT}"
            )
        return _HEADER.decode(payload), position
    except _MALFORMED as error:
        raise Unreadable(f"its header is malformed: {error}") from None


def _read_part(data: bytes, position: int, number: int) -> tuple[Entry | Trailer, int]:
    payload, position = _payload(data, position, f"entry {number}")
    try:
        if payload and payload[0] in _SMALL_MAP:
            return _TRAILER.decode(payload), position
        return _ENTRY.decode(payload), position
    except _MALFORMED as error:
        raise Unreadable(f"entry {number} is malformed: {error}") from None


_MALFORMED: Final = (msgspec.MsgspecError, ValueError, TypeError, RecursionError, NotImplementedError)


def _payload(data: bytes, position: int, what: str) -> tuple[memoryview, int]:
    begin = position + 4
    size = int.from_bytes(data[position:begin], "big")
    if size > FRAME_BYTES_MAX:
        raise Unreadable(f"{what} claims to have {size} bytes; at most {FRAME_BYTES_MAX} are read")
    end = begin + size
    if end > len(data):
        raise Unreadable(f"it is torn: it ends within {what}")
    return memoryview(data)[begin:end], end
