"""Whole answers: everything recorded parses in anthropic-sdk-python's own types, strictly; each block and
each stop reason has its place.
"""

import base64
import json
from typing import Any

import msgspec
import pytest
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.dialects.anthropic_converse_answer import (
    citation_object,
    message_object,
    redacted_content,
    redacted_data,
    stop_members,
    usage_object,
)
from stargate_core.dialects.converse import ANSWER, Citation, TokenUsage
from stargate_core.dialects.face import BadAnswer, Usage
from stargate_core.faults import Cause
from support.anthropic_converse import MESSAGE, messages_request, translator
from support.dialects import REQUEST_ID, USAGE, a_request
from support.vectors import Recording, recordings

ANSWERS = [r for r in recordings() if r.uri.endswith("/converse") and r.status == 200]


def message(content: list[Any], stop: str = "end_turn", **members: Any) -> Message:
    body = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop, **members}
    answer = ANSWER.decode(msgspec.json.encode(body))
    return MESSAGE.validate_python(message_object(answer, a_request(), "mine", {"safe": "a.b"}), strict=True)


def content(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = message(list(blocks)).model_dump(mode="json", exclude_unset=True)["content"]
    return made


@pytest.mark.parametrize("recording", ANSWERS, ids=lambda recording: recording.file)
def test_a_recorded_answer_is_a_message(recording: Recording) -> None:
    machine = translator(stream=False)
    reply = machine.render_answer(machine.answer([], recording.body), [])
    made = MESSAGE.validate_json(reply.body, strict=True)
    recorded = json.loads(recording.body)
    assert (made.id, made.model) == (f"msg_{REQUEST_ID}", "mine")
    assert made.usage.input_tokens == recorded["usage"]["inputTokens"]
    assert machine.complete
    assert machine.meaningful
    assert machine.stop_reason == recorded["stopReason"]
    assert machine.usage is not None
    assert machine.usage.output_tokens == recorded["usage"]["outputTokens"]
    assert (reply.status, reply.headers) == (200, [(b"content-type", b"application/json")])


class TestContent:
    def test_blocks_keep_their_order(self) -> None:
        assert content(
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "EuY="}}},
            {"text": "a"},
            {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"x": [1, "ü"]}}},
            {"text": "b"},
        ) == [
            {"type": "thinking", "thinking": "hm", "signature": "EuY="},
            {"type": "text", "text": "a"},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": [1, "ü"]}},
            {"type": "text", "text": "b"},
        ]

    @pytest.mark.parametrize(
        "block",
        [
            {"text": ""},
            {"reasoningContent": {"reasoningText": {"text": ""}}},
            {"reasoningContent": {}},
            {"citationsContent": {"content": [{"text": ""}], "citations": [{"title": "of no place"}]}},
            {"toolUse": {"toolUseId": "t", "name": "python", "input": {}, "type": "server_tool_use"}},
            {"toolResult": {"toolUseId": "t", "content": []}},
            {"hologram": {}},
        ],
    )
    def test_what_says_nothing_to_the_caller_is_left_out(self, block: dict[str, Any]) -> None:
        assert content(block, {"text": "a"}) == [{"type": "text", "text": "a"}]

    def test_a_thought_may_be_a_signature_only_or_have_none(self) -> None:
        assert content(
            {"reasoningContent": {"reasoningText": {"text": "", "signature": "s"}}},
            {"reasoningContent": {"reasoningText": {"text": "t"}}},
        ) == [
            {"type": "thinking", "thinking": "", "signature": "s"},
            {"type": "thinking", "thinking": "t", "signature": ""},
        ]

    def test_a_redacted_thought_is_decoded_once(self) -> None:
        block = {"reasoningContent": {"redactedContent": "RXRrRUNr"}}
        assert content(block) == [{"type": "redacted_thinking", "data": "EtkECk"}]

    def test_a_tool_gets_its_own_name_back(self) -> None:
        use = {"toolUseId": "t", "name": "safe", "input": {}, "type": "tool_use"}
        assert content({"toolUse": use})[0]["name"] == "a.b"

    @pytest.mark.parametrize("nothing", [None, ""])
    def test_no_arguments_are_an_empty_object(self, nothing: Any) -> None:
        made = content({"toolUse": {"toolUseId": "t", "name": "f", "input": nothing}})
        assert made[0]["input"] == {}

    @pytest.mark.parametrize("wrong", [[1], "x", 7])
    def test_arguments_that_are_no_object_are_garbled(self, wrong: Any) -> None:
        with pytest.raises(BadAnswer) as caught:
            content({"toolUse": {"toolUseId": "t", "name": "f", "input": wrong}})
        assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED

    def test_a_number_beyond_all_measure_is_garbled(self) -> None:
        body = (
            b'{"output":{"message":{"content":[{"toolUse":{"toolUseId":"t","name":"f","input":{"a":1e999}}}]}},'
            b'"stopReason":"tool_use"}'
        )
        with pytest.raises(BadAnswer):
            translator(stream=False).answer([], body)


