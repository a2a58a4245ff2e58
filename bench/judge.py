"""Whether an answer is right, and whole.

It is judged twice. The first of each connection is read in full, the way an SDK would read it. Each later one
must have the same length and the same number of events: a lost, doubled or cut event changes one of the two.
"""

import json
from functools import lru_cache
from typing import Any, Final

from bench.traffic import ANSWER, TEXTS, TOOL, TOOL_INPUT, Load, frames, texts
from stargate_core.wire.eventstream import EventStreamDecoder

_FRAMES_BESIDE_TEXTS: Final = 4


class Wrong(Exception):
    """An answer is not what was asked for, or not whole."""


def unchunked(body: bytes) -> bytes:
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


@lru_cache
def _stream_body(count: int) -> bytes:
    return b"".join(frames(count))


class Judge:
    """Judges the answers of one connection to one kind of request. Raises Wrong.

    events: the pieces of text in a stream.
    """

    __slots__ = ("_length", "_load", "_openai", "_texts")

    def __init__(self, *, openai: bool, load: Load, events: int = TEXTS) -> None:
        self._openai = openai
        self._load = load
        self._texts = events
        self._length = -1

    def judge(self, content: bytes) -> int:
        """Judge the content of a body; returns its number of events (1 for an answer that is no stream)."""
        if self._length < 0:
            self._read(content)
            self._length = len(content)
        if len(content) != self._length:
            raise Wrong(f"{len(content)} bytes, not the {self._length} of the answers before it")
        if not self._load.stream:
            return 1
        if self._openai:
            if not content.endswith(b"data: [DONE]\n\n") or content.count(b'"content":" word') != self._texts:
                raise Wrong("a stream without all of its events")
        elif content != _stream_body(self._texts):
            raise Wrong("a stream that is not byte for byte what upstream sent")
        return self._texts + _FRAMES_BESIDE_TEXTS

    def _read(self, content: bytes) -> None:
        """Read an answer as an SDK would."""
        if self._load.stream:
            text, expected = (_openai_text if self._openai else _converse_text)(content), texts(self._texts)
            _expect(text, "".join(expected))
        elif self._load.tools:
            answer = json.loads(content)
            _expect((_openai_tool if self._openai else _converse_tool)(answer), (TOOL, TOOL_INPUT))
        else:
            answer = json.loads(content)
            message = answer["choices"][0]["message"] if self._openai else answer["output"]["message"]
            _expect(message["content"] if self._openai else message["content"][0]["text"], ANSWER)


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise Wrong(f"it says {str(found)[:200]!r}")


def _openai_tool(answer: Any) -> tuple[str, Any]:
    (choice,) = answer["choices"]
    (call,) = choice["message"]["tool_calls"]
    if choice["finish_reason"] != "tool_calls":
        raise Wrong("a finish_reason that does not say what to do")
    return call["function"]["name"], json.loads(call["function"]["arguments"])


def _converse_tool(answer: Any) -> tuple[str, Any]:
    (use,) = [block["toolUse"] for block in answer["output"]["message"]["content"] if "toolUse" in block]
    return use["name"], use["input"]


def _openai_text(content: bytes) -> str:
    events = content.split(b"\n\n")
    if events[-2:] != [b"data: [DONE]", b""]:
        raise Wrong("no [DONE] at the end")
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events[:-2]]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    if [choice["finish_reason"] for choice in choices if choice.get("finish_reason")] != ["stop"]:
        raise Wrong("not exactly one finish_reason")
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def _converse_text(content: bytes) -> str:
    decoder = EventStreamDecoder()
    events = list(decoder.feed(content))
    decoder.check()
    if not events or events[-1].name != "metadata":
        raise Wrong("no metadata at the end")
    payloads = [json.loads(event.payload) for event in events]
    return "".join(payload["delta"]["text"] for payload in payloads if "delta" in payload)
