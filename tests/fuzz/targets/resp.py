"""Our reply reader gives the same replies from any bytes however they are cut, or refuses them as broken at
the same reply; what it gives is what hiredis gives alone; and whatever it gives can be read as a value.
"""

from collections.abc import Iterator
from typing import Any, Final

import hiredis

from fuzz.choices import every_byte, pieces
from stargate_core.wire.eventstream import NEED_DATA
from stargate_core.wire.resp import BadReply, ErrorReply, Push, ReplyReader

WORDS: Final = (
    *(
        b"\r\n",
        b"+OK\r\n",
        b"-ERR x\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"$3\r\nabc\r\n",
        b"*2\r\n",
        b"%1\r\n",
        b"~1\r\n",
    ),
    *(
        b">2\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",inf\r\n",
        b",1.5\r\n",
        b"(123\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"*-1\r\n",
        b"|1\r\n",
    ),
)


def target(data: bytes) -> None:
    """Read the bytes as replies, in every way."""
    replies = read([data])
    for cut in (pieces(data), every_byte(data)):
        assert read(cut) == replies, "the cut matters"
    assert _hiredis(data) == replies


def read(cut: list[bytes]) -> list[Any]:
    """All replies, made comparable; the last may be an objection."""
    reader = ReplyReader(1 << 20)
    replies: list[Any] = []
    try:
        for piece in cut:
            reader.receive_data(piece)
            while (reply := reader.next_reply()) is not NEED_DATA:
                replies.append(comparable(reply))
    except BadReply as error:
        assert str(error).isascii()
        replies.append(BadReply)
    return replies


def comparable(reply: Any) -> Any:
    """A reply by its types and values: 1 is not True, and no NaN differs from itself."""
    match reply:
        case ErrorReply() | hiredis.ReplyError():
            if isinstance(reply, ErrorReply):
                assert reply.code.isascii()
            return "error", str(reply)
        case Push():
            return "push", [comparable(one) for one in reply]
        case list():
            return [comparable(one) for one in reply]
        case dict():
            return [(comparable(key), comparable(value)) for key, value in reply.items()]
        case _:
            return type(reply), repr(reply)


def _hiredis(data: bytes) -> list[Any]:
    reader = hiredis.Reader(notEnoughData=NEED_DATA)
    reader.feed(data)
    replies: list[Any] = []
    try:
        while (reply := reader.gets()) is not NEED_DATA:
            replies.append(comparable(reply))
    except (hiredis.ProtocolError, TypeError, MemoryError):
        replies.append(BadReply)
    return replies


def seeds() -> Iterator[bytes]:
    """Each kind of reply once, and some that belong together."""
    yield from WORDS
    yield b"*3\r\n:1\r\n$1\r\nx\r\n-OOM no\r\n"
    yield b"%2\r\n+server\r\n+redis\r\n+modules\r\n*0\r\n"
    yield b">3\r\n+message\r\n+a\r\n+b\r\n+OK\r\n"
    yield b"-ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -OOM not now\r\n"
