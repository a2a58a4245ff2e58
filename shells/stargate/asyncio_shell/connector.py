"""Opening upstream connections."""

import asyncio
import contextlib
import itertools
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import anyio

from stargate.asyncio_shell.channel import Channel
from stargate.asyncio_shell.reactor import Reactor
from stargate.shell_common.threads import in_thread
from stargate_core.aws.endpoints import Endpoint

KEEPALIVE_IDLE_SECONDS: Final = 60
"""AWS NAT gateways and load balancers forget a flow after 350 idle seconds; a long answer must not be
forgotten.
"""
_NEXT_SECONDS: Final = 0.25
"""Until the next address is tried beside the one that keeps silent (RFC 8305, Happy Eyeballs)."""

_Address: TypeAlias = tuple[socket.AddressFamily, Any]


async def connect(endpoint: Endpoint, reactor: Reactor, tls: Callable[[Endpoint], ssl.SSLContext]) -> Channel:
    """A connection to the endpoint, TLS included; the pool bounds its time.

    Raises OSError or ssl.SSLError.
    """
    sock = await _open(endpoint.host, endpoint.port)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)
    channel = Channel(sock, reactor)
    if endpoint.scheme == "https":
        try:
            await channel.handshake(tls(endpoint), server_side=False, server_name=endpoint.host)
        except BaseException:
            channel.dispose()
            raise
    return channel


# ------------------------------------------------------------------------------- what trio brings of its own


async def _open(host: str, port: int) -> socket.socket:
    """A socket that is connected, to whichever of the host's addresses answers first. Raises OSError."""
    addresses = await _addresses(host, port)
    sockets: list[socket.socket] = []
    errors: list[OSError] = []

    async def attempt(address: _Address, over: asyncio.Event) -> None:
        try:
            sockets.append(await _connected(address))
            tries.cancel_scope.cancel()
        except OSError as error:
            errors.append(error)
        finally:
            over.set()

    chosen: socket.socket | None = None
    try:
        async with anyio.create_task_group() as tries:
            for address in addresses:
                over = asyncio.Event()
                tries.start_soon(attempt, address, over)
                with anyio.move_on_after(_NEXT_SECONDS):
                    await over.wait()
        chosen = sockets[0] if sockets else None
    finally:
        for sock in sockets:
            if sock is not chosen:
                sock.close()
    if chosen is None:
        raise OSError(f"all attempts to connect to {host}:{port} failed") from _all_of(errors)
    return chosen


def _all_of(errors: Sequence[OSError]) -> BaseException:
    return errors[0] if len(errors) == 1 else ExceptionGroup("each attempt", errors)


async def _addresses(host: str, port: int) -> list[_Address]:
    """The host's addresses, the families by turns. Raises OSError."""
    found = await in_thread(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    first = found[0][0]
    preferred = [(family, address) for family, *_, address in found if family is first]
    others = [(family, address) for family, *_, address in found if family is not first]
    pairs = itertools.zip_longest(preferred, others)
    return [address for pair in pairs for address in pair if address is not None]


async def _connected(address: _Address) -> socket.socket:
    sock = socket.socket(address[0])
    try:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect(address[1])
        await anyio.wait_writable(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
    except BaseException:
        sock.close()
        raise
    return sock
