"""What every answer bears, and the one record that every exchange leaves."""

import datetime
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.config.bedrock_proxy import ProxyTarget, Retry
from stargate_core.config.rate_limiter import RateLimiter
from stargate_core.config.schema import Config, Gateway, PluginEntry
from stargate_core.dialects.converse import TOKENS_MAX
from stargate_core.dialects.face import Reply, Request
from stargate_core.dialects.registry import BEDROCK_NATIVE, OPENAI_CHAT
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.settlement import answer_headers, fault_headers, rfc3339, session_of
from stargate_core.limits.buckets import Level, Verdict
from stargate_core.messages import (
    ClientDrained,
    ClientLost,
    ClientStalled,
    Trouble,
    UpstreamSent,
    WriteClient,
)
from stargate_core.record import Failed, Outcome
from support.bedrock import (
    LAST_CHUNK,
    aws_error,
    chunk,
    converse_answer,
    converse_story,
    json_http,
    stream_head,
)
from support.hooks import entry, plugin_of
from support.machines import LOG, MODEL, Bench, a_config, a_plan, chat, converse, proxy, request

ID: Final = "0123456789abcdef0123456789abcdef"
REQUEST: Final = Request(b"GET", b"/", b"/", b"", [], b"", ID, 0)


class TestAnswerHeaders:
    def test_an_openai_answer_bears_its_id(self) -> None:
        headers = answer_headers(OPENAI_CHAT, REQUEST, [(b"a", b"b")])
        assert headers == [(b"a", b"b"), (b"x-request-id", ID.encode())]

    def test_an_aws_answer_bears_it_under_awss_name_too(self) -> None:
        headers = answer_headers(BEDROCK_NATIVE, REQUEST, [])
        assert headers == [(b"x-request-id", ID.encode()), (b"x-amzn-requestid", ID.encode())]

    def test_bedrocks_own_id_is_kept(self) -> None:
        """What AWS's support asks for is AWS's id; ours stands beside it."""
        headers = answer_headers(BEDROCK_NATIVE, REQUEST, [(b"x-amzn-requestid", b"aws")])
        assert headers == [(b"x-amzn-requestid", b"aws"), (b"x-request-id", ID.encode())]

    def test_the_headers_given_are_left_as_they_are(self) -> None:
        given_headers = [(b"a", b"b")]
        answer_headers(BEDROCK_NATIVE, REQUEST, given_headers)
        assert given_headers == [(b"a", b"b")]

    @pytest.mark.parametrize(
        ("sent", "name"),
        [
            (chat(), "x-request-id"),
            (converse(), "x-request-id"),
            (request("/nothing", b""), "x-request-id"),
            (request("/healthz", method="GET"), "x-request-id"),
            (request("/v1/models", method="GET"), "x-request-id"),
            (b"garbage\r\n\r\n", "x-request-id"),
        ],
    )
    def test_every_answer_bears_one(self, sent: bytes, name: str) -> None:
        bench = Bench()
        bench.send(sent)
        if bench.asked:
            bench.open()
            bench.answer(converse_answer())
        assert len(bench.only.header(name) or "") == 32


class TestFaultHeaders:
    def test_whether_to_try_again_is_always_said(self) -> None:
        assert fault_headers(Fault(Cause.KEY_MISSING)) == [(b"x-should-retry", b"false")]
        assert fault_headers(Fault(Cause.TOTAL_TIMEOUT)) == [(b"x-should-retry", b"true")]

    def test_and_when_where_there_is_a_time(self) -> None:
        assert fault_headers(Fault(Cause.RATE_LIMITED, retry_after_seconds=7)) == [
            (b"x-should-retry", b"true"),
            (b"retry-after", b"7"),
            (b"retry-after-ms", b"7000"),
        ]

    def test_and_what_the_fault_itself_brings(self) -> None:
        fault = Fault(Cause.METHOD_NOT_ALLOWED, headers=((b"allow", b"POST"),))
        assert (b"allow", b"POST") in fault_headers(fault)


