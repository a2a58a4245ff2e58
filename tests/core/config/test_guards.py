"""What guards may be told, and what is said of the rest."""

from typing import Any

import pytest

from stargate_core.config.guards import STATES_MAX, CustomPattern, PiiRedactor, PromptGuard
from stargate_core.config.problems import Misfit
from stargate_core.patterns.named import NAMES


def custom(*patterns: str) -> list[CustomPattern]:
    """Patterns of an operator's."""
    return [CustomPattern(name=f"p{at}", pattern=pattern) for at, pattern in enumerate(patterns)]


class TestPiiRedactor:
    def test_everything_has_a_default(self) -> None:
        config = PiiRedactor()
        assert tuple(config.patterns) == NAMES
        assert (config.on, config.replacement, config.unreadable) == (
            ["request", "response"],
            "placeholder",
            "reject",
        )

    @pytest.mark.parametrize(
        ("members", "path", "why"),
        [
            ({"patterns": []}, ("patterns",), "at least one"),
            ({"restore": True, "replacement": "mask"}, ("restore",), "placeholders"),
            ({"restore": True, "on": ["response"]}, ("restore",), "placeholders"),
            ({"custom": custom("(a")}, ("custom", 0, "pattern"), "not closed"),
            ({"custom": custom("a", r"\b@a")}, ("custom", 1, "pattern"), "beside"),
            ({"custom": custom("a{300}")}, ("custom", 0, "pattern"), "at most 256"),
            ({"custom": custom("a{40}"), "look_back_chars": 32}, ("custom", 0, "pattern"), "at most 32"),
            (
                {"custom": custom(*["a{500}b{0,10}"] * 9), "look_back_chars": 1024},
                ("custom",),
                str(STATES_MAX),
            ),
            ({"custom": [CustomPattern(name="email", pattern="a")]}, ("custom", 0, "name"), "no other"),
            ({"custom": custom("a") * 2}, ("custom", 1, "name"), "no other"),
        ],
    )
    def test_what_does_not_fit(self, members: dict[str, Any], path: Any, why: str) -> None:
        with pytest.raises(Misfit) as misfit:
            PiiRedactor(**members)
        assert misfit.value.path == path
        assert why in misfit.value.expected

    def test_what_fits(self) -> None:
        PiiRedactor(patterns=[], custom=custom(r"\bE-[0-9]{6}\b"), look_back_chars=32, restore=True)


class TestPromptGuard:
    @pytest.mark.parametrize(
        ("members", "path", "why"),
        [
            ({}, ("deny_patterns",), "something to guard against"),
            ({"deny_patterns": ["a", "(?=a)"]}, ("deny_patterns", 1), "lookarounds"),
            ({"allow_patterns": [".*"]}, ("allow_patterns", 0), "empty text"),
            ({"response_deny_patterns": ["a{500}"] * 9}, ("response_deny_patterns",), str(STATES_MAX)),
        ],
    )
    def test_what_does_not_fit(self, members: dict[str, Any], path: Any, why: str) -> None:
        with pytest.raises(Misfit) as misfit:
            PromptGuard(**members)
        assert misfit.value.path == path
        assert why in misfit.value.expected

    def test_what_fits(self) -> None:
        PromptGuard(max_prompt_chars=10)
        PromptGuard(deny_patterns=[r"\b@a"])
