"""One call to Bedrock: the bytes that ask, signed for the moment, and what the answer's bytes turn out to be.

botocore signs the same request, as the oracle of the signature.
"""

import datetime
from typing import Any, Final

import h11
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.bearer import Bearer
from stargate_core.aws.credentials import Credentials
from stargate_core.aws.endpoints import Endpoint
from stargate_core.aws.operations import Operation
from stargate_core.aws.sigv4 import Signer
from stargate_core.clock import SECOND
from stargate_core.dialects.face import Call, Target
from stargate_core.direction import Direction
from stargate_core.faults import Cause
from stargate_core.gateway.upstream import ANSWER_BYTES_MAX, AnswerKind, SharedAnswer, UpstreamCall
from stargate_core.secret import Secret
from stargate_core.wire.http1 import CodecKind, Reason, client_codec
from support.bedrock import (
    AWS_REQUEST_ID,
    EVENT_STREAM,
    LAST_CHUNK,
    aws_error,
    chunk,
    converse_answer,
    converse_story,
    http,
    stream_head,
)

BODY: Final = b'{"messages":[]}'
CODECS: Final[tuple[CodecKind, ...]] = ("fast", "reference")


def a_call(*, stream: bool = False, codec: CodecKind = "fast", **direction: Any) -> UpstreamCall:
    """A call whose connection stands."""
    operation = Operation.CONVERSE_STREAM if stream else Operation.CONVERSE
    call = Call(
        operation, b"POST", b"/model/m%3A0/converse", [(b"content-type", b"application/json")], BODY, stream
    )
    endpoint = direction.pop("endpoint", Endpoint("https", "bedrock.test", 443, "bedrock", "us-east-1"))
    where = Direction(endpoint, Target("m:0"), "us-east-1", **direction)
    return UpstreamCall(call, where, client_codec(codec=codec), lease=7, reused=False)


