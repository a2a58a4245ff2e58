"""The board: one record is counted once, whichever worker counts it, and whoever has died since."""

import os
import signal
from collections.abc import Callable
from typing import Final

import msgspec
import pytest

from stargate.observing import lanes
from stargate.observing.board import MODELS_MAX, Boards, attempts, durations
from stargate.observing.memory import OTHER
from stargate_core.record import Attempt, LogRecord, Outcome
from support.observing import REQUEST_ID, record

forks: Final = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")


def in_another_process(work: Callable[[], None], *, killed: bool = False) -> None:
    """Have a child do this, and wait until it has ended; killed: by SIGKILL, when it has done it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
            if killed:
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (-signal.SIGKILL if killed else 0)


def requests(boards: Boards) -> int:
    return sum(numbers[0] for numbers in boards.table("requests").values())


class TestCounting:
    def test_a_record_is_counted_in_every_table(self) -> None:
        boards = Boards(1)
        boards.at(0).observe(record())
        assert boards.table("requests") == {
            ("team-a", "openai-chat", "claude", "openai-chat", "200", "", "complete"): (1,)
        }
        totals = boards.totals()
        usage = totals.usage
        assert (usage.requests, usage.errors, usage.input_tokens, usage.output_tokens) == (1, 0, 100, 21)
        assert (usage.cost_nano_usd, usage.cost_usd) == (615_000, 0.000615)
        assert totals.consumers == {"team-a": usage}
        assert totals.models == {"claude": usage}
        assert sum(totals.total_ms.counts) == sum(totals.first_byte_ms.counts) == 1
        assert totals.total_ms.sum_ms == 2300.5
        assert totals.total_ms.counts[totals.total_ms.bounds_ms.index(2560)] == 1
        assert boards.number(lanes.FAILED) == 0

    @pytest.mark.parametrize(
        ("changes", "errors", "left"),
        [
            ({}, 0, 0),
            ({"status": 429, "code": "RATE_LIMITED", "outcome": Outcome.FAILED}, 1, 0),
            ({"outcome": Outcome.FAILED, "code": "IDLE_TIMEOUT"}, 1, 0),
            ({"status": 0, "outcome": Outcome.CLIENT_LEFT}, 0, 1),
            ({"status": 404, "outcome": Outcome.COMPLETE}, 1, 0),
        ],
        ids=["well", "refused", "broken off", "left", "a plugin's 404"],
    )
    def test_what_is_an_error(self, changes: dict[str, object], errors: int, left: int) -> None:
        boards = Boards(1)
        boards.at(0).observe(record(**changes))
        usage = boards.totals().usage
        assert (usage.requests, usage.errors, usage.client_left) == (1, errors, left)

    def test_tokens_of_kept_answers_are_told_apart(self) -> None:
        boards = Boards(1)
        board = boards.at(0)
        board.observe(record(cache="miss"))
        board.observe(record(cache="hit", cost_usd=0.0, attempts=0))
        totals = boards.totals()
        assert (totals.usage.input_tokens, totals.usage.kept_input_tokens) == (200, 100)
        assert (totals.usage.output_tokens, totals.usage.kept_output_tokens) == (42, 21)
        assert totals.cache == {"miss": 1, "hit": 1}

    def test_money_is_summed_exactly(self) -> None:
        """A tenth of a nano-dollar off each time would show after so many."""
        boards = Boards(1)
        board = boards.at(0)
        for _ in range(1000):
            board.observe(record(cost_usd=123_456_789 / 1e9))
        assert boards.totals().usage.cost_nano_usd == 123_456_789_000

    def test_it_never_raises(self) -> None:
        boards = Boards(1)
        board = boards.at(0)
        board.observe(None)  # type: ignore[arg-type]
        assert boards.number(lanes.FAILED) == 1
        board.observe(record())
        assert requests(boards) == 1

    def test_models_that_callers_make_up_leave_room_for_those_that_answer(self) -> None:
        boards = Boards(1)
        board = boards.at(0)
        for number in range(3 * MODELS_MAX):
            board.observe(record(model=f"made-up-{number}", status=404, outcome=Outcome.FAILED))
        board.observe(record(model="real"))
        models = boards.totals().models
        assert models["real"].requests == 1
        assert models[OTHER].requests == 3 * MODELS_MAX - MODELS_MAX // 2
        assert len(models) == MODELS_MAX // 2 + 2
        assert boards.number(lanes.FOLDED) == models[OTHER].requests
        assert requests(boards) == 3 * MODELS_MAX + 1


class TestTimes:
    def test_of_a_stream(self) -> None:
        assert dict(durations(record())) == {
            "duration": 2.3005,
            "overhead": 0.00075,
            "first_byte": 0.3005,
            "first_token": 0.3,
            "between_tokens": 0.1,
            "lease": 0.00025,
        }

    def test_of_what_was_refused(self) -> None:
        refused = LogRecord("2026-01-02T03:04:05.678Z", REQUEST_ID, 1, Outcome.FAILED, 401, total_ms=0.2)
        assert dict(durations(refused)) == {"duration": 0.0002, "overhead": 0.0}


class TestAttempts:
    def test_an_exchanges_own(self) -> None:
        calls = (
            Attempt("us-east-1/claude", "UPSTREAM_THROTTLED", 0.0, 12.0, status=429),
            Attempt("eu-west-1/claude", "OK", 20.0, 700.0, status=200),
        )
        assert attempts(record(calls=calls, attempts=2)) == [
            ("us-east-1/claude", "UPSTREAM_THROTTLED"),
            ("eu-west-1/claude", "OK"),
        ]

    def test_those_that_were_made_for_several(self) -> None:
        tried = ("us-east-1/claude UPSTREAM_THROTTLED 12ms", "eu west OK 700ms")
        assert attempts(record(calls=(), tried=tried, attempts=2)) == [
            ("us-east-1/claude", "UPSTREAM_THROTTLED"),
            ("eu west", "OK"),
        ]

    def test_the_first_of_these_that_went_well(self) -> None:
        assert attempts(record(calls=(), target="claude", attempts=2)) == [("us-east-1/claude", "OK")] * 2

    def test_none_where_nothing_was_called(self) -> None:
        assert attempts(record(calls=(), attempts=0)) == []

    def test_they_are_counted(self) -> None:
        boards = Boards(1)
        boards.at(0).observe(record())
        assert boards.table("attempts") == {("us-east-1/claude", "OK"): (1,)}


def test_a_refusal_of_the_limiter_is_counted_by_its_limit() -> None:
    boards = Boards(1)
    boards.at(0).observe(record(status=429, limited_by="tokens_per_minute_by_key", attempts=0))
    assert boards.table("counts") == {("refusals", "tokens_per_minute_by_key"): (1,)}


class TestRecords:
    def test_the_newest_come_first_over_all_places(self) -> None:
        boards = Boards(2)
        one, two = boards.at(0), boards.at(1)
        for second in range(6):
            time = f"2026-01-02T03:04:0{second}.000Z"
            (one, two)[second % 2].observe(record(time=time, request_id=f"id-{second}"))
        assert [found.request_id for found in boards.recent(4)] == ["id-5", "id-4", "id-3", "id-2"]
        assert len(boards.recent(100)) == 6

    def test_one_is_found_by_its_id_as_it_was(self) -> None:
        boards = Boards(2)
        told = record(tried=("us-east-1 UPSTREAM_THROTTLED 12ms",), detail="as it was")
        boards.at(1).observe(told)
        assert boards.find(REQUEST_ID) == told
        assert boards.find("as it was") is None

    def test_one_that_is_too_long_is_kept_shortened(self) -> None:
        boards = Boards(1)
        boards.at(0).observe(record(detail="d" * 5000, tried=("t" * 3000,)))
        kept = boards.find(REQUEST_ID)
        assert kept is not None
        assert kept.detail == "d" * 200
        assert kept.tried == ()
        assert boards.number(lanes.UNKEPT) == 0


class TestStatuses:
    def test_a_worker_that_has_said_nothing_is_there(self) -> None:
        boards = Boards(1)
        boards.at(0)
        (status,) = boards.statuses()
        assert (status.place, status.pid, status.status, status.told_at) == (0, os.getpid(), {}, 0.0)

    def test_its_last_word_counts(self) -> None:
        boards = Boards(1)
        board = boards.at(0)
        board.tell(b'{"generation":1}')
        board.tell(b'{"generation":2}')
        (status,) = boards.statuses()
        assert status.status == {"generation": 2}
        assert status.told_at >= status.started_at > 0

    def test_it_is_bounded(self) -> None:
        board = Boards(1).at(0)
        with pytest.raises(ValueError, match="at most 65536"):
            board.tell(b"x" * 65_537)

    def test_one_that_has_left_has_none_and_its_counts_stay(self) -> None:
        boards = Boards(1)
        board = boards.at(0)
        board.observe(record())
        board.tell(msgspec.json.encode({"generation": 1}))
        board.leave()
        assert boards.statuses() == []
        assert requests(boards) == 1


@forks
class TestSeveralProcesses:
    def test_all_are_read_by_one(self) -> None:
        boards = Boards(3)
        for place in range(3):
            in_another_process(lambda place=place: boards.at(place).observe(record()))  # type: ignore[misc]
        assert requests(boards) == 3
        assert boards.statuses() == []
        assert boards.restarts == 0

    def test_who_comes_after_one_that_was_killed_goes_on_with_its_counts(self) -> None:
        boards = Boards(2)

        def life() -> None:
            board = boards.at(0)
            board.tell(b'{"generation":1}')
            board.observe(record())
            board.observe(record(model="nova"))

        in_another_process(lambda: boards.at(1).observe(record()))
        in_another_process(life, killed=True)
        assert boards.statuses() == [], "its state is nobody's"
        in_another_process(life)
        assert requests(boards) == 5
        assert {labels[2]: numbers for labels, numbers in boards.table("requests").items()} == {
            "claude": (3,),
            "nova": (2,),
        }
        assert boards.restarts == 1

    def test_two_in_one_place_have_a_lane_each(self) -> None:
        """One drains, and its successor has begun."""
        boards = Boards(2)
        draining = boards.at(0)
        in_another_process(lambda: boards.at(0).observe(record()))
        draining.observe(record())
        assert requests(boards) == 2
        assert [status.pid for status in boards.statuses()] == [os.getpid()]

    def test_with_no_lane_left_a_worker_counts_for_itself(self) -> None:
        boards = Boards(1)
        first, second = boards.at(0), boards.at(0)
        assert (first.shared, second.shared) == (True, False)
        second.observe(record())
        first.observe(record())
        assert requests(boards) == 1
