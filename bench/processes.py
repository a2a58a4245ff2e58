"""The processes of a benchmark: started, pinned to a core, asked what they cost, and ended.

The gateway under test has a core to itself; upstream and load generator share the other one. Where there is
only one core nothing is pinned, and the figures say less.

Some servers are a master and its worker, so a process's cost and memory are those of all its descendants too.
Linux counts what a child has cost into its parent when it is gone, so a tree's cost never falls. Memory that
several processes share is counted once for each: what a tree of Pythons takes is less than its figure.
"""

import contextlib
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from bench.idle import IdleResult, IdleTask
from bench.load import Result, Task
from bench.open_loop import OpenTask
from bench.paced import PacedTask

READY_SECONDS_MAX: Final = 120.0
"""Some peers take half a minute, on a machine that is busy."""
_END_SECONDS_MAX: Final = 5.0
_LOOK_SECONDS: Final = 0.2
_OPEN_SECONDS_MAX: Final = 20.0
_FILES_WANTED: Final = 65_536
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_HELLO: Final = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"


def cores() -> tuple[set[int], set[int]]:
    """The gateway's core, and that of upstream and load; twice all there are, if that is one."""
    free = sorted(os.sched_getaffinity(0))
    return ({free[0]}, {free[1]}) if len(free) > 1 else (set(free), set(free))


def raise_open_files() -> int:
    """Let this process, and all that it starts, have as many open files as the system gives; how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (_FILES_WANTED, hard):
        # Beyond the hard limit only root comes.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
            break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


# ------------------------------------------------------------------------------------------- what they cost


def descendants(pid: int) -> list[int]:
    """A process and all that it has started, and so on."""
    found = [pid]
    for parent in found:
        # A process may end while it is looked at.
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def _cpu_seconds(pid: int) -> float:
    """What a process has cost, and its children that are gone; nothing, when it is gone itself."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS


def tree_cpu_seconds(pid: int) -> float:
    """What a process and its descendants have cost so far: user and system time of all their threads."""
    return sum(map(_cpu_seconds, descendants(pid)))


class Process(msgspec.Struct):
    """A running program. port: where it listens, if it does. headers: what it wants to be told with each
    request.
    """

    port: int
    popen: subprocess.Popen[str]
    headers: dict[str, str] = {}

    def cpu_seconds(self) -> float:
        """What it has cost so far, with all its descendants."""
        return tree_cpu_seconds(self.popen.pid)

    def resident_mib(self) -> float:
        """Its resident memory, and that of its descendants."""
        pages = 0
        for pid in descendants(self.popen.pid):
            with contextlib.suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    def wait_until_open(self, files: int) -> None:
        """Wait until it has so many open: a connection may be made before it is accepted."""
        until = time.monotonic() + _OPEN_SECONDS_MAX
        while time.monotonic() < until:
            found = 0
            for pid in descendants(self.popen.pid):
                with contextlib.suppress(OSError):
                    found += len(os.listdir(f"/proc/{pid}/fd"))
            if found >= files:
                return
            time.sleep(_LOOK_SECONDS)

    def worker(self) -> int:
        """The process that does the work: of all of them, the one that has cost the most."""
        return max(descendants(self.popen.pid), key=_cpu_seconds)


class Neighbours:
    """How much of the cores went to others than this process and its descendants, since it was made."""

    def __init__(self, watched: set[int]) -> None:
        self._cores = watched
        self._began = self._look()

    def share(self) -> float:
        """Their share of the cores' time: other programs', and what the machine's host took away."""
        seconds, busy, own = (now - then for now, then in zip(self._look(), self._began, strict=True))
        return max(0.0, busy - own) / (seconds * len(self._cores)) if seconds else 0.0

    def _look(self) -> tuple[float, float, float]:
        """Now: the time, the seconds for which the cores were not idle, and what of that was ours."""
        names = {f"cpu{core}" for core in self._cores}
        busy = 0
        for line in Path("/proc/stat").read_text().splitlines():
            name, *ticks = line.split()
            if name in names:
                user, nice, system, _idle, _waiting, *interrupts_and_stolen = map(int, ticks[:8])
                busy += user + nice + system + sum(interrupts_and_stolen)
        return time.monotonic(), busy / _TICKS, tree_cpu_seconds(os.getpid())


# ------------------------------------------------------------------------------------ their beginning and end


class NotReady(Exception):
    """A program ended, or did not begin to serve."""


class NotServing(Exception):
    """The same, with what it has said."""


Ready = Callable[["subprocess.Popen[str]"], int]
"""Waits until a program is ready, and tells where it listens. Raises NotReady."""


