"""The memory store: what is asked of a store, answered in this process and at once.

It is the store where none is configured, and what stands in for a shared one that is in trouble. The
arithmetic of its buckets is limits/rule.py's, which a Redis follows to the letter; here is only what keeps it
within bounds. It is bookkeeping rather than a life-cycle, and so has no table of states.

- Wall time is `wall_epoch_ns + now`, since fixed windows and months are the calendar's. The epoch is a plain
  attribute: a shell that learns that the clock was set writes it. Ages of entries are monotonic.
- Buckets that have become useless are swept a few at a time, once a second: a sweep of a hundred thousand
  would be a pause that clients feel.
- Where `buckets_max` are alive and another is wanted, the question fails (`FailStore`). To forget one instead
  would lift somebody's limit unseen, and whoever can make up names of consumers could lift anybody's; to
  refuse would pass for a limit nobody has set. A failure is what each limit has a stated policy for, and what
  an operator reads about. Those whose buckets exist notice nothing. A charge that finds no room
  is lost, and a note says so, once for each time the store was full.
- Entries are kept by last use, within `entry_bytes_max`, keys and a flat overhead included; one that is too
  old goes when it is asked for, or when its room is needed.
- There are no keys here: a gateway without a shared store has those of its configuration.
- A ticket is answered in the very call that asks, so nothing is ever withdrawn in time; and there is no
  server to speak to.
"""

from typing import Final

from stargate_core.clock import SECOND
from stargate_core.limits import rule
from stargate_core.limits.buckets import WrongKind
from stargate_core.messages import (
    AnswerStore,
    FailStore,
    Note,
    StoreAsked,
    StoreCommand,
    StoreEvent,
    StoreTold,
    Ticked,
)
from stargate_core.questions import Entry, ReadEntry, ReadKeys, Settle, Take, WriteEntry

SWEEP_NS: Final = SECOND
SWEPT_MAX: Final = 2_000
"""Buckets looked at in one tick: under a millisecond."""
ENTRY_OVERHEAD_BYTES: Final = 256
"""What Python and the table take beside the key's and the value's bytes, about."""


class _Kept:
    """An entry. Nobody changes it."""

    __slots__ = ("expires_at", "size", "value", "written_at")

    def __init__(self, value: bytes, written_at: int, expires_at: int, size: int) -> None:
        self.value = value
        self.written_at = written_at
        self.expires_at = expires_at
        self.size = size


