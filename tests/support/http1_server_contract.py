"""What every `ServerCodec` must do, as tests to inherit: subclass `ServerContract` and say which codec it is.

Each case is read in three ways, as h11's own tests do it: whole, byte by byte, and with something after it.
"""

import pytest

from stargate_core.wire.http1 import (
    CLOSED,
    NEED_DATA,
    PAUSED,
    CodecKind,
    Limits,
    ProtocolError,
    RequestBody,
    RequestHead,
    ServerCodec,
    server_codec,
)
from support.http1 import cut, error_of, every_byte, messages, read_requests
from support.http1_refusals import REQUESTS

HOST = (b"host", b"h")
POST = b"POST /v1/x?y=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nab\r\n1\r\nc\r\n0\r\nX-Sum: 1\r\n\r\n"
)
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def request(*, head_bytes: int | None = None, target_bytes: int = 1, fields: int = 2, body: int = 0) -> bytes:
    """A good request with so much of everything; `head_bytes` takes one more field."""
    lines = [b"POST /%b HTTP/1.1" % (b"t" * (target_bytes - 1)), b"Host: h", b"Content-Length: %d" % body]
    lines += [b"F: x"] * (fields - 2)
    if head_bytes is not None:
        lines.append(b"P: ")
        lines[-1] += b"p" * (head_bytes - len(b"\r\n".join(lines)) - 4)
    return b"\r\n".join(lines) + b"\r\n\r\n" + b"b" * body


