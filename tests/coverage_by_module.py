"""Is every branch of the core taken, and is each module covered by its own test file alone?

    python tests/coverage_by_module.py                  the whole core: about as long as its tests take twice
    python tests/coverage_by_module.py wire/sse.py ...  these modules, each by its own test file

A hundred per cent in total says little: a parser's rare branch counts as covered once some distant test has
gone through it, whatever came out. That a module's own test file (`tests/core/wire/test_sse.py` for
`wire/sse.py`) takes each of its branches means that somebody has thought of that case where its behaviour is
stated. (websockets asks the same of its modules, in maxi_cov.py.)

The tests run once. Coverage.py keeps apart what each test file has run (tests/support/coverage_contexts.py),
and this reads for each module what all have missed, and what its own file has missed. Caches and fixtures of
the helpers may hide from a file what another file of the same process has run before it, so a file that seems
to miss something runs once more alone before anything is said about it.

Not counted is the way past the last case of a `match`: mypy (`exhaustive-match`) proves that there is none.

The same examples are drawn every time (hypothesis's profile `ci`). It ends with 1 if the tests fail, if
anything is missed by all, if a module's own file misses more than SHORT allows, or if SHORT allows more than
there is to allow.
"""

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import coverage

from support.coverage_contexts import DATA_FILE, IMPORT
from test_tidy import core_sources, mirrored

ROOT: Final = Path(__file__).parents[1]
TESTS: Final = Path(__file__).parent
CORE: Final = ROOT / "core" / "stargate_core"

SHORT: Final[Mapping[str, tuple[int, str]]] = {
    # A module of which its own test file misses something: how many lines and branches at most, and why it
    # is better so. A figure here only falls.
}


class Missed(NamedTuple):
    """What was not run of one module."""

    lines: tuple[int, ...]
    branches: tuple[tuple[int, int], ...]
    """Of lines that were run: from where to where; negative where the function ends."""
    parts: int
    """Lines and branches in all."""

    @property
    def total(self) -> int:
        """Lines and branches together."""
        return len(self.lines) + len(self.branches)

    def __str__(self) -> str:
        ways = (f"{start}->{'exit' if end < 0 else end}" for start, end in self.branches)
        return ", ".join([*ranges(self.lines), *ways])


def ranges(numbers: Iterable[int]) -> list[str]:
    """`3-5, 9` for 3, 4, 5, 9."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]


# ------------------------------------------------------------------------------------------------- measuring


def run_tests(tests: Sequence[str], folder: Path, workers: int = 1) -> bool:
    """Run tests (files or folders, relative to tests/), leave their figures in a folder: do they pass?"""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "support.coverage_contexts"]
    # Being traced takes its time.
    command += ["--hypothesis-profile=ci", "--timeout=600", "-o", "faulthandler_timeout=500"]
    if workers > 1:
        command += ["-n", str(workers), "--dist", "loadfile"]
    command += [str(TESTS / test) for test in tests]
    # What is there already may be what decides which tree is under test.
    paths = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": paths, DATA_FILE: str(folder / "data")}
    return subprocess.run(command, env=environment, check=False).returncode == 0


def figures(folder: Path) -> coverage.Coverage:
    """What all processes have left in a folder, together."""
    together = coverage.Coverage(data_file=str(folder / "together"), config_file=str(ROOT / "pyproject.toml"))
    together.set_option("run:parallel", False)
    together.combine([str(path) for path in sorted(folder.glob("data.*"))], keep=True)
    return together


def exhausted(source: str) -> dict[int, int]:
    """Where each `match` has its last case, which one value at least is left for: its line, its body's."""
    lines: dict[int, int] = {}
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Match(cases=[*_, ast.match_case(pattern=pattern, guard=None, body=[first, *_])]):
                lines[pattern.lineno] = first.lineno
            case _:
                pass
    return lines


