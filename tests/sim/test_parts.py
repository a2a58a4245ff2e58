"""What a world is made of, each part by itself: the agenda, wires, the ledger, the readers, the Redis."""

import json
import random

import pytest

from sim import readings
from sim.agenda import Agenda
from sim.http_answer import read_answer
from sim.ledger import Ledger
from sim.readings import Unreadable
from sim.violation import Violation
from sim.wires import End, Weather, connected
from stargate_core.clock import SECOND
from stargate_core.limits.buckets import Algorithm, Bucket, Charge, Claim, Level, Verdict


def an_agenda() -> Agenda:
    return Agenda(random.Random(1))


# ------------------------------------------------------------------------------------------------- the agenda


def test_what_is_due_happens_in_the_order_of_time() -> None:
    agenda, seen = an_agenda(), list[int]()
    for when in (5, 1, 3):
        agenda.at(when, lambda when=when: seen.append(when))  # type: ignore[misc]
    agenda.at(2, lambda: seen.append(2)).strike()
    agenda.run(4)
    assert (seen, agenda.now) == ([1, 3], 4)


def test_a_world_that_stands_still_is_found_out() -> None:
    agenda = an_agenda()

    def again() -> None:
        agenda.after(0, again)

    again()
    with pytest.raises(Violation, match="time does not go on"):
        agenda.run(SECOND)


# ---------------------------------------------------------------------------------------------------- wires


class Ear:
    """Whoever an end belongs to, and all it was told."""

    def __init__(self) -> None:
        self.data = b""
        self.told: list[str] = []

    def heard(self, data: bytes) -> None:
        self.data += data
        if not data:
            self.told.append("end")

    def lost(self) -> None:
        self.told.append("lost")

    def stalled(self) -> None:
        self.told.append("stalled")

    def drained(self) -> None:
        self.told.append("drained")


def pair(agenda: Agenda, weather: Weather) -> tuple[End, Ear, End, Ear]:
    here, there = connected(agenda, random.Random(2), Weather(), weather)
    one, other = Ear(), Ear()
    here.start(one)
    there.start(other)
    return here, one, there, other


def test_bytes_arrive_whole_however_they_are_cut() -> None:
    agenda = an_agenda()
    here, one, _, other = pair(agenda, Weather(whole=0, piece_max=3, room=10))
    here.write(bytes(range(100)))
    here.finish()
    agenda.run(SECOND)
    assert (other.data, other.told) == (bytes(range(100)), ["end"])
    assert one.told == ["stalled", "drained"]


def test_who_is_paused_hears_nothing_and_the_writer_is_told() -> None:
    agenda = an_agenda()
    here, one, there, other = pair(agenda, Weather(room=10))
    there.pause()
    here.write(b"x" * 30)
    agenda.run(SECOND)
    assert (other.data, one.told, here.pending_bytes) == (b"", ["stalled"], 20)
    there.resume()
    agenda.run(2 * SECOND)
    assert (len(other.data), one.told) == (30, ["stalled", "drained"])


def test_a_reset_is_heard_behind_what_came_before_it() -> None:
    agenda = an_agenda()
    here, _, _, other = pair(agenda, Weather())
    here.write(b"words")
    here.abort()
    agenda.run(SECOND)
    assert (other.data, other.told) == (b"words", ["lost"])


def test_who_writes_to_one_that_is_gone_hears_of_it() -> None:
    agenda = an_agenda()
    here, one, there, _ = pair(agenda, Weather())
    there.dispose()
    agenda.run(SECOND)
    here.write(b"words")
    agenda.run(2 * SECOND)
    assert one.told == ["end", "lost"]
    with pytest.raises(BrokenPipeError):
        here.write(b"more")


# ------------------------------------------------------------------------------------------------- the ledger


def decided(allowed: bool, at_us: int) -> Verdict:
    return Verdict(allowed, at_us, (Level(0, 0),), -1 if allowed else 0, 0 if allowed else 1)


ALGORITHMS = list(Algorithm)