@contextlib.contextmanager
def running(command: list[str], core: set[int], ready: Ready, **environment: str) -> Generator[Process]:
    """A program, from the moment it is ready until the block ends."""
    with tempfile.TemporaryFile("w+") as errors:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if ready in (printed, talking) else errors,
            stderr=errors,
            text=True,
            env={**os.environ, **environment},
            preexec_fn=lambda: os.sched_setaffinity(0, core),
            process_group=0,
        )
        try:
            try:
                port = ready(popen)
            except NotReady as failure:
                errors.seek(0)
                raise NotServing(f"{command[0]}: {failure}\n{errors.read()[-2000:]}") from None
            yield Process(port, popen)
        finally:
            end(popen)


def end(popen: subprocess.Popen[str]) -> None:
    """End a program: in good order first, and then for certain, with all it has started."""
    if popen.stdin is not None:
        popen.stdin.close()
    popen.send_signal(signal.SIGTERM)
    try:
        popen.wait(_END_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()
    if popen.stdout is not None:
        popen.stdout.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert isinstance(port, int)
        return port


def answering(port: int, question: bytes = _HELLO) -> Ready:
    """Wait until something on the port answers: a master listens before it has a worker who could."""

    def wait(popen: "subprocess.Popen[str]") -> int:
        until = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < until and popen.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=READY_SECONDS_MAX) as sock:
                    sock.sendall(question)
                    if sock.recv(1):
                        return port
            except OSError:
                pass
            time.sleep(0.05)
        raise NotReady(f"it does not answer on port {port}")

    return wait


def printed(popen: "subprocess.Popen[str]") -> int:
    """Read the port it prints."""
    line = _line(popen, READY_SECONDS_MAX)
    if not line:
        raise NotReady("it did not say which port it listens on")
    return int(line)


def talking(popen: "subprocess.Popen[str]") -> int:
    """Wait for the line by which a program says that it may be asked on its standard input."""
    if not _line(popen, READY_SECONDS_MAX):
        raise NotReady("it did not say that it is ready")
    return 0


def _line(popen: "subprocess.Popen[str]", seconds: float) -> str:
    """The next line that a program prints; nothing, if none comes in time."""
    assert popen.stdout is not None
    came, _, _ = select.select([popen.stdout], [], [], seconds)
    return popen.stdout.readline() if came else ""


# --------------------------------------------------------------------------------------------------- the load


@contextlib.contextmanager
def _generator(core: set[int], kind: str, task: msgspec.Struct) -> Generator["subprocess.Popen[str]"]:
    """A load generator, which does not outlive the block."""
    popen = subprocess.Popen(
        [sys.executable, "-m", "bench.generator", kind, msgspec.json.encode(task).decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, core),
    )
    with popen:
        try:
            yield popen
        finally:
            popen.kill()


class NoResult(Exception):
    """A load generator did not do its task. It cannot, where a gateway does not let it connect."""


def _said(popen: "subprocess.Popen[str]", seconds_max: float) -> str:
    """What a generator prints until it ends, if that is not too late."""
    try:
        out, errors = popen.communicate(timeout=seconds_max)
    except subprocess.TimeoutExpired:
        out, errors = "", "it did not end"
    if not out:
        raise NoResult(f"the load generator failed: {errors[-2000:]}")
    return out


AnyResult = TypeVar("AnyResult")


def load(
    core: set[int],
    kind: str,
    task: Task | OpenTask | PacedTask,
    result: type[AnyResult],
    meanwhile: Callable[[], object] | None = None,
) -> AnyResult:
    """Have the load generator do a task. meanwhile: what is looked at again and again until it is done."""
    until = time.monotonic() + task.seconds_max
    with _generator(core, kind, task) as popen:
        while meanwhile is not None and popen.poll() is None and time.monotonic() < until:
            meanwhile()
            time.sleep(_LOOK_SECONDS)
        return msgspec.json.decode(_said(popen, max(1.0, until - time.monotonic())), type=result)


def hold(core: set[int], task: IdleTask, then: Callable[[str], object]) -> IdleResult:
    """Have connections held that say nothing. then: called with each word of idle.py's, when it is so."""
    with _generator(core, "idle", task) as popen:
        assert popen.stdin is not None
        for word in ("open", "asked"):
            if _line(popen, task.seconds_max).strip() != word:
                raise NoResult(f"the connections were not {word}")
            then(word)
            popen.stdin.write("\n")
            popen.stdin.flush()
        return msgspec.json.decode(_said(popen, task.seconds_max), type=IdleResult)


def have_done(process: Process, task: Task) -> Result:
    """Have a program that has its callers inside do a task."""
    assert process.popen.stdin is not None
    process.popen.stdin.write(msgspec.json.encode(task).decode() + "\n")
    process.popen.stdin.flush()
    line = _line(process.popen, task.seconds_max)
    if not line:
        raise NoResult("the program with the gateway inside did not do its task")
    return msgspec.json.decode(line, type=Result)
