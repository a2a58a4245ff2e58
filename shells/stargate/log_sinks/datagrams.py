"""Lines as datagrams: one each, without its end, to a UDP collector.

Rules:

- A line that is longer than a datagram can be is dropped and counted: half a record is of no use to anybody.
- UDP tells nothing of what became of a datagram. Only where the collector's machine runs and nobody listens
  does the system hear of it, with the next one; that is trouble to tell of, but the lines are gone, and count
  as written: they were given to the network.
- The host's name is looked up anew after trouble, and every `_LOOK_AGAIN_SECONDS`: collectors move.
"""

import contextlib
import errno
import socket
import time
from typing import Final
from urllib.parse import urlsplit

from stargate.shell_common.lines import Done

_LOOK_AGAIN_SECONDS: Final = 60.0
_SEND_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 1.0
_REFUSALS_MAX: Final = 3
"""In a row, for one line: each of them tells of an earlier one."""


class UdpWriter:
    """Sends to one address."""

    __slots__ = ("_host", "_looked_at", "_port", "_socket", "_stopped", "gather_seconds", "progress")

    def __init__(self, path: str) -> None:
        parts = urlsplit(path)
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._socket: socket.socket | None = None
        self._looked_at = 0.0
        self._stopped = False
        self.gather_seconds = 0.05
        self.progress = 0

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True

    def write(self, data: bytes) -> Done:
        """Send the lines, as far as they can be sent."""
        self.progress = lost = 0
        told = ""
        try:
            sending = self._open()
            for line in data.splitlines(keepends=True):
                if self._stopped:
                    break
                trouble = _send(sending, line.removesuffix(b"\n"))
                if trouble is None:
                    lost += 1
                else:
                    told = told or trouble
                self.progress += len(line)
        except OSError as error:
            self._close()
            return Done(self.progress, lost, error.strerror or str(error), _AGAIN_SECONDS)
        return Done(self.progress, lost, told, _AGAIN_SECONDS)

    def _open(self) -> socket.socket:
        now = time.monotonic()
        if self._socket is not None and now - self._looked_at < _LOOK_AGAIN_SECONDS:
            return self._socket
        self._close()
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _name, address = found[0]
        sending = socket.socket(family, kind, protocol)
        sending.settimeout(_SEND_SECONDS)
        try:
            sending.connect(address)
        except OSError:
            sending.close()
            raise
        self._socket, self._looked_at = sending, now
        return sending

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            self._close()


def _send(sending: socket.socket, line: bytes) -> str | None:
    """Send one line. What was heard of earlier ones, '' if nothing; None: this one is too long."""
    heard = ""
    for _ in range(_REFUSALS_MAX):
        try:
            sending.send(line)
        except ConnectionRefusedError as error:
            heard = error.strerror or "nobody listens"
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                return None
            raise
        else:
            break
    return heard
