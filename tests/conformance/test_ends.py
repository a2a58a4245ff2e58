"""The end of every host: what runs may finish, or is told in a typed error; and nothing is left behind."""

import signal
from collections.abc import Mapping, Sequence
from typing import Final

from support.differences import hosts_without
from support.gateway import RunningGateway
from support.hosts import SERVERS, RunningServer, running_host, running_server
from support.raw import chat, connected, request
from support.simulator import RunningSimulator

SLOW: Final = "simulator.slow:ms.40:words.20"
ENDLESS: Final = "simulator.slow:ms.40:words.2000"
HURRIED: Final[Mapping[str, Sequence[str]]] = {
    **{name: (*SERVERS[name], "--graceful-timeout", "1") for name in SERVERS if name.startswith("hypercorn")},
    "uvicorn": (*SERVERS["uvicorn"], "--timeout-graceful-shutdown", "1"),
    "granian": (*SERVERS["granian"], "--workers-kill-timeout", "1"),
}
"""Servers that give what runs a second; as they come, uvicorn and granian give it any time."""


def end(host: RunningGateway | RunningServer) -> None:
    """Tell it to end."""
    host.process.send_signal(signal.SIGTERM)


def test_a_stream_runs_to_its_end(name: str, bedrock: RunningSimulator) -> None:
    with running_host(name, bedrock.url, gateway={"drain_seconds": 10}) as host:
        with connected(host.url) as raw:
            raw.send(request(body=chat("Hello", model=SLOW, stream=True)))
            begun = raw.read_until(b"data: ")
            end(host)
            assert b"data: [DONE]" in begun + raw.rest()
        assert host.process.wait(15) in (0, -signal.SIGTERM)
        assert host.record(model=SLOW)["outcome"] == "complete"


def test_beyond_the_grace_time_it_ends_and_not_well(name: str, bedrock: RunningSimulator) -> None:
    settings = {"drain_seconds": 0.5}
    starting = (
        running_server(HURRIED[name], bedrock.url, gateway=settings)
        if name in HURRIED
        else running_host(name, bedrock.url, gateway=settings)
    )
    with starting as host:
        with connected(host.url) as raw, connected(host.url) as idle:
            idle.send(request("GET", "/healthz"))
            assert idle.answer(method="GET").status == 200
            raw.send(request(body=chat("Hello", model=ENDLESS, stream=True)))
            begun = raw.read_until(b"data: ")
            end(host)
            assert idle.rest() == b""
            body = begun + raw.rest()
        assert b"[DONE]" not in body
        told = b"SERVICE_UNAVAILABLE" in body
        assert told == (name not in hosts_without("grace time"))
        assert host.process.wait(15) in (0, -signal.SIGTERM)
