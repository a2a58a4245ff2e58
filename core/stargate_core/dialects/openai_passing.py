"""Chat completions as AWS itself serves them: the request and the answer are OpenAI's own, and travel as they
are.

What is changed is what only the gateway knows: which model, and by what name the caller knows it. A stream
is always asked for its usage, since the gateway counts by it; the chunk that tells it is dropped where the
caller has not asked. A guardrail goes into headers. Everything else passes, known or not.

The stream has two ends, the model's (`finish_reason`) and the transport's (`[DONE]`), and is complete with
both. Without the first it was broken off, whatever stands behind; without the second there may be more. An
event with an `error` is the failure it names (`vendor_errors`), although the status line said 200.

`ChatWatching` hands the same stream on byte for byte, for an answer that many share: each of them reads it
again, with a `ChatPassing` of its own.

Sources: openai-python src/openai/_streaming.py, src/openai/types/chat/*.py; AWS's user guide, "Use a
guardrail with the OpenAI Chat Completions API".
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import msgspec

from stargate_core.dialects.bedrock_native_answer import GUARDRAIL_ACTION, INTERVENED, NativePart
from stargate_core.dialects.converse import any_json, encoded, garbled, token_count
from stargate_core.dialects.face import BadAnswer, Headers, Part, PartKind, Reply, Usage
from stargate_core.dialects.guardrails import MEMBER
from stargate_core.dialects.headers import JSON, SSE_HEADERS, kept
from stargate_core.dialects.openai_chat_request import invalid, malformed
from stargate_core.dialects.openai_errors import in_band
from stargate_core.dialects.vendor_errors import vendor_fault
from stargate_core.faults import Fault
from stargate_core.wire.frames import Frame
from stargate_core.wire.sse import DONE, comment, data_line, event

END: Final = b"[DONE]"
_KEEP_ALIVE: Final = comment(b"keep-alive")
_OF_A_USAGE_CHUNK: Final = frozenset(
    {
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "service_tier",
        "system_fingerprint",
        "obfuscation",
    }
)
"""The members of a chunk that tells the usage and nothing else."""

Members: TypeAlias = dict[str, Any]
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OPTIONS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_encode: Final = msgspec.json.Encoder().encode


def passing_body(body: bytes, model: str, *, stream: bool) -> bytes:
    """The caller's body for `model`. Raises Refused where it is no JSON object."""
    try:
        members: dict[str, Any] = dict(_MEMBERS.decode(body))
        if stream:
            options = _OPTIONS.decode(members.get("stream_options", b"null"))
            members["stream_options"] = {**(options or {}), "include_usage": True}
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error) from None
    members.pop(MEMBER, None)
    members["model"] = model
    return _encode(members)


class _Watcher:
    """What there is to know of an answer. See `Translator` for the members."""

    __slots__ = ("_finished", "complete", "intervened", "meaningful", "stop_reason", "usage")

    def __init__(self) -> None:
        self.complete = False
        self.meaningful = False
        self.stop_reason: str | None = None
        self.usage: Usage | None = None
        self.intervened = False
        """A guardrail has blocked or masked something."""
        self._finished = False

    def _watch_answer(self, body: bytes) -> Members:
        """Learn from a whole answer. Raises BadAnswer where it is none."""
        payload = _sound(any_json(body, "OpenAI's answer"))
        if not isinstance(payload.get("choices"), list):
            raise garbled("OpenAI's answer: no choices")
        self._learn(payload)
        self.complete = self.meaningful = True
        return payload

    def _watch(self, frame: Frame) -> Members | None:
        """Learn from an event; its JSON, None for the last. Raises BadAnswer where the stream has failed."""
        if frame.payload == END:
            self.complete = self._finished
            return None
        payload = _sound(any_json(frame.payload, "an event of OpenAI's"))
        self._learn(payload)
        return payload

    def _learn(self, payload: Members) -> None:
        for choice in _list(payload.get("choices")):
            members = _object(choice)
            reason = members.get("finish_reason")
            if isinstance(reason, str):
                self.stop_reason = reason
                self._finished = self.meaningful = True
            delta = _object(members.get("delta"))
            if not self.meaningful:
                self.meaningful = any(value for name, value in delta.items() if name != "role")
        usage = payload.get("usage")
        if isinstance(usage, dict):
            self.usage = _usage(cast("Members", usage))
        if payload.get(GUARDRAIL_ACTION) == INTERVENED:
            self.intervened = True


