"""What the command line says of listening: addresses in the place of the file's, or sockets that are open.

A service manager may open the sockets: named with `--fd`, or handed over as systemd does it, in the variables
LISTEN_FDS and LISTEN_PID.

Source: sd_listen_fds(3).
"""

import os
import socket
from collections.abc import Callable, MutableMapping, Sequence
from typing import Final

import click
import msgspec

from stargate.shell_common.listening import CannotListen, inherited
from stargate_core.config.problems import Misfit
from stargate_core.config.schema import Config, Listener

_FIRST: Final = 3
"""systemd's first descriptor."""


def handed_in(
    descriptors: Sequence[int], listen: Sequence[str], environ: MutableMapping[str, str]
) -> list[socket.socket]:
    """The sockets that listen already; none: they are to be opened. Raises click's exceptions.

    What systemd says is taken out of the environment: it is for nobody else.
    """
    count, process = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    environ.pop("LISTEN_FDNAMES", None)
    if not descriptors and process == str(os.getpid()) and count.isdecimal():
        descriptors = range(_FIRST, _FIRST + int(count))
    if descriptors and listen:
        raise click.BadParameter("the sockets are open already: say --fd or --listen", param_hint="--listen")
    try:
        return inherited(descriptors)
    except CannotListen as error:
        raise click.ClickException(str(error)) from None


def changed_by(
    listen: Sequence[str], sockets: Sequence[socket.socket], workers: int | None
) -> Callable[[Config], Config]:
    """What the command line says in the place of the file. Raises click.BadParameter."""
    try:
        listeners = [Listener(address) for address in listen]
    except Misfit as misfit:
        raise click.BadParameter(str(misfit), param_hint="--listen") from None

    def change(config: Config) -> Config:
        gateway = config.gateway
        if listeners:
            gateway = msgspec.structs.replace(gateway, listen=listeners)
        if sockets:
            gateway = msgspec.structs.replace(gateway, listen=_listeners(sockets, gateway.listen))
        if workers is not None:
            gateway = msgspec.structs.replace(gateway, workers=workers)
        if gateway.workers > 1 and not (gateway.store.is_shared or gateway.per_worker_limits):
            raise Misfit("", f"{gateway.workers} workers need a store that they share, or per_worker_limits")
        return msgspec.structs.replace(config, gateway=gateway)

    return change


def _listeners(sockets: Sequence[socket.socket], written: Sequence[Listener]) -> list[Listener]:
    """Listeners for open sockets. TLS is what the file says of its listeners, in order. Raises Misfit."""
    if any(listener.tls is not None for listener in written):
        if len(written) != len(sockets):
            raise Misfit("", f"{len(sockets)} open sockets for {len(written)} listeners: whose TLS is whose?")
        return [Listener(_address(one), listener.tls) for one, listener in zip(sockets, written, strict=True)]
    return [Listener(_address(one)) for one in sockets]


def _address(sock: socket.socket) -> str:
    """Where a socket listens, as the configuration writes it."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        named = isinstance(name, str) and name.startswith("/")
        return f"unix:{name}" if named else f"unix:/proc/self/fd/{sock.fileno()}"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
