"""The body of a Converse call: each parameter's place, and AWS's own service model as the judge of random
requests.
"""

import base64
import itertools
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from stargate_core.dialects.face import Fetched, Options, PromptCaching, Target
from stargate_core.dialects.guardrails import Guardrail
from stargate_core.dialects.openai_chat_ask import ChatAsk
from stargate_core.dialects.openai_chat_compose import JSON_INSTRUCTION, converse_body, prepared
from stargate_core.dialects.openai_chat_parameters import PARAMETERS
from stargate_core.dialects.openai_chat_request import ChatRequest, decode
from stargate_core.dialects.parameters import Fate
from stargate_core.faults import Cause, Fault, Refused
from support.bedrock_model import objections
from support.dialects import HAIKU, a_chat, composed

SONNET_4 = "us.anthropic.claude-sonnet-4-20250514-v1:0"
NOVA = "us.amazon.nova-micro-v1:0"
TOOL = {"type": "function", "function": {"name": "f"}}
TOOL_SPEC = {"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object", "properties": {}}}}}
FAST = {"latency": "optimized"}
MESSAGES = [{"role": "user", "content": [{"text": "Say this is a test"}]}]


def refused(target: str = HAIKU, **members: Any) -> tuple[str | None, str]:
    with pytest.raises(Refused) as caught:
        composed(target, **members)
    assert caught.value.fault.cause is Cause.BODY_INVALID
    return caught.value.fault.param, caught.value.fault.text


