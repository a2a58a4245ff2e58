"""One line of JSON for each request, and in none of them anything that was said or shown.

The marks below are planted wherever a caller, Bedrock, the configuration or a plugin can put words. Then
everything the gateway writes for its operator is searched for them.
"""

import base64
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest

from stargate_core.aws.credentials import Credentials
from stargate_core.clock import SECOND
from stargate_core.config.plugin_configs import (
    ApiKeyAuth,
    AwsCredentials,
    BedrockProxy,
    RequestLogger,
    ResponseTransform,
    Retry,
    Values,
)
from stargate_core.config.request_logger import Fields, LogSink
from stargate_core.config.schema import Config, Consumer, KeyCredential, PluginEntry, Sigv4Credential
from stargate_core.gateway.session import Exchanging
from stargate_core.messages import ClientStalled, CredentialsChanged, Draining, Emit, Trouble
from stargate_core.plugins.request_logger import line_maker
from stargate_core.record import LogRecord, Outcome
from stargate_core.secret import Secret
from support.bedrock import (
    BAD_FRAMES,
    LAST_CHUNK,
    aws_error,
    chunk,
    converse_answer,
    converse_story,
    event,
    exception,
    invoke_story,
    stream_head,
)
from support.hooks import entry, plugin_of
from support.machines import ENDPOINT_URL, Bench, a_config, a_plan, chat, converse, request

MARKS: Final = {
    name: f"PLANTED{name}"
    for name in (
        "PROMPT", "SYSTEM", "COMPLETION", "TOOL", "KEY", "EXPIRED", "SECRET", "TOKEN", "HEADER", "COOKIE",
        "AWSTEXT", "TRANSFORM", "RAISED", "METADATA", "PAIR", "FIXED",
    )
}  # fmt: skip


def breaks(ctx: Any) -> None:
    """A plugin that fails and says too much."""
    if ctx.request.header(b"x-break") is not None:
        raise ValueError(MARKS["RAISED"])


def a_bench(*, fixed: bool = False) -> Bench:
    """A gateway full of marks."""
    consumer = Consumer(
        username="ann",
        keyauth_credentials=[KeyCredential(key=Secret(MARKS["KEY"]))],
        sigv4_credentials=[Sigv4Credential(access_key_id="AKIDANN", secret_access_key=Secret(MARKS["PAIR"]))],
    )
    credentials = AwsCredentials(
        access_key_id="AKIDFIXED",
        secret_access_key=Secret(MARKS["FIXED"]),
        session_token=Secret(MARKS["FIXED"]),
    )
    transform = ResponseTransform(
        add=Values(headers=[f"x-t:{MARKS['TRANSFORM']}"], json=[f"t:{MARKS['TRANSFORM']}"])
    )
    once = Retry(count=0)
    proxy = BedrockProxy(endpoint_url=ENDPOINT_URL, credentials=credentials if fixed else None, retry=once)
    plugins = [
        PluginEntry(name="api-key-auth", config=ApiKeyAuth()),
        PluginEntry(name="bedrock-proxy", config=proxy),
        PluginEntry(name="request-logger", config=RequestLogger(path="log")),
        PluginEntry(name="response-transform", config=transform),
        entry(),
    ]
    plan = a_plan(Config(consumers=[consumer], plugins=plugins), plugin_of({"access": breaks, "log": breaks}))
    bench = Bench(plan)
    bench.tell(
        CredentialsChanged("", Credentials("AKIDUSUAL", Secret(MARKS["SECRET"]), Secret(MARKS["TOKEN"])))
    )
    return bench


HEADERS: Final = {
    "x-api-key": MARKS["KEY"],
    "authorization": f"Bearer {MARKS['KEY']}",
    "cookie": MARKS["COOKIE"],
    "x-header": MARKS["HEADER"],
    "user-agent": MARKS["HEADER"],
}
CHAT: Final[dict[str, Any]] = {
    "messages": [
        {"role": "system", "content": MARKS["SYSTEM"]},
        {"role": "user", "content": MARKS["PROMPT"]},
    ],
    "metadata": {"team": MARKS["METADATA"]},
    "tools": [{"type": "function", "function": {"name": "f", "description": MARKS["TOOL"]}}],
}
NATIVE: Final = msgspec.json.encode({"messages": [{"role": "user", "content": [{"text": MARKS["PROMPT"]}]}]})
STORY: Final = converse_story((MARKS["COMPLETION"],))
INVOKED: Final = invoke_story((MARKS["COMPLETION"],))


