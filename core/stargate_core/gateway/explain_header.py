"""The header that explains an answer: for operators, on a live request, and for nobody else.

A request that bears `x-stargate-explain` with the gateway's `admin_token` is answered as it would be anyway;
beside that its answer bears what the gateway knew of it when it wrote the answer's head, as one line of JSON.
So it does for plain answers, streams, refusals and failures; of what is not HTTP there is nothing to explain.

- Without a token in the configuration nothing is looked at. With one, each answer costs one look for the
  header.
- A wrong token and no token are the same: nothing is said and nothing is written down, so nobody learns
  whether there is one. It is compared in constant time.
- The request's header ends here: calls to Bedrock are made of an allow list, and the log has no place for it.
  Nor can the answer's be kept or shared: what a cache holds is Bedrock's answer, before it becomes anybody's.
- It is ASCII, and of at most `BYTES_MAX`: proxies and clients have bounds for a whole head that are not much
  larger. Names may be of any length and in any script, so they are escaped, and cut where they must be.
- What the request has cost stands beside it, in a header that scripts can read: in dollars, as the log record
  has it. It is told of whole answers and failures. Of a stream nothing is known when its head is written, and
  what would come after its body, HTTP's trailers, hardly a client can read; there the log has it.
- It says nothing that the log does not say as well, limits aside: no prompt, no completion, no key.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from stargate_core.aws.endpoints import Endpoint
from stargate_core.dialects.face import Headers
from stargate_core.gateway.settlement import cost_so_far
from stargate_core.messages import Source
from stargate_core.plugins.rate_limiter import RateLimiterPlugin, Taken
from stargate_core.plugins.response_cache import ResponseCachePlugin
from stargate_core.secret import Private

if TYPE_CHECKING:
    from stargate_core.gateway.exchange import Exchange

NAME: Final = b"x-stargate-explain"
COST: Final = b"x-stargate-cost-usd"
"""With nine decimals: costs are counted in nano-dollars."""
COST_ESTIMATED: Final = b"x-stargate-cost-estimated"
"""No price of the model is known, and the dearest one's was taken."""
BYTES_MAX: Final = 4096
_CHARS_MAX: Final = (256, 64, 16)
"""Of each text: what is tried in turn, until all fits."""
_ITEMS_MAX: Final = (16, 4, 0)
"""Of each list, likewise."""
_CACHE: Final = {Source.KEPT: "hit", Source.MADE: "miss", Source.JOINED: "coalesced"}
_NOT_PLAIN: Final = re.compile(r"[^\x20-\x7e]")


class _Share(msgspec.Struct, frozen=True):
    """What was taken of one bucket."""

    bucket: str
    limit: int
    cost: int
    remaining: int
    """By the store's word."""


class _Told(Private, msgspec.Struct, frozen=True):
    """What is told."""

    request_id: str
    generation: int
    route: str
    service: str
    dialect: str
    plugins: dict[str, list[str]]
    """By phase, in the order of their running."""
    consumer: str
    key_id: str
    model: str
    """As the caller calls it; empty: by no name, or it was not read."""
    stream: bool
    target: str
    """Where the call went or would have gone first, and by which surface; empty: nowhere."""
    surface: str
    region: str
    account: str
    endpoint: str
    attempts: int
    """Calls written by this exchange; a shared answer's are not its own."""
    tried: list[str]
    """Those that are over, where one has failed."""
    cache: str
    """hit | miss | coalesced | bypass; empty: there is no cache, or it was not come to that."""
    limits: list[_Share]
    cause: str
    """Of a fault; empty: there is none."""
    cut: bool = False
    """Whether something is left out or shortened."""

    SHOWN: ClassVar[tuple[str, ...]] = ("request_id", "cause")


def explain_to_admin(exchange: "Exchange", headers: Headers, *, whole: bool) -> None:
    """Add the headers to an answer's, if the request shows that an operator wants them.

    whole: whether all of the answer is known, and so its cost.
    """
    token = exchange.host.plan.config.gateway.admin_token
    if token is None or not token:
        return
    shown = exchange.request.header(NAME)
    if shown is not None and token.matches(shown.decode("utf-8", "replace")):
        headers.append((NAME, _line(_told(exchange))))
        if whole:
            cost_usd, estimated = cost_so_far(exchange)
            headers.append((COST, b"%.9f" % cost_usd))
            if estimated:
                headers.append((COST_ESTIMATED, b"true"))


