"""An explanation: what the gateway would do with a request, and why, told without sending anything.

`explain` has the request rehearsed by the real machines (rehearsal.py) and writes down what they then know:
where the request stands, which plugins run, who is calling, where the call may go, what it takes of which
limits, under what name its answer would be kept, and the very bytes that would go to Bedrock; or the answer
that the caller would be given instead, with its cause. Nothing here decides anything.

It is for the operator who asks, so the request's words are in it, and those of the call. No secret is: of an
`Authorization` header that we make only the signature's scope is left, of a session token nothing, and a
caller is named by its key's id.
"""

import base64
import enum
import re
from collections.abc import Iterator, Mapping
from typing import ClassVar, Final
from urllib.parse import unquote

import msgspec

from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.aws.endpoints import Endpoint
from stargate_core.dialects.face import Request
from stargate_core.direction import Direction, Order
from stargate_core.faults import Fault, Refused
from stargate_core.gateway.composing import composed
from stargate_core.gateway.exchange import Exchange
from stargate_core.gateway.plan import Hook, Plan
from stargate_core.gateway.rehearsal import Asked, Rehearsal, WatchedSession
from stargate_core.gateway.settlement import rfc3339
from stargate_core.phases import Phase
from stargate_core.secret import Private, Secret

PLACEHOLDER: Final = Credentials("AKIDEXAMPLE", Secret("no secret: nothing is sent"))
"""Credentials to explain with where the real ones are not at hand."""

_SIGNATURE: Final = re.compile(rb"Signature=[0-9a-f]+")
_BLANK: Final = "…blanked…"
_SECRET: Final = re.compile(r"auth|credential|key|password|secret|signature|token", re.IGNORECASE)
"""What a parameter of a query is called that lets somebody in: a key, or a presigned URL's signature."""
_NONE: Final = -1
_ALL: Final = 1_000_000
"""Of the hooks of a phase: more than there are."""
_NO_KEYS: Final[Mapping[str, bytes]] = {}


class NotWhole(ValueError):
    """The request ends before it is whole."""


class Ending(enum.Enum):
    """What becomes of a request."""

    SENT = "sent"
    """A call goes to Bedrock, unless its answer is kept already."""
    ANSWERED = "answered"
    """The gateway answers it, and not with a fault: a list of models, say."""
    REFUSED = "refused"


class Step(msgspec.Struct, frozen=True):
    """One plugin in one phase."""

    phase: str
    plugin: str
    priority: int
    state: str
    """ran | stopped here | would run | not reached"""


class Caller(msgspec.Struct, frozen=True):
    """Who is calling; the name is empty where nobody was asked, or nobody is known."""

    consumer: str = ""
    key_id: str = ""
    groups: tuple[str, ...] = ()
    models: tuple[str, ...] | None = None
    """What it may call; None: everything."""


class Wanted(Private, msgspec.Struct, frozen=True):
    """What the request asks for, as far as it could be read."""

    SHOWN: ClassVar[tuple[str, ...]] = ("operation",)

    model: str | None
    """None: the caller named none."""
    stream: bool
    operation: str
    """Of Bedrock's; empty until the call is composed."""
    output_tokens_max: int | None
    temperature: float | None
    target: str
    """What the model's name leads to first; empty: nowhere yet."""


class Way(Private, msgspec.Struct, frozen=True):
    """One direction that the call may take."""

    SHOWN: ClassVar[tuple[str, ...]] = ("name", "region", "account", "surface", "target", "authority")

    name: str
    region: str
    account: str
    """'' for the usual AWS chain's."""
    surface: str
    target: str
    url: str
    """What would be called; only where, if the call could not be composed for it."""
    authority: str
    """Whose word it bears."""
    refusal: str
    """Why the call cannot be composed for this one; empty: it can."""


class Limit(msgspec.Struct, frozen=True):
    """What the request takes of one bucket."""

    bucket: str
    algorithm: str
    limit: int
    window_seconds: float
    """0: a calendar month, or, for calls at a time, none."""
    cost: int
    remaining: int | None
    """Afterwards, had nobody else used it; None: the store would not say."""
    refused: bool


class CacheName(Private, msgspec.Struct, frozen=True):
    """Under what name the answer is kept or shared, and what the name is made of (cache_key.py)."""

    SHOWN: ClassVar[tuple[str, ...]] = ("digest", "scope", "operation")

    digest: str
    scope: str
    """Who shares: '' everybody."""
    kept_seconds: float
    age_max_seconds: float
    joins: bool
    """Whether a call that is being made already will do."""
    operation: str
    stream: bool
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    models: tuple[str, ...]
    body_bytes: int


