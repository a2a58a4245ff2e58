"""Prompt caching: up to where Bedrock is to keep what it has read of a prompt.

Bedrock caches a prompt up to each `cachePoint` in it, and nowhere else. A caller marks places
(`cache_control`, on a part, a message or a tool; `prompt_cache_breakpoint` on a part). Where it has marked
none at all, an operator may have the gateway do it (`prompt_caching: auto`): behind the tools and behind the
system text, which stay the same from turn to turn. Whoever marks one place knows all of them, and is not
interfered with.

A model that does not know cache points refuses the request, so the gateway sets its own only for models that
are known to take them. What a caller has marked goes to any model.

Sources: AWS's user guide, "Prompt caching for faster model inference", supported models; botocore's
bedrock-runtime model (CachePointBlock).
"""

from typing import Any, Final

from stargate_core.dialects.openai_chat_request import CacheControl
from stargate_core.dialects.reasoning import claude_version, is_claude

_TTLS: Final = frozenset({"5m", "1h"})
_CLAUDE_SINCE: Final = (3, 7)
_EARLIER_CLAUDES: Final = ("claude-3-5-haiku-20241022", "claude-3-5-sonnet-20241022")
_NOVAS: Final = (
    "amazon.nova-lite",
    "amazon.nova-micro",
    "amazon.nova-premier",
    "amazon.nova-pro",
    "amazon.nova-2-",
)


def cache_point(mark: CacheControl | None = None) -> dict[str, Any]:
    """The block that stands behind what is marked."""
    if mark is not None and mark.ttl in _TTLS:
        return {"cachePoint": {"type": "default", "ttl": mark.ttl}}
    return {"cachePoint": {"type": "default"}}


def caches_tools(model: str) -> bool:
    """Whether a model (an id or ARN) is known to take cache points among its tools."""
    if not is_claude(model):
        return False
    version = claude_version(model)
    recent = version is not None and version >= _CLAUDE_SINCE
    return recent or any(earlier in model for earlier in _EARLIER_CLAUDES)


def caches_system(model: str) -> bool:
    """Whether a model (an id or ARN) is known to take cache points behind its system text."""
    return caches_tools(model) or any(nova in model for nova in _NOVAS)


def marked_by_itself(body: dict[str, Any], model: str) -> dict[str, Any]:
    """A Converse body in which nothing is marked, marked where the gateway would."""
    marked = dict(body)
    if "system" in body and caches_system(model):
        marked["system"] = [*body["system"], cache_point()]
    if "toolConfig" in body and caches_tools(model):
        config = body["toolConfig"]
        marked["toolConfig"] = {**config, "tools": [*config["tools"], cache_point()]}
    return marked
