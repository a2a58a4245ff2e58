"""Connections without a network: two ends, bytes on their way, and what becomes of them.

An `End` behaves as the shells' `Channel` does over a socket (its `write` never waits, what the peer's side
has no room for is kept, `stalled` and `drained` tell of it), and its peer likewise. Between them lies a
`Weather`: how long bytes take, how they are cut, and how many fit.

What a kernel does is done here too, as far as one can see it from a process:

- Bytes that came before an end or a reset can still be read; a reset may also destroy them.
- A socket that is closed with unread bytes sends a reset, any other one an end.
- Who writes to a peer that is gone hears of it later, by a reset, or at the next write.
- A reset of a connection that is not being read is noticed only where it is written to.
"""

import random
from collections.abc import Callable
from typing import Protocol

import msgspec

from sim.agenda import Agenda


class Owner(Protocol):
    """Whom an end belongs to."""

    def heard(self, data: bytes) -> None:
        """Bytes have come; none: the peer has ended its side."""

    def lost(self) -> None:
        """The connection broke."""

    def stalled(self) -> None:
        """Bytes had to be kept."""

    def drained(self) -> None:
        """All bytes have left."""


class Weather(msgspec.Struct):
    """What happens to bytes on their way."""

    delay_ns: int = 50_000
    """The longest that a delivery takes."""
    whole: float = 1.0
    """How likely bytes that lie there are taken in one piece."""
    piece_max: int = 1
    """Else: the longest piece."""
    room: int = 1 << 20
    """How much may be under way to one end."""
    destroys: float = 0.0
    """How likely a reset destroys what came before it."""


