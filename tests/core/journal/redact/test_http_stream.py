"""Messages on a connection: found where the gateway's codecs find them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.journal.redact.http_stream import Field, Head, redact_stream
from stargate_core.wire.http1 import NEED_DATA, Limits, RequestBody, RequestHead, server_codec


class Upper:
    """Notes what it is shown, and gives bodies in capitals."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bytes, int]] = []

    def message(self, head: Head, body: bytes, end: int) -> bytes:
        self.seen.append((head.first.value, body, end))
        return body.upper()


def made(data: bytes, *, responses: bool = False) -> tuple[bytes, list[tuple[bytes, bytes, int]]]:
    upper = Upper()
    after = redact_stream(data, upper, responses=responses)
    assert len(after) == len(data)
    return after, upper.seen


GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"
PLAIN = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
CHUNKED = PLAIN.partition(b"2\r\n")[0] + b"2;x=y\r\nab\r\n1\r\nc\r\n0\r\nx: y\r\n\r\n"


def test_requests_behind_each_other() -> None:
    data = b"\r\n" + GET + POST + CHUNKED + GET
    after, seen = made(data)
    assert [body for _, body, _ in seen] == [b"", b"abc", b"abc", b""]
    assert after.count(b"ABC") == 1
    assert b"\r\nAB\r\n1\r\nC\r\n0\r\n" in after
    assert seen[-1][2] == len(data)


@pytest.mark.parametrize("size", range(1, len(CHUNKED)))
def test_cut_anywhere_it_is_read_as_far_as_it_goes(size: int) -> None:
    made(CHUNKED[:size])
    made(POST[:size])


@pytest.mark.parametrize(
    ("data", "bodies"),
    [
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nc",
            [b"ab", b"c"],
        ),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 X\r\n\r\nHTTP/1.1 304 X\r\ncontent-length: 5\r\n\r\n",
            [b"", b"", b""],
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", [b"until the end"]),
        (b"HTTP/1.1 200", [b""]),
    ],
)
def test_responses(data: bytes, bodies: list[bytes]) -> None:
    _, seen = made(data, responses=True)
    assert [body for _, body, _ in seen] == bodies


def test_what_is_no_http_is_blanked_but_for_control_characters() -> None:
    assert made(b"\x16what\r\nis this")[0] == b"\x16xxxx\r\nxxxxxxx"
    assert made(b"HTTP/2 200\r\n\r\n", responses=True)[0] == b"xxxxxxxxxx\r\n\r\n"
    two = b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\nwords"
    assert made(two)[0].endswith(b"\r\n\r\nxxxxx")


@given(st.binary(max_size=200), st.booleans())
def test_whatever_it_is_it_raises_nothing(data: bytes, responses: bool) -> None:
    made(data, responses=responses)
    made(POST + data, responses=responses)
    made(CHUNKED[:60] + data)


@given(st.lists(st.sampled_from([GET, POST, PLAIN]), max_size=4))
def test_it_finds_the_messages_that_the_codec_finds(messages: list[bytes]) -> None:
    data = b"".join(messages)
    codec = server_codec(Limits())
    codec.receive_data(data)
    found: list[bytes] = []
    while (event := codec.next_event()) is not NEED_DATA:
        if isinstance(event, RequestBody):
            found.append(event.data)
            codec.response(200, [], b"")
            codec.start_next_cycle()
        else:
            assert isinstance(event, RequestHead)
    assert [body for _, body, _ in made(data)[1]] == found


def test_a_heads_fields_are_found_by_their_names() -> None:
    lines = [Field(b"accept", b"Accept: ", b"a/b", b"\r\n"), Field(b"accept", b"accept:", b"c/d", b"\r\n")]
    head = Head(Field(b"", b"", b"GET / HTTP/1.1", b"\r\n"), lines, b"\r\n")
    assert head.values(b"accept") == [b"a/b", b"c/d"]
    assert (head.value(b"accept"), head.value(b"host")) == ("a/b", "")
    assert head.raw == b"GET / HTTP/1.1\r\nAccept: a/b\r\naccept:c/d\r\n\r\n"
