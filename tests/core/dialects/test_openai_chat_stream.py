"""Streams: the rules of a chunk, on recorded streams and on random ones, in openai-python's own types."""

import json
from collections.abc import Sized
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming._deltas import accumulate_delta
from openai.types.chat import ChatCompletionChunk

from stargate_core.dialects.face import BadAnswer, Part
from stargate_core.dialects.openai_chat_stream import DONE, ChatTranslator
from stargate_core.faults import TABLE, Cause
from stargate_core.wire.eventstream import EventStreamDecoder, encode_event, encode_exception
from support.converse_blocks import Said, answers
from support.converse_events import assert_frame_equals_parts, random_events
from support.dialects import (
    CREATED,
    REQUEST_ID,
    Event,
    chat_translator,
    frames,
    sse_events,
    streamed,
    text_events,
)
from support.vectors import Recording, recorded_streams

STREAMS = [r for r in recorded_streams() if r.uri.endswith("/converse-stream")]


def translator(*, include_usage: bool = True, **members: Any) -> ChatTranslator:
    made = chat_translator(stream=True, stream_options={"include_usage": include_usage}, **members)
    assert isinstance(made, ChatTranslator)
    return made


def chunks_of(body: bytes) -> list[ChatCompletionChunk]:
    """The chunks of a stream that ended well, validated."""
    events = sse_events(body)
    assert events.pop() == "[DONE]"
    return [ChatCompletionChunk.model_validate(event, strict=True) for event in events]


def chunks(*events: Event, include_usage: bool = True) -> list[ChatCompletionChunk]:
    return chunks_of(streamed(translator(include_usage=include_usage), frames(events)))


def deltas(*events: Event) -> list[dict[str, Any]]:
    """The deltas between the role and the finish."""
    made = [c.choices[0].delta.model_dump(exclude_unset=True) for c in chunks(*events) if c.choices]
    assert made[0] == {"role": "assistant", "content": "", "refusal": None}
    assert made[-1] == {}
    return made[1:-1]


def assemble(made: list[ChatCompletionChunk]) -> tuple[str, list[dict[str, str]], str]:
    """What a client makes of the chunks: text, calls, thoughts. The rules of a chunk are checked."""
    assert {(c.id, c.created, c.model, c.object) for c in made} == {
        (f"chatcmpl-{REQUEST_ID}", CREATED, "claude", "chat.completion.chunk")
    }
    said = [c.choices[0] for c in made if c.choices]
    assert [choice.index for choice in said] == [0] * len(said)
    assert [choice.delta.role for choice in said] == ["assistant", *[None] * (len(said) - 1)]
    assert [choice.finish_reason is not None for choice in said] == [*[False] * (len(said) - 1), True]
    text, thoughts, calls = "", "", list[dict[str, str]]()
    for at, choice in enumerate(said):
        delta = choice.delta
        assert at == 0 or delta.content != ""
        text += delta.content or ""
        thoughts += (delta.model_extra or {}).get("reasoning_content", "")
        for call in delta.tool_calls or []:
            assert call.function is not None
            if call.index == len(calls):
                assert call.type == "function"
                calls.append({"id": call.id or "", "name": call.function.name or "", "arguments": ""})
            else:
                # Dense, and never a call without its head.
                assert 0 <= call.index < len(calls)
                assert (call.id, call.type, call.function.name) == (None, None, None)
                assert call.function.arguments
            calls[call.index]["arguments"] += call.function.arguments or ""
    return text, calls, thoughts


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.file)
class TestRecorded:
    def test_nothing_is_lost(self, recording: Recording) -> None:
        stream = EventStreamDecoder().feed(recording.body)
        machine = translator()
        made = chunks_of(streamed(machine, stream))
        text, calls, thoughts = assemble(made)

        payloads = [(frame.name, json.loads(frame.payload)) for frame in stream]
        events = [p["delta"] for name, p in payloads if name == "contentBlockDelta"]
        assert text == "".join(delta.get("text", "") for delta in events)
        assert thoughts == "".join(
            d["reasoningContent"].get("text", "") for d in events if "reasoningContent" in d
        )
        starts = {
            p["contentBlockIndex"]: p["start"]["toolUse"]
            for name, p in payloads
            if name == "contentBlockStart" and p["start"].get("toolUse", {}).get("type") != "server_tool_use"
            if "toolUse" in p["start"]
        }
        arguments = dict.fromkeys(starts, "")
        for name, p in payloads:
            if (
                name == "contentBlockDelta"
                and "toolUse" in p["delta"]
                and p["contentBlockIndex"] in arguments
            ):
                arguments[p["contentBlockIndex"]] += p["delta"]["toolUse"]["input"]
        assert [(c["id"], c["name"], c["arguments"]) for c in calls] == [
            (start["toolUseId"], start["name"], arguments[at] or "{}") for at, start in starts.items()
        ]
        assert all(isinstance(json.loads(call["arguments"]), dict) for call in calls)
        usage = next(p["usage"] for name, p in payloads if name == "metadata")
        assert made[-1].choices == []
        assert made[-1].usage is not None
        assert made[-1].usage.total_tokens == usage["totalTokens"]
        assert all(chunk.usage is None for chunk in made[:-1])
        assert machine.stop_reason == next(p["stopReason"] for name, p in payloads if name == "messageStop")

    def test_padding_is_not_passed_on(self, recording: Recording) -> None:
        body = streamed(translator(), EventStreamDecoder().feed(recording.body))
        assert b'"p":' not in body

    def test_only_the_very_end_is_the_end(self, recording: Recording) -> None:
        stream = EventStreamDecoder().feed(recording.body)
        for cut in range(len(stream)):
            body = streamed(translator(), stream[:cut])
            assert DONE not in body
            assert sse_events(body)[-1]["error"]["code"] == "upstream_stream_broken"


