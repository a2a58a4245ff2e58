"""Writing lines to a file or a standard stream, for the sinks: in a thread, because it blocks."""

import os
from typing import Final

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
        while written < len(data):
            written += os.write(descriptor, memoryview(data)[written:])
    except OSError as error:
        return written, error.strerror or str(error)
    finally:
        if opened is not None:
            os.close(opened)
    return written, ""
