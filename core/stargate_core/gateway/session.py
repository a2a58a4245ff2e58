"""A session: one client connection, from its first byte to its last.

    Waiting      nothing of a next request has come
    Receiving    a part of a request has come
    Exchanging   a request is being answered; what else arrives waits in the codec
    Closed       over; nothing is written any more

The session owns what outlives an exchange: the HTTP codec, the time limits on the client's own sending and
taking, the credentials as last told, and the order of things — one exchange at a time, the next one when the
last is settled.

Rules that do not fit the table:

*A client that ends its sending side has left.* HTTP/1.1 clients that still want an answer do not half-close;
treating the end as leaving lets a cancelled call be cancelled upstream at once, in every phase. Bytes that
the client sent before are not answered then.

*Broken framing ends the connection.* After a request that is not HTTP nobody knows where the next one starts,
so the error is written, and the connection closed. Broken framing behind a good request waits until that one
is answered.

*A request is served by one generation of the configuration*, the one that counts when the request is whole.
What is configured anew while it runs counts from the next request on, on the same connection: nothing is
closed for it. The codec keeps the bounds it began with while it holds a part of a request.

*Draining* lets what runs finish, until the grace time is over: then streams end in a typed error. A
connection without a request is closed at once; one that is sending its request may finish it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias, get_args

from stargate_core.clock import NEVER, TimerTable
from stargate_core.dialects.face import Request
from stargate_core.entropy import Entropy
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.admission import begin
from stargate_core.gateway.authority import Authority
from stargate_core.gateway.exchange import SETTLED, Exchange
from stargate_core.gateway.framing import fault_of_framing, origin
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.settlement import answer_headers, fault_headers
from stargate_core.messages import (
    AbortClient,
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
    CloseClient,
    CredentialsChanged,
    Draining,
    HealthChanged,
    KeysChanged,
    Reconfigured,
    ReleaseUpstream,
    SessionCommand,
    SessionEvent,
    Ticked,
    Unanswered,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamOpened,
    UpstreamSent,
    WriteClient,
)
from stargate_core.native import mypyc_attr
from stargate_core.record import Failed
from stargate_core.transitions import Table
from stargate_core.wire.http1 import (
    NEED_DATA,
    ProtocolError,
    RequestBody,
    RequestHead,
    ServerCodec,
    server_codec,
)


class Timer:
    """What a session allows its client, and its own end."""

    CLIENT: Final = 0
    """The next request, the rest of a head, the rest of a body."""
    STALL: Final = 1
    GRACE: Final = 2
    COUNT: Final = 3


class Waiting:
    """Between requests."""

    __slots__ = ()


class Receiving:
    """Within a request; `head` once it is whole."""

    __slots__ = ("head",)

    def __init__(self, head: RequestHead | None) -> None:
        self.head = head


class Exchanging:
    """Answering."""

    __slots__ = ("exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange


class Closed:
    """Over."""

    __slots__ = ()


State: TypeAlias = Waiting | Receiving | Exchanging | Closed

OfExchange: TypeAlias = (
    UpstreamOpened
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
)
"""Facts that concern an exchange alone."""

_WAITING: Final = Waiting()
_CLOSED: Final = Closed()
_NO_OTHERS: Final[Mapping[int, Plan]] = MappingProxyType({})

TABLE: Final[Table["Session"]] = Table(
    "Session", states=(Waiting, Receiving, Exchanging, Closed), events=get_args(SessionEvent)
)


@mypyc_attr(allow_interpreted_subclasses=True)
class Session:
    """One client connection as a machine: `handle` and `deadline`.

    plan: the compiled configuration. plans: those that `Reconfigured` may name. wall_epoch_ns: wall time
    minus monotonic time. seed: of the session's chance. client: the peer's address, for the log. now:
    monotonic nanoseconds, as in every `handle`.
    """

    __slots__ = (
        "_framing",
        "_plans",
        "_upcoming",
        "authority",
        "chance",
        "client",
        "codec",
        "draining",
        "failed",
        "health",
        "keys",
        "plan",
        "stalled",
        "state",
        "tickets",
        "timers",
        "wall_epoch_ns",
    )

    def __init__(
        self,
        plan: Plan,
        *,
        wall_epoch_ns: int,
        seed: int,
        now: int,
        client: str = "",
        plans: Mapping[int, Plan] = _NO_OTHERS,
    ) -> None:
        self.plan = plan
        """The generation that serves the request at hand, or the next one."""
        self._upcoming = plan
        """The one that counts from the next request on."""
        self._plans = plans
        self.codec: ServerCodec = server_codec(codec=plan.limits.http_codec, limits=plan.limits.http1)
        self._framing = plan.limits
        """The limits that the codec was made with."""
        self.wall_epoch_ns = wall_epoch_ns
        self.draining = False
        self.stalled = False
        self.state: State = _WAITING
        self.client = client
        self.chance = Entropy(seed)
        self.health: dict[str, HealthChanged] = {}
        """What was last told of targets that are not, or no longer, known to be healthy."""
        self.keys: Mapping[str, bytes] = {}
        self.authority = Authority(plan.signers)
        self.tickets = 0
        """The last number that was given to a question."""
        self.failed: Failed | None = None
        self.timers = TimerTable(Timer.COUNT)
        self.timers.arm(Timer.CLIENT, now + plan.limits.client_idle_ns)

    # -------------------------------------------------------------------------------------------- the machine

    def handle(self, now: int, event: SessionEvent) -> list[SessionCommand]:
        """Take in a fact; what is to be done about it, in this order."""
        out: list[SessionCommand] = []
        self.state = _RULES[self.state.__class__, event.__class__](self, self.state, now, event, out)
        return out

    @property
    def deadline(self) -> int | None:
        """When to call with Ticked at the latest; None: nothing is due."""
        due, state = self.timers.deadline, self.state
        if type(state) is Exchanging:
            due = min(due, state.exchange.timers.deadline)
        return None if due == NEVER else due

    @property
    def closed(self) -> bool:
        """Whether the session is over."""
        return self.state is _CLOSED

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return type(self.state) is Exchanging

    # ------------------------------------------------------------------------- what an exchange has from here

    def next_ticket(self) -> int:
        """A number for a question."""
        self.tickets += 1
        return self.tickets

    # ----------------------------------------------------------------------------------- what the rules share

    def receive(self, now: int, out: list[SessionCommand]) -> State:
        """Take what the codec has, request by request, until one must be waited for.

        A loop and not a recursion: what a client sends ahead may hold thousands that are answered at once.
        """
        while True:
            try:
                exchange = self._read(now, out)
            except ProtocolError as error:
                return self.refuse(fault_of_framing(error), error.target or b"", out)
            if not isinstance(exchange, Exchange):
                return exchange
            begin(exchange, now, out)
            if exchange.state is not SETTLED:
                return Exchanging(exchange)
            if not self._next_cycle(now):
                return self.close(out)

    def _read(self, now: int, out: list[SessionCommand]) -> Exchange | State:
        """The next request's exchange; the state to wait in, where it is not whole. Raises ProtocolError."""
        state = self.state
        head = state.head if isinstance(state, Receiving) else None
        while True:
            event = self.codec.next_event()
            if event is NEED_DATA:
                return self._receiving(now, head)
            if isinstance(event, RequestHead):
                head = event
                if head.expects_continue:
                    out.append(WriteClient(self.codec.continue_100()))
            else:
                # Nobody tells the codec of an end, and it is asked for nothing between two requests.
                assert isinstance(event, RequestBody)
                assert head is not None
                return self._exchange(now, head, event.data, out)

    def _receiving(self, now: int, head: RequestHead | None) -> State:
        """Not a whole request yet: a head has its time from its first byte, a body between any two pieces."""
        state = self.state
        if head is not None:
            self.timers.arm(Timer.CLIENT, now + self.plan.limits.client_body_ns)
            return state if isinstance(state, Receiving) and state.head is head else Receiving(head)
        if not self.codec.has_partial_request:
            return _WAITING
        if isinstance(state, Receiving):
            return state
        self.timers.arm(Timer.CLIENT, now + self.plan.limits.client_head_ns)
        return Receiving(None)

    def _next_cycle(self, now: int) -> bool:
        """An exchange is settled: make ready for the next request; False when there may be none."""
        if self.draining or not self.codec.keep_alive:
            return False
        self.codec.start_next_cycle()
        self._renew()
        self.timers.arm(Timer.CLIENT, now + self.plan.limits.client_idle_ns)
        self.state = _WAITING
        return True

    def reconfigure(self, generation: int) -> None:
        """This generation of the configuration counts from the next request on."""
        self._upcoming = self._plans[generation]
        if not isinstance(self.state, Exchanging):
            self._renew()

    def _renew(self) -> None:
        """Between two requests: take up the generation that counts by now."""
        plan = self.plan = self._upcoming
        limits, framing = plan.limits, self._framing
        if limits is framing or self.codec.has_partial_request:
            return
        self._framing = limits
        if (limits.http1, limits.http_codec) != (framing.http1, framing.http_codec):
            self.codec = server_codec(codec=limits.http_codec, limits=limits.http1)

    def _exchange(self, now: int, head: RequestHead, body: bytes, out: list[SessionCommand]) -> Exchange:
        path, query = origin(head.target)
        request = Request(
            method=head.method,
            target=head.target,
            path=path,
            query=query,
            headers=head.headers,
            body=body,
            request_id=self.chance.request_id(),
            created_seconds=(self.wall_epoch_ns + now) // 1_000_000_000,
            client=self.client,
        )
        self.timers.disarm(Timer.CLIENT)
        return Exchange(self, request, now, out)

    def after(self, now: int, state: Exchanging, out: list[SessionCommand]) -> State:
        """Go on behind an exchange: wait for it, or begin the next request when it is settled."""
        if state.exchange.state is not SETTLED:
            return state
        if not self._next_cycle(now):
            return self.close(out)
        return self.receive(now, out) if self.codec.has_partial_request else _WAITING

    def refuse(self, fault: Fault, target: bytes, out: list[SessionCommand]) -> State:
        """Answer a request that never became one, in the dialect its target suggests, and close."""
        state = self.state
        if not target and isinstance(state, Receiving) and state.head is not None:
            target = state.head.target
        path, _ = origin(target)
        dialect = self.plan.routes.guess(path)
        request = Request(b"", path, path, b"", [], b"", self.chance.request_id(), 0)
        reply = dialect.failure(fault, request.request_id)
        headers = [*answer_headers(dialect, request, reply.headers), *fault_headers(fault)]
        out.append(WriteClient(self.codec.response(reply.status, headers, reply.body, close=True)))
        return self.close(out)

    def close(self, out: list[SessionCommand]) -> Closed:
        """End the connection in good order."""
        self.timers.clear()
        out.append(CloseClient())
        return _CLOSED


