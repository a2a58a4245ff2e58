"""Listening: the loop that accepts."""

import os
import socket
import ssl

import trio

from stargate.shell_common.listening import OUT_OF_DESCRIPTORS, RECOVERY_SECONDS, Door
from stargate.trio_shell.gateway import Gateway


async def accept(sock: socket.socket, gateway: Gateway, nursery: trio.Nursery, door: Door) -> None:
    """Accept for ever. At the limit of connections new ones wait in the backlog."""
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    limiter = gateway.connections
    failing = False
    async with listener:
        while True:
            await limiter.acquire_on_behalf_of(token := object())
            try:
                stream = await listener.accept()
            except OSError as error:
                limiter.release_on_behalf_of(token)
                if error.errno not in OUT_OF_DESCRIPTORS:
                    raise
                if not failing:
                    gateway.note("error", f"cannot accept connections: {os.strerror(error.errno)}")
                failing = True
                await trio.sleep(RECOVERY_SECONDS)
                continue
            except BaseException:
                limiter.release_on_behalf_of(token)
                raise
            if failing:
                failing = False
                gateway.note("info", "accepting connections again")
            nursery.start_soon(_serve, stream, gateway, door.tls, token)


async def _serve(
    stream: trio.SocketStream, gateway: Gateway, tls: ssl.SSLContext | None, token: object
) -> None:
    try:
        match stream.socket.getpeername():
            case (str(address), *_):
                pass
            case _:
                address = "unix"
        await gateway.serve(socket.socket(fileno=stream.socket.detach()), address, tls)
    except OSError:
        stream.socket.close()  # It was gone before it could be asked who it is.
    finally:
        gateway.connections.release_on_behalf_of(token)
