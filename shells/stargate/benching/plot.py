"""A run as a picture: an SVG, written as it stands, without a library.

On the left every latency over its percentile, on a scale on which 90, 99 and 99.9 % are equally far from each
other, since the slow ones are what matters. On the right the run from its beginning to its end: the median
and the 99th percentile of what callers wait for first, and beneath, how many were answered and how many
failed. Latencies are on logarithmic scales, all durations in milliseconds.
"""

import math
from collections.abc import Callable, Generator, Iterator
from html import escape
from typing import Final, NamedTuple, TypeAlias

from stargate.benching.report import Report
from stargate.benching.tally import BINS, Bin, Tally

_MS: Final = 1_000_000
_WIDTH, _HEIGHT = 980, 430
_INK, _FAINT, _GRID = "#1f2933", "#7b8794", "#e4e7eb"
_FIRST, _BETWEEN, _WHOLE, _FAILED = "#1f5fbf", "#2a9d8f", "#8a5a9e", "#d1495b"
_PERCENTILES: Final = (
    (0.0, "0"),
    (0.5, "50"),
    (0.9, "90"),
    (0.99, "99"),
    (0.999, "99.9"),
    (0.9999, "99.99 %"),
)
_FONT: Final = 'font-family="system-ui, sans-serif" font-size="11"'
_POINTS: Final = 120
_IN_A_BIN: Final = 5
"""Answers, on the average and at least; else several bins are drawn as one."""

Scale: TypeAlias = Callable[[float], float]


class _Panel(NamedTuple):
    """A rectangle that something is drawn in."""

    left: float
    top: float
    width: float
    height: float

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def right(self) -> float:
        return self.left + self.width


_LATENCIES: Final = _Panel(70, 92, 380, 280)
_ALONG: Final = _Panel(540, 92, 400, 150)
_RATES: Final = _Panel(540, 290, 400, 82)


def drawing(report: Report, tally: Tally) -> str:
    """The whole SVG."""
    about = report.about
    head = f"{about.model}, {about.per_second:g} requests/s ({about.pattern}) for {about.seconds:g} s"
    told = (
        f"{about.url}: {report.answered:,} answered, {report.failed:,} failed, "
        f"{report.output_tokens_per_second:,.0f} output tokens/s"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_FONT}>',
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
            _text(24, 32, head, size=16, weight=600),
            _text(24, 52, told, fill=_FAINT),
            *_latencies(report, tally),
            *_along(report, tally),
            "</svg>\n",
        ]
    )


# ----------------------------------------------------------------------------------------------- percentiles


def _latencies(report: Report, tally: Tally) -> Iterator[str]:
    """Each latency over its percentile."""
    panel = _LATENCIES
    curves = [("whole answer", tally.whole, _WHOLE)]
    if report.about.is_streamed:
        curves = [("first token", tally.first, _FIRST), *curves, ("between events", tally.between, _BETWEEN)]
    curves = [curve for curve in curves if curve[1].count]
    yield _text(panel.left, panel.top - 10, "latency by percentile, ms", weight=600)
    most = max((found.count for _, found, _ in curves), default=1)
    far = min(max(math.log10(most), 1.0), 4.0)

    def across(share: float) -> float:
        return panel.left + panel.width * min(-math.log10(max(1 - share, 1e-9)) / far, 1.0)

    values = [value for _, found, _ in curves for value in (found.quantile(0.01), found.greatest) if value]
    up = yield from _upwards(panel, values)
    for share, label in _PERCENTILES:
        if -math.log10(1 - share) <= far + 1e-9:
            yield _line(across(share), panel.top, across(share), panel.bottom, _GRID)
            yield _text(across(share), panel.bottom + 16, label, anchor="middle", fill=_FAINT)
    for number, (name, found, colour) in enumerate(curves):
        shares = [1 - 10 ** (-far * at / _POINTS) for at in range(_POINTS + 1)]
        shares = [share for share in shares if share <= 1 - 0.5 / found.count]
        points = [(across(share), up(at)) for share, at in zip(shares, found.quantiles(shares), strict=True)]
        yield _curve(points, colour)
        left = panel.left + number * 120
        yield _line(left, _HEIGHT - 22, left + 16, _HEIGHT - 22, colour, 2.5)
        yield _text(left + 22, _HEIGHT - 18, name)


# ---------------------------------------------------------------------------------------------- along the run


