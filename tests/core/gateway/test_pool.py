"""The pool against a model: who gets which connection, who waits, and for how long."""

from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stargate_core.aws.endpoints import Endpoint
from stargate_core.clock import SECOND
from stargate_core.gateway.pool import Pool, PoolLimits
from stargate_core.messages import (
    AskWithdrawn,
    BoundsChanged,
    Connect,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    Disconnect,
    Draining,
    LeaseAsked,
    LeaseReturned,
    Lend,
    PoolCommand,
    PoolEvent,
    Refuse,
    Ticked,
    Trouble,
)

HERE: Final = Endpoint("https", "here.test", 443, "bedrock", "us-east-1")
THERE: Final = Endpoint("https", "there.test", 443, "bedrock", "us-east-1")
LIMITS: Final = PoolLimits(
    connections_max=2, idle_max=2, idle_ns=300 * SECOND, connect_ns=3 * SECOND, wait_ns=5 * SECOND
)


def pool(**limits: int) -> Pool:
    """A pool with these limits instead of two connections to each endpoint."""
    values = {name: getattr(LIMITS, name) for name in LIMITS.__struct_fields__}
    return Pool(PoolLimits(**{**values, **limits}))


def asked(ticket: int, *, fresh: bool = False, endpoint: Endpoint = HERE) -> LeaseAsked:
    """A session's question."""
    return LeaseAsked(ticket, endpoint, fresh)


class TestLending:
    def test_a_first_question_opens_a_connection_and_gets_it(self) -> None:
        machine = pool()
        assert machine.handle(0, asked(1)) == [Connect(1, HERE)]
        assert machine.handle(1, ConnectionOpened(1)) == [Lend(1, 1, reused=False)]

    def test_a_connection_that_came_back_clean_is_lent_again(self) -> None:
        machine = pool()
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        assert machine.handle(1, LeaseReturned(1, clean=True)) == []
        assert machine.handle(2, asked(2)) == [Lend(2, 1, reused=True)]

    def test_one_that_did_not_is_closed(self) -> None:
        machine = pool()
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        assert machine.handle(1, LeaseReturned(1, clean=False)) == [Disconnect(1)]
        assert machine.handle(2, asked(2)) == [Connect(2, HERE)]

    def test_the_one_used_last_is_lent_first(self) -> None:
        machine = pool(connections_max=3, idle_max=3)
        for number in (1, 2, 3):
            machine.handle(0, asked(number))
            machine.handle(0, ConnectionOpened(number))
        for number in (2, 1, 3):
            machine.handle(1, LeaseReturned(number, clean=True))
        lent = [machine.handle(2, asked(number))[0] for number in (4, 5, 6)]
        assert [command.connection for command in lent if isinstance(command, Lend)] == [3, 1, 2]

    def test_a_returned_one_goes_to_whoever_waits_longest(self) -> None:
        machine = pool(connections_max=1)
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        assert machine.handle(1, asked(2)) == machine.handle(2, asked(3)) == []
        assert machine.handle(3, LeaseReturned(1, clean=True)) == [Lend(2, 1, reused=True)]
        assert machine.handle(4, LeaseReturned(1, clean=True)) == [Lend(3, 1, reused=True)]

    def test_whichever_is_free_first_is_lent(self) -> None:
        """A returned one overtakes the one that is being opened, and that one is kept for the next."""
        machine = pool()
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        machine.handle(1, asked(2))
        assert machine.handle(2, LeaseReturned(1, clean=True)) == [Lend(2, 1, reused=True)]
        assert machine.handle(3, ConnectionOpened(2)) == []
        # It has carried nothing, but it has lain there, and its peer may have had enough of it.
        assert machine.handle(4, asked(3)) == [Lend(3, 2, reused=True)]

    def test_endpoints_do_not_share(self) -> None:
        machine = pool(connections_max=1)
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        assert machine.handle(1, asked(2, endpoint=THERE)) == [Connect(2, THERE)]
        machine.handle(1, LeaseReturned(1, clean=True))
        assert machine.handle(2, ConnectionOpened(2)) == [Lend(2, 2, reused=False)]


