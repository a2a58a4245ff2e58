"""The two faces of HTTP/1.1: what a server reads and writes, what a client reads.

`ServerCodec` stands where a client is connected to us, `ClientCodec` where we are connected to an upstream.
Each has a fast and a reference implementation of its reading half; the writing half is here, once.

Writing follows the request that was read: no body for HEAD, no chunks for a 1.0 peer, and `connection: close`
whenever the connection won't live on. It won't when the client said so, when the caller says so, when a
`ProtocolError` was raised, and when the answer begins before the request has been read to its end, for the
unread rest could not be told from a next request. So `keep_alive`, asked after the response was written, is
the whole truth: either `start_next_cycle()` or close.
"""

from abc import ABC, abstractmethod
from typing import Final

from stargate_core.native import mypyc_attr
from stargate_core.wire.http1 import write
from stargate_core.wire.http1.events import (
    ClientEvent,
    Headers,
    Limits,
    ProtocolError,
    Reason,
    RequestHead,
    ServerEvent,
)
from stargate_core.wire.http1.head import read_request_line


@mypyc_attr(allow_interpreted_subclasses=True)
class ServerCodec(ABC):
    """One client's connection: requests in, responses out. Made by `http1.server_codec`."""

    __slots__ = ("_chunking", "_head_only", "_keep_alive", "_limits", "_peer_is_10", "_whole")

    def __init__(self, limits: Limits) -> None:
        self._limits: Final = limits
        self._keep_alive = True
        self._chunking = False  # The streamed response is framed in chunks.
        self._forget_request()

    @abstractmethod
    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client; never raises.

        What follows the present request is kept for the next, within `pipelined_bytes_max`; beyond it, all of
        it is dropped and the connection isn't kept.
        """

    @abstractmethod
    def receive_eof(self) -> None:
        """The client will send no more."""

    @abstractmethod
    def next_event(self) -> ServerEvent:
        """What has come next: `RequestHead`, then `RequestBody` with the whole body, then PAUSED.

        NEED_DATA: not enough has arrived. CLOSED: the client ended between requests. Raises ProtocolError for
        a request that can't be accepted, INCOMPLETE_MESSAGE included, and again at each later call. A body
        beyond its bound is refused after its head was handed out.
        """

    @abstractmethod
    def start_next_cycle(self) -> None:
        """The response has been written: go on to the next request.

        Raises RuntimeError unless `keep_alive` is true and the request was read to its end.
        """

    @property
    @abstractmethod
    def has_partial_request(self) -> bool:
        """Some bytes of a request have come, but not all of them."""

    @property
    def keep_alive(self) -> bool:
        """Whether the connection will take another request after the present one."""
        return self._keep_alive

    def response(self, status: int, headers: Headers, body: bytes = b"", *, close: bool = False) -> bytes:
        """A whole response. `close`: the last one on this connection.

        Raises ValueError for a status outside 200-599, a malformed header or one the codec itself sets
        (content-length, transfer-encoding, connection), or a body where none can be.
        """
        if close or not self._whole:
            self._keep_alive = False
        return write.whole_response(
            status, headers, body, head_only=self._head_only, close=not self._keep_alive
        )

    def response_head(self, status: int, headers: Headers, *, close: bool = False) -> bytes:
        """The head of a streamed response; `chunk`s and one `end` follow.

        To a 1.0 client the body goes as it is, and the connection's end is its end. Raises ValueError as
        `response` does.
        """
        if close or not self._whole:
            self._keep_alive = False
        self._chunking = not self._peer_is_10
        return write.streamed_head(status, headers, chunked=self._chunking, close=not self._keep_alive)

    def chunk(self, data: bytes) -> bytes:
        """`data` as the next piece of the streamed response. Nothing becomes nothing."""
        if self._head_only:
            return b""
        return write.chunk(data) if self._chunking else data

    def end(self) -> bytes:
        """The end of the streamed response. To be left out after a failure that the body can't tell: then the
        client sees that it is cut.
        """
        return write.LAST_CHUNK if self._chunking and not self._head_only else b""

    @staticmethod
    def continue_100() -> bytes:
        """The interim response for which a client with `expects_continue` waits."""
        return write.CONTINUE_100

    def _forget_request(self) -> None:
        """Another request may come; nothing is known of it yet."""
        self._whole = False  # It has been read to its end.
        self._head_only = False  # It is a HEAD.
        self._peer_is_10 = False

    def _begin(self, head: RequestHead) -> None:
        """A request's head has been read: note what the response must know of it."""
        self._head_only = head.method == b"HEAD"
        self._peer_is_10 = head.version == b"1.0"
        if not head.keep_alive:
            self._keep_alive = False

    def _refuse(self, error: ProtocolError, head: bytes) -> None:
        """The request can't be accepted; `head` begins with as much of it as there is."""
        self._keep_alive = False
        request = read_request_line(head)
        if request is not None:
            error.method, error.target = request
            self._head_only = error.method == b"HEAD"


@mypyc_attr(allow_interpreted_subclasses=True)
class ClientCodec(ABC):
    """One response of an upstream; make a new one for each call. Made by `http1.client_codec`.

    Requests are written by `http1.request`. The request must not have been HEAD or CONNECT.
    """

    __slots__ = ()

    @abstractmethod
    def receive_data(self, data: bytes) -> None:
        """Take bytes from the upstream; never raises. Any after the response's end make `reusable` false."""

    @abstractmethod
    def receive_eof(self) -> None:
        """The upstream will send no more."""

    @abstractmethod
    def next_event(self) -> ClientEvent:
        """What has come next: `ResponseHead` (1xx are skipped), `Body`s, `EndOfMessage`, then PAUSED for
        ever.

        NEED_DATA: not enough has arrived. CLOSED: the upstream closed before the first byte of its answer.
        Raises ProtocolError (status 502) for a bad or cut response, and again at each later call; the good
        body bytes before the fault are handed out first.
        """

    def receive_body(self, data: bytes) -> bytes | None:
        """Take bytes from the upstream, and tell what they bring of the body, where that is all they bring.

        The short way for a stream in full flow. None: nothing is done, so take the ordinary way.
        """
        return None

    @property
    @abstractmethod
    def reusable(self) -> bool:
        """The response is whole, nothing came after it, and the connection will take another request."""


def cut_short() -> ProtocolError:
    """The objection to a message whose connection ended before it did."""
    return ProtocolError(Reason.INCOMPLETE_MESSAGE, "the connection ended inside a message")


def unread_and(buffer: bytes | bytearray, at: int, data: bytes) -> bytearray:
    """What of a codec's buffer is unread from `at` on, with `data` behind it.

    Linear however small the pieces are: the consumed front never grows, and a bytearray drops it in place.
    """
    if isinstance(buffer, bytearray):
        del buffer[:at]
        buffer += data
        return buffer
    unread = bytearray(memoryview(buffer)[at:])
    unread += data
    return unread
