"""Shared memory, and what stands in it: tables of counters, a ring of blobs, and a last word.

The memory is anonymous and mapped before workers are forked, so every process sees the same bytes, and they
outlive whoever wrote them, by SIGKILL too. There is no lock that a killed process could keep. The rules:

- *One writer.* Each part has one process at a time that writes it (board.py sees to that), and any number of
  readers.
- *Whole words.* Numbers are 64-bit integers at multiples of eight, stored and loaded in one instruction: a
  reader gets an older number or a newer one, never half of one.
- *First the thing, then its being there.* A series has its labels written before the number of series says
  that it exists. A writer that dies in between has begun a series that nobody sees, and the next writer
  begins it again.
- *Blobs have a checksum*, made over their sequence number too. A reader that meets one which is being
  written, or whose writer has died over it, sees that, and takes it for absent. That holds as well on
  processors that reorder stores.
- *Bounded.* Labels come from callers, models' names above all. A table has room for so many series. When
  three quarters of it are taken, a new series has the labels that callers can choose replaced by `other`;
  the very last one has `other` for all of them. So nothing is lost of any sum, only of its division.
"""

import zlib
from collections.abc import Iterator
from typing import Final, TypeAlias

import msgspec

OTHER: Final = "other"
"""The label value of what had no room for its own."""
WORD: Final = 8
_KEY_BYTES: Final = 128
"""Of labels, for each series on average."""
_LENGTH_BITS: Final = 24
_TRIES: Final = 8
"""Of reading something that is being written; a writer takes microseconds."""

Labels: TypeAlias = tuple[str, ...]
Cells: TypeAlias = "memoryview[int]"
"""The memory as 64-bit integers."""

_keys: Final = msgspec.json.Decoder(tuple[str, ...])


