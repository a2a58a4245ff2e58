"""What a caller of Messages says in headers, as members of a Converse call.

InvokeModel takes headers for how a call is to be served, and Converse members of its body:

    X-Amzn-Bedrock-PerformanceConfig-Latency    performanceConfig.latency
    X-Amzn-Bedrock-Service-Tier                 serviceTier.type
    X-Amzn-Bedrock-Request-Metadata             requestMetadata: a JSON object of texts
    anthropic-user-profile-id                   requestMetadata.user_profile_id

A caller need not know which of the two a model is reached through, so both ways of saying it are taken, and
what the body says wins. Guardrails are told apart (`guardrails`), and betas are Claude's alone
(`anthropic_betas`).

Source: botocore's bedrock-runtime model (InvokeModelRequest, ConverseRequest).
"""

from typing import Any, Final

import msgspec

from stargate_core.dialects.converse import NOT_JSON
from stargate_core.dialects.face import Request
from stargate_core.faults import Cause, refuse

_LATENCY: Final = b"x-amzn-bedrock-performanceconfig-latency"
_TIER: Final = b"x-amzn-bedrock-service-tier"
_METADATA: Final = b"x-amzn-bedrock-request-metadata"
_USER_PROFILE: Final = b"anthropic-user-profile-id"
_LATENCIES: Final = ("standard", "optimized")
TIERS: Final = ("default", "priority", "flex", "reserved")
"""Bedrock's own."""
_PAIRS: Final = msgspec.json.Decoder(dict[str, str])


def members_of_headers(request: Request) -> dict[str, Any]:
    """The members that stand for a request's headers. Raises Refused for a value that Bedrock has not."""
    members: dict[str, Any] = {}
    latency = _one_of(request, _LATENCY, "X-Amzn-Bedrock-PerformanceConfig-Latency", _LATENCIES)
    if latency is not None:
        members["performanceConfig"] = {"latency": latency}
    tier = _one_of(request, _TIER, "X-Amzn-Bedrock-Service-Tier", TIERS)
    if tier is not None:
        members["serviceTier"] = {"type": tier}
    pairs: dict[str, str] = {}
    metadata = request.header(_METADATA)
    if metadata is not None:
        try:
            pairs = _PAIRS.decode(metadata)
        except NOT_JSON:
            raise refuse(
                Cause.BODY_INVALID, "X-Amzn-Bedrock-Request-Metadata is a JSON object of texts"
            ) from None
    profile = request.header(_USER_PROFILE)
    if profile:
        pairs.setdefault("user_profile_id", profile.decode("latin-1"))
    if pairs:
        members["requestMetadata"] = pairs
    return members


def _one_of(request: Request, name: bytes, told: str, values: tuple[str, ...]) -> str | None:
    value = request.header(name)
    if value is None:
        return None
    text = value.decode("latin-1").lower()
    if text not in values:
        raise refuse(Cause.BODY_INVALID, f"{told} is one of {', '.join(values)}")
    return text
