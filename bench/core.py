"""What the pure core costs by itself: a Session fed from memory, no socket, no event loop.

The difference between these figures and a gateway's whole cost per request is the shell's and the kernel's
part. Each step is one event handed to `Session.handle`, with the gateway's whole chain on. A figure is the
least of many short repetitions: what disturbs a measurement only ever adds.

    python -m bench core
"""

import os
import time
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import yaml

from bench.gateways import Settings, stargate_config
from bench.traffic import MODEL, PLAIN_ANSWER, frames, openai_request, stream_writes
from stargate.plugins import installed, schemas
from stargate_core.aws.credentials import Credentials
from stargate_core.aws.sigv4 import Signer
from stargate_core.config.load import examine
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.session import Session
from stargate_core.messages import (
    ClientSent,
    SessionCommand,
    SessionEvent,
    UpstreamOpened,
    UpstreamSent,
    WriteClient,
)
from stargate_core.secret import Secret
from stargate_core.wire.eventstream import EventStreamDecoder

_LEASE: Final = 7
_WALL_EPOCH_NS: Final = 1_760_000_000_000_000_000
"""Always the same day, so that a count is always the same count."""
_MICROSECOND_NS: Final = 1_000
_REPETITIONS: Final = 40
"""Many and short, so that some of them run undisturbed on a busy machine."""


class Exchange(NamedTuple):
    """A request, and the pieces in which Bedrock's answer comes."""

    request: bytes
    answer: list[bytes]


Measure: TypeAlias = Callable[[Session, int, SessionEvent], tuple[int, list[SessionCommand]]]
"""Has a session handle an event at a time; what it took, and what the session wants done."""


def plain() -> Exchange:
    """A chat completion, answered at once."""
    return Exchange(openai_request(stream=False), [PLAIN_ANSWER])


def stream(pieces: int) -> Exchange:
    """A chat completion, answered with a stream of 64 events in so many pieces."""
    return Exchange(openai_request(stream=True), stream_writes(pieces))


def chain() -> Plan:
    """The whole chain: a key is checked, the call translated and signed, a log record written."""
    plugins = installed()
    text = yaml.safe_dump(stargate_config(8080, 9, Settings()))
    examined = examine(text, filename="bench", environ=os.environ, schemas=schemas(plugins))
    assert examined.config is not None, examined.problems
    return Plan(examined.config, plugins)


class Driver:
    """A session, and the time it is told."""

    def __init__(self, plan: Plan, measure: Measure) -> None:
        self._session = Session(plan, wall_epoch_ns=_WALL_EPOCH_NS, seed=1, now=0, client="127.0.0.1")
        self._measure = measure
        self._now = 0
        self._tickets = 0

    def live(self, exchange: Exchange, costs: list[int]) -> None:
        """An exchange: the request, its lease, each piece of the answer. Each adds its cost to `costs`."""
        self._tickets += 1
        self._step(ClientSent(exchange.request), costs, 0)
        self._step(UpstreamOpened(self._tickets, _LEASE, True), costs, 1)
        written = 0
        for at, piece in enumerate(exchange.answer, 2):
            written += self._step(UpstreamSent(_LEASE, piece), costs, at)
        assert written, "nothing was answered"

    def _step(self, event: SessionEvent, costs: list[int], at: int) -> int:
        """One event; how many bytes are written to the client for it."""
        self._now += 20_000
        cost, commands = self._measure(self._session, self._now, event)
        costs[at] += cost
        return sum(len(command.data) for command in commands if type(command) is WriteClient)


def _timed_step(session: Session, now: int, event: SessionEvent) -> tuple[int, list[SessionCommand]]:
    """Nanoseconds."""
    began = time.perf_counter_ns()
    commands = session.handle(now, event)
    _ = session.deadline  # a shell asks each time
    return time.perf_counter_ns() - began, commands


def _steps(plan: Plan, exchange: Exchange, count: int) -> list[float]:
    """Microseconds of each step of an exchange: the request, its lease, each piece of the answer."""
    best = [float("inf")] * (2 + len(exchange.answer))
    driver = Driver(plan, _timed_step)
    for _ in range(_REPETITIONS):
        costs = [0] * len(best)
        for _ in range(count):
            driver.live(exchange, costs)
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


def sign() -> Callable[[], object]:
    """Signs a call, by a signer that has signed one that day."""
    signer = Signer(Credentials("AKIDBENCH", Secret("secret")), "us-east-1", "bedrock")
    body = openai_request(stream=False).partition(b"\r\n\r\n")[2]
    target = f"/model/{MODEL.replace(':', '%3A')}/converse".encode()
    headers = [(b"host", b"bedrock-runtime.us-east-1.amazonaws.com"), (b"content-type", b"application/json")]

    def again() -> object:
        return signer.authorize(b"POST", target, headers, body, _WALL_EPOCH_NS)

    again()
    return again


def decode() -> Callable[[], object]:
    """Decodes the frames of a stream."""
    answer = b"".join(frames())
    return lambda: list(EventStreamDecoder().feed(answer))


def rows() -> list[tuple[str, float]]:
    """All figures: what, and its microseconds."""
    plan = chain()
    whole = _steps(plan, plain(), 50)
    pieces = _steps(plan, stream(8), 20)
    singles = _steps(plan, stream(64), 10)
    return [
        ("plain request", sum(whole)),
        ("  request read, key checked, call composed", whole[0]),
        ("  call signed and written", whole[1]),
        ("  answer read, translated, logged", whole[2]),
        ("stream of 64 events in 8 pieces", sum(pieces)),
        ("  request and call", sum(pieces[:2])),
        ("  first piece, with the head", pieces[2]),
        ("  a piece of 8 events in full flow", sum(pieces[3:-1]) / len(pieces[3:-1])),
        ("  last piece", pieces[-1]),
        ("  an event, 8 to a piece", sum(pieces[3:-1]) / len(pieces[3:-1]) / 8),
        ("stream of 64 events in 64 pieces", sum(singles)),
        ("  an event, one to a piece", sum(singles[3:-4]) / len(singles[3:-4])),
        ("of which a signature", _timed(sign(), 200)),
        ("of which decoding 64 frames", _timed(decode(), 20)),
    ]


def main() -> None:
    """Print the figures."""
    print(f"{'the core alone':<46}{'µs':>8}")
    for name, microseconds in rows():
        print(f"{name:<46}{microseconds:>8.2f}")
