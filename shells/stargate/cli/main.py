"""The `stargate` command and its sub-commands.

A sub-command's module is imported when it runs and not before: `stargate --help` answers at once, and
`stargate check` works where the event loop or the AWS libraries are broken. So the help texts stand here,
in the table.
"""

import difflib
import importlib
from types import MappingProxyType
from typing import Final, NamedTuple

import click

from stargate.cli.examples import examples


class _Entry(NamedTuple):
    module: str
    attribute: str
    help: str


COMMANDS: Final = MappingProxyType(
    {
        "serve": _Entry("stargate.cli.serve", "serve", "Run the gateway."),
        "demo": _Entry(
            "stargate.cli.demo", "demo", "Run the gateway with a simulated Bedrock; no AWS account needed."
        ),
        "simulate": _Entry("stargate.cli.simulate", "simulate", "Run the simulated Bedrock alone."),
        "check": _Entry("stargate.cli.check", "check", "Name everything that is wrong with a configuration."),
        "explain": _Entry(
            "stargate.cli.explain", "explain_command", "Show what would become of a request; nothing is sent."
        ),
        "replay": _Entry(
            "stargate.cli.replay", "replay_command", "Live a journal again, and tell what happened."
        ),
        "top": _Entry("stargate.cli.top", "top", "Watch a running gateway, live in a terminal."),
        "bench": _Entry("stargate.cli.bench", "bench", "Measure an OpenAI-compatible endpoint."),
        "keys": _Entry("stargate.cli.keys", "keys", "Make, add, list and revoke the keys that callers show."),
        "import-kong": _Entry(
            "stargate.cli.import_kong",
            "import_kong",
            "Turn Kong's declarative configuration into Stargate's.",
        ),
        "prices": _Entry("stargate.cli.prices", "prices", "Show what models cost, and why."),
        "openapi": _Entry("stargate.cli.openapi", "openapi", "Print the gateway's own OpenAPI document."),
        "version": _Entry("stargate.cli.main", "version", "Print the version."),
    }
)
"""The sub-commands, in the order of the help."""


class _Lazy(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(entry.module), entry.attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        if name not in COMMANDS and not name.startswith("-") and near:
            ctx.fail(f"No such command {name!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(
    cls=_Lazy,
    epilog=examples(
        "stargate demo", "stargate serve -c stargate.yaml", "stargate top", "stargate COMMAND --help"
    ),
)
def main() -> None:
    """An LLM gateway for AWS Bedrock, with your own keys and limits."""


@click.command(epilog=examples("stargate version"))
def version() -> None:
    """Print the version."""
    from importlib import metadata  # as slow as all the rest together

    click.echo(f"stargate {metadata.version('stargate-gateway')}")
