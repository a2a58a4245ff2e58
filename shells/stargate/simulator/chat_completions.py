"""The chat-completions body that gpt-oss, Qwen, DeepSeek, Mistral's newer models and imported models take
in InvokeModel.

It is OpenAI's, less what Bedrock does not have; `prompt` in place of `messages` makes it the older text
completion. A stream's chunks are OpenAI's `chat.completion.chunk` objects, the last with Bedrock's own
metrics.

Sources: AWS's user guide, "OpenAI models"; a recorded SageMaker endpoint's answer
(tests/vectors/recorded-bedrock).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from stargate.simulator.anthropic import metrics
from stargate.simulator.completions import needed
from stargate.simulator.dialogue import Answer, Choice, Prompt, Reasoning, Text, Tool, ToolUse, count_tokens
from stargate.simulator.errors import malformed
from stargate.simulator.events import Kind, StreamEvent
from stargate.simulator.json_tree import as_array, as_integer, as_object, as_texts

_FINISH: Final[Mapping[str, str]] = {
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}
_CREATED: Final = 1_767_225_600


def read(body: Mapping[str, Any]) -> Prompt:
    """The prompt of a body. Raises Refusal."""
    if "prompt" in body:
        messages: Sequence[Mapping[str, Any]] = [{"role": "user", "content": body["prompt"]}]
    else:
        needed(body, "messages")
        messages = [as_object(message) for message in as_array(body["messages"])]
    if not messages or not all("role" in message for message in messages):
        raise malformed("#/messages: expected minimum item count: 1, found: 0")
    texts = [_text(message.get("content")) for message in messages if message["role"] == "user"]
    results = [_text(message.get("content")) for message in messages[-1:] if message["role"] == "tool"]
    choice, tool_name = _choice(body.get("tool_choice"))
    return Prompt(
        text=texts[-1] if texts else "",
        tool_results=tuple(results),
        input_tokens=max(1, count_tokens(messages)),
        tools=tuple(
            Tool(tool["function"]["name"], tool["function"].get("parameters") or {"type": "object"})
            for tool in as_array(body.get("tools"))
        ),
        choice=choice,
        tool_name=tool_name,
        tokens_max=as_integer(body.get("max_completion_tokens", body.get("max_tokens"))),
        stop_sequences=as_texts(body.get("stop")),
        thinking="reasoning_effort" in body,
    )


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(as_object(part).get("text", "")) for part in as_array(content))


def _choice(choice: Any) -> tuple[Choice, str]:
    match choice:
        case "none":
            return Choice.NONE, ""
        case "required":
            return Choice.ANY, ""
        case {"function": {"name": str(name)}}:
            return Choice.ONE, name
        case _:
            return Choice.AUTO, ""


def document(answer: Answer, body: Mapping[str, Any], model_id: str) -> dict[str, object]:
    """The answer's body: a `chat.completion`, or to a `prompt` a `text_completion`."""
    if "prompt" in body:
        choice = {"index": 0, "text": answer.text, "logprobs": None, "finish_reason": finish(answer)}
        return _completion(answer, model_id, "text_completion", choice)
    message: dict[str, object] = {"role": "assistant", "content": answer.text or None}
    calls = [_call(block) for block in answer.blocks if isinstance(block, ToolUse)]
    if calls:
        message["tool_calls"] = calls
    thoughts = [block.text for block in answer.blocks if isinstance(block, Reasoning)]
    if thoughts:
        message["reasoning"] = "\n".join(thoughts)
    choice = {"index": 0, "message": message, "finish_reason": finish(answer)}
    return _completion(answer, model_id, "chat.completion", choice)


def _completion(answer: Answer, model_id: str, kind: str, choice: Mapping[str, object]) -> dict[str, object]:
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": kind,
        "created": _CREATED,
        "model": model_id,
        "choices": [choice],
        "usage": {
            "prompt_tokens": answer.input_tokens,
            "completion_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
        },
    }


def _call(block: ToolUse) -> dict[str, object]:
    arguments = msgspec.json.encode(block.arguments).decode()
    return {
        "id": f"call_{block.id}",
        "type": "function",
        "function": {"name": block.name, "arguments": arguments},
    }


def finish(answer: Answer) -> str:
    """Why the answer ended, in OpenAI's words."""
    return _FINISH.get(answer.stop_reason, "stop")


def stream(answer: Answer, model_id: str, rng: random.Random) -> Iterator[StreamEvent]:
    """The answer's stream: `chat.completion.chunk` objects."""
    del rng  # nothing is left to chance here
    calls = 0
    yield chunk(Kind.START, answer, model_id, {"role": "assistant", "content": ""})
    for block in answer.blocks:
        match block:
            case Text():
                for token in block.tokens:
                    yield chunk(Kind.DELTA, answer, model_id, {"content": token})
            case Reasoning():
                for token in block.tokens:
                    yield chunk(Kind.DELTA, answer, model_id, {"reasoning": token})
            case ToolUse():
                yield chunk(Kind.DELTA, answer, model_id, {"tool_calls": [{"index": calls, **_call(block)}]})
                calls += 1
            case _:
                pass
    yield chunk(Kind.STOP, answer, model_id, {}, finish(answer))
    last = chunk(Kind.METADATA, answer, model_id, {})
    nothing: list[object] = []
    payload = {**last.payload, "choices": nothing, "amazon-bedrock-invocationMetrics": metrics(answer)}
    yield msgspec.structs.replace(last, payload=payload)


def chunk(
    kind: Kind, answer: Answer, model_id: str, delta: Mapping[str, object], finish: str | None = None
) -> StreamEvent:
    """One `chat.completion.chunk`."""
    payload = {
        "id": f"chatcmpl-{answer.id}",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": model_id,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return StreamEvent(kind, "", payload)
