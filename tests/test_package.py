"""What `pip install .` gives a user: exactly two typed packages, one command, and every dependency they
import.

The oracle is the installed distribution's own metadata. Under tox that is the wheel; an editable install has
no file list to look at, and the tests that need one say so.
"""

import ast
import importlib.metadata
import re
import sys
from pathlib import Path
from typing import Final

import pytest

from support.compiled import COMPILED

DISTRIBUTION: Final = importlib.metadata.distribution("stargate-gateway")
ROOT: Final = Path(__file__).parents[1]
FOLDERS: Final = (ROOT / "core" / "stargate_core", ROOT / "shells" / "stargate")


def installed_files() -> set[str]:
    """The files that the wheel put into site-packages, its own metadata left out."""
    files = {path.as_posix() for path in DISTRIBUTION.files or ()}
    if not any(path.startswith("stargate/") for path in files):
        pytest.skip("an editable install has no list of its files; tox tests the wheel")
    # What is compiled, tests/test_compiled.py looks at; the sources are there beside it.
    built = r"|\.(so|pyd)$" if COMPILED else ""
    return {path for path in files if not re.search(r"\.dist-info/|__pycache__|^\.\./" + built, path)}


def imported_packages(folder: Path) -> set[str]:
    """The top-level names that the files below `folder` import from outside the project and the standard
    library, but for what only a type checker, or a compiler, reads.
    """
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(_without_types(ast.parse(path.read_text()))):
            match node:
                case ast.Import(names=aliases):
                    names.update(alias.name.partition(".")[0] for alias in aliases)
                case ast.ImportFrom(module=str(module), level=0):
                    names.add(module.partition(".")[0])
                case _:
                    pass
    return names - sys.stdlib_module_names - {"stargate", "stargate_core"}


def _without_types(tree: ast.Module) -> ast.Module:
    """The same without what stands under `if TYPE_CHECKING`."""
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    return tree


def normalized(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_wheel_holds_the_two_packages_and_nothing_else() -> None:
    sources = {
        f"{folder.name}/{p.relative_to(folder).as_posix()}" for folder in FOLDERS for p in folder.rglob("*")
    }
    expected = {path for path in sources if re.search(r"\.\w+$", path) and "__pycache__" not in path}
    assert installed_files() == expected


def test_both_packages_are_typed() -> None:
    assert {"stargate/py.typed", "stargate_core/py.typed"} <= installed_files()


def test_the_command_can_be_loaded() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="stargate")
    assert callable(command.load())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_package_that_is_imported_is_a_declared_dependency(folder: Path) -> None:
    declared = {
        normalized(re.split(r"[^\w.-]", required, maxsplit=1)[0]) for required in DISTRIBUTION.requires or ()
    }
    providers = importlib.metadata.packages_distributions()
    undeclared = {
        name
        for name in imported_packages(folder)
        if not {normalized(provider) for provider in providers.get(name, ())} & declared
    }
    assert undeclared == set()
