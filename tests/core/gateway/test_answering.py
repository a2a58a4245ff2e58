"""How answers end: every way a stream can fail, told honestly, in each dialect, wherever the bytes are cut.

The oracle is a table: what goes wrong, and which error that is to an OpenAI client and to an AWS SDK. Before
anything meaningful has come the error must be an HTTP answer; afterwards it must be in the stream, typed, the
last thing said, and never look like a good end. Damage behind Bedrock's own end must harm nobody.
"""

import enum
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.clock import SECOND
from stargate_core.config.schema import Gateway, TimeLimits
from stargate_core.dialects.face import Part, PartKind
from stargate_core.dialects.openai_chat_stream import KEEP_ALIVE
from stargate_core.direction import Sharing
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.answering import reply_whole
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.session import Exchanging
from stargate_core.messages import (
    ClientDrained,
    ClientStalled,
    SessionCommand,
    SessionEvent,
    UpstreamEnded,
    UpstreamLost,
    UpstreamSent,
    WriteClient,
)
from stargate_core.questions import RefreshCredentials
from stargate_core.wire.eventstream import EventStreamDecoder
from stargate_core.wire.frames import FrameKind
from support.bedrock import (
    BAD_FRAMES,
    ERROR_FRAME,
    LAST_CHUNK,
    Story,
    aws_error,
    chunk,
    converse_answer,
    converse_story,
    event,
    exception,
    http,
    invoke_story,
    json_http,
    stream_head,
)
from support.hooks import Hook, entry, plugin_of
from support.machines import Answer, Bench, a_config, a_plan, chat, converse, sse

CODECS: Final = ("fast", "reference")


class Caller:
    """A client that streams: what it sends, what Bedrock says to it, and how it reads the answer."""

    def __init__(self, name: str, request: bytes, story: Story) -> None:
        self.name = name
        self.request = request
        self.story = story

    def __repr__(self) -> str:
        return self.name

    @property
    def native(self) -> bool:
        """Whether it speaks Bedrock's own API."""
        return self.name != "openai"

    def error_in_band(self, answer: Answer) -> tuple[str, str]:
        """The error that ends the stream: its code (or exception) and its message."""
        if self.native:
            *before, last = EventStreamDecoder().feed(answer.body)
            assert all(frame.kind is FrameKind.EVENT for frame in before)
            assert last.kind is FrameKind.EXCEPTION
            return last.name, msgspec.json.decode(last.payload)["message"]
        *events, error = sse(answer.body)
        assert "[DONE]" not in events
        assert all("error" not in each for each in events)
        return error["error"]["code"], error["error"]["message"]

    def check_finished(self, answer: Answer) -> None:
        """The client takes the stream for a good one, and it is whole."""
        assert answer.whole
        if self.native:
            assert answer.body == self.story.whole
            return
        *events, done = sse(answer.body)
        choices = [choice for each in events for choice in each["choices"]]
        assert done == "[DONE]"
        assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]
        assert "".join(choice["delta"].get("content") or "" for choice in choices) == "Hello."


CALLERS: Final = (
    Caller("openai", chat(stream=True), converse_story()),
    Caller("converse-stream", converse("converse-stream"), converse_story()),
    Caller("invoke-stream", converse("invoke-with-response-stream"), invoke_story()),
)
OPENAI: Final = CALLERS[0]


class Then(enum.Enum):
    """What becomes of the connection to Bedrock after the last bytes."""

    STAYS = "stays"
    CLOSES = "closes"
    BREAKS = "breaks"


class Mishap:
    """One way for a stream to end badly, and what the caller is told."""

    def __init__(
        self,
        name: str,
        data: bytes,
        openai: tuple[int, str],
        aws: tuple[int, str],
        in_stream: str = "",
        then: Then = Then.STAYS,
    ) -> None:
        self.name = name
        self.data = data
        """The bytes, HTTP's framing included."""
        self.status, self.code = openai
        self.aws_status, self.aws_name = aws
        self.in_stream = in_stream or self.aws_name[:1].lower() + self.aws_name[1:]
        self.then = then

    def __repr__(self) -> str:
        return self.name

    def befall(self, bench: Bench, before: bytes = b"") -> None:
        """Let it happen, in one piece with the bytes before it."""
        if before + self.data:
            bench.answer(before + self.data)
        if bench.held and self.then is Then.CLOSES:
            bench.upstream_ends()
        if bench.held and self.then is Then.BREAKS:
            bench.upstream_breaks()


def excepted(
    frame: bytes, openai: tuple[int, str], aws: tuple[int, str], in_stream: str = "", name: str = ""
) -> Mishap:
    """Bedrock says by itself that something is wrong."""
    return Mishap(name or aws[1], chunk(frame), openai, aws, in_stream)


def damaged(name: str, data: bytes, then: Then = Then.STAYS) -> Mishap:
    """The stream ends without Bedrock's having said anything."""
    # 502 where AWS says 424: botocore tries that again.
    return Mishap(name, data, (502, "upstream_stream_broken"), (502, "ModelStreamErrorException"), then=then)


HALF: Final = event("contentBlockStop", {"contentBlockIndex": 0})[:30]
THROTTLED: Final = (429, "rate_limit_exceeded")
THROTTLING: Final = (429, "ThrottlingException")
FAILED: Final = (500, "UPSTREAM_ERROR")
INTERNAL: Final = "internalServerException"

