"""How to have a Redis take and settle: the scripts of lua.py with their digests, and the codec around them.

A script is called by its digest (EVALSHA), with its keys and then its arguments, all of them bytes; its
answer is a list of whole numbers. A server that answers with anything else is not one of ours, and nobody may
guess what it meant: `verdict` raises.

In a cluster all keys of a script lie in one slot. `groups` tells which claims can go together: those with the
same hash tag (redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec, "Hash tags").
"""

import hashlib
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from stargate_core.limits import lua
from stargate_core.limits.buckets import Algorithm, Bucket, Charge, Claim, Level, Verdict
from stargate_core.limits.rule import AMOUNT_MAX


class Script(msgspec.Struct, frozen=True):
    """A Lua script."""

    text: bytes
    sha1: bytes
    """In lower-case hexadecimal digits, as EVALSHA takes it."""


class Taking(Protocol):
    """A questions.Take: that module lies above this one."""

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What is wanted."""
        ...

    @property
    def lease(self) -> str:
        """The name of what is held."""
        ...

    @property
    def lease_us(self) -> int:
        """For how long."""
        ...


class Settling(Protocol):
    """A questions.Settle."""

    @property
    def charges(self) -> tuple[Charge, ...]:
        """What was taken, and used."""
        ...

    @property
    def lease(self) -> str:
        """The name of what was held."""
        ...

    @property
    def at_us(self) -> int:
        """When it was taken."""
        ...


def _script(text: str) -> Script:
    encoded = text.encode()
    return Script(encoded, hashlib.sha1(encoded, usedforsecurity=False).hexdigest().encode())


TAKE: Final[Script] = _script(lua.RULE + lua.TAKE)
SETTLE: Final[Script] = _script(lua.RULE + lua.SETTLE)

# -------------------------------------------------------------------------------------------------- the codec

_KIND: Final[dict[Algorithm, bytes]] = {
    Algorithm.FIXED: b"f",
    Algorithm.SLIDING: b"s",
    Algorithm.GCRA: b"g",
    Algorithm.CONCURRENT: b"c",
}

_HEAD: Final = 4
"""Numbers in a verdict before the claims' pairs."""


def take_arguments(take: Taking, *, now_us: int | None = None) -> list[bytes]:
    """What follows `EVALSHA sha` for a Take; without `now_us` the server's clock decides."""
    head = [b"%d" % len(take.claims), *(claim.bucket.key.encode() for claim in take.claims)]
    head += [b"" if now_us is None else b"%d" % now_us, take.lease.encode(), b"%d" % take.lease_us]
    for claim in take.claims:
        # A cost beyond AMOUNT_MAX is beyond any limit, and one more says so as well.
        head += [*_described(claim.bucket), b"%d" % min(claim.cost, AMOUNT_MAX + 1)]
    return head


def settle_arguments(settle: Settling, *, now_us: int | None = None) -> list[bytes]:
    """What follows `EVALSHA sha` for a Settle."""
    head = [b"%d" % len(settle.charges), *(charge.bucket.key.encode() for charge in settle.charges)]
    head += [b"" if now_us is None else b"%d" % now_us, settle.lease.encode(), b"%d" % settle.at_us]
    for charge in settle.charges:
        amounts = (b"%d" % min(amount, AMOUNT_MAX) for amount in (charge.taken, charge.used))
        head += [*_described(charge.bucket), *amounts]
    return head


def _described(bucket: Bucket) -> tuple[bytes, bytes, bytes, bytes]:
    return (
        _KIND[bucket.algorithm],
        b"%d" % bucket.limit,
        b"%d" % bucket.window_us,
        b"%d" % bucket.burst,
    )


def verdict(reply: object) -> Verdict:
    """TAKE's answer, as a RESP reader gives it. Raises ValueError for anything that is not one."""
    try:
        numbers = msgspec.convert(reply, list[int])
    except msgspec.ValidationError:
        raise ValueError(f"no verdict: {str(reply)[:200]}") from None
    if len(numbers) < _HEAD or len(numbers) % 2:
        raise ValueError(f"no verdict: {len(numbers)} numbers")
    allowed, at_us, refused, retry_after_us = numbers[:_HEAD]
    pairs = numbers[_HEAD:]
    levels = tuple(map(Level, pairs[::2], pairs[1::2]))
    sound = (
        allowed == (refused < 0)
        and -1 <= refused < len(levels)
        and (retry_after_us == 0 if allowed else retry_after_us >= -1 and retry_after_us != 0)
        and at_us >= 0
        and min(pairs, default=0) >= 0
    )
    if not sound:
        raise ValueError(f"no verdict: {numbers}")
    return Verdict(bool(allowed), at_us, levels, refused, retry_after_us)


def groups(claims: Sequence[Claim]) -> list[list[int]]:
    """The indexes of the claims whose buckets share a hash tag, in the order of the first of each; a key
    without a tag stands alone.
    """
    found: dict[str, list[int]] = {}
    for index, claim in enumerate(claims):
        found.setdefault(_tag(claim.bucket.key), []).append(index)
    return list(found.values())


def _tag(key: str) -> str:
    """What a cluster hashes: what the first brace and the next closing one hold, if they hold anything."""
    _, opened, rest = key.partition("{")
    tag, closed, _ = rest.partition("}")
    return tag if opened and closed and tag else key
