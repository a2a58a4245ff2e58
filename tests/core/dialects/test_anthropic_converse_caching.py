"""Marks of a prompt cache, by the model they are meant for."""

from typing import Any

import pytest

from stargate_core.dialects.anthropic_converse_caching import Marks
from stargate_core.dialects.anthropic_converse_types import CacheControl
from stargate_core.dialects.face import Options, PromptCaching, Target
from support.anthropic_converse import CLAUDE, LLAMA, NOVA, OPAQUE, composed

PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.meta.llama3-3-70b-instruct-v1:0"
POINT = {"cachePoint": {"type": "default"}}
HOUR = {"cachePoint": {"type": "default", "ttl": "1h"}}
MARK = {"cache_control": {"type": "ephemeral"}}
AUTO = Options(prompt_caching=PromptCaching.AUTO)
TOOL = {"name": "f", "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("model", "block", "tool"),
    [
        (CLAUDE, [HOUR], [HOUR]),
        (OPAQUE, [HOUR], [HOUR]),
        (NOVA, [POINT], []),
        (LLAMA, [], []),
        (PROFILE, [], []),
    ],
)
def test_a_mark_goes_where_it_is_understood(model: str, block: Any, tool: Any) -> None:
    marks = Marks(Target(model))
    mark = CacheControl(ttl="1h")
    assert marks.points(None) == []
    assert not marks.seen
    assert marks.points(mark) == block
    assert marks.points(mark, tool=True) == tool
    assert marks.seen


def test_every_place_that_can_be_marked() -> None:
    text = {"type": "text", "text": "a", **MARK}
    made = composed(
        CLAUDE,
        system=[text],
        tools=[{**TOOL, **MARK}],
        messages=[
            {"role": "user", "content": [text]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}, **MARK}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t", "content": [text], **MARK}],
            },
        ],
    )
    assert made["system"] == [{"text": "a"}, POINT]
    assert made["toolConfig"]["tools"][1:] == [POINT]
    first, second, third = (message["content"] for message in made["messages"])
    assert first == [{"text": "a"}, POINT]
    assert second[1:] == [POINT]
    # A result has no marks within: one stands behind it, and no more than one.
    assert third[0]["toolResult"]["content"] == [{"text": "a"}]
    assert third[1:] == [POINT]


def test_a_mark_on_the_whole_request_stands_at_its_end() -> None:
    made = composed(CLAUDE, cache_control={"type": "ephemeral", "ttl": "1h"})
    assert made["messages"][-1]["content"][1:] == [HOUR]


class TestUnasked:
    def test_the_gateway_marks_what_every_turn_repeats(self) -> None:
        made = composed(CLAUDE, AUTO, system="be", tools=[TOOL])
        assert made["system"] == [{"text": "be"}, POINT]
        assert made["toolConfig"]["tools"][1:] == [POINT]

    @pytest.mark.parametrize(("model", "points"), [(NOVA, [POINT]), (LLAMA, []), (OPAQUE, [])])
    def test_only_where_it_is_known_to_be_understood(self, model: str, points: Any) -> None:
        made = composed(model, AUTO, system="be", tools=[TOOL])
        assert made["system"] == [{"text": "be"}, *points]
        assert len(made["toolConfig"]["tools"]) == 1

    def test_whoever_has_marked_one_place_knows_all_of_them(self) -> None:
        text = {"type": "text", "text": "a", **MARK}
        made = composed(
            CLAUDE, AUTO, system="be", tools=[TOOL], messages=[{"role": "user", "content": [text]}]
        )
        assert made["system"] == [{"text": "be"}]

    def test_without_instructions_or_tools_there_is_nothing_to_mark(self) -> None:
        assert set(composed(CLAUDE, AUTO)) == {"messages", "inferenceConfig"}
