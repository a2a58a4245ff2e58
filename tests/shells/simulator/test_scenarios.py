"""Every row of the table of scenarios, on the machine: what a good answer becomes, byte by byte.

What an SDK makes of each is in test_boto3.py.
"""

import json
from typing import Any, Final

import pytest
from botocore.loaders import Loader

from stargate.simulator.directives import find, parse
from stargate.simulator.errors import ERRORS, Refusal
from stargate.simulator.ledger import Outcome
from stargate.simulator.messages import Abort, Close, Received, Write
from stargate.simulator.scenarios import SCENARIOS, scenario_of
from stargate_core.wire.eventstream import END, NEED_DATA, EventStreamDecoder
from stargate_core.wire.frames import EventStreamError, Frame, FrameKind
from support.simulator import CLAUDE, Reply, Wire, converse_request, signed

MODEL: Final = Loader().load_service_model("bedrock-runtime", "service-2")["shapes"]
TEXT_EVENTS: Final = [
    "messageStart",
    *["contentBlockDelta"] * 5,
    "contentBlockStop",
    "messageStop",
    "metadata",
]


class Played:
    """A scenario that has been played to its end, on a stream of five words or on a document."""

    def __init__(self, directive: str, operation: str = "converse-stream", **changes: Any) -> None:
        self.wire = Wire(**changes)
        request = converse_request(f"hi [[simulator: {directive} words=5]]", operation=operation)
        self.reply: Reply = self.wire.ask(request)
        self.last = self.wire.commands[-1] if self.wire.commands else None
        self.exchange = self.wire.ledger.requests()[0]

    def frames(self) -> list[Frame]:
        """The whole frames of the stream."""
        return EventStreamDecoder().feed(self.reply.body)

    def names(self) -> list[str]:
        """The names of the events and exceptions."""
        return [frame.name for frame in self.frames()]

    def good_names(self) -> list[str]:
        """The names of the good frames before the stream breaks."""
        decoder = EventStreamDecoder()
        names: list[str] = []
        for octet in self.reply.body:
            try:
                names += [frame.name for frame in decoder.feed(bytes((octet,)))]
            except EventStreamError:
                break
        return names


def test_a_good_stream_for_comparison() -> None:
    played = Played("")
    assert played.names() == TEXT_EVENTS
    assert (played.reply.whole, played.wire.closed, played.exchange.outcome) == (
        True,
        False,
        Outcome.COMPLETE,
    )


class TestTable:
    def test_every_exception_of_the_model_can_be_had_before_the_answer(self) -> None:
        exceptions = {name for name, shape in MODEL.items() if shape.get("exception")}
        assert {f"throw-{name}" for name in exceptions} <= SCENARIOS.keys()

    @pytest.mark.parametrize("shape", ["ConverseStreamOutput", "ResponseStream"])
    def test_and_every_exception_of_a_stream_inside_it(self, shape: str) -> None:
        members = MODEL[shape]["members"]
        inside = {name for name, member in members.items() if MODEL[member["shape"]].get("exception")}
        assert inside
        assert {f"stream-{name}" for name in inside} <= SCENARIOS.keys()

    def test_statuses_are_the_models(self) -> None:
        for name, shape in MODEL.items():
            if shape.get("exception"):
                assert ERRORS[name].status == shape["error"]["httpStatusCode"]

    @pytest.mark.parametrize("name", SCENARIOS)
    @pytest.mark.parametrize("operation", ["converse", "converse-stream"])
    def test_every_scenario_plays(self, name: str, operation: str) -> None:
        played = Played(name, operation)
        assert played.exchange.scenario.startswith(name)
        assert played.exchange.error == ""

    @pytest.mark.parametrize("name", SCENARIOS)
    @pytest.mark.parametrize("operation", ["invoke", "invoke-with-response-stream", "count-tokens"])
    def test_in_every_operation(self, name: str, operation: str) -> None:
        message = {"role": "user", "content": f"hi [[simulator: {name}]]"}
        content: dict[str, Any] = {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 9,
            "messages": [message],
        }
        if operation == "count-tokens":
            converse = {"messages": [{"role": "user", "content": [{"text": message["content"]}]}]}
            content = {"input": {"converse": converse}}
        wire = Wire()
        wire.ask(signed(f"/model/{CLAUDE}/{operation}", json.dumps(content).encode()))
        exchange = wire.ledger.requests()[0]
        assert (exchange.error, exchange.scenario) == ("", name)


