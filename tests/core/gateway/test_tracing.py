"""Traces: where an exchange stands in one, and the spans that it leaves, in OpenTelemetry's own words.

The oracles are OpenTelemetry's SDK (which traces are sampled) and its list of conventions (names).
"""

import importlib
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

import msgspec
import pytest
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.config.bedrock_proxy import ProxyTarget, Retry
from stargate_core.config.rate_limiter import RateLimiter
from stargate_core.config.schema import Gateway, PluginEntry
from stargate_core.config.tracing import Tracing
from stargate_core.dialects.face import Reply
from stargate_core.direction import Sharing
from stargate_core.entropy import Entropy
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.session import Exchanging
from stargate_core.gateway.tracing import EVENTS_MAX, SPANS_MAX, Tracer, place_in_trace, trace_plan
from stargate_core.journal.format import read as read_journal
from stargate_core.journal.living import Living
from stargate_core.journal.redact import redact
from stargate_core.journal.replay import machine_of, replay
from stargate_core.journal.write import encoded
from stargate_core.limits.buckets import Level, Verdict
from stargate_core.messages import (
    AnswerBegan,
    AnswerEnded,
    AnswerFailed,
    AnswerSent,
    Publish,
    Source,
    Ticked,
    Trouble,
    Unanswered,
    UpstreamLost,
)
from stargate_core.plugins.registry import BUILT_IN
from stargate_core.spans import Span, SpanKind
from stargate_core.wire.trace_context import TraceContext
from support.bedrock import (
    LAST_CHUNK,
    aws_error,
    chunk,
    converse_answer,
    converse_story,
    exception,
    json_http,
    stream_head,
)
from support.hooks import entry, plugin_of
from support.journals import RecordedBench, journal
from support.machines import LOG, MODEL, WALL_EPOCH_NS, Bench, a_config, a_plan, chat, proxy, request

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
CALLER: Final = "b7ad6b7169203331"
PARENT: Final = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
UNSAMPLED: Final = {"traceparent": f"00-{TRACE}-{CALLER}-00"}
STORY: Final = converse_story()
BROKEN: Final = aws_error("InternalServerException", 500)
OUT: Final = Tracing(sample=0)
IDS_CALLS_MAX: Final = 30
PASSED: Final = Verdict(True, 0, (Level(1, 0),))


def traced_plan(*entries: PluginEntry, tracing: Tracing | None = None, count: int = 0) -> Plan:
    """A plan that traces, with two targets."""
    targets = [
        ProxyTarget(name=region, region=region, endpoint_url=f"http://{region}.test:81")
        for region in ("us-east-1", "us-west-2")
    ]
    gateway = Gateway(tracing=tracing or Tracing())
    plugins = [proxy(retry=Retry(count=count), targets=targets), LOG, *entries]
    return a_plan(a_config(gateway=gateway, plugins=plugins))


def traced(**options: Any) -> Bench:
    """A bench that traces, a second after its start."""
    bench = Bench(traced_plan(**options))
    bench.advance(SECOND)
    return bench


def pause(bench: Bench, milliseconds: int) -> None:
    """So much time goes by in which nothing happens."""
    bench.now += milliseconds * MILLISECOND


def spans(bench: Bench) -> tuple[Span, ...]:
    """Those of the one exchange; what must be true of any is asserted."""
    (published,) = bench.publications
    own = published.spans[-1]
    assert own.kind is SpanKind.SERVER
    assert len({span.span_id for span in published.spans}) == len(published.spans)
    assert {span.trace_id for span in published.spans} == {own.trace_id} == {published.record.trace_id}
    assert own.span_id == published.record.span_id
    for span in published.spans:
        assert span is own or span.parent_id == own.span_id
        assert own.begun_ns <= span.begun_ns <= span.ended_ns <= own.ended_ns
        assert all(span.begun_ns <= event.at_ns <= span.ended_ns for event in span.events)
    return published.spans


