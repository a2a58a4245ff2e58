"""The `gateway` block: what Kong keeps in a settings file of its own.

Listeners, the store, limits of size and time. The defaults are meant for production behind an AWS load
balancer: body limits that let images and PDFs pass, keep-alives before the balancer's 60 s of silence, idle
connections given up before NAT forgets them at 350 s.
"""

import re
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from stargate_core.config.addresses import Address, parse_address
from stargate_core.config.clustered_url import CLUSTER, SENTINEL, ClusteredUrl, parse_clustered_url
from stargate_core.config.problems import Misfit
from stargate_core.config.store_url import TIMEOUT_MS_MAX, StoreServer, parse_store_url
from stargate_core.config.tracing import Tracing
from stargate_core.secret import Secret

Seconds: TypeAlias = Annotated[
    float, Meta(gt=0, le=86_400, description="seconds, more than 0 and at most 86400")
]
ModelGlob: TypeAlias = Annotated[
    str,
    Meta(
        max_length=2048,
        pattern=r"^[^\s\[\]\x00-\x1f\x7f]+\Z",
        description="a model name or id, in which * stands for any text and ? for any character",
    ),
]
Dollars: TypeAlias = Annotated[
    float, Meta(ge=0, le=1_000_000, description="US dollars for a million tokens, from 0 to 1000000")
]

_STORES: Final = ("memory", "redis", "rediss", "redis+cluster", "redis+sentinel")


def nanoseconds(seconds: float) -> int:
    """A limit from the configuration in the core's unit of time."""
    return round(seconds * 1_000_000_000)


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """A listener's certificate. Each of the three is a file's path or the PEM text itself."""

    cert: Annotated[str, Meta(min_length=1)]
    key: Secret
    client_ca: str | None = None
    """If given, clients must show a certificate that this CA signed."""


class Listener(msgspec.Struct, frozen=True):
    """Where the gateway listens: `host:port`, `[ipv6]:port` or `unix:/path`, with or without TLS."""

    TEXT_FIELD: ClassVar[str] = "address"

    address: str
    tls: Tls | None = None

    def __post_init__(self) -> None:
        parse_address(self.address)

    @property
    def endpoint(self) -> Address:
        """The address, parsed."""
        return parse_address(self.address)


class Store(msgspec.Struct, frozen=True):
    """Where counters and cached answers live: a URL, or a URL and how to speak to what it names.

    The URL may carry a password, so it isn't shown.
    """

    TEXT_FIELD: ClassVar[str] = "url"

    url: Secret = field(default_factory=lambda: Secret("memory:"))
    timeout_ms: Annotated[int, Meta(ge=1, le=TIMEOUT_MS_MAX)] = 50
    """The time limit on every question to the store; what happens then is each plugin's policy."""
    prefix: Annotated[
        str, Meta(max_length=64, pattern=r"^[!-~]*\Z", description="up to 64 visible ASCII characters")
    ] = "stargate:"
    """What the names of all keys in the store begin with: gateways with the same prefix share."""
    ca: str | None = None
    """A file of CA certificates to trust instead of the system's."""
    verify: bool = True
    """Whether the server must show a good certificate (rediss://)."""

    def __post_init__(self) -> None:
        scheme, colon, rest = self.url.reveal().partition(":")
        if not colon or scheme not in _STORES:
            raise Misfit("", "expected memory:, redis://, rediss://, redis+cluster:// or redis+sentinel://")
        if scheme == "memory" and rest:
            raise Misfit("", "expected nothing after memory:")
        if scheme != "memory" and not re.match(r"//[^/?#]+", rest):
            raise Misfit("", f"expected a host: {scheme}://host:port")
        if scheme in ("redis", "rediss"):
            self._parsed()
        elif scheme != "memory":
            self._parsed_cluster()

    @property
    def kind(self) -> str:
        """The URL's scheme: memory, redis, rediss, redis+cluster or redis+sentinel."""
        return self.url.reveal().partition(":")[0]

    @property
    def is_shared(self) -> bool:
        """Whether other gateways may count and keep in the same one."""
        return self.kind != "memory"

    @property
    def server(self) -> StoreServer | None:
        """The Redis server; None: it is memory, or several servers."""
        return self._parsed() if self.kind in ("redis", "rediss") else None

    @property
    def cluster(self) -> ClusteredUrl | None:
        """The Redis Cluster, or the Sentinels and their master; None: it is neither."""
        return self._parsed_cluster() if self.kind in (CLUSTER, SENTINEL) else None

    def _parsed_cluster(self) -> ClusteredUrl:
        return parse_clustered_url(self.url, timeout_ms=self.timeout_ms, ca=self.ca, verify=self.verify)

    def _parsed(self) -> StoreServer:
        return parse_store_url(self.url, timeout_ms=self.timeout_ms, ca=self.ca, verify=self.verify)


