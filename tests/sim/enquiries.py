"""Enquiries in a world: the twin of trio_shell/enquiries.py and trio_shell/store.py.

Nobody here verifies tokens, fetches URLs or lists models of AWS's: no world asks for these. The link to Redis
speaks over an end; opening it is the network's.
"""

import itertools
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, assert_never

from sim.agenda import Item
from sim.wires import End
from stargate_core.gateway.breaker import Breaker
from stargate_core.gateway.keyring import Keyring
from stargate_core.gateway.memory_store import MemoryStore
from stargate_core.gateway.redis_link import RedisLink
from stargate_core.messages import (
    AnswerStore,
    AnswerTurn,
    AskKeys,
    BreakerEvent,
    CallReported,
    CloseStore,
    Draining,
    FailStore,
    KeyringEvent,
    KeysRead,
    KeysUnread,
    Note,
    OpenStore,
    StoreAsked,
    StoreCommand,
    StoreEvent,
    StoreLost,
    StoreOpened,
    StoreSent,
    StoreTold,
    StoreUnasked,
    TellHealth,
    TellKeys,
    Ticked,
    TurnAsked,
    WriteStore,
)
from stargate_core.questions import (
    CallEnded,
    FetchUrl,
    Keys,
    ListModels,
    Models,
    Question,
    ReadEntry,
    ReadKeys,
    RefreshCredentials,
    Settle,
    Statement,
    StoreAnswer,
    StoreQuestion,
    StoreStatement,
    Take,
    Turn,
    VerifyToken,
    WriteEntry,
)

if TYPE_CHECKING:
    from sim.shell import Shell

_TICKED: Final = Ticked()
_Answered: TypeAlias = Callable[[StoreAnswer, bool], None]


class Alarm:
    """A machine's place at the ticker."""

    def __init__(self, machine: Any, tick: Callable[[], None]) -> None:
        self.armed: Item | None = None
        self._machine = machine
        self._tick = tick

    @property
    def deadline(self) -> int | None:
        """The machine's."""
        deadline: int | None = self._machine.deadline
        return deadline

    def tick(self) -> None:
        """Its time has come."""
        self._tick()


class Store(Protocol):
    """Whoever can be asked."""

    def ask(self, ticket: int, question: StoreQuestion) -> None:
        """Answer this."""

    def withdraw(self, ticket: int) -> None:
        """The answer is not wanted any more."""

    def tell(self, statement: StoreStatement) -> None:
        """Take note of this."""

    def drain(self, grace_ns: int) -> None:
        """The process is to end."""


class LocalStore:
    """The store that is this process's own."""

    def __init__(self, enquiries: "Enquiries", shell: "Shell") -> None:
        self._user = enquiries
        self._shell = shell
        self.memory = MemoryStore(wall_epoch_ns=shell.wall_epoch_ns)
        self._alarm = Alarm(self.memory, lambda: self._work(_TICKED))

    def ask(self, ticket: int, question: StoreQuestion) -> None:
        """Answer this; it is answered when this returns."""
        self._work(StoreAsked(ticket, question))

    def withdraw(self, ticket: int) -> None:
        """Nothing is left unanswered."""

    def tell(self, statement: StoreStatement) -> None:
        """Take note of this."""
        self._work(StoreTold(statement))

    def drain(self, grace_ns: int) -> None:
        """Nothing is kept for later."""

    def _work(self, event: StoreEvent) -> None:
        judge, now = self._shell.judge, self._shell.agenda.now
        for command in judge.store_heard("memory", self.memory, now, event):
            match command:
                case AnswerStore(ticket, answer):
                    self._user.store_answered(ticket, answer)
                case FailStore(ticket, why):
                    self._user.store_failed(ticket, why)
                case Note(level, text):
                    self._shell.note(level, text)
                case _:
                    raise AssertionError(command)
        self._shell.arm(self._alarm)


