"""Streams: Anthropic's grammar of events, on recorded streams and on random ones, in the SDK's own types and
through its own client; and what a stream says is what the whole answer would.
"""

import base64
import contextlib
from typing import Any

import anthropic
import msgspec
import pytest
from anthropic.types import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from stargate_core.dialects.anthropic_converse_stream import PING
from stargate_core.dialects.face import BadAnswer, Part
from stargate_core.faults import Cause
from stargate_core.wire.eventstream import EventStreamDecoder, encode_event, encode_exception
from stargate_core.wire.frames import Frame
from support.anthropic_converse import EVENT, MESSAGE, accumulated, events_of, translator
from support.converse_events import assert_frame_equals_parts, random_events
from support.dialects import REQUEST_ID, USAGE, Event, frames, streamed, text_events
from support.vectors import Recording, recorded_streams

STREAMS = [r for r in recorded_streams() if r.uri.endswith("/converse-stream")]
HEAD, *TAIL = text_events(stop="tool_use")
TOLD = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 8,
    "cache_read_input_tokens": 12,
    "output_tokens": 5,
}


def told(*events: Event, **members: Any) -> list[dict[str, Any]]:
    """The events of a stream that ended well; the grammar is checked."""
    body = streamed(translator(**members), frames(events))
    check_grammar(events_of(body))
    return events_of(body)


def blocks(*events: Event, **members: Any) -> list[dict[str, Any]]:
    """What stands between the start of the message and its end."""
    return told(*events, **members)[1:-2]


def check_grammar(events: list[dict[str, Any]]) -> None:
    """One message: its start, whole blocks with dense indices, its delta, its end."""
    for event in events:
        EVENT.validate_python(event, strict=True)
    first, *between, delta, last = events
    assert (first["type"], delta["type"], last["type"]) == ("message_start", "message_delta", "message_stop")
    opened: dict[int, list[str]] = {}
    closed: set[int] = set()
    for event in between:
        index = event["index"]
        match event["type"]:
            case "content_block_start":
                assert index == len(opened)
                opened[index] = [event["content_block"]["type"]]
            case "content_block_delta":
                assert index in opened
                assert index not in closed
                opened[index].append(event["delta"]["type"])
                assert all(value not in ("", None) for value in event["delta"].values())
            case _:
                assert event["type"] == "content_block_stop"
                assert index in opened
                assert index not in closed
                closed.add(index)
    assert closed == set(opened)
    allowed = {
        "text": {"text_delta", "citations_delta"},
        "thinking": {"thinking_delta", "signature_delta"},
        "redacted_thinking": set[str](),
        "tool_use": {"input_json_delta"},
    }
    for kind, *deltas in opened.values():
        assert set(deltas) <= allowed[kind]
        assert deltas or kind == "redacted_thinking"


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.file)
class TestRecorded:
    def test_it_follows_the_grammar(self, recording: Recording) -> None:
        machine = translator()
        body = streamed(machine, EventStreamDecoder().feed(recording.body))
        check_grammar(events_of(body))
        assert machine.complete
        assert b'"p":' not in body
        assert accumulated(body).id == f"msg_{REQUEST_ID}"

    def test_only_the_very_end_is_the_end(self, recording: Recording) -> None:
        stream = EventStreamDecoder().feed(recording.body)
        for cut in range(len(stream)):
            *before, last = events_of(streamed(translator(), stream[:cut]))
            assert last["type"] == "error"
            assert all(event["type"] not in ("message_delta", "message_stop", "error") for event in before)


# -------------------------------------------------------------------------------------------- random streams


@given(random_events())
def test_on_any_events_a_stream_ends_well_by_the_grammar_or_with_one_error(events: list[Event]) -> None:
    machine, until = translator(), list[Frame]()
    scout = translator()
    for frame in frames(events):
        # Behind the end the gateway listens to nobody.
        if scout.complete:
            break
        until.append(frame)
        with contextlib.suppress(BadAnswer):
            scout.frame(frame)
    made = events_of(streamed(machine, until))
    if not machine.complete:
        assert made[-1]["type"] == "error"
        assert all(event["type"] not in ("error", "message_delta", "message_stop") for event in made[:-1])
        return
    # A reason that nobody knows yet is told as it is; the SDK's own list is closed.
    made[-2]["delta"]["stop_reason"] = "end_turn"
    check_grammar(made)


