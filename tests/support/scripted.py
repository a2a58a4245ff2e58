"""A gateway of this process without sockets, and machines that do as a test says: what a shell makes of
commands, and in which order it brings facts.
"""

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import trio

from stargate.trio_shell.connections import Caller
from stargate.trio_shell.gateway import Gateway
from stargate.trio_shell.sinks import Sinks
from stargate_core.config.schema import Config
from stargate_core.messages import FlightCommand
from support.machines import a_plan


class Scripted:
    """A session or a flight that notes what it is told. answers: what it orders for each fact."""

    def __init__(self, answers: Callable[[Any], Sequence[FlightCommand]] = lambda _: ()) -> None:
        self.heard: list[Any] = []
        self.deadline: int | None = None
        self.closed = False
        self.busy = False
        self._answers = answers

    def handle(self, now: int, event: Any) -> Sequence[FlightCommand]:
        """Note it, and do as the script says."""
        self.heard.append(event)
        return self._answers(event)

    def names(self) -> list[str]:
        """What it was told, by type."""
        return [type(event).__name__ for event in self.heard]


class NotingSinks(Sinks):
    """Sinks that keep what the operator is told."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self.notes: list[tuple[str, str]] = []

    def note(self, level: str, text: str) -> None:
        """Keep it."""
        self.notes.append((level, text))


class Bare:
    """A gateway that nobody can connect to."""

    def __init__(self, gateway: Gateway, sinks: NotingSinks) -> None:
        self.gateway = gateway
        self.notes = sinks.notes

    def join(self, machine: Scripted) -> Caller:
        """This machine is a client's session from now on, and learns how things stand."""
        caller = Caller(self.gateway, machine)
        self.gateway.clients.add(caller)  # type: ignore[arg-type]
        self.gateway.admit(caller)
        return caller


@contextlib.asynccontextmanager
async def bare_gateway(config: Config | None = None) -> AsyncGenerator[Bare]:
    """A gateway on the clock of the test, with nothing but its own memory."""

    def no_tls(_: Any) -> Any:
        raise AssertionError

    async with trio.open_nursery() as nursery:
        sinks = NotingSinks(nursery)
        yield Bare(Gateway(a_plan(config), nursery, sinks=sinks, tls=no_tls), sinks)
        nursery.cancel_scope.cancel()
