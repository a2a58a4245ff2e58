"""What is measured: one line for each target, and how some of them are chosen.

A target has a name, which is how a person asks for it and what the table calls it; a server, which is what
runs it (gateways.py has the commands); and what the gateway on that server is set to. Where nothing is chosen
the *usual* ones are measured: everything that a caller could speak to instead, each once. The others are
variations on one of those.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from bench.gateways import ENVOY, IN_PROCESS, UPSTREAM, Settings


class Target(msgspec.Struct, frozen=True):
    """Something to send requests to."""

    name: str
    server: str
    settings: Settings = Settings()
    usual: bool = True

    @property
    def dialect(self) -> str:
        """What it is asked in, as the load generator calls it."""
        return {ENVOY: "converse", UPSTREAM: "signed"}.get(self.server, "openai")


TARGETS: Final = (
    Target("envoy", ENVOY),
    Target("stargate trio", "trio"),
    Target("stargate asyncio", "asyncio"),
    Target("stargate uvloop", "uvloop"),
    Target("stargate in-process", IN_PROCESS),
    Target("asgi hypercorn trio", "hypercorn-trio"),
    Target("asgi hypercorn asyncio", "hypercorn-asyncio"),
    Target("asgi uvicorn", "uvicorn"),
    Target("asgi granian", "granian"),
    Target("stargate trio h11", "trio", Settings(http_codec="reference"), usual=False),
    Target("stargate trio limits", "trio", Settings(limits=True), usual=False),
    Target("stargate trio limits redis", "trio", Settings(limits=True, redis=True), usual=False),
    Target("stargate trio cache", "trio", Settings(cache=True), usual=False),
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
