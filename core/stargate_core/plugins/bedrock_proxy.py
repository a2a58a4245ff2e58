"""bedrock-proxy: where a call goes.

The name a caller uses becomes a target: an alias of the configuration, or Bedrock's own id passed on as it
is. Before that the consumer's allow list is asked, for the name or for what it stands for: whoever may use
`claude-*` may use the alias, and whoever may use `anthropic.*` may use it by any name. A model that the list
does not cover is 403; a name that the configuration does not know, where it must, is 404. What its targets
fall back on is the operator's choice, and whoever may use the name may use that.

Everything that does not depend on the caller is made once: endpoints, and the directions of each name. Where
a model has several targets they can stand in for each other: their breakers know them for one group, and a
call that fails at one goes on to the next. In a weighted order each is drawn in proportion to its weight
from those that are left, so the heaviest comes first most often and every order can come about.

An ARN lives in one region. Of the plugin's targets, which are there for every model, it takes those in its
own region, if there are any. And an operation without a model, such as a guardrail's, is about something
that lives at one place: it goes to the first target and to no other.
"""

import functools
import hashlib
import re
from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from stargate_core.aws.endpoints import Endpoint, endpoint, parse_endpoint_url
from stargate_core.aws.sigv4 import Credentials
from stargate_core.clock import MILLISECOND
from stargate_core.config.bedrock_proxy import (
    AwsAccount,
    AwsRole,
    BedrockProxy,
    CircuitBreaker,
    ModelTarget,
    ProxyTarget,
    RetryBudget,
    targets_of,
)
from stargate_core.config.gateway_block import nanoseconds
from stargate_core.config.plugin_configs import BUILT_IN
from stargate_core.config.schema import Consumer, Scope
from stargate_core.dialects.face import ModelCard, Surface, Target
from stargate_core.direction import Account, BreakerPolicy, Direction, Persistence, Role
from stargate_core.faults import Cause, Fault
from stargate_core.globs import pattern_of
from stargate_core.phases import Access

NAME_CHARS_MAX: Final = 2048
"""The longest name of a model; in Bedrock's service model the longest modelId. Names are kept and logged."""
_CHOICES_MAX: Final = 4096
"""Choices kept. Callers may name any id, so this is bounded; beyond it they are made anew each time."""
_KEPT_CHARS_MAX: Final = 256
"""Longer names are nobody's in earnest, and not worth the memory."""
_NEVER_SO_MANY: Final = 2.0
"""A share of calls that can't fail: the breaker is switched off."""
_ARN: Final = re.compile(r"arn:aws[a-z-]*:bedrock:([a-z0-9-]+):")


class BedrockProxyPlugin:
    """Directs calls to Bedrock."""

    NAME: ClassVar[str] = "bedrock-proxy"
    PRIORITY: ClassVar[int] = 770
    CONFIG: ClassVar[type[msgspec.Struct]] = BedrockProxy
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["bedrock-proxy"].scopes

    def __init__(self, config: BedrockProxy) -> None:
        self._config = config
        self._endpoints: dict[tuple[str, str | None], Endpoint] = {}
        self._choices: dict[str, _Choice] = {}
        self._cards = [ModelCard(name, model.target) for name, model in config.models.items()]
        if not self._cards:
            self._cards = [ModelCard(config.model, config.model)]
        self._persistence = Persistence(
            config.retry.count, config.retry.delay * MILLISECOND, config.attempts_header
        )

    def access(self, ctx: Access) -> None:
        """Direct the call, or say which models there are."""
        consumer, ask = ctx.consumer, ctx.ask
        if ask.local:
            ctx.offer_models([card for card in self._cards if may_use(consumer, card.id, card.target)])
            return
        if ask.model is None and ask.operation is not None and "modelId" not in ask.operation.spec.labels:
            # An operation without a model, such as a guardrail's: there is no name to look up.
            only = self._choice(ModelTarget("")).directions[0]
            ctx.direct(only, persistence=self._persistence)
            return
        name = ask.model or self._config.model
        if len(name) > NAME_CHARS_MAX:
            ctx.reject(Fault(Cause.MODEL_UNKNOWN, "The model's name is too long", param="model"))
        model = self._config.models.get(name)
        target = model.target if model is not None else name
        if not may_use(consumer, name, target):
            ctx.reject(
                Fault(Cause.MODEL_FORBIDDEN, f"This key may not use the model {name!r}", param="model")
            )
        choice = self._choices.get(name)
        if choice is None:
            if model is None and not (self._config.allow_unlisted or name == self._config.model):
                ctx.reject(Fault(Cause.MODEL_UNKNOWN, f"There is no model {name!r}", param="model"))
            choice = self._choice(model or ModelTarget(name))
            if len(self._choices) < _CHOICES_MAX and len(name) <= _KEPT_CHARS_MAX:
                self._choices[name] = choice
        directions = choice.directions if choice.weights is None else _drawn(ctx, choice)
        ctx.direct(*directions, persistence=self._persistence)

    def _choice(self, model: ModelTarget) -> "_Choice":
        config = self._config
        targets = targets_of(config, model)
        if not model.targets:
            arn = _ARN.match(model.target)
            targets = [one for one in targets if arn is not None and one.region == arn[1]] or targets
        directions = [self._direction(model, target) for target in targets]
        if len(directions) > 1:
            policy = msgspec.structs.replace(
                directions[0].breaker,
                group=_group([direction.name for direction in directions]),
                group_size=len(directions),
            )
            directions = [msgspec.structs.replace(direction, breaker=policy) for direction in directions]
        weights = [target.weight or 1 for target in targets]
        is_weighted = len(targets) > 1 and (model.balance or config.balance) == "weighted"
        return _Choice(tuple(directions), tuple(weights) if is_weighted else None)

    def _direction(self, model: ModelTarget, target: ProxyTarget) -> Direction:
        config = self._config
        account, account_name = config.account(target.account), config.account_name(target.account)
        region, model_id = target.region or config.region, target.target or model.target
        fixed = account.credentials
        where = self._endpoint(region, target.endpoint_url)
        return Direction(
            endpoint=where,
            target=Target(
                model_id, Surface(model.surface) if model.surface is not None else Surface.CONVERSE
            ),
            region=region,
            account=account_name,
            credentials=None
            if fixed is None
            else Credentials(fixed.access_key_id, fixed.secret_access_key, fixed.session_token),
            api_key=account.api_key,
            total_ns=None if config.timeout is None else config.timeout * MILLISECOND,
            name="/".join(filter(None, (*self._place(target, region, account_name, where), model_id))),
            breaker=_policy(config.breaker, config.retry.budget),
        )

    def _place(self, target: ProxyTarget, region: str, account: str, where: Endpoint) -> tuple[str, ...]:
        """What tells a target from others of the same model, in a log."""
        if target.name is not None:
            return (target.name,)
        if target.endpoint_url is not None:
            return (account, where.authority.decode() + where.prefix, region)
        variant = f"{'+fips' * self._config.fips}{'+dual-stack' * self._config.dual_stack}"
        return (account, region + variant)

    def _endpoint(self, region: str, url: str | None) -> Endpoint:
        found = self._endpoints.get((region, url))
        if found is None:
            config = self._config
            if url is not None:
                found = parse_endpoint_url(url).signed_for("bedrock", region)
            else:
                found = endpoint("bedrock-runtime", region, fips=config.fips, dual_stack=config.dual_stack)
            self._endpoints[region, url] = found
        return found


