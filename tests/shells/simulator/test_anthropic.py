"""Claude's own format, judged by the types of Anthropic's SDK; its refusals, in Anthropic's words."""

import base64
import json
from typing import Any, Final

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from stargate_core.wire.eventstream import EventStreamDecoder
from support.simulator import CLAUDE, Reply, Wire, signed

EVENT: Final[TypeAdapter[Any]] = TypeAdapter(RawMessageStreamEvent)
TOOL: Final[dict[str, Any]] = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def body(text: str = "hello", **changes: Any) -> dict[str, Any]:
    """A Messages body as Bedrock takes it."""
    message = {"role": "user", "content": text}
    return {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 4096,
        "messages": [message],
        **changes,
    }


def ask(content: dict[str, Any], operation: str = "invoke", model_id: str = CLAUDE) -> Reply:
    """The answer to a body."""
    path = f"/model/{model_id.replace(':', '%3A')}/{operation}"
    return Wire().ask(signed(path, json.dumps(content).encode()))


def events(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The events inside a stream's chunks."""
    reply = ask(content, "invoke-with-response-stream")
    assert reply.whole
    frames = EventStreamDecoder().feed(reply.body)
    return [json.loads(base64.b64decode(json.loads(frame.payload)["bytes"])) for frame in frames]


BODIES: Final = {
    "text": body(),
    "tool": body("get_weather in Oslo", tools=[TOOL]),
    "forced tool": body(tools=[TOOL], tool_choice={"type": "any"}),
    "thinking": body(thinking={"type": "enabled", "budget_tokens": 1024}),
    "interleaved": body("[[simulator: interleaved-reasoning]]"),
    "redacted": body("[[simulator: redacted-reasoning]]"),
    "cut short": body(max_tokens=3),
    "stopped": body("one two three", stop_sequences=[" two"]),
    "empty": body("[[simulator: empty-content]]"),
    "cached": body("[[simulator: cache-read=100 cache-write=20 input-tokens=3]]"),
}


@pytest.mark.parametrize("content", BODIES.values(), ids=BODIES)
class TestTypes:
    def test_the_message_is_one(self, content: dict[str, Any]) -> None:
        Message.model_validate_json(ask(content).body, strict=True)

    def test_every_event_is_one(self, content: dict[str, Any]) -> None:
        for event in events(content):
            EVENT.validate_python(event)

    def test_the_stream_adds_up_to_the_message(self, content: dict[str, Any]) -> None:
        expected = ask(content).json()
        assert accumulated(events(content)) == expected


def accumulated(stream: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that a client puts together; asserts the grammar on the way."""
    first, *middle, delta, last = stream
    assert (first["type"], delta["type"], last["type"]) == ("message_start", "message_delta", "message_stop")
    message: dict[str, Any] = first["message"]
    open_block: dict[str, Any] | None = None
    arguments = ""
    for event in middle:
        match event["type"]:
            case "content_block_start":
                assert open_block is None
                assert event["index"] == len(message["content"])
                open_block, arguments = event["content_block"], ""
            case "content_block_delta":
                assert open_block is not None
                kind = event["delta"].pop("type")
                if kind == "input_json_delta":
                    arguments += event["delta"]["partial_json"]
                else:
                    for name, piece in event["delta"].items():
                        open_block[name] += piece
            case "content_block_stop":
                assert open_block is not None
                if open_block["type"] == "tool_use":
                    open_block["input"] = json.loads(arguments or "{}")
                message["content"].append(open_block)
                open_block = None
            case other:
                raise AssertionError(other)
    assert open_block is None
    message["usage"] |= delta["usage"]
    metrics = last["amazon-bedrock-invocationMetrics"]
    assert metrics["inputTokenCount"] == message["usage"]["input_tokens"]
    assert metrics["outputTokenCount"] == message["usage"]["output_tokens"]
    ended: dict[str, Any] = message | delta["delta"]
    return ended


def test_the_models_name_is_bedrocks_own() -> None:
    assert ask(body()).json()["model"] == "claude-3-haiku-20240307"
    newer = ask(body(), model_id="us.anthropic.claude-sonnet-4-5-20250929-v1:0").json()
    assert newer["model"] == "claude-sonnet-4-5-20250929"
    assert newer["usage"]["cache_read_input_tokens"] == 0


def without(name: str) -> dict[str, Any]:
    """A body without a member."""
    return {key: value for key, value in body().items() if key != name}


USE: Final = {
    "role": "assistant",
    "content": [{"type": "tool_use", "id": "toolu_1", "name": "x", "input": {}}],
}
RESULT: Final = {
    "role": "user",
    "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "y"}],
}
USER: Final = {"role": "user", "content": "hi"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (without("anthropic_version"), "anthropic_version: Field required"),
            (without("max_tokens"), "max_tokens: Field required"),
            (without("messages"), "messages: Field required"),
            (body(model="claude"), "model: Extra inputs are not permitted"),
            (body(stream=True), "stream: Extra inputs are not permitted"),
            (body(container="c"), "container: Extra inputs are not permitted"),
            (body(anthropic_version="2023-06-01"), "anthropic_version: Input should be 'bedrock-2023-05-31'"),
            (body(max_tokens=0), "max_tokens: Input should be greater than or equal to 1"),
            (body(anthropic_beta=["files-api-2025-04-14"]), "invalid beta flag"),
            (body(messages=[]), "messages: at least one message is required"),
            (body(messages=[USE]), 'messages: first message must use the "user" role'),
            (body(messages=[{"role": "tool", "content": "x"}]), "messages.0.role: Input should be"),
            (body(""), "messages: text content blocks must contain non-whitespace text"),
            (body(messages=[USER, USE, USER]), "`tool_use` ids were found without `tool_result` blocks"),
            (body(messages=[RESULT]), "unexpected `tool_use_id` found in `tool_result` blocks: toolu_1"),
            (body(tool_choice={"type": "tool", "name": "z"}), "Tool 'z' not found in provided tools"),
            (
                body(thinking={"type": "enabled", "budget_tokens": 1000}),
                "budget_tokens: Input should be greater than or equal to 1024",
            ),
            (
                body(thinking={"type": "enabled", "budget_tokens": 4096}),
                "`max_tokens` must be greater than `thinking.budget_tokens`",
            ),
        ],
    )
    def test_what_is_refused(self, content: dict[str, Any], words: str) -> None:
        reply = ask(content)
        assert reply.status == 400
        assert words in reply.json()["message"]

    def test_what_is_taken(self) -> None:
        assert ask(body(messages=[USER, USE, RESULT])).status == 200
        assert ask(body(messages=[USER, USER])).status == 200
        assert ask(body(anthropic_beta=["context-1m-2025-08-07"])).status == 200
        assert ask(body(anthropic_version="2026-10-21")).status == 200