MISHAPS: Final = (
    excepted(exception("internalServerException"), FAILED, (500, "InternalServerException")),
    excepted(
        exception("modelStreamErrorException", originalStatusCode=500),
        (502, "model_error"),
        (424, "ModelStreamErrorException"),
    ),
    excepted(
        exception("serviceUnavailableException"), (503, "overloaded"), (503, "ServiceUnavailableException")
    ),
    excepted(exception("throttlingException"), THROTTLED, THROTTLING),
    excepted(exception("ThrottlingException"), THROTTLED, THROTTLING, name="a name in PascalCase"),
    excepted(event("throttlingException", {"message": "No."}), THROTTLED, THROTTLING, name="as an event"),
    excepted(exception("validationException"), (400, "INVALID_REQUEST"), (400, "ValidationException")),
    excepted(
        exception("validationException", "Input is too long for requested model."),
        (400, "context_length_exceeded"),
        (400, "ValidationException"),
        name="a context that is too long",
    ),
    excepted(
        exception("surprisingException"),
        (502, "UPSTREAM_ERROR"),
        (500, "SurprisingException"),
        INTERNAL,
    ),
    excepted(ERROR_FRAME, FAILED, (500, "InternalFailure"), INTERNAL),
    # The gateway's own authority is at fault: AWS's words stay inside.
    excepted(
        exception("accessDeniedException", "arn:aws:iam::1:role/x may not"),
        (503, "SERVICE_UNAVAILABLE"),
        (503, "ServiceUnavailableException"),
    ),
    *(damaged(name, chunk(frame)) for name, frame in BAD_FRAMES.items()),
    damaged("HTTP's end between frames", LAST_CHUNK),
    damaged("HTTP's end inside a frame", chunk(HALF) + LAST_CHUNK),
    damaged("closed between frames", b"", Then.CLOSES),
    damaged("closed inside a frame", chunk(HALF), Then.CLOSES),
    damaged("closed inside a chunk", b"40\r\nabc", Then.CLOSES),
    damaged("closed inside a chunk's line", b"4", Then.CLOSES),
    damaged("reset between frames", b"", Then.BREAKS),
    damaged("reset inside a frame", chunk(HALF), Then.BREAKS),
    damaged("no chunk where one must be", b"garbage\r\n"),
    damaged("a chunk without its line end", b"3\r\nabcdef\r\n"),
)


def asked(caller: Caller, plan: Plan | None = None, version: bytes = b"1.1") -> Bench:
    """A bench on which the caller has asked, and the call is written."""
    bench = Bench(plan)
    bench.ask(caller.request.replace(b" HTTP/1.1\r\n", b" HTTP/%b\r\n" % version, 1))
    bench.open()
    return bench


def begun(caller: Caller, said: bytes = b"") -> Bench:
    """A bench on which the caller's stream has begun with these frames."""
    bench = asked(caller)
    bench.answer(stream_head() + chunk(said) if said else stream_head())
    return bench


def check_failed(bench: Bench, status: int) -> None:
    """The exchange has ended, in one record that names a code."""
    assert not bench.held
    assert (bench.record["outcome"], bench.record["status"]) == ("failed", status)
    assert bench.record["code"]
    bench.settle()


def check_http_error(bench: Bench, caller: Caller, mishap: Mishap) -> None:
    """The caller has been given an honest HTTP error."""
    answer = bench.only
    assert answer.whole
    assert answer.header("x-should-retry") in {"true", "false"}
    if caller.native:
        assert (answer.status, answer.header("x-amzn-errortype")) == (mishap.aws_status, mishap.aws_name)
        assert set(answer.json) == {"message"}
    else:
        assert (answer.status, answer.json["error"]["code"]) == (mishap.status, mishap.code)
        assert set(answer.json["error"]) == {"message", "type", "param", "code"}
    assert b"arn:aws" not in answer.body
    if answer.status in {429, 503}:
        assert 0 < int(answer.header("retry-after") or "") <= 60
    check_failed(bench, answer.status)


def check_error_in_band(bench: Bench, caller: Caller, mishap: Mishap) -> None:
    """The caller's stream has ended in a typed error."""
    answer = bench.only
    assert (answer.status, answer.whole) == (200, True)
    name, message = caller.error_in_band(answer)
    assert name == (mishap.in_stream if caller.native else mishap.code)
    assert message
    assert "arn:aws" not in message
    check_failed(bench, 200)


