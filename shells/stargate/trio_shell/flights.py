"""Flights: the cache's machine, and the calls it has made for several callers at once.

The cache (the core's cache.py) decides who gets which answer; here its orders are carried out. A flight is a
caller like a client, with the pool, the breaker and everything else a call needs, but without a connection of
its own: what it reports goes to the cache, and from there to everybody who follows.
"""

from typing import TYPE_CHECKING, Final, assert_never

from stargate.trio_shell.connections import Caller, Flyer
from stargate.trio_shell.enquiries import Enquiries
from stargate.trio_shell.ticker import Alarm, Ticker, now_ns
from stargate_core.direction import Order
from stargate_core.faults import Cause, Fault
from stargate_core.gateway.cache import Cache
from stargate_core.messages import (
    CacheEvent,
    EntryFound,
    FlightEnded,
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
    from stargate.trio_shell.gateway import Gateway

_TICKED: Final = Ticked()


class Flights:
    """Drives the cache and its flights."""

    def __init__(self, gateway: "Gateway", ticker: Ticker, enquiries: Enquiries, *, shared: bool) -> None:
        settings = gateway.plan.config.gateway.cache
        self._gateway = gateway
        self._enquiries = enquiries
        self._cache = Cache(
            bytes_max=settings.memory_bytes, entry_bytes_max=settings.max_entry_bytes, shared=shared
        )
        self._ticker = ticker
        self._alarm = Alarm(ticker, self._cache, lambda: gateway.tell_cache(_TICKED))
        self._callers: dict[int, Flyer] = {}

    def work(self, event: CacheEvent) -> None:
        """The cache learns a fact; what it orders is done. Called by the gateway, in the order of facts."""
        for command in self._cache.handle(now_ns(), event):
            match command:
                case TellAnswer(number, fact):
                    self._gateway.tell_answer(number, fact)
                case Launch(flight, order):
                    self._launch(flight, order)
                case Ground(flight):
                    caller = self._callers.get(flight)
                    if caller is not None:
                        self._gateway.tell(caller, Grounded())
                case HoldFlight(flight) | FreeFlight(flight):
                    caller = self._callers.get(flight)
                    if caller is not None:
                        caller.hold(isinstance(command, HoldFlight))
                case SeekEntry(key):
                    self._seek(key)
                case KeepEntry(key, value, ttl_us):
                    self._enquiries.tell(WriteEntry(key, value, ttl_us))
                case Note(level, text):
                    self._gateway.note(level, text)
                case _:
                    assert_never(command)
        self._alarm.arm()

    def statistics(self) -> dict[str, int]:
        """The cache's."""
        return self._cache.statistics()

    def broadcast(self, event: SessionEvent) -> None:
        """Tell every flight."""
        for caller in tuple(self._callers.values()):
            self._gateway.tell(caller, event)

    def land(self, caller: Caller) -> None:
        """A flight is over, or has failed by a bug of ours: its followers must not wait for it for ever."""
        number = next((number for number, one in self._callers.items() if one is caller), None)
        if number is None:
            return
        del self._callers[number]
        self._ticker.forget(caller)
        if caller.broken:
            fault = Fault(Cause.INTERNAL, detail="a flight failed by a bug of ours")
            self._gateway.tell_cache(FlightEnded(number, fault, worth_keeping=False))

    def _launch(self, number: int, order: Order) -> None:
        gateway = self._gateway
        flight = gateway.journals.flight(gateway.plan, order, number, now_ns())
        caller = self._callers[number] = Flyer(gateway, flight)
        gateway.admit(caller)
        gateway.tell(caller, _TICKED)  # Now it knows how things stand: let it begin.

    def _seek(self, key: str) -> None:
        def found(answer: StoreAnswer, _answered: bool) -> None:
            if isinstance(answer, Entry):
                self._gateway.tell_cache(EntryFound(key, answer.value, answer.age_us))
            else:
                self._gateway.tell_cache(EntryFound(key, None))

        self._enquiries.seek(ReadEntry(key), found)
