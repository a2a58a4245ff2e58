"""Shared memory: what is written is read, what is torn is absent, and everything is bounded."""

import mmap
import zlib
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from stargate.observing.memory import OTHER, Blob, Cells, Labels, Ring, Shape, Table

SMALL: Final = Shape(("consumer", "model"), 2, 8, foldable=(1,))


def memory(size: int = 1 << 16) -> tuple["memoryview[int]", Cells]:
    octets = memoryview(mmap.mmap(-1, size))
    return octets, octets.cast("q")


def count(table: Table, cells: Cells, labels: Labels, much: int = 1) -> bool:
    slot, own = table.slot(labels)
    cells[slot] += much
    cells[slot + 1] += 10 * much
    return own


class TestTable:
    @given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), max_size=40))
    def test_it_sums_as_a_dictionary_does_whoever_writes(self, events: list[tuple[str, str]]) -> None:
        """The oracle is a Counter; half way another writer takes over."""
        octets, cells = memory()
        shape = Shape(("one", "two"), 2, 100)
        table = Table(octets, cells, 64, shape)
        expected: dict[Labels, tuple[int, int]] = {}
        for number, labels in enumerate(events):
            if number == len(events) // 2:
                table = Table(octets, cells, 64, shape)
                table.take_over()
            count(table, cells, labels)
            once = expected.get(labels, (0, 0))
            expected[labels] = (once[0] + 1, once[1] + 10)
        assert dict(table.read()) == expected

    def test_beyond_three_quarters_what_callers_choose_is_folded_and_no_sum_is_lost(self) -> None:
        octets, cells = memory()
        table = Table(octets, cells, 0, SMALL)
        own = [count(table, cells, ("team-a", f"made-up-{number}")) for number in range(50)]
        assert own == [True] * 6 + [False] * 44
        assert not count(table, cells, ("team-b", "made-up"))
        series = dict(table.read())
        assert len(series) == 8
        assert series["team-a", OTHER] == (44, 440)
        # The last series is kept for what does not even have room when it is folded.
        assert series[OTHER, OTHER] == (1, 10)
        assert sum(numbers[0] for numbers in series.values()) == 51

    def test_a_known_series_is_found_in_a_full_table(self) -> None:
        octets, cells = memory()
        table = Table(octets, cells, 0, SMALL)
        for number in range(20):
            count(table, cells, ("team-a", f"made-up-{number}"))
        assert count(table, cells, ("team-a", "made-up-0"))
        assert dict(table.read())["team-a", "made-up-0"] == (2, 20)

    def test_long_labels_fill_their_own_part_and_nothing_behind_it(self) -> None:
        octets, cells = memory()
        octets[SMALL.size : SMALL.size + 8] = b"neighbor"
        table = Table(octets, cells, 0, SMALL)
        for number in range(20):
            count(table, cells, (f"team-{number}", "m" * 300))
        assert bytes(octets[SMALL.size : SMALL.size + 8]) == b"neighbor"
        series = dict(table.read())
        assert sum(numbers[0] for numbers in series.values()) == 20
        assert (OTHER, OTHER) in series

    def test_labels_that_no_encoding_has_are_counted_all_the_same(self) -> None:
        octets, cells = memory()
        table = Table(octets, cells, 0, SMALL)
        count(table, cells, ("team-a", "\ud800"))
        count(table, cells, ("team-a", 'quo"te\n'))
        assert set(dict(table.read())) == {("team-a", "?"), ("team-a", 'quo"te\n')}

    def test_a_series_that_was_begun_by_one_who_died_is_begun_again(self) -> None:
        octets, cells = memory()
        table = Table(octets, cells, 0, SMALL)
        count(table, cells, ("team-a", "claude"))
        count(table, cells, ("team-b", "claude"))
        cells[0] = 1  # It died before it said that there is a second.
        heir = Table(octets, cells, 0, SMALL)
        heir.take_over()
        count(heir, cells, ("team-c", "nova"))
        assert dict(heir.read()) == {("team-a", "claude"): (1, 10), ("team-c", "nova"): (1, 10)}


class TestBlob:
    def test_the_last_word_counts(self) -> None:
        blob = Blob(*memory(), 8, 100)
        assert blob.read() is None
        assert blob.write(b"first, and longer", 1)
        assert blob.write(b"second", 2)
        assert blob.read() == (b"second", 2)

    def test_what_is_too_long_is_refused_and_changes_nothing(self) -> None:
        blob = Blob(*memory(), 0, 10)
        blob.write(b"0123456789", 1)
        assert not blob.write(b"0123456789a", 2)
        assert blob.read() == (b"0123456789", 1)

    def test_what_is_half_written_is_absent(self) -> None:
        """Whatever its writer got to: each store of `write` in turn is its last."""
        octets, cells = memory()
        blob = Blob(octets, cells, 0, 100)
        blob.write(b"old old old", 1)
        stores = [(0, -1), (1, 2), (2, zlib.crc32(b"new new new", 2))]
        for cell, value in stores:
            cells[cell] = value
            if cell == 1:
                octets[24:30] = b"new ne"
            assert blob.read() is None
        octets[24:35] = b"new new new"
        assert blob.read() is None
        cells[0] = 11
        assert blob.read() == (b"new new new", 2)

    def test_reordered_stores_are_seen(self) -> None:
        """The length says that all is there, and the bytes are the old ones."""
        octets, cells = memory()
        blob = Blob(octets, cells, 0, 100)
        blob.write(b"old old old", 1)
        cells[1], cells[2] = 2, zlib.crc32(b"new new new", 2)
        assert blob.read() is None


class TestRing:
    def test_the_newest_come_first_and_the_oldest_go(self) -> None:
        octets, cells = memory()
        ring = Ring(octets, cells, 0, 4, 32)
        assert list(ring.read()) == []
        for number in range(6):
            assert ring.put(b"record %d" % number)
        assert list(ring.read()) == [b"record 5", b"record 4", b"record 3", b"record 2"]

    def test_what_is_too_long_is_refused(self) -> None:
        octets, cells = memory()
        ring = Ring(octets, cells, 0, 4, 8)
        ring.put(b"short")
        assert not ring.put(b"far too long")
        assert list(ring.read()) == [b"short"]

    def test_one_that_is_being_written_is_left_out(self) -> None:
        octets, cells = memory()
        ring = Ring(octets, cells, 0, 2, 8)
        ring.put(b"one")
        ring.put(b"two")
        cells[1] = -1  # The blob of the first, which is the third's.
        assert list(ring.read()) == [b"two"]
