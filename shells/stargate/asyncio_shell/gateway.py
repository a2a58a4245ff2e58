"""The asyncio shell's heart: sessions and the pool, fed from sockets, and their commands carried out.

There is no task, queue or lock per request. Each connection has a task that owns its life, and the reactor
brings what comes on it: the machine is told at once, and what it orders is carried out synchronously
(`Channel.write` never waits). Facts that arise on the way (a lease was lent, a write failed) queue behind the
commands at hand, so that each machine's commands keep their order.

Back-pressure: while a client's bytes have not left, neither it nor its upstream is read, and TCP slows both.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, assert_never

import anyio
import msgspec
from anyio.abc import TaskGroup

from stargate.asyncio_shell.channel import Channel
from stargate.asyncio_shell.connections import Caller, Client, Flyer, Link
from stargate.asyncio_shell.connector import connect
from stargate.asyncio_shell.enquiries import Enquiries
from stargate.asyncio_shell.flights import Flights
from stargate.asyncio_shell.reactor import Reactor
from stargate.asyncio_shell.sinks import Sinks
from stargate.asyncio_shell.ticker import Look, Ticker, Timed, now_ns
from stargate.fetcher import Fetcher
from stargate.journals import Journals
from stargate.shell_common.beside import tell_nobody
from stargate.shell_common.channels import ClientChannel, SelfEnding
from stargate.shell_common.facts import LAST, CacheFact, SharedFact, bug
from stargate.shell_common.standing import Standing, Told
from stargate.shell_common.threads import in_thread
from stargate.shell_common.tickets import Tickets
from stargate.shell_common.troubles import detail_of, trouble_of
from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.aws.endpoints import Endpoint
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.pool import Pool
from stargate_core.messages import (
    AbortClient,
    Answered,
    AnswerOrdered,
    AnswerPaused,
    AnswerResumed,
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
    Unanswered,
    Unfollow,
    UpstreamFailed,
    UpstreamLost,
    UpstreamOpened,
    Withdraw,
    WithdrawUpstream,
    WriteClient,
    WriteUpstream,
)
from stargate_core.questions import Answer

LINGER_SECONDS: Final = 2.0


class Gateway:
    """Serves a plan on connections that a listener hands in. fetcher: of URLs, a test's own."""

    def __init__(
        self,
        plan: Plan,
        nursery: TaskGroup,
        *,
        sinks: Sinks,
        tls: Callable[[Endpoint], ssl.SSLContext],
        fetcher: Fetcher | None = None,
    ) -> None:
        self.plan = plan
        """The generation of the configuration that counts for what is new."""
        self._plans = {plan.generation: plan}
        self.clients: set[Client] = set()
        self.connections = anyio.CapacityLimiter(plan.config.gateway.max_connections)
        """The limit on client connections; a listener takes one of its tokens for each."""
        self.armed: Look | None = None
        self._nursery = nursery
        self.sinks = sinks
        """Where log lines and notes go."""
        self.note = sinks.note
        """Tells the operator something, by level and text."""
        self.observe: Callable[[Publish], None] = tell_nobody
        """Is told of each exchange that is settled, if the plan says that somebody watches."""
        self.tls = tls
        """The TLS context for an endpoint."""
        self.ticker = Ticker()
        self._pool = Pool(plan.limits.pool)
        self._links: dict[int, Link] = {}
        self._tickets = Tickets[Caller]()
        self._facts: deque[tuple[Caller, FlightEvent] | PoolEvent | CacheFact] = deque()
        self._busy = False
        self.standing = Standing()
        """What everybody has been told."""
        self._deserted = asyncio.Event()
        """Set when the last client has gone while draining."""
        self._closed = False
        self.reactor = Reactor(self._failed)
        self.journals = Journals(plan, self.note)
        self.enquiries = Enquiries(self, nursery, self.ticker, fetcher, watched=plan.observed)
        self.flights = Flights(self, self.ticker, self.enquiries, shared=plan.config.gateway.store.is_shared)
        nursery.start_soon(self.ticker.run)
        nursery.start_soon(self.reactor.run)

    # -------------------------------------------------------------------------------------------- connections

    async def serve(self, sock: socket.socket, address: str, tls: ssl.SSLContext | None = None) -> None:
        """Serve one client connection until it is over."""
        channel = Channel(sock, self.reactor)
        if tls is not None:
            try:
                with anyio.fail_after(self.plan.limits.client_head_ns / 1e9):
                    await channel.handshake(tls, server_side=True)
            except (OSError, ssl.SSLError, TimeoutError):
                channel.dispose()
                return
        client = self._welcome(channel, address)
        try:
            await channel.wait_over(self.plan.limits.client_stall_ns / 1e9, LINGER_SECONDS)
        finally:
            self._see_off(client)

    def attend(self, channel: SelfEnding, address: str) -> None:
        """Serve a connection in memory: it says itself when it is over, so no task waits for that.

        Raises RuntimeError when the gateway is closed.
        """
        if self._closed:
            raise RuntimeError("the gateway is closed")
        client = self._welcome(channel, address)
        channel.when_over(lambda: self._see_off(client))

    def _welcome(self, channel: ClientChannel, address: str) -> Client:
        """Begin to serve a connection that stands."""
        client = Client(self, channel, self.journals.session(self.plan, self._plans, address, now_ns()))
        self.clients.add(client)
        self.admit(client)
        if not channel.closed:
            channel.start(client)
        return client

    def _see_off(self, client: Client) -> None:
        """Its connection is over."""
        if not client.session.closed:
            self.tell(client, ClientLost())
        client.channel.dispose()
        self.clients.discard(client)
        self.ticker.forget(client)
        if self.standing.draining is not None and not self.clients:
            self._deserted.set()

    def close(self) -> None:
        """Take nobody on any more, and break connections in memory: no task of theirs can be cancelled."""
        self._closed = True
        for client in tuple(self.clients):
            client.channel.dispose()

    def admit(self, caller: Caller) -> None:
        """Tell a new session or flight how things stand."""
        for told in self.standing.all():
            self.tell(caller, told)
        self.ticker.arm(caller)  # Who connects and says nothing has not for ever.

    async def _run_link(self, endpoint: Endpoint, link: Link) -> None:
        """Open an upstream connection, and keep it until it is over."""
        with link.scope:
            try:
                channel = await connect(endpoint, self.reactor, self.tls)
            except (OSError, ssl.SSLError) as error:
                self._links.pop(link.connection, None)
                self.tell_pool(ConnectionFailed(link.connection, trouble_of(error), detail_of(error)))
                return
            link.channel = channel
            try:
                channel.start(link)
                self.tell_pool(ConnectionOpened(link.connection))
                await channel.wait_over(0, 0)
            finally:
                channel.dispose()
                self._links.pop(link.connection, None)

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
        asked = self._tickets.redeem(number)
        if asked is None:
            return
        caller, ticket = asked
        # Before all that waits: nobody may withdraw a question that has been answered already, and lose what
        # was taken for it.
        self._facts.appendleft((caller, event(ticket)))
        if not self._busy:
            self._work()

    def tell_answer(self, number: int, event: SharedFact) -> None:
        """More of a shared answer, for whoever follows it under this number."""
        asked = self._tickets.owner(number)
        if asked is None:
            return
        caller, ticket = asked
        if isinstance(event, LAST):
            self._tickets.redeem(number)
        self.tell(caller, msgspec.structs.replace(event, ticket=ticket))

    def _work(self) -> None:
        self._busy = True
        facts = self._facts
        touched: list[Timed] = []
        try:
            while facts:
                fact = facts.popleft()
                if isinstance(fact, tuple):
                    client, event = fact
                    if client.broken:
                        continue
                    try:
                        commands = client.session.handle(now_ns(), event)
                    except Exception as error:  # noqa: BLE001  (a bug of ours ends one session, never the gateway)
                        self._break(client, event, error)
                        continue
                    for command in commands:
                        self._perform(client, command)
                    if not touched or touched[-1] is not client:
                        touched.append(client)
                    if type(client) is Flyer and client.session.closed:
                        self.flights.land(client)
                elif isinstance(fact, CacheFact):
                    self.flights.work(fact.event)
                else:
                    self._work_for_pool(fact)
                    touched.append(self)
        finally:
            self._busy = False
        for timed in dict.fromkeys(touched):
            self.ticker.arm(timed)

    def _break(self, client: Caller, event: FlightEvent, error: Exception) -> None:
        """End a session that failed by a bug of ours: cut its connection, take back what it held."""
        client.broken = True
        self.note("error", f"{bug(error)} on {type(event).__name__}; one session was ended")
        client.abort()
        self.flights.land(client)
        for lease, link in tuple(self._links.items()):
            if link.client is client:
                self._give_back(lease, clean=False)
        for ticket in tuple(client.tickets):
            number = self._tickets.withdraw(client, ticket)
            if number is not None:
                # It may have been any of these; the others know nothing of it.
                self._facts += (AskWithdrawn(number), CacheFact(AnswerUnwanted(number)))
                self.enquiries.withdraw(number)

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
                self._facts.append(LeaseAsked(self._tickets.issue(client, ticket), endpoint, fresh))
            case Tell(statement):
                self.enquiries.tell(statement)
            case Ask(ticket, question):
                self.enquiries.ask(self._tickets.issue(client, ticket), question)
            case Emit(sink, line):
                self.sinks.emit(sink, line)
            case Publish():
                self.observe(command)
            case ReleaseUpstream(lease) | DropUpstream(lease):
                self._give_back(lease, clean=type(command) is ReleaseUpstream)
            case WithdrawUpstream(ticket):
                number = self._tickets.withdraw(client, ticket)
                if number is not None:
                    self._facts.append(AskWithdrawn(number))
            case Withdraw(ticket):
                number = self._tickets.withdraw(client, ticket)
                if number is not None:
                    self.enquiries.withdraw(number)
            case Follow(ticket, order):
                self._facts.append(CacheFact(AnswerOrdered(self._tickets.issue(client, ticket), order)))
            case Unfollow(ticket):
                number = self._tickets.withdraw(client, ticket)
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
            case Note(level, text):
                self.note(level, text)
            case CloseClient():
                assert isinstance(client, Client)
                client.channel.finish()
            case AbortClient():
                client.abort()
            case _:
                assert_never(command)

    def _write_upstream(self, client: Caller, lease: int, data: bytes) -> None:
        link = self._links.get(lease)
        try:
            if link is None or link.channel is None:
                raise BrokenPipeError
            link.channel.write(data)
        except OSError:
            self._facts.append((client, UpstreamLost(lease)))

    def _give_back(self, lease: int, *, clean: bool) -> None:
        link = self._links.get(lease)
        if link is not None:
            if link.client is not None:
                link.client.link = None
            link.client = None
            if link.channel is not None:
                link.channel.resume()
                # A call whose own bytes have not all left may have no other behind it.
                clean = clean and not (link.ended or link.channel.pending)
        self._facts.append(LeaseReturned(lease, clean))

    def _work_for_pool(self, event: PoolEvent) -> None:
        for command in self._pool.handle(now_ns(), event):
            match command:
                case Lend(pool_ticket, connection, reused):
                    self._lend(pool_ticket, connection, reused)
                case Refuse(pool_ticket, trouble, detail):
                    asked = self._tickets.redeem(pool_ticket)
                    if asked is not None:
                        client, ticket = asked
                        self._facts.append((client, UpstreamFailed(ticket, trouble, detail)))
                case Connect(connection, endpoint):
                    link = self._links[connection] = Link(self, connection)
                    self._nursery.start_soon(self._run_link, endpoint, link)
                case Disconnect(connection):
                    gone = self._links.pop(connection, None)
                    if gone is not None:
                        gone.scope.cancel()
                        if gone.channel is not None:
                            gone.channel.dispose()
                case _:
                    assert_never(command)

    def _lend(self, pool_ticket: int, connection: int, reused: bool) -> None:
        asked = self._tickets.redeem(pool_ticket)
        if asked is None:
            self._facts.append(LeaseReturned(connection, clean=True))
            return
        client, ticket = asked
        link = self._links.get(connection)
        if link is not None:
            link.client, client.link = client, link
            if client.held_up and link.channel is not None:
                link.channel.pause()  # It has yet to take its last answer.
        self._facts.append((client, UpstreamOpened(ticket, connection, reused)))

    # ------------------------------------------------------------------------------------------- surroundings

    @property
    def deadline(self) -> int | None:
        """The pool's: towards the ticker, the gateway stands for its pool."""
        return self._pool.deadline

    def tick(self) -> None:
        """Tell the pool its time has come."""
        self.tell_pool(Ticked())

    def change_credentials(self, credentials: Mapping[str, Credentials | BearerToken | None]) -> None:
        """Tell every session, present and future."""
        for account, value in credentials.items():
            self.broadcast(CredentialsChanged(account, value))

    def credentials(self, account: str) -> Credentials | BearerToken | None:
        """The account's, as they are now."""
        return self.standing.credentials.get(account)

    def broadcast(self, event: Told) -> None:
        """Tell every session, present and future."""
        self.standing.keep(event)
        self._tell_all(event)

    def reconfigure(self, plan: Plan, tls: Callable[[Endpoint], ssl.SSLContext]) -> None:
        """This generation of the configuration counts from now on: for each session from its next request."""
        before, self.plan, self.tls = self.plan, plan, tls
        self._plans[plan.generation] = plan
        self.sinks.use(plan.log_sinks)
        self._tell_all(Reconfigured(plan.generation))
        del self._plans[before.generation]
        self.tell_pool(BoundsChanged(*msgspec.structs.astuple(plan.limits.pool)))
        self.connections.total_tokens = plan.config.gateway.max_connections

    def _tell_all(self, event: SessionEvent) -> None:
        for client in tuple(self.clients):
            self.tell(client, event)
        self.flights.broadcast(event)

    async def drain(self, grace_seconds: float) -> None:
        """Let what runs finish within the grace time; then end it. Returns when no client is left, and the
        store has heard how all of it ended.
        """
        draining = Draining(int(grace_seconds * 1e9))
        self.broadcast(draining)
        self.tell_pool(draining)
        self.enquiries.drain(grace_seconds)
        with anyio.move_on_after(grace_seconds + LINGER_SECONDS):
            if self.clients:
                await self._deserted.wait()
        await self.enquiries.last_words()
        if self.journals.recording:
            await in_thread(self.journals.close)
            self.journals.last_notes()

    def _failed(self, error: Exception) -> None:
        """A bug of ours outside the core, while serving one connection."""
        self.note("error", f"{bug(error)}; one connection was ended")

    def statistics(self) -> dict[str, int]:
        """How much of everything there is at this moment."""
        return {"clients": len(self.clients), "tickets": len(self._tickets), **self._pool.statistics()}
