"""The fast client codec: a regex accepts a head, llhttp splits it, slices are the body.

fast_server.py tells the division of labour. Made new for each call, so making one must cost nothing (0.2 us):
no parser exists until a head has come.
"""

import re
from typing import Final

from stargate_core.wire.http1.chunked import ChunkedDecoder
from stargate_core.wire.http1.codec import ClientCodec, cut_short, unread_and
from stargate_core.wire.http1.events import (
    CLOSED,
    END_OF_MESSAGE,
    NEED_DATA,
    PAUSED,
    Body,
    ClientEvent,
    Headers,
    Limits,
    ProtocolError,
    ResponseHead,
)
from stargate_core.wire.http1.framing import response_head
from stargate_core.wire.http1.head import (
    RESPONSE_HEAD,
    HeadScan,
    disagree,
    split_plainly,
    too_many_headers,
    too_many_interim,
)
from stargate_core.wire.http1.llhttp import split_response, unpadded

_IN_HEAD, _IN_LENGTH, _IN_CHUNKS, _UNTIL_EOF, _ENDED, _FAILED = range(6)
_VERSIONS: Final = {b"0": b"1.0", b"1": b"1.1"}


class FastClientCodec(ClientCodec):
    """`ClientCodec` on llhttp."""

    __slots__ = (
        "_at",
        "_begun",
        "_buffer",
        "_decoder",
        "_eof",
        "_error",
        "_interims",
        "_keep_alive",
        "_limits",
        "_missing",
        "_scan",
        "_state",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._eof = False
        self._begun = False  # Some byte has come.
        self._state = _IN_HEAD
        self._scan: HeadScan | None = None
        self._missing = 0
        self._decoder: ChunkedDecoder | None = None
        self._error: ProtocolError | None = None
        self._keep_alive = False
        self._interims = 0

    def receive_data(self, data: bytes) -> None:
        """See `ClientCodec.receive_data`."""
        if self._state >= _ENDED:
            self._keep_alive = self._keep_alive and not data
            return
        buffer = self._buffer
        self._buffer = data if self._at == len(buffer) else unread_and(buffer, self._at, data)
        self._at = 0

    def receive_body(self, data: bytes) -> bytes | None:
        """See `ClientCodec.receive_body`."""
        decoder = self._decoder
        if self._state != _IN_CHUNKS or self._at < len(self._buffer) or decoder is None:
            return None
        return decoder.whole_chunk(data)

    def receive_eof(self) -> None:
        """See `ClientCodec.receive_eof`."""
        self._eof = True
        self._keep_alive = False

    def next_event(self) -> ClientEvent:
        """See `ClientCodec.next_event`."""
        state = self._state
        try:
            if state == _IN_LENGTH:
                return self._next_length()
            if state == _IN_CHUNKS:
                return self._next_chunks()
            if state == _IN_HEAD:
                return self._next_head()
            if state == _UNTIL_EOF:
                return self._next_until_eof()
            if state == _ENDED:
                return PAUSED
        except ProtocolError as error:
            error.status = 502
            self._error = error
            self._state = _FAILED
            self._drop()
        assert self._error is not None
        raise self._error.with_traceback(None)

    @property
    def reusable(self) -> bool:
        """See `ClientCodec.reusable`."""
        return self._state == _ENDED and self._keep_alive

    def _next_head(self) -> ClientEvent:
        while True:
            buffer = self._buffer
            at = self._at
            if at == len(buffer):
                if self._eof and self._begun:
                    raise cut_short()
                return CLOSED if self._eof else NEED_DATA
            self._begun = True
            match = RESPONSE_HEAD.match(buffer, at) if self._scan is None else None
            if match is not None and match.end() - at <= self._limits.head_bytes_max:
                end = match.end()
                raw = bytes(buffer[at:end])
                head = self._accept(match, raw, split_response(raw), end)
            else:
                scanned = self._scan_head()
                if scanned is None:
                    return NEED_DATA
                head = scanned
            if head.status >= 200:
                return head

    def _scan_head(self) -> ResponseHead | None:
        """Read a head that is unfinished, unusual or unacceptable."""
        if self._scan is None:
            self._scan = HeadScan(self._limits, request=False)
        at = self._at
        found = self._scan.advance(self._buffer, at)
        if found is None:
            if self._eof:
                raise cut_short()
            return None
        match, length = found
        raw = bytes(self._buffer[at : at + length])
        headers = split_response(raw)
        return self._accept(match, raw, None if headers is None else unpadded(headers), at + length)

    def _accept(self, match: re.Match[bytes], raw: bytes, headers: Headers | None, end: int) -> ResponseHead:
        """Begin the body of a final response, or count an interim one. The head ends at `end` in the buffer.

        Headers are None if llhttp refuses the head; then our own rules are asked to say why.
        """
        refused = headers is None
        if headers is None:
            headers = split_plainly(raw)
        if len(headers) > self._limits.headers_max:
            raise too_many_headers(self._limits)
        head = response_head(int(match[2]), match[3] or b"", _VERSIONS[match[1]], headers)
        if refused:
            raise disagree()
        self._at = end
        self._scan = None
        if head.status < 200:
            self._interims += 1
            if self._interims > self._limits.interim_max:
                raise too_many_interim(self._limits)
            return head
        self._keep_alive = head.keep_alive and not self._eof
        if head.chunked:
            self._decoder = ChunkedDecoder(self._limits, None)
            self._state = _IN_CHUNKS
        elif head.content_length is not None:
            self._missing = head.content_length
            self._state = _IN_LENGTH
        else:
            self._state = _UNTIL_EOF
        return head

    def _next_length(self) -> ClientEvent:
        missing = self._missing
        if not missing:
            return self._finish()
        at = self._at
        data = bytes(self._buffer[at : at + missing])
        if not data:
            return self._need_data()
        self._missing = missing - len(data)
        self._at = at + len(data)
        if self._at == len(self._buffer):
            self._drop()
        return Body(data)

    def _next_chunks(self) -> ClientEvent:
        decoder = self._decoder
        assert decoder is not None
        while True:
            decoder.check()
            if decoder.ended:
                self._buffer = decoder.rest
                return self._finish()
            if self._at == len(self._buffer):
                return self._need_data()
            data = decoder.decode(bytes(self._buffer[self._at :]))
            self._drop()
            if data:
                return Body(data)

    def _next_until_eof(self) -> ClientEvent:
        data = bytes(self._buffer[self._at :])
        self._drop()
        if data:
            return Body(data)
        return self._finish() if self._eof else NEED_DATA

    def _need_data(self) -> ClientEvent:
        if self._eof:
            raise cut_short()
        return NEED_DATA

    def _finish(self) -> ClientEvent:
        self._state = _ENDED
        if self._at < len(self._buffer):
            self._keep_alive = False
            self._drop()
        return END_OF_MESSAGE

    def _drop(self) -> None:
        self._buffer = b""
        self._at = 0
