"""Clients that leave: in every phase their call at Bedrock is cancelled, and the log says who ended it.

A call is told apart by its model id, which is the client's own. The simulator says how far it got: what the
gateway did about a client that is gone, no client can see.
"""

import socket
from collections.abc import Callable, Generator
from typing import Any, Final

import openai
import pytest

from support.gateway import RunningGateway, eventually, running_gateway
from support.raw import Raw, chat, connected, converse, request
from support.simulator import RunningSimulator, user

LEAVINGS: Final[dict[str, Callable[[Raw], None]]] = {
    "closing": lambda raw: raw.sock.close(),
    "breaking": lambda raw: raw.reset(),
    "ending its side": lambda raw: raw.sock.shutdown(socket.SHUT_WR),
}
PHASES: Final = {
    # scenario, whether the client streams, what it has read when it leaves, where the call was then
    "before the headers of a stream": ("stall-before-headers", True, b"", "before-headers"),
    "before the headers of an answer": ("stall-before-headers", False, b"", "before-headers"),
    "before the first token": ("stall-before-first-token", True, b"", "before-first-event"),
    "in the middle of a stream": ("stall-mid-stream", True, b"data: ", "mid-stream"),
    # An answer that is no stream is one event to the simulator, and half of it none.
    "in the middle of an answer": ("stall-mid-stream", False, b"", "before-first-event"),
    "while the stream flows": ("slow:ms.50:words.400", True, b"data: ", "mid-stream"),
}


def call_at(simulator: RunningSimulator, model: str) -> dict[str, Any] | None:
    """A model's one call at Bedrock."""
    calls = [call for call in simulator.requests() if call["model_id"] == model]
    assert len(calls) <= 1
    return calls[0] if calls else None


def arrived(simulator: RunningSimulator, model: str) -> None:
    """Wait until the call is at Bedrock."""
    eventually(lambda: call_at(simulator, model))


def cancelled(simulator: RunningSimulator, gateway: RunningGateway, model: str) -> str:
    """Wait until it is cancelled there, and the log says why; where it was then."""

    def outcome() -> bool:
        call = call_at(simulator, model)
        return call is not None and call["outcome"] != "running"

    eventually(outcome)
    call = call_at(simulator, model)
    assert call is not None
    assert call["outcome"] == "cancelled"
    assert gateway.record(model=model)["outcome"] == "client_left"
    phase: str = call["phase"]
    return phase


