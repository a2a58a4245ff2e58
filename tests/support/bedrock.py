"""What Bedrock sends, in bytes: answers, errors, and streams that end well or in every bad way there is."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from stargate_core.wire.eventstream import encode, encode_error, encode_event, encode_exception

USAGE: Final = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
EVENT_STREAM: Final = "application/vnd.amazon.eventstream"
AWS_REQUEST_ID: Final = "5e8f1a2b-aaaa-bbbb-cccc-0123456789ab"


def http(body: bytes, status: int = 200, **headers: str) -> bytes:
    """A whole HTTP answer. Header names are written with underscores."""
    fields = {"content_type": "application/json", "x_amzn_requestid": AWS_REQUEST_ID, **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def json_http(payload: Any, status: int = 200, **headers: str) -> bytes:
    """A whole HTTP answer that bears JSON."""
    return http(msgspec.json.encode(payload), status, **headers)


def converse_answer(text: str = "Hello there.", stop: str = "end_turn") -> bytes:
    """Converse's whole answer."""
    message = {"role": "assistant", "content": [{"text": text}]}
    return json_http({"output": {"message": message}, "stopReason": stop, "usage": USAGE, "metrics": {}})


def aws_error(name: str, status: int, message: str = "No.", **headers: str) -> bytes:
    """An error as Bedrock sends it before a stream."""
    return json_http({"message": message}, status, x_amzn_errortype=f"{name}:http://internal/", **headers)


def stream_head(content_type: str = EVENT_STREAM) -> bytes:
    """The head of a streamed answer, whose body is chunked."""
    lines = f"content-type: {content_type}\r\nx-amzn-requestid: {AWS_REQUEST_ID}\r\n"
    return f"HTTP/1.1 200 OK\r\n{lines}transfer-encoding: chunked\r\n\r\n".encode()


def chunk(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK: Final = b"0\r\n\r\n"


def event(name: str, payload: Mapping[str, Any]) -> bytes:
    """A frame, with Bedrock's padding."""
    return encode_event(name, msgspec.json.encode({**payload, "p": "abcdef"}))


def inner(payload: Mapping[str, Any]) -> bytes:
    """A frame of InvokeModelWithResponseStream, around a model's own JSON."""
    return event("chunk", {"bytes": base64.b64encode(msgspec.json.encode(payload)).decode()})


def exception(name: str, message: str = "Not now.", **members: Any) -> bytes:
    """An exception frame. name: camelCase."""
    return encode_exception(name, msgspec.json.encode({"message": message, **members}))


def flipped(frame: bytes, at: int) -> bytes:
    """The frame with one bit changed."""
    at %= len(frame)
    return frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]


class Story:
    """One operation's stream, told in three parts."""

    def __init__(self, beginning: Sequence[bytes], middle: Sequence[bytes], end: Sequence[bytes]) -> None:
        self.beginning = b"".join(beginning)
        """Nothing in it is worth a status line."""
        self.middle = b"".join(middle)
        """The model speaks."""
        self.end = b"".join(end)
        """Bedrock's own end."""
        self.frames = (*beginning, *middle, *end)

    @property
    def whole(self) -> bytes:
        """All of it."""
        return self.beginning + self.middle + self.end


def converse_story(texts: Iterable[str] = ("Hel", "lo."), stop: str = "end_turn") -> Story:
    """ConverseStream."""
    said = [event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}) for text in texts]
    return Story(
        [event("messageStart", {"role": "assistant"})],
        said,
        [
            event("contentBlockStop", {"contentBlockIndex": 0}),
            event("messageStop", {"stopReason": stop}),
            event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 400}}),
        ],
    )


def invoke_story(texts: Iterable[str] = ("Hel", "lo.")) -> Story:
    """InvokeModelWithResponseStream, of an Anthropic model."""
    message = {"id": "msg_bdrk_1", "role": "assistant", "usage": {"input_tokens": 10, "output_tokens": 1}}
    metrics = {"inputTokenCount": 10, "outputTokenCount": 5, "invocationLatency": 400}
    said = [
        inner(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        )
        for text in texts
    ]
    return Story(
        [inner({"type": "message_start", "message": message})],
        [inner({"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}), *said],
        [
            inner({"type": "content_block_stop", "index": 0}),
            inner(
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}
            ),
            inner({"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics}),
        ],
    )


BAD_FRAMES: Final[Mapping[str, bytes]] = {
    "a bad prelude checksum": flipped(event("contentBlockStop", {"contentBlockIndex": 0}), 8),
    "a bad message checksum": flipped(event("contentBlockStop", {"contentBlockIndex": 0}), -1),
    "a flipped payload bit": flipped(event("contentBlockStop", {"contentBlockIndex": 0}), -20),
    "a length that lies": flipped(event("contentBlockStop", {"contentBlockIndex": 0}), 3),
    "no event stream at all": b"data: {}\n\ndata: [DONE]\n\n",
    "a frame without a type": encode({"x": "y"}, b"{}"),
    "a frame of an unknown type": encode({":message-type": "surprise", ":event-type": "x"}, b"{}"),
    "an event without a name": encode({":message-type": "event"}, b"{}"),
}
"""Each of these, as the next bytes of a stream, is its end, and no good one."""

ERROR_FRAME: Final = encode_error("InternalFailure", "It broke.")
