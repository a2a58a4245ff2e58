"""The ticker: one task that calls every machine at its deadline.

Machines show a deadline and move it often, mostly further away. So nothing is cancelled or re-armed per
event: the heap keeps, for each machine, the earliest time it was ever known to want, and when that comes the
machine is asked again. Only a deadline nearer than the ticker's next look wakes the task.
"""

import asyncio
import contextlib
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Final, Protocol

_LOOK_NS: Final = 1_000_000_000
"""The ticker looks at least so often while anything is armed; deadlines beyond that need no waking."""


class Timed(Protocol):
    """Something with a deadline."""

    armed: "Look | None"
    """When the ticker will look at it; None: it won't. Kept by the ticker."""

    @property
    def deadline(self) -> int | None:
        """When it wants to be ticked, in monotonic nanoseconds."""
        ...

    def tick(self) -> None:
        """Its time has come."""
        ...


def now_ns() -> int:
    """Monotonic nanoseconds, of the clock that asyncio's loops go by. (uvloop's own reading of it is a
    millisecond coarse, and as old as the loop's last wake-up.)
    """
    return time.monotonic_ns()


class Look:
    """The ticker's note to look at something; struck out, it is only waited for and thrown away.

    A note may lie in the heap for as long as the longest time limit. What it was about must not: a closed
    connection's session and buffers would lie there too.
    """

    __slots__ = ("timed", "when")

    def __init__(self, when: int, timed: Timed) -> None:
        self.when = when
        self.timed: Timed | None = timed


class Ticker:
    """Ticks what is armed."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Look]] = []
        self._numbers = itertools.count()
        self._next_look: int | None = None
        self._wake = asyncio.Event()

    def arm(self, timed: Timed) -> None:
        """Take note of a deadline that may have moved."""
        deadline = timed.deadline
        armed = timed.armed
        if deadline is None or (armed is not None and armed.when <= deadline):
            return
        if armed is not None:
            armed.timed = None
        timed.armed = look = Look(deadline, timed)
        heapq.heappush(self._heap, (deadline, next(self._numbers), look))
        if self._next_look is None or deadline < self._next_look:
            self._wake.set()

    def forget(self, timed: Timed) -> None:
        """Look at it no more."""
        if timed.armed is not None:
            timed.armed.timed = None
            timed.armed = None

    async def run(self) -> None:
        """Tick for ever."""
        while True:
            now = now_ns()
            due: list[Look] = []
            while self._heap and self._heap[0][0] <= now:
                due.append(heapq.heappop(self._heap)[2])
            for look in due:
                timed = look.timed
                if timed is not None:
                    timed.armed = None
                    deadline = timed.deadline
                    if deadline is not None and deadline <= now:
                        timed.tick()
                    self.arm(timed)
            self._wake = asyncio.Event()
            if not self._heap:
                self._next_look = None
                await self._wake.wait()
                continue
            self._next_look = min(self._heap[0][0], now + _LOOK_NS)
            # One nanosecond of grace: a float clock may wake a tick before the integer deadline.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at((self._next_look + 1) / 1e9):
                    await self._wake.wait()


class Deadlined(Protocol):
    """A machine, as far as the ticker is concerned."""

    @property
    def deadline(self) -> int | None:
        """When it wants to be ticked, in monotonic nanoseconds."""
        ...


class Alarm:
    """A machine's place at the ticker, for one that is nobody's connection. tick: tells it that its time has
    come. Whoever tells the machine anything arms its alarm afterwards.
    """

    __slots__ = ("_machine", "_tick", "_ticker", "armed")

    def __init__(self, ticker: Ticker, machine: Deadlined, tick: Callable[[], None]) -> None:
        self.armed: Look | None = None
        self._ticker = ticker
        self._machine = machine
        self._tick = tick

    @property
    def deadline(self) -> int | None:
        """The machine's."""
        return self._machine.deadline

    def tick(self) -> None:
        """Its time has come."""
        self._tick()

    def arm(self) -> None:
        """The machine has been told something: its deadline may have moved."""
        self._ticker.arm(self)
