"""A pytest plugin that measures the core's branches with one coverage context for each test file.

It is loaded by tests/coverage_by_module.py, which reads what it leaves in the data file that the environment
names. What a file's tests run while pytest collects them is the file's own as well. What importing the core
runs is nobody's: all of the core is imported before the first test file, in a context of its own, because
otherwise a module's top level would count for whichever test file happened to import it first.
"""

import importlib
import os
import pkgutil
from pathlib import Path
from typing import Final

import coverage
import pytest

TESTS: Final = Path(__file__).parents[1]
DATA_FILE: Final = "STARGATE_COVERAGE_DATA"
"""The environment variable that names the data file; each process adds a suffix of its own."""
IMPORT: Final = "import"
"""The context of everything that importing the core runs."""

_running: Final[list[coverage.Coverage]] = []


def context(path: Path) -> str:
    """A test file's context: its path, as a person would name it."""
    return path.relative_to(TESTS).as_posix()


def import_core() -> None:
    """Import each module of the core."""
    package = importlib.import_module("stargate_core")
    for module in pkgutil.walk_packages(package.__path__, "stargate_core."):
        importlib.import_module(module.name)


def switch(path: Path) -> None:
    """What runs from here on is done by this test file."""
    for measured in _running:
        measured.switch_context(context(path))


def pytest_configure(config: pytest.Config) -> None:
    """Begin, unless other processes run the tests for this one."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return
    # The project's settings are for reports; `patch` there would have the tests' own subprocesses measured.
    measured = coverage.Coverage(
        data_file=os.environ[DATA_FILE],
        data_suffix=True,
        branch=True,
        source_pkgs=["stargate_core"],
        config_file=False,
    )
    measured.start()
    measured.switch_context(IMPORT)
    import_core()
    _running.append(measured)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Tables of cases may call the core when a test file is imported."""
    if isinstance(collector, pytest.Module):
        switch(collector.path)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """A test with its fixtures belongs to its file."""
    switch(item.path)


def pytest_unconfigure() -> None:
    """Leave the figures behind."""
    for measured in _running:
        measured.stop()
        measured.save()
