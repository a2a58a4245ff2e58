"""What the built-in plugins may be told: their config Structs, and where each may stand.

They stand here and not beside the plugins because the loader needs them to check a file, and
`stargate check` should not need the plugins' code. A third party's plugin brings its own Struct; the rules
are those of schema.py.
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from stargate_core.config.bedrock_proxy import AwsCredentials as AwsCredentials
from stargate_core.config.bedrock_proxy import BedrockProxy as BedrockProxy
from stargate_core.config.bedrock_proxy import ModelTarget as ModelTarget
from stargate_core.config.bedrock_proxy import Retry as Retry
from stargate_core.config.cors import Cors as Cors
from stargate_core.config.ip_restriction import IpRestriction as IpRestriction
from stargate_core.config.jwt_auth import JwtAuth as JwtAuth
from stargate_core.config.problems import Misfit, Path, refuse
from stargate_core.config.rate_limiter import RateLimiter as RateLimiter
from stargate_core.config.request_size import RequestSize as RequestSize
from stargate_core.config.response_cache import ResponseCache as ResponseCache
from stargate_core.config.response_store import ResponseStore as ResponseStore
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


# ------------------------------------------------------------------------------------------- request-logger


class RequestLogger(msgspec.Struct, frozen=True, kw_only=True):
    """Where log records go: JSON lines, metadata only."""

    path: Text = "/dev/stdout"


# --------------------------------------------------------------------------------------- response-transform

JsonType: TypeAlias = Literal["string", "number", "boolean"]
Pair: TypeAlias = Annotated[
    str, Meta(max_length=8192, pattern=r"^[^:\s][^:]*:", description='a text of the form "name:value"')
]


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """Headers and JSON fields to remove."""

    headers: list[HeaderName] = field(default_factory=list[str])
    json: list[Text] = field(default_factory=list[str])


class Renames(msgspec.Struct, frozen=True, kw_only=True):
    """Headers and JSON fields to rename, each as "old:new"."""

    headers: list[Pair] = field(default_factory=list[str])
    json: list[Pair] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        for index, pair in enumerate(self.headers):
            for name in pair.split(":", 1):
                yield from _misfit_header(name.strip(), "", ("headers", index))
        for index, pair in enumerate(self.json):
            if not pair.partition(":")[2].strip():
                yield Misfit(("json", index), "expected a new name after the colon", pair)


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """Headers and JSON fields to set, each as "name:value"."""

    headers: list[Pair] = field(default_factory=list[str])
    json: list[Pair] = field(default_factory=list[str])
    json_types: list[JsonType] = field(default_factory=list[JsonType])
    """The type of each value in `json`; all strings if empty."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        for index, pair in enumerate(self.headers):
            name, _, value = pair.partition(":")
            yield from _misfit_header(name.strip(), value.strip(), ("headers", index))
        if not self.json_types:
            return
        if len(self.json_types) != len(self.json):
            message = f"expected as many types as json has values: {len(self.json)}"
            yield Misfit("json_types", message, beside=("json",))
            return
        for index, (pair, json_type) in enumerate(zip(self.json, self.json_types, strict=True)):
            value = pair.partition(":")[2].strip()
            if json_type == "boolean" and value not in ("true", "false"):
                yield Misfit(("json", index), "expected true or false after the colon", pair)
            if json_type == "number" and not re.fullmatch(
                r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", value
            ):
                yield Misfit(("json", index), "expected a number after the colon", pair)


class ResponseTransform(msgspec.Struct, frozen=True, kw_only=True):
    """What is changed in answers, in Kong's order: remove, rename, replace, add, append."""

    remove: Names = field(default_factory=Names)
    rename: Renames = field(default_factory=Renames)
    replace: Values = field(default_factory=Values)
    """Only where the name is there already."""
    add: Values = field(default_factory=Values)
    """Only where the name is not there yet."""
    append: Values = field(default_factory=Values)
    """Beside what is there already."""


def _misfit_header(name: str, value: str, field: Path) -> Iterator[Misfit]:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", name):
        yield Misfit(field, "expected the name of a header", name)
    if not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value):
        yield Misfit(field, "expected a header's value in Latin-1, on one line")


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
            PluginSchema("bedrock-proxy", BedrockProxy),
            PluginSchema("ip-restriction", IpRestriction),
            PluginSchema("rate-limiter", RateLimiter),
            PluginSchema("request-logger", RequestLogger),
            PluginSchema("request-size", RequestSize),
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
        "file-log": "request-logger",
        "http-log": "request-logger",
        "request-size-limiting": "request-size",
        "response-transformer": "response-transform",
        "rate-limiting": "rate-limiter",
        "ai-rate-limiting-advanced": "rate-limiter",
        "proxy-cache": "response-cache",
    }
)
"""Kong's plugins, and those of ours that do their work: for hints."""
