"""An event loop of asyncio's whose time is the test's, while real bytes travel.

As trio's of that name, its clock stands still until the test jumps, or, as an autojump clock, jumps by itself
to whatever is due next as soon as nothing else happens.
"""

import asyncio
import selectors
from typing import Final

_LOOK_SECONDS: Final = 0.002
"""Real time, for what is on its way from a socket or a thread."""


class MockClock:
    """The time. autojump: whether it moves by itself."""

    def __init__(self, *, autojump: bool = False) -> None:
        self.now = 0.0
        self.autojump = autojump

    def jump(self, seconds: float) -> None:
        """Move it."""
        self.now += seconds

    def now_ns(self) -> int:
        """The same in nanoseconds."""
        return int(self.now * 1e9)


class _Selector(selectors.DefaultSelector):
    def __init__(self, clock: MockClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        found = super().select(_LOOK_SECONDS)
        if not found and self._clock.autojump:
            self._clock.jump(timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop."""

    clock = MockClock()
    """Of the next loop that is made."""

    def __init__(self) -> None:
        self._clock = type(self).clock
        super().__init__(_Selector(self._clock))

    def time(self) -> float:
        """What the clock says."""
        return self._clock.now
