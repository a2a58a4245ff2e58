"""What every `ClientCodec` must do, as tests to inherit: subclass `ClientContract`, say which codec it is."""

from collections.abc import Callable

import pytest

from stargate_core.wire.http1 import (
    CLOSED,
    NEED_DATA,
    PAUSED,
    Body,
    ClientCodec,
    CodecKind,
    EndOfMessage,
    Limits,
    ProtocolError,
    ResponseHead,
    client_codec,
)
from support.http1 import cut, error_of, every_byte, messages, read_response
from support.http1_refusals import RESPONSES

JSON = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Amzn-RequestId: 1\r\n\r\n{"a"}'
CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n2\r\n"}\r\n0\r\nX-Sum: 1\r\n\r\n'
UNTIL_EOF = b'HTTP/1.1 200 OK\r\n\r\n{"a"}'
END = EndOfMessage()


class ClientContract:
    """The contract; `kind` names the codec under test."""

    kind: CodecKind

    def codec(self, limits: Limits | None = None) -> ClientCodec:
        return client_codec(limits or Limits(), self.kind)

    @pytest.mark.parametrize(
        ("data", "head", "body"),
        [
            (
                JSON,
                ResponseHead(
                    200,
                    b"OK",
                    b"1.1",
                    [(b"content-length", b"5"), (b"x-amzn-requestid", b"1")],
                    True,
                    5,
                    False,
                ),
                [Body(b'{"a"}')],
            ),
            (
                CHUNKED,
                ResponseHead(200, b"OK", b"1.1", [(b"transfer-encoding", b"chunked")], True, None, True),
                [Body(b'{"a"}')],
            ),
            (
                b"HTTP/1.1 204 No Content\r\nA:\t b \r\n\r\n",
                ResponseHead(204, b"No Content", b"1.1", [(b"a", b"b")], True, 0, False),
                [],
            ),
            (
                b"HTTP/1.1 304\r\nContent-Length: 9\r\n\r\n",
                ResponseHead(304, b"", b"1.1", [(b"content-length", b"9")], True, 0, False),
                [],
            ),
            (
                b"HTTP/1.1 599 \xe9t\xe9 \r\ncontent-length:0\r\n\r\n",
                ResponseHead(599, b"\xe9t\xe9 ", b"1.1", [(b"content-length", b"0")], True, 0, False),
                [],
            ),
        ],
    )
    def test_reads_a_response_in_three_ways(self, data: bytes, head: ResponseHead, body: list[Body]) -> None:
        expected = [head, *body, END, PAUSED]
        assert read_response(self.kind, [data]) == (expected, True)
        assert read_response(self.kind, every_byte(data)) == (expected, True)
        assert read_response(self.kind, [data + b"H"]) == (expected, False)
        assert read_response(self.kind, [data, b"H"]) == (expected, False)

    def test_without_framing_the_body_lasts_until_the_end(self) -> None:
        expected = [ResponseHead(200, b"OK", b"1.1", [], True, None, False), Body(b'{"a"}'), END, PAUSED]
        assert read_response(self.kind, [UNTIL_EOF], eof=True) == (expected, False)
        assert read_response(self.kind, every_byte(UNTIL_EOF), eof=True) == (expected, False)
        assert read_response(self.kind, [UNTIL_EOF])[0] == expected[:2]

    def test_hands_on_the_body_as_it_comes(self) -> None:
        for head, pieces, bodies in (
            (b"Content-Length: 6", [b"ab", b"cdef"], [b"ab", b"cdef"]),
            (b"Transfer-Encoding: chunked", [b"4\r\nab", b"cd\r\n2\r\nef\r\n0\r\n\r\n"], [b"ab", b"cdef"]),
            (b"A: b", [b"ab", b"cdef"], [b"ab", b"cdef"]),
        ):
            codec = self.codec()
            codec.receive_data(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
            assert isinstance(codec.next_event(), ResponseHead)
            for piece, body in zip(pieces, bodies, strict=True):
                assert codec.next_event() is NEED_DATA
                codec.receive_data(piece)
                assert codec.next_event() == Body(body)

    def test_the_short_way_for_a_body_brings_what_the_events_bring_or_nothing_is_done(self) -> None:
        pieces = [
            CHUNKED[:20],
            CHUNKED[20:47],
            b"3\r\nabc\r\n",
            b"2\r\nd",
            b"e\r\n",
            b"1\r\nf\r\n",
            CHUNKED[-15:],
        ]
        codec, body = self.codec(), b""
        for piece in pieces:
            brought = codec.receive_body(piece)
            if brought is not None:
                assert codec.next_event() is NEED_DATA  # It was all that the piece has brought.
                body += brought
                continue
            codec.receive_data(piece)
            while (event := codec.next_event()) not in (NEED_DATA, PAUSED):
                body += event.data if isinstance(event, Body) else b""
        assert (body, codec.reusable) == (b"abcdef", True)

    def test_skips_interim_responses(self) -> None:
        interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        assert read_response(self.kind, [interim + JSON]) == read_response(self.kind, [JSON])
        assert read_response(self.kind, every_byte(interim + JSON)) == read_response(self.kind, [JSON])

    def test_interim_responses_have_a_bound(self) -> None:
        limits = Limits(interim_max=3)
        for number, fine in ((3, True), (4, False)):
            data = b"HTTP/1.1 100 C\r\n\r\n" * number + JSON
            error = error_of(read_response(self.kind, [data], limits=limits)[0])
            assert (error is None) is fine
            assert error is None or error[0] == "TOO_MANY_INTERIM"
            assert error == error_of(read_response(self.kind, every_byte(data), limits=limits)[0])

    @pytest.mark.parametrize("name", RESPONSES)
    def test_refuses(self, name: str) -> None:
        data, reason = RESPONSES[name]
        said, reusable = read_response(self.kind, [data])
        error = error_of(said)
        assert error is not None
        assert (error[0], error[2]) == (reason, 502)
        assert not reusable
        assert read_response(self.kind, every_byte(data)) == (said, False)
        assert read_response(self.kind, [data + b"\r\n\r\n" + JSON]) == (said, False)

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda n: b"HTTP/1.1 200 OK\r\nA: " + b"a" * (n + 176) + b"\r\n\r\n", "HEAD_TOO_LARGE"),
            (lambda n: b"HTTP/1.1 200 " + b"a" * (n + 183) + b"\r\n\r\n", "HEAD_TOO_LARGE"),
            (lambda n: b"HTTP/1.1 200 OK\r\n" + b"A: a\r\n" * (n + 5) + b"\r\n", "TOO_MANY_HEADERS"),
        ],
    )
    def test_head_bounds(self, make: Callable[[int], bytes], reason: str) -> None:
        limits = Limits(head_bytes_max=200, headers_max=5)
        for beyond in (0, 1):
            said = read_response(self.kind, [make(beyond)], limits=limits)
            assert read_response(self.kind, every_byte(make(beyond)), limits=limits) == said
            error = error_of(said[0])
            if not beyond:
                assert error is None
                assert isinstance(said[0][0], ResponseHead)
            else:
                assert error is not None
                assert (error[0], error[2]) == (reason, 502)

    def test_good_bytes_before_bad_ones_are_handed_out_first(self) -> None:
        data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n"
        for pieces in ([data], every_byte(data), cut(data, [50])):
            said, _ = read_response(self.kind, pieces)
            assert said[1] == Body(b"abc")
            error = error_of(said)
            assert error is not None
            assert error[0] == "BAD_CHUNK"

    def test_the_end_before_the_first_byte_is_quiet(self) -> None:
        assert read_response(self.kind, [], eof=True) == ([CLOSED], False)
        assert read_response(self.kind, [b""], eof=True) == ([CLOSED], False)

    @pytest.mark.parametrize("data", [JSON, CHUNKED, b"HTTP/1.1 100 C\r\n\r\n" + JSON])
    def test_the_end_anywhere_else_is_an_error(self, data: bytes) -> None:
        for size in range(1, len(data)):
            for pieces in ([data[:size]], every_byte(data[:size])):
                said, reusable = read_response(self.kind, pieces, eof=True)
                error = error_of(said)
                assert error is not None
                assert (error[0], error[2]) == ("INCOMPLETE_MESSAGE", 502)
                assert messages(said) == []
                assert not reusable

    def test_the_end_after_the_response_leaves_nothing_to_reuse(self) -> None:
        said, reusable = read_response(self.kind, [JSON], eof=True)
        assert said[-2:] == [END, PAUSED]
        assert not reusable

    def test_nor_does_an_end_that_came_with_the_response(self) -> None:
        codec = self.codec()
        codec.receive_data(JSON)
        codec.receive_eof()
        while codec.next_event() != END:
            pass
        assert not codec.reusable

    def test_is_not_reusable_before_the_end(self) -> None:
        for data in (JSON, CHUNKED):
            codec = self.codec()
            codec.receive_data(data)
            while codec.next_event() != END:
                assert not codec.reusable
            assert codec.reusable

    @pytest.mark.parametrize(
        ("start", "connection", "kept"),
        [
            (b"HTTP/1.1", b"A: b", True),
            (b"HTTP/1.1", b"Connection: Keep-Alive", True),
            (b"HTTP/1.1", b"Connection: close", False),
            (b"HTTP/1.1", b"Connection: x\r\nConnection: y,Close", False),
            (b"HTTP/1.0", b"Connection: keep-alive", False),
        ],
    )
    def test_keeps_the_connection_or_not(self, start: bytes, connection: bytes, kept: bool) -> None:
        said, reusable = read_response(
            self.kind, [start + b" 200 OK\r\n" + connection + b"\r\nContent-Length: 1\r\n\r\nx"]
        )
        assert isinstance(head := said[0], ResponseHead)
        assert head.keep_alive is kept
        assert reusable is kept

    def test_an_error_stays(self) -> None:
        codec = self.codec()
        codec.receive_data(b"nonsense\r\n")
        for _ in range(3):
            with pytest.raises(ProtocolError, match="status line"):
                codec.next_event()
            codec.receive_data(JSON)
