"""One request and its response in time: limits, silence, slow callers, connections that had died."""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest

from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.config.bedrock_proxy import CircuitBreaker
from stargate_core.config.plugin_configs import Retry
from stargate_core.config.schema import Gateway, TimeLimits
from stargate_core.dialects.openai_chat_stream import KEEP_ALIVE
from stargate_core.direction import Sharing
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.exchange import HELD_BYTES_MAX, TABLE, Exchange
from stargate_core.gateway.session import Exchanging
from stargate_core.gateway.states import (
    Admitting,
    Asking,
    Awaiting,
    Collecting,
    Gathering,
    Opening,
    Pausing,
    Peeking,
    Settled,
    Streaming,
    Tailing,
)
from stargate_core.messages import (
    AnswerBegan,
    AnswerEnded,
    AnswerFailed,
    AnswerSent,
    ClientDrained,
    ClientStalled,
    CredentialsChanged,
    Draining,
    DropUpstream,
    Health,
    HealthChanged,
    Note,
    OpenUpstream,
    ReleaseUpstream,
    SessionEvent,
    Source,
    Ticked,
    Trouble,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamOpened,
    UpstreamSent,
    WriteClient,
)
from stargate_core.misuse import PhaseMisuse
from stargate_core.questions import CallEnded
from stargate_core.wire.eventstream import EventStreamDecoder
from support.bedrock import (
    EVENT_STREAM,
    LAST_CHUNK,
    aws_error,
    chunk,
    converse_answer,
    converse_story,
    event,
    stream_head,
)
from support.embeddings import embeddings
from support.hooks import entry, plugin_of
from support.machines import LOG, MODEL, Answer, Bench, a_config, a_plan, chat, converse, proxy, request, sse

STORY: Final = converse_story()
TARGET: Final = f"bedrock.test:8000/us-east-1/{MODEL}"
"""What the bench's only target is called."""
SILENCE: Final = 3600.0
"""A keep-alive interval that never comes."""


def limited(keepalive: float = SILENCE, **limits: float) -> Bench:
    """A bench with these time limits, in seconds."""
    gateway = Gateway(time_limits=TimeLimits(**limits), keepalive_seconds=keepalive)
    return Bench(a_plan(a_config(gateway=gateway)))


def streaming(bench: Bench, *said: bytes, request: bytes | None = None) -> Bench:
    """The caller's stream has begun with these frames."""
    bench.ask(request or chat(stream=True))
    bench.open()
    bench.answer(stream_head() + b"".join(map(chunk, said)))
    return bench


def state(bench: Bench) -> type:
    """Where the exchange under way stands."""
    session_state = bench.session.state
    assert isinstance(session_state, Exchanging)
    return type(session_state.exchange.state)


def code(answer: Answer) -> str:
    """The code of an HTTP error to an OpenAI client."""
    return str(answer.json["error"]["code"])


class TestStates:
    def test_a_good_day(self) -> None:
        bench = Bench()
        bench.ask(chat(stream=True))
        seen = [state(bench)]
        bench.open()
        for piece in (stream_head(), chunk(STORY.beginning), chunk(STORY.middle), chunk(STORY.end)):
            seen.append(state(bench))
            bench.answer(piece)
        seen.append(state(bench))
        bench.answer(LAST_CHUNK)
        assert seen == [Opening, Awaiting, Peeking, Peeking, Streaming, Tailing]
        bench.settle()

    def test_a_plain_answer_is_collected(self) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer()[:-1])
        assert state(bench) is Collecting

    def test_every_cell_is_a_rule_or_a_reason(self) -> None:
        before = (Admitting, Asking, Pausing, Opening)
        under_way = (Awaiting, Collecting, Peeking, Streaming, Tailing, Gathering)
        assert TABLE.states == (*before, *under_way, Settled)
        assert {(s, e) for s in TABLE.states for e in TABLE.events} == set(TABLE.rules)
        assert all(reason.strip() for reason in TABLE.reasons.values())


def admitting(bench: Bench) -> None:
    """A hook waits."""
    bench.ask(chat(headers={"x-wait": "1"}))


def opening(bench: Bench) -> None:
    """A lease is awaited."""
    bench.ask(chat(stream=True))


def awaiting(bench: Bench) -> None:
    """An answer is awaited."""
    opening(bench)
    bench.open()


def collecting(bench: Bench) -> None:
    """A plain answer arrives."""
    bench.ask(chat())
    bench.open()
    bench.answer(converse_answer()[:-1])


def peeking(bench: Bench) -> None:
    """A stream arrives that has said nothing."""
    awaiting(bench)
    bench.answer(stream_head() + chunk(STORY.beginning))


def flowing(bench: Bench) -> None:
    """A stream flows."""
    peeking(bench)
    bench.answer(chunk(STORY.middle))


def tailing(bench: Bench) -> None:
    """Only the transport's end is missing."""
    flowing(bench)
    bench.answer(chunk(STORY.end))


def passing(bench: Bench) -> None:
    """The same, of a native stream."""
    streaming(bench, STORY.whole, request=converse("converse-stream"))


def gathering(bench: Bench) -> None:
    """The answers of a batch arrive."""
    bench.ask(embeddings(["one", "two"]))


WAYS: Final[dict[Callable[[Bench], None], type]] = {
    admitting: Admitting,
    opening: Opening,
    awaiting: Awaiting,
    collecting: Collecting,
    peeking: Peeking,
    flowing: Streaming,
    tailing: Tailing,
    passing: Tailing,
    gathering: Gathering,
}


def waits(ctx: Any) -> Any:
    """A hook that takes its time, when asked to."""
    if ctx.request.header(b"x-wait") is not None:
        yield from ctx.sleep(10 * SECOND)