def parsed(data: bytes) -> tuple[h11.Request, bytes]:
    """What a server reads."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    request, body = server.next_event(), b""
    assert isinstance(request, h11.Request)
    while isinstance(event := server.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    return request, body


class TestRequest:
    @pytest.mark.parametrize("prefix", ["", "/aws"])
    def test_it_is_signed_as_botocore_signs_it(self, prefix: str) -> None:
        host = "bedrock.test:8000"
        oracle: Any = AWSRequest(
            "POST",
            f"http://{host}{prefix}/model/m%3A0/converse",
            data=BODY,
            headers={"content-type": "application/json"},
        )
        SigV4Auth(BotocoreCredentials("AKID", "secret", "token"), "bedrock", "us-east-1").add_auth(oracle)
        date = oracle.headers["X-Amz-Date"]
        call = a_call(endpoint=Endpoint("http", "bedrock.test", 8000, "bedrock", "us-east-1", prefix))
        signer = Signer(Credentials("AKID", Secret("secret"), Secret("token")), "us-east-1", "bedrock")
        request, body = parsed(call.request(signer, wall_of(date)))
        headers = {name.decode(): value.decode() for name, value in request.headers}
        assert (request.target, body) == (f"{prefix}/model/m%3A0/converse".encode(), BODY)
        assert headers["authorization"] == oracle.headers["Authorization"]
        assert (headers["x-amz-date"], headers["x-amz-security-token"]) == (date, "token")
        assert headers["host"] == host

    def test_each_attempt_is_signed_for_its_own_moment(self) -> None:
        signer = Signer(Credentials("AKID", Secret("secret")), "us-east-1", "bedrock")
        first, second = (a_call().request(signer, at * SECOND) for at in (1_000_000, 1_000_001))
        assert b"19700112T134640Z" in first
        assert b"19700112T134641Z" in second

    def test_an_api_key_goes_as_it_is_and_without_a_signature(self) -> None:
        request, _ = parsed(a_call().request(Bearer(Secret("the-key")), 0))
        assert dict(request.headers)[b"authorization"] == b"Bearer the-key"
        assert b"x-amz-date" not in dict(request.headers)

    @pytest.mark.parametrize("text", ["key\n", "key\r\nx: y", "a\0b"])
    def test_a_key_that_no_header_can_bear_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError) as refused:
            a_call().request(Bearer(Secret(text)), 0)
        assert text not in str(refused.value)


def wall_of(date: str) -> int:
    """Wall time of an x-amz-date."""
    return int(datetime.datetime.strptime(date, "%Y%m%dT%H%M%S%z").timestamp()) * SECOND


STORY: Final = converse_story()
STREAM: Final = stream_head() + chunk(STORY.beginning) + chunk(STORY.middle + STORY.end) + LAST_CHUNK


class TestAnswer:
    @pytest.mark.parametrize("codec", CODECS)
    def test_a_plain_one_is_kept_until_it_is_whole(self, codec: CodecKind) -> None:
        call = a_call(codec=codec)
        answer = converse_answer()
        assert not call.started
        call.receive(answer[:20])
        assert (call.started, call.kind, call.ended) == (True, None, False)
        call.receive(answer[20:-1])
        assert (call.kind, call.status, call.ended) == (AnswerKind.PLAIN, 200, False)
        assert call.receive(answer[-1:]) == b""
        assert (call.ended, call.reusable, call.request_id) == (True, True, AWS_REQUEST_ID)
        assert call.body == answer.partition(b"\r\n\r\n")[2]
        assert call.error() is None

    @pytest.mark.parametrize("codec", CODECS)
    @given(data=st.data())
    def test_a_stream_is_handed_on_as_it_comes(self, codec: CodecKind, data: st.DataObject) -> None:
        cuts = sorted(data.draw(st.sets(st.integers(1, len(STREAM) - 1), max_size=10)))
        call = a_call(stream=True, codec=codec)
        said = [call.receive(STREAM[a:b]) for a, b in zip([0, *cuts], [*cuts, len(STREAM)], strict=True)]
        assert b"".join(said) == STORY.whole
        assert (call.kind, call.ended, call.reusable) == (AnswerKind.STREAM, True, True)
        assert call.body == b""

    @pytest.mark.parametrize("codec", CODECS)
    def test_a_whole_chunk_in_full_flow_is_handed_on_at_once(self, codec: CodecKind) -> None:
        """By a short way with the one codec, by the ordinary one with the other: the same comes of it."""
        call = a_call(stream=True, codec=codec)
        said = [call.receive(piece) for piece in (stream_head(), *map(chunk, STORY.frames), LAST_CHUNK)]
        assert said == [b"", *STORY.frames, b""]
        assert (call.ended, call.reusable) == (True, True)

    @pytest.mark.parametrize(
        ("answer", "stream", "kind"),
        [
            (converse_answer(), False, AnswerKind.PLAIN),
            (converse_answer(), True, AnswerKind.ERROR),
            (STREAM, True, AnswerKind.STREAM),
            (stream_head("application/vnd.amazon.eventstream; v=1") + LAST_CHUNK, True, AnswerKind.STREAM),
            (stream_head("text/html") + LAST_CHUNK, True, AnswerKind.ERROR),
            (aws_error("X", 400), False, AnswerKind.ERROR),
            (aws_error("X", 400, content_type="application/vnd.amazon.eventstream"), True, AnswerKind.ERROR),
            (http(b"", 201), False, AnswerKind.ERROR),
            (http(b"", 302, location="http://evil.test/"), True, AnswerKind.ERROR),
        ],
    )
    def test_its_head_says_what_it_is(self, answer: bytes, stream: bool, kind: AnswerKind) -> None:
        call = a_call(stream=stream)
        call.receive(answer)
        assert call.kind is kind
        assert (call.decoder is not None) == (kind is AnswerKind.STREAM)

    @pytest.mark.parametrize("codec", CODECS)
    def test_good_bytes_before_bad_ones_are_handed_on_first(self, codec: CodecKind) -> None:
        call = a_call(stream=True, codec=codec)
        assert call.receive(stream_head() + chunk(b"good") + b"garbage\r\n") == b"good"
        assert call.failure is not None
        assert not call.ended
        assert not call.reusable
        assert call.receive(b"more") == b""

    @pytest.mark.parametrize("codec", CODECS)
    @pytest.mark.parametrize(
        ("sent", "ended"),
        [(b"HTTP/1.1 200 OK\r\n\r\nbody", True), (converse_answer()[:-1], False), (b"HTTP/1.1 2", False)],
    )
    def test_where_the_connection_may_end_it_ends_the_body(
        self, sent: bytes, ended: bool, codec: CodecKind
    ) -> None:
        call = a_call(codec=codec)
        call.receive(sent)
        call.receive_eof()
        assert call.ended == ended
        assert (call.failure is None) == ended
        assert not call.reusable

    def test_what_follows_an_answer_costs_the_connection(self) -> None:
        call = a_call()
        call.receive(converse_answer() + b"x")
        assert call.ended
        assert not call.reusable

    def test_one_that_announces_close_is_not_reused(self) -> None:
        call = a_call()
        call.receive(http(b"{}", connection="close"))
        assert call.ended
        assert not call.reusable

    def test_one_without_an_end_is_bounded(self) -> None:
        call = a_call()
        call.receive(stream_head("application/json"))
        eighth = chunk(bytes(ANSWER_BYTES_MAX // 8))
        for _ in range(8):
            call.receive(eighth)
        assert call.failure is None
        call.receive(chunk(b" "))
        assert call.failure is not None
        assert call.failure.reason == "BODY_TOO_LARGE"

    def test_an_interim_answer_is_none(self) -> None:
        call = a_call()
        call.receive(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert (call.started, call.kind) == (True, None)
        call.receive(converse_answer())
        assert call.kind is AnswerKind.PLAIN

    def test_a_request_id_is_kept_short(self) -> None:
        call = a_call()
        call.receive(http(b"{}", x_amzn_requestid="i" * 1000))
        assert call.request_id == "i" * 128


class TestErrors:
    @pytest.mark.parametrize(
        ("answer", "stream", "cause"),
        [
            (aws_error("ThrottlingException", 429), False, Cause.UPSTREAM_THROTTLED),
            (http(b'{"__type":"x#ValidationException"}', 400), False, Cause.UPSTREAM_VALIDATION),
            (http(b'{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"}}'), False,
             Cause.UPSTREAM_UNKNOWN),
            (http(b"<html>", 502), False, Cause.UPSTREAM_UNKNOWN),
            (converse_answer(), True, Cause.UPSTREAM_GARBLED),
            (http(b'{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"}}'), True,
             Cause.UPSTREAM_UNKNOWN),
        ],
    )  # fmt: skip
    def test_an_answer_that_is_an_error_is_one(self, answer: bytes, stream: bool, cause: Cause) -> None:
        call = a_call(stream=stream)
        call.receive(answer)
        fault = call.error()
        assert fault is not None
        assert fault.cause is cause

    @pytest.mark.parametrize(
        ("value", "seconds"), [("5", 5), ("0", 0), ("x", None), ("-1", None), ("9" * 12, None), ("1.5", None)]
    )
    def test_retry_after_is_whole_seconds_or_nothing(self, value: str, seconds: int | None) -> None:
        call = a_call()
        call.receive(aws_error("ThrottlingException", 429, retry_after=value))
        fault = call.error()
        assert fault is not None
        assert fault.retry_after_seconds == seconds

    @given(status=st.integers(201, 599), body=st.binary(max_size=60), name=st.text("aZ#:/.-", max_size=20))
    def test_reading_one_never_fails(self, status: int, body: bytes, name: str) -> None:
        if status in {204, 304}:
            body = b""
        call = a_call()
        call.receive(http(body, status, x_amzn_errortype=name))
        if call.failure is None:
            fault = call.error()
            assert fault is not None
            assert 400 <= fault.row.status <= 599


class TestServerSentEvents:
    """A vendor's API streams events instead of frames; each operation is held to its own kind."""

    EVENTS = b"data: {}\n\ndata: [DONE]\n\n"

    def answer(self, operation: Operation, content_type: bytes) -> UpstreamCall:
        call = Call(operation, b"POST", b"/x", [], BODY, stream=True)
        endpoint = Endpoint("https", "bedrock.test", 443, "bedrock", "us-east-1")
        one = UpstreamCall(call, Direction(endpoint, Target("m"), "r"), client_codec(), lease=7, reused=False)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
        self.body = one.receive(head % (content_type, len(self.EVENTS)) + self.EVENTS)
        return one

    @pytest.mark.parametrize("content_type", [b"text/event-stream; charset=utf-8", b"Text/Event-Stream"])
    def test_a_vendors_stream_is_read_as_events(self, content_type: bytes) -> None:
        one = self.answer(Operation.CHAT_COMPLETIONS, content_type)
        assert one.kind is AnswerKind.STREAM
        assert one.decoder is not None
        assert [frame.payload for frame in one.decoder.feed(self.body)] == [b"{}", b"[DONE]"]

    @pytest.mark.parametrize(
        ("operation", "content_type"),
        [
            (Operation.CHAT_COMPLETIONS, b"application/vnd.amazon.eventstream"),
            (Operation.MESSAGES, b"application/json"),
            (Operation.CONVERSE_STREAM, b"text/event-stream"),
        ],
    )
    def test_the_other_kind_is_an_error(self, operation: Operation, content_type: bytes) -> None:
        one = self.answer(operation, content_type)
        fault = one.error()
        assert one.kind is AnswerKind.ERROR
        assert fault is not None
        assert fault.cause is Cause.UPSTREAM_GARBLED