class TestParameters:
    def test_a_message_is_all_there_is(self) -> None:
        assert composed() == {"messages": MESSAGES}

    @pytest.mark.parametrize(
        ("members", "expected"),
        [
            ({"max_tokens": 10}, {"inferenceConfig": {"maxTokens": 10}}),
            ({"max_tokens": 10, "max_completion_tokens": 20}, {"inferenceConfig": {"maxTokens": 20}}),
            ({"temperature": 0, "top_p": 1}, {"inferenceConfig": {"temperature": 0.0, "topP": 1.0}}),
            ({"temperature": 1.0}, {"inferenceConfig": {"temperature": 1.0}}),
            ({"stop": "END"}, {"inferenceConfig": {"stopSequences": ["END"]}}),
            ({"stop": ["a", "", "b"]}, {"inferenceConfig": {"stopSequences": ["a", "b"]}}),
            ({"stop": []}, {}),
            ({"stop": ""}, {}),
            ({"stop": None, "temperature": None, "n": 1, "stream": False, "tools": None}, {}),
            ({"user": "ann"}, {"requestMetadata": {"user": "ann"}}),
            ({"safety_identifier": "x"}, {"requestMetadata": {"safety_identifier": "x"}}),
            ({"metadata": {"team": "a b", "cost": "ü€"}}, {"requestMetadata": {"team": "a b", "cost": "__"}}),
            ({"metadata": {}, "user": ""}, {}),
            ({"service_tier": "flex"}, {"serviceTier": {"type": "flex"}}),
            ({"service_tier": "fast"}, {"serviceTier": {"type": "priority"}}),
            ({"service_tier": "auto"}, {}),
            ({"service_tier": "default"}, {}),
            ({"seed": 1, "store": True, "verbosity": "low", "prediction": {}}, {}),
            ({"response_format": {"type": "text"}}, {}),
            ({"response_format": {"type": "json_object"}}, {"system": [{"text": JSON_INSTRUCTION}]}),
            ({"tools": [TOOL]}, {"toolConfig": {"tools": [TOOL_SPEC]}}),
            ({"top_k": 20}, {"additionalModelRequestFields": {"top_k": 20}}),
            (
                {"performanceConfig": {"latency": "optimized"}},
                {"performanceConfig": {"latency": "optimized"}},
            ),
            (
                {"additionalModelResponseFieldPaths": ["/stop_sequence"]},
                {"additionalModelResponseFieldPaths": ["/stop_sequence"]},
            ),
            ({"additionalModelResponseFieldPaths": []}, {}),
            (
                {"requestMetadata": {"user": "bob", "b": "2"}, "user": "ann", "metadata": {"a": "1"}},
                {"requestMetadata": {"user": "bob", "b": "2", "a": "1"}},
            ),
            ({"guardrailConfig": None, "performanceConfig": None, "requestMetadata": None}, {}),
            (
                {"thinking": {"type": "adaptive"}, "anthropic_beta": ["x"]},
                {
                    "additionalModelRequestFields": {
                        "thinking": {"type": "adaptive"},
                        "anthropic_beta": ["x"],
                    }
                },
            ),
        ],
        ids=str,
    )
    def test_each_has_its_place(self, members: dict[str, Any], expected: dict[str, Any]) -> None:
        assert composed(**members) == {"messages": MESSAGES, **expected}

    def test_instructions_and_json_object_together(self) -> None:
        body = composed(
            messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
            response_format={"type": "json_object"},
        )
        assert body["system"] == [{"text": "Be brief."}, {"text": JSON_INSTRUCTION}]

    def test_a_schema_is_a_string_of_its_own_spelling(self) -> None:
        schema = b'{"type":"object", "properties":{"a":{"const":"\xc3\xa9", "maximum":1.0}}}'
        body = (
            b'{"messages":[{"role":"user","content":"hi"}],"response_format":{"type":"json_schema","json_schema":'
            b'{"name":"City","description":"A city","strict":true,"schema":' + schema + b"}}}"
        )
        sent = msgspec.json.decode(converse_body(ChatAsk(*decode(body)), Target(HAIKU), None, stream=False))
        assert sent["outputConfig"] == {
            "textFormat": {
                "type": "json_schema",
                "structure": {
                    "jsonSchema": {"name": "City", "description": "A city", "schema": schema.decode()}
                },
            }
        }

    @pytest.mark.parametrize(
        ("members", "param"),
        [
            ({"temperature": 1.01}, "temperature"),
            ({"temperature": -0.1}, "temperature"),
            ({"n": 2}, "n"),
            ({"n": 0}, "n"),
            (
                {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
                "response_format.json_schema.schema",
            ),
            (
                {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": []}}},
                "response_format.json_schema.schema",
            ),
        ],
    )
    def test_what_has_no_place_is_refused(self, members: dict[str, Any], param: str) -> None:
        assert refused(**members)[0] == param

    def test_a_temperature_is_told_the_range(self) -> None:
        assert "0 to 1, not 1.5" in refused(temperature=1.5)[1]

    def test_metadata_is_kept_within_bedrocks_limits(self) -> None:
        many = {f"key-{at}": "v" * 512 for at in range(16)}
        sent = composed(user="ann", metadata={**many, "": "x"})["requestMetadata"]
        assert len(sent) == 16
        assert sent["user"] == "ann"
        assert sent["key-0"] == "v" * 256

    def test_what_is_said_in_bedrocks_own_member_is_not_cut_off(self) -> None:
        many = {f"key-{at}": "v" for at in range(16)}
        assert "mine" in composed(metadata=many, requestMetadata={"mine": "1"})["requestMetadata"]


MEMBERS_REFUSED = [name for name, row in PARAMETERS.items() if row.fate is Fate.REFUSED]
PICTURE = {"type": "image_url", "image_url": {"url": "https://a.example/cat.png"}}


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


class TestRefused:
    @pytest.mark.parametrize("name", MEMBERS_REFUSED)
    def test_a_parameter_by_its_name_and_reason(self, name: str) -> None:
        members: dict[str, Any] = {name: {"some": "thing"}}
        param, text = refused(**members)
        assert param == name
        assert PARAMETERS[name].reason in text

    @pytest.mark.parametrize(
        ("members", "param", "said"),
        [
            ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type", "custom tool"),
            (
                {"tools": [TOOL], "tool_choice": {"type": "custom", "custom": {"name": "x"}}},
                "tool_choice",
                "custom tool",
            ),
            (
                {"messages": [{"role": "assistant", "tool_calls": [{"type": "custom", "id": "a"}]}]},
                "messages[0].tool_calls[0].type",
                "custom tool",
            ),
            (
                {"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": ""}}]},
                "messages[0].function_call",
                "use tool_calls",
            ),
            (
                {"messages": [{"role": "function", "name": "f", "content": "1"}]},
                "messages[0].role",
                "use role tool",
            ),
            (
                {"messages": user({"type": "file", "file": {"file_id": "file-abc"}})},
                "messages[0].content[0].file",
                "uploaded elsewhere",
            ),
            ({"messages": user(PICTURE)}, "messages[0].content[0].image_url.url", "not fetched here"),
            (
                {"messages": user({"type": "file", "file": {"file_url": "https://a.example/b.pdf"}})},
                "messages[0].content[0].file",
                "not fetched here",
            ),
            ({"functions": [{"name": "f"}]}, "functions", "use `tools`"),
            ({"modalities": ["text", "audio"], "audio": {"voice": "alloy"}}, "modalities", "text only"),
        ],
        ids=str,
    )
    def test_what_openai_defines_and_converse_has_no_place_for(
        self, members: dict[str, Any], param: str, said: str
    ) -> None:
        told, text = refused(**members)
        assert told == param
        assert said in text