# ------------------------------------------------------------------------------------------ rules: the client


@TABLE.on((Waiting, Receiving), ClientSent)
def _sent(session: Session, _state: State, now: int, event: ClientSent, out: list[SessionCommand]) -> State:
    """Read on: begin an exchange when the request is whole."""
    session.codec.receive_data(event.data)
    return session.receive(now, out)


@TABLE.on(Exchanging, ClientSent)
def _sent_ahead(
    session: Session, state: Exchanging, _now: int, event: ClientSent, _out: list[SessionCommand]
) -> State:
    """Bytes of the next request, too early: the codec keeps them, and beyond its bound closes afterwards."""
    session.codec.receive_data(event.data)
    return state


@TABLE.on((Waiting, Receiving), ClientEnded, ClientLost)
def _left_idle(
    session: Session, _state: State, _now: int, _event: object, out: list[SessionCommand]
) -> State:
    """Nobody waits for an answer: close."""
    return session.close(out)


@TABLE.on(Exchanging, ClientEnded, ClientLost)
def _left(
    session: Session, state: Exchanging, now: int, event: ClientEnded | ClientLost, out: list[SessionCommand]
) -> State:
    """Cancel what runs, and close."""
    state.exchange.handle(now, event, out)
    return session.close(out)


@TABLE.on((Waiting, Receiving, Exchanging), ClientStalled)
def _stalled(
    session: Session, state: State, now: int, event: ClientStalled, out: list[SessionCommand]
) -> State:
    """Start the limit on taking nothing, and tell the exchange."""
    session.stalled = True
    session.timers.arm(Timer.STALL, now + session.plan.limits.client_stall_ns)
    if isinstance(state, Exchanging):
        state.exchange.handle(now, event, out)
    return state


