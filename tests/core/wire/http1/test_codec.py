"""What a server codec writes follows what it has read: each response is read back by h11 as the client it is
for.
"""

import h11
import pytest

from stargate_core.wire.http1 import (
    NEED_DATA,
    Body,
    CodecKind,
    ProtocolError,
    Reason,
    RequestBody,
    RequestHead,
    ResponseHead,
    ServerCodec,
    client_codec,
    server_codec,
)
from support.http1 import KINDS

pytestmark = pytest.mark.parametrize("kind", KINDS)


class Client:
    """h11 as the client of a codec: what one sends, the other receives."""

    def __init__(self, kind: CodecKind, method: str = "GET", *, close: bool = False) -> None:
        self.connection = h11.Connection(h11.CLIENT)
        self.codec: ServerCodec = server_codec(codec=kind)
        headers = [("host", "h"), *([("connection", "close")] if close else [])]
        self.codec.receive_data(self.connection.send(h11.Request(method=method, target="/", headers=headers)))
        self.codec.receive_data(self.connection.send(h11.EndOfMessage()))
        assert isinstance(self.codec.next_event(), RequestHead)
        assert isinstance(self.codec.next_event(), RequestBody)

    def read(self, *pieces: bytes) -> tuple[bytes, bool]:
        """The response's body, and whether h11 would send another request on this connection."""
        for piece in pieces:
            if piece:
                self.connection.receive_data(piece)
        assert isinstance(self.connection.next_event(), h11.Response)
        body = b""
        while isinstance(event := self.connection.next_event(), h11.Data):
            body += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage)
        return body, self.connection.their_state is h11.DONE


def test_whole_responses_cycle_after_cycle(kind: CodecKind) -> None:
    client = Client(kind)
    for number in range(3):
        body = b"%d" % number
        assert client.read(client.codec.response(200, [], body)) == (body, True)
        client.connection.start_next_cycle()
        client.codec.start_next_cycle()
        client.codec.receive_data(
            client.connection.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
        )
        client.connection.send(h11.EndOfMessage())
        assert isinstance(client.codec.next_event(), RequestHead)
        assert isinstance(client.codec.next_event(), RequestBody)


@pytest.mark.parametrize(("method", "body"), [("GET", b"ab"), ("HEAD", b"")])
def test_streams(kind: CodecKind, method: str, body: bytes) -> None:
    client = Client(kind, method)
    codec = client.codec
    pieces = (
        codec.response_head(200, []),
        codec.chunk(b"a"),
        codec.chunk(b""),
        codec.chunk(b"b"),
        codec.end(),
    )
    assert client.read(*pieces) == (body, True)
    assert codec.keep_alive


def test_head_is_told_the_length_of_what_it_does_not_get(kind: CodecKind) -> None:
    client = Client(kind, "HEAD")
    wire = client.codec.response(200, [], b"body")
    assert b"\r\ncontent-length: 4\r\n" in wire
    assert client.read(wire) == (b"", True)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("asked", "told"), [(True, False), (False, True)])
def test_both_sides_know_that_the_connection_ends(
    kind: CodecKind, asked: bool, told: bool, streamed: bool
) -> None:
    client = Client(kind, close=asked)
    codec = client.codec
    pieces = (codec.response_head(200, [], close=told), codec.chunk(b"x"), codec.end())
    if not streamed:
        pieces = (codec.response(200, [], b"x", close=told), b"", b"")
    assert client.read(*pieces) == (b"x", False)
    assert not codec.keep_alive


def test_a_10_client_gets_no_chunks(kind: CodecKind) -> None:
    codec = server_codec(codec=kind)
    codec.receive_data(b"GET / HTTP/1.0\r\n\r\n")
    codec.next_event()
    codec.next_event()
    wire = codec.response_head(200, []) + codec.chunk(b"ab") + codec.end()
    assert wire == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nab"
    assert not codec.keep_alive


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_before_the_request_is_whole_ends_the_connection(kind: CodecKind, streamed: bool) -> None:
    codec = server_codec(codec=kind)
    codec.receive_data(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n")
    assert isinstance(codec.next_event(), RequestHead)
    wire = codec.response_head(401, []) if streamed else codec.response(401, [])
    assert b"\r\nconnection: close\r\n" in wire
    assert not codec.keep_alive


def test_an_answer_to_no_request_ends_the_connection(kind: CodecKind) -> None:
    codec = server_codec(codec=kind)
    assert b"\r\nconnection: close\r\n" in codec.response(408, [])


def test_a_refused_request_is_answered_and_the_connection_ends(kind: CodecKind) -> None:
    codec = server_codec(codec=kind)
    codec.receive_data(b"GET / HTTP/2.0\r\n\r\n")
    with pytest.raises(ProtocolError) as caught:
        codec.next_event()
    wire = codec.response(caught.value.status, [], b"no")
    assert wire.startswith(b"HTTP/1.1 505 HTTP Version Not Supported\r\n")
    assert b"\r\nconnection: close\r\n" in wire


def test_tells_a_waiting_client_to_go_on(kind: CodecKind) -> None:
    codec = server_codec(codec=kind)
    assert codec.continue_100() == b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize(("method", "body"), [(b"GET", b"no"), (b"HEAD", b"")])
def test_a_refused_request_is_told_by_its_name_and_answered_as_it_is_read(
    kind: CodecKind, method: bytes, body: bytes
) -> None:
    codec = server_codec(codec=kind)
    codec.receive_data(method + b" /x HTTP/1.1\r\nBad Header: x\r\n\r\n")
    with pytest.raises(ProtocolError) as caught:
        codec.next_event()
    assert (caught.value.method, caught.value.target) == (method, b"/x")
    head, _, sent = codec.response(400, [], b"no").partition(b"\r\n\r\n")
    assert b"content-length: 2" in head
    assert sent == body


def test_a_request_may_come_byte_by_byte(kind: CodecKind) -> None:
    codec = server_codec(codec=kind)
    for byte in b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab":
        codec.receive_data(bytes((byte,)))
    assert isinstance(codec.next_event(), RequestHead)
    assert codec.next_event() == RequestBody(b"ab")


def test_a_message_that_is_cut_short_is_incomplete(kind: CodecKind) -> None:
    codec = server_codec(codec=kind)
    codec.receive_data(b"GET / HT")
    codec.receive_eof()
    with pytest.raises(ProtocolError, match="ended inside a message") as caught:
        codec.next_event()
    assert caught.value.reason is Reason.INCOMPLETE_MESSAGE


def test_the_short_way_is_refused_before_a_head_and_takes_nothing(kind: CodecKind) -> None:
    """Then the ordinary way gives the answer, as if nobody had asked."""
    codec = client_codec(codec=kind)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"
    assert codec.receive_body(answer) is None
    assert codec.next_event() is NEED_DATA
    codec.receive_data(answer)
    assert isinstance(codec.next_event(), ResponseHead)
    assert codec.next_event() == Body(b"ab")
