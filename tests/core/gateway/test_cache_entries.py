"""Kept answers: what they cost, how long they last, which one makes room, and what the store may hold."""

import sys
from typing import Any, Final

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stargate_core.clock import SECOND
from stargate_core.gateway.cache_entries import VERSION, Entries, Entry, cost_of, pack, unpack

ENTRIES: Final = st.builds(
    Entry,
    version=st.just(VERSION),
    target=st.text(max_size=20),
    headers=st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=8),
    body=st.binary(max_size=100),
)


def entry(body: bytes = b"{}") -> Entry:
    """An answer."""
    return Entry(VERSION, "main", [(b"content-type", b"application/json")], body)


class TestMemory:
    def test_what_is_kept_is_found_with_its_age(self) -> None:
        entries = Entries()
        entries.keep("k", entry(), 3 * SECOND, 10 * SECOND)
        assert entries.find("k", 5 * SECOND) == (entry(), 2 * SECOND)
        assert entries.find("other", 5 * SECOND) is None

    def test_until_its_time_is_over(self) -> None:
        entries = Entries()
        entries.keep("k", entry(), 0, 10 * SECOND)
        assert entries.find("k", 10 * SECOND - 1) is not None
        assert entries.find("k", 10 * SECOND) is None
        assert (entries.size, len(entries)) == (0, 0)

    def test_a_newer_one_takes_its_place(self) -> None:
        entries = Entries()
        entries.keep("k", entry(b"old"), 0, SECOND)
        entries.keep("k", entry(b"newer"), 1, SECOND)
        assert entries.find("k", SECOND) == (entry(b"newer"), SECOND - 1)
        assert (entries.size, len(entries)) == (cost_of("k", entry(b"newer")), 1)

    def test_what_was_not_used_for_longest_makes_room(self) -> None:
        entries = Entries()
        for key in "abc":
            entries.keep(key, entry(), 0, SECOND)
        entries.find("a", 0)
        entries.keep("b", entry(), 0, SECOND)
        assert entries.evict()
        assert [key for key in "abc" if entries.find(key, 0)] == ["a", "b"]
        assert entries.evict()
        assert entries.evict()
        assert not entries.evict()
        assert entries.size == 0

    @example([Entry(VERSION, "\U0001f680" * 1000, [], b"")])
    @given(st.lists(ENTRIES, min_size=1, max_size=40))
    def test_what_it_costs_is_not_less_than_what_python_needs(self, kept: list[Entry]) -> None:
        """sys.getsizeof is the oracle, of everything that is reachable."""
        entries = Entries()
        for number, each in enumerate(kept):
            # Copies, since Python shares small byte strings and a real cache's are seldom equal.
            entries.keep(f"{number:064x}", msgspec.msgpack.decode(pack(each), type=Entry), number, SECOND)
        assert entries.size >= _deep(entries)


def _deep(root: object) -> int:
    """The size of an object and of all it refers to, each once."""
    seen: dict[int, Any] = {}
    todo: list[Any] = [root]
    while todo:
        node = todo.pop()
        if id(node) in seen or isinstance(node, type):
            continue
        seen[id(node)] = node
        if isinstance(node, dict):
            todo += [*node.keys(), *node.values()]
        elif isinstance(node, list | tuple):
            todo += node
        elif isinstance(node, msgspec.Struct):
            todo += [getattr(node, name) for name in node.__struct_fields__]
        elif hasattr(node, "__slots__"):
            todo += [getattr(node, name) for name in node.__slots__]
    # Sixteen bytes more for what the garbage collector keeps in front of an object.
    return sum(sys.getsizeof(node) + 16 for node in seen.values() if node is not root)


class TestStore:
    @given(ENTRIES)
    def test_what_is_packed_can_be_unpacked(self, each: Entry) -> None:
        assert unpack(pack(each)) == each

    def test_the_version_stands_in_front(self) -> None:
        """So that whatever comes after it may change."""
        assert msgspec.msgpack.decode(pack(entry()))[0] == VERSION

    @pytest.mark.parametrize(
        "value",
        [
            pack(Entry(VERSION + 1, "", [], b"")),
            msgspec.msgpack.encode([VERSION, "", [], b"", "a member more"]),
            msgspec.msgpack.encode([VERSION, "", []]),
            msgspec.msgpack.encode({"version": VERSION}),
            pack(entry())[:-1],
            pack(entry()) + b"\x00",
            b"",
            b"\x94\x01\xa1\xff\x90\xc4\x00",
            b"\x91" * 100_000,
        ],
        ids=["newer", "more", "less", "an object", "cut", "and more", "empty", "no UTF-8", "deep"],
    )
    def test_what_is_none_of_ours_is_nothing(self, value: bytes) -> None:
        assert unpack(value) is None

    @given(st.binary(max_size=200))
    def test_nor_does_any_other_value_raise(self, value: bytes) -> None:
        unpack(value)

    @given(ENTRIES, st.data())
    def test_nor_a_damaged_one(self, each: Entry, data: st.DataObject) -> None:
        value = bytearray(pack(each))
        at = data.draw(st.integers(0, len(value) - 1))
        value[at] ^= data.draw(st.integers(1, 255))
        unpack(bytes(value))
