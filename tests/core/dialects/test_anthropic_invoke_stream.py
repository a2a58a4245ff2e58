"""Claude's answers: relayed byte for byte but for two things, complete at their own end, honest about every
other end.
"""

import base64
import functools
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.dialects.anthropic_invoke_stream import PING, InvokeTranslator, MessagesTranslator
from stargate_core.dialects.anthropic_passing import MessagesWatching
from stargate_core.dialects.bedrock_native_answer import METRICS
from stargate_core.dialects.converse import TOKENS_MAX
from stargate_core.dialects.face import BadAnswer, Part, PartKind, Usage
from stargate_core.faults import Cause, Fault
from stargate_core.wire.eventstream import EventStreamDecoder, encode_event
from stargate_core.wire.frames import Frame, ServerEvent
from stargate_core.wire.sse import SseDecoder
from support.dialects import REQUEST_ID, deeper, frames, streamed
from support.vectors import Recording, recorded_streams, recordings

ACTION: Final = "amazon-bedrock-guardrailAction"
CLAUDES: Final = [
    recording
    for recording in recorded_streams()
    if "anthropic" in recording.uri and "/invoke" in recording.uri
]
WHOLE: Final = [
    recording
    for recording in recordings()
    if "anthropic" in recording.uri and recording.uri.endswith("/invoke") and recording.status == 200
]
START: Final[dict[str, Any]] = {
    "type": "message_start",
    "message": {
        "id": "msg_bdrk_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-internal",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 3,
            "cache_read_input_tokens": 9,
            "cache_creation_input_tokens": 2,
            "output_tokens": 1,
        },
    },
}
OPEN: Final[dict[str, Any]] = {
    "type": "content_block_start",
    "index": 0,
    "content_block": {"type": "text", "text": ""},
}
CLOSE: Final[dict[str, Any]] = {"type": "content_block_stop", "index": 0}
STOP: Final[dict[str, Any]] = {"type": "message_stop"}


def says(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}, **more}


def ends(reason: str | None = "end_turn", **more: Any) -> dict[str, Any]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5}, **more}


def chunk(inner: Any) -> Frame:
    """A chunk, with the model's own JSON inside, and padding."""
    coded = base64.b64encode(inner if isinstance(inner, bytes) else msgspec.json.encode(inner)).decode()
    return frames([("chunk", {"bytes": coded, "p": "abc"})])[0]


def a_translator() -> InvokeTranslator:
    return InvokeTranslator(REQUEST_ID, "claude")


def after(*inners: Any) -> InvokeTranslator:
    translator = a_translator()
    for inner in inners:
        translator.frame(chunk(inner))
    return translator


def events_of(stream: bytes) -> list[ServerEvent]:
    return SseDecoder().feed(stream)


def said_by(inners: Iterable[Any]) -> list[Any]:
    """The JSON of what a caller is written."""
    stream = streamed(a_translator(), [chunk(inner) for inner in inners])
    return [msgspec.json.decode(event.data) for event in events_of(stream)]


def fault_of(*inners: Any) -> Fault:
    with pytest.raises(BadAnswer) as caught:
        after(*inners)
    return caught.value.fault


@pytest.mark.parametrize("recording", CLAUDES, ids=lambda recording: recording.file)
class TestRecorded:
    def inners(self, recording: Recording) -> list[Any]:
        stream = EventStreamDecoder().feed(recording.body)
        coded = [msgspec.json.decode(frame.payload)["bytes"] for frame in stream]
        return [msgspec.json.decode(base64.b64decode(one)) for one in coded]

    def test_events_are_the_models_own_but_for_its_name_and_bedrocks_additions(
        self, recording: Recording
    ) -> None:
        translator = a_translator()
        stream = streamed(translator, EventStreamDecoder().feed(recording.body))
        expected = self.inners(recording)
        expected[0]["message"]["model"] = "claude"
        expected[-1].pop(METRICS)
        events = events_of(stream)
        assert [msgspec.json.decode(event.data) for event in events] == expected
        assert [event.name for event in events] == [inner["type"] for inner in expected]
        assert b"\n\n" not in stream.removesuffix(b"\n\n").replace(b"\n\nevent: ", b"")
        assert b"amazon-bedrock" not in stream

    def test_it_is_complete_at_its_last_frame_and_not_before(self, recording: Recording) -> None:
        translator = a_translator()
        known: list[bool] = []
        for frame in EventStreamDecoder().feed(recording.body):
            translator.frame(frame)
            known.append(translator.complete)
        assert known == [*[False] * (len(known) - 1), True]
        told = self.inners(recording)
        assert translator.stop_reason == told[-2]["delta"]["stop_reason"]
        assert translator.usage is not None
        assert translator.usage.output_tokens == told[-2]["usage"]["output_tokens"]

    def test_parts_one_by_one_are_the_same_bytes(self, recording: Recording) -> None:
        fast, slow = a_translator(), a_translator()
        for frame in EventStreamDecoder().feed(recording.body):
            assert fast.frame(frame) == b"".join([slow.render(part) for part in slow.parts(frame)])
            for name in ("complete", "meaningful", "stop_reason", "usage", "intervened"):
                assert getattr(fast, name) == getattr(slow, name)


