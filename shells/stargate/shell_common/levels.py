"""Levels: how full the limits' buckets were when a store was last asked of them.

Nobody asks for this: it is read off the verdicts that requests get anyway, so it costs no question, and a
bucket that nobody has taken from since then is told as it stood then. What a request gives back at its end is
not seen until the next one asks.

Only so many buckets are remembered, those asked of last. A bucket's key is made by the core
(plugins/limit_buckets.py), and has the limit's unit, its window and whose it is in it:

    limit:{TAG}:ENTRY:UNIT:WINDOW:SCOPE
"""

import re
import time
from collections.abc import Callable
from typing import Final

import msgspec

from stargate_core.limits.buckets import Algorithm, Bucket, Verdict
from stargate_core.questions import StoreAnswer, Take

LEVELS_MAX: Final = 256
_ASKED_MAX: Final = 16_384
"""Questions that wait for their verdict."""
_KEY: Final = re.compile(
    r"limit:\{(?P<tag>.*?)\}:[^:]*:(?P<unit>[^:]*):(?P<window>[^:]*):(?P<rest>.*)", re.DOTALL
)
_KINDS: Final = {"c": "", "k": "key ", "m": "model ", "r": "route ", "a": "address "}
_WINDOWS: Final = {"1": "second", "60": "minute", "3600": "hour", "86400": "day", "month": "month"}
_NANO: Final = 1e9
_MONTH_SECONDS: Final = 30 * 86_400
"""Of a window that has no length; for whoever draws it."""


class Seen(msgspec.Struct, frozen=True):
    """How full a bucket was. `used` and `limit` in its unit: requests, tokens, dollars, calls at a time."""

    name: str
    """Of the limit: tokens_per_minute."""
    scope: str
    """Whose it is: `team-a, model claude`; `all`: of all callers together."""
    used: float
    limit: float
    window_seconds: int
    """0: of what is held at a time."""
    seen_at: float
    """Seconds since 1970."""


def _nothing(verdict: str) -> None:
    """Nobody counts."""


class Levels:
    """What was seen last. wall_s: wall time, in seconds since 1970."""

    def __init__(self, wall_s: Callable[[], float] = time.time) -> None:
        self.counted: Callable[[str], None] = _nothing
        """Is told of each question's end: allowed, refused, or unanswered."""
        self._wall_s = wall_s
        self._asked: dict[int, Take] = {}
        self._seen: dict[str, tuple[Bucket, int, float]] = {}
        """By the bucket's key: what remained, and when. The ones asked of last come last."""

    def asked(self, number: int, take: Take) -> None:
        """A store is asked this, by the process's number of the question."""
        if len(self._asked) < _ASKED_MAX:
            self._asked[number] = take

    def withdrawn(self, number: int) -> None:
        """The answer is not wanted any more."""
        self._asked.pop(number, None)

    def answered(self, number: int, answer: StoreAnswer) -> None:
        """A store's answer; None: there is none. Of other questions than `asked` nothing is kept."""
        take = self._asked.pop(number, None)
        if take is None:
            return
        if not isinstance(answer, Verdict):
            self.counted("unanswered")
            return
        self.counted("allowed" if answer.allowed else "refused")
        now, seen = self._wall_s(), self._seen
        for claim, level in zip(take.claims, answer.levels, strict=False):
            key = claim.bucket.key
            seen.pop(key, None)
            seen[key] = (claim.bucket, level.remaining, now)
        while len(seen) > LEVELS_MAX:
            del seen[next(iter(seen))]

    def all(self) -> list[Seen]:
        """Each bucket of a limit, the ones asked of last behind the others."""
        found = (_seen(*one) for one in self._seen.values())
        return [one for one in found if one is not None]


def _seen(bucket: Bucket, remaining: int, at: float) -> Seen | None:
    """What is known of a bucket, in words; None: it is not a rate limiter's."""
    parts = _KEY.fullmatch(bucket.key)
    if parts is None:
        return None
    unit = parts["unit"]
    concurrent = bucket.algorithm is Algorithm.CONCURRENT
    window = parts["window"][:-1]
    name = unit if concurrent else f"{unit}_per_{_WINDOWS.get(window, f'{window}_seconds')}"
    capacity = bucket.burst or bucket.limit
    scale = _NANO if unit == "usd" else 1
    seconds = 0 if concurrent else bucket.window_us // 1_000_000 or _MONTH_SECONDS
    used = max(0, capacity - remaining) / scale
    return Seen(name, _whose(parts["tag"], parts["rest"]), used, capacity / scale, seconds, at)


def _whose(tag: str, rest: str) -> str:
    """The scope, in words."""
    parts = rest.split(",") if rest != "*" else []
    if tag != rest:
        parts.insert(0, tag)
    named: list[str] = []
    for part in parts:
        kind, mark, value = part[:1], part[1:2], part[2:]
        if mark:  # Else it stands for a caller without a name, whose address is the tag.
            named.append(_KINDS.get(kind, "") + (f"#{value[:8]}" if mark == "#" else value))
    return ", ".join(named) or "all"
