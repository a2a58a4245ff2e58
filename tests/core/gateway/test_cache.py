"""The response cache against a model: a follower is told one answer, from its start to its end, once."""

from collections.abc import Iterable
from typing import Any, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stargate_core.aws.operations import Operation
from stargate_core.clock import SECOND
from stargate_core.dialects.face import Call, Headers
from stargate_core.direction import Order, Persistence, Sharing
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.cache import PIECE_BYTES, RELAUNCHES_MAX, SEEK_NS, Cache
from stargate_core.gateway.cache_entries import VERSION, Entry, pack, unpack
from stargate_core.messages import (
    AnswerBegan,
    AnswerEnded,
    AnswerFailed,
    AnswerOrdered,
    AnswerPaused,
    AnswerResumed,
    AnswerSent,
    AnswerUnwanted,
    CacheCommand,
    CacheEvent,
    EntryFound,
    FlightBegan,
    FlightEnded,
    FlightSent,
    FreeFlight,
    Ground,
    HoldFlight,
    KeepEntry,
    Launch,
    Note,
    SeekEntry,
    Source,
    TellAnswer,
    Ticked,
)

CALL: Final = Call(Operation.CONVERSE, b"POST", b"/model/m/converse", [], b"{}", False)
HEADERS: Final[Headers] = [(b"content-type", b"application/json")]
LOST: Final = Fault(Cause.UPSTREAM_LOST)
REFUSED: Final = Fault(Cause.UPSTREAM_VALIDATION)
NO_ACCESS: Final = Fault(Cause.UPSTREAM_ACCESS_DENIED)
KIB: Final = 1024
MICROSECOND: Final = 1000


def order(key: str = "k", **sharing: Any) -> Order:
    """An order, kept for a minute and shared."""
    members: dict[str, Any] = {"scope": "", "ttl_us": 60_000_000, "max_age_us": 60_000_000, **sharing}
    return Order(key, CALL, (), Persistence(), 600 * SECOND, Sharing(**members))


class Desk:
    """A cache, and all that its followers have been told."""

    def __init__(self, *, bytes_max: int = 64 * KIB, entry_bytes_max: int = 4 * KIB, shared: bool = False):
        self.cache = Cache(bytes_max=bytes_max, entry_bytes_max=entry_bytes_max, shared=shared)
        self.bytes_max = bytes_max
        self.now = 0
        self.told: dict[int, list[Any]] = {}
        """By ticket: the source, then the bytes, then True or the fault."""
        self.launched: list[Launch] = []
        self.grounded: list[int] = []
        self.held: list[int] = []
        self.sought: list[str] = []
        self.kept: list[KeepEntry] = []
        self.notes: list[Note] = []

    def tell(self, *events: CacheEvent) -> None:
        """Hand the cache facts, and look at what it makes of them."""
        for event in events:
            for command in self.cache.handle(self.now, event):
                self._check(command)
            assert self.cache.held_bytes <= self.bytes_max

    def _check(self, command: CacheCommand) -> None:
        match command:
            case TellAnswer(ticket, event):
                assert event.ticket == ticket
                self._told(self.told.setdefault(ticket, []), event)
            case Launch():
                assert command.flight not in {each.flight for each in self.launched}
                self.launched.append(command)
            case Ground(flight):
                assert flight not in self.grounded
                self.grounded.append(flight)
            case HoldFlight(flight):
                assert flight not in self.held
                self.held.append(flight)
            case FreeFlight(flight):
                self.held.remove(flight)
            case SeekEntry(key):
                self.sought.append(key)
            case KeepEntry():
                self.kept.append(command)
            case Note():
                self.notes.append(command)

    @staticmethod
    def _told(story: list[Any], event: AnswerBegan | AnswerSent | AnswerEnded | AnswerFailed) -> None:
        assert not story or not isinstance(story[-1], Fault | bool), "told more after its end"
        match event:
            case AnswerBegan(source=source):
                assert story == [], "begun twice"
                story += [source, b""]
            case AnswerSent(_, data):
                assert data, "nothing is no news"
                story[1] += data
            case AnswerEnded():
                assert len(story) == 2, "ended before it began"
                story.append(True)
            case AnswerFailed(_, fault):
                story.append(fault)

    # ------------------------------------------------------------------------------------------------- facts

    def order(self, ticket: int, key: str = "k", **sharing: Any) -> None:
        """A session orders an answer."""
        self.tell(AnswerOrdered(ticket, order(key, **sharing)))

    def begin(self, flight: int, *pieces: bytes) -> None:
        """A flight begins, and sends."""
        self.tell(FlightBegan(flight, HEADERS, "main", ("once",)))
        self.send(flight, *pieces)

    def send(self, flight: int, *pieces: bytes) -> None:
        """A flight sends."""
        self.tell(*(FlightSent(flight, piece) for piece in pieces))

    def end(self, flight: int, fault: Fault | None = None, *, keep: bool = True) -> None:
        """A flight ends."""
        self.tell(FlightEnded(flight, fault, worth_keeping=keep and fault is None))

    def fly(self, flight: int, *pieces: bytes) -> None:
        """A flight does all of it."""
        self.begin(flight, *pieces)
        self.end(flight)


