"""Chance for machines: one generator a session, seeded by the shell.

The seed stands in the session's journal, so a replay draws the same request ids. Only `getrandbits` and
`random` are used: they are the calls whose results Python keeps stable between versions.
"""

import random


class Entropy:
    """A session's source of chance."""

    __slots__ = ("_random",)

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  (nothing secret is drawn from it)

    def request_id(self) -> str:
        """A new id: 32 hexadecimal digits, as unique as a UUID4."""
        return f"{self._random.getrandbits(128):032x}"

    def fraction(self) -> float:
        """A number in [0, 1), for jitter."""
        return self._random.random()
