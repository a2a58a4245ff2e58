"""`stargate serve`: run the gateway."""

import asyncio
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import cast

import click
import msgspec
import trio

from stargate.cli.configuration import told
from stargate.outside import Outside
from stargate.plugins import BadPlugin, installed
from stargate.shell_common.listening import CannotListen
from stargate.shell_common.starting import Started
from stargate.shell_common.threads import left_behind
from stargate.sources import Source
from stargate.tls import BadTls
from stargate_core.config.problems import Misfit
from stargate_core.config.schema import Config, Listener, Store
from stargate_core.gateway.plan import Plan


@click.command(
    epilog="Without -c it serves on 127.0.0.1:8080, open to this machine, with AWS's usual credentials."
)
@click.option("-c", "--config", "path", type=click.Path(dir_okay=False), help="The configuration, as YAML.")
@click.option(
    "--listen",
    multiple=True,
    metavar="ADDR",
    help="Listen here instead: host:port or unix:/path. May repeat.",
)
@click.option(
    "--shell",
    type=click.Choice(["trio", "asyncio"]),
    default="trio",
    show_default=True,
    help="What to run on.",
)
@click.option(
    "--loop",
    type=click.Choice(["auto", "asyncio", "uvloop"]),
    default="auto",
    show_default=True,
    help="The event loop under asyncio. auto: uvloop where it is installed.",
)
@click.option("--watch", is_flag=True, help="Reload when the configuration's file changes, as on SIGHUP.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What is told on standard error.",
)
def serve(
    path: str | None, listen: tuple[str, ...], shell: str, loop: str, watch: bool, log_level: str
) -> None:
    """Serve OpenAI's and Bedrock's own API in front of AWS Bedrock."""
    try:
        plugins = installed()
    except BadPlugin as error:
        raise click.ClickException(str(error)) from None
    source = Source(path, plugins, _changed_by(listen))
    if watch and not source.is_file:
        raise click.BadParameter("there is no file to watch", param_hint="--watch")
    config = told(source.examine_now())
    _need_client_of(config.gateway.store)
    if shell == "trio" and loop != "auto":
        raise click.BadParameter("trio is a loop of its own", param_hint="--loop")
    new_loop = _new_loop(loop) if shell == "asyncio" else None
    plan = Plan(config, plugins)
    outside = Outside(source if source.is_file else None, watch=watch)
    try:
        if shell == "asyncio":
            _serve_on_asyncio(plan, lambda what: _tell(plan, config, what), log_level, outside, new_loop)
        else:
            _serve_on_trio(plan, lambda what: _tell(plan, config, what), log_level, outside)
    except* (CannotListen, BadTls) as group:
        for reason in _leaves(group):
            click.echo(f"error: {reason}", err=True)
        sys.exit(1)


def _changed_by(listen: tuple[str, ...]) -> Callable[[Config], Config]:
    """What the command line says in the place of the file."""
    try:
        listeners = [Listener(address) for address in listen]
    except Misfit as misfit:
        raise click.BadParameter(str(misfit), param_hint="--listen") from None

    def change(config: Config) -> Config:
        gateway = config.gateway
        if listeners:
            gateway = msgspec.structs.replace(gateway, listen=listeners)
        return msgspec.structs.replace(config, gateway=gateway)

    return change


def _serve_on_trio(plan: Plan, started: Callable[[Started], None], level: str, outside: Outside) -> None:
    from stargate.trio_shell.serve import serve  # Each shell is imported where it is wanted alone.

    trio.run(lambda: serve(plan, started=started, level=level, outside=outside))


def _serve_on_asyncio(
    plan: Plan,
    started: Callable[[Started], None],
    level: str,
    outside: Outside,
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None,
) -> None:
    from stargate.asyncio_shell.serve import serve

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve(plan, started=started, level=level, outside=outside))
    if left_behind():
        # Everything has been written and closed: nothing is lost but what somebody still looks for.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _new_loop(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the loop of this name; None: asyncio itself."""
    if name == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        if name == "auto":
            return None
        raise click.ClickException("it needs uvloop: pip install 'stargate-gateway[uvloop]'") from None
    return uvloop.new_event_loop


def _need_client_of(store: Store) -> None:
    """End the command where the store takes an optional library that is not there."""
    if store.cluster is not None:
        try:
            importlib.import_module("stargate.clustered_store")
        except ImportError as error:
            raise click.ClickException(str(error)) from None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """What a group is made of, in the end."""
    match error:
        case BaseExceptionGroup(exceptions=tuple(parts)):
            for part in cast("tuple[BaseException, ...]", parts):
                yield from _leaves(part)
        case _:
            yield error


def _tell(plan: Plan, config: Config, started: Started) -> None:
    """What a person wants to know when it runs."""
    for url in started.urls:
        click.echo(f"stargate: listening on {url}", err=True)
    for account, found in started.credentials.items():
        name = f"credentials for account {account}" if account else "AWS credentials"
        if found.credentials is None:
            click.echo(
                f"stargate: no {name}: {found.problem}; calls will be answered 503 until there are some",
                err=True,
            )
        else:
            click.echo(f"stargate: {name} from {found.method}", err=True)
    if not plan.has("bedrock-proxy"):
        click.echo("stargate: no plugin bedrock-proxy: calls have nowhere to go", err=True)
    consumers = len(config.consumers)
    click.echo(f"stargate: ready ({consumers} consumer{'' if consumers == 1 else 's'})", err=True)
