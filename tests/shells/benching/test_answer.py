"""An answer is read for when its parts came and how it ended; the moments are the test's."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate.benching import answer
from stargate.benching.answer import Answered, AnswerReader, Failed, Outcome, said

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(payload: Any) -> bytes:
    return chunked(
        b"data: " + (payload if isinstance(payload, bytes) else json.dumps(payload).encode()) + b"\n\n"
    )


def delta(*, finish: str | None = None, **parts: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": parts, "finish_reason": finish}], "usage": None})


ROLE = delta(role="assistant", content="")
STOP = delta(finish="stop")
USAGE = event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10}})
DONE = event(b"[DONE]")
WHOLE_STREAM = b"".join([STREAM_HEAD, ROLE, delta(content="a"), delta(content="b"), STOP, USAGE, DONE, END])


def plain(body: Any, status: int = 200, **headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(content)}\r\n\r\n".encode() + content


def read(*pieces: bytes, is_streamed: bool = True, eof: bool = False) -> Outcome | None:
    """Read these, the first one at 100, each next one 10 later."""
    reader = AnswerReader(is_streamed=is_streamed)
    for number, piece in enumerate(pieces):
        reader.receive_data(100 + 10 * number, piece)
    if eof:
        reader.receive_eof(100 + 10 * len(pieces))
    return reader.outcome


class TestMoments:
    def test_of_each_token_and_the_end(self) -> None:
        pieces = [STREAM_HEAD, ROLE, delta(content="a"), delta(content="b"), STOP + USAGE, DONE, END]
        found = read(*pieces)
        assert found == Answered(first_at=120, gaps_ns=[10], ended_at=160, tokens=7, are_tokens_told=True)

    @pytest.mark.parametrize(("missing", "first_at"), [(2, 110), (3, 120)])
    def test_a_token_counts_when_its_event_is_whole(self, missing: int, first_at: int) -> None:
        """An event ends with its blank line; the two bytes behind it only end the chunk."""
        first = delta(content="abc")
        found = read(STREAM_HEAD + first[:20], first[20:-missing], first[-missing:] + STOP + DONE + END)
        assert isinstance(found, Answered)
        assert found.first_at == first_at

    def test_tokens_that_come_together_have_no_gap(self) -> None:
        found = read(
            STREAM_HEAD, delta(content="a") + delta(content="b"), delta(content="c") + STOP + DONE + END
        )
        assert isinstance(found, Answered)
        assert (found.first_at, found.gaps_ns) == (110, [0, 10])

    @pytest.mark.parametrize(
        "part",
        [
            {"content": "x"},
            {"reasoning_content": "x"},
            {"reasoning": "x"},
            {"refusal": "x"},
            {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
        ],
    )
    def test_all_that_a_caller_can_use_is_a_token(self, part: dict[str, Any]) -> None:
        found = read(STREAM_HEAD, ROLE, delta(**part), STOP + DONE + END)
        assert isinstance(found, Answered)
        assert found.first_at == 120

    def test_without_a_usage_events_are_counted(self) -> None:
        found = read(STREAM_HEAD, delta(content="a") + delta(content="b") + STOP + DONE + END)
        assert isinstance(found, Answered)
        assert (found.tokens, found.are_tokens_told) == (2, False)

    def test_a_stream_may_hold_nothing(self) -> None:
        found = read(STREAM_HEAD + ROLE + STOP + DONE + END)
        assert found == Answered(first_at=None, gaps_ns=[], ended_at=100, tokens=0, are_tokens_told=False)

    def test_an_answer_that_is_not_streamed(self) -> None:
        body = {"choices": [{"message": {"content": "x"}}], "usage": {"completion_tokens": 5}}
        found = read(plain(body)[:20], plain(body)[20:], is_streamed=False)
        assert found == Answered(first_at=None, gaps_ns=[], ended_at=110, tokens=5, are_tokens_told=True)
        assert read(plain({"choices": []}), is_streamed=False) == Answered(
            first_at=None, gaps_ns=[], ended_at=100, tokens=0, are_tokens_told=False
        )


class TestCuts:
    @given(st.lists(st.integers(1, len(WHOLE_STREAM) - 1), max_size=12))
    def test_where_the_network_cuts_changes_nothing(self, cuts: list[int]) -> None:
        reader = AnswerReader(is_streamed=True)
        ends = [*sorted(cuts), len(WHOLE_STREAM)]
        for begin, end in zip([0, *ends], ends, strict=False):
            reader.receive_data(5, WHOLE_STREAM[begin:end])
        assert reader.outcome == Answered(first_at=5, gaps_ns=[0], ended_at=5, tokens=7, are_tokens_told=True)
        assert reader.can_be_reused

    @given(st.integers(0, len(WHOLE_STREAM) - 1))
    def test_an_answer_that_stops_is_never_whole(self, at: int) -> None:
        found = read(WHOLE_STREAM[:at], eof=True)
        assert isinstance(found, Failed)
        assert found.kind == "cut off"

    def test_more_is_waited_for(self) -> None:
        assert read(WHOLE_STREAM[:-1]) is None


class TestFailures:
    @pytest.mark.parametrize(
        ("body", "detail"),
        [
            ({"error": {"message": "slow down", "type": "x"}}, "slow down"),
            ({"error": "slow down"}, "slow down"),
            ({"message": "slow down"}, "slow down"),
            ({"detail": "slow down"}, '{"detail": "slow down"}'),
            (b"<h1>slow  down</h1>\n", "<h1>slow down</h1>"),
            (b"", ""),
            (b'"\xff\x1b[31m', '"\ufffd [31m'),
        ],
    )
    def test_a_status_is_told_with_what_was_said(self, body: Any, detail: str) -> None:
        assert read(plain(body, 429)) == Failed("status 429", detail)

    def test_what_is_said_is_bounded(self) -> None:
        found = read(plain(b"x" * 1_000_000, 500))
        assert isinstance(found, Failed)
        assert len(found.detail) == 160
        assert len(said(b"y" * 10_000)) == 160

    def test_an_error_in_a_stream(self) -> None:
        failing = event({"error": {"message": "overloaded", "type": "server_error"}})
        assert read(STREAM_HEAD, delta(content="a"), failing) == Failed("error in a stream", "overloaded")

    def test_the_first_failure_is_the_one_that_is_told(self) -> None:
        failing = (
            event({"error": {"message": "overloaded"}}) + event({"error": {"message": "gone"}}) + DONE + END
        )
        assert read(STREAM_HEAD + failing) == Failed("error in a stream", "overloaded")

    @pytest.mark.parametrize(
        ("pieces", "is_streamed"),
        [
            ((b"SSH-2.0-OpenSSH_9.6\r\n\r\n",), True),
            ((plain({"choices": []}),), True),
            ((STREAM_HEAD, event(b"{")), True),
            ((STREAM_HEAD, event(["no", "chunk"])), True),
            ((plain(b"<html>"),), False),
            ((plain(b'{"choices": "\xff"}'),), False),
            ((plain({"choices": None}),), False),
        ],
    )
    def test_what_is_no_answer(self, pieces: tuple[bytes, ...], is_streamed: bool) -> None:
        found = read(*pieces, is_streamed=is_streamed, eof=True)
        assert isinstance(found, Failed)
        assert found.kind == "bad answer"

    def test_a_stream_without_an_end(self) -> None:
        found = read(STREAM_HEAD, delta(content="a"), END)
        assert found == Failed("cut off", "the stream ended without an end")

    def test_a_reason_to_finish_or_done_is_an_end(self) -> None:
        assert isinstance(read(STREAM_HEAD, delta(content="a"), STOP, END), Answered)
        assert isinstance(read(STREAM_HEAD, delta(content="a"), DONE, END), Answered)


class TestConnections:
    def test_one_that_was_closed_meanwhile(self) -> None:
        reader = AnswerReader(is_streamed=True)
        reader.receive_eof(1)
        assert reader.was_left
        reset = AnswerReader(is_streamed=True)
        reset.receive_reset()
        assert reset.was_left

    def test_one_that_broke_in_an_answer(self) -> None:
        reader = AnswerReader(is_streamed=True)
        reader.receive_data(1, b"HTTP/1.1")
        reader.receive_reset()
        assert (reader.was_left, reader.outcome) == (False, Failed("cut off", "the connection was reset"))

    def test_one_that_the_server_will_close_is_not_used_again(self) -> None:
        reader = AnswerReader(is_streamed=False)
        reader.receive_data(1, plain({"choices": []}, connection="close"))
        assert isinstance(reader.outcome, Answered)
        assert not reader.can_be_reused

    def test_one_is_used_again_after_a_refusal(self) -> None:
        reader = AnswerReader(is_streamed=True)
        reader.receive_data(1, plain({"error": "x"}, 429))
        assert reader.can_be_reused


class TestBounds:
    def test_an_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(answer, "ANSWER_BYTES_MAX", 1_000)
        found = read(plain({"choices": ["x" * 1_000]}), is_streamed=False)
        assert found == Failed("bad answer", "it is larger than 1000 bytes")

    def test_an_event(self) -> None:
        endless = [chunked(b"data: " + b"x" * 100_000)] + [chunked(b"x" * 100_000)] * 10
        found = read(STREAM_HEAD, *endless)
        assert isinstance(found, Failed)
        assert found.kind == "bad answer"

    def test_events(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(answer, "EVENTS_MAX", 3)
        found = read(STREAM_HEAD, *[delta(content="a")] * 4)
        assert found == Failed("bad answer", "it has more than 3 events")
