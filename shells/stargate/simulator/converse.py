"""Converse, ConverseStream, CountTokens and ApplyGuardrail: from their members to a prompt, from an answer
to their JSON.

Facts of the format that clients stumble over, and that are therefore kept: only tool blocks have a
`contentBlockStart`; the first `toolUse` delta is often empty; metadata comes after `messageStop`;
`inputTokens` leaves cached tokens out while `totalTokens` has them; a reasoning block's signature is a
delta of its own; a citation comes before the text that it belongs to; a redacted thought, which its vendor
has in base64, is a blob and so in base64 once more.

Sources: recorded answers and streams (tests/vectors/recorded-bedrock); botocore's service model.
"""

import base64
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

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
from stargate.simulator.guardrails import converse_trace
from stargate.simulator.json_tree import as_array, as_integer, as_object

_FRAGMENT_CHARACTERS = 11
"""About how much of a tool's input one delta brings."""


def read_prompt(members: Mapping[str, Any]) -> Prompt:
    """The prompt of a Converse request that has passed every check."""
    messages: Sequence[Mapping[str, Any]] = as_array(members.get("messages"))
    inference = as_object(members.get("inferenceConfig"))
    config = as_object(members.get("toolConfig"))
    last = [block for message in messages[-1:] if message["role"] == "user" for block in message["content"]]
    choice, tool_name = _choice(as_object(config.get("toolChoice")))
    counted = [members.get(name) for name in ("messages", "system", "toolConfig")]
    return Prompt(
        text="\n".join(_last_texts(messages)),
        tool_results=tuple(_shown(block["toolResult"]["content"]) for block in last if "toolResult" in block),
        attachments=tuple(_attachments(last)),
        input_tokens=max(1, sum(map(count_tokens, counted))),
        tools=tuple(
            Tool(tool["toolSpec"]["name"], tool["toolSpec"]["inputSchema"]["json"])
            for tool in config.get("tools", ())
            if "toolSpec" in tool
        ),
        choice=choice,
        tool_name=tool_name,
        tokens_max=as_integer(inference.get("maxTokens")),
        stop_sequences=tuple(as_array(inference.get("stopSequences"))),
        thinking=_thinking(members.get("additionalModelRequestFields")),
        answer_schema=_answer_schema(as_object(members.get("outputConfig"))),
    )


