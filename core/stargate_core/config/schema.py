"""The configuration's schema: what a file may say, as types.

The form is Kong's declarative one without a database (`_format_version`, services, routes, consumers, plugins,
certificates), and a `gateway` block for what Kong keeps in its own settings file. Everything has a default, so the empty
file is a configuration.

Three rules hold for every Struct here and for plugins' own config Structs:

- The type is the specification. Ranges, patterns and choices are written as `msgspec.Meta` and `Literal`, and the loader
  (walk.py) reads them from there; a Meta's `description` says what is expected in words ("expected …").
- What types can't say, `__post_init__` checks and raises `Misfit`, so a Config built in code is as sound as a loaded one.
- A Struct with a class method `from_text` may also be written as one string: `listen: ["127.0.0.1:8080"]`.

Keys that Kong has and Stargate has no use for stand in `KONG_UNUSED` with a reason: they load, with a warning. The format
is described at https://docs.konghq.com/gateway/latest/production/deployment-topologies/db-less-and-declarative-config/
"""

import datetime
import enum
import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal, Self, TypeAlias

import msgspec
from msgspec import Meta, field

from stargate_core.config.addresses import Address, parse_address
from stargate_core.config.problems import Misfit, quoted
from stargate_core.secret import Secret

Seconds: TypeAlias = Annotated[
    float, Meta(gt=0, le=86_400, description="seconds, more than 0 and at most 86400")
]
Text: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=256, pattern=r"\S", description="a non-blank text")
]
Model: TypeAlias = Annotated[
    str, Meta(max_length=2048, pattern=r"^[^\s\x00-\x1f\x7f]+$", description="a model id without blanks")
]
ModelGlob: TypeAlias = Annotated[
    str,
    Meta(
        max_length=2048,
        pattern=r"^[^\s\[\]\x00-\x1f\x7f]+$",
        description="a model name or id, in which * stands for any text and ? for any character",
    ),
]
HeaderName: TypeAlias = Annotated[
    str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$", description="the name of a header")
]

_KEY_CHARS_MAX: Final = 4096
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_STORES: Final = ("memory", "redis", "rediss", "redis+cluster", "redis+sentinel")


def nanoseconds(seconds: float) -> int:
    """A limit from the configuration in the core's unit of time."""
    return round(seconds * 1_000_000_000)


# ------------------------------------------------------------------------------------------ the gateway's block


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """A listener's certificate. Each of the three is a file's path or the PEM text itself."""

    cert: Annotated[str, Meta(min_length=1)]
    key: Secret
    client_ca: str | None = None
    """If given, clients must show a certificate that this CA signed."""


class Listener(msgspec.Struct, frozen=True):
    """Where the gateway listens: `host:port`, `[ipv6]:port` or `unix:/path`, with or without TLS."""

    address: str
    tls: Tls | None = None

    def __post_init__(self) -> None:
        parse_address(self.address)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """A listener written as its address alone."""
        return cls(text)

    @property
    def endpoint(self) -> Address:
        """The address, parsed."""
        return parse_address(self.address)


class Store(msgspec.Struct, frozen=True):
    """Where counters and cached answers live. The URL may carry a password, so it isn't shown."""

    url: Secret = field(default_factory=lambda: Secret("memory:"))

    def __post_init__(self) -> None:
        scheme, colon, rest = self.url.reveal().partition(":")
        if not colon or scheme not in _STORES:
            raise Misfit("", "expected memory:, redis://, rediss://, redis+cluster:// or redis+sentinel://")
        if scheme == "memory" and rest:
            raise Misfit("", "expected nothing after memory:")
        if scheme != "memory" and not re.match(r"//[^/?#]+", rest):
            raise Misfit("", f"expected a host: {scheme}://host:port")

    @classmethod
    def from_text(cls, text: str) -> Self:
        """A store written as its URL."""
        return cls(Secret(text))

    @property
    def kind(self) -> str:
        """The URL's scheme: memory, redis, rediss, redis+cluster or redis+sentinel."""
        return self.url.reveal().partition(":")[0]