def dropping(target: str = HAIKU, **members: Any) -> dict[str, Any]:
    """What is sent where an operator has what cannot be carried dropped."""
    ask = ChatAsk(*decode(msgspec.json.encode(a_chat(**members))))
    where = Target(target, options=Options(drop_params=True))
    sent: dict[str, Any] = msgspec.json.decode(converse_body(ask, where, None, stream=False))
    return sent


class TestDropped:
    @pytest.mark.parametrize("name", [name for name in MEMBERS_REFUSED if PARAMETERS[name].droppable])
    def test_a_parameter_that_may_be(self, name: str) -> None:
        members: dict[str, Any] = {name: {"some": "thing"}}
        assert dropping(**members) == {"messages": MESSAGES}

    @pytest.mark.parametrize(
        ("members", "param"),
        [
            *(({name: "x"}, name) for name in MEMBERS_REFUSED if not PARAMETERS[name].droppable),
            ({"n": 2}, "n"),
            ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
            ({"messages": user(PICTURE)}, "messages[0].content[0].image_url.url"),
        ],
        ids=str,
    )
    def test_but_not_what_would_make_it_another_request(self, members: dict[str, Any], param: str) -> None:
        with pytest.raises(Refused) as caught:
            dropping(**members)
        assert caught.value.fault.param == param

    @pytest.mark.parametrize("temperature", [-0.5, 1.5, 2])
    def test_a_temperature_out_of_range(self, temperature: float) -> None:
        assert dropping(temperature=temperature) == {"messages": MESSAGES}
        assert dropping(temperature=0.5)["inferenceConfig"] == {"temperature": 0.5}

    def test_an_effort_that_nobody_knows_to_say(self) -> None:
        assert dropping(NOVA, reasoning_effort="high") == {"messages": MESSAGES}
        assert "additionalModelRequestFields" in dropping(SONNET_4, reasoning_effort="high")

    def test_it_is_the_targets_operator_who_says_so(self) -> None:
        ask = ChatAsk(*decode(msgspec.json.encode(a_chat(logprobs=True))))
        converse_body(ask, Target(HAIKU, options=Options(drop_params=True)), None, stream=False)
        with pytest.raises(Refused):
            converse_body(ask, Target(NOVA), None, stream=False)


class TestBesideTheConversation:
    GUARDRAIL = Guardrail("g1", "DRAFT", trace="enabled", stream_processing_mode="async")

    def test_a_guardrail(self) -> None:
        ask = ChatAsk(*decode(msgspec.json.encode(a_chat(top_k=1))))
        for stream in (False, True):
            sent = msgspec.json.decode(converse_body(ask, Target(HAIKU), self.GUARDRAIL, stream=stream))
            assert sent["guardrailConfig"] == {
                "guardrailIdentifier": "g1",
                "guardrailVersion": "DRAFT",
                "trace": "enabled",
                **({"streamProcessingMode": "async"} if stream else {}),
            }
            assert sent["additionalModelRequestFields"] == {"top_k": 1}

    def test_what_was_at_a_url(self) -> None:
        gif = b"GIF89a" + b"\0" * 12
        ask = ChatAsk(*decode(msgspec.json.encode(a_chat(messages=user(PICTURE)))))
        ask.fetched = {"https://a.example/cat.png": Fetched("image/png", gif)}
        body = converse_body(ask, Target(HAIKU), None, stream=False)
        assert objections("Converse", body, modelId=HAIKU) == []
        (block,) = msgspec.json.decode(body)["messages"][0]["content"]
        assert block["image"] == {"format": "gif", "source": {"bytes": base64.b64encode(gif).decode()}}

    def test_a_request_that_is_none_for_converse_says_what_was_wrong(self) -> None:
        fault = Fault(Cause.BODY_INVALID, "messages is missing", param="messages")
        with pytest.raises(Refused) as caught:
            converse_body(ChatAsk(ChatRequest([]), {}, invalid=fault), Target(HAIKU), None, stream=False)
        assert caught.value.fault is fault


