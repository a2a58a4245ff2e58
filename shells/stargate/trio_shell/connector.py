"""Opening upstream connections, and telling in the core's words why one did not open."""

import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import cast

import trio

from stargate.trio_shell.channel import Channel
from stargate.trio_shell.reactor import Reactor
from stargate_core.aws.endpoints import Endpoint
from stargate_core.messages import Trouble

KEEPALIVE_IDLE_SECONDS = 60
"""AWS NAT gateways and load balancers forget a flow after 350 idle seconds; a long answer must not be
forgotten.
"""


async def connect(endpoint: Endpoint, reactor: Reactor, tls: Callable[[Endpoint], ssl.SSLContext]) -> Channel:
    """A connection to the endpoint, TLS included; the pool bounds its time.

    Raises OSError or ssl.SSLError.
    """
    stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
    sock = socket.socket(fileno=stream.socket.detach())
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


def detail_of(error: BaseException) -> str:
    """Why a connection did not open, for the log: what the causes behind it say, each once."""
    causes = [cause for cause in _causes(error) if not _parts(cause)]
    return "; ".join(dict.fromkeys(f"{type(cause).__name__}: {cause}" for cause in causes))


def trouble_of(error: BaseException) -> Trouble:
    """The same in the core's words."""
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return Trouble.TLS
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Trouble.NAME_UNKNOWN
    if any(isinstance(cause, OSError) and cause.errno == errno.ECONNREFUSED for cause in causes):
        return Trouble.REFUSED
    return Trouble.UNREACHABLE


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and all it was made from: several addresses may have been tried."""
    yield error
    for part in _parts(error):
        yield from _causes(part)


def _parts(error: BaseException) -> tuple[BaseException, ...]:
    cause = () if error.__cause__ is None else (error.__cause__,)
    match error:
        case BaseExceptionGroup(exceptions=tuple(parts)):
            return (*cast("tuple[BaseException, ...]", parts), *cause)
        case _:
            return cause