KINDS = ("text", "thought", "cited", "tool", "server", "secret")


@st.composite
def answers(draw: DrawFn) -> tuple[list[dict[str, Any]], list[Event]]:
    """The blocks of a message as Converse answers them whole, and as it streams them."""
    pieces = st.lists(st.text(max_size=6), max_size=4)
    whole: list[dict[str, Any]] = []
    events: list[Event] = [("messageStart", {"role": "assistant"})]
    for at, kind in enumerate(draw(st.lists(st.sampled_from(KINDS)))):
        deltas: list[dict[str, Any]] = []
        block: dict[str, Any]
        if kind == "text":
            said = draw(pieces)
            block = {"text": "".join(said)}
            deltas = [{"text": piece} for piece in said]
        elif kind == "thought":
            said, signature = draw(pieces), draw(st.sampled_from(["", "EuY="]))
            block = {"reasoningContent": {"reasoningText": {"text": "".join(said), "signature": signature}}}
            deltas = [{"reasoningContent": {"text": piece}} for piece in said]
            deltas.append({"reasoningContent": {"signature": signature}})
        elif kind == "secret":
            block = {"reasoningContent": {"redactedContent": base64.b64encode(draw(st.binary())).decode()}}
            deltas = [block]
        elif kind == "cited":
            said = draw(pieces)
            citation = {
                "title": "t",
                "location": {"documentChar": {"documentIndex": at, "start": 1, "end": 2}},
            }
            citations = [citation] * draw(st.integers(0, 2))
            content = [{"text": piece} for piece in said]
            block = {"citationsContent": {"content": content, "citations": citations}}
            deltas = [*({"citation": one} for one in citations), *({"text": piece} for piece in said)]
        else:
            given_ = draw(
                st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2)
            )
            text = msgspec.json.encode(given_).decode() if given_ else ""
            cut = draw(st.integers(0, len(text)))
            use = {"toolUseId": f"t{at}", "name": "f"} | (
                {"type": "server_tool_use"} if kind == "server" else {}
            )
            block = {"toolUse": {**use, "input": given_}}
            events.append(("contentBlockStart", {"contentBlockIndex": at, "start": {"toolUse": use}}))
            deltas = [{"toolUse": {"input": piece}} for piece in (text[:cut], text[cut:])]
        whole.append(block)
        events += [("contentBlockDelta", {"contentBlockIndex": at, "delta": delta}) for delta in deltas]
        events.append(("contentBlockStop", {"contentBlockIndex": at}))
    stop: Event = ("messageStop", {"stopReason": draw(st.sampled_from(["end_turn", "max_tokens"]))})
    return whole, [*events, stop, ("metadata", {"usage": USAGE})]


@settings(deadline=None)
@given(answers())
def test_a_stream_says_what_the_whole_answer_says(answer: tuple[list[dict[str, Any]], list[Event]]) -> None:
    content, events = answer
    body = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": events[-2][1]["stopReason"],
        "usage": USAGE,
    }
    plain = translator(stream=False)
    whole = plain.render_answer(plain.answer([], msgspec.json.encode(body)), [])
    message = MESSAGE.validate_json(whole.body, strict=True)
    stream = streamed(translator(), frames(events))
    check_grammar(events_of(stream))
    assert said(accumulated(stream)) == said(message)


def said(message: Message) -> dict[str, Any]:
    """A message, as far as it says something; the SDK's snapshots have extras of their own."""
    return message.model_dump(exclude_none=True, mode="json", warnings=False)


# ---------------------------------------------------------------------------------------------- rule by rule


def delta(at: int, **members: Any) -> Event:
    return ("contentBlockDelta", {"contentBlockIndex": at, "delta": members})


def stop(at: int) -> Event:
    return ("contentBlockStop", {"contentBlockIndex": at})


