"""What a world is like: drawn from its seed, before anything happens (swarm testing).

A world in which every fault strikes a little tests less than many in which a few strike hard and the others
not at all: what hides a bug is often another fault. So each feature is switched on or off for itself, and
what is on is turned up to a degree of its own.

`without` names features to be left out of a world that has them; all else stays drawn as it was. That is how
a failing world is made smaller.
"""

import random
from collections.abc import Sequence
from typing import Final

import msgspec

from sim.wires import Weather
from stargate.simulator.scenarios import SCENARIOS
from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.config.bedrock_proxy import CircuitBreaker, ModelTarget, ProxyTarget, RetryBudget
from stargate_core.config.gateway_block import Cache, Gateway, Store, TimeLimits, UpstreamPool
from stargate_core.config.plugin_configs import (
    ApiKeyAuth,
    BedrockProxy,
    RateLimiter,
    RequestLogger,
    ResponseCache,
    Retry,
)
from stargate_core.config.rate_limiter import Algorithm, Limit
from stargate_core.config.schema import Config, Consumer, KeyCredential, PluginEntry
from stargate_core.secret import Secret

CONSUMERS: Final = ("team-a", "team-b", "team-c")
KEYS: Final = {name: f"sk-{name}-s3cr3t-0123456789" for name in CONSUMERS}
CLAUDE: Final = "anthropic.claude-3-haiku-20240307-v1:0"
NOVA: Final = "amazon.nova-lite-v1:0"
TITAN: Final = "amazon.titan-embed-text-v2:0"
LIVE_KEYS: Final = {name: f"sk-live-{name}-s3cr3t-0123456789" for name in ("team-a", "team-b")}
"""Keys that live in the store, and come and go."""
REDIS_FAULTS: Final = ("slow", "errors", "closing", "silent", "wrong", "noscript")
CLIENT_KINDS: Final = ("polite", "slow", "pipelining", "leaving", "tearing", "smuggling", "dripping", "wrong")

_BEYOND: Final = frozenset({"oversize-line", "huge-headers", "oversize-frame"})
"""Scenarios whose megabytes would take more time than all the others together."""
_HARMLESS: Final = (
    "slow ms=5", "drip us=1", "unknown-events", "early-hints", "until-close", "close-after-answer",
    "close-on-reuse", "reasoning", "interleaved-reasoning", "redacted-reasoning", "empty-content",
)  # fmt: skip
FAULTS: Final[Sequence[str]] = tuple(
    name
    for name in SCENARIOS
    if name not in _BEYOND and not any(name == one.split()[0] for one in _HARMLESS) and name != "citations"
)
REFUSALS: Final = tuple(name for name in FAULTS if name.startswith("throw-"))
BREAKS: Final = tuple(name for name in FAULTS if not name.startswith("throw-"))
FEATURES: Final = (
    "limits", "cache", "retries", "failover", "breaker", "redis", "redis-faults", "scenarios", "oddities",
    "cuts", "resets", "refusals", "silence", "late", "rude", "reload", "drain", "credentials", "lateness",
    "keys", "lags",
)  # fmt: skip


_RARITY: Final = {
    "credentials": 0.4, "drain": 0.6, "limits": 0.8,
    "scenarios": 1.4, "oddities": 1.4, "rude": 1.4, "late": 1.4,
}  # fmt: skip
"""What leaves little else to be seen is switched on less often; what there is most of, more often."""


class Features(msgspec.Struct, kw_only=True):
    """Everything about a world but its chance."""

    on: frozenset[str]
    clients: int
    requests_max: int
    burst: bool
    """All clients come at once."""
    faults_until_ns: int
    codec: str
    kinds: tuple[str, ...]
    scenarios: tuple[str, ...]
    """Of which requests wish for one."""
    scenario_rate: float
    redis_faults: tuple[str, ...]
    redis_rate: float
    redis_ns: int
    """How long it takes for a command, at the longest, when nothing is wrong."""
    client_weather: Weather
    upstream_weather: Weather
    reset_rate: float
    refuse_rate: float
    silent_rate: float
    late_rate: float
    lateness_ns: int
    prompts: int
    """So many different prompts there are; 0: each is its own."""
    pool_max: int
    body_bytes_max: int
    connect_ns: int
    """How long a connection to Bedrock takes to open, at the longest."""
    targets: int
    retries: int
    limits: RateLimiter | None
    breaker: CircuitBreaker
    cache_scope: str
    first_token_ns: int
    pace: float

    def has(self, feature: str) -> bool:
        """Whether it is on."""
        return feature in self.on

    @property
    def clear(self) -> bool:
        """Whether nothing can go wrong on the way to Bedrock and back."""
        return not self.on & _TROUBLES


