"""The reference client codec: h11 behind our rules. h11_peer.py says what it is for."""

from stargate_core.wire.http1.chunked import ChunkedDecoder
from stargate_core.wire.http1.codec import ClientCodec, cut_short
from stargate_core.wire.http1.events import (
    CLOSED,
    END_OF_MESSAGE,
    NEED_DATA,
    PAUSED,
    Body,
    ClientEvent,
    Limits,
    ProtocolError,
    ResponseHead,
)
from stargate_core.wire.http1.framing import response_head
from stargate_core.wire.http1.h11_peer import H11Peer
from stargate_core.wire.http1.head import HeadScan, split_plainly, too_many_interim


class ReferenceClientCodec(ClientCodec):
    """`ClientCodec` on h11."""

    __slots__ = (
        "_all_read",
        "_begun",
        "_buffer",
        "_decoder",
        "_ended",
        "_eof",
        "_error",
        "_head",
        "_interims",
        "_left",
        "_limits",
        "_peer",
        "_reusable",
        "_scan",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._begun = False
        self._eof = False
        self._ended = False
        self._reusable = True
        self._error: ProtocolError | None = None
        self._scan = HeadScan(limits, request=False)
        self._interims = 0
        self._head: ResponseHead | None = None
        self._decoder: ChunkedDecoder | None = None
        self._all_read = False  # The body has been read; its end may not have been told.
        self._left = 0  # Of a body with a known length.
        self._peer = H11Peer(request=False)

    def receive_data(self, data: bytes) -> None:
        """See `ClientCodec.receive_data`."""
        if self._ended and data:
            self._reusable = False
        elif self._error is None:
            self._begun = self._begun or bool(data)
            self._buffer += data

    def receive_eof(self) -> None:
        """See `ClientCodec.receive_eof`."""
        self._eof = True
        self._reusable = False

    @property
    def reusable(self) -> bool:
        """See `ClientCodec.reusable`."""
        return self._ended and self._reusable

    def next_event(self) -> ClientEvent:
        """See `ClientCodec.next_event`."""
        if self._error is None:
            try:
                return self._next()
            except ProtocolError as error:
                error.status = 502
                self._error = error
                self._buffer.clear()
        raise self._error.with_traceback(None)

    def _next(self) -> ClientEvent:
        if self._ended:
            return PAUSED
        event = self._next_head() if self._head is None else self._next_body(self._head)
        if event is not None:
            return event
        if not self._eof:
            return NEED_DATA
        if self._begun:
            raise cut_short()
        return CLOSED

    def _next_head(self) -> ResponseHead | None:
        while (found := self._scan.advance(self._buffer)) is not None:
            raw = bytes(self._buffer[: found[1]])
            lines = raw.split(b"\r\n")[:-2]
            version, _, rest = lines[0].partition(b" ")
            status, _, reason = rest.partition(b" ")
            head = response_head(int(status), reason, version[-3:], split_plainly(raw))
            self._peer.confirm_response(raw, head)
            del self._buffer[: len(raw)]
            self._scan = HeadScan(self._limits, request=False)
            if head.status >= 200:
                return self._accept(head)
            self._interims += 1
            if self._interims > self._limits.interim_max:
                raise too_many_interim(self._limits)
        return None

    def _accept(self, head: ResponseHead) -> ResponseHead:
        self._head = head
        if head.chunked:
            self._decoder = ChunkedDecoder(self._limits, None)
        elif head.content_length is not None:
            self._left = head.content_length
        if not head.keep_alive or (not head.chunked and head.content_length is None):
            self._reusable = False
        return head

    def _next_body(self, head: ResponseHead) -> ClientEvent | None:
        if self._decoder is not None:
            data = self._read_chunks(self._decoder)
        elif head.content_length is not None:
            data = self._read_length()
        else:
            data = self._read_until_eof()
        if data:
            return Body(data)
        return self._finish() if self._all_read else None

    def _read_chunks(self, decoder: ChunkedDecoder) -> bytes:
        decoder.check()
        if self._all_read:
            return b""
        raw = bytes(self._buffer)
        data = decoder.decode(raw)
        if decoder.error is not None:
            if not data:
                decoder.check()
            return data  # Good bytes before bad ones; the error is for the next call.
        self._buffer[:] = decoder.rest
        self._all_read = decoder.ended
        return self._peer.body(raw[: len(raw) - len(decoder.rest)], data, ended=decoder.ended)

    def _read_length(self) -> bytes:
        if self._all_read:
            return b""
        data = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        self._left -= len(data)
        self._all_read = self._left == 0
        return self._peer.body(data, data, ended=self._all_read)

    def _read_until_eof(self) -> bytes:
        data = bytes(self._buffer)
        self._buffer.clear()
        if not data and self._eof:
            self._peer.end()
            self._all_read = True
        return self._peer.body(data, data, ended=False) if data else b""

    def _finish(self) -> ClientEvent:
        self._ended = True
        if self._buffer:
            self._reusable = False
            self._buffer.clear()
        return END_OF_MESSAGE
