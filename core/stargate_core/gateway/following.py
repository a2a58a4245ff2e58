"""Following: the caller's side of an answer that may be shared.

Where a plugin says that the answer may be kept or shared, the call is not made by the exchange but ordered:
`Follow` names the call, where it may go, and in what way the answer may be shared. What comes back is
Bedrock's own answer, head and body, from wherever it was: kept in memory or in the store, being given to
somebody else at this moment, or called for just now by a flight (flight.py). It passes through this
exchange's own translator and hooks like any other, so ids, errors and the promises of a stream are the same.

What is not the exchange's own then: the connection, repetitions, the limits on the first token and on
silence. They belong to the flight, which no single caller can hurt. A caller that takes nothing pauses its
own copy; one that leaves only stops following.

A kept answer that cannot be read is as good as none: the call is made directly.
"""

from collections.abc import Iterable, Iterator

from stargate_core.dialects.face import Call, Target
from stargate_core.direction import Order, Sharing
from stargate_core.faults import Refused
from stargate_core.gateway.answering import UNDER_WAY, progress, progress_tail
from stargate_core.gateway.cache_key import cache_key
from stargate_core.gateway.composing import composed
from stargate_core.gateway.exchange import TABLE, Exchange, Timer
from stargate_core.gateway.states import Asking, Awaiting, Opening, Pausing, Settled, State, Tailing
from stargate_core.gateway.upstream import SharedAnswer
from stargate_core.messages import (
    AnswerBegan,
    AnswerEnded,
    AnswerFailed,
    AnswerSent,
    Follow,
    PauseAnswer,
    SessionCommand,
)


def follow(exchange: Exchange, sharing: Sharing, now: int, out: list[SessionCommand]) -> Awaiting:
    """Order the answer to the composed call."""
    call, ctx = exchange.call, exchange.ctx
    assert call is not None
    ticket = exchange.host.next_ticket()
    first = ctx.directions[0].target
    targets = {one.target: None for one in ctx.directions if one.target != first}
    others = tuple(_composed(exchange, targets))
    order = order_for(exchange, call, sharing, others, exchange.timers.when(Timer.TOTAL) - now)
    out.append(Follow(ticket, order))
    if exchange.host.stalled:
        exchange.stalled_at = now
        out.append(PauseAnswer(ticket))  # It has yet to take its last answer.
    exchange.opened_at = exchange.sent_at = exchange.called_at = now
    exchange.upstream = answer = SharedAnswer(ticket, call)
    exchange.arm_keepalive(now)
    return Awaiting(answer)


def order_for(
    exchange: Exchange,
    call: Call,
    sharing: Sharing,
    others: tuple[tuple[Target, Call], ...],
    total_ns: int,
) -> Order:
    """What to order for a call of this exchange. others: the same call for the other targets."""
    ctx = exchange.ctx
    # In whatever order they are drawn, the same models may answer.
    models = "\n".join(sorted({one.target.model for one in ctx.directions}))
    return Order(
        key=cache_key(call, models, sharing.scope),
        call=call,
        directions=ctx.directions,
        persistence=ctx.persistence,
        total_ns=total_ns,
        sharing=sharing,
        request_id=exchange.request.request_id,
        others=others,
    )


def _composed(exchange: Exchange, targets: Iterable[Target]) -> Iterator[tuple[Target, Call]]:
    """The call for each of the other targets; those that can't carry it are left out."""
    for target in targets:
        try:
            call = composed(exchange, target)
        except Refused:
            continue
        yield target, call


# -------------------------------------------------------------------------------------------------- the rules


def _followed(
    state: Awaiting, event: AnswerBegan | AnswerSent | AnswerEnded | AnswerFailed
) -> SharedAnswer | None:
    """The answer that the fact is about; None where it is not followed any more, or the call is our own."""
    answer = state.call
    return answer if isinstance(answer, SharedAnswer) and event.ticket == answer.ticket else None


@TABLE.on(UNDER_WAY, AnswerBegan)
def _began(
    exchange: Exchange, state: Awaiting, now: int, event: AnswerBegan, out: list[SessionCommand]
) -> State:
    """The head has come, and where the answer is from."""
    answer = _followed(state, event)
    if answer is None or answer.started:
        return state
    answer.source = event.source
    answer.begin(200, event.headers)
    ctx = exchange.ctx
    ctx.answer_source, ctx.age_seconds = event.source, event.age_seconds
    exchange.tried = list(event.attempts)
    for direction in ctx.directions:
        if direction.name == event.target:
            exchange.direction = direction
    return progress(exchange, state, now, b"", out)


@TABLE.on(UNDER_WAY, AnswerSent)
def _sent(
    exchange: Exchange, state: Awaiting, now: int, event: AnswerSent, out: list[SessionCommand]
) -> State:
    """More of the body."""
    answer = _followed(state, event)
    if answer is None:
        return state
    return progress(exchange, state, now, answer.receive(event.data), out)


@TABLE.on(UNDER_WAY, AnswerEnded)
def _ended(
    exchange: Exchange, state: Awaiting, now: int, event: AnswerEnded, out: list[SessionCommand]
) -> State:
    """The body is whole; whether the answer is too, its translator says."""
    answer = _followed(state, event)
    if answer is None:
        return state
    answer.ended = True
    return progress(exchange, state, now, b"", out)


@TABLE.on(UNDER_WAY, AnswerFailed)
def _failed(
    exchange: Exchange, state: Awaiting, now: int, event: AnswerFailed, out: list[SessionCommand]
) -> State:
    """It will not come, or no further."""
    answer = _followed(state, event)
    if answer is None:
        return state
    answer.ended = True  # There is nothing to stop following.
    exchange.tried += event.attempts
    return exchange.fail(now, event.fault, out)


@TABLE.on(Tailing, AnswerSent)
def _tail_sent(
    exchange: Exchange, state: Tailing, now: int, event: AnswerSent, out: list[SessionCommand]
) -> State:
    """Bytes behind Bedrock's own end."""
    answer = _followed(state, event)
    if answer is None:
        return state
    return progress_tail(exchange, state, now, answer.receive(event.data), out)


@TABLE.on(Tailing, AnswerEnded, AnswerFailed)
def _tail_ended(
    exchange: Exchange,
    state: Tailing,
    now: int,
    event: AnswerEnded | AnswerFailed,
    out: list[SessionCommand],
) -> State:
    """Nothing more will come; the caller has its whole answer."""
    answer = _followed(state, event)
    if answer is None:
        return state
    answer.ended = True
    return exchange.end_tail(state, now, out)


TABLE.ignore(Tailing, AnswerBegan, because="it has begun")
TABLE.ignore(
    (Asking, Pausing, Opening, Settled),
    AnswerBegan,
    AnswerSent,
    AnswerEnded,
    AnswerFailed,
    because="a late fact about an answer that is no longer followed",
)
