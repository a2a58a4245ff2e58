"""Streams: the grammar of their events, recorded and random, in openai-python's own types."""

import json
from typing import Any

import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from openai.types.responses import Response

from stargate_core.dialects.face import Reply, Request, Target
from stargate_core.dialects.openai_responses_answer import error_object
from stargate_core.dialects.openai_responses_stream import ResponsesTranslator, failure_events, sse
from stargate_core.dialects.registry import OPENAI_RESPONSES
from stargate_core.faults import TABLE, Cause, Fault
from stargate_core.wire.eventstream import EventStreamDecoder, encode_event, encode_exception
from support.converse_events import random_events
from support.dialects import HAIKU, REQUEST_ID, USAGE, Event, frames, streamed, text_events
from support.responses import events_of, responses_events, responses_request, responses_translator
from support.sdks import openai_client
from support.vectors import Recording, recorded_streams

STREAMS = [r for r in recorded_streams() if r.uri.endswith("/converse-stream")]
ENDS = {"response.completed", "response.incomplete"}


def translator(**members: Any) -> ResponsesTranslator:
    made = responses_translator(stream=True, **members)
    assert isinstance(made, ResponsesTranslator)
    return made


def check_grammar(told: list[dict[str, Any]]) -> dict[str, Any]:
    """The rules of a stream that ended well; its last response.

    `responses_events` has seen to names, numbers and types.
    """
    assert [event["type"] for event in told[:2]] == ["response.created", "response.in_progress"]
    assert told[-1]["type"] in ENDS
    assert sum(event["type"] in ENDS for event in told) == 1
    items: dict[int, dict[str, Any]] = {}
    done: dict[int, dict[str, Any]] = {}
    for event in told[2:-1]:
        at, kind = event["output_index"], event["type"].removeprefix("response.")
        if kind == "output_item.added":
            assert at == len(items)
            items[at] = {"item": event["item"], "text": "", "notes": [], "parts": 0, "finished": 0}
            continue
        assert at not in done
        item = items[at]
        if kind == "output_item.done":
            assert event["item"]["id"] == item["item"]["id"]
            assert event["item"]["type"] == item["item"]["type"]
            check_item(event["item"], item)
            done[at] = event["item"]
            continue
        assert event["item_id"] == item["item"]["id"]
        assert event.get("content_index", 0) == event.get("summary_index", 0) == 0
        word = kind.rpartition(".")[2]
        if kind == "output_text.annotation.added":
            assert event["annotation_index"] == len(item["notes"])
            item["notes"].append(event["annotation"])
        elif kind in {"content_part.added", "reasoning_summary_part.added"}:
            assert event["part"]["text"] == item["text"] == ""
            item["parts"] += 1
        elif kind in {"content_part.done", "reasoning_summary_part.done"}:
            assert event["part"]["text"] == item["text"]
            item["parts"] -= 1
        elif word == "delta":
            assert event["delta"]
            assert item["finished"] == 0
            item["text"] += event["delta"]
        else:
            assert word == "done"
            assert event.get("text", event.get("arguments")) == item["text"]
            item["finished"] += 1
    response: dict[str, Any] = told[-1]["response"]
    assert response["output"] == [done[at] for at in range(len(items))]
    return response


