"""Calling: from a composed call to its written request, as often as it takes.

An exchange has one direction or several. The first one whose breaker is closed is called. When a call fails
before a byte of an answer has gone to the caller, this file decides whether it is made again, where and when:

- Only where trying again can help. The fault table says so of each cause: *here* (the same target may well do
  better), *elsewhere* (only another target can), or not at all.
- Another target first, at once; when all of them have been tried, the next round begins after a pause. A
  pause is drawn from zero up to `delay * 2**round` (full jitter: the callers of a crowd must not come back
  as one), and no target is called again before its own Retry-After. One that may not be called (left alone,
  no turn, no credentials, a model that can't take the call) is passed over, as long as there is another.
- Within the exchange's own time. A pause that would outlast the total limit is not begun: the caller hears
  the fault now, with all the time it has left. Nor is one in which a streaming caller would have to be kept
  alive: that would commit its status line to a success which nothing speaks for yet.
- Within the retry budget and the breaker's trial, which belong to all exchanges together. They are asked
  (`Turn`) before each repetition, and before the first call at a target on trial; a healthy target's first
  call asks nobody.
- AWS refuses credentials when they have expired early, or were rotated: once, newer ones are asked for, and
  the call is made again with them.
- The last fault is what the caller hears. A draining gateway repeats nothing.

Sources: https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/ (full jitter, retry
budgets); Envoy's outlier detection and retry budgets, whose terms these are.
"""

from collections.abc import Iterable
from typing import Final

from stargate_core.aws.operations import Operation
from stargate_core.clock import SECOND
from stargate_core.direction import Direction
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.gateway.composing import composed
from stargate_core.gateway.exchange import TABLE, Exchange, Timer
from stargate_core.gateway.states import (
    SETTLED,
    Admitting,
    Asking,
    Awaiting,
    Collecting,
    Gathering,
    Opening,
    Pausing,
    Peeking,
    Settled,
    State,
    Streaming,
    Tailing,
)
from stargate_core.gateway.tracing import Tracer
from stargate_core.gateway.upstream import SharedAnswer, UpstreamCall
from stargate_core.messages import (
    Answered,
    Ask,
    ClientDrained,
    ClientEnded,
    ClientLost,
    ClientStalled,
    Health,
    OpenUpstream,
    ReleaseUpstream,
    SessionCommand,
    Source,
    Ticked,
    Trouble,
    Unanswered,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamOpened,
    UpstreamSent,
    WriteUpstream,
)
from stargate_core.questions import RefreshCredentials, Turn
from stargate_core.wire.http1 import client_codec

PAUSE_NS_MAX: Final = 30 * SECOND
"""The longest pause that is drawn."""
_LOOK_AGAIN_NS: Final = SECOND // 4
"""A keep-alive that is due while no call is under way is put off for so long."""
_TROUBLES: Final = {
    Trouble.REFUSED: Cause.CONNECT_FAILED,
    Trouble.UNREACHABLE: Cause.CONNECT_FAILED,
    Trouble.NAME_UNKNOWN: Cause.CONNECT_FAILED,
    Trouble.TLS: Cause.TLS_FAILED,
    Trouble.CONNECT_TIMEOUT: Cause.CONNECT_TIMEOUT,
    Trouble.POOL_TIMEOUT: Cause.POOL_TIMEOUT,
}


def compose(exchange: Exchange, direction: Direction) -> None:
    """The call as this direction's target wants it, and a fresh translator for its answer. Raises Refused."""
    ask = exchange.ctx.read_ask()
    call, last = exchange.call, exchange.direction
    if call is None or last is None or last.target != direction.target:
        exchange.call = call = composed(exchange, direction.target)
    exchange.direction = direction
    exchange.translator = exchange.dialect.translator(exchange.request, ask, call)


