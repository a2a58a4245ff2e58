"""Admission: from the request's last byte to the call's first.

Rewrite hooks run, the route is found, access hooks run (and learn who is calling, after which the rest run
with that consumer's own configuration), the dialect composes the call, a lease is asked for, and the call is
signed and written. The dialect reads the request when a hook, or the call, first needs to know what is asked:
so a caller without a key hears of the key, and not of a slip in the body. Each step may refuse, and a hook
may wait: the state then holds the script, and the `STEP` timer says when to go on.
"""

from typing import Any, Final

from stargate_core.dialects.face import Reply
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.gateway.exchange import (
    TABLE,
    Admitting,
    Awaiting,
    Collecting,
    Exchange,
    Opening,
    Peeking,
    Settled,
    State,
    Streaming,
    Tailing,
    Timer,
)
from stargate_core.gateway.plan import Hook
from stargate_core.gateway.settlement import fault_headers
from stargate_core.gateway.upstream import UpstreamCall
from stargate_core.messages import (
    ClientEnded,
    ClientLost,
    OpenUpstream,
    ReleaseUpstream,
    SessionCommand,
    Ticked,
    Trouble,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamOpened,
    UpstreamSent,
    WriteUpstream,
)
from stargate_core.phases import Phase, PluginFailed, plugin_failed
from stargate_core.script import Pending, Runner, ScriptMisuse, Sleep
from stargate_core.wire.http1 import client_codec

_HEALTHY_PATHS: Final = frozenset({b"/healthz", b"/readyz"})
_ALLOW: Final = ((b"allow", b"GET, HEAD"),)
_TROUBLES: Final = {
    Trouble.REFUSED: Cause.CONNECT_FAILED,
    Trouble.UNREACHABLE: Cause.CONNECT_FAILED,
    Trouble.NAME_UNKNOWN: Cause.CONNECT_FAILED,
    Trouble.TLS: Cause.TLS_FAILED,
    Trouble.CONNECT_TIMEOUT: Cause.CONNECT_TIMEOUT,
    Trouble.POOL_TIMEOUT: Cause.POOL_TIMEOUT,
}


def begin(exchange: Exchange, now: int, out: list[SessionCommand]) -> None:
    """Run a fresh exchange until something must be waited for."""
    state = exchange.state
    assert isinstance(state, Admitting)
    exchange.quiet = exchange.request.path in _HEALTHY_PATHS
    exchange.state = _admit(exchange, state, now, out)


def _health(exchange: Exchange) -> Reply:
    """Whether the gateway lives, and whether it is to be sent requests. Raises Refused."""
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if exchange.request.method not in (b"GET", b"HEAD"):
        raise Refused(Fault(Cause.METHOD_NOT_ALLOWED, headers=_ALLOW))
    if exchange.request.path == b"/healthz" or not exchange.host.draining:
        return Reply(200, headers, b'{"status":"ok"}')
    return Reply(503, headers + fault_headers(Fault(Cause.DRAINING)), b'{"status":"draining"}')


def _admit(exchange: Exchange, state: Admitting, now: int, out: list[SessionCommand]) -> State:
    """Run hooks, phase by phase, until one waits or the call can be made."""
    try:
        if exchange.quiet:
            return exchange.reply(now, _health(exchange), out)
        if state.phase is Phase.REWRITE:
            if not _run(exchange, state, now):
                return state
            if exchange.ctx.ready_reply is not None:
                return exchange.reply(now, exchange.ctx.ready_reply, out)
            state.phase, state.hooks, state.index = Phase.ACCESS, _route(exchange), 0
        if not _run(exchange, state, now):
            return state
        if exchange.ctx.ready_reply is not None:
            return exchange.reply(now, exchange.ctx.ready_reply, out)
        return _dispatch(exchange, now, out)
    except Refused as refused:
        return exchange.fail(now, refused.fault, out)
    except PluginFailed as failed:
        return exchange.fail(now, failed.fault, out)