def brought(way: Callable[[Bench], None]) -> Bench:
    """A bench whose exchange stands in a certain state."""
    bench = Bench(a_plan(a_config(entry()), plugin_of({"access": waits})))
    way(bench)
    assert state(bench) is WAYS[way]
    return bench


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
class TestLateFacts:
    """Whatever is told of another ticket or lease, in whatever state: nothing comes of it."""

    @pytest.mark.parametrize(
        "fact",
        [
            UpstreamSent(4711, converse_answer()),
            UpstreamEnded(4711),
            UpstreamLost(4711),
            UpstreamFailed(4711, Trouble.REFUSED),
            Ticked(),
        ],
        ids=lambda fact: type(fact).__name__,
    )
    def test_nothing_comes_of_it(self, way: Callable[[Bench], None], fact: SessionEvent) -> None:
        bench = brought(way)
        before = bench.session.deadline
        assert bench.tell(fact) == []
        assert state(bench) is WAYS[way]
        assert bench.session.deadline == before

    def test_a_strange_lease_goes_back(self, way: Callable[[Bench], None]) -> None:
        bench = brought(way)
        out = bench.session.handle(bench.now, UpstreamOpened(4711, 4712, reused=False))
        assert out == [ReleaseUpstream(4712)]
        assert state(bench) is WAYS[way]

    def test_the_client_may_send_ahead(self, way: Callable[[Bench], None]) -> None:
        bench = brought(way)
        assert bench.send(chat()) == []
        assert state(bench) is WAYS[way]

    @pytest.mark.parametrize("lost", [False, True])
    def test_and_leave(self, way: Callable[[Bench], None], lost: bool) -> None:
        bench = brought(way)
        bench.leave(lost=lost)
        assert bench.record["outcome"] == ("complete" if WAYS[way] is Tailing else "client_left")
        bench.settle()

    def test_and_stall_and_drain(self, way: Callable[[Bench], None]) -> None:
        bench = brought(way)
        for fact in (ClientStalled(), ClientStalled(), ClientDrained(), ClientDrained()):
            assert bench.tell(fact) == []
        assert state(bench) is WAYS[way]

    def test_time_ends_them_all(self, way: Callable[[Bench], None]) -> None:
        bench = brought(way)
        for _ in range(1000):
            bench.advance(SECOND)
            if not isinstance(bench.session.state, Exchanging):
                break
            while bench.asked:
                bench.open()
        assert len(bench.records) == 1
        bench.settle()

    def test_and_so_does_the_end_of_the_grace(self, way: Callable[[Bench], None]) -> None:
        bench = brought(way)
        bench.tell(Draining(0))
        bench.advance(0)
        assert bench.closed is not None
        assert bench.record["outcome"] == ("complete" if WAYS[way] is Tailing else "failed")
        bench.settle()


class TestLeases:
    @pytest.mark.parametrize(
        ("trouble", "status", "error", "again"),
        [
            (Trouble.REFUSED, 502, "upstream_connect_failed", "true"),
            (Trouble.UNREACHABLE, 502, "upstream_connect_failed", "true"),
            (Trouble.NAME_UNKNOWN, 502, "upstream_connect_failed", "true"),
            (Trouble.TLS, 502, "upstream_tls_failed", "false"),
            (Trouble.CONNECT_TIMEOUT, 504, "CONNECT_TIMEOUT", "true"),
            (Trouble.POOL_TIMEOUT, 504, "POOL_TIMEOUT", "true"),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True])
    def test_each_trouble_has_its_own_code(
        self, trouble: Trouble, status: int, error: str, again: str, stream: bool
    ) -> None:
        bench = Bench()
        bench.ask(chat(stream=stream))
        bench.refuse(trouble, "OSError: 10.0.0.1:443")
        assert (bench.only.status, code(bench.only)) == (status, error)
        assert bench.only.header("x-should-retry") == again
        assert "10.0.0.1" not in bench.only.body.decode()
        assert bench.record["detail"] == "OSError: 10.0.0.1:443"
        bench.settle()

    def test_every_trouble_is_told(self) -> None:
        for trouble in Trouble:
            bench = Bench()
            bench.ask(converse())
            bench.refuse(trouble)
            assert bench.only.status in {502, 504}

    def test_the_call_goes_where_the_plugin_said(self) -> None:
        bench = Bench()
        bench.ask(chat())
        (asked,) = bench.opened
        assert (asked.endpoint.host, asked.endpoint.port, asked.fresh) == ("bedrock.test", 8000, False)

    def test_it_is_signed_when_its_connection_stands(self) -> None:
        bench = limited(total=600)
        bench.ask(chat())
        bench.advance(100 * SECOND)
        bench.open()
        assert bench.call.headers["x-amz-date"] == "20270115T080140Z"


