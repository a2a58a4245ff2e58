"""AWS event streams (`application/vnd.amazon.eventstream`): frames with two checksums, decoded and encoded.

    u32 total_length | u32 headers_length | u32 prelude_crc | headers | payload | u32 message_crc

The rules kept here, and why:

- The prelude's CRC is checked before `total_length` is believed, so that one flipped bit cannot make us wait
  for 4 GiB. Only then comes the limit on the frame, then the message CRC, and only then are headers read.
- A decoder that has seen a bad frame stays failed: after a wrong length nobody knows where the next frame
  starts. The good frames before it are delivered first.
- Every byte is looked at a bounded number of times, however the stream is cut: a frame that arrives byte by
  byte and 16,000 frames in one piece are both linear. (botocore's buffer is quadratic in both.)
- Bedrock repeats the same few header blocks for ever (`:event-type`, `:content-type`, `:message-type`), so a
  parsed block is kept under its raw bytes. The cache is bounded, and long blocks do not enter it.

What a frame *means* is decided from its headers, by the rules of Smithy's event streams. A frame that no
client may accept (`:message-type` missing or unknown; an event, exception or error without its name) is still
a well-formed frame, and the SDKs' own test vectors contain such frames. So it is delivered, as
`FrameKind.OTHER`: whoever reads the stream must end it with an error. An *unknown event name*, on the other
hand, is to be skipped. An `event` whose name ends in `Exception` is an exception: some agents and older
captures send them so.

Where botocore reads on past the end of a header block (it slices, and gets less than it asked for) we refuse
the frame; a header without a name is refused too, as in smithy-rs.

Sources: https://smithy.io/2.0/aws/amazon-eventstream.html; botocore/eventstream.py; smithy-rs,
aws-smithy-eventstream.
"""

import enum
import functools
import struct
import zlib
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from stargate_core.wire.frames import (
    Corruption,
    EventStreamError,
    Frame,
    FrameKind,
    HeaderValue,
    Int8,
    Int16,
    Int32,
    Int64,
    Timestamp,
    Uuid,
)

FRAME_BYTES_MAX: Final = 24 * 1024 * 1024
"""The largest frame by default: the specification's largest payload; in aws-c-event-stream a frame's."""
HEADERS_BYTES_MAX: Final = 128 * 1024
"""The largest header block: the specification's figure, as in botocore and both Go SDKs."""

_PRELUDE: Final = struct.Struct(">III")
_U32: Final = struct.Struct(">I")
_PRELUDE_BYTES: Final = 12
_FRAME_BYTES_MIN: Final = 16
_CACHED_BLOCK_BYTES_MAX: Final = 512
_CACHED_BLOCKS: Final = 512


class Sentinel(enum.Enum):
    """The answers of a stream decoder's `next_event()` that are not events."""

    NEED_DATA = "NEED_DATA"
    """No complete event is buffered: receive more."""
    END = "END"
    """The peer ended where it may end: nothing will follow."""


NEED_DATA: Final = Sentinel.NEED_DATA
END: Final = Sentinel.END