def tool(at: int, *fragments: str, **start: Any) -> list[Event]:
    opened = {"toolUseId": f"t{at}", "name": "f", **start}
    head: Event = ("contentBlockStart", {"contentBlockIndex": at, "start": {"toolUse": opened}})
    return [head, *(delta(at, toolUse={"input": fragment}) for fragment in fragments), stop(at)]


def started(index: int, kind: str, **members: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **members}}


def fragment(index: int, kind: str, **members: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **members}}


def stopped(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


class TestText:
    def test_a_whole_stream(self) -> None:
        message = {"id": f"msg_{REQUEST_ID}", "type": "message", "role": "assistant", "model": "mine"}
        unknown: dict[str, Any] = {
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": dict.fromkeys(TOLD, 0),
        }
        assert told(*text_events("Hel", "lo")) == [
            {"type": "message_start", "message": {**message, **unknown}},
            started(0, "text", text=""),
            fragment(0, "text_delta", text="Hel"),
            fragment(0, "text_delta", text="lo"),
            stopped(0),
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": TOLD,
            },
            {"type": "message_stop"},
        ]

    def test_an_event_has_its_name_and_its_data_and_nothing_else(self) -> None:
        machine = translator()
        _, text, *_ = frames(text_events("a"))
        begun = machine.frame(text)
        assert begun.endswith(
            b"event: content_block_delta\n"
            b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}\n\n'
        )
        assert machine.frame(text) == begun[begun.rindex(b"event:") :]

    def test_empty_texts_are_no_events_and_no_block(self) -> None:
        assert blocks(*text_events("", "")) == []
        assert [event["type"] for event in blocks(*text_events("", "a", ""))] == [
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
        ]

    @given(st.text(min_size=1))
    def test_any_text_survives(self, text: str) -> None:
        made = blocks(*text_events("<", text, ">"))
        assert "".join(event["delta"]["text"] for event in made[1:-1]) == f"<{text}>"

    def test_a_citation_comes_before_its_text_in_one_block(self) -> None:
        place = {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}}
        cited = {"title": "T", "sourceContent": [{"text": "x"}], "location": place}
        made = blocks(HEAD, delta(3, citation=cited), delta(3, text="a"), stop(3), *TAIL[1:])
        citation = {
            "type": "page_location",
            "cited_text": "x",
            "document_index": 0,
            "document_title": "T",
            "start_page_number": 1,
            "end_page_number": 2,
        }
        assert made == [
            started(0, "text", text=""),
            fragment(0, "citations_delta", citation=citation),
            fragment(0, "text_delta", text="a"),
            stopped(0),
        ]


class TestThoughts:
    def test_a_thought_has_its_signature_in_its_block(self) -> None:
        thought = [
            delta(0, reasoningContent={"text": "h"}),
            delta(0, reasoningContent={"text": ""}),
            delta(0, reasoningContent={"text": "m"}),
            delta(0, reasoningContent={"signature": "Eu0C"}),
            stop(0),
        ]
        assert blocks(HEAD, *thought, delta(1, text="a"), stop(1), *TAIL[1:]) == [
            started(0, "thinking", thinking="", signature=""),
            fragment(0, "thinking_delta", thinking="h"),
            fragment(0, "thinking_delta", thinking="m"),
            fragment(0, "signature_delta", signature="Eu0C"),
            stopped(0),
            started(1, "text", text=""),
            fragment(1, "text_delta", text="a"),
            stopped(1),
        ]

    def test_a_redacted_thought_is_told_at_once(self) -> None:
        secret = delta(0, reasoningContent={"redactedContent": "RXRrRUNr"})
        assert blocks(HEAD, secret, stop(0), *TAIL[1:]) == [
            started(0, "redacted_thinking", data="EtkECk"),
            stopped(0),
        ]

    def test_one_that_is_no_base64_is_garbled(self) -> None:
        machine = translator()
        with pytest.raises(BadAnswer) as caught:
            machine.frame(*frames([delta(0, reasoningContent={"redactedContent": "?"})]))
        assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED

    def test_another_kind_within_a_block_begins_another_block(self) -> None:
        mixed = [
            delta(0, reasoningContent={"text": "h"}),
            delta(0, text="a"),
            delta(0, reasoningContent={"redactedContent": "RXRr"}),
        ]
        kinds = [e["content_block"]["type"] for e in blocks(HEAD, *mixed, *TAIL[1:]) if "content_block" in e]
        assert kinds == ["thinking", "text", "redacted_thinking"]


