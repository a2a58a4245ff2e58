"""The ASGI application where servers and frameworks differ: mounted, without lifespan, badly configured.

(What every server must do alike: tests/conformance.)
"""

import signal
from typing import Any, Final

import openai
import pytest

from support.gateway import PATIENCE_SECONDS
from support.hosts import SERVERS, params, running_host, running_server
from support.raw import chat, connected, request
from support.simulator import RunningSimulator

HELLO: Final[Any] = [{"role": "user", "content": "Hello"}]
WITHOUT_LIFESPAN: Final = ("uvicorn", "--log-level", "warning", "--lifespan", "off", "--fd", "{fd}")


@pytest.mark.parametrize("name", params(*SERVERS))
def test_below_a_path_of_another_application(name: str, simulator: RunningSimulator) -> None:
    with running_server(
        SERVERS[name], simulator.url, application="support.mounted:app", mount="/llm"
    ) as host:
        with host.openai() as sdk:
            whole = sdk.chat.completions.create(model="claude", messages=HELLO)
            chunks = list(sdk.chat.completions.create(model="claude", messages=HELLO, stream=True))
            with pytest.raises(openai.NotFoundError, match="arn:aws:x/y"):
                sdk.get("/models/arn%3Aaws%3Ax%2Fy", cast_to=object)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == whole.choices[0].message.content
        with connected(host.server_url) as raw:
            raw.send(request(body=chat("Hello")))
            assert raw.answer().status == 418


def test_a_server_without_lifespan(simulator: RunningSimulator) -> None:
    """The gateway begins with the first request."""
    with running_server(WITHOUT_LIFESPAN, simulator.url) as host:
        with host.openai() as sdk:
            for _ in range(3):
                assert sdk.chat.completions.create(model="claude", messages=HELLO).choices
        assert host.stop() in (0, -signal.SIGTERM)
        assert [record["outcome"] for record in host.records()] == ["complete"] * 3


@pytest.mark.parametrize("name", params(*SERVERS))
def test_the_end_of_a_server_is_the_end_of_the_gateway(name: str, simulator: RunningSimulator) -> None:
    with running_host(name, simulator.url) as host:
        with host.openai() as sdk:
            sdk.chat.completions.create(model="claude", messages=HELLO)
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(PATIENCE_SECONDS) in (0, -signal.SIGTERM)
        assert [record["outcome"] for record in host.records()] == ["complete"]


def test_a_server_does_not_start_with_a_bad_configuration(simulator: RunningSimulator) -> None:
    with running_server(SERVERS["uvicorn"], simulator.url, gatewya={}) as host:
        assert host.process.wait(PATIENCE_SECONDS) != 0
