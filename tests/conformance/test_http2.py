"""TLS and HTTP/2, where the server has them: many streams on one connection, each a call of its own.

To the gateway an HTTP/2 stream is one more request of its ASGI application. What must hold is that streams of
one connection neither end nor hold up each other: whoever leaves, breaks, or reads slowly.

The SDKs ask one after the other. Streams side by side are the work of `support.http2`: httpx neither tells a
server that it has left a stream, nor opens streams from several threads in their order.
"""

import contextlib
import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import anthropic
import httpx2
import openai
import pytest

from support.differences import hosts_without
from support.gateway import KEY, eventually
from support.hosts import SERVERS, RunningServer, params, running_server
from support.http2 import Wire, wired
from support.raw import TIMEOUT_SECONDS, chat, connected, deltas, request
from support.simulator import RunningSimulator
from support.tls import Authority
from support.upstream import converse_stream, running_upstream

SECURED: Final = {
    "hypercorn-trio": ("--certfile", "{cert}", "--keyfile", "{key}"),
    "hypercorn-asyncio": ("--certfile", "{cert}", "--keyfile", "{key}"),
    "granian": ("--ssl-certificate", "{cert}", "--ssl-keyfile", "{key}"),
}
"""The options that give a server its certificate."""
PATH: Final = "/v1/chat/completions"
HEADERS: Final = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
HELLO: Final[Any] = [{"role": "user", "content": "Hello"}]
MEGABYTE: Final = 1 << 20
CROWD: Final = 30


class Secure:
    """A server with TLS, and who trusts it."""

    def __init__(self, host: RunningServer, authority: Authority) -> None:
        self.host = host
        self.context = authority.client_context

    @contextlib.contextmanager
    def client(self) -> Generator[httpx2.Client]:
        """A client that speaks HTTP/2 only."""
        with httpx2.Client(
            http2=True, http1=False, verify=self.context(), timeout=TIMEOUT_SECONDS,
            base_url=self.host.url, headers=HEADERS,
        ) as client:  # fmt: skip
            yield client

    def wired(self) -> contextlib.AbstractContextManager[Wire]:
        """A connection on which the test has every frame in its hands."""
        return wired(self.host.url, self.context())


@contextlib.contextmanager
def running_secured(name: str, folder: Path, upstream: str, **changes: Any) -> Generator[Secure]:
    """This server with a certificate."""
    authority = Authority()
    cert, key = authority.write(folder, "127.0.0.1", "localhost")
    options = [option.format(cert=cert, key=key) for option in SECURED[name]]
    with running_server((*SERVERS[name], *options), upstream, scheme="https", **changes) as host:
        yield Secure(host, authority)


@pytest.fixture(scope="module", params=params(*SECURED), name="name")
def _name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def secure(
    name: str, bedrock: RunningSimulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secure]:
    """A gateway on each of them."""
    settings = {"max_body_bytes": 12_000_000}
    with running_secured(name, tmp_path_factory.mktemp("tls"), bedrock.url, gateway=settings) as running:
        yield running


def test_http_1_is_spoken_with_tls_too(secure: Secure) -> None:
    with connected(secure.host.url, tls=secure.context()) as raw:
        for number in range(3):
            raw.send(request(body=chat(f"Number {number}", stream=True)))
            assert f"“Number {number}”" in deltas(raw.answer().body)


