"""A flight: a call to Bedrock that is made for all who wait for its answer, and for none of them.

The cache (`cache.py`) launches it with the order of one of them. From then on it is a machine of its own: a
caller that leaves, takes nothing for a while, or has less time than others does nothing to it. Only when
nobody follows any more is it `Grounded`, and the call cancelled.

Retries, failover, signing, breakers and time limits are an exchange's, so a flight is an exchange without a
client: it begins where admission ends, with the call composed and its directions known, and what it would
write to its caller is what it reports. Four things make it so:

- Its dialect has no words of its own. The call is the order's, and faults are reported as they are: each
  follower tells them in its own dialect.
- Its translator only watches (watching.py): it hands on byte for byte, knows Bedrock's own end of a stream
  and says why the model stopped.
- Its codec frames nothing: what it is to write as a response is the body, bare.
- It runs no hooks, so it leaves no record: the followers have theirs.

The status line's rule (`exchange.py`) is the flight's too: it begins with the first meaningful event. So what
fails before may be repeated by the flight, then by another flight, and is an honest HTTP error in the end.

*Time.* Until it begins, it has the time of its order, and repeats nothing beyond it. From then on it has the
gateway's own: each follower keeps its own limit and leaves when that has come, so nobody gets more than it
may, and nobody loses an answer to another one's haste.

*It begins when it is first ticked*, at once: until then it is told of credentials and breakers.

*A call for several targets* has been composed for each of them: how a request is worded can depend on the
model. A target for which the order brings no call is one that cannot take it.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, cast

from stargate_core.aws.operations import Operation
from stargate_core.aws.surfaces import Surface
from stargate_core.clock import NEVER
from stargate_core.dialects.face import Ask, Call, Headers, ModelCard, Reply, Request, Target
from stargate_core.dialects.watching import Watcher, watcher
from stargate_core.direction import Order
from stargate_core.entropy import Entropy
from stargate_core.faults import Cause, Fault, refuse

# Its import completes the exchange's table.
from stargate_core.gateway import admission as _admission  # noqa: F401  # pyright: ignore[reportUnusedImport]
from stargate_core.gateway.authority import Authority
from stargate_core.gateway.calling import begin_call
from stargate_core.gateway.exchange import Exchange, Timer
from stargate_core.gateway.places import Place
from stargate_core.gateway.plan import Chain, Plan
from stargate_core.gateway.states import SETTLED
from stargate_core.messages import (
    AnswerBegan,
    Answered,
    AnswerEnded,
    AnswerFailed,
    AnswerSent,
    ClientDrained,
    ClientEnded,
    ClientLost,
    ClientSent,
    ClientStalled,
    CredentialsChanged,
    Draining,
    FlightBegan,
    FlightCommand,
    FlightEnded,
    FlightEvent,
    FlightSent,
    Grounded,
    HealthChanged,
    KeysChanged,
    Reconfigured,
    ReleaseUpstream,
    SessionCommand,
    Ticked,
    Unanswered,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamOpened,
    UpstreamSent,
    WriteClient,
)
from stargate_core.record import Failed, Outcome
from stargate_core.wire.http1 import CLOSED, Limits, ServerCodec, ServerEvent

_GROUNDED: Final = Fault(Cause.INTERNAL, detail="grounded: nobody waits for it any more")
_NOT_KEPT: Final = frozenset(
    {"guardrail_intervened", "content_filtered", "content_filter", "refusal", "queued", "in_progress"}
)
"""Stop reasons of answers that are not the model's own, or none, or still to come."""
_FILTERED: Final = (b'"content_filtered"', b'"content_filter"', b'"CONTENT_FILTERED"')
"""What stands in a model's own JSON, at a place of its own, when its words were filtered. Inside a text the
quotes would be escaped.
"""


