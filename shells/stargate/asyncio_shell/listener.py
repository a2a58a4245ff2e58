"""Listening: the loop that accepts."""

import os
import socket
import ssl

import anyio
from anyio.abc import TaskGroup

from stargate.asyncio_shell.gateway import Gateway
from stargate.shell_common.listening import GONE_ALREADY, OUT_OF_DESCRIPTORS, RECOVERY_SECONDS, Door


async def accept(sock: socket.socket, gateway: Gateway, nursery: TaskGroup, door: Door) -> None:
    """Accept for ever. At the limit of connections new ones wait in the backlog."""
    limiter = gateway.connections
    failing = False
    with sock:
        while True:
            await limiter.acquire_on_behalf_of(token := object())
            try:
                accepted = await _accepted(sock)
            except OSError as error:
                limiter.release_on_behalf_of(token)
                if error.errno not in OUT_OF_DESCRIPTORS:
                    raise
                if not failing:
                    gateway.note("error", f"cannot accept connections: {os.strerror(error.errno)}")
                failing = True
                await anyio.sleep(RECOVERY_SECONDS)
                continue
            except BaseException:
                limiter.release_on_behalf_of(token)
                raise
            if failing:
                failing = False
                gateway.note("info", "accepting connections again")
            nursery.start_soon(_serve, accepted, gateway, door.tls, token)


async def _accepted(sock: socket.socket) -> socket.socket:
    """The next connection. Cancelled, it has taken none: the loop's own `sock_accept` may lose one."""
    while True:
        try:
            return sock.accept()[0]
        except BlockingIOError:
            await anyio.wait_readable(sock)
        except OSError as error:
            if error.errno not in GONE_ALREADY:
                raise


async def _serve(sock: socket.socket, gateway: Gateway, tls: ssl.SSLContext | None, token: object) -> None:
    try:
        match sock.getpeername():
            case (str(address), *_):
                pass
            case _:
                address = "unix"
        await gateway.serve(sock, address, tls)
    except OSError:
        sock.close()  # It was gone before it could be asked who it is.
    finally:
        gateway.connections.release_on_behalf_of(token)
