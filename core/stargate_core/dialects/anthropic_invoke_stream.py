"""Claude's answer, whole or streamed, on its way to a caller who speaks Anthropic's API.

What the model says is Anthropic's already, so it is relayed byte for byte. Changed are two things only:
`model`, which bears the name that the caller has used; and what Bedrock adds under names that begin with
`amazon-bedrock-`, which is read and taken out.

InvokeModelWithResponseStream wraps each event into a chunk, in base64 and with padding. Unwrapped it becomes
an SSE event under the name of its own `type`:

    {"type":"message_start","message":{…}}      ->  event: message_start
                                                     data: {"type":"message_start",…}

Most of a stream is `content_block_delta`, compact, with nothing of Bedrock's in it: such an event is told by
how it begins and is not parsed. All others are, a handful in a stream: they bear the usage, the reason to
stop, the end. The stream is complete at `message_stop`, and nothing that follows it is passed on. Events of
types that nobody here knows are relayed. An event of the message before `message_start`, or a second start,
is no stream of Anthropic's and ends in an error; so does the event `error`, in the words for that fault.

A guardrail that has blocked or masked something is told by `amazon-bedrock-guardrailAction`. For the log
that is why the model stopped. The caller is told the reason that Bedrock gives, if any, for a masked answer
is the model's own; where it gives none, `refusal`.

Claude on Bedrock sends no pings, so in silent gaps the gateway sends its own, as Anthropic does.

Sources: anthropic-sdk-python src/anthropic/_streaming.py, lib/bedrock/_stream_decoder.py,
types/raw_message_stream_event.py; recorded streams.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw

from stargate_core.dialects.anthropic_errors import in_band
from stargate_core.dialects.anthropic_invoke_blocks import OBJECT, Members, encoded, text_of
from stargate_core.dialects.bedrock_native_answer import GUARDRAIL_ACTION, INTERVENED, METRICS
from stargate_core.dialects.converse import NOT_JSON, Count, any_json, check_stop, garbled, read, token_count
from stargate_core.dialects.converse import encoded as written
from stargate_core.dialects.face import BadAnswer, Headers, Part, PartKind, Reply, Usage
from stargate_core.dialects.headers import JSON, SSE_HEADERS
from stargate_core.dialects.vendor_errors import vendor_fault
from stargate_core.faults import Fault
from stargate_core.secret import Private
from stargate_core.wire.frames import Frame
from stargate_core.wire.sse import event

PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
_ADDED: Final = "amazon-bedrock-"
_ADDED_WORD: Final = b'"amazon-bedrock-'
_DELTA: Final = b'{"type":"content_block_delta",'
_DELTA_NAME: Final = "content_block_delta"
_DELTA_HEAD: Final = b"event: content_block_delta\ndata: "
_IN_MESSAGE: Final = frozenset(
    {"content_block_start", _DELTA_NAME, "content_block_stop", "message_delta", "message_stop"}
)
_NOT_MEANINGFUL: Final = frozenset({"message_start", "ping"})
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_REFUSAL: Final = Raw(b'"refusal"')
_NULL: Final = Raw(b"null")


class _Chunk(Private, msgspec.Struct):
    bytes: bytes


class _Counts(msgspec.Struct):
    """Anthropic's usage; in a stream it is cumulative, and later events repeat only what has changed."""

    input_tokens: Count = None
    output_tokens: Count = None
    cache_read_input_tokens: Count = None
    cache_creation_input_tokens: Count = None

    def after(self, known: Usage) -> Usage:
        """The counts so far."""
        return Usage(
            _or(self.input_tokens, known.input_tokens),
            _or(self.output_tokens, known.output_tokens),
            _or(self.cache_read_input_tokens, known.cache_read_tokens),
            _or(self.cache_creation_input_tokens, known.cache_write_tokens),
        )


class _Metrics(msgspec.Struct, rename="camel"):
    """What Bedrock has counted."""

    input_token_count: Count = 0
    output_token_count: Count = 0
    cache_read_input_token_count: Count = 0
    cache_write_input_token_count: Count = 0

    def counts(self) -> Usage:
        """The same, as everybody else knows it."""
        return Usage(
            token_count(self.input_token_count),
            token_count(self.output_token_count),
            token_count(self.cache_read_input_token_count),
            token_count(self.cache_write_input_token_count),
        )


