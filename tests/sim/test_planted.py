"""The planted bugs: each fits the core as it is, and worlds find them. (The whole hunt: `sim.hunt`.)"""

import importlib.util
from pathlib import Path
from typing import Final

import pytest

from sim.hunt import apart
from sim.planted import BUGS, PACKAGE, BadPatch, Bug, planted

SOON: Final = (
    "a byte is lost where upstream's bytes are cut",
    "parallel tool calls all have the same number",
    "tokens read from the prompt cache are counted twice",
)
"""Some that a few worlds are enough for."""
WORLDS: Final = 60


def source_of(bug: Bug) -> str:
    """The text of the module a bug is for."""
    spec = importlib.util.find_spec(f"{PACKAGE}.{bug.module}")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text()


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_changes_one_place_of_a_module_that_compiles_all_the_same(bug: Bug) -> None:
    compile(planted(source_of(bug), bug), bug.module, "exec")


def test_a_bug_whose_place_is_gone_is_told() -> None:
    with pytest.raises(BadPatch, match="0 times"):
        planted("nothing", BUGS[0])


@pytest.mark.parametrize("name", SOON)
def test_a_few_worlds_find_it(name: str) -> None:
    number = [bug.name for bug in BUGS].index(name)
    found = apart(number, WORLDS)
    assert found.worlds > 0
    assert found.how
