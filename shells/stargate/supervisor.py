"""Several workers behind one address: who starts them, restarts them, and passes on what is told.

The supervisor serves nothing. It reads the configuration, opens the sockets, and forks a worker a place.

*It forks, and starts no new program.* It has no loop and no thread, so a fork is safe, takes milliseconds,
and shares what was imported. And a worker gets what the supervisor holds: the very configuration that was
found good, whatever stands in the file by now, and the sockets.

*Each place has sockets of its own, and the supervisor holds them too* (SO_REUSEPORT on Linux: the kernel
spreads connections evenly). So when a worker dies, what waits to be accepted waits for the next one in its
place; nobody is refused. Where that does not exist, and for unix sockets and those that were handed in, all
places share one.

*A worker that dies is replaced at once*; one that dies young again and again after a growing pause; and if
`DEATHS_MAX` workers die young within `YOUNG_SECONDS`, something is wrong that no restart mends: it ends with
status 1. A worker that drains because somebody has told it alone leaves its place to a new one meanwhile.

*A reload is looked at here*, once, and told once; the workers get the text and its generation, so that all
run the same. A worker that starts later starts with that generation. They get to know of a refused one as
well, so that each can say so to whoever asks it.

The line to a worker (outside.py) is a socket pair. When the supervisor dies, its end closes, and the workers
drain. They are a process group each, so that Ctrl-C at a terminal reaches the supervisor alone.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from stargate.outside import Line
from stargate.reloading import LOOK_SECONDS, Refusal, Unfit, kept, prepare, refusal, success
from stargate.sources import Source, Unreadable
from stargate_core.gateway.plan import Plan

YOUNG_SECONDS: Final = 10.0
DEATHS_MAX: Final = 5
PAUSE_SECONDS: Final = 0.1
"""Before a second restart in a row; doubled each time."""
PAUSE_SECONDS_MAX: Final = 3.0
EXTRA_SECONDS: Final = 10.0
"""Beyond the grace time, until a worker that does not end is killed."""
_READ_BYTES: Final = 65_536
_HEARD: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

Share: TypeAlias = list[list[socket.socket]]
"""The sockets of one place, for each listener of the configuration."""
Work: TypeAlias = Callable[[Plan, Share, Line, int], int]
"""What a worker does at its place, the first of which is 0: serves, and gives its exit status."""


class Worker:
    """One process."""

    def __init__(self, place: int, pid: int, line: socket.socket) -> None:
        self.place = place
        self.pid = pid
        self.line = line
        self.begun = time.monotonic()
        self.ready = False
        self.leaving = False
        """It drains by itself, and its place is somebody else's."""
        self.heard = b""
        """A part of a line of what it says."""
        self.unsent = b""

    def __str__(self) -> str:
        return f"worker {self.place + 1} (process {self.pid})"