class TestKeptConnections:
    """A kept connection that closes before the first byte has, most likely, never read the call."""

    @pytest.mark.parametrize("lost", [False, True])
    def test_the_call_is_made_once_more_on_a_fresh_one(self, lost: bool) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.open(reused=True)
        (bench.upstream_breaks if lost else bench.upstream_ends)()
        assert bench.dropped
        assert [asked.fresh for asked in bench.opened] == [False, True]
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.status == 200
        assert bench.record["attempts"] == 2
        assert bench.calls[0].body == bench.calls[1].body
        bench.settle()

    def test_but_not_twice(self) -> None:
        """Whatever the shell says of the second connection."""
        bench = Bench()
        bench.ask(chat())
        for reused in (True, True):
            bench.open(reused=reused)
            bench.upstream_ends()
        assert (bench.only.status, code(bench.only)) == (502, "upstream_connection_lost")
        bench.settle()

    def test_and_not_on_a_connection_that_was_fresh(self) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.open(reused=False)
        bench.upstream_ends()
        assert bench.only.status == 502
        assert len(bench.opened) == 1

    def test_and_not_when_a_byte_has_come(self) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.open(reused=True)
        bench.answer(b"H")
        bench.upstream_ends()
        assert bench.only.status == 502
        assert len(bench.opened) == 1

    def test_and_not_when_the_caller_has_its_status_line(self) -> None:
        bench = limited(keepalive=1)
        bench.ask(chat(stream=True))
        bench.open(reused=True)
        bench.advance(SECOND)
        bench.upstream_ends()
        assert sse(bench.only.body)[-1]["error"]["code"] == "upstream_connection_lost"
        assert len(bench.opened) == 1
        bench.settle()

    @pytest.mark.parametrize("lost", [False, True])
    def test_a_job_is_begun_on_a_fresh_one_and_never_once_more(self, lost: bool) -> None:
        """Two starts would be two jobs; and on a fresh connection there is no such doubt."""
        bench = Bench()
        start = {"modelId": MODEL, "modelInput": {}, "outputDataConfig": {}}
        bench.ask(request("/async-invoke", msgspec.json.encode(start)))
        assert [asked.fresh for asked in bench.opened] == [True]
        bench.open(reused=True)  # Whatever the shell says of it.
        (bench.upstream_breaks if lost else bench.upstream_ends)()
        assert len(bench.opened) == 1
        assert (bench.only.status, bench.record["attempts"]) == (502, 1)
        bench.settle()

    def test_a_caller_who_leaves_before_the_second_try_has_waited_no_negative_time(self) -> None:
        bench = limited(total=600)
        bench.advance(SECOND)
        bench.ask(chat())
        bench.open(reused=True)
        bench.advance(5 * SECOND)
        bench.upstream_ends()
        bench.leave()
        assert bench.record.get("lease_ms", 0.0) == 0.0
        bench.settle()

    def test_no_clock_of_the_first_try_runs_on(self) -> None:
        bench = limited(total=600, first_token=5, keepalive=3)
        bench.ask(chat(stream=True))
        bench.open(reused=True)
        bench.upstream_ends()
        bench.advance(60 * SECOND)
        assert bench.client.answers == []
        bench.open()
        bench.answer(stream_head() + chunk(STORY.whole) + LAST_CHUNK)
        assert bench.record["outcome"] == "complete"

    def test_the_second_try_has_the_time_that_is_left(self) -> None:
        bench = limited(total=10, first_token=60)
        bench.ask(chat(stream=True))
        bench.open(reused=True)
        bench.advance(8 * SECOND)
        bench.upstream_ends()
        bench.open()
        bench.advance(2 * SECOND)
        assert (bench.only.status, code(bench.only)) == (504, "TOTAL_TIMEOUT")


class TestTimeLimits:
    @pytest.mark.parametrize("said", [b"", stream_head(), stream_head() + chunk(STORY.beginning)])
    def test_a_stream_must_begin_in_time(self, said: bytes) -> None:
        bench = limited(first_token=7)
        bench.ask(chat(stream=True))
        bench.open()
        if said:
            bench.answer(said)
        bench.advance(7 * SECOND - 1)
        assert bench.client.answers == []
        bench.advance(1)
        assert (bench.only.status, code(bench.only)) == (504, "FIRST_TOKEN_TIMEOUT")
        assert bench.dropped
        bench.settle()

    def test_the_beginning_is_not_put_off_by_what_means_nothing(self) -> None:
        bench = limited(first_token=7)
        bench.ask(chat(stream=True))
        bench.open()
        bench.answer(stream_head())
        for _ in range(6):
            bench.advance(SECOND)
            bench.answer(chunk(event("novelty", {})))
        bench.advance(SECOND)
        assert code(bench.only) == "FIRST_TOKEN_TIMEOUT"

    def test_a_stream_may_be_long_as_long_as_it_speaks(self) -> None:
        bench = streaming(limited(idle=5, total=3600), STORY.beginning + STORY.middle)
        for _ in range(100):
            bench.advance(5 * SECOND - 1)
            bench.answer(chunk(STORY.middle))
        bench.answer(chunk(STORY.end) + LAST_CHUNK)
        assert bench.record["outcome"] == "complete"

    def test_a_stream_that_falls_silent_is_ended(self) -> None:
        bench = streaming(limited(idle=5), STORY.beginning + STORY.middle)
        bench.advance(5 * SECOND - 1)
        assert not bench.only.whole
        bench.advance(1)
        assert sse(bench.only.body)[-1]["error"]["code"] == "IDLE_TIMEOUT"
        assert bench.only.whole
        assert bench.dropped
        bench.settle()

    def test_half_a_frame_is_not_silence_and_not_an_event(self) -> None:
        """The limit is between two events; but bytes that come are no silence either."""
        bench = streaming(limited(idle=5), STORY.beginning + STORY.middle)
        bench.advance(4 * SECOND)
        bench.answer(chunk(STORY.middle[:10]))
        bench.advance(4 * SECOND)
        assert not bench.only.whole

    def test_the_whole_is_bounded(self) -> None:
        bench = streaming(limited(idle=5, total=20), STORY.beginning)
        for _ in range(9):
            bench.answer(chunk(STORY.middle))
            bench.advance(2 * SECOND)
        bench.advance(2 * SECOND - 1)
        assert not bench.only.whole
        bench.advance(1)
        assert sse(bench.only.body)[-1]["error"]["code"] == "TOTAL_TIMEOUT"
        bench.settle()

    def test_the_plugins_own_limit_is_the_stricter_one(self) -> None:
        for total, timeout, seconds in ((600, 9_000, 9), (9, 600_000, 9)):
            gateway = Gateway(time_limits=TimeLimits(total=total))
            bench = Bench(a_plan(a_config(plugins=[proxy(timeout=timeout)], gateway=gateway)))
            bench.ask(chat())
            bench.open()
            bench.advance(seconds * SECOND - 1)
            assert bench.client.answers == []
            bench.advance(1)
            assert code(bench.only) == "TOTAL_TIMEOUT"

    def test_a_shared_stream_is_watched_where_it_is_made(self) -> None:
        gateway = Gateway(time_limits=TimeLimits(first_token=5, idle=5), keepalive_seconds=SILENCE)
        bench = Bench(a_plan(a_config(entry(), gateway=gateway), plugin_of({"access": shares})))
        bench.ask(chat(stream=True))
        (ticket,) = bench.followed
        bench.advance(60 * SECOND)
        bench.tell(AnswerBegan(ticket, Source.MADE, [(b"content-type", EVENT_STREAM.encode())]))
        bench.tell(AnswerSent(ticket, STORY.beginning + STORY.middle))
        bench.advance(60 * SECOND)
        assert not bench.only.whole
        bench.followed.clear()
        bench.tell(AnswerSent(ticket, STORY.end))
        bench.tell(AnswerEnded(ticket))
        assert bench.record["outcome"] == "complete"

    def test_the_whole_counts_from_the_request(self) -> None:
        bench = limited(total=10)
        bench.ask(chat())
        bench.advance(9 * SECOND)
        bench.open()
        bench.advance(SECOND)
        assert code(bench.only) == "TOTAL_TIMEOUT"
        assert bench.dropped

    def test_waiting_for_a_lease_is_bounded_by_the_whole(self) -> None:
        bench = limited(total=10)
        bench.ask(chat())
        bench.advance(10 * SECOND)
        assert code(bench.only) == "TOTAL_TIMEOUT"
        assert bench.withdrawn == [1]
        bench.settle()

    def test_a_plain_answer_may_begin_late(self) -> None:
        """It comes whole or not at all: only the total limit binds it until it begins."""
        bench = limited(first_token=5, idle=5, total=600)
        bench.ask(chat())
        bench.open()
        bench.advance(500 * SECOND)
        bench.answer(converse_answer())
        assert bench.only.status == 200

    def test_a_plain_answer_that_has_begun_must_go_on(self) -> None:
        bench = limited(idle=5)
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer()[:-5])
        bench.advance(4 * SECOND)
        bench.answer(converse_answer()[-5:-1])
        bench.advance(5 * SECOND - 1)
        assert bench.client.answers == []
        bench.advance(1)
        assert (bench.only.status, code(bench.only)) == (504, "IDLE_TIMEOUT")

    @pytest.mark.parametrize(
        ("limits", "said", "name"),
        [
            ({"first_token": 7.0}, b"", "ModelTimeoutException"),
            ({"first_token": 7.0}, stream_head(), "ModelTimeoutException"),
            ({"total": 7.0}, b"", "ModelTimeoutException"),
        ],
    )
    def test_an_aws_caller_is_told_by_an_exception(
        self, limits: dict[str, float], said: bytes, name: str
    ) -> None:
        bench = limited(**limits)
        bench.ask(converse("converse-stream"))
        bench.open()
        if said:
            bench.answer(said)
        bench.advance(7 * SECOND)
        assert (bench.only.status, bench.only.header("x-amzn-errortype")) == (504, name)

    @pytest.mark.parametrize("limit", ["idle", "total"])
    @pytest.mark.parametrize(
        ("operation", "name"),
        [
            # Only InvokeModel's streams have a member for a timeout.
            ("converse-stream", "modelStreamErrorException"),
            ("invoke-with-response-stream", "modelTimeoutException"),
        ],
    )
    def test_in_an_aws_callers_stream_it_is_an_exception_frame(
        self, limit: str, operation: str, name: str
    ) -> None:
        said = STORY.middle if operation == "converse-stream" else event("chunk", {"bytes": "e30="})
        bench = streaming(limited(**{limit: 5.0}), said, request=converse(operation))
        bench.advance(5 * SECOND)
        assert EventStreamDecoder().feed(bench.only.body)[-1].name == name
        assert bench.only.whole


