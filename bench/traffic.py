"""The bytes of the benchmark: the loads, what each asks, and what is answered.

A load is a line of `LOADS`. The requests are those of the official SDKs in size and in headers; the answers
have the shape and padding of Bedrock's own. Everything is computed once, so that the stand-in and the load
generator cost as little as they can. A stream is the start of the message, 60 pieces of text, the stops of
block and message, and the metadata: 64 events.

What is asked for has to reach the stand-in through any gateway, and so stands where each passes it on: a
request that offers a tool is answered with its use, and one whose system text holds a wish (`paced_wish`)
with a stream at that pace.

judge.py tells whether an answer is right.
"""

import json
from functools import lru_cache
from typing import Final

import msgspec

from stargate_core.wire.eventstream import encode_event

MODEL: Final = "anthropic.claude-3-haiku-20240307-v1:0"
GATEWAY_KEY: Final = "sk-bench-7d1f0c2b9a8e4f6d"
SIGNED: Final = b"AWS4-HMAC-SHA256 Credential="
"""How the Authorization of a signed request begins."""
TEXTS: Final = 60
EVENTS: Final = TEXTS + 4
TOOL: Final = "get_weather"
TOOL_INPUT: Final = {"city": "Vienna", "unit": "celsius"}
PACED: Final = b"(paced "
"""How the wish for a paced stream begins."""

_QUESTION: Final = (
    "Name three cities on the river Danube, and say of each in one sentence what it is known for."
)
ANSWER: Final = (
    "Vienna is known for its music. Budapest is known for its thermal baths. "
    "Belgrade is known for its fortress above the Sava."
)
_USAGE: Final = {"inputTokens": 31, "outputTokens": 62, "totalTokens": 93}
_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "The city's name, in English."},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city"],
}
_TOOL_DOES: Final = "The weather in a city, now."


class Load(msgspec.Struct, frozen=True):
    """What one request of a load is."""

    name: str
    stream: bool = False
    prompt_bytes: int = 0
    """So much text stands before the question."""
    tools: bool = False
    parts: tuple[str, ...] = ()
    """Other loads in its place, in turn."""


LOADS: Final = {
    load.name: load
    for load in (
        Load("plain"),
        Load("stream", stream=True),
        Load("long", prompt_bytes=32_768),
        Load("tools", tools=True),
        Load("mixed", parts=("plain", "stream", "tools", "stream", "plain", "long")),
    )
}


def parts(name: str) -> list[Load]:
    """What a load's requests are, in turn."""
    load = LOADS[name]
    return [LOADS[part] for part in load.parts] or [load]


# -------------------------------------------------------------------------------------------------- requests


def paced_wish(events: int, per_second: float) -> str:
    """The wish for a stream of so many pieces of text, as words that any gateway passes on."""
    return f"{PACED.decode()}{events} {per_second:g})"


