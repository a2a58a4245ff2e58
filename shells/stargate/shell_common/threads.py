"""Blocking calls for asyncio, in threads that nobody has to wait for.

What is done here may hang: a name is resolved, a line is written to a pipe that nobody reads. asyncio's own
executor and anyio's threads are joined when the process ends, and one that hangs would keep it from ending.
So each call has a daemon thread of its own. (trio's threads are daemons.) What runs on any loop has anyio's
threads nevertheless; so the process must look whether one of them was left behind.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_IDLE_SECONDS: Final = 0.5
"""More than threads need that have been told to end."""


async def in_thread(function: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
    """What the function returns or raises. Cancelled, its thread goes on, and is forgotten."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()

    def tell(result: R) -> None:
        if not future.done():
            future.set_result(result)

    def fail(error: BaseException) -> None:
        if not future.done():
            future.set_exception(error)

    def run() -> None:
        # A loop that is closed by now wants no answer.
        try:
            result = function(*arguments, **options)
        except BaseException as error:  # noqa: BLE001  (whoever waits has it)
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(fail, error)
        else:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(tell, result)

    threading.Thread(target=run, name="stargate", daemon=True).start()
    return await future


def left_behind() -> bool:
    """Whether some thread hangs, and would keep the process from ending."""
    threads = [one for one in threading.enumerate() if one is not threading.current_thread()]
    give_up_at = time.monotonic() + _IDLE_SECONDS
    for thread in threads:
        if not thread.daemon:
            thread.join(max(0.0, give_up_at - time.monotonic()))
    return any(thread.is_alive() and not thread.daemon for thread in threads)
