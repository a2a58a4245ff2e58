"""Machines by their beginnings: each kind is made, and what is no beginning is Unreadable."""

from typing import Any, Final

import msgspec
import pytest

from stargate_core.direction import Order
from stargate_core.gateway.breaker import Breaker
from stargate_core.gateway.cache import Cache
from stargate_core.gateway.checkpoint import checkpoint
from stargate_core.gateway.flight import Flight
from stargate_core.gateway.keyring import Keyring
from stargate_core.gateway.memory_store import MemoryStore
from stargate_core.gateway.pool import Pool, PoolLimits
from stargate_core.gateway.redis_calls import LinkSettings
from stargate_core.gateway.redis_link import RedisLink
from stargate_core.gateway.session import Session
from stargate_core.journal.format import (
    BreakerBeginning,
    CacheBeginning,
    FlightBeginning,
    KeyringBeginning,
    MemoryStoreBeginning,
    PoolBeginning,
    RedisLinkBeginning,
    SessionBeginning,
    Unreadable,
)
from stargate_core.journal.machines import made
from support.machines import Bench, a_plan
from support.samples import samples

ORDER: Final[Order] = next(samples(Order))
BEGUN: Final = checkpoint(Bench().session)


class Watched(Session):
    """Another kind of session."""

    __slots__ = ()


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [
        (SessionBeginning(BEGUN), Session),
        (PoolBeginning(PoolLimits()), Pool),
        (BreakerBeginning(), Breaker),
        (CacheBeginning(1 << 20, 1 << 10, shared=True), Cache),
        (RedisLinkBeginning(LinkSettings(), "ff", 5), RedisLink),
        (KeyringBeginning(1, 2, 3, 4), Keyring),
        (MemoryStoreBeginning(1, 2, 3), MemoryStore),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_each_kind_is_made(beginning: Any, kind: type) -> None:
    assert type(made(beginning, {1: a_plan()})) is kind


def test_a_flight_is_made() -> None:
    flight = made(FlightBeginning(1, ORDER, 3, 5, "ff", 7), {1: a_plan()})
    assert isinstance(flight, Flight)
    assert flight.deadline == 7


def test_a_session_may_be_of_a_kind_that_is_watched() -> None:
    assert type(made(SessionBeginning(BEGUN), {1: a_plan()}, Watched)) is Watched


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generation": 2}, "it has no configuration 2"),
        ({"seed": "no number"}, "its beginning is malformed"),
        ({"seed": "f" * 33}, "its beginning is malformed"),
        ({"seed": "-1"}, "its beginning is malformed"),
    ],
)
def test_what_is_no_beginning_is_unreadable(change: dict[str, Any], message: str) -> None:
    with pytest.raises(Unreadable, match=message):
        made(SessionBeginning(msgspec.structs.replace(BEGUN, **change)), {1: a_plan()})
