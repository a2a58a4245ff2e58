"""The hunt: does the simulation find each planted bug, and after how many worlds?

    python -m sim.hunt                  every bug; the table goes to docs/simulation.md
    python -m sim.hunt --bug 7          one of them, here, with what was found
    python -m sim.hunt --worlds 500     at most so many worlds for each

A bug must be in the core before the core is imported, so each has an interpreter of its own. The worlds are
those of the seeds from 0 on, the same for all.
"""

import argparse
import concurrent.futures
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from sim.planted import BUGS, plant

WORLDS_MAX: Final = 1500
_WORLD_SECONDS_MAX: Final = 120
"""Of processor time. Worlds are bounded in steps: what takes longer is a machine that does not return."""
_TESTS: Final = Path(__file__).parents[1]


class Found(NamedTuple):
    """What became of a bug. worlds: how many it took; 0: none has found it."""

    bug: int
    worlds: int
    how: str


def hunt(number: int, worlds_max: int) -> Found:
    """Look for one bug, in this interpreter."""
    plant(BUGS[number])
    from sim.violation import Violation
    from sim.world import run  # Now, and not before: it imports the core.

    def too_long(_number: int, _frame: object) -> None:
        raise Violation("a world does not end")

    signal.signal(signal.SIGPROF, too_long)
    for seed in range(worlds_max):
        signal.setitimer(signal.ITIMER_PROF, _WORLD_SECONDS_MAX)
        try:
            run(seed)
        except Exception as error:  # noqa: BLE001  (a violation, or what the bug has made of a machine)
            what = getattr(error, "what", None) or f"{type(error).__name__} raised"
            return Found(number, seed + 1, str(what))
    return Found(number, 0, "")


def apart(number: int, worlds_max: int) -> Found:
    """Look for one bug, in an interpreter of its own."""
    command = [sys.executable, "-m", "sim.hunt", "--bug", str(number), "--worlds", str(worlds_max)]
    ended = subprocess.run(command, cwd=_TESTS, capture_output=True, text=True, check=True)
    worlds, _, how = ended.stdout.strip().partition(" ")
    return Found(number, int(worlds), how)


def hunts(worlds_max: int, jobs: int) -> Iterator[Found]:
    """Look for all of them."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda number: apart(number, worlds_max), range(len(BUGS)))


def main() -> None:
    """Hunt for what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m sim.hunt", description=__doc__)
    parser.add_argument("--bug", type=int, help="the number of one")
    parser.add_argument("--worlds", type=int, default=WORLDS_MAX)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    if given.bug is not None:
        found = hunt(given.bug, given.worlds)
        sys.stdout.write(f"{found.worlds} {found.how}\n")
        return
    missed = 0
    sys.stdout.write("| Planted | Kind | Worlds | Found by |\n|---|---|---:|---|\n")
    for found in hunts(given.worlds, given.jobs):
        missed += not found.worlds
        bug, worlds = BUGS[found.bug], found.worlds or "not found"
        sys.stdout.write(f"| {bug.name} | {bug.kind} | {worlds} | {found.how} |\n")
        sys.stdout.flush()
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
