"""Whatever the memory store is asked and told, in any order, it answers each question once and as plain
tables would, within its bounds.
"""

from collections.abc import Iterator
from typing import Final

from core.gateway.test_memory_store_stateful import MemoryStoreAgainstModel
from fuzz.choices import noise
from fuzz.stateful import played

target: Final = played(MemoryStoreAgainstModel)


def seeds() -> Iterator[bytes]:
    """Any games."""
    return noise()
