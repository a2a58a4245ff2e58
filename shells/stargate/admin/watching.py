"""Whoever watches: the state, each second, as server-sent events.

One task looks at the boards and keeps the history. It looks each second while somebody watches, and else so
seldom that looking takes no more than `SHARE` of the time. The state is put together and encoded once a
second for all that watch; each of them gets the newest when it is ready to take it, so one that reads slowly
misses some and holds nothing.
"""

import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import anyio
import msgspec

from stargate.admin.history import STEP_SECONDS, History
from stargate.admin.messages import Refused, problem
from stargate.observing.board import Totals

WATCHERS_MAX: Final = 16
"""By each worker."""
SHARE: Final = 0.004
_TICK_SECONDS: Final = 1.0
_FRESH_SECONDS: Final = 0.5
"""A look that is no older will do for whoever asks now."""


class Watch:
    """Looks, remembers, and tells those that watch.

    totals: takes a look. status: puts the state together from a history.
    """

    def __init__(self, totals: Callable[[], Totals], status: Callable[[History], dict[str, Any]]) -> None:
        self._totals = totals
        self._status = status
        self.history = History(totals(), time.monotonic())
        self._look_seconds = 0.0
        """What a look takes."""
        self._watchers = 0
        self._wanted = anyio.Event()
        """Set when the first comes to watch."""
        self._newer = anyio.Event()
        self._event = b""

    def status(self) -> dict[str, Any]:
        """The state now."""
        if time.monotonic() - self.history.looked_at > _FRESH_SECONDS:
            self._look()
        return self._status(self.history)

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            if self._watchers:
                await anyio.sleep(_TICK_SECONDS)
                self._tell()
                continue
            self._wanted = anyio.Event()
            pause = min(max(_TICK_SECONDS, self._look_seconds / SHARE), STEP_SECONDS)
            with anyio.move_on_after(pause):
                await self._wanted.wait()
            self._look()

    def follow(self) -> AsyncGenerator[bytes]:
        """Each second the state, as an event. Raises Refused where too many watch."""
        if self._watchers >= WATCHERS_MAX:
            raise Refused(problem(503, "too many watch already; ask for /api/status instead"))
        return self._events()

    async def _events(self) -> AsyncGenerator[bytes]:
        self._watchers += 1
        try:
            self._wanted.set()
            yield b"retry: 1000\n\n" + self._encoded()
            while True:
                await self._newer.wait()
                yield self._event
        finally:
            self._watchers -= 1

    def _tell(self) -> None:
        self._look()
        self._event = self._encoded()
        newer, self._newer = self._newer, anyio.Event()
        newer.set()

    def _encoded(self) -> bytes:
        return b"event: status\ndata: " + msgspec.json.encode(self.status()) + b"\n\n"

    def _look(self) -> None:
        begun = time.monotonic()
        totals = self._totals()
        now = time.monotonic()
        self._look_seconds = now - begun
        self.history.look(totals, now)
