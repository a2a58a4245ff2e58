"""Prompt caching: up to where Bedrock is to keep what it has read of a prompt.

Bedrock caches a prompt up to each `cachePoint` in it, and nowhere else. A caller marks places
(`cache_control`, on a part, a message or a tool; `prompt_cache_breakpoint` on a part). Where it has marked
none at all, an operator may have the gateway do it (`prompt_caching: auto`): behind the tools and behind the
system text, which stay the same from turn to turn. Whoever marks one place knows all of them, and is not
interfered with.

A mark saves money and time and changes no answer, and a model that does not know cache points refuses the
whole request for one. So where a model is known not to cache, marks are left out. Amazon's Nova caches the
system text and the messages, but not the tools, and for no other time than its own. Claude is given a
caller's marks whatever its version, and so is a model behind an opaque name, of which nothing is known; the
gateway sets its own only for models that are known to take them.

Sources: AWS's user guide, "Prompt caching for faster model inference", supported models; botocore's
bedrock-runtime model (CachePointBlock).
"""

from collections.abc import Sequence
from typing import Any, Final

from stargate_core.dialects.openai_chat_request import CacheControl
from stargate_core.dialects.reasoning import claude_version, is_claude, is_opaque

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


def takes_points(model: str, *, tool: bool = False) -> bool:
    """Whether a model (an id or ARN) is given its callers' marks. tool: those among its tools."""
    if is_claude(model) or is_opaque(model):
        return True
    return caches_tools(model) if tool else caches_system(model)


def takes_lifetimes(model: str) -> bool:
    """Whether a model that is given marks is told how long its prompt is to be cached."""
    return takes_points(model, tool=True)


def marked_as_taken(body: dict[str, Any], model: str) -> dict[str, Any]:
    """A Converse body with its caller's marks, as far as the model takes them."""
    if takes_lifetimes(model):
        return body
    kept = takes_points(model)
    marked = dict(body)
    marked["messages"] = [
        {**message, "content": _bare(message["content"], kept=kept)} for message in body["messages"]
    ]
    if "system" in body:
        marked["system"] = _bare(body["system"], kept=kept)
    if "toolConfig" in body:
        config = body["toolConfig"]
        marked["toolConfig"] = {**config, "tools": _bare(config["tools"], kept=False)}
    return marked


def _bare(blocks: Sequence[dict[str, Any]], *, kept: bool) -> list[dict[str, Any]]:
    """Blocks without their points, or with points that tell no time."""
    bare: list[dict[str, Any]] = []
    for block in blocks:
        if "cachePoint" not in block:
            bare.append(block)
        elif kept:
            bare.append(cache_point())
    return bare


def marked_by_itself(body: dict[str, Any], model: str) -> dict[str, Any]:
    """A Converse body in which nothing is marked, marked where the gateway would."""
    marked = dict(body)
    if "system" in body and caches_system(model):
        marked["system"] = [*body["system"], cache_point()]
    if "toolConfig" in body and caches_tools(model):
        config = body["toolConfig"]
        marked["toolConfig"] = {**config, "tools": [*config["tools"], cache_point()]}
    return marked
