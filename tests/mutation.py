"""Mutation testing of the small modules on which everything rests: does a test notice each small change?

    tox -e mutation                     all targets
    tox -e mutation -- eventstream      one of them
    tox -e mutation -- sigv4 --show     and what was not noticed, as diffs

mutmut changes one operator, constant, argument or condition at a time and runs the module's own tests. It
wants packages below `src/` and hypothesis without its check of who calls, so the core and those tests are
laid out anew in a temporary folder. A *score* is the share of the changes that some test noticed. Not each
that was missed is a gap: many change nothing that can be seen (the size of a cache, a default that is never
used). What is left over is looked at by hand; docs/testing.md says what it was.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
_SECONDS_MAX: Final = 3600
_SURVIVED: Final = re.compile(r"^\s*(\S+): (survived|no tests|suspicious)$", re.MULTILINE)
_COUNTED: Final = re.compile(r"(\d+)/(\d+)\s+🎉 (\d+) 🫥 (\d+)\s+⏰ (\d+)\s+🤔 (\d+)\s+🙁 (\d+)")


class Target(NamedTuple):
    """What is changed, below stargate_core, and the tests that should notice, below tests/core."""

    modules: Sequence[str]
    tests: Sequence[str]


TARGETS: Final[Mapping[str, Target]] = {
    "sigv4": Target(("aws/sigv4.py", "aws/canonical.py"), ("aws/test_sigv4.py", "aws/test_canonical.py")),
    "eventstream": Target(("wire/eventstream.py",), ("wire/test_eventstream.py",)),
    "limits": Target(("limits/rule.py",), ("limits/test_rule.py",)),
    # What settlement.py and calling.py make of an exchange's fields, their own tests look at.
    "exchange": Target(
        ("gateway/exchange.py", "transitions.py"),
        (
            *("gateway/test_exchange.py", "test_transitions.py"),
            *("gateway/test_settlement.py", "gateway/test_calling.py"),
        ),
    ),
}
_CONFTEST: Final = '''"""Hypothesis as mutmut wants it: few examples, always the same, whoever calls.

mutmut forks from a process in which the tests have run; what a cache has kept from there would hide a change.
"""

import sys

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "mutation", max_examples=15, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("mutation")


def pytest_sessionstart(session: pytest.Session) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("stargate_core"):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
'''


def lay_out(folder: Path, target: Target) -> None:
    """Put the core and the target's tests where mutmut looks for them."""
    shutil.copytree(ROOT / "core/stargate_core", folder / "src/stargate_core")
    for name in ("support", "vectors", "golden"):
        shutil.copytree(ROOT / "tests" / name, folder / "tests" / name)
    (folder / "tests/conftest.py").write_text(_CONFTEST)
    for test in target.tests:
        place = folder / "tests/core" / test
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tests/core" / test, place)
    modules = [f"src/stargate_core/{module}" for module in target.modules]
    settings = {
        "source_paths": modules,
        "pytest_add_cli_args_test_selection": ["tests/core/"],
        "also_copy": [
            "src/stargate_core",
            "tests/support",
            "tests/vectors",
            "tests/golden",
            "tests/conftest.py",
        ],
    }
    lines = ["[tool.mutmut]", *(f"{name} = {value!r}" for name, value in settings.items())]
    lines += ["[tool.pytest.ini_options]", 'pythonpath = ["tests"]']
    lines += ['addopts = ["--import-mode=importlib", "-p", "no:schemathesis", "-p", "no:xdist"]']
    (folder / "pyproject.toml").write_text("\n".join(lines) + "\n")


def mutmut(folder: Path, *arguments: str) -> str:
    """Run it there; what it printed. Raises CalledProcessError."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    found = subprocess.run(
        command, cwd=folder, check=True, timeout=_SECONDS_MAX, text=True, stdout=subprocess.PIPE
    )
    return found.stdout


class Score(NamedTuple):
    """What a run found."""

    noticed: int
    changes: int

    @property
    def share(self) -> float:
        """Of the changes, those that were noticed."""
        return self.noticed / self.changes


def counted(printed: str) -> Score:
    """The last of the progress lines that a run prints. Raises ValueError where there is none."""
    found = _COUNTED.findall(printed)
    if not found:
        raise ValueError(f"no count in {printed[-200:]!r}")
    _, changes, killed, _, timeouts, *_ = map(int, found[-1])
    # A change that makes the tests run for ever has been noticed too.
    return Score(killed + timeouts, changes)


def measure(name: str, *, jobs: int, show: bool) -> Score:
    """The target's score, printed; with `show` what was missed too."""
    with tempfile.TemporaryDirectory(prefix="stargate-mutation-") as place:
        folder = Path(place)
        lay_out(folder, TARGETS[name])
        score = counted(mutmut(folder, "run", "--max-children", str(jobs)))
        sys.stdout.write(f"{name}: {score.noticed} of {score.changes} changes noticed, {score.share:.1%}\n")
        sys.stdout.flush()
        if show:
            for mutant, fate in _SURVIVED.findall(mutmut(folder, "results")):
                diff = mutmut(folder, "show", mutant)
                changed = [line for line in diff.splitlines() if re.match(r"[-+] ", line)]
                sys.stdout.write("\n".join([f"{mutant} ({fate})", *changed, ""]) + "\n")
        sys.stdout.flush()
    return score


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(prog="tox -e mutation --", description=__doc__)
    parser.add_argument("target", nargs="*", choices=[*TARGETS, []], help="all, if none is named")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--show", action="store_true", help="print what was not noticed")
    given = parser.parse_args()
    for name in given.target or TARGETS:
        measure(name, jobs=given.jobs, show=given.show)


if __name__ == "__main__":
    main()
