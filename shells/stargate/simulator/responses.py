"""OpenAI's Responses API, as AWS serves it: `/openai/v1/responses`.

An answer is a list of items: thoughts, one message for each run of text, calls of functions. Its stream tells
each item's life: added, its parts and their deltas, done; every event bears its number, the last the whole
response, and nothing follows it (no `[DONE]`).

A response that is to be stored is remembered by its id alone: a later one may name it, and hears nothing of
it.

Source: openai-python, `types/responses/`; OpenAI's API reference, "Streaming events".
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from stargate.simulator.chat_api import reasoning_tokens
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
from stargate.simulator.events import Kind, StreamEvent
from stargate.simulator.json_tree import as_array, as_integer, as_object
from stargate.simulator.openai_schema import strings_of
from stargate.simulator.responses_schema import check_responses, items_of

Body = Mapping[str, Any]

_CREATED: Final = 1_767_225_600
_ECHOED: Final[Mapping[str, object]] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""Members of a response that repeat the request's, and what they are when the request has none."""
_INCOMPLETE: Final[Mapping[str, str]] = {
    "max_tokens": "max_output_tokens",
    "model_context_window_exceeded": "max_output_tokens",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}


def read(body: Body) -> Prompt:
    """The prompt of a body. Raises Refusal."""
    check_responses(body)
    items = items_of(body)
    users = [item for item in items if item["type"] == "message" and item["role"] == "user"]
    form = as_object(as_object(body.get("text")).get("format"))
    choice, tool_name = _choice(body.get("tool_choice"))
    return Prompt(
        text="\n".join(strings_of(users[-1]["content"])) if users else "",
        tool_results=tuple(
            " ".join(strings_of(item["output"])) for item in items if item["type"] == "function_call_output"
        )
        if items[-1]["type"] == "function_call_output"
        else (),
        attachments=tuple(_attachments(items[-1])),
        input_tokens=max(1, sum(count_tokens(body.get(name)) for name in ("input", "instructions", "tools"))),
        tools=tuple(
            Tool(tool["name"], tool.get("parameters") or {"type": "object"})
            for tool in as_array(body.get("tools"))
        ),
        choice=choice,
        tool_name=tool_name,
        tokens_max=as_integer(body.get("max_output_tokens")),
        thinking=as_object(body.get("reasoning")).get("effort") not in (None, "none", "minimal"),
        answer_schema=as_object(form.get("schema")) if form.get("type") == "json_schema" else None,
    )


def _attachments(item: Mapping[str, Any]) -> Iterator[str]:
    for part in map(as_object, as_array(item.get("content"))):
        if part.get("type") in ("input_image", "input_file"):
            yield str(part["type"]).removeprefix("input_")


def _choice(choice: Any) -> tuple[Choice, str]:
    match choice:
        case "none":
            return Choice.NONE, ""
        case "required" | {"type": "allowed_tools", "mode": "required"}:
            return Choice.ANY, ""
        case {"type": "function", "name": str(name)}:
            return Choice.ONE, name
        case _:
            return Choice.AUTO, ""


def skeleton(answer: Answer, body: Body) -> dict[str, object]:
    """The response as it stands before its first item."""
    echoed = {name: default if body.get(name) is None else body[name] for name, default in _ECHOED.items()}
    nothing: list[object] = []
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": _CREATED,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": body["model"],
        "output": nothing,
        "usage": None,
        **echoed,
    }


def document(answer: Answer, body: Body) -> dict[str, object]:
    """The answer's body: the response with all its items."""
    reason = _INCOMPLETE.get(answer.stop_reason)
    cached, written = answer.cache_read_tokens, answer.cache_write_tokens
    input_tokens = answer.input_tokens + cached + written
    return {
        **skeleton(answer, body),
        "status": "completed" if reason is None else "incomplete",
        "completed_at": _CREATED + 1 if reason is None else None,
        "incomplete_details": None if reason is None else {"reason": reason},
        "output": [_item(block, answer, index, body) for index, block in enumerate(answer.blocks)],
        "usage": {
            "input_tokens": input_tokens,
            "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
            "output_tokens": answer.output_tokens,
            "output_tokens_details": {"reasoning_tokens": reasoning_tokens(answer)},
            "total_tokens": input_tokens + answer.output_tokens,
        },
    }


def _id(kind: str, answer: Answer, index: int) -> str:
    return f"{kind}_{answer.id}{index:02x}"


