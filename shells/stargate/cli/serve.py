"""`stargate serve`: run the gateway."""

import asyncio
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import click
import trio

from stargate.cli import telling
from stargate.cli.configuration import told
from stargate.cli.examples import examples
from stargate.cli.libraries import missing_libraries
from stargate.cli.sockets import changed_by, handed_in
from stargate.operations import Operations
from stargate.outside import Line, Outside
from stargate.plugins import BadPlugin, installed
from stargate.shell_common.lines import LEVELS
from stargate.shell_common.listening import CannotListen, open_for_workers
from stargate.shell_common.starting import Started, make_room
from stargate.shell_common.threads import left_behind
from stargate.sources import Source
from stargate.supervisor import Share, Supervisor
from stargate.tls import BadTls, listener_context, upstream_contexts
from stargate_core.gateway.plan import Plan


@click.command(
    epilog=examples(
        "stargate serve",
        "stargate serve -c stargate.yaml --watch",
        "stargate serve -c stargate.yaml --workers 4 --shell asyncio",
        "stargate serve -c stargate.yaml --listen 0.0.0.0:8080 --listen unix:/run/stargate.sock",
        "kill -HUP $(pidof -s stargate)                # read the configuration again",
    )
)
@click.option("-c", "--config", "path", type=click.Path(dir_okay=False), help="The configuration, as YAML.")
@click.option(
    "--listen",
    multiple=True,
    metavar="ADDR",
    help="Listen here instead: host:port or unix:/path. May repeat.",
)
@click.option(
    "--fd",
    "descriptors",
    multiple=True,
    type=click.IntRange(min=0),
    metavar="N",
    help="Serve on a socket that is open already, by its descriptor. May repeat.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="How many processes serve, in the place of gateway.workers.",
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
    path: str | None,
    listen: tuple[str, ...],
    descriptors: tuple[int, ...],
    workers: int | None,
    shell: str,
    loop: str,
    watch: bool,
    log_level: str,
) -> None:
    """Serve OpenAI's, Anthropic's and Bedrock's own API in front of AWS Bedrock.

    Without -c it serves on 127.0.0.1:8080, open to this machine, with AWS's usual credentials.
    """
    try:
        plugins = installed()
    except BadPlugin as error:
        raise click.ClickException(str(error)) from None
    sockets = handed_in(descriptors, listen, os.environ)
    source = Source(path, plugins, changed_by(listen, sockets, workers))
    if watch and not source.is_file:
        raise click.BadParameter("there is no file to watch", param_hint="--watch")
    config = told(source.examine_now())
    for missing in missing_libraries(config.gateway):
        raise click.ClickException(missing)
    if shell == "trio" and loop != "auto":
        raise click.BadParameter("trio is a loop of its own", param_hint="--loop")
    new_loop = _new_loop(loop) if shell == "asyncio" else None
    plan = Plan(config, plugins)
    too_little = make_room(config.gateway)  # Before workers are forked: they inherit the limit.
    if too_little is not None:
        telling.tell([telling.labelled(telling.ATTENTION, too_little)])

    def run(plan: Plan, outside: Outside, started: Callable[[Started], None]) -> int:
        try:
            if shell == "asyncio":
                _serve_on_asyncio(plan, started, log_level, outside, new_loop)
            else:
                _serve_on_trio(plan, started, log_level, outside)
        except* (CannotListen, BadTls) as group:
            for reason in _leaves(group):
                click.echo(f"error: {reason}", err=True)
            sys.exit(1)
        return 0

    opened = [[sock] for sock in sockets] or None
    try:
        operations = Operations(config)
    except CannotListen as error:
        raise click.ClickException(str(error)) from None
    if config.gateway.workers > 1:
        importlib.import_module(f"stargate.{shell}_shell.serve")  # Once, and not in each worker.
        sys.exit(_supervise(plan, source, opened, run, operations, watch=watch, level=log_level))
    outside = Outside(
        source if source.is_file else None, watch=watch, sockets=opened, beside=operations.at(0)
    )
    of_gateway = telling.of_gateway(plan, operations)
    run(plan, outside, lambda what: _tell(plan, telling.of_worker(plan, what), of_gateway))


def _supervise(
    plan: Plan,
    source: Source,
    opened: Share | None,
    run: Callable[[Plan, Outside, Callable[[Started], None]], int],
    operations: Operations,
    *,
    watch: bool,
    level: str,
) -> int:
    """Serve with several workers; the exit status."""
    gateway = plan.config.gateway

    def work(plan: Plan, share: Share, line: Line, place: int) -> int:
        outside = Outside(source, sockets=share, line=line, beside=operations.at(place))
        return run(plan, outside, lambda what: line.tell(ready=telling.of_worker(plan, what)))

    def note(of: str, text: str) -> None:
        if LEVELS[of] >= LEVELS[level]:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            click.echo(f"{stamp} {of}: {text}", err=True)

    try:
        for listener in gateway.listen:
            listener_context(listener, plan)
        upstream_contexts(gateway.upstream_tls)
        shares = (
            [opened] * gateway.workers
            if opened is not None
            else open_for_workers(gateway.listen, gateway.workers)
        )
    except (CannotListen, BadTls) as error:
        click.echo(f"error: {error}", err=True)
        return 1
    of_gateway = telling.of_gateway(plan, operations)
    supervisor = Supervisor(
        plan,
        source,
        shares,
        work=work,
        note=note,
        ready=lambda news: _tell(plan, news, of_gateway),
        watch=watch,
    )
    return supervisor.run()


def _tell(plan: Plan, of_worker: Sequence[str], of_gateway: Sequence[str]) -> None:
    telling.tell([*of_worker, *of_gateway, telling.ready(plan.config)])


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


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """What a group is made of, in the end."""
    match error:
        case BaseExceptionGroup(exceptions=tuple(parts)):
            for part in cast("tuple[BaseException, ...]", parts):
                yield from _leaves(part)
        case _:
            yield error
