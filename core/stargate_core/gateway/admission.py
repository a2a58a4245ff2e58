"""Admission: from the request's last byte to a composed call.

Rewrite hooks run, the route is found, access hooks run (and learn who is calling, after which the rest run
with that consumer's own configuration), and the dialect composes the call, which is then made (calling.py) or
ordered (following.py). The dialect reads the request when a hook, or the call, first needs to know what is
asked: so a caller without a key hears of the key, and not of a slip in the body. Each step may refuse, and a
hook may wait: the state then holds the script, and either the `STEP` timer or the answer to a question says
when to go on.
"""

from typing import Any, Final

import msgspec

from stargate_core.asking import Asking, CallFailed, Calling
from stargate_core.dialects.face import Reply, Request
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.gateway.beside import call_beside, say
from stargate_core.gateway.calling import begin_call, compose
from stargate_core.gateway.exchange import TABLE, Exchange, Timer
from stargate_core.gateway.following import follow
from stargate_core.gateway.gathering import gather
from stargate_core.gateway.places import Match
from stargate_core.gateway.plan import Chain, Hook, Plan
from stargate_core.gateway.settlement import fault_headers
from stargate_core.gateway.states import Admitting, State
from stargate_core.messages import (
    AnswerBegan,
    Answered,
    AnswerEnded,
    AnswerFailed,
    AnswerSent,
    Ask,
    ClientDrained,
    ClientEnded,
    ClientLost,
    ClientStalled,
    SessionCommand,
    Ticked,
    Unanswered,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamSent,
)
from stargate_core.misuse import PluginFailed
from stargate_core.phases import Phase, plugin_failed
from stargate_core.plugins.cors import CorsPlugin, is_preflight
from stargate_core.script import Pending, Runner, ScriptMisuse, Sleep, WaitFailed

_HEALTHY_PATHS: Final = frozenset({b"/healthz", b"/readyz"})
_ALLOW: Final = ((b"allow", b"GET, HEAD"),)


def begin(exchange: Exchange, now: int, out: list[SessionCommand]) -> None:
    """Run a fresh exchange until something must be waited for."""
    state = exchange.state
    assert isinstance(state, Admitting)
    exchange.quiet = exchange.request.path in _HEALTHY_PATHS
    tracing = exchange.host.plan.tracing
    if tracing is not None and not exchange.quiet:
        exchange.begin_trace(tracing)
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
        if exchange.ctx.words is not None:
            return say(exchange, exchange.ctx.words, now, out)
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
        if ctx.ready_reply is not None or ctx.words is not None:
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
            answer, state.answer = state.answer, None
            if isinstance(answer, WaitFailed):
                pending = runner.fail(answer)
            else:
                pending = runner.resume(answer)
            if pending is not None:
                _wait_for(exchange, state, pending, now)
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


def _wait_for(exchange: Exchange, state: Admitting, pending: Pending[Any], now: int) -> None:
    """See to it that what a script waits for will come. Raises ScriptMisuse where nothing can."""
    if isinstance(pending, Asking):
        state.ticket = exchange.host.next_ticket()
        exchange.ctx.out.append(Ask(state.ticket, pending.question))
        _trace_wait(exchange, state, now, type(pending.question).__name__)
    elif isinstance(pending, Calling):
        call_beside(exchange, state, pending, now)
        _trace_wait(exchange, state, now, pending.call.operation.value)
    elif isinstance(pending, Sleep):
        exchange.timers.arm(Timer.STEP, now + pending.duration_ns)
        _trace_wait(exchange, state, now, "Sleep")
    else:
        raise ScriptMisuse(f"nothing here answers a {type(pending).__name__}")


def _trace_wait(exchange: Exchange, state: Admitting, now: int, question: str) -> None:
    if exchange.tracer is not None:
        plugin, phase = exchange.ctx.plugin, state.phase.name.lower()
        exchange.tracer.wait(
            now,
            f"{phase} {plugin}",
            ("stargate.plugin", plugin),
            ("stargate.phase", phase),
            ("stargate.question", question),
        )


def _route(exchange: Exchange) -> tuple[Hook, ...]:
    """Find the route, and with it the dialect. Raises Refused."""
    plan = exchange.host.plan
    ctx = exchange.ctx
    request = ctx.known_request
    announced = request.method == b"OPTIONS" and _announced(plan, request)
    match = announced or plan.routes.match(request)
    exchange.dialect, exchange.request, exchange.route = match.dialect, match.request, match.name
    ctx.know_request(match.request)
    exchange.chain = plan.chain(match.place, None)
    ctx.know_dialect(match.dialect, match.name)
    return _cors_of(exchange.chain) if announced else exchange.chain.access


def _announced(plan: Plan, request: Request) -> Match | None:
    """Where a browser's preflight belongs: to the place of the request that it announces. None: it is no
    preflight, or nobody answers any there. Raises Refused where the request itself would be.

    No other plugin sees it: it bears no key, and there is nothing in it to be counted or called.
    """
    method = request.header(b"access-control-request-method")
    if method is None or not is_preflight(request):
        return None
    match = plan.routes.match(msgspec.structs.replace(request, method=method))
    if not _cors_of(plan.chain(match.place, None)):
        return None
    return msgspec.structs.replace(match, request=msgspec.structs.replace(match.request, method=b"OPTIONS"))


