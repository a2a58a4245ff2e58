"""Deeds: what befell each request, in the world and not in the gateway's words.

Whoever fails must fail for a reason, and it must be that one's own: that somewhere in the world a store was
slow explains nothing about a caller who never asked it. So here is kept, by request and by flight, who was
refused a lease and why, whom no store answered, whom the breaker gave no turn; and for all of them together,
when targets were left alone, when which flights were under way, and when the process began to drain.
"""

from typing import Final

import msgspec

from sim.violation import demand
from stargate_core.direction import Order
from stargate_core.messages import BreakerCommand, BreakerEvent, CallReported, Health, TellHealth, Trouble
from stargate_core.questions import Keys

NEVER: Final = 1 << 62
MICROSECOND: Final = 1_000


class Deeds(msgspec.Struct):
    """What befell one exchange, or one flight."""

    troubles: list[Trouble] = msgspec.field(default_factory=list)
    """Why it was refused leases."""
    unanswered: bool = False
    """A store gave it no answer."""
    turned_away: bool = False
    """The breaker gave it no turn."""
    paused: bool = False
    """It did not take the answer that it shared, for a while."""


class Flown(msgspec.Struct):
    """One flight. Times: monotonic nanoseconds."""

    number: int
    order: Order
    launched_at: int
    began: bool = False
    ended_at: int = NEVER
    cause: str = ""

    @property
    def name(self) -> str:
        """What its calls and deeds are kept under."""
        return flight_name(self.number)


def flight_name(number: int) -> str:
    """What a flight's calls and deeds are kept under."""
    return f"flight {number}"


class Witness:
    """Keeps all that."""

    def __init__(self) -> None:
        self.flown: dict[str, list[Flown]] = {}
        """By key, in the order of their launch."""
        self.flights: dict[int, Flown] = {}
        self.drained_at = NEVER
        self._keys: list[tuple[int, dict[str, bytes]]] = []
        """What the store has told of its keys, and when."""
        self._deeds: dict[str, Deeds] = {}
        self._open: dict[str, list[list[int]]] = {}
        """Of each target: from when until when it was left alone."""

    def of(self, request_id: str) -> Deeds:
        """What befell this one."""
        return self._deeds.get(request_id) or _NOTHING

    def note(self, request_id: str) -> Deeds:
        """The same, to be written to."""
        deeds = self._deeds.get(request_id)
        if deeds is None:
            deeds = self._deeds[request_id] = Deeds()
        return deeds

    # ---------------------------------------------------------------------------------------------- flights

    def launched(self, number: int, order: Order, now: int) -> None:
        """A flight begins."""
        flown = self.flights[number] = Flown(number, order, now)
        self.flown.setdefault(order.key, []).append(flown)

    def ended(self, number: int, cause: str, now: int) -> None:
        """A flight has reported its end."""
        flown = self.flights[number]
        flown.ended_at, flown.cause = now, cause

    def failed_with(self, key: str, cause: str, since: int, until: int) -> list[Flown]:
        """The flights for this key that failed so while somebody waited for one of them."""
        return [
            flown
            for flown in self.flown.get(key, ())
            if flown.cause == cause and since <= flown.ended_at and flown.launched_at <= until
        ]

    # -------------------------------------------------------------------------------------------------- keys

    def keys_read(self, now: int, keys: Keys) -> None:
        """The process has been told of the keys in the store."""
        self._keys.append((now, keys.entries))

    def opens(self, digest: str, at: int) -> set[bool]:
        """Whether a key was known to be good at this moment: both, if it has changed in that microsecond."""
        known: set[bool] = {False}
        for when, entries in self._keys:
            if when > at + MICROSECOND:
                break
            if when < at - MICROSECOND:
                known.clear()
            entry = entries.get(digest)
            known.add(entry is not None and b"revoked" not in entry)
        return known

    # ---------------------------------------------------------------------------------------------- breakers

    def judged(self, now: int, event: BreakerEvent, commands: list[BreakerCommand]) -> None:
        """The breaker has learned something, and says this."""
        for command in commands:
            if not isinstance(command, TellHealth):
                continue
            health = command.health
            spans = self._open.setdefault(health.target, [])
            if health.health is Health.OPEN:
                failed = isinstance(event, CallReported) and not event.ok and event.target == health.target
                demand(failed, "a target is left alone that has not failed", health.target)
                spans.append([now, NEVER])
            elif spans and spans[-1][1] == NEVER:
                spans[-1][1] = now

    def was_open(self, target: str, since: int, until: int) -> bool:
        """Whether a target was left alone at some time between these."""
        return any(begin <= until and since <= end for begin, end in self._open.get(target, ()))

    def were_open(self, model: str, since: int, until: int) -> set[str]:
        """Which targets of a model were."""
        return {
            name
            for name in self._open
            if (name == model or name.endswith(f"/{model}")) and self.was_open(name, since, until)
        }


_NOTHING: Final = Deeds()
