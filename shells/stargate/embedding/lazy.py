"""A gateway that nobody enters: it runs in a task of its own, from when it is wanted until its loop ends.

For who is called without having been told of a beginning or an end. The task belongs to no request: not to
its cancellation, not to its context variables. What the gateway cannot begin with, all who wait for it have.
Its loop's end cancels it, which leaves no time to drain.
"""

import asyncio
import contextvars

import anyio
import sniffio

from stargate.embedding.gateway import Embedded


class Lazy:
    """A gateway that runs in a task of its own until its loop ends."""

    def __init__(self, gateway: Embedded, token: object) -> None:
        self.gateway = gateway
        self.token = token
        self.ready = anyio.Event()
        """Set when it runs, or can't."""
        self.over = False
        self.error: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, outside of the request that is at hand."""
        if sniffio.current_async_library() == "trio":
            import trio

            trio.lowlevel.spawn_system_task(self._run)
        else:
            run = self._run()
            self._task = asyncio.get_running_loop().create_task(run, context=contextvars.Context())

    async def _run(self) -> None:
        try:
            async with self.gateway:
                self.ready.set()
                await anyio.sleep_forever()
        except Exception as error:  # noqa: BLE001  (whoever waits for it has it)
            self.error = error
        finally:
            self.over = True
            self.ready.set()
