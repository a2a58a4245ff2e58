"""Converse's whole answer as a message of Anthropic's.

The blocks keep their order. What Anthropic has a block for is one: texts with their citations, thoughts with
their signatures, thoughts that only the vendor can read, calls of the caller's tools. Tools that Bedrock has
run by itself, and their results, are not the caller's to run, and are left out; so are blocks that say
nothing at all (gpt-oss begins with one), which Anthropic's clients would send back and be refused for.

A redacted thought is base64 to Converse of what Anthropic's API gives as it is, so it is decoded once. Other
vendors' may hold bytes that are no text; they stay in base64 behind a mark, by which the way back knows them
again (`redacted_data`, `redacted_content`).

Bedrock says which stop sequence has matched only where it was asked for it, and only Claude answers. A
request that has given no more than one needs not ask.

What a guardrail has told where it was asked to (`trace`), and members of the model's own answer that were
asked for, stand beside: Anthropic has no name for them, and its SDKs keep what they don't know.

Usage: both count tokens read from and written to the prompt cache apart.

Sources: anthropic-sdk-python src/anthropic/types/message.py, usage.py, text_citation.py, stop_reason.py;
botocore's bedrock-runtime model (ConverseResponse); recorded traffic.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from stargate_core.dialects.converse import (
    NOT_JSON,
    Answer,
    Citation,
    CitationsContent,
    ContentBlock,
    ReasoningContent,
    TokenUsage,
    ToolUse,
    any_json,
    garbled,
    token_count,
)
from stargate_core.dialects.face import Request
from stargate_core.secret import Private

STOP_REASONS: Final = {
    "end_turn": "end_turn",
    "stop_sequence": "stop_sequence",
    "max_tokens": "max_tokens",
    "tool_use": "tool_use",
    "content_filtered": "refusal",
    "guardrail_intervened": "refusal",
    "model_context_window_exceeded": "model_context_window_exceeded",
}
"""Bedrock's stop reasons as Anthropic's clients know them. The malformed ones are errors, and not here."""

_REFUSALS: Final = {
    "content_filtered": "Bedrock's content filter has withheld what the model said.",
    "guardrail_intervened": "A guardrail of Bedrock's has intervened.",
}
_TIERS: Final = {"default": "standard", "priority": "priority"}
_BINARY: Final = "base64:"
"""What stands before a redacted thought that is no text."""


class _Stops(Private, msgspec.Struct):
    stop_sequences: list[str] | None = None


class _Stopped(Private, msgspec.Struct):
    stop_sequence: str | None = None


_STOPPED: Final = msgspec.json.Decoder(_Stopped)
_STOPS: Final = msgspec.json.Decoder(_Stops)


def stop_members(reason: str, fields: Raw | None, request: Request, *, called: bool) -> dict[str, Any]:
    """The members that say why the model has stopped.

    A reason not known yet is told as it is. called: tools were called; some models end their turn with calls
    and say `end_turn`. fields: the additionalModelResponseFields.
    """
    told = STOP_REASONS.get(reason, reason)
    if called and told == "end_turn":
        told = "tool_use"
    sequence = _stop_sequence(fields, request.body) if told == "stop_sequence" else None
    members: dict[str, Any] = {"stop_reason": told, "stop_sequence": sequence}
    if reason in _REFUSALS:
        members["stop_details"] = {"type": "refusal", "category": None, "explanation": _REFUSALS[reason]}
    return members


def _stop_sequence(fields: Raw | None, body: bytes) -> str | None:
    """Which sequence has stopped the model; None: nobody knows."""
    try:
        told = None if fields is None else _STOPPED.decode(fields).stop_sequence
        sequences = _STOPS.decode(body).stop_sequences or ()
    except NOT_JSON:
        return None
    if told is not None:
        return told
    given = [sequence for sequence in sequences if sequence]
    return given[0] if len(given) == 1 else None


def told_beside(trace: Raw | None, fields: Raw | None) -> dict[str, Any]:
    """What Bedrock tells that Anthropic has no name for. Raises BadAnswer."""
    beside: dict[str, Any] = {}
    if trace is not None:
        beside["trace"] = any_json(bytes(trace), "trace")
    if fields is not None:
        told = any_json(bytes(fields), "additionalModelResponseFields")
        if not isinstance(told, dict) or told.keys() - {"stop_sequence"}:
            beside["additional_model_response_fields"] = told
    return beside


def usage_object(usage: TokenUsage | None) -> dict[str, Any]:
    """The usage, as Anthropic counts; all of it zero where it is not known."""
    counts = (usage or TokenUsage()).counts()
    told: dict[str, Any] = {
        "input_tokens": counts.input_tokens,
        "cache_creation_input_tokens": counts.cache_write_tokens,
        "cache_read_input_tokens": counts.cache_read_tokens,
        "output_tokens": counts.output_tokens,
    }
    if usage is not None and usage.cache_details:
        written = {"5m": 0, "1h": 0}
        for detail in usage.cache_details:
            if detail.ttl in written:
                written[detail.ttl] += token_count(detail.input_tokens)
        told["cache_creation"] = {
            f"ephemeral_{ttl}_input_tokens": tokens for ttl, tokens in sorted(written.items())
        }
    return told


def head(request: Request, model: str) -> dict[str, Any]:
    """The members that a message has before anything is said."""
    return {"id": f"msg_{request.request_id}", "type": "message", "role": "assistant", "model": model}


def message_object(answer: Answer, request: Request, model: str, names: Mapping[str, str]) -> dict[str, Any]:
    """The answer in Anthropic's form. names: Bedrock's name of a tool to the caller's. Raises BadAnswer."""
    blocks = [_block(block, names) for block in answer.output.message.content]
    content = [block for block in blocks if block is not None]
    called = any(block["type"] == "tool_use" for block in content)
    fields = answer.additional_model_response_fields
    stop = stop_members(answer.stop_reason, fields, request, called=called)
    usage = usage_object(answer.usage)
    tier = answer.service_tier.type if answer.service_tier is not None else None
    if tier in _TIERS:
        usage["service_tier"] = _TIERS[tier]
    beside = told_beside(answer.trace, fields)
    return {**head(request, model), "content": content, **stop, "usage": usage, **beside}


