"""Answering: from the first byte of Bedrock's answer to the caller's last.

The hot path of the gateway is `_frames`: bytes in, frames out of the decoder, each translated, one write. It
runs once for every piece of a stream that the network delivers.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from stargate_core.aws.exceptions import read_exception
from stargate_core.dialects.face import BadAnswer, Headers, Part, Translator
from stargate_core.faults import Cause, Fault, Refused, fault_of_aws
from stargate_core.gateway.calling import call_failed, open_upstream
from stargate_core.gateway.exchange import HELD_BYTES_MAX, TABLE, TAIL_NS, Exchange, Timer
from stargate_core.gateway.states import (
    SETTLED,
    Awaiting,
    Collecting,
    Peeking,
    Settled,
    State,
    Streaming,
    Tailing,
)
from stargate_core.gateway.upstream import AnswerKind, IncomingAnswer, SharedAnswer, UpstreamCall
from stargate_core.messages import (
    ClientDrained,
    ClientEnded,
    ClientLost,
    ClientStalled,
    DropUpstream,
    PauseAnswer,
    ResumeAnswer,
    SessionCommand,
    Ticked,
    UpstreamEnded,
    UpstreamLost,
    UpstreamSent,
)
from stargate_core.misuse import PluginFailed
from stargate_core.phases import Phase
from stargate_core.record import Outcome
from stargate_core.wire.frames import EventStreamError, Frame, FrameKind

_EVENT: Final = FrameKind.EVENT
_STREAM: Final = AnswerKind.STREAM
"""Looked up once: an enum's members are slow to find, and these are asked for with every frame."""
UNDER_WAY: Final = (Awaiting, Collecting, Peeking, Streaming)
"""The states in which an answer is awaited, or arrives."""
_BAD_PART: Final = Fault(Cause.PLUGIN_FAILED, detail="body_filter hooks left a part that cannot be written")

T = TypeVar("T")


# ----------------------------------------------------------------------------------------------- bytes arrive


@TABLE.on(UNDER_WAY, UpstreamSent)
def _sent(
    exchange: Exchange, state: Awaiting, now: int, event: UpstreamSent, out: list[SessionCommand]
) -> State:
    """More of the answer."""
    call = state.call
    if event.lease != call.lease or not isinstance(call, UpstreamCall):
        return state
    return progress(exchange, state, now, call.receive(event.data), out)


@TABLE.on(UNDER_WAY, UpstreamEnded)
def _ended(
    exchange: Exchange, state: Awaiting, now: int, event: UpstreamEnded, out: list[SessionCommand]
) -> State:
    """The end of the answer, or a cut."""
    call = state.call
    if event.lease != call.lease or not isinstance(call, UpstreamCall):
        return state
    if not call.started:
        return _unanswered(exchange, call, now, out)
    data = call.receive_eof()
    call.lost = True
    return progress(exchange, state, now, data, out)


@TABLE.on(UNDER_WAY, UpstreamLost)
def _lost(
    exchange: Exchange, state: Awaiting, now: int, event: UpstreamLost, out: list[SessionCommand]
) -> State:
    """A cut; before the first byte of a kept connection, one more try on a fresh one."""
    call = state.call
    if event.lease != call.lease or not isinstance(call, UpstreamCall):
        return state
    if not call.started:
        return _unanswered(exchange, call, now, out)
    call.lost = True
    return progress(exchange, state, now, b"", out)


def _unanswered(exchange: Exchange, call: UpstreamCall, now: int, out: list[SessionCommand]) -> State:
    """The connection closed without a byte: a kept one was most likely closing already, so ask once more."""
    if call.reused and not exchange.head_written:
        out.append(DropUpstream(call.lease))
        exchange.timers.disarm(Timer.STEP)
        return open_upstream(exchange, now, out, fresh=True)
    fault = Fault(Cause.UPSTREAM_LOST, detail="closed before the first byte of an answer")
    return call_failed(exchange, now, fault, out)


def progress(exchange: Exchange, state: Awaiting, now: int, data: bytes, out: list[SessionCommand]) -> State:
    """What the bytes, or their end, have made of the answer."""
    call = state.call
    if call.kind is _STREAM:
        try:
            return _frames(exchange, state, now, data, out)
        except PluginFailed as failed:
            return exchange.fail(now, failed.fault, out)
    if call.ended:
        return _answered(exchange, call, now, out)
    if call.failure is not None or call.lost:
        return call_failed(exchange, now, _fault_of_transport(call), out)
    if call.kind is None:
        return state
    exchange.arm_step(now, exchange.host.plan.limits.idle_ns)
    return state if type(state) is Collecting else Collecting(call)


