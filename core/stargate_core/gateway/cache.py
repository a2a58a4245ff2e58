"""The response cache: who is given a kept answer, who waits for whose call, and what is kept.

One cache serves all sessions of a process. It stands at Bedrock's side of the translation: what it keeps and
shares is Bedrock's own answer (`cache_entries.py`), and each exchange runs its own translator over it, so
that ids, hooks, usage and the invariants of a stream are what they are without a cache.

A call that is to be shared is made by a *flight* (`flight.py`), a machine of its own without a client.
Those who wait for it *follow* it, the one for whom it was launched like all others: so nobody's leaving,
slowness or time limit can hurt the rest. A follower that comes late gets what has come so far in one piece,
then live.

In this order: a kept answer that is young enough; a flight for the same key that is under way; a look into
the shared store, where there is one (others who ask meanwhile wait with it, 100 ms at most, for a store that
is slow must cost less than it saves); a flight.

*A failed leader poisons nobody.* A flight that fails before it has begun, by no fault of the call's own, ends
the wait of the first in line only; another flight is launched for the rest, twice at most: three calls that
fail in a row are news about Bedrock, not about somebody's luck. What has begun and fails, fails for all who
have had a part of it: no other answer would go on where this one broke off.

*What is kept* is whole, a success and worth keeping; never an error, a cut stream, a refusal. Of two flights
for one key the newer one's answer is kept: it is there because somebody wanted a newer one. With a shared
store nothing is kept in memory as well: an answer that another process has replaced since would hide behind
it, and the operator who empties the store expects that to be all.

*Bounds.* Pieces of a flight are held once, however many follow. An answer that outgrows `entry_bytes_max`
goes on for those who follow it, but nobody may join any more, it is not kept, and what all have had is
dropped; a follower who has paused may fall as many bytes behind, and then fails. Entries and flights together
hold `bytes_max`: entries make room first, being a mere saving; then the flight that holds most gives up
being joined, and in the end those who keep it from dropping what the others have had.

*A flight that nobody takes anything of is held*: as long as all its followers have paused, its upstream is
not read, and TCP slows Bedrock down, as it does where a call is not shared.

*A flight whose last follower leaves is grounded*: Bedrock need not finish what nobody reads. Where it turns
out to have been whole already, it is kept all the same.
"""

from collections.abc import Iterable
from typing import Final

from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.direction import Order
from stargate_core.faults import Blame, Cause, Fault
from stargate_core.gateway.cache_entries import VERSION, Entries, Entry, pack, unpack
from stargate_core.messages import (
    AnswerBegan,
    AnswerEnded,
    AnswerFailed,
    AnswerOrdered,
    AnswerPaused,
    AnswerResumed,
    AnswerSent,
    AnswerUnwanted,
    CacheCommand,
    CacheEvent,
    EntryFound,
    FlightBegan,
    FlightEnded,
    FlightSent,
    FreeFlight,
    Ground,
    HoldFlight,
    KeepEntry,
    Launch,
    Note,
    SeekEntry,
    Source,
    TellAnswer,
    Ticked,
)

SEEK_NS: Final = 100 * MILLISECOND
"""How long the shared store may take; after that there is nothing in it."""
RELAUNCHES_MAX: Final = 2
"""Further flights for those who waited for one that failed before it had begun."""
PIECE_BYTES: Final = 64
"""What a piece of a flight costs beside its bytes."""

_BEHIND: Final = Fault(
    Cause.CLIENT_TOO_SLOW,
    message="The answer was taken too slowly: the rest of it is not kept any longer",
    detail="fell too far behind a shared answer",
)


class _Follower:
    """Somebody who waits for an answer, or is being told it."""

    __slots__ = ("flight", "live", "order", "paused", "piece", "source", "taken", "ticket", "told")

    def __init__(self, ticket: int, order: Order) -> None:
        self.ticket = ticket
        self.order = order
        self.flight: _Flight | None = None
        """None: it waits with a look into the store."""
        self.source = Source.JOINED
        self.told = False
        """It knows that the answer has begun."""
        self.paused = False
        self.live = False
        """It has had all that has come, and gets the next piece when that comes."""
        self.piece = 0
        """While it is not live: the number of the first piece it has not had, and the bytes it has had."""
        self.taken = 0


