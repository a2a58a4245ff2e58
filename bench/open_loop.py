"""An open-loop load generator: requests are sent at a fixed rate, whatever becomes of those before.

Latency counts from the moment at which a request was to be sent, and not from the one at which there was a
connection free to send it: a gateway that stands still for a while is charged for all who came meanwhile, as
its users would be. (A closed loop stops asking then, and hears of one slow answer only. Gil Tene calls that
coordinated omission.)

Requests take the connection that has waited longest. Those that find none wait in line. When the line has
grown to a second's worth of them, the rate is more than the gateway bears: the run is over, and says so.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from bench.calls import Address, Call, Metronome, connected
from bench.judge import Judge
from bench.load import percentile
from bench.traffic import LOADS, request

_GRACE_SECONDS: Final = 10.0
"""For the answers that are under way when the last request has been sent."""
_BEHIND_MAX: Final = 0.05
"""If more than this share of the requests is under way when the last one is due, they have piled up."""
_ERRORS_KEPT: Final = 5


class OpenTask(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, how often, and for how long."""

    to: Address
    load: str
    per_second: float
    seconds: float
    warm_up_seconds: float = 0.0
    """Requests of this first part are judged, but not measured."""
    connections: int = 64

    @property
    def seconds_max(self) -> float:
        """What has not ended by then, hangs."""
        return self.warm_up_seconds + self.seconds + 4 * _GRACE_SECONDS


class OpenResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    sent: int
    """Requests that were due, warm-up included."""
    answers: int
    """Whole answers, warm-up included."""
    saturated: bool
    """More came than the gateway bears, so the latencies say only how long it was tried."""
    errors: list[str]
    p50_ms: float
    p99_ms: float
    max_ms: float
    first_p50_ms: float
    """Until the first byte of the answer's body."""
    first_p99_ms: float


class _Run:
    """What the connections of a run share."""

    def __init__(self, task: OpenTask) -> None:
        load = LOADS[task.load]
        self.request = request(task.to.dialect, load, headers=task.to.headers)
        self.make_judge: Callable[[], Judge] = lambda: Judge(openai=task.to.openai, load=load)
        self.free: deque[_Caller] = deque()
        self.waiting: deque[float] = deque()
        """When those were due that no connection was free for."""
        self.waiting_max = max(task.connections, task.per_second)
        self.measured_from = 0.0
        self.last = int((task.warm_up_seconds + task.seconds) * task.per_second)
        self.sent = self.answers = 0
        self.behind = 0
        self.saturated = False
        self.latencies: list[float] = []
        self.firsts: list[float] = []
        self.errors: list[str] = []
        self.all_sent = asyncio.get_running_loop().create_future()
        self.all_answered = asyncio.get_running_loop().create_future()

    def beat(self, number: int, due_at: float) -> None:
        """A request is due."""
        if self.all_sent.done():
            return
        if len(self.waiting) > self.waiting_max:
            self.saturated = True
            self.end()
            return
        if number >= self.last:
            self.behind = self.sent - self.answers
            self.all_sent.set_result(None)
            self.look_whether_over()
            return
        self.sent += 1
        if self.free:
            self.free.popleft().begin(due_at)
        else:
            self.waiting.append(due_at)

    def took(self, due_at: float, first_at: float) -> None:
        """An answer is whole."""
        self.answers += 1
        if due_at >= self.measured_from:
            self.latencies.append(time.perf_counter() - due_at)
            self.firsts.append(first_at - due_at)
        self.look_whether_over()

    def look_whether_over(self) -> None:
        """All that was sent has been answered."""
        if self.all_sent.done() and self.answers == self.sent and not self.all_answered.done():
            self.all_answered.set_result(None)

    def fail(self, why: str) -> None:
        """An answer is not what it should be: the run is over."""
        if len(self.errors) < _ERRORS_KEPT:
            self.errors.append(why)
        self.end()

    def end(self) -> None:
        """Neither send more, nor wait for what is under way."""
        for future in (self.all_sent, self.all_answered):
            if not future.done():
                future.set_result(None)


class _Caller(Call):
    """One connection."""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self._run = run
        self._judge = run.make_judge()
        self._due_at = 0.0

    def begin(self, due_at: float) -> None:
        """Send a request that was due then."""
        self._due_at = due_at
        self.ask(self._run.request)

    def answered(self, content: Callable[[], bytes]) -> None:
        """Part of Call."""
        run, due_at, first_at = self._run, self._due_at, self.first_at
        run.took(due_at, first_at)
        try:
            self._judge.judge(content())
        except Exception as error:  # noqa: BLE001  (whatever an answer can be wrong in)
            run.fail(f"wrong: {error}")
            return
        if run.waiting:
            self.begin(run.waiting.popleft())
        else:
            run.free.append(self)

    def failed(self, why: str) -> None:
        """Part of Call."""
        if not self._run.all_answered.done():
            self._run.fail(why)


async def measure_open(task: OpenTask) -> OpenResult:
    """Send at the rate until the time is over, and wait for what is under way then."""
    run = _Run(task)
    callers = await connected(task.connections, task.to.port, lambda _: _Caller(run))
    run.free.extend(callers)
    metronome = Metronome(task.per_second, run.beat)
    run.measured_from = metronome.start() + task.warm_up_seconds
    await run.all_sent
    metronome.stop()
    await asyncio.wait([run.all_answered], timeout=_GRACE_SECONDS)
    in_time = run.all_answered.done()
    if not in_time:
        run.all_answered.set_result(None)
    for caller in callers:
        caller.transport.abort()
    latencies, firsts = sorted(run.latencies), sorted(run.firsts)
    if not latencies and not run.errors:
        run.errors.append("no answer came")
    return OpenResult(
        sent=run.sent,
        answers=run.answers,
        saturated=run.saturated or not in_time or run.behind > max(_BEHIND_MAX * run.sent, task.connections),
        errors=run.errors,
        p50_ms=percentile(latencies, 0.50) * 1000,
        p99_ms=percentile(latencies, 0.99) * 1000,
        max_ms=latencies[-1] * 1000 if latencies else 0.0,
        first_p50_ms=percentile(firsts, 0.50) * 1000,
        first_p99_ms=percentile(firsts, 0.99) * 1000,
    )
