"""OpenAI's chat completions, as AWS serves them: `/openai/v1/chat/completions`.

The answer is the one that models with OpenAI's body give in InvokeModel, without Bedrock's own additions; the
stream is OpenAI's, a tool's arguments in pieces, the usage in a chunk of its own if it was asked for,
`[DONE]` at the end.

Source: openai-python, `types/chat/chat_completion_chunk.py`.
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from stargate.simulator import chat_completions
from stargate.simulator.chat_completions import chunk
from stargate.simulator.converse import argument_fragments
from stargate.simulator.dialogue import Answer, Block, Prompt, Reasoning, RedactedReasoning, Text, ToolUse
from stargate.simulator.events import Kind, StreamEvent
from stargate.simulator.json_tree import as_object
from stargate.simulator.openai_schema import check_chat


def read(body: Mapping[str, Any]) -> Prompt:
    """The prompt of a body. Raises Refusal."""
    check_chat(body)
    # OpenAI takes a null for every member that may be absent.
    prompt = chat_completions.read({name: value for name, value in body.items() if value is not None})
    form = as_object(body.get("response_format"))
    schema = as_object(as_object(form.get("json_schema")).get("schema"))
    thinking = body.get("reasoning_effort") not in (None, "none", "minimal")
    return msgspec.structs.replace(prompt, thinking=thinking, answer_schema=schema or None)


def document(answer: Answer, body: Mapping[str, Any]) -> dict[str, object]:
    """The answer's body."""
    found = chat_completions.document(answer, body, body["model"])
    return {**found, "usage": usage(answer), **_tier(body)}


def _tier(body: Mapping[str, Any]) -> dict[str, object]:
    tier = body.get("service_tier")
    return {} if tier is None else {"service_tier": "default" if tier == "auto" else tier}


def usage(answer: Answer) -> dict[str, object]:
    """The usage as OpenAI counts it: with what was read from a cache."""
    prompt_tokens = answer.input_tokens + answer.cache_read_tokens + answer.cache_write_tokens
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": prompt_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cache_read_tokens},
        "completion_tokens_details": {"reasoning_tokens": reasoning_tokens(answer)},
    }


def reasoning_tokens(answer: Answer) -> int:
    """How much of the answer was thought."""
    return sum(len(block.tokens) for block in answer.blocks if isinstance(block, Reasoning))


def stream(answer: Answer, body: Mapping[str, Any], rng: random.Random) -> Iterator[StreamEvent]:
    """The answer's stream."""
    model = body["model"]
    with_usage = bool(as_object(body.get("stream_options")).get("include_usage"))
    more: dict[str, object] = {**({"usage": None} if with_usage else {}), **_tier(body)}

    def piece(kind: Kind, delta: Mapping[str, object], finish: str | None = None) -> StreamEvent:
        made = chunk(kind, answer, model, delta, finish)
        return msgspec.structs.replace(made, payload={**made.payload, **more})

    yield piece(Kind.START, {"role": "assistant", "content": "", "refusal": None})
    calls = 0
    for block in answer.blocks:
        for delta in _deltas(block, calls, rng):
            yield piece(Kind.DELTA, delta)
        calls += isinstance(block, ToolUse)
    yield piece(Kind.STOP, {}, chat_completions.finish(answer))
    if with_usage:
        last = piece(Kind.METADATA, {})
        choices: list[object] = []
        payload = {**last.payload, "choices": choices, "usage": usage(answer)}
        yield msgspec.structs.replace(last, payload=payload)
    yield StreamEvent(Kind.END, "", {})


def _deltas(block: Block, index: int, rng: random.Random) -> Iterator[dict[str, object]]:
    match block:
        case Text():
            for token in block.tokens:
                yield {"content": token}
        case Reasoning():
            for token in block.tokens:
                yield {"reasoning": token}
        case RedactedReasoning():
            pass
        case ToolUse():
            function = {"name": block.name, "arguments": ""}
            opening = {"index": index, "id": f"call_{block.id}", "type": "function", "function": function}
            yield {"tool_calls": [opening]}
            fragments = [fragment for fragment in argument_fragments(block, rng) if fragment]
            for fragment in fragments or ["{}"]:
                yield {"tool_calls": [{"index": index, "function": {"arguments": fragment}}]}
