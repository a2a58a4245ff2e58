"""The language of patterns: what is taken, how wide it is, what is said of the rest. The oracle is `re`."""

import re

import pytest

from stargate_core.patterns.finder import Finder, pattern_of
from stargate_core.patterns.search import Search
from stargate_core.patterns.syntax import (
    PATTERN_CHARS_MAX,
    STATES_MAX,
    BadPattern,
    parse,
    states_in,
    tail_of,
    width_of,
)

GOOD = [
    "abc", "a|b", "a*b", "(a|b)+c", "(?:ab)?c", "[a-c]+", r"[^a]", r"[\]a]", "[]a]", "[a[]", r"\d\w\s",
    r"\D\W\S", r"\.", r"\x41", r"\u0041", r"\n\t\r\f\v\0", "a{2}", "a{2,}", "a{,2}b", "a{2,3}", "a+?",
    "a{2}?b", "a{b", "a{}", "é", "a.c", "(?i)aB", "(a|)b", "a{0}b", "-", "(((a)))", "()a", r"a\\b",
    r"(?:a)\$", "[+*?]",
]  # fmt: skip
TEXTS = [
    "", "a", "b", "ab", "abc", "aab", "c", "aaac", "abab", "AB", "aB", "]", "[", "1a ", "a\nc", "a.c",
    ".", "A", "\n\t\r\f\v\0", "aa", "aaa", "aaaa", "a{b", "a{}", "é", "-", "x!", "\\b", "a\\b", "a$",
    "+", "a-b",
]  # fmt: skip


class TestTaken:
    @pytest.mark.parametrize("pattern", GOOD)
    def test_it_means_what_re_means_by_it(self, pattern: str) -> None:
        parsed = parse(pattern)
        oracle = re.compile(pattern, re.DOTALL)
        for text in TEXTS:
            assert Search([parsed]).found(text) == (oracle.search(text) is not None), text

    @pytest.mark.parametrize(
        "pattern", [r"\bab\b", r"^ab", r"ab$", r"\Aab\Z", r"^ab\b", r"\ba|b\b", r"(?i)\bAB", r"^(a|b)$"]
    )
    def test_ends_are_no_part_of_a_match(self, pattern: str) -> None:
        texts = ["ab", "cab", "abc", "c ab c", "ab c", "c ab", "a", "b", "AB", "xx"]
        grouped = re.sub(r"^(\(\?i\))?(\\b|\^|\\A)?(.*?)(\\b|\$|\\Z)?$", r"\1\2(?:\3)\4", pattern)
        for text in texts:
            found = re.search(grouped, text)
            assert Search([parse(pattern)]).found(text) == (found is not None), (text, grouped)
            finder = Finder([pattern_of("x", parse(pattern))])
            told = finder.replaced(text, lambda _, was: f"<{was}>")
            assert told == re.sub(grouped, lambda match: f"<{match[0]}>", text), (text, grouped)

    @pytest.mark.parametrize(
        ("pattern", "width", "states", "tail"),
        [
            ("abc", (3, 3), 3, None),
            ("a|bcd", (1, 3), 4, None),
            ("ab+", (2, None), 2, "b"),
            ("a{2,5}", (2, 5), 5, None),
            ("(ab){2}", (4, 4), 4, None),
            ("a+b", (2, None), 2, None),
            ("a|b+", (1, None), 2, None),
            ("x(?:ab+)", (3, None), 3, "b"),
            ("a+{", (2, None), 2, None),
        ],
    )
    def test_its_measures(
        self, pattern: str, width: tuple[int, int | None], states: int, tail: str | None
    ) -> None:
        node = parse(pattern).node
        assert (width_of(node), states_in(node), tail_of(node)) == (width, states, tail)


class TestRefused:
    @pytest.mark.parametrize(
        ("pattern", "why"),
        [
            ("(a", "not closed"),
            ("a)", "closes nothing"),
            ("[a", "not closed"),
            ("[z-a]", "no class"),
            ("[a--b]", "sign twice"),
            ("*a", "repeats nothing"),
            ("a**", "repeats a repetition"),
            ("a+{2}", "repeats a repetition"),
            ("a{3,2}", "at least more"),
            ("(?=a)", "lookarounds"),
            ("(?P<n>a)", "lookarounds"),
            (r"(a)\1", "back references"),
            (r"a\q", "not known"),
            ("a\\", "not known"),
            (r"a\bc", "ends only"),
            ("a^b", "end only"),
            ("a$b", "end only"),
            ("", "empty text"),
            ("^$", "empty text"),
            ("a{0}", "empty text"),
            ("a||b", "empty text"),
            (".*", "empty text"),
            ("a{513}", f"{STATES_MAX} are the most"),
            ("((a{100}){100}){100}", "are the most"),
            ("(" * 17 + "a" + ")" * 17, "within each other"),
            ("a" * (PATTERN_CHARS_MAX + 1), "at most"),
        ],
    )
    def test_with_the_reason(self, pattern: str, why: str) -> None:
        with pytest.raises(BadPattern, match=why):
            parse(pattern)

    @pytest.mark.parametrize("pattern", [r"\b@a", r"a.\b", r"\b-", r"\b[a-]b"])
    def test_a_words_edge_that_is_none(self, pattern: str) -> None:
        with pytest.raises(BadPattern, match="beside"):
            pattern_of("x", parse(pattern))
