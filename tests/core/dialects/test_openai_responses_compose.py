"""The way into Converse: what the items become, held to the service's own model, and what is refused how."""

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.dialects.face import Fetched, Options
from stargate_core.dialects.openai_responses_compose import ResponsesAsk
from stargate_core.dialects.openai_responses_request import decode
from stargate_core.dialects.openai_responses_thoughts import Sealed, seal
from stargate_core.dialects.registry import OPENAI_RESPONSES
from stargate_core.faults import Cause, Fault, Refused
from support.bedrock_model import objections
from support.dialects import HAIKU
from support.responses import composed, responses_request

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(16)).decode()
PDF = base64.b64encode(b"%PDF-1.7" + bytes(16)).decode()
DROPPING = Options(drop_params=True)


def body_of(**members: Any) -> dict[str, Any]:
    """A composed body that the service's model has nothing against."""
    body = composed(**members)
    assert objections("Converse", msgspec.json.encode(body), modelId=HAIKU) == []
    return body


def messages(*items: Any) -> list[Any]:
    told: list[Any] = body_of(input=list(items))["messages"]
    return told


def refusal(**members: Any) -> Fault:
    with pytest.raises(Refused) as refused:
        composed(**members)
    fault = refused.value.fault
    assert fault.cause is Cause.BODY_INVALID
    return fault


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def call(call_id: str = "t", name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    return {
        "type": "function_call",
        "id": "fc_1",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        "status": "completed",
    }


def output(value: Any, call_id: str = "t") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": value}


HI = {"role": "user", "content": "hi"}


class TestItems:
    def test_a_text(self) -> None:
        assert body_of()["messages"] == [{"role": "user", "content": [{"text": "Say this is a test"}]}]

    def test_instructions_come_first_and_are_no_part_of_the_conversation(self) -> None:
        body = body_of(
            instructions="A",
            input=[{"role": "developer", "content": "B"}, HI, {"role": "system", "content": "C"}],
        )
        assert body["system"] == [{"text": "A"}, {"text": "B"}, {"text": "C"}]
        assert len(body["messages"]) == 1

    def test_parts_of_a_message(self) -> None:
        (message,) = messages(
            user(
                {"type": "input_text", "text": "see"},
                {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PNG}"},
                {
                    "type": "input_file",
                    "filename": "a.pdf",
                    "file_data": f"data:application/pdf;base64,{PDF}",
                },
            )
        )
        assert message["content"] == [
            {"text": "see"},
            {"image": {"format": "png", "source": {"bytes": PNG}}},
            {"document": {"format": "pdf", "name": "a", "source": {"bytes": PDF}}},
        ]

    def test_a_sound(self) -> None:
        (message,) = messages(user({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}))
        assert message["content"] == [{"audio": {"format": "wav", "source": {"bytes": "AAAA"}}}]

    def test_an_output_comes_back_as_it_was(self) -> None:
        said = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "hello", "annotations": []}],
        }
        assert messages(HI, said, HI)[1] == {"role": "assistant", "content": [{"text": "hello"}]}

    def test_a_refusal_is_what_the_assistant_said(self) -> None:
        said = {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}
        assert messages(HI, said, HI)[1]["content"] == [{"text": "no"}]

    def test_calls_and_their_results(self) -> None:
        told = messages(HI, call("a"), call("b", arguments='{"x": 1.0}'), output("1", "a"), output("", "b"))
        assert [message["role"] for message in told] == ["user", "assistant", "user"]
        assert told[1]["content"] == [
            {"toolUse": {"toolUseId": "a", "name": "f", "input": {}}},
            {"toolUse": {"toolUseId": "b", "name": "f", "input": {"x": 1.0}}},
        ]
        assert told[2]["content"] == [
            {"toolResult": {"toolUseId": "a", "content": [{"text": "1"}]}},
            {"toolResult": {"toolUseId": "b", "content": [{"text": "(no output)"}]}},
        ]

    def test_a_result_may_be_of_parts(self) -> None:
        told = messages(
            HI,
            call(),
            output(
                [
                    {"type": "input_text", "text": "look"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": PDF},
                ]
            ),
        )
        assert told[2]["content"][0]["toolResult"]["content"] == [
            {"text": "look"},
            {"image": {"format": "png", "source": {"bytes": PNG}}},
            {"document": {"format": "pdf", "name": "a", "source": {"bytes": PDF}}},
        ]

    def test_a_part_may_be_marked_for_caching(self) -> None:
        part = {"type": "input_text", "text": "long", "prompt_cache_breakpoint": {"mode": "explicit"}}
        assert messages(user(part))[0]["content"] == [{"text": "long"}, {"cachePoint": {"type": "default"}}]


class TestThoughts:
    def thought(self, encrypted: str | None, *texts: str) -> dict[str, Any]:
        summary = [{"type": "summary_text", "text": text} for text in texts]
        return {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": encrypted}

    def test_a_signed_thought_goes_back(self) -> None:
        told = messages(HI, self.thought(seal(Sealed("Eu0C")), "hm"), call(), output("1"))
        assert told[1]["content"] == [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "Eu0C"}}},
            {"toolUse": {"toolUseId": "t", "name": "f", "input": {}}},
        ]

    def test_a_redacted_thought_goes_back(self) -> None:
        told = messages(HI, self.thought(seal(Sealed(redacted="RXRr"))), call(), output("1"))
        assert told[1]["content"][0] == {"reasoningContent": {"redactedContent": "RXRr"}}

    @pytest.mark.parametrize("encrypted", [None, "", "gAAAAABo"])
    def test_what_cannot_be_given_back_is_left_out(self, encrypted: str | None) -> None:
        told = messages(HI, self.thought(encrypted, "hm"), {"role": "assistant", "content": "a"}, HI)
        assert told[1]["content"] == [{"text": "a"}]

    @pytest.mark.parametrize(
        "encrypted", ["sg1.!", seal(Sealed(redacted="R")), seal(Sealed(redacted="/w=="))]
    )
    def test_what_is_ours_and_damaged_is_refused(self, encrypted: str) -> None:
        assert refusal(input=[HI, self.thought(encrypted)]).param == "input[1].encrypted_content"

    def test_the_model_may_think_on_where_its_thoughts_are_there(self) -> None:
        with_thoughts = [HI, self.thought(seal(Sealed("Eu0C")), "hm"), call(), output("1")]
        effort = {"effort": "low"}
        body = composed(SONNET, input=with_thoughts, reasoning=effort)
        assert body["additionalModelRequestFields"]["thinking"]["type"] == "enabled"
        assert "additionalModelRequestFields" not in composed(
            SONNET, input=[HI, call(), output("1")], reasoning=effort
        )