def check_item(item: dict[str, Any], grown: dict[str, Any]) -> None:
    """What is done is what has grown."""
    assert grown["parts"] == 0
    match item["type"]:
        case "message":
            (part,) = item["content"]
            assert part["text"] == grown["text"]
            assert part["annotations"] == grown["notes"]
            assert grown["finished"] == 1
        case "function_call":
            assert item["arguments"] == grown["text"]
            assert item["status"] == ("completed" if is_json(item["arguments"]) else "incomplete")
            assert item["id"] != item["call_id"]
            assert grown["finished"] == 1
        case kind:
            assert kind == "reasoning"
            assert "".join(part["text"] for part in item["summary"]) == grown["text"]
            assert grown["finished"] == len(item["summary"]) <= 1


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.file)
class TestRecorded:
    def test_nothing_is_lost(self, recording: Recording) -> None:
        stream = EventStreamDecoder().feed(recording.body)
        machine = translator()
        response = check_grammar(responses_events(streamed(machine, stream)))
        output = response["output"]

        payloads = [(frame.name, json.loads(frame.payload)) for frame in stream]
        deltas = [p["delta"] for name, p in payloads if name == "contentBlockDelta"]
        assert texts_of(output) == "".join(delta.get("text", "") for delta in deltas)
        thoughts = [delta["reasoningContent"] for delta in deltas if "reasoningContent" in delta]
        reasoning = [item for item in output if item["type"] == "reasoning"]
        assert "".join(part["text"] for item in reasoning for part in item["summary"]) == "".join(
            thought.get("text", "") for thought in thoughts
        )
        assert sum("encrypted_content" in item for item in reasoning) == sum(
            "signature" in thought or "redactedContent" in thought for thought in thoughts
        )
        starts = {
            p["contentBlockIndex"]: p["start"]["toolUse"]
            for name, p in payloads
            if name == "contentBlockStart" and p["start"].get("toolUse", {}).get("type") != "server_tool_use"
            if "toolUse" in p["start"]
        }
        arguments = dict.fromkeys(starts, "")
        for name, p in payloads:
            if name == "contentBlockDelta" and p["contentBlockIndex"] in arguments:
                arguments[p["contentBlockIndex"]] += p["delta"]["toolUse"]["input"]
        calls = [item for item in output if item["type"] == "function_call"]
        assert [(c["call_id"], c["name"], c["arguments"]) for c in calls] == [
            (start["toolUseId"], start["name"], arguments[at] or "{}") for at, start in starts.items()
        ]
        notes = [p for item in output if item["type"] == "message" for p in item["content"]]
        cited = sum(len(part["annotations"]) + len(part.get("citations", [])) for part in notes)
        assert cited == sum("citation" in delta for delta in deltas)
        assert response["usage"]["total_tokens"] == next(
            p["usage"]["totalTokens"] for name, p in payloads if name == "metadata"
        )
        assert machine.stop_reason == next(p["stopReason"] for name, p in payloads if name == "messageStop")
        assert b'"p":' not in streamed(translator(), stream)

    def test_only_the_very_end_is_the_end(self, recording: Recording) -> None:
        stream = EventStreamDecoder().feed(recording.body)
        for cut in range(len(stream)):
            told = responses_events(streamed(translator(), stream[:cut]))
            assert [event["type"] for event in told[-2:]] == ["error", "response.failed"]
            assert told[-2]["code"] == "upstream_stream_broken"
            assert not any(event["type"] in ENDS for event in told)

    def test_the_sdks_accumulator_ends_with_the_same(self, recording: Recording) -> None:
        body = streamed(translator(), EventStreamDecoder().feed(recording.body))
        final = responses_events(body)[-1]["response"]
        if final["status"] != "completed":
            return  # Of others the accumulator makes nothing.
        headers = [(b"content-type", b"text/event-stream")]
        with (
            openai_client(lambda _request: Reply(200, headers, body)) as client,
            client.responses.stream(model="m", input="hi") as stream,
        ):
            made = stream.get_final_response()
        assert made.output_text == texts_of(final["output"])
        assert [item.type for item in made.output] == [item["type"] for item in final["output"]]


def texts_of(output: list[dict[str, Any]]) -> str:
    messages = [item for item in output if item["type"] == "message"]
    return "".join(part["text"] for message in messages for part in message["content"])


@given(random_events(), st.booleans())
def test_on_any_events_the_grammar_holds(events: list[Event], ended: bool) -> None:
    if ended:
        events = [*events, ("messageStop", {"stopReason": "max_tokens"}), ("metadata", {"usage": USAGE})]
    told = responses_events(streamed(translator(), frames(events)))
    if told[-1]["type"] in ENDS:
        check_grammar(told)
    else:
        assert [event["type"] for event in told[-2:]] == ["error", "response.failed"]
        assert not any(event["type"] in {"error", "response.failed", *ENDS} for event in told[:-2])
        Response.model_validate(told[-1]["response"], strict=True)


Block = dict[str, Any]


