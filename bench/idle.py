"""Connections that say nothing: opened, held, and asked once in the end whether they still serve.

It speaks with who started it, a line at a time, because memory is looked at between the steps: `open` when
all are connected, then a line from there, then `asked` when each has had one answer, then a line, then what
was wrong, as JSON.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from bench.calls import Address, Call, connected
from bench.judge import Judge
from bench.traffic import LOADS, request

_AT_ONCE: Final = 64
_ANSWERS_SECONDS_MAX: Final = 120.0


class IdleTask(msgspec.Struct, frozen=True, kw_only=True):
    """How many."""

    to: Address
    connections: int

    @property
    def seconds_max(self) -> float:
        """What has not ended by then, hangs."""
        return 2 * _ANSWERS_SECONDS_MAX


class IdleResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    answers: int
    errors: list[str]


class _Caller(Call):
    """One connection."""

    def __init__(self, crowd: "_Crowd") -> None:
        super().__init__()
        self._crowd = crowd
        self._judge = Judge(openai=crowd.openai, load=LOADS["plain"])

    def answered(self, content: Callable[[], bytes]) -> None:
        """Part of Call."""
        try:
            self._judge.judge(content())
        except Exception as error:  # noqa: BLE001  (whatever an answer can be wrong in)
            self._crowd.settle(f"wrong: {error}")
        else:
            self._crowd.settle(None)

    def failed(self, why: str) -> None:
        """Part of Call."""
        self._crowd.settle(why)


class _Crowd:
    """All of them."""

    def __init__(self, task: IdleTask) -> None:
        self.openai = task.to.openai
        self.request = request(task.to.dialect, LOADS["plain"], headers=task.to.headers)
        self.errors: list[str] = []
        self.answers = 0
        self.waiting: deque[_Caller] = deque()
        self.over = asyncio.get_running_loop().create_future()
        self.left = task.connections

    def settle(self, wrong: str | None) -> None:
        """One has had its answer, or is gone."""
        if self.over.done():
            return
        if wrong is None:
            self.answers += 1
        else:
            self.errors.append(wrong)
        self.left -= 1
        if not self.left:
            self.over.set_result(None)
        elif self.waiting:
            self.waiting.popleft().ask(self.request)


async def _told(what: str) -> None:
    """Say something, and wait for a line."""
    print(what, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def hold(task: IdleTask) -> IdleResult:
    """Open them, tell, ask each once, tell."""
    crowd = _Crowd(task)
    callers = await connected(task.connections, task.to.port, lambda _: _Caller(crowd))
    await _told("open")
    crowd.waiting.extend(callers)
    for _ in range(min(_AT_ONCE, len(callers))):
        if crowd.waiting:
            crowd.waiting.popleft().ask(crowd.request)
    await asyncio.wait([crowd.over], timeout=_ANSWERS_SECONDS_MAX)
    await _told("asked")
    if not crowd.over.done():
        crowd.errors.append(f"{crowd.left} were not answered")
        crowd.over.set_result(None)
    for caller in callers:
        caller.transport.abort()
    return IdleResult(answers=crowd.answers, errors=crowd.errors[:5])
