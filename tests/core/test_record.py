"""The record's schema is closed: what it may hold is written here once more, so that it can't grow unseen."""

from typing import Any, get_type_hints

import msgspec
import pytest

from stargate_core.record import Attempt, Failed, LogRecord, Outcome

FIELDS = {
    "agent_id", "attempts", "cache", "cache_read_tokens", "cache_write_tokens", "calls", "cause", "client",
    "code", "consumer", "cost_estimated", "cost_usd", "detail", "dialect", "first_byte_ms",
    "first_token_ms", "generation", "input_tokens", "inter_token_ms", "key_id", "lease_ms", "limited_by",
    "method", "model", "operation", "outcome", "output_events", "output_tokens", "overhead_ms",
    "parent_agent_id", "redactions", "region", "request_bytes", "request_class", "request_id",
    "response_bytes", "route", "session_id", "span_id", "status", "stop_reason", "stream", "target", "time",
    "total_ms", "trace_id", "tried", "upstream_exception", "upstream_ms", "upstream_request_id",
    "upstream_status", "usage_estimated",
}  # fmt: skip


def a_record(**members: Any) -> LogRecord:
    """A record of nothing in particular."""
    return LogRecord("2027-01-15T08:00:00.000Z", "0" * 32, 1, Outcome.COMPLETE, 200, **members)


class TestSchema:
    def test_it_has_these_fields_and_no_others(self) -> None:
        assert set(LogRecord.__struct_fields__) == FIELDS

    def test_none_of_them_can_hold_a_structure(self) -> None:
        """A body or a header map would need one. `tried` is the gateway's own words, one text an attempt;
        `calls` is the same as data, and as closed as the record itself.
        """
        kinds = get_type_hints(LogRecord)
        assert (kinds.pop("tried"), kinds.pop("calls")) == (tuple[str, ...], tuple[Attempt, ...])
        assert set(kinds.values()) == {str, int, float, bool, Outcome}
        assert set(get_type_hints(Attempt).values()) == {str, int, float}

    def test_no_plugin_can_add_one(self) -> None:
        with pytest.raises(AttributeError):
            a_record().prompt = "hello"  # type: ignore[attr-defined]
        with pytest.raises(TypeError):
            a_record(prompt="hello")

    def test_what_is_not_known_is_left_out(self) -> None:
        members = msgspec.json.decode(msgspec.json.encode(a_record()))
        assert sorted(members) == ["generation", "outcome", "request_id", "status", "time"]

    @pytest.mark.parametrize("outcome", list(Outcome))
    def test_outcome_and_status_are_told_even_when_there_was_none(self, outcome: Outcome) -> None:
        record = msgspec.structs.replace(a_record(), outcome=outcome, status=0, generation=0)
        members = msgspec.json.decode(msgspec.json.encode(record))
        assert (members["outcome"], members["status"], members["generation"]) == (outcome.value, 0, 0)

    def test_a_record_is_one_line_whatever_stands_in_it(self) -> None:
        line = msgspec.json.encode(a_record(model="a\nb\r\n\u2028\x00", detail='"quoted"\n'))
        assert line.splitlines() == [line]
        assert msgspec.json.decode(line)["model"] == "a\nb\r\n\u2028\x00"

    def test_outcomes_are_words(self) -> None:
        assert [outcome.value for outcome in Outcome] == ["complete", "failed", "client_left"]


class TestFailed:
    def test_it_is_what_it_says_and_stays_so(self) -> None:
        failed = Failed("0" * 32, 502, "upstream_lost")
        assert failed == Failed("0" * 32, 502, "upstream_lost") != Failed("0" * 32, 502, "")
        with pytest.raises(AttributeError):
            failed.status = 200  # type: ignore[misc]
