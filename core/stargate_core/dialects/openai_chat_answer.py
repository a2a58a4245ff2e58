"""Converse's whole answer as a `chat.completion`.

Texts are joined, whatever stands between them, and never dropped because there are tool calls too.
`content` is null only where there are calls and no text. Thoughts become `reasoning_content`, the
de-facto member for them. Tools that Bedrock has run by itself (`server_tool_use`) are no calls for the
caller.

Usage: Bedrock counts tokens read from and written to its prompt cache apart, OpenAI counts them as part
of the prompt.

Source: openai-python src/openai/types/chat/chat_completion.py, completion_usage.py.
"""

from typing import Any, Final

import msgspec

from stargate_core.dialects.converse import Answer, ContentBlock, garbled
from stargate_core.dialects.face import Request, Usage

FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "model_context_window_exceeded": "length",
}
"""Bedrock's stop reasons as OpenAI's clients know them. The malformed ones are errors, and not here."""

_TIERS: Final = frozenset({"default", "flex", "priority"})


def finish_reason(stop_reason: str, *, called: bool) -> str:
    """The finish_reason. One not known yet is a `stop`: clients parse a closed set. The log has it raw.

    called: tools were called. Some models end their turn with calls and say `end_turn`.
    """
    reason = FINISH_REASONS.get(stop_reason, "stop")
    return "tool_calls" if called and reason == "stop" else reason


def usage_object(usage: Usage) -> dict[str, Any]:
    """The usage, as OpenAI counts."""
    prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": usage.output_tokens,
        "total_tokens": prompt + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
    }


def head(request: Request, model: str, kind: str) -> dict[str, Any]:
    """The members that an answer and every chunk of a stream have in common."""
    return {
        "id": f"chatcmpl-{request.request_id}",
        "object": kind,
        "created": request.created_seconds,
        "model": model,
    }


def chat_completion(answer: Answer, request: Request, model: str, names: dict[str, str]) -> dict[str, Any]:
    """The answer in OpenAI's form. names: Bedrock's name of a tool to the caller's. Raises BadAnswer."""
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for block in answer.output.message.content:
        if block.text is not None:
            texts.append(block.text)
        elif block.tool_use is not None:
            if block.tool_use.is_callers:
                calls.append(_call(block, names))
        elif block.reasoning_content is not None:
            thought = block.reasoning_content.reasoning_text
            if thought is not None and thought.text:
                thoughts.append(thought.text)
        elif block.citations_content is not None:
            texts += [piece.text for piece in block.citations_content.content or () if piece.text]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts or not calls else None,
        "refusal": None,
    }
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    completion = head(request, model, "chat.completion")
    completion["choices"] = [
        {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": finish_reason(answer.stop_reason, called=bool(calls)),
        }
    ]
    if answer.usage is not None:
        completion["usage"] = usage_object(answer.usage.counts())
    if answer.service_tier is not None and answer.service_tier.type in _TIERS:
        completion["service_tier"] = answer.service_tier.type
    return completion


def _call(block: ContentBlock, names: dict[str, str]) -> dict[str, Any]:
    use = block.tool_use
    assert use is not None
    try:
        # Only the white space changes: numbers keep the digits that the model wrote.
        arguments = msgspec.json.format(bytes(use.input), indent=-1).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise garbled("toolUse.input: not JSON") from None
    return {
        "id": use.tool_use_id,
        "type": "function",
        "function": {
            "name": names.get(use.name, use.name),
            "arguments": "{}" if arguments in {"null", '""'} else arguments,
        },
    }