@pytest.mark.parametrize("recording", WHOLE, ids=lambda recording: recording.file)
def test_a_recorded_answer_keeps_all_but_the_models_name(recording: Recording) -> None:
    translator = a_translator()
    reply = translator.render_answer(translator.answer([], recording.body), [])
    before, now = msgspec.json.decode(recording.body), msgspec.json.decode(reply.body)
    assert now == {**before, "model": "claude"}
    assert list(now) == list(before)
    assert (reply.status, reply.headers) == (200, [(b"content-type", b"application/json")])
    usage = before["usage"]
    assert translator.usage == Usage(
        usage["input_tokens"],
        usage["output_tokens"],
        usage.get("cache_read_input_tokens", 0),
        usage.get("cache_creation_input_tokens", 0),
    )
    assert translator.stop_reason == before["stop_reason"]
    assert translator.complete


class TestRelayed:
    @pytest.mark.parametrize(
        "inner",
        [
            b'{"type":"content_block_delta","index":0,"delta":{"text":"\\u00e9\\/ \\ud83d"}}',
            b'{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}',
            b'{"type":"content_block_delta","index":1.0,"delta":{"n":1e2}, "x" :[ ]}',
            b'{"type":"content_block_start","index":0,"content_block":{"thinking":"","signature":""}}',
            b'{"index":0, "type" : "content_block_stop"}',
            b'{"type":"news_of_next_year","a":1.50}',
            b'{"type": "ping"}',
        ],
    )
    def test_an_event_keeps_its_bytes(self, inner: bytes) -> None:
        name = "content_block_delta" if b"_delta" in inner else msgspec.json.decode(inner)["type"]
        translator = after(START)
        assert translator.frame(chunk(inner)) == b"event: %b\ndata: %b\n\n" % (name.encode(), inner)

    @pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
    def test_line_breaks_between_tokens_make_no_events(self, end: bytes) -> None:
        inner = b'{"type":"content_block_delta",' + end + b'"index":0,' + end + b'"delta":{}}' + end
        translator = after(START)
        (event,) = events_of(translator.frame(chunk(inner)))
        assert msgspec.json.decode(event.data) == {"type": "content_block_delta", "index": 0, "delta": {}}

    def test_the_start_bears_the_callers_name_and_keeps_the_rest(self) -> None:
        raw = msgspec.json.encode(START)
        expected = b"event: message_start\ndata: " + raw.replace(b"claude-internal", b"claude") + b"\n\n"
        assert a_translator().frame(chunk(raw)) == expected

    def test_what_bedrock_adds_is_taken_out_of_any_event(self) -> None:
        added: dict[str, Any] = {ACTION: "NONE", "amazon-bedrock-trace": {"guardrail": {}}}
        assert said_by([{**START, **added}, says("a", **added), {**STOP, **added}]) == [
            {**START, "message": {**START["message"], "model": "claude"}},
            says("a"),
            STOP,
        ]

    def test_a_text_about_it_is_not(self) -> None:
        told = says('"amazon-bedrock-trace" message_stop "type":"error"')
        assert said_by([START, told, STOP])[1] == told

    @pytest.mark.parametrize("name", ["news", "messageStart", ""])
    def test_frames_that_bear_no_chunk_are_nobodys(self, name: str) -> None:
        (frame,) = frames([("chunk", {})])
        other = Frame(frame.kind, name, frame.headers, b"\xff", b"")
        assert a_translator().frame(other) == b""
        assert a_translator().parts(other) == ()

    @given(st.lists(st.text(max_size=5), max_size=5), st.booleans())
    def test_texts_arrive_as_they_were_said_however_they_are_looked_at(
        self, texts: list[str], added: bool
    ) -> None:
        more = {ACTION: "NONE"} if added else {}
        story = [START, OPEN, *(says(text, **more) for text in texts), CLOSE, ends(), STOP]
        fast, slow = a_translator(), a_translator()
        rendered: list[bytes] = []
        for frame in map(chunk, story):
            rendered.append(fast.frame(frame))
            assert rendered[-1] == b"".join([slow.render(part) for part in slow.parts(frame)])
        told = [msgspec.json.decode(event.data) for event in events_of(b"".join(rendered))]
        assert [event["delta"]["text"] for event in told if event["type"] == "content_block_delta"] == texts


