"""What is measured: one line for each target, and how some of them are chosen.

A target has a name, which is how a person asks for it and what the table calls it; a server, which is what
runs it (gateways.py and peers.py have the commands); and what the gateway on that server is set to. Where
nothing is chosen the *usual* ones are measured: Stargate on each of its loops, with its limits in memory and
in Redis, and the others' gateways. The rest are other ways to run Stargate, and variations.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from bench.gateways import ENVOY, IN_PROCESS, UPSTREAM, Settings
from bench.peers import LITELLM, NGINX, PORTKEY


class Target(msgspec.Struct, frozen=True):
    """Something to send requests to."""

    name: str
    server: str
    settings: Settings = Settings(limits=True)
    usual: bool = True

    @property
    def dialect(self) -> str:
        """What it is asked in, as the load generator calls it."""
        return {ENVOY: "converse", UPSTREAM: "signed", NGINX: "signed"}.get(self.server, "openai")

    @property
    def has_socket(self) -> bool:
        """Whether its callers come from outside."""
        return self.server != IN_PROCESS


_REDIS: Final = Settings(limits=True, redis=True)
TARGETS: Final = (
    Target("nginx", NGINX),
    Target("envoy", ENVOY),
    Target("stargate uvloop", "uvloop"),
    Target("stargate asyncio", "asyncio"),
    Target("stargate trio", "trio"),
    Target("stargate uvloop redis", "uvloop", _REDIS),
    Target("stargate asyncio redis", "asyncio", _REDIS),
    Target("stargate trio redis", "trio", _REDIS),
    Target("portkey", PORTKEY),
    Target("litellm", LITELLM),
    Target("stargate in-process", IN_PROCESS, usual=False),
    Target("asgi hypercorn trio", "hypercorn-trio", usual=False),
    Target("asgi hypercorn asyncio", "hypercorn-asyncio", usual=False),
    Target("asgi uvicorn", "uvicorn", usual=False),
    Target("asgi granian", "granian", usual=False),
    Target("stargate trio h11", "trio", Settings(limits=True, http_codec="reference"), usual=False),
    Target("stargate trio no limits", "trio", Settings(), usual=False),
    Target("stargate trio cache", "trio", Settings(limits=True, cache=True), usual=False),
    Target("upstream itself", UPSTREAM),
)


class NoSuchTarget(Exception):
    """A name or pattern that no target has."""


def chosen(patterns: Sequence[str], *, every: bool = False) -> list[Target]:
    """Those with one of these names, in the table's order. Raises NoSuchTarget.

    A pattern may have `*` in it. Without any it is the usual ones, or every one.
    """
    for pattern in patterns:
        if not any(fnmatchcase(target.name, pattern) for target in TARGETS):
            raise NoSuchTarget(pattern)
    if not patterns:
        return [target for target in TARGETS if target.usual or every]
    return [target for target in TARGETS if any(fnmatchcase(target.name, pattern) for pattern in patterns)]
