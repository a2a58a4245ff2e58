"""Replies of a Redis, redacted where they stand.

What a script or a server answers (numbers, states, short plain words) stays: no caller has said it. Values
are redacted as what they are. Of an error the words stay that programs tell errors apart by, for the rest may
quote a whole command.
"""

import re
from collections.abc import Callable
from typing import Final

from stargate_core.journal.redact.words import Words

_HEADER: Final = re.compile(
    rb"([+\-:,#(_*%~>|])([^\r\n]*)(\r\n)|([$=!])(\d{1,10})(\r\n)|\$-1\r\n|[^\r\n]*(?:\r\n|[\r\n]|\Z)"
)
_NOTHING: Final = b"$-1\r\n"
_TELLING: Final = re.compile(r"@user_script: ?\d+: -[A-Z]+\b|\b[A-Z]{2,}\b|[^\w@]+|@|\w+", re.ASCII)
_CODE: Final = re.compile(r"@user_script.*|[A-Z]{2,}|[^\w]+", re.ASCII)


def redact_replies(data: bytes, words: Words, value: Callable[[bytes], bytes]) -> bytes:
    """All that a server has sent. value: redacts a stored value; it keeps its length."""
    made: list[bytes] = []
    at = 0
    while at < len(data):
        found = _HEADER.match(data, at)
        assert found is not None, "its last form matches any byte"
        at = found.end()
        if found[4] is not None:
            end = min(at + int(found[5]), len(data))
            inner = data[at:end]
            made += [found[0], _error(inner, words) if found[4] == b"!" else value(inner)]
            at = end
        elif found[1] == b"-":
            made.append(b"-" + _error(found[2], words) + found[3])
        elif found[1] is not None:
            made.append(found[0])
        else:
            made.append(found[0] if found[0] == _NOTHING else _like(found[0], words))
    return b"".join(made)


def _error(text: bytes, words: Words) -> bytes:
    told = text.decode("latin-1")
    return "".join(
        part if _CODE.fullmatch(part) else words.word(part) for part in _TELLING.findall(told)
    ).encode("latin-1", "replace")


def _like(data: bytes, words: Words) -> bytes:
    return words.word(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
