"""OpenAI's responses as AWS serves them itself: the request and its answer in the very words they came in.

The runtime's host and `bedrock-mantle` both have this API for the models of some vendors, with all that
Converse has no place for: conversations that are kept, answers in the background, tools that run there. So
nothing of a request is looked at but what policy must know; its body goes as it is, under the target's name
for the model. A guardrail goes in headers. What was at URLs takes their place, for whoever serves the model
fetches nothing either.

Of an answer, the model's name is the caller's again, wherever a response object says it; all other events are
passed on as they came. A stream is complete with `response.completed` or `response.incomplete`. What has
failed (`response.failed`, `error`) becomes a fault, like an error of Bedrock's own: before anything was said
it may be tried again, and after that the caller hears it in the two events that `openai_responses_stream`
ends with. An answer that is shared among callers is kept as it came: `ResponsesWatching` hands its bytes on
and only learns from them.

Sources: openai-python src/openai/providers/bedrock.py, src/openai/types/responses/response_stream_event.py;
AWS's user guide, "Generate responses using OpenAI APIs".
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import msgspec
from msgspec import Raw

from stargate_core.dialects.converse import NOT_JSON, Count, any_json, encoded, garbled, read, token_count
from stargate_core.dialects.face import BadAnswer, Fetched, Headers, Part, PartKind, Reply, Request, Usage
from stargate_core.dialects.guardrails import MEMBER as GUARDRAIL
from stargate_core.dialects.headers import JSON_HEADERS, SSE_HEADERS, kept
from stargate_core.dialects.openai_chat_request import is_url, malformed
from stargate_core.dialects.openai_responses_answer import Json, Responder, error_object
from stargate_core.dialects.openai_responses_request import Decoded, ResponsesRequest
from stargate_core.dialects.openai_responses_stream import KEEP_ALIVE, failure_events, sse
from stargate_core.dialects.vendor_errors import vendor_fault
from stargate_core.faults import Fault
from stargate_core.secret import Private
from stargate_core.wire.frames import Frame
from stargate_core.wire.sse import data_line, event

Members: TypeAlias = dict[str, Raw]

_BEGINNINGS: Final = frozenset({"response.created", "response.in_progress", "response.queued"})
_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_TOLD: Final = _BEGINNINGS | _ENDS | {"", "error"}
"""The events that are read; all others are passed on unread."""
_ACTION: Final = "amazon-bedrock-guardrailAction"
_INTERVENED: Final = b'"INTERVENED"'
_DONE: Final = b"[DONE]"
_ID_HEADER: Final = b"x-request-id"
_NOTHING_ASKED: Final = Decoded(ResponsesRequest(), [], [], [], [], None, {}, ())

_NOBODYS: Final = Request(b"POST", b"", b"", b"", [], b"", "", 0)

_encode: Final = msgspec.json.Encoder().encode
_OBJECT: Final = msgspec.json.Decoder(Members)


class _Details(msgspec.Struct):
    cached_tokens: Count = 0
    cache_write_tokens: Count = 0


class _Usage(msgspec.Struct):
    input_tokens: Count = 0
    output_tokens: Count = 0
    input_tokens_details: _Details | None = None

    def counts(self) -> Usage:
        """The same, as everybody else knows it: what was cached is no part of the input."""
        details = self.input_tokens_details or _Details()
        cached, written = token_count(details.cached_tokens), token_count(details.cache_write_tokens)
        fresh = max(0, token_count(self.input_tokens) - cached - written)
        return Usage(fresh, token_count(self.output_tokens), cached, written)


class _Reason(Private, msgspec.Struct):
    reason: str | None = None


class _Ending(Private, msgspec.Struct):
    """What is to be known of a response."""

    status: str | None = None
    error: Any = None
    incomplete_details: _Reason | None = None
    usage: _Usage | None = None


_ENDING: Final = msgspec.json.Decoder(_Ending)


class PassedPart(Part):
    """A part that remembers the bytes it was made of."""

    raw: bytes = b""
    seen: bytes = b""
    """Its payload, encoded before any plugin saw it."""


def passed_body(body: bytes, model: str, fetched: Mapping[str, Fetched]) -> bytes:
    """The body of the same request to the target's model. fetched: what takes the place of URLs. Raises
    Refused.
    """
    try:
        members = _OBJECT.decode(body)
        members.pop(GUARDRAIL, None)
        members["model"] = Raw(_encode(model))
        if fetched and "input" in members:
            told = msgspec.json.decode(members["input"])
            members["input"] = Raw(_encode(_brought(told, fetched)))
    except NOT_JSON as error:
        raise malformed(error) from None  # It has been read before, but not to its last number and depth.
    return _encode(members)


def _brought(value: Any, fetched: Mapping[str, Fetched]) -> Any:
    """The same, with what was found at URLs in the place where they were."""
    if isinstance(value, list):
        return [_brought(member, fetched) for member in cast("Sequence[Any]", value)]
    if not isinstance(value, dict):
        return value
    members = {name: _brought(member, fetched) for name, member in cast("Json", value).items()}
    for name, becomes in (("image_url", "image_url"), ("file_url", "file_data")):
        url = members.get(name)
        found = fetched.get(url) if isinstance(url, str) and is_url(url) else None
        if found is not None:
            del members[name]
            members[becomes] = f"data:{found.content_type};base64,{msgspec.to_builtins(found.data)}"
            if becomes == "file_data":
                # OpenAI takes no document without a name.
                members.setdefault("filename", cast("str", url).rpartition("/")[2] or "document")
    return members


class ResponsesPassing:
    """One answer of the API itself: its frames are server-sent events. See `Translator` for the members.

    model: what the caller has called it; '' where it has not, and the model's own name may stay.
    """

    __slots__ = (
        "_last",
        "_model",
        "_next",
        "_request",
        "_told_next",
        "complete",
        "intervened",
        "meaningful",
        "raw",
        "stop_reason",
        "usage",
    )

    def __init__(self, request: Request, model: str) -> None:
        self.complete = False
        self.meaningful = False
        self.stop_reason: str | None = None
        self.usage: Usage | None = None
        self.raw = False
        self.intervened = False
        """A guardrail has blocked or masked something."""
        self._request = request
        self._model = model
        self._last: Members | None = None
        """The response as it was last told."""
        self._next = 0
        self._told_next = 0
        """The number behind the last that the caller was told, where a plugin has put events in between."""

    # ----------------------------------------------------------------------------------------- a whole answer

    def answer(self, headers: Headers, body: bytes) -> Part:
        """A whole 200 answer. Raises BadAnswer where it isn't a response, or one that has failed."""
        members = read(_OBJECT, body, "the response")
        if _text(members.get("object")) != "response":
            if "error" in members:
                raise BadAnswer(vendor_fault(any_json(bytes(members["error"]), "error"), 200))
            raise garbled("the answer is no response of OpenAI's")
        told = _encode(members) if self._learn(body, members, 200) else body
        payload = any_json(told, "the response")
        self.complete = self.meaningful = True
        return PassedPart(PartKind.ANSWER, "", payload, raw=told, seen=encoded(payload))

    def render_answer(self, part: Part, upstream_headers: Headers) -> Reply:
        """The HTTP answer that carries the part: its own bytes, unless a plugin has changed it."""
        return Reply(200, self._kept(JSON_HEADERS, upstream_headers), _now(part) or encoded(part.payload))

    # ----------------------------------------------------------------------------------------------- a stream

    def stream_headers(self, upstream_headers: Headers) -> Headers:
        """The headers of a streamed 200 answer."""
        return self._kept(SSE_HEADERS, upstream_headers)

    def frame(self, frame: Frame) -> bytes:
        """`parts` and `render` in one. Raises BadAnswer likewise."""
        if self.complete or frame.payload == _DONE:
            return b""
        return self._event(frame)[1]

    def parts(self, frame: Frame) -> Sequence[Part]:
        """The event in a frame. Raises BadAnswer."""
        if self.complete or frame.payload == _DONE:
            return ()
        told, raw = self._event(frame)
        try:
            payload = msgspec.json.decode(told)
        except NOT_JSON:
            payload = None  # Nobody has read it, and nobody can change it.
        return (PassedPart(PartKind.EVENT, frame.name, payload, raw=raw, seen=encoded(payload)),)

    def render(self, part: Part) -> bytes:
        """An event: its own bytes, unless a plugin has changed it."""
        told = _now(part)
        if told:
            return told
        event: Json = part.payload
        number = event.get("sequence_number")
        if isinstance(number, int):
            self._told_next = max(self._told_next, number + 1)
        return sse(event)

    def finish(self) -> bytes:
        """Nothing: the last event is the end."""
        return b""

    def broken(self, fault: Fault) -> bytes:
        """The in-band error that ends a stream whose status line is already out."""
        return failure_events(fault, self._failed(fault), max(self._next, self._told_next))

    def keepalive(self) -> bytes:
        """A comment: clients of server-sent events skip it."""
        return KEEP_ALIVE

    def _event(self, frame: Frame) -> tuple[bytes, bytes]:
        """What an event says now, and its bytes. Raises BadAnswer."""
        told, raw = frame.payload, frame.raw
        if frame.name in _TOLD:
            changed = self._read(frame)
            if changed is not None:
                told = changed
                raw = event(frame.name.encode(), told) if frame.name else data_line(told)
        else:
            self.meaningful = True
        self._next += 1
        return told, raw

    def _read(self, frame: Frame) -> bytes | None:
        """Learn from an event; what it must say instead, if anything. Raises BadAnswer."""
        members = read(_OBJECT, frame.payload, frame.name or "an event")
        kind = frame.name or _text(members.get("type"))
        if kind == "error" or (not kind and "error" in members):
            nested = members.get("error")
            told = any_json(frame.payload if nested is None else bytes(nested), "error")
            raise BadAnswer(vendor_fault(told, 0))
        ends = kind in _ENDS
        if not ends and kind not in _BEGINNINGS:
            self.meaningful = True
            return None
        body = bytes(members.get("response", b"null"))
        response = read(_OBJECT, body, kind)
        changed = self._learn(body, response, 0)
        self._last = response
        if ends:
            self.complete = self.meaningful = True
        if not changed:
            return None
        members["response"] = Raw(_encode(response))
        return _encode(members)

    def _learn(self, body: bytes, response: Members, status: int) -> bool:
        """Read a response, and name its model as the caller does; whether that has changed it. Raises
        BadAnswer where it has failed.
        """
        ending = read(_ENDING, body, "the response")
        if ending.status == "failed" or ending.error is not None:
            raise BadAnswer(vendor_fault(ending.error, status))
        if ending.usage is not None:
            self.usage = ending.usage.counts()
        if ending.incomplete_details is not None and ending.incomplete_details.reason is not None:
            self.stop_reason = ending.incomplete_details.reason
        elif ending.status is not None:
            # Also of an answer that is still to come (`queued`): it is none to be kept for others.
            self.stop_reason = ending.status
        self.intervened = self.intervened or bytes(response.get(_ACTION, b"")) == _INTERVENED
        if not self._model or "model" not in response:
            return False
        response["model"] = Raw(_encode(self._model))
        return True

    def _failed(self, fault: Fault) -> Json:
        """The response that came to nothing, as far as it was told."""
        if self._last is not None:
            try:
                told: Json = msgspec.json.decode(_encode(self._last))
            except NOT_JSON:
                pass  # Somewhere inside; only what had to be known of it has been read.
            else:
                return {**told, "status": "failed", "error": error_object(fault)}
        return Responder(self._request, self._model, _NOTHING_ASKED).failed(fault, [])

    def _kept(self, ours: Sequence[tuple[bytes, bytes]], upstream_headers: Headers) -> Headers:
        return list(ours)


class ResponsesWatching(ResponsesPassing):
    """The same, handed on byte for byte."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(_NOBODYS, "")
        self.raw = True

    def frame(self, frame: Frame) -> bytes:
        """The event's own bytes, also behind the last. Raises BadAnswer where it is an error."""
        super().frame(frame)
        return frame.raw

    def broken(self, fault: Fault) -> bytes:
        """Nothing: whoever shares the answer tells the fault in words of its own."""
        return b""

    def keepalive(self) -> bytes:
        """Nothing: whoever shares the answer has its own."""
        return b""

    def _kept(self, ours: Sequence[tuple[bytes, bytes]], upstream_headers: Headers) -> Headers:
        return kept(upstream_headers, _ID_HEADER)


def _now(part: Part) -> bytes:
    """The bytes that a part was made of; empty where a plugin has changed it, or made it."""
    return part.raw if isinstance(part, PassedPart) and encoded(part.payload) == part.seen else b""


def _text(raw: Raw | None) -> str:
    try:
        return "" if raw is None else msgspec.json.decode(raw, type=str)
    except NOT_JSON:
        return ""
