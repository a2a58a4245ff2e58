"""A client of several Redis servers, as the clustered store wants it: coredis, with its edges filed off.

coredis routes by slot, follows MOVED and ASK, and asks Sentinels for the master, on any event loop that anyio
knows. What had to be seen to, as of 6.9 (file names are coredis'):

- Without time limits it waits for ever (a frozen node; pool/_cluster.py's queue; and the Sentinels, to whom
  client/sentinel.py hands down `connect_timeout` but no `stream_timeout`). So all of them are given.
- It repeats what failed by default, blindly. A Take that may have happened must not happen twice: no retries.
- A slot of the Sentinel pool is lost whenever no master is found (pool/_basic.py, `_construct_connection`),
  and one of either pool when the making of a connection is cancelled; when all are lost, every call waits in
  vain, also when the servers are long back. So its calls are never cancelled, and after trouble with a
  connection the whole client is thrown away.
- A layout that could not be read (cluster/_layout.py, `monitor`: a TimeoutError) ends the client's own tasks,
  and its block with them. So one block is one life, and who opens it must expect any exception.
- Certificates' names are not compared by default. Contexts are made here.

To know whether a cluster serves, something is written at every primary, for each answers for its own slots:
a PING would pass while they refuse all keys (CLUSTERDOWN), or all writes (MISCONF).
"""

import contextlib
import ssl
from collections.abc import AsyncGenerator
from typing import Final, cast

import msgspec

from stargate.tls import store_context
from stargate_core.config.clustered_url import ClusteredUrl
from stargate_core.gateway.redis_calls import DOWN_CODES, Words, in_full
from stargate_core.secret import Secret

try:
    import coredis
    from coredis.connection import TCPLocation
    from coredis.exceptions import (
        AuthenticationError,
        NoScriptError,
        ReadOnlyError,
        RedisClusterError,
        ResponseError,
    )
    from coredis.retry import NoRetryPolicy
    from coredis.typing import Key
except ImportError as missing:
    raise ImportError(
        "a store of Redis Cluster or Redis Sentinel needs coredis: pip install 'stargate-gateway[cluster]'"
    ) from missing

PATIENCE_SECONDS: Final = 1.0
"""How long a connection is waited for, and an answer that nobody wants any more, to know what happened."""
_SLOTS: Final = 16_384
_PROBES_MAX: Final = 1_000
"""Keys that are looked at to find one for each primary."""
_PROBE_MS: Final = 60_000
_CONNECTIONS: Final = 4
"""To each server. Calls share a connection without waiting for each other; more than one matters only while
another one is being opened.
"""


class Unsayable(Exception):
    """A question that no words can be made of: a key is no UTF-8."""


class ClusteredClient:
    """An open client. Calls may be made from many tasks at once; don't cancel them."""

    def __init__(self, redis: "coredis.Redis[bytes] | coredis.RedisCluster[bytes]") -> None:
        self._redis = redis
        self.broken = False
        """Set by its owner: it is to be thrown away."""

    @property
    def has_slots(self) -> bool:
        """Whether keys of different tags may live on different servers."""
        return isinstance(self._redis, coredis.RedisCluster)

    async def call(self, words: Words) -> object:
        """What is answered to the words of redis_calls.py. Raises anything."""
        match words:
            case [b"EVALSHA", sha1, count, *rest]:
                keys = int(count)
                try:
                    return await self._redis.evalsha(sha1, rest[:keys], rest[keys:])
                except NoScriptError:
                    return await self._redis.eval(in_full(words)[1], rest[:keys], rest[keys:])
            case [b"GET", key]:
                return await self._redis.get(key)
            case [b"SET", key, value, b"PX", ttl_ms]:
                return await self._redis.set(key, value, px=int(ttl_ms))
            case _:
                raise AssertionError(f"no such call: {words[0]!r}")

    async def read_all(self, key: bytes) -> list[bytes]:
        """A hash, as names and values by turns."""
        return [part for pair in (await self._redis.hgetall(key)).items() for part in pair]

    async def probe(self, prefix: bytes) -> None:
        """Write a key at every primary that has slots: return if that went well. Raises anything."""
        try:
            if isinstance(self._redis, coredis.RedisCluster):
                await self._probe_all(self._redis, prefix)
            else:
                await self._redis.set(prefix + b"link", b"1", px=_PROBE_MS)
        except ResponseError as error:
            if not is_refusal(error):
                raise
            # A full server refuses to write, and answers the rest.

    @staticmethod
    async def _probe_all(cluster: "coredis.RedisCluster[bytes]", prefix: bytes) -> None:
        layout = cluster.connection_pool.cluster_layout
        unseen = {layout.node_for_slot(slot).name for slot in range(_SLOTS)}
        for number in range(_PROBES_MAX):
            if not unseen:
                return
            key = Key(b"%blink:%d" % (prefix, number))
            node = layout.node_for_slot(key.slot).name
            if node in unseen:
                unseen.remove(node)
                await cluster.set(key.key, b"1", px=_PROBE_MS)


