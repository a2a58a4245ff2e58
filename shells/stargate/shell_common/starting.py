"""What a process does once as it begins to serve, on whatever loop."""

import gc
import resource
from typing import Final

from stargate.credentials import Found
from stargate_core.config.schema import Gateway

_COLLECT_AFTER_OBJECTS: Final = 20_000
"""New objects before the youngest generation is looked at; Python's own 700 are a dozen requests."""
CREDENTIALS_SECONDS: Final = 5.0
"""How long start-up waits for credentials: a slow metadata service must not keep health checks from being
answered.
"""
SPARE_DESCRIPTORS: Final = 64
"""What a process has open beside connections: listeners, logs, the loop's own, a store's."""


class Started:
    """What the caller of `serve` may want to tell its user."""

    def __init__(self, urls: list[str], credentials: dict[str, Found]) -> None:
        self.urls = urls
        self.credentials = credentials


def settle_memory() -> None:
    """Keep the collector off what lives as long as the process, and from looking after every few requests.

    Measured with 5,000 connections and 20,000 requests: 0.4 s of collecting, 0.1 s at a time at most; without
    this it is 1.3 to 2.4 s, and half a second at a time. It concerns the whole process, so it is for one that
    is a gateway and nothing else: one within another program leaves that program's collector alone.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER_OBJECTS, 20, 50)


def make_room(gateway: Gateway) -> str | None:
    """Let this process open as many files as the system lets it; what to tell its operator where that is less
    than the configuration may need.

    Each connection is an open file. Systems start programs with 1024, so that those that call select(2) are
    not broken by a higher number, and leave it to all others to raise that to the hard limit. Loops here wait
    by epoll or kqueue.
    """
    clients, upstream = gateway.max_connections, gateway.pool.max_connections_per_endpoint
    wanted = clients + min(clients, upstream) + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (hard, wanted):  # Where the hard one says "no limit", macOS wants a number all the same.
        if _exceeds(limit, soft):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            except (OSError, ValueError):
                continue
            soft = limit
    if not _exceeds(wanted, soft):
        return None
    return (
        f"a process may have {soft} files open here (ulimit -n), and gateway.max_connections: {clients} with "
        f"as many connections to Bedrock as they may use takes {wanted}: what is beyond that waits or fails; "
        f"raise the hard limit (ulimit -Hn, or LimitNOFILE of systemd), or lower max_connections"
    )


def _exceeds(limit: int, other: int) -> bool:
    """Whether a limit on a resource is the higher one."""
    return other != resource.RLIM_INFINITY and (limit == resource.RLIM_INFINITY or limit > other)