class TestPlugins:
    def test_what_one_changes_is_written(self) -> None:
        translator = after(START)
        (part,) = translator.parts(chunk(says("secret")))
        assert part.name == "content_block_delta"
        part.payload["delta"]["text"] = "…"
        (event,) = events_of(translator.render(part))
        assert msgspec.json.decode(event.data) == says("…")

    def test_so_is_a_part_of_its_own(self) -> None:
        (event,) = events_of(a_translator().render(Part(PartKind.EVENT, "ping", {"type": "ping"})))
        assert event == ServerEvent("ping", '{"type":"ping"}')

    def test_a_whole_answer_too(self) -> None:
        translator = a_translator()
        part = translator.answer([], b'{"type":"message", "content":[], "id":"m"}')
        assert (
            translator.render_answer(part, []).body
            == b'{"type":"message","content":[],"id":"m","model":"claude"}'
        )
        part.payload["id"] = "other"
        assert msgspec.json.decode(translator.render_answer(part, []).body)["id"] == "other"
        bare = Part(PartKind.ANSWER, "", {"type": "message"})
        assert translator.render_answer(bare, []).body == b'{"type":"message"}'

    def test_a_delta_that_is_no_json_is_handed_on_as_it_came_by_both_ways(self) -> None:
        inner = b'{"type":"content_block_delta",'
        fast, slow = after(START), after(START)
        (part,) = slow.parts(chunk(inner))
        assert part.payload is None
        assert fast.frame(chunk(inner)) == slow.render(part)


class TestDepth:
    def test_what_is_nested_too_deeply_is_garbled_at_any_depth(self) -> None:
        for depth in range(700, 1100, 7):
            nest = b"[" * depth + b"]" * depth
            start = b'{"type":"message_start","message":{"a":%b}}' % nest
            for event in (
                start,
                b'{"type":"news","a":%b}' % nest,
                b'{"type":"content_block_delta","a":%b}' % nest,
            ):
                translator = a_translator() if event is start else after(START)
                try:
                    (part,) = translator.parts(chunk(event))
                    deeper(40, functools.partial(translator.render, part))
                except BadAnswer as bad:
                    assert bad.fault.cause is Cause.UPSTREAM_GARBLED
            try:
                part = a_translator().answer([], b'{"type":"message","a":%b}' % nest)
                deeper(40, functools.partial(a_translator().render_answer, part, []))
            except BadAnswer as bad:
                assert bad.fault.cause is Cause.UPSTREAM_GARBLED


class TestUsage:
    def test_is_cumulative_and_what_is_not_repeated_is_kept(self) -> None:
        assert after(START).usage == Usage(3, 1, 9, 2)
        assert after(START, ends()).usage == Usage(3, 5, 9, 2)
        assert after(START, ends(usage={"input_tokens": 4, "output_tokens": 6.0})).usage == Usage(4, 6, 9, 2)
        assert after(START, ends(usage=None)).usage == Usage(3, 1, 9, 2)

    def test_a_count_that_cannot_be_is_the_nearest_that_can(self) -> None:
        usage = {"input_tokens": -4, "output_tokens": 1e300}
        assert after(START, ends(usage=usage)).usage == Usage(0, TOKENS_MAX, 9, 2)

    def test_the_models_own_wins_over_bedrocks(self) -> None:
        metrics = {"inputTokenCount": 1, "outputTokenCount": 97}
        assert after(START, ends(), {**STOP, METRICS: metrics}).usage == Usage(3, 5, 9, 2)

    def test_bedrocks_counts_where_there_is_no_other(self) -> None:
        bare: dict[str, Any] = {"type": "message_start", "message": {}}
        metrics = {"inputTokenCount": 5.0, "outputTokenCount": 7, "cacheReadInputTokenCount": 2}
        assert after(bare, {**STOP, METRICS: metrics}).usage == Usage(5, 7, 2, 0)

    @pytest.mark.parametrize("usage", [5, {"output_tokens": "5"}, []])
    def test_of_the_wrong_shape_it_is_no_answer(self, usage: Any) -> None:
        assert fault_of(START, ends(usage=usage)).cause is Cause.UPSTREAM_GARBLED


