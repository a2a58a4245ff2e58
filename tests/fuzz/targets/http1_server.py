"""Both server codecs read the same requests from any bytes however they are cut, refuse for the same reason,
and accept nothing that plain h11 and plain llhttp read otherwise or end elsewhere.
"""

from collections.abc import Iterator
from typing import Final

from fuzz.choices import every_byte, pieces
from support.http1 import (
    Message,
    Transcript,
    error_of,
    h11_requests,
    llhttp_messages,
    messages,
    read_requests,
)
from support.http1_refusals import REQUESTS

WORDS: Final = (
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n", b"Host: h\r\n"),
    *(b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"1\r\nx\r\n", b"Upgrade: x\r\n"),
    *(b"Connection: close\r\n", b"keep-alive", b"HTTP/1.0", b"CONNECT", b"OPTIONS * ", b"HEAD ", b" \t"),
    *(b"Expect: 100-continue\r\n", b"http://h/", b"[::1]:443", b"\x00", b"\xff", b"%2F"),
)


def target(data: bytes) -> None:
    """Read the bytes as requests, in every way."""
    said: Transcript = []
    for eof in (True, False):
        said = read_requests("fast", [data], eof=eof)
        assert read_requests("reference", [data], eof=eof) == said, "the codecs differ"
        for cut in (pieces(data), every_byte(data)):
            assert read_requests("fast", cut, eof=eof) == said, "the cut matters to the fast codec"
        assert read_requests("reference", pieces(data), eof=eof) == said, "the cut matters to the reference"
    error = error_of(said)
    assert error is None or (error[0] != "PARSERS_DISAGREE" and error[1].isascii() and error[1].isprintable())
    by_h11, by_llhttp = h11_requests(data), llhttp_messages(data, "requests")
    for number, message in enumerate(messages(said)):
        assert by_h11[number] == as_h11_shows_it(message)
        if any(name == b"upgrade" for name, _ in message[2]):
            break  # h11 waits for what we decide; httptools hides from llhttp that there is a body
        assert by_llhttp[number] == message


def as_h11_shows_it(message: Message) -> Message:
    """h11 writes transfer codings in lower case."""
    start, place, headers, body = message
    return start, place, [(n, v.lower() if n == b"transfer-encoding" else v) for n, v in headers], body


def seeds() -> Iterator[bytes]:
    """Good requests, and all that must be refused."""
    one = b"POST /v1/messages?x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
    yield one
    yield one + b"GET / HTTP/1.0\r\n\r\n"
    yield (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n" + one
    )
    for data, _, _ in REQUESTS.values():
        yield data
