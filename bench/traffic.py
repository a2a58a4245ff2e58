"""The bytes of the benchmark: what is asked, what is answered, and how an answer is known to be whole.

The requests are those of the official SDKs in size and in headers; the answers have the shape and padding of
Bedrock's own. Everything is computed once, when this module is imported, so that the stand-in and the load
generator cost as little as they can. A stream is 64 events: the start of the message, 60 pieces of text, the
stops of block and message, and the metadata.

Whether an answer is right is judged twice. The first of each connection is read in full, the way an SDK would
read it. Each later one must have the same length and the same number of events: a lost, doubled or cut event
changes one of the two.
"""

import json
from typing import Final

from stargate_core.wire.eventstream import EventStreamDecoder, encode_event

MODEL: Final = "anthropic.claude-3-haiku-20240307-v1:0"
GATEWAY_KEY: Final = "sk-bench-7d1f0c2b9a8e4f6d"
SIGNED: Final = b"AWS4-HMAC-SHA256 Credential="
"""How the Authorization of a signed request begins."""
EVENTS: Final = 64
_TEXTS: Final = 60

_QUESTION: Final = (
    "Name three cities on the river Danube, and say of each in one sentence what it is known for."
)
_ANSWER: Final = (
    "Vienna is known for its music. Budapest is known for its thermal baths. "
    "Belgrade is known for its fortress above the Sava."
)
_USAGE: Final = {"inputTokens": 31, "outputTokens": 62, "totalTokens": 93}

# -------------------------------------------------------------------------------------------------- requests


def _http_request(target: str, headers: dict[str, str], body: object) -> bytes:
    content = json.dumps(body, separators=(",", ":")).encode()
    headers = {"host": "127.0.0.1", "content-length": str(len(content)), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {target} HTTP/1.1\r\n{lines}\r\n".encode() + content


def openai_request(*, stream: bool) -> bytes:
    """A chat completion as openai-python sends it."""
    headers = {
        "authorization": f"Bearer {GATEWAY_KEY}",
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "OpenAI/Python 3.0.0",
        "x-stainless-lang": "python",
        "x-stainless-os": "Linux",
    }
    body: dict[str, object] = {
        "model": MODEL,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": _QUESTION}],
        "max_tokens": 256,
        "temperature": 0.2,
    }
    if stream:
        body["stream"] = True
    return _http_request("/v1/chat/completions", headers, body)


def converse_request(*, stream: bool, signed: bool) -> bytes:
    """The same question as boto3 sends it; `signed` only so that the stand-in takes it for signed."""
    headers = {
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "Boto3/1.40 md/Botocore",
    }
    if signed:
        headers["authorization"] = SIGNED.decode()
    body = {
        "messages": [{"role": "user", "content": [{"text": _QUESTION}]}],
        "system": [{"text": "Be brief."}],
        "inferenceConfig": {"maxTokens": 256, "temperature": 0.2},
    }
    operation = "converse-stream" if stream else "converse"
    return _http_request(f"/model/{MODEL.replace(':', '%3A')}/{operation}", headers, body)


# --------------------------------------------------------------------------------------------------- answers


def _frame(name: str, payload: dict[str, object]) -> bytes:
    """A frame with the padding Bedrock adds (`p`), so that lengths do not tell the text."""
    return encode_event(name, json.dumps({**payload, "p": "abcdefghijkl"}, separators=(",", ":")).encode())


def _texts() -> list[str]:
    return [f" word{number}" for number in range(_TEXTS)]


def frames() -> list[bytes]:
    """The frames of one stream, one to an event."""
    deltas = [
        _frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}) for text in _texts()
    ]
    return [
        _frame("messageStart", {"role": "assistant"}),
        *deltas,
        _frame("contentBlockStop", {"contentBlockIndex": 0}),
        _frame("messageStop", {"stopReason": "end_turn"}),
        _frame("metadata", {"usage": _USAGE, "metrics": {"latencyMs": 871}}),
    ]


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _head(content_type: str, *framing: str) -> bytes:
    lines = (
        "HTTP/1.1 200 OK",
        "Date: Mon, 03 Nov 2025 10:21:07 GMT",
        f"Content-Type: {content_type}",
        *framing,
        "Connection: keep-alive",
        "x-amzn-RequestId: 6d0b2f0c-5b57-4f0f-9f6b-2f2b6f2f7e11",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


_ANSWER_BODY: Final = json.dumps(
    {
        "metrics": {"latencyMs": 871},
        "output": {"message": {"content": [{"text": _ANSWER}], "role": "assistant"}},
        "stopReason": "end_turn",
        "usage": _USAGE,
    },
    separators=(",", ":"),
).encode()
_STREAM_BODY: Final = b"".join(frames())

PLAIN_ANSWER: Final = _head("application/json", f"Content-Length: {len(_ANSWER_BODY)}") + _ANSWER_BODY
"""Bedrock's answer to Converse."""
_UNSIGNED_BODY: Final = b'{"message":"The request is not signed."}'
UNSIGNED_ANSWER: Final = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nx-amzn-ErrorType: AccessDeniedException\r\n"
    b"Content-Length: %d\r\n\r\n" % len(_UNSIGNED_BODY)
) + _UNSIGNED_BODY
"""Bedrock's answer to whoever does not sign."""