class TestCaching:
    POINT: ClassVar[dict[str, Any]] = {"cachePoint": {"type": "default"}}
    SYSTEM: ClassVar[dict[str, Any]] = {"role": "system", "content": "Be brief"}
    USER: ClassVar[dict[str, Any]] = {"role": "user", "content": "hi"}

    def sent(self, caching: PromptCaching, **members: Any) -> tuple[list[Any], list[Any]]:
        messages = members.pop("messages", [self.SYSTEM, self.USER])
        ask = ChatAsk(*decode(msgspec.json.encode(a_chat(messages=messages, **members))))
        where = Target(SONNET_4, options=Options(prompt_caching=caching))
        body = converse_body(ask, where, None, stream=False)
        assert objections("Converse", body, modelId=SONNET_4) == []
        made = msgspec.json.decode(body)
        return made.get("system", []), made.get("toolConfig", {}).get("tools", [])

    def test_by_the_caller(self) -> None:
        marked = {**TOOL, "cache_control": {"type": "ephemeral"}}
        assert self.sent(PromptCaching.EXPLICIT, tools=[marked, TOOL])[1] == [
            TOOL_SPEC,
            self.POINT,
            TOOL_SPEC,
        ]

    def test_by_the_gateway(self) -> None:
        system, tools = self.sent(PromptCaching.AUTO, tools=[TOOL])
        assert system == [{"text": "Be brief"}, self.POINT]
        assert tools == [TOOL_SPEC, self.POINT]
        for unsaid in ({"parallel_tool_calls": False}, {"tool_choice": "required"}):
            assert self.sent(PromptCaching.AUTO, tools=[TOOL], **unsaid) == (system, tools)
        assert self.sent(PromptCaching.EXPLICIT, tools=[TOOL]) == ([{"text": "Be brief"}], [TOOL_SPEC])

    def test_not_by_both(self) -> None:
        marked_tool = {**TOOL, "cache_control": {"type": "ephemeral"}}
        assert self.sent(PromptCaching.AUTO, tools=[marked_tool]) == (
            [{"text": "Be brief"}],
            [TOOL_SPEC, self.POINT],
        )
        part = {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}
        messages = [self.SYSTEM, *user(part)]
        assert self.sent(PromptCaching.AUTO, messages=messages, tools=[TOOL]) == (
            [{"text": "Be brief"}],
            [TOOL_SPEC],
        )


