"""Enquiries: who answers what sessions and flights ask, and hears what they tell.

Questions and statements (the core's questions.py) are routed here by their type: to the shared store, to this
process's own where a question says so, to the breaker, to the verifier of tokens, to the keeper of
credentials, to the fetcher of URLs, to the scout for models. Who can answer at once calls back before `ask`
returns. Nothing here waits; where something must be waited for (the keys of an issuer, newer credentials,
a page, a list), a task of its own does. Of these only a page is nobody else's too: its task ends when the
question is withdrawn.

The keyring and the cache ask the shared store by themselves: their questions have negative numbers.

Settlements are kept while the shared store is down. At the end of the process that is over: the store is
tried again and again for a moment; what it has not heard then is lost.
"""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, assert_never

import trio

from stargate.credentials import Keeper
from stargate.fetcher import Fetcher
from stargate.scout import CannotTell, Scout
from stargate.shell_common.levels import Levels
from stargate.trio_shell.store import LocalStore, Store
from stargate.trio_shell.ticker import Alarm, Ticker, now_ns
from stargate.verifier import CannotVerify, Verifier
from stargate_core.gateway.breaker import Breaker
from stargate_core.gateway.keyring import Keyring
from stargate_core.messages import (
    AnswerTurn,
    AskKeys,
    BreakerEvent,
    CallReported,
    HealthChanged,
    KeyringEvent,
    KeysRead,
    KeysUnread,
    Note,
    TellHealth,
    TellKeys,
    Ticked,
    TurnAsked,
)
from stargate_core.questions import (
    CallEnded,
    FetchUrl,
    Keys,
    ListModels,
    Question,
    ReadEntry,
    ReadKeys,
    RefreshCredentials,
    Settle,
    Statement,
    StoreAnswer,
    StoreQuestion,
    Take,
    Turn,
    VerifyToken,
    WriteEntry,
)

if TYPE_CHECKING:
    from stargate.trio_shell.gateway import Gateway

_TICKED: Final = Ticked()
_LAST_WORDS_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.05


