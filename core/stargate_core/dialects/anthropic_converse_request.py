"""Anthropic's Messages request as the body of a Converse call, for models that are not reached otherwise."""

from collections.abc import Mapping
from typing import Any

from stargate_core.dialects.face import Fetched, Target
from stargate_core.dialects.guardrails import Guardrail
from stargate_core.faults import Cause, refuse


def converse_call_body(
    body: bytes, target: Target, guardrail: Guardrail | None, fetched: Mapping[str, Fetched], *, stream: bool
) -> bytes:
    """The body of the call to `target`. fetched: what was at the URLs of the request. Raises Refused."""
    raise refuse(Cause.HTTP_UNSUPPORTED)


def count_body(body: bytes, target: Target, fetched: Mapping[str, Fetched]) -> dict[str, Any]:
    """What CountTokens takes as `input.converse`. Raises Refused."""
    raise refuse(Cause.HTTP_UNSUPPORTED)


def tool_names(body: bytes) -> dict[str, str]:
    """The tool names of a request that Bedrock must be given otherwise: its name to the caller's."""
    return {}
