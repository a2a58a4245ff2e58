"""Messages that must be refused, and how: smuggling attempts, malformed lines, other protocols.

Bounds have tests of their own (support/http1_server_contract.py), except where a table is the plainer place.
"""

from typing import Final

Refusal = tuple[bytes, str, int]


def _with(
    *fields: bytes, start: bytes = b"POST / HTTP/1.1", host: bytes = b"Host: h", body: bytes = b""
) -> bytes:
    lines = (start, host, *fields) if host else (start, *fields)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _chunks(body: bytes) -> bytes:
    return _with(b"Transfer-Encoding: chunked", body=body)


_400: Final[dict[str, tuple[bytes, str]]] = {
    # Where does the body end?
    "two lengths that differ": (
        _with(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"),
        "REPEATED_CONTENT_LENGTH",
    ),
    "two equal lengths": (
        _with(b"Content-Length: 3", b"content-length: 3", body=b"abc"),
        "REPEATED_CONTENT_LENGTH",
    ),
    "a list of lengths": (_with(b"Content-Length: 3, 3", body=b"abc"), "BAD_CONTENT_LENGTH"),
    "a signed length": (_with(b"Content-Length: +3", body=b"abc"), "BAD_CONTENT_LENGTH"),
    "a negative length": (_with(b"Content-Length: -3", body=b"abc"), "BAD_CONTENT_LENGTH"),
    "a hexadecimal length": (_with(b"Content-Length: 0x3", body=b"abc"), "BAD_CONTENT_LENGTH"),
    "a length with an underscore": (_with(b"Content-Length: 1_0"), "BAD_CONTENT_LENGTH"),
    "a length in another script's digits": (_with(b"Content-Length: \xd9\xa3"), "BAD_CONTENT_LENGTH"),
    "an empty length": (_with(b"Content-Length:"), "BAD_CONTENT_LENGTH"),
    "a length of 19 digits": (
        _with(b"Content-Length: 0000000000000000003", body=b"abc"),
        "BAD_CONTENT_LENGTH",
    ),
    "length and chunks": (
        _with(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        "TWO_FRAMINGS",
    ),
    "chunks and length": (
        _with(b"Transfer-Encoding: chunked", b"Content-Length: 3", body=b"0\r\n\r\n"),
        "TWO_FRAMINGS",
    ),
    "length and a coding that is none": (
        _with(b"Content-Length: 3", b"Transfer-Encoding: identity", body=b"abc"),
        "TWO_FRAMINGS",
    ),
    "chunks on HTTP/1.0": (
        _with(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0", body=b"0\r\n\r\n"),
        "UNSUPPORTED_TRANSFER_CODING",
    ),
    "CONNECT with a body": (
        _with(b"Content-Length: 3", start=b"CONNECT h:443 HTTP/1.1", body=b"abc"),
        "UNEXPECTED_BODY",
    ),
    "CONNECT with chunks": (
        _with(b"Transfer-Encoding: chunked", start=b"CONNECT h:443 HTTP/1.1", body=b"0\r\n\r\n"),
        "UNEXPECTED_BODY",
    ),
    # Chunks.
    "a chunk extension": (_chunks(b"3;a=b\r\nabc\r\n0\r\n\r\n"), "BAD_CHUNK"),
    "an extension of the last chunk": (_chunks(b"0;a\r\n\r\n"), "BAD_CHUNK"),
    "a blank after the chunk size": (_chunks(b"3 \r\nabc\r\n0\r\n\r\n"), "BAD_CHUNK"),
    "a blank before the chunk size": (_chunks(b" 3\r\nabc\r\n0\r\n\r\n"), "BAD_CHUNK"),
    "a signed chunk size": (_chunks(b"+3\r\nabc\r\n0\r\n\r\n"), "BAD_CHUNK"),
    "a chunk size with 0x": (_chunks(b"0x3\r\nabc\r\n0\r\n\r\n"), "BAD_CHUNK"),
    "a chunk size with an underscore": (_chunks(b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n"), "BAD_CHUNK"),
    "no chunk size": (_chunks(b"\r\nabc\r\n0\r\n\r\n"), "BAD_CHUNK"),
    "a chunk size of 17 digits": (_chunks(b"00000000000000003\r\nabc\r\n0\r\n\r\n"), "BAD_CHUNK"),
    "a chunk size that wraps around 64 bits": (_chunks(b"10000000000000003\r\nabc\r\n"), "BAD_CHUNK"),
    "a bare LF after the chunk size": (_chunks(b"3\nabc\r\n0\r\n\r\n"), "BAD_CHUNK"),
    "a bare CR after the chunk size": (_chunks(b"3\rabc\r\n0\r\n\r\n"), "BAD_CHUNK"),
    "a bare LF after the data": (_chunks(b"3\r\nabc\n0\r\n\r\n"), "BAD_CHUNK"),
    "more data than announced": (_chunks(b"3\r\nabcd\r\n0\r\n\r\n"), "BAD_CHUNK"),
    "less data than announced": (_chunks(b"5\r\nabc\r\n0\r\n\r\n"), "BAD_CHUNK"),
    "a length among the trailers": (_chunks(b"0\r\nContent-Length: 3\r\n\r\n"), "BAD_TRAILER"),
    "a coding among the trailers": (_chunks(b"0\r\nTransfer-Encoding: chunked\r\n\r\n"), "BAD_TRAILER"),
    "a host among the trailers": (_chunks(b"0\r\nHost: evil\r\n\r\n"), "BAD_TRAILER"),
    "a trailer that is no field": (_chunks(b"0\r\nnonsense\r\n\r\n"), "BAD_TRAILER"),
    "a folded trailer": (_chunks(b"0\r\nA: b\r\n c\r\n\r\n"), "BAD_TRAILER"),
    "a trailer with a bare LF": (_chunks(b"0\r\nA: b\n\r\n"), "BAD_TRAILER"),
    "trailers that end in a bare LF": (_chunks(b"0\r\nA: b\r\n\n"), "BAD_TRAILER"),
    "a control byte in a trailer": (_chunks(b"0\r\nA: \x00\r\n\r\n"), "BAD_TRAILER"),
    # Lines.
    "bare LF everywhere": (b"GET / HTTP/1.1\nHost: h\n\n", "BARE_LINE_END"),
    "a bare LF after the request line": (b"GET / HTTP/1.1\nHost: h\r\n\r\n", "BARE_LINE_END"),
    "a bare LF after a header": (b"GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", "BARE_LINE_END"),
    "a bare LF as the empty line": (b"GET / HTTP/1.1\r\nHost: h\r\n\n", "BARE_LINE_END"),
    "a bare CR in a value": (_with(b"A: b\rContent-Length: 3"), "BARE_LINE_END"),
    "a bare CR before the line end": (_with(b"A: b\r"), "BARE_LINE_END"),
    "a bare CR in the request line": (b"GET /\r HTTP/1.1\r\nHost: h\r\n\r\n", "BARE_LINE_END"),
    "a folded header": (_with(b"A: b", b" c: d"), "OBSOLETE_FOLD"),
    "a header folded with a tab": (_with(b"A: b", b"\tc: d"), "OBSOLETE_FOLD"),
    "a fold before any header": (_with(start=b"GET / HTTP/1.1", host=b" Host: h"), "OBSOLETE_FOLD"),
    "a blank before the colon": (_with(b"Content-Length : 3", body=b"abc"), "BAD_HEADER"),
    "a tab before the colon": (_with(b"Content-Length\t: 3", body=b"abc"), "BAD_HEADER"),
    "a blank in a name": (_with(b"Content Length: 3"), "BAD_HEADER"),
    "no name": (_with(b": v"), "BAD_HEADER"),
    "no colon": (_with(b"nonsense"), "BAD_HEADER"),
    "a name that is no token": (_with(b"na(me): v"), "BAD_HEADER"),
    "a name beyond ASCII": (_with(b"n\xc3\xa4me: v"), "BAD_HEADER"),
    "NUL in a value": (_with(b"A: b\x00c"), "CONTROL_BYTE"),
    "NUL in a name": (_with(b"A\x00: b"), "CONTROL_BYTE"),
    "a control byte in a value": (_with(b"A: \x01"), "CONTROL_BYTE"),
    "a vertical tab in a value": (
        _with(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
        "CONTROL_BYTE",
    ),
    "a form feed in a value": (_with(b"A: b\x0c"), "CONTROL_BYTE"),
    "DEL in a value": (_with(b"A: \x7f"), "CONTROL_BYTE"),
    "a control byte in the target": (b"GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", "CONTROL_BYTE"),
    # Hosts.
    "no host": (_with(host=b""), "MISSING_HOST"),
    "two hosts": (_with(b"Host: other"), "REPEATED_HOST"),
    "two hosts on HTTP/1.0": (_with(b"Host: h", start=b"GET / HTTP/1.0"), "REPEATED_HOST"),
    "a host with a path": (_with(host=b"Host: h/x"), "BAD_HOST"),
    "a host with a user": (_with(host=b"Host: u@h"), "BAD_HOST"),
    "two hosts in one field": (_with(host=b"Host: a b"), "BAD_HOST"),
    "a host of 513 bytes": (_with(host=b"Host: " + b"h" * 513), "BAD_HOST"),
    # Request lines.
    "nothing but an empty line": (b"\r\n\r\n", "BAD_REQUEST_LINE"),
    "an empty line before the request": (b"\r\n" + _with(), "BAD_REQUEST_LINE"),
    "a blank before the method": (b" " + _with(), "BAD_REQUEST_LINE"),
    "two blanks before the target": (_with(start=b"GET  / HTTP/1.1"), "BAD_REQUEST_LINE"),
    "a tab before the version": (_with(start=b"GET /\tHTTP/1.1"), "BAD_REQUEST_LINE"),
    "a blank in the target": (_with(start=b"GET /a b HTTP/1.1"), "BAD_REQUEST_LINE"),
    "something after the version": (_with(start=b"GET / HTTP/1.1 x"), "BAD_REQUEST_LINE"),
    "a version of two digits": (_with(start=b"GET / HTTP/1.10"), "BAD_REQUEST_LINE"),
    "a version in lower case": (_with(start=b"GET / http/1.1"), "BAD_REQUEST_LINE"),
    "a sentence": (b"hello there, who is it?\r\n", "BAD_REQUEST_LINE"),
    "a byte beyond ASCII in the target": (_with(start=b"GET /\xc3\xa4 HTTP/1.1"), "BAD_TARGET"),
    "a fragment": (_with(start=b"GET /#x HTTP/1.1"), "BAD_TARGET"),
    "a backslash": (_with(start=b"GET /\\x HTTP/1.1"), "BAD_TARGET"),
    "a quote": (_with(start=b'GET /" HTTP/1.1'), "BAD_TARGET"),
    "a target without a slash": (_with(start=b"GET x HTTP/1.1"), "BAD_TARGET"),
    "asterisk-form for GET": (_with(start=b"GET * HTTP/1.1"), "BAD_TARGET"),
    "authority-form for GET": (_with(start=b"GET h:443 HTTP/1.1"), "BAD_TARGET"),
    "origin-form for CONNECT": (_with(start=b"CONNECT / HTTP/1.1"), "BAD_TARGET"),
    "absolute-form for CONNECT": (_with(start=b"CONNECT http://h/ HTTP/1.1"), "BAD_TARGET"),
    "absolute-form with a user": (_with(start=b"GET http://u@h/ HTTP/1.1"), "BAD_TARGET"),
    "absolute-form without a host": (_with(start=b"GET http:///x HTTP/1.1"), "BAD_TARGET"),
    "absolute-form of another scheme": (_with(start=b"GET ftp://h/ HTTP/1.1"), "BAD_TARGET"),
    # Other protocols.
    "a TLS handshake": (bytes.fromhex("16030100c8010000c40303") + b"\x00" * 40, "TLS_ON_PLAIN_PORT"),
}

REQUESTS: Final[dict[str, Refusal]] = {
    **{name: (data, reason, 400) for name, (data, reason) in _400.items()},
    "two codings": (
        _with(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        "UNSUPPORTED_TRANSFER_CODING",
        501,
    ),
    "compressed chunks": (_with(b"Transfer-Encoding: gzip, chunked"), "UNSUPPORTED_TRANSFER_CODING", 501),
    "chunks that are not the last coding": (
        _with(b"Transfer-Encoding: chunked, identity"),
        "UNSUPPORTED_TRANSFER_CODING",
        501,
    ),
    "a coding that looks like chunked": (
        _with(b"Transfer-Encoding: xchunked"),
        "UNSUPPORTED_TRANSFER_CODING",
        501,
    ),
    "chunked with a parameter": (
        _with(b"Transfer-Encoding: chunked;q=1"),
        "UNSUPPORTED_TRANSFER_CODING",
        501,
    ),
    "an empty coding": (_with(b"Transfer-Encoding:"), "UNSUPPORTED_TRANSFER_CODING", 501),
    "a method of WebDAV": (_with(start=b"PROPFIND / HTTP/1.1"), "UNKNOWN_METHOD", 501),
    "a method in lower case": (_with(start=b"post / HTTP/1.1"), "UNKNOWN_METHOD", 501),
    "HTTP/2 without negotiation": (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"),
        "HTTP2_PREFACE",
        505,
    ),
    "HTTP/0.9": (b"GET /\r\n", "UNSUPPORTED_VERSION", 505),
    "HTTP/1.2": (_with(start=b"GET / HTTP/1.2"), "UNSUPPORTED_VERSION", 505),
    "HTTP/3.0": (_with(start=b"GET / HTTP/3.0"), "UNSUPPORTED_VERSION", 505),
}


def _answer(*fields: bytes, start: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    return b"\r\n".join((start, *fields)) + b"\r\n\r\n" + body


RESPONSES: Final[dict[str, tuple[bytes, str]]] = {
    "two equal lengths": (_answer(b"Content-Length: 0", b"Content-Length: 0"), "REPEATED_CONTENT_LENGTH"),
    "a list of lengths": (_answer(b"Content-Length: 0, 0"), "BAD_CONTENT_LENGTH"),
    "a length of 19 digits": (_answer(b"Content-Length: 9999999999999999999"), "BAD_CONTENT_LENGTH"),
    "length and chunks": (_answer(b"Content-Length: 3", b"Transfer-Encoding: chunked"), "TWO_FRAMINGS"),
    "compressed chunks": (_answer(b"Transfer-Encoding: gzip, chunked"), "UNSUPPORTED_TRANSFER_CODING"),
    "chunks on HTTP/1.0": (
        _answer(b"Transfer-Encoding: chunked", start=b"HTTP/1.0 200 OK"),
        "UNSUPPORTED_TRANSFER_CODING",
    ),
    "a body with 204": (
        _answer(b"Content-Length: 3", start=b"HTTP/1.1 204 No", body=b"abc"),
        "UNEXPECTED_BODY",
    ),
    "chunks with 304": (_answer(b"Transfer-Encoding: chunked", start=b"HTTP/1.1 304 N"), "UNEXPECTED_BODY"),
    "a body with 100": (_answer(b"Content-Length: 3", start=b"HTTP/1.1 100 C"), "UNEXPECTED_BODY"),
    "chunks with 103": (_answer(b"Transfer-Encoding: chunked", start=b"HTTP/1.1 103 E"), "UNEXPECTED_BODY"),
    "a chunk extension": (_answer(b"Transfer-Encoding: chunked", body=b"3;a\r\nabc\r\n"), "BAD_CHUNK"),
    "a bad trailer": (_answer(b"Transfer-Encoding: chunked", body=b"0\r\nx\r\n\r\n"), "BAD_TRAILER"),
    "switched protocols": (_answer(start=b"HTTP/1.1 101 S"), "BAD_STATUS_LINE"),
    "a status of two digits": (_answer(start=b"HTTP/1.1 20 OK"), "BAD_STATUS_LINE"),
    "a status of four digits": (_answer(start=b"HTTP/1.1 2000 OK"), "BAD_STATUS_LINE"),
    "status 099": (_answer(start=b"HTTP/1.1 099 OK"), "BAD_STATUS_LINE"),
    "status 600": (_answer(start=b"HTTP/1.1 600 OK"), "BAD_STATUS_LINE"),
    "two blanks before the status": (_answer(start=b"HTTP/1.1  200 OK"), "BAD_STATUS_LINE"),
    "an empty line before the response": (b"\r\n" + _answer(), "BAD_STATUS_LINE"),
    "another protocol's greeting": (b"220 smtp.example ready\r\n", "BAD_STATUS_LINE"),
    "a TLS alert": (bytes.fromhex("15030300020228"), "BAD_STATUS_LINE"),
    "HTTP/2": (_answer(start=b"HTTP/2 200"), "UNSUPPORTED_VERSION"),
    "HTTP/1.2": (_answer(start=b"HTTP/1.2 200 OK"), "UNSUPPORTED_VERSION"),
    "a bare LF": (b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "BARE_LINE_END"),
    "a folded header": (_answer(b"A: b", b" c"), "OBSOLETE_FOLD"),
    "a control byte in the reason": (_answer(start=b"HTTP/1.1 200 \x01"), "CONTROL_BYTE"),
    "a bad name": (_answer(b"a b: c"), "BAD_HEADER"),
    "two hosts": (_answer(b"Host: a", b"Host: b"), "REPEATED_HOST"),
}
