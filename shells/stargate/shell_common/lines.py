"""Writing lines to a file or a standard stream, for the sinks: in a thread, because it blocks.

Several processes may write to one pipe. The system keeps apart what is written in one piece of at most
PIPE_BUF bytes, so a pipe gets whole lines in pieces no larger than that, where they are that short. A file
takes each piece whole.
"""

import os
import select
import stat
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

LEVELS: Final = MappingProxyType({"debug": 10, "info": 20, "warning": 30, "error": 40})
"""Those of notes, by weight."""
_STANDARD: Final = {"/dev/stdout": 1, "/dev/stderr": 2, "-": 1}


def write(path: str, data: bytes) -> tuple[int, str]:
    """Write, blocking; how many bytes were written, and what went wrong, or nothing.

    A file is opened anew each time: whoever rotates logs need not tell the gateway.
    """
    written = 0
    opened: int | None = None
    try:
        descriptor = _STANDARD.get(path)
        if descriptor is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            descriptor = opened = os.open(path, flags, 0o640)
        pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        for piece in pieces(data) if pipe else (data,):
            rest = memoryview(piece)
            while rest:
                count = os.write(descriptor, rest)
                rest = rest[count:]
                written += count
    except OSError as error:
        return written, error.strerror or str(error)
    finally:
        if opened is not None:
            os.close(opened)
    return written, ""


def pieces(data: bytes) -> Iterator[bytes]:
    """Cut into whole lines, as many at a time as a pipe takes in one piece; a longer line by itself."""
    start = 0
    while start < len(data):
        end = len(data)
        if end - start > select.PIPE_BUF:
            end = data.rfind(b"\n", start, start + select.PIPE_BUF) + 1 or data.find(b"\n", start) + 1 or end
        yield data[start:end]
        start = end
