"""Buckets: one for each limit and scope, under keys that nobody can forge."""

import itertools
import re
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.rate_limiter import Limit, RateLimiter
from stargate_core.limits.buckets import MONTH_US, Algorithm
from stargate_core.plugins.limit_buckets import Limits, Scope

ANN: Final[Scope] = ("ann", "laptop", "amazon.nova-lite-v1:0", "chat", "192.0.2.7")
NOBODY: Final[Scope] = (None, "", "amazon.nova-lite-v1:0", "chat", "192.0.2.7")


def key(scope: Scope, by: Any, **limit: Any) -> str:
    """The key of one limit's bucket."""
    fields: dict[str, Any] = {"limit": 5, "window": "minute", "by": by, **limit}
    config = RateLimiter(limits=[Limit(**fields)])
    (row,) = Limits(config).rows(scope)
    return row.bucket.key


class TestKeys:
    @pytest.mark.parametrize(
        ("by", "expected"),
        [
            ("consumer", "limit:{c=ann}:*:requests:60s:*"),
            ("key", "limit:{c=ann}:*:requests:60s:k=laptop"),
            (["consumer", "model"], "limit:{c=ann}:*:requests:60s:m=amazon.nova-lite-v1:0"),
            ("model", "limit:{m=amazon.nova-lite-v1:0}:*:requests:60s:m=amazon.nova-lite-v1:0"),
            (["route", "address"], "limit:{r=chat,a=192.0.2.7}:*:requests:60s:r=chat,a=192.0.2.7"),
            ([], "limit:{*}:*:requests:60s:*"),
        ],
    )
    def test_by_what_is_counted_apart(self, by: Any, expected: str) -> None:
        assert key(ANN, by) == expected

    def test_a_caller_without_a_consumer_is_its_address(self) -> None:
        assert key(NOBODY, "consumer") == "limit:{a=192.0.2.7}:*:requests:60s:c"

    def test_a_consumer_that_is_named_like_an_address_is_another(self) -> None:
        assert key(("192.0.2.7", "", "", "", ""), "consumer") != key(NOBODY, "consumer")

    @pytest.mark.parametrize("scope", [ANN, NOBODY])
    def test_no_two_limits_share_a_bucket(self, scope: Scope) -> None:
        bys: list[Any] = [
            list(by)
            for size in range(5)
            for by in itertools.combinations(("consumer", "key", "model", "route", "address"), size)
            if not {"consumer", "key"} <= set(by)
        ]
        limits: list[Any] = [
            *(
                {"window": window, "algorithm": how}
                for window in (1, 60)
                for how in ("sliding", "fixed", "gcra")
            ),
            {"window": "month"},
            {"window": 60, "unit": "tokens"},
            {"window": None, "unit": "concurrency"},
        ]
        keys = [key(scope, by, **limit) for by in bys for limit in limits]
        assert len(set(keys)) == len(keys)

    def test_all_buckets_of_a_consumer_are_in_one_place(self) -> None:
        bys: list[Any] = ["consumer", "key", ["consumer", "model"], ["key", "address"]]
        assert {re.findall(r"\{(.*?)\}", key(ANN, by))[0] for by in bys} == {"c=ann"}

    def test_the_limit_itself_is_not_in_it(self) -> None:
        assert key(ANN, "consumer", limit=5) == key(ANN, "consumer", limit=500)

    def test_each_entry_of_the_plugin_counts_for_itself(self) -> None:
        places = [
            (None, None, None),
            ("chat", None, None),
            (None, "chat", None),
            (None, None, "chat"),
            (None, "a:requests:60s:m=x", None),
            ("chat", "chat", None),
        ]
        keys = [Limits(RateLimiter(minute=5), place).rows(ANN)[0].bucket.key for place in places]
        assert len(set(keys)) == len(keys)
        assert keys[2] == "limit:{c=ann}:r=chat:requests:60s:*"

    @given(st.lists(st.tuples(*[st.text("a:={}#,*", max_size=6)] * 5), min_size=2, max_size=2, unique=True))
    def test_no_value_can_be_made_to_look_like_another(self, scopes: list[tuple[str, ...]]) -> None:
        one, other = (key((a, b, c, d, e), ["key", "model", "route", "address"]) for a, b, c, d, e in scopes)
        assert one != other
        for made in (one, other):
            assert re.fullmatch(r"limit:\{[^{}]+\}:\*:requests:60s:[^{}]+", made)

    @given(st.text(max_size=3000), st.text(max_size=3000))
    def test_it_is_short_whatever_a_caller_writes(self, model: str, consumer: str) -> None:
        made = key((consumer, model, model, model, model), ["key", "model", "route", "address"])
        assert len(made) < 600
        assert made.isascii()
        assert " " not in made


