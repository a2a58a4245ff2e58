"""The pure shell: what trio_shell/gateway.py does, in virtual time and without awaiting anything.

The same methods in the same order, so that the two can be read side by side: one queue of facts, worked off
by whoever has brought the first; commands carried out before the next fact; answers put in front. What
differs from the real shells, and why:

- A task that owns a connection's life is a few items on the agenda (`_see_off`), a connection that is being
  opened is one (`Network.connect`).
- A machine that raises ends the world: here a bug is what is looked for. So nothing is `broken`.
- There are no journals: what a world has done, it does again.
- The clock is the agenda's; the ticker may be late, by as much as the world's features say. A real ticker's
  coalescing of looks is not here, for virtual time costs nothing.
- Facts may be late, and come twice (`late`): a machine must not rely on its shell's order there.
- `Judge` hears every fact and every command, before it is carried out.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeAlias, assert_never

import msgspec

from sim.agenda import Agenda, Item
from sim.callers import Caller, Client, Flyer, Link
from sim.enquiries import Enquiries
from sim.flights import Flights
from sim.judge import Judge
from sim.tickets import Tickets
from sim.wires import End
from stargate_core.aws.credentials import Credentials
from stargate_core.aws.endpoints import Endpoint
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.pool import Pool
from stargate_core.gateway.session import Session
from stargate_core.messages import (
    AbortClient,
    AnswerBegan,
    Answered,
    AnswerEnded,
    AnswerFailed,
    AnswerOrdered,
    AnswerPaused,
    AnswerResumed,
    AnswerSent,
    AnswerUnwanted,
    Ask,
    AskWithdrawn,
    BoundsChanged,
    CacheEvent,
    ClientLost,
    CloseClient,
    Connect,
    ConnectionFailed,
    ConnectionOpened,
    CredentialsChanged,
    Disconnect,
    Draining,
    DropUpstream,
    Emit,
    FlightBegan,
    FlightCommand,
    FlightEnded,
    FlightEvent,
    FlightSent,
    Follow,
    HealthChanged,
    KeysChanged,
    LeaseAsked,
    LeaseReturned,
    Lend,
    Note,
    OpenUpstream,
    PauseAnswer,
    PoolEvent,
    Publish,
    Reconfigured,
    Refuse,
    ReleaseUpstream,
    ResumeAnswer,
    SessionEvent,
    Tell,
    Ticked,
    Trouble,
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
    WriteUpstream,
)
from stargate_core.questions import Answer

LINGER_NS: Final = 2_000_000_000
_TICKED: Final = Ticked()
_LATE: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
SharedFact: TypeAlias = AnswerBegan | AnswerSent | AnswerEnded | AnswerFailed


class CacheFact(msgspec.Struct, frozen=True, gc=False):
    """A fact for the cache."""

    event: CacheEvent


class Timed(Protocol):
    """Something with a deadline."""

    armed: Item | None

    @property
    def deadline(self) -> int | None:
        """When it wants to be ticked."""

    def tick(self) -> None:
        """Its time has come."""


class Network(Protocol):
    """What is outside of the process."""

    def connect(
        self,
        link: Link,
        endpoint: Endpoint,
        opened: Callable[[End], None],
        failed: Callable[[Trouble, str], None],
    ) -> Item | None:
        """Open a connection; what may be struck out to give that up."""


class Shell:
    """Serves a plan."""

    def __init__(
        self,
        plan: Plan,
        agenda: Agenda,
        judge: Judge,
        network: Network,
        *,
        seed: Callable[[], int],
        lateness: Callable[[], int],
        wall_epoch_ns: int,
    ) -> None:
        self.plan = plan
        self.plans = {plan.generation: plan}
        self.clients: list[Client] = []
        self.armed: Item | None = None
        self.agenda = agenda
        self.judge = judge
        self.seed = seed
        self.wall_epoch_ns = wall_epoch_ns
        self._lateness = lateness
        self._network = network
        self.pool = Pool(plan.limits.pool)
        self.links: dict[int, Link] = {}
        self.tickets = Tickets()
        self._facts: deque[tuple[Caller, FlightEvent] | PoolEvent | CacheFact] = deque()
        self._busy = False
        self._credentials: dict[str, Credentials | None] = {}
        self.draining: Draining | None = None
        self._health: dict[str, HealthChanged] = {}
        self._keys: KeysChanged | None = None
        self._sessions = 0
        self._withdrawn: dict[int, tuple[Caller, int]] = {}
        """Leases that are not wanted any more, of which the pool has yet to hear."""
        self.late: Callable[[], int] = lambda: 0
        """By how much a fact is late, or comes once more; 0: it does not."""
        self.enquiries = Enquiries(self)
        self.flights = Flights(self, shared=plan.config.gateway.store.is_shared)

    # -------------------------------------------------------------------------------------------- connections

    def attend(self, channel: End, address: str) -> Client:
        """Serve a connection that stands."""
        session = Session(
            self.plan,
            wall_epoch_ns=self.wall_epoch_ns,
            seed=self.seed(),
            now=self.agenda.now,
            client=address,
            plans=self.plans,
        )
        self._sessions += 1
        client = Client(self, channel, session, self._sessions)
        self.clients.append(client)
        channel.on_gone = lambda: self._gone(client)
        # The peer's own end is waited for then, so that no reset destroys the answer.
        channel.on_ended = lambda: self._linger(channel)
        self.judge.attended(client)
        self.admit(client)
        if not channel.closed:
            channel.start(client)
        return client

    def _gone(self, client: Client) -> None:
        """Its connection is closed."""
        if not client.session.closed:
            self.tell(client, ClientLost())
        if client in self.clients:
            self.clients.remove(client)
        self.forget(client)
        self.judge.gone(client)

    def _linger(self, channel: End) -> None:
        self.agenda.after(LINGER_NS, channel.dispose)

    def _see_off(self, client: Client, left: int) -> None:
        """Our side is to end: what was written leaves first, as long as some of it does in its time."""
        channel, pending = client.channel, client.channel.pending_bytes
        if channel.closed or not pending:
            return
        if pending == left:
            channel.dispose()
        else:
            self.agenda.after(self.plan.limits.client_stall_ns, lambda: self._see_off(client, pending))

    def admit(self, caller: Caller) -> None:
        """Tell a new session or flight how things stand."""
        for account, credentials in self._credentials.items():
            self.tell(caller, CredentialsChanged(account, credentials))
        for health in tuple(self._health.values()):
            self.tell(caller, health)
        if self._keys is not None:
            self.tell(caller, self._keys)
        if self.draining is not None:
            self.tell(caller, self.draining)
        self.arm(caller)

    # ------------------------------------------------------------------------------------- facts and commands

    def tell(self, client: Caller, event: FlightEvent) -> None:
        """A session learns a fact; what follows from it is done before this returns."""
        self._facts.append((client, event))
        if not self._busy:
            self._work()

    def tell_pool(self, event: PoolEvent) -> None:
        """The pool learns a fact."""
        self._facts.append(event)
        if not self._busy:
            self._work()

    def tell_cache(self, event: CacheEvent) -> None:
        """The cache learns a fact."""
        self._facts.append(CacheFact(event))
        if not self._busy:
            self._work()

    def answer(self, number: int, answer: Answer) -> None:
        """The answer to a question, by the process's number of it."""
        self._bring(number, lambda ticket: Answered(ticket, answer))

    def leave_unanswered(self, number: int, why: str) -> None:
        """There is none."""
        self._bring(number, lambda ticket: Unanswered(ticket, why))

    def _bring(self, number: int, event: Callable[[int], SessionEvent]) -> None:
        asked = self.tickets.redeem(number)
        if asked is None:
            return
        caller, ticket = asked
        self._facts.appendleft((caller, event(ticket)))
        delay = self.late()
        if delay:
            self.agenda.after(delay, lambda: self._repeat(caller, event(ticket)))
        if not self._busy:
            self._work()

    def _repeat(self, caller: Caller, event: SessionEvent) -> None:
        """Tell a session what it knows already."""
        if not caller.session.closed:
            self.tell(caller, event)

    def tell_answer(self, number: int, event: SharedFact) -> None:
        """More of a shared answer, for whoever follows it under this number."""
        asked = self.tickets.owner(number)
        if asked is None:
            return
        caller, ticket = asked
        if isinstance(event, AnswerEnded | AnswerFailed):
            self.tickets.redeem(number)
        self.tell(caller, msgspec.structs.replace(event, ticket=ticket))

    def _work(self) -> None:
        self._busy = True
        facts = self._facts
        touched: list[Timed] = []
        now = self.agenda.now
        judge = self.judge
        while facts:
            fact = facts.popleft()
            if isinstance(fact, tuple):
                client, event = fact
                commands = judge.heard(client, event)
                for command in commands:
                    self._perform(client, command)
                if not touched or touched[-1] is not client:
                    touched.append(client)
                if type(client) is Flyer and client.session.closed:
                    self.flights.land(client)
            elif isinstance(fact, CacheFact):
                self.flights.work(fact.event)
            else:
                self._work_for_pool(fact, now)
                touched.append(self)
        self._busy = False
        for timed in dict.fromkeys(touched):
            self.arm(timed)

    def _perform(self, client: Caller, command: FlightCommand) -> None:
        match command:
            case WriteClient(data):
                assert isinstance(client, Client)
                try:
                    client.channel.write(data)
                except OSError:
                    self._facts.append((client, ClientLost()))
            case WriteUpstream(lease, data):
                self._write_upstream(client, lease, data)
            case OpenUpstream(ticket, endpoint, fresh):
                self._facts.append(LeaseAsked(self.tickets.issue(client, ticket), endpoint, fresh))
            case Tell(statement):
                self.enquiries.tell(statement)
            case Ask(ticket, question):
                self.enquiries.ask(self.tickets.issue(client, ticket), question)
            case ReleaseUpstream(lease):
                self._give_back(lease, clean=True)
            case DropUpstream(lease):
                self._give_back(lease, clean=False)
            case WithdrawUpstream(ticket):
                number = self.tickets.withdraw(client, ticket)
                if number is not None:
                    self._withdraw_lease(client, ticket, number)
            case Withdraw(ticket):
                number = self.tickets.withdraw(client, ticket)
                if number is not None:
                    self.enquiries.withdraw(number)
            case Follow(ticket, order):
                number = self.tickets.issue(client, ticket)
                self._facts.append(CacheFact(AnswerOrdered(number, order)))
            case Unfollow(ticket):
                number = self.tickets.withdraw(client, ticket)
                if number is not None:
                    self._facts.append(CacheFact(AnswerUnwanted(number)))
            case PauseAnswer(ticket) if ticket in client.tickets:
                self._facts.append(CacheFact(AnswerPaused(client.tickets[ticket])))
            case ResumeAnswer(ticket) if ticket in client.tickets:
                self._facts.append(CacheFact(AnswerResumed(client.tickets[ticket])))
            case PauseAnswer() | ResumeAnswer():
                pass  # All of it has been sent.
            case FlightBegan() | FlightSent() | FlightEnded():
                self._facts.append(CacheFact(command))
            case Emit() | Publish() | Note():
                pass  # The judge has read it.
            case CloseClient():
                assert isinstance(client, Client)
                client.channel.finish()
                self._see_off(client, 0)
            case AbortClient():
                assert isinstance(client, Client)
                client.channel.abort()
            case _:
                assert_never(command)

    def _withdraw_lease(self, client: Caller, ticket: int, number: int) -> None:
        delay = self.late()
        if delay:
            # The pool hears of it later, and may have lent one by then: that lease reaches its session late.
            self._withdrawn[number] = (client, ticket)
            self.agenda.after(delay, lambda: self._forget_lease(number))
        else:
            self._facts.append(AskWithdrawn(number))

    def _forget_lease(self, number: int) -> None:
        if self._withdrawn.pop(number, None) is not None:
            self.tell_pool(AskWithdrawn(number))

    def _write_upstream(self, client: Caller, lease: int, data: bytes) -> None:
        link = self.links.get(lease)
        try:
            if link is None or link.channel is None:
                raise BrokenPipeError
            link.channel.write(data)
        except OSError:
            self._facts.append((client, UpstreamLost(lease)))

    def _give_back(self, lease: int, *, clean: bool) -> None:
        link = self.links.get(lease)
        if link is not None:
            client = link.client
            if client is not None:
                client.link = None
                delay = self.late()
                if delay:
                    self.agenda.after(delay, lambda: self._haunt(client, lease))
            link.client = None
            if link.channel is not None:
                link.channel.resume()
                clean = clean and not (link.ended or link.channel.pending)
        self._facts.append(LeaseReturned(lease, clean))

    def _haunt(self, client: Caller, lease: int) -> None:
        """Bytes of a lease that its session has given back reach it all the same."""
        if not client.session.closed and (client.link is None or client.link.connection != lease):
            self.tell(client, UpstreamSent(lease, _LATE))
            self.tell(client, UpstreamEnded(lease))

    def _work_for_pool(self, event: PoolEvent, now: int) -> None:
        for command in self.judge.pool_heard(self.pool, now, event):
            match command:
                case Lend(pool_ticket, connection, reused):
                    self._lend(pool_ticket, connection, reused)
                case Refuse(pool_ticket, trouble, detail):
                    asked = self.tickets.redeem(pool_ticket)
                    if asked is not None:
                        client, ticket = asked
                        self._facts.append((client, UpstreamFailed(ticket, trouble, detail)))
                case Connect(connection, endpoint):
                    link = self.links[connection] = Link(self, connection)
                    self._open(link, endpoint)
                case Disconnect(connection):
                    gone = self.links.pop(connection, None)
                    if gone is not None:
                        if gone.opening is not None:
                            gone.opening.strike()
                        if gone.channel is not None:
                            gone.channel.dispose()
                case _:
                    assert_never(command)

    def _open(self, link: Link, endpoint: Endpoint) -> None:
        """Open an upstream connection, and keep it until it is over."""

        def opened(channel: End) -> None:
            link.opening, link.channel = None, channel
            channel.on_gone = lambda: self._unlink(link)
            channel.start(link)
            self.tell_pool(ConnectionOpened(link.connection))

        def failed(trouble: Trouble, detail: str) -> None:
            link.opening = None
            self._unlink(link)
            self.tell_pool(ConnectionFailed(link.connection, trouble, detail))

        link.opening = self._network.connect(link, endpoint, opened, failed)

    def _unlink(self, link: Link) -> None:
        if self.links.get(link.connection) is link:
            del self.links[link.connection]

    def _lend(self, pool_ticket: int, connection: int, reused: bool) -> None:
        asked = self.tickets.redeem(pool_ticket)
        if asked is None:
            asked = self._withdrawn.pop(pool_ticket, None)
        if asked is None:
            self.judge.back(connection)
            self._facts.append(LeaseReturned(connection, clean=True))
            return
        client, ticket = asked
        self.judge.lent(connection, client)
        link = self.links.get(connection)
        if link is not None:
            link.client, client.link = client, link
            if client.held_up and link.channel is not None:
                link.channel.pause()
        self._facts.append((client, UpstreamOpened(ticket, connection, reused)))

    # ------------------------------------------------------------------------------------------- surroundings

    @property
    def deadline(self) -> int | None:
        """The pool's."""
        return self.pool.deadline

    def tick(self) -> None:
        """Tell the pool its time has come."""
        self.tell_pool(_TICKED)

    def arm(self, timed: Timed) -> None:
        """Take note of a deadline that may have moved."""
        deadline = timed.deadline
        armed = timed.armed
        if deadline is None or (armed is not None and armed.when <= deadline):
            return
        if armed is not None:
            armed.strike()
        timed.armed = self.agenda.at(deadline + self._lateness(), lambda: self._look(timed))

    def _look(self, timed: Timed) -> None:
        timed.armed = None
        deadline = timed.deadline
        if deadline is not None and deadline <= self.agenda.now:
            timed.tick()
            self.judge.ticked(timed.deadline)
        self.arm(timed)

    def forget(self, timed: Timed) -> None:
        """Look at it no more."""
        if timed.armed is not None:
            timed.armed.strike()
            timed.armed = None

    def change_credentials(self, credentials: Mapping[str, Credentials | None]) -> None:
        """Tell every session, present and future."""
        for account, value in credentials.items():
            self._credentials[account] = value
            self._tell_all(CredentialsChanged(account, value))

    def broadcast(self, event: HealthChanged | KeysChanged) -> None:
        """Tell every session, present and future."""
        if isinstance(event, KeysChanged):
            self._keys = event
        else:
            event.keep_in(self._health)
        self._tell_all(event)

    def reconfigure(self, plan: Plan) -> None:
        """This generation of the configuration counts from now on: for each session from its next request."""
        before, self.plan = self.plan, plan
        self.plans[plan.generation] = plan
        self._tell_all(Reconfigured(plan.generation))
        del self.plans[before.generation]
        self.tell_pool(BoundsChanged(*msgspec.structs.astuple(plan.limits.pool)))

    def _tell_all(self, event: SessionEvent) -> None:
        for client in tuple(self.clients):
            self.tell(client, event)
        self.flights.broadcast(event)

    def drain(self, grace_ns: int) -> None:
        """Let what runs finish within the grace time; then end it."""
        self.draining = Draining(grace_ns)
        self._tell_all(self.draining)
        self.tell_pool(self.draining)
        self.enquiries.drain(grace_ns)

    def note(self, level: str, text: str) -> None:
        """Tell the operator something."""
        self.judge.noted(level, text)
