"""Limits of time and number, each short and each with its own error: upstream's, the pool's, the client's.

Upstreams that a simulator cannot be are made of bare sockets here: one that nobody listens at, one whose
backlog is full, one that accepts and is silent. (first_token and idle stand in test_faults.py's table.)
"""

import contextlib
import socket
import time
from collections.abc import Generator
from typing import Any, Final

import openai
import pytest

from support.gateway import RunningGateway, eventually, on_linux, running_gateway
from support.raw import Answer, chat, connected, converse, request
from support.simulator import RunningSimulator, running_simulator

QUICK: Final = {
    "connect": 0.3,
    "pool": 0.3,
    "first_token": 0.8,
    "idle": 0.8,
    "total": 1.0,
    "client_head": 0.4,
    "client_body": 0.4,
    "client_idle": 0.6,
}


@contextlib.contextmanager
def listening(backlog: int) -> Generator[socket.socket]:
    """A socket that listens, at a port of its own."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as server:
        yield server


def url_of(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}"


def asked(gateway: RunningGateway, *, path: str = "/v1/chat/completions", **more: Any) -> Answer:
    """The answer to one question."""
    with connected(gateway.url) as raw:
        body = chat("Hello", **more) if path.startswith("/v1") else converse("Hello")
        raw.send(request(path=path, body=body))
        return raw.answer()


class TestReachingBedrock:
    @pytest.mark.parametrize("stream", [False, True])
    def test_nobody_listens(self, stream: bool) -> None:
        with listening(1) as server:
            url = url_of(server)
        with running_gateway(url) as gateway:
            answer = asked(gateway, stream=stream)
            assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_connect_failed")
            assert answer.headers["x-should-retry"] == "true"
            native = asked(gateway, path="/model/claude/converse-stream")
            assert (native.status, native.headers["x-amzn-errortype"]) == (502, "ServiceUnavailableException")
            record = gateway.record(request_id=answer.headers["x-request-id"])
            assert (record["outcome"], record["cause"]) == ("failed", "CONNECT_FAILED")
            assert "ConnectionRefusedError" in record["detail"]
            assert "attempts" not in record

    def test_there_is_no_such_host(self) -> None:
        with running_gateway("http://bedrock.invalid:80", tells="unencrypted") as gateway:
            answer = asked(gateway)
            assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_connect_failed")
            # The name is the operator's business.
            assert b"invalid" not in answer.body

    @on_linux
    def test_it_does_not_take_the_connection(self) -> None:
        with listening(0) as server, contextlib.ExitStack() as stack:
            # Linux takes one more than the backlog; what comes then gets no answer to its SYN.
            for _ in range(2):
                full = stack.enter_context(socket.socket())
                full.setblocking(False)
                full.connect_ex(server.getsockname())
            with running_gateway(url_of(server), gateway={"time_limits": QUICK}) as gateway:
                answer = asked(gateway)
                assert (answer.status, answer.json()["error"]["code"]) == (504, "CONNECT_TIMEOUT")
                assert gateway.record(code="CONNECT_TIMEOUT")["outcome"] == "failed"

    def test_it_comes_back(self) -> None:
        """A gateway does not remember that Bedrock was gone."""
        with listening(1) as server:
            url = url_of(server)
        with running_gateway(url) as gateway:
            assert asked(gateway).status == 502
            with running_simulator("--listen", url.removeprefix("http://")):
                assert asked(gateway).status == 200


@pytest.fixture(scope="module")
def single(simulator: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway with one connection to Bedrock."""
    limits = {**QUICK, "first_token": 5, "total": 5}
    pool = {"max_connections_per_endpoint": 1}
    with running_gateway(simulator.url, gateway={"time_limits": limits, "pool": pool}) as running:
        yield running