def _fault_of_transport(call: IncomingAnswer) -> Fault:
    """The answer's bytes ended, or stopped being HTTP, before the answer did."""
    stream = call.kind is _STREAM
    if call.failure is not None and not call.lost:
        cause = Cause.STREAM_CORRUPT if stream else Cause.UPSTREAM_GARBLED
        return Fault(cause, detail=f"not HTTP: {call.failure.reason}")
    cause = Cause.STREAM_CUT if stream else Cause.UPSTREAM_LOST
    return Fault(cause, detail="the connection ended in the middle of an answer")


# ---------------------------------------------------------------------------------------------- plain answers


def _answered(exchange: Exchange, call: IncomingAnswer, now: int, out: list[SessionCommand]) -> State:
    """A plain answer or an error is whole."""
    fault = call.error()
    if fault is not None:
        return call_failed(exchange, now, fault, out)
    translator = exchange.translator
    assert translator is not None
    try:
        part = translator.answer(call.headers, call.body)
    except BadAnswer as bad:
        return call_failed(exchange, now, bad.fault, out)
    exchange.let_go(out)
    exchange.conclude(now, None)
    exchange.state = SETTLED  # Nothing is held any more.
    return reply_whole(exchange, part, call.headers, now, out)


def reply_whole(
    exchange: Exchange, part: Part, upstream_headers: Headers, now: int, out: list[SessionCommand]
) -> State:
    """Give the caller a whole answer, when nothing is held for it any more."""
    translator = exchange.translator
    assert translator is not None
    try:
        if exchange.chain.body_filter:
            _filter(exchange, part)
            reply = _rendered(translator.render_answer, part, upstream_headers)
        else:
            reply = translator.render_answer(part, upstream_headers)
        return exchange.reply(now, reply, out)
    except BadAnswer as bad:
        return exchange.fail(now, bad.fault, out)
    except (PluginFailed, Refused) as failed:
        return exchange.fail(now, failed.fault, out)


def _rendered(render: Callable[..., T], *given: Any) -> T:
    """A part's bytes, when plugins have had it in hands: they may have left what has none."""
    try:
        return render(*given)
    except Exception as error:
        raise PluginFailed(_BAD_PART) from error


def _filter(exchange: Exchange, part: Part) -> list[Part]:
    """What hooks make of a part: itself, or others before it, or nothing. Raises PluginFailed, Refused."""
    ctx, parts = exchange.ctx, [part]
    for hook in exchange.chain.body_filter:
        left: list[Part] = []
        for one in parts:
            ctx.know_part(one)
            exchange.run_hook(hook, Phase.BODY_FILTER)
            if ctx.put:
                left += ctx.put
                ctx.put.clear()
            left.append(one)
        parts = left
    return parts


# ---------------------------------------------------------------------------------------------------- streams


def _frames(exchange: Exchange, state: Awaiting, now: int, data: bytes, out: list[SessionCommand]) -> State:
    """Translate the frames that `data` completes, and pass on what they give in one piece."""
    call = state.call
    translator = exchange.translator
    assert translator is not None
    produced, fault, ours = _translated(exchange, call, data)
    if translator.complete and not ours:
        return _complete(exchange, state, now, produced, fault, out)
    if fault is None and call.ended:
        fault = Fault(Cause.STREAM_CUT, detail="the stream ended before Bedrock's own end")
    elif fault is None and (call.failure is not None or call.lost):
        fault = _fault_of_transport(call)
    return _deliver(exchange, state, now, produced, fault, out)


def _translated(exchange: Exchange, call: IncomingAnswer, data: bytes) -> tuple[bytes, Fault | None, bool]:
    """What the frames that `data` completes are to the caller, up to the first fault; that fault, and whether
    it is a plugin's: then the answer has no good end, even if Bedrock's has come.
    """
    translator, decoder = exchange.translator, call.decoder
    assert translator is not None
    assert decoder is not None
    pieces: list[bytes] = []
    fault: Fault | None = None
    ours = False
    filtered = bool(exchange.chain.body_filter)
    try:
        for frame in decoder.feed(data):
            if frame.kind is not _EVENT:
                fault = _fault_of_frame(frame)
                break
            pieces.append(_filtered(exchange, translator, frame) if filtered else translator.frame(frame))
        else:
            decoder.check()
    except EventStreamError as error:
        fault = Fault(Cause.STREAM_CORRUPT, detail=f"event stream: {error.reason.name}")
    except BadAnswer as bad:
        fault = bad.fault
    except (PluginFailed, Refused) as failed:
        fault, ours = failed.fault, True
    count = len(pieces)
    call.events += count
    call.passed += count - pieces.count(b"")
    return (pieces[0] if len(pieces) == 1 else b"".join(pieces)), fault, ours


