"""The configuration's schema: what a file may say, as types.

The form is Kong's declarative one without a database (`_format_version`, services, routes, consumers,
plugins, certificates), and a `gateway` block for what Kong keeps in its own settings file. Everything has a
default, so the empty file is a configuration.

Three rules hold for every Struct here and for plugins' own config Structs:

- The type is the specification. Ranges, patterns and choices are written as `msgspec.Meta` and `Literal`,
  and the loader (walk.py) reads them from there; a Meta's `description` says what is expected in words
  ("expected …").
- What types can't say, `__post_init__` checks and raises `Misfit`, so a Config built in code is as sound as
  a loaded one.
- A Struct may also be written as one string if its `TEXT_FIELD` names the field for it:
  `listen: ["127.0.0.1:8080"]`.

Keys that Kong has and Stargate has no use for stand in `KONG_UNUSED` with a reason: they load, with a
warning. The format is described at
https://docs.konghq.com/gateway/latest/production/deployment-topologies/db-less-and-declarative-config/
"""

import datetime
import enum
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from stargate_core.config.addresses import parse_address
from stargate_core.config.gateway_block import Gateway as Gateway
from stargate_core.config.gateway_block import Journal as Journal
from stargate_core.config.gateway_block import Listener as Listener
from stargate_core.config.gateway_block import ModelGlob as ModelGlob
from stargate_core.config.gateway_block import ModelPrice as ModelPrice
from stargate_core.config.gateway_block import Store as Store
from stargate_core.config.gateway_block import TimeLimits as TimeLimits
from stargate_core.config.gateway_block import Tls as Tls
from stargate_core.config.gateway_block import UpstreamPool as UpstreamPool
from stargate_core.config.gateway_block import UpstreamTls as UpstreamTls
from stargate_core.config.gateway_block import nanoseconds as nanoseconds
from stargate_core.config.problems import HIDDEN, Misfit, Path, refuse
from stargate_core.secret import Secret

Text: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=256, pattern=r"\S", description="a non-blank text")
]
Model: TypeAlias = Annotated[
    str, Meta(max_length=2048, pattern=r"^[^\s\x00-\x1f\x7f]+\Z", description="a model id without blanks")
]
HeaderName: TypeAlias = Annotated[
    str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}\Z", description="the name of a header")
]

_KEY_CHARS_MAX: Final = 4096
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")


# -------------------------------------------------------------------------------------------------- plugins


class Scope(enum.Enum):
    """Where a plugin may stand."""

    GLOBAL = "global"
    SERVICE = "service"
    ROUTE = "route"
    CONSUMER = "consumer"


class PluginSchema(msgspec.Struct, frozen=True):
    """What the loader must know of a plugin: its name, the type of its config, where it may stand."""

    name: str
    config_type: type[msgspec.Struct]
    scopes: frozenset[Scope] = frozenset(Scope)


class NoConfig(msgspec.Struct, frozen=True, gc=False):
    """The config of a plugin that has none."""


class PluginEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One use of a plugin: everywhere, or for a service, a route, a consumer, or a mix of them."""

    KONG_UNUSED: ClassVar[Mapping[str, str]] = {
        "protocols": "Stargate speaks http and https",
        "consumer_group": "put the plugin below the group",
        "ordering": "a plugin's priority orders it",
    }

    name: Text
    enabled: bool = True
    config: msgspec.Struct = field(default_factory=NoConfig)
    """The plugin's own config Struct, decoded and checked by the loader: the type its PluginSchema names."""
    service: str | None = None
    route: str | None = None
    consumer: str | None = None
    instance_name: str | None = None
    tags: list[str] = field(default_factory=list[str])
    id: str | None = None


# ------------------------------------------------------------------------------------------------ consumers


