"""Whatever the keyring is told, in any order: it asks when it is due and not before, and tells of new keys
once, as its model does.
"""

from collections.abc import Iterator
from typing import Final

from core.gateway.test_keyring_stateful import KeyringAgainstModel
from fuzz.choices import noise
from fuzz.stateful import played

target: Final = played(KeyringAgainstModel)


def seeds() -> Iterator[bytes]:
    """Any games."""
    return noise()