class ChatPassing(_Watcher):
    """OpenAI's own answer to one chat request. See `Translator` for the members.

    model: the name by which the caller knows the model; None: as the answer calls it.
    """

    __slots__ = ("_include_usage", "_model", "raw")

    def __init__(self, model: str | None, *, include_usage: bool) -> None:
        super().__init__()
        self.raw = False
        self._model = model
        self._include_usage = include_usage

    def answer(self, headers: Headers, body: bytes) -> Part:
        """A whole 200 answer. Raises BadAnswer where it isn't one."""
        return Part(PartKind.ANSWER, "", self._named(self._watch_answer(body)))

    def render_answer(self, part: Part, upstream_headers: Headers) -> Reply:
        """The HTTP answer that carries the part."""
        return Reply(200, [JSON], encoded(part.payload))

    def stream_headers(self, upstream_headers: Headers) -> Headers:
        """The headers of a streamed 200 answer."""
        return list(SSE_HEADERS)

    def parts(self, frame: Frame) -> Sequence[Part]:
        """The event, in the caller's names. Raises BadAnswer where it is an error."""
        payload = self._passed(frame)
        return () if payload is None else (Part(PartKind.EVENT, frame.name, payload),)

    def render(self, part: Part) -> bytes:
        """A part of a stream, as bytes."""
        return _rendered(part.name, part.payload)

    def frame(self, frame: Frame) -> bytes:
        """`parts` and `render` in one. Raises BadAnswer likewise."""
        payload = self._passed(frame)
        return b"" if payload is None else _rendered(frame.name, payload)

    def _passed(self, frame: Frame) -> Members | None:
        """What of an event is for the caller; None where that is nothing."""
        payload = self._watch(frame)
        if payload is None:
            return None
        if not self._include_usage and "usage" in payload:
            if not payload.get("choices") and payload.keys() <= _OF_A_USAGE_CHUNK:
                return None
            del payload["usage"]
        return self._named(payload)

    def finish(self) -> bytes:
        """The dialect's closing bytes."""
        return DONE

    def broken(self, fault: Fault) -> bytes:
        """The in-band error that ends a stream whose status line is already out."""
        return in_band(fault)

    def keepalive(self) -> bytes:
        """A comment: clients of server-sent events skip it."""
        return _KEEP_ALIVE

    def _named(self, payload: Members) -> Members:
        if self._model is not None and "model" in payload:
            payload["model"] = self._model
        return payload


class ChatWatching(_Watcher):
    """An answer that is shared: passed on byte for byte, and watched. See `Translator` for the members."""

    __slots__ = ("raw",)

    def __init__(self) -> None:
        super().__init__()
        self.raw = True

    def answer(self, headers: Headers, body: bytes) -> Part:
        """A whole 200 answer. Raises BadAnswer where it isn't one: nobody is to share an error."""
        payload = self._watch_answer(body)
        return NativePart(PartKind.ANSWER, "", payload, raw=body, seen=encoded(payload))

    def render_answer(self, part: Part, upstream_headers: Headers) -> Reply:
        """The answer: its own bytes, unless a plugin has changed it."""
        body = encoded(part.payload)
        if isinstance(part, NativePart) and part.seen == body:
            body = part.raw
        return Reply(200, kept(upstream_headers), body)

    def stream_headers(self, upstream_headers: Headers) -> Headers:
        """The headers of a streamed 200 answer."""
        return kept(upstream_headers)

    def parts(self, frame: Frame) -> Sequence[Part]:
        """The event as one part. Raises BadAnswer where it is an error."""
        payload = self._watch(frame)
        return (NativePart(PartKind.EVENT, frame.name, payload, raw=frame.raw, seen=encoded(payload)),)

    def render(self, part: Part) -> bytes:
        """A part of a stream: its own bytes, unless a plugin has changed it."""
        if isinstance(part, NativePart) and part.seen == encoded(part.payload):
            return part.raw
        return _rendered(part.name, part.payload)

    def frame(self, frame: Frame) -> bytes:
        """The event's own bytes. Raises BadAnswer where it is an error."""
        self._watch(frame)
        return frame.raw

    def finish(self) -> bytes:
        """Nothing: the end has been passed on as it came."""
        return b""

    def broken(self, fault: Fault) -> bytes:
        """Nothing: each of those who share the answer is told in its own words."""
        return b""

    def keepalive(self) -> bytes:
        """Nothing: nobody but the gateway reads it."""
        return b""


def _sound(payload: Any) -> Members:
    """A payload that is an object, and no error. Raises BadAnswer."""
    if not isinstance(payload, dict):
        raise garbled("OpenAI's answer: not an object")
    members = cast("Members", payload)
    error = members.get("error")
    if error:
        raise BadAnswer(vendor_fault(error, 0))
    return members


def _rendered(name: str, payload: Any) -> bytes:
    data = encoded(payload)
    # A name that no event can have would make another event of it.
    if name and not {"\n", "\r"} & set(name):
        return event(name.encode(), data)
    return data_line(data)


def _usage(usage: Members) -> Usage:
    """Tokens as Bedrock counts them: OpenAI counts those of caches as part of the prompt."""
    details = _object(usage.get("prompt_tokens_details"))
    read, written = _count(details, "cached_tokens"), _count(details, "cache_write_tokens")
    fresh = max(0, _count(usage, "prompt_tokens") - read - written)
    return Usage(fresh, _count(usage, "completion_tokens"), read, written)


def _count(members: Mapping[str, Any], name: str) -> int:
    value = members.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return token_count(value)


def _object(value: Any) -> Members:
    return cast("Members", value) if isinstance(value, dict) else {}


def _list(value: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, list) else ()
