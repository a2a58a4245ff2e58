"""The gateway inside a program on asyncio: `async with stargate.asyncio.Gateway(config) as gateway`.

stargate/embedding/gateway.py tells what it is and what it can; trio.py is this file's twin.
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncGenerator

import anyio
from anyio.abc import TaskGroup

from stargate.asyncio_shell.gateway import Gateway as Shell
from stargate.asyncio_shell.listener import accept
from stargate.asyncio_shell.serve import share_store
from stargate.asyncio_shell.sinks import Sinks
from stargate.credentials import Keeper
from stargate.embedding.gateway import Attend, Embedded
from stargate.shell_common.listening import Door, names, open_listeners
from stargate.shell_common.starting import CREDENTIALS_SECONDS
from stargate.shell_common.threads import in_thread
from stargate.tls import listener_context, upstream_contexts


class Gateway(Embedded):
    """A gateway on the running asyncio loop. Constructed and used as `Embedded` says."""

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncGenerator[Attend]:
        """Run it. What the program's block raises passes the task groups by, so that it stays what it is."""
        tls = upstream_contexts(self.plan.config.gateway.upstream_tls)
        escaped: Exception | None = None
        async with anyio.create_task_group() as sink_nursery:
            sinks = Sinks(sink_nursery, level=self._log_level, settings=self.plan.log_sinks)
            try:
                async with anyio.create_task_group() as nursery:
                    with contextlib.closing(Shell(self.plan, nursery, sinks=sinks, tls=tls)) as shell:
                        ending = asyncio.Event()
                        try:
                            await self._begin(shell, nursery, sinks, ending)
                            yield shell.attend
                        except Exception as error:  # noqa: BLE001  (raised again below)
                            escaped = error
                        ending.set()
                        await shell.drain(self.plan.config.gateway.drain_seconds)
                    nursery.cancel_scope.cancel()
            finally:
                with anyio.CancelScope(shield=True):
                    await sinks.close()
            sink_nursery.cancel_scope.cancel()
        if escaped is not None:
            raise escaped

    async def _begin(self, shell: Shell, nursery: TaskGroup, sinks: Sinks, ending: asyncio.Event) -> None:
        """What `stargate serve` does as well before it is ready."""
        keeper = Keeper(
            self.plan.accounts, wall_ns=time.time_ns, changed=shell.change_credentials, note=sinks.note
        )
        shell.enquiries.use(keeper)
        share_store(self.plan, shell, nursery)
        self._tell_of(await keeper.first(CREDENTIALS_SECONDS), sinks.note)
        nursery.start_soon(keeper.run)
        if self._serve:
            listeners = self.plan.config.gateway.listen
            contexts = [listener_context(listener, self.plan) for listener in listeners]
            opened = await in_thread(open_listeners, listeners)
            for listener, context, sockets in zip(listeners, contexts, opened, strict=True):
                self.urls += names(sockets, listener)
                for sock in sockets:
                    nursery.start_soon(_accept, sock, shell, nursery, context, ending)


async def _accept(
    sock: socket.socket,
    shell: Shell,
    nursery: TaskGroup,
    tls: ssl.SSLContext | None,
    ending: asyncio.Event,
) -> None:
    """Accept until it ends; the connections themselves go on."""
    async with anyio.create_task_group() as accepting:
        accepting.start_soon(accept, sock, shell, nursery, Door(tls))
        await ending.wait()
        accepting.cancel_scope.cancel()