def _filtered(exchange: Exchange, translator: Translator, frame: Frame) -> bytes:
    """What is left of a frame when plugins have seen its parts."""
    rendered: list[bytes] = []
    meaningful = translator.meaningful
    try:
        for part in translator.parts(frame):
            left = _filter(exchange, part)
            rendered += [_rendered(translator.render, one) for one in left if not one.dropped]
    except (PluginFailed, Refused):
        # Nothing of this frame is told, so it is not worth a status line either.
        translator.meaningful = meaningful
        raise
    return b"".join(rendered)


def _fault_of_frame(frame: Frame) -> Fault:
    """What a frame means that is no event."""
    if frame.kind is FrameKind.OTHER:
        return Fault(Cause.STREAM_CORRUPT, detail="a frame without a usable :message-type")
    error = read_exception(frame)
    return fault_of_aws(error.name, error.status, error.message, original_status=error.original_status)


def _deliver(
    exchange: Exchange,
    state: Awaiting,
    now: int,
    produced: bytes,
    fault: Fault | None,
    out: list[SessionCommand],
) -> State:
    """Pass on what a stream in full flow has produced, or hold it back while nothing in it is meaningful."""
    codec = exchange.host.codec
    if type(state) is Streaming and fault is None:
        if produced:
            exchange.last_token_at = now
        exchange.write(now, codec.chunk(produced), out)
        exchange.arm_step(now, exchange.host.plan.limits.idle_ns)
        return state
    translator = exchange.translator
    assert translator is not None
    begun = translator.meaningful
    if exchange.head_written:
        exchange.write(now, codec.chunk(produced), out)
    else:
        peeking = state if isinstance(state, Peeking) else Peeking(state.call)
        if produced:
            peeking.held.append(produced)
            peeking.size += len(produced)
        begun = begun or peeking.size > HELD_BYTES_MAX
        if not begun:
            state.call.passed = 0
            return peeking if fault is None else call_failed(exchange, now, fault, out)
        head = exchange.write_stream_head(state.call.headers)
        exchange.write(now, head + codec.chunk(b"".join(peeking.held)), out)
    if begun and produced:
        _note_token(exchange, now)
    if fault is not None:
        return exchange.fail(now, fault, out)
    if not begun:
        state.call.passed = 0
        return state
    exchange.arm_step(now, exchange.host.plan.limits.idle_ns)
    _let_go_of_request(exchange, state.call)
    return Streaming(state.call)


def _note_token(exchange: Exchange, now: int) -> None:
    """A stream has given the caller something that is meaningful, or is behind that."""
    exchange.last_token_at = now
    exchange.first_token_at = exchange.first_token_at or now


def _let_go_of_request(exchange: Exchange, answer: IncomingAnswer) -> None:
    """Forget what the request was read into, and what was made of it: its answer is under way, so no other
    call will be made for it, and a stream may take minutes. The record needs the caller's own bytes.
    """
    ask, call = exchange.ctx.known_ask, exchange.call
    assert ask is not None
    assert call is not None
    ask.body = None
    ask.fetched.clear()
    ask.recalled.clear()
    exchange.call = msgspec.structs.replace(call, body=b"")
    answer.forget_request()


def _complete(
    exchange: Exchange,
    state: Awaiting,
    now: int,
    produced: bytes,
    fault: Fault | None,
    out: list[SessionCommand],
) -> State:
    """Bedrock's own end has been seen: the caller gets the rest and the end.

    fault: damage behind that end. It has failed nobody, but what follows it is not looked at any more.
    """
    translator, call, codec = exchange.translator, state.call, exchange.host.codec
    assert translator is not None
    head = b"" if exchange.head_written else exchange.write_stream_head(call.headers)
    if isinstance(state, Peeking):
        produced = b"".join((*state.held, produced))
    if produced:
        _note_token(exchange, now)
    exchange.conclude(now, None)
    over = call.ended or call.lost or call.failure is not None
    passing = translator.raw and not over and fault is None
    if not passing:
        produced += translator.finish()
    exchange.write(now, head + codec.chunk(produced) + (b"" if passing else codec.end()), out)
    if over:
        exchange.let_go(out)
        return exchange.settle(now, Outcome.COMPLETE, out)
    exchange.timers.disarm(Timer.KEEPALIVE)
    exchange.timers.arm(Timer.STEP, now + TAIL_NS)
    return Tailing(call, passing)


@TABLE.on(Tailing, UpstreamSent)
def _tail_sent(
    exchange: Exchange, state: Tailing, now: int, event: UpstreamSent, out: list[SessionCommand]
) -> State:
    """Bytes behind Bedrock's own end: of a native stream they are passed on, as long as they are sound."""
    call = state.call
    if event.lease != call.lease or not isinstance(call, UpstreamCall):
        return state
    return progress_tail(exchange, state, now, call.receive(event.data), out)


