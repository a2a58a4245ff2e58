"""Counting tokens: what CountTokens is asked, of which model, and what its answer is to Anthropic's SDK."""

import base64
import functools
from typing import Any, Final

import msgspec
import pytest

from stargate_core.aws.operations import Operation
from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.anthropic_count import AnthropicCount, CountTranslator, foundation_model
from stargate_core.dialects.face import BadAnswer, Call, Headers, Options, Reply, Request, Target
from stargate_core.faults import Cause, Fault, Refused
from support.bedrock_model import objections
from support.dialects import HAIKU, REQUEST_ID, a_request, deeper
from support.sdks import anthropic_client
from support.vectors import recordings

DIALECT: Final = AnthropicCount()
ASKED: Final[Any] = {"model": "claude", "messages": [{"role": "user", "content": "How many?"}]}
PROFILE: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"


def composed(
    surface: Surface,
    model: str = HAIKU,
    headers: Headers | None = None,
    options: Options | None = None,
    **members: Any,
) -> Call:
    request = a_request(
        msgspec.json.encode({**ASKED, **members}), b"/v1/messages/count_tokens", headers=headers
    )
    return DIALECT.compose(request, DIALECT.read(request), Target(model, surface, options or Options()))


def translator() -> CountTranslator:
    request = a_request(msgspec.json.encode(ASKED))
    return DIALECT.translator(request, DIALECT.read(request), composed(Surface.INVOKE))


def counted(call: Call) -> Any:
    """The body inside an InvokeModel's count."""
    assert objections("CountTokens", call.body, modelId=HAIKU) == []
    body = msgspec.json.decode(call.body)
    return msgspec.json.decode(base64.b64decode(body["input"]["invokeModel"]["body"]))


class TestAsked:
    def test_policy_knows_it_for_what_it_is(self) -> None:
        ask = DIALECT.read(a_request(msgspec.json.encode(ASKED)))
        assert (ask.operation, ask.model, ask.stream) == (Operation.COUNT_TOKENS, "claude", False)
        assert ask.output_tokens_max == 0

    def test_of_claude_it_is_the_body_that_would_be_invoked(self) -> None:
        headers: Headers = [(b"anthropic-beta", b"token-counting-2024-11-01")]
        tools = [{"name": "a", "input_schema": {"type": "object"}}]
        call = composed(Surface.INVOKE, headers=headers, tools=tools, system="Be brief.")
        assert (call.operation, call.method, call.stream) == (Operation.COUNT_TOKENS, b"POST", False)
        assert call.target == b"/model/anthropic.claude-3-haiku-20240307-v1%3A0/count-tokens"
        assert call.headers == [(b"content-type", b"application/json")]
        assert counted(call) == {
            "messages": ASKED["messages"],
            "tools": tools,
            "system": "Be brief.",
            "anthropic_version": "bedrock-2023-05-31",
            "anthropic_beta": ["token-counting-2024-11-01"],
            "max_tokens": 1,
        }

    def test_a_limit_of_the_callers_stays(self) -> None:
        assert counted(composed(Surface.INVOKE, max_tokens=4096, stream=True))["max_tokens"] == 4096

    def test_what_bedrock_lacks_is_refused_or_dropped_here_too(self) -> None:
        with pytest.raises(Refused) as caught:
            composed(Surface.INVOKE, mcp_servers=[{"type": "url"}])
        assert caught.value.fault.param == "mcp_servers"
        call = composed(Surface.INVOKE, options=Options(drop_params=True), mcp_servers=[{"type": "url"}])
        assert counted(call) == counted(composed(Surface.INVOKE))

    def test_of_others_it_is_what_converse_would_be_given(self) -> None:
        call = composed(Surface.CONVERSE, "us.amazon.nova-lite-v1:0", system="Be brief.")
        assert objections("CountTokens", call.body, modelId=HAIKU) == []
        body = msgspec.json.decode(call.body)
        assert call.target == b"/model/amazon.nova-lite-v1%3A0/count-tokens"
        assert body["input"]["converse"]["messages"] == [{"role": "user", "content": [{"text": "How many?"}]}]
        assert body["input"]["converse"]["system"] == [{"text": "Be brief."}]

    @pytest.mark.parametrize("surface", [Surface.ANTHROPIC, Surface.MANTLE_ANTHROPIC])
    def test_where_aws_serves_anthropics_it_goes_as_it_is(self, surface: Surface) -> None:
        call = composed(surface, PROFILE, headers=[(b"anthropic-beta", b"a")])
        assert (call.operation, call.target) == (Operation.MESSAGES_COUNT_TOKENS, b"/messages/count_tokens")
        assert msgspec.json.decode(call.body) == {**ASKED, "model": PROFILE}
        assert call.headers == [
            (b"content-type", b"application/json"),
            (b"anthropic-version", b"2023-06-01"),
            (b"anthropic-beta", b"a"),
        ]

    @pytest.mark.parametrize("surface", [Surface.OPENAI, Surface.MANTLE_OPENAI])
    def test_others_count_nothing(self, surface: Surface) -> None:
        with pytest.raises(Refused) as caught:
            composed(surface)
        assert caught.value.fault.param == "model"

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"model": "claude"}, "messages"),
            ({"messages": []}, "messages"),
            ({"model": 1, "messages": ["a"]}, "model"),
        ],
    )
    def test_what_is_wrong_is_told(self, body: Any, param: str) -> None:
        with pytest.raises(Refused) as caught:
            DIALECT.read(a_request(msgspec.json.encode(body)))
        assert caught.value.fault.param == param


