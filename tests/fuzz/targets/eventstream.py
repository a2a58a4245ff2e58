"""Our event-stream decoder gives the same frames and the same failure however a stream is cut, the frames are
botocore's where botocore reads any, and each of them encodes to the bytes it came from.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

from botocore.eventstream import EventStreamBuffer, ParserError

from fuzz.choices import every_byte, pieces
from fuzz.json_mutator import Mutate
from stargate_core.wire.eventstream import EventStreamDecoder
from stargate_core.wire.frames import (
    Corruption,
    EventStreamError,
    Frame,
    Int8,
    Int16,
    Int32,
    Int64,
    Timestamp,
    Uuid,
)
from support.vectors import VECTORS, recorded_streams

WORDS: Final = (
    b"\x0b:event-type\x07",
    b"\x0d:message-type\x07\x00\x05event",
    b"\x09exception",
    b":error-code",
)
_NUMBERS: Final = (Int8, Int16, Int32, Int64)


def target(data: bytes) -> None:
    """Decode the bytes, in every way."""
    frames, failure = decoded([data])
    for cut in (pieces(data), every_byte(data)):
        assert decoded(cut) == (frames, failure), "the cut matters"
    assert data.startswith(b"".join([frame.raw for frame in frames])), "a frame is not what was sent"
    ours = [(_plain(frame), frame.payload) for frame in frames]
    theirs, objects = _botocores(data)
    if failure is None:
        assert (ours, False) == (theirs, objects), "botocore reads something else"
    elif failure in (Corruption.BAD_PRELUDE_CRC, Corruption.BAD_MESSAGE_CRC):
        assert (ours, True) == (theirs, objects), "botocore reads something else before the damage"
    else:  # Where headers or lengths are at fault botocore forgives some of it.
        assert ours == theirs[: len(ours)], "botocore reads something else before the fault"


def decoded(cut: list[bytes]) -> tuple[list[Frame], Corruption | None]:
    """All frames, and why there are no more."""
    decoder = EventStreamDecoder()
    frames: list[Frame] = []
    try:
        for piece in cut:
            frames += decoder.feed(piece)
        decoder.check()
    except EventStreamError as error:
        return frames, error.reason
    return frames, None


def _plain(frame: Frame) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    for name, value in frame.headers.items():
        match value:
            case Int8(number) | Int16(number) | Int32(number) | Int64(number) | Timestamp(number):
                headers[name] = number
            case Uuid(octets):
                headers[name] = octets
            case _:
                headers[name] = value
    return headers


def _botocores(data: bytes) -> tuple[list[tuple[dict[str, Any], bytes]], bool]:
    buffer: Any = EventStreamBuffer()
    buffer.add_data(data)
    messages: list[tuple[dict[str, Any], bytes]] = []
    try:
        messages.extend((message.headers, message.payload) for message in buffer)
    except (ParserError, KeyError, struct.error, UnicodeDecodeError):
        return messages, True
    return messages, False


def mutated(data: bytes, size_max: int, seed: int, otherwise: Mutate) -> bytes:
    """LibFuzzer's change, and for most seeds good checksums around it: by itself it would find none."""
    made = otherwise(data, size_max)
    return made if seed % 5 == 0 else _sealed(made)


def _sealed(data: bytes) -> bytes:
    """The same with each frame's lengths brought within the stream, and its checksums mended."""
    out = b""
    while len(data) - len(out) >= 16:
        at = len(out)
        total, headers = struct.unpack_from(">II", data, at)
        total = total if 16 <= total <= len(data) - at else len(data) - at
        headers = headers if headers <= total - 16 else headers % (total - 15)
        prelude = struct.pack(">II", total, headers)
        body = prelude + struct.pack(">I", zlib.crc32(prelude)) + data[at + 12 : at + total - 4]
        out += body + struct.pack(">I", zlib.crc32(body))
    return out + data[len(out) :]


def seeds() -> Iterator[bytes]:
    """The SDKs' vectors, good and bad, and the beginnings of recorded streams."""
    for path in sorted((VECTORS / "eventstream-aws-sdk-go" / "encoded").rglob("*")):
        if path.is_file():
            yield path.read_bytes()
    for recording in recorded_streams():
        yield recording.body[:2000]
    yield b"no stream at all"
