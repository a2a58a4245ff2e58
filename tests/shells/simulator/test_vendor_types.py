"""The vendors' APIs, held against the types of the vendors' SDKs: what is taken, and what is answered.

What is taken: no member that an SDK knows is unknown here, and none is known here that no SDK knows.
What is answered: each document and each event is one of an SDK's, and a stream adds up to the document.
"""

import json
import typing
from typing import Any, Final

import anthropic.types as anthropic_types
import msgspec
import openai.types.chat.completion_create_params as chat_params
import openai.types.responses as openai_responses
import openai.types.responses.response_create_params as responses_params
import pytest
from anthropic.types import message_count_tokens_params, message_create_params
from anthropic.types.beta import message_count_tokens_params as beta_count_params
from anthropic.types.beta import message_create_params as beta_params
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from stargate.simulator import messages_schema, openai_schema, responses_schema
from support.simulator import Reply, Wire, signed

GPT: Final = "openai.gpt-oss-120b-1:0"
CLAUDE: Final = "anthropic.claude-sonnet-4-5-20250929-v1:0"
SCHEMA: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
MESSAGES_EVENT: Final[TypeAdapter[Any]] = TypeAdapter(anthropic_types.RawMessageStreamEvent)
RESPONSES_EVENT: Final[TypeAdapter[Any]] = TypeAdapter(openai_responses.ResponseStreamEvent)


BEDROCKS: Final = {"amazon-bedrock-guardrailConfig"}
"""What AWS has added to every vendor's body."""
OLDER: Final = {"output_format", "temperature", "top_p", "top_k"}
"""What the newest SDK no longer sends and older models take: a beta's form of `output_config.format`, and
what rules chance.
"""


def members(kind: type[msgspec.Struct]) -> set[str]:
    """What a type of ours knows."""
    return {field.encode_name for field in msgspec.structs.fields(kind)}


def keys(*kinds: Any) -> set[str]:
    """What types of an SDK know."""
    return {name for kind in kinds for name in typing.get_type_hints(kind)}


class TestMembers:
    """Ours, theirs, and what is ours alone: with a reason."""

    def test_chat_completions(self) -> None:
        theirs = (chat_params.CompletionCreateParamsNonStreaming, chat_params.CompletionCreateParamsStreaming)
        assert members(openai_schema.ChatBody) == keys(*theirs) | BEDROCKS

    def test_responses(self) -> None:
        theirs = responses_params.ResponseCreateParamsNonStreaming
        streaming = responses_params.ResponseCreateParamsStreaming
        assert members(responses_schema.ResponsesBody) == keys(theirs, streaming) | BEDROCKS

    def test_messages(self) -> None:
        theirs = keys(message_create_params.MessageCreateParamsStreaming)
        beta = keys(beta_params.MessageCreateParamsStreaming)
        ours = members(messages_schema.ApiBody)
        assert theirs <= ours
        assert ours - theirs <= beta | OLDER | BEDROCKS

    def test_counts(self) -> None:
        theirs = keys(message_count_tokens_params.MessageCountTokensParams)
        beta = keys(beta_count_params.MessageCountTokensParams)
        ours = members(messages_schema.CountBody)
        assert theirs <= ours
        assert ours - theirs <= beta | OLDER

    def test_claude_in_invoke_model_lacks_what_bedrock_lacks(self) -> None:
        ours, api = members(messages_schema.InvokeBody), members(messages_schema.ApiBody)
        assert ours - api == {"anthropic_version", "anthropic_beta"}
        assert api - ours == {
            *("model", "stream", "container", "diagnostics", "inference_geo", "mcp_servers"),
            *("service_tier", "speed", "workspace_id"),
        }

    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [
            (messages_schema.Text, anthropic_types.TextBlockParam),
            (messages_schema.Image, anthropic_types.ImageBlockParam),
            (messages_schema.Document, anthropic_types.DocumentBlockParam),
            (messages_schema.SearchResult, anthropic_types.SearchResultBlockParam),
            (messages_schema.Thinking, anthropic_types.ThinkingBlockParam),
            (messages_schema.RedactedThinking, anthropic_types.RedactedThinkingBlockParam),
            (messages_schema.ToolUse, anthropic_types.ToolUseBlockParam),
            (messages_schema.ToolResult, anthropic_types.ToolResultBlockParam),
            (messages_schema.Tool, anthropic_types.ToolParam),
            (messages_schema.Enabled, anthropic_types.ThinkingConfigEnabledParam),
            (messages_schema.Adaptive, anthropic_types.ThinkingConfigAdaptiveParam),
            (messages_schema.OneTool, anthropic_types.ToolChoiceToolParam),
            (responses_schema.FunctionTool, openai_responses.FunctionToolParam),
            (responses_schema.Reasoning, openai_responses.ResponseReasoningItemParam),
            (responses_schema.FunctionCall, openai_responses.ResponseFunctionToolCallParam),
        ],
        ids=lambda kind: kind.__name__,
    )
    def test_parts(self, ours: type[msgspec.Struct], theirs: Any) -> None:
        assert members(ours) | {"type"} >= keys(theirs)
        assert members(ours) - keys(theirs) <= {"type"}

    def test_every_block_of_anthropics_is_known(self) -> None:
        known = {*messages_schema._BLOCKS, *messages_schema._SERVERS}
        for kind in typing.get_args(anthropic_types.ContentBlockParam):
            [tag] = typing.get_args(typing.get_type_hints(kind)["type"])
            assert tag in known


