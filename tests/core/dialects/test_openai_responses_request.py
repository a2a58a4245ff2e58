"""Requests: what is read of them, and how what is wrong with one is told."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.dialects.openai_responses_request import (
    AllowedFunctions,
    Decoded,
    FunctionCall,
    FunctionCallOutput,
    FunctionTool,
    InputImage,
    InputText,
    ItemReference,
    Message,
    NamedFunction,
    OutputText,
    Reasoning,
    Unservable,
    decode,
    policy,
)
from stargate_core.faults import Cause, Fault, Refused


def decoded(**members: Any) -> Decoded:
    return decode(json.dumps({"model": "m", "input": "hi", **members}).encode())


def refusal(body: bytes) -> Fault:
    with pytest.raises(Refused) as refused:
        decode(body)
    return refused.value.fault


class TestInput:
    def test_a_text_is_the_users(self) -> None:
        assert decoded().items == [Message("user", "hi")]

    @pytest.mark.parametrize(
        ("item", "read"),
        [
            ({"role": "user", "content": "a"}, Message("user", "a")),
            ({"type": "message", "role": "developer", "content": "a"}, Message("developer", "a")),
            (
                {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
                Message("user", [InputText(text="a")]),
            ),
            (
                {
                    "role": "user",
                    "content": [{"type": "input_image", "detail": "auto", "image_url": "data:x"}],
                },
                Message("user", [InputImage(image_url="data:x")]),
            ),
            (
                {
                    "id": "msg_1",
                    "type": "message",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}],
                },
                Message("assistant", [OutputText(text="a")]),
            ),
            (
                {"type": "function_call", "id": "fc_1", "call_id": "t", "name": "f", "arguments": "{}"},
                FunctionCall("t", "f", "{}"),
            ),
            (
                {"type": "function_call_output", "call_id": "t", "output": "sunny"},
                FunctionCallOutput("t", "sunny"),
            ),
            ({"type": "reasoning", "id": "rs_1", "summary": []}, Reasoning()),
            ({"type": "item_reference", "id": "msg_1"}, ItemReference("msg_1")),
            ({"id": "msg_1"}, ItemReference("msg_1")),
            ({"type": "web_search_call", "id": "ws_1", "status": 5}, Unservable("web_search_call")),
        ],
    )
    def test_an_item_is_read_by_its_kind(self, item: Any, read: Any) -> None:
        assert decoded(input=[item]).items == [read]

    def test_no_input_is_no_item(self) -> None:
        assert decode(b"{}").items == []


class TestTools:
    def test_functions_are_read_and_others_named(self) -> None:
        tools = [
            {"type": "function", "name": "f", "parameters": {"a": 1.50}, "strict": True},
            {"type": "web_search", "filters": 5},
        ]
        function, other = decoded(tools=tools).tools
        assert isinstance(function, FunctionTool)
        assert isinstance(function.parameters, msgspec.Raw)
        assert (function.name, bytes(function.parameters), function.strict) == ("f", b'{"a": 1.5}', True)
        assert other == Unservable("web_search")

    @pytest.mark.parametrize(
        ("choice", "read"),
        [
            (None, None),
            ("required", "required"),
            ({"type": "function", "name": "f"}, NamedFunction("f")),
            ({"type": "file_search"}, Unservable("file_search")),
        ],
    )
    def test_a_choice(self, choice: Any, read: Any) -> None:
        assert decoded(tool_choice=choice).tool_choice == read

    def test_some_of_the_tools(self) -> None:
        allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}
        choice = decoded(tool_choice=allowed).tool_choice
        assert isinstance(choice, AllowedFunctions)
        assert [tool.name for tool in choice.tools] == ["f"]


class TestParameters:
    @pytest.mark.parametrize(
        "harmless", [{"background": False}, {"background": None}, {"top_logprobs": 0}, {"prompt": None}]
    )
    def test_what_asks_for_nothing_is_not_refused(self, harmless: Any) -> None:
        assert decoded(**harmless).refused == ()

    @pytest.mark.parametrize(
        "asking",
        [{"background": True}, {"background": 0}, {"top_logprobs": False}, {"conversation": "conv_1"}],
    )
    def test_what_asks_for_something_is_noted(self, asking: Any) -> None:
        assert decoded(**asking).refused == tuple(asking)

    def test_a_number_beyond_all_numbers_asks_for_something(self) -> None:
        assert decode(b'{"input": "hi", "top_logprobs": 1e999}').refused == ("top_logprobs",)

    def test_what_openai_does_not_define_is_kept_as_it_is_spelt(self) -> None:
        extras = decode(b'{"input": "hi", "top_k": 1.50, "store": true}').extras
        assert {name: bytes(raw) for name, raw in extras.items()} == {"top_k": b"1.50"}

    def test_bedrocks_own_members_are_read(self) -> None:
        told = decoded(
            guardrailConfig={"guardrailIdentifier": "g", "guardrailVersion": "1"},
            performanceConfig={"latency": "optimized"},
            requestMetadata={"a": "b"},
            additionalModelResponseFieldPaths=["/stop_sequence"],
        )
        assert told.extras == {}
        assert told.request.guardrail is not None
        assert told.request.response_field_paths == ["/stop_sequence"]


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"input": 5}, "input"),
        ({"input": [5]}, "input[0]"),
        ({"input": [{}]}, "input[0].type"),
        ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": ["hi", {"type": "function_call", "name": "f"}]}, "input[0]"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "t", "output": {}}]}, "input[0].output"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"top_p": 2}, "top_p"),
        ({"stream": "yes"}, "stream"),
        ({"truncation": "sometimes"}, "truncation"),
        ({"reasoning": {"effort": "utmost"}}, "reasoning.effort"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name"),
        ({"tools": [{}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {}}, "tool_choice.type"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        (
            {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{}]}},
            "tool_choice.tools[0].type",
        ),
        ({"metadata": {"a": 5}}, "metadata[...]"),
        ({"guardrailConfig": {"guardrailIdentifier": "g"}}, "guardrailConfig.guardrailVersion"),
    ],
    ids=str,
)
def test_a_mistake_is_named_by_its_place(members: Any, param: str) -> None:
    fault = refusal(json.dumps({"input": "hi", **members}).encode())
    assert (fault.cause, fault.param) == (Cause.BODY_INVALID, param)
    assert fault.message.startswith(param)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"input": "\xff"}', b'{"input": [{"type": "\xff"}]}', b'{"a":' + b"[" * 5000, b"nul"],
    ids=range(6),
)
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    assert refusal(body).cause is Cause.BODY_MALFORMED
    with pytest.raises(Refused) as refused:
        policy(body)
    assert refused.value.fault.cause is Cause.BODY_MALFORMED


def test_what_is_no_object_is_invalid() -> None:
    assert refusal(b"[]").cause is Cause.BODY_INVALID


def test_policy_reads_what_converse_could_not_carry() -> None:
    body = {
        "model": "m",
        "input": [{"role": "wizard"}],
        "stream": True,
        "max_output_tokens": 5,
        "temperature": 2,
    }
    told = policy(json.dumps(body).encode())
    assert (told.model, told.stream, told.max_output_tokens, told.temperature) == ("m", True, 5, 2.0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["input", "tools", "tool_choice", "text", "reasoning", "include", "background", "x"]),
        JSON
        | st.lists(
            st.dictionaries(
                st.sampled_from(["type", "role", "content", "output", "call_id", "name", "summary"]),
                JSON
                | st.sampled_from(["message", "function_call", "function_call_output", "reasoning", "user"]),
            )
        ),
    )
)
def test_any_json_is_read_or_refused(members: dict[str, Any]) -> None:
    try:
        assert isinstance(decode(json.dumps(members).encode()), Decoded)
    except Refused as refused:
        assert refused.fault.message


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for read in (decode, policy):
        try:
            read(body)
        except Refused as refused:
            assert refused.fault.message


@pytest.mark.parametrize("item", [{"type": "item_reference"}, {"type": "item_reference", "id": 7}])
def test_a_reference_to_nothing_is_refused(item: dict[str, Any]) -> None:
    fault = refusal(json.dumps({"model": "m", "input": [item]}).encode())
    assert fault.param == "input[0].id"