class TestTheEnd:
    @pytest.mark.parametrize(
        "reason", ["end_turn", "tool_use", "refusal", "pause_turn", "model_context_window_exceeded"]
    )
    def test_the_reason_is_known_and_passed_on(self, reason: str) -> None:
        translator = after(START, ends(reason), STOP)
        assert (translator.stop_reason, translator.complete) == (reason, True)
        assert said_by([START, ends(reason)])[1]["delta"]["stop_reason"] == reason

    @pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
    def test_malformed_output_is_an_error(self, reason: str) -> None:
        assert fault_of(START, ends(reason)).cause is Cause.MODEL_OUTPUT_MALFORMED

    def test_nothing_follows_it(self) -> None:
        translator = after(START, ends(), STOP)
        for late in (says("x"), STOP, START, b"garbage", {"type": "error"}):
            assert translator.frame(chunk(late)) == b""
            assert translator.parts(chunk(late)) == ()
        assert translator.finish() == b""

    def test_a_stream_that_only_falls_silent_has_not_come_to_it(self) -> None:
        stream = streamed(a_translator(), [chunk(inner) for inner in (START, OPEN, says("a"), CLOSE, ends())])
        *_, last = events_of(stream)
        assert last.name == "error"
        assert msgspec.json.decode(last.data) == {
            "type": "error",
            "error": {"type": "api_error", "message": "The answer was cut off before its end"},
            "request_id": REQUEST_ID,
        }

    def test_silence_is_filled_with_pings_of_anthropics(self) -> None:
        assert a_translator().keepalive() == PING
        assert events_of(PING) == [ServerEvent("ping", '{"type": "ping"}')]


class TestGuardrail:
    def test_a_stream_it_has_been_at_is_told_in_the_log(self) -> None:
        translator = after(START, says("{NAME}", **{ACTION: "INTERVENED"}), ends("end_turn"), STOP)
        assert translator.intervened
        assert translator.stop_reason == "guardrail_intervened"
        assert not after(START, says("a", **{ACTION: "NONE"}), ends(), STOP).intervened

    def test_the_caller_is_told_the_reason_bedrock_gives_or_that_it_was_refused(self) -> None:
        acted = says("no", **{ACTION: "INTERVENED"})
        for given_reason, told in (("end_turn", "end_turn"), (None, "refusal")):
            events = said_by([START, acted, ends(given_reason), STOP])
            assert events[2]["delta"] == {"stop_reason": told, "stop_sequence": None}

    @pytest.mark.parametrize(
        ("members", "told"), [({"stop_reason": "end_turn"}, "end_turn"), ({}, "refusal")]
    )
    def test_a_whole_answer_likewise(self, members: dict[str, Any], told: str) -> None:
        translator = a_translator()
        answer = {
            "type": "message",
            "content": [{"type": "text", "text": "no"}],
            ACTION: "INTERVENED",
            **members,
        }
        part = translator.answer([], msgspec.json.encode(answer))
        assert part.payload["stop_reason"] == told
        assert ACTION not in part.payload
        assert (translator.intervened, translator.stop_reason) == (True, "guardrail_intervened")


class TestMeaning:
    @pytest.mark.parametrize("inner", [START, {"type": "ping"}])
    def test_a_bare_start_is_not_worth_a_status_line(self, inner: Any) -> None:
        assert not after(inner).meaningful

    @pytest.mark.parametrize("inner", [OPEN, says("a"), ends(), STOP])
    def test_all_else_is(self, inner: Any) -> None:
        assert after(START, inner).meaningful
        translator = after(START)
        translator.parts(chunk(inner))
        assert translator.meaningful


