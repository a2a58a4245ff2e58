"""What an answer's headers say of the limits, in the words of everybody who reads them.

- Kong's clients read `x-ratelimit-limit-minute` and `x-ratelimit-remaining-minute` for each window of a
  limit on requests, and `ratelimit-limit`, `-remaining` and `-reset` (whole seconds) for the tightest one.
  The plain `x-ratelimit-limit` and `-remaining` are what others have come to look for. Where there is no
  limit on requests, the plain ones tell of tokens, which is better than nothing.
- OpenAI's SDKs read `x-ratelimit-limit-requests`, `-limit-tokens` and so on, with resets as Go writes a
  duration (`1m7.5s`, `12ms`).
- Anthropic's read `anthropic-ratelimit-requests-limit`, `-remaining`, `-reset`, and the same for tokens,
  input-tokens and output-tokens, with resets in RFC 3339.

The *tightest* limit of several is the one with the least left; of those, the one that takes longest. Resets
are rounded up: whoever comes back at the time that was told must not come too early.

Which limit goes where is worked out once; each answer costs a few comparisons and a dozen short byte strings.

Sources: kong/plugins/rate-limiting/handler.lua; OpenAI's guide to rate limits;
https://docs.anthropic.com/en/api/rate-limits; time.Duration.String of Go.
"""

import datetime
import functools
from collections.abc import Iterable, Sequence
from typing import Final

from stargate_core.dialects.face import Headers
from stargate_core.limits.buckets import Level
from stargate_core.plugins.limit_rows import Limited

_SECOND_US: Final = 1_000_000
_MILLISECOND_US: Final = 1000
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

_TOKENS: Final = ("tokens", "bedrock_tokens")
"""What counts as tokens without more words."""
_OPENAI: Final = tuple(
    tuple(b"x-ratelimit-%b-%b" % (which, what) for which in (b"limit", b"remaining", b"reset"))
    for what in (b"requests", b"tokens")
)
_ANTHROPIC: Final = tuple(
    tuple(b"anthropic-ratelimit-%b-%b" % (what, which) for which in (b"limit", b"remaining", b"reset"))
    for what in (b"requests", b"tokens", b"input-tokens", b"output-tokens")
)


class LimitHeaders:
    """The headers for one set of limits."""

    __slots__ = ("_all_tokens", "_input", "_output", "_requests", "_texts", "_tokens", "_windows")

    def __init__(self, limits: Sequence[Limited]) -> None:
        self._texts = tuple(b"%d" % limited.amount for limited in limits)
        self._requests = _indices(limits, ("requests",))
        self._tokens = _indices(limits, _TOKENS)
        self._input = _indices(limits, ("input_tokens",))
        self._output = _indices(limits, ("output_tokens",))
        self._all_tokens = _indices(limits, (*_TOKENS, "input_tokens", "output_tokens"))
        names = dict.fromkeys(limits[index].window for index in self._requests)
        self._windows = tuple(
            (
                b"x-ratelimit-limit-%b" % name.encode(),
                b"x-ratelimit-remaining-%b" % name.encode(),
                tuple(index for index in self._requests if limits[index].window == name),
            )
            for name in names
        )

    def of(self, levels: Sequence[Level], family: str, at_us: int) -> Headers:
        """The headers, lower case.

        levels: of the limits, or of the first ones: at least of those that count requests. family: face.py's
        LIMIT_FAMILY. at_us: wall time of the levels.
        """
        texts = self._texts
        headers: Headers = []
        for limit_name, remaining_name, indices in self._windows:
            index = indices[0] if len(indices) == 1 else _tightest(indices, levels)
            headers.append((limit_name, texts[index]))
            headers.append((remaining_name, b"%d" % levels[index].remaining))
        requests = _tightest(self._requests, levels)
        tokens = _tightest(self._tokens, levels)
        plain = requests if requests >= 0 else _tightest(self._all_tokens, levels)
        if plain >= 0:
            limit, remaining = texts[plain], b"%d" % levels[plain].remaining
            headers += (
                (b"x-ratelimit-limit", limit),
                (b"x-ratelimit-remaining", remaining),
                (b"ratelimit-limit", limit),
                (b"ratelimit-remaining", remaining),
                (b"ratelimit-reset", b"%d" % _ceil(levels[plain].reset_us, _SECOND_US)),
            )
        if family == "openai":
            for names, index in zip(_OPENAI, (requests, tokens), strict=True):
                if index >= 0:
                    level = levels[index]
                    headers += (
                        (names[0], texts[index]),
                        (names[1], b"%d" % level.remaining),
                        (names[2], go_duration(level.reset_us)),
                    )
        elif family == "anthropic":
            found = (requests, tokens, _tightest(self._input, levels), _tightest(self._output, levels))
            for names, index in zip(_ANTHROPIC, found, strict=True):
                if index >= 0:
                    level = levels[index]
                    headers += (
                        (names[0], texts[index]),
                        (names[1], b"%d" % level.remaining),
                        (names[2], rfc3339(_ceil(at_us + level.reset_us, _SECOND_US))),
                    )
        return headers


def go_duration(duration_us: int) -> bytes:
    """As Go's time.Duration prints itself, rounded up to milliseconds: 0s, 12ms, 7.5s, 1m0s, 1h2m0.3s."""
    milliseconds = _ceil(duration_us, _MILLISECOND_US)
    if milliseconds == 0:
        return b"0s"
    if milliseconds < 1000:
        return b"%dms" % milliseconds
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    text = b"%d.%03d" % (seconds, rest)
    text = text.rstrip(b"0").rstrip(b".") if rest else b"%d" % seconds
    if not minutes:
        return text + b"s"
    hours, minutes = divmod(minutes, 60)
    return b"%dh%dm%bs" % (hours, minutes, text) if hours else b"%dm%bs" % (minutes, text)


@functools.lru_cache(maxsize=64)
def rfc3339(wall_seconds: int) -> bytes:
    """Wall time in UTC, to the second. Beyond the year 9999, that year's last second."""
    try:
        moment = _EPOCH + datetime.timedelta(seconds=wall_seconds)
    except OverflowError:
        moment = datetime.datetime.max.replace(tzinfo=datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def _indices(limits: Sequence[Limited], units: Iterable[str]) -> tuple[int, ...]:
    return tuple(index for index, limited in enumerate(limits) if limited.unit in tuple(units))


def _tightest(indices: Sequence[int], levels: Sequence[Level]) -> int:
    """Which of these has the least left; -1 where there is none."""
    best = -1
    for index in indices:
        if index >= len(levels):
            break
        if best >= 0:
            level, other = levels[index], levels[best]
            if level.remaining > other.remaining or (
                level.remaining == other.remaining and level.reset_us <= other.reset_us
            ):
                continue
        best = index
    return best


def _ceil(value: int, unit: int) -> int:
    return -(-value // unit)
