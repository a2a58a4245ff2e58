"""The tool that counts which small changes the tests notice: its targets, what it lays out, what it reads."""

import tomllib
from pathlib import Path
from typing import Final

import pytest

import mutation
from mutation import ROOT, TARGETS, Score, counted, lay_out

PRINTED: Final = (
    "\r⠋ 2/456  🎉 1 🫥 0  ⏰ 1  🤔 0  🙁 0  🔇 0\r⠙ 456/456  🎉 355 🫥 0  ⏰ 3  🤔 0  🙁 98  🔇 0\n"
)


class TestTargets:
    @pytest.mark.parametrize("name", TARGETS)
    def test_their_files_are_there(self, name: str) -> None:
        modules, tests = TARGETS[name]
        assert all((ROOT / "core/stargate_core" / module).is_file() for module in modules)
        assert all((ROOT / "tests/core" / test).is_file() for test in tests)
        own = {str(Path(module).parent / f"test_{Path(module).name}") for module in modules}
        assert own <= set(tests)

    @pytest.mark.parametrize("name", TARGETS)
    def test_what_mutmut_needs_is_laid_out(self, name: str, tmp_path: Path) -> None:
        lay_out(tmp_path, TARGETS[name])
        settings = tomllib.loads((tmp_path / "pyproject.toml").read_text())["tool"]
        paths = [*settings["mutmut"]["source_paths"], *settings["mutmut"]["also_copy"]]
        assert all((tmp_path / path).exists() for path in paths)
        assert settings["pytest"]["ini_options"]["pythonpath"] == ["tests"]
        laid_out = {
            str(path.relative_to(tmp_path / "tests/core")) for path in tmp_path.rglob("core/**/test_*.py")
        }
        assert laid_out == set(TARGETS[name].tests)

    def test_the_laid_out_conftest_forgets_what_caches_keep(self, tmp_path: Path) -> None:
        lay_out(tmp_path, TARGETS["eventstream"])
        text = (tmp_path / "tests/conftest.py").read_text()
        compile(text, "conftest.py", "exec")
        assert "value.cache_clear()" in text


class TestCounted:
    def test_the_last_count_is_read_and_what_hangs_has_been_noticed(self) -> None:
        assert counted(PRINTED) == Score(358, 456)

    def test_the_share_is_of_all_changes(self) -> None:
        assert Score(3, 4).share == 0.75

    def test_a_run_without_a_count_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="no count in 'nothing ran'"):
            counted("nothing ran")

    def test_what_was_missed_is_named(self) -> None:
        printed = (
            "    a.x_f__mutmut_1: survived\n    a.x_f__mutmut_2: timeout\n    a.x_g__mutmut_1: no tests\n"
        )
        found = mutation._SURVIVED.findall(printed)
        assert found == [("a.x_f__mutmut_1", "survived"), ("a.x_g__mutmut_1", "no tests")]