def names(of: tuple[Span, ...]) -> list[str]:
    """What they are called."""
    return [span.name for span in of]


class TestPlaceInTrace:
    def test_where_nothing_is_configured_nothing_is_traced(self) -> None:
        assert trace_plan(None) is None
        bench = Bench()
        bench.ask(chat(headers=PARENT))
        bench.open()
        bench.answer(converse_answer())
        assert bench.publications == []
        assert "trace_id" not in bench.record
        assert "traceparent" not in bench.calls[0].headers

    def test_a_trace_begins_here_where_the_caller_has_none(self) -> None:
        plan = trace_plan(Tracing())
        assert plan is not None
        context, parent_id = place_in_trace(plan, [(b"traceparent", b"nonsense")], Entropy(1))
        assert (context.sampled, context.random, parent_id) == (True, True, "")
        assert len({context.trace_id[:16], context.trace_id[16:], context.span_id}) == 3

    @pytest.mark.parametrize("sample", [0.0, 1.0])
    def test_a_caller_that_traces_has_decided(self, sample: float) -> None:
        plan = trace_plan(Tracing(sample=sample))
        assert plan is not None
        for parent, sampled in ((PARENT, True), (UNSAMPLED, False)):
            header = [(b"traceparent", parent["traceparent"].encode()), (b"tracestate", b"a=1")]
            context, parent_id = place_in_trace(plan, header, Entropy(1))
            assert (context.trace_id, parent_id, context.sampled) == (TRACE, CALLER, sampled)
            assert (context.state, context.span_id != CALLER) == (b"a=1", True)

    @pytest.mark.parametrize("sample", [0.0, 0.001, 0.25, 0.5, 0.999, 1.0])
    def test_others_are_sampled_as_opentelemetry_samples_them(self, sample: float) -> None:
        plan, sampler, chance = trace_plan(Tracing(sample=sample)), TraceIdRatioBased(sample), Entropy(7)
        assert plan is not None
        for _ in range(200):
            context, _ = place_in_trace(plan, [], chance)
            decision = sampler.should_sample(None, int(context.trace_id, 16), "x").decision
            assert context.sampled is (decision is Decision.RECORD_AND_SAMPLE)


class TestUnsampled:
    def test_it_leaves_no_span_and_the_record_knows_its_trace(self) -> None:
        bench = traced()
        bench.ask(chat(headers=UNSAMPLED))
        bench.open()
        bench.answer(converse_answer())
        assert bench.publications == []
        assert bench.record["trace_id"] == TRACE

    def test_whoever_watches_has_its_record_all_the_same(self) -> None:
        gateway = Gateway(tracing=Tracing(sample=0), admin_listen="127.0.0.1:8001")
        bench = Bench(a_plan(a_config(gateway=gateway, plugins=[proxy()])))
        bench.ask(request("/nothing", b""))
        (published,) = bench.publications
        assert published.spans == ()

    def test_health_is_not_traced(self) -> None:
        bench = traced()
        bench.ask(request("/healthz", method="GET"))
        assert bench.publications == []


