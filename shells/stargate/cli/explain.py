"""`stargate explain`: what the gateway would do with a request, and why; nothing is sent.

The request is given as it would come over the wire, or as JSON (explaining/asked.py). Of a raw request whose
lines end as a text editor's do the ends are mended, and a length that is not told is added: it is the file
that was meant, not its line ends.

The core does the work (gateway/explanation.py); explaining/shown.py words it.
"""

import datetime
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
import msgspec

from stargate.cli.configuration import STDIN, read_configuration
from stargate.cli.examples import examples
from stargate.explaining.asked import request_of_json
from stargate.explaining.shown import lines
from stargate.plugins import BadPlugin, installed
from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.gateway.explanation import (
    PLACEHOLDER,
    Ending,
    NotWhole,
    explain,
)
from stargate_core.gateway.plan import Plan
from stargate_core.secret import Secret

_REQUEST_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^ \r\n]+ HTTP/[0-9.]+\r?\n")


@click.command(
    "explain",
    context_settings={"show_default": True},
    epilog=examples(
        "stargate explain -c stargate.yaml --request request.json",
        'echo \'{"path": "/v1/models"}\' | stargate explain -c stargate.yaml --request -',
        "stargate explain -c stargate.yaml --request request.http --json | jq .refusal",
    ),
)
@click.option("-c", "--config", "path", type=click.Path(), help="The configuration, as YAML.")
@click.option(
    "--request",
    "request_path",
    type=click.Path(allow_dash=True),
    required=True,
    help="The request, as raw HTTP/1.1 or as JSON; - for standard input.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--at", metavar="TIME", help="What time it is (2026-01-02T03:04:05Z); else now.")
@click.option(
    "--credentials",
    type=click.Choice(["placeholder", "environment", "none"]),
    default="placeholder",
    help="What signs: a placeholder, AWS_ACCESS_KEY_ID and its like, or nothing.",
)
@click.option("--client", default="127.0.0.1", metavar="ADDRESS", help="The caller's address.")
@click.option("--seed", default=0, help="Decides what is left to chance: the order of weighted targets.")
def explain_command(
    path: str | None,
    request_path: str,
    as_json: bool,
    at: str | None,
    credentials: str,
    client: str,
    seed: int,
) -> None:
    """Show what would become of a request: its route, its plugins, its limits, and the exact call to Bedrock.

    Nothing is sent, and nothing is asked: no store, no AWS. Exit status: 0 if the request would be answered,
    1 if it would be refused, 2 if that can't be said.
    """
    if path == STDIN and request_path == STDIN:
        raise click.UsageError("only one of -c and --request can be standard input")
    request = _request(_read(request_path))
    wall_ns = time.time_ns() if at is None else _time(at)
    try:
        plugins = installed()
    except BadPlugin as error:
        raise click.UsageError(str(error)) from None
    try:
        config = read_configuration(path, plugins)
    except SystemExit:
        sys.exit(2)
    plan = Plan(config, plugins)
    try:
        explanation = explain(
            plan, request, wall_ns=wall_ns, credentials=_credentials(credentials), client=client, seed=seed
        )
    except NotWhole as error:
        raise click.BadParameter(f"{error}: is content-length right?", param_hint="--request") from None
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(explanation), indent=2))
    else:
        for line in lines(explanation, shares_keys=config.gateway.store.is_shared):
            click.echo(line)
    sys.exit(1 if explanation.ending is Ending.REFUSED else 0)


# ----------------------------------------------------------------------------------------------- what is read


def _read(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"can't be read: {error.strerror}", param_hint="--request") from None


def _request(data: bytes) -> bytes:
    """The request's bytes. Raises BadParameter where it is no request at all."""
    if data.lstrip()[:1] == b"{":
        try:
            return request_of_json(data)
        except ValueError as error:
            raise click.BadParameter(f"expected a request as JSON: {error}", param_hint="--request") from None
    if _REQUEST_LINE.match(data) is None:
        raise click.BadParameter(
            "expected a request: `POST /path HTTP/1.1` and so on, or JSON with method, path, headers, body",
            param_hint="--request",
        )
    return _mended(data)


def _mended(data: bytes) -> bytes:
    """A raw request whose head may come from a text editor."""
    if b"\r\n" in data.partition(b"\n\n")[0]:
        return data
    head, blank, body = data.partition(b"\n\n")
    lines = head.rstrip(b"\n").split(b"\n")
    names = {line.partition(b":")[0].strip().lower() for line in lines[1:]}
    if body and not names & {b"content-length", b"transfer-encoding"}:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body if blank else b"")


def _time(text: str) -> int:
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter("expected a time, such as 2026-01-02T03:04:05Z", param_hint="--at") from None
    if at.tzinfo is None:
        raise click.BadParameter("expected a time with an offset: end it with Z for UTC", param_hint="--at")
    nanoseconds = (at - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(
        microseconds=1
    )
    if nanoseconds < 0:
        raise click.BadParameter("expected a time since 1970", param_hint="--at")
    return nanoseconds * 1000


def _credentials(kind: str, environ: Mapping[str, str] = os.environ) -> Credentials | BearerToken | None:
    if kind == "none":
        return None
    if kind == "placeholder":
        return PLACEHOLDER
    api_key = environ.get("AWS_BEARER_TOKEN_BEDROCK", "").strip()
    if api_key:
        return BearerToken(Secret(api_key))
    access_key_id, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if not access_key_id or not secret:
        raise click.BadParameter(
            "expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_BEARER_TOKEN_BEDROCK, in the "
            "environment",
            param_hint="--credentials",
        )
    session_token = environ.get("AWS_SESSION_TOKEN")
    return Credentials(access_key_id, Secret(secret), Secret(session_token) if session_token else None)
