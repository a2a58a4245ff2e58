"""The rule against naive models: a log of all that was admitted, the calendar, and its own promises kept."""

import copy
import datetime
from fractions import Fraction
from typing import Any, Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stargate_core.limits import rule
from stargate_core.limits.buckets import MONTH_US, Algorithm, Bucket, Charge, Claim, Level, Verdict, WrongKind

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
DAY_US: Final = 86_400 * SECOND_US
START_US: Final = 1_767_323_045_123_456
"""2026-01-02T03:04:05Z and a little"""
ALIGNED_US: Final = START_US - START_US % DAY_US
LEASE_US: Final = 10 * SECOND_US

FIXED: Final = Bucket("f", Algorithm.FIXED, 5, MINUTE_US)
MONTHLY: Final = Bucket("m", Algorithm.FIXED, 5, MONTH_US)
SLIDING: Final = Bucket("s", Algorithm.SLIDING, 5, MINUTE_US)
GCRA: Final = Bucket("g", Algorithm.GCRA, 6, MINUTE_US, 3)
CONCURRENT: Final = Bucket("c", Algorithm.CONCURRENT, 5)


class Store:
    """States, and a time that is set by hand."""

    def __init__(self, now: int = START_US) -> None:
        self.states: dict[str, rule.State] = {}
        self.now = now

    def take(self, bucket: Bucket, cost: int = 1, *, lease: str = "x", lease_us: int = LEASE_US) -> Verdict:
        return self.take_all((Claim(bucket, cost),), lease, lease_us)

    def take_all(self, claims: tuple[Claim, ...], lease: str = "x", lease_us: int = LEASE_US) -> Verdict:
        return rule.take(self.states, claims, lease, lease_us, self.now)

    def settle(self, bucket: Bucket, taken: int, used: int, at_us: int = 0, lease: str = "x") -> None:
        rule.settle(self.states, (Charge(bucket, taken, used),), lease, at_us or self.now, self.now)

    def left(self, bucket: Bucket) -> int:
        return self.take(bucket, 0).levels[0].remaining

    def later(self, us: int) -> "Store":
        """A copy, at another time."""
        other = Store(self.now + us)
        other.states = copy.deepcopy(self.states)
        return other


limits: Final = st.integers(1, 12) | st.integers(1, 10**6)
windows: Final = st.integers(1, 200) | st.sampled_from([SECOND_US, MINUTE_US, DAY_US]) | st.integers(1, 10**9)


@st.composite
def buckets(draw: st.DrawFn, *kinds: Algorithm) -> Bucket:
    """A bucket of one of these kinds."""
    kind = draw(st.sampled_from(kinds))
    burst = draw(limits) if kind is Algorithm.GCRA else 0
    return Bucket("b", kind, draw(limits), draw(windows), burst)


TIMED: Final = (Algorithm.FIXED, Algorithm.SLIDING, Algorithm.GCRA)