def _run(exchange: Exchange, state: Admitting, now: int) -> bool:
    """Run the phase's hooks from `index` on; False when one of them waits."""
    ctx = exchange.ctx
    while state.index < len(state.hooks):
        hook = state.hooks[state.index]
        if not _step(exchange, state, hook, now):
            return False
        state.index += 1
        if ctx.ready_reply is not None:
            return True
        if ctx.consumer is not state.consumer:
            # From here on the consumer's own configuration counts.
            state.consumer = ctx.consumer
            exchange.chain = exchange.host.plan.chain(exchange.chain.place, ctx.consumer)
            state.hooks, state.index = exchange.chain.access, 0
            while state.index < len(state.hooks) and state.hooks[state.index].order <= hook.order:
                state.index += 1
    return True


def _step(exchange: Exchange, state: Admitting, hook: Hook, now: int) -> bool:
    """Start a hook, or go on with the script of its waiting; True when it is done."""
    ctx = exchange.ctx
    ctx.phase, ctx.plugin = state.phase, hook.plugin
    try:
        runner = state.runner
        if runner is None:
            script = hook.function(ctx)
            if script is not None:
                runner = state.runner = Runner(script)
        if runner is not None:
            pending = runner.resume()
            if pending is not None:
                _wait_for(exchange, pending, now)
                return False
        if ctx.ledger is not None:
            ctx.ledger.check()
    except Refused:
        raise
    except Exception as error:
        raise PluginFailed(plugin_failed(hook.plugin, state.phase, error)) from error
    finally:
        ctx.phase = 0
    state.runner = None
    return True


def _wait_for(exchange: Exchange, pending: Pending[Any], now: int) -> None:
    """See to it that what a script waits for will come. Raises ScriptMisuse where nothing can."""
    if not isinstance(pending, Sleep):
        raise ScriptMisuse(f"nothing here answers a {type(pending).__name__}")
    exchange.timers.arm(Timer.STEP, now + pending.duration_ns)


def _route(exchange: Exchange) -> tuple[Hook, ...]:
    """Find the route, and with it the dialect. Raises Refused."""
    plan = exchange.host.plan
    ctx = exchange.ctx
    match = plan.routes.match(ctx.known_request)
    exchange.dialect, exchange.request, exchange.route = match.dialect, match.request, match.name
    ctx.know_request(match.request)
    exchange.chain = plan.chain(match.place, None)
    ctx.know_dialect(match.dialect)
    return exchange.chain.access


def _dispatch(exchange: Exchange, now: int, out: list[SessionCommand]) -> State:
    """All hooks have run: answer from here, or ask for a lease. Raises Refused."""
    ctx = exchange.ctx
    ask = ctx.read_ask()
    if ask.local:
        return exchange.reply(now, exchange.dialect.answer_locally(exchange.request, ask, ctx.models), out)
    direction = ctx.direction
    if direction is None:
        raise Refused(
            Fault(Cause.INTERNAL, detail="no plugin said where the call goes; is bedrock-proxy configured?")
        )
    if direction.api_key is None and exchange.host.signer(direction) is None:
        raise Refused(Fault(Cause.CREDENTIALS_MISSING, detail=f"account {direction.account or 'default'!r}"))
    if direction.total_ns is not None:
        due = min(exchange.timers.when(Timer.TOTAL), exchange.begun_at + direction.total_ns)
        exchange.timers.arm(Timer.TOTAL, due)
    exchange.call = exchange.dialect.compose(exchange.request, ask, direction.target)
    exchange.translator = exchange.dialect.translator(exchange.request, ask, exchange.call)
    return open_upstream(exchange, now, out, fresh=False)


def open_upstream(exchange: Exchange, now: int, out: list[SessionCommand], *, fresh: bool) -> Opening:
    """Ask for a lease."""
    assert exchange.ctx.direction is not None
    ticket = exchange.host.next_ticket()
    exchange.opened_at = now
    exchange.sent_at = 0
    out.append(OpenUpstream(ticket, exchange.ctx.direction.endpoint, fresh))
    return Opening(ticket)


# -------------------------------------------------------------------------------------------------- the rules