class TestOneByOne:
    def test_the_sdks_speak_it(self, secure: Secure) -> None:
        with secure.client() as client:
            sdk = openai.OpenAI(
                base_url=f"{secure.host.url}/v1", api_key=KEY, max_retries=0, http_client=client
            )
            raw = sdk.chat.completions.with_raw_response.create(model="claude", messages=HELLO)
            chunks = list(sdk.chat.completions.create(model="claude", messages=HELLO, stream=True))
            other = anthropic.Anthropic(
                base_url=secure.host.url, api_key=KEY, max_retries=0, http_client=client
            )
            asked: Any = {"model": "claude", "max_tokens": 300, "messages": HELLO}
            message = other.messages.create(**asked)
            with other.messages.stream(**asked) as stream:
                text = "".join(stream.text_stream)
        assert raw.http_response.http_version == "HTTP/2"
        whole = raw.parse().choices[0].message.content
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
        assert [block.text for block in message.content if block.type == "text"] == [text]

    def test_errors_are_the_apis_own(self, secure: Secure) -> None:
        with secure.client() as client:
            refused = client.post(PATH, content=chat("Hello"), headers={"authorization": "Bearer sk-wrong"})
            big = client.post("/v1/messages", content=b"x" * 13_000_000)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "invalid_api_key")
        assert (refused.headers["x-should-retry"], len(refused.headers["x-request-id"])) == ("false", 32)
        assert (big.status_code, big.json()["type"]) == (413, "error")

    def test_big_bodies_go_both_ways(self, secure: Secure) -> None:
        with secure.client() as client:
            answer = client.post(PATH, content=chat("[[simulator: words=30000]]" + " filler" * 1_500_000))
        assert answer.json()["usage"]["completion_tokens"] == 30_000


class TestSideBySide:
    def test_a_crowd_shares_one_connection(self, secure: Secure) -> None:
        texts = [f"[[simulator: slow ms=10 words=20]] number {number}" for number in range(CROWD)]
        with secure.wired() as wire:
            streams = [wire.ask(PATH, HEADERS, chat(text, stream=True)) for text in texts]
            for stream in streams:
                assert len(deltas(wire.read(stream)).split()) == 20

    def test_a_stream_that_breaks_breaks_alone(self, secure: Secure) -> None:
        broken = chat("[[simulator: cut-mid-frame after=3 words=40 pace=100]]", stream=True)
        with secure.wired() as wire:
            other = wire.ask(PATH, HEADERS, chat("Hello", model="simulator.slow:ms.40:words.20", stream=True))
            body = wire.read(wire.ask(PATH, HEADERS, broken))
            assert json.loads(body.rpartition(b"data: ")[2])["error"]["code"] == "upstream_stream_broken"
            assert b"[DONE]" not in body
            assert len(deltas(wire.read(other)).split()) == 20

    def test_who_leaves_leaves_alone(self, secure: Secure, bedrock: RunningSimulator) -> None:
        bedrock.clear()
        model = "simulator.slow:ms.50:words.400:input-tokens.40000"
        with secure.wired() as wire:
            other = wire.ask(PATH, HEADERS, chat("Hello", model="simulator.slow:ms.40:words.40", stream=True))
            left = wire.ask(PATH, HEADERS, chat("Hello", model=model, stream=True))
            wire.read_until(left, b'"content"')
            wire.leave(left)
            assert secure.host.record(model=model)["outcome"] == "client_left"
            assert len(deltas(wire.read(other)).split()) == 40
        calls = [call["outcome"] for call in bedrock.requests() if call["model_id"] == model]
        assert calls == ["cancelled"]


def test_a_slow_stream_holds_up_no_other(name: str, tmp_path: Path) -> None:
    count, text = 60_000, "x" * 200
    limits = {"client_stall": 60, "idle": 60}
    with running_upstream(lambda: converse_stream(text, count)) as upstream:
        with running_secured(name, tmp_path, upstream.url, gateway={"time_limits": limits}) as secure:
            with secure.wired() as wire:
                slow = wire.ask(PATH, HEADERS, chat("Hello", stream=True), taking=False)
                seen: list[int] = []

                def standing_still() -> bool:
                    seen.append(upstream.sent_bytes)
                    return upstream.sent_bytes > 0 and len(seen) > 30 and len(set(seen[-30:])) == 1

                eventually(standing_still)
                refused = wire.read(wire.ask(PATH, HEADERS, b"no JSON"))
                assert json.loads(refused)["error"]["type"] == "invalid_request_error"
                assert slow not in wire.ended
                wire.take(slow)
                assert deltas(wire.read(slow)) == text * count
    held_up = max(seen) < 16 * MEGABYTE
    assert held_up == (name not in hosts_without("slow HTTP/2"))
