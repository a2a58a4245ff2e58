"""Anthropic's API as AWS serves it: requests as they came, events in and out, and watching only."""

from typing import Any, Final

import msgspec
import pytest

from stargate_core.dialects.anthropic_invoke_request import ask_of, asked
from stargate_core.dialects.anthropic_passing import (
    MessagesPassing,
    MessagesWatching,
    passed_body,
    passed_headers,
)
from stargate_core.dialects.face import BadAnswer, Fetched, Headers, Options, Target, Usage
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.wire.frames import Frame
from stargate_core.wire.sse import SseFrameDecoder
from support.dialects import HAIKU, REQUEST_ID, a_request, streamed

STREAM: Final = b"""event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"internal",\
"content":[],"stop_reason":null,"usage":{"input_tokens":3,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""} }

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"H\\u00e9"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0 }

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}}

event: message_stop
data: {"type":"message_stop"}

""".replace(b"\\\n", b"")
"""As Anthropic writes it, pings and all."""
ANSWER: Final = b"""{"id": "msg_1", "type": "message", "model": "internal", "content": [],
 "stop_reason": "end_turn", "usage": {"input_tokens": 3, "output_tokens": 5}}"""
BODY: Final = (
    b'{"model":"claude","max_tokens":5,"stream":true,"messages":[{"role":"user","content":"h\\u00e9"}]}'
)


def frames_of(stream: bytes) -> list[Frame]:
    return SseFrameDecoder().feed(stream)


def passed(body: bytes, headers: Headers | None = None, fetched: dict[str, Fetched] | None = None) -> bytes:
    request = a_request(body, b"/v1/messages", headers=headers)
    return passed_body(request, asked(ask_of(request)), Target(HAIKU), fetched or {})


def headers_of(body: bytes, headers: Headers, options: Options | None = None) -> Headers:
    request = a_request(body, b"/v1/messages", headers=headers)
    return passed_headers(request, asked(ask_of(request)), Target(HAIKU, options=options or Options()))


class TestRequest:
    def test_only_the_models_name_is_another(self) -> None:
        assert passed(BODY) == BODY.replace(b"claude", HAIKU.encode())

    def test_a_model_that_nobody_named_is_named(self) -> None:
        body = BODY.replace(b'"model":"claude",', b"")
        assert msgspec.json.decode(passed(body))["model"] == HAIKU

    def test_what_bedrock_lacks_elsewhere_may_be_known_there(self) -> None:
        body = BODY.replace(b'"stream":true', b'"service_tier":"auto","container":{"id":"c"},"x":{"scope":1}')
        assert passed(body) == body.replace(b"claude", HAIKU.encode())

    def test_whom_it_is_for_comes_from_the_header_into_the_body(self) -> None:
        headers: Headers = [(b"anthropic-user-profile-id", b"uprof_1")]
        assert msgspec.json.decode(passed(BODY, headers))["user_profile_id"] == "uprof_1"

    def test_what_was_fetched_takes_its_place_and_other_sources_stay(self) -> None:
        one, other = "https://a.test/1.png", "https://a.test/2.png"
        blocks = [{"type": "image", "source": {"type": "url", "url": url}} for url in (one, other)]
        body = msgspec.json.encode({"max_tokens": 5, "messages": [{"role": "user", "content": blocks}]})
        assert msgspec.json.decode(passed(body))["messages"][0]["content"] == blocks
        carried = msgspec.json.decode(passed(body, fetched={one: Fetched("image/png", b"png")}))
        first, second = carried["messages"][0]["content"]
        assert first["source"] == {"type": "base64", "media_type": "image/png", "data": "cG5n"}
        assert second == blocks[1]


class TestHeaders:
    def test_a_version_is_always_told(self) -> None:
        assert headers_of(BODY, []) == [(b"anthropic-version", b"2023-06-01")]
        newer: Headers = [(b"anthropic-version", b"2026-10-21")]
        assert headers_of(BODY, newer) == newer

    def test_betas_go_in_one_line_those_of_the_body_too(self) -> None:
        body = BODY.replace(b'"stream":true', b'"anthropic_beta":["c","a"]')
        headers: Headers = [
            (b"anthropic-beta", b"a, b"),
            (b"anthropic-beta", b"x"),
            (b"x-api-key", b"secret"),
        ]
        told = headers_of(body, headers, Options(betas_dropped=("x",), betas_renamed=(("c", "d"),)))
        assert told == [(b"anthropic-version", b"2023-06-01"), (b"anthropic-beta", b"a,b,d")]
        assert "anthropic_beta" not in msgspec.json.decode(passed(body, headers))

    @pytest.mark.parametrize("beta", ["a\r\nx-evil: 1", "a b", "\u00fc"])
    def test_a_beta_can_make_no_header_of_its_own(self, beta: str) -> None:
        body = msgspec.json.encode({**msgspec.json.decode(BODY), "anthropic_beta": [beta]})
        with pytest.raises(Refused):
            headers_of(body, [])


