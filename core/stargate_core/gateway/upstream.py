"""One call to Bedrock: the bytes that ask, and what the answer's bytes turn out to be.

An attempt is signed at the moment its connection stands, with the time of that moment: a signature made while
the request still waited for a connection could be minutes old. Its answer is an HTTP response whose body is
one of three things, and the head says which: an event stream, a plain answer, or an error. Everything that
contradicts itself (a success that is an error type, an event stream that is HTML) is the fault of the answer,
never a success.

A shared answer is the same without a connection: its head and body come from the cache's machine.

This file knows HTTP framing and AWS's error shapes. It does not know what an answer means to the caller; that
is the translator's part, and the exchange brings the two together.
"""

import enum
from typing import Final, Protocol

import msgspec

from stargate_core.aws.exceptions import is_error_in_200, read_error
from stargate_core.aws.operations import BodyKind
from stargate_core.dialects.face import Call, Headers
from stargate_core.direction import Direction
from stargate_core.faults import Cause, Fault, fault_of_aws
from stargate_core.messages import Source
from stargate_core.wire.eventstream import EventStreamDecoder
from stargate_core.wire.http1 import Body, ClientCodec, EndOfMessage, ProtocolError, Reason, ResponseHead
from stargate_core.wire.http1 import request as request_bytes
from stargate_core.wire.sse import SseFrameDecoder

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""The largest plain answer. Bedrock's own limit on a body is 25 MB."""
NO_LEASE: Final = -1
"""The lease of an answer that comes over no connection of ours."""
_EVENT_STREAM: Final = b"application/vnd.amazon.eventstream"
_SSE: Final = b"text/event-stream"


class AnswerKind(enum.Enum):
    """What the body of an answer is."""

    STREAM = "stream"
    PLAIN = "plain"
    ERROR = "error"


class Authorizer(Protocol):
    """Whoever gives a call its authority: a Signer, or a Bearer."""

    def authorize(self, method: bytes, target: bytes, headers: Headers, body: bytes, wall_ns: int) -> Headers:
        """The headers to add."""
        ...


_STREAM: Final = AnswerKind.STREAM
"""Looked up once: it is asked for with every piece of a body."""


