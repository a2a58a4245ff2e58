"""From bytes to decisions, and from bytes to pieces: what targets read their input with.

A fuzzer changes bytes, so what a target makes of them should change little when they do. `Choices` takes
decisions from the front, one or two bytes each, and never fails: when the input is used up, each decision is
the first there is. `pieces` cuts a stream at places that depend on the stream alone, so a corpus file is
nothing but the stream itself, and a recorded one is a seed as it stands.
"""

import itertools
import random
import zlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Decisions, taken from bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether anything is left to decide by."""
        return self._at < len(self._data)

    def number(self, below: int) -> int:
        """A number from 0 to `below` - 1."""
        taken = self._take(1 if below <= 256 else 2)
        return int.from_bytes(taken) % below

    def flag(self) -> bool:
        """Yes or no."""
        return bool(self.number(2))

    def of(self, values: Sequence[T]) -> T:
        """One of these."""
        return values[self.number(len(values))]

    def some(self, most: int = 255) -> bytes:
        """So many bytes as the next one says."""
        return self._take(self.number(most + 1))

    def rest(self) -> bytes:
        """All that is left."""
        return self._take(len(self._data) - self._at)

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken


def pieces(data: bytes, most: int = 12) -> list[bytes]:
    """The stream in pieces, some of them empty; the same stream is always cut alike."""
    chance = random.Random(zlib.crc32(data))
    places = sorted(chance.choices(range(len(data) + 1), k=chance.randrange(most)))
    return list(_between(data, [0, *places, len(data)]))


def every_byte(data: bytes) -> list[bytes]:
    """The stream byte by byte."""
    return [data[at : at + 1] for at in range(len(data))]


def _between(data: bytes, places: Sequence[int]) -> Iterator[bytes]:
    for start, end in itertools.pairwise(places):
        yield data[start:end]


def noise(count: int = 24, size: int = 400) -> Iterator[bytes]:
    """Bytes of no meaning, always the same: where any input is a whole one, a seed as good as any."""
    chance = random.Random(0)
    for number in range(count):
        yield chance.randbytes(size * (number + 1) // count)
