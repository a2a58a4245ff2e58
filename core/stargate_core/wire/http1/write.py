"""HTTP/1.1 messages as bytes: status lines, header blocks, chunks, whole responses and requests.

Writing is a join and one regex over the result. The regex makes injection impossible: every header must come
out as exactly one well-formed line, or ValueError is raised. That is a programming error, never a peer's,
since whatever comes from a peer has been through a parser of the same grammar.

The framing fields belong to the writer: a caller who passes Content-Length, Transfer-Encoding or Connection
gets ValueError, for two opinions about where a message ends are how responses are split. (A request may say
`connection`.)

Rules: RFC 9110 section 8.6 (no Content-Length with 204, none needed with 304), RFC 9112 section 6.1 (no
chunks for a 1.0 peer: its body ends with the connection), section 9.6 (say `connection: close` when that is
what comes).
"""

import re
from typing import Final

from stargate_core.wire.http1.events import Headers
from stargate_core.wire.http1.head import METHODS, TARGET

_CLOSE: Final = b"connection: close\r\n"
_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
CONTINUE_100: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"

_PHRASES: Final = {
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    204: b"No Content",
    301: b"Moved Permanently",
    302: b"Found",
    304: b"Not Modified",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    408: b"Request Timeout",
    409: b"Conflict",
    410: b"Gone",
    411: b"Length Required",
    413: b"Content Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    417: b"Expectation Failed",
    422: b"Unprocessable Content",
    424: b"Failed Dependency",
    426: b"Upgrade Required",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    499: b"Client Closed Request",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
    529: b"Overloaded",
}
# Written out, not taken from http.HTTPStatus: its phrases change between Python versions, and what we send
# must not.
_STATUS_LINES: Final = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES.get(status, b"")) for status in range(200, 600)
}
_USUALLY_BODILESS: Final = frozenset((b"GET", b"HEAD", b"DELETE"))
_BODILESS: Final = frozenset((204, 304))
_FIELD: Final = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]++: [\t\x20-\x7e\x80-\xff]*+\r\n"
_RESPONSE_FIELDS: Final = re.compile(
    rb"(?:(?!(?i:content-length|transfer-encoding|connection):)" + _FIELD + rb")*+"
)
_REQUEST_FIELDS: Final = re.compile(rb"(?:(?!(?i:content-length|transfer-encoding):)" + _FIELD + rb")*+")


def _block(headers: Headers, grammar: re.Pattern[bytes]) -> bytes:
    block = b"".join([b"%b: %b\r\n" % field for field in headers])
    # As many line ends as headers, and all of it lines: so no header holds a line end of its own.
    if block.count(b"\n") != len(headers) or grammar.fullmatch(block) is None:
        raise ValueError("a header is malformed, or is one that the writer itself sets")
    return block


def _status_line(status: int) -> bytes:
    line = _STATUS_LINES.get(status)
    if line is None:
        raise ValueError(f"no final response has status {status}")
    return line


def whole_response(status: int, headers: Headers, body: bytes, *, head_only: bool, close: bool) -> bytes:
    """A response with its body. `head_only`: it answers HEAD, so the length is told and the body isn't sent.

    Raises ValueError for a status outside 200-599, a malformed header, or a body with a status that has none.
    """
    ending = _CLOSE if close else b""
    if status in _BODILESS:
        if body:
            raise ValueError(f"a response with status {status} can't have a body")
        return b"%b%b%b\r\n" % (_status_line(status), _block(headers, _RESPONSE_FIELDS), ending)
    return b"%b%bcontent-length: %d\r\n%b\r\n%b" % (
        _status_line(status),
        _block(headers, _RESPONSE_FIELDS),
        len(body),
        ending,
        b"" if head_only else body,
    )


def streamed_head(status: int, headers: Headers, *, chunked: bool, close: bool) -> bytes:
    """The head of a response whose body comes in pieces: chunks, or else whatever comes until the connection
    ends.

    Raises ValueError for a status that can't have a body, or a malformed header.
    """
    if status in _BODILESS:
        raise ValueError(f"a response with status {status} can't have a body")
    return b"%b%b%b%b\r\n" % (
        _status_line(status),
        _block(headers, _RESPONSE_FIELDS),
        _CHUNKED if chunked else b"",
        _CLOSE if close else b"",
    )


def chunk(data: bytes) -> bytes:
    """`data` as one chunk; nothing for nothing, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def request(method: bytes, target: bytes, headers: Headers, body: bytes) -> bytes:
    """A whole request. Content-Length is added, except to a GET, HEAD or DELETE without a body.

    The caller gives the Host field. Raises ValueError for an unknown method, a malformed target or header.
    """
    if method not in METHODS:
        raise ValueError("the method is unknown")
    if TARGET.fullmatch(target) is None:
        raise ValueError("the target is malformed")
    head = b"%b %b HTTP/1.1\r\n%b" % (method, target, _block(headers, _REQUEST_FIELDS))
    if not body and method in _USUALLY_BODILESS:
        return head + b"\r\n"
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
