"""Opening upstream connections."""

import socket
import ssl
from collections.abc import Callable
from typing import Final

import trio

from stargate.trio_shell.channel import Channel
from stargate.trio_shell.reactor import Reactor
from stargate_core.aws.endpoints import Endpoint

KEEPALIVE_IDLE_SECONDS: Final = 60
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
