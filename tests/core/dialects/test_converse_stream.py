"""What holds for every dialect's reading of Converse's answers, on recorded streams and on random ones."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.dialects.converse_stream import ConverseTranslation
from stargate_core.dialects.face import BadAnswer, Translator, Usage
from stargate_core.faults import Cause
from stargate_core.wire.eventstream import EventStreamDecoder
from support import anthropic_converse
from support.converse_events import assert_frame_equals_parts, random_events
from support.dialects import USAGE, Event, chat_translator, frames, text_events
from support.responses import responses_translator
from support.vectors import Recording, recorded_streams

STREAMS: Final = [r for r in recorded_streams() if r.uri.endswith("/converse-stream")]
TOLD: Final = Usage(10, 5, 12, 8)
NAMES: Final = (
    "messageStart",
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockStop",
    "messageStop",
    "metadata",
)


def chat(*, stream: bool = True) -> Translator:
    return chat_translator(stream=stream, stream_options={"include_usage": True} if stream else None)


def responses(*, stream: bool = True) -> Translator:
    return responses_translator(stream=stream)


def messages(*, stream: bool = True) -> Translator:
    return anthropic_converse.translator(stream=stream)


Made = Callable[..., Translator]
everyone = pytest.mark.parametrize("made", [chat, responses, messages])


@everyone
def test_all_of_them_read_by_the_same_rules(made: Made) -> None:
    assert isinstance(made(), ConverseTranslation)


@everyone
@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.file)
class TestRecorded:
    def test_with_and_without_plugins_it_is_the_same(self, made: Made, recording: Recording) -> None:
        assert_frame_equals_parts(made, EventStreamDecoder().feed(recording.body))

    def test_only_the_very_end_is_the_end(self, made: Made, recording: Recording) -> None:
        machine = made()
        *most, last = EventStreamDecoder().feed(recording.body)
        for frame in most:
            machine.frame(frame)
            assert not machine.complete
        machine.frame(last)
        assert machine.complete


@everyone
@given(random_events())
def test_on_any_events_with_and_without_plugins_it_is_the_same(made: Made, events: list[Event]) -> None:
    assert_frame_equals_parts(made, frames(events))


@everyone
@given(random_events())
def test_the_end_is_bedrocks_stop_and_its_usage_in_whatever_order(made: Made, events: list[Event]) -> None:
    machine, seen = made(), set[str]()
    for (name, _), frame in zip(events, frames(events), strict=True):
        try:
            machine.frame(frame)
        except BadAnswer:
            assert not machine.complete
            return
        seen.add(name)
        assert machine.complete is ({"messageStop", "metadata"} <= seen)
        if machine.complete:
            return


@everyone
class TestEnds:
    @pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
    def test_malformed_output_is_a_failure_streamed_or_not(self, made: Made, reason: str) -> None:
        said = {"role": "assistant", "content": [{"text": "a"}]}
        body = msgspec.json.encode({"output": {"message": said}, "stopReason": reason, "usage": USAGE})
        whole, streamed = made(stream=False), made()
        *most, stop, _ = frames(text_events("a", stop=reason))
        for frame in most:
            streamed.frame(frame)
        for machine, call in (
            (whole, lambda: whole.answer([], body)),
            (streamed, lambda: streamed.frame(stop)),
        ):
            with pytest.raises(BadAnswer) as caught:
                call()
            assert caught.value.fault.cause is Cause.MODEL_OUTPUT_MALFORMED
            assert (machine.complete, machine.stop_reason) == (False, reason)

    @pytest.mark.parametrize(
        "late",
        [
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "b"}}),
            (
                "contentBlockStart",
                {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}},
            ),
            ("messageStop", {"stopReason": "end_turn"}),
        ],
        ids=lambda event: event[0],
    )
    def test_nothing_follows_the_stop(self, made: Made, late: Event) -> None:
        machine = made()
        *most, _ = text_events("a")
        for frame in frames(most):
            machine.frame(frame)
        with pytest.raises(BadAnswer) as caught:
            machine.frame(*frames([late]))
        assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED
        assert not machine.complete

    def test_usage_that_is_told_twice_counts_once(self, made: Made) -> None:
        machine = made()
        *most, stop, metadata = text_events("a")
        twice: Event = ("metadata", {"usage": {**USAGE, "inputTokens": 999}})
        for frame in frames([*most, metadata, twice, stop]):
            machine.frame(frame)
        assert (machine.complete, machine.usage) == (True, TOLD)

    def test_usage_that_is_never_told_is_unknown(self, made: Made) -> None:
        machine = made()
        *most, _ = text_events("a")
        for frame in frames([*most, ("metadata", {})]):
            machine.frame(frame)
        assert (machine.complete, machine.usage) == (True, None)


@everyone
class TestMilestones:
    def test_a_bare_start_is_not_worth_a_status_line(self, made: Made) -> None:
        machine = made()
        start, text, *_ = frames(text_events("a"))
        assert machine.frame(start)
        assert not machine.meaningful
        assert machine.frame(text)
        assert machine.meaningful

    @pytest.mark.parametrize(
        "event",
        [
            (
                "contentBlockStart",
                {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}},
            ),
            text_events()[-2],
        ],
        ids=["a tool", "an empty answer"],
    )
    def test_a_tool_is_and_so_is_an_answer_without_words(self, made: Made, event: Event) -> None:
        machine = made()
        machine.frame(*frames([event]))
        assert machine.meaningful

    def test_it_begins_once_even_if_bedrock_forgets_to_or_does_it_again(self, made: Made) -> None:
        start, *rest = frames(text_events("a", "b"))
        told: list[bytes] = []
        for stream in ([start, *rest], rest, [start, start, *rest]):
            machine = made()
            told.append(b"".join(machine.frame(frame) for frame in stream))
            assert machine.complete
        assert told[0] == told[1] == told[2]

    def test_unknown_events_mean_nothing(self, made: Made) -> None:
        machine = made()
        (frame,) = frames([("initial-response", {})])
        assert (list(machine.parts(frame)), machine.frame(frame)) == ([], b"")


@everyone
@given(payload=st.binary(max_size=60), name=st.sampled_from(NAMES))
def test_any_payload_is_translated_or_garbled(made: Made, payload: bytes, name: str) -> None:
    (frame,) = frames([(name, {})])
    try:
        made().frame(msgspec.structs.replace(frame, payload=payload))
    except BadAnswer as bad:
        assert bad.fault.cause is Cause.UPSTREAM_GARBLED


@everyone
@pytest.mark.parametrize("place", ["trace", "additionalModelResponseFields"])
def test_what_is_nested_too_deeply_is_garbled_at_any_depth(made: Made, place: str) -> None:
    (stop, metadata) = frames(text_events()[-2:])
    for depth in range(400, 1100, 50):
        nest = b'"%b":{"a":%b}' % (place.encode(), b"[" * depth + b"]" * depth)
        machine = made()
        try:
            machine.frame(msgspec.structs.replace(stop, payload=b'{"stopReason":"end_turn",%b}' % nest))
            machine.frame(msgspec.structs.replace(metadata, payload=b"{%b}" % nest))
        except BadAnswer as bad:
            assert bad.fault.cause is Cause.UPSTREAM_GARBLED
            assert depth > 900
        else:
            assert machine.complete


@everyone
def test_headers_of_a_stream(made: Made) -> None:
    headers: dict[bytes, Any] = dict(made().stream_headers([(b"content-type", b"application/x")]))
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"cache-control"] == b"no-cache"


ANSWER: Final = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}},
    "stopReason": "end_turn",
}


@everyone
class TestWholeAnswers:
    @pytest.mark.parametrize("usage", [None, USAGE], ids=["untold", "told"])
    def test_one_is_read_and_written(self, made: Made, usage: Any) -> None:
        machine = made(stream=False)
        body = ANSWER if usage is None else {**ANSWER, "usage": usage}
        part = machine.answer([], msgspec.json.encode(body))
        assert (machine.complete, machine.meaningful, machine.stop_reason) == (True, True, "end_turn")
        assert machine.usage == (None if usage is None else TOLD)
        reply = machine.render_answer(part, [])
        assert (reply.status, reply.headers) == (200, [(b"content-type", b"application/json")])
        assert b"Hello." in reply.body

    @pytest.mark.parametrize("stop", ["malformed_model_output", "malformed_tool_use"])
    def test_one_that_the_model_has_garbled_is_none(self, made: Made, stop: str) -> None:
        machine = made(stream=False)
        with pytest.raises(BadAnswer) as caught:
            machine.answer([], msgspec.json.encode({**ANSWER, "stopReason": stop}))
        assert caught.value.fault.cause is Cause.MODEL_OUTPUT_MALFORMED
        assert not machine.complete