def _padded(size: int) -> int:
    return -(-size // WORD) * WORD


class Shape(msgspec.Struct, frozen=True):
    """What a table looks like. foldable: which of the labels callers can choose, by their places."""

    labels: Labels
    width: int
    """Numbers in a series."""
    series_max: int
    foldable: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """In bytes: the number of series, where their labels are, their numbers, and the labels."""
        words = 1 + self.series_max + self.series_max * self.width
        return words * WORD + self.series_max * _KEY_BYTES


class Table:
    """Series of numbers by their labels. begin: of its part of the memory, in bytes."""

    __slots__ = ("_begin", "_cells", "_directory", "_heap", "_octets", "_used", "_values", "shape", "slots")

    def __init__(self, octets: "memoryview[int]", cells: Cells, begin: int, shape: Shape) -> None:
        self.shape = shape
        self._octets = octets
        self._cells = cells
        self._begin = begin // WORD
        self._directory = self._begin + 1
        self._values = self._directory + shape.series_max
        self._heap = (self._values + shape.series_max * shape.width) * WORD
        self._used = 0
        """Of the heap, in bytes."""
        self.slots: dict[Labels, int] = {}
        """Where each series' numbers begin, for whoever writes. A hot path looks here first."""

    def take_over(self) -> None:
        """Go on where another writer has ended."""
        self.slots.clear()
        self._used = 0
        for number in range(self._cells[self._begin]):
            offset, length = divmod(self._cells[self._directory + number], 1 << _LENGTH_BITS)
            self._used = max(self._used, offset + length)
            self.slots[self._labels(number)] = self._values + number * self.shape.width

    def slot(self, labels: Labels) -> tuple[int, bool]:
        """Where the numbers of these labels begin, and whether the series is theirs alone."""
        found = self.slots.get(labels)
        if found is not None:
            return found, True
        count = self._cells[self._begin]
        series_max = self.shape.series_max
        if count < series_max * 3 // 4:
            made = self._make(count, labels)
            if made is not None:
                return made, True
        foldable = self.shape.foldable
        folded = tuple(OTHER if at in foldable else label for at, label in enumerate(labels))
        for candidate, room in ((folded, series_max - 1), ((OTHER,) * len(labels), series_max)):
            found = self.slots.get(candidate)
            if found is None and self._cells[self._begin] < room:
                found = self._make(self._cells[self._begin], candidate)
            if found is not None:
                return found, candidate == labels
        raise AssertionError("the last series has room kept for it")

    def _make(self, number: int, labels: Labels) -> int | None:
        """A new series; None where there is no room for its labels."""
        clean = [label.encode("utf-8", "replace").decode() for label in labels]
        key = msgspec.json.encode(clean)
        shape = self.shape
        # Room for the last one's labels is kept: they are short.
        kept = 0 if set(labels) == {OTHER} else _KEY_BYTES
        if self._used + len(key) + kept > shape.series_max * _KEY_BYTES:
            return None
        begin = self._heap + self._used
        self._octets[begin : begin + len(key)] = key
        self._cells[self._directory + number] = self._used << _LENGTH_BITS | len(key)
        slot = self._values + number * shape.width
        for cell in range(slot, slot + shape.width):
            self._cells[cell] = 0
        self._used += len(key)
        self._cells[self._begin] = number + 1
        self.slots[labels] = slot
        return slot

    def _labels(self, number: int) -> Labels:
        offset, length = divmod(self._cells[self._directory + number], 1 << _LENGTH_BITS)
        begin = self._heap + offset
        return _keys.decode(bytes(self._octets[begin : begin + length]))

    def read(self) -> Iterator[tuple[Labels, tuple[int, ...]]]:
        """Every series and its numbers, for whoever reads."""
        width = self.shape.width
        for number in range(self._cells[self._begin]):
            slot = self._values + number * width
            yield self._labels(number), tuple(self._cells[slot : slot + width])


class Blob:
    """A place for bytes that change. room: how many there may be."""

    __slots__ = ("_begin", "_cells", "_octets", "_room")

    HEAD: Final = 3 * WORD

    def __init__(self, octets: "memoryview[int]", cells: Cells, begin: int, room: int) -> None:
        self._octets = octets
        self._cells = cells
        self._begin = begin
        self._room = room

    @classmethod
    def size(cls, room: int) -> int:
        """In bytes."""
        return cls.HEAD + _padded(room)

    def write(self, data: bytes, stamp: int) -> bool:
        """Let this be what stands here; False where it is too long. stamp: a number beside it."""
        if len(data) > self._room:
            return False
        head, begin = self._begin // WORD, self._begin + self.HEAD
        cells = self._cells
        cells[head] = -1  # Whoever reads now sees that there is nothing.
        cells[head + 1] = stamp
        self._octets[begin : begin + len(data)] = data
        cells[head + 2] = zlib.crc32(data, stamp & 0xFFFF_FFFF)
        cells[head] = len(data)
        return True

    def read(self) -> tuple[bytes, int] | None:
        """What stands here and its stamp; None where there is nothing, or nothing whole."""
        head, begin = self._begin // WORD, self._begin + self.HEAD
        cells = self._cells
        for _ in range(_TRIES):
            length, stamp = cells[head], cells[head + 1]
            if not 0 < length <= self._room:
                continue
            data = bytes(self._octets[begin : begin + length])
            if cells[head + 2] == zlib.crc32(data, stamp & 0xFFFF_FFFF) and cells[head + 1] == stamp:
                return data, stamp
        return None


class Ring:
    """The last so many blobs."""

    __slots__ = ("_begin", "_blobs", "_cells")

    def __init__(self, octets: "memoryview[int]", cells: Cells, begin: int, count: int, room: int) -> None:
        self._cells = cells
        self._begin = begin // WORD
        step = Blob.size(room)
        self._blobs = [Blob(octets, cells, begin + WORD + step * number, room) for number in range(count)]

    @staticmethod
    def size(count: int, room: int) -> int:
        """In bytes."""
        return WORD + count * Blob.size(room)

    def put(self, data: bytes) -> bool:
        """Keep this, and forget the oldest; False where it is too long."""
        number = self._cells[self._begin]
        if not self._blobs[number % len(self._blobs)].write(data, number):
            return False
        self._cells[self._begin] = number + 1
        return True

    def read(self) -> Iterator[bytes]:
        """What is kept, the newest first. What is overwritten meanwhile is left out."""
        newest = self._cells[self._begin] - 1
        for number in range(newest, max(-1, newest - len(self._blobs)), -1):
            found = self._blobs[number % len(self._blobs)].read()
            if found is not None and found[1] == number:
                yield found[0]