def _block(block: ContentBlock, names: Mapping[str, str]) -> dict[str, Any] | None:
    """One block; None: it says nothing to the caller."""
    if block.text is not None:
        return {"type": "text", "text": block.text} if block.text else None
    if block.tool_use is not None:
        return _tool_use(block.tool_use, names) if block.tool_use.is_callers else None
    if block.reasoning_content is not None:
        return _thought(block.reasoning_content)
    if block.citations_content is not None:
        return _cited(block.citations_content)
    return None


def _tool_use(use: ToolUse, names: Mapping[str, str]) -> dict[str, Any]:
    try:
        given = msgspec.json.decode(use.input)
    except NOT_JSON:
        raise garbled("toolUse.input: not JSON") from None
    if given is None or given == "":
        given = {}
    if not isinstance(given, dict):
        raise garbled("toolUse.input: no object")
    return {
        "type": "tool_use",
        "id": use.tool_use_id,
        "name": names.get(use.name, use.name),
        "input": given,
    }


def _thought(content: ReasoningContent) -> dict[str, Any] | None:
    if content.redacted_content is not None:
        return {"type": "redacted_thinking", "data": redacted_data(content.redacted_content)}
    thought = content.reasoning_text
    if thought is None or not (thought.text or thought.signature):
        return None
    return {"type": "thinking", "thinking": thought.text or "", "signature": thought.signature or ""}


def _cited(content: CitationsContent) -> dict[str, Any] | None:
    text = "".join([piece.text for piece in content.content or () if piece.text])
    told = [citation_object(citation) for citation in content.citations or ()]
    citations = [citation for citation in told if citation is not None]
    if citations:
        return {"type": "text", "text": text, "citations": citations}
    return {"type": "text", "text": text} if text else None


# ------------------------------------------------------------------------------------------ parts of a block


def citation_object(citation: Citation) -> dict[str, Any] | None:
    """A citation in Anthropic's form; None: its place is of no kind that has one."""
    cited = "".join([piece.text for piece in citation.source_content or () if piece.text])
    for kind, place in (citation.location or {}).items():
        start, end = place.get("start"), place.get("end")
        spot: dict[str, Any] = {"cited_text": cited}
        if kind == "web" and isinstance(place.get("url"), str):
            # Anthropic's own searches have an index that only Anthropic can read; it is required.
            web = {"url": place["url"], "title": citation.title, "encrypted_index": ""}
            return {"type": "web_search_result_location", **spot, **web}
        if not isinstance(start, int) or not isinstance(end, int):
            continue
        if kind == "searchResultLocation" and isinstance(place.get("searchResultIndex"), int):
            spot["search_result_index"] = place["searchResultIndex"]
            spot |= {"source": citation.source or "", "title": citation.title}
            return {
                "type": "search_result_location",
                **spot,
                "start_block_index": start,
                "end_block_index": end,
            }
        names = _DOCUMENT_PLACES.get(kind)
        if names is not None and isinstance(place.get("documentIndex"), int):
            spot |= {"document_index": place["documentIndex"], "document_title": citation.title}
            return {"type": names[0], **spot, names[1]: start, names[2]: end}
    return None


_DOCUMENT_PLACES: Final = {
    "documentChar": ("char_location", "start_char_index", "end_char_index"),
    "documentPage": ("page_location", "start_page_number", "end_page_number"),
    "documentChunk": ("content_block_location", "start_block_index", "end_block_index"),
}


def redacted_data(content: str) -> str:
    """A redacted thought of Converse's as Anthropic gives it. Raises BadAnswer where it is no base64."""
    try:
        data = binascii.a2b_base64(content, strict_mode=True)
    except ValueError:
        raise garbled("redactedContent: not base64") from None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = _BINARY
    return _BINARY + content if text.startswith(_BINARY) else text


def redacted_content(data: str) -> str:
    """The way back: what Converse is given of `redacted_data`'s."""
    if data.startswith(_BINARY):
        return data.removeprefix(_BINARY)
    return base64.b64encode(data.encode()).decode()