def _last_texts(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    for message in reversed(messages):
        if message["role"] == "user":
            return [block["text"] for block in message["content"] if "text" in block]
    return []


def _choice(choice: Mapping[str, Any]) -> tuple[Choice, str]:
    match choice:
        case {"tool": {"name": str(name)}}:
            return Choice.ONE, name
        case {"any": _}:
            return Choice.ANY, ""
        case _:
            return Choice.AUTO, ""


def _shown(content: Sequence[Mapping[str, Any]]) -> str:
    parts = [block.get("text") or msgspec.json.encode(block.get("json", "…")).decode() for block in content]
    return " ".join(parts)


def _attachments(blocks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for block in blocks:
        for kind in ("image", "document", "video", "audio"):
            if kind in block:
                source: Mapping[str, Any] = block[kind].get("source", {})
                data = source.get("bytes", b"")
                yield f"{block[kind].get('format', 'text')} {kind} of {len(data)} bytes"


def _thinking(fields: Any) -> bool:
    """Whether the vendor's own fields ask for reasoning: Claude's, gpt-oss's, Qwen's, Nova's."""
    match fields:
        case (
            {"thinking": {"type": "enabled" | "adaptive"}} | {"reasoning_effort": _} | {"reasoning_config": _}
        ):
            return True
        case {"reasoningConfig": {"type": "enabled"}}:
            return True
        case _:
            return False


def _answer_schema(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    match config:
        case {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": str(text)}}}}:
            try:
                schema = msgspec.json.decode(text)
            except msgspec.DecodeError:
                return None
            return as_object(schema) or None
        case _:
            return None


def document(answer: Answer, members: Mapping[str, Any]) -> dict[str, object]:
    """The body of a Converse answer."""
    content = [_content(block) for block in answer.blocks]
    found: dict[str, object] = {
        "metrics": {"latencyMs": answer.latency_ms},
        "output": {"message": {"content": content, "role": "assistant"}},
        "stopReason": answer.stop_reason,
        "usage": usage(answer),
        **_echoes(answer, members),
    }
    fields = _response_fields(answer, members)
    if fields:
        found["additionalModelResponseFields"] = fields
    return found


def usage(answer: Answer) -> dict[str, object]:
    """The usage as Converse counts it."""
    found: dict[str, object] = {
        "inputTokens": answer.input_tokens,
        "outputTokens": answer.output_tokens,
        "serverToolUsage": {},
        "totalTokens": sum(
            (answer.input_tokens, answer.output_tokens, answer.cache_read_tokens, answer.cache_write_tokens)
        ),
    }
    if answer.cache_read_tokens or answer.cache_write_tokens:
        # The second pair is outside the service model; real answers have it.
        for name, count in (("Read", answer.cache_read_tokens), ("Write", answer.cache_write_tokens)):
            found[f"cache{name}InputTokens"] = found[f"cache{name}InputTokenCount"] = count
    return found


def _echoes(answer: Answer, members: Mapping[str, Any]) -> dict[str, object]:
    """What a request asked for beside words, and got."""
    found: dict[str, object] = {
        name: members[name] for name in ("performanceConfig", "serviceTier") if name in members
    }
    characters = sum(map(len, _last_texts(as_array(members.get("messages")))))
    return found | converse_trace(as_object(members.get("guardrailConfig")), answer, characters)


def _response_fields(answer: Answer, members: Mapping[str, Any]) -> dict[str, object]:
    paths = as_array(members.get("additionalModelResponseFieldPaths"))
    return {"stop_sequence": answer.stop_sequence} if "/stop_sequence" in paths else {}


def _content(block: Block) -> dict[str, object]:
    match block:
        case Text(citations=(_, *_)):
            citations = [_cited(one) for one in block.citations]
            return {"citationsContent": {"citations": citations, "content": [{"text": block.text}]}}
        case Text():
            return {"text": block.text}
        case Reasoning():
            return {"reasoningContent": {"reasoningText": {"signature": block.signature, "text": block.text}}}
        case RedactedReasoning():
            return {"reasoningContent": {"redactedContent": _blob(block.data)}}
        case ToolUse():
            return {
                "toolUse": {"input": block.arguments, "name": block.name, "toolUseId": f"tooluse_{block.id}"}
            }


def _cited(citation: Citation) -> dict[str, object]:
    return {
        "location": citation.place,
        "source": citation.source,
        "sourceContent": [{"text": citation.quote}],
        "title": citation.title,
    }


def _blob(data: str) -> str:
    """What a vendor has in base64 already, in the model's own."""
    return base64.b64encode(data.encode()).decode()


def stream(answer: Answer, members: Mapping[str, Any], rng: random.Random) -> Iterator[StreamEvent]:
    """The events of a ConverseStream answer."""
    yield StreamEvent(Kind.START, "messageStart", {"role": "assistant"})
    for index, block in enumerate(answer.blocks):
        if isinstance(block, ToolUse):
            start = {"toolUse": {"name": block.name, "toolUseId": f"tooluse_{block.id}"}}
            yield StreamEvent(Kind.BLOCK, "contentBlockStart", {"contentBlockIndex": index, "start": start})
        for delta in _deltas(block, rng):
            yield StreamEvent(Kind.DELTA, "contentBlockDelta", {"contentBlockIndex": index, "delta": delta})
        yield StreamEvent(Kind.BLOCK, "contentBlockStop", {"contentBlockIndex": index})
    stop: dict[str, object] = {"stopReason": answer.stop_reason}
    fields = _response_fields(answer, members)
    if fields:
        stop["additionalModelResponseFields"] = fields
    yield StreamEvent(Kind.STOP, "messageStop", stop)
    metadata: dict[str, object] = {"metrics": {"latencyMs": answer.latency_ms}, "usage": usage(answer)}
    yield StreamEvent(Kind.METADATA, "metadata", {**metadata, **_echoes(answer, members)})


def _deltas(block: Block, rng: random.Random) -> Iterator[dict[str, object]]:
    match block:
        case Text():
            for one in block.citations:
                yield {"citation": _cited(one)}
            for token in block.tokens:
                yield {"text": token}
        case Reasoning():
            for token in block.tokens:
                yield {"reasoningContent": {"text": token}}
            yield {"reasoningContent": {"signature": block.signature}}
        case RedactedReasoning():
            yield {"reasoningContent": {"redactedContent": _blob(block.data)}}
        case ToolUse():
            for fragment in argument_fragments(block, rng):
                yield {"toolUse": {"input": fragment}}


def argument_fragments(block: ToolUse, rng: random.Random) -> Iterator[str]:
    """A tool's input as JSON text in pieces; the first is often empty, and may be the only one."""
    if not block.arguments or rng.random() < 0.5:
        yield ""
    if block.arguments:
        text = msgspec.json.encode(block.arguments).decode()
        at = 0
        while at < len(text):
            length = rng.randrange(1, 2 * _FRAGMENT_CHARACTERS)
            yield text[at : at + length]
            at += length