def ask(path: str, content: dict[str, Any]) -> Reply:
    """The answer to a body."""
    headers = {"anthropic-version": "2023-06-01"} if "anthropic" in path else {}
    reply = Wire().ask(signed(path, json.dumps(content).encode(), headers=headers))
    assert (reply.status, reply.whole) == (200, True), reply.body
    return reply


def events_of(reply: Reply) -> list[tuple[str, Any]]:
    """The names and the data of a stream's events; `[DONE]` as it is."""
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    found: list[tuple[str, Any]] = []
    for event in reply.body.decode().removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in event.split("\n"))
        data = fields["data"]
        found.append((fields.get("event", ""), data if data == "[DONE]" else json.loads(data)))
    return found


def chat(text: str = "hello", **changes: Any) -> dict[str, Any]:
    """A chat's body."""
    return {"model": GPT, "messages": [{"role": "user", "content": text}], **changes}


FUNCTION: Final = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
NO_ARGUMENTS: Final = {"type": "function", "function": {"name": "ring_bell"}}
CHATS: Final = {
    "text": chat(),
    "tool": chat("get_weather in Oslo", tools=[FUNCTION]),
    "two tools": chat("get_weather in Oslo and ring_bell", tools=[FUNCTION, NO_ARGUMENTS]),
    "forced tool": chat(
        tools=[FUNCTION], tool_choice={"type": "function", "function": {"name": "get_weather"}}
    ),
    "reasoning": chat(reasoning_effort="low"),
    "redacted": chat("[[simulator: redacted-reasoning]]"),
    "cut short": chat(max_completion_tokens=3),
    "filtered": chat("[[simulator: stop=content_filtered]]"),
    "empty": chat("[[simulator: empty-content]]"),
    "cached": chat("[[simulator: cache-read=100 cache-write=20 input-tokens=3]]"),
    "schema": chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}),
}


@pytest.mark.parametrize("content", CHATS.values(), ids=CHATS)
class TestChat:
    PATH: Final = "/openai/v1/chat/completions"

    def test_the_completion_is_one(self, content: dict[str, Any]) -> None:
        ChatCompletion.model_validate_json(ask(self.PATH, content).body, strict=True)

    def test_so_is_every_chunk_and_they_add_up(self, content: dict[str, Any]) -> None:
        whole = ask(self.PATH, content).json()
        usage = {"stream_options": {"include_usage": True}}
        *events, done = events_of(ask(self.PATH, {**content, "stream": True, **usage}))
        assert done == ("", "[DONE]")
        said, calls, finishes = "", dict[int, dict[str, Any]](), list[str]()
        for name, chunk in events:
            assert name == ""
            ChatCompletionChunk.model_validate(chunk)
            for choice in chunk["choices"]:
                said += choice["delta"].get("content") or ""
                for call in choice["delta"].get("tool_calls", ()):
                    known = calls.setdefault(call["index"], {"arguments": ""})
                    known |= {"name": call["function"].get("name", known.get("name"))}
                    known["arguments"] += call["function"]["arguments"]
                finishes += [choice["finish_reason"]] if choice["finish_reason"] else []
        [choice] = whole["choices"]
        # The stream was asked for in other words, so its chance is another: compare what is not left to it.
        assert bool(said) is bool(choice["message"]["content"])
        assert [call["name"] for call in calls.values()] == [
            call["function"]["name"] for call in choice["message"].get("tool_calls", ())
        ]
        assert all(isinstance(json.loads(call["arguments"]), dict) for call in calls.values())
        assert finishes == [choice["finish_reason"]]
        assert events[-1][1]["choices"] == []
        assert events[-1][1]["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"]
        assert all(chunk["usage"] is None for _, chunk in events[:-1])

    def test_usage_comes_only_when_asked_for(self, content: dict[str, Any]) -> None:
        events = events_of(ask(self.PATH, {**content, "stream": True}))
        assert all("usage" not in chunk for _, chunk in events[:-1])


