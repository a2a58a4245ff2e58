"""Reading the configuration for a command: from a file, from standard input, or none at all."""

import os
import sys
from collections.abc import Mapping

import click

from stargate.plugins import schemas
from stargate_core.config.load import Examined, examine
from stargate_core.config.schema import Config
from stargate_core.gateway.plan import Plugin

STDIN = "-"


def examine_file(path: str | None, plugins: Mapping[str, type[Plugin]]) -> Examined:
    """What there is to say about a file; None: about the defaults. Raises click.ClickException when it can't
    be read.
    """
    text: str | None = None
    if path is not None:
        try:
            if path == STDIN:
                text = sys.stdin.read()
            else:
                with open(path, encoding="utf-8") as file:
                    text = file.read()
        except OSError as error:
            raise click.ClickException(f"{path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise click.ClickException(f"{path} is not UTF-8 at byte {error.start}") from None
    filename = "<stdin>" if path == STDIN else path or "<no file>"
    return examine(text, filename=filename, environ=os.environ, schemas=schemas(plugins))


def read_configuration(path: str | None, plugins: Mapping[str, type[Plugin]]) -> Config:
    """The configuration to run with. Tells every problem and ends the command if there is one; tells
    warnings.
    """
    examined = examine_file(path, plugins)
    for note in (*examined.problems, *examined.warnings):
        level = "error" if note in examined.problems else "warning"
        click.echo(f"{level}: {note}", err=True)
    if examined.config is None:
        sys.exit(1)
    return examined.config
