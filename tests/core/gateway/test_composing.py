"""What of a caller's headers travels on is fit to be signed; what is not is the caller's mistake, and never
looks as if the gateway's credentials were at fault. And no model that a body brings in is one that its
caller's key may not use.
"""

from typing import Any

import msgspec
import pytest

from stargate_core.config.plugin_configs import ApiKeyAuth
from stargate_core.config.schema import Consumer, KeyCredential, PluginEntry
from stargate_core.secret import Secret
from support.machines import MODEL, Bench, a_config, a_plan, chat, converse, request

MESSAGES = msgspec.json.encode(
    {"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
)
PATHS = ["/v1/messages", f"/model/{MODEL}/invoke", f"/model/{MODEL}/invoke-with-response-stream"]
NAMES = ["x-amzn-bedrock-service-tier", "x-amzn-bedrock-request-metadata"]


def asked(path: str, name: str, value: str) -> Bench:
    bench = Bench()
    bench.ask(request(path, MESSAGES, headers={name: value}))
    return bench


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["\xff", "caf\xe9", '{"a": "\xc3\xa9"}', "a\tb"])
def test_what_is_not_plain_is_refused_and_the_header_named(path: str, name: str, value: str) -> None:
    bench = asked(path, name, value)
    assert bench.opened == []
    body: Any = msgspec.json.decode(bench.only.body)
    assert bench.only.status == 400
    assert name in (body["message"] if "message" in body else body["error"]["message"])
    bench.settle()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("value", ["", "flex", "a  b", '{"a": "b c"}'])
def test_what_is_plain_travels(path: str, value: str) -> None:
    bench = asked(path, NAMES[0], value)
    bench.open()
    assert bench.call.headers[NAMES[0]] == value


@pytest.mark.parametrize("path", [*PATHS, f"/model/{MODEL}/converse", "/v1/chat/completions"])
@pytest.mark.parametrize("coding", ["gzip", "GZIP, br", "aws-chunked"])
def test_a_body_that_is_compressed_is_refused_by_that_word(path: str, coding: str) -> None:
    bench = asked(path, "content-encoding", coding)
    assert (bench.opened, bench.only.status) == ([], 400)
    assert b"Content-Encoding" in bench.only.body


def test_identity_is_no_coding() -> None:
    assert len(asked(PATHS[0], "content-encoding", "Identity").opened) == 1


def test_a_header_that_does_not_travel_may_be_anything() -> None:
    for body in (chat(headers={"x-note": "\xff"}), converse(headers={"cookie": "\xff"})):
        bench = Bench()
        bench.ask(body)
        assert len(bench.opened) == 1


HAIKU, OPUS = MODEL, "us.anthropic.claude-opus-4-6-v1"
ADVISOR = {"type": "advisor_20260301", "name": "advisor", "model": OPUS}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
CHAT = {"model": HAIKU, "messages": [{"role": "user", "content": "hi"}]}
WAYS: list[tuple[str, Any]] = [
    ("/v1/messages", {**msgspec.json.decode(MESSAGES), "fallbacks": [{"model": OPUS}]}),
    ("/v1/messages", {**msgspec.json.decode(MESSAGES), "tools": [ADVISOR]}),
    ("/v1/messages", {**msgspec.json.decode(MESSAGES), "fallbacks": "default"}),
    (f"/model/{HAIKU}/invoke", {"max_tokens": 1, "messages": [], "fallbacks": [{"model": OPUS}]}),
    (f"/model/{HAIKU}/invoke-with-response-stream", {"tools": [ADVISOR]}),
    (f"/model/{HAIKU}/converse", {**CONVERSE, "additionalModelRequestFields": {"tools": [ADVISOR]}}),
    (f"/model/{HAIKU}/converse-stream", {**CONVERSE, "additionalModelRequestFields": {"fallbacks": [OPUS]}}),
    ("/v1/chat/completions", {**CHAT, "fallbacks": [{"model": OPUS}]}),
]


def asked_as(models: list[str] | None, path: str, body: Any) -> Bench:
    ann = Consumer(username="ann", keyauth_credentials=[KeyCredential(key=Secret("key-ann"))], models=models)
    config = a_config(PluginEntry(name="api-key-auth", config=ApiKeyAuth()), consumers=[ann])
    bench = Bench(a_plan(config))
    bench.ask(request(path, msgspec.json.encode(body), headers={"x-api-key": "key-ann"}))
    return bench


@pytest.mark.parametrize(("path", "body"), WAYS)
class TestFurtherModels:
    def test_one_that_the_key_may_not_use_is_refused(self, path: str, body: Any) -> None:
        bench = asked_as([HAIKU], path, body)
        assert (bench.opened, bench.only.status) == ([], 403)
        bench.settle()

    @pytest.mark.parametrize("models", [None, ["*"]])
    def test_whoever_may_use_all_may_use_these(self, path: str, body: Any, models: list[str] | None) -> None:
        bench = asked_as(models, path, body)
        bench.open()
        assert b"opus" in bench.call.body or body.get("fallbacks") == "default"


def test_a_further_model_that_the_key_may_use() -> None:
    path, body = WAYS[0]
    assert len(asked_as([HAIKU, "*opus*"], path, body).opened) == 1