class TestParameters:
    def test_what_is_mapped(self) -> None:
        body = body_of(
            max_output_tokens=50,
            temperature=0.5,
            top_p=0.9,
            metadata={"team": "a"},
            user="u",
            safety_identifier="s",
            service_tier="flex",
            top_k=5,
            requestMetadata={"b": "c"},
            performanceConfig={"latency": "optimized"},
            additionalModelResponseFieldPaths=["/stop_sequence"],
        )
        assert body["inferenceConfig"] == {"maxTokens": 50, "temperature": 0.5, "topP": 0.9}
        assert body["requestMetadata"] == {"b": "c", "user": "u", "safety_identifier": "s", "team": "a"}
        assert body["serviceTier"] == {"type": "flex"}
        assert body["additionalModelRequestFields"] == {"top_k": 5}
        assert body["performanceConfig"] == {"latency": "optimized"}
        assert body["additionalModelResponseFieldPaths"] == ["/stop_sequence"]

    def test_what_is_ignored_leaves_no_trace(self) -> None:
        assert (
            body_of(
                store=True,
                truncation="auto",
                prompt_cache_key="k",
                text={"verbosity": "low"},
                stream_options={"include_obfuscation": True},
                include=["reasoning.encrypted_content"],
                max_tool_calls=3,
                service_tier="auto",
                parallel_tool_calls=True,
                reasoning={"summary": "auto"},
                background=False,
            )
            == body_of()
        )

    def test_a_guardrail_in_the_body_or_in_headers(self) -> None:
        told = {"guardrailIdentifier": "g", "guardrailVersion": "1", "trace": "enabled"}
        assert body_of(guardrailConfig=told)["guardrailConfig"] == told
        headers = [
            (b"x-amzn-bedrock-guardrailidentifier", b"g"),
            (b"x-amzn-bedrock-guardrailversion", b"1"),
            (b"x-amzn-bedrock-trace", b"ENABLED"),
        ]
        assert body_of(headers=headers)["guardrailConfig"] == told

    def test_an_effort(self) -> None:
        body = composed("openai.gpt-oss-120b-1:0", reasoning={"effort": "high"})
        assert body["additionalModelRequestFields"] == {"reasoning_effort": "high"}

    @pytest.mark.parametrize(
        "form",
        [None, {"type": "text"}, {"type": "json_object"}, {"type": "json_schema", "name": "n", "schema": {}}],
    )
    def test_forms_of_the_text(self, form: Any) -> None:
        body = body_of(text={"format": form})
        kind = form and form["type"]
        assert ("system" in body) == (kind == "json_object")
        if kind == "json_schema":
            assert body["outputConfig"]["textFormat"]["structure"] == {
                "jsonSchema": {"name": "n", "schema": "{}"}
            }


