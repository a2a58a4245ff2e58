"""Bedrock's answer, handed on to a caller who speaks Bedrock.

A frame whose checksums were verified is relayed byte for byte; what happens here is watching: has the
model stopped, what has it used, has the stream come to its own end. That end is different for each
operation:

    ConverseStream     messageStop, then metadata
    InvokeModel…       of Anthropic's bodies: message_stop
                       of all others: the chunk that bears `amazon-bedrock-invocationMetrics`;
                       where a guardrail has blocked the prompt, the only chunk, which has none

A guardrail that only masks says INTERVENED in every chunk, so that word alone is no end: the blocked prompt's
chunk also bears a last chunk's count or reason, or the guardrail's trace.

Chunks wrap the model's own JSON in base64. They are unwrapped (the decoder does it while it reads),
searched for the few words that only telling chunks bear, and parsed only when one is found: three or four
times in a stream.

Where a plugin looks at an answer it gets the JSON, without wrapping and padding, and what it leaves is
wrapped again with good checksums. An answer that no plugin has changed keeps its own bytes, spaces and
all.

An error inside a stream is an exception frame. SDKs raise only what the operation's model lists, so every
fault is told as one of those.

Sources: botocore's bedrock-runtime model (ConverseStreamOutput, ResponseStream); recorded streams of five
families.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import msgspec

from stargate_core.aws.exceptions import STREAM_EXCEPTIONS
from stargate_core.aws.operations import Operation
from stargate_core.dialects.converse import ANSWER, MESSAGE_STOP, METADATA, NOT_JSON, any_json, token_count
from stargate_core.dialects.face import Headers, Part, PartKind, Reply, Usage
from stargate_core.dialects.headers import kept
from stargate_core.faults import Blame, Fault
from stargate_core.secret import Private
from stargate_core.wire.eventstream import encode_event, encode_exception
from stargate_core.wire.frames import Frame

METRICS: Final = "amazon-bedrock-invocationMetrics"
GUARDRAIL_ACTION: Final = "amazon-bedrock-guardrailAction"
INTERVENED: Final = "INTERVENED"
_INVOKES: Final = frozenset({Operation.INVOKE_MODEL, Operation.INVOKE_MODEL_WITH_RESPONSE_STREAM})
_COUNT_HEADERS: Final = (
    b"x-amzn-bedrock-input-token-count",
    b"x-amzn-bedrock-output-token-count",
    b"x-amzn-bedrock-cache-read-input-token-count",
    b"x-amzn-bedrock-cache-write-input-token-count",
)
_STOPS: Final = ("stop_reason", "finish_reason", "completionReason")
_BLOCKED_ENDS: Final = (*_STOPS, "totalOutputTextTokenCount", "amazon-bedrock-trace")
_NOT_MEANINGFUL: Final = (b'{"type":"message_start"', b'{"type":"ping"', b'{"messageStart"')

_TOLD_AS: Final = {
    "ModelErrorException": "ModelStreamErrorException",
    "ModelTimeoutException": "ModelStreamErrorException",
    "ModelNotReadyException": "ServiceUnavailableException",
    "ServiceQuotaExceededException": "ServiceUnavailableException",
}
"""Exceptions that a stream has no member for, and the nearest that it has."""

Members: TypeAlias = Mapping[str, Any]
_encode: Final = msgspec.json.Encoder().encode


class _Chunk(Private, msgspec.Struct):
    bytes: bytes
    p: str | None = None


_CHUNK: Final = msgspec.json.Decoder(_Chunk)
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


class NativePart(Part):
    """A part that remembers the bytes it was made of."""

    raw: bytes = b""
    seen: bytes = b""
    """Of an answer: its payload, encoded before any plugin saw it."""
    padding: str | None = None
    """Bedrock's padding, which hides the length of what was said; it goes back on."""
    content_type: str = "application/json"


