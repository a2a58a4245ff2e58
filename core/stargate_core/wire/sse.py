"""Server-sent events: what we write to callers, and a decoder for whoever reads us.

Written is only what every client understands: `event:` and `data:` lines ended by LF, comments as
keep-alives. A payload is JSON on one line. Should one hold a line break all the same, it becomes several
`data:` lines, which the client joins again: a payload can never make an event of its own. (A lone CR arrives
as LF: the format has no way to carry it.)

The decoder follows the WHATWG standard to the letter: CR, LF and CRLF end lines, also when CRLF is cut in
two; one BOM at the start is skipped; text is UTF-8, with U+FFFD for what is not; an event without data is
none; what is left at the end of the stream is dropped, since an event counts only with its blank line. Two
limits are ours: the longest line, and the most that one event's lines may hold.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from stargate_core.wire.eventstream import END, NEED_DATA, Sentinel
from stargate_core.wire.frames import (
    Corruption,
    EventStreamError,
    Frame,
    FrameKind,
    HeaderValue,
    ServerEvent,
    SseError,
)

DONE: Final = b"data: [DONE]\n\n"
"""How OpenAI's streams end."""

LINE_BYTES_MAX: Final = 16 * 1024 * 1024
EVENT_BYTES_MAX: Final = 24 * 1024 * 1024
"""As large as one frame of Bedrock's can be."""

_RETRY_DIGITS_MAX: Final = 12
_UNNAMED: Final = "message"
_NO_HEADERS: Final[Mapping[str, HeaderValue]] = MappingProxyType({})


def data_line(payload: bytes) -> bytes:
    """An event with nothing but data."""
    if b"\n" in payload or b"\r" in payload:
        payload = b"\ndata: ".join(_lines(payload))
    return b"data: " + payload + b"\n\n"


def event(name: bytes, payload: bytes) -> bytes:
    """An event with a name. Raises ValueError when `name` holds a line break."""
    _refuse_line_breaks(name)
    return b"event: " + name + b"\n" + data_line(payload)


def comment(text: bytes) -> bytes:
    """A comment, which clients skip: a keep-alive. Raises ValueError when `text` holds a line break."""
    _refuse_line_breaks(text)
    return b": " + text + b"\n\n"


def _refuse_line_breaks(text: bytes) -> None:
    if b"\n" in text or b"\r" in text:
        raise ValueError("a line break would begin another field")


def _lines(text: bytes) -> list[bytes]:
    # bytes.splitlines knows CR, LF and CRLF and no other break (str.splitlines knows many more). It drops the
    # empty line after a final break.
    return [*text.splitlines(), b""] if text.endswith((b"\n", b"\r")) else text.splitlines()