class Opening(msgspec.Struct, frozen=True):
    """What it takes to open clients of a URL."""

    url: ClusteredUrl
    context: ssl.SSLContext | None

    def client(self) -> contextlib.AbstractAsyncContextManager[ClusteredClient]:
        """A client for the time of a block, which any exception may end."""
        return _cluster(self) if self.url.service is None else _master(self, self.url.service)


def opening(url: ClusteredUrl) -> Opening:
    """Prepare to open clients of a URL. Raises BadTls."""
    context = store_context(url)
    if context is not None and not url.names:
        context.check_hostname = False
    return Opening(url, context)


def is_refusal(error: Exception) -> bool:
    """Whether a server has answered that it won't do this one thing, and is otherwise well."""
    return isinstance(error, Unsayable) or (isinstance(error, ResponseError) and not _not_here(error))


def may_have_happened(error: Exception) -> bool:
    """Whether what was asked may have been done all the same: no server has said that it was not."""
    return not isinstance(error, Unsayable | ResponseError | RedisClusterError)


def in_words(error: BaseException) -> str:
    """An error for an operator, short, with what it came from."""
    if isinstance(error, BaseExceptionGroup):
        return in_words(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    texts = [str(each) or type(each).__name__ for each in (error, root)]
    return ": ".join(dict.fromkeys(texts))[:300]


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def _not_here(error: ResponseError) -> bool:
    # coredis takes the code off where it has a class for it, else it stands first; up to Redis 6.2 one that a
    # script ran into stands inside: "ERR Error running script (call to f_…): …: -READONLY You can't write …".
    if isinstance(error, AuthenticationError | ReadOnlyError | RedisClusterError):
        return True
    text = str(error)
    return any(text.startswith(f"{code} ") or f" -{code} " in text for code in DOWN_CODES)


@contextlib.asynccontextmanager
async def _cluster(opening: Opening) -> AsyncGenerator[ClusteredClient]:
    url = opening.url
    cluster: coredis.RedisCluster[bytes] = coredis.RedisCluster(
        startup_nodes=[TCPLocation(host.host, host.port) for host in url.hosts],
        username=url.username,
        password=_revealed(url.password),
        ssl_context=opening.context,
        connect_timeout=PATIENCE_SECONDS,
        stream_timeout=patience(url),
        pool_timeout=patience(url),
        max_connections=_CONNECTIONS,
        max_connections_per_node=True,
        # It would ask with CONFIG, which managed Redis forbids; `probe` looks itself.
        skip_full_coverage_check=True,
        verify_version=False,
        decode_responses=False,
        retry_policy=NoRetryPolicy(),
    )
    async with cluster:
        yield ClusteredClient(cluster)


@contextlib.asynccontextmanager
async def _master(opening: Opening, service: str) -> AsyncGenerator[ClusteredClient]:
    url = opening.url
    sentinels = coredis.Sentinel(
        [TCPLocation(host.host, host.port) for host in url.hosts],
        sentinel_kwargs={
            "username": url.sentinel_username,
            "password": _revealed(url.sentinel_password),
            "ssl_context": opening.context,
            "connect_timeout": PATIENCE_SECONDS,
            "stream_timeout": patience(url),
            "pool_timeout": patience(url),
        },
        decode_responses=False,
        retry_policy=NoRetryPolicy(),
        username=url.username,
        password=_revealed(url.password),
        db=url.database,
        ssl_context=opening.context,
        connect_timeout=PATIENCE_SECONDS,
        stream_timeout=patience(url),
        timeout=patience(url),
        max_connections=_CONNECTIONS,
    )
    master = sentinels.primary_for(service)
    async with sentinels, master:
        yield ClusteredClient(master)


def patience(url: ClusteredUrl) -> float:
    """How long an answer is waited for at the most, in seconds."""
    return max(PATIENCE_SECONDS, 4 * url.timeout_ms / 1000)
