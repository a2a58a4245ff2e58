"""What headers mean: the same as to h11 and llhttp wherever the message is one that we accept."""

from typing import Final

import h11
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stargate_core.wire.http1 import DEFAULT_LIMITS, Headers, ProtocolError, RequestHead
from stargate_core.wire.http1.framing import CONTENT_LENGTH_DIGITS_MAX, request_head, response_head
from stargate_core.wire.http1.head import HeadScan, split_plainly
from support.http1_messages import FRAMINGS, ODD_FIELDS, PLAIN_FIELDS

HOST: Final = (b"host", b"h")


def head_of(*headers: tuple[bytes, bytes], method: bytes = b"POST", version: bytes = b"1.1") -> RequestHead:
    return request_head(method, b"/", version, [HOST, *headers], 100)


@given(st.lists(PLAIN_FIELDS | ODD_FIELDS | FRAMINGS, max_size=4), st.sampled_from([b"1.1", b"1.0"]))
def test_agrees_with_h11(lines: list[bytes], version: bytes) -> None:
    raw = b"\r\n".join((b"POST / HTTP/" + version, b"Host: h", *lines)) + b"\r\n\r\n"
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    try:
        found = HeadScan(DEFAULT_LIMITS, request=True).advance(raw)
        assume(found is not None and found[1] == len(raw))
        ours = request_head(b"POST", b"/", version, split_plainly(raw), 100)
    except ProtocolError:
        assume(False)
        raise
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    assert ours.expects_continue is connection.they_are_waiting_for_100_continue
    body = b"x" * (ours.content_length or 0)
    if ours.chunked:
        body = b"xxx"
        connection.receive_data(b"3\r\nxxx\r\n0\r\n\r\n")
    elif body:
        connection.receive_data(body)
    read = b""
    while isinstance(step := connection.next_event(), h11.Data):
        read += bytes(step.data)
    assert isinstance(step, h11.EndOfMessage)
    assert read == body
    assert connection.trailing_data == (b"", False)
    upgrades = connection.their_state not in (h11.DONE, h11.MUST_CLOSE)
    if not upgrades and (b"proxy-connection", b"close") not in ours.headers:
        assert ours.keep_alive is (connection.their_state is h11.DONE)


@pytest.mark.parametrize("digits", [b"0", b"007", b"9" * CONTENT_LENGTH_DIGITS_MAX])
def test_a_length_is_a_plain_number(digits: bytes) -> None:
    assert head_of((b"content-length", digits)).content_length == int(digits)
    assert response_head(200, b"", b"1.1", [(b"content-length", digits)]).content_length == int(digits)


@pytest.mark.parametrize(
    "digits", [b"", b"1" * (CONTENT_LENGTH_DIGITS_MAX + 1), b"\xb2", b"1 ", b"1\t", b"-0", b"1e3", b"1.0"]
)
def test_anything_else_is_none(digits: bytes) -> None:
    with pytest.raises(ProtocolError, match="not a number"):
        head_of((b"content-length", digits))
    with pytest.raises(ProtocolError, match="not a number"):
        response_head(304, b"", b"1.1", [(b"content-length", digits)])


def test_repeated_fields_are_lists_except_where_that_is_refused() -> None:
    head = head_of(
        (b"connection", b"x"), (b"connection", b"close"), (b"expect", b"y"), (b"expect", b"100-continue")
    )
    assert not head.keep_alive
    assert head.expects_continue
    assert head.headers.count((b"connection", b"x")) == 1
    for name in (b"host", b"content-length", b"transfer-encoding"):
        with pytest.raises(ProtocolError, match=f"more than one {name.decode()}"):
            head_of((name, b"1"), (name, b"1"))


@pytest.mark.parametrize(
    "value",
    [
        b"h",
        b"H.example:8080",
        b"127.0.0.1",
        b"[::1]:80",
        b"",
        b"xn--hst-sna.example",
        b"under_score",
        b"a" * 512,
    ],
)
def test_hosts(value: bytes) -> None:
    headers: Headers = [(b"host", value)]
    assert request_head(b"GET", b"/", b"1.1", headers, 0).headers == headers


@pytest.mark.parametrize(
    "value", [b"a b", b"a/b", b"u@h", b"a?b", b"a#b", b"h\xc3\xa4", b'"h"', b"a" * 513, b"<h>"]
)
def test_no_hosts(value: bytes) -> None:
    with pytest.raises(ProtocolError, match="not a host"):
        request_head(b"GET", b"/", b"1.0", [(b"host", value)], 0)


def test_a_response_that_has_no_body_ends_with_its_head() -> None:
    for status, headers in (
        (100, []),
        (103, [(b"content-length", b"0")]),
        (204, []),
        (204, [(b"content-length", b"0")]),
        (304, []),
        (304, [(b"content-length", b"7")]),
    ):
        assert response_head(status, b"", b"1.1", headers).content_length == 0
    assert response_head(200, b"", b"1.1", []).content_length is None


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity", b""])
def test_chunked_is_the_only_coding(coding: bytes) -> None:
    with pytest.raises(ProtocolError, match="only transfer coding") as caught:
        head_of((b"transfer-encoding", coding))
    assert caught.value.status == 501


def test_a_coding_needs_http_11_and_no_length_beside_it() -> None:
    coding = (b"transfer-encoding", b"Chunked")
    assert head_of(coding).chunked
    with pytest.raises(ProtocolError, match="has no transfer codings"):
        head_of(coding, version=b"1.0")
    with pytest.raises(ProtocolError, match="both"):
        head_of(coding, (b"content-length", b"3"))


def test_a_host_is_needed_since_http_11() -> None:
    assert request_head(b"GET", b"/", b"1.0", [], 0).headers == []
    with pytest.raises(ProtocolError, match="Host field is missing"):
        request_head(b"GET", b"/", b"1.1", [], 0)


@pytest.mark.parametrize("framing", [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")])
def test_connect_announces_no_body_and_keeps_no_connection(framing: tuple[bytes, bytes]) -> None:
    assert not head_of((b"content-length", b"0"), method=b"CONNECT").keep_alive
    with pytest.raises(ProtocolError, match="CONNECT can't have a body"):
        head_of(framing, method=b"CONNECT")


@pytest.mark.parametrize("status", [100, 204])
@pytest.mark.parametrize("framing", [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")])
def test_a_response_that_can_have_no_body_announces_none(status: int, framing: tuple[bytes, bytes]) -> None:
    with pytest.raises(ProtocolError, match=f"status {status} can't have a body"):
        response_head(status, b"", b"1.1", [framing])


def test_nobody_has_asked_for_another_protocol() -> None:
    with pytest.raises(ProtocolError, match="switched protocols"):
        response_head(101, b"", b"1.1", [(b"upgrade", b"h2c")])