class TestTools:
    WEATHER = {
        "type": "function",
        "name": "weather.get",
        "description": "d",
        "parameters": {"type": "object"},
    }
    OTHER = {"type": "function", "name": "other", "parameters": None, "strict": True}

    def test_functions_are_flat(self) -> None:
        weather, other = body_of(tools=[self.WEATHER, self.OTHER])["toolConfig"]["tools"]
        assert weather["toolSpec"]["description"] == "d"
        assert weather["toolSpec"]["name"].startswith("weather_get_")
        assert other["toolSpec"]["strict"] is True

    @pytest.mark.parametrize(
        ("choice", "made"),
        [
            ("auto", None),
            ("required", {"any": {}}),
            ({"type": "function", "name": "other"}, {"tool": {"name": "other"}}),
        ],
    )
    def test_choices(self, choice: Any, made: Any) -> None:
        config = body_of(tools=[self.WEATHER, self.OTHER], tool_choice=choice)["toolConfig"]
        assert config.get("toolChoice") == made

    def test_allowed_tools(self) -> None:
        allowed = {
            "type": "allowed_tools",
            "mode": "required",
            "tools": [{"type": "function", "name": "other"}],
        }
        config = body_of(tools=[self.WEATHER, self.OTHER], tool_choice=allowed)["toolConfig"]
        assert [tool["toolSpec"]["name"] for tool in config["tools"]] == ["other"]
        assert config["toolChoice"] == {"any": {}}

    def test_one_call_at_a_time(self) -> None:
        body = composed(SONNET, tools=[self.OTHER], parallel_tool_calls=False)
        assert body["additionalModelRequestFields"]["tool_choice"]["disable_parallel_tool_use"] is True

    KINDS = ("web_search", "file_search", "code_interpreter", "computer", "mcp", "custom", "image_generation")

    @pytest.mark.parametrize("kind", KINDS)
    def test_what_openai_runs_is_refused_by_its_name(self, kind: str) -> None:
        fault = refusal(tools=[self.OTHER, {"type": kind}])
        assert fault.param == "tools[1].type"
        assert kind in fault.message

    @pytest.mark.parametrize("kind", KINDS)
    def test_or_left_out(self, kind: str) -> None:
        told = composed(options=DROPPING, tools=[{"type": kind}, self.OTHER], tool_choice={"type": kind})
        assert [tool["toolSpec"]["name"] for tool in told["toolConfig"]["tools"]] == ["other"]
        assert "toolConfig" not in composed(options=DROPPING, tools=[{"type": kind}], tool_choice="required")


