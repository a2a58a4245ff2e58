"""Sinks: where log records and notes go, without ever making a request wait.

A line is put into a bounded buffer and the request is done with it. A task writes what has gathered, a few
times a second at the most, from a worker thread: a full pipe or a slow disk holds up that thread alone. When
the buffer is full the line is dropped and counted, and the count is told as soon as something can be written
again.
"""

import contextlib
import os
import time
from typing import Final

import trio

BUFFERED_BYTES_MAX: Final = 8 * 1024 * 1024
_GATHER_SECONDS: Final = 0.05
_LAST_WORDS_SECONDS: Final = 1.0
_STANDARD: Final = {"/dev/stdout": 1, "/dev/stderr": 2, "-": 1}
NOTES: Final = "/dev/stderr"
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Sink:
    """One file or standard stream."""

    __slots__ = ("_dropped", "_lines", "_path", "_size", "_wake")

    def __init__(self, path: str) -> None:
        self._path = path
        self._lines: list[bytes] = []
        self._size = 0
        self._dropped = 0
        self._wake = trio.Event()

    def put(self, line: bytes) -> None:
        """Take a line, if there is room."""
        if self._size + len(line) > BUFFERED_BYTES_MAX:
            self._dropped += 1
            return
        self._lines.append(line)
        self._size += len(line)
        if len(self._lines) == 1:
            self._wake.set()

    async def run(self) -> None:
        """Write for ever, and once more when cancelled."""
        try:
            while True:
                await self._wake.wait()
                await trio.sleep(_GATHER_SECONDS)
                await self._write()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _LAST_WORDS_SECONDS):
                await self._write()

    async def _write(self) -> None:
        lines, self._lines = self._lines, []
        if self._dropped:
            lines.append(b'{"dropped_lines":%d}\n' % self._dropped)
            self._dropped = 0
        self._wake = trio.Event()
        if lines:
            # Not the whole size is given back before it is written: a sink that stands still must stay
            # bounded.
            await trio.to_thread.run_sync(self._write_sync, b"".join(lines), abandon_on_cancel=True)
            self._size = sum(map(len, self._lines))

    def _write_sync(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            descriptor = _STANDARD.get(self._path)
            if descriptor is not None:
                _write_all(descriptor, data)
                return
            opened = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                _write_all(opened, data)
            finally:
                os.close(opened)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class Sinks:
    """All sinks of a process, opened as they are first used."""

    def __init__(self, nursery: trio.Nursery, *, level: str = "info") -> None:
        self._nursery = nursery
        self._level = _LEVELS[level]
        self._sinks: dict[str, Sink] = {}

    def emit(self, path: str, line: bytes) -> None:
        """Write a line to a sink, in its own time."""
        sink = self._sinks.get(path)
        if sink is None:
            sink = self._sinks[path] = Sink(path)
            self._nursery.start_soon(sink.run)
        sink.put(line)

    def note(self, level: str, text: str) -> None:
        """Tell the operator something, on standard error."""
        if _LEVELS.get(level, 40) >= self._level:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self.emit(NOTES, f"{stamp} {level}: {text}\n".encode())
