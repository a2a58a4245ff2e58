"""Whatever Bedrock sends, each caller gets one answer in its own dialect, the same however bytes were cut: it
ends well once or in one typed error, nothing follows that, and there is one record of it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from fuzz import json_mutator
from fuzz.choices import pieces
from fuzz.json_mutator import Mutate
from stargate_core.config.bedrock_proxy import Retry
from stargate_core.wire.eventstream import EventStreamDecoder, encode_event, encode_exception
from support.bedrock import LAST_CHUNK, chunk, http, stream_head
from support.machines import LOG, Bench, a_config, a_plan, chat, converse, proxy, request
from support.vectors import recordings

_PLAN: Final = a_plan(a_config(plugins=[proxy(retry=Retry(count=0), timeout=3_600_000), LOG]))
_SAY: Final = [{"role": "user", "content": "hi"}]
_CLAUDE: Final = "anthropic.claude-3-haiku-20240307-v1:0"


def _messages(model: str, *, stream: bool) -> bytes:
    body = {"model": model, "max_tokens": 9, "messages": _SAY, "stream": stream}
    return request("/v1/messages", msgspec.json.encode(body))


def _responses(*, stream: bool) -> bytes:
    return request(
        "/v1/responses",
        msgspec.json.encode({"model": "amazon.nova-lite-v1:0", "input": "hi", "stream": stream}),
    )


ASKED: Final = (
    *(
        chat(stream=True),
        chat(stream=True, stream_options={"include_usage": True}),
        converse("converse-stream"),
    ),
    *(
        _messages(_CLAUDE, stream=True),
        _messages("amazon.nova-lite-v1:0", stream=True),
        _responses(stream=True),
    ),
    *(converse("invoke-with-response-stream"), chat(), converse(), _messages(_CLAUDE, stream=False)),
    *(_messages("amazon.nova-lite-v1:0", stream=False), _responses(stream=False), converse("invoke")),
    request("/v1/embeddings", msgspec.json.encode({"model": "amazon.titan-embed-text-v2:0", "input": "x"})),
)
_STREAMED: Final = 7
"""The first so many are answered by streams."""
_CHAT_ENDS: Final = (b"data: [DONE]", b'data: {"error"')
_MESSAGES_ENDS: Final = (b"event: message_stop\n", b"event: error\n")
_ENDS: Final = {
    0: _CHAT_ENDS,
    1: _CHAT_ENDS,
    3: _MESSAGES_ENDS,
    4: _MESSAGES_ENDS,
    5: (b"event: response.completed\n", b"event: response.incomplete\n", b"event: response.failed\n"),
}
"""How each stream of server-sent events ends, well and otherwise."""
_CONVERSE_EVENTS: Final = (
    "messageStart",
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockStop",
    "messageStop",
    "metadata",
)
WORDS: Final = (
    *(
        b"messageStart {}",
        b"messageStop ",
        b"metadata ",
        b"contentBlockDelta ",
        b"!throttlingException {}",
        b"?",
    ),
    *(
        b'"contentBlockIndex":',
        b'"delta":',
        b'"toolUse":',
        b'"reasoningContent":',
        b'"stopReason":',
        b'"usage":',
        b"chunk ",
    ),
)


def target(data: bytes) -> None:
    """A request by the first byte; then an answer: of a stream one event a line, else the body."""
    number = data[0] % len(ASKED) if data else 0
    wire = _stream(data[1:]) if number < _STREAMED else http(data[1:])
    whole = answered(ASKED[number], [wire])
    assert answered(ASKED[number], pieces(wire)) == whole, "the cut matters"
    status, headers, body, _ = whole
    if dict(headers).get(b"content-type", b"").startswith(b"text/event-stream"):
        _check_sse(body, number)
    elif number in (2, 6) and status == 200:
        decoder = EventStreamDecoder()
        decoder.feed(body)
        decoder.check()
    elif number not in (8, 12) or status != 200:
        msgspec.json.decode(body)


def answered(asked: bytes, cut: Sequence[bytes]) -> tuple[int, list[tuple[bytes, bytes]], bytes, bool]:
    """What the caller gets, when Bedrock sends this and closes."""
    bench = Bench(_PLAN)
    bench.ask(asked)
    bench.open()
    for piece in cut:
        if bench.held and piece:
            bench.answer(piece)
    if bench.held:
        bench.upstream_ends()
    bench.settle()
    assert len(bench.records) == 1
    assert len(bench.client.answers) == 1
    return bench.only.told


def _check_sse(body: bytes, caller: int) -> None:
    """An end is there, once, and nothing follows it: the API's own, or its error."""
    events = [block for block in body.split(b"\n\n") if block and not block.startswith(b":")]
    ends = [at for at, each in enumerate(events) if each.startswith(_ENDS[caller])]
    assert ends == [len(events) - 1], "not one end, at the end"


def _stream(lines: bytes) -> bytes:
    out = [stream_head()]
    for line in lines.split(b"\n"):
        name, _, payload = line.partition(b" ")
        if line.startswith(b"?"):
            out.append(chunk(line[1:]) if line[1:] else b"")
        elif line.startswith(b"!"):
            out.append(chunk(encode_exception(name[1:100].decode(errors="replace") or "x", payload)))
        elif line.startswith(b"#"):
            out.append(line[1:])
        elif line:
            out.append(chunk(encode_event(name[:100].decode(errors="replace") or "x", payload)))
    return b"".join(out) + LAST_CHUNK


def mutated(data: bytes, size_max: int, seed: int, otherwise: Mutate) -> bytes:
    """Changes to one event's JSON, to the order of events, or to anything."""
    lines = data[1:].split(b"\n")
    at = (seed >> 8) % len(lines)
    match seed % 8:
        case 0:
            return otherwise(data, size_max)
        case 1:
            lines.insert(at, lines[seed % len(lines)])
        case 2:
            del lines[at]
        case _:
            name, blank, payload = lines[at].partition(b" ")
            if not blank:
                name, payload = b"", lines[at]
            room = size_max - len(data) + len(payload)
            lines[at] = name + blank + json_mutator.mutated(payload, max(1, room), seed, otherwise)
    return (data[:1] + b"\n".join(lines))[:size_max]


def seeds() -> Iterator[bytes]:
    """Recorded streams, an event a line, and recorded answers, each for the callers that may get them."""
    for index, recording in enumerate(r for r in recordings() if r.status == 200):
        operation = recording.uri.rpartition("/")[2]
        body = recording.body
        callers: Sequence[int]
        if recording.is_stream:
            frames = EventStreamDecoder().feed(body)
            lines = [frame.name.encode() + b" " + frame.payload for frame in [*frames[:6], *frames[-4:]]]
            callers = (0, 1, 2, 4, 5) if operation == "converse-stream" else (3, 6)
            body = b"\n".join(lines)
        else:
            callers = (7, 8, 10, 11) if operation == "converse" else (9, 12, 13)
        if len(body) < 2500:
            yield bytes((callers[index % len(callers)],)) + body
    metadata: dict[str, Any] = {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}}
    good = [
        (
            name,
            {
                "contentBlockIndex": 0,
                "role": "assistant",
                "delta": {"text": "x"},
                "stopReason": "end_turn",
                **metadata,
            },
        )
        for name in _CONVERSE_EVENTS
    ]
    for caller in range(len(ASKED)):
        yield bytes((caller,)) + b"\n".join([n.encode() + b" " + msgspec.json.encode(p) for n, p in good])
        yield bytes((caller,)) + b'!throttlingException {"message":"no"}'
