"""Native answers: frames byte for byte, the end of every kind of stream, and botocore as the reader of
what we write.
"""

import base64
from typing import Any

import msgspec
import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.model import StructureShape
from botocore.parsers import EventStreamJSONParser
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.operations import Operation
from stargate_core.dialects.bedrock_native_answer import METRICS, NativeTranslator, stream_exception
from stargate_core.dialects.converse import TOKENS_MAX
from stargate_core.dialects.face import BadAnswer, Part, PartKind, Usage
from stargate_core.faults import Cause, Fault, fault_of_aws
from stargate_core.wire.eventstream import EventStreamDecoder, encode, encode_event
from stargate_core.wire.frames import Frame
from support.bedrock_model import service_model
from support.dialects import USAGE, frames, text_events
from support.vectors import Recording, recorded_streams, recordings

CONVERSE, INVOKE = Operation.CONVERSE_STREAM, Operation.INVOKE_MODEL_WITH_RESPONSE_STREAM
STREAMS = recorded_streams()


def operation_of(recording: Recording) -> Operation:
    return CONVERSE if recording.uri.endswith("/converse-stream") else INVOKE


def chunk(inner: Any, padding: str | None = "abc") -> Frame:
    """A chunk, with the model's own JSON inside."""
    coded = base64.b64encode(inner if isinstance(inner, bytes) else msgspec.json.encode(inner)).decode()
    payload = {"bytes": coded} if padding is None else {"bytes": coded, "p": padding}
    return frames([("chunk", payload)])[0]


def after(operation: Operation, *stream: Frame) -> NativeTranslator:
    translator = NativeTranslator(operation)
    for frame in stream:
        assert translator.frame(frame) == frame.raw
    return translator


@pytest.mark.parametrize("recording", STREAMS, ids=lambda recording: recording.file)
class TestRecorded:
    def test_every_byte_is_handed_on(self, recording: Recording) -> None:
        translator = NativeTranslator(operation_of(recording))
        stream = EventStreamDecoder().feed(recording.body)
        assert b"".join([translator.frame(frame) for frame in stream]) == recording.body
        assert translator.raw
        assert translator.finish() == b""

    def test_it_is_complete_at_its_last_frame_and_not_before(self, recording: Recording) -> None:
        translator = NativeTranslator(operation_of(recording))
        known: list[bool] = []
        for frame in EventStreamDecoder().feed(recording.body):
            translator.frame(frame)
            known.append(translator.complete)
        assert known == [*[False] * (len(known) - 1), True]
        assert translator.stop_reason
        assert translator.meaningful

    def test_parts_know_the_same_and_render_to_frames_of_the_same_content(self, recording: Recording) -> None:
        fast, slow = (NativeTranslator(operation_of(recording)) for _ in range(2))
        for frame in EventStreamDecoder().feed(recording.body):
            fast.frame(frame)
            (part,) = slow.parts(frame)
            (again,) = EventStreamDecoder().feed(slow.render(part))
            assert (again.kind, again.name, again.headers) == (frame.kind, frame.name, frame.headers)
            assert plain(again) == plain(frame)
            for name in ("complete", "meaningful", "stop_reason", "usage"):
                assert getattr(fast, name) == getattr(slow, name)


def plain(frame: Frame) -> Any:
    """What a frame says, chunks unwrapped, padding included."""
    payload = msgspec.json.decode(frame.payload)
    if frame.name == "chunk":
        payload["bytes"] = msgspec.json.decode(base64.b64decode(payload["bytes"]))
    return payload


