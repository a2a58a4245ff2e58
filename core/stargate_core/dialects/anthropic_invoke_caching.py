"""Marks of the prompt cache that a caller has not set: behind the system text, and behind the tools.

Anthropic caches a prompt up to each block that bears `cache_control`, and nowhere else. Where a request
bears none at all, and the operator has the gateway say what to cache (`PromptCaching.AUTO`), the last system
text and the last tool are marked: what stands before them stays the same from turn to turn. Whoever has set
one mark knows where the others belong, and is not interfered with.

Only these two blocks are written anew. A system prompt that is a bare text becomes the one block that it
stands for. Left alone is what Anthropic takes no mark on: a blank text, a tool that is loaded later; and all
of a model that is not known to cache.

Source: https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching.
"""

from typing import Final

from msgspec import Raw

from stargate_core.dialects.anthropic_invoke_blocks import ARRAY, OBJECT, Members, encoded, opening, text_of
from stargate_core.dialects.converse import NOT_JSON
from stargate_core.dialects.openai_chat_caching import caches_tools

_MARK: Final = Raw(b'{"type":"ephemeral"}')


def mark_by_itself(sent: Members, model: str) -> None:
    """Mark a request that bears no mark, where the gateway would."""
    if not caches_tools(model):
        return
    system, tools = sent.get("system"), sent.get("tools")
    if system is not None and opening(system) == b'"':
        if (text_of(system) or "").strip():
            block = {"type": Raw(b'"text"'), "text": system, "cache_control": _MARK}
            sent["system"] = Raw(encoded([block]))
    elif system is not None:
        sent["system"] = _with_last_marked(system)
    if tools is not None:
        sent["tools"] = _with_last_marked(tools)


def _with_last_marked(raw: Raw) -> Raw:
    try:
        blocks = ARRAY.decode(raw)
        last = OBJECT.decode(blocks[-1]) if blocks else {}
    except NOT_JSON:
        return raw
    if not last:
        return raw
    blank = "text" in last and not (text_of(last["text"]) or "").strip()
    if blank or "defer_loading" in last:
        return raw
    last["cache_control"] = _MARK
    blocks[-1] = Raw(encoded(last))
    return Raw(encoded(blocks))
