"""The histogram against sorted lists, and its bound."""

import math
import statistics
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate.benching.histogram import Histogram

HOUR_NS = 3_600_000_000_000
DURATIONS = st.lists(st.one_of(st.integers(0, 300), st.integers(0, HOUR_NS)), min_size=1)
SHARES = st.sampled_from([0.0, 0.01, 0.07, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0])


def filled(durations: list[int]) -> Histogram:
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    return histogram


def nearest_rank(durations: list[int], share: float) -> int:
    """The least duration that at least this share do not exceed, by its definition."""
    ordered = sorted(durations)
    return ordered[max(1, math.ceil(Fraction(str(share)) * len(ordered))) - 1]


@given(DURATIONS, SHARES)
def test_quantiles_are_those_of_the_sorted_list(durations: list[int], share: float) -> None:
    found = filled(durations).quantile(share)
    assert found == pytest.approx(nearest_rank(durations, share), rel=1 / 256, abs=0)


@given(DURATIONS)
def test_the_ends_the_number_and_the_mean_are_exact(durations: list[int]) -> None:
    histogram = filled(durations)
    assert (histogram.least, histogram.greatest) == (min(durations), max(durations))
    assert (histogram.count, histogram.total) == (len(durations), sum(durations))
    assert histogram.mean == pytest.approx(statistics.fmean(durations))
    assert histogram.quantile(1.0) == max(durations)


@given(DURATIONS)
def test_several_at_once_are_what_each_is(durations: list[int]) -> None:
    histogram = filled(durations)
    shares = [0.0, 0.5, 0.5, 0.9, 0.99, 1.0]
    found = histogram.quantiles(shares)
    assert found == [histogram.quantile(share) for share in shares]
    assert found == sorted(found)


@given(st.lists(st.integers(0, HOUR_NS)), st.lists(st.integers(0, HOUR_NS)))
def test_two_together_are_one_of_both(some: list[int], others: list[int]) -> None:
    together, both = filled(some), filled(some + others)
    together.add_all(filled(others))
    assert (together.count, together.total) == (both.count, both.total)
    assert (together.least, together.greatest) == (both.least, both.greatest)
    if both.count:
        shares = [0.1, 0.5, 0.99]
        assert together.quantiles(shares) == both.quantiles(shares)


def test_the_99th_percentile_of_statistics() -> None:
    durations = [round(1_000_000 * math.exp(number / 700)) for number in range(5_000)]
    percentiles = statistics.quantiles(durations, n=100, method="inclusive")
    histogram = filled(durations)
    for percent in (50, 90, 99):
        assert histogram.quantile(percent / 100) == pytest.approx(percentiles[percent - 1], rel=0.006)


def test_no_quantile_is_further_off_than_half_a_bucket() -> None:
    """Values that are close to each other, so that each bucket has its lowest and its highest."""
    durations = list(range(1_000_000, 2_100_000, 37))
    histogram = filled(durations)
    shares = [number / 1_000 for number in range(1_001)]
    for share, found in zip(shares, histogram.quantiles(shares), strict=True):
        assert found == pytest.approx(nearest_rank(durations, share), rel=1 / 256)


def test_a_share_that_no_float_is_does_not_reach_the_next_rank() -> None:
    """0.07 * 100 is 7.000000000000001."""
    assert filled(list(range(1, 101))).quantile(0.07) == 7


def test_none_have_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None
    assert Histogram().mean == 0


def test_its_space_is_bounded() -> None:
    """Every length up to an hour, in steps of a thousandth: fewer than 128 buckets for each power of two."""
    histogram = Histogram()
    duration = 1.0
    while duration < HOUR_NS:
        histogram.add(int(duration))
        duration *= 1.001
    assert histogram.count > 25_000
    assert len(histogram._buckets) < 128 * HOUR_NS.bit_length()
