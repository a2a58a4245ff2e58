"""A bench for flights, and a whole process in small: sessions, the cache, and the flights it launches.

`FlightBench` is to a flight what `Bench` is to a session. `Crowd` does what a shell does between the three
machines, and nothing besides: it numbers tickets, hands commands on as facts in the order they were given,
and answers the cache's looks into the store from a dictionary.
"""

from collections import deque
from typing import Any

import msgspec

from stargate_core.aws.credentials import Credentials
from stargate_core.clock import MILLISECOND
from stargate_core.direction import Order
from stargate_core.gateway.cache import Cache
from stargate_core.gateway.flight import Flight
from stargate_core.gateway.plan import Plan
from stargate_core.messages import (
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
    CacheEvent,
    ClientDrained,
    ClientStalled,
    CredentialsChanged,
    DropUpstream,
    EntryFound,
    FlightBegan,
    FlightCommand,
    FlightEnded,
    FlightEvent,
    FlightSent,
    Follow,
    FreeFlight,
    Ground,
    Grounded,
    HoldFlight,
    KeepEntry,
    Launch,
    Note,
    OpenUpstream,
    PauseAnswer,
    ReleaseUpstream,
    ResumeAnswer,
    SeekEntry,
    SessionCommand,
    SessionEvent,
    Tell,
    TellAnswer,
    Ticked,
    Trouble,
    Unfollow,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamLost,
    UpstreamOpened,
    UpstreamSent,
    Withdraw,
    WithdrawUpstream,
    WriteUpstream,
)
from stargate_core.questions import Answer, Question, Statement
from stargate_core.secret import Secret
from support.machines import WALL_EPOCH_NS, Bench, UpstreamSide


class FlightBench:
    """One flight and its surroundings."""

    def __init__(
        self, plan: Plan, order: Order, *, number: int = 1, credentials: bool = True, now: int = 0
    ) -> None:
        self.now = now
        self.number = number
        self.flight = Flight(plan, order, flight=number, wall_epoch_ns=WALL_EPOCH_NS, seed=1, now=now)
        self.asked: dict[int, OpenUpstream] = {}
        self.held: dict[int, UpstreamSide] = {}
        self.calls: list[UpstreamSide] = []
        self.opened: list[OpenUpstream] = []
        self.returned: list[ReleaseUpstream | DropUpstream] = []
        self.questions: dict[int, Question] = {}
        self.told: list[Statement] = []
        self.notes: list[Note] = []
        self.reports: list[FlightBegan | FlightSent | FlightEnded] = []
        self.heard = 0
        """How many of them a cache has heard."""
        self._leases = 0
        if credentials:
            self.tell(CredentialsChanged("", Credentials("AKIDSTARGATE", Secret("aws-secret"))))

    # ------------------------------------------------------------------------------------------------- facts

    def tell(self, event: FlightEvent) -> list[FlightCommand]:
        """Hand the flight a fact, and check what it makes of it."""
        commands = self.flight.handle(self.now, event)
        for command in commands:
            self._check(command)
        deadline = self.flight.deadline
        if self.flight.closed:
            assert deadline is None, "a flight that is over waits for nothing"
            assert not self.held, "a lease is kept"
            assert not self.asked, "a ticket is kept"
            assert not self.questions, "a question is kept"
            assert isinstance(self.reports[-1], FlightEnded)
        else:
            assert deadline is not None, "every wait has a limit"
        return commands

    def start(self) -> None:
        """It knows how things stand: let it begin."""
        self.tell(Ticked())

    def open(self, *, reused: bool = False) -> None:
        """The oldest ticket gets its lease."""
        ticket = next(iter(self.asked))
        del self.asked[ticket]
        self._leases += 1
        side = self.held[self._leases] = UpstreamSide()
        self.calls.append(side)
        self.tell(UpstreamOpened(ticket, self._leases, reused))

    def refuse(self, trouble: Trouble) -> None:
        """The oldest ticket gets no lease."""
        ticket = next(iter(self.asked))
        del self.asked[ticket]
        self.tell(UpstreamFailed(ticket, trouble))

    def reply(self, answer: Answer) -> Question:
        """The oldest question is answered; what it was."""
        ticket = next(iter(self.questions))
        question = self.questions.pop(ticket)
        self.tell(Answered(ticket, answer))
        return question

    def answer(self, *pieces: bytes) -> None:
        """Bedrock sends bytes on the newest lease."""
        for piece in pieces:
            self.tell(UpstreamSent(self._leases, piece))

    def upstream_ends(self) -> None:
        """Bedrock closes its side."""
        self.tell(UpstreamEnded(self._leases))

    def upstream_breaks(self) -> None:
        """The connection to Bedrock breaks."""
        self.tell(UpstreamLost(self._leases))

    def ground(self) -> None:
        """Nobody waits for it any more."""
        self.tell(Grounded())

    def advance(self, duration_ns: int) -> None:
        """Let time pass, and tell the flight whenever it wanted to be told."""
        until = self.now + duration_ns
        for _ in range(10_000):
            deadline = self.flight.deadline
            if deadline is None or deadline > until:
                self.now = until
                return
            self.now = max(self.now, deadline)
            self.tell(Ticked())
        raise AssertionError("the flight never comes to rest")

    # --------------------------------------------------------------------------------------- what it reports

    @property
    def began(self) -> FlightBegan | None:
        """Its beginning."""
        return next((each for each in self.reports if isinstance(each, FlightBegan)), None)

    @property
    def ended(self) -> FlightEnded | None:
        """Its end."""
        return next((each for each in self.reports if isinstance(each, FlightEnded)), None)

    @property
    def body(self) -> bytes:
        """All it has sent."""
        return b"".join([each.data for each in self.reports if isinstance(each, FlightSent)])

    def _check(self, command: FlightCommand) -> None:
        match command:
            case OpenUpstream(ticket):
                assert ticket not in self.asked
                self.asked[ticket] = command
                self.opened.append(command)
            case WithdrawUpstream(ticket):
                del self.asked[ticket]
            case Ask(ticket, question):
                self.questions[ticket] = question
            case Withdraw(ticket):
                del self.questions[ticket]
            case Tell(statement):
                self.told.append(statement)
            case WriteUpstream(lease, data):
                self.held[lease].receive(data)
                assert self.held[lease].whole
            case ReleaseUpstream(lease) | DropUpstream(lease):
                self.held.pop(lease, None)
                self.returned.append(command)
            case Note():
                self.notes.append(command)
            case FlightBegan() | FlightSent() | FlightEnded():
                assert command.flight == self.number
                begun, over = self.began is not None, self.ended is not None
                assert not over, "told more after its end"
                assert begun == isinstance(command, FlightSent) or isinstance(command, FlightEnded)
                self.reports.append(command)
            case _:
                raise AssertionError(f"{command} is nothing that a flight may order")


