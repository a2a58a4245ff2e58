"""Converse's shapes: every recorded answer and event is read, and what is no answer says so without
quoting it.
"""

import msgspec
import pytest

from stargate_core.dialects.converse import (
    ANSWER,
    BLOCK_DELTA,
    MALFORMED_STOPS,
    MESSAGE_STOP,
    METADATA,
    TOKENS_MAX,
    ToolUse,
    ToolUseStart,
    any_json,
    check_stop,
    encoded,
    read,
)
from stargate_core.dialects.face import BadAnswer, Usage
from stargate_core.faults import Cause
from support.vectors import Recording, recordings

ANSWERS = [
    recording for recording in recordings() if recording.uri.endswith("/converse") and recording.status == 200
]


@pytest.mark.parametrize("recording", ANSWERS, ids=lambda recording: recording.file)
def test_a_recorded_answer_is_read(recording: Recording) -> None:
    answer = read(ANSWER, recording.body, "answer")
    plain = msgspec.json.decode(recording.body)
    assert answer.stop_reason == plain["stopReason"]
    assert len(answer.output.message.content) == len(plain["output"]["message"]["content"])
    assert answer.usage is not None
    assert answer.usage.counts().total_tokens == plain["usage"]["totalTokens"]


def test_counts_may_be_floats_or_null() -> None:
    usage = {"inputTokens": 28.0, "outputTokens": 3.0, "cacheReadInputTokens": None}
    metadata = METADATA.decode(msgspec.json.encode({"usage": usage}))
    assert metadata.usage is not None
    assert metadata.usage.counts() == Usage(input_tokens=28, output_tokens=3)


@pytest.mark.parametrize(
    ("told", "count"),
    [
        (b"1.9", 1),
        (b"-7", 0),
        (b"-0.5", 0),
        (b"9007199254740991", TOKENS_MAX),
        (b"18446744073709551616", TOKENS_MAX),
        (b"1e308", TOKENS_MAX),
        (b"null", 0),
    ],
)
def test_what_cannot_be_a_count_is_the_nearest_that_can(told: bytes, count: int) -> None:
    metadata = METADATA.decode(b'{"usage":{"inputTokens":%b,"cacheReadInputTokens":%b}}' % (told, told))
    assert metadata.usage is not None
    assert metadata.usage.counts() == Usage(input_tokens=count, cache_read_tokens=count)


def test_members_of_tomorrow_are_skipped() -> None:
    event = {"contentBlockIndex": 0, "delta": {"hologram": {"x": [1]}}, "new": True, "p": "ab"}
    delta = read(BLOCK_DELTA, msgspec.json.encode(event), "contentBlockDelta").delta
    assert (delta.text, delta.tool_use, delta.reasoning_content) == (None, None, None)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"<html>secret</html>", "answer: not JSON"),
        (
            b'{"output":{"message":{"content":[]}}}',
            "answer: Object missing required field `stopReason` at `$`",
        ),
        (b'{"stopReason":"end_turn"}', "answer: Object missing required field `output` at `$`"),
        (
            b'{"output":{"message":{"content":"secret"}}}',
            "answer: Expected `array`, got `str` at `$.output.message.content`",
        ),
        (b'{"output":{"message":{"content":[{"text":"\xff"}]}}}', "answer: not JSON"),
        (b'{"x":' + b"[" * 100_000, "answer: not JSON"),
        (b'{"usage":{"inputTokens":1e999}}', "answer: invalid value at `$.usage.inputTokens`"),
    ],
    ids=["html", "no stopReason", "no output", "content", "not UTF-8", "deep", "huge"],
)
def test_what_is_no_answer_is_garbled_and_not_quoted(body: bytes, detail: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        read(ANSWER, body, "answer")
    assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED
    assert caught.value.fault.detail == detail


def test_any_json_is_garbled_alike() -> None:
    assert any_json(b'{"a":1}', "it") == {"a": 1}
    with pytest.raises(BadAnswer) as caught:
        any_json(b'{"a":', "it")
    assert caught.value.fault.detail == "it: not JSON"


def test_malformed_output_is_an_error() -> None:
    check_stop("end_turn")
    for reason in MALFORMED_STOPS:
        with pytest.raises(BadAnswer) as caught:
            check_stop(reason)
        assert caught.value.fault.cause is Cause.MODEL_OUTPUT_MALFORMED


@pytest.mark.parametrize("told", [{"guardrail": {"actionReason": "blocked"}}, [1], "x", 0])
def test_what_may_be_of_any_type_is_kept_as_it_is(told: object) -> None:
    members = {"trace": told, "additionalModelResponseFields": told}
    answer = ANSWER.decode(
        msgspec.json.encode({"output": {"message": {"content": []}}, "stopReason": "end_turn", **members})
    )
    stop = MESSAGE_STOP.decode(msgspec.json.encode({"stopReason": "end_turn", **members}))
    metadata = METADATA.decode(msgspec.json.encode(members))
    found = (
        answer.trace,
        answer.additional_model_response_fields,
        stop.additional_model_response_fields,
        metadata.trace,
    )
    assert [None if raw is None else msgspec.json.decode(raw) for raw in found] == [told] * 4


@pytest.mark.parametrize("members", [{}, {"trace": None, "additionalModelResponseFields": None}], ids=str)
def test_what_is_not_told_is_none(members: dict[str, None]) -> None:
    assert METADATA.decode(msgspec.json.encode(members)).trace is None
    stop = MESSAGE_STOP.decode(msgspec.json.encode({"stopReason": "end_turn", **members}))
    assert stop.additional_model_response_fields is None


@pytest.mark.parametrize(
    ("kind", "is_callers"), [(None, True), ("tool_use", True), ("server_tool_use", False)]
)
def test_a_call_is_the_callers_unless_it_is_somebody_elses(kind: str | None, is_callers: bool) -> None:
    assert ToolUse("t", "f", type=kind).is_callers is is_callers
    assert ToolUseStart("t", "f", kind).is_callers is is_callers


def test_what_is_nested_too_deeply_cannot_be_written() -> None:
    nested: list[object] = []
    assert encoded(nested) == b"[]"
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(BadAnswer) as caught:
        encoded(nested)
    assert caught.value.fault.cause is Cause.UPSTREAM_GARBLED
