"""What a caller says in Bedrock's headers, as members of a Converse call.

InvokeModel takes headers for how a call is to be served, and Converse members of its body:

    X-Amzn-Bedrock-PerformanceConfig-Latency    performanceConfig.latency
    X-Amzn-Bedrock-Service-Tier                 serviceTier.type
    X-Amzn-Bedrock-Request-Metadata             requestMetadata: a JSON object of texts

A caller of a vendor's API need not know which of the two a model is reached through, so the headers are taken
either way: here they become members, and where a surface takes headers they travel as they came
(`served_headers`), and members of the body that are Converse's own become headers (`headers_of_members`).
What a body says by itself wins. Guardrails are told apart (`guardrails`).

Source: botocore's bedrock-runtime model (InvokeModelRequest, ConverseRequest).
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import Raw

from stargate_core.dialects.converse import NOT_JSON
from stargate_core.dialects.face import Headers, Request
from stargate_core.dialects.openai_chat_request import invalid
from stargate_core.faults import Cause, refuse
from stargate_core.secret import Private

_LATENCY: Final = b"x-amzn-bedrock-performanceconfig-latency"
_TIER: Final = b"x-amzn-bedrock-service-tier"
_METADATA: Final = b"x-amzn-bedrock-request-metadata"
_SERVED: Final = frozenset({_LATENCY, _TIER, _METADATA})
_LATENCIES: Final = ("standard", "optimized")
TIERS: Final = ("default", "priority", "flex", "reserved")
"""Bedrock's own."""
_PAIRS: Final = msgspec.json.Decoder(dict[str, str])
_PAIRS_OR_NOT: Final = msgspec.json.Decoder(dict[str, str] | None)
PERFORMANCE: Final = "performanceConfig"
METADATA: Final = "requestMetadata"
MEMBERS: Final = frozenset({PERFORMANCE, METADATA})
"""Members of Converse's that InvokeModel has headers for."""


class _Performance(Private, msgspec.Struct):
    latency: Literal["standard", "optimized"]


_LATENCY_OF: Final = msgspec.json.Decoder(_Performance | None)


def served_headers(request: Request) -> Headers:
    """Those of a request's headers that say how Bedrock is to serve it, as they came."""
    return [(name, value) for name, value in request.headers if name in _SERVED]


def headers_of_members(request: Request, members: Mapping[str, Raw]) -> Headers:
    """The headers that stand for a request's headers and for members of its body. Raises Refused for a member
    that is not as Converse has it.
    """
    told: dict[bytes, bytes] = {}
    for name, value in served_headers(request):
        told.setdefault(name, value)
    try:
        if (raw := members.get(PERFORMANCE)) is not None and (latency := _LATENCY_OF.decode(raw)) is not None:
            told[_LATENCY] = latency.latency.encode()
        if (raw := members.get(METADATA)) is not None and (pairs := _PAIRS_OR_NOT.decode(raw)) is not None:
            told[_METADATA] = _as_header(pairs)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    return list(told.items())


def _as_header(pairs: dict[str, str]) -> bytes:
    """The pairs as JSON; a header has no place for what is beyond ASCII. Raises Refused."""
    encoded = msgspec.json.encode(pairs)
    if not encoded.isascii():
        raise refuse(Cause.BODY_INVALID, f"{METADATA}: only ASCII travels to this model", param=METADATA)
    return encoded


def members_of_headers(request: Request) -> dict[str, Any]:
    """The members that stand for a request's headers. Raises Refused for a value that Bedrock has not."""
    members: dict[str, Any] = {}
    if not request.has_any(_SERVED):
        return members  # As nearly always.
    latency = _one_of(request, _LATENCY, "X-Amzn-Bedrock-PerformanceConfig-Latency", _LATENCIES)
    if latency is not None:
        members["performanceConfig"] = {"latency": latency}
    tier = _one_of(request, _TIER, "X-Amzn-Bedrock-Service-Tier", TIERS)
    if tier is not None:
        members["serviceTier"] = {"type": tier}
    metadata = request.header(_METADATA)
    if metadata is not None:
        try:
            pairs = _PAIRS.decode(metadata)
        except NOT_JSON:
            raise refuse(
                Cause.BODY_INVALID, "X-Amzn-Bedrock-Request-Metadata is a JSON object of texts"
            ) from None
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