class TestKeepAlive:
    def test_a_silent_stream_gets_a_comment_so_often(self) -> None:
        bench = streaming(limited(keepalive=3, idle=60), STORY.beginning + STORY.middle)
        before = bench.only.body
        bench.advance(3 * SECOND - 1)
        assert bench.only.body == before
        bench.advance(1)
        assert bench.only.body == before + KEEP_ALIVE
        bench.advance(6 * SECOND)
        assert bench.only.body == before + KEEP_ALIVE * 3

    def test_what_is_said_puts_it_off(self) -> None:
        bench = streaming(limited(keepalive=3, idle=60), STORY.beginning + STORY.middle)
        for _ in range(5):
            bench.advance(2 * SECOND)
            bench.answer(chunk(STORY.middle))
        assert KEEP_ALIVE not in bench.only.body

    @pytest.mark.parametrize("said", [b"", stream_head(), stream_head() + chunk(STORY.beginning)])
    def test_before_the_first_word_it_costs_the_status_line(self, said: bytes) -> None:
        bench = limited(keepalive=3, first_token=60)
        bench.ask(chat(stream=True))
        bench.open()
        if said:
            bench.answer(said)
        bench.advance(3 * SECOND)
        assert (bench.only.status, bench.only.header("content-type")) == (
            200,
            "text/event-stream; charset=utf-8",
        )
        assert bench.only.body.endswith(KEEP_ALIVE)
        rest = (b"" if said else stream_head()) + (
            b"" if said.endswith(chunk(STORY.beginning)) else chunk(STORY.beginning)
        )
        bench.answer(rest + chunk(STORY.middle))
        bench.answer(chunk(STORY.end) + LAST_CHUNK)
        *events, done = sse(bench.only.body)
        assert done == "[DONE]"
        assert events[0]["choices"][0]["delta"]["role"] == "assistant"
        assert [e["choices"][0]["delta"].get("role") for e in events].count("assistant") == 1
        assert bench.record["outcome"] == "complete"
        bench.settle()

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (aws_error("ThrottlingException", 429), "rate_limit_exceeded"),
            (aws_error("ValidationException", 400), "INVALID_REQUEST"),
            (b"garbage\r\n\r\n", "upstream_protocol_error"),
            (stream_head() + LAST_CHUNK, "upstream_stream_broken"),
        ],
    )
    def test_an_error_behind_it_goes_in_band(self, answer: bytes, error: str) -> None:
        bench = limited(keepalive=3)
        bench.ask(chat(stream=True))
        bench.open()
        bench.advance(3 * SECOND)
        bench.answer(answer)
        assert bench.only.status == 200
        assert [each["error"]["code"] for each in sse(bench.only.body)] == [error]
        assert bench.only.whole
        assert (bench.record["outcome"], bench.record["status"]) == ("failed", 200)
        bench.settle()

    def test_the_first_token_is_still_awaited(self) -> None:
        bench = limited(keepalive=3, first_token=10)
        bench.ask(chat(stream=True))
        bench.open()
        bench.advance(10 * SECOND)
        assert bench.only.body.startswith(KEEP_ALIVE * 3)
        assert sse(bench.only.body)[-1]["error"]["code"] == "FIRST_TOKEN_TIMEOUT"

    def test_frames_that_mean_nothing_do_not_make_it_a_stream_in_flow(self) -> None:
        bench = limited(keepalive=3, first_token=10, idle=1)
        bench.ask(chat(stream=True))
        bench.open()
        bench.advance(4 * SECOND)
        bench.answer(stream_head() + chunk(STORY.beginning))
        bench.advance(5 * SECOND)
        assert not bench.only.whole
        bench.advance(SECOND)
        assert sse(bench.only.body)[-1]["error"]["code"] == "FIRST_TOKEN_TIMEOUT"

    @pytest.mark.parametrize("request_", [chat(), converse(), converse("converse-stream")])
    def test_where_the_dialect_has_none_there_is_none(self, request_: bytes) -> None:
        bench = limited(keepalive=3, first_token=60, total=60)
        bench.ask(request_)
        bench.open()
        bench.advance(50 * SECOND)
        assert bench.client.answers == []

    def test_a_filter_that_fails_then_makes_it_an_http_error(self) -> None:
        def fails(ctx: Any) -> None:
            raise ValueError

        gateway = Gateway(keepalive_seconds=3)
        bench = Bench(a_plan(a_config(entry(), gateway=gateway), plugin_of({"header_filter": fails})))
        bench.ask(chat(stream=True))
        bench.open()
        bench.advance(3 * SECOND)
        assert (bench.only.status, code(bench.only)) == (500, "INTERNAL_ERROR")
        assert bench.dropped
        bench.settle()

    def test_it_ends_with_the_stream(self) -> None:
        bench = streaming(limited(keepalive=0.2, idle=60), STORY.whole)
        bench.advance(SECOND // 2)
        assert bench.only.whole
        bench.advance(10 * SECOND)
        bench.settle()


class TestSlowCallers:
    def test_upstreams_silence_is_not_held_against_it_meanwhile(self) -> None:
        bench = streaming(limited(idle=5, client_stall=60, keepalive=1), STORY.beginning + STORY.middle)
        before = bench.only.body
        bench.tell(ClientStalled())
        bench.advance(50 * SECOND)
        assert bench.only.body == before
        bench.tell(ClientDrained())
        bench.answer(chunk(STORY.end) + LAST_CHUNK)
        assert bench.record["outcome"] == "complete"

    def test_what_was_read_already_is_still_passed_on(self) -> None:
        bench = streaming(limited(idle=5), STORY.beginning + STORY.middle)
        bench.tell(ClientStalled())
        bench.answer(chunk(STORY.middle))
        bench.advance(30 * SECOND)
        assert len(sse(bench.only.body)) == 5

    def test_when_it_has_drained_the_clocks_run_again(self) -> None:
        bench = streaming(limited(idle=5, keepalive=3), STORY.beginning + STORY.middle)
        bench.tell(ClientStalled())
        bench.advance(20 * SECOND)
        bench.tell(ClientDrained())
        before = bench.only.body
        bench.advance(3 * SECOND)
        assert bench.only.body == before + KEEP_ALIVE
        bench.advance(2 * SECOND)
        assert sse(bench.only.body)[-1]["error"]["code"] == "IDLE_TIMEOUT"

    @pytest.mark.parametrize("said", [b"", stream_head()])
    def test_a_stall_from_before_the_call_counts_too(self, said: bytes) -> None:
        """An earlier answer may still be on its way to the client when the next call is made."""
        bench = limited(first_token=5)
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer())
        bench.tell(ClientStalled())
        bench.ask(chat(stream=True))
        bench.open()
        if said:
            bench.answer(said)
        bench.advance(30 * SECOND)
        assert len(bench.client.answers) == 1
        bench.tell(ClientDrained())
        bench.advance(5 * SECOND)
        assert code(bench.client.answers[-1]) == "FIRST_TOKEN_TIMEOUT"

    def test_the_whole_is_bounded_all_the_same(self) -> None:
        bench = streaming(limited(total=30, client_stall=60), STORY.beginning + STORY.middle)
        bench.tell(ClientStalled())
        bench.advance(30 * SECOND)
        assert sse(bench.only.body)[-1]["error"]["code"] == "TOTAL_TIMEOUT"