class TestModel:
    @pytest.mark.parametrize("place", ["us", "eu", "apac", "global", "jp", "au", "us-gov", "ca", "sa"])
    def test_behind_a_profile_of_awss_is_counted_by(self, place: str) -> None:
        base = "anthropic.claude-sonnet-4-20250514-v1:0"
        assert foundation_model(f"{place}.{base}") == base
        arn = f"arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:inference-profile/{place}.{base}"
        assert foundation_model(arn) == base

    @pytest.mark.parametrize(
        "model",
        [
            HAIKU,
            "amazon.nova-lite-v1:0",
            "meta.llama3-1-8b-instruct-v1:0",
            "zai.glm-4.7",
            "deepseek.v3.2",
            "minimax.minimax-m2.1",
            "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0",
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc.def.ghi",
            "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdef",
            "",
            "us.",
            "us.x\n.y",
        ],
    )
    def test_any_other_name_stays(self, model: str) -> None:
        assert foundation_model(model) == model

    def test_that_is_the_one_that_is_asked(self) -> None:
        target = composed(Surface.INVOKE, PROFILE).target
        assert target == b"/model/anthropic.claude-sonnet-4-20250514-v1%3A0/count-tokens"


class TestAnswer:
    def answered(self, body: bytes) -> tuple[int, Any]:
        told = translator()
        reply = told.render_answer(told.answer([], body), [])
        assert told.complete
        assert told.usage is None
        return reply.status, msgspec.json.decode(reply.body)

    @pytest.mark.parametrize(
        "body", [b'{"inputTokens":18}', b'{"inputTokens": 18.0}', b'{"input_tokens":18,"x":1}']
    )
    def test_is_the_count(self, body: bytes) -> None:
        assert self.answered(body) == (200, {"input_tokens": 18})

    def test_as_bedrock_has_given_it(self) -> None:
        answers = [one for one in recordings() if one.uri.endswith("/count-tokens") and one.status == 200]
        for one in answers:
            told = msgspec.json.decode(one.body)["inputTokens"]
            assert self.answered(one.body) == (200, {"input_tokens": told})
        assert len(answers) > 3

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"{}", b'{"inputTokens":"18"}', b'{"inputTokens":-1}', b"\xff"]
    )
    def test_anything_else_is_none(self, body: bytes) -> None:
        with pytest.raises(BadAnswer) as caught:
            self.answered(body)
        assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED

    def test_the_sdk_reads_it(self) -> None:
        def gateway(request: Request) -> Reply:
            ask = DIALECT.read(request)
            call = DIALECT.compose(request, ask, Target(HAIKU, Surface.INVOKE))
            translator = DIALECT.translator(request, ask, call)
            return translator.render_answer(translator.answer([], b'{"inputTokens":7}'), [])

        with anthropic_client(gateway) as client:
            assert client.messages.count_tokens(**ASKED).input_tokens == 7
            assert client.beta.messages.count_tokens(**ASKED).input_tokens == 7


def test_nothing_is_counted_here() -> None:
    with pytest.raises(AssertionError):
        DIALECT.answer_locally(a_request(b""), DIALECT.read(a_request(msgspec.json.encode(ASKED))), [])


def test_a_failure_is_anthropics() -> None:
    words = "The provided model doesn't support counting tokens."
    reply = DIALECT.failure(Fault(Cause.UPSTREAM_VALIDATION, words), REQUEST_ID)
    assert (reply.status, msgspec.json.decode(reply.body)["error"]["message"]) == (400, words)


def test_what_is_nested_too_deeply_is_refused_at_any_depth() -> None:
    """What could be read may be too deep to be written: two objects more are around it."""
    refusals = 0
    for depth in range(600, 1_100, 7):
        nested = b"[" * depth + b"]" * depth
        block = b'{"type":"tool_use","id":"t","name":"f","input":{"a":%b}}' % nested
        body = b'{"model":"claude","messages":[{"role":"assistant","content":[%b]}]}' % block
        request = a_request(body, b"/v1/messages/count_tokens")
        try:
            ask = DIALECT.read(request)
            target = Target("amazon.nova-lite-v1:0", Surface.CONVERSE, Options())
            deeper(60, functools.partial(DIALECT.compose, request, ask, target))
        except Refused as refused:
            refusals += 1
            assert refused.fault.cause in {Cause.BODY_MALFORMED, Cause.BODY_INVALID}
    assert refusals


def test_a_fault_is_put_in_anthropics_words() -> None:
    told = translator().broken(Fault(Cause.STREAM_CUT))
    assert told.startswith(b"event: error\n")