class TestTargets:
    def test_thoughts_are_for_models_that_can_know_them_again(self) -> None:
        signed = {"type": "thinking", "thinking": "hm", "signature": "E"}
        messages = [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b", "thinking_blocks": [signed]},
            {"role": "user", "content": "c"},
            {"role": "assistant", "thinking_blocks": [signed], "cache_control": {}},
            {"role": "user", "content": "d"},
        ]
        ask = ChatAsk(*decode(msgspec.json.encode(a_chat(messages=messages))))
        for target, kinds in [
            (
                SONNET_4,
                [
                    ["text"],
                    ["reasoningContent", "text"],
                    ["text"],
                    ["reasoningContent"],
                    ["text"],
                ],
            ),
            ("us.deepseek.r1-v1:0", [["text"], ["text"], ["text", "text"]]),
            ("us.amazon.nova-2-lite-v1:0", [["text"], ["text"], ["text", "text"]]),
        ]:
            sent = msgspec.json.decode(converse_body(ask, Target(target), None, stream=False))["messages"]
            assert [[next(iter(block)) for block in turn["content"]] for turn in sent] == kinds
            assert [turn["role"] for turn in sent] == ["user", "assistant"] * (len(sent) // 2) + ["user"]

    def test_one_request_is_told_to_each_model_as_it_takes_it(self) -> None:
        call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        marked = {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
        messages = [
            *user(marked),
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "user", "content": "and?"},
        ]
        ask = ChatAsk(*decode(msgspec.json.encode(a_chat(messages=messages, tools=[TOOL]))))
        point = {"cachePoint": {"type": "default", "ttl": "1h"}}
        result = {"toolUseId": "a", "content": [{"text": "1"}]}
        inside = {**result, "content": [{"text": "1"}, {"text": "and?"}]}
        apart = [{"toolResult": result}, {"text": "and?"}]
        for target, first, last in [
            (SONNET_4, [{"text": "hi"}, point], apart),
            ("us.meta.llama3-3-70b-instruct-v1:0", [{"text": "hi"}], [{"toolResult": inside}]),
            ("us.amazon.nova-pro-v1:0", [{"text": "hi"}, {"cachePoint": {"type": "default"}}], apart),
            ("mistral.mistral-large-2407-v1:0", [{"text": "hi"}], [{"toolResult": inside}]),
            (SONNET_4, [{"text": "hi"}, point], apart),
        ]:
            body = converse_body(ask, Target(target), None, stream=False)
            assert objections("Converse", body, modelId=target) == []
            sent = msgspec.json.decode(body)["messages"]
            assert (sent[0]["content"], sent[2]["content"]) == (first, last)

    def test_thinking_goes_on_where_the_thoughts_before_are_there(self) -> None:
        call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        signed = {"type": "thinking", "thinking": "hm", "signature": "E"}
        for thoughts, goes_on in (([signed], True), ([], False)):
            messages = [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "tool_calls": [call], "thinking_blocks": thoughts},
                {"role": "tool", "tool_call_id": "a", "content": "1"},
            ]
            sent = composed(SONNET_4, messages=messages, tools=[TOOL], reasoning_effort="high")
            assert ("additionalModelRequestFields" in sent) is goes_on

    def test_reasoning_is_said_in_the_words_of_each_target(self) -> None:
        ask = ChatAsk(*decode(msgspec.json.encode(a_chat(reasoning_effort="high", max_tokens=2000))))
        sent = [
            msgspec.json.decode(converse_body(ask, Target(target), None, stream=False))[
                "additionalModelRequestFields"
            ]
            for target in (SONNET_4, "openai.gpt-oss-120b-1:0")
        ]
        assert sent == [
            {"thinking": {"type": "enabled", "budget_tokens": 1600}},
            {"reasoning_effort": "high"},
        ]

    def test_the_translation_is_made_once(self) -> None:
        ask = ChatAsk(*decode(msgspec.json.encode(a_chat())))
        assert prepared(ask) is prepared(ask)
        before = msgspec.json.encode(prepared(ask).body)
        ask.request.reasoning_effort = "high"
        converse_body(ask, Target(SONNET_4), None, stream=False)
        assert msgspec.json.encode(prepared(ask).body) == before

    def test_the_callers_own_words_win(self) -> None:
        sent = composed(SONNET_4, reasoning_effort="high", thinking={"type": "disabled"})
        assert sent["additionalModelRequestFields"] == {"thinking": {"type": "disabled"}}

    def test_no_effort_is_nothing(self) -> None:
        assert composed(NOVA, reasoning_effort="none") == {"messages": MESSAGES}

    def test_a_model_that_takes_no_effort(self) -> None:
        assert refused(NOVA, reasoning_effort="low")[0] == "reasoning_effort"

    @pytest.mark.parametrize(
        ("choice", "claudes"),
        [
            (None, {"type": "auto"}),
            ("auto", {"type": "auto"}),
            ("required", {"type": "any"}),
            ({"type": "function", "function": {"name": "f"}}, {"type": "tool", "name": "f"}),
        ],
        ids=str,
    )
    def test_one_call_at_a_time_is_claudes_to_promise(self, choice: Any, claudes: dict[str, str]) -> None:
        asked = {"tools": [TOOL], "tool_choice": choice, "parallel_tool_calls": False}
        sent = composed(SONNET_4, **asked)
        assert sent["toolConfig"] == {"tools": [TOOL_SPEC]}
        assert sent["additionalModelRequestFields"] == {
            "tool_choice": {**claudes, "disable_parallel_tool_use": True}
        }
        assert "additionalModelRequestFields" not in composed(NOVA, **asked)
        assert "additionalModelRequestFields" not in composed(SONNET_4, parallel_tool_calls=False)
        assert "additionalModelRequestFields" not in composed(
            SONNET_4, tools=[TOOL], parallel_tool_calls=True
        )


