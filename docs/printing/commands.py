"""commands.md: what each command says of itself, as `--help` prints it."""

import importlib
from collections.abc import Iterator
from typing import Final

import click

from stargate.cli.main import COMMANDS

_HEAD: Final = """\
# Commands

Printed by `python docs/generate.py` from [shells/stargate/cli](../shells/stargate/cli); change it there. The
same stands behind `stargate COMMAND --help`.
"""
_WIDTH: Final = 100


def page() -> str:
    """The text of commands.md."""
    lines = [_HEAD, "| command | |", "| --- | --- |"]
    lines += [f"| [`stargate {name}`](#stargate-{name}) | {entry.help} |" for name, entry in COMMANDS.items()]
    for name, entry in COMMANDS.items():
        command = getattr(importlib.import_module(entry.module), entry.attribute)
        assert isinstance(command, click.Command)
        lines += _command(f"stargate {name}", command, 2)
    return "\n".join(lines) + "\n"


def _command(name: str, command: click.Command, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=name, terminal_width=_WIDTH, max_content_width=_WIDTH)
    yield ""
    yield f"{'#' * level} {name}"
    yield ""
    yield "```text"
    yield "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield "```"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from _command(f"{name} {inner}", found, level + 1)
