"""OpenAI's error envelope: one object, the same in an HTTP answer and inside a stream.

    {"error": {"message": str, "type": str, "param": str | null, "code": str | null}}

All four members are required by OpenAI's own schema. `code` is OpenAI's where it has one for the case,
else the gateway's. In a stream the envelope is a `data:` event of its own; openai-python raises APIError
for any event with a truthy `error`. No `[DONE]` follows it, because to that SDK `[DONE]`, like silence,
is success.

Sources: openai-openapi components.schemas.Error; openai-python src/openai/_streaming.py, _exceptions.py.
"""

from typing import Any

import msgspec

from stargate_core.dialects.face import Reply
from stargate_core.faults import Fault


def envelope(fault: Fault) -> dict[str, Any]:
    """The fault in OpenAI's words."""
    row = fault.row
    return {
        "error": {
            "message": fault.text,
            "type": row.openai_type,
            "param": fault.param,
            "code": row.openai_code or row.code,
        }
    }


def failure(fault: Fault) -> Reply:
    """The fault as an HTTP answer."""
    return Reply(
        fault.row.status, [(b"content-type", b"application/json")], msgspec.json.encode(envelope(fault))
    )


def in_band(fault: Fault) -> bytes:
    """The fault as the last event of a stream."""
    return b"data: " + msgspec.json.encode(envelope(fault)) + b"\n\n"
