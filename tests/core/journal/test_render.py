"""Renderings: whoever reads one and nothing else can tell what happened, and by what cause."""

import re
from typing import Any, Final

import msgspec
import pytest

from stargate_core.config.plugin_configs import ResponseCache
from stargate_core.config.schema import PluginEntry
from stargate_core.direction import BreakerPolicy
from stargate_core.faults import Cause
from stargate_core.gateway.breaker import Breaker
from stargate_core.gateway.session import Session
from stargate_core.journal.format import BreakerBeginning, Journal, Unreadable
from stargate_core.journal.lives import Ring
from stargate_core.journal.recorder import Recorder
from stargate_core.journal.render import SHOWN_OF_A_ROW, render
from stargate_core.messages import CallReported, UpstreamSent
from stargate_core.plugins.registry import BUILT_IN
from support.bedrock import LAST_CHUNK, aws_error, chunk, converse_answer, converse_story, stream_head
from support.journals import SCENARIOS, RecordedBench, RecordedFlight, journal
from support.machines import a_config, a_plan, chat

CAUSES: Final = {
    "exception-in-stream": "UPSTREAM_MODEL_ERROR",
    "bad-crc": "STREAM_CORRUPT",
    "rate-limited": "RATE_LIMITED",
    "client-left": "the client left",
    "cache-follower": "UPSTREAM_THROTTLED",
}
"""What is the last line's cause; nothing for those that went well."""


def rendered(journal_: Journal, *, whole: bool = False) -> list[str]:
    """Its lines."""
    return list(render(journal_, BUILT_IN, whole=whole))


def scenario(name: str) -> list[str]:
    """The lines of a scenario's first life."""
    return rendered(journal(SCENARIOS[name]()[0]))


