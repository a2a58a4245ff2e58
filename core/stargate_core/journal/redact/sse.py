"""Server-sent events, redacted line by line.

Line ends, fields and blank lines stay where they are: they are what a reader cuts by. Of a field, `data` is
redacted as what it is, and `event` stays where the gateway knows the name. A comment is anybody's words.
"""

import re
from collections.abc import Callable
from typing import Final

from stargate_core.journal.redact.vocabulary import WORDS
from stargate_core.journal.redact.words import Words

_LINE: Final = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
_FIELD: Final = re.compile(r"(\ufeff?(?:data|event|id|retry)(?:: ?|\Z))(.*)", re.DOTALL)
_DONE: Final = "[DONE]"


def redact_events(text: str, words: Words, data: Callable[[str], str]) -> str:
    """A stream, or the beginning of one, aligned. data: redacts what a `data` line holds."""

    def line(found: re.Match[str]) -> str:
        field = _FIELD.fullmatch(found[1])
        if field is None:
            return words.word(found[1]) + found[2]
        name, value = field.groups()
        if "data" in name:
            value = value if value == _DONE else data(value)
        elif "event" not in name or value not in WORDS:
            value = words.word(value)
        return name + value + found[2]

    return _LINE.sub(line, text)
