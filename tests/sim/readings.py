"""What an answer says: an independent reading of Bedrock's answers, and of the dialects'.

Nothing of the core is used here. Both ends of a translation are read into one `Reading`, in the words of
neither: which text, which tools with which arguments, why it stopped, how many tokens. A stream is read
strictly: each event in its order, one end, nothing behind it.
"""

import base64
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec

UNREADABLE: Final = "unreadable"
"""The error of a stream whose framing is sound around what is not."""


class Unreadable(Exception):
    """It is no answer of its kind."""


class Reading(msgspec.Struct):
    """What an answer says."""

    text: str = ""
    tools: list[tuple[str, str]] = msgspec.field(default_factory=list)
    """Names and arguments, as canonical JSON."""
    stop: str = ""
    """end | tools | length | filter"""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    """Read from the prompt cache."""
    complete: bool = False
    """It has come to its own end."""
    error: str = ""
    """The error inside of it, as its dialect names it."""

    def told(self) -> tuple[str, list[tuple[str, str]], str]:
        """What counts for a reader."""
        return self.text, self.tools, self.stop


_STOPS: Final = {
    "end_turn": "end", "stop_sequence": "end", "tool_use": "tools", "max_tokens": "length",
    "guardrail_intervened": "filter", "content_filtered": "filter", "refusal": "filter",
    "model_context_window_exceeded": "length", "stop": "end", "tool_calls": "tools", "length": "length",
    "content_filter": "filter",
}  # fmt: skip


def _canonical(arguments: Any) -> str:
    return json.dumps(arguments, sort_keys=True, ensure_ascii=False)


def _parsed(text: str) -> str:
    try:
        return _canonical(json.loads(text) if text else {})
    except ValueError:
        raise Unreadable(f"a tool's arguments are no JSON: {text[:80]!r}") from None


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        raise Unreadable(f"no JSON: {body[:80]!r}") from None
    if not isinstance(value, dict):
        raise Unreadable("no JSON object")
    return value


# ---------------------------------------------------------------------------------------------- event streams


def frames(body: bytes) -> Iterator[tuple[dict[str, str], bytes]]:
    """The frames of an event stream, as long as they are whole and sound."""
    at = 0
    while at + 16 <= len(body):
        total, headers_length, crc = struct.unpack_from(">III", body, at)
        if zlib.crc32(body[at : at + 8]) != crc or at + total > len(body) or total < 16:
            return
        if zlib.crc32(body[at : at + total - 4]) != struct.unpack_from(">I", body, at + total - 4)[0]:
            return
        headers: dict[str, str] = {}
        here, end = at + 12, at + 12 + headers_length
        while here < end:
            length = body[here]
            name = body[here + 1 : here + 1 + length].decode()
            here += 1 + length
            if body[here] != 7:
                return
            size = struct.unpack_from(">H", body, here + 1)[0]
            headers[name] = body[here + 3 : here + 3 + size].decode()
            here += 3 + size
        yield headers, body[end : at + total - 4]
        at += total


class _Blocks:
    """The blocks of a stream, by their numbers. strict: what a model says as arguments must be JSON."""

    def __init__(self, *, strict: bool = True) -> None:
        self.reading = Reading()
        self._strict = strict
        self._tools: dict[int, tuple[str, list[str]]] = {}

    def tool(self, index: int, name: str) -> None:
        if index in self._tools:
            raise Unreadable(f"two tools of the number {index}")
        self._tools[index] = (name, [])

    def arguments(self, index: int, piece: str) -> None:
        if index not in self._tools:
            raise Unreadable(f"arguments of a tool that has not begun: {index}")
        self._tools[index][1].append(piece)

    def done(self) -> Reading:
        """What all of them say."""
        reading = self.reading
        if reading.complete:
            reading.tools = [(name, self._whole("".join(pieces))) for name, pieces in self._tools.values()]
        return reading

    def _whole(self, text: str) -> str:
        try:
            return _parsed(text)
        except Unreadable:
            if self._strict:
                raise
            return f"no JSON: {text}"


