"""Converse's answer to one Messages request, whole or streamed, in Anthropic's form.

The rules of a stream, each of which some client relies on:

- `message_start` comes once, first. Bedrock tells no usage before the end, so it counts nothing yet.
- Every block has a start and a stop, and an index that counts the caller's blocks, densely from 0. Bedrock
  begins only tools; the start of a text or a thought is made when the first of it arrives.
- Within one block of Bedrock's the kind may not change under a client: should it, another block begins.
- A tool without arguments gets `{}` when its block ends: Bedrock sends "" or nothing.
- Empty fragments are no events.
- `messageStop` is held until Bedrock has told the usage: then `message_delta` says both, and `message_stop`
  is the end. There is no `[DONE]`.
- Tools that Bedrock runs by itself, and their results, are not the caller's to run, and no events.

A silent gap is filled with `ping`, as Anthropic does. What goes wrong inside a stream is the event `error`.

A text costs one typed decode and one encode: everything around it is made once for each block.

Sources: anthropic-sdk-python src/anthropic/types/raw_message_stream_event.py, _streaming.py,
lib/streaming/_messages.py; https://docs.anthropic.com/en/docs/build-with-claude/streaming.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from stargate_core.dialects.anthropic_converse_answer import (
    citation_object,
    head,
    message_object,
    redacted_data,
    stop_members,
    told_beside,
    usage_object,
)
from stargate_core.dialects.anthropic_errors import in_band
from stargate_core.dialects.converse import (
    BLOCK_DELTA,
    NOT_JSON,
    Answer,
    ContentBlockDelta,
    MessageStop,
    Metadata,
    ReasoningDelta,
    ToolUseStart,
    encoded,
    garbled,
    read,
)
from stargate_core.dialects.converse_stream import ConverseTranslation
from stargate_core.dialects.face import Part, PartKind, Request
from stargate_core.faults import Fault
from stargate_core.secret import Private
from stargate_core.wire.frames import Frame
from stargate_core.wire.sse import event as sse_event

PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'

_encode: Final = msgspec.json.Encoder().encode
_decode_delta: Final = BLOCK_DELTA.decode

_TEXT, _THINKING, _TOOL = "text", "thinking", "tool_use"


class _Open(Private, msgspec.Struct):
    """A block that has started."""

    kind: str
    index: int
    lead: bytes
    """What an event of a fragment begins with: up to the fragment itself."""
    silent: bool = True
    """Nothing has come of it yet."""


class ConverseTranslator(ConverseTranslation):
    """One answer. See `Translator` for the members."""

    __slots__ = (
        "_blocks",
        "_called",
        "_indices",
        "_model",
        "_names",
        "_request",
        "_server_tools",
    )

    def __init__(self, request: Request, model: str, names: Mapping[str, str], *, stream: bool) -> None:
        """names: Bedrock's name of a tool to the caller's, where they differ."""
        super().__init__()
        self._request = request
        self._model = model
        self._names = names
        if stream:
            self._called = False
            self._indices = 0
            self._blocks: dict[int, _Open] = {}
            self._server_tools: set[int] = set()

    def frame(self, frame: Frame) -> bytes:
        """`parts` and `render` in one. Raises BadAnswer likewise."""
        if frame.name != "contentBlockDelta" or self._stop is not None:
            return b"".join([self.render(part) for part in self.parts(frame)])
        try:
            event = _decode_delta(frame.payload)
        except NOT_JSON:
            event = read(BLOCK_DELTA, frame.payload, frame.name)
        block = self._blocks.get(event.content_block_index)
        if block is not None:
            # What a stream is made of: one more fragment of a block that is open.
            delta = event.delta
            said = delta.text
            if said is None and delta.tool_use is not None:
                said, kind = delta.tool_use.input, _TOOL
            else:
                kind = _TEXT
            if said and block.kind == kind:
                self.meaningful = True
                block.silent = False
                return b"%b%b}}\n\n" % (block.lead, _encode(said))
        return b"".join([self.render(part) for part in self._delta(event)])

    def render(self, part: Part) -> bytes:
        """A part of a stream, as bytes."""
        return sse_event(part.name.encode(), encoded(part.payload))

    def finish(self) -> bytes:
        """Nothing: `message_stop` was the end."""
        return b""

    def broken(self, fault: Fault) -> bytes:
        """The in-band error that ends a stream whose status line is already out."""
        return in_band(fault, self._request.request_id)

    def keepalive(self) -> bytes:
        """A ping, as Anthropic sends them."""
        return PING

    # ------------------------------------------------------------------------------------------------- events

    def _whole(self, answer: Answer) -> Part:
        message = message_object(answer, self._request, self._model, self._names)
        return Part(PartKind.ANSWER, "message", message)

    def _opening(self) -> list[Part]:
        message: dict[str, Any] = {
            **head(self._request, self._model),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_object(None),
        }
        return [_part("message_start", message=message)]

    def _call(self, at: int, tool: ToolUseStart) -> Sequence[Part]:
        if not tool.is_callers:
            self._server_tools.add(at)
            return ()
        self._check_open()
        self.meaningful = self._called = True
        use = {"type": _TOOL, "id": tool.tool_use_id, "name": self._names.get(tool.name, tool.name)}
        return [*self._begin(), *self._close(at), self._open(at, _TOOL, {**use, "input": {}})]

    def _delta(self, event: ContentBlockDelta) -> Sequence[Part]:
        delta, at = event.delta, event.content_block_index
        if delta.text is not None:
            parts = self._say(at, _TEXT, "text_delta", "text", delta.text)
        elif delta.tool_use is not None:
            parts = self._argue(at, delta.tool_use.input)
        elif delta.reasoning_content is not None:
            parts = self._think(at, delta.reasoning_content)
        elif delta.citation is not None:
            citation = citation_object(delta.citation)
            parts = [] if citation is None else self._say(at, _TEXT, "citations_delta", "citation", citation)
        else:
            return ()
        if not parts:
            return ()
        self._check_open()
        self.meaningful = True
        return [*self._begin(), *parts]

    def _argue(self, at: int, fragment: str) -> list[Part]:
        """More of a tool's arguments."""
        block = self._blocks.get(at)
        if block is None or block.kind != _TOOL:
            if at in self._server_tools:
                return []
            raise garbled("contentBlockDelta: arguments of a tool that has not begun")
        return self._say(at, _TOOL, "input_json_delta", "partial_json", fragment)

    def _think(self, at: int, thought: ReasoningDelta) -> list[Part]:
        """More of a thought, or what makes it whole, or one that can't be read."""
        if thought.redacted_content is not None:
            data = redacted_data(thought.redacted_content)
            closed = self._close(at)
            opened = self._open(at, "redacted_thinking", {"type": "redacted_thinking", "data": data})
            return [*closed, opened, *self._close(at)]
        return [
            *self._say(at, _THINKING, "thinking_delta", "thinking", thought.text),
            *self._say(at, _THINKING, "signature_delta", "signature", thought.signature),
        ]

    def _say(self, at: int, kind: str, delta: str, member: str, said: Any) -> list[Part]:
        """A fragment of a block of this kind, which is begun where it isn't open."""
        if not said:
            return []
        parts: list[Part] = []
        block = self._blocks.get(at)
        if block is None or block.kind != kind:
            empty = {"text": ""} if kind == _TEXT else {"thinking": "", "signature": ""}
            parts = [*self._close(at), self._open(at, kind, {"type": kind, **empty})]
            block = self._blocks[at]
        block.silent = False
        return [*parts, self._fragment(block.index, {"type": delta, member: said})]

    def _block_stop(self, at: int) -> Sequence[Part]:
        return self._close(at)

    def _closing(self, stop: MessageStop) -> Sequence[Part]:
        return [part for at in list(self._blocks) for part in self._close(at)]

    def _ended(self, stop: MessageStop, metadata: Metadata) -> Sequence[Part]:
        fields = stop.additional_model_response_fields
        told = stop_members(stop.stop_reason, fields, self._request, called=self._called)
        beside = told_beside(metadata.trace, fields)
        usage = usage_object(metadata.usage)
        return [_part("message_delta", delta=told, usage=usage, **beside), _part("message_stop")]

    # -------------------------------------------------------------------------------------------------- parts

    def _open(self, at: int, kind: str, block: dict[str, Any]) -> Part:
        index = self._indices
        self._indices += 1
        names = ("input_json_delta", "partial_json") if kind == _TOOL else ("text_delta", "text")
        lead = (
            b"event: content_block_delta\ndata: "
            b'{"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":'
        ) % (index, names[0].encode(), names[1].encode())
        self._blocks[at] = _Open(kind, index, lead)
        return _part("content_block_start", index=index, content_block=block)

    def _close(self, at: int) -> list[Part]:
        """The end of the block that is open there, if any."""
        block = self._blocks.pop(at, None)
        if block is None:
            return []
        stop = _part("content_block_stop", index=block.index)
        if block.kind != _TOOL or not block.silent:
            return [stop]
        return [self._fragment(block.index, {"type": "input_json_delta", "partial_json": "{}"}), stop]

    def _fragment(self, index: int, delta: dict[str, Any]) -> Part:
        return _part("content_block_delta", index=index, delta=delta)


def _part(name: str, **members: Any) -> Part:
    return Part(PartKind.EVENT, name, {"type": name, **members})
