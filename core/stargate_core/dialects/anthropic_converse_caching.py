"""Marks of a prompt cache: Anthropic's `cache_control` as Converse's `cachePoint`.

A mark stands on a block at Anthropic, and behind it at Bedrock. Which models are given which marks is told in
`openai_chat_caching`.

Where the operator has the gateway say what to cache (`PromptCaching.AUTO`), and the caller has left no mark
at all, points are set behind the system text and behind the tools: the parts that every turn repeats.

Source: AWS's user guide, "Prompt caching for faster model inference".
"""

from typing import Any

from stargate_core.dialects.anthropic_converse_types import CacheControl
from stargate_core.dialects.face import PromptCaching, Target
from stargate_core.dialects.openai_chat_caching import (
    caches_system,
    caches_tools,
    takes_lifetimes,
    takes_points,
)


class Marks:
    """The marks of one request on their way to one model."""

    __slots__ = ("_auto", "_model", "seen")

    def __init__(self, target: Target) -> None:
        self._model = target.model
        self._auto = target.options.prompt_caching is PromptCaching.AUTO
        self.seen = False
        """Whether the caller has left one."""

    def points(self, mark: CacheControl | None, *, tool: bool = False) -> list[dict[str, Any]]:
        """What stands behind a block that has this mark: a cachePoint, or nothing."""
        if mark is None:
            return []
        self.seen = True
        if not takes_points(self._model, tool=tool):
            return []
        if mark.ttl is None or not takes_lifetimes(self._model):
            return [{"cachePoint": {"type": "default"}}]
        return [{"cachePoint": {"type": "default", "ttl": mark.ttl}}]

    def unasked(self, *, tool: bool = False) -> list[dict[str, Any]]:
        """What the gateway itself sets behind the system text, or the tools. All of the request is read."""
        if self._auto and not self.seen and self._known(tool):
            return [{"cachePoint": {"type": "default"}}]
        return []

    def _known(self, tool: bool) -> bool:
        return caches_tools(self._model) if tool else caches_system(self._model)
