"""Gathering: one request that needs several calls, and the one answer that all of theirs make.

An embedding of a thousand texts is a thousand calls to a model that takes one at a time. Each of them is
ordered like a shared answer (following.py): a flight makes it, with retries, breakers and time limits of its
own, and where the answers may be kept, each text's is kept by itself. `WINDOW` of them are in the air at a
time; the next one starts when one has landed.

- The answers are put in the order of the calls, whatever order they come in.
- The first that fails fails the request: half an answer to an embedding is none. The others are given up.
- A batch keeps to one model. Its calls go to any target of the first one's model, and to no other: vectors of
  two models cannot be compared, so an answer made of both would be wrong without looking it.
- Together the answers are bounded as one would be.

A caller that takes nothing changes nothing here: the answers are whole, and bounded. One that leaves ends the
calls that are under way.
"""

from typing import TYPE_CHECKING, Final, cast

import msgspec

from stargate_core.dialects.face import BadAnswer, Call, Headers
from stargate_core.direction import Sharing
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.answering import reply_whole
from stargate_core.gateway.exchange import SETTLED, TABLE, Exchange, Gathering, State, Timer
from stargate_core.gateway.following import order_for
from stargate_core.gateway.upstream import ANSWER_BYTES_MAX, SharedAnswer
from stargate_core.messages import (
    AnswerBegan,
    Answered,
    AnswerEnded,
    AnswerFailed,
    AnswerSent,
    ClientDrained,
    ClientEnded,
    ClientLost,
    ClientStalled,
    Follow,
    SessionCommand,
    Ticked,
    Unanswered,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamSent,
)

if TYPE_CHECKING:
    from stargate_core.dialects.face import Gatherer

WINDOW: Final = 8
"""Calls of one request that are in the air at a time."""
_ALONE: Final = Sharing("", ttl_us=0, max_age_us=0, share=False)
"""Neither kept nor shared: the cache only makes the call."""


def gather(exchange: Exchange, now: int, out: list[SessionCommand]) -> Gathering:
    """Order the first calls of a batch that has been composed."""
    call, ctx = exchange.call, exchange.ctx
    assert call is not None
    model = ctx.directions[0].target
    ctx.directions = tuple(one for one in ctx.directions if one.target == model)
    exchange.opened_at = exchange.sent_at = now
    calls = tuple(_alone(call, body) for body in (call.body, *call.more_bodies))
    state = Gathering(calls, exchange.ctx.sharing or _ALONE)
    for _ in range(min(WINDOW, len(state.calls))):
        _order_next(exchange, state, now, out)
    return state


def _alone(call: Call, body: bytes) -> Call:
    """One call of a batch, by itself."""
    return msgspec.structs.replace(call, body=body, more_bodies=())


def _order_next(exchange: Exchange, state: Gathering, now: int, out: list[SessionCommand]) -> None:
    call = state.calls[state.ordered]
    ticket = exchange.host.next_ticket()
    order = order_for(exchange, call, state.sharing, (), exchange.timers.when(Timer.TOTAL) - now)
    out.append(Follow(ticket, order))
    answer = SharedAnswer(ticket, call)
    state.answers.append(answer)
    state.awaited[ticket] = answer
    state.ordered += 1
    exchange.upstream = answer


# -------------------------------------------------------------------------------------------------- the rules


@TABLE.on(Gathering, AnswerBegan)
def _began(
    exchange: Exchange, state: Gathering, _now: int, event: AnswerBegan, _out: list[SessionCommand]
) -> State:
    """The head of one of the answers."""
    answer = state.awaited.get(event.ticket)
    if answer is not None and not answer.started:
        answer.begin(200, event.headers)
        exchange.ctx.answer_source, exchange.ctx.age_seconds = event.source, event.age_seconds
        exchange.tried += event.attempts
        for direction in exchange.ctx.directions:
            if direction.name == event.target:
                exchange.direction = direction
    return state


@TABLE.on(Gathering, AnswerSent)
def _sent(
    exchange: Exchange, state: Gathering, now: int, event: AnswerSent, out: list[SessionCommand]
) -> State:
    """More of its body."""
    answer = state.awaited.get(event.ticket)
    if answer is None:
        return state
    answer.receive(event.data)
    state.size += len(event.data)
    if state.size > ANSWER_BYTES_MAX:
        detail = f"the answers to a batch are longer than {ANSWER_BYTES_MAX} bytes"
        return exchange.fail(now, Fault(Cause.UPSTREAM_GARBLED, detail=detail), out)
    return state


@TABLE.on(Gathering, AnswerEnded)
def _ended(
    exchange: Exchange, state: Gathering, now: int, event: AnswerEnded, out: list[SessionCommand]
) -> State:
    """One more is there: order the next one; or all are, and the caller is answered."""
    answer = state.awaited.pop(event.ticket, None)
    if answer is None:
        return state
    answer.ended = True
    fault = answer.error()
    if fault is not None:
        return exchange.fail(now, fault, out)
    if state.ordered < len(state.calls):
        _order_next(exchange, state, now, out)
        return state
    return state if state.awaited else _all_there(exchange, state, now, out)


def _all_there(exchange: Exchange, state: Gathering, now: int, out: list[SessionCommand]) -> State:
    translator = cast("Gatherer", exchange.translator)
    answers: list[tuple[Headers, bytes]] = [(answer.headers, answer.body) for answer in state.answers]
    exchange.state = SETTLED  # Nothing is awaited any more.
    try:
        part = translator.gather(answers)
    except BadAnswer as bad:
        return exchange.fail(now, bad.fault, out)
    return reply_whole(exchange, part, state.answers[0].headers, now, out)


@TABLE.on(Gathering, AnswerFailed)
def _failed(
    exchange: Exchange, state: Gathering, now: int, event: AnswerFailed, out: list[SessionCommand]
) -> State:
    """One will not come: so there is no answer."""
    if state.awaited.pop(event.ticket, None) is None:
        return state
    exchange.tried += event.attempts
    return exchange.fail(now, event.fault, out)


@TABLE.on(Gathering, Ticked)
def _ticked(
    exchange: Exchange, state: Gathering, now: int, _event: Ticked, out: list[SessionCommand]
) -> State:
    """The total limit has come."""
    if exchange.timers.due(Timer.TOTAL, now):
        return exchange.fail(now, Fault(Cause.TOTAL_TIMEOUT), out)
    return state


@TABLE.on(Gathering, ClientEnded, ClientLost)
def _left(
    exchange: Exchange, _state: Gathering, now: int, _event: object, out: list[SessionCommand]
) -> State:
    """Nobody waits for it: give up the calls under way."""
    return exchange.client_left(now, out)


TABLE.ignore(
    Gathering,
    ClientStalled,
    ClientDrained,
    because="the answers are whole and bounded, and nothing is written before all are there",
)
TABLE.ignore(
    Gathering,
    UpstreamFailed,
    UpstreamSent,
    UpstreamEnded,
    UpstreamLost,
    Answered,
    Unanswered,
    because="a late fact: flights make the calls, and hooks have all had their answers",
)
