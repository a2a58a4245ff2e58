"""Automata: what they accept, for random patterns and texts, and that what they keep has a bound."""

import re

from hypothesis import given
from hypothesis import strategies as st

from stargate_core.patterns import automaton
from stargate_core.patterns.automaton import KEPT_MAX, Automaton
from stargate_core.patterns.syntax import parse
from support.patterns import PATTERNS

TEXTS = st.text(alphabet="ab1 ", max_size=12)


def accepted(made: Automaton, text: str) -> bool:
    state = made.begin(1)
    for character in text:
        state = state[character]
    return bool(state.accepts)


class TestAccepts:
    @given(PATTERNS.filter(lambda pattern: len(pattern) < 200), st.lists(TEXTS, min_size=1, max_size=5))
    def test_it_accepts_what_re_matches(self, pattern: str, texts: list[str]) -> None:
        oracle = re.compile(f"x(?:{pattern})", re.DOTALL)
        made = Automaton([parse(f"x(?:{pattern})").node], [False])
        for text in ["x" + text for text in texts]:
            assert accepted(made, text) == (oracle.fullmatch(text) is not None)
            searched = made.search()
            found = False
            for character in text:
                searched = searched[character]
                found = found or bool(searched.accepts)
            assert found == any(
                oracle.fullmatch(text, start, end)
                for start in range(len(text))
                for end in range(start + 1, len(text) + 1)
            )

    def test_several_at_once_are_told_apart(self) -> None:
        made = Automaton([parse("ab").node, parse("a[b-d]").node, parse("(?i)AB").node], [False, False, True])
        assert made.begin(0b111)["a"]["b"].accepts == (0, 1, 2)
        assert made.begin(0b110)["a"]["b"].accepts == (1, 2)
        assert made.begin(0b111)["A"]["b"].accepts == (2,)
        assert not made.begin(0b111)["x"].positions


class TestBound:
    def test_what_is_kept_is_bounded_and_forgotten(self) -> None:
        made = Automaton([parse(".{0,2}z").node], [False])
        start = made.begin(1)
        for code in range(0x4E00, 0x4E00 + KEPT_MAX + 10):
            assert not start[chr(code)].accepts
        assert len(start) <= 11
        assert start["a"]["b"]["z"].accepts == (0,)

    def test_the_bound_is_some_megabytes(self) -> None:
        assert automaton.KEPT_MAX * 100 < 4_000_000
