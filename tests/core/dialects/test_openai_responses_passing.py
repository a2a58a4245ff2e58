"""OpenAI's own API on Bedrock: what goes there, and what comes back under the caller's name for the model."""

import json
from typing import Any

import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from stargate_core.dialects.converse import TOKENS_MAX
from stargate_core.dialects.face import BadAnswer, Fetched, Headers, Part, Reply, Usage
from stargate_core.dialects.openai_responses_passing import (
    PassedPart,
    ResponsesPassing,
    ResponsesWatching,
    passed_body,
)
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.wire.frames import Frame
from stargate_core.wire.sse import SseFrameDecoder
from support.dialects import a_request, text_events
from support.responses import events_of, passing, responses_events
from support.sdks import openai_client

MODEL = "openai.gpt-oss-120b"
UPSTREAM: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"x-amzn-requestid", b"r"),
    (b"x-amzn-bedrock-thing", b"y"),
    (b"set-cookie", b"z"),
]


def vendors(events: list[dict[str, Any]], model: str = MODEL) -> bytes:
    """A stream as AWS would send it: here, one of our own under the model's own name."""
    made: list[bytes] = []
    for event in events:
        told = {**event, "response": {**event["response"], "model": model}} if "response" in event else event
        made.append(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(told).encode()))
    return b"".join(made)


STREAM = vendors(events_of(*text_events("Hel", "lo")))


def frames(body: bytes) -> list[Frame]:
    return SseFrameDecoder().feed(body)


def passed(body: bytes, machine: ResponsesPassing | None = None) -> bytes:
    """What a caller is written of a stream: to its end, or to the first thing that goes wrong."""
    machine = machine or ResponsesPassing(a_request(), "mine")
    written: list[bytes] = []
    for frame in frames(body):
        try:
            written.append(machine.frame(frame))
        except BadAnswer as bad:
            return b"".join(written) + machine.broken(bad.fault)
    end = machine.finish() if machine.complete else machine.broken(Fault(Cause.STREAM_CUT))
    return b"".join(written) + end


def response(**members: Any) -> dict[str, Any]:
    """A response as AWS would send it."""
    last: dict[str, Any] = events_of(*text_events("Hello"))[-1]["response"]
    return {**last, "model": MODEL, **members}


class TestBody:
    def test_it_goes_as_it_is_under_the_targets_name(self) -> None:
        body = b'{"model": "mine", "input": [{"x": 1.50}], "previous_response_id": "resp_1", "n": 1e999}'
        assert passed_body(body, MODEL, {}) == (
            b'{"model":"openai.gpt-oss-120b","input":[{"x": 1.50}],"previous_response_id":"resp_1","n":1e999}'
        )

    def test_a_model_that_was_not_named_is_named(self) -> None:
        assert passed_body(b'{"input":"hi"}', MODEL, {}) == b'{"input":"hi","model":"openai.gpt-oss-120b"}'

    def test_a_guardrail_is_no_part_of_it(self) -> None:
        assert b"guardrailConfig" not in passed_body(b'{"input":"hi","guardrailConfig":{}}', MODEL, {})

    def test_what_was_at_urls_takes_their_place(self) -> None:
        image, file, other = "https://a.example/a.png", "https://a.example/b.pdf", "https://a.example/c"
        content = [
            {"type": "input_image", "image_url": image},
            {"type": "input_image", "image_url": other},
            {"type": "input_file", "file_url": file},
            {"type": "input_text", "text": image},
        ]
        told = [{"role": "user", "content": content}, {"type": "x", "image_url": 5}]
        fetched = {image: Fetched("image/png", b"abc"), file: Fetched("application/pdf", b"abc")}
        body = passed_body(json.dumps({"input": told}).encode(), MODEL, fetched)
        assert json.loads(body)["input"][0]["content"] == [
            {"type": "input_image", "image_url": "data:image/png;base64,YWJj"},
            {"type": "input_image", "image_url": other},
            {
                "type": "input_file",
                "file_data": "data:application/pdf;base64,YWJj",
                "filename": "b.pdf",
            },
            {"type": "input_text", "text": image},
        ]

    def test_what_cannot_be_read_is_refused_where_it_must_be(self) -> None:
        with pytest.raises(Refused) as refused:
            passed_body(b'{"input":[1e999]}', MODEL, {"https://a.example": Fetched("image/png", b"a")})
        assert refused.value.fault.cause is Cause.BODY_MALFORMED