class TestFresh:
    def test_a_fresh_question_never_gets_a_kept_one(self) -> None:
        machine = pool()
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        machine.handle(0, LeaseReturned(1, clean=True))
        assert machine.handle(1, asked(2, fresh=True)) == [Connect(2, HERE)]
        assert machine.handle(2, ConnectionOpened(2)) == [Lend(2, 2, reused=False)]

    def test_at_the_limit_a_kept_one_makes_room_for_it(self) -> None:
        machine = pool(connections_max=1)
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        machine.handle(0, LeaseReturned(1, clean=True))
        assert machine.handle(1, asked(2, fresh=True)) == [Disconnect(1), Connect(2, HERE)]

    def test_so_does_one_that_comes_back_while_it_waits(self) -> None:
        machine = pool(connections_max=1)
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        assert machine.handle(1, asked(2, fresh=True)) == []
        assert machine.handle(2, LeaseReturned(1, clean=True)) == [Disconnect(1), Connect(2, HERE)]

    def test_others_may_overtake_it_with_a_kept_one(self) -> None:
        machine = pool(connections_max=1)
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        machine.handle(1, asked(2, fresh=True))
        machine.handle(1, asked(3))
        assert machine.handle(2, LeaseReturned(1, clean=True)) == [Lend(3, 1, reused=True)]


class TestTime:
    def test_opening_may_take_so_long(self) -> None:
        machine = pool()
        machine.handle(0, asked(1))
        assert machine.deadline == LIMITS.connect_ns
        assert machine.handle(LIMITS.connect_ns - 1, Ticked()) == []
        assert machine.handle(LIMITS.connect_ns, Ticked()) == [
            Disconnect(1),
            Refuse(1, Trouble.CONNECT_TIMEOUT),
        ]
        assert machine.deadline is None

    def test_waiting_may_take_so_long(self) -> None:
        machine = pool(connections_max=1)
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        machine.handle(7, asked(2))
        machine.handle(8, asked(3))
        assert machine.deadline == 7 + LIMITS.wait_ns
        assert machine.handle(7 + LIMITS.wait_ns, Ticked()) == [Refuse(2, Trouble.POOL_TIMEOUT)]
        assert machine.deadline == 8 + LIMITS.wait_ns

    def test_whoever_has_one_opening_waits_for_that(self) -> None:
        """A place came free late in its wait: from then on the time to connect counts."""
        machine = pool(connections_max=1)
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        machine.handle(0, asked(2))
        assert machine.handle(4 * SECOND, LeaseReturned(1, clean=False)) == [Disconnect(1), Connect(2, HERE)]
        assert machine.deadline == 7 * SECOND
        assert machine.handle(6 * SECOND, Ticked()) == []
        assert machine.handle(7 * SECOND, Ticked()) == [Disconnect(2), Refuse(2, Trouble.CONNECT_TIMEOUT)]

    def test_kept_ones_grow_too_old(self) -> None:
        machine = pool()
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        machine.handle(5, LeaseReturned(1, clean=True))
        assert machine.deadline == 5 + LIMITS.idle_ns
        assert machine.handle(4 + LIMITS.idle_ns, Ticked()) == []
        assert machine.handle(5 + LIMITS.idle_ns, Ticked()) == [Disconnect(1)]

    def test_one_that_is_too_old_is_not_lent_even_if_nobody_ticked(self) -> None:
        """A process that was stopped for a while must not send a call into a dead socket."""
        machine = pool()
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        machine.handle(0, LeaseReturned(1, clean=True))
        assert machine.handle(LIMITS.idle_ns, asked(2)) == [Disconnect(1), Connect(2, HERE)]


class TestFailures:
    @pytest.mark.parametrize("trouble", [Trouble.REFUSED, Trouble.TLS, Trouble.NAME_UNKNOWN])
    def test_a_connection_that_can_not_be_made_is_one_questions_trouble(self, trouble: Trouble) -> None:
        machine = pool()
        machine.handle(0, asked(1))
        machine.handle(0, asked(2))
        assert machine.handle(1, ConnectionFailed(2, trouble, "why")) == [Refuse(1, trouble, "why")]
        assert machine.handle(2, ConnectionOpened(1)) == [Lend(2, 1, reused=False)]

    def test_the_next_question_gets_its_own_try(self) -> None:
        machine = pool(connections_max=1)
        machine.handle(0, asked(1))
        machine.handle(0, asked(2))
        assert machine.handle(1, ConnectionFailed(1, Trouble.REFUSED)) == [
            Refuse(1, Trouble.REFUSED),
            Connect(2, HERE),
        ]

    def test_nobody_is_refused_while_another_connection_opens_for_it(self) -> None:
        machine = pool()
        machine.handle(0, asked(1))
        machine.handle(0, asked(2))
        machine.handle(0, AskWithdrawn(1))
        assert machine.handle(1, ConnectionFailed(1, Trouble.REFUSED)) == []
        assert machine.handle(2, ConnectionOpened(2)) == [Lend(2, 2, reused=False)]

    def test_a_kept_one_that_closes_is_forgotten(self) -> None:
        machine = pool()
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        machine.handle(0, LeaseReturned(1, clean=True))
        assert machine.handle(1, ConnectionClosed(1)) == [Disconnect(1)]
        assert machine.handle(2, asked(2)) == [Connect(2, HERE)]

    def test_a_lent_one_that_closes_makes_room(self) -> None:
        machine = pool(connections_max=1)
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        machine.handle(0, asked(2))
        assert machine.handle(1, ConnectionClosed(1)) == [Disconnect(1), Connect(2, HERE)]
        assert machine.handle(2, LeaseReturned(1, clean=True)) == []


