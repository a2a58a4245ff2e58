"""Who leaves a call, on every host: it is cancelled at Bedrock, wherever it is, and the log says so."""

import socket
from collections.abc import Callable
from typing import Any, Final

import pytest

from support.gateway import RunningGateway, eventually
from support.hosts import RunningServer
from support.raw import Raw, chat, connected, request
from support.simulator import RunningSimulator

Host = RunningGateway | RunningServer
PHASES: Final = {
    # scenario, whether the client streams, what it has read when it leaves
    "before-headers": ("stall-before-headers", False, b""),
    "before-first-event": ("stall-before-first-token", True, b""),
    "mid-stream": ("slow:ms.50:words.400", True, b"data: "),
}
LEAVINGS: Final[dict[str, Callable[[Raw], None]]] = {
    "closing": lambda raw: raw.sock.close(),
    "breaking": lambda raw: raw.reset(),
    "ending its side": lambda raw: raw.sock.shutdown(socket.SHUT_WR),
}


def call_at(bedrock: RunningSimulator, model: str) -> dict[str, Any] | None:
    """The newest call of a model at Bedrock."""
    return next((call for call in reversed(bedrock.requests()) if call["model_id"] == model), None)


def ended(bedrock: RunningSimulator, model: str) -> tuple[str, str] | None:
    """How the newest call of a model has ended, and where it was then; None while it runs."""
    call = call_at(bedrock, model)
    return None if call is None or call["outcome"] == "running" else (call["outcome"], call["phase"])


@pytest.mark.parametrize("leaving", LEAVINGS)
@pytest.mark.parametrize("where", PHASES)
def test_the_call_is_cancelled(host: Host, bedrock: RunningSimulator, where: str, leaving: str) -> None:
    scenario, stream, read = PHASES[where]
    bedrock.clear()
    # An option that changes nothing makes the model's name this test's own.
    number = 30_000 + 10 * list(PHASES).index(where) + list(LEAVINGS).index(leaving)
    model = f"simulator.{scenario}:input-tokens.{number}"
    with connected(host.url) as raw:
        raw.send(request(body=chat("Hello", model=model, stream=stream)))
        eventually(lambda: call_at(bedrock, model))
        if read:
            raw.read_until(read)
        LEAVINGS[leaving](raw)
        assert host.record(model=model)["outcome"] == "client_left"
    assert eventually(lambda: ended(bedrock, model)) == ("cancelled", where)