class TestRecord:
    def test_its_time_is_utc_to_the_millisecond(self) -> None:
        assert rfc3339(1_800_000_000_123_999_999) == "2027-01-15T08:00:00.123Z"
        assert rfc3339(0) == "1970-01-01T00:00:00.000Z"

    @given(st.integers(0, 4_000_000_000_000_000_000))
    def test_it_is_the_time_that_python_reads(self, wall_ns: int) -> None:
        read = datetime.datetime.fromisoformat(rfc3339(wall_ns))
        assert read.tzinfo == datetime.UTC
        assert int(read.timestamp() * 1000 + 0.5) == wall_ns // 1_000_000

    def test_the_log_phase_sees_status_and_record(self) -> None:
        seen: list[Any] = []

        def log(ctx: Any) -> None:
            seen.append((ctx.status, ctx.record.outcome.value, ctx.record.request_id, ctx.request.request_id))

        bench = Bench(a_plan(a_config(entry()), plugin_of({"log": log})))
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer())
        ((status, outcome, record_id, request_id),) = seen
        assert (status, outcome, record_id) == (200, "complete", request_id)

    @pytest.mark.parametrize("logged", [False, True])
    def test_whoever_watches_has_the_record_that_the_log_has(self, logged: bool) -> None:
        gateway = Gateway(admin_listen="127.0.0.1:8001")
        bench = Bench(a_plan(Config(gateway=gateway, plugins=[proxy(), *([LOG] if logged else [])])))
        bench.send(chat())
        bench.open()
        bench.answer(converse_answer())
        (record,) = bench.published
        assert (record.outcome, record.status) == (Outcome.COMPLETE, 200)
        assert [msgspec.to_builtins(record)] == bench.records or not logged

    def test_where_nobody_watches_nothing_is_published(self) -> None:
        bench = Bench()
        bench.ask(request("/nothing", b""))
        assert (len(bench.records), bench.published) == (1, [])

    def test_a_hook_that_fails_does_not_keep_the_others_from_running(self) -> None:
        def fails(ctx: Any) -> None:
            raise ValueError

        plugin = plugin_of({"log": fails}, priority=5000)
        bench = Bench(a_plan(a_config(entry()), plugin))
        bench.ask(request("/nothing", b""))
        assert len(bench.records) == 1
        assert [note.text for note in bench.notes] == ["probe raised ValueError in log"]

    def test_a_client_that_left_before_the_status_line_has_none(self) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.leave()
        assert (bench.record["status"], bench.record["outcome"]) == (0, "client_left")
        assert "code" not in bench.record

    def test_a_reply_of_a_plugins_is_recorded_as_any(self) -> None:
        plugin = plugin_of({"access": lambda ctx: ctx.reply(Reply(418, [], b"tea"))})
        bench = Bench(a_plan(a_config(entry()), plugin))
        bench.ask(chat())
        assert (bench.record["status"], bench.record["outcome"]) == (418, "complete")
        assert "attempts" not in bench.record

    def test_no_count_of_bedrocks_is_too_large_to_be_settled(self) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.open()
        message = {"role": "assistant", "content": [{"text": "Hi"}]}
        usage = {"inputTokens": 1e308, "outputTokens": 10**30}
        bench.answer(json_http({"output": {"message": message}, "stopReason": "end_turn", "usage": usage}))
        assert bench.record["outcome"] == "complete"
        assert bench.record["input_tokens"] == bench.record["output_tokens"] == TOKENS_MAX

    def test_bytes_are_those_that_went_each_way(self) -> None:
        bench = Bench()
        sent: list[bytes] = []
        bench.ask(chat(stream=True))
        bench.open()
        story = converse_story()
        for piece in (stream_head() + chunk(story.beginning + story.middle), chunk(story.end) + LAST_CHUNK):
            commands = bench.tell(UpstreamSent(1, piece))
            sent += [command.data for command in commands if isinstance(command, WriteClient)]
        assert bench.record["response_bytes"] == len(b"".join(sent))
        assert bench.record["request_bytes"] == len(chat(stream=True).partition(b"\r\n\r\n")[2])


