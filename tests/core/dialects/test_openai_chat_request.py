"""Decoding a chat request: what OpenAI's SDK may send is taken, and the first mistake is named by its
place.
"""

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stargate_core.dialects.guardrails import Guardrail
from stargate_core.dialects.openai_chat_parameters import PARAMETERS
from stargate_core.dialects.openai_chat_request import ChatRequest, File, FunctionTool, decode, is_url, policy
from stargate_core.dialects.parameters import Fate
from stargate_core.faults import Cause, Refused
from support.dialects import a_chat

MESSAGE = {"role": "user", "content": "hi"}


def decoded(**members: Any) -> tuple[ChatRequest, dict[str, Any], tuple[str, ...]]:
    request, extras, noted = decode(msgspec.json.encode(a_chat(**members)))
    return request, {name: msgspec.json.decode(raw) for name, raw in extras.items()}, noted


def refused(body: bytes) -> tuple[Cause, str | None, str]:
    with pytest.raises(Refused) as caught:
        decode(body)
    fault = caught.value.fault
    return fault.cause, fault.param, fault.text


class TestTheFirstMistakeIsNamed:
    @pytest.mark.parametrize(
        ("members", "param"),
        [
            ({"messages": []}, "messages"),
            ({"messages": "hi"}, "messages"),
            ({"messages": [{"content": "hi"}]}, "messages[0].role"),
            ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
            ({"messages": [MESSAGE, {"role": "user"}]}, "messages[1].content"),
            ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
            ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
            (
                {"messages": [{"role": "user", "content": [{"type": "thought"}]}]},
                "messages[0].content[0].type",
            ),
            (
                {
                    "messages": [
                        {"role": "system", "content": [{"type": "image_url", "image_url": {"url": ""}}]}
                    ]
                },
                "messages[0].content[0].type",
            ),
            ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
            (
                {"messages": [{"role": "assistant", "tool_calls": [{"type": "function", "id": "a"}]}]},
                "messages[0].tool_calls[0].function",
            ),
            ({"max_tokens": 0}, "max_tokens"),
            ({"max_tokens": 2**31}, "max_tokens"),
            ({"max_completion_tokens": "10"}, "max_completion_tokens"),
            ({"temperature": "hot"}, "temperature"),
            ({"top_p": 1.5}, "top_p"),
            ({"stop": [1]}, "stop[0]"),
            ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
            ({"tools": [{"type": "retrieval"}]}, "tools[0].type"),
            ({"tool_choice": "maybe"}, "tool_choice"),
            ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
            ({"response_format": {"type": "yaml"}}, "response_format.type"),
            ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
            ({"reasoning_effort": "utmost"}, "reasoning_effort"),
            ({"service_tier": "first class"}, "service_tier"),
            ({"stream": "yes"}, "stream"),
            ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
            ({"guardrailConfig": {"guardrailIdentifier": "g"}}, "guardrailConfig.guardrailVersion"),
            (
                {"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1", "trace": "some"}},
                "guardrailConfig.trace",
            ),
            ({"performanceConfig": {"latency": "light"}}, "performanceConfig.latency"),
            ({"requestMetadata": {"a": 1}}, "requestMetadata[...]"),
            ({"additionalModelResponseFieldPaths": [""]}, "additionalModelResponseFieldPaths[0]"),
            ({"additionalModelResponseFieldPaths": ["/a"] * 11}, "additionalModelResponseFieldPaths"),
            (
                {"messages": [{"role": "assistant", "thinking_blocks": [{"type": "dreaming"}]}]},
                "messages[0].thinking_blocks[0].type",
            ),
            (
                {"messages": [{"role": "assistant", "thinking_blocks": [{"type": "redacted_thinking"}]}]},
                "messages[0].thinking_blocks[0].data",
            ),
            # The slow way, for a body with names of its own, finds the same mistakes.
            ({"top_k": 1, "max_tokens": 0}, "max_tokens"),
        ],
        ids=str,
    )
    def test_by_its_place(self, members: dict[str, Any], param: str) -> None:
        cause, named, text = refused(msgspec.json.encode(a_chat(**members)))
        assert (cause, named) == (Cause.BODY_INVALID, param)
        assert text.startswith(param)

    def test_messages_are_required(self) -> None:
        assert refused(b'{"model":"x"}') == (Cause.BODY_INVALID, "messages", "messages is missing")

    def test_a_body_that_is_no_object(self) -> None:
        assert refused(b"[1]") == (Cause.BODY_INVALID, None, "Expected `object`, got `array`")

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"nope",
            b'{"messages":',
            b"\xef\xbb\xbf{}",
            b'{"messages":[{"role":"user","content":"\xff"}]}',
            b'{"messages":[{"role":"user","content":"hi"}],"top_k":"\xff"}',
            b'{"messages":[{"role":"user","content":"\\ud800"}]}',
            b'{"messages":[{"role":"user","content":"hi"}],"top_k":' + b"[" * 100_000,
            b'{"messages":[{"role":"user","content":"hi"}],"top_k":' + b"[" * 99_000 + b"]" * 99_000 + b"}",
        ],
        ids=lambda body: body[:40].decode("latin-1"),
    )
    def test_a_body_that_is_no_json(self, body: bytes) -> None:
        cause, param, _ = refused(body)
        assert (cause, param) == (Cause.BODY_MALFORMED, None)


