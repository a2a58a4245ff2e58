"""Converse's answer to one chat request, whole or streamed, in OpenAI's form.

The rules of a stream, each of which some client relies on:

- The role comes once, first, in a chunk of its own; every chunk bears the same id, time and model.
- A tool's index counts tools, densely from 0. It is not Bedrock's block index: clients allocate by it,
  and a gap is a tool that isn't there.
- A tool without arguments gets `{}` when its block ends: Bedrock sends "" or nothing, and no client
  parses that.
- Empty texts are no chunks.
- The finish_reason has a chunk of its own. With `include_usage` one more chunk follows, with the usage
  and no choices, and all chunks before it say `usage: null`. Bedrock tells the usage after it has
  stopped, so `complete` waits for both.
- Tools that Bedrock runs by itself, and their results, are not the caller's to run, and no chunks.
- What there is to tell of a block beside its text (signed thoughts, citations: `openai_chat_blocks`) is a
  delta when the block ends.
- `trace` stands in the chunk with the usage, or in one of its own without choices: Bedrock tells it last.

A text costs one typed decode and one encode: everything around it is the same for the whole stream, and
made once.

Source: openai-python src/openai/types/chat/chat_completion_chunk.py, src/openai/_streaming.py.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from stargate_core.dialects.converse import (
    ANSWER,
    BLOCK_DELTA,
    BLOCK_START,
    BLOCK_STOP,
    MESSAGE_STOP,
    METADATA,
    NOT_JSON,
    ContentBlockDelta,
    any_json,
    check_stop,
    garbled,
    read,
)
from stargate_core.dialects.face import Headers, Part, PartKind, Reply, Request, Usage
from stargate_core.dialects.openai_chat_answer import (
    TIERS,
    chat_completion,
    encoded,
    finish_reason,
    head,
    usage_object,
)
from stargate_core.dialects.openai_chat_blocks import Notes
from stargate_core.dialects.openai_errors import in_band
from stargate_core.faults import Fault
from stargate_core.wire.eventstream import Frame

DONE: Final = b"data: [DONE]\n\n"
KEEP_ALIVE: Final = b": keep-alive\n\n"
JSON_HEADERS: Final = ((b"content-type", b"application/json"),)
SSE_HEADERS: Final = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))

_encode: Final = msgspec.json.Encoder().encode
_decode_delta: Final = BLOCK_DELTA.decode


class ChatTranslator:
    """One answer. See `Translator` for the members."""

    __slots__ = (
        "_argument_head",
        "_at",
        "_begun",
        "_from",
        "_head",
        "_include_usage",
        "_last",
        "_lead",
        "_length",
        "_measured",
        "_model",
        "_names",
        "_notes",
        "_request",
        "_server_tools",
        "_silent_tools",
        "_stopped",
        "_tail",
        "_text_head",
        "_thought_head",
        "_told",
        "_tools",
        "complete",
        "meaningful",
        "raw",
        "stop_reason",
        "usage",
    )

    def __init__(
        self, request: Request, model: str, names: dict[str, str], *, stream: bool, include_usage: bool
    ) -> None:
        self.complete = False
        self.meaningful = False
        self.stop_reason: str | None = None
        self.usage: Usage | None = None
        self.raw = False
        self._request = request
        self._model = model
        self._names = names
        self._include_usage = include_usage
        self._begun = False
        self._stopped = False
        self._measured = False
        self._tools: dict[int, int] = {}
        self._silent_tools: set[int] = set()
        self._server_tools: set[int] = set()
        self._notes: dict[int, Notes] = {}
        self._told: dict[str, int] = {}
        self._length = 0  # of the content so far, in characters
        self._at = -1  # the block whose text came last
        self._from = 0  # where in the content that text begins
        self._last: dict[str, Any] = {}
        if stream:
            self._head = head(request, model, "chat.completion.chunk")
            self._lead = b"data: " + _encode(self._head)[:-1] + b',"choices":[{"index":0,"delta":'
            usage = b',"usage":null' if include_usage else b""
            self._tail = b'},"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"
            self._text_head = self._lead + b'{"content":'
            self._thought_head = self._lead + b'{"reasoning_content":'
            self._argument_head = self._lead + b'{"tool_calls":[{"index":'

    # ----------------------------------------------------------------------------------------- a whole answer

    def answer(self, headers: Headers, body: bytes) -> Part:
        """A whole 200 answer. Raises BadAnswer where it isn't one."""
        answer = read(ANSWER, body, "Converse's answer")
        self.stop_reason = answer.stop_reason
        if answer.usage is not None:
            self.usage = answer.usage.counts()
        check_stop(answer.stop_reason)
        completion = chat_completion(answer, self._request, self._model, self._names)
        self.complete = self.meaningful = True
        return Part(PartKind.ANSWER, "", completion)

    def render_answer(self, part: Part, upstream_headers: Headers) -> Reply:
        """The HTTP answer that carries the part."""
        return Reply(200, list(JSON_HEADERS), encoded(part.payload))

    # ----------------------------------------------------------------------------------------------- a stream

    def stream_headers(self, upstream_headers: Headers) -> Headers:
        """The headers of a streamed 200 answer."""
        return list(SSE_HEADERS)

    def frame(self, frame: Frame) -> bytes:
        """`parts` and `render` in one. Raises BadAnswer likewise."""
        if frame.name != "contentBlockDelta" or not self._begun or self._stopped:
            return b"".join([self.render(part) for part in self.parts(frame)])
        try:
            event = _decode_delta(frame.payload)
        except NOT_JSON:
            event = read(BLOCK_DELTA, frame.payload, frame.name)
        delta = event.delta
        text = delta.text
        if text:
            self._say(event.content_block_index, text)
            return b"%b%b%b" % (self._text_head, _encode(text), self._tail)
        tool_use = delta.tool_use
        if tool_use is not None and text is None:
            number = self._fragment(event.content_block_index, tool_use.input)
            if number is None:
                return b""
            return b'%b%d,"function":{"arguments":%b}}]%b' % (
                self._argument_head,
                number,
                _encode(tool_use.input),
                self._tail,
            )
        thought = delta.reasoning_content
        if thought is not None and thought.text and text is None:
            self._notes_of(event.content_block_index).think(thought)
            self.meaningful = True
            return b"%b%b%b" % (self._thought_head, _encode(thought.text), self._tail)
        return b"".join([self.render(part) for part in self._delta(event)])

    def render(self, part: Part) -> bytes:
        """A part of a stream, as bytes."""
        return b"data: %b\n\n" % encoded(part.payload)

    def parts(self, frame: Frame) -> Sequence[Part]:
        """What an event frame means to the caller; an unknown name means nothing. Raises BadAnswer."""
        match frame.name:
            case "contentBlockDelta":
                return self._block_delta(frame.payload)
            case "contentBlockStart":
                return self._block_start(frame.payload)
            case "contentBlockStop":
                return self._block_stop(frame.payload)
            case "messageStart":
                return self._begin([])
            case "messageStop":
                return self._message_stop(frame.payload)
            case "metadata":
                return self._metadata(frame.payload)
            case _:
                return ()

    def finish(self) -> bytes:
        """The dialect's closing bytes."""
        return DONE

    def broken(self, fault: Fault) -> bytes:
        """The in-band error that ends a stream whose status line is already out."""
        return in_band(fault)

    def keepalive(self) -> bytes:
        """A comment: clients of server-sent events skip it."""
        return KEEP_ALIVE

    def _block_start(self, payload: bytes) -> Sequence[Part]:
        event = read(BLOCK_START, payload, "contentBlockStart")
        tool = event.start.tool_use
        if tool is None:
            return ()
        at = event.content_block_index
        if not tool.is_callers:
            self._server_tools.add(at)
            return ()
        self._check_open()
        number = len(self._tools)
        self._tools[at] = number
        self._silent_tools.add(at)
        function = {"name": self._names.get(tool.name, tool.name), "arguments": ""}
        call = {"index": number, "id": tool.tool_use_id, "type": "function", "function": function}
        self.meaningful = True
        return self._begin([self._chunk({"tool_calls": [call]})])

    def _block_delta(self, payload: bytes) -> Sequence[Part]:
        event = read(BLOCK_DELTA, payload, "contentBlockDelta")
        parts = self._delta(event)
        return self._begin(parts) if parts else ()

    def _delta(self, event: ContentBlockDelta) -> list[Part]:
        delta = event.delta
        at = event.content_block_index
        content: dict[str, Any]
        if delta.text is not None:
            if not delta.text:
                return []
            content = {"content": delta.text}
        elif delta.tool_use is not None:
            number = self._fragment(at, delta.tool_use.input)
            if number is None:
                return []
            content = {"tool_calls": [{"index": number, "function": {"arguments": delta.tool_use.input}}]}
        elif delta.reasoning_content is not None:
            self._notes_of(at).think(delta.reasoning_content)
            if not delta.reasoning_content.text:
                return []
            content = {"reasoning_content": delta.reasoning_content.text}
        elif delta.citation is not None:
            self._notes_of(at).cite(delta.citation)
            return []
        else:
            return []
        self._check_open()
        self.meaningful = True
        if delta.text:
            self._say(at, delta.text)
        return [self._chunk(content)]

    def _say(self, at: int, text: str) -> None:
        """The content goes on, with the text of the block `at` this index."""
        self.meaningful = True
        if at != self._at:
            self._at, self._from = at, self._length
        self._length += len(text)

    def _notes_of(self, at: int) -> Notes:
        notes = self._notes.get(at)
        if notes is None:
            self._check_open()
            notes = self._notes[at] = Notes(self._from if at == self._at else self._length)
        return notes

    def _fragment(self, at: int, text: str) -> int | None:
        """The number of the tool whose arguments go on; None: there is nothing to say. Raises BadAnswer."""
        number = self._tools.get(at)
        if number is None and at not in self._server_tools:
            raise garbled("contentBlockDelta: arguments of a tool that has not begun")
        if number is None or not text:
            return None
        self._silent_tools.discard(at)
        self.meaningful = True
        return number

    def _block_stop(self, payload: bytes) -> Sequence[Part]:
        at = read(BLOCK_STOP, payload, "contentBlockStop").content_block_index
        parts = self._noted(at) if at in self._notes else []
        if at not in self._silent_tools:
            return parts
        self._silent_tools.discard(at)
        self._check_open()
        arguments = {"index": self._tools[at], "function": {"arguments": "{}"}}
        return [*parts, self._chunk({"tool_calls": [arguments]})]

    def _noted(self, at: int) -> list[Part]:
        """A block has ended of which there is something to tell beside its text."""
        delta = self._notes.pop(at).delta(self._length, self._told)
        if not delta:
            return []
        self.meaningful = True
        return self._begin([self._chunk(delta)])

    def _message_stop(self, payload: bytes) -> Sequence[Part]:
        self._check_open()
        stop = read(MESSAGE_STOP, payload, "messageStop")
        reason = self.stop_reason = stop.stop_reason
        check_stop(reason)
        self.meaningful = True
        parts = self._begin([part for at in sorted(self._notes) for part in self._noted(at)])
        last = self._chunk({}, finish_reason(reason, called=bool(self._tools)))
        fields = stop.additional_model_response_fields
        if fields is not None:
            told = any_json(bytes(fields), "additionalModelResponseFields")
            last.payload["additional_model_response_fields"] = told
        parts.append(last)
        self._stopped = True
        return [*parts, *self._end()] if self._measured else parts

    def _metadata(self, payload: bytes) -> Sequence[Part]:
        told = read(METADATA, payload, "metadata")
        if self._measured:
            return ()
        self._measured = True
        if told.usage is not None:
            self.usage = told.usage.counts()
        if told.service_tier is not None and told.service_tier.type in TIERS:
            self._last["service_tier"] = told.service_tier.type
        if told.trace is not None:
            self._last["trace"] = any_json(bytes(told.trace), "trace")
        return self._end() if self._stopped else ()

    def _end(self) -> list[Part]:
        """Bedrock has stopped, and has told the usage."""
        self.complete = True
        payload: dict[str, Any] = {**self._head, "choices": [], **self._last}
        if self._include_usage:
            payload["usage"] = None if self.usage is None else usage_object(self.usage)
        if payload.get("usage") is None and "trace" not in payload:
            return []
        return [Part(PartKind.EVENT, "", payload)]

    def _check_open(self) -> None:
        if self._stopped:
            raise garbled("content behind messageStop")

    def _begin(self, parts: list[Part]) -> list[Part]:
        """`parts`, and the role before them where it has not been told yet."""
        if self._begun:
            return parts
        self._begun = True
        return [self._chunk({"role": "assistant", "content": "", "refusal": None}), *parts]

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> Part:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        payload = {**self._head, "choices": [choice]}
        if self._include_usage:
            payload["usage"] = None
        return Part(PartKind.EVENT, "", payload)
