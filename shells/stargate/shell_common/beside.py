"""What may run beside a gateway in its process: metrics, traces, the admin listener.

It is told of every exchange that is settled, at once and on the gateway's own loop, so it must take that as
a sink takes a line: quickly, into something bounded, and without ever failing. And it has a task of its own,
which runs from when the gateway accepts connections until the last of them has gone.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import anyio

from stargate.credentials import Keeper
from stargate.journals import Journals
from stargate.reloading import Reloader
from stargate.shell_common.channels import SelfEnding
from stargate.shell_common.levels import Levels
from stargate.shell_common.lines import SinkState
from stargate.shell_common.standing import Standing
from stargate_core.gateway.plan import Plan
from stargate_core.messages import HealthChanged, Publish
from stargate_core.record import LogRecord
from stargate_core.spans import Span


class Stated(Protocol):
    """A shell's sinks, as those beside it see them."""

    def statistics(self) -> list[SinkState]:
        """Each sink as it is at this moment, notes included."""
        ...


class Asked(Protocol):
    """A shell's enquiries, as those beside it see them."""

    levels: Levels | None
    """What stores have said of limits; None where the plan says that nobody watches."""

    def targets(self) -> list[HealthChanged]:
        """What the breaker says of each target that it knows."""
        ...

    def store(self) -> dict[str, int]:
        """The statistics of the store that is asked."""
        ...


class Flying(Protocol):
    """A shell's flights, as those beside it see them."""

    def statistics(self) -> dict[str, int]:
        """The cache's."""
        ...


class Talking(Protocol):
    """A client's connection, as those beside the gateway see it."""

    @property
    def busy(self) -> bool:
        """Whether a request of it is being answered."""
        ...


class Served(Protocol):
    """A shell's gateway, as those beside it see it."""

    plan: Plan
    standing: Standing
    """What everybody has been told."""
    journals: Journals

    @property
    def clients(self) -> Collection[Talking]:
        """Those that are connected."""
        ...

    @property
    def enquiries(self) -> Asked:
        """Who answers what requests ask."""
        ...

    @property
    def flights(self) -> Flying:
        """Calls whose answers are shared."""
        ...

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

    def trace(self, spans: Sequence[Span]) -> None:
        """An exchange that is sampled is settled: its spans. Returns at once, and never raises."""
        ...

    async def run(self, running: Running) -> None:
        """Run until cancelled."""
        ...


def tell_nobody(settled: Publish) -> None:
    """Nobody watches."""


def telling(beside: Beside) -> Callable[[Publish], None]:
    """How it is told of a settled exchange."""
    observe, trace = beside.observe, beside.trace

    def tell(settled: Publish) -> None:
        observe(settled.record)
        if settled.spans:
            trace(settled.spans)

    return tell


class Together:
    """Several of them, as one."""

    def __init__(self, parts: Sequence[Beside]) -> None:
        self._parts = tuple(parts)

    def observe(self, record: LogRecord) -> None:
        """Each is told."""
        for part in self._parts:
            part.observe(record)

    def trace(self, spans: Sequence[Span]) -> None:
        """Each is told."""
        for part in self._parts:
            part.trace(spans)

    async def run(self, running: Running) -> None:
        """All of them run."""
        async with anyio.create_task_group() as group:
            for part in self._parts:
                group.start_soon(part.run, running)