@given(random_events(), st.booleans())
def test_on_any_events_with_and_without_plugins_it_is_the_same(
    events: list[Event], include_usage: bool
) -> None:
    assert_frame_equals_parts(lambda: translator(include_usage=include_usage), frames(events))


@given(random_events())
def test_on_any_events_the_rules_of_a_chunk_hold(events: list[Event]) -> None:
    body = streamed(translator(), frames(events))
    told = sse_events(body)
    if told[-1] == "[DONE]":
        made = chunks_of(body)
        assert made[0].choices[0].delta.role == "assistant"
        roles = [choice.delta.role for chunk in made for choice in chunk.choices]
        assert roles.count("assistant") == 1
        assert sum(choice.finish_reason is not None for chunk in made for choice in chunk.choices) == 1
    else:
        assert "error" in told[-1]
        assert all("error" not in event for event in told[:-1])


class TestText:
    def test_a_whole_stream(self) -> None:
        body = streamed(translator(include_usage=False), frames(text_events("Hel", "lo")))
        common = {
            "id": f"chatcmpl-{REQUEST_ID}",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": "claude",
        }

        def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return {**common, "choices": [choice]}

        assert sse_events(body) == [
            chunk({"role": "assistant", "content": "", "refusal": None}),
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk({}, "stop"),
            "[DONE]",
        ]

    def test_empty_texts_are_no_chunks(self) -> None:
        assert deltas(*text_events("", "a", "")) == [{"content": "a"}]

    @given(st.text())
    def test_any_text_survives(self, text: str) -> None:
        made = chunks(*text_events("<", text, ">"))
        assert assemble(made)[0] == f"<{text}>"

    def test_thoughts_have_their_own_member(self) -> None:
        events: list[Event] = [
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}),
        ]
        head, *rest = text_events("a")
        assert deltas(head, *events, *rest) == [{"reasoning_content": "hm"}, {"content": "a"}]


def delta(at: int, **member: Any) -> Event:
    return ("contentBlockDelta", {"contentBlockIndex": at, "delta": member})


