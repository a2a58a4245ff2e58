"""Chat without an SDK: a turn of a conversation as typed events, or one typed error.

It is OpenAI's chat completions underneath, streamed, on a connection in memory. Text and thoughts come as the
model writes them. Tool calls come when the turn is whole, for nobody can do anything with half of one; their
arguments are JSON as the model wrote it, which need not be valid. `Finished` is last, and only a stream that
ended well has it: every other end is a `GatewayError`, before the first event or behind any.

Source: https://platform.openai.com/docs/api-reference/chat-streaming (chunks; `reasoning_content` is the
custom that providers follow for thoughts).
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any, ClassVar, Final, TypeAlias

import msgspec

from stargate.in_memory.call import Answer, Callee, Cut, call, compose
from stargate_core.faults import TABLE
from stargate_core.secret import Private
from stargate_core.wire.frames import SseError
from stargate_core.wire.sse import SseDecoder

PATH: Final = b"/v1/chat/completions"


class Text(Private, msgspec.Struct, frozen=True):
    """Some of the answer's text."""

    text: str


class Thought(Private, msgspec.Struct, frozen=True):
    """Some of what the model thinks."""

    text: str


class ToolCall(Private, msgspec.Struct, frozen=True):
    """A tool the model wants called; `arguments` are its JSON."""

    SHOWN: ClassVar[tuple[str, ...]] = ("id",)

    id: str
    name: str
    arguments: str


class Usage(msgspec.Struct, frozen=True):
    """The tokens of a call."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Finished(msgspec.Struct, frozen=True):
    """The turn is over, and whole. reason: `stop`, `length`, `tool_calls` or `content_filter`."""

    reason: str
    usage: Usage


Event: TypeAlias = Text | Thought | ToolCall | Finished


class GatewayError(Exception):
    """The gateway's answer is an error, or its stream ended in one."""

    def __init__(self, code: str, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.code = code
        """The gateway's own name of it (docs/faults.md); where a model's own API refused, that API's."""
        self.status = status
        """Its HTTP status, also where it came inside a stream."""
        self.message = message
        self.retry_after = retry_after
        """In how many seconds it may be worth another try, where that is known."""


class _Error(msgspec.Struct):
    message: str = ""
    type: str | None = None
    code: str | None = None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function = msgspec.field(default_factory=_Function)


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = msgspec.field(default_factory=list[_Choice])
    usage: Usage | None = None
    error: _Error | None = None


class _Failure(msgspec.Struct):
    error: _Error


_CHUNK: Final = msgspec.json.Decoder(_Chunk)
_FAILURE: Final = msgspec.json.Decoder(_Failure)


class _Reading:
    """What the chunks so far have said."""

    def __init__(self) -> None:
        self._calls: dict[int, list[str]] = {}
        """Tool calls that are not whole: id, name, arguments."""
        self._reason = ""
        self._usage = Usage()

    def take(self, chunk: _Chunk) -> Iterator[Event]:
        """What a chunk adds. Raises GatewayError."""
        if chunk.error is not None:
            raise _failure(chunk.error, None)
        if chunk.usage is not None:
            self._usage = chunk.usage
        for choice in chunk.choices[:1]:
            delta = choice.delta
            if delta.reasoning_content:
                yield Thought(delta.reasoning_content)
            if delta.content:
                yield Text(delta.content)
            for more in delta.tool_calls or ():
                parts = self._calls.setdefault(more.index, ["", "", ""])
                for at, text in enumerate((more.id, more.function.name, more.function.arguments)):
                    parts[at] += text or ""
            self._reason = choice.finish_reason or self._reason

    def end(self) -> Iterator[Event]:
        """The stream has ended well: so all calls are whole."""
        for _, parts in sorted(self._calls.items()):
            yield ToolCall(*parts)
        yield Finished(self._reason, self._usage)


async def chat(callee: Callee, asked: Mapping[str, Any], key: str | None) -> AsyncGenerator[Event]:
    """Ask, and give what comes. Raises GatewayError, NotRunning, Cut."""
    body = msgspec.json.encode({**asked, "stream": True, "stream_options": {"include_usage": True}})
    headers = [(b"content-type", b"application/json")]
    if key is not None:
        headers.append((b"authorization", b"Bearer " + key.encode()))
    answer = await call(callee, compose(b"POST", PATH, headers, body))
    try:
        if answer.status != 200:
            raise await _refusal(answer)
        reading, decoder = _Reading(), SseDecoder()
        while data := await answer.receive():
            for event in decoder.feed(data):
                if event.data == "[DONE]":
                    for said in reading.end():
                        yield said
                    return
                for said in reading.take(_CHUNK.decode(event.data)):
                    yield said
        raise Cut("the stream has no end")
    except (msgspec.DecodeError, SseError) as error:
        raise Cut("the stream is no chat completion") from error
    finally:
        answer.leave()


async def _refusal(answer: Answer) -> GatewayError:
    """What an answer that is an error says."""
    headers = dict(answer.headers)
    seconds = headers.get(b"retry-after", b"")
    body = await answer.read()
    try:
        error = _FAILURE.decode(body).error
    except msgspec.DecodeError:
        error = _Error(message="the answer is no error of the gateway's")
    return _failure(error, answer.status, float(seconds) if seconds.isdigit() else None)


def _failure(error: _Error, status: int | None, retry_after: float | None = None) -> GatewayError:
    """status: None where the error came inside a stream."""
    said = error.code or (error.type or "").upper()
    found = [(row.code, row.status) for row in TABLE.values() if said in (row.openai_code, row.code)]
    for code, its_status in found:
        if status in (its_status, None):
            return GatewayError(code, its_status, error.message, retry_after)
    return GatewayError(said or "UNKNOWN", status or 502, error.message, retry_after)