def conversations() -> Iterator[tuple[str, Bench]]:
    """Every kind of end, each with marks in every place."""
    for name, sent in {
        "plain": chat(headers=HEADERS, **CHAT),
        "stream": chat(stream=True, headers=HEADERS, **CHAT),
        "native": request("/model/m/converse", NATIVE, headers=HEADERS),
        "native stream": request("/model/m/converse-stream", NATIVE, headers=HEADERS),
        "invoke stream": request("/model/m/invoke-with-response-stream", NATIVE, headers=HEADERS),
    }.items():
        for end in (
            "good",
            "error",
            "denied",
            "exception",
            "garbage",
            "cut",
            "left",
            "late",
            "drained",
            "stalled",
        ):
            bench = a_bench(fixed=end == "good")
            bench.ask(sent)
            if not bench.asked:
                raise AssertionError(f"{name}: {bench.only.body!r}")
            bench.open()
            finish(bench, name, end)
            yield f"{name}, {end}", bench
    for name, sent in {
        "a bad body": request("/v1/chat/completions", MARKS["PROMPT"].encode(), headers=HEADERS),
        "a wrong type": chat(headers=HEADERS, **{**CHAT, "messages": MARKS["PROMPT"]}),
        "a wrong key": chat(headers={"x-api-key": MARKS["EXPIRED"]}, **CHAT),
        "two keys": chat(headers={**HEADERS, "api-key": MARKS["EXPIRED"]}, **CHAT),
        "a broken plugin": chat(headers={**HEADERS, "x-break": "1"}, **CHAT),
        "an unknown path": request("/nothing", NATIVE, headers=HEADERS),
        "not HTTP": MARKS["PROMPT"].encode() + b"\0\r\n\r\n",
    }.items():
        bench = a_bench()
        bench.send(sent)
        yield name, bench
    bench = a_bench()
    bench.ask(chat(headers=HEADERS, **CHAT))
    bench.refuse(Trouble.REFUSED, "ConnectionRefusedError: [Errno 111]")
    yield "no connection", bench


def finish(bench: Bench, name: str, end: str) -> None:
    """Bedrock's part of the conversation."""
    streams = "stream" in name
    story = INVOKED if name == "invoke stream" else STORY
    begun = stream_head() + chunk(story.beginning + story.middle) if streams else b"HTTP/1.1 200 OK\r\n"
    match end:
        case "good" if streams:
            bench.answer(stream_head() + chunk(story.whole) + LAST_CHUNK)
        case "good":
            bench.answer(converse_answer(MARKS["COMPLETION"]))
        case "error":
            bench.answer(aws_error("ValidationException", 400, MARKS["AWSTEXT"]))
        case "denied":
            bench.answer(aws_error("ValidationException", 400, f"messages: {MARKS['PROMPT']} is too long"))
        case "exception" if streams:
            bench.answer(begun + chunk(exception("throttlingException", MARKS["AWSTEXT"])))
        case "garbage" if streams:
            bench.answer(begun + chunk(BAD_FRAMES["a flipped payload bit"]) + MARKS["COMPLETION"].encode())
        case "exception" | "garbage":
            bench.answer(MARKS["COMPLETION"].encode() + b"\r\n\r\n")
        case "cut":
            bench.answer(begun)
            bench.upstream_ends()
        case "left":
            bench.answer(begun)
            bench.leave()
        case "late":
            bench.answer(begun)
            bench.advance(1000 * SECOND)
        case "drained":
            bench.answer(begun)
            bench.tell(Draining(0))
            bench.advance(0)
        case _:
            bench.answer(begun)
            bench.tell(ClientStalled())
            bench.advance(1000 * SECOND)


CONVERSATIONS: Final = dict(conversations())