@pytest.fixture(scope="module")
def single(simulator: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway with one connection to Bedrock."""
    with running_gateway(simulator.url, gateway={"pool": {"max_connections_per_endpoint": 1}}) as running:
        yield running


@pytest.mark.parametrize("leaving", LEAVINGS)
@pytest.mark.parametrize("phase", PHASES)
class TestPhases:
    def test_the_call_is_cancelled(
        self, gateway: RunningGateway, simulator: RunningSimulator, phase: str, leaving: str
    ) -> None:
        scenario, stream, read, where = PHASES[phase]
        # An option that changes nothing makes the model's name this test's own.
        model = f"simulator.{scenario}:input-tokens.{10_000 + hash_of(phase, leaving)}"
        with connected(gateway.url) as raw:
            raw.send(request(body=chat("Hello", model=model, stream=stream)))
            arrived(simulator, model)
            if read:
                raw.read_until(read)
            LEAVINGS[leaving](raw)
            assert cancelled(simulator, gateway, model) == where
        record = gateway.record(model=model)
        assert record["status"] == (200 if read else 0)
        assert "code" not in record

    def test_a_native_call_is_cancelled(
        self, gateway: RunningGateway, simulator: RunningSimulator, phase: str, leaving: str
    ) -> None:
        scenario, stream, read, where = PHASES[phase]
        model = f"simulator.{scenario}:input-tokens.{20_000 + hash_of(phase, leaving)}"
        operation = "converse-stream" if stream else "converse"
        with connected(gateway.url) as raw:
            raw.send(request(path=f"/model/{model}/{operation}", body=converse("Hello")))
            arrived(simulator, model)
            if read:
                raw.read_until(b":event-type")
            LEAVINGS[leaving](raw)
            assert cancelled(simulator, gateway, model) == where


def hash_of(phase: str, leaving: str) -> int:
    """A number for a pair, the same in every run."""
    return 10 * list(PHASES).index(phase) + list(LEAVINGS).index(leaving)


class TestElsewhere:
    def test_while_waiting_for_a_connection_to_bedrock(
        self, single: RunningGateway, simulator: RunningSimulator
    ) -> None:
        first, second = "simulator.stall-before-headers:words.1", "simulator.slow:words.1"
        with connected(single.url) as one, connected(single.url) as two:
            one.send(request(body=chat("Hello", model=first)))
            arrived(simulator, first)
            two.send(request(body=chat("Hello", model=second)))
            two.send(b"")
            # Whether the second is waiting already nobody can see; leaving early is leaving too.
            two.reset()
            assert single.record(model=second)["outcome"] == "client_left"
            one.sock.close()
            cancelled(simulator, single, first)
        assert call_at(simulator, second) is None
        with connected(single.url) as raw:
            raw.send(request(body=chat("Is it free again?")))
            assert raw.answer().status == 200

    def test_in_the_middle_of_its_own_request(
        self, gateway: RunningGateway, simulator: RunningSimulator
    ) -> None:
        model = "simulator.slow:words.2"
        whole = request(body=chat("Hello", model=model))
        with connected(gateway.url) as raw:
            raw.send(whole[:-5])
        with connected(gateway.url) as raw:
            raw.send(request(body=chat("The next one")))
            identifier = raw.answer().headers["x-request-id"]
        gateway.record(request_id=identifier)
        assert call_at(simulator, model) is None
        assert gateway.records(model=model) == []

    def test_behind_the_last_byte(self, gateway: RunningGateway, simulator: RunningSimulator) -> None:
        """Whoever has everything has left nothing behind: its call was complete."""
        model = "simulator.slow:ms.1:words.3"
        with connected(gateway.url) as raw:
            raw.send(request(body=chat("Hello", model=model, stream=True)))
            assert raw.answer().whole
        assert gateway.record(model=model)["outcome"] == "complete"
        call = call_at(simulator, model)
        assert call is not None
        assert call["outcome"] == "complete"

    def test_with_requests_sent_ahead(self, gateway: RunningGateway, simulator: RunningSimulator) -> None:
        first, ahead = "simulator.stall-mid-stream:words.4", "simulator.slow:words.4"
        with connected(gateway.url) as raw:
            raw.send(request(body=chat("Hello", model=first, stream=True)))
            raw.send(request(body=chat("Hello", model=ahead)))
            raw.read_until(b"data: ")
            raw.sock.close()
        assert cancelled(simulator, gateway, first) == "mid-stream"
        assert gateway.records(model=ahead) == []
        assert call_at(simulator, ahead) is None


class TestSdks:
    def test_openai_python_closes_a_stream(
        self, gateway: RunningGateway, simulator: RunningSimulator, client: openai.OpenAI
    ) -> None:
        model = "simulator.slow:ms.50:words.401"
        with client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hello"}], stream=True
        ) as stream:
            next(iter(stream))
        assert cancelled(simulator, gateway, model) == "mid-stream"

    def test_openai_python_gives_up(
        self, gateway: RunningGateway, simulator: RunningSimulator, client: openai.OpenAI
    ) -> None:
        model = "simulator.stall-before-headers:words.5"
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.3).chat.completions.create(
                model=model, messages=[{"role": "user", "content": "Hello"}]
            )
        assert cancelled(simulator, gateway, model) == "before-headers"

    def test_boto3_closes_a_stream(
        self, gateway: RunningGateway, simulator: RunningSimulator, bedrock: Any
    ) -> None:
        model = "simulator.slow:ms.50:words.402"
        stream = bedrock.converse_stream(modelId=model, messages=[user("Hello")])["stream"]
        next(iter(stream))
        stream.close()
        assert cancelled(simulator, gateway, model) == "mid-stream"
