"""The gateway inside a program on trio: `async with stargate.trio.Gateway(config) as gateway`.

stargate/embedding/gateway.py tells what it is and what it can; asyncio.py is this file's twin.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import AsyncGenerator

import trio

from stargate.credentials import Keeper
from stargate.embedding.gateway import Attend, Embedded
from stargate.shell_common.listening import Door, names, open_listeners
from stargate.shell_common.starting import CREDENTIALS_SECONDS
from stargate.tls import listener_context, upstream_contexts
from stargate.trio_shell.gateway import Gateway as Shell
from stargate.trio_shell.listener import accept
from stargate.trio_shell.serve import share_store
from stargate.trio_shell.sinks import Sinks


class Gateway(Embedded):
    """A gateway on the running trio loop. Constructed and used as `Embedded` says."""

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncGenerator[Attend]:
        """Run it. What the program's block raises passes the nurseries by, so that it stays what it is."""
        tls = upstream_contexts(self.plan.config.gateway.upstream_tls)
        escaped: Exception | None = None
        async with trio.open_nursery() as sink_nursery:
            sinks = Sinks(sink_nursery, level=self._log_level, settings=self.plan.log_sinks)
            try:
                async with trio.open_nursery() as nursery:
                    with contextlib.closing(Shell(self.plan, nursery, sinks=sinks, tls=tls)) as shell:
                        ending = trio.Event()
                        try:
                            await self._begin(shell, nursery, sinks, ending)
                            yield shell.attend
                        except Exception as error:  # noqa: BLE001  (raised again below)
                            escaped = error
                        ending.set()
                        await shell.drain(self.plan.config.gateway.drain_seconds)
                    nursery.cancel_scope.cancel()
            finally:
                with trio.CancelScope(shield=True):
                    await sinks.close()
            sink_nursery.cancel_scope.cancel()
        if escaped is not None:
            raise escaped

    async def _begin(self, shell: Shell, nursery: trio.Nursery, sinks: Sinks, ending: trio.Event) -> None:
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
            opened = await trio.to_thread.run_sync(open_listeners, listeners)
            for listener, context, sockets in zip(listeners, contexts, opened, strict=True):
                self.urls += names(sockets, listener)
                for sock in sockets:
                    nursery.start_soon(_accept, sock, shell, nursery, context, ending)


async def _accept(
    sock: socket.socket,
    shell: Shell,
    nursery: trio.Nursery,
    tls: ssl.SSLContext | None,
    ending: trio.Event,
) -> None:
    """Accept until it ends; the connections themselves go on."""
    async with trio.open_nursery() as accepting:
        accepting.start_soon(accept, sock, shell, nursery, Door(tls))
        await ending.wait()
        accepting.cancel_scope.cancel()
