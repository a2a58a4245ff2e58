"""Durations, counted in buckets whose width grows with the duration: a bounded space, and a known error.

A run may last for hours, and a stream has hundreds of gaps: keeping every one would have no bound. Up to 128
ns each bucket is one nanosecond; from there on each power of two has 128 of them, so that a bucket is never
wider than 1/128 of what it holds, and a percentile, the middle of its bucket, is wrong by at most 0.4 %. The
least, the greatest, the number and the sum are exact.

Source: Gil Tene's HdrHistogram, whose layout this is.
"""

import math
from collections import Counter
from typing import Final

_BITS: Final = 7
_EACH: Final = 1 << _BITS


class Histogram:
    """Durations in nanoseconds, none below 0."""

    __slots__ = ("_buckets", "count", "greatest", "least", "total")

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.total = 0
        self.least = 0
        self.greatest = 0

    def add(self, duration_ns: int) -> None:
        """One more."""
        assert duration_ns >= 0
        self._buckets[_bucket(duration_ns)] += 1
        self.least = min(self.least, duration_ns) if self.count else duration_ns
        self.greatest = max(self.greatest, duration_ns)
        self.count += 1
        self.total += duration_ns

    def add_all(self, other: "Histogram") -> None:
        """All that are in another one."""
        if other.count:
            self._buckets.update(other._buckets)
            self.least = min(self.least, other.least) if self.count else other.least
            self.greatest = max(self.greatest, other.greatest)
            self.count += other.count
            self.total += other.total

    @property
    def mean(self) -> float:
        """0 if there are none."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> int | None:
        """The duration that at least this share of all do not exceed; None if there are none."""
        return self.quantiles([share])[0] if self.count else None

    def quantiles(self, ascending: list[float]) -> list[int]:
        """The same for several shares, in ascending order. There must be at least one duration."""
        assert self.count
        found: list[int] = []
        seen = 0
        buckets = iter(sorted(self._buckets.items()))
        middle = self.least
        for share in ascending:
            rank = max(1, math.ceil(round(share * self.count, 6)))
            while seen < rank:
                bucket, number = next(buckets)
                seen += number
                middle = min(max(_middle(bucket), self.least), self.greatest)
            found.append(self.greatest if rank >= self.count else middle)
        return found


def _bucket(value: int) -> int:
    """Buckets are numbered from 0, and in order of what they hold."""
    shift = max(0, value.bit_length() - _BITS - 1)
    return shift * _EACH + (value >> shift)


def _middle(bucket: int) -> int:
    """What stands for all that is in a bucket."""
    if bucket < 2 * _EACH:
        return bucket
    shift = bucket // _EACH - 1
    low = (bucket - shift * _EACH) << shift
    return low + (1 << shift) // 2
