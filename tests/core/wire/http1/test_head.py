"""The grammar of heads: the regex and the scanner agree, the scanner works in linear time, and both judge
single fields as h11 does, or more strictly.
"""

import string
from typing import Final

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stargate_core.wire.http1 import Limits, ProtocolError, Reason
from stargate_core.wire.http1.head import (
    METHODS,
    REQUEST_HEAD,
    RESPONSE_HEAD,
    HeadScan,
    check_field_line,
    disagree,
    read_request_line,
    split_plainly,
    target_is_plain,
    too_many_headers,
    too_many_interim,
)
from support.http1 import llhttp_messages
from support.http1_messages import requests, responses

LIMITS: Final = Limits()
REQUEST_LINE: Final = b"GET / HTTP/1.1\r\n"
STATUS_LINE: Final = b"HTTP/1.1 200 OK\r\n"


def scan(data: bytes, *, request: bool) -> tuple[tuple[bytes, ...], int] | None:
    """The start line's parts and where the head ends; None if it is refused or unfinished."""
    try:
        found = HeadScan(LIMITS, request=request).advance(data)
    except ProtocolError:
        return None
    return found and (found[0].groups(), found[1])


def tidied(data: bytes) -> bytes:
    """The head without blanks after values."""
    lines = data.split(b"\r\n")
    return b"\r\n".join([lines[0], *(line.rstrip(b" \t") for line in lines[1:])])


@given(requests())
def test_the_scanner_finds_fault_with_what_the_regex_refuses(data: bytes) -> None:
    found, match = scan(data, request=True), REQUEST_HEAD.match(data)
    if found is not None:
        tidy = REQUEST_HEAD.fullmatch(tidied(data[: found[1]]))
        assert tidy is not None
        assert tidy.groups() == found[0]
    if match is not None:
        # The methods, and the forms of targets that fit them, are the scanner's alone.
        usual = match[1] in METHODS and target_is_plain(match[1], match[2])
        assert not usual or found == (match.groups(), match.end())


@given(responses())
def test_it_does_so_with_responses(data: bytes) -> None:
    found, match = scan(data, request=False), RESPONSE_HEAD.match(data)
    if found is not None:
        tidy = RESPONSE_HEAD.fullmatch(tidied(data[: found[1]]))
        assert tidy is not None
        assert tidy.groups() == found[0]
    assert match is None or found == (match.groups(), match.end())


@pytest.mark.parametrize(
    ("line", "tidy"),
    [
        (b"A:b", True),
        (b"A:", True),
        (b"A: \tb c", True),
        (b"A: ", False),
        (b"A:b ", False),
        (b"A:b\t", False),
    ],
)
def test_blanks_after_a_value_are_left_to_the_scanner(line: bytes, tidy: bool) -> None:
    request, response = (start + line + b"\r\nC: d\r\n\r\n" for start in (REQUEST_LINE, STATUS_LINE))
    assert (REQUEST_HEAD.fullmatch(request) is not None) is tidy
    assert (RESPONSE_HEAD.fullmatch(response) is not None) is tidy
    assert scan(request, request=True) == ((b"GET", b"/", b"1"), len(request))
    assert scan(response, request=False) == ((b"1", b"200", b"OK"), len(response))


@given(st.binary(max_size=6), st.binary(max_size=6), st.sampled_from([b":", b": ", b" :", b""]))
@example(b"A", b"b\r\n c", b":")
@example(b"A", b"", b":")
def test_a_field_line_is_one_that_h11_and_llhttp_accept_too(name: bytes, value: bytes, colon: bytes) -> None:
    line = name + colon + value + b"\r\n"
    try:
        check_field_line(line)
    except ProtocolError:
        return
    head = b"GET / HTTP/1.1\r\nHost: h\r\n" + line + b"\r\n"
    if name.lower() not in (b"host", b"te"):
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(head)
        event = connection.next_event()
        assert isinstance(event, h11.Request)
        assert list(event.headers) == split_plainly(head)
        assert llhttp_messages(head, "requests")[0][2] == split_plainly(head)


