"""The stores on asyncio: this process's own, and one that a Redis server shares between gateways.

Both have one face (`Store`), and both call back (`StoreUser`). The memory store does so from within `ask`;
so does the link to Redis when it is down, for it knows the answer at once. Whoever asks the link from within
such a call is served after it: its commands must be carried out in their order, since Redis answers in the
order of what was written.

What waits is one task, for as long as a connection lives. Everything else is decided by the machines
(`MemoryStore`, `RedisLink`), and carried out without awaiting.
"""

import os
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, assert_never

import anyio
from anyio.abc import TaskGroup

from stargate.asyncio_shell.channel import Channel
from stargate.asyncio_shell.connector import connect
from stargate.asyncio_shell.reactor import Reactor
from stargate.asyncio_shell.ticker import Look, Ticker, now_ns
from stargate.shell_common.troubles import detail_of
from stargate.tls import store_context
from stargate_core.aws.endpoints import Endpoint
from stargate_core.config.store_url import StoreServer
from stargate_core.gateway.memory_store import MemoryStore
from stargate_core.gateway.redis_calls import settings_for
from stargate_core.gateway.redis_link import RedisLink
from stargate_core.messages import (
    AnswerStore,
    CloseStore,
    Draining,
    FailStore,
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
    Ticked,
    WriteStore,
)
from stargate_core.questions import StoreAnswer, StoreQuestion, StoreStatement

_TICKED: Final = Ticked()
_OPENED: Final = StoreOpened()


class StoreUser(Protocol):
    """Who asks a store."""

    def store_answered(self, ticket: int, answer: StoreAnswer) -> None:
        """The answer to a question."""
        ...

    def store_failed(self, ticket: int, why: str) -> None:
        """There is none."""
        ...

    def note(self, level: str, text: str) -> None:
        """Something for the operator."""
        ...


class Store(Protocol):
    """Whoever can be asked."""

    def ask(self, ticket: int, question: StoreQuestion) -> None:
        """Answer this. ticket: unique in the process."""
        ...

    def withdraw(self, ticket: int) -> None:
        """The answer is not wanted any more; a ticket that waits for none is ignored."""
        ...

    def tell(self, statement: StoreStatement) -> None:
        """Take note of this."""
        ...

    def drain(self, grace_ns: int) -> None:
        """The process is to end: say what was kept for later. May be told again."""
        ...

    def statistics(self) -> dict[str, int]:
        """Of one that is shared: `calls` that have no answer yet, and the `backlog` kept for later."""
        ...


