"""Words: as long, of the same form, and not to be found again."""

import base64
import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.journal.redact.words import Words

texts = st.text(st.characters(codec="utf-8"), max_size=60)


@given(texts)
def test_each_character_has_as_many_bytes_and_is_escaped_as_before(text: str) -> None:
    made = Words(b"salt").word(text)
    assert [len(one.encode()) for one in made] == [len(one.encode()) for one in text]
    assert len(msgspec.json.encode(made)) == len(msgspec.json.encode(text))
    assert made.isspace() == text.isspace()
    assert len(repr(made)) == len(repr(text))


@given(st.lists(st.from_regex(r"[a-z]{3}[a-z_]{0,9}", fullmatch=True), unique=True, max_size=30))
def test_equal_texts_stay_equal_and_different_ones_different(texts: list[str]) -> None:
    words = Words(b"salt", frozenset({"abc", "type"}))
    made = [words.word(text) for text in texts]
    assert made == [words.word(text) for text in texts]
    assert len(set(made)) == len(texts)
    assert not {"abc", "type"}.intersection(made)


def test_single_letters_stay_different_too() -> None:
    words = Words(b"salt")
    letters = "abcdefghijklmnopqrstuvwxy"
    assert len({words.word(letter) for letter in letters}) == len(letters)


def test_where_there_are_no_more_others_two_become_one() -> None:
    words = Words(b"salt", frozenset("0123456789"))
    assert words.word("5").isdigit()


def test_another_salt_gives_others() -> None:
    text = "a text that is long enough"
    assert Words(b"salt").word(text) != Words(b"another").word(text)


def test_forms_stay() -> None:
    words = Words(b"salt")
    for text, begins, ends in (
        ("https://example.test/a/report.pdf?x=y", "https://", ""),
        ("data:image/png;base64,aGVsbG8h", "data:image/png;base64,", ""),
        ("toolu_bdrk_01AbC", "toolu_bdrk_", ""),
        ("AKIAEXAMPLE", "AKIA", ""),
        ("My report.PDF", "", ".PDF"),
        ("resp_" + "0a" * 16, "resp_" + "0a" * 16, ""),
    ):
        made = words.word(text)
        assert made.startswith(begins)
        assert made.endswith(ends)
        assert len(made) == len(text)
    assert ".pdf?" in words.word("https://example.test/a/report.pdf?x=y")
    digits = words.word("0123456789abcdef0123456789abcdef")
    assert int(digits, 16) >= 0


def test_what_cannot_be_seen_spells_nothing() -> None:
    hidden = "".join(chr(0xE0000 + ord(letter)) for letter in "hidden")
    assert len(set(Words(b"salt").word(hidden))) == 1


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_base64_of_text_stays_base64_of_text(text: str) -> None:
    given_text = base64.b64encode(text.encode()).decode()
    made = Words(b"salt").base64(given_text)
    assert len(made) == len(given_text)
    assert len(base64.b64decode(made, validate=True).decode()) == len(text)


@given(st.binary(min_size=1, max_size=40))
def test_base64_of_bytes_stays_base64_of_as_many_bytes(data: bytes) -> None:
    whole = b"\xff" + data
    made = Words(b"salt").base64(base64.b64encode(whole).decode())
    assert len(base64.b64decode(made, validate=True)) == len(whole)


def test_a_files_first_bytes_stay() -> None:
    for magic in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\x00\x00\x00\x00WEBP", b"%PDF-"):
        data = magic + bytes(range(256))
        made = base64.b64decode(Words(b"salt").base64(base64.b64encode(data).decode()))
        assert made.startswith(magic)
        assert len(made) == len(data)
        assert made[-200:] != data[-200:]


def test_what_is_no_base64_is_a_word() -> None:
    words = Words(b"salt")
    for text in ("no base64", "abc", "ab=c", "====", "YWJjZGVmZw=="[:-1]):
        assert words.base64(text) == words.word(text)


@given(
    st.one_of(
        st.integers(-(10**25), 10**25).map(str), st.floats(allow_nan=False, allow_infinity=False).map(repr)
    )
)
def test_numbers_have_as_many_digits_and_are_read_as_the_same_kind(text: str) -> None:
    made = Words(b"salt").number(text)
    assert len(made) == len(text)
    before, after = msgspec.json.decode(text), msgspec.json.decode(made)
    assert type(before) is type(after)
    assert (before == 0) is (after == 0)


def test_blank_leaves_line_ends() -> None:
    assert Words(b"").blank(b"ab\r\n\x00\xffc\n") == b"xx\r\nxxx\n"


class Unlucky(Words):
    """Draws nothing but zeros."""

    def noise(self, text: str, size: int, number: int = 0) -> bytes:
        return bytes(size)


def test_where_chance_gives_only_text_for_bytes_it_is_a_word() -> None:
    """Bytes must not become text, for a text is read on."""
    text = base64.b64encode(b"\xff\xfe\xfd").decode()
    assert Unlucky(b"salt").base64(text) == Unlucky(b"salt").word(text)


def test_what_is_no_unicode_stays_none() -> None:
    """A byte that is no UTF-8, read with surrogateescape, becomes another one; half a pair stays."""
    words = Words(b"salt")
    made = words.word("a\udc80\udcfe\ud83d\ude00")
    assert made[1:] == "\udcff\udcff\ud83d\ude00"


def test_what_is_percent_encoded_stays_so_and_says_something_else() -> None:
    words = Words(b"salt")
    made = words.quoted("a%20secret%C3%A9/")
    assert re.fullmatch(r"[a-z]%6[1-9a-f][a-z]{6}(%6[1-9a-f]){2}/", made)
    assert "secret" not in made
    assert made == words.quoted("a%20secret%C3%A9/")
