"""The goals, and whether a run reaches them. Each is a line of `GOALS`.

A goal that the run has not measured has no figure. A ratio is one of rates, within the same run.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from bench.figures import Record, curve, figures, paced_base

_LOOPS: Final = ("uvloop", "asyncio", "trio")
_CROWD: Final = 2_000
"""Of fewer, what is made once has too great a share."""
_SOAK: Final = 1_000_000
_EDGES: Final = (10, 10_000)


class Goal(msgspec.Struct, frozen=True):
    """What is wanted. The figure has to be at least `least`, or at most `most`."""

    what: str
    figure: Callable[[Record], float | None]
    least: float | None = None
    most: float | None = None
    shape: str = ".2f"

    @property
    def bound(self) -> str:
        """As a person reads it."""
        if self.least is not None:
            return f"≥ {self.least:{self.shape}}"
        return f"≤ {self.most:{self.shape}}"

    def holds(self, figure: float) -> bool:
        """Whether a figure is good enough."""
        return (self.least is None or figure >= self.least) and (self.most is None or figure <= self.most)


def _of_envoy(target: str, kind: str) -> Callable[[Record], float | None]:
    def find(record: Record) -> float | None:
        for one in figures(record.samples):
            if (one.target, one.kind) == (target, kind):
                return one.of_envoy
        return None

    return find


def _redis_of_memory(loop: str) -> Callable[[Record], float | None]:
    def find(record: Record) -> float | None:
        samples = [one for one in record.samples if one.kind == "plain"]
        for one in figures(samples, reference=f"stargate {loop}"):
            if one.target == f"stargate {loop} redis":
                return one.of_envoy
        return None

    return find


def _lost(record: Record) -> float | None:
    """Of all loops together."""
    targets = [f"stargate {loop}" for loop in _LOOPS]
    crowds = [one for one in record.paced if one.streams == _CROWD and one.target in targets]
    return sum(one.result.lost for one in crowds) if crowds else None


def _first_token(loop: str) -> Callable[[Record], float | None]:
    def find(record: Record) -> float | None:
        base = paced_base(record.paced, _CROWD)
        for one in record.paced:
            if (one.target, one.streams) == (f"stargate {loop}", _CROWD) and base is not None:
                return one.result.first_p99_ms - base.first_p99_ms
        return None

    return find


def _worst(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return max(found) if found else None


def _stream_kib(record: Record) -> float | None:
    return _worst(
        [
            one.kib_per_stream
            for one in record.paced
            if one.streams >= _CROWD and one.target.startswith("stargate")
        ]
    )


def _idle_kib(record: Record) -> float | None:
    crowds = [one for one in record.idle if one.connections >= _CROWD]
    return _worst([one.kib_asked for one in crowds if one.target.startswith("stargate")])


def _growth(record: Record) -> float | None:
    """Only of a run that was long enough."""
    long = [one for one in record.soak if one.requests[-1] >= _SOAK]
    return _worst([one.growth for one in long])


def _flatness(loop: str) -> Callable[[Record], float | None]:
    """The least rate over all numbers of connections, as a share of the greatest."""

    def find(record: Record) -> float | None:
        rates = curve(record.curve, f"stargate {loop}")
        if not all(edge in rates for edge in _EDGES):
            return None
        return min(rates.values()) / max(rates.values())

    return find


GOALS: Final = (
    Goal("plain requests, uvloop, of Envoy", _of_envoy("stargate uvloop", "plain"), least=1.25),
    Goal("plain requests, trio, of Envoy", _of_envoy("stargate trio", "plain"), least=0.7),
    *(
        Goal(f"limits in Redis, {loop}, of the same in memory", _redis_of_memory(loop), least=0.8)
        for loop in _LOOPS
    ),
    Goal("translated streams, uvloop, of Envoy", _of_envoy("stargate uvloop", "stream"), least=0.6),
    Goal("translated streams, trio, of Envoy", _of_envoy("stargate trio", "stream"), least=0.45),
    Goal("2,000 streams at 25 events/s: lost, all loops", _lost, most=0, shape=".0f"),
    *(
        Goal(
            f"the same: added time to first token, p99, {loop}, ms", _first_token(loop), most=10, shape=".0f"
        )
        for loop in _LOOPS
    ),
    Goal("memory for an open stream, the worst loop, KiB", _stream_kib, most=40, shape=".0f"),
    Goal("memory for an idle connection, the worst loop, KiB", _idle_kib, most=15, shape=".0f"),
    Goal("growth of memory over a million requests, the worst loop", _growth, most=0.05, shape=".1%"),
    *(
        Goal(f"least rate of greatest, 10 to 10,000 connections, {loop}", _flatness(loop), least=0.8)
        for loop in _LOOPS
    ),
)


def reached(record: Record) -> list[tuple[Goal, float]]:
    """The goals that a run says something about, and what it says."""
    return [(goal, figure) for goal in GOALS if (figure := goal.figure(record)) is not None]