def _item(
    block: Block, answer: Answer, index: int, body: Body, status: str = "completed"
) -> dict[str, object]:
    """An item as it stands when it is done; with the status `in_progress`, as it begins."""
    whole = status == "completed"
    match block:
        case Text():
            content = [_text(block.text)] if whole else []
            head = {"id": _id("msg", answer, index), "type": "message", "role": "assistant"}
            return {**head, "status": status, "content": content}
        case ToolUse():
            arguments = msgspec.json.encode(block.arguments).decode() if whole else ""
            head = {"id": _id("fc", answer, index), "type": "function_call", "call_id": f"call_{block.id}"}
            return {**head, "name": block.name, "arguments": arguments, "status": status}
        case Reasoning():
            text = block.text if whole else ""
            found = _reasoning(answer, index, block.signature, body)
            if text:
                kind = "summary" if _summarised(body) else "content"
                found[kind] = [
                    {"type": f"{'summary' if kind == 'summary' else 'reasoning'}_text", "text": text}
                ]
            return found
        case RedactedReasoning():
            return _reasoning(answer, index, block.data, body)


def _reasoning(answer: Answer, index: int, sealed: str, body: Body) -> dict[str, object]:
    nothing: list[object] = []
    found: dict[str, object] = {"id": _id("rs", answer, index), "type": "reasoning", "summary": nothing}
    if "reasoning.encrypted_content" in as_array(body.get("include")):
        found["encrypted_content"] = sealed
    return found


def _summarised(body: Body) -> bool:
    return as_object(body.get("reasoning")).get("summary") is not None


def _text(text: str) -> dict[str, object]:
    nothing: list[object] = []
    return {"type": "output_text", "text": text, "annotations": nothing, "logprobs": nothing}


def stream(answer: Answer, body: Body, rng: random.Random) -> Iterator[StreamEvent]:
    """The answer's stream: its events, numbered."""
    for number, event in enumerate(_events(answer, body, rng)):
        yield msgspec.structs.replace(event, payload={**event.payload, "sequence_number": number})


def _event(kind: Kind, name: str, /, **members: object) -> StreamEvent:
    return StreamEvent(kind, f"response.{name}", {"type": f"response.{name}", **members})


def _events(answer: Answer, body: Body, rng: random.Random) -> Iterator[StreamEvent]:
    beginning = skeleton(answer, body)
    yield _event(Kind.START, "created", response=beginning)
    yield _event(Kind.BLOCK, "in_progress", response=beginning)
    for index, block in enumerate(answer.blocks):
        begun = _item(block, answer, index, body, "in_progress")
        yield _event(Kind.BLOCK, "output_item.added", output_index=index, item=begun)
        place = {"item_id": begun["id"], "output_index": index}
        yield from _inside(block, place, body, rng)
        yield _event(
            Kind.BLOCK, "output_item.done", output_index=index, item=_item(block, answer, index, body)
        )
    whole = document(answer, body)
    yield _event(Kind.METADATA, str(whole["status"]), response=whole)


def _inside(
    block: Block, place: Mapping[str, object], body: Body, rng: random.Random
) -> Iterator[StreamEvent]:
    """What happens within an item."""
    match block:
        case Text():
            at = {**place, "content_index": 0}
            nothing: list[object] = []
            yield _event(Kind.BLOCK, "content_part.added", **at, part=_text(""))
            for token in block.tokens:
                yield _event(Kind.DELTA, "output_text.delta", **at, delta=token, logprobs=nothing)
            yield _event(Kind.BLOCK, "output_text.done", **at, text=block.text, logprobs=nothing)
            yield _event(Kind.BLOCK, "content_part.done", **at, part=_text(block.text))
        case ToolUse():
            whole = msgspec.json.encode(block.arguments).decode()
            fragments = [fragment for fragment in argument_fragments(block, rng) if fragment]
            for fragment in fragments or ["{}"]:
                yield _event(Kind.DELTA, "function_call_arguments.delta", **place, delta=fragment)
            yield _event(
                Kind.BLOCK, "function_call_arguments.done", **place, name=block.name, arguments=whole
            )
        case Reasoning():
            yield from _thinking(block, place, body)
        case RedactedReasoning():
            pass


def _thinking(block: Reasoning, place: Mapping[str, object], body: Body) -> Iterator[StreamEvent]:
    if _summarised(body):
        at = {**place, "summary_index": 0}
        part = {"type": "summary_text", "text": ""}
        yield _event(Kind.BLOCK, "reasoning_summary_part.added", **at, part=part)
        for token in block.tokens:
            yield _event(Kind.DELTA, "reasoning_summary_text.delta", **at, delta=token)
        yield _event(Kind.BLOCK, "reasoning_summary_text.done", **at, text=block.text)
        yield _event(Kind.BLOCK, "reasoning_summary_part.done", **at, part={**part, "text": block.text})
        return
    at = {**place, "content_index": 0}
    for token in block.tokens:
        yield _event(Kind.DELTA, "reasoning_text.delta", **at, delta=token)
    yield _event(Kind.BLOCK, "reasoning_text.done", **at, text=block.text)
