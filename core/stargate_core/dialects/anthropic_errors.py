"""Anthropic's error envelope, in an HTTP answer and inside a stream.

    {"type": "error", "error": {"type": str, "message": str}, "request_id": str}

Inside a stream it is the event `error`, and the last one: anthropic-sdk-python raises for it. The types are a
closed set to most clients; each cause's is in the fault table. `message` holds Bedrock's own wording wherever
the gateway passes it on at all, because clients recover by it ("prompt is too long").

A status of Bedrock's own is kept where Anthropic has one for the type: an overloaded model is 529.

Sources: anthropic-sdk-python src/anthropic/_streaming.py, _client.py; https://docs.anthropic.com/en/api/errors.
"""

from typing import Any, Final

import msgspec

from stargate_core.dialects.face import Reply
from stargate_core.faults import Fault
from stargate_core.wire.sse import event

_JSON: Final = (b"content-type", b"application/json")


def envelope(fault: Fault, request_id: str) -> dict[str, Any]:
    """The fault in Anthropic's words."""
    error = {"type": fault.row.anthropic_type, "message": fault.text}
    return {"type": "error", "error": error, "request_id": request_id}


def failure(fault: Fault, request_id: str) -> Reply:
    """The fault as an HTTP answer."""
    row = fault.row
    return Reply(
        row.anthropic_status or row.status, [_JSON], msgspec.json.encode(envelope(fault, request_id))
    )


def in_band(fault: Fault, request_id: str) -> bytes:
    """The fault as the last event of a stream."""
    return event(b"error", msgspec.json.encode(envelope(fault, request_id)))