@st.composite
def histories(draw: st.DrawFn, bucket: Bucket) -> list[tuple[int, int]]:
    """Pauses and costs, of the bucket's own size."""
    window = bucket.window_us or 31 * DAY_US
    pauses = st.just(0) | st.sampled_from([1, window // 12, window // 3, window]) | st.integers(0, 2 * window)
    most = bucket.burst or bucket.limit
    costs = st.integers(1, max(1, most // 3)) | st.integers(1, most + 1)
    return draw(st.lists(st.tuples(pauses, costs), max_size=40))


def admitted(store: Store, bucket: Bucket, history: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What passes, and when."""
    log: list[tuple[int, int]] = []
    for pause, cost in history:
        store.now += pause
        if store.take(bucket, cost).allowed:
            log.append((store.now, cost))
    return log


class TestNeverMore:
    @given(st.data())
    def test_than_the_limit_in_a_fixed_window(self, data: st.DataObject) -> None:
        bucket = data.draw(buckets(Algorithm.FIXED))
        sums: dict[int, int] = {}
        for at, cost in admitted(Store(), bucket, data.draw(histories(bucket))):
            sums[at // bucket.window_us] = sums.get(at // bucket.window_us, 0) + cost
        assert max(sums.values(), default=0) <= bucket.limit

    @given(st.data())
    def test_than_the_limit_in_a_month(self, data: st.DataObject) -> None:
        sums: dict[str, int] = {}
        for at, cost in admitted(Store(), MONTHLY, data.draw(histories(MONTHLY))):
            month = datetime.datetime.fromtimestamp(at // SECOND_US, datetime.UTC).strftime("%Y-%m")
            sums[month] = sums.get(month, 0) + cost
        assert max(sums.values(), default=0) <= MONTHLY.limit

    @given(st.data())
    def test_than_the_limit_in_any_stretch_of_a_sliding_window(self, data: st.DataObject) -> None:
        bucket = data.draw(buckets(Algorithm.SLIDING))
        log = admitted(Store(), bucket, data.draw(histories(bucket)))
        for at, _ in log:
            within = sum(cost for then, cost in log if at - bucket.window_us < then <= at)
            assert within <= bucket.limit

    @given(st.data())
    def test_than_the_burst_and_what_drains_in_any_stretch_of_a_gcra(self, data: st.DataObject) -> None:
        bucket = data.draw(buckets(Algorithm.GCRA))
        log = admitted(Store(), bucket, data.draw(histories(bucket)))
        for start, _ in log:
            for end, _ in log:
                passed = sum(cost for at, cost in log if start <= at <= end)
                drained = Fraction((end - start + 1) * bucket.limit, bucket.window_us)
                assert end < start or passed < bucket.burst + drained + 1

    @given(st.lists(st.tuples(st.integers(0, LEASE_US), st.integers(1, 4), st.integers(0, 3), st.booleans())))
    def test_than_the_limit_at_a_time(self, history: list[tuple[int, int, int, bool]]) -> None:
        store = Store()
        held: dict[str, tuple[int, int]] = {}
        for pause, cost, name, releases in history:
            store.now += pause
            lease = str(name)
            held = {other: what for other, what in held.items() if what[1] > store.now}
            if releases:
                store.settle(CONCURRENT, cost, cost, lease=lease)
                held.pop(lease, None)
            else:
                others = sum(what[0] for other, what in held.items() if other != lease)
                said = store.take(CONCURRENT, cost, lease=lease)
                assert said.allowed == (others + cost <= CONCURRENT.limit)
                if said.allowed:
                    held[lease] = (cost, store.now + LEASE_US)
            assert store.left(CONCURRENT) == CONCURRENT.limit - sum(what[0] for what in held.values())


class TestPromises:
    @given(st.data())
    def test_whoever_waits_as_told_is_served_and_not_a_microsecond_sooner(self, data: st.DataObject) -> None:
        bucket = data.draw(buckets(*TIMED))
        store = Store()
        admitted(store, bucket, data.draw(histories(bucket)))
        cost = data.draw(st.integers(1, bucket.burst or bucket.limit))
        said = store.take(bucket, cost)
        assume(not said.allowed)
        assert said.retry_after_us > 0
        assert store.later(said.retry_after_us).take(bucket, cost).allowed
        assert not store.later(said.retry_after_us - 1).take(bucket, cost).allowed

    @given(st.data())
    def test_whoever_waits_for_several_is_served(self, data: st.DataObject) -> None:
        kinds = (*TIMED, Algorithm.FIXED)
        some = [
            Bucket(str(i), k, 9, data.draw(windows), 9 * (k is Algorithm.GCRA)) for i, k in enumerate(kinds)
        ]
        store = Store()
        for bucket in some:
            admitted(store, bucket, data.draw(histories(bucket)))
        claims = tuple(Claim(bucket, data.draw(st.integers(0, 9))) for bucket in some)
        said = store.take_all(claims)
        assume(not said.allowed)
        assert store.later(said.retry_after_us).take_all(claims).allowed
        assert not store.later(said.retry_after_us - 1).take_all(claims).allowed

    @given(st.data())
    def test_what_is_said_to_remain_may_be_taken_and_no_more(self, data: st.DataObject) -> None:
        bucket = data.draw(buckets(*TIMED))
        store = Store()
        admitted(store, bucket, data.draw(histories(bucket)))
        left = store.left(bucket)
        assert store.later(0).take(bucket, left).allowed
        assert not store.later(0).take(bucket, left + 1).allowed

    @given(st.data())
    def test_at_the_reset_all_is_there_again(self, data: st.DataObject) -> None:
        bucket = data.draw(buckets(*TIMED))
        store = Store()
        admitted(store, bucket, data.draw(histories(bucket)))
        [level] = store.take(bucket, 0).levels
        assert store.later(level.reset_us).take(bucket, 0).levels == (Level(bucket.burst or bucket.limit, 0),)
        if level.reset_us:
            assert store.later(level.reset_us - 1).take(bucket, 0).levels[0].reset_us == 1

    @given(st.data())
    def test_a_refused_request_changes_nothing(self, data: st.DataObject) -> None:
        some = (FIXED, SLIDING, GCRA, CONCURRENT, MONTHLY)
        costs = st.integers(0, 4)
        store = Store()
        for lease in "abc":
            store.take_all(tuple(Claim(one, data.draw(costs)) for one in some), lease)
            store.now += data.draw(st.integers(0, MINUTE_US))
        same = store.later(0)
        claims = tuple(Claim(one, data.draw(costs)) for one in some)
        assume(not store.take_all(claims, "b").allowed)
        for pause in (0, data.draw(st.integers(0, MINUTE_US))):
            store.now += pause
            same.now += pause
            after = tuple(Claim(one, data.draw(costs)) for one in some)
            assert store.take_all(after, "d") == same.take_all(after, "d")

    @given(buckets(Algorithm.GCRA), st.data())
    def test_a_burst_may_come_in_pieces(self, bucket: Bucket, data: st.DataObject) -> None:
        assume(bucket.burst <= 200 and bucket.window_us >= bucket.limit * (bucket.burst + 1))
        store = Store()
        left = bucket.burst
        while left:
            piece = data.draw(st.integers(1, left))
            assert store.take(bucket, piece).allowed
            left -= piece
        assert not store.take(bucket, 1).allowed


class TestTake:
    def test_the_first_that_refuses_is_named_and_the_longest_wait(self) -> None:
        store = Store(ALIGNED_US)
        store.take_all((Claim(FIXED, 5), Claim(SLIDING, 5), Claim(GCRA, 3)))
        said = store.take_all((Claim(CONCURRENT, 1), Claim(GCRA, 1), Claim(SLIDING, 1), Claim(FIXED, 1)))
        assert said == Verdict(
            False,
            ALIGNED_US,
            (Level(5, 0), Level(0, 30 * SECOND_US), Level(0, 65 * SECOND_US), Level(0, MINUTE_US)),
            refused=1,
            retry_after_us=65 * SECOND_US,
        )

    @pytest.mark.parametrize(
        ("bucket", "cost"), [(FIXED, 6), (MONTHLY, 10**30), (SLIDING, 6), (GCRA, 4), (CONCURRENT, 6)]
    )
    def test_what_a_bucket_can_never_hold_is_never(self, bucket: Bucket, cost: int) -> None:
        store = Store()
        other = Bucket("o", Algorithm.FIXED, 1, MINUTE_US)
        store.take(other, 1)
        for claims in ((Claim(bucket, cost), Claim(other, 1)), (Claim(other, 1), Claim(bucket, cost))):
            said = store.take_all(claims)
            assert (said.allowed, said.refused, said.retry_after_us) == (False, 0, -1)

    @pytest.mark.parametrize("bucket", [FIXED, MONTHLY, SLIDING, GCRA])
    def test_to_ask_for_nothing_passes_until_the_bucket_is_overdrawn(self, bucket: Bucket) -> None:
        store = Store()
        most = store.left(bucket)
        assert store.take(bucket, most).allowed
        assert store.take(bucket, 0).allowed
        assert store.left(bucket) == 0
        store.settle(bucket, 0, 1)
        said = store.take(bucket, 0)
        assert not said.allowed
        assert store.later(said.retry_after_us).take(bucket, 0).allowed

    def test_who_is_allowed_is_refused_by_none_and_need_not_wait(self) -> None:
        store = Store(ALIGNED_US)
        said = store.take_all((Claim(FIXED, 2), Claim(CONCURRENT, 1)))
        assert said == Verdict(
            True, ALIGNED_US, (Level(3, MINUTE_US), Level(4, 0)), refused=-1, retry_after_us=0
        )

    def test_what_is_taken_in_one_slice_leaves_with_it(self) -> None:
        store = Store(ALIGNED_US)
        store.take(SLIDING, 1)
        store.now += 30 * SECOND_US
        store.take(SLIDING, 2)
        store.take(SLIDING, 2)
        store.now += 36 * SECOND_US
        assert store.left(SLIDING) == 1

    @pytest.mark.parametrize(
        "other",
        [
            Bucket("g", Algorithm.GCRA, 12, MINUTE_US, 3),
            Bucket("g", Algorithm.GCRA, 6, MINUTE_US // 2, 3),
        ],
        ids=["limit", "window"],
    )
    def test_a_gcra_that_drains_twice_as_fast_holds_half_the_time_at_once(self, other: Bucket) -> None:
        store = Store()
        store.take(GCRA, 2)
        # Three calls were 30 s and are 15 s; the 20 s that were taken stand.
        said = store.take(other, 1)
        assert (said.allowed, said.levels) == (False, (Level(0, 20 * SECOND_US),))
        assert said.retry_after_us == (20 + 5 - 15) * SECOND_US - other.burst

    @pytest.mark.parametrize("window_us", [1, 2])
    def test_a_gcra_of_microseconds_forgives_less_than_one_call(self, window_us: int) -> None:
        store = Store()
        quick = Bucket("q", Algorithm.GCRA, 1, window_us, 5)
        assert store.take(quick, 5).allowed
        assert store.take(quick, 1).retry_after_us == 1

    def test_to_ask_keeps_nothing(self) -> None:
        store = Store()
        store.take_all((Claim(FIXED, 0), Claim(SLIDING, 0), Claim(GCRA, 0), Claim(CONCURRENT, 0)))
        assert store.states == {}

    def test_more_calls_than_one_lease_may_hold_are_never(self) -> None:
        wide = Bucket("c", Algorithm.CONCURRENT, 10**6)
        assert Store().take(wide, rule.LEASE_COST_MAX).allowed
        assert Store().take(wide, rule.LEASE_COST_MAX + 1).retry_after_us == -1

    def test_a_lower_limit_holds_at_once(self) -> None:
        store = Store()
        store.take(FIXED, 4)
        lower = Bucket("f", Algorithm.FIXED, 3, MINUTE_US)
        said = store.take(lower, 1)
        assert not said.allowed
        assert said.levels[0].remaining == 0
        assert store.left(FIXED) == 1

    @pytest.mark.parametrize("bucket", [FIXED, SLIDING])
    def test_another_window_under_the_same_key_is_another_bucket(self, bucket: Bucket) -> None:
        store = Store()
        store.take(bucket, 5)
        other = Bucket(bucket.key, bucket.algorithm, 5, 7 * SECOND_US)
        assert store.left(other) == 5

    def test_another_algorithm_under_the_same_key_is_an_error_before_anything_is_taken(self) -> None:
        store = Store()
        store.take(FIXED, 1)
        with pytest.raises(WrongKind, match="f is a bucket of another algorithm, fixed"):
            store.take_all((Claim(SLIDING, 1), Claim(Bucket("f", Algorithm.GCRA, 1, 1, 1), 1)))
        assert list(store.states) == ["f"]
        charges = (Charge(Bucket("f", Algorithm.GCRA, 1, 1, 1), 0, 1), Charge(SLIDING, 0, 2))
        with pytest.raises(WrongKind):
            rule.settle(store.states, charges, "x", store.now, store.now)
        assert store.left(SLIDING) == 3


class TestSettle:
    @pytest.mark.parametrize("bucket", [FIXED, MONTHLY, SLIDING, GCRA])
    def test_what_was_too_much_comes_back_and_what_was_too_little_is_charged(self, bucket: Bucket) -> None:
        store = Store()
        most = store.left(bucket)
        store.take(bucket, 3)
        store.settle(bucket, 3, 1)
        assert store.left(bucket) == most - 1
        store.settle(bucket, 1, 2)
        assert store.left(bucket) == most - 2
        store.settle(bucket, 2, 0)
        assert store.left(bucket) == most
        store.settle(bucket, 9, 0)
        assert store.left(bucket) == most, "no more than everything"

    @pytest.mark.parametrize("used", [1, 3])
    @pytest.mark.parametrize("bucket", [FIXED, MONTHLY, SLIDING, GCRA, CONCURRENT])
    def test_what_gives_nothing_to_an_unknown_bucket_keeps_none(self, bucket: Bucket, used: int) -> None:
        store = Store()
        store.settle(bucket, 3, used)
        assert store.states == {}

    def test_a_lease_that_nobody_holds_keeps_none_either(self) -> None:
        store = Store()
        store.settle(CONCURRENT, 1, 2)
        assert store.states == {}

    def test_an_overdrawn_gcra_has_nothing_left_until_it_has_drained(self) -> None:
        store = Store()
        store.settle(GCRA, 0, 9)
        assert store.take(GCRA, 0).levels == (Level(0, 90 * SECOND_US),)

    @given(st.integers(0, 3), st.integers(0, 3))
    def test_a_gcra_is_as_if_the_use_had_been_known(self, taken: int, used: int) -> None:
        store, known = Store(), Store()
        store.take(GCRA, taken)
        store.settle(GCRA, taken, used)
        known.take(GCRA, used)
        assert store.take(GCRA, 0) == known.take(GCRA, 0)

    def test_nothing_comes_back_to_a_window_that_is_over(self) -> None:
        store = Store(ALIGNED_US)
        store.take(FIXED, 5)
        store.now += MINUTE_US
        store.take(FIXED, 4)
        store.settle(FIXED, 5, 0, ALIGNED_US)
        assert store.left(FIXED) == 1

    def test_what_comes_back_to_a_slice_frees_no_other(self) -> None:
        store = Store(ALIGNED_US)
        store.take(SLIDING, 2)
        store.now += 30 * SECOND_US
        store.take(SLIDING, 3)
        store.settle(SLIDING, 2, 0, ALIGNED_US)
        assert store.left(SLIDING) == 2
        store.settle(SLIDING, 9, 0, ALIGNED_US)
        assert store.left(SLIDING) == 2, "its slice is empty"
        store.now += 36 * SECOND_US
        store.settle(SLIDING, 3, 0, ALIGNED_US)
        assert store.left(SLIDING) == 2, "its slice has left"

    def test_a_bucket_is_never_fuller_than_a_double_can_tell(self) -> None:
        store = Store()
        for bucket in (FIXED, SLIDING, GCRA):
            for _ in range(3):
                store.settle(bucket, 0, 10**400)
            said = store.take(bucket, 1)
            assert not said.allowed
            assert store.now + said.levels[0].reset_us < 2**53

    @pytest.mark.parametrize("bucket", [FIXED, MONTHLY, SLIDING])
    def test_one_refund_of_the_most_undoes_any_number_of_them(self, bucket: Bucket) -> None:
        store = Store()
        for _ in range(3):
            store.settle(bucket, 0, 10**400)
        store.settle(bucket, 10**400, 2)
        assert store.left(bucket) == 3

    def test_a_full_slice_is_not_waited_for_longer_by_what_no_longer_counts(self) -> None:
        store = Store(ALIGNED_US)
        store.settle(SLIDING, 0, rule.AMOUNT_MAX)
        store.now += 30 * SECOND_US
        store.settle(SLIDING, 0, 1)
        assert store.take(SLIDING, 0).levels == (Level(0, 35 * SECOND_US),)

    @pytest.mark.parametrize("taken", [3, 9])
    def test_a_slice_of_which_all_came_back_is_not_waited_for(self, taken: int) -> None:
        store = Store(ALIGNED_US)
        store.take(SLIDING, 2)
        store.now += 30 * SECOND_US
        store.take(SLIDING, 3)
        store.settle(SLIDING, taken, 0)
        store.settle(SLIDING, taken, 0)
        assert store.take(SLIDING, 0).levels == (Level(3, 35 * SECOND_US),)

    def test_a_lease_is_released_once_and_replaced_by_its_own_repetition(self) -> None:
        store = Store()
        store.take(CONCURRENT, 2, lease="a")
        store.take(CONCURRENT, 2, lease="b")
        assert not store.take(CONCURRENT, 2, lease="c").allowed
        assert store.take(CONCURRENT, 3, lease="a").allowed
        assert store.left(CONCURRENT) == 0
        for _ in range(2):
            store.settle(CONCURRENT, 3, 0, lease="a")
            assert store.left(CONCURRENT) == 3

    def test_each_lease_expires_when_its_own_time_is_up(self) -> None:
        for first, second in ((1, 2), (2, 1)):
            store = Store()
            store.take(CONCURRENT, 2, lease="a", lease_us=first * LEASE_US)
            store.take(CONCURRENT, 2, lease="b", lease_us=second * LEASE_US)
            for left in (1, 3, 5):
                assert store.left(CONCURRENT) == left
                store.now += LEASE_US

    def test_of_a_lease_that_was_released_nothing_need_be_kept(self) -> None:
        store = Store()
        store.take(CONCURRENT, 2)
        assert store.states["c"].useful_until_us() == store.now + LEASE_US
        store.settle(CONCURRENT, 2, 2)
        assert store.states["c"].useful_until_us() <= store.now

    def test_a_lease_expires(self) -> None:
        store = Store()
        store.take(CONCURRENT, 5)
        store.now += LEASE_US - 1
        assert store.take(CONCURRENT, 1, lease="y").retry_after_us == SECOND_US
        store.now += 1
        assert store.take(CONCURRENT, 5, lease="y").allowed


class TestMonths:
    def test_every_day_of_four_centuries(self) -> None:
        epoch = datetime.date(1970, 1, 1)
        for day in range(150_000):
            date = epoch + datetime.timedelta(day)
            first = rule.first_of_month(day)
            assert first == day - (date.day - 1)
            assert type(first) is int, "a double would lose what a whole number holds"

    @pytest.mark.parametrize(
        ("first", "after"),
        [("2024-02-01", "2024-03-01"), ("2026-12-01", "2027-01-01"), ("2100-02-01", "2100-03-01")],
    )
    def test_a_month_is_from_its_first_microsecond_to_the_next_ones(self, first: str, after: str) -> None:
        start, end = (
            int(datetime.datetime.fromisoformat(f"{day}T00:00:00Z").timestamp()) for day in (first, after)
        )
        window = (start * SECOND_US, end * SECOND_US)
        assert rule.window_of(window[0], MONTH_US) == window
        assert rule.window_of(window[1] - 1, MONTH_US) == window
        assert rule.window_of(window[1], MONTH_US)[0] == window[1]


class TestUsefulness:
    @given(st.data())
    def test_a_state_that_says_it_is_useless_may_be_forgotten(self, data: st.DataObject) -> None:
        some: tuple[Any, ...] = (FIXED, SLIDING, GCRA, CONCURRENT, MONTHLY)
        store = Store()
        claims = tuple(Claim(one, data.draw(st.integers(0, 3))) for one in some)
        assert store.take_all(claims).allowed
        for key, state in list(store.states.items()):
            [bucket] = [one for one in some if one.key == key]
            at = state.useful_until_us()
            later = store.later(at - store.now)
            assert later.take(bucket, 0).levels[0] == Level(bucket.burst or bucket.limit, 0)
            sooner = store.later(at - store.now - 1)
            assert sooner.take(bucket, 0).levels[0] != Level(bucket.burst or bucket.limit, 0)


class TestOddClocks:
    """A clock may be set back: nothing that was counted is forgotten, and nothing counts twice."""

    @pytest.mark.parametrize("bucket", [FIXED, SLIDING, GCRA])
    def test_it_starts_afresh_only_where_a_clock_has_been_wrong_by_more_than_a_window(
        self, bucket: Bucket
    ) -> None:
        most = bucket.burst or bucket.limit
        for back_us, left in ((55 * SECOND_US, 0), (60 * SECOND_US, 0), (120 * SECOND_US, most)):
            store = Store(ALIGNED_US)
            assert store.take(bucket, most).allowed
            store.now -= back_us
            assert store.left(bucket) == left

    def test_a_fixed_window_that_had_begun_goes_on(self) -> None:
        store = Store(ALIGNED_US + MINUTE_US)
        assert store.take(FIXED, 4).allowed
        store.now -= 1
        assert store.left(FIXED) == 1
        assert store.take(FIXED, 1).allowed
        assert not store.take(FIXED, 1).allowed
        store.now = ALIGNED_US + 2 * MINUTE_US
        assert store.left(FIXED) == 5

    def test_what_is_taken_in_an_earlier_slice_leaves_earlier(self) -> None:
        store = Store()
        step = 2 * MINUTE_US // rule.SLICES
        assert store.take(SLIDING, 3).allowed
        store.now -= step
        assert store.take(SLIDING, 2).allowed
        refused = store.take(SLIDING, 1)
        assert not refused.allowed
        assert store.later(refused.retry_after_us).take(SLIDING, 2).allowed
        assert not store.later(refused.retry_after_us).take(SLIDING, 3).allowed


class TestRounding:
    @pytest.mark.parametrize("algorithm", TIMED)
    def test_whole_numbers_stay_whole_where_no_window_divides(self, algorithm: Algorithm) -> None:
        store = Store()
        bucket = Bucket("b", algorithm, 7, 11, 5 if algorithm is Algorithm.GCRA else 0)
        said = [store.take(bucket, 2) for _ in range(4)]
        assert [verdict.allowed for verdict in said].count(False) > 0
        for verdict in said:
            (level,) = verdict.levels
            assert {type(each) for each in (level.remaining, level.reset_us, verdict.retry_after_us)} == {int}

    def test_no_take_moves_a_gcra_further_than_a_double_can_tell(self) -> None:
        bucket = Bucket("b", Algorithm.GCRA, 1, DAY_US, 10**15)
        said = Store().take(bucket, 10**15)
        assert (said.allowed, said.levels[0].reset_us) == (True, rule.SPAN_US_MAX)

    def test_what_a_gcra_level_promises_can_be_taken(self) -> None:
        """Room for 4,854 but for a thousandth of a microsecond: the division finds it, and would be wrong."""
        month_us = 30 * DAY_US
        bucket = Bucket("b", Algorithm.GCRA, 1001, month_us, 10_000)
        store = Store()
        assert store.take(bucket, 10_000).allowed
        state = store.states["b"]
        assert isinstance(state, rule.Gcra)
        store.now = state.tat_us - state.tolerance_us + 12_568_999_000_999
        assert store.left(bucket) == 4_853
        assert not store.later(0).take(bucket, 4_854).allowed
        assert store.take(bucket, 4_853).allowed


class TestLeasesOfNoTime:
    def test_one_that_is_over_at_once_holds_nothing(self) -> None:
        store = Store()
        said = store.take(CONCURRENT, 5, lease_us=0)
        assert (said.allowed, said.levels) == (True, (Level(5, 0),))
        assert store.left(CONCURRENT) == 5