# -------------------------------------------------------------------------------------------- random requests

WORDS = st.text(max_size=12)
IDS = st.sampled_from(["call_1", "call/2", "x" * 80]) | st.text(min_size=1, max_size=8)
TOOL_NAMES = st.sampled_from(["get_weather", "mcp.github/search", "n" * 70])
OBJECTS = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | WORDS, max_size=3)
GIF = "data:image/gif;base64," + base64.b64encode(b"GIF89a" + b"\0" * 12).decode()
PDF = {
    "file_data": "data:application/pdf;base64," + base64.b64encode(b"%PDF-1").decode(),
    "filename": "a.pdf",
}


def text_parts() -> SearchStrategy[dict[str, Any]]:
    marks = st.none() | st.just({"type": "ephemeral"}) | st.just({"type": "ephemeral", "ttl": "1h"})
    return st.builds(lambda text, mark: {"type": "text", "text": text, "cache_control": mark}, WORDS, marks)


def user_content() -> SearchStrategy[Any]:
    pictures = st.just({"type": "image_url", "image_url": {"url": GIF, "detail": "low"}})
    sounds = st.just({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}})
    documents = st.just({"type": "file", "file": PDF})
    return WORDS | st.lists(text_parts() | pictures | sounds | documents, max_size=4)


def calls() -> SearchStrategy[dict[str, Any]]:
    arguments = OBJECTS.map(lambda value: msgspec.json.encode(value).decode()) | st.just("")
    return st.builds(
        lambda identity, name, text: {
            "id": identity,
            "type": "function",
            "function": {"name": name, "arguments": text},
        },
        IDS,
        TOOL_NAMES,
        arguments,
    )


def thinking_blocks() -> SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.builds(
            lambda text, signature: {"type": "thinking", "thinking": text, "signature": signature},
            WORDS,
            st.none() | st.just("E"),
        ),
        st.builds(lambda text: {"type": "redacted_thinking", "data": text}, WORDS),
    )


def messages() -> SearchStrategy[dict[str, Any]]:
    def said(role: str, content: SearchStrategy[Any], **more: SearchStrategy[Any]) -> SearchStrategy[Any]:
        return st.fixed_dictionaries({"role": st.just(role), "content": content, **more})

    texts = WORDS | st.lists(text_parts(), max_size=3)
    return st.one_of(
        said("system", texts),
        said("developer", texts),
        said("user", user_content()),
        said(
            "assistant",
            st.none() | texts,
            tool_calls=st.none() | st.lists(calls(), max_size=3),
            thinking_blocks=st.none() | st.lists(thinking_blocks(), max_size=2),
        ),
        said("tool", texts, tool_call_id=IDS),
    )


@st.composite
def chat_requests(draw: DrawFn) -> dict[str, Any]:
    marks = st.sampled_from([{}, {"cache_control": {"type": "ephemeral"}}])
    tools = st.lists(
        st.builds(
            lambda name, mark: {
                "type": "function",
                "function": {"name": name, "description": "", "parameters": {"a": 1}},
                **mark,
            },
            TOOL_NAMES,
            marks,
        ),
        min_size=1,
        max_size=3,
    )
    optional: Mapping[str, SearchStrategy[Any]] = {
        "tools": tools,
        "tool_choice": st.sampled_from(["none", "auto", None]),
        "parallel_tool_calls": st.booleans(),
        "temperature": st.floats(0, 1) | st.integers(0, 1) | st.none(),
        "top_p": st.floats(0, 1),
        "max_tokens": st.integers(1, 2**31 - 1),
        "stop": st.none() | WORDS | st.lists(WORDS, max_size=4),
        "user": st.text(max_size=300),
        "metadata": st.dictionaries(st.text(max_size=64), st.text(max_size=300), max_size=16),
        "service_tier": st.sampled_from(["auto", "default", "flex", "scale", "priority", "fast"]),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "high", "max"]),
        "response_format": st.sampled_from(
            [
                {"type": "text"},
                {"type": "json_object"},
                {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
            ]
        ),
        "seed": st.integers(),
        "top_k": st.integers(0, 100),
        "performanceConfig": st.sampled_from([None, {"latency": "standard"}, {"latency": "optimized"}]),
        "requestMetadata": st.none()
        | st.dictionaries(st.text(max_size=64), st.text(max_size=300), max_size=16),
        "additionalModelResponseFieldPaths": st.lists(st.text(min_size=1, max_size=9), max_size=10),
    }
    first = {"role": "user", "content": "hi"}
    request = draw(st.fixed_dictionaries({}, optional=optional))
    return {**request, "messages": [first, *draw(st.lists(messages(), max_size=6))]}