class TestSharedAnswers:
    """What others get too is read alike, and has no connection of its own."""

    @staticmethod
    def shared(*, stream: bool = False) -> SharedAnswer:
        operation = Operation.CONVERSE_STREAM if stream else Operation.CONVERSE
        answer = SharedAnswer(3, Call(operation, b"POST", b"/", [], BODY, stream))
        answer.begin(200, [(b"content-type", EVENT_STREAM.encode() if stream else b"application/json")])
        return answer

    def test_a_plain_one_is_kept_until_it_is_whole(self) -> None:
        answer = self.shared()
        assert [answer.receive(piece) for piece in (b'{"a":', b"1}")] == [b"", b""]
        assert answer.body == b'{"a":1}'
        assert answer.error() is None

    def test_a_stream_is_handed_on(self) -> None:
        answer = self.shared(stream=True)
        assert [answer.receive(piece) for piece in (b"a", b"b")] == [b"a", b"b"]
        assert answer.body == b""

    def test_one_without_an_end_is_bounded(self) -> None:
        answer = self.shared()
        piece = b"x" * (ANSWER_BYTES_MAX // 4)
        for _ in range(4):
            answer.receive(piece)
        assert answer.failure is None
        answer.receive(b"x")
        assert answer.failure is not None
        assert answer.failure.reason == Reason.BODY_TOO_LARGE

    def test_what_was_read_may_be_forgotten(self) -> None:
        answer = self.shared()
        answer.receive(b"{}")
        answer.forget()
        assert answer.body == b""

    def test_there_is_no_connection_to_keep(self) -> None:
        answer = self.shared()
        answer.ended = True
        assert not answer.reusable


class TestForgetting:
    def test_the_answer_needs_nothing_of_what_was_asked(self) -> None:
        call = a_call(stream=True)
        call.forget_request()
        call.receive(stream_head() + chunk(converse_story().whole) + LAST_CHUNK)
        assert (call.kind, call.ended, call.reusable) == (AnswerKind.STREAM, True, True)
