"""When requests are due: an open loop, which asks whether or not the earlier ones have been answered.

A closed loop, so many callers of whom each waits for its answer before it asks again, measures a server that
stands still with the patience of its callers: while it stands still nobody asks, and the seconds in which
thousands would have waited appear as one slow answer (coordinated omission; Gil Tene, "How NOT to Measure
Latency"). Users do not wait for each other. So moments are fixed beforehand, and every latency counts from
the moment at which its request was due.

Two patterns: *poisson*, the one of many people who know nothing of each other, in which requests come in
bunches; *constant*, a metronome, whose figures vary less from run to run and are kinder than life.
"""

import random
from collections.abc import Iterator
from typing import Literal, TypeAlias

Pattern: TypeAlias = Literal["poisson", "constant"]
_SECOND_NS = 1_000_000_000


def arrivals(pattern: Pattern, per_second: float, seconds: float, seed: int) -> Iterator[int]:
    """The moments, in nanoseconds from the beginning, in order, all before the end; the first one is 0."""
    rng = random.Random(seed)  # noqa: S311  (nothing secret is drawn from it)
    end_ns = seconds * _SECOND_NS
    gap_ns = _SECOND_NS / per_second
    at_ns = 0.0
    number = 0
    while at_ns < end_ns:
        yield int(at_ns)
        number += 1
        # A product has no error that adds up.
        at_ns = number * gap_ns if pattern == "constant" else at_ns + rng.expovariate(1.0) * gap_ns
