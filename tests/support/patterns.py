"""Regular expressions in the language of patterns, at random."""

from typing import Final

from hypothesis import strategies as st

_ATOMS: Final = st.sampled_from(["a", "b", "[ab]", "[^a]", ".", r"\d", "1"])
PATTERNS: Final = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda each: "(?:" + "|".join(each) + ")"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
)
