"""Flights in a world: the twin of trio_shell/flights.py, without journals."""

from typing import TYPE_CHECKING, Final, assert_never

from sim.agenda import Item
from sim.callers import Caller, Flyer
from stargate_core.direction import Order
from stargate_core.gateway.cache import Cache
from stargate_core.gateway.flight import Flight
from stargate_core.messages import (
    CacheEvent,
    EntryFound,
    FreeFlight,
    Ground,
    Grounded,
    HoldFlight,
    KeepEntry,
    Launch,
    Note,
    SeekEntry,
    SessionEvent,
    TellAnswer,
    Ticked,
)
from stargate_core.questions import Entry, ReadEntry, StoreAnswer, WriteEntry

if TYPE_CHECKING:
    from sim.shell import Shell

_TICKED: Final = Ticked()


class Flights:
    """Drives the cache and its flights."""

    def __init__(self, shell: "Shell", *, shared: bool) -> None:
        settings = shell.plan.config.gateway.cache
        self._shell = shell
        self.cache = Cache(
            bytes_max=settings.memory_bytes, entry_bytes_max=settings.max_entry_bytes, shared=shared
        )
        self.armed: Item | None = None
        self.callers: dict[int, Flyer] = {}

    @property
    def deadline(self) -> int | None:
        """The cache's."""
        return self.cache.deadline

    def tick(self) -> None:
        """Its time has come."""
        self._shell.tell_cache(_TICKED)

    def work(self, event: CacheEvent) -> None:
        """The cache learns a fact; what it orders is done."""
        shell = self._shell
        for command in shell.judge.cache_heard(self.cache, shell.agenda.now, event):
            match command:
                case TellAnswer(number, fact):
                    shell.tell_answer(number, fact)
                case Launch(flight, order):
                    self._launch(flight, order)
                case Ground(flight):
                    caller = self.callers.get(flight)
                    if caller is not None:
                        shell.tell(caller, Grounded())
                case HoldFlight(flight) | FreeFlight(flight):
                    caller = self.callers.get(flight)
                    if caller is not None:
                        caller.hold(isinstance(command, HoldFlight))
                case SeekEntry(key):
                    self._seek(key)
                case KeepEntry(key, value, ttl_us):
                    shell.enquiries.tell(WriteEntry(key, value, ttl_us))
                case Note(level, text):
                    shell.note(level, text)
                case _:
                    assert_never(command)
        shell.arm(self)

    def broadcast(self, event: SessionEvent) -> None:
        """Tell every flight."""
        for caller in tuple(self.callers.values()):
            self._shell.tell(caller, event)

    def land(self, caller: Caller) -> None:
        """A flight is over."""
        number = next((number for number, one in self.callers.items() if one is caller), None)
        if number is None:
            return
        del self.callers[number]
        self._shell.forget(caller)

    def _launch(self, number: int, order: Order) -> None:
        shell = self._shell
        flight = Flight(
            shell.plan,
            order,
            flight=number,
            wall_epoch_ns=shell.wall_epoch_ns,
            seed=shell.seed(),
            now=shell.agenda.now,
        )
        caller = self.callers[number] = Flyer(shell, flight, number)
        shell.judge.launched(caller, order)
        shell.admit(caller)
        shell.tell(caller, _TICKED)

    def _seek(self, key: str) -> None:
        def found(answer: StoreAnswer, _answered: bool) -> None:
            if isinstance(answer, Entry):
                self._shell.tell_cache(EntryFound(key, answer.value, answer.age_us))
            else:
                self._shell.tell_cache(EntryFound(key, None))

        self._shell.enquiries.seek(ReadEntry(key), found)