def blocks() -> SearchStrategy[list[Block]]:
    """Content as a model may give it, each block with the pieces it comes in."""
    pieces = st.lists(st.text(max_size=5), max_size=4)
    web = {"title": "A", "location": {"web": {"url": "https://a.example"}}}
    page = {"title": "B", "location": {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}}}
    citations = st.lists(st.sampled_from([web, page, {"source": "x"}]), max_size=3)
    redacted = st.sampled_from(["RXRr", "Zm9v"])
    call = st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2)
    return st.lists(
        st.one_of(
            pieces.map(lambda texts: {"text": texts}),
            st.builds(lambda notes, texts: {"cited": texts, "citations": notes}, citations, pieces),
            st.builds(
                lambda texts, signed: {"thought": texts, "signature": signed},
                pieces,
                st.sampled_from([None, "Eu0C"]),
            ),
            redacted.map(lambda data: {"redacted": data}),
            st.builds(
                lambda made, cut, kind: {"call": made, "cut": cut, "kind": kind},
                call,
                st.integers(0, 5),
                st.sampled_from([None, "tool_use", "server_tool_use"]),
            ),
        ),
        max_size=5,
    )


def as_answer(content: list[Block]) -> list[Any]:
    """The content as a whole answer has it."""
    made: list[Any] = []
    for at, block in enumerate(content):
        match block:
            case {"text": texts}:
                made.append({"text": "".join(texts)})
            case {"cited": texts, "citations": citations}:
                told = [{"text": text} for text in texts]
                made.append({"citationsContent": {"content": told, "citations": citations}})
            case {"thought": texts, "signature": signature}:
                thought = {"text": "".join(texts), **({} if signature is None else {"signature": signature})}
                made.append({"reasoningContent": {"reasoningText": thought}})
            case {"redacted": data}:
                made.append({"reasoningContent": {"redactedContent": data}})
            case _:
                kind = {} if block["kind"] is None else {"type": block["kind"]}
                use = {"toolUseId": f"t{at}", "name": "f", "input": block["call"], **kind}
                made.append({"toolUse": use})
    return made


def as_events(content: list[Block], stop: str) -> list[Event]:
    """The content as a stream tells it."""
    told: list[Event] = [("messageStart", {"role": "assistant"})]
    for at, block in enumerate(content):
        deltas: list[dict[str, Any]] = []
        match block:
            case {"text": texts}:
                deltas = [{"text": text} for text in texts]
            case {"cited": texts, "citations": citations}:
                deltas = [{"citation": one} for one in citations] + [{"text": text} for text in texts]
            case {"thought": texts, "signature": signature}:
                deltas = [{"reasoningContent": {"text": text}} for text in texts]
                if signature is not None:
                    deltas.append({"reasoningContent": {"signature": signature}})
            case {"redacted": data}:
                deltas = [{"reasoningContent": {"redactedContent": data}}]
            case _:
                kind = {} if block["kind"] is None else {"type": block["kind"]}
                use = {"toolUseId": f"t{at}", "name": "f", **kind}
                told.append(("contentBlockStart", {"contentBlockIndex": at, "start": {"toolUse": use}}))
                text = msgspec.json.encode(block["call"]).decode()
                deltas = [
                    {"toolUse": {"input": piece}} for piece in (text[: block["cut"]], text[block["cut"] :])
                ]
        told += [("contentBlockDelta", {"contentBlockIndex": at, "delta": delta}) for delta in deltas]
        told.append(("contentBlockStop", {"contentBlockIndex": at}))
    return [*told, ("messageStop", {"stopReason": stop}), ("metadata", {"usage": USAGE})]


@given(blocks(), st.sampled_from(["end_turn", "tool_use", "max_tokens", "guardrail_intervened"]))
def test_a_stream_ends_with_what_a_whole_answer_is(content: list[Block], stop: str) -> None:
    message = {"role": "assistant", "content": as_answer(content)}
    body = msgspec.json.encode({"output": {"message": message}, "stopReason": stop, "usage": USAGE})
    whole = responses_translator().answer([], body).payload
    assert check_grammar(events_of(*as_events(content, stop))) == whole


