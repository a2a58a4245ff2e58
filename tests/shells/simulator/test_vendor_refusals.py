"""What the vendors' APIs refuse: wrong members, wrong values, conversations that do not hold together."""

import json
from typing import Any, Final

import pytest

from support.simulator import Reply, Wire, signed

GPT: Final = "openai.gpt-oss-120b-1:0"
CLAUDE: Final = "anthropic.claude-sonnet-4-5-20250929-v1:0"
HELLO: Final[dict[str, Any]] = {"role": "user", "content": "hello"}
CALL: Final = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED: Final = {"role": "assistant", "content": None, "tool_calls": [CALL]}
ANSWERED: Final = {"role": "tool", "tool_call_id": "c1", "content": "sunny"}
FUNCTION: Final[dict[str, Any]] = {"type": "function", "function": {"name": "f"}}


def ask(path: str, content: dict[str, Any]) -> Reply:
    """The answer to a body."""
    headers = {"anthropic-version": "2023-06-01"} if "anthropic" in path else {}
    return Wire().ask(signed(path, json.dumps(content).encode(), headers=headers))


def chat(**changes: Any) -> Reply:
    """The answer to a chat."""
    return ask("/openai/v1/chat/completions", {"model": GPT, "messages": [HELLO], **changes})


def response(**changes: Any) -> Reply:
    """The answer to a response's creation."""
    return ask("/openai/v1/responses", {"model": GPT, "input": "hello", **changes})


def message(**changes: Any) -> Reply:
    """The answer to a message."""
    content = {"model": CLAUDE, "max_tokens": 99, "messages": [HELLO], **changes}
    return ask("/anthropic/v1/messages", content)


def content(*blocks: dict[str, Any], role: str = "user") -> list[dict[str, Any]]:
    """Messages whose last has these blocks."""
    return [*([HELLO] if role == "assistant" else []), {"role": role, "content": list(blocks)}]


class TestChat:
    @pytest.mark.parametrize(
        ("changes", "param"),
        [
            ({"foo": 1}, "foo"),
            ({"messages": []}, "messages"),
            ({"messages": "hello"}, "messages"),
            ({"messages": [{**HELLO, "foo": 1}]}, "messages[0].foo"),
            ({"messages": [{"role": "user"}]}, "messages[0].content"),
            ({"messages": [{"role": "ghost", "content": "x"}]}, "messages[0].role"),
            ({"messages": content({"type": "text"})}, "messages[0].content[0].text"),
            ({"messages": content({"type": "smell"})}, "messages[0].content[0].type"),
            (
                {"messages": content({"type": "image_url", "image_url": "x"})},
                "messages[0].content[0].image_url",
            ),
            ({"temperature": 3}, "temperature"),
            ({"top_p": -1}, "top_p"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens"),
            ({"stop": ["a"] * 5}, "stop"),
            ({"stream": "yes"}, "stream"),
            ({"stream_options": {"include_usage": True}}, "stream_options"),
            ({"stream": True, "stream_options": {"usage": True}}, "stream_options.usage"),
            ({"tools": []}, "tools"),
            ({"tools": [{"type": "function"}]}, "tools[0].function"),
            ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
            ({"tools": [FUNCTION], "tool_choice": "perhaps"}, "tool_choice"),
            ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
            ({"reasoning_effort": "much"}, "reasoning_effort"),
            ({"service_tier": "reserved"}, "service_tier"),
            ({"messages": [HELLO, CALLED]}, "messages"),
            ({"messages": [HELLO, CALLED, HELLO]}, "messages.[2].role"),
            ({"messages": [HELLO, ANSWERED]}, "messages.[1].role"),
        ],
    )
    def test_what_does_not_fit_is_named(self, changes: dict[str, Any], param: str) -> None:
        reply = chat(**changes)
        assert reply.status == 400, reply.body
        assert reply.json()["error"]["param"] == param

    @pytest.mark.parametrize(
        "changes",
        [
            {"messages": [{"role": "developer", "content": "be kind"}, HELLO]},
            {"messages": [HELLO, CALLED, ANSWERED], "tools": [FUNCTION]},
            {"messages": [HELLO, {"role": "assistant", "content": "a", "reasoning_content": "b"}, HELLO]},
            {"messages": content({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}})},
            {"stop": None, "temperature": None, "tools": None, "tool_choice": None, "stream": False},
            {"tools": [FUNCTION], "tool_choice": "auto", "parallel_tool_calls": False},
        ],
    )
    def test_what_fits_is_answered(self, changes: dict[str, Any]) -> None:
        assert chat(**changes).status == 200

    def test_unknown_and_missing_members_have_codes(self) -> None:
        assert chat(foo=1).json()["error"]["code"] == "unknown_parameter"
        reply = ask("/openai/v1/chat/completions", {"model": GPT})
        assert reply.json()["error"]["code"] == "missing_required_parameter"


