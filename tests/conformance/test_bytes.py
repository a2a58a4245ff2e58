"""Bytes on every host, sent by hand and read strictly: what comes, in which order, and when."""

import contextlib
import socket
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest

from support.differences import hosts_without
from support.gateway import RunningGateway, eventually
from support.hosts import RunningServer, running_host
from support.raw import Answer, chat, connected, converse, deltas, request
from support.simulator import RunningSimulator
from support.upstream import converse_stream, running_upstream

MODEL: Final = "anthropic.claude-3-haiku-20240307-v1:0"
MEGABYTE: Final = 1 << 20
CROWD: Final = 60
Host = RunningGateway | RunningServer


def content(answer: Answer) -> str:
    """The text of a chat completion."""
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def unchunked(body: bytes) -> bytes:
    """A body without its chunks' frames."""
    pieces: list[bytes] = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        pieces.append(rest[: int(size, 16)])
        body = rest[int(size, 16) + 2 :]
    return b"".join(pieces)


def test_native_streams_come_byte_for_byte(name: str) -> None:
    sent = b"".join(converse_stream("Grüße", 500)).partition(b"\r\n\r\n")[2]
    with running_upstream(lambda: converse_stream("Grüße", 500)) as upstream:
        with running_host(name, upstream.url) as host, connected(host.url) as raw:
            raw.send(request(path=f"/model/{MODEL}/converse-stream", body=converse("Hello")))
            answer = raw.answer()
    assert answer.whole
    assert answer.body == unchunked(sent)


def test_a_connection_carries_many_requests(host: Host) -> None:
    with connected(host.url) as raw:
        for number in range(10):
            raw.send(request(body=chat(f"Number {number}", stream=True)))
            assert f"“Number {number}”" in deltas(raw.answer().body)
            raw.send(request(body=chat(f"Number {number}")))
            assert f"“Number {number}”" in content(raw.answer())


def test_a_pipeline_is_answered_in_its_order(host: Host) -> None:
    with connected(host.url) as raw:
        raw.send(b"".join(request(body=chat(f"Number {number}")) for number in range(10)))
        for number in range(10):
            assert f"“Number {number}”" in content(raw.answer())


def test_a_request_may_come_byte_by_byte(host: Host) -> None:
    with connected(host.url) as raw:
        raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in request(body=chat("Piecemeal")):
            raw.send(bytes((octet,)))
        assert "“Piecemeal”" in content(raw.answer())


def test_a_request_may_come_in_chunks(host: Host) -> None:
    body = chat("Bit by bit")
    head = request().replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    with connected(host.url) as raw:
        raw.send(head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n")
        assert "“Bit by bit”" in content(raw.answer())


def test_an_answer_to_an_old_client_ends_with_the_connection(host: Host, name: str) -> None:
    body = chat("Old times", stream=True)
    with connected(host.url) as raw:
        raw.send(request(body=body).replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1))
        answer = raw.rest()
    assert answer.rstrip(b"0\r\n").endswith(b"data: [DONE]")
    in_chunks = b"\r\ntransfer-encoding: chunked\r\n" in answer.lower()
    assert in_chunks == (name in hosts_without("HTTP/1.0"))


@pytest.mark.parametrize("data", [b"garbage\r\n\r\n", request(headers={"Content-Length": "5x"})])
def test_what_is_no_http_is_refused_and_the_connection_ends(host: Host, name: str, data: bytes) -> None:
    with connected(host.url) as raw:
        raw.send(data)
        answer = raw.answer()
        assert answer.status == 400
        assert raw.rest() == b""
    named = "x-request-id" in answer.headers and "x-should-retry" in answer.headers
    assert named == (name not in hosts_without("own words"))
    if named:
        assert answer.json()["error"]["code"] == "BAD_REQUEST"


def test_http_2_is_spoken_to_who_begins_with_it(host: Host, name: str) -> None:
    with connected(host.url) as raw:
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        begun = raw.sock.recv(9)
    assert (begun[3:5] == b"\4\0") == (name not in hosts_without("HTTP/2")), begun


def test_where_to_listen_is_the_hosts_to_know(host: Host, name: str, door: Path) -> None:
    with connected(host.url) as raw:
        raw.send(request("GET", "/healthz"))
        assert raw.answer(method="GET").status == 200
    assert door.exists() == (name not in hosts_without("listen"))


def test_a_client_that_asks_first_is_told_to_go_on(host: Host) -> None:
    body = chat("Shall I?")
    with connected(host.url) as raw:
        raw.send(request(body=body, headers={"Expect": "100-continue"})[: -len(body)])
        assert b" 100 " in raw.read_until(b"\r\n\r\n")
        raw.send(body)
        assert "“Shall I?”" in content(raw.answer())


