"""Where a gateway's time goes while it serves: py-spy's samples from outside, or cProfile's counts.

What is watched is the one process that does the work, where a server has several.

py-spy sees lines, and stops the process for a moment each sample and no more, so it is preferred. (Without
stopping it, it loses most samples of deep stacks, and with them the truth.) It needs the right to look into
another process (ptrace); where that is missing, the gateway is started again under cProfile, whose costs per
call make small functions look dearer than they are.
"""

import collections
import contextlib
import os
import pstats
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Final

import msgspec

_RATE_HZ: Final = 400
_LINES: Final = 45
_WATCHER_SECONDS_MAX: Final = 20.0
_WAITING: Final = "WorkerThread._work ("
"""Where trio's threads wait for work: py-spy takes their wait on a lock for work."""
_CPROFILE: Final = """
import cProfile, runpy, sys
profile = cProfile.Profile()
path, sys.argv = sys.argv[1], sys.argv[2:]
profile.enable()
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    profile.disable()
    profile.dump_stats(path)
"""


class Spot(msgspec.Struct):
    """A function or a line, and its share of all samples: of its own, and with what it called."""

    own: int = 0
    all: int = 0


def py_spy() -> Path | None:
    """The program, if it is installed in this environment."""
    path = Path(sys.executable).with_name("py-spy")
    return path if path.exists() else None


@contextlib.contextmanager
def watching(pid: int) -> Generator[list[str]]:
    """Sample a process until the block ends; then the list holds the folded stacks. Raises Unwatchable."""
    program = py_spy()
    assert program is not None
    stacks: list[str] = []
    with tempfile.NamedTemporaryFile("r") as file, tempfile.TemporaryFile("w+") as errors:
        command = [os.fspath(program), "record", "--pid", str(pid), "--format", "raw"]
        command += ["--rate", str(_RATE_HZ), "--output", file.name]
        watcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert watcher.stdout is not None
            # It says that it has begun; or it ends without a word here.
            began, _, _ = select.select([watcher.stdout], [], [], _WATCHER_SECONDS_MAX)
            if not began or not watcher.stdout.readline():
                errors.seek(0)
                raise Unwatchable(errors.readline().strip() or "py-spy does not begin")
            yield stacks
            watcher.send_signal(signal.SIGINT)
            watcher.communicate(timeout=_WATCHER_SECONDS_MAX)
        finally:
            watcher.kill()
            watcher.wait()
            if watcher.stdout is not None:
                watcher.stdout.close()
        stacks += file.read().splitlines()
    if not stacks:
        raise Unwatchable("py-spy saw nothing")


class Unwatchable(Exception):
    """py-spy could not look into the process."""


def _short(frame: str) -> str:
    """`handle (gateway/session.py:152)` for a frame with a whole path."""
    name, _, place = frame.partition(" (")
    file, _, line = place.rstrip(")").rpartition(":")
    return f"{name} ({'/'.join(Path(file).parts[-2:])}:{line})"


def spots(stacks: list[str]) -> tuple[dict[str, Spot], dict[str, Spot], int]:
    """By function, by line, and how many samples there are, from stacks as `a;b;c 12`."""
    functions: dict[str, Spot] = collections.defaultdict(Spot)
    lines: dict[str, Spot] = collections.defaultdict(Spot)
    total = 0
    for stack in stacks:
        path, _, count_text = stack.rpartition(" ")
        count = int(count_text)
        frames = [_short(frame) for frame in path.split(";") if " (" in frame]
        if not frames or frames[-1].startswith(_WAITING):
            continue
        total += count
        for found, names in (
            (lines, frames),
            (functions, [f"{frame.rpartition(':')[0]})" for frame in frames]),
        ):
            for name in set(names):
                found[name].all += count
            found[names[-1]].own += count
    return functions, lines, total


def report(stacks: list[str]) -> str:
    """The places with the most time: functions with what they call, and lines by themselves."""
    functions, lines, total = spots(stacks)

    def part(title: str, found: dict[str, Spot], *, own: bool) -> list[str]:
        ranked = sorted(found.items(), key=lambda item: item[1].own if own else item[1].all, reverse=True)
        rows = [
            f"{spot.own / total:>7.1%} {spot.all / total:>7.1%}  {name}" for name, spot in ranked[:_LINES]
        ]
        return [f"\n{title}\n    own    all", *rows]

    return "\n".join(
        [
            f"{total} samples",
            *part("functions, with what they call", functions, own=False),
            *part("functions, by themselves", functions, own=True),
            *part("lines, by themselves", lines, own=True),
        ]
    )


def cprofile_wrapper(path: Path) -> tuple[str, ...]:
    """The command that runs a Python program under cProfile and leaves the counts in `path`."""
    return (sys.executable, "-c", _CPROFILE, os.fspath(path))


def cprofile_report(path: Path) -> str:
    """What cProfile counted: what takes long itself, and what takes long with all that it calls."""
    with tempfile.TemporaryFile("w+") as file:
        counted = pstats.Stats(os.fspath(path), stream=file)
        for order in ("tottime", "cumulative"):
            counted.sort_stats(order).print_stats(_LINES)
        file.seek(0)
        return file.read()
