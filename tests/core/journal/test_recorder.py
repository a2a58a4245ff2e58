"""Recorders: they change nothing, keep everything that matters, and what they keep can be lived again."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.endpoints import Endpoint
from stargate_core.clock import SECOND
from stargate_core.config.plugin_configs import ResponseCache
from stargate_core.config.schema import PluginEntry
from stargate_core.direction import BreakerPolicy, Order
from stargate_core.gateway.breaker import Breaker
from stargate_core.gateway.cache import Cache
from stargate_core.gateway.flight import Flight
from stargate_core.gateway.keyring import Keyring
from stargate_core.gateway.memory_store import MemoryStore
from stargate_core.gateway.pool import Pool, PoolLimits
from stargate_core.gateway.redis_calls import LinkSettings
from stargate_core.gateway.redis_link import RedisLink
from stargate_core.gateway.session import Session
from stargate_core.journal.format import (
    Beginning,
    BreakerBeginning,
    CacheBeginning,
    FlightBeginning,
    KeyringBeginning,
    MemoryStoreBeginning,
    PoolBeginning,
    RedisLinkBeginning,
    SessionBeginning,
)
from stargate_core.journal.lives import Ring
from stargate_core.journal.machines import Machine, made
from stargate_core.journal.recorder import Recorder
from stargate_core.journal.replay import replay
from stargate_core.messages import (
    AnswerOrdered,
    AskWithdrawn,
    CallReported,
    ClientLost,
    ConnectionFailed,
    ConnectionOpened,
    Draining,
    FlightBegan,
    FlightEnded,
    FlightSent,
    Health,
    HealthChanged,
    KeysRead,
    LeaseAsked,
    LeaseReturned,
    Reconfigured,
    StoreAsked,
    StoreLost,
    StoreOpened,
    StoreSent,
    StoreTold,
    Ticked,
    Trouble,
    TurnAsked,
    UpstreamSent,
)
from stargate_core.plugins.registry import BUILT_IN
from stargate_core.questions import Keys, ReadEntry, WriteEntry
from support.bedrock import LAST_CHUNK, aws_error, chunk, converse_answer, stream_head
from support.happenings import ACTIONS, CODECS, PLANS, Codec, happen
from support.journals import STORY, RecordedBench, RecordedFlight, a_guarded_plan, cache_follower, journal
from support.machines import WALL_EPOCH_NS, Bench, a_config, a_plan, chat
from support.samples import samples

THERE: Final = Endpoint("http", "there.test", 80, "bedrock", "us-east-1")
POLICY: Final = BreakerPolicy(failures=1)
ORDER: Final[Order] = next(samples(Order))

LIVES: Final[dict[str, tuple[Beginning, list[Any]]]] = {
    "pool": (
        PoolBeginning(PoolLimits(connections_max=1)),
        [
            LeaseAsked(1, THERE, fresh=False),
            ConnectionOpened(1),
            LeaseAsked(2, THERE, fresh=False),
            LeaseReturned(1, clean=True),
            LeaseAsked(3, THERE, fresh=True),
            AskWithdrawn(3),
            ConnectionFailed(2, Trouble.REFUSED),
            Ticked(),
            Draining(SECOND),
        ],
    ),
    "breaker": (
        BreakerBeginning(),
        [
            TurnAsked(1, "here", POLICY, repeats=True),
            CallReported("here", POLICY, ok=False, first=True),
            Ticked(),
            TurnAsked(2, "here", POLICY, repeats=False),
        ],
    ),
    "cache": (
        CacheBeginning(1 << 20, 1 << 16, shared=False),
        [
            AnswerOrdered(1, ORDER),
            FlightBegan(1, [(b"content-type", b"text/plain")], "here", ()),
            AnswerOrdered(2, ORDER),
            FlightSent(1, b"words"),
            FlightEnded(1, None, worth_keeping=True),
            AnswerOrdered(3, ORDER),
        ],
    ),
    "redis_link": (
        RedisLinkBeginning(LinkSettings(), "7", WALL_EPOCH_NS),
        [
            StoreAsked(1, ReadEntry("k")),
            StoreOpened(),
            StoreSent(b"%1\r\n$5\r\nproto\r\n:3\r\n"),
            StoreLost("gone"),
            StoreAsked(2, ReadEntry("k")),
            Ticked(),
            StoreLost("still gone"),
            Ticked(),
        ],
    ),
    "keyring": (
        KeyringBeginning(0, SECOND, 10 * SECOND, 100),
        [Ticked(), KeysRead(Keys("1", {"a" * 64: b"{}"})), Ticked()],
    ),
    "memory_store": (
        MemoryStoreBeginning(WALL_EPOCH_NS, 1 << 20, 100),
        [StoreTold(WriteEntry("k", b"v", 1_000_000)), StoreAsked(1, ReadEntry("k")), Ticked()],
    ),
}
"""For each machine that is no session and no flight: how it begins, and what it is told, a second apart."""
BARE: Final[dict[str, Any]] = {
    "pool": lambda: Pool(PoolLimits(connections_max=1)),
    "breaker": Breaker,
    "cache": lambda: Cache(bytes_max=1 << 20, entry_bytes_max=1 << 16, shared=False),
    "redis_link": lambda: RedisLink(settings=LinkSettings(), seed=7, wall_epoch_ns=WALL_EPOCH_NS),
    "keyring": lambda: Keyring(0, interval_ns=SECOND, patience_ns=10 * SECOND, keys_max=100),
    "memory_store": lambda: MemoryStore(
        wall_epoch_ns=WALL_EPOCH_NS, entry_bytes_max=1 << 20, buckets_max=100
    ),
}


def a_ring() -> Ring:
    """A ring that holds anything."""
    return Ring(1 << 40, 1 << 40)


class TestAnyMachine:
    @pytest.mark.parametrize("kind", LIVES)
    def test_it_orders_what_it_orders_unrecorded(self, kind: str) -> None:
        beginning, events = LIVES[kind]
        machine: Machine = BARE[kind]()
        recorder = Recorder(made(beginning, {}), beginning, a_ring(), now=0)
        ordered = 0
        for number, event in enumerate(events):
            commands = recorder.handle(number * SECOND, event)
            assert commands == machine.handle(number * SECOND, event)
            assert recorder.deadline == machine.deadline
            ordered += len(commands)
        assert ordered > 0

    @pytest.mark.parametrize("kind", LIVES)
    def test_its_journal_is_lived_again(self, kind: str) -> None:
        beginning, events = LIVES[kind]
        recorder = Recorder(made(beginning, {}), beginning, a_ring(), now=0)
        for number, event in enumerate(events):
            recorder.handle(number * SECOND, event)
        whole = journal(recorder.life)
        assert whole.header.kind == kind
        assert whole.trailer.diverged_at is None
        assert replay(whole, BUILT_IN).divergence is None

    def test_a_bug_is_the_end_of_its_life_and_goes_on_to_the_shell(self) -> None:
        beginning, events = LIVES["cache"]
        recorder = Recorder(made(beginning, {}), beginning, a_ring(), now=0)
        recorder.handle(1, events[0])
        with pytest.raises(AssertionError, match="a ticket is used twice"):
            recorder.handle(2, events[0])
        assert recorder.life.raised == "AssertionError"
        whole = journal(recorder.life)
        assert [entry.raised for entry in whole.entries] == ["", "AssertionError"]
        assert replay(whole, BUILT_IN).divergence is None


class TestSessions:
    def test_each_request_is_a_life_of_its_own(self) -> None:
        bench = RecordedBench()
        for _ in range(3):
            bench.ask(chat())
            bench.open(reused=len(bench.lives) > 0)
            bench.answer(converse_answer())
        assert len(bench.lives) == 3
        for life in bench.lives:
            whole = journal(life)
            assert replay(whole, BUILT_IN).divergence is None
            assert whole.entries[0].event.data.startswith(b"POST ")  # type: ignore[union-attr]
        assert [journal(life).header.request_id for life in bench.lives] == [
            record["request_id"] for record in bench.records
        ]

    def test_an_idle_connection_holds_nothing(self) -> None:
        bench = RecordedBench()
        bench.ask(chat())
        bench.open()
        bench.answer(converse_answer())
        for _ in range(100):
            bench.now += SECOND // 10
            bench.tell(HealthChanged("elsewhere", Health.OPEN))
        assert bench.ring.held == 0
        assert len(bench.lives) == 1

    def test_what_it_was_told_while_idle_is_in_the_checkpoint(self) -> None:
        bench = RecordedBench(a_guarded_plan())
        bench.tell(HealthChanged("elsewhere", Health.OPEN))
        bench.ask(chat())
        beginning = bench.life.beginning
        assert isinstance(beginning, SessionBeginning)
        assert beginning.checkpoint.health == (HealthChanged("elsewhere", Health.OPEN),)

    def test_requests_sent_ahead_belong_to_the_same_life(self) -> None:
        bench = RecordedBench()
        bench.client.methods += [b"POST", b"POST"]
        bench.send(chat() + chat())
        for _ in range(2):
            bench.open()
            bench.answer(converse_answer())
        assert replay(journal(bench.life), BUILT_IN).divergence is None

    def test_a_connection_without_a_request_is_nobodys_life(self) -> None:
        bench = RecordedBench()
        bench.leave()
        assert bench.lives == []
        assert bench.ring.held == 0

    def test_behind_its_end_nothing_is_recorded(self) -> None:
        bench = RecordedBench()
        bench.leave()
        bench.session.handle(bench.now, ClientLost())
        assert bench.session.closed
        assert not bench.session.busy
        assert (bench.lives, bench.ring.held) == ([], 0)

    @pytest.mark.parametrize(
        ("answer", "status", "cause"),
        [
            (aws_error("InternalServerException", 500), 500, "UPSTREAM_INTERNAL"),
            (aws_error("ServiceUnavailableException", 503), 503, "UPSTREAM_UNAVAILABLE"),
            (stream_head() + chunk(STORY.beginning + STORY.middle) + LAST_CHUNK, 200, "STREAM_CUT"),
        ],
    )
    def test_how_its_request_failed_is_noted(self, answer: bytes, status: int, cause: str) -> None:
        bench = RecordedBench()
        bench.ask(chat(stream=True))
        bench.open()
        bench.answer(answer)
        failed = bench.life.failed
        assert failed is not None
        assert (failed.status, failed.cause) == (status, cause)
        assert failed.request_id == bench.record["request_id"] == journal(bench.life).header.request_id

    @pytest.mark.parametrize(
        "answer",
        [aws_error("ValidationException", 400), aws_error("ThrottlingException", 429), converse_answer()],
    )
    def test_a_success_and_a_callers_error_are_no_failures(self, answer: bytes) -> None:
        bench = RecordedBench()
        bench.ask(chat())
        bench.open()
        bench.answer(answer)
        assert bench.life.failed is None
        assert journal(bench.life).header.cause == ""

    def test_a_failure_is_one_lifes_alone(self) -> None:
        bench = RecordedBench()
        for answer in (aws_error("InternalServerException", 500), converse_answer()):
            bench.ask(chat())
            bench.open()
            bench.answer(answer)
        assert [life.failed is not None for life in bench.lives] == [True, False]

    def test_who_answers_5xx_by_a_plugin_has_failed_too(self) -> None:
        bench = RecordedBench(a_plan(a_config()), credentials=False)
        bench.ask(chat())
        assert bench.life.failed is not None
        assert bench.life.failed.cause == "CREDENTIALS_MISSING"

    def test_a_configuration_that_comes_meanwhile_is_recorded(self) -> None:
        plans = [a_plan(a_config(), generation=number) for number in (1, 2)]
        bench = RecordedBench(plans[0], later=(plans[1],))
        bench.client.methods += [b"POST", b"POST"]
        bench.send(chat() + chat())
        bench.open()
        bench.tell(Reconfigured(2))
        bench.answer(converse_answer())
        bench.open()
        bench.answer(converse_answer())
        whole = journal(bench.life)
        assert sorted(whole.header.configurations) == [1, 2]
        assert replay(whole, BUILT_IN).divergence is None

    def test_a_bug_is_recorded_and_ends_in_the_shell(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bench = RecordedBench()
        bench.ask(chat())
        bench.open()
        handle = Session.handle

        def buggy(session: Session, now: int, event: Any) -> Any:
            if isinstance(event, UpstreamSent):
                raise ZeroDivisionError
            return handle(session, now, event)

        monkeypatch.setattr(Session, "handle", buggy)
        with pytest.raises(ZeroDivisionError):
            bench.answer(converse_answer())
        assert bench.life.raised == "ZeroDivisionError"
        whole = journal(bench.life)
        assert whole.header.cause == "ZeroDivisionError"
        assert whole.entries[-1].raised == "ZeroDivisionError"
        assert replay(whole, BUILT_IN).divergence is None, "it fails again"
        monkeypatch.undo()
        divergence = replay(whole, BUILT_IN).divergence
        assert divergence is not None
        assert divergence.why == "then the machine raised ZeroDivisionError, and now nothing"

    def test_what_outgrows_the_bound_is_not_kept_and_the_next_request_is(self) -> None:
        bench = RecordedBench(ring=Ring(1 << 20, 4000))
        for text in ("x" * 5000, "short"):
            bench.ask(chat(user=text))
            bench.open()
            bench.answer(converse_answer())
        assert [life.cut for life in bench.lives] == [True, False]
        assert bench.ring.held == 0

    @pytest.mark.parametrize("codec", CODECS)
    @given(names=st.lists(st.sampled_from(sorted(ACTIONS)), max_size=25))
    def test_whatever_happens_it_changes_nothing_and_can_be_lived_again(
        self, codec: Codec, names: list[str]
    ) -> None:
        plans = PLANS[codec]
        bare = Bench(plans[1], later=tuple(plans.values()))
        happen(bare, names)
        bench = RecordedBench(plans[1], later=tuple(plans.values()))
        happen(bench, names)
        assert bench.lines == bare.lines
        assert [answer.told for answer in bench.client.answers] == [
            answer.told for answer in bare.client.answers
        ]
        if bench.closed is None:
            bench.tell(ClientLost())
        assert bench.ring.held == 0
        for life in bench.lives:
            whole = journal(life)
            assert whole.trailer.diverged_at is None
            assert replay(whole, BUILT_IN).divergence is None


def followed() -> tuple[RecordedBench, RecordedFlight]:
    """A bench that has ordered an answer, and the flight that gets it."""
    cache = PluginEntry(name="response-cache", config=ResponseCache())
    bench = RecordedBench(a_plan(a_config(cache)))
    bench.ask(chat())
    return bench, RecordedFlight(bench)


class TestFlights:
    def test_its_life_begins_with_its_launch(self) -> None:
        _, life = cache_follower()
        whole = journal(life)
        assert isinstance(whole.header.beginning, FlightBeginning)
        assert whole.header.cause == "UPSTREAM_THROTTLED"
        assert replay(whole, BUILT_IN).divergence is None

    def test_it_is_in_the_ring_from_its_launch_on(self) -> None:
        bench, flight = followed()
        (order,) = [follow.order for follow in bench.followed.values()]
        assert bench.ring.flights([order.key]) == [flight.recorder.life]
        assert flight.lives == []
        flight.answer(converse_answer())
        assert flight.lives == [flight.recorder.life]
        assert bench.ring.flights(bench.life.orders) == flight.lives

    def test_after_its_end_nothing_is_added(self) -> None:
        _, flight = followed()
        flight.answer(converse_answer())
        (life,) = flight.lives
        count = len(life.entries)
        flight.tell(UpstreamSent(1, b"late"))
        assert len(life.entries) == count
        assert flight.recorder.closed
        assert not flight.recorder.busy
        assert flight.recorder.deadline is None

    def test_a_bug_is_recorded_lands_it_and_ends_in_the_shell(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _, flight = followed()
        handle = Flight.handle

        def buggy(machine: Flight, now: int, event: Any) -> Any:
            if isinstance(event, UpstreamSent):
                raise ZeroDivisionError
            return handle(machine, now, event)

        monkeypatch.setattr(Flight, "handle", buggy)
        with pytest.raises(ZeroDivisionError):
            flight.answer(converse_answer())
        (life,) = flight.lives
        assert life.raised == "ZeroDivisionError"
        whole = journal(life)
        assert whole.header.cause == "ZeroDivisionError"
        assert whole.entries[-1].raised == "ZeroDivisionError"
        assert replay(whole, BUILT_IN).divergence is None, "it fails again"
