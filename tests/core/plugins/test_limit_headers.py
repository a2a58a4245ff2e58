"""What headers say of the limits: Go's own durations, dates that Python reads, each family's names."""

import datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.rate_limiter import Limit, RateLimiter
from stargate_core.limits.buckets import Level
from stargate_core.plugins.limit_buckets import Limits
from stargate_core.plugins.limit_headers import LimitHeaders, go_duration, rfc3339

SECOND: Final = 1_000_000
AT_US: Final = 1_800_000_000 * SECOND + 1


def told(config: RateLimiter, levels: list[Level], family: str = "") -> dict[str, str]:
    """The headers, each of which must be there once."""
    headers = LimitHeaders(Limits(config).all).of(levels, family, AT_US)
    named = {name.decode(): value.decode() for name, value in headers}
    assert len(named) == len(headers)
    assert all(name == name.lower() for name in named)
    return named


class TestGoDuration:
    @pytest.mark.parametrize(
        ("microseconds", "text"),
        [
            # The examples of https://pkg.go.dev/time (Duration.String, Round and Truncate), and
            # those rows of time_test.go that whole milliseconds can say.
            ((3600 + 120) * SECOND + 300_000, "1h2m0.3s"),
            (300_000, "300ms"),
            (4530 * SECOND + 918_000, "1h15m30.918s"),
            (4531 * SECOND, "1h15m31s"),
            (4500 * SECOND, "1h15m0s"),
            (4560 * SECOND, "1h16m0s"),
            (3600 * SECOND, "1h0m0s"),
            (0, "0s"),
            (3_300_000, "3.3s"),
            (245 * SECOND, "4m5s"),
            (245 * SECOND + 1000, "4m5.001s"),
            (5 * 3600 * SECOND + 367 * SECOND + 1000, "5h6m7.001s"),
            # OpenAI's own.
            (12_000, "12ms"),
            (SECOND, "1s"),
            (360 * SECOND, "6m0s"),
            (67_500_000, "1m7.5s"),
        ],
    )
    def test_as_go_prints_it(self, microseconds: int, text: str) -> None:
        assert go_duration(microseconds).decode() == text

    def test_less_than_a_millisecond_is_one(self) -> None:
        assert go_duration(1) == b"1ms"
        assert go_duration(999_001) == b"1s"

    @given(st.integers(0, 40 * 86_400 * SECOND))
    def test_it_reads_back_as_never_too_early(self, microseconds: int) -> None:
        text = go_duration(microseconds).decode()
        if text.endswith("ms"):
            read = int(text[:-2]) * 1000
        else:
            hours, _, rest = text.rpartition("h")
            minutes, _, seconds = rest.rpartition("m")
            whole, _, part = seconds.removesuffix("s").partition(".")
            read = (int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(whole)) * SECOND
            read += int(part.ljust(6, "0") or 0) if part else 0
        assert 0 <= read - microseconds < 1000


class TestRfc3339:
    @given(st.integers(0, 253_402_300_799))
    def test_python_reads_the_same_moment(self, seconds: int) -> None:
        moment = datetime.datetime.fromisoformat(rfc3339(seconds).decode())
        assert moment.utcoffset() == datetime.timedelta(0)
        assert moment == datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(
            seconds=seconds
        )

    def test_no_year_has_five_digits(self) -> None:
        assert rfc3339(10**15) == b"9999-12-31T23:59:59Z"


