"""An exchange: one request and its response, from the caller's last byte to the one settlement.

The states, in the order of a good day:

    Admitting   hooks of rewrite and access run; one of them may be waiting
    Asking      a target's breaker has been asked for a turn, or newer credentials have been asked for
    Pausing     a call has failed, and is to be made again in a while
    Opening     a lease has been asked for
    Awaiting    the call is written; no head has come back
    Collecting  a plain answer or an error is arriving
    Peeking     a stream is arriving, and nothing in it is worth a status line yet
    Streaming   the status line is out; what arrives goes to the caller as it arrives
    Gathering   several calls are made for one request, and their answers arrive
    Tailing     the caller has the whole answer; upstream's end is awaited so that its connection can be kept
    Settled     over: one outcome, one log record

Rules that do not fit the table:

*The status line waits.* As long as nothing meaningful has come, a failure is an honest HTTP error. The one
exception is silence: after `keepalive_ns` without a byte a streaming caller is given the status line and a
keep-alive, because a proxy that hangs up on a silent connection helps nobody. `head_written` says which side
of that line we are on, in any state.

*Two ends make an end.* A stream is complete when the translator has seen Bedrock's own end. The transport's
end without it is a cut, whatever the status line said. A transport that fails after Bedrock's end has failed
nobody; nor has a time limit, or the end of the grace, that strikes then.

*Words before an error go out before it.* Whether both came in one piece is the network's whim, so it must not
decide whether the caller sees an HTTP error or a broken stream: what is meaningful and came first is told
first.

*A failed call may be made again*, at another target or at the same one, as long as no byte of an answer has
gone to the caller: calling.py has the rules. What fails after that fails in-band.

*A kept connection may have died.* When a reused connection closes before the first byte of an answer, the
call has most likely never been read; it is made once more, on a fresh connection, and not counted as a
repetition. A job's start (StartAsyncInvoke) is sent on a fresh connection from the first: made once more, it
might be a second job.

*An answer may be shared.* Where a plugin allows it the call is not made here but ordered, and what comes is
Bedrock's answer all the same: the same states read it, from another source. Its connection, its repetitions
and its time limits are somebody else's; only the total limit is watched here.

*A stalled caller stops the clocks that watch upstream.* While the shell cannot write to the caller it does
not read upstream, so upstream's silence means nothing; the session's own stall limit runs instead.

*Late facts are harmless.* Anything about a ticket or a lease that is not the current one is given back or
ignored.
"""

from collections.abc import Mapping
from typing import Final, Protocol, TypeAlias, get_args

import msgspec

from stargate_core.clock import MILLISECOND, NEVER, SECOND, TimerTable
from stargate_core.dialects.face import Call, Dialect, Headers, Reply, Request, Translator
from stargate_core.direction import Direction
from stargate_core.entropy import Entropy
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.gateway.authority import Authority
from stargate_core.gateway.explain_header import explain_to_admin
from stargate_core.gateway.plan import Chain, Hook, Plan
from stargate_core.gateway.settlement import answer_headers, attempt_of, fault_headers, settle
from stargate_core.gateway.states import (
    SETTLED as SETTLED,
)
from stargate_core.gateway.states import (
    Admitting,
    Asking,
    Awaiting,
    Gathering,
    Opening,
    Settled,
    State,
    Tailing,
)
from stargate_core.gateway.tracing import TracePlan, Tracer, place_in_trace
from stargate_core.gateway.upstream import IncomingAnswer, SharedAnswer
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
    DropUpstream,
    HealthChanged,
    Note,
    ReleaseUpstream,
    SessionCommand,
    Tell,
    Ticked,
    Unanswered,
    Unfollow,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamOpened,
    UpstreamSent,
    Withdraw,
    WithdrawUpstream,
    WriteClient,
)
from stargate_core.misuse import PluginFailed
from stargate_core.native import mypyc_attr
from stargate_core.phases import Context, Phase, plugin_failed
from stargate_core.questions import CallEnded
from stargate_core.record import Attempt, Failed, Outcome
from stargate_core.script import Runner, ScriptMisuse
from stargate_core.transitions import Table
from stargate_core.wire.http1 import ServerCodec
from stargate_core.wire.trace_context import TraceContext

