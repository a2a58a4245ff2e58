"""Words: every event and every order has some, and none of them steers a terminal or shows a secret."""

from typing import Any, Final, get_args

import pytest

from stargate_core.clock import SECOND
from stargate_core.direction import BreakerPolicy
from stargate_core.faults import Cause, Fault
from stargate_core.journal.format import AnyEvent
from stargate_core.journal.words import Words, fault_words
from stargate_core.limits.buckets import Algorithm, Bucket, Charge, Claim, Level, Verdict
from stargate_core.messages import (
    Answered,
    Ask,
    BreakerCommand,
    ClientSent,
    Draining,
    Emit,
    FlightCommand,
    FlightEvent,
    Health,
    HealthChanged,
    KeyringCommand,
    Note,
    PoolCommand,
    SessionCommand,
    SessionEvent,
    Tell,
    Trouble,
    UpstreamFailed,
    UpstreamSent,
    WriteClient,
    WriteUpstream,
)
from stargate_core.questions import CallEnded, Entry, Question, Settle, Statement, Take
from support.bedrock import converse_answer
from support.machines import chat
from support.samples import samples

BUCKET: Final = Bucket("requests:team-a", next(iter(Algorithm)), 5)
TAKE: Final = Take((Claim(BUCKET, 2),), "lease", 1)


def is_shown(text: str) -> bool:
    """Whether a terminal would show it, and do nothing else."""
    return all(character >= " " for character in text)


class TestAllOfThem:
    @pytest.mark.parametrize("kind", get_args(AnyEvent), ids=lambda kind: kind.__name__)
    def test_every_event_has_words(self, kind: Any) -> None:
        for event in samples(kind, secret="PLANTED"):
            line, details = Words().event(event)
            assert line
            assert all(map(is_shown, (line, *details)))
            assert "PLANTED" not in "".join((line, *details))
            if kind in get_args(FlightEvent) and kind in get_args(SessionEvent):
                assert not line.startswith(kind.__name__), "its repr is nobody's words"

    @pytest.mark.parametrize("kind", get_args(FlightCommand), ids=lambda kind: kind.__name__)
    def test_every_order_has_words(self, kind: Any) -> None:
        for command in samples(kind, secret="PLANTED"):
            line, details = Words().command(command)
            assert line
            assert not line.startswith(kind.__name__), "its repr is nobody's words"
            assert all(map(is_shown, (line, *details)))
            assert "PLANTED" not in "".join((line, *details))

    @pytest.mark.parametrize("kind", get_args(Question), ids=lambda kind: kind.__name__)
    def test_every_question_has_words(self, kind: Any) -> None:
        for question in samples(kind, secret="PLANTED"):
            line, _ = Words().command(Ask(1, question))
            assert line.startswith("question #1: ")
            assert kind.__name__ not in line
            assert "PLANTED" not in line

    @pytest.mark.parametrize("kind", get_args(Statement), ids=lambda kind: kind.__name__)
    def test_every_statement_has_words(self, kind: Any) -> None:
        for statement in samples(kind):
            line, _ = Words().command(Tell(statement))
            assert kind.__name__ not in line

    @pytest.mark.parametrize(
        "kind",
        [
            kind
            for orders in (PoolCommand, BreakerCommand, KeyringCommand)
            for kind in get_args(orders)
            if kind not in get_args(FlightCommand)
        ],
        ids=lambda kind: kind.__name__,
    )
    def test_an_order_of_a_machine_without_words_is_told_by_its_repr(self, kind: Any) -> None:
        for command in samples(kind, secret="PLANTED"):
            line, details = Words().command(command)
            assert line.startswith(f"{kind.__name__}(")
            assert list(details) == []
            assert is_shown(line)
            assert "PLANTED" not in line

    def test_those_of_a_session_are_all_there_are(self) -> None:
        assert set(get_args(SessionCommand)) < set(get_args(FlightCommand))


class TestSome:
    @pytest.mark.parametrize(
        ("event", "line"),
        [
            (
                UpstreamFailed(3, Trouble.REFUSED, "Connection refused"),
                "no lease for #3: refused (Connection refused)",
            ),
            (HealthChanged("us-east-1", Health.HALF_OPEN), "the breaker of us-east-1 is half-open"),
            (Draining(5 * SECOND), "the gateway is to end, within 5 s"),
            (Answered(1, Entry(b"123", 2_500_000)), "#1 is answered: 3 bytes, 2.5 s old"),
            (Answered(1, True), "#1 is answered: yes"),
            (Answered(1, None), "#1 is answered: nothing"),
            (Answered(1, ""), "#1 is answered: yes"),
            (Answered(1, "wrong key"), "#1 is answered: wrong key"),
        ],
    )
    def test_an_event(self, event: Any, line: str) -> None:
        assert Words().event(event)[0] == line

    @pytest.mark.parametrize(
        ("command", "line"),
        [
            (Note("error", "x\x1b"), "a note (error): x\\x1b"),
            (
                Tell(CallEnded("here", BreakerPolicy(), ok=False, first=True)),
                "the breaker hears of a call that speaks against here",
            ),
            (
                Tell(Settle((Charge(BUCKET, 10, 7),), "lease", 1)),
                "the store hears: used 7 of requests:team-a",
            ),
            (Ask(1, TAKE), "question #1: may this be taken: 2 of requests:team-a?"),
        ],
    )
    def test_an_order(self, command: Any, line: str) -> None:
        assert Words().command(command)[0] == line

    @pytest.mark.parametrize(
        ("verdict", "line"),
        [
            (Verdict(True, 1, ()), "#1 is answered: yes"),
            (
                Verdict(False, 1, (Level(0, 1),), 0, 41_000_000),
                "#1 is answered: no, requests:team-a has not so much; in 41 s",
            ),
            (Verdict(False, 1, (), -1, -1), "#1 is answered: no; never"),
        ],
    )
    def test_a_verdict_names_the_limit(self, verdict: Verdict, line: str) -> None:
        words = Words()
        words.command(Ask(1, TAKE))
        assert words.event(Answered(1, verdict))[0] == line

    def test_both_directions_are_read_as_http(self) -> None:
        words = Words()
        _, asked = words.event(ClientSent(chat()))
        _, called = words.command(WriteUpstream(1, chat()))
        _, answered = words.event(UpstreamSent(1, converse_answer()))
        _, told = words.command(WriteClient(converse_answer()))
        assert asked[0] == called[0] == "POST /v1/chat/completions HTTP/1.1"
        assert answered[0] == told[0] == "HTTP/1.1 200 X"

    def test_a_record_is_shown_whole(self) -> None:
        record = b'{"a":"' + b"x" * 2000 + b'"}'
        assert Words().command(Emit("log", record + b"\n")) == ("a record for log", [record.decode()])


def test_a_fault_is_one_line_with_its_cause_and_its_code() -> None:
    fault = Fault(Cause.UPSTREAM_THROTTLED, "Slow down.", detail="d", aws_name="ThrottlingException")
    assert fault_words(fault) == (
        "UPSTREAM_THROTTLED: RATE_LIMITED 429, the upstream's mistake, "
        "ThrottlingException at AWS: Slow down. (d)"
    )
