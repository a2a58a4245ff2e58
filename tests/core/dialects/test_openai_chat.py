"""The chat dialect from end to end: openai-python on one side, recorded Bedrock answers on the other."""

from typing import Any

import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.operations import Operation
from stargate_core.aws.surfaces import GuardrailWay, Surface
from stargate_core.dialects.face import Ask, Fetched, Options, Reply, Request, Target
from stargate_core.dialects.openai_chat import OpenAIChat
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.wire.eventstream import encode_event, encode_exception
from stargate_core.wire.sse import SseFrameDecoder
from support.dialects import EVENT_STREAM, HAIKU, a_request, answered, chat_request, text_events
from support.sdks import Gateway, openai_client
from support.vectors import RECORDED

CHAT = OpenAIChat()
ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-6"
OPENAI = Target("openai.gpt-5", Surface.OPENAI, Options(guardrail=GuardrailWay.HEADERS))
MANTLE = Target("openai.gpt-5", Surface.MANTLE_OPENAI, Options(guardrail=GuardrailWay.NONE))
TOOL_ANSWER = (RECORDED / "json" / "otel__converse__00b1664f615d.json").read_bytes()
TOOL_STREAM = (RECORDED / "streams" / "otel__converse-stream__8e88c115ac14.bin").read_bytes()


def gateway(body: bytes, sent: list[Any] | None = None) -> Gateway:
    """A gateway whose Bedrock always answers with `body`."""

    def handle(request: Request) -> Reply:
        if sent is not None:
            call = CHAT.compose(request, CHAT.read(request), Target(HAIKU))
            sent.append(msgspec.json.decode(call.body))
        return answered(CHAT, request, HAIKU, EVENT_STREAM, body)

    return handle


def stream_of(*texts: str) -> bytes:
    return b"".join(encode_event(name, msgspec.json.encode(event)) for name, event in text_events(*texts))