class TestSession:
    """What Claude Code tells of itself, for the log."""

    SESSION: Final = {
        "x-claude-code-session-id": "c0ffee00-1111-2222-3333-444455556666",
        "x-claude-code-agent-id": "agent-2",
        "x-claude-code-parent-agent-id": "agent-1",
        "x-claude-code-request-class": "subagent",
    }
    NAMES: Final = ("session_id", "agent_id", "parent_agent_id", "request_class")

    @pytest.mark.parametrize(
        "path", ["/v1/messages?beta=true", "/v1/messages/count_tokens", "/model/a.b/invoke", "/model/a.b/x"]
    )
    def test_it_is_in_the_record_of_every_dialect_that_claude_code_speaks(self, path: str) -> None:
        bench = Bench()
        bench.send(request(path, b"[]", headers=self.SESSION))
        if bench.asked:
            bench.leave()
        assert [bench.record[name] for name in self.NAMES] == list(self.SESSION.values())

    def test_of_others_it_is_none_of_our_business(self) -> None:
        bench = Bench()
        bench.send(request("/v1/chat/completions", b"[]", headers=self.SESSION))
        assert not set(self.NAMES) & set(bench.record)

    def test_what_is_not_told_is_left_out(self) -> None:
        bench = Bench()
        bench.send(request("/v1/messages", b"[]", headers={"x-claude-code-session-id": "s"}))
        assert set(self.NAMES) & set(bench.record) == {"session_id"}

    @pytest.mark.parametrize(
        ("value", "kept"),
        [
            (b"s" * 1000, "s" * 128),
            (b"a\tb", "ab"),
            ("é“".encode() + b"\xff ok", " ok"),
            (b"", ""),
            (b' "quoted" ', ' "quoted" '),
        ],
    )
    def test_it_is_short_and_can_be_printed(self, value: bytes, kept: str) -> None:
        assert session_of([(b"x-claude-code-agent-id", value)]) == ("", kept, "", "")

    @given(st.binary(max_size=300))
    def test_whatever_it_is(self, value: bytes) -> None:
        told, *others = session_of([(b"accept", b"*/*"), (b"x-claude-code-session-id", value)])
        assert len(told) <= 128
        assert told.isascii()
        assert told == "" or told.isprintable()
        assert others == ["", "", ""]

    def test_of_two_values_the_first_counts_and_other_names_do_not(self) -> None:
        name = b"x-claude-code-session-id"
        headers = [(b"x-claude-code-other", b"z"), (name, b"a"), (name, b"b")]
        assert session_of(headers) == ("a", "", "", "")


def a_stream(**members: Any) -> Bench:
    """A caller's stream has begun, and said three things."""
    bench = Bench()
    bench.ask(chat(stream=True, **members))
    bench.open()
    story = converse_story(("One.", "Two.", "Three."))
    bench.answer(stream_head() + chunk(story.beginning + story.middle))
    return bench


class TestCost:
    @pytest.mark.parametrize(
        ("model", "estimated"), [("anthropic.claude-3-haiku-20240307-v1:0", False), ("some.model", True)]
    )
    def test_a_cost_by_no_price_of_the_models_own_says_so(self, model: str, estimated: bool) -> None:
        bench = Bench()
        bench.ask(chat(model=model))
        bench.open()
        bench.answer(converse_answer("Hello."))
        assert bench.record["cost_usd"] > 0
        assert bench.record.get("cost_estimated", False) is estimated

    def test_what_used_nothing_was_not_estimated(self) -> None:
        bench = Bench()
        bench.ask(chat(model="some.model"))
        bench.open()
        bench.upstream_ends()
        assert not bench.record.get("cost_estimated", False)


class TestUsageThatNobodyTold:
    """Bedrock counts at the end of an answer only; what never came to its end was paid for all the same."""

    def used(self, bench: Bench) -> tuple[bool, int, int]:
        """Whether it is an estimate, and the tokens."""
        record = bench.record
        return record.get("usage_estimated", False), record["input_tokens"], record.get("output_tokens", 0)

    def test_a_stream_that_broke_off_is_estimated_by_its_events(self) -> None:
        bench = a_stream()
        bench.upstream_breaks()
        estimated, input_tokens, output_tokens = self.used(bench)
        assert estimated
        assert input_tokens > 0
        assert output_tokens > 0

    def test_but_never_as_more_than_was_allowed(self) -> None:
        bench = a_stream(max_completion_tokens=1)
        bench.upstream_breaks()
        assert self.used(bench)[2] == 1

    @pytest.mark.parametrize("written", [False, True])
    def test_a_caller_who_leaves_has_used_what_bedrock_read(self, written: bool) -> None:
        bench = Bench()
        bench.advance(SECOND)
        bench.ask(chat())
        if written:
            bench.open()
        bench.leave()
        assert bench.record.get("usage_estimated", False) is written
        assert (bench.record.get("input_tokens", 0) > 0) is written

    def test_so_has_one_whose_time_is_up(self) -> None:
        bench = Bench()
        bench.advance(SECOND)
        bench.ask(chat())
        bench.open()
        bench.advance(600 * SECOND)
        assert bench.record["cause"] == "TOTAL_TIMEOUT"
        assert self.used(bench)[0]

    def test_a_call_that_never_answered_for_another_reason_has_used_nothing(self) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.open()
        bench.upstream_ends()
        assert "usage_estimated" not in bench.record or not bench.record["usage_estimated"]


