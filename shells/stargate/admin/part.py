"""The admin listener as a part of what runs beside a gateway.

`AdminSite` is made once, before workers are forked: it opens the sockets, so that an address that cannot be
had is told before anything starts, and reads the page's files. Each worker runs an `Admin` on them.
"""

import socket
import time
from collections.abc import Sequence
from typing import Final

import anyio

from stargate.admin.api import Api
from stargate.admin.entry import Entry
from stargate.admin.files import page_files
from stargate.admin.listener import Door
from stargate.admin.playground import Playground
from stargate.admin.site import Site
from stargate.observing.board import Boards
from stargate.shell_common.beside import Running
from stargate.shell_common.listening import names, open_listener
from stargate_core.config.gateway_block import Gateway
from stargate_core.config.schema import Config, Listener
from stargate_core.record import LogRecord
from stargate_core.spans import Span
from stargate_core.wire.http1 import Limits

_HEAD_BYTES_MAX: Final = 65_536


class AdminSite:
    """What all workers share. Raises CannotListen. boards: what all workers have counted."""

    def __init__(self, config: Config, boards: Boards) -> None:
        gateway = config.gateway
        assert gateway.admin_listen is not None
        self.gateway: Gateway = gateway
        self.boards = boards
        self.started_at = time.time()
        self.listener = Listener(gateway.admin_listen)
        self.sockets: list[socket.socket] = open_listener(self.listener)
        self.files = page_files()

    @property
    def urls(self) -> list[str]:
        """Where it listens."""
        return names(self.sockets, self.listener)


class Admin:
    """The listener of one worker."""

    def __init__(self, shared: AdminSite) -> None:
        self._shared = shared

    def observe(self, record: LogRecord) -> None:
        """Nothing is kept here: figures are the board's."""

    def trace(self, spans: Sequence[Span]) -> None:
        """Nor spans."""

    async def run(self, running: Running) -> None:
        """Serve until cancelled."""
        shared = self._shared
        entry = Entry(shared.listener.endpoint, shared.gateway.admin_token)
        playground = Playground(running.gateway, hides_token=entry.wants_token)
        api = Api(running, shared.boards, shared.started_at)
        site = Site(entry, shared.files, api.resources, playground, running.note)
        limits = Limits(head_bytes_max=_HEAD_BYTES_MAX, body_bytes_max=shared.gateway.max_body_bytes)
        door = Door(site.judge, site.answer, limits, running.note)
        async with anyio.create_task_group() as group:
            group.start_soon(api.watch.run)
            group.start_soon(door.serve, shared.sockets)
