"""A channel: one TCP (or unix) connection, plain or TLS, as the trio shell uses it.

Writing is synchronous. `write` gives the socket what it takes at once and keeps the rest; a flusher task is
started only when something was kept, and tells the owner when the rest has gone. So a fast peer costs one
system call and no task switch, and a slow one costs a bounded buffer: whoever reads from the other side of
the gateway waits for `drained`.

Reading is one task's business: it waits for readability and takes what is there.

TLS runs over memory buffers (`ssl.SSLObject`), which keeps the same synchronous shape; `ssl` does all of the
protocol.
"""

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

import trio

READ_BYTES: Final = 65_536
_ABORT: Final = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # struct linger {on, 0 seconds}: close with RST


class Channel:
    """One connection. `socket` is connected and non-blocking; with TLS, call `handshake` first."""

    __slots__ = (
        "_closed",
        "_gone",
        "_incoming",
        "_nursery",
        "_outgoing",
        "_pending",
        "_tls",
        "drained",
        "on_stall",
        "sock",
    )

    def __init__(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self._nursery = nursery
        self._pending = bytearray()
        self._closed = False
        self._gone = trio.Event()
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.drained: trio.Event | None = None
        """Set while bytes are kept: becomes set when they have gone, or never will."""
        self.on_stall: Callable[[bool], None] | None = None
        """Told True when bytes had to be kept, False when they have gone."""

    # ------------------------------------------------------------------------------------------------ opening

    async def handshake(
        self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None
    ) -> None:
        """Become a TLS connection. Raises ssl.SSLError or OSError; the caller bounds its time."""
        tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
        )
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._send_outgoing()
                data = await self._receive_raw()
                if not data:
                    raise ConnectionResetError("closed during the TLS handshake") from None
                self._incoming.write(data)
            else:
                break
        await self._send_outgoing()
        self._tls = tls

    async def _send_outgoing(self) -> None:
        data = memoryview(self._outgoing.read())
        while data:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.sock)

    # ------------------------------------------------------------------------------------------------ reading

    async def receive(self) -> bytes:
        """The next bytes; empty at the peer's end. Raises OSError when the connection breaks."""
        if self._tls is None:
            return await self._receive_raw()
        while True:
            # Whatever decrypts completely is handed on in one piece.
            data = self._decrypt()
            if data is not None:
                return data
            encrypted = await self._receive_raw()
            if encrypted:
                self._incoming.write(encrypted)
            else:
                self._incoming.write_eof()

    async def _receive_raw(self) -> bytes:
        while True:
            if self._closed:
                raise trio.ClosedResourceError
            await trio.lowlevel.wait_readable(self.sock)
            try:
                return self.sock.recv(READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                if self._closed:
                    raise trio.ClosedResourceError from None
                raise

    def _decrypt(self) -> bytes | None:
        """What the bytes received so far say; None when they say nothing yet."""
        tls = self._tls
        assert tls is not None
        pieces: list[bytes] = []
        ended = False
        try:
            while piece := tls.read(READ_BYTES):
                pieces.append(piece)
            ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            if not pieces:
                # An end without close_notify is a cut, and is told as one.
                raise ConnectionResetError(error.reason or "TLS") from error
        if self._outgoing.pending:
            self._send(self._outgoing.read())  # TLS answering for itself: a key update, say.
        if pieces:
            return b"".join(pieces)
        return b"" if ended else None

    # ------------------------------------------------------------------------------------------------ writing

    def write(self, data: bytes) -> None:
        """Send; what the socket does not take now is kept and flushed. Raises OSError when the connection is
        broken.
        """
        if self._closed:
            raise BrokenPipeError
        if self._tls is None:
            self._send(data)
            return
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]  # One record at a time.
        self._send(self._outgoing.read())

    def _send(self, data: bytes) -> None:
        if self._pending:
            self._pending += data
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._pending += memoryview(data)[sent:]
            self.drained = trio.Event()
            if self.on_stall is not None:
                self.on_stall(True)
            self._nursery.start_soon(self._flush)

    async def _flush(self) -> None:
        """Send what was kept, as the peer takes it."""
        try:
            while self._pending and not self._closed:
                await trio.lowlevel.wait_writable(self.sock)
                try:
                    sent = self.sock.send(memoryview(self._pending)[:READ_BYTES])
                except BlockingIOError:
                    continue
                del self._pending[:sent]
        except (OSError, trio.ClosedResourceError):
            self._pending.clear()  # The reader learns of the loss from its own side.
        finally:
            drained, self.drained = self.drained, None
            if drained is not None:
                drained.set()
        if self.on_stall is not None and not self._closed:
            self.on_stall(False)

    # ------------------------------------------------------------------------------------------------ closing

    async def finish(self, linger_seconds: float) -> None:
        """Close in good order: what was written leaves first, then our side ends; the reader reads the peer's
        last bytes.

        A socket closed with unread bytes sends a reset, which can destroy the answer on its way to the
        client; so the socket is disposed of when the peer has ended its side too, or when the bound is
        reached.
        """
        with trio.move_on_after(linger_seconds):
            if self.drained is not None:
                await self.drained.wait()
            if not self._closed:
                with contextlib.suppress(OSError, ssl.SSLError):
                    if self._tls is not None:
                        self._say_goodbye(self._tls)
                    self.sock.shutdown(socket.SHUT_WR)
            await self._gone.wait()
        self.dispose()

    def _say_goodbye(self, tls: ssl.SSLObject) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.unwrap()
        self._send(self._outgoing.read())

    def abort(self) -> None:
        """Break the connection at once: the peer sees a reset."""
        if not self._closed:
            with contextlib.suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            self.dispose()

    def dispose(self) -> None:
        """Close the socket now."""
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self.sock)
            self.sock.close()
            self._pending.clear()
            if self.drained is not None:
                self.drained.set()
            self._gone.set()

    @property
    def closed(self) -> bool:
        """Whether the socket is closed."""
        return self._closed
