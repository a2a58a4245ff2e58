"""Clients: each a machine of its own at the far end of one connection to the gateway.

They ask as their kind asks (politely, slowly, all at once, in torn bytes, wrongly), and read strictly what
they are told, with h11. What an answer says is judged elsewhere; that each is one, whole or visibly cut, in
the order of the requests, is judged here.
"""

import random
from typing import TYPE_CHECKING, Final

import h11
import msgspec

from sim.agenda import Item
from sim.asks import Ask, a_smuggled_ask, a_wrong_ask
from sim.callers import Caller
from sim.violation import Violation, demand
from sim.wires import End
from stargate_core.clock import MILLISECOND, SECOND

if TYPE_CHECKING:
    from sim.world import World

PATIENCE_NS: Final = 60 * SECOND
"""How long a client waits for the next byte of an answer: longer than the gateway may take."""


class Answer(msgspec.Struct):
    """One response, as its client has it."""

    ask: Ask
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytearray = msgspec.field(default_factory=bytearray)
    whole: bool = False
    early: bool = False
    """It came before the request was whole."""

    def header(self, name: bytes) -> str:
        """The header's value; '' without one."""
        return next((value.decode() for key, value in self.headers if key == name), "")


class Client:
    """One client and its connection."""

    def __init__(self, world: "World", end: End, number: int, kind: str) -> None:
        self.world = world
        self.end = end
        self.number = number
        self.kind = kind
        self._rng: random.Random = world.rng
        self.asks: list[Ask] = []
        """All it has begun to send."""
        self.answers: list[Answer] = []
        self.left = ""
        """How it has left: end, lost; '': it has not."""
        self.over = False
        """Its connection is over."""
        self.ended_by_gateway = False
        self.stopped_reading = False
        self.answered_at = 0
        self.attended_by: Caller | None = None
        """The gateway's side of its connection."""
        self._to_ask = self._rng.randrange(1, world.features.requests_max + 1)
        self._peer: h11.Connection | None = None
        self._waiting: Item | None = None
        self._sending: bytes = b""
        end.start(self)
        self._next()

    @property
    def name(self) -> str:
        """For the narration."""
        return f"client {self.number} ({self.kind})"

    # ------------------------------------------------------------------------------------------------- asking

    def _next(self) -> None:
        """Ask the next question, or leave."""
        if self.left or self.over:
            return
        if len(self.asks) >= self._to_ask or (self.asks and self.world.calm):
            self.leave("end")
            return
        ahead = 1 if self.kind != "pipelining" else self._rng.randrange(1, 4)
        data = b""
        for _ in range(min(ahead, self._to_ask - len(self.asks))):
            ask = self._ask()
            self.asks.append(ask)
            data += ask.data
            if ask.broken or (ask.closes and self._rng.random() < 0.5):
                self._to_ask = len(self.asks)
                break  # Else it asks on behind its own end, and must not be answered.
        self._send(data)
        if self.kind == "leaving" and self._rng.random() < 0.5:
            delay = self._rng.randrange(self._rng.choice((1, 4, 30, 800, 3000, 12_000)) * MILLISECOND)
            self.world.agenda.after(delay, lambda: self.leave(self._rng.choice(("end", "lost"))))
        if self.kind == "slow" and self._rng.random() < 0.6:
            self._doze()
        if self._waiting is None:
            self._waiting = self.world.agenda.after(PATIENCE_NS, self._give_up)

    def _ask(self) -> Ask:
        world, number = self.world, self.world.next_number()
        if self.kind == "smuggling" and self._rng.random() < 0.5:
            return a_smuggled_ask(self._rng)
        if self.kind == "wrong" and self._rng.random() < 0.6:
            return a_wrong_ask(self._rng, world.features, number)
        return world.an_ask(number)

    def _send(self, data: bytes) -> None:
        if self.kind not in ("tearing", "dripping"):
            self._write(data)
            self._sent()
            return
        self._sending += data
        self._drip()

    def _drip(self) -> None:
        if self.left or self.over or not self._sending:
            return
        most, delay = (400, 20 * MILLISECOND) if self.kind == "tearing" else (40, 900 * MILLISECOND)
        length = self._rng.randrange(1, most)
        piece, self._sending = self._sending[:length], self._sending[length:]
        self._write(piece)
        if self._sending:
            self.world.agenda.after(self._rng.randrange(delay), self._drip)
        else:
            self._sent()

    def _sent(self) -> None:
        for ask in self.asks:
            if ask.sent_at < 0:
                ask.sent_at = self.world.agenda.now

    def _write(self, data: bytes) -> None:
        self.world.judge.say(self.name, f"sends {len(data)} bytes")
        try:
            self.end.write(data)
        except OSError:
            pass  # It hears of it soon.

    def _doze(self) -> None:
        """Read nothing for a while."""
        self.stopped_reading = True
        self.end.pause()
        long = self._rng.choice((100 * MILLISECOND, 3 * SECOND, 15 * SECOND))
        self.world.agenda.after(self._rng.randrange(long), self.end.resume)

    def leave(self, how: str) -> None:
        """Go: end, or break the connection."""
        if self.left or self.over:
            return
        self.left = how
        self.world.judge.say(self.name, f"leaves: {how}")
        if how == "end":
            self.end.finish()
            self.world.agenda.after(3 * SECOND, self.end.dispose)
        else:
            self.end.abort()
        self._done()

    def _give_up(self) -> None:
        self._waiting = None
        if self.over or self.left:
            return
        excused = self.stopped_reading or any(ask.sent_at < 0 for ask in self.asks)
        demand(excused, "no answer comes", f"{self.name} has waited for a minute")
        self.leave("lost")

    def _done(self) -> None:
        if self._waiting is not None:
            self._waiting.strike()
            self._waiting = None

    # ------------------------------------------------------------------------------------------------ reading

    def heard(self, data: bytes) -> None:
        """The gateway said something, or has ended."""
        if self.left:
            if not data:
                self.end.dispose()
            return
        if not data:
            self._closed()
            return
        if self._waiting is not None:
            self._waiting.strike()
            self._waiting = self.world.agenda.after(PATIENCE_NS, self._give_up)
        try:
            self._read(data)
        except h11.RemoteProtocolError as error:
            raise Violation("a client is told what is not HTTP", f"{self.name}: {error}") from error

    def _read(self, data: bytes) -> None:
        while data:
            peer = self._peer or self._begin()
            peer.receive_data(data)
            data = b""
            while True:
                event = peer.next_event()
                if isinstance(event, h11.Response):
                    self.answers.append(
                        Answer(self.asks[len(self.answers)], event.status_code, list(event.headers))
                    )
                elif isinstance(event, h11.Data):
                    self.answers[-1].body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    data = bytes(peer.trailing_data[0])
                    self._peer = None
                    self._answered(self.answers[-1])
                    break
                elif not isinstance(event, h11.InformationalResponse):
                    break

    def _begin(self) -> h11.Connection:
        at = len(self.answers)
        demand(at < len(self.asks), "an answer to nothing", self.name)
        demand(not (at and self.asks[at - 1].broken), "an answer behind broken framing", self.name)
        demand(
            not (at and self.asks[at - 1].closes), "an answer behind the end that was asked for", self.name
        )
        peer = self._peer = h11.Connection(h11.CLIENT)
        method = self.asks[at].method if self.asks[at].method in (b"GET", b"POST") else b"POST"
        peer.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"a")]))
        peer.send(h11.EndOfMessage())
        return peer

    def _answered(self, answer: Answer) -> None:
        answer.whole = True
        self.answered_at = self.world.agenda.now
        if answer.ask.sent_at < 0:
            # Refused before it was whole; nothing more of it is sent.
            answer.early = True
            answer.ask.sent_at = self.world.agenda.now
            self._sending = b""
            self._to_ask = len(self.asks)
        self.world.judge.say(self.name, f"has an answer: {answer.status}")
        self.world.reference.answered(self, answer)
        if self.kind == "slow" and self._rng.random() < 0.3:
            self._doze()
        if len(self.answers) == len(self.asks):
            self._done()
            if answer.header(b"connection") == "close" or answer.ask.closes:
                return  # The gateway closes.
            pause = self._rng.randrange(self._rng.choice((1, 200, 4000)) * MILLISECOND)
            self.world.agenda.after(pause, self._next)

    def _closed(self) -> None:
        """The gateway has ended its side."""
        self.ended_by_gateway = True
        self.over = True
        self._done()
        self.end.dispose()
        self.world.reference.closed(self, lost=False)

    def lost(self) -> None:
        """The connection broke."""
        if not self.left:
            self.over = True
            self._done()
            self.world.reference.closed(self, lost=True)

    def stalled(self) -> None:
        """The gateway takes nothing."""

    def drained(self) -> None:
        """It takes again."""

    @property
    def unanswered(self) -> list[Ask]:
        """What it has asked in vain."""
        return self.asks[sum(answer.whole for answer in self.answers) :]

    @property
    def half(self) -> Answer | None:
        """The answer that broke off."""
        return self.answers[-1] if self.answers and not self.answers[-1].whole else None