class Message(Private, msgspec.Struct, frozen=True):
    """A request to Bedrock, or an answer to the caller."""

    SHOWN: ClassVar[tuple[str, ...]] = ("start", "encoding")

    start: str
    """`POST https://…`, or the status line."""
    headers: tuple[tuple[str, str], ...]
    body: str
    encoding: str
    """How `body` is written: utf-8, or base64 where it is no text."""
    times: int = 1
    """How many calls are made that differ from this one in their bodies only, itself included."""


class Refusal(Private, msgspec.Struct, frozen=True):
    """Why the caller is not served."""

    SHOWN: ClassVar[tuple[str, ...]] = ("cause", "code", "phase", "plugin")

    cause: str
    status: int
    code: str
    message: str
    detail: str
    """What the log would say beside it."""
    phase: str
    """Where: the phase whose hook was running; empty: none was."""
    plugin: str


class Explanation(Private, msgspec.Struct, frozen=True):
    """What the gateway would do with a request."""

    SHOWN: ClassVar[tuple[str, ...]] = ("at", "request_id", "route", "service", "place", "dialect")

    ending: Ending
    at: str
    """The time it was explained for, RFC 3339."""
    request_id: str
    generation: int
    method: str
    target: str
    route: str
    """The route's name, or that of the built-in paths; empty: none was found."""
    service: str
    """The configuration's service and route that it stands at; empty: the built-in paths."""
    place: str
    dialect: str
    plugins: tuple[Step, ...]
    caller: Caller
    wanted: Wanted | None
    """None: it was not read, or could not be."""
    ways: tuple[Way, ...]
    drawn: bool
    """Whether chance had a say in their order: with another seed it may be another."""
    repetitions: int
    """How often the call may be repeated."""
    limits: tuple[Limit, ...]
    cache: CacheName | None
    """None: the answer is neither kept nor shared."""
    asked: tuple[Asked, ...]
    """What had to be assumed."""
    notes: tuple[str, ...]
    """What an operator would be told at once."""
    call: Message | None
    answer: Message | None
    refusal: Refusal | None


def explain(
    plan: Plan,
    request: bytes,
    *,
    wall_ns: int,
    credentials: Credentials | BearerToken | None = PLACEHOLDER,
    keys: Mapping[str, bytes] = _NO_KEYS,
    client: str = "127.0.0.1",
    seed: int = 0,
) -> Explanation:
    """What would become of a request. Raises NotWhole where its bytes end too early.

    wall_ns: what time it is. credentials: of every account; None: there are none. keys: those that live in
    the store. client: the caller's address. seed: decides what is left to chance, ids included.
    """
    rehearsal = Rehearsal(plan, wall_ns=wall_ns, credentials=credentials, keys=keys, client=client, seed=seed)
    rehearsal.run(request)
    if not rehearsal.is_whole:
        raise NotWhole("the request ends before it is whole")
    session = rehearsal.session
    exchange = session.exchange
    if exchange is None:
        return _unread(plan, rehearsal, request, wall_ns)
    return _explanation(plan, rehearsal, exchange, wall_ns)


def _explanation(plan: Plan, rehearsal: Rehearsal, exchange: Exchange, wall_ns: int) -> Explanation:
    session, ctx = rehearsal.session, exchange.ctx
    follows = rehearsal.follows
    fault = exchange.fault
    if not rehearsal.is_settled:
        ending = Ending.SENT
    else:
        ending = Ending.ANSWERED if fault is None else Ending.REFUSED
    place = exchange.chain.place
    return Explanation(
        ending=ending,
        at=rfc3339(wall_ns),
        request_id=exchange.request.request_id,
        generation=plan.generation,
        method=_text(exchange.request.method),
        target=_asked_for(exchange.request),
        route=exchange.route,
        service=place.service or "",
        place=place.route or "",
        dialect=exchange.dialect.NAME,
        plugins=tuple(_steps(plan, session, exchange, ending)),
        caller=_caller(exchange),
        wanted=_wanted(exchange),
        ways=tuple(_way(exchange, direction) for direction in ctx.directions),
        drawn=session.draws > 0,
        repetitions=ctx.persistence.count,
        limits=tuple(_limits(rehearsal)),
        cache=_cache(follows[0].order) if follows else None,
        asked=tuple(rehearsal.asked),
        notes=_notes(rehearsal),
        call=_call(rehearsal, exchange) if ending is Ending.SENT else None,
        answer=None if ending is Ending.SENT else _message(rehearsal.told),
        refusal=None if fault is None else _refusal(fault, session),
    )


