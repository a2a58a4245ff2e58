"""The loop that accepts: a connection that failed before it was taken costs nobody else theirs."""

import errno
import socket
from typing import Any

import anyio
import pytest

from stargate.asyncio_shell.listener import _accepted

pytestmark = pytest.mark.anyio


class Ill(socket.socket):
    """A listening socket whose first connections have failed already."""

    ailments: list[int]

    def accept(self) -> tuple[socket.socket, Any]:
        if self.ailments:
            raise OSError(self.ailments.pop(0), "gone")
        return super().accept()


def listening(*ailments: int) -> Ill:
    sock = Ill(socket.AF_INET)
    sock.ailments = list(ailments)
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    sock.setblocking(False)
    return sock


async def test_the_next_one_is_taken() -> None:
    with listening(errno.ECONNABORTED, errno.EPROTO) as sock, anyio.fail_after(5):
        with socket.create_connection(sock.getsockname()):
            (await _accepted(sock)).close()
        assert sock.ailments == []


async def test_what_is_our_own_trouble_is_told() -> None:
    with listening(errno.EMFILE) as sock:
        with pytest.raises(OSError, match="gone"):
            await _accepted(sock)
