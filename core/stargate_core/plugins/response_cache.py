"""response-cache: let an answer be kept, and shared with others who ask the same.

The plugin decides and the machines do: in access it says in what way the answer may be shared, or that it may
not; in header_filter it tells the caller what came of it. Looking, joining, keeping and all that can go wrong
with them are the cache's (`gateway/cache.py`).

What a caller is told is Kong's `x-cache-status`, with a word more:

    Hit        the answer was kept; `age` says how many seconds ago it was made
    Coalesced  the call was being made already, for somebody else
    Miss       the call was made for this request
    Bypass     the cache was not asked: by the configuration, or because the caller wished so

A caller may ask for less cache than the configuration gives, never for more (RFC 9111, 5.2.1):

    no-store   neither kept, nor looked for, nor shared
    no-cache   a call of its own, whose answer is kept for those who come after
    max-age    no kept answer that is older; a call that is being made at this moment is as new as can be

Other directives of a request mean nothing here, and what is malformed is as good as not said: a request must
not fail by a wish about its answer's freshness.

The priority is Kong's, 100: after everything that decides whether the request is allowed at all, so that a
kept answer is no way around a limit or an allow list.

Sources: https://docs.konghq.com/hub/kong-inc/proxy-cache/; RFC 9111.
"""

from types import MappingProxyType
from typing import ClassVar, Final

import msgspec

from stargate_core.aws.operations import Operation
from stargate_core.config.plugin_configs import BUILT_IN
from stargate_core.config.response_cache import ResponseCache
from stargate_core.config.schema import Scope
from stargate_core.dialects.face import Ask, Headers
from stargate_core.direction import Sharing
from stargate_core.messages import Source
from stargate_core.views import Access, HeaderFilter

_OPERATIONS: Final = MappingProxyType(
    {
        "converse": Operation.CONVERSE,
        "converse_stream": Operation.CONVERSE_STREAM,
        "invoke_model": Operation.INVOKE_MODEL,
        "invoke_model_with_response_stream": Operation.INVOKE_MODEL_WITH_RESPONSE_STREAM,
    }
)
_STATUSES: Final = MappingProxyType(
    {Source.KEPT: b"Hit", Source.JOINED: b"Coalesced", Source.MADE: b"Miss", None: b"Miss"}
)
_TEMPERATURE: Final = 1.0
"""What a model takes where none is given."""
_AGE_DIGITS_MAX: Final = 10
"""Of a max-age: ten of them are longer than anything is kept (RFC 9111, 1.2.2: 2**31 is as good as ever)."""


class Wishes(msgspec.Struct, frozen=True):
    """What a request's Cache-Control asks for."""

    no_store: bool = False
    no_cache: bool = False
    max_age_us: int | None = None


_NO_WISHES: Final = Wishes()


class ResponseCachePlugin:
    """Shares answers."""

    NAME: ClassVar[str] = "response-cache"
    PRIORITY: ClassVar[int] = 100
    CONFIG: ClassVar[type[msgspec.Struct]] = ResponseCache
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["response-cache"].scopes

    def __init__(self, config: ResponseCache) -> None:
        self._ttl_us = round(config.cache_ttl * 1_000_000)
        self._max_temperature = config.max_temperature
        self._scope = config.scope
        self._operations = frozenset(_OPERATIONS[name] for name in config.operations)

    def access(self, ctx: Access) -> None:
        """Say in what way the answer may be shared."""
        wishes = read_wishes(ctx.request.headers)
        # Whether it was shared is for the headers.
        ctx.kept = shares = not wishes.no_store and self._covers(ctx.ask)
        if not shares:
            return
        max_age_us = self._ttl_us
        if wishes.no_cache:
            max_age_us = 0
        elif wishes.max_age_us is not None:
            max_age_us = min(max_age_us, wishes.max_age_us)
        ctx.share(Sharing(self._scope_of(ctx), self._ttl_us, max_age_us, share=not wishes.no_cache))

    def header_filter(self, ctx: HeaderFilter) -> None:
        """Tell what came of it; nothing where the request was refused before it got here."""
        shares: bool | None = ctx.kept
        if shares is None:
            return
        if not shares:
            ctx.headers.append((b"x-cache-status", b"Bypass"))
            return
        source, age_seconds = ctx.source
        ctx.headers.append((b"x-cache-status", _STATUSES[source]))
        if source is Source.KEPT:
            ctx.headers.append((b"age", b"%d" % age_seconds))

    def _covers(self, ask: Ask) -> bool:
        """Whether the configuration wants it cached."""
        operation = ask.operation
        if operation is None:
            operation = Operation.CONVERSE_STREAM if ask.stream else Operation.CONVERSE
        if ask.local or operation not in self._operations:
            return False
        if self._max_temperature is None:
            return True
        temperature = _TEMPERATURE if ask.temperature is None else ask.temperature
        return temperature <= self._max_temperature

    def _scope_of(self, ctx: Access) -> str:
        """A name for all who share with this caller. Callers that nobody knows share with each other."""
        if self._scope == "global":
            return ""
        if ctx.consumer is None:
            return self._scope
        name = ctx.consumer.username
        if self._scope == "consumer":
            return f"consumer {name}"
        # A key's id need not be unique but within its consumer; the length keeps the two apart.
        return f"key {len(name)} {name} {ctx.key_id}"


def read_wishes(headers: Headers) -> Wishes:
    """What the Cache-Control headers of a request ask for; of several ages the strictest."""
    values = [value for name, value in headers if name == b"cache-control"]
    if not values:
        return _NO_WISHES
    no_store = no_cache = False
    max_age_us: int | None = None
    for directive in b",".join(values).lower().split(b","):
        name, _, argument = directive.partition(b"=")
        name, argument = name.strip(), argument.strip()
        if name == b"no-store":
            no_store = True
        elif name == b"no-cache":
            no_cache = True
        elif name == b"max-age":
            if len(argument) > 1 and argument[:1] == argument[-1:] == b'"':
                argument = argument[1:-1]
            if argument.isdigit():
                age_us = int(argument.lstrip(b"0")[:_AGE_DIGITS_MAX] or b"0") * 1_000_000
                max_age_us = age_us if max_age_us is None else min(max_age_us, age_us)
    return Wishes(no_store, no_cache, max_age_us)
