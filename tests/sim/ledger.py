"""An independent count of what limits have let pass.

The rule (limits/rule.py) keeps sums, slices and states; here stands a plain list of everything that a store
has ever allowed, and each decision is held against it: what was allowed had room, and what was refused had
none. The list knows two views of a sliding window, since the rule may forget a slice late: it must never let
pass what the exact window does not hold, and never refuse what a window longer by a slice would.

Of a GCRA bucket it is asked, for each moment at which something was taken, whether more has been taken since
than the burst and what has drained since then.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from sim.violation import demand
from stargate_core.limits.buckets import Algorithm, Bucket, Charge, Claim, Verdict


class Entry(msgspec.Struct):
    """Something taken."""

    at_us: int
    amount: int
    lease: str
    until_us: int


class Ledger:
    """Of one store."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._entries: dict[str, list[Entry]] = {}
        self._open: dict[str, int] = {}
        """Leases that were taken and not settled: until when they hold at the most."""
        self.takes = 0
        self.refused: dict[str, int] = {}
        """Who was refused, by lease: for how many microseconds; below 0: for ever."""
        self.allowed: dict[str, None] = {}

    def forget(self) -> None:
        """The store has lost everything."""
        self._entries.clear()
        self._open.clear()

    @property
    def unsettled(self) -> list[str]:
        """Leases that were taken and never settled."""
        return list(self._open)

    def took(self, claims: Sequence[Claim], lease: str, lease_us: int, verdict: Verdict) -> None:
        """A store has decided."""
        now = verdict.at_us
        demand(len(verdict.levels) == len(claims), "a verdict on other claims", self.name)
        if not verdict.allowed:
            self.refused[lease] = verdict.retry_after_us
            claim = claims[verdict.refused]
            demand(
                self._is_full(claim, now, lease),
                "a limit refuses what it has room for",
                f"{self.name}: {claim.cost} of {claim.bucket.key}, limit {claim.bucket.limit}",
            )
            return
        self.takes += 1
        self.allowed[lease] = None
        until = now + lease_us
        for claim in claims:
            bucket = claim.bucket
            used = self._used(bucket, now, lease, generous=False)
            demand(
                used + claim.cost <= _capacity(bucket) + _ROUNDING or not claim.cost,
                "a limit is exceeded",
                f"{self.name}: {bucket.key} has {used} of {bucket.limit}, and {claim.cost} more may pass",
            )
            if claim.cost:
                self._entries.setdefault(bucket.key, []).append(Entry(now, claim.cost, lease, until))
            if bucket.algorithm is Algorithm.CONCURRENT:
                self._open[lease] = until

    def settled(self, charges: Sequence[Charge], lease: str, at_us: int, now_us: int) -> None:
        """A store has heard what was really used."""
        self._open.pop(lease, None)
        for charge in charges:
            bucket = charge.bucket
            entries = self._entries.setdefault(bucket.key, [])
            taken = next((one for one in entries if one.lease == lease and one.at_us == at_us), None)
            if bucket.algorithm is Algorithm.CONCURRENT:
                entries[:] = [one for one in entries if one.lease != lease]
            elif charge.used < charge.taken:
                if taken is not None:
                    taken.amount -= charge.taken - charge.used
            elif charge.used > charge.taken:
                entries.append(Entry(now_us, charge.used - charge.taken, lease, 0))

    def _is_full(self, claim: Claim, now: int, lease: str) -> bool:
        bucket = claim.bucket
        used = self._used(bucket, now, lease, generous=True)
        rounding = _ROUNDING if used and bucket.algorithm is Algorithm.GCRA else 0
        return used + claim.cost > _capacity(bucket) - rounding

    def _used(self, bucket: Bucket, now: int, lease: str, *, generous: bool) -> float:
        entries = self._entries.get(bucket.key, [])
        window = bucket.window_us
        match bucket.algorithm:
            case Algorithm.CONCURRENT:
                entries[:] = [one for one in entries if one.until_us > now and one.lease != lease]
                return sum(one.amount for one in entries)
            case Algorithm.GCRA:
                return _undrained(entries, bucket, now)
            case Algorithm.FIXED:
                start = now - now % window
                return sum(one.amount for one in entries if one.at_us >= start)
            case _:
                since = now - window - (window // 12 + 1 if generous else 0)
                return sum(one.amount for one in entries if one.at_us > since)


_ROUNDING: Final = 0.01
"""Of a unit: what microseconds that are rounded up can add up to."""


def _capacity(bucket: Bucket) -> int:
    """What a bucket may hold at once."""
    return bucket.burst if bucket.algorithm is Algorithm.GCRA else bucket.limit


def _undrained(entries: Sequence[Entry], bucket: Bucket, now: int) -> float:
    """The most that has been taken since any moment, less what has drained since then."""
    most = taken = 0.0
    for entry in reversed(entries):
        taken += entry.amount
        most = max(most, taken - (now - entry.at_us) * bucket.limit / bucket.window_us)
    return most