def _unread(plan: Plan, rehearsal: Rehearsal, request: bytes, wall_ns: int) -> Explanation:
    """Of bytes that the gateway takes for no request."""
    method, _, rest = request.partition(b"\r\n")[0].partition(b" ")
    session = rehearsal.session
    fault = session.fault
    assert fault is not None
    path = rest.partition(b" ")[0]
    return Explanation(
        ending=Ending.REFUSED,
        at=rfc3339(wall_ns),
        request_id="",
        generation=plan.generation,
        method=_text(method),
        target=_text(path),
        route="",
        service="",
        place="",
        dialect=plan.routes.guess(path.partition(b"?")[0]).NAME,
        plugins=(),
        caller=Caller(),
        wanted=None,
        ways=(),
        drawn=False,
        repetitions=0,
        limits=(),
        cache=None,
        asked=(),
        notes=_notes(rehearsal),
        call=None,
        answer=_message(rehearsal.told),
        refusal=_refusal(fault, session),
    )


def _notes(rehearsal: Rehearsal) -> tuple[str, ...]:
    return tuple(f"{note.level}: {note.text}" for note in rehearsal.notes)


# ---------------------------------------------------------------------------------------- plugins and callers


def _steps(plan: Plan, session: WatchedSession, exchange: Exchange, ending: Ending) -> Iterator[Step]:
    """Who runs, phase by phase, and how far it came."""
    admitting, chain = session.admitting, exchange.chain
    assert admitting is not None
    if exchange.quiet:
        return
    # A hook that has answered by itself is behind: the next one would have been its turn.
    stopped = admitting.index - (exchange.ctx.ready_reply is not None)
    is_behind_rewrite = admitting.phase is Phase.ACCESS
    yield from _admitted(Phase.REWRITE, plan.outer.rewrite, _ALL if is_behind_rewrite else stopped)
    yield from _admitted(Phase.ACCESS, chain.access, stopped if is_behind_rewrite else _NONE)
    answered = "ran" if ending is not Ending.SENT else "would run"
    yield from (_step(Phase.HEADER_FILTER, hook, answered) for hook in chain.header_filter)
    part = "not reached" if ending is not Ending.SENT else "would run"
    yield from (_step(Phase.BODY_FILTER, hook, part) for hook in chain.body_filter)
    yield from (_step(Phase.LOG, hook, answered) for hook in chain.log)


def _admitted(phase: Phase, hooks: tuple[Hook, ...], stopped: int) -> Iterator[Step]:
    """The hooks of a phase of which number `stopped` was the last to run."""
    for number, hook in enumerate(hooks):
        if number == stopped:
            state = "stopped here"
        else:
            state = "ran" if number < stopped else "not reached"
        yield _step(phase, hook, state)


def _step(phase: Phase, hook: Hook, state: str) -> Step:
    return Step(phase.name.lower(), hook.plugin, -hook.order[0], state)


def _caller(exchange: Exchange) -> Caller:
    consumer = exchange.ctx.consumer
    if consumer is None:
        return Caller()
    models = None if consumer.models is None else tuple(consumer.models)
    return Caller(consumer.username, exchange.ctx.key_id, tuple(consumer.groups), models)


def _refusal(fault: Fault, session: WatchedSession) -> Refusal:
    admitting, exchange = session.admitting, session.exchange
    phase = plugin = ""
    if admitting is not None and exchange is not None and admitting.index < len(admitting.hooks):
        phase = admitting.phase.name.lower()
        plugin = admitting.hooks[admitting.index].plugin
    row = fault.row
    return Refusal(
        fault.cause.name, fault.status or row.status, row.code, fault.text, fault.detail, phase, plugin
    )


# ----------------------------------------------------------------------------------------- what, and where to


def _wanted(exchange: Exchange) -> Wanted | None:
    ask, call, directions = exchange.ctx.known_ask, exchange.call, exchange.ctx.directions
    if ask is None:
        return None
    operation = ask.operation if call is None else call.operation
    return Wanted(
        model=ask.model,
        stream=ask.stream,
        operation="" if operation is None else operation.value,
        output_tokens_max=ask.output_tokens_max,
        temperature=ask.temperature,
        target=directions[0].target.model if directions else "",
    )