class TestOrder:
    HEAD, *_ = text_events()
    TAIL = (("messageStop", {"stopReason": "tool_use"}), ("metadata", {"usage": USAGE}))

    def test_a_thought_a_text_and_a_call(self) -> None:
        told = events_of(
            self.HEAD,
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "h"}}}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "m"}}}),
            (
                "contentBlockDelta",
                {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "E"}}},
            ),
            ("contentBlockStop", {"contentBlockIndex": 0}),
            ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "I see"}}),
            ("contentBlockStop", {"contentBlockIndex": 1}),
            (
                "contentBlockStart",
                {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}},
            ),
            ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": ""}}}),
            ("contentBlockStop", {"contentBlockIndex": 2}),
            *self.TAIL,
        )
        assert [(event["type"].removeprefix("response."), event.get("output_index")) for event in told] == [
            ("created", None),
            ("in_progress", None),
            ("output_item.added", 0),
            ("reasoning_summary_part.added", 0),
            ("reasoning_summary_text.delta", 0),
            ("reasoning_summary_text.delta", 0),
            ("reasoning_summary_text.done", 0),
            ("reasoning_summary_part.done", 0),
            ("output_item.done", 0),
            ("output_item.added", 1),
            ("content_part.added", 1),
            ("output_text.delta", 1),
            ("output_text.done", 1),
            ("content_part.done", 1),
            ("output_item.done", 1),
            ("output_item.added", 2),
            ("function_call_arguments.delta", 2),
            ("function_call_arguments.done", 2),
            ("output_item.done", 2),
            ("completed", None),
        ]
        assert check_grammar(told)["output"][2] == {
            "id": f"fc_{REQUEST_ID}_2",
            "type": "function_call",
            "status": "completed",
            "call_id": "t",
            "name": "f",
            "arguments": "{}",
        }

    def test_the_response_begins_as_it_was_asked_for_and_has_nothing_in_it(self) -> None:
        created, in_progress, *_, last = events_of(
            *text_events("a"), instructions="be brief", temperature=0.5
        )
        assert created["response"] == in_progress["response"]
        assert created["response"]["status"] == "in_progress"
        assert (created["response"]["output"], created["response"]["usage"]) == ([], None)
        same = {"id", "object", "created_at", "model", "instructions", "temperature"}
        assert {n: created["response"][n] for n in same} == {n: last["response"][n] for n in same}
        assert last["response"]["temperature"] == 0.5

    def test_it_is_meaningful_from_the_first_word(self) -> None:
        machine = translator()
        head, *rest = frames(text_events("", "a"))
        assert b"response.created" in machine.frame(head)
        assert not machine.meaningful
        machine.frame(rest[0])
        assert not machine.meaningful
        machine.frame(rest[1])
        assert machine.meaningful

    def test_the_last_event_waits_for_the_usage(self) -> None:
        machine = translator()
        *most, metadata = frames(text_events("a"))
        body = b"".join(machine.frame(frame) for frame in most)
        assert not machine.complete
        assert b"response.completed" not in body
        assert b'"total_tokens":35' in machine.frame(metadata)
        assert machine.complete
        assert machine.finish() == b""

    def test_metadata_without_usage_is_an_end_too(self) -> None:
        *most, _ = text_events("a")
        told = events_of(*most, ("metadata", {}))
        assert told[-1]["response"]["usage"] is None

    def test_an_answer_of_nothing_is_an_answer(self) -> None:
        assert check_grammar(events_of(self.HEAD, *self.TAIL))["output"] == []

    def test_a_stream_without_its_beginning_gets_one(self) -> None:
        assert check_grammar(events_of(*text_events("a")[1:]))["output"]

    def test_what_a_plugin_does_to_one_event_stays_in_it(self) -> None:
        machine = translator()
        last: dict[str, Any] = {}
        for frame in frames(text_events("a")):
            for part in machine.parts(frame):
                last = part.payload
                if "item" in last:
                    last["item"].clear()
                if "part" in last:
                    last["part"]["text"] = "changed"
                if last["type"] == "response.created":
                    last["response"]["text"]["format"]["type"] = "changed"
        assert last["response"]["output"][0]["content"][0]["text"] == "a"
        assert last["response"]["text"] == {"format": {"type": "text"}}


