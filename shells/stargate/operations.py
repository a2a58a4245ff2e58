"""What a gateway's operator has beside it: metrics, the admin listener, traces.

All of it is made once, before workers are forked: they share the sockets of the admin listener, and the
memory in which each of them keeps its figures. `at` gives what runs beside the gateway of one worker.
"""

from collections.abc import Callable, Mapping

from stargate.admin.part import Admin, AdminSite
from stargate.observing.board import Boards
from stargate.observing.observer import Observer
from stargate.shell_common.beside import Beside, Together
from stargate_core.config.schema import Config


class Operations:
    """For all workers of a configuration. Raises CannotListen."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.boards: Boards | None = None
        """What workers count, where there is somebody to show it to."""
        self.admin: AdminSite | None = None
        if config.gateway.admin_listen is not None:
            self.boards = Boards(config.gateway.workers)
            self.admin = AdminSite(config, self.boards)

    def at(self, place: int) -> Beside | None:
        """What runs beside the gateway of the worker in this place, the first of which is 0."""
        parts: list[Beside] = []
        spans: Callable[[], Mapping[str, int]] = dict
        tracing = self._config.gateway.tracing
        if tracing is not None:
            from stargate.tracing.export import Traces  # An optional library, and a slow one to import.

            traces = Traces(tracing)
            parts.append(traces)
            spans = traces.statistics
        if self.boards is not None:
            parts.append(Observer(self.boards.at(place), spans))
        if self.admin is not None:
            parts.append(Admin(self.admin))
        return Together(parts) if parts else None
