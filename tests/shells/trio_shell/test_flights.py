"""Flights as the trio shell drives them: launched, heard by all who follow, landed; and what a bug costs.

The machines that order answers are scripted, and so are the flights; the cache between them is the real one.
"""

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Final

import msgspec
import pytest
from trio.testing import MockClock

from stargate import journals
from stargate_core.causes import Cause
from stargate_core.clock import SECOND
from stargate_core.config.gateway_block import Gateway as GatewayBlock
from stargate_core.config.gateway_block import Store
from stargate_core.config.schema import Config
from stargate_core.direction import Order, Sharing
from stargate_core.faults import Fault
from stargate_core.gateway.plan import Plan
from stargate_core.messages import (
    AnswerBegan,
    AnswerEnded,
    AnswerFailed,
    AnswerSent,
    ClientDrained,
    ClientStalled,
    CredentialsChanged,
    Draining,
    FlightBegan,
    FlightCommand,
    FlightEnded,
    FlightSent,
    Follow,
    Grounded,
    Health,
    HealthChanged,
    KeysChanged,
    PauseAnswer,
    ResumeAnswer,
    Source,
    Ticked,
    Unfollow,
)
from stargate_core.questions import Entry, ReadEntry, ReadKeys, StoreQuestion, StoreStatement, WriteEntry
from stargate_core.secret import Secret
from support.machines import a_config
from support.samples import samples
from support.scripted import Bare, Scripted, bare_gateway

pytestmark = pytest.mark.trio

ORDER: Final[Order] = msgspec.structs.replace(
    next(samples(Order)), key="ab" * 32, total_ns=60 * SECOND, sharing=Sharing("", 60_000_000, 60_000_000)
)
HEADERS: Final = [(b"content-type", b"application/json")]
OPEN: Final = HealthChanged("t", Health.OPEN, 1)


class Airport:
    """A bare gateway, its scripted flights, and those who order answers."""

    def __init__(self, bare: Bare) -> None:
        self.gateway = bare.gateway
        self.notes = bare.notes
        self.bare = bare
        self.launched: list[Scripted] = []

    def follow(self, ticket: int = 1, order: Order = ORDER) -> Scripted:
        """Somebody who orders an answer at once."""
        orders: dict[type, list[FlightCommand]] = {Ticked: [Follow(ticket, order)]}
        machine = Scripted(lambda event: orders.pop(type(event), ()))
        self.gateway.tell(self.bare.join(machine), Ticked())
        return machine

    def says(self, machine: Scripted, *commands: FlightCommand, over: bool = False) -> None:
        """A machine that is here already says something more."""
        (caller,) = [
            one
            for one in (*self.gateway.clients, *self.gateway.flights._callers.values())
            if one.session is machine
        ]
        machine.closed = over
        machine._answers = lambda _: machine.__dict__.pop("more", ())
        machine.more = commands  # type: ignore[attr-defined]
        self.gateway.tell(caller, Ticked())


@contextlib.asynccontextmanager
async def airport(
    monkeypatch: pytest.MonkeyPatch,
    script: Callable[[Any], Sequence[FlightCommand]] = lambda _: (),
    config: Config | None = None,
) -> AsyncGenerator[Airport]:
    """A gateway whose flights do as the script says."""
    async with bare_gateway(config) as bare:
        at = Airport(bare)

        def launched(plan: Plan, order: Order, *, flight: int, **_: Any) -> Scripted:
            assert plan is at.gateway.plan
            machine = Scripted(script)
            machine.number, machine.order = flight, order  # type: ignore[attr-defined]
            at.launched.append(machine)
            return machine

        monkeypatch.setattr(journals, "Flight", launched)
        yield at


def number_of(flight: Scripted) -> int:
    number: int = flight.number  # type: ignore[attr-defined]
    return number


def began(flight: Scripted) -> FlightBegan:
    return FlightBegan(number_of(flight), HEADERS, "t", ("t: ok",))


def ended(flight: Scripted, fault: Fault | None = None) -> FlightEnded:
    return FlightEnded(number_of(flight), fault, worth_keeping=fault is None, attempts=("t: ok",))


