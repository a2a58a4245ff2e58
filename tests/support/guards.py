"""Asking through guards in every dialect: what a caller says, what Bedrock is asked then, what the model says
in its own words, and what the caller reads of it.

A `Speaker` is one way to ask for a stream: the request that says a text, the story in which the model says
texts (an answer, a thought, what a tool is called with) cut into pieces, and how the caller's bytes are put
together again, as its SDK would do it.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from stargate_core.config.guards import PiiRedactor, PromptGuard
from stargate_core.config.plugin_configs import ModelTarget
from stargate_core.config.schema import PluginEntry
from stargate_core.gateway.plan import Plan
from stargate_core.wire.eventstream import EventStreamDecoder
from support.bedrock import LAST_CHUNK, USAGE, chunk, event, inner, stream_head
from support.machines import LOG, MODEL, Answer, Bench, a_config, a_plan, proxy, request


class Said(NamedTuple):
    """What the model says, or the caller reads."""

    text: str
    thought: str
    arguments: str


Pieces = Callable[[str], Sequence[str]]


def redactor(**config: Any) -> PluginEntry:
    """An entry of pii-redactor."""
    return PluginEntry(name="pii-redactor", config=PiiRedactor(**config))


def guard(**config: Any) -> PluginEntry:
    """An entry of prompt-guard."""
    return PluginEntry(name="prompt-guard", config=PromptGuard(**config))


def converse_frames(said: Said, cut: Pieces) -> list[bytes]:
    """ConverseStream's frames."""

    def deltas(at: int, wrap: Callable[[str], Any], text: str) -> list[bytes]:
        return [
            event("contentBlockDelta", {"contentBlockIndex": at, "delta": wrap(piece)}) for piece in cut(text)
        ] + [event("contentBlockStop", {"contentBlockIndex": at})]

    start = {"toolUse": {"toolUseId": "t1", "name": "send"}}
    return [
        event("messageStart", {"role": "assistant"}),
        *deltas(0, lambda piece: {"reasoningContent": {"text": piece}}, said.thought),
        *deltas(1, lambda piece: {"text": piece}, said.text),
        event("contentBlockStart", {"contentBlockIndex": 2, "start": start}),
        *deltas(2, lambda piece: {"toolUse": {"input": piece}}, said.arguments),
        event("messageStop", {"stopReason": "tool_use"}),
        event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 400}}),
    ]


def invoke_frames(said: Said, cut: Pieces) -> list[bytes]:
    """InvokeModelWithResponseStream's chunks, of Claude's."""

    def block(at: int, start: Any, kind: str, name: str, text: str) -> list[Any]:
        fragments = [
            {"type": "content_block_delta", "index": at, "delta": {"type": kind, name: piece}}
            for piece in cut(text)
        ]
        return [
            {"type": "content_block_start", "index": at, "content_block": start},
            *fragments,
            {"type": "content_block_stop", "index": at},
        ]

    use = {"type": "tool_use", "id": "t1", "name": "send", "input": {}}
    message = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "x"}
    events = [
        {"type": "message_start", "message": {**message, "usage": {"input_tokens": 1, "output_tokens": 1}}},
        *block(0, {"type": "thinking", "thinking": ""}, "thinking_delta", "thinking", said.thought),
        *block(1, {"type": "text", "text": ""}, "text_delta", "text", said.text),
        *block(2, use, "input_json_delta", "partial_json", said.arguments),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]
    return [inner(one) for one in events]


