"""rate-limiter's config: what is written comes out as limits, and every bad combination has its words."""

from typing import Any

import pytest

from stargate_core.config.problems import Misfit
from stargate_core.config.rate_limiter import Limit, RateLimiter, dimensions
from support.config import examined, loaded, said


def written(text: str) -> RateLimiter:
    """The config that a file's text gives."""
    config = loaded(f"plugins:\n  - name: rate-limiter\n    config: {text}\n").plugins[0].config
    assert isinstance(config, RateLimiter)
    return config


def problems(text: str) -> list[str]:
    """What the loader says of a config."""
    path = "plugins[0].config"
    lines = said(examined(f"plugins:\n  - name: rate-limiter\n    config: {text}\n").problems)
    return [line.replace(path, "").removeprefix(".") for line in lines]


class TestLimits:
    def test_kongs_names(self) -> None:
        limits = written("{second: 5, minute: 60, month: 1000}").every
        assert [(one.unit, one.limit, one.window, one.algorithm) for one in limits] == [
            ("requests", 5, "second", "sliding"),
            ("requests", 60, "minute", "sliding"),
            ("requests", 1000, "month", "fixed"),
        ]
        assert all(one.by == ["consumer"] for one in limits)

    @pytest.mark.parametrize("unit", ["tokens", "input_tokens", "output_tokens"])
    @pytest.mark.parametrize(("window", "seconds"), [("minute", 60), ("hour", 3600), ("day", 86_400)])
    def test_tokens_in_a_window(self, unit: str, window: str, seconds: int) -> None:
        fields: dict[str, Any] = {f"{unit}_per_{window}": 7}
        (limit,) = RateLimiter(**fields).every
        assert (limit.unit, limit.limit, limit.seconds) == (unit, 7, seconds)

    def test_money_bedrocks_tokens_and_concurrency(self) -> None:
        limits = written(
            "{usd_per_day: 2.5, usd_per_month: 50, bedrock_tokens_per_day: 9, concurrency: 3}"
        ).every
        assert [(one.unit, one.limit, one.window) for one in limits] == [
            ("concurrency", 3, None),
            ("bedrock_tokens", 9, "day"),
            ("usd", 2.5, "day"),
            ("usd", 50, "month"),
        ]
        assert limits[0].algorithm is None

    def test_every_field_that_looks_like_a_limit_is_one(self) -> None:
        for name in RateLimiter.__struct_fields__:
            if "_per_" in name or name in ("second", "minute", "hour", "day", "month", "concurrency"):
                fields: dict[str, Any] = {name: 3}
                assert len(RateLimiter(**fields).every) == 1, name

    def test_written_out(self) -> None:
        config = written(
            "{by: [model, consumer], window_type: fixed, limits: ["
            "{limit: 10, window: 90}, "
            "{unit: usd, limit: 0.5, window: hour, by: []}, "
            "{unit: tokens, limit: 100, window: second, algorithm: gcra, burst: 500, by: route}]}"
        )
        assert [
            (one.unit, one.limit, one.seconds, one.algorithm, one.burst, one.by) for one in config.every
        ] == [
            ("requests", 10, 90, "fixed", None, ["consumer", "model"]),
            ("tokens", 100, 1, "gcra", 500, ["route"]),
            ("usd", 0.5, 3600, "fixed", None, []),
        ]

    def test_a_month_is_fixed_whatever_the_type(self) -> None:
        assert RateLimiter(month=5, window_type="sliding").every[0].algorithm == "fixed"

    def test_the_order_of_by_says_nothing_and_a_key_is_its_consumers(self) -> None:
        assert dimensions(["address", "consumer"]) == ("consumer", "address")
        assert dimensions(["consumer", "key"]) == dimensions("key") == ("key",)
        assert dimensions([]) == dimensions(None) == ()

    def test_defaults(self) -> None:
        config = RateLimiter(minute=1)
        assert (config.policy, config.on_store_failure, config.share) == ("store", "local", 1)
        assert (config.default_output_tokens, config.lease_seconds, config.headers) == (4096, None, True)


