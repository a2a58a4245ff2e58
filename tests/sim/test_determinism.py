"""The gate of all that worlds prove: one seed is one world, whatever hashes how, and whichever Python runs.

A world that is another one elsewhere cannot be lived again by whoever is told its seed. So the same worlds
are lived by interpreters of their own with three hash seeds, and by a second Python where there is one at
hand, in an environment made for it.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

WORLDS: Final = 12
TESTS: Final = Path(__file__).parents[1]
ROOT: Final = TESTS.parent
NEEDED: Final = ("msgspec", "httptools", "hiredis", "h11", "PyYAML")
"""What worlds import, and what is compiled for one Python, or little."""
BORROWED: Final = ("botocore", "jmespath", "dateutil", "urllib3", "six")
"""Likewise, and the same for every Python: AWS's service model for the simulator, which is large."""
PROGRAM: Final = (
    "from sim.seeds import seeds_of\nfrom sim.world import run\n"
    f"for _, seed in zip(range({WORLDS}), seeds_of('hashes')): print(run(seed).fingerprint)"
)
VERSION: Final = "import sys; print(sys.implementation.name, *sys.version_info[:2])"
MINORS: Final = (11, 12, 13, 14)


def fingerprints(python: str, paths: list[str], hash_seed: str) -> list[str]:
    """Those of some worlds, by an interpreter of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [python, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=100
    )
    return done.stdout.split()


@pytest.fixture(scope="module")
def own() -> list[str]:
    """What this Python makes of the worlds."""
    return fingerprints(sys.executable, [str(TESTS), *filter(None, sys.path)], "0")


@pytest.mark.parametrize("hash_seed", ["1", "random"])
def test_no_hash_decides_anything(own: list[str], hash_seed: str) -> None:
    assert len(set(own)) == WORLDS
    assert fingerprints(sys.executable, [str(TESTS), *filter(None, sys.path)], hash_seed) == own


def candidates() -> Iterator[str]:
    """Commands that may be Pythons of other versions."""
    for minor in MINORS:
        found = shutil.which(f"python3.{minor}")
        if found is not None:
            yield found
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(pyenv.glob("versions/3.*/bin/python")))


def another_python() -> str | None:
    """A CPython of another version that the project supports; a name may lead to one that is not there."""
    for command in candidates():
        told = subprocess.run([command, "-c", VERSION], capture_output=True, text=True, check=False)
        words = told.stdout.split()
        supported = [["cpython", "3", str(minor)] for minor in MINORS if minor != sys.version_info.minor]
        if words in supported:
            return command
    return None


def pinned() -> list[str]:
    """What worlds need, in the versions that the suite runs with."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if re.split("==", line)[0] in NEEDED]


def borrow(folder: Path) -> None:
    """Put links into this folder to what this Python has installed."""
    folder.mkdir()
    for name in BORROWED:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        found = origin.parent if origin.name == "__init__.py" else origin
        (folder / found.name).symlink_to(found)


@pytest.mark.timeout(400)
def test_another_python_lives_the_same_worlds(own: list[str], tmp_path: Path) -> None:
    python = another_python()
    if python is None:
        pytest.skip("there is no second Python here: on PATH, or among pyenv's")
    assert len(pinned()) == len(NEEDED)
    subprocess.run([python, "-m", "venv", tmp_path], check=True, capture_output=True)
    theirs = str(tmp_path / "bin" / "python")
    # Installing is what takes the time here: half a minute, or more where others want the processors too.
    install = [theirs, "-m", "pip", "install", "--quiet", "--no-compile", "--retries", "0"]
    done = subprocess.run([*install, *pinned()], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{python} gets no packages here: {done.stderr.strip().splitlines()[-1]}")
    borrow(tmp_path / "borrowed")
    paths = [str(TESTS), str(ROOT / "core"), str(ROOT / "shells"), str(tmp_path / "borrowed")]
    assert fingerprints(theirs, paths, "0") == own