class EventStreamDecoder:
    """Decodes one event stream.

    `receive_data`, `receive_eof` and `next_event` are the codec's ordinary face; `feed` does the same in one
    call and is the fast way (use one or the other until it has no more). They raise `EventStreamError` and
    nothing else, and again on every later call.
    """

    __slots__ = ("_ended", "_failure", "_frame_bytes_max", "_needed", "_ready", "_rest")

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._frame_bytes_max = frame_bytes_max
        # The beginning of an incomplete frame, and how long it must become before looking again pays.
        self._rest = bytearray()
        self._needed = _PRELUDE_BYTES
        self._ready: deque[Frame] = deque()
        self._failure: tuple[Corruption, str] | None = None
        self._ended = False

    def receive_data(self, data: bytes) -> None:
        """Keep `data` for `next_event`."""
        assert not self._ended, "data after receive_eof"
        if self._failure is None:
            self._rest += data

    def receive_eof(self) -> None:
        """The peer ended the stream: `next_event` will tell whether it might."""
        self._ended = True

    def next_event(self) -> Frame | Literal[Sentinel.NEED_DATA, Sentinel.END]:
        """The next frame; NEED_DATA; or END once the peer ended at a frame's boundary.

        Raises EventStreamError on a corrupt frame, and when the peer ended inside one.
        """
        if not self._ready:
            self._ready.extend(self.feed(b""))
        if self._ready:
            return self._ready.popleft()
        if not self._ended:
            return NEED_DATA
        if self._rest:
            raise self._fail(Corruption.CUT, f"{len(self._rest)} bytes of a frame of at least {self._needed}")
        return END

    def feed(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """All frames that `data` completes, in order.

        Raises EventStreamError when the next frame is corrupt. Frames before it are returned first, and the
        error comes with the next call.
        """
        self.check()
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return []
            whole = bytes(self._rest)
            self._rest.clear()
        else:
            whole = bytes(data)  # no copy when it is bytes already
        frames: list[Frame] = []
        try:
            at = self._decode(whole, frames)
        except EventStreamError as error:
            self._fail(error.reason, error.detail)
            if not frames:
                raise
            return frames
        if at < len(whole):
            self._rest += whole[at:]
        return frames

    def check(self) -> None:
        """Raise the EventStreamError that the next call would.

        `feed` returns the good frames and knows already of a bad one right behind them: whoever must not wait
        for more bytes asks here.
        """
        if self._failure is not None:
            raise EventStreamError(*self._failure)

    def _decode(self, data: bytes, frames: list[Frame]) -> int:
        """Append the frames of `data`; return where an incomplete one begins, set `_needed` to its length."""
        at = 0
        available = len(data)
        while available - at >= _PRELUDE_BYTES:
            total, headers_length, prelude_crc = _PRELUDE.unpack_from(data, at)
            if zlib.crc32(data[at : at + 8]) != prelude_crc:
                raise EventStreamError(Corruption.BAD_PRELUDE_CRC, f"expected {prelude_crc:#010x}")
            end = at + total
            if end > available or not headers_length + _FRAME_BYTES_MIN <= total <= self._frame_bytes_max:
                self._check_lengths(total, headers_length)
                self._needed = total
                return at
            raw = data[at:end]
            # The CRC runs over everything before it, prelude CRC included; the prelude's part is known.
            (message_crc,) = _U32.unpack_from(data, end - 4)
            if zlib.crc32(raw[8:-4], prelude_crc) != message_crc:
                raise EventStreamError(Corruption.BAD_MESSAGE_CRC, f"expected {message_crc:#010x}")
            headers_end = _PRELUDE_BYTES + headers_length
            block = raw[_PRELUDE_BYTES:headers_end]
            if headers_length <= _CACHED_BLOCK_BYTES_MAX:
                kind, name, headers = _interpret_cached(block)
            else:
                self._check_lengths(total, headers_length)
                kind, name, headers = _interpret(block)
            frames.append(Frame(kind, name, headers, raw[headers_end:-4], raw))
            at = end
        self._needed = _PRELUDE_BYTES
        return at

    def _check_lengths(self, total: int, headers_length: int) -> None:
        """Refuse lengths that no frame may have; their CRC is good, so this is what the peer meant."""
        if total > self._frame_bytes_max:
            raise EventStreamError(Corruption.TOO_LARGE, f"{total} bytes; at most {self._frame_bytes_max}")
        if headers_length > HEADERS_BYTES_MAX:
            raise EventStreamError(
                Corruption.TOO_LARGE, f"{headers_length} bytes of headers; at most {HEADERS_BYTES_MAX}"
            )
        if total < headers_length + _FRAME_BYTES_MIN:
            raise EventStreamError(
                Corruption.BAD_LENGTH, f"{total} bytes in all with {headers_length} bytes of headers"
            )

    def _fail(self, reason: Corruption, detail: str) -> EventStreamError:
        self._failure = (reason, detail)
        self._rest.clear()
        return EventStreamError(reason, detail)


def _interpret(block: bytes) -> tuple[FrameKind, str, Mapping[str, HeaderValue]]:
    """The headers of a block, and what they say the frame is."""
    headers = MappingProxyType(_read_headers(block))
    kind, name = FrameKind.OTHER, None
    match headers.get(":message-type"):
        case "event":
            kind, name = FrameKind.EVENT, headers.get(":event-type")
            if isinstance(name, str) and name.endswith("Exception"):
                kind = FrameKind.EXCEPTION
        case "exception":
            kind, name = FrameKind.EXCEPTION, headers.get(":exception-type")
        case "error":
            kind, name = FrameKind.ERROR, headers.get(":error-code")
        case _:
            pass
    if isinstance(name, str) and name:
        return kind, name, headers
    return FrameKind.OTHER, "", headers


# A pure function of its bytes; at most _CACHED_BLOCKS blocks of _CACHED_BLOCK_BYTES_MAX bytes are kept.
_interpret_cached = functools.lru_cache(maxsize=_CACHED_BLOCKS)(_interpret)


def _read_headers(block: bytes) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(block):
            name_end = at + 1 + block[at]
            name = block[at + 1 : name_end].decode()
            if not name:
                raise EventStreamError(Corruption.BAD_HEADERS, "a header without a name")
            value, at = _read_value(block, block[name_end], name_end + 1)
            if name in headers:
                raise EventStreamError(Corruption.DUPLICATE_HEADER, name)
            headers[name] = value
    except (IndexError, struct.error):
        raise EventStreamError(Corruption.BAD_HEADERS, "a header runs past the end of its block") from None
    except UnicodeDecodeError:
        raise EventStreamError(Corruption.BAD_HEADERS, "a header name or text is not UTF-8") from None
    return headers


_I8: Final = struct.Struct(">b")
_I16: Final = struct.Struct(">h")
_I32: Final = struct.Struct(">i")
_I64: Final = struct.Struct(">q")
_U16: Final = struct.Struct(">H")
_UUID_BYTES: Final = 16


def _read_value(block: bytes, wire_type: int, at: int) -> tuple[HeaderValue, int]:
    """The value at `at`, and where it ends. Raises struct.error or IndexError when it runs past the block."""
    match wire_type:
        case 0 | 1:
            return wire_type == 0, at
        case 2:
            return Int8(_I8.unpack_from(block, at)[0]), at + 1
        case 3:
            return Int16(_I16.unpack_from(block, at)[0]), at + 2
        case 4:
            return Int32(_I32.unpack_from(block, at)[0]), at + 4
        case 5:
            return Int64(_I64.unpack_from(block, at)[0]), at + 8
        case 6 | 7:
            start = at + 2
            octets, end = _take(block, start, _U16.unpack_from(block, at)[0])
            return octets if wire_type == 6 else octets.decode(), end
        case 8:
            return Timestamp(_I64.unpack_from(block, at)[0]), at + 8
        case 9:
            octets, end = _take(block, at, _UUID_BYTES)
            return Uuid(octets), end
        case _:
            raise EventStreamError(Corruption.BAD_HEADERS, f"unknown header type {wire_type}")


def _take(block: bytes, start: int, length: int) -> tuple[bytes, int]:
    end = start + length
    if end > len(block):
        raise IndexError
    return block[start:end], end


def encode(headers: Mapping[str, HeaderValue], payload: bytes) -> bytes:
    """One frame. Raises ValueError when a name, a value or the whole does not fit the format."""
    return _frame(_write_headers(headers), payload)


def encode_event(name: str, payload: bytes, content_type: str = "application/json") -> bytes:
    """An event as Bedrock sends it, its headers in Bedrock's order."""
    return _frame(_head(":event-type", name, content_type, "event"), payload)


def encode_exception(name: str, payload: bytes, content_type: str = "application/json") -> bytes:
    """An exception inside a stream. `name` is the stream member's, in camelCase: `throttlingException`."""
    return _frame(_head(":exception-type", name, content_type, "exception"), payload)


def encode_error(code: str, message: str) -> bytes:
    """An error outside the service model; it has no payload."""
    return encode({":error-code": code, ":error-message": message, ":message-type": "error"}, b"")


@functools.lru_cache(maxsize=256)
def _head(name_header: str, name: str, content_type: str, message_type: str) -> bytes:
    return _write_headers({name_header: name, ":content-type": content_type, ":message-type": message_type})


def _frame(block: bytes, payload: bytes) -> bytes:
    if len(block) > HEADERS_BYTES_MAX:
        raise ValueError(f"{len(block)} bytes of headers; at most {HEADERS_BYTES_MAX}")
    total = len(block) + len(payload) + _FRAME_BYTES_MIN
    if total > FRAME_BYTES_MAX:
        raise ValueError(f"a frame of {total} bytes; at most {FRAME_BYTES_MAX}")
    lengths = _U32.pack(total) + _U32.pack(len(block))
    body = b"".join((lengths, _U32.pack(zlib.crc32(lengths)), block, payload))
    return body + _U32.pack(zlib.crc32(body))


def _write_headers(headers: Mapping[str, HeaderValue]) -> bytes:
    parts: list[bytes] = []
    for name, value in headers.items():
        name_bytes = name.encode()
        if not 1 <= len(name_bytes) <= 255:
            raise ValueError(f"header name of {len(name_bytes)} bytes; 1 to 255 are possible")
        parts += (bytes((len(name_bytes),)), name_bytes)
        try:
            parts.append(_write_value(value))
        except struct.error as error:
            raise ValueError(f"header {name}: {error}") from None
    return b"".join(parts)


def _write_value(value: HeaderValue) -> bytes:
    match value:
        case bool():
            return b"\x00" if value else b"\x01"
        case Int8():
            return b"\x02" + _I8.pack(value.value)
        case Int16():
            return b"\x03" + _I16.pack(value.value)
        case Int32():
            return b"\x04" + _I32.pack(value.value)
        case Int64():
            return b"\x05" + _I64.pack(value.value)
        case bytes():
            return b"\x06" + _U16.pack(len(value)) + value
        case str():
            octets = value.encode()
            return b"\x07" + _U16.pack(len(octets)) + octets
        case Timestamp():
            return b"\x08" + _I64.pack(value.epoch_ms)
        case _:
            if len(value.octets) != _UUID_BYTES:
                raise ValueError(f"a UUID of {len(value.octets)} bytes; it has {_UUID_BYTES}")
            return b"\x09" + value.octets
