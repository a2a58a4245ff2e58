"""Keys in the store: what is written reads the same, and what can't be read is refused."""

import datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.live_key import BadLiveKey, LiveKey, parse_live_key, write_live_key

UTC: Final = datetime.UTC
GLOBS: Final = st.text("abc*?-.", min_size=1, max_size=8)
KEYS: Final = st.builds(
    LiveKey,
    consumer=st.text(max_size=10),
    id=st.none() | st.text(max_size=10),
    expires_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    disabled=st.booleans(),
    revoked=st.booleans(),
    models=st.none() | st.lists(GLOBS, max_size=3),
)


class TestEntries:
    @given(KEYS)
    def test_what_is_written_reads_the_same(self, key: LiveKey) -> None:
        assert parse_live_key(write_live_key(key)) == key

    def test_only_what_is_said_is_written(self) -> None:
        assert write_live_key(LiveKey(consumer="ann", revoked=True)) == b'{"consumer":"ann","revoked":true}'

    def test_a_member_that_nobody_knows_is_left_alone(self) -> None:
        assert parse_live_key(b'{"consumer":"ann","note":[1]}') == LiveKey(consumer="ann")

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b'"ann"',
            b'{"consumer":1}',
            b'{"consumer":"\xff"}',
            b'{"consumer":"' + b"a" * 257 + b'"}',
            b'{"revoked":"yes"}',
            b'{"revoked":null}',
            b'{"expires_at":"2027-01-01"}',
            b'{"expires_at":"2027-01-01T00:00:00"}',
            b'{"models":"claude"}',
            b'{"models":["a b"]}',
            b'{"models":[%s"a"]}' % (b'"a",' * 256),
            b'{"x":' + b"[" * 100_000,
            b'{"x":"' + b"x" * 65_536 + b'"}',
        ],
    )
    def test_what_cannot_be_read_is_refused(self, data: bytes) -> None:
        with pytest.raises(BadLiveKey):
            parse_live_key(data)

    @given(st.binary(max_size=80))
    def test_whatever_stands_there_it_is_read_or_refused(self, data: bytes) -> None:
        try:
            parse_live_key(data)
        except BadLiveKey:
            pass
