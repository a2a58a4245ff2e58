"""A pytest plugin for `tox -e core`: leave out the test files whose oracle is not installed, and say which.

That environment holds the core's own dependencies and nothing else, to prove that they are enough. Many tests
of the core compare it with botocore or with an SDK; they run in the suite proper, where everything is
installed and this plugin is not loaded, so that nothing can go missing there unseen.
"""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]
ORACLES: Final = (
    "anthropic",
    "boto3",
    "botocore",
    "opentelemetry",
    "cryptography",
    "httpx",
    "jsonschema",
    "jwt",
    "openai",
    "stargate",
    "trio",
)

_left_out: Final[dict[str, str]] = {}


def imported(path: Path) -> Iterator[str]:
    """The packages that a test file imports at its top, directly or through its helpers in tests/support."""
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.Import(names=aliases):
                names = [alias.name for alias in aliases]
            case ast.ImportFrom(module=str(module)):
                names = [module]
            case _:
                continue
        for name in names:
            helper = TESTS / f"{name.replace('.', '/')}.py"
            if name.startswith("support.") and helper.is_file():
                yield from imported(helper)
            yield name.partition(".")[0]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out a test file that needs an oracle which is not here."""
    if collection_path.suffix != ".py" or not collection_path.name.startswith("test_"):
        return None
    wanted = (name for name in imported(collection_path) if name in ORACLES)
    missing = next((name for name in wanted if importlib.util.find_spec(name) is None), None)
    if missing is None:
        return None
    _left_out[collection_path.relative_to(TESTS).as_posix()] = missing
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was left out, before the closing line."""
    for path, missing in sorted(_left_out.items()):
        terminalreporter.write_line(f"left out, for want of {missing}: {path}")
