"""RESP, the protocol of Redis: commands to bytes, and bytes to replies, in both of its versions.

hiredis does the work; what stands here is what it leaves open.

- A reply is one of a few Python values (`Reply`). RESP2 and RESP3 spell the same things differently: three
  ways of saying nothing are all None, a set is a list, a verbatim string is its text.
- An error is a value (`ErrorReply`), as it is part of a pipeline's answers like any other reply. Its `code`
  is what programs tell errors apart by. Its text may quote the command, arguments and all: Redis 5 answers
  `HELLO 3 AUTH name password` with "unknown command, with args beginning with: …". So only the code is
  meant for people's eyes.
- What the server says unasked (`Push`) is told from answers.
- A reply that breaks the protocol, or grows beyond a bound, raises `BadReply`; nothing can be read after
  that, for where the next reply begins is unknown.

The bound is on what an unfinished reply has brought so far, so one of up to `reply_bytes_max` is read however
it is cut, and what is held is never more than that and one piece of input. Redis' own bound on one string is
512 MB (`proto-max-bulk-len`). Of an array hiredis sets aside the room as soon as it is announced, eight bytes
an element: an announcement that is out of all proportion fails for want of memory, as a `BadReply` too.

An error inside of a Lua script comes with its own code since Redis 7; before, it is quoted in the text of an
`ERR` ("… @user_script: 1: -READONLY You can't write …"), and is looked for there.

Sources: https://redis.io/docs/latest/develop/reference/protocol-spec/, hiredis-py's src/reader.c; for errors
of scripts scripting.c of Redis 6.2 and script_lua.c of Redis 7.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias, cast

import hiredis

from stargate_core.wire.eventstream import NEED_DATA

REPLY_BYTES_MAX: Final = 64 << 20
"""Room for a hundred thousand gateway keys in one reply, or for the largest answer a cache may keep."""

# hiredis' own stubs give it no type of result.
_pack: Final = cast("Callable[[tuple[bytes | str | int, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]
_IN_SCRIPT: Final = re.compile(r"@user_script: ?\d+: -([A-Z]+)\b")


class BadReply(Exception):
    """What came is no reply, or too large a one. The text quotes nothing of it."""


class ErrorReply(Exception):
    """An error, as a value: it is not raised here."""

    @property
    def code(self) -> str:
        """NOSCRIPT, READONLY, WRONGTYPE …: what programs tell errors apart by; ERR if it has none."""
        text = str(self)
        first = text.partition(" ")[0]
        if first == "ERR":
            quoted = _IN_SCRIPT.search(text)
            return quoted[1] if quoted else first
        return first if first.isascii() and first.isalpha() and first.isupper() else "ERR"


Push: TypeAlias = hiredis.PushNotification
"""What nobody has asked for: a list, its first element says what it is."""

Reply: TypeAlias = object
"""None, bool, int, float, bytes (also a number too large for 64 bits), ErrorReply, Push, or a list or a dict
of these. Whoever asked knows what it should be, and looks whether it is.
"""


def command(*words: bytes | str | int) -> bytes:
    """A command's bytes, of its name and its arguments."""
    return packed(words)


def packed(words: Sequence[bytes | str | int]) -> bytes:
    """The same of a sequence."""
    return _pack(tuple(words))


def pipeline(commands: Iterable[Sequence[bytes | str | int]]) -> bytes:
    """Several commands' bytes, to be written at once."""
    return b"".join(map(packed, commands))


class ReplyReader:
    """Reads the replies of one connection."""

    __slots__ = ("_held", "_max", "_reader")

    def __init__(self, reply_bytes_max: int = REPLY_BYTES_MAX) -> None:
        # False is a reply of RESP3, and hiredis' own word for "there is none yet".
        self._reader = hiredis.Reader(replyError=ErrorReply, protocolError=BadReply, notEnoughData=NEED_DATA)
        self._max = reply_bytes_max
        self._held = 0
        """What an unfinished reply has brought so far, but for its first piece."""

    def receive_data(self, data: bytes) -> None:
        """Take in what came."""
        self._held += len(data)
        self._reader.feed(data)

    def next_reply(self) -> Reply:
        """The next reply, NEED_DATA if it has not come whole. Raises BadReply."""
        try:
            reply: Reply = self._reader.gets()
        except (TypeError, MemoryError) as error:
            # A list as the key of a map; an array of more elements than there is memory.
            raise BadReply("the reply has a shape that nobody can hold") from error
        except BadReply as error:
            raise BadReply("the reply breaks the protocol") from error
        if reply is not NEED_DATA:
            self._held = 0
        elif self._held > self._max:
            raise BadReply(f"the reply is larger than {self._max} bytes")
        return reply