class TestTools:
    def test_a_call_and_its_arguments(self) -> None:
        assert blocks(HEAD, *tool(2, "", '{"a"', ":1}"), *tool(5, "{}"), *TAIL[1:]) == [
            started(0, "tool_use", id="t2", name="f", input={}),
            fragment(0, "input_json_delta", partial_json='{"a"'),
            fragment(0, "input_json_delta", partial_json=":1}"),
            stopped(0),
            started(1, "tool_use", id="t5", name="f", input={}),
            fragment(1, "input_json_delta", partial_json="{}"),
            stopped(1),
        ]

    @pytest.mark.parametrize("fragments", [(), ("",), ('{"a"', ":1}")])
    def test_plugins_see_the_same_call(self, fragments: tuple[str, ...]) -> None:
        assert_frame_equals_parts(translator, frames([HEAD, *tool(0, *fragments), *TAIL[1:]]))

    @pytest.mark.parametrize("fragments", [(), ("",), ("", "")])
    def test_no_arguments_are_an_empty_object(self, fragments: tuple[str, ...]) -> None:
        assert blocks(HEAD, *tool(0, *fragments), *TAIL[1:])[1:] == [
            fragment(0, "input_json_delta", partial_json="{}"),
            stopped(0),
        ]

    def test_a_block_that_bedrock_forgets_to_end_is_ended(self) -> None:
        *open_tool, _ = tool(0)
        assert blocks(HEAD, *open_tool, *TAIL[1:])[1:] == [
            fragment(0, "input_json_delta", partial_json="{}"),
            stopped(0),
        ]

    def test_a_tool_gets_its_own_name_back(self) -> None:
        tools = [{"name": "mcp/search", "input_schema": {"type": "object"}}]
        safe = next(iter(translator(tools=tools)._names))
        made = blocks(HEAD, *tool(0, "{}", name=safe), *TAIL[1:], tools=tools)
        assert made[0]["content_block"]["name"] == "mcp/search"

    def test_tools_that_bedrock_runs_are_not_the_callers(self) -> None:
        result: list[Event] = [
            ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolResult": {"toolUseId": "t0"}}}),
            delta(1, toolResult=[{"text": "3"}]),
            stop(1),
        ]
        server = tool(0, '{"code"', ":1}", type="server_tool_use")
        made = blocks(HEAD, *server, *result, *tool(2, "{}", type="tool_use"), *TAIL[1:])
        assert made[0] == started(0, "tool_use", id="t2", name="f", input={})
        assert len(made) == 3

    def test_arguments_of_no_tool_are_garbled(self) -> None:
        made = events_of(streamed(translator(), frames([HEAD, *tool(0, "{}")[1:]])))
        assert made[-1]["error"]["type"] == "api_error"

    def test_calls_are_calls_whatever_the_model_says(self) -> None:
        head, *tail = text_events()
        assert told(head, *tool(0, "{}"), *tail[1:])[-2]["delta"]["stop_reason"] == "tool_use"