class TestCause:
    @pytest.mark.parametrize("name", SCENARIOS)
    def test_the_last_line_names_it(self, name: str) -> None:
        lines = scenario(name)
        causes = [line for line in lines if line.startswith("Cause: ")]
        if name in CAUSES:
            assert causes == lines[-1:]
            assert causes[0].startswith(f"Cause: {CAUSES[name]}")
        else:
            assert causes == []
            assert lines[-1] == "  Outcome: complete, status 200."

    @pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
    def test_it_has_the_code_and_bedrocks_own_words(self, status: int) -> None:
        bench = RecordedBench()
        bench.ask(chat())
        bench.open()
        bench.answer(aws_error("InternalServerException", status, "It is the moon."))
        (last, *_) = reversed(rendered(journal(bench.life)))
        assert last.endswith("InternalServerException at AWS: It is the moon.")
        assert Cause.UPSTREAM_INTERNAL.name in last

    def test_what_never_became_a_request_has_one_too(self) -> None:
        bench = RecordedBench()
        bench.send(b"no http at all\r\n\r\n")
        lines = rendered(journal(bench.life))
        assert lines[-2] == "What the client sent never became a request."
        assert lines[-1].startswith("Cause: ")

    def test_so_has_a_bug(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bench = RecordedBench()
        bench.ask(chat())
        bench.open()

        def buggy(_session: Session, _now: int, _event: Any) -> Any:
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            patched.setattr(Session, "handle", buggy)
            with pytest.raises(ZeroDivisionError):
                bench.answer(b"HTTP/1.1 200 OK\r\n\r\n")
        handle = Session.handle

        def again(session: Session, now: int, event: Any) -> Any:
            if isinstance(event, UpstreamSent):
                raise ZeroDivisionError
            return handle(session, now, event)

        monkeypatch.setattr(Session, "handle", again)
        lines = rendered(journal(bench.life))
        assert "              !! the machine fails by a bug of its own: ZeroDivisionError" in lines
        assert lines[-1] == "Cause: a bug: ZeroDivisionError on UpstreamSent"
        assert "  It is not over: Awaiting." in lines


class TestTimeLine:
    def test_times_are_since_the_beginning(self) -> None:
        times = [
            float(found[1].replace(",", ""))
            for line in scenario("exception-in-stream")
            if (found := re.match(r" *([0-9,]+\.[0-9]{3})   ", line))
        ]
        assert times[:3] == [0.0, 3.0, 253.0]
        assert times == sorted(times)

    def test_states_are_told_as_they_change(self) -> None:
        states = [line.partition("== ")[2] for line in scenario("retry-then-success") if "== " in line]
        assert states == ["Opening", "Awaiting", "Pausing", "Asking", "Opening", "Awaiting", "Waiting"]

    def test_a_plugin_that_waits_is_named(self) -> None:
        assert "              == Admitting: rate-limiter waits" in scenario("rate-limited")

    def test_attempts_are_told(self) -> None:
        attempts = [line.split() for line in scenario("failover") if line.startswith("  attempt: ")]
        assert [(where.partition("/")[0], how, took) for _, where, how, took in attempts] == [
            ("us-east-1", "CONNECT_FAILED", "0ms"),
            ("us-west-2", "OK", "300ms"),
        ]

    def test_the_title_says_what_it_is(self) -> None:
        whole = journal(SCENARIOS["bad-crc"]()[0], lambda header, entries, _: (header, entries))
        lines = rendered(whole)
        assert lines[0] == (
            "A session of 192.0.2.7, recorded by Stargate 0. It begins at 2027-01-15T08:00:02.000Z."
        )
        assert lines[1] == f"It was written for request {whole.header.request_id}: STREAM_CORRUPT."
        assert lines[2] == "What was said is redacted: the lengths are life's, the words are not."

    def test_no_line_can_steer_a_terminal(self) -> None:
        bench = RecordedBench()
        bench.ask(chat(headers={"x-odd": "a"}, user="\x1b[31m"))
        bench.open()
        bench.answer(b"HTTP/1.1 500 \x1b[31m\r\n\r\n\x1b[31m")
        bench.upstream_ends()
        assert all(line.isprintable() for line in rendered(journal(bench.life)))


class TestOthers:
    """Machines that are no sessions."""

    def flight(self, *answers: bytes) -> list[str]:
        """A flight that has had these answers."""
        cache = PluginEntry(name="response-cache", config=ResponseCache())
        bench = RecordedBench(a_plan(a_config(cache)))
        bench.ask(chat())
        flight = RecordedFlight(bench)
        flight.answer(*answers)
        return rendered(journal(flight.recorder.life.snapshot()))

    def test_a_flight_that_is_over(self) -> None:
        lines = self.flight(converse_answer())
        assert lines[0].startswith("A flight 1, recorded by Stargate 0. It begins at 2027-")
        assert lines[-1] == "Outcome: the answer is whole."

    def test_a_flight_that_has_failed(self) -> None:
        last = self.flight(aws_error("ValidationException", 400, "Too warm"))[-1]
        assert last.startswith("Cause: UPSTREAM_VALIDATION: INVALID_REQUEST 400, the client's mistake")
        assert last.endswith("ValidationException at AWS: Too warm")

    def test_a_flight_that_is_not(self) -> None:
        assert self.flight()[-1] == "The flight is not over."

    def test_a_breaker_has_no_states_and_is_told_all_the_same(self) -> None:
        recorder = Recorder(Breaker(), BreakerBeginning(), Ring(1 << 30, 1 << 30), now=0)
        recorder.handle(0, CallReported("here", BreakerPolicy(failures=1), ok=False, first=True))
        lines = rendered(journal(recorder.life))
        assert lines[0] == "A breaker, recorded by Stargate 0."
        assert any(line.strip().startswith("-> TellHealth(") for line in lines)


class TestLongStreams:
    def lines(self, count: int, *, whole: bool = False) -> list[str]:
        bench = RecordedBench()
        bench.ask(chat(stream=True))
        bench.open()
        bench.answer(stream_head())
        for frame in converse_story([f"word{number} " for number in range(count)]).frames:
            bench.now += 1_000_000
            bench.answer(chunk(frame))
        bench.answer(LAST_CHUNK)
        return rendered(journal(bench.life), whole=whole)

    def test_the_middle_is_summed_up(self) -> None:
        lines = self.lines(100)
        (summary,) = [line for line in lines if "more like these" in line]
        assert re.fullmatch(
            r" *… [0-9]+ more like these in [0-9.]+ ms: [0-9,]+ bytes in, [0-9,]+ out", summary
        )
        told = sum("Bedrock sends" in line for line in lines)
        assert told < 4 * SHOWN_OF_A_ROW + 4
        assert any("event metadata" in line for line in lines), "the last ones are told"

    def test_a_short_one_is_told_whole(self) -> None:
        lines = self.lines(4)
        assert not any("more like these" in line for line in lines)
        assert all(any(f"word{number}" in line for line in lines) for number in range(4))

    def test_so_is_a_long_one_where_that_is_wanted(self) -> None:
        lines = self.lines(100, whole=True)
        assert all(any(f"word{number} " in line for line in lines) for number in range(100))


class TestDivergence:
    def test_it_stops_there_and_says_so(self) -> None:
        whole = journal(SCENARIOS["stream-ok"]()[0])
        entries = list(whole.entries)
        entries[4] = msgspec.structs.replace(entries[4], fold=b"otherwise")
        lines = rendered(Journal(whole.header, entries, whole.trailer))
        (line,) = [line for line in lines if line.startswith("Entry 4 is where it parts from the journal: ")]
        assert "with other contents" in line
        assert sum("Bedrock sends" in line for line in lines) == 3

    def test_what_was_known_when_it_was_written_is_in_the_title(self) -> None:
        whole = journal(SCENARIOS["stream-ok"]()[0])
        trailer = msgspec.structs.replace(whole.trailer, diverged_at=7)
        line = "Without secrets and words it takes another course than life did, from entry 7 on."
        assert line in rendered(Journal(whole.header, whole.entries, trailer))

    def test_what_cannot_be_made_is_unreadable_before_a_line_is_told(self) -> None:
        whole = journal(SCENARIOS["stream-ok"]()[0])
        header = msgspec.structs.replace(whole.header, configurations={})
        with pytest.raises(Unreadable, match="it has no configuration 1"):
            render(Journal(header, whole.entries, whole.trailer), BUILT_IN)
