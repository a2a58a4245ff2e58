"""Earlier answers: what is kept of one makes later requests whole, and nothing else does."""

from typing import Any, Final

import msgspec
import pytest

from stargate_core.dialects.face import Ask, Target
from stargate_core.dialects.openai_responses_kept import answers_needed
from stargate_core.dialects.openai_responses_request import decode
from stargate_core.dialects.registry import OPENAI_RESPONSES
from stargate_core.faults import Refused
from support.bedrock_model import objections
from support.dialects import a_request

HAIKU: Final = "anthropic.claude-3-haiku-20240307-v1:0"
FIRST, SECOND = "resp_" + "1" * 32, "resp_" + "2" * 32
TOOL: Final = {"type": "function", "name": "weather", "parameters": {"type": "object"}}


def answer(*content: Any, stop: str = "end_turn") -> bytes:
    """What Converse says."""
    return msgspec.json.encode(
        {
            "output": {"message": {"role": "assistant", "content": list(content)}},
            "stopReason": stop,
            "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
        }
    )


def turn(
    members: dict[str, Any],
    said: bytes,
    recalled: dict[str, bytes] | None = None,
    *,
    request_id: str = "1" * 32,
    remembers: bool = True,
    bytes_max: int | None = None,
) -> tuple[dict[str, Any], dict[str, Any], Ask]:
    """One turn: the body of the call, the response, and the ask with what is to be kept."""
    body = msgspec.json.encode({"model": "claude", "tools": [TOOL], **members})
    request = msgspec.structs.replace(a_request(body, b"/v1/responses"), request_id=request_id)
    ask = OPENAI_RESPONSES.read(request)
    ask.recalled, ask.remembers, ask.remember_bytes_max = recalled or {}, remembers, bytes_max
    call = OPENAI_RESPONSES.compose(request, ask, Target(HAIKU))
    assert objections("Converse", call.body, modelId=HAIKU) == []
    translator = OPENAI_RESPONSES.translator(request, ask, call)
    response = translator.answer([], said).payload
    return msgspec.json.decode(call.body), response, ask


CALL: Final = {"toolUse": {"toolUseId": "tooluse_1", "name": "weather", "input": {"city": "Ulm"}}}
RESULT: Final = {"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "rain"}]}}
THOUGHT: Final = {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}}


