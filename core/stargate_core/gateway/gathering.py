"""Gathering: one request that needs several calls, and the one answer that all of theirs make.

An embedding of a thousand texts is a thousand calls to a model that takes one at a time. Each of them is
ordered like a shared answer (following.py): a flight makes it, with retries, breakers and time limits of its
own, and where the answers may be kept, each call's is kept by itself: of a batch that has grown by a text,
one is made. `WINDOW` of them are in the air at a time; the next one starts when one has landed.

- The answers are put in the order of the calls, whatever order they come in. Each is read as it lands: a
  batch of thousands would hold up everybody else if it were read at its end.
- The first that fails fails the request: half an answer to an embedding is none. The others are given up.
- A batch keeps to one model. Its calls go to any target of the first one's model, and to no other: vectors of
  two models cannot be compared, so an answer made of both would be wrong without looking it.
- Together the answers are bounded as one would be.
- If they make no answer, and some were kept, what was kept is not believed: all are made anew, once.

A caller that takes nothing changes nothing here: the answers are whole, and bounded. One that leaves ends the
calls that are under way, and so does the end of the request's own time or of the grace.

*What the record says.* It is one record, of one exchange. Its `attempts` are the calls that were made for
this request, repetitions among them; `tried` has the first `TRIED_MAX` words about those that were repeated
or failed. The batch counts as made (`miss`) if one call of it was made, as `coalesced` if all were given by
others' calls or kept and one was not kept, and as a `hit` if all were kept: then the caller is told the age
of the oldest. Tokens are those of calls that were made, since these are what is paid for; what the caller's
own answer says of usage is the sum of all. As each answer lands its tokens are counted by Bedrock's header,
so that a batch which fails half-way has cost what it has cost.
"""

from typing import TYPE_CHECKING, Final, cast

import msgspec

from stargate_core.aws.operations import Operation
from stargate_core.dialects.bedrock_native_answer import NativeTranslator
from stargate_core.dialects.face import BadAnswer, Call, Usage
from stargate_core.direction import Sharing
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.answering import reply_whole
from stargate_core.gateway.exchange import TABLE, Exchange, Timer
from stargate_core.gateway.following import order_for
from stargate_core.gateway.states import SETTLED, Gathering, State
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
    Source,
    Ticked,
    Unanswered,
    Unfollow,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamSent,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stargate_core.dialects.face import Gatherer

WINDOW: Final = 8
"""Calls of one request that are in the air at a time."""
TRIED_MAX: Final = 32
"""Words about attempts in one record: a batch may have thousands, and a record, and a header, have an end."""
_ALONE: Final = Sharing("alone", ttl_us=0, max_age_us=0, share=False)
"""Neither kept nor shared: the cache only makes the call. No scope of the cache's own has this name."""


def gather(exchange: Exchange, now: int, out: list[SessionCommand]) -> State:
    """Order the first calls of a batch that has been composed."""
    ctx = exchange.ctx
    first = ctx.directions[0].target
    ctx.directions = tuple(one for one in ctx.directions if one.target == first)
    exchange.opened_at = exchange.sent_at = now
    return _begin(exchange, ctx.sharing or _ALONE, now, out)


def _begin(exchange: Exchange, sharing: Sharing, now: int, out: list[SessionCommand]) -> State:
    call = exchange.call
    assert call is not None
    calls = tuple(_alone(call, body) for body in (call.body, *call.more_bodies))
    state = Gathering(calls, sharing)
    exchange.called_at = exchange.called_at or now
    for _ in range(min(WINDOW, len(calls))):
        _order_next(exchange, state, now, out)
    return state


def _alone(call: Call, body: bytes) -> Call:
    """One call of a batch, by itself."""
    return msgspec.structs.replace(call, body=body, more_bodies=())


def _order_next(exchange: Exchange, state: Gathering, now: int, out: list[SessionCommand]) -> None:
    call = state.calls[state.ordered]
    ticket = exchange.host.next_ticket()
    left_ns = exchange.timers.when(Timer.TOTAL) - now
    out.append(Follow(ticket, order_for(exchange, call, state.sharing, (), max(1, left_ns))))
    answer = SharedAnswer(ticket, call, state.ordered)
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
    if answer is None or answer.started:
        return state
    answer.begin(200, event.headers)
    answer.source = event.source
    exchange.upstream = answer
    if event.source is Source.MADE:
        exchange.attempts += max(1, len(event.attempts))
    _note_tried(exchange, event.attempts)
    for direction in exchange.ctx.directions:
        if direction.name == event.target:
            exchange.direction = direction
    if exchange.ctx.sharing is not None:
        _note_source(exchange, event.source, event.age_seconds)
    return state


def _note_tried(exchange: Exchange, attempts: "Sequence[str]") -> None:
    exchange.tried += attempts[: max(0, TRIED_MAX - len(exchange.tried))]