def _converse_usage(reading: Reading, usage: dict[str, Any]) -> None:
    cached = usage.get("cacheReadInputTokens", 0)
    reading.input_tokens = usage["inputTokens"] + cached + usage.get("cacheWriteInputTokens", 0)
    reading.output_tokens, reading.cached_tokens = usage["outputTokens"], cached


_OF_CONVERSE: Final = (
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockStop",
    "messageStop",
    "metadata",
)
"""Events that say something. The beginning is one that only has to come."""


def converse_stream(body: bytes) -> Reading:
    """A ConverseStream answer."""
    blocks = _Blocks(strict=False)
    reading = blocks.reading
    stopped = False
    for headers, payload in frames(body):
        if headers.get(":message-type") != "event":
            reading.error = headers.get(":exception-type") or headers.get(":error-code") or "error"
            return blocks.done()
        try:
            event = _object(payload)
        except Unreadable:
            if headers.get(":event-type") not in _OF_CONVERSE:
                continue  # Nobody has to read what has a name that says nothing.
            reading.error = UNREADABLE
            return blocks.done()
        match headers.get(":event-type"):
            case "contentBlockStart" if "toolUse" in event.get("start", {}):
                blocks.tool(event["contentBlockIndex"], event["start"]["toolUse"]["name"])
            case "contentBlockDelta":
                delta = event["delta"]
                if "text" in delta:
                    reading.text += delta["text"]
                elif "toolUse" in delta:
                    blocks.arguments(event["contentBlockIndex"], delta["toolUse"]["input"])
            case "messageStop":
                stopped = True
                reading.stop = _STOPS.get(event["stopReason"], event["stopReason"])
            case "metadata":
                _converse_usage(reading, event["usage"])
                reading.complete = stopped
                return blocks.done()
            case _:
                pass
    return blocks.done()


def converse(body: bytes) -> Reading:
    """A Converse answer."""
    answer = _object(body)
    if "output" not in answer:
        raise Unreadable("no output")
    content = answer["output"]["message"]["content"]
    reading = Reading(stop=_STOPS.get(answer["stopReason"], answer["stopReason"]), complete=True)
    for block in content:
        if "text" in block:
            reading.text += block["text"]
        elif "citationsContent" in block:
            reading.text += "".join(one["text"] for one in block["citationsContent"]["content"])
        elif "toolUse" in block:
            reading.tools.append((block["toolUse"]["name"], _canonical(block["toolUse"]["input"])))
    _converse_usage(reading, answer["usage"])
    return reading


# -------------------------------------------------------------------------------------------------- Anthropic


def _messages_usage(reading: Reading, usage: dict[str, Any]) -> None:
    if "input_tokens" in usage and usage["input_tokens"] is not None:
        cached = usage.get("cache_read_input_tokens") or 0
        written = usage.get("cache_creation_input_tokens") or 0
        reading.input_tokens = usage["input_tokens"] + cached + written
        reading.cached_tokens = cached
    if "output_tokens" in usage:
        reading.output_tokens = usage["output_tokens"]


def messages(body: bytes) -> Reading:
    """A message of Anthropic's."""
    answer = _object(body)
    if answer.get("type") != "message":
        raise Unreadable(f"no message but {answer.get('type')!r}")
    reading = Reading(stop=_STOPS.get(answer["stop_reason"], str(answer["stop_reason"])), complete=True)
    for block in answer["content"]:
        if block["type"] == "text":
            reading.text += block["text"]
        elif block["type"] == "tool_use":
            reading.tools.append((block["name"], _canonical(block["input"])))
    _messages_usage(reading, answer["usage"])
    return reading


