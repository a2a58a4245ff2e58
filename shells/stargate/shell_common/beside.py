"""What may run beside a gateway in its process: metrics, traces, the admin listener.

It is told of every exchange that is settled, at once and on the gateway's own loop, so it must take that as
a sink takes a line: quickly, into something bounded, and without ever failing. And it has a task of its own,
which runs from when the gateway accepts connections until the last of them has gone.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import anyio

from stargate.credentials import Keeper
from stargate.reloading import Reloader
from stargate.shell_common.channels import SelfEnding
from stargate.shell_common.lines import SinkState
from stargate_core.gateway.plan import Plan
from stargate_core.record import LogRecord


class Stated(Protocol):
    """A shell's sinks, as those beside it see them."""

    def statistics(self) -> list[SinkState]:
        """Each sink as it is at this moment, notes included."""
        ...


class Served(Protocol):
    """A shell's gateway, as those beside it see it."""

    plan: Plan

    @property
    def sinks(self) -> Stated:
        """Where log lines and notes go."""
        ...

    def attend(self, channel: SelfEnding, address: str) -> None:
        """Serve a connection in memory. Raises RuntimeError when the gateway is closed."""
        ...

    def statistics(self) -> dict[str, int]:
        """How much of everything there is at this moment."""
        ...


class Running:
    """A gateway that runs. reloader: None where its configuration comes from no file."""

    def __init__(
        self,
        gateway: Served,
        keeper: Keeper,
        reloader: Reloader | None,
        note: Callable[[str, str], None],
    ) -> None:
        self.gateway = gateway
        self.keeper = keeper
        self.reloader = reloader
        self.note = note
        """Tells the operator something, by level and text."""


class Beside(Protocol):
    """What runs beside it."""

    def observe(self, record: LogRecord) -> None:
        """An exchange is settled. Returns at once, and never raises."""
        ...

    async def run(self, running: Running) -> None:
        """Run until cancelled."""
        ...


def observe_nothing(record: LogRecord) -> None:
    """Nobody watches."""


class Together:
    """Several of them, as one."""

    def __init__(self, parts: Sequence[Beside]) -> None:
        self._parts = tuple(parts)

    def observe(self, record: LogRecord) -> None:
        """Each is told."""
        for part in self._parts:
            part.observe(record)

    async def run(self, running: Running) -> None:
        """All of them run."""
        async with anyio.create_task_group() as group:
            for part in self._parts:
                group.start_soon(part.run, running)
