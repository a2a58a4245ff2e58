"""Whatever a link to Redis is told, in any order: each question has one answer or none in time, what was
taken and not heard is given back, and nothing piles up.
"""

from collections.abc import Iterator
from typing import Final

from core.gateway.test_redis_link import AnyEvents
from fuzz.choices import noise
from fuzz.stateful import played

target: Final = played(AnyEvents)


def seeds() -> Iterator[bytes]:
    """Any games."""
    return noise()
