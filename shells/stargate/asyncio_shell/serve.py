"""Serving a configuration until told to stop: what `stargate serve` runs on asyncio.

In order: credentials are looked for, listeners opened, everything told, connections accepted. SIGTERM or
SIGINT drains: no new connections, what runs may finish within the grace time. A second signal ends at once.
SIGHUP reloads the configuration (reloading.py).
"""

import time
from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup

from stargate.asyncio_shell.gateway import Gateway
from stargate.asyncio_shell.listener import accept
from stargate.asyncio_shell.sinks import Sinks
from stargate.asyncio_shell.store import RedisStore
from stargate.credentials import Keeper
from stargate.outside import Orders, Outside
from stargate.reloading import Reloader
from stargate.shell_common.beside import Running, telling
from stargate.shell_common.listening import Door, names, open_listeners
from stargate.shell_common.starting import CREDENTIALS_SECONDS, Started, settle_memory
from stargate.shell_common.threads import in_thread
from stargate.tls import listener_context, upstream_contexts
from stargate_core.gateway.plan import Plan


async def serve(
    plan: Plan, *, started: Callable[[Started], None], level: str = "info", outside: Outside | None = None
) -> None:
    """Serve until SIGTERM or SIGINT. Raises CannotListen and BadTls, in exception groups."""
    async with anyio.create_task_group() as sink_nursery:
        sinks = Sinks(sink_nursery, level=level, settings=plan.log_sinks)
        try:
            async with anyio.create_task_group() as nursery:
                await _serve(plan, nursery, sinks, started, outside or Outside())
                nursery.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await sinks.close()
        sink_nursery.cancel_scope.cancel()


async def _serve(
    plan: Plan,
    nursery: TaskGroup,
    sinks: Sinks,
    started: Callable[[Started], None],
    outside: Outside,
) -> None:
    gateway = Gateway(plan, nursery, sinks=sinks, tls=upstream_contexts(plan.config.gateway.upstream_tls))
    beside = outside.beside
    if beside is not None:
        gateway.observe = telling(beside)
    orders = Orders(outside)
    with anyio.open_signal_receiver(*outside.signals) as signals:
        listeners = plan.config.gateway.listen
        doors = [Door(listener_context(listener, plan)) for listener in listeners]
        opened = outside.sockets
        if opened is None:
            opened = await in_thread(open_listeners, listeners)
        keeper = Keeper(
            plan.accounts, wall_ns=time.time_ns, changed=gateway.change_credentials, note=sinks.note
        )
        gateway.enquiries.use(keeper)
        share_store(plan, gateway, nursery)
        found = await keeper.first(CREDENTIALS_SECONDS)
        async with anyio.create_task_group() as accepting:
            urls: list[str] = []
            for listener, door, sockets in zip(listeners, doors, opened, strict=True):
                urls += names(sockets, listener)
                for sock in sockets:
                    accepting.start_soon(accept, sock, gateway, nursery, door)
            settle_memory()
            started(Started(urls, found))
            nursery.start_soon(keeper.run)
            source = outside.source
            reloader = None if source is None else Reloader(source, gateway, keeper, doors, sinks.note)
            nursery.start_soon(orders.heed, signals, reloader)
            if beside is not None:
                nursery.start_soon(beside.run, Running(gateway, keeper, reloader, sinks.note))
            await orders.draining.wait()
            accepting.cancel_scope.cancel()
        grace = gateway.plan.config.gateway.drain_seconds
        sinks.note("info", f"draining: what runs may take {grace:g} seconds more")
        async with anyio.create_task_group() as draining:
            draining.start_soon(_cancel_at, orders.ending, draining.cancel_scope)
            await gateway.drain(grace)
            draining.cancel_scope.cancel()


def share_store(plan: Plan, gateway: Gateway, nursery: TaskGroup) -> None:
    """Use the store that the configuration names, if it is shared with other gateways."""
    store = plan.config.gateway.store
    if not store.is_shared:
        return
    user, server = gateway.enquiries, store.server
    if server is not None:
        shared = RedisStore(
            user, gateway.ticker, gateway.reactor, nursery, server=server, prefix=store.prefix
        )
        user.share(shared)
        return
    # An optional library, and a slow one to import: only where it is wanted.
    from stargate.clustered_store import open_store

    clustered = open_store(store, user)
    nursery.start_soon(clustered.run)
    user.share(clustered)


async def _cancel_at(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