class TestPrivacy:
    @pytest.mark.parametrize("name", CONVERSATIONS)
    def test_nothing_planted_comes_up_in_what_the_operator_reads(self, name: str) -> None:
        bench = CONVERSATIONS[name]
        read = b"".join(bench.lines) + "".join(note.text for note in bench.notes).encode()
        for mark in MARKS.values():
            assert mark.encode() not in read
            assert base64.b64encode(mark.encode())[:-4] not in read

    @pytest.mark.parametrize("name", CONVERSATIONS)
    def test_every_request_that_became_one_has_its_line(self, name: str) -> None:
        bench = CONVERSATIONS[name]
        assert len(bench.records) == (0 if name == "not HTTP" else 1)

    def test_the_marks_do_reach_those_they_are_for(self) -> None:
        """Else the search would find nothing for another reason."""
        bench = CONVERSATIONS["plain, good"]
        assert MARKS["COMPLETION"].encode() in bench.only.body
        assert MARKS["TRANSFORM"].encode() in bench.only.body
        assert MARKS["PROMPT"].encode() in bench.call.body
        assert MARKS["FIXED"] in bench.call.headers["x-amz-security-token"]
        assert MARKS["TOKEN"] in CONVERSATIONS["plain, left"].call.headers["x-amz-security-token"]
        assert MARKS["AWSTEXT"].encode() in CONVERSATIONS["native, error"].only.body

    def test_no_object_shows_a_secret_of_the_configuration(self) -> None:
        bench = a_bench(fixed=True)
        bench.ask(chat(headers=HEADERS, **CHAT))
        state = bench.session.state
        assert isinstance(state, Exchanging)
        exchange = state.exchange
        shown = [
            bench.plan.config,
            bench.plan,
            bench.session,
            exchange,
            exchange.ctx,
            exchange.ctx.directions,
        ]
        shown += list(bench.plan.outer.access)
        shown += [bench.session.authority]
        text = "".join(map(repr, shown)) + "".join(map(str, shown))
        for name in ("KEY", "PAIR", "FIXED", "SECRET", "TOKEN"):
            assert MARKS[name] not in text


class TestLines:
    def test_a_line_is_one_object_and_ends(self) -> None:
        bench = Bench()
        for _ in range(3):
            bench.ask(request("/nothing", b""))
        assert [line.count(b"\n") for line in bench.lines] == [1, 1, 1]
        assert all(line.endswith(b"}\n") for line in bench.lines)

    def test_it_goes_to_the_configured_sink(self) -> None:
        logger = PluginEntry(name="request-logger", config=RequestLogger(path="/var/log/x.jsonl"))
        bench = Bench(a_plan(a_config(plugins=[logger])))
        commands = bench.ask(request("/nothing", b""))
        assert [command.sink for command in commands if isinstance(command, Emit)] == ["/var/log/x.jsonl"]

    def test_line_ends_in_what_a_caller_chose_stay_inside(self) -> None:
        bench = Bench()
        bench.ask(chat(model="a\nb\u2028c"))
        bench.leave()
        (line,) = bench.lines
        assert line.count(b"\n") == 1
        assert bench.record["model"] == "a\nb\u2028c"

    def test_a_good_stream_says_what_it_was(self) -> None:
        bench = Bench()
        bench.ask(converse("converse-stream"))
        bench.open()
        bench.advance(2 * SECOND)
        bench.answer(stream_head() + chunk(STORY.whole) + LAST_CHUNK)
        record = bench.record
        times = ("lease_ms", "upstream_ms", "overhead_ms", "first_token_ms", "inter_token_ms")
        for name in ("request_id", "response_bytes", "model", "target", "output_events", *times):
            record.pop(name, None)
        assert record == {
            "time": "2027-01-15T08:00:00.000Z",
            "generation": 1,
            "outcome": "complete",
            "status": 200,
            "client": "192.0.2.7",
            "method": "POST",
            "route": "bedrock-native",
            "dialect": "bedrock-native",
            "region": "us-east-1",
            "operation": "ConverseStream",
            "stream": True,
            "attempts": 1,
            "upstream_status": 200,
            "upstream_request_id": "5e8f1a2b-aaaa-bbbb-cccc-0123456789ab",
            "stop_reason": "end_turn",
            "input_tokens": 10,
            "output_tokens": 5,
            "cost_usd": 8.75e-06,
            "request_bytes": 56,
            "first_byte_ms": 2000.0,
            "total_ms": 2000.0,
        }

    def test_a_failure_says_why(self) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.open()
        bench.answer(aws_error("AccessDeniedException", 403, "User: arn:aws:sts::1:x may not"))
        record = bench.record
        assert (record["status"], record["code"], record["cause"]) == (
            503,
            "SERVICE_UNAVAILABLE",
            "UPSTREAM_ACCESS_DENIED",
        )
        assert record["upstream_exception"] == "AccessDeniedException"
        assert record["upstream_status"] == 403
        # For whoever runs the gateway, and nobody else.
        assert record["detail"] == "User: arn:aws:sts::1:x may not"

    def test_tokens_of_a_stream_that_broke_are_counted_as_far_as_known(self) -> None:
        bench = Bench()
        bench.ask(converse("invoke-with-response-stream"))
        bench.open()
        story = invoke_story()
        bench.answer(stream_head() + chunk(story.beginning + story.middle))
        bench.leave()
        assert (bench.record["input_tokens"], bench.record["output_tokens"]) == (10, 1)

    def test_an_unknown_event_leaves_no_trace(self) -> None:
        bench = Bench()
        bench.ask(converse("converse-stream"))
        bench.open()
        bench.answer(stream_head() + chunk(event("novelty", {"x": "PLANTED"}) + STORY.whole) + LAST_CHUNK)
        assert b"PLANTED" not in bench.lines[0].replace(MARKS["COMPLETION"].encode(), b"")