@pytest.mark.parametrize("mishap", MISHAPS, ids=repr)
@pytest.mark.parametrize("caller", CALLERS, ids=repr)
class TestEnds:
    def test_before_any_frame_it_is_an_http_error(self, caller: Caller, mishap: Mishap) -> None:
        bench = begun(caller)
        mishap.befall(bench)
        check_http_error(bench, caller, mishap)

    def test_before_anything_meaningful_it_is_an_http_error(self, caller: Caller, mishap: Mishap) -> None:
        bench = begun(caller, caller.story.beginning)
        assert not bench.client.answers
        mishap.befall(bench)
        check_http_error(bench, caller, mishap)

    def test_with_the_head_in_one_piece_it_is_an_http_error(self, caller: Caller, mishap: Mishap) -> None:
        bench = asked(caller)
        mishap.befall(bench, stream_head() + chunk(caller.story.beginning))
        check_http_error(bench, caller, mishap)

    def test_behind_the_models_words_it_is_an_error_in_the_stream(
        self, caller: Caller, mishap: Mishap
    ) -> None:
        bench = begun(caller, caller.story.beginning + caller.story.middle)
        assert bench.only.status == 200
        mishap.befall(bench)
        check_error_in_band(bench, caller, mishap)

    def test_in_one_piece_with_the_models_words_it_is_told_behind_them(
        self, caller: Caller, mishap: Mishap
    ) -> None:
        bench = asked(caller)
        mishap.befall(bench, stream_head() + chunk(caller.story.beginning + caller.story.middle))
        check_error_in_band(bench, caller, mishap)

    def test_behind_a_stop_reason_it_is_still_an_error(self, caller: Caller, mishap: Mishap) -> None:
        last = caller.story.frames[-1]
        bench = begun(caller, caller.story.whole[: -len(last)])
        mishap.befall(bench)
        check_error_in_band(bench, caller, mishap)

    def test_behind_bedrocks_end_it_harms_nobody(self, caller: Caller, mishap: Mishap) -> None:
        bench = begun(caller, caller.story.whole)
        mishap.befall(bench)
        bench.advance(2 * SECOND)
        caller.check_finished(bench.only)
        assert (bench.record["outcome"], bench.record["output_tokens"]) == ("complete", 5)
        bench.settle()

    def test_in_one_piece_with_bedrocks_end_it_harms_nobody(self, caller: Caller, mishap: Mishap) -> None:
        bench = asked(caller)
        mishap.befall(bench, stream_head() + chunk(caller.story.whole))
        bench.advance(2 * SECOND)
        caller.check_finished(bench.only)
        assert bench.record["outcome"] == "complete"
        bench.settle()

    def test_the_log_tells_a_cut_from_damage(self, caller: Caller, mishap: Mishap) -> None:
        bench = begun(caller, caller.story.beginning + caller.story.middle)
        mishap.befall(bench)
        if mishap.code == "upstream_stream_broken":
            cut = mishap.then is not Then.STAYS or mishap.data.endswith(LAST_CHUNK)
            assert bench.record["cause"] == ("STREAM_CUT" if cut else "STREAM_CORRUPT")

    def test_a_caller_of_http_10_is_told_in_its_stream(self, caller: Caller, mishap: Mishap) -> None:
        """It is sent no chunks, so the end of the connection alone would say that all is well."""
        bench = asked(caller, version=b"1.0")
        bench.answer(stream_head() + chunk(caller.story.beginning + caller.story.middle))
        mishap.befall(bench)
        assert bench.only.header("transfer-encoding") is None
        assert bench.closed is not None
        check_error_in_band(bench, caller, mishap)


