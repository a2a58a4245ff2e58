"""What has happened of late: from sums that only grow, looked at every so often.

The boards count since the gateway has started. Whoever looks at two moments knows what was between them, so
each worker keeps what it saw: for each of the last `SECONDS` seconds what was done in it, and a look every
`STEP_SECONDS` for the tables and the latencies of the last `WINDOW_SECONDS`.

What was done between two looks that are more than a second apart is spread evenly over the seconds between.
Time is an argument, in seconds that never go back.

Percentiles are read off the histograms' buckets, evenly within a bucket; of the last one, which has no end,
its beginning is told.
"""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stargate.observing.board import Histogram, Totals, Usage

SECONDS: Final = 120
STEP_SECONDS: Final = 10.0
WINDOW_SECONDS: Final = 300.0
PERCENTILES: Final = (50, 90, 99)
ROWS_MAX: Final = 200
"""Of the table by consumer, and of the one by model: those that were asked for most."""


class Used(msgspec.Struct, frozen=True):
    """What has been used in some time."""

    requests: float = 0
    errors: float = 0
    input_tokens: float = 0
    output_tokens: float = 0
    cached_tokens: float = 0
    cost_usd: float = 0.0


SERIES: Final = ("requests", "errors", "input_tokens", "output_tokens", "cost_usd")
_NOTHING: Final = Usage()


def used(before: Usage, after: Usage) -> Used:
    """What has been used between two looks."""
    return Used(
        after.requests - before.requests,
        after.errors - before.errors,
        after.input_tokens - before.input_tokens,
        after.output_tokens - before.output_tokens,
        after.cache_read_tokens - before.cache_read_tokens,
        round((after.cost_nano_usd - before.cost_nano_usd) / 1e9, 9),
    )


class History:
    """What one worker remembers. totals, now: its first look."""

    def __init__(self, totals: Totals, now: float) -> None:
        self._looks: deque[tuple[float, Totals]] = deque([(now, totals)])
        """The last one is the newest; the others are `STEP_SECONDS` apart or more."""
        self._seconds: deque[Used] = deque(maxlen=SECONDS)
        """What was done in each second that is over, the oldest first."""
        self._mark = (now, totals.usage)
        """The look that the seconds reach to."""

    @property
    def looked_at(self) -> float:
        """When the newest look was."""
        return self._looks[-1][0]

    @property
    def newest(self) -> Totals:
        """The newest look."""
        return self._looks[-1][1]

    def look(self, totals: Totals, now: float) -> None:
        """The sums are these now."""
        begin, end = math.floor(self._mark[0]), math.floor(now)
        if end > begin:
            self._spread(used(self._mark[1], totals.usage), begin, end)
            self._mark = (now, totals.usage)
        if len(self._looks) > 1 and self._looks[-1][0] - self._looks[-2][0] < STEP_SECONDS:
            self._looks.pop()
        self._looks.append((now, totals))
        # One that is older than the window stays as its beginning.
        while len(self._looks) > 2 and self._looks[1][0] <= now - WINDOW_SECONDS:
            self._looks.popleft()

    def _spread(self, much: Used, begin: int, end: int) -> None:
        """So much was done in the seconds from one on, up to another."""
        count = end - begin
        share = Used(*(value / count for value in msgspec.structs.astuple(much))) if count > 1 else much
        for _ in range(min(count, SECONDS)):
            self._seconds.append(share)

    # ------------------------------------------------------------------------------------------ what is told

    def series(self) -> dict[str, Any]:
        """The last seconds, the oldest first; nothing was seen in those before the first look."""
        told = {name: [_short(getattr(one, name)) for one in self._seconds] for name in SERIES}
        missing: list[float] = [0] * (SECONDS - len(self._seconds))
        return {"step_seconds": 1, **{name: missing + values for name, values in told.items()}}

    def window_seconds(self) -> float:
        """How long the window is by now."""
        return self._looks[-1][0] - self._looks[0][0]

    def tables(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """By consumer and by model, of the window."""
        before, after = self._looks[0][1], self._looks[-1][1]
        return _rows(before.consumers, after.consumers), _rows(before.models, after.models)

    def latency(self) -> dict[str, Any]:
        """How long answers took, of the window."""
        before, after = self._looks[0][1], self._looks[-1][1]
        return {
            "total_ms": distribution(before.total_ms, after.total_ms),
            "first_byte_ms": distribution(before.first_byte_ms, after.first_byte_ms),
        }


def _rows(before: Mapping[str, Usage], after: Mapping[str, Usage]) -> list[dict[str, Any]]:
    rows = [(name, used(before.get(name, _NOTHING), usage)) for name, usage in after.items()]
    rows = sorted((row for row in rows if row[1].requests), key=lambda row: (-row[1].requests, row[0]))
    return [{"name": name, **msgspec.structs.asdict(one)} for name, one in rows[:ROWS_MAX]]


def distribution(before: Histogram, after: Histogram) -> dict[str, Any]:
    """Percentiles, null where there was nothing; and of each bucket its upper bound, and how many fell in."""
    counts = [new - old for new, old in zip(after.counts, before.counts, strict=True)]
    bounds: list[float | str] = [*after.bounds_ms, "inf"]
    told: dict[str, Any] = {
        f"p{percent}": percentile(after.bounds_ms, counts, percent / 100) for percent in PERCENTILES
    }
    return {**told, "buckets": [list(pair) for pair in zip(bounds, counts, strict=True)]}


def percentile(bounds: list[float], counts: list[int], part: float) -> float | None:
    """What so large a part of all that was counted was at most. None: there was nothing."""
    total = sum(counts)
    if total <= 0:
        return None
    wanted, seen = part * total, 0
    for number, count in enumerate(counts[:-1]):
        if count and seen + count >= wanted:
            begin = bounds[number - 1] if number else 0.0
            return round(begin + (bounds[number] - begin) * (wanted - seen) / count, 3)
        seen += count
    return bounds[-1]


def _short(value: float) -> float:
    """Without digits that say nothing."""
    rounded = round(value, 9)
    return int(rounded) if rounded == int(rounded) else rounded
