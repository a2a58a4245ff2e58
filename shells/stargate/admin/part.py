"""The admin listener as a part of what runs beside a gateway.

`AdminSite` is made once, before workers are forked: it opens the sockets, so that an address that cannot be
had is told before anything starts, and reads the page's files. Each worker runs an `Admin` on them.
"""

import socket
from typing import Final

from stargate.admin.entry import Entry
from stargate.admin.files import page_files
from stargate.admin.listener import Door
from stargate.admin.messages import Reply, Request, Streamed, json_reply
from stargate.admin.playground import Playground
from stargate.admin.site import Resource, Site
from stargate.shell_common.beside import Running
from stargate.shell_common.listening import names, open_listener
from stargate_core.config.gateway_block import Gateway
from stargate_core.config.schema import Config, Listener
from stargate_core.record import LogRecord
from stargate_core.wire.http1 import Limits

_HEAD_BYTES_MAX: Final = 65_536


class AdminSite:
    """What all workers share. Raises CannotListen."""

    def __init__(self, config: Config) -> None:
        gateway = config.gateway
        assert gateway.admin_listen is not None
        self.gateway: Gateway = gateway
        self.listener = Listener(gateway.admin_listen)
        self.sockets: list[socket.socket] = open_listener(self.listener)
        self.files = page_files()

    @property
    def urls(self) -> list[str]:
        """Where it listens."""
        return names(self.sockets, self.listener)

    def at(self, place: int) -> "Admin":
        """What the worker in this place runs."""
        return Admin(self, place)


class Admin:
    """The listener of one worker."""

    def __init__(self, shared: AdminSite, place: int) -> None:
        self._shared = shared
        self._place = place

    def observe(self, record: LogRecord) -> None:
        """Nothing is kept here: figures are the board's."""

    async def run(self, running: Running) -> None:
        """Serve until cancelled."""
        shared = self._shared
        entry = Entry(shared.listener.endpoint, shared.gateway.admin_token)
        playground = Playground(running.gateway, hides_token=entry.wants_token)
        site = Site(entry, shared.files, self._resources(running), playground, running.note)
        limits = Limits(head_bytes_max=_HEAD_BYTES_MAX, body_bytes_max=shared.gateway.max_body_bytes)
        await Door(site.judge, site.answer, limits, running.note).serve(shared.sockets)

    def _resources(self, running: Running) -> dict[str, Resource]:
        async def status(request: Request, name: str) -> Reply | Streamed:
            return json_reply({"generation": running.gateway.plan.generation})

        return {"/api/status": Resource("GET", status)}