def messages_events(events: Iterator[tuple[str, dict[str, Any]]], *, strict: bool = True) -> Reading:
    """The events of a stream of Anthropic's."""
    blocks = _Blocks(strict=strict)
    reading = blocks.reading
    begun, open_block = False, None
    for name, event in events:
        if reading.complete or reading.error:
            raise Unreadable(f"{name} behind the end")
        kind = event.get("type", name)
        if kind == "message_start":
            if begun:
                raise Unreadable("two beginnings")
            begun = True
            _messages_usage(reading, event["message"]["usage"])
        elif kind == "error":
            reading.error = event["error"]["type"]
        elif kind == "ping":
            pass
        elif not begun:
            raise Unreadable(f"{kind} before the beginning")
        elif kind == "content_block_start":
            if open_block is not None:
                raise Unreadable("a block within a block")
            open_block = event["index"]
            if event["content_block"]["type"] == "tool_use":
                blocks.tool(open_block, event["content_block"]["name"])
            elif event["content_block"]["type"] == "text":
                reading.text += event["content_block"]["text"]
        elif kind == "content_block_delta":
            if event["index"] != open_block:
                raise Unreadable("a delta of no open block")
            delta = event["delta"]
            if delta["type"] == "text_delta":
                reading.text += delta["text"]
            elif delta["type"] == "input_json_delta":
                blocks.arguments(open_block, delta["partial_json"])
        elif kind == "content_block_stop":
            if event["index"] != open_block:
                raise Unreadable("the end of no open block")
            open_block = None
        elif kind == "message_delta":
            reading.stop = _STOPS.get(event["delta"]["stop_reason"], str(event["delta"]["stop_reason"]))
            _messages_usage(reading, event.get("usage") or {})
        elif kind == "message_stop":
            reading.complete = True
    return blocks.done()


def invoke_stream(body: bytes) -> Reading:
    """An InvokeModelWithResponseStream answer of Anthropic's."""
    error: list[str] = []

    def events() -> Iterator[tuple[str, dict[str, Any]]]:
        for headers, payload in frames(body):
            if headers.get(":message-type") != "event":
                error.append(headers.get(":exception-type") or "error")
                return
            if headers.get(":event-type") != "chunk":
                continue
            try:
                event = _object(base64.b64decode(_object(payload)["bytes"]))
            except (Unreadable, KeyError):
                error.append(UNREADABLE)
                return
            yield event.get("type", ""), event
            if event.get("type") == "message_stop":
                return

    reading = messages_events(events(), strict=False)
    if error:
        reading.error, reading.complete = error[0], False
    return reading


# ---------------------------------------------------------------------------------------------- sent events


def sse(body: bytes) -> Iterator[tuple[str, str]]:
    """Server-sent events: names and data. Comments are passed over; a piece of one is Unreadable."""
    if not body.endswith(b"\n\n"):
        raise Unreadable(f"the stream ends within an event: {body[-60:]!r}")
    for block in body.decode().split("\n\n")[:-1]:
        name, data = "", []
        for line in block.split("\n"):
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif line.startswith("event:"):
                name = line[6:].strip()
            elif not line.startswith(":") and line:
                raise Unreadable(f"no line of an event: {line[:80]!r}")
        if data:
            yield name, "\n".join(data)


def messages_stream(body: bytes) -> Reading:
    """A stream of Anthropic's, as its clients get it."""
    return messages_events((name, _object(data.encode())) for name, data in sse(body))


def _chat_usage(reading: Reading, usage: dict[str, Any]) -> None:
    reading.input_tokens, reading.output_tokens = usage["prompt_tokens"], usage["completion_tokens"]
    reading.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    if usage["total_tokens"] != usage["prompt_tokens"] + usage["completion_tokens"]:
        raise Unreadable("the total is no sum")


def chat(body: bytes) -> Reading:
    """A chat completion."""
    answer = _object(body)
    if answer.get("object") != "chat.completion":
        raise Unreadable(f"no completion but {answer.get('object')!r}")
    (choice,) = answer["choices"]
    message = choice["message"]
    reading = Reading(
        text=message.get("content") or "",
        stop=_STOPS.get(choice["finish_reason"], str(choice["finish_reason"])),
        complete=True,
    )
    for tool in message.get("tool_calls") or ():
        reading.tools.append((tool["function"]["name"], _parsed(tool["function"]["arguments"])))
    _chat_usage(reading, answer["usage"])
    return reading


