"""Time for machines: nanoseconds that are handed in, and a table of what is due.

`now` is monotonic, an int in nanoseconds, an argument of every `handle`. Wall time is derived from it and one
epoch given at construction (`wall_ns = wall_epoch_ns + now`), so the date in a signature is as replayable as
everything else. There are no commands that set or cancel timers: a machine shows one `deadline`, and the
shell calls with `Ticked` when it has come.
"""

import enum
from typing import Final, Generic, TypeVar

NEVER: Final = 2**63 - 1
SECOND: Final = 1_000_000_000
MILLISECOND: Final = 1_000_000

T = TypeVar("T", bound=enum.IntEnum)


class TimerTable(Generic[T]):
    """When each of a machine's timers is due. The timers are an IntEnum counted from 0."""

    __slots__ = ("_due",)

    def __init__(self, timers: type[T]) -> None:
        self._due = [NEVER] * len(timers)

    def arm(self, timer: T, at: int) -> None:
        """The timer is due at `at` (absolute nanoseconds)."""
        self._due[timer] = at

    def disarm(self, timer: T) -> None:
        """The timer is not due at all."""
        self._due[timer] = NEVER

    def due(self, timer: T, now: int) -> bool:
        """Whether the timer's time has come."""
        return self._due[timer] <= now

    def when(self, timer: T) -> int:
        """When it is due; NEVER if it isn't."""
        return self._due[timer]

    def clear(self) -> None:
        """Disarm all."""
        self._due = [NEVER] * len(self._due)

    @property
    def deadline(self) -> int:
        """The earliest of all; NEVER if none is armed."""
        return min(self._due)