@given(
    chat_requests(),
    st.sampled_from(
        [
            SONNET_4,
            "us.anthropic.claude-sonnet-4-6",
            "openai.gpt-oss-20b-1:0",
            "amazon.nova-2-lite-v1:0",
            "mistral.mistral-large-2407-v1:0",
        ]
    ),
    st.sampled_from(PromptCaching),
    st.none() | st.just(Guardrail("g1", "1", trace="enabled_full", stream_processing_mode="sync")),
)
def test_aws_has_nothing_against_any_valid_request(
    chat: dict[str, Any], target: str, caching: PromptCaching, guardrail: Guardrail | None
) -> None:
    ask = ChatAsk(*decode(msgspec.json.encode(chat)))
    # Mistral's has no word for how hard it is to think.
    where = Target(target, options=Options(prompt_caching=caching, drop_params="mistral" in target))
    for operation in ("Converse", "ConverseStream"):
        sent = converse_body(ask, where, guardrail, stream=operation == "ConverseStream")
        assert objections(operation, sent, modelId=target) == []
        _assert_what_the_model_does_not_say(msgspec.json.decode(sent))


def _assert_what_the_model_does_not_say(sent: dict[str, Any]) -> None:
    """What AWS checks only when it is too late: the texts of its ValidationExceptions, as rules."""
    roles = [message["role"] for message in sent["messages"]]
    assert roles[0] == "user"
    assert all(one != other for one, other in itertools.pairwise(roles))
    has_tools = False
    for message in sent["messages"]:
        content = message["content"]
        assert content
        assert all(block["text"].strip() for block in content if "text" in block)
        kinds = [next(iter(block)) for block in content]
        has_tools = has_tools or bool({"toolUse", "toolResult"} & set(kinds))
        results = [at for at, kind in enumerate(kinds) if kind == "toolResult"]
        if results:
            assert set(kinds[: results[-1]]) <= {"toolResult", "cachePoint"}
        for block in content:
            parts = block.get("toolResult", {}).get("content", [])
            assert all(part["text"].strip() for part in parts if "text" in part)
        if "document" in kinds:
            assert "text" in kinds
    if has_tools and any("toolUse" in b for m in sent["messages"] for b in m["content"]):
        assert sent["toolConfig"]["tools"]
    assert all(block["text"].strip() for block in sent.get("system", []) if "text" in block)


class TestServed:
    """How a call is to be served may be said in headers; what the body says wins."""

    @staticmethod
    def told(served: dict[str, Any], **members: Any) -> dict[str, Any]:
        request, extras, noted = decode(msgspec.json.encode(a_chat(**members)))
        ask = ChatAsk(request, extras, noted)
        body = converse_body(ask, Target(HAIKU), None, served, stream=False)
        made: dict[str, Any] = msgspec.json.decode(body)
        del made["messages"]
        return made

    def test_headers_are_members(self) -> None:
        served = {"performanceConfig": FAST, "serviceTier": {"type": "flex"}}
        assert self.told(served) == served

    @pytest.mark.parametrize(
        ("tier", "told"),
        [
            ("priority", {"serviceTier": {"type": "priority"}}),
            ("auto", {"serviceTier": {"type": "flex"}}),
            ("scale", {}),
        ],
    )
    def test_a_tier_of_the_bodys_wins_even_where_it_has_no_name_here(
        self, tier: str, told: dict[str, Any]
    ) -> None:
        assert self.told({"serviceTier": {"type": "flex"}}, service_tier=tier) == told

    def test_of_pairs_both_count_and_the_bodys_own_come_first_in_doubt(self) -> None:
        made = self.told(
            {"requestMetadata": {"a": "header", "b": "header"}}, metadata={"b": "body", "c": "body"}
        )
        assert made == {"requestMetadata": {"a": "header", "b": "body", "c": "body"}}