@pytest.mark.parametrize("caller", CALLERS, ids=repr)
class TestGoodEnds:
    @pytest.mark.parametrize("version", [b"1.1", b"1.0"])
    def test_a_whole_stream(self, caller: Caller, version: bytes) -> None:
        bench = asked(caller, version=version)
        bench.answer(stream_head())
        for frame in caller.story.frames:
            bench.answer(chunk(frame))
        bench.answer(LAST_CHUNK)
        caller.check_finished(bench.only)
        assert not bench.dropped
        assert (bench.closed is None) == (version == b"1.1")
        bench.settle()

    def test_what_was_asked_is_let_go_when_its_answer_is_under_way(self, caller: Caller) -> None:
        bench = begun(caller, caller.story.beginning)
        state = bench.session.state
        assert isinstance(state, Exchanging)
        exchange = state.exchange
        assert exchange.call is not None
        assert exchange.call.body  # It may have to be made again.
        bench.answer(chunk(caller.story.middle))
        assert exchange.call.body == b""
        assert exchange.ctx.known_ask is not None
        assert exchange.ctx.known_ask.body is None
        bench.answer(chunk(caller.story.end) + LAST_CHUNK)
        caller.check_finished(bench.only)
        bench.settle()

    def test_the_caller_need_not_wait_for_http_to_end(self, caller: Caller) -> None:
        """Bedrock's end is the end; the last chunk is awaited only to keep the connection."""
        bench = begun(caller, caller.story.whole)
        if not caller.native:
            caller.check_finished(bench.only)
        bench.advance(SECOND)
        caller.check_finished(bench.only)
        assert bench.dropped
        bench.settle()

    def test_the_connection_is_kept_when_the_end_comes_in_time(self, caller: Caller) -> None:
        bench = begun(caller, caller.story.whole)
        bench.advance(SECOND // 2)
        bench.answer(LAST_CHUNK)
        assert not bench.dropped
        bench.settle()

    def test_a_body_without_a_length_ends_with_the_connection(self, caller: Caller) -> None:
        bench = asked(caller)
        bench.answer(stream_head().replace(b"transfer-encoding: chunked\r\n", b"") + caller.story.whole)
        bench.upstream_ends()
        caller.check_finished(bench.only)
        assert bench.dropped
        bench.settle()

    def test_an_unknown_event_is_no_mishap(self, caller: Caller) -> None:
        strange = event("novelty", {"of": "tomorrow"})
        bench = begun(caller, caller.story.beginning + strange + caller.story.middle + caller.story.end)
        bench.answer(LAST_CHUNK)
        if caller.native:
            assert strange in bench.only.body
        else:
            caller.check_finished(bench.only)
        assert bench.record["outcome"] == "complete"

    def test_each_frame_goes_out_as_it_comes(self, caller: Caller) -> None:
        bench = begun(caller, caller.story.beginning)
        sizes: list[int] = []
        for frame in caller.story.frames[1:]:
            bench.answer(chunk(frame))
            sizes.append(len(bench.only.body) if bench.client.answers else 0)
        # An invoke stream's content_block_start is the first thing worth a status line, here a text.
        assert sizes[0] > 0
        assert sizes == sorted(sizes)
        if caller.native:
            assert len(set(sizes)) == len(sizes)


class TestNotAStream:
    """The head came, and it is no event stream."""

    CASES: Final = {
        "an HTML page": http(b"<html>", content_type="text/html"),
        "a plain Converse answer": converse_answer(),
        "an error in a 200": json_http({"Output": {"__type": "com.amazon.coral#UnknownOperationException"}}),
        "another type of stream": http(b"data: x\n\n", content_type="text/event-stream"),
        "no content type": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    }

    @pytest.mark.parametrize("caller", CALLERS, ids=repr)
    @pytest.mark.parametrize("answer", CASES.values(), ids=list(CASES))
    def test_a_success_that_is_no_stream_is_a_502(self, caller: Caller, answer: bytes) -> None:
        bench = asked(caller)
        bench.answer(answer)
        assert 500 <= bench.only.status <= 502
        check_failed(bench, bench.only.status)

    def test_an_error_in_a_200_is_an_error_for_a_plain_caller_too(self) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.open()
        bench.answer(self.CASES["an error in a 200"])
        assert bench.only.status == 502
        assert bench.record["upstream_exception"] == "UnknownOperationException"
        bench.settle()


PLAIN: Final = (chat(), converse(), converse("invoke"))


@pytest.mark.parametrize("request_", PLAIN, ids=["openai", "converse", "invoke"])
class TestPlainAnswers:
    def plain(self, request_: bytes) -> Bench:
        bench = Bench()
        bench.ask(request_)
        bench.open()
        return bench

    @pytest.mark.parametrize("pieces", [1, 2, 7])
    def test_an_answer_is_passed_on_whole(self, request_: bytes, pieces: int) -> None:
        bench = self.plain(request_)
        answer = converse_answer("Hello there.")
        size = len(answer) // pieces + 1
        bench.answer(*(answer[at : at + size] for at in range(0, len(answer), size)))
        assert bench.only.status == 200
        assert b"Hello there." in bench.only.body
        assert not bench.dropped
        bench.settle()

    @pytest.mark.parametrize(
        ("answer", "then"),
        [
            (converse_answer()[:-5], Then.CLOSES),
            (converse_answer()[:-5], Then.BREAKS),
            (converse_answer()[:20], Then.CLOSES),
            (b"HTTP/1.1 2", Then.BREAKS),
            (b"HTTP/2 garbage\r\n\r\n", Then.STAYS),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", Then.STAYS),
            (b"\x16\x03\x01garbage", Then.STAYS),
            (b"HTTP/1.1 100 Continue\r\n\r\n", Then.CLOSES),
        ],
    )
    def test_half_an_answer_is_none(self, request_: bytes, answer: bytes, then: Then) -> None:
        bench = self.plain(request_)
        bench.answer(answer)
        if then is Then.CLOSES:
            bench.upstream_ends()
        if then is Then.BREAKS:
            bench.upstream_breaks()
        assert bench.only.status in {500, 502}
        assert bench.record["cause"] == ("UPSTREAM_GARBLED" if then is Then.STAYS else "UPSTREAM_LOST")
        assert bench.dropped
        check_failed(bench, bench.only.status)

    def test_an_answer_that_ends_with_the_connection_is_whole(self, request_: bytes) -> None:
        head, _, body = converse_answer().partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
        bench = self.plain(request_)
        bench.answer(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        assert not bench.client.answers
        bench.upstream_ends()
        assert bench.only.status == 200
        assert bench.dropped

    def test_bytes_behind_an_answer_cost_the_connection(self, request_: bytes) -> None:
        bench = self.plain(request_)
        bench.answer(converse_answer() + b"HTTP/1.1 200 OK\r\n")
        assert bench.only.status == 200
        assert bench.dropped


class TestDishonestAnswers:
    """Well-formed, and nothing that could honestly be passed on."""

    @pytest.mark.parametrize("stop", ["malformed_model_output", "malformed_tool_use"])
    def test_a_model_that_garbled_its_output_has_failed(self, stop: str) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer(stop=stop))
        assert (bench.only.status, bench.only.json["error"]["code"]) == (502, "model_error")
        assert bench.record["stop_reason"] == stop
        check_failed(bench, 502)

    @pytest.mark.parametrize("stop", ["malformed_model_output", "malformed_tool_use"])
    @pytest.mark.parametrize("words", [(), ("Hello.",)])
    def test_in_a_stream_too(self, stop: str, words: tuple[str, ...]) -> None:
        bench = Bench()
        bench.ask(chat(stream=True))
        bench.open()
        bench.answer(stream_head() + chunk(converse_story(words, stop).whole) + LAST_CHUNK)
        if words:
            assert OPENAI.error_in_band(bench.only)[0] == "model_error"
        else:
            assert (bench.only.status, bench.only.json["error"]["code"]) == (502, "model_error")
        check_failed(bench, bench.only.status)

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"output":5}', b"<html>"])
    def test_an_answer_that_is_none_is_a_502(self, body: bytes) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.open()
        bench.answer(http(body))
        check_failed(bench, 502)

    def test_an_event_that_is_none_ends_the_stream(self) -> None:
        bench = begun(OPENAI, OPENAI.story.beginning + OPENAI.story.middle)
        bench.answer(chunk(event("contentBlockDelta", {"delta": 5})))
        OPENAI.error_in_band(bench.only)
        check_failed(bench, 200)


