"""The rule: whether buckets have room, what is left in them, and how they are settled.

Pure arithmetic over states, whole numbers throughout; lua.py says the same in Lua, and a test holds the
two against each other on a real Redis. So each decision taken here has its twin there, in the same order.

**Take.** All claims are looked at first, and only if each has room is anything written: a refused request
changes nothing. A refusal says the longest wait that any refusing claim needs: whoever waits that long, with
nobody else taking, is served; a claim that its bucket can never hold makes the wait -1. A Take names a bucket
once. Under one key only the limit may change: a key also names its bucket's algorithm and window.

**FIXED.** Windows start at whole multiples of their length since 1970 (UTC), months on their first day by
Howard Hinnant's `civil_from_days` (howardhinnant.github.io/date_algorithms.html), which needs no calendar and
no table, and so is the same in Lua. Twice the limit may pass around a window's end; it is what quotas that a
provider counts by the minute or the month do.

**SLIDING.** The last window in slices of a twelfth. A slice counts whole until the whole of it has left the
window, so that no stretch of `window_us` ever holds more than the limit; the price is that something is
forgotten up to a slice late. (Cloudflare's two weighted windows are cheaper, and right only for even traffic;
a log of every request is exact and has no bound.)

**GCRA.** One number, the theoretical arrival time (TAT): when the bucket will have drained. A cost of c moves
it by ceil(c * window / limit) µs, reckoned in IEEE doubles, for those are all that Lua has. Each cost rounds
up on its own, so `burst` small ones would add up to a little more than one of size `burst`; the tolerance has
that much slack, and always less than what one unit more would need. What is given back moves the TAT back;
time in which the bucket would have been empty is not told apart, so that after a large refund a little more
than the rate may pass, at most what was given back.

**CONCURRENT.** Leases by name, each with its expiry: a gateway that dies holds nothing for ever. A repeated
Take of the same lease replaces it, a repeated release finds nothing. When one will end, nobody knows: the
wait is a second.

**Settling.** What was taken too much goes back to the window or the slice it was taken in, if that still
counts; what was too little is charged now. That may overdraw a bucket, which then refuses until it has
recovered.

**Clocks that are set.** Time that runs back by less than a window forgets nothing; by more, and FIXED,
SLIDING and GCRA buckets start afresh rather than refuse until a wrong clock's future has come.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, TypeAlias

from stargate_core.limits.buckets import MONTH_US, Algorithm, Bucket, Charge, Claim, Level, Verdict, WrongKind

AMOUNT_MAX: Final = 2**52
"""No limit and no burst is higher, and no bucket fuller: the sum of two is still exact in a double. In
nano-dollars it is four and a half million dollars.
"""
SPAN_US_MAX: Final = 2**51
"""How far ahead of now a TAT may lie: 71 years; it too must be exact in a double."""
LEASE_COST_MAX: Final = 1024
"""What one lease may hold: in Redis each of them is a member of a sorted set."""
SLICES: Final = 12
CONCURRENT_WAIT_US: Final = 1_000_000
DAY_US: Final = 86_400_000_000


def first_of_month(day: int) -> int:
    """The first day of the month of `day`, both counted from 1970-01-01."""
    shifted = day + 719_468  # from 0000-03-01: a leap day is then the last of its year
    of_era = shifted % 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    return day - (of_year - (153 * month + 2) // 5)


def window_of(at_us: int, window_us: int) -> tuple[int, int]:
    """The fixed window that holds this moment: its first µs, and the first after it."""
    if window_us != MONTH_US:
        start = at_us - at_us % window_us
        return start, start + window_us
    first = first_of_month(at_us // DAY_US)
    # The 32nd of any month is one of the first days of the next.
    return first * DAY_US, first_of_month(first + 31) * DAY_US


class Fixed:
    """The count of one window."""

    __slots__ = ("count", "end_us", "start_us", "window_us")
    algorithm: ClassVar = Algorithm.FIXED

    def __init__(self) -> None:
        self.start_us = 0
        self.end_us = 0
        self.window_us = -1
        self.count = 0

    def wait_us(self, now: int, bucket: Bucket, cost: int, lease: str) -> int:
        """How long until there is room for `cost`: 0, there is; -1, never. Brings the state up to `now`."""
        if not self.start_us <= now < self.end_us or self.window_us != bucket.window_us:
            self._turn(now, bucket.window_us)
        limit = bucket.limit
        if self.count + cost <= limit:
            return 0
        return -1 if cost > limit else self.end_us - now

    def put(self, now: int, bucket: Bucket, cost: int, lease: str, until_us: int) -> None:
        """Take what there is room for."""
        self.count += cost

    def level(self, now: int, bucket: Bucket) -> Level:
        """How it stands."""
        count = self.count
        left = bucket.limit - count
        return Level(max(0, left), self.end_us - now if count else 0)

    def settle(self, now: int, charge: Charge, lease: str, at_us: int) -> None:
        """Correct what was taken at `at_us`."""
        window_us = charge.bucket.window_us
        self._turn(now, window_us)
        if charge.used > charge.taken:
            self.count = min(self.count + charge.used - charge.taken, AMOUNT_MAX)
        elif self.start_us == window_of(at_us, window_us)[0]:
            self.count = max(0, self.count + charge.used - charge.taken)

    def useful_until_us(self) -> int:
        """From when on it might as well not exist."""
        return self.end_us

    def _turn(self, now: int, window_us: int) -> None:
        start, end = window_of(now, window_us)
        if self.window_us == window_us:
            if self.start_us == start:
                return
            if self.start_us == end:
                # The clock was set back a little: the window that had begun goes on.
                self.end_us = window_of(end, window_us)[1]
                return
        self.start_us, self.end_us, self.window_us, self.count = start, end, window_us, 0


class Sliding:
    """The counts of the slices that have not left the window, the oldest first."""

    __slots__ = ("last", "leaves_us", "slice_us", "slices", "total", "window_us")
    algorithm: ClassVar = Algorithm.SLIDING

    def __init__(self) -> None:
        self.slices: dict[int, int] = {}
        self.total = 0
        self.last = 0
        """The newest slice."""
        self.leaves_us = 0
        """When the oldest one leaves."""
        self.window_us = -1
        self.slice_us = 1

    def wait_us(self, now: int, bucket: Bucket, cost: int, lease: str) -> int:
        """As Fixed's."""
        if now >= self.leaves_us or self.window_us != bucket.window_us or self.last * self.slice_us > now:
            self._slide(now, bucket.window_us)
        limit = bucket.limit
        excess = self.total + cost - limit
        if excess <= 0:
            return 0
        if cost > limit:
            return -1
        return self._leaves(self._freeing(excess)) - now

    def put(self, now: int, bucket: Bucket, cost: int, lease: str, until_us: int) -> None:
        """As Fixed's."""
        index = now // self.slice_us
        self.total += cost
        if index in self.slices:
            self.slices[index] += cost
        else:
            self.slices[index] = cost
            self._arrange()

    def level(self, now: int, bucket: Bucket) -> Level:
        """As Fixed's."""
        total = self.total
        left = bucket.limit - total
        reset = (self.last + 1) * self.slice_us + self.window_us - now if total else 0
        return Level(max(0, left), reset)

    def settle(self, now: int, charge: Charge, lease: str, at_us: int) -> None:
        """As Fixed's."""
        self._slide(now, charge.bucket.window_us)
        if charge.used > charge.taken:
            more = min(charge.used - charge.taken, AMOUNT_MAX - self.total)
            if more > 0:
                self.put(now, charge.bucket, more, lease, 0)
            return
        index = at_us // self.slice_us
        held = self.slices.get(index, 0)
        back = min(held, charge.taken - charge.used)
        self.total -= back
        if back < held:
            self.slices[index] = held - back
        elif held:
            del self.slices[index]
            self._arrange()

    def useful_until_us(self) -> int:
        """As Fixed's."""
        return self._leaves(self.last) if self.total else 0

    def _leaves(self, index: int) -> int:
        return (index + 1) * self.slice_us + self.window_us

    def _freeing(self, excess: int) -> int:
        """The slice with which at least `excess` has left; there is one, for no cost is above the limit."""
        gone = itertools.accumulate(self.slices.values())
        return next(index for index, count in zip(self.slices, gone, strict=True) if count >= excess)

    def _slide(self, now: int, window_us: int) -> None:
        """Forget the slices that have left, and those so far ahead that a clock must have been wrong."""
        if self.window_us != window_us:
            self.window_us = window_us
            self.slice_us = -(-window_us // SLICES)
            self.slices.clear()
        newest = now // self.slice_us + SLICES
        for index in tuple(self.slices):
            if self._leaves(index) <= now or index > newest:
                del self.slices[index]
        self.total = sum(self.slices.values())
        self._arrange()

    def _arrange(self) -> None:
        slices = self.slices
        order = list(slices)
        if order != sorted(order):
            self.slices = slices = dict(sorted(slices.items()))
        self.last = next(reversed(slices), 0)
        self.leaves_us = self._leaves(next(iter(slices))) if slices else 0


class Gcra:
    """The theoretical arrival time."""

    __slots__ = ("at_us", "burst", "limit", "tat_us", "tolerance_us", "window_us")
    algorithm: ClassVar = Algorithm.GCRA

    def __init__(self) -> None:
        self.tat_us = 0
        self.at_us = 0
        """When it was last written."""
        self.limit: float = 1.0
        self.window_us: float = 1.0
        self.burst: int = 0
        self.tolerance_us: int = 0
        """How far ahead of now the TAT may be after a take."""

    def wait_us(self, now: int, bucket: Bucket, cost: int, lease: str) -> int:
        """As Fixed's."""
        self._drain(now, bucket)
        if cost > bucket.burst:
            return -1
        wait = self.tat_us + self._increment_us(cost) - self.tolerance_us - now
        return wait if wait > 0 else 0  # noqa: FURB136  # twice as fast as max()

    def put(self, now: int, bucket: Bucket, cost: int, lease: str, until_us: int) -> None:
        """As Fixed's."""
        self.tat_us += self._increment_us(cost)
        self.at_us = now

    def level(self, now: int, bucket: Bucket) -> Level:
        """As Fixed's."""
        room = self.tolerance_us + now - self.tat_us
        if room <= 0:
            return Level(0, self.tat_us - now)
        left = min(math.floor(room * self.limit / self.window_us), bucket.burst)
        if left and self._increment_us(left) > room:
            left -= 1
        return Level(left, self.tat_us - now)

    def settle(self, now: int, charge: Charge, lease: str, at_us: int) -> None:
        """As Fixed's."""
        self._drain(now, charge.bucket)
        moved = self.tat_us + self._increment_us(charge.used) - self._increment_us(charge.taken)
        self.tat_us = min(max(moved, now), now + SPAN_US_MAX)
        self.at_us = now

    def useful_until_us(self) -> int:
        """As Fixed's."""
        return self.tat_us

    def _increment_us(self, amount: int) -> int:
        """How far `amount` moves the TAT."""
        moved = math.ceil(amount * self.window_us / self.limit)
        return moved if moved < SPAN_US_MAX else SPAN_US_MAX  # noqa: FURB136  # as above

    def _drain(self, now: int, bucket: Bucket) -> None:
        """Bring the state up to `now`, and to a bucket that may have changed."""
        if bucket.limit != self.limit or bucket.window_us != self.window_us or bucket.burst != self.burst:
            self.limit, self.window_us = float(bucket.limit), float(bucket.window_us)
            self.burst = bucket.burst
            slack = min(bucket.burst, math.floor(self.window_us / self.limit) - 1)
            self.tolerance_us = self._increment_us(bucket.burst) + max(0, slack)
        if self.tat_us < now or now < self.at_us - bucket.window_us:
            self.tat_us = now


class Concurrent:
    """Who holds how much, and until when."""

    __slots__ = ("earliest_us", "latest_us", "leases", "total")
    algorithm: ClassVar = Algorithm.CONCURRENT

    def __init__(self) -> None:
        self.leases: dict[str, tuple[int, int]] = {}
        """A lease to its cost and its expiry."""
        self.total = 0
        self.earliest_us = 0
        """No lease expires sooner."""
        self.latest_us = 0
        """None expires later."""

    def wait_us(self, now: int, bucket: Bucket, cost: int, lease: str) -> int:
        """As Fixed's."""
        if now >= self.earliest_us:
            self._expire(now)
        limit = bucket.limit
        used = self.total + cost
        if cost and lease in self.leases:
            used -= self.leases[lease][0]
        if cost > limit or cost > LEASE_COST_MAX:
            return -1
        return 0 if used <= limit else CONCURRENT_WAIT_US

    def put(self, now: int, bucket: Bucket, cost: int, lease: str, until_us: int) -> None:
        """As Fixed's."""
        self.release(lease)
        if until_us > now:
            self.earliest_us = min(self.earliest_us, until_us) if self.leases else until_us
            self.latest_us = max(self.latest_us, until_us)
            self.leases[lease] = (cost, until_us)
            self.total += cost

    def level(self, now: int, bucket: Bucket) -> Level:
        """As Fixed's."""
        left = bucket.limit - self.total
        return Level(max(0, left), 0)

    def settle(self, now: int, charge: Charge, lease: str, at_us: int) -> None:
        """Release the lease, whatever was used of it."""
        self.release(lease)

    def release(self, lease: str) -> None:
        """Nothing is held under this name any more."""
        held = self.leases.pop(lease, None)
        if held is not None:
            self.total -= held[0]

    def useful_until_us(self) -> int:
        """As Fixed's."""
        return self.latest_us if self.leases else 0

    def _expire(self, now: int) -> None:
        for lease in [name for name, (_, until) in self.leases.items() if until <= now]:
            self.release(lease)
        expiries = [until for _, until in self.leases.values()]
        self.earliest_us, self.latest_us = min(expiries, default=0), max(expiries, default=0)


State: TypeAlias = Fixed | Sliding | Gcra | Concurrent

_KINDS: Final[dict[Algorithm, Callable[[], State]]] = {
    kind.algorithm: kind for kind in (Fixed, Sliding, Gcra, Concurrent)
}


def _new(bucket: Bucket, found: State | None) -> State:
    """A state for a bucket of which nothing is kept."""
    if found is not None:
        raise WrongKind(f"{bucket.key} is a bucket of another algorithm, {found.algorithm.value}")
    return _KINDS[bucket.algorithm]()


def take(
    states: dict[str, State], claims: Sequence[Claim], lease: str, lease_us: int, now_us: int
) -> Verdict:
    """Take all or nothing. Raises WrongKind, with nothing taken."""
    found: list[State] = []
    refused, retry_after = -1, 0
    for index, claim in enumerate(claims):
        bucket = claim.bucket
        state = states.get(bucket.key)
        if state is None or state.algorithm is not bucket.algorithm:
            state = _new(bucket, state)
        found.append(state)
        wait = state.wait_us(now_us, bucket, claim.cost, lease)
        if wait:
            if refused < 0:
                refused = index
            retry_after = -1 if wait < 0 or retry_after < 0 else max(wait, retry_after)
    if refused < 0:
        until_us = now_us + lease_us
        for claim, state in zip(claims, found, strict=True):
            if claim.cost:
                bucket = claim.bucket
                state.put(now_us, bucket, claim.cost, lease, until_us)
                states[bucket.key] = state
    levels = [state.level(now_us, claim.bucket) for claim, state in zip(claims, found, strict=True)]
    return Verdict(refused < 0, now_us, tuple(levels), refused, retry_after)


def settle(states: dict[str, State], charges: Sequence[Charge], lease: str, at_us: int, now_us: int) -> None:
    """Settle all charges. Raises WrongKind when the others are settled."""
    wrong: WrongKind | None = None
    for charge in charges:
        bucket = charge.bucket
        state = states.get(bucket.key)
        if state is None or state.algorithm is not bucket.algorithm:
            try:
                state = _new(bucket, state)
            except WrongKind as error:
                wrong = error
                continue
        if charge.used > AMOUNT_MAX or charge.taken > AMOUNT_MAX:
            charge = Charge(bucket, min(charge.taken, AMOUNT_MAX), min(charge.used, AMOUNT_MAX))
        state.settle(now_us, charge, lease, at_us)
        if bucket.key not in states and state.useful_until_us() > now_us and charge.used > charge.taken:
            states[bucket.key] = state
    if wrong is not None:
        raise wrong
