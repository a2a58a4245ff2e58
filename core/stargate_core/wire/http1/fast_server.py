"""The fast server codec: a regex accepts a head, llhttp splits it, slices are the body.

A POST of openai-python, 15 headers and 250 bytes of body in one piece, takes 6.5 us from `receive_data` to
the next cycle: the regex 1.1, llhttp 2.4, what the headers mean 1.0, the rest is calls. Feeding llhttp
everything would be no faster (it copies the body as a slice does), and it would neither be strict enough nor
the same from release to release.

- Bodies with a length are slices; there is nothing to parse. Chunks are decoded by `ChunkedDecoder`, which
  says why.
- The buffer is the very `bytes` that came in, with an offset, as long as whole messages come in: no copy but
  the body's. Only what stays unfinished moves into a bytearray, which grows in place.
"""

import re
from typing import Final

from stargate_core.wire.http1.chunked import ChunkedDecoder, body_too_large
from stargate_core.wire.http1.codec import ServerCodec, cut_short, unread_and
from stargate_core.wire.http1.events import (
    CLOSED,
    NEED_DATA,
    PAUSED,
    Headers,
    Limits,
    ProtocolError,
    RequestBody,
    RequestHead,
    ServerEvent,
)
from stargate_core.wire.http1.framing import request_head
from stargate_core.wire.http1.head import (
    METHODS,
    REQUEST_HEAD,
    HeadScan,
    disagree,
    split_plainly,
    target_is_plain,
    too_many_headers,
)
from stargate_core.wire.http1.llhttp import split_request, unpadded

_IN_HEAD, _IN_LENGTH, _IN_CHUNKS, _ENDED, _FAILED = range(5)
_VERSIONS: Final = {b"0": b"1.0", b"1": b"1.1"}