class TestStream:
    def test_only_the_models_name_is_changed(self) -> None:
        machine = ResponsesPassing(a_request(), "mine")
        told = responses_events(passed(STREAM, machine))
        assert told == responses_events(vendors(events_of(*text_events("Hel", "lo")), "mine"))
        assert machine.complete
        assert machine.stop_reason == "completed"
        assert machine.usage == Usage(10, 5, 12, 8)

    def test_events_without_a_response_keep_their_bytes(self) -> None:
        machine = ResponsesPassing(a_request(), "mine")
        for frame in frames(STREAM):
            written = machine.frame(frame)
            assert (written == frame.raw) == (b'"response":' not in frame.raw)

    def test_where_the_caller_has_named_none_the_models_own_name_stays(self) -> None:
        assert passed(STREAM, ResponsesPassing(a_request(), "")) == STREAM

    def test_it_is_meaningful_from_the_first_item(self) -> None:
        machine = ResponsesPassing(a_request(), "mine")
        created, in_progress, added, *_ = frames(STREAM)
        machine.frame(created)
        machine.frame(in_progress)
        assert not machine.meaningful
        machine.frame(added)
        assert machine.meaningful

    def test_events_that_nobody_knows_and_nobody_can_read_pass(self) -> None:
        news = b"event: response.news\ndata: not json\n\n"
        nameless = b'data: {"type":"response.other","sequence_number":1}\n\n'
        assert passed(news + nameless + STREAM).startswith(news + nameless)

    def test_what_stands_behind_the_end_is_not_passed_on(self) -> None:
        done = b"data: [DONE]\n\n"
        assert passed(STREAM + done) == passed(STREAM)
        assert passed(done + STREAM) == passed(STREAM)

    def test_what_was_cut_off_says_why(self) -> None:
        events = events_of(*text_events("a", stop="max_tokens"))
        machine = ResponsesPassing(a_request(), "mine")
        assert responses_events(passed(vendors(events), machine))[-1]["type"] == "response.incomplete"
        assert machine.complete
        assert machine.stop_reason == "max_output_tokens"

    def test_a_guardrail_that_has_stepped_in_is_noticed(self) -> None:
        *most, last = events_of(*text_events("a"))
        last["response"]["amazon-bedrock-guardrailAction"] = "INTERVENED"
        machine = ResponsesPassing(a_request(), "mine")
        passed(vendors([*most, last]), machine)
        assert machine.intervened
        machine = ResponsesPassing(a_request(), "mine")
        passed(STREAM, machine)
        assert not machine.intervened

    def test_only_the_very_end_is_the_end(self) -> None:
        pieces = [frame.raw for frame in frames(STREAM)]
        for cut in range(len(pieces)):
            told = responses_events(passed(b"".join(pieces[:cut])))
            assert [event["type"] for event in told[-2:]] == ["error", "response.failed"]
            failed = told[-1]["response"]
            assert (failed["status"], failed["model"]) == ("failed", "mine")

    @pytest.mark.parametrize("kind", ["response.created", "response.completed"])
    @pytest.mark.parametrize("data", ["{}", '{"response":5}', "[]", "x", '{"response":{"status":5}}'])
    def test_a_response_that_is_none_is_garbled(self, kind: str, data: str) -> None:
        told = responses_events(passed(f"event: {kind}\ndata: {data}\n\n".encode()))
        assert told[-2]["code"] == "upstream_protocol_error"

    def test_a_response_that_can_only_be_read_in_part_still_fails_well(self) -> None:
        data = '{"type":"response.created","sequence_number":0,"response":{"model":"m","top_p":1e999}}'
        written = passed(f"event: response.created\ndata: {data}\n\n".encode())
        told = SseFrameDecoder().feed(written)[-1]
        Response.model_validate(json.loads(told.payload)["response"], strict=True)

    def test_with_and_without_plugins_it_is_the_same(self) -> None:
        fast, slow = ResponsesPassing(a_request(), "mine"), ResponsesPassing(a_request(), "mine")
        for frame in frames(b"event: response.news\ndata: not json\n\n" + STREAM + b"data: [DONE]\n\n"):
            parts = slow.parts(frame)
            assert fast.frame(frame) == b"".join(slow.render(part) for part in parts)

    def test_what_a_plugin_changes_is_told(self) -> None:
        machine = ResponsesPassing(a_request(), "mine")
        *_, delta = [p for f in frames(STREAM)[:5] for p in machine.parts(f)]
        assert isinstance(delta, PassedPart)
        delta.payload["delta"] = "other"
        assert b'"delta":"other"' in machine.render(delta)
        assert machine.render(delta).startswith(b"event: response.output_text.delta\n")
        assert machine.render(Part(delta.kind, "x", {"type": "x"})) == b'event: x\ndata: {"type":"x"}\n\n'


