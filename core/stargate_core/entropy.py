"""Chance for machines: one source a session, seeded by the shell.

The seed stands in the session's journal, so a replay draws the same request ids. A draw is a hash (BLAKE2b)
of the seed and of the draw's number. So the whole state is two numbers, and a session is easily taken up in
the middle of its life, where a Mersenne Twister would have to write down two and a half kilobytes.
"""

import hashlib
from typing import Final

from stargate_core.native import mypyc_attr

_SEED_BYTES: Final = 16
_FLOAT_BITS: Final = 53


@mypyc_attr(allow_interpreted_subclasses=True)
class Entropy:
    """A session's source of chance. seed: below 2**128. count: how many draws have been made of it before."""

    __slots__ = ("_begun", "count", "seed")

    def __init__(self, seed: int, count: int = 0) -> None:
        self.seed = seed
        self.count = count
        """The draws so far."""
        # Copied for each draw, which costs less than to begin anew.
        self._begun = hashlib.blake2b(seed.to_bytes(_SEED_BYTES, "big"), digest_size=16)

    def request_id(self) -> str:
        """A new id: 32 hexadecimal digits, as unique as a UUID4."""
        return self._draw().hex()

    def fraction(self) -> float:
        """A number in [0, 1), for jitter."""
        return (int.from_bytes(self._draw()[:8], "big") >> (64 - _FLOAT_BITS)) / (1 << _FLOAT_BITS)

    def _draw(self) -> bytes:
        self.count += 1
        drawn = self._begun.copy()
        drawn.update(self.count.to_bytes(8, "big"))
        return drawn.digest()