class RedisStore:
    """The store on a Redis server. connect: opens a connection to it."""

    def __init__(
        self,
        enquiries: "Enquiries",
        shell: "Shell",
        link: RedisLink,
        connect: Callable[[Callable[[End], None], Callable[[str], None]], Item],
    ) -> None:
        self._user = enquiries
        self._shell = shell
        self.link = link
        self._connect = connect
        self._events: deque[StoreEvent] = deque()
        self._busy = False
        self._opening: Item | None = None
        self._channel: End | None = None
        self._alarm = Alarm(link, lambda: self._work(_TICKED))
        shell.arm(self._alarm)

    def ask(self, ticket: int, question: StoreQuestion) -> None:
        """Answer this, within the server's time limit."""
        self._work(StoreAsked(ticket, question))

    def withdraw(self, ticket: int) -> None:
        """The answer is not wanted any more: what is taken for it is given back."""
        self._work(StoreUnasked(ticket))

    def tell(self, statement: StoreStatement) -> None:
        """Take note of this, also while the server is down."""
        self._work(StoreTold(statement))

    def drain(self, grace_ns: int) -> None:
        """The process is to end: say what was kept for later."""
        self._work(Draining(grace_ns))

    def _work(self, event: StoreEvent) -> None:
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        judge, now = self._shell.judge, self._shell.agenda.now
        while self._events:
            for command in judge.store_heard("redis", self.link, now, self._events.popleft()):
                self._perform(command)
        self._busy = False
        self._shell.arm(self._alarm)

    def _perform(self, command: StoreCommand) -> None:
        match command:
            case WriteStore(data):
                try:
                    if self._channel is None:
                        raise BrokenPipeError
                    self._channel.write(data)
                except OSError:
                    self._lose("a write failed")
            case AnswerStore(ticket, answer):
                self._user.store_answered(ticket, answer)
            case FailStore(ticket, why):
                self._user.store_failed(ticket, why)
            case OpenStore():
                self._opening = self._connect(self._opened, self._failed)
            case CloseStore():
                self._close()
            case Note(level, text):
                self._shell.note(level, text)
            case _:
                assert_never(command)

    def _opened(self, channel: End) -> None:
        self._opening, self._channel = None, channel
        channel.start(self)
        self._work(StoreOpened())

    def _failed(self, detail: str) -> None:
        self._opening = None
        self._work(StoreLost(detail))

    def _close(self) -> None:
        if self._opening is not None:
            self._opening.strike()
            self._opening = None
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.dispose()

    def _lose(self, detail: str) -> None:
        self._close()
        self._work(StoreLost(detail))

    def heard(self, data: bytes) -> None:
        """The server said something, or has closed the connection."""
        if data:
            self._work(StoreSent(data))
        else:
            self._lose("the server has closed the connection")

    def lost(self) -> None:
        """The connection broke."""
        self._lose("the connection broke")

    def stalled(self) -> None:
        """Nothing needs to be stopped."""

    def drained(self) -> None:
        """Likewise."""


