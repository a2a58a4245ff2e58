"""Whole answers: everything recorded parses in openai-python's own types, strictly, and nothing is lost."""

import functools
import json
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion
from openai.types.chat.chat_completion_message_function_tool_call import ChatCompletionMessageFunctionToolCall

from stargate_core.dialects.converse import ANSWER
from stargate_core.dialects.face import BadAnswer, Usage
from stargate_core.dialects.openai_chat_answer import chat_completion, finish_reason, usage_object
from stargate_core.faults import Cause
from support.dialects import CREATED, REQUEST_ID, USAGE, a_request, chat_translator, deeper
from support.vectors import Recording, recordings

ANSWERS = [r for r in recordings() if r.uri.endswith("/converse") and r.status == 200]

STOPS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "model_context_window_exceeded": "length",
}


def completion(content: list[Any], stop: str = "end_turn", **members: Any) -> ChatCompletion:
    body = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop, **members}
    answer = ANSWER.decode(msgspec.json.encode(body))
    return ChatCompletion.model_validate(chat_completion(answer, a_request(), "mine", {}), strict=True)


def texts_of(blocks: list[dict[str, Any]]) -> str:
    """All text of an answer, the plain way."""
    return "".join(
        block.get("text", "")
        + "".join(piece.get("text", "") for piece in block.get("citationsContent", {}).get("content", []))
        for block in blocks
    )


@pytest.mark.parametrize("recording", ANSWERS, ids=lambda recording: recording.file)
def test_nothing_of_a_recorded_answer_is_lost(recording: Recording) -> None:
    translator = chat_translator()
    reply = translator.render_answer(translator.answer([], recording.body), [])
    made = ChatCompletion.model_validate_json(reply.body, strict=True)
    recorded = json.loads(recording.body)
    blocks = recorded["output"]["message"]["content"]
    message = made.choices[0].message

    assert (message.content or "") == texts_of(blocks)
    uses = [b["toolUse"] for b in blocks if "toolUse" in b and b["toolUse"].get("type") != "server_tool_use"]
    calls = message.tool_calls or []
    assert all(isinstance(call, ChatCompletionMessageFunctionToolCall) for call in calls)
    assert [
        (call.id, call.function.name, json.loads(call.function.arguments))
        for call in calls
        if isinstance(call, ChatCompletionMessageFunctionToolCall)
    ] == [(use["toolUseId"], use["name"], use["input"]) for use in uses]
    thoughts = "".join(
        block["reasoningContent"].get("reasoningText", {}).get("text", "")
        for block in blocks
        if "reasoningContent" in block
    )
    assert (message.model_extra or {}).get("reasoning_content", "") == thoughts
    expected = STOPS[recorded["stopReason"]]
    assert made.choices[0].finish_reason == ("tool_calls" if calls and expected == "stop" else expected)
    assert made.usage is not None
    assert made.usage.total_tokens == recorded["usage"]["totalTokens"]
    assert made.usage.prompt_tokens + made.usage.completion_tokens == made.usage.total_tokens
    assert translator.complete
    assert translator.stop_reason == recorded["stopReason"]
    assert translator.usage is not None
    assert translator.usage.input_tokens == recorded["usage"]["inputTokens"]


def test_the_head_of_an_answer() -> None:
    made = completion([{"text": "hi"}])
    assert made.id == f"chatcmpl-{REQUEST_ID}"
    assert (made.object, made.created, made.model) == ("chat.completion", CREATED, "mine")
    assert made.choices[0].index == 0


