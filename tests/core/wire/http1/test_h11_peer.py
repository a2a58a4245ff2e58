"""What the reference codecs ask h11: it confirms what it reads alike, and nothing else."""

import pytest

from stargate_core.wire.http1 import ProtocolError, RequestHead, ResponseHead
from stargate_core.wire.http1.h11_peer import H11Peer

REQUEST = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
HEADERS = [(b"host", b"h"), (b"transfer-encoding", b"Chunked")]
RESPONSE = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"


def request_head(
    method: bytes = b"POST",
    target: bytes = b"/x",
    version: bytes = b"1.1",
    headers: list[tuple[bytes, bytes]] = HEADERS,
) -> RequestHead:
    return RequestHead(method, target, version, headers, True, False, None, True)


def response_head(
    status: int = 200,
    reason: bytes = b"OK",
    version: bytes = b"1.1",
    headers: tuple[tuple[bytes, bytes], ...] = ((b"a", b"b"),),
) -> ResponseHead:
    return ResponseHead(status, reason, version, list(headers), True, None, False)


def test_confirms_what_it_reads_alike() -> None:
    H11Peer(request=True).confirm_request(REQUEST, request_head())
    H11Peer(request=False).confirm_response(RESPONSE, response_head())


@pytest.mark.parametrize(
    "head",
    [
        request_head(method=b"GET"),
        request_head(target=b"/"),
        request_head(version=b"1.0"),
        request_head(headers=HEADERS[:1]),
        request_head(headers=[*HEADERS, (b"a", b"b")]),
    ],
)
def test_refuses_another_reading_of_a_request(head: RequestHead) -> None:
    with pytest.raises(ProtocolError, match="not acceptable"):
        H11Peer(request=True).confirm_request(REQUEST, head)


@pytest.mark.parametrize(
    "head",
    [
        response_head(status=201),
        response_head(reason=b""),
        response_head(version=b"1.0"),
        response_head(headers=()),
    ],
)
def test_refuses_another_reading_of_a_response(head: ResponseHead) -> None:
    with pytest.raises(ProtocolError, match="not acceptable"):
        H11Peer(request=False).confirm_response(RESPONSE, head)


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", REQUEST[:-2], b"HTTP/1.1 099 No\r\n\r\n"])
def test_refuses_what_h11_refuses_or_finds_unfinished(raw: bytes) -> None:
    with pytest.raises(ProtocolError, match="not acceptable"):
        H11Peer(request=True).confirm_request(raw, request_head())
    with pytest.raises(ProtocolError, match="not acceptable"):
        H11Peer(request=False).confirm_response(raw, response_head())


def test_confirms_a_body_piece_by_piece() -> None:
    peer = H11Peer(request=True)
    peer.confirm_request(REQUEST, request_head())
    assert peer.body(b"3\r\na", b"a", ended=False) == b"a"
    assert peer.body(b"bc\r\n0\r\n\r\n", b"bc", ended=True) == b"bc"


@pytest.mark.parametrize(
    ("raw", "decoded", "ended"),
    [
        (b"3\r\nabc\r\n", b"ab", False),
        (b"3\r\nabc\r\n", b"abc", True),
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc", False),
        (b"x\r\n", b"", False),
    ],
)
def test_refuses_another_reading_of_a_body(raw: bytes, decoded: bytes, ended: bool) -> None:
    peer = H11Peer(request=True)
    peer.confirm_request(REQUEST, request_head())
    with pytest.raises(ProtocolError, match="not acceptable"):
        peer.body(raw, decoded, ended=ended)


def test_confirms_that_the_connections_end_is_the_messages() -> None:
    peer = H11Peer(request=False)
    peer.confirm_response(RESPONSE, response_head())
    assert peer.body(b"abc", b"abc", ended=False) == b"abc"
    peer.end()
    cut = H11Peer(request=False)
    cut.confirm_response(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", response_head(headers=((b"content-length", b"3"),))
    )
    with pytest.raises(ProtocolError, match="not acceptable"):
        cut.end()
    over = H11Peer(request=False)
    over.confirm_response(
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", response_head(headers=((b"content-length", b"0"),))
    )
    over.body(b"", b"", ended=True)
    with pytest.raises(ProtocolError, match="not acceptable"):
        over.end()