HELD_BYTES_MAX: Final = 64 * 1024
"""What may wait for a meaningful event; more than that is meaningful by itself."""
TAIL_NS: Final = SECOND
"""How long upstream may take from Bedrock's end to the transport's."""


class Timer:
    """What an exchange waits for, at most so long."""

    TOTAL: Final = 0
    STEP: Final = 1
    """The state's own: a script's sleep, a pause, the first token, the next event, the tail."""
    KEEPALIVE: Final = 2
    COUNT: Final = 3


ExchangeEvent: TypeAlias = (
    ClientEnded
    | ClientLost
    | ClientStalled
    | ClientDrained
    | UpstreamOpened
    | UpstreamFailed
    | UpstreamSent
    | UpstreamEnded
    | UpstreamLost
    | Answered
    | Unanswered
    | AnswerBegan
    | AnswerSent
    | AnswerEnded
    | AnswerFailed
    | Ticked
)

TABLE: Final[Table["Exchange"]] = Table(
    "Exchange",
    states=get_args(State),
    events=get_args(ExchangeEvent),
)
"""Filled by admission.py (until the call is composed), calling.py (until it is written), answering.py (from
its answer's first byte) and following.py (where the answer is shared).
"""
_RULES = TABLE.rules


_BAD_HEAD: Final = Fault(
    Cause.PLUGIN_FAILED, detail="a hook left a status or a header that HTTP does not allow"
)


class Host(Protocol):
    """What an exchange has from its session."""

    plan: Plan
    codec: ServerCodec
    wall_epoch_ns: int
    draining: bool
    stalled: bool
    """The client takes no bytes, so the shell does not read upstream."""
    authority: Authority
    health: dict[str, HealthChanged]
    """What the breaker has said of targets; of others nothing, so they are healthy."""
    keys: Mapping[str, bytes]
    """The keys that live in the store."""
    chance: Entropy
    failed: Failed | None
    """The first of its exchanges that failed by no fault of the caller's, since somebody has looked."""

    def next_ticket(self) -> int:
        """A number for a question."""
        ...


