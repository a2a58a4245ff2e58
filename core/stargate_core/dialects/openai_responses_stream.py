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

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from stargate_core.dialects.converse import (
    BLOCK_DELTA,
    NOT_JSON,
    Answer,
    ContentBlockDelta,
    MessageStop,
    Metadata,
    ToolUseStart,
    encoded,
    read,
)
from stargate_core.dialects.converse_stream import ConverseTranslation
from stargate_core.dialects.face import Ask, BadAnswer, Part, PartKind, Request
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
from stargate_core.wire.frames import Frame

Json: TypeAlias = dict[str, Any]

KEEP_ALIVE: Final = b": keep-alive\n\n"

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


class ResponsesTranslator(ConverseTranslation):
    """One answer. See `Translator` for the members."""

    __slots__ = ("_ask", "_kept", "_next", "_output", "_responder", "_told", "_told_next")

    def __init__(
        self,
        request: Request,
        model: str,
        asked: Decoded,
        names: Mapping[str, str],
        ask: Ask | None = None,
    ) -> None:
        super().__init__()
        self._ask = ask
        """Who is told what to keep of the answer."""
        self._kept = asked.raws if asked.stores else None
        """The input, if the answer is to be kept; of the rest of the request nothing is held."""
        self._responder = Responder(request, model, asked)
        self._output = Output(request.request_id, names)
        self._next = 0
        self._told: list[Any] = []
        """The items that the caller was told are done: as plugins have left them."""
        self._told_next = 0
        """The number behind the last that the caller was told, where a plugin has put events in between."""

    def frame(self, frame: Frame) -> bytes:
        """`parts` and `render` in one. Raises BadAnswer likewise."""
        if frame.name != "contentBlockDelta" or not self._begun or self._stop is not None:
            return b"".join([self.render(part) for part in self.parts(frame)])
        try:
            event = _decode_delta(frame.payload)
        except NOT_JSON:
            event = read(BLOCK_DELTA, frame.payload, frame.name)
        more = self._output.more(event.content_block_index, event.delta)
        if more is None:
            return b"".join([self.render(part) for part in self._numbered(self._delta(event))])
        number = self._next
        self._next += 1
        head, piece, tail = more
        return b"%b%b%b%d}\n\n" % (head, _encode(piece), tail, number)

    def render(self, part: Part) -> bytes:
        """A part of a stream, as bytes."""
        payload = part.payload
        told = sse(payload)
        number = payload.get("sequence_number")
        if isinstance(number, int):
            self._told_next = max(self._told_next, number + 1)
        if payload.get("type") == "response.output_item.done":
            self._told.append(payload.get("item"))
        return told

    def parts(self, frame: Frame) -> Sequence[Part]:
        """What an event frame means to the caller; an unknown name means nothing, nor does what stands behind
        the end. Raises BadAnswer.
        """
        return () if self.complete else self._numbered(super().parts(frame))

    def finish(self) -> bytes:
        """Nothing: the last event is the end."""
        return b""

    def broken(self, fault: Fault) -> bytes:
        """The in-band error that ends a stream whose status line is already out."""
        number = max(self._next, self._told_next)
        return failure_events(fault, self._responder.failed(fault, self._told), number)

    def keepalive(self) -> bytes:
        """A comment: clients of server-sent events skip it."""
        return KEEP_ALIVE

    def _whole(self, answer: Answer) -> Part:
        response = whole_response(answer, self._responder, self._output)
        self._remember(response)
        return Part(PartKind.ANSWER, "", response)

    def _opening(self) -> list[Part]:
        return _parts(
            {"type": kind, "response": self._responder.response("in_progress", [])}
            for kind in ("response.created", "response.in_progress")
        )

    def _call(self, at: int, tool: ToolUseStart) -> Sequence[Part]:
        return self._tell(self._output.call(at, tool))

    def _delta(self, event: ContentBlockDelta) -> Sequence[Part]:
        return self._tell(self._output.say(event.content_block_index, event.delta))

    def _block_stop(self, at: int) -> Sequence[Part]:
        return self._tell(self._output.stop(at))

    def _closing(self, stop: MessageStop) -> Sequence[Part]:
        events = self._output.close(incomplete=stop.stop_reason in INCOMPLETE)
        check_end(stop.stop_reason, self._output)
        return _parts(events)

    def _ended(self, stop: MessageStop, metadata: Metadata) -> Sequence[Part]:
        """The last event."""
        extras = extra_members(metadata.trace, stop.additional_model_response_fields)
        items, tier = self._output.items, metadata.service_tier
        response = self._responder.ended(stop.stop_reason, items, self.usage, tier, extras)
        self._remember(response)
        return _parts([{"type": f"response.{response['status']}", "response": response}])

    def _remember(self, response: Json) -> None:
        if self._ask is None or self._kept is None:
            return
        told, most = kept(self._kept, response["output"]), self._ask.remember_bytes_max
        if most is None or len(told) <= most:
            self._ask.remember = (response["id"], told)
        else:
            response["store"] = False

    def _tell(self, events: list[Json]) -> Sequence[Part]:
        """Events of the output, and the beginning before them where that has not been told yet."""
        if not events:
            return ()
        self._check_open()
        self.meaningful = True
        return [*self._begin(), *_parts(events)]

    def _numbered(self, parts: Sequence[Part]) -> Sequence[Part]:
        """The same, each of them with its number."""
        for part in parts:
            part.payload["sequence_number"] = self._next
            self._next += 1
        return parts


def _parts(events: Iterable[Json]) -> list[Part]:
    return [Part(PartKind.EVENT, event["type"], event) for event in events]