def test_every_byte_of_a_target_is_one_that_h11_and_llhttp_accept_too() -> None:
    accepted = b""
    for byte in range(256):
        head = b"GET /%c HTTP/1.1\r\nHost: h\r\n\r\n" % byte
        if scan(head, request=True) is not None:
            accepted += b"%c" % byte
            connection = h11.Connection(h11.SERVER)
            connection.receive_data(head)
            assert isinstance(connection.next_event(), h11.Request)
            assert llhttp_messages(head, "requests")
    # RFC 3986's unreserved, sub-delims, and what pchar, path and query add; and square brackets.
    assert sorted(accepted) == sorted(string.ascii_letters.encode() + b"0123456789-._~!$&'()*+,;=:@/?%[]")


class CountingBuffer(bytearray):
    """A buffer that counts the bytes it is searched for."""

    searched = 0

    def find(self, *args: object) -> int:
        """As bytearray.find(sub, start), counted."""
        sub, start = args
        assert isinstance(sub, bytes)
        assert isinstance(start, int)
        found = super().find(sub, start)
        self.searched += (found if found >= 0 else len(self)) - start
        return found


@pytest.mark.parametrize("line", [b"A: " + b"a" * 60_000 + b"\r\n", b"A: b\r\n" * 120])
def test_bytes_that_come_one_by_one_are_looked_at_once(line: bytes) -> None:
    data = b"GET / HTTP/1.1\r\n" + line + b"\r\n"
    scanner = HeadScan(LIMITS, request=True)
    buffer = CountingBuffer()
    for byte in data[:-1]:
        buffer.append(byte)
        assert scanner.advance(buffer) is None
    buffer += data[-1:]
    found = scanner.advance(buffer)
    assert found is not None
    assert found[1] == len(data)
    assert buffer.searched <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16",
        b"\x00",
        b" ",
        b"PRI * HTTP/2.0\r\n",
        b"GET /\r\n",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r\nA: b\n",
        b"GET / HTTP/1.1\r\n \r\n",
        b"hello\r\n",
    ],
)
def test_says_no_as_soon_as_it_can(data: bytes) -> None:
    scanner = HeadScan(LIMITS, request=True)
    assert scanner.advance(b"") is None
    assert len(data) == 1 or scanner.advance(data[:-1]) is None
    with pytest.raises(ProtocolError):
        scanner.advance(data)


@given(requests(), st.binary(max_size=20))
def test_an_objection_outlives_any_more_bytes(data: bytes, more: bytes) -> None:
    def objection(data: bytes) -> str | None:
        try:
            HeadScan(LIMITS, request=True).advance(data)
        except ProtocolError as error:
            return repr(error)
        return None

    first = objection(data)
    assert first is None or objection(data + more) == first


def test_scans_a_head_that_moves_in_its_buffer() -> None:
    head = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    scanner = HeadScan(LIMITS, request=True)
    assert scanner.advance(b"before" + head[:20], 6) is None
    assert scanner.advance(head[:-1]) is None
    found = scanner.advance(b"other" + head + b"after", 5)
    assert found is not None
    assert found[1] == len(head)


def test_reads_the_request_line_of_a_refused_request() -> None:
    assert read_request_line(b"GET /x HTTP/1.1\r\nbad\x00") == (b"GET", b"/x")
    assert read_request_line(b"GET /x HTTP/1.1") is None
    assert read_request_line(b"GET /\x00 HTTP/1.1\r\n") is None


