"""The reactor: asyncio's own loop, which hears of every ready socket.

A loop of asyncio's is a reactor already: sockets are registered once, with its selector (or uvloop's libuv),
and one wake-up serves all that is ready, each by a call. So what the trio shell does by a task of its own is
done here by the loop, and this is only where the two meet.

Why not transports and protocols? They are made for those who want bytes brought and taken. A channel wants to
know, within `write`, what the socket took; to tell an end from a cut under TLS, which asyncio's transports
don't; and to be the trio shell's channel, line by line. What they would save was measured: under one
microsecond of a request's two hundred, on uvloop; nothing on asyncio's own loop.

Tasks still own the connections' lives, and cancelling them ends those. The reactor only brings the news.

The loop must be one that takes readers and writers: all do, but Windows' proactor.
"""

import asyncio
import contextvars
import selectors
from collections.abc import Callable
from typing import Final, Protocol

import sniffio

READABLE: Final = selectors.EVENT_READ
WRITABLE: Final = selectors.EVENT_WRITE


class Watched(Protocol):
    """Whoever a socket belongs to."""

    def ready(self, events: int) -> None:
        """The socket can be read, written, or both."""
        ...

    def abort(self) -> None:
        """End it: its own `ready` has failed."""
        ...


class Reactor:
    """Watches sockets. failed: told of a `ready` that raised, which must not end the others."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        """What news is brought in: outside of tasks, so that anyio must be told what it is on."""
        self._context.run(sniffio.current_async_library_cvar.set, "asyncio")
        self._watched: dict[int, int] = {}
        """What each descriptor is watched for."""
        self._failed = failed
        self._closed = False

    def watch(self, descriptor: int, watched: Watched, before: int, after: int) -> None:
        """Change what is watched for: READABLE, WRITABLE, both, or nothing (0)."""
        if before == after or self._closed:
            return
        self._watched[descriptor] = after
        if after & ~before & READABLE:
            self._context.run(self._loop.add_reader, descriptor, self._bring, watched, READABLE)
        if after & ~before & WRITABLE:
            self._context.run(self._loop.add_writer, descriptor, self._bring, watched, WRITABLE)
        self._unwatch(descriptor, before & ~after)
        if after == 0:
            del self._watched[descriptor]

    def _unwatch(self, descriptor: int, events: int) -> None:
        if events & READABLE:
            self._loop.remove_reader(descriptor)
        if events & WRITABLE:
            self._loop.remove_writer(descriptor)

    def _bring(self, watched: Watched, events: int) -> None:
        try:
            watched.ready(events)
        except Exception as error:  # noqa: BLE001  (one connection's bug is not the others')
            watched.abort()
            self._failed(error)

    async def run(self) -> None:
        """Bring the news for ever: the loop does, until this is cancelled."""
        try:
            await asyncio.Event().wait()
        finally:
            self._closed = True
            for descriptor, events in self._watched.items():
                self._unwatch(descriptor, events)
