"""Driving HTTP/1.1 codecs, and the two parsers that judge them: plain h11 and plain llhttp.

A `Transcript` is all that a codec said about some bytes, in a form that doesn't depend on how they were cut.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

import h11
import httptools

from stargate_core.wire.http1 import (
    DEFAULT_LIMITS,
    Body,
    CodecKind,
    EndOfMessage,
    Limits,
    ProtocolError,
    RequestBody,
    RequestHead,
    ResponseHead,
    Signal,
    client_codec,
    server_codec,
)

KINDS: Final[tuple[CodecKind, ...]] = ("fast", "reference")
Step = RequestHead | RequestBody | ResponseHead | Body | EndOfMessage | Signal | tuple[str, str, int]
Transcript = list[Step]
Message = tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]
"""Method, target (or status, reason), headers, body."""

STEPS_MAX: Final = 10_000


def every_byte(data: bytes) -> list[bytes]:
    """The bytes, one by one."""
    return [data[at : at + 1] for at in range(len(data))]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """The bytes, cut at these places; a place beyond the end is none."""
    edges = [0, *sorted({place for place in places if 0 < place < len(data)}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def read_requests(
    kind: CodecKind, pieces: Sequence[bytes], *, eof: bool = False, limits: Limits = DEFAULT_LIMITS
) -> Transcript:
    """What a server codec says when each of its requests is answered at once."""
    codec = server_codec(limits, kind)
    said: Transcript = []

    def listen() -> bool:
        """Take all events there are; whether more may come."""
        for _ in range(STEPS_MAX):
            try:
                event = codec.next_event()
            except ProtocolError as error:
                said.append((str(error.reason), error.message, error.status))
                return False
            match event:
                case Signal.NEED_DATA:
                    return True
                case Signal.CLOSED:
                    said.append(event)
                    return False
                case Signal.PAUSED:
                    codec.response(200, [])
                    if not codec.keep_alive:
                        said.append(event)
                        return False
                    codec.start_next_cycle()
                case RequestHead() | RequestBody():
                    said.append(event)
        raise AssertionError("the codec does not come to an end")

    for piece in pieces:
        codec.receive_data(piece)
        if not listen():
            return said
    if eof:
        codec.receive_eof()
        assert not listen()
    return said


def read_response(
    kind: CodecKind, pieces: Sequence[bytes], *, eof: bool = False, limits: Limits = DEFAULT_LIMITS
) -> tuple[Transcript, bool]:
    """What a client codec says, its body in one piece; and whether the connection is reusable afterwards."""
    codec = client_codec(limits, kind)
    said: Transcript = []

    def listen() -> bool:
        for _ in range(STEPS_MAX):
            try:
                event = codec.next_event()
            except ProtocolError as error:
                said.append((str(error.reason), error.message, error.status))
                return False
            match event:
                case Signal.NEED_DATA:
                    return True
                case Signal.CLOSED | Signal.PAUSED:
                    said.append(event)
                    return False
                case Body(data) if said and isinstance(last := said[-1], Body):
                    said[-1] = Body(last.data + data)
                case ResponseHead() | Body() | EndOfMessage():
                    said.append(event)
        raise AssertionError("the codec does not come to an end")

    going = True
    for piece in pieces:
        codec.receive_data(piece)
        going = going and listen()
    if eof:
        codec.receive_eof()
        if going:
            assert not listen()
    return said, codec.reusable


def messages(said: Transcript) -> list[Message]:
    """The whole messages in a transcript."""
    return list(_messages(said))


def _messages(said: Transcript) -> Iterator[Message]:
    head: ResponseHead | RequestHead | None = None
    body = b""
    for step in said:
        match step:
            case RequestHead() | ResponseHead():
                head, body = step, b""
            case Body(data):
                body += data
            case RequestBody(data):
                assert isinstance(head, RequestHead)
                yield head.method, head.target, head.headers, data
            case EndOfMessage():
                assert isinstance(head, ResponseHead)
                yield b"%d" % head.status, head.reason, head.headers, body
            case _:
                pass


def error_of(said: Transcript) -> tuple[str, str, int] | None:
    """The objection at the end of a transcript, if there is one."""
    last = said[-1] if said else None
    return last if isinstance(last, tuple) else None


# ----------------------------------------------------------------------------------------------------- judges


def h11_requests(data: bytes) -> list[Message]:
    """The whole requests that plain h11 finds until it objects, or waits whether we switch protocols."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2**40)
    connection.receive_data(data)
    return list(_h11_messages(connection))


def h11_response(data: bytes, *, eof: bool) -> list[Message]:
    """The response that plain h11 finds, if it finds a whole one."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**40)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    if data:
        connection.receive_data(data)
    if eof:
        connection.receive_data(b"")
    return list(itertools.islice(_h11_messages(connection), 1))


def _h11_messages(connection: h11.Connection) -> Iterator[Message]:
    head: h11.Request | h11.Response | None = None
    body = b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return
        match event:
            case h11.Request() | h11.Response():
                head, body = event, b""
            case h11.Data():
                body += bytes(event.data)
            case h11.EndOfMessage() if isinstance(head, h11.Request):
                yield head.method, head.target, list(head.headers), body
                if connection.their_state is not h11.DONE:
                    return
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                connection.start_next_cycle()
            case h11.EndOfMessage():
                assert isinstance(head, h11.Response)
                yield b"%d" % head.status_code, head.reason, list(head.headers), body
                return
            case h11.InformationalResponse():
                pass
            case _:
                return


class _Collector:
    """llhttp's callbacks."""

    def __init__(self) -> None:
        self.done: list[Message] = []
        self.parser: httptools.HttpRequestParser | httptools.HttpResponseParser | None = None

    def on_message_begin(self) -> None:
        self.url = self.reason = self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_headers_complete(self) -> None:
        self.fields = list(self.headers)  # Trailers come through on_header too, later.

    def on_message_complete(self) -> None:
        if isinstance(self.parser, httptools.HttpRequestParser):
            self.done.append((self.parser.get_method(), self.url, self.fields, self.body))
        elif self.parser is not None and self.parser.get_status_code() >= 200:
            self.done.append((b"%d" % self.parser.get_status_code(), self.reason, self.fields, self.body))


def llhttp_messages(data: bytes, role: Literal["requests", "response"]) -> list[Message]:
    """The whole messages that plain llhttp, as strict as it comes, finds until it objects or upgrades."""
    collector = _Collector()
    parser = (httptools.HttpRequestParser if role == "requests" else httptools.HttpResponseParser)(collector)
    collector.parser = parser
    try:
        parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        pass
    return collector.done