class TestHeld:
    def test_what_means_nothing_is_held_only_so_far(self) -> None:
        bench = Bench()
        bench.ask(converse("converse-stream"))
        bench.open()
        bench.answer(stream_head() + chunk(event("novelty", {"x": "y" * 40_000})))
        assert bench.client.answers == []
        bench.answer(chunk(event("novelty", {"x": "y" * 40_000})))
        assert bench.only.status == 200
        assert len(bench.only.body) > 80_000
        bench.answer(chunk(STORY.whole) + LAST_CHUNK)
        assert bench.record["outcome"] == "complete"

    def test_it_is_held_up_to_the_last_byte_that_is_allowed(self) -> None:
        bench = Bench()
        bench.ask(converse("converse-stream"))
        bench.open()
        least = len(event("novelty", {"x": ""}))
        full = event("novelty", {"x": "y" * (HELD_BYTES_MAX - least)})
        assert len(full) == HELD_BYTES_MAX
        bench.answer(stream_head() + chunk(full))
        assert bench.client.answers == []
        bench.answer(chunk(event("novelty", {})))
        assert bench.only.body == full + event("novelty", {})

    def test_and_then_it_must_go_on(self) -> None:
        bench = limited(idle=5, first_token=60)
        bench.ask(converse("converse-stream"))
        bench.open()
        bench.answer(stream_head() + chunk(event("novelty", {"x": "y" * 70_000})))
        for _ in range(3):
            bench.advance(4 * SECOND)
            bench.answer(chunk(event("novelty", {})))
        bench.advance(5 * SECOND - 1)
        assert not bench.only.whole
        bench.advance(1)
        assert bench.record["cause"] == "IDLE_TIMEOUT"


