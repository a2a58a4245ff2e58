"""Bytes as a person reads them: heads, JSON, streams by their events; and nothing that steers a terminal."""

from collections.abc import Callable, Iterator
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.journal.readable import (
    CHARS_MAX,
    BodyReader,
    Requests,
    Responses,
    content_type_of,
    head_lines,
    plain,
    shown,
)
from stargate_core.wire.eventstream import encode_event
from stargate_core.wire.sse import LINE_BYTES_MAX
from support.bedrock import (
    BAD_FRAMES,
    EVENT_STREAM,
    LAST_CHUNK,
    chunk,
    converse_answer,
    converse_story,
    exception,
    invoke_story,
    stream_head,
)
from support.machines import chat, request

STORY: Final = converse_story()
CHAT: Final = chat(user="me")


def lines(feed: Callable[[bytes], Iterator[str]], *pieces: bytes) -> list[str]:
    """What is said of these pieces."""
    return [line for piece in pieces for line in feed(piece)]


class TestShown:
    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (b'{"a": "b"}', '{"a": "b"}'),
            ("grüße".encode(), "grüße"),
            (b"a\x1b[31mb\r\n", "a\\x1b[31mb\\x0d\\x0a"),
            (b"", ""),
            (bytes(range(128, 256)), "(128 bytes that are no text)"),
            (b"x" * (CHARS_MAX + 1), "x" * CHARS_MAX + f"… ({CHARS_MAX + 1} bytes)"),
            (b"y" * 1_234_567, "y" * CHARS_MAX + "… (1,234,567 bytes)"),
        ],
    )
    def test_it_is_text_where_it_is_text(self, data: bytes, text: str) -> None:
        assert shown(data) == text

    @given(st.binary(max_size=5000))
    def test_it_is_one_line_that_steers_nothing(self, data: bytes) -> None:
        line = shown(data)
        assert all(character.isprintable() or ord(character) > 0x9F for character in line)
        assert len(line) < 5 * CHARS_MAX

    def test_what_turns_text_around_is_spelled_out(self) -> None:
        assert plain("a\u202eb") == "a\\x202eb"

    @pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\n", "\r"])
    def test_so_is_what_breaks_a_line(self, separator: str) -> None:
        assert len(plain(f"a{separator}b").splitlines()) == 1


class TestRequests:
    def test_a_request_is_its_head_and_its_body(self) -> None:
        said = lines(Requests().feed, CHAT)
        assert said[0] == "POST /v1/chat/completions HTTP/1.1"
        assert "host: stargate" in said
        assert said[-1].startswith('{"model":')

    def test_it_may_come_in_pieces(self) -> None:
        reader = Requests()
        assert lines(reader.feed, CHAT[:20]) == ["(more of it: 20 bytes)"]
        head = lines(reader.feed, CHAT[20:130])
        assert head[0] == "POST /v1/chat/completions HTTP/1.1"
        assert len(lines(reader.feed, CHAT[130:])) == 1

    def test_another_may_follow(self) -> None:
        said = lines(Requests().feed, CHAT + request("/v1/models", method="GET"))
        assert [line for line in said if line.endswith("HTTP/1.1")] == [
            "POST /v1/chat/completions HTTP/1.1",
            "GET /v1/models HTTP/1.1",
        ]

    def test_the_last_one_is_the_last(self) -> None:
        reader = Requests()
        said = lines(reader.feed, chat(version="1.0"))
        assert said[0] == "POST /v1/chat/completions HTTP/1.0"

    def test_what_is_no_request_is_shown_as_it_is(self) -> None:
        reader = Requests()
        said = lines(reader.feed, b"nonsense\r\n\r\n", b"more of it")
        assert said[0].startswith("no HTTP that can be read on: ")
        assert said[1:] == ["nonsense\\x0d\\x0a\\x0d\\x0a", "more of it"]


