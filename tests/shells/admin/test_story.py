"""What became of a request, in sentences: every outcome and every cause has some."""

import pytest

from stargate.admin.story import story_of
from stargate_core.causes import TABLE, Cause
from stargate_core.record import LogRecord, Outcome
from support.observing import record


def told(record: LogRecord) -> dict[str, str]:
    return {part["title"]: part["text"] for part in story_of(record)}


def test_one_that_went_well_is_told_whole() -> None:
    words = told(record(stop_reason="end_turn", cache="miss", cache_read_tokens=3))
    assert words["How it ended"] == "Answered 200, to its end. The model stopped for end_turn."
    assert "team-a" in words["Who asked"]
    assert words["Where it went"].startswith("ConverseStream of us.anthropic.claude-sonnet")
    assert (
        "2300.5 ms in all. The first byte of the answer went out after 300.5 ms." in words["How long it took"]
    )
    assert "10.5 tokens a second." in words["How long it took"]
    assert words["What it used"].startswith(
        "100 tokens of input, 21 of output. Of Bedrock's prompt cache: 3 read"
    )
    assert words["Cache"].startswith("Nothing was kept")


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_is_explained(cause: Cause) -> None:
    row = TABLE[cause]
    words = told(record(outcome=Outcome.FAILED, status=row.status, code=row.code, cause=cause.name))
    assert f"{cause.name} ({row.code}): {row.message.rstrip('.')}." in words["How it ended"]
    assert "trying again" in words["How it ended"]


@pytest.mark.parametrize(
    ("outcome", "status", "expected"),
    [
        (Outcome.CLIENT_LEFT, 0, "The client left before its answer was whole"),
        (Outcome.FAILED, 200, "Answered 200, and broken off within the answer."),
        (Outcome.FAILED, 502, "Failed: answered 502."),
        (Outcome.COMPLETE, 404, "Answered 404."),
    ],
)
def test_every_end_is_told_apart(outcome: Outcome, status: int, expected: str) -> None:
    assert told(record(outcome=outcome, status=status))["How it ended"].startswith(expected)


def test_one_that_never_left_says_so() -> None:
    words = told(
        record(target="", model="", input_tokens=0, output_tokens=0, consumer="", cause="NO_SUCH_CAUSE")
    )
    assert words["Where it went"] == "No call to Bedrock was made."
    assert words["Who asked"].startswith("Nobody known by name, from 127.0.0.1:4444")
    assert "What it used" not in words
    assert "NO_SUCH_CAUSE" in words["How it ended"]