ERRORS: Final = (
    # AWS's error, what an OpenAI caller is told, what an AWS caller is told.
    (aws_error("ValidationException", 400), 400, "INVALID_REQUEST", 400, "ValidationException"),
    (aws_error("AccessDeniedException", 403), 503, "SERVICE_UNAVAILABLE", 503, "ServiceUnavailableException"),
    (aws_error("ExpiredTokenException", 403), 502, "upstream_auth", 502, "ServiceUnavailableException"),
    (aws_error("UnrecognizedClientException", 403), 502, "upstream_auth", 502, "ServiceUnavailableException"),
    (aws_error("ResourceNotFoundException", 404), 404, "model_not_found", 404, "ResourceNotFoundException"),
    (aws_error("ThrottlingException", 429), 429, "rate_limit_exceeded", 429, "ThrottlingException"),
    (aws_error("ThrottlingException", 400), 429, "rate_limit_exceeded", 400, "ThrottlingException"),
    (aws_error("ServiceQuotaExceededException", 400), 503, "insufficient_quota", 400,
     "ServiceQuotaExceededException"),
    (aws_error("ModelNotReadyException", 429), 503, "model_not_ready", 429, "ModelNotReadyException"),
    (aws_error("ModelTimeoutException", 408), 504, "timeout", 408, "ModelTimeoutException"),
    (aws_error("ModelErrorException", 424), 502, "model_error", 424, "ModelErrorException"),
    (aws_error("InternalServerException", 500), 500, "UPSTREAM_ERROR", 500, "InternalServerException"),
    (aws_error("ServiceUnavailableException", 503), 503, "overloaded", 503, "ServiceUnavailableException"),
    (aws_error("ConflictException", 400), 409, "CONFLICT", 400, "ConflictException"),
    (aws_error("NoveltyException", 418), 502, "UPSTREAM_ERROR", 418, "NoveltyException"),
    (http(b"<html>", 503, content_type="text/html"), 503, "overloaded", 503, "ServiceUnavailableException"),
    (http(b"", 502), 502, "UPSTREAM_ERROR", 502, "InternalServerException"),
    (b"HTTP/1.1 204 X\r\n\r\n", 502, "UPSTREAM_ERROR", 502, "InternalServerException"),
)  # fmt: skip


def answer_all(bench: Bench, answer: bytes) -> None:
    """Bedrock answers the call like this, also when it is made again with newer credentials."""
    bench.open()
    bench.answer(answer)
    if bench.questions:
        assert isinstance(bench.reply(True), RefreshCredentials)
        bench.open()
        bench.answer(answer)


@pytest.mark.parametrize("stream", [False, True])
class TestErrorsBeforeTheAnswer:
    @pytest.mark.parametrize(("answer", "status", "code"), [row[:3] for row in ERRORS])
    def test_an_openai_caller_is_told(self, answer: bytes, status: int, code: str, stream: bool) -> None:
        bench = Bench()
        bench.ask(chat(stream=stream))
        answer_all(bench, answer)
        assert (bench.only.status, bench.only.json["error"]["code"]) == (status, code)
        check_failed(bench, status)

    @pytest.mark.parametrize(("answer", "status", "name"), [(row[0], *row[3:]) for row in ERRORS])
    def test_an_aws_caller_is_told(self, answer: bytes, status: int, name: str, stream: bool) -> None:
        bench = Bench()
        bench.ask(converse("converse-stream" if stream else "converse"))
        answer_all(bench, answer)
        assert (bench.only.status, bench.only.header("x-amzn-errortype")) == (status, name)
        check_failed(bench, status)

    @pytest.mark.parametrize(("sent", "told"), [("7", "7"), ("100000", "60"), ("0", "1"), ("soon", "1")])
    def test_retry_after_is_passed_on_within_a_minute(self, sent: str, told: str, stream: bool) -> None:
        bench = Bench()
        bench.ask(chat(stream=stream))
        bench.open()
        bench.answer(aws_error("ThrottlingException", 429, retry_after=sent))
        assert bench.only.header("retry-after") == told
        assert bench.only.header("retry-after-ms") == f"{told}000"


# ----------------------------------------------------------------------------------------- wherever it is cut

