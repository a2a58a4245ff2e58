"""Globs: against fnmatch where both mean the same, and quick whatever a caller sends."""

import fnmatch
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.globs import GlobTable, pattern_of

TEXTS = st.text("ab.:-*?/", max_size=8)


class TestPattern:
    @given(TEXTS, st.text("ab.:-/", max_size=10))
    def test_as_the_shell_matches(self, glob: str, name: str) -> None:
        # fnmatch's brackets are not in the alphabet: they are not ours.
        assert (pattern_of((glob,)).fullmatch(name) is not None) == fnmatch.fnmatchcase(name, glob)

    def test_any_of_several(self) -> None:
        pattern = pattern_of(("claude-*", "amazon.nova-?"))
        assert [
            name
            for name in ("claude-3", "claude", "amazon.nova-x", "amazon.nova-xy")
            if pattern.fullmatch(name)
        ] == ["claude-3", "amazon.nova-x"]

    def test_no_globs_match_nothing(self) -> None:
        assert pattern_of(()).fullmatch("") is None

    def test_many_stars_and_a_long_name_take_no_time(self) -> None:
        pattern = pattern_of(("*a" * 20 + "b",))
        begun = time.process_time()
        assert pattern.fullmatch("a" * 2048) is None
        assert time.process_time() - begun < 1


class TestTable:
    TABLE = GlobTable([("a*", 1), ("ab", 2), ("b", 3)])

    @pytest.mark.parametrize(
        ("names", "value"), [(("ab",), 1), (("b",), 3), (("c",), None), (("b", "a"), 3), (("c", "a"), 1)]
    )
    def test_the_first_name_that_any_row_knows_and_its_first_row(
        self, names: tuple[str, ...], value: int | None
    ) -> None:
        assert self.TABLE.find(*names) == value
