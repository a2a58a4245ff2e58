"""Every command teaches: its help has examples, and each of them is a line that the command takes."""

import re
import shlex
from collections.abc import Iterator
from typing import Final

import click
import pytest
from click.testing import CliRunner

from stargate.cli.main import main

_APART: Final = re.compile(r"\s(?:\||&&|>|<|;)\s?|#")
_VARIABLE: Final = re.compile(r"[A-Z_]+=\S*")


def commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all below it, with what is typed for it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*path, name))


ALL: Final = dict(commands(main, ("stargate",)))
NAMES: Final = [" ".join(path) for path in ALL]


def lines_of(path: str) -> list[str]:
    """The examples of a command."""
    epilog = ALL[tuple(path.split())].epilog or ""
    head, _, lines = epilog.partition("Examples:\n")
    assert head == "\b\n"  # Without it click would make a paragraph of them.
    return [line.strip() for line in lines.splitlines()]


def calls_in(line: str) -> Iterator[list[str]]:
    """What of a line for a shell is typed for `stargate`."""
    for part in _APART.split(line):
        words = [word for word in shlex.split(part) if not _VARIABLE.fullmatch(word)]
        if words[:1] == ["stargate"]:
            yield words


def taken(words: list[str]) -> tuple[str, ...]:
    """The command that takes these words. Raises click's exceptions where none does."""
    command: click.Command = main
    path: tuple[str, ...] = ("stargate",)
    arguments = words[1:]
    context = command.make_context("stargate", list(arguments))
    while isinstance(command, click.Group) and context._protected_args:
        name, found, arguments = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        assert name is not None
        path = (*path, name)
        context = found.make_context(name, arguments, parent=context)
        command = found
    return path


@pytest.mark.parametrize("path", NAMES)
class TestExamples:
    def test_each_command_has_some_and_they_show_it(self, path: str) -> None:
        lines = lines_of(path)
        assert lines
        assert any(f"{path} " in f"{line} " for line in lines)

    def test_each_is_a_line_that_is_taken(self, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("STARGATE_STORE", raising=False)
        for line in lines_of(path):
            calls = list(calls_in(line))
            assert calls or line.startswith("kill ")
            for words in calls:
                if "--help" in words or "--list-scenarios" in words:
                    continue
                assert taken(words) in ALL

    def test_the_help_shows_them_line_by_line(self, path: str) -> None:
        result = CliRunner().invoke(main, [*path.split()[1:], "--help"])
        shown = [line.strip() for line in result.output.splitlines()]
        assert [line for line in lines_of(path) if line not in shown] == []


def test_a_line_that_is_not_taken_is_noticed() -> None:
    with pytest.raises(click.UsageError):
        taken(["stargate", "check", "--fast", "x"])
    with pytest.raises(click.UsageError):
        taken(["stargate", "zzz"])