class TestFailures:
    """Of its exchanges' failures a session remembers the first, for whoever keeps journals."""

    def failed(self, bench: Bench) -> Failed | None:
        """What the session remembers."""
        return bench.session.failed

    def test_one_that_is_not_the_callers_is_remembered(self) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.open()
        bench.upstream_breaks()
        assert self.failed(bench) == Failed(bench.record["request_id"], 502, "UPSTREAM_LOST")

    def test_a_stream_that_broke_off_too_whatever_its_status_was(self) -> None:
        bench = a_stream()
        bench.upstream_breaks()
        assert self.failed(bench) == Failed(bench.record["request_id"], 200, "STREAM_CUT")

    def test_the_callers_own_are_not(self) -> None:
        bench = Bench()
        bench.ask(request("/nothing", b""))
        assert bench.only.status == 404
        assert self.failed(bench) is None

    def test_the_first_one_stays(self) -> None:
        bench = Bench()
        for _ in range(2):
            bench.ask(chat())
            bench.open()
            bench.upstream_breaks()
        assert self.failed(bench) == Failed(bench.records[0]["request_id"], 502, "UPSTREAM_LOST")

    def test_a_plugin_may_have_answered_so_without_a_fault(self) -> None:
        def answers(ctx: Any) -> None:
            ctx.reply(Reply(503, [], b""))

        bench = Bench(a_plan(a_config(entry()), plugin_of({"access": answers})))
        bench.ask(chat())
        assert self.failed(bench) == Failed(bench.record["request_id"], 503, "")

    def test_it_is_remembered_where_nothing_is_logged_too(self) -> None:
        bench = Bench(a_plan(a_config(plugins=[proxy()])))
        bench.ask(chat())
        bench.open()
        bench.upstream_breaks()
        assert bench.records == []
        failed = self.failed(bench)
        assert failed is not None
        assert failed.cause == "UPSTREAM_LOST"


EAST: Final = f"us-east-1/{MODEL}"
WEST: Final = f"us-west-2/{MODEL}"
STORY: Final = converse_story()
BROKEN: Final = aws_error("InternalServerException", 500)


def begun(*, count: int = 0, stream: bool = False) -> Bench:
    """A bench that a chat has been asked of, a second after its start; its call may be repeated at another
    target, which is asked for its turn.
    """
    targets = [
        ProxyTarget(name=region, region=region, endpoint_url=f"http://{region}.test:80")
        for region in ("us-east-1", "us-west-2")
    ]
    bench = Bench(a_plan(a_config(plugins=[proxy(retry=Retry(count=count), targets=targets), LOG])))
    bench.advance(SECOND)
    bench.ask(chat(stream=stream))
    return bench


def pause(bench: Bench, milliseconds: int) -> None:
    """So much time goes by in which nothing happens."""
    bench.now += milliseconds * MILLISECOND


def spent(bench: Bench) -> tuple[float, float, float]:
    """What the record says: in all, with Bedrock, the gateway's own."""
    (record,) = bench.records
    return record["total_ms"], record.get("upstream_ms", 0.0), record.get("overhead_ms", 0.0)


class TestTimeSpent:
    """Where a request's time went: in all, waiting for Bedrock, and the gateway's own."""

    @pytest.mark.parametrize(("reused", "expected"), [(False, (27.0, 27.0, 0.0)), (True, (27.0, 20.0, 7.0))])
    def test_a_new_connection_is_bedrocks_and_the_wait_for_a_kept_one_the_gateways(
        self, reused: bool, expected: tuple[float, float, float]
    ) -> None:
        bench = begun()
        pause(bench, 7)
        bench.open(reused=reused)
        pause(bench, 20)
        bench.answer(converse_answer())
        assert spent(bench) == expected

    def test_a_call_that_never_had_a_connection_has_waited_for_bedrock(self) -> None:
        bench = begun()
        pause(bench, 30)
        bench.refuse(Trouble.CONNECT_TIMEOUT)
        assert spent(bench) == (30.0, 30.0, 0.0)

    def test_so_has_one_that_the_caller_leaves_meanwhile(self) -> None:
        bench = begun()
        pause(bench, 30)
        bench.tell(ClientLost())
        assert spent(bench) == (30.0, 30.0, 0.0)

    def test_a_refusal_is_the_gateways_own(self) -> None:
        bench = Bench()
        bench.ask(request("/nothing", b""))
        (record,) = bench.records
        assert "upstream_ms" not in record
        assert "overhead_ms" not in record

    def test_attempts_that_failed_and_the_pause_behind_them_are_bedrocks(self) -> None:
        bench = begun(count=1)
        bench.open(reused=True)
        pause(bench, 20)
        bench.answer(BROKEN)
        pause(bench, 2)
        bench.reply(True)
        pause(bench, 3)
        bench.open()
        pause(bench, 10)
        bench.answer(converse_answer())
        total, upstream, overhead = spent(bench)
        assert (total, upstream, overhead) == (35.0, 35.0, 0.0)

    def test_time_in_which_the_caller_takes_nothing_is_nobodys(self) -> None:
        bench = begun(stream=True)
        bench.open()
        pause(bench, 10)
        bench.answer(stream_head() + chunk(STORY.beginning + STORY.middle))
        bench.tell(ClientStalled())
        pause(bench, 50)
        bench.tell(ClientDrained())
        pause(bench, 3)
        bench.tell(ClientStalled())
        pause(bench, 4)
        bench.answer(chunk(STORY.end) + LAST_CHUNK)
        assert spent(bench) == (67.0, 13.0, 0.0)

    def test_a_caller_that_is_behind_with_its_last_answer_is_waited_for_as_well(self) -> None:
        bench = begun(stream=True)
        bench.tell(ClientStalled())
        bench.open()
        pause(bench, 50)
        bench.tell(ClientDrained())
        pause(bench, 3)
        bench.answer(stream_head() + chunk(STORY.whole) + LAST_CHUNK)
        assert spent(bench) == (53.0, 3.0, 0.0)

    def test_a_stall_ends_with_the_attempt_that_it_held_up(self) -> None:
        bench = begun(count=1)
        bench.open()
        bench.tell(ClientStalled())
        pause(bench, 50)
        bench.answer(BROKEN)
        bench.tell(ClientDrained())
        bench.reply(True)
        bench.open()
        pause(bench, 3)
        bench.answer(converse_answer())
        assert spent(bench) == (53.0, 3.0, 0.0)