class TestKept:
    def test_a_first_order_makes_the_call_and_a_second_one_is_told_the_same(self) -> None:
        desk = Desk()
        desk.order(1)
        assert [each.order for each in desk.launched] == [order()]
        desk.fly(1, b"ab", b"c")
        desk.now = 9 * SECOND
        desk.order(2)
        assert desk.told == {1: [Source.MADE, b"abc", True], 2: [Source.KEPT, b"abc", True]}
        assert len(desk.launched) == 1

    def test_a_kept_one_says_where_it_came_from_and_how_old_it_is(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.fly(1, b"abc")
        commands = desk.cache.handle(9 * SECOND + 5, AnswerOrdered(2, order()))
        assert commands == [
            TellAnswer(2, AnswerBegan(2, Source.KEPT, HEADERS, 9, "main")),
            TellAnswer(2, AnswerSent(2, b"abc")),
            TellAnswer(2, AnswerEnded(2)),
        ]

    def test_a_made_one_says_what_was_tried(self) -> None:
        desk = Desk()
        desk.order(1)
        commands = desk.cache.handle(0, FlightBegan(1, HEADERS, "main", ("once",)))
        assert commands == [TellAnswer(1, AnswerBegan(1, Source.MADE, HEADERS, 0, "main", ("once",)))]

    @pytest.mark.parametrize(
        ("age_us", "sharing", "found"),
        [
            (59_999_999, {}, True),
            (60_000_000, {}, False),  # Its own time is over.
            (10_000_000, {"max_age_us": 10_000_000}, True),
            (10_000_001, {"max_age_us": 10_000_000}, False),
            (0, {"max_age_us": 0}, False),
        ],
    )
    def test_it_must_be_young_enough(self, age_us: int, sharing: dict[str, Any], found: bool) -> None:
        desk = Desk()
        desk.order(1)
        desk.fly(1, b"abc")
        desk.now = age_us * MICROSECOND
        desk.order(2, **sharing)
        assert (2 in desk.told) == found
        assert len(desk.launched) == (1 if found else 2)

    def test_one_that_is_too_old_for_somebody_stays_for_the_others(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.fly(1, b"abc")
        desk.now = 5 * SECOND
        desk.order(2, max_age_us=1)
        desk.order(3)
        assert desk.told[3] == [Source.KEPT, b"abc", True]

    def test_another_key_is_another_answer(self) -> None:
        desk = Desk()
        desk.order(1, "a")
        desk.fly(1, b"abc")
        desk.order(2, "b")
        assert 2 not in desk.told

    def test_an_empty_answer_is_one_too(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.fly(1)
        desk.order(2)
        assert desk.told == {1: [Source.MADE, b"", True], 2: [Source.KEPT, b"", True]}

    @pytest.mark.parametrize(
        "case", ["fault", "not worth it", "no time", "superseded", "too large", "larger than all"]
    )
    def test_what_is_not_kept(self, case: str) -> None:
        bytes_max = 2 * KIB if case == "larger than all" else 64 * KIB
        desk = Desk(bytes_max=bytes_max)
        desk.order(1, ttl_us=0 if case == "no time" else 60_000_000)
        desk.begin(1, b"x" * (5 * KIB if case == "too large" else 1500))
        if case == "superseded":
            desk.order(9, max_age_us=0, share=False)
        desk.end(1, LOST if case == "fault" else None, keep=case != "not worth it")
        before = desk.cache.statistics()["entries"]
        desk.order(2, share=False)
        assert (before, 2 in desk.told) == (0, False)

    def test_a_larger_one_that_fits_is(self) -> None:
        """What the cases above are held against."""
        desk = Desk()
        desk.order(1)
        desk.fly(1, b"x" * 4 * KIB)
        desk.order(2)
        assert desk.told[2] == [Source.KEPT, b"x" * 4 * KIB, True]

    def test_a_fresh_answer_replaces_the_kept_one(self) -> None:
        """no-cache: neither looked for nor joined, but kept."""
        desk = Desk()
        desk.order(1)
        desk.fly(1, b"old")
        desk.order(2, max_age_us=0, share=False)
        desk.begin(2, b"new")
        desk.order(3)
        desk.end(2)
        desk.order(4)
        assert [desk.told[ticket][1] for ticket in (2, 3, 4)] == [b"new", b"old", b"new"]

    def test_the_newer_call_s_answer_is_kept_whichever_ends_first(self) -> None:
        for ends in ((1, 2), (2, 1)):
            desk = Desk()
            desk.order(1)
            desk.order(2, max_age_us=0, share=False)
            desk.begin(1, b"old")
            desk.begin(2, b"new")
            for flight in ends:
                desk.end(flight)
            desk.order(3)
            assert desk.told[3] == [Source.KEPT, b"new", True]


class TestSharing:
    def test_who_asks_meanwhile_waits_for_the_same_call(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.order(2)
        desk.fly(1, b"ab", b"c")
        assert len(desk.launched) == 1
        assert desk.told == {1: [Source.MADE, b"abc", True], 2: [Source.JOINED, b"abc", True]}

    def test_who_comes_late_gets_what_has_come_in_one_piece_then_live(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.begin(1, b"ab", b"c")
        commands = desk.cache.handle(0, AnswerOrdered(2, order()))
        assert [each.event for each in commands if isinstance(each, TellAnswer)] == [
            AnswerBegan(2, Source.JOINED, HEADERS, 0, "main", ("once",)),
            AnswerSent(2, b"abc"),
        ]
        commands = desk.cache.handle(0, FlightSent(1, b"d"))
        assert [each.event for each in commands if isinstance(each, TellAnswer)] == [
            AnswerSent(1, b"d"),
            AnswerSent(2, b"d"),
        ]

    def test_who_does_not_want_to_share_makes_a_call_and_may_be_joined(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.order(2, share=False)
        desk.order(3)
        desk.fly(2, b"new")
        assert len(desk.launched) == 2
        assert desk.told == {2: [Source.MADE, b"new", True], 3: [Source.JOINED, b"new", True]}

    def test_if_the_first_leaves_the_next_in_line_is_the_one_it_is_made_for(self) -> None:
        """So somebody is charged for it."""
        desk = Desk()
        desk.order(1)
        desk.order(2)
        desk.order(3)
        desk.tell(AnswerUnwanted(1))
        desk.fly(1, b"a")
        assert [desk.told[ticket][0] for ticket in (2, 3)] == [Source.MADE, Source.JOINED]
        assert desk.grounded == []

    def test_when_the_last_one_leaves_the_flight_is_grounded(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.order(2)
        desk.begin(1, b"a")
        desk.tell(AnswerUnwanted(1))
        assert desk.grounded == []
        desk.tell(AnswerUnwanted(2), AnswerUnwanted(2))
        assert desk.grounded == [1]
        desk.order(3)
        assert [each.flight for each in desk.launched] == [1, 2]
        desk.send(1, b"late")
        desk.end(1, LOST)
        assert (desk.told[1], desk.told[2], 3 in desk.told) == (
            [Source.MADE, b"a"],
            [Source.JOINED, b"a"],
            False,
        )
        desk.fly(2, b"b")
        assert desk.cache.statistics()["flights"] == 0

    def test_one_that_was_whole_when_it_was_grounded_is_kept(self) -> None:
        """A caller may leave between Bedrock's last byte and the end of its connection."""
        desk = Desk()
        desk.order(1)
        desk.begin(1, b"all")
        desk.tell(AnswerUnwanted(1))
        desk.end(1)
        desk.order(2)
        assert desk.told[2] == [Source.KEPT, b"all", True]
        assert desk.cache.statistics()["flights"] == 0

    def test_what_comes_too_late_is_nothing(self) -> None:
        desk = Desk(shared=True)
        desk.order(1)
        desk.tell(Ticked(), EntryFound("other", None))
        desk.tell(AnswerPaused(9), AnswerResumed(9), AnswerUnwanted(9), AnswerResumed(1))
        desk.now = SEEK_NS
        desk.tell(Ticked())
        desk.fly(1, b"a")
        desk.begin(1, b"a")
        desk.end(1)
        desk.begin(7, b"a")
        desk.end(7)
        assert desk.told == {1: [Source.MADE, b"a", True]}


class TestFailure:
    def test_before_it_begins_the_first_is_told_and_the_rest_get_another_call(self) -> None:
        desk = Desk()
        for ticket in (1, 2, 3):
            desk.order(ticket, max_age_us=ticket)
        desk.end(1, LOST)
        assert desk.told == {1: [LOST]}
        assert [each.order for each in desk.launched] == [order(max_age_us=1), order(max_age_us=2)]
        desk.fly(2, b"a")
        assert desk.told == {1: [LOST], 2: [Source.MADE, b"a", True], 3: [Source.JOINED, b"a", True]}

    def test_the_new_call_may_be_joined(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.order(2)
        desk.end(1, LOST)
        desk.order(3)
        desk.fly(2, b"a")
        assert desk.told[3] == [Source.JOINED, b"a", True]

    def test_three_in_a_row_end_the_wait_of_all(self) -> None:
        desk = Desk()
        for ticket in range(1, 7):
            desk.order(ticket)
        for flight in (1, 2, 3):
            desk.end(flight, LOST)
        assert len(desk.launched) == 1 + RELAUNCHES_MAX
        assert desk.told == {ticket: [LOST] for ticket in range(1, 7)}

    def test_who_is_alone_is_told_and_a_next_one_begins_anew(self) -> None:
        desk = Desk()
        for ticket in range(1, 6):
            desk.order(ticket)
            desk.end(ticket, LOST)
        assert desk.told == {ticket: [LOST] for ticket in range(1, 6)}

    @pytest.mark.parametrize("fault", [REFUSED, NO_ACCESS])
    def test_what_is_not_upstream_s_fault_would_happen_to_all(self, fault: Fault) -> None:
        desk = Desk()
        desk.order(1)
        desk.order(2)
        desk.end(1, fault)
        assert desk.told == {1: [fault], 2: [fault]}
        assert len(desk.launched) == 1

    def test_after_it_has_begun_all_are_told(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.order(2)
        desk.begin(1, b"a")
        desk.end(1, LOST)
        assert desk.told == {1: [Source.MADE, b"a", LOST], 2: [Source.JOINED, b"a", LOST]}
        assert len(desk.launched) == 1

    def test_a_fault_bears_what_was_tried(self) -> None:
        desk = Desk()
        desk.order(1)
        commands = desk.cache.handle(0, FlightEnded(1, LOST, False, ("once", "twice")))
        assert commands == [TellAnswer(1, AnswerFailed(1, LOST, ("once", "twice")))]

    def test_the_rest_join_a_newer_flight_where_there_is_one(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.order(2)
        desk.order(3, share=False)
        desk.end(1, LOST)
        desk.fly(2, b"a")
        assert len(desk.launched) == 2
        assert desk.told[2] == [Source.JOINED, b"a", True]


class TestPauses:
    def test_who_pauses_gets_what_it_missed_in_one_piece(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.order(2)
        desk.begin(1, b"a")
        desk.tell(AnswerPaused(2), AnswerPaused(2))
        desk.send(1, b"b", b"c")
        assert (desk.told[1][1], desk.told[2][1]) == (b"abc", b"a")
        assert desk.cache.handle(0, AnswerResumed(2)) == [TellAnswer(2, AnswerSent(2, b"bc"))]
        assert desk.cache.handle(0, AnswerResumed(2)) == []
        assert desk.cache.handle(0, FlightSent(1, b"d"))[1:] == [TellAnswer(2, AnswerSent(2, b"d"))]

    @pytest.mark.parametrize("fault", [None, LOST])
    def test_and_the_end_behind_it(self, fault: Fault | None) -> None:
        desk = Desk()
        desk.order(1)
        desk.begin(1, b"a")
        desk.tell(AnswerPaused(1))
        desk.send(1, b"b")
        desk.end(1, fault)
        assert desk.told[1] == [Source.MADE, b"a"]
        desk.tell(AnswerResumed(1))
        assert desk.told[1] == [Source.MADE, b"ab", True if fault is None else fault]
        assert desk.cache.statistics()["flights"] == 0

    def test_a_pause_may_begin_before_the_answer(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.tell(AnswerPaused(1))
        desk.fly(1, b"a", b"b")
        assert desk.told == {}
        desk.tell(AnswerResumed(1))
        assert desk.told[1] == [Source.MADE, b"ab", True]

    def test_or_end_before_it(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.tell(AnswerPaused(1), AnswerResumed(1))
        desk.fly(1, b"a")
        assert desk.told[1] == [Source.MADE, b"a", True]

    def test_who_leaves_while_it_pauses_leaves_nothing(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.begin(1, b"a")
        desk.tell(AnswerPaused(1))
        desk.end(1)
        desk.tell(AnswerUnwanted(1))
        assert desk.grounded == []
        assert desk.cache.statistics() | {"held_bytes": 0, "entries": 0} == {
            "entries": 0,
            "flights": 0,
            "followers": 0,
            "held_bytes": 0,
        }


class TestBounds:
    LARGE: Final = b"x" * 3 * KIB

    def test_an_answer_that_outgrows_an_entry_goes_on_but_is_not_joined(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.begin(1, self.LARGE, self.LARGE)
        desk.order(2)
        desk.send(1, self.LARGE)
        desk.end(1)
        assert desk.told == {1: [Source.MADE, self.LARGE * 3, True]}
        assert len(desk.launched) == 2

    def test_and_holds_nothing_that_all_have_had(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.begin(1, self.LARGE)
        assert desk.cache.held_bytes == len(self.LARGE) + PIECE_BYTES
        desk.send(1, self.LARGE)
        assert desk.cache.held_bytes == 0

    def test_a_pause_holds_what_comes_meanwhile(self) -> None:
        desk = Desk()
        for ticket in (1, 2):
            desk.order(ticket)
        desk.begin(1, self.LARGE, self.LARGE)
        desk.tell(AnswerPaused(1))
        desk.send(1, b"a", b"b")
        assert desk.cache.held_bytes == 2 + 2 * PIECE_BYTES
        desk.tell(AnswerResumed(1))
        assert desk.cache.held_bytes == 0
        assert [story[1] for story in desk.told.values()] == [self.LARGE * 2 + b"ab"] * 2

    def test_and_who_leaves_in_one_frees_it(self) -> None:
        desk = Desk()
        for ticket in (1, 2):
            desk.order(ticket)
        desk.begin(1, self.LARGE, self.LARGE)
        desk.tell(AnswerPaused(1))
        desk.send(1, b"a", b"b")
        desk.tell(AnswerUnwanted(1))
        assert desk.cache.held_bytes == 0

    def test_who_falls_too_far_behind_fails_and_the_others_go_on(self) -> None:
        desk = Desk()
        for ticket in (1, 2):
            desk.order(ticket)
        desk.begin(1, b"a")
        desk.tell(AnswerPaused(1))
        desk.send(1, b"x" * 4 * KIB)
        assert desk.told[1] == [Source.MADE, b"a"]
        desk.send(1, b"y")
        fault = desk.told[1][2]
        assert (fault.cause, desk.told[1][1]) == (Cause.CLIENT_TOO_SLOW, b"a")
        assert desk.told[2] == [Source.JOINED, b"a" + b"x" * 4 * KIB + b"y"]
        assert desk.cache.held_bytes == 0
        desk.tell(AnswerResumed(1), AnswerUnwanted(1))
        assert desk.grounded == []

    def test_a_flight_that_loses_its_last_follower_so_is_grounded(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.tell(AnswerPaused(1))
        desk.begin(1, self.LARGE, self.LARGE)
        assert isinstance(desk.told[1][0], Fault)
        assert (desk.grounded, desk.cache.held_bytes) == ([1], 0)

    def test_entries_make_room_for_entries(self) -> None:
        desk = Desk(bytes_max=10 * KIB)
        for number in range(5):
            desk.order(number, f"k{number}")
            desk.fly(number + 1, self.LARGE)
        for number in range(5):
            desk.order(number + 10, f"k{number}")
        assert [number for number in range(5) if number + 10 in desk.told] == [3, 4]

    def test_entries_make_room_for_flights(self) -> None:
        desk = Desk(bytes_max=10 * KIB)
        desk.order(1)
        desk.fly(1, self.LARGE)
        for number in range(2, 5):
            desk.order(number, f"k{number}")
            desk.begin(number, self.LARGE)
        assert desk.cache.statistics()["entries"] == 0
        assert desk.cache.held_bytes == 3 * (len(self.LARGE) + PIECE_BYTES)

    def test_then_the_largest_flight_gives_up_being_joined(self) -> None:
        desk = Desk(bytes_max=10 * KIB)
        for number in range(1, 5):
            desk.order(number, f"k{number}")
            desk.begin(number, self.LARGE + b"x" * (number == 2))
        desk.order(5, "k1")
        desk.order(6, "k2")
        assert [each.order.key for each in desk.launched] == ["k1", "k2", "k3", "k4", "k2"]
        for number in range(1, 5):
            desk.end(number)
        assert all(desk.told[number][2] is True for number in range(1, 5))

    def test_then_those_who_pause_fail(self) -> None:
        desk = Desk(bytes_max=10 * KIB)
        for number in range(1, 5):
            desk.order(number, f"k{number}")
            desk.tell(AnswerPaused(number))
            desk.begin(number, self.LARGE)
        assert list(desk.told) == [1]
        assert desk.told[1][0].cause is Cause.CLIENT_TOO_SLOW
        assert desk.grounded == [1]

    def test_crumbs_count_by_what_they_cost(self) -> None:
        desk = Desk(bytes_max=10 * KIB)
        desk.order(1)
        desk.begin(1, *([b"x"] * 1000))
        desk.end(1)
        assert desk.told[1] == [Source.MADE, b"x" * 1000, True]
        assert desk.cache.statistics()["entries"] == 0, "it was too large on its way"


class TestStore:
    @staticmethod
    def kept(body: bytes = b"abc") -> bytes:
        """An entry of the store."""
        return pack(Entry(VERSION, "main", HEADERS, body))

    def test_the_store_is_asked_first(self) -> None:
        desk = Desk(shared=True)
        desk.order(1)
        assert (desk.sought, desk.launched) == (["k"], [])
        desk.tell(EntryFound("k", self.kept(), 7_000_000))
        assert desk.told == {1: [Source.KEPT, b"abc", True]}
        assert (desk.launched, desk.cache.statistics()["followers"]) == ([], 0)

    def test_what_it_keeps_is_as_old_as_it_says(self) -> None:
        desk = Desk(shared=True)
        desk.order(1)
        (first, *_) = desk.cache.handle(0, EntryFound("k", self.kept(), 7_999_999))
        assert first == TellAnswer(1, AnswerBegan(1, Source.KEPT, HEADERS, 7, "main"))

    @pytest.mark.parametrize("value", [None, b"", b"nonsense", pack(Entry(VERSION + 1, "", [], b""))])
    def test_where_it_has_nothing_of_use_the_call_is_made(self, value: bytes | None) -> None:
        desk = Desk(shared=True)
        desk.order(1)
        desk.order(2)
        desk.tell(EntryFound("k", value))
        assert len(desk.launched) == 1
        desk.fly(1, b"abc")
        assert desk.told == {1: [Source.MADE, b"abc", True], 2: [Source.JOINED, b"abc", True]}
        assert len(desk.notes) == (value is not None)

    def test_the_answer_is_written_there_and_only_there(self) -> None:
        desk = Desk(shared=True)
        desk.order(1)
        desk.tell(EntryFound("k", None))
        desk.fly(1, b"ab", b"c")
        (kept,) = desk.kept
        assert (kept.key, kept.ttl_us) == ("k", 60_000_000)
        assert unpack(kept.value) == Entry(VERSION, "main", HEADERS, b"abc")
        desk.order(2)
        assert (desk.sought, desk.cache.held_bytes) == (["k", "k"], 0)

    @pytest.mark.parametrize(
        ("fault", "keep", "ttl_us"), [(LOST, True, 1), (None, False, 1), (None, True, 0)]
    )
    def test_but_not_what_is_not_to_be_kept(self, fault: Fault | None, keep: bool, ttl_us: int) -> None:
        desk = Desk(shared=True)
        desk.order(1, ttl_us=ttl_us)
        desk.tell(EntryFound("k", None))
        desk.begin(1, b"abc")
        desk.end(1, fault, keep=keep)
        assert desk.kept == []

    def test_who_asks_meanwhile_waits_with_it(self) -> None:
        desk = Desk(shared=True)
        desk.order(1)
        desk.order(2)
        desk.order(3, "other")
        assert desk.sought == ["k", "other"]
        desk.tell(EntryFound("k", self.kept()))
        assert desk.told == {ticket: [Source.KEPT, b"abc", True] for ticket in (1, 2)}

    def test_an_entry_may_be_young_enough_for_some(self) -> None:
        desk = Desk(shared=True)
        desk.order(1, max_age_us=5)
        desk.order(2)
        desk.tell(EntryFound("k", self.kept(), 6))
        assert desk.told == {2: [Source.KEPT, b"abc", True]}
        assert [each.order.sharing.max_age_us for each in desk.launched] == [5]

    @pytest.mark.parametrize("sharing", [{"max_age_us": 0}, {"max_age_us": 0, "share": False}])
    def test_who_wants_a_fresh_answer_does_not_look(self, sharing: dict[str, Any]) -> None:
        desk = Desk(shared=True)
        desk.order(1, **sharing)
        assert (desk.sought, len(desk.launched)) == ([], 1)

    def test_nor_does_who_can_join(self) -> None:
        desk = Desk(shared=True)
        desk.order(1, max_age_us=0)
        desk.order(2)
        assert desk.sought == []
        desk.fly(1, b"a")
        assert desk.told[2] == [Source.JOINED, b"a", True]

    def test_but_who_does_not_share_does_although_it_could(self) -> None:
        desk = Desk(shared=True)
        desk.order(1, max_age_us=0)
        desk.order(2, share=False)
        assert (desk.sought, len(desk.launched)) == (["k"], 1)

    def test_a_slow_store_is_not_waited_for(self) -> None:
        desk = Desk(shared=True)
        desk.order(1)
        desk.now = SEEK_NS // 2
        desk.order(2)
        desk.order(3, "other")
        assert desk.cache.deadline == SEEK_NS
        desk.now = SEEK_NS
        desk.tell(Ticked())
        assert [each.order.key for each in desk.launched] == ["k"]
        assert desk.cache.deadline == SEEK_NS // 2 + SEEK_NS
        desk.tell(EntryFound("k", self.kept()))
        desk.fly(1, b"a")
        assert desk.told == {1: [Source.MADE, b"a", True], 2: [Source.JOINED, b"a", True]}

    def test_who_leaves_meanwhile_is_forgotten(self) -> None:
        desk = Desk(shared=True)
        desk.order(1)
        desk.order(2)
        desk.tell(AnswerUnwanted(1))
        assert desk.cache.deadline is not None
        desk.tell(AnswerUnwanted(2))
        assert desk.cache.deadline is None
        desk.tell(EntryFound("k", None))
        assert (desk.told, desk.launched) == ({}, [])

    def test_who_does_not_share_makes_a_call_of_its_own_then(self) -> None:
        desk = Desk(shared=True)
        desk.order(1)
        desk.order(2, share=False)
        desk.tell(EntryFound("k", None))
        assert len(desk.launched) == 2

    def test_who_pauses_meanwhile_gets_all_of_it_later(self) -> None:
        desk = Desk(shared=True)
        desk.order(1)
        desk.tell(AnswerPaused(1), EntryFound("k", None))
        desk.fly(1, b"a")
        assert desk.told == {}
        desk.tell(AnswerResumed(1))
        assert desk.told[1] == [Source.MADE, b"a", True]


# ------------------------------------------------------------------------------------------------- the model


class Flight:
    """A flight, as the model knows it."""

    def __init__(self, key: str, ttl_us: int) -> None:
        self.key = key
        self.ttl_us = ttl_us
        self.body = b""
        self.begun = False
        self.end: Fault | bool | None = None
        self.grounded = False
        self.held = False


class Follower:
    """Somebody who waits, as the model knows it."""

    def __init__(self, key: str, sharing: Sharing) -> None:
        self.key = key
        self.sharing = sharing
        self.source: Source | None = None
        self.body = b""
        self.paused = False
        self.flight: int | None = None
        """The one whose bytes it is told; known when it has been told something."""


class TestHolding:
    """Where nobody takes anything of a flight, its upstream is not read either."""

    def test_one_whose_only_follower_pauses_is_held_until_it_goes_on(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.begin(1, b"one")
        desk.tell(AnswerPaused(1))
        assert desk.held == [1]
        desk.tell(AnswerResumed(1))
        assert desk.held == []

    def test_it_takes_all_of_them(self) -> None:
        desk = Desk()
        for ticket in (1, 2):
            desk.order(ticket)
        desk.tell(AnswerPaused(1))
        assert desk.held == []
        desk.tell(AnswerPaused(2))
        assert desk.held == [1]
        desk.tell(AnswerPaused(2), AnswerResumed(1))
        assert desk.held == []

    def test_one_more_follower_frees_it(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.tell(AnswerPaused(1))
        desk.order(2)
        assert desk.held == []
        desk.tell(AnswerUnwanted(2))
        assert desk.held == [1]

    def test_one_that_is_over_is_not_held(self) -> None:
        desk = Desk()
        desk.order(1)
        desk.begin(1, b"one")
        desk.tell(FlightEnded(1, None, worth_keeping=True), AnswerPaused(1))
        assert desk.held == []


class CacheAgainstModel(RuleBasedStateMachine):
    """Any events in any order. Its headers tell of each answer which flight it came from."""

    @initialize(
        bytes_max=st.sampled_from([2 * KIB, 4 * KIB, 64 * KIB]),
        entry_bytes_max=st.sampled_from([16, 64, 1024]),
        shared=st.booleans(),
    )
    def begin(self, bytes_max: int, entry_bytes_max: int, shared: bool) -> None:
        self.cache = Cache(bytes_max=bytes_max, entry_bytes_max=entry_bytes_max, shared=shared)
        self.bytes_max, self.entry_bytes_max, self.shared = bytes_max, entry_bytes_max, shared
        self.now = 0
        self.tickets = 0
        self.serial = 0
        self.flights: dict[int, Flight] = {}
        self.followers: dict[int, Follower] = {}
        """Those who have had no end."""
        self.worth: dict[int, int] = {}
        """The flights whose answer was good to be kept, and when they ended."""
        self.store: dict[str, tuple[bytes, int]] = {}
        self.sought: list[str] = []

    # -------------------------------------------------------------------------------------------- the judge

    def tell(self, event: CacheEvent) -> list[CacheCommand]:
        commands = self.cache.handle(self.now, event)
        for command in commands:
            match command:
                case TellAnswer(ticket, told):
                    self.judge(ticket, told)
                case Launch(flight, order):
                    assert flight not in self.flights
                    assert any(each.key == order.key for each in self.followers.values())
                    self.flights[flight] = Flight(order.key, order.sharing.ttl_us)
                case Ground(flight):
                    known = self.flights[flight]
                    assert known.end is None
                    assert not known.grounded
                    known.grounded = True
                case HoldFlight(flight) | FreeFlight(flight):
                    known = self.flights[flight]
                    assert known.held is isinstance(command, FreeFlight)
                    known.held = isinstance(command, HoldFlight)
                case SeekEntry(key):
                    assert self.shared
                    self.sought.append(key)
                case KeepEntry(key, value, ttl_us):
                    entry = unpack(value)
                    assert entry is not None
                    number = int(entry.headers[0][1])
                    assert (self.flights[number].key, self.worth[number]) == (key, self.now)
                    assert entry.body == self.flights[number].body
                    assert ttl_us > 0
                    self.store[key] = (value, self.now)
                case Note():
                    raise AssertionError(command.text)
        return commands

    def judge(self, ticket: int, told: AnswerBegan | AnswerSent | AnswerEnded | AnswerFailed) -> None:
        follower = self.followers[ticket]
        match told:
            case AnswerBegan(source=source, headers=headers):
                assert follower.source is None
                follower.source = source
                follower.flight = int(headers[0][1])
                assert self.flights[follower.flight].key == follower.key
            case AnswerSent(_, data):
                assert follower.source is not None
                assert not follower.paused or follower.source is Source.KEPT
                follower.body += data
                assert self.body_of(follower).startswith(follower.body)
            case AnswerEnded():
                assert follower.body == self.body_of(follower)
                if follower.source is Source.KEPT:
                    assert follower.flight is not None
                    age = self.now - self.worth[follower.flight]
                    assert age <= follower.sharing.max_age_us * MICROSECOND
                else:
                    assert self.flight_of(follower).end is True
                del self.followers[ticket]
            case AnswerFailed(_, fault):
                if fault.cause is Cause.CLIENT_TOO_SLOW:
                    assert follower.paused, "only who takes nothing is too slow"
                else:
                    assert fault in [each.end for each in self.flights.values() if each.key == follower.key]
                    if follower.source is not None:
                        assert self.flight_of(follower).end == fault
                        assert follower.body == self.body_of(follower)
                del self.followers[ticket]

    def flight_of(self, follower: Follower) -> Flight:
        assert follower.flight is not None
        return self.flights[follower.flight]

    def body_of(self, follower: Follower) -> bytes:
        return self.flight_of(follower).body

    def some(self, *, begun: bool) -> list[int]:
        return [number for number, each in self.flights.items() if each.end is None and each.begun is begun]

    # --------------------------------------------------------------------------------------------- the facts

    @rule(
        key=st.sampled_from("ab"),
        ttl_us=st.sampled_from([0, 5_000_000]),
        max_age_us=st.sampled_from([0, 2_000_000, 5_000_000]),
        share=st.booleans(),
    )
    def somebody_orders(self, key: str, ttl_us: int, max_age_us: int, share: bool) -> None:
        self.tickets += 1
        new = order(key, ttl_us=ttl_us, max_age_us=max_age_us, share=share)
        self.followers[self.tickets] = Follower(key, new.sharing)
        commands = self.tell(AnswerOrdered(self.tickets, new))
        launched = [each for each in commands if isinstance(each, Launch)]
        assert len(launched) <= 1
        assert [
            each for each in commands if isinstance(each, TellAnswer) and each.ticket != self.tickets
        ] == []

    @precondition(lambda self: self.some(begun=False))
    @rule(data=st.data())
    def a_flight_begins(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.some(begun=False)))
        self.flights[number].begun = True
        self.tell(FlightBegan(number, [(b"flight", b"%d" % number)], "", ()))

    @precondition(lambda self: self.some(begun=True))
    @rule(data=st.data(), size=st.integers(0, 40))
    def a_flight_sends(self, data: st.DataObject, size: int) -> None:
        number = data.draw(st.sampled_from(self.some(begun=True)))
        self.serial += 1
        piece = (b"%d," % self.serial) + b"x" * size
        flight = self.flights[number]
        flight.body += piece
        self.tell(FlightSent(number, piece))
        for follower in self.followers.values():
            if follower.flight == number and not follower.paused:
                assert follower.body == flight.body, "who does not pause is told at once"

    @precondition(lambda self: self.some(begun=True))
    @rule(data=st.data(), worth=st.booleans())
    def a_flight_ends(self, data: st.DataObject, worth: bool) -> None:
        number = data.draw(st.sampled_from(self.some(begun=True)))
        flight = self.flights[number]
        flight.end = True
        if worth and flight.ttl_us and len(flight.body) <= self.entry_bytes_max:
            self.worth[number] = self.now
        self.tell(FlightEnded(number, None, worth))
        self.nobody_waits_for(number)

    @precondition(lambda self: self.some(begun=True) + self.some(begun=False))
    @rule(data=st.data(), fault=st.sampled_from([LOST, REFUSED]))
    def a_flight_fails(self, data: st.DataObject, fault: Fault) -> None:
        number = data.draw(st.sampled_from(self.some(begun=True) + self.some(begun=False)))
        self.flights[number].end = fault
        self.tell(FlightEnded(number, fault, False))
        self.nobody_waits_for(number)

    def nobody_waits_for(self, number: int) -> None:
        for follower in self.followers.values():
            assert follower.flight != number or follower.paused

    @precondition(lambda self: self.followers)
    @rule(data=st.data())
    def somebody_leaves(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.followers)))
        del self.followers[ticket]
        self.tell(AnswerUnwanted(ticket))

    @precondition(lambda self: self.followers)
    @rule(data=st.data())
    def somebody_pauses(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.followers)))
        self.followers[ticket].paused = True
        commands = self.tell(AnswerPaused(ticket))
        assert all(isinstance(each, HoldFlight) for each in commands)

    @precondition(lambda self: self.followers)
    @rule(data=st.data())
    def somebody_resumes(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.followers)))
        self.followers[ticket].paused = False
        commands = self.tell(AnswerResumed(ticket))
        sent = [
            each for each in commands if isinstance(each, TellAnswer) and isinstance(each.event, AnswerSent)
        ]
        assert len(sent) <= 1, "in one piece"

    @precondition(lambda self: self.sought)
    @rule(data=st.data(), finds=st.booleans())
    def the_store_answers(self, data: st.DataObject, finds: bool) -> None:
        key = self.sought.pop(data.draw(st.integers(0, len(self.sought) - 1)))
        value, since = self.store.get(key, (None, 0))
        if value is not None and finds:
            self.tell(EntryFound(key, value, (self.now - since) // MICROSECOND))
        else:
            self.tell(EntryFound(key, None))

    @rule(milliseconds=st.sampled_from([10, 100, 1000, 4000]))
    def time_passes(self, milliseconds: int) -> None:
        until = self.now + milliseconds * 1_000_000
        for _ in range(1000):
            deadline = self.cache.deadline
            if deadline is None or deadline > until:
                self.now = until
                return
            self.now = max(self.now, deadline)
            self.tell(Ticked())
            assert self.cache.deadline is None or self.cache.deadline > self.now
        raise AssertionError("the cache never comes to rest")

    @rule()
    def a_tick_comes_early(self) -> None:
        self.tell(Ticked())

    # ---------------------------------------------------------------------------------------- what must hold

    @invariant()
    def the_bound_is_held(self) -> None:
        assert 0 <= self.cache.held_bytes <= self.bytes_max

    @invariant()
    def nothing_is_left_behind(self) -> None:
        statistics = self.cache.statistics()
        assert statistics["followers"] == len(self.followers)
        in_the_air = [number for number, each in self.flights.items() if each.end is None]
        unread = {each.flight for each in self.followers.values()} - {None}
        assert len(in_the_air) <= statistics["flights"] <= len({*in_the_air, *unread}) + self.unbegun()
        if not statistics["flights"] and not statistics["entries"]:
            assert statistics["held_bytes"] == 0

    def unbegun(self) -> int:
        """Paused followers of whom the model does not know what they wait for."""
        return len([each for each in self.followers.values() if each.flight is None and each.paused])

    @invariant()
    def a_flight_without_followers_is_grounded(self) -> None:
        waiting: Iterable[str] = [each.key for each in self.followers.values()]
        for flight in self.flights.values():
            if flight.end is None and flight.key not in waiting:
                assert flight.grounded

    @invariant()
    def a_flight_is_held_while_nobody_takes_anything(self) -> None:
        for number, flight in self.flights.items():
            if flight.end is not None or flight.grounded:
                continue
            waiting = [each for each in self.followers.values() if each.key == flight.key]
            if all(each.paused for each in waiting):
                assert flight.held
            if any(not each.paused for each in waiting if each.flight == number):
                assert not flight.held


TestAgainstModel = CacheAgainstModel.TestCase


class TestPausesWhileTheStoreIsAsked:
    def test_who_pauses_and_goes_on_before_it_has_answered_misses_nothing(self) -> None:
        desk = Desk(shared=True)
        desk.order(1)
        desk.tell(AnswerPaused(1), AnswerPaused(1), AnswerResumed(1), AnswerResumed(1))
        assert (desk.told, desk.held) == ({}, [])
        desk.tell(EntryFound("k", None))
        desk.fly(1, b"a")
        assert desk.told[1] == [Source.MADE, b"a", True]
