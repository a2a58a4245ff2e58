"""The end of every host: what runs may finish, or is told in a typed error; and nothing is left behind."""

import signal
from typing import Final

import pytest

from support.gateway import RunningGateway
from support.hosts import RunningServer, running_host
from support.raw import chat, connected, request
from support.simulator import RunningSimulator

SLOW: Final = "simulator.slow:ms.40:words.20"
CUTS_WHAT_RUNS: Final[dict[str, str]] = {}
"""Hosts that do not let a stream run to its end once they are told to end, and why."""


def end(host: RunningGateway | RunningServer) -> None:
    """Tell it to end."""
    host.process.send_signal(signal.SIGTERM)


def test_a_stream_runs_to_its_end(name: str, bedrock: RunningSimulator) -> None:
    if name in CUTS_WHAT_RUNS:
        pytest.skip(CUTS_WHAT_RUNS[name])
    with running_host(name, bedrock.url, gateway={"drain_seconds": 10}) as host:
        with connected(host.url) as raw:
            raw.send(request(body=chat("Hello", model=SLOW, stream=True)))
            begun = raw.read_until(b"data: ")
            end(host)
            assert b"data: [DONE]" in begun + raw.rest()
        assert host.process.wait(15) in (0, -signal.SIGTERM)
        assert host.record(model=SLOW)["outcome"] == "complete"