class TestEnds:
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
        *_, done, last = events_of(*text_events("a", stop=stop))
        assert last["type"] == f"response.{status}"
        assert last["response"]["status"] == done["item"]["status"] == status
        assert last["response"]["incomplete_details"] == (None if reason is None else {"reason": reason})

    @pytest.mark.parametrize("stop", ["malformed_model_output", "malformed_tool_use"])
    def test_what_the_model_garbled_is_an_error(self, stop: str) -> None:
        *_, error, failed = events_of(*text_events("a", stop=stop))
        assert error["code"] == "model_error"
        assert failed["response"]["error"]["code"] == "server_error"

    def call(self, fragment: str, stop: str) -> list[dict[str, Any]]:
        return events_of(
            (
                "contentBlockStart",
                {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}},
            ),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": fragment}}}),
            ("contentBlockStop", {"contentBlockIndex": 0}),
            ("messageStop", {"stopReason": stop}),
            ("metadata", {"usage": USAGE}),
        )

    def test_a_call_that_was_cut_off_is_incomplete(self) -> None:
        response = check_grammar(self.call('{"a":', "max_tokens"))
        assert response["output"][0]["status"] == "incomplete"
        assert response["output"][0]["arguments"] == '{"a":'

    def test_a_call_that_is_no_json_though_the_model_had_ended_is_an_error(self) -> None:
        *_, error, _ = self.call('{"a":', "tool_use")
        assert error["code"] == "model_error"

    def test_traces_and_the_models_own_fields_are_told(self) -> None:
        *most, _, _ = text_events("a")
        told = events_of(
            *most,
            (
                "messageStop",
                {"stopReason": "end_turn", "additionalModelResponseFields": {"stop_sequence": "."}},
            ),
            ("metadata", {"usage": USAGE, "trace": {"guardrail": {}}, "serviceTier": {"type": "flex"}}),
        )
        response = told[-1]["response"]
        assert response["trace"] == {"guardrail": {}}
        assert response["additional_model_response_fields"] == {"stop_sequence": "."}
        assert response["service_tier"] == "flex"


class TestFailures:
    def test_what_plugins_have_made_of_the_events_counts(self) -> None:
        """The error is numbered on behind them, and says no item again that they have changed."""
        machine = translator()
        start = {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}}
        parts = [
            part
            for frame in frames([*text_events("secret")[:2], ("contentBlockStart", start)])
            for part in machine.parts(frame)
        ]
        for at, part in enumerate(parts):
            part.payload["sequence_number"] = at + 5
            if part.name == "response.output_item.done":
                part.payload["item"]["content"][0]["text"] = "[GONE]"
                part.payload["sequence_number"] = "no number"
            machine.render(part)
        lines = machine.broken(Fault(Cause.STREAM_CUT)).decode().splitlines()
        error, failed = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
        assert (error["sequence_number"], failed["sequence_number"]) == (len(parts) + 5, len(parts) + 6)
        assert failed["response"]["output"][0]["content"][0]["text"] == "[GONE]"

    def broken(self, fault: Fault, *events: Event) -> bytes:
        machine = translator()
        return b"".join(machine.frame(frame) for frame in frames(events)) + machine.broken(fault)

    @pytest.mark.parametrize("cause", list(Cause), ids=lambda cause: cause.name)
    def test_every_fault_is_two_events_in_the_sdks_types(self, cause: Cause) -> None:
        told = responses_events(self.broken(Fault(cause, "why"), *text_events("a")[:2]))
        error, failed = told[-2:]
        row = TABLE[cause]
        code = row.openai_code or row.code
        assert (error["type"], error["code"], error["message"]) == ("error", code, "why")
        assert error["error"] == {"message": "why", "type": row.openai_type, "param": None, "code": code}
        assert failed["type"] == "response.failed"
        assert failed["response"]["status"] == "failed"
        assert failed["response"]["error"]["message"] == "why"

    def test_what_was_done_by_then_is_in_the_response_and_what_was_not_is_not(self) -> None:
        start = {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}}
        body = self.broken(Fault(Cause.STREAM_CUT), *text_events("a")[:3], ("contentBlockStart", start))
        (item,) = responses_events(body)[-1]["response"]["output"]
        assert item["content"][0]["text"] == "a"

    def test_the_sdk_raises(self) -> None:
        body = self.broken(Fault(Cause.UPSTREAM_THROTTLED), *text_events("a")[:2])

        def gateway(_request: Request) -> Reply:
            return Reply(200, [(b"content-type", b"text/event-stream")], body)

        with openai_client(gateway) as client:
            with pytest.raises(openai.APIError) as raised:
                list(client.responses.create(model="m", input="hi", stream=True))
            assert raised.value.code == "rate_limit_exceeded"
            with (
                pytest.raises(openai.APIError),
                client.responses.stream(model="m", input="hi") as stream,
            ):
                stream.get_final_response()

    def test_the_sdk_raises_also_where_nothing_was_said_yet(self) -> None:
        body = translator().keepalive() + translator().broken(Fault(Cause.FIRST_TOKEN_TIMEOUT))
        assert [event["type"] for event in responses_events(body)] == ["error", "response.failed"]
        with (
            openai_client(lambda _: Reply(200, [(b"content-type", b"text/event-stream")], body)) as client,
            client.responses.stream(model="m", input="hi") as stream,
            pytest.raises(openai.APIError),
        ):
            stream.get_final_response()

    def test_an_exception_of_bedrocks_is_told(self) -> None:
        raw = encode_exception("throttlingException", b'{"message":"slow down"}')
        stream = [*frames(text_events("a")[:2]), *EventStreamDecoder().feed(raw)]
        *_, error, failed = responses_events(streamed(translator(), stream))
        assert (error["code"], error["message"]) == ("rate_limit_exceeded", "slow down")
        assert failed["response"]["error"]["code"] == "rate_limit_exceeded"

    @pytest.mark.parametrize(
        "events",
        [
            [("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": "{}"}}})],
            [("contentBlockDelta", {"delta": {}})],
            [("messageStop", {"stopReason": "end_turn"}), ("messageStop", {"stopReason": "end_turn"})],
            [
                ("messageStop", {"stopReason": "end_turn"}),
                ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "a"}}),
            ],
        ],
    )
    def test_what_makes_no_sense_is_garbled(self, events: list[Event]) -> None:
        assert events_of(*events)[-2]["code"] == "upstream_protocol_error"


