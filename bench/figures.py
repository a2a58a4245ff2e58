"""What a benchmark found: its samples, and the figures made of them. page.py and plot.py show them.

Figures of different runs are not comparable: the machine is shared, and its other tenants come and go. So
every gateway is measured in every round, in alternation, and the figure that counts is the ratio to Envoy
within the same run. Processor time per answer is the steadier of the two ratios: it leaves out the time in
which somebody else had the core.

What a gateway adds to a latency is what its callers see less what callers of upstream itself see, at the same
rate and in the same round; of percentiles, the difference of the two.
"""

import json
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from bench.load import Result
from bench.open_loop import OpenResult
from bench.paced import PacedResult

REFERENCE: Final = "envoy"
BASE: Final = "upstream itself"
"""What latencies are compared with."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the load against one target."""

    target: str
    kind: str
    round: int
    connections: int = 32
    result: Result
    cpu_seconds: float | None
    """What it cost the gateway, warm-up included; None where there is no gateway."""
    resident_mib: float | None
    """The gateway's memory when it was over."""

    @property
    def cpu_us(self) -> float | None:
        """Processor time of the gateway per answer."""
        if self.cpu_seconds is None or not self.result.all_answers:
            return None
        return self.cpu_seconds / self.result.all_answers * 1e6

    @property
    def busy(self) -> float | None:
        """The share of the time in which the gateway ran. Far below 1, it was not the limit."""
        if self.cpu_seconds is None or not self.result.all_seconds:
            return None
        return self.cpu_seconds / self.result.all_seconds


class OpenSample(msgspec.Struct, frozen=True, kw_only=True):
    """One run at a fixed rate."""

    target: str
    kind: str
    round: int
    per_second: float
    result: OpenResult


class PacedSample(msgspec.Struct, frozen=True, kw_only=True):
    """One crowd of streams."""

    target: str
    streams: int
    """Open at the same time."""
    per_second: float
    """Events of each."""
    result: PacedResult
    cpu_seconds: float | None
    kib_per_stream: float | None
    """The most memory meanwhile, less what was taken before, for each that was to be open."""

    @property
    def cpu_us_per_event(self) -> float | None:
        """Processor time of the gateway per event."""
        if self.cpu_seconds is None or not self.result.events:
            return None
        return self.cpu_seconds / self.result.events * 1e6


class IdleSample(msgspec.Struct, frozen=True, kw_only=True):
    """One crowd of connections that say nothing."""

    target: str
    connections: int
    answers: int
    """That came when each was asked once, in the end."""
    errors: list[str]
    kib_silent: float
    """Memory for each that has said nothing."""
    kib_asked: float
    """The same when it has had an answer."""


