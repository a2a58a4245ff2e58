"""Sinks: where log records and notes go, without ever making a request wait.

A line is put into a bounded buffer and the request is done with it. A task writes what has gathered, a few
times a second at the most, from a worker thread: a full pipe or a slow disk holds up that thread alone. What
cannot be written is tried again. When the buffer is full, lines are dropped and counted, and the count is
told in the sink itself as soon as it can be; that a sink cannot be written, and that it can again, is a note.
"""

import time
from collections.abc import Callable
from typing import Final

import trio

from stargate.shell_common.lines import LEVELS, write

BUFFERED_BYTES_MAX: Final = 8 * 1024 * 1024
_GATHER_SECONDS: Final = 0.05
_AGAIN_SECONDS: Final = 1.0
_LAST_WORDS_SECONDS: Final = 1.0
NOTES: Final = "/dev/stderr"


class Sink:
    """One file or standard stream. note: whom to tell that it cannot be written, or can again."""

    __slots__ = (
        "_dropped", "_ending", "_left", "_lines", "_note", "_path", "_size", "_trouble", "_wake", "closed",
    )  # fmt: skip

    def __init__(self, path: str, note: Callable[[str, str], None]) -> None:
        self._path = path
        self._note = note
        self._lines: list[bytes] = []
        self._left = b""
        """What should have been written, and could not be."""
        self._size = 0
        self._dropped = 0
        self._trouble = ""
        self._wake = trio.Event()
        self._ending = trio.Event()
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
        self._ending.set()
        self._wake.set()

    async def run(self) -> None:
        """Write until closed."""
        while not self._ending.is_set():
            if not self._left:
                await self._wake.wait()
            with trio.move_on_after(_AGAIN_SECONDS if self._trouble else _GATHER_SECONDS):
                await self._ending.wait()
            self._wake = trio.Event()
            await self._write()
        await self._write()
        self.closed.set()

    async def _write(self) -> None:
        data = self._left + b"".join(self._lines)
        self._lines.clear()
        if not data:
            return
        dropped = self._dropped
        told = b'{"dropped_lines":%d}\n' % dropped if dropped else b""
        written, trouble = await trio.to_thread.run_sync(
            write, self._path, data + told, abandon_on_cancel=True
        )
        self._left = data[written:]
        # Not the whole size is given back before it is written: a sink that stands still must stay bounded.
        self._size = len(self._left) + sum(map(len, self._lines))
        if trouble:
            if not self._trouble:
                self._note("error", f"cannot write to {self._path}: {trouble}; lines are kept for a while")
        else:
            if self._trouble:
                self._note("info", f"writing to {self._path} again; {dropped} lines were lost")
            self._dropped -= dropped
        self._trouble = trouble


def _tell_nobody(level: str, text: str) -> None:
    pass


class Sinks:
    """All sinks of a process, opened as they are first used."""

    def __init__(self, nursery: trio.Nursery, *, level: str = "info") -> None:
        self._nursery = nursery
        self._level = LEVELS[level]
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
        if LEVELS.get(level, 40) >= self._level:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self.emit(NOTES, f"{stamp} {level}: {text}\n".encode())

    async def close(self) -> None:
        """Write what has gathered, within a bound."""
        with trio.move_on_after(_LAST_WORDS_SECONDS):
            # The notes come last: the others may have something to tell.
            for sink in sorted(self._sinks.values(), key=lambda sink: sink is self._sinks.get(NOTES)):
                sink.close()
                await sink.closed.wait()