def stream_writes(count: int) -> list[bytes]:
    """Bedrock's answer to ConverseStream in so many writes, each one chunk of whole frames."""
    all_frames = frames()
    size = -(-len(all_frames) // count)
    pieces = [_chunk(b"".join(all_frames[at : at + size])) for at in range(0, len(all_frames), size)]
    pieces[0] = _head("application/vnd.amazon.eventstream", "Transfer-Encoding: chunked") + pieces[0]
    pieces[-1] += b"0\r\n\r\n"
    return pieces


# -------------------------------------------------------------------------------------------------- judgement


class Wrong(Exception):
    """An answer is not what was asked for, or not whole."""


def _unchunked(body: bytes) -> bytes:
    """The content of a whole chunked body. Raises Wrong."""
    pieces: list[bytes] = []
    at = 0
    while True:
        end = body.find(b"\r\n", at)
        if end < 0:
            raise Wrong("a chunk without its size")
        size = int(body[at:end], 16)
        at = end + 2
        if not size:
            break
        pieces.append(body[at : at + size])
        at += size + 2
    if body[at:] != b"\r\n":
        raise Wrong("bytes behind the last chunk")
    return b"".join(pieces)


class Judge:
    """Judges the answers of one connection. Raises Wrong."""

    __slots__ = ("_length", "_openai", "_stream")

    def __init__(self, *, openai: bool, stream: bool) -> None:
        self._openai = openai
        self._stream = stream
        self._length = -1

    def judge(self, body: bytes) -> int:
        """Judge a body as it came, chunks and all; returns its number of events (1 for a plain answer)."""
        return self.judge_content(_unchunked(body) if self._stream else body)

    def judge_content(self, content: bytes) -> int:
        """Judge what a body's chunks hold."""
        if self._length < 0:
            self._read(content)
            self._length = len(content)
        if len(content) != self._length:
            raise Wrong(f"{len(content)} bytes, not the {self._length} of the answers before it")
        if not self._stream:
            return 1
        if self._openai:
            if not content.endswith(b"data: [DONE]\n\n") or content.count(b'"content":" word') != _TEXTS:
                raise Wrong("a stream without all of its events")
        elif content != _STREAM_BODY:
            raise Wrong("a stream that is not byte for byte what upstream sent")
        return EVENTS

    def _read(self, content: bytes) -> None:
        """Read an answer as an SDK would."""
        if self._stream:
            text, expected = (_openai_text if self._openai else _converse_text)(content), "".join(_texts())
        else:
            answer = json.loads(content)
            text = (
                answer["choices"][0]["message"]["content"]
                if self._openai
                else answer["output"]["message"]["content"][0]["text"]
            )
            expected = _ANSWER
        if text != expected:
            raise Wrong(f"the text is {text[:80]!r}")


def _openai_text(content: bytes) -> str:
    events = content.split(b"\n\n")
    if events[-2:] != [b"data: [DONE]", b""]:
        raise Wrong("no [DONE] at the end")
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events[:-2]]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    if [choice["finish_reason"] for choice in choices if choice["finish_reason"]] != ["stop"]:
        raise Wrong("not exactly one finish_reason")
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def _converse_text(content: bytes) -> str:
    decoder = EventStreamDecoder()
    events = list(decoder.feed(content))
    decoder.check()
    if len(events) != EVENTS or events[-1].name != "metadata":
        raise Wrong("not all events, or no metadata at the end")
    payloads = [json.loads(event.payload) for event in events]
    return "".join(payload["delta"]["text"] for payload in payloads if "delta" in payload)
