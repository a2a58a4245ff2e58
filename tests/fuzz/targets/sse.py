"""Our decoder of server-sent events gives the same events from any bytes however they are cut, those of the
frame decoder are the same, and what we write of each event decodes to it again.
"""

from collections.abc import Iterator
from typing import Final

from fuzz.choices import every_byte, pieces
from stargate_core.wire.frames import EventStreamError, ServerEvent, SseError
from stargate_core.wire.sse import SseDecoder, SseFrameDecoder
from support.recorded import GOLDEN

WORDS: Final = (
    *(b"data: ", b"data:", b"event: ", b"id: 1", b"retry: 10", b"\n\n", b"\r\n", b"\r", b": comment\n"),
    *(b"\xef\xbb\xbf", b"[DONE]", b'{"type":"ping"}', b"\xff", b"\xe2\x80\xa8", b"\x0b", b"\x85", b"\x00"),
)
_LINE_MAX: Final = 64
_EVENT_MAX: Final = 160


def target(data: bytes) -> None:
    """Decode the bytes with bounds that they reach, and without, in every way."""
    whole: tuple[list[ServerEvent], bool] = ([], False)
    for line_max, event_max in ((_LINE_MAX, _EVENT_MAX), (1 << 20, 1 << 20)):
        whole = decoded([data], line_max, event_max)
        for cut in (pieces(data), every_byte(data)):
            assert decoded(cut, line_max, event_max) == whole, "the cut matters"
    for one in whole[0]:
        _check_frames(one)


def decoded(cut: list[bytes], line_max: int, event_max: int) -> tuple[list[ServerEvent], bool]:
    """All events, and whether a bound was passed."""
    decoder = SseDecoder(line_max, event_max)
    events: list[ServerEvent] = []
    try:
        for piece in cut:
            events += decoder.feed(piece)
        events += decoder.feed(b"")
    except SseError as error:
        assert str(error) == decoder.failure
        return events, True
    return events, decoder.failure is not None


def _check_frames(one: ServerEvent) -> None:
    frames = SseFrameDecoder()
    written = b"".join([b"data: %b\n" % line for line in one.data.encode().split(b"\n")])
    try:
        (frame,) = frames.feed(b"event: %b\n%b\n" % (one.name.encode(), written))
    except EventStreamError:
        return
    assert frame.payload == one.data.encode()
    (again,) = SseDecoder().feed(frame.raw)
    assert (again.name, again.data) == (one.name, one.data), "written otherwise than it was read"


def seeds() -> Iterator[bytes]:
    """Our own answers, and the standard's examples."""
    for path in sorted(GOLDEN.rglob("*.sse")):
        yield path.read_bytes()[:1500]
    yield b"data: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
    yield b"\xef\xbb\xbfdata\n\ndata\ndata\n\ndata:\r\r\ndata: x\r\n\r\n"