def objection(data: bytes, limits: Limits = LIMITS, *, request: bool = True) -> tuple[str, int]:
    """Why these bytes are no head, and with which status the sender is told."""
    with pytest.raises(ProtocolError) as caught:
        HeadScan(limits, request=request).advance(data)
    return caught.value.reason, caught.value.status


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"BREW / HTTP/1.1\r\n", (Reason.UNKNOWN_METHOD, 501)),
        (b"get / HTTP/1.1\r\n", (Reason.UNKNOWN_METHOD, 501)),
        (b"GET /\xc3\xa4 HTTP/1.1\r\n", (Reason.BAD_TARGET, 400)),
        (b"GET * HTTP/1.1\r\n", (Reason.BAD_TARGET, 400)),
        (b"GET h:80 HTTP/1.1\r\n", (Reason.BAD_TARGET, 400)),
        (b"CONNECT / HTTP/1.1\r\n", (Reason.BAD_TARGET, 400)),
        (b"PRI * HTTP/2.0\r\n", (Reason.HTTP2_PREFACE, 505)),
    ],
)
def test_request_lines_that_are_refused(line: bytes, told: tuple[str, int]) -> None:
    assert objection(line) == told


@pytest.mark.parametrize("line", [b"OPTIONS * HTTP/1.1\r\n", b"CONNECT h:80 HTTP/1.1\r\n"])
def test_each_odd_form_of_target_has_its_method(line: bytes) -> None:
    assert scan(line + b"\r\n", request=True) is not None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"HTTP/2 200 OK\r\n", Reason.UNSUPPORTED_VERSION),
        (b"HTTP/1.2 200 OK\r\n", Reason.UNSUPPORTED_VERSION),
        (b"HTTP/1.1 600 OK\r\n", Reason.BAD_STATUS_LINE),
        (b"ICY 200 OK\r\n", Reason.BAD_STATUS_LINE),
    ],
)
def test_status_lines_that_are_refused(line: bytes, reason: str) -> None:
    assert objection(line, request=False)[0] == reason


class TestBounds:
    LIMITS: Final = Limits(target_bytes_max=10, head_bytes_max=100, headers_max=2)

    def test_a_target_may_be_so_long(self) -> None:
        assert HeadScan(self.LIMITS, request=True).advance(b"GET /%s HTTP/1.1\r\n" % (b"a" * 9)) is None

    @pytest.mark.parametrize(
        "start",
        [
            b"GET /%s HTTP/1.1\r\n" % (b"a" * 10),  # known once the line is whole
            b"GET /" + b"a" * 30,  # known before it is
        ],
    )
    def test_a_longer_one_is_told_so(self, start: bytes) -> None:
        assert objection(start, self.LIMITS) == (Reason.TARGET_TOO_LONG, 414)

    @pytest.mark.parametrize("request_", [True, False])
    def test_a_head_has_a_bound(self, request_: bool) -> None:
        start = REQUEST_LINE if request_ else STATUS_LINE
        assert objection(start + b"A: " + b"a" * 100, self.LIMITS, request=request_) == (
            Reason.HEAD_TOO_LARGE,
            431,
        )

    def test_so_has_the_number_of_its_fields(self) -> None:
        scanner = HeadScan(self.LIMITS, request=True)
        assert scanner.advance(REQUEST_LINE + b"A: b\r\n" * 2 + b"\r\n") is not None
        assert objection(REQUEST_LINE + b"A: b\r\n" * 3, self.LIMITS) == (Reason.TOO_MANY_HEADERS, 431)


@pytest.mark.parametrize(
    ("made", "reason", "says"),
    [
        (disagree(), Reason.PARSERS_DISAGREE, "not acceptable"),
        (too_many_headers(Limits(headers_max=7)), Reason.TOO_MANY_HEADERS, "more than 7 header fields"),
        (too_many_interim(Limits(interim_max=7)), Reason.TOO_MANY_INTERIM, "more than 7 interim"),
    ],
)
def test_objections_that_parsers_raise_name_the_bound(made: ProtocolError, reason: str, says: str) -> None:
    assert made.reason == reason
    assert says in str(made)