def _cors_of(chain: Chain) -> tuple[Hook, ...]:
    return tuple(hook for hook in chain.access if hook.plugin == CorsPlugin.NAME)


def _dispatch(exchange: Exchange, now: int, out: list[SessionCommand]) -> State:
    """All hooks have run: answer from here, or ask for a lease. Raises Refused."""
    ctx = exchange.ctx
    exchange.request = ctx.known_request
    ask = ctx.read_ask()
    if ask.local:
        return exchange.reply(now, exchange.dialect.answer_locally(exchange.request, ask, ctx.models), out)
    if not ctx.directions:
        raise Refused(
            Fault(Cause.INTERNAL, detail="no plugin said where the call goes; is bedrock-proxy configured?")
        )
    first = ctx.directions[0]
    if first.total_ns is not None:
        due = min(exchange.timers.when(Timer.TOTAL), exchange.begun_at + first.total_ns)
        exchange.timers.arm(Timer.TOTAL, due)
    compose(exchange, first)
    if exchange.call is not None and exchange.call.more_bodies:
        return gather(exchange, now, out)
    if ctx.sharing is not None:
        return follow(exchange, ctx.sharing, now, out)
    return begin_call(exchange, now, out)


# -------------------------------------------------------------------------------------------------- the rules


@TABLE.on(Admitting, Ticked)
def _wake(exchange: Exchange, state: Admitting, now: int, _event: Ticked, out: list[SessionCommand]) -> State:
    """Go on with the hook that slept; or the total limit has come."""
    if exchange.timers.due(Timer.TOTAL, now):
        return exchange.fail(now, Fault(Cause.TOTAL_TIMEOUT), out)
    exchange.timers.disarm(Timer.STEP)
    if exchange.tracer is not None:
        exchange.tracer.waited(now)
    return _admit(exchange, state, now, out)


@TABLE.on(Admitting, Answered)
def _answered(
    exchange: Exchange, state: Admitting, now: int, event: Answered, out: list[SessionCommand]
) -> State:
    """Go on with the hook that has asked."""
    if event.ticket != state.ticket:
        return state
    state.ticket, state.answer = 0, event.answer
    if exchange.tracer is not None:
        exchange.tracer.waited(now)
    return _admit(exchange, state, now, out)


@TABLE.on(Admitting, Unanswered)
def _unanswered(
    exchange: Exchange, state: Admitting, now: int, event: Unanswered, out: list[SessionCommand]
) -> State:
    """The same: it decides what that means."""
    if event.ticket != state.ticket:
        return state
    state.ticket, state.answer = 0, WaitFailed(event.why)
    if exchange.tracer is not None:
        exchange.tracer.waited(now, failed=True)
    return _admit(exchange, state, now, out)


@TABLE.on(Admitting, AnswerBegan)
def _call_began(
    _exchange: Exchange, state: Admitting, _now: int, event: AnswerBegan, _out: list[SessionCommand]
) -> State:
    """The head of the answer to a plugin's own call."""
    if state.call is not None and event.ticket == state.ticket:
        state.call.begin(200, event.headers)
    return state


@TABLE.on(Admitting, AnswerSent)
def _call_sent(
    _exchange: Exchange, state: Admitting, _now: int, event: AnswerSent, _out: list[SessionCommand]
) -> State:
    """More of its body; what is longer than an answer may be is no good one."""
    if state.call is not None and event.ticket == state.ticket:
        state.call.receive(event.data)
    return state


@TABLE.on(Admitting, AnswerEnded)
def _call_ended(
    exchange: Exchange, state: Admitting, now: int, event: AnswerEnded, out: list[SessionCommand]
) -> State:
    """Go on with the hook that has made it."""
    call = state.call
    if call is None or event.ticket != state.ticket:
        return state
    fault = call.error()
    if call.failure is not None:
        fault = Fault(Cause.UPSTREAM_GARBLED, detail=f"not HTTP: {call.failure.reason}")
    if exchange.tracer is not None:
        exchange.tracer.waited(now, failed=fault is not None)
    state.ticket, state.call = 0, None
    state.answer = call.body if fault is None else CallFailed(fault)
    return _admit(exchange, state, now, out)


@TABLE.on(Admitting, AnswerFailed)
def _call_failed(
    exchange: Exchange, state: Admitting, now: int, event: AnswerFailed, out: list[SessionCommand]
) -> State:
    """The same: it decides what that means."""
    if state.call is None or event.ticket != state.ticket:
        return state
    if exchange.tracer is not None:
        exchange.tracer.waited(now, failed=True)
    exchange.tried += event.attempts
    state.ticket, state.call, state.answer = 0, None, CallFailed(event.fault)
    return _admit(exchange, state, now, out)


@TABLE.on(Admitting, ClientEnded, ClientLost)
def _left(exchange: Exchange, _state: State, now: int, _event: object, out: list[SessionCommand]) -> State:
    """Nobody waits for the answer: withdraw what was asked."""
    return exchange.client_left(now, out)


TABLE.ignore(
    Admitting,
    UpstreamFailed,
    UpstreamSent,
    UpstreamEnded,
    UpstreamLost,
    because="a late fact: no call of this exchange's own is under way yet",
)
TABLE.ignore(
    Admitting,
    ClientStalled,
    ClientDrained,
    because="no clock of this state watches a peer that the caller's slowness could hold up",
)
TABLE.seal()