def missed(measured: coverage.Coverage, modules: Iterable[str], context: str = ".*") -> dict[str, Missed]:
    """What was missed of each module by its import and this context together, or by all contexts."""
    with tempfile.NamedTemporaryFile() as report:
        measured.json_report(
            [str(CORE / module) for module in modules],
            outfile=report.name,
            contexts=[f"^({IMPORT}|{context})$"],
        )
        files = json.load(report)["files"]
    found: dict[str, Missed] = {}
    for name, file in files.items():
        lines = tuple(file["missing_lines"])
        last = exhausted((ROOT / name).read_text())
        branches = tuple(
            (start, end)
            for start, end in file["missing_branches"]
            if start not in lines and last.get(start, end) == end
        )
        parts = file["summary"]["num_statements"] + file["summary"]["num_branches"]
        found[(ROOT / name).relative_to(CORE).as_posix()] = Missed(lines, branches, parts)
    return found


def missed_by_own(measured: coverage.Coverage, modules: Iterable[str]) -> dict[str, Missed]:
    """What each module's own test file has missed of it."""
    found: dict[str, Missed] = {}
    for module in modules:
        found |= missed(measured, [module], re.escape(mirrored(module)))
    return found


# --------------------------------------------------------------------------------------------------- judging


def complaints(by_all: Mapping[str, Missed], by_own: Mapping[str, Missed]) -> list[str]:
    """What stands against a verdict of "covered", a line each."""
    lines = [f"{module}: no test runs {what}" for module, what in by_all.items() if what.total]
    for module, what in by_own.items():
        allowed, _ = SHORT.get(module, (0, ""))
        if what.total > allowed:
            lines.append(f"{module}: {mirrored(module)} misses {what.total}, may miss {allowed}: {what}")
        elif what.total < allowed:
            lines.append(f"{module}: {mirrored(module)} misses {what.total}; let SHORT say so, not {allowed}")
    return lines


def summary(by_all: Mapping[str, Missed], by_own: Mapping[str, Missed]) -> list[str]:
    """The figures, a line each."""
    lines: list[str] = []
    for told, found in (("by all tests", by_all), ("each by its own test file", by_own)):
        if found:
            parts, missing = sum(w.parts for w in found.values()), sum(w.total for w in found.values())
            whole = sum(not w.total for w in found.values())
            percent = 100 * (parts - missing) / parts
            modules = f"{whole} of {len(found)} modules whole"
            lines.append(f"{told}: {percent:.2f} % of {parts} lines and branches; {modules}")
    return lines


def measure(modules: Sequence[str], folder: Path, workers: int) -> int:
    """Measure these modules, or all, print what is found, return the exit status."""
    own = sorted(modules or core_sources())
    passed = run_tests([mirrored(module) for module in modules] or ["core"], folder, workers)
    by_own = missed_by_own(figures(folder), own)
    suspects = [module for module in own if by_own[module].total > SHORT.get(module, (0, ""))[0]]
    if not modules:
        with ThreadPoolExecutor(workers) as pool:
            passed &= all(pool.map(lambda module: run_tests([mirrored(module)], folder), suspects))
    measured = figures(folder)
    by_own |= missed_by_own(measured, suspects)
    by_all = {} if modules else missed(measured, sorted(all_modules()))
    found = complaints(by_all, by_own)
    if not passed:
        found.append("the tests fail")
    sys.stdout.write("\n".join(["", *found, *summary(by_all, by_own), ""]))
    return 1 if found else 0


def all_modules() -> Iterator[str]:
    """Each module of the core, packages too."""
    return (path.relative_to(CORE).as_posix() for path in CORE.rglob("*.py"))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="as wire/sse.py; all, if none is named")
    parser.add_argument("--workers", type=int, default=2, help="processes that run tests (2)")
    options = parser.parse_args()
    os.chdir(ROOT)  # what [tool.coverage.paths] is relative to
    with tempfile.TemporaryDirectory() as folder:
        return measure(options.modules, Path(folder), options.workers)


if __name__ == "__main__":
    sys.exit(main())
