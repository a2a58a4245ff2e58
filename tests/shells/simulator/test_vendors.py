"""The vendors' APIs on the machine: who may ask, for which models, what is noted, what is refused and how.

What the vendors' SDKs make of the answers is in test_vendor_sdks.py, what their types say of the bodies in
test_vendor_types.py.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from stargate.simulator.ledger import Exchange
from stargate.simulator.scenarios import SCENARIOS
from stargate_core.secret import Secret
from support.simulator import Reply, Wire, signed

CLAUDE: Final = "anthropic.claude-sonnet-4-5-20250929-v1:0"
GPT: Final = "openai.gpt-oss-120b-1:0"
VERSION: Final = {"anthropic-version": "2023-06-01"}
CHAT: Final = "/openai/v1/chat/completions"
RESPONSES: Final = "/openai/v1/responses"
MESSAGES: Final = "/anthropic/v1/messages"
COUNT: Final = "/anthropic/v1/messages/count_tokens"


def body_of(path: str, text: str = "hello", **changes: Any) -> dict[str, Any]:
    """A good body for a path."""
    if path.endswith("/responses"):
        return {"model": GPT, "input": text, **changes}
    messages = [{"role": "user", "content": text}]
    if path.endswith("/chat/completions"):
        return {"model": GPT, "messages": messages, **changes}
    tokens = {} if path == COUNT else {"max_tokens": 999}
    return {"model": CLAUDE, "messages": messages, **tokens, **changes}


def ask(
    path: str,
    content: Any = None,
    headers: Mapping[str, str] | None = None,
    wire: Wire | None = None,
    service: str = "bedrock",
) -> Reply:
    """The answer to a body; with the version that Anthropic asks for, unless the headers say otherwise."""
    sent = {**(VERSION if path.startswith("/anthropic") else {}), **(headers or {})}
    raw = json.dumps(body_of(path) if content is None else content).encode()
    kept = {name: value for name, value in sent.items() if value}
    return (wire or Wire()).ask(signed(path, raw, headers=kept, service=service))


def noted(path: str, headers: Mapping[str, str] | None = None, service: str = "bedrock") -> Exchange:
    """What the ledger keeps of a request."""
    wire = Wire()
    ask(path, None, headers, wire, service)
    return wire.ledger.requests()[-1]


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "service", "operation"),
        [
            (CHAT, "bedrock", "ChatCompletions"),
            (CHAT, "bedrock-mantle", "ChatCompletions"),
            ("/v1/chat/completions", "bedrock-mantle", "ChatCompletions"),
            (RESPONSES, "bedrock", "Responses"),
            (RESPONSES, "bedrock-mantle", "Responses"),
            ("/v1/responses", "bedrock-mantle", "Responses"),
            ("/v1/responses", "bedrock", "Responses"),
            (MESSAGES, "bedrock", "Messages"),
            (MESSAGES, "bedrock-mantle", "Messages"),
            (COUNT, "bedrock", "MessagesCountTokens"),
            (f"{MESSAGES}?beta=true", "bedrock-mantle", "Messages"),
        ],
    )
    def test_are_served_under_both_names(self, path: str, service: str, operation: str) -> None:
        exchange = noted(path, service=service)
        assert (exchange.status, exchange.operation, exchange.error) == (200, operation, "")
        assert exchange.signing_name == service
        assert exchange.model_id == (CLAUDE if "anthropic" in path else GPT)

    @pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
    def test_but_not_under_any(self, path: str) -> None:
        reply = ask(path, service="s3")
        assert reply.status == 401
        assert "correct service" in reply.json()["error"]["message"]

    def test_the_runtimes_own_paths_know_one_name(self) -> None:
        request = signed("/model/simulator.x/converse", b"{}", service="bedrock-mantle")
        assert Wire().ask(request).status == 403

    @pytest.mark.parametrize("path", ["/openai/v1/models", "/openai/v1", "/anthropic/v1/complete"])
    def test_others_are_none(self, path: str) -> None:
        assert Wire().ask(signed(path, b"{}")).status == 404

    def test_a_key_is_as_good_as_a_signature(self) -> None:
        wire = Wire(api_keys=(Secret("ABSKgood"),))
        for header in ("Authorization: Bearer ABSKgood", "x-api-key: ABSKgood"):
            raw = json.dumps(body_of(MESSAGES)).encode()
            head = f"POST {MESSAGES} HTTP/1.1\r\nHost: b\r\nanthropic-version: 2023-06-01\r\n{header}\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
            assert wire.ask(head.encode() + raw).status == 200
            assert wire.ledger.requests()[-1].signing_name == ""
        assert "ABSKgood" not in str(wire.ledger.requests())


class TestModels:
    @pytest.mark.parametrize("path", [CHAT, RESPONSES])
    @pytest.mark.parametrize("model", ["no-such", CLAUDE, "us.anthropic.claude-3-haiku-20240307-v1:0"])
    def test_what_openais_api_does_not_serve(self, path: str, model: str) -> None:
        reply = ask(path, body_of(path, model=model))
        assert reply.status == 404
        assert reply.json()["error"]["code"] == "model_not_found"

    @pytest.mark.parametrize("path", [MESSAGES, COUNT])
    @pytest.mark.parametrize("model", ["no-such", GPT])
    def test_what_anthropics_does_not(self, path: str, model: str) -> None:
        reply = ask(path, body_of(path, model=model))
        assert (reply.status, reply.json()["error"]["type"]) == (404, "not_found_error")

    @pytest.mark.parametrize("model", [GPT, "qwen.qwen3-32b-v1:0", "simulator.slow:ms.0", f"us.{CLAUDE}"])
    def test_the_model_is_the_bodys(self, model: str) -> None:
        path = MESSAGES if "claude" in model else CHAT
        reply = ask(path, body_of(path, model=model))
        assert reply.status == 200
        assert reply.json()["model"]

    @pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES, COUNT])
    def test_without_one_nothing_is_answered(self, path: str) -> None:
        content = body_of(path)
        del content["model"]
        reply = ask(path, content)
        assert reply.status == 400
        assert "model" in reply.json()["error"]["message"]


class TestHeaders:
    GUARDRAIL: Final = {
        "X-Amzn-Bedrock-GuardrailIdentifier": "gr-1",
        "X-Amzn-Bedrock-GuardrailVersion": "7",
    }

    @pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
    def test_a_guardrail_is_noted(self, path: str) -> None:
        exchange = noted(path, self.GUARDRAIL)
        assert (exchange.status, exchange.guardrail_id, exchange.guardrail_version) == (200, "gr-1", "7")

    def test_so_it_is_with_the_runtimes_own_operations(self) -> None:
        wire = Wire()
        config = {"guardrailIdentifier": "gr00", "guardrailVersion": "1"}
        message = {"role": "user", "content": [{"text": "hi"}]}
        content = json.dumps({"messages": [message], "guardrailConfig": config}).encode()
        wire.ask(signed("/model/simulator.x/converse", content))
        exchange = wire.ledger.requests()[-1]
        assert (exchange.guardrail_id, exchange.guardrail_version) == ("gr00", "1")

    @pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
    def test_and_says_what_it_has_done(self, path: str) -> None:
        traced = {**self.GUARDRAIL, "X-Amzn-Bedrock-Trace": "ENABLED"}
        for wish, action in (("hi", "NONE"), ("[[simulator: stop=guardrail_intervened]]", "INTERVENED")):
            content = body_of(path, wish, **{"amazon-bedrock-guardrailConfig": {"tagSuffix": "xyz"}})
            answer = ask(path, content, traced).json()
            assert answer["amazon-bedrock-guardrailAction"] == action
            assert "gr-1" in answer["amazon-bedrock-trace"]["guardrail"]["input"]
            lines = ask(path, {**content, "stream": True}, traced).body.splitlines()
            data = [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]
            assert {event["amazon-bedrock-guardrailAction"] for event in data} == {action}
            assert ["amazon-bedrock-trace" in event for event in data].count(True) <= 1
        assert "amazon-bedrock-guardrailAction" not in ask(path).json()

    def test_its_version_must_be_told(self) -> None:
        assert ask(CHAT, headers={"X-Amzn-Bedrock-GuardrailIdentifier": "gr-1"}).status == 400

    def test_mantle_has_none(self) -> None:
        reply = ask(CHAT, headers=self.GUARDRAIL, service="bedrock-mantle")
        assert (reply.status, "Guardrails" in reply.json()["error"]["message"]) == (400, True)

    @pytest.mark.parametrize("path", [MESSAGES, COUNT])
    @pytest.mark.parametrize("version", ["", "2019-01-01"])
    def test_anthropic_asks_for_its_version(self, path: str, version: str) -> None:
        reply = ask(path, headers={"anthropic-version": version})
        assert reply.status == 400
        assert "anthropic-version" in reply.json()["error"]["message"]

    def test_and_knows_only_some_beta_flags(self) -> None:
        assert (
            ask(MESSAGES, headers={"anthropic-beta": "context-1m-2025-08-07, web-search-2025-03-05"}).status
            == 200
        )
        reply = ask(MESSAGES, headers={"anthropic-beta": "context-1m-2025-08-07,no-such"})
        assert (reply.status, "`no-such`" in reply.json()["error"]["message"]) == (400, True)

    def test_a_tier_is_echoed(self) -> None:
        reply = ask(CHAT, headers={"X-Amzn-Bedrock-Service-Tier": "flex"})
        assert reply.headers["x-amzn-bedrock-service-tier"] == "flex"
        assert ask(CHAT, body_of(CHAT, service_tier="priority")).json()["service_tier"] == "priority"

    @pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
    def test_the_body_must_be_json(self, path: str) -> None:
        assert ask(path, headers={"Content-Type": "text/plain"}).status == 415
        assert Wire().ask(signed(path, b"[]", headers=VERSION)).status == 400
        assert Wire().ask(signed(path, b"{" * 9, headers=VERSION)).status == 400


class TestEnvelopes:
    def test_openais(self) -> None:
        for path in (CHAT, RESPONSES):
            reply = ask(path, body_of(path, temperature=9))
            assert reply.status == 400
            error = reply.json()["error"]
            assert error.keys() == {"message", "type", "param", "code"}
            assert (error["type"], error["param"]) == ("invalid_request_error", "temperature")

    def test_anthropics(self) -> None:
        answer = ask(MESSAGES, body_of(MESSAGES, max_tokens=0)).json()
        assert answer.keys() == {"type", "error", "request_id"}
        assert answer["error"]["type"] == "invalid_request_error"
        assert answer["error"]["message"].startswith("max_tokens:")

    @pytest.mark.parametrize(
        ("name", "openai", "anthropic"),
        [
            ("ValidationException", (400, "invalid_request_error"), (400, "invalid_request_error")),
            ("AccessDeniedException", (403, "permission_error"), (403, "permission_error")),
            ("ThrottlingException", (429, "rate_limit_error"), (429, "rate_limit_error")),
            ("ServiceUnavailableException", (503, "server_error"), (529, "overloaded_error")),
            ("InternalServerException", (500, "server_error"), (500, "api_error")),
            ("ModelErrorException", (500, "server_error"), (500, "api_error")),
            ("ModelTimeoutException", (504, "server_error"), (504, "timeout_error")),
            ("ExpiredTokenException", (401, "authentication_error"), (401, "authentication_error")),
        ],
    )
    def test_what_becomes_of_awss_names(
        self, name: str, openai: tuple[int, str], anthropic: tuple[int, str]
    ) -> None:
        for path, expected in ((CHAT, openai), (RESPONSES, openai), (MESSAGES, anthropic)):
            reply = ask(path, body_of(path, f"[[simulator: throw-{name} message=oh retry-after=3]]"))
            error = reply.json()["error"]
            assert (reply.status, error["type"]) == expected
            assert (error["message"], reply.headers["retry-after"]) == ("oh", "3")

    @pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
    def test_what_stands_before_the_service_speaks_as_ever(self, path: str) -> None:
        reply = ask(path, body_of(path, "[[simulator: iam-denied]]"))
        assert (reply.status, reply.json().keys()) == (403, {"Message"})

    def test_an_error_under_a_good_status(self) -> None:
        for path in (CHAT, RESPONSES, MESSAGES):
            reply = ask(path, body_of(path, "[[simulator: 200-with-error-body]]"))
            assert (reply.status, "error" in reply.json()) == (200, True)


class TestScenarios:
    SLOW_BODIES: Final = {"oversize-line", "oversize-frame"}

    @pytest.mark.parametrize("name", SCENARIOS)
    @pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES, COUNT])
    @pytest.mark.parametrize("streaming", [True, False])
    def test_every_one_plays_in_every_api(self, name: str, path: str, streaming: bool) -> None:
        if path == COUNT and streaming:
            streaming = False
        short = " length=70000" if name in self.SLOW_BODIES else ""
        stream = {"stream": True} if streaming else {}
        wire = Wire()
        ask(path, body_of(path, f"[[simulator: {name}{short}]]", **stream), wire=wire)
        exchange = wire.ledger.requests()[0]
        assert (exchange.error, exchange.scenario) == ("", f"{name}{short}")

    def test_the_first_so_many_times(self) -> None:
        wire = Wire()
        content = body_of(CHAT, "[[simulator: throw-ThrottlingException times=2]]")
        assert [ask(CHAT, content, wire=wire).status for _ in range(3)] == [429, 429, 200]

    def test_pace(self) -> None:
        wire = Wire()
        reply = ask(CHAT, body_of(CHAT, "[[simulator: pace=100 words=5]]", stream=True), wire=wire)
        count = reply.body.count(b"data: ")
        assert wire.now_ns == (count - 1) * 10_000_000

    def test_by_the_process(self) -> None:
        wire = Wire(scenario="throw-ModelNotReadyException")
        assert ask(RESPONSES, wire=wire).status == 503

    def test_the_usage_of_a_count(self) -> None:
        assert ask(COUNT, body_of(COUNT, "one two three")).json() == {"input_tokens": 4}
        assert ask(COUNT, body_of(COUNT, "[[simulator: input-tokens=77]]")).json() == {"input_tokens": 77}


class TestStoredResponses:
    def test_one_that_was_given_out_may_be_continued(self) -> None:
        wire = Wire()
        first = ask(RESPONSES, wire=wire).json()["id"]
        assert ask(RESPONSES, body_of(RESPONSES, previous_response_id=first), wire=wire).status == 200
        wire.ledger.clear()
        reply = ask(RESPONSES, body_of(RESPONSES, previous_response_id=first), wire=wire)
        assert (reply.status, reply.json()["error"]["code"]) == (400, "previous_response_not_found")

    def test_not_one_that_was_not_to_be_stored(self) -> None:
        wire = Wire()
        first = ask(RESPONSES, body_of(RESPONSES, store=False), wire=wire).json()["id"]
        assert ask(RESPONSES, body_of(RESPONSES, previous_response_id=first), wire=wire).status == 400