class TestRefused:
    @pytest.mark.parametrize(
        ("members", "param", "words"),
        [
            ({"input": ...}, "input", "missing"),
            ({"input": []}, "input", "blanks"),
            ({"input": " "}, "input", "blanks"),
            ({"input": [{"role": "system", "content": "a"}]}, "input", "blanks"),
            ({"previous_response_id": "resp_1"}, "previous_response_id", "whole conversation"),
            ({"previous_response_id": "resp_1", "input": ...}, "previous_response_id", "whole conversation"),
            ({"conversation": "conv_1"}, "conversation", "whole conversation as `input`"),
            ({"background": True}, "background", "wait for the answer, or stream it"),
            ({"prompt": {"id": "pmpt_1"}, "input": ...}, "prompt", "send the text"),
            ({"moderation": {"model": "m"}}, "moderation", "guardrail"),
            ({"context_management": [{"type": "compaction"}]}, "context_management", "shorten"),
            ({"top_logprobs": 3}, "top_logprobs", "log probabilities"),
            (
                {"include": ["reasoning.encrypted_content", "file_search_call.results"]},
                "include[1]",
                "file_search",
            ),
            ({"include": ["message.output_text.logprobs"]}, "include[0]", "logprobs"),
            ({"reasoning": {"mode": "pro"}}, "reasoning.mode", "standard"),
            ({"reasoning": {"effort": "low"}}, "reasoning.effort", "reasoning.effort: it is not known"),
            ({"prompt_cache_options": {"prewarm": True}}, "prompt_cache_options.prewarm", "always answers"),
            ({"temperature": 1.5}, "temperature", "0 to 1"),
            (
                {"input": [HI, {"type": "item_reference", "id": "msg_1"}]},
                "input[1]",
                "Send the whole conversation",
            ),
            ({"input": [HI, {"type": "web_search_call", "id": "w"}]}, "input[1].type", "web_search_call"),
            ({"input": [user({"type": "input_image", "file_id": "f"})]}, "input[0].content[0]", "elsewhere"),
            ({"input": [user({"type": "input_image"})]}, "input[0].content[0]", "image_url"),
            (
                {
                    "input": [
                        user({"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "x"})
                    ]
                },
                "input[0].content[1].image_url",
                "data:image/png",
            ),
            ({"input": [user({"type": "input_file", "file_id": "f"})]}, "input[0].content[0]", "file_data"),
            (
                {"input": [user({"type": "input_file", "file_data": "*", "filename": "a.pdf"})]},
                "input[0].content[0].file_data",
                "base64",
            ),
            (
                {"input": [user({"type": "input_image", "image_url": "https://a.example/a.png"})]},
                "input[0].content[0].image_url",
                "not fetched",
            ),
            (
                {
                    "input": [
                        HI,
                        {"role": "assistant", "content": [{"type": "input_image", "image_url": "x"}]},
                    ]
                },
                "input[1].content[0].type",
                "only texts",
            ),
            (
                {"input": [{"role": "system", "content": [{"type": "refusal", "refusal": "x"}]}, HI]},
                "input[0].content[0].type",
                "only texts",
            ),
            ({"input": [HI, call(arguments="[]")]}, "input[1].arguments", "no object"),
            ({"input": [HI, call(name="")]}, "input[1].name", "empty"),
            ({"input": [HI, call(call_id="")]}, "input[1].call_id", "empty"),
            ({"input": [HI, call(), output("1", "")]}, "input[2].call_id", "empty"),
            (
                {"input": [HI, call(), output([{"type": "input_image", "image_url": "x"}])]},
                "input[2].output[0].image_url",
                "input[2].output[0].image_url",
            ),
            (
                {"tools": [{"type": "function", "name": "f", "parameters": 5}]},
                "tools[0].parameters",
                "object",
            ),
            ({"tool_choice": "required"}, "tool_choice", "with tools"),
            (
                {"tools": [TestTools.OTHER], "tool_choice": {"type": "function", "name": "f"}},
                "tool_choice.name",
                "not among the tools",
            ),
            ({"tools": [TestTools.OTHER], "tool_choice": {"type": "mcp"}}, "tool_choice.type", "mcp"),
            (
                {
                    "tools": [TestTools.OTHER],
                    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp"}]},
                },
                "tool_choice.tools[0].type",
                "mcp",
            ),
            (
                {"text": {"format": {"type": "json_schema", "name": "n", "schema": 5}}},
                "text.format.schema",
                "text.format.schema must be an object",
            ),
        ],
        ids=str,
    )
    def test_a_refusal_names_the_place_and_says_what_to_do(
        self, members: Any, param: str, words: str
    ) -> None:
        fault = refusal(**members)
        assert fault.param == param
        assert words in fault.message

    def test_instructions_have_a_place_of_their_own(self) -> None:
        fault = refusal(instructions="a", input=[HI, call(arguments="[")])
        assert fault.param == "input[1].arguments"

    @pytest.mark.parametrize(
        "members",
        [
            {"background": True},
            {"top_logprobs": 3},
            {"context_management": [{"type": "compaction"}]},
            {"include": ["file_search_call.results"]},
            {"reasoning": {"mode": "pro"}},
            {"reasoning": {"effort": "low"}},
            {"prompt_cache_options": {"prewarm": True}},
            {"temperature": 1.5},
            {"input": [HI, {"type": "web_search_call", "id": "w"}]},
        ],
        ids=str,
    )
    def test_what_may_be_dropped_is(self, members: Any) -> None:
        rest: dict[str, Any] = {"input": [HI]} if "input" in members else {}
        assert composed(options=DROPPING, **members) == composed(**rest)

    @pytest.mark.parametrize(
        "members",
        [
            {"previous_response_id": "resp_1"},
            {"conversation": "conv_1"},
            {"prompt": {"id": "pmpt_1"}},
            {"moderation": {"model": "m"}},
            {"input": [HI, {"type": "item_reference", "id": "msg_1"}]},
        ],
        ids=str,
    )
    def test_what_must_not_be_dropped_is_refused_all_the_same(self, members: Any) -> None:
        assert refusal(options=DROPPING, **members).param


class TestUrls:
    IMAGE = "https://a.example/a.png"
    FILE = "https://a.example/dir/b.pdf"
    INPUT = (
        user(
            {"type": "input_image", "image_url": IMAGE},
            {"type": "input_image", "image_url": IMAGE},
            {"type": "input_file", "file_url": FILE},
            {"type": "input_text", "text": "http://no.example/"},
        ),
    )

    def test_they_are_told_each_once(self) -> None:
        ask = OPENAI_RESPONSES.read(responses_request(input=list(self.INPUT)))
        assert ask.urls == (self.IMAGE, self.FILE)
        assert OPENAI_RESPONSES.read(responses_request(input="see http://a.example")).urls == ()

    def test_what_was_found_takes_their_place(self) -> None:
        fetched = {
            self.IMAGE: Fetched("image/png", base64.b64decode(PNG)),
            self.FILE: Fetched("application/pdf", base64.b64decode(PDF)),
        }
        first, _, document, _ = composed(input=list(self.INPUT), fetched=fetched)["messages"][0]["content"]
        assert first == {"image": {"format": "png", "source": {"bytes": PNG}}}
        assert document["document"]["source"] == {"bytes": PDF}


class TestMadeOnce:
    def test_what_a_request_says_is_translated_once_for_all_targets(self) -> None:
        ask = ResponsesAsk(decode(b'{"input": "hi"}'))
        assert ask.as_chat(may_drop=False) is ask.as_chat(may_drop=False)
        assert ask.as_chat(may_drop=True) is not ask.as_chat(may_drop=False)

    @pytest.mark.parametrize(
        ("param", "place"),
        [
            (None, None),
            ("messages[0].content", "instructions"),
            ("messages[1].content[0].file", "input[0].content[0]"),
            ("tools[0].function.name", "tools[0].name"),
            ("reasoning_effort", "reasoning.effort"),
            ("anything", "anything"),
        ],
    )
    def test_a_place_in_the_chat_is_one_in_the_request(self, param: str | None, place: str | None) -> None:
        body = {"instructions": "a", "input": [HI], "tools": [TestTools.OTHER]}
        made = ResponsesAsk(decode(msgspec.json.encode(body))).as_chat(may_drop=False)
        told = made.own(Fault(Cause.BODY_INVALID, f"{param}: why", param=param))
        assert (told.param, told.message) == (place, f"{place}: why")

    def test_what_could_not_be_read_for_converse_is_refused_there(self) -> None:
        ask = ResponsesAsk(None, invalid=Fault(Cause.BODY_INVALID, "why"))
        with pytest.raises(Refused, match="BODY_INVALID"):
            ask.whole()


CONTENT = st.lists(
    st.one_of(
        st.text(max_size=4).map(lambda text: {"type": "input_text", "text": text}),
        st.sampled_from([f"data:image/png;base64,{PNG}", "x", "https://a.example"]).map(
            lambda url: {"type": "input_image", "image_url": url}
        ),
        st.sampled_from([PDF, "", "*"]).map(
            lambda data: {"type": "input_file", "file_data": data, "filename": "a.pdf"}
        ),
    ),
    max_size=3,
)
ITEMS = st.lists(
    st.one_of(
        st.builds(
            lambda role, content: {"role": role, "content": content},
            st.sampled_from(["user", "assistant", "system"]),
            CONTENT | st.text(max_size=4),
        ),
        st.builds(
            call, st.text(max_size=4), st.text(max_size=4), st.sampled_from(["{}", "", "[", '{"a":1}'])
        ),
        st.builds(output, CONTENT | st.text(max_size=4), st.text(max_size=4)),
        st.sampled_from([seal(Sealed("E")), "sg1.x", None]).map(
            lambda text: {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": text}
        ),
        st.just({"type": "web_search_call"}),
    ),
    max_size=5,
)


@given(ITEMS, st.booleans())
def test_any_input_makes_a_body_that_bedrock_takes_or_is_refused(items: list[Any], may_drop: bool) -> None:
    try:
        body = composed(options=Options(drop_params=may_drop), input=items)
    except Refused as refused:
        assert refused.fault.cause is Cause.BODY_INVALID
        assert (refused.fault.param or "").startswith("input")
        return
    assert objections("Converse", msgspec.json.encode(body), modelId=HAIKU) == []


class TestReferences:
    """What a request refers to is put in its place once it is known."""

    REFERS: dict[str, Any] = {"input": [HI, {"type": "item_reference", "id": "msg_1"}]}

    def asked(self, **members: Any) -> ResponsesAsk:
        return ResponsesAsk(decode(responses_request(**members).body))

    def test_until_then_there_are_no_urls_in_it(self) -> None:
        image = {"type": "input_image", "image_url": "https://a.example/a.png"}
        asked = self.asked(input=[user(image), {"type": "item_reference", "id": "msg_1"}])
        assert asked.urls == ("https://a.example/a.png",)
        assert not asked.is_whole

    def test_it_is_done_once(self) -> None:
        asked = self.asked(input=[HI])
        asked.recall({}, remembers=False)
        assert asked.is_whole
        first = asked.decoded
        asked.recall({}, remembers=False)
        assert asked.decoded is first

    def test_what_could_not_be_read_refers_to_nothing(self) -> None:
        fault = Fault(Cause.BODY_INVALID)
        asked = ResponsesAsk(None, invalid=fault)
        asked.recall({}, remembers=False)
        assert not asked.is_whole
        with pytest.raises(Refused) as caught:
            asked.whole()
        assert caught.value.fault is fault

    def test_a_tools_long_name_is_told_as_the_caller_knows_it(self) -> None:
        name = "n" * 70
        asked = self.asked(tools=[{"type": "function", "name": name, "parameters": {"type": "object"}}])
        assert list(asked.names.values()) == [name]