class TestAnswersWhatever:
    """What the exchange needs of a plugin, it may not get."""

    def test_parts_that_are_all_dropped_leave_an_empty_stream(self) -> None:
        def drop(ctx: Any) -> None:
            ctx.part.dropped = True

        for asking in (chat(stream=True), converse("converse-stream")):
            plan = a_plan(a_config(entry()), plugin_of({"body_filter": drop}))
            bench = streaming(Bench(plan), STORY.whole, request=asking)
            bench.answer(LAST_CHUNK)
            assert (bench.only.status, bench.only.whole) == (200, True)
            assert bench.only.body in {b"data: [DONE]\n\n", b""}
            bench.settle()


class TestExpire:
    def test_hooks_are_told_the_time_at_which_it_ends(self) -> None:
        times: list[int] = []
        bench = probed(log=lambda ctx: times.append(ctx.now))
        bench.advance(SECOND)
        bench.ask(chat())
        bench.advance(SECOND)
        bench.tell(Draining(7 * SECOND))
        bench.advance(7 * SECOND)
        assert bench.record["cause"] == "DRAINING"
        assert times == [bench.now]

    def test_a_settled_exchange_stays_as_it_is(self) -> None:
        bench = Bench()
        bench.ask(chat())
        session_state = bench.session.state
        assert isinstance(session_state, Exchanging)
        exchange: Exchange = session_state.exchange
        bench.open()
        bench.answer(converse_answer())
        out: list[Any] = []
        exchange.expire(bench.now, Fault(Cause.DRAINING), out)
        assert out == []
        assert len(bench.records) == 1


class TestFirstByte:
    def test_times_are_told_in_milliseconds(self) -> None:
        bench = limited(total=600)
        bench.advance(SECOND)
        bench.ask(chat(stream=True))
        bench.advance(7 * MILLISECOND)
        bench.open()
        bench.advance(20 * MILLISECOND)
        bench.answer(stream_head() + chunk(STORY.beginning + STORY.middle))
        bench.advance(40 * MILLISECOND)
        bench.answer(chunk(STORY.end) + LAST_CHUNK)
        record = bench.record
        assert (record["lease_ms"], record["first_byte_ms"], record["total_ms"]) == (7.0, 27.0, 67.0)
        assert record["time"] == "2027-01-15T08:00:01.000Z"

    def test_an_answer_that_comes_whole_has_a_first_byte_too(self) -> None:
        bench = limited(total=600)
        bench.advance(SECOND)
        bench.ask(chat())
        bench.advance(7 * MILLISECOND)
        bench.open()
        bench.advance(20 * MILLISECOND)
        bench.answer(converse_answer())
        record = bench.record
        assert (record["lease_ms"], record["first_byte_ms"], record["total_ms"]) == (7.0, 27.0, 27.0)

    def test_every_call_has_one_ticket(self) -> None:
        bench = Bench()
        for _ in range(3):
            bench.ask(chat())
            bench.open()
            bench.answer(converse_answer())
        assert [type(asked) for asked in bench.opened] == [OpenUpstream] * 3
        assert [asked.ticket for asked in bench.opened] == [1, 2, 3]


def probed(**hooks: Any) -> Bench:
    """A bench with a plugin that has these hooks."""
    return Bench(a_plan(a_config(entry()), plugin_of(hooks)))


def asks(ctx: Any) -> Any:
    """A hook that asks the store."""
    yield from ctx.read_entry("key")


def shares(ctx: Any) -> None:
    """A hook that lets the answer be shared."""
    ctx.share(Sharing("", 300_000_000, 300_000_000))


class TestWhatIsGivenBack:
    """Whoever leaves takes along what was asked for him; the bench keeps account."""

    def test_a_question_of_a_plugins(self) -> None:
        bench = probed(access=asks)
        bench.ask(chat())
        assert len(bench.questions) == 1
        bench.leave()
        bench.settle()

    def test_a_turn_at_a_target_on_trial(self) -> None:
        bench = Bench()
        bench.tell(HealthChanged(TARGET, Health.HALF_OPEN))
        bench.ask(chat())
        assert state(bench) is Asking
        bench.leave()
        bench.settle()

    def test_the_place_in_a_shared_answer(self) -> None:
        bench = probed(access=shares)
        bench.ask(chat())
        assert len(bench.followed) == 1
        bench.leave()
        bench.settle()

    def test_of_one_that_has_ended_there_is_none(self) -> None:
        bench = probed(access=shares)
        bench.ask(chat())
        (ticket,) = bench.followed
        bench.followed.clear()
        assert bench.tell(AnswerFailed(ticket, Fault(Cause.UPSTREAM_LOST)))
        assert bench.only.status == 502
        bench.settle()

    def test_in_a_pause_nothing_is_held(self) -> None:
        bench = Bench(a_plan(a_config(plugins=[proxy(retry=Retry(count=1, delay=60_000)), LOG])))
        bench.ask(chat())
        bench.open()
        bench.answer(aws_error("ThrottlingException", 429, retry_after="5"))
        assert state(bench) is Pausing
        bench.leave()
        assert bench.record["outcome"] == "client_left"
        bench.settle()

    def test_a_script_that_ends_badly_is_noted(self) -> None:
        def clings(ctx: Any) -> Any:
            try:
                yield from ctx.sleep(SECOND)
            finally:
                raise ValueError

        bench = probed(access=clings)
        bench.ask(chat())
        bench.leave()
        assert bench.notes == [Note("error", "probe raised ValueError when it was abandoned")]
        bench.settle()

    def test_a_lease_that_comes_when_the_credentials_are_gone(self) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.tell(CredentialsChanged("", None))
        bench.open()
        assert not bench.dropped
        assert (bench.only.status, bench.record["cause"]) == (503, "CREDENTIALS_MISSING")
        bench.settle()