class IncomingAnswer:
    """Bedrock's answer, as far as it has come: its own call's, or one that is shared."""

    __slots__ = (
        "_call",
        "_chunks",
        "_size",
        "decoder",
        "ended",
        "events",
        "failure",
        "headers",
        "kind",
        "lease",
        "lost",
        "passed",
        "request_id",
        "started",
        "status",
    )

    def __init__(self, lease: int, call: Call) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self.lease = lease
        self._call = call
        self.started = False
        """Some byte of the answer has come."""
        self.ended = False
        """The answer's last byte has come."""
        self.failure: ProtocolError | None = None
        """The answer stopped being HTTP, or stopped before its end."""
        self.lost = False
        """The transport failed behind Bedrock's own end: nothing more will come."""
        self.kind: AnswerKind | None = None
        """Known with the head."""
        self.status = 0
        self.headers: Headers = []
        self.request_id = ""
        self.decoder: EventStreamDecoder | SseFrameDecoder | None = None
        self.events = 0
        """How many events of a stream have come."""
        self.passed = 0
        """Those of them that gave the caller something, from the first meaningful delivery on."""

    def begin(self, status: int, headers: Headers) -> None:
        """The head has come: it says what the body will be."""
        self.started = True
        self.status = status
        self.headers = headers
        content_type = b""
        for name, value in headers:
            if name == b"content-type":
                content_type = value
            elif name == b"x-amzn-requestid":
                self.request_id = value.decode("latin-1")[:128]
        if status != 200:
            self.kind = AnswerKind.ERROR
        elif not self._call.stream:
            self.kind = AnswerKind.PLAIN
        else:
            self._begin_stream(content_type)

    def _begin_stream(self, content_type: bytes) -> None:
        """A stream was asked for: in frames, or as server-sent events where the operation is a vendor's."""
        by_sse = self._call.operation.spec.response is BodyKind.JSON_OR_SSE
        if not content_type.lower().startswith(_SSE if by_sse else _EVENT_STREAM):
            self.kind = AnswerKind.ERROR
            return
        self.kind = AnswerKind.STREAM
        self.decoder = SseFrameDecoder() if by_sse else EventStreamDecoder()

    def keep(self, data: bytes) -> None:
        """More of the body of a plain answer or an error. Raises ProtocolError where it grows too large."""
        self._size += len(data)
        if self._size > ANSWER_BYTES_MAX:
            raise ProtocolError(
                Reason.BODY_TOO_LARGE, f"the answer is longer than {ANSWER_BYTES_MAX} bytes", 502
            )
        self._chunks.append(data)

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another call: this one is over, and nothing follows it."""
        return False

    @property
    def body(self) -> bytes:
        """The body of a plain answer or an error, as far as it has come."""
        if len(self._chunks) == 1:
            return self._chunks[0]
        return b"".join(self._chunks)

    def forget_request(self) -> None:
        """What was asked is not needed any more; what the call was is."""
        self._call = msgspec.structs.replace(self._call, body=b"")

    def forget(self) -> None:
        """The body has been read, and is not needed any more."""
        self._chunks.clear()

    def error(self) -> Fault | None:
        """The fault an ended answer means; None when it is a plain success."""
        body = self.body
        if self.kind is AnswerKind.PLAIN and not is_error_in_200(body):
            return None
        if self.status == 200 and not is_error_in_200(body):
            return Fault(
                Cause.UPSTREAM_GARBLED,
                detail="a stream was asked for, and something else came with status 200",
            )
        error = read_error(self.status, self.headers, body)
        return fault_of_aws(
            error.name,
            error.status,
            error.message,
            original_status=error.original_status,
            retry_after_seconds=_retry_after(self.headers),
        )


class UpstreamCall(IncomingAnswer):
    """One attempt at one call, from its lease to its last byte."""

    __slots__ = ("_codec", "direction", "reused")

    def __init__(
        self, call: Call, direction: Direction, codec: ClientCodec, lease: int, reused: bool
    ) -> None:
        super().__init__(lease, call)
        self._codec = codec
        self.direction = direction
        self.reused = reused

    def request(self, signer: Authorizer, wall_ns: int, unsigned: Headers | None = None) -> bytes:
        """The request's bytes, signed now, or with a bearer token.

        unsigned: headers that whoever stands between may change.
        """
        call = self._call
        endpoint = self.direction.endpoint
        headers = [(b"host", endpoint.authority), *call.headers]
        target = endpoint.prefix.encode() + call.target if endpoint.prefix else call.target
        headers += signer.authorize(call.method, target, headers, call.body, wall_ns)
        if unsigned is not None:
            headers += unsigned
        return request_bytes(call.method, target, headers, call.body)

    def receive(self, data: bytes) -> bytes:
        """Take in bytes of the answer; the bytes of a stream's body among them.

        The body of a plain answer or an error is kept, for `body`. What stops it is told by `ended` and
        `failure`.
        """
        if self.kind is _STREAM:
            body = self._codec.receive_body(data)
            if body is not None:
                return body
        self.started = True
        self._codec.receive_data(data)
        return self._drain()

    def receive_eof(self) -> bytes:
        """Upstream closed: the end of a body without a length, or a cut."""
        self._codec.receive_eof()
        return self._drain()

    def _drain(self) -> bytes:
        stream: list[bytes] = []
        next_event = self._codec.next_event
        try:
            while True:
                event = next_event()
                if isinstance(event, Body):
                    if self.kind is _STREAM:
                        stream.append(event.data)
                    else:
                        self.keep(event.data)
                elif isinstance(event, ResponseHead):
                    self.begin(event.status, event.headers)
                else:
                    self.ended = self.ended or isinstance(event, EndOfMessage)
                    break
        except ProtocolError as error:
            # The bytes before the fault were good, and are passed on first.
            self.failure = error
        if not stream:
            return b""
        return stream[0] if len(stream) == 1 else b"".join(stream)

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another call: this one is over, and nothing follows it."""
        return self.ended and self._codec.reusable


class SharedAnswer(IncomingAnswer):
    """An answer that others get too: a kept one, or one that a flight fetches for all who want it."""

    __slots__ = ("number", "source", "ticket")

    def __init__(self, ticket: int, call: Call, number: int = 0) -> None:
        super().__init__(NO_LEASE, call)
        self.ticket = ticket
        self.number = number
        """Of a batch: which of its calls this is."""
        self.source: Source | None = None
        """Known once it has begun."""

    def receive(self, data: bytes) -> bytes:
        """Take in bytes of the body; those of a stream are given back, others kept."""
        if self.kind is _STREAM:
            return data
        try:
            self.keep(data)
        except ProtocolError as error:
            self.failure = error
        return b""


def _retry_after(headers: Headers) -> int | None:
    """Upstream's Retry-After in whole seconds; a date, which AWS does not send, is left out."""
    for name, value in headers:
        if name == b"retry-after" and value.isdigit() and len(value) < 10:
            return int(value)
    return None
