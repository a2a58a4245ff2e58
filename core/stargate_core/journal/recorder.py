"""The recorder: any machine, behind the same two members, and its life beside it.

Whether a machine is recorded is its shell's choice, made once when it makes the machine, so nothing is paid
where nobody records. What is recorded is what `handle` was called with and what it returned: there is no
other way in or out of a machine.

A session is recorded request by request. Between two requests it is worth nothing to anybody, so there its
life is over: what was recorded is given to whoever asked, and the next one begins at a checkpoint, with the
next event. A connection that idles holds nothing.

A machine that fails by a bug of ours ends its life with that event, and the exception goes on to the shell.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from stargate_core.gateway.checkpoint import checkpoint
from stargate_core.gateway.flight import Flight
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.session import Closed, Session, Waiting
from stargate_core.journal.format import Beginning, SessionBeginning
from stargate_core.journal.lives import Life, Ring
from stargate_core.journal.machines import Machine
from stargate_core.messages import FlightCommand, FlightEvent, Reconfigured, SessionCommand, SessionEvent

Ended: TypeAlias = Callable[[Life], None]
"""Told of a life that is over. It does not count for the ring any more."""

_OVER: Final[frozenset[type]] = frozenset({Waiting, Closed})


class Recorder:
    """A machine that is recorded from its beginning on; `life` is what there is of it."""

    def __init__(
        self, machine: Machine, beginning: Beginning, ring: Ring, *, now: int, plan: Plan | None = None
    ) -> None:
        self.machine = machine
        configs = {} if plan is None else {plan.generation: plan.config}
        self.life = Life(beginning, now, ring, configs)

    def handle(self, now: int, event: Any) -> list[Any]:
        """Tell the machine, and keep it."""
        try:
            commands = self.machine.handle(now, event)
        except Exception as error:
            self.life.raised = type(error).__name__
            self.life.add(now, event, ())
            raise
        self.life.add(now, event, commands)
        return commands

    @property
    def deadline(self) -> int | None:
        """The machine's."""
        return self.machine.deadline


class FlightRecorder:
    """A flight that is recorded: its life is in the ring from its launch on."""

    __slots__ = ("_ended", "_landed", "_ring", "flight", "life")

    def __init__(self, flight: Flight, beginning: Beginning, ring: Ring, ended: Ended, *, now: int) -> None:
        self.flight = flight
        self.life = Life(beginning, now, ring, {flight.plan.generation: flight.plan.config})
        self._ring = ring
        self._ended = ended
        self._landed = False
        ring.launch(self.life)

    def handle(self, now: int, event: FlightEvent) -> list[FlightCommand]:
        """Tell the flight, and keep it."""
        flight, life = self.flight, self.life
        if self._landed:
            return flight.handle(now, event)
        try:
            commands = flight.handle(now, event)
        except Exception as error:
            life.raised = type(error).__name__
            life.add(now, event, ())
            self._land()
            raise
        life.add(now, event, commands)
        if flight.closed:
            self._land()
        return commands

    @property
    def deadline(self) -> int | None:
        """The flight's."""
        return self.flight.deadline

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self.flight.closed

    @property
    def busy(self) -> bool:
        """Whether its call is being answered."""
        return self.flight.busy

    def _land(self) -> None:
        self._landed = True
        self.life.failed = self.flight.failed
        self._ring.land(self.life)
        self._ended(self.life)


class SessionRecorder:
    """A session that is recorded, from one quiet point to the next. plans: those `Reconfigured` may name."""

    __slots__ = ("_ended", "_life", "_plans", "_ring", "session")

    def __init__(self, session: Session, plans: Mapping[int, Plan], ring: Ring, ended: Ended) -> None:
        self.session = session
        self._plans = plans
        self._ring = ring
        self._ended = ended
        self._life: Life | None = None

    def handle(self, now: int, event: SessionEvent) -> list[SessionCommand]:
        """Tell the session, and keep it."""
        session, life = self.session, self._life
        if life is None:
            if session.closed:
                return session.handle(now, event)
            life = self._life = self._begin(now)
        if isinstance(event, Reconfigured):
            life.configs[event.generation] = self._plans[event.generation].config
        try:
            commands = session.handle(now, event)
        except Exception as error:
            life.raised = type(error).__name__
            life.add(now, event, ())
            self._end(life)
            raise
        life.add(now, event, commands)
        if session.state.__class__ in _OVER:
            self._end(life)
        return commands

    @property
    def deadline(self) -> int | None:
        """The session's."""
        return self.session.deadline

    @property
    def closed(self) -> bool:
        """Whether the session is over."""
        return self.session.closed

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self.session.busy

    def _begin(self, now: int) -> Life:
        session = self.session
        plan = session.plan
        beginning = SessionBeginning(checkpoint(session))
        return Life(beginning, now, self._ring, {plan.generation: plan.config})

    def _end(self, life: Life) -> None:
        """A quiet point, or the end: if there was a request in it, somebody may want to have it."""
        session = self.session
        self._life = None
        life.let_go()
        assert isinstance(life.beginning, SessionBeginning)
        if life.raised or session.chance.count > life.beginning.checkpoint.drawn:
            life.failed, session.failed = session.failed, None
            self._ended(life)
