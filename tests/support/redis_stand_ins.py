"""What stands between a store and its server in tests, on the test's own loop and so in its own time: a relay
that delays, and a server that answers what it is told to.
"""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

import anyio
from anyio.abc import SocketAttribute, SocketStream

from stargate_core.wire.eventstream import NEED_DATA
from stargate_core.wire.resp import ReplyReader

_GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError)


class Delay:
    """How long the relay keeps what the server answers; may be changed at any time."""

    def __init__(self) -> None:
        self.seconds = 0.0


@contextlib.asynccontextmanager
async def slow_relay(port: int, delay: Delay) -> AsyncGenerator[int]:
    """The port of a relay to this one, whose answers take their time."""

    async def carry(source: SocketStream, sink: SocketStream, seconds: Callable[[], float]) -> None:
        with contextlib.suppress(*_GONE):
            async for data in source:
                await anyio.sleep(seconds())
                await sink.send(data)
        await sink.aclose()
        await source.aclose()

    async def serve(client: SocketStream) -> None:
        async with client, await anyio.connect_tcp("127.0.0.1", port) as server:
            async with anyio.create_task_group() as nursery:
                nursery.start_soon(carry, client, server, lambda: 0.0)
                nursery.start_soon(carry, server, client, lambda: delay.seconds)

    async with _serving(serve) as own_port:
        yield own_port


@contextlib.asynccontextmanager
async def scripted_server(reply: Callable[[list[bytes]], bytes]) -> AsyncGenerator[int]:
    """The port of a server that answers each command with what `reply` makes of it."""

    async def serve(client: SocketStream) -> None:
        reader = ReplyReader()
        with contextlib.suppress(*_GONE):
            async with client:
                async for data in client:
                    reader.receive_data(data)
                    while (words := reader.next_reply()) is not NEED_DATA:
                        assert isinstance(words, list)
                        await client.send(reply(words))

    async with _serving(serve) as port:
        yield port


@contextlib.asynccontextmanager
async def _serving(serve: Callable[[SocketStream], Awaitable[Any]]) -> AsyncGenerator[int]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as nursery:
        nursery.start_soon(listener.serve, serve)
        port: int = listener.extra(SocketAttribute.local_port)
        yield port
        nursery.cancel_scope.cancel()
