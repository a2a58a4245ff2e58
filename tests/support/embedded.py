"""Gateways inside the test's own process, on whichever loop the test runs."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio.to_thread
import sniffio

import stargate.asyncio
import stargate.trio
from stargate.embedding.gateway import Embedded
from support.gateway import KEY, configuration, eventually

LOOPS: Final = ("asyncio", "trio")
BASE_URL: Final = "http://stargate/v1"
BEARER: Final = {"authorization": f"Bearer {KEY}"}
_GATEWAYS: Final[Mapping[str, type[Embedded]]] = {
    "asyncio": stargate.asyncio.Gateway,
    "trio": stargate.trio.Gateway,
}

T = TypeVar("T")


def embedded(config: Any, **options: Any) -> Embedded:
    """A gateway for the loop that runs."""
    return _GATEWAYS[sniffio.current_async_library()](config, **options)


def in_front_of(upstream: str, log: Path, **changes: Any) -> Embedded:
    """One in front of `upstream`, with `configuration`'s changes."""
    return embedded(configuration(upstream, log, **changes))


async def soon(look: Callable[[], T]) -> T:
    """`eventually`, in a thread: the gateway's loop must not stand still for it."""
    return await anyio.to_thread.run_sync(lambda: eventually(look))


def records(log: Path, **members: Any) -> list[dict[str, Any]]:
    """The log records so far that have these members."""
    if not log.exists():
        return []
    whole = log.read_bytes().rpartition(b"\n")[0]
    found = [json.loads(line) for line in whole.splitlines()]
    return [record for record in found if members.items() <= record.items()]
