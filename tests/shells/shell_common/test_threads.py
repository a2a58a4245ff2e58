"""Threads that nobody has to wait for: their answers come back, and those that hang are left behind."""

import asyncio
import threading

import pytest

from stargate.shell_common.threads import in_thread, left_behind


def test_what_is_returned_and_what_is_raised_come_back() -> None:
    async def main() -> None:
        assert await in_thread(divmod, 7, 3) == (2, 1)
        assert await in_thread(int, "ff", base=16) == 255
        with pytest.raises(ZeroDivisionError):
            await in_thread(divmod, 1, 0)

    asyncio.run(main())


@pytest.mark.parametrize("ends_well", [True, False])
def test_whoever_is_cancelled_does_not_wait(ends_well: bool) -> None:
    free = threading.Event()

    def hang() -> None:
        free.wait(10)
        if not ends_well:
            raise ValueError

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await in_thread(hang)
        if ends_well:
            free.set()  # Its answer is nobody's; the loop still runs.
            await asyncio.sleep(0.05)

    asyncio.run(main())
    free.set()  # And this one's loop is closed.


def test_a_thread_that_hangs_is_noticed_unless_nobody_waits_for_it() -> None:
    free = threading.Event()
    daemon = threading.Thread(target=free.wait, args=(10,), daemon=True)
    daemon.start()
    assert not left_behind()
    other = threading.Thread(target=free.wait, args=(10,))
    other.start()
    assert left_behind()
    free.set()
    for thread in (daemon, other):
        thread.join()
    assert not left_behind()