class TestResponses:
    def test_a_plain_answer(self) -> None:
        said = lines(Responses().feed, converse_answer("Hello."))
        assert said[0] == "HTTP/1.1 200 X"
        assert '"Hello."' in said[-1]

    def test_a_stream_is_told_by_its_events(self) -> None:
        said = lines(Responses().feed, stream_head(), *map(chunk, STORY.frames), LAST_CHUNK)
        assert said[0] == "HTTP/1.1 200 OK"
        events = [line.split()[1] for line in said if line.startswith("event ")]
        assert events == [
            "messageStart",
            "contentBlockDelta",
            "contentBlockDelta",
            "contentBlockStop",
            "messageStop",
            "metadata",
        ]
        assert said[-1] == "(framing: 5 bytes)"

    def test_the_next_one_is_read_as_well(self) -> None:
        reader = Responses()
        for _ in range(3):
            assert lines(reader.feed, converse_answer())[0] == "HTTP/1.1 200 X"

    def test_what_is_no_response_is_said(self) -> None:
        reader = Responses()
        said = lines(reader.feed, b"HTTP/9.9 what\r\n\r\n", b"ever")
        assert said[0].startswith("no HTTP that can be read on: ")
        assert said[-1] == "ever"


class TestBodies:
    def test_frames_in_pieces(self) -> None:
        reader = BodyReader(EVENT_STREAM)
        frame = STORY.frames[0]
        said = lines(reader.feed, frame[:10], frame[10:])
        assert said == [
            "(a part of a frame: 10 bytes)",
            'event messageStart {"role":"assistant","p":"abcdef"}',
        ]

    def test_an_exception_is_named(self) -> None:
        said = lines(BodyReader(EVENT_STREAM).feed, exception("throttlingException", "Too much."))
        assert said == ['exception throttlingException {"message":"Too much."}']

    @pytest.mark.parametrize("name", BAD_FRAMES)
    def test_a_bad_frame_is_said_to_be_one(self, name: str) -> None:
        said = lines(BodyReader(EVENT_STREAM).feed, BAD_FRAMES[name])
        assert said[0].startswith(("a bad frame (", "a frame of no known kind", "(a part of a frame"))

    def test_the_good_frames_before_a_bad_one_are_told(self) -> None:
        said = lines(BodyReader(EVENT_STREAM).feed, STORY.frames[0] + BAD_FRAMES["a bad message checksum"])
        assert said[0].startswith("event messageStart")
        assert said[1].startswith("a bad frame (message checksum mismatch)")

    def test_a_models_own_events_are_unwrapped(self) -> None:
        said = lines(BodyReader(EVENT_STREAM).feed, invoke_story().whole)
        assert said[0].startswith('event chunk {"type":"message_start"')

    def test_what_only_looks_like_one_is_shown_as_it_is(self) -> None:
        frame = encode_event("chunk", b'{"bytes":"A"}')
        assert lines(BodyReader(EVENT_STREAM).feed, frame) == ['event chunk {"bytes":"A"}']

    def test_an_endless_line_is_said_to_be_one(self) -> None:
        (said,) = lines(BodyReader("text/event-stream").feed, b"x" * (LINE_BYTES_MAX + 1))
        assert said.startswith("a bad event: ")

    def test_server_sent_events(self) -> None:
        reader = BodyReader("text/event-stream; charset=utf-8")
        data = b'event: ping\ndata: {}\n\n: keep-alive\n\ndata: {"a":1}\n\nda'
        assert lines(reader.feed, data) == ["event ping data {}", 'data {"a":1}', ": keep-alive"]
        assert lines(reader.feed, b"ta: [DO", b"NE]\n\n") == ["(a part of an event: 7 bytes)", "data [DONE]"]

    def test_anything_else_is_shown_as_it_is(self) -> None:
        assert lines(BodyReader("").feed, b'{"a":') == ['{"a":']

    @pytest.mark.parametrize("content_type", ["", EVENT_STREAM, "text/event-stream"])
    @given(pieces=st.lists(st.binary(max_size=80), max_size=5))
    def test_no_bytes_can_break_it(self, content_type: str, pieces: list[bytes]) -> None:
        lines(BodyReader(content_type).feed, *pieces)
        lines(Responses().feed, *pieces)
        lines(Requests().feed, *pieces)


def test_a_head_is_lines() -> None:
    assert list(head_lines(b"HTTP/1.1 200 OK", [(b"a", b"b"), (b"c", b"\x1b")])) == [
        "HTTP/1.1 200 OK",
        "a: b",
        "c: \\x1b",
    ]
    assert content_type_of([(b"Content-Type", b"Text/Plain")]) == "text/plain"
    assert content_type_of([]) == ""
