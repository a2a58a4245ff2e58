"""One connection to the admin listener, without I/O: bytes in, requests out, and answers as bytes.

The core's codec reads and writes HTTP/1.1. What is added here is an order of events: a request's head is
judged before a byte of its body is waited for, so nobody who may not ask can have memory for a body; only
then a client that waits for it is told to go on.

A request that is refused by its head, or is no HTTP, is answered and ends the connection: what follows it
cannot be told from its body. The answer to anything else leaves the connection open for the next request, if
the client wants that.
"""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from stargate.admin.messages import Refused, Reply, Request, Streamed, problem, request_of
from stargate_core.wire.http1 import (
    CLOSED,
    NEED_DATA,
    Limits,
    ProtocolError,
    RequestBody,
    RequestHead,
    server_codec,
)

Judge: TypeAlias = Callable[[RequestHead], Reply | None]
"""Says of a head what it is refused with; None: its body may come."""


class More(msgspec.Struct, frozen=True):
    """The next request is not whole yet. say: what the client is to be told meanwhile."""

    say: bytes = b""


class Over(msgspec.Struct, frozen=True):
    """The client has ended its side between two requests, or within one."""


MORE = More()
OVER = Over()
Next: TypeAlias = Request | Reply | More | Over
"""A `Reply` is the answer to what was no acceptable request."""


class Dialogue:
    """A connection's requests, one after the other. peer: where it comes from."""

    def __init__(self, limits: Limits, judge: Judge, peer: str = "") -> None:
        self._codec = server_codec(limits)
        self._judge = judge
        self._peer = peer
        self._head: RequestHead | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing of a request has come."""
        return self._head is None and not self._codec.has_partial_request

    def hear(self, data: bytes) -> None:
        """Bytes have come; none at all: the client has ended its side."""
        if data:
            self._codec.receive_data(data)
        else:
            self._codec.receive_eof()

    def next(self) -> Next:
        """What has come. After a `Reply` or `Over` nothing more is to be asked."""
        codec = self._codec
        say = b""
        while True:
            try:
                event = codec.next_event()
            except ProtocolError as error:
                return problem(error.status, str(error), closes=True)
            match event:
                case RequestHead():
                    refusal = self._judge(event)
                    if refusal is not None:
                        return msgspec.structs.replace(refusal, closes=True)
                    self._head = event
                    if event.expects_continue:
                        say = codec.continue_100()
                case RequestBody(data):
                    assert self._head is not None
                    try:
                        return request_of(self._head, data, self._peer)
                    except Refused as refused:
                        return msgspec.structs.replace(refused.reply, closes=True)
                case _ if event is NEED_DATA:
                    return More(say) if say else MORE
                case _ if event is CLOSED:
                    return OVER
                case _:
                    raise RuntimeError("asked for the next request before this one was answered")

    # ----------------------------------------------------------------------------------------------- answers

    def whole(self, reply: Reply) -> bytes:
        """An answer as bytes."""
        return self._codec.response(reply.status, reply.headers, reply.body, close=reply.closes)

    def begin(self, streamed: Streamed) -> bytes:
        """The head of one that comes in pieces."""
        return self._codec.response_head(streamed.status, streamed.headers)

    def piece(self, data: bytes) -> bytes:
        """A piece of it."""
        return self._codec.chunk(data)

    def end(self) -> bytes:
        """Its end. Left out where it is cut, so that the client sees that."""
        return self._codec.end()

    def go_on(self) -> bool:
        """It was answered: make ready for the next request. False: there may be none, close."""
        if not self._codec.keep_alive:
            return False
        self._codec.start_next_cycle()
        self._head = None
        return True