class Supervisor:
    """Runs workers until told to stop.

    shares: the sockets, place by place. work: what a worker does. note: tells the operator, by level and
    text. ready: tells what the first worker has to tell, once all are ready. watch: whether to look at the
    file.
    """

    def __init__(
        self,
        plan: Plan,
        source: Source,
        shares: Sequence[Share],
        *,
        work: Work,
        note: Callable[[str, str], None],
        ready: Callable[[Sequence[str]], None],
        watch: bool = False,
    ) -> None:
        self.restarts = 0
        self._plan = plan
        self._source = source
        self._shares = list(shares)
        self._work = work
        self._note = note
        self._ready = ready
        self._watch = watch
        self._workers: list[Worker] = []
        self._due: dict[int, float] = {}
        """When a place is to have a worker again."""
        self._young: list[float] = []
        """When workers have died young, of late."""
        self._in_a_row = [0] * len(self._shares)
        """How many have died young in a place since one has lived."""
        self._refused: Refusal | None = None
        """What was wrong with the last file, if it was not taken."""
        self._told: Sequence[str] | None = None
        self._announced = False
        self._stopping = False
        self._give_up_at: float | None = None
        self._status = 0
        self._selector = selectors.DefaultSelector()
        self._signals, self._wake = socket.socketpair()

    def run(self) -> int:
        """Run until every worker has ended; the exit status."""
        try:
            self._run()
        finally:
            signal.set_wakeup_fd(-1)
            self._selector.close()
            self._signals.close()
            self._wake.close()
        return self._status

    def _run(self) -> None:
        for sock in (self._signals, self._wake):
            sock.setblocking(False)
        for number in _HEARD:
            signal.signal(number, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._signals, selectors.EVENT_READ, None)
        for place in range(len(self._shares)):
            self._start(place)
        look_at = time.monotonic() + LOOK_SECONDS
        while self._workers or (self._due and not self._stopping):
            for key, _ in self._selector.select(self._pause()):
                if key.data is None:
                    self._hear_signals()
                else:
                    self._hear(key.data)
            self._reap()
            now = time.monotonic()
            for place in [place for place, due in self._due.items() if due <= now and not self._stopping]:
                del self._due[place]
                self._start(place)
            if self._give_up_at is not None and now >= self._give_up_at:
                self._kill()
            if self._watch and now >= look_at:
                look_at = now + LOOK_SECONDS
                if not self._stopping and self._source.changed():
                    self._reload()

    def _pause(self) -> float | None:
        """How long nothing is due; None: for ever."""
        now = time.monotonic()
        due = [*self._due.values(), *([] if self._give_up_at is None else [self._give_up_at])]
        if self._watch:
            due.append(now + LOOK_SECONDS)
        return max(0.0, min(due) - now) if due else None

    # ----------------------------------------------------------------------------------------- life and death

    def _start(self, place: int) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal must not find the child with its parent's handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._be_worker(place, theirs)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
        theirs.close()
        worker = Worker(place, pid, ours)
        self._workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        if self._refused is not None:
            self._tell(worker, _refused(self._refused))

    def _be_worker(self, place: int, line: socket.socket) -> None:
        """The child's life. Does not return."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _HEARD:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # A reload comes on the line.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
            os.setpgid(0, 0)
            self._forget_others(place)
            status = self._work(self._plan, self._shares[place], Line(line), place)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001  (told, and then it is over: nothing of the parent's may run on)
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _forget_others(self, place: int) -> None:
        """Close what is the supervisor's and other workers': their ends must be seen when they are over."""
        self._selector.close()
        self._signals.close()
        self._wake.close()
        for worker in self._workers:
            worker.line.close()
        own = {sock for sockets in self._shares[place] for sock in sockets}
        for sock in {sock for share in self._shares for sockets in share for sock in sockets} - own:
            sock.close()

    def _reap(self) -> None:
        for worker in tuple(self._workers):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._hear(worker)  # What it said last.
                self._bury(worker, os.waitstatus_to_exitcode(status))

    def _bury(self, worker: Worker, status: int) -> None:
        """A worker has ended: see that its place is taken again, or that all comes to its end."""
        self._workers.remove(worker)
        self._selector.unregister(worker.line)
        worker.line.close()
        if self._stopping:
            if status:
                self._status = 1
                self._note("error", f"{worker} {_end(status)} while draining")
            return
        if worker.leaving:
            self._note(
                "info" if status == 0 else "error", f"{worker} {_end(status)}; it had been told to drain"
            )
            return
        now = time.monotonic()
        lived = now - worker.begun
        self._in_a_row[worker.place] = self._in_a_row[worker.place] + 1 if lived < YOUNG_SECONDS else 0
        if lived < YOUNG_SECONDS:
            self._young = [*(when for when in self._young if now - when < YOUNG_SECONDS), now]
        what = f"{worker} {_end(status)} after {lived:.1f} s"
        if len(self._young) >= DEATHS_MAX:
            many = f"{len(self._young)} workers have died young within {YOUNG_SECONDS:g} s"
            self._note("error", f"{what}; {many}: that does not mend itself, the gateway ends")
            self._status = 1
            self._stop()
            return
        before = self._in_a_row[worker.place] - 1
        pause = 0.0 if before < 1 else min(PAUSE_SECONDS * 2 ** (before - 1), PAUSE_SECONDS_MAX)
        self.restarts += 1
        self._due[worker.place] = now + pause
        again = f"again in {pause:g} s" if pause else "again at once"
        self._note("error", f"{what}; it is started {again} (restart {self.restarts})")

    # ------------------------------------------------------------------------------------ hearing and telling

    def _hear_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in self._signals.recv(_READ_BYTES):
                if number == signal.SIGHUP and not self._stopping:
                    self._reload()
                elif number in (signal.SIGTERM, signal.SIGINT):
                    if self._stopping:
                        self._tell_all(end=True)
                    else:
                        self._stop()

    def _hear(self, worker: Worker) -> None:
        if worker.unsent:
            self._send(worker)
        try:
            while data := worker.line.recv(_READ_BYTES):
                worker.heard += data
        except (BlockingIOError, ConnectionError):
            pass
        *lines, worker.heard = worker.heard.split(b"\n")
        for line in lines:
            told = json.loads(line)
            if "ready" in told:
                worker.ready = True
                self._told = self._told or told["ready"]
            if "draining" in told and not (self._stopping or worker.leaving):
                worker.leaving = True
                self._start(worker.place)
        if not self._announced and self._told is not None and self._all_ready():
            self._announced = True
            self._ready(self._told)

    def _all_ready(self) -> bool:
        return {worker.place for worker in self._workers if worker.ready} == set(range(len(self._shares)))

    def _tell_all(self, **order: Any) -> None:
        for worker in self._workers:
            self._tell(worker, order)

    def _tell(self, worker: Worker, order: dict[str, Any]) -> None:
        worker.unsent += json.dumps(order).encode() + b"\n"
        self._send(worker)

    def _send(self, worker: Worker) -> None:
        """Send what there is room for; the rest when there is room again."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while worker.unsent:
                worker.unsent = worker.unsent[worker.line.send(worker.unsent) :]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.unsent else 0)
        self._selector.modify(worker.line, wanted, worker)

    def _reload(self) -> None:
        if not self._source.is_file:
            return
        try:
            text = self._source.read()
            prepared = prepare(self._source, text, self._plan, self._plan.generation + 1)
        except Unreadable as error:
            unfit = Unfit(error.problem)
        except Unfit as error:
            unfit = error
        else:
            for warning in prepared.warnings:
                self._note("warning", warning)
            self._plan, self._refused = prepared.plan, None
            self._tell_all(reload=prepared.plan.generation, text=text)
            self._note("info", success(prepared.plan.generation))
            return
        for line in refusal(unfit, self._plan.generation):
            self._note("error", line)
        self._refused = kept(unfit)
        self._tell_all(**_refused(self._refused))

    def _stop(self) -> None:
        """Have all drain, and refuse new connections."""
        self._stopping = True
        self._due.clear()
        grace = self._plan.config.gateway.drain_seconds
        self._give_up_at = time.monotonic() + grace + EXTRA_SECONDS
        for sock in {sock for share in self._shares for sockets in share for sock in sockets}:
            sock.close()
        self._tell_all(drain=True)

    def _kill(self) -> None:
        self._give_up_at = None
        for worker in self._workers:
            self._note("error", f"{worker} does not end, and is killed")
            os.kill(worker.pid, signal.SIGKILL)


def _refused(refusal: Refusal) -> dict[str, Any]:
    """How workers are told of it."""
    return {"refused": list(refusal.lines), "at_ns": refusal.at_ns}


def _end(status: int) -> str:
    """How a process has ended, in words."""
    if status >= 0:
        return f"ended with status {status}"
    with contextlib.suppress(ValueError):
        return f"died of {signal.Signals(-status).name}"
    return f"died of signal {-status}"