_CHUNK: Final = msgspec.json.Decoder(_Chunk)
_COUNTS: Final = msgspec.json.Decoder(_Counts | None)
_METRICS: Final = msgspec.json.Decoder(_Metrics | None)


class MessagePart(Part):
    """A part that remembers the bytes it was made of."""

    raw: bytes = b""
    seen: bytes = b""
    """Its payload, encoded before any plugin saw it."""

    def now(self) -> bytes:
        """The JSON as it is now: its own bytes, unless a plugin has changed it. Raises BadAnswer."""
        told = written(self.payload)
        return self.raw if told == self.seen else told


class MessagesTranslator:
    """One answer in Anthropic's words, however it is wrapped. See `Translator` for the members.

    model: what the caller has called it.
    """

    __slots__ = (
        "_model",
        "_request_id",
        "_started",
        "complete",
        "intervened",
        "meaningful",
        "raw",
        "stop_reason",
        "usage",
    )

    def __init__(self, request_id: str, model: str) -> None:
        self.complete = False
        self.meaningful = False
        self.stop_reason: str | None = None
        self.usage: Usage | None = None
        self.raw = False
        self.intervened = False
        """A guardrail has blocked or masked something."""
        self._request_id = request_id
        self._model: Raw | None = Raw(encoded(model))
        self._started = False

    # ----------------------------------------------------------------------------------------- a whole answer

    def answer(self, headers: Headers, body: bytes) -> Part:
        """A whole 200 answer. Raises BadAnswer where it isn't a message."""
        told = self._whole(body)
        payload = any_json(told, "the model's answer")
        self.complete = self.meaningful = True
        return MessagePart(PartKind.ANSWER, "", payload, raw=told, seen=written(payload))

    def render_answer(self, part: Part, upstream_headers: Headers) -> Reply:
        """The HTTP answer that carries the part."""
        return Reply(200, [JSON], part.now() if isinstance(part, MessagePart) else written(part.payload))

    def _whole(self, body: bytes) -> bytes:
        members = read(OBJECT, body, "the model's answer")
        kind = text_of(members.get("type"))
        if kind == "error":
            raise _error(members, 200)
        if kind != "message":
            raise garbled("the model's answer is no message of Anthropic's")
        changed = self._take_out(members)
        self._stopped(members)
        self._count(members.get("usage"))
        changed = self._name(members) or changed
        if self.intervened and members.get("stop_reason", _NULL) == _NULL:
            members["stop_reason"] = _REFUSAL
        return encoded(members) if changed else body

    # ----------------------------------------------------------------------------------------------- a stream

    def stream_headers(self, upstream_headers: Headers) -> Headers:
        """The headers of a streamed 200 answer."""
        return list(SSE_HEADERS)

    def frame(self, frame: Frame) -> bytes:
        """`parts` and `render` in one. Raises BadAnswer likewise."""
        told = self._unwrapped(frame)
        if told is None or self.complete:
            return b""
        if self._is_plain_delta(told):
            # Written out, and not by `event`: this is most of a stream.
            self.meaningful = True
            return _DELTA_HEAD + told + b"\n\n"
        name, told = self._event(told)
        return event(name.encode(), told)

    def parts(self, frame: Frame) -> Sequence[Part]:
        """The event in a frame; of frames that bear none, nothing. Raises BadAnswer."""
        told = self._unwrapped(frame)
        if told is None or self.complete:
            return ()
        if self._is_plain_delta(told):
            self.meaningful = True
            name = _DELTA_NAME
        else:
            name, told = self._event(told)
        try:
            payload = msgspec.json.decode(told)
        except NOT_JSON:
            payload = None
        return (MessagePart(PartKind.EVENT, name, payload, raw=told, seen=written(payload)),)

    def render(self, part: Part) -> bytes:
        """A part of a stream, as bytes."""
        told = part.now() if isinstance(part, MessagePart) else written(part.payload)
        return event(part.name.encode(), told)

    def finish(self) -> bytes:
        """Nothing: `message_stop` was the end."""
        return b""

    def broken(self, fault: Fault) -> bytes:
        """The in-band error that ends a stream whose status line is already out."""
        return in_band(fault, self._request_id)

    def keepalive(self) -> bytes:
        """A ping, as Anthropic sends them."""
        return PING

    def _unwrapped(self, frame: Frame) -> bytes | None:
        """The model's own JSON in a frame; None where it bears none. Raises BadAnswer."""
        return frame.payload

    # ----------------------------------------------------------------------------------------------- watching

    def _is_plain_delta(self, told: bytes) -> bool:
        """Whether an event is one of the many that are relayed unread."""
        return (
            self._started
            and told.startswith(_DELTA)
            and _ADDED_WORD not in told
            and b"\n" not in told
            and b"\r" not in told
        )

    def _event(self, told: bytes) -> tuple[str, bytes]:
        """The name of an event, and its JSON as the caller is to see it. Raises BadAnswer."""
        members = read(OBJECT, told, "an event of the model's")
        kind = text_of(members.get("type"))
        if kind is None or _NAME.fullmatch(kind) is None:
            raise garbled("an event of the model's has no type")
        if kind == "error":
            raise _error(members, 0)
        if self._started if kind == "message_start" else kind in _IN_MESSAGE and not self._started:
            raise garbled(f"{kind} where none can be")
        changed = self._take_out(members)
        match kind:
            case "message_start":
                self._started = True
                changed = self._start(members) or changed
            case "message_delta":
                changed = self._end(members) or changed
                self._count(members.get("usage"))
            case "message_stop":
                self.complete = True
            case _:
                pass
        self.meaningful = self.meaningful or kind not in _NOT_MEANINGFUL
        return kind, encoded(members) if changed else told

    def _start(self, members: Members) -> bool:
        message = read(OBJECT, bytes(members.get("message", _NULL)), "message_start")
        self._count(message.get("usage"))
        if not self._name(message):
            return False
        members["message"] = Raw(encoded(message))
        return True

    def _end(self, members: Members) -> bool:
        delta = read(OBJECT, bytes(members.get("delta", _NULL)), "message_delta")
        self._stopped(delta)
        if not self.intervened or delta.get("stop_reason", _NULL) != _NULL:
            return False
        delta["stop_reason"] = _REFUSAL
        members["delta"] = Raw(encoded(delta))
        return True

    def _name(self, message: Members) -> bool:
        """Give the message the name that the caller knows its model by."""
        if self._model is None:
            return False
        message["model"] = self._model
        return True

    def _take_out(self, members: Members) -> bool:
        """Take out what Bedrock has added, and learn from it."""
        added = [name for name in members if name.startswith(_ADDED)]
        for name in added:
            value = members.pop(name)
            if name == GUARDRAIL_ACTION and text_of(value) == INTERVENED:
                self.intervened = True
                self.stop_reason = "guardrail_intervened"
            elif name == METRICS and self.usage is None:
                # The model's own count wins: Bedrock's can differ, and it is the model's that a caller sees.
                told = read(_METRICS, bytes(value), METRICS)
                self.usage = None if told is None else told.counts()
        return bool(added)

    def _stopped(self, members: Members) -> None:
        reason = text_of(members.get("stop_reason"))
        if reason is not None:
            check_stop(reason)
            if not self.intervened:
                self.stop_reason = reason

    def _count(self, raw: Raw | None) -> None:
        told = None if raw is None else read(_COUNTS, bytes(raw), "usage")
        if told is not None:
            self.usage = told.after(self.usage or Usage())


class InvokeTranslator(MessagesTranslator):
    """An answer of InvokeModel."""

    __slots__ = ()

    def _unwrapped(self, frame: Frame) -> bytes | None:
        """The model's own JSON in a chunk; other events are nobody's."""
        return read(_CHUNK, frame.payload, "a chunk").bytes if frame.name == "chunk" else None


def _error(members: Members, status: int) -> BadAnswer:
    """What the model's own error means."""
    return BadAnswer(
        vendor_fault(any_json(bytes(members.get("error", _NULL)), "an error of the model's"), status)
    )


def _or(count: Count, known: int) -> int:
    return known if count is None else token_count(count)