class TestThePool:
    def test_who_waits_too_long_for_a_connection_is_told(
        self, single: RunningGateway, simulator: RunningSimulator
    ) -> None:
        model = "simulator.stall-before-headers:words.31"
        with connected(single.url) as busy:
            busy.send(request(body=chat("Hello", model=model)))
            eventually(lambda: [c for c in simulator.requests() if c["model_id"] == model])
            answer = asked(single)
            assert (answer.status, answer.json()["error"]["code"]) == (504, "POOL_TIMEOUT")
            assert answer.headers["x-should-retry"] == "true"
        assert asked(single).status == 200

    def test_who_waits_not_too_long_is_served(self, single: RunningGateway) -> None:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connected(single.url)) for _ in range(5)]
            for number, raw in enumerate(clients):
                raw.send(request(body=chat(f"Number {number}")))
            answers = [raw.answer() for raw in clients]
        assert [answer.status for answer in answers] == [200] * 5
        for number, answer in enumerate(answers):
            assert f"“Number {number}”" in answer.json()["choices"][0]["message"]["content"]


@pytest.fixture(scope="module")
def quick(simulator: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway that waits for nobody."""
    with running_gateway(simulator.url, gateway={"time_limits": QUICK}) as running:
        yield running


class TestTheTotal:
    def test_it_ends_a_stream_that_still_flows(self, quick: RunningGateway) -> None:
        model = "simulator.slow:ms.50:words.403"
        with quick.openai() as client, pytest.raises(openai.APIError) as caught:
            for _ in client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "Hello"}], stream=True
            ):
                pass
        assert caught.value.code == "TOTAL_TIMEOUT"
        assert quick.record(model=model)["code"] == "TOTAL_TIMEOUT"

    def test_the_plugins_own_is_in_force_too(self, simulator: RunningSimulator) -> None:
        with running_gateway(simulator.url, proxy={"timeout": 300}) as gateway:
            answer = asked(gateway, model="simulator.stall-before-headers:words.32")
            assert (answer.status, answer.json()["error"]["code"]) == (504, "TOTAL_TIMEOUT")


class TestTheClient:
    def test_a_head_that_takes_too_long(self, quick: RunningGateway) -> None:
        with connected(quick.url) as raw:
            raw.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n")
            answer = raw.answer()
            assert (answer.status, answer.json()["error"]["code"]) == (408, "REQUEST_TIMEOUT")
            assert raw.rest() == b""

    def test_a_head_byte_by_byte_takes_too_long_too(self, quick: RunningGateway) -> None:
        """Every byte is a sign of life, and none of them counts (slowloris)."""
        give_up_at = time.monotonic() + 15
        with connected(quick.url) as raw:
            raw.send(b"POST /v1/chat/completions HTTP/1.1\r\nX-Filler: ")
            raw.sock.settimeout(0.05)
            while time.monotonic() < give_up_at:
                raw.send(b"a")
                with contextlib.suppress(TimeoutError):
                    assert raw.sock.recv(65_536).startswith(b"HTTP/1.1 408")
                    break
            else:
                pytest.fail("a client that sends a byte now and then is never given up")

    @pytest.mark.parametrize(
        ("path", "name"),
        [("/v1/chat/completions", "REQUEST_TIMEOUT"), ("/model/claude/converse", "RequestTimeoutException")],
    )
    def test_a_body_that_does_not_come(self, quick: RunningGateway, path: str, name: str) -> None:
        with connected(quick.url) as raw:
            raw.send(request(path=path, body=chat("Hello"))[:-5])
            answer = raw.answer()
            assert answer.status == 408
            assert name in (
                answer.headers.get("x-amzn-errortype"),
                answer.json().get("error", {}).get("code"),
            )
            assert raw.rest() == b""

    def test_a_connection_that_says_nothing_is_closed(self, quick: RunningGateway) -> None:
        with connected(quick.url) as fresh, connected(quick.url) as used:
            used.send(request("GET", "/healthz"))
            assert used.answer().status == 200
            assert (fresh.rest(), used.rest()) == (b"", b"")

    def test_more_connections_than_there_may_be_wait(self, simulator: RunningSimulator) -> None:
        with running_gateway(simulator.url, gateway={"max_connections": 2}) as gateway:
            with (
                connected(gateway.url) as one,
                connected(gateway.url) as two,
                connected(gateway.url) as three,
            ):
                for raw in (one, two):
                    raw.send(request("GET", "/healthz"))
                    assert raw.answer().status == 200
                three.send(request("GET", "/healthz"))
                three.sock.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    three.sock.recv(1)
                one.sock.close()
                three.sock.settimeout(20)
                assert three.answer().status == 200


@pytest.fixture(scope="module")
def chatty(simulator: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway that breaks a silence early."""
    settings = {"keepalive_seconds": 0.15, "time_limits": {"first_token": 0.6, "idle": 0.6}}
    with running_gateway(simulator.url, gateway=settings) as running:
        yield running


class TestKeepAlives:
    @pytest.mark.parametrize(
        ("scenario", "code"),
        [
            ("stall-before-headers", "FIRST_TOKEN_TIMEOUT"),
            ("stall-before-first-token", "FIRST_TOKEN_TIMEOUT"),
            ("stall-mid-stream", "IDLE_TIMEOUT"),
        ],
    )
    def test_a_silent_stream_gets_comments(self, chatty: RunningGateway, scenario: str, code: str) -> None:
        with connected(chatty.url) as raw:
            raw.send(request(body=chat("Hello", model=f"simulator.{scenario}", stream=True)))
            answer = raw.answer()
        assert (answer.status, answer.whole) == (200, True)
        lines = answer.body.split(b"\n\n")
        assert sum(line.startswith(b":") for line in lines) >= 2
        # The status is out, so the error is told in the stream.
        assert code.encode() in lines[-2]

    def test_the_sdk_does_not_notice_them(self, chatty: RunningGateway) -> None:
        with chatty.openai() as client:
            chunks = list(
                client.chat.completions.create(
                    model="simulator.slow:ms.200:words.3",
                    messages=[{"role": "user", "content": "Hello"}],
                    stream=True,
                )
            )
        assert chunks[-1].choices[0].finish_reason == "stop"

    def test_an_answer_that_is_no_stream_gets_none(self, chatty: RunningGateway) -> None:
        answer = asked(chatty, model="simulator.slow:ms.500:words.3")
        assert answer.status == 200
        assert answer.body.startswith(b"{")

    def test_a_native_stream_gets_none(self, chatty: RunningGateway) -> None:
        """AWS's event stream has no such thing: what is silent there may still become an HTTP error."""
        answer = asked(chatty, path="/model/simulator.stall-before-first-token/converse-stream")
        assert (answer.status, answer.headers["x-amzn-errortype"]) == (504, "ModelTimeoutException")


@on_linux
def test_without_descriptors_it_waits_until_there_are_some(simulator: RunningSimulator) -> None:
    """The listener must neither die nor spin, and who is served already stays so."""
    resource = pytest.importorskip("resource", reason="only Unix has it")
    with (
        running_gateway(simulator.url, tells="accept|cannot write|writing") as gateway,
        contextlib.ExitStack() as stack,
    ):
        with connected(gateway.url) as old:
            old.send(request(body=chat("Hello")))
            assert old.answer().status == 200
            limit = gateway.descriptors() + 10
            resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
            for _ in range(40):
                stack.enter_context(connected(gateway.url))
            eventually(lambda: [line for line in gateway.told if "cannot accept connections" in line])
            old.send(request(body=chat("Still there?")))
            assert old.answer().status == 200
            stack.close()
            with connected(gateway.url) as raw:
                raw.send(request("GET", "/healthz"))
                assert raw.answer().status == 200
        eventually(lambda: [line for line in gateway.told if "accepting connections again" in line])
        told = [line.partition(": ")[2] for line in gateway.told if "accept" in line]
        # It may lack some again while the crowd goes, but it is told once each time.
        both = ["cannot accept connections: Too many open files", "accepting connections again"]
        assert told == both * (len(told) // 2)
