"""The reference server codec: h11 behind our rules. h11_peer.py says what it is for."""

from stargate_core.wire.http1.chunked import ChunkedDecoder, body_too_large
from stargate_core.wire.http1.codec import ServerCodec, cut_short
from stargate_core.wire.http1.events import (
    CLOSED,
    NEED_DATA,
    PAUSED,
    Limits,
    ProtocolError,
    RequestBody,
    RequestHead,
    ServerEvent,
)
from stargate_core.wire.http1.framing import request_head
from stargate_core.wire.http1.h11_peer import H11Peer
from stargate_core.wire.http1.head import HeadScan, split_plainly


class ReferenceServerCodec(ServerCodec):
    """`ServerCodec` on h11."""

    __slots__ = ("_body", "_buffer", "_decoder", "_eof", "_error", "_head", "_peer", "_raw_head", "_scan")

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._buffer = bytearray()
        self._eof = False
        self._error: ProtocolError | None = None
        self._restart()

    def _restart(self) -> None:
        self._forget_request()
        self._scan = HeadScan(self._limits, request=True)
        self._peer = H11Peer(request=True)
        self._raw_head = b""
        self._head: RequestHead | None = None
        self._decoder: ChunkedDecoder | None = None
        self._body = bytearray()

    def receive_data(self, data: bytes) -> None:
        """See `ServerCodec.receive_data`."""
        if self._error is None:
            self._buffer += data
            self._bound_pipelined()

    def _bound_pipelined(self) -> None:
        if self._whole:
            if len(self._buffer) > self._limits.pipelined_bytes_max:
                self._keep_alive = False
            if not self._keep_alive:
                self._buffer.clear()

    def receive_eof(self) -> None:
        """See `ServerCodec.receive_eof`."""
        self._eof = True

    def start_next_cycle(self) -> None:
        """See `ServerCodec.start_next_cycle`."""
        if not self._whole or not self._keep_alive:
            raise RuntimeError("the connection can't take another request")
        self._restart()

    @property
    def has_partial_request(self) -> bool:
        """See `ServerCodec.has_partial_request`."""
        return self._error is None and not self._whole and (self._head is not None or bool(self._buffer))

    def next_event(self) -> ServerEvent:
        """See `ServerCodec.next_event`."""
        if self._error is None:
            try:
                return self._next()
            except ProtocolError as error:
                self._refuse(error, self._raw_head or bytes(self._buffer))
                self._error = error
                self._buffer.clear()
        raise self._error.with_traceback(None)

    def _next(self) -> ServerEvent:
        if self._whole:
            return PAUSED
        event = self._next_head() if self._head is None else self._next_body(self._head)
        if event is not None:
            return event
        if not self._eof:
            return NEED_DATA
        if self.has_partial_request:
            raise cut_short()
        return CLOSED

    def _next_head(self) -> RequestHead | None:
        found = self._scan.advance(self._buffer)
        if found is None:
            return None
        self._raw_head = raw = bytes(self._buffer[: found[1]])
        lines = raw.split(b"\r\n")[:-2]
        method, target, version = lines[0].split(b" ")
        head = request_head(method, target, version[-3:], split_plainly(raw), self._limits.body_bytes_max)
        self._peer.confirm_request(raw, head)
        del self._buffer[: len(raw)]
        self._head = head
        self._begin(head)
        if head.chunked:
            self._decoder = ChunkedDecoder(self._limits, self._limits.body_bytes_max)
        return head

    def _next_body(self, head: RequestHead) -> RequestBody | None:
        decoder = self._decoder
        raw = bytes(self._buffer)
        if decoder is not None:
            decoded = decoder.decode(raw)
            decoder.check()
            rest, ended = decoder.rest, decoder.ended
        else:
            length = head.content_length or 0
            if length > self._limits.body_bytes_max:
                raise body_too_large(self._limits.body_bytes_max)
            decoded = raw[: length - len(self._body)]
            rest, ended = raw[len(decoded) :], len(self._body) + len(decoded) == length
        self._body += self._peer.body(raw[: len(raw) - len(rest)], decoded, ended=ended)
        self._buffer[:] = rest
        if not ended:
            return None
        self._whole = True
        self._bound_pipelined()
        return RequestBody(bytes(self._body))
