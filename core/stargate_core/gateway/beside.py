"""Beside the caller's call: a call of a plugin's own, and an answer that no model has given.

A plugin's call is ordered like an answer that may be shared (following.py), but it is kept by nobody and
shared with nobody: a flight makes it, with signatures, connections, repetitions and breakers as for any call.
It goes to the place of the request's first target, with its authority, and has the time that the plugin
gives it, within the request's own. A caller that leaves gives it up.

Words that are said for the model (dialects/said_for.py) come as Bedrock's answer would, whole and at once,
and pass through the caller's translator and the plugins that filter answers. The record has the stop reason
`guardrail_intervened`, no attempt, and no tokens.
"""

from typing import Final

import msgspec

from stargate_core.asking import Calling
from stargate_core.aws.surfaces import Surface
from stargate_core.dialects.said_for import said_for
from stargate_core.direction import Order, Sharing
from stargate_core.gateway.answering import progress
from stargate_core.gateway.cache_key import cache_key
from stargate_core.gateway.calling import compose
from stargate_core.gateway.exchange import Exchange, Timer
from stargate_core.gateway.states import Admitting, Awaiting, State
from stargate_core.gateway.upstream import SharedAnswer
from stargate_core.messages import Follow, SessionCommand
from stargate_core.script import ScriptMisuse

_ALONE: Final = Sharing("beside", ttl_us=0, max_age_us=0, share=False)
"""Neither kept nor shared. No scope of the cache's own has this name."""


def call_beside(exchange: Exchange, state: Admitting, pending: Calling, now: int) -> None:
    """Order the answer to a plugin's call. Raises ScriptMisuse where nobody has said where calls go."""
    ctx, call = exchange.ctx, pending.call
    if ctx.beside is None:
        raise ScriptMisuse("no plugin has said yet where calls go: bedrock-proxy runs before (PRIORITY 770)")
    left_ns = exchange.timers.when(Timer.TOTAL) - now
    order = Order(
        key=cache_key(call, "", _ALONE.scope),
        call=call,
        directions=(ctx.beside,),
        persistence=ctx.persistence,
        total_ns=max(1, min(pending.timeout_ns, left_ns)),
        sharing=_ALONE,
        request_id=exchange.request.request_id,
    )
    state.ticket = exchange.host.next_ticket()
    state.call = SharedAnswer(state.ticket, call)
    ctx.out.append(Follow(state.ticket, order))


def say(exchange: Exchange, text: str, now: int, out: list[SessionCommand]) -> State:
    """Answer with these words. Raises Refused where the request itself can't be carried."""
    ctx = exchange.ctx
    exchange.request = ctx.known_request
    first = ctx.directions[0]
    target = msgspec.structs.replace(first.target, surface=Surface.CONVERSE)
    compose(exchange, msgspec.structs.replace(first, target=target))
    call = exchange.call
    assert call is not None
    exchange.upstream = answer = SharedAnswer(0, call)
    headers, body = said_for(text, stream=call.stream)
    answer.begin(200, headers)
    data = answer.receive(body)
    answer.ended = True
    return progress(exchange, Awaiting(answer), now, data, out)