class Flight:
    """One call, as a machine: `handle` and `deadline`; `closed` when it is over.

    plan: the compiled configuration. order: what to call. flight: its number. wall_epoch_ns: wall time minus
    monotonic time. seed: of its chance. now: monotonic nanoseconds, as in every `handle`.
    """

    __slots__ = (
        "_began",
        "_ended",
        "_grace_at",
        "_launch_at",
        "_number",
        "_tickets",
        "_told",
        "authority",
        "chance",
        "codec",
        "draining",
        "exchange",
        "failed",
        "health",
        "keys",
        "plan",
        "stalled",
        "wall_epoch_ns",
    )

    def __init__(
        self, plan: Plan, order: Order, *, flight: int, wall_epoch_ns: int, seed: int, now: int
    ) -> None:
        self.plan = plan
        self.codec: ServerCodec = _Bare()
        self.wall_epoch_ns = wall_epoch_ns
        self.draining = False
        self.stalled = False
        self.failed: Failed | None = None
        self.authority = Authority(plan.signers)
        self.chance = Entropy(seed)
        self.health: dict[str, HealthChanged] = {}
        self.keys: Mapping[str, bytes] = {}
        self._number = flight
        self._tickets = 0
        self._launch_at = now
        """When to begin; NEVER once it has."""
        self._grace_at = NEVER
        self._began = False
        self._ended = False
        self._told = 0
        """How many attempts were told when it began."""
        self.exchange = _exchange(self, order, now)

    # -------------------------------------------------------------------------------------------- the machine

    def handle(self, now: int, event: FlightEvent) -> list[FlightCommand]:
        """Take in a fact; what is to be done about it, in this order."""
        out: list[SessionCommand] = []
        exchange = self.exchange
        match event:
            case UpstreamOpened() if self._ended:
                out.append(ReleaseUpstream(event.lease))
            case _ if self._ended:
                pass  # A late fact about something that was given back.
            case UpstreamSent() | UpstreamOpened() | UpstreamFailed() | UpstreamEnded() | UpstreamLost():
                exchange.handle(now, event, out)
            case Answered() | Unanswered():
                exchange.handle(now, event, out)
            case Ticked():
                self._tick(now, event, out)
            case Grounded():
                exchange.handle(now, ClientLost(), out)
            case CredentialsChanged(account, credentials):
                self.authority.change(account, credentials)
            case HealthChanged():
                event.keep_in(self.health)
            case KeysChanged(entries):
                self.keys = entries
            case Reconfigured():
                pass  # It is one call, and ends as it began.
            case Draining(grace_ns):
                self.draining = True
                self._grace_at = now + grace_ns
            case ClientStalled() | ClientDrained():
                # It has no client; but its followers may all take nothing for a while.
                self.stalled = isinstance(event, ClientStalled)
                exchange.handle(now, event, out)
            case ClientSent() | ClientEnded() | ClientLost():
                pass  # It has no client, and follows nobody.
            case AnswerBegan() | AnswerSent() | AnswerEnded() | AnswerFailed():
                pass
        return self._report(out)

    @property
    def deadline(self) -> int | None:
        """When to call with Ticked at the latest; None: it is over."""
        if self._ended:
            return None
        return min(self._launch_at, self._grace_at, self.exchange.timers.deadline)

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self._ended

    @property
    def busy(self) -> bool:
        """Whether its call is being answered: always, until it is over."""
        return not self._ended

    # ------------------------------------------------------------------------- what an exchange has from here

    def next_ticket(self) -> int:
        """A number for a question."""
        self._tickets += 1
        return self._tickets

    # ------------------------------------------------------------------------------------------------ reports

    def _tick(self, now: int, event: Ticked, out: list[SessionCommand]) -> None:
        exchange = self.exchange
        if self._grace_at <= now:
            exchange.expire(now, Fault(Cause.DRAINING), out)
        elif self._launch_at <= now:
            self._launch_at = NEVER
            exchange.ctx.now, exchange.ctx.out = now, out
            exchange.state = begin_call(exchange, now, out)
        elif exchange.timers.deadline <= now:
            exchange.handle(now, event, out)

    def _report(self, out: list[SessionCommand]) -> list[FlightCommand]:
        """What the exchange has ordered; what it would write to a client, as a report."""
        commands: list[FlightCommand] = []
        for command in out:
            if isinstance(command, WriteClient):
                if not self._began:
                    commands.append(self._begin())
                commands.append(FlightSent(self._number, command.data))
            else:
                commands.append(command)
        if self.exchange.state is SETTLED and not self._ended:
            self._end(commands)
        return commands

    def _begin(self) -> FlightBegan:
        exchange = self.exchange
        translator, upstream, direction = exchange.translator, exchange.upstream, exchange.direction
        assert translator is not None
        assert upstream is not None
        assert direction is not None
        self._began = True
        self._told = len(exchange.tried)
        if exchange.state is not SETTLED:
            total_at = exchange.begun_at + self.plan.limits.total_ns
            exchange.timers.arm(Timer.TOTAL, max(total_at, exchange.timers.when(Timer.TOTAL)))
        headers = translator.stream_headers(upstream.headers)
        return FlightBegan(self._number, headers, direction.name, tuple(exchange.tried))

    def _end(self, commands: list[FlightCommand]) -> None:
        exchange = self.exchange
        self._ended = True
        if exchange.outcome is Outcome.COMPLETE:
            if not self._began:
                commands.append(self._begin())
            fault, worth_keeping = None, _is_worth_keeping(exchange)
        else:
            fault, worth_keeping = exchange.fault or _GROUNDED, False
        attempts = tuple(exchange.tried[self._told :])
        commands.append(FlightEnded(self._number, fault, worth_keeping, attempts))


