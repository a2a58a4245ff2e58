"""Whole answers: everything recorded parses in openai-python's own types, strictly, and nothing is lost."""

import json
from typing import Any

import msgspec
import pytest
from openai.types.responses import (
    Response,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseReasoningItem,
)
from openai.types.responses.response_error import ResponseError

from stargate_core.dialects.converse import Delta, ToolUseDelta, ToolUseStart
from stargate_core.dialects.face import BadAnswer, Target, Usage
from stargate_core.dialects.openai_responses_answer import Responder, check_end, error_object, usage_object
from stargate_core.dialects.openai_responses_output import Output
from stargate_core.dialects.openai_responses_request import decode
from stargate_core.dialects.registry import OPENAI_RESPONSES
from stargate_core.faults import Cause, Fault
from support.dialects import CREATED, HAIKU, REQUEST_ID, USAGE, a_request
from support.responses import response_of, responses_translator
from support.vectors import Recording, recordings

ANSWERS = [r for r in recordings() if r.uri.endswith("/converse") and r.status == 200]


@pytest.mark.parametrize("recording", ANSWERS, ids=lambda recording: recording.file)
def test_nothing_of_a_recorded_answer_is_lost(recording: Recording) -> None:
    translator = responses_translator()
    reply = translator.render_answer(translator.answer([], recording.body), [])
    made = Response.model_validate_json(reply.body, strict=True)
    recorded = json.loads(recording.body)
    blocks = recorded["output"]["message"]["content"]

    cited = [block.get("citationsContent", {}) for block in blocks]
    assert made.output_text == "".join(
        block.get("text", "") + "".join(piece.get("text", "") for piece in citing.get("content", []))
        for block, citing in zip(blocks, cited, strict=True)
    )
    uses = [b["toolUse"] for b in blocks if "toolUse" in b and b["toolUse"].get("type") != "server_tool_use"]
    calls = [item for item in made.output if isinstance(item, ResponseFunctionToolCall)]
    assert [(call.call_id, call.name, json.loads(call.arguments)) for call in calls] == [
        (use["toolUseId"], use["name"], use["input"]) for use in uses
    ]
    thoughts = [b["reasoningContent"] for b in blocks if "reasoningContent" in b]
    reasoning = [item for item in made.output if isinstance(item, ResponseReasoningItem)]
    assert ["".join(part.text for part in item.summary) for item in reasoning] == [
        thought.get("reasoningText", {}).get("text", "") for thought in thoughts
    ]
    assert [item.encrypted_content is not None for item in reasoning] == [
        "redactedContent" in thought or bool(thought["reasoningText"].get("signature"))
        for thought in thoughts
    ]
    parts = [p for m in made.output if isinstance(m, ResponseOutputMessage) for p in m.content]
    noted = [
        len(part.annotations) + len((part.model_extra or {}).get("citations", []))
        for part in parts
        if part.type == "output_text"
    ]
    assert sum(noted) == sum(len(citing.get("citations", [])) for citing in cited)
    assert made.usage is not None
    assert made.usage.total_tokens == recorded["usage"]["totalTokens"]
    assert made.usage.input_tokens + made.usage.output_tokens == made.usage.total_tokens
    assert translator.stop_reason == recorded["stopReason"]
    assert translator.complete


