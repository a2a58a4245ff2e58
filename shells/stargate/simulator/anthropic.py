"""Claude's own body in InvokeModel: the Messages API as Bedrock speaks it.

Bedrock's differences from Anthropic's own endpoint are what a gateway must get right, and so are what is
checked here: `anthropic_version` in the body, `anthropic_beta` too and only flags Bedrock knows, neither
`model` nor `stream`, no fields of features that Bedrock lacks. Refusals are in Anthropic's words
(pydantic's, mostly), as Bedrock passes them on.

The stream's grammar is Anthropic's, each event inside a `chunk`, without pings; the last bears
`amazon-bedrock-invocationMetrics`.

Sources: recorded answers; anthropic-sdk-python, lib/bedrock; the beta flags that envoyproxy/ai-gateway has
probed live.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from stargate.simulator.converse import argument_fragments
from stargate.simulator.dialogue import (
    Answer,
    Block,
    Choice,
    Prompt,
    Reasoning,
    RedactedReasoning,
    Text,
    Tool,
    ToolUse,
    count_tokens,
)
from stargate.simulator.errors import invalid
from stargate.simulator.events import Kind, StreamEvent
from stargate.simulator.json_tree import as_array, as_object

_VERSION: Final = "bedrock-2023-05-31"
_VERSIONS: Final = (_VERSION, "2026-10-21")
"""Bedrock's own version; and the one that anthropic-sdk-python 2's `AnthropicBedrock` puts into the body."""
_FIELDS: Final = frozenset(
    {
        *("anthropic_version", "anthropic_beta", "messages", "system", "max_tokens", "temperature", "top_p"),
        *("top_k", "stop_sequences", "tools", "tool_choice", "thinking", "metadata", "output_config"),
        *("output_format", "context_management", "cache_control", "user_profile_id"),
    }
)
_BETAS: Final = frozenset(
    {
        *("computer-use-2024-10-22", "computer-use-2025-01-24", "context-1m-2025-08-07"),
        *("context-management-2025-06-27", "dev-full-thinking-2025-05-14"),
        *("fine-grained-tool-streaming-2025-05-14", "interleaved-thinking-2025-05-14"),
        *("mcp-client-2025-04-04", "mcp-client-2025-11-20", "model-context-window-exceeded-2025-08-26"),
        *("output-128k-2025-02-19", "pdfs-2024-09-25", "search-results-2025-06-09"),
        *("token-counting-2024-11-01", "token-efficient-tools-2025-02-19", "tool-search-tool-2025-10-19"),
        *("web-search-2025-03-05",),
    }
)
_OLDER: Final = re.compile(r"claude-(instant|v2|3-(haiku|sonnet|opus)|3-5-sonnet-20240620)")
"""Models that know no prompt cache: their usage has no members for it."""
_ID: Final = re.compile(r"(?:^|[./])anthropic\.(claude-.+?)(?:-v\d+(?::\d+)?)?$")

_STOP_REASONS: Final[Mapping[str, str]] = {
    "guardrail_intervened": "end_turn",
    "content_filtered": "refusal",
    "malformed_model_output": "end_turn",
    "malformed_tool_use": "end_turn",
}
"""Converse's stop reasons that Anthropic has no name for, or another."""


def read(body: Mapping[str, Any]) -> Prompt:
    """The prompt of a Messages body. Raises Refusal."""
    _check(body)
    messages: Sequence[Mapping[str, Any]] = body["messages"]
    last = _blocks(messages[-1]) if messages[-1]["role"] == "user" else []
    users = [message for message in messages if message["role"] == "user"]
    choice, tool_name = _choice(as_object(body.get("tool_choice")))
    return Prompt(
        text="\n".join(block["text"] for block in _blocks(users[-1]) if block.get("type") == "text"),
        tool_results=tuple(
            _shown(block.get("content", "")) for block in last if block.get("type") == "tool_result"
        ),
        attachments=tuple(
            f"{block.get('source', {}).get('media_type', 'unknown')} {block['type']}"
            for block in last
            if block.get("type") in ("image", "document")
        ),
        input_tokens=max(1, sum(count_tokens(body.get(name)) for name in ("messages", "system", "tools"))),
        tools=tuple(
            Tool(tool["name"], tool["input_schema"])
            for tool in as_array(body.get("tools"))
            if "input_schema" in tool
        ),
        choice=choice,
        tool_name=tool_name,
        tokens_max=body["max_tokens"],
        stop_sequences=tuple(as_array(body.get("stop_sequences"))),
        thinking=as_object(body.get("thinking")).get("type") in ("enabled", "adaptive"),
        answer_schema=_answer_schema(body),
    )


