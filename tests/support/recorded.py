"""Recorded traffic through every dialect: what Bedrock said in a recording, read without a line of the core,
and the answer that each dialect makes of it.

The reading is botocore's own event-stream decoder and plain JSON; what it gives is `Said`, in Converse's
words, which any dialect's answer can be brought back to and compared with.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from botocore.eventstream import EventStreamBuffer

from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.face import BadAnswer, Dialect, Reply, Request, Target
from stargate_core.dialects.registry import ANTHROPIC_MESSAGES, OPENAI_CHAT, OPENAI_RESPONSES
from stargate_core.faults import Refused
from stargate_core.wire.eventstream import EventStreamDecoder
from support.dialects import a_request, streamed
from support.vectors import Recording, recordings

GOLDEN: Final = Path(__file__).parents[1] / "golden"
Json = dict[str, Any]


class Said(msgspec.Struct):
    """What an answer says, whatever its form."""

    text: str = ""
    thoughts: str = ""
    seals: list[tuple[str, str]] = []
    """What goes with the thoughts: signatures, and what only the vendor can read, in base64 once more."""
    calls: list[tuple[str, str, Any]] = []
    citations: list[Any] = []
    kinds: list[str] = []
    """The order of the above; of one kind in a row, one."""
    usage: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Input, output, read from the cache, written to it."""
    stop: str = ""
    trace: Any = None

    def add(self, kind: str) -> None:
        """Something of this kind comes next."""
        if not self.kinds or self.kinds[-1] != kind:
            self.kinds.append(kind)


def operation(recording: Recording) -> str:
    """The operation's name, as paths have it."""
    return recording.uri.rpartition("/")[2]


def model(recording: Recording) -> str:
    """The model that was asked."""
    return unquote(recording.uri.partition("/model/")[2].rpartition("/")[0])


def converse_recordings() -> list[Recording]:
    """All good answers of Converse, whole and streamed."""
    ways = ("converse", "converse-stream")
    return [r for r in recordings() if r.status == 200 and operation(r) in ways]


def claude_recordings() -> list[Recording]:
    """All good answers that Claude has given to InvokeModel."""
    ways = ("invoke", "invoke-with-response-stream")
    good = [r for r in recordings() if r.status == 200 and operation(r) in ways]
    return [r for r in good if "anthropic.claude" in model(r)]


def stem(recording: Recording) -> str:
    """A recording's short name."""
    return Path(recording.file).stem


# -------------------------------------------------------------------------------------- what Bedrock has said


def said(recording: Recording) -> Said:
    """What a recorded answer of Converse says."""
    if not recording.is_stream:
        return converse_said(json.loads(recording.body))
    return converse_said(_assembled(_events(recording)))


def converse_said(answer: Json) -> Said:
    """What a whole answer of Converse says. Tools that Bedrock has run itself are none of the caller's."""
    made = Said(stop=answer["stopReason"], usage=_usage(answer["usage"]), trace=answer.get("trace"))
    for block in answer["output"]["message"]["content"]:
        for kind, value in block.items():
            _hear(made, kind, value)
    return made


def _hear(made: Said, kind: str, value: Any) -> None:
    match kind:
        case "text" if value:
            made.text += value
            made.add("text")
        case "citationsContent":
            made.text += "".join(piece["text"] for piece in value["content"])
            made.citations += value["citations"]
            made.add("text")
        case "toolUse" if value.get("type") != "server_tool_use":
            made.calls.append((value["toolUseId"], value["name"], value["input"] or {}))
            made.add("call")
        case "reasoningContent":
            thought = value.get("reasoningText", {})
            made.thoughts += thought.get("text", "")
            if thought.get("signature"):
                made.seals.append(("signature", thought["signature"]))
            if value.get("redactedContent"):
                made.seals.append(("redacted", value["redactedContent"]))
            made.add("thought")
        case _:
            assert kind in {"text", "toolUse", "toolResult"}, kind


