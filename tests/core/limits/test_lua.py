"""The script against the rule: the same histories through a real redis-server and through rule.py.

The heart is `TestSameAsTheRule`: several buckets of all kinds at once, costs and settlements of every size,
leases that expire or are taken again, times that repeat, advance, and cross windows and months. Every verdict
is compared whole. Time is handed in, so nothing waits.
"""

import datetime
import hashlib
import time
from collections.abc import Iterator
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargate_core.limits import rule
from stargate_core.limits.buckets import MONTH_US, Algorithm, Bucket, Charge, Claim, Verdict
from stargate_core.limits.rule import AMOUNT_MAX
from stargate_core.limits.script import (
    SETTLE,
    TAKE,
    Script,
    settle_arguments,
    take_arguments,
    verdict,
)
from stargate_core.questions import Settle, Take
from support.redis import RunningRedis, running_redis

SECOND_US: Final = 1_000_000
DAY_US: Final = 86_400 * SECOND_US
START_US: Final = 1_767_323_045_123_456
"""2026-01-02T03:04:05Z and a little"""
YEAR_2100_US: Final = 4_102_444_800 * SECOND_US
"""A history may wait for a lifetime; a century on, sums grow beyond what a double holds."""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningRedis]:
    with running_redis() as running:
        yield running


@pytest.fixture(scope="module")
def client(server: RunningRedis) -> Iterator[Any]:
    opened = server.client()
    yield opened
    opened.close()


def run(client: Any, script: Script, arguments: list[bytes]) -> Any:
    """As a gateway does: by digest, and with the text where the server does not know it yet."""
    import redis

    try:
        return client.execute_command("EVALSHA", script.sha1, *arguments)
    except redis.exceptions.NoScriptError:
        return client.execute_command("EVAL", script.text, *arguments)


def asked(client: Any, take: Take, now_us: int | None = None) -> Verdict:
    return verdict(run(client, TAKE, take_arguments(take, now_us=now_us)))


def bucket(kind: Algorithm, limit: int = 5, window_us: int = 60 * SECOND_US, **more: Any) -> Bucket:
    return Bucket(more.pop("key", f"{{t}}:{kind.value}"), kind, limit, window_us, **more)


FIXED: Final = bucket(Algorithm.FIXED)
SLIDING: Final = bucket(Algorithm.SLIDING)
GCRA: Final = bucket(Algorithm.GCRA, burst=3)
CONCURRENT: Final = bucket(Algorithm.CONCURRENT, window_us=0)
MONTHLY: Final = bucket(Algorithm.FIXED, window_us=MONTH_US, key="{t}:month")
ALL: Final = (FIXED, SLIDING, GCRA, CONCURRENT, MONTHLY)


def some_buckets(chance: Random) -> list[Bucket]:
    """One to six buckets of any kinds."""
    found: list[Bucket] = []
    for number in range(chance.randint(1, 6)):
        kind = chance.choice(list(Algorithm))
        window = chance.choice(
            [chance.randint(1, 50), SECOND_US, 60 * SECOND_US, 3600 * SECOND_US, 7 * DAY_US, 0]
        ) or chance.randint(1, 40 * DAY_US)
        if kind is Algorithm.FIXED and chance.random() < 0.3:
            window = MONTH_US
        burst = some_limit(chance) if kind is Algorithm.GCRA else 0
        found.append(Bucket(f"b{number}", kind, some_limit(chance), window, burst))
    return found


def some_limit(chance: Random) -> int:
    return chance.randint(1, chance.choice([12, 12, 10**6, AMOUNT_MAX]))


