"""Finding: leftmost and longest, the same for any cut, and no more held back than must be."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.patterns.finder import CHARS_MAX, Finder, Pattern, joined, pattern_of
from stargate_core.patterns.named import named
from stargate_core.patterns.syntax import parse, width_of
from support.patterns import PATTERNS

ALL = Finder([one for each in named().values() for one in each])
CUSTOM = Finder(
    [
        pattern_of("id", parse(r"\bE-[0-9]{4,6}\b")),
        pattern_of("tag", parse("(?i)<tag>[a-z]+")),
        pattern_of("first", parse("^first")),
        pattern_of("last", parse("last$")),
        Pattern("checked", parse("[0-9]+!"), check=lambda text: text[0] == "7"),
    ],
    40,
)
PIECES = st.lists(
    st.one_of(
        st.sampled_from([
            "ann@example.com", "+49 30 1234567", "4111 1111 1111 1111", "DE89370400440532013000", "10.0.0.1",
            "123-45-6789", "AKIAIOSFODNN7EXAMPLE", "eyJhbGciOiJub25lIn0.eyJhIjoxfQ." + "aB1" * 200,
            "E-1234", "E-12345678", "<Tag>abc", "first", "last", "77!", "12!", "2001:db8::1",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        ]),
        st.text(alphabet="ab .@-+1/:\n", max_size=6),
    ),
    max_size=6,
).map("".join)  # fmt: skip


def put(pattern: Pattern, text: str) -> str:
    """What stands for a match, of which a stream knows the beginning."""
    return f"<{pattern.name}:{text[:40]}>"


def fed(finder: Finder, text: str, cuts: list[int]) -> str:
    """The text in pieces, and what is made of them."""
    cursor, told, at = finder.cursor(), [], 0
    for cut in [*sorted(cuts), len(text)]:
        told.append(joined(cursor.feed(text[at:cut], put)))
        at = max(at, cut)
        assert cursor.held <= finder.chars_max + 1
    return "".join(told) + joined(cursor.feed("", put, final=True))


class TestCuts:
    @pytest.mark.parametrize("finder", [ALL, CUSTOM], ids=["named", "custom"])
    @given(text=PIECES, cuts=st.lists(st.integers(0, 900), max_size=12))
    def test_no_cut_changes_anything(self, finder: Finder, text: str, cuts: list[int]) -> None:
        expected = finder.replaced(text, put)
        assert fed(finder, text, cuts) == expected
        assert fed(finder, text, list(range(len(text)))) == expected

    @given(text=PIECES)
    def test_what_has_no_match_is_itself(self, text: str) -> None:
        def keep(pattern: Pattern, was: str) -> None:
            """Leave it."""

        assert ALL.replaced(text, keep) == text

    @given(pattern=PATTERNS.filter(lambda pattern: 0 < len(pattern) < 80), text=st.text("ab1 ", max_size=14))
    def test_a_match_is_the_leftmost_and_longest_of_res(self, pattern: str, text: str) -> None:
        parsed = parse("b" + pattern)
        oracle, at, expected = re.compile("b" + pattern, re.DOTALL), 0, ""
        while at < len(text):
            ends = [end for end in range(len(text), at, -1) if oracle.fullmatch(text, at, end)]
            expected += f"<{text[at : ends[0]]}>" if ends else text[at]
            at = ends[0] if ends else at + 1
        assert width_of(parsed.node)[0] > 0
        finder = Finder([pattern_of("x", parsed)])
        assert finder.replaced(text, lambda _, was: f"<{was}>") == expected


class TestHolding:
    @pytest.mark.parametrize(
        ("text", "held"),
        [
            ("Nothing to see here. ", 0),
            ("A word", 4),
            ("call +49 30 12", 9),
            ("(so", 2),
            ("it is 4111 11", 7),
            ("ann@example.com", 15),
            ("ann@example.com ", 0),
            ("漢字", 2),
            ("漢字。", 0),
        ],
    )
    def test_only_what_may_be_a_beginning(self, text: str, held: int) -> None:
        cursor = ALL.cursor()
        cursor.feed(text, put)
        assert cursor.held == held

    def test_never_more_than_the_bound(self) -> None:
        cursor = ALL.cursor()
        for _ in range(1000):
            cursor.feed("a" * 7, put)
            assert cursor.held <= CHARS_MAX + 1

    def test_what_comes_behind_the_longest_match_is_waited_for(self) -> None:
        cursor = Finder([*named()["us_ssn"]]).cursor()
        assert cursor.feed("123-45-6789", put) == []
        assert cursor.held == 11
        assert joined(cursor.feed("0", put, final=True)) == "123-45-67890"

    def test_a_bounded_pattern_holds_less(self) -> None:
        assert Finder([*named()["us_ssn"]]).chars_max == 11
        assert Finder([*named()["email"]], 64).chars_max == 64


class TestTails:
    TOKEN = "eyJhbGciOiJub25lIn0.eyJhIjoxfQ." + "aB-" * 500

    def test_of_a_long_token_nothing_is_left(self) -> None:
        assert fed(ALL, f"see {self.TOKEN} it", list(range(0, 1600, 7))) == f"see <jwt:{self.TOKEN[:40]}> it"
        assert ALL.replaced(f"see {self.TOKEN}", put) == f"see <jwt:{self.TOKEN[:40]}>"

    def test_a_whole_text_tells_it_whole(self) -> None:
        found: list[str] = []

        def note(_: Pattern, was: str) -> str:
            found.append(was)
            return ""

        ALL.replaced(f"see {self.TOKEN} it", note)
        assert found == [self.TOKEN]

    def test_of_one_that_stays_all_stays(self) -> None:
        cursor = ALL.cursor()
        told = [
            joined(cursor.feed(piece, lambda _, __: None)) for piece in (self.TOKEN[:700], self.TOKEN[700:])
        ]
        told.append(joined(cursor.feed("", lambda _, __: None, final=True)))
        assert "".join(told) == self.TOKEN


class TestOthers:
    def test_the_first_pattern_that_is_found(self) -> None:
        assert ALL.finds("to ann@example.com or 10.0.0.1") == "email"
        assert ALL.finds("nothing") is None

    def test_beside_a_part_of_a_word_is_none_where_one_is_strict(self) -> None:
        for text, changed in [
            ("4111111111111111", True),
            ("4111111111111111.5", False),
            ("-4111111111111111", False),
        ]:
            told = joined(ALL.cursor(strict=True).feed(text, put, final=True))
            assert (told != text) == changed

    def test_what_is_kept_of_beginnings_is_bounded(self) -> None:
        finder = Finder([pattern_of("x", parse("xy"))])
        text = "".join(chr(0x4E00 + at) + "x" for at in range(5000))
        assert finder.replaced(text + "xy", put) == text + "<x:xy>"