class FastServerCodec(ServerCodec):
    """`ServerCodec` on llhttp."""

    __slots__ = (
        "_at",
        "_body",
        "_buffer",
        "_decoder",
        "_eof",
        "_error",
        "_head",
        "_missing",
        "_scan",
        "_state",
    )

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._buffer: bytes | bytearray = b""
        self._at = 0  # Everything before is done with.
        self._eof = False
        self._state = _IN_HEAD
        self._head = b""  # The present request's head, once it is read.
        self._scan: HeadScan | None = None  # Only while a head is unfinished or looked at closely.
        self._missing = 0  # Bytes of the body still to come, when its length is known.
        self._body: bytearray | None = None  # The body so far, if it came in pieces.
        self._decoder: ChunkedDecoder | None = None
        self._error: ProtocolError | None = None

    def receive_data(self, data: bytes) -> None:
        """See `ServerCodec.receive_data`."""
        if self._state >= _ENDED:
            if not self._keep_alive:
                return
            if len(self._buffer) - self._at + len(data) > self._limits.pipelined_bytes_max:
                self._keep_alive = False
                self._drop()
                return
        buffer = self._buffer
        self._buffer = data if self._at == len(buffer) else unread_and(buffer, self._at, data)
        self._at = 0

    def receive_eof(self) -> None:
        """See `ServerCodec.receive_eof`."""
        self._eof = True

    def next_event(self) -> ServerEvent:
        """See `ServerCodec.next_event`."""
        state = self._state
        try:
            if state == _IN_HEAD:
                return self._next_head()
            if state == _ENDED:
                return PAUSED
            if state == _IN_LENGTH:
                return self._next_length()
            if state == _IN_CHUNKS:
                return self._next_chunks()
        except ProtocolError as error:
            self._state = _FAILED
            self._refuse(
                error, self._head or bytes(self._buffer[self._at : self._at + self._limits.head_bytes_max])
            )
            self._error = error
            self._drop()
        assert self._error is not None
        raise self._error.with_traceback(None)

    def start_next_cycle(self) -> None:
        """See `ServerCodec.start_next_cycle`."""
        if self._state != _ENDED or not self._keep_alive:
            raise RuntimeError("the connection can't take another request")
        self._forget_request()
        self._state = _IN_HEAD
        self._head = b""

    @property
    def has_partial_request(self) -> bool:
        """See `ServerCodec.has_partial_request`."""
        if self._state == _IN_HEAD:
            return self._at < len(self._buffer)
        return self._state < _ENDED

    def _next_head(self) -> ServerEvent:
        buffer = self._buffer
        at = self._at
        if at == len(buffer):
            return CLOSED if self._eof else NEED_DATA
        match = REQUEST_HEAD.match(buffer, at) if self._scan is None else None
        if match is not None:
            method, target = match.group(1, 2)
            end = match.end()
            if (
                method in METHODS
                and target_is_plain(method, target)
                and len(target) <= self._limits.target_bytes_max
                and end - at <= self._limits.head_bytes_max
            ):
                self._head = raw = bytes(buffer[at:end])
                return self._accept(match, split_request(raw), end)
        return self._scan_head()

    def _scan_head(self) -> ServerEvent:
        """Read a head that is unfinished, unusual or unacceptable."""
        if self._scan is None:
            self._scan = HeadScan(self._limits, request=True)
        at = self._at
        found = self._scan.advance(self._buffer, at)
        if found is None:
            if self._eof:
                raise cut_short()
            return NEED_DATA
        match, length = found
        self._head = raw = bytes(self._buffer[at : at + length])
        headers = split_request(raw)
        return self._accept(match, None if headers is None else unpadded(headers), at + length)

    def _accept(self, match: re.Match[bytes], headers: Headers | None, end: int) -> RequestHead:
        """The event for a head whose grammar and size are good. It ends at `end` in the buffer.

        Headers are None if llhttp refuses the head; then our own rules are asked to say why.
        """
        refused = headers is None
        if headers is None:
            headers = split_plainly(self._head)
        if len(headers) > self._limits.headers_max:
            raise too_many_headers(self._limits)
        head = request_head(match[1], match[2], _VERSIONS[match[3]], headers, self._limits.body_bytes_max)
        if refused:
            raise disagree()
        self._begin(head)
        self._at = end
        self._scan = None
        if head.chunked:
            self._decoder = ChunkedDecoder(self._limits, self._limits.body_bytes_max)
            self._state = _IN_CHUNKS
        else:
            self._missing = head.content_length or 0
            self._state = _IN_LENGTH
        return head

    def _next_length(self) -> ServerEvent:
        missing = self._missing
        if missing > self._limits.body_bytes_max:
            raise body_too_large(self._limits.body_bytes_max)
        buffer = self._buffer
        at = self._at
        if self._body is None and len(buffer) - at >= missing:
            self._at = at + missing
            return self._finish(bytes(buffer[at : at + missing]))
        return self._next_piece(missing)

    def _next_piece(self, missing: int) -> ServerEvent:
        """Read a body of `missing` bytes that comes in pieces."""
        body = self._body
        if body is None:
            self._body = body = bytearray()
        at = self._at
        end = at + missing - len(body)
        body += memoryview(self._buffer)[at:end]
        if len(body) == missing:
            self._at = end
            return self._finish(bytes(body))
        self._drop()
        return self._need_data()

    def _next_chunks(self) -> ServerEvent:
        decoder = self._decoder
        assert decoder is not None
        if self._at == len(self._buffer):
            return self._need_data()
        data = decoder.decode(bytes(self._buffer[self._at :]))
        self._drop()
        decoder.check()
        if decoder.ended:
            self._buffer = decoder.rest
            return self._finish(data if self._body is None else bytes(self._body + data))
        if self._body is None:
            self._body = bytearray()
        self._body += data
        return self._need_data()

    def _need_data(self) -> ServerEvent:
        if self._eof:
            raise cut_short()
        return NEED_DATA

    def _finish(self, data: bytes) -> RequestBody:
        self._state = _ENDED
        self._whole = True
        self._body = self._decoder = None
        extra = len(self._buffer) - self._at
        if extra > self._limits.pipelined_bytes_max:
            self._keep_alive = False
        if not extra or not self._keep_alive:
            self._drop()
        return RequestBody(data)

    def _drop(self) -> None:
        """Forget what is in the buffer."""
        self._buffer = b""
        self._at = 0
