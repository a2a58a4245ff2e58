"""What streams are made of, as values: AWS's frames with their headers, and server-sent events; and what is
wrong with bytes that are none.

The codecs that read and write them are `eventstream` and `sse`.
"""

import enum
from collections.abc import Mapping
from typing import ClassVar, TypeAlias

import msgspec

from stargate_core.secret import Private


class Int8(msgspec.Struct, frozen=True, gc=False):
    """A header value of type 2."""

    value: int


class Int16(msgspec.Struct, frozen=True, gc=False):
    """A header value of type 3."""

    value: int


class Int32(msgspec.Struct, frozen=True, gc=False):
    """A header value of type 4."""

    value: int


class Int64(msgspec.Struct, frozen=True, gc=False):
    """A header value of type 5."""

    value: int


class Timestamp(msgspec.Struct, frozen=True, gc=False):
    """A header value of type 8: milliseconds since 1970-01-01T00:00:00Z."""

    epoch_ms: int


class Uuid(msgspec.Struct, frozen=True, gc=False):
    """A header value of type 9: 16 bytes."""

    octets: bytes


HeaderValue: TypeAlias = bool | Int8 | Int16 | Int32 | Int64 | bytes | str | Timestamp | Uuid
"""One value of each wire type has exactly one spelling here, so that decode and encode are inverses."""


class FrameKind(enum.Enum):
    """What a frame is, by its `:message-type`."""

    EVENT = "event"
    EXCEPTION = "exception"
    """An error of the service model, named by `:exception-type`."""
    ERROR = "error"
    """An error outside the model, named by `:error-code`."""
    OTHER = "other"
    """Well-formed, but no client may accept it: end the stream with an error."""


class Frame(Private, msgspec.Struct, frozen=True):
    """One frame, as received."""

    SHOWN: ClassVar[tuple[str, ...]] = ("name",)

    kind: FrameKind
    name: str
    """`:event-type`, `:exception-type` or `:error-code`; empty for `FrameKind.OTHER`."""
    headers: Mapping[str, HeaderValue]
    payload: bytes
    raw: bytes
    """The whole frame as it stood on the wire, for relaying."""


class ServerEvent(msgspec.Struct, frozen=True, gc=False):
    """One event, as a browser's EventSource would dispatch it."""

    name: str
    """`message` when the event has none."""
    data: str
    last_event_id: str = ""


class Corruption(enum.Enum):
    """Why a stream cannot be read any further."""

    BAD_PRELUDE_CRC = "prelude checksum mismatch"
    BAD_MESSAGE_CRC = "message checksum mismatch"
    BAD_LENGTH = "lengths contradict each other"
    TOO_LARGE = "frame or header block too large"
    BAD_HEADERS = "malformed headers"
    DUPLICATE_HEADER = "duplicate header"
    CUT = "stream ended inside a frame"


class EventStreamError(ValueError):
    """The bytes are not an event stream, or no longer one. `reason` says how."""

    def __init__(self, reason: Corruption, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class SseError(ValueError):
    """A line or an event is larger than its limit."""