class TestDraining:
    def test_kept_ones_are_closed_and_none_is_kept_any_more(self) -> None:
        machine = pool()
        for number in (1, 2):
            machine.handle(0, asked(number))
            machine.handle(0, ConnectionOpened(number))
        machine.handle(0, LeaseReturned(1, clean=True))
        assert machine.handle(1, Draining(0)) == [Disconnect(1)]
        assert machine.handle(2, LeaseReturned(2, clean=True)) == [Disconnect(2)]

    def test_what_runs_may_still_ask(self) -> None:
        machine = pool()
        machine.handle(0, Draining(0))
        assert machine.handle(1, asked(1)) == [Connect(1, HERE)]
        assert machine.handle(2, ConnectionOpened(1)) == [Lend(1, 1, reused=False)]


def bounds(**changed: int) -> BoundsChanged:
    """These bounds instead of `LIMITS`."""
    values = {name: getattr(LIMITS, name) for name in LIMITS.__struct_fields__}
    return BoundsChanged(**{**values, **changed})


class TestBounds:
    def test_more_room_is_for_those_who_wait(self) -> None:
        machine = pool(connections_max=1)
        for number in (1, 2, 3):
            machine.handle(0, asked(number))
        assert machine.handle(1, bounds(connections_max=2)) == [Connect(2, HERE)]

    def test_beyond_less_room_connections_go_as_they_come_back(self) -> None:
        machine = pool()
        for number in (1, 2):
            machine.handle(0, asked(number))
            machine.handle(0, ConnectionOpened(number))
        assert machine.handle(1, bounds(connections_max=1)) == []
        assert machine.handle(2, LeaseReturned(1, clean=True)) == [Disconnect(1)]
        assert machine.handle(3, LeaseReturned(2, clean=True)) == []
        assert machine.handle(4, asked(3)) == [Lend(3, 2, reused=True)]

    def test_shorter_times_count_from_that_moment(self) -> None:
        machine = pool()
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        machine.handle(0, LeaseReturned(1, clean=True))
        machine.handle(0, asked(2, fresh=True))
        machine.handle(1, bounds(idle_ns=SECOND, connect_ns=2 * SECOND))
        assert machine.deadline == 1 + SECOND
        assert machine.handle(1 + SECOND, Ticked()) == [Disconnect(1)]
        assert machine.deadline == 1 + 2 * SECOND
        assert machine.handle(1 + 2 * SECOND, Ticked()) == [
            Disconnect(2),
            Refuse(2, Trouble.CONNECT_TIMEOUT),
        ]

    def test_who_waits_for_room_waits_no_longer_than_the_new_time(self) -> None:
        machine = pool(connections_max=1)
        machine.handle(0, asked(1))
        machine.handle(0, ConnectionOpened(1))
        machine.handle(0, asked(2))
        machine.handle(SECOND, bounds(connections_max=1, wait_ns=SECOND))
        assert machine.handle(2 * SECOND, Ticked()) == [Refuse(2, Trouble.POOL_TIMEOUT)]

    def test_longer_times_are_for_what_begins_then(self) -> None:
        machine = pool()
        machine.handle(0, asked(1))
        machine.handle(0, bounds(connect_ns=9 * SECOND))
        assert machine.deadline == LIMITS.connect_ns
        machine.handle(LIMITS.connect_ns, Ticked())
        machine.handle(LIMITS.connect_ns, asked(2))
        assert machine.deadline == LIMITS.connect_ns + 9 * SECOND


# ------------------------------------------------------------------------------------------------- the model


class Known:
    """A connection, as the model knows it."""

    def __init__(self, endpoint: Endpoint, now: int) -> None:
        self.endpoint = endpoint
        self.state = "opening"
        self.since = now
        self.used = False
        """It has carried a call, or lain idle."""


