"""Server-sent events: the decoder against the WHATWG standard's rules and openai-python's decoder; the
encoder against the decoders of both vendors' SDKs, which are what callers read us with.
"""

import itertools
from typing import Final

import anthropic._streaming
import openai._streaming
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.wire.eventstream import END, NEED_DATA
from stargate_core.wire.frames import Corruption, EventStreamError, FrameKind, ServerEvent, SseError
from stargate_core.wire.sse import DONE, SseDecoder, SseFrameDecoder, comment, data_line, event


def decode(*pieces: bytes) -> list[ServerEvent]:
    """All events of a stream that arrives in pieces and then ends."""
    decoder = SseDecoder()
    events: list[ServerEvent] = []
    for piece in pieces:
        decoder.receive_data(piece)
        while (one := decoder.next_event()) is not NEED_DATA:
            assert isinstance(one, ServerEvent)
            events.append(one)
    decoder.receive_eof()
    assert decoder.next_event() is END
    return events


def pairs(*pieces: bytes) -> list[tuple[str, str]]:
    return [(one.name, one.data) for one in decode(*pieces)]


STANDARD: Final[dict[str, tuple[bytes, list[tuple[str, str]]]]] = {
    # The four examples of section 9.2.6.
    "stock ticker": (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10")]),
    "four blocks, of which one is a comment, one has no data, one is cut": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event",
        [("message", "first event"), ("message", "second event")],
    ),
    "empty data": (b"data\n\ndata\ndata\n\ndata:", [("message", ""), ("message", "\n")]),
    "one blank after the colon": (b"data:test\n\ndata: test\n\n", [("message", "test"), ("message", "test")]),
    # Rules of 9.2.5 and 9.2.6, one each.
    "a second blank belongs to the value": (b"data:  x\n\n", [("message", " x")]),
    "a tab is no blank": (b"data:\tx\n\n", [("message", "\tx")]),
    "one byte order mark is skipped": (b"\xef\xbb\xbfdata: 1\n\n", [("message", "1")]),
    "a second one is part of the field's name": (
        b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\n\ndata: 2\n\n",
        [("message", "2")],
    ),
    "nor is one skipped later": (b"data: 1\n\n\xef\xbb\xbfdata: 2\n\n", [("message", "1")]),
    "CR, LF and CRLF end lines": (b"data: 1\rdata: 2\r\ndata: 3\n\r\n", [("message", "1\n2\n3")]),
    "NEL and LINE SEPARATOR do not": (
        b"data: 1\xc2\x85\xe2\x80\xa8\x0b\x0c\x1c2\n\n",
        [("message", "1\x85\u2028\x0b\x0c\x1c2")],
    ),
    "a name": (b"event: ping\ndata: {}\n\ndata: x\n\n", [("ping", "{}"), ("message", "x")]),
    "the last name counts, and an empty one is none": (
        b"event: a\nevent: b\ndata\n\nevent: a\nevent:\ndata\n\n",
        [("b", ""), ("message", "")],
    ),
    "a name without data is no event and is forgotten": (b"event: a\n\ndata: x\n\n", [("message", "x")]),
    "names of fields are compared exactly": (b"Data: x\n data: x\ndata : x\n\n", []),
    "NUL is an ordinary character in data": (b"data: \x00\n\n", [("message", "\x00")]),
    "what is not UTF-8 becomes U+FFFD": (b"data: \xff\xe2\x80\n\n", [("message", "\ufffd\ufffd")]),
}


class TestStandard:
    @pytest.mark.parametrize("rule", STANDARD)
    def test_a_rule_holds_however_the_stream_is_cut(self, rule: str) -> None:
        stream, expected = STANDARD[rule]
        assert pairs(stream) == expected
        assert pairs(*(stream[at : at + 1] for at in range(len(stream)))) == expected
        for at in range(len(stream)):
            assert pairs(stream[:at], b"", stream[at:]) == expected

    def test_identifiers(self) -> None:
        stream = b"id: 1\ndata: a\n\ndata: b\n\nid: 2\n\ndata: c\n\nid: \x00\ndata: d\n\nid\ndata: e\n\n"
        ids = [(one.data, one.last_event_id) for one in decode(stream)]
        assert ids == [("a", "1"), ("b", "1"), ("c", "2"), ("d", "2"), ("e", "")]

    @pytest.mark.parametrize(
        ("line", "retry_ms"),
        [
            (b"retry: 3000", 3000),
            (b"retry:3000x", None),
            (b"retry: -1", None),
            (b"retry: \xd9\xa3", None),
            (b"retry", None),
            (b"retry: " + b"9" * 5000, None),
        ],
    )
    def test_reconnection_time(self, line: bytes, retry_ms: int | None) -> None:
        decoder = SseDecoder()
        assert decoder.feed(line + b"\n\n") == []
        assert decoder.retry_ms == retry_ms


# Lines of events that all have data: what has none, OpenAI's decoder reports and the standard does not.
LINES: Final = st.sampled_from(
    ["data: x", "data:", "data:  é", ": comment", ":", "event: ping", "unknown: y", "data", "data: {}"]
)
ENDS: Final = st.sampled_from(["\n", "\r\n", "\r"])


class TestAgainstOpenai:
    @given(
        blocks=st.lists(st.lists(st.tuples(LINES, ENDS), max_size=5), max_size=6),
        end=ENDS,
        cuts=st.lists(st.integers(0, 200), max_size=8),
    )
    def test_any_stream_cut_anywhere(
        self, blocks: list[list[tuple[str, str]]], end: str, cuts: list[int]
    ) -> None:
        text = "".join("".join(itertools.chain(*block, (f"data: last{end}{end}",))) for block in blocks)
        stream = text.encode()
        at = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        pieces = [stream[start:stop] for start, stop in itertools.pairwise(at)]
        theirs = openai._streaming.SSEDecoder().iter_bytes(iter([stream]))
        assert pairs(*pieces) == [(one.event or "message", one.data) for one in theirs]


