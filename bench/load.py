"""A closed-loop load generator: so many connections, each with one request under way, all the time.

It counts what came back whole and nothing else: an answer with the wrong status, a wrong body, or an end in
the middle fails the run, because a gateway that drops answers would look fast. Latency is what a caller sees,
from the write of the request to the last byte of the answer; in a closed loop at full load it is mostly
waiting, so compare it only at equal numbers of connections.

    python -m bench.load --port N --dialect openai|converse|signed --kind plain|stream

prints one line of JSON. At least one of --seconds and --requests bounds the run.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, cast

import msgspec
import uvloop

from bench.traffic import Judge, Wrong, converse_request, openai_request

ANSWER_SECONDS_MAX: Final = 20.0
"""Beyond the run's own time: what has not come by then, hangs."""
_ERRORS_KEPT: Final = 5


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, and for how long."""

    port: int
    """0 where the callers are in the gateway's own process."""
    dialect: str
    """openai; converse; signed: converse with a signature of nobody's, for upstream itself."""
    stream: bool
    connections: int = 32
    warm_up_seconds: float = 0.0
    """Requests of this first part are judged, but not measured."""
    seconds: float | None = None
    requests: int | None = None
    """End after so many answers, warm-up included."""

    @property
    def seconds_max(self) -> float:
        """What has not ended by then, hangs."""
        return self.warm_up_seconds + (self.seconds or 0.0) + 2 * ANSWER_SECONDS_MAX

    def arguments(self) -> list[str]:
        """The task as this module's own command takes it."""
        found = ["--port", str(self.port), "--dialect", self.dialect]
        found += ["--kind", "stream" if self.stream else "plain", "--connections", str(self.connections)]
        found += ["--warm-up", str(self.warm_up_seconds)]
        for name, value in (("--seconds", self.seconds), ("--requests", self.requests)):
            found += [] if value is None else [name, str(value)]
        return found


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


class Run:
    """What the callers of a run share."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.request = (
            openai_request(stream=task.stream)
            if task.dialect == "openai"
            else converse_request(stream=task.stream, signed=task.dialect == "signed")
        )
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


class _Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._judge = Judge(openai=run.task.dialect == "openai", stream=run.task.stream)
        self._stream = run.task.stream
        self._pieces: list[bytes] = []
        self._body_at = 0
        self._length = 0
        self._size = 0
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        if not self._run.over.done():
            self._run.fail(f"the connection was closed: {exc!r}")

    def _send(self) -> None:
        if self._run.may_send():
            self._sent_at = time.perf_counter()
            self._transport.write(self._run.request)

    def data_received(self, data: bytes) -> None:
        """Collect an answer; judge it when it is whole."""
        self._pieces.append(data)
        self._size += len(data)
        if not self._body_at and not self._read_head():
            return
        if self._stream:
            # Frames are binary: five bytes may look like the end by chance. `_judge` finds that out.
            if data.endswith(b"0\r\n\r\n") or (len(data) < 5 and self._ends()):
                self._answered()
        elif self._size == self._body_at + self._length:
            self._answered()
        elif self._size > self._body_at + self._length:
            self._run.fail("bytes behind an answer")

    def _ends(self) -> bool:
        return b"".join(self._pieces[-5:]).endswith(b"0\r\n\r\n")

    def _read_head(self) -> bool:
        """Find where the body begins; whether the head is whole."""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not data.startswith(b"HTTP/1.1 200 "):
            self._run.fail(data[:400].decode("latin-1"))
            return False
        self._body_at = end + 4
        if not self._stream:
            head = data[:end].lower()
            at = head.find(b"content-length: ")
            self._length = int(head[at + 16 :].split(b"\r", 1)[0]) if at >= 0 else 0
        return True

    def _answered(self) -> None:
        taken = time.perf_counter() - self._sent_at
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        body = data[self._body_at :]
        self._pieces.clear()
        self._size = self._body_at = 0
        if self._run.judged(self, taken, lambda: self._judge.judge(body)):
            self._send()


@asynccontextmanager
async def _connections(run: Run) -> AsyncGenerator[None]:
    """The callers, each on a connection of its own."""
    loop = asyncio.get_running_loop()
    transports: list[asyncio.Transport] = []
    try:
        for _ in range(run.task.connections):
            transport, _ = await loop.create_connection(lambda: _Connection(run), "127.0.0.1", run.task.port)
            transports.append(transport)
        yield
    finally:
        run.end()
        for transport in transports:
            transport.abort()


async def measure(
    task: Task, callers: Callable[[Run], AbstractAsyncContextManager[None]] = _connections
) -> Result:
    """Send until the time or the number is reached. callers: they send as long as they are entered."""
    run = Run(task)
    run.measuring = not task.warm_up_seconds
    began = connected = time.perf_counter()
    async with callers(run):
        if not run.measuring:
            await asyncio.wait([run.over], timeout=task.warm_up_seconds)
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
        all_seconds=ended - connected,
        events=run.events,
        errors=run.errors,
        unanswered=task.connections - len(run.served),
        p50_ms=_percentile(latencies, 0.50) * 1000,
        p99_ms=_percentile(latencies, 0.99) * 1000,
    )


def _percentile(ascending: list[float], share: float) -> float:
    return ascending[min(int(len(ascending) * share), len(ascending) - 1)] if ascending else 0.0


def main() -> None:
    """Measure once; exit status 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.load")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dialect", choices=["openai", "converse", "signed"], required=True)
    parser.add_argument("--kind", choices=["plain", "stream"], required=True)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--warm-up", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--requests", type=int)
    given: Any = parser.parse_args()
    if given.seconds is None and given.requests is None:
        parser.error("--seconds or --requests is needed")
    task = Task(
        port=given.port,
        dialect=given.dialect,
        stream=given.kind == "stream",
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