def begin_call(exchange: Exchange, now: int, out: list[SessionCommand]) -> State:
    """Make the first attempt, at the first direction that may be called."""
    host, first = exchange.host, exchange.ctx.directions[0]
    if not host.health and host.authority.signer(first) is not None and first is exchange.direction:
        return open_upstream(exchange, now, out, fresh=False)  # As nearly always.
    return _turn_to(exchange, range(len(exchange.ctx.directions)), None, now, out)


def call_failed(exchange: Exchange, now: int, fault: Fault, out: list[SessionCommand]) -> State:
    """An attempt has failed: make the call again if that may help and is allowed; else the caller is told."""
    exchange.let_go(out)
    exchange.conclude(now, fault)
    exchange.end_stall(now)
    exchange.state = SETTLED  # What the state held has been given back.
    exchange.timers.disarm(Timer.STEP)
    if isinstance(exchange.upstream, SharedAnswer):
        return _unshare(exchange, exchange.upstream, now, fault, out)
    if exchange.head_written or exchange.host.draining:
        return exchange.fail(now, fault, out)
    if fault.cause is Cause.UPSTREAM_CREDENTIALS and _may_refresh(exchange):
        return _refresh(exchange, now, fault, out)
    if exchange.repeats >= exchange.ctx.persistence.count:
        return exchange.fail(now, fault, out)
    at = _next(exchange, fault)
    if at is None:
        return exchange.fail(now, fault, out)
    exchange.repeats += 1
    pause_ns = _pause_ns(exchange, at, now, fault)
    if not pause_ns:
        return _turn_to(exchange, (at, *_behind(exchange, at, fault)), fault, now, out)
    patient_until = min(exchange.timers.when(Timer.TOTAL), exchange.timers.when(Timer.KEEPALIVE))
    if pause_ns > PAUSE_NS_MAX or now + pause_ns >= patient_until:
        return exchange.fail(now, fault, out)
    exchange.timers.arm(Timer.STEP, now + pause_ns)
    return Pausing(at, fault)


def _unshare(
    exchange: Exchange, answer: SharedAnswer, now: int, fault: Fault, out: list[SessionCommand]
) -> State:
    """A shared answer has failed: whoever made the call has done all that could be done. A kept one that
    cannot be read is as good as none.
    """
    if answer.source is not Source.KEPT or exchange.head_written:
        return exchange.fail(now, fault, out)
    assert exchange.call is not None
    exchange.upstream, exchange.ctx.answer_source = None, None
    exchange.called_at = exchange.opened_at = exchange.sent_at = 0  # What was waited for was not Bedrock.
    exchange.translator = exchange.dialect.translator(
        exchange.request, exchange.ctx.read_ask(), exchange.call
    )
    return begin_call(exchange, now, out)


def _at(exchange: Exchange) -> int:
    """The number of the direction at hand."""
    assert exchange.direction is not None
    return exchange.ctx.directions.index(exchange.direction)


def _next(exchange: Exchange, fault: Fault) -> int | None:
    """Where to make the call again: at the next direction, or, where that can help, at the same one."""
    directions, row = exchange.ctx.directions, fault.row
    if not (row.retry_here or row.retry_elsewhere):
        return None
    here = _at(exchange)
    for step in range(1, len(directions)):
        at = (here + step) % len(directions)
        if not _is_open(exchange, directions[at]):
            # Only another target can help: so not one of those that have been tried before.
            return at if row.retry_here or exchange.repeats < len(directions) - 1 else None
    return here if row.retry_here else None


def _behind(exchange: Exchange, at: int, fault: Fault) -> list[int]:
    """Which directions come next where the one of number `at` may not be called: up to the one that has
    failed, and not including it, for it would have to be waited for.
    """
    here, count = _at(exchange), len(exchange.ctx.directions)
    numbers = [(at + step) % count for step in range(1, (here - at) % count)]
    # Only another target can help: those before the one that has failed have been tried, or left out.
    return numbers if fault.row.retry_here else [number for number in numbers if number > here]