@lru_cache
def prompt(size: int) -> str:
    """So many bytes of text with what texts have: lines, quotes, and letters beyond ASCII."""
    line = 'Chapter {}: the café by the river was "closed" again, and so they walked on.\n'
    text = "".join(line.format(number) for number in range(size // len(line) + 1)).encode()[:size]
    return text.decode(errors="ignore")


def _http_request(target: str, headers: dict[str, str], body: object) -> bytes:
    content = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    headers = {"host": "127.0.0.1", "content-length": str(len(content)), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {target} HTTP/1.1\r\n{lines}\r\n".encode() + content


def request(dialect: str, load: Load, *, wish: str = "", headers: dict[str, str] | None = None) -> bytes:
    """A request in a dialect: openai, converse; signed: converse with a signature of nobody's.

    headers: what a gateway wants to be told beside.
    """
    if dialect == "openai":
        return openai_request(
            stream=load.stream, tools=load.tools, prompt_bytes=load.prompt_bytes, wish=wish, headers=headers
        )
    return converse_request(
        stream=load.stream,
        signed=dialect == "signed",
        tools=load.tools,
        prompt_bytes=load.prompt_bytes,
        wish=wish,
    )


def openai_request(
    *,
    stream: bool,
    tools: bool = False,
    prompt_bytes: int = 0,
    wish: str = "",
    headers: dict[str, str] | None = None,
) -> bytes:
    """A chat completion as openai-python sends it."""
    all_headers = {
        "authorization": f"Bearer {GATEWAY_KEY}",
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "OpenAI/Python 3.0.0",
        "x-stainless-lang": "python",
        "x-stainless-os": "Linux",
        **(headers or {}),
    }
    body: dict[str, object] = {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": f"Be brief.{wish}"},
            {"role": "user", "content": prompt(prompt_bytes) + _QUESTION},
        ],
        "max_tokens": 256,
        "temperature": 0.2,
    }
    if stream:
        body["stream"] = True
    if tools:
        function = {"name": TOOL, "description": _TOOL_DOES, "parameters": _SCHEMA}
        body["tools"] = [{"type": "function", "function": function}]
    return _http_request("/v1/chat/completions", all_headers, body)


def converse_request(
    *, stream: bool, signed: bool, tools: bool = False, prompt_bytes: int = 0, wish: str = ""
) -> bytes:
    """The same question as boto3 sends it; `signed` only so that the stand-in takes it for signed."""
    headers = {
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "Boto3/1.40 md/Botocore",
    }
    if signed:
        headers["authorization"] = SIGNED.decode()
    body: dict[str, object] = {
        "messages": [{"role": "user", "content": [{"text": prompt(prompt_bytes) + _QUESTION}]}],
        "system": [{"text": f"Be brief.{wish}"}],
        "inferenceConfig": {"maxTokens": 256, "temperature": 0.2},
    }
    if tools:
        spec = {"name": TOOL, "description": _TOOL_DOES, "inputSchema": {"json": _SCHEMA}}
        body["toolConfig"] = {"tools": [{"toolSpec": spec}]}
    operation = "converse-stream" if stream else "converse"
    return _http_request(f"/model/{MODEL.replace(':', '%3A')}/{operation}", headers, body)


# --------------------------------------------------------------------------------------------------- answers


def _frame(name: str, payload: dict[str, object]) -> bytes:
    """A frame with the padding Bedrock adds (`p`), so that lengths do not tell the text."""
    return encode_event(name, json.dumps({**payload, "p": "abcdefghijkl"}, separators=(",", ":")).encode())


def texts(count: int = TEXTS) -> list[str]:
    """The pieces of text of a stream."""
    return [f" word{number}" for number in range(count)]


@lru_cache
def _text_frame(number: int) -> bytes:
    return _frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": f" word{number}"}})


def frames(count: int = TEXTS) -> list[bytes]:
    """The frames of one stream with so many pieces of text, one to an event."""
    return [
        _frame("messageStart", {"role": "assistant"}),
        *map(_text_frame, range(count)),
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


def _converse_answer(content: list[object], stop_reason: str) -> bytes:
    message = {"content": content, "role": "assistant"}
    answer = {
        "metrics": {"latencyMs": 871},
        "output": {"message": message},
        "stopReason": stop_reason,
        "usage": _USAGE,
    }
    body = json.dumps(answer, separators=(",", ":")).encode()
    return _head("application/json", f"Content-Length: {len(body)}") + body


PLAIN_ANSWER: Final = _converse_answer([{"text": ANSWER}], "end_turn")
"""Bedrock's answer to Converse."""
TOOL_ANSWER: Final = _converse_answer(
    [
        {"text": "I will look."},
        {"toolUse": {"toolUseId": "tooluse_kZJMlvQmRJ6eAyJE5GIl7Q", "name": TOOL, "input": TOOL_INPUT}},
    ],
    "tool_use",
)
"""The same where a tool is to be used."""
_UNSIGNED_BODY: Final = b'{"message":"The request is not signed."}'
UNSIGNED_ANSWER: Final = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nx-amzn-ErrorType: AccessDeniedException\r\n"
    b"Content-Length: %d\r\n\r\n" % len(_UNSIGNED_BODY)
) + _UNSIGNED_BODY
"""Bedrock's answer to whoever does not sign."""
STREAM_HEAD: Final = _head("application/vnd.amazon.eventstream", "Transfer-Encoding: chunked")


def stream_writes(count: int) -> list[bytes]:
    """Bedrock's answer to ConverseStream in so many writes, each one chunk of whole frames."""
    all_frames = frames()
    size = -(-len(all_frames) // count)
    pieces = [_chunk(b"".join(all_frames[at : at + size])) for at in range(0, len(all_frames), size)]
    pieces[0] = STREAM_HEAD + pieces[0]
    pieces[-1] += b"0\r\n\r\n"
    return pieces


@lru_cache
def paced_writes(events: int) -> tuple[bytes, ...]:
    """The same for a paced stream: one write to a piece of text. The start comes with the first one, the
    end with the last.
    """
    start, *words, block_stop, message_stop, metadata = map(_chunk, frames(events))
    words[0] = STREAM_HEAD + start + words[0]
    words[-1] += block_stop + message_stop + metadata + b"0\r\n\r\n"
    return tuple(words)