class _Member(Bench):
    """A session of a crowd."""

    def __init__(self, crowd: "Crowd", plan: Plan, seed: int) -> None:
        self._crowd: Crowd | None = None
        super().__init__(plan, seed=seed)
        self._crowd = crowd

    def tell(self, event: SessionEvent) -> list[SessionCommand]:
        commands = super().tell(event)
        if self._crowd is not None:
            self._crowd.take(self, commands)
        return commands

    def hear(self, ticket: int, event: AnswerBegan | AnswerSent | AnswerEnded | AnswerFailed) -> None:
        """More of a shared answer, by the session's own ticket; one that it follows no longer is dropped."""
        if ticket in self.followed:
            if isinstance(event, AnswerEnded | AnswerFailed):
                del self.followed[ticket]
            self.tell(msgspec.structs.replace(event, ticket=ticket))


class Crowd:
    """Several sessions of one process, their cache, and its flights."""

    def __init__(
        self, plan: Plan, count: int, *, shared: bool = False, store: dict[str, bytes] | None = None
    ):
        self.plan = plan
        self.cache = Cache(bytes_max=1 << 20, entry_bytes_max=1 << 16, shared=shared)
        self.store = {} if store is None else store
        self.flights: list[FlightBench] = []
        self._numbers: dict[int, tuple[_Member, int]] = {}
        self._last = 0
        self._facts: deque[CacheEvent] = deque()
        self._busy = False
        self.members = [_Member(self, plan, seed) for seed in range(1, count + 1)]

    @property
    def now(self) -> int:
        """The time of all."""
        return self.members[0].now

    def take(self, member: _Member, commands: list[SessionCommand]) -> None:
        """Hand on what a session has ordered of the cache."""
        for command in commands:
            match command:
                case Follow(ticket, order):
                    self._last += 1
                    self._numbers[self._last] = (member, ticket)
                    self._facts.append(AnswerOrdered(self._last, order))
                case Unfollow(ticket):
                    self._facts.append(AnswerUnwanted(self._number(member, ticket)))
                case PauseAnswer(ticket):
                    self._facts.append(AnswerPaused(self._number(member, ticket)))
                case ResumeAnswer(ticket):
                    self._facts.append(AnswerResumed(self._number(member, ticket)))
                case _:
                    pass
        self._work()

    def step(self, flight: FlightBench, *pieces: bytes) -> None:
        """Bedrock sends a flight bytes, and the cache hears what comes of it."""
        flight.answer(*pieces)
        self.collect()

    def collect(self) -> None:
        """The cache hears what flights have reported."""
        for flight in self.flights:
            self._facts += flight.reports[flight.heard :]
            flight.heard = len(flight.reports)
        self._work()

    def advance(self, duration_ns: int) -> None:
        """Let time pass for all, a little at a time."""
        passed = 0
        while passed < duration_ns:
            step = min(50 * MILLISECOND, duration_ns - passed)
            passed += step
            for member in self.members:
                member.advance(step)
            for flight in self.flights:
                flight.advance(step)
            self._facts.append(Ticked())
            self.collect()

    def _number(self, member: _Member, ticket: int) -> int:
        return next(number for number, known in self._numbers.items() if known == (member, ticket))

    def _work(self) -> None:
        if self._busy:
            return
        self._busy = True
        while self._facts:
            for command in self.cache.handle(self.now, self._facts.popleft()):
                self._perform(command)
        self._busy = False

    def _perform(self, command: Any) -> None:
        match command:
            case TellAnswer(number, event):
                member, ticket = self._numbers[number]
                member.hear(ticket, event)
            case Launch(number, order):
                flight = FlightBench(self.plan, order, number=number, now=self.now)
                self.flights.append(flight)
                flight.start()
                self.collect()
            case Ground(number):
                next(each for each in self.flights if each.number == number).ground()
                self.collect()
            case HoldFlight(number) | FreeFlight(number):
                held = isinstance(command, HoldFlight)
                flight = next(each for each in self.flights if each.number == number)
                flight.tell(ClientStalled() if held else ClientDrained())
                self.collect()
            case SeekEntry(key):
                self._facts.append(EntryFound(key, self.store.get(key)))
            case KeepEntry(key, value, _):
                self.store[key] = value
            case _:
                raise AssertionError(command)