def stop(at: int) -> Event:
    return ("contentBlockStop", {"contentBlockIndex": at})


class TestBesideTheText:
    HEAD, *TAIL = text_events()

    def test_a_signed_thought_can_be_given_back(self) -> None:
        events = [
            delta(0, reasoningContent={"text": "h"}),
            delta(0, reasoningContent={"text": "m"}),
            delta(0, reasoningContent={"signature": "E"}),
            stop(0),
            delta(1, reasoningContent={"redactedContent": "RXRr"}),
            stop(1),
        ]
        assert deltas(self.HEAD, *events, *self.TAIL[1:]) == [
            {"reasoning_content": "h"},
            {"reasoning_content": "m"},
            {"thinking_blocks": [{"index": 0, "type": "thinking", "thinking": "hm", "signature": "E"}]},
            {"thinking_blocks": [{"index": 1, "type": "redacted_thinking", "data": "Etk"}]},
        ]

    def test_citations_are_told_behind_their_text(self) -> None:
        web = {"title": "A", "location": {"web": {"url": "https://a.example", "domain": "a.example"}}}
        page = {"title": "B", "location": {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}}}
        events = [
            delta(0, text="In short: "),
            stop(0),
            delta(1, citation=web),
            delta(1, citation=page),
            delta(1, text="it is "),
            delta(1, text="so"),
            stop(1),
            delta(2, text="."),
            stop(2),
        ]
        cited = {"start_index": 10, "end_index": 18, "url": "https://a.example", "title": "A"}
        assert deltas(self.HEAD, *events, *self.TAIL[1:]) == [
            {"content": "In short: "},
            {"content": "it is "},
            {"content": "so"},
            {
                "annotations": [
                    {
                        "index": 0,
                        "type": "url_citation",
                        "url_citation": {"domain": "a.example", **cited},
                    },
                ],
                "citations": [{"index": 0, **page}],
            },
            {"content": "."},
        ]

    def test_a_citation_behind_its_text_is_one_of_that_text(self) -> None:
        web = {"location": {"web": {"url": "https://a.example"}}}
        events = [delta(0, text="ab"), delta(1, text="cd"), delta(1, citation=web), stop(1)]
        told = deltas(self.HEAD, *events, *self.TAIL[1:])[-1]["annotations"][0]["url_citation"]
        assert (told["start_index"], told["end_index"], told["title"]) == (2, 4, "https://a.example")

    def test_what_has_no_end_of_its_own_is_told_with_the_messages(self) -> None:
        events = [delta(1, reasoningContent={"signature": "E"}), delta(0, citation={"title": "x"})]
        assert deltas(self.HEAD, *events, *self.TAIL[1:]) == [
            {"citations": [{"index": 0, "title": "x"}]},
            {"thinking_blocks": [{"index": 0, "type": "thinking", "thinking": "", "signature": "E"}]},
        ]

    def test_ciphertext_that_is_none_is_garbled(self) -> None:
        body = streamed(
            translator(), frames([self.HEAD, delta(0, reasoningContent={"redactedContent": "R"})])
        )
        assert sse_events(body)[-1]["error"]["code"] == "upstream_protocol_error"

    @pytest.mark.parametrize("include_usage", [True, False])
    def test_traces_and_tiers_come_last(self, include_usage: bool) -> None:
        *most, (_, metadata) = text_events("a")
        trace: dict[str, Any] = {"guardrail": {"inputAssessment": {}}}
        last = ("metadata", {**metadata, "trace": trace, "serviceTier": {"type": "flex"}})
        made = chunks(*most, last, include_usage=include_usage)[-1]
        assert made.choices == []
        assert made.service_tier == "flex"
        assert (made.model_extra or {})["trace"] == trace
        assert (made.usage is not None) == include_usage

    def test_a_tier_alone_makes_no_chunk(self) -> None:
        *most, (_, metadata) = text_events("a")
        made = chunks(*most, ("metadata", {**metadata, "serviceTier": {"type": "flex"}}), include_usage=False)
        assert made[-1].choices[0].finish_reason == "stop"

    def test_the_models_own_fields_come_with_its_end(self) -> None:
        events = text_events("a")
        events[-2] = (
            "messageStop",
            {"stopReason": "end_turn", "additionalModelResponseFields": {"stop_sequence": "."}},
        )
        made = chunks(*events)[-2]
        assert made.choices[0].finish_reason == "stop"
        assert (made.model_extra or {})["additional_model_response_fields"] == {"stop_sequence": "."}


