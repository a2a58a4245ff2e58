"""What a sink of log lines is made of, whatever it writes to and whichever loop it runs on.

A sink (sinks.py of each shell) gathers lines and hands them, many at a time, to a writer
(`stargate.log_sinks`), which may block: it is called in a thread. A writer says of each call how much of it
is done with, what of that was lost, and what went wrong. Nothing is counted twice and nothing is forgotten:
each line that a sink was given is written, or dropped, or still buffered.
"""

from types import MappingProxyType
from typing import Final, Protocol

import msgspec

LEVELS: Final = MappingProxyType({"debug": 10, "info": 20, "warning": 30, "error": 40})
"""Those of notes, by weight."""
NOTES: Final = "/dev/stderr"
"""Where notes go."""
BUFFERED_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of one sink: some ten thousand records, which is what a busy gateway writes in a second or two."""


class SinkState(msgspec.Struct, frozen=True):
    """One sink at this moment."""

    path: str
    buffered_bytes: int
    """What waits to be written."""
    written_lines: int
    """Since the process began."""
    dropped_lines: int
    """Since the process began: there was no room for them, or whoever should have taken them did not."""
    trouble: str
    """Why nothing can be written at the moment; empty: nothing is wrong."""


class Done(msgspec.Struct, frozen=True, gc=False):
    """What has come of one call of a writer."""

    bytes: int
    """How many, from the start, are done with."""
    lost: int = 0
    """How many lines of these were given up."""
    trouble: str = ""
    again_seconds: float = 1.0
    """How long to wait until the next call, if there is trouble."""


class Writer(Protocol):
    """Writes whole lines to one place. Its calls come one after the other, in any thread."""

    gather_seconds: float
    """How long lines may gather before they are written together."""
    progress: int
    """How many bytes of the call that runs are done with."""

    def write(self, data: bytes) -> Done:
        """Write, blocking, but not for ever. Never raises."""
        ...

    def stop(self) -> None:
        """Begin nothing more, also within the call that runs."""
        ...


def loss(path: str, lines: int) -> str:
    """What an operator is told of lines that nothing can be done for any more."""
    if lines == 1:
        return f"one line for {path} could not be written, and is lost"
    return f"{lines} lines for {path} could not be written, and are lost"