def events_of(answer: Answer) -> list[Any]:
    """The events of a stream of server-sent events, decoded."""
    lines = [line[6:] for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def read_chat(answer: Answer) -> Said:
    """As OpenAI's SDK puts a chat together."""
    assert answer.body.endswith(b"data: [DONE]\n\n")
    told, finished = {"content": "", "reasoning_content": "", "arguments": ""}, False
    for one in events_of(answer):
        for choice in one["choices"]:
            assert not finished
            delta = choice["delta"]
            for name in ("content", "reasoning_content"):
                told[name] += delta.get(name) or ""
            for call in delta.get("tool_calls") or ():
                assert call["index"] == 0
                told["arguments"] += call["function"].get("arguments") or ""
            finished = choice["finish_reason"] is not None
    assert finished
    return Said(told["content"], told["reasoning_content"], told["arguments"])


def read_responses(answer: Answer) -> Said:
    """From the deltas, which must say what the whole says, in events that are numbered without a gap."""
    events = events_of(answer)
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    deltas: dict[str, str] = {}
    for one in events:
        if one["type"].endswith(".delta"):
            kind = one["type"].split(".")[1]
            deltas[kind] = deltas.get(kind, "") + one["delta"]
        elif one["type"].endswith("output_text.done"):
            assert one["text"] == deltas.get("output_text", "")
        elif one["type"].endswith("arguments.done"):
            assert one["arguments"] == deltas.get("function_call_arguments", "")
    assert events[-1]["type"] == "response.completed"
    items = {item["type"]: item for item in events[-1]["response"]["output"]}
    thought = "".join(part["text"] for part in items.get("reasoning", {}).get("summary", ()))
    text = "".join(part["text"] for part in items.get("message", {}).get("content", ()))
    assert thought == deltas.get("reasoning_summary_text", "")
    assert text == deltas.get("output_text", "")
    return Said(text, thought, items["function_call"]["arguments"])


def read_blocks(events: Iterable[Any]) -> Said:
    """As Anthropic's SDK puts a message together: no fragment outside of its block."""
    told, open_ = {"text": "", "thinking": "", "partial_json": ""}, None
    for one in events:
        match one["type"]:
            case "content_block_start":
                assert open_ is None
                open_ = one["index"]
            case "content_block_delta":
                assert one["index"] == open_
                for name in told:
                    told[name] += one["delta"].get(name, "")
            case "content_block_stop":
                assert one["index"] == open_
                open_ = None
            case _:
                pass
    return Said(told["text"], told["thinking"], told["partial_json"])


def read_messages(answer: Answer) -> Said:
    """Anthropic's events."""
    events = [one for one in events_of(answer) if one["type"] != "ping"]
    assert events[-1]["type"] == "message_stop"
    return read_blocks(events)


def read_frames(answer: Answer) -> Said:
    """Bedrock's own frames: a decoder that checks every checksum."""
    decoder = EventStreamDecoder()
    frames = decoder.feed(answer.body)
    decoder.check()
    told, stopped = ["", "", ""], set[int]()
    for frame in frames:
        payload = msgspec.json.decode(frame.payload)
        at = payload.get("contentBlockIndex")
        if frame.name == "contentBlockStop":
            stopped.add(at)
        if frame.name == "contentBlockDelta":
            assert at not in stopped
            delta = payload["delta"]
            told[0] += delta.get("text", "")
            told[1] += delta.get("reasoningContent", {}).get("text", "")
            told[2] += delta.get("toolUse", {}).get("input", "")
    assert [frame.name for frame in frames][-2:] == ["messageStop", "metadata"]
    return Said(*told)


def read_chunks(answer: Answer) -> Said:
    """InvokeModel's chunks."""
    decoder = EventStreamDecoder()
    frames = decoder.feed(answer.body)
    decoder.check()
    payloads = [msgspec.json.decode(msgspec.json.decode(one.payload, type=_Chunk).bytes) for one in frames]
    assert payloads[-1]["type"] == "message_stop"
    return read_blocks(payloads)


class _Chunk(msgspec.Struct):
    bytes: bytes


class Way:
    """One way to ask."""

    def __init__(
        self,
        name: str,
        path: str,
        body: Callable[[str], Any],
        frames: Callable[[Said, Pieces], list[bytes]],
        read: Callable[[Answer], Said],
        surface: Literal["converse", "invoke"] = "converse",
    ) -> None:
        self.name = name
        self.path = path
        self.body = body
        self.frames = frames
        self.read = read
        self.surface = surface
        self._plans: dict[str, Plan] = {}

    def __repr__(self) -> str:
        return self.name

    def asked(self, text: str, *entries: PluginEntry, **members: Any) -> Bench:
        """A bench on which a caller has said this text; the call is written if nobody has refused it."""
        bench = Bench(self.plan(*entries))
        bench.ask(request(self.path, msgspec.json.encode({**self.body(text), **members})))
        if bench.asked:
            bench.open()
        return bench

    def plan(self, *entries: PluginEntry) -> Plan:
        """The plan with these plugins, and this way's surface."""
        named = repr((self.surface, entries))
        if named not in self._plans:
            models = {"claude": ModelTarget(target=MODEL, surface=self.surface)}
            entry = proxy(timeout=3_600_000, models=models)
            self._plans[named] = a_plan(a_config(plugins=[entry, LOG, *entries]))
        return self._plans[named]

    def answered(self, bench: Bench, said: Said, cut: Pieces, network: Sequence[int] = ()) -> Answer:
        """The caller's answer, when the model says this in these pieces, and the network cuts it here."""
        data, at = b"".join(self.frames(said, cut)), 0
        bench.answer(stream_head())
        for end in [*sorted(network), len(data)]:
            if at < end <= len(data):
                bench.answer(chunk(data[at:end]))
                at = end
        bench.answer(LAST_CHUNK)
        bench.settle()
        return bench.only


_PATH: Final = f"/model/{MODEL.replace(':', '%3A')}"
_USER: Final = "user"
_TOKENS: Final = {"max_tokens": 100, "stream": True, "model": "claude"}


def _spoken(text: str) -> dict[str, Any]:
    return {**_TOKENS, "messages": [{"role": _USER, "content": text}]}


def _native(text: str) -> dict[str, Any]:
    return {"messages": [{"role": _USER, "content": [{"text": text}]}]}


def _claude(text: str) -> dict[str, Any]:
    return {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 9,
        "messages": [{"role": _USER, "content": text}],
    }


def _response(text: str) -> dict[str, Any]:
    return {"model": "claude", "stream": True, "input": text}


WAYS: Final = (
    Way("chat", "/v1/chat/completions", _spoken, converse_frames, read_chat),
    Way("responses", "/v1/responses", _response, converse_frames, read_responses),
    Way("messages on converse", "/v1/messages", _spoken, converse_frames, read_messages),
    Way("messages on invoke", "/v1/messages", _spoken, invoke_frames, read_messages, "invoke"),
    Way("converse", f"{_PATH}/converse-stream", _native, converse_frames, read_frames),
    Way("invoke", f"{_PATH}/invoke-with-response-stream", _claude, invoke_frames, read_chunks),
)
