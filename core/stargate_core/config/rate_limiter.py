"""rate-limiter's config: how much of what, in which time, for whom.

The usual limits have fields of their own, named as in Kong: `minute: 600` counts requests,
`tokens_per_minute: 200000` tokens, `usd_per_day: 25` money. What no such name says is written in `limits`,
one by one. A name's unit is part of it, since a limit whose unit must be guessed is read wrongly by half its
readers:

    requests        requests, good and bad
    tokens          input, cached input and output, each once
    input_tokens    input and cached input
    output_tokens   output
    bedrock_tokens  what Bedrock counts against its own quotas: input and what is written to the prompt cache,
                    and output times the model's burn-down rate
    usd             money, by the price list and `gateway.prices`
    concurrency     requests that run at the same time

`by` says what is counted apart: each consumer, or each key, model, route or address, or each mix of several;
of an empty list everybody is counted together. A caller without a consumer, at an open gateway, is counted by
address instead of consumer or key, as Kong does.

`sliding`, the default, never lets more than the limit pass in any stretch of the window's length; `fixed`
counts from one full minute (hour, day) to the next, and lets up to twice the limit pass around a boundary. A
month has no fixed length, so it is always `fixed`. `gcra` drains evenly.

What a store that does not answer means is `on_store_failure`. The default is `local`: each gateway goes on
counting for itself. To let everything pass (Kong's default) leaves the bill without a limit exactly when
nobody looks; to refuse everything makes the store as vital as Bedrock. With N gateways `share: N` keeps them
together within the limit, and less than that where the load is uneven.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from stargate_core.config.gateway_block import ModelGlob, Seconds
from stargate_core.config.problems import Misfit, Path, refuse

DIMENSIONS: Final = ("consumer", "key", "model", "route", "address")
UNITS: Final = (
    "requests",
    "concurrency",
    "tokens",
    "input_tokens",
    "output_tokens",
    "bedrock_tokens",
    "usd",
)
"""In the order in which limits are looked at."""
LIMITS_MAX: Final = 16
"""Each of them costs the store a key for each caller."""

Count: TypeAlias = Annotated[
    int, Meta(ge=1, le=10**15, description="a whole number from 1 to 1000000000000000")
]
Dollars: TypeAlias = Annotated[
    float, Meta(ge=0.000_001, le=1_000_000, description="US dollars from 0.000001 to 1000000")
]
Amount: TypeAlias = Annotated[float, Meta(gt=0, le=10**15, description="a number more than 0")]
Unit: TypeAlias = Literal[
    "requests", "concurrency", "tokens", "input_tokens", "output_tokens", "bedrock_tokens", "usd"
]
Window: TypeAlias = Literal["second", "minute", "hour", "day", "month"]
WindowSeconds: TypeAlias = Annotated[int, Meta(ge=1, le=31_622_400)]
Dimension: TypeAlias = Literal["consumer", "key", "model", "route", "address"]
Algorithm: TypeAlias = Literal["sliding", "fixed", "gcra"]

WINDOW_SECONDS: Final[Mapping[Window, int]] = MappingProxyType(
    {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "month": 0}
)
"""The windows that have a name. A month has no fixed length."""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One limit, written out."""

    unit: Unit = "requests"
    limit: Amount
    """In the unit; a whole number but for money."""
    window: Window | WindowSeconds | None = None
    """A name, or whole seconds. `concurrency` has none."""
    algorithm: Algorithm | None = None
    """None: the plugin's window_type."""
    burst: Amount | None = None
    """With gcra: how much may come at once; None: the limit."""
    by: Dimension | list[Dimension] | None = None
    """None: the plugin's."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        for name in ("limit", "burst"):
            amount: float | None = getattr(self, name)
            if amount is None:
                continue
            if self.unit != "usd" and not float(amount).is_integer():
                yield Misfit(name, f"expected a whole number of {self.unit}", beside=("unit",))
            if self.unit == "usd" and not 0.000_001 <= amount <= 1_000_000:
                yield Misfit(name, "expected US dollars from 0.000001 to 1000000", beside=("unit",))
        if self.unit == "concurrency":
            for name in ("window", "algorithm", "burst"):
                if getattr(self, name) is not None:
                    yield Misfit(name, "expected none: concurrency counts what runs now", beside=("unit",))
        elif self.window is None:
            yield Misfit("window", "expected second, minute, hour, day, month or whole seconds")
        elif self.window == "month" and self.algorithm not in (None, "fixed"):
            yield Misfit("algorithm", "expected fixed: a month has no fixed length", beside=("window",))
        if self.burst is not None and self.unit != "concurrency" and self.algorithm != "gcra":
            yield Misfit("burst", "expected algorithm: gcra beside it", beside=("algorithm",))
        yield from _misfit_by(self.by)

    @property
    def seconds(self) -> int:
        """The window; 0: a month, or none."""
        if isinstance(self.window, int):
            return self.window
        return 0 if self.window is None else WINDOW_SECONDS[self.window]


class RateLimiter(msgspec.Struct, frozen=True, kw_only=True):
    """How much may pass. At least one limit is needed."""

    KONG_UNUSED: ClassVar[Mapping[str, str]] = {
        "fault_tolerant": "use on_store_failure",
        "hide_client_headers": "use headers",
        "sync_rate": "every request asks the store",
        "redis": "use gateway.store",
        "error_code": "a refused call is answered with 429, as SDKs expect",
        "error_message": "the message names the limit",
    }

    second: Count | None = None
    """Requests; so are the next four."""
    minute: Count | None = None
    hour: Count | None = None
    day: Count | None = None
    month: Count | None = None
    tokens_per_minute: Count | None = None
    tokens_per_hour: Count | None = None
    tokens_per_day: Count | None = None
    tokens_per_month: Count | None = None
    input_tokens_per_minute: Count | None = None
    input_tokens_per_hour: Count | None = None
    input_tokens_per_day: Count | None = None
    input_tokens_per_month: Count | None = None
    output_tokens_per_minute: Count | None = None
    output_tokens_per_hour: Count | None = None
    output_tokens_per_day: Count | None = None
    output_tokens_per_month: Count | None = None
    bedrock_tokens_per_minute: Count | None = None
    bedrock_tokens_per_day: Count | None = None
    usd_per_hour: Dollars | None = None
    usd_per_day: Dollars | None = None
    usd_per_month: Dollars | None = None
    concurrency: Count | None = None
    limits: list[Limit] = field(default_factory=list[Limit])
    """Others, written out."""
    by: Dimension | list[Dimension] = "consumer"
    window_type: Literal["sliding", "fixed"] = "sliding"
    policy: Literal["store", "local"] = "store"
    """Where is counted: in gateway.store, or in each gateway for itself."""
    on_store_failure: Literal["allow", "deny", "local"] = "local"
    share: Annotated[int, Meta(ge=1, le=100_000)] = 1
    """With on_store_failure local: how many gateways there are; each then counts up to its part."""
    default_output_tokens: Annotated[int, Meta(ge=0, le=10_000_000)] = 4096
    """What is reserved where the caller gives no maximum."""
    lease_seconds: Seconds | None = None
    """How long a request counts as running if its end is never told; None: gateway.time_limits.total."""
    headers: bool = True
    """Whether answers tell the limits."""
    burndown: dict[ModelGlob, Annotated[int, Meta(ge=1, le=1000)]] = field(default_factory=dict[str, int])
    """For bedrock_tokens: what an output token counts with these models, before the list that comes with
    the gateway.
    """

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        yield from _misfit_by(self.by)
        every = tuple(self._paths())
        if not every:
            hint = "such as minute: 600, tokens_per_minute: 200000 or concurrency: 10"
            yield Misfit("", "expected at least one limit", hint=hint)
        if len(every) > LIMITS_MAX:
            yield Misfit("limits", f"expected at most {LIMITS_MAX} limits in all, found {len(every)}")
        seen: list[tuple[str, int, str, tuple[str, ...]]] = []
        for path, limit in every:
            counted = (limit.unit, limit.seconds, limit.algorithm or "", dimensions(limit.by))
            if counted in seen:
                message = "expected another unit, window, algorithm or by: this is limited already"
                yield Misfit(path, message, beside=("by", "window_type"))
            seen.append(counted)
        if self.policy == "local" and self.on_store_failure != "local":
            message = "expected policy: store beside it, since a local limit asks no store"
            yield Misfit("on_store_failure", message, beside=("policy",))
        if self.share > 1 and (self.policy == "local" or self.on_store_failure != "local"):
            message = "expected 1: it divides limits only with policy: store and on_store_failure: local"
            yield Misfit("share", message, beside=("policy", "on_store_failure"))

    @property
    def every(self) -> tuple[Limit, ...]:
        """All limits, written out in full, in the order in which they are looked at."""
        limits = [limit for _, limit in self._paths()]
        return tuple(sorted(limits, key=lambda limit: UNITS.index(limit.unit)))

    def _paths(self) -> Iterator[tuple[Path, Limit]]:
        for window in WINDOW_SECONDS:
            for unit in UNITS:
                name = window if unit == "requests" else f"{unit}_per_{window}"
                amount: float | None = getattr(self, name, None)
                if amount is not None:
                    yield (name,), self._whole(Limit(unit=unit, limit=amount, window=window))
        if self.concurrency is not None:
            yield ("concurrency",), self._whole(Limit(unit="concurrency", limit=self.concurrency))
        for index, limit in enumerate(self.limits):
            yield ("limits", index), self._whole(limit)

    def _whole(self, limit: Limit) -> Limit:
        """The same, with what it leaves to the plugin."""
        by = dimensions(self.by if limit.by is None else limit.by)
        algorithm = limit.algorithm
        if algorithm is None and limit.unit != "concurrency":
            algorithm = "fixed" if limit.window == "month" else self.window_type
        return msgspec.structs.replace(limit, by=list(by), algorithm=algorithm)


def dimensions(by: Dimension | list[Dimension] | None) -> tuple[Dimension, ...]:
    """What is counted apart, in one order however it was written; a key is one of its consumer's anyway."""
    wanted = [by] if isinstance(by, str) else by or []
    needless = "consumer" if "key" in wanted else ""
    return tuple(dimension for dimension in DIMENSIONS if dimension in wanted and dimension != needless)


def _misfit_by(by: Dimension | list[Dimension] | None) -> Iterator[Misfit]:
    if isinstance(by, list) and len(set(by)) != len(by):
        yield Misfit("by", "expected each dimension once")
