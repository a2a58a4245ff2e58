"""`python -m bench`: every way to run Stargate beside Envoy, plain requests and streams, in one run.

    python -m bench [--all | --only NAME,...] [--kind plain|stream] [--rounds N] [--seconds S] ...
    python -m bench --markdown                  the last run again, as README.md shows it
    python -m bench --profile NAME [--kind ...] where the time of one of them goes
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from bench import budgets, core, figures, gateways, processes, profiling
from bench.figures import Record, Sample
from bench.gateways import ENVOY, IN_PROCESS, UPSTREAM, Missing
from bench.load import Task
from bench.processes import Neighbours, Process
from bench.targets import TARGETS, NoSuchTarget, Target, chosen

RESULTS: Final = Path(__file__).with_name("results") / "latest.json"
KINDS: Final = ("plain", "stream")
_WARM_UP_SECONDS_MAX: Final = 0.4
_START_SECONDS: Final = 1.2
"""What starting a target takes, and starting a load: for saying how long all will take."""
_LOAD_SECONDS: Final = 0.4
_VERSIONS_OF: Final = ("trio", "uvloop", "hypercorn", "uvicorn", "granian")


class Running(msgspec.Struct):
    """A target that has been started."""

    target: Target
    process: Process


@contextlib.contextmanager
def _started(target: Target, upstream: Process, wrapper: tuple[str, ...] = ()) -> Iterator[Running]:
    """One target. Raises Missing."""
    gateway_core, load_core = processes.cores()
    if target.server == UPSTREAM:
        yield Running(target, upstream)
        return
    if target.server == ENVOY:
        starting = gateways.envoy(gateway_core, upstream.port)
    else:
        starting = gateways.stargate(
            target.server,
            target.settings,
            core=gateway_core,
            store_core=load_core,
            upstream_port=upstream.port,
            wrapper=wrapper,
        )
    with starting as process:
        yield Running(target, process)


def _measure(running: Running, kind: str, number: int, given: Any) -> Sample:
    """One run of the load."""
    target, process = running.target, running.process
    task = Task(
        port=process.port,
        dialect=target.dialect,
        stream=kind == "stream",
        connections=given.connections,
        warm_up_seconds=min(_WARM_UP_SECONDS_MAX, given.seconds),
        seconds=given.seconds,
    )
    before = process.cpu_seconds()
    if target.server == IN_PROCESS:
        result = processes.have_done(process, task)
    else:
        result = processes.load(processes.cores()[1], task)
    cpu_seconds = process.cpu_seconds() - before
    if result.errors:
        errors = "\n".join(result.errors)
        raise SystemExit(f"{target.name}, {kind}: an answer is wrong or did not come\n{errors}")
    is_gateway = target.server != UPSTREAM
    return Sample(
        target=target.name,
        kind=kind,
        round=number,
        result=result,
        cpu_seconds=cpu_seconds if is_gateway else None,
        resident_mib=process.resident_mib() if is_gateway else None,
    )


def _compare(given: Any, targets: list[Target], kinds: list[str]) -> None:
    """Measure everything, in alternation; print and keep what was found."""
    gateway_core, load_core = processes.cores()
    if gateway_core == load_core:
        _say("one core only: gateway, upstream and load share it, and the rates say little")
    each = given.seconds + min(_WARM_UP_SECONDS_MAX, given.seconds) + _LOAD_SECONDS
    all_seconds = len(targets) * (_START_SECONDS + len(kinds) * given.rounds * each)
    _say(f"{len(targets)} targets, about {all_seconds:.0f} s")
    neighbours = Neighbours(gateway_core | load_core)
    samples: list[Sample] = []
    skipped: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(gateways.upstream(load_core, given.writes))
        started: list[Running] = []
        for target in targets:
            try:
                started.append(stack.enter_context(_started(target, upstream)))
            except Missing as missing:
                skipped[target.name] = str(missing)
                _say(f"{target.name}: skipped, {missing}")
        for number in range(given.rounds):
            for kind in kinds:
                # Every other round backwards, so that nobody always comes first after a pause.
                order = started if number % 2 == 0 else started[::-1]
                samples += [_measure(running, kind, number, given) for running in order]
            _say(f"round {number + 1} of {given.rounds} done")
        others = neighbours.share()
    names = [target.name for target in TARGETS]
    samples.sort(key=lambda one: (KINDS.index(one.kind), names.index(one.target), one.round))
    about = figures.about(
        _versions(),
        connections=given.connections,
        writes=given.writes,
        rounds=given.rounds,
        seconds=given.seconds,
        others=others,
    )
    record = Record(about=about, skipped=skipped, samples=samples)
    print(figures.page(record))
    figures.save(given.output, record)
    _say(f"kept in {given.output}")


def _versions() -> dict[str, str]:
    """Of what is measured, where it is installed."""
    found: dict[str, str] = {}
    with contextlib.suppress(Missing):
        found["Envoy"] = gateways.envoy_version()
    for name in _VERSIONS_OF:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _profile(given: Any, target: Target, kind: str) -> None:
    """Load one target, and watch it meanwhile."""
    _, load_core = processes.cores()
    with gateways.upstream(load_core, given.writes) as upstream:
        if profiling.py_spy() is not None:
            try:
                with (
                    _started(target, upstream) as running,
                    profiling.watching(running.process.worker()) as stacks,
                ):
                    sample = _measure(running, kind, 0, given)
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
            with _started(target, upstream, profiling.cprofile_wrapper(path)) as running:
                _measure(running, kind, 0, given)
            print(profiling.cprofile_report(path))


def _say(text: str) -> None:
    """What a person who waits wants to know; what was found goes to standard output alone."""
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", nargs="?", choices=["gateways", "core", "budgets"], default="gateways")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--writes", type=int, default=8, help="writes in which a stream leaves upstream")
    parser.add_argument("--kind", choices=KINDS, help="this kind of request alone")
    parser.add_argument("--all", action="store_true", dest="every", help="variants too")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=[],
        metavar="NAME,...",
        help=f"some of these, * for any letters: {', '.join(target.name for target in TARGETS)}",
    )
    parser.add_argument("--profile", metavar="NAME", help="where the time of this target goes")
    parser.add_argument("--markdown", action="store_true", help="measure nothing, print the last run again")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where a run is kept, as JSON")
    parser.add_argument("--renew", action="store_true", help="make what is counted the budgets")
    parser.add_argument("--instructions", action="store_true", help="have valgrind count, beside the budgets")
    parser.add_argument("--budgets", type=Path, default=budgets.FILE, metavar="FILE", help="where they stand")
    return parser


def main() -> None:
    """Read the command line."""
    # What has been started is ended on this way out too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parser = _parser()
    given = parser.parse_args()
    try:
        targets = chosen([given.profile] if given.profile else given.only, every=given.every)
    except NoSuchTarget as unknown:
        parser.error(f"there is no target {unknown}")
    if given.what == "core":
        core.main()
    elif given.what == "budgets":
        budgets.main(given.budgets, renewed=given.renew, instructions=given.instructions)
    elif given.markdown:
        print(figures.page(figures.kept(given.output)))
    elif given.profile:
        _profile(given, targets[0], given.kind or KINDS[0])
    else:
        _compare(given, targets, [given.kind] if given.kind else list(KINDS))


if __name__ == "__main__":
    main()