class TestHowItIsAskedFor:
    @pytest.mark.parametrize(
        ("model_id", "text", "default", "name", "options"),
        [
            ("simulator.slow", "", "", "slow", {}),
            ("simulator.slow:ms.20", "", "", "slow", {"ms": "20"}),
            ("simulator.slow:ms=20:0", "", "", "slow", {"ms": "20"}),
            ("us.anthropic.simulator.slow", "", "", "slow", {}),
            ("simulator.stop.max-tokens", "", "", "", {"stop": "max-tokens"}),
            ("simulator.status.529", "", "", "status", {"code": "529"}),
            (CLAUDE, "[[simulator: slow ms=20]] hi", "", "slow", {"ms": "20"}),
            (CLAUDE, "[[simulator:slow]] [[simulator: drip]]", "", "drip", {}),
            (CLAUDE, "[[simulator: status=529]]", "", "status", {"code": "529"}),
            (CLAUDE, "[[simulator: words=3]]", "", "", {"words": "3"}),
            (CLAUDE, '[[simulator: throw-X message="two words"]]', "", "throw-X", {"message": "two words"}),
            (CLAUDE, "hi", "slow ms=20", "slow", {"ms": "20"}),
            (CLAUDE, "[[simulator: drip]]", "slow", "drip", {}),
            ("simulator.slow", "[[simulator: drip]]", "", "slow", {}),
            ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/simulator.slow", "", "", "slow", {}),
        ],
    )
    def test_places(self, model_id: str, text: str, default: str, name: str, options: dict[str, str]) -> None:
        directive = find(model_id, text, parse(default))
        assert (directive.name, directive.options) == (name, options)

    @pytest.mark.parametrize("text", ["no-such", "slow us=3", "slow drip", "words=many", "slow ms=x", '"'])
    def test_nonsense_is_a_validation_error_that_says_so(self, text: str) -> None:
        reply = Wire().ask(converse_request(f"[[simulator: {text}]]"))
        assert reply.status == 400
        assert reply.json()["message"].startswith("simulator: ")

    def test_nonsense_names_are_refused_by_the_table(self) -> None:
        with pytest.raises(Refusal, match="there is no scenario no-such"):
            scenario_of(parse("no-such"))

    def test_the_model_id_through_the_machine(self) -> None:
        reply = Wire().ask(converse_request("hi", model_id="simulator.throw-ThrottlingException"))
        assert reply.status == 429

    def test_the_default_of_the_process(self) -> None:
        assert Wire(scenario="throw-ModelTimeoutException").ask(converse_request("hi")).status == 408

    def test_only_the_users_words_count(self) -> None:
        said = {"role": "assistant", "content": [{"text": "[[simulator: throw-ThrottlingException]]"}]}
        messages = [
            {"role": "user", "content": [{"text": "a"}]},
            said,
            {"role": "user", "content": [{"text": "b"}]},
        ]
        body = json.dumps({"messages": messages}).encode()
        assert Wire().ask(signed(f"/model/{CLAUDE}/converse", body)).status == 200


