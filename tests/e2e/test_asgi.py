"""The ASGI application on real servers, each in a process of its own: the official SDK, errors, leaving,
ends; by itself and mounted into another application.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Final

import openai
import pytest

from support.embedded import records
from support.gateway import KEY, PATIENCE_SECONDS, configuration, eventually
from support.raw import chat, connected, request
from support.simulator import RunningSimulator

HELLO: Final[Any] = [{"role": "user", "content": "Hello"}]
SERVERS: Final[dict[str, Sequence[str]]] = {
    "hypercorn on asyncio": ("hypercorn", "--workers", "0", "--worker-class", "asyncio", "--bind", "fd://{}"),
    # Only a worker of a master's ends in good order on trio.
    "hypercorn on trio": ("hypercorn", "--workers", "1", "--worker-class", "trio", "--bind", "fd://{}"),
    "uvicorn": ("uvicorn", "--log-level", "warning", "--lifespan", "on", "--fd", "{}"),
    "uvicorn without lifespan": ("uvicorn", "--log-level", "warning", "--lifespan", "off", "--fd", "{}"),
}
APPLICATIONS: Final = {"stargate.asgi:app": "", "support.mounted:app": "/llm"}
STOP_SECONDS: Final = 15


class Running:
    """A server: where the gateway is in it, and the gateway's log."""

    def __init__(self, process: "subprocess.Popen[bytes]", server_url: str, mount: str, log: Path) -> None:
        self.process = process
        self.server_url = server_url
        self.mount = mount
        self.log = log

    def openai(self, **options: Any) -> openai.OpenAI:
        """openai-python, pointed at it."""
        known = {
            "base_url": f"{self.server_url}{self.mount}/v1",
            "api_key": KEY,
            "max_retries": 0,
            "timeout": 20,
        }
        return openai.OpenAI(**{**known, **options})

    def stop(self) -> int:
        """Its status, after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


@contextlib.contextmanager
def running(server: str, application: str, upstream: str, folder: Path, **changes: Any) -> Generator[Running]:
    """A server with an application. Connections wait in its socket until it is ready."""
    log, file = folder / "requests.jsonl", folder / "stargate.yaml"
    file.write_text(json.dumps(configuration(upstream, log, **changes)))
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "STARGATE_CONFIG": str(file), "PYTHONPATH": path}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        descriptor = listening.fileno()
        options = [option.format(descriptor) for option in SERVERS[server]]
        with subprocess.Popen(
            [sys.executable, "-m", *options, application], pass_fds=[descriptor], env=environment
        ) as process:
            try:
                yield Running(process, url, APPLICATIONS[application], log)
            finally:
                process.terminate()
                try:
                    process.wait(STOP_SECONDS)
                finally:
                    process.kill()


@pytest.fixture(scope="module", params=SERVERS, name="server")
def _server(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module", params=APPLICATIONS, name="application")
def _application(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module", name="host")
def _host(
    server: str, application: str, simulator: RunningSimulator, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Running]:
    folder = tmp_path_factory.mktemp("asgi")
    with running(server, application, simulator.url, folder, gateway={"max_body_bytes": 100_000}) as host:
        yield host


def test_the_sdk_has_an_answer(host: Running) -> None:
    with host.openai() as client:
        answer = client.chat.completions.create(model="claude", messages=HELLO)
    assert answer.choices[0].message.content
    record = eventually(lambda: records(host.log, outcome="complete"))[0]
    assert (record["client"], record["consumer"]) == ("127.0.0.1", "team-a")


def test_the_sdk_has_a_stream_while_bedrock_speaks(host: Running, simulator: RunningSimulator) -> None:
    simulator.clear()
    with host.openai() as client:
        stream = client.chat.completions.create(
            model="simulator.slow:ms.100:words.10", messages=HELLO, stream=True
        )
        words: list[str] = []
        for chunk in stream:
            if not words:
                assert simulator.requests()[-1]["outcome"] == "running"
            words += [choice.delta.content for choice in chunk.choices if choice.delta.content]
    assert len(words) >= 10


def test_the_sdk_has_typed_errors(host: Running) -> None:
    with host.openai(api_key="sk-wrong") as client, pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(model="claude", messages=HELLO)
    with host.openai() as client:
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="simulator.throw-ThrottlingException", messages=HELLO)
        assert caught.value.response.headers["x-should-retry"]
        with pytest.raises(openai.APIStatusError) as too_large:
            client.chat.completions.create(
                model="claude", messages=[{"role": "user", "content": "x" * 200_000}]
            )
        assert too_large.value.status_code == 413
        assert too_large.value.code == "PAYLOAD_TOO_LARGE"
        stream = client.chat.completions.create(
            model="simulator.stream-throttlingException", messages=HELLO, stream=True
        )
        with pytest.raises(openai.APIError):
            list(stream)


def test_a_slash_in_a_name_stays_one(host: Running) -> None:
    with host.openai() as client, pytest.raises(openai.NotFoundError, match="arn:aws:x/y"):
        client.get("/models/arn%3Aaws%3Ax%2Fy", cast_to=object)


@pytest.mark.parametrize(
    ("scenario", "stream", "phase"),
    [
        ("stall-before-headers", False, "before-headers"),
        ("stall-before-first-token", True, "before-first-event"),
        ("slow:ms.50:words.400", True, "mid-stream"),
    ],
)
def test_a_client_that_leaves_cancels_its_call(
    host: Running, simulator: RunningSimulator, scenario: str, stream: bool, phase: str
) -> None:
    simulator.clear()
    model = f"simulator.{scenario}:input-tokens.7"
    before = len(records(host.log, model=model))
    with connected(host.server_url) as raw:
        path = f"{host.mount}/v1/chat/completions"
        raw.send(request(path=path, body=chat("Hello", model=model, stream=stream)))
        eventually(simulator.requests)
        if phase == "mid-stream":
            raw.read_until(b"data: ")
    (call,) = eventually(lambda: [one for one in simulator.requests() if one["outcome"] != "running"])
    assert (call["outcome"], call["phase"]) == ("cancelled", phase)
    record = eventually(lambda: records(host.log, model=model)[before:])[0]
    assert record["outcome"] == "client_left"


def test_the_end_of_a_server_is_the_end_of_the_gateway(
    server: str, simulator: RunningSimulator, tmp_path: Path
) -> None:
    """And one that has lifespans lets what runs finish."""
    with running(server, "stargate.asgi:app", simulator.url, tmp_path) as host:
        with host.openai() as client:
            client.chat.completions.create(model="claude", messages=HELLO)
        status = host.stop()
    assert status in (0, -signal.SIGTERM)
    assert [record["outcome"] for record in records(host.log)] == ["complete"]


def test_a_server_does_not_start_with_a_bad_configuration(
    simulator: RunningSimulator, tmp_path: Path
) -> None:
    with running("uvicorn", "stargate.asgi:app", simulator.url, tmp_path, gatewya={}) as host:
        assert host.process.wait(PATIENCE_SECONDS) != 0
