"""A run as a table for people and as JSON for programs: the same figures, out of the same Report.

Durations are in milliseconds, and `null` where there was nothing to measure. Rates are over the time from the
first request to the last answer, and never over less than the run was to last, but for one that was
interrupted.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from stargate.benching.arrivals import Pattern
from stargate.benching.histogram import Histogram
from stargate.benching.tally import Tally

_MS: Final = 1_000_000
_S: Final = 1_000_000_000
_SHARES: Final = [0.5, 0.9, 0.99]
_LATE_MS: Final = 10.0
"""From here on a run says that this machine was late: people don't notice it, percentiles do."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What was run."""

    url: str
    model: str
    is_streamed: bool
    pattern: Pattern
    per_second: float
    seconds: float
    concurrency_max: int
    max_tokens: int
    seed: int


class Durations(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds."""

    count: int
    mean: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of failure."""

    kind: str
    count: int
    example: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    about: About
    was_interrupted: bool
    seconds: float
    """How long it took, last answer included."""
    due: int
    answered: int
    failed: int
    unsent: int
    """Due, and never sent: no connection was free in time."""
    under_way: int
    """When it was interrupted."""
    crowded: int
    """Found all connections in use when they were due."""
    requests_per_second: float
    output_tokens: int
    output_tokens_per_second: float
    are_tokens_told: bool
    """By the server; else its events were counted."""
    first_token_ms: Durations
    between_events_ms: Durations
    whole_answer_ms: Durations
    sent_late_ms: Durations
    errors: list[Problem]


def durations(histogram: Histogram) -> Durations:
    """A histogram in figures."""
    if not histogram.count:
        return Durations(count=0, mean=None, p50=None, p90=None, p99=None, max=None)
    p50, p90, p99 = (found / _MS for found in histogram.quantiles(_SHARES))
    mean, most = histogram.mean / _MS, histogram.greatest / _MS
    return Durations(count=histogram.count, mean=mean, p50=p50, p90=p90, p99=p99, max=most)


def reported(about: About, tally: Tally, *, elapsed_ns: int, was_interrupted: bool) -> Report:
    """What a tally says in the end, or when it was interrupted after so long."""
    taken_ns = max(elapsed_ns if was_interrupted else max(tally.duration_ns, tally.ended_at), 1)
    kinds = sorted(tally.failures.items(), key=lambda item: (-item[1].count, item[0]))
    return Report(
        about=about,
        was_interrupted=was_interrupted,
        seconds=taken_ns / _S,
        due=tally.due,
        answered=tally.answered,
        failed=tally.failed,
        unsent=tally.unsent,
        under_way=tally.under_way,
        crowded=tally.crowded,
        requests_per_second=tally.answered * _S / taken_ns,
        output_tokens=tally.tokens,
        output_tokens_per_second=tally.tokens * _S / taken_ns,
        are_tokens_told=tally.are_tokens_told,
        first_token_ms=durations(tally.first),
        between_events_ms=durations(tally.between),
        whole_answer_ms=durations(tally.whole),
        sent_late_ms=durations(tally.late),
        errors=[Problem(kind=kind, count=one.count, example=one.example) for kind, one in kinds],
    )


def as_json(report: Report) -> bytes:
    """For programs."""
    return msgspec.json.format(msgspec.json.encode(report)) + b"\n"


def as_text(report: Report) -> Iterator[str]:
    """For people, line by line."""
    about = report.about
    yield f"{about.url}, model {about.model}, {'streamed' if about.is_streamed else 'not streamed'}"
    yield (
        f"{about.per_second:g} requests/s ({about.pattern}) for {about.seconds:g} s: {report.due:,} due, "
        f"{report.answered:,} answered, {report.failed:,} failed{_rest(report)}"
    )
    yield ""
    yield f"{'':<18}{'p50':>10}{'p90':>10}{'p99':>10}{'max':>10}"
    rows = [("whole answer", report.whole_answer_ms)]
    if about.is_streamed:
        rows = [("first token", report.first_token_ms), ("between events", report.between_events_ms), *rows]
    for name, found in rows:
        cells = "".join(f"{_shown(value):>10}" for value in (found.p50, found.p90, found.p99, found.max))
        yield f"{name:<18}{cells}"
    yield ""
    yield f"{'requests/s':<18}{report.requests_per_second:>10,.1f}"
    yield f"{'output tokens/s':<18}{report.output_tokens_per_second:>10,.1f}"
    if report.errors:
        yield ""
        yield "failures"
        for problem in report.errors:
            yield f"{problem.count:>8,}  {problem.kind}{': ' if problem.example else ''}{problem.example}"
    yield from _remarks(report)


def _rest(report: Report) -> str:
    rest = f", {report.unsent:,} never sent" if report.unsent else ""
    return rest + (
        f", {report.under_way:,} under way when it was interrupted" if report.was_interrupted else ""
    )


def _remarks(report: Report) -> Iterator[str]:
    """What a reader must know before believing the figures."""
    found: list[str] = []
    if report.crowded:
        found.append(
            f"{report.crowded:,} requests found all {report.about.concurrency_max:,} connections in use when "
            "they were due; the time that they waited is in their latency"
        )
    if report.unsent:
        found.append(f"{report.unsent:,} were never sent, so the latencies above are too low")
    late = report.sent_late_ms.p99
    if late is not None and late >= _LATE_MS:
        found.append(f"this machine itself was late by {_shown(late)} (p99), which the latencies contain")
    if report.answered and not report.are_tokens_told:
        told = "its events are counted" if report.about.is_streamed else "they are not counted"
        found.append(f"the server tells of some answers not how many tokens they have; {told}")
    if found:
        yield ""
        yield from (f"note: {one}" for one in found)


def _shown(milliseconds: float | None) -> str:
    """Three figures, with their unit."""
    if milliseconds is None:
        return "-"
    if milliseconds < 1:
        return f"{milliseconds * 1000:.0f} µs"
    if milliseconds < 1000:
        return f"{milliseconds:.{1 if milliseconds < 100 else 0}f} ms"
    return f"{milliseconds / 1000:.{2 if milliseconds < 100_000 else 0}f} s"
