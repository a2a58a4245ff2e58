"""The memory store asked and told anything in any order, beside plain tables.

Entries: a table by last use, bounded by hand. Buckets: the arithmetic is the rule's and is tested there, so
the model is the rule over a table that is never swept and never full. Where the store has room it must answer
alike; where it has none it must fail only if a bucket would be new.
"""

from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stargate_core.clock import SECOND
from stargate_core.gateway.memory_store import ENTRY_OVERHEAD_BYTES, MemoryStore
from stargate_core.limits import rule as limits
from stargate_core.limits.buckets import MONTH_US, Algorithm, Bucket, Charge, Claim, Verdict, WrongKind
from stargate_core.messages import (
    AnswerStore,
    Draining,
    FailStore,
    Note,
    StoreAsked,
    StoreLost,
    StoreTold,
    StoreUnasked,
    Ticked,
)
from stargate_core.questions import Entry, ReadEntry, ReadKeys, Settle, Take, WriteEntry

EPOCH_NS: Final = 1_767_322_800_000_000_000
MINUTE_US: Final = 60_000_000
BUCKETS: Final = (
    Bucket("fixed", Algorithm.FIXED, 3, MINUTE_US),
    Bucket("month", Algorithm.FIXED, 5, MONTH_US),
    Bucket("sliding", Algorithm.SLIDING, 4, MINUTE_US),
    Bucket("gcra", Algorithm.GCRA, 6, MINUTE_US, burst=2),
    Bucket("leases", Algorithm.CONCURRENT, 2),
    Bucket("leases", Algorithm.FIXED, 2, MINUTE_US),  # a key that means something else to somebody
)
SOME_BUCKETS: Final = st.lists(
    st.sampled_from(BUCKETS), min_size=1, max_size=3, unique_by=lambda one: one.key
)


class MemoryStoreAgainstModel(RuleBasedStateMachine):
    """Any questions and statements."""

    @initialize(entry_bytes_max=st.sampled_from([300, 900, 5000]), buckets_max=st.sampled_from([1, 2, 100]))
    def begin(self, entry_bytes_max: int, buckets_max: int) -> None:
        self.store = MemoryStore(
            wall_epoch_ns=EPOCH_NS, entry_bytes_max=entry_bytes_max, buckets_max=buckets_max
        )
        self.entry_bytes_max, self.buckets_max = entry_bytes_max, buckets_max
        self.now = 0
        self.tickets = 0
        self.buckets: dict[str, limits.State] = {}
        self.leases: list[tuple[tuple[Claim, ...], str, int]] = []
        """What was taken and not settled."""
        self.exact = True
        """Whether nothing was refused for want of room, nor any charge lost."""
        self.entries: dict[str, tuple[bytes, int, int]] = {}
        """Value, when it was written, when it expires; by last use."""

    def ask(self, question: Take | ReadEntry | ReadKeys) -> AnswerStore | FailStore:
        self.tickets += 1
        (said,) = self.store.handle(self.now, StoreAsked(self.tickets, question))
        assert isinstance(said, AnswerStore | FailStore)
        assert said.ticket == self.tickets
        return said

    @property
    def now_us(self) -> int:
        return (EPOCH_NS + self.now) // 1000

    # ------------------------------------------------------------------------------------------------ entries

    @rule(key=st.sampled_from("abc"), size=st.integers(0, 400), ttl_us=st.sampled_from([0, 1, 5_000_000]))
    def an_entry_is_written(self, key: str, size: int, ttl_us: int) -> None:
        value = key.encode() * size
        assert self.store.handle(self.now, StoreTold(WriteEntry(key, value, ttl_us))) == []
        self.entries.pop(key, None)
        if ttl_us and self.weight(key, value) <= self.entry_bytes_max:
            self.entries[key] = (value, self.now, self.now + ttl_us * 1000)
            while self.entry_bytes > self.entry_bytes_max:
                del self.entries[next(iter(self.entries))]

    @rule(key=st.sampled_from("abcd"))
    def an_entry_is_read(self, key: str) -> None:
        expected = None
        known = self.entries.pop(key, None)
        if known is not None and known[2] > self.now:
            self.entries[key] = known
            expected = Entry(known[0], (self.now - known[1]) // 1000)
        assert self.ask(ReadEntry(key)) == AnswerStore(self.tickets, expected)

    @rule()
    def keys_are_asked_for(self) -> None:
        assert self.ask(ReadKeys("")) == AnswerStore(self.tickets, None)

    @staticmethod
    def weight(key: str, value: bytes) -> int:
        return len(key) + len(value) + ENTRY_OVERHEAD_BYTES

    @property
    def entry_bytes(self) -> int:
        return sum(self.weight(key, value) for key, (value, _, _) in self.entries.items())

    # ------------------------------------------------------------------------------------------------ buckets

    @rule(buckets=SOME_BUCKETS, cost=st.integers(0, 3), lease=st.sampled_from("xyz"))
    def somebody_takes(self, buckets: list[Bucket], cost: int, lease: str) -> None:
        claims = tuple(Claim(bucket, cost) for bucket in buckets)
        said = self.ask(Take(claims, lease, MINUTE_US))
        if self.exact:
            try:
                expected = limits.take(self.buckets, claims, lease, MINUTE_US, self.now_us)
            except WrongKind:
                self.exact = isinstance(said, FailStore)  # else the other one's bucket had been swept
            else:
                if isinstance(said, FailStore):
                    assert cost, "who only looks needs no room"
                    self.exact = False
                else:
                    assert said.answer == expected
        if isinstance(said, AnswerStore) and isinstance(said.answer, Verdict) and said.answer.allowed:
            self.leases.append((claims, lease, said.answer.at_us))

    @precondition(lambda self: self.leases)
    @rule(used=st.integers(0, 5))
    def somebody_settles(self, used: int) -> None:
        claims, lease, at_us = self.leases.pop()
        charges = tuple(Charge(claim.bucket, claim.cost, used) for claim in claims)
        notes = self.store.handle(self.now, StoreTold(Settle(charges, lease, at_us)))
        assert all(isinstance(note, Note) for note in notes)
        self.exact = self.exact and not notes
        if self.exact:
            try:
                limits.settle(self.buckets, charges, lease, at_us, self.now_us)
            except WrongKind:
                self.exact = False  # as above

    # --------------------------------------------------------------------------------------------------- time

    @rule(seconds=st.sampled_from([0, 1, 5, 59, 61, 3600]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule(event=st.sampled_from([Ticked(), StoreLost("x"), StoreUnasked(1), Draining(0)]))
    def something_is_told_that_has_no_answer(
        self, event: Ticked | StoreLost | StoreUnasked | Draining
    ) -> None:
        assert self.store.handle(self.now, event) == []
        if isinstance(event, Ticked) and self.store.deadline is not None:
            assert self.store.deadline > self.now, "the next sweep lies ahead"

    @invariant()
    def it_keeps_what_the_model_keeps_and_its_bounds(self) -> None:
        if hasattr(self, "store"):
            kept = self.store.statistics()
            assert (kept["entries"], kept["entry_bytes"]) == (len(self.entries), self.entry_bytes)
            assert kept["entry_bytes"] <= self.entry_bytes_max
            assert kept["buckets"] <= self.buckets_max
            assert (self.store.deadline is None) <= (kept["buckets"] == 0), "buckets are swept one day"


TestMemoryStore = MemoryStoreAgainstModel.TestCase
