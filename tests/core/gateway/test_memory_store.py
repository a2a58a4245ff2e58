"""The memory store: answers at once, by the rule, and never more in it than it may hold."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.clock import SECOND
from stargate_core.gateway.memory_store import ENTRY_OVERHEAD_BYTES, SWEEP_NS, SWEPT_MAX, MemoryStore
from stargate_core.limits import rule
from stargate_core.limits.buckets import MONTH_US, Algorithm, Bucket, Charge, Claim, Verdict
from stargate_core.messages import (
    AnswerStore,
    Draining,
    FailStore,
    Note,
    StoreAsked,
    StoreCommand,
    StoreEvent,
    StoreLost,
    StoreOpened,
    StoreSent,
    StoreTold,
    StoreUnasked,
    Ticked,
)
from stargate_core.questions import Entry, ReadEntry, ReadKeys, Settle, StoreAnswer, Take, WriteEntry

EPOCH_NS: Final = 1_767_322_800_000_000_000
"""2026-01-02T03:00:00Z"""
EPOCH_US: Final = EPOCH_NS // 1000
MINUTE: Final = 60 * SECOND
MINUTE_US: Final = 60_000_000


def fixed(key: str = "f", limit: int = 5, window_us: int = MINUTE_US) -> Bucket:
    return Bucket(key, Algorithm.FIXED, limit, window_us)


class Store:
    """A store, and what it says."""

    def __init__(self, *, entry_bytes_max: int = 10_000, buckets_max: int = 100) -> None:
        self.machine = MemoryStore(
            wall_epoch_ns=EPOCH_NS, entry_bytes_max=entry_bytes_max, buckets_max=buckets_max
        )
        self.now = 0
        self._ticket = 0

    def ask(self, question: Take | ReadEntry | ReadKeys) -> StoreAnswer | FailStore:
        self._ticket += 1
        [said] = self.machine.handle(self.now, StoreAsked(self._ticket, question))
        assert isinstance(said, AnswerStore | FailStore)
        assert said.ticket == self._ticket
        return said if isinstance(said, FailStore) else said.answer

    def take(self, *buckets: Bucket, cost: int = 1) -> Verdict | FailStore:
        claims = tuple(Claim(bucket, cost) for bucket in buckets)
        said = self.ask(Take(claims, "x", MINUTE_US))
        assert isinstance(said, Verdict | FailStore)
        return said

    def left(self, bucket: Bucket) -> int:
        said = self.take(bucket, cost=0)
        assert isinstance(said, Verdict)
        return said.levels[0].remaining

    def tell(self, statement: Settle | WriteEntry) -> list[StoreCommand]:
        return self.machine.handle(self.now, StoreTold(statement))

    def settle(self, bucket: Bucket, taken: int, used: int) -> list[StoreCommand]:
        return self.tell(Settle((Charge(bucket, taken, used),), "x", EPOCH_US + self.now // 1000))

    def write(self, key: str, value: bytes = b"", ttl_us: int = MINUTE_US) -> None:
        assert self.tell(WriteEntry(key, value, ttl_us)) == []

    def read(self, key: str) -> Entry | None:
        said = self.ask(ReadEntry(key))
        assert said is None or isinstance(said, Entry)
        return said

    def tick(self) -> None:
        """At its deadline."""
        assert self.machine.deadline is not None
        self.now = max(self.now, self.machine.deadline)
        assert self.machine.handle(self.now, Ticked()) == []

    def count(self, what: str) -> int:
        return self.machine.statistics()[what]


class TestBuckets:
    @given(
        st.lists(st.tuples(st.integers(0, MINUTE), st.integers(0, 6), st.integers(0, 6), st.booleans())),
        st.permutations(list(Algorithm)),
    )
    def test_they_go_by_the_rule(
        self, history: list[tuple[int, int, int, bool]], kinds: list[Algorithm]
    ) -> None:
        buckets = [Bucket(kind.value, kind, 5, MINUTE_US, 3 * (kind is Algorithm.GCRA)) for kind in kinds]
        store = Store()
        states: dict[str, rule.State] = {}
        for number, (pause, cost, used, settles) in enumerate(history):
            store.now += pause
            now_us = EPOCH_US + store.now // 1000
            lease = str(number % 3)
            if settles:
                charges = tuple(Charge(bucket, cost, used) for bucket in buckets)
                assert store.tell(Settle(charges, lease, now_us)) == []
                rule.settle(states, charges, lease, now_us, now_us)
            else:
                claims = tuple(Claim(bucket, cost) for bucket in buckets)
                expected = rule.take(states, claims, lease, MINUTE_US, now_us)
                assert store.ask(Take(claims, lease, MINUTE_US)) == expected
            while store.machine.deadline is not None and store.machine.deadline <= store.now:
                store.tick()

    def test_wall_time_is_the_epochs_and_may_be_set(self) -> None:
        store = Store()
        monthly = fixed(window_us=MONTH_US)
        store.now = 5 * SECOND
        said = store.take(monthly, cost=5)
        assert isinstance(said, Verdict)
        assert said.at_us == EPOCH_US + 5_000_000
        assert store.left(monthly) == 0
        store.machine.wall_epoch_ns += 30 * 86_400 * SECOND
        assert store.left(monthly) == 5

    def test_two_algorithms_under_one_key_fail_and_are_told(self) -> None:
        store = Store()
        store.take(fixed("k"))
        other = Bucket("k", Algorithm.SLIDING, 5, MINUTE_US)
        assert store.take(other) == FailStore(2, "k is a bucket of another algorithm, fixed")
        assert store.settle(other, 0, 1) == [Note("error", "k is a bucket of another algorithm, fixed")]
        assert store.left(fixed("k")) == 4


class TestSweeping:
    def test_a_store_without_buckets_has_no_deadline(self) -> None:
        store = Store()
        assert store.machine.deadline is None
        assert store.left(fixed()) == 5
        assert store.machine.deadline is None, "to ask keeps nothing"
        store.now = 7
        store.take(fixed())
        assert store.machine.deadline == 7 + SWEEP_NS

    def test_what_is_useless_goes_and_what_is_not_stays(self) -> None:
        store = Store()
        store.take(fixed("a"), fixed("b", window_us=MONTH_US))
        store.tick()
        assert store.count("buckets") == 2
        store.now = MINUTE
        store.tick()
        assert store.count("buckets") == 1
        assert store.left(fixed("b", window_us=MONTH_US)) == 4
        store.now = 40 * 86_400 * SECOND
        store.tick()
        assert store.count("buckets") == 0
        assert store.machine.deadline is None

    def test_a_charge_alone_makes_a_bucket_that_is_swept(self) -> None:
        store = Store()
        assert store.settle(fixed(), 1, 3) == []
        assert store.left(fixed()) == 3
        assert store.machine.deadline == SWEEP_NS
        store.now = MINUTE
        store.tick()
        assert store.count("buckets") == 0

    def test_a_tick_looks_at_a_few_and_goes_round(self) -> None:
        store = Store(buckets_max=3 * SWEPT_MAX)
        for number in range(2 * SWEPT_MAX + 1):
            store.take(fixed(str(number)))
        store.now = MINUTE
        left = []
        while store.machine.deadline is not None:
            store.tick()
            left.append(store.count("buckets"))
        assert left == [SWEPT_MAX + 1, 1, 0]

    def test_a_tick_that_comes_early_does_nothing(self) -> None:
        store = Store()
        store.take(fixed())
        assert store.machine.handle(5, Ticked()) == []
        assert store.machine.deadline == SWEEP_NS


class TestFull:
    FULL: Final = "the memory store is full: 2 buckets are in use"

    def test_another_bucket_fails_and_those_that_exist_notice_nothing(self) -> None:
        store = Store(buckets_max=2)
        a, b, c = fixed("a"), fixed("b"), fixed("c")
        store.take(a, b)
        assert store.take(a, c) == FailStore(2, self.FULL)
        assert store.left(a) == 4
        assert store.left(c) == 5, "to ask needs no room"
        assert isinstance(store.take(b, a), Verdict)
        assert store.count("buckets") == 2

    def test_room_is_made_of_useless_ones_first_but_once_a_second(self) -> None:
        store = Store(buckets_max=2)
        store.take(fixed("a"), fixed("b", window_us=3 * SECOND // 2000))
        assert isinstance(store.take(fixed("c")), FailStore)
        store.now = 3 * SECOND // 2
        assert isinstance(store.take(fixed("c")), Verdict)
        store.take(Bucket("d", Algorithm.SLIDING, 5, 12))
        assert isinstance(store.take(fixed("e")), FailStore)

    def test_making_room_may_take_what_was_there_already(self) -> None:
        """Swept and wanted again, it needs room like the others."""
        store = Store(buckets_max=2)
        a, b, c = fixed("a"), fixed("b"), fixed("c")
        store.take(a)
        store.now = 2 * MINUTE
        assert isinstance(store.take(a, b, c), FailStore)
        assert store.count("buckets") == 0
        charges = tuple(Charge(bucket, 0, 1) for bucket in (a, b, c))
        store.take(a)
        store.now = 4 * MINUTE
        assert len(store.tell(Settle(charges, "x", EPOCH_US))) == 1
        assert store.count("buckets") == 0

    def test_a_charge_that_finds_no_room_is_lost_and_told_once(self) -> None:
        store = Store(buckets_max=2)
        store.take(fixed("a"), fixed("b"))
        told = Note("warning", f"{self.FULL}: what was used beyond an estimate is lost")
        assert store.settle(fixed("c"), 0, 1) == [told]
        assert store.settle(fixed("c"), 0, 1) == []
        both = (Charge(fixed("c"), 0, 1), Charge(fixed("a"), 1, 3))
        assert store.tell(Settle(both, "x", EPOCH_US)) == []
        assert store.left(fixed("a")) == 2, "a bucket that exists is charged"
        store.now = MINUTE
        assert store.settle(fixed("c"), 0, 1) == []
        assert store.count("buckets") == 1
        store.take(fixed("d"))
        assert store.settle(fixed("e"), 0, 1) == [told], "full for the second time"

    @given(st.lists(st.tuples(st.integers(0, SECOND), st.integers(0, 20), st.booleans())))
    def test_there_are_never_more_than_the_bound(self, history: list[tuple[int, int, bool]]) -> None:
        store = Store(buckets_max=5)
        for pause, name, settles in history:
            store.now += pause
            bucket = fixed(str(name), window_us=2_000_000)
            if settles:
                store.settle(bucket, 0, 1)
            else:
                store.take(bucket, fixed(str(name + 1)))
            assert store.count("buckets") <= 5


class TestEntries:
    def test_what_was_written_is_read_with_its_age(self) -> None:
        store = Store()
        assert store.read("k") is None
        store.write("k", b"v")
        store.now = 3 * SECOND
        assert store.read("k") == Entry(b"v", 3_000_000)
        store.write("k", b"w")
        assert store.read("k") == Entry(b"w", 0)

    def test_it_ends_with_its_time_to_live_whatever_the_wall_clock_does(self) -> None:
        store = Store()
        store.write("k", b"v")
        store.machine.wall_epoch_ns += 86_400 * SECOND
        store.now = MINUTE - 1
        assert store.read("k") is not None
        store.now = MINUTE
        assert store.read("k") is None
        assert store.machine.statistics() == {"buckets": 0, "entries": 0, "entry_bytes": 0}

    def test_what_was_used_longest_ago_makes_room(self) -> None:
        store = Store(entry_bytes_max=3 * (ENTRY_OVERHEAD_BYTES + 11))
        for key in "abc":
            store.write(key, b"0123456789")
        store.read("a")
        store.write("d", b"0123456789")
        assert [key for key in "abcd" if store.read(key)] == ["a", "c", "d"]

    @pytest.mark.parametrize(("value", "ttl_us"), [(b"x" * 10_000, MINUTE_US), (b"x", 0)])
    def test_what_cannot_be_kept_leaves_nothing_older_behind(self, value: bytes, ttl_us: int) -> None:
        store = Store()
        store.write("other", b"y")
        store.write("k", b"old")
        store.write("k", value, ttl_us)
        assert store.read("k") is None
        assert store.read("other") is not None

    @given(
        st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 1500), st.integers(0, 2), st.booleans()))
    )
    def test_against_a_model(self, history: list[tuple[str, int, int, bool]]) -> None:
        store = Store(entry_bytes_max=3_000)
        kept: list[tuple[str, bytes, int]] = []
        for key, size, pause, reads in history:
            store.now += pause * MINUTE // 2
            found = [one for one in kept if one[0] == key]
            kept = [one for one in kept if one[0] != key]
            if reads:
                alive = [one for one in found if one[2] + MINUTE > store.now]
                said = store.read(key)
                assert ([] if said is None else [said.value]) == [one[1] for one in alive]
                kept += alive
            else:
                store.write(key, bytes(size))
                kept.append((key, bytes(size), store.now))
                while sum(len(one[0]) + len(one[1]) + ENTRY_OVERHEAD_BYTES for one in kept) > 3_000:
                    kept.pop(0)
            assert store.count("entries") == len(kept)
            assert store.count("entry_bytes") <= 3_000


class TestTheRest:
    def test_there_are_no_keys_here(self) -> None:
        assert Store().ask(ReadKeys("")) is None

    @pytest.mark.parametrize(
        "event",
        [StoreUnasked(1), StoreOpened(), StoreSent(b"+OK\r\n"), StoreLost("why"), Draining(1), Ticked()],
    )
    def test_what_is_not_for_it_is_nothing_to_it(self, event: StoreEvent) -> None:
        store = Store()
        store.take(fixed())
        assert store.machine.handle(0, event) == []
        assert store.left(fixed()) == 4