class TestBuckets:
    def test_each_limit_in_order(self) -> None:
        config = RateLimiter(
            minute=60,
            month=1000,
            concurrency=3,
            usd_per_day=0.25,
            limits=[Limit(unit="tokens", limit=100, window=10, algorithm="gcra", burst=300)],
        )
        rows = Limits(config).rows(ANN)
        assert [
            (row.bucket.algorithm, row.bucket.limit, row.bucket.window_us, row.bucket.burst) for row in rows
        ] == [
            (Algorithm.SLIDING, 60, 60_000_000, 0),
            (Algorithm.FIXED, 1000, MONTH_US, 0),
            (Algorithm.CONCURRENT, 3, MONTH_US, 0),
            (Algorithm.GCRA, 100, 10_000_000, 300),
            (Algorithm.SLIDING, 250_000_000, 86_400_000_000, 0),
        ]
        assert [row.claim is not None for row in rows] == [True, True, True, False, False]
        assert Limits(config).requests == 2

    def test_without_a_burst_it_is_the_limit(self) -> None:
        config = RateLimiter(limits=[Limit(limit=7, window=10, algorithm="gcra")])
        assert Limits(config).rows(ANN)[0].bucket.burst == 7

    def test_a_part_of_the_limit_under_the_same_key(self) -> None:
        config = RateLimiter(minute=60, second=2, share=4)
        whole, part = Limits(config), Limits(config, share=4)
        assert [row.bucket.limit for row in part.rows(ANN)] == [1, 15]
        assert [row.bucket.key for row in part.rows(ANN)] == [row.bucket.key for row in whole.rows(ANN)]

    def test_a_scopes_buckets_are_made_once_and_forgotten_in_time(self) -> None:
        limits = Limits(RateLimiter(minute=60))
        assert limits.rows(ANN) is limits.rows(ANN)
        for number in range(5000):
            limits.rows((f"c{number}", "", "", "", ""))
        assert len(limits._rows) <= 2048  # pyright: ignore[reportPrivateUsage]
        assert limits.rows(ANN) == Limits(RateLimiter(minute=60)).rows(ANN)

    @pytest.mark.parametrize(
        ("limit", "words", "name"),
        [
            (
                Limit(limit=60, window="minute"),
                "60 requests a minute for this consumer",
                "requests_per_minute_by_consumer",
            ),
            (
                Limit(limit=5, window="month", by=[]),
                "5 requests a month for all callers together",
                "requests_per_month",
            ),
            (
                Limit(limit=5, window=90, by="model"),
                "5 requests in 90 seconds for this model",
                "requests_per_90s_by_model",
            ),
            (
                Limit(unit="usd", limit=0.5, window="hour", by=["key", "model"]),
                "0.5 US dollars an hour for this key and model",
                "usd_per_hour_by_key_model",
            ),
            (
                Limit(unit="usd", limit=20, window="day"),
                "20 US dollars a day for this consumer",
                "usd_per_day_by_consumer",
            ),
            (
                Limit(unit="concurrency", limit=3),
                "3 requests at a time for this consumer",
                "concurrency_by_consumer",
            ),
        ],
    )
    def test_words_for_the_caller_and_a_name_for_the_log(self, limit: Limit, words: str, name: str) -> None:
        (limited,) = Limits(RateLimiter(limits=[limit])).all
        assert (limited.words, limited.name) == (words, name)


@pytest.mark.parametrize(
    ("algorithm", "burst", "capacity"), [("fixed", None, 5), ("gcra", 3, 3), ("gcra", None, 5)]
)
def test_the_most_that_is_ever_given_at_once(algorithm: Any, burst: int | None, capacity: int) -> None:
    config = RateLimiter(limits=[Limit(limit=5, window="minute", algorithm=algorithm, burst=burst)])
    assert Limits(config).all[0].capacity == capacity
