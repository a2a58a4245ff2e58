"""The types of limits: what a journal writes of them, it reads again; as keys they are their values."""

import msgspec
import pytest

from stargate_core.limits.buckets import MONTH_US, Algorithm, Bucket, Charge, Claim, Level, Verdict

BUCKET = Bucket("stargate:{team-a}:tokens", Algorithm.GCRA, 10**15, 60_000_000, 7)


class TestTypes:
    @pytest.mark.parametrize(
        "value",
        [
            BUCKET,
            Claim(BUCKET, 2**52),
            Charge(BUCKET, 9, 3),
            Verdict(False, 1, (Level(0, 5), Level(3, 0)), 0, -1),
        ],
    )
    def test_a_journal_brings_them_back(self, value: msgspec.Struct) -> None:
        assert msgspec.json.decode(msgspec.json.encode(value), type=type(value)) == value

    def test_equal_buckets_are_one_key(self) -> None:
        again = Bucket("stargate:{team-a}:tokens", Algorithm.GCRA, 10**15, 60_000_000, 7)
        assert len({BUCKET: 1, again: 2}) == 1

    def test_a_bucket_of_which_no_window_is_said_counts_months(self) -> None:
        assert Bucket("k", Algorithm.FIXED, 1).window_us == MONTH_US
