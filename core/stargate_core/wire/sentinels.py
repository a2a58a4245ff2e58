"""What a decoder answers when it has no event: the two words that all codecs share.

An enum rather than bare objects, so that both type checkers narrow `Event | Literal[NEED_DATA]` with `is`.
"""

import enum
from typing import Final


class Sentinel(enum.Enum):
    """The answers of `next_event()` that are not events."""

    NEED_DATA = "NEED_DATA"
    """No complete event is buffered: receive more."""
    END = "END"
    """The peer ended where it may end: nothing will follow."""


NEED_DATA: Final = Sentinel.NEED_DATA
END: Final = Sentinel.END