class TestOpenAIPython:
    def test_a_stream(self) -> None:
        with openai_client(gateway(stream_of("Hel", "lo"))) as client:
            chunks = list(
                client.chat.completions.create(
                    model="claude", messages=[{"role": "user", "content": "hi"}], stream=True
                )
            )
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello"

    def test_the_sdks_own_accumulator_gets_recorded_tool_calls_whole(self) -> None:
        with (
            openai_client(gateway(TOOL_STREAM)) as client,
            client.chat.completions.stream(
                model="claude",
                messages=[{"role": "user", "content": "hi"}],
                stream_options={"include_usage": True},
            ) as stream,
        ):
            final = stream.get_final_completion()
        assert final.choices[0].finish_reason == "tool_calls"
        assert final.choices[0].message.content
        calls = final.choices[0].message.tool_calls
        assert calls is not None
        assert [msgspec.json.decode(call.function.arguments) for call in calls] == [
            {"location": "Seattle"},
            {"location": "San Francisco"},
        ]
        assert final.usage is not None
        assert final.usage.total_tokens == 415 + 195

    def test_a_round_trip_of_tools(self) -> None:
        tools: Any = [{"type": "function", "function": {"name": "get_current_weather", "parameters": {}}}]
        messages: list[Any] = [{"role": "user", "content": "What is the weather in Seattle?"}]
        with (
            openai_client(gateway(TOOL_STREAM)) as client,
            client.chat.completions.stream(model="c", messages=messages, tools=tools) as stream,
        ):
            message = stream.get_final_completion().choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        assert message.tool_calls is not None
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in message.tool_calls
        ]
        sent: list[Any] = []
        with openai_client(gateway(TOOL_ANSWER, sent)) as client:
            client.chat.completions.create(model="c", messages=messages, tools=tools)
        _, asked, answers = sent[0]["messages"]
        uses = [block["toolUse"] for block in asked["content"] if "toolUse" in block]
        results = [block["toolResult"]["toolUseId"] for block in answers["content"]]
        assert len(uses) == 2
        assert results == [use["toolUseId"] for use in uses]

    def test_a_round_trip_of_thoughts(self) -> None:
        said = [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "E"}}},
            {"reasoningContent": {"redactedContent": "RXRrRUNr"}},
            {"toolUse": {"toolUseId": "t", "name": "f", "input": {}}},
        ]
        answer = {"output": {"message": {"role": "assistant", "content": said}}, "stopReason": "tool_use"}
        messages: list[Any] = [{"role": "user", "content": "hi"}]
        tools: Any = [{"type": "function", "function": {"name": "f"}}]
        with openai_client(gateway(msgspec.json.encode(answer))) as client:
            made = client.chat.completions.create(model="c", messages=messages, tools=tools)
        messages.append(made.choices[0].message.model_dump(exclude_none=True))
        messages.append({"role": "tool", "tool_call_id": "t", "content": "1"})
        sent: list[Any] = []
        with openai_client(gateway(TOOL_ANSWER, sent)) as client:
            client.chat.completions.create(model="c", messages=messages, tools=tools)
        assert sent[0]["messages"][1]["content"] == said

    def test_a_round_trip_of_streamed_thoughts(self) -> None:
        def delta(at: int, **content: str) -> tuple[str, Any]:
            return ("contentBlockDelta", {"contentBlockIndex": at, "delta": {"reasoningContent": content}})

        head, *rest = text_events()
        thoughts = [
            delta(0, text="h"),
            delta(0, text="m"),
            delta(0, signature="E"),
            ("contentBlockStop", {"contentBlockIndex": 0}),
            delta(1, redactedContent="RXRrRUNr"),
            ("contentBlockStop", {"contentBlockIndex": 1}),
            ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"text": "a"}}),
        ]
        stream = b"".join(
            encode_event(name, msgspec.json.encode(event)) for name, event in (head, *thoughts, *rest)
        )
        messages: list[Any] = [{"role": "user", "content": "hi"}]
        with (
            openai_client(gateway(stream)) as client,
            client.chat.completions.stream(model="c", messages=messages) as made,
        ):
            message = made.get_final_completion().choices[0].message
        messages += [message.model_dump(exclude_none=True), {"role": "user", "content": "go on"}]
        sent: list[Any] = []
        with openai_client(gateway(TOOL_ANSWER, sent)) as client:
            client.chat.completions.create(model="c", messages=messages)
        assert sent[0]["messages"][1]["content"] == [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "E"}}},
            {"reasoningContent": {"redactedContent": "RXRrRUNr"}},
            {"text": "a"},
        ]

    def test_a_whole_answer(self) -> None:
        with openai_client(gateway(TOOL_ANSWER)) as client:
            made = client.chat.completions.create(
                model="claude", messages=[{"role": "user", "content": "hi"}]
            )
        assert made.model == "claude"
        assert made.choices

    def test_extra_body_reaches_the_model(self) -> None:
        sent: list[Any] = []
        with openai_client(gateway(TOOL_ANSWER, sent)) as client:
            client.chat.completions.create(
                model="claude", messages=[{"role": "user", "content": "hi"}], extra_body={"top_k": 5}
            )
        assert sent[0]["additionalModelRequestFields"] == {"top_k": 5}

    @pytest.mark.parametrize(
        "end",
        [b"", encode_exception("throttlingException", b'{"message":"slow down"}')],
        ids=["a cut", "an exception"],
    )
    def test_a_stream_that_breaks_raises(self, end: bytes) -> None:
        whole = [encode_event(name, msgspec.json.encode(event)) for name, event in text_events("Hello")]
        with openai_client(gateway(b"".join(whole[:3]) + end)) as client:
            stream = client.chat.completions.create(
                model="claude", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            said = [next(stream).choices[0] for _ in range(2)]
            with pytest.raises(openai.APIError) as caught:
                next(stream)
        assert [choice.delta.content for choice in said] == ["", "Hello"]
        assert [choice.finish_reason for choice in said] == [None, None]
        assert caught.value.code == ("rate_limit_exceeded" if end else "upstream_stream_broken")

    def test_a_bad_request_is_named(self) -> None:
        with openai_client(gateway(b"")) as client, pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(
                model="claude", messages=[{"role": "user", "content": "hi"}], temperature=1.7
            )
        assert caught.value.param == "temperature"
        assert "0 to 1" in caught.value.message


class TestRead:
    def test_what_policy_must_know(self) -> None:
        ask = CHAT.read(chat_request(stream=True, max_tokens=7))
        assert (ask.model, ask.stream, ask.output_tokens_max, ask.local) == ("claude", True, 7, False)
        assert ask.operation is None
        assert ask.temperature is None
        assert CHAT.read(chat_request(temperature=0)).temperature == 0

    @pytest.mark.parametrize("model", [None, ""])
    def test_no_model_is_the_default(self, model: str | None) -> None:
        assert CHAT.read(chat_request(model=model)).model is None

    def test_what_is_wrong_for_converse_may_be_right_elsewhere(self) -> None:
        request = chat_request(messages=[{"role": "user", "content": [{"type": "hologram"}]}], max_tokens=7)
        ask = CHAT.read(request)
        assert (ask.model, ask.stream, ask.output_tokens_max) == ("claude", False, 7)
        with pytest.raises(Refused) as caught:
            CHAT.compose(request, ask, Target(HAIKU))
        assert caught.value.fault.param == "messages[0].content[0].type"
        assert CHAT.compose(request, ask, OPENAI).operation is Operation.CHAT_COMPLETIONS

    @pytest.mark.parametrize(
        ("body", "cause", "param"),
        [
            (b"{", Cause.BODY_MALFORMED, None),
            (b'{"messages":"\xff"}', Cause.BODY_MALFORMED, None),
            (b"[]", Cause.BODY_INVALID, None),
            (b'{"model":5}', Cause.BODY_INVALID, "model"),
            (b'{"messages":5,"stream":1}', Cause.BODY_INVALID, "stream"),
            (b'{"guardrailConfig":{}}', Cause.BODY_INVALID, "guardrailConfig.guardrailIdentifier"),
        ],
    )
    def test_what_is_wrong_for_everybody_is_refused_at_once(
        self, body: bytes, cause: Cause, param: str | None
    ) -> None:
        with pytest.raises(Refused) as caught:
            CHAT.read(a_request(body))
        assert (caught.value.fault.cause, caught.value.fault.param) == (cause, param)

    def test_urls_are_told_before_they_are_needed(self) -> None:
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in ("https://a/1", "HTTP://a/2")]
        request = chat_request(messages=[{"role": "user", "content": [*parts, parts[0]]}])
        ask = CHAT.read(request)
        assert ask.urls == ("https://a/1", "HTTP://a/2")
        with pytest.raises(Refused) as caught:
            CHAT.compose(request, ask, Target(HAIKU))
        assert caught.value.fault.param == "messages[0].content[0].image_url.url"
        ask = CHAT.read(request)
        ask.fetched.update({url: Fetched("image/png", b"GIF89a") for url in ask.urls})
        body = msgspec.json.decode(CHAT.compose(request, ask, Target(HAIKU)).body)
        assert [block["image"]["format"] for block in body["messages"][0]["content"]] == ["gif"] * 3
        assert CHAT.read(chat_request()).urls == ()

    @given(st.binary())
    def test_any_bytes_are_read_or_refused(self, body: bytes) -> None:
        with pytest.raises(Refused):
            CHAT.read(a_request(b"\0" + body))


