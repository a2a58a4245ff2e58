"""Marks of a prompt cache: Anthropic's `cache_control` as Converse's `cachePoint`.

A mark stands on a block at Anthropic, and behind it at Bedrock. It saves money and time and changes no
answer: so where a model is known not to cache, marks are left out. (Bedrock refuses the whole request for
one, and Claude Code marks every request.) Amazon's Nova caches the system text and the messages, but not the
tools, and for no other time than its own. Of a model behind an opaque name nothing is known; its callers'
marks are passed on.

Where the operator has the gateway say what to cache (`PromptCaching.AUTO`), and the caller has left no mark
at all, points are set behind the system text and behind the tools: the parts that every turn repeats.

Source: AWS's user guide, "Prompt caching for faster model inference".
"""

from typing import Any, Final

from stargate_core.dialects.anthropic_converse_types import CacheControl
from stargate_core.dialects.face import PromptCaching, Target
from stargate_core.dialects.openai_chat_caching import caches_system, caches_tools
from stargate_core.dialects.reasoning import is_claude

_TELLING: Final = ("foundation-model/", ":inference-profile/")
"""Kinds of ARN that bear the model's own name."""


def is_opaque(model: str) -> bool:
    """Whether a model is an ARN that does not say whose model it is."""
    return model.startswith("arn:") and not any(kind in model for kind in _TELLING)


class Marks:
    """The marks of one request on their way to one model."""

    __slots__ = ("_auto", "_nova", "_system", "_tools", "_untold", "seen")

    def __init__(self, target: Target) -> None:
        model = target.model
        self._system, self._tools = caches_system(model), caches_tools(model)
        self._nova = self._system and not self._tools
        self._untold = is_opaque(model) or is_claude(model)
        self._auto = target.options.prompt_caching is PromptCaching.AUTO
        self.seen = False
        """Whether the caller has left one."""

    def points(self, mark: CacheControl | None, *, tool: bool = False) -> list[dict[str, Any]]:
        """What stands behind a block that has this mark: a cachePoint, or nothing."""
        if mark is None:
            return []
        self.seen = True
        if not self._untold and not self._known(tool):
            return []
        if mark.ttl is None or self._nova:
            return [{"cachePoint": {"type": "default"}}]
        return [{"cachePoint": {"type": "default", "ttl": mark.ttl}}]

    def unasked(self, *, tool: bool = False) -> list[dict[str, Any]]:
        """What the gateway itself sets behind the system text, or the tools. All of the request is read."""
        if self._auto and not self.seen and self._known(tool):
            return [{"cachePoint": {"type": "default"}}]
        return []

    def _known(self, tool: bool) -> bool:
        return self._tools if tool else self._system
