"""Tools: OpenAI's functions as Converse's toolConfig, and the names between them.

What Bedrock takes of names and schemas, and what stands in for the tools of a history, is told in
`converse_tools`. `cachePoint` stands behind a tool that is marked (`openai_chat_caching`).

Source: botocore's bedrock-runtime model (ToolConfiguration, ToolChoice).
"""

from collections.abc import Iterable
from typing import Any

from msgspec import UNSET, Raw

from stargate_core.dialects.converse_tools import (
    NO_PARAMETERS,
    changed_names,
    object_schema,
    safe_name,
    tool_spec,
)
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


def renamed(request: ChatRequest) -> dict[str, str]:
    """The tool names of a request that Bedrock must be given otherwise: its name to the caller's."""
    names = [tool.function.name for tool in request.tools or () if isinstance(tool, FunctionTool)]
    for message in request.messages:
        if isinstance(message, AssistantMessage) and message.tool_calls:
            names += [call.function.name for call in message.tool_calls if isinstance(call, FunctionCall)]
    return changed_names(names)


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
        return {"tools": [tool_spec(name) for name in history]} if history else None
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
    schema = _schema(function, f"{param}.parameters")
    return tool_spec(function.name, function.description, schema, strict=function.strict)


def _schema(function: Function, param: str) -> Raw | dict[str, Any]:
    raw = function.parameters
    if raw is UNSET:
        return NO_PARAMETERS
    assert isinstance(raw, Raw)
    schema = object_schema(raw)
    if schema is not None:
        return schema
    if bytes(raw) == b"null":
        return NO_PARAMETERS
    raise refuse(Cause.BODY_INVALID, f"{param} must be an object", param=param)


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
