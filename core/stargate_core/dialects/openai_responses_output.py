"""The output of a response: Converse's blocks as OpenAI's items, growing piece by piece.

`Output` is told what the model says, block by block, and answers each step with the events that tell it to
OpenAI's clients. A whole answer goes the same way, its blocks in one piece each and its events unused: so a
stream's last word and a whole answer are the same by construction.

    texts, with or without citations    `message`, one `output_text`
    a thought                           `reasoning`, its text as `summary`
    a tool the caller is to run         `function_call`

Rules that don't show in the code:

- Texts in a row are one message with one text: Claude cuts a text where a citation begins and ends, and a
  client that parses an answer as JSON parses each `output_text` by itself. A thought or a call ends the
  message; a text behind it begins another. So a message is done when the next thing begins, or the whole
  answer ends, and only then is it known whether it is complete.
- Items are numbered in the order in which they begin, densely. Their ids are made of the request's id and
  that number. A call's `id` is the item's; `call_id` is the model's own, and what its result refers to.
- A call without arguments gets `{}`, as a delta too, so that the deltas make up what is done.
- Arguments that are no JSON when their block ends were cut off: the item is `incomplete`, and `cut` says so.
- A citation of the web is a `url_citation`, of the text its block has. Others (documents, search results)
  have no form in OpenAI's closed set of annotations; they stand beside it in `citations`, in Bedrock's own
  words with the place in the text. They come with the text's `done`.
- Empty texts are no items. What Bedrock runs by itself is not the caller's, and no item.
- What a reasoning item bears for the next turn is in `openai_responses_thoughts`.

Sources: openai-python src/openai/types/responses/response_output_item.py, response_stream_event.py; recorded
streams.
"""

import binascii
from collections.abc import Mapping
from typing import Any, ClassVar, Final, TypeAlias

import msgspec

from stargate_core.dialects.converse import (
    NOT_JSON,
    Citation,
    ContentBlock,
    Delta,
    ReasoningDelta,
    ToolUseStart,
    garbled,
)
from stargate_core.dialects.openai_chat_blocks import cited
from stargate_core.dialects.openai_responses_thoughts import Sealed, seal
from stargate_core.secret import Private

Json: TypeAlias = dict[str, Any]

_encode: Final = msgspec.json.Encoder().encode
_ANY: Final = msgspec.json.Decoder(msgspec.Raw)


class _Item(Private, msgspec.Struct, kw_only=True):
    """An item that has begun."""

    SHOWN: ClassVar[tuple[str, ...]] = ("item_id",)

    at: int
    """Its place in the output."""
    item_id: str
    pieces: list[str] = msgspec.field(default_factory=list[str])
    head: bytes = b""
    """Of an event that tells one more piece: what stands before the piece,"""
    tail: bytes = b""
    """and what stands behind it, up to the sequence number."""

    @property
    def text(self) -> str:
        """All of it so far."""
        return "".join(self.pieces)


class _Message(_Item, kw_only=True):
    block: int
    """The block that is telling now,"""
    begins: int = 0
    """and where in the text it begins."""
    length: int = 0
    pending: list[Citation] = msgspec.field(default_factory=list[Citation])
    """Its citations, which wait for its end."""
    annotations: list[Json] = msgspec.field(default_factory=list[Json])
    citations: list[Json] = msgspec.field(default_factory=list[Json])


class _Call(_Item, kw_only=True):
    call_id: str
    name: str


class _Thought(_Item, kw_only=True):
    signature: str = ""
    redacted: list[str] = msgspec.field(default_factory=list[str])


