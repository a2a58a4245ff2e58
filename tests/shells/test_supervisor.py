"""The supervisor with workers that do little: when they are started again, when it gives up, how it ends.

tests/e2e/test_workers.py has it with workers that serve.
"""

import os
import signal
import time
from collections.abc import Callable, Generator
from typing import Final

import pytest

from stargate.outside import Line
from stargate.plugins import installed
from stargate.sources import Source
from stargate.supervisor import DEATHS_MAX, Share, Supervisor
from stargate_core.gateway.plan import Plan

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@pytest.fixture(autouse=True)
def _signals_as_before() -> Generator[None]:
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


class Told:
    """What a supervisor tells."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.ready: list[list[str]] = []

    def supervisor(self, workers: int, work: Callable[[Line], int]) -> Supervisor:
        """One over so many workers that do this."""
        source = Source(None, installed())
        config = source.examine(None).config
        assert config is not None

        def works(_plan: Plan, _share: Share, line: Line, _place: int) -> int:
            return work(line)

        return Supervisor(
            Plan(config, source.plugins),
            source,
            [[] for _ in range(workers)],
            work=works,
            note=lambda level, text: self.notes.append(f"{level}: {text}"),
            ready=lambda lines: self.ready.append(list(lines)),
        )


def dies(_line: Line) -> int:
    """A worker that can't."""
    return 3


def is_killed(_line: Line) -> int:
    """A worker that is killed."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def stops_all(line: Line) -> int:
    """A worker that is ready, and has the supervisor told to end; it ends when it is told that itself."""
    line.tell(ready=["listening on here"])
    time.sleep(0.1)
    os.kill(os.getppid(), signal.SIGTERM)
    return 0 if _drained(line) else 1


def _drained(line: Line) -> bool:
    give_up_at = time.monotonic() + 10
    while time.monotonic() < give_up_at:
        try:
            return b"drain" in line.sock.recv(1000)
        except BlockingIOError:
            time.sleep(0.01)
    return False


class TestDeaths:
    def test_it_gives_up_when_workers_keep_dying_young(self) -> None:
        told = Told()
        supervisor = told.supervisor(1, dies)
        assert supervisor.run() == 1
        assert supervisor.restarts == DEATHS_MAX - 1
        assert len(told.notes) == DEATHS_MAX
        assert "ended with status 3" in told.notes[0]
        assert "started again at once (restart 1)" in told.notes[0]
        pauses = [note.partition("again ")[2].partition(" (")[0] for note in told.notes[:-1]]
        assert pauses == ["at once", "in 0.1 s", "in 0.2 s", "in 0.4 s"]
        assert told.notes[-1].endswith("that does not mend itself, the gateway ends")
        assert told.ready == []

    def test_a_signal_is_told_by_its_name(self) -> None:
        told = Told()
        told.supervisor(1, is_killed).run()
        assert "died of SIGKILL after" in told.notes[0]

    def test_those_of_several_places_count_together(self) -> None:
        told = Told()
        supervisor = told.supervisor(3, dies)
        assert supervisor.run() == 1
        assert supervisor.restarts < 2 * DEATHS_MAX


class TestEnding:
    def test_all_are_told_and_waited_for(self) -> None:
        told = Told()
        assert told.supervisor(2, stops_all).run() == 0
        assert told.ready == [["listening on here"]]
        assert told.notes == []

    def test_a_worker_that_fails_while_draining_makes_the_status(self) -> None:
        def fails(line: Line) -> int:
            stops_all(line)
            return 4

        told = Told()
        assert told.supervisor(2, fails).run() == 1
        assert all("ended with status 4 while draining" in note for note in told.notes)