class MemoryStore:
    """A store that is this process's own."""

    def __init__(
        self, *, wall_epoch_ns: int, entry_bytes_max: int = 64 * 1024 * 1024, buckets_max: int = 100_000
    ) -> None:
        self.wall_epoch_ns = wall_epoch_ns
        """Wall time when `now` is 0, in nanoseconds since 1970. May be written at any time."""
        self._entry_bytes_max = entry_bytes_max
        self._buckets_max = buckets_max
        self._buckets: dict[str, rule.State] = {}
        self._to_sweep: list[str] = []
        """The rest of a round."""
        self._sweep_at: int | None = None
        self._swept_whole_at = -SWEEP_NS
        self._told_full = False
        self._entries: dict[str, _Kept] = {}
        """By last use, the longest ago first."""
        self._entry_bytes = 0

    # -------------------------------------------------------------------------------------------- the machine

    def handle(self, now: int, event: StoreEvent) -> list[StoreCommand]:
        """Take in a fact; the answer, if it is a question."""
        if type(event) is StoreAsked:
            question = event.question
            if type(question) is Take:
                return [self._take(now, event.ticket, question)]
            if type(question) is ReadEntry:
                return [AnswerStore(event.ticket, self._read(now, question.key))]
            assert type(question) is ReadKeys
            return [AnswerStore(event.ticket, None)]
        if type(event) is StoreTold:
            statement = event.statement
            if type(statement) is Settle:
                return self._settle(now, statement)
            assert type(statement) is WriteEntry
            self._write(now, statement)
        elif type(event) is Ticked:
            self._ticked(now)
        return []

    @property
    def deadline(self) -> int | None:
        """When buckets are to be swept; None: there are none."""
        return self._sweep_at

    def statistics(self) -> dict[str, int]:
        """How many buckets and entries are kept, and how large the entries are."""
        return {
            "buckets": len(self._buckets),
            "entries": len(self._entries),
            "entry_bytes": self._entry_bytes,
        }

    # ------------------------------------------------------------------------------------------------ buckets

    def _take(self, now: int, ticket: int, take: Take) -> AnswerStore | FailStore:
        buckets = self._buckets
        claims = take.claims
        if len(buckets) + len(claims) > self._buckets_max and not self._has_room(
            now, [claim.bucket.key for claim in claims if claim.cost]
        ):
            return FailStore(ticket, self._full())
        now_us = (self.wall_epoch_ns + now) // 1000
        try:
            verdict = rule.take(buckets, claims, take.lease, take.lease_us, now_us)
        except WrongKind as error:
            return FailStore(ticket, str(error))
        if self._sweep_at is None and buckets:
            self._sweep_at = now + SWEEP_NS
        return AnswerStore(ticket, verdict)

    def _settle(self, now: int, settle: Settle) -> list[StoreCommand]:
        out: list[StoreCommand] = []
        charges = settle.charges
        if len(self._buckets) + len(charges) > self._buckets_max and not self._has_room(
            now, [charge.bucket.key for charge in charges]
        ):
            charges = tuple(charge for charge in charges if charge.bucket.key in self._buckets)
            if not self._told_full:
                self._told_full = True
                out.append(Note("warning", f"{self._full()}: what was used beyond an estimate is lost"))
        try:
            rule.settle(
                self._buckets, charges, settle.lease, settle.at_us, (self.wall_epoch_ns + now) // 1000
            )
        except WrongKind as error:
            out.append(Note("error", str(error)))
        if self._sweep_at is None and self._buckets:
            self._sweep_at = now + SWEEP_NS
        return out

    def _full(self) -> str:
        return f"the memory store is full: {self._buckets_max} buckets are in use"

    def _has_room(self, now: int, keys: list[str]) -> bool:
        """Whether buckets of these keys can all be kept. Sweeps all that are useless if need be, but once a
        second at most: a full store is asked often.
        """
        if not self._would_fit(keys) and now >= self._swept_whole_at + SWEEP_NS:
            self._swept_whole_at = now
            self._sweep(now, list(self._buckets))
        room = self._would_fit(keys)
        if room and not self._buckets.keys() >= set(keys):
            self._told_full = False
        return room

    def _would_fit(self, keys: list[str]) -> bool:
        """Looked at after each sweep, which may take the very bucket that was there already."""
        new = sum(key not in self._buckets for key in keys)
        return len(self._buckets) + new <= self._buckets_max

    def _ticked(self, now: int) -> None:
        if self._sweep_at is None or now < self._sweep_at:
            return
        if not self._to_sweep:
            self._to_sweep = list(self._buckets)
        self._sweep(now, self._to_sweep[-SWEPT_MAX:])
        del self._to_sweep[-SWEPT_MAX:]
        self._sweep_at = now + SWEEP_NS if self._buckets else None

    def _sweep(self, now: int, keys: list[str]) -> None:
        now_us = (self.wall_epoch_ns + now) // 1000
        buckets = self._buckets
        for key in keys:
            state = buckets.get(key)
            if state is not None and state.useful_until_us() <= now_us:
                del buckets[key]

    # ------------------------------------------------------------------------------------------------ entries

    def _read(self, now: int, key: str) -> Entry | None:
        kept = self._entries.pop(key, None)
        if kept is None:
            return None
        if kept.expires_at <= now:
            self._entry_bytes -= kept.size
            return None
        self._entries[key] = kept
        return Entry(kept.value, (now - kept.written_at) // 1000)

    def _write(self, now: int, entry: WriteEntry) -> None:
        before = self._entries.pop(entry.key, None)
        if before is not None:
            self._entry_bytes -= before.size
        size = len(entry.key) + len(entry.value) + ENTRY_OVERHEAD_BYTES
        if size > self._entry_bytes_max or entry.ttl_us <= 0:
            return
        while self._entry_bytes + size > self._entry_bytes_max:
            oldest = self._entries.pop(next(iter(self._entries)))
            self._entry_bytes -= oldest.size
        self._entries[entry.key] = _Kept(entry.value, now, now + entry.ttl_us * 1000, size)
        self._entry_bytes += size
