"""Lives: what is kept of a machine while it runs, and the bound on all that is kept.

A life is references to what was there anyway: the events as they came, the commands as they went. Nothing is
encoded, hashed or copied until somebody wants it written, because almost all lives end well, and nobody does.
But bytes that would be gone are still there while a life refers to them. So each one's weight is counted, and
the ring has a bound on the sum.

The ring also keeps the lives of flights, those that are over among them, the oldest of which go first when
room is needed. A flight ends before the requests that follow it do, and only they know whether anybody will
want to read of it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from stargate_core.config.schema import Config
from stargate_core.dialects.face import Fetched
from stargate_core.journal.format import Beginning, FlightBeginning
from stargate_core.messages import (
    Answered,
    AnswerOrdered,
    AnswerSent,
    AnswerStore,
    ClientSent,
    EntryFound,
    FlightSent,
    Follow,
    KeepEntry,
    Launch,
    StoreSent,
    StoreTold,
    Tell,
    UpstreamSent,
    WriteClient,
    WriteStore,
    WriteUpstream,
)
from stargate_core.questions import Entry, WriteEntry
from stargate_core.record import Failed

ENTRY_BYTES: Final = 400
"""What an event and its commands take beside their bytes, about."""


def _value(message: EntryFound | KeepEntry) -> int:
    return len(message.value or b"")


def _answer(message: Answered | AnswerStore) -> int:
    answer = message.answer
    if isinstance(answer, Entry):
        return len(answer.value)
    return len(answer.data) if isinstance(answer, Fetched) else 0


def _statement(message: Tell | StoreTold) -> int:
    return len(message.statement.value) if isinstance(message.statement, WriteEntry) else 0


def _order(message: Follow | AnswerOrdered | Launch) -> int:
    return len(message.order.call.body) + sum(len(call.body) for _, call in message.order.others)


_DATA: Final = frozenset(
    {ClientSent, UpstreamSent, AnswerSent, FlightSent, StoreSent, WriteClient, WriteUpstream, WriteStore}
)
"""Messages that are bytes of others'."""
_WEIGHTS: Final[Mapping[type, Callable[[Any], int]]] = {
    **dict.fromkeys((EntryFound, KeepEntry), _value),
    **dict.fromkeys((Answered, AnswerStore), _answer),
    **dict.fromkeys((Tell, StoreTold), _statement),
    **dict.fromkeys((Follow, AnswerOrdered, Launch), _order),
}
"""How many bytes of others' a message carries that carries some now and then."""


class Life:
    """What a machine was told and has ordered, from a beginning on."""

    __slots__ = (
        "_ring", "began_ns", "beginning", "configs", "counts", "cut", "entries", "failed", "raised", "size",
        "written",
    )  # fmt: skip

    def __init__(
        self, beginning: Beginning, now: int, ring: "Ring", configs: Mapping[int, Config] | None = None
    ) -> None:
        self.beginning = beginning
        self.began_ns = now
        self.configs = dict(configs or {})
        """The configurations it has needed so far, by generation."""
        self.entries: list[tuple[int, Any, Sequence[msgspec.Struct]]] = []
        """When, what it was told, and what it ordered."""
        self.size = 0
        self.counts = True
        """Its size counts for the ring."""
        self.cut = False
        """It has outgrown its bound, or the ring's; nothing is kept of it any more."""
        self.failed: Failed | None = None
        self.raised = ""
        """The name of the exception by which the machine failed on the last event."""
        self.written = False
        """Somebody has had it written already."""
        self._ring = ring

    def add(self, now: int, event: msgspec.Struct, commands: Sequence[msgspec.Struct]) -> None:
        """One more event, and what it gave."""
        if self.cut:
            return
        # This is all that a request pays for being recorded, so it is written out.
        message: Any = event
        kind = message.__class__
        size = ENTRY_BYTES
        if kind in _DATA:
            size += len(message.data)
        elif kind in _WEIGHTS:
            size += _WEIGHTS[kind](message)
        for message in commands:
            kind = message.__class__
            if kind in _DATA:
                size += len(message.data)
            elif kind in _WEIGHTS:
                size += _WEIGHTS[kind](message)
        self.entries.append((now, event, commands))
        self.size += size
        ring = self._ring
        ring.held += size
        if self.size > ring.life_bytes_max or ring.held > ring.bytes_max:
            ring.make_room(self)

    def drop(self) -> None:
        """Keep nothing of it any more."""
        self.let_go()
        self.cut = True
        self.entries.clear()

    def let_go(self) -> None:
        """It is somebody else's now: it counts for the ring no longer."""
        if self.counts:
            self.counts = False
            self._ring.held -= self.size

    def snapshot(self) -> "Life":
        """The life as it is now, which nobody adds to or drops any more. It counts for nothing."""
        copy = Life(self.beginning, self.began_ns, self._ring, self.configs)
        copy.entries, copy.size, copy.counts = list(self.entries), self.size, False
        copy.cut, copy.failed, copy.raised = self.cut, self.failed, self.raised
        return copy

    @property
    def orders(self) -> tuple[str, ...]:
        """The keys of the shared answers it has followed."""
        return tuple(
            dict.fromkeys(
                command.order.key
                for _, _, commands in self.entries
                for command in commands
                if isinstance(command, Follow)
            )
        )


class Ring:
    """The bound on what lives hold, and the flights' lives. bytes_max: of all. life_bytes_max: of one."""

    def __init__(self, bytes_max: int, life_bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.life_bytes_max = life_bytes_max
        self.held = 0
        self._flights: dict[str, list[Life]] = {}
        """By the key of their order; of each key in the order of their launch."""
        self._over: dict[Life, str] = {}
        """The flights that are over, the oldest first, and their keys."""

    def make_room(self, wanted: Life) -> None:
        """Keep both bounds: forget flights that are over, or else give up this life."""
        while self.held > self.bytes_max and self._over:
            self._forget(next(iter(self._over)))
        if self.held > self.bytes_max or wanted.size > self.life_bytes_max:
            wanted.drop()

    def launch(self, life: Life) -> None:
        """A flight begins."""
        assert isinstance(life.beginning, FlightBeginning)
        self._flights.setdefault(life.beginning.order.key, []).append(life)

    def land(self, life: Life) -> None:
        """A flight is over. Its life is kept while there is room."""
        assert isinstance(life.beginning, FlightBeginning)
        self._over[life] = life.beginning.order.key
        if life.cut:
            self._forget(life)

    def flights(self, keys: Sequence[str]) -> list[Life]:
        """The lives of flights that had one of these orders, as far as they are still here."""
        return [life for key in keys for life in self._flights.get(key, ())]

    def _forget(self, life: Life) -> None:
        key = self._over.pop(life)
        same = self._flights[key]
        same.remove(life)
        if not same:
            del self._flights[key]
        life.drop()