class TestPropagation:
    def test_bedrock_is_told_only_where_that_is_wanted(self) -> None:
        bench = traced()
        bench.ask(chat(headers=PARENT))
        bench.open()
        assert "traceparent" not in bench.calls[0].headers

    def test_its_parent_is_the_attempt_and_no_signature_covers_it(self) -> None:
        bench = traced(tracing=Tracing(propagate=True))
        bench.ask(chat(headers={**PARENT, "tracestate": "a=1"}))
        bench.open()
        bench.answer(converse_answer())
        attempt, _ = spans(bench)
        headers = bench.calls[0].headers
        assert headers["traceparent"] == f"00-{TRACE}-{attempt.span_id}-01"
        assert headers["tracestate"] == "a=1"
        signed = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        assert "host" in signed
        assert not {"traceparent", "tracestate"} & set(signed)

    def test_a_trace_that_is_not_sampled_is_passed_on_as_such(self) -> None:
        bench = traced(tracing=Tracing(propagate=True))
        bench.ask(chat(headers=UNSAMPLED))
        bench.open()
        bench.answer(converse_answer())
        assert bench.calls[0].headers["traceparent"] == f"00-{TRACE}-{bench.record['span_id']}-00"

    @pytest.mark.parametrize("stream", [False, True])
    def test_the_caller_is_told_where_that_is_wanted(self, stream: bool) -> None:
        bench = traced(tracing=Tracing(respond=True))
        bench.ask(chat(headers=PARENT, stream=stream))
        bench.open()
        bench.answer(stream_head() + chunk(STORY.whole) + LAST_CHUNK if stream else converse_answer())
        assert bench.only.header("traceresponse") == f"00-{TRACE}-{bench.record['span_id']}-01"

    def test_and_hears_nothing_else(self) -> None:
        bench = traced()
        bench.ask(chat(headers=PARENT))
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.header("traceresponse") is None


class TestGoodAnswers:
    def test_a_plain_one(self) -> None:
        bench = traced()
        bench.ask(chat(headers=PARENT, max_tokens=77))
        pause(bench, 5)
        bench.open()
        pause(bench, 20)
        bench.answer(converse_answer())
        attempt, own = spans(bench)
        assert (own.parent_id, own.from_remote, own.failed, own.name) == (
            CALLER,
            True,
            False,
            "POST openai-chat",
        )
        assert own.begun_ns == WALL_EPOCH_NS + SECOND
        assert own.ended_ns - own.begun_ns == 25 * MILLISECOND
        told = dict(own.attributes)
        assert (told["http.request.method"], told["http.response.status_code"]) == ("POST", 200)
        assert told["url.path"] == "/v1/chat/completions"
        assert told["stargate.request_id"] == bench.record["request_id"]
        assert "error.type" not in told
        assert (attempt.kind, attempt.name, attempt.failed) == (SpanKind.CLIENT, f"chat {MODEL}", False)
        assert dict(attempt.attributes) == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "aws.bedrock",
            "gen_ai.request.model": MODEL,
            "gen_ai.request.max_tokens": 77,
            "gen_ai.response.model": MODEL,
            "gen_ai.response.finish_reasons": ("end_turn",),
            "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": 5,
            "gen_ai.usage.cache_read.input_tokens": 0,
            "gen_ai.usage.cache_creation.input_tokens": 0,
            "aws.request_id": bench.record["upstream_request_id"],
            "cloud.region": "us-east-1",
            "http.response.status_code": 200,
            "server.address": "us-east-1.test",
            "server.port": 81,
            "stargate.target": f"us-east-1/{MODEL}",
        }

    def test_a_stream_says_when_its_first_token_came(self) -> None:
        bench = traced()
        bench.ask(chat(stream=True))
        bench.open()
        pause(bench, 20)
        bench.answer(stream_head() + chunk(STORY.beginning + STORY.middle))
        pause(bench, 30)
        bench.answer(chunk(STORY.end) + LAST_CHUNK)
        attempt, own = spans(bench)
        assert (own.parent_id, own.from_remote) == ("", False)
        (event,) = attempt.events
        assert (event.name, event.at_ns - own.begun_ns) == ("first token", 20 * MILLISECOND)
        told = dict(attempt.attributes)
        assert told["gen_ai.response.time_to_first_chunk"] == 0.02
        assert told["gen_ai.request.stream"] is True

    def test_an_embedding_is_called_one(self) -> None:
        bench = traced()
        body = msgspec.json.encode({"model": "amazon.titan-embed-text-v2:0", "input": "hello"})
        bench.ask(request("/v1/embeddings", body))
        bench.open()
        bench.answer(json_http({"embedding": [0.1], "inputTextTokenCount": 1}))
        attempt, _ = spans(bench)
        assert attempt.name == "embeddings amazon.titan-embed-text-v2:0"

    def test_what_generates_nothing_is_called_by_its_own_name(self) -> None:
        bench = traced()
        body = msgspec.json.encode(
            {"input": {"converse": {"messages": [{"role": "user", "content": [{"text": "x"}]}]}}}
        )
        bench.ask(request(f"/model/{MODEL}/count-tokens", body))
        bench.open()
        bench.answer(json_http({"inputTokens": 3}))
        attempt, _ = spans(bench)
        assert attempt.name == f"CountTokens {MODEL}"

    def test_what_a_plugin_answers_has_no_attempt(self) -> None:
        plugin = plugin_of({"access": lambda ctx: ctx.reply(Reply(418, [], b"tea"))})
        config = a_config(entry(), gateway=Gateway(tracing=Tracing()))
        bench = Bench(a_plan(config, plugin))
        bench.ask(chat())
        assert names(spans(bench)) == ["POST openai-chat"]

    def test_a_keep_alive_is_an_event(self) -> None:
        bench = traced()
        bench.ask(chat(stream=True))
        bench.open()
        bench.advance(16 * SECOND)
        bench.answer(stream_head() + chunk(STORY.whole) + LAST_CHUNK)
        assert [event.name for event in spans(bench)[-1].events] == ["keep-alive"]

    def test_one_that_bedrock_gave_no_id(self) -> None:
        bench = traced()
        bench.ask(chat())
        bench.open()
        head, _, body = converse_answer().partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.startswith(b"x-amzn-requestid:")]
        bench.answer(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        attempt, _ = spans(bench)
        assert dict(attempt.attributes)["http.response.status_code"] == 200
        assert "aws.request_id" not in dict(attempt.attributes)


class TestTrouble:
    def test_attempts_are_told_each_and_what_came_between_them(self) -> None:
        bench = traced(count=1)
        bench.ask(chat(headers=PARENT))
        bench.open()
        pause(bench, 20)
        bench.answer(BROKEN)
        pause(bench, 1)
        bench.reply(True)
        bench.open()
        pause(bench, 10)
        bench.answer(converse_answer())
        first, turn, second, own = spans(bench)
        assert (first.failed, dict(first.attributes)["error.type"]) == (True, "InternalServerException")
        assert dict(first.attributes)["http.response.status_code"] == 500
        assert "gen_ai.usage.input_tokens" not in dict(first.attributes)
        assert (turn.name, turn.kind, turn.ended_ns - turn.begun_ns) == (
            "turn",
            SpanKind.INTERNAL,
            MILLISECOND,
        )
        assert dict(second.attributes)["http.request.resend_count"] == 1
        assert dict(second.attributes)["stargate.target"] == f"us-west-2/{MODEL}"
        assert [event.name for event in own.events] == ["failover"]
        assert not own.failed

    def test_the_same_target_again_is_a_retry(self) -> None:
        gateway = Gateway(tracing=Tracing())
        bench = Bench(a_plan(a_config(gateway=gateway, plugins=[proxy(retry=Retry(count=1, delay=1)), LOG])))
        bench.advance(SECOND)
        bench.ask(chat())
        bench.open()
        bench.answer(aws_error("ThrottlingException", 429))
        bench.advance(SECOND)
        bench.reply(True)
        bench.open()
        bench.answer(converse_answer())
        assert [event.name for event in spans(bench)[-1].events] == ["retry"]

    def test_a_connection_that_was_dead_is_no_attempt(self) -> None:
        bench = traced()
        bench.ask(chat())
        bench.open(reused=True)
        bench.tell(UpstreamLost(1))
        bench.open()
        bench.answer(converse_answer())
        _, own = spans(bench)
        assert [event.name for event in own.events] == ["fresh connection"]

    def test_no_connection_at_all(self) -> None:
        bench = traced()
        bench.ask(chat())
        bench.refuse(Trouble.REFUSED)
        attempt, own = spans(bench)
        assert (attempt.failed, dict(attempt.attributes)["error.type"]) == (True, "CONNECT_FAILED")
        assert (own.failed, dict(own.attributes)["error.type"]) == (True, "CONNECT_FAILED")

    def test_an_error_within_a_stream_fails_both(self) -> None:
        bench = traced()
        bench.ask(chat(stream=True))
        bench.open()
        bench.answer(stream_head() + chunk(STORY.beginning + STORY.middle + exception("throttlingException")))
        attempt, own = spans(bench)
        assert (attempt.failed, own.failed) == (True, True)
        assert dict(own.attributes)["http.response.status_code"] == 200
        assert dict(own.attributes)["error.type"] == bench.record["cause"]

    @pytest.mark.parametrize("started", [False, True])
    def test_a_caller_that_leaves_fails_both(self, started: bool) -> None:
        bench = traced()
        bench.ask(chat(stream=True))
        bench.open()
        if started:
            bench.answer(stream_head() + chunk(STORY.beginning + STORY.middle))
        bench.leave()
        attempt, own = spans(bench)
        for span in (attempt, own):
            assert (span.failed, dict(span.attributes)["error.type"]) == (True, "client_left")

    def test_a_refusal_is_the_callers_and_not_a_failed_span(self) -> None:
        bench = traced()
        bench.ask(request("/nothing", b"", method="DELETE"))
        (own,) = spans(bench)
        assert (own.failed, own.name) == (False, "DELETE")
        assert dict(own.attributes)["error.type"] == bench.record["cause"]


class TestWaiting:
    LIMITER: Final = PluginEntry(name="rate-limiter", config=RateLimiter(minute=1))

    def limited(self) -> Bench:
        bench = Bench(traced_plan(self.LIMITER))
        bench.advance(SECOND)
        bench.ask(chat())
        pause(bench, 3)
        return bench

    def test_a_question_to_the_store(self) -> None:
        bench = self.limited()
        bench.reply(PASSED)
        bench.open()
        bench.answer(converse_answer())
        wait, _, _ = spans(bench)
        assert (wait.name, wait.ended_ns - wait.begun_ns) == ("access rate-limiter", 3 * MILLISECOND)
        assert dict(wait.attributes) == {
            "stargate.plugin": "rate-limiter",
            "stargate.phase": "access",
            "stargate.question": "Take",
        }

    def test_one_that_refuses(self) -> None:
        bench = self.limited()
        bench.reply(Verdict(False, 0, (Level(0, 0),), 0, 1_000_000))
        _, own = spans(bench)
        assert dict(own.attributes)["stargate.limited_by"] == "requests_per_minute_by_consumer"

    def test_one_that_is_not_answered(self) -> None:
        bench = self.limited()
        ticket = next(iter(bench.questions))
        del bench.questions[ticket]
        bench.tell(Unanswered(ticket, "away"))
        bench.reply(PASSED)  # What is asked then is this process's own store.
        bench.open()
        bench.answer(converse_answer())
        assert spans(bench)[0].failed

    def test_one_that_the_caller_did_not_wait_for(self) -> None:
        bench = self.limited()
        bench.leave()
        wait, _ = spans(bench)
        assert wait.failed

    def test_a_plugin_that_sleeps(self) -> None:
        def access(ctx: Any) -> Iterator[Any]:
            yield from ctx.sleep(5 * MILLISECOND)

        config = a_config(entry(), gateway=Gateway(tracing=Tracing()))
        bench = Bench(a_plan(config, plugin_of({"access": access})))
        bench.ask(chat())
        bench.now += 5 * MILLISECOND
        bench.tell(Ticked())
        bench.open()
        bench.answer(converse_answer())
        wait, _, _ = spans(bench)
        assert (wait.name, dict(wait.attributes)["stargate.question"]) == ("access probe", "Sleep")

    def test_newer_credentials(self) -> None:
        bench = traced(count=1)
        bench.ask(chat())
        bench.open()
        bench.answer(aws_error("ExpiredTokenException", 403))
        pause(bench, 7)
        bench.reply(True)
        bench.open()
        bench.answer(converse_answer())
        assert "newer credentials" in names(spans(bench))


class TestSharedAnswers:
    @pytest.mark.parametrize("source", list(Source))
    def test_an_answer_of_all_is_no_call_of_this_trace(self, source: Source) -> None:
        plugin = plugin_of({"access": lambda ctx: ctx.share(Sharing("", SECOND, SECOND))})
        config = a_config(entry(), gateway=Gateway(tracing=Tracing()))
        bench = Bench(a_plan(config, plugin))
        bench.advance(SECOND)
        bench.ask(chat())
        pause(bench, 3)
        ((ticket, _),) = bench.followed.items()
        bench.tell(AnswerBegan(ticket, source, [(b"content-type", b"application/json")]))
        bench.tell(AnswerSent(ticket, converse_answer().partition(b"\r\n\r\n")[2]))
        del bench.followed[ticket]
        bench.tell(AnswerEnded(ticket))
        shared, own = spans(bench)
        assert (shared.name, shared.kind) == ("shared answer", SpanKind.INTERNAL)
        assert dict(shared.attributes) == {"stargate.cache": bench.record["cache"]}
        assert dict(own.attributes)["stargate.cache"] == bench.record["cache"]

    def test_one_that_fails(self) -> None:
        plugin = plugin_of({"access": lambda ctx: ctx.share(Sharing("", SECOND, SECOND))})
        bench = Bench(a_plan(a_config(entry(), gateway=Gateway(tracing=Tracing())), plugin))
        bench.ask(chat())
        ((ticket, _),) = bench.followed.items()
        del bench.followed[ticket]
        bench.tell(AnswerFailed(ticket, Fault(Cause.UPSTREAM_LOST)))
        shared, own = spans(bench)
        assert (shared.failed, own.failed) == (True, True)
        assert dict(shared.attributes)["error.type"] == "UPSTREAM_LOST"

    def test_one_that_will_not_come(self) -> None:
        plugin = plugin_of({"access": lambda ctx: ctx.share(Sharing("", SECOND, SECOND))})
        bench = Bench(a_plan(a_config(entry(), gateway=Gateway(tracing=Tracing())), plugin))
        bench.advance(SECOND)
        bench.ask(chat())
        bench.leave()
        shared, _ = spans(bench)
        assert (shared.failed, dict(shared.attributes)["stargate.cache"]) == (False, "unknown")


def calls_of_a_stream(tracing: Tracing | None, pieces: int) -> int:
    """How many functions begin to run in a stream in so many pieces, its caches filled. The least of several:
    now and then chance is drawn anew.
    """
    plan = a_plan(a_config(gateway=Gateway(tracing=tracing), plugins=[proxy(), LOG]))
    counts: list[int] = []
    for _ in range(5):
        bench, count = Bench(plan), 0

        def profile(_frame: FrameType, event: str, _argument: object) -> None:
            nonlocal count
            count += event in {"call", "c_call"}

        before = sys.getprofile()
        sys.setprofile(profile)
        try:
            bench.ask(chat(stream=True))
            bench.open()
            bench.answer(stream_head())
            for frame in STORY.frames[:2]:
                bench.answer(chunk(frame))
            for _ in range(pieces):
                bench.answer(chunk(STORY.frames[2]))
            for frame in STORY.frames[3:]:
                bench.answer(chunk(frame))
            bench.answer(LAST_CHUNK)
        finally:
            sys.setprofile(before)
        assert bench.record["outcome"] == "complete"
        counts.append(count)
    return min(counts)


class TestCost:
    """Counts, and no times: see bench/budgets.py."""

    def test_a_trace_that_is_not_sampled_costs_its_ids_and_nothing_for_each_piece(self) -> None:
        off, out = ([calls_of_a_stream(tracing, pieces) for pieces in (1, 20)] for tracing in (None, OUT))
        assert out[1] - out[0] == off[1] - off[0]
        assert 0 < out[0] - off[0] <= IDS_CALLS_MAX


def left(published: Publish, redacted: bool) -> list[Span]:
    """Its spans; where a journal is redacted, without the one attribute that says who somebody is."""
    gone = {"client.address"} if redacted else set()
    return [
        msgspec.structs.replace(span, attributes=tuple(one for one in span.attributes if one[0] not in gone))
        for span in published.spans
    ]


class TestReplay:
    @pytest.mark.parametrize("sample", [0.0, 1.0], ids=["unsampled", "sampled"])
    @pytest.mark.parametrize("redacted", [False, True], ids=["as it was", "redacted"])
    def test_a_journal_of_a_traced_life_is_lived_again_to_the_same_spans(
        self, sample: float, redacted: bool
    ) -> None:
        tracing = Tracing(sample=sample, propagate=True, respond=True)
        bench = RecordedBench(traced_plan(tracing=tracing, count=1))
        bench.ask(chat(stream=True))
        bench.open()
        pause(bench, 20)
        bench.answer(BROKEN)
        bench.reply(True)
        bench.open()
        bench.answer(stream_head() + chunk(STORY.whole) + LAST_CHUNK)
        (life,) = bench.lives
        whole = read_journal(encoded(journal(life, redact if redacted else None)))
        verdict = replay(whole, BUILT_IN)
        assert verdict.divergence is None
        assert verdict.fingerprint == whole.trailer.fingerprint
        living = Living(machine_of(whole, BUILT_IN), whole.entries)
        again = [command for step in living for command in step.commands if isinstance(command, Publish)]
        told, untold = ([left(one, redacted) for one in each] for each in (again, bench.publications))
        assert told == untold
        assert len(again) == sample


class TestBounds:
    def test_spans_and_events_have_one(self) -> None:
        context = TraceContext(TRACE, CALLER, sampled=True)
        tracer = Tracer(context, "", Entropy(1), 0)
        bench = traced()
        bench.ask(chat())
        state = bench.session.state
        assert isinstance(state, Exchanging)
        exchange = state.exchange
        bench.leave()
        for now in range(2 * max(SPANS_MAX, EVENTS_MAX)):
            tracer.note(now, "keep-alive")
            tracer.wait(now, "turn")
            tracer.waited(now + 1)
        tracer.waited(5000)
        left = tracer.finish(exchange, 6000, bench.publications[0].record)
        assert (len(left), len(left[-1].events)) == (SPANS_MAX + 1, EVENTS_MAX)


def conventions() -> set[str]:
    """All names of attributes that OpenTelemetry knows."""
    known: set[str] = set()
    for kind in ("gen_ai", "aws", "cloud", "http", "server", "url", "client", "error"):
        module = importlib.import_module(f"opentelemetry.semconv._incubating.attributes.{kind}_attributes")
        known |= {value for value in vars(module).values() if isinstance(value, str)}
    return known


def test_names_are_opentelemetrys_or_have_our_own_name_before_them() -> None:
    bench = Bench(traced_plan(TestWaiting.LIMITER, count=1))
    bench.advance(SECOND)
    bench.ask(chat(stream=True, max_tokens=5))
    bench.reply(PASSED)
    bench.open()
    bench.answer(BROKEN)
    bench.reply(True)
    bench.open()
    bench.answer(stream_head() + chunk(STORY.whole) + LAST_CHUNK)
    used = {name for span in spans(bench) for name, _ in span.attributes}
    assert len(used) > 20
    assert {name for name in used if not name.startswith("stargate.")} <= conventions()


def test_no_word_of_a_prompt_or_an_answer_is_in_a_span() -> None:
    bench = traced()
    bench.ask(chat(messages=[{"role": "user", "content": "my secret prompt"}]))
    bench.open()
    bench.answer(converse_answer("my secret answer"))
    assert b"secret" not in msgspec.json.encode(spans(bench))