@given(st.binary())
def test_any_redacted_thought_finds_its_way_back(data: bytes) -> None:
    told = base64.b64encode(data).decode()
    assert redacted_content(redacted_data(told)) == told


@given(st.text())
def test_any_redacted_data_of_anthropics_finds_its_way_back(data: str) -> None:
    if not data.startswith("base64:"):
        assert redacted_data(redacted_content(data)) == data


PLACE = {"start": 1, "end": 2}


class TestCitations:
    @pytest.mark.parametrize(
        ("location", "expected"),
        [
            (
                {"documentChar": {"documentIndex": 4, **PLACE}},
                {"type": "char_location", "document_index": 4, "start_char_index": 1, "end_char_index": 2},
            ),
            (
                {"documentPage": {"documentIndex": 4, **PLACE}},
                {"type": "page_location", "document_index": 4, "start_page_number": 1, "end_page_number": 2},
            ),
            (
                {"documentChunk": {"documentIndex": 4, **PLACE}},
                {
                    "type": "content_block_location",
                    "document_index": 4,
                    "start_block_index": 1,
                    "end_block_index": 2,
                },
            ),
        ],
    )
    def test_places_in_documents(self, location: Any, expected: Any) -> None:
        cited = {"title": "T", "sourceContent": [{"text": "x"}, {"text": "y"}], "location": location}
        made = content(
            {"citationsContent": {"content": [{"text": "a"}, {"text": "b"}], "citations": [cited]}}
        )
        spot = {"cited_text": "xy", "document_title": "T"}
        assert made == [{"type": "text", "text": "ab", "citations": [expected | spot]}]

    def test_places_in_the_web_and_in_what_a_search_has_found(self) -> None:
        cited = [
            {"title": "W", "location": {"web": {"url": "https://a/", "domain": "a"}}},
            {"source": "s", "location": {"searchResultLocation": {"searchResultIndex": 3, **PLACE}}},
        ]
        (made,) = content({"citationsContent": {"content": [{"text": "a"}], "citations": cited}})
        assert made["citations"] == [
            {
                "type": "web_search_result_location",
                "cited_text": "",
                "url": "https://a/",
                "title": "W",
                "encrypted_index": "",
            },
            {
                "type": "search_result_location",
                "cited_text": "",
                "search_result_index": 3,
                "source": "s",
                "title": None,
                "start_block_index": 1,
                "end_block_index": 2,
            },
        ]

    @pytest.mark.parametrize(
        "location",
        [
            None,
            {},
            {"hologram": PLACE},
            {"web": {}},
            {"documentChar": {"documentIndex": 0, "start": 1}},
            {"documentPage": PLACE},
            {"searchResultLocation": {"start": "1", "end": 2}},
        ],
    )
    def test_a_place_of_no_kind_that_anthropic_has_is_not_told(self, location: Any) -> None:
        assert citation_object(msgspec.convert({"title": "T", "location": location}, Citation)) is None