def _pause_ns(exchange: Exchange, at: int, now: int, fault: Fault) -> int:
    """How long to wait: not at all between targets, unless all of them have had their turn."""
    here, count = _at(exchange), len(exchange.ctx.directions)
    if fault.retry_after_seconds is not None:
        until = now + fault.retry_after_seconds * SECOND
        exchange.not_before = {**(exchange.not_before or {}), here: until}
    rounds, step = divmod(exchange.repeats, count)
    if step and at != here:
        return 0
    longest = min(exchange.ctx.persistence.delay_ns << min(max(rounds - 1, 0), 20), PAUSE_NS_MAX)
    drawn = int(exchange.host.chance.fraction() * longest)
    return max(drawn, (exchange.not_before or {}).get(at, 0) - now)


def _is_open(exchange: Exchange, direction: Direction) -> bool:
    told = exchange.host.health.get(direction.name)
    return told is not None and told.health is Health.OPEN


def _turn_to(
    exchange: Exchange, numbers: Iterable[int], fault: Fault | None, now: int, out: list[SessionCommand]
) -> State:
    """Call the first of these directions that may be called; ask for a turn where that is due.

    fault: why the attempt before has failed; None before the first.
    """
    health = exchange.host.health
    missing: Fault | None = None
    for number in numbers:
        direction = exchange.ctx.directions[number]
        told = health.get(direction.name) if health else None
        if told is not None and told.health is Health.OPEN:
            continue
        if exchange.host.authority.signer(direction) is None:
            missing = Fault(Cause.CREDENTIALS_MISSING, detail=f"account {direction.account or 'default'!r}")
            continue
        if fault is not None and not _is_taken(exchange, direction):
            continue
        if fault is None and (told is None or told.health is Health.CLOSED):
            return _call(exchange, number, fault, now, out)
        ticket = exchange.host.next_ticket()
        out.append(Ask(ticket, Turn(direction.name, direction.breaker, repeats=fault is not None)))
        if exchange.tracer is not None:
            exchange.tracer.wait(now, "turn", ("stargate.target", direction.name))
        return Asking(ticket, number, fault)
    return exchange.fail(now, fault or missing or _left_alone(exchange, now), out)


def _is_taken(exchange: Exchange, direction: Direction) -> bool:
    """Whether this direction's model takes the call at all; no turn must be spent to find that out."""
    assert exchange.direction is not None
    if direction.target == exchange.direction.target:
        return True
    try:
        composed(exchange, direction.target)
    except Refused:
        return False
    return True


def _call(exchange: Exchange, number: int, fault: Fault | None, now: int, out: list[SessionCommand]) -> State:
    """Make the call at this direction, of which nobody has said no."""
    direction = exchange.ctx.directions[number]
    if direction is not exchange.direction or fault is not None:
        try:
            compose(exchange, direction)
        except Refused as refused:
            return exchange.fail(now, fault or refused.fault, out)
    return open_upstream(exchange, now, out, fresh=False)


