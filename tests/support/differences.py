"""What the hosts of a gateway do not do alike. Tests measure each row; docs/embedding.md has the table."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from support.hosts import HOSTS, SERVERS, SHELLS


class Difference(NamedTuple):
    """Something that not every host does."""

    what: str
    """What the others do."""
    without: frozenset[str]
    """The hosts that do not."""
    instead: str
    """What they do, and why."""


_HYPERCORN: Final = frozenset(name for name in SERVERS if name.startswith("hypercorn"))
DIFFERENCES: Final[Mapping[str, Difference]] = {
    "listen": Difference(
        "`listen` is obeyed: addresses, unix sockets, TLS",
        frozenset(SERVERS),
        "Sockets and certificates are the server's; it has options of its own for them.",
    ),
    "own words": Difference(
        "What is no HTTP is refused as an error with a request id",
        frozenset(SERVERS),
        "The server reads HTTP: it refuses with a bare 400, and decides what it refuses.",
    ),
    "HTTP/1.0": Difference(
        "A stream to an HTTP/1.0 client is ended by the connection's end",
        frozenset({"uvicorn"}),
        "It is sent in chunks, which HTTP/1.0 does not have.",
    ),
    "HTTP/2": Difference(
        "HTTP/2 is spoken",
        frozenset({*SHELLS, "uvicorn"}),
        "HTTP/1.1 alone is spoken.",
    ),
    "slow HTTP/2": Difference(
        "A slow reader of an HTTP/2 stream holds up its call at Bedrock",
        _HYPERCORN,
        "hypercorn keeps what the reader does not take, in memory and without a bound.",
    ),
    "grace time": Difference(
        "What still runs after `drain_seconds` is ended by an error",
        frozenset(SERVERS),
        "The server has a grace time of its own (hypercorn: 3 seconds; uvicorn and granian: any) and then "
        "cuts it.",
    ),
}


def hosts_without(key: str) -> frozenset[str]:
    """The hosts that do not do this."""
    return DIFFERENCES[key].without


def table() -> list[str]:
    """All of them, as rows of a document."""
    return [
        "| Everywhere else | Not on | There |",
        "| --- | --- | --- |",
        *(f"| {one.what} | {_named(one.without)} | {one.instead} |" for one in DIFFERENCES.values()),
    ]


def _named(hosts: frozenset[str]) -> str:
    """Hosts as their users call them; hypercorn is one, whichever its worker."""
    own = ["`stargate serve`"] if hosts >= SHELLS.keys() else []
    others = [name.partition("-")[0] for name in HOSTS if name in hosts and name not in SHELLS]
    return ", ".join([*own, *dict.fromkeys(others)])