class TestRoundTrip:
    def test_the_conversation_goes_on_where_it_ended(self) -> None:
        first, response, ask = turn({"input": "Weather?"}, answer(THOUGHT, CALL, stop="tool_use"))
        assert response["store"] is True
        assert ask.remember is not None
        assert ask.remember[0] == response["id"] == FIRST
        result = {"type": "function_call_output", "call_id": "tooluse_1", "output": "rain"}
        second, again, _ = turn(
            {"input": [result], "previous_response_id": FIRST},
            answer({"text": "Wet."}),
            {FIRST: ask.remember[1]},
        )
        assert again["previous_response_id"] == FIRST
        assert second["messages"] == [
            *first["messages"],
            {"role": "assistant", "content": [THOUGHT, CALL]},
            {
                "role": "user",
                "content": [{"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "rain"}]}}],
            },
        ]

    def test_an_item_stands_where_the_reference_does(self) -> None:
        _, response, ask = turn({"input": "Weather?"}, answer(THOUGHT, CALL, stop="tool_use"))
        assert ask.remember is not None
        references = [{"type": "item_reference", "id": item["id"]} for item in response["output"]]
        asked = {"type": "message", "role": "user", "content": "Weather?"}
        result = {"type": "function_call_output", "call_id": "tooluse_1", "output": "rain"}
        second, _, _ = turn(
            {"input": [asked, *references, result]}, answer({"text": "Wet."}), {FIRST: ask.remember[1]}
        )
        assert second["messages"][1] == {"role": "assistant", "content": [THOUGHT, CALL]}

    def test_a_third_turn_remembers_the_first(self) -> None:
        _, _, ask = turn({"input": "One"}, answer({"text": "1"}))
        assert ask.remember is not None
        _, _, later = turn(
            {"input": "Two", "previous_response_id": FIRST},
            answer({"text": "2"}),
            dict([ask.remember]),
            request_id="2" * 32,
        )
        assert later.remember is not None
        third, _, _ = turn(
            {"input": "Three", "previous_response_id": SECOND}, answer({"text": "3"}), dict([later.remember])
        )
        texts = [block["text"] for message in third["messages"] for block in message["content"]]
        assert texts == ["One", "1", "Two", "2", "Three"]

    def test_instructions_are_said_anew(self) -> None:
        _, _, ask = turn({"input": "One", "instructions": "Be brief."}, answer({"text": "1"}))
        assert ask.remember is not None
        second, _, _ = turn(
            {"input": "Two", "previous_response_id": FIRST}, answer({"text": "2"}), dict([ask.remember])
        )
        assert "system" not in second


class TestKeeping:
    @pytest.mark.parametrize(
        ("members", "remembers"), [({"store": False}, True), ({}, False), ({"store": True}, False)]
    )
    def test_what_is_not_to_be_kept_is_not(self, members: dict[str, Any], remembers: bool) -> None:
        _, response, ask = turn({"input": "x", **members}, answer({"text": "y"}), remembers=remembers)
        assert ask.remember is None
        assert response["store"] is False

    def test_what_is_too_long_to_be_kept_says_that_it_is_not(self) -> None:
        _, _, ask = turn({"input": "x" * 500}, answer({"text": "y"}))
        assert ask.remember is not None
        length = len(ask.remember[1])
        for bytes_max, is_kept in ((length, True), (length - 1, False)):
            _, response, ask = turn({"input": "x" * 500}, answer({"text": "y"}), bytes_max=bytes_max)
            assert response["store"] is is_kept
            assert (ask.remember is not None) is is_kept


class TestMissing:
    @pytest.mark.parametrize(
        ("members", "param"),
        [
            ({"input": "x", "previous_response_id": FIRST}, "previous_response_id"),
            ({"input": "x", "previous_response_id": "resp_of_somebody_else"}, "previous_response_id"),
            ({"input": [{"type": "item_reference", "id": f"msg_{'1' * 32}_0"}]}, "input[0]"),
            (
                {"input": [{"type": "item_reference", "id": "msg_68af4030baa48193b0b43b4c2a176a1a"}]},
                "input[0]",
            ),
        ],
    )
    @pytest.mark.parametrize(
        ("remembers", "said"), [(True, "not known, or not any more"), (False, "Send the whole conversation")]
    )
    def test_a_reference_that_leads_nowhere_is_refused(
        self, members: dict[str, Any], param: str, remembers: bool, said: str
    ) -> None:
        with pytest.raises(Refused) as refused:
            turn(members, b"", remembers=remembers)
        assert refused.value.fault.param == param
        assert said in refused.value.fault.message

    @pytest.mark.parametrize("kept", [b"", b"{}", b'{"input": 1, "output": []}', b"\xff"])
    def test_what_cannot_be_read_any_more_is_not_known(self, kept: bytes) -> None:
        with pytest.raises(Refused):
            turn({"input": "x", "previous_response_id": FIRST}, b"", {FIRST: kept})


class TestNeeded:
    def test_each_answer_once(self) -> None:
        items = [
            {"type": "item_reference", "id": f"{kind}_{'1' * 32}_{at}"}
            for at, kind in enumerate(("rs", "fc"))
        ]
        items.append({"type": "item_reference", "id": f"msg_{'2' * 32}_0"})
        body = msgspec.json.encode({"input": items, "previous_response_id": FIRST})
        assert answers_needed(decode(body)) == (FIRST, SECOND)

    @pytest.mark.parametrize("name", ["", "resp_", "resp_x", "../../secret", "resp_" + "1" * 31 + "\n"])
    def test_names_of_another_form_are_looked_for_nowhere(self, name: str) -> None:
        assert answers_needed(decode(msgspec.json.encode({"input": "x", "previous_response_id": name}))) == ()