class Enquiries:
    """Routes questions and statements, and brings the answers back to the shell."""

    def __init__(self, shell: "Shell") -> None:
        self._shell = shell
        self.local = LocalStore(self, shell)
        self._store: Store = self.local
        self.refresh: Callable[[int, str, str], None] = self._know_none
        """Finds newer credentials for a question, and answers it."""
        self.breaker = Breaker()
        self._breaker_alarm = Alarm(self.breaker, lambda: self._tell_breaker(_TICKED))
        self._keyring = Keyring(shell.agenda.now)
        self._keyring_alarm = Alarm(self._keyring, lambda: self._tell_keyring(_TICKED))
        self._numbers = itertools.count(-1, -1)
        self.own: dict[int, _Answered] = {}

    def _know_none(self, number: int, _account: str, _access_key_id: str) -> None:
        self._shell.agenda.after(0, lambda: self._shell.answer(number, True))

    def share(self, store: Store) -> None:
        """This store is shared with other gateways: ask it from now on, and for the keys that live in it."""
        self._store = store
        self._shell.arm(self._keyring_alarm)

    def drain(self, grace_ns: int) -> None:
        """The process is to end."""
        self._store.drain(grace_ns)

    def ask(self, number: int, question: Question) -> None:
        """Answer this question, now or later."""
        match question:
            case Take(local=True):
                self.local.ask(number, question)
            case Take() | ReadEntry() | ReadKeys():
                self._store.ask(number, question)
            case Turn(target, policy, repeats):
                self._tell_breaker(TurnAsked(number, target, policy, repeats))
            case RefreshCredentials(account, access_key_id):
                self.refresh(number, account, access_key_id)
            case ListModels():
                self._shell.agenda.after(0, lambda: self._shell.answer(number, Models(())))
            case VerifyToken() | FetchUrl():
                raise AssertionError("no world asks for this")
            case _:
                assert_never(question)

    def withdraw(self, number: int) -> None:
        """The answer is not wanted any more."""
        self._store.withdraw(number)
        if self.local is not self._store:
            self.local.withdraw(number)

    def tell(self, statement: Statement) -> None:
        """Pass it on."""
        match statement:
            case Settle(local=True):
                self.local.tell(statement)
            case Settle() | WriteEntry():
                self._store.tell(statement)
            case CallEnded(target, policy, ok, first):
                self._tell_breaker(CallReported(target, policy, ok, first))
            case _:
                assert_never(statement)

    # --------------------------------------------------------------------------------------------- the stores

    def seek(self, question: StoreQuestion, answered: _Answered) -> None:
        """Ask the shared store on nobody's behalf."""
        number = next(self._numbers)
        self.own[number] = answered
        self._store.ask(number, question)

    def store_answered(self, ticket: int, answer: StoreAnswer) -> None:
        """A store's answer."""
        own = self.own.pop(ticket, None)
        if own is None:
            self._shell.answer(ticket, answer)
        else:
            own(answer, True)

    def store_failed(self, ticket: int, why: str) -> None:
        """A store gives no answer."""
        own = self.own.pop(ticket, None)
        if own is None:
            self._shell.leave_unanswered(ticket, why)
        else:
            own(None, False)

    # ------------------------------------------------------------------------------- the breaker, the keyring

    def _tell_breaker(self, event: BreakerEvent) -> None:
        shell = self._shell
        for command in shell.judge.breaker_heard(self.breaker, shell.agenda.now, event):
            match command:
                case AnswerTurn(number, granted):
                    self._answer_turn(number, granted)
                case TellHealth(health):
                    shell.broadcast(health)
                case Note(level, text):
                    shell.note(level, text)
                case _:
                    assert_never(command)
        shell.arm(self._breaker_alarm)

    def _answer_turn(self, number: int, granted: bool) -> None:
        """A turn is given or not; who is asked may be late, as everybody may."""
        delay = self._shell.late()
        if delay:
            self._shell.agenda.after(delay, lambda: self._shell.answer(number, granted))
        else:
            self._shell.answer(number, granted)

    def _tell_keyring(self, event: KeyringEvent) -> None:
        shell = self._shell
        for command in shell.judge.keyring_heard(self._keyring, shell.agenda.now, event):
            match command:
                case AskKeys(version):
                    self.seek(ReadKeys(version), self._keys_read)
                case TellKeys(keys):
                    shell.broadcast(keys)
                case Note(level, text):
                    shell.note(level, text)
                case _:
                    assert_never(command)
        shell.arm(self._keyring_alarm)

    def _keys_read(self, answer: StoreAnswer, answered: bool) -> None:
        if answered and (answer is None or isinstance(answer, Keys)):
            self._tell_keyring(KeysRead(answer))
        else:
            self._tell_keyring(KeysUnread())