def test_what_is_nested_too_deeply_is_garbled_at_any_depth() -> None:
    for depth in range(700, 1100, 13):
        nest = b"[" * depth + b"]" * depth
        told = b'{"type":"response.created","sequence_number":0,"response":{"x":%b}}' % nest
        body = b"event: response.created\ndata: %b\n\n" % told
        for machine in (ResponsesPassing(a_request(), "m"), ResponsesWatching()):
            try:
                machine.render_answer(machine.answer([], b'{"object":"response","x":%b}' % nest), [])
            except BadAnswer as bad:
                assert bad.fault.cause is Cause.UPSTREAM_GARBLED
            machine.complete = False
            try:
                for part in machine.parts(frames(body)[0]):
                    machine.render(part)
            except BadAnswer as bad:
                assert bad.fault.cause is Cause.UPSTREAM_GARBLED
            machine.broken(Fault(Cause.STREAM_CUT))
        asked = b'{"input":[%b]}' % nest
        try:
            passed_body(asked, MODEL, {"https://a.example": Fetched("image/png", b"a")})
        except Refused as refused:
            assert refused.fault.cause is Cause.BODY_MALFORMED


FAILED = {"code": "rate_limit_exceeded", "message": "slow down"}
FAILURES = [
    ("response.failed", {"type": "response.failed", "response": response(status="failed", error=FAILED)}),
    ("error", {"type": "error", **FAILED, "param": None}),
    ("error", {"type": "error", "error": {"type": "tokens", **FAILED, "param": None}}),
    ("", {"error": {"type": "tokens", **FAILED}}),
    ("", {"type": "error", **FAILED}),
]


@pytest.mark.parametrize(("name", "event"), FAILURES, ids=range(len(FAILURES)))
class TestFailures:
    def raw(self, name: str, event: dict[str, Any]) -> bytes:
        line = f"event: {name}\n" if name else ""
        return f"{line}data: {json.dumps(event)}\n\n".encode()

    def test_before_anything_was_said_it_is_an_honest_fault(self, name: str, event: dict[str, Any]) -> None:
        machine = ResponsesPassing(a_request(), "mine")
        with pytest.raises(BadAnswer) as bad:
            for frame in frames(self.raw(name, event)):
                machine.frame(frame)
        assert (bad.value.fault.cause, bad.value.fault.text) == (Cause.UPSTREAM_THROTTLED, "slow down")
        assert not machine.complete
        assert not machine.meaningful

    def test_after_that_the_caller_hears_it_in_the_stream(self, name: str, event: dict[str, Any]) -> None:
        begun = b"".join(frame.raw for frame in frames(STREAM)[:5])
        body = passed(begun + self.raw(name, event))
        *_, error, failed = responses_events(body)
        assert (error["code"], error["message"]) == ("rate_limit_exceeded", "slow down")
        assert failed["response"]["error"]["code"] == "rate_limit_exceeded"
        with (
            openai_client(lambda _: Reply(200, UPSTREAM[:1], body)) as client,
            pytest.raises(openai.APIError, match="slow down"),
        ):
            list(client.responses.create(model="m", input="hi", stream=True))

    def test_nobody_shares_it(self, name: str, event: dict[str, Any]) -> None:
        with pytest.raises(BadAnswer):
            for frame in frames(self.raw(name, event)):
                ResponsesWatching().frame(frame)