class TestAnyAnswer:
    """Laws that hold for all that Bedrock may stream."""

    @given(answers(), st.booleans())
    def test_a_client_makes_of_the_stream_what_the_whole_answer_says(
        self, said: Said, include_usage: bool
    ) -> None:
        machine = translator(include_usage=include_usage)
        made = chunks_of(streamed(machine, frames(said.events)))
        text, calls, thoughts = assemble([chunk for chunk in made if chunk.choices])
        whole = chat_translator()
        message = whole.answer([], msgspec.json.encode(said.answer)).payload["choices"][0]["message"]

        assert text == (message["content"] or "")
        assert thoughts == message.get("reasoning_content", "")
        assert [(c["id"], c["name"], json.loads(c["arguments"])) for c in calls] == [
            (c["id"], c["function"]["name"], json.loads(c["function"]["arguments"]))
            for c in message.get("tool_calls", [])
        ]
        for name in ("thinking_blocks", "annotations", "citations"):
            told = [
                one
                for chunk in made
                for choice in chunk.choices
                for one in (choice.delta.model_extra or {}).get(name, [])
            ]
            assert told == [{"index": at, **one} for at, one in enumerate(message.get(name, []))]
        assert (machine.stop_reason, machine.usage) == (whole.stop_reason, whole.usage)

    @given(answers())
    def test_the_sdks_own_accumulator_gets_all_of_it(self, said: Said) -> None:
        made: dict[object, object] = {}
        for chunk in chunks_of(streamed(translator(), frames(said.events))):
            for choice in chunk.choices:
                delta = cast("dict[object, object]", choice.delta.model_dump(exclude_unset=True))
                accumulate_delta(made, delta)
        whole = chat_translator().answer([], msgspec.json.encode(said.answer)).payload
        message = whole["choices"][0]["message"]
        assert {name: made.get(name) for name in ("content", "role")} == {
            "content": message["content"] or "",
            "role": "assistant",
        }
        for name in ("reasoning_content", "tool_calls", "thinking_blocks", "annotations", "citations"):
            assert len(cast("Sized", made.get(name, []))) == len(message.get(name, []))

    @given(answers(), st.booleans())
    def test_the_end_is_told_once(self, said: Said, include_usage: bool) -> None:
        body = streamed(translator(include_usage=include_usage), frames(said.events))
        assert body.count(DONE) == 1
        assert body.endswith(DONE)
        made = chunks_of(body)
        finishes = [c.choices[0].finish_reason for c in made if c.choices and c.choices[0].finish_reason]
        assert len(finishes) == 1
        assert sum(chunk.usage is not None for chunk in made) == include_usage
        whole = chat_translator().answer([], msgspec.json.encode(said.answer)).payload
        assert finishes == [whole["choices"][0]["finish_reason"]]
        for name in ("trace", "additional_model_response_fields"):
            told = [(c.model_extra or {})[name] for c in made if name in (c.model_extra or {})]
            assert told == ([whole[name]] if name in whole else [])

    @given(answers(), st.booleans())
    def test_with_and_without_plugins_it_is_the_same(self, said: Said, include_usage: bool) -> None:
        assert_frame_equals_parts(lambda: translator(include_usage=include_usage), frames(said.events))

    @given(answers(), st.data())
    def test_no_cut_is_an_end(self, said: Said, data: st.DataObject) -> None:
        cut = data.draw(st.integers(0, len(said.events) - 1))
        body = streamed(translator(), frames(said.events[:cut]))
        assert DONE not in body
        assert "error" in sse_events(body)[-1]