@mypyc_attr(allow_interpreted_subclasses=True)
class Exchange:
    """One request and its response."""

    __slots__ = (
        "attempts",
        "begun_at",
        "call",
        "called_at",
        "calls",
        "chain",
        "ctx",
        "dialect",
        "direction",
        "fault",
        "first_byte_at",
        "first_token_at",
        "head_written",
        "host",
        "last_token_at",
        "not_before",
        "opened_at",
        "outcome",
        "published",
        "quiet",
        "refreshed",
        "repeats",
        "reported",
        "request",
        "response_bytes",
        "route",
        "sent_at",
        "stalled_at",
        "stalled_ns",
        "state",
        "status",
        "timers",
        "trace",
        "tracer",
        "translator",
        "tried",
        "upstream",
    )

    def __init__(self, host: Host, request: Request, now: int, out: list[SessionCommand]) -> None:
        plan = host.plan
        self.host = host
        self.request = request
        self.ctx = Context(request, now, host.wall_epoch_ns, out)
        self.ctx.entropy, self.ctx.keys = host.chance, host.keys
        self.chain: Chain = plan.outer
        self.route = ""
        self.dialect: Dialect = plan.routes.default
        """Until a route is found; a refusal before that is worded for the path."""
        self.timers = TimerTable(Timer.COUNT)
        self.timers.arm(Timer.TOTAL, now + plan.limits.total_ns)
        self.call: Call | None = None
        self.translator: Translator | None = None
        self.upstream: IncomingAnswer | None = None
        self.direction: Direction | None = None
        """Where the call goes, or last went."""
        self.fault: Fault | None = None
        self.outcome = Outcome.COMPLETE
        self.quiet = False
        """No record: the gateway was asked about itself."""
        self.published = True
        """Whether whoever watches is told of it; of a call that is made for others its followers tell."""
        self.trace: TraceContext | None = None
        """Where it stands in a trace; None: nothing is traced."""
        self.tracer: Tracer | None = None
        """Gathers its spans; None: nothing is traced, or this is not."""
        self.head_written = False
        self.status = 0
        self.attempts = 0
        """Calls written."""
        self.repeats = 0
        """Attempts that were made because an earlier one had failed."""
        self.not_before: dict[int, int] | None = None
        """When a direction, by its number, may be called again; None: none of them has said."""
        self.refreshed = False
        """AWS has refused our credentials once, and newer ones were asked for."""
        self.reported = True
        """The breaker has heard how the attempt at hand went, or there is none."""
        self.tried: list[str] = []
        """Each attempt that is over, in words for the log; none where the first one went well."""
        self.calls: list[Attempt] = []
        """The same as data."""
        self.response_bytes = 0
        self.begun_at = now
        self.opened_at = 0
        """When the last lease was asked for; below: when its call was written, when the caller got a byte."""
        self.sent_at = 0
        self.first_byte_at = 0
        self.called_at = 0
        """Since when Bedrock has been waited for; 0: it has not, or only for a kept answer."""
        self.first_token_at = 0
        """When a stream gave its first meaningful event; below: when it last gave something."""
        self.last_token_at = 0
        self.stalled_at = 0
        """Since when the caller has taken nothing of an answer; 0: it takes."""
        self.stalled_ns = 0
        """How long it did so before, in all."""
        self.state: State = Admitting(Phase.REWRITE, self.chain.rewrite)

    def handle(self, now: int, event: ExchangeEvent, out: list[SessionCommand]) -> None:
        """Take in a fact."""
        ctx = self.ctx
        ctx.now = now
        ctx.out = out
        self.state = _RULES[self.state.__class__, event.__class__](self, self.state, now, event, out)

    def expire(self, now: int, fault: Fault, out: list[SessionCommand]) -> None:
        """End it now, for a reason of the session's own."""
        self.ctx.now = now
        self.ctx.out = out
        state = self.state
        if isinstance(state, Tailing):
            self.state = self.end_tail(state, now, out)
        elif state is not SETTLED:
            self.state = self.fail(now, fault, out)

    def begin_trace(self, plan: TracePlan) -> None:
        """Take a place in the caller's trace, or begin one."""
        host = self.host
        self.trace, parent_id = place_in_trace(plan, self.request.headers, host.chance)
        if self.trace.sampled:
            self.tracer = Tracer(self.trace, parent_id, host.chance, host.wall_epoch_ns)

    def trace_of_call(self, trace: TraceContext) -> Headers | None:
        """What the call that is made now tells of the trace."""
        tracing = self.host.plan.tracing
        context = trace if self.tracer is None else self.tracer.call_context()
        return context.headers() if tracing is not None and tracing.propagate else None

    # ----------------------------------------------------------------------------------- what the rules share

    def write(self, now: int, data: bytes, out: list[SessionCommand]) -> None:
        """Give the caller bytes, and put off the keep-alive."""
        if not data:
            return
        if not self.first_byte_at:
            self.first_byte_at = now
        self.response_bytes += len(data)
        out.append(WriteClient(data))
        if self.timers.when(Timer.KEEPALIVE) != NEVER:
            self.timers.arm(Timer.KEEPALIVE, now + self.host.plan.limits.keepalive_ns)

    def write_stream_head(self, upstream_headers: Headers) -> bytes:
        """The status line and headers of a stream: from here on an error goes in-band."""
        assert self.translator is not None
        headers = answer_headers(self.dialect, self.request, self.translator.stream_headers(upstream_headers))
        self._tell_attempts(headers, whole=False)
        self._filter_headers(200, headers)
        try:
            head = self.host.codec.response_head(200, headers, close=self.host.draining)
        except (TypeError, ValueError):
            raise PluginFailed(_BAD_HEAD) from None
        self.head_written = True
        self.status = 200
        return head

    def reply(self, now: int, reply: Reply, out: list[SessionCommand]) -> Settled:
        """Answer whole, and settle."""
        headers = answer_headers(self.dialect, self.request, reply.headers)
        self._tell_attempts(headers)
        self._filter_headers(reply.status, headers)
        self._write_reply(now, reply, headers, out)
        return self.settle(now, Outcome.COMPLETE, out)

    def fail(self, now: int, fault: Fault, out: list[SessionCommand]) -> Settled:
        """Tell the caller the fault, in-band if the status line is out, and settle."""
        self.let_go(out)
        self.conclude(now, fault)
        self.fault = fault
        if not self.route:
            self.dialect = self.host.plan.routes.guess(self.request.path)
        if self.head_written:
            assert self.translator is not None
            codec = self.host.codec
            self.write(now, codec.chunk(self.translator.broken(fault)) + codec.end(), out)
        else:
            reply = self.dialect.failure(fault, self.request.request_id)
            if fault.status is not None:
                reply = msgspec.structs.replace(reply, status=fault.status)
            headers = answer_headers(self.dialect, self.request, reply.headers)
            headers += fault_headers(fault)
            self._tell_attempts(headers)
            unfiltered = list(headers)
            try:
                self._filter_headers(reply.status, headers)
                self._write_reply(now, reply, headers, out)
            except PluginFailed as failed:
                out.append(Note("error", failed.fault.detail))
                self._write_reply(now, reply, unfiltered, out)
        return self.settle(now, Outcome.FAILED, out)

    def end_tail(self, state: Tailing, now: int, out: list[SessionCommand]) -> Settled:
        """Nothing more is awaited behind Bedrock's own end: end the answer, if that is still to do."""
        if state.passing:
            self.write(now, self.host.codec.end(), out)
        self.let_go(out)
        return self.settle(now, Outcome.COMPLETE, out)

    def client_left(self, now: int, out: list[SessionCommand]) -> Settled:
        """Nobody is there to be answered: free what is held, and settle."""
        self.let_go(out)
        if self.upstream is not None and self.upstream.started:
            self.conclude(now, None, left=True)
        return self.settle(now, Outcome.CLIENT_LEFT, out)

    def fail_without_lease(self, now: int, fault: Fault, out: list[SessionCommand]) -> Settled:
        """As `fail`, where the state's ticket or lease has been answered for already."""
        self.state = SETTLED
        return self.fail(now, fault, out)

    def arm_step(self, now: int, duration_ns: int) -> None:
        """Watch upstream for so long, unless it is not being read at all, or watched by somebody else."""
        if not (self.host.stalled or type(self.upstream) is SharedAnswer):
            self.timers.arm(Timer.STEP, now + duration_ns)

    def end_stall(self, now: int) -> None:
        """The caller takes bytes again, or nothing is under way for it to take."""
        if self.stalled_at:
            self.stalled_ns += now - self.stalled_at
            self.stalled_at = 0

    def arm_first_token(self, now: int) -> None:
        """Watch for a stream's beginning; a plain answer comes whole or not at all, in its total time."""
        if self.call is not None and self.call.stream:
            self.arm_step(now, self.host.plan.limits.first_token_ns)

    def arm_keepalive(self, now: int) -> None:
        """Do not let a streaming caller wait in silence for longer than the keep-alive interval."""
        keepalive_ns = self.host.plan.limits.keepalive_ns
        if keepalive_ns and self.call is not None and self.call.stream and not self.host.stalled:
            assert self.translator is not None
            if self.translator.keepalive() and self.timers.when(Timer.KEEPALIVE) == NEVER:
                self.timers.arm(Timer.KEEPALIVE, now + keepalive_ns)

    def conclude(self, now: int, fault: Fault | None, *, left: bool = False) -> None:
        """The attempt at hand is over: keep it for the log, and tell the breaker, once for each.

        fault: None for an answer that is whole, and where the caller has left.
        """
        direction = self.direction
        if self.reported or direction is None:
            return
        self.reported = True
        first = not self.tried
        if fault is not None or not first:
            word = "OK" if fault is None else fault.cause.name
            took_ms = (now - self.opened_at) // MILLISECOND
            self.tried.append(f"{direction.name or direction.region} {word} {took_ms}ms")
            self.calls.append(attempt_of(self, now, direction, word, fault))
        if self.tracer is not None:
            self.tracer.attempt(self, now, direction, fault, left=left)
        ailing = fault is not None and fault.row.ails
        # What has neither failed nor answered says nothing: no connection was free, or the time was up.
        if ailing or (self.upstream is not None and self.upstream.started):
            self.ctx.out.append(Tell(CallEnded(direction.name, direction.breaker, not ailing, first)))

    def let_go(self, out: list[SessionCommand]) -> None:
        """Give back whatever the state holds: a script, a ticket, a lease."""
        state = self.state
        if isinstance(state, Awaiting):
            call = state.call
            if isinstance(call, SharedAnswer):
                if not call.ended:
                    out.append(Unfollow(call.ticket))
            else:
                out.append(ReleaseUpstream(call.lease) if call.reusable else DropUpstream(call.lease))
        elif isinstance(state, Admitting):
            if state.ticket:
                out.append(Withdraw(state.ticket) if state.call is None else Unfollow(state.ticket))
            if state.runner is not None:
                self._abandon(state.runner, out)
        elif isinstance(state, Opening):
            out.append(WithdrawUpstream(state.ticket))
        elif isinstance(state, Asking):
            out.append(Withdraw(state.ticket))
        elif isinstance(state, Gathering):
            out += [Unfollow(ticket) for ticket in state.awaited]

    def settle(self, now: int, outcome: Outcome, out: list[SessionCommand]) -> Settled:
        """The one end of every exchange."""
        self.outcome = outcome
        self.timers.clear()
        if not self.quiet:
            settle(self, now, out)
        return SETTLED

    def run_hook(self, hook: Hook, phase: Phase) -> None:
        """Call a hook of a phase that cannot wait. Raises PluginFailed, and Refused from a body_filter."""
        ctx = self.ctx
        ctx.phase = phase
        ctx.plugin = hook.plugin
        try:
            if hook.function(ctx) is not None:
                raise ScriptMisuse("it gave something back, and this phase cannot wait for it")
        except Exception as error:
            if isinstance(error, Refused) and phase is Phase.BODY_FILTER:
                raise
            raise PluginFailed(plugin_failed(hook.plugin, phase, error)) from error
        finally:
            ctx.phase = 0

    def _abandon(self, runner: Runner, out: list[SessionCommand]) -> None:
        try:
            runner.close()
        except Exception as error:  # noqa: BLE001  (the exchange is ending already)
            text = f"{self.ctx.plugin} raised {type(error).__name__} when it was abandoned"
            out.append(Note("error", text))

    def _tell_attempts(self, headers: Headers, *, whole: bool = True) -> None:
        """Name the attempts in a header, where an operator wants that; to operators themselves tell more."""
        explain_to_admin(self, headers, whole=whole)
        if self.trace is not None:
            self._tell_trace(self.trace, headers)
        direction = self.direction
        if not self.ctx.persistence.tell_attempts or direction is None:
            return
        attempts = list(self.tried)
        if not self.reported or (self.attempts and not attempts):
            # It is under way, or was the only one and went well.
            attempts.append(direction.name or direction.region)
        if attempts:
            headers.append((b"x-stargate-attempts", ", ".join(attempts).encode("ascii", "replace")))

    def _tell_trace(self, trace: TraceContext, headers: Headers) -> None:
        """Name the trace in a header, where an operator wants that (Trace Context 2, 3.4)."""
        tracing = self.host.plan.tracing
        if tracing is not None and tracing.respond:
            headers.append((b"traceresponse", trace.headers()[0][1]))

    def _filter_headers(self, status: int, headers: Headers) -> None:
        if self.chain.header_filter:
            self.ctx.know_answer(status, headers)
            for hook in self.chain.header_filter:
                self.run_hook(hook, Phase.HEADER_FILTER)

    def _write_reply(self, now: int, reply: Reply, headers: Headers, out: list[SessionCommand]) -> None:
        try:
            data = self.host.codec.response(reply.status, headers, reply.body, close=self.host.draining)
        except (TypeError, ValueError):
            raise PluginFailed(_BAD_HEAD) from None
        self.status = reply.status
        self.head_written = True
        self.write(now, data, out)
