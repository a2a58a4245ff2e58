"""What stands between a store and its server in tests, on trio and so in the test's own time: a relay that
delays, and a server that answers what it is told to.
"""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

import trio

from stargate_core.wire.eventstream import NEED_DATA
from stargate_core.wire.resp import ReplyReader

_READ_BYTES = 65_536


class Delay:
    """How long the relay keeps what the server answers; may be changed at any time."""

    def __init__(self) -> None:
        self.seconds = 0.0


@contextlib.asynccontextmanager
async def slow_relay(port: int, delay: Delay) -> AsyncGenerator[int]:
    """The port of a relay to this one, whose answers take their time."""

    async def carry(source: trio.SocketStream, sink: trio.SocketStream, seconds: Callable[[], float]) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await trio.sleep(seconds())
                await sink.send_all(data)
        await sink.aclose()
        await source.aclose()

    async def serve(client: trio.SocketStream) -> None:
        server = await trio.open_tcp_stream("127.0.0.1", port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry, client, server, lambda: 0.0)
            nursery.start_soon(carry, server, client, lambda: delay.seconds)

    async with _serving(serve) as own_port:
        yield own_port


@contextlib.asynccontextmanager
async def scripted_server(reply: Callable[[list[bytes]], bytes]) -> AsyncGenerator[int]:
    """The port of a server that answers each command with what `reply` makes of it."""

    async def serve(client: trio.SocketStream) -> None:
        reader = ReplyReader()
        with contextlib.suppress(trio.BrokenResourceError):
            async for data in client:
                reader.receive_data(bytes(data))
                while (words := reader.next_reply()) is not NEED_DATA:
                    assert isinstance(words, list)
                    await client.send_all(reply(words))

    async with _serving(serve) as port:
        yield port


@contextlib.asynccontextmanager
async def _serving(serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncGenerator[int]:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        port: int = listeners[0].socket.getsockname()[1]
        yield port
        nursery.cancel_scope.cancel()