def a_bucket(algorithm: Algorithm) -> Bucket:
    return Bucket("b", algorithm, 1, 1000, burst=1 if algorithm is Algorithm.GCRA else 0)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_ledger_finds_a_limit_that_lets_one_more_pass(algorithm: Algorithm) -> None:
    ledger, claims = Ledger("test"), (Claim(a_bucket(algorithm), 1),)
    ledger.took(claims, "one", 500, decided(True, 2000))
    with pytest.raises(Violation, match="exceeded"):
        ledger.took(claims, "two", 500, decided(True, 2100))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_ledger_finds_a_limit_that_refuses_what_it_has_room_for(algorithm: Algorithm) -> None:
    bucket = a_bucket(algorithm)
    ledger, claims = Ledger("test"), (Claim(bucket, 1),)
    ledger.took(claims, "one", 500, decided(True, 2000))
    ledger.took(claims, "two", 500, decided(False, 2100))
    ledger.settled((Charge(bucket, 1, 0),), "one", 2000, 2200)
    with pytest.raises(Violation, match="room"):
        ledger.took(claims, "three", 500, decided(False, 2300))


def test_the_ledger_knows_what_has_drained() -> None:
    ledger, claims = Ledger("test"), (Claim(Bucket("b", Algorithm.GCRA, 10, 1000, burst=2), 1),)
    for at_us, allowed in ((2000, True), (2000, True), (2098, False), (2100, True), (2198, False)):
        ledger.took(claims, str(at_us), 500, decided(allowed, at_us))
    with pytest.raises(Violation, match="exceeded"):
        ledger.took(claims, "more", 500, decided(True, 2100))
    with pytest.raises(Violation, match="room"):
        ledger.took(claims, "later", 500, decided(False, 2400))


def test_the_ledger_knows_what_was_never_settled() -> None:
    bucket = Bucket("b", Algorithm.CONCURRENT, 1)
    ledger = Ledger("test")
    ledger.took((Claim(bucket, 1),), "one", 500, decided(True, 2000))
    assert ledger.unsettled == ["one"]
    ledger.settled((Charge(bucket, 1, 1),), "one", 2000, 2200)
    assert not ledger.unsettled


# ------------------------------------------------------------------------------------------------ the readers


def test_answers_are_read_with_lengths_and_chunks_and_nothing_else() -> None:
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcrest"
    hints, head = b"HTTP/1.1 103 Hints\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = hints + head + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    for data, rest in ((plain, b"rest"), (chunked, b"")):
        answer = read_answer(data)
        assert answer is not None
        assert (answer.body, answer.whole, answer.rest) == (b"abc", True, rest)
        cut = read_answer(data[: len(data) - len(rest) - 1])
        assert cut is not None
        assert not cut.whole
    assert read_answer(b"SSH-2.0\r\n\r\n") is None
    until_close = read_answer(b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert until_close is not None
    assert not until_close.whole


def chunk(delta: dict[str, object], finish: str | None = None) -> str:
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta, 'finish_reason': finish}]})}\n\n"


DONE = "data: [DONE]\n\n"


def test_a_chat_stream_is_read() -> None:
    stream = chunk({"content": "Hel"}) + ": ping\n\n" + chunk({"content": "lo"}) + chunk({}, "stop") + DONE
    reading = readings.chat_stream(stream.encode())
    assert (reading.text, reading.stop, reading.complete) == ("Hello", "end", True)


@pytest.mark.parametrize(
    "stream",
    [
        chunk({}, "stop") + chunk({"content": "more"}) + DONE,
        chunk({}, "stop") + chunk({}, "stop") + DONE,
        chunk({"content": "a"}) + DONE,
        chunk({}, "stop") + DONE + chunk({}),
        chunk({}, "stop") + DONE + DONE,
        'data: {"error": {"type": "server_error"}}\n\n' + DONE,
        chunk({"content": "a"})[:-1],
    ],
    ids=["behind-finish", "two-finishes", "no-finish", "behind-done", "two-dones", "done-after-error", "cut"],
)
def test_a_chat_stream_that_breaks_its_rules_is_not_read(stream: str) -> None:
    with pytest.raises(Unreadable):
        readings.chat_stream(stream.encode())


def test_a_stream_without_its_end_is_not_complete() -> None:
    assert not readings.chat_stream(chunk({"content": "a"}).encode()).complete
    assert not readings.converse_stream(b"").complete
