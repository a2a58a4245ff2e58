"""Tools: the toolConfig of every kind of request, and the names between Anthropic's callers and Bedrock."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.dialects.anthropic_converse_tools import tool_names
from stargate_core.dialects.converse_tools import safe_name
from stargate_core.dialects.face import Options
from support.anthropic_converse import CLAUDE, NOVA, a_message, composed, refused

SCHEMA = {"type": "object", "properties": {"x": {"type": "number"}}}
TOOL = {"name": "f", "input_schema": SCHEMA}
SPEC = {"toolSpec": {"name": "f", "inputSchema": {"json": SCHEMA}}}
STAND_IN = {"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object", "properties": {}}}}}
HISTORY = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
]
DROP = Options(drop_params=True)


def config(model: str = NOVA, options: Options | None = None, **members: Any) -> Any:
    return composed(model, options, **members).get("toolConfig")


class TestSpecs:
    def test_all_that_a_tool_says(self) -> None:
        tool = {**TOOL, "type": "custom", "description": "d", "strict": True, "defer_loading": True}
        assert config(
            tools=[tool, {**TOOL, "name": "g", "description": " ", "type": None, "strict": False}]
        ) == {
            "tools": [
                {"toolSpec": {**SPEC["toolSpec"], "description": "d", "strict": True}},
                {"toolSpec": {**SPEC["toolSpec"], "name": "g"}},
            ]
        }

    def test_a_schema_keeps_its_spelling_and_gets_a_type(self) -> None:
        assert config(tools=[{"name": "f", "input_schema": {"properties": {}}}])["tools"] == [STAND_IN]

    @pytest.mark.parametrize(
        ("tool", "place"),
        [
            ({"name": "f"}, "input_schema"),
            ({"name": "f", "input_schema": None}, "input_schema"),
            ({"name": "f", "input_schema": []}, "input_schema"),
            ({"input_schema": SCHEMA}, "name"),
            ({"type": "web_search_20250305", "name": "web_search"}, "type"),
            ({"type": "bash_20250124", "name": "bash"}, "type"),
        ],
    )
    def test_what_is_refused(self, tool: Any, place: str) -> None:
        param, said = refused(tools=[TOOL, tool])
        assert param == f"tools.1.{place}"
        assert said.startswith(f"tools.1.{place}: ")
        assert tool.get("type", "") in said

    def test_tools_of_anthropics_own_may_be_dropped(self) -> None:
        own = {"type": "web_search_20250305", "name": "web_search"}
        assert config(NOVA, DROP, tools=[own, TOOL]) == {"tools": [SPEC]}
        assert config(NOVA, DROP, tools=[own]) is None

    @pytest.mark.parametrize("tools", [None, []])
    def test_no_tools_are_no_config(self, tools: Any) -> None:
        assert config(tools=tools) is None


class TestChoice:
    @pytest.mark.parametrize(
        ("choice", "chosen"),
        [
            (None, {}),
            ({"type": "auto"}, {}),
            ({"type": "auto", "disable_parallel_tool_use": True}, {}),
            ({"type": "any"}, {"toolChoice": {"any": {}}}),
            ({"type": "tool", "name": "f"}, {"toolChoice": {"tool": {"name": "f"}}}),
        ],
    )
    def test_every_choice(self, choice: Any, chosen: Any) -> None:
        assert config(tools=[TOOL], tool_choice=choice) == {"tools": [SPEC], **chosen}

    def test_none_is_no_config_unless_there_is_a_history(self) -> None:
        assert config(tools=[TOOL], tool_choice={"type": "none"}) is None
        made = config(tools=[TOOL], tool_choice={"type": "none"}, messages=HISTORY)
        assert made == {"tools": [SPEC]}

    @pytest.mark.parametrize(
        ("choice", "chosen"),
        [
            ({"type": "auto"}, {"type": "auto"}),
            ({"type": "any"}, {"type": "any"}),
            ({"type": "tool", "name": "f"}, {"type": "tool", "name": "f"}),
        ],
    )
    def test_claude_can_be_kept_from_calling_twice_at_a_time(self, choice: Any, chosen: Any) -> None:
        made = composed(CLAUDE, tools=[TOOL], tool_choice={**choice, "disable_parallel_tool_use": True})
        assert made["toolConfig"] == {"tools": [SPEC]}
        assert made["additionalModelRequestFields"] == {
            "tool_choice": {**chosen, "disable_parallel_tool_use": True}
        }

    @pytest.mark.parametrize(
        ("choice", "tools", "place"),
        [
            ({"type": "tool", "name": "g"}, [TOOL], "tool_choice.name"),
            ({"type": "tool"}, [TOOL], "tool_choice.name"),
            ({"type": "tool", "name": "f"}, [], "tool_choice.name"),
            ({"type": "any"}, [], "tool_choice"),
        ],
    )
    def test_a_choice_of_nothing_is_refused(self, choice: Any, tools: Any, place: str) -> None:
        assert refused(tools=tools, tool_choice=choice)[0] == place


def test_a_history_with_tools_has_tools() -> None:
    assert config(messages=HISTORY) == {"tools": [STAND_IN]}


class TestNames:
    def test_what_bedrock_does_not_take_is_known_by_what_it_is_given(self) -> None:
        said = a_message(
            tools=[{**TOOL, "name": "mcp/a"}, TOOL, {"type": "bash_20250124"}],
            messages=[
                *HISTORY,
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "u", "name": "b.c", "input": {}}],
                },
                {"role": "user", "content": [{"type": "image", "name": "no.tool"}]},
            ],
        )
        names = tool_names(msgspec.json.encode(said))
        assert names == {safe_name("mcp/a"): "mcp/a", safe_name("b.c"): "b.c"}

    @given(st.lists(st.text(min_size=1), max_size=5))
    def test_every_name_is_found_again(self, names: list[str]) -> None:
        tools = [{**TOOL, "name": name} for name in names]
        sent = config(tools=tools)
        restored = tool_names(msgspec.json.encode(a_message(tools=tools)))
        told = [tool["toolSpec"]["name"] for tool in sent["tools"]] if names else []
        assert [restored.get(name, name) for name in told] == names

    @given(st.binary(max_size=40))
    def test_what_is_no_request_has_none(self, body: bytes) -> None:
        assert tool_names(body) == {}
