"""Live simulated worlds: python -m sim [SEED ...] [--worlds N | --sessions N | --seconds S] [--base TEXT].

Without a seed, the worlds of the commit at hand, on all processors; the first one that breaks an invariant
ends the run with its seed, its last steps and status 1. With seeds, these worlds again, told step by step.
"""

import argparse
import collections
import itertools
import multiprocessing
import os
import sys
import time

from sim.narrate import time_line, told
from sim.seeds import commit, seeds_of
from sim.shrink import shrunk
from sim.world import Report, Violation, World

_BATCH = 20


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def _lived(seed: int) -> Report | str:
    """A world's report; in words, what it breaks."""
    world = World(seed)
    try:
        return world.live()
    except Violation as violation:
        return told(seed, violation, world)
    except Exception as error:
        error.add_note(f"in the world of seed {seed}")
        raise


def _again(seed: int, without: frozenset[str]) -> bool:
    """Live a world and tell it; whether all held."""
    world = World(seed, without=without, narrates=True)
    try:
        report = world.live()
    except Violation as violation:
        _say(*time_line(world), told(seed, violation, world, 0))
        return False
    _say(*time_line(world), str(report))
    return True


def _many(options: argparse.Namespace) -> int:
    began = time.monotonic()
    totals: collections.Counter[str] = collections.Counter()
    base = options.base or commit()
    _say(f"worlds of {base}")
    seeds = itertools.islice(seeds_of(base), options.worlds)
    with multiprocessing.Pool(options.processes) as pool:
        # The pool takes seeds far ahead of the worlds, so it is here that a run is told to end.
        for outcome in pool.imap_unordered(_lived, seeds, chunksize=_BATCH):
            if isinstance(outcome, str):
                _say(outcome)
                seed = int(outcome.partition("\nseed ")[2].split()[0])
                _say(f"the same without: {' '.join(sorted(shrunk(seed))) or 'nothing'}")
                return 1
            totals["worlds"] += 1
            for name in ("sessions", "requests", "events", "calls", "takes", "good", "refused", "broken_off"):
                totals[name] += getattr(outcome, name)
            if totals["worlds"] % 500 == 0:
                _say(_line(totals, time.monotonic() - began))
            if totals["sessions"] >= options.sessions or time.monotonic() - began > options.seconds:
                break
        pool.terminate()
    _say(_line(totals, time.monotonic() - began))
    return 0


def _line(totals: collections.Counter[str], seconds: float) -> str:
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in totals.items())
    return f"{counts}; {totals['sessions'] / seconds:.0f} sessions/s"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m sim", description="live simulated worlds")
    parser.add_argument("seeds", nargs="*", type=int, help="live these again, told step by step")
    parser.add_argument("--worlds", type=int, default=10**9, help="at most so many")
    parser.add_argument("--sessions", type=int, default=100_000, help="until there were so many sessions")
    parser.add_argument("--seconds", type=float, default=900, help="and for no longer")
    parser.add_argument("--base", default="", help="what the seeds are made of; default: the commit")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--without", nargs="*", default=[], help="features to leave out of given seeds")
    options = parser.parse_args()
    if options.seeds:
        return 0 if all(_again(seed, frozenset(options.without)) for seed in options.seeds) else 1
    return _many(options)


if __name__ == "__main__":
    sys.exit(main())
