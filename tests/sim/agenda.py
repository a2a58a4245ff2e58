"""Virtual time: what is to happen, in its order.

A world has one agenda and no clock. The next thing on it decides what time it is; things that are due at the
same moment happen in an order that chance draws, for nothing in a real process promises another one. Time
never stands still for ever: a world that does too much within one virtual moment, or within one virtual
second, is a machine in a loop, and said to be one.
"""

import heapq
import random
from collections.abc import Callable
from typing import Final

from sim.violation import Violation
from stargate_core.clock import SECOND

STEPS_A_MOMENT_MAX: Final = 20_000
STEPS_A_SECOND_MAX: Final = 200_000


class Item:
    """Something on the agenda; struck out, it does not happen."""

    __slots__ = ("action", "when")

    def __init__(self, when: int, action: Callable[[], None]) -> None:
        self.when = when
        self.action: Callable[[], None] | None = action

    def strike(self) -> None:
        """It is not to happen."""
        self.action = None


class Agenda:
    """All that is to happen. `now`: monotonic nanoseconds."""

    def __init__(self, rng: random.Random) -> None:
        self.now = 0
        self.steps = 0
        self._rng = rng
        self._heap: list[tuple[int, int, int, Item]] = []
        self._count = 0
        self._moment = 0
        self._second = 0

    def at(self, when: int, action: Callable[[], None]) -> Item:
        """Do this then; what is overdue, now."""
        item = Item(max(when, self.now), action)
        self._count += 1
        heapq.heappush(self._heap, (item.when, self._rng.getrandbits(30), self._count, item))
        return item

    def after(self, delay_ns: int, action: Callable[[], None]) -> Item:
        """Do this in so long."""
        return self.at(self.now + delay_ns, action)

    def run(self, until: int) -> None:
        """Let everything happen that is due by then."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            when, _, _, item = heapq.heappop(heap)
            action = item.action
            if action is None:
                continue
            if when != self.now:
                if when // SECOND != self.now // SECOND:
                    self._second = 0
                self.now, self._moment = when, 0
            self.steps += 1
            self._moment += 1
            self._second += 1
            if self._moment > STEPS_A_MOMENT_MAX or self._second > STEPS_A_SECOND_MAX:
                raise Violation(
                    "time does not go on", f"{self._moment} steps in one moment, {self._second} in one second"
                )
            item.action = None
            action()
        self.now = max(self.now, until)
