"""One request on a connection in memory, and its answer as it comes.

Requests are written, and answers read, by the core's own HTTP codec, as towards an upstream. A connection
serves one call: making one costs a session, which is cheap, and then nobody has to know whether the last
answer was read to its end.

What belongs to a connection rather than to a request (framing, `connection`, `expect`) is not passed on: this
connection is another one. A caller with a method of its own invention is not refused here; the gateway has an
answer for that, in the words of the API that was called.

Leaving is `leave`, at any time: the call is cancelled at Bedrock, as with a client whose socket closes.
"""

import re
from typing import Final, Protocol

import anyio.lowlevel

from stargate.in_memory.channel import MemoryChannel
from stargate_core.wire.http1 import (
    CLOSED,
    NEED_DATA,
    Body,
    ClientEvent,
    EndOfMessage,
    Headers,
    ProtocolError,
    ResponseHead,
    client_codec,
    request,
)
from stargate_core.wire.http1.head import METHODS

HOST: Final = b"stargate"
OF_CONNECTIONS: Final = frozenset(
    (
        b"connection",
        b"content-length",
        b"expect",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Header fields of one connection (RFC 9110 section 7.6.1), and those that frame a message."""
_TOKEN: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_LINE_END: Final = re.compile(rb"[\r\n]")
_ONE_BYTE: Final = b"content-length: 1\r\n\r\n0"


class NotRunning(RuntimeError):
    """The gateway has not been entered yet, or has been left."""


class Cut(Exception):
    """The gateway ended the connection before its answer was whole, or before it began."""


class Callee(Protocol):
    """Whoever can be called: a gateway."""

    def connect(self, address: str = "embedded") -> MemoryChannel:
        """A new connection to it. address: who is calling, for the log. Raises NotRunning."""
        ...


def compose(method: bytes, target: bytes, headers: Headers, body: bytes) -> bytes:
    """The request as bytes. Raises ValueError for what can't be one: a malformed header, say."""
    if method in METHODS:
        return request(method, target, _own(headers), body)
    if _TOKEN.fullmatch(method) is None:
        raise ValueError("the method is malformed")
    return method + request(b"POST", target, _own(headers), body).removeprefix(b"POST")


def announce(method: bytes, target: bytes, headers: Headers, body_bytes: int) -> bytes:
    """The head alone of a request with a body of that length, too long to be worth sending."""
    return compose(method, target, headers, b"0").removesuffix(_ONE_BYTE) + (
        b"content-length: %d\r\n\r\n" % body_bytes
    )


def garbled(method: bytes, target: bytes, headers: Headers) -> bytes:
    """The head of a request that `compose` refuses: the gateway has an answer for that too, in the words of
    the API it was meant for. Line ends within a line are none any more, but stay as bad.
    """
    lines = [method + b" " + target + b" HTTP/1.1", *(name + b": " + value for name, value in _own(headers))]
    return b"".join(_LINE_END.sub(b"\0", line) + b"\r\n" for line in (*lines, b""))


def _own(headers: Headers) -> Headers:
    """The headers that are passed on."""
    lowered = [(name.lower(), value) for name, value in headers]
    own = [(name, value) for name, value in lowered if name not in OF_CONNECTIONS]
    return own if any(name == b"host" for name, _ in own) else [(b"host", HOST), *own]


class Answer:
    """An answer whose head has come. To be left, or read to its end."""

    def __init__(self, channel: MemoryChannel, *, bodiless: bool = False) -> None:
        self.status = 0
        self.headers: Headers = []
        self._channel = channel
        self._bodiless = bodiless
        self._codec = client_codec()
        self._ended = False

    async def begin(self) -> None:
        """Wait for the head. Raises Cut."""
        head = await self._next()
        assert isinstance(head, ResponseHead)
        self.status, self.headers = head.status, head.headers
        if self._bodiless:
            self._end()

    async def receive(self) -> bytes:
        """More of the body; nothing at its end, and ever after. Raises Cut."""
        if self._ended:
            return b""
        try:
            event = await self._next()
        except BaseException:
            self.leave()
            raise
        if isinstance(event, Body):
            return event.data
        assert isinstance(event, EndOfMessage)
        self._end()
        return b""

    async def read(self) -> bytes:
        """All of the body that is still to come. Raises Cut."""
        pieces: list[bytes] = []
        while piece := await self.receive():
            pieces.append(piece)
        return b"".join(pieces)

    def leave(self) -> None:
        """Nothing more of it is wanted. May be said again."""
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._channel.leave()

    async def _next(self) -> ClientEvent:
        try:
            while (event := self._codec.next_event()) is NEED_DATA:
                data = await self._channel.receive()
                if data:
                    self._codec.receive_data(data)
                else:
                    self._codec.receive_eof()
        except (ConnectionResetError, ProtocolError) as error:
            raise Cut("the gateway ended before its answer did") from error
        if event is CLOSED:
            raise Cut("the gateway takes no more calls")
        return event


async def call(callee: Callee, data: bytes, *, address: str = "embedded", bodiless: bool = False) -> Answer:
    """Make a composed request, and wait for the head of its answer. Raises NotRunning and Cut.

    bodiless: it is a HEAD. Cancelled, it cancels the call.
    """
    channel = callee.connect(address)
    answer = Answer(channel, bodiless=bodiless)
    try:
        channel.send(data)
        if channel.has_news:
            await (
                anyio.lowlevel.checkpoint()
            )  # It was answered at once; others must have their turn all the same.
        await answer.begin()
    except BaseException:
        channel.leave()
        raise
    return answer
