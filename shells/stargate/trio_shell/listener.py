"""Listening: sockets for the addresses of the configuration, and the loop that accepts."""

import errno
import os
import socket
import ssl
import stat
from collections.abc import Sequence
from typing import Final

import trio

from stargate.trio_shell.gateway import Gateway
from stargate_core.config.addresses import UnixAddress
from stargate_core.config.schema import Listener

BACKLOG: Final = 2048
_OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_RECOVERY_SECONDS: Final = 0.1


class CannotListen(Exception):
    """An address can't be had; the text says which, and why."""


async def open_listeners(listeners: Sequence[Listener]) -> list[list[trio.SocketListener]]:
    """`open_listener` for each: all of them, or none. Raises CannotListen."""
    opened: list[list[trio.SocketListener]] = []
    try:
        for listener in listeners:
            opened.append(await open_listener(listener))  # noqa: PERF401  (what is open must be known)
    except BaseException:
        for sockets in opened:
            for each in sockets:
                each.socket.close()
        raise
    return opened


async def open_listener(listener: Listener) -> list[trio.SocketListener]:
    """Sockets that listen at an address. Raises CannotListen."""
    address = listener.endpoint
    try:
        if isinstance(address, UnixAddress):
            return [await _open_unix(address.path)]
        return await trio.open_tcp_listeners(address.port, host=address.host, backlog=BACKLOG)
    except socket.gaierror as error:
        raise CannotListen(f"cannot listen on {listener.address}: {error.strerror}") from error
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise CannotListen(f"cannot listen on {listener.address}: {why}") from error


def _clear_unix(path: str) -> None:
    """Remove the socket that a dead process has left at the path; a live one or a file stays."""
    if not (os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode)):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except BlockingIOError:
            pass  # Its backlog is full, so it lives.


async def _open_unix(path: str) -> trio.SocketListener:
    _clear_unix(path)
    sock = trio.socket.socket(socket.AF_UNIX)
    try:
        await sock.bind(path)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return trio.SocketListener(sock)


def names(listeners: list[trio.SocketListener], listener: Listener) -> list[str]:
    """The URLs the sockets can be reached at."""
    scheme = "https" if listener.tls is not None else "http"
    found: list[str] = []
    for each in listeners:
        if each.socket.family == socket.AF_UNIX:
            found.append(f"unix:{each.socket.getsockname()}")
        else:
            host, port = each.socket.getsockname()[:2]
            found.append(f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}")
    return found


async def accept(
    listener: trio.SocketListener, gateway: Gateway, nursery: trio.Nursery, tls: ssl.SSLContext | None
) -> None:
    """Accept for ever. At the limit of connections new ones wait in the backlog."""
    limiter = gateway.connections
    failing = False
    async with listener:
        while True:
            await limiter.acquire_on_behalf_of(token := object())
            try:
                stream = await listener.accept()
            except OSError as error:
                limiter.release_on_behalf_of(token)
                if error.errno not in _OUT_OF_DESCRIPTORS:
                    raise
                if not failing:
                    gateway.note("error", f"cannot accept connections: {os.strerror(error.errno)}")
                failing = True
                await trio.sleep(_RECOVERY_SECONDS)
                continue
            except BaseException:
                limiter.release_on_behalf_of(token)
                raise
            if failing:
                failing = False
                gateway.note("info", "accepting connections again")
            nursery.start_soon(_serve, stream, gateway, tls, token)


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
