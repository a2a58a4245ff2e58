"""Random answers of Converse, each as a whole message and as the events that stream it: what Bedrock may send
of every kind of block, in every order that it may send it in.
"""

import base64
import json
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from support.dialects import USAGE, Event

STOPS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "model_context_window_exceeded": "length",
}


class Block(msgspec.Struct):
    """One block, both ways."""

    whole: dict[str, Any]
    start: dict[str, Any] | None
    deltas: list[dict[str, Any]]

    def events(self, at: int) -> list[Event]:
        """The block's events, in their order."""
        events: list[Event] = []
        if self.start is not None:
            events.append(("contentBlockStart", {"contentBlockIndex": at, "start": self.start}))
        events += [("contentBlockDelta", {"contentBlockIndex": at, "delta": delta}) for delta in self.deltas]
        return [*events, ("contentBlockStop", {"contentBlockIndex": at})]


class Said(msgspec.Struct):
    """A whole answer, both ways."""

    answer: dict[str, Any]
    events: list[Event]


def _pieces(draw: DrawFn, text: str) -> list[str]:
    """The text in pieces; some of them empty."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@st.composite
def texts(draw: DrawFn) -> Block:
    text = draw(st.text(max_size=12))
    return Block({"text": text}, None, [{"text": piece} for piece in _pieces(draw, text)])


@st.composite
def thoughts(draw: DrawFn) -> Block:
    text = draw(st.text(max_size=12))
    signature = draw(st.none() | st.text("abcXYZ/+=", min_size=1, max_size=8))
    deltas: list[dict[str, Any]] = [{"text": piece} for piece in _pieces(draw, text)]
    whole = {"text": text}
    if signature is not None:
        deltas += [{"signature": piece} for piece in _pieces(draw, signature)]
        whole["signature"] = signature
    return Block(
        {"reasoningContent": {"reasoningText": whole}},
        None,
        [{"reasoningContent": delta} for delta in deltas],
    )


@st.composite
def redacted(draw: DrawFn) -> Block:
    vendors = base64.b64encode(draw(st.binary(min_size=1, max_size=12)))
    content = {"redactedContent": base64.b64encode(vendors).decode()}
    return Block({"reasoningContent": content}, None, [{"reasoningContent": content}])


def citations() -> SearchStrategy[dict[str, Any]]:
    """Citations of everything that can be cited, with and without what may be missing."""
    web = st.fixed_dictionaries({"url": st.just("https://a.example/b")}, optional={"domain": st.just("a")})
    span = st.fixed_dictionaries({"documentIndex": st.integers(0, 3), "start": st.just(1), "end": st.just(2)})
    found = st.fixed_dictionaries(
        {"searchResultIndex": st.integers(0, 3), "start": st.just(0), "end": st.just(9)}
    )
    location = st.one_of(
        web.map(lambda value: {"web": value}),
        span.map(lambda value: {"documentChar": value}),
        span.map(lambda value: {"documentPage": value}),
        found.map(lambda value: {"searchResultLocation": value}),
    )
    return st.fixed_dictionaries(
        {},
        optional={
            "title": st.text(max_size=5),
            "source": st.just("s"),
            "sourceContent": st.lists(st.just({"text": "as written"}), max_size=2),
            "location": location,
        },
    )


@st.composite
def cited(draw: DrawFn) -> Block:
    text = draw(st.text(max_size=12))
    told = draw(st.lists(citations(), min_size=1, max_size=2))
    pieces = _pieces(draw, text)
    return Block(
        {"citationsContent": {"content": [{"text": piece} for piece in pieces], "citations": told}},
        None,
        [*({"citation": one} for one in told), *({"text": piece} for piece in pieces)],
    )


@st.composite
def calls(draw: DrawFn) -> Block:
    identity = draw(st.sampled_from(["tooluse_a", "tooluse_b"]))
    arguments: dict[str, Any] = draw(
        st.dictionaries(st.text(max_size=4), st.none() | st.integers() | st.text(max_size=4))
    )
    kind = draw(st.sampled_from([{}, {"type": "tool_use"}]))
    use = {"toolUseId": identity, "name": "f", **kind}
    silent = st.booleans() if not arguments else st.just(False)
    text = "" if draw(silent) else json.dumps(arguments)
    pieces = ["", *_pieces(draw, text)]
    return Block(
        {"toolUse": {**use, "input": arguments}},
        {"toolUse": use},
        [{"toolUse": {"input": piece}} for piece in pieces],
    )


SERVER_USE = Block(
    {"toolUse": {"toolUseId": "s", "name": "code", "input": {"a": 1}, "type": "server_tool_use"}},
    {"toolUse": {"toolUseId": "s", "name": "code", "type": "server_tool_use"}},
    [{"toolUse": {"input": ""}}, {"toolUse": {"input": '{"a":1}'}}],
)
SERVER_RESULT = Block(
    {"toolResult": {"toolUseId": "s", "content": [{"text": "3"}]}},
    {"toolResult": {"toolUseId": "s"}},
    [{"toolResult": [{"text": "3"}]}],
)
UNKNOWN = Block({"hologram": {}}, None, [{"hologram": {}}])


@st.composite
def answers(draw: DrawFn) -> Said:
    """An answer: blocks one after the other, but for calls in a row, which may go on side by side. Blocks
    begin in their order.
    """
    plain = st.one_of(
        texts(), thoughts(), redacted(), cited(), st.sampled_from([SERVER_USE, SERVER_RESULT, UNKNOWN])
    )
    rows = draw(st.lists(st.lists(plain, min_size=1, max_size=1) | st.lists(calls(), max_size=3), max_size=5))
    content: list[dict[str, Any]] = []
    events: list[Event] = [("messageStart", {"role": "assistant"})]
    for row in rows:
        waiting = [block.events(len(content) + number) for number, block in enumerate(row)]
        content += [block.whole for block in row]
        begun: list[list[Event]] = []
        while waiting or begun:
            if not begun or (waiting and draw(st.booleans())):
                begun.append(waiting.pop(0))
                queue = begun[-1]
            else:
                queue = draw(st.sampled_from(begun))
            events.append(queue.pop(0))
            begun = [one for one in begun if one]
    stop = draw(st.sampled_from(sorted(STOPS)))
    answer: dict[str, Any] = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": stop,
        "usage": USAGE,
    }
    told: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={"trace": st.just({"guardrail": {"a": 1}}), "serviceTier": st.just({"type": "flex"})},
        )
    )
    fields: dict[str, Any] = draw(st.sampled_from([{}, {"additionalModelResponseFields": {"x": [1]}}]))
    events.append(("messageStop", {"stopReason": stop, **fields}))
    events.append(("metadata", {"usage": USAGE, "metrics": {"latencyMs": 4}, **told}))
    return Said({**answer, **told, **fields}, events)