_TROUBLES: Final = frozenset(
    {
        "redis-faults",
        "scenarios",
        "resets",
        "refusals",
        "silence",
        "lags",
        "late",
        "drain",
        "credentials",
        "lateness",
    }
)


def features_of(rng: random.Random, without: frozenset[str] = frozenset()) -> Features:
    """The features of the world whose chance this is."""
    likely = rng.choice((0.15, 0.4, 0.7))
    drawn = [name for name in FEATURES if rng.random() < likely * _RARITY.get(name, 1)]
    if rng.random() < 0.8:
        _complete(drawn)
    kinds = tuple(kind for kind in CLIENT_KINDS[1:] if rng.random() < 0.4)
    features = Features(
        on=frozenset(drawn),
        clients=rng.choice((1, 2, 3, 5, 8, 12)),
        requests_max=rng.choice((1, 2, 4, 6)),
        burst=rng.random() < 0.35,
        faults_until_ns=rng.choice((2, 5, 15, 40)) * SECOND,
        codec=rng.choice(("fast", "fast", "reference")),
        kinds=("polite", *kinds),
        scenarios=tuple(_scenario(rng) for _ in range(rng.choice((1, 2, 4, 8)))),
        scenario_rate=rng.choice((0.2, 0.4, 0.8)),
        redis_faults=tuple(fault for fault in REDIS_FAULTS if rng.random() < 0.5),
        redis_rate=rng.choice((0.02, 0.1, 0.4)),
        redis_ns=rng.choice((1, 1, 20, 40)) * MILLISECOND,
        client_weather=_weather(rng),
        upstream_weather=_weather(rng),
        reset_rate=rng.choice((0.02, 0.1, 0.3)),
        refuse_rate=rng.choice((0.05, 0.2, 0.6)),
        silent_rate=rng.choice((0.02, 0.1, 0.3)),
        late_rate=rng.choice((0.1, 0.4, 0.8)),
        lateness_ns=rng.choice((1, 20, 500)) * MILLISECOND,
        prompts=rng.choice((0, 1, 3)),
        pool_max=rng.choice((1, 2, 4, 64)),
        body_bytes_max=rng.choice((2048, 65_536)),
        connect_ns=rng.choice((2, 2, 800)) * MILLISECOND,
        targets=rng.choice((2, 3)),
        retries=rng.choice((1, 2, 3)),
        limits=_limits(rng),
        breaker=CircuitBreaker(failures=rng.choice((1, 3)), open=2.0, open_max=8.0, calls_min=5),
        cache_scope=rng.choice(("consumer", "consumer", "global")),
        first_token_ns=rng.choice((0, 50 * MILLISECOND, 3 * SECOND)),
        pace=rng.choice((0.0, 0.0, 100.0, 3.0)),
    )
    features.on -= without
    if not features.has("cuts"):
        features.client_weather = Weather(room=features.client_weather.room)
        features.upstream_weather = Weather()
    if not features.has("rude"):
        features.kinds = ("polite",)
    if not features.has("late"):
        features.late_rate = 0.0
    if not features.has("lateness"):
        features.lateness_ns = 0
    return features


def _complete(drawn: list[str]) -> None:
    """Add what others need to be of any consequence: a store to fail, and somebody to ask it."""
    if "redis" not in drawn and ("redis-faults" in drawn or "keys" in drawn):
        drawn.append("redis")
    if "redis-faults" in drawn and "cache" not in drawn and "limits" not in drawn:
        drawn.append("limits")


def _scenario(rng: random.Random) -> str:
    """A fault, and where it strikes. What is wrong within an answer is drawn most: it is hardest to tell."""
    name = rng.choice(REFUSALS if rng.random() < 0.25 else BREAKS)
    if "after" in SCENARIOS[name].options and rng.random() < 0.6:
        name += f" after={rng.choice(('0', 'start', '5', 'stop'))}"
    return name


