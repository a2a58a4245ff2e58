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
    BLOCK_DELTA,
    NOT_JSON,
    Answer,
    ContentBlockDelta,
    MessageStop,
    Metadata,
    ToolUseStart,
    any_json,
    encoded,
    garbled,
    read,
)
from stargate_core.dialects.converse_stream import ConverseTranslation
from stargate_core.dialects.face import Part, PartKind, Request
from stargate_core.dialects.openai_chat_answer import (
    TIERS,
    chat_completion,
    finish_reason,
    head,
    usage_object,
)
from stargate_core.dialects.openai_chat_blocks import Notes
from stargate_core.dialects.openai_errors import in_band
from stargate_core.faults import Fault
from stargate_core.wire.frames import Frame

DONE: Final = b"data: [DONE]\n\n"
KEEP_ALIVE: Final = b": keep-alive\n\n"

_encode: Final = msgspec.json.Encoder().encode
_decode_delta: Final = BLOCK_DELTA.decode


class ChatTranslator(ConverseTranslation):
    """One answer. See `Translator` for the members."""

    __slots__ = (
        "_argument_head",
        "_at",
        "_from",
        "_head",
        "_include_usage",
        "_lead",
        "_length",
        "_model",
        "_names",
        "_notes",
        "_request",
        "_server_tools",
        "_silent_tools",
        "_tail",
        "_text_head",
        "_thought_head",
        "_told",
        "_tools",
    )

    def __init__(
        self, request: Request, model: str, names: dict[str, str], *, stream: bool, include_usage: bool
    ) -> None:
        super().__init__()
        self._request = request
        self._model = model
        self._names = names
        self._include_usage = include_usage
        self._tools: dict[int, int] = {}
        self._silent_tools: set[int] = set()
        self._server_tools: set[int] = set()
        self._notes: dict[int, Notes] = {}
        self._told: dict[str, int] = {}
        self._length = 0  # of the content so far, in characters
        self._at = -1  # the block whose text came last
        self._from = 0  # where in the content that text begins
        if stream:
            self._head = head(request, model, "chat.completion.chunk")
            self._lead = b"data: " + _encode(self._head)[:-1] + b',"choices":[{"index":0,"delta":'
            usage = b',"usage":null' if include_usage else b""
            self._tail = b'},"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"
            self._text_head = self._lead + b'{"content":'
            self._thought_head = self._lead + b'{"reasoning_content":'
            self._argument_head = self._lead + b'{"tool_calls":[{"index":'

    def frame(self, frame: Frame) -> bytes:
        """`parts` and `render` in one. Raises BadAnswer likewise."""
        if frame.name != "contentBlockDelta" or not self._begun or self._stop is not None:
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

    def finish(self) -> bytes:
        """The dialect's closing bytes."""
        return DONE

    def broken(self, fault: Fault) -> bytes:
        """The in-band error that ends a stream whose status line is already out."""
        return in_band(fault)

    def keepalive(self) -> bytes:
        """A comment: clients of server-sent events skip it."""
        return KEEP_ALIVE

    def _whole(self, answer: Answer) -> Part:
        completion = chat_completion(answer, self._request, self._model, self._names)
        return Part(PartKind.ANSWER, "", completion)

    def _opening(self) -> list[Part]:
        return [self._chunk({"role": "assistant", "content": "", "refusal": None})]

    def _call(self, at: int, tool: ToolUseStart) -> Sequence[Part]:
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
        return [*self._begin(), self._chunk({"tool_calls": [call]})]

    def _delta(self, event: ContentBlockDelta) -> Sequence[Part]:
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
        return [*self._begin(), self._chunk(content)]

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

    def _block_stop(self, at: int) -> Sequence[Part]:
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
        return [*self._begin(), self._chunk(delta)]

    def _closing(self, stop: MessageStop) -> Sequence[Part]:
        noted = [part for at in sorted(self._notes) for part in self._noted(at)]
        last = self._chunk({}, finish_reason(stop.stop_reason, called=bool(self._tools)))
        fields = stop.additional_model_response_fields
        if fields is not None:
            told = any_json(bytes(fields), "additionalModelResponseFields")
            last.payload["additional_model_response_fields"] = told
        return [*noted, last]

    def _ended(self, stop: MessageStop, metadata: Metadata) -> Sequence[Part]:
        payload: dict[str, Any] = {**self._head, "choices": []}
        tier, trace = metadata.service_tier, metadata.trace
        if tier is not None and tier.type in TIERS:
            payload["service_tier"] = tier.type
        if trace is not None:
            payload["trace"] = any_json(bytes(trace), "trace")
        if self._include_usage:
            payload["usage"] = None if self.usage is None else usage_object(self.usage)
        if payload.get("usage") is None and trace is None:
            return ()
        return [Part(PartKind.EVENT, "", payload)]

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> Part:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        payload = {**self._head, "choices": [choice]}
        if self._include_usage:
            payload["usage"] = None
        return Part(PartKind.EVENT, "", payload)