def _usage(usage: Json) -> tuple[int, int, int, int]:
    read, written = usage.get("cacheReadInputTokens", 0), usage.get("cacheWriteInputTokens", 0)
    return usage["inputTokens"], usage["outputTokens"], read, written


def _events(recording: Recording) -> Iterator[tuple[str, Json]]:
    """The events of a stream, by botocore."""
    buffer = EventStreamBuffer()
    buffer.add_data(recording.body)
    for event in buffer:
        payload: Json = json.loads(event.payload)
        payload.pop("p", None)
        headers: Any = event.headers
        yield headers[":event-type"], payload


def _assembled(events: Iterator[tuple[str, Json]]) -> Json:
    """The whole answer that a stream amounts to."""
    blocks: dict[int, Json] = {}
    answer: Json = {}
    for name, event in events:
        match name:
            case "contentBlockStart":
                (kind,) = event["start"]
                blocks[event["contentBlockIndex"]] = {kind: {**event["start"][kind], "input": ""}}
            case "contentBlockDelta":
                _grow(blocks.setdefault(event["contentBlockIndex"], {}), event["delta"])
            case "messageStop":
                answer["stopReason"] = event["stopReason"]
            case "metadata":
                answer |= {name: event[name] for name in ("usage", "trace") if name in event}
            case _:
                assert name in {"messageStart", "contentBlockStop"}, name
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
        if "citationsContent" in block:
            block["citationsContent"]["content"] = [{"text": block.pop("text", "")}]
    content = [blocks[at] for at in sorted(blocks)]
    return {**answer, "output": {"message": {"content": content}}}


def _grow(block: Json, delta: Json) -> None:
    ((kind, value),) = delta.items()
    match kind:
        case "text":
            block["text"] = block.get("text", "") + value
        case "toolUse":
            block["toolUse"]["input"] += value["input"]
        case "citation":
            block.setdefault("citationsContent", {"citations": []})["citations"].append(value)
        case "reasoningContent":
            thought = block.setdefault("reasoningContent", {"reasoningText": {}})["reasoningText"]
            for member, piece in value.items():
                assert member in {"text", "signature"}, member
                thought[member] = thought.get(member, "") + piece
        case _:
            assert kind == "toolResult", kind


def claude_message(recording: Recording) -> Json:
    """The message that Claude has answered InvokeModel with; of a stream, what it amounts to."""
    if not recording.is_stream:
        whole: Json = json.loads(recording.body)
        return whole
    message: Json = {}
    for _, chunk in _events(recording):
        event = json.loads(base64.b64decode(chunk["bytes"]))
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                message["content"].append({**event["content_block"], "said": ""})
            case "content_block_delta":
                ((_, piece),) = ((k, v) for k, v in event["delta"].items() if k != "type")
                message["content"][event["index"]]["said"] += piece
            case "message_delta":
                message |= event["delta"]
                message["usage"] |= event["usage"]
            case kind:
                assert kind in {"content_block_stop", "message_stop"}, kind
    for block in message["content"]:
        told = block.pop("said")
        block |= {"text": told} if block["type"] == "text" else {"input": json.loads(told or "{}")}
    return message


# ------------------------------------------------------------------------------- what a dialect makes of it


def answer_to(dialect: Dialect, request: Request, recording: Recording) -> Reply:
    """A dialect's answer to a request, where Bedrock says what it has said in the recording."""
    invoke = operation(recording).startswith("invoke")
    target = Target(model(recording), Surface.INVOKE if invoke else Surface.CONVERSE)
    headers = [(name.lower().encode(), value.encode()) for name, value in recording.response_headers.items()]
    try:
        ask = dialect.read(request)
        call = dialect.compose(request, ask, target)
    except Refused as refused:
        return dialect.failure(refused.fault, request.request_id)
    assert call.stream is recording.is_stream
    translator = dialect.translator(request, ask, call)
    if call.stream:
        body = streamed(translator, EventStreamDecoder().feed(recording.body))
        return Reply(200, translator.stream_headers(headers), body)
    try:
        return translator.render_answer(translator.answer(headers, recording.body), headers)
    except BadAnswer as bad:
        return dialect.failure(bad.fault, request.request_id)