@TABLE.on((Waiting, Receiving, Exchanging), ClientDrained)
def _drained(
    session: Session, state: State, now: int, event: ClientDrained, out: list[SessionCommand]
) -> State:
    """The client takes again: stop that limit, and tell the exchange."""
    session.stalled = False
    session.timers.disarm(Timer.STALL)
    if isinstance(state, Exchanging):
        state.exchange.handle(now, event, out)
    return state


# -------------------------------------------------------------------------------------------- rules: upstream


@TABLE.on(Exchanging, *get_args(OfExchange))
def _upstream(
    session: Session, state: Exchanging, now: int, event: OfExchange, out: list[SessionCommand]
) -> State:
    """Hand it to the exchange; go on with the next request when that is settled."""
    state.exchange.handle(now, event, out)
    return session.after(now, state, out)


@TABLE.on((Waiting, Receiving, Closed), UpstreamOpened)
def _unwanted(
    _session: Session, state: State, _now: int, event: UpstreamOpened, out: list[SessionCommand]
) -> State:
    """A lease nobody waits for goes back clean."""
    out.append(ReleaseUpstream(event.lease))
    return state


# -------------------------------------------------------------------------- rules: the surroundings, and time


@TABLE.on((Waiting, Receiving, Exchanging), CredentialsChanged)
def _credentials(
    session: Session, state: State, _now: int, event: CredentialsChanged, _out: list[SessionCommand]
) -> State:
    """Sign with these from now on."""
    session.authority.change(event.account, event.credentials)
    return state


