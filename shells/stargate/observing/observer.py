"""The observer: the board as a part of what runs beside a gateway.

It is told of each settled exchange, and counts it. Once a second it has its worker say how it stands, and
counts what is counted elsewhere in the process and only known as a sum: lines that sinks have dropped,
journals, spans. Those are sums since the process began, and what they have grown by goes to the board; of a
worker that is killed the last second's growth is lost, and of one that ends the spans that go after it has
left the board. Nothing else is.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import anyio
import msgspec

from stargate.observing.board import Board
from stargate.observing.state import rfc3339, state_of
from stargate.shell_common.beside import Running
from stargate.shell_common.facts import bug
from stargate_core.spans import Span

TELL_SECONDS: Final = 1.0
_SPAN_RESULTS: Final = ("exported", "failed", "dropped")
_LINE_CHARS_MAX: Final = 1000
"""Of what was wrong with a configuration."""


class Observer:
    """Counts for one worker. spans: how many spans have met which end, and how many wait; nothing where
    nothing is traced.
    """

    def __init__(self, board: Board, spans: Callable[[], Mapping[str, int]] = dict) -> None:
        self._board = board
        self._spans = spans
        self.observe = board.observe
        self._grown: dict[tuple[str, str], int] = {}
        """What each sum was when it was counted last."""
        self._started_at = time.time()
        self._silent = False

    def trace(self, spans: Sequence[Span]) -> None:
        """Spans are for others."""

    async def run(self, running: Running) -> None:
        """Tell how it stands, until cancelled."""
        levels = running.gateway.enquiries.levels
        if levels is not None:
            levels.counted = self._count_verdict
        try:
            while True:
                self.look(running)
                await anyio.sleep(TELL_SECONDS)
        finally:
            self.look(running)
            self._board.leave()

    def look(self, running: Running) -> None:
        """Tell once. What goes wrong is the operator's to know, once, and must not end the gateway."""
        try:
            state = {**self._own(running), **state_of(running)}
            for metric, label, total in sums_of(state):
                before = self._grown.get((metric, label), 0)
                if total > before:
                    self._board.count(metric, label, total - before)
                    self._grown[metric, label] = total
            self._board.tell(msgspec.json.encode(state))
        except Exception as error:  # noqa: BLE001  (it looks at much, and serves nobody)
            if not self._silent:
                self._silent = True
                running.note("error", f"{bug(error)}; the state of this worker is not told")

    def _own(self, running: Running) -> dict[str, Any]:
        reloader = running.reloader
        refused = None if reloader is None else reloader.refused
        return {
            "pid": os.getpid(),
            "started_at": rfc3339(self._started_at),
            "loaded_at": rfc3339(self._started_at if reloader is None else reloader.loaded_at_ns / 1e9),
            "spans": self._spans(),
            "reload_error": None if refused is None else [line[:_LINE_CHARS_MAX] for line in refused.lines],
        }

    def _count_verdict(self, verdict: str) -> None:
        self._board.count("verdicts", verdict)


def sums_of(state: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    """What a worker's state has of sums since its process began: short name in the catalogue, label, sum."""
    journals = state["journals"]
    yield "journals", "written", journals["written"]
    for reason, count in journals["reasons"].items():
        yield "journals", reason, count
    for sink in state["sinks"]:
        yield "lines_written", sink["path"], sink["written"]
        yield "lines_dropped", sink["path"], sink["dropped"]
    for result in _SPAN_RESULTS:
        yield "spans", result, state["spans"].get(result, 0)
