"""Whatever a peer sends: an answer or a refusal, never an exception. Recorded requests, each with a wound."""

import json
import shlex
from typing import Any, Final
from urllib.parse import quote, urlsplit

from hypothesis import example, given, settings
from hypothesis import strategies as st

from stargate.simulator.directives import COMMON_OPTIONS
from stargate.simulator.messages import Ended
from stargate.simulator.scenarios import SCENARIOS
from support.simulator import Wire, converse_request, signed
from support.vectors import recordings

BODIES: Final[list[tuple[str, Any]]] = [
    (urlsplit(item.uri).path, json.loads(item.request_body))
    for item in recordings()
    if not item.request_body.startswith("<")
]

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(
        ["user", "assistant", "text", "[[simulator: slow", "[[simulator: words=1 stop=x]]", "AAAA"]
    ),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["text", "role", "content", "toolUse", "type", "x"]), inner, max_size=3
        ),
    ),
    max_leaves=6,
)


def wounded(body: Any, draw: Any) -> Any:
    """The body with one of its subtrees replaced, taken out, or with a member more."""
    if isinstance(body, dict) and body and draw(st.integers(0, 4)):
        name = draw(st.sampled_from(sorted(body)))
        match draw(st.integers(0, 5)):
            case 0:
                return {key: value for key, value in body.items() if key != name}
            case 1:
                return {**body, draw(st.text(max_size=4)): draw(values)}
            case _:
                return {**body, name: wounded(body[name], draw)}
    if isinstance(body, list) and body and draw(st.integers(0, 4)):
        index = draw(st.integers(0, len(body) - 1))
        return [*body[:index], wounded(body[index], draw), *body[index + 1 :]]
    return draw(values)


VENDORS: Final[list[tuple[str, Any]]] = [
    (
        "/openai/v1/chat/completions",
        {
            "model": "openai.gpt-oss-20b-1:0",
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": [{"type": "text", "text": "f in Oslo"}]},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "rain"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
    (
        "/openai/v1/responses",
        {
            "model": "openai.gpt-oss-20b-1:0",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "f in Oslo"}]},
                {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "rain"},
            ],
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
            "reasoning": {"effort": "low", "summary": "auto"},
            "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}},
            "stream": True,
        },
    ),
    (
        "/anthropic/v1/messages",
        {
            "model": "anthropic.claude-haiku-4-5-20251001-v1:0",
            "max_tokens": 99,
            "system": [{"type": "text", "text": "be kind"}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "f in Oslo"}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "rain"}]},
            ],
            "tools": [{"name": "f", "input_schema": {"type": "object"}}],
            "stream": True,
        },
    ),
    (
        "/async-invoke",
        {
            "modelId": "amazon.nova-reel-v1:0",
            "modelInput": {"text": "a gate"},
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://bucket/a"}},
            "clientRequestToken": "token",
        },
    ),
    (
        "/guardrail-checks/invoke",
        {
            "messages": [{"role": "user", "content": [{"text": "hi"}]}],
            "checks": {"sensitiveInformation": {"entities": [{"type": "EMAIL"}]}},
        },
    ),
]
"""The operations that nobody has recorded."""


@settings(max_examples=300)
@given(st.data())
def test_so_is_one_to_an_api_that_nobody_has_recorded(data: st.DataObject) -> None:
    path, body = data.draw(st.sampled_from(VENDORS))
    raw = json.dumps(wounded(body, data.draw)).encode()
    wire = Wire()
    reply = wire.ask(signed(path, raw, headers={"anthropic-version": "2023-06-01"}))
    assert reply.whole
    assert reply.status in (200, 400, 404)
    assert wire.ledger.statistics()["running"] == 0


@settings(max_examples=100)
@given(st.text(max_size=20), st.sampled_from(["/async-invoke", "/foundation-models", "/inference-profiles"]))
@example("INF", "/async-invoke")
def test_no_query_breaks_a_listing(text: str, path: str) -> None:
    names = ("nextToken", "maxResults", "submitTimeAfter", "statusEquals", "byProvider", "type")
    for name in names:
        reply = Wire().ask(signed(f"{path}?{name}={quote(text)}", b"", method="GET"))
        assert reply.status in (200, 400)


@settings(max_examples=300)
@given(st.data())
def test_a_wounded_request_is_answered(data: st.DataObject) -> None:
    path, body = data.draw(st.sampled_from(BODIES))
    raw = json.dumps(wounded(body, data.draw)).encode()
    wire = Wire()
    reply = wire.ask(signed(path, raw))
    # A directive may be found in a wound; none of those on offer breaks the answer's HTTP.
    assert reply.whole
    assert reply.status in (200, 400)
    assert wire.ledger.statistics()["running"] == 0


OPTIONS: Final = sorted({option for scenario in SCENARIOS.values() for option in scenario.options})


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(SCENARIOS)),
    st.dictionaries(
        st.sampled_from([*OPTIONS, *COMMON_OPTIONS]),
        st.one_of(
            st.text(max_size=5),
            st.integers(-(2**70), 2**70).map(str),
            st.sampled_from(["0", "start", "stop", "x\ny", "9" * 400, "٣", "é"]),
        ),
        max_size=3,
    ),
    st.sampled_from(["converse", "converse-stream", *(path for path, _ in VENDORS[:3])]),
)
def test_no_directive_breaks_the_machine(name: str, options: dict[str, str], operation: str) -> None:
    allowed = {*SCENARIOS[name].options, *COMMON_OPTIONS}
    kept = {option: value for option, value in options.items() if option in allowed}
    if len(kept.get("words", "")) > 3:
        del kept["words"]  # a hundred thousand words are allowed, and take their time
    if name.startswith("oversize"):
        kept["length"] = "70000"  # megabytes are as good, and take their time
    wish = shlex.join([name, *(f"{option}={value}" for option, value in kept.items())])
    wire = Wire()
    if operation.startswith("/"):
        message = {"role": "user", "content": f"[[simulator: {wish}]]"}
        several = {"input": [message]} if operation.endswith("responses") else {"messages": [message]}
        tokens = {"max_tokens": 99} if operation.startswith("/anthropic") else {}
        body = {
            "model": "anthropic.claude-x" if tokens else "openai.gpt-oss-20b-1:0",
            "stream": True,
            **several,
            **tokens,
        }
        headers = {"anthropic-version": "2023-06-01"}
        wire.ask(signed(operation, json.dumps(body).encode(), headers=headers))
    else:
        wire.ask(converse_request(f"[[simulator: {wish}]]", operation=operation))
    wire.tell(Ended())
    assert wire.closed
    assert wire.ledger.statistics()["running"] == 0