class LocalStore:
    """The store that is this process's own. wall_ns: wall time, in nanoseconds since 1970."""

    def __init__(self, user: StoreUser, ticker: Ticker, *, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self.armed: Look | None = None
        self._user = user
        self._ticker = ticker
        self._wall_ns = wall_ns
        self._memory = MemoryStore(wall_epoch_ns=wall_ns() - now_ns())

    def ask(self, ticket: int, question: StoreQuestion) -> None:
        """Answer this; it is answered when this returns."""
        self._work(StoreAsked(ticket, question))

    def withdraw(self, ticket: int) -> None:
        """Nothing is left unanswered, so there is nothing to withdraw."""

    def tell(self, statement: StoreStatement) -> None:
        """Take note of this."""
        self._work(StoreTold(statement))

    def drain(self, grace_ns: int) -> None:
        """Nothing is kept for later."""

    @property
    def deadline(self) -> int | None:
        """The machine's."""
        return self._memory.deadline

    def tick(self) -> None:
        """Its time has come. Clocks are set now and then: it is told the time anew."""
        self._memory.wall_epoch_ns = self._wall_ns() - now_ns()
        self._work(_TICKED)

    def statistics(self) -> dict[str, int]:
        """The machine's."""
        return self._memory.statistics()

    def _work(self, event: StoreEvent) -> None:
        for command in self._memory.handle(now_ns(), event):
            match command:
                case AnswerStore(ticket, answer):
                    self._user.store_answered(ticket, answer)
                case FailStore(ticket, why):
                    self._user.store_failed(ticket, why)
                case Note(level, text):
                    self._user.note(level, text)
                case _:
                    raise AssertionError(f"the memory store has no server for {type(command).__name__}")
        self._ticker.arm(self)


class RedisStore:
    """The store on a Redis server. It connects by itself, and again after every trouble. Raises BadTls."""

    def __init__(
        self,
        user: StoreUser,
        ticker: Ticker,
        reactor: Reactor,
        nursery: TaskGroup,
        *,
        server: StoreServer,
        prefix: str,
    ) -> None:
        self.armed: Look | None = None
        self._user = user
        self._ticker = ticker
        self._reactor = reactor
        self._nursery = nursery
        # What the connector needs to know of a place: nothing is signed here.
        self._place = Endpoint("https" if server.tls else "http", server.host, server.port, "", "")
        self._tls = store_context(server)
        self._link = RedisLink(
            settings=settings_for(server, prefix),
            seed=int.from_bytes(os.urandom(16), "big"),
            wall_epoch_ns=time.time_ns() - now_ns(),
        )
        self._events: deque[StoreEvent] = deque()
        self._busy = False
        self._scope = anyio.CancelScope()
        """Of the task that opens and keeps the connection."""
        self._channel: Channel | None = None
        ticker.arm(self)

    # ---------------------------------------------------------------------------------------------- the face

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

    @property
    def up(self) -> bool:
        """Whether the server could be asked at this moment."""
        return self._link.up

    def statistics(self) -> dict[str, int]:
        """The machine's."""
        return self._link.statistics()

    # ------------------------------------------------------------------------------------------- the machine

    @property
    def deadline(self) -> int | None:
        """The link's."""
        return self._link.deadline

    def tick(self) -> None:
        """The link's time has come. Clocks are set now and then: it is told the time anew."""
        self._link.wall_epoch_ns = time.time_ns() - now_ns()
        self._work(_TICKED)

    def _work(self, event: StoreEvent) -> None:
        """Tell the link, and do what it says; what comes of that is told it behind the commands at hand."""
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                for command in self._link.handle(now_ns(), self._events.popleft()):
                    self._perform(command)
        finally:
            self._busy = False
        self._ticker.arm(self)

    def _perform(self, command: StoreCommand) -> None:
        match command:
            case WriteStore(data):
                self._write(data)
            case AnswerStore(ticket, answer):
                self._user.store_answered(ticket, answer)
            case FailStore(ticket, why):
                self._user.store_failed(ticket, why)
            case OpenStore():
                self._scope = anyio.CancelScope()
                self._nursery.start_soon(self._run, self._scope)
            case CloseStore():
                self._close()
            case Note(level, text):
                self._user.note(level, text)
            case _:
                assert_never(command)

    # ---------------------------------------------------------------------------------------- the connection

    async def _run(self, scope: anyio.CancelScope) -> None:
        """Open a connection, and keep it until it is over."""
        with scope:
            try:
                channel = await connect(self._place, self._reactor, self._context)
            except (OSError, ssl.SSLError, UnicodeError) as error:  # The last for names that can't be one.
                if not scope.cancel_called:
                    self._work(StoreLost(detail_of(error)))
                return
            try:
                if not scope.cancel_called:
                    self._channel = channel
                    channel.start(self)
                    self._work(_OPENED)
                    await channel.wait_over(0, 0)
            finally:
                channel.dispose()

    def _context(self, _place: Endpoint) -> ssl.SSLContext:
        assert self._tls is not None
        return self._tls

    def _write(self, data: bytes) -> None:
        try:
            if self._channel is None:
                raise BrokenPipeError("closed before it was written to")
            self._channel.write(data)
        except (OSError, ssl.SSLError) as error:
            self._lose(detail_of(error))

    def _close(self) -> None:
        self._scope.cancel()
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
        """Nothing needs to be stopped: a server that takes nothing is given up at the calls' deadlines."""

    def drained(self) -> None:
        """Likewise."""
