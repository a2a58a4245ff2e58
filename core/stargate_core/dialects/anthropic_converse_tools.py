"""Tools: Anthropic's as Converse's toolConfig, and the names between them.

What Bedrock takes of names and schemas, and what stands in for the tools of a history, is told in
`converse_tools`.

Tools with a type of Anthropic's own (`web_search_20250305`, `bash_20250124`) are run by Anthropic, or known
to Claude by heart; to another model they are nothing.

Source: botocore's bedrock-runtime model (ToolConfiguration).
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Raw

from stargate_core.dialects.anthropic_converse_caching import Marks
from stargate_core.dialects.anthropic_converse_types import MessagesRequest, Tool, lacking
from stargate_core.dialects.converse import NOT_JSON
from stargate_core.dialects.converse_tools import changed_names, object_schema, safe_name, tool_spec
from stargate_core.faults import Cause, Refused, refuse
from stargate_core.secret import Private


class _Named(Private, msgspec.Struct):
    name: str | None = None
    type: str | None = None


class _Said(Private, msgspec.Struct):
    content: str | list[_Named] = ""


class _Names(Private, msgspec.Struct):
    tools: list[_Named] | None = None
    messages: list[_Said] | None = None


_NAMES: Final = msgspec.json.Decoder(_Names)


def tool_names(body: bytes) -> dict[str, str]:
    """The tool names of a request that Bedrock must be given otherwise: its name to the caller's."""
    try:
        said = _NAMES.decode(body)
    except NOT_JSON:
        return {}
    names = [tool.name for tool in said.tools or ()]
    for message in said.messages or ():
        if not isinstance(message.content, str):
            names += [block.name for block in message.content if block.type == "tool_use"]
    return changed_names(name for name in names if name)


def tool_config(request: MessagesRequest, used: Iterable[str], marks: Marks, *, drop: bool) -> dict[str, Any]:
    """The toolConfig; empty where there is no tool. used: the safe names of tools in the history.

    Raises Refused for a tool of Anthropic's own, a schema that is no object, and a choice of no tool that is
    there.
    """
    choice, history = request.tool_choice, tuple(used)
    specs: list[dict[str, Any]] = []
    names: set[str] = set()
    for at, tool in enumerate(request.tools or ()):
        if tool.type not in (None, "custom"):
            lacking(f"tools.{at}.type", f"`{tool.type}` is a tool of Anthropic's own", drop=drop)
            continue
        specs += [_spec(tool, f"tools.{at}"), *marks.points(tool.cache_control, tool=True)]
        names.add(tool.name)
    chosen: dict[str, Any] | None = None
    if choice is not None and choice.type == "tool":
        if choice.name not in names:
            raise _bad("tool_choice.name", "there is no such tool among the tools")
        chosen = {"tool": {"name": safe_name(choice.name)}}
    elif choice is not None and choice.type == "any":
        if not names:
            raise _bad("tool_choice", "`any` needs tools")
        chosen = {"any": {}}
    if not names:
        return {"tools": [tool_spec(name) for name in history]} if history else {}
    if choice is not None and choice.type == "none" and not history:
        return {}
    specs += marks.unasked(tool=True)
    return {"tools": specs} if chosen is None else {"tools": specs, "toolChoice": chosen}


def _spec(tool: Tool, param: str) -> dict[str, Any]:
    if not tool.name:
        raise _bad(f"{param}.name", "Field required")
    schema = _schema(tool, f"{param}.input_schema")
    return tool_spec(tool.name, tool.description, schema, strict=tool.strict)


def _schema(tool: Tool, param: str) -> Raw | dict[str, Any]:
    if not isinstance(tool.input_schema, Raw):
        raise _bad(param, "Field required")
    schema = object_schema(tool.input_schema)
    if schema is None:
        raise _bad(param, "Input should be a valid dictionary")
    return schema


def _bad(param: str, message: str) -> Refused:
    return refuse(Cause.BODY_INVALID, f"{param}: {message}", param=param)