class TestWords:
    """In whose words a refusal is put, and whether it is logged."""

    @pytest.mark.parametrize(
        ("path", "member"), [("/v1/nowhere", "error"), ("/model/m/nowhere", "message"), ("/", "error")]
    )
    def test_without_a_route_they_are_those_of_the_path(self, path: str, member: str) -> None:
        bench = Bench()
        bench.ask(request(path, b"{}"))
        assert bench.only.status == 404
        assert member in bench.only.json
        assert len(bench.records) == 1
        bench.settle()

    @pytest.mark.parametrize(
        ("asking", "member"), [(chat(), "error"), (converse(), "message")], ids=["openai", "aws"]
    )
    def test_before_a_route_is_looked_for_they_are_too_and_there_is_a_record(
        self, asking: bytes, member: str
    ) -> None:
        times: list[int] = []

        def refuses(ctx: Any) -> None:
            times.append(ctx.now)
            ctx.reject(Fault(Cause.KEY_MISSING))

        bench = probed(rewrite=refuses)
        bench.advance(SECOND)
        bench.ask(asking)
        assert times == [bench.now]
        assert bench.only.status == 401
        assert member in bench.only.json
        assert "route" not in bench.record
        bench.settle()

    def test_an_error_tells_its_id_where_its_dialect_has_a_place_for_it(self) -> None:
        bench = Bench()
        bench.ask(request("/v1/messages", b"[]"))
        assert bench.only.json["request_id"] == bench.record["request_id"]

    def test_a_filter_that_fails_on_an_error_is_noted_and_the_error_told(self) -> None:
        def fails(ctx: Any) -> None:
            ctx.headers.append((b"x-half", b"done"))
            raise ValueError

        bench = probed(header_filter=fails)
        bench.ask(request("/v1/chat/completions", b"[]"))
        assert (bench.only.status, bench.only.header("x-half")) == (400, None)
        assert bench.notes == [Note("error", "probe raised ValueError in header_filter")]
        bench.settle()

    def test_a_refusal_by_a_hook_that_has_not_waited(self) -> None:
        def refuses(ctx: Any) -> None:
            ctx.reject(Fault(Cause.KEY_MISSING))

        bench = probed(access=refuses)
        bench.ask(chat())
        assert bench.only.status == 401
        bench.settle()

    def test_questions_about_the_gateway_itself_leave_no_record(self) -> None:
        bench = Bench()
        bench.ask(request("/healthz", method="GET"))
        assert bench.only.status == 200
        assert bench.records == []

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_head_that_http_does_not_allow_is_not_sent(self, stream: bool) -> None:
        def spoils(ctx: Any) -> None:
            ctx.headers.append((b"x", b"a\r\nb: c"))

        bench = probed(header_filter=spoils)
        bench.ask(chat(stream=stream))
        bench.open()
        bench.answer(stream_head() + chunk(STORY.whole) if stream else converse_answer())
        assert (bench.only.status, bench.record["cause"]) == (500, "PLUGIN_FAILED")
        assert bench.only.header("b") is None
        bench.settle()

    def test_a_filter_that_would_wait_has_failed(self) -> None:
        def waits_where_it_cannot(ctx: Any) -> Any:
            return ctx.status

        bench = probed(header_filter=waits_where_it_cannot)
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.status == 500
        said = "it gave something back, and this phase cannot wait for it"
        assert bench.record["detail"] == f"probe raised ScriptMisuse in header_filter: {said}"
        bench.settle()

    def test_a_filter_that_clings_to_its_context_may_do_nothing_with_it_later(self) -> None:
        clung: list[Any] = []
        bench = probed(header_filter=clung.append)
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer())
        (ctx,) = clung
        with pytest.raises(PhaseMisuse, match=r"not in no phase$"):
            assert ctx.status

    def test_what_a_filter_notes_bears_its_name(self) -> None:
        bench = probed(header_filter=lambda ctx: ctx.note("info", f"{ctx.status}"))
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer())
        assert bench.notes == [Note("info", "probe: 200")]


class TestAttempts:
    """They are named in a header where an operator wants that."""

    @staticmethod
    def told(bench: Bench) -> str | None:
        return bench.only.header("x-stargate-attempts")

    @staticmethod
    def telling(**config: Any) -> Bench:
        return Bench(a_plan(a_config(plugins=[proxy(attempts_header=True, **config), LOG])))

    def test_one_that_went_well_is_named(self) -> None:
        bench = self.telling()
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer())
        assert self.told(bench) == TARGET

    def test_a_model_that_no_header_can_name_is_told_as_far_as_it_can_be(self) -> None:
        bench = self.telling()
        bench.ask(chat(model="mod\u00e8le"))
        bench.open()
        bench.answer(converse_answer())
        assert self.told(bench) == "bedrock.test:8000/us-east-1/mod?le"

    def test_a_filter_sees_its_name_in_lower_case_as_any(self) -> None:
        names: list[bytes] = []
        telling = [proxy(attempts_header=True), LOG, entry()]
        plugin = plugin_of({"header_filter": lambda ctx: names.extend(name for name, _ in ctx.headers)})
        bench = Bench(a_plan(a_config(plugins=telling), plugin))
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer())
        assert b"x-stargate-attempts" in names
        assert names == [name.lower() for name in names]

    def test_one_that_is_under_way_is_named_in_a_streams_head(self) -> None:
        bench = streaming(self.telling(), STORY.beginning + STORY.middle)
        assert self.told(bench) == TARGET

    def test_one_that_has_failed_is_told_with_its_reason(self) -> None:
        bench = self.telling()
        bench.ask(chat())
        bench.open()
        bench.answer(aws_error("ThrottlingException", 429))
        assert self.told(bench) == f"{TARGET} UPSTREAM_THROTTLED 0ms"

    def test_where_none_was_made_none_is_named(self) -> None:
        bench = self.telling()
        bench.tell(HealthChanged(TARGET, Health.HALF_OPEN))
        bench.ask(chat())
        bench.reply(answer=False)
        assert (bench.only.status, self.told(bench)) == (503, None)

    def test_nor_where_nobody_wants_it(self) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer())
        assert self.told(bench) is None

    def test_several_are_told_in_their_order_with_their_time(self) -> None:
        bench = self.telling(retry=Retry(count=1, delay=0))
        bench.advance(SECOND)
        bench.ask(chat())
        bench.open()
        bench.advance(7 * MILLISECOND)
        bench.answer(aws_error("InternalServerException", 500))
        bench.reply(answer=True)
        bench.open()
        bench.advance(9 * MILLISECOND)
        bench.answer(converse_answer())
        first, second = bench.record["tried"]
        assert re.fullmatch(rf"{re.escape(TARGET)} [A-Z_]+ 7ms", first)
        assert re.fullmatch(rf"{re.escape(TARGET)} OK \d+ms", second)
        assert self.told(bench) == f"{first}, {second}"

    def test_one_that_the_caller_left_is_told_with_its_time_after_another(self) -> None:
        bench = self.telling(retry=Retry(count=1, delay=0))
        bench.ask(chat())
        bench.open()
        bench.answer(aws_error("InternalServerException", 500))
        bench.reply(answer=True)
        bench.open()
        bench.advance(9 * MILLISECOND)
        bench.answer(converse_answer()[:-1])
        bench.leave()
        assert bench.record["tried"][1] == f"{TARGET} OK 9ms"
        bench.settle()