def chat_stream(body: bytes) -> Reading:
    """A stream of chat completion chunks."""
    blocks = _Blocks()
    reading = blocks.reading
    finished = False
    for _, data in sse(body):
        if reading.complete:
            raise Unreadable("something behind [DONE]")
        if data == "[DONE]":
            if reading.error:
                raise Unreadable("[DONE] behind an error")
            if not finished:
                raise Unreadable("[DONE] without a finish_reason")
            reading.complete = True
            continue
        if reading.error:
            raise Unreadable("something behind an error")
        chunk = _object(data.encode())
        if "error" in chunk:
            reading.error = chunk["error"]["type"]
            continue
        if chunk.get("usage"):
            _chat_usage(reading, chunk["usage"])
        for choice in chunk["choices"]:
            delta = choice["delta"]
            if finished and (delta.get("content") or delta.get("tool_calls")):
                raise Unreadable("words behind the finish_reason")
            reading.text += delta.get("content") or ""
            for tool in delta.get("tool_calls") or ():
                function = tool["function"]
                if "name" in function:
                    blocks.tool(tool["index"], function["name"])
                blocks.arguments(tool["index"], function.get("arguments", ""))
            if choice.get("finish_reason"):
                if finished:
                    raise Unreadable("two finish_reasons")
                finished = True
                reading.stop = _STOPS.get(choice["finish_reason"], choice["finish_reason"])
    return blocks.done()


# ------------------------------------------------------------------------------------------------- responses


def _response(answer: dict[str, Any], reading: Reading) -> Reading:
    for item in answer["output"]:
        if item["type"] == "message":
            for part in item["content"]:
                reading.text += (
                    part.get("text", "") if part["type"] == "output_text" else part.get("refusal", "")
                )
        elif item["type"] == "function_call":
            reading.tools.append((item["name"], _parsed(item["arguments"])))
    status = answer["status"]
    if status == "incomplete":
        reason = answer["incomplete_details"]["reason"]
        reading.stop = "filter" if reason == "content_filter" else "length"
    elif status == "completed":
        reading.stop = "tools" if reading.tools else "end"
    else:
        raise Unreadable(f"the status {status}")
    usage = answer["usage"]
    reading.input_tokens, reading.output_tokens = usage["input_tokens"], usage["output_tokens"]
    reading.cached_tokens = usage["input_tokens_details"]["cached_tokens"]
    reading.complete = True
    return reading


def responses(body: bytes) -> Reading:
    """A response of OpenAI's."""
    answer = _object(body)
    if answer.get("object") != "response":
        raise Unreadable(f"no response but {answer.get('object')!r}")
    return _response(answer, Reading())


def responses_stream(body: bytes) -> Reading:
    """The events of a response: its deltas must add up to what its last event says."""
    reading, deltas, arguments = Reading(), "", ""
    number = -1
    for name, data in sse(body):
        event = _object(data.encode())
        kind = event["type"]
        if reading.complete or (reading.error and kind != "response.failed"):
            raise Unreadable(f"{kind} behind the end")
        if name and name != kind:
            raise Unreadable(f"the event {name} says it is {kind}")
        if event["sequence_number"] != number + 1:
            raise Unreadable(f"the number {event['sequence_number']} behind {number}")
        number += 1
        if kind == "response.output_text.delta":
            deltas += event["delta"]
        elif kind == "response.function_call_arguments.delta":
            arguments += event["delta"]
        elif kind in ("response.completed", "response.incomplete"):
            _response(event["response"], reading)
            if reading.text != deltas and reading.stop != "filter":
                raise Unreadable("the deltas are not the text")
        elif kind in ("response.failed", "error"):
            reading.error = kind
    return reading