class Cache(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What may be held of Bedrock's answers; which ones are, `response-cache` says."""

    memory_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 40)] = 67_108_864
    """By each worker, for kept answers and for those that are being shared, bookkeeping included."""
    max_entry_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 4_194_304
    """The largest answer that is kept or can be joined; also how far a slow reader of a shared one may fall
    behind.
    """

    def __post_init__(self) -> None:
        if self.max_entry_bytes > self.memory_bytes:
            message = f"expected at most memory_bytes: {self.memory_bytes}"
            raise Misfit("max_entry_bytes", message, beside=("memory_bytes",))


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
    """Between two requests on one connection; longer than an AWS balancer's 60 s, which must close first."""
    client_stall: Seconds = 60.0
    """How long a client may read nothing while bytes wait for it."""


class UpstreamPool(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How many connections to Bedrock are kept."""

    max_connections_per_endpoint: Annotated[int, Meta(ge=1, le=65_536)] = 4096
    """Each call that runs has one: by default more than a processor carries streams."""
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


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a model costs, in US dollars for a million tokens."""

    input: Dollars
    output: Dollars = 0.0
    """Embeddings have none."""
    cache_read: Dollars | None = None
    """Input that Bedrock's prompt cache had; None: as other input."""
    cache_write: Dollars | None = None
    """Input that went into it; None: as other input."""


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests are written out, to be lived again later, and for how long they are kept."""

    directory: Annotated[str, Meta(min_length=1)] | None = None
    """None: nothing is recorded."""
    on: Annotated[list[Literal["error", "all"]], Meta(min_length=1)] = field(
        default_factory=lambda: ["error"]
    )
    """error: requests that are answered 5xx, break off within their answer, or meet a bug; all: every one."""
    redact: bool = True
    """Whether what was said is taken out, its lengths aside."""
    encrypt_to: (
        Annotated[
            str,
            Meta(
                pattern=r"^journal-public-[A-Za-z0-9_-]{43}\Z",
                description="the public key that `stargate keys journal` has printed",
            ),
        ]
        | None
    ) = None
    """Whoever has the private key can read them, and nobody else."""
    keep_days: Annotated[int, Meta(ge=1, le=3650)] = 14
    max_files: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    """Of more than so many the oldest are deleted."""
    max_per_minute: Annotated[int, Meta(ge=1, le=60_000)] = 60
    """By each worker: an outage must not keep it busy with journals."""
    memory_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 40)] = 67_108_864
    """By each worker, for requests that are running and calls that were shared; as much again may wait to be
    written.
    """
    max_journal_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 30)] = 16_777_216
    """What one request and its answer may take; of a larger one nothing is kept."""

    def __post_init__(self) -> None:
        if self.max_journal_bytes > self.memory_bytes:
            message = f"expected at most memory_bytes: {self.memory_bytes}"
            raise Misfit("max_journal_bytes", message, beside=("memory_bytes",))


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway itself: listeners, limits, store."""

    listen: Annotated[list[Listener], Meta(min_length=1, max_length=64)] = field(
        default_factory=lambda: [Listener("127.0.0.1:8080")]
    )
    admin_listen: str | None = None
    """Metrics, the status page. None: no admin listener."""
    admin_token: Secret | None = None
    store: Store = field(default_factory=Store)
    cache: Cache = field(default_factory=Cache)
    workers: Annotated[int, Meta(ge=1, le=1024)] = 1
    per_worker_limits: bool = False
    """With several workers and the memory store each worker counts for itself; true says: this is meant."""
    max_body_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 33_554_432
    """Images and PDFs come early; others' defaults of 8 KiB (Kong) or 32 KiB (Envoy) fail on them."""
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
    tracing: Tracing | None = None
    """None: no exchange is traced."""
    prices: dict[ModelGlob, ModelPrice] = field(default_factory=dict[str, ModelPrice])
    """What models cost here, before the shipped list; the first name that matches counts."""

    def __post_init__(self) -> None:
        if self.admin_listen is not None:
            parse_address(self.admin_listen, "admin_listen")