class TestBad:
    @pytest.mark.parametrize(
        ("kind", "cause", "told"),
        [
            ("overloaded_error", Cause.UPSTREAM_UNAVAILABLE, "overloaded_error"),
            ("rate_limit_error", Cause.UPSTREAM_THROTTLED, "rate_limit_error"),
            ("invalid_request_error", Cause.UPSTREAM_VALIDATION, "invalid_request_error"),
            ("api_error", Cause.UPSTREAM_INTERNAL, "api_error"),
        ],
    )
    def test_an_error_among_the_events_is_the_last_one(self, kind: str, cause: Cause, told: str) -> None:
        error = {"type": "error", "error": {"type": kind, "message": "Too much."}}
        assert fault_of(START, error).cause is cause
        *_, last = said_by([START, OPEN, says("a"), error, says("b"), STOP])
        assert last == {
            "type": "error",
            "error": {"type": told, "message": "Too much."},
            "request_id": REQUEST_ID,
        }

    @pytest.mark.parametrize("error", [{}, {"error": None}, {"error": "busy"}, {"error": [1]}])
    def test_however_it_is_worded(self, error: Any) -> None:
        assert fault_of(START, {"type": "error", **error}).row.status >= 400

    @pytest.mark.parametrize(
        "inners",
        [
            [b""],
            [b"not json"],
            [b"[]"],
            [b"{}"],
            [{"type": 5}],
            [{"type": ""}],
            [{"type": "a\nevent: b"}],
            [OPEN],
            [says("a")],
            [STOP],
            [START, START],
            [{"type": "message_start"}],
            [{"type": "message_start", "message": "x"}],
            [{"type": "message_start", "message": {"usage": 7}}],
            [START, {"type": "message_delta"}],
            [START, {"type": "message_delta", "delta": []}],
            [{"type": "message_start", "message": {}}, {**STOP, METRICS: []}],
        ],
    )
    def test_what_is_no_stream_of_anthropics_is_an_error(self, inners: list[Any]) -> None:
        assert fault_of(*inners).cause is Cause.UPSTREAM_GARBLED

    @pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"bytes":5}', b'{"bytes":"%"}'])
    def test_so_is_a_chunk_without_one(self, payload: bytes) -> None:
        (frame,) = EventStreamDecoder().feed(encode_event("chunk", payload))
        with pytest.raises(BadAnswer) as caught:
            a_translator().frame(frame)
        assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"{}",
            b'{"type":"completion"}',
            b'{"completion":"a"}',
            b'{"type":"message","usage":5}',
            b"\xff",
        ],
    )
    def test_an_answer_that_is_no_message_is_none(self, body: bytes) -> None:
        with pytest.raises(BadAnswer) as caught:
            a_translator().answer([], body)
        assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED

    def test_an_answer_that_is_an_error_says_so(self) -> None:
        with pytest.raises(BadAnswer) as caught:
            a_translator().answer(
                [], b'{"type":"error","error":{"type":"overloaded_error","message":"Busy."}}'
            )
        assert (caught.value.fault.cause, caught.value.fault.text) == (Cause.UPSTREAM_UNAVAILABLE, "Busy.")

    @given(
        st.lists(
            st.binary(max_size=40) | st.sampled_from(list(map(msgspec.json.encode, (START, OPEN, STOP)))),
            max_size=4,
        )
    )
    def test_whatever_a_chunk_holds_nothing_else_comes_of_it(self, inners: list[bytes]) -> None:
        stream = streamed(a_translator(), [chunk(inner) for inner in inners])
        events = events_of(stream)
        complete = bool(events) and events[-1].name == "message_stop"
        assert complete or events[-1].name == "error"
        assert [event.name for event in events[:-1]].count("error") == 0


class TestUnwrapped:
    """The same answers as they come through other surfaces: each frame is the model's own JSON."""

    def test_they_are_read_alike(self) -> None:
        inners = [START, OPEN, says("a"), CLOSE, ends(), STOP]
        wrapped, bare = a_translator(), MessagesTranslator(REQUEST_ID, "claude")
        for inner in inners:
            [frame] = EventStreamDecoder().feed(encode_event(inner["type"], msgspec.json.encode(inner)))
            assert bare.frame(frame) == wrapped.frame(chunk(inner))
        assert (bare.complete, bare.usage) == (wrapped.complete, wrapped.usage)

    def test_a_stream_is_one_of_server_sent_events(self) -> None:
        [content_type, *_] = a_translator().stream_headers([(b"x-amzn-requestid", b"aws")])
        assert content_type == (b"content-type", b"text/event-stream; charset=utf-8")

    def test_where_the_caller_knows_no_other_name_the_models_own_stays(self) -> None:
        watching = MessagesWatching()
        frame = encode_event("message_start", msgspec.json.encode(START))
        [part] = watching.parts(EventStreamDecoder().feed(frame)[0])
        assert part.payload["message"]["model"] == START["message"]["model"]