@TABLE.on((Waiting, Receiving, Exchanging), HealthChanged)
def _health(
    session: Session, state: State, _now: int, event: HealthChanged, _out: list[SessionCommand]
) -> State:
    """Call this target, leave it alone, or ask before."""
    event.keep_in(session.health)
    return state


@TABLE.on((Waiting, Receiving, Exchanging), KeysChanged)
def _keys(session: Session, state: State, _now: int, event: KeysChanged, _out: list[SessionCommand]) -> State:
    """From the next request on these keys count."""
    session.keys = event.entries
    return state


@TABLE.on((Waiting, Receiving, Exchanging), Reconfigured)
def _reconfigured(
    session: Session, state: State, _now: int, event: Reconfigured, _out: list[SessionCommand]
) -> State:
    """From the next request on that generation counts; what runs finishes on its own."""
    session.reconfigure(event.generation)
    return state


@TABLE.on((Waiting, Receiving, Exchanging), Draining)
def _draining(session: Session, state: State, now: int, event: Draining, out: list[SessionCommand]) -> State:
    """Close if idle, else let what runs finish within the grace time."""
    session.draining = True
    if isinstance(state, Waiting):
        return session.close(out)
    session.timers.arm(Timer.GRACE, now + event.grace_ns)
    return state


@TABLE.on((Waiting, Receiving), Ticked)
def _too_slow(session: Session, state: State, now: int, _event: Ticked, out: list[SessionCommand]) -> State:
    """Close an idle connection, answer 408 to a slow request, give up a client that takes nothing."""
    timers = session.timers
    if timers.due(Timer.GRACE, now) or (isinstance(state, Waiting) and timers.due(Timer.CLIENT, now)):
        return session.close(out)
    if timers.due(Timer.STALL, now):
        out.append(AbortClient())
        timers.clear()
        return _CLOSED
    if timers.due(Timer.CLIENT, now):
        return session.refuse(Fault(Cause.CLIENT_TOO_SLOW), b"", out)
    return state


@TABLE.on(Exchanging, Ticked)
def _ticked(session: Session, state: Exchanging, now: int, event: Ticked, out: list[SessionCommand]) -> State:
    """A stall, the end of the grace time, or a time limit of the exchange."""
    exchange, timers = state.exchange, session.timers
    if timers.due(Timer.STALL, now):
        exchange.handle(now, ClientLost(), out)
        timers.clear()
        out.append(AbortClient())
        return _CLOSED
    if timers.due(Timer.GRACE, now):
        exchange.expire(now, Fault(Cause.DRAINING), out)
    elif exchange.timers.deadline <= now:
        exchange.handle(now, event, out)
    return session.after(now, state, out)


TABLE.ignore(
    (Waiting, Receiving),
    UpstreamFailed,
    UpstreamSent,
    UpstreamEnded,
    UpstreamLost,
    Answered,
    Unanswered,
    AnswerBegan,
    AnswerSent,
    AnswerEnded,
    AnswerFailed,
    because="a late fact about a ticket or lease that was given back when its exchange was settled",
)
TABLE.ignore(
    Closed,
    ClientSent,
    ClientEnded,
    ClientLost,
    ClientStalled,
    ClientDrained,
    UpstreamFailed,
    UpstreamSent,
    UpstreamEnded,
    UpstreamLost,
    CredentialsChanged,
    HealthChanged,
    KeysChanged,
    Reconfigured,
    Answered,
    Unanswered,
    AnswerBegan,
    AnswerSent,
    AnswerEnded,
    AnswerFailed,
    Draining,
    Ticked,
    because="the session is over",
)
_RULES: Final = TABLE.seal()
