"""What pyproject.toml has compiled to C can be compiled, and does the same then.

mypyc says nothing of some things that it does otherwise than Python. Each of them is forbidden here in the
modules that are compiled, and shown to be noticed:

- A Struct or a dataclass: its keywords are dropped (frozen, tag, gc, order), its annotations are kept
  loosely, and a ClassVar becomes a field.
- A subclass of an exception or of a builtin: its traverse function counts weak references as owned ones, so
  the collector crashes where somebody has made one.
- A class of which an interpreted class is a subclass, and that does not say so: making an instance raises.
- A set operation with a view of a dictionary: the stubs promise the left one's type, and it is a set.

Whether the core under test *is* compiled is seen by where its modules came from; `tox -e compiled` asks for
that by STARGATE_COMPILE, as the build does.
"""

import ast
import builtins
import dataclasses
import enum
import importlib
import os
import pkgutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec
import pytest

import stargate_core
from support.compiled import COMPILED

ROOT: Final = Path(__file__).parents[1]
CORE: Final = ROOT / "core" / "stargate_core"
PYPROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULES: Final[list[str]] = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"][
    "modules"
]
NAMES: Final = frozenset(f"stargate_core.{path.removesuffix('.py').replace('/', '.')}" for path in MODULES)

BUILTINS: Final = tuple(
    value for value in vars(builtins).values() if isinstance(value, type) and value is not object
)
SUBCLASSED: Final = "mypyc_attr(allow_interpreted_subclasses=True)"


def classes(module: ModuleType) -> Iterator[type]:
    """Those that the module defines."""
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == module.__name__:
            yield value


def unfit(kind: type) -> str:
    """Why a class cannot stand in a compiled module; empty when it can."""
    if issubclass(kind, msgspec.Struct):
        return "a Struct loses its keywords"
    if dataclasses.is_dataclass(kind):
        return "a dataclass loses its keywords"
    if issubclass(kind, BUILTINS) and not issubclass(kind, enum.Enum) and not hasattr(kind, "_fields"):
        return "a weak reference to one crashes the collector"
    return ""


def views_in_sets(source: str) -> list[int]:
    """The lines where a dictionary's keys are one side of a set operation."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr | ast.Sub | ast.BitXor)
        for side in (node.left, node.right)
        if isinstance(side, ast.Call)
        and isinstance(side.func, ast.Attribute)
        and side.func.attr in ("keys", "items")
    ]


def said_of(kind: type) -> list[str]:
    """A class's decorators, as its source has them."""
    source = (CORE.parent / f"{kind.__module__.replace('.', '/')}.py").read_text()
    (found,) = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    )
    return [ast.unparse(decorator) for decorator in found.decorator_list]


class TestList:
    def test_every_module_is_there_once_and_in_order(self) -> None:
        assert [path for path in MODULES if not (CORE / path).is_file()] == []
        assert sorted(set(MODULES)) == MODULES

    def test_the_core_is_what_was_asked_for(self) -> None:
        expected = NAMES if os.environ.get("STARGATE_COMPILE", "0") not in ("", "0") else frozenset[str]()
        found = set()
        for module in pkgutil.walk_packages(stargate_core.__path__, "stargate_core."):
            file = importlib.import_module(module.name).__file__
            if file is not None and not file.endswith(".py"):
                found.add(module.name)
        assert found == expected
        assert bool(found) == COMPILED


class TestFit:
    @pytest.mark.parametrize("name", sorted(NAMES))
    def test_a_module_holds_only_what_keeps_its_meaning(self, name: str) -> None:
        unfit_ones = {kind.__name__: unfit(kind) for kind in classes(importlib.import_module(name))}
        assert {kind: why for kind, why in unfit_ones.items() if why} == {}

    @pytest.mark.parametrize("path", MODULES)
    def test_no_view_of_a_dictionary_is_half_of_a_set_operation(self, path: str) -> None:
        assert views_in_sets((CORE / path).read_text()) == []

    def test_whatever_interpreted_classes_inherit_from_says_so(self) -> None:
        silent = {
            f"{base.__qualname__}, of {kind.__qualname__}"
            for module in pkgutil.walk_packages(stargate_core.__path__, "stargate_core.")
            if module.name not in NAMES
            for kind in classes(importlib.import_module(module.name))
            for base in kind.__mro__[1:]
            if base.__module__ in NAMES and SUBCLASSED not in said_of(base)
        }
        assert silent == set()


class AStruct(msgspec.Struct, frozen=True):
    x: int


@dataclasses.dataclass
class ADataclass:
    x: int


class AnException(ValueError):
    pass


class ADictionary(dict[str, int]):
    pass


class AnEnumeration(enum.Enum):
    ONE = 1


class ANumber(enum.IntEnum):
    ONE = 1


class APlainOne:
    pass


class TestGuard:
    @pytest.mark.parametrize("kind", [AStruct, ADataclass, AnException, ADictionary])
    def test_what_cannot_be_compiled_is_noticed(self, kind: type[Any]) -> None:
        assert unfit(kind)

    @pytest.mark.parametrize("kind", [AnEnumeration, ANumber, APlainOne])
    def test_what_can_be_is_left_alone(self, kind: type[Any]) -> None:
        assert not unfit(kind)

    @pytest.mark.parametrize("source", ["a & b.keys()", "a.keys() - b", "x = [1 if a | b.items() else 2]"])
    def test_a_view_in_a_set_operation_is_noticed(self, source: str) -> None:
        assert views_in_sets(source) == [1]

    @pytest.mark.parametrize("source", ["a & b", "a.isdisjoint(b)", "a.keys()", "set(a.keys()) & b"])
    def test_other_ways_to_ask_are_left_alone(self, source: str) -> None:
        assert views_in_sets(source) == []
