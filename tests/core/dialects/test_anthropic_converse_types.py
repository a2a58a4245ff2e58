"""Requests as bytes: what is wrong is told by its place, in Anthropic's notation; every block that the SDK
can send is known by its name.
"""

import typing
from typing import Any

import msgspec
import pytest
from anthropic.types import content_block_param, tool_result_block_param
from anthropic.types.beta import beta_content_block_param, beta_tool_result_block_param
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.dialects.anthropic_converse_types import (
    Block,
    Message,
    ResultBlock,
    decode,
    lacking,
    value_of,
)
from stargate_core.faults import Cause, Fault, Refused


def refused(body: bytes) -> Fault:
    with pytest.raises(Refused) as caught:
        decode(body)
    return caught.value.fault


def types_of(union: Any) -> set[str]:
    """The `type` of every member of a union of the SDK's."""
    if typing.get_origin(union) is typing.Annotated:
        union = typing.get_args(union)[0]
    members = typing.get_args(union)
    if typing.get_origin(union) is typing.Union:
        return {kind for member in members for kind in types_of(member)}
    if hasattr(union, "model_fields"):
        return set(typing.get_args(union.model_fields["type"].annotation))
    return set(typing.get_args(typing.get_type_hints(union)["type"]))


def tags_of(union: Any) -> set[str]:
    return {member.__struct_config__.tag for member in typing.get_args(union)}


def test_every_block_that_the_sdk_sends_is_known() -> None:
    sent = types_of(content_block_param.ContentBlockParam)
    beta = types_of(beta_content_block_param.BetaContentBlockParam)
    assert tags_of(Block) == sent | beta
    results = types_of(tool_result_block_param.Content) | types_of(beta_tool_result_block_param.Content)
    assert tags_of(ResultBlock) == results


@pytest.mark.parametrize(
    ("members", "param", "said"),
    [
        ({}, "messages", "Field required"),
        ({"messages": []}, "messages", "length >= 1"),
        ({"messages": [{"role": "user"}]}, "messages.0.content", "Field required"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages.0.role", "tool"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content", "Expected"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages.0.content.0.text",
            "required",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "song"}]}]},
            "messages.0.content.0.type",
            "song",
        ),
        ({"max_tokens": 0}, "max_tokens", ">= 1"),
        ({"max_tokens": "5"}, "max_tokens", "Expected `int"),
        ({"temperature": 1.5}, "temperature", "<= 1"),
        ({"top_k": -1}, "top_k", ">= 0"),
        ({"tools": [{"name": 4}]}, "tools.0.name", "Expected `str`"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type", "some"),
        ({"system": [{"type": "text", "text": None}]}, "system.0.text", "Expected `str`"),
        ({"cache_control": {"type": "ephemeral", "ttl": "9y"}}, "cache_control.ttl", "9y"),
        ({"service_tier": "gold"}, "service_tier", "gold"),
    ],
)
def test_what_is_wrong_is_told_by_its_place(members: dict[str, Any], param: str, said: str) -> None:
    whole = {"messages": [{"role": "user", "content": "a"}], **members} if members else {}
    fault = refused(msgspec.json.encode(whole))
    assert (fault.cause, fault.param) == (Cause.BODY_INVALID, param)
    assert fault.text.startswith(f"{param}: ")
    assert said in fault.text


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"", "not valid JSON"), (b'{"messages"', "not valid JSON"), (b'{"a":"\xff"}', "not UTF-8 (byte 6)")],
)
def test_what_is_no_json(body: bytes, said: str) -> None:
    fault = refused(body)
    assert fault.cause is Cause.BODY_MALFORMED
    assert said in fault.text


def test_what_is_no_object() -> None:
    assert refused(b"[]").cause is Cause.BODY_INVALID


def test_what_is_nested_beyond_all_measure() -> None:
    deep = b'{"messages":[{"role":"user","content":"a"}],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert refused(deep).cause in (Cause.BODY_MALFORMED, Cause.BODY_INVALID)
    assert value_of(msgspec.Raw(b"[" * 100_000)) is None


def test_all_members_come_as_they_were_spelt() -> None:
    _, members = decode(b'{"messages":[{"role":"user","content":"a"}],"x": 1.00 }')
    assert bytes(members["x"]) == b"1.00"
    assert bytes(members["messages"]) == b'[{"role":"user","content":"a"}]'


@given(
    st.binary(max_size=80) | st.text(max_size=40).map(lambda text: msgspec.json.encode({"messages": text}))
)
def test_any_bytes_are_a_request_or_refused(body: bytes) -> None:
    try:
        decode(body)
    except Refused as caught:
        assert caught.fault.cause in (Cause.BODY_MALFORMED, Cause.BODY_INVALID)


def test_what_the_model_lacks_is_refused_or_dropped() -> None:
    lacking("x", "there is none", drop=True)
    with pytest.raises(Refused) as caught:
        lacking("x", "there is none", drop=False)
    assert (caught.value.fault.param, caught.value.fault.text) == ("x", "x: there is none")


def test_no_word_of_a_caller_is_shown() -> None:
    message = decode(b'{"messages":[{"role":"user","content":"sesame"}]}')[0].messages[0]
    assert isinstance(message, Message)
    assert "sesame" not in repr(message)
