"""Converse's whole answer as a `chat.completion`.

Texts are joined, whatever stands between them, and never dropped because there are tool calls too.
`content` is null only where there are calls and no text. Thoughts and citations have members of their own
(`openai_chat_blocks`). Tools that Bedrock has run by itself (`server_tool_use`) are no calls for the caller.

What OpenAI has no name for, and the caller has asked Bedrock for, stands beside the choices: `trace`, which
tells of guardrails and prompt routers, and `additional_model_response_fields`.

Usage: Bedrock counts tokens read from and written to its prompt cache apart, OpenAI counts them as part
of the prompt.

Source: openai-python src/openai/types/chat/chat_completion.py, completion_usage.py.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from stargate_core.dialects.converse import Answer, ContentBlock, any_json, garbled
from stargate_core.dialects.face import Request, Usage
from stargate_core.dialects.openai_chat_blocks import cited, thinking_blocks

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

TIERS: Final = frozenset({"default", "flex", "priority"})
"""Bedrock's service tiers that OpenAI's clients know."""


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
    message = _message(answer.output.message.content, names)
    completion = head(request, model, "chat.completion")
    completion["choices"] = [
        {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": finish_reason(answer.stop_reason, called="tool_calls" in message),
        }
    ]
    if answer.usage is not None:
        completion["usage"] = usage_object(answer.usage.counts())
    if answer.service_tier is not None and answer.service_tier.type in TIERS:
        completion["service_tier"] = answer.service_tier.type
    if answer.trace is not None:
        completion["trace"] = any_json(bytes(answer.trace), "trace")
    fields = answer.additional_model_response_fields
    if fields is not None:
        completion["additional_model_response_fields"] = any_json(
            bytes(fields), "additionalModelResponseFields"
        )
    return completion


def _message(content: Sequence[ContentBlock], names: dict[str, str]) -> dict[str, Any]:
    texts: list[str] = []
    length = 0
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    lists: dict[str, list[Any]] = {"thinking_blocks": [], "annotations": [], "citations": []}
    for block in content:
        if block.text is not None:
            texts.append(block.text)
            length += len(block.text)
        elif block.tool_use is not None:
            if block.tool_use.is_callers:
                calls.append(_call(block, names))
        elif block.reasoning_content is not None:
            thought = block.reasoning_content.reasoning_text
            if thought is not None and thought.text:
                thoughts.append(thought.text)
            lists["thinking_blocks"] += thinking_blocks(block.reasoning_content)
        elif block.citations_content is not None:
            said = "".join(piece.text or "" for piece in block.citations_content.content or ())
            texts.append(said)
            citations = block.citations_content.citations or ()
            annotations, others = cited(citations, length, length + len(said))
            length += len(said)
            lists["annotations"] += annotations
            lists["citations"] += others
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts or not calls else None,
        "refusal": None,
    }
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    message.update((name, told) for name, told in lists.items() if told)
    if calls:
        message["tool_calls"] = calls
    return message


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