def _way(exchange: Exchange, direction: Direction) -> Way:
    path, refusal = b"", ""
    try:
        path = composed(exchange, direction.target).target
    except Refused as refused:
        refusal = f"{refused.fault.cause.name}: {refused.fault.text}"
    return Way(
        name=direction.name,
        region=direction.region,
        account=direction.account,
        surface=direction.target.surface.value,
        target=direction.target.model,
        url=_url(direction.endpoint, direction.endpoint.prefix.encode() + path),
        authority=_authority(direction),
        refusal=refusal,
    )


def _authority(direction: Direction) -> str:
    if direction.api_key is not None:
        return "a Bedrock API key of the configuration"
    if direction.credentials is not None:
        return f"the configuration's access key {direction.credentials.access_key_id}"
    return f"account {direction.account}" if direction.account else "the usual AWS chain"


def _url(endpoint: Endpoint, target: bytes) -> str:
    return f"{endpoint.scheme}://{_text(endpoint.authority)}{_text(target)}"


# ------------------------------------------------------------------------------------------- limits and cache


def _limits(rehearsal: Rehearsal) -> Iterator[Limit]:
    for take, verdict in rehearsal.takes:
        for number, claim in enumerate(take.claims):
            bucket = claim.bucket
            yield Limit(
                bucket=bucket.key,
                algorithm=bucket.algorithm.value,
                limit=bucket.limit,
                window_seconds=bucket.window_us / 1_000_000,
                cost=claim.cost,
                remaining=None if verdict is None else verdict.levels[number].remaining,
                refused=verdict is not None and verdict.refused == number,
            )


def _cache(order: Order) -> CacheName | None:
    call, sharing = order.call, order.sharing
    if not (sharing.share or sharing.ttl_us):
        return None  # Ordered like a shared answer, and neither kept nor shared: one call of a batch.
    return CacheName(
        digest=order.key,
        scope=sharing.scope,
        kept_seconds=sharing.ttl_us / 1_000_000,
        age_max_seconds=sharing.max_age_us / 1_000_000,
        joins=sharing.share,
        operation=call.operation.value,
        stream=call.stream,
        method=_text(call.method),
        target=_text(call.target),
        headers=tuple((_text(name), _text(value)) for name, value in sorted(call.headers)),
        models=tuple(sorted({one.target.model for one in order.directions})),
        body_bytes=len(call.body),
    )


# --------------------------------------------------------------------------------------------------- messages


def _call(rehearsal: Rehearsal, exchange: Exchange) -> Message:
    """The request that would be sent: our own writer's bytes, so they are taken apart by their blanks."""
    endpoint, call = rehearsal.endpoint, exchange.call
    assert endpoint is not None
    assert call is not None
    message = _message(rehearsal.written)
    method, target, _ = message.start.split(" ")
    return msgspec.structs.replace(
        message, start=f"{method} {_url(endpoint, target.encode('latin-1'))}", times=1 + len(call.more_bodies)
    )


def _message(data: bytes) -> Message:
    """The first message among bytes of our own writer's; what says `continue` is none."""
    while data.startswith(b"HTTP/1.1 100 "):
        data = data.partition(b"\r\n\r\n")[2]
    head, _, body = data.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    fields = [line.partition(b": ")[::2] for line in lines]
    try:
        text, encoding = body.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(body).decode(), "base64"
    headers = tuple((_text(name), _blanked(name, value)) for name, value in fields)
    return Message(_text(start), headers, text, encoding)


def _blanked(name: bytes, value: bytes) -> str:
    """A header's value, without what only a key's owner could write."""
    match name.lower():
        case b"authorization" if _SIGNATURE.search(value):
            return _text(_SIGNATURE.sub(b"Signature=" + _BLANK.encode(), value), "utf-8")
        case b"authorization":
            return f"{_text(value.partition(b' ')[0])} {_BLANK}"
        case b"x-amz-security-token":
            return _BLANK
        case _:
            return _text(value)


def _asked_for(request: Request) -> str:
    """The target as the caller wrote it, without what only a key's owner could write into a query."""
    path, mark, query = _text(request.target).partition("?")
    pairs = [pair.partition("=") for pair in query.split("&")]
    told = [
        name + sign + (_BLANK if sign and _SECRET.search(unquote(name)) else value)
        for name, sign, value in pairs
    ]
    return path + mark + "&".join(told)


def _text(data: bytes, encoding: str = "latin-1") -> str:
    return data.decode(encoding)