class TestBeforeTheAnswer:
    @pytest.mark.parametrize("name", [name for name in ERRORS if name != "UnknownOperationException"])
    @pytest.mark.parametrize("operation", ["converse", "converse-stream"])
    def test_exceptions(self, name: str, operation: str) -> None:
        reply = Played(f"throw-{name} message='oh no'", operation).reply
        assert (reply.status, reply.whole) == (ERRORS[name].status, True)
        assert reply.headers["x-amzn-errortype"].startswith(f"{name}:http://internal.amazon.com/coral/")
        assert reply.json()["message"] == "oh no"

    def test_members_beside_the_message(self) -> None:
        assert Played("throw-ModelErrorException").reply.json().keys() == {
            *("message", "originalStatusCode", "resourceName"),
        }

    def test_an_error_without_a_header(self) -> None:
        reply = Played("throw-UnknownOperationException").reply
        assert reply.status == 404
        assert "x-amzn-errortype" not in reply.headers

    def test_a_200_that_is_none(self) -> None:
        reply = Played("200-with-error-body").reply
        assert reply.status == 200
        assert reply.json()["Output"]["__type"].endswith("UnknownOperationException")

    def test_iam_writes_message_with_a_capital(self) -> None:
        reply = Played("iam-denied").reply
        assert reply.status == 403
        assert reply.json().keys() == {"Message"}

    def test_a_balancers_page(self) -> None:
        reply = Played("html-502").reply
        assert (reply.status, reply.headers["content-type"]) == (502, "text/html")
        assert reply.body.startswith(b"<html>")
        assert "x-amzn-requestid" not in reply.headers

    def test_bare_statuses(self) -> None:
        assert Played("empty-500").reply.body == b""
        assert Played("status=529").reply.status == 529
        assert Played("status=418 body=empty").reply.body == b""
        assert Played("status=503 body=html").reply.headers["content-type"] == "text/html"
        assert Played("status=204").reply.whole
        assert Played("status=99").reply.status == 400

    def test_retry_after(self) -> None:
        assert Played("retry-after").reply.headers["retry-after"] == "7"
        assert Played("retry-after seconds=99").reply.headers["retry-after"] == "99"
        assert Played("throw-ThrottlingException retry-after=3").reply.headers["retry-after"] == "3"

    def test_silence_and_closing(self) -> None:
        assert Played("stall-before-headers").wire.commands == []
        assert Played("reset-before-headers").wire.commands == [Abort()]
        assert Played("close-before-headers").wire.commands == [Close(abrupt=True)]

    @pytest.mark.parametrize(
        "kind", ["status-line", "header", "chunk-size", "two-lengths", "not-http", "obs-fold"]
    )
    def test_malformed_http(self, kind: str) -> None:
        played = Played(f"malformed-http kind={kind}")
        assert played.last == Close()
        # h11 forgives obs-fold; everything else it refuses.
        assert played.reply.whole is (kind == "obs-fold")

    def test_huge_headers(self) -> None:
        played = Played("huge-headers bytes=300000")
        assert len(played.wire.written()) > 300_000
        assert played.reply.whole


class TestTiming:
    def test_slow(self) -> None:
        played = Played("slow ms=10")
        assert played.wire.now_ns == 8 * 10_000_000
        assert played.names() == TEXT_EVENTS

    def test_pace_and_first_token_by_directive(self) -> None:
        played = Played("pace=100 first-token-ms=5")
        assert played.wire.now_ns == 5_000_000 + 8 * 10_000_000

    def test_drip(self) -> None:
        played = Played("drip")
        writes = [command for command in played.wire.commands if isinstance(command, Write)]
        assert len(writes) == len(played.reply.body) + 1
        assert played.names() == TEXT_EVENTS
        spread = Played("drip us=1")
        assert spread.wire.now_ns == len(spread.reply.body) * 1000

    def test_stalls(self) -> None:
        first = Played("stall-before-first-token")
        assert (first.reply.status, first.reply.body, first.reply.whole) == (200, b"", False)
        middle = Played("stall-mid-stream after=3")
        assert middle.names() == TEXT_EVENTS[:4]
        assert (middle.reply.whole, middle.wire.closed) == (False, False)
        assert middle.exchange.outcome is Outcome.RUNNING

    def test_a_stall_with_pace_shows_whole_frames_first(self) -> None:
        for seed in range(20):
            played = Played("stall-mid-stream after=3 pace=100", seed=seed)
            assert played.names() == TEXT_EVENTS[:4]


STREAM_EXCEPTIONS: Final = [
    name.removeprefix("stream-")
    for name in SCENARIOS
    if name.endswith("Exception") and name.startswith("stream-")
]