class TestRefused:
    @pytest.mark.parametrize(
        ("fields", "path", "message"),
        [
            ({}, (), "at least one limit"),
            ({"minute": 1, "by": ["model", "model"]}, ("by",), "each dimension once"),
            ({"minute": 1, "limits": [Limit(limit=5, window=60)]}, ("limits", 0), "limited already"),
            (
                {
                    "limits": [
                        Limit(limit=5, window="hour", by=["consumer", "key"]),
                        Limit(limit=6, window=3600, by="key"),
                    ]
                },
                ("limits", 1),
                "limited already",
            ),
            (
                {"limits": [Limit(limit=5, window=seconds) for seconds in range(1, 18)]},
                ("limits",),
                "at most 16 limits in all, found 17",
            ),
            (
                {"minute": 1, "policy": "local", "on_store_failure": "deny"},
                ("on_store_failure",),
                "policy: store",
            ),
            ({"minute": 1, "policy": "local", "share": 2}, ("share",), "expected 1"),
            ({"minute": 1, "on_store_failure": "allow", "share": 2}, ("share",), "expected 1"),
        ],
    )
    def test_a_config(self, fields: dict[str, Any], path: tuple[str, ...], message: str) -> None:
        with pytest.raises(Misfit, match=message) as refused:
            RateLimiter(**fields)
        assert refused.value.path == path

    @pytest.mark.parametrize(
        ("fields", "path", "message"),
        [
            ({"limit": 1.5, "window": "hour"}, ("limit",), "whole number of requests"),
            ({"limit": 2_000_000, "unit": "usd", "window": "day"}, ("limit",), "US dollars"),
            ({"limit": 1}, ("window",), "second, minute, hour, day, month or whole seconds"),
            ({"limit": 1, "window": "month", "algorithm": "sliding"}, ("algorithm",), "expected fixed"),
            ({"limit": 1, "window": "month", "algorithm": "gcra"}, ("algorithm",), "expected fixed"),
            ({"limit": 1, "window": "hour", "burst": 5}, ("burst",), "algorithm: gcra"),
            ({"limit": 1, "window": "hour", "algorithm": "gcra", "burst": 5.5}, ("burst",), "whole number"),
            ({"limit": 1, "unit": "concurrency", "window": "hour"}, ("window",), "expected none"),
            ({"limit": 1, "unit": "concurrency", "algorithm": "fixed"}, ("algorithm",), "expected none"),
            ({"limit": 1, "unit": "concurrency", "burst": 3}, ("burst",), "expected none"),
            ({"limit": 1, "unit": "concurrency", "by": ["key", "key"]}, ("by",), "once"),
        ],
    )
    def test_a_limit(self, fields: dict[str, Any], path: tuple[str, ...], message: str) -> None:
        with pytest.raises(Misfit, match=message) as refused:
            Limit(**fields)
        assert refused.value.path == path

    def test_two_algorithms_for_one_window_are_two_limits(self) -> None:
        second = Limit(limit=5, window="minute", algorithm="gcra", burst=5)
        assert len(RateLimiter(minute=60, limits=[second]).every) == 2


class TestLoading:
    def test_without_a_config_it_says_what_is_missing(self) -> None:
        (problem,) = said(examined("plugins: [{name: rate-limiter}]").problems)
        assert "expected at least one limit" in problem
        assert "minute: 600" in problem

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{minute: 0}", "minute: expected a whole number from 1 to 1000000000000000"),
            ("{minute: 1.5}", "minute: expected a whole number"),
            ("{usd_per_day: 0}", "usd_per_day: expected US dollars"),
            ("{minutes: 5}", "did you mean minute?"),
            ("{minute: 1, by: team}", "by: expected"),
            ("{minute: 1, by: [consumer, team]}", "by[1]: expected"),
            ("{minute: 1, limits: [{limit: 5, window: week}]}", "limits[0].window: expected"),
            ("{minute: 1, limits: [{limit: 5, window: 0}]}", "limits[0].window: expected"),
            ("{minute: 1, limits: [{limit: 5}]}", "limits[0].window: expected second, minute"),
            ("{minute: 1, burndown: {claude: 0}}", "burndown.claude: expected"),
            ("{minute: 1, share: 3, on_store_failure: deny}", "share: expected 1"),
        ],
    )
    def test_a_mistake_is_named_where_it_stands(self, text: str, message: str) -> None:
        assert any(message in problem for problem in problems(text)), problems(text)

    def test_kongs_other_settings_load_with_a_hint(self) -> None:
        found = examined("plugins: [{name: rate-limiter, config: {minute: 5, fault_tolerant: true}}]")
        assert found.problems == ()
        assert any("use on_store_failure" in warning for warning in said(found.warnings))

    def test_burndown_by_model(self) -> None:
        assert written("{minute: 1, burndown: {'anthropic.*': 3}}").burndown == {"anthropic.*": 3}
