"""`python -m bench`: Stargate beside Envoy, a plain request and a stream of 64 events, in one run.

    python -m bench [--rounds N] [--seconds S] [--only NAME,...] [--connections N] [--writes N]
    python -m bench --profile plain|stream      where the time of the gateway goes
    python -m bench core                        what the pure core costs by itself

See README.md here.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from bench import core, figures, processes, profiling
from bench.figures import Sample
from bench.processes import Missing, Process

RESULTS: Final = Path(__file__).with_name("results") / "latest.json"
TARGETS: Final = (
    "envoy",
    "stargate",
    "stargate h11",
    "stargate limits",
    "stargate limits redis",
    "stargate cache",
    "upstream itself",
)
KINDS: Final = ("plain", "stream")
_WARM_UP_SECONDS: Final = 0.4


class Target(msgspec.Struct):
    """Something to send requests to."""

    name: str
    dialect: str
    process: Process
    is_gateway: bool = True


@contextlib.contextmanager
def _targets(
    only: list[str], gateway_core: set[int], load_core: set[int], upstream: Process
) -> Iterator[list[Target]]:
    """Start what is to be measured and installed; say what is not."""
    with contextlib.ExitStack() as stack:
        found: list[Target] = []
        for name in TARGETS:
            if only and name not in only:
                continue
            try:
                if name == "envoy":
                    process = stack.enter_context(processes.envoy(gateway_core, upstream.port))
                    found.append(Target(name, "converse", process))
                elif name.startswith("stargate"):
                    settings: dict[str, Any] = {"limits": "limits" in name, "cache": "cache" in name}
                    if name.endswith("h11"):
                        settings["http_codec"] = "reference"
                    if name.endswith("redis"):
                        settings["store"] = stack.enter_context(processes.redis(load_core))
                    process = stack.enter_context(processes.stargate(gateway_core, upstream.port, **settings))
                    found.append(Target(name, "openai", process))
                else:
                    found.append(Target(name, "signed", upstream, is_gateway=False))
            except Missing as missing:
                print(f"{name}: skipped, {missing}")
        yield found


def _measure(target: Target, kind: str, number: int, given: Any) -> Sample:
    """One run of the load."""
    _, load_core = processes.cores()
    arguments = ["--port", target.process.port, "--dialect", target.dialect, "--kind", kind]
    arguments += [
        "--connections",
        given.connections,
        "--seconds",
        given.seconds,
        "--warm-up",
        _WARM_UP_SECONDS,
    ]
    before = target.process.cpu_seconds()
    result = processes.load(load_core, list(map(str, arguments)), given.seconds + _WARM_UP_SECONDS)
    cpu_seconds = target.process.cpu_seconds() - before if target.is_gateway else None
    if result.errors:
        errors = "\n".join(result.errors)
        raise SystemExit(f"{target.name}, {kind}: an answer is wrong or did not come\n{errors}")
    return Sample(target=target.name, kind=kind, round=number, result=result, cpu_seconds=cpu_seconds)


def _compare(given: Any) -> None:
    """Measure everything, in alternation; print and keep the figures."""
    gateway_core, load_core = processes.cores()
    about = figures.machine()
    samples: list[Sample] = []
    with (
        processes.upstream(load_core, given.writes) as upstream,
        _targets(given.only, gateway_core, load_core, upstream) as targets,
    ):
        for number in range(given.rounds):
            for kind in KINDS:
                # Every other round backwards, so that nobody always comes first after a pause.
                order = targets if number % 2 == 0 else targets[::-1]
                samples += [_measure(target, kind, number, given) for target in order]
            print(f"round {number + 1} of {given.rounds} done", file=sys.stderr)
        memory = {one.name: one.process.resident_mib() for one in targets if one.is_gateway}
    found = sorted(
        figures.figures(samples), key=lambda one: (KINDS.index(one.kind), TARGETS.index(one.target))
    )
    with contextlib.suppress(Missing):
        about["envoy"] = processes.envoy_version()
    about["connections"], about["writes"] = str(given.connections), str(given.writes)
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    if gateway_core == load_core:
        print("one core only: gateway, upstream and load share it, and the rates say little")
    print(figures.table(found))
    print("resident memory: " + ", ".join(f"{name} {size:.0f} MiB" for name, size in memory.items()))
    figures.save(given.output, about, samples, found)
    print(f"kept in {given.output}")


def _profile(given: Any) -> None:
    """Load the gateway, and watch it meanwhile."""
    gateway_core, load_core = processes.cores()
    with processes.upstream(load_core, given.writes) as upstream:
        if profiling.py_spy() is not None:
            try:
                with processes.stargate(gateway_core, upstream.port) as process:
                    target = Target("stargate", "openai", process)
                    with profiling.watching(process, given.seconds) as stacks:
                        time.sleep(0.3)  # py-spy takes a moment to begin
                        sample = _measure(target, given.profile, 0, given)
                print(f"{sample.result.per_second:,.0f} per second, {sample.cpu_us or 0:.0f} µs of CPU each")
                print(profiling.report(stacks))
                return
            except profiling.Unwatchable as failure:
                print(f"py-spy can't watch here ({failure}); using cProfile", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "profile")
            wrapper = profiling.cprofile_wrapper(path)
            with processes.stargate(gateway_core, upstream.port, wrapper=wrapper) as process:
                _measure(Target("stargate", "openai", process), given.profile, 0, given)
            print(profiling.cprofile_report(path))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", nargs="?", choices=["gateways", "core"], default="gateways")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--writes", type=int, default=8, help="writes in which a stream leaves upstream")
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=[], help=f"some of: {','.join(TARGETS)}"
    )
    parser.add_argument("--profile", choices=KINDS, help="where the gateway's time goes")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where all figures are kept, as JSON")
    given = parser.parse_args()
    if unknown := set(given.only) - set(TARGETS):
        parser.error(f"unknown: {', '.join(unknown)}")
    if given.what == "core":
        core.main()
    elif given.profile:
        _profile(given)
    else:
        _compare(given)


if __name__ == "__main__":
    main()
