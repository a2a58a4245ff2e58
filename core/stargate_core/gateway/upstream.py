"""One call to Bedrock: the bytes that ask, and what the answer's bytes turn out to be.

An attempt is signed at the moment its connection stands, with the time of that moment: a signature made while
the request still waited for a connection could be minutes old. Its answer is an HTTP response whose body is
one of three things, and the head says which: an event stream, a plain answer, or an error. Everything that
contradicts itself (a success that is an error type, an event stream that is HTML) is the fault of the answer,
never a success.

This file knows HTTP framing and AWS's error shapes. It does not know what an answer means to the caller; that
is the translator's part, and the exchange brings the two together.
"""

import enum
from typing import Final

from stargate_core.aws.exceptions import is_error_in_200, read_error
from stargate_core.aws.sigv4 import Signer
from stargate_core.dialects.face import Call, Headers
from stargate_core.direction import Direction
from stargate_core.faults import Cause, Fault, fault_of_aws
from stargate_core.wire.eventstream import EventStreamDecoder
from stargate_core.wire.http1 import Body, ClientCodec, EndOfMessage, ProtocolError, Reason, ResponseHead
from stargate_core.wire.http1 import request as request_bytes

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""The largest plain answer. Bedrock's own limit on a body is 25 MB."""
_EVENT_STREAM: Final = b"application/vnd.amazon.eventstream"


class AnswerKind(enum.Enum):
    """What the body of an answer is."""

    STREAM = "stream"
    PLAIN = "plain"
    ERROR = "error"


_STREAM: Final = AnswerKind.STREAM
"""Looked up once: it is asked for with every piece of a body."""


class UpstreamCall:
    """One attempt at one call, from its lease to its last byte."""

    __slots__ = (
        "_call",
        "_chunks",
        "_codec",
        "_size",
        "decoder",
        "direction",
        "ended",
        "failure",
        "headers",
        "kind",
        "lease",
        "lost",
        "request_id",
        "reused",
        "started",
        "status",
    )

    def __init__(
        self, call: Call, direction: Direction, codec: ClientCodec, lease: int, reused: bool
    ) -> None:
        self._call = call
        self._codec = codec
        self._chunks: list[bytes] = []
        self._size = 0
        self.direction = direction
        self.lease = lease
        self.reused = reused
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
        self.decoder: EventStreamDecoder | None = None

    def request(self, signer: Signer | None, wall_ns: int) -> bytes:
        """The request's bytes, signed now; without a signer, with the direction's API key as bearer token."""
        call, direction = self._call, self.direction
        endpoint = direction.endpoint
        headers = [(b"host", endpoint.authority), *call.headers]
        target = endpoint.prefix.encode() + call.target if endpoint.prefix else call.target
        if signer is not None:
            headers += signer.authorize(call.method, target, headers, call.body, wall_ns)
        elif direction.api_key is not None:
            headers.append((b"authorization", b"Bearer " + direction.api_key.reveal().encode()))
        return request_bytes(call.method, target, headers, call.body)

    def receive(self, data: bytes) -> bytes:
        """Take in bytes of the answer; the bytes of a stream's body among them.

        The body of a plain answer or an error is kept, for `body`. What stops it is told by `ended` and
        `failure`.
        """
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
                        self._keep(event.data)
                elif isinstance(event, ResponseHead):
                    self._head(event)
                else:
                    self.ended = self.ended or isinstance(event, EndOfMessage)
                    break
        except ProtocolError as error:
            # The bytes before the fault were good, and are passed on first.
            self.failure = error
        if not stream:
            return b""
        return stream[0] if len(stream) == 1 else b"".join(stream)

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > ANSWER_BYTES_MAX:
            raise ProtocolError(
                Reason.BODY_TOO_LARGE, f"the answer is longer than {ANSWER_BYTES_MAX} bytes", 502
            )
        self._chunks.append(data)

    def _head(self, head: ResponseHead) -> None:
        self.status = head.status
        self.headers = head.headers
        content_type = b""
        for name, value in head.headers:
            if name == b"content-type":
                content_type = value
            elif name == b"x-amzn-requestid":
                self.request_id = value.decode("latin-1")[:128]
        if head.status != 200:
            self.kind = AnswerKind.ERROR
        elif not self._call.stream:
            self.kind = AnswerKind.PLAIN
        elif content_type.startswith(_EVENT_STREAM):
            self.kind = AnswerKind.STREAM
            self.decoder = EventStreamDecoder()
        else:
            self.kind = AnswerKind.ERROR

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another call: this one is over, and nothing follows it."""
        return self.ended and self._codec.reusable

    @property
    def body(self) -> bytes:
        """The body of a plain answer or an error, as far as it has come."""
        if len(self._chunks) == 1:
            return self._chunks[0]
        return b"".join(self._chunks)

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


def _retry_after(headers: Headers) -> int | None:
    """Upstream's Retry-After in whole seconds; a date, which AWS does not send, is left out."""
    for name, value in headers:
        if name == b"retry-after" and value.isdigit() and len(value) < 10:
            return int(value)
    return None
