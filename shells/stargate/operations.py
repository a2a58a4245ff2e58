"""What a gateway's operator has beside it: metrics, the admin listener, traces.

All of it is made once, before workers are forked: they share the sockets of the admin listener, and the
memory in which each of them keeps its figures. `at` gives what runs beside the gateway of one worker.
"""

import os

import anyio
import msgspec

from stargate.admin.part import Admin, AdminSite
from stargate.observing.board import Board, Boards
from stargate.shell_common.beside import Beside, Running, Together
from stargate_core.config.schema import Config
from stargate_core.record import LogRecord


class Counts:
    """What a worker's settlements are counted on."""

    def __init__(self, boards: Boards, place: int) -> None:
        self._boards = boards
        self._place = place
        self._board: Board | None = None

    def observe(self, record: LogRecord) -> None:
        """Count it."""
        if self._board is not None:
            self._board.observe(record)

    async def run(self, running: Running) -> None:
        """Run until cancelled."""
        self._board = self._boards.at(self._place)
        try:
            while True:
                status = {
                    "pid": os.getpid(),
                    "generation": running.gateway.plan.generation,
                    "statistics": running.gateway.statistics(),
                }
                self._board.tell(msgspec.json.encode(status))
                await anyio.sleep(1)
        finally:
            self._board.leave()


class Operations:
    """For all workers of a configuration. Raises CannotListen."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.boards: Boards | None = None
        self.admin: AdminSite | None = None
        if config.gateway.admin_listen is not None:
            self.boards = Boards(config.gateway.workers)
            self.admin = AdminSite(config, self.boards)

    def at(self, place: int) -> Beside | None:
        """What runs beside the gateway of the worker in this place, the first of which is 0."""
        parts: list[Beside] = []
        if self.boards is not None:
            parts.append(Counts(self.boards, place))
        if self.admin is not None:
            parts.append(Admin(self.admin))
        return Together(parts) if parts else None
