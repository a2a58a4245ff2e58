"""The simulator on trio: sockets and a clock around `SimulatedConnection`.

One task a connection, no queues: only the peer or the deadline can bring news, so the task waits for the
peer until the deadline. While a write is blocked by a slow reader nothing else happens on that connection,
which is all the back-pressure there need be.
"""

import math
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from typing import Final, assert_never

import trio

from stargate.simulator.connection import SimulatedConnection
from stargate.simulator.ledger import Ledger
from stargate.simulator.messages import Abort, Close, Command, Ended, Event, Lost, Received, Ticked, Write
from stargate.simulator.settings import Settings

_RECEIVE_BYTES: Final = 65_536
_LINGER_SECONDS: Final = 5.0
_HANDSHAKE_SECONDS: Final = 10.0
_SECOND_NS: Final = 1_000_000_000
_RST_ON_CLOSE: Final = struct.pack("ii", 1, 0)

ByteStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


def now_ns() -> int:
    """Trio's clock in nanoseconds: a test's clock, if trio runs on one."""
    return int(trio.current_time() * _SECOND_NS)


def wall_epoch_ns() -> int:
    """The wall time at which trio's clock stood at 0, for `Settings`."""
    return time.time_ns() - now_ns()


async def listen(host: str, port: int) -> list[trio.SocketListener]:
    """Listen on every address of a host; port 0 takes a free one. Raises OSError."""
    return await trio.open_tcp_listeners(port, host=host)


def url_of(listener: trio.SocketListener, scheme: str) -> str:
    """Where a listener is to be found."""
    host, port = listener.socket.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class Simulator:
    """A running simulator: its settings, and the ledger its connections share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledger = Ledger(settings.requests_kept, settings.kept_body_bytes_max)
        self._connections = 0

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        tls: ssl.SSLContext | None = None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled. The listeners are closed at the end."""

        async def accept(stream: trio.SocketStream) -> None:
            if tls is None:
                await self.attend(stream)
            else:
                await self.attend(trio.SSLStream(stream, tls, server_side=True))

        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, accept, list(listeners))
            task_status.started()

    async def attend(self, stream: ByteStream) -> None:
        """Serve one connection to its end, and close it."""
        try:
            if isinstance(stream, trio.SSLStream):
                with trio.fail_after(_HANDSHAKE_SECONDS):
                    await stream.do_handshake()
            await self._converse(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, ssl.SSLError):
            pass  # the peer is gone; the machine has been told, or had not begun
        finally:
            await trio.aclose_forcefully(stream)

    async def _converse(self, stream: ByteStream) -> None:
        self._connections += 1
        machine = SimulatedConnection(
            self.settings, self.settings.seed * 1_000_003 + self._connections, self.ledger
        )
        try:
            while True:
                event = await _next_event(stream, machine.deadline)
                for command in machine.handle(_time_of(event, machine), event):
                    if not await _perform(stream, command):
                        return
                if isinstance(event, Ended | Lost):
                    return
        finally:
            # Whatever ended this loop, a failed write or a cancellation: for the machine the peer is lost.
            machine.handle(now_ns(), Lost())


async def _next_event(stream: ByteStream, deadline_ns: int | None) -> Event:
    with trio.CancelScope(deadline=math.inf if deadline_ns is None else deadline_ns / _SECOND_NS):
        try:
            data = await stream.receive_some(_RECEIVE_BYTES)
        except (trio.BrokenResourceError, ssl.SSLError):
            return Lost()
        return Received(bytes(data)) if data else Ended()
    return Ticked()


def _time_of(event: Event, machine: SimulatedConnection) -> int:
    """Now; a clock that wakes us a tick early must not make the machine wait in circles."""
    now = now_ns()
    return max(now, machine.deadline) if isinstance(event, Ticked) and machine.deadline is not None else now


async def _perform(stream: ByteStream, command: Command) -> bool:
    """Perform a command; False: the connection is over."""
    match command:
        case Write(data):
            await stream.send_all(data)
            return True
        case Close(abrupt):
            await _close(stream, abrupt=abrupt)
            return False
        case Abort():
            _socket(stream).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            return False
        case _:
            assert_never(command)


async def _close(stream: ByteStream, *, abrupt: bool) -> None:
    """FIN, then patience: closing on unread bytes would send RST, and the peer lose our last words."""
    if isinstance(stream, trio.SSLStream) and not abrupt:
        await stream.aclose()
        return
    transport = _transport(stream)
    with trio.move_on_after(_LINGER_SECONDS):
        await transport.send_eof()
        while await transport.receive_some(_RECEIVE_BYTES):
            pass


def _transport(stream: ByteStream) -> trio.SocketStream:
    return stream.transport_stream if isinstance(stream, trio.SSLStream) else stream


def _socket(stream: ByteStream) -> trio.socket.SocketType:
    return _transport(stream).socket