class _Choice(msgspec.Struct, frozen=True):
    """Where one name leads."""

    directions: tuple[Direction, ...]
    weights: tuple[int, ...] | None
    """None: in this order."""


def _drawn(ctx: Access, choice: _Choice) -> list[Direction]:
    """The directions in a random order: each drawn by its weight from those that are left."""
    assert choice.weights is not None
    left = list(zip(choice.directions, choice.weights, strict=True))
    drawn: list[Direction] = []
    while len(left) > 1:
        point = ctx.chance() * sum(weight for _, weight in left)
        index = 0
        while index < len(left) - 1 and point >= left[index][1]:
            point -= left[index][1]
            index += 1
        drawn.append(left.pop(index)[0])
    drawn.append(left[0][0])
    return drawn


def _group(names: Sequence[str]) -> str:
    """A name for just these targets; short, for they may be long."""
    return hashlib.sha256(" ".join(names).encode(errors="replace")).hexdigest()[:32]


def _policy(breaker: CircuitBreaker, budget: RetryBudget) -> BreakerPolicy:
    return BreakerPolicy(
        failures=breaker.failures if breaker.enabled else 0,
        ratio=breaker.ratio if breaker.enabled else _NEVER_SO_MANY,
        calls_min=breaker.calls_min,
        window_ns=nanoseconds(breaker.window),
        open_ns=nanoseconds(breaker.open),
        open_max_ns=nanoseconds(breaker.open_max),
        probes=breaker.probes,
        ejected_max=breaker.ejected_max,
        retry_ratio=budget.ratio,
        retry_min_per_second=budget.min_per_second,
    )


def accounts_of(config: BedrockProxy) -> tuple[Account, ...]:
    """The accounts whose credentials must be found for a bedrock-proxy, each once."""
    found: dict[str, Account] = {}
    for name in config.accounts_used():
        account = config.account(name)
        if account.is_looked_for:
            found[config.account_name(name)] = _account(account, config.account_name(name), config.region)
    return tuple(found.values())


def _account(account: AwsAccount, name: str, region: str) -> Account:
    role = None if account.role is None else _role(account.role)
    return Account(name, account.profile, role, "" if role is None else region)


def _role(role: AwsRole) -> Role:
    return Role(
        role.arn,
        role.session_name,
        role.external_id,
        tuple(role.session_tags.items()),
        role.duration_seconds,
    )


def may_use(consumer: Consumer | None, *names: str) -> bool:
    """Whether the consumer may use a model that goes by these names."""
    if consumer is None or consumer.models is None:
        return True
    pattern = _pattern(tuple(consumer.models))
    return any(pattern.fullmatch(name) is not None for name in names)


@functools.lru_cache(maxsize=1024)
def _pattern(globs: Sequence[str]) -> re.Pattern[str]:
    """One pattern for a list of globs, kept."""
    return pattern_of(globs)
