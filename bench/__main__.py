"""`python -m bench`: Stargate on all its loops beside other gateways, in one run: a table and a picture.

    python -m bench [--all] [--load NAME,...] [--open-loop] [--curve] [--idle] [--soak] [--only NAME,...] ...
    python -m bench peers                       installs the other gateways, as far as that goes here
    python -m bench --markdown                  the last run again, as docs/performance.md shows it
    python -m bench --profile NAME [--load ...] where the time of one of them goes
    python -m bench core                        what the pure core costs by itself
    python -m bench budgets [--renew]           the same by count, and what it may be

See README.md here.
"""

import argparse
import contextlib
import importlib.metadata
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench import budgets, core, figures, gateways, page, peers, plot, processes, profiling
from bench.figures import Record
from bench.gateways import Missing
from bench.processes import Neighbours
from bench.suites import FAILURES, Options, Suites, is_soaked, measure, started
from bench.targets import TARGETS, NoSuchTarget, Target, chosen
from bench.traffic import LOADS

RESULTS: Final = Path(__file__).with_name("results") / "latest.json"
PACED: Final = "paced"
_USUAL_LOADS: Final = ("plain", "stream")
_USUAL_RATES: Final = (200.0, 1_000.0)
_RATES: Final = (25.0, 200.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0, 16_000.0)
_OPEN_LOADS: Final = ("plain", "stream")
_CROWDS: Final = (100, 1_000, 2_000)
_CONNECTIONS: Final = (10, 32, 100, 320, 1_000, 3_200, 10_000)
_VERSIONS_OF: Final = ("trio", "uvloop", "hypercorn", "uvicorn", "granian")
_START_SECONDS: Final = 1.5
"""What starting a target takes, and starting a load: for saying how long all will take."""
_LOAD_SECONDS: Final = 0.5
_CONNECTION_SECONDS: Final = 0.001
_SOAK_PER_SECOND: Final = 3_000


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _names(text: str) -> list[str]:
    return text.split(",")


class _Plan:
    """What the command line asks for."""

    def __init__(self, given: Any) -> None:
        named = given.load or given.open_loop or given.curve or given.idle or given.soak
        every = given.every and not named
        usual = not given.every and not named
        asked: list[str] = given.load or []
        loads = [name for name in asked if name != PACED]
        self.loads: list[str] = []
        """In the closed loop."""
        if every or usual:
            self.loads = list(LOADS) if every else list(_USUAL_LOADS)
        elif not given.open_loop:
            self.loads = loads
        self.rates: list[float] = []
        """In the open loop, for each of its loads."""
        if every or usual or given.open_loop:
            self.rates = list(map(float, given.rates or (_USUAL_RATES if usual else _RATES)))
        self.open_rounds = 1 if usual else given.rounds
        self.open_loads: list[str] = loads or (["plain"] if usual else list(_OPEN_LOADS))
        self.crowds: list[int] = given.streams if every or PACED in asked else []
        self.curve: list[int] = given.sizes if every or given.curve else []
        self.idle: int = given.idle_connections if every or given.idle else 0
        self.soak: int = given.soak_requests if every or given.soak else 0
        self.given = given

    def seconds(self, targets: list[Target], few: int) -> float:
        """About how long it takes, if of all targets these few have more than their rates measured."""
        given = self.given
        each = given.seconds + min(0.4, given.seconds) + _LOAD_SECONDS
        rates = given.rounds * len(self.loads) * each
        fixed = self.open_rounds * len(self.rates) * len(self.open_loads) * each
        numbers = given.rounds * sum(each + size * _CONNECTION_SECONDS for size in self.curve)
        crowds = len(self.crowds) * (3 * given.events / given.pace + 2 * _START_SECONDS)
        idle = 2 * _START_SECONDS + self.idle * _CONNECTION_SECONDS if self.idle else 0
        soaked = sum(is_soaked(target) for target in targets) * self.soak / _SOAK_PER_SECOND
        all_of_them = len(targets) * (_START_SECONDS + rates)
        return float(all_of_them + few * (fixed + numbers + crowds + idle) + soaked)


