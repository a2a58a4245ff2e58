"""Watching: each operation's answer is handed on byte for byte, and its end, usage and reason are seen."""

from typing import Final

import pytest

from stargate_core.aws.operations import Operation
from stargate_core.dialects.face import Usage
from stargate_core.dialects.watching import watcher
from stargate_core.faults import Cause, Fault
from stargate_core.wire.eventstream import EventStreamDecoder
from stargate_core.wire.sse import SseFrameDecoder
from support.bedrock import converse_story

CHAT: Final = (
    b'data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"}}]}\n\n'
    b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}\n\n'
    b"data: [DONE]\n\n"
)
MESSAGES: Final = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message",'
    b'"role":"assistant","model":"x","content":[],"stop_reason":null,"stop_sequence":null,'
    b'"usage":{"input_tokens":3,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"Hi"}}\n\n'
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn",'
    b'"stop_sequence":null},"usage":{"output_tokens":5}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
RESPONSES: Final = (
    b'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"r",'
    b'"object":"response","status":"in_progress","output":[]}}\n\n'
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":1,'
    b'"item_id":"i","output_index":0,"content_index":0,"delta":"Hi","logprobs":[]}\n\n'
    b'event: response.completed\ndata: {"type":"response.completed","sequence_number":2,"response":{"id":"r",'
    b'"object":"response","status":"completed","output":[],"usage":{"input_tokens":3,'
    b'"input_tokens_details":{"cached_tokens":0},"output_tokens":5,'
    b'"output_tokens_details":{"reasoning_tokens":0},"total_tokens":8}}}\n\n'
)


@pytest.mark.parametrize(
    ("operation", "stream"),
    [
        (Operation.CHAT_COMPLETIONS, CHAT),
        (Operation.MESSAGES, MESSAGES),
        (Operation.RESPONSES, RESPONSES),
    ],
)
class TestVendorsStreams:
    def test_every_byte_goes_on_and_the_end_is_seen(self, operation: Operation, stream: bytes) -> None:
        one = watcher(operation)
        frames = SseFrameDecoder().feed(stream)
        passed, ends = b"", []
        for frame in frames:
            passed += one.frame(frame)
            ends.append(one.complete)
        assert passed == stream
        assert one.raw
        assert ends[-1]
        assert not any(ends[:-1])
        assert one.meaningful
        assert one.usage == Usage(3, 5)
        assert one.stop_reason
        assert not one.intervened

    def test_without_its_end_it_is_not_whole(self, operation: Operation, stream: bytes) -> None:
        one = watcher(operation)
        for frame in SseFrameDecoder().feed(stream)[:-1]:
            one.frame(frame)
        assert not one.complete

    def test_it_has_no_words_of_its_own(self, operation: Operation, stream: bytes) -> None:
        one = watcher(operation)
        assert one.broken(Fault(Cause.STREAM_CUT)) == one.keepalive() == b""
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"x-amzn-requestid", b"r"),
            (b"set-cookie", b"c"),
        ]
        assert (b"content-type", b"text/event-stream") in one.stream_headers(headers)
        assert not any(name == b"set-cookie" for name, _ in one.stream_headers(headers))


def test_bedrocks_own_frames() -> None:
    one = watcher(Operation.CONVERSE_STREAM)
    story = converse_story("Hi")
    frames = EventStreamDecoder().feed(story.whole)
    assert b"".join(one.frame(frame) for frame in frames) == story.whole
    assert one.complete
    assert one.broken(Fault(Cause.STREAM_CUT)) == b""
