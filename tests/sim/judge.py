"""The judge: hears every fact before a machine does, and every command before it is carried out.

What must hold at each step is demanded here, by what crosses between the machines and their shell alone. What
a client must finally see is another matter (reference.py), and what limits let pass a third (ledger.py).
"""

import json
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from sim.agenda import Agenda
from sim.callers import Caller, Client, Flyer
from sim.deeds import NEVER, Witness, flight_name
from sim.http_answer import read_answer
from sim.ledger import Ledger
from sim.violation import Violation, demand
from stargate.simulator.ledger import Exchange as BedrockExchange
from stargate_core.aws.endpoints import Endpoint
from stargate_core.direction import Order
from stargate_core.faults import Blame
from stargate_core.gateway.breaker import Breaker
from stargate_core.gateway.cache import RELAUNCHES_MAX, Cache
from stargate_core.gateway.keyring import Keyring
from stargate_core.gateway.pool import Pool
from stargate_core.gateway.redis_calls import LinkSettings
from stargate_core.gateway.session import Exchanging, Waiting
from stargate_core.journal.digests import Digest
from stargate_core.limits.buckets import Verdict
from stargate_core.messages import (
    AbortClient,
    AnswerBegan,
    Answered,
    AnswerEnded,
    AnswerFailed,
    AnswerSent,
    AnswerStore,
    Ask,
    BoundsChanged,
    BreakerCommand,
    BreakerEvent,
    CacheCommand,
    CacheEvent,
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
    Disconnect,
    Draining,
    DropUpstream,
    Emit,
    FailStore,
    FlightBegan,
    FlightCommand,
    FlightEnded,
    FlightEvent,
    FlightSent,
    Follow,
    KeyringCommand,
    KeyringEvent,
    KeysRead,
    Launch,
    LeaseAsked,
    LeaseReturned,
    Lend,
    Note,
    OpenUpstream,
    PauseAnswer,
    PoolCommand,
    PoolEvent,
    Publish,
    Refuse,
    ReleaseUpstream,
    ResumeAnswer,
    Source,
    StoreAsked,
    StoreCommand,
    StoreEvent,
    StoreTold,
    StoreUnasked,
    Tell,
    TellAnswer,
    Ticked,
    Trouble,
    Unanswered,
    Unfollow,
    UpstreamFailed,
    UpstreamOpened,
    UpstreamSent,
    Withdraw,
    WithdrawUpstream,
    WriteClient,
    WriteUpstream,
)
from stargate_core.questions import Settle, Take, Turn

SECRET: Final = b"s3cr3t"
"""Stands in every key and credential of a world, and nowhere else."""
STEPS_KEPT: Final = 120
PENDING_BYTES_MAX: Final = 4 << 20


class Call(msgspec.Struct):
    """One call to Bedrock: what was asked, and what was answered."""

    number: int
    lease: int
    caller: Caller
    request_id: str
    """Of the exchange that made it; a flight's, of the one that ordered it."""
    data: bytes
    at: int
    left: int
    """Bytes of the request that Bedrock has not heard."""
    wire: bytearray
    """What Bedrock has written."""
    heard: bytearray
    """What of it has reached the gateway."""
    exchange: BedrockExchange | None = None
    heard_at: int = 0
    """When the last of it did."""
    over: bool = False
    """Its lease was given back: what comes now is none of it."""
    struck: list[str] = []
    """What the network has done to it."""

    @property
    def body(self) -> bytes:
        """The request's body."""
        return self.data.partition(b"\r\n\r\n")[2]


class Shared(msgspec.Struct):
    """A shared answer, as one who follows it has heard it."""

    request_id: str
    order: Order
    at: int
    """When it was ordered."""
    source: Source | None = None
    body: bytearray = msgspec.field(default_factory=bytearray)
    ended: bool = False
    failed: str = ""


class Life:
    """What is known of one session or flight."""

    __slots__ = (
        "asked", "busy_at", "closed", "emitted", "following", "heard_bytes", "lease", "left", "over",
        "questions", "spoken", "stalled_at",
    )  # fmt: skip

    def __init__(self) -> None:
        self.asked: set[int] = set()
        self.questions: dict[int, object] = {}
        self.following: dict[int, Shared] = {}
        self.lease: int | None = None
        self.spoken = False
        """A call was written on it."""
        self.left = False
        self.closed = False
        self.over = False
        self.heard_bytes = 0
        """From its client."""
        self.emitted = 0
        """How many records it has left."""
        self.busy_at = 0
        """When it last had anything to do but to wait for a request."""
        self.stalled_at: int | None = None
        """Since when its client takes nothing."""


