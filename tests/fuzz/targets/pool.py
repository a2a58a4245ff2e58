"""Whatever the pool is told, in any order, late facts and double ones too: no connection is lent to two,
no limit is passed, nobody waits in vain or out of turn.
"""

from collections.abc import Iterator
from typing import Final

from core.gateway.test_pool import PoolAgainstModel
from fuzz.choices import noise
from fuzz.stateful import played

target: Final = played(PoolAgainstModel)


def seeds() -> Iterator[bytes]:
    """Any games."""
    return noise()
