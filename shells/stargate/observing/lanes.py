"""Lanes: which part of the shared memory is whose, and how it is divided.

A lane has one writer at a time: a worker claims one when it starts. It prefers the lane of its own place, and
there goes on with the counts of whoever died in that place. A worker that drains keeps its lane while its
successor in the same place has begun already, so there are spare ones. The figures of all lanes together are
those of the gateway, whoever has written them, and whether or not he lives.

A claim is a lock on one byte of a file without a name (POSIX record locks): the kernel gives it back when the
process ends, however it ends. With no lane left, which takes more draining workers at once than there are
spare lanes, a worker's figures are its own, and die with it. Where there are no such locks (Windows) there is
no fork either, and so one process.
"""

import contextlib
import mmap
import os
import tempfile
import weakref
from typing import Final

from stargate.observing.memory import WORD, Blob, Cells, Ring, Shape, Table
from stargate.observing.shapes import SHAPES

RING_COUNT: Final = 256
RECORD_BYTES_MAX: Final = 2048
STATUS_BYTES_MAX: Final = 65_536
SPARE_MAX: Final = 32

PID, PLACE, STARTED_AT, STARTS, FOLDED, FAILED, UNKEPT = range(7)
"""The numbers that each lane begins with. PID 0: nobody. STARTED_AT: wall time, in nanoseconds."""
_HEAD_WORDS: Final = 8
PAGE: Final = 4096


class Lane:
    """One lane: its numbers, its tables, its ring of records, and its place's last word."""

    def __init__(self, octets: "memoryview[int]", cells: Cells, begin: int) -> None:
        self.cells = cells
        self.head = begin // WORD
        at = begin + _HEAD_WORDS * WORD
        self.tables: dict[str, Table] = {}
        for name, shape in SHAPES.items():
            self.tables[name] = Table(octets, cells, at, shape)
            at += _size(shape)
        self.ring = Ring(octets, cells, at, RING_COUNT, RECORD_BYTES_MAX)
        at += Ring.size(RING_COUNT, RECORD_BYTES_MAX)
        self.status = Blob(octets, cells, at, STATUS_BYTES_MAX)

    def number(self, which: int) -> int:
        """One of the numbers that it begins with."""
        return self.cells[self.head + which]

    def add(self, which: int, much: int = 1) -> None:
        """Add to it."""
        self.cells[self.head + which] += much

    def put(self, which: int, value: int) -> None:
        """Let it be this."""
        self.cells[self.head + which] = value

    @property
    def is_alive(self) -> bool:
        """Whether its writer is there."""
        pid = self.number(PID)
        if pid <= 0:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def _size(shape: Shape) -> int:
    return -(-shape.size // WORD) * WORD


LANE_BYTES: Final = (
    -(
        -(
            _HEAD_WORDS * WORD
            + sum(map(_size, SHAPES.values()))
            + Ring.size(RING_COUNT, RECORD_BYTES_MAX)
            + Blob.size(STATUS_BYTES_MAX)
        )
        // PAGE
    )
    * PAGE
)
"""Of address space. Memory is taken as it is written to."""


class Lanes:
    """All lanes. places: how many workers there are to be."""

    def __init__(self, places: int) -> None:
        self.all = _lanes(places + (min(places, SPARE_MAX) if places > 1 else 0))
        self._locks, name = tempfile.mkstemp(prefix="stargate-")
        os.unlink(name)
        weakref.finalize(self, os.close, self._locks)
        self._mine: set[int] = set()
        """Those that this process has claimed: its locks do not keep itself away."""

    def claim(self, place: int) -> tuple[Lane, bool]:
        """A lane to write, and whether the others can read it."""
        order = sorted(range(len(self.all)), key=lambda number: number != place)
        for number in order:
            if number not in self._mine and self._lock(number):
                self._mine.add(number)
                return self.all[number], True
        return _lanes(1)[0], False

    def _lock(self, number: int) -> bool:
        try:
            import fcntl  # Where there are several processes.
        except ImportError:
            return True
        with contextlib.suppress(OSError):
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            return True
        return False


def _lanes(count: int) -> list[Lane]:
    octets = memoryview(mmap.mmap(-1, count * LANE_BYTES))
    cells: Cells = octets.cast("q")
    return [Lane(octets, cells, number * LANE_BYTES) for number in range(count)]