def _compare(given: Any, targets: list[Target]) -> None:
    """Measure everything; print, draw and keep what was found."""
    gateway_core, load_core = processes.cores()
    if gateway_core == load_core:
        _say("one core only: gateway, upstream and load share it, and the rates say little")
    plan = _Plan(given)
    suites = Suites(targets, _options(given))
    usual = given.every and not given.only
    minutes = plan.seconds(targets, len(suites.with_base(usual=usual))) / 60
    _say(f"{len(targets)} targets, about {minutes:.1f} minutes")
    neighbours = Neighbours(gateway_core | load_core)
    together = list(targets) if plan.loads or plan.rates or plan.curve else []
    if plan.rates:
        together += [target for target in suites.with_base(usual=True) if target not in together]
    failure: Exception | None = None
    try:
        with suites.upstream() as upstream, suites.all_started(upstream, together) as running:
            suites.rates(running, plan.loads)
            few = [one for one in running if one.target.usual or not usual]
            if plan.rates:
                suites.open_loop(few, plan.open_loads, plan.rates, plan.open_rounds)
            if plan.curve:
                suites.curve(few, plan.curve)
        if plan.crowds:
            suites.paced(plan.crowds, events=given.events, per_second=given.pace, usual=usual)
        if plan.idle:
            suites.idle(plan.idle, usual=usual)
        if plan.soak:
            suites.soak(plan.soak)
    except FAILURES as found:
        # An hour's work is not thrown away for its last minute; but the run has failed, and says so.
        failure = found
        suites.failures["the run"] = str(failure)
    record = _record(given, suites, neighbours.share())
    figures.save(given.output, record)
    _show(given, record)
    if failure is not None:
        raise SystemExit(str(failure))


def _record(given: Any, suites: Suites, others: float) -> Record:
    about = figures.about(
        _versions(given.folder),
        connections=given.connections,
        writes=given.writes,
        rounds=given.rounds,
        seconds=given.seconds,
        others=others,
    )
    return Record(
        about=about,
        skipped=suites.skipped,
        failures=suites.failures,
        samples=suites.samples,
        open_loop=suites.open_samples,
        curve=suites.curve_samples,
        paced=suites.paced_samples,
        idle=suites.idle_samples,
        soak=suites.soak_samples,
    )


def _show(given: Any, record: Record) -> None:
    """Print it and draw it."""
    print(page.page(record))
    try:
        drawn = [path.name for path in plot.draw(record, given.output)]
    except ImportError:
        drawn = []
        _say("there is no picture: matplotlib is not installed (the group `bench` has it)")
    _say(f"kept in {', '.join([str(given.output), *drawn])}")


def _options(given: Any) -> Options:
    return Options(
        rounds=given.rounds,
        seconds=given.seconds,
        connections=given.connections,
        writes=given.writes,
        folder=given.folder,
        files=processes.raise_open_files(),
        say=_say,
    )


def _versions(folder: Path) -> dict[str, str]:
    """Of what is measured, where it is installed."""
    found: dict[str, str] = {}
    with contextlib.suppress(Missing):
        found["Envoy"] = gateways.envoy_version()
    found |= peers.versions(folder)
    for name in _VERSIONS_OF:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _profile(given: Any, target: Target, kind: str) -> None:
    """Load one target, and watch it meanwhile."""
    _, load_core = processes.cores()
    options = _options(given)
    with gateways.upstream(load_core, given.writes) as upstream:
        if profiling.py_spy() is not None:
            try:
                with (
                    started(target, upstream, given.folder) as running,
                    profiling.watching(running.process.worker()) as stacks,
                ):
                    sample = measure(running, kind, 0, options)
                rate, cpu_us = sample.result.per_second, sample.cpu_us or 0
                print(f"{target.name}, {kind}: {rate:,.0f} per second, {cpu_us:.0f} µs of CPU each")
                print(profiling.report(stacks))
                return
            except profiling.Unwatchable as failure:
                _say(f"py-spy can't watch here ({failure}); using cProfile")
        if not gateways.is_command_of_ours(target.server):
            raise SystemExit(f"{target.name} can be watched by py-spy only")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "profile")
            with started(target, upstream, given.folder, profiling.cprofile_wrapper(path)) as running:
                measure(running, kind, 0, options)
            print(profiling.cprofile_report(path))


