"""Driving a dialect as the gateway drives it, without the gateway: request in, upstream's bytes in,
answer out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from stargate_core.aws.exceptions import read_exception
from stargate_core.dialects.face import BadAnswer, Dialect, Headers, Reply, Request, Target, Translator
from stargate_core.dialects.registry import OPENAI_CHAT
from stargate_core.faults import Cause, Fault, Refused, fault_of_aws
from stargate_core.wire.eventstream import EventStreamDecoder, encode_event
from stargate_core.wire.frames import Frame, FrameKind

REQUEST_ID: Final = "0123456789abcdef0123456789abcdef"
CREATED: Final = 1_700_000_000
HAIKU: Final = "anthropic.claude-3-haiku-20240307-v1:0"
EVENT_STREAM: Final[Headers] = [(b"content-type", b"application/vnd.amazon.eventstream")]

Event = tuple[str, Mapping[str, Any]]


def a_request(
    body: bytes = b"",
    path: bytes = b"/v1/chat/completions",
    method: bytes = b"POST",
    headers: Headers | None = None,
) -> Request:
    """A request as the session hands it on."""
    bare, _, query = path.partition(b"?")
    return Request(method, path, bare, query, headers or [], body, REQUEST_ID, CREATED)


def a_chat(**members: Any) -> dict[str, Any]:
    """The body of a chat request: one user message, and whatever else is said."""
    return {"model": "claude", "messages": [{"role": "user", "content": "Say this is a test"}], **members}


def chat_request(**members: Any) -> Request:
    """A chat request."""
    return a_request(msgspec.json.encode(a_chat(**members)))


def composed(target: str = HAIKU, **members: Any) -> dict[str, Any]:
    """The Converse body that a chat request becomes. Raises Refused."""
    request = chat_request(**members)
    call = OPENAI_CHAT.compose(request, OPENAI_CHAT.read(request), Target(target))
    body: dict[str, Any] = msgspec.json.decode(call.body)
    return body


def chat_translator(target: str = HAIKU, **members: Any) -> Translator:
    """The translator for a chat request's answer."""
    request = chat_request(**members)
    ask = OPENAI_CHAT.read(request)
    return OPENAI_CHAT.translator(request, ask, OPENAI_CHAT.compose(request, ask, Target(target)))


def frames(events: Iterable[Event]) -> list[Frame]:
    """Event frames as the decoder delivers them."""
    raw = b"".join(encode_event(name, msgspec.json.encode(payload)) for name, payload in events)
    return EventStreamDecoder().feed(raw)


def text_events(*texts: str, stop: str = "end_turn") -> list[Event]:
    """A whole stream that says these texts."""
    return [
        ("messageStart", {"role": "assistant", "p": "abc"}),
        *(
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}, "p": "ab"})
            for text in texts
        ),
        ("contentBlockStop", {"contentBlockIndex": 0, "p": "abcd"}),
        ("messageStop", {"stopReason": stop, "p": "abc"}),
        ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 400}, "p": "a"}),
    ]


USAGE: Final = {
    "inputTokens": 10,
    "outputTokens": 5,
    "totalTokens": 35,
    "cacheReadInputTokens": 12,
    "cacheWriteInputTokens": 8,
}


def streamed(translator: Translator, stream: Sequence[Frame]) -> bytes:
    """What a caller is written of a stream: to its end, or to the first thing that goes wrong."""
    written: list[bytes] = []
    for frame in stream:
        if frame.kind is not FrameKind.EVENT:
            error = read_exception(frame)
            return b"".join(written) + translator.broken(
                fault_of_aws(error.name, error.status, error.message)
            )
        try:
            written.append(translator.frame(frame))
        except BadAnswer as bad:
            return b"".join(written) + translator.broken(bad.fault)
    end = translator.finish() if translator.complete else translator.broken(Fault(Cause.STREAM_CUT))
    return b"".join(written) + end


def answered(dialect: Dialect, request: Request, target: str, headers: Headers, body: bytes) -> Reply:
    """The whole way: the caller's request, upstream's 200 answer, the caller's answer."""
    try:
        ask = dialect.read(request)
        call = dialect.compose(request, ask, Target(target))
    except Refused as refused:
        return dialect.failure(refused.fault, request.request_id)
    translator = dialect.translator(request, ask, call)
    if call.stream:
        stream = EventStreamDecoder().feed(body)
        return Reply(200, translator.stream_headers(headers), streamed(translator, stream))
    try:
        return translator.render_answer(translator.answer(headers, body), headers)
    except BadAnswer as bad:
        return dialect.failure(bad.fault, request.request_id)


def sse_events(body: bytes) -> list[Any]:
    """The JSON of each `data:` line; `[DONE]` as a string."""
    lines = [line for line in body.split(b"\n\n") if line and not line.startswith(b":")]
    assert all(line.startswith(b"data: ") and b"\n" not in line for line in lines)
    return ["[DONE]" if line == b"data: [DONE]" else msgspec.json.decode(line[6:]) for line in lines]


def deeper(frames: int, call: Callable[[], object]) -> None:
    """Make a call from so much further down the stack: what could be decoded here may be too deep there."""
    if frames:
        deeper(frames - 1, call)
    else:
        call()
