"""The responses dialect from end to end: openai-python on one side, recorded Bedrock answers on the other."""

from typing import Any

import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseFunctionToolCall, ResponseInputParam
from pydantic import BaseModel

from stargate_core.aws.operations import Operation
from stargate_core.aws.surfaces import GuardrailWay, Surface
from stargate_core.dialects.face import Ask, Options, Reply, Request, Target
from stargate_core.dialects.openai_responses import OpenAIResponses
from stargate_core.dialects.openai_responses_passing import ResponsesPassing
from stargate_core.dialects.openai_responses_stream import ResponsesTranslator
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.wire.eventstream import encode_event, encode_exception
from support.dialects import EVENT_STREAM, HAIKU, USAGE, Event, a_request, answered, text_events
from support.responses import responses_request
from support.sdks import Gateway, openai_client
from support.vectors import RECORDED

RESPONSES = OpenAIResponses()
SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-6"
TOOL_STREAM = (RECORDED / "streams" / "otel__converse-stream__8e88c115ac14.bin").read_bytes()


class City(BaseModel):
    """What the model is to answer with."""

    name: str
    people: int


def gateway(body: bytes, sent: list[Any] | None = None, target: str = HAIKU) -> Gateway:
    """A gateway whose Bedrock always answers with `body`."""

    def handle(request: Request) -> Reply:
        if sent is not None:
            call = RESPONSES.compose(request, RESPONSES.read(request), Target(target))
            sent.append(msgspec.json.decode(call.body))
        return answered(RESPONSES, request, target, EVENT_STREAM, body)

    return handle


def encoded(events: list[Event]) -> bytes:
    return b"".join(encode_event(name, msgspec.json.encode(event)) for name, event in events)


def answer_of(*content: Any, stop: str = "end_turn") -> bytes:
    message = {"role": "assistant", "content": list(content)}
    return msgspec.json.encode({"output": {"message": message}, "stopReason": stop, "usage": USAGE})


