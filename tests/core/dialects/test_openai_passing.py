"""OpenAI's own answers, passed on: all stays but the model's name, and a usage that nobody asked for."""

import functools
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from stargate_core.dialects.face import BadAnswer, Translator, Usage
from stargate_core.dialects.openai_passing import ChatPassing, ChatWatching, passing_body
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.wire.frames import Frame
from stargate_core.wire.sse import DONE, SseFrameDecoder
from support.dialects import deeper, sse_events, streamed

USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 5,
    "total_tokens": 35,
    "prompt_tokens_details": {"cached_tokens": 12, "cache_write_tokens": 8},
}
COUNTED = Usage(input_tokens=10, output_tokens=5, cache_read_tokens=12, cache_write_tokens=8)


def chunk(delta: dict[str, Any] | None, finish: str | None = None, **members: Any) -> dict[str, Any]:
    """A chunk as OpenAI's API sends it; without a delta it has no choices."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {
        "id": "chatcmpl-x",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "openai.gpt-oss-120b-1:0",
        "choices": [] if delta is None else [choice],
        **members,
    }


HEAD = chunk({"role": "assistant", "content": ""}, usage=None)
HELLO = chunk({"content": "Hello"}, usage=None)
STOP = chunk({}, "stop", usage=None)
TOLD = chunk(None, usage=USAGE)
WHOLE = {
    **chunk(None, object="chat.completion", usage=USAGE, system_fingerprint="fp"),
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello", "refusal": None, "reasoning": "hm"},
            "logprobs": None,
            "finish_reason": "length",
        }
    ],
}


def wire(*chunks: dict[str, Any], done: bool = True) -> bytes:
    """Chunks as they come over the wire, spaces and all."""
    body = b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in chunks)
    return body + DONE if done else body


def frames(body: bytes) -> list[Frame]:
    return SseFrameDecoder().feed(body)


def told(*chunks: dict[str, Any], include_usage: bool = True, done: bool = True) -> list[Any]:
    """The events that a caller gets of a stream."""
    machine = ChatPassing("mine", include_usage=include_usage)
    return sse_events(streamed(machine, frames(wire(*chunks, done=done))))


def named(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "model": "mine"}


class TestBody:
    def test_everything_stays_but_the_model(self) -> None:
        body = (
            b'{"model":"mine","seed":7,"messages":[{"role":"user","content":"\\u00e9"}],"temperature":1.50}'
        )
        assert passing_body(body, "openai.gpt-5", stream=False) == (
            b'{"model":"openai.gpt-5","seed":7,"messages":[{"role":"user","content":"\\u00e9"}],'
            b'"temperature":1.50}'
        )

    def test_a_model_is_named_where_the_caller_has_named_none(self) -> None:
        assert msgspec.json.decode(passing_body(b"{}", "m", stream=False)) == {"model": "m"}

    def test_a_guardrail_does_not_travel_in_the_body(self) -> None:
        body = b'{"guardrailConfig":{"guardrailIdentifier":"g","guardrailVersion":"1"},"a":1}'
        assert msgspec.json.decode(passing_body(body, "m", stream=False)) == {"a": 1, "model": "m"}

    @pytest.mark.parametrize(
        ("options", "sent"),
        [
            ({}, {"include_usage": True}),
            ({"stream_options": None}, {"include_usage": True}),
            ({"stream_options": {"include_usage": False}}, {"include_usage": True}),
            (
                {"stream_options": {"include_obfuscation": False}},
                {"include_obfuscation": False, "include_usage": True},
            ),
        ],
        ids=str,
    )
    def test_a_stream_is_asked_for_its_usage(self, options: dict[str, Any], sent: dict[str, Any]) -> None:
        made = msgspec.json.decode(passing_body(msgspec.json.encode(options), "m", stream=True))
        assert made == {"model": "m", "stream_options": sent}

    def test_what_is_nested_too_deeply_is_refused_at_any_depth(self) -> None:
        for depth in range(700, 1100, 7):
            body = b'{"stream_options":{"a":' + b"[" * depth + b"]" * depth + b"}}"
            try:
                passing_body(body, "m", stream=False)
                deeper(40, functools.partial(passing_body, body, "m", stream=True))
            except Refused as refused:
                assert refused.fault.cause is Cause.BODY_MALFORMED

    @pytest.mark.parametrize("body", [b"[]", b"{", b'{"a":' * 100_000])
    def test_what_is_no_object_is_refused(self, body: bytes) -> None:
        with pytest.raises(Refused):
            passing_body(body, "m", stream=False)


class TestWhole:
    def test_it_is_the_vendors_own_under_the_callers_name(self) -> None:
        machine = ChatPassing("mine", include_usage=False)
        reply = machine.render_answer(machine.answer([], json.dumps(WHOLE).encode()), [])
        assert msgspec.json.decode(reply.body) == named(WHOLE)
        assert reply.headers == [(b"content-type", b"application/json")]
        ChatCompletion.model_validate_json(reply.body, strict=True)
        assert (machine.complete, machine.meaningful) == (True, True)
        assert (machine.stop_reason, machine.usage) == ("length", COUNTED)

    def test_a_caller_who_named_no_model_is_told_the_answers(self) -> None:
        machine = ChatPassing(None, include_usage=False)
        assert machine.answer([], json.dumps(WHOLE).encode()).payload == WHOLE

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"choices":null}', b'"x"', b'{"choices":[]'])
    @pytest.mark.parametrize(
        "machine", [ChatPassing(None, include_usage=True), ChatWatching()], ids=["passing", "watching"]
    )
    def test_what_is_no_answer_is_never_a_success(self, body: bytes, machine: Translator) -> None:
        with pytest.raises(BadAnswer) as caught:
            machine.answer([], body)
        assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED
        assert not machine.complete

    def test_nor_is_an_error(self) -> None:
        body = b'{"error":{"type":"server_error","code":"rate_limit_exceeded","message":"slow down"}}'
        for machine in (ChatPassing(None, include_usage=True), ChatWatching()):
            with pytest.raises(BadAnswer) as caught:
                machine.answer([], body)
            assert caught.value.fault.cause is Cause.UPSTREAM_THROTTLED
            assert caught.value.fault.text == "slow down"


class TestStream:
    def test_a_whole_one(self) -> None:
        assert told(HEAD, HELLO, STOP, TOLD) == [*map(named, (HEAD, HELLO, STOP, TOLD)), "[DONE]"]

    def test_a_usage_that_nobody_asked_for_is_dropped(self) -> None:
        def without(one: dict[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in named(one).items() if name != "usage"}

        assert told(HEAD, HELLO, STOP, TOLD, include_usage=False) == [
            *map(without, (HEAD, HELLO, STOP)),
            "[DONE]",
        ]
        # What else such a chunk says is not.
        last = {**TOLD, "amazon-bedrock-trace": {"guardrail": {}}}
        assert told(HEAD, STOP, last, include_usage=False)[-2] == without(last)
        full = chunk({}, "stop", usage=USAGE)
        assert told(HEAD, full, include_usage=False)[-2] == without(full)

    def test_unknown_chunks_pass(self) -> None:
        news = {"object": "chat.completion.news", "model": "x", "moderation": {"a": [1]}}
        filters = chunk(None, prompt_filter_results=[])
        assert told(news, HEAD, filters, STOP) == [*map(named, (news, HEAD, filters, STOP)), "[DONE]"]
        assert told({"a": 1}, STOP)[0] == {"a": 1}

    def test_an_event_keeps_its_name(self) -> None:
        (frame,) = frames(b"event: news\ndata: {}\n\n")
        assert ChatPassing(None, include_usage=True).frame(frame) == b"event: news\ndata: {}\n\n"

    @pytest.mark.parametrize(
        ("chunks", "done"),
        [((), True), ((HEAD, HELLO), True), ((HEAD, HELLO, STOP, TOLD), False), ((HEAD, TOLD), True)],
        ids=str,
    )
    def test_one_end_is_not_enough(self, chunks: tuple[dict[str, Any], ...], done: bool) -> None:
        events = told(*chunks, done=done)
        assert events[-1]["error"]["code"] == "upstream_stream_broken"
        assert "[DONE]" not in events

    @pytest.mark.parametrize(
        "payload", [b"{", b"[1]", b'"x"', b"DONE", b"\xff", b'{"a":' * 10_000], ids=lambda p: repr(p[:9])
    )
    def test_what_is_no_chunk_is_garbled(self, payload: bytes) -> None:
        for machine in (ChatPassing(None, include_usage=True), ChatWatching()):
            with pytest.raises(BadAnswer) as caught:
                machine.frame(frames(b"data: " + payload + b"\n\n")[0])
            assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED

    def test_what_is_nested_too_deeply_is_garbled_at_any_depth(self) -> None:
        for depth in range(700, 1100, 7):
            payload = b'{"choices":[],"a":' + b"[" * depth + b"]" * depth + b"}"
            for machine in (ChatPassing(None, include_usage=True), ChatWatching()):
                try:
                    part = machine.answer([], payload)
                    deeper(40, functools.partial(machine.render_answer, part, []))
                    (part,) = machine.parts(frames(b"data: " + payload + b"\n\n")[0])
                    deeper(40, functools.partial(machine.render, part))
                except BadAnswer as bad:
                    assert bad.fault.cause is Cause.UPSTREAM_GARBLED

    def test_an_error_ends_it(self) -> None:
        error = {"error": {"type": "overloaded_error", "message": "busy"}}
        events = told(HEAD, HELLO, error, STOP)
        assert events[:2] == [named(HEAD), named(HELLO)]
        assert events[2]["error"]["message"] == "busy"
        assert len(events) == 3
        watching = ChatWatching()
        with pytest.raises(BadAnswer) as caught:
            watching.frame(frames(wire(error))[0])
        assert caught.value.fault.cause is Cause.UPSTREAM_UNAVAILABLE

    @pytest.mark.parametrize("error", [None, False, "", {}])
    def test_an_error_that_is_none_is_none(self, error: object) -> None:
        assert told({**STOP, "error": error}) == [{**named(STOP), "error": error}, "[DONE]"]

    def test_a_bare_role_is_nothing_to_begin_with(self) -> None:
        for one, meaningful in [
            (HEAD, False),
            (TOLD, False),
            (HELLO, True),
            (STOP, True),
            (chunk({"role": "assistant", "reasoning": "hm"}), True),
            (chunk({"tool_calls": [{"index": 0}]}), True),
        ]:
            for machine in (ChatPassing(None, include_usage=True), ChatWatching()):
                machine.frame(frames(wire(one))[0])
                assert machine.meaningful is meaningful

    def test_its_own_words(self) -> None:
        machine = ChatPassing(None, include_usage=True)
        assert machine.raw is False
        assert machine.finish() == DONE
        assert machine.keepalive().startswith(b": ")
        assert dict(machine.stream_headers([]))[b"content-type"].startswith(b"text/event-stream")
        assert sse_events(machine.broken(Fault(Cause.STREAM_CUT)))[0]["error"]["code"]


class TestWatching:
    """An answer that is shared is passed on byte for byte."""

    BODY = wire(HEAD, HELLO, STOP, TOLD)

    def test_a_stream(self) -> None:
        machine = ChatWatching()
        assert b"".join(machine.frame(frame) for frame in frames(self.BODY)) == self.BODY
        assert (machine.complete, machine.meaningful, machine.raw) == (True, True, True)
        assert (machine.stop_reason, machine.usage, machine.intervened) == ("stop", COUNTED, False)
        assert machine.finish() + machine.keepalive() + machine.broken(Fault(Cause.STREAM_CUT)) == b""

    def test_whoever_shares_it_makes_the_same_of_it(self) -> None:
        watching = ChatWatching()
        passed = b"".join(watching.frame(frame) for frame in frames(self.BODY))
        first, second = (ChatPassing("mine", include_usage=True) for _ in range(2))
        assert streamed(first, frames(self.BODY)) == streamed(second, frames(passed))

    def test_a_whole_answer_keeps_its_bytes(self) -> None:
        body = json.dumps(WHOLE, indent=2).encode()
        machine = ChatWatching()
        headers = [(b"content-type", b"application/json"), (b"x-amzn-requestid", b"r"), (b"set-cookie", b"x")]
        part = machine.answer(headers, body)
        reply = machine.render_answer(part, headers)
        assert (reply.status, reply.headers, reply.body) == (200, headers[:2], body)
        assert (machine.stop_reason, machine.usage) == ("length", COUNTED)
        part.payload["x"] = 1
        assert msgspec.json.decode(machine.render_answer(part, headers).body) == {**WHOLE, "x": 1}

    def test_the_content_type_that_says_how_to_read_it_stays(self) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"date", b"x"), (b"x-amzn-bedrock-a", b"1")]
        assert ChatWatching().stream_headers(headers) == [headers[0], headers[2]]

    @pytest.mark.parametrize(("action", "intervened"), [("INTERVENED", True), ("NONE", False)])
    def test_a_guardrail_that_has_intervened_is_noticed(self, action: str, intervened: bool) -> None:
        last = {**STOP, "amazon-bedrock-guardrailAction": action}
        for machine in (ChatPassing(None, include_usage=True), ChatWatching()):
            machine.frame(frames(wire(last))[0])
            assert machine.intervened is intervened

    def test_a_plugins_change_counts(self) -> None:
        machine = ChatWatching()
        (part,) = machine.parts(frames(wire(HELLO))[0])
        part.payload["x"] = 1
        assert sse_events(machine.render(part)) == [{**HELLO, "x": 1}]


COUNTS = st.sampled_from([0, 5, 2.0, -1, True, None, "5", 10**30])


@st.composite
def streams(draw: DrawFn) -> list[dict[str, Any]]:
    """Chunks of any kind in any order."""
    deltas = st.sampled_from(
        [
            {},
            {"role": "assistant", "content": ""},
            {"content": "a"},
            {"content": None},
            {"tool_calls": [{"index": 0, "id": "t", "type": "function", "function": {"name": "f"}}]},
            {"reasoning": "hm"},
            None,
        ]
    )
    usage = st.fixed_dictionaries(
        {},
        optional={
            "prompt_tokens": COUNTS,
            "completion_tokens": COUNTS,
            "prompt_tokens_details": st.none() | st.fixed_dictionaries({"cached_tokens": COUNTS}),
        },
    )
    one = st.builds(
        lambda delta, finish, told, more: chunk(delta, finish, **told, **more),
        deltas,
        st.sampled_from([None, "stop", "content_filter"]),
        st.just({}) | st.fixed_dictionaries({"usage": st.none() | usage}),
        st.sampled_from([{}, {"service_tier": "flex"}, {"choices": 5}, {"choices": [5, None]}]),
    )
    return draw(st.lists(one | st.just({"error": {"type": "api_error"}}) | st.just({"a": 1}), max_size=8))


def outcome(way: Callable[[Frame], bytes], frame: Frame) -> bytes | Fault:
    try:
        return way(frame)
    except BadAnswer as bad:
        return bad.fault


def rendered(machine: Translator, frame: Frame) -> bytes:
    return b"".join([machine.render(part) for part in machine.parts(frame)])


@pytest.mark.parametrize(
    "make",
    [
        lambda: ChatPassing("mine", include_usage=True),
        lambda: ChatPassing(None, include_usage=False),
        ChatWatching,
    ],
)
@given(chunks=streams(), done=st.booleans())
def test_with_and_without_plugins_it_is_the_same(
    make: Callable[[], ChatPassing | ChatWatching], chunks: list[dict[str, Any]], done: bool
) -> None:
    fast, slow = make(), make()
    for frame in frames(wire(*chunks, done=done)):
        outcomes = outcome(fast.frame, frame), outcome(functools.partial(rendered, slow), frame)
        assert outcomes[0] == outcomes[1]
        for name in ("complete", "meaningful", "stop_reason", "usage", "intervened"):
            assert getattr(fast, name) == getattr(slow, name)
        if isinstance(outcomes[0], Fault):
            break


@given(streams(), st.booleans(), st.booleans())
def test_the_rules_of_the_end_hold(chunks: list[dict[str, Any]], include_usage: bool, done: bool) -> None:
    events = told(*chunks, include_usage=include_usage, done=done)
    if events[-1] == "[DONE]":
        assert done
        assert events.count("[DONE]") == 1
        reasons = [
            choice.get("finish_reason")
            for event in events[:-1]
            for choice in (event.get("choices") if isinstance(event.get("choices"), list) else [])
            if isinstance(choice, dict)
        ]
        assert any(reasons)
        if not include_usage:
            assert all("usage" not in event for event in events[:-1])
    else:
        assert "error" in events[-1]
        assert "[DONE]" not in events


@given(st.lists(st.text(max_size=6), max_size=5), st.booleans())
def test_the_sdk_parses_what_is_passed(texts: list[str], include_usage: bool) -> None:
    chunks = [HEAD, *(chunk({"content": text}) for text in texts), STOP, TOLD]
    events = told(*chunks, include_usage=include_usage)
    made = [ChatCompletionChunk.model_validate(event, strict=True) for event in events[:-1]]
    said = "".join(c.choices[0].delta.content or "" for c in made if c.choices)
    assert said == "".join(texts)
    assert sum(one.usage is not None for one in made) == include_usage
