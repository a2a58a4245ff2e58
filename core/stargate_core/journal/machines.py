"""Machines by their beginnings: how each kind is made, and what it may be told."""

from collections.abc import Mapping
from typing import Any, Final, Protocol, assert_never, get_args

from stargate_core.gateway.breaker import Breaker
from stargate_core.gateway.cache import Cache
from stargate_core.gateway.checkpoint import resume
from stargate_core.gateway.flight import Flight
from stargate_core.gateway.keyring import Keyring
from stargate_core.gateway.memory_store import MemoryStore
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.pool import Pool
from stargate_core.gateway.redis_link import RedisLink
from stargate_core.gateway.session import Session
from stargate_core.journal.format import (
    Beginning,
    BreakerBeginning,
    CacheBeginning,
    FlightBeginning,
    KeyringBeginning,
    Kind,
    MemoryStoreBeginning,
    PoolBeginning,
    RedisLinkBeginning,
    SessionBeginning,
    Unreadable,
)
from stargate_core.messages import (
    BreakerEvent,
    CacheEvent,
    FlightEvent,
    KeyringEvent,
    PoolEvent,
    SessionEvent,
    StoreEvent,
)

EVENTS: Final[Mapping[Kind, frozenset[type]]] = {
    "session": frozenset(get_args(SessionEvent)),
    "flight": frozenset(get_args(FlightEvent)),
    "pool": frozenset(get_args(PoolEvent)),
    "breaker": frozenset(get_args(BreakerEvent)),
    "cache": frozenset(get_args(CacheEvent)),
    "redis_link": frozenset(get_args(StoreEvent)),
    "keyring": frozenset(get_args(KeyringEvent)),
    "memory_store": frozenset(get_args(StoreEvent)),
}
"""What each kind of machine may be told."""


class Machine(Protocol):
    """What all machines are."""

    def handle(self, now: int, event: Any, /) -> list[Any]:
        """Take in a fact; what is to be done about it."""
        ...

    @property
    def deadline(self) -> int | None:
        """When to call with Ticked at the latest."""
        ...


def made(beginning: Beginning, plans: Mapping[int, Plan], kind: type[Session] = Session) -> Machine:
    """The machine that begins like this. Raises Unreadable.

    plans: the configurations it may need. kind: of a session, where one is to be watched.
    """
    try:
        return _made(beginning, plans, kind)
    except KeyError as error:
        raise Unreadable(f"it has no configuration {error}") from None
    except (ValueError, OverflowError) as error:
        raise Unreadable(f"its beginning is malformed: {error}") from None


def _made(beginning: Beginning, plans: Mapping[int, Plan], kind: type[Session]) -> Machine:
    match beginning:
        case SessionBeginning(checkpoint):
            return resume(checkpoint, plans, kind)
        case FlightBeginning(generation, order, flight, wall_epoch_ns, seed, now):
            return Flight(
                plans[generation],
                order,
                flight=flight,
                wall_epoch_ns=wall_epoch_ns,
                seed=int(seed, 16),
                now=now,
            )
        case PoolBeginning(limits):
            return Pool(limits)
        case BreakerBeginning():
            return Breaker()
        case CacheBeginning(bytes_max, entry_bytes_max, shared):
            return Cache(bytes_max=bytes_max, entry_bytes_max=entry_bytes_max, shared=shared)
        case RedisLinkBeginning(settings, seed, wall_epoch_ns):
            return RedisLink(settings=settings, seed=int(seed, 16), wall_epoch_ns=wall_epoch_ns)
        case KeyringBeginning(now, interval_ns, patience_ns, keys_max):
            return Keyring(now, interval_ns=interval_ns, patience_ns=patience_ns, keys_max=keys_max)
        case MemoryStoreBeginning(wall_epoch_ns, entry_bytes_max, buckets_max):
            return MemoryStore(
                wall_epoch_ns=wall_epoch_ns, entry_bytes_max=entry_bytes_max, buckets_max=buckets_max
            )
        case _:
            assert_never(beginning)