def _exchange(flight: Flight, order: Order, now: int) -> Exchange:
    """An exchange in the state after admission: only the call is still to make."""
    call = order.call
    created_seconds = (flight.wall_epoch_ns + now) // 1_000_000_000
    request = Request(
        call.method, call.target, call.target, b"", call.headers, call.body, order.request_id, created_seconds
    )
    exchange = Exchange(flight, request, now, [])
    exchange.route = "flight"
    exchange.published = False
    exchange.chain = Chain(Place())
    exchange.dialect = dialect = _Composed(order)
    exchange.timers.arm(Timer.TOTAL, now + order.total_ns)
    exchange.ctx.know_dialect(dialect)
    exchange.ctx.directions, exchange.ctx.persistence = order.directions, order.persistence
    return exchange


def _is_worth_keeping(exchange: Exchange) -> bool:
    """Whether a whole answer is the model's own."""
    upstream, call = exchange.upstream, exchange.call
    translator = cast("Watcher", exchange.translator)
    assert upstream is not None
    assert call is not None
    stop = (translator.stop_reason or "").lower()
    if translator.intervened or stop in _NOT_KEPT or stop.startswith("malformed_"):
        return False
    if call.operation is not Operation.INVOKE_MODEL:
        return True
    body = upstream.body
    return not any(word in body for word in _FILTERED)


# ----------------------------------------------------------------------------------- a call, already composed


class _Composed:
    """The dialect of a call that has been composed already."""

    __slots__ = ("_order",)

    NAME: ClassVar[str] = "flight"
    SURFACES: ClassVar[tuple[Surface, ...]] = ()
    REQUEST_ID_HEADER: ClassVar[bytes] = b"x-request-id"
    LIMIT_FAMILY: ClassVar[str] = ""

    def __init__(self, order: Order) -> None:
        self._order = order

    def read(self, request: Request) -> Ask:
        """What can be known: whether it streams, and the operation."""
        call = self._order.call
        return Ask(model=None, stream=call.stream, operation=call.operation)

    def compose(self, request: Request, ask: Ask, target: Target) -> Call:
        """The order's call to this target. Raises Refused where it has none."""
        order = self._order
        if target == order.directions[0].target:
            return order.call
        for other, call in order.others:
            if other == target:
                return call
        raise refuse(Cause.INTERNAL, detail=f"{target.model} cannot take this call")

    def translator(self, request: Request, ask: Ask, call: Call) -> Watcher:
        """A fresh translator for the answer to `call`."""
        return watcher(call.operation)

    def answer_locally(self, request: Request, ask: Ask, models: Sequence[ModelCard]) -> Reply:
        """Never asked: a call to Bedrock is not local."""
        raise AssertionError("a flight is a call to Bedrock")

    def failure(self, fault: Fault, request_id: str) -> Reply:
        """No bytes: the fault itself is reported."""
        return Reply(fault.row.status, [], b"")


class _Bare(ServerCodec):
    """A codec that frames nothing: what is written is the body. It has no client to read from."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(Limits())

    def receive_data(self, data: bytes) -> None:
        """Nobody sends."""

    def receive_eof(self) -> None:
        """Nobody ends."""

    def next_event(self) -> ServerEvent:
        """There is no client."""
        return CLOSED

    def start_next_cycle(self) -> None:
        """There is no next request."""

    @property
    def has_partial_request(self) -> bool:
        """There is no client."""
        return False

    def response(self, status: int, headers: Headers, body: bytes = b"", *, close: bool = False) -> bytes:
        """The body."""
        return body

    def response_head(self, status: int, headers: Headers, *, close: bool = False) -> bytes:
        """Nothing: the head is reported."""
        return b""

    def chunk(self, data: bytes) -> bytes:
        """The data."""
        return data

    def end(self) -> bytes:
        """Nothing: the end is reported."""
        return b""
