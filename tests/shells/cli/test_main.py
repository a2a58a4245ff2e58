"""The `stargate` command: its table, its help, and what it doesn't import."""

import importlib
import subprocess
import sys
from importlib import metadata

import click
import pytest
from click.testing import CliRunner

from stargate.cli.main import COMMANDS, main


class TestTable:
    @pytest.mark.parametrize("name", COMMANDS)
    def test_each_command_is_where_the_table_says(self, name: str) -> None:
        entry = COMMANDS[name]
        command = getattr(importlib.import_module(entry.module), entry.attribute)
        assert isinstance(command, click.Command)
        assert command.name == name

    def test_the_help_lists_them_all(self) -> None:
        result = CliRunner().invoke(main, ["--help"])
        assert result.exit_code == 0
        listed = [
            line.split()[0]
            for line in result.output.partition("Commands:")[2].partition("Examples:")[0].splitlines()
            if line.strip()
        ]
        assert listed == list(COMMANDS)

    def test_the_help_of_one_is_its_own(self) -> None:
        result = CliRunner().invoke(main, ["check", "--help"])
        assert "Exit status: 0 if the file is good" in " ".join(result.output.split())

    def test_the_version_is_that_of_the_distribution(self) -> None:
        result = CliRunner().invoke(main, ["version"])
        assert result.output == f"stargate {metadata.version('stargate-gateway')}\n"


class TestMistakes:
    def test_a_slip_is_answered_with_the_right_name(self) -> None:
        result = CliRunner().invoke(main, ["chekc"])
        assert result.exit_code == 2
        assert "Did you mean 'check'?" in result.output

    def test_a_stranger_is_refused(self) -> None:
        result = CliRunner().invoke(main, ["zzz"])
        assert result.exit_code == 2
        assert "No such command 'zzz'" in result.output


class TestSpeed:
    @pytest.mark.parametrize(
        ("args", "forbidden"),
        [
            (["--help"], {"trio", "botocore", "yaml", "msgspec", "asyncio", "stargate_core"}),
            (["check", "/dev/null"], {"trio", "botocore", "asyncio", "ssl"}),
        ],
    )
    def test_a_command_imports_only_what_it_needs(self, args: list[str], forbidden: set[str]) -> None:
        program = (
            "import sys\nfrom stargate.cli.main import main\n"
            f"try:\n    main({args!r})\nfinally:\n    print(*sys.modules, file=sys.stderr)"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        modules = set(ended.stderr.split())
        assert "stargate.cli.main" in modules
        assert modules & forbidden == set()