class TestStops:
    @pytest.mark.parametrize(
        ("stop", "told"),
        [
            ("end_turn", "end_turn"),
            ("stop_sequence", "stop_sequence"),
            ("max_tokens", "max_tokens"),
            ("tool_use", "tool_use"),
            ("content_filtered", "refusal"),
            ("guardrail_intervened", "refusal"),
            ("model_context_window_exceeded", "model_context_window_exceeded"),
        ],
    )
    def test_every_reason_that_is_one(self, stop: str, told: str) -> None:
        made = message([{"text": "a"}], stop)
        assert made.stop_reason == told
        assert (made.stop_details is not None) is (told == "refusal")

    @pytest.mark.parametrize("stop", ["malformed_model_output", "malformed_tool_use"])
    def test_malformed_output_is_an_error(self, stop: str) -> None:
        body = {"output": {"message": {"content": [{"text": "a"}]}}, "stopReason": stop, "usage": USAGE}
        machine = translator(stream=False)
        with pytest.raises(BadAnswer) as caught:
            machine.answer([], msgspec.json.encode(body))
        assert caught.value.fault.cause is Cause.MODEL_OUTPUT_MALFORMED
        assert machine.stop_reason == stop
        assert machine.usage is not None

    def test_one_that_nobody_knows_is_told_as_it_is(self) -> None:
        assert (
            stop_members("went_for_lunch", None, a_request(), called=True)["stop_reason"] == "went_for_lunch"
        )

    def test_calls_are_calls_whatever_the_model_says(self) -> None:
        made = message([{"toolUse": {"toolUseId": "t", "name": "f", "input": {}}}])
        assert made.stop_reason == "tool_use"

    @pytest.mark.parametrize(
        ("fields", "given", "told"),
        [
            ({"stop_sequence": "END"}, ["a", "END"], "END"),
            ({"stop_sequence": "END"}, None, "END"),
            ({"stop_sequence": None}, ["a", "b"], None),
            ({"stop_sequence": 5}, ["a"], None),
            ({}, ["a"], "a"),
            (None, ["", "a"], "a"),
            (None, ["a", "b"], None),
            (None, None, None),
        ],
    )
    def test_the_sequence_is_told_where_it_can_be_known(self, fields: Any, given: Any, told: Any) -> None:
        raw = None if fields is None else msgspec.Raw(msgspec.json.encode(fields))
        request = messages_request(stop_sequences=given)
        assert stop_members("stop_sequence", raw, request, called=False)["stop_sequence"] == told
        assert stop_members("end_turn", raw, request, called=False)["stop_sequence"] is None

    def test_a_body_that_is_none_knows_no_sequence(self) -> None:
        assert stop_members("stop_sequence", None, a_request(b"?"), called=False)["stop_sequence"] is None


def test_what_anthropic_has_no_name_for_stands_beside() -> None:
    fields = {"stop_sequence": "END", "x": 1}
    made = message([], trace={"guardrail": {"action": "NONE"}}, additionalModelResponseFields=fields)
    assert made.model_extra == {
        "trace": {"guardrail": {"action": "NONE"}},
        "additional_model_response_fields": fields,
    }
    assert message([], additionalModelResponseFields={"stop_sequence": "END"}).model_extra == {}


class TestUsage:
    def test_both_count_the_cache_apart(self) -> None:
        usage = message([], usage=USAGE).usage
        assert (usage.input_tokens, usage.output_tokens) == (10, 5)
        assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (12, 8)
        assert usage.cache_creation is None

    def test_what_is_written_is_told_by_how_long_it_stays(self) -> None:
        details = [{"ttl": "5m", "inputTokens": 3}, {"ttl": "1h", "inputTokens": 5.0}, {"ttl": "9y"}]
        made = message([], usage={**USAGE, "cacheDetails": details}).usage.cache_creation
        assert made is not None
        assert (made.ephemeral_5m_input_tokens, made.ephemeral_1h_input_tokens) == (3, 5)

    def test_counts_that_a_guardrail_has_made_floats_are_whole(self) -> None:
        assert usage_object(TokenUsage(3.0, 4.0))["input_tokens"] == 3

    def test_no_usage_is_no_tokens(self) -> None:
        machine = translator(stream=False)
        body = {"output": {"message": {"content": []}}, "stopReason": "end_turn"}
        made = MESSAGE.validate_python(machine.answer([], msgspec.json.encode(body)).payload, strict=True)
        assert (made.usage.input_tokens, made.usage.output_tokens, made.content) == (0, 0, [])
        assert machine.usage is None
        assert Usage() == TokenUsage().counts()

    @pytest.mark.parametrize(
        ("tier", "told"), [("default", "standard"), ("priority", "priority"), ("flex", None), (None, None)]
    )
    def test_the_tier_by_anthropics_names(self, tier: str | None, told: str | None) -> None:
        assert message([], serviceTier={"type": tier}).usage.service_tier == told


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"Output":{"__type":"UnknownOperationException"}}', b'{"output":1}']
)
def test_what_is_no_answer_is_garbled(body: bytes) -> None:
    with pytest.raises(BadAnswer) as caught:
        translator(stream=False).answer([], body)
    assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED


@pytest.mark.parametrize("data", ["=", "a", "no base64!", "YQ==YQ=="])
def test_a_redacted_thought_that_is_no_base64_is_garbled(data: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        content({"reasoningContent": {"redactedContent": data}})
    assert caught.value.fault.detail == "redactedContent: not base64"
