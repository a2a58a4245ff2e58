"""The ASGI application where a server differs: without lifespan, at its end, badly configured.

(What every server must do alike, and mounts: tests/conformance.)
"""

import signal
from typing import Any, Final

import pytest

from support.gateway import PATIENCE_SECONDS
from support.hosts import SERVERS, params, running_host, running_server
from support.simulator import RunningSimulator

HELLO: Final[Any] = [{"role": "user", "content": "Hello"}]
WITHOUT_LIFESPAN: Final = ("uvicorn", "--log-level", "warning", "--lifespan", "off", "--fd", "{fd}")


def test_a_server_without_lifespan(simulator: RunningSimulator) -> None:
    """The gateway begins with the first request."""
    with running_server(WITHOUT_LIFESPAN, simulator.url) as host:
        with host.openai() as sdk:
            for _ in range(3):
                assert sdk.chat.completions.create(model="claude", messages=HELLO).choices
        assert host.stop() in (0, -signal.SIGTERM)
        assert [record["outcome"] for record in host.records()] == ["complete"] * 3


@pytest.mark.parametrize("name", params(*SERVERS))
def test_the_end_of_a_server_is_the_end_of_the_gateway(name: str, simulator: RunningSimulator) -> None:
    with running_host(name, simulator.url) as host:
        with host.openai() as sdk:
            sdk.chat.completions.create(model="claude", messages=HELLO)
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(PATIENCE_SECONDS) in (0, -signal.SIGTERM)
        assert [record["outcome"] for record in host.records()] == ["complete"]


def test_a_server_does_not_start_with_a_bad_configuration(simulator: RunningSimulator) -> None:
    with running_server(SERVERS["uvicorn"], simulator.url, gatewya={}) as host:
        assert host.process.wait(PATIENCE_SECONDS) != 0
