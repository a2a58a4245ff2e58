"""A channel: one TCP or unix connection, plain or TLS, as the asyncio shell uses it.

Writing is synchronous. `write` gives the socket what it takes at once and keeps the rest, which leaves as the
peer takes it. So a fast peer costs one system call and no task switch, and a slow one costs what is kept:
the owner is told when that begins (`stalled`) and when it is over (`drained`), and stops the flow at its
source meanwhile.

Reading is the reactor's news: what has come is handed to the owner at once. A paused channel is not read, and
TCP slows its peer.

TLS runs over memory buffers (`ssl.SSLObject`), which keeps the same synchronous shape; `ssl` does all of the
protocol.
"""

import asyncio
import contextlib
import socket
import ssl
from typing import Final

import anyio

from stargate.asyncio_shell.reactor import READABLE, WRITABLE, Reactor
from stargate.shell_common.channels import Owner

READ_BYTES: Final = 65_536
_ABORT: Final = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # struct linger {on, 0 seconds}: close with RST


class Channel:
    """One connection. After `start` the owner hears what comes; for TLS do the `handshake` before.

    sock: connected; the channel makes it non-blocking, and closes it.
    """

    __slots__ = (
        "_broken",
        "_ending",
        "_incoming",
        "_interest",
        "_next",
        "_outgoing",
        "_owner",
        "_pending",
        "_reactor",
        "_tls",
        "closed",
        "sock",
    )

    def __init__(self, sock: socket.socket, reactor: Reactor) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.closed = False
        self._reactor = reactor
        self._owner: Owner | None = None
        self._interest = 0
        self._broken = False
        """The connection broke, and what came before has yet to be read."""
        self._pending = bytearray()
        self._ending = asyncio.Event()
        """Set when our side is to end; from then on there is `_next`, set when it has, and when the socket is
        closed. (Thousands may be idle: none of them has what it needs at its end alone.)
        """
        self._next: asyncio.Event | None = None
        self._tls: ssl.SSLObject | None = None
        self._incoming: ssl.MemoryBIO | None = None
        self._outgoing: ssl.MemoryBIO | None = None

    # ------------------------------------------------------------------------------------------------ opening

    async def handshake(
        self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None
    ) -> None:
        """Become a TLS connection. Raises ssl.SSLError or OSError; the caller bounds its time."""
        incoming, outgoing = self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=server_side, server_hostname=server_name)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._send_all(outgoing.read())
                incoming.write(await self._receive_some())
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await self._send_all(outgoing.read())  # The alert that tells the peer why.
                raise
            else:
                break
        await self._send_all(outgoing.read())
        self._tls = tls

    async def _send_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self.sock.send(view) :]
            except BlockingIOError:
                await anyio.wait_writable(self.sock)

    async def _receive_some(self) -> bytes:
        while True:
            await anyio.wait_readable(self.sock)
            try:
                data = self.sock.recv(READ_BYTES)
            except BlockingIOError:
                continue
            if not data:
                raise ConnectionResetError("closed during the TLS handshake")
            return data

    def start(self, owner: Owner) -> None:
        """From now on the owner hears what comes."""
        self._owner = owner
        self._watch(READABLE)
        if self._tls is not None:
            self._hear(b"")  # The handshake's last bytes may have brought more.

    # ------------------------------------------------------------------------------------------------ reading

    def ready(self, events: int) -> None:
        """The reactor's news."""
        if events & WRITABLE and self._pending:
            self._flush()
        if not events & self._interest & READABLE:
            return
        self._read()
        while self._broken and self._interest & READABLE:
            self._read()

    def _read(self) -> None:
        try:
            data = self.sock.recv(READ_BYTES)
            # uvloop tells of a break once. Where bytes came before it, they must not be all that is heard.
            if self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._broken = True
        except BlockingIOError:
            return
        except OSError:
            self._lose()
            return
        if self._broken and not data:
            self._lose()
        elif self._tls is not None:
            self._hear(data, ended=not data)
        else:
            self._tell(data)

    def pause(self) -> None:
        """Do not read, so that TCP slows the peer."""
        self._watch(self._interest & ~READABLE)

    def resume(self) -> None:
        """Read again."""
        if self._owner is not None:
            self._watch(self._interest | READABLE)

    def _tell(self, data: bytes) -> None:
        assert self._owner is not None
        if not data:
            self._watch(self._interest & ~READABLE)  # An ended socket is readable for ever.
        self._owner.heard(data)

    def _lose(self) -> None:
        assert self._owner is not None
        owner = self._owner
        self.dispose()
        owner.lost()

    def _hear(self, encrypted: bytes, *, ended: bool = False) -> None:
        """What the bytes received so far say."""
        tls, incoming, outgoing = self._tls, self._incoming, self._outgoing
        assert tls is not None
        assert incoming is not None
        assert outgoing is not None
        if ended:
            incoming.write_eof()
        else:
            incoming.write(encrypted)
        pieces: list[bytes] = []
        over = broken = False
        try:
            while piece := tls.read(READ_BYTES):
                pieces.append(piece)
            over = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            broken = True  # Among them the end without a close_notify: a cut, and told as one.
        if outgoing.pending:
            with contextlib.suppress(OSError):
                self._send(outgoing.read())  # TLS answering for itself: a key update, say.
        if pieces:
            self._tell(b"".join(pieces))
        if over and not self.closed:
            self._tell(b"")
        elif broken and not self.closed:
            self._lose()

    # ------------------------------------------------------------------------------------------------ writing

    def write(self, data: bytes) -> None:
        """Send; what the socket does not take now is kept. Raises OSError when the connection is broken."""
        if self.closed:
            raise BrokenPipeError
        if self._tls is None:
            self._send(data)
            return
        assert self._outgoing is not None
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]  # One record at a time.
        self._send(self._outgoing.read())

    @property
    def pending(self) -> bool:
        """Whether bytes are kept."""
        return bool(self._pending)

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
            self._watch(self._interest | WRITABLE)
            if self._owner is not None:
                self._owner.stalled()

    def _flush(self) -> None:
        try:
            sent = self.sock.send(self._pending)
        except BlockingIOError:
            return
        except OSError:
            self._lose()
            return
        del self._pending[:sent]
        if self._pending:
            return
        self._watch(self._interest & ~WRITABLE)
        if self._ending.is_set():
            self._end_our_side()
        assert self._owner is not None
        self._owner.drained()

    # ------------------------------------------------------------------------------------------------ closing

    def finish(self) -> None:
        """End our side in good order, once what was written has left."""
        self._ending.set()
        if not (self._pending or self.closed):
            self._end_our_side()

    def _end_our_side(self) -> None:
        self._go_on()
        with contextlib.suppress(OSError, ssl.SSLError):
            if self._tls is not None:
                assert self._outgoing is not None
                with contextlib.suppress(ssl.SSLWantReadError):
                    self._tls.unwrap()
                self._send(self._outgoing.read())
            self.sock.shutdown(socket.SHUT_WR)

    async def wait_over(self, stall_seconds: float, linger_seconds: float) -> None:
        """Wait until the connection has ended, and dispose of it.

        When our side is to end, what was written leaves first, as long as the peer takes some of it within
        `stall_seconds`. A socket closed with unread bytes sends a reset, which can destroy the answer on its
        way to the peer; so the peer's own end is waited for then, for `linger_seconds`.
        """
        try:
            await self._ending.wait()
            left = 0
            while self._pending and left != len(self._pending):
                left = len(self._pending)
                with anyio.move_on_after(stall_seconds):
                    await self._news()
            if not self._pending:
                with anyio.move_on_after(linger_seconds):
                    while not self.closed:
                        await self._news()
        finally:
            self.dispose()

    async def _news(self) -> None:
        self._next = asyncio.Event()
        await self._next.wait()

    def _go_on(self) -> None:
        if self._next is not None:
            self._next.set()

    def abort(self) -> None:
        """Break the connection at once: the peer sees a reset."""
        if not self.closed:
            with contextlib.suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            self.dispose()

    def dispose(self) -> None:
        """Close the socket now."""
        if not self.closed:
            self._watch(0)
            self.closed = True
            self.sock.close()
            self._pending.clear()
            self._ending.set()
            self._go_on()

    def _watch(self, interest: int) -> None:
        if not self.closed:
            self._reactor.watch(self.sock.fileno(), self, self._interest, interest)
            self._interest = interest