class TimeLimits(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How long each part of an exchange may take, in seconds. Each has its own error code."""

    connect: Seconds = 3.0
    """To Bedrock: TCP and TLS."""
    pool: Seconds = 5.0
    """Waiting for a free upstream connection."""
    first_token: Seconds = 60.0
    """From the call's last byte to the first meaningful event."""
    idle: Seconds = 60.0
    """Between two events of an answer."""
    total: Seconds = 600.0
    """The whole exchange, retries included."""
    client_head: Seconds = 10.0
    """A request's head, from its first byte."""
    client_body: Seconds = 60.0
    """Between two pieces of a request's body."""
    client_idle: Seconds = 75.0
    """Between two requests on one connection. More than the 60 s of AWS load balancers, which must be the first to close."""
    client_stall: Seconds = 60.0
    """How long a client may read nothing while bytes wait for it."""


class UpstreamPool(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How many connections to Bedrock are kept."""

    max_connections_per_endpoint: Annotated[int, Meta(ge=1, le=65_536)] = 1024
    max_idle: Annotated[int, Meta(ge=0, le=65_536)] = 256
    """Idle connections kept for each endpoint."""
    idle_seconds: Annotated[
        float,
        Meta(
            gt=0, lt=350, description="seconds, more than 0 and less than 350 (AWS NAT drops idle flows then)"
        ),
    ] = 300.0


class UpstreamTls(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How the upstream's certificate is judged."""

    ca: str | None = None
    """A file of CA certificates to trust instead of the system's."""
    verify: bool = True


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """Which exchanges are written out to be replayed later."""

    directory: str | None = None
    """None: no journal is written."""
    on: list[Literal["error", "all"]] = field(default_factory=lambda: ["error"])
    redact: bool = True


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway itself: listeners, limits, store."""

    listen: Annotated[list[Listener], Meta(min_length=1, max_length=64)] = field(
        default_factory=lambda: [Listener("127.0.0.1:8080")]
    )
    admin_listen: str | None = None
    """Metrics, the status page. None: no admin listener."""
    admin_token: Secret | None = None
    store: Store = field(default_factory=Store)
    workers: Annotated[int, Meta(ge=1, le=1024)] = 1
    per_worker_limits: bool = False
    """With several workers and the memory store every worker counts for itself; true says that this is meant."""
    max_body_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 33_554_432
    """Images and PDFs are the first thing people send; 8 KiB (Kong) and 32 KiB (Envoy) are their first failure."""
    max_head_bytes: Annotated[int, Meta(ge=1024, le=1 << 20)] = 65_536
    """Envoy allows 60 KiB; short-term Bedrock keys alone take several."""
    max_connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    drain_seconds: Annotated[float, Meta(ge=0, le=86_400, description="seconds from 0 to 86400")] = 30.0
    keepalive_seconds: Seconds = 15.0
    """A silent stream gets a keep-alive this often; AWS load balancers close at 60 s of silence."""
    time_limits: TimeLimits = field(default_factory=TimeLimits)
    pool: UpstreamPool = field(default_factory=UpstreamPool)
    upstream_tls: UpstreamTls = field(default_factory=UpstreamTls)
    http_codec: Literal["fast", "reference"] = "fast"
    """fast: httptools; reference: h11."""
    journal: Journal = field(default_factory=Journal)

    def __post_init__(self) -> None:
        if self.admin_listen is not None:
            parse_address(self.admin_listen, "admin_listen")


# ------------------------------------------------------------------------------------------------------ plugins


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
        "consumer_group": "Stargate has no consumer groups as plugin scopes",
        "ordering": "a plugin's priority orders it",
    }

    name: Text
    enabled: bool = True
    config: msgspec.Struct = field(default_factory=NoConfig)
    """The plugin's own config Struct, decoded and checked by the loader; of the type its PluginSchema names."""
    service: str | None = None
    route: str | None = None
    consumer: str | None = None
    instance_name: str | None = None
    tags: list[str] = field(default_factory=list[str])
    id: str | None = None


# ---------------------------------------------------------------------------------------------------- consumers


class KeyCredential(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway key: the key itself, or its SHA-256 (`stargate keys hash`), so that the file holds no secret."""

    KONG_UNUSED: ClassVar[Mapping[str, str]] = {"ttl": "use expires_at", "tags": "tag the consumer"}

    key: Secret | None = None
    key_sha256: (
        Annotated[
            str, Meta(pattern="^[0-9A-Fa-f]{64}$", description="the 64 hexadecimal digits of a SHA-256")
        ]
        | None
    ) = None
    expires_at: datetime.datetime | None = None
    disabled: bool = False
    id: str | None = None
    """A name for logs; without one they show the head of the digest."""

    def __post_init__(self) -> None:
        if (self.key is None) == (self.key_sha256 is None):
            raise Misfit("", "expected exactly one of key and key_sha256")
        if self.key is not None:
            text = self.key.reveal()
            if len(text) > _KEY_CHARS_MAX or not _VISIBLE.fullmatch(text):
                message = f"expected 1 to {_KEY_CHARS_MAX} visible ASCII characters without blanks, as a header carries them"
                raise Misfit("key", message)
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise Misfit("expires_at", "expected a time with an offset", "end it with Z for UTC")

    @property
    def sha256(self) -> str:
        """The key's SHA-256 in lower-case hexadecimal digits, however it was written."""
        if self.key is not None:
            return hashlib.sha256(self.key.reveal().encode()).hexdigest()
        return (self.key_sha256 or "").lower()


class Sigv4Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A key pair of the gateway's own, with which AWS SDKs sign their requests to it."""

    access_key_id: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9_]{4,128}$", description="4 to 128 letters, digits or _")
    ]
    secret_access_key: Secret
    expires_at: datetime.datetime | None = None
    disabled: bool = False

    def __post_init__(self) -> None:
        if not self.secret_access_key:
            raise Misfit("secret_access_key", "expected a secret, found nothing")
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise Misfit("expires_at", "expected a time with an offset", "end it with Z for UTC")


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
    """What this consumer may call: names or ids, with * and ?. None: everything."""
    plugins: list[PluginEntry] = field(default_factory=list[PluginEntry])
    id: str | None = None


# ------------------------------------------------------------------------------------------- services and routes

Dialect: TypeAlias = Literal[
    "openai_chat",
    "openai_responses",
    "openai_embeddings",
    "openai_models",
    "anthropic_messages",
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
    paths: list[Annotated[str, Meta(max_length=2048)]] = field(default_factory=list[str])
    """A prefix that starts with /, or ~ and a regular expression, as in Kong 3."""
    methods: list[Annotated[str, Meta(pattern="^[A-Z]{1,32}$", description="a method in capitals")]] = field(
        default_factory=list[str]
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
        if not (self.paths or self.methods or self.hosts or self.headers):
            raise Misfit("", "expected at least one of paths, methods, hosts and headers")
        for path in self.paths:
            check_path(path)
        for host in self.hosts:
            if not re.fullmatch(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?(:[0-9]{1,5})?", host):
                raise Misfit("hosts", f"expected a host name, *.host or host.*, found {quoted(host)}")


def check_path(path: str) -> None:
    """Refuse what is neither a prefix nor a sound regular expression. Raises Misfit."""
    if path.startswith("/"):
        return
    if not path.startswith("~"):
        hint = f"write /{path}" if re.match(r"\w", path) else ""
        raise Misfit(
            "paths", f"expected a path that starts with /, or ~ and a pattern, found {quoted(path)}", hint
        )
    try:
        re.compile(path[1:])
    except (re.error, OverflowError, RecursionError) as error:
        hint = "name a group as (?P<name>…)" if "(?<" in path else ""
        raise Misfit("paths", f"expected a regular expression after ~: {error}", hint) from None


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

    name: Text | None = None
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
        if self.url is not None:
            check_url(self.url, "url")
            if self.protocol or self.host or self.port or self.path:
                raise Misfit("url", "expected either url, or protocol, host, port and path, found both")
        elif self.host is None and (self.protocol or self.port or self.path):
            raise Misfit("", "expected host beside protocol, port or path")

    @property
    def endpoint_url(self) -> str | None:
        """Where calls go instead of AWS, from `url` or from its parts; None for AWS."""
        if self.url is not None or self.host is None:
            return self.url
        port = f":{self.port}" if self.port else ""
        return f"{self.protocol or 'http'}://{self.host}{port}{self.path or ''}"


def check_url(url: str, name: str) -> None:
    """Refuse what is no plain http(s) URL of an endpoint. Raises Misfit; the URL isn't quoted, it may hold a password."""
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", url):
        raise Misfit(name, "expected http(s)://host:port without a user, a query or a fragment")
    host = url.partition("://")[2].partition("/")[0]
    try:
        parse_address(
            host if re.search(r":[0-9]*$", host) and not host.endswith("]") else f"{host}:443", name
        )
    except Misfit as misfit:
        raise Misfit(name, f"expected http(s)://host:port: {misfit.message}", misfit.hint) from None


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


# ---------------------------------------------------------------------------------------------------- the whole


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration. `Config()` is the gateway's block with its defaults and no plugin at all."""

    format_version: Literal["1.1", "2.1", "3.0"] = field(name="_format_version", default="3.0")
    gateway: Gateway = field(default_factory=Gateway)
    services: list[Service] = field(default_factory=list[Service])
    routes: list[Route] = field(default_factory=list[Route])
    consumers: list[Consumer] = field(default_factory=list[Consumer])
    plugins: list[PluginEntry] = field(default_factory=list[PluginEntry])
    certificates: list[Certificate] = field(default_factory=list[Certificate])
