"""`stargate check FILE`: everything that is wrong with a configuration, at once.

One line a problem, as compilers write them, so that editors can jump to the place. Exit status 0 if the
gateway would start with this file in this environment, 1 if it wouldn't.
"""

import sys

import click

from stargate.cli.configuration import examine_file
from stargate.cli.examples import examples
from stargate.cli.libraries import missing_libraries
from stargate.log_sinks.looking import doubts
from stargate.plugins import BadPlugin, installed
from stargate_core.config.load import Examined, digest
from stargate_core.config.schema import Config


@click.command(
    epilog=examples(
        "stargate check stargate.yaml",
        "stargate check - < stargate.yaml",
        "stargate check stargate.yaml && kill -HUP $(pidof -s stargate)",
    )
)
@click.argument("file", type=click.Path(path_type=str, allow_dash=True))
def check(file: str) -> None:
    """Check a configuration FILE (- for standard input) and name everything that is wrong with it.

    Variables like ${NAME} are taken from the environment. Exit status: 0 if the file is good, 1 if not.
    """
    try:
        plugins = installed()
    except BadPlugin as error:
        raise click.ClickException(str(error)) from None
    examined = examine_file(file, plugins)
    for problem in examined.problems:
        click.echo(problem)
    for warning in examined.warnings:
        click.echo(f"warning: {warning}")
    if examined.config is not None:
        for doubt in doubts(examined.config):
            click.echo(f"warning: {doubt}")
        for missing in missing_libraries(examined.config.gateway):
            click.echo(f"warning: {missing}")
    click.echo(_summary(examined))
    sys.exit(0 if examined.config is not None else 1)


def _summary(examined: Examined) -> str:
    if examined.config is None:
        return _counted(len(examined.problems), "problem")
    config = examined.config
    return f"good: {_contents(config)}; digest {digest(config)[:12]}"


def _contents(config: Config) -> str:
    """A configuration in one line."""
    addresses = ", ".join(listener.address for listener in config.gateway.listen)
    routes = len(config.routes) + sum(len(service.routes) for service in config.services)
    parts = [f"listens on {addresses}", _counted(len(config.consumers), "consumer")]
    if config.services or routes:
        parts += [_counted(len(config.services), "service"), _counted(routes, "route")]
    names = ", ".join(entry.name if entry.enabled else f"({entry.name})" for entry in config.plugins)
    return "; ".join([*parts, f"plugins everywhere: {names}" if names else "no plugins everywhere"])


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