def _left_alone(exchange: Exchange, now: int) -> Fault:
    """All targets are left alone by their breakers: how long still, the nearest of them."""
    health = exchange.host.health
    waits = [health[one.name].until_ns - now for one in exchange.ctx.directions if one.name in health]
    seconds = max(1, -(-min(waits, default=SECOND) // SECOND))
    return Fault(Cause.CIRCUIT_OPEN, detail="breakers of all targets are open", retry_after_seconds=seconds)


def _may_refresh(exchange: Exchange) -> bool:
    """Whether newer credentials than the refused ones may be found; fixed ones stand in the configuration."""
    direction = exchange.direction
    assert direction is not None
    return not exchange.refreshed and direction.credentials is None and direction.api_key is None


def _refresh(exchange: Exchange, now: int, fault: Fault, out: list[SessionCommand]) -> Asking:
    """Once, ask for newer credentials."""
    assert exchange.direction is not None
    exchange.refreshed = True
    ticket, account = exchange.host.next_ticket(), exchange.direction.account
    out.append(Ask(ticket, RefreshCredentials(account, exchange.host.authority.access_key_id(account))))
    if exchange.tracer is not None:
        exchange.tracer.wait(now, "newer credentials", ("stargate.account", account))
    return Asking(ticket, _at(exchange), fault)


def open_upstream(exchange: Exchange, now: int, out: list[SessionCommand], *, fresh: bool) -> Opening:
    """Ask for a lease; for what must not be done twice, of a connection that cannot have died meanwhile."""
    assert exchange.direction is not None
    assert exchange.call is not None
    fresh = fresh or exchange.call.operation is Operation.START_ASYNC_INVOKE
    ticket = exchange.host.next_ticket()
    exchange.opened_at = now
    exchange.sent_at = 0
    exchange.reported = False
    exchange.upstream = None  # What an earlier attempt has heard says nothing of this one.
    if exchange.tracer is not None and exchange.attempts:
        _note_repetition(exchange, now, exchange.tracer)
    out.append(OpenUpstream(ticket, exchange.direction.endpoint, fresh))
    return Opening(ticket, fresh)


def _note_repetition(exchange: Exchange, now: int, tracer: Tracer) -> None:
    """The call is made again: at the target that has failed, at another, or on a fresh connection."""
    last, direction = exchange.tried[-1:], exchange.direction
    assert direction is not None
    name = direction.name or direction.region
    if not exchange.repeats and not last:
        tracer.note(now, "fresh connection", ("stargate.target", name))
    else:
        kind = "retry" if last and last[0].startswith(f"{name} ") else "failover"
        tracer.note(now, kind, ("stargate.target", name))


# -------------------------------------------------------------------------------------------------- the rules


@TABLE.on(Asking, Answered, Unanswered)
def _answered(
    exchange: Exchange, state: Asking, now: int, event: Answered | Unanswered, out: list[SessionCommand]
) -> State:
    """Call if the answer is yes, or if nobody could say; else the next target may be healthy."""
    if event.ticket != state.ticket:
        return state
    exchange.state = SETTLED  # Nothing is held until the next lease is asked for.
    if exchange.tracer is not None:
        exchange.tracer.waited(now, failed=isinstance(event, Unanswered))
    directions, fault = exchange.ctx.directions, state.fault
    if isinstance(event, Answered) and event.answer is False:
        others = range(state.at + 1, len(directions)) if fault is None else _behind(exchange, state.at, fault)
        return _turn_to(exchange, others, fault, now, out)
    if exchange.host.authority.signer(directions[state.at]) is None:
        return exchange.fail(now, fault or Fault(Cause.CREDENTIALS_MISSING), out)
    return _call(exchange, state.at, fault, now, out)


@TABLE.on(Pausing, Ticked)
def _pause_ticked(
    exchange: Exchange, state: Pausing, now: int, _event: Ticked, out: list[SessionCommand]
) -> State:
    """The pause is over, or the total limit has come."""
    timers = exchange.timers
    if timers.due(Timer.TOTAL, now):
        return exchange.fail(now, Fault(Cause.TOTAL_TIMEOUT), out)
    _put_off_keepalive(exchange, now)  # No pause outlasts the interval; but the tick may be late.
    timers.disarm(Timer.STEP)
    exchange.state = SETTLED
    if exchange.host.draining:
        return exchange.fail(now, state.fault, out)
    numbers = (state.at, *_behind(exchange, state.at, state.fault))
    return _turn_to(exchange, numbers, state.fault, now, out)


@TABLE.on(Opening, UpstreamOpened)
def _opened(
    exchange: Exchange, state: Opening, now: int, event: UpstreamOpened, out: list[SessionCommand]
) -> State:
    """Sign the call with the time of this moment, and write it."""
    if event.ticket != state.ticket:
        return _unwanted(exchange, state, now, event, out)
    direction, call = exchange.direction, exchange.call
    assert direction is not None
    assert call is not None
    signer = exchange.host.authority.signer(direction)
    if signer is None:
        out.append(ReleaseUpstream(event.lease))
        return exchange.fail_without_lease(now, Fault(Cause.CREDENTIALS_MISSING), out)
    codec = client_codec(codec=exchange.host.plan.limits.http_codec)
    upstream = UpstreamCall(call, direction, codec, event.lease, event.reused and not state.fresh)
    unsigned = None if exchange.trace is None else exchange.trace_of_call(exchange.trace)
    try:
        data = upstream.request(signer, exchange.ctx.wall_ns, unsigned)
    except ValueError:
        # A key or token of the configuration that no header can bear: one with a line end, say.
        out.append(ReleaseUpstream(event.lease))
        fault = Fault(Cause.CREDENTIALS_MISSING, detail="the configured credentials do not fit into a header")
        return exchange.fail_without_lease(now, fault, out)
    exchange.upstream = upstream
    exchange.attempts += 1
    exchange.sent_at = now
    if not exchange.called_at:
        exchange.called_at = now if event.reused else exchange.opened_at
    if exchange.host.stalled:
        exchange.stalled_at = now
    out.append(WriteUpstream(event.lease, data))
    exchange.arm_first_token(now)
    exchange.arm_keepalive(now)
    return Awaiting(upstream)


@TABLE.on(Opening, UpstreamFailed)
def _refused(
    exchange: Exchange, state: Opening, now: int, event: UpstreamFailed, out: list[SessionCommand]
) -> State:
    """No connection: try again, or an honest error."""
    if event.ticket != state.ticket:
        return state
    exchange.state = SETTLED
    exchange.called_at = exchange.called_at or exchange.opened_at
    return call_failed(exchange, now, Fault(_TROUBLES[event.trouble], detail=event.detail), out)


@TABLE.on((Opening, Asking), Ticked)
def _opening_ticked(
    exchange: Exchange, state: Opening | Asking, now: int, _event: Ticked, out: list[SessionCommand]
) -> State:
    """The total limit has come."""
    if exchange.timers.due(Timer.TOTAL, now):
        return exchange.fail(now, Fault(Cause.TOTAL_TIMEOUT), out)
    _put_off_keepalive(exchange, now)
    return state


def _put_off_keepalive(exchange: Exchange, now: int) -> None:
    """A keep-alive is given while an answer is awaited; between two calls it waits for the second."""
    if exchange.timers.due(Timer.KEEPALIVE, now):
        exchange.timers.arm(Timer.KEEPALIVE, now + _LOOK_AGAIN_NS)


@TABLE.on(
    (Admitting, Asking, Pausing, Awaiting, Collecting, Peeking, Streaming, Tailing, Gathering, Settled),
    UpstreamOpened,
)
def _unwanted(
    _exchange: Exchange, state: State, _now: int, event: UpstreamOpened, out: list[SessionCommand]
) -> State:
    """A lease for a ticket that was withdrawn: it has carried nothing of ours, so it goes back clean."""
    if not (isinstance(state, Awaiting) and state.call.lease == event.lease):
        out.append(ReleaseUpstream(event.lease))
    return state


@TABLE.on((Asking, Pausing, Opening), ClientEnded, ClientLost)
def _left(exchange: Exchange, _state: State, now: int, _event: object, out: list[SessionCommand]) -> State:
    """Nobody waits for the answer: withdraw what was asked for."""
    return exchange.client_left(now, out)


TABLE.ignore(
    (Asking, Pausing, Awaiting, Collecting, Peeking, Streaming, Tailing, Settled),
    UpstreamFailed,
    because="a late answer to a ticket that was withdrawn",
)
TABLE.ignore(
    (Pausing, Opening, Awaiting, Collecting, Peeking, Streaming, Tailing, Settled),
    Answered,
    Unanswered,
    because="a late answer to a question that was withdrawn",
)
TABLE.ignore(
    (Asking, Pausing, Opening, Settled),
    UpstreamSent,
    UpstreamEnded,
    UpstreamLost,
    because="a late fact about a lease that was given back",
)
TABLE.ignore(
    (Asking, Pausing, Opening),
    ClientStalled,
    ClientDrained,
    because="no clock of these states watches a peer that the caller's slowness could hold up",
)
