"""Reading the configuration for a command: from a file, from standard input, or none at all."""

import sys
from collections.abc import Mapping

import click

from stargate.log_sinks.looking import doubts
from stargate.sources import STDIN, Source
from stargate_core.config.load import Examined
from stargate_core.config.schema import Config
from stargate_core.views import Plugin

__all__ = ["STDIN", "examine_file", "read_configuration", "told"]


def examine_file(path: str | None, plugins: Mapping[str, type[Plugin]]) -> Examined:
    """What there is to say about a file; None: about the defaults. Unreadable is a problem too."""
    return Source(path, plugins).examine_now()


def read_configuration(path: str | None, plugins: Mapping[str, type[Plugin]]) -> Config:
    """The configuration to run with; its problems are told, and end the command, its warnings are told."""
    return told(examine_file(path, plugins))


def told(examined: Examined) -> Config:
    """The configuration that came of a file; its problems are told, and end the command, its warnings are
    told.
    """
    for problem in examined.problems:
        click.echo(f"error: {problem}", err=True)
    for warning in examined.warnings:
        click.echo(f"warning: {warning}", err=True)
    if examined.config is None:
        sys.exit(1)
    for doubt in doubts(examined.config):
        click.echo(f"warning: {doubt}", err=True)
    return examined.config
