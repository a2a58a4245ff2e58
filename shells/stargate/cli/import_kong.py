"""`stargate import-kong FILE`: Stargate's configuration out of Kong's declarative one.

The new configuration goes to standard output, or into a file; what did not go over as it was is told on
standard error, a line each. Then the new one is looked at as `stargate check` does, and its problems are
told too: what the old one meant may need a hand. Exit status: 0 if the new one is good, 1 if it needs one.
"""

import os
import sys
from pathlib import Path
from typing import Final

import click
import yaml

from stargate.kong.convert import Converted, convert
from stargate.kong.document import NotKong
from stargate.plugins import BadPlugin, installed, schemas
from stargate_core.config.expand import variables
from stargate_core.config.load import Examined, examine

_HEAD: Final = """\
# Made from Kong's {name} by `stargate import-kong`. What did not go over as it was:
"""
_CLEAN: Final = "# Made from Kong's {name} by `stargate import-kong`.\n"


@click.command(
    "import-kong",
    epilog="\b\nExamples:\n  stargate import-kong kong.yaml > stargate.yaml\n"
    "  deck gateway dump -o - | stargate import-kong - -o stargate.yaml && stargate check stargate.yaml",
)
@click.argument("file", type=click.Path(path_type=str, allow_dash=True))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write there, not to standard output.",
)
@click.option("--force", is_flag=True, help="Overwrite the output file.")
def import_kong(file: str, output: Path | None, force: bool) -> None:
    """Turn Kong's declarative FILE (- for standard input; YAML or JSON, also decK's) into Stargate's.

    What could not go over, or means something else here, is told line by line and stands as comments in the
    new file. Exit status: 0 if the new file is good, 1 if it needs a hand.
    """
    if output is not None and output.exists() and not force:
        raise click.ClickException(f"{output} exists; --force overwrites it")
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
        converted = convert(text)
        plugins = installed()
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.ClickException(f"{file}: expected UTF-8") from None
    except (NotKong, BadPlugin) as error:
        raise click.ClickException(f"{file}: {error}") from None
    written = _written(converted, "standard input" if file == "-" else Path(file).name)
    if output is None:
        click.echo(written, nl=False)
    else:
        output.write_text(written)
    for note in converted.notes:
        click.echo(str(note), err=True)
    # Variables need not be set where a file is converted.
    environ = {name: os.environ.get(name) or _plausible(name) for name in variables(written)}
    examined = examine(written, filename=str(output or "<output>"), environ=environ, schemas=schemas(plugins))
    _tell(examined)
    sys.exit(0 if examined.config is not None else 1)


def _plausible(name: str) -> str:
    """What a variable may hold, by its name."""
    if "ARN" in name:
        return "arn:aws:iam::123456789012:role/example"
    return "us-east-1" if "REGION" in name else f"value_of_{name}"


def _written(converted: Converted, name: str) -> str:
    head = _HEAD if converted.notes else _CLEAN
    comments = "".join(f"# - {note}\n" for note in converted.notes)
    body = yaml.safe_dump(converted.config, sort_keys=False, allow_unicode=True, width=110)
    return f"{head.format(name=name)}{comments}{body}"


def _tell(examined: Examined) -> None:
    for problem in examined.problems:
        click.echo(f"problem: {problem}", err=True)
    for warning in examined.warnings:
        click.echo(f"warning: {warning}", err=True)
    if examined.config is None:
        click.echo("the new configuration needs a hand before it runs", err=True)