def test_a_failure_without_a_word_is_one_all_the_same() -> None:
    event = {"type": "response.failed", "response": response(status="failed")}
    with pytest.raises(BadAnswer) as bad:
        ResponsesPassing(a_request(), "m").frame(
            frames(f"event: response.failed\ndata: {json.dumps(event)}\n\n".encode())[0]
        )
    assert bad.value.fault.cause is Cause.UPSTREAM_UNKNOWN


class TestWhole:
    def test_only_the_models_name_is_changed(self) -> None:
        machine = ResponsesPassing(a_request(), "mine")
        reply = machine.render_answer(machine.answer([], json.dumps(response(top_p=1.50)).encode()), UPSTREAM)
        assert json.loads(reply.body) == response(model="mine", top_p=1.5)
        assert reply.headers == [(b"content-type", b"application/json")]
        assert (machine.complete, machine.stop_reason, machine.usage) == (
            True,
            "completed",
            Usage(10, 5, 12, 8),
        )

    def test_what_a_plugin_changes_is_told(self) -> None:
        machine = ResponsesPassing(a_request(), "mine")
        part = machine.answer([], json.dumps(response()).encode())
        part.payload["model"] = "other"
        assert json.loads(machine.render_answer(part, []).body)["model"] == "other"

    def test_an_answer_that_is_still_to_come_passes(self) -> None:
        machine = ResponsesPassing(a_request(), "mine")
        machine.answer([], json.dumps(response(status="queued", usage=None)).encode())
        assert (machine.stop_reason, machine.usage) == ("queued", None)

    @pytest.mark.parametrize(
        ("body", "cause"),
        [
            (b"", Cause.UPSTREAM_GARBLED),
            (b"[]", Cause.UPSTREAM_GARBLED),
            (b"{}", Cause.UPSTREAM_GARBLED),
            (b'{"object":5}', Cause.UPSTREAM_GARBLED),
            (b'{"object":"response","usage":5}', Cause.UPSTREAM_GARBLED),
            (b'{"object":"response","top_p":1e999}', Cause.UPSTREAM_GARBLED),
            (json.dumps({"error": FAILED}).encode(), Cause.UPSTREAM_THROTTLED),
            (json.dumps(response(status="failed", error=FAILED)).encode(), Cause.UPSTREAM_THROTTLED),
        ],
        ids=range(8),
    )
    def test_what_is_no_response_or_a_failed_one(self, body: bytes, cause: Cause) -> None:
        with pytest.raises(BadAnswer) as bad:
            ResponsesPassing(a_request(), "mine").answer([], body)
        assert bad.value.fault.cause is cause

    def test_a_count_that_cannot_be_is_the_nearest_that_can(self) -> None:
        machine = ResponsesPassing(a_request(), "m")
        machine.answer([], json.dumps(response(usage={"input_tokens": 1e300, "output_tokens": -5})).encode())
        assert machine.usage == Usage(TOKENS_MAX, 0)

    def test_counts_may_come_as_floats_or_not_at_all(self) -> None:
        machine = ResponsesPassing(a_request(), "m")
        told = {"input_tokens": 5.0, "output_tokens": None, "input_tokens_details": {"cached_tokens": 9}}
        machine.answer([], json.dumps(response(usage=told)).encode())
        assert machine.usage == Usage(0, 0, 9, 0)


