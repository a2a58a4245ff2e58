"""A rate-limiter's limits, as values: each as it was compiled, and what it is for one scope.

Who compiles them, and says which buckets they count in, is `limit_buckets`.
"""

import msgspec

from stargate_core.limits.buckets import Algorithm, Bucket, Claim


class Limited(msgspec.Struct, frozen=True):
    """One limit, compiled."""

    unit: str
    by: tuple[str, ...]
    algorithm: Algorithm
    window_us: int
    window: str
    """In names of headers: minute, or 90; '' of what has none."""
    amount: int
    """In the bucket's unit: nano-dollars, where it is money."""
    burst: int
    words: str
    """As a refused caller reads it. The caller's own doing at most: nobody else's name."""

    @property
    def name(self) -> str:
        """As the log and metrics name it: `tokens_per_minute_by_consumer`."""
        window = f"{self.window}s" if self.window.isdigit() else self.window
        parts = (self.unit, f"_per_{window}" if window else "", f"_by_{'_'.join(self.by)}" if self.by else "")
        return "".join(parts)

    @property
    def capacity(self) -> int:
        """The most a bucket ever gives at once."""
        return self.burst or self.amount


class Row(msgspec.Struct, frozen=True):
    """A limit for one scope."""

    limited: Limited
    bucket: Bucket
    claim: Claim | None
    """What every request takes of it: one. None: that depends on the request."""