async def test_a_flight_is_told_how_things_stand_and_then_begins(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    async with airport(monkeypatch) as at:
        at.gateway.change_credentials({"": None})
        at.gateway.broadcast(OPEN)
        at.gateway.broadcast(KeysChanged({"aa": b"{}"}))
        at.follow()
        (flight,) = at.launched
        assert flight.heard == [CredentialsChanged("", None), OPEN, KeysChanged({"aa": b"{}"}), Ticked()]
        assert flight.order is ORDER  # type: ignore[attr-defined]


async def test_all_who_follow_hear_one_flight_by_their_own_tickets(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    async with airport(monkeypatch) as at:
        first = at.follow(3)
        (flight,) = at.launched
        at.says(flight, began(flight), FlightSent(number_of(flight), b"one "))
        second = at.follow(8)
        assert at.launched == [flight], "one call for both"
        at.says(flight, FlightSent(number_of(flight), b"two"), ended(flight), over=True)
        for machine, ticket, source in ((first, 3, Source.MADE), (second, 8, Source.JOINED)):
            facts = [fact for fact in machine.heard if hasattr(fact, "ticket")]
            assert isinstance(facts[0], AnswerBegan)
            assert (facts[0].source, facts[0].headers, facts[0].target) == (source, HEADERS, "t")
            assert b"".join(fact.data for fact in facts if isinstance(fact, AnswerSent)) == b"one two"
            assert facts[-1] == AnswerEnded(ticket)
            assert {fact.ticket for fact in facts} == {ticket}
        assert at.gateway.statistics()["tickets"] == 0
        # It has landed: nobody tells it anything any more.
        heard = len(flight.heard)
        at.gateway.broadcast(OPEN)
        assert len(flight.heard) == heard
        # What it brought is kept: the next one needs no flight.
        third = at.follow(1)
        assert at.launched == [flight]
        assert [type(fact) for fact in third.heard[-3:]] == [AnswerBegan, AnswerSent, AnswerEnded]
        assert third.heard[-3].source is Source.KEPT


async def test_where_a_flight_fails_another_is_launched_for_the_rest(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    async with airport(monkeypatch) as at:
        first, second = at.follow(3), at.follow(8)
        (flight,) = at.launched
        fault = Fault(Cause.UPSTREAM_THROTTLED, "slowly")
        at.says(flight, ended(flight, fault), over=True)
        assert first.heard[-1] == AnswerFailed(3, fault, ("t: ok",))
        another = at.launched[-1]
        assert number_of(another) != number_of(flight)
        at.says(another, began(another), FlightSent(number_of(another), b"one"), ended(another), over=True)
        assert second.heard[-2:] == [AnswerSent(8, b"one"), AnswerEnded(8)]


@pytest.mark.parametrize("begun", [False, True])
async def test_a_bug_in_a_flight_ends_it_for_all_who_follow_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock, begun: bool
) -> None:
    def strikes(event: Any) -> Sequence[FlightCommand]:
        if isinstance(event, HealthChanged):
            raise KeyError("PLANTED")
        return ()

    async with airport(monkeypatch, strikes) as at:
        machines = [at.follow(3), at.follow(8)]
        other = at.follow(1, msgspec.structs.replace(ORDER, key="cd" * 32))
        flight, sound = at.launched
        if begun:
            at.says(flight, began(flight), FlightSent(number_of(flight), b"one "))
            flight._answers = strikes
        sound._answers = lambda _: ()
        at.gateway.broadcast(OPEN)
        for machine, ticket in zip(machines, (3, 8), strict=True):
            failed = machine.heard[-1]
            assert isinstance(failed, AnswerFailed)
            assert (failed.ticket, failed.fault.cause) == (ticket, Cause.INTERNAL)
        assert not any(isinstance(fact, AnswerFailed) for fact in other.heard)
        ((level, text),) = at.notes
        assert level == "error"
        assert text.startswith("bug: KeyError at ")
        assert "PLANTED" not in text
        # It is gone: told nothing any more, and the next who asks gets a flight of their own.
        heard = len(flight.heard)
        at.gateway.broadcast(HealthChanged("t", Health.CLOSED))
        assert len(flight.heard) == heard
        at.follow(1)
        assert len(at.launched) == 3


async def test_a_flight_that_nobody_follows_is_grounded(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    async with airport(monkeypatch) as at:
        first, second = at.follow(3), at.follow(8)
        (flight,) = at.launched
        at.says(first, Unfollow(3))
        assert Grounded() not in flight.heard
        at.says(second, Unfollow(8))
        assert flight.heard[-1] == Grounded()
        # What it still says goes to nobody.
        at.says(flight, ended(flight, Fault(Cause.INTERNAL)), over=True)
        assert not any(isinstance(fact, AnswerFailed) for fact in (*first.heard, *second.heard))
        assert at.gateway.statistics()["tickets"] == 0


async def test_where_nobody_takes_anything_a_flight_is_held(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    big = b"x" * 4_000_000
    async with airport(monkeypatch) as at:
        machine = at.follow(3)
        (flight,) = at.launched
        at.says(flight, began(flight))
        at.says(machine, PauseAnswer(3))
        at.says(flight, FlightSent(number_of(flight), big))
        assert ClientStalled() in flight.heard
        assert not any(isinstance(fact, AnswerSent) for fact in machine.heard)
        at.says(machine, ResumeAnswer(3))
        assert flight.heard[-1] == ClientDrained()
        assert b"".join(fact.data for fact in machine.heard if isinstance(fact, AnswerSent)) == big


async def test_flights_are_told_what_sessions_are(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    async with airport(monkeypatch) as at:
        machine = at.follow()
        (flight,) = at.launched
        at.gateway.broadcast(OPEN)
        at.gateway.change_credentials({"a": None})
        at.gateway.clients.clear()
        await at.gateway.drain(0.5)
        assert flight.heard[-3:] == [OPEN, CredentialsChanged("a", None), Draining(500_000_000)]
        assert machine.heard[-2:] == [OPEN, CredentialsChanged("a", None)]


# ------------------------------------------------------------------------------------------- a shared store


class Distant:
    """A store elsewhere: it answers when the test says so."""

    def __init__(self) -> None:
        self.asked: dict[int, StoreQuestion] = {}
        self.told: list[StoreStatement] = []

    def ask(self, ticket: int, question: StoreQuestion) -> None:
        if not isinstance(question, ReadKeys):
            self.asked[ticket] = question

    def withdraw(self, ticket: int) -> None:
        raise AssertionError("nobody has asked it anything but the cache")

    def tell(self, statement: StoreStatement) -> None:
        self.told.append(statement)

    def drain(self, grace_ns: int) -> None:
        raise AssertionError

    def statistics(self) -> dict[str, int]:
        return {}


SHARED: Final = a_config(gateway=GatewayBlock(store=Store(url=Secret("redis://127.0.0.1:6379"))))


async def test_the_shared_store_is_looked_into_first(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    store = Distant()
    async with airport(monkeypatch, config=SHARED) as at:
        at.gateway.enquiries.share(store)
        at.follow(3)
        ((number, question),) = store.asked.items()
        assert question == ReadEntry(ORDER.key)
        assert at.launched == []
        at.gateway.enquiries.store_answered(number, None)
        (flight,) = at.launched
        at.says(flight, began(flight), FlightSent(number_of(flight), b"one"), ended(flight), over=True)
        (kept,) = store.told
        assert isinstance(kept, WriteEntry)
        assert (kept.key, kept.ttl_us) == (ORDER.key, ORDER.sharing.ttl_us)
    # Another gateway finds it there.
    async with airport(monkeypatch, config=SHARED) as at:
        at.gateway.enquiries.share(store)
        machine = at.follow(5)
        (number,) = set(store.asked) - {number} or {number}
        at.gateway.enquiries.store_answered(number, Entry(kept.value, 2_000_000))
        assert at.launched == []
        assert isinstance(machine.heard[-3], AnswerBegan)
        assert (machine.heard[-3].source, machine.heard[-3].age_seconds) == (Source.KEPT, 2)
        assert machine.heard[-2:] == [AnswerSent(5, b"one"), AnswerEnded(5)]


async def test_a_store_that_cannot_be_asked_keeps_nobody_from_flying(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    store = Distant()
    async with airport(monkeypatch, config=SHARED) as at:
        at.gateway.enquiries.share(store)
        at.follow(3)
        (number,) = store.asked
        at.gateway.enquiries.store_failed(number, "the store is down")
        assert len(at.launched) == 1
