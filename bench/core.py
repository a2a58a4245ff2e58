"""What the pure core costs by itself: a Session fed from memory, no socket, no event loop.

The difference between these figures and a gateway's whole cost per request is the shell's and the kernel's
part. Each step is one event handed to `Session.handle`, with the gateway's whole chain on. A figure is the
least of many short repetitions: what disturbs a measurement only ever adds.

    python -m bench core
"""

import os
import time
from collections.abc import Callable
from typing import Final

import yaml

from bench.gateways import Settings, stargate_config
from bench.traffic import MODEL, PLAIN_ANSWER, frames, openai_request, stream_writes
from stargate.plugins import installed, schemas
from stargate_core.aws.sigv4 import Credentials, Signer
from stargate_core.config.load import examine
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.session import Session
from stargate_core.messages import ClientSent, SessionEvent, UpstreamOpened, UpstreamSent, WriteClient
from stargate_core.secret import Secret
from stargate_core.wire.eventstream import EventStreamDecoder

_LEASE: Final = 7
_MICROSECOND_NS: Final = 1_000
_REPETITIONS: Final = 40
"""Many and short, so that some of them run undisturbed on a busy machine."""


def _plan() -> Plan:
    plugins = installed()
    text = yaml.safe_dump(stargate_config(8080, 9, Settings()))
    examined = examine(text, filename="bench", environ=os.environ, schemas=schemas(plugins))
    assert examined.config is not None, examined.problems
    return Plan(examined.config, plugins)


class _Driver:
    """A session, the time it is told, and what each step costs."""

    def __init__(self, plan: Plan) -> None:
        self._session = Session(plan, wall_epoch_ns=time.time_ns(), seed=1, now=0, client="127.0.0.1")
        self._now = 0
        self._tickets = 0
        self.written = 0

    def begin(self, request: bytes, costs: list[int]) -> None:
        """A request, and its lease."""
        self._tickets += 1
        self.step(ClientSent(request), costs, 0)
        self.step(UpstreamOpened(self._tickets, _LEASE, True), costs, 1)

    def step(self, event: SessionEvent, costs: list[int], at: int) -> None:
        """One event."""
        self._now += 20_000
        began = time.perf_counter_ns()
        commands = self._session.handle(self._now, event)
        _ = self._session.deadline  # a shell asks each time
        costs[at] += time.perf_counter_ns() - began
        for command in commands:
            if type(command) is WriteClient:
                self.written += len(command.data)


def _steps(plan: Plan, request: bytes, answer: list[bytes], count: int) -> list[float]:
    """Microseconds of each step of an exchange: the request, its lease, each piece of the answer."""
    best = [float("inf")] * (2 + len(answer))
    driver = _Driver(plan)
    for _ in range(_REPETITIONS):
        costs = [0] * len(best)
        written = driver.written
        for _ in range(count):
            driver.begin(request, costs)
            for at, piece in enumerate(answer, 2):
                driver.step(UpstreamSent(_LEASE, piece), costs, at)
        assert driver.written > written, "nothing was answered"
        best = [min(old, new / count / _MICROSECOND_NS) for old, new in zip(best, costs, strict=True)]
    return best


def _timed(function: Callable[[], object], count: int) -> float:
    """Microseconds of one call."""
    best = float("inf")
    for _ in range(_REPETITIONS):
        began = time.perf_counter_ns()
        for _ in range(count):
            function()
        best = min(best, (time.perf_counter_ns() - began) / count / _MICROSECOND_NS)
    return best


def _parts() -> list[tuple[str, float]]:
    """What some of the work inside costs by itself."""
    signer = Signer(Credentials("AKIDBENCH", Secret("secret")), "us-east-1", "bedrock")
    body = openai_request(stream=False).partition(b"\r\n\r\n")[2]
    target = f"/model/{MODEL.replace(':', '%3A')}/converse".encode()
    headers = [(b"host", b"bedrock-runtime.us-east-1.amazonaws.com"), (b"content-type", b"application/json")]
    stream = b"".join(frames())

    def sign() -> object:
        return signer.authorize(b"POST", target, headers, body, 1_760_000_000_000_000_000)

    def decode() -> object:
        return list(EventStreamDecoder().feed(stream))

    return [
        ("of which a signature", _timed(sign, 200)),
        ("of which decoding 64 frames", _timed(decode, 20)),
    ]


def rows() -> list[tuple[str, float]]:
    """All figures: what, and its microseconds."""
    plan = _plan()
    plain = _steps(plan, openai_request(stream=False), [PLAIN_ANSWER], 50)
    pieces = _steps(plan, openai_request(stream=True), stream_writes(8), 20)
    singles = _steps(plan, openai_request(stream=True), stream_writes(64), 10)
    return [
        ("plain request", sum(plain)),
        ("  request read, key checked, call composed", plain[0]),
        ("  call signed and written", plain[1]),
        ("  answer read, translated, logged", plain[2]),
        ("stream of 64 events in 8 pieces", sum(pieces)),
        ("  request and call", sum(pieces[:2])),
        ("  first piece, with the head", pieces[2]),
        ("  a piece of 8 events in full flow", sum(pieces[3:-1]) / len(pieces[3:-1])),
        ("  last piece", pieces[-1]),
        ("  an event, 8 to a piece", sum(pieces[3:-1]) / len(pieces[3:-1]) / 8),
        ("stream of 64 events in 64 pieces", sum(singles)),
        ("  an event, one to a piece", sum(singles[3:-4]) / len(singles[3:-4])),
        *_parts(),
    ]


def main() -> None:
    """Print the figures."""
    print(f"{'the core alone':<46}{'µs':>8}")
    for name, microseconds in rows():
        print(f"{name:<46}{microseconds:>8.2f}")