class TestKong:
    def test_one_limit_on_requests(self) -> None:
        assert told(RateLimiter(minute=60), [Level(59, 30 * SECOND + 1)]) == {
            "x-ratelimit-limit-minute": "60",
            "x-ratelimit-remaining-minute": "59",
            "x-ratelimit-limit": "60",
            "x-ratelimit-remaining": "59",
            "ratelimit-limit": "60",
            "ratelimit-remaining": "59",
            "ratelimit-reset": "31",
        }

    def test_of_several_the_plain_ones_tell_the_tightest(self) -> None:
        headers = told(RateLimiter(minute=60, hour=100), [Level(50, SECOND), Level(7, 900 * SECOND)])
        assert headers["x-ratelimit-remaining-minute"] == "50"
        assert headers["x-ratelimit-remaining-hour"] == "7"
        assert (headers["ratelimit-limit"], headers["ratelimit-reset"]) == ("100", "900")

    def test_with_as_little_left_the_one_that_takes_longer(self) -> None:
        headers = told(RateLimiter(minute=60, hour=100), [Level(0, SECOND), Level(0, 900 * SECOND)])
        assert headers["x-ratelimit-limit"] == "100"
        swapped = told(RateLimiter(minute=60, hour=100), [Level(0, 900 * SECOND), Level(0, SECOND)])
        assert swapped["x-ratelimit-limit"] == "60"

    def test_two_limits_of_one_window_share_a_name(self) -> None:
        config = RateLimiter(minute=60, limits=[Limit(limit=10, window=60, by="model")])
        headers = told(config, [Level(3, 0), Level(9, 0)])
        assert (headers["x-ratelimit-limit-minute"], headers["x-ratelimit-remaining-minute"]) == ("60", "3")
        headers = told(config, [Level(30, 0), Level(9, 0)])
        assert (headers["x-ratelimit-limit-minute"], headers["x-ratelimit-remaining-minute"]) == ("10", "9")

    def test_a_window_without_a_name_is_told_in_seconds(self) -> None:
        headers = told(RateLimiter(limits=[Limit(limit=5, window=90)]), [Level(4, 0)])
        assert headers["x-ratelimit-limit-90"] == "5"

    def test_without_a_limit_on_requests_the_plain_ones_tell_of_tokens(self) -> None:
        headers = told(RateLimiter(tokens_per_minute=1000), [Level(900, SECOND)])
        assert (headers["x-ratelimit-limit"], headers["ratelimit-remaining"]) == ("1000", "900")
        assert "x-ratelimit-limit-minute" not in headers

    @pytest.mark.parametrize("family", ["", "openai", "anthropic"])
    def test_money_and_concurrency_are_nobodys_headers(self, family: str) -> None:
        assert told(RateLimiter(usd_per_day=5, concurrency=3), [Level(2, 0), Level(10**9, 5)], family) == {}


BOTH: Final = RateLimiter(
    minute=60, tokens_per_minute=1000, input_tokens_per_minute=800, output_tokens_per_minute=400
)
LEVELS: Final = [
    Level(59, SECOND),
    Level(750, 7_500_000),
    Level(600, 12_000),
    Level(100, 67_500_000),
]


class TestOpenAI:
    def test_requests_and_tokens(self) -> None:
        headers = told(BOTH, LEVELS, "openai")
        assert {
            name: value for name, value in headers.items() if name.endswith(("-requests", "-tokens"))
        } == {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": "59",
            "x-ratelimit-reset-requests": "1s",
            "x-ratelimit-limit-tokens": "1000",
            "x-ratelimit-remaining-tokens": "750",
            "x-ratelimit-reset-tokens": "7.5s",
        }

    def test_only_what_is_limited(self) -> None:
        assert "x-ratelimit-limit-tokens" not in told(RateLimiter(minute=60), [Level(1, 0)], "openai")

    def test_bedrocks_tokens_are_tokens(self) -> None:
        headers = told(RateLimiter(bedrock_tokens_per_minute=9), [Level(8, 0)], "openai")
        assert headers["x-ratelimit-remaining-tokens"] == "8"


class TestAnthropic:
    def test_all_four(self) -> None:
        headers = told(BOTH, LEVELS, "anthropic")
        family = {name: value for name, value in headers.items() if name.startswith("anthropic-")}
        resets = {name: family.pop(name) for name in tuple(family) if name.endswith("-reset")}
        assert family == {
            "anthropic-ratelimit-requests-limit": "60",
            "anthropic-ratelimit-requests-remaining": "59",
            "anthropic-ratelimit-tokens-limit": "1000",
            "anthropic-ratelimit-tokens-remaining": "750",
            "anthropic-ratelimit-input-tokens-limit": "800",
            "anthropic-ratelimit-input-tokens-remaining": "600",
            "anthropic-ratelimit-output-tokens-limit": "400",
            "anthropic-ratelimit-output-tokens-remaining": "100",
        }
        for name, level in zip(("requests", "tokens", "input-tokens", "output-tokens"), LEVELS, strict=True):
            moment = datetime.datetime.fromisoformat(resets[f"anthropic-ratelimit-{name}-reset"])
            ahead_us = round(moment.timestamp() * SECOND) - (AT_US + level.reset_us)
            assert 0 <= ahead_us < SECOND

    def test_openais_names_are_not_there(self) -> None:
        assert not any(name.endswith("-requests") for name in told(BOTH, LEVELS, "anthropic"))


def test_levels_of_the_first_limits_only_tell_of_those() -> None:
    headers = told(BOTH, LEVELS[:1], "openai")
    assert headers["x-ratelimit-remaining-requests"] == "59"
    assert "x-ratelimit-remaining-tokens" not in headers