def a_record(number: int = 0, **fields: Any) -> LogRecord:
    """A good answer, unless told otherwise."""
    usual: dict[str, Any] = {"time": "2027-01-15T08:00:00.000Z", "request_id": f"id-{number}"}
    usual |= {"generation": 1, "outcome": Outcome.COMPLETE, "status": 200, "consumer": "ann"}
    return LogRecord(**(usual | fields))


def read(sink: LogSink, record: LogRecord) -> dict[str, Any] | None:
    """The line that a sink has of a record; None if none."""
    line = line_maker(sink)(record)
    return msgspec.json.decode(line) if line else None


class TestSinks:
    def test_each_has_its_line(self) -> None:
        sinks = [LogSink(path="a"), LogSink(path="b", format="emf"), LogSink(path="c", sample_failures=0)]
        logger = PluginEntry(name="request-logger", config=RequestLogger(sinks=sinks))
        plan = a_plan(a_config(plugins=[logger]))
        bench = Bench(plan)
        commands = bench.ask(request("/nothing", b""))
        emitted = {command.sink: command.line for command in commands if isinstance(command, Emit)}
        assert set(emitted) == {"a", "b"}
        assert b'"_aws"' in emitted["b"]
        assert b'"_aws"' not in emitted["a"]
        assert plan.log_sinks == {sink.path: sink for sink in sinks}

    def test_a_plan_without_the_plugin_has_none(self) -> None:
        assert a_plan(Config()).log_sinks == {}


class TestFields:
    def test_some_of_them(self) -> None:
        sink = LogSink(path="a", fields=Fields(include=["consumer", "request_id", "tried"]))
        assert read(sink, a_record()) == {"request_id": "id-0", "consumer": "ann"}
        assert read(sink, a_record(tried=("x",)))["tried"] == ["x"]  # type: ignore[index]

    @pytest.mark.parametrize("left_out", LogRecord.__struct_fields__)
    def test_all_but_one(self, left_out: str) -> None:
        record = a_record(detail="d", cost_usd=1.5, stream=True)
        whole = read(LogSink(path="a"), record)
        assert whole is not None
        whole.pop(left_out, None)
        assert read(LogSink(path="a", fields=Fields(exclude=[left_out])), record) == whole

    def test_none_at_all(self) -> None:
        nothing = Fields(exclude=list(LogRecord.__struct_fields__))
        assert read(LogSink(path="a", fields=nothing), a_record()) == {}
        assert read(LogSink(path="a", fields=nothing, sample=0.999_999), a_record()) == {"sample": 0.999_999}


class TestSampling:
    @pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
    def test_about_so_many_are_written_and_each_says_for_how_many_it_stands(self, rate: float) -> None:
        sink = LogSink(path="a", sample=rate)
        written = [line for number in range(4000) if (line := read(sink, a_record(number)))]
        # Five standard deviations at the most.
        assert abs(len(written) - 4000 * rate) <= 5 * (4000 * rate * (1 - rate)) ** 0.5
        assert all(line.get("sample", 1.0) == rate for line in written)

    def test_the_same_ones_each_time_and_those_of_a_lower_rate_among_them(self) -> None:
        def chosen(rate: float) -> set[int]:
            sink = LogSink(path="a", sample=rate)
            return {number for number in range(1000) if read(sink, a_record(number))}

        assert chosen(0.3) == chosen(0.3)
        assert chosen(0.1) < chosen(0.3) < chosen(0.9)

    @pytest.mark.parametrize(
        "fields",
        [
            {"outcome": Outcome.FAILED, "status": 503},
            {"outcome": Outcome.FAILED, "status": 200},
            {"outcome": Outcome.FAILED, "status": 429},
            {"outcome": Outcome.CLIENT_LEFT, "status": 0},
            {"outcome": Outcome.COMPLETE, "status": 404},
        ],
    )
    def test_what_went_wrong_is_always_written_unless_told_otherwise(self, fields: dict[str, Any]) -> None:
        line = read(LogSink(path="a", sample=0), a_record(**fields))
        assert line is not None
        assert "sample" not in line
        assert read(LogSink(path="a", sample_failures=0), a_record(**fields)) is None
