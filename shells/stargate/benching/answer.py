"""Reads one answer, and notes when each part of it came. Bytes and moments in; in the end, one outcome.

A token counts when it can be used: when the event that holds it has come whole. An event that holds no part
of the answer (the first one of OpenAI's, which names the role; the last, with the usage) is none. Servers may
put several tokens into one event, so what lies between two events is called that, and the number of tokens is
the one that the server tells in its usage; if it tells none, events are counted, and the report says so.

An answer is only good if it ended as its API says: a stream with `[DONE]` or a reason to finish, and whatever
it is with the end of its HTTP message. Everything else is a failure of some kind, and its time is in no
percentile: a refusal is fast.

What a server says is bounded, and shown with nothing but printable characters.
"""

from typing import Any, Final, TypeAlias

import msgspec

from stargate_core.wire.frames import SseError
from stargate_core.wire.http1 import (
    CLOSED,
    NEED_DATA,
    PAUSED,
    Body,
    ClientEvent,
    EndOfMessage,
    ProtocolError,
    ResponseHead,
    client_codec,
)
from stargate_core.wire.sse import SseDecoder

ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of an answer that is not streamed."""
EVENT_BYTES_MAX: Final = 1024 * 1024
EVENTS_MAX: Final = 100_000
ERROR_BYTES_MAX: Final = 16_384
_WORDS_MAX: Final = 160
"""Characters of what a server says that are shown."""
_OK: Final = 200


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. Moments are in nanoseconds, as they were given."""

    first_at: int | None
    """When the first token had come; None if the answer was not streamed, or is empty."""
    gaps_ns: list[int]
    """Between the events that hold tokens."""
    ended_at: int
    tokens: int
    are_tokens_told: bool
    """By the server; else they are its events."""


class Failed(msgspec.Struct, frozen=True):
    """No answer. `kind` is one of few; `detail` is for people, and may be empty."""

    kind: str
    detail: str = ""


Outcome: TypeAlias = Answered | Failed


class _Usage(msgspec.Struct):
    completion_tokens: int | None = None


class _Delta(msgspec.Struct):
    content: Any = None
    refusal: Any = None
    reasoning: Any = None
    reasoning_content: Any = None
    tool_calls: Any = None

    @property
    def holds_any(self) -> bool:
        """Whether it is a part of the answer."""
        parts = (self.content, self.reasoning_content, self.reasoning, self.tool_calls, self.refusal)
        return any(parts)


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


class _Whole(msgspec.Struct):
    choices: list[Any]
    usage: _Usage | None = None


_CHUNK: Final = msgspec.json.Decoder(_Chunk)
_WHOLE: Final = msgspec.json.Decoder(_Whole)


