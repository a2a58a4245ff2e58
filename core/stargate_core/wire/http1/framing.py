"""What the headers of an acceptable head mean: where the body ends, and whether the connection lives on.

Both codecs decide here, so they can't differ on the one question that request smuggling is made of. The
rules, again the stricter of what h11 and llhttp do:

- Content-Length is one field of 1 to 18 digits. Two of them are refused, even equal ones (RFC 9112 section
  6.3 allows either; llhttp refuses, h11 merges), and so is a list, even of equals (h11 takes it).
- Transfer-Encoding is one field that says `chunked` and nothing else, on 1.1 only, never beside
  Content-Length (RFC 9112 section 6.1 lets a recipient sort these out, and warns of it). Another coding is
  501.
- A request has exactly one Host on 1.1 and at most one on 1.0 (section 3.2), and it looks like a host.
- CONNECT may announce no body: llhttp takes what follows as tunnelled bytes, h11 as the body. It never keeps
  the connection, because a client that counts on a tunnel would speak something else on it.
- A response that can't have a body (1xx, 204) may not announce one; 304 may announce and never has one. 101
  is refused because nothing here asks for an upgrade.
- `Connection: close` in any of its fields ends the connection after this message; so does the same in
  Proxy-Connection, which nobody should send (llhttp obeys it, h11 doesn't know it), and so does HTTP/1.0:
  keep-alive on 1.0 was an extension that never worked across proxies (h11 has none either).
- Upgrade is ignored, as RFC 9110 section 7.8 allows: `curl --http2` sends it with every plain request.
- Expect: 100-continue counts on 1.1 only (RFC 9110 section 10.1.1); other expectations are ignored.
"""

import functools
import re
from typing import Final

from stargate_core.wire.http1.events import Headers, ProtocolError, Reason, RequestHead, ResponseHead

CONTENT_LENGTH_DIGITS_MAX: Final = 18
"""Below 2**63 whatever the digits; h11 takes 20, llhttp anything below 2**64."""

_HOST: Final = re.compile(rb"[-0-9A-Za-z._~!$&'()*+,;=%:\[\]]*+")
_HOST_BYTES_MAX: Final = 512
"""DNS names have at most 255 bytes; bounds what the cache of hosts can hold."""
_SINGLE: Final = {
    b"content-length": Reason.REPEATED_CONTENT_LENGTH,
    b"transfer-encoding": Reason.UNSUPPORTED_TRANSFER_CODING,
    b"host": Reason.REPEATED_HOST,
}
FRAMING_NAMES: Final = frozenset(_SINGLE)
"""Names that must not be repeated, and must not stand in trailers at all."""


def _merged(headers: Headers) -> dict[bytes, bytes]:
    """One value a name; repeated fields are joined as lists, except where repetition is refused."""
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        if name not in fields:
            fields[name] = value
        elif name in _SINGLE:
            status = 501 if name == b"transfer-encoding" else 400
            raise ProtocolError(_SINGLE[name], f"there is more than one {name.decode()} field", status)
        else:
            fields[name] += b"," + value
    return fields


def _asks_to_close(fields: dict[bytes, bytes]) -> bool:
    connection = fields.get(b"connection")
    if connection is not None and connection != b"keep-alive" and _has_token(connection, b"close"):
        return True
    connection = fields.get(b"proxy-connection")
    return connection is not None and _has_token(connection, b"close")


def _has_token(value: bytes, token: bytes) -> bool:
    """Whether a comma-separated list holds the token (given in lower case)."""
    return any(part.strip(b" \t") == token for part in value.lower().split(b","))


def _content_length(value: bytes) -> int:
    if not value.isdigit() or len(value) > CONTENT_LENGTH_DIGITS_MAX:
        raise ProtocolError(Reason.BAD_CONTENT_LENGTH, "Content-Length is not a number of bytes")
    return int(value)


def _framing(headers: Headers, version: bytes) -> tuple[dict[bytes, bytes], int | None, bool]:
    """The fields by name, the length of the body where it is said, and whether it is chunked instead."""
    fields = dict(headers)
    if len(fields) != len(headers):
        fields = _merged(headers)
    coding = fields.get(b"transfer-encoding")
    length = fields.get(b"content-length")
    if coding is None:
        return fields, None if length is None else _content_length(length), False
    if length is not None:
        raise ProtocolError(Reason.TWO_FRAMINGS, "both Content-Length and Transfer-Encoding are given")
    if coding.lower() != b"chunked":
        raise ProtocolError(
            Reason.UNSUPPORTED_TRANSFER_CODING, "the only transfer coding understood is chunked", 501
        )
    if version != b"1.1":
        raise ProtocolError(Reason.UNSUPPORTED_TRANSFER_CODING, "HTTP/1.0 has no transfer codings")
    return fields, None, True


@functools.lru_cache(maxsize=256)
def _is_host(host: bytes) -> bool:
    # Cached, because every request on a gateway names one of a few hosts.
    return _HOST.fullmatch(host) is not None


def request_head(
    method: bytes, target: bytes, version: bytes, headers: Headers, body_bytes_max: int
) -> RequestHead:
    """The event for a request whose grammar was found good.

    A Content-Length beyond the bound is no error here, for the caller should see the head before the refusal;
    but such a body isn't invited. Raises ProtocolError when the headers don't say clearly where the request
    ends.
    """
    fields, content_length, chunked = _framing(headers, version)
    host = fields.get(b"host")
    if host is None:
        if version == b"1.1":
            raise ProtocolError(Reason.MISSING_HOST, "the Host field is missing")
    elif len(host) > _HOST_BYTES_MAX or not _is_host(host):
        raise ProtocolError(Reason.BAD_HOST, "the Host field is not a host")
    if method == b"CONNECT" and (chunked or content_length):
        raise ProtocolError(Reason.UNEXPECTED_BODY, "CONNECT can't have a body")
    is_11 = version == b"1.1"
    keep_alive = is_11 and method != b"CONNECT" and not _asks_to_close(fields)
    expect = fields.get(b"expect")
    expects = (
        expect is not None
        and is_11
        and _has_token(expect, b"100-continue")
        and (content_length is None or content_length <= body_bytes_max)
    )
    return RequestHead(method, target, version, headers, keep_alive, expects, content_length, chunked)


def response_head(status: int, reason: bytes, version: bytes, headers: Headers) -> ResponseHead:
    """The event for a response whose grammar was found good; `content_length` is 0 where no body can be.

    Raises ProtocolError when the headers don't say clearly where the response ends.
    """
    fields, content_length, chunked = _framing(headers, version)
    if status < 200 or status == 204 or status == 304:
        if status == 101:
            raise ProtocolError(
                Reason.BAD_STATUS_LINE, "the upstream switched protocols, which nobody asked for"
            )
        if chunked or (content_length and status != 304):
            raise ProtocolError(Reason.UNEXPECTED_BODY, f"a response with status {status} can't have a body")
        content_length = 0
    keep_alive = version == b"1.1" and not _asks_to_close(fields)
    return ResponseHead(status, reason, version, headers, keep_alive, content_length, chunked)