def _say(text: str) -> None:
    """What a person who waits wants to know; what was found goes to standard output alone."""
    print(text, file=sys.stderr, flush=True)


def _ended(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    whats = ["gateways", "peers", "core", "budgets"]
    parser.add_argument("what", nargs="?", choices=whats, default="gateways")
    add = parser.add_argument
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=1.0, help="of each measurement")
    add("--connections", type=int, default=32)
    add("--writes", type=int, default=8, help="writes in which a stream leaves upstream")
    add("--all", action="store_true", dest="every", help="every target; and if none is named, every suite")
    add("--load", type=_names, metavar="NAME,...", help=f"only {', '.join([*LOADS, PACED])}")
    add("--open-loop", action="store_true", help="added latency at fixed rates")
    add("--rates", type=_numbers, metavar="N,...", help="those rates, requests per second")
    add("--curve", action="store_true", help="requests per second over the number of connections")
    add("--sizes", type=_numbers, default=list(_CONNECTIONS), metavar="N,...", help="those numbers")
    add("--streams", type=_numbers, default=list(_CROWDS), metavar="N,...", help="paced streams at a time")
    add("--events", type=int, default=100, help="of a paced stream")
    add("--pace", type=float, default=25.0, help="events per second of a paced stream")
    add("--idle", action="store_true", help="memory for idle connections")
    add("--idle-connections", type=int, default=9_900, metavar="N", help="how many")
    add("--soak", action="store_true", help="memory over many requests")
    add("--soak-requests", type=int, default=1_000_000, metavar="N", help="how many")
    add(
        "--only",
        type=_names,
        default=[],
        metavar="NAME,...",
        help=f"some of these, * for any letters: {', '.join(target.name for target in TARGETS)}",
    )
    add("--folder", type=Path, default=peers.FOLDER, help="where `peers` puts the other gateways")
    add("--profile", metavar="NAME", help="where the time of this target goes")
    add("--markdown", action="store_true", help="measure nothing, print and draw the last run again")
    add("--output", type=Path, default=RESULTS, help="where a run is kept, as JSON, PNG and SVG")
    add("--renew", action="store_true", help="make what is counted the budgets")
    add("--instructions", action="store_true", help="have valgrind count, beside the budgets")
    add("--budgets", type=Path, default=budgets.FILE, metavar="FILE", help="where they stand")
    return parser


def main() -> None:
    """Read the command line."""
    # What has been started is ended on this way out too.
    signal.signal(signal.SIGTERM, _ended)
    parser = _parser()
    given = parser.parse_args()
    try:
        targets = chosen([given.profile] if given.profile else given.only, every=given.every)
    except NoSuchTarget as unknown:
        parser.error(f"there is no target {unknown}")
    loads: list[str] = given.load or []
    for name in loads:
        if name not in LOADS and name != PACED:
            parser.error(f"there is no load {name}")
    whats: dict[str, Callable[[], None]] = {
        "core": core.main,
        "peers": lambda: peers.install(given.folder, _say),
        "budgets": lambda: budgets.main(given.budgets, renewed=given.renew, instructions=given.instructions),
    }
    if given.what in whats:
        whats[given.what]()
    elif given.markdown:
        _show(given, figures.kept(given.output))
    else:
        try:
            if given.profile:
                _profile(given, targets[0], (loads or ["plain"])[0])
            else:
                _compare(given, targets)
        except (Missing, *FAILURES) as failure:
            raise SystemExit(str(failure)) from None


if __name__ == "__main__":
    main()