# ---------------------------------------------------------------------------------------------- golden files

_SAY: Final = "Say this is a test"
_MESSAGES: Final = [{"role": "user", "content": _SAY}]
_BODIES: Final[dict[Dialect, tuple[bytes, Json]]] = {
    OPENAI_CHAT: (b"/v1/chat/completions", {"model": "mine", "messages": _MESSAGES}),
    OPENAI_RESPONSES: (
        b"/v1/responses",
        {"model": "mine", "input": _SAY, "include": ["reasoning.encrypted_content"]},
    ),
    ANTHROPIC_MESSAGES: (b"/v1/messages", {"model": "mine", "max_tokens": 100, "messages": _MESSAGES}),
}
"""What is asked for, in each dialect; Bedrock's own gets the recording back, byte for byte."""

CHOSEN: Final = frozenset(
    {
        # Converse, whole: each family of models, reason to stop and kind of block.
        "dd-trace-py__converse__203575171d3b",
        "dd-trace-py__converse__b019c14ae70a",
        "langchain-aws__converse__1b27517fc82a",
        "langchain-aws__converse__347cf3a48e7a",
        "langchain-aws__converse__957ad7c9ac26",
        "langchain-aws__converse__c380d69b0d39",
        "langchain-aws__converse__e197e3d9d66a",
        "openllmetry__converse__146dd16f52ab",
        "openllmetry__converse__4e8035589084",
        "openllmetry__converse__55ff2c3fd165",
        "otel__converse__00b1664f615d",
        "otel__converse__1ace27db2d07",
        "pydantic-ai__converse__3ed1aeb7279b",
        "pydantic-ai__converse__5baaae239ee4",
        "pydantic-ai__converse__675e38a6d7ec",
        "pydantic-ai__converse__787696e85c32",
        "pydantic-ai__converse__8ec55f89e27f",
        "pydantic-ai__converse__a05b5723e952",
        "pydantic-ai__converse__c3207f9d1ea6",
        "pydantic-ai__converse__d601c831de25",
        "pydantic-ai__converse__dfc8d6708689",
        "pydantic-ai__converse__f6580058ba24",
        # Converse, streamed.
        "langchain-aws__converse-stream__2caa4585af41",
        "langchain-aws__converse-stream__af8c09b4ba44",
        "langchain-aws__converse-stream__bf914e0f1192",
        "langchain-aws__converse-stream__cd65195f14fa",
        "openllmetry__converse-stream__fbbdccd0483a",
        "otel__converse-stream__5341bdcff055",
        "otel__converse-stream__8e88c115ac14",
        "pydantic-ai__converse-stream__2062a434c82b",
        "pydantic-ai__converse-stream__4cece7af5ead",
        # Claude's own, whole and streamed.
        "otel__invoke__529a4cdcb23c",
        "otel__invoke__8462a7e1480a",
        "pydantic-ai__invoke__fcd8e09aac85",
        "otel__invoke-with-response-stream__27d49a2f64a8",
        "otel__invoke-with-response-stream__bfcc27fb3338",
    }
)
"""A third of the recordings, with everything that there is among them at least once."""


def goldens() -> Iterator[tuple[Path, bytes]]:
    """The answers that are kept: their files, and what they are now."""
    for recording in [*converse_recordings(), *claude_recordings()]:
        if stem(recording) not in CHOSEN:
            continue
        for dialect, (path, body) in _BODIES.items():
            if dialect is not ANTHROPIC_MESSAGES and operation(recording).startswith("invoke"):
                continue
            asked = {**body, "stream": recording.is_stream}
            if dialect is OPENAI_CHAT and recording.is_stream:
                asked["stream_options"] = {"include_usage": True}
            reply = answer_to(dialect, a_request(json.dumps(asked).encode(), path), recording)
            assert reply.status == 200, reply.body
            ending = "sse" if recording.is_stream else "json"
            yield GOLDEN / dialect.NAME / f"{stem(recording)}.{ending}", reply.body