class AnswerReader:
    """Reads the answer to one request."""

    def __init__(self, *, is_streamed: bool) -> None:
        self.outcome: Outcome | None = None
        """None as long as more is needed."""
        self.was_left = False
        """The server had closed the connection before it answered, as it may with one that was idle."""
        self.can_be_reused = False
        """The connection, for another request."""
        self._is_streamed = is_streamed
        self._codec = client_codec()
        self._head: ResponseHead | None = None
        self._body = bytearray()
        self._events = SseDecoder(EVENT_BYTES_MAX, EVENT_BYTES_MAX)
        self._first_at: int | None = None
        self._last_at = 0
        self._gaps: list[int] = []
        self._count = 0
        self._tokens: int | None = None
        self._has_finished = False
        self._has_begun = False

    def receive_data(self, now: int, data: bytes) -> None:
        """The server has sent something."""
        self._has_begun = True
        self._codec.receive_data(data)
        self._go_on(now)

    def receive_eof(self, now: int) -> None:
        """The server will send no more."""
        self._codec.receive_eof()
        self._go_on(now)

    def receive_reset(self) -> None:
        """The connection broke."""
        if self.outcome is None:
            self.was_left = not self._has_begun
            self.outcome = Failed("cut off", "the connection was reset")

    def _go_on(self, now: int) -> None:
        try:
            while self.outcome is None:
                event = self._codec.next_event()
                if event is NEED_DATA:
                    break
                self._take(now, event)
        except ProtocolError as error:
            if error.reason == "INCOMPLETE_MESSAGE":
                self.outcome = Failed("cut off", "the connection ended in the middle of an answer")
            else:
                self.outcome = Failed("bad answer", f"no HTTP: {error.message}")
        except SseError as error:
            self.outcome = Failed("bad answer", str(error))

    def _take(self, now: int, event: ClientEvent) -> None:
        match event:
            case ResponseHead():
                self._head = event
            case Body(data=data):
                self._receive_body(now, data)
            case EndOfMessage():
                self.outcome = self._ended(now)
                self.can_be_reused = self._codec.reusable
            case _ if event is CLOSED:
                self.was_left = True
                self.outcome = Failed("cut off", "the connection was closed without an answer")
            case _:
                assert event is not PAUSED, "an outcome ends the reading"

    def _receive_body(self, now: int, data: bytes) -> None:
        assert self._head is not None
        if self._head.status != _OK:
            # Of an error enough is kept to tell it; the rest is read to its end.
            self._body += data[: ERROR_BYTES_MAX - len(self._body)]
        elif self._is_streamed and self._is_event_stream():
            for one in self._events.feed(data):
                if self.outcome is None:
                    self._receive_event(now, one.data)
        elif len(self._body) + len(data) > ANSWER_BYTES_MAX:
            self.outcome = Failed("bad answer", f"it is larger than {ANSWER_BYTES_MAX} bytes")
        else:
            self._body += data

    def _is_event_stream(self) -> bool:
        assert self._head is not None
        types = [value for name, value in self._head.headers if name == b"content-type"]
        return any(value.lower().startswith(b"text/event-stream") for value in types)

    def _receive_event(self, now: int, data: str) -> None:
        if data == "[DONE]":
            self._has_finished = True
            return
        try:
            chunk = _CHUNK.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.outcome = Failed("bad answer", "an event of the stream is no chunk of a chat completion")
            return
        if chunk.error is not None:
            self.outcome = Failed("error in a stream", said(msgspec.json.encode({"error": chunk.error})))
            return
        if chunk.usage is not None and chunk.usage.completion_tokens is not None:
            self._tokens = chunk.usage.completion_tokens
        choices = chunk.choices or []
        self._has_finished = self._has_finished or any(one.finish_reason for one in choices)
        if any(one.delta is not None and one.delta.holds_any for one in choices):
            self._receive_token(now)

    def _receive_token(self, now: int) -> None:
        if self._first_at is None:
            self._first_at = now
        else:
            self._gaps.append(now - self._last_at)
        self._last_at = now
        self._count += 1
        if self._count > EVENTS_MAX:
            self.outcome = Failed("bad answer", f"it has more than {EVENTS_MAX} events")

    def _ended(self, now: int) -> Outcome:
        assert self._head is not None
        if self._head.status != _OK:
            return Failed(f"status {self._head.status}", said(bytes(self._body)))
        if not self._is_streamed:
            return self._whole(now)
        if not self._is_event_stream():
            return Failed("bad answer", "it is not a stream, though one was asked for")
        if not self._has_finished:
            return Failed("cut off", "the stream ended without an end")
        told = self._tokens
        return Answered(
            first_at=self._first_at,
            gaps_ns=self._gaps,
            ended_at=now,
            tokens=self._count if told is None else told,
            are_tokens_told=told is not None,
        )

    def _whole(self, now: int) -> Outcome:
        try:
            answer = _WHOLE.decode(bytes(self._body))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Failed("bad answer", "it is no chat completion")
        told = None if answer.usage is None else answer.usage.completion_tokens
        return Answered(
            first_at=None, gaps_ns=[], ended_at=now, tokens=told or 0, are_tokens_told=told is not None
        )


def said(body: bytes) -> str:
    """What an error's body says, in a line for people."""
    text = body.decode(errors="replace")
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = None
    match found:
        case {"error": {"message": str(words)}} | {"error": str(words)} | {"message": str(words)}:
            text = words
        case _:
            pass
    line = "".join(letter if letter.isprintable() else " " for letter in " ".join(text.split()))
    return line if len(line) <= _WORDS_MAX else line[: _WORDS_MAX - 1] + "…"
