"""Shapes: which tables there are, their labels, and what each number of a series is.

Times are counted in whole microseconds and money in whole nano-dollars, so that sums are exact in any order
and over any number of processes. Of a histogram there is a number for each bucket and one for the sum; how
many observations there were is the sum of the buckets, so the two always agree.

Source of most bounds: OpenTelemetry's conventions for generative AI, which advise buckets for each of its
histograms; ours go on where theirs end before our time limits do.
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
"""

from typing import Final

from stargate.observing.memory import Shape

# ------------------------------------------------------------------------------------------------- histograms

DURATION: Final = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68,
    655.36,
)  # fmt: skip
FIRST_BYTE: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0,
)  # fmt: skip
FIRST_TOKEN: Final = FIRST_BYTE
BETWEEN_TOKENS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
)  # fmt: skip
OVERHEAD: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
LEASE: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0)

BOUNDS: Final[dict[str, tuple[float, ...]]] = {
    "duration": DURATION,
    "first_byte": FIRST_BYTE,
    "first_token": FIRST_TOKEN,
    "between_tokens": BETWEEN_TOKENS,
    "overhead": OVERHEAD,
    "lease": LEASE,
}
"""Upper bounds in seconds, in the order in which a series of LATENCY has them."""


def _offsets() -> dict[str, int]:
    offsets: dict[str, int] = {}
    at = 0
    for name, bounds in BOUNDS.items():
        offsets[name] = at
        at += len(bounds) + 2
    return offsets


OFFSETS: Final = _offsets()
"""Where each histogram's numbers begin: the sum in microseconds, and a number for each bucket."""
_WIDTH: Final = sum(len(bounds) + 2 for bounds in BOUNDS.values())

# ------------------------------------------------------------------------------------------------------ usage

(
    REQUESTS, ERRORS, LEFT, INPUT, OUTPUT, CACHE_READ, CACHE_WRITE, NANO_USD, ESTIMATED, REQUEST_BYTES,
    RESPONSE_BYTES, KEPT_INPUT, KEPT_OUTPUT,
) = range(13)  # fmt: skip
"""Of a series of USAGE. KEPT_…: tokens of answers that were kept or shared, and so cost nothing."""

# ------------------------------------------------------------------------------------------------- the tables

SHAPES: Final[dict[str, Shape]] = {
    "requests": Shape(
        ("consumer", "route", "model", "dialect", "status", "code", "outcome"), 1, 2000, foldable=(2,)
    ),
    "usage": Shape(("consumer", "model"), 13, 1000, foldable=(1,)),
    "latency": Shape(("model", "dialect", "stream", "outcome"), _WIDTH, 300, foldable=(0,)),
    "attempts": Shape(("target", "result"), 1, 500, foldable=(0,)),
    "counts": Shape(("metric", "label"), 1, 500, foldable=(1,)),
}
"""`counts` are the counters with one label at most, by their short names."""