class TestBrokenStreams:
    @pytest.mark.parametrize(
        ("after", "before"),
        [
            ("0", 0),
            ("start", 1),
            ("1", 2),
            ("4", 5),
            ("99", 6),
            ("stop", 8),
        ],
    )
    @pytest.mark.parametrize("name", STREAM_EXCEPTIONS)
    def test_exception_frames(self, name: str, after: str, before: int) -> None:
        played = Played(f"stream-{name} after={after}")
        *good, last = played.frames()
        assert [frame.name for frame in good] == TEXT_EVENTS[:before]
        assert (last.kind, last.name) == (FrameKind.EXCEPTION, name)
        assert json.loads(last.payload)["message"]
        assert played.reply.whole

    @pytest.mark.parametrize(
        ("style", "header", "name"),
        [
            ("exception", ":exception-type", "throttlingException"),
            ("pascal", ":exception-type", "ThrottlingException"),
            ("event", ":event-type", "throttlingException"),
        ],
    )
    def test_styles(self, style: str, header: str, name: str) -> None:
        last = Played(f"stream-throttlingException style={style}").frames()[-1]
        assert last.headers[header] == name

    def test_in_a_document_it_is_the_error_itself(self) -> None:
        assert Played("stream-throttlingException", "converse").reply.status == 429

    def test_error_frames(self) -> None:
        last = Played("stream-error code=Oops message='it broke'").frames()[-1]
        assert (last.kind, last.name) == (FrameKind.ERROR, "Oops")
        assert last.headers[":error-message"] == "it broke"

    @pytest.mark.parametrize("operation", ["converse", "converse-stream"])
    @pytest.mark.parametrize(
        ("directive", "command"),
        [
            ("cut-mid-frame", Close(abrupt=True)),
            ("cut-between-frames", Close(abrupt=True)),
            ("reset-mid-stream", Abort()),
        ],
    )
    def test_cuts(self, directive: str, command: object, operation: str) -> None:
        played = Played(directive, operation)
        assert played.last == command
        assert played.reply.status == 200
        assert played.reply.body
        assert not played.reply.whole
        assert played.exchange.outcome is Outcome.BROKEN

    def test_where_a_frame_is_cut(self) -> None:
        inside, between = Played("cut-mid-frame after=3"), Played("cut-between-frames after=3")
        assert inside.names() == between.names() == TEXT_EVENTS[:4]
        assert len(inside.reply.body) > len(between.reply.body)
        for played, rest in ((inside, True), (between, False)):
            decoder = EventStreamDecoder()
            decoder.receive_data(played.reply.body)
            while decoder.next_event() not in (NEED_DATA, END):
                pass
            decoder.receive_eof()
            if rest:
                with pytest.raises(EventStreamError):
                    decoder.next_event()
            else:
                assert decoder.next_event() is END

    def test_good_ends_that_come_too_early(self) -> None:
        for directive, names in (
            ("end-before-messageStop", TEXT_EVENTS[:-2]),
            ("end-before-messageStop after=2", TEXT_EVENTS[:3]),
            ("end-mid-frame", TEXT_EVENTS[:3]),
            ("no-metadata", TEXT_EVENTS[:-1]),
            ("empty-stream", []),
        ):
            played = Played(directive)
            assert played.names() == names
            assert (played.reply.whole, played.wire.closed) == (True, False)

    @pytest.mark.parametrize("directive", ["bad-crc", "bad-prelude-crc"])
    def test_bad_checksums(self, directive: str) -> None:
        played = Played(f"{directive} after=3")
        assert played.good_names() == TEXT_EVENTS[:4]
        assert played.reply.whole
        # But for four octets it is the good stream.
        good, bad = body_of("words.5"), body_of(f"{directive}:words.5")
        assert len(good) == len(bad)
        assert sum(a != b for a, b in zip(good, bad, strict=True)) == 4

    def test_garbage(self) -> None:
        played = Played("garbage")
        assert played.good_names() == []
        assert len(played.reply.body) == 512
        assert played.reply.headers["content-type"] == "application/vnd.amazon.eventstream"
        assert Played("garbage after=3").good_names() == TEXT_EVENTS[:4]

    def test_a_frame_without_end(self) -> None:
        played = Played("oversize-frame after=1")
        assert played.good_names() == TEXT_EVENTS[:2]
        assert (played.reply.whole, played.wire.closed) == (False, False)
        tail = played.reply.body[sum(len(frame.raw) for frame in played_frames(played)) :]
        assert int.from_bytes(tail[:4], "big") == 2_000_000_000

    def test_a_wrong_label(self) -> None:
        played = Played("wrong-content-type")
        assert played.reply.headers["content-type"].startswith("text/html")
        assert played.names() == TEXT_EVENTS


def body_of(wish: str, operation: str = "converse-stream") -> bytes:
    """The body of an answer whose wish stands in the model id, so that the request is always the same."""
    return Wire().ask(converse_request("hi", model_id=f"simulator.{wish}", operation=operation)).body


def played_frames(played: Played) -> list[Frame]:
    """The good frames before a bad one."""
    decoder = EventStreamDecoder()
    frames: list[Frame] = []
    try:
        frames += decoder.feed(played.reply.body)
        frames += decoder.feed(b"")
    except EventStreamError:
        pass
    return frames


