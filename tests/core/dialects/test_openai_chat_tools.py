"""Tools: names that Bedrock takes and the answer gives back, schemas that go on as they came, every
tool_choice.
"""

from typing import Any

import msgspec
import pytest

from stargate_core.dialects.converse_tools import safe_name
from stargate_core.dialects.openai_chat_request import decode
from stargate_core.dialects.openai_chat_tools import renamed, tool_config
from stargate_core.faults import Cause, Refused
from support.dialects import a_chat

EMPTY = {"type": "object", "properties": {}}


def tool(name: str, **members: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **members}}


def config(used: tuple[str, ...] = (), **members: Any) -> Any:
    request, *_ = decode(msgspec.json.encode(a_chat(**members)))
    return msgspec.json.decode(msgspec.json.encode(tool_config(request, used)))


def spec(name: str, **members: Any) -> dict[str, Any]:
    return {"toolSpec": {"name": name, "inputSchema": {"json": EMPTY}, **members}}


def refused_at(**members: Any) -> str | None:
    with pytest.raises(Refused) as caught:
        config(**members)
    assert caught.value.fault.cause is Cause.BODY_INVALID
    return caught.value.fault.param


class TestNames:
    def test_only_names_that_changed_are_given_back(self) -> None:
        call = {"id": "a", "type": "function", "function": {"name": "mcp/old.tool", "arguments": ""}}
        request, *_ = decode(
            msgspec.json.encode(
                {
                    "messages": [{"role": "assistant", "tool_calls": [call]}],
                    "tools": [tool("plain"), tool("github.com/search")],
                }
            )
        )
        names = renamed(request)
        assert sorted(names.values()) == ["github.com/search", "mcp/old.tool"]
        assert all(safe_name(original) == safe for safe, original in names.items())


class TestSpecs:
    def test_everything_a_function_has(self) -> None:
        parameters = {"$schema": "x", "type": "object", "additionalProperties": False}
        function = tool("f", description="Does it", parameters=parameters, strict=True)
        assert config(tools=[function]) == {
            "tools": [
                {
                    "toolSpec": {
                        "name": "f",
                        "description": "Does it",
                        "inputSchema": {"json": parameters},
                        "strict": True,
                    }
                }
            ]
        }

    @pytest.mark.parametrize("members", [{}, {"parameters": None}, {"description": ""}, {"description": " "}])
    def test_what_is_missing_or_blank_is_left_out(self, members: dict[str, Any]) -> None:
        assert config(tools=[tool("f", strict=False, **members)]) == {"tools": [spec("f")]}

    def test_a_schema_without_a_type_is_given_one(self) -> None:
        made = config(tools=[tool("f", parameters={"properties": {"a": {}}})])
        assert made["tools"][0]["toolSpec"]["inputSchema"]["json"] == {
            "type": "object",
            "properties": {"a": {}},
        }

    def test_a_schema_goes_on_as_it_was_spelt(self) -> None:
        schema = (
            b'{"type":"object", "properties":{"n":{"maximum":1.0,"minimum":123456789012345678901234567890}}}'
        )
        body = (
            b'{"messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function",'
            b'"function":{"name":"f","parameters":' + schema + b"}}]}"
        )
        assert schema in msgspec.json.encode(tool_config(decode(body)[0], ()))

    @pytest.mark.parametrize("schema", [[], "object", 5, True])
    def test_a_schema_that_is_no_object_is_refused(self, schema: object) -> None:
        assert refused_at(tools=[tool("a"), tool("f", parameters=schema)]) == "tools[1].function.parameters"

    def test_a_custom_tool_is_refused(self) -> None:
        assert refused_at(tools=[{"type": "custom", "custom": {"name": "x"}}]) == "tools[0].type"


class TestMarks:
    """A tool that is marked has a cache point behind it."""

    @pytest.mark.parametrize(
        ("mark", "point"),
        [
            ({"type": "ephemeral"}, {"type": "default"}),
            ({"type": "ephemeral", "ttl": "1h"}, {"type": "default", "ttl": "1h"}),
            ({"ttl": "12h"}, {"type": "default"}),
        ],
        ids=str,
    )
    def test_in_either_place(self, mark: dict[str, str], point: dict[str, str]) -> None:
        marked = [
            {"type": "function", "function": {"name": "a"}, "cache_control": mark},
            {"type": "function", "function": {"name": "b", "cache_control": mark}},
            {"type": "function", "function": {"name": "c"}},
        ]
        made = config(tools=marked)
        assert made is not None
        kinds = [tool.get("cachePoint") or tool["toolSpec"]["name"] for tool in made["tools"]]
        assert kinds == ["a", point, "b", point, "c"]


class TestChoice:
    TOOLS = [tool("a"), tool("b.c")]
    SPECS = [spec("a"), spec(safe_name("b.c"))]

    @pytest.mark.parametrize(
        ("choice", "chosen"),
        [
            (None, None),
            ("auto", None),
            ("required", {"any": {}}),
            ({"type": "function", "function": {"name": "a"}}, {"tool": {"name": "a"}}),
            ({"type": "function", "function": {"name": "b.c"}}, {"tool": {"name": safe_name("b.c")}}),
        ],
        ids=str,
    )
    def test_in_bedrocks_words(self, choice: Any, chosen: Any) -> None:
        expected: dict[str, Any] = {"tools": self.SPECS}
        if chosen is not None:
            expected["toolChoice"] = chosen
        assert config(tools=self.TOOLS, tool_choice=choice) == expected

    @pytest.mark.parametrize(("mode", "chosen"), [("auto", None), ("required", {"any": {}})])
    def test_allowed_tools_leave_out_the_others(self, mode: str, chosen: Any) -> None:
        allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": "b.c"}}]}
        made = config(tools=self.TOOLS, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
        assert made["tools"] == self.SPECS[1:]
        assert made.get("toolChoice") == chosen

    def test_none_is_no_tools_at_all(self) -> None:
        assert config(tools=self.TOOLS, tool_choice="none") is None

    def test_none_with_a_history_of_tools_cannot_do_without_them(self) -> None:
        assert config(("a",), tools=self.TOOLS, tool_choice="none") == {"tools": self.SPECS}

    @pytest.mark.parametrize(
        ("tools", "choice"),
        [
            (TOOLS, {"type": "function", "function": {"name": "z"}}),
            (TOOLS, {"type": "custom", "custom": {"name": "a"}}),
            (TOOLS, {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool("z")]}}),
            (None, "required"),
            ([], {"type": "function", "function": {"name": "a"}}),
        ],
    )
    def test_a_choice_of_what_is_not_there_is_refused(self, tools: Any, choice: Any) -> None:
        place = refused_at(tools=tools, tool_choice=choice)
        assert place is not None
        assert place.startswith("tool_choice")


class TestHistory:
    def test_no_tools_and_no_history(self) -> None:
        assert config() is None
        assert config(tools=[], tool_choice="auto") is None
        assert config(tool_choice="none") is None

    @pytest.mark.parametrize("choice", [None, "none", "auto"])
    def test_the_tools_of_the_history_stand_in(self, choice: str | None) -> None:
        assert config(("a", "b"), tool_choice=choice) == {"tools": [spec("a"), spec("b")]}


def test_messages_without_calls_bring_in_no_names() -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    request, *_ = decode(msgspec.json.encode(a_chat(messages=messages, tools=[tool("a.b")])))
    assert renamed(request) == {safe_name("a.b"): "a.b"}
