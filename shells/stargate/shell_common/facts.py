"""What waits in a gateway's queue beside the facts for sessions and the pool, and what is said of a bug."""

import traceback
from typing import Final, TypeAlias

import msgspec

from stargate_core.messages import AnswerBegan, AnswerEnded, AnswerFailed, AnswerSent, CacheEvent

SharedFact: TypeAlias = AnswerBegan | AnswerSent | AnswerEnded | AnswerFailed
"""Something about a shared answer."""
LAST: Final = (AnswerEnded, AnswerFailed)
"""Those after which no more comes."""


class CacheFact(msgspec.Struct, frozen=True, gc=False):
    """A fact for the cache."""

    event: CacheEvent


def bug(error: Exception) -> str:
    """What a bug of ours was, and where: no text of the exception's own, which may hold what a peer sent."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"bug: {type(error).__name__} at {place.filename}:{place.lineno}"