class TestCompose:
    @pytest.mark.parametrize(
        ("stream", "operation"), [(True, Operation.CONVERSE_STREAM), (False, Operation.CONVERSE)]
    )
    def test_the_call(self, stream: bool, operation: Operation) -> None:
        request = chat_request(stream=stream)
        call = CHAT.compose(request, CHAT.read(request), Target(ARN))
        assert (call.operation, call.method, call.stream) == (operation, b"POST", stream)
        assert call.target.startswith(
            b"/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2F"
        )
        assert call.target.endswith(b"/converse-stream" if stream else b"/converse")

    def test_nothing_of_the_callers_headers_travels_on(self) -> None:
        headers = [(b"authorization", b"Bearer k"), (b"cookie", b"a=b"), (b"x-amz-security-token", b"t")]
        request = a_request(chat_request().body, headers=headers)
        assert CHAT.compose(request, CHAT.read(request), Target(HAIKU)).headers == [
            (b"content-type", b"application/json")
        ]

    def test_the_answer_bears_the_callers_name_or_the_targets(self) -> None:
        for model, told in (("mine", "mine"), (None, ARN)):
            request = chat_request(model=model)
            reply = answered(CHAT, request, ARN, [], TOOL_ANSWER)
            assert msgspec.json.decode(reply.body)["model"] == told

    @pytest.mark.parametrize(
        ("target", "cause"),
        [
            (Target("anthropic.claude-v2", Surface.INVOKE), Cause.BODY_INVALID),
            (Target("anthropic.claude-v2", Surface.ANTHROPIC), Cause.BODY_INVALID),
            (Target("anthropic.claude-v2", Surface.MANTLE_ANTHROPIC), Cause.BODY_INVALID),
            (Target(""), Cause.MODEL_UNKNOWN),
            (Target(".."), Cause.MODEL_UNKNOWN),
        ],
        ids=str,
    )
    def test_a_target_out_of_reach_is_refused(self, target: Target, cause: Cause) -> None:
        request = chat_request()
        with pytest.raises(Refused) as caught:
            CHAT.compose(request, CHAT.read(request), target)
        assert caught.value.fault.cause is cause
        assert caught.value.fault.param == "model"


