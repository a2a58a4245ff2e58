"""What is written is what h11 reads, byte for byte of meaning; and nothing can be smuggled into it."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.wire.http1 import Headers, request
from stargate_core.wire.http1.head import METHODS
from stargate_core.wire.http1.write import CONTINUE_100, LAST_CHUNK, chunk, streamed_head, whole_response

TOKEN = st.text("abcxyz-_.!09", min_size=1, max_size=8).map(str.encode)
VALUE = st.text("abc ,;=/\t\xe9\xff", max_size=12).map(lambda text: text.strip(" \t").encode("latin-1"))
HEADERS = st.lists(st.tuples(TOKEN, VALUE), max_size=5)
OURS = {b"content-length", b"transfer-encoding", b"connection"}


def read_response(
    wire: bytes, method: bytes = b"GET", *, eof: bool = False
) -> tuple[h11.Response, bytes, bool]:
    """h11's reading: head, body, and whether the connection lives on."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(wire)
    if eof:
        connection.receive_data(b"")
    head = connection.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert eof or connection.trailing_data == (b"", False)
    return head, body, connection.their_state is h11.DONE


def others(headers: "h11._headers.Headers") -> Headers:
    return [(name, value) for name, value in headers if name not in OURS]


@given(st.integers(200, 599), HEADERS, st.binary(max_size=30), st.booleans(), st.booleans())
def test_h11_reads_whole_responses(
    status: int, headers: Headers, body: bytes, head_only: bool, close: bool
) -> None:
    if status in (204, 304):
        body = b""
    wire = whole_response(status, headers, body, head_only=head_only, close=close)
    head, read, lives = read_response(wire, b"HEAD" if head_only else b"GET")
    assert head.status_code == status
    assert others(head.headers) == [(name.lower(), value) for name, value in headers]
    assert read == (b"" if head_only else body)
    assert lives is not close
    lengths = [value for name, value in head.headers if name == b"content-length"]
    assert lengths == ([] if status in (204, 304) else [b"%d" % len(body)])


@given(HEADERS, st.lists(st.binary(max_size=20), max_size=5), st.booleans())
def test_h11_reads_chunks(headers: Headers, pieces: list[bytes], close: bool) -> None:
    wire = streamed_head(200, headers, chunked=True, close=close)
    wire += b"".join(chunk(piece) for piece in pieces) + LAST_CHUNK
    head, body, lives = read_response(wire)
    assert others(head.headers) == [(name.lower(), value) for name, value in headers]
    assert body == b"".join(pieces)
    assert lives is not close


def test_h11_reads_a_body_that_ends_with_the_connection() -> None:
    wire = streamed_head(200, [], chunked=False, close=True) + b"abc"
    _, body, lives = read_response(wire, eof=True)
    assert body == b"abc"
    assert not lives


@given(st.sampled_from(sorted(METHODS - {b"CONNECT", b"OPTIONS"})), HEADERS, st.binary(max_size=30))
def test_h11_reads_requests(method: bytes, headers: Headers, body: bytes) -> None:
    headers = [(b"Host", b"h"), *headers]
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(request(method, b"/model/a%3A0/converse?x", headers, body))
    head = connection.next_event()
    assert isinstance(head, h11.Request)
    assert (head.method, head.target, head.http_version) == (method, b"/model/a%3A0/converse?x", b"1.1")
    assert others(head.headers) == [(name.lower(), value) for name, value in headers]
    read = b""
    while isinstance(event := connection.next_event(), h11.Data):
        read += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert read == body
    told = any(name == b"content-length" for name, _ in head.headers)
    assert told is (bool(body) or method not in (b"GET", b"HEAD", b"DELETE"))


def test_h11_reads_the_interim_response() -> None:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
    connection.receive_data(CONTINUE_100)
    event = connection.next_event()
    assert isinstance(event, h11.InformationalResponse)
    assert event.status_code == 100


INJECTIONS = [
    (b"a", b"b\r\nc: d"),
    (b"a", b"b\nc: d"),
    (b"a", b"b\rc"),
    (b"a", b"b\r\n\r\nbody"),
    (b"a", b"b\x00"),
    (b"a", b"b\x7f"),
    (b"a\r\nb", b"c"),
    (b"a: b\r\nc", b"d"),
    (b"a b", b"c"),
    (b"a:", b"b"),
    (b"", b"a"),
    (b"\xe9", b"a"),
    (b"content-length", b"3"),
    (b"Content-Length", b"3"),
    (b"TRANSFER-ENCODING", b"chunked"),
]


@pytest.mark.parametrize("header", [*INJECTIONS, (b"connection", b"close")])
@pytest.mark.parametrize("before", [[], [(b"x", b"y")]])
def test_no_header_can_be_more_or_other_than_one_header(header: tuple[bytes, bytes], before: Headers) -> None:
    with pytest.raises(ValueError, match="header"):
        whole_response(200, [*before, header], b"", head_only=False, close=False)
    with pytest.raises(ValueError, match="header"):
        streamed_head(200, [*before, header], chunked=True, close=False)


@pytest.mark.parametrize("header", INJECTIONS)
def test_nor_in_a_request(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="header"):
        request(b"POST", b"/", [(b"host", b"h"), header], b"")


@pytest.mark.parametrize(
    "target", [b"", b"/ HTTP/1.1\r\nx: y", b"/a b", b"/\x00", b"/\xe9", b"/#f", b"/\r\n"]
)
def test_nor_can_a_target_be_more_than_one(target: bytes) -> None:
    with pytest.raises(ValueError, match="target"):
        request(b"POST", target, [(b"host", b"h")], b"")


@pytest.mark.parametrize("method", [b"", b"get", b"GET /x HTTP/1.1\r\nA:", b"BREW"])
def test_nor_a_method(method: bytes) -> None:
    with pytest.raises(ValueError, match="method"):
        request(method, b"/", [(b"host", b"h")], b"")


@pytest.mark.parametrize("status", [0, 100, 101, 199, 600, 1000, -200])
def test_a_response_has_a_final_status(status: int) -> None:
    with pytest.raises(ValueError, match="status"):
        whole_response(status, [], b"", head_only=False, close=False)
    with pytest.raises(ValueError, match="status"):
        streamed_head(status, [], chunked=True, close=False)


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_gets_none(status: int) -> None:
    with pytest.raises(ValueError, match="body"):
        whole_response(status, [], b"x", head_only=False, close=False)
    with pytest.raises(ValueError, match="body"):
        streamed_head(status, [], chunked=True, close=False)
    wire = whole_response(status, [(b"a", b"b")], b"", head_only=False, close=False)
    head, body, lives = read_response(wire)
    assert (head.status_code, list(head.headers), body, lives) == (status, [(b"a", b"b")], b"", True)
