"""Tools: OpenAI's functions as Converse's toolConfig, and the names between them.

*Names.* Bedrock takes `[a-zA-Z0-9_-]{1,64}` and nothing else; names from MCP servers bear dots and
slashes. A name that does not fit becomes one that does, by a pure function of itself (so that the same
conversation gives the same request, turn by turn, and prompt caches keep working), and the answer gets
the original back. Ids of calls are treated alike; they appear only in the history, so nothing has to be
restored.

*A history with tools needs toolConfig.* Bedrock refuses `toolUse` and `toolResult` blocks without it.
Where the caller sends none any more, or says `tool_choice: "none"`, the tools of the history stand in;
nothing better than not asking for a call is possible then.

*Caching.* `cachePoint` stands behind a tool that is marked (`openai_chat_caching`).

Source: botocore's bedrock-runtime model (ToolConfiguration, ToolUseBlock).
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from stargate_core.dialects.openai_chat_caching import cache_point
from stargate_core.dialects.openai_chat_request import (
    AllowedToolsChoice,
    AssistantMessage,
    ChatRequest,
    Function,
    FunctionCall,
    FunctionTool,
    NamedTool,
)
from stargate_core.faults import Cause, refuse

NAME_CHARACTERS_MAX: Final = 64
_FITS: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_DOES_NOT_FIT: Final = re.compile(r"[^a-zA-Z0-9_-]")
_DIGEST_CHARACTERS: Final = 8

_NO_PARAMETERS: Final = Raw(b'{"type":"object","properties":{}}')
_MEMBERS: Final = msgspec.json.Decoder(dict[str, Raw])


def safe_name(name: str) -> str:
    """`name` if Bedrock takes it, else one that Bedrock takes, and that no other name becomes."""
    if _FITS.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    stem = _DOES_NOT_FIT.sub("_", name)[: NAME_CHARACTERS_MAX - 1 - _DIGEST_CHARACTERS]
    return f"{stem}_{digest}"


def renamed(request: ChatRequest) -> dict[str, str]:
    """The tool names of a request that Bedrock must be given otherwise: its name to the caller's."""
    names = [tool.function.name for tool in request.tools or () if isinstance(tool, FunctionTool)]
    for message in request.messages:
        if isinstance(message, AssistantMessage) and message.tool_calls:
            names += [call.function.name for call in message.tool_calls if isinstance(call, FunctionCall)]
    return {safe_name(name): name for name in names if not _FITS.fullmatch(name)}


def tool_config(request: ChatRequest, used: Iterable[str]) -> dict[str, Any] | None:
    """The toolConfig, or None where there is no tool. `used`: the safe names of tools in the history.

    Raises Refused for custom tools, a schema that is no object, and a choice of no tool that is there.
    """
    tools = _tools(request)
    choice = request.tool_choice
    history = tuple(used)
    if not tools:
        if choice not in (None, "none", "auto"):
            raise refuse(Cause.BODY_INVALID, "tool_choice is only allowed with tools", param="tool_choice")
        return {"tools": [_stand_in(name) for name in history]} if history else None
    if choice == "none" and not history:
        return None
    if isinstance(choice, AllowedToolsChoice):
        allowed = {tool.function.name for tool in choice.allowed_tools.tools}
        tools = {at: tool for at, tool in tools.items() if tool.function.name in allowed}
        if not tools:
            raise refuse(Cause.BODY_INVALID, "tool_choice allows none of the tools", param="tool_choice")
    specs: list[dict[str, Any]] = []
    for at, tool in tools.items():
        specs.append(_spec(tool.function, f"tools[{at}].function"))
        if tool.mark is not None:
            specs.append(cache_point(tool.mark))
    chosen = _choice(request, tools)
    return {"tools": specs} if chosen is None else {"tools": specs, "toolChoice": chosen}


def _stand_in(name: str) -> dict[str, Any]:
    """A tool of the history, of which nothing is known but its name."""
    return {"toolSpec": {"name": name, "inputSchema": {"json": _NO_PARAMETERS}}}


def _tools(request: ChatRequest) -> dict[int, FunctionTool]:
    tools: dict[int, FunctionTool] = {}
    for at, tool in enumerate(request.tools or ()):
        if not isinstance(tool, FunctionTool):
            raise refuse(
                Cause.BODY_INVALID,
                f"tools[{at}] is a custom tool; models on Bedrock call functions",
                param=f"tools[{at}].type",
            )
        tools[at] = tool
    return tools


def _spec(function: Function, param: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": safe_name(function.name)}
    if function.description and not function.description.isspace():
        spec["description"] = function.description
    spec["inputSchema"] = {"json": _schema(function, f"{param}.parameters")}
    if function.strict:
        spec["strict"] = True
    return {"toolSpec": spec}


def _schema(function: Function, param: str) -> Raw | dict[str, Any]:
    """The schema as it came; Bedrock wants `"type": "object"` at its top, which callers leave out."""
    raw = function.parameters
    if raw is UNSET:
        return _NO_PARAMETERS
    assert isinstance(raw, Raw)
    try:
        members = _MEMBERS.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        if bytes(raw) == b"null":
            return _NO_PARAMETERS
        raise refuse(Cause.BODY_INVALID, f"{param} must be an object", param=param) from None
    return raw if "type" in members else {"type": "object", **members}


def _choice(request: ChatRequest, tools: dict[int, FunctionTool]) -> dict[str, Any] | None:
    choice = request.tool_choice
    match choice:
        case None | "none" | "auto":
            return None
        case "required":
            return {"any": {}}
        case AllowedToolsChoice():
            return {"any": {}} if choice.allowed_tools.mode == "required" else None
        case NamedTool():
            name = choice.function.name
            if all(tool.function.name != name for tool in tools.values()):
                raise refuse(
                    Cause.BODY_INVALID,
                    "tool_choice names a tool that is not among the tools",
                    param="tool_choice.function.name",
                )
            return {"tool": {"name": safe_name(name)}}
        case _:
            raise refuse(
                Cause.BODY_INVALID,
                "tool_choice names a custom tool; models on Bedrock call functions",
                param="tool_choice",
            )
