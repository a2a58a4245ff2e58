"""A connection to a gateway as the load generators use it, and the beat at which some of them send.

`Call` asks, collects the answer, and says when its first byte and its last one came; what is done with it is
its subclass's. It reads what the benchmark's gateways answer, and is no client for anything else.

`Metronome` beats at a fixed rate, whatever becomes of the beats before: the kernel counts those that a busy
process has missed (timerfd), and the time of each beat is computed, not looked at. uvloop's own timers are
too coarse for it: they count in milliseconds.
"""

import asyncio
import ctypes
import os
import time
from collections.abc import Callable
from typing import Final, TypeVar, cast

import msgspec

from bench.judge import unchunked

_CLOCK_MONOTONIC: Final = 1
_NONBLOCK_CLOEXEC: Final = 0o2004000
_LAST_CHUNK: Final = b"0\r\n\r\n"
_CONNECTING_AT_ONCE: Final = 64


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to ask, and how."""

    port: int
    """0 where the callers are in the gateway's own process."""
    dialect: str
    """openai; converse; signed: converse with a signature of nobody's, for upstream itself."""
    headers: dict[str, str] = {}
    """What the gateway wants to be told beside."""

    @property
    def openai(self) -> bool:
        """Whether answers are OpenAI's."""
        return self.dialect == "openai"


class Call(asyncio.Protocol):
    """One connection, and what is under way on it."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._body_at = 0
        self._size = 0
        self._length: int | None = None
        """Of the body; None: it comes in chunks."""
        self.first_at = 0.0
        """When the first byte of the answer's body came."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        self.failed(f"the connection was closed: {exc!r}")

    def ask(self, request: bytes) -> None:
        """Send a request. The one before must have been answered."""
        self.first_at = 0.0
        self.transport.write(request)

    def answered(self, content: Callable[[], bytes]) -> None:
        """The answer's last byte has come. content: gives its body, without chunks."""
        raise NotImplementedError

    def failed(self, why: str) -> None:
        """The connection is gone, or what came is no good answer."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Collect an answer."""
        self._pieces.append(data)
        self._size += len(data)
        if not self._body_at and not self._read_head():
            return
        if not self.first_at and self._size > self._body_at:
            self.first_at = time.perf_counter()
        if self._length is None:
            # Frames are binary: five bytes may look like the end by chance. The judge finds that out.
            if data.endswith(_LAST_CHUNK) or (len(data) < len(_LAST_CHUNK) and self._ends()):
                self._answered()
        elif self._size == self._body_at + self._length:
            self._answered()
        elif self._size > self._body_at + self._length:
            self.failed("bytes behind an answer")

    def _ends(self) -> bool:
        return b"".join(self._pieces[-5:]).endswith(_LAST_CHUNK)

    def _read_head(self) -> bool:
        """Find where the body begins; whether the head is whole."""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not data.startswith(b"HTTP/1.1 200 "):
            status, body = data[:end].partition(b"\r\n")[0], data[end + 4 :]
            self.failed(f"{status.decode('latin-1')}: {body[:300].decode('latin-1')}")
            return False
        self._body_at = end + 4
        head = data[:end].lower()
        # Some repeat the headers of upstream's answer under names of their own.
        at = head.find(b"\r\ncontent-length: ")
        self._length = int(head[at + 18 :].split(b"\r", 1)[0]) if at >= 0 else None
        return True

    def _answered(self) -> None:
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        body, chunked = data[self._body_at :], self._length is None
        self._pieces.clear()
        self._size = self._body_at = 0
        self.answered(lambda: unchunked(body) if chunked else body)


class Metronome:
    """Calls `beat` with the number and the time of each beat, until it is stopped."""

    def __init__(self, per_second: float, beat: Callable[[int, float], None]) -> None:
        self._period = 1 / per_second
        self._beat = beat
        self._number = 0
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def start(self) -> float:
        """Begin; returns the time of the beat before the first."""
        nanoseconds = max(1, round(self._period * 1e9))
        self._period = nanoseconds / 1e9
        # struct itimerspec: the interval and the first time, each in seconds and nanoseconds.
        setting = (ctypes.c_long * 4)(*divmod(nanoseconds, 1_000_000_000) * 2)
        self._began = time.perf_counter()
        if self._libc.timerfd_settime(self._file, 0, ctypes.byref(setting), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        asyncio.get_running_loop().add_reader(self._file, self._ring)
        return self._began

    def _ring(self) -> None:
        try:
            count = int.from_bytes(os.read(self._file, 8), "little")
        except BlockingIOError:
            return
        for _ in range(count):
            if self._file < 0:
                return
            self._number += 1
            self._beat(self._number - 1, self._began + self._number * self._period)

    def stop(self) -> None:
        """End; there is no beat after this one."""
        if self._file >= 0:
            asyncio.get_running_loop().remove_reader(self._file)
            os.close(self._file)
            self._file = -1


Caller = TypeVar("Caller", bound=Call)


async def connected(count: int, port: int, make: Callable[[int], Caller]) -> list[Caller]:
    """So many connections; some are made at a time, so that no backlog overflows."""
    loop = asyncio.get_running_loop()
    made: list[Caller] = []

    async def connect(number: int) -> Caller:
        _, call = await loop.create_connection(lambda: make(number), "127.0.0.1", port)
        return call

    for first in range(0, count, _CONNECTING_AT_ONCE):
        numbers = range(first, min(count, first + _CONNECTING_AT_ONCE))
        made += await asyncio.gather(*map(connect, numbers))
    return made