GUARDED: list[tuple[bytes, bytes]] = [
    (b"x-amzn-bedrock-guardrailidentifier", b"g1"),
    (b"x-amzn-bedrock-guardrailversion", b"2"),
    (b"x-amzn-bedrock-trace", b"ENABLED"),
]
MEMBER = {"guardrailIdentifier": "g1", "guardrailVersion": "2", "trace": "enabled"}


class TestGuardrails:
    @pytest.mark.parametrize("by_header", [True, False])
    def test_converse_has_it_in_the_body(self, by_header: bool) -> None:
        members: dict[str, Any] = {} if by_header else {"guardrailConfig": MEMBER}
        request = a_request(chat_request(**members).body, headers=GUARDED if by_header else [])
        call = CHAT.compose(request, CHAT.read(request), Target(HAIKU))
        sent = msgspec.json.decode(call.body)
        assert sent["guardrailConfig"] == MEMBER
        assert "additionalModelRequestFields" not in sent
        assert call.headers == [(b"content-type", b"application/json")]

    @pytest.mark.parametrize("by_header", [True, False])
    def test_openais_own_api_has_it_in_headers(self, by_header: bool) -> None:
        members: dict[str, Any] = {} if by_header else {"guardrailConfig": MEMBER}
        request = a_request(chat_request(**members).body, headers=GUARDED if by_header else [])
        call = CHAT.compose(request, CHAT.read(request), OPENAI)
        assert call.headers == [(b"content-type", b"application/json"), *GUARDED]
        assert "guardrailConfig" not in msgspec.json.decode(call.body)

    def test_where_it_cannot_be_had_the_request_is_refused(self) -> None:
        request = a_request(chat_request().body, headers=GUARDED)
        with pytest.raises(Refused) as caught:
            CHAT.compose(request, CHAT.read(request), MANTLE)
        assert caught.value.fault.param == "guardrailConfig"


class TestOpenAIsOwn:
    """Models that AWS serves through OpenAI's own API."""

    WHOLE = msgspec.json.encode(
        {
            "id": "chatcmpl-x",
            "object": "chat.completion",
            "created": 1,
            "model": "openai.gpt-5",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
            ],
        }
    )

    @pytest.mark.parametrize("target", [OPENAI, MANTLE], ids=lambda target: target.surface.value)
    @pytest.mark.parametrize("stream", [True, False])
    def test_the_call(self, target: Target, stream: bool) -> None:
        said = {"logprobs": True, "n": 2, "temperature": 1.9, "functions": [], "top_k": 5, "stream": stream}
        request = chat_request(**said, messages=[{"role": "function", "name": "f", "content": "1"}])
        call = CHAT.compose(request, CHAT.read(request), target)
        assert (call.operation, call.method, call.target) == (
            Operation.CHAT_COMPLETIONS,
            b"POST",
            b"/chat/completions",
        )
        assert call.stream is stream
        options = {"stream_options": {"include_usage": True}} if stream else {}
        sent = {**msgspec.json.decode(request.body), "model": "openai.gpt-5", **options}
        assert msgspec.json.decode(call.body) == sent

    def test_the_answer_bears_the_callers_name_for_the_model(self) -> None:
        request = chat_request()
        ask = CHAT.read(request)
        machine = CHAT.translator(request, ask, CHAT.compose(request, ask, OPENAI))
        reply = machine.render_answer(machine.answer([], self.WHOLE), [])
        assert msgspec.json.decode(reply.body) == {**msgspec.json.decode(self.WHOLE), "model": "claude"}

    @pytest.mark.parametrize("include_usage", [True, False])
    def test_its_usage_is_told_to_who_asks(self, include_usage: bool) -> None:
        request = chat_request(stream=True, stream_options={"include_usage": include_usage})
        ask = CHAT.read(request)
        machine = CHAT.translator(request, ask, CHAT.compose(request, ask, OPENAI))
        body = b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n'
        (frame,) = SseFrameDecoder().feed(body)
        assert machine.frame(frame) == (body if include_usage else b"")
        assert machine.usage is not None


def test_failures_are_openais() -> None:
    reply = CHAT.failure(Fault(Cause.MODEL_UNKNOWN), "id")
    assert reply.status == 404
    assert msgspec.json.decode(reply.body)["error"]["code"] == "model_not_found"


def test_a_chat_is_never_local() -> None:
    with pytest.raises(AssertionError):
        CHAT.answer_locally(chat_request(), Ask(model=None, stream=False), ())
