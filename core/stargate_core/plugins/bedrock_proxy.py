"""bedrock-proxy: where a call goes.

The name a caller uses becomes a target: an alias of the configuration, or Bedrock's own id passed on as it
is. Before that the consumer's allow list is asked, for the name or for what it stands for: whoever may use
`claude-*` may use the alias, and whoever may use `anthropic.*` may use it by any name. A model that the list
does not cover is 403; a name that the configuration does not know, where it must, is 404.

Everything that does not depend on the caller is made once: endpoints, directions by target.
"""

import functools
import re
from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from stargate_core.aws.endpoints import Endpoint, endpoint, parse_endpoint_url
from stargate_core.aws.sigv4 import Credentials
from stargate_core.clock import MILLISECOND
from stargate_core.config.plugin_configs import BUILT_IN, BedrockProxy, ModelTarget
from stargate_core.config.schema import Consumer, Scope
from stargate_core.dialects.face import ModelCard, Surface, Target
from stargate_core.direction import Direction
from stargate_core.faults import Cause, Fault
from stargate_core.phases import Access

NAME_CHARS_MAX: Final = 2048
"""The longest name of a model; in Bedrock's service model the longest modelId. Names are kept and logged."""
_DIRECTIONS_MAX: Final = 4096
"""Directions kept. Callers may name any id, so this is bounded; beyond it they are made anew each time."""


class BedrockProxyPlugin:
    """Directs calls to Bedrock."""

    NAME: ClassVar[str] = "bedrock-proxy"
    PRIORITY: ClassVar[int] = 770
    CONFIG: ClassVar[type[msgspec.Struct]] = BedrockProxy
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["bedrock-proxy"].scopes

    def __init__(self, config: BedrockProxy) -> None:
        self._config = config
        self._endpoints: dict[str, Endpoint] = {}
        self._directions: dict[str, Direction] = {}
        self._cards = [ModelCard(name, model.target) for name, model in config.models.items()]
        if not self._cards:
            self._cards = [ModelCard(config.model, config.model)]
        fixed = config.credentials
        self._credentials = (
            None
            if fixed is None
            else Credentials(fixed.access_key_id, fixed.secret_access_key, fixed.session_token)
        )

    def access(self, ctx: Access) -> None:
        """Direct the call, or say which models there are."""
        consumer, ask = ctx.consumer, ctx.ask
        if ask.local:
            ctx.offer_models([card for card in self._cards if may_use(consumer, card.id, card.target)])
            return
        if ask.model is None and ask.operation is not None and "modelId" not in ask.operation.spec.labels:
            # An operation without a model, such as a guardrail's: there is no name to look up.
            ctx.direct(self._direction(ModelTarget("")))
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
        direction = self._directions.get(name)
        if direction is None:
            if model is None and not (self._config.allow_unlisted or name == self._config.model):
                ctx.reject(Fault(Cause.MODEL_UNKNOWN, f"There is no model {name!r}", param="model"))
            direction = self._direction(model or ModelTarget(name))
            if len(self._directions) < _DIRECTIONS_MAX:
                self._directions[name] = direction
        ctx.direct(direction)

    def _direction(self, model: ModelTarget) -> Direction:
        config = self._config
        region = model.region or config.region
        return Direction(
            endpoint=self._endpoint(region),
            target=Target(
                model.target, Surface(model.surface) if model.surface is not None else Surface.CONVERSE
            ),
            region=region,
            account=config.profile or "",
            credentials=self._credentials,
            api_key=config.api_key,
            total_ns=None if config.timeout is None else config.timeout * MILLISECOND,
        )

    def _endpoint(self, region: str) -> Endpoint:
        found = self._endpoints.get(region)
        if found is None:
            config = self._config
            if config.endpoint_url is not None:
                found = parse_endpoint_url(config.endpoint_url).signed_for("bedrock", region)
            else:
                found = endpoint("bedrock-runtime", region, fips=config.fips, dual_stack=config.dual_stack)
            self._endpoints[region] = found
        return found


def may_use(consumer: Consumer | None, *names: str) -> bool:
    """Whether the consumer may use a model that goes by these names."""
    if consumer is None or consumer.models is None:
        return True
    pattern = _pattern(tuple(consumer.models))
    return any(pattern.fullmatch(name) is not None for name in names)


@functools.lru_cache(maxsize=1024)
def _pattern(globs: Sequence[str]) -> re.Pattern[str]:
    """One pattern for a list of globs, in which * is any text and ? any character."""
    return re.compile("|".join(map(_regex, globs)) or "(?!)", re.DOTALL)


def _regex(glob: str) -> str:
    """A glob as a regular expression that never goes back behind a star once the text after it was found.

    Callers choose the names: with plain `.*` a few stars would take a name of some thousand characters hours.
    """
    first, *rest = [re.escape(part).replace(r"\?", ".") for part in glob.split("*")]
    if not rest:
        return first
    *middle, last = rest
    return "".join((first, *(f"(?>.*?{part})" for part in middle), ".*", last))
