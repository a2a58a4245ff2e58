"""A closed-loop load generator: so many connections, each with one request under way, all the time.

It counts what came back whole and nothing else: an answer with the wrong status, a wrong body, or an end in
the middle fails the run, because a gateway that drops answers would look fast. Latency is what a caller sees,
from the write of the request to the last byte of the answer; in a closed loop at full load it is mostly
waiting, so compare it only at equal numbers of connections. (open_loop.py sends at a fixed rate.)

Where a load has parts, each connection asks for them in turn, and each begins with another one.

    python -m bench.load --port N --dialect openai|converse|signed --kind plain|stream|...

prints one line of JSON. At least one of --seconds and --requests bounds the run.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import msgspec
import uvloop

from bench.calls import Address, Call, connected
from bench.judge import Judge, Wrong
from bench.traffic import LOADS, Load, parts, request

ANSWER_SECONDS_MAX: Final = 20.0
"""Beyond the run's own time: what has not come by then, hangs."""
CROWD_SECONDS_MAX: Final = 60.0
"""In this time every connection of a crowd has had an answer, or some never will."""
_ERRORS_KEPT: Final = 5


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, and for how long."""

    to: Address
    load: str = "plain"
    connections: int = 32
    warm_up_seconds: float = 0.0
    """Requests of this first part are judged, but not measured."""
    warm_up_all: bool = False
    """This part lasts until every connection has had an answer: a crowd that comes at once is not yet one
    that stays."""
    seconds: float | None = None
    requests: int | None = None
    """End after so many answers, warm-up included."""

    @property
    def seconds_max(self) -> float:
        """What has not ended by then, hangs."""
        return self.warm_up_seconds + (self.seconds or 0.0) + 2 * CROWD_SECONDS_MAX


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    answers: int
    """Whole answers within the measured time."""
    seconds: float
    all_answers: int
    """Those of the warm-up too, for whoever divides a cost by them."""
    all_seconds: float
    events: int
    errors: list[str]
    """The first few, in words."""
    unanswered: int
    """Connections that got no answer at all, though others did."""
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        """Whole answers per second."""
        return self.answers / self.seconds if self.seconds else 0.0


class Part(msgspec.Struct, frozen=True):
    """One kind of request of a run."""

    load: Load
    request: bytes


class Run:
    """What the callers of a run share."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.parts = [
            Part(load, request(task.to.dialect, load, headers=task.to.headers)) for load in parts(task.load)
        ]
        loop = asyncio.get_running_loop()
        self.over = loop.create_future()
        self.begun = loop.create_future()
        """Done when the first measured answer has come."""
        self.latencies: list[float] = []
        self.answers = 0
        self.events = 0
        self.errors: list[str] = []
        self.wanted = task.requests if task.requests is not None else sys.maxsize
        self.sent = 0
        self.measuring = False
        self.served: set[object] = set()
        self.all_served = loop.create_future()

    def may_send(self) -> bool:
        """Whether one more request is wanted; if so, it is counted as sent."""
        if self.sent >= self.wanted or self.over.done():
            return False
        self.sent += 1
        return True

    def judged(self, caller: object, seconds: float, judge: Callable[[], int]) -> bool:
        """Count an answer that took so long, if `judge` finds it whole; whether the run goes on."""
        try:
            events = judge()
        except Exception as error:  # noqa: BLE001  (whatever an answer can be wrong in)
            self.fail(f"{'wrong' if isinstance(error, Wrong) else type(error).__name__}: {error}")
            return False
        self.answers += 1
        self.served.add(caller)
        if len(self.served) == self.task.connections and not self.all_served.done():
            self.all_served.set_result(None)
        if self.measuring:
            if not self.latencies:
                self.begun.set_result(None)
            self.latencies.append(seconds)
            self.events += events
        if self.answers >= self.wanted:
            self.end()
        return not self.over.done()

    def fail(self, error: str) -> None:
        """An answer is not what it should be: the run is over."""
        if len(self.errors) < _ERRORS_KEPT:
            self.errors.append(error)
        self.end()

    def end(self) -> None:
        """Stop sending."""
        if not self.over.done():
            self.over.set_result(None)