def _told(exchange: "Exchange") -> _Told:
    ctx, plan = exchange.ctx, exchange.host.plan
    ask, consumer, fault = ctx.known_ask, ctx.consumer, exchange.fault
    direction = exchange.direction or (ctx.directions[0] if ctx.directions else None)
    return _Told(
        request_id=exchange.request.request_id,
        generation=plan.generation,
        route=exchange.route,
        service=exchange.chain.place.service or "",
        dialect=exchange.dialect.NAME,
        plugins={phase: names for phase, names in _plugins(exchange) if names},
        consumer="" if consumer is None else consumer.username,
        key_id=ctx.key_id,
        model="" if ask is None else ask.model or "",
        stream=ask is not None and ask.stream,
        target="" if direction is None else direction.target.model,
        surface="" if direction is None else direction.target.surface.value,
        region="" if direction is None else direction.region,
        account="" if direction is None else direction.account,
        endpoint="" if direction is None else _url(direction.endpoint),
        attempts=exchange.attempts,
        tried=list(exchange.tried),
        cache=_cache(exchange),
        limits=list(_limits(exchange)),
        cause="" if fault is None else fault.cause.name,
    )


def _url(where: Endpoint) -> str:
    return f"{where.scheme}://{where.authority.decode()}{where.prefix}"


def _plugins(exchange: "Exchange") -> Iterator[tuple[str, list[str]]]:
    chain = exchange.chain
    for phase, hooks in (
        ("rewrite", exchange.host.plan.outer.rewrite),
        ("access", chain.access),
        ("header_filter", chain.header_filter),
        ("body_filter", chain.body_filter),
        ("log", chain.log),
    ):
        yield phase, [hook.plugin for hook in hooks]


def _cache(exchange: "Exchange") -> str:
    ctx = exchange.ctx
    if ctx.answer_source is not None:
        return _CACHE[ctx.answer_source]
    # What the plugin keeps is whether the answer may be shared; nothing, where it was not reached.
    return "bypass" if ctx.kept_by(ResponseCachePlugin.NAME) is False else ""


def _limits(exchange: "Exchange") -> Iterator[_Share]:
    taken = exchange.ctx.kept_by(RateLimiterPlugin.NAME)
    if isinstance(taken, Taken):
        for claim, level in zip(taken.claims, taken.verdict.levels, strict=True):
            yield _Share(claim.bucket.key, claim.bucket.limit, claim.cost, level.remaining)


def _line(told: _Told) -> bytes:
    """One line of ASCII, within the bound."""
    line = _ascii(_shortened(told, BYTES_MAX, BYTES_MAX))
    for chars_max, items_max in zip(_CHARS_MAX, _ITEMS_MAX, strict=True):
        if len(line) <= BYTES_MAX:
            break
        cut = msgspec.structs.replace(_shortened(told, chars_max, items_max), cut=True)
        line = _ascii(msgspec.structs.replace(cut, request_id=told.request_id))
    return line


def _shortened(told: _Told, chars_max: int, items_max: int) -> _Told:
    def text(value: str) -> str:
        # What no UTF-8 has is told as a question mark.
        return value[:chars_max].encode("utf-8", "replace").decode()

    def texts(values: list[str]) -> list[str]:
        return [text(value) for value in values[:items_max]]

    fields = {name: getattr(told, name) for name in told.__struct_fields__}
    return msgspec.structs.replace(
        told,
        **{name: text(value) for name, value in fields.items() if isinstance(value, str)},
        plugins={phase: texts(names) for phase, names in told.plugins.items()},
        tried=texts(told.tried),
        limits=[
            msgspec.structs.replace(limit, bucket=text(limit.bucket)) for limit in told.limits[:items_max]
        ],
    )


def _ascii(told: _Told) -> bytes:
    return _NOT_PLAIN.sub(_escape, msgspec.json.encode(told).decode()).encode()


def _escape(found: re.Match[str]) -> str:
    """A character as JSON's escapes, two of them where UTF-16 needs a pair."""
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