SCENARIOS: Final = {
    **{
        f"{caller}, {mishap}, {name}": (
            caller.request,
            stream_head() + chunk(said) + mishap.data,
            mishap.then,
        )
        for caller in CALLERS
        for mishap in MISHAPS
        for name, said in (
            ("early", caller.story.beginning),
            ("late", caller.story.beginning + caller.story.middle),
            ("behind the end", caller.story.whole),
        )
    },
    **{
        f"{caller}, {name}": (caller.request, answer, Then.STAYS)
        for caller in CALLERS
        for name, answer in (
            ("a good one", stream_head() + chunk(caller.story.whole) + LAST_CHUNK),
            ("in small chunks", stream_head() + b"".join(map(chunk, caller.story.frames)) + LAST_CHUNK),
            ("an error", aws_error("ThrottlingException", 429)),
        )
    },
    "a plain answer": (chat(), converse_answer(), Then.STAYS),
    "a plain native answer": (converse(), converse_answer(), Then.STAYS),
    "a plain answer, cut": (chat(), converse_answer()[:-1], Then.CLOSES),
}


def lived(request: bytes, pieces: list[bytes], then: Then, codec: str) -> tuple[Any, ...]:
    """What client and log see of an exchange when Bedrock's bytes come in these pieces."""
    gateway = Gateway(http_codec="fast" if codec == "fast" else "reference")
    bench = Bench(a_plan(a_config(gateway=gateway)))
    bench.ask(request)
    bench.open()
    for piece in pieces:
        if bench.held:
            bench.answer(piece)
    Mishap("", b"", (0, ""), (0, ""), then=then).befall(bench)
    bench.advance(2 * SECOND)
    bench.settle()
    # How many bytes went out depends on how many chunks they went in.
    return bench.only.told, {**bench.record, "response_bytes": 0}


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The bytes, cut anywhere."""
    cuts = sorted(draw(st.sets(st.integers(1, len(data) - 1), max_size=8)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


class TestCuts:
    @pytest.mark.parametrize("codec", CODECS)
    @given(data=st.data())
    def test_any_cut_of_bedrocks_bytes_gives_the_same_answer(self, codec: str, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(SCENARIOS)))
        request, answer, then = SCENARIOS[name]
        pieces = data.draw(cut(answer))
        assert lived(request, pieces, then, codec) == lived(request, [answer], then, codec)

    @pytest.mark.parametrize("name", sorted(SCENARIOS))
    def test_byte_by_byte_is_as_good_as_at_once(self, name: str) -> None:
        request, answer, then = SCENARIOS[name]
        pieces = [answer[at : at + 1] for at in range(len(answer))]
        assert lived(request, pieces, then, "fast") == lived(request, [answer], then, "fast")


# ------------------------------------------------------------------------------- connections, callers, clocks


def limited(keepalive: float = 3600, **limits: float) -> Bench:
    """A bench with these time limits, in seconds."""
    gateway = Gateway(time_limits=TimeLimits(**limits), keepalive_seconds=keepalive)
    return Bench(a_plan(a_config(gateway=gateway)))


def flowing(bench: Bench, caller: Caller = OPENAI) -> Bench:
    """The caller's stream has begun, and said something."""
    bench.ask(caller.request)
    bench.open()
    bench.answer(stream_head() + chunk(caller.story.beginning + caller.story.middle))
    return bench


class TestAnotherLease:
    """A fact about a lease that is not this call's changes nothing, wherever the answer stands."""

    @pytest.mark.parametrize("said", [b"", OPENAI.story.beginning, OPENAI.story.whole])
    @pytest.mark.parametrize(
        "fact", [UpstreamSent(4711, converse_answer()), UpstreamEnded(4711), UpstreamLost(4711)], ids=repr
    )
    def test_nothing_comes_of_it(self, said: bytes, fact: SessionEvent) -> None:
        bench = begun(OPENAI, said)
        assert bench.tell(fact) == []
        rest = OPENAI.story.whole.removeprefix(said)
        if rest:
            bench.answer(chunk(rest))
        bench.answer(LAST_CHUNK)
        OPENAI.check_finished(bench.only)
        bench.settle()


class TestNoByte:
    """The connection closes before the first byte of an answer."""

    @pytest.mark.parametrize("then", [Then.CLOSES, Then.BREAKS])
    def test_a_kept_one_had_most_likely_died_before(self, then: Then) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.open(reused=True)
        Mishap("", b"", (0, ""), (0, ""), then=then).befall(bench)
        assert [asked.fresh for asked in bench.opened] == [False, True]
        assert bench.dropped
        bench.open()
        bench.answer(converse_answer())
        assert (bench.only.status, bench.record["attempts"]) == (200, 2)
        bench.settle()

    @pytest.mark.parametrize("then", [Then.CLOSES, Then.BREAKS])
    def test_a_fresh_one_has_failed(self, then: Then) -> None:
        bench = Bench()
        bench.ask(chat())
        bench.open()
        Mishap("", b"", (0, ""), (0, ""), then=then).befall(bench)
        assert (bench.only.status, bench.record["cause"]) == (502, "UPSTREAM_LOST")
        assert len(bench.opened) == 1
        bench.settle()


