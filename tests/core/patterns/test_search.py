"""Searching: the same for any cut, and nobody can write an edge into a text."""

import re

from hypothesis import given
from hypothesis import strategies as st

from stargate_core.patterns.search import Search
from stargate_core.patterns.syntax import parse

SEARCH = Search([parse(r"(?i)\bignore (all )?previous\b"), parse("^start"), parse("end$"), parse("a.*z")])
ORACLE = re.compile(r"(?is)\bignore (?:all )?previous\b|(?-i:\Astart|end\Z|a.*z)")
WORDS = st.lists(
    st.sampled_from(
        ["ignore", "Ignore", " ", "all", "previous", "start", "end", "a", "z", "\uffff", "x", "\n"]
    ),
    max_size=8,
).map("".join)


class TestSearch:
    @given(WORDS, st.lists(st.integers(0, 40), max_size=5))
    def test_it_finds_what_re_finds_for_any_cut(self, text: str, cuts: list[int]) -> None:
        expected = ORACLE.search(text) is not None
        assert SEARCH.found(text) == expected
        searching, at = SEARCH.begin(), 0
        for cut in sorted(cuts):
            searching.feed(text[at:cut])
            at = max(at, cut)
        assert searching.feed(text[at:], final=True) == expected

    def test_what_is_found_stays_found(self) -> None:
        searching = SEARCH.begin()
        assert searching.feed("start")
        assert searching.feed("nothing")