def response(said: Any = "hello", /, **changes: Any) -> dict[str, Any]:
    """A response's body."""
    return {"model": GPT, "input": said, **changes}


FLAT: Final = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": True}
RESPONSES: Final = {
    "text": response(),
    "tool": response("get_weather in Oslo", tools=[FLAT]),
    "reasoning": response(reasoning={"effort": "low"}),
    "summary": response(reasoning={"effort": "low", "summary": "auto"}),
    "sealed": response(reasoning={"effort": "low"}, include=["reasoning.encrypted_content"]),
    "redacted": response("[[simulator: redacted-reasoning]]", include=["reasoning.encrypted_content"]),
    "cut short": response(max_output_tokens=3),
    "filtered": response("[[simulator: stop=guardrail_intervened]]"),
    "empty": response("[[simulator: empty-content]]"),
    "cached": response("[[simulator: cache-read=100 input-tokens=3]]"),
    "schema": response(text={"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}),
    "items": response([{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}]),
}


@pytest.mark.parametrize("content", RESPONSES.values(), ids=RESPONSES)
class TestResponses:
    PATH: Final = "/openai/v1/responses"

    def test_the_response_is_one(self, content: dict[str, Any]) -> None:
        openai_responses.Response.model_validate_json(ask(self.PATH, content).body)

    def test_so_is_every_event_and_the_last_has_it_all(self, content: dict[str, Any]) -> None:
        events = events_of(ask(self.PATH, {**content, "stream": True}))
        items: list[dict[str, Any]] = []
        texts: dict[str, str] = {}
        for number, (name, event) in enumerate(events):
            RESPONSES_EVENT.validate_python(event)
            assert (event["type"], event["sequence_number"]) == (name, number)
            if name == "response.output_item.done":
                items.append(event["item"])
            elif name.endswith(".delta"):
                texts[event["item_id"]] = texts.get(event["item_id"], "") + event["delta"]
        assert [name for name, _ in events[:2]] == ["response.created", "response.in_progress"]
        last_name, last = events[-1]
        assert last_name == f"response.{last['response']['status']}"
        assert last["response"]["output"] == items
        for item in items:
            told = texts.get(item["id"], "")
            match item["type"]:
                case "message":
                    assert told == item["content"][0]["text"]
                case "function_call":
                    assert told == item["arguments"]
                    assert item["id"] != item["call_id"]
                case _:
                    assert told == "".join(p["text"] for p in (*item["summary"], *item.get("content", ())))

    def test_why_it_is_incomplete(self, content: dict[str, Any]) -> None:
        whole = ask(self.PATH, content).json()
        reason = {3: "max_output_tokens"}.get(content.get("max_output_tokens", 0))
        reason = "content_filter" if "guardrail" in str(content["input"]) else reason
        assert whole["incomplete_details"] == (reason and {"reason": reason})
        assert whole["status"] == ("incomplete" if reason else "completed")


def message(text: str = "hello", **changes: Any) -> dict[str, Any]:
    """A message's body."""
    return {"model": CLAUDE, "max_tokens": 4096, "messages": [{"role": "user", "content": text}], **changes}


CITED: Final = ("documentChar", "documentPage", "documentChunk", "web", "searchResultLocation")
MESSAGES: Final = {
    "text": message(),
    "tool": message("get_weather in Oslo", tools=[{"name": "get_weather", "input_schema": SCHEMA}]),
    "thinking": message(thinking={"type": "adaptive"}),
    "redacted": message("[[simulator: redacted-reasoning]]"),
    "cut short": message(max_tokens=3),
    "empty": message("[[simulator: empty-content]]"),
    **{kind: message(f"[[simulator: citations kind={kind}]]") for kind in CITED},
}


@pytest.mark.parametrize("content", MESSAGES.values(), ids=MESSAGES)
class TestMessages:
    PATH: Final = "/anthropic/v1/messages"

    def test_the_message_is_one(self, content: dict[str, Any]) -> None:
        anthropic_types.Message.model_validate_json(ask(self.PATH, content).body)

    def test_so_is_every_event(self, content: dict[str, Any]) -> None:
        names: list[str] = []
        for name, event in events_of(ask(self.PATH, {**content, "stream": True})):
            assert event["type"] == name
            assert not any(key.startswith("amazon-") for key in event)
            names.append(name)
            if name != "ping":
                MESSAGES_EVENT.validate_python(event)
        assert names.count("ping") == 1
        assert (names[0], names[-2:]) == ("message_start", ["message_delta", "message_stop"])
