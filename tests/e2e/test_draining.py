"""SIGTERM: what runs finishes in the grace time or ends in a typed error; nothing new begins; status 0."""

import json
import signal
import socket
from collections.abc import Generator
from typing import Final

import pytest

from support.gateway import RunningGateway, eventually, running_gateway
from support.raw import Raw, chat, connected, converse, request
from support.simulator import RunningSimulator

SLOW: Final = "simulator.slow:ms.40:words.10"
ENDLESS: Final = "simulator.slow:ms.40:words.2000"


@pytest.fixture
def patient(simulator: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway with more grace than anything needs."""
    with running_gateway(simulator.url, gateway={"drain_seconds": 30}) as running:
        yield running


@pytest.fixture
def brusque(simulator: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway with hardly any grace."""
    with running_gateway(simulator.url, gateway={"drain_seconds": 0.3}) as running:
        yield running


def begin_stream(raw: Raw, model: str) -> bytes:
    """Ask for a stream, and read until it runs; what has come of it."""
    raw.send(request(body=chat("Hello", model=model, stream=True)))
    return raw.read_until(b"data: ")


def is_refused(gateway: RunningGateway) -> bool:
    """Whether nobody listens any more."""
    try:
        with socket.create_connection(("127.0.0.1", gateway.port), 5):
            return False
    except ConnectionRefusedError:
        return True


class TestWithinTheGraceTime:
    def test_a_stream_runs_to_its_end(self, patient: RunningGateway) -> None:
        with connected(patient.url) as raw:
            begun = begin_stream(raw, SLOW)
            patient.process.send_signal(signal.SIGTERM)
            eventually(lambda: is_refused(patient))
            assert patient.process.poll() is None
            body = (begun + raw.rest()).partition(b"\r\n\r\n")[2]
            assert body.endswith(b"\r\n0\r\n\r\n")
            assert b"data: [DONE]" in body
        assert patient.wait_until_ended() == 0
        assert patient.record(model=SLOW)["outcome"] == "complete"

    def test_an_answer_comes_and_says_goodbye(
        self, patient: RunningGateway, simulator: RunningSimulator
    ) -> None:
        model = "simulator.slow:ms.400:words.7"
        with connected(patient.url) as raw:
            raw.send(request(body=chat("Hello", model=model)))
            eventually(lambda: [c for c in simulator.requests() if c["model_id"] == model])
            patient.process.send_signal(signal.SIGTERM)
            answer = raw.answer()
            assert (answer.status, answer.whole, answer.headers["connection"]) == (200, True, "close")
            assert raw.rest() == b""
        assert patient.wait_until_ended() == 0

    def test_a_request_that_is_coming_may_come(self, patient: RunningGateway) -> None:
        whole = request(body=chat("Better late"))
        with connected(patient.url) as busy, connected(patient.url) as raw:
            begin_stream(busy, SLOW)
            raw.send(whole[:-20])
            patient.process.send_signal(signal.SIGTERM)
            eventually(lambda: is_refused(patient))
            raw.send(whole[-20:])
            answer = raw.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            busy.rest()
        assert patient.wait_until_ended() == 0

    def test_idle_connections_are_closed_at_once(self, patient: RunningGateway) -> None:
        with connected(patient.url) as fresh, connected(patient.url) as used:
            used.send(request("GET", "/healthz"))
            assert used.answer().status == 200
            patient.process.send_signal(signal.SIGTERM)
            assert (fresh.rest(), used.rest()) == (b"", b"")
        assert patient.wait_until_ended() == 0

    def test_a_client_that_leaves_is_not_waited_for(self, patient: RunningGateway) -> None:
        with connected(patient.url) as raw:
            begin_stream(raw, ENDLESS)
            patient.process.send_signal(signal.SIGTERM)
            eventually(lambda: is_refused(patient))
        assert patient.wait_until_ended() == 0
        assert patient.record(model=ENDLESS)["outcome"] == "client_left"


class TestBeyondIt:
    def test_a_stream_ends_in_an_error(self, brusque: RunningGateway) -> None:
        with connected(brusque.url) as raw:
            begun = begin_stream(raw, ENDLESS)
            brusque.process.send_signal(signal.SIGTERM)
            body = (begun + raw.rest()).partition(b"\r\n\r\n")[2]
        assert body.endswith(b"\r\n0\r\n\r\n")
        assert b"[DONE]" not in body
        last = body.split(b"data: ")[-1].partition(b"\n")[0]
        assert json.loads(last)["error"]["code"] == "SERVICE_UNAVAILABLE"
        assert brusque.wait_until_ended() == 0
        record = brusque.record(model=ENDLESS)
        assert (record["outcome"], record["cause"]) == ("failed", "DRAINING")

    def test_a_native_stream_ends_in_an_exception_frame(self, brusque: RunningGateway) -> None:
        with connected(brusque.url) as raw:
            raw.send(request(path=f"/model/{ENDLESS}/converse-stream", body=converse("Hello")))
            raw.read_until(b"messageStart")
            brusque.process.send_signal(signal.SIGTERM)
            rest = raw.rest()
        assert b"serviceUnavailableException" in rest
        assert rest.endswith(b"\r\n0\r\n\r\n")
        assert brusque.wait_until_ended() == 0

    def test_an_answer_is_an_http_error_that_may_be_retried(
        self, brusque: RunningGateway, simulator: RunningSimulator
    ) -> None:
        model = "simulator.stall-before-headers:words.9"
        with connected(brusque.url) as raw:
            raw.send(request(body=chat("Hello", model=model)))
            eventually(lambda: [c for c in simulator.requests() if c["model_id"] == model])
            brusque.process.send_signal(signal.SIGTERM)
            answer = raw.answer()
        assert answer.status == 503
        assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
        assert (answer.headers["x-should-retry"], answer.headers["retry-after"]) == ("true", "1")
        assert brusque.wait_until_ended() == 0
        eventually(
            lambda: [
                c for c in simulator.requests() if c["model_id"] == model and c["outcome"] == "cancelled"
            ]
        )

    def test_half_a_request_is_given_up(self, brusque: RunningGateway) -> None:
        with connected(brusque.url) as raw:
            raw.send(request(body=chat("Hello"))[:-5])
            brusque.process.send_signal(signal.SIGTERM)
            assert raw.rest() == b""
        assert brusque.wait_until_ended() == 0


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_an_idle_gateway_ends_at_once(self, patient: RunningGateway, number: signal.Signals) -> None:
        patient.process.send_signal(number)
        assert patient.wait_until_ended() == 0

    def test_a_second_signal_waits_for_nobody(self, patient: RunningGateway) -> None:
        with connected(patient.url) as raw:
            begin_stream(raw, ENDLESS)
            patient.process.send_signal(signal.SIGTERM)
            eventually(lambda: is_refused(patient))
            patient.process.send_signal(signal.SIGTERM)
            assert patient.wait_until_ended() == 0
            assert b"[DONE]" not in raw.rest()

    def test_health_says_so(self, patient: RunningGateway) -> None:
        """Whoever balances load and still has a connection learns that it should look elsewhere."""
        with connected(patient.url) as busy, connected(patient.url) as raw:
            begin_stream(busy, SLOW)
            ready = request("GET", "/readyz")
            raw.send(ready[:-2])
            patient.process.send_signal(signal.SIGTERM)
            eventually(lambda: is_refused(patient))
            raw.send(ready[-2:])
            answer = raw.answer(method="GET")
            assert (answer.status, answer.json()) == (503, {"status": "draining"})
            assert b"data: [DONE]" in busy.rest()
        assert patient.wait_until_ended() == 0
