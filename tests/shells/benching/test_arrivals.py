"""Arrivals: a metronome, and the arrivals of people who know nothing of each other."""

import statistics
from itertools import pairwise

import pytest

from stargate.benching.arrivals import Pattern, arrivals


def test_constant_arrivals_are_equally_far_apart() -> None:
    assert list(arrivals("constant", 4, 1.5, seed=1)) == [
        0,
        250_000_000,
        500_000_000,
        750_000_000,
        1_000_000_000,
        1_250_000_000,
    ]


def test_no_error_adds_up() -> None:
    """A third of a second is no number of nanoseconds."""
    moments = list(arrivals("constant", 3, 3_000, seed=1))
    assert len(moments) == 9_000
    assert moments[-1] == 8_999 * 1_000_000_000 // 3


def test_gaps_of_poisson_arrivals_are_exponential() -> None:
    """Of that distribution the mean is the deviation, and half of all are below ln 2 times the mean."""
    moments = list(arrivals("poisson", 100, 200, seed=7))
    gaps = [later - sooner for sooner, later in pairwise(moments)]
    assert len(moments) == pytest.approx(20_000, rel=0.02)
    assert statistics.fmean(gaps) == pytest.approx(10_000_000, rel=0.02)
    assert statistics.stdev(gaps) == pytest.approx(10_000_000, rel=0.03)
    assert statistics.median(gaps) == pytest.approx(6_931_472, rel=0.03)


@pytest.mark.parametrize("pattern", ["poisson", "constant"])
def test_the_first_is_at_once_and_all_are_in_order_and_in_time(pattern: Pattern) -> None:
    moments = list(arrivals(pattern, 50, 10, seed=3))
    assert moments[0] == 0
    assert moments == sorted(moments)
    assert moments[-1] < 10_000_000_000


def test_a_seed_decides() -> None:
    first, again, other = (list(arrivals("poisson", 10, 10, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_rate_may_be_less_than_one_in_the_whole_run() -> None:
    assert list(arrivals("constant", 0.01, 5, seed=1)) == [0]