class TestEnds:
    @pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
    @pytest.mark.parametrize("texts", [(), ("a",)])
    def test_malformed_output_is_an_error(self, reason: str, texts: tuple[str, ...]) -> None:
        machine = translator()
        made = events_of(streamed(machine, frames(text_events(*texts, stop=reason))))
        assert made[-1]["type"] == "error"
        assert all(event["type"] not in ("message_delta", "message_stop") for event in made)
        # Where nothing was said before, the status line is still to be had.
        assert machine.meaningful is bool(texts)
        assert machine.stop_reason == reason

    def test_the_end_waits_for_the_usage_whichever_comes_first(self) -> None:
        *events, end, metadata = text_events("a")
        assert told(*events, metadata, end) == told(*events, end, metadata)

    def test_metadata_without_usage_ends_the_stream_all_the_same(self) -> None:
        *events, _ = text_events("a")
        assert told(*events, ("metadata", {}))[-2]["usage"] == dict.fromkeys(TOLD, 0)

    def test_what_is_written_to_the_cache_is_told_by_how_long_it_stays(self) -> None:
        *events, _ = text_events("a")
        details = [{"ttl": "1h", "inputTokens": 3}, {"ttl": "5m", "inputTokens": 5}]
        usage = told(*events, ("metadata", {"usage": {**USAGE, "cacheDetails": details}}))[-2]["usage"]
        assert usage["cache_creation"] == {"ephemeral_1h_input_tokens": 3, "ephemeral_5m_input_tokens": 5}

    def test_the_sequence_that_has_stopped_it_is_told(self) -> None:
        *events, _, metadata = text_events("a")
        fields = {"stopReason": "stop_sequence", "additionalModelResponseFields": {"stop_sequence": "END"}}
        delta_ = told(*events, ("messageStop", fields), metadata)[-2]["delta"]
        assert delta_ == {"stop_reason": "stop_sequence", "stop_sequence": "END"}

    def test_what_anthropic_has_no_name_for_stands_beside_the_usage(self) -> None:
        *events, _, _ = text_events("a")
        end: Event = ("messageStop", {"stopReason": "end_turn", "additionalModelResponseFields": {"x": 1}})
        made = told(*events, end, ("metadata", {"usage": USAGE, "trace": {"guardrail": {}}}))[-2]
        assert made["trace"] == {"guardrail": {}}
        assert made["additional_model_response_fields"] == {"x": 1}

    def test_a_refusal_says_whose_it_is(self) -> None:
        made = told(*text_events("no", stop="guardrail_intervened"))[-2]["delta"]
        assert made["stop_reason"] == "refusal"
        assert "guardrail" in made["stop_details"]["explanation"]


class TestBeginning:
    def test_the_message_starts_even_if_bedrock_forgets_to_begin(self) -> None:
        assert told(*text_events("a")[1:]) == told(*text_events("a"))


class TestInBand:
    def test_an_exception_ends_the_stream_with_an_error(self) -> None:
        throttled = encode_exception("throttlingException", b'{"message":"Too many requests"}')
        stream = [*frames(text_events("a")[:2]), *EventStreamDecoder().feed(throttled)]
        body = streamed(translator(), stream)
        assert events_of(body)[-1] == {
            "type": "error",
            "error": {"type": "rate_limit_error", "message": "Too many requests"},
            "request_id": REQUEST_ID,
        }
        with pytest.raises(anthropic.APIStatusError, match="Too many requests"):
            accumulated(body)

    def test_a_keep_alive_is_a_ping_wherever_it_stands(self) -> None:
        machine = translator()
        assert machine.keepalive() == PING
        stream = [machine.frame(frame) for frame in frames(text_events("a"))]
        assert accumulated(PING.join(stream)).content[0].type == "text"


def test_a_part_that_a_plugin_has_changed_is_what_is_written() -> None:
    machine = translator()
    parts: list[Part] = [part for frame in frames(text_events("secret")) for part in machine.parts(frame)]
    assert parts[2].name == "content_block_delta"
    parts[2].payload["delta"]["text"] = "***"
    assert events_of(machine.render(parts[2])) == [fragment(0, "text_delta", text="***")]


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b'{"delta":{"text":"\xff"}}', b'{"contentBlockIndex":0,"delta":7}']
)
def test_a_delta_that_is_none_is_garbled_without_being_quoted(payload: bytes) -> None:
    machine = translator()
    start, *_ = frames(text_events("secret"))
    machine.frame(start)
    [bad] = EventStreamDecoder().feed(encode_event("contentBlockDelta", payload))
    with pytest.raises(BadAnswer) as caught:
        machine.frame(bad)
    assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED
    assert caught.value.fault.detail.startswith("contentBlockDelta: ")
