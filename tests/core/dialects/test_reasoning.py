"""Reasoning effort: the words of each family, as recorded calls to Bedrock have them."""

import pytest

from stargate_core.dialects.reasoning import claude_version, is_claude, reasoning_fields, takes_thoughts
from stargate_core.faults import Refused

EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", (3, 0)),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", (3, 5)),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", (3, 7)),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", (4, 0)),
        ("eu.anthropic.claude-opus-4-1-20250805-v1:0", (4, 1)),
        ("global.anthropic.claude-haiku-4-5-20251001-v1:0", (4, 5)),
        ("us.anthropic.claude-sonnet-4-6", (4, 6)),
        ("us.anthropic.claude-sonnet-5", (5, 0)),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-8",
            (4, 8),
        ),
        ("anthropic.claude-v2:1", None),
        ("anthropic.claude-instant-v1", None),
        ("amazon.nova-2-lite-v1:0", None),
    ],
)
def test_the_version_of_a_claude(model: str, version: tuple[int, int] | None) -> None:
    assert claude_version(model) == version
    assert is_claude(model) is ("claude" in model)


@pytest.mark.parametrize(
    ("model", "effort", "fields"),
    [
        # As recorded.
        ("openai.gpt-oss-120b-1:0", "high", {"reasoning_effort": "high"}),
        ("qwen.qwen3-32b-v1:0", "high", {"reasoning_config": "high"}),
        (
            "us.anthropic.claude-sonnet-4-6",
            "high",
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        ),
        # As documented.
        ("openai.gpt-5.2", "low", {"reasoning": {"effort": "low"}}),
        ("deepseek.v3-v1:0", "low", {"reasoning_config": "low"}),
        (
            "us.amazon.nova-2-lite-v1:0",
            "low",
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}},
        ),
        # Words that a family doesn't have become their neighbours.
        ("openai.gpt-oss-20b-1:0", "minimal", {"reasoning_effort": "low"}),
        ("openai.gpt-oss-20b-1:0", "max", {"reasoning_effort": "high"}),
        (
            "us.anthropic.claude-sonnet-4-6",
            "xhigh",
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        ),
        (
            "us.anthropic.claude-opus-4-8",
            "xhigh",
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}},
        ),
    ],
)
def test_in_the_words_of_the_family(model: str, effort: str, fields: dict[str, object]) -> None:
    assert reasoning_fields(model, effort, None, mid_turn=False) == fields


class TestBudgets:
    MODEL = "us.anthropic.claude-sonnet-4-20250514-v1:0"

    def budget(self, effort: str, output_tokens_max: int | None) -> int | None:
        fields = reasoning_fields(self.MODEL, effort, output_tokens_max, mid_turn=False)
        if not fields:
            return None
        assert fields["thinking"]["type"] == "enabled"
        tokens = fields["thinking"]["budget_tokens"]
        assert isinstance(tokens, int)
        return tokens

    @pytest.mark.parametrize("effort", EFFORTS)
    @pytest.mark.parametrize("limit", [1025, 1280, 2000, 4096, 64_000, None])
    def test_a_budget_is_what_claude_takes_and_leaves_room(self, effort: str, limit: int | None) -> None:
        budget = self.budget(effort, limit)
        assert budget is not None
        assert budget >= 1024
        assert limit is None or budget < limit

    @pytest.mark.parametrize("limit", [1, 1024])
    def test_where_no_budget_fits_there_is_no_thinking(self, limit: int) -> None:
        assert self.budget("high", limit) is None

    def test_more_effort_is_more_budget(self) -> None:
        budgets = [self.budget(effort, None) for effort in EFFORTS]
        assert budgets == sorted(budgets, key=lambda budget: budget or 0)
        assert len(set(budgets)) == len(EFFORTS)

    def test_no_thinking_in_the_middle_of_a_turn(self) -> None:
        assert reasoning_fields(self.MODEL, "high", None, mid_turn=True) == {}
        adaptive = reasoning_fields("us.anthropic.claude-sonnet-4-6", "high", None, mid_turn=True)
        assert adaptive["thinking"] == {"type": "adaptive"}


@pytest.mark.parametrize(
    ("model", "takes"),
    [
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", True),
        ("us.amazon.nova-2-lite-v1:0", False),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123", True),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-8", True),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", False),
        ("us.deepseek.r1-v1:0", False),
        ("openai.gpt-oss-120b-1:0", False),
        ("us.meta.llama3-3-70b-instruct-v1:0", False),
        ("qwen.qwen3-32b-v1:0", False),
    ],
)
def test_whose_models_can_be_given_signed_thoughts(model: str, takes: bool) -> None:
    assert takes_thoughts(model) is takes


@pytest.mark.parametrize(
    "model",
    [
        "amazon.titan-text-lite-v1",
        "us.amazon.nova-micro-v1:0",
        "anthropic.claude-3-haiku-20240307-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
    ],
)
def test_where_nothing_is_known_it_is_refused_unless_none_is_asked_for(model: str) -> None:
    assert reasoning_fields(model, "none", None, mid_turn=False) == {}
    assert reasoning_fields(model, "low", None, mid_turn=False, may_drop=True) == {}
    with pytest.raises(Refused) as caught:
        reasoning_fields(model, "low", None, mid_turn=False)
    assert caught.value.fault.param == "reasoning_effort"


@pytest.mark.parametrize(
    ("model", "told"),
    [("us.anthropic.claude-sonnet-4-6", "low"), ("us.anthropic.claude-opus-4-8", "low")],
)
def test_a_claude_that_adapts_has_no_less_than_low(model: str, told: str) -> None:
    fields = reasoning_fields(model, "minimal", None, mid_turn=False)
    assert fields["output_config"] == {"effort": told}
