"""Said for the model: an answer of Converse's that no model has made, for words of a guardrail's own.

A prompt that is blocked before the call gets the answer which Bedrock gives where a guardrail has blocked
one: its words, and the stop reason `guardrail_intervened`. Made in Converse's form it goes through the
caller's translator like any answer, so each dialect tells it as it always would (`content_filter`,
`refusal`).

Source: AWS API reference, Converse and ConverseStream; the user guide, "Use a guardrail with Converse".
"""

from typing import Any, Final

import msgspec

from stargate_core.dialects.face import Headers
from stargate_core.wire.eventstream import encode_event

_STOP_REASON: Final = "guardrail_intervened"


def said_for(text: str, *, stream: bool) -> tuple[Headers, bytes]:
    """Headers and body of the answer that says this."""
    spent: dict[str, Any] = {
        "usage": {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0},
        "metrics": {"latencyMs": 0},
    }
    if not stream:
        message = {"role": "assistant", "content": [{"text": text}]}
        answer = {"output": {"message": message}, "stopReason": _STOP_REASON, **spent}
        return [(b"content-type", b"application/json")], msgspec.json.encode(answer)
    events: list[tuple[str, dict[str, Any]]] = [
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": _STOP_REASON}),
        ("metadata", spent),
    ]
    body = b"".join([encode_event(name, msgspec.json.encode(payload)) for name, payload in events])
    return [(b"content-type", b"application/vnd.amazon.eventstream")], body
