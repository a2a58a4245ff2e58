"""A run as a page of Markdown, the way docs/performance.md shows the last one.

The tables are aligned for a terminal too.
"""

import textwrap
from collections.abc import Sequence
from typing import Final

from bench.figures import (
    BASE,
    Figures,
    PacedSample,
    Record,
    added,
    curve,
    figures,
    paced_base,
)
from bench.goals import reached

_COLUMNS_MAX: Final = 110


def _or_dash(value: float | None, shape: str) -> str:
    return "-" if value is None else format(value, shape)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(row: Sequence[str]) -> str:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        return f"| {' | '.join(cells)} |"

    return "\n".join(map(line, [heads, rule, *rows]))


def _paragraph(text: str) -> str:
    return textwrap.fill(text, _COLUMNS_MAX)


def _rates(found: Sequence[Figures]) -> str:
    heads = [
        "",
        "per second",
        "min - max",
        "of Envoy",
        "CPU µs each",
        "of Envoy, by CPU",
        "busy",
        "events/s",
        "CPU µs an event",
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
            _or_dash(one.events_per_second, ",.0f"),
            _or_dash(one.cpu_us_per_event, ".1f"),
            f"{one.p50_ms:.2f}",
            f"{one.p99_ms:.2f}",
            _or_dash(one.resident_mib, ".0f"),
        ]
        for one in found
    ]
    return _table(heads, rows)


def _caption(record: Record) -> str:
    about = record.about
    parts = [
        f"{about.date}, {about.cores} cores of an {about.cpu}, Linux {about.kernel}",
        ", ".join(f"{name} {version}" for name, version in about.versions.items()),
        f"{about.connections} connections, streams in {about.writes} writes",
        f"{about.rounds} round{'' if about.rounds == 1 else 's'} of {about.seconds:g} s",
    ]
    others = f"Other programs had {about.others:.0%} of the cores' time meanwhile."
    return _paragraph(f"{'; '.join(parts)}. {others}")


def _open_loop(record: Record) -> list[str]:
    samples = record.open_loop
    rates = sorted({one.per_second for one in samples})
    rows: list[list[str]] = []
    for kind, target in dict.fromkeys((one.kind, one.target) for one in samples if one.target != BASE):
        whole, first = [f"{kind}, {target}"], [f"{kind}, {target}: first token"]
        for rate in rates:
            found = added(samples, target, kind, rate)
            whole.append("-" if found is None else f"{found.p50_ms:.2f} / {found.p99_ms:.2f}")
            first.append("-" if found is None else f"{found.first_p50_ms:.2f} / {found.first_p99_ms:.2f}")
        rows += [whole, first] if kind == "stream" else [whole]
    rounds = len({one.round for one in samples})
    words = (
        f"Added latency at fixed rates, in ms, p50 / p99, from the moment a request was due, of {rounds} "
        f"round{'' if rounds == 1 else 's'}; -: more than it bears."
    )
    return [_paragraph(words), "", _table(["", *(f"{rate:,.0f}/s" for rate in rates)], rows)]


def _paced_row(one: PacedSample, record: Record) -> list[str]:
    base, result = paced_base(record.paced, one.streams), one.result
    is_base = base is None or one.target == BASE

    def over(mine: float, its: float) -> str:
        return f"({mine:.1f})" if is_base else f"{mine - its:.1f}"

    firsts = [
        over(result.first_p50_ms, base.first_p50_ms if base else 0),
        over(result.first_p99_ms, base.first_p99_ms if base else 0),
    ]
    return [
        f"{one.streams:,}, {one.target}",
        f"{result.lost:,}",
        f"{result.open_max:,}",
        f"{result.events_per_second:,.0f}",
        f"{result.events_per_second / (one.streams * one.per_second):.0%}",
        *firsts,
        over(result.late_p99_ms, base.late_p99_ms if base else 0),
        _or_dash(one.cpu_us_per_event, ".1f"),
        _or_dash(one.kib_per_stream, ".1f"),
    ]


def _paced(record: Record) -> list[str]:
    paces = sorted({one.per_second for one in record.paced})
    words = (
        f"Streams open at the same time, {', '.join(f'{pace:g}' for pace in paces)} events/s each. Times are "
        f"what a gateway adds, in ms; of {BASE}, in brackets, what they are."
    )
    heads = [
        "",
        "lost",
        "open",
        "events/s",
        "of wanted",
        "first token p50",
        "p99",
        "event late p99",
        "CPU µs an event",
        "KiB a stream",
    ]
    rows = [_paced_row(one, record) for one in sorted(record.paced, key=lambda one: one.streams)]
    return [_paragraph(words), "", _table(heads, rows)]


def _idle(record: Record) -> list[str]:
    heads = [
        "idle connections",
        "number",
        "answered when asked",
        "KiB each, silent",
        "KiB each, after a request",
    ]
    rows = [
        [
            one.target,
            f"{one.connections:,}",
            f"{one.answers:,}",
            f"{one.kib_silent:.1f}",
            f"{one.kib_asked:.1f}",
        ]
        for one in record.idle
    ]
    return [_table(heads, rows)]


def _curve(record: Record) -> list[str]:
    sizes = sorted({one.connections for one in record.curve})
    rows: list[list[str]] = []
    for target in dict.fromkeys(one.target for one in record.curve):
        rates = curve(record.curve, target)
        found = [_or_dash(rates.get(size), ",.0f") for size in sizes]
        rows.append([target, *found, f"{min(rates.values()) / max(rates.values()):.2f}"])
    heads = ["plain requests/s over connections", *(f"{size:,}" for size in sizes), "least of greatest"]
    return [_table(heads, rows)]


def _soak(record: Record) -> list[str]:
    heads = ["memory over requests", "requests", "MiB after a tenth", "MiB in the end", "growth"]
    rows = [
        [
            one.target,
            f"{one.requests[-1]:,}",
            f"{one.resident_mib[max(0, len(one.resident_mib) // 10 - 1)]:.1f}",
            f"{one.resident_mib[-1]:.1f}",
            f"{one.growth:.1%}",
        ]
        for one in record.soak
    ]
    return [_table(heads, rows)]


def _goals(record: Record) -> list[str]:
    rows = [
        [goal.what, goal.bound, f"{figure:{goal.shape}}", "yes" if goal.holds(figure) else "no"]
        for goal, figure in reached(record)
    ]
    return [_table(["goal", "wanted", "measured", "holds"], rows)] if rows else []


def page(record: Record) -> str:
    """A run: what it was, the tables, the goals, what was not there."""
    blocks = [[_caption(record)]]
    if record.samples:
        found = figures(record.samples)
        blocks.append([_rates(found)])
        if starved := ", ".join(
            f"{one.unanswered} ({one.kind}, {one.target})" for one in found if one.unanswered
        ):
            blocks.append([_paragraph(f"Connections without any answer in a round: {starved}.")])
    for samples, block in (
        (record.open_loop, _open_loop),
        (record.paced, _paced),
        (record.idle, _idle),
        (record.curve, _curve),
        (record.soak, _soak),
    ):
        if samples:
            blocks.append(block(record))
    blocks.append(_goals(record))
    for title, reasons in (("Not borne", record.failures), ("Skipped", record.skipped)):
        if reasons:
            text = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
            blocks.append([_paragraph(f"{title}: {text}.")])
    return "\n\n".join("\n".join(block) for block in blocks if block)
