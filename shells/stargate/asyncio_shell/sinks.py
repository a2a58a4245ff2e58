"""Sinks: where log records and notes go, without ever making a request wait.

A line is put into a bounded buffer and the request is done with it. A task writes what has gathered, a few
times a second at the most, from a worker thread: a full pipe, a slow disk or a collector that hangs holds up
that thread alone. What cannot be written is tried again. When the buffer is full, lines are dropped and
counted, and the count is told in the sink itself as soon as it can be; that a sink cannot be written, and
that it can again, is a note. What is still unwritten at the end is counted too, and told in the last note.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

import anyio
from anyio.abc import TaskGroup

from stargate.log_sinks.choice import NO_SETTINGS, writer_for
from stargate.shell_common.lines import BUFFERED_BYTES_MAX, LEVELS, NOTES, Done, SinkState, Writer, loss
from stargate.shell_common.threads import in_thread
from stargate_core.config.request_logger import LogSink

_LAST_WORDS_SECONDS: Final = 2.0


class Sink:
    """One file, standard stream or collector. note: whom to tell that it cannot be written, or can again."""

    __slots__ = (
        "_again_seconds", "_dropped", "_ending", "_left", "_lines", "_note", "_path", "_size", "_trouble",
        "_untold", "_wake", "_written", "closed", "writer",
    )  # fmt: skip

    def __init__(self, path: str, note: Callable[[str, str], None], writer: Writer | None = None) -> None:
        self._path = path
        self._note = note
        self.writer = writer or writer_for(path)
        self._lines: list[bytes] = []
        self._left = b""
        """What a writer has been given and is not done with."""
        self._size = 0
        self._written = 0
        self._dropped = 0
        self._untold = 0
        """Of the dropped lines: how many the sink itself has not been told of."""
        self._trouble = ""
        self._again_seconds = 0.0
        self._wake = asyncio.Event()
        self._ending = asyncio.Event()
        self.closed = asyncio.Event()
        """Set when it has written its last line."""

    def put(self, line: bytes) -> None:
        """Take a line, if there is room."""
        if self._size + len(line) > BUFFERED_BYTES_MAX:
            self._drop(1)
            return
        self._lines.append(line)
        self._size += len(line)
        if len(self._lines) == 1:
            self._wake.set()

    def close(self) -> None:
        """Write what there is, and end."""
        self._ending.set()
        self._wake.set()

    def state(self) -> SinkState:
        """What it has done, and what is before it."""
        return SinkState(self._path, self._size, self._written, self._dropped, self._trouble)

    async def run(self) -> None:
        """Write until closed."""
        while not self._ending.is_set():
            if not self._left:
                await self._wake.wait()
            if self._trouble or not self._left:
                pause = self._again_seconds if self._trouble else self.writer.gather_seconds
                with anyio.move_on_after(pause):
                    await self._ending.wait()
            self._wake = asyncio.Event()
            await self._write()
        await self._write()
        while self._left and not self._trouble:
            await self._write()
        self.closed.set()

    def give_up(self) -> int:
        """Write no more. How many lines the sink does not have, and was not told of."""
        self.writer.stop()
        done = self.writer.progress if self._left else 0
        self._written += self._left.count(b"\n", 0, done)
        self._drop(self._left.count(b"\n", done) + len(self._lines))
        self._left = b""
        self._lines.clear()
        self._size = 0
        return self._untold

    def _drop(self, lines: int) -> None:
        self._dropped += lines
        self._untold += lines

    async def _write(self) -> None:
        data = self._left + b"".join(self._lines)
        self._lines.clear()
        if not data:
            return
        self._left = data
        done = await in_thread(self.writer.write, data)
        self._left = data[done.bytes :]
        self.writer.progress = 0  # Of what is left now.
        self._written += data.count(b"\n", 0, done.bytes) - done.lost
        self._drop(done.lost)
        # Not the whole size is given back before it is written: a sink that stands still must stay bounded.
        self._size = len(self._left) + sum(map(len, self._lines))
        self._notice(done)
        if self._untold and not (self._left or done.trouble):
            await self._tell()

    def _notice(self, done: Done) -> None:
        """Tell the operator where something has changed."""
        if done.trouble and not self._trouble:
            kept = "; lines are kept for a while" if self._left else ""
            self._note("error", f"cannot write to {self._path}: {done.trouble}{kept}")
        elif self._trouble and not done.trouble:
            self._note("info", f"writing to {self._path} again; {self._untold} lines were lost")
        self._trouble = done.trouble
        self._again_seconds = done.again_seconds

    async def _tell(self) -> None:
        """Tell in the sink itself what it has missed."""
        untold = self._untold
        told = b'{"dropped_lines":%d}\n' % untold
        done = await in_thread(self.writer.write, told)
        if done.bytes == len(told) and not done.lost:
            self._untold -= untold


def _tell_nobody(level: str, text: str) -> None:
    pass


class Sinks:
    """All sinks of a process, opened as they are first used. settings: the configuration's, by path."""

    def __init__(
        self, nursery: TaskGroup, *, level: str = "info", settings: Mapping[str, LogSink] = NO_SETTINGS
    ) -> None:
        self._nursery = nursery
        self._level = LEVELS[level]
        self._sinks: dict[str, Sink] = {}
        self._settings = settings

    def use(self, settings: Mapping[str, LogSink]) -> None:
        """From now on the configuration says this of its sinks, by their paths."""
        before, self._settings = self._settings, settings
        for path, sink in self._sinks.items():
            if path in settings and settings[path] != before.get(path):
                sink.writer = writer_for(path, settings[path])

    def emit(self, path: str, line: bytes) -> None:
        """Write a line to a sink, in its own time."""
        sink = self._sinks.get(path)
        if sink is None:
            # Of trouble with the notes themselves nobody can be told.
            note = self.note if path != NOTES else _tell_nobody
            sink = self._sinks[path] = Sink(path, note, writer_for(path, self._settings.get(path)))
            self._nursery.start_soon(sink.run)
        sink.put(line)

    def note(self, level: str, text: str) -> None:
        """Tell the operator something, on standard error."""
        if LEVELS.get(level, 40) >= self._level:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self.emit(NOTES, f"{stamp} {level}: {text}\n".encode())

    def statistics(self) -> list[SinkState]:
        """Each sink as it is, notes included."""
        return [sink.state() for sink in self._sinks.values()]

    async def close(self) -> None:
        """Write what has gathered, within a bound, and tell what was lost."""
        others = {path: sink for path, sink in self._sinks.items() if path != NOTES}
        await _finish(others.values())
        for path, sink in others.items():
            lost = sink.give_up()
            if lost:
                self.note("warning", loss(path, lost))
        # The notes come last: the others may have something to tell.
        notes = self._sinks.get(NOTES)
        if notes is not None:
            await _finish([notes])


async def _finish(sinks: Collection[Sink]) -> None:
    """Have them write what they have, each at the same time."""
    for sink in sinks:
        sink.close()
    with anyio.move_on_after(_LAST_WORDS_SECONDS):
        for sink in sinks:
            await sink.closed.wait()
