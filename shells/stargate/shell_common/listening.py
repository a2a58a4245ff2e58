"""Sockets that listen, for the addresses of the configuration.

Whoever opens them may have to wait for a name to be resolved, so a shell does it in a thread. What is opened
is non-blocking.
"""

import errno
import os
import socket
import ssl
import stat
import sys
from collections.abc import Iterable, Sequence
from typing import Final

from stargate_core.config.addresses import UnixAddress
from stargate_core.config.schema import Listener

BACKLOG: Final = 4096
"""What may wait to be accepted: as much as Linux allows by default (net.core.somaxconn, and it cuts more).
A loop that is busy for a tenth of a second, or a worker that has just died, refuses nobody.
"""
UNSENT_BYTES: Final = 131_072
"""What the kernel takes of an answer beyond what is on its way to the client. By itself it takes up to 4 MB
(net.ipv4.tcp_wmem) from whoever fills it faster than it empties: thousands of slow readers would hold
gigabytes that nobody sees, and an answer would be megabytes ahead of the moment it is cancelled. (Measured
with fifty at 1 KB/s on streams of 2 MB: 97 MB before, 6 MB with it.)
"""
OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What accepting fails with while there is no room; it passes."""
GONE_ALREADY: Final = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED", "ECONNRESET", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENONET",
        "ENOPROTOOPT", "EOPNOTSUPP", "EPERM", "EPROTO", "ETIMEDOUT",
    )
    if hasattr(errno, name)
)  # fmt: skip
"""What accepting fails with where the connection had failed before it was taken: it says nothing of the next
one (accept(2)). trio's listener passes over the same by itself.
"""
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
RECOVERY_SECONDS: Final = 0.1
"""Until it is tried again."""


class CannotListen(Exception):
    """An address can't be had; the text says which, and why."""


class Door:
    """Where clients come in: a listener, and its TLS at this moment; None: plain."""

    __slots__ = ("tls",)

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self.tls = tls


def open_listeners(listeners: Sequence[Listener]) -> list[list[socket.socket]]:
    """`open_listener` for each: all of them, or none. Raises CannotListen."""
    opened: list[list[socket.socket]] = []
    try:
        for listener in listeners:
            opened.append(open_listener(listener))  # noqa: PERF401  (what is open must be known)
    except BaseException:
        _close(sock for sockets in opened for sock in sockets)
        raise
    return opened


def open_for_workers(listeners: Sequence[Listener], workers: int) -> list[list[list[socket.socket]]]:
    """Sockets for several workers: for each worker, the sockets of each listener. Raises CannotListen.

    On Linux each worker has TCP sockets of its own at the same addresses. Otherwise they share.
    """
    # Sockets that share their address would share it with a stranger's as well: that it is free shows now.
    opened = open_listeners(listeners)
    shares: list[list[list[socket.socket]]] = [[] for _ in range(workers)]
    for listener, sockets in zip(listeners, opened, strict=True):
        if sys.platform != "linux" or any(sock.family == socket.AF_UNIX for sock in sockets):
            for share in shares:
                share.append(sockets)
            continue
        places = [(sock.family, sock.getsockname()) for sock in sockets]
        _close(sockets)
        try:
            for share in shares:
                share.append([_open_beside(family, place) for family, place in places])
        except OSError as error:
            _close(sock for share in shares for sockets in share for sock in sockets)
            raise CannotListen(
                f"cannot listen on {listener.address}: {os.strerror(error.errno or 0)}"
            ) from error
    return shares


def inherited(descriptors: Sequence[int]) -> list[socket.socket]:
    """Sockets that somebody else has opened, by their descriptors. Raises CannotListen."""
    found: list[socket.socket] = []
    try:
        for descriptor in descriptors:
            try:
                sock = socket.socket(fileno=descriptor)
                found.append(sock)
                if sock.type != socket.SOCK_STREAM or sock.family not in _FAMILIES:
                    raise OSError(errno.EPROTOTYPE, os.strerror(errno.EPROTOTYPE))
                sock.setblocking(False)
                sock.set_inheritable(False)
                _bound_unsent(sock)
                sock.listen(BACKLOG)  # Harmless where it does already.
            except OSError as error:
                why = os.strerror(error.errno or 0)
                raise CannotListen(f"cannot listen on descriptor {descriptor}: {why}") from error
    except BaseException:
        _close(found)
        raise
    return found


def open_listener(listener: Listener) -> list[socket.socket]:
    """Sockets that listen at an address. Raises CannotListen."""
    address = listener.endpoint
    try:
        if isinstance(address, UnixAddress):
            return [_open_unix(address.path)]
        return _open_tcp(address.host, address.port)
    except socket.gaierror as error:
        raise CannotListen(f"cannot listen on {listener.address}: {error.strerror}") from error
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise CannotListen(f"cannot listen on {listener.address}: {why}") from error


def _open_tcp(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of the host; a family that this machine lacks is passed over."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in found:
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:
                if error.errno == errno.EAFNOSUPPORT:
                    continue
                raise
            opened.append(sock)
            _prepare(sock)
            _listen(sock, address)
        if not opened:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    except BaseException:
        _close(opened)
        raise
    return opened


def _prepare(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _bound_unsent(sock)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def _bound_unsent(sock: socket.socket) -> None:
    """Set for a socket that listens, it is set for all that it accepts."""
    if sock.family != socket.AF_UNIX and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def _open_beside(family: int, address: object) -> socket.socket:
    """A socket at an address that others have as well. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        _prepare(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _listen(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


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


def _open_unix(path: str) -> socket.socket:
    _clear_unix(path)
    sock = socket.socket(socket.AF_UNIX)
    try:
        _listen(sock, path)
    except BaseException:
        sock.close()
        raise
    return sock


def _listen(sock: socket.socket, address: object) -> None:
    sock.setblocking(False)
    sock.bind(address)  # type: ignore[arg-type]
    sock.listen(BACKLOG)


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def names(sockets: Sequence[socket.socket], listener: Listener) -> list[str]:
    """The URLs the sockets can be reached at."""
    scheme = "https" if listener.tls is not None else "http"
    found: list[str] = []
    for sock in sockets:
        if sock.family == socket.AF_UNIX:
            found.append(f"unix:{sock.getsockname()}")
        else:
            host, port = sock.getsockname()[:2]
            found.append(f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}")
    return found