class KeyCredential(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway key: the key itself, or its SHA-256, so that the file holds no secret."""

    KONG_UNUSED: ClassVar[Mapping[str, str]] = {"ttl": "use expires_at", "tags": "tag the consumer"}

    key: Secret | None = None
    key_sha256: (
        Annotated[
            str,
            Meta(
                pattern=r"^[0-9A-Fa-f]{64}\Z",
                description="the 64 hexadecimal digits of a SHA-256",
                extra=HIDDEN,
            ),
        ]
        | None
    ) = None
    expires_at: datetime.datetime | None = None
    disabled: bool = False
    models: list[ModelGlob] | None = None
    """What may be called with this key, of what its consumer may call. None: all of that."""
    id: str | None = None
    """A name for logs; without one they show the digest's last four digits."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        if (self.key is None) == (self.key_sha256 is None):
            yield Misfit("", "expected exactly one of key and key_sha256")
        if self.key is not None:
            text = self.key.reveal()
            if len(text) > _KEY_CHARS_MAX or not _VISIBLE.fullmatch(text):
                # Anything else couldn't arrive in a header.
                yield Misfit("key", f"expected 1 to {_KEY_CHARS_MAX} visible ASCII characters without blanks")
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            yield Misfit("expires_at", "expected a time with an offset", hint="end it with Z for UTC")

    @property
    def sha256(self) -> str:
        """The key's SHA-256 in lower-case hexadecimal digits, however it was written."""
        if self.key is not None:
            return hashlib.sha256(self.key.reveal().encode()).hexdigest()
        return (self.key_sha256 or "").lower()


class Sigv4Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A key pair of the gateway's own, with which AWS SDKs sign their requests to it."""

    access_key_id: Annotated[
        str,
        Meta(pattern=r"^[A-Za-z0-9_]{4,128}\Z", description="4 to 128 letters, digits or _", extra=HIDDEN),
    ]
    secret_access_key: Secret
    expires_at: datetime.datetime | None = None
    disabled: bool = False

    def __post_init__(self) -> None:
        if not self.secret_access_key:
            raise Misfit("secret_access_key", "expected a secret, not an empty text")
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise Misfit("expires_at", "expected a time with an offset", hint="end it with Z for UTC")


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may call: a team, a program, a person."""

    KONG_UNUSED: ClassVar[Mapping[str, str]] = {"acls": "use groups"}

    username: Text
    custom_id: str | None = None
    groups: list[Text] = field(default_factory=list[str])
    tags: list[str] = field(default_factory=list[str])
    keyauth_credentials: list[KeyCredential] = field(default_factory=list[KeyCredential])
    sigv4_credentials: list[Sigv4Credential] = field(default_factory=list[Sigv4Credential])
    models: list[ModelGlob] | None = None
    """What this consumer may call: names or ids, with * and ?. None: what its groups may, else everything."""
    plugins: list[PluginEntry] = field(default_factory=list[PluginEntry])
    id: str | None = None


class ConsumerGroup(msgspec.Struct, frozen=True, kw_only=True):
    """What consumers have in common: defaults for all whose `groups` name it (see callers.py)."""

    name: Text
    models: list[ModelGlob] | None = None
    """What members without `models` of their own may call. None: the group says nothing of models."""
    plugins: list[PluginEntry] = field(default_factory=list[PluginEntry])
    """As if they stood at each member."""
    tags: list[str] = field(default_factory=list[str])
    id: str | None = None


# -------------------------------------------------------------------------------------- services and routes

Dialect: TypeAlias = Literal[
    "openai_chat",
    "openai_responses",
    "openai_embeddings",
    "openai_models",
    "anthropic_messages",
    "anthropic_count_tokens",
    "bedrock_native",
]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests go a way of their own. At least one of paths, methods, hosts and headers is needed."""

    KONG_UNUSED: ClassVar[Mapping[str, str]] = {
        "protocols": "the listener decides between http and https",
        "preserve_host": "the upstream's host is always Bedrock's",
        "https_redirect_status_code": "Stargate does not redirect",
        "path_handling": "paths are joined as Kong's v0 does",
        "request_buffering": "a request is read whole, an answer is streamed",
        "response_buffering": "a request is read whole, an answer is streamed",
        "snis": "use hosts",
    }

    name: Text | None = None
    """Needed only where plugins stand at the route, or refer to it."""
    paths: list[Annotated[str, Meta(max_length=2048)]] = field(default_factory=list[str])
    """A prefix that starts with /, or ~ and a regular expression, as in Kong 3."""
    methods: list[Annotated[str, Meta(pattern=r"^[A-Z]{1,32}\Z", description="a method in capitals")]] = (
        field(default_factory=list[str])
    )
    hosts: list[Text] = field(default_factory=list[str])
    """Host names; one * may stand at the start or the end."""
    headers: dict[HeaderName, list[str]] = field(default_factory=dict[str, list[str]])
    strip_path: bool = True
    regex_priority: int = 0
    dialect: Dialect | None = None
    """What callers speak here; None: told from the rest of the path, as without routes."""
    service: str | None = None
    """For a route at the top level: the service it belongs to."""
    plugins: list[PluginEntry] = field(default_factory=list[PluginEntry])
    tags: list[str] = field(default_factory=list[str])
    id: str | None = None

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        if not (self.paths or self.methods or self.hosts or self.headers):
            yield Misfit("", "expected at least one of paths, methods, hosts and headers")
        if self.plugins and self.name is None:
            yield Misfit("", "expected a name, since plugins stand at this route")
        for index, path in enumerate(self.paths):
            yield from misfit_path(path, ("paths", index))
        for index, host in enumerate(self.hosts):
            if not re.fullmatch(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?(:[0-9]{1,5})?", host):
                yield Misfit(("hosts", index), "expected a host name, *.host or host.*", host)


def misfit_path(path: str, field: Path) -> Iterator[Misfit]:
    """What is wrong with a route's path: it is neither a prefix nor a sound regular expression."""
    if path.startswith("~"):
        try:
            re.compile(path[1:].encode())
        except (re.error, OverflowError, RecursionError) as error:
            hint = "name a group as (?P<name>…)" if "(?<" in path else str(error)
            yield Misfit(field, "expected a regular expression after ~", path, hint)
    elif not path.startswith("/"):
        hint = f"write /{path}" if re.match(r"\w", path) else ""
        yield Misfit(field, "expected a path that starts with /, or ~ and a pattern", path, hint)


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """Kong's service. The upstream is Bedrock, so its URL is needed only to send calls elsewhere."""

    KONG_UNUSED: ClassVar[Mapping[str, str]] = {
        "retries": "use bedrock-proxy's retry",
        "connect_timeout": "use gateway.time_limits.connect",
        "write_timeout": "use gateway.time_limits",
        "read_timeout": "use gateway.time_limits.idle",
        "ca_certificates": "use gateway.upstream_tls.ca",
        "tls_verify": "use gateway.upstream_tls.verify",
    }

    name: Text
    url: str | None = None
    """Where calls go instead of AWS: http(s)://host:port. Or written, as Kong allows, in parts:"""
    protocol: Literal["http", "https"] | None = None
    host: Text | None = None
    port: Annotated[int, Meta(ge=1, le=65_535)] | None = None
    path: Annotated[str, Meta(pattern="^/", description="a path that starts with /")] | None = None
    enabled: bool = True
    routes: list[Route] = field(default_factory=list[Route])
    plugins: list[PluginEntry] = field(default_factory=list[PluginEntry])
    tags: list[str] = field(default_factory=list[str])
    id: str | None = None

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        if self.url is not None:
            yield from misfit_url(self.url, "url")
            if self.protocol or self.host or self.port or self.path:
                yield Misfit("url", "expected either url, or protocol, host, port and path; not both")
        elif self.host is None and (self.protocol or self.port or self.path):
            yield Misfit("", "expected host beside protocol, port or path")

    @property
    def endpoint_url(self) -> str | None:
        """Where calls go instead of AWS, from `url` or from its parts; None for AWS."""
        if self.url is not None or self.host is None:
            return self.url
        port = f":{self.port}" if self.port else ""
        return f"{self.protocol or 'http'}://{self.host}{port}{self.path or ''}"


def misfit_url(url: str, field: str) -> Iterator[Misfit]:
    """What keeps a URL from being an endpoint's. The URL isn't quoted, it may hold a password."""
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", url):
        yield Misfit(field, "expected http(s)://host:port without a user, a query or a fragment")
        return
    host = url.partition("://")[2].partition("/")[0]
    try:
        parse_address(host if re.search(r":[0-9]*\Z", host) and not host.endswith("]") else f"{host}:443")
    except Misfit as misfit:
        yield Misfit(field, f"expected http(s)://host:port; {misfit.expected}")


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate for the names in `snis`. Both parts are a file's path or the PEM text itself."""

    KONG_UNUSED: ClassVar[Mapping[str, str]] = {
        "cert_alt": "give it as a certificate of its own",
        "key_alt": "give it as a certificate of its own",
    }

    cert: Annotated[str, Meta(min_length=1)]
    key: Secret
    snis: list[Text] = field(default_factory=list[str])
    tags: list[str] = field(default_factory=list[str])
    id: str | None = None


# ------------------------------------------------------------------------------------------------ the whole


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration. `Config()` is the gateway's block with its defaults and no plugin at all."""

    format_version: Literal["1.1", "2.1", "3.0"] = field(name="_format_version", default="3.0")
    gateway: Gateway = field(default_factory=Gateway)
    services: list[Service] = field(default_factory=list[Service])
    routes: list[Route] = field(default_factory=list[Route])
    consumers: list[Consumer] = field(default_factory=list[Consumer])
    consumer_groups: list[ConsumerGroup] = field(default_factory=list[ConsumerGroup])
    plugins: list[PluginEntry] = field(default_factory=list[PluginEntry])
    certificates: list[Certificate] = field(default_factory=list[Certificate])