class TestResponses:
    CALL: Final = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    OUTPUT: Final = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}

    @pytest.mark.parametrize(
        ("changes", "param"),
        [
            ({"foo": 1}, "foo"),
            ({"input": 3}, "input"),
            ({"input": []}, "input"),
            ({"input": ["x"]}, "input[0]"),
            ({"input": [{"role": "user"}]}, "input[0].content"),
            ({"input": [{"type": "smell"}]}, "input[0].type"),
            ({"input": content({"type": "text", "text": "x"})}, "input[0].content[0].type"),
            ({"input": [CALL]}, "input"),
            ({"input": [OUTPUT]}, "input"),
            ({"input": [{"type": "reasoning", "summary": [], "encrypted_content": "x"}]}, "input[0]"),
            ({"max_output_tokens": 0}, "max_output_tokens"),
            ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
            ({"tools": [FUNCTION]}, "tools[0].name"),
            ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
            ({"background": True}, "background"),
            ({"previous_response_id": "resp_1"}, "previous_response_id"),
            ({"reasoning": {"effort": "much"}}, "reasoning.effort"),
        ],
    )
    def test_what_does_not_fit_is_named(self, changes: dict[str, Any], param: str) -> None:
        reply = response(**changes)
        assert reply.status == 400, reply.body
        assert reply.json()["error"]["param"] in (param, f"{param}.type", "tools[0].function")

    def test_a_turn_may_be_sent_back_whole(self) -> None:
        tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
        wishes = {"tools": [tool], "tool_choice": "required", "reasoning": {"effort": "low"}}
        sealed = {"include": ["reasoning.encrypted_content"], "store": False}
        said = response(**wishes, **sealed).json()["output"]
        assert [item["type"] for item in said] == ["reasoning", "function_call"]
        back = {"type": "function_call_output", "call_id": said[1]["call_id"], "output": "sunny"}
        reply = response(input=[HELLO, *said, back], tools=[tool])
        assert reply.status == 200, reply.body
        assert "The tool says: sunny." in reply.json()["output"][-1]["content"][0]["text"]