class Output:
    """One answer's items. request_id: what their ids are made of. names: Bedrock's name of a tool to the
    caller's.
    """

    __slots__ = ("_calls", "_items", "_message", "_names", "_request_id", "_servers", "_thoughts", "cut")

    def __init__(self, request_id: str, names: Mapping[str, str]) -> None:
        self.cut = False
        """Whether a call's arguments ended before they were JSON."""
        self._request_id = request_id
        self._names = names
        self._items: list[Json | None] = []
        self._message: _Message | None = None
        self._calls: dict[int, _Call] = {}
        self._thoughts: dict[int, _Thought] = {}
        self._servers: set[int] = set()

    @property
    def items(self) -> list[Json]:
        """The items that are done, in order."""
        return [item for item in self._items if item is not None]

    # ------------------------------------------------------------------------------------------- what is said

    def more(self, block: int, delta: Delta) -> tuple[bytes, str, bytes] | None:
        """One more piece of an item that is under way: how its event begins, the piece, how it goes on.

        None where more is to be said than that, or nothing at all, or where the item is yet to begin.
        """
        item: _Item | None
        if delta.text is not None:
            piece, item = delta.text, self._message
            if not piece or item is None or item.block != block:
                return None
            item.length += len(piece)
        elif delta.tool_use is not None:
            piece, item = delta.tool_use.input, self._calls.get(block)
        elif delta.reasoning_content is not None:
            thought = delta.reasoning_content
            piece, item = thought.text or "", self._thoughts.get(block)
            if item is None or not item.pieces or thought.signature or thought.redacted_content:
                return None
        else:
            return None
        if item is None or not piece:
            return None
        item.pieces.append(piece)
        return item.head, piece, item.tail

    def say(self, block: int, delta: Delta) -> list[Json]:
        """A fragment of a block; the events that tell it. Raises BadAnswer."""
        if delta.text is not None:
            return self._text(block, delta.text)
        if delta.tool_use is not None:
            return self._arguments(block, delta.tool_use.input)
        if delta.reasoning_content is not None:
            return self._think(block, delta.reasoning_content)
        return [] if delta.citation is None else self._cite(block, delta.citation)

    def call(self, block: int, tool: ToolUseStart) -> list[Json]:
        """A tool call begins."""
        if not tool.is_callers:
            self._servers.add(block)
            return []
        events = [*self.stop(block), *self._end_message()]
        name = self._names.get(tool.name, tool.name)
        call = _Call(**self._next("fc"), call_id=tool.tool_use_id, name=name)
        event: Json = {"type": "response.function_call_arguments.delta", **_place(call)}
        call.head, call.tail = _around(event, b"")
        self._calls[block] = call
        events.append(_added(call, _call_item(call, "", "in_progress")))
        return events

    def stop(self, block: int) -> list[Json]:
        """A block has ended; of one that is not known, nothing."""
        # One block is one thing, but nothing breaks where it is told to be two.
        events: list[Json] = []
        call = self._calls.pop(block, None)
        if call is not None:
            events += self._end_call(call)
        thought = self._thoughts.pop(block, None)
        if thought is not None:
            events += self._end_thought(thought)
        if self._message is not None and self._message.block == block:
            events += self._note(self._message)
        return events

    def whole(self, block: int, content: ContentBlock) -> None:
        """A block in one piece. Raises BadAnswer."""
        if content.text is not None:
            self._text(block, content.text)
        elif content.tool_use is not None:
            use = content.tool_use
            self.call(block, ToolUseStart(use.tool_use_id, use.name, use.type))
            self._arguments(block, _compact(use.input) if use.is_callers else "")
        elif content.reasoning_content is not None:
            thought = content.reasoning_content
            said = thought.reasoning_text
            signature = said.signature if said is not None else None
            text = said.text if said is not None else None
            self._think(block, ReasoningDelta(text, signature, thought.redacted_content))
        elif content.citations_content is not None:
            for citation in content.citations_content.citations or ():
                self._cite(block, citation)
            for piece in content.citations_content.content or ():
                self._text(block, piece.text or "")
        self.stop(block)

    def close(self, *, incomplete: bool) -> list[Json]:
        """The answer has ended. incomplete: before the model had come to its own end."""
        events: list[Json] = []
        for block in sorted({*self._calls, *self._thoughts}):
            events += self.stop(block)
        return events + self._end_message("incomplete" if incomplete else "completed")

    # ----------------------------------------------------------------------------------------------- messages

    def _text(self, block: int, text: str) -> list[Json]:
        if not text:
            return []
        message, events = self._in_message(block)
        message.pieces.append(text)
        message.length += len(text)
        delta: Json = {"type": "response.output_text.delta", **_place(message), "content_index": 0}
        return [*events, {**delta, "delta": text, "logprobs": []}]

    def _cite(self, block: int, citation: Citation) -> list[Json]:
        message, events = self._in_message(block)
        message.pending.append(citation)
        return events

    def _in_message(self, block: int) -> tuple[_Message, list[Json]]:
        """The message that the block's text belongs to, and what must be told before it."""
        message = self._message
        if message is not None:
            if message.block == block:
                return message, []
            events = self._note(message)
            message.block, message.begins = block, message.length
            return message, events
        self._message = message = _Message(**self._next("msg"), block=block)
        event: Json = {"type": "response.output_text.delta", **_place(message), "content_index": 0}
        message.head, message.tail = _around(event, b',"logprobs":[]')
        part: Json = {"type": "response.content_part.added", **_place(message), "content_index": 0}
        return message, [
            _added(message, _message_item(message, [], "in_progress")),
            {**part, "part": _output_text("", [])},
        ]

    def _note(self, message: _Message) -> list[Json]:
        """The citations of the block that has ended."""
        events: list[Json] = []
        try:
            annotations, others = cited(message.pending, message.begins, message.length)
        except RecursionError:
            raise garbled("citation: nested too deeply") from None
        for told in annotations:
            note: Json = {"type": "url_citation", **told["url_citation"]}
            event: Json = {"type": "response.output_text.annotation.added", **_place(message)}
            number = len(message.annotations)
            events.append(
                {**event, "content_index": 0, "annotation_index": number, "annotation": _copy(note)}
            )
            message.annotations.append(note)
        span = {"start_index": message.begins, "end_index": message.length}
        message.citations += [{**other, **span} for other in others]
        message.pending.clear()
        return events

    def _end_message(self, status: str = "completed") -> list[Json]:
        message = self._message
        if message is None:
            return []
        self._message = None
        events = self._note(message)
        text = message.text
        part = _output_text(text, message.annotations)
        if message.citations:
            part["citations"] = message.citations
        place = {**_place(message), "content_index": 0}
        return [
            *events,
            {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
            {"type": "response.content_part.done", **place, "part": _copy(part)},
            self._done(message, _message_item(message, [part], status)),
        ]

    # -------------------------------------------------------------------------------------------------- calls

    def _arguments(self, block: int, text: str) -> list[Json]:
        call = self._calls.get(block)
        if call is None:
            if block in self._servers:
                return []
            raise garbled("contentBlockDelta: arguments of a tool that has not begun")
        if not text:
            return []
        call.pieces.append(text)
        return [{"type": "response.function_call_arguments.delta", **_place(call), "delta": text}]

    def _end_call(self, call: _Call) -> list[Json]:
        events: list[Json] = []
        if not call.pieces:
            call.pieces.append("{}")
            events.append({"type": "response.function_call_arguments.delta", **_place(call), "delta": "{}"})
        arguments = call.text
        status = "completed"
        if not _is_json(arguments):
            status, self.cut = "incomplete", True
        done: Json = {"type": "response.function_call_arguments.done", **_place(call)}
        return [
            *events,
            {**done, "name": call.name, "arguments": arguments},
            self._done(call, _call_item(call, arguments, status)),
        ]

    # ----------------------------------------------------------------------------------------------- thoughts

    def _think(self, block: int, delta: ReasoningDelta) -> list[Json]:
        text = delta.text or ""
        if not text and not delta.signature and not delta.redacted_content:
            return []
        events: list[Json] = []
        thought = self._thoughts.get(block)
        if thought is None:
            events = self._end_message()
            thought = _Thought(**self._next("rs"))
            event: Json = {"type": "response.reasoning_summary_text.delta", **_place(thought)}
            thought.head, thought.tail = _around({**event, "summary_index": 0}, b"")
            self._thoughts[block] = thought
            events.append(_added(thought, {"id": thought.item_id, "type": "reasoning", "summary": []}))
        thought.signature += delta.signature or ""
        if delta.redacted_content:
            thought.redacted.append(delta.redacted_content)
        if not text:
            return events
        place = {**_place(thought), "summary_index": 0}
        if not thought.pieces:
            added: Json = {"type": "response.reasoning_summary_part.added", **place}
            events.append({**added, "part": {"type": "summary_text", "text": ""}})
        thought.pieces.append(text)
        return [*events, {"type": "response.reasoning_summary_text.delta", **place, "delta": text}]

    def _end_thought(self, thought: _Thought) -> list[Json]:
        events: list[Json] = []
        item: Json = {"id": thought.item_id, "type": "reasoning", "summary": []}
        if thought.pieces:
            text = thought.text
            part = {"type": "summary_text", "text": text}
            place = {**_place(thought), "summary_index": 0}
            item["summary"] = [part]
            events = [
                {"type": "response.reasoning_summary_text.done", **place, "text": text},
                {"type": "response.reasoning_summary_part.done", **place, "part": dict(part)},
            ]
        sealed = seal(Sealed(thought.signature or None, _joined(thought.redacted)))
        if sealed is not None:
            item["encrypted_content"] = sealed
        return [*events, self._done(thought, item)]

    # ---------------------------------------------------------------------------------------------------- all

    def _next(self, prefix: str) -> dict[str, Any]:
        """The place and the id of an item that begins."""
        at = len(self._items)
        self._items.append(None)
        return {"at": at, "item_id": f"{prefix}_{self._request_id}_{at}"}

    def _done(self, item: _Item, done: Json) -> Json:
        self._items[item.at] = done
        # Copied, as everything that is told more than once: a plugin may change what one event says.
        return {"type": "response.output_item.done", "output_index": item.at, "item": _copy(done)}


def _place(item: _Item) -> Json:
    return {"item_id": item.item_id, "output_index": item.at}


def _added(item: _Item, begun: Json) -> Json:
    return {"type": "response.output_item.added", "output_index": item.at, "item": begun}


def _message_item(message: _Message, content: list[Json], status: str) -> Json:
    item: Json = {"id": message.item_id, "type": "message", "status": status}
    return {**item, "role": "assistant", "content": content}


def _output_text(text: str, annotations: list[Json]) -> Json:
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}


