"""One GET over a connection of its own, read with the core's codec: for what the shell must fetch by itself.

The size of an answer is bounded, by what its head says and again while it is read. Of any status but 200 only
the head is read. Time is bounded by whoever asks.
"""

import ssl
from typing import ClassVar, Final

import anyio
import msgspec
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from stargate_core.secret import Private
from stargate_core.wire.http1 import (
    NEED_DATA,
    Body,
    ClientCodec,
    ClientEvent,
    EndOfMessage,
    Headers,
    ProtocolError,
    ResponseHead,
    client_codec,
)

_READ_BYTES: Final = 65_536


class CannotGet(Exception):
    """There is no answer that can be used; the text says why, without an address."""


class Got(Private, msgspec.Struct, frozen=True):
    """An answer. Of one whose status is not 200 the body is left out."""

    SHOWN: ClassVar[tuple[str, ...]] = ("status",)

    status: int
    headers: Headers
    body: bytes = b""

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, by its lower-case name."""
        return next((value for key, value in self.headers if key == name), None)


async def connect(host: str, port: int, tls: ssl.SSLContext | None, name: str) -> ByteStream:
    """A connection. name: whose certificate it must be, where `tls` is given. Raises CannotGet."""
    try:
        stream = await anyio.connect_tcp(host, port)
    except OSError:
        raise CannotGet("its server cannot be reached") from None
    if tls is None:
        return stream
    try:
        return await TLSStream.wrap(stream, hostname=name, ssl_context=tls, standard_compatible=False)
    except BaseException as error:
        await anyio.aclose_forcefully(stream)
        if isinstance(error, ssl.SSLCertVerificationError):
            raise CannotGet("its certificate is not trusted, or not its own") from None
        if isinstance(error, OSError | anyio.EndOfStream | anyio.BrokenResourceError):
            raise CannotGet("its server speaks no TLS that can be used") from None
        raise


async def get(stream: ByteStream, request: bytes, bytes_max: int) -> Got:
    """Send a request and read its answer; the connection is closed in any case. Raises CannotGet."""
    try:
        await stream.send(request)
        return await _read(stream, bytes_max)
    except ProtocolError:
        raise CannotGet("its server's answer is no HTTP, or is cut") from None
    except (OSError, anyio.BrokenResourceError):
        raise CannotGet("the connection to its server broke") from None
    finally:
        await anyio.aclose_forcefully(stream)


async def _read(stream: ByteStream, bytes_max: int) -> Got:
    codec = client_codec()
    head: ResponseHead | None = None
    pieces: list[bytes] = []
    size = 0
    while True:
        event = await _next(codec, stream)
        if isinstance(event, ResponseHead):
            head = event
            if head.status != 200:
                return Got(head.status, head.headers)
            size = 0
            told = Got(200, head.headers).header(b"content-length") or b"0"
            if int(told) > bytes_max:
                raise _too_large(bytes_max)
        elif isinstance(event, Body):
            size += len(event.data)
            if size > bytes_max:
                raise _too_large(bytes_max)
            pieces.append(event.data)
        elif isinstance(event, EndOfMessage) and head is not None:
            return Got(200, head.headers, b"".join(pieces))
        else:
            raise CannotGet("its server closed without an answer")


async def _next(codec: ClientCodec, stream: ByteStream) -> ClientEvent:
    """The codec's next event. Raises ProtocolError, and what the stream raises."""
    while (event := codec.next_event()) is NEED_DATA:
        try:
            codec.receive_data(await stream.receive(_READ_BYTES))
        except anyio.EndOfStream:
            codec.receive_eof()
    return event


def _too_large(bytes_max: int) -> CannotGet:
    return CannotGet(f"it is larger than {bytes_max} bytes")
