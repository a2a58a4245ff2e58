"""The running gateway with its limits, cache and keys in a Redis Cluster of three nodes."""

from collections.abc import Generator
from typing import Final

import pytest

from support.gateway import RunningGateway, eventually, running_gateway
from support.raw import Answer, chat, connected, request
from support.redis import needs_redis
from support.redis_cluster import Cluster, running_cluster, told
from support.simulator import RunningSimulator

pytestmark = [
    needs_redis,
    # coredis leaves streams of anyio's to the collector; the gateway is a process of its own.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

LIMITED: Final = {"name": "rate-limiter", "config": {"hour": 5, "limits": [
    {"unit": "requests", "limit": 7, "window": "hour", "by": "model"},
]}}  # fmt: skip
CACHED: Final = {"name": "response-cache"}


@pytest.fixture(scope="module")
def cluster() -> Generator[Cluster]:
    """Three nodes."""
    with running_cluster() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(simulator: RunningSimulator, cluster: Cluster) -> Generator[RunningGateway]:
    """A gateway whose store is that cluster."""
    store = {"url": cluster.url, "timeout_ms": 2000}
    with running_gateway(
        simulator.url, gateway={"store": store}, plugins=[LIMITED, CACHED], tells="info: the store"
    ) as running:
        yield running


def ask(gateway: RunningGateway, text: str) -> Answer:
    """One chat request."""
    with connected(gateway.url) as raw:
        raw.send(request(body=chat(text)))
        return raw.answer()


def holds(cluster: Cluster, pattern: str) -> bool:
    """Whether one of the nodes has a key like this."""
    return any(told(node, "KEYS", pattern) for node in cluster.nodes)


def test_limits_and_answers_are_kept_in_it(gateway: RunningGateway, cluster: Cluster) -> None:
    first = ask(gateway, "In a cluster")
    assert (first.status, first.headers["x-cache-status"]) == (200, "Miss")
    eventually(lambda: holds(cluster, "*entry:*"))
    again = ask(gateway, "In a cluster")
    assert (again.status, again.headers["x-cache-status"]) == (200, "Hit")
    assert holds(cluster, "*:requests:*")
    statuses = [ask(gateway, f"And another one, {number}").status for number in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
