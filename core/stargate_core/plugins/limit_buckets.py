"""Which buckets a request is counted in: the limits of one rate-limiter, compiled.

A limit and a scope make a bucket. The scope is one value for each dimension of the limit's `by`: this
consumer, that model. As there are few scopes and many requests, the buckets of a scope are made once and
kept; what is kept is a pure function of the scope, is bounded, and is forgotten all at once when it is full,
so callers who make names up cost some work and no memory.

A bucket's key in the store:

    limit:{TAG}:ENTRY:UNIT:WINDOW:SCOPE

TAG, in braces, is what a Redis cluster places keys by: the consumer where there is one, so that all buckets
of a consumer are in one place and can be taken from in one step; else the whole scope. ENTRY is where the
plugin stands, so that the same limit at two routes is two limits; UNIT and WINDOW name the limit, with the
algorithm's first letter, for each keeps its counts in a form of its own. Not in the key is the limit itself:
what was counted goes on counting when somebody raises it.

Callers choose parts of keys (a model's name, above all), so no value may look like two, or like somebody
else's. A value of plain characters stands as it is, after its kind and `=`; any other, and any long one,
stands as its hash, after `#`. None has a comma or a brace, and ENTRY, which has text behind it, no colon.

A scope's limits stand in a fixed order, requests first: so those of a request that takes nothing else (a list
of models, a body nobody can read) are the first ones of the same row.
"""

import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from stargate_core.config.rate_limiter import Limit, RateLimiter, dimensions
from stargate_core.limits.buckets import MONTH_US, Algorithm, Bucket, Claim
from stargate_core.plugins.limit_rows import Limited, Row
from stargate_core.prices import NANO_USD

SECOND_US: Final = 1_000_000

_SCOPES_MAX: Final = 2048
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.@/:-]{1,80}")
_PLAIN_ENTRY: Final = re.compile(r"[A-Za-z0-9_.@/-]{1,40}")
_HASH_CHARS: Final = 32
"""128 bits: nobody finds another text with the same."""

Scope = tuple[str | None, str, str, str, str]
"""Consumer, key, model, route, address; '' where no limit asks for it."""
Place = tuple[str | None, str | None, str | None]
"""Service, route, consumer."""

_WINDOW_WORDS: Final[Mapping[int, str]] = MappingProxyType(
    {1: "a second", 60: "a minute", 3600: "an hour", 86_400: "a day"}
)
_UNIT_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "requests": "requests",
        "concurrency": "requests at a time",
        "tokens": "tokens",
        "input_tokens": "input tokens",
        "output_tokens": "output tokens",
        "bedrock_tokens": "Bedrock quota tokens",
        "usd": "US dollars",
    }
)


class Limits:
    """The limits of one rate-limiter, and their buckets."""

    __slots__ = ("_entry", "_rows", "all", "of_address", "of_key", "of_model", "of_route", "requests")

    def __init__(self, config: RateLimiter, place: Place = (None, None, None), share: int = 1) -> None:
        self.all = tuple(_compiled(limit, share) for limit in config.every)
        self.requests = sum(limited.unit == "requests" for limited in self.all)
        """So many of them, the first ones, count requests and nothing else."""
        wanted = [dimension for limited in self.all for dimension in limited.by]
        self.of_key = "key" in wanted
        self.of_model = "model" in wanted
        self.of_route = "route" in wanted
        self.of_address = "address" in wanted
        self._entry = _entry(place)
        self._rows: dict[Scope, tuple[Row, ...]] = {}

    def rows(self, scope: Scope) -> tuple[Row, ...]:
        """Each limit's bucket for this scope, in the limits' order."""
        rows = self._rows.get(scope)
        if rows is None:
            if len(self._rows) >= _SCOPES_MAX:
                self._rows.clear()
            rows = self._rows[scope] = tuple(self._row(limited, scope) for limited in self.all)
        return rows

    def _row(self, limited: Limited, scope: Scope) -> Row:
        bucket = Bucket(
            self._key(limited, scope), limited.algorithm, limited.amount, limited.window_us, limited.burst
        )
        return Row(limited, bucket, Claim(bucket, 1) if limited.unit in ("requests", "concurrency") else None)

    def _key(self, limited: Limited, scope: Scope) -> str:
        consumer, key, model, route, address = scope
        parts: list[str] = []
        tag = ""
        for dimension in limited.by:
            match dimension:
                case "consumer" | "key":
                    tag = _part("a", address) if consumer is None else _part("c", consumer)
                    if consumer is None:
                        # Or it would be the bucket of a limit by address.
                        parts.append(dimension[0])
                    elif dimension == "key":
                        parts.append(_part("k", key))
                case "model":
                    parts.append(_part("m", model))
                case "route":
                    parts.append(_part("r", route))
                case _:
                    parts.append(_part("a", address))
        rest = ",".join(parts) or "*"
        how = limited.algorithm.value[0]
        window = f"{limited.window_us // SECOND_US or 'month'}{how}" if limited.window else how
        return f"limit:{{{tag or rest}}}:{self._entry}:{limited.unit}:{window}:{rest}"


def _compiled(limit: Limit, share: int) -> Limited:
    unit = limit.unit
    scale = NANO_USD if unit == "usd" else 1
    amount = max(1, round(limit.limit * scale) // share)
    by = dimensions(limit.by)
    whose = f" for this {' and '.join(by)}" if by else " for all callers together"
    much = f"{limit.limit:.6f}".rstrip("0").rstrip(".") if unit == "usd" else str(int(limit.limit))
    words = f"{much} {_UNIT_WORDS[unit]}"
    if unit == "concurrency":
        return Limited(unit, by, Algorithm.CONCURRENT, MONTH_US, "", amount, 0, words + whose)
    if limit.window == "month":
        words += " a month"
    else:
        words += f" {_WINDOW_WORDS.get(limit.seconds) or f'in {limit.seconds} seconds'}"
    algorithm = Algorithm(limit.algorithm)
    burst = 0
    if algorithm is Algorithm.GCRA:
        burst = amount if limit.burst is None else max(1, round(limit.burst * scale) // share)
    window_us = MONTH_US if limit.window == "month" else limit.seconds * SECOND_US
    return Limited(unit, by, algorithm, window_us, _window_name(limit), amount, burst, words + whose)


def _window_name(limit: Limit) -> str:
    """As Kong's headers name it, where it has a name there."""
    if isinstance(limit.window, str):
        return limit.window
    names = {1: "second", 60: "minute", 3600: "hour", 86_400: "day"}
    return names.get(limit.seconds, str(limit.seconds))


def _entry(place: Place) -> str:
    """Where the plugin stands, in a key."""
    named = zip("src", place, strict=True)
    return ",".join(_part(kind, name, _PLAIN_ENTRY) for kind, name in named if name is not None) or "*"


def _part(kind: str, value: str, plain: re.Pattern[str] = _PLAIN) -> str:
    if plain.fullmatch(value) is not None:
        return f"{kind}={value}"
    return f"{kind}#{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()[:_HASH_CHARS]}"
