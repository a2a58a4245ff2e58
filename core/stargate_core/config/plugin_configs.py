"""What the built-in plugins may be told: their config Structs, and where each may stand.

They stand here and not beside the plugins because the loader needs them to check a file, and
`stargate check` should not need the plugins' code. A third party's plugin brings its own Struct; the rules
are those of schema.py.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final

import msgspec
from msgspec import Meta, field

from stargate_core.config.bedrock_guardrail import BedrockGuardrail as BedrockGuardrail
from stargate_core.config.bedrock_proxy import AwsCredentials as AwsCredentials
from stargate_core.config.bedrock_proxy import BedrockProxy as BedrockProxy
from stargate_core.config.bedrock_proxy import ModelTarget as ModelTarget
from stargate_core.config.bedrock_proxy import Retry as Retry
from stargate_core.config.cors import Cors as Cors
from stargate_core.config.guards import PiiRedactor as PiiRedactor
from stargate_core.config.guards import PromptGuard as PromptGuard
from stargate_core.config.ip_restriction import IpRestriction as IpRestriction
from stargate_core.config.jwt_auth import JwtAuth as JwtAuth
from stargate_core.config.problems import Misfit
from stargate_core.config.prompt_template import PromptTemplate as PromptTemplate
from stargate_core.config.rate_limiter import RateLimiter as RateLimiter
from stargate_core.config.request_logger import LogSink as LogSink
from stargate_core.config.request_logger import RequestLogger as RequestLogger
from stargate_core.config.request_size import RequestSize as RequestSize
from stargate_core.config.request_transform import RequestTransform as RequestTransform
from stargate_core.config.response_cache import ResponseCache as ResponseCache
from stargate_core.config.response_store import ResponseStore as ResponseStore
from stargate_core.config.response_transform import Names as Names
from stargate_core.config.response_transform import Renames as Renames
from stargate_core.config.response_transform import ResponseTransform as ResponseTransform
from stargate_core.config.response_transform import Values as Values
from stargate_core.config.schema import HeaderName, PluginSchema, Scope, Text

# --------------------------------------------------------------------------------------------- api-key-auth


class ApiKeyAuth(msgspec.Struct, frozen=True, kw_only=True):
    """Who is calling? Kong's key-auth, and AWS signatures made with `sigv4_credentials`."""

    key_names: Annotated[list[HeaderName], Meta(min_length=1, max_length=16)] = field(
        default_factory=lambda: ["authorization", "x-api-key", "api-key"]
    )
    """The headers a key may come in, in any case. `authorization` carries it as `Bearer KEY`."""
    hide_credentials: bool = True
    """Kept for Kong's files: inbound credentials never travel on, so only true is accepted."""
    anonymous: Text | None = None
    """The username of the consumer that a call without any key is taken for."""
    realm: Annotated[str, Meta(max_length=256, pattern=r'^[^"\\\x00-\x1f\x7f]*\Z')] = "stargate"
    """Named in WWW-Authenticate."""

    def __post_init__(self) -> None:
        if not self.hide_credentials:
            raise Misfit("hide_credentials", "expected true: a caller's key is never sent to Bedrock")


# --------------------------------------------------------------------------------------------- the registry

_NOT_CONSUMERS: Final = frozenset(Scope) - {Scope.CONSUMER}

BUILT_IN: Final[Mapping[str, PluginSchema]] = MappingProxyType(
    {
        schema.name: schema
        for schema in (
            # Who is calling is not known yet when these run, so they can't depend on it.
            PluginSchema("api-key-auth", ApiKeyAuth, _NOT_CONSUMERS),
            PluginSchema("jwt-auth", JwtAuth, _NOT_CONSUMERS),
            PluginSchema("cors", Cors, _NOT_CONSUMERS),
            PluginSchema("bedrock-guardrail", BedrockGuardrail),
            PluginSchema("bedrock-proxy", BedrockProxy),
            PluginSchema("ip-restriction", IpRestriction),
            PluginSchema("pii-redactor", PiiRedactor),
            PluginSchema("prompt-guard", PromptGuard),
            PluginSchema("prompt-template", PromptTemplate),
            PluginSchema("rate-limiter", RateLimiter),
            PluginSchema("request-logger", RequestLogger),
            PluginSchema("request-size", RequestSize),
            PluginSchema("request-transform", RequestTransform),
            PluginSchema("response-cache", ResponseCache),
            PluginSchema("response-store", ResponseStore),
            PluginSchema("response-transform", ResponseTransform),
        )
    }
)
"""The plugins that come with Stargate, by name."""

KONG_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "key-auth": "api-key-auth",
        "jwt": "jwt-auth",
        "openid-connect": "jwt-auth",
        "ai-proxy": "bedrock-proxy",
        "ai-proxy-advanced": "bedrock-proxy",
        "ai-prompt-guard": "prompt-guard",
        "ai-sanitizer": "pii-redactor",
        "file-log": "request-logger",
        "http-log": "request-logger",
        "request-size-limiting": "request-size",
        "request-transformer": "request-transform",
        "request-transformer-advanced": "request-transform",
        "response-transformer": "response-transform",
        "ai-prompt-template": "prompt-template",
        "ai-prompt-decorator": "prompt-template",
        "ai-aws-guardrails": "bedrock-guardrail",
        "rate-limiting": "rate-limiter",
        "ai-rate-limiting-advanced": "rate-limiter",
        "proxy-cache": "response-cache",
    }
)
"""Kong's plugins, and those of ours that do their work: for hints."""
