"""Whatever the breaker is told, in any order, it says of each target what its model says."""

from collections.abc import Iterator
from typing import Final

from core.gateway.test_breaker import Model
from fuzz.choices import noise
from fuzz.stateful import played

target: Final = played(Model)


def seeds() -> Iterator[bytes]:
    """Any games."""
    return noise()