class _Flight:
    """A call that is being made, or that has ended and not all have had it yet."""

    __slots__ = (
        "began",
        "dropped",
        "ended",
        "followers",
        "grounded",
        "held",
        "is_held",
        "keepable",
        "number",
        "order",
        "outgrown",
        "pieces",
        "relaunches",
        "total",
    )

    def __init__(self, number: int, order: Order, relaunches: int) -> None:
        self.number = number
        self.order = order
        self.relaunches = relaunches
        """How many flights have failed for this one's followers."""
        self.followers: dict[int, _Follower] = {}
        """By ticket, in the order they came."""
        self.began: FlightBegan | None = None
        self.ended: FlightEnded | None = None
        self.grounded = False
        self.is_held = False
        """All its followers have paused, and so has it."""
        self.keepable = True
        """No newer flight has been launched for the key, and it has not outgrown the bound."""
        self.outgrown = False
        self.pieces: list[bytes] = []
        self.dropped = 0
        """How many pieces came before those."""
        self.held = 0
        """What the pieces cost, in bytes."""
        self.total = 0
        """The bytes that have come, dropped ones included."""


class _Seek:
    """A look into the shared store, and who waits for it."""

    __slots__ = ("followers", "give_up_at")

    def __init__(self, give_up_at: int) -> None:
        self.followers: dict[int, _Follower] = {}
        self.give_up_at = give_up_at