class NativeTranslator:
    """One answer. See `Translator` for the members."""

    __slots__ = (
        "_anthropic",
        "_invokes",
        "_measured",
        "_operation",
        "_stopped",
        "complete",
        "intervened",
        "meaningful",
        "raw",
        "stop_reason",
        "usage",
    )

    def __init__(self, operation: Operation) -> None:
        self.complete = False
        self.meaningful = False
        self.stop_reason: str | None = None
        self.usage: Usage | None = None
        self.raw = True
        self.intervened = False
        """A guardrail has blocked or masked something; of InvokeModel, where no stop reason tells it."""
        self._operation = operation
        self._invokes = operation in _INVOKES
        self._anthropic = False
        self._stopped = False
        self._measured = False

    # ----------------------------------------------------------------------------------------- a whole answer

    def answer(self, headers: Headers, body: bytes) -> Part:
        """A whole 200 answer. Raises BadAnswer where Converse's is no JSON; a model's own may be anything."""
        if self._operation is Operation.INVOKE_MODEL:
            try:
                payload = msgspec.json.decode(body)
            except NOT_JSON:
                payload = None
            self._invoked(headers, payload)
        else:
            payload = any_json(body, "Bedrock's answer")
            if self._operation is Operation.CONVERSE:
                self._conversed(body)
        self.complete = self.meaningful = True
        return NativePart(PartKind.ANSWER, "", payload, raw=body, seen=_encode(payload))

    def render_answer(self, part: Part, upstream_headers: Headers) -> Reply:
        """The answer: its own bytes, unless a plugin has changed it."""
        body = _encode(part.payload)
        if isinstance(part, NativePart) and part.seen == body:
            body = part.raw
        return Reply(200, kept(upstream_headers), body)

    def whole(self, headers: Headers, body: bytes) -> Reply:
        """`answer` and `render_answer` in one, for answers no plugin looks at. Raises BadAnswer likewise."""
        return self.render_answer(self.answer(headers, body), headers)

    def _conversed(self, body: bytes) -> None:
        try:
            answer = ANSWER.decode(body)
        except NOT_JSON:
            return  # The caller is given it as it is; only the log knows less.
        self.stop_reason = answer.stop_reason
        if answer.usage is not None:
            self.usage = answer.usage.counts()

    def _invoked(self, headers: Headers, payload: Any) -> None:
        counts = dict.fromkeys(_COUNT_HEADERS, 0)
        told = False
        for name, value in headers:
            if name in counts and value.isdigit() and len(value) < 16:
                counts[name] = int(value)
                told = True
        if told:
            self.usage = Usage(*counts.values())
        members = _object(payload)
        self._stop(members)
        self.intervened = members.get(GUARDRAIL_ACTION) == INTERVENED

    # ----------------------------------------------------------------------------------------------- a stream

    def stream_headers(self, upstream_headers: Headers) -> Headers:
        """The headers of a streamed 200 answer."""
        return kept(upstream_headers)

    def frame(self, frame: Frame) -> bytes:
        """The frame's own bytes."""
        self._watch(frame)
        return frame.raw

    def parts(self, frame: Frame) -> Sequence[Part]:
        """The frame as one part: its JSON; of a chunk, the model's own JSON inside it."""
        inner, padding = self._watch(frame)
        try:
            payload: Any = msgspec.json.decode(frame.payload if inner is None else inner)
        except NOT_JSON:
            payload = None
        if inner is None and isinstance(_object(payload).get("p"), str):
            padding = cast("dict[str, Any]", payload).pop("p")
        content_type = frame.headers.get(":content-type")
        part = NativePart(PartKind.EVENT, frame.name, payload, raw=frame.raw, padding=padding)
        if isinstance(content_type, str):
            part.content_type = content_type
        return (part,)

    def render(self, part: Part) -> bytes:
        """A frame with good checksums around what the part is now; what is no JSON stays as it came."""
        if not isinstance(part, NativePart):
            return encode_event(part.name, _encode(part.payload))
        if part.payload is None:
            return part.raw
        if part.name == "chunk" and self._invokes:
            payload: Any = {"bytes": _encode(part.payload)}
        else:
            payload = part.payload
        if part.padding is not None and isinstance(payload, dict):
            payload = {**_object(payload), "p": part.padding}
        return encode_event(part.name, _encode(payload), part.content_type)

    def finish(self) -> bytes:
        """Nothing: the last frame is the end."""
        return b""

    def broken(self, fault: Fault) -> bytes:
        """The exception frame that ends a stream whose status line is already out."""
        name = stream_exception(fault, self._operation)
        return encode_exception(name[:1].lower() + name[1:], _encode({"message": fault.text}))

    def keepalive(self) -> bytes:
        """Nothing: event streams have no word for it."""
        return b""

    def _watch(self, frame: Frame) -> tuple[bytes | None, str | None]:
        """Learn from a frame; the model's own JSON in a chunk, and its padding."""
        if not self._invokes:
            if not self.meaningful or frame.name in {"messageStop", "metadata"}:
                self._watch_converse(frame)
            return None, None
        if frame.name != "chunk":
            return None, None
        try:
            chunk = _CHUNK.decode(frame.payload)
        except NOT_JSON:
            self.meaningful = True
            return None, None
        inner = chunk.bytes
        if not self.meaningful:
            self.meaningful = not inner.startswith(_NOT_MEANINGFUL)
        if b'"message' in inner or b"amazon-bedrock-" in inner:
            self._watch_invoke(inner)
        return inner, chunk.p

    def _watch_converse(self, frame: Frame) -> None:
        name = frame.name
        if name == "messageStop":
            self._stopped = self.meaningful = True
            try:
                self.stop_reason = MESSAGE_STOP.decode(frame.payload).stop_reason
            except NOT_JSON:
                pass
        elif name == "metadata":
            self._measured = True
            try:
                usage = METADATA.decode(frame.payload).usage
                self.usage = None if usage is None else usage.counts()
            except NOT_JSON:
                pass
        elif name.startswith("contentBlock"):
            self.meaningful = True
        self.complete = self._stopped and self._measured

    def _watch_invoke(self, inner: bytes) -> None:
        try:
            members = _OBJECT.decode(inner)
        except NOT_JSON:
            return
        kind = members.get("type")
        if kind == "message_start":
            self._anthropic = True
            self._count(_members(members, "message", "usage"))
        elif kind == "message_delta":
            self._stop(_members(members, "delta"))
            self._count(_members(members, "usage"))
        elif kind == "message_stop":
            self.complete = True
        elif "messageStop" in members:
            reason = _members(members, "messageStop").get("stopReason")
            self.stop_reason = reason if isinstance(reason, str) else None
        metrics = _members(members, METRICS)
        intervened = members.get(GUARDRAIL_ACTION) == INTERVENED
        self.intervened = self.intervened or intervened
        blocked = intervened and any(members.get(name) is not None for name in _BLOCKED_ENDS)
        if (metrics or blocked) and not self._anthropic:
            self.complete = True
            self._stop(members)
        if blocked and self.stop_reason is None:
            self.stop_reason = "guardrail_intervened"
        if metrics and self.usage is None:
            # The model's own count wins: Bedrock's can differ, and it is the model's that a caller sees.
            self.usage = Usage(
                _count(metrics, "inputTokenCount"),
                _count(metrics, "outputTokenCount"),
                _count(metrics, "cacheReadInputTokenCount"),
                _count(metrics, "cacheWriteInputTokenCount"),
            )

    def _count(self, usage: Members) -> None:
        """Anthropic's usage: cumulative, and later events repeat only what has changed."""
        if not usage:
            return
        known = self.usage or Usage()
        self.usage = Usage(
            _count(usage, "input_tokens", known.input_tokens),
            _count(usage, "output_tokens", known.output_tokens),
            _count(usage, "cache_read_input_tokens", known.cache_read_tokens),
            _count(usage, "cache_creation_input_tokens", known.cache_write_tokens),
        )

    def _stop(self, members: Members) -> None:
        for name in _STOPS:
            reason = members.get(name)
            if isinstance(reason, str):
                self.stop_reason = reason
                return


def public_name(fault: Fault) -> str | None:
    """The exception that Bedrock has named, where a caller may know of it."""
    return None if fault.row.blame is Blame.GATEWAY else fault.aws_name


def stream_exception(fault: Fault, operation: Operation) -> str:
    """The exception, in PascalCase, that tells a fault inside a stream of `operation`."""
    for name in (public_name(fault), fault.row.aws_name):
        if name is None:
            continue
        timeout = name == "ModelTimeoutException"
        if name in STREAM_EXCEPTIONS and (not timeout or operation in _INVOKES):
            return name
        if name in _TOLD_AS:
            return _TOLD_AS[name]
    return "ValidationException" if fault.row.blame is Blame.CLIENT else "InternalServerException"


def _members(members: Members, *path: str) -> Members:
    """The object at a path; an empty one where there is none."""
    for name in path:
        members = _object(members.get(name))
    return members


def _object(value: Any) -> Members:
    return cast("Members", value) if isinstance(value, dict) else {}


def _count(members: Members, name: str, otherwise: int = 0) -> int:
    """A count of tokens; some come as floats."""
    value = members.get(name)
    return token_count(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise
