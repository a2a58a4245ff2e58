"""Flights: what one reports is Bedrock's answer byte for byte; and a crowd of sessions that shares one."""

import itertools
from typing import Any, ClassVar, Final, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.credentials import Credentials
from stargate_core.aws.endpoints import Endpoint
from stargate_core.aws.operations import Operation
from stargate_core.clock import SECOND
from stargate_core.config.schema import Gateway, PluginEntry, Scope, TimeLimits
from stargate_core.config.tracing import Tracing
from stargate_core.dialects.face import Call, Target
from stargate_core.direction import BreakerPolicy, Direction, Order, Persistence, Sharing
from stargate_core.faults import Cause
from stargate_core.gateway.flight import Flight
from stargate_core.messages import (
    Answered,
    AnswerEnded,
    ClientDrained,
    ClientEnded,
    ClientLost,
    ClientSent,
    ClientStalled,
    CredentialsChanged,
    Draining,
    DropUpstream,
    FlightBegan,
    FlightCommand,
    FlightEnded,
    FlightEvent,
    FlightSent,
    Health,
    HealthChanged,
    KeysChanged,
    Reconfigured,
    ReleaseUpstream,
    SessionCommand,
    SessionEvent,
    Ticked,
    Trouble,
    UpstreamOpened,
)
from stargate_core.questions import CallEnded, RefreshCredentials, Turn
from stargate_core.secret import Secret
from stargate_core.views import Access, BodyFilter, HeaderFilter, Log
from stargate_core.wire.eventstream import EventStreamDecoder
from stargate_core.wire.http1 import CLOSED
from support.bedrock import (
    AWS_REQUEST_ID,
    EVENT_STREAM,
    LAST_CHUNK,
    aws_error,
    chunk,
    converse_answer,
    converse_story,
    event,
    exception,
    inner,
    invoke_story,
    json_http,
    stream_head,
)
from support.flights import Crowd, FlightBench
from support.machines import Answer, a_config, a_plan, chat, converse, sse

HERE: Final = Endpoint("http", "here.test", 80, "bedrock", "us-east-1")
THERE: Final = Endpoint("http", "there.test", 80, "bedrock", "us-west-2")
MODEL: Final = "anthropic.claude-3-haiku-20240307-v1:0"
STORY: Final = converse_story()
ANSWER: Final = converse_answer()
BODY: Final = ANSWER.partition(b"\r\n\r\n")[2]
PLAN: Final = a_plan()


def direction(name: str = "here", endpoint: Endpoint = HERE, model: str = MODEL) -> Direction:
    """A place to call."""
    return Direction(endpoint, Target(model), endpoint.signing_region, name=name, breaker=BreakerPolicy())


def call(operation: Operation = Operation.CONVERSE_STREAM) -> Call:
    """A composed call."""
    name = {
        Operation.CONVERSE: b"converse",
        Operation.CONVERSE_STREAM: b"converse-stream",
        Operation.INVOKE_MODEL: b"invoke",
        Operation.INVOKE_MODEL_WITH_RESPONSE_STREAM: b"invoke-with-response-stream",
    }.get(operation)
    target = operation.spec.uri.encode()
    if name is not None:
        target = b"/model/" + MODEL.replace(":", "%3A").encode() + b"/" + name
    return Call(
        operation,
        b"POST",
        target,
        [(b"content-type", b"application/json")],
        b'{"messages":[]}',
        operation.spec.streams,
    )


def a_flight(
    operation: Operation = Operation.CONVERSE_STREAM,
    *directions: Direction,
    count: int = 0,
    total_ns: int = 600 * SECOND,
    others: tuple[tuple[Target, Call], ...] = (),
    started: bool = True,
    credentials: bool = True,
) -> FlightBench:
    """A flight with these directions and so many repetitions."""
    order = Order(
        "k",
        call(operation),
        directions or (direction(),),
        Persistence(count, delay_ns=0),
        total_ns,
        Sharing("", 1, 1),
        others,
    )
    bench = FlightBench(PLAN, order, credentials=credentials)
    if started:
        bench.start()
    return bench


def flown(operation: Operation, *said: bytes) -> FlightBench:
    """A flight to which Bedrock has said this."""
    bench = a_flight(operation)
    bench.open()
    bench.answer(*said)
    return bench