def tool(at: int, *fragments: str, **start: Any) -> list[Event]:
    opened = {"toolUseId": f"t{at}", "name": "f", **start}
    return [
        ("contentBlockStart", {"contentBlockIndex": at, "start": {"toolUse": opened}}),
        *(
            ("contentBlockDelta", {"contentBlockIndex": at, "delta": {"toolUse": {"input": f}}})
            for f in fragments
        ),
        ("contentBlockStop", {"contentBlockIndex": at}),
    ]


class TestTools:
    HEAD, *TAIL = text_events(stop="tool_use")

    def call(self, index: int, identity: str, name: str = "f") -> dict[str, Any]:
        function = {"name": name, "arguments": ""}
        return {"tool_calls": [{"index": index, "id": identity, "type": "function", "function": function}]}

    def arguments(self, index: int, text: str) -> dict[str, Any]:
        return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}

    def test_tools_are_counted_densely_from_zero(self) -> None:
        # A thought at 0, a text at 1: the tools are 0 and 1 all the same.
        assert deltas(self.HEAD, *tool(2, "", '{"a"', ":1}"), *tool(5, "{}"), *self.TAIL) == [
            self.call(0, "t2"),
            self.arguments(0, '{"a"'),
            self.arguments(0, ":1}"),
            self.call(1, "t5"),
            self.arguments(1, "{}"),
        ]

    @pytest.mark.parametrize("fragments", [(), ("",), ("", "")])
    def test_no_arguments_are_an_empty_object(self, fragments: tuple[str, ...]) -> None:
        assert deltas(self.HEAD, *tool(0, *fragments), *self.TAIL) == [
            self.call(0, "t0"),
            self.arguments(0, "{}"),
        ]

    def test_a_tool_gets_its_own_name_back(self) -> None:
        asked = {"type": "function", "function": {"name": "mcp/search"}}
        machine = translator(tools=[asked])
        safe = next(iter(machine._names))
        body = streamed(machine, frames([self.HEAD, *tool(0, "{}", name=safe), *self.TAIL]))
        assert assemble(chunks_of(body))[1] == [{"id": "t0", "name": "mcp/search", "arguments": "{}"}]

    def test_tools_that_bedrock_runs_are_not_the_callers(self) -> None:
        result: list[Event] = [
            ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolResult": {"toolUseId": "t0"}}}),
            ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolResult": [{"text": "3"}]}}),
            ("contentBlockStop", {"contentBlockIndex": 1}),
        ]
        server = tool(0, '{"code"', ":1}", type="server_tool_use")
        assert deltas(self.HEAD, *server, *result, *tool(2, "{}", type="tool_use"), *self.TAIL) == [
            self.call(0, "t2"),
            self.arguments(0, "{}"),
        ]

    def test_arguments_of_no_tool_are_garbled(self) -> None:
        events = [self.HEAD, *tool(0, "{}")[1:]]
        assert (
            sse_events(streamed(translator(), frames(events)))[-1]["error"]["code"]
            == "upstream_protocol_error"
        )


