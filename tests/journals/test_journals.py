"""The journals that are kept: each is lived as it was recorded, and told as it is told beside it.

    STARGATE_WRITE_JOURNALS=1 python -m pytest tests/journals

records all of them anew. That is right where a machine is meant to behave otherwise: then the difference of
the texts says how, and belongs to the same change.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from stargate_core.journal.format import Journal, read
from stargate_core.journal.render import render
from stargate_core.journal.replay import replay
from stargate_core.journal.write import encoded
from stargate_core.plugins.registry import BUILT_IN
from support.journals import SCENARIOS, journal

HERE: Final = Path(__file__).parent
WRITE: Final = bool(os.environ.get("STARGATE_WRITE_JOURNALS"))


def recorded() -> dict[str, Journal]:
    """What each scenario is today, by the name of its file."""
    return {
        name if number == 0 else f"{name}-flight": journal(life)
        for name, scenario in SCENARIOS.items()
        for number, life in enumerate(scenario())
    }


RECORDED: Final = recorded()


def told(whole: Journal) -> str:
    """The conversation."""
    return "\n".join(render(whole, BUILT_IN)) + "\n"


@pytest.fixture(scope="module", autouse=True)
def written() -> None:
    """All of them anew, where that is asked for."""
    if WRITE:
        for path in (*HERE.glob("*.journal"), *HERE.glob("*.txt")):
            path.unlink()
        for name, whole in RECORDED.items():
            (HERE / f"{name}.journal").write_bytes(encoded(whole))
            (HERE / f"{name}.txt").write_text(told(whole), encoding="utf-8")


def kept(name: str) -> Journal:
    """The journal as it was recorded."""
    return read((HERE / f"{name}.journal").read_bytes())


@pytest.mark.parametrize("name", RECORDED)
class TestKept:
    def test_it_is_lived_as_it_was(self, name: str) -> None:
        whole = kept(name)
        verdict = replay(whole, BUILT_IN)
        assert verdict.divergence is None, verdict.divergence.why
        assert verdict.fingerprint == whole.trailer.fingerprint

    def test_it_is_told_as_it_was(self, name: str) -> None:
        assert told(kept(name)) == (HERE / f"{name}.txt").read_text(encoding="utf-8")

    def test_it_is_recorded_as_it_was(self, name: str) -> None:
        """What it was told, and what it ordered; the configuration may have learned new settings since."""
        now, then = RECORDED[name], kept(name)
        assert (now.entries, now.trailer) == (then.entries, then.trailer)


def test_there_are_no_others() -> None:
    names = {f"{name}{ending}" for name in RECORDED for ending in (".journal", ".txt")}
    assert {path.name for path in HERE.iterdir() if path.suffix in {".journal", ".txt"}} == names


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_they_are_lived_alike_whatever_python_hashes(seed: str) -> None:
    """No order in the core may depend on it."""
    ran = subprocess.run(
        [sys.executable, "-c", _ALL, *(f"{HERE / name}.journal" for name in RECORDED)],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == [kept(name).trailer.fingerprint for name in RECORDED]


_ALL: Final = """
import sys
from pathlib import Path
from stargate_core.journal.format import read
from stargate_core.journal.replay import replay
from stargate_core.plugins.registry import BUILT_IN
for name in sys.argv[1:]:
    print(replay(read(Path(name).read_bytes()), BUILT_IN).fingerprint)
"""