_PIECES: Final = (
    *[(4000, 80 * MILLISECOND)] * 5,
    *[(900, 20 * MILLISECOND)] * 5,
    *[(60, 2 * MILLISECOND)] * 4,
    (7, 50_000),
    (1, 10_000),
)
"""Pieces and delays; the smallest ones are rare, for they take most of the time of all."""


def _weather(rng: random.Random) -> Weather:
    # Whoever takes bytes one by one takes them fast: what is slow here must not be slow for ever.
    piece_max, delay_ns = _PIECES[min(rng.randrange(16), rng.randrange(16))]
    return Weather(
        delay_ns=delay_ns,
        whole=rng.choice((0.0, 0.5, 0.9)),
        piece_max=piece_max,
        room=rng.choice((600, 4096, 1 << 20, 1 << 20)),
        destroys=rng.choice((0.0, 0.5, 1.0)),
    )


_ALGORITHMS: Final[tuple[Algorithm, ...]] = ("fixed", "sliding", "sliding", "gcra")


def _limits(rng: random.Random) -> RateLimiter:
    window = rng.choice((1, 5, 60))
    algorithm: Algorithm = rng.choice(_ALGORITHMS)
    limits = [Limit(unit="requests", limit=rng.choice((2, 5, 20)), window=window, algorithm=algorithm)]
    if rng.random() < 0.5:
        limits.append(Limit(unit="tokens", limit=rng.choice((700, 9000)), window=60))
    return RateLimiter(
        limits=limits,
        concurrency=rng.choice((None, 1, 2)),
        by=rng.choice(("consumer", "model", "address")),
        on_store_failure=rng.choice(("allow", "deny", "local")),
        default_output_tokens=rng.choice((10, 200)),
    )


TIMES: Final = TimeLimits(
    connect=2,
    pool=3,
    first_token=8,
    idle=5,
    total=30,
    client_head=4,
    client_body=5,
    client_idle=20,
    client_stall=12,
)


def config_of(features: Features, generation: int) -> Config:
    """The world's configuration, in this generation."""
    store = "redis://redis.sim:6379" if features.has("redis") else "memory:"
    plugins = [
        PluginEntry(name="api-key-auth", config=ApiKeyAuth()),
        PluginEntry(name="request-logger", config=RequestLogger(path="log")),
        PluginEntry(name="bedrock-proxy", config=_proxy(features)),
    ]
    if features.has("limits") and features.limits is not None:
        plugins.append(PluginEntry(name="rate-limiter", config=features.limits))
    if features.has("cache"):
        shared = ResponseCache(
            cache_ttl=20, scope="global" if features.cache_scope == "global" else "consumer"
        )
        plugins.append(PluginEntry(name="response-cache", config=shared))
    pool = UpstreamPool(
        max_connections_per_endpoint=max(1, features.pool_max - (generation - 1) % 2),
        max_idle=features.pool_max // 2,
        idle_seconds=30,
    )
    return Config(
        gateway=Gateway(
            store=Store(url=Secret(store)),
            cache=Cache(memory_bytes=1 << 20, max_entry_bytes=8192),
            max_body_bytes=features.body_bytes_max,
            max_head_bytes=8192,
            keepalive_seconds=2,
            time_limits=TIMES,
            pool=pool,
            http_codec="reference" if features.codec == "reference" else "fast",
        ),
        consumers=[
            Consumer(username=name, keyauth_credentials=[KeyCredential(key=Secret(key))])
            for name, key in KEYS.items()
        ],
        plugins=plugins,
    )


def _proxy(features: Features) -> BedrockProxy:
    targets = []
    if features.has("failover"):
        targets = [
            ProxyTarget(name=f"place-{number}", endpoint_url=f"http://bedrock-{number}.sim:80")
            for number in range(features.targets)
        ]
    return BedrockProxy(
        endpoint_url="http://bedrock-0.sim:80",
        model=CLAUDE,
        models={"claude": ModelTarget(CLAUDE), "nova": ModelTarget(NOVA), "titan": ModelTarget(TITAN)},
        targets=targets,
        retry=Retry(
            count=features.retries if features.has("retries") else 0,
            delay=100,
            budget=RetryBudget(ratio=1.0, min_per_second=20),
        ),
        breaker=features.breaker if features.has("breaker") else CircuitBreaker(enabled=False),
    )