class TestContent:
    def test_texts_are_joined_around_everything_else(self) -> None:
        made = completion(
            [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
                {"text": "a"},
                {"toolUse": {"toolUseId": "1", "name": "f", "input": {}}},
                {"citationsContent": {"content": [{"text": "b"}], "citations": []}},
                {"hologram": {}},
                {"text": "c"},
            ],
            "tool_use",
        )
        message = made.choices[0].message
        assert message.content == "abc"
        assert message.tool_calls is not None
        signed = {"type": "thinking", "thinking": "hm", "signature": "s"}
        assert message.model_extra == {"reasoning_content": "hm", "thinking_blocks": [signed]}

    def test_content_is_null_only_beside_calls(self) -> None:
        call = {"toolUse": {"toolUseId": "1", "name": "f", "input": {"a": 1}}}
        assert completion([call], "tool_use").choices[0].message.content is None
        assert completion([]).choices[0].message.content == ""

    def test_redacted_thoughts_are_no_content(self) -> None:
        made = completion([{"reasoningContent": {"redactedContent": "RXRr"}}, {"text": "a"}])
        assert made.choices[0].message.content == "a"
        redacted = {"type": "redacted_thinking", "data": "Etk"}
        assert made.choices[0].message.model_extra == {"thinking_blocks": [redacted]}

    def test_a_thought_that_nobody_has_signed_is_only_text(self) -> None:
        made = completion([{"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"text": "a"}])
        assert made.choices[0].message.model_extra == {"reasoning_content": "hm"}

    def test_citations_say_what_of_the_content_they_support(self) -> None:
        web = {"title": "A", "location": {"web": {"url": "https://a.example", "domain": "a.example"}}}
        page = {
            "title": "B",
            "sourceContent": [{"text": "so"}],
            "location": {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}},
        }
        made = completion(
            [
                {"text": "In short: "},
                {
                    "citationsContent": {
                        "content": [{"text": "it is "}, {"text": "so"}],
                        "citations": [web, page],
                    }
                },
                {"text": "."},
            ]
        )
        message = made.choices[0].message
        assert message.content == "In short: it is so."
        assert message.annotations is not None
        (annotation,) = message.annotations
        cited = annotation.url_citation
        assert (cited.url, cited.title) == ("https://a.example", "A")
        assert message.content[cited.start_index : cited.end_index] == "it is so"
        assert message.model_extra == {"citations": [page]}

    def test_tools_that_bedrock_runs_are_not_the_callers(self) -> None:
        server = {"toolUse": {"toolUseId": "1", "name": "code", "input": {}, "type": "server_tool_use"}}
        own = {"toolUse": {"toolUseId": "2", "name": "f", "input": {}, "type": "tool_use"}}
        result = {"toolResult": {"toolUseId": "1", "content": [{"text": "3"}]}}
        made = completion([server, result, {"text": "3"}])
        assert made.choices[0].message.tool_calls is None
        assert made.choices[0].finish_reason == "stop"
        calls = completion([server, result, own], "tool_use").choices[0].message.tool_calls
        assert calls is not None
        assert [call.id for call in calls] == ["2"]

    @pytest.mark.parametrize(
        ("raw", "arguments"),
        [
            (b"{}", "{}"),
            (b"{ }", "{}"),
            (b"null", "{}"),
            (b'""', "{}"),
            (
                b'{ "a" : [1.0, 1e30, 123456789012345678901234567890] }',
                '{"a":[1.0,1e30,123456789012345678901234567890]}',
            ),
            (b'{"a":"x  y \\u00e9 \xc3\xa9"}', '{"a":"x  y \\u00e9 é"}'),
        ],
    )
    def test_arguments_lose_white_space_and_nothing_else(self, raw: bytes, arguments: str) -> None:
        body = (
            b'{"output":{"message":{"content":[{"toolUse":{"toolUseId":"1","name":"f","input":'
            + raw
            + b'}}]}},"stopReason":"tool_use"}'
        )
        payload = chat_completion(ANSWER.decode(body), a_request(), "m", {})
        assert payload["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == arguments

    def test_a_tool_gets_its_own_name_back(self) -> None:
        body = {
            "output": {"message": {"content": [{"toolUse": {"toolUseId": "1", "name": "a_b", "input": {}}}]}},
            "stopReason": "tool_use",
        }
        payload = chat_completion(ANSWER.decode(msgspec.json.encode(body)), a_request(), "m", {"a_b": "a/b"})
        assert payload["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "a/b"


class TestStops:
    @pytest.mark.parametrize(("stop", "finish"), STOPS.items())
    def test_every_reason_that_is_one(self, stop: str, finish: str) -> None:
        assert completion([{"text": "a"}], stop).choices[0].finish_reason == finish

    @pytest.mark.parametrize("stop", ["malformed_model_output", "malformed_tool_use"])
    def test_malformed_output_is_an_error(self, stop: str) -> None:
        translator = chat_translator()
        body = {"output": {"message": {"content": [{"text": "a"}]}}, "stopReason": stop, "usage": USAGE}
        with pytest.raises(BadAnswer) as caught:
            translator.answer([], msgspec.json.encode(body))
        assert caught.value.fault.cause is Cause.MODEL_OUTPUT_MALFORMED
        assert caught.value.fault.row.status == 502
        # It is billed all the same.
        assert translator.usage is not None
        assert translator.stop_reason == stop

    def test_a_reason_of_tomorrow_is_a_stop(self) -> None:
        assert completion([{"text": "a"}], "went_for_lunch").choices[0].finish_reason == "stop"

    def test_calls_are_calls_whatever_the_model_says(self) -> None:
        call = {"toolUse": {"toolUseId": "1", "name": "f", "input": {}}}
        assert completion([call], "end_turn").choices[0].finish_reason == "tool_calls"
        assert finish_reason("went_for_lunch", called=True) == "tool_calls"
        assert finish_reason("max_tokens", called=True) == "length"


def test_usage_counts_the_prompt_cache_as_prompt() -> None:
    made = completion([{"text": "a"}], usage=USAGE).usage
    assert made is not None
    assert (made.prompt_tokens, made.completion_tokens, made.total_tokens) == (30, 5, USAGE["totalTokens"])
    assert made.prompt_tokens_details is not None
    assert made.prompt_tokens_details.cached_tokens == 12
    assert made.prompt_tokens_details.cache_write_tokens == 8
    assert usage_object(Usage())["total_tokens"] == 0


def test_without_usage_there_is_none() -> None:
    assert completion([{"text": "a"}]).usage is None


@pytest.mark.parametrize(("tier", "told"), [("flex", "flex"), ("priority", "priority"), ("reserved", None)])
def test_the_tier_that_served_it(tier: str, told: str | None) -> None:
    assert completion([{"text": "a"}], serviceTier={"type": tier}).service_tier == told


def test_what_the_caller_asked_bedrock_to_tell() -> None:
    made = completion(
        [{"text": "a"}],
        trace={"guardrail": {"actionReason": "none"}},
        additionalModelResponseFields={"stop_sequence": "."},
    )
    assert made.model_extra == {
        "trace": {"guardrail": {"actionReason": "none"}},
        "additional_model_response_fields": {"stop_sequence": "."},
    }


def test_what_is_nested_too_deeply_is_garbled_at_any_depth() -> None:
    for depth in range(700, 1100, 7):
        trace = b"[" * depth + b"]" * depth
        body = b'{"output":{"message":{"content":[]}},"stopReason":"end_turn","trace":' + trace + b"}"
        translator = chat_translator()
        try:
            part = translator.answer([], body)
            deeper(40, functools.partial(translator.render_answer, part, []))
        except BadAnswer as bad:
            assert bad.fault.cause is Cause.UPSTREAM_GARBLED


@pytest.mark.parametrize(
    "body", [b"{}", b"", b'{"Output":{"__type":"x#UnknownOperationException"},"Version":"1.0"}']
)
def test_what_is_no_answer_is_never_a_success(body: bytes) -> None:
    with pytest.raises(BadAnswer) as caught:
        chat_translator().answer([], body)
    assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED


@pytest.mark.parametrize("arguments", [b'{"a":"\xff"}', b'"\xc3"'])
def test_arguments_that_are_no_text_are_garbled(arguments: bytes) -> None:
    use = b'{"toolUse":{"toolUseId":"t","name":"f","input":' + arguments + b"}}"
    body = b'{"output":{"message":{"content":[' + use + b']}},"stopReason":"tool_use"}'
    with pytest.raises(BadAnswer) as caught:
        chat_translator().answer([], body)
    assert caught.value.fault.detail == "toolUse.input: not JSON"
