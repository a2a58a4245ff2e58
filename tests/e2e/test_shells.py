"""What the gateway's own shells must do alike: trio, asyncio, and asyncio with uvloop.

What every host of a gateway must do, whoever has the sockets, is in tests/conformance. Here stands what only
a shell does: its listeners, TLS, signals, the store's connection, the calls of a flight.
(`STARGATE_TEST_OPTIONS="--shell asyncio"` has all other end-to-end tests run on the other shell.)
"""

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from support.aws_places import isolate
from support.gateway import RunningGateway, eventually, running_gateway
from support.hosts import SHELLS, params
from support.limits import ask, limited
from support.raw import Answer, chat, connected, deltas, request
from support.redis import needs_redis, running_redis
from support.simulator import RunningSimulator, running_simulator
from support.tls import Authority

MEGABYTE: Final = 1 << 20
CROWD: Final = 100


@pytest.fixture(scope="module", params=params(*SHELLS), name="shell")
def _shell(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def bedrock() -> Generator[RunningSimulator]:
    """A Bedrock of this module's own, whose calls are counted."""
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(bedrock: RunningSimulator, shell: str) -> Generator[RunningGateway]:
    """A gateway on each shell."""
    with running_gateway(bedrock.url, options=SHELLS[shell], proxy={"allow_unlisted": True}) as running:
        yield running


def content(answer: Answer) -> str:
    """The text of a chat completion."""
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


class TestEdges:
    def test_a_unix_socket(self, bedrock: RunningSimulator, shell: str, tmp_path: Path) -> None:
        settings = {"listen": [f"unix:{tmp_path}/gateway"]}
        with running_gateway(bedrock.url, options=SHELLS[shell], gateway=settings) as gateway:
            with connected(gateway.url) as raw:
                raw.send(request(body=chat("Close by", stream=True)))
                assert "“Close by”" in deltas(raw.answer().body)

    def test_nobody_listens(self, shell: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with running_gateway(url, options=SHELLS[shell]) as gateway, connected(gateway.url) as raw:
            raw.send(request(body=chat("Hello")))
            assert raw.answer().status == 502
            assert "Connection refused" in gateway.record(status=502)["detail"]


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Whom everybody trusts."""
    return Authority()


@pytest.fixture(scope="module")
def secured(shell: str, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A gateway with TLS on both sides, and the Bedrock behind it."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = authority.write(folder, "127.0.0.1", "localhost")
    with running_simulator("--tls-cert", str(cert), "--tls-key", str(key)) as bedrock:
        settings = {
            "listen": [{"address": "127.0.0.1:0", "tls": authority.issue("gateway.test")}],
            "upstream_tls": {"ca": authority.text},
        }
        with running_gateway(bedrock.url, options=SHELLS[shell], gateway=settings) as gateway:
            yield gateway


class TestTls:
    def test_answers_and_streams_come_through(self, secured: RunningGateway, authority: Authority) -> None:
        with connected(secured.url, tls=authority.client_context(), name="gateway.test") as raw:
            for number in range(3):
                raw.send(request(body=chat(f"Number {number}")))
                whole = content(raw.answer())
                raw.send(request(body=chat(f"Number {number}", stream=True)))
                assert deltas(raw.answer().body) == whole

    def test_big_bodies_come_through(self, secured: RunningGateway, authority: Authority) -> None:
        with connected(secured.url, tls=authority.client_context(), name="gateway.test") as raw:
            raw.send(request(body=chat("[[simulator: words=30000]]" + " filler" * 400_000)))
            assert raw.answer().json()["usage"]["completion_tokens"] == 30_000

    def test_it_says_goodbye_as_tls_does(self, secured: RunningGateway, authority: Authority) -> None:
        with connected(secured.url, tls=authority.client_context(), name="gateway.test") as raw:
            raw.send(request("GET", "/healthz", headers={"Connection": "close"}))
            assert raw.answer(method="GET").status == 200
            assert raw.rest() == b""  # Python raises SSLEOFError where the goodbye is missing.

    def test_noise_is_turned_away(self, secured: RunningGateway, authority: Authority) -> None:
        with connected(secured.url.replace("https", "http")) as raw:
            raw.send(request("GET", "/healthz"))
            raw.rest()
        with connected(secured.url, tls=authority.client_context(), name="gateway.test") as raw:
            raw.send(request("GET", "/healthz"))
            assert raw.answer(method="GET").status == 200


class TestDraining:
    def test_a_stream_runs_to_its_end(self, bedrock: RunningSimulator, shell: str) -> None:
        settings = {"drain_seconds": 30}
        with running_gateway(bedrock.url, options=SHELLS[shell], gateway=settings) as gateway:
            with connected(gateway.url) as raw, connected(gateway.url) as idle:
                raw.send(request(body=chat("Hello", model="simulator.slow:ms.40:words.10", stream=True)))
                begun = raw.read_until(b"data: ")
                gateway.process.send_signal(signal.SIGTERM)
                assert idle.rest() == b""
                assert b"data: [DONE]" in begun + raw.rest()
            assert gateway.wait_until_ended() == 0

    def test_beyond_the_grace_time_it_ends_in_an_error(self, bedrock: RunningSimulator, shell: str) -> None:
        settings = {"drain_seconds": 0.3}
        with running_gateway(bedrock.url, options=SHELLS[shell], gateway=settings) as gateway:
            with connected(gateway.url) as raw:
                raw.send(request(body=chat("Hello", model="simulator.slow:ms.40:words.2000", stream=True)))
                begun = raw.read_until(b"data: ")
                gateway.process.send_signal(signal.SIGTERM)
                body = begun + raw.rest()
            assert b"[DONE]" not in body
            assert b"SERVICE_UNAVAILABLE" in body
            assert gateway.wait_until_ended() == 0

    def test_a_second_signal_ends_at_once(self, bedrock: RunningSimulator, shell: str) -> None:
        settings = {"drain_seconds": 600}
        with running_gateway(bedrock.url, options=SHELLS[shell], gateway=settings) as gateway:
            with connected(gateway.url) as raw:
                raw.send(request(body=chat("Hello", model="simulator.slow:ms.40:words.2000", stream=True)))
                raw.read_until(b"data: ")
                gateway.process.send_signal(signal.SIGTERM)
                eventually(lambda: any("draining" in line for line in gateway.told))
                gateway.process.send_signal(signal.SIGINT)
                raw.rest()
            assert gateway.wait_until_ended() == 0

    def test_standard_output_that_nobody_reads_keeps_nobody_from_ending(
        self, bedrock: RunningSimulator, shell: str
    ) -> None:
        """A thread hangs in the write; the process ends all the same."""
        reader, writer = os.pipe()
        try:
            with (
                running_gateway(
                    bedrock.url, options=SHELLS[shell], log="/dev/stdout", output=writer, tells="/dev/stdout"
                ) as gateway,
                connected(gateway.url) as raw,
            ):
                for _ in range(400):
                    raw.send(request(body=chat("Hello")))
                    assert raw.answer().status == 200
                gateway.process.send_signal(signal.SIGTERM)
                assert gateway.wait_until_ended() == 0
        finally:
            os.close(reader)
            os.close(writer)

    def test_nor_does_a_search_for_credentials_that_hangs(
        self, bedrock: RunningSimulator, shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        isolate(monkeypatch, tmp_path)
        process = f"{sys.executable} -c 'import time; time.sleep(40)'"
        (tmp_path / "config").write_text(f"[default]\ncredential_process = {process}\n")
        with running_gateway(
            bedrock.url, options=SHELLS[shell], proxy={"credentials": None}, tells="credentials"
        ) as gateway:
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.wait_until_ended() == 0


class TestLeftovers:
    def test_nothing_is_left_of_them(self, gateway: RunningGateway) -> None:
        before = gateway.descriptors()
        with contextlib.ExitStack() as stack:
            for number in range(CROWD):
                raw = stack.enter_context(connected(gateway.url))
                raw.send(request("GET", "/healthz"))
                assert raw.answer(method="GET").status == 200
                if number % 2:
                    raw.reset()
        eventually(lambda: gateway.descriptors() <= before + 2)


class TestShared:
    def test_one_call_serves_a_crowd(self, shell: str) -> None:
        cache = {"name": "response-cache", "config": {"cache_ttl": 60}}
        with running_simulator() as bedrock:
            with running_gateway(bedrock.url, options=SHELLS[shell], plugins=[cache]) as gateway:
                data = request(body=chat("[[simulator: words=60 pace=30]] for a crowd", stream=True))
                with contextlib.ExitStack() as stack:
                    raws = [stack.enter_context(connected(gateway.url)) for _ in range(CROWD)]
                    for raw in raws:
                        raw.send(data)
                    eventually(lambda: len(bedrock.requests()) == 1)
                    raws[0].sock.close()
                    answers = [raw.answer() for raw in raws[1:]]
                assert len({deltas(answer.body) for answer in answers}) == 1
                assert len(bedrock.requests()) == 1
                with connected(gateway.url) as raw:
                    raw.send(data)
                    assert raw.answer().headers["x-cache-status"] == "Hit"

    @needs_redis
    def test_limits_are_shared_by_a_redis(self, bedrock: RunningSimulator, shell: str) -> None:
        with running_redis() as redis, contextlib.ExitStack() as stack:
            settings = {"store": {"url": redis.url, "timeout_ms": 5000}}
            both = [
                stack.enter_context(
                    running_gateway(
                        bedrock.url,
                        options=SHELLS[shell],
                        gateway=settings,
                        consumers=[limited("shared", limits=[{"limit": 10, "window": "month"}])],
                        tells="store",
                    )
                )
                for _ in range(2)
            ]
            statuses = [ask(both[number % 2], "shared").status for number in range(16)]
            assert (statuses.count(200), statuses.count(429)) == (10, 6)
            redis.stop()
            eventually(lambda: any("the store is down" in line for line in both[0].told))
            redis.start()
            eventually(lambda: any("info" in line and "store" in line for line in both[0].told))
            assert ask(both[0], "shared").status == 200


class TestAsked:
    """What sessions ask of the process, and tasks find out."""

    def test_which_models_there_are(self, bedrock: RunningSimulator, shell: str) -> None:
        proxy = {"discovery": {"enabled": True, "ttl": 300}}
        with running_gateway(bedrock.url, options=SHELLS[shell], proxy=proxy) as gateway:
            with gateway.openai() as sdk:
                assert "amazon.nova-pro-v1:0" in {model.id for model in sdk.models.list()}

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_what_is_at_a_url(self, bedrock: RunningSimulator, shell: str, host: str) -> None:
        proxy = {"image_urls": {"enabled": True, "plain_http": True, "timeout": 5}}
        url = {"type": "image_url", "image_url": {"url": f"http://{host}/x.png"}}
        body = {"model": "claude", "messages": [{"role": "user", "content": [url]}]}
        with running_gateway(bedrock.url, options=SHELLS[shell], proxy=proxy) as gateway:
            with connected(gateway.url) as raw:
                raw.send(request(body=json.dumps(body).encode()))
                answer = raw.answer()
        assert answer.status == 400
        assert b"its host is not on the public internet" in answer.body