class End:
    """One side of a connection."""

    __slots__ = (
        "_agenda", "_due", "_ended", "_ending", "_flushing", "_held_until", "_owner", "_paused", "_pending",
        "_reset", "_rng", "_said_end", "closed", "dropped", "inbox", "lag", "missed", "on_ended", "on_gone",
        "peer", "weather",
    )  # fmt: skip
    peer: "End"

    def __init__(self, agenda: Agenda, rng: random.Random, weather: Weather) -> None:
        self.weather = weather
        self.lag: list[int] = []
        """Behind so many bytes more nothing reaches it for so long."""
        self._held_until = 0
        self.inbox = bytearray()
        """What is under way to this end, or lies in its kernel."""
        self.closed = False
        self.dropped = False
        """It was closed before all that was written had left."""
        self.missed = False
        """A reset has destroyed what was under way to it."""
        self.on_gone: Callable[[], None] | None = None
        """Called once it is closed."""
        self.on_ended: Callable[[], None] | None = None
        """Called once our side has ended, all of it written."""
        self._agenda = agenda
        self._rng = rng
        self._owner: Owner | None = None
        self._due = False
        self._paused = False
        self._pending = bytearray()
        self._ending = False
        self._ended = False
        """The peer has ended its side; below: that has been told, and the peer has reset the connection."""
        self._said_end = False
        self._reset = False
        self._flushing = False

    # ------------------------------------------------------------------------------------------------ reading

    def start(self, owner: Owner) -> None:
        """From now on the owner hears what comes."""
        self._owner = owner
        self._look()

    def pause(self) -> None:
        """Do not read."""
        self._paused = True

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        self._look()

    def _look(self) -> None:
        """See to it that what there is to hear is heard."""
        if self._due or self.closed or self._owner is None:
            return
        news = not self._paused and (self.inbox or (self._ended and not self._said_end) or self._reset)
        if news or (self._reset and self._pending):
            self._due = True
            delay = self.weather.delay_ns
            delay = self._rng.randrange(delay) if delay > 0 else 0
            self._agenda.after(max(delay, self._held_until - self._agenda.now), self._hear)

    def _hear(self) -> None:
        self._due = False
        owner = self._owner
        if self.closed or owner is None:
            return
        if self._reset and (self._pending or (not self._paused and not self.inbox)):
            self._lose()
        elif self._paused:
            pass
        elif self.inbox:
            length = len(self.inbox)
            if self.weather.whole < 1.0 and self._rng.random() >= self.weather.whole:
                length = min(length, self._rng.randrange(1, self.weather.piece_max + 1))
            if self.lag:
                length = self._lagging(length)
            data = bytes(self.inbox[:length])
            del self.inbox[:length]
            self.peer._made_room()
            owner.heard(data)
            self._look()
        elif self._ended and not self._said_end:
            self._said_end = True
            owner.heard(b"")
            self._look()

    def _lagging(self, length: int) -> int:
        """How many of these bytes come before what is late."""
        length = min(length, self.lag[0])
        self.lag[0] -= length
        if not self.lag[0]:
            self._held_until = self._agenda.now + self.lag[1]
            self.lag = []
        return length

    def _lose(self) -> None:
        owner = self._owner
        self.missed = self.missed or bool(self.inbox)
        self.dispose()
        if owner is not None:
            owner.lost()

    # ------------------------------------------------------------------------------------------------ writing

    @property
    def pending(self) -> bool:
        """Whether bytes are kept."""
        return bool(self._pending)

    @property
    def pending_bytes(self) -> int:
        """How many."""
        return len(self._pending)

    def write(self, data: bytes) -> None:
        """Send. Raises OSError where the connection is known to be broken."""
        if self.closed or self._ending:
            raise BrokenPipeError
        if self._reset:
            self._look()
            raise ConnectionResetError
        if self.peer.closed:
            self._come_reset(destroy=False)
            return
        if self._pending:
            self._pending += data
            return
        sent = self._send(data)
        if sent < len(data):
            self._pending += memoryview(data)[sent:]
            if self._owner is not None:
                self._owner.stalled()

    def _send(self, data: bytes | bytearray) -> int:
        peer = self.peer
        room = max(0, peer.weather.room - len(peer.inbox))
        peer.inbox += data[:room]
        peer._look()
        return min(room, len(data))

    def _made_room(self) -> None:
        if self._pending and not (self._flushing or self.closed):
            self._flushing = True
            self._agenda.after(0, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self.closed or not self._pending:
            return
        del self._pending[: self._send(self._pending)]
        if self._pending:
            return
        if self._ending:
            self._end()
        if self._owner is not None:
            self._owner.drained()

    # ------------------------------------------------------------------------------------------------ closing

    @property
    def flushed(self) -> bool:
        """Whether our side has ended, and everything has left."""
        return self._ending and not self._pending

    def finish(self) -> None:
        """End our side, once what was written has left."""
        if not (self._ending or self.closed):
            self._ending = True
            if not self._pending:
                self._end()

    def _end(self) -> None:
        self.peer._ended = True
        self.peer._look()
        if self.on_ended is not None:
            self.on_ended()

    def _come_reset(self, *, destroy: bool) -> None:
        if self._reset or self.closed:
            return
        self._reset = True
        if destroy:
            self.missed = self.missed or bool(self.inbox)
            self.inbox.clear()
        self._look()

    def abort(self) -> None:
        """Break the connection."""
        if not self.closed:
            self._close(reset=True)

    def dispose(self) -> None:
        """Close the socket now."""
        if not self.closed:
            self._close(reset=bool(self.inbox) and not self._reset)

    def _close(self, *, reset: bool) -> None:
        self.closed = True
        self.dropped = bool(self._pending)
        self._pending.clear()
        self.inbox.clear()
        if reset:
            self.peer._come_reset(destroy=self._rng.random() < self.weather.destroys)
        elif not self._ending:
            self.peer._ended = True
            self.peer._look()
        self.peer._drop_pending()
        if self.on_gone is not None:
            self._agenda.after(0, self.on_gone)

    def _drop_pending(self) -> None:
        """The peer is gone: what was kept for it goes nowhere, and its kernel says so."""
        if self._pending and not self.closed:
            self._come_reset(destroy=False)


def connected(agenda: Agenda, rng: random.Random, near: Weather, far: Weather) -> tuple[End, End]:
    """Both ends of a new connection; each weather is that of the bytes that come to the end."""
    one, other = End(agenda, rng, near), End(agenda, rng, far)
    one.peer, other.peer = other, one
    return one, other