def _call_item(call: _Call, arguments: str, status: str) -> Json:
    item: Json = {"id": call.item_id, "type": "function_call", "status": status}
    return {**item, "call_id": call.call_id, "name": call.name, "arguments": arguments}


def _copy(value: Any) -> Any:
    try:
        return msgspec.json.decode(_encode(value))
    except RecursionError:
        raise garbled("nested too deeply") from None


def _around(event: Json, behind: bytes) -> tuple[bytes, bytes]:
    """An event's bytes before its delta, and behind it up to the sequence number."""
    head = b"event: %b\ndata: %b" % (event["type"].encode(), _encode(event)[:-1])
    return head + b',"delta":', behind + b',"sequence_number":'


def _compact(source: msgspec.Raw) -> str:
    """The arguments of a call: only the white space changes, numbers keep the digits that the model wrote."""
    try:
        arguments = msgspec.json.format(bytes(source), indent=-1).decode()
    except NOT_JSON:
        raise garbled("toolUse.input: not JSON") from None
    return "" if arguments in {"null", '""'} else arguments


def _is_json(text: str) -> bool:
    try:
        _ANY.decode(text)
    except NOT_JSON:
        return False
    return True


def _joined(pieces: list[str]) -> str | None:
    """A redacted thought whose base64 has come in pieces, each of them whole base64. Raises BadAnswer."""
    if len(pieces) < 2:
        return pieces[0] if pieces else None
    try:
        data = b"".join(binascii.a2b_base64(piece, strict_mode=True) for piece in pieces)
    except ValueError:
        raise garbled("redactedContent: not base64") from None
    return binascii.b2a_base64(data, newline=False).decode()
