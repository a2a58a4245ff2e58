"""Both client codecs read the same response from any bytes however they are cut, refuse for the same reason,
agree whether the connection lives on, and accept nothing that plain h11 reads otherwise.
"""

from collections.abc import Iterator
from typing import Final

from fuzz.choices import every_byte, pieces
from fuzz.targets.http1_server import as_h11_shows_it
from stargate_core.wire.http1 import ResponseHead
from support.http1 import Transcript, error_of, h11_response, llhttp_messages, messages, read_response
from support.http1_refusals import RESPONSES

WORDS: Final = (
    *(b"\r\n", b"\r\n\r\n", b"\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200\r\n", b"HTTP/1.1 100 C\r\n\r\n"),
    *(
        b"Content-Length: ",
        b"Transfer-Encoding: chunked\r\n",
        b"0\r\n\r\n",
        b"1\r\nx\r\n",
        b"Connection: close\r\n",
    ),
    *(b"204", b"304", b"101", b"103", b"keep-alive", b"Upgrade: x\r\n", b" \t", b"\x00", b"\xff"),
)


def target(data: bytes) -> None:
    """Read the bytes as a response, in every way."""
    for eof in (True, False):
        said = read_response("fast", [data], eof=eof)
        assert read_response("reference", [data], eof=eof) == said, "the codecs differ"
        for cut in (pieces(data), every_byte(data)):
            assert read_response("fast", cut, eof=eof) == said, "the cut matters to the fast codec"
        assert read_response("reference", pieces(data), eof=eof) == said, "the cut matters to the reference"
        _judge(data, eof, said[0])


def _judge(data: bytes, eof: bool, said: Transcript) -> None:
    error = error_of(said)
    assert error is None or (error[0] != "PARSERS_DISAGREE" and error[1].isascii() and error[1].isprintable())
    for message in messages(said):
        assert h11_response(data, eof=eof) == [as_h11_shows_it(message)]
        head = next(step for step in said if isinstance(step, ResponseHead))
        if head.chunked or head.content_length is not None:  # httptools can't be told of the end.
            assert llhttp_messages(data, "response")[:1] == [message]


def seeds() -> Iterator[bytes]:
    """Good responses, and all that must be refused."""
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    yield b"HTTP/1.1 100 Continue\r\n\r\n" + chunked
    yield b"HTTP/1.0 200 OK\r\n\r\nuntil the end"
    yield b"HTTP/1.1 204 None\r\n\r\n"
    for data, _ in RESPONSES.values():
        yield data
