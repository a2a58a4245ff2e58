"""Time for machines: nanoseconds that are handed in, and a table of what is due.

`now` is monotonic, an int in nanoseconds, an argument of every `handle`. Wall time is derived from it and one
epoch given at construction (`wall_ns = wall_epoch_ns + now`), so the date in a signature is as replayable as
everything else. There are no commands that set or cancel timers: a machine shows one `deadline`, and the
shell calls with `Ticked` when it has come.
"""

from typing import Final

NEVER: Final = 2**63 - 1
SECOND: Final = 1_000_000_000
MILLISECOND: Final = 1_000_000


class TimerTable:
    """When each of a machine's timers is due.

    The timers are plain numbers, counted from 0: they move with every event, and the member of an enum takes
    four times as long to look up.
    """

    __slots__ = ("_due",)

    def __init__(self, count: int) -> None:
        self._due = [NEVER] * count

    def arm(self, timer: int, at: int) -> None:
        """The timer is due at `at` (absolute nanoseconds)."""
        self._due[timer] = at

    def disarm(self, timer: int) -> None:
        """The timer is not due at all."""
        self._due[timer] = NEVER

    def due(self, timer: int, now: int) -> bool:
        """Whether the timer's time has come."""
        return self._due[timer] <= now

    def when(self, timer: int) -> int:
        """When it is due; NEVER if it isn't."""
        return self._due[timer]

    def clear(self) -> None:
        """Disarm all."""
        self._due = [NEVER] * len(self._due)

    @property
    def deadline(self) -> int:
        """The earliest of all; NEVER if none is armed."""
        return min(self._due)