def test_what_is_nested_too_deeply_is_garbled_at_any_depth() -> None:
    start, _, stopped, end, _ = text_events("a")
    for depth in range(400, 1100, 23):
        nest = "[" * depth + "]" * depth
        for place in ('"web":{"url":"https://a.example","x":%s}', '"documentPage":{"x":%s}'):
            cite = '{"contentBlockIndex":0,"delta":{"citation":{"location":{%s}}}}' % (place % nest)
            told = b"".join(
                encode_event(name, payload)
                for name, payload in (
                    (start[0], msgspec.json.encode(start[1])),
                    ("contentBlockDelta", cite.encode()),
                    (stopped[0], msgspec.json.encode(stopped[1])),
                    (end[0], msgspec.json.encode(end[1])),
                    ("metadata", b'{"trace":{"a":%b}}' % nest.encode()),
                )
            )
            events = responses_events(streamed(translator(), EventStreamDecoder().feed(told)))
            assert events[-1]["type"] in {"response.completed", "response.failed"}
            assert depth > 900 or events[-1]["type"] == "response.completed"


def test_a_failure_is_told_also_of_a_response_that_cannot_be() -> None:
    deep: Any = []
    for _ in range(3000):
        deep = [deep]
    fault = Fault(Cause.STREAM_CUT)
    response = {"id": "resp_1", "model": "m", "created_at": 5, "error": error_object(fault), "tools": deep}
    *_, failed = responses_events(failure_events(fault, response, 0))
    assert (failed["response"]["id"], failed["response"]["model"]) == ("resp_1", "m")
    assert failed["response"]["error"]["code"] == "server_error"


def test_a_type_that_a_plugin_has_made_nonsense_of_is_no_name() -> None:
    assert sse({"type": "a\nb"}) == b'data: {"type":"a\\nb"}\n\n'
    assert sse({}) == b"data: {}\n\n"


class TestWhatIsRemembered:
    """A response that may be referred to is kept as a whole, unless it is larger than may be."""

    @pytest.mark.parametrize(
        ("stores", "bytes_max", "kept"),
        [(True, None, True), (True, 10_000, True), (True, 1, False), (False, None, False)],
    )
    def test_as_it_was_asked_and_allowed(self, stores: bool, bytes_max: int | None, kept: bool) -> None:
        request = responses_request(stream=True, store=stores)
        ask = OPENAI_RESPONSES.read(request)
        ask.remembers, ask.remember_bytes_max = True, bytes_max
        machine = OPENAI_RESPONSES.translator(
            request, ask, OPENAI_RESPONSES.compose(request, ask, Target(HAIKU))
        )
        told = responses_events(streamed(machine, frames(text_events("Hello."))))
        response = told[-1]["response"]
        assert (ask.remember is not None) is kept
        assert response["store"] is kept
        if ask.remember is not None:
            assert ask.remember[0] == response["id"]
            assert b"Hello." in ask.remember[1]