class SseDecoder:
    """Decodes one stream of server-sent events.

    `receive_data`, `receive_eof` and `next_event` are the codec's ordinary face; `feed` does the same in one
    call. They raise `SseError` and nothing else, and again on every later call.
    """

    __slots__ = (
        "_data",
        "_ended",
        "_event_bytes",
        "_event_bytes_max",
        "_failure",
        "_last_event_id",
        "_line_bytes_max",
        "_name",
        "_ready",
        "_rest",
        "_skip_lf",
        "_started",
        "retry_ms",
    )

    def __init__(self, line_bytes_max: int = LINE_BYTES_MAX, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._line_bytes_max = line_bytes_max
        self._event_bytes_max = event_bytes_max
        self._rest = bytearray()  # a line without its end
        self._skip_lf = False  # the last byte was the CR of what may be a CRLF
        self._started = False
        self._ready: deque[ServerEvent] = deque()
        self._failure: str | None = None
        self._ended = False
        self._data: list[bytes] = []
        self._name = b""
        self._event_bytes = 0
        self._last_event_id = b""
        self.retry_ms: int | None = None
        """The reconnection time that the stream asked for last."""

    def receive_data(self, data: bytes) -> None:
        """Keep `data` for `next_event`."""
        assert not self._ended, "data after receive_eof"
        if self._failure is None:
            self._read(data, self._ready)

    def receive_eof(self) -> None:
        """The peer ended the stream; an event that it did not finish is dropped."""
        self._ended = True

    def next_event(self) -> ServerEvent | Literal[Sentinel.NEED_DATA, Sentinel.END]:
        """The next event; NEED_DATA; or END once the peer ended. Raises SseError when a limit was passed."""
        if self._ready:
            return self._ready.popleft()
        if self._failure is not None:
            raise SseError(self._failure)
        return END if self._ended else NEED_DATA

    def feed(self, data: bytes) -> list[ServerEvent]:
        """All events that `data` completes.

        Raises SseError when a limit was passed. Events before that are returned first, and the error comes
        with the next call.
        """
        self.receive_data(data)
        events = list(self._ready)
        self._ready.clear()
        if self._failure is not None and not events:
            raise SseError(self._failure)
        return events

    @property
    def failure(self) -> str | None:
        """What the next call raises once it has no more events; None: nothing."""
        return self._failure

    def _read(self, data: bytes, events: deque[ServerEvent]) -> None:
        if not data:
            return
        if self._skip_lf and data[:1] == b"\n":
            data = data[1:]
        self._skip_lf = False
        lines = data.splitlines(keepends=True)
        for line in lines:
            if not line.endswith((b"\n", b"\r")):
                self._rest += line
                if len(self._rest) > self._line_bytes_max:
                    self._fail(f"a line of more than {self._line_bytes_max} bytes")
                return
            text = line.rstrip(b"\r\n")
            if self._rest:
                text = bytes(self._rest) + text
                self._rest.clear()
            if len(text) > self._line_bytes_max:
                self._fail(f"a line of {len(text)} bytes; at most {self._line_bytes_max}")
                return
            self._read_line(text, events)
            if self._failure is not None:
                return
        self._skip_lf = data.endswith(b"\r")

    def _read_line(self, line: bytes, events: deque[ServerEvent]) -> None:
        if not self._started:
            self._started = True
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            self._dispatch(events)
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field in (b"data", b"event"):
            self._event_bytes += len(value) + 1
            if self._event_bytes > self._event_bytes_max:
                self._fail(f"an event of more than {self._event_bytes_max} bytes")
            elif field == b"data":
                self._data.append(value)
            else:
                self._name = value
        elif field == b"id" and b"\x00" not in value:
            self._last_event_id = value
        elif field == b"retry" and value.isdigit() and len(value) <= _RETRY_DIGITS_MAX:
            self.retry_ms = int(value)

    def _dispatch(self, events: deque[ServerEvent]) -> None:
        if self._data:
            data = b"\n".join(self._data).decode(errors="replace")
            name = self._name.decode(errors="replace") or _UNNAMED
            events.append(ServerEvent(name, data, self._last_event_id.decode(errors="replace")))
        self._data.clear()
        self._name = b""
        self._event_bytes = 0

    def _fail(self, reason: str) -> None:
        self._failure = reason
        self._rest.clear()
        self._data.clear()


class SseFrameDecoder:
    """The same as frames, with the face of `EventStreamDecoder`: for answers that are server-sent events.

    An event without a name has the name ''. `raw` is the event as we would write it. What passes a limit
    raises EventStreamError (TOO_LARGE), again on every later call.
    """

    __slots__ = ("_decoder",)

    def __init__(self, line_bytes_max: int = LINE_BYTES_MAX, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._decoder = SseDecoder(line_bytes_max, event_bytes_max)

    def feed(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """All events that `data` completes. Events before a failure are returned first, as frames are."""
        self.check()
        try:
            events = self._decoder.feed(bytes(data))
        except SseError as error:
            raise EventStreamError(Corruption.TOO_LARGE, str(error)) from None
        return [_as_frame(one) for one in events]

    def check(self) -> None:
        """Raise the EventStreamError that the next call would."""
        if self._decoder.failure is not None:
            raise EventStreamError(Corruption.TOO_LARGE, self._decoder.failure)


def _as_frame(one: ServerEvent) -> Frame:
    payload = one.data.encode()
    if one.name == _UNNAMED:
        return Frame(FrameKind.EVENT, "", _NO_HEADERS, payload, data_line(payload))
    raw = event(one.name.encode(), payload)
    return Frame(FrameKind.EVENT, one.name, _NO_HEADERS, payload, raw)
