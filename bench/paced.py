"""Many streams that are open at the same time, each at the pace of a model.

There are as many connections as streams are to be open. Each asks for one stream after the other, and each
stream has its time at which it is to begin: the beginnings are spread evenly, so that streams end and begin
all the time, as in a day's traffic, and never all at once. A stream whose connection is still taken by the
one before begins late, and is measured from when it was due. The first lap, in which the number of open
streams grows, is judged but not measured.

What is measured: the time to the first token; how late each event is, against the time at which it would have
left a model that began at once; and what is lost. A stream is lost if it is refused, cut, wrong, or not over
when all should be.
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
from bench.traffic import Load, paced_wish, request

_GRACE_SECONDS: Final = 30.0
_ERRORS_KEPT: Final = 5
_STREAM: Final = Load("paced", stream=True)


class PacedTask(msgspec.Struct, frozen=True, kw_only=True):
    """How many streams, and of what kind."""

    to: Address
    streams: int
    """Open at the same time."""
    events: int
    """Pieces of text in each."""
    per_second: float = 25.0
    """Events of a stream."""
    laps: int = 1
    """Measured streams of each connection, after the first."""

    @property
    def stream_seconds(self) -> float:
        """How long a stream takes."""
        return self.events / self.per_second

    @property
    def seconds(self) -> float:
        """How long all take, if none is late."""
        return self.stream_seconds * (self.laps + 2)

    @property
    def seconds_max(self) -> float:
        """What has not ended by then, hangs."""
        return self.seconds + 4 * _GRACE_SECONDS


class PacedResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    streams: int
    """That were to be."""
    lost: int
    errors: list[str]
    open_max: int
    """The most that were open at one time."""
    events: int
    """Of the streams that are whole."""
    events_per_second: float
    """Pieces of text that came while all were to be open."""
    first_p50_ms: float
    """Until the first token, from when the stream was due."""
    first_p99_ms: float
    late_p50_ms: float
    """How late an event came, against a model that answers at once."""
    late_p99_ms: float


class _Run:
    """What the connections of a run share."""

    def __init__(self, task: PacedTask) -> None:
        self.task = task
        wish = paced_wish(task.events, task.per_second)
        self.request = request(task.to.dialect, _STREAM, wish=wish, headers=task.to.headers)
        self.marker = b'"content":" word' if task.to.openai else b'"text":" word'
        self.period = 1 / task.per_second
        self.callers: list[_Caller] = []
        self.all = task.streams * (task.laps + 1)
        self.settled = 0
        self.lost = 0
        self.open = self.open_max = 0
        self.events = 0
        self.full_from = self.full_until = 0.0
        self.counted = 0
        self.firsts: list[float] = []
        self.lates: list[float] = []
        self.errors: list[str] = []
        self.over = asyncio.get_running_loop().create_future()

    def beat(self, number: int, due_at: float) -> None:
        """A stream is to begin."""
        if number < self.all:
            self.callers[number % self.task.streams].due(due_at)

    def settle(self, count: int = 1) -> None:
        """So many streams are whole or lost."""
        self.settled += count
        if self.settled >= self.all and not self.over.done():
            self.over.set_result(None)

    def lose(self, why: str, count: int) -> None:
        """So many streams are lost."""
        if len(self.errors) < _ERRORS_KEPT:
            self.errors.append(why)
        self.lost += count
        self.settle(count)


class _Caller(Call):
    """One connection, and its streams one after the other."""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self._run = run
        self._judge = Judge(openai=run.task.to.openai, load=_STREAM, events=run.task.events)
        self._left = run.task.laps + 1
        self._due: deque[float] = deque()
        self._due_at = 0.0
        self._seen = 0
        self._busy = self._lost = False

    def due(self, at: float) -> None:
        """A stream is to begin."""
        if self._lost:
            return
        self._due.append(at)
        if not self._busy:
            self._begin()

    def _begin(self) -> None:
        run = self._run
        self._due_at = self._due.popleft()
        self._seen = 0
        self._busy = True
        run.open += 1
        run.open_max = max(run.open_max, run.open)
        self.ask(run.request)

    def data_received(self, data: bytes) -> None:
        """Look at the time of each event, beside what Call does. An event that comes in two pieces is not
        seen here; the judge sees it.
        """
        run, due_at, now = self._run, self._due_at, time.perf_counter()
        measured = due_at >= run.full_from
        count = data.count(run.marker)
        if run.full_from <= now < run.full_until:
            run.counted += count
        if measured and count:
            if not self._seen:
                run.firsts.append(now - due_at)
            for at in range(self._seen, self._seen + count):
                run.lates.append(now - due_at - at * run.period)
        self._seen += count
        super().data_received(data)

    def answered(self, content: Callable[[], bytes]) -> None:
        """Part of Call."""
        run = self._run
        self._busy = False
        self._left -= 1
        run.open -= 1
        try:
            run.events += self._judge.judge(content())
            run.settle()
        except Exception as error:  # noqa: BLE001  (whatever an answer can be wrong in)
            run.lose(f"wrong: {error}", 1)
        if self._due:
            self._begin()

    def failed(self, why: str) -> None:
        """Part of Call: this connection's stream is lost, and so are all that it was to have yet."""
        if not self._lost and not self._run.over.done():
            self._lost = True
            self._run.open -= self._busy
            self._run.lose(why, self._left)
            self.transport.abort()


async def measure_paced(task: PacedTask) -> PacedResult:
    """All laps."""
    run = _Run(task)
    run.callers = await connected(task.streams, task.to.port, lambda _: _Caller(run))
    metronome = Metronome(task.streams / task.stream_seconds, run.beat)
    began = metronome.start()
    run.full_from = began + task.stream_seconds
    run.full_until = run.full_from + task.laps * task.stream_seconds
    await asyncio.wait([run.over], timeout=task.seconds + _GRACE_SECONDS)
    metronome.stop()
    if not run.over.done():
        late = run.all - run.settled
        run.lose(f"{late} were not over {_GRACE_SECONDS:g} s after the last should have been", late)
    for caller in run.callers:
        caller.transport.abort()
    firsts, lates = sorted(run.firsts), sorted(run.lates)
    return PacedResult(
        streams=run.all,
        lost=run.lost,
        errors=run.errors,
        open_max=run.open_max,
        events=run.events,
        events_per_second=run.counted / (run.full_until - run.full_from),
        first_p50_ms=percentile(firsts, 0.50) * 1000,
        first_p99_ms=percentile(firsts, 0.99) * 1000,
        late_p50_ms=percentile(lates, 0.50) * 1000,
        late_p99_ms=percentile(lates, 0.99) * 1000,
    )
