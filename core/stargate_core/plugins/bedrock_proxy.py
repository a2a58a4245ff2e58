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

Through which of Bedrock's APIs a model is called depends on what the caller speaks as well: its own entry may
say `surface`, else the table decides (config/surfaces.py).

Two things may be waited for: what is at the URLs of images that a request names, and AWS's own list of models
(bedrock_proxy_waiting.py).

An ARN lives in one region. Of the plugin's targets, which are there for every model, it takes those in its
own region, if there are any. And an operation without a model, such as a guardrail's, is about something
that lives at one place: it goes to the first target and to no other.

A job (StartAsyncInvoke) lives where it was begun, as does the bucket it writes to: it is begun at one target,
once, because AWS would make two jobs of two calls. (SDKs repeat it by themselves, under a token of their own
that tells AWS so.) Its ARN then says where it is to be found. AWS knows nothing of our consumers, and lists
the whole account's jobs and inference profiles: so only who may use every model may read of jobs, or have
lists that name things of the account. Of one model anybody may read who may use it.
"""

import functools
import hashlib
import re
from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

import msgspec

from stargate_core.aws.credentials import Credentials
from stargate_core.aws.endpoints import Endpoint, endpoint, parse_endpoint_url
from stargate_core.aws.operations import Operation, match
from stargate_core.aws.surfaces import Surface, SurfaceSpec
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
from stargate_core.config.surfaces import SurfaceTable, surface_endpoint, surface_specs
from stargate_core.dialects.face import Ask, ModelCard, Options, PromptCaching, Target
from stargate_core.direction import Account, BreakerPolicy, Direction, Persistence, Role
from stargate_core.faults import Cause, Fault
from stargate_core.globs import pattern_of
from stargate_core.plugins.bedrock_proxy_waiting import discovered, fetch_all
from stargate_core.script import Script
from stargate_core.views import Access

NAME_CHARS_MAX: Final = 2048
"""The longest name of a model; in Bedrock's service model the longest modelId. Names are kept and logged."""
_CHOICES_MAX: Final = 4096
"""Choices kept. Callers may name any id, so this is bounded; beyond it they are made anew each time."""
_KEPT_CHARS_MAX: Final = 256
"""Longer names are nobody's in earnest, and not worth the memory."""
_NEVER_SO_MANY: Final = 2.0
"""A share of calls that can't fail: the breaker is switched off."""
_ONLY_CONVERSE: Final = (Surface.CONVERSE,)
_OF_THE_ACCOUNT: Final = frozenset(
    {Operation.GET_ASYNC_INVOKE, Operation.LIST_ASYNC_INVOKES, Operation.LIST_INFERENCE_PROFILES}
)
"""What these tell is not about models alone: they are for who may use all of them."""
_ARN: Final = re.compile(r"arn:aws[a-z-]*:bedrock:([a-z0-9-]+):")