PAYLOADS: Final = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)
NAMES: Final = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)


class TestEncoder:
    @given(st.lists(st.tuples(NAMES | st.none(), PAYLOADS), max_size=8))
    def test_the_sdks_read_what_we_write(self, sent: list[tuple[str | None, str]]) -> None:
        stream = b"".join(
            comment(b"keep-alive")
            + (data_line(data.encode()) if name is None else event(name.encode(), data.encode()))
            for name, data in sent
        )
        assert pairs(stream) == [(name or "message", data) for name, data in sent]
        for decoder in (openai._streaming.SSEDecoder(), anthropic._streaming.SSEDecoder()):
            assert [(one.event, one.data) for one in decoder.iter_bytes(iter([stream]))] == sent

    def test_the_very_bytes(self) -> None:
        written = event(b"ping", b"{}") + data_line(b"x\ny") + comment(b"keep-alive")
        assert written == b"event: ping\ndata: {}\n\ndata: x\ndata: y\n\n: keep-alive\n\n"

    def test_the_end_of_an_openai_stream(self) -> None:
        (one,) = openai._streaming.SSEDecoder().iter_bytes(iter([DONE]))
        assert one.data == "[DONE]"

    @given(st.text(st.sampled_from("a:\r\n "), max_size=30))
    def test_a_payload_cannot_make_events_of_its_own(self, payload: str) -> None:
        expected = payload.replace("\r\n", "\n").replace("\r", "\n")
        assert pairs(data_line(payload.encode())) == [("message", expected)]
        assert pairs(event(b"delta", payload.encode())) == [("delta", expected)]

    @pytest.mark.parametrize("text", [b"a\nb", b"a\rdata: x", b"\n"])
    def test_names_and_comments_hold_no_line_break(self, text: bytes) -> None:
        with pytest.raises(ValueError, match="line break"):
            event(text, b"{}")
        with pytest.raises(ValueError, match="line break"):
            comment(text)


class TestLimits:
    def test_a_line_in_one_piece(self) -> None:
        line = b"data: 6789"
        assert len(SseDecoder(line_bytes_max=10).feed(line + b"\n\n")) == 1
        with pytest.raises(SseError, match="at most 9"):
            SseDecoder(line_bytes_max=9).feed(line + b"\n\n")

    def test_a_line_without_an_end(self) -> None:
        decoder = SseDecoder(line_bytes_max=100)
        for _ in range(10):
            assert decoder.feed(b"x" * 10) == []
        with pytest.raises(SseError, match="more than 100"):
            decoder.feed(b"x")

    def test_an_event_of_many_lines(self) -> None:
        decoder = SseDecoder(event_bytes_max=20)
        assert len(decoder.feed(b"data: 1234\n" * 4 + b"\n")) == 1
        with pytest.raises(SseError, match="more than 20"):
            decoder.feed(b"data: 1234\n" * 5)

    def test_events_before_the_failure_are_delivered_and_it_stays(self) -> None:
        decoder = SseDecoder(line_bytes_max=10)
        assert len(decoder.feed(b"data: 1\n\ndata: 2\n\ndata: 3456789\n\ndata: 4\n\n")) == 2
        for _ in range(2):
            with pytest.raises(SseError):
                decoder.feed(b"data: 5\n\n")
            with pytest.raises(SseError):
                decoder.next_event()


class TestFrames:
    """The same events, with the face of Bedrock's own frames."""

    STREAM = b'event: ping\ndata: {}\n\n: quiet\n\ndata: {"a":1}\n\nid: 7\ndata: x\ndata: y\n\n'

    def test_an_event_is_a_frame(self) -> None:
        ping, unnamed, lines = SseFrameDecoder().feed(self.STREAM)
        assert (ping.kind, ping.name, ping.payload) == (FrameKind.EVENT, "ping", b"{}")
        assert (unnamed.name, unnamed.payload) == ("", b'{"a":1}')
        assert lines.payload == b"x\ny"

    def test_its_bytes_say_the_same_again(self) -> None:
        once = SseFrameDecoder().feed(self.STREAM)
        again = SseFrameDecoder().feed(b"".join(frame.raw for frame in once))
        assert again == once

    @given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=8))
    def test_any_cut_gives_the_same_frames(self, cuts: list[int]) -> None:
        decoder, places = SseFrameDecoder(), sorted({0, *cuts, len(self.STREAM)})
        frames = [
            frame for at, to in itertools.pairwise(places) for frame in decoder.feed(self.STREAM[at:to])
        ]
        assert frames == SseFrameDecoder().feed(self.STREAM)

    def test_frames_before_a_failure_come_first_and_it_stays(self) -> None:
        decoder = SseFrameDecoder(line_bytes_max=10)
        assert len(decoder.feed(b"data: 1\n\ndata: 23456789\n\n")) == 1
        for act in (decoder.check, lambda: decoder.feed(b"data: 1\n\n")):
            with pytest.raises(EventStreamError) as error:
                act()
            assert error.value.reason is Corruption.TOO_LARGE

    def test_a_failure_without_frames_before_it_is_raised_at_once(self) -> None:
        with pytest.raises(EventStreamError):
            SseFrameDecoder(line_bytes_max=10).feed(b"data: 3456789012\n\n")
