"""Limits as values: how much one gives at once, and that nobody changes one."""

import pytest

from stargate_core.limits.buckets import Algorithm, Bucket, Claim
from stargate_core.plugins.limit_rows import Limited, Row


def limited(burst: int) -> Limited:
    """A limit of five a minute."""
    return Limited("requests", ("consumer",), Algorithm.GCRA, 60_000_000, "minute", 5, burst, "5 requests")


class TestLimited:
    @pytest.mark.parametrize(("burst", "capacity"), [(0, 5), (2, 2), (9, 9)])
    def test_at_once_it_gives_its_burst_or_its_amount(self, burst: int, capacity: int) -> None:
        assert limited(burst).capacity == capacity

    def test_nobody_changes_it(self) -> None:
        bucket = Bucket("key", Algorithm.GCRA, 5, 60_000_000, 0)
        row = Row(limited(0), bucket, Claim(bucket, 1))
        with pytest.raises(AttributeError):
            row.claim = None  # type: ignore[misc]
