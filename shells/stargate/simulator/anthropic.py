"""Claude's own body: the Messages API as Bedrock speaks it, in InvokeModel and as the vendor's own API.

Bedrock's differences from Anthropic's own endpoint are what a gateway must get right: what InvokeModel's body
must have and must not have is checked in `messages_schema`.

The stream's grammar is Anthropic's. In InvokeModel each event is inside a `chunk`, there are no pings, and
the last event bears `amazon-bedrock-invocationMetrics`; as the vendor's API they are server-sent events, with
pings and without metrics.

Sources: recorded answers; anthropic-sdk-python, lib/bedrock and lib/streaming.
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
    Citation,
    Prompt,
    Reasoning,
    RedactedReasoning,
    Text,
    Tool,
    ToolUse,
    count_tokens,
)
from stargate.simulator.events import Kind, StreamEvent
from stargate.simulator.json_tree import as_array, as_object
from stargate.simulator.messages_schema import InvokeBody, blocks_of, check
from stargate.simulator.shapes import Strict

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


def read(body: Mapping[str, Any], form: type[Strict] = InvokeBody) -> Prompt:
    """The prompt of a Messages body. Raises Refusal."""
    check(body, form)
    messages: Sequence[Mapping[str, Any]] = body["messages"]
    last = blocks_of(messages[-1]) if messages[-1]["role"] == "user" else []
    users = [message for message in messages if message["role"] == "user"]
    choice, tool_name = _choice(as_object(body.get("tool_choice")))
    return Prompt(
        text="\n".join(block["text"] for block in blocks_of(users[-1]) if block.get("type") == "text"),
        tool_results=tuple(
            _shown(block.get("content", "")) for block in last if block.get("type") == "tool_result"
        ),
        attachments=tuple(
            f"{block['source'].get('media_type', 'unknown')} {block['type']}"
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
        tokens_max=body.get("max_tokens"),
        stop_sequences=tuple(as_array(body.get("stop_sequences"))),
        thinking=as_object(body.get("thinking")).get("type") in ("enabled", "adaptive"),
        answer_schema=_answer_schema(body),
    )


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
    blocks = blocks_of({"content": content})
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
        case Text(citations=(_, *_)):
            citations = [_citation(one) for one in block.citations]
            return {"type": "text", "text": block.text, "citations": citations}
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


_NONE: Final[tuple[object, ...]] = ()


def _citation(citation: Citation) -> dict[str, object]:
    start, end = citation.start, citation.end
    document = {"cited_text": citation.quote, "document_index": 0, "document_title": citation.title}
    match citation.kind:
        case "web":
            place: dict[str, object] = {
                "type": "web_search_result_location",
                "cited_text": citation.quote,
                "encrypted_index": "c2ltdWxhdGVk",
                "title": citation.title,
                "url": citation.source,
            }
        case "searchResultLocation":
            place = {
                "type": "search_result_location",
                "cited_text": citation.quote,
                "search_result_index": 0,
                "source": citation.source,
                "title": citation.title,
                "start_block_index": start,
                "end_block_index": end,
            }
        case "documentPage":
            place = {"type": "page_location", **document, "start_page_number": start, "end_page_number": end}
        case "documentChunk":
            blocks = {"start_block_index": start, "end_block_index": end}
            place = {"type": "content_block_location", **document, **blocks}
        case _:
            place = {"type": "char_location", **document, "start_char_index": start, "end_char_index": end}
    return place


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


def api_stream(answer: Answer, model_id: str, rng: random.Random) -> Iterator[StreamEvent]:
    """The events of the vendor's own API: the same with pings, and without metrics."""
    yield from _with_ping(stream(answer, model_id, rng))


def _with_ping(events: Iterator[StreamEvent]) -> Iterator[StreamEvent]:
    """A ping once the first block has begun, where the vendor has one; without blocks, at once."""
    pinged = False
    for event in events:
        if not pinged and event.name not in ("message_start", "content_block_start"):
            yield _event(Kind.BLOCK, "ping")
            pinged = True
        yield _event(Kind.METADATA, "message_stop") if event.name == "message_stop" else event


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


def _event(kind: Kind, name: str, /, **members: object) -> StreamEvent:
    return StreamEvent(kind, name, {"type": name, **members})


def _opening(block: Block) -> dict[str, object]:
    match block:
        case Text(citations=(_, *_)):
            return {"type": "text", "text": "", "citations": _NONE}
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
            for one in block.citations:
                yield {"type": "citations_delta", "citation": _citation(one)}
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
