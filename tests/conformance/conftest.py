"""What every host of a gateway must do alike: its own three shells, and the servers of its ASGI application.

What the core decides is tested once, elsewhere, on one shell. Here stands what a host could get wrong by
itself, through real sockets: bytes and their order, pauses, ends of every kind, who has left, errors in the
caller's own words. What hosts do not do alike stands in support/differences.py, and is measured too.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from support.gateway import RunningGateway
from support.hosts import RunningServer, params, running_host
from support.simulator import RunningSimulator, running_simulator


@pytest.fixture(scope="module", params=params(), name="name")
def _name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def bedrock() -> Generator[RunningSimulator]:
    """A Bedrock of this suite's own, whose calls are counted."""
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="module")
def door(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A unix socket that the configuration wants it to listen on."""
    return tmp_path_factory.mktemp(name) / "door"


@pytest.fixture(scope="module")
def host(name: str, door: Path, bedrock: RunningSimulator) -> Generator[RunningGateway | RunningServer]:
    """A gateway on each host."""
    settings: dict[str, Any] = {
        "listen": ["127.0.0.1:0", f"unix:{door}"],
        "max_body_bytes": 40_000_000,
        "keepalive_seconds": 0.5,
    }
    with running_host(name, bedrock.url, gateway=settings, proxy={"allow_unlisted": True}) as running:
        yield running
