"""The trio shell's heart: sessions and the pool, fed from sockets, and their commands carried out.

There is no task, queue or lock per request. Each client connection has one task that reads it, each upstream
connection has one task that reads that; whoever reads something tells the machine at once and carries out
what it orders, synchronously (`Channel.write` never waits). Facts that arise on the way (a lease was lent, a
write failed) queue behind the commands at hand, so that each machine's commands keep their order.

Back-pressure: while a client's bytes have not left, the task that reads its upstream waits, and TCP slows
Bedrock.
"""

import os
import socket
import ssl
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, assert_never

import trio

from stargate.trio_shell.channel import Channel
from stargate.trio_shell.connector import connect, trouble_of
from stargate.trio_shell.sinks import Sinks
from stargate.trio_shell.ticker import Ticker, now_ns
from stargate_core.aws.endpoints import Endpoint
from stargate_core.aws.sigv4 import Credentials
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.pool import Pool
from stargate_core.gateway.session import Session
from stargate_core.messages import (
    AbortClient,
    AskWithdrawn,
    ClientDrained,
    ClientEnded,
    ClientLost,
    ClientSent,
    ClientStalled,
    CloseClient,
    Connect,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    CredentialsChanged,
    Disconnect,
    Draining,
    DropUpstream,
    Emit,
    LeaseAsked,
    LeaseReturned,
    Lend,
    Note,
    OpenUpstream,
    PoolEvent,
    Refuse,
    ReleaseUpstream,
    SessionCommand,
    SessionEvent,
    Ticked,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamOpened,
    UpstreamSent,
    WithdrawUpstream,
    WriteClient,
    WriteUpstream,
)

LINGER_SECONDS: Final = 2.0
_TICKED: Final = Ticked()


class Client:
    """A client connection: its channel and its session."""

    __slots__ = ("armed", "broken", "channel", "gateway", "session", "tickets")

    def __init__(self, gateway: "Gateway", channel: Channel, session: Session) -> None:
        self.gateway = gateway
        self.channel = channel
        self.session = session
        self.armed: int | None = None
        self.broken = False
        """The session has failed by a bug of ours: it is not to be asked anything any more."""
        self.tickets: dict[int, int] = {}
        """The session's tickets to the pool's."""

    @property
    def deadline(self) -> int | None:
        """The session's."""
        return self.session.deadline

    def tick(self) -> None:
        """Tell the session its time has come."""
        self.gateway.tell(self, _TICKED)


class Link:
    """An upstream connection: its channel, once it stands, and who has leased it."""

    __slots__ = ("channel", "client", "scope")

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.channel: Channel | None = None
        self.client: Client | None = None


