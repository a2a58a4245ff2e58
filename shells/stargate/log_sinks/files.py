"""Lines for a file, a pipe or a standard stream.

Rules:

- A file is opened anew each time: whoever rotates logs need not tell the gateway.
- *Lines stay whole.* Several processes may write to one file or pipe. The system keeps apart what is written
  to a pipe in one piece of at most PIPE_BUF bytes, so a pipe gets whole lines in pieces no larger than that,
  where they are that short. A file takes each piece whole, and gives back what was half written when the
  disk was full, so that no line of somebody else's is joined to half of one.
- *A pipe that nobody reads is not waited for* longer than `_ROOM_SECONDS`: what has not been written by then
  is still the sink's, so it can say at the end exactly what is lost.
"""

import os
import select
import stat
from collections.abc import Iterator
from typing import Final

from stargate.shell_common.lines import Done

_STANDARD: Final = {"/dev/stdout": 1, "/dev/stderr": 2, "-": 1}
_ROOM_SECONDS: Final = 1.0
_NOBODY: Final = "nobody reads it"


class FileWriter:
    """Appends to what is at a path."""

    __slots__ = ("_path", "_stopped", "gather_seconds", "progress")

    def __init__(self, path: str) -> None:
        self._path = path
        self._stopped = False
        self.gather_seconds = 0.05
        self.progress = 0

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True

    def write(self, data: bytes) -> Done:
        """Write, blocking, as far as it can be."""
        self.progress = 0
        standard = _STANDARD.get(self._path)
        try:
            if standard is not None:
                trouble = self._fill(standard, data)
            else:
                trouble = self.append(data)
        except OSError as error:
            trouble = error.strerror or str(error)
        return Done(self.progress, trouble=trouble)

    def append(self, data: bytes) -> str:
        """Append to the file at the path; what went wrong and is no exception. Raises OSError."""
        descriptor = open_to_append(self._path)
        try:
            return self._fill(descriptor, data)
        finally:
            os.close(descriptor)

    def _fill(self, descriptor: int, data: bytes) -> str:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            self.fill_file(descriptor, data)
            return ""
        for piece in pieces(data) if stat.S_ISFIFO(mode) else (data,):
            rest = memoryview(piece)
            while rest:
                if not _has_room(descriptor):
                    return _NOBODY
                if self._stopped:
                    return "it was closed"
                try:
                    count = os.write(descriptor, rest)
                except BlockingIOError:
                    continue  # Others were quicker.
                rest = rest[count:]
                self.progress += count
        return ""

    def fill_file(self, descriptor: int, data: bytes) -> None:
        """Append all of it, or as many whole lines as there is room for. Raises OSError."""
        begin = os.fstat(descriptor).st_size
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError:
            written = len(data) - len(rest)
            whole = data.rfind(b"\n", 0, written) + 1
            if whole < written and os.fstat(descriptor).st_size == begin + written:
                os.ftruncate(descriptor, begin + whole)
                written = whole
            self.progress += written
            raise
        self.progress += len(data)


def open_to_append(path: str) -> int:
    """Open what is at a path, or a new file that others may not read. Raises OSError."""
    # Not to wait for somebody to open the other end of a pipe.
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)


def _has_room(descriptor: int) -> bool:
    """Whether something can be written within the time."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    # Other events are errors, and the write says which.
    return bool(poll.poll(_ROOM_SECONDS * 1000))


def pieces(data: bytes) -> Iterator[bytes]:
    """Cut into whole lines, as many at a time as a pipe takes in one piece; a longer line by itself."""
    start = 0
    while start < len(data):
        end = len(data)
        if end - start > select.PIPE_BUF:
            end = data.rfind(b"\n", start, start + select.PIPE_BUF) + 1 or data.find(b"\n", start) + 1 or end
        yield data[start:end]
        start = end
