"""Guardrails: how a caller of a vendor's API names one, and how it travels on with a call.

A caller says it in the headers that AWS has for that (`X-Amzn-Bedrock-GuardrailIdentifier`,
`-GuardrailVersion`, `-Trace`), or in a member `guardrailConfig` of the body, as Converse has it; of both, the
member counts. An identifier without a version, or the other way round, protects nothing and is refused.

Where it travels is the surface's (aws/surfaces.py): in Converse's body, in headers, or not at all. A call
that asks for a guardrail which its surface cannot apply is refused: to leave it out would be to answer
unguarded.

Sources: botocore's bedrock-runtime model (GuardrailConfiguration, InvokeModelRequest); AWS's user guide, "Use
a guardrail with the OpenAI Chat Completions API".
"""

from typing import Any, ClassVar, Final, Literal

import msgspec

from stargate_core.aws.surfaces import GuardrailWay
from stargate_core.dialects.face import Headers, Request
from stargate_core.faults import Cause, refuse
from stargate_core.secret import Private

MEMBER: Final = "guardrailConfig"
_IDENTIFIER: Final = b"x-amzn-bedrock-guardrailidentifier"
_VERSION: Final = b"x-amzn-bedrock-guardrailversion"
_TRACE: Final = b"x-amzn-bedrock-trace"
HEADERS: Final = frozenset({_IDENTIFIER, _VERSION})
"""The headers that name one."""
_TRACES: Final = {"enabled", "disabled", "enabled_full"}


class Guardrail(Private, msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Which guardrail is to watch a call."""

    SHOWN: ClassVar[tuple[str, ...]] = ("guardrail_identifier", "guardrail_version")

    guardrail_identifier: str
    guardrail_version: str
    trace: Literal["enabled", "disabled", "enabled_full"] | None = None
    stream_processing_mode: Literal["sync", "async"] | None = None
    """Of streams, where the guardrail is in Converse's body."""


def guardrail_of(request: Request, member: Guardrail | None = None) -> Guardrail | None:
    """The guardrail that a request names. member: `guardrailConfig` of its body. Raises Refused."""
    if member is not None:
        return member
    if not request.has_any(HEADERS):
        return None  # As nearly always.
    identifier, version, trace = (request.header(name) for name in (_IDENTIFIER, _VERSION, _TRACE))
    if not identifier or not version:
        raise refuse(
            Cause.BODY_INVALID,
            "A guardrail needs both X-Amzn-Bedrock-GuardrailIdentifier and X-Amzn-Bedrock-GuardrailVersion",
        )
    told = None if trace is None else trace.decode("latin-1").lower()
    if told is not None and told not in _TRACES:
        raise refuse(Cause.BODY_INVALID, "X-Amzn-Bedrock-Trace is ENABLED, DISABLED or ENABLED_FULL")
    return msgspec.convert(
        {
            "guardrailIdentifier": identifier.decode("latin-1"),
            "guardrailVersion": version.decode("latin-1"),
            "trace": told,
        },
        Guardrail,
    )


def guardrail_config(guardrail: Guardrail, *, stream: bool) -> dict[str, Any]:
    """The guardrail as Converse's body has it."""
    config: dict[str, Any] = msgspec.to_builtins(guardrail)
    if not stream:
        config.pop("streamProcessingMode", None)
    return config


def guardrail_headers(guardrail: Guardrail | None, way: GuardrailWay) -> Headers:
    """The headers that bring it along. Raises Refused where the surface can't apply it."""
    if guardrail is None:
        return []
    if way is not GuardrailWay.HEADERS:
        raise refuse(
            Cause.BODY_INVALID,
            "This model's surface takes no guardrail; the call would be answered without it",
            param=MEMBER,
        )
    headers = [
        (_IDENTIFIER, guardrail.guardrail_identifier.encode()),
        (_VERSION, guardrail.guardrail_version.encode()),
    ]
    if guardrail.trace is not None:
        headers.append((_TRACE, guardrail.trace.upper().encode()))
    if not all(value.isascii() and value.decode().isprintable() for _, value in headers):
        raise refuse(
            Cause.BODY_INVALID, "The guardrail's name or version cannot stand in a header", param=MEMBER
        )
    return headers
