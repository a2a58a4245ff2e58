"""What runs beside a gateway: several are one, and all of them are told and run."""

from typing import cast

import anyio

from stargate.shell_common.beside import Running, Together, observe_nothing
from stargate_core.record import LogRecord, Outcome

RECORD = LogRecord("2026-01-01T00:00:00.000Z", "id", 1, Outcome.COMPLETE, 200)


class Part:
    """One that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[LogRecord] = []
        self.begun = anyio.Event()

    def observe(self, record: LogRecord) -> None:
        self.told.append(record)

    async def run(self, running: Running) -> None:
        self.begun.set()
        await anyio.sleep_forever()


def test_each_is_told_and_all_run() -> None:
    async def main() -> None:
        parts = [Part(), Part()]
        together = Together(parts)
        together.observe(RECORD)
        assert [part.told for part in parts] == [[RECORD], [RECORD]]
        async with anyio.create_task_group() as group:
            group.start_soon(together.run, cast(Running, None))
            for part in parts:
                with anyio.fail_after(5):
                    await part.begun.wait()
            group.cancel_scope.cancel()

    anyio.run(main, backend="trio")


def test_where_nobody_watches_nothing_happens() -> None:
    observe_nothing(RECORD)
