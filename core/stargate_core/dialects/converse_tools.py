"""What Converse wants of tools, whichever API they come from.

*Names.* Bedrock takes `[a-zA-Z0-9_-]{1,64}` and nothing else; names from MCP servers bear dots and
slashes. A name that does not fit becomes one that does, by a pure function of itself (so that the same
conversation gives the same request, turn by turn, and prompt caches keep working), and the answer gets
the original back. Ids of calls are treated alike; they appear only in the history, so nothing has to be
restored.

*Schemas* go on as they came. Bedrock wants `"type": "object"` at their top, which callers leave out, and one
even for a tool without arguments.

*A history with tools needs toolConfig.* Bedrock refuses `toolUse` and `toolResult` blocks without it. Where
the caller sends no tools any more, or wants none to be used, those of the history stand in: specs of which
nothing is known but the name. Nothing better than not asking for a call is possible then.

Source: botocore's bedrock-runtime model (ToolConfiguration, ToolUseBlock).
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Raw

from stargate_core.dialects.converse import NOT_JSON

_NAME_CHARACTERS_MAX: Final = 64
_FITS: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_DOES_NOT_FIT: Final = re.compile(r"[^a-zA-Z0-9_-]")
_DIGEST_CHARACTERS: Final = 8

NO_PARAMETERS: Final = Raw(b'{"type":"object","properties":{}}')
"""The schema of a tool that takes nothing, or of which nothing is known."""
_MEMBERS: Final = msgspec.json.Decoder(dict[str, Raw])


def safe_name(name: str) -> str:
    """`name` if Bedrock takes it, else one that Bedrock takes, and that no other name becomes."""
    if _FITS.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    stem = _DOES_NOT_FIT.sub("_", name)[: _NAME_CHARACTERS_MAX - 1 - _DIGEST_CHARACTERS]
    return f"{stem}_{digest}"


def changed_names(names: Iterable[str]) -> dict[str, str]:
    """Those of a caller's names that Bedrock must be given otherwise: its name to the caller's."""
    return {safe: name for name in names if (safe := safe_name(name)) != name}


def object_schema(raw: Raw) -> Raw | dict[str, Any] | None:
    """A schema as Bedrock takes it; None where it is no object."""
    try:
        members = _MEMBERS.decode(raw)
    except NOT_JSON:
        return None
    return raw if "type" in members else {"type": "object", **members}


def tool_spec(
    name: str,
    description: str | None = None,
    schema: Raw | dict[str, Any] = NO_PARAMETERS,
    *,
    strict: bool | None = None,
) -> dict[str, Any]:
    """A tool that may be called, or that has been: then its name is all that is known."""
    spec: dict[str, Any] = {"name": safe_name(name)}
    if description and not description.isspace():
        spec["description"] = description
    spec["inputSchema"] = {"json": schema}
    if strict:
        spec["strict"] = True
    return {"toolSpec": spec}
