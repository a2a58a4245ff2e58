"""The guards of the door through a real gateway: sizes, addresses, web pages, templates, a guardrail.

Each rule of theirs is tested where it is written; here they stand together, in one `stargate serve` before
the simulator, in the order in which they run.
"""

import json
from collections.abc import Generator
from typing import Any, Final

import openai
import pytest

from support.gateway import KEY, RunningGateway, running_gateway
from support.raw import Answer, chat, connected, request
from support.simulator import RunningSimulator

APP: Final = "https://app.example"
ABROAD: Final = "203.0.113.9"
BLOCKED: Final = "[[simulator: stop=guardrail_intervened]]"
PLUGINS: Final[list[dict[str, Any]]] = [
    {"name": "cors", "config": {"origins": [APP], "exposed_headers": ["x-request-id"]}},
    {"name": "ip-restriction", "config": {"deny": [ABROAD], "trusted_proxies": ["127.0.0.1"]}},
    {"name": "request-size", "config": {"max_body_bytes": 20_000, "max_messages": 3}},
    {"name": "request-transform", "config": {"models": {"gpt-4o": "claude"}}},
    {
        "name": "prompt-template",
        "config": {"templates": [{"name": "greet", "template": "Say hello to {{name}}"}]},
    },
    {"name": "bedrock-guardrail", "config": {"identifier": "gr1", "apply": True}},
]


@pytest.fixture(scope="module")
def gateway(simulator: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway with all of them."""
    with running_gateway(simulator.url, plugins=PLUGINS) as running:
        yield running


def asked(gateway: RunningGateway, sent: bytes, method: str = "POST") -> Answer:
    """What is answered."""
    with connected(gateway.url) as raw:
        raw.send(sent)
        return raw.answer(method=method)


def test_a_preflight_needs_no_key_and_an_error_can_be_read(gateway: RunningGateway) -> None:
    told = {
        "Origin": APP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = asked(gateway, request("OPTIONS", headers=told, key="none"), method="OPTIONS")
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-headers"] == "authorization"
    answer = asked(gateway, request(body=chat("Hello"), headers={"Origin": APP}, key="sk-wrong"))
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (403, APP)


def test_an_address_is_the_one_that_the_proxy_names(gateway: RunningGateway) -> None:
    for named, status in ((ABROAD, 403), ("198.51.100.1", 200), (f"{ABROAD}, 198.51.100.1", 200)):
        answer = asked(gateway, request(body=chat("Hello"), headers={"X-Forwarded-For": named}))
        assert answer.status == status


def test_sizes(gateway: RunningGateway) -> None:
    assert asked(gateway, request(body=chat("x" * 20_000))).status == 413
    messages = [{"role": "user", "content": "hi"}] * 4
    body = json.dumps({"model": "claude", "messages": messages}).encode()
    assert asked(gateway, request(body=body)).status == 400


def test_a_template_and_a_renamed_model(gateway: RunningGateway, simulator: RunningSimulator) -> None:
    body = {"model": "gpt-4o", "messages": "{template://greet}", "properties": {"name": "Ada"}}
    answer = asked(gateway, request(body=json.dumps(body).encode()))
    assert answer.status == 200
    applied, called = simulator.requests()[-2:]
    assert (applied["operation"], called["operation"]) == ("ApplyGuardrail", "Converse")
    record = gateway.record(request_id=answer.headers["x-request-id"])
    assert record["model"] == "claude"


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_guardrail_blocks_never_reaches_the_model(
    gateway: RunningGateway, simulator: RunningSimulator, stream: bool
) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as sdk:
        messages: Any = [{"role": "user", "content": f"tell me {BLOCKED}"}]
        if stream:
            chunks = list(sdk.chat.completions.create(model="claude", messages=messages, stream=True))
            choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
            said, reason = "".join(one.delta.content or "" for one in choices), choices[-1].finish_reason
        else:
            choice = sdk.chat.completions.create(model="claude", messages=messages).choices[0]
            said, reason = choice.message.content or "", choice.finish_reason
    assert (said, reason) == ("Sorry, the model cannot answer this question.", "content_filter")
    assert simulator.requests()[-1]["operation"] == "ApplyGuardrail"
