"""Bytes as a person reads them: heads as lines, JSON as it is, streams event by event, and the rest by size.

What is read here was read in life already, so nothing is refused: where bytes are not what they ought to be,
they are shown as they are. Nothing that could steer a terminal or break a line gets through.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Final

from stargate_core.dialects.face import Headers
from stargate_core.wire.eventstream import EventStreamDecoder
from stargate_core.wire.frames import EventStreamError, Frame, FrameKind, SseError
from stargate_core.wire.http1 import (
    Body,
    EndOfMessage,
    Limits,
    ProtocolError,
    RequestBody,
    RequestHead,
    ResponseHead,
    client_codec,
    server_codec,
)
from stargate_core.wire.sse import SseDecoder

CHARS_MAX: Final = 600
"""Of a body; what is longer is cut, and its size is told."""
EVENT_CHARS_MAX: Final = 240
"""Of an event of a stream."""
_LIMITS: Final = Limits(
    head_bytes_max=1 << 20, target_bytes_max=1 << 20, headers_max=4096, body_bytes_max=1 << 30
)
_STEERING: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_NO_TEXT_RATIO: Final = 0.1
"""A text of which more than so much is no UTF-8 is none."""
_UNNAMED: Final = "message"
_INNER: Final = re.compile(rb'"bytes"\s*:\s*"([A-Za-z0-9+/=]+)"')


def plain(text: str) -> str:
    """A text without what could steer a terminal."""
    return _STEERING.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def shown(data: bytes, chars_max: int = CHARS_MAX) -> str:
    """Bytes on one line: as text where they are text, else by their number."""
    text = data[: 4 * chars_max].decode("utf-8", "replace")
    if text.count("\ufffd") > _NO_TEXT_RATIO * len(text):
        return f"({len(data):,} bytes that are no text)"
    if len(text) > chars_max or len(data) > 4 * chars_max:
        return f"{plain(text[:chars_max])}… ({len(data):,} bytes)"
    return plain(text)


def head_lines(start: bytes, headers: Headers) -> Iterator[str]:
    """A start line and its headers."""
    yield shown(start)
    for name, value in headers:
        yield f"{shown(name)}: {shown(value, 200)}"


class Requests:
    """Requests on a connection, as they come."""

    def __init__(self) -> None:
        self._codec = server_codec(codec="reference", limits=_LIMITS)
        self._lost = False

    def feed(self, data: bytes) -> Iterator[str]:
        """What these bytes say, in lines; a body once it is whole."""
        if self._lost:
            yield shown(data)
            return
        self._codec.receive_data(data)
        quiet = True
        try:
            while True:
                event = self._codec.next_event()
                if isinstance(event, RequestHead):
                    quiet = False
                    start = b"%b %b HTTP/%b" % (event.method, event.target, event.version)
                    yield from head_lines(start, event.headers)
                elif isinstance(event, RequestBody):
                    quiet = False
                    if event.data:
                        yield shown(event.data)
                    self._codec.response(200, [])
                    if not self._codec.keep_alive:
                        return
                    self._codec.start_next_cycle()
                else:
                    break
        except ProtocolError as error:
            self._lost = True
            yield f"no HTTP that can be read on: {plain(str(error))}"
            yield shown(data)
            return
        if quiet:
            yield f"(more of it: {len(data):,} bytes)"


class Responses:
    """Responses on a connection, as they come, one after the other."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._codec = client_codec(codec="reference", limits=_LIMITS)
        self._body = BodyReader("")
        self._whole = False
        self._lost = False

    def feed(self, data: bytes) -> Iterator[str]:
        """What these bytes say, in lines."""
        if self._lost:
            yield shown(data)
            return
        if self._whole:
            self._begin()
        self._codec.receive_data(data)
        quiet = True
        try:
            while True:
                event = self._codec.next_event()
                if isinstance(event, ResponseHead):
                    quiet = False
                    start = b"HTTP/%b %d %b" % (event.version, event.status, event.reason)
                    yield from head_lines(start, event.headers)
                    self._body = BodyReader(content_type_of(event.headers))
                elif isinstance(event, Body):
                    quiet = False
                    yield from self._body.feed(event.data)
                else:
                    self._whole = isinstance(event, EndOfMessage)
                    break
        except ProtocolError as error:
            self._lost = True
            yield f"no HTTP that can be read on: {plain(str(error))}"
            return
        if quiet:
            yield f"(framing: {len(data):,} bytes)"


def content_type_of(headers: Headers) -> str:
    """What a body says it is."""
    values = [value for name, value in headers if name.lower() == b"content-type"]
    return values[0].decode("latin-1").lower() if values else ""


class BodyReader:
    """A body, as it comes: by events where it is a stream of a kind we know."""

    def __init__(self, content_type: str) -> None:
        self._frames = (
            EventStreamDecoder() if content_type.startswith("application/vnd.amazon.eventstream") else None
        )
        self._events = SseDecoder() if content_type.startswith("text/event-stream") else None

    def feed(self, data: bytes) -> Iterator[str]:
        """What these bytes say, in lines."""
        if self._frames is not None:
            yield from self._feed_frames(self._frames, data)
        elif self._events is not None:
            yield from self._feed_events(self._events, data)
        else:
            yield shown(data)

    def _feed_frames(self, decoder: EventStreamDecoder, data: bytes) -> Iterator[str]:
        try:
            frames = decoder.feed(data)
            for frame in frames:
                yield _frame(frame)
            decoder.check()
        except EventStreamError as error:
            yield f"a bad frame ({error.reason.value}): {plain(error.detail)}"
            return
        if not frames:
            yield f"(a part of a frame: {len(data):,} bytes)"

    @staticmethod
    def _feed_events(decoder: SseDecoder, data: bytes) -> Iterator[str]:
        try:
            events = decoder.feed(data)
        except SseError as error:
            yield f"a bad event: {error}"
            return
        for event in events:
            name = "" if event.name == _UNNAMED else f"event {plain(event.name)} "
            yield f"{name}data {shown(event.data.encode(), EVENT_CHARS_MAX)}"
        comments = [line for line in data.split(b"\n") if line.startswith(b":")]
        yield from map(shown, comments)
        if not events and not comments:
            yield f"(a part of an event: {len(data):,} bytes)"


def _frame(frame: Frame) -> str:
    """A frame by its name; InvokeModel's are the model's own JSON in another coat."""
    payload = frame.payload
    if frame.kind is FrameKind.OTHER:
        return f"a frame of no known kind: {shown(payload)}"
    found = _INNER.search(payload) if frame.name == "chunk" else None
    if found is not None:
        try:
            payload = base64.b64decode(found[1], validate=True)
        except binascii.Error:
            pass
    return f"{frame.kind.value} {plain(frame.name)} {shown(payload, EVENT_CHARS_MAX)}"