class TestOddities:
    def test_unknown_events_beside_the_known(self) -> None:
        names = Played("unknown-events").names()
        assert {"initial-response", "contentBlockSparkle"} < set(names)
        assert [name for name in names if name in TEXT_EVENTS] == TEXT_EVENTS

    @pytest.mark.parametrize("operation", ["converse", "converse-stream"])
    def test_a_body_until_the_connections_end(self, operation: str) -> None:
        played = Played("until-close", operation)
        assert not played.reply.headers.keys() & {"content-length", "transfer-encoding"}
        assert (played.reply.whole, played.last) == (True, Close())
        assert body_of("until-close:words.5", operation) == body_of("words.5", operation)

    def test_hints_before_the_answer(self) -> None:
        played = Played("early-hints")
        assert played.wire.written().startswith(b"HTTP/1.1 103 ")
        assert played.names() == TEXT_EVENTS

    def test_closing_after_the_answer(self) -> None:
        played = Played("close-after-answer")
        assert (played.reply.whole, played.last) == (True, Close())
        assert played.exchange.outcome is Outcome.COMPLETE
        assert "connection" not in played.reply.headers

    def test_closing_under_the_next_request(self) -> None:
        played = Played("close-on-reuse")
        assert (played.reply.whole, played.wire.closed) == (True, False)
        assert played.wire.tell(Received(b"POST /")) == [Close()]
        assert len(played.wire.ledger.requests()) == 1

    def test_bytes_that_nobody_asked_for(self) -> None:
        inside = Played("extra-bytes-in-body")
        assert inside.reply.whole
        assert inside.reply.body.endswith(b"extra")
        after = Played("extra-bytes-after-end")
        assert after.reply.whole
        assert after.wire.written().endswith(b"nobody asked for\r\n")


class TestContent:
    @pytest.mark.parametrize(
        "reason",
        [
            *("end_turn", "tool_use", "max_tokens", "stop_sequence", "guardrail_intervened"),
            *("content_filtered", "malformed_model_output", "malformed_tool_use"),
            *("model_context_window_exceeded", "something_new"),
        ],
    )
    def test_any_stop_reason(self, reason: str) -> None:
        assert Played(f"stop={reason}", "converse").reply.json()["stopReason"] == reason
        stop = next(frame for frame in Played(f"stop={reason}").frames() if frame.name == "messageStop")
        assert json.loads(stop.payload)["stopReason"] == reason

    def test_the_models_stop_reasons_are_among_them(self) -> None:
        assert set(MODEL["StopReason"]["enum"]) <= {
            *("end_turn", "tool_use", "max_tokens", "stop_sequence", "guardrail_intervened"),
            *("content_filtered", "malformed_model_output", "malformed_tool_use"),
            "model_context_window_exceeded",
        }

    def test_usage(self) -> None:
        directive = "cache-read=100 cache-write=20 input-tokens=3"
        usage = Played(directive, "converse").reply.json()["usage"]
        assert usage["totalTokens"] == 3 + 5 + 100 + 20
        assert (usage["inputTokens"], usage["outputTokens"]) == (3, 5)
        assert (usage["cacheReadInputTokens"], usage["cacheWriteInputTokens"]) == (100, 20)

    def test_blocks(self) -> None:
        def kinds(directive: str) -> list[str]:
            content = Played(directive, "converse").reply.json()["output"]["message"]["content"]
            return [next(iter(block)) for block in content]

        assert kinds("") == ["text"]
        assert kinds("empty-content") == []
        assert kinds("reasoning") == ["reasoningContent", "text"]
        assert kinds("redacted-reasoning") == ["reasoningContent", "text"]
        assert kinds("interleaved-reasoning") == ["reasoningContent", "text"] * 2


class TestTimes:
    def test_a_scenario_befalls_only_the_first_so_many(self) -> None:
        wire = Wire()
        wish = "[[simulator: throw-ThrottlingException times=2]]"
        statuses = [wire.ask(converse_request(wish)).status for _ in range(4)]
        assert statuses == [429, 429, 200, 200]

    def test_each_wish_counts_for_itself_until_all_is_forgotten(self) -> None:
        wire = Wire()
        one, other = "[[simulator: empty-500 times=1]]", "[[simulator: empty-500 times=1 words=3]]"
        assert [wire.ask(converse_request(wish)).status for wish in (one, other, one)] == [500, 500, 200]
        wire.ledger.clear()
        assert wire.ask(converse_request(one)).status == 500