class TestStops:
    @pytest.mark.parametrize(
        ("stop", "finish"),
        [
            ("end_turn", "stop"),
            ("stop_sequence", "stop"),
            ("max_tokens", "length"),
            ("tool_use", "tool_calls"),
            ("content_filtered", "content_filter"),
            ("guardrail_intervened", "content_filter"),
            ("model_context_window_exceeded", "length"),
            ("went_for_lunch", "stop"),
        ],
    )
    def test_every_reason_that_is_one(self, stop: str, finish: str) -> None:
        made = chunks(*text_events("a", stop=stop))
        assert [c.choices[0].finish_reason for c in made if c.choices] == [None, None, finish]

    @pytest.mark.parametrize("stop", ["malformed_model_output", "malformed_tool_use"])
    @pytest.mark.parametrize("texts", [(), ("a",)])
    def test_malformed_output_is_an_error(self, stop: str, texts: tuple[str, ...]) -> None:
        machine = translator()
        events = sse_events(streamed(machine, frames(text_events(*texts, stop=stop))))
        assert events[-1]["error"]["code"] == TABLE[Cause.MODEL_OUTPUT_MALFORMED].openai_code
        assert all(event["choices"][0]["finish_reason"] is None for event in events[:-1])
        # Where nothing was said before, the status line is still to be had.
        assert machine.meaningful is bool(texts)
        assert machine.stop_reason == stop

    def test_calls_are_calls_whatever_the_model_says(self) -> None:
        head, *tail = text_events()
        made = chunks(head, *tool(0, "{}"), *tail)
        assert made[-2].choices[0].finish_reason == "tool_calls"


class TestUsage:
    def test_only_where_it_was_asked_for(self) -> None:
        with_usage = chunks(*text_events("a"))
        assert with_usage[-1].choices == []
        assert with_usage[-1].usage is not None
        assert with_usage[-1].usage.prompt_tokens == 30
        assert all("usage" in c.model_fields_set and c.usage is None for c in with_usage[:-1])
        without = chunks(*text_events("a"), include_usage=False)
        assert len(without) == len(with_usage) - 1
        assert all("usage" not in c.model_fields_set for c in without)

    def test_it_comes_last_even_if_bedrock_tells_it_first(self) -> None:
        *events, stop, metadata = text_events("a")
        made = chunks(*events, metadata, stop)
        assert made[-2].choices[0].finish_reason == "stop"
        assert made[-1].usage is not None

    def test_metadata_without_usage_ends_the_stream_all_the_same(self) -> None:
        *events, _ = text_events("a")
        assert chunks(*events, ("metadata", {}))[-1].choices[0].finish_reason == "stop"


class TestBeginning:
    def test_the_role_is_told_even_if_bedrock_forgets_to_begin(self) -> None:
        assert assemble(chunks(*text_events("a")[1:]))[0] == "a"


class TestInBand:
    def test_an_exception_ends_the_stream_with_an_error(self) -> None:
        throttled = encode_exception("throttlingException", b'{"message":"Too many requests"}')
        stream = [*frames(text_events("a")[:2]), *EventStreamDecoder().feed(throttled)]
        *said, error = sse_events(streamed(translator(), stream))
        assert [event["choices"][0]["delta"].get("content") for event in said] == ["", "a"]
        assert error == {
            "error": {
                "message": "Too many requests",
                "type": "rate_limit_error",
                "param": None,
                "code": "rate_limit_exceeded",
            }
        }

    def test_a_keep_alive_is_a_comment(self) -> None:
        assert translator().keepalive().startswith(b":")
        assert translator().keepalive().endswith(b"\n\n")
        assert sse_events(translator().keepalive()) == []


def test_a_part_that_a_plugin_has_changed_is_what_is_written() -> None:
    machine = translator()
    parts: list[Part] = [part for frame in frames(text_events("secret")) for part in machine.parts(frame)]
    parts[1].payload["choices"][0]["delta"]["content"] = "***"
    assert sse_events(machine.render(parts[1]))[0]["choices"][0]["delta"] == {"content": "***"}


def test_headers_of_a_stream() -> None:
    headers = dict(translator().stream_headers([(b"content-type", b"application/vnd.amazon.eventstream")]))
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"cache-control"] == b"no-cache"


@given(st.binary(max_size=60))
def test_any_payload_is_translated_or_garbled(payload: bytes) -> None:
    raw = msgspec.Raw(payload)
    for name in (
        "messageStart",
        "contentBlockStart",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ):
        (frame,) = frames([(name, {})])
        frame = msgspec.structs.replace(frame, payload=bytes(raw))
        try:
            translator().frame(frame)
        except BadAnswer as bad:
            assert bad.fault.cause is Cause.UPSTREAM_GARBLED


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
