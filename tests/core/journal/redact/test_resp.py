"""Replies of a Redis: their framing and what scripts say stay, values go."""

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.journal.redact.resp import redact_replies
from stargate_core.journal.redact.words import Words
from stargate_core.wire.resp import ErrorReply

WORDS = Words(b"salt")


def made(data: bytes) -> bytes:
    after = redact_replies(data, WORDS, lambda value: b"v" * len(value))
    assert len(after) == len(data)
    return after


def test_values_go_and_numbers_stay() -> None:
    assert (
        made(b"*3\r\n:5\r\n$5\r\nab\r\nc\r\n+OK\r\n$-1\r\n") == b"*3\r\n:5\r\n$5\r\nvvvvv\r\n+OK\r\n$-1\r\n"
    )


def test_an_error_keeps_what_programs_tell_it_by() -> None:
    after = made(
        b"-ERR unknown command, with args beginning with: AUTH name password\r\n-NOSCRIPT No script\r\n"
    )
    assert b"password" not in after
    reader = hiredis.Reader(replyError=ErrorReply)
    reader.feed(after)
    codes = [reader.gets().code, reader.gets().code]
    assert codes == ["ERR", "NOSCRIPT"]
    script = made(b"-ERR Error running script: @user_script: 1: -READONLY You can't write.\r\n")
    assert ErrorReply(script[1:-2].decode()).code == "READONLY"


@pytest.mark.parametrize("data", [b"\r\n", b"\r", b"\n", b"\r\r\n", b"+", b"$", b"$\r", b"\x00", b"-"])
def test_what_is_no_reply_or_half_of_one_ends_it(data: bytes) -> None:
    assert made(data) == data


@given(st.binary(max_size=120))
def test_whatever_it_is_it_raises_nothing(data: bytes) -> None:
    made(data)
    made(b"*2\r\n$3\r\nabc\r\n" + data)
