"""How hard a model should think: one word of the caller's, in the words of each family of models.

Bedrock has no common field for it. Each vendor's own goes into `additionalModelRequestFields`:

    Claude 4.6 and later     thinking {type: adaptive}, output_config {effort}
    Claude 3.7 to 4.5        thinking {type: enabled, budget_tokens}
    gpt-oss                  reasoning_effort
    other OpenAI models      reasoning {effort}
    Qwen 3, DeepSeek v3      reasoning_config
    Nova 2                   reasoningConfig {type: enabled, maxReasoningEffort}

A budget is a part of the tokens the model may produce, at least 1024 (Claude's minimum) and at most four
fifths, so that an answer fits behind the thoughts. Where not even the minimum fits, the model answers
without thinking.

In the middle of a turn, with tool results just given, Claude up to 4.5 wants the signed thoughts with which
the turn began, or no thinking at all. OpenAI's API has no place of its own for signatures, and a caller that
has kept none cannot have Claude go on thinking.

What Claude has signed no other model reads, and Bedrock refuses the whole request for a thought that its
model does not read. So signed thoughts go to Claude, and are left out elsewhere, as when a conversation goes
on with another model. A model behind an opaque name is given them, for it may be a Claude.

A family that is not listed is refused: to drop the word in silence would be to answer another question
than was asked. (An operator may have it dropped: `drop_params`.) An inference profile with an opaque name (an
application's own) can't be told either; its callers use the vendor's field.

Sources: recorded calls of pydantic-ai and langchain-aws against Bedrock; Anthropic's documentation of
effort and of extended thinking; AWS's Nova 2 user guide, extended thinking.
"""

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from stargate_core.faults import Cause, refuse

Fields: TypeAlias = dict[str, Any]

BUDGET_TOKENS_MIN: Final = 1024
_BUDGETS: Final = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 24576,
    "max": 31999,
}
_BUDGET_SHARE: Final = 0.8

# claude-3-7-sonnet-20250219-v1:0, claude-opus-4-1-20250805, claude-sonnet-4-6, claude-sonnet-5; a date is no
# version.
_CLAUDE: Final = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:-(\d{1,2}))?(?![\d])")
_ADAPTIVE_SINCE: Final = (4, 6)
_XHIGH_SINCE: Final = (4, 7)
_BUDGET_SINCE: Final = (3, 7)
_TELLING: Final = ("foundation-model/", ":inference-profile/")
"""Kinds of ARN that bear the model's own name."""


def is_claude(model: str) -> bool:
    """Whether a model id or ARN names a Claude."""
    return "anthropic.claude" in model


def is_opaque(model: str) -> bool:
    """Whether a model is an ARN that does not say whose model it is."""
    return model.startswith("arn:") and not any(kind in model for kind in _TELLING)


def takes_thoughts(model: str) -> bool:
    """Whether a model (an id or ARN) may be given signed thoughts."""
    return is_claude(model) or is_opaque(model)


def claude_version(model: str) -> tuple[int, int] | None:
    """The version of a Claude, by its model id or ARN; None for others and for the oldest, which had none."""
    found = _CLAUDE.search(model) if is_claude(model) else None
    return None if found is None else (int(found[1]), int(found[2] or 0))


def reasoning_fields(
    model: str, effort: str, output_tokens_max: int | None, *, mid_turn: bool, may_drop: bool = False
) -> Fields:
    """What to add to additionalModelRequestFields. Raises Refused for a model that takes no such thing.

    output_tokens_max: thoughts included; None: the model's own limit, which is far above every budget.
    mid_turn: the conversation ends with a tool's result, and the thoughts before it are lost.
    may_drop: whether to add nothing, where a model takes no such thing.
    """
    if effort == "none":
        return {}
    version = claude_version(model)
    if version is not None and version >= _ADAPTIVE_SINCE:
        return _adaptive(version, effort)
    if version is not None and version >= _BUDGET_SINCE:
        return {} if mid_turn else _budget(effort, output_tokens_max)
    for part_of_id, fields in _FAMILIES:
        if part_of_id in model:
            return fields(_low_medium_high(effort))
    if may_drop:
        return {}
    raise refuse(
        Cause.BODY_INVALID,
        "reasoning_effort: it is not known how this model takes it; send the model's own field instead",
        param="reasoning_effort",
    )


def _adaptive(version: tuple[int, int], effort: str) -> Fields:
    if effort == "minimal":
        effort = "low"
    elif effort == "xhigh" and version < _XHIGH_SINCE:
        effort = "high"
    return {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}}


def _budget(effort: str, output_tokens_max: int | None) -> Fields:
    budget = _BUDGETS[effort]
    if output_tokens_max is not None:
        if output_tokens_max <= BUDGET_TOKENS_MIN:
            return {}
        budget = max(BUDGET_TOKENS_MIN, min(budget, int(output_tokens_max * _BUDGET_SHARE)))
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _low_medium_high(effort: str) -> str:
    return {"minimal": "low", "xhigh": "high", "max": "high"}.get(effort, effort)


_FAMILIES: Final[tuple[tuple[str, Callable[[str], Fields]], ...]] = (
    ("openai.gpt-oss", lambda effort: {"reasoning_effort": effort}),
    ("openai.gpt-", lambda effort: {"reasoning": {"effort": effort}}),
    ("qwen.qwen3", lambda effort: {"reasoning_config": effort}),
    ("deepseek.v3", lambda effort: {"reasoning_config": effort}),
    ("amazon.nova-2", lambda effort: {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}),
)
