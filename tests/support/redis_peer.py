"""A bench for the link to Redis: a shell without sockets, which checks every step, and a server at its other
end that answers as it is told.
"""

from collections.abc import Callable
from typing import Any, Final

from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.gateway.redis_link import LinkSettings, RedisLink
from stargate_core.limits.buckets import Algorithm, Bucket, Claim
from stargate_core.messages import (
    AnswerStore,
    CloseStore,
    FailStore,
    Note,
    OpenStore,
    StoreAsked,
    StoreCommand,
    StoreEvent,
    StoreLost,
    StoreOpened,
    StoreSent,
    Ticked,
    WriteStore,
)
from stargate_core.questions import StoreAnswer, Take
from stargate_core.wire.eventstream import NEED_DATA
from stargate_core.wire.resp import ReplyReader

WALL_EPOCH_NS: Final = 1_800_000_000 * SECOND
DEADLINE_NS: Final = 50 * MILLISECOND

REQUESTS: Final = Bucket("requests:{team-a}", Algorithm.FIXED, 10, 60_000_000)
CALLS: Final = Bucket("calls:{team-a}", Algorithm.CONCURRENT, 5)


def a_take(lease: str = "lease") -> Take:
    """Takes one request, and one call at a time."""
    return Take((Claim(REQUESTS, 1), Claim(CALLS, 1)), lease, 60_000_000)


ALLOWED: Final = b"*8\r\n:1\r\n:1800000000000000\r\n:-1\r\n:0\r\n:9\r\n:60000000\r\n:4\r\n:0\r\n"
REFUSED: Final = b"*8\r\n:0\r\n:1800000000000000\r\n:0\r\n:60000000\r\n:0\r\n:60000000\r\n:4\r\n:0\r\n"
OK: Final = b"+OK\r\n"


class LinkBench:
    """A link, and what became of everything."""

    def __init__(self, **settings: Any) -> None:
        self.link = RedisLink(settings=LinkSettings(**settings), seed=1, wall_epoch_ns=WALL_EPOCH_NS)
        self.now = 0
        self.connection = "closed"
        """Or opening, open."""
        self.asked: dict[int, int] = {}
        """Who waits, and since when."""
        self.answers: dict[int, StoreAnswer] = {}
        self.failures: dict[int, str] = {}
        self.notes: list[tuple[str, str]] = []
        self.said: list[list[bytes]] = []
        """The commands on this connection that the server has not answered."""
        self.opened_at: list[int] = []
        self._reader = ReplyReader()

    def tell(self, event: StoreEvent) -> list[StoreCommand]:
        """A fact, and what the link makes of it."""
        if isinstance(event, StoreAsked):
            self.asked[event.ticket] = self.now
        if isinstance(event, StoreLost):
            self._ended()
        commands = self.link.handle(self.now, event)
        for command in commands:
            self._judge(command)
        assert len([one for one in commands if isinstance(one, WriteStore)]) <= 1, "one write for a step"
        return commands

    def _judge(self, command: StoreCommand) -> None:
        match command:
            case AnswerStore(ticket, answer):
                del self.asked[ticket]
                self.answers[ticket] = answer
            case FailStore(ticket, why):
                assert self.now <= self.asked.pop(ticket) + DEADLINE_NS, "somebody waited too long"
                self.failures[ticket] = why
            case Note(level, text):
                self.notes.append((level, text))
            case OpenStore():
                assert self.connection == "closed"
                self.connection = "opening"
                self.opened_at.append(self.now)
            case CloseStore():
                assert self.connection != "closed"
                self._ended()
            case WriteStore(data):
                assert data, "an empty write"
                assert self.connection == "open"
                self._reader.receive_data(data)
                while (words := self._reader.next_reply()) is not NEED_DATA:
                    assert isinstance(words, list)
                    self.said.append(words)

    def _ended(self) -> None:
        self.connection = "closed"
        self.said.clear()
        self._reader = ReplyReader()

    # --------------------------------------------------------------------------------------------------- time

    def tick(self) -> None:
        """Go on to the link's deadline."""
        deadline = self.link.deadline
        assert deadline is not None
        self.now = max(self.now, deadline)
        self.tell(Ticked())

    def wait(self, nanoseconds: int) -> None:
        """Let time pass; the link is ticked at each of its deadlines on the way."""
        end = self.now + nanoseconds
        for _ in range(10_000):
            deadline = self.link.deadline
            if deadline is None or deadline > end:
                break
            self.tick()
        else:
            raise AssertionError("it wants to be ticked for ever")
        self.now = end

    # --------------------------------------------------------------------------------------------- the server

    def open(self) -> None:
        """The connection stands."""
        assert self.connection == "opening"
        self.connection = "open"
        self.tell(StoreOpened())

    def answer(self, *replies: bytes) -> list[StoreCommand]:
        """The server answers the next commands, all at once."""
        del self.said[: len(replies)]
        return self.tell(StoreSent(b"".join(replies)))

    def greet(self, said: Callable[[list[bytes]], bytes] = lambda _: OK) -> None:
        """The server answers all there is to be answered."""
        self.answer(*(said(words) for words in self.said))

    def up(self) -> "LinkBench":
        """Connect, and greet."""
        self.tick()
        self.open()
        self.greet()
        assert self.link.up
        return self

    def ask(self, ticket: int, question: Any = None) -> None:
        """Somebody asks; a Take, if nothing else is named."""
        self.tell(StoreAsked(ticket, a_take(f"lease-{ticket}") if question is None else question))

    @property
    def names(self) -> list[bytes]:
        """The commands that the server has not answered."""
        return [words[0] for words in self.said]