@TABLE.on(Admitting, Ticked)
def _wake(exchange: Exchange, state: Admitting, now: int, _event: Ticked, out: list[SessionCommand]) -> State:
    """Go on with the hook that slept; or the total limit has come."""
    if exchange.timers.due(Timer.TOTAL, now):
        return exchange.fail(now, Fault(Cause.TOTAL_TIMEOUT), out)
    if not exchange.timers.due(Timer.STEP, now):
        return state
    exchange.timers.disarm(Timer.STEP)
    return _admit(exchange, state, now, out)


@TABLE.on(Opening, UpstreamOpened)
def _opened(
    exchange: Exchange, state: Opening, now: int, event: UpstreamOpened, out: list[SessionCommand]
) -> State:
    """Sign the call with the time of this moment, and write it."""
    if event.ticket != state.ticket:
        return _unwanted(exchange, state, now, event, out)
    direction, call = exchange.ctx.direction, exchange.call
    assert direction is not None
    assert call is not None
    signer = None if direction.api_key is not None else exchange.host.signer(direction)
    if signer is None and direction.api_key is None:
        out.append(ReleaseUpstream(event.lease))
        return exchange.fail_without_lease(now, Fault(Cause.CREDENTIALS_MISSING), out)
    codec = client_codec(codec=exchange.host.plan.limits.http_codec)
    upstream = UpstreamCall(call, direction, codec, event.lease, event.reused)
    try:
        data = upstream.request(signer, exchange.ctx.wall_ns)
    except ValueError:
        # A key or token of the configuration that no header can bear: one with a line end, say.
        out.append(ReleaseUpstream(event.lease))
        fault = Fault(Cause.CREDENTIALS_MISSING, detail="the configured credentials do not fit into a header")
        return exchange.fail_without_lease(now, fault, out)
    exchange.upstream = upstream
    exchange.attempts += 1
    exchange.sent_at = now
    out.append(WriteUpstream(event.lease, data))
    exchange.arm_first_token(now)
    exchange.arm_keepalive(now)
    return Awaiting(upstream)


@TABLE.on(Opening, UpstreamFailed)
def _refused(
    exchange: Exchange, state: Opening, now: int, event: UpstreamFailed, out: list[SessionCommand]
) -> State:
    """No connection: an honest error."""
    if event.ticket != state.ticket:
        return state
    fault = Fault(_TROUBLES[event.trouble], detail=event.detail)
    return exchange.fail_without_lease(now, fault, out)


@TABLE.on(Opening, Ticked)
def _opening_ticked(
    exchange: Exchange, state: Opening, now: int, _event: Ticked, out: list[SessionCommand]
) -> State:
    """The total limit has come."""
    if exchange.timers.due(Timer.TOTAL, now):
        return exchange.fail(now, Fault(Cause.TOTAL_TIMEOUT), out)
    return state


@TABLE.on((Admitting, Awaiting, Collecting, Peeking, Streaming, Tailing, Settled), UpstreamOpened)
def _unwanted(
    _exchange: Exchange, state: State, _now: int, event: UpstreamOpened, out: list[SessionCommand]
) -> State:
    """A lease for a ticket that was withdrawn: it has carried nothing of ours, so it goes back clean."""
    if not (isinstance(state, Awaiting) and state.call.lease == event.lease):
        out.append(ReleaseUpstream(event.lease))
    return state


@TABLE.on((Admitting, Opening), ClientEnded, ClientLost)
def _left(exchange: Exchange, _state: State, now: int, _event: object, out: list[SessionCommand]) -> State:
    """Nobody waits for the answer: withdraw what was asked for."""
    return exchange.client_left(now, out)


TABLE.ignore(
    (Admitting, Awaiting, Collecting, Peeking, Streaming, Tailing, Settled),
    UpstreamFailed,
    because="a late answer to a ticket that was withdrawn",
)
TABLE.ignore(
    (Admitting, Opening, Settled),
    UpstreamSent,
    UpstreamEnded,
    UpstreamLost,
    because="a late fact about a lease that was given back",
)
