"""HTTP/1.1 as plain clients speak it, byte by byte: kept connections, pipelines, pieces, old versions."""

import http.client
import json
import socket
from collections.abc import Generator
from typing import Final

import pytest

from support.gateway import KEY, RunningGateway, running_gateway
from support.raw import chat, connected, converse, deltas, request
from support.simulator import RunningSimulator

MODEL: Final = "anthropic.claude-3-haiku-20240307-v1:0"


@pytest.fixture(scope="module", params=["fast", "reference"])
def served(request: pytest.FixtureRequest, simulator: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway with either HTTP codec."""
    with running_gateway(simulator.url, gateway={"http_codec": request.param}) as running:
        yield running


class TestConnections:
    def test_one_carries_many_requests(self, served: RunningGateway) -> None:
        with connected(served.url) as raw:
            for number in range(50):
                raw.send(request(body=chat(f"Number {number}")))
                answer = raw.answer()
                assert answer.whole
                assert f"“Number {number}”" in answer.json()["choices"][0]["message"]["content"]

    def test_streams_and_answers_take_turns(self, served: RunningGateway) -> None:
        with connected(served.url) as raw:
            for number in range(10):
                raw.send(request(body=chat(f"Number {number}", stream=True)))
                stream = raw.answer()
                assert stream.whole
                assert stream.headers["content-type"].startswith("text/event-stream")
                assert f"“Number {number}”" in deltas(stream.body)
                raw.send(request("GET", "/v1/models"))
                assert raw.answer().json()["object"] == "list"

    def test_a_pipeline_is_answered_in_its_order(self, served: RunningGateway) -> None:
        with connected(served.url) as raw:
            raw.send(
                b"".join(request(body=chat(f"Number {n}", stream=n % 2 == 0)) for n in range(20))
                + request("GET", "/healthz")
            )
            for number in range(20):
                answer = raw.answer()
                assert answer.whole
                assert f"Number {number}”".encode() in answer.body.replace(
                    b"\\u201d", "”".encode()
                ) or f"Number {number}" in deltas(answer.body)
            assert raw.answer(method="GET").json() == {"status": "ok"}

    def test_a_request_may_come_byte_by_byte(self, served: RunningGateway) -> None:
        with connected(served.url) as raw:
            raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for octet in request(body=chat("Piecemeal")):
                raw.send(bytes((octet,)))
            assert "“Piecemeal”" in raw.answer().json()["choices"][0]["message"]["content"]

    def test_a_body_may_come_in_chunks(self, served: RunningGateway) -> None:
        body = chat("In chunks")
        pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
        chunked = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        head = request(headers={"Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")
        with connected(served.url) as raw:
            raw.send(head + chunked)
            assert "“In chunks”" in raw.answer().json()["choices"][0]["message"]["content"]
            raw.send(request("GET", "/healthz"))
            assert raw.answer().status == 200

    def test_close_is_obeyed(self, served: RunningGateway) -> None:
        with connected(served.url) as raw:
            raw.send(request(body=chat("Goodbye"), headers={"Connection": "close"}))
            answer = raw.answer()
            assert (answer.whole, answer.headers["connection"]) == (True, "close")
            assert raw.rest() == b""

    def test_http_1_0_gets_an_answer_it_can_read(self, served: RunningGateway) -> None:
        with connected(served.url) as raw:
            raw.send(request(body=chat("Old times", stream=True)).replace(b"HTTP/1.1", b"HTTP/1.0"))
            head, _, body = raw.rest().partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert b"transfer-encoding" not in head.lower()
            assert "“Old times”" in deltas(body)

    def test_continue_is_said_before_a_body_is_sent(self, served: RunningGateway) -> None:
        body = chat("May I?")
        whole = request(body=body, headers={"Expect": "100-continue"})
        with connected(served.url) as raw:
            raw.send(whole.removesuffix(body))
            assert raw.sock.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            raw.send(body)
            assert "“May I?”" in raw.answer().json()["choices"][0]["message"]["content"]

    def test_the_standard_librarys_client_is_served(self, served: RunningGateway) -> None:
        client = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
        for number in range(3):
            path = f"/model/{MODEL}/converse"
            client.request("POST", path, converse(f"Number {number}"), {"x-api-key": KEY})
            answer = client.getresponse()
            assert answer.status == 200
            assert f"“Number {number}”" in json.load(answer)["output"]["message"]["content"][0]["text"]
        client.close()


class TestEveryAnswer:
    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/chat"])
    def test_the_paths_of_chat(self, gateway: RunningGateway, path: str) -> None:
        with connected(gateway.url) as raw:
            raw.send(request(path=path, body=chat("Hello")))
            assert raw.answer().json()["object"] == "chat.completion"

    @pytest.mark.parametrize("header", ["Authorization", "x-api-key", "api-key"])
    def test_the_headers_of_a_key(self, gateway: RunningGateway, header: str) -> None:
        value = f"Bearer {KEY}" if header == "Authorization" else KEY
        whole = request(body=chat("Hello")).replace(f"Authorization: Bearer {KEY}".encode(), b"X-Filler: 1")
        with connected(gateway.url) as raw:
            raw.send(whole.replace(b"X-Filler: 1", f"{header}: {value}".encode()))
            assert raw.answer().status == 200

    def test_two_keys_that_differ_prove_nothing(self, gateway: RunningGateway) -> None:
        with connected(gateway.url) as raw:
            raw.send(request(body=chat("Hello"), headers={"x-api-key": "sk-other"}))
            answer = raw.answer()
            assert (answer.status, answer.json()["error"]["code"]) == (401, "invalid_api_key")

    @pytest.mark.parametrize("path", ["/healthz", "/readyz"])
    def test_health_needs_no_key_and_leaves_no_record(self, gateway: RunningGateway, path: str) -> None:
        before = len(gateway.records())
        with connected(gateway.url) as raw:
            raw.send(f"GET {path} HTTP/1.1\r\nHost: gateway\r\n\r\n".encode())
            assert raw.answer(method="GET").json() == {"status": "ok"}
            raw.send(request(body=chat("After health")))
            identifier = raw.answer().headers["x-request-id"]
        gateway.record(request_id=identifier)
        assert [r["route"] for r in gateway.records()[before:] if r["route"] in ("", path)] == []

    def test_nothing_of_the_callers_goes_upstream(
        self, gateway: RunningGateway, simulator: RunningSimulator
    ) -> None:
        headers = {"Cookie": "a=b", "X-Forwarded-For": "10.0.0.1", "X-Amz-Security-Token": "t", "X-Own": "1"}
        with connected(gateway.url) as raw:
            raw.send(request(body=chat("Hello"), headers=headers))
            assert raw.answer().status == 200
            raw.send(request(path=f"/model/{MODEL}/converse", body=converse("Hello"), headers=headers))
            assert raw.answer().status == 200
        allowed = {"host", "authorization", "content-type", "content-length", "accept", "x-amz-date"}
        allowed.add("x-amz-content-sha256")
        for received in simulator.requests()[-2:]:
            assert {name for name, _ in received["headers"]} <= allowed