class TestUsage:
    def test_of_a_conversation(self) -> None:
        translator = after(CONVERSE, *frames(text_events("a")))
        assert translator.usage == Usage(10, 5, 12, 8)

    def test_a_count_that_cannot_be_is_the_nearest_that_can(self) -> None:
        metrics = {"inputTokenCount": -3, "outputTokenCount": 1e300}
        assert after(INVOKE, chunk({METRICS: metrics})).usage == Usage(0, TOKENS_MAX)

    def test_the_models_own_count_wins_over_bedrocks(self) -> None:
        start = {
            "input_tokens": 3,
            "cache_read_input_tokens": 9,
            "cache_creation_input_tokens": 2,
            "output_tokens": 1,
        }
        translator = after(
            INVOKE,
            chunk({"type": "message_start", "message": {"usage": start}}),
            chunk(
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": "tool_use"},
                    "usage": {"output_tokens": 133},
                }
            ),
            chunk({"type": "message_stop", METRICS: {"inputTokenCount": 3, "outputTokenCount": 97}}),
        )
        assert translator.usage == Usage(3, 133, 9, 2)
        assert translator.stop_reason == "tool_use"

    def test_what_a_later_event_does_not_repeat_is_kept(self) -> None:
        translator = after(
            INVOKE,
            chunk({"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}}),
            chunk({"type": "message_delta", "delta": {}, "usage": {"input_tokens": 4}}),
        )
        assert translator.usage == Usage(input_tokens=4, output_tokens=1)

    def test_a_prompt_is_known_even_if_the_stream_breaks(self) -> None:
        translator = after(
            INVOKE, chunk({"type": "message_start", "message": {"usage": {"input_tokens": 3}}})
        )
        assert translator.usage == Usage(input_tokens=3)
        assert not translator.complete

    def test_of_the_other_families(self) -> None:
        counts = {
            "inputTokenCount": 5.0,
            "outputTokenCount": 7,
            "cacheReadInputTokenCount": 2,
            "cacheWriteInputTokenCount": 1,
        }
        translator = after(INVOKE, chunk({"generation": "a", "stop_reason": "length", METRICS: counts}))
        assert translator.usage == Usage(5, 7, 2, 1)
        assert translator.stop_reason == "length"

    def test_of_a_plain_answer_it_stands_in_the_headers(self) -> None:
        translator = NativeTranslator(Operation.INVOKE_MODEL)
        translator.answer(
            [
                (b"x-amzn-bedrock-input-token-count", b"3"),
                (b"x-amzn-bedrock-output-token-count", b"44"),
                (b"x-amzn-bedrock-cache-read-input-token-count", b"9511"),
                (b"x-amzn-bedrock-cache-write-input-token-count", b"x"),
                (b"x-amzn-bedrock-invocation-latency", b"400"),
            ],
            b'{"stop_reason":"end_turn"}',
        )
        assert translator.usage == Usage(3, 44, 9511, 0)
        assert translator.stop_reason == "end_turn"

    def test_without_them_there_is_none(self) -> None:
        translator = NativeTranslator(Operation.INVOKE_MODEL)
        translator.answer([(b"content-type", b"application/json")], b"[]")
        assert translator.usage is None


class TestTheEnd:
    def test_of_a_conversation_needs_both_words(self) -> None:
        *events, stop, metadata = text_events("a")
        assert not after(CONVERSE, *frames([*events, stop])).complete
        assert not after(CONVERSE, *frames([*events, metadata])).complete
        assert after(CONVERSE, *frames([*events, metadata, stop])).complete

    def test_of_anthropics_bodies_is_message_stop_whatever_else_is_said(self) -> None:
        start = chunk({"type": "message_start", "message": {}})
        metrics = chunk({"type": "content_block_stop", METRICS: {"inputTokenCount": 1}})
        assert not after(INVOKE, start, metrics).complete
        assert after(INVOKE, start, metrics, chunk({"type": "message_stop"})).complete

    @pytest.mark.parametrize(
        "said",
        [
            'He said "message_stop" and left',
            '{"type":"message_stop"}',
            METRICS,
            '{"amazon-bedrock-guardrailAction":"INTERVENED"}',
        ],
    )
    def test_a_text_about_the_end_is_not_the_end(self, said: str) -> None:
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": said}}
        assert not after(
            INVOKE, chunk(delta), chunk({"outputText": said}), chunk({"generation": said})
        ).complete
        assert not after(CONVERSE, *frames(text_events(said)[:3])).complete

    @pytest.mark.parametrize(
        "mark", [{"totalOutputTextTokenCount": 3.0}, {"amazon-bedrock-trace": {"guardrail": {}}}]
    )
    def test_a_guardrail_that_blocks_a_prompt_ends_the_stream(self, mark: dict[str, Any]) -> None:
        blocked = {"outputText": "no", "amazon-bedrock-guardrailAction": "INTERVENED", **mark}
        translator = after(INVOKE, chunk(blocked))
        assert translator.complete
        assert translator.stop_reason == "guardrail_intervened"
        assert not after(INVOKE, chunk({**blocked, "amazon-bedrock-guardrailAction": "NONE"})).complete

    def test_a_guardrail_that_masks_does_not(self) -> None:
        masked = {
            "outputText": "a {NAME}",
            "completionReason": None,
            "amazon-bedrock-guardrailAction": "INTERVENED",
        }
        translator = after(INVOKE, chunk(masked))
        assert not translator.complete
        assert translator.intervened
        assert not after(INVOKE, chunk({**masked, "amazon-bedrock-guardrailAction": "NONE"})).intervened

    @pytest.mark.parametrize(("action", "intervened"), [("INTERVENED", True), ("NONE", False)])
    def test_a_whole_answer_says_too_that_one_has(self, action: str, intervened: bool) -> None:
        translator = NativeTranslator(Operation.INVOKE_MODEL)
        translator.answer([], msgspec.json.encode({"amazon-bedrock-guardrailAction": action}))
        assert translator.intervened is intervened

    @pytest.mark.parametrize("inner", [b"not json", b'"message_stop"', b'["message_stop"]', b'{"message_'])
    def test_odd_chunks_are_handed_on(self, inner: bytes) -> None:
        assert not after(INVOKE, chunk(inner)).complete

    @pytest.mark.parametrize("payload", [b"", b"[]", b'{"bytes":5}', b'{"bytes":"%"}'])
    def test_so_are_odd_frames(self, payload: bytes) -> None:
        (frame,) = EventStreamDecoder().feed(encode_event("chunk", payload))
        translator = after(INVOKE, frame)
        assert translator.meaningful
        (part,) = NativeTranslator(INVOKE).parts(frame)
        assert EventStreamDecoder().feed(NativeTranslator(INVOKE).render(part))[0].name == "chunk"


class TestMeaning:
    @pytest.mark.parametrize(
        ("operation", "frame"),
        [
            (CONVERSE, frames(text_events())[0]),
            (CONVERSE, frames([("news", {})])[0]),
            (INVOKE, chunk(b'{"type":"message_start","message":{}}')),
            (INVOKE, chunk(b'{"type":"ping"}')),
            (INVOKE, chunk(b'{"messageStart":{"role":"assistant"}}')),
            (INVOKE, frames([("news", {})])[0]),
        ],
    )
    def test_a_bare_start_is_not_worth_a_status_line(self, operation: Operation, frame: Frame) -> None:
        assert not after(operation, frame).meaningful

    @pytest.mark.parametrize(
        ("operation", "frame"),
        [
            (CONVERSE, frames(text_events("a"))[1]),
            (CONVERSE, frames([("messageStop", {"stopReason": "end_turn"})])[0]),
            (INVOKE, chunk({"type": "content_block_start"})),
            (INVOKE, chunk({"outputText": "a"})),
            (INVOKE, chunk({"contentBlockDelta": {}})),
        ],
    )
    def test_everything_else_is(self, operation: Operation, frame: Frame) -> None:
        assert after(operation, frame).meaningful


class TestPlugins:
    def test_a_chunk_shows_the_models_own_json(self) -> None:
        translator = NativeTranslator(INVOKE)
        (part,) = translator.parts(chunk({"outputText": "secret"}, "abcdef"))
        assert (part.kind, part.name, part.payload) == (PartKind.EVENT, "chunk", {"outputText": "secret"})
        part.payload["outputText"] = "***"
        rendered = translator.render(part)
        assert rendered == chunk({"outputText": "***"}, "abcdef").raw
        assert botocore_reads(rendered, "ResponseStream") == {"chunk": {"bytes": b'{"outputText":"***"}'}}

    def test_an_event_shows_its_own_json_without_padding(self) -> None:
        translator = NativeTranslator(CONVERSE)
        (part,) = translator.parts(frames(text_events("secret"))[1])
        assert part.payload == {"contentBlockIndex": 0, "delta": {"text": "secret"}}
        part.payload["delta"]["text"] = "***"
        rendered = translator.render(part)
        assert rendered == frames(text_events("***"))[1].raw
        assert botocore_reads(rendered, "ConverseStreamOutput") == {
            "contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "***"}}
        }

    def test_a_part_of_the_plugins_own_making_is_an_event(self) -> None:
        rendered = NativeTranslator(CONVERSE).render(
            Part(PartKind.EVENT, "contentBlockStop", {"contentBlockIndex": 0})
        )
        assert botocore_reads(rendered, "ConverseStreamOutput") == {
            "contentBlockStop": {"contentBlockIndex": 0}
        }

    def test_an_answer_is_its_own_bytes_until_it_is_changed(self) -> None:
        body = b'{ "content" : [ 1.0, true, "\\u00e9" ], "stop_reason":"x" }'
        translator = NativeTranslator(Operation.INVOKE_MODEL)
        part = translator.answer([], body)
        assert translator.render_answer(part, []).body == body
        part.payload["content"][1] = 1  # equal to True in Python, and not in JSON
        assert translator.render_answer(part, []).body == b'{"content":[1.0,1,"\xc3\xa9"],"stop_reason":"x"}'

    @pytest.mark.parametrize("body", [b"", b"\xff\x00", b"<html>"])
    def test_a_models_answer_may_be_no_json(self, body: bytes) -> None:
        assert NativeTranslator(Operation.INVOKE_MODEL).whole([], body).body == body


def botocore_reads(raw: bytes, shape: str) -> Any:
    """A frame as botocore parses it; an exception as its error."""
    buffer = EventStreamBuffer()
    buffer.add_data(raw)
    (message,) = buffer
    model = service_model().shape_for(shape)
    assert isinstance(model, StructureShape)
    parsed = EventStreamJSONParser().parse(message.to_response_dict(), model)
    parsed.pop("ResponseMetadata", None)
    return parsed


class TestBroken:
    @pytest.mark.parametrize("cause", list(Cause), ids=lambda cause: cause.name)
    @pytest.mark.parametrize(
        ("operation", "shape"), [(CONVERSE, "ConverseStreamOutput"), (INVOKE, "ResponseStream")]
    )
    def test_every_cause_is_an_exception_that_sdks_know(
        self, cause: Cause, operation: Operation, shape: str
    ) -> None:
        frame = NativeTranslator(operation).broken(Fault(cause, detail="for the log only"))
        error = botocore_reads(frame, shape)["Error"]
        members = service_model().shape_for(shape).members  # type: ignore[attr-defined]
        assert members[error["Code"]].metadata.get("exception")
        assert error["Message"] == Fault(cause).text
        assert b"for the log only" not in frame

    @pytest.mark.parametrize(
        "name", ["validationException", "throttlingException", "serviceUnavailableException"]
    )
    def test_bedrocks_own_word_is_kept(self, name: str) -> None:
        fault = fault_of_aws(name[0].upper() + name[1:], 0, "its words")
        error = botocore_reads(NativeTranslator(CONVERSE).broken(fault), "ConverseStreamOutput")["Error"]
        assert error == {"Code": name, "Message": "its words"}

    @pytest.mark.parametrize(
        ("fault", "operation", "name"),
        [
            (Fault(Cause.STREAM_CUT), CONVERSE, "ModelStreamErrorException"),
            (Fault(Cause.STREAM_CORRUPT), INVOKE, "ModelStreamErrorException"),
            (Fault(Cause.IDLE_TIMEOUT), CONVERSE, "ModelStreamErrorException"),
            (Fault(Cause.IDLE_TIMEOUT), INVOKE, "ModelTimeoutException"),
            (Fault(Cause.INTERNAL), CONVERSE, "InternalServerException"),
            (Fault(Cause.DRAINING), CONVERSE, "ServiceUnavailableException"),
            (fault_of_aws("ModelNotReadyException", 0, ""), CONVERSE, "ServiceUnavailableException"),
            (fault_of_aws("ServiceQuotaExceededException", 0, ""), CONVERSE, "ServiceUnavailableException"),
            (fault_of_aws("AccessDeniedException", 0, ""), CONVERSE, "ServiceUnavailableException"),
            (fault_of_aws("ResourceNotFoundException", 0, ""), CONVERSE, "ValidationException"),
            (fault_of_aws("SomethingNewException", 0, ""), CONVERSE, "InternalServerException"),
        ],
    )
    def test_the_nearest_word_there_is(self, fault: Fault, operation: Operation, name: str) -> None:
        assert stream_exception(fault, operation) == name

    def test_there_is_no_word_for_silence(self) -> None:
        assert NativeTranslator(CONVERSE).keepalive() == b""


class TestHeaders:
    HEADERS = [
        (b"content-type", b"application/vnd.amazon.eventstream"),
        (b"x-amzn-requestid", b"r"),
        (b"x-amzn-bedrock-content-type", b"application/json"),
        (b"date", b"today"),
        (b"connection", b"keep-alive"),
        (b"transfer-encoding", b"chunked"),
        (b"set-cookie", b"a=b"),
    ]

    def test_what_a_caller_is_told(self) -> None:
        translator = NativeTranslator(INVOKE)
        assert translator.stream_headers(self.HEADERS) == self.HEADERS[:3]
        plain = NativeTranslator(Operation.INVOKE_MODEL)
        assert plain.render_answer(plain.answer([], b"{}"), self.HEADERS).headers == self.HEADERS[:3]


class TestConverseAnswers:
    def test_what_a_conversation_has_used(self) -> None:
        recording = next(r for r in recordings() if r.uri.endswith("/converse") and r.status == 200)
        translator = NativeTranslator(Operation.CONVERSE)
        translator.answer([], recording.body)
        usage = msgspec.json.decode(recording.body)["usage"]
        assert translator.usage is not None
        assert translator.usage.total_tokens == usage["totalTokens"]
        assert translator.stop_reason

    def test_a_shape_of_tomorrow_is_handed_on(self) -> None:
        translator = NativeTranslator(Operation.CONVERSE)
        assert translator.whole([], b'{"output":{"video":{}}}').body == b'{"output":{"video":{}}}'
        assert translator.usage is None

    @pytest.mark.parametrize(
        "operation", [Operation.CONVERSE, Operation.COUNT_TOKENS, Operation.APPLY_GUARDRAIL]
    )
    def test_what_is_no_json_is_no_answer(self, operation: Operation) -> None:
        with pytest.raises(BadAnswer) as caught:
            NativeTranslator(operation).answer([], b"<html>")
        assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED

    def test_a_malformed_output_is_the_native_callers_to_see(self) -> None:
        body = msgspec.json.encode(
            {"output": {"message": {"content": []}}, "stopReason": "malformed_tool_use"}
        )
        translator = NativeTranslator(Operation.CONVERSE)
        assert translator.whole([], body).body == body
        assert translator.stop_reason == "malformed_tool_use"


NAMES = st.sampled_from(["chunk", "messageStart", "contentBlockDelta", "messageStop", "metadata", "news"])
PAYLOADS = st.binary(max_size=40) | st.sampled_from(
    [USAGE, {"bytes": "e30="}, {"stopReason": 5}, {"usage": []}]
).map(msgspec.json.encode)


@given(st.lists(st.tuples(NAMES, PAYLOADS), max_size=6))
def test_any_frame_is_handed_on(events: list[tuple[str, bytes]]) -> None:
    stream = EventStreamDecoder().feed(b"".join(encode_event(name, payload) for name, payload in events))
    for operation in (CONVERSE, INVOKE):
        after(operation, *stream)
        translator = NativeTranslator(operation)
        for frame in stream:
            for part in translator.parts(frame):
                assert EventStreamDecoder().feed(translator.render(part))[0].name == frame.name


class TestContentTypes:
    @pytest.mark.parametrize("headers", [{}, {":content-type": b"x"}], ids=["none", "no text"])
    def test_a_frame_that_names_none_is_json(self, headers: dict[str, Any]) -> None:
        """Ours says so, when it has to be written anew."""
        names = {":event-type": "messageStop", ":message-type": "event", **headers}
        [frame] = EventStreamDecoder().feed(encode(names, b'{"stopReason":"end_turn"}'))
        translator = NativeTranslator(CONVERSE)
        [part] = translator.parts(frame)
        part.payload["stopReason"] = "max_tokens"
        [written] = EventStreamDecoder().feed(translator.render(part))
        assert written.headers[":content-type"] == "application/json"
        assert msgspec.json.decode(written.payload) == {"stopReason": "max_tokens"}


def test_an_operation_about_no_conversation_uses_no_tokens() -> None:
    translator = NativeTranslator(Operation.COUNT_TOKENS)
    body = msgspec.json.encode({"inputTokens": 7, "usage": USAGE})
    part = translator.answer([], body)
    assert (translator.complete, translator.usage) == (True, None)
    assert translator.render_answer(part, []).body == body