def _note_source(exchange: Exchange, source: Source, age_seconds: int) -> None:
    """Of all sources the dearest counts; of ages, where all were kept, the greatest."""
    ctx = exchange.ctx
    known = ctx.answer_source
    if known is None or _DEARNESS[source] > _DEARNESS[known]:
        ctx.answer_source = source
    kept = ctx.answer_source is Source.KEPT
    ctx.age_seconds = max(ctx.age_seconds, age_seconds) if kept else 0


_DEARNESS: Final = {Source.KEPT: 0, Source.JOINED: 1, Source.MADE: 2}


@TABLE.on(Gathering, AnswerSent)
def _sent(
    exchange: Exchange, state: Gathering, now: int, event: AnswerSent, out: list[SessionCommand]
) -> State:
    """More of its body."""
    answer = state.awaited.get(event.ticket)
    if answer is None:
        return state
    state.size += len(event.data)
    if state.size > ANSWER_BYTES_MAX:
        detail = f"the answers to a batch are longer than {ANSWER_BYTES_MAX} bytes"
        return exchange.fail(now, Fault(Cause.UPSTREAM_GARBLED, detail=detail), out)
    answer.receive(event.data)
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
    if answer.source is Source.MADE:
        _count(exchange, answer)
    try:
        cast("Gatherer", exchange.translator).take(answer.number, answer.headers, answer.body)
    except BadAnswer as bad:
        return _no_answer(exchange, state, now, bad.fault, out)
    answer.forget()
    if state.ordered < len(state.calls):
        _order_next(exchange, state, now, out)
        return state
    return state if state.awaited else _all_there(exchange, state, now, out)


def _count(exchange: Exchange, answer: SharedAnswer) -> None:
    """Add what this call has used to what is known."""
    translator = exchange.translator
    assert translator is not None
    counter = NativeTranslator(Operation.INVOKE_MODEL)
    counter.answer(answer.headers, b"")  # Its header says it; a model's own body may be anything.
    if counter.usage is not None:
        known, used = translator.usage or Usage(), counter.usage
        translator.usage = Usage(
            known.input_tokens + used.input_tokens,
            known.output_tokens + used.output_tokens,
            known.cache_read_tokens + used.cache_read_tokens,
            known.cache_write_tokens + used.cache_write_tokens,
        )


def _all_there(exchange: Exchange, state: Gathering, now: int, out: list[SessionCommand]) -> State:
    """Make one answer of them."""
    translator = cast("Gatherer", exchange.translator)
    sources = {answer.source for answer in state.answers}
    paid = translator.usage
    part = translator.gather(plain=bool(exchange.chain.body_filter))
    exchange.state = SETTLED  # Nothing is awaited any more.
    is_first = state.sharing is (exchange.ctx.sharing or _ALONE)
    if paid is not None and not (is_first and sources == {Source.MADE}):
        translator.usage = paid
    return reply_whole(exchange, part, state.answers[0].headers, now, out)


def _no_answer(
    exchange: Exchange, state: Gathering, now: int, fault: Fault, out: list[SessionCommand]
) -> State:
    """What has come makes no answer: if some of it was kept, that is not believed."""
    if any(answer.source is Source.KEPT for answer in state.answers):
        return _anew(exchange, state, now, out)
    return exchange.fail(now, fault, out)


def _anew(exchange: Exchange, state: Gathering, now: int, out: list[SessionCommand]) -> State:
    """What was kept cannot be read, and is as good as nothing kept: make the calls, and keep what comes."""
    call, translator = exchange.call, exchange.translator
    assert call is not None
    assert translator is not None
    out += [Unfollow(ticket) for ticket in state.awaited]
    fresh = exchange.dialect.translator(exchange.request, exchange.ctx.read_ask(), call)
    fresh.usage, exchange.translator = translator.usage, fresh
    return _begin(exchange, msgspec.structs.replace(state.sharing, max_age_us=0, share=False), now, out)


@TABLE.on(Gathering, AnswerFailed)
def _failed(
    exchange: Exchange, state: Gathering, now: int, event: AnswerFailed, out: list[SessionCommand]
) -> State:
    """One will not come: so there is no answer."""
    answer = state.awaited.pop(event.ticket, None)
    if answer is None:
        return state
    exchange.attempts += len(event.attempts)
    _note_tried(exchange, event.attempts)
    if event.attempts and exchange.ctx.sharing is not None:
        _note_source(exchange, Source.MADE, 0)
    exchange.upstream = answer
    return exchange.fail(now, event.fault, out)


@TABLE.on(Gathering, Ticked)
def _ticked(
    exchange: Exchange, _state: Gathering, now: int, _event: Ticked, out: list[SessionCommand]
) -> State:
    """The total limit has come, for no other clock runs here."""
    return exchange.fail(now, Fault(Cause.TOTAL_TIMEOUT), out)


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