class TestCallers:
    @pytest.mark.parametrize("lost", [False, True])
    @pytest.mark.parametrize(
        "said", [b"", OPENAI.story.beginning, OPENAI.story.beginning + OPENAI.story.middle]
    )
    def test_one_that_leaves_cancels_the_call(self, said: bytes, lost: bool) -> None:
        bench = begun(OPENAI, said)
        bench.leave(lost=lost)
        assert bench.dropped
        assert bench.record["outcome"] == "client_left"
        bench.settle()

    def test_one_that_leaves_behind_bedrocks_end_has_its_answer(self) -> None:
        bench = begun(OPENAI, OPENAI.story.whole)
        bench.leave()
        assert bench.record["outcome"] == "complete"
        bench.settle()

    def test_while_one_takes_nothing_bedrock_may_be_silent(self) -> None:
        bench = flowing(limited(keepalive=1, idle=5, client_stall=60))
        before = bench.only.body
        bench.tell(ClientStalled())
        bench.advance(50 * SECOND)
        assert bench.only.body == before
        bench.tell(ClientDrained())
        bench.advance(5 * SECOND)
        assert bench.only.body.startswith(before + KEEP_ALIVE * 4)
        assert OPENAI.error_in_band(bench.only)[0] == "IDLE_TIMEOUT"

    def test_the_first_token_is_watched_for_again_then(self) -> None:
        bench = limited(first_token=5, client_stall=60)
        bench.ask(OPENAI.request)
        bench.open()
        bench.tell(ClientStalled())
        bench.advance(50 * SECOND)
        bench.tell(ClientDrained())
        bench.advance(5 * SECOND)
        assert bench.record["cause"] == "FIRST_TOKEN_TIMEOUT"

    def test_a_shared_answer_is_paused_for_one_caller_alone(self) -> None:
        def share(ctx: Any) -> None:
            ctx.share(Sharing("", 300_000_000, 300_000_000))

        bench = Bench(a_plan(a_config(entry()), plugin_of({"access": share}, priority=1)))
        bench.ask(OPENAI.request)
        (ticket,) = bench.followed
        bench.tell(ClientStalled())
        assert bench.paused == {ticket}
        bench.tell(ClientDrained())
        assert not bench.paused


class TestClocks:
    def test_the_whole_is_bounded(self) -> None:
        bench = flowing(limited(total=7))
        bench.advance(7 * SECOND)
        assert OPENAI.error_in_band(bench.only)[0] == "TOTAL_TIMEOUT"
        check_failed(bench, 200)

    @pytest.mark.parametrize("said", [b"", OPENAI.story.beginning])
    def test_a_keep_alive_brings_the_status_line_and_all_that_was_held(self, said: bytes) -> None:
        bench = limited(keepalive=3, first_token=60)
        bench.ask(OPENAI.request)
        bench.open()
        bench.answer(stream_head() + (chunk(said) if said else b""))
        bench.advance(3 * SECOND)
        assert (bench.only.status, bench.only.body.endswith(KEEP_ALIVE)) == (200, True)
        bench.answer(chunk(OPENAI.story.whole.removeprefix(said)) + LAST_CHUNK)
        OPENAI.check_finished(bench.only)
        bench.settle()

    def test_what_means_nothing_does_not_begin_a_stream_that_is_kept_alive(self) -> None:
        bench = limited(keepalive=3, first_token=10, idle=1)
        bench.ask(OPENAI.request)
        bench.open()
        bench.advance(4 * SECOND)
        bench.answer(stream_head() + chunk(OPENAI.story.beginning))
        bench.advance(6 * SECOND)
        assert OPENAI.error_in_band(bench.only)[0] == "FIRST_TOKEN_TIMEOUT"

    def test_a_filter_that_fails_at_a_keep_alive_makes_it_an_http_error(self) -> None:
        plan = a_plan(
            a_config(entry(), gateway=Gateway(keepalive_seconds=3)), plugin_of({"header_filter": fails})
        )
        bench = asked(OPENAI, plan)
        bench.advance(3 * SECOND)
        assert bench.only.json["error"]["code"] == "INTERNAL_ERROR"
        check_failed(bench, 500)


# ------------------------------------------------------------------------------------------------ its filters


def fails(_ctx: Any) -> None:
    """A hook with a bug."""
    raise ValueError


def filtered(body_filter: Hook) -> Plan:
    """A plan with this body filter."""
    return a_plan(a_config(entry()), plugin_of({"body_filter": body_filter}))


