"""What runs beside a gateway: several are one, and all of them are told and run."""

from collections.abc import Sequence
from typing import cast

import anyio

from stargate.shell_common.beside import Running, Together, tell_nobody, telling
from stargate_core.messages import Publish
from stargate_core.record import LogRecord, Outcome
from stargate_core.spans import Span, SpanKind

RECORD = LogRecord("2026-01-01T00:00:00.000Z", "id", 1, Outcome.COMPLETE, 200)

SPAN = Span("1" * 32, "2" * 16, "", "GET", SpanKind.SERVER, 1, 2)


class Part:
    """One that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[LogRecord] = []
        self.traced: list[Span] = []
        self.begun = anyio.Event()

    def observe(self, record: LogRecord) -> None:
        self.told.append(record)

    def trace(self, spans: Sequence[Span]) -> None:
        self.traced += spans

    async def run(self, running: Running) -> None:
        self.begun.set()
        await anyio.sleep_forever()


def test_each_is_told_and_all_run() -> None:
    async def main() -> None:
        parts = [Part(), Part()]
        together = Together(parts)
        telling(together)(Publish(RECORD, (SPAN,)))
        assert [(part.told, part.traced) for part in parts] == [([RECORD], [SPAN])] * 2
        async with anyio.create_task_group() as group:
            group.start_soon(together.run, cast(Running, None))
            for part in parts:
                with anyio.fail_after(5):
                    await part.begun.wait()
            group.cancel_scope.cancel()

    anyio.run(main, backend="trio")


def test_there_are_no_spans_to_tell_of_what_is_not_traced() -> None:
    part = Part()
    telling(part)(Publish(RECORD))
    assert (part.told, part.traced) == ([RECORD], [])


def test_where_nobody_watches_nothing_happens() -> None:
    tell_nobody(Publish(RECORD))