def _check(body: Mapping[str, Any]) -> None:
    problems = [
        f"{name}: Field required"
        for name in ("anthropic_version", "max_tokens", "messages")
        if name not in body
    ]
    problems += [f"{name}: Extra inputs are not permitted" for name in body if name not in _FIELDS]
    if problems:
        raise invalid(", ".join(problems))
    if body["anthropic_version"] not in _VERSIONS:
        raise invalid(f"anthropic_version: Input should be '{_VERSION}'")
    if not isinstance(body["max_tokens"], int) or body["max_tokens"] < 1:
        raise invalid("max_tokens: Input should be greater than or equal to 1")
    for flag in as_array(body.get("anthropic_beta")):
        if flag not in _BETAS:
            raise invalid("invalid beta flag")
    _check_messages(body["messages"])
    thinking = as_object(body.get("thinking"))
    if thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens", 0)
        if budget < 1024:
            raise invalid("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if budget >= body["max_tokens"]:
            raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")
    names = [tool.get("name") for tool in as_array(body.get("tools"))]
    match body.get("tool_choice"):
        case {"type": "tool", "name": name} if name not in names:
            raise invalid(f"tool_choice.tool: Tool '{name}' not found in provided tools")
        case _:
            pass


def _check_messages(given: Any) -> None:
    messages = as_array(given)
    if not messages:
        raise invalid("messages: at least one message is required")
    for index, message in enumerate(map(as_object, messages)):
        for name in ("role", "content"):
            if name not in message:
                raise invalid(f"messages.{index}.{name}: Field required")
        if message["role"] not in ("user", "assistant", "system"):
            raise invalid(f"messages.{index}.role: Input should be 'user' or 'assistant'")
        for at, block in enumerate(_blocks(message)):
            if "type" not in block:
                raise invalid(f"messages.{index}.content.{at}.type: Field required")
            if block["type"] == "text" and not str(block.get("text", "")).strip():
                raise invalid("messages: text content blocks must contain non-whitespace text")
    if messages[0]["role"] != "user":
        raise invalid('messages: first message must use the "user" role')
    _check_tool_turns(messages)


def _check_tool_turns(messages: Sequence[Mapping[str, Any]]) -> None:
    asked: list[str] = []
    for index, message in enumerate(messages):
        blocks = _blocks(message)
        answered = [block.get("tool_use_id", "") for block in blocks if block.get("type") == "tool_result"]
        missing = [use for use in asked if use not in answered]
        if missing:
            raise invalid(
                f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately "
                f"after: {', '.join(missing)}. Each `tool_use` block must have a corresponding "
                "`tool_result` block in the next message."
            )
        for result in answered:
            if result not in asked:
                raise invalid(
                    f"messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{result}. Each `tool_result` block must have a corresponding `tool_use` block in the "
                    "previous message."
                )
        asked = [block.get("id", "") for block in blocks if block.get("type") == "tool_use"]


def _blocks(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message["content"]
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [as_object(block) for block in as_array(content)]


def _choice(choice: Mapping[str, Any]) -> tuple[Choice, str]:
    match choice:
        case {"type": "tool", "name": str(name)}:
            return Choice.ONE, name
        case {"type": "any"}:
            return Choice.ANY, ""
        case {"type": "none"}:
            return Choice.NONE, ""
        case _:
            return Choice.AUTO, ""


def _shown(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks = _blocks({"content": content})
    return " ".join(str(block.get("text", "…")) for block in blocks)


def _answer_schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for form in (body.get("output_format"), as_object(body.get("output_config")).get("format")):
        match form:
            case {"type": "json_schema", "schema": schema}:
                return as_object(schema)
            case _:
                pass
    return None


def document(answer: Answer, model_id: str) -> dict[str, object]:
    """The body of an InvokeModel answer: Anthropic's message."""
    content = [_content(block) for block in answer.blocks]
    return _message(answer, model_id, content, stop=True) | {
        "usage": _usage(answer, model_id, answer.output_tokens)
    }


def _message(
    answer: Answer, model_id: str, content: list[dict[str, object]], *, stop: bool
) -> dict[str, object]:
    named = _ID.search(model_id)
    return {
        "id": f"msg_bdrk_01{answer.id}",
        "type": "message",
        "role": "assistant",
        "model": named.group(1) if named else "claude-simulated",
        "content": content,
        "stop_reason": _stop_reason(answer) if stop else None,
        "stop_sequence": answer.stop_sequence if stop else None,
    }


def _stop_reason(answer: Answer) -> str:
    return _STOP_REASONS.get(answer.stop_reason, answer.stop_reason)


def _usage(answer: Answer, model_id: str, output_tokens: int) -> dict[str, object]:
    found: dict[str, object] = {"input_tokens": answer.input_tokens}
    if not _OLDER.search(model_id) or answer.cache_read_tokens or answer.cache_write_tokens:
        found["cache_creation_input_tokens"] = answer.cache_write_tokens
        found["cache_read_input_tokens"] = answer.cache_read_tokens
    return found | {"output_tokens": output_tokens}


def _content(block: Block) -> dict[str, object]:
    match block:
        case Text():
            return {"type": "text", "text": block.text}
        case Reasoning():
            return {"type": "thinking", "thinking": block.text, "signature": block.signature}
        case RedactedReasoning():
            return {"type": "redacted_thinking", "data": block.data}
        case ToolUse():
            return {
                "type": "tool_use",
                "id": f"toolu_bdrk_01{block.id}",
                "name": block.name,
                "input": block.arguments,
            }


def stream(answer: Answer, model_id: str, rng: random.Random) -> Iterator[StreamEvent]:
    """The events of an InvokeModelWithResponseStream answer."""
    message = _message(answer, model_id, [], stop=False) | {"usage": _usage(answer, model_id, 1)}
    yield _event(Kind.START, "message_start", message=message)
    for index, block in enumerate(answer.blocks):
        yield _event(Kind.BLOCK, "content_block_start", index=index, content_block=_opening(block))
        for delta in _deltas(block, rng):
            yield _event(Kind.DELTA, "content_block_delta", index=index, delta=delta)
        yield _event(Kind.BLOCK, "content_block_stop", index=index)
    delta = {"stop_reason": _stop_reason(answer), "stop_sequence": answer.stop_sequence}
    yield _event(Kind.STOP, "message_delta", delta=delta, usage={"output_tokens": answer.output_tokens})
    yield _event(Kind.METADATA, "message_stop", **{"amazon-bedrock-invocationMetrics": metrics(answer)})


def metrics(answer: Answer) -> dict[str, object]:
    """What Bedrock adds to the last chunk of every family."""
    found: dict[str, object] = {
        "inputTokenCount": answer.input_tokens,
        "outputTokenCount": answer.output_tokens,
        "invocationLatency": answer.latency_ms,
        "firstByteLatency": answer.latency_ms // 3,
    }
    if answer.cache_read_tokens or answer.cache_write_tokens:
        found["cacheReadInputTokenCount"] = answer.cache_read_tokens
        found["cacheWriteInputTokenCount"] = answer.cache_write_tokens
    return found


def _event(kind: Kind, name: str, **members: object) -> StreamEvent:
    return StreamEvent(kind, name, {"type": name, **members})


def _opening(block: Block) -> dict[str, object]:
    match block:
        case Text():
            return {"type": "text", "text": ""}
        case Reasoning():
            return {"type": "thinking", "thinking": "", "signature": ""}
        case RedactedReasoning():
            return _content(block)
        case ToolUse():
            return {**_content(block), "input": {}}


def _deltas(block: Block, rng: random.Random) -> Iterator[dict[str, object]]:
    match block:
        case Text():
            for token in block.tokens:
                yield {"type": "text_delta", "text": token}
        case Reasoning():
            for token in block.tokens:
                yield {"type": "thinking_delta", "thinking": token}
            yield {"type": "signature_delta", "signature": block.signature}
        case RedactedReasoning():
            pass
        case ToolUse():
            for fragment in argument_fragments(block, rng):
                yield {"type": "input_json_delta", "partial_json": fragment}
