"""Levels: what is read off verdicts, in an operator's words; the keys are made by the core's own limiter."""

from typing import Any, Final

import msgspec
import pytest

from stargate.shell_common.levels import LEVELS_MAX, Levels, Seen
from stargate_core.config.rate_limiter import RateLimiter
from stargate_core.limits.buckets import Algorithm, Bucket, Claim, Level, Verdict
from stargate_core.plugins.limit_buckets import Limits, Scope
from stargate_core.questions import Take

NOW: Final = 1_767_323_045.0


def levels() -> tuple[Levels, list[str]]:
    """What was seen, at a moment that stands still, and what was counted."""
    counted: list[str] = []
    seen = Levels(lambda: NOW)
    seen.counted = counted.append
    return seen, counted


def ask(seen: Levels, number: int, *buckets: Bucket, remaining: int = 0, allowed: bool = True) -> None:
    """A question and its verdict."""
    seen.asked(number, Take(tuple(Claim(bucket, 1) for bucket in buckets), "lease", 1))
    seen.answered(number, Verdict(allowed, 0, tuple(Level(remaining, 0) for _ in buckets)))


def buckets_of(config: dict[str, Any], scope: Scope) -> list[Bucket]:
    limits = Limits(msgspec.convert(config, RateLimiter))
    return [row.bucket for row in limits.rows(scope)]


@pytest.mark.parametrize(
    ("config", "scope", "expected"),
    [
        ({"minute": 10}, ("team-a", "", "", "", ""), ("requests_per_minute", "team-a", 7.0, 10.0, 60, NOW)),
        (
            {"limits": [{"unit": "usd", "limit": 2.5, "window": "month", "by": []}]},
            (None, "", "", "", ""),
            ("usd_per_month", "all", 2.499999997, 2.5, 2_592_000, NOW),
        ),
        (
            {"limits": [{"unit": "tokens", "limit": 10, "window": 90, "by": ["consumer", "model"]}]},
            ("team-a", "", "claude", "", ""),
            ("tokens_per_90_seconds", "team-a, model claude", 7.0, 10.0, 90, NOW),
        ),
        (
            {"limits": [{"unit": "concurrency", "limit": 10, "by": ["model"]}]},
            ("team-a", "", "claude", "", ""),
            ("concurrency", "model claude", 7.0, 10.0, 0, NOW),
        ),
        (
            {"limits": [{"unit": "requests", "limit": 10, "window": "hour", "by": ["consumer"]}]},
            (None, "", "", "", "2001:db8::1"),
            ("requests_per_hour", "address 2001:db8::1", 7.0, 10.0, 3600, NOW),
        ),
    ],
    ids=["consumer", "money", "consumer and model", "at a time", "address"],
)
def test_it_is_told_in_words(config: dict[str, Any], scope: Scope, expected: tuple[Any, ...]) -> None:
    seen, _ = levels()
    (bucket,) = buckets_of(config, scope)
    ask(seen, 1, bucket, remaining=3)
    (told,) = seen.all()
    assert told == Seen(*expected)


def test_a_name_that_is_not_plain_is_told_by_its_hash() -> None:
    seen, _ = levels()
    (bucket,) = buckets_of({"minute": 10}, ("team, {a}", "", "", "", ""))
    ask(seen, 1, bucket)
    assert seen.all()[0].scope.startswith("#")


def test_every_verdict_is_counted_once() -> None:
    seen, counted = levels()
    bucket = Bucket("limit:{*}:*:requests:60f:*", Algorithm.FIXED, 10, 60_000_000)
    ask(seen, 1, bucket)
    ask(seen, 2, bucket, allowed=False)
    seen.asked(3, Take((Claim(bucket, 1),), "lease", 1))
    seen.answered(3, None)
    seen.answered(3, None)
    seen.asked(4, Take((Claim(bucket, 1),), "lease", 1))
    seen.withdrawn(4)
    seen.answered(4, Verdict(True, 0, (Level(1, 0),)))
    assert counted == ["allowed", "refused", "unanswered"]


def test_buckets_of_others_are_no_limits() -> None:
    seen, _ = levels()
    ask(seen, 1, Bucket("calls:{a}", Algorithm.FIXED, 10, 60_000_000))
    assert seen.all() == []


def test_only_those_asked_of_last_are_remembered() -> None:
    seen, _ = levels()
    for number in range(2 * LEVELS_MAX):
        key = f"limit:{{c=team-{number}}}:*:requests:60f:*"
        ask(seen, number, Bucket(key, Algorithm.FIXED, 10, 60_000_000))
    told = seen.all()
    assert len(told) == LEVELS_MAX
    assert told[-1].scope == f"team-{2 * LEVELS_MAX - 1}"


def test_without_anybody_who_counts_it_is_seen_all_the_same() -> None:
    seen = Levels(lambda: NOW)
    ask(seen, 1, Bucket("limit:{*}:*:requests:60f:*", Algorithm.FIXED, 10, 60_000_000))
    assert seen.all()[0].scope == "all"