class Gateway:
    """Serves a plan on connections that a listener hands in."""

    def __init__(
        self,
        plan: Plan,
        nursery: trio.Nursery,
        *,
        sinks: Sinks,
        tls: Callable[[Endpoint], ssl.SSLContext],
    ) -> None:
        self.plan = plan
        self.wall_epoch_ns = time.time_ns() - now_ns()
        self.clients: set[Client] = set()
        self.connections = trio.CapacityLimiter(plan.config.gateway.max_connections)
        """The limit on client connections; a listener takes one of its tokens for each."""
        self.armed: int | None = None
        self._nursery = nursery
        self._sinks = sinks
        self._tls = tls
        self._ticker = Ticker()
        self._pool = Pool(plan.limits.pool)
        self._links: dict[int, Link] = {}
        self._tickets: dict[int, tuple[Client, int]] = {}
        self._last_ticket = 0
        self._facts: deque[tuple[Client, SessionEvent] | PoolEvent] = deque()
        self._busy = False
        self._credentials: dict[str, Credentials | None] = {}
        self._draining: Draining | None = None
        self._deserted = trio.Event()
        """Set when the last client has gone while draining."""
        nursery.start_soon(self._ticker.run)

    # -------------------------------------------------------------------------------------------- connections

    async def serve(self, sock: socket.socket, address: str, tls: ssl.SSLContext | None = None) -> None:
        """Serve one client connection until it is over."""
        channel = Channel(sock, self._nursery)
        if tls is not None:
            try:
                with trio.fail_after(self.plan.limits.client_head_ns / 1e9):
                    await channel.handshake(tls, server_side=True)
            except (OSError, ssl.SSLError, trio.TooSlowError):
                channel.dispose()
                return
        seed = int.from_bytes(os.urandom(16), "big")
        session = Session(
            self.plan, wall_epoch_ns=self.wall_epoch_ns, seed=seed, now=now_ns(), client=address
        )
        client = Client(self, channel, session)
        channel.on_stall = lambda stalled: self.tell(client, ClientStalled() if stalled else ClientDrained())
        self.clients.add(client)
        try:
            for account, credentials in self._credentials.items():
                self.tell(client, CredentialsChanged(account, credentials))
            if self._draining is not None:
                self.tell(client, self._draining)
            await self._read_client(client)
        finally:
            if not (session.closed or client.broken):
                self.tell(client, ClientLost())
            channel.dispose()
            self.clients.discard(client)
            if self._draining is not None and not self.clients:
                self._deserted.set()

    async def _read_client(self, client: Client) -> None:
        channel = client.channel
        while True:
            try:
                data = await channel.receive()
            except trio.ClosedResourceError:
                return
            except OSError:
                self.tell(client, ClientLost())
                return
            if client.session.closed:
                if not data:
                    return
            elif data:
                self.tell(client, ClientSent(data))
            else:
                self.tell(client, ClientEnded())

    async def _run_link(self, connection: int, endpoint: Endpoint, link: Link) -> None:
        """Open an upstream connection and read it until it is over."""
        with link.scope:
            try:
                channel = await connect(endpoint, self._nursery, self._tls)
            except (OSError, ssl.SSLError, trio.TooSlowError) as error:
                self._links.pop(connection, None)
                self._tell_pool(
                    ConnectionFailed(connection, trouble_of(error), f"{type(error).__name__}: {error}")
                )
                return
            link.channel = channel
            try:
                self._tell_pool(ConnectionOpened(connection))
                await self._read_link(connection, link, channel)
            finally:
                channel.dispose()
                self._links.pop(connection, None)

    async def _read_link(self, connection: int, link: Link, channel: Channel) -> None:
        while True:
            try:
                data = await channel.receive()
            except trio.ClosedResourceError:
                return
            except OSError:
                data = None
            client = link.client
            if client is None:
                # Closed, or spoke, while nobody held it.
                self._tell_pool(ConnectionClosed(connection))
                return
            if data:
                self.tell(client, UpstreamSent(connection, data))
                while (drained := client.channel.drained) is not None and link.client is client:
                    await drained.wait()
            else:
                self.tell(client, UpstreamLost(connection) if data is None else UpstreamEnded(connection))
                if link.client is not None:
                    # Whoever holds it has been told; the pool learns of it when the lease comes back.
                    link.client = None
                    self._tell_pool(ConnectionClosed(connection))
                return

    # ------------------------------------------------------------------------------------- facts and commands

    def tell(self, client: Client, event: SessionEvent) -> None:
        """A session learns a fact; what follows from it is done before this returns."""
        self._facts.append((client, event))
        if not self._busy:
            self._work()

    def _tell_pool(self, event: PoolEvent) -> None:
        self._facts.append(event)
        if not self._busy:
            self._work()

    def _work(self) -> None:
        self._busy = True
        facts = self._facts
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
                    self._ticker.arm(client)
                else:
                    self._work_for_pool(fact)
        finally:
            self._busy = False

    def _break(self, client: Client, event: SessionEvent, error: Exception) -> None:
        """End a session that failed by a bug of ours: cut its connection, take back what it held, say where
        it was.
        """
        client.broken = True
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename}:{place.lineno}"
        self.note(
            "error",
            f"bug: {type(error).__name__} at {where} on {type(event).__name__}; one session was ended",
        )
        client.channel.abort()
        for lease, link in tuple(self._links.items()):
            if link.client is client:
                self._give_back(lease, clean=False)
        for pool_ticket in client.tickets.values():
            self._tickets.pop(pool_ticket, None)
            self._facts.append(AskWithdrawn(pool_ticket))

    def _perform(self, client: Client, command: SessionCommand) -> None:
        match command:
            case WriteClient(data):
                try:
                    client.channel.write(data)
                except OSError:
                    self._facts.append((client, ClientLost()))
            case WriteUpstream(lease, data):
                self._write_upstream(client, lease, data)
            case OpenUpstream(ticket, endpoint, fresh):
                self._last_ticket += 1
                self._tickets[self._last_ticket] = (client, ticket)
                client.tickets[ticket] = self._last_ticket
                self._facts.append(LeaseAsked(self._last_ticket, endpoint, fresh))
            case ReleaseUpstream(lease):
                self._give_back(lease, clean=True)
            case DropUpstream(lease):
                self._give_back(lease, clean=False)
            case WithdrawUpstream(ticket):
                pool_ticket = client.tickets.pop(ticket, None)
                if pool_ticket is not None:
                    self._tickets.pop(pool_ticket, None)
                    self._facts.append(AskWithdrawn(pool_ticket))
            case Emit(sink, line):
                self._sinks.emit(sink, line)
            case Note(level, text):
                self._sinks.note(level, text)
            case CloseClient():
                self._nursery.start_soon(client.channel.finish, LINGER_SECONDS)
            case AbortClient():
                client.channel.abort()
            case _:
                assert_never(command)

    def _write_upstream(self, client: Client, lease: int, data: bytes) -> None:
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
            link.client = None
            if link.channel is not None and link.channel.drained is not None:
                clean = False  # The call's own bytes have not all left: nothing else may follow them.
        self._facts.append(LeaseReturned(lease, clean))

    def _work_for_pool(self, event: PoolEvent) -> None:
        for command in self._pool.handle(now_ns(), event):
            match command:
                case Lend(pool_ticket, connection, reused):
                    self._lend(pool_ticket, connection, reused)
                case Refuse(pool_ticket, trouble, detail):
                    asked = self._tickets.pop(pool_ticket, None)
                    if asked is not None:
                        client, ticket = asked
                        del client.tickets[ticket]
                        self._facts.append((client, UpstreamFailed(ticket, trouble, detail)))
                case Connect(connection, endpoint):
                    link = self._links[connection] = Link()
                    self._nursery.start_soon(self._run_link, connection, endpoint, link)
                case Disconnect(connection):
                    gone = self._links.pop(connection, None)
                    if gone is not None:
                        gone.scope.cancel()
                        if gone.channel is not None:
                            gone.channel.dispose()
                case _:
                    assert_never(command)
        self._ticker.arm(self)

    def _lend(self, pool_ticket: int, connection: int, reused: bool) -> None:
        asked = self._tickets.pop(pool_ticket, None)
        if asked is None:
            self._facts.append(LeaseReturned(connection, clean=True))
            return
        client, ticket = asked
        del client.tickets[ticket]
        link = self._links.get(connection)
        if link is not None:
            link.client = client
        self._facts.append((client, UpstreamOpened(ticket, connection, reused)))

    # ------------------------------------------------------------------------------------------- surroundings

    @property
    def deadline(self) -> int | None:
        """The pool's: towards the ticker, the gateway stands for its pool."""
        return self._pool.deadline

    def tick(self) -> None:
        """Tell the pool its time has come."""
        self._tell_pool(_TICKED)

    def change_credentials(self, credentials: Mapping[str, Credentials | None]) -> None:
        """Tell every session, present and future."""
        for account, value in credentials.items():
            self._credentials[account] = value
            for client in tuple(self.clients):
                self.tell(client, CredentialsChanged(account, value))

    async def drain(self, grace_seconds: float) -> None:
        """Let what runs finish within the grace time; then end it. Returns when no client is left."""
        self._draining = Draining(int(grace_seconds * 1e9))
        for client in tuple(self.clients):
            self.tell(client, self._draining)
        self._tell_pool(self._draining)
        with trio.move_on_after(grace_seconds + LINGER_SECONDS):
            if self.clients:
                await self._deserted.wait()

    def note(self, level: str, text: str) -> None:
        """Tell the operator something."""
        self._sinks.note(level, text)

    def statistics(self) -> dict[str, int]:
        """How much of everything there is at this moment."""
        return {"clients": len(self.clients), "tickets": len(self._tickets), **self._pool.statistics()}
