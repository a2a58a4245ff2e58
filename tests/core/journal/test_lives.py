"""Lives and the ring: what is kept counts, and what is kept stays within its bounds."""

from typing import Any, Final

import msgspec
import pytest

from stargate_core.direction import Order
from stargate_core.journal.format import BreakerBeginning, FlightBeginning
from stargate_core.journal.lives import ENTRY_BYTES, Life, Ring
from stargate_core.messages import (
    Answered,
    AnswerSent,
    ClientSent,
    EntryFound,
    FlightSent,
    Follow,
    KeepEntry,
    StoreSent,
    Tell,
    Ticked,
    UpstreamSent,
    WriteClient,
    WriteStore,
    WriteUpstream,
)
from stargate_core.questions import Entry, WriteEntry
from support.journals import RecordedBench, cache_follower
from support.samples import samples

HEAVY: Final = b"x" * 1000
ORDER: Final[Order] = next(samples(Order))


def heavy_order(data: bytes) -> Order:
    """An order whose call has this body."""
    return msgspec.structs.replace(ORDER, call=msgspec.structs.replace(ORDER.call, body=data))


def a_life(ring: Ring) -> Life:
    """A life of nothing much."""
    return Life(BreakerBeginning(), 0, ring)


def a_flight(ring: Ring, key: str = "k", size: int = 1) -> Life:
    """The life of a flight that was told so much."""
    order = msgspec.structs.replace(ORDER, key=key)
    life = Life(FlightBeginning(1, order, 1, 0, "0", 0), 0, ring)
    ring.launch(life)
    life.add(1, UpstreamSent(1, b"x" * size), ())
    return life


class TestWeight:
    @pytest.mark.parametrize(
        "message",
        [
            ClientSent(HEAVY),
            UpstreamSent(1, HEAVY),
            AnswerSent(1, HEAVY),
            FlightSent(1, HEAVY),
            StoreSent(HEAVY),
            WriteClient(HEAVY),
            WriteUpstream(1, HEAVY),
            WriteStore(HEAVY),
            EntryFound("k", HEAVY),
            KeepEntry("k", HEAVY, 1),
            Answered(1, Entry(HEAVY, 1)),
            Tell(WriteEntry("k", HEAVY, 1)),
            Follow(1, heavy_order(HEAVY)),
        ],
        ids=lambda message: type(message).__name__,
    )
    def test_what_carries_bytes_weighs_as_much(self, message: Any) -> None:
        ring = Ring(1 << 30, 1 << 30)
        told, ordered = a_life(ring), a_life(ring)
        told.add(1, message, ())
        ordered.add(1, Ticked(), [message])
        assert told.size == ordered.size == ENTRY_BYTES + len(HEAVY)
        assert ring.held == told.size + ordered.size

    @pytest.mark.parametrize(
        "message", [Ticked(), Answered(1, None), Answered(1, True), EntryFound("k", None)]
    )
    def test_what_carries_none_weighs_its_place(self, message: Any) -> None:
        life = a_life(Ring(1 << 30, 1 << 30))
        life.add(1, message, ())
        assert life.size == ENTRY_BYTES


class TestBounds:
    def test_a_life_that_outgrows_its_own_is_cut(self) -> None:
        ring = Ring(1 << 30, 10_000)
        life = a_life(ring)
        for _ in range(20):
            life.add(1, ClientSent(HEAVY), ())
            assert ring.held <= 10_000
        assert life.cut
        assert (life.entries, ring.held) == ([], 0)

    def test_the_sum_is_bounded_whoever_holds_it(self) -> None:
        ring = Ring(10_000, 10_000)
        lives = [a_life(ring) for _ in range(10)]
        for _ in range(3):
            for life in lives:
                life.add(1, ClientSent(HEAVY), ())
                assert ring.held == sum(each.size for each in lives if not each.cut) <= 10_000
        assert any(life.cut for life in lives)
        assert not all(life.cut for life in lives)

    def test_flights_that_are_over_go_first_the_oldest_of_them(self) -> None:
        ring = Ring(10_000, 10_000)
        flights = [a_flight(ring, str(number), 1000) for number in range(3)]
        for flight in flights[1:]:
            ring.land(flight)
        life = a_life(ring)
        for _ in range(5):
            life.add(1, ClientSent(HEAVY), ())
        assert not life.cut
        assert not flights[0].cut, "it is running"
        assert flights[1].cut
        assert not flights[2].cut
        assert ring.flights(["0", "1", "2"]) == [flights[0], flights[2]]

    def test_a_flight_that_outgrew_is_not_kept(self) -> None:
        ring = Ring(1 << 30, 1000)
        flight = a_flight(ring, size=2000)
        assert flight.cut
        ring.land(flight)
        assert ring.flights(["k"]) == []

    def test_what_is_given_away_counts_no_longer_and_only_once(self) -> None:
        ring = Ring(1 << 30, 1 << 30)
        life = a_life(ring)
        life.add(1, ClientSent(HEAVY), ())
        size = life.size
        life.let_go()
        life.let_go()
        life.drop()
        assert (ring.held, life.size) == (0, size)


class TestFlights:
    def test_they_are_found_by_their_order_in_the_order_of_their_launch(self) -> None:
        ring = Ring(1 << 30, 1 << 30)
        one, other, again = a_flight(ring, "a"), a_flight(ring, "b"), a_flight(ring, "a")
        ring.land(one)
        assert ring.flights(["a"]) == [one, again]
        assert ring.flights(["b", "a", "none"]) == [other, one, again]

    def test_of_two_with_one_order_the_younger_stays_when_the_older_goes(self) -> None:
        ring = Ring(10_000, 10_000)
        old, young = a_flight(ring, size=5000), a_flight(ring, size=1000)
        ring.land(old)
        life = a_life(ring)
        for _ in range(4):
            life.add(1, ClientSent(HEAVY), ())
        assert old.cut
        assert not life.cut
        assert ring.flights(["k"]) == [young]

    def test_a_session_says_which_it_followed(self) -> None:
        session, flight = cache_follower()
        assert isinstance(flight.beginning, FlightBeginning)
        assert session.orders == (flight.beginning.order.key,)
        assert flight.orders == ()


class TestSnapshot:
    def test_it_stays_as_it_was(self) -> None:
        ring = Ring(1 << 30, 1 << 30)
        life = a_flight(ring)
        copy = life.snapshot()
        life.add(2, Ticked(), ())
        life.drop()
        assert len(copy.entries) == 1
        assert copy.size == ENTRY_BYTES + 1
        assert ring.held == 0


def test_nothing_is_copied() -> None:
    """What is kept are the very events and commands."""
    bench = RecordedBench()
    data = ClientSent(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    commands = bench.tell(data)
    ((_, event, kept),) = bench.life.entries
    assert event is data
    assert kept is commands
