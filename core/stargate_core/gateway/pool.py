"""The pool: which upstream connection carries the next call.

One pool serves all sessions of a process. It opens nothing itself: it orders connections (`Connect`,
`Disconnect`) and lends them (`Lend`, `Refuse`), one call at a time each. It is bookkeeping rather than a
life-cycle, so it has methods for its events and no table of states.

The rules:

- The connection used last is lent first. A few stay warm and the others grow old and are closed, before a NAT
  or a load balancer forgets them (AWS's drop idle ones at 350 s) and a call vanishes into a dead socket.
- Each question that finds no idle connection starts one, up to the endpoint's limit; whichever connection is
  free first, opened or returned, goes to the question that has waited longest. Which connection was opened
  for which question is nobody's business: what counts is that never fewer are opening than questions wait, as
  long as there is room. So a failure to open is the trouble of whoever has waited longest, and of nobody
  where enough others are opening still.
- A question that asks for a `fresh` connection never gets a kept one: a kept one has just failed it. Where
  there is no room for a new one, a kept one makes room.
- Two limits, each with its own trouble: how long a connection may take to open, and how long a question may
  wait while there is no room to open one for it.
- A connection that closes, or speaks, while nobody holds it is dropped: what it said belongs to no call.
- Bounds may change. What waits, opens or is idle then has at most the new time from that moment on, and
  connections beyond a smaller number go as they come back.
- Late and double facts are harmless: what the pool doesn't know, or knows better, it ignores.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from stargate_core.aws.endpoints import Endpoint
from stargate_core.clock import NEVER, SECOND
from stargate_core.messages import (
    AskWithdrawn,
    BoundsChanged,
    Connect,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    Disconnect,
    Draining,
    LeaseAsked,
    LeaseReturned,
    Lend,
    PoolCommand,
    PoolEvent,
    Refuse,
    Ticked,
    Trouble,
)


class PoolLimits(msgspec.Struct, frozen=True):
    """How many connections, and how long things may take. Durations in nanoseconds."""

    connections_max: int = 1024
    """To one endpoint, opening and lent ones included."""
    idle_max: int = 256
    """Kept idle for one endpoint."""
    idle_ns: int = 300 * SECOND
    connect_ns: int = 3 * SECOND
    wait_ns: int = 5 * SECOND


class _Question:
    """A ticket that waits."""

    __slots__ = ("fresh", "give_up_at", "ticket")

    def __init__(self, ticket: int, fresh: bool, give_up_at: int) -> None:
        self.ticket = ticket
        self.fresh = fresh
        self.give_up_at = give_up_at


class _Shelf:
    """Everything about one endpoint."""

    __slots__ = ("count", "endpoint", "idle", "opening", "waiting")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.count = 0
        """Connections that exist: opening, idle and lent."""
        self.idle: dict[int, int] = {}
        """Connection to when it is too old; insertion order is age, so the first is the oldest."""
        self.opening: dict[int, int] = {}
        """Connection to when it has taken too long; insertion order is age."""
        self.waiting: deque[_Question] = deque()
        """In the order they were asked. The first ones have connections opening for them."""


class Pool:
    """Lends upstream connections to sessions."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._shelves: dict[Endpoint, _Shelf] = {}
        self._where: dict[int, _Shelf] = {}
        """Every connection that exists."""
        self._waits: dict[int, _Shelf] = {}
        """Every ticket that waits."""
        self._next: Final[Iterator[int]] = iter(range(1, NEVER))
        self._draining = False

    # -------------------------------------------------------------------------------------------- the machine

    def handle(self, now: int, event: PoolEvent) -> list[PoolCommand]:
        """Take in a fact; what is to be done about it."""
        out: list[PoolCommand] = []
        match event:
            case LeaseAsked():
                self._asked(now, event, out)
            case LeaseReturned(lease, clean):
                self._returned(now, lease, clean, out)
            case AskWithdrawn(ticket):
                self._withdrawn(ticket)
            case ConnectionOpened(connection):
                self._opened(now, connection, out)
            case ConnectionFailed(connection, trouble, detail):
                self._failed(now, connection, trouble, detail, out)
            case ConnectionClosed(connection):
                self._closed(now, connection, out)
            case BoundsChanged():
                self._rebound(now, event, out)
            case Ticked():
                self._ticked(now, out)
            case Draining():
                self._draining = True
                for shelf in self._shelves.values():
                    for connection in tuple(shelf.idle):
                        self._disconnect(shelf, connection, out)
        return out

    @property
    def deadline(self) -> int | None:
        """When something is due; None: nothing is."""
        earliest = NEVER
        for shelf in self._shelves.values():
            for due in (shelf.idle, shelf.opening):
                if due:
                    earliest = min(earliest, next(iter(due.values())))
            if len(shelf.waiting) > len(shelf.opening):
                earliest = min(earliest, shelf.waiting[len(shelf.opening)].give_up_at)
        return None if earliest == NEVER else earliest

    def statistics(self) -> dict[str, int]:
        """How many connections there are, of which kind, and how many questions wait."""
        idle = sum(len(shelf.idle) for shelf in self._shelves.values())
        opening = sum(len(shelf.opening) for shelf in self._shelves.values())
        return {
            "idle": idle,
            "opening": opening,
            "lent": len(self._where) - idle - opening,
            "waiting": len(self._waits),
        }

    # ---------------------------------------------------------------------------------------------- questions

    def _asked(self, now: int, event: LeaseAsked, out: list[PoolCommand]) -> None:
        shelf = self._shelves.get(event.endpoint)
        if shelf is None:
            shelf = self._shelves[event.endpoint] = _Shelf(event.endpoint)
        while shelf.idle and not event.fresh:
            connection, too_old_at = shelf.idle.popitem()
            if too_old_at > now:
                out.append(Lend(event.ticket, connection, reused=True))
                return
            # Nobody has ticked for a while: the process was stopped, and the connection forgotten since.
            self._disconnect(shelf, connection, out)
        shelf.waiting.append(_Question(event.ticket, event.fresh, now + self._limits.wait_ns))
        self._waits[event.ticket] = shelf
        self._open(now, shelf, out)

    def _open(self, now: int, shelf: _Shelf, out: list[PoolCommand]) -> None:
        """Let a connection be opening for every question that waits, as far as there is room."""
        while len(shelf.waiting) > len(shelf.opening):
            if shelf.count >= self._limits.connections_max:
                if not shelf.idle:
                    return
                # Only fresh questions wait beside idle connections.
                self._disconnect(shelf, next(iter(shelf.idle)), out)
            connection = next(self._next)
            shelf.count += 1
            shelf.opening[connection] = now + self._limits.connect_ns
            self._where[connection] = shelf
            out.append(Connect(connection, shelf.endpoint))

    def _rebound(self, now: int, event: BoundsChanged, out: list[PoolCommand]) -> None:
        """Other bounds. Nothing that was begun before may be due after what begins now: the first is looked
        at alone.
        """
        self._limits = limits = PoolLimits(
            event.connections_max, event.idle_max, event.idle_ns, event.connect_ns, event.wait_ns
        )
        for shelf in self._shelves.values():
            shelf.idle = {one: min(when, now + limits.idle_ns) for one, when in shelf.idle.items()}
            shelf.opening = {one: min(when, now + limits.connect_ns) for one, when in shelf.opening.items()}
            for question in shelf.waiting:
                question.give_up_at = min(question.give_up_at, now + limits.wait_ns)
            self._open(now, shelf, out)

    def _withdrawn(self, ticket: int) -> None:
        """Forget a question; the connection that opens on its behalf serves another, or is kept."""
        shelf = self._waits.pop(ticket, None)
        if shelf is not None:
            shelf.waiting.remove(next(question for question in shelf.waiting if question.ticket == ticket))

    def _serve(self, now: int, shelf: _Shelf, connection: int, reused: bool, out: list[PoolCommand]) -> None:
        """A connection is free: the longest-waiting question that may have it gets it, or it is kept."""
        for question in shelf.waiting:
            if not (reused and question.fresh):
                shelf.waiting.remove(question)
                del self._waits[question.ticket]
                out.append(Lend(question.ticket, connection, reused))
                return
        limits = self._limits
        if self._draining or len(shelf.idle) >= limits.idle_max or shelf.count > limits.connections_max:
            self._disconnect(shelf, connection, out)
        else:
            shelf.idle[connection] = now + self._limits.idle_ns
        self._open(now, shelf, out)

    def _refuse(self, question: _Question, trouble: Trouble, detail: str, out: list[PoolCommand]) -> None:
        self._waits.pop(question.ticket).waiting.remove(question)
        out.append(Refuse(question.ticket, trouble, detail))

    # -------------------------------------------------------------------------------------------- connections

    def _returned(self, now: int, lease: int, clean: bool, out: list[PoolCommand]) -> None:
        shelf = self._where.get(lease)
        if shelf is None or lease in shelf.idle or lease in shelf.opening:
            return  # It closed while it was lent, and has been forgotten; or it is not lent at all.
        if clean:
            self._serve(now, shelf, lease, True, out)
        else:
            self._disconnect(shelf, lease, out)
            self._open(now, shelf, out)

    def _opened(self, now: int, connection: int, out: list[PoolCommand]) -> None:
        shelf = self._where.get(connection)
        if shelf is not None and shelf.opening.pop(connection, None) is not None:
            self._serve(now, shelf, connection, False, out)

    def _failed(
        self, now: int, connection: int, trouble: Trouble, detail: str, out: list[PoolCommand]
    ) -> None:
        shelf = self._where.get(connection)
        if shelf is None or shelf.opening.pop(connection, None) is None:
            return
        del self._where[connection]
        shelf.count -= 1
        if len(shelf.waiting) > len(shelf.opening):
            self._refuse(shelf.waiting[0], trouble, detail, out)
        self._open(now, shelf, out)

    def _closed(self, now: int, connection: int, out: list[PoolCommand]) -> None:
        shelf = self._where.get(connection)
        if shelf is None or connection in shelf.opening:
            return
        self._disconnect(shelf, connection, out)
        self._open(now, shelf, out)

    def _disconnect(self, shelf: _Shelf, connection: int, out: list[PoolCommand]) -> None:
        del self._where[connection]
        shelf.idle.pop(connection, None)
        shelf.count -= 1
        out.append(Disconnect(connection))

    # --------------------------------------------------------------------------------------------------- time

    def _ticked(self, now: int, out: list[PoolCommand]) -> None:
        for shelf in self._shelves.values():
            for connection, too_old_at in tuple(shelf.idle.items()):
                if too_old_at > now:
                    break
                self._disconnect(shelf, connection, out)
            for connection, too_late_at in tuple(shelf.opening.items()):
                if too_late_at > now:
                    break
                out.append(Disconnect(connection))
                self._failed(now, connection, Trouble.CONNECT_TIMEOUT, "", out)
            for question in tuple(shelf.waiting)[len(shelf.opening) :]:
                if question.give_up_at > now:
                    break
                self._refuse(question, Trouble.POOL_TIMEOUT, "", out)
