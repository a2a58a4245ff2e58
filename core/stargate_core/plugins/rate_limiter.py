"""rate-limiter: how much may pass, of requests, tokens, money and requests at a time.

A request takes from all its buckets in one step, or from none and is refused: so a refused request uses
nothing up. How many tokens it will use is not known yet, so they are *reserved* as Bedrock itself reserves
them: the input, and all the output that the caller allows. At the end, in the log phase, it is *settled*: the
rest goes back. Both are one question and one statement to the process, whatever the number of limits.

What is reserved, and what a settled request has used:

    requests        1                       stays 1, however it ended
    concurrency     1                       0: the lease is given back
    tokens          input + output allowed  input, cache read, cache written, output; each once
    input_tokens    input                   input, cache read, cache written
    output_tokens   output allowed          output
    bedrock_tokens  input + output allowed  input, cache written, output * burn-down rate
    usd             the price of that       the price of each

Rules:

- *Exactly one settlement for what was taken.* `kept` bears the verdict from access to log, and the log phase
  runs once for every exchange, whoever refused it or left. A script that is abandoned while it waits for its
  verdict keeps nothing: whoever carries the question gives back what is taken for nobody (StoreUnasked). Of a
  request that took nothing but requests there is nothing to settle, and nothing is said.
- *An answer that was not made costs nothing*: one from the cache, one shared with another's request, one that
  Bedrock refused. The record says all that; here is no second opinion.
- *Our own guess refuses nobody for good.* Where the caller gives no maximum, `default_output_tokens` is
  reserved, but never more than the bucket holds: only what a caller says or sends can be too much for ever.
- *What can't be read counts as a request*, and is told what is wrong with it only if requests are left: junk
  is no way round the limit. A list of models is a request too, and uses no tokens.
- *Names lead to models.* The limiter runs before a call's way is chosen, and prices a name by the models that
  the configuration says it may stand for, the dearest first. What was called in the end is in the record.

Where the store does not answer, `on_store_failure` says what that means (config/rate_limiter.py). Whoever
carries the question bounds the wait and tells the operator, once.

Sources: AWS, "How tokens are counted in Amazon Bedrock" (quotas-token-burndown): at first the whole input and
max_tokens, in the end InputTokenCount + CacheWriteInputTokens + OutputTokenCount * rate, the rate being 5 for
Claude 3.7 and later and 1 for others.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar, Final, NoReturn

import msgspec

from stargate_core.aws.operations import Operation
from stargate_core.config.bedrock_proxy import BedrockProxy
from stargate_core.config.plugin_configs import BUILT_IN
from stargate_core.config.rate_limiter import RateLimiter
from stargate_core.config.schema import Config, PluginEntry, Scope
from stargate_core.dialects.face import Ask, Usage
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.globs import GlobTable
from stargate_core.limits.buckets import Charge, Claim, Verdict
from stargate_core.limits.estimate import input_tokens
from stargate_core.limits.rule import AMOUNT_MAX
from stargate_core.plugins.limit_buckets import SECOND_US, Limits
from stargate_core.plugins.limit_headers import LimitHeaders
from stargate_core.plugins.limit_rows import Row
from stargate_core.prices import Prices, base_model, cost_nano_usd
from stargate_core.questions import Settle
from stargate_core.record import LogRecord
from stargate_core.script import Script, WaitFailed
from stargate_core.views import Access, HeaderFilter, InitWorker, Log

BURNDOWN: Final[tuple[tuple[str, int], ...]] = (
    ("anthropic.claude-v*", 1),
    ("anthropic.claude-instant*", 1),
    ("anthropic.claude-3-5-*", 1),
    ("anthropic.claude-3-haiku*", 1),
    ("anthropic.claude-3-sonnet*", 1),
    ("anthropic.claude-3-opus*", 1),
    ("anthropic.claude-*", 5),
    # An application's profile or provisioned throughput: it may well be a Claude behind it.
    ("arn:*", 5),
)
"""How many quota tokens an output token counts, by model, as of December 2025; 1 of models not named here."""

_LEASE_SECONDS: Final = 600.0
_NOT_MADE: Final = frozenset({"hit", "coalesced"})
_WITHOUT_TOKENS: Final = frozenset(
    {
        Operation.APPLY_GUARDRAIL,
        Operation.COUNT_TOKENS,
        Operation.INVOKE_GUARDRAIL_CHECKS,
        # What a job uses, AWS tells nobody who has begun it.
        Operation.START_ASYNC_INVOKE,
        Operation.GET_ASYNC_INVOKE,
        Operation.LIST_ASYNC_INVOKES,
        Operation.LIST_FOUNDATION_MODELS,
        Operation.GET_FOUNDATION_MODEL,
        Operation.LIST_INFERENCE_PROFILES,
        Operation.GET_INFERENCE_PROFILE,
    }
)
_NO_NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({})


class Taken:
    """What a request has asked its buckets for, and what they said. Nobody changes it."""

    __slots__ = ("claims", "headers", "local", "rows", "verdict")

    def __init__(
        self,
        rows: tuple[Row, ...],
        claims: tuple[Claim, ...],
        verdict: Verdict,
        local: bool,
        headers: LimitHeaders,
    ) -> None:
        self.rows = rows
        self.claims = claims
        """Of the first rows, or of all."""
        self.verdict = verdict
        self.local = local
        self.headers = headers


class RateLimiterPlugin:
    """Lets pass, or refuses, and settles."""

    NAME: ClassVar[str] = "rate-limiter"
    PRIORITY: ClassVar[int] = 910
    CONFIG: ClassVar[type[msgspec.Struct]] = RateLimiter
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["rate-limiter"].scopes

    def __init__(self, config: RateLimiter) -> None:
        self._config = config
        self._local = config.policy == "local"
        self._prices = Prices()
        self._names = _NO_NAMES
        self._own_burndown = GlobTable(config.burndown.items())
        self._burndown = GlobTable(BURNDOWN)
        self._lease_us = round((config.lease_seconds or _LEASE_SECONDS) * SECOND_US)
        self._build((None, None, None))

    def init_worker(self, ctx: InitWorker) -> None:
        """Learn the prices, what names stand for, how long a request may take, and where this stands."""
        gateway = ctx.config.gateway
        self._prices = Prices(gateway.prices)
        self._names = names_of(ctx.config)
        self._lease_us = round((self._config.lease_seconds or gateway.time_limits.total) * SECOND_US)
        self._build(ctx.place)

    def _build(self, place: tuple[str | None, str | None, str | None]) -> None:
        config = self._config
        self._limits = Limits(config, place)
        self._parts = self._limits if config.share == 1 else Limits(config, place, config.share)
        """What this gateway lets pass by itself while the store is away."""
        self._headers = LimitHeaders(self._limits.all)
        self._part_headers = LimitHeaders(self._parts.all)

    # --------------------------------------------------------------------------------------------- before

    def access(self, ctx: Access) -> Script[None]:
        """Take, or refuse."""
        limits, headers, local = self._limits, self._headers, self._local
        ask, unreadable = self._read(ctx)
        scope = self._scope(ctx, ask)
        rows = limits.rows(scope)
        claims = self._claims(ctx, ask, rows)
        if not claims:
            if unreadable is not None:
                raise unreadable
            return
        try:
            verdict = yield from ctx.take(claims, lease_us=self._lease_us, local=local)
        except WaitFailed as failed:
            policy = self._config.on_store_failure
            if policy == "allow":
                if unreadable is not None:
                    raise unreadable from None
                return
            if policy == "deny" or local:
                ctx.reject(Fault(Cause.STORE_UNAVAILABLE, detail=str(failed)))
            limits, headers, local = self._parts, self._part_headers, True
            rows = limits.rows(scope)
            claims = self._claims(ctx, ask, rows)
            try:
                verdict = yield from ctx.take(claims, lease_us=self._lease_us, local=True)
            except WaitFailed as failed_too:
                ctx.reject(Fault(Cause.STORE_UNAVAILABLE, detail=str(failed_too)))
        ctx.kept = Taken(rows, claims, verdict, local, headers)
        if not verdict.allowed:
            self._refuse(ctx, rows, verdict, limits)
        if unreadable is not None:
            raise unreadable

    def _read(self, ctx: Access) -> tuple[Ask | None, Refused | None]:
        """What is asked for, as far as it can be understood: an ask that is answered here uses no tokens."""
        limits = self._limits
        if limits.requests == len(limits.all) and not limits.of_model:
            return None, None
        try:
            ask = ctx.ask
        except Refused as refused:
            return None, refused
        return (None if ask.local else ask), None

    def _scope(self, ctx: Access, ask: Ask | None) -> tuple[str | None, str, str, str, str]:
        """Whose, and of what, the buckets are."""
        limits = self._limits
        consumer = None if ctx.consumer is None else ctx.consumer.username
        model = ""
        if limits.of_model and ask is not None:
            model = base_model(self._models(ask)[0])
        return (
            consumer,
            ctx.key_id if limits.of_key else "",
            model,
            ctx.route if limits.of_route else "",
            ctx.request.client if consumer is None or limits.of_address else "",
        )

    def _models(self, ask: Ask) -> tuple[str, ...]:
        """What the caller's name for a model may stand for; one at least."""
        name = ask.model or ""
        return self._names.get(name) or (name,)

    def _claims(self, ctx: Access, ask: Ask | None, rows: tuple[Row, ...]) -> tuple[Claim, ...]:
        """What the request takes of each of its buckets; of the first ones only, if it is but a request."""
        if ask is None:
            return tuple([row.claim for row in rows[: self._limits.requests] if row.claim is not None])
        claims: list[Claim] = []
        costs: Mapping[str, int] | None = None
        for row in rows:
            claim = row.claim
            if claim is None:
                if costs is None:
                    costs = self._costs(ctx, ask, rows)
                cost = costs[row.limited.unit]
                if ask.output_tokens_max is None and cost > row.limited.capacity:
                    cost = self._without_guess(ctx, ask, row)
                claim = Claim(row.bucket, min(cost, AMOUNT_MAX))
            claims.append(claim)
        return tuple(claims)

    def _costs(
        self, ctx: Access, ask: Ask, rows: tuple[Row, ...], output: int | None = None
    ) -> Mapping[str, int]:
        """What the request may use, in each unit."""
        if ask.operation in _WITHOUT_TOKENS:
            return dict.fromkeys(_UNITS_USED, 0)
        into = input_tokens(ctx.request.body)
        if output is None:
            output = ask.output_tokens_max
            # Whatever a dialect lets pass: a cost below nothing would give to the bucket.
            output = self._config.default_output_tokens if output is None else max(0, output)
        both = into + output
        costs = {"tokens": both, "input_tokens": into, "output_tokens": output, "bedrock_tokens": both}
        if rows[-1].limited.unit == "usd":
            models = self._models(ask)
            prices = self._prices
            price = prices.of(models[0]) if len(models) == 1 else prices.of_dearest(models)
            costs["usd"] = cost_nano_usd(price, Usage(into, output))
        return costs

    def _without_guess(self, ctx: Access, ask: Ask, row: Row) -> int:
        """What the bucket holds, or the input alone, if that is more: the output was our own guess."""
        least = self._costs(ctx, ask, (row,), output=0)[row.limited.unit]
        return max(least, row.limited.capacity)

    def _refuse(self, ctx: Access, rows: tuple[Row, ...], verdict: Verdict, limits: Limits) -> NoReturn:
        limited = rows[verdict.refused].limited
        words = limited.words
        if verdict.retry_after_us >= 0:
            seconds = -(-verdict.retry_after_us // SECOND_US)
            ctx.reject(
                Fault(
                    Cause.RATE_LIMITED,
                    f"The rate limit of {words} is exceeded",
                    retry_after_seconds=seconds,
                    limit=limited.name,
                )
            )
        if limits is not self._limits:
            # It is too much for this gateway's part of the limit, and may fit into the whole.
            ctx.reject(Fault(Cause.STORE_UNAVAILABLE, detail=f"more than this gateway's part of {words}"))
        message = f"The request alone is more than the rate limit of {words} holds"
        ctx.reject(Fault(Cause.LIMIT_TOO_SMALL, message, limit=limited.name))

    # ---------------------------------------------------------------------------------------------- after

    def header_filter(self, ctx: HeaderFilter) -> None:
        """Tell the limits."""
        taken: Taken | None = ctx.kept
        if taken is not None and self._config.headers:
            verdict = taken.verdict
            ctx.headers.extend(taken.headers.of(verdict.levels, ctx.limit_family, verdict.at_us))

    def log(self, ctx: Log) -> None:
        """Settle what was taken."""
        taken: Taken | None = ctx.kept
        if taken is None or not taken.verdict.allowed:
            return
        charges = [
            Charge(claim.bucket, claim.cost, self._used(row.limited.unit, ctx.record))
            for row, claim in zip(taken.rows, taken.claims, strict=False)
            if row.limited.unit != "requests"
        ]
        if charges:
            lease = ctx.request.request_id
            ctx.tell(Settle(tuple(charges), lease, taken.verdict.at_us, taken.local))

    def _used(self, unit: str, record: LogRecord) -> int:
        """What the request has really used, in this unit."""
        if record.cache in _NOT_MADE or unit == "concurrency":
            return 0
        used = Usage(
            record.input_tokens, record.output_tokens, record.cache_read_tokens, record.cache_write_tokens
        )
        match unit:
            case "tokens":
                return used.total_tokens
            case "input_tokens":
                return used.total_tokens - used.output_tokens
            case "output_tokens":
                return used.output_tokens
            case "bedrock_tokens":
                rate = self.burndown(record.target)
                return used.input_tokens + used.cache_write_tokens + used.output_tokens * rate
            case _:
                return cost_nano_usd(self._prices.of(record.target), used) if used.total_tokens else 0

    def burndown(self, model: str) -> int:
        """How many tokens of Bedrock's quotas one of this model's output tokens counts."""
        names = (model, base_model(model))
        return self._own_burndown.find(*names) or self._burndown.find(*reversed(names)) or 1


_UNITS_USED: Final = ("tokens", "input_tokens", "output_tokens", "bedrock_tokens", "usd")


def names_of(config: Config) -> Mapping[str, tuple[str, ...]]:
    """What each name of a model may stand for, wherever the configuration says so; '' is no name at all."""
    names: dict[str, list[str]] = {}
    for entry in _entries(config):
        proxy = entry.config
        if isinstance(proxy, BedrockProxy):
            for name, model in proxy.models.items():
                own = [target.target for target in model.targets if target.target is not None]
                names.setdefault(name, []).extend((model.target, *own))
            default = proxy.models.get(proxy.model)
            names.setdefault("", []).append(proxy.model if default is None else default.target)
    return {name: tuple(dict.fromkeys(models)) for name, models in names.items()}


def _entries(config: Config) -> Iterator[PluginEntry]:
    """All plugins' entries, wherever they are written."""
    yield from config.plugins
    for service in config.services:
        yield from service.plugins
    for routes in (config.routes, *(service.routes for service in config.services)):
        for route in routes:
            yield from route.plugins
    for consumer in config.consumers:
        yield from consumer.plugins