class TestOpenAIPython:
    def test_an_answer(self) -> None:
        sent: list[Any] = []
        with openai_client(gateway(answer_of({"text": "Hello"}), sent)) as client:
            made = client.responses.create(model="claude", input="hi", instructions="be brief")
        assert (made.output_text, made.status, made.model) == ("Hello", "completed", "claude")
        assert sent == [
            {
                "messages": [{"role": "user", "content": [{"text": "hi"}]}],
                "system": [{"text": "be brief"}],
            }
        ]

    def test_a_stream(self) -> None:
        with openai_client(gateway(encoded(text_events("Hel", "lo")))) as client:
            events = list(client.responses.create(model="claude", input="hi", stream=True))
        assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "Hello"
        assert [event.sequence_number for event in events] == list(range(len(events)))

    def test_the_sdks_own_accumulator_gets_recorded_calls_whole(self) -> None:
        with (
            openai_client(gateway(TOOL_STREAM)) as client,
            client.responses.stream(model="claude", input="hi") as stream,
        ):
            final = stream.get_final_response()
        assert final.output_text
        calls = [item for item in final.output if item.type == "function_call"]
        assert [msgspec.json.decode(call.arguments) for call in calls] == [
            {"location": "Seattle"},
            {"location": "San Francisco"},
        ]
        assert final.usage is not None
        assert final.usage.total_tokens == 415 + 195

    def test_an_answer_that_is_parsed(self) -> None:
        sent: list[Any] = []
        # Cut as Claude cuts a text where it cites something.
        blocks = [{"text": '{"name":"Ulm",'}, {"text": '"people":128000}'}]
        with openai_client(gateway(answer_of(*blocks), sent)) as client:
            made = client.responses.parse(model="claude", input="hi", text_format=City)
        assert made.output_parsed == City(name="Ulm", people=128000)
        structure = sent[0]["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
        assert structure["name"] == "City"
        assert msgspec.json.decode(structure["schema"])["required"] == ["name", "people"]

    def test_a_stream_that_is_parsed(self) -> None:
        body = encoded(text_events('{"name":"Ulm",', '"people":128000}'))
        with (
            openai_client(gateway(body)) as client,
            client.responses.stream(model="claude", input="hi", text_format=City) as stream,
        ):
            assert stream.get_final_response().output_parsed == City(name="Ulm", people=128000)

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_turn_with_thoughts_and_calls_comes_back_as_it_was(self, stream: bool) -> None:
        thought = {"text": "I must look it up", "signature": "Eu0C"}
        use = {"toolUseId": "tooluse_1", "name": "weather_get", "input": {"city": "Ulm"}}
        content = [{"reasoningContent": {"reasoningText": thought}}, {"text": "Let me see"}, {"toolUse": use}]
        sent: list[Any] = []
        tools: Any = [{"type": "function", "name": "weather_get", "parameters": {}, "strict": None}]
        asked: ResponseInputParam = [{"role": "user", "content": "weather?"}]
        body = as_stream(content, "tool_use") if stream else answer_of(*content, stop="tool_use")
        output: list[Any]
        with openai_client(gateway(body, sent, SONNET)) as client:
            if stream:
                with client.responses.stream(model="c", input=asked, tools=tools) as events:
                    output = list(events.get_final_response().output)
            else:
                output = list(client.responses.create(model="c", input=asked, tools=tools).output)
        call = output[-1]
        assert isinstance(call, ResponseFunctionToolCall)
        assert (call.call_id, call.id != call.call_id) == ("tooluse_1", True)
        history: Any = [
            *asked,
            *[item.to_dict() for item in output],
            {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
        ]
        with openai_client(gateway(answer_of({"text": "Sunny"}), sent, SONNET)) as client:
            effort: Any = {"effort": "low"}
            client.responses.create(model="c", input=history, tools=tools, reasoning=effort)
        assert sent[-1]["messages"][1] == {"role": "assistant", "content": content}
        assert sent[-1]["messages"][2]["content"] == [
            {"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "sunny"}]}}
        ]
        assert sent[-1]["additionalModelRequestFields"]["thinking"]["type"] == "enabled"

    def test_unknown_fields_reach_the_model(self) -> None:
        sent: list[Any] = []
        with openai_client(gateway(answer_of(), sent)) as client:
            client.responses.create(model="c", input="hi", extra_body={"top_k": 5})
        assert sent[0]["additionalModelRequestFields"] == {"top_k": 5}

    def test_a_refusal_is_a_bad_request(self) -> None:
        with (
            openai_client(gateway(b"")) as client,
            pytest.raises(openai.BadRequestError) as raised,
        ):
            client.responses.create(model="c", input="hi", previous_response_id="resp_1")
        assert raised.value.param == "previous_response_id"
        assert "Send the whole conversation" in raised.value.message

    def test_an_exception_in_a_stream_is_raised(self) -> None:
        body = encoded(text_events("a")[:2]) + encode_exception("throttlingException", b'{"message":"slow"}')
        with openai_client(gateway(body)) as client, pytest.raises(openai.APIError, match="slow"):
            list(client.responses.create(model="c", input="hi", stream=True))

    def test_what_the_model_garbled_is_raised(self) -> None:
        with (
            openai_client(gateway(answer_of({"text": "a"}, stop="malformed_tool_use"))) as client,
            pytest.raises(openai.InternalServerError),
        ):
            client.responses.create(model="c", input="hi")


def as_stream(content: list[Any], stop: str) -> bytes:
    """A thought, a text and a call as a stream tells them."""
    thought, text, use = content
    told = thought["reasoningContent"]["reasoningText"]
    start = {name: use["toolUse"][name] for name in ("toolUseId", "name")}
    arguments = msgspec.json.encode(use["toolUse"]["input"]).decode()

    def delta(at: int, **member: Any) -> Event:
        return ("contentBlockDelta", {"contentBlockIndex": at, "delta": member})

    return encoded(
        [
            ("messageStart", {"role": "assistant"}),
            delta(0, reasoningContent={"text": told["text"]}),
            delta(0, reasoningContent={"signature": told["signature"]}),
            ("contentBlockStop", {"contentBlockIndex": 0}),
            delta(1, text=text["text"]),
            ("contentBlockStop", {"contentBlockIndex": 1}),
            ("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": start}}),
            delta(2, toolUse={"input": arguments}),
            ("contentBlockStop", {"contentBlockIndex": 2}),
            ("messageStop", {"stopReason": stop}),
            ("metadata", {"usage": USAGE}),
        ]
    )


class TestRead:
    def test_what_policy_must_know(self) -> None:
        ask = RESPONSES.read(responses_request(stream=True, max_output_tokens=50, temperature=0.5))
        assert (ask.model, ask.stream, ask.output_tokens_max, ask.temperature) == ("claude", True, 50, 0.5)
        assert (ask.operation, ask.local, ask.urls) == (None, False, ())

    def test_a_model_may_be_left_out(self) -> None:
        assert RESPONSES.read(responses_request(model=...)).model is None

    def test_what_converse_cannot_carry_is_known_as_far_as_policy_must(self) -> None:
        ask = RESPONSES.read(responses_request(input=[{"role": "wizard"}], stream=True, max_output_tokens=5))
        assert (ask.model, ask.stream, ask.output_tokens_max) == ("claude", True, 5)

    @pytest.mark.parametrize("body", [b"", b"[]", b'{"model": 5}', b'{"stream": "yes"}'])
    def test_what_nobody_could_carry_is_refused_at_once(self, body: bytes) -> None:
        with pytest.raises(Refused):
            RESPONSES.read(a_request(body))


class TestCompose:
    def compose(self, target: Target, request: Request) -> Any:
        return RESPONSES.compose(request, RESPONSES.read(request), target)

    def test_the_path_says_whether_it_streams(self) -> None:
        plain = self.compose(Target(ARN), responses_request())
        stream = self.compose(Target(ARN), responses_request(stream=True))
        assert (plain.operation, stream.operation) == (Operation.CONVERSE, Operation.CONVERSE_STREAM)
        assert plain.target.startswith(b"/model/arn%3Aaws%3Abedrock")
        assert stream.target.endswith(b"/converse-stream")

    @pytest.mark.parametrize("surface", [Surface.OPENAI, Surface.MANTLE_OPENAI])
    def test_openais_own_surfaces_are_given_what_was_asked(self, surface: Surface) -> None:
        members: dict[str, Any] = {
            "previous_response_id": "resp_1",
            "background": True,
            "tools": [{"type": "web_search"}],
        }
        call = self.compose(Target("openai.gpt-oss-120b", surface), responses_request(**members))
        assert (call.operation, call.target, call.stream) == (Operation.RESPONSES, b"/responses", False)
        assert msgspec.json.decode(call.body) == {
            "model": "openai.gpt-oss-120b",
            "input": "Say this is a test",
            **members,
        }

    def test_they_are_given_also_what_converse_could_not_carry(self) -> None:
        request = responses_request(input=[{"role": "wizard"}])
        ask = RESPONSES.read(request)
        assert b"wizard" in RESPONSES.compose(request, ask, Target("m", Surface.OPENAI)).body
        with pytest.raises(Refused) as refused:
            RESPONSES.compose(request, ask, Target("m"))
        assert refused.value.fault.param == "input[0].role"

    def test_a_guardrail_goes_in_headers_where_it_can(self) -> None:
        request = responses_request(guardrailConfig={"guardrailIdentifier": "g", "guardrailVersion": "1"})
        headers = Options(guardrail=GuardrailWay.HEADERS)
        call = self.compose(Target("m", Surface.OPENAI, headers), request)
        assert (b"x-amzn-bedrock-guardrailidentifier", b"g") in call.headers
        assert b"guardrailConfig" not in call.body
        with pytest.raises(Refused, match="BODY_INVALID"):
            self.compose(Target("m", Surface.MANTLE_OPENAI, Options(guardrail=GuardrailWay.NONE)), request)

    @pytest.mark.parametrize("surface", [Surface.INVOKE, Surface.ANTHROPIC])
    def test_other_surfaces_cannot_carry_it(self, surface: Surface) -> None:
        with pytest.raises(Refused) as refused:
            self.compose(Target("m", surface), responses_request())
        assert refused.value.fault.param == "model"

    def test_a_name_that_can_be_no_model(self) -> None:
        with pytest.raises(Refused) as refused:
            self.compose(Target(".."), responses_request())
        assert refused.value.fault.cause is Cause.MODEL_UNKNOWN


class TestTranslator:
    def test_it_is_the_calls(self) -> None:
        request = responses_request()
        ask = RESPONSES.read(request)
        for surface, kind in ((Surface.CONVERSE, ResponsesTranslator), (Surface.OPENAI, ResponsesPassing)):
            call = RESPONSES.compose(request, ask, Target(HAIKU, surface))
            assert isinstance(RESPONSES.translator(request, ask, call), kind)

    def test_an_answer_names_the_target_where_the_caller_named_none(self) -> None:
        request = responses_request(model=...)
        ask = RESPONSES.read(request)
        translator = RESPONSES.translator(request, ask, RESPONSES.compose(request, ask, Target(HAIKU)))
        assert translator.answer([], answer_of()).payload["model"] == HAIKU

    def test_names_of_tools_come_back_for_a_target_that_drops(self) -> None:
        request = responses_request(tools=[{"type": "function", "name": "a.b"}, {"type": "web_search"}])
        ask = RESPONSES.read(request)
        call = RESPONSES.compose(request, ask, Target(HAIKU, options=Options(drop_params=True)))
        (tool,) = msgspec.json.decode(call.body)["toolConfig"]["tools"]
        use = {"toolUseId": "t", "name": tool["toolSpec"]["name"], "input": {}}
        payload = RESPONSES.translator(request, ask, call).answer([], answer_of({"toolUse": use})).payload
        assert payload["output"][0]["name"] == "a.b"
        assert [said["name"] for said in payload["tools"]] == ["a.b"]


def test_a_failure_is_openais_envelope() -> None:
    reply = RESPONSES.failure(Fault(Cause.UPSTREAM_THROTTLED), "r")
    assert reply.status == 429
    assert msgspec.json.decode(reply.body)["error"]["code"] == "rate_limit_exceeded"


def test_nothing_is_answered_locally() -> None:
    with pytest.raises(AssertionError):
        RESPONSES.answer_locally(a_request(), Ask(None, stream=False), [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["model", "input", "tools", "tool_choice", "text", "stream", "instructions", "top_k"]
        ),
        JSON,
    ),
    st.sampled_from([Surface.CONVERSE, Surface.OPENAI]),
)
def test_any_json_is_carried_or_refused(members: dict[str, Any], surface: Surface) -> None:
    request = a_request(msgspec.json.encode(members))
    try:
        ask = RESPONSES.read(request)
        call = RESPONSES.compose(request, ask, Target(HAIKU, surface))
    except Refused as refused:
        assert refused.fault.row.status == 400
        return
    assert isinstance(msgspec.json.decode(call.body), dict)
    RESPONSES.translator(request, ask, call).broken(Fault(Cause.STREAM_CUT))


def test_a_request_that_is_not_carried_has_nothing_to_fetch() -> None:
    request = a_request(b'{"model":"m","instructions":"see https://a.example/a.png"}', b"/v1/responses")
    ask = RESPONSES.read(request)
    assert ask.urls == ()
    with pytest.raises(Refused) as caught:
        RESPONSES.compose(request, ask, Target(HAIKU))
    assert caught.value.fault.param == "input"