class TestLogHooks:
    """One that fails costs the operator a note, however the exchange has ended."""

    @staticmethod
    def failing() -> Bench:
        def fails(ctx: Any) -> None:
            raise ValueError

        return probed(log=fails)

    @pytest.mark.parametrize("way", ["whole", "stream", "tail", "left", "failed"])
    def test_there_is_a_note(self, way: str) -> None:
        bench = self.failing()
        bench.ask(chat(stream=way in {"stream", "tail"}))
        bench.open()
        if way in {"stream", "tail"}:
            bench.answer(stream_head() + chunk(STORY.whole) + (LAST_CHUNK if way == "stream" else b""))
            bench.advance(SECOND)
        elif way == "left":
            bench.leave()
        else:
            bench.answer(converse_answer() if way == "whole" else aws_error("ValidationException", 400))
        assert bench.notes == [Note("error", "probe raised ValueError in log")]
        assert len(bench.records) == 1


class TestHeads:
    """What a hook sees of an answer's head, and what the connection's end makes of it."""

    @pytest.mark.parametrize(
        ("stream", "said", "status"),
        [
            (False, converse_answer(), 200),
            (True, stream_head() + chunk(STORY.whole), 200),
            (False, aws_error("ThrottlingException", 429), 429),
        ],
        ids=["whole", "stream", "error"],
    )
    def test_a_filter_sees_the_status_and_changes_the_headers(
        self, stream: bool, said: bytes, status: int
    ) -> None:
        seen: list[int] = []

        def marks(ctx: Any) -> None:
            seen.append(ctx.status)
            ctx.headers.append((b"x-marked", b"yes"))

        bench = probed(header_filter=marks)
        bench.ask(chat(stream=stream))
        bench.open()
        bench.answer(said)
        assert seen == [bench.only.status] == [status]
        assert bench.only.header("x-marked") == "yes"

    @pytest.mark.parametrize("stream", [False, True])
    def test_while_draining_the_connection_is_said_to_close(self, stream: bool) -> None:
        bench = Bench()
        bench.ask(chat(stream=stream))
        bench.open()
        bench.tell(Draining(60 * SECOND))
        bench.answer(stream_head() + chunk(STORY.beginning + STORY.middle) if stream else converse_answer())
        assert bench.only.header("connection") == "close"


class TestTold:
    """What the breaker hears of a call, and the log of its bytes."""

    @pytest.mark.parametrize(
        ("answer", "ok"),
        [(converse_answer(), True), (aws_error("InternalServerException", 500), False)],
        ids=["well", "ailing"],
    )
    def test_how_the_call_ended_and_by_which_rules(self, answer: bytes, ok: bool) -> None:
        breaker = CircuitBreaker(failures=7, calls_min=3)
        bench = Bench(a_plan(a_config(plugins=[proxy(breaker=breaker), LOG])))
        bench.ask(chat())
        bench.open()
        bench.answer(answer)
        (ended,) = [said for said in bench.told if isinstance(said, CallEnded)]
        assert (ended.target, ended.ok, ended.first) == (TARGET, ok, True)
        assert (ended.policy.failures, ended.policy.calls_min) == (7, 3)

    @pytest.mark.parametrize("whole", [True, False])
    def test_an_error_leaves_its_connection_to_others_where_it_came_whole(self, whole: bool) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.open()
        said = aws_error("ValidationException", 400)
        commands = bench.tell(UpstreamSent(1, said if whole else said[:-1]))
        if not whole:
            commands += bench.tell(UpstreamLost(1))
        given_back = [one for one in commands if isinstance(one, ReleaseUpstream | DropUpstream)]
        assert given_back == [ReleaseUpstream(1) if whole else DropUpstream(1)]
        assert bench.only.status == (400 if whole else 502)

    def test_all_bytes_of_a_stream_are_counted(self) -> None:
        bench = Bench()
        bench.ask(chat(stream=True))
        bench.open()
        pieces = (stream_head() + chunk(STORY.beginning + STORY.middle), chunk(STORY.end) + LAST_CHUNK)
        told = [bench.tell(UpstreamSent(1, piece)) for piece in pieces]
        sizes = [len(command.data) for some in told for command in some if isinstance(command, WriteClient)]
        assert len(sizes) > 1
        assert bench.record["response_bytes"] == sum(sizes)