class SoakSample(msgspec.Struct, frozen=True, kw_only=True):
    """Memory over many requests."""

    target: str
    requests: list[int]
    """That had been answered."""
    resident_mib: list[float]
    """The memory at that time."""

    @property
    def growth(self) -> float:
        """From when a tenth was done until the end, as a share."""
        begin = self.resident_mib[max(0, len(self.resident_mib) // 10 - 1)]
        return self.resident_mib[-1] / begin - 1


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one target for one kind of request: medians over the rounds."""

    target: str
    kind: str
    per_second: float
    per_second_min: float
    per_second_max: float
    p50_ms: float
    p99_ms: float
    cpu_us: float | None
    busy: float | None
    of_envoy: float | None
    """Its rate by Envoy's: the median of the ratios within each round."""
    cpu_of_envoy: float | None
    """Envoy's processor time per answer by its own: the ratio of the rates, had each a core to itself."""
    resident_mib: float | None
    """After the last round."""
    unanswered: int
    """Connections without any answer, in the round that had the most of them."""
    events_per_second: float | None
    """None where answers are no streams."""
    cpu_us_per_event: float | None


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was made on and with."""

    date: str
    cpu: str
    cores: int
    kernel: str
    versions: dict[str, str]
    connections: int
    writes: int
    rounds: int
    seconds: float
    others: float
    """The share of the cores' time that other programs had meanwhile."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run, as it is kept."""

    about: About
    skipped: dict[str, str]
    """Targets that were wanted, and why they were not there."""
    failures: dict[str, str] = {}
    """What a target could not do, where that is a result and not an error of the run."""
    samples: list[Sample]
    open_loop: list[OpenSample] = []
    curve: list[Sample] = []
    """The same load over other numbers of connections."""
    paced: list[PacedSample] = []
    idle: list[IdleSample] = []
    soak: list[SoakSample] = []


def _medians(samples: Sequence[Sample], value: Callable[[Sample], float | None]) -> float | None:
    values = [found for sample in samples if (found := value(sample)) is not None]
    return statistics.median(values) if values else None


def _ratio(
    mine: Sequence[Sample], envoys: Sequence[Sample], value: Callable[[Sample, Sample], float | None]
) -> float | None:
    by_round = {sample.round: sample for sample in envoys}
    pairs = [(sample, by_round[sample.round]) for sample in mine if sample.round in by_round]
    ratios = [found for pair in pairs if (found := value(*pair)) is not None]
    return statistics.median(ratios) if ratios else None


def _by_rate(mine: Sample, envoy: Sample) -> float | None:
    return mine.result.per_second / envoy.result.per_second if envoy.result.per_second else None


def _by_cpu(mine: Sample, envoy: Sample) -> float | None:
    return envoy.cpu_us / mine.cpu_us if mine.cpu_us and envoy.cpu_us else None


def _per_event(sample: Sample) -> float | None:
    """Processor time of the gateway per event, where answers are streams."""
    events, answers = sample.result.events, sample.result.answers
    return sample.cpu_us * answers / events if events > answers and sample.cpu_us is not None else None


def figures(samples: Sequence[Sample], reference: str = REFERENCE) -> list[Figures]:
    """The figures of every target and kind, in the order of their first samples."""
    found: list[Figures] = []
    for kind, target in dict.fromkeys((sample.kind, sample.target) for sample in samples):
        mine = [sample for sample in samples if (sample.kind, sample.target) == (kind, target)]
        envoys = [sample for sample in samples if (sample.kind, sample.target) == (kind, reference)]
        rates = [sample.result.per_second for sample in mine]
        events = [
            sample.result.events / sample.result.seconds
            for sample in mine
            if sample.result.events > sample.result.answers
        ]
        found.append(
            Figures(
                target=target,
                kind=kind,
                per_second=statistics.median(rates),
                per_second_min=min(rates),
                per_second_max=max(rates),
                p50_ms=statistics.median(sample.result.p50_ms for sample in mine),
                p99_ms=statistics.median(sample.result.p99_ms for sample in mine),
                cpu_us=_medians(mine, lambda sample: sample.cpu_us),
                busy=_medians(mine, lambda sample: sample.busy),
                of_envoy=_ratio(mine, envoys, _by_rate),
                cpu_of_envoy=_ratio(mine, envoys, _by_cpu),
                resident_mib=max(mine, key=lambda sample: sample.round).resident_mib,
                unanswered=max(sample.result.unanswered for sample in mine),
                events_per_second=statistics.median(events) if events else None,
                cpu_us_per_event=_medians(mine, _per_event),
            )
        )
    return found


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """What a target adds to upstream's own latency, in milliseconds: medians over the rounds."""

    p50_ms: float
    p99_ms: float
    first_p50_ms: float
    first_p99_ms: float


def added(samples: Sequence[OpenSample], target: str, kind: str, per_second: float) -> Added | None:
    """At a rate; None where it was not tried or was too much."""
    mine = [one for one in samples if (one.target, one.kind, one.per_second) == (target, kind, per_second)]
    base = {
        one.round: one.result
        for one in samples
        if (one.target, one.kind, one.per_second) == (BASE, kind, per_second)
    }
    if not mine or any(one.result.saturated for one in mine):
        return None
    pairs = [(one.result, base[one.round]) for one in mine if one.round in base]
    if not pairs:
        return None
    return Added(
        p50_ms=statistics.median(one.p50_ms - other.p50_ms for one, other in pairs),
        p99_ms=statistics.median(one.p99_ms - other.p99_ms for one, other in pairs),
        first_p50_ms=statistics.median(one.first_p50_ms - other.first_p50_ms for one, other in pairs),
        first_p99_ms=statistics.median(one.first_p99_ms - other.first_p99_ms for one, other in pairs),
    )


def curve(samples: Sequence[Sample], target: str) -> dict[int, float]:
    """Answers per second by the number of connections: medians over the rounds."""
    rates: dict[int, list[float]] = {}
    for sample in samples:
        if sample.target == target:
            rates.setdefault(sample.connections, []).append(sample.result.per_second)
    return {connections: statistics.median(found) for connections, found in sorted(rates.items())}


def paced_base(samples: Sequence[PacedSample], streams: int) -> PacedResult | None:
    """What callers of upstream itself saw, with so many streams open."""
    return next((one.result for one in samples if (one.target, one.streams) == (BASE, streams)), None)


def cpu_name() -> str:
    """The processor, as it calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return "unknown processor"


def about(
    versions: dict[str, str], *, connections: int, writes: int, rounds: int, seconds: float, others: float
) -> About:
    """The circumstances of a run on this machine, today."""
    return About(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        cpu=cpu_name(),
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release().partition("-")[0],
        versions={"CPython": platform.python_version(), **versions},
        connections=connections,
        writes=writes,
        rounds=rounds,
        seconds=seconds,
        others=others,
    )


def save(path: Path, record: Record) -> None:
    """Keep all of it as JSON, with the figures beside the samples they are made of."""
    path.parent.mkdir(exist_ok=True)
    kept = {**msgspec.to_builtins(record), "figures": msgspec.to_builtins(figures(record.samples))}
    path.write_text(json.dumps(kept, indent=1) + "\n")


def kept(path: Path) -> Record:
    """What `save` has kept. Raises OSError and msgspec.DecodeError."""
    return msgspec.json.decode(path.read_bytes(), type=Record)