def progress_tail(
    exchange: Exchange, state: Tailing, now: int, data: bytes, out: list[SessionCommand]
) -> State:
    """More behind Bedrock's own end."""
    call = state.call
    if state.passing:
        produced, fault, _ = _translated(exchange, call, data)
        codec = exchange.host.codec
        exchange.write(now, codec.chunk(produced) + (codec.end() if fault is not None else b""), out)
        state.passing = fault is None
    over = call.ended or call.failure is not None
    return exchange.end_tail(state, now, out) if over else state


@TABLE.on(Tailing, UpstreamEnded, UpstreamLost)
def _tail_ended(
    exchange: Exchange,
    state: Tailing,
    now: int,
    event: UpstreamEnded | UpstreamLost,
    out: list[SessionCommand],
) -> State:
    """The connection could not be kept; nothing else is lost."""
    return exchange.end_tail(state, now, out) if event.lease == state.call.lease else state


# ------------------------------------------------------------------------------------------------- the caller


@TABLE.on(UNDER_WAY, ClientEnded, ClientLost)
def _left(exchange: Exchange, _state: State, now: int, _event: object, out: list[SessionCommand]) -> State:
    """Nobody waits for the answer: cancel the call."""
    return exchange.client_left(now, out)


@TABLE.on(Tailing, ClientEnded, ClientLost)
def _left_late(
    exchange: Exchange, state: Tailing, now: int, _event: object, out: list[SessionCommand]
) -> State:
    """The caller has its whole answer; only the upstream connection is given up."""
    state.passing = False
    return exchange.end_tail(state, now, out)


@TABLE.on(UNDER_WAY, ClientStalled)
def _stalled(
    exchange: Exchange, state: Awaiting, now: int, _event: object, out: list[SessionCommand]
) -> State:
    """Upstream is not read while the caller takes nothing, so its silence must not be held against it."""
    exchange.timers.disarm(Timer.STEP)
    exchange.timers.disarm(Timer.KEEPALIVE)
    exchange.stalled_at = exchange.stalled_at or now
    if isinstance(state.call, SharedAnswer):
        out.append(PauseAnswer(state.call.ticket))
    return state


@TABLE.on(UNDER_WAY, ClientDrained)
def _drained(
    exchange: Exchange, state: Awaiting, now: int, _event: object, out: list[SessionCommand]
) -> State:
    """Watch upstream again."""
    exchange.end_stall(now)
    if isinstance(state.call, SharedAnswer):
        out.append(ResumeAnswer(state.call.ticket))
    limits = exchange.host.plan.limits
    if isinstance(state, Collecting | Streaming):
        exchange.arm_step(now, limits.idle_ns)
    else:
        exchange.arm_first_token(now)
    exchange.arm_keepalive(now)
    return state


# ------------------------------------------------------------------------------------------------------- time


@TABLE.on(UNDER_WAY, Ticked)
def _ticked(
    exchange: Exchange, state: Awaiting, now: int, _event: Ticked, out: list[SessionCommand]
) -> State:
    """The total limit, the first token, idleness, or time for a keep-alive."""
    timers, translator = exchange.timers, exchange.translator
    assert translator is not None
    if timers.due(Timer.TOTAL, now):
        return exchange.fail(now, Fault(Cause.TOTAL_TIMEOUT), out)
    if timers.due(Timer.STEP, now):
        silent = isinstance(state, Collecting | Streaming)
        fault = Fault(Cause.IDLE_TIMEOUT if silent else Cause.FIRST_TOKEN_TIMEOUT)
        return call_failed(exchange, now, fault, out)
    head = b""
    if exchange.tracer is not None:
        exchange.tracer.note(now, "keep-alive")
    if not exchange.head_written:
        try:
            head = exchange.write_stream_head(state.call.headers)
        except PluginFailed as failed:
            return exchange.fail(now, failed.fault, out)
        if isinstance(state, Peeking) and state.held:
            head += exchange.host.codec.chunk(b"".join(state.held))
            state.held.clear()
    exchange.write(now, head + exchange.host.codec.chunk(translator.keepalive()), out)
    return state


@TABLE.on(Tailing, Ticked)
def _tail_ticked(
    exchange: Exchange, state: Tailing, now: int, _event: Ticked, out: list[SessionCommand]
) -> State:
    """The tail took too long: give the connection up."""
    over = exchange.timers.due(Timer.STEP, now) or exchange.timers.due(Timer.TOTAL, now)
    return exchange.end_tail(state, now, out) if over else state


TABLE.ignore(
    Tailing, ClientStalled, ClientDrained, because="the tail is short, and its loss costs only a connection"
)
TABLE.ignore(
    Settled,
    ClientEnded,
    ClientLost,
    ClientStalled,
    ClientDrained,
    Ticked,
    because="everything was said and given back at settlement",
)
