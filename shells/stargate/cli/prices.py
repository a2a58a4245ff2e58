"""`stargate prices`: what models cost, from which list, as of when, and which row counts for a model.

Costs in the log, in metrics, in limits of money and in headers are all computed from this one list: the
shipped rows, behind those of `gateway.prices`. The shipped ones have a date, and grow old; after half a year
this says so. (A running gateway does not: it can't know whether prices have changed, and would warn for
ever.)
"""

import datetime
import sys
from collections.abc import Iterator, Sequence
from typing import Final

import click
import msgspec

from stargate.cli.configuration import examine_file
from stargate.cli.examples import examples
from stargate.log_sinks.looking import entries_of
from stargate.plugins import BadPlugin, installed
from stargate_core.config.bedrock_proxy import BedrockProxy, targets_of
from stargate_core.config.gateway_block import ModelPrice
from stargate_core.config.schema import Config
from stargate_core.prices import AS_OF, Prices, Row

_OLD_MONTHS: Final = 6
_SOURCE: Final = "https://aws.amazon.com/bedrock/pricing/"
_COLUMNS: Final = ("input", "output", "cache read", "cache write", "from")


class _Priced(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line: a model or a row, and what it costs in dollars for a million tokens."""

    name: str
    input: float
    output: float
    cache_read: float
    cache_write: float
    origin: str = msgspec.field(name="from")
    """own, shipped, or unknown."""
    target: str = ""
    """The model id that the name stands for, where it is another."""
    row: str = ""
    """Which row of the list counts."""


@click.command(
    "prices",
    epilog=examples(
        "stargate prices",
        "stargate prices -c stargate.yaml claude",
        "stargate prices --json | jq .",
    ),
)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("-c", "--config", "path", type=click.Path(), help="The configuration, as YAML.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def prices(models: Sequence[str], path: str | None, as_json: bool) -> None:
    """Show what models cost, in US dollars for a million tokens, and why.

    Without a MODEL: the whole list, and what the configuration's own names cost. A MODEL is one of those
    names, a model id, an inference profile's id or an ARN. What no row matches costs what the dearest does.
    """
    try:
        plugins = installed()
    except BadPlugin as error:
        raise click.ClickException(str(error)) from None
    examined = examine_file(path, plugins)
    for problem in examined.problems:
        click.echo(f"error: {problem}", err=True)
    config = examined.config
    if config is None:
        sys.exit(1)
    listed = Prices(config.gateway.prices)
    names = _names(config)
    rows = [] if models else [_of_row(row) for row in listed.rows]
    wanted = [(name, target) for name in models or names for target in names.get(name, [name])]
    priced = [_of_model(listed, name, target) for name, target in wanted]
    if as_json:
        told = {"as_of": AS_OF, "source": _SOURCE, "rows": rows, "models": priced}
        click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2))
        return
    click.echo(f"US dollars for a million tokens. The shipped rows are {_SOURCE}, us-east-1, as of {AS_OF}.")
    months = _months_old(datetime.datetime.now(datetime.UTC).date())
    if months > _OLD_MONTHS:
        click.echo(f"That is {months} months ago: write what has changed since into gateway.prices.")
    for title, lines in (("row, the first that matches counts", rows), ("model", priced)):
        if lines:
            click.echo()
            for line in _table(title, lines):
                click.echo(line)


def _names(config: Config) -> dict[str, list[str]]:
    """The names that callers use, and the model ids each stands for."""
    names: dict[str, dict[str, None]] = {}
    for entry in entries_of(config):
        if entry.enabled and isinstance(entry.config, BedrockProxy):
            for name, model in entry.config.models.items():
                for place in targets_of(entry.config, model):
                    names.setdefault(name, {})[place.target or model.target] = None
    return {name: list(targets) for name, targets in names.items()}


def _of_row(row: Row) -> _Priced:
    return _priced(row.glob, row.price, "shipped" if row.shipped else "own")


def _of_model(listed: Prices, name: str, target: str) -> _Priced:
    row = listed.row_of(target)
    shown = "" if target == name else target
    if row is None:
        dearest = max((one.price for one in listed.rows), key=lambda price: (price.output, price.input))
        return _priced(name, dearest, "unknown", target=shown)
    return _priced(name, row.price, "shipped" if row.shipped else "own", target=shown, row=row.glob)


def _priced(name: str, price: ModelPrice, origin: str, *, target: str = "", row: str = "") -> _Priced:
    read = price.input if price.cache_read is None else price.cache_read
    write = price.input if price.cache_write is None else price.cache_write
    return _Priced(name, price.input, price.output, read, write, origin, target, row)


def _months_old(today: datetime.date) -> int:
    year, month = map(int, AS_OF.split("-"))
    return (today.year - year) * 12 + today.month - month


def _table(title: str, lines: list[_Priced]) -> Iterator[str]:
    named = [f"{line.name} = {line.target}" if line.target else line.name for line in lines]
    width = max(map(len, (title, *named)))
    yield "  ".join([title.ljust(width), *(column.rjust(11) for column in _COLUMNS[:-1]), _COLUMNS[-1]])
    for name, line in zip(named, lines, strict=True):
        costs = (line.input, line.output, line.cache_read, line.cache_write)
        row = f": {line.row}" if line.row else ": as the dearest" if line.origin == "unknown" else ""
        yield "  ".join([name.ljust(width), *(f"{cost:11g}" for cost in costs), f"{line.origin}{row}"])
