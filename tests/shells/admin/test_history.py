"""What has happened of late, from sums: nothing is lost of it, and percentiles are those of the buckets."""

import math
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate.admin.history import (
    ROWS_MAX,
    SECONDS,
    SERIES,
    STEP_SECONDS,
    WINDOW_SECONDS,
    History,
    distribution,
    percentile,
)
from stargate.observing.board import Boards, Histogram
from support.observing import record

BOUNDS: Final = [10.0, 20.0, 40.0]


class World:
    """A board that counts, and a history that looks at it."""

    def __init__(self) -> None:
        self.boards = Boards(1)
        self.board = self.boards.at(0)
        self.now = 1000.0
        self.history = History(self.boards.totals(), self.now)

    def pass_seconds(self, seconds: float, requests: int = 0, **members: Any) -> None:
        """Let requests be settled within some time, and look."""
        for _ in range(requests):
            self.board.observe(record(**members))
        self.now += seconds
        self.history.look(self.boards.totals(), self.now)


class TestSeries:
    def test_each_second_has_what_was_done_in_it(self) -> None:
        world = World()
        for count in (3, 0, 5):
            world.pass_seconds(1, count, input_tokens=10, output_tokens=2, cost_usd=0.5)
        series = world.history.series()
        assert series["step_seconds"] == 1
        assert series["requests"][-4:] == [0, 3, 0, 5]
        assert series["input_tokens"][-1] == 50
        assert series["output_tokens"][-1] == 10
        assert series["cost_usd"][-1] == 2.5
        assert series["errors"][-1] == 0
        assert {len(series[name]) for name in SERIES} == {SECONDS}

    def test_looks_that_are_far_apart_are_spread_evenly(self) -> None:
        world = World()
        world.pass_seconds(4, 8)
        assert world.history.series()["requests"][-5:] == [0, 2, 2, 2, 2]

    def test_looks_within_a_second_wait_for_its_end(self) -> None:
        world = World()
        world.pass_seconds(0.25, 1)
        world.pass_seconds(0.25, 1)
        assert sum(world.history.series()["requests"]) == 0
        world.pass_seconds(0.5, 1)
        assert world.history.series()["requests"][-1] == 3

    @given(st.lists(st.tuples(st.floats(0.01, 30), st.integers(0, 4)), max_size=12))
    def test_nothing_is_lost_or_told_twice(self, steps: list[tuple[float, int]]) -> None:
        world = World()
        for seconds, count in steps:
            world.pass_seconds(seconds, count)
        world.pass_seconds(1)
        passed = math.floor(world.now) - 1000
        if passed <= SECONDS:
            assert sum(world.history.series()["requests"]) == pytest.approx(sum(count for _, count in steps))


class TestWindow:
    def test_what_is_older_is_forgotten(self) -> None:
        world = World()
        world.pass_seconds(1, 7, consumer="early")
        for _ in range(int(WINDOW_SECONDS / STEP_SECONDS) + 3):
            world.pass_seconds(STEP_SECONDS, 1, consumer="late", model="nova")
        consumers, models = world.history.tables()
        assert [row["name"] for row in consumers] == ["late"]
        assert [row["name"] for row in models] == ["nova"]
        assert WINDOW_SECONDS <= world.history.window_seconds() <= WINDOW_SECONDS + 2 * STEP_SECONDS

    def test_looking_often_keeps_no_more(self) -> None:
        world = World()
        for _ in range(2000):
            world.pass_seconds(0.5)
        assert len(world.history._looks) <= WINDOW_SECONDS / STEP_SECONDS + 3

    def test_rows_have_what_was_used_the_busiest_first(self) -> None:
        world = World()
        world.pass_seconds(1, 2, consumer="a", cache_read_tokens=7, status=500)
        world.pass_seconds(1, 3, consumer="b")
        first, second = world.history.tables()[0]
        assert (first["name"], first["requests"], first["errors"]) == ("b", 3, 0)
        assert (second["name"], second["errors"], second["cached_tokens"]) == ("a", 2, 14)

    def test_there_are_not_too_many(self) -> None:
        world = World()
        for number in range(ROWS_MAX + 20):
            world.board.observe(record(consumer=f"team-{number}"))
        world.pass_seconds(1)
        assert len(world.history.tables()[0]) == ROWS_MAX

    def test_what_was_before_the_first_look_is_not_of_late(self) -> None:
        boards = Boards(1)
        boards.at(0).observe(record())
        history = History(boards.totals(), 5.0)
        assert history.tables() == ([], [])
        assert history.latency()["total_ms"]["p50"] is None


class TestPercentiles:
    @pytest.mark.parametrize(
        ("counts", "part", "expected"),
        [
            ([0, 0, 0, 0], 0.5, None),
            ([4, 0, 0, 0], 0.5, 5.0),
            ([0, 10, 0, 0], 0.9, 19.0),
            ([1, 0, 1, 0], 0.99, 39.6),
            ([0, 0, 0, 9], 0.5, 40.0),
            ([5, 5, 0, 0], 0.5, 10.0),
        ],
    )
    def test_they_lie_within_their_bucket(
        self, counts: list[int], part: float, expected: float | None
    ) -> None:
        assert percentile(BOUNDS, counts, part) == expected

    @given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.floats(0.01, 1), st.floats(0.01, 1))
    def test_more_of_all_is_never_less(self, counts: list[int], one: float, other: float) -> None:
        low, high = sorted((one, other))
        first, second = percentile(BOUNDS, counts, low), percentile(BOUNDS, counts, high)
        assert (first is None) == (sum(counts) == 0) == (second is None)
        if first is not None and second is not None:
            assert 0 <= first <= second <= BOUNDS[-1]

    def test_buckets_are_what_came_between(self) -> None:
        told = distribution(Histogram(BOUNDS, [1, 1, 1, 1]), Histogram(BOUNDS, [1, 3, 1, 2]))
        assert told["buckets"] == [[10.0, 0], [20.0, 2], [40.0, 0], ["inf", 1]]

    def test_a_look_finds_them_where_the_board_has_put_them(self) -> None:
        world = World()
        world.pass_seconds(1, 10, total_ms=2300.5, first_byte_ms=300.5)
        told = world.history.latency()
        assert 1280 < told["total_ms"]["p50"] <= 2560
        assert 250 < told["first_byte_ms"]["p99"] <= 500