class TestWhatIsNotMapped:
    def test_names_of_the_models_go_on_as_they_came(self) -> None:
        body = b'{"messages":[{"role":"user","content":"hi"}],"top_k":1e2,"thinking":{"b":1, "a":2.0}}'
        _, extras, noted = decode(body)
        assert noted == ()
        assert {name: bytes(raw) for name, raw in extras.items()} == {
            "top_k": b"1e2",
            "thinking": b'{"b":1, "a":2.0}',
        }

    @pytest.mark.parametrize("name", [n for n, p in PARAMETERS.items() if p.fate is Fate.IGNORED])
    def test_a_hint_is_ignored_whatever_it_says(self, name: str) -> None:
        for value in (None, 1, "x", {"a": [1]}):
            assert decoded(**{name: value})[1:] == ({}, ())

    @pytest.mark.parametrize("name", [n for n, p in PARAMETERS.items() if p.fate is Fate.REFUSED])
    def test_what_cannot_be_given_is_noted(self, name: str) -> None:
        assert decoded(**{name: {"some": "thing"}, "top_k": 5})[1:] == ({"top_k": 5}, (name,))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            (n, value)
            for n, p in PARAMETERS.items()
            if p.fate is Fate.REFUSED
            for value in (None, *p.harmless)
        ],
        ids=str,
    )
    def test_unless_it_asks_for_nothing(self, name: str, value: object) -> None:
        assert decoded(**{name: value})[1:] == ({}, ())

    def test_a_zero_may_be_a_float_and_false_is_none(self) -> None:
        assert decoded(frequency_penalty=0.0)[2] == ()
        assert decoded(frequency_penalty=0.1)[2] == ("frequency_penalty",)
        assert decoded(presence_penalty=False)[2] == ("presence_penalty",)
        assert decoded(logprobs=True, n=1, top_logprobs=3)[2] == ("logprobs", "top_logprobs")

    def test_members_of_parts_and_messages_that_nobody_needs_are_skipped(self) -> None:
        part = {"type": "image_url", "image_url": {"url": "data:", "detail": "high"}, "index": 3}
        request, *_ = decoded(messages=[{"role": "user", "name": "ann", "content": [part]}])
        assert len(request.messages) == 1


class TestPolicy:
    """What must be known of a body for another surface than Converse."""

    def test_nothing_else_is_looked_at(self) -> None:
        body = b'{"messages":5,"tools":"x","model":"m","stream":true,"max_tokens":3,"temperature":1.5,"n":[]}'
        told = policy(body)
        assert (told.model, told.stream, told.output_tokens_max, told.temperature) == ("m", True, 3, 1.5)
        assert told.messages == []

    def test_a_guardrail_is(self) -> None:
        told = policy(b'{"guardrailConfig":{"guardrailIdentifier":"g","guardrailVersion":"1"}}')
        assert told.guardrail == Guardrail("g", "1")

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            (b'{"model":5}', "model"),
            (b'{"stream":"yes"}', "stream"),
            (b'{"stream_options":[]}', "stream_options"),
            (b'{"max_tokens":0}', "max_tokens"),
            (b'{"guardrailConfig":{}}', "guardrailConfig.guardrailIdentifier"),
            (b"[]", None),
        ],
    )
    def test_mistakes_in_it_are_named(self, body: bytes, param: str | None) -> None:
        with pytest.raises(Refused) as caught:
            policy(body)
        assert (caught.value.fault.cause, caught.value.fault.param) == (Cause.BODY_INVALID, param)

    @pytest.mark.parametrize("body", [b"{", b'{"a":' * 100_000])
    def test_what_is_no_json(self, body: bytes) -> None:
        with pytest.raises(Refused) as caught:
            policy(body)
        assert caught.value.fault.cause is Cause.BODY_MALFORMED


def test_the_newer_name_of_the_limit_wins() -> None:
    assert decoded(max_tokens=10)[0].output_tokens_max == 10
    assert decoded(max_tokens=10, max_completion_tokens=20)[0].output_tokens_max == 20
    assert decoded()[0].output_tokens_max is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=6,
)
NAMES = st.sampled_from([*sorted(PARAMETERS), "top_k"]) | st.text()


@given(st.binary() | st.dictionaries(NAMES, JSON, max_size=6).map(msgspec.json.encode))
@example(b'{"messages":[{"role":"user","content":"hi"}],"temperature":' + b"9" * 400 + b"}")
@example(b'{"messages":[{"role":"user","content":"hi"}],"seed":' + b"9" * 5000 + b"}")
@example(b'{"messages":[{"role":"user","content":"hi"}],"max_tokens":' + b"9" * 5000 + b"}")
@example(b'{"messages":[{"role":"user","content":"hi"}],"logit_bias":1e999}')
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        decode(body)
    except Refused as refusal:
        assert refusal.fault.cause in {Cause.BODY_INVALID, Cause.BODY_MALFORMED}


class TestUrls:
    """Where a file is: a URL in any of the members that clients write it in."""

    @pytest.mark.parametrize("member", ["file_url", "file_data", "file_id"])
    @pytest.mark.parametrize("url", ["https://a.example/a.pdf", "HTTP://a.example"])
    def test_it_is_found(self, member: str, url: str) -> None:
        assert File(**{member: url}).url == url

    @pytest.mark.parametrize("text", ["data:x", "file-1", "", "httpsx", "ftp://a"])
    def test_all_else_is_none(self, text: str) -> None:
        assert not is_url(text)
        assert File(file_data=text, file_id=None).url is None

    def test_the_members_that_say_so_come_first(self) -> None:
        assert File(file_data="https://b", file_url="https://a").url == "https://a"


def test_a_tool_bears_its_mark_outside_or_inside() -> None:
    mark = {"type": "ephemeral"}
    tools = [
        {"type": "function", "function": {"name": "a"}, "cache_control": mark},
        {"type": "function", "function": {"name": "b", "cache_control": mark}},
        {"type": "function", "function": {"name": "c"}},
    ]
    request, *_ = decoded(tools=tools)
    marks = [tool.mark for tool in request.tools or () if isinstance(tool, FunctionTool)]
    assert [mark is not None for mark in marks] == [True, True, False]
