"""Budgets: the core costs no more than they say, and whoever goes over one is told. Counts, not times.

Everything runs as it does for a person, as `python -m bench budgets` from the repository's root.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
BUDGETS: Final = ROOT / "tests" / "budgets.toml"
VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
SECONDS_MAX: Final = 100


def budgets(*arguments: str, hash_seed: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    if hash_seed is not None:
        environment["PYTHONHASHSEED"] = hash_seed
    return subprocess.run(
        [sys.executable, "-m", "bench", "budgets", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
    )


def exact(text: str) -> list[tuple[str, str, int]]:
    """What a file of budgets says of this version, but for bytes: these vary by a hundred or so."""
    parts = tomllib.loads(text)[VERSION].items()
    return [(name, kind, number) for name, part in parts for kind, number in part.items() if kind != "bytes"]


def scaled(path: Path, name: str, kind: str, factor: float) -> None:
    """Multiply one budget."""
    text = path.read_text()
    was = tomllib.loads(text)[VERSION][name][kind]
    table, number = re.escape(f'["{VERSION}"."{name}"]'), round(was * factor)
    changed = re.sub(rf"({table}[^\[]*?\n{kind} = )\d+", rf"\g<1>{number}", text)
    assert tomllib.loads(changed)[VERSION][name][kind] == number
    path.write_text(changed)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of budgets as they are counted now."""
    path = tmp_path_factory.mktemp("budgets") / "budgets.toml"
    ran = budgets("--renew", "--budgets", str(path))
    assert ran.returncode == 0, ran.stderr
    return path.read_text()


def test_the_core_stays_within_its_budgets() -> None:
    if VERSION not in tomllib.loads(BUDGETS.read_text()):
        pytest.skip(f"no budgets are kept for Python {VERSION}; `python -m bench budgets --renew` makes them")
    ran = budgets()
    assert ran.returncode == 0, f"{ran.stderr}\n(if there is a reason: python -m bench budgets --renew)"


def test_calls_and_bytecodes_are_the_same_for_any_hash_seed(counted: str, tmp_path: Path) -> None:
    path = tmp_path / "budgets.toml"
    assert budgets("--renew", "--budgets", str(path), hash_seed="4242").returncode == 0
    assert exact(path.read_text()) == exact(counted)


def test_what_goes_over_its_budget_is_named_and_a_little_is_let_through(counted: str, tmp_path: Path) -> None:
    path = tmp_path / "budgets.toml"
    path.write_text(counted)
    passed = [
        ("plain request", "calls"),
        ("stream of 64 events in 8 pieces", "bytes"),
        ("an event in full flow, one to a piece", "bytecodes"),
    ]
    for name, kind in passed:
        scaled(path, name, kind, 1 / 1.18)
    scaled(path, "plain request", "bytecodes", 1 / 1.13)
    ran = budgets("--budgets", str(path))
    assert ran.returncode == 1
    told = [re.fullmatch(r"over budget: (.+): \d+ (\w+), and .+", line) for line in ran.stderr.splitlines()]
    assert [one and one.groups() for one in told] == passed


def test_a_version_has_budgets_of_its_own(counted: str, tmp_path: Path) -> None:
    path = tmp_path / "budgets.toml"
    path.write_text('["3.7"."plain request"]\ncalls = 7\n')
    ran = budgets("--budgets", str(path))
    assert (ran.returncode, ran.stderr) == (2, f"{path} has no budgets for Python {VERSION}\n")
    assert budgets("--renew", "--budgets", str(path)).returncode == 0
    renewed = path.read_text()
    assert tomllib.loads(renewed)["3.7"] == {"plain request": {"calls": 7}}
    assert exact(renewed) == exact(counted)


def test_python_calls_and_bytecodes_are_counted_as_dis_shows_them() -> None:
    """Straight code executes each of its instructions once: the oracle is the disassembler."""
    script = (
        "import dis\n"
        "from bench import budgets\n"
        "def straight():\n    value = [1, 2]\n    value.append(len(value))\n"
        "for kind, counter in budgets.COUNTERS.items():\n"
        "    print(kind, budgets.counted(counter, straight) - budgets.counted(counter, lambda: None))\n"
        "def length(function):\n    return len(list(dis.get_instructions(function)))\n"
        "print(length(straight) - length(lambda: None))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS_MAX,
    )
    calls, bytecodes, expected = (int(line.split()[-1]) for line in ran.stdout.splitlines())
    assert calls == 2, "append and len"
    assert bytecodes == expected