def some_cost(chance: Random, one: Bucket) -> int:
    """Often near what the bucket holds, so that histories are decided both ways."""
    most = one.burst or one.limit
    near = chance.choice([max(1, most // 3), max(1, most // 3), most + 1, 10**18])
    cost = chance.choice([chance.randint(0, near), chance.randint(most - 1, most + 1)])
    # A server that writes a thousand members each time proves nothing more than one that writes forty.
    return min(cost, chance.choice([3, 40, 1030])) if one.algorithm is Algorithm.CONCURRENT else cost


def some_pause(chance: Random, known: list[Bucket]) -> int:
    """How far time goes on: often to where something ends, and a µs beside."""
    one = chance.choice(known)
    marks = [1, one.window_us, one.window_us // 12, one.window_us // one.limit, one.window_us * 13 // 12]
    beside = max(0, chance.choice(marks) + chance.randint(-1, 1))
    far = chance.choice([SECOND_US, one.window_us * 2, 31 * DAY_US])
    return chance.choice([0, 0, 0, beside, beside, chance.randint(0, far)])


class Twins:
    """The rule and the script, asked the same."""

    def __init__(self, client: Any) -> None:
        client.flushall()
        self.client = client
        self.states: dict[str, rule.State] = {}
        self.now = START_US

    def take(self, take: Take) -> Verdict:
        ours = rule.take(self.states, take.claims, take.lease, take.lease_us, self.now)
        assert asked(self.client, take, self.now) == ours
        return ours

    def settle(self, settle: Settle) -> None:
        rule.settle(self.states, settle.charges, settle.lease, settle.at_us, self.now)
        assert run(self.client, SETTLE, settle_arguments(settle, now_us=self.now)) == 1


def live(chance: Random, twins: Twins, known: list[Bucket]) -> None:
    """One event of a history."""
    twins.now += some_pause(chance, known)
    lease = chance.choice(["a", "b", "c", "a:1"])
    some = chance.sample(known, chance.randint(1, len(known)))
    if chance.random() < 0.7:
        claims = tuple(Claim(one, some_cost(chance, one)) for one in some)
        said = twins.take(Take(claims, lease, chance.choice([0, 1, SECOND_US, 60 * SECOND_US])))
        if said.retry_after_us > 0 and chance.random() < 0.5:
            twins.now += said.retry_after_us - chance.randint(0, 1)
            twins.take(Take(claims, lease, SECOND_US))
    else:
        charges = tuple(Charge(one, some_cost(chance, one), some_cost(chance, one)) for one in some)
        twins.settle(Settle(charges, lease, twins.now - some_pause(chance, known)))
    twins.take(Take(tuple(Claim(one, 0) for one in known), "", 0))


class TestSameAsTheRule:
    @pytest.mark.parametrize("seed", range(20))
    def test_a_hundred_histories_go_the_same_way(self, client: Any, seed: int) -> None:
        chance = Random(seed)
        for _ in range(100):
            twins = Twins(client)
            known = some_buckets(chance)
            for _ in range(20):
                if twins.now < YEAR_2100_US:
                    live(chance, twins, known)

    @given(st.randoms(use_true_random=False))
    def test_a_history_that_does_not_is_made_short(self, client: Any, chance: Random) -> None:
        twins = Twins(client)
        known = some_buckets(chance)
        for _ in range(chance.randint(1, 8)):
            if twins.now < YEAR_2100_US:
                live(chance, twins, known)

    @given(st.integers(0, 8 * 10**15))
    @settings(max_examples=200)
    def test_months_are_the_same_in_any_century(self, client: Any, at_us: int) -> None:
        twins = Twins(client)
        twins.now = at_us
        reset = twins.take(Take((Claim(MONTHLY, 1),), "x", 1)).levels[0].reset_us
        for beside in (reset - 1, 1):
            twins.now += beside
            twins.take(Take((Claim(MONTHLY, 1),), "x", 1))

    @pytest.mark.parametrize("year", ["1972", "2000", "2026", "2099", "2100", "2200"])
    def test_every_day_around_february(self, client: Any, year: str) -> None:
        twins = Twins(client)
        first = datetime.datetime.fromisoformat(f"{year}-01-30T12:00:00Z")
        for day in range(35):
            twins.now = (int(first.timestamp()) + 86_400 * day) * SECOND_US
            twins.take(Take((Claim(MONTHLY, 1),), "x", 1))

    def test_a_lease_that_is_taken_again(self, client: Any) -> None:
        twins = Twins(client)
        for lease, amount in (("a", 2), ("b", 1), ("a", 4), ("a", 1), ("a:1", 3), ("b", 2), ("1:a", 1)):
            twins.take(Take((Claim(CONCURRENT, amount),), lease, SECOND_US))
        twins.settle(Settle((Charge(CONCURRENT, 1, 1),), "a", START_US))
        twins.settle(Settle((Charge(CONCURRENT, 1, 1),), "a", START_US))
        assert twins.take(Take((Claim(CONCURRENT, 0),), "", 0)).levels[0].remaining == 1

    def test_buckets_that_are_overdrawn_as_far_as_it_goes(self, client: Any) -> None:
        twins = Twins(client)
        for amount in (AMOUNT_MAX - 7, 5, 10**30, 10**30):
            twins.settle(Settle(tuple(Charge(one, 2, amount) for one in ALL), "x", START_US))
            twins.take(Take(tuple(Claim(one, 0) for one in ALL), "x", SECOND_US))

    def test_a_remainder_is_rounded_down_where_a_double_would_round_up(self, client: Any) -> None:
        twins = Twins(client)
        limit = 4_241_832_905_246_832
        large = Bucket("g", Algorithm.GCRA, limit, 60 * SECOND_US, limit)
        first = 27_837_373 * limit // (60 * SECOND_US)
        [level] = twins.take(Take((Claim(large, first),), "x", 1)).levels
        assert level.reset_us == 27_837_373
        assert twins.take(Take((Claim(large, level.remaining),), "x", 1)).allowed

    def test_a_clock_that_was_set_back_a_little_forgets_nothing(self, client: Any) -> None:
        twins = Twins(client)
        twins.take(Take(tuple(Claim(one, 3) for one in ALL), "x", 60 * SECOND_US))
        twins.now -= 6 * SECOND_US
        said = twins.take(Take(tuple(Claim(one, 3) for one in ALL), "y", 60 * SECOND_US))
        assert not said.allowed
        assert [level.remaining for level in said.levels] == [2, 2, 0, 2, 2]

    def test_a_clock_that_was_set_back_far_starts_afresh(self, client: Any) -> None:
        twins = Twins(client)
        some = (FIXED, SLIDING, GCRA, MONTHLY)
        twins.take(Take(tuple(Claim(one, 3) for one in some), "x", SECOND_US))
        twins.now -= 100 * DAY_US
        assert twins.take(Take(tuple(Claim(one, 3) for one in some), "y", SECOND_US)).allowed


class TestOnTheServer:
    def test_the_digest_is_the_servers(self, client: Any) -> None:
        for script in (TAKE, SETTLE):
            assert client.script_load(script.text).encode() == script.sha1
            assert hashlib.sha1(script.text).hexdigest().encode() == script.sha1

    def test_without_a_time_the_servers_clock_decides(self, client: Any) -> None:
        client.flushall()
        take = Take(tuple(Claim(one, 1) for one in ALL), "x", 60 * SECOND_US)
        before = client.time()
        said = asked(client, take)
        after = client.time()
        assert before[0] * SECOND_US + before[1] <= said.at_us <= after[0] * SECOND_US + after[1]
        assert said.allowed
        charges = tuple(Charge(one, 1, 0) for one in ALL)
        assert run(client, SETTLE, settle_arguments(Settle(charges, "x", said.at_us))) == 1
        back = asked(client, Take(tuple(Claim(one, 0) for one in ALL), "x", 0))
        assert [level.remaining for level in back.levels] == [5, 5, 3, 5, 5]

    def test_every_key_expires_a_little_after_it_has_become_useless(self, client: Any) -> None:
        client.flushall()
        now = int(time.time()) * SECOND_US
        asked(client, Take(tuple(Claim(one, 1) for one in ALL), "x", 30 * SECOND_US), now)
        asked(client, Take((Claim(CONCURRENT, 1),), "y", 10 * SECOND_US), now)
        useful = {
            FIXED.key: rule.window_of(now, FIXED.window_us)[1] - now,
            SLIDING.key: 65 * SECOND_US,
            GCRA.key: 12 * SECOND_US,
            CONCURRENT.key: 30 * SECOND_US,
            MONTHLY.key: rule.window_of(now, MONTH_US)[1] - now,
        }
        for key, us in useful.items():
            assert us / 1000 - 5_001 < client.pttl(key) <= us / 1000 + 10_001

    def test_what_has_left_a_window_or_expired_is_deleted(self, client: Any) -> None:
        twins = Twins(client)
        for number in range(60):
            claims = (Claim(SLIDING, number % 2), Claim(CONCURRENT, 1))
            twins.take(Take(claims, str(number), 2 * SECOND_US))
            twins.now += 7 * SECOND_US
        assert client.hlen(SLIDING.key) <= 14
        assert client.zcard(CONCURRENT.key) == 1

    def test_a_refused_take_leaves_no_trace(self, client: Any) -> None:
        client.flushall()
        whole = Take(tuple(Claim(one, 3) for one in ALL), "x", 60 * SECOND_US)
        assert asked(client, whole, START_US).allowed
        before = {key: client.dump(key) for key in sorted(client.keys())}
        for index, one in enumerate(ALL):
            claims = tuple(Claim(other, 3 if other is one else 0) for other in ALL)
            said = asked(client, Take(claims, "y", SECOND_US), START_US + 1)
            assert (said.allowed, said.refused) == (False, index)
        assert {key: client.dump(key) for key in sorted(client.keys())} == before
        assert len(before) == len(ALL)

    @pytest.mark.parametrize("one", ALL, ids=lambda one: one.key)
    @pytest.mark.parametrize("foreign", ["string", "hash", "list", "other bucket"])
    def test_what_is_somebody_elses_is_an_error_and_stays(
        self, client: Any, one: Bucket, foreign: str
    ) -> None:
        import redis

        client.flushall()
        match foreign:
            case "string":
                client.set(one.key, "hello")
            case "hash":
                client.hset(one.key, "name", "Ada")
            case "list":
                client.rpush(one.key, "1", "2")
            case _:
                other = next(b for b in (GCRA, FIXED) if b.algorithm is not one.algorithm)
                asked(client, Take((Claim(Bucket(one.key, other.algorithm, 5, 60, 3), 1),), "x", 1), START_US)
        before = client.dump(one.key)
        neighbour = bucket(Algorithm.FIXED, key="{t}:neighbour")
        take = Take((Claim(neighbour, 1), Claim(one, 1)), "x", SECOND_US)
        with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE"):
            asked(client, take, START_US)
        assert not client.exists(neighbour.key)
        charges = (Charge(one, 1, 2), Charge(neighbour, 1, 2))
        with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE"):
            run(client, SETTLE, settle_arguments(Settle(charges, "x", START_US), now_us=START_US))
        assert client.dump(one.key) == before
        assert client.exists(neighbour.key), "the others are settled"

    def test_large_amounts_keep_all_their_digits(self, client: Any) -> None:
        twins = Twins(client)
        odd = 4_503_599_627_370_495
        large = tuple(Bucket(one.key, one.algorithm, AMOUNT_MAX, one.window_us) for one in (FIXED, SLIDING))
        twins.take(Take(tuple(Claim(one, odd) for one in large), "x", 1))
        said = twins.take(Take(tuple(Claim(one, 0) for one in large), "x", 1))
        assert [level.remaining for level in said.levels] == [1, 1]
