"""What a running gateway is told from outside: by signals, by its supervisor.

SIGTERM or SIGINT drains: no new connections, what runs may finish within the grace time. A second one waits
for nobody any more. SIGHUP reloads.

A worker has a line to its supervisor. Orders come on it, one JSON value a line, and its end is the
supervisor's: then nobody would restart the worker or tell it of a reload, and it drains. A worker drains on
SIGTERM as well, since a service manager signals all processes of a service; to be told twice in two ways is
to be told once. It says on the line that it has started, and that it drains: its place is then another's.
"""

import json
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import anyio

from stargate.reloading import Refusal, Reloader
from stargate.sources import Source

if TYPE_CHECKING:
    from stargate.shell_common.beside import Beside

_READ_BYTES: Final = 65_536


class Line:
    """A worker's line to its supervisor. sock: connected to it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock

    def tell(self, **members: Any) -> None:
        """Tell the supervisor; one that is gone is not told."""
        try:
            # A few bytes, a few times in a life: they have room.
            self.sock.send(json.dumps(members).encode() + b"\n")
        except OSError:
            return

    async def orders(self) -> AsyncIterator[dict[str, Any]]:
        """What it says, until it is gone."""
        pending = b""
        while True:
            try:
                data = self.sock.recv(_READ_BYTES)
            except BlockingIOError:
                await anyio.wait_readable(self.sock)
                continue
            except OSError:
                return
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                yield json.loads(line)


class Outside:
    """What a gateway has from whoever started it, beside its first configuration.

    source: where the next ones come from; None: there are none. watch: whether to look by itself. sockets:
    that listen already, for each listener of the configuration; None: they are to be opened. line: of a
    worker to its supervisor. beside: what runs beside the gateway.
    """

    def __init__(
        self,
        source: Source | None = None,
        *,
        watch: bool = False,
        sockets: Sequence[Sequence[socket.socket]] | None = None,
        line: Line | None = None,
        beside: "Beside | None" = None,
    ) -> None:
        self.source = source
        self.watch = watch
        self.sockets = sockets
        self.line = line
        self.beside = beside
        self.signals = (signal.SIGTERM, signal.SIGINT) + ((signal.SIGHUP,) if line is None else ())
        """Those that it hears. Of a reload a worker hears from its supervisor alone."""


class Orders:
    """What a gateway is told while it runs. Made on its loop."""

    def __init__(self, outside: Outside) -> None:
        self.draining = anyio.Event()
        """Set when it is to drain."""
        self.ending = anyio.Event()
        """Set when it is to wait for nobody any more."""
        self._outside = outside

    async def heed(self, signals: AsyncIterator[int], reloader: Reloader | None) -> None:
        """Do what one is told, for ever."""
        async with anyio.create_task_group() as group:
            if self._outside.line is not None:
                group.start_soon(self._heed_line, self._outside.line, reloader)
            if reloader is not None:
                group.start_soon(reloader.run)
                if self._outside.watch:
                    group.start_soon(reloader.watch)
            async for number in signals:
                if number != signal.SIGHUP:
                    self._end()
                elif reloader is not None and not self.draining.is_set():
                    reloader.want()

    def _end(self) -> None:
        if self.draining.is_set():
            self.ending.set()
        self._drain()

    def _drain(self) -> None:
        if not self.draining.is_set() and self._outside.line is not None:
            self._outside.line.tell(draining=True)
        self.draining.set()

    async def _heed_line(self, line: Line, reloader: Reloader | None) -> None:
        async for order in line.orders():
            match order:
                case {"reload": int(generation), "text": str() | None as text} if reloader is not None:
                    reloader.take(text, generation)
                case {"refused": [*lines], "at_ns": int(at_ns)}:
                    if reloader is not None:
                        reloader.hear_of(Refusal(at_ns, tuple(map(str, lines))))
                case {"end": True}:
                    self.ending.set()
                    self._drain()
                case _:
                    self._drain()
        self._drain()
