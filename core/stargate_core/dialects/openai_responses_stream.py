"""Converse's answer to one request for a response, whole or streamed, in OpenAI's form.

What the blocks become is told in `openai_responses_output`, and the response in `openai_responses_answer`;
here are the order of the events and their bytes.

    response.created, response.in_progress
    for each item: response.output_item.added, what fills it, response.output_item.done
    response.completed, or response.incomplete where the answer is not whole

Each event bears its name in an `event:` line and as its `type`, and a number: they are counted from 0 without
a gap. The last event has the whole response with its usage, which Bedrock tells after it has stopped; so it
waits for both, and so does `complete`. There is no `[DONE]`.

*A failure on the way* is two events, as OpenAI itself sends them: `error`, then `response.failed` with the
items that were done by then. openai-python takes both for events like any other, and a program that only
reads texts would see its stream end in silence, which looks like success; the one thing that SDK raises for
is a member `error`. OpenAI has it in this event too, though the SDK's type tells the same flat (`code`,
`message`, `param`). So the event says it both ways: the SDK raises APIError, and a reader of either form
finds it. `response.failed` is for those who go by the response's status (Codex).

A text or a fragment of arguments costs one typed decode and one encode: what stands around it is made once
for each item.

Sources: openai-python src/openai/types/responses/response_stream_event.py, src/openai/_streaming.py,
src/openai/lib/streaming/responses/_responses.py; a recorded failure of OpenAI's (SwiftAgent,
OpenAIStreamingErrorTests).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

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
    Metadata,
    check_stop,
    garbled,
    read,
)
from stargate_core.dialects.face import Ask, BadAnswer, Headers, Part, PartKind, Reply, Request, Usage
from stargate_core.dialects.openai_chat_answer import encoded
from stargate_core.dialects.openai_errors import envelope
from stargate_core.dialects.openai_responses_answer import (
    INCOMPLETE,
    Responder,
    check_end,
    extra_members,
    whole_response,
)
from stargate_core.dialects.openai_responses_kept import kept
from stargate_core.dialects.openai_responses_output import Output
from stargate_core.dialects.openai_responses_request import Decoded
from stargate_core.faults import Fault
from stargate_core.wire.eventstream import Frame

Json: TypeAlias = dict[str, Any]

KEEP_ALIVE: Final = b": keep-alive\n\n"
JSON_HEADERS: Final = ((b"content-type", b"application/json"),)
SSE_HEADERS: Final = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))

_PLAIN: Final = frozenset({"id", "created_at", "model"})
_BARE: Final[Json] = {
    "id": "",
    "object": "response",
    "created_at": 0,
    "status": "failed",
    "model": "",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
"""A response that has failed, as far as the SDKs cannot do without."""
_encode: Final = msgspec.json.Encoder().encode
_decode_delta: Final = BLOCK_DELTA.decode


def sse(event: Json) -> bytes:
    """An event as bytes, under the name that is its type; a plugin may have made anything of that. Raises
    BadAnswer where something in it is nested too deeply.
    """
    name = event.get("type")
    named = b"event: %b\n" % name.encode() if isinstance(name, str) and name.isprintable() else b""
    return b"%bdata: %b\n\n" % (named, encoded(event))


def failure_events(fault: Fault, response: Json, number: int) -> bytes:
    """The last two events of a stream that has failed; the first of them has this number."""
    told = envelope(fault)["error"]
    flat = {"code": told["code"], "message": told["message"], "param": told["param"]}
    error: Json = {"type": "error", **flat, "error": told, "sequence_number": number}
    failed: Json = {"type": "response.failed", "response": response, "sequence_number": number + 1}
    try:
        return sse(error) + sse(failed)
    except BadAnswer:
        # Perhaps what it fails for: then only what the SDKs cannot do without.
        failed["response"] = {**_BARE, **{n: v for n, v in response.items() if n in _PLAIN and _is_plain(v)}}
        failed["response"]["error"] = response["error"]
        return sse(error) + sse(failed)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


class ResponsesTranslator:
    """One answer. See `Translator` for the members."""

    __slots__ = (
        "_ask",
        "_asked",
        "_begun",
        "_metadata",
        "_next",
        "_output",
        "_responder",
        "_stop_fields",
        "_stopped",
        "complete",
        "meaningful",
        "raw",
        "stop_reason",
        "usage",
    )

    def __init__(
        self,
        request: Request,
        model: str,
        asked: Decoded,
        names: Mapping[str, str],
        ask: Ask | None = None,
    ) -> None:
        self.complete = False
        self.meaningful = False
        self.stop_reason: str | None = None
        self.usage: Usage | None = None
        self.raw = False
        self._ask = ask
        """Who is told what to keep of the answer."""
        self._asked = asked
        self._responder = Responder(request, model, asked)
        self._output = Output(request.request_id, names)
        self._begun = False
        self._stopped = False
        self._stop_fields: msgspec.Raw | None = None
        self._metadata: Metadata | None = None
        self._next = 0

    # ----------------------------------------------------------------------------------------- a whole answer

    def answer(self, headers: Headers, body: bytes) -> Part:
        """A whole 200 answer. Raises BadAnswer where it isn't one."""
        answer = read(ANSWER, body, "Converse's answer")
        self.stop_reason = answer.stop_reason
        if answer.usage is not None:
            self.usage = answer.usage.counts()
        check_stop(answer.stop_reason)
        response = whole_response(answer, self._responder, self._output)
        self.complete = self.meaningful = True
        self._remember(response)
        return Part(PartKind.ANSWER, "", response)

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
        more = self._output.more(event.content_block_index, event.delta)
        if more is None:
            return b"".join([self.render(part) for part in self._delta(event)])
        number = self._next
        self._next += 1
        head, piece, tail = more
        return b"%b%b%b%d}\n\n" % (head, _encode(piece), tail, number)

    def render(self, part: Part) -> bytes:
        """A part of a stream, as bytes."""
        return sse(part.payload)

    def parts(self, frame: Frame) -> Sequence[Part]:
        """What an event frame means to the caller; an unknown name means nothing, nor does what stands behind
        the end. Raises BadAnswer.
        """
        match "" if self.complete else frame.name:
            case "contentBlockDelta":
                return self._delta(read(BLOCK_DELTA, frame.payload, "contentBlockDelta"))
            case "contentBlockStart":
                return self._block_start(frame.payload)
            case "contentBlockStop":
                stopped = read(BLOCK_STOP, frame.payload, "contentBlockStop")
                return self._tell(self._output.stop(stopped.content_block_index))
            case "messageStart":
                return self._parts(self._begin())
            case "messageStop":
                return self._message_stop(frame.payload)
            case "metadata":
                return self._measure(frame.payload)
            case _:
                return ()

    def finish(self) -> bytes:
        """Nothing: the last event is the end."""
        return b""

    def broken(self, fault: Fault) -> bytes:
        """The in-band error that ends a stream whose status line is already out."""
        return failure_events(fault, self._responder.failed(fault, self._output.items), self._next)

    def keepalive(self) -> bytes:
        """A comment: clients of server-sent events skip it."""
        return KEEP_ALIVE

    def _block_start(self, payload: bytes) -> Sequence[Part]:
        event = read(BLOCK_START, payload, "contentBlockStart")
        tool = event.start.tool_use
        return () if tool is None else self._tell(self._output.call(event.content_block_index, tool))

    def _delta(self, event: ContentBlockDelta) -> Sequence[Part]:
        return self._tell(self._output.say(event.content_block_index, event.delta))

    def _message_stop(self, payload: bytes) -> Sequence[Part]:
        stop = read(MESSAGE_STOP, payload, "messageStop")
        reason = self.stop_reason = stop.stop_reason
        check_stop(reason)
        if self._stopped:
            raise garbled("a second messageStop")
        events = self._output.close(incomplete=reason in INCOMPLETE)
        check_end(reason, self._output)
        self._stop_fields = stop.additional_model_response_fields
        events = [*self._begin(), *events]
        self._stopped = self.meaningful = True
        return self._parts([*events, *self._end()])

    def _measure(self, payload: bytes) -> Sequence[Part]:
        metadata = read(METADATA, payload, "metadata")
        if self._metadata is not None:
            return ()
        self._metadata = metadata
        if metadata.usage is not None:
            self.usage = metadata.usage.counts()
        return self._parts(self._end())

    def _end(self) -> list[Json]:
        """The last event, once Bedrock has stopped and has told the usage."""
        told, reason = self._metadata, self.stop_reason
        if told is None or not self._stopped:
            return []
        assert reason is not None
        extras = extra_members(told.trace, self._stop_fields)
        response = self._responder.ended(reason, self._output.items, self.usage, told.service_tier, extras)
        self.complete = True
        self._remember(response)
        return [{"type": f"response.{response['status']}", "response": response}]

    def _remember(self, response: Json) -> None:
        if self._ask is not None and self._asked.stores:
            self._ask.remember = (response["id"], kept(self._asked, response["output"]))

    def _tell(self, events: list[Json]) -> Sequence[Part]:
        """Events of the output, and the beginning before them where that has not been told yet."""
        if not events:
            return ()
        if self._stopped:
            raise garbled("content behind messageStop")
        self.meaningful = True
        return self._parts([*self._begin(), *events])

    def _begin(self) -> list[Json]:
        if self._begun:
            return []
        self._begun = True
        return [
            {"type": kind, "response": self._responder.response("in_progress", [])}
            for kind in ("response.created", "response.in_progress")
        ]

    def _parts(self, events: list[Json]) -> list[Part]:
        """The events, numbered."""
        parts: list[Part] = []
        for event in events:
            event["sequence_number"] = self._next
            self._next += 1
            parts.append(Part(PartKind.EVENT, event["type"], event))
        return parts