class TestFilters:
    def test_a_part_that_is_dropped_is_not_written(self) -> None:
        def drop(ctx: Any) -> None:
            ctx.part.dropped = True

        bench = asked(OPENAI, filtered(drop))
        bench.answer(stream_head() + chunk(OPENAI.story.whole) + LAST_CHUNK)
        assert (bench.only.status, sse(bench.only.body)) == (200, ["[DONE]"])
        bench.settle()

    def test_a_part_is_written_as_a_hook_has_left_it(self) -> None:
        def shout(ctx: Any) -> None:
            ctx.part.payload["choices"][0]["message"]["content"] = "HELLO"

        bench = Bench(filtered(shout))
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer("hello"))
        assert bench.only.json["choices"][0]["message"]["content"] == "HELLO"
        bench.settle()

    @pytest.mark.parametrize("words", [False, True])
    def test_a_hook_that_fails_ends_a_stream(self, words: bool) -> None:
        def fails_later(ctx: Any) -> None:
            seen.append(ctx)
            if len(seen) > 2 * words:
                raise ValueError

        seen: list[Any] = []
        bench = asked(OPENAI, filtered(fails_later))
        bench.answer(stream_head())
        for frame in OPENAI.story.frames:
            if bench.held:
                bench.answer(chunk(frame))
        if bench.only.status == 200:
            assert OPENAI.error_in_band(bench.only)[0] == "INTERNAL_ERROR"
        check_failed(bench, 200 if words else 500)

    @pytest.mark.parametrize("hook", ["header_filter", "body_filter"])
    def test_or_makes_an_error_of_a_plain_answer(self, hook: str) -> None:
        bench = Bench(a_plan(a_config(entry()), plugin_of({hook: fails})))
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.json["error"]["code"] == "INTERNAL_ERROR"
        check_failed(bench, 500)

    @pytest.mark.parametrize("stream", [False, True])
    def test_what_cannot_be_written_is_the_plugins_fault(self, stream: bool) -> None:
        def spoil(ctx: Any) -> None:
            ctx.part.payload = {"x": object()}

        bench = Bench(filtered(spoil))
        bench.ask(chat(stream=stream))
        bench.open()
        bench.answer(stream_head() + chunk(OPENAI.story.whole) + LAST_CHUNK if stream else converse_answer())
        assert bench.record["cause"] == "PLUGIN_FAILED"
        check_failed(bench, 500)

    def test_a_head_that_http_does_not_allow_ends_a_stream_before_it_begins(self) -> None:
        def break_head(ctx: Any) -> None:
            ctx.headers.append((b"bad name", b"x"))

        bench = asked(OPENAI, a_plan(a_config(entry()), plugin_of({"header_filter": break_head})))
        bench.answer(stream_head() + chunk(OPENAI.story.whole))
        assert bench.record["cause"] == "PLUGIN_FAILED"
        check_failed(bench, 500)


def refuses(ctx: Any) -> None:
    """A hook that refuses one word."""
    if b"FORBIDDEN" in msgspec.json.encode(ctx.part.payload):
        ctx.reject(Fault(Cause.ANSWER_REFUSED))


class TestJudgements:
    """A body filter may end an answer, and put parts of its own before others."""

    def test_a_refused_plain_answer_is_an_error(self) -> None:
        bench = Bench(filtered(refuses))
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer("FORBIDDEN"))
        assert bench.only.json["error"]["code"] == "content_filter"
        assert bench.record["cause"] == "ANSWER_REFUSED"
        check_failed(bench, 400)

    @pytest.mark.parametrize("caller", CALLERS[:2], ids=repr)
    @pytest.mark.parametrize("words", [False, True])
    def test_a_refused_stream_has_no_good_end_even_if_bedrocks_has_come(
        self, caller: Caller, words: bool
    ) -> None:
        bench = asked(caller, filtered(refuses))
        bench.answer(stream_head())
        if words:
            bench.answer(chunk(caller.story.beginning + caller.story.middle))
            assert bench.only.status == 200
        bench.answer(chunk(converse_story(["FORBIDDEN"]).whole) + LAST_CHUNK)
        assert bench.record["cause"] == "ANSWER_REFUSED"
        if words:
            assert caller.error_in_band(bench.only)[0] in ("content_filter", "validationException")
        check_failed(bench, 200 if words else 400)

    def test_a_part_put_before_another_is_seen_by_later_hooks_only(self) -> None:
        seen: list[tuple[str, str]] = []

        def put(ctx: Any) -> None:
            seen.append(("first", ctx.part.name))
            if not seen[1:]:
                ctx.put_before(Part(PartKind.EVENT, "put", {"put": True}))

        def look(ctx: Any) -> None:
            seen.append(("second", ctx.part.name))

        config = a_config(entry(), entry("later"))
        later = plugin_of({"body_filter": look}, "later", 500)
        bench = asked(OPENAI, a_plan(config, plugin_of({"body_filter": put}), later))
        bench.answer(stream_head() + chunk(OPENAI.story.whole) + LAST_CHUNK)
        assert seen[:3] == [("first", ""), ("second", "put"), ("second", "")]
        assert sse(bench.only.body)[0] == {"put": True}
        bench.settle()


class TestWhatCannotBeWritten:
    def test_an_answer_that_is_nested_too_deeply_is_an_error(self) -> None:
        """It could be read: how deep one may go depends on where one stands."""
        bench = Bench()
        bench.ask(chat())
        bench.open()
        state = bench.session.state
        assert isinstance(state, Exchanging)
        nested: list[Any] = []
        for _ in range(100_000):
            nested = [nested]
        out: list[SessionCommand] = []
        reply_whole(state.exchange, Part(PartKind.ANSWER, "", nested), [], bench.now, out)
        (written,) = (command for command in out if isinstance(command, WriteClient))
        assert written.data.startswith(b"HTTP/1.1 502 ")
        assert state.exchange.fault is not None
        assert state.exchange.fault.cause is Cause.UPSTREAM_GARBLED
