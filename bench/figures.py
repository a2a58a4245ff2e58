"""What a benchmark found: its samples, the figures made of them, and the page that shows them.

Figures of different runs are not comparable: the machine is shared, and its other tenants come and go. So
every gateway is measured in every round, in alternation, and the figure that counts is the ratio to Envoy
within the same run. Processor time per answer is the steadier of the two ratios: it leaves out the time in
which somebody else had the core.
"""

import json
import os
import platform
import statistics
import textwrap
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from bench.load import Result

_COLUMNS_MAX: Final = 110


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the load against one target."""

    target: str
    kind: str
    round: int
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
    samples: list[Sample]


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


def figures(samples: Sequence[Sample], reference: str = "envoy") -> list[Figures]:
    """The figures of every target and kind, in the order of their first samples."""
    found: list[Figures] = []
    for kind, target in dict.fromkeys((sample.kind, sample.target) for sample in samples):
        mine = [sample for sample in samples if (sample.kind, sample.target) == (kind, target)]
        envoys = [sample for sample in samples if (sample.kind, sample.target) == (kind, reference)]
        rates = [sample.result.per_second for sample in mine]
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
            )
        )
    return found


def _or_dash(value: float | None, shape: str) -> str:
    return "-" if value is None else format(value, shape)


def table(found: Sequence[Figures]) -> str:
    """The figures as a Markdown table, aligned for a terminal too."""
    heads = [
        "",
        "per second",
        "min - max",
        "of Envoy",
        "CPU µs each",
        "of Envoy, by CPU",
        "busy",
        "p50 ms",
        "p99 ms",
        "MiB",
    ]
    rows = [
        [
            f"{one.kind}, {one.target}",
            f"{one.per_second:,.0f}",
            f"{one.per_second_min:,.0f} - {one.per_second_max:,.0f}",
            _or_dash(one.of_envoy, ".2f"),
            _or_dash(one.cpu_us, ".0f"),
            _or_dash(one.cpu_of_envoy, ".2f"),
            _or_dash(one.busy, ".0%"),
            f"{one.p50_ms:.2f}",
            f"{one.p99_ms:.2f}",
            _or_dash(one.resident_mib, ".0f"),
        ]
        for one in found
    ]
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(row: list[str]) -> str:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        return f"| {' | '.join(cells)} |"

    return "\n".join(map(line, [heads, rule, *rows]))


def page(record: Record) -> str:
    """A run as Markdown, the way README.md shows the last one: what it was, the table, what was not there."""
    about = record.about
    parts = [
        f"{about.date}, {about.cores} cores of an {about.cpu}, Linux {about.kernel}",
        ", ".join(f"{name} {version}" for name, version in about.versions.items()),
        f"{about.connections} connections, streams in {about.writes} writes",
        f"{about.rounds} round{'' if about.rounds == 1 else 's'} of {about.seconds:g} s",
    ]
    caption = f"{'; '.join(parts)}. Other programs had {about.others:.0%} of the cores' time meanwhile."
    found = figures(record.samples)
    lines = [textwrap.fill(caption, _COLUMNS_MAX), "", table(found)]
    if starved := ", ".join(
        f"{one.unanswered} ({one.kind}, {one.target})" for one in found if one.unanswered
    ):
        lines += ["", textwrap.fill(f"Connections without any answer in a round: {starved}.", _COLUMNS_MAX)]
    if record.skipped:
        skipped = "; ".join(f"{name}: {reason}" for name, reason in record.skipped.items())
        lines += ["", textwrap.fill(f"Skipped: {skipped}.", _COLUMNS_MAX)]
    return "\n".join(lines)


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