class TestMessages:
    SOURCE: Final = {"type": "url", "url": "https://example.com/a.png"}

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"anthropic_version": "2023-06-01"}, "anthropic_version: Extra inputs are not permitted"),
            ({"anthropic_beta": []}, "anthropic_beta: Extra inputs are not permitted"),
            ({"foo": 1}, "foo: Extra inputs are not permitted"),
            ({"max_tokens": "9"}, "max_tokens: "),
            ({"temperature": 2}, "temperature: "),
            ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
            ({"messages": content({"text": "x"})}, "messages.0.content.0.type: Field required"),
            ({"messages": content({"type": "text"})}, "messages.0.content.0.text: Field required"),
            ({"messages": content({"type": "smell"})}, "messages.0.content.0: Input tag 'smell' found"),
            (
                {"messages": content({"type": "text", "text": "x", "y": 1})},
                "messages.0.content.0.y: Extra inputs",
            ),
            (
                {"messages": content({"type": "text", "text": " "})},
                "messages: text content blocks must contain",
            ),
            ({"messages": [{"role": "assistant", "content": "x"}]}, "messages: first message must use"),
            ({"tools": [{"name": "f"}]}, "tools.0.input_schema: Field required"),
            ({"tools": [{"name": "f", "input_schema": {}}] * 2}, "tools: Tool names must be unique."),
            ({"tool_choice": {"type": "tool", "name": "f"}}, "tool_choice.tool: Tool 'f' not found"),
            ({"thinking": {"type": "enabled", "budget_tokens": 9}}, "thinking.enabled.budget_tokens: "),
            ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "`max_tokens` must be greater than"),
            ({"metadata": "x"}, "metadata: "),
        ],
    )
    def test_what_does_not_fit_is_named(self, changes: dict[str, Any], said: str) -> None:
        reply = message(**changes)
        assert reply.status == 400, reply.body
        assert reply.json()["error"]["message"].startswith(said)

    def test_what_only_the_vendor_can_fetch(self) -> None:
        block = {"type": "image", "source": self.SOURCE}
        assert message(messages=content(block, {"type": "text", "text": "what is it?"})).status == 200
        search = {"type": "web_search_20250305", "name": "web_search"}
        assert message(tools=[search]).status == 200

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"model": CLAUDE}, "model: Extra inputs are not permitted"),
            ({"stream": True}, "stream: Extra inputs are not permitted"),
            ({"service_tier": "auto"}, "service_tier: Extra inputs are not permitted"),
            ({"container": "x"}, "container: Extra inputs are not permitted"),
            ({"mcp_servers": []}, "mcp_servers: Extra inputs are not permitted"),
            ({"inference_geo": "us"}, "inference_geo: Extra inputs are not permitted"),
            ({"anthropic_beta": ["files-api-2025-04-14"]}, "invalid beta flag"),
            ({"anthropic_beta": ["prompt-caching-2024-07-31"]}, "invalid beta flag"),
            (
                {"messages": content({"type": "image", "source": SOURCE})},
                "messages.0.content.0.image.source: Input tag 'url' found using 'type'",
            ),
            (
                {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
                "tools.0: Input tag 'web_search_20250305' found using 'type'",
            ),
        ],
    )
    def test_what_invoke_model_does_not_take(self, changes: dict[str, Any], said: str) -> None:
        body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 99, "messages": [HELLO], **changes}
        reply = ask("/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke", body)
        assert reply.status == 400, reply.body
        assert reply.json()["message"].startswith(said)

    @pytest.mark.parametrize(
        "tool",
        [
            {"type": "bash_20250124", "name": "bash"},
            {"type": "text_editor_20250124", "name": "str_replace_editor"},
            {"type": "computer_20250124", "name": "computer", "display_width_px": 9, "display_height_px": 9},
            {"type": "custom", "name": "f", "input_schema": {"type": "object"}, "strict": True},
        ],
    )
    def test_and_what_it_does(self, tool: dict[str, Any]) -> None:
        body = {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 99,
            "messages": [HELLO],
            "tools": [tool],
        }
        reply = ask("/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke", body)
        assert reply.status == 200, reply.body

    @pytest.mark.parametrize(
        "model",
        [
            "us.anthropic.claude-sonnet-4-20250514-v1:0",
            "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0",
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdefghijkl",
        ],
    )
    def test_tokens_are_counted_for_models_and_not_for_profiles(self, model: str) -> None:
        counted = {"input": {"converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}}}
        path = f"/model/{model.replace(':', '%3A').replace('/', '%2F')}/count-tokens"
        reply = ask(path, counted)
        assert (reply.status, reply.json()["message"]) == (
            400,
            "The provided model doesn't support counting tokens.",
        )
