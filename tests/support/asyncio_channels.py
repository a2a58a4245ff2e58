"""Channels for tests of the asyncio shell: a reactor that runs, and owners that note what they are told."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator, Callable
from typing import Final

import anyio
import anyio.to_thread

from stargate.asyncio_shell.channel import Channel
from stargate.asyncio_shell.reactor import Reactor
from stargate.shell_common.threads import in_thread
from support.channels import tcp_pair

__all__ = ["Owner", "channel_of", "read_all", "running_reactor", "settle", "tcp_pair", "until"]


_TURNS: Final = 50


async def settle(seconds: float = 0.0) -> None:
    """Let everything happen that can, and so much real time pass, whatever the loop's clock does."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    if seconds:
        await in_thread(time.sleep, seconds)


@contextlib.asynccontextmanager
async def running_reactor() -> AsyncGenerator[Reactor]:
    """A reactor whose channels have no bugs."""
    failures: list[Exception] = []
    reactor = Reactor(failures.append)
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(reactor.run)
        yield reactor
        nursery.cancel_scope.cancel()
    assert failures == []


class Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.data = bytearray()
        self._news = asyncio.Event()
        self.on_heard: Callable[[bytes], None] | None = None
        self.leaves: Channel | None = None
        """The channel to dispose of when its peer has ended, as a session that is over does."""

    def heard(self, data: bytes) -> None:
        self.data += data
        self._note("heard" if data else "ended")
        if self.on_heard is not None:
            self.on_heard(data)
        if not data and self.leaves is not None:
            self.leaves.dispose()

    def lost(self) -> None:
        self._note("lost")

    def stalled(self) -> None:
        self._note("stalled")

    def drained(self) -> None:
        self._note("drained")

    def _note(self, what: str) -> None:
        if what != "heard" or self.told[-1:] != ["heard"]:
            self.told.append(what)
        self._news.set()
        self._news = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something it was told makes this true."""
        with anyio.fail_after(10):
            while not condition():
                await self._news.wait()

    async def until_told(self, what: str) -> None:
        """Wait until it has been told this."""
        await self.until(lambda: what in self.told)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the loop cannot look at: a thread's doing, or the state of something without events."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110  (there is no event to wait for)
            await anyio.sleep(0.01)


async def read_all(sock: socket.socket) -> bytes:
    """What a plain socket reads until its peer ends, in a thread."""

    def read() -> bytes:
        pieces: list[bytes] = []
        while piece := sock.recv(65_536):
            pieces.append(piece)
        return b"".join(pieces)

    sock.settimeout(10)
    return await anyio.to_thread.run_sync(read)


def channel_of(sock: socket.socket, reactor: Reactor) -> tuple[Channel, Owner]:
    """A channel that has begun, and its owner."""
    channel, owner = Channel(sock, reactor), Owner()
    channel.start(owner)
    return channel, owner
