"""Whatever the cache is told, in any order: each follower gets the bytes of one flight in order and its end
once, nothing kept is older than allowed, and no bound is passed.
"""

from collections.abc import Iterator
from typing import Final

from core.gateway.test_cache import CacheAgainstModel
from fuzz.choices import noise
from fuzz.stateful import played

target: Final = played(CacheAgainstModel)


def seeds() -> Iterator[bytes]:
    """Any games."""
    return noise()
