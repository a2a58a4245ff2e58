"""Sinks: where log records and notes go, without ever making a request wait.

A line is put into a bounded buffer and the request is done with it. A task writes what has gathered, a few
times a second at the most, from a worker thread: a full pipe or a slow disk holds up that thread alone. When
the buffer is full, or the sink cannot be written, lines are dropped and counted. The count is told in the
sink itself as soon as something can be written again; that it cannot, and that it can again, is a note.
"""

import os
import time
from collections.abc import Callable
from typing import Final

import trio

BUFFERED_BYTES_MAX: Final = 8 * 1024 * 1024
_GATHER_SECONDS: Final = 0.05
_LAST_WORDS_SECONDS: Final = 1.0
_STANDARD: Final = {"/dev/stdout": 1, "/dev/stderr": 2, "-": 1}
NOTES: Final = "/dev/stderr"
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Sink:
    """One file or standard stream. note: whom to tell that it cannot be written, or can again."""

    __slots__ = ("_closing", "_dropped", "_lines", "_note", "_path", "_size", "_trouble", "_wake", "closed")

    def __init__(self, path: str, note: Callable[[str, str], None]) -> None:
        self._path = path
        self._note = note
        self._lines: list[bytes] = []
        self._size = 0
        self._dropped = 0
        self._trouble = ""
        self._closing = False
        self._wake = trio.Event()
        self.closed = trio.Event()
        """Set when it has written its last line."""

    def put(self, line: bytes) -> None:
        """Take a line, if there is room."""
        if self._size + len(line) > BUFFERED_BYTES_MAX:
            self._dropped += 1
            return
        self._lines.append(line)
        self._size += len(line)
        if len(self._lines) == 1:
            self._wake.set()

    def close(self) -> None:
        """Write what there is, and end."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Write until closed."""
        while self._lines or not self._closing:
            await self._wake.wait()
            if not self._closing:
                await trio.sleep(_GATHER_SECONDS)
            await self._write()
        self.closed.set()

    async def _write(self) -> None:
        lines, self._lines = self._lines, []
        if not self._closing:
            self._wake = trio.Event()
        if not lines:
            return
        count, dropped = len(lines), self._dropped
        if dropped:
            lines.append(b'{"dropped_lines":%d}\n' % dropped)
        trouble = await trio.to_thread.run_sync(self._write_sync, b"".join(lines), abandon_on_cancel=True)
        # Not the whole size is given back before it is written: a sink that stands still must stay bounded.
        self._size = sum(map(len, self._lines))
        if trouble:
            self._dropped += count
            if not self._trouble:
                self._note("error", f"cannot write to {self._path}: {trouble}; what should go there is lost")
        else:
            if self._trouble:
                self._note("info", f"writing to {self._path} again; {dropped} lines were lost")
            self._dropped -= dropped
        self._trouble = trouble

    def _write_sync(self, data: bytes) -> str:
        """Write, blocking; what went wrong, or nothing."""
        try:
            descriptor = _STANDARD.get(self._path)
            if descriptor is not None:
                _write_all(descriptor, data)
                return ""
            opened = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                _write_all(opened, data)
            finally:
                os.close(opened)
        except OSError as error:
            return error.strerror or str(error)
        return ""


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _tell_nobody(level: str, text: str) -> None:
    pass


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
            # Of trouble with the notes themselves nobody can be told.
            sink = self._sinks[path] = Sink(path, self.note if path != NOTES else _tell_nobody)
            self._nursery.start_soon(sink.run)
        sink.put(line)

    def note(self, level: str, text: str) -> None:
        """Tell the operator something, on standard error."""
        if _LEVELS.get(level, 40) >= self._level:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self.emit(NOTES, f"{stamp} {level}: {text}\n".encode())

    async def close(self) -> None:
        """Write what has gathered, within a bound."""
        with trio.move_on_after(_LAST_WORDS_SECONDS):
            # The notes come last: the others may have something to tell.
            for sink in sorted(self._sinks.values(), key=lambda sink: sink is self._sinks.get(NOTES)):
                sink.close()
                await sink.closed.wait()