class Cache:
    """Keeps answers, and lets calls be shared.

    bytes_max: of all that is held in memory. entry_bytes_max: of the body of one answer. shared: there is a
    store behind it, which answers `SeekEntry` with `EntryFound`.
    """

    def __init__(self, *, bytes_max: int, entry_bytes_max: int, shared: bool) -> None:
        self._bytes_max = bytes_max
        self._entry_bytes_max = entry_bytes_max
        self._shared = shared
        self._entries = Entries()
        self._followers: dict[int, _Follower] = {}
        """Everybody who waits or is being told, by ticket."""
        self._flights: dict[int, _Flight] = {}
        """All that are in the air, or not yet read to their end."""
        self._open: dict[str, _Flight] = {}
        """By key: the flights that may be joined."""
        self._seeks: dict[str, _Seek] = {}
        """By key, in the order they began: they all take the same time."""
        self._flying = 0
        """What the pieces of all flights cost."""
        self._launched = 0

    # -------------------------------------------------------------------------------------------- the machine

    def handle(self, now: int, event: CacheEvent) -> list[CacheCommand]:
        """Take in a fact; what is to be done about it, in this order."""
        out: list[CacheCommand] = []
        match event:
            case FlightSent(number, data):
                self._sent(number, data, out)
            case AnswerOrdered(ticket, order):
                self._ordered(now, ticket, order, out)
            case AnswerUnwanted(ticket):
                self._unwanted(ticket, out)
            case AnswerPaused(ticket):
                self._paused(ticket, out)
            case AnswerResumed(ticket):
                self._resumed(ticket, out)
            case FlightBegan():
                self._began(event, out)
            case FlightEnded():
                self._ended(now, event, out)
            case EntryFound(key, value, age_us):
                self._found(key, value, age_us, out)
            case Ticked():
                self._ticked(now, out)
        return out

    @property
    def deadline(self) -> int | None:
        """When a look into the store has taken too long; None: there is none."""
        for seek in self._seeks.values():
            return seek.give_up_at
        return None

    @property
    def held_bytes(self) -> int:
        """What entries and flights hold together; never more than `bytes_max` between two events."""
        return self._entries.size + self._flying

    def statistics(self) -> dict[str, int]:
        """How many entries, flights and followers there are, and what is held for them."""
        return {
            "entries": len(self._entries),
            "flights": len(self._flights),
            "followers": len(self._followers),
            "held_bytes": self.held_bytes,
        }

    # ------------------------------------------------------------------------------------------------- orders

    def _ordered(self, now: int, ticket: int, order: Order, out: list[CacheCommand]) -> None:
        assert ticket not in self._followers, "a ticket is used twice"
        follower = _Follower(ticket, order)
        sharing = order.sharing
        if sharing.max_age_us > 0 and not self._shared:
            found = self._entries.find(order.key, now)
            if found is not None and found[1] // 1000 <= sharing.max_age_us:
                _tell_kept(follower, found[0], found[1] // SECOND, out)
                return
        self._followers[ticket] = follower
        joins = sharing.share and order.key in self._open
        if self._shared and sharing.max_age_us > 0 and not joins:
            self._seek(now, follower, out)
        else:
            self._follow(follower, out)

    def _seek(self, now: int, follower: _Follower, out: list[CacheCommand]) -> None:
        """Look into the store, or wait with those who do."""
        key = follower.order.key
        seek = self._seeks.get(key)
        if seek is None:
            seek = self._seeks[key] = _Seek(now + SEEK_NS)
            out.append(SeekEntry(key))
        seek.followers[follower.ticket] = follower

    def _follow(self, follower: _Follower, out: list[CacheCommand], relaunches: int = 0) -> None:
        """Join the flight that is under way, or launch one."""
        order = follower.order
        flight = self._open.get(order.key) if order.sharing.share else None
        if flight is None:
            flight = self._launch(order, relaunches, out)
        follower.flight = flight
        flight.followers[follower.ticket] = follower
        if flight.began is not None:
            self._catch_up(flight, follower, out)
        self._hold_or_free(flight, out)

    def _launch(self, order: Order, relaunches: int, out: list[CacheCommand]) -> _Flight:
        older = self._open.get(order.key)
        if older is not None:
            older.keepable = False
        self._launched += 1
        flight = _Flight(self._launched, order, relaunches)
        self._flights[flight.number] = self._open[order.key] = flight
        out.append(Launch(flight.number, order))
        return flight

    def _unwanted(self, ticket: int, out: list[CacheCommand]) -> None:
        follower = self._followers.pop(ticket, None)
        if follower is None:
            return  # It has had its end already.
        flight = follower.flight
        if flight is None:
            key = follower.order.key
            del self._seeks[key].followers[ticket]
            if not self._seeks[key].followers:
                del self._seeks[key]
        else:
            del flight.followers[ticket]
            self._settle(flight, out)

    def _paused(self, ticket: int, out: list[CacheCommand]) -> None:
        follower = self._followers.get(ticket)
        if follower is None or follower.paused:
            return
        follower.paused = True
        flight = follower.flight
        if flight is None:
            return
        if follower.live:
            follower.live = False
            follower.piece, follower.taken = flight.dropped + len(flight.pieces), flight.total
        self._hold_or_free(flight, out)

    def _resumed(self, ticket: int, out: list[CacheCommand]) -> None:
        follower = self._followers.get(ticket)
        if follower is None or not follower.paused:
            return
        follower.paused = False
        flight = follower.flight
        if flight is None:
            return
        if flight.began is not None:
            self._catch_up(flight, follower, out)
        self._settle(flight, out)

    # -------------------------------------------------------------------------------------------------- seeks

    def _found(self, key: str, value: bytes | None, age_us: int, out: list[CacheCommand]) -> None:
        seek = self._seeks.pop(key, None)
        if seek is None:
            return  # It has come too late, or everybody has left.
        entry = None if value is None else unpack(value)
        if value is not None and entry is None:
            out.append(Note("warning", f"an entry of the response cache could not be read: {key}"))
        for follower in seek.followers.values():
            if entry is not None and age_us <= follower.order.sharing.max_age_us:
                del self._followers[follower.ticket]
                _tell_kept(follower, entry, age_us // 1_000_000, out)
            else:
                self._follow(follower, out)

    def _ticked(self, now: int, out: list[CacheCommand]) -> None:
        for key, seek in tuple(self._seeks.items()):
            if seek.give_up_at > now:
                break
            del self._seeks[key]
            for follower in seek.followers.values():
                self._follow(follower, out)

    # ------------------------------------------------------------------------------------------------ flights

    def _began(self, event: FlightBegan, out: list[CacheCommand]) -> None:
        flight = self._flights.get(event.flight)
        if flight is None or flight.ended is not None:
            return
        assert flight.began is None, "a flight begins twice"
        flight.began = event
        source = Source.MADE
        for follower in flight.followers.values():
            # Of those who were there before it began, the first in line is the one it is made for.
            follower.source, source = source, Source.JOINED
            self._catch_up(flight, follower, out)

    def _sent(self, number: int, data: bytes, out: list[CacheCommand]) -> None:
        flight = self._flights.get(number)
        if flight is None or flight.ended is not None or not data:
            return
        assert flight.began is not None, "a flight sends before it begins"
        for ticket, follower in flight.followers.items():
            if follower.live:
                out.append(TellAnswer(ticket, AnswerSent(ticket, data)))
        cost = len(data) + PIECE_BYTES
        flight.pieces.append(data)
        flight.total += len(data)
        flight.held += cost
        self._flying += cost
        if flight.outgrown:
            self._trim(flight, out)
        elif flight.total > self._entry_bytes_max:
            self._outgrow(flight, out)
        self._make_room(out)

    def _ended(self, now: int, event: FlightEnded, out: list[CacheCommand]) -> None:
        flight = self._flights.get(event.flight)
        if flight is None or flight.ended is not None:
            return
        flight.ended = event
        self._shut(flight)
        began = flight.began
        if began is None:
            assert event.fault is not None, "a flight ends well before it begins"
            self._failed(flight, event, event.fault, out)
            return
        if event.fault is None and event.worth_keeping and flight.keepable:
            self._keep(now, flight, began, out)
        for follower in tuple(flight.followers.values()):
            self._catch_up(flight, follower, out)
        self._settle(flight, out)
        self._make_room(out)

    def _failed(self, flight: _Flight, event: FlightEnded, fault: Fault, out: list[CacheCommand]) -> None:
        """It has failed before it had begun: the first in line is told so, or all are."""
        followers = tuple(flight.followers.values())
        flight.followers.clear()
        self._settle(flight, out)
        again = fault.row.blame is Blame.UPSTREAM and flight.relaunches < RELAUNCHES_MAX
        told = followers[:1] if again else followers
        for follower in told:
            self._fail(follower, fault, event.attempts, out)
        for follower in followers[len(told) :]:
            self._follow(follower, out, flight.relaunches + 1)

    def _keep(self, now: int, flight: _Flight, began: FlightBegan, out: list[CacheCommand]) -> None:
        order = flight.order
        ttl_us = order.sharing.ttl_us
        if ttl_us <= 0:
            return
        entry = Entry(VERSION, began.target, began.headers, b"".join(flight.pieces))
        if self._shared:
            out.append(KeepEntry(order.key, pack(entry), ttl_us))
        else:
            self._entries.keep(order.key, entry, now, ttl_us * 1000)

    def _catch_up(self, flight: _Flight, follower: _Follower, out: list[CacheCommand]) -> None:
        """Tell a follower all it has not been told yet, if it takes anything at the moment."""
        if follower.paused:
            return
        began, ticket = flight.began, follower.ticket
        assert began is not None
        if not follower.told:
            follower.told = True
            told = AnswerBegan(ticket, follower.source, began.headers, 0, began.target, began.attempts)
            out.append(TellAnswer(ticket, told))
        if not follower.live and follower.taken < flight.total:
            missed = flight.pieces[follower.piece - flight.dropped :]
            out.append(TellAnswer(ticket, AnswerSent(ticket, b"".join(missed))))
        follower.live = True
        ended = flight.ended
        if ended is None:
            return
        if ended.fault is not None:
            self._fail(follower, ended.fault, ended.attempts, out)
        else:
            self._forget(follower)
            out.append(TellAnswer(ticket, AnswerEnded(ticket)))

    def _fail(
        self, follower: _Follower, fault: Fault, attempts: tuple[str, ...], out: list[CacheCommand]
    ) -> None:
        self._forget(follower)
        ticket = follower.ticket
        out.append(TellAnswer(ticket, AnswerFailed(ticket, fault, attempts)))

    def _forget(self, follower: _Follower) -> None:
        """It has had its end."""
        assert follower.flight is not None
        del self._followers[follower.ticket]
        follower.flight.followers.pop(follower.ticket, None)

    def _settle(self, flight: _Flight, out: list[CacheCommand]) -> None:
        """Followers may have gone: drop what nobody needs any more, the flight itself included."""
        if not flight.followers:
            if flight.ended is not None:
                del self._flights[flight.number]
                self._flying -= flight.held
                return
            flight.grounded = True
            self._shut(flight)
            out.append(Ground(flight.number))
        self._hold_or_free(flight, out)
        if flight.outgrown:
            self._trim(flight, out)

    def _hold_or_free(self, flight: _Flight, out: list[CacheCommand]) -> None:
        """Let it wait while all its followers do."""
        if flight.ended is not None or flight.grounded:
            return
        nobody_takes = all(follower.paused for follower in flight.followers.values())
        if nobody_takes is not flight.is_held:
            flight.is_held = nobody_takes
            out.append(HoldFlight(flight.number) if nobody_takes else FreeFlight(flight.number))

    def _shut(self, flight: _Flight) -> None:
        """Nobody joins it any more."""
        if self._open.get(flight.order.key) is flight:
            del self._open[flight.order.key]

    # ------------------------------------------------------------------------------------------------- bounds

    def _outgrow(self, flight: _Flight, out: list[CacheCommand]) -> None:
        """Too much to keep."""
        flight.outgrown = True
        flight.keepable = False
        self._shut(flight)
        self._trim(flight, out)

    def _trim(self, flight: _Flight, out: list[CacheCommand]) -> None:
        """Drop the pieces that all have had, and those who make too many wait."""
        behind = [follower for follower in flight.followers.values() if not follower.live]
        late = [f for f in behind if flight.total - f.taken > self._entry_bytes_max]
        if late:
            self._give_up(flight, late, out)
            return
        end = flight.dropped + len(flight.pieces)
        count = min((follower.piece for follower in behind), default=end) - flight.dropped
        freed = sum(len(piece) + PIECE_BYTES for piece in flight.pieces[:count])
        del flight.pieces[:count]
        flight.dropped += count
        flight.held -= freed
        self._flying -= freed

    def _give_up(self, flight: _Flight, late: Iterable[_Follower], out: list[CacheCommand]) -> None:
        """These get no more of it."""
        for follower in late:
            self._fail(follower, _BEHIND, (), out)
        self._settle(flight, out)

    def _make_room(self, out: list[CacheCommand]) -> None:
        """Keep the bound on all that is held."""
        while self.held_bytes > self._bytes_max:
            if self._entries.evict():
                continue
            flight = max(self._flights.values(), key=_held)
            if not flight.outgrown:
                self._outgrow(flight, out)
            else:
                self._give_up(flight, [f for f in flight.followers.values() if not f.live], out)


def _held(flight: _Flight) -> int:
    return flight.held


def _tell_kept(follower: _Follower, entry: Entry, age_seconds: int, out: list[CacheCommand]) -> None:
    """A kept answer, in one piece: it is held in any case, so a pause would save nothing."""
    ticket = follower.ticket
    began = AnswerBegan(ticket, Source.KEPT, entry.headers, age_seconds, entry.target)
    out.append(TellAnswer(ticket, began))
    if entry.body:
        out.append(TellAnswer(ticket, AnswerSent(ticket, entry.body)))
    out.append(TellAnswer(ticket, AnswerEnded(ticket)))