class TestPassing:
    def test_a_stream_is_relayed_with_the_callers_name_for_the_model(self) -> None:
        translator = MessagesPassing(REQUEST_ID, "claude")
        assert streamed(translator, frames_of(STREAM)) == STREAM.replace(b"internal", b"claude")
        assert (translator.stop_reason, translator.usage) == ("end_turn", Usage(3, 5))
        assert translator.complete
        assert not translator.raw

    def test_parts_one_by_one_are_the_same_bytes(self) -> None:
        fast, slow = MessagesPassing(REQUEST_ID, "claude"), MessagesPassing(REQUEST_ID, "claude")
        for frame in frames_of(STREAM):
            assert fast.frame(frame) == b"".join([slow.render(part) for part in slow.parts(frame)])

    def test_an_event_is_named_by_its_type(self) -> None:
        (frame,) = frames_of(b'data: {"type":"ping"}\n\n')
        assert MessagesPassing("", "").frame(frame) == b'event: ping\ndata: {"type":"ping"}\n\n'

    def test_an_answer_likewise(self) -> None:
        translator = MessagesPassing(REQUEST_ID, "claude")
        reply = translator.render_answer(translator.answer([], ANSWER), [])
        assert msgspec.json.decode(reply.body) == {**msgspec.json.decode(ANSWER), "model": "claude"}

    @pytest.mark.parametrize("event", [b"data: [DONE]", b"event: message_start\ndata: {}", b"data: \xff"])
    def test_what_is_no_event_of_anthropics_is_an_error(self, event: bytes) -> None:
        (frame,) = frames_of(event + b"\n\n")
        with pytest.raises(BadAnswer) as caught:
            MessagesPassing(REQUEST_ID, "claude").frame(frame)
        assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED


class TestWatching:
    def test_every_byte_is_handed_on_and_the_end_is_known(self) -> None:
        translator = MessagesWatching()
        pieces = [translator.frame(frame) for frame in frames_of(STREAM)]
        assert b"".join(pieces) == STREAM
        assert translator.raw
        assert (translator.complete, translator.stop_reason, translator.usage) == (
            True,
            "end_turn",
            Usage(3, 5),
        )
        assert (translator.finish(), translator.keepalive(), translator.broken(Fault(Cause.STREAM_CUT))) == (
            b"",
        ) * 3

    def test_so_is_whatever_follows(self) -> None:
        translator = MessagesWatching()
        (*_, late) = frames_of(STREAM + b"event: news\ndata: x\n\n")
        for frame in frames_of(STREAM):
            translator.frame(frame)
        assert translator.frame(late) == b"event: news\ndata: x\n\n"

    def test_a_guardrails_action_is_known_and_stays_in_it(self) -> None:
        stop = b'data: {"type":"message_stop","amazon-bedrock-guardrailAction":"INTERVENED"}'
        translator = MessagesWatching()
        stream = STREAM.replace(b'data: {"type":"message_stop"}', stop)
        assert b"".join([translator.frame(frame) for frame in frames_of(stream)]) == stream
        assert (translator.intervened, translator.stop_reason) == (True, "guardrail_intervened")

    def test_an_answer_keeps_its_bytes_and_its_headers(self) -> None:
        translator = MessagesWatching()
        headers: Headers = [
            (b"content-type", b"application/json"),
            (b"set-cookie", b"a"),
            (b"request-id", b"req_1"),
            (b"x-amzn-bedrock-service-tier", b"default"),
        ]
        reply = translator.render_answer(translator.answer(headers, ANSWER), headers)
        assert reply.body == ANSWER
        assert [name for name, _ in reply.headers] == [
            b"content-type",
            b"request-id",
            b"x-amzn-bedrock-service-tier",
        ]
        assert translator.stream_headers(headers) == reply.headers
        assert (translator.stop_reason, translator.usage) == ("end_turn", Usage(3, 5))

    @pytest.mark.parametrize("made_of", [b'{"type":"error","error":{"type":"overloaded_error"}}', b"[]"])
    def test_an_error_is_one(self, made_of: bytes) -> None:
        (frame,) = frames_of(b"event: error\ndata: " + made_of + b"\n\n")
        with pytest.raises(BadAnswer):
            MessagesWatching().frame(frame)
        with pytest.raises(BadAnswer):
            MessagesWatching().answer([], made_of)

    def test_what_a_plugin_changes_is_written(self) -> None:
        translator = MessagesWatching()
        part: Any = translator.answer([], ANSWER)
        part.payload["id"] = "other"
        assert msgspec.json.decode(translator.render_answer(part, []).body)["id"] == "other"