def stream(*frames: bytes, end: bytes = LAST_CHUNK) -> bytes:
    """A whole streamed answer over HTTP."""
    return stream_head() + b"".join(chunk(frame) for frame in frames) + end


class TestReports:
    def test_a_plain_answer(self) -> None:
        bench = flown(Operation.CONVERSE, ANSWER)
        assert bench.reports == [
            FlightBegan(
                1,
                [(b"content-type", b"application/json"), (b"x-amzn-requestid", AWS_REQUEST_ID.encode())],
                "here",
                (),
            ),
            FlightSent(1, BODY),
            FlightEnded(1, None, worth_keeping=True),
        ]
        assert bench.returned == [ReleaseUpstream(1)]

    def test_a_stream(self) -> None:
        bench = flown(Operation.CONVERSE_STREAM, stream_head(), chunk(STORY.beginning))
        assert bench.reports == [], "nothing in it is worth a status line"
        bench.answer(chunk(STORY.middle))
        assert (bench.began is not None, bench.body) == (True, STORY.beginning + STORY.middle)
        bench.answer(chunk(STORY.end) + LAST_CHUNK)
        assert (bench.body, bench.ended) == (STORY.whole, FlightEnded(1, None, worth_keeping=True))
        assert bench.returned == [ReleaseUpstream(1)]

    @given(st.lists(st.integers(1, 4000), max_size=12))
    def test_any_cut_of_it_gives_the_same_bytes(self, cuts: list[int]) -> None:
        said = stream(*STORY.frames)
        places = [0, *sorted(min(cut, len(said)) for cut in cuts), len(said)]
        bench = a_flight()
        bench.open()
        for start, stop in itertools.pairwise(places):
            if start < stop and not bench.flight.closed:
                bench.answer(said[start:stop])
        assert (bench.body, bench.ended) == (STORY.whole, FlightEnded(1, None, worth_keeping=True))

    def test_only_headers_that_mean_something(self) -> None:
        said = json_http({"x": 1}, set_cookie="a=b", x_amzn_bedrock_input_token_count="7")
        bench = flown(Operation.INVOKE_MODEL, said)
        assert bench.began is not None
        assert [name for name, _ in bench.began.headers] == [
            b"content-type",
            b"x-amzn-requestid",
            b"x-amzn-bedrock-input-token-count",
        ]

    def test_an_answer_without_a_body_begins_too(self) -> None:
        bench = flown(Operation.INVOKE_MODEL, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        assert (bench.body, bench.began is not None) == (b"", True)
        assert bench.ended == FlightEnded(1, None, worth_keeping=True)

    def test_the_call_is_signed_and_bears_the_order_s_body(self) -> None:
        bench = flown(Operation.CONVERSE, ANSWER)
        (sent,) = bench.calls
        assert (sent.target.encode(), sent.body) == (call(Operation.CONVERSE).target, b'{"messages":[]}')
        assert sent.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDSTARGATE/")
        assert bench.opened[0].endpoint == HERE

    def test_the_breaker_hears_how_it_went(self) -> None:
        bench = flown(Operation.CONVERSE, ANSWER)
        assert bench.told == [CallEnded("here", BreakerPolicy(), ok=True, first=True)]

    def test_no_plugin_sees_it(self) -> None:
        """Hooks that stand everywhere would run once for the flight, and again for each follower."""
        entry = PluginEntry(name="meddler", config=NoConfig())
        plan = a_plan(a_config(entry), Meddler)
        order = Order("k", call(), (direction(),), Persistence(), SECOND, Sharing("", 1, 1))
        bench = FlightBench(plan, order)
        bench.start()
        bench.open()
        bench.answer(stream(*STORY.frames))
        assert bench.body == STORY.whole


class NoConfig(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Meddler:
    """Fails wherever it runs."""

    NAME: ClassVar[str] = "meddler"
    PRIORITY: ClassVar[int] = 1
    CONFIG: ClassVar[type[msgspec.Struct]] = NoConfig
    SCOPES: ClassVar[frozenset[Scope]] = frozenset(Scope)

    def __init__(self, config: NoConfig) -> None:
        pass

    def header_filter(self, ctx: HeaderFilter) -> None:
        """Fail."""
        raise AssertionError

    def body_filter(self, ctx: BodyFilter) -> None:
        """Fail."""
        raise AssertionError

    def log(self, ctx: Log) -> None:
        """Fail."""
        raise AssertionError


class TestWorth:
    @pytest.mark.parametrize(
        ("stop", "worth"),
        [
            ("end_turn", True),
            ("max_tokens", True),
            ("tool_use", True),
            ("guardrail_intervened", False),
            ("content_filtered", False),
            ("refusal", False),
            ("malformed_model_output", False),
            ("malformed_tool_use", False),
        ],
    )
    def test_why_the_model_stopped_decides(self, stop: str, worth: bool) -> None:
        for bench in (
            flown(Operation.CONVERSE, converse_answer(stop=stop)),
            flown(Operation.CONVERSE_STREAM, stream(*converse_story(stop=stop).frames)),
            flown(Operation.INVOKE_MODEL, json_http({"stop_reason": stop})),
        ):
            assert bench.ended == FlightEnded(1, None, worth)

    @pytest.mark.parametrize(
        ("payload", "worth"),
        [
            ({"amazon-bedrock-guardrailAction": "INTERVENED"}, False),
            ({"amazon-bedrock-guardrailAction": "NONE"}, True),
            ({"results": [{"completionReason": "CONTENT_FILTERED"}]}, False),
            ({"choices": [{"finish_reason": "content_filter"}]}, False),
            ({"choices": [{"finish_reason": "stop", "message": {"refusal": None}}]}, True),
            ({"text": 'It said "content_filtered" and "INTERVENED".'}, True),
            ([1], True),
        ],
    )
    def test_of_a_model_s_own_json_what_it_says_elsewhere(self, payload: Any, worth: bool) -> None:
        assert flown(Operation.INVOKE_MODEL, json_http(payload)).ended == FlightEnded(1, None, worth)

    @pytest.mark.parametrize(
        ("status", "worth"), [("completed", True), ("queued", False), ("in_progress", False)]
    )
    def test_a_response_that_is_still_to_come_is_not_kept(self, status: str, worth: bool) -> None:
        said = json_http({"object": "response", "status": status})
        assert flown(Operation.RESPONSES, said).ended == FlightEnded(1, None, worth)

    def test_a_masked_stream_is_not_kept(self) -> None:
        frames = list(invoke_story().frames)
        masked = inner({"type": "content_block_delta", "amazon-bedrock-guardrailAction": "INTERVENED"})
        for told, worth in ((frames, True), ([*frames[:3], masked, *frames[3:]], False)):
            bench = flown(Operation.INVOKE_MODEL_WITH_RESPONSE_STREAM, stream(*told))
            assert bench.ended == FlightEnded(1, None, worth)

    def test_an_error_with_status_200_is_an_error(self) -> None:
        said = json_http(
            {"Output": {"__type": "com.amazon.coral.service#UnknownOperationException"}, "Version": "1.0"}
        )
        ended = flown(Operation.CONVERSE, said).ended
        assert ended is not None
        assert ended.fault is not None


class TestFailure:
    def test_before_a_byte_has_come_it_is_reported_and_nothing_else(self) -> None:
        bench = flown(Operation.CONVERSE_STREAM, aws_error("ThrottlingException", 429, "Slow down"))
        (ended,) = bench.reports
        assert isinstance(ended, FlightEnded)
        assert ended.fault is not None
        assert (ended.fault.cause, ended.fault.message) == (Cause.UPSTREAM_THROTTLED, "Slow down")
        assert ended.attempts[0].startswith("here UPSTREAM_THROTTLED")

    @pytest.mark.parametrize(
        ("last", "cause"),
        [
            (chunk(exception("throttlingException")), Cause.UPSTREAM_THROTTLED),
            (LAST_CHUNK, Cause.STREAM_CUT),
            (chunk(b"nonsense, and long enough to be a prelude"), Cause.STREAM_CORRUPT),
        ],
    )
    def test_a_stream_that_breaks_is_reported_after_what_came(self, last: bytes, cause: Cause) -> None:
        for pieces in ((chunk(STORY.middle) + last,), (chunk(STORY.middle), last)):
            bench = flown(Operation.CONVERSE_STREAM, stream_head(), *pieces)
            assert bench.body == STORY.middle, "and no word of its own"
            assert bench.ended is not None
            assert bench.ended.fault is not None
            assert (bench.ended.fault.cause, bench.ended.worth_keeping) == (cause, False)

    def test_a_lost_connection(self) -> None:
        bench = flown(Operation.CONVERSE_STREAM, stream_head() + chunk(STORY.middle))
        bench.upstream_breaks()
        assert bench.ended is not None
        assert bench.ended.fault is not None
        assert bench.ended.fault.cause is Cause.STREAM_CUT
        assert bench.returned == [DropUpstream(1)]

    def test_no_credentials(self) -> None:
        bench = a_flight(credentials=False)
        assert bench.ended is not None
        assert bench.ended.fault is not None
        assert bench.ended.fault.cause is Cause.CREDENTIALS_MISSING

    def test_credentials_that_come_before_it_begins_count(self) -> None:
        bench = a_flight(credentials=False, started=False)
        bench.tell(CredentialsChanged("", Credentials("AKIDLATE", Secret("s"))))
        bench.start()
        bench.open()
        assert "AKIDLATE" in bench.calls[0].headers["authorization"]


class TestPersistence:
    def test_it_is_repeated_as_the_order_says(self) -> None:
        bench = a_flight(Operation.CONVERSE, count=1)
        bench.open()
        bench.answer(aws_error("InternalServerException", 500))
        assert isinstance(bench.reply(True), Turn)
        bench.open()
        bench.answer(ANSWER)
        assert bench.began is not None
        assert [each.split(" ")[:2] for each in bench.began.attempts] == [
            ["here", "UPSTREAM_INTERNAL"],
            ["here", "OK"],
        ]
        assert bench.ended == FlightEnded(1, None, worth_keeping=True)

    def test_attempts_are_told_once(self) -> None:
        """A follower adds what it hears at the end to what it heard at the beginning."""
        bench = a_flight(count=1)
        bench.open()
        bench.answer(aws_error("InternalServerException", 500))
        bench.reply(True)
        bench.open()
        bench.answer(stream_head() + chunk(STORY.middle))
        bench.upstream_breaks()
        assert bench.began is not None
        assert bench.ended is not None
        told = [*bench.began.attempts, *bench.ended.attempts]
        assert [each.split(" ")[1] for each in told] == ["UPSTREAM_INTERNAL", "STREAM_CUT"]

    def test_elsewhere_the_same_model_gets_the_same_call(self) -> None:
        bench = a_flight(Operation.CONVERSE, direction(), direction("there", THERE), count=1)
        bench.open()
        bench.answer(aws_error("ServiceQuotaExceededException", 400))
        bench.reply(True)
        bench.open()
        bench.answer(ANSWER)
        assert bench.opened[1].endpoint == THERE
        assert (bench.calls[1].target, bench.calls[1].body) == (bench.calls[0].target, bench.calls[0].body)
        assert bench.began is not None
        assert bench.began.target == "there"

    def test_another_model_gets_the_one_that_the_order_has_for_it(self) -> None:
        other = direction("there", THERE, "amazon.nova-lite-v1:0")
        its_own = msgspec.structs.replace(call(Operation.CONVERSE), target=b"/model/n/converse", body=b"{}")
        bench = a_flight(Operation.CONVERSE, direction(), other, count=1, others=((other.target, its_own),))
        bench.open()
        bench.answer(aws_error("ServiceQuotaExceededException", 400))
        bench.reply(True)
        bench.open()
        assert (bench.calls[1].target, bench.calls[1].body) == ("/model/n/converse", b"{}")
        bench.ground()

    def test_a_model_for_which_it_has_none_is_not_called(self) -> None:
        bench = a_flight(Operation.CONVERSE, direction(), direction("there", THERE, "n"), count=1)
        bench.open()
        bench.answer(aws_error("ServiceQuotaExceededException", 400))
        assert bench.ended is not None
        assert bench.ended.fault is not None
        assert bench.ended.fault.cause is Cause.UPSTREAM_QUOTA

    def test_a_target_that_is_left_alone_is_not_called(self) -> None:
        bench = a_flight(Operation.CONVERSE, direction(), direction("there", THERE), started=False)
        bench.tell(HealthChanged("here", Health.OPEN, 5 * SECOND))
        bench.tell(HealthChanged("there", Health.OPEN, 5 * SECOND))
        bench.tell(HealthChanged("there", Health.CLOSED))
        bench.start()
        assert [each.endpoint for each in bench.opened] == [THERE]
        bench.ground()

    def test_newer_credentials_are_asked_for(self) -> None:
        bench = a_flight(Operation.CONVERSE)
        bench.open()
        bench.answer(aws_error("ExpiredTokenException", 403))
        bench.tell(CredentialsChanged("", Credentials("AKIDNEWER", Secret("s"))))
        assert isinstance(bench.reply(True), RefreshCredentials)
        bench.open()
        assert "AKIDNEWER" in bench.calls[1].headers["authorization"]
        bench.ground()

    def test_no_connection_is_a_failure_like_others(self) -> None:
        bench = a_flight()
        bench.refuse(Trouble.REFUSED)
        assert bench.ended is not None
        assert bench.ended.fault is not None
        assert bench.ended.fault.cause is Cause.CONNECT_FAILED


class TestTime:
    def test_it_begins_at_once(self) -> None:
        bench = a_flight(started=False)
        assert (bench.flight.deadline, bench.opened) == (0, [])
        bench.advance(0)
        assert len(bench.opened) == 1

    def test_until_it_begins_it_has_the_order_s_time(self) -> None:
        bench = a_flight(Operation.CONVERSE, total_ns=7 * SECOND)
        bench.open()
        bench.advance(7 * SECOND - 1)
        assert bench.ended is None
        bench.advance(1)
        assert bench.ended is not None
        assert bench.ended.fault is not None
        assert bench.ended.fault.cause is Cause.TOTAL_TIMEOUT

    def test_from_then_on_the_gateway_s(self) -> None:
        """The one for whom it was launched was in a hurry; those who joined may not be."""
        bench = a_flight(total_ns=7 * SECOND)
        bench.open()
        bench.answer(stream_head() + chunk(STORY.middle))
        total_s = PLAN.limits.total_ns // SECOND
        delta = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "x"}})
        for _ in range(total_s // 50 - 1):
            bench.advance(50 * SECOND)
            bench.answer(chunk(delta))
        assert bench.ended is None
        bench.advance(50 * SECOND)
        assert bench.ended is not None
        assert bench.ended.fault is not None
        assert bench.ended.fault.cause is Cause.TOTAL_TIMEOUT

    @pytest.mark.parametrize("cause", [Cause.FIRST_TOKEN_TIMEOUT, Cause.IDLE_TIMEOUT])
    def test_silence_is_limited(self, cause: Cause) -> None:
        said = stream_head() + (chunk(STORY.middle) if cause is Cause.IDLE_TIMEOUT else b"")
        bench = flown(Operation.CONVERSE_STREAM, said)
        bench.advance(60 * SECOND)
        assert bench.ended is not None
        assert bench.ended.fault is not None
        assert bench.ended.fault.cause is cause

    def test_draining_gives_it_its_grace(self) -> None:
        bench = flown(Operation.CONVERSE_STREAM, stream_head() + chunk(STORY.middle))
        bench.tell(Draining(5 * SECOND))
        bench.advance(5 * SECOND - 1)
        assert bench.ended is None
        bench.advance(1)
        assert bench.ended is not None
        assert bench.ended.fault is not None
        assert bench.ended.fault.cause is Cause.DRAINING

    def test_a_draining_gateway_repeats_nothing(self) -> None:
        bench = a_flight(Operation.CONVERSE, count=1)
        bench.open()
        bench.tell(Draining(60 * SECOND))
        bench.answer(aws_error("InternalServerException", 500))
        assert bench.ended is not None

    def test_a_stream_that_is_whole_by_then_is_whole(self) -> None:
        bench = flown(Operation.CONVERSE_STREAM, stream(*STORY.frames, end=b""))
        bench.tell(Draining(0))
        bench.advance(0)
        assert bench.ended == FlightEnded(1, None, worth_keeping=True)


class TestGrounding:
    @pytest.mark.parametrize("stage", ["new", "asking", "opening", "awaiting", "collecting", "streaming"])
    def test_it_gives_back_what_it_holds_in_every_state(self, stage: str) -> None:
        bench = a_flight(started=stage != "new")
        if stage in {"awaiting", "collecting", "streaming", "asking"}:
            bench.open()
        if stage == "asking":
            bench.answer(aws_error("ExpiredTokenException", 403))
            assert bench.questions
        if stage == "collecting":
            bench.answer(aws_error("InternalServerException", 500)[:-1])
        if stage == "streaming":
            bench.answer(stream_head() + chunk(STORY.middle))
        assert bench.flight.busy
        bench.ground()
        assert bench.flight.closed
        assert not bench.flight.busy
        assert bench.ended is not None
        assert bench.ended.fault is not None
        assert not bench.ended.worth_keeping
        cancelled = [each for each in bench.returned if isinstance(each, DropUpstream)]
        assert len(cancelled) == (stage in {"awaiting", "collecting", "streaming"})

    def test_what_was_whole_is_told_to_be(self) -> None:
        bench = flown(Operation.CONVERSE_STREAM, stream(*STORY.frames, end=b""))
        assert not bench.flight.closed, "its connection may still be kept"
        bench.ground()
        assert (bench.body, bench.ended) == (STORY.whole, FlightEnded(1, None, worth_keeping=True))

    def test_late_facts_are_harmless(self) -> None:
        bench = a_flight()
        bench.open()
        bench.ground()
        before = list(bench.reports)
        bench.answer(stream(*STORY.frames))
        bench.upstream_ends()
        bench.tell(Draining(0))
        bench.tell(Answered(1, True))
        bench.start()
        assert bench.tell(UpstreamOpened(9, 9, False)) == [ReleaseUpstream(9)]
        assert bench.reports == before

    @pytest.mark.parametrize(
        "fact",
        [
            ClientSent(b"x"),
            ClientEnded(),
            ClientLost(),
            ClientStalled(),
            ClientDrained(),
            AnswerEnded(1),
            KeysChanged({"k": b"{}"}),
            Reconfigured(2),
        ],
        ids=lambda fact: type(fact).__name__,
    )
    def test_what_concerns_only_clients_is_nothing_to_it(self, fact: FlightEvent) -> None:
        bench = flown(Operation.CONVERSE_STREAM, stream_head() + chunk(STORY.middle))
        assert bench.tell(fact) == []
        bench.answer(chunk(STORY.end) + LAST_CHUNK)
        assert bench.body == STORY.middle + STORY.end

    def test_a_flight_takes_all_facts_that_a_session_takes(self) -> None:
        assert set(get_args(SessionEvent)) < set(get_args(FlightEvent))
        assert set(get_args(SessionCommand)) < set(get_args(FlightCommand))


# -------------------------------------------------------------------------------------------- the whole of it


class Sharer:
    """Lets every answer be kept and shared, and tells in a header where it came from."""

    NAME: ClassVar[str] = "sharer"
    PRIORITY: ClassVar[int] = 100
    CONFIG: ClassVar[type[msgspec.Struct]] = NoConfig
    SCOPES: ClassVar[frozenset[Scope]] = frozenset(Scope)

    def __init__(self, config: NoConfig) -> None:
        pass

    def access(self, ctx: Access) -> None:
        """Share with all."""
        ctx.share(Sharing("", 300_000_000, 300_000_000))

    def header_filter(self, ctx: HeaderFilter) -> None:
        """Tell the source."""
        source, age = ctx.source
        ctx.headers.append((b"x-source", f"{source.value if source else 'none'} {age}".encode()))


def a_crowd(count: int, *, shared: bool = False, **limits: Any) -> Crowd:
    """So many sessions that share."""
    gateway = Gateway(time_limits=TimeLimits(**limits))
    plan = a_plan(a_config(PluginEntry(name="sharer", config=NoConfig()), gateway=gateway), Sharer)
    return Crowd(plan, count, shared=shared)


def text_of(answer: Answer) -> str:
    """What the model said, in a chat completion or its stream, or a Bedrock stream."""
    if answer.header("content-type") == EVENT_STREAM:
        frames = EventStreamDecoder().feed(answer.body)
        deltas = [msgspec.json.decode(frame.payload) for frame in frames if frame.name == "contentBlockDelta"]
        return "".join(each["delta"]["text"] for each in deltas)
    if answer.body.startswith(b"data: "):
        events = [each for each in sse(answer.body) if each != "[DONE]" and each.get("choices")]
        return "".join(each["choices"][0]["delta"].get("content") or "" for each in events)
    text = answer.json["choices"][0]["message"]["content"]
    assert isinstance(text, str)
    return text


class TestCrowd:
    def test_each_that_asks_is_published_once_and_the_call_itself_never(self) -> None:
        """It would be counted beside those that it is made for. FlightBench takes no Publish of a flight."""
        gateway = Gateway(admin_listen="127.0.0.1:8001", tracing=Tracing())
        plan = a_plan(a_config(PluginEntry(name="sharer", config=NoConfig()), gateway=gateway), Sharer)
        crowd = Crowd(plan, 3)
        for member in crowd.members:
            member.ask(chat(stream=True))
        (flight,) = crowd.flights
        flight.open()
        crowd.step(flight, stream_head(), *[chunk(frame) for frame in STORY.frames], LAST_CHUNK)
        told = [publication for member in crowd.members for publication in member.publications]
        assert [one.record.cache for one in told] == ["miss", "coalesced", "coalesced"]
        assert all(one.spans[0].name == "shared answer" for one in told)
        assert len({one.record.trace_id for one in told}) == 3

    @pytest.mark.parametrize("shared", [False, True], ids=["memory", "store"])
    def test_one_call_answers_all_who_ask_the_same(self, shared: bool) -> None:
        crowd = a_crowd(3, shared=shared)
        for member in crowd.members:
            member.ask(chat(stream=True))
        (flight,) = crowd.flights
        flight.open()
        crowd.step(flight, stream_head(), *[chunk(frame) for frame in STORY.frames], LAST_CHUNK)
        assert [text_of(member.only) for member in crowd.members] == ["Hello."] * 3
        sources = [member.only.header("x-source") for member in crowd.members]
        assert sources == ["made 0", "joined 0", "joined 0"]
        ids = {sse(member.only.body)[0]["id"] for member in crowd.members}
        assert len(ids) == 3, "each has its own"
        crowd.advance(7 * SECOND)
        crowd.members[0].ask(chat(stream=True))
        again = crowd.members[0].client.answers[1]
        assert (text_of(again), len(crowd.flights)) == ("Hello.", 1)
        assert again.header("x-source") == ("kept 0" if shared else "kept 7")
        for member in crowd.members:
            member.settle()

    def test_who_comes_late_and_who_speaks_bedrock_s_own_language(self) -> None:
        crowd = a_crowd(2)
        first, second = crowd.members
        first.ask(converse("converse-stream"))
        (flight,) = crowd.flights
        flight.open()
        crowd.step(flight, stream_head(), chunk(STORY.beginning + STORY.middle))
        second.ask(converse("converse-stream"))
        assert second.client.answers[0].body == STORY.beginning + STORY.middle
        crowd.step(flight, chunk(STORY.end), LAST_CHUNK)
        assert [member.only.body for member in crowd.members] == [STORY.whole] * 2
        assert [member.only.header("x-amzn-requestid") for member in crowd.members] == [AWS_REQUEST_ID] * 2

    def test_the_first_one_s_leaving_hurts_nobody(self) -> None:
        crowd = a_crowd(2)
        first, second = crowd.members
        for member in crowd.members:
            member.ask(chat(stream=True))
        (flight,) = crowd.flights
        flight.open()
        crowd.step(flight, stream_head(), chunk(STORY.middle))
        first.leave()
        crowd.step(flight, chunk(STORY.end), LAST_CHUNK)
        assert text_of(second.only) == "Hello."
        assert first.record["outcome"] != second.record["outcome"]
        assert flight.returned == [ReleaseUpstream(1)]

    def test_when_all_have_left_the_call_is_cancelled(self) -> None:
        crowd = a_crowd(2)
        for member in crowd.members:
            member.ask(chat(stream=True))
        (flight,) = crowd.flights
        flight.open()
        crowd.step(flight, stream_head(), chunk(STORY.middle))
        for member in crowd.members:
            member.leave()
        assert flight.returned == [DropUpstream(1)]
        assert crowd.cache.statistics()["flights"] == 0

    def test_who_takes_nothing_for_a_while_misses_nothing(self) -> None:
        crowd = a_crowd(2)
        first, second = crowd.members
        for member in crowd.members:
            member.ask(chat(stream=True))
        (flight,) = crowd.flights
        flight.open()
        crowd.step(flight, stream_head(), chunk(STORY.beginning))
        first.tell(ClientStalled())
        crowd.step(flight, chunk(STORY.middle), chunk(STORY.end), LAST_CHUNK)
        assert (text_of(second.only), first.client.answers) == ("Hello.", [])
        first.tell(ClientDrained())
        assert text_of(first.only) == "Hello."

    def test_a_failed_leader_poisons_nobody(self) -> None:
        crowd = a_crowd(3)
        for member in crowd.members:
            member.ask(chat())
        leader = crowd.flights[0]
        leader.refuse(Trouble.REFUSED)
        crowd.collect()
        while len(crowd.flights) == 1:
            # The proxy's own repetitions come first.
            crowd.advance(SECOND)
            if leader.questions:
                leader.reply(True)
            if leader.asked:
                leader.refuse(Trouble.REFUSED)
            crowd.collect()
        second = crowd.flights[1]
        second.open()
        crowd.step(second, ANSWER)
        assert [member.only.status for member in crowd.members] == [502, 200, 200]
        sources = [member.only.header("x-source") for member in crowd.members]
        assert sources == ["none 0", "made 0", "joined 0"]

    def test_an_error_is_told_in_each_one_s_own_words_and_not_kept(self) -> None:
        crowd = a_crowd(2)
        for member in crowd.members:
            member.ask(chat())
        (flight,) = crowd.flights
        flight.open()
        crowd.step(flight, aws_error("ValidationException", 400, "Too warm"))
        assert [member.only.status for member in crowd.members] == [400, 400]
        assert crowd.members[0].only.json["error"]["message"] == "Too warm"
        crowd.members[0].ask(chat())
        assert len(crowd.flights) == 2

    def test_a_stream_that_breaks_is_broken_for_all_and_not_kept(self) -> None:
        crowd = a_crowd(2)
        for member in crowd.members:
            member.ask(chat(stream=True))
        (flight,) = crowd.flights
        flight.open()
        crowd.step(flight, stream_head(), chunk(STORY.middle), chunk(exception("throttlingException")))
        for member in crowd.members:
            assert sse(member.only.body)[-1]["error"]["code"] == "rate_limit_exceeded"
        crowd.members[0].ask(chat(stream=True))
        assert len(crowd.flights) == 2

    def test_a_caller_that_closes_at_the_last_byte_lets_it_be_kept(self) -> None:
        crowd = a_crowd(2)
        first, second = crowd.members
        first.ask(chat(stream=True))
        (flight,) = crowd.flights
        flight.open()
        crowd.step(flight, stream_head(), chunk(STORY.whole))
        first.leave()
        second.ask(chat(stream=True))
        assert (text_of(second.only), len(crowd.flights)) == ("Hello.", 1)


def test_a_flight_holds_what_an_exchange_asks_of_its_host() -> None:
    """The type checkers say so too; this is for who runs neither."""
    flight = Flight(
        PLAN,
        Order("k", call(), (direction(),), Persistence(), SECOND, Sharing("", 1, 1)),
        flight=1,
        wall_epoch_ns=0,
        seed=1,
        now=0,
    )
    assert [flight.next_ticket(), flight.next_ticket()] == [1, 2]
    assert not flight.codec.has_partial_request


class TestWhatIsNeverAsked:
    """A flight has no client, and answers nothing by itself; its ticks may come early."""

    def test_an_early_tick_changes_nothing(self) -> None:
        machine = a_flight()
        machine.open()
        assert machine.tell(Ticked()) == []

    def test_it_has_nobody_to_read_from(self) -> None:
        codec = a_flight().flight.codec
        codec.receive_data(b"GET / HTTP/1.1\r\n\r\n")
        codec.receive_eof()
        codec.start_next_cycle()
        assert codec.next_event() is CLOSED
        assert not codec.has_partial_request

    def test_a_call_to_bedrock_is_not_answered_here(self) -> None:
        exchange = a_flight().flight.exchange
        ask = exchange.ctx.read_ask()
        with pytest.raises(AssertionError, match="a call to Bedrock"):
            exchange.dialect.answer_locally(exchange.request, ask, ())

    def test_each_other_target_has_the_call_that_was_made_for_it(self) -> None:
        calls = {name: call() for name in ("a", "b")}
        others = tuple((Target(name), one) for name, one in calls.items())
        exchange = a_flight(others=others).flight.exchange
        ask = exchange.ctx.read_ask()
        for name, one in calls.items():
            assert exchange.dialect.compose(exchange.request, ask, Target(name)) is one