class Enquiries:
    """Routes questions and statements, and brings the answers back to the gateway. fetcher: a test's own.
    watched: whether somebody wants to know what stores say of limits.
    """

    def __init__(
        self,
        gateway: "Gateway",
        nursery: trio.Nursery,
        ticker: Ticker,
        fetcher: Fetcher | None = None,
        *,
        watched: bool = False,
    ) -> None:
        self._gateway = gateway
        self._nursery = nursery
        self._local: Store = LocalStore(self, ticker)
        self._store: Store = self._local
        self._keeper: Keeper | None = None
        self._verifier = Verifier()
        self._fetcher = fetcher or Fetcher()
        self._fetches: dict[int, trio.CancelScope] = {}
        """The tasks that fetch, by the number of their question."""
        self._scout = Scout(lambda place: gateway.tls(place), gateway.note)
        self.levels = Levels() if watched else None
        """Is told what stores say of limits, where somebody watches."""
        self._breaker = Breaker()
        self._breaker_alarm = Alarm(ticker, self._breaker, lambda: self._tell_breaker(_TICKED))
        self._keyring = Keyring(now_ns())
        self._keyring_alarm = Alarm(ticker, self._keyring, lambda: self._tell_keyring(_TICKED))
        self._numbers = itertools.count(-1, -1)
        self._own: dict[int, Callable[[StoreAnswer, bool], None]] = {}
        """Who waits for the answers to questions that no session has asked."""

    # ------------------------------------------------------------------------------------------- surroundings

    def share(self, store: Store) -> None:
        """This store is shared with other gateways: ask it from now on, and for the keys that live in it."""
        self._store = store
        self._keyring_alarm.arm()

    def use(self, keeper: Keeper) -> None:
        """Whom to ask for newer credentials."""
        self._keeper = keeper

    def targets(self) -> list[HealthChanged]:
        """What the breaker says of each target that it knows."""
        return self._breaker.states()

    def store(self) -> dict[str, int]:
        """The statistics of the store that is asked."""
        return self._store.statistics()

    def drain(self, grace_seconds: float) -> None:
        """The process is to end: what the shared store has yet to hear is told it now."""
        self._store.drain(int(grace_seconds * 1e9))

    async def last_words(self) -> None:
        """Wait until the shared store has heard everything, but not for long."""
        with trio.move_on_after(_LAST_WORDS_SECONDS):
            while self._unheard():
                # Each time, for a store that is only just coming back may fail the first.
                self.drain(_LAST_WORDS_SECONDS)
                await trio.sleep(_LOOK_SECONDS)

    def _unheard(self) -> int:
        counts = self._store.statistics()
        return counts.get("calls", 0) + counts.get("backlog", 0)

    # -------------------------------------------------------------------------------- of sessions and flights

    def ask(self, number: int, question: Question) -> None:
        """Answer this question, now or later."""
        if self.levels is not None and type(question) is Take:
            self.levels.asked(number, question)
        match question:
            case Take(local=True):
                self._local.ask(number, question)
            case Take() | ReadEntry() | ReadKeys():
                self._store.ask(number, question)
            case Turn(target, policy, repeats):
                self._tell_breaker(TurnAsked(number, target, policy, repeats))
            case VerifyToken():
                why = self._verifier.verify_now(question)
                if why is None:
                    self._nursery.start_soon(self._verify, number, question)
                else:
                    self._gateway.answer(number, why)
            case RefreshCredentials(account, access_key_id):
                self._nursery.start_soon(self._refresh, number, account, access_key_id)
            case FetchUrl():
                scope = self._fetches[number] = trio.CancelScope()
                self._nursery.start_soon(self._fetch, number, question, scope)
            case ListModels():
                self._nursery.start_soon(self._list_models, number, question)
            case _:
                assert_never(question)

    def withdraw(self, number: int) -> None:
        """The answer is not wanted any more; what a store took for it must be given back."""
        fetch = self._fetches.get(number)
        if fetch is not None:
            fetch.cancel()
            return
        if self.levels is not None:
            self.levels.withdrawn(number)
        self._store.withdraw(number)
        if self._local is not self._store:
            self._local.withdraw(number)

    def tell(self, statement: Statement) -> None:
        """Pass it on."""
        match statement:
            case Settle(local=True):
                self._local.tell(statement)
            case Settle() | WriteEntry():
                self._store.tell(statement)
            case CallEnded(target, policy, ok, first):
                self._tell_breaker(CallReported(target, policy, ok, first))
            case _:
                assert_never(statement)

    async def _verify(self, number: int, question: VerifyToken) -> None:
        try:
            why = await self._verifier.verify(question)
        except CannotVerify as error:
            self._gateway.leave_unanswered(number, str(error))
        else:
            self._gateway.answer(number, why)

    async def _refresh(self, number: int, account: str, access_key_id: str) -> None:
        if self._keeper is not None:
            await self._keeper.refresh(account, access_key_id)
        self._gateway.answer(number, True)

    async def _fetch(self, number: int, question: FetchUrl, scope: trio.CancelScope) -> None:
        try:
            with scope:
                self._gateway.answer(number, await self._fetcher.fetch(question))
        except Exception as error:  # noqa: BLE001  (a caller's URL must not be able to end the gateway by a bug)
            self._gateway.leave_unanswered(number, f"bug: {type(error).__name__}")
        finally:
            del self._fetches[number]

    async def _list_models(self, number: int, question: ListModels) -> None:
        try:
            models = await self._scout.models(question, self._gateway.credentials(question.account))
        except CannotTell as error:
            self._gateway.leave_unanswered(number, str(error))
        else:
            self._gateway.answer(number, models)

    # --------------------------------------------------------------------------------------------- the stores

    def seek(self, question: StoreQuestion, answered: Callable[[StoreAnswer, bool], None]) -> None:
        """Ask the shared store on nobody's behalf. answered: hears the answer, and whether there was one."""
        number = next(self._numbers)
        self._own[number] = answered
        self._store.ask(number, question)

    def store_answered(self, ticket: int, answer: StoreAnswer) -> None:
        """A store's answer."""
        if self.levels is not None:
            self.levels.answered(ticket, answer)
        own = self._own.pop(ticket, None)
        if own is None:
            self._gateway.answer(ticket, answer)
        else:
            own(answer, True)

    def store_failed(self, ticket: int, why: str) -> None:
        """A store gives no answer."""
        if self.levels is not None:
            self.levels.answered(ticket, None)
        own = self._own.pop(ticket, None)
        if own is None:
            self._gateway.leave_unanswered(ticket, why)
        else:
            own(None, False)

    def note(self, level: str, text: str) -> None:
        """A store has something to tell."""
        self._gateway.note(level, text)

    # ------------------------------------------------------------------------------- the breaker, the keyring

    def _tell_breaker(self, event: BreakerEvent) -> None:
        for command in self._breaker.handle(now_ns(), event):
            match command:
                case AnswerTurn(number, granted):
                    self._gateway.answer(number, granted)
                case TellHealth(health):
                    self._gateway.broadcast(health)
                case Note(level, text):
                    self._gateway.note(level, text)
                case _:
                    assert_never(command)
        self._breaker_alarm.arm()

    def _tell_keyring(self, event: KeyringEvent) -> None:
        for command in self._keyring.handle(now_ns(), event):
            match command:
                case AskKeys(version):
                    self.seek(ReadKeys(version), self._keys_read)
                case TellKeys(keys):
                    self._gateway.broadcast(keys)
                case Note(level, text):
                    self._gateway.note(level, text)
                case _:
                    assert_never(command)
        self._keyring_alarm.arm()

    def _keys_read(self, answer: StoreAnswer, answered: bool) -> None:
        if answered and (answer is None or isinstance(answer, Keys)):
            self._tell_keyring(KeysRead(answer))
        else:
            self._tell_keyring(KeysUnread())
