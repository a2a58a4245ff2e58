"""`stargate simulate`: a stand-in for Bedrock that AWS's own SDKs can talk to.

It prints what listens, and the environment that points an SDK at it; then it serves until it is told to stop.
"""

import os
import signal
import ssl
from pathlib import Path
from typing import Any, Final

import click

from stargate.cli.examples import examples

_MILLISECOND: Final = 1_000_000
_LISTEN: Final = "127.0.0.1:8443"
_FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
_FOLDER: Final = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command(
    "simulate",
    context_settings={"show_default": True},
    epilog=examples(
        "stargate simulate",
        "stargate simulate --listen 127.0.0.1:9000 --pace 30 --first-token-ms 400",
        "stargate simulate --scenario 'slow ms=200'",
        "stargate simulate --list-scenarios",
    ),
)
@click.option(
    "--listen", default=_LISTEN, metavar="HOST:PORT", help="Where to listen; port 0 takes a free one."
)
@click.option("--tls-cert", type=_FILE, help="A PEM chain, for HTTPS.")
@click.option("--tls-key", type=_FILE, help="Its private key, if it stands in a file of its own.")
@click.option("--access-key-id", default="AKIDSIMULATOR", help="The key id that signs requests.")
@click.option("--secret-access-key", default="simulated-secret-access-key", help="Its secret.")
@click.option("--session-token", help="A session token that requests must then bear.")
@click.option(
    "--api-key", "api_keys", multiple=True, help="A Bedrock API key to take as bearer token; may repeat."
)
@click.option("--region", default="us-east-1", help="The region of signatures.")
@click.option("--pace", default=0.0, metavar="EVENTS_PER_SECOND", help="The pace of streams; 0: at once.")
@click.option("--first-token-ms", default=0, help="How long the first event of a stream takes.")
@click.option("--scenario", default="", help="What befalls requests that name no scenario: 'slow ms=200'.")
@click.option("--listing-fault", default="", help="What befalls those who ask which models there are.")
@click.option("--list-scenarios", is_flag=True, help="Show all scenarios, and stop.")
@click.option("--recordings", type=_FOLDER, help="A folder of recorded answers, to be served byte for byte.")
@click.option("--seed", default=0, help="Decides whatever is left to chance.")
@click.option("--ready-fd", type=int, help="A file descriptor to write the URL to, once it listens.")
def simulate(**options: Any) -> None:
    """Answer as Bedrock does: its wire format, its checks, its errors, and its faults on request."""
    # Imported late: AWS's service model takes a quarter of a second, which `--help` need not wait for.
    import trio

    if options["list_scenarios"]:
        _list_scenarios()
    else:
        trio.run(_serve, options)


def _list_scenarios() -> None:
    from stargate.simulator.scenarios import SCENARIOS

    width = max(map(len, SCENARIOS))
    for scenario in SCENARIOS.values():
        click.echo(f"{scenario.name:<{width}}  {scenario.summary}")


async def _serve(options: dict[str, Any]) -> None:
    """Serve until SIGTERM or SIGINT. Raises ClickException for wrong options and taken addresses."""
    import trio

    from stargate.simulator.server import Simulator, listen, url_of

    simulator = Simulator(_settings(options))
    tls = _tls(options)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        try:
            listeners = await listen(*_address(options["listen"]))
        except OSError as error:
            raise click.ClickException(f"cannot listen on {options['listen']}: {error}") from None
        async with trio.open_nursery() as nursery:
            await nursery.start(simulator.serve, listeners, tls)
            _announce([url_of(listener, simulator.settings.scheme) for listener in listeners], options)
            async for _ in signals:
                nursery.cancel_scope.cancel()


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise click.ClickException(f"--listen must be HOST:PORT, not {listen!r}")
    return host.strip("[]"), int(port)


def _tls(options: dict[str, Any]) -> ssl.SSLContext | None:
    if options["tls_cert"] is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(options["tls_cert"], options["tls_key"])
    except (ssl.SSLError, OSError) as error:
        raise click.ClickException(f"--tls-cert: {error}") from None
    return context


def _settings(options: dict[str, Any]) -> Any:
    from stargate.simulator.directives import parse
    from stargate.simulator.errors import Refusal
    from stargate.simulator.recordings import Recordings
    from stargate.simulator.scenarios import scenario_of
    from stargate.simulator.server import wall_epoch_ns
    from stargate.simulator.settings import Credential, Settings
    from stargate_core.secret import Secret

    for name in ("scenario", "listing_fault"):
        try:
            scenario_of(parse(options[name]))
        except Refusal as refusal:
            shown = name.replace("_", "-")
            raise click.ClickException(f"--{shown}: {refusal.error.message}") from None
    try:
        folder = options["recordings"]
        recordings = None if folder is None else Recordings.load(folder)
    except (OSError, ValueError, KeyError) as error:
        raise click.ClickException(f"--recordings: {error}") from None
    token = options["session_token"]
    secret = Secret(options["secret_access_key"])
    credential = Credential(options["access_key_id"], secret, None if token is None else Secret(token))
    return Settings(
        wall_epoch_ns=wall_epoch_ns(),
        credentials=(credential,),
        api_keys=tuple(map(Secret, options["api_keys"])),
        region=options["region"],
        scheme="http" if options["tls_cert"] is None else "https",
        events_per_second=options["pace"],
        first_token_ns=options["first_token_ms"] * _MILLISECOND,
        scenario=options["scenario"],
        listing_fault=options["listing_fault"],
        recordings=recordings,
        seed=options["seed"],
    )


def _announce(urls: list[str], options: dict[str, Any]) -> None:
    """Say where it listens, and how to get there. The first line of each URL is for programs to read."""
    for url in urls:
        click.echo(f"listening on {url}")
    environment = {
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": urls[0],
        "AWS_ENDPOINT_URL_BEDROCK": urls[0],
        "AWS_ACCESS_KEY_ID": options["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": options["secret_access_key"],
        "AWS_SESSION_TOKEN": options["session_token"],
        "AWS_DEFAULT_REGION": options["region"],
    }
    click.echo("\nFor boto3 and the other AWS SDKs:\n")
    for name, value in environment.items():
        if value is not None:
            click.echo(f"    export {name}={value}")
    click.echo(f"\nWhat it has received: {urls[0]}/_simulator/requests, {urls[0]}/_simulator/statistics")
    if options["ready_fd"] is not None:
        with os.fdopen(options["ready_fd"], "w") as ready:
            ready.write(f"{urls[0]}\n")


if __name__ == "__main__":
    simulate()