class BedrockProxyPlugin:
    """Directs calls to Bedrock."""

    NAME: ClassVar[str] = "bedrock-proxy"
    PRIORITY: ClassVar[int] = 770
    CONFIG: ClassVar[type[msgspec.Struct]] = BedrockProxy
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["bedrock-proxy"].scopes

    def __init__(self, config: BedrockProxy) -> None:
        self._config = config
        self._specs = surface_specs(config.surfaces)
        self._table = SurfaceTable(config.surfaces)
        self._options = {surface: _options(config, spec) for surface, spec in self._specs.items()}
        self._endpoints: dict[tuple[str, str | None, Surface], Endpoint] = {}
        self._choices: dict[tuple[str, tuple[Surface, ...]], _Choice] = {}
        self._cards = [ModelCard(name, model.target) for name, model in config.models.items()]
        if not self._cards:
            self._cards = [ModelCard(config.model, config.model)]
        self._persistence = Persistence(
            config.retry.count, config.retry.delay * MILLISECOND, config.attempts_header
        )
        self._once = msgspec.structs.replace(self._persistence, count=0)

    def access(self, ctx: Access) -> Script[None] | None:
        """Direct the call, or say which models there are."""
        ask = ctx.ask
        if ask.local:
            if self._config.discovery.enabled:
                return self._discover(ctx)
            self._offer(ctx, self._cards)
            return None
        self._direct(ctx, ask)
        allowed = self._config.image_urls
        return fetch_all(ctx, ask, allowed) if ask.urls and allowed.enabled else None

    def _direct(self, ctx: Access, ask: Ask) -> None:
        operation = ask.operation
        if operation in _OF_THE_ACCOUNT and not may_use_all(ctx.consumer):
            text = f"This key may not use every model, and {operation.value} tells of the whole account"
            ctx.reject(Fault(Cause.MODEL_FORBIDDEN, text))
        if operation is not None and ask.model is None and "modelId" not in operation.spec.labels:
            # An operation without a model, such as a guardrail's: there is no name to look up.
            ctx.direct(self._place_of(ctx, operation), persistence=self._persistence)
            return
        name = ask.model or self._config.model
        if len(name) > NAME_CHARS_MAX:
            ctx.reject(Fault(Cause.MODEL_UNKNOWN, "The model's name is too long", param="model"))
        model = self._config.models.get(name)
        target = model.target if model is not None else name
        if not may_use(ctx.consumer, name, target):
            ctx.reject(
                Fault(Cause.MODEL_FORBIDDEN, f"This key may not use the model {name!r}", param="model")
            )
        speaks = ctx.speaks
        choice = self._choices.get((name, speaks))
        if choice is None:
            if model is None and not (self._config.allow_unlisted or name == self._config.model):
                ctx.reject(Fault(Cause.MODEL_UNKNOWN, f"There is no model {name!r}", param="model"))
            choice = self._choice(model or ModelTarget(name), speaks)
            if len(self._choices) < _CHOICES_MAX and len(name) <= _KEPT_CHARS_MAX:
                self._choices[name, speaks] = choice
        directions = choice.directions if choice.weights is None else _drawn(ctx, choice)
        if operation is not None and operation.spec.service == "bedrock":
            # Bedrock's control plane: about the model, and not to it.
            ctx.direct(self._control_of(model or ModelTarget(name)), persistence=self._persistence)
        elif operation is Operation.START_ASYNC_INVOKE:
            ctx.direct(directions[0], persistence=self._once, beside=choice.beside)
        else:
            ctx.direct(*directions, persistence=self._persistence, beside=choice.beside)

    def _place_of(self, ctx: Access, operation: Operation) -> Direction:
        """Where what an operation without a model is about lives."""
        if operation.spec.service == "bedrock":
            return self._control
        lives = ""
        if operation is Operation.GET_ASYNC_INVOKE:
            found = match(ctx.request.method, ctx.request.path)
            lives = "" if found is None else found.labels["invocationArn"]
        return self._nameless(self._targets(ModelTarget(lives))[0])

    def _discover(self, ctx: Access) -> Script[None]:
        """Name what the configuration names, then what AWS says there is."""
        ids = yield from discovered(ctx, self._control, nanoseconds(self._config.discovery.ttl))
        cards = list(self._cards) if ids is None or self._config.models else []
        named = {card.id for card in cards}
        cards += [ModelCard(model, model) for model in ids or () if model not in named]
        self._offer(ctx, cards)

    def _offer(self, ctx: Access, cards: Sequence[ModelCard]) -> None:
        ctx.offer_models([card for card in cards if may_use(ctx.consumer, card.id, card.target)])

    # ------------------------------------------------------------------------------------- where a name leads

    @functools.cached_property
    def _control(self) -> Direction:
        """Bedrock's control plane, with the plugin's own authority, or its first target's."""
        return self._control_of(ModelTarget(""))

    def _control_of(self, model: ModelTarget) -> Direction:
        """The control plane that knows this model: where it is first called."""
        config = self._config
        target = self._targets(model)[0]
        url = config.discovery.url or target.endpoint_url
        region = target.region or config.region
        if url is not None:
            where = parse_endpoint_url(url).signed_for("bedrock", region)
        else:
            where = endpoint("bedrock", region, fips=config.fips, dual_stack=config.dual_stack)
        direction = self._nameless(target)
        return msgspec.structs.replace(
            direction,
            endpoint=where,
            target=Target(target.target or model.target),
            name=f"{direction.name}/control",
        )

    def _choice(self, model: ModelTarget, speaks: tuple[Surface, ...]) -> "_Choice":
        config = self._config
        targets = self._targets(model)
        directions = [self._direction(model, target, speaks) for target in targets]
        if len(directions) > 1:
            policy = msgspec.structs.replace(
                directions[0].breaker,
                group=_group([direction.name for direction in directions]),
                group_size=len(directions),
            )
            directions = [msgspec.structs.replace(direction, breaker=policy) for direction in directions]
        weights = [target.weight or 1 for target in targets]
        is_weighted = len(targets) > 1 and (model.balance or config.balance) == "weighted"
        drawn = tuple(weights) if is_weighted else None
        return _Choice(tuple(directions), drawn, self._nameless(targets[0]))

    def _nameless(self, target: ProxyTarget) -> Direction:
        """A call to this target that is to no model: its breaker and the log know it by its place alone."""
        place = msgspec.structs.replace(target, target=None)
        return self._direction(ModelTarget(""), place, _ONLY_CONVERSE)

    def _targets(self, model: ModelTarget) -> list[ProxyTarget]:
        """Where a model is called: one target at least."""
        targets = targets_of(self._config, model)
        arn = None if model.targets else _ARN.match(model.target)
        return [one for one in targets if arn is not None and one.region == arn[1]] or targets

    def _direction(self, model: ModelTarget, target: ProxyTarget, speaks: tuple[Surface, ...]) -> Direction:
        config = self._config
        account, account_name = config.account(target.account), config.account_name(target.account)
        region, model_id = target.region or config.region, target.target or model.target
        fixed = account.credentials
        if model.surface is not None:
            surface = Surface(model.surface)
        else:
            surface = self._table.find(model_id, speaks)
        where = self._endpoint(region, target.endpoint_url, surface)
        return Direction(
            endpoint=where,
            target=Target(model_id, surface, self._options[surface]),
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

    def _endpoint(self, region: str, url: str | None, surface: Surface) -> Endpoint:
        found = self._endpoints.get((region, url, surface))
        if found is None:
            config = self._config
            spec = self._specs[surface]
            found = surface_endpoint(spec, region, url, fips=config.fips, dual_stack=config.dual_stack)
            self._endpoints[region, url, surface] = found
        return found


class _Choice(NamedTuple):
    """Where one name leads."""

    directions: tuple[Direction, ...]
    weights: tuple[int, ...] | None
    """None: in this order."""
    beside: Direction
    """Where plugins' own calls for a request go: to the first target's place, and to no model."""


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


def _options(config: BedrockProxy, spec: SurfaceSpec) -> Options:
    """What a request for a target at this surface may do."""
    return Options(
        drop_params=config.drop_params,
        prompt_caching=PromptCaching(config.prompt_caching),
        guardrail=spec.guardrail,
        betas_dropped=tuple(config.anthropic_betas.drop),
        betas_renamed=tuple(sorted(config.anthropic_betas.rename.items())),
    )


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


def may_use_all(consumer: Consumer | None) -> bool:
    """Whether the consumer may use every model there is."""
    return consumer is None or consumer.models is None or "*" in consumer.models


@functools.lru_cache(maxsize=1024)
def _pattern(globs: Sequence[str]) -> re.Pattern[str]:
    """One pattern for a list of globs, kept."""
    return pattern_of(globs)