class TestStreamFigures:
    """How a stream flowed: when its first event came, and how far the others were apart."""

    def test_events_are_counted_from_the_first_meaningful_one_on(self) -> None:
        bench = begun(stream=True)
        bench.open()
        bench.answer(stream_head())
        for frame in STORY.frames:
            pause(bench, 10)
            bench.answer(chunk(frame))
        bench.answer(LAST_CHUNK)
        record = bench.record
        told = [frame for frame in STORY.frames if b"contentBlockDelta" in frame]
        # The last word but one, `messageStop`, gives a finish_reason, and `metadata` nothing here.
        assert record["output_events"] == len(told) + 1
        assert record["inter_token_ms"] >= 10.0
        first = STORY.frames.index(told[0])
        assert record["first_token_ms"] == 10.0 * (first + 1)

    def test_one_event_has_no_distance(self) -> None:
        bench = begun(stream=True)
        bench.open()
        bench.answer(stream_head())
        bench.answer(chunk(STORY.beginning))
        bench.answer(chunk(STORY.frames[1]))
        bench.leave()
        record = bench.record
        assert "inter_token_ms" not in record

    def test_a_plain_answer_has_no_events(self) -> None:
        bench = begun()
        bench.open()
        bench.answer(converse_answer())
        assert not {"output_events", "first_token_ms", "inter_token_ms"} & bench.record.keys()

    def test_silence_before_a_stream_is_no_token(self) -> None:
        bench = begun(stream=True)
        bench.open()
        bench.answer(stream_head())
        bench.leave()
        assert not {"output_events", "first_token_ms", "inter_token_ms"} & bench.record.keys()


class TestAttempts:
    def test_each_attempt_that_is_over_is_told_as_data(self) -> None:
        bench = begun(count=1)
        pause(bench, 2)
        bench.open()
        pause(bench, 20)
        bench.answer(BROKEN)
        bench.reply(True)
        bench.refuse(Trouble.REFUSED)
        first, second = bench.record["calls"]
        assert (first["target"], first["result"], first["status"]) == (EAST, "UPSTREAM_INTERNAL", 500)
        assert (first["begun_ms"], first["lease_ms"], first["total_ms"]) == (0.0, 2.0, 22.0)
        assert first["upstream_exception"] == "InternalServerException"
        assert second == {
            "target": WEST,
            "result": "CONNECT_FAILED",
            "begun_ms": 22.0,
            "total_ms": 0.0,
        }
        assert len(bench.record["tried"]) == 2

    def test_the_one_that_went_well_at_once_needs_no_words(self) -> None:
        bench = begun()
        bench.open()
        bench.answer(converse_answer())
        assert "calls" not in bench.record


class TestLimitedBy:
    def test_the_limit_that_refuses_is_named(self) -> None:
        limiter = PluginEntry(name="rate-limiter", config=RateLimiter(minute=1))
        bench = Bench(a_plan(a_config(limiter)))
        bench.ask(chat())
        bench.reply(Verdict(False, 0, (Level(0, 0),), 0, 1_000_000))
        assert (bench.record["cause"], bench.record["limited_by"]) == (
            "RATE_LIMITED",
            "requests_per_minute_by_consumer",
        )