def _along(report: Report, tally: Tally) -> Iterator[str]:
    """What callers waited for first, and how many were answered, from the beginning to the end."""
    panel, is_streamed = _ALONG, report.about.is_streamed
    bins = _merged(tally)
    width = panel.width / len(bins)
    what, colour = ("first token", _FIRST) if is_streamed else ("whole answer", _WHOLE)
    found = [one.first if is_streamed else one.whole for one in bins]
    yield _text(panel.left, panel.top - 10, f"{what} along the run, ms: median and p99", weight=600)
    values = [value for one in found if one.count for value in one.quantiles([0.5, 0.99])]
    up = yield from _upwards(panel, values)
    for share, dashes in ((0.99, "4 3"), (0.5, "")):
        points = [
            (panel.left + (number + 0.5) * width, up(one.quantiles([share])[0]))
            for number, one in enumerate(found)
            if one.count
        ]
        yield _curve(points, colour, dashes)
    yield from _rates(report, bins)


def _rates(report: Report, bins: list[Bin]) -> Iterator[str]:
    panel, about = _RATES, report.about
    seconds = about.seconds / len(bins)
    width = panel.width / len(bins)
    most = max([about.per_second, *((one.answered + one.failed) / seconds for one in bins)]) * 1.1
    yield _text(panel.left, panel.top - 10, "answered per second, and failed", weight=600)
    yield _line(panel.left, panel.bottom, panel.right, panel.bottom, _FAINT)
    for number, one in enumerate(bins):
        left, below = panel.left + number * width, panel.bottom
        for count, colour in ((one.answered, "#9db8de"), (one.failed, _FAILED)):
            height = panel.height * count / seconds / most
            below -= height
            if count:
                yield (
                    f'<rect x="{left + 0.5:.1f}" y="{below:.1f}" width="{max(width - 1, 0.5):.1f}" '
                    f'height="{height:.1f}" fill="{colour}"/>'
                )
    asked = panel.bottom - panel.height * about.per_second / most
    yield _line(panel.left, asked, panel.right, asked, _INK, 1, "2 3")
    yield _text(panel.left - 8, asked + 4, f"{about.per_second:g}", anchor="end", fill=_FAINT)
    for part in range(5):
        at = panel.left + panel.width * part / 4
        unit = " s" if part == 4 else ""
        label = f"{about.seconds * part / 4:.3g}{unit}"
        yield _text(at, panel.bottom + 16, label, anchor="middle", fill=_FAINT)


def _merged(tally: Tally) -> list[Bin]:
    """The run in equal parts, so many that most have a few requests."""
    numbers = [number for number in (60, 30, 20, 15, 12, 10, 6, 5) if tally.answered >= number * _IN_A_BIN]
    count = numbers[0] if numbers else 4
    merged = [Bin() for _ in range(count)]
    for number, one in enumerate(tally.bins[:BINS]):
        into = merged[number * count // BINS]
        into.answered += one.answered
        into.failed += one.failed
        into.first.add_all(one.first)
        into.whole.add_all(one.whole)
    return merged


# ---------------------------------------------------------------------------------------------------- strokes


def _upwards(panel: _Panel, durations_ns: list[int]) -> Generator[str, None, Scale]:
    """Draw a logarithmic axis that holds these; returns where a duration is on it."""
    ms = [max(duration / _MS, 0.001) for duration in durations_ns] or [1.0, 10.0]
    low, high = math.log10(min(ms)) - 0.08, math.log10(max(ms)) + 0.08
    if high - low < 0.5:
        low, high = low - 0.25, high + 0.25
    for step in _steps(low, high):
        at = panel.bottom - panel.height * (math.log10(step) - low) / (high - low)
        yield _line(panel.left, at, panel.right, at, _GRID)
        yield _text(panel.left - 8, at + 4, f"{step:g}", anchor="end", fill=_FAINT)

    def up(duration_ns: float) -> float:
        share = (math.log10(max(duration_ns / _MS, 0.001)) - low) / (high - low)
        return panel.bottom - panel.height * min(max(share, 0.0), 1.0)

    return up


def _steps(low: float, high: float) -> list[float]:
    """Round numbers between two powers of ten, about four to eight of them."""
    found: list[float] = []
    for digits in ((1, 2, 5), (1, 3), (1,)):
        decades = range(math.floor(low), math.ceil(high) + 1)
        steps = [digit * 10.0**decade for decade in decades for digit in digits]
        found = [step for step in steps if low <= math.log10(step) <= high]
        if len(found) <= 8:
            break
    return found


def _text(
    x: float,
    y: float,
    text: str,
    *,
    fill: str = _INK,
    anchor: str = "start",
    size: int = 11,
    weight: int = 400,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1, dashes: str = "") -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}" stroke-dasharray="{dashes or "none"}"/>'
    )


def _curve(points: list[tuple[float, float]], colour: str, dashes: str = "") -> str:
    """A line through these points; a single one is a dot."""
    if len(points) == 1:
        [(x, y)] = points
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" '
        f'stroke-linejoin="round" stroke-dasharray="{dashes or "none"}"/>'
    )
