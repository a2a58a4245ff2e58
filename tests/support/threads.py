"""Peers that are written for trio, beside a test that is not: each in a thread of its own."""

import contextlib
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager
from queue import SimpleQueue
from typing import TypeVar

import trio

T = TypeVar("T")
_PATIENCE_SECONDS = 10


@contextlib.contextmanager
def in_a_thread(opened: Callable[[], AbstractAsyncContextManager[T]]) -> Generator[T]:
    """What this context gives, kept open in a trio of its own until the end."""
    ready: SimpleQueue[tuple[T, trio.lowlevel.TrioToken, trio.Event]] = SimpleQueue()

    async def keep() -> None:
        async with opened() as given:
            over = trio.Event()
            ready.put((given, trio.lowlevel.current_trio_token(), over))
            await over.wait()

    thread = threading.Thread(target=trio.run, args=(keep,), daemon=True)
    thread.start()
    given, token, over = ready.get(timeout=_PATIENCE_SECONDS)
    try:
        yield given
    finally:
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(over.set)
        thread.join(_PATIENCE_SECONDS)
        assert not thread.is_alive()