class Waiting:
    """A question, as the model knows it."""

    def __init__(self, event: LeaseAsked, now: int) -> None:
        self.endpoint = event.endpoint
        self.fresh = event.fresh
        self.since = now


class PoolAgainstModel(RuleBasedStateMachine):
    """Any events in any order, late and double ones too; the model judges each command."""

    @initialize(connections=st.integers(1, 4), idle=st.integers(0, 4))
    def begin(self, connections: int, idle: int) -> None:
        self.limits = PoolLimits(connections, idle, 300 * SECOND, 3 * SECOND, 5 * SECOND)
        self.pool = Pool(self.limits)
        self.now = 0
        self.connections: dict[int, Known] = {}
        self.gone: list[int] = []
        self.questions: dict[int, Waiting] = {}
        self.tickets = 0
        self.draining = False

    # -------------------------------------------------------------------------------------------- the judge

    def tell(self, event: PoolEvent) -> list[PoolCommand]:
        commands = self.pool.handle(self.now, event)
        for command in commands:
            self.judge(command)
        return commands

    def judge(self, command: PoolCommand) -> None:
        match command:
            case Connect(connection, endpoint):
                assert connection not in self.connections
                assert connection not in self.gone, "a number is used twice"
                self.connections[connection] = Known(endpoint, self.now)
                assert self.count(endpoint) <= self.limits.connections_max
            case Disconnect(connection):
                del self.connections[connection]
                self.gone.append(connection)
            case Lend(ticket, connection, reused):
                question = self.questions.pop(ticket)
                known = self.connections[connection]
                assert known.state in {"idle", "free"}, "lent to two at once"
                assert known.endpoint == question.endpoint
                assert reused == known.used
                assert not (reused and question.fresh), "a fresh one was asked for"
                assert all(
                    (other.fresh and reused) or other.endpoint != question.endpoint
                    for number, other in self.questions.items()
                    if number < ticket
                ), "somebody waits longer"
                known.state, known.used = "lent", True
            case Refuse(ticket, trouble):
                question = self.questions.pop(ticket)
                if trouble is Trouble.POOL_TIMEOUT:
                    assert self.now >= question.since + self.limits.wait_ns

    def count(self, endpoint: Endpoint, *states: str) -> int:
        known = [each for each in self.connections.values() if each.endpoint == endpoint]
        return len([each for each in known if not states or each.state in states])

    def some(self, *states: str) -> list[int]:
        return [number for number, known in self.connections.items() if known.state in states]

    def settle(self, connection: int, *, kept: bool) -> None:
        """A free connection was lent, kept or closed."""
        known = self.connections.get(connection)
        if known is not None and known.state == "free":
            assert kept
            known.state, known.since, known.used = "idle", self.now, True
            # Kept ones are lent newest first: the model keeps their order by re-inserting.
            self.connections[connection] = self.connections.pop(connection)

    # --------------------------------------------------------------------------------------------- the facts

    @rule(endpoint=st.sampled_from([HERE, THERE]), fresh=st.booleans())
    def a_session_asks(self, endpoint: Endpoint, fresh: bool) -> None:
        self.tickets += 1
        event = LeaseAsked(self.tickets, endpoint, fresh)
        kept = [
            number
            for number, known in self.connections.items()
            if known.state == "idle"
            and known.endpoint == endpoint
            and known.since + self.limits.idle_ns > self.now
        ]
        self.questions[self.tickets] = Waiting(event, self.now)
        commands = self.tell(event)
        if kept and not fresh:
            assert commands == [Lend(self.tickets, kept[-1], self.connections[kept[-1]].used)]

    @precondition(lambda self: self.questions)
    @rule(data=st.data())
    def a_session_withdraws(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.questions)))
        del self.questions[ticket]
        self.tell(AskWithdrawn(ticket))

    @precondition(lambda self: self.some("opening"))
    @rule(data=st.data())
    def a_connection_opens(self, data: st.DataObject) -> None:
        connection = data.draw(st.sampled_from(self.some("opening")))
        self.connections[connection].state = "free"
        self.tell(ConnectionOpened(connection))
        self.settle(connection, kept=True)

    @precondition(lambda self: self.some("opening"))
    @rule(data=st.data(), trouble=st.sampled_from([Trouble.REFUSED, Trouble.TLS]))
    def a_connection_fails(self, data: st.DataObject, trouble: Trouble) -> None:
        connection = data.draw(st.sampled_from(self.some("opening")))
        self.gone.append(connection)
        endpoint = self.connections.pop(connection).endpoint
        waiting = [t for t, q in self.questions.items() if q.endpoint == endpoint]
        opening = self.count(endpoint, "opening")
        refused = [c for c in self.tell(ConnectionFailed(connection, trouble)) if isinstance(c, Refuse)]
        assert [each.ticket for each in refused] == (waiting[:1] if len(waiting) > opening else [])

    @precondition(lambda self: self.some("lent"))
    @rule(data=st.data(), clean=st.booleans())
    def a_lease_comes_back(self, data: st.DataObject, clean: bool) -> None:
        connection = data.draw(st.sampled_from(self.some("lent")))
        if clean:
            self.connections[connection].state = "free"
        self.tell(LeaseReturned(connection, clean))
        if not clean:
            assert connection not in self.connections
        self.settle(connection, kept=clean)

    @precondition(lambda self: self.some("idle", "lent"))
    @rule(data=st.data())
    def a_connection_closes(self, data: st.DataObject) -> None:
        connection = data.draw(st.sampled_from(self.some("idle", "lent")))
        self.tell(ConnectionClosed(connection))
        assert connection not in self.connections

    @rule(seconds=st.sampled_from([0, 1, 2, 3, 5, 100, 301]))
    def time_passes(self, seconds: int) -> None:
        until = self.now + seconds * SECOND
        for _ in range(1000):
            deadline = self.pool.deadline
            if deadline is None or deadline > until:
                self.now = until
                return
            self.now = max(self.now, deadline)
            self.tell(Ticked())
            assert self.pool.deadline is None or self.pool.deadline > self.now
        raise AssertionError("the pool never comes to rest")

    @rule(seconds=st.sampled_from([1, 400]))
    def time_passes_and_nobody_ticks(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule()
    def a_tick_comes_early(self) -> None:
        self.tell(Ticked())

    @rule()
    def the_process_drains(self) -> None:
        self.draining = True
        self.tell(Draining(0))

    @rule(number=st.integers(0, 30), data=st.data())
    def a_late_fact_comes(self, number: int, data: st.DataObject) -> None:
        """About what is over, or was never so; and facts told twice."""
        late: list[PoolEvent] = [
            ConnectionOpened(number),
            ConnectionFailed(number, Trouble.REFUSED),
            ConnectionClosed(number),
            LeaseReturned(number, clean=True),
            LeaseReturned(number, clean=False),
            AskWithdrawn(number + 1000),
        ]
        event = data.draw(st.sampled_from(late))
        known = self.connections.get(number)
        twice: dict[str, tuple[type, ...]] = {
            "opening": (LeaseReturned,),
            "idle": (ConnectionOpened, ConnectionFailed, LeaseReturned),
            "lent": (ConnectionOpened, ConnectionFailed),
        }
        if known is None or isinstance(event, (*twice[known.state], AskWithdrawn)):
            assert self.tell(event) == []

    # -------------------------------------------------------------------------------------- what always holds

    @invariant()
    def limits_are_kept(self) -> None:
        if hasattr(self, "pool"):
            for endpoint in (HERE, THERE):
                assert self.count(endpoint) <= self.limits.connections_max
                assert self.count(endpoint, "idle") <= (0 if self.draining else self.limits.idle_max)

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        """Whoever waits has a connection opening for it, or all places are in use."""
        if hasattr(self, "pool"):
            for endpoint in (HERE, THERE):
                waiting = [each for each in self.questions.values() if each.endpoint == endpoint]
                opening = self.count(endpoint, "opening")
                if len(waiting) > opening:
                    assert self.count(endpoint, "opening", "lent") == self.limits.connections_max
                if self.count(endpoint, "idle"):
                    assert all(each.fresh for each in waiting)

    @invariant()
    def the_numbers_are_right(self) -> None:
        if hasattr(self, "pool"):
            assert self.pool.statistics() == {
                "idle": len(self.some("idle")),
                "opening": len(self.some("opening")),
                "lent": len(self.some("lent")),
                "waiting": len(self.questions),
            }

    def teardown(self) -> None:
        """When everybody has gone and time has passed, nothing is left."""
        if hasattr(self, "pool"):
            for ticket in sorted(self.questions):
                del self.questions[ticket]
                self.tell(AskWithdrawn(ticket))
            for connection in self.some("lent"):
                self.connections[connection].state = "free"
                self.tell(LeaseReturned(connection, clean=True))
                self.settle(connection, kept=True)
            self.time_passes(301)
            assert self.connections == {}
            assert self.pool.deadline is None


TestPoolAgainstModel: Any = PoolAgainstModel.TestCase
TestPoolAgainstModel.settings = settings(max_examples=200, stateful_step_count=50)