class TestWatching:
    def test_every_byte_is_handed_on(self) -> None:
        machine = ResponsesWatching()
        done = b"data: [DONE]\n\n"
        assert b"".join(machine.frame(frame) for frame in frames(STREAM + done)) == STREAM + done
        assert machine.raw
        assert machine.complete
        assert (machine.usage, machine.stop_reason, machine.intervened) == (
            Usage(10, 5, 12, 8),
            "completed",
            False,
        )
        assert machine.broken(Fault(Cause.STREAM_CUT)) == machine.keepalive() == machine.finish() == b""

    def test_headers_are_those_it_came_with(self) -> None:
        assert ResponsesWatching().stream_headers(UPSTREAM) == UPSTREAM[:3]

    def test_a_whole_answer_is_kept_as_it_came(self) -> None:
        machine = ResponsesWatching()
        body = json.dumps(response(), indent=1).encode()
        reply = machine.render_answer(machine.answer(UPSTREAM, body), UPSTREAM)
        assert (reply.body, reply.headers) == (body, UPSTREAM[:3])

    def test_what_was_shared_can_be_passed_to_each(self) -> None:
        shared = ResponsesWatching()
        body = b"".join(shared.frame(frame) for frame in frames(STREAM))
        assert passed(body) == passed(STREAM)


def test_the_dialect_passes_what_openais_own_surface_answers() -> None:
    machine = passing()
    assert machine.stream_headers(UPSTREAM)[0] == (b"content-type", b"text/event-stream; charset=utf-8")
    assert machine.keepalive().startswith(b":")
    written = b"".join(machine.frame(frame) for frame in frames(STREAM))
    assert responses_events(written)[-1]["response"]["model"] == "claude"


NAMES = st.sampled_from(
    ["", "error", "response.created", "response.completed", "response.failed", "response.output_text.delta"]
)
DATA = st.one_of(
    st.text(max_size=5).filter(str.isprintable),
    st.dictionaries(
        st.sampled_from(["type", "response", "error", "object", "usage", "status", "model"]),
        st.recursive(
            st.none() | st.integers() | st.sampled_from(["failed", "completed", "response", "error"]),
            lambda inner: st.dictionaries(st.sampled_from(["error", "status", "usage", "code"]), inner),
            max_leaves=4,
        ),
    ).map(json.dumps),
)


@given(st.lists(st.tuples(NAMES, DATA), max_size=6))
def test_on_any_events_with_and_without_plugins_it_is_the_same(events: list[tuple[str, str]]) -> None:
    fast, slow = ResponsesPassing(a_request(), "mine"), ResponsesPassing(a_request(), "mine")
    body = "".join(
        f"event: {name}\ndata: {data}\n\n" if name else f"data: {data}\n\n" for name, data in events
    )
    for frame in frames(body.encode()):
        outcomes: list[bytes | Fault] = []
        for way in (fast.frame, lambda one: b"".join([slow.render(part) for part in slow.parts(one)])):
            try:
                outcomes.append(way(frame))
            except BadAnswer as bad:
                outcomes.append(bad.fault)
        assert outcomes[0] == outcomes[1]
        assert (fast.complete, fast.meaningful, fast.usage) == (slow.complete, slow.meaningful, slow.usage)
        if isinstance(outcomes[0], Fault):
            break
    told = fast.broken(Fault(Cause.STREAM_CUT))
    assert told == slow.broken(Fault(Cause.STREAM_CUT))
    assert [frame.name for frame in frames(told)] == ["error", "response.failed"]


@given(st.binary(max_size=30))
def test_any_whole_answer_is_one_or_garbled(body: bytes) -> None:
    try:
        part = ResponsesPassing(a_request(), "m").answer([], body)
    except BadAnswer:
        return
    assert msgspec.json.decode(body)["object"] == part.payload["object"] == "response"