def test_big_bodies_go_both_ways(host: Host) -> None:
    with connected(host.url) as raw:
        raw.send(request(body=chat("[[simulator: words=60000]]" + " filler" * 3_000_000)))
        answer = raw.answer()
        assert (answer.status, answer.whole) == (200, True)
        assert answer.json()["usage"]["completion_tokens"] == 60_000


@pytest.mark.parametrize(
    "model", [MODEL, f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{MODEL}"]
)
def test_names_in_paths_are_taken_as_they_were_sent(
    host: Host, bedrock: RunningSimulator, model: str
) -> None:
    bedrock.clear()
    with connected(host.url) as raw:
        raw.send(request(path=f"/model/{quote(model, safe='')}/converse", body=converse("Hello")))
        assert raw.answer().status == 200
    assert bedrock.requests()[-1]["model_id"] == model


def test_an_answer_is_told_to_a_head_request_without_its_body(host: Host) -> None:
    with connected(host.url) as raw:
        raw.send(request("HEAD", "/healthz"))
        answer = raw.answer(method="HEAD")
        assert (answer.status, answer.body, answer.whole) == (200, b"", True)
        raw.send(request("GET", "/readyz"))
        assert raw.answer(method="GET").status == 200


def test_a_stream_comes_while_it_is_made(host: Host, bedrock: RunningSimulator) -> None:
    bedrock.clear()
    with connected(host.url) as raw:
        raw.send(request(body=chat("Hello", model="simulator.slow:ms.100:words.10", stream=True)))
        raw.read_until(b'"content"', keep=True)
        assert bedrock.requests()[-1]["outcome"] == "running"
        assert len(deltas(raw.answer().body).split()) == 10


def test_silence_is_broken_by_keepalives(host: Host) -> None:
    with connected(host.url) as raw:
        raw.send(request(body=chat("Hello", model="simulator.stall-before-first-token", stream=True)))
        assert raw.read_until(b": keep-alive").startswith(b"HTTP/1.1 200 ")


class TestLimitsAndCache:
    def test_a_limit_says_when_to_come_again(self, name: str, bedrock: RunningSimulator) -> None:
        plugins: Any = [
            {"name": "rate-limiter", "config": {"minute": 3, "by": "consumer"}},
            {"name": "response-cache", "config": {"cache_ttl": 60}},
        ]
        with running_host(name, bedrock.url, plugins=plugins) as host, connected(host.url) as raw:
            answers: list[Answer] = []
            for _ in range(4):
                raw.send(request(body=chat("The same, please")))
                answers.append(raw.answer())
        told = [(answer.status, answer.headers.get("x-cache-status")) for answer in answers]
        assert told == [(200, "Miss"), (200, "Hit"), (200, "Hit"), (429, None)]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60


def test_a_crowd_of_streams(host: Host) -> None:
    with contextlib.ExitStack() as stack:
        raws = [stack.enter_context(connected(host.url)) for _ in range(CROWD)]
        for number, raw in enumerate(raws):
            raw.send(request(body=chat(f"[[simulator: words=30 pace=20]] number {number}", stream=True)))
        answers = [raw.answer() for raw in raws]
    assert all(answer.whole for answer in answers)
    assert {len(deltas(answer.body).split()) for answer in answers} == {30}


def resident_bytes(host: Host) -> int:
    """The memory of a shell's process; 0 for others, whose servers keep what they like, and beyond Linux."""
    if isinstance(host, RunningServer) or not Path("/proc/self/status").exists():
        return 0
    return host.resident_bytes()


def test_a_slow_reader_slows_bedrock_and_loses_nothing(name: str) -> None:
    count, text = 60_000, "x" * 200
    limits = {"client_stall": 60, "idle": 60}
    with running_upstream(lambda: converse_stream(text, count)) as upstream:
        with running_host(name, upstream.url, gateway={"time_limits": limits}) as host:
            before = resident_bytes(host)
            with connected(host.url) as raw:
                raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
                raw.send(request(body=chat("Hello", stream=True)))
                seen: list[int] = []

                def standing_still() -> bool:
                    seen.append(upstream.sent_bytes)
                    return upstream.sent_bytes > 0 and len(seen) > 30 and len(set(seen[-30:])) == 1

                eventually(standing_still)
                # All of it would be 20 MB; kernels keep some for both sides.
                assert upstream.sent_bytes < 16 * MEGABYTE
                assert resident_bytes(host) - before < 12 * MEGABYTE
                assert deltas(raw.answer().body) == text * count
