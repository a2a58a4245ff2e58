"""Buckets: what a limit counts, and what a store says of it. Only types; rule.py has the arithmetic.

A *bucket* is one counter for one scope: "requests of team-a in a minute". A request *takes* from several at
once, and either all of them have room, or nothing is taken from any. What was taken is an estimate where
tokens are concerned; at the end it is *settled*: what was too much goes back where it was taken, what was too
little is charged when it is known.

Amounts are whole numbers in the bucket's own unit: requests, tokens, calls at a time, or nano-dollars. Times
are whole microseconds of wall time: a Lua number holds them exactly until the year 2255.
"""

import enum
from typing import Final

import msgspec

MONTH_US: Final = 0
"""The window of a calendar month (UTC), which has no fixed length; only FIXED buckets may have it."""


class Algorithm(enum.Enum):
    """How a bucket forgets."""

    FIXED = "fixed"
    """A window that starts at whole multiples of its length, all at once."""
    SLIDING = "sliding"
    """The last `window_us`, in slices: never more than the limit in any stretch of that length."""
    GCRA = "gcra"
    """Drains evenly, `limit` in each window; at most `burst` at once."""
    CONCURRENT = "concurrent"
    """Leases: what is taken is held until it is settled, or until its lease expires."""


class Bucket(msgspec.Struct, frozen=True):
    """One counter."""

    key: str
    """Unique in the store, with its scope in it. The part in braces, if there is one, is its hash tag."""
    algorithm: Algorithm
    limit: int
    """At least 1."""
    window_us: int = MONTH_US
    """Of CONCURRENT buckets it says nothing."""
    burst: int = 0
    """Of GCRA buckets: from 1 to any number; of others 0."""


class Claim(msgspec.Struct, frozen=True):
    """What a request wants of one bucket. A cost of 0 asks for the level, and passes where the bucket is not
    overdrawn.
    """

    bucket: Bucket
    cost: int


class Level(msgspec.Struct, frozen=True):
    """How a bucket stands after the question."""

    remaining: int
    """What may still be taken now; never below 0."""
    reset_us: int
    """Until the whole limit is there again, if nothing more is taken; 0: it is. Of CONCURRENT buckets 0."""


class Verdict(msgspec.Struct, frozen=True, tag=True):
    """A store's answer to a Take."""

    allowed: bool
    at_us: int
    """The store's own wall time of the decision; a settlement names it."""
    levels: tuple[Level, ...]
    """One for each claim, in their order."""
    refused: int = -1
    """Which claim was refused, the first of them; -1 if none."""
    retry_after_us: int = 0
    """When the same question could be answered yes, at the earliest; for CONCURRENT buckets a second. -1:
    never, for a claim's cost is more than its bucket holds.
    """


class Charge(msgspec.Struct, frozen=True):
    """What is settled with one bucket."""

    bucket: Bucket
    taken: int
    used: int


class WrongKind(ValueError):
    """A key is already in use for a bucket of another algorithm."""
