"""The tool that asks whether each module is covered by its own test file, and notices when it is not."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import coverage_by_module
from coverage_by_module import Missed, complaints, exhausted, ranges, summary
from test_tidy import core_sources

TOOL: Final = Path(__file__).parent / "coverage_by_module.py"
WHOLE: Final = Missed((), (), 8)
LACKING: Final = Missed((3, 4, 5, 9), ((11, 13), (12, -10)), 20)


class TestWhatIsSaid:
    def test_lines_stand_as_ranges_and_branches_as_ways(self) -> None:
        assert str(LACKING) == "3-5, 9, 11->13, 12->exit"
        assert LACKING.total == 6

    @pytest.mark.parametrize(
        ("numbers", "said"), [([], []), ([7], ["7"]), ([1, 2], ["1-2"]), ([1, 3, 4], ["1", "3-4"])]
    )
    def test_ranges(self, numbers: list[int], said: list[str]) -> None:
        assert ranges(numbers) == said

    def test_whole_modules_are_not_worth_a_line(self) -> None:
        assert complaints({"globs.py": WHOLE}, {"globs.py": WHOLE}) == []

    def test_what_nobody_runs_is_a_complaint(self) -> None:
        assert complaints({"globs.py": LACKING}, {}) == ["globs.py: no test runs 3-5, 9, 11->13, 12->exit"]

    def test_what_only_others_run_is_a_complaint(self) -> None:
        assert complaints({"globs.py": WHOLE}, {"globs.py": LACKING}) == [
            "globs.py: core/test_globs.py misses 6, may miss 0: 3-5, 9, 11->13, 12->exit"
        ]

    @pytest.mark.parametrize(("allowed", "complained"), [(5, True), (6, False), (7, True)])
    def test_an_exception_is_neither_exceeded_nor_too_wide(
        self, allowed: int, complained: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(coverage_by_module, "SHORT", {"globs.py": (allowed, "a reason")})
        assert bool(complaints({}, {"globs.py": LACKING})) is complained

    def test_the_figures(self) -> None:
        assert summary({}, {"globs.py": LACKING, "wire/sse.py": WHOLE}) == [
            "each by its own test file: 78.57 % of 28 lines and branches; 1 of 2 modules whole"
        ]


class TestMatches:
    def test_only_the_last_case_has_no_way_past_it(self) -> None:
        source = "match kind:\n    case 1:\n        f()\n    case 2 | 3:\n        g()\n        h()\n"
        assert exhausted(source) == {4: 5}

    def test_a_last_case_with_a_condition_proves_nothing(self) -> None:
        assert exhausted("match kind:\n    case 1:\n        f()\n    case n if n:\n        g()\n") == {}


class TestExceptions:
    def test_each_names_a_module_and_a_reason(self) -> None:
        assert coverage_by_module.SHORT.keys() <= core_sources()
        assert all(reason.strip() for _, reason in coverage_by_module.SHORT.values())


class TestMeasuring:
    """On a module that is small, and quick to test."""

    @staticmethod
    def run(options: str) -> subprocess.CompletedProcess[str]:
        """Run the tool on one module, with more options for its pytest."""
        return subprocess.run(
            [sys.executable, str(TOOL), "--workers=1", "transitions.py"],
            env=os.environ | {"PYTEST_ADDOPTS": options},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_a_module_that_its_test_file_covers(self) -> None:
        run = self.run("")
        assert "1 of 1 modules whole" in run.stdout
        assert run.returncode == 0

    def test_a_test_that_is_missing(self) -> None:
        run = self.run("-k filled_once")
        assert re.search(r"^transitions.py: core/test_transitions.py misses \d+,", run.stdout, re.MULTILINE)
        assert run.returncode == 1

    def test_a_test_that_fails(self) -> None:
        # Every failure is one: here, that nothing is left to run.
        run = self.run("-k nothing_of_this_name")
        assert "\nthe tests fail\n" in run.stdout
        assert run.returncode == 1
