"""llhttp splits heads as h11 does, says no where it must, and carries nothing from one head to the next."""

from hypothesis import given

from stargate_core.wire.http1.head import REQUEST_HEAD, split_plainly
from stargate_core.wire.http1.llhttp import split_request, split_response, unpadded
from support.http1_messages import requests

HEAD = b"POST / HTTP/1.1\r\nHost: h\r\nCONTENT-length:3\r\nA: \t b  c \r\nA:\r\n\r\n"
HEADERS = [(b"host", b"h"), (b"content-length", b"3"), (b"a", b"b  c "), (b"a", b"")]


def test_splits_a_head() -> None:
    assert split_request(HEAD) == HEADERS
    assert split_response(HEAD.replace(b"POST / HTTP/1.1", b"HTTP/1.1 200 OK")) == HEADERS
    assert unpadded(HEADERS) == [*HEADERS[:2], (b"a", b"b  c"), (b"a", b"")]


@given(requests())
def test_splits_as_plain_python_does(data: bytes) -> None:
    match = REQUEST_HEAD.match(data)
    if match is not None:
        headers = split_request(match[0])
        assert headers is None or headers == split_plainly(match[0])


def test_a_proposed_upgrade_changes_nothing() -> None:
    assert split_request(b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n") == [
        (b"connection", b"upgrade"),
        (b"upgrade", b"h2c"),
    ]
    assert split_request(b"CONNECT h:1 HTTP/1.1\r\nA: b\r\n\r\n") == [(b"a", b"b")]


def test_says_no() -> None:
    assert split_request(b"GET / HTTP/1.1\r\nA : b\r\n\r\n") is None
    assert split_request(b"GET / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n") is None
    assert split_response(b"GET / HTTP/1.1\r\n\r\n") is None


def test_heads_do_not_see_each_other() -> None:
    # One parser for both would wait for the first head's body, or refuse to read on after its "close".
    closing = b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 3\r\n\r\n"
    assert split_request(closing) == split_request(closing)
