"""A run as one picture, PNG and SVG: bars for the rates, and beside them a panel for each suite that it has.

matplotlib draws it (of the group `bench`); where that is not installed there is no picture, and a line says
so.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from bench.figures import BASE, Figures, Record, added, curve, figures, paced_base

_WIDTH_INCHES: Final = 7.5
_PANEL_INCHES: Final = 3.8
_BAR_INCHES: Final = 0.19
_TITLE_INCHES: Final = 0.6
_DOTS_PER_INCH: Final = 110
_COLOURS: Final = {
    "nginx": "#9a9a9a",
    "envoy": "#4c4c4c",
    "stargate uvloop": "#1f5fbf",
    "stargate asyncio": "#2a9d8f",
    "stargate trio": "#d1495b",
    "portkey": "#e9a23b",
    "litellm": "#8a5a9e",
    BASE: "#d0d0d0",
}


def _colour(target: str) -> str:
    found = _COLOURS.get(target) or _COLOURS.get(target.removesuffix(" redis"))
    return found or "#b8c4d0"


def _barred(record: Record) -> list[Figures]:
    return [one for one in figures(record.samples) if one.target != BASE]


def _rates(axes: Any, record: Record) -> None:
    """Bars: every target's rate, a group for each load."""
    found = _barred(record)
    labels = [f"{one.kind}, {one.target}" for one in found][::-1]
    values = [one.per_second for one in found][::-1]
    low = [one.per_second - one.per_second_min for one in found][::-1]
    high = [one.per_second_max - one.per_second for one in found][::-1]
    colours = [_colour(one.target) for one in found][::-1]
    axes.barh(labels, values, xerr=[low, high], color=colours, ecolor="#808080", capsize=2)
    axes.set_xscale("log")
    axes.set_xlabel("answers per second, one core (log)")
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlim(left=10 ** math.floor(math.log10(min(values)) - 0.3), right=max(values) * 4)
    axes.margins(y=0.01)
    for at, (value, above) in enumerate(zip(values, high, strict=True)):
        axes.annotate(f"  {value:,.0f}", (value + above, at), va="center", fontsize=7)


def _open_loop(axes: Any, record: Record) -> None:
    """Lines: what is added at p99, over the rate of plain requests."""
    kinds = list(dict.fromkeys(one.kind for one in record.open_loop))
    kind = "plain" if "plain" in kinds else kinds[0]
    rates = sorted({one.per_second for one in record.open_loop})
    for target in dict.fromkeys(one.target for one in record.open_loop):
        points = [(rate, added(record.open_loop, target, kind, rate)) for rate in rates]
        found = [(rate, max(one.p99_ms, 0.01)) for rate, one in points if one is not None]
        if target != BASE and found:
            _line(axes, target, found)
    _logarithmic(axes, rates)
    axes.set_xlabel(f"{kind} requests per second, open loop")
    axes.set_ylabel("added latency, p99, ms")


def _paced(axes: Any, record: Record) -> None:
    """Lines: what is added to the first token at p99, over the number of open streams."""
    for target in dict.fromkeys(one.target for one in record.paced):
        found: list[tuple[float, float]] = []
        for one in record.paced:
            base = paced_base(record.paced, one.streams)
            if one.target == target and base is not None:
                found.append((one.streams, max(one.result.first_p99_ms - base.first_p99_ms, 0.01)))
        if target != BASE and found:
            _line(axes, target, sorted(found))
    axes.axhline(10, color="#808080", linestyle=":", linewidth=1)
    axes.set_yscale("log")
    axes.set_xlabel("streams open at the same time, 25 events/s each")
    axes.set_ylabel("added time to first token, p99, ms")


def _curve(axes: Any, record: Record) -> None:
    """Lines: plain requests per second over the number of connections."""
    for target in dict.fromkeys(one.target for one in record.curve):
        if target != BASE:
            _line(axes, target, list(curve(record.curve, target).items()))
    _logarithmic(axes, sorted({one.connections for one in record.curve}))
    axes.set_xlabel("connections, closed loop")
    axes.set_ylabel("plain requests per second")


def _memory(axes: Any, record: Record) -> None:
    """Bars: memory for an idle connection."""
    labels = [one.target for one in record.idle][::-1]
    axes.barh(labels, [one.kib_asked for one in record.idle][::-1], color=list(map(_colour, labels)))
    axes.axvline(15, color="#808080", linestyle=":", linewidth=1)
    axes.set_xlabel("KiB for a connection that has asked and is idle")
    axes.tick_params(axis="y", labelsize=7)


def _soak(axes: Any, record: Record) -> None:
    """Lines: memory over requests."""
    for one in record.soak:
        _line(axes, one.target, list(zip(one.requests, one.resident_mib, strict=True)))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("requests answered")
    axes.set_ylabel("resident memory, MiB")


def _logarithmic(axes: Any, across: Sequence[float]) -> None:
    """Both axes, with what was measured at below."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(across, [f"{value:,.0f}" for value in across])
    axes.set_xticks([], minor=True)


def _line(axes: Any, target: str, points: list[tuple[float, float]] | list[tuple[int, float]]) -> None:
    style = "--" if target.endswith(" redis") else "-"
    across, up = zip(*points, strict=True)
    axes.plot(across, up, style, marker="o", markersize=3, color=_colour(target), label=target)
    axes.grid(True, which="major", alpha=0.25)


def draw(record: Record, path: Path) -> list[Path]:
    """Draw what a run has, as `path` with .png and with .svg; of upstream alone there is nothing to draw.

    Raises ImportError without matplotlib.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    # The same run gives the same file.
    mpl.rcParams["svg.hashsalt"] = "stargate"
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    plt: Any = pyplot

    panels: list[tuple[Callable[[Any, Record], None], bool]] = [
        (_open_loop, bool(record.open_loop)),
        (_paced, bool(record.paced)),
        (_curve, bool(record.curve)),
        (_memory, bool(record.idle)),
        (_soak, bool(record.soak)),
    ]
    wanted = [panel for panel, has in panels if has]
    bars = len(_barred(record))
    if not bars and not wanted:
        return []
    height = max(_PANEL_INCHES * max(1, len(wanted)), _BAR_INCHES * bars)
    columns = bool(bars) + bool(wanted)
    figure: Any = plt.figure(figsize=(_WIDTH_INCHES * columns, height + _TITLE_INCHES), layout="constrained")
    grid = figure.add_gridspec(max(1, len(wanted)), columns)
    if bars:
        _rates(figure.add_subplot(grid[:, 0]), record)
    for row, panel in enumerate(wanted):
        axes = figure.add_subplot(grid[row, -1])
        panel(axes, record)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    about = record.about
    title = f"Stargate beside others, {about.date}: {about.cores} cores, {about.cpu}"
    figure.suptitle(title, fontsize=10)
    written = [path.with_suffix(suffix) for suffix in (".png", ".svg")]
    for file in written:
        figure.savefig(file, dpi=_DOTS_PER_INCH, metadata={"Date": None} if file.suffix == ".svg" else None)
    plt.close(figure)
    return written
