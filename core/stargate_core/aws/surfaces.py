"""Surfaces: Bedrock's APIs that can serve one and the same model, and how each of them is reached.

A model answers through one surface or several. Converse is Bedrock's own language for all of them;
InvokeModel hands a body to the model as its vendor has defined it; and there are the vendors' own APIs,
served by AWS at the runtime's host or at a host of their own (`bedrock-mantle`), which signs under a name of
its own. Asking the wrong surface gives a 404 or a 403 that says nothing of the reason, so which one is asked
is decided in one place: by the table below, which the configuration may change row by row.

A guardrail travels with each surface in another way: in Converse's body, in headers of InvokeModel and of the
runtime's vendor APIs, and with mantle not at all.

Sources: botocore/data/bedrock-runtime/2023-09-30; openai-python src/openai/providers/bedrock.py;
anthropic-sdk-python src/anthropic/lib/bedrock/_mantle.py; AWS's user guide ("Submit prompts with the Messages
API", "Use a guardrail with the OpenAI Chat Completions API").
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from stargate_core.aws.endpoints import Service


class Surface(enum.Enum):
    """Which of Bedrock's APIs serves a model."""

    __hash__ = object.__hash__
    """Members are looked up in tables with every request, and an enum's own hash is a function in Python."""

    CONVERSE = "converse"
    INVOKE = "invoke"
    OPENAI = "openai"
    """OpenAI's API at the runtime's host: chat completions and responses."""
    ANTHROPIC = "anthropic"
    """Anthropic's Messages API at the runtime's host."""
    MANTLE_OPENAI = "mantle_openai"
    MANTLE_ANTHROPIC = "mantle_anthropic"


class GuardrailWay(enum.Enum):
    """How a guardrail travels with a call."""

    BODY = "body"
    """As `guardrailConfig`, beside Converse's other members."""
    HEADERS = "headers"
    """As `X-Amzn-Bedrock-GuardrailIdentifier` and its like."""
    NONE = "none"
    """Not at all: a call that asks for one is refused."""


class SurfaceSpec(msgspec.Struct, frozen=True):
    """How one surface is reached, and which models it serves."""

    service: Service
    """Whose host it is."""
    path: str
    """What stands before its operations' paths."""
    signing_name: str
    guardrail: GuardrailWay
    models: tuple[str, ...] = ()
    """Globs of the model ids that are best served here, by callers whose API can use it at all."""
    url: str | None = None
    """Another place than the service's host; `{region}` stands for the region."""


_RUNTIME: Final[Service] = "bedrock-runtime"
_MANTLE: Final[Service] = "bedrock-mantle"

SURFACES: Final[Mapping[Surface, SurfaceSpec]] = MappingProxyType(
    {
        Surface.INVOKE: SurfaceSpec(
            _RUNTIME, "", "bedrock", GuardrailWay.HEADERS, models=("*anthropic.claude*",)
        ),
        Surface.CONVERSE: SurfaceSpec(_RUNTIME, "", "bedrock", GuardrailWay.BODY, models=("*",)),
        Surface.OPENAI: SurfaceSpec(_RUNTIME, "/openai/v1", "bedrock", GuardrailWay.HEADERS),
        Surface.ANTHROPIC: SurfaceSpec(_RUNTIME, "/anthropic/v1", "bedrock", GuardrailWay.HEADERS),
        Surface.MANTLE_OPENAI: SurfaceSpec(_MANTLE, "/openai/v1", "bedrock-mantle", GuardrailWay.NONE),
        Surface.MANTLE_ANTHROPIC: SurfaceSpec(_MANTLE, "/anthropic/v1", "bedrock-mantle", GuardrailWay.NONE),
    }
)
"""The defaults, in the order in which a model's surface is looked for: the first row that names the model and
that the caller's API can use. Claude's own body loses nothing on InvokeModel; all else goes by Converse.
"""
