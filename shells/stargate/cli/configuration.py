"""Reading the configuration for a command: from a file, from standard input, or none at all."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import msgspec

from stargate.plugins import schemas
from stargate.public_keys import missing_for
from stargate_core.config.load import Examined, examine
from stargate_core.config.problems import Problem
from stargate_core.config.schema import Config
from stargate_core.views import Plugin

STDIN = "-"


def examine_file(path: str | None, plugins: Mapping[str, type[Plugin]]) -> Examined:
    """What there is to say about a file; None: about the defaults. Unreadable is a problem too."""
    text: str | None = None
    name = "<stdin>" if path == STDIN else path or "<no file>"
    if path is not None:
        try:
            data = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
            text = data.decode()
        except OSError as error:
            return _unreadable(name, 1, 1, f"can't be read: {error.strerror}")
        except UnicodeDecodeError as error:
            before = error.object[: error.start]
            column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
            return _unreadable(name, before.count(b"\n") + 1, column, "expected UTF-8")
    examined = examine(text, filename=name, environ=os.environ, schemas=schemas(plugins))
    missing = "" if examined.config is None else missing_for(examined.config)
    if missing:
        warning = Problem(name, 1, 1, "", missing)
        examined = msgspec.structs.replace(examined, warnings=(*examined.warnings, warning))
    return examined


def _unreadable(name: str, line: int, column: int, message: str) -> Examined:
    return Examined(None, (Problem(name, line, column, "", message),), ())


def read_configuration(path: str | None, plugins: Mapping[str, type[Plugin]]) -> Config:
    """The configuration to run with; its problems are told, and end the command, its warnings are told."""
    examined = examine_file(path, plugins)
    for problem in examined.problems:
        click.echo(f"error: {problem}", err=True)
    for warning in examined.warnings:
        click.echo(f"warning: {warning}", err=True)
    if examined.config is None:
        sys.exit(1)
    return examined.config