class Turns:
    """What one caller asks for, and how the answers to it are judged: the parts of a run, in turn."""

    def __init__(self, run: Run, number: int) -> None:
        self._parts = [(part, Judge(openai=run.task.to.openai, load=part.load)) for part in run.parts]
        self._at = number

    def next(self) -> tuple[Part, Judge]:
        """The next one."""
        self._at += 1
        return self._parts[self._at % len(self._parts)]


class _Caller(Call):
    """One connection: a request, its answer, the next request."""

    def __init__(self, run: Run, number: int) -> None:
        super().__init__()
        self._run = run
        self._turns = Turns(run, number)
        self._sent_at = 0.0

    def begin(self) -> None:
        """Send the next request, if there is to be one."""
        if self._run.may_send():
            part, self._judge = self._turns.next()
            self._sent_at = time.perf_counter()
            self.ask(part.request)

    def answered(self, content: Callable[[], bytes]) -> None:
        """Part of Call."""
        taken = time.perf_counter() - self._sent_at
        if self._run.judged(self, taken, lambda: self._judge.judge(content())):
            self.begin()

    def failed(self, why: str) -> None:
        """Part of Call."""
        if not self._run.over.done():
            self._run.fail(why)


@asynccontextmanager
async def _connections(run: Run) -> AsyncGenerator[None]:
    """The callers, each on a connection of its own. They begin when all are connected."""
    callers: list[_Caller] = []
    try:
        callers += await connected(
            run.task.connections, run.task.to.port, lambda number: _Caller(run, number)
        )
        for caller in callers:
            caller.begin()
        yield
    finally:
        run.end()
        for caller in callers:
            caller.transport.abort()


async def measure(
    task: Task, callers: Callable[[Run], AbstractAsyncContextManager[None]] = _connections
) -> Result:
    """Send until the time or the number is reached. callers: they send as long as they are entered."""
    run = Run(task)
    run.measuring = not task.warm_up_seconds
    async with callers(run):
        began = set_out = time.perf_counter()
        if not run.measuring:
            await asyncio.wait([run.over], timeout=task.warm_up_seconds)
            if task.warm_up_all:
                both = [run.over, run.all_served]
                await asyncio.wait(both, timeout=CROWD_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
            run.measuring, began = True, time.perf_counter()
        limit = task.seconds if task.seconds is not None else ANSWER_SECONDS_MAX
        await asyncio.wait([run.over], timeout=limit)
        if not run.latencies:
            # In a short time a busy machine may not come round to it: that is slow, and not wrong.
            await asyncio.wait(
                [run.over, run.begun], timeout=ANSWER_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED
            )
        if task.requests is not None and task.seconds is None and not run.over.done():
            run.fail(f"not all of the {task.requests} answers came in {limit:g} s")
        ended = time.perf_counter()
        run.end()
    if not run.latencies and not run.errors:
        run.errors.append("no answer came")
    latencies = sorted(run.latencies)
    return Result(
        answers=len(latencies),
        seconds=ended - began,
        all_answers=run.answers,
        all_seconds=ended - set_out,
        events=run.events,
        errors=run.errors,
        unanswered=task.connections - len(run.served),
        p50_ms=percentile(latencies, 0.50) * 1000,
        p99_ms=percentile(latencies, 0.99) * 1000,
    )


def percentile(ascending: list[float], share: float) -> float:
    """The value below which that share of them lies."""
    return ascending[min(int(len(ascending) * share), len(ascending) - 1)] if ascending else 0.0


def main() -> None:
    """Measure once; exit status 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.load")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dialect", choices=["openai", "converse", "signed"], required=True)
    parser.add_argument("--kind", choices=LOADS, required=True)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--warm-up", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--requests", type=int)
    given: Any = parser.parse_args()
    if given.seconds is None and given.requests is None:
        parser.error("--seconds or --requests is needed")
    task = Task(
        to=Address(port=given.port, dialect=given.dialect),
        load=given.kind,
        connections=given.connections,
        warm_up_seconds=given.warm_up,
        seconds=given.seconds,
        requests=given.requests,
    )
    result = uvloop.run(measure(task))
    print(json.dumps(msgspec.structs.asdict(result)))
    sys.exit(1 if result.errors else 0)


if __name__ == "__main__":
    main()