class Ending(msgspec.Struct):
    """How a session was when its end was ordered."""

    heard_bytes: int
    emitted: int
    idle: bool
    """It had waited for a request for as long as one may."""


class Judge:
    """Hears everything. narrates: keep all steps, not only the last ones."""

    def __init__(self, agenda: Agenda, *, narrates: bool = False) -> None:
        self._agenda = agenda
        self.digest = Digest()
        self.steps: deque[tuple[int, str, object]] = deque(maxlen=None if narrates else STEPS_KEPT)
        self.calls: list[Call] = []
        self.calls_by_request: dict[str, list[Call]] = {}
        self.shared: dict[str, list[Shared]] = {}
        self.records: dict[str, dict[str, Any]] = {}
        self.admitted: dict[str, None] = {}
        """Request ids of all exchanges that were seen."""
        self.generations: dict[str, int] = {}
        """Of the configuration, when they were first seen."""
        self.consumers: dict[str, str] = {}
        """Whose they are, of those whose answer is shared."""
        self.orderers: dict[int, str] = {}
        """Of flights: for whose request they were launched."""
        self.memory = Ledger("memory")
        self.sessions = 0
        self.events = 0
        self.notes: list[tuple[str, str]] = []
        self.stalled: dict[Caller, None] = {}
        """Sessions whose clients did not take what they were told, at least once."""
        self.stalls: dict[Caller, list[list[int]]] = {}
        """From when until when."""
        self.endings: dict[Caller, Ending] = {}
        """Of the sessions whose end was ordered."""
        self.witness = Witness()
        self.emitted_at: dict[str, int] = {}
        """When each exchange left its record."""
        self.store_failed: Callable[[int], bool] = lambda _waited_ns: True
        """Whether a store that has given no answer for so long may give none."""
        self._lives: dict[Caller, Life] = {}
        self._lent: dict[int, Caller] = {}
        self._used: dict[int, Call | None] = {}
        """Of connections: the last call on them."""
        self._exists: dict[int, Endpoint] = {}
        self._dirty: dict[int, None] = {}
        """Connections that came back unclean."""
        self._relaunches: dict[int, int] = {}
        """Of flights: how many before them failed before they had begun."""
        self._counts: dict[Endpoint, int] = {}
        self._takes: dict[int, Take] = {}
        self._lease_asks: dict[int, tuple[int, Endpoint]] = {}
        """Questions for leases, by the process's numbers: when they were asked, and of which endpoint."""
        self._connects: dict[int, int] = {}
        """When each connection that does not stand yet was ordered."""
        self._failures: dict[Endpoint, dict[Trouble, None]] = {}
        """Why connections could not be opened."""
        self._store_asks: dict[int, int] = {}
        """When each question was put to the shared store."""
        self.connections_max = 0
        self.lateness_ns = 0
        """By how much the ticker may be late."""
        self.on_call: Any = None
        """Told of each call; below: of each question for a lease."""
        self.on_lease_asked: Callable[[Caller], None] = lambda _caller: None

    # ------------------------------------------------------------------------------------------- what is kept

    @property
    def now(self) -> int:
        """The time."""
        return self._agenda.now

    def say(self, who: str, what: object) -> None:
        """A step, for whoever reads them."""
        self.steps.append((self._agenda.now, who, what))

    def attended(self, client: Client) -> None:
        """A session begins."""
        self.sessions += 1
        self._lives[client] = Life()

    def launched(self, flyer: Flyer, order: Order) -> None:
        """A flight begins."""
        self._lives[flyer] = Life()
        self.witness.launched(flyer.number, order, self.now)
        self.orderers[flyer.number] = self.consumers[order.request_id]
        self.say(flyer.name, "launched")

    def gone(self, client: Client) -> None:
        """A client's connection is closed."""
        life = self._lives.pop(client)
        demand(client.session.closed, "a connection is closed and its session is not", client.name)
        self._at_rest(client, life)

    @property
    def lives(self) -> int:
        """Sessions and flights that are not over."""
        return len(self._lives)

    def noted(self, level: str, text: str) -> None:
        """A note for the operator."""
        demand(SECRET.decode() not in text, "a secret is noted", text)
        self.say("note", f"{level}: {text}")
        self.notes.append((level, text))

    def ticked(self, deadline: int | None) -> None:
        """A machine was told that its time has come."""
        demand(deadline is None or deadline >= self.now, "a deadline lies behind after Ticked")

    # -------------------------------------------------------------------------------------- sessions, flights

    def heard(self, caller: Caller, event: FlightEvent) -> list[FlightCommand]:
        """A session or flight learns something."""
        self.events += 1
        now = self.now
        life = self._lives.get(caller)
        if life is None:
            life = Life()
            life.closed = life.left = life.over = True
        self.say(caller.name, event)
        self._event(caller, life, event, _request_id(caller))
        waits = type(caller) is Client and type(caller.session.state) is Waiting
        try:
            commands: list[FlightCommand] = caller.session.handle(now, event)
        except Exception as error:
            raise Violation("handle raised", traceback.format_exc()) from error
        self.digest.add(commands)
        session = caller.session
        if type(event) is Draining and waits:
            demand(session.closed, "an idle connection outlives draining", caller.name)
        request_id = _request_id(caller)
        begun = type(caller) is Client and request_id and request_id not in self.admitted
        if begun and not session.state.exchange.quiet:
            self.admitted[request_id] = None
            self.generations[request_id] = session.plan.generation
        for command in commands:
            self.say(caller.name, command)
            self._command(caller, life, command, request_id)
        if type(caller) is Client and (type(event) is ClientSent or type(session.state) is not Waiting):
            life.busy_at = now
        deadline = session.deadline
        if session.closed:
            demand(deadline is None, "a machine that is over waits for something", caller.name)
            if not life.over:
                life.over = True
                self._at_rest(caller, life)
                if type(caller) is Flyer:
                    del self._lives[caller]
        elif type(event) is Ticked:
            demand(deadline is None or deadline >= now, "a deadline lies behind after Ticked", caller.name)
        return commands

    def _at_rest(self, caller: Caller, life: Life) -> None:
        demand(not life.asked, "a ticket is kept", f"{caller.name}: {life.asked}")
        demand(not life.questions, "a question is kept", f"{caller.name}: {life.questions}")
        demand(life.lease is None, "a lease is kept", f"{caller.name}: {life.lease}")
        demand(not life.following, "an answer is followed", caller.name)

    def _event(self, caller: Caller, life: Life, event: FlightEvent, request_id: str) -> None:
        match event:
            case ClientSent(data):
                life.heard_bytes += len(data)
            case ClientEnded() | ClientLost():
                life.left = True
            case ClientStalled():
                self.stalled[caller] = None
                life.stalled_at = self.now
                self.stalls.setdefault(caller, []).append([self.now, NEVER])
            case ClientDrained():
                if caller in self.stalls:
                    self.stalls[caller][-1][1] = self.now
                life.stalled_at = None
            case UpstreamOpened(ticket, lease):
                if ticket in life.asked:
                    life.asked.discard(ticket)
                    demand(life.lease is None, "two leases at once", caller.name)
                    life.lease, life.spoken = lease, False
                else:
                    self._late(caller, lease)
            case UpstreamFailed(ticket, trouble):
                if ticket in life.asked:
                    life.asked.discard(ticket)
                    self.witness.note(request_id).troubles.append(trouble)
            case Answered(ticket, answer):
                if isinstance(life.questions.pop(ticket, None), Turn) and answer is False:
                    self.witness.note(request_id).turned_away = True
            case Unanswered(ticket):
                if isinstance(life.questions.pop(ticket, None), Take):
                    self.witness.note(request_id).unanswered = True
            case UpstreamSent(lease, data):
                call = self._used.get(lease)
                if call is not None and call.caller is caller and not call.over:
                    call.heard += data
                    call.heard_at = self.now
            case AnswerBegan(ticket) | AnswerSent(ticket) | AnswerEnded(ticket) | AnswerFailed(ticket):
                # One that is not followed any more was on its way already.
                shared = life.following.get(ticket)
                if shared is not None:
                    self._shared(life, shared, event)
            case _:
                pass

    @staticmethod
    def _shared(
        life: Life, shared: Shared, event: AnswerBegan | AnswerSent | AnswerEnded | AnswerFailed
    ) -> None:
        match event:
            case AnswerBegan():
                shared.source = event.source
            case AnswerSent(_, data):
                shared.body += data
            case AnswerEnded(ticket):
                life.following.pop(ticket).ended = True
            case AnswerFailed(ticket, fault):
                life.following.pop(ticket).failed = fault.cause.name

    def _late(self, caller: Caller, lease: int) -> None:
        """A lease for a question that was withdrawn: it must come back at once."""
        self._lent[lease] = caller

    def _command(self, caller: Caller, life: Life, command: FlightCommand, request_id: str) -> None:
        match command:
            case WriteClient(data):
                demand(data, "an empty write", caller.name)
                demand(not life.left, "written to a client that has left", caller.name)
                demand(not life.closed, "written behind the end of the connection", caller.name)
                demand(SECRET not in data, "a secret is told to a client", caller.name)
                assert isinstance(caller, Client)
                pending = caller.channel.pending_bytes
                demand(pending <= PENDING_BYTES_MAX, "a buffer has no bound", f"{caller.name}: {pending}")
            case WriteUpstream(lease, data):
                demand(life.lease == lease, "written to a lease that is not held", f"{caller.name}: {lease}")
                demand(not life.spoken, "two calls on one lease", f"{caller.name}: {lease}")
                life.spoken = True
                self._called(caller, lease, data, request_id)
            case OpenUpstream(ticket):
                demand(not life.asked and life.lease is None, "a second lease is asked for", caller.name)
                demand(not life.questions, "a call is begun before what was asked is answered", caller.name)
                life.asked.add(ticket)
                self.on_lease_asked(caller)
            case WithdrawUpstream(ticket):
                demand(ticket in life.asked, "what was not asked is withdrawn", caller.name)
                life.asked.discard(ticket)
            case ReleaseUpstream(lease):
                self._returned(caller, life, lease, clean=True)
            case DropUpstream(lease):
                self._returned(caller, life, lease, clean=False)
            case Ask(ticket, question):
                life.questions[ticket] = question
            case Withdraw(ticket):
                demand(ticket in life.questions, "a question is withdrawn that does not wait", caller.name)
                del life.questions[ticket]
            case Follow(ticket, order):
                shared = Shared(request_id, order, self.now)
                life.following[ticket] = shared
                self.shared.setdefault(request_id, []).append(shared)
                consumer = caller.session.state.exchange.ctx.consumer
                self.consumers[request_id] = "" if consumer is None else consumer.username
            case Unfollow(ticket):
                demand(ticket in life.following, "an answer is left that is not followed", caller.name)
                del life.following[ticket]
            case PauseAnswer():
                self.witness.note(request_id).paused = True
            case ResumeAnswer() | Tell():
                pass
            case Emit(_, line):
                life.emitted += 1
                self._emitted(line)
            case Publish():
                pass  # What the log says, once more.
            case Note(level, text):
                self.noted(level, text)
            case CloseClient() | AbortClient():
                self._closes(caller, life, command)
            case FlightBegan(flight):
                demand(not life.closed, "a flight reports behind its end", caller.name)
                self.witness.flights[flight].began = True
            case FlightSent():
                demand(not life.closed, "a flight reports behind its end", caller.name)
            case FlightEnded(flight, fault):
                demand(not life.closed, "a flight ends twice", caller.name)
                life.closed = True
                self.witness.ended(flight, "" if fault is None else fault.cause.name, self.now)

    def _closes(self, caller: Caller, life: Life, command: CloseClient | AbortClient) -> None:
        """A connection is to end."""
        demand(not life.closed, "closed twice", caller.name)
        life.closed = True
        limits = caller.session.plan.limits
        if isinstance(command, AbortClient):
            stalled_at = life.stalled_at
            long = stalled_at is not None and self.now - stalled_at >= limits.client_stall_ns
            demand(long, "a connection is broken off whose client has not stalled", caller.name)
        idle = self.now - life.busy_at >= limits.client_idle_ns
        self.endings[caller] = Ending(life.heard_bytes, life.emitted, idle)

    def _called(self, caller: Caller, lease: int, data: bytes, request_id: str) -> None:
        demand(b"s3cr3t" not in data, "a secret is sent upstream", caller.name)
        call = Call(
            len(self.calls) + 1,
            lease,
            caller,
            request_id,
            data,
            self.now,
            len(data),
            bytearray(),
            bytearray(),
        )
        call.struck = []
        self.calls.append(call)
        self.calls_by_request.setdefault(request_id, []).append(call)
        self._used[lease] = call
        if self.on_call is not None:
            self.on_call(call)

    def _returned(self, caller: Caller, life: Life, lease: int, *, clean: bool) -> None:
        if life.lease == lease:
            call = self._used.get(lease) if life.spoken else None
            if call is not None:
                call.over = True
            if clean and call is not None:
                answer = read_answer(bytes(call.heard))
                sound = answer is not None and answer.whole and not answer.rest and not answer.closes
                demand(sound, "a lease is given back on which an answer is unfinished", caller.name)
            life.lease = None
        else:
            demand(self._lent.get(lease) is caller, "a lease is given back that is not held", caller.name)
        self._lent.pop(lease, None)

    def _emitted(self, line: bytes) -> None:
        demand(SECRET not in line, "a secret is logged", line.decode())
        demand(line.endswith(b"\n") and line.count(b"\n") == 1, "a record is no line")
        record = json.loads(line)
        request_id = record["request_id"]
        demand(request_id not in self.records, "two records of one exchange", request_id)
        generation = self.generations.get(request_id, record["generation"])
        demand(record["generation"] == generation, "a request changes its configuration", request_id)
        self.records[request_id] = record
        self.emitted_at[request_id] = self.now
        self.admitted[request_id] = None

    # ----------------------------------------------------------------------------------------------- the pool

    def pool_heard(self, pool: Pool, now: int, event: PoolEvent) -> list[PoolCommand]:
        """The pool learns something."""
        self.events += 1
        self.say("pool", event)
        if isinstance(event, LeaseAsked):
            self._lease_asks[event.ticket] = now, event.endpoint
        elif isinstance(event, ConnectionOpened):
            self._connects.pop(event.connection, None)
        elif isinstance(event, ConnectionFailed | ConnectionClosed):
            if isinstance(event, ConnectionFailed):
                self._opens_not(event.connection, event.trouble)
            self._vanish(event.connection)
        elif isinstance(event, LeaseReturned) and not event.clean:
            self._dirty[event.lease] = None
        elif isinstance(event, BoundsChanged):
            self.connections_max = event.connections_max
        try:
            commands = pool.handle(now, event)
        except Exception as error:
            raise Violation("handle raised", traceback.format_exc()) from error
        self.digest.add(commands)
        for command in commands:
            self.say("pool", command)
            match command:
                case Connect(connection, endpoint):
                    self._exists[connection] = endpoint
                    self._connects[connection] = now
                    self._counts[endpoint] = count = self._counts.get(endpoint, 0) + 1
                    demand(count <= self.connections_max, "more connections than there may be", str(count))
                    self._used[connection] = None
                case Disconnect(connection):
                    ordered_at = self._connects.pop(connection, None)
                    if ordered_at is not None and now - ordered_at >= pool._limits.connect_ns:
                        self._opens_not(connection, Trouble.CONNECT_TIMEOUT)
                    self._vanish(connection)
                case Refuse(ticket, trouble):
                    self._lease_refused(pool, now, ticket, trouble)
                case Lend(_, connection, reused):
                    demand(connection not in self._lent, "one connection is lent to two", str(connection))
                    demand(connection in self._exists, "a connection is lent that is gone", str(connection))
                    demand(connection not in self._dirty, "an unclean connection is lent again")
                    call = self._used.get(connection)
                    demand(reused or call is None, "a used connection is lent as a new one")
                    self._lent[connection] = _NOBODY
        return commands

    def _opens_not(self, connection: int, trouble: Trouble) -> None:
        endpoint = self._exists.get(connection)
        if endpoint is not None:
            self._failures.setdefault(endpoint, {})[trouble] = None

    def _lease_refused(self, pool: Pool, now: int, ticket: int, trouble: Trouble) -> None:
        """Nobody is refused a lease but where no connection opens, or where there were none for too long."""
        asked_at, endpoint = self._lease_asks[ticket]
        if trouble is Trouble.POOL_TIMEOUT:
            full = self._counts.get(endpoint, 0) >= pool._limits.connections_max
            waited = now - asked_at >= pool._limits.wait_ns
            demand(full and waited, "a lease is refused for which there is room, or too early", str(ticket))
        else:
            failed = self._failures.get(endpoint, {})
            demand(trouble in failed, "a lease is refused for a trouble that there was not", str(trouble))

    def lent(self, connection: int, caller: Caller) -> None:
        """The lease reaches whom it was lent to."""
        self._lent[connection] = caller

    def back(self, connection: int) -> None:
        """A lease that reached nobody goes back."""
        self._lent.pop(connection, None)

    def _vanish(self, connection: int) -> None:
        endpoint = self._exists.pop(connection, None)
        if endpoint is not None:
            self._counts[endpoint] -= 1

    # --------------------------------------------------------------------------------------------- the others

    def _told(self, who: str, machine: Any, now: int, event: object) -> list[Any]:
        self.events += 1
        self.say(who, event)
        try:
            commands: list[Any] = machine.handle(now, event)
        except Exception as error:
            raise Violation("handle raised", traceback.format_exc()) from error
        self.digest.add(commands)
        for command in commands:
            self.say(who, command)
        return commands

    def cache_heard(self, cache: Cache, now: int, event: CacheEvent) -> list[CacheCommand]:
        """The cache learns something."""
        commands = self._told("cache", cache, now, event)
        demand(cache.held_bytes <= cache._bytes_max, "the cache holds more than it may")
        if isinstance(event, FlightEnded):
            self._landed(event, commands)
        return commands

    def _landed(self, event: FlightEnded, commands: list[CacheCommand]) -> None:
        """Of those who wait for a flight that fails, the first is told so, and the others get another one."""
        number, fault = event.flight, event.fault
        before = self._relaunches.pop(number, 0)
        for command in commands:
            if isinstance(command, Launch):
                self._relaunches[command.flight] = before + 1
        if fault is None or self.witness.flights[number].began or fault.row.blame is not Blame.UPSTREAM:
            return
        told = sum(isinstance(one, TellAnswer) and type(one.event) is AnswerFailed for one in commands)
        demand(
            told <= 1 or before >= RELAUNCHES_MAX, "one caller's failure is told to all", f"flight {number}"
        )

    def breaker_heard(self, breaker: Breaker, now: int, event: BreakerEvent) -> list[BreakerCommand]:
        """The breaker learns something."""
        commands: list[BreakerCommand] = self._told("breaker", breaker, now, event)
        self.witness.judged(now, event, commands)
        return commands

    def keyring_heard(self, keyring: Keyring, now: int, event: KeyringEvent) -> list[KeyringCommand]:
        """The keyring learns something."""
        if isinstance(event, KeysRead) and event.keys is not None:
            self.witness.keys_read(now, event.keys)
        return self._told("keyring", keyring, now, event)

    def store_heard(self, name: str, store: Any, now: int, event: StoreEvent) -> list[StoreCommand]:
        """A store, or the link to one, learns something."""
        commands: list[StoreCommand] = self._told(name, store, now, event)
        if name == "redis":
            if isinstance(event, StoreAsked):
                self._store_asks[event.ticket] = now
            elif isinstance(event, StoreUnasked):
                self._store_asks.pop(event.ticket, None)
            for command in commands:
                if isinstance(command, AnswerStore):
                    self._store_asks.pop(command.ticket, None)
                elif isinstance(command, FailStore):
                    waited_ns = now - self._store_asks.pop(command.ticket)
                    demand(self.store_failed(waited_ns), "a store that is well gives no answer", command.why)
            self._hurried(now)
        if name == "memory":
            if isinstance(event, StoreTold) and isinstance(event.statement, Settle):
                told = event.statement
                now_us = (store.wall_epoch_ns + now) // 1000
                self.memory.settled(told.charges, told.lease, told.at_us, now_us)
            if isinstance(event, StoreAsked) and isinstance(event.question, Take):
                self._takes[event.ticket] = event.question
            for command in commands:
                if isinstance(command, AnswerStore | FailStore):
                    take = self._takes.pop(command.ticket, None)
                    if take is not None and isinstance(command, AnswerStore):
                        assert isinstance(command.answer, Verdict)
                        self.memory.took(take.claims, take.lease, take.lease_us, command.answer)
        return commands

    def _hurried(self, now: int) -> None:
        """A store is waited for only so long, however it fails; and the ticker may be late."""
        first = next(iter(self._store_asks.values()), now)
        most_ns = LinkSettings().deadline_ns + self.lateness_ns
        demand(now - first <= most_ns, "a store is waited for without end", f"{now - first} ns")


_NOBODY: Final[Any] = object()


def _request_id(caller: Caller) -> str:
    """Of the exchange that a session is at; of a flight, its name."""
    if type(caller) is Flyer:
        return flight_name(caller.number)
    state = caller.session.state
    return state.exchange.request.request_id if isinstance(state, Exchanging) else ""
