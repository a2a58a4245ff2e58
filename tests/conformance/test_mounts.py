"""The gateway inside another application: below its path, beside what it does itself, as long as it lives."""

import signal
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import anthropic
import openai
import pytest

from support.gateway import eventually
from support.hosts import SERVERS, RunningServer, params, running_server
from support.raw import chat, connected, converse, deltas, request
from support.simulator import RunningSimulator

MODEL: Final = "anthropic.claude-3-haiku-20240307-v1:0"
PROFILE: Final = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{MODEL}"
HELLO: Final[Any] = [{"role": "user", "content": "Hello"}]


class Mounted(NamedTuple):
    """An application, where in it the gateway is, and the servers that run it."""

    application: str
    path: str
    servers: tuple[str, ...]


APPLICATIONS: Final = {
    "plain": Mounted("support.applications.plain:app", "/llm", tuple(SERVERS)),
    "FastAPI": Mounted("support.applications.in_fastapi:app", "/llm", ("hypercorn-trio", "uvicorn")),
    "Starlette": Mounted(
        "support.applications.in_starlette:app",
        "/api/v2/llm",
        ("hypercorn-trio", "hypercorn-asyncio", "granian"),
    ),
    # It is asyncio's alone.
    "Quart": Mounted("support.applications.in_quart:app", "/llm", ("hypercorn-asyncio", "uvicorn")),
}
CASES: Final = [
    pytest.param((name, *server.values), marks=server.marks, id=f"{name}-{server.values[0]}")
    for name, mounted in APPLICATIONS.items()
    for server in params(*mounted.servers)
]


@pytest.fixture(scope="module", params=CASES)
def host(request: pytest.FixtureRequest, bedrock: RunningSimulator) -> Iterator[RunningServer]:
    """Each application on its servers."""
    name, server = request.param
    application, path, _ = APPLICATIONS[name]
    with running_server(
        SERVERS[server], bedrock.url, application=application, mount=path, proxy={"allow_unlisted": True}
    ) as running:
        yield running


def test_the_sdks_find_it_there(host: RunningServer) -> None:
    with host.openai() as sdk:
        whole = sdk.chat.completions.create(model="claude", messages=HELLO)
        chunks = list(sdk.chat.completions.create(model="claude", messages=HELLO, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    with host.anthropic() as claude:
        message = claude.messages.create(model="claude", max_tokens=300, messages=HELLO)
        assert message.stop_reason == "end_turn"


def test_errors_are_the_gateways_own(host: RunningServer) -> None:
    with host.openai(api_key="sk-wrong") as sdk, pytest.raises(openai.PermissionDeniedError) as caught:
        sdk.chat.completions.create(model="claude", messages=HELLO)
    assert caught.value.request_id
    with host.anthropic() as claude, pytest.raises(anthropic.NotFoundError) as unknown:
        claude.post("/v1/nothing", cast_to=object, body={})
    assert unknown.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("model", [MODEL, PROFILE])
def test_names_in_paths_are_taken_as_they_were_sent(
    host: RunningServer, bedrock: RunningSimulator, model: str
) -> None:
    bedrock.clear()
    path = f"{host.mount}/model/{quote(model, safe='')}/converse"
    with connected(host.server_url) as raw:
        raw.send(request(path=path, body=converse("Hello")))
        assert raw.answer().status == 200
    assert bedrock.requests()[-1]["model_id"] == model


def test_who_leaves_cancels_the_call(host: RunningServer, bedrock: RunningSimulator) -> None:
    bedrock.clear()
    model = "simulator.slow:ms.50:words.400:input-tokens.30000"
    with connected(host.server_url) as raw:
        path = f"{host.mount}/v1/chat/completions"
        raw.send(request(path=path, body=chat("Hello", model=model, stream=True)))
        raw.read_until(b'"content"')
    assert host.record(model=model)["outcome"] == "client_left"
    assert eventually(lambda: bedrock.requests()[-1]["outcome"] == "cancelled")


def test_the_rest_is_the_applications(host: RunningServer) -> None:
    with connected(host.server_url) as raw:
        raw.send(request("GET", "/own"))
        assert raw.answer(method="GET").status == 418


@pytest.mark.parametrize("name", [name for name in APPLICATIONS if name != "plain"])
def test_what_runs_ends_before_the_application_does(name: str, bedrock: RunningSimulator) -> None:
    """Nobody enters the gateway of the plain one."""
    application, path, servers = APPLICATIONS[name]
    model = "simulator.slow:ms.40:words.20"
    with running_server(
        SERVERS[servers[0]], bedrock.url, application=application, mount=path
    ) as host, connected(host.server_url) as raw:  # fmt: skip
        raw.send(request(path=f"{path}/v1/chat/completions", body=chat("Hello", model=model, stream=True)))
        raw.read_until(b"data: ", keep=True)
        host.process.send_signal(signal.SIGTERM)
        assert len(deltas(raw.answer().body).split()) == 20
        assert host.process.wait(15) in (0, -signal.SIGTERM)
        assert host.record(model=model)["outcome"] == "complete"
