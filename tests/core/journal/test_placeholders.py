"""Placeholders: of the same length, the same for the same, and nothing of the secret."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.gateway_block import Store
from stargate_core.config.schema import KeyCredential
from stargate_core.journal.format import Entry
from stargate_core.journal.placeholders import Placeholders
from stargate_core.messages import ClientEnded, ClientSent, UpstreamSent
from stargate_core.secret import Secret

KEY: Final = "sk-team-a-0123456789abcdef"


def placed(secret: str) -> str:
    """What stands for it in a journal of its own."""
    return Placeholders()(Secret(secret))


class TestPlaceholder:
    @given(st.text(max_size=60))
    def test_it_has_as_many_bytes(self, text: str) -> None:
        assert len(placed(text)) == len(text.encode("utf-8", "surrogatepass"))

    @given(st.lists(st.text(alphabet="abcdef", min_size=4, max_size=40), unique=True, max_size=30))
    def test_others_have_others(self, texts: list[str]) -> None:
        secret = Placeholders()
        made = [secret(Secret(text)) for text in texts]
        assert len(set(made)) == len(made)
        assert [secret(Secret(text)) for text in texts] == made

    @given(st.text(min_size=5, max_size=60), st.text(min_size=5, max_size=60))
    def test_it_tells_nothing_but_the_length(self, one: str, other: str) -> None:
        same_length = len(one.encode()) == len(other.encode())
        assert (placed(one) == placed(other)) == same_length

    def test_it_says_what_it_is(self) -> None:
        assert placed(KEY) == "placeholder1xxxxxxxxxxxxxx"

    @given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=99))
    def test_it_can_be_a_key(self, text: str) -> None:
        assert KeyCredential(key=Secret(placed(text))).key is not None


class TestUrls:
    @pytest.mark.parametrize(
        "url",
        [
            "redis://:pa55word@db.internal:6379/0",
            "rediss://user:pa55word@db.internal/3?protocol=2&timeout_ms=70",
            "redis://db.internal?ca=/secret/pa55word.pem",
            "redis+cluster://user:pa55word@one:1,two:2?tls=true&names=false",
            "redis+sentinel://one:1,two:2/service/0?sentinel_username=me&sentinel_password=pa55word",
        ],
    )
    def test_a_stores_keeps_its_form_and_loses_its_passwords(self, url: str) -> None:
        made = placed(url)
        assert "pa55word" not in made
        assert len(made) == len(url)
        before, after = Store(Secret(url)), Store(Secret(made))
        assert (before.kind, before.is_shared) == (after.kind, after.is_shared)
        if before.server is not None and after.server is not None:
            assert (before.server.host, before.server.tls) == (after.server.host, after.server.tls)

    def test_memory_is_no_secret(self) -> None:
        assert placed("memory:") == "memory:"


def through(pieces: list[bytes], *secrets: str) -> bytes:
    """What callers have sent, when these secrets have been met."""
    secret = Placeholders()
    for text in secrets:
        secret(Secret(text))
    entries = [Entry(at, ClientSent(piece)) for at, piece in enumerate(pieces)]
    there = secret.in_bytes(entries)
    assert [len(one.event.data) for one in there if isinstance(one.event, ClientSent)] == list(
        map(len, pieces)
    )
    return b"".join(one.event.data for one in there if isinstance(one.event, ClientSent))


class TestInBytes:
    @pytest.mark.parametrize(
        "line",
        [
            b"authorization: Bearer %b\r\n",
            b"x-api-key: %b\r\n",
            b"x-api-key:%b\r\n",
            b'{"key":"%b"}',
            b"?key=%b&",
        ],
    )
    def test_a_key_that_was_shown_is_the_configurations_placeholder(self, line: bytes) -> None:
        said = through([line % KEY.encode()], KEY)
        assert said == line % placed(KEY).encode()

    def test_a_short_one_only_where_it_is_a_word(self) -> None:
        said = through([b'x-api-key: abc\r\nx-other:abc\r\n\r\n{"abc": "abcdef"}'], "abc")
        assert said == b'x-api-key: xx1\r\nx-other:xx1\r\n\r\n{"abc": "abcdef"}'

    @given(st.integers(0, 60), st.integers(0, 60))
    def test_it_may_come_in_pieces(self, one: int, other: int) -> None:
        data = b"x-api-key: %b\r\ncontent-length: 0\r\n\r\n" % KEY.encode()
        first, second = sorted((one, other))
        pieces = [data[:first], data[first:second], data[second:]]
        assert through(pieces, KEY) == data.replace(KEY.encode(), placed(KEY).encode())

    def test_what_was_not_met_stays(self) -> None:
        assert (
            through([b"x-api-key: other-key-altogether\r\n"], KEY) == b"x-api-key: other-key-altogether\r\n"
        )

    def test_the_empty_secret_replaces_nothing(self) -> None:
        assert through([b"a  b"], "") == b"a  b"

    def test_other_events_stay_where_they_are(self) -> None:
        secret = Placeholders()
        secret(Secret(KEY))
        upstream = UpstreamSent(1, KEY.encode())
        entries = [Entry(1, ClientSent(KEY.encode())), Entry(2, upstream), Entry(3, ClientEnded())]
        there = secret.in_bytes(entries)
        assert [one.event for one in there] == [
            ClientSent(placed(KEY).encode()),
            upstream,
            ClientEnded(),
        ]


class TestShown:
    def test_what_a_caller_has_shown_is_numbered_on(self) -> None:
        made = Placeholders()
        assert made(Secret(KEY)) == "placeholder1".ljust(len(KEY), "x")
        assert made.shown("another-key-0123") == "placeholder2xxxx"
        assert made.shown(KEY) == made(Secret(KEY))
        assert made.shown("placeholder2xxxx") == "placeholder2xxxx", "it is one already"
        assert made.shown("") == ""

    @given(st.binary(max_size=40))
    def test_it_has_as_many_bytes(self, data: bytes) -> None:
        assert len(Placeholders().shown(data.decode("latin-1"))) == len(data)

    def test_a_secret_is_the_same_whoever_reads_it(self) -> None:
        made = Placeholders()
        placed = made(Secret("clé-0123456789"))
        assert made.shown("clé-0123456789".encode().decode("latin-1")) == placed

    @pytest.mark.parametrize(
        "told",
        [
            "{}",
            "It is {}.",
            "({}),",
            "https://ann:{}@host/x?key={}&b",
            'key="{}"',
            "**{}**!",
        ],
    )
    def test_it_is_found_in_what_was_said(self, told: str) -> None:
        made = Placeholders()
        placed = made(Secret("sk-0123+/abcdef=="))
        assert made.in_text(told.replace("{}", "sk-0123+/abcdef==")) == told.replace("{}", placed)
        assert made.in_text("sk-0123+/abcdef, sk-0123") == "sk-0123+/abcdef, sk-0123"

    def test_what_stands_for_it_there_has_its_characters_and_bytes(self) -> None:
        made = Placeholders()
        made(Secret("clé-中文-😀-0123"))
        there = made.in_text("it is clé-中文-😀-0123.")
        assert list(map(len, map(str.encode, there))) == list(
            map(len, map(str.encode, "it is clé-中文-😀-0123."))
        )
        assert not set("é中文😀") & set(there)

    def test_a_short_one_is_not_looked_for(self) -> None:
        made = Placeholders()
        made(Secret("a-test"))
        assert made.in_text("a-test") == "a-test"

    def test_what_was_made_elsewhere_counts(self) -> None:
        made = Placeholders()
        made.put("ey.token.1234", "ey.token.xxxx")
        assert made.in_text("Bearer ey.token.1234") == "Bearer ey.token.xxxx"


def test_what_stands_for_secrets_says_which_they_are() -> None:
    """Whoever judges signatures needs the secrets themselves (redact/verdicts.py)."""
    placeholders = Placeholders()
    made = [placeholders(Secret(secret)) for secret in (KEY, "short")]
    assert placeholders.behind == {made[0]: Secret(KEY), made[1]: Secret("short")}


def test_half_a_pair_is_counted_as_three_bytes() -> None:
    """JSON can bring one, by an escape; no UTF-8 has it, and it is written as if."""
    placeholders = Placeholders()
    made = placeholders(Secret("\ud83d and a half"))
    assert len(made) == 3 + len(" and a half")
    assert placeholders.in_place == {b"\xed\xa0\xbd and a half": made.encode()}