class ServerContract:
    """The contract; `kind` names the codec under test."""

    kind: CodecKind

    def codec(self, limits: Limits | None = None) -> ServerCodec:
        return server_codec(limits or Limits(), self.kind)

    # ------------------------------------------------------------ good requests

    @pytest.mark.parametrize(
        ("data", "head", "body"),
        [
            (
                POST,
                RequestHead(
                    b"POST", b"/v1/x?y=1", b"1.1", [HOST, (b"content-length", b"3")], True, False, 3, False
                ),
                b"abc",
            ),
            (
                CHUNKED,
                RequestHead(
                    b"POST",
                    b"/c",
                    b"1.1",
                    [HOST, (b"transfer-encoding", b"chunked")],
                    True,
                    False,
                    None,
                    True,
                ),
                b"abc",
            ),
            (GET, RequestHead(b"GET", b"/", b"1.1", [HOST], True, False, None, False), b""),
            (
                b"PUT / HTTP/1.1\r\nhOST:h\r\nA: \r\nB:\t b\tb \t\r\na: 2\r\nContent-Length: 00\r\n\r\n",
                RequestHead(
                    b"PUT",
                    b"/",
                    b"1.1",
                    [HOST, (b"a", b""), (b"b", b"b\tb"), (b"a", b"2"), (b"content-length", b"00")],
                    True,
                    False,
                    0,
                    False,
                ),
                b"",
            ),
        ],
    )
    def test_reads_a_request_in_three_ways(self, data: bytes, head: RequestHead, body: bytes) -> None:
        expected = [head, RequestBody(body)]
        assert read_requests(self.kind, [data]) == expected
        assert read_requests(self.kind, every_byte(data)) == expected
        assert read_requests(self.kind, [data + GET]) == expected + read_requests(self.kind, [GET])

    @pytest.mark.parametrize(
        "line",
        [
            b"OPTIONS * HTTP/1.1",
            b"OPTIONS /x HTTP/1.1",
            b"CONNECT h:443 HTTP/1.1",
            b"CONNECT [::1]:443 HTTP/1.1",
            b"GET http://h HTTP/1.1",
            b"GET HTTPS://h:8443/p?q HTTP/1.1",
            b"GET http://[::1]?q HTTP/1.1",
            b"GET //x HTTP/1.1",
            b"GET /a%2Fb:c;d=[e]?f={g}".replace(b"{g}", b"g") + b" HTTP/1.1",
        ],
    )
    def test_takes_every_form_of_target_for_its_methods(self, line: bytes) -> None:
        (message,) = messages(read_requests(self.kind, [line + b"\r\nHost: h\r\n\r\n"]))
        assert message[:2] == tuple(line.split(b" ")[:2])

    def test_host_may_be_missing_on_http_10_and_empty_on_any(self) -> None:
        assert messages(read_requests(self.kind, [b"GET / HTTP/1.0\r\n\r\n"]))
        assert messages(read_requests(self.kind, [b"GET / HTTP/1.1\r\nHost:\r\n\r\n"]))

    def test_body_and_end_are_one_event(self) -> None:
        codec = self.codec()
        codec.receive_data(POST)
        assert isinstance(codec.next_event(), RequestHead)
        assert codec.next_event() == RequestBody(b"abc")
        assert codec.next_event() is PAUSED
        assert codec.next_event() is PAUSED

    def test_says_when_a_client_waits_to_be_told_to_go_on(self) -> None:
        for fields, expects in (
            (b"Expect: 100-Continue\r\nContent-Length: 3", True),
            (b"Expect: 100-continue\r\nTransfer-Encoding: chunked", True),
            (b"Expect: 200-ok\r\nContent-Length: 3", False),
            (b"Expect: 100-continue\r\nContent-Length: 11", False),  # It would be invited only to be refused.
        ):
            codec = self.codec(Limits(body_bytes_max=10))
            codec.receive_data(b"POST / HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n\r\n")
            head = codec.next_event()
            assert isinstance(head, RequestHead)
            assert head.expects_continue is expects
        codec = self.codec()
        codec.receive_data(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        head = codec.next_event()
        assert isinstance(head, RequestHead)
        assert not head.expects_continue

    # ------------------------------------------------------------ refusals

    @pytest.mark.parametrize("name", REQUESTS)
    def test_refuses(self, name: str) -> None:
        data, reason, status = REQUESTS[name]
        said = read_requests(self.kind, [data])
        error = error_of(said)
        assert error is not None
        assert (error[0], error[2]) == (reason, status)
        assert messages(said) == []
        assert read_requests(self.kind, every_byte(data)) == said
        assert read_requests(self.kind, [data + b"\r\n\r\n" + GET]) == said

    def test_an_error_tells_the_path_and_nothing_else_of_the_peers(self) -> None:
        for data in (
            b"HEAD /secret HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\n",
            b"HEAD /secret HTTP/1.1\r\nHost: h\r\nContent-Length: secret\r\n\r\n",
            b"HEAD /secret HTTP/1.1\r\nHost: h\r\nsecret\r\n\r\n",
            b"HEAD /secret HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
        ):
            codec = self.codec(Limits(body_bytes_max=10))
            codec.receive_data(data)
            with pytest.raises(ProtocolError) as caught:
                for _ in range(3):
                    codec.next_event()
            assert (caught.value.method, caught.value.target) == (b"HEAD", b"/secret")
            assert "secret" not in str(caught.value)
            assert codec.response(400, [], b"no").endswith(b"\r\nconnection: close\r\n\r\n")

    def test_nothing_of_a_request_clings_to_the_next(self) -> None:
        head = b"HEAD /first HTTP/1.1\r\nHost: h\r\n\r\n"
        for second, target in (
            (b"nonsense\r\n", None),
            (b"GET /second HTTP/1.1\r\nnonsense\r\n", b"/second"),
        ):
            codec = self.codec()
            codec.receive_data(head + second)
            codec.next_event()
            codec.next_event()
            codec.response(200, [])
            codec.start_next_cycle()
            with pytest.raises(ProtocolError) as caught:
                codec.next_event()
            assert caught.value.target == target
            assert codec.response(400, [], b"why").endswith(b"\r\n\r\nwhy")

    def test_an_answer_before_a_later_request_is_whole_ends_the_connection_too(self) -> None:
        for more in (b"", GET[:5], POST[:-1]):
            codec = self.codec()
            codec.receive_data(GET)
            assert isinstance(codec.next_event(), RequestHead)
            assert isinstance(codec.next_event(), RequestBody)
            assert b"connection: close" not in codec.response(200, [])
            codec.start_next_cycle()
            codec.receive_data(more)
            codec.next_event()
            assert b"connection: close" in codec.response(408, [])
            assert not codec.keep_alive

    def test_an_error_stays(self) -> None:
        codec = self.codec()
        codec.receive_data(b"nonsense\r\n")
        for _ in range(3):
            with pytest.raises(ProtocolError, match="request line"):
                codec.next_event()
            codec.receive_data(GET)
        assert not codec.keep_alive
        assert not codec.has_partial_request
        with pytest.raises(RuntimeError):
            codec.start_next_cycle()

    # ------------------------------------------------------------ bounds

    def test_head_bytes(self) -> None:
        limits = Limits(head_bytes_max=200)
        for size, fine in ((200, True), (201, False)):
            data = request(head_bytes=size)
            assert data.index(b"\r\n\r\n") + 4 == size
            self._check(data, limits, fine=fine, reason="HEAD_TOO_LARGE", status=431)
        said = read_requests(self.kind, [b"GET / HTTP/1.1\r\nA: " + b"a" * 200], limits=limits)
        assert error_of(said) is not None  # No line end need come.

    def test_target_bytes(self) -> None:
        limits = Limits(target_bytes_max=50)
        for size, fine in ((50, True), (51, False)):
            self._check(request(target_bytes=size), limits, fine=fine, reason="TARGET_TOO_LONG", status=414)
        said = read_requests(self.kind, [b"GET /" + b"a" * 100], limits=limits)
        assert error_of(said) is not None

    def test_whichever_of_two_bounds_comes_first_counts(self) -> None:
        limits = Limits(head_bytes_max=50, target_bytes_max=100)
        data = request(target_bytes=200)
        self._check(data, limits, fine=False, reason="HEAD_TOO_LARGE", status=431)

    def test_headers(self) -> None:
        limits = Limits(headers_max=5)
        for number, fine in ((5, True), (6, False)):
            self._check(request(fields=number), limits, fine=fine, reason="TOO_MANY_HEADERS", status=431)

    @pytest.mark.parametrize("chunked", [False, True])
    def test_body_bytes(self, chunked: bool) -> None:
        limits = Limits(body_bytes_max=10)
        for size, fine in ((10, True), (11, False)):
            data = request(body=size)
            if chunked:
                head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                data = head + b"4\r\nbbbb\r\n%x\r\n" % (size - 4) + b"b" * (size - 4) + b"\r\n0\r\n\r\n"
            self._check(data, limits, fine=fine, reason="BODY_TOO_LARGE", status=413)

    def test_a_body_too_large_is_refused_before_it_comes_and_after_its_head(self) -> None:
        said = read_requests(self.kind, [request(body=11)[:-11]], limits=Limits(body_bytes_max=10))
        assert isinstance(said[0], RequestHead)
        assert error_of(said) is not None

    def test_trailers(self) -> None:
        head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        for size, fine in ((30, True), (31, False)):
            data = head + b"A: " + b"a" * (size - 7) + b"\r\n\r\n"
            limits = Limits(trailer_bytes_max=30)
            self._check(data, limits, fine=fine, reason="HEAD_TOO_LARGE", status=431)
        for number, fine in ((5, True), (6, False)):
            data = head + b"A: a\r\n" * number + b"\r\n"
            self._check(data, Limits(headers_max=5), fine=fine, reason="TOO_MANY_HEADERS", status=431)

    def _check(self, data: bytes, limits: Limits, *, fine: bool, reason: str, status: int) -> None:
        said = read_requests(self.kind, [data], limits=limits)
        assert read_requests(self.kind, every_byte(data), limits=limits) == said
        assert read_requests(self.kind, cut(data, range(7, 400, 7)), limits=limits) == said
        error = error_of(said)
        if fine:
            assert error is None
            assert len(messages(said)) == 1
        else:
            assert error is not None
            assert (error[0], error[2]) == (reason, status)

    # ------------------------------------------------------------ life cycle

    def test_pipelined_requests_are_read_one_after_another(self) -> None:
        codec = self.codec()
        codec.receive_data(POST + CHUNKED + GET)
        targets: list[bytes] = []
        for _ in range(3):
            head = codec.next_event()
            assert isinstance(head, RequestHead)
            assert isinstance(codec.next_event(), RequestBody)
            assert codec.next_event() is PAUSED
            assert not codec.has_partial_request
            targets.append(head.target)
            codec.response(200, [])
            codec.start_next_cycle()
        assert targets == [b"/v1/x?y=1", b"/c", b"/"]
        assert codec.next_event() is NEED_DATA

    @pytest.mark.parametrize("late", [False, True])
    def test_pipelined_bytes(self, late: bool) -> None:
        for extra, kept in ((64, True), (65, False)):
            codec = self.codec(Limits(pipelined_bytes_max=64))
            codec.receive_data(POST if late else POST + b"G" * extra)
            assert isinstance(codec.next_event(), RequestHead)
            assert isinstance(codec.next_event(), RequestBody)
            for byte in every_byte(b"G" * extra if late else b""):
                codec.receive_data(byte)
            assert codec.next_event() is PAUSED
            assert codec.keep_alive is kept
            assert (b"connection: close" not in codec.response(200, [])) is kept

    def test_partial_requests_are_told_from_none(self) -> None:
        for data in (POST, CHUNKED):
            codec = self.codec()
            for end, byte in enumerate(every_byte(data), 1):
                assert codec.next_event() is NEED_DATA
                assert codec.has_partial_request is (end > 1)
                codec.receive_data(byte)
                if isinstance(event := codec.next_event(), RequestBody):
                    break
                assert event is NEED_DATA or isinstance(event, RequestHead)
            assert not codec.has_partial_request
            codec.response(200, [])
            codec.start_next_cycle()
            assert not codec.has_partial_request

    def test_the_end_between_requests_is_quiet(self) -> None:
        assert read_requests(self.kind, [], eof=True) == [CLOSED]
        assert read_requests(self.kind, [POST], eof=True)[-1] is CLOSED

    @pytest.mark.parametrize("data", [POST, CHUNKED, GET])
    def test_the_end_inside_a_request_is_an_error_wherever_it_comes(self, data: bytes) -> None:
        for size in range(1, len(data)):
            for pieces in ([data[:size]], every_byte(data[:size])):
                error = error_of(read_requests(self.kind, pieces, eof=True))
                assert error is not None
                assert error[0] == "INCOMPLETE_MESSAGE"

    def test_the_next_cycle_waits_for_the_end_of_this_one(self) -> None:
        codec = self.codec()
        for size in (10, len(POST) - 1):
            codec.receive_data(POST[:size])
            codec.next_event()
            with pytest.raises(RuntimeError):
                codec.start_next_cycle()
            codec = self.codec()

    @pytest.mark.parametrize(
        ("head", "kept"),
        [
            (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", True),
            (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", True),
            (
                b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
                True,
            ),
            (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", False),
            (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: a\r\nConnection: b , CLOSE\r\n\r\n", False),
            (b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", False),
            (b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", False),
        ],
    )
    def test_keeps_the_connection_or_not(self, head: bytes, kept: bool) -> None:
        codec = self.codec()
        codec.receive_data(head + GET)
        event = codec.next_event()
        assert isinstance(event, RequestHead)
        assert event.keep_alive is kept
        assert isinstance(codec.next_event(), RequestBody)
        assert codec.keep_alive is kept
        assert (b"connection: close\r\n" not in codec.response(200, [])) is kept
        if kept:
            codec.start_next_cycle()
            assert isinstance(codec.next_event(), RequestHead)
        else:
            with pytest.raises(RuntimeError):
                codec.start_next_cycle()
            assert codec.next_event() is PAUSED
