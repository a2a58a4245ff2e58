"""Rendering: a journal as a conversation that a person reads.

The journal is lived again while it is told, so what is said of states, decisions and faults is said by the
machine itself. Left is the time since the beginning, in milliseconds. An event stands on its own line; below
it what it brought, what was ordered because of it (`->`), and the state it led to, where that is another one
(`==`). At the end stands how it all came out, and the one cause of it.

A long stream is the same thing a thousand times over. Of a row of entries that only pass bytes on, the first
and the last few are shown, and the rest is summed up.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from stargate_core.faults import Fault
from stargate_core.gateway.exchange import Exchange
from stargate_core.gateway.flight import Flight
from stargate_core.gateway.session import Exchanging, Session, State
from stargate_core.gateway.settlement import rfc3339
from stargate_core.gateway.states import SETTLED, Admitting
from stargate_core.journal.format import FlightBeginning, Header, Journal, SessionBeginning
from stargate_core.journal.living import Living, Step
from stargate_core.journal.machines import Machine
from stargate_core.journal.readable import plain
from stargate_core.journal.replay import difference, machine_of
from stargate_core.journal.words import Words, fault_words
from stargate_core.messages import (
    AnswerSent,
    FlightEnded,
    FlightSent,
    SessionCommand,
    UpstreamSent,
    WriteClient,
)
from stargate_core.record import Outcome
from stargate_core.views import Plugin
from stargate_core.wire.http1 import RequestHead

SHOWN_OF_A_ROW: Final = 2
"""At each end of a row of entries that only pass bytes on."""
_PASSED_ON: Final = (UpstreamSent, AnswerSent)
_PASSING: Final = (WriteClient, FlightSent)
_INDENT: Final = " " * 14
_BELOW: Final = _INDENT + "    "


class _Watched(Session):
    """A session whose exchanges, and the fault of what never became one, are kept to be told of."""

    __slots__ = ("exchanges", "refused")

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.exchanges: list[Exchange] = []
        self.refused: Fault | None = None

    def refuse(self, fault: Fault, target: bytes, out: list[SessionCommand]) -> State:
        """As any session."""
        self.refused = fault
        return super().refuse(fault, target, out)

    def _exchange(self, now: int, head: RequestHead, body: bytes, out: list[SessionCommand]) -> Exchange:
        exchange = super()._exchange(now, head, body, out)
        self.exchanges.append(exchange)
        return exchange


def render(journal: Journal, plugins: Mapping[str, type[Plugin]], *, whole: bool = False) -> Iterator[str]:
    """The lines of it, up to the first divergence. whole: long streams too. Raises Unreadable."""
    machine = machine_of(journal, plugins, _Watched)
    return _rendered(journal, machine, whole)


def _rendered(journal: Journal, machine: Machine, whole: bool) -> Iterator[str]:
    yield from _title(journal)
    yield ""
    words = Words()
    row: list[_Told] = []
    state = state_of(machine)
    diverged = last = None
    for step in Living(machine, journal.entries):
        before, state = state, state_of(machine)
        told = _Told(
            step, list(_lines(step, journal.header.began_ns, words, state if state != before else ""))
        )
        last = step
        if _only_passes_on(step) and state == before and not whole:
            row.append(told)
        else:
            yield from _summed_up(row)
            row.clear()
            yield from told.lines
        diverged = difference(step)
        if diverged:
            break
    yield from _summed_up(row)
    yield ""
    if diverged and last is not None:
        yield f"Entry {last.number} is where it parts from the journal: {plain(diverged)}."
    yield from _outcome(journal.header, machine, last)


class _Told(msgspec.Struct):
    """A step, and its lines."""

    step: Step
    lines: list[str]


# ------------------------------------------------------------------------------------------------ beginning


def _title(journal: Journal) -> Iterator[str]:
    header, beginning = journal.header, journal.header.beginning
    kind = header.kind.replace("_", " ")
    of = ""
    wall_epoch_ns = None
    if isinstance(beginning, SessionBeginning):
        of = f" of {plain(beginning.checkpoint.client)}" if beginning.checkpoint.client else ""
        wall_epoch_ns = beginning.checkpoint.wall_epoch_ns
    elif isinstance(beginning, FlightBeginning):
        of = f" {beginning.flight}"
        wall_epoch_ns = beginning.wall_epoch_ns
    when = "" if wall_epoch_ns is None else f" It begins at {rfc3339(wall_epoch_ns + header.began_ns)}."
    yield f"A {kind}{of}, recorded by Stargate {plain(header.package)}.{when}"
    if header.request_id:
        cause = f": {plain(header.cause)}" if header.cause else ""
        yield f"It was written for request {plain(header.request_id)}{cause}."
    if header.redacted:
        yield "What was said is redacted: the lengths are life's, the words are not."
    diverged_at = journal.trailer.diverged_at
    if diverged_at is not None:
        yield f"Without secrets and words it takes another course than life did, from entry {diverged_at} on."


# ------------------------------------------------------------------------------------------------ the middle


def state_of(machine: Machine) -> str:
    """The state a machine is in, in words; empty where it has none with a name."""
    if isinstance(machine, Session):
        state = machine.state
        return _state_of(state.exchange) if isinstance(state, Exchanging) else type(state).__name__
    return _state_of(machine.exchange) if isinstance(machine, Flight) else ""


def _state_of(exchange: Exchange) -> str:
    state = exchange.state
    if isinstance(state, Admitting) and state.runner is not None:
        return f"Admitting: {exchange.ctx.plugin or 'a plugin'} waits"
    return type(state).__name__


def _lines(step: Step, began_ns: int, words: Words, state: str) -> Iterator[str]:
    event, details = words.event(step.entry.event)
    yield f"{(step.entry.now - began_ns) / 1e6:11,.3f}   {event}"
    yield from (_BELOW + line for line in details)
    for command in step.commands:
        order, details = words.command(command)
        yield f"{_INDENT}-> {order}"
        yield from (_BELOW + line for line in details)
    if step.raised:
        yield f"{_INDENT}!! the machine fails by a bug of its own: {step.raised}"
    if state:
        yield f"{_INDENT}== {state}"


def _only_passes_on(step: Step) -> bool:
    return isinstance(step.entry.event, _PASSED_ON) and all(
        isinstance(command, _PASSING) for command in step.commands
    )


def _summed_up(row: Sequence[_Told]) -> Iterator[str]:
    middle = row[SHOWN_OF_A_ROW:-SHOWN_OF_A_ROW]
    if len(middle) < SHOWN_OF_A_ROW:
        for told in row:
            yield from told.lines
        return
    for told in row[:SHOWN_OF_A_ROW]:
        yield from told.lines
    steps = [told.step for told in middle]
    passed_ms = (steps[-1].entry.now - steps[0].entry.now) / 1e6
    came = sum(_bytes_of(step.entry.event) for step in steps)
    went = sum(_bytes_of(command) for step in steps for command in step.commands)
    yield f"{_INDENT}… {len(steps)} more like these in {passed_ms:,.3f} ms: {came:,} bytes in, {went:,} out"
    for told in row[-SHOWN_OF_A_ROW:]:
        yield from told.lines


def _bytes_of(message: msgspec.Struct) -> int:
    return len(message.data) if isinstance(message, (*_PASSED_ON, *_PASSING)) else 0


# --------------------------------------------------------------------------------------------------- the end


def _outcome(header: Header, machine: Machine, last: Step | None) -> Iterator[str]:
    """How it came out, and by what cause; of several requests the one the journal is about comes last."""
    if isinstance(machine, _Watched):
        if machine.refused is not None:
            yield "What the client sent never became a request."
            yield f"Cause: {fault_words(machine.refused)}"
        about = [e for e in machine.exchanges if e.request.request_id == header.request_id]
        for exchange in (*(e for e in machine.exchanges if e not in about), *about):
            yield from _outcome_of(exchange)
    elif isinstance(machine, Flight):
        yield from _outcome_of_flight(last)
    if last is not None and last.raised:
        yield f"Cause: a bug: {last.raised} on {type(last.entry.event).__name__}"


def _outcome_of(exchange: Exchange) -> Iterator[str]:
    ctx, direction = exchange.ctx, exchange.direction
    who = "nobody known" if ctx.consumer is None else f"{plain(ctx.consumer.username)} ({plain(ctx.key_id)})"
    where = "" if direction is None else f", to {plain(direction.target.model)} in {direction.region}"
    request_id = exchange.request.request_id
    yield f"Request {request_id} by {who}, route {plain(exchange.route) or 'none'}{where}."
    yield from (f"  attempt: {plain(attempt)}" for attempt in exchange.tried)
    if exchange.state is not SETTLED:
        yield f"  It is not over: {_state_of(exchange)}."
        return
    within = ", within the answer" if exchange.outcome is Outcome.FAILED and exchange.status < 400 else ""
    yield f"  Outcome: {exchange.outcome.value}, status {exchange.status or 'none'}{within}."
    if exchange.fault is not None:
        yield f"Cause: {fault_words(exchange.fault)}"
    elif exchange.outcome is Outcome.CLIENT_LEFT:
        yield "Cause: the client left"


def _outcome_of_flight(last: Step | None) -> Iterator[str]:
    ended = next((each for each in last.commands if isinstance(each, FlightEnded)), None) if last else None
    if ended is None:
        yield "The flight is not over."
    elif ended.fault is None:
        yield "Outcome: the answer is whole."
    else:
        yield f"Cause: {fault_words(ended.fault)}"