class TestResponse:
    def test_what_is_always_so(self) -> None:
        made = response_of([{"text": "a"}], usage=USAGE)
        assert (made.id, made.created_at, made.object) == (f"resp_{REQUEST_ID}", CREATED, "response")
        assert (made.model, made.status, made.error, made.incomplete_details) == (
            "claude",
            "completed",
            None,
            None,
        )
        assert made.model_extra == {"store": False}
        assert (made.background, made.previous_response_id, made.truncation) == (False, None, "disabled")

    def test_what_was_asked_is_said_again(self) -> None:
        asked: dict[str, Any] = {
            "instructions": "be brief",
            "max_output_tokens": 50,
            "temperature": 0.5,
            "top_p": 0.9,
            "parallel_tool_calls": False,
            "metadata": {"team": "a"},
            "user": "u",
            "safety_identifier": "s",
            "prompt_cache_key": "k",
            "max_tool_calls": 3,
            "tools": [
                {
                    "type": "function",
                    "name": "f",
                    "description": "d",
                    "parameters": {"type": "object", "properties": {"a": {"maximum": 1.5}}},
                    "strict": True,
                }
            ],
            "tool_choice": {"type": "function", "name": "f"},
            "text": {
                "format": {
                    "type": "json_schema",
                    "name": "n",
                    "schema": {"type": "object"},
                    "description": None,
                    "strict": True,
                }
            },
        }
        translator = responses_translator(
            "openai.gpt-oss-120b-1:0",
            reasoning={"effort": "low", "summary": "auto"},
            truncation="auto",
            **asked,
        )
        body = msgspec.json.encode(
            {"output": {"message": {"role": "assistant", "content": []}}, "stopReason": "end_turn"}
        )
        payload = translator.answer([], body).payload
        assert {name: payload[name] for name in asked} == asked
        assert payload["reasoning"] == {"effort": "low", "summary": "auto"}
        assert payload["truncation"] == "disabled"
        Response.model_validate(payload, strict=True)

    @pytest.mark.parametrize(
        ("choice", "said"),
        [
            ("required", "required"),
            (None, "auto"),
            (
                {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
                {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
            ),
        ],
    )
    def test_a_choice_is_said_again(self, choice: Any, said: Any) -> None:
        tools = [{"type": "function", "name": "f"}]
        translator = responses_translator(
            tools=tools, tool_choice=choice, text={"format": {"type": "json_object"}}
        )
        body = {"output": {"message": {"role": "assistant", "content": []}}, "stopReason": "end_turn"}
        payload = translator.answer([], msgspec.json.encode(body)).payload
        assert payload["tool_choice"] == said
        assert payload["text"] == {"format": {"type": "json_object"}}
        Response.model_validate(payload, strict=True)

    @pytest.mark.parametrize(
        ("tier", "said"), [(None, "default"), ("flex", "flex"), ("priority", "priority"), ("reserved", None)]
    )
    def test_the_tier_that_has_served(self, tier: str | None, said: str | None) -> None:
        extra: dict[str, Any] = {} if tier is None else {"serviceTier": {"type": tier}}
        assert response_of([], **extra).service_tier == said

    @pytest.mark.parametrize(
        ("stop", "status", "reason"),
        [
            ("end_turn", "completed", None),
            ("stop_sequence", "completed", None),
            ("tool_use", "completed", None),
            ("unheard_of", "completed", None),
            ("max_tokens", "incomplete", "max_output_tokens"),
            ("model_context_window_exceeded", "incomplete", "max_output_tokens"),
            ("content_filtered", "incomplete", "content_filter"),
            ("guardrail_intervened", "incomplete", "content_filter"),
        ],
    )
    def test_how_it_ended(self, stop: str, status: str, reason: str | None) -> None:
        made = response_of([{"text": "a"}], stop)
        assert made.status == status
        assert (made.incomplete_details and made.incomplete_details.reason) == reason
        (message,) = made.output
        assert isinstance(message, ResponseOutputMessage)
        assert message.status == status

    @pytest.mark.parametrize("stop", ["malformed_model_output", "malformed_tool_use"])
    def test_what_the_model_garbled_is_an_error(self, stop: str) -> None:
        with pytest.raises(BadAnswer) as bad:
            response_of([{"text": "a"}], stop)
        assert bad.value.fault.cause is Cause.MODEL_OUTPUT_MALFORMED

    def test_traces_and_the_models_own_fields(self) -> None:
        made = response_of([], trace={"guardrail": {}}, additionalModelResponseFields={"stop_sequence": "."})
        assert made.model_extra == {
            "store": False,
            "trace": {"guardrail": {}},
            "additional_model_response_fields": {"stop_sequence": "."},
        }

    @pytest.mark.parametrize(
        "body", [b"", b"{}", b'{"output":{"message":{"content":5}},"stopReason":"end_turn"}']
    )
    def test_what_is_no_answer_is_garbled(self, body: bytes) -> None:
        with pytest.raises(BadAnswer) as bad:
            responses_translator().answer([], body)
        assert bad.value.fault.cause is Cause.UPSTREAM_GARBLED


def test_a_schema_that_python_cannot_hold_is_not_said_again() -> None:
    asked = a_request(
        b'{"input":"hi","tools":[{"type":"function","name":"f","parameters":{"maximum":1e999}}]}'
    )
    ask = OPENAI_RESPONSES.read(asked)
    translator = OPENAI_RESPONSES.translator(asked, ask, OPENAI_RESPONSES.compose(asked, ask, Target(HAIKU)))
    part = translator.answer([], b'{"output":{"message":{"content":[]}},"stopReason":"end_turn"}')
    assert part.payload["tools"] == []
    Response.model_validate(part.payload, strict=True)


def test_usage_counts_what_was_cached_as_input() -> None:
    assert usage_object(Usage(10, 5, 12, 8)) == {
        "input_tokens": 30,
        "input_tokens_details": {"cached_tokens": 12, "cache_write_tokens": 8},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 35,
    }


@pytest.mark.parametrize("cause", list(Cause), ids=lambda cause: cause.name)
def test_every_fault_has_a_code_of_openais(cause: Cause) -> None:
    ResponseError.model_validate(error_object(Fault(cause)), strict=True)


class TestEnds:
    @pytest.mark.parametrize(
        ("stop", "whole"), [("end_turn", False), ("tool_use", False), ("max_tokens", True)]
    )
    def test_a_call_that_is_cut_is_no_end_unless_the_model_says_why(self, stop: str, whole: bool) -> None:
        output = Output("r", {})
        output.call(0, ToolUseStart("t", "f"))
        output.say(0, Delta(tool_use=ToolUseDelta('{"a"')))
        output.close(incomplete=True)
        assert output.cut
        if whole:
            check_end(stop, output)
            return
        with pytest.raises(BadAnswer) as caught:
            check_end(stop, output)
        assert caught.value.fault.cause is Cause.MODEL_OUTPUT_MALFORMED

    def test_a_response_that_came_to_nothing_says_why(self) -> None:
        fault = Fault(Cause.STREAM_CUT)
        responder = Responder(a_request(), "mine", decode(b'{"model":"mine","input":"hi"}'))
        told = responder.failed(fault, [])
        assert (told["status"], told["output"], told["error"]) == ("failed", [], error_object(fault))
