"""`stargate explain`: what the gateway would do with a request, and why; nothing is sent.

The request is given as it would come over the wire, or as JSON, for people who don't count bytes:

    {"method": "POST", "path": "/v1/chat/completions", "headers": {"x-api-key": "…"}, "body": {…}}

Of JSON only `path` is needed: the method is POST where there is a body and GET where there is none; `host`,
`content-length` and, for a body that is no text, `content-type` are added where they are missing. Of a raw
request whose lines end as a text editor's do the ends are mended, and a length that is not told is added: it
is the file that was meant, not its line ends.

The core does the work (gateway/explanation.py); here it is read and shown. What is shown holds no byte that
could steer a terminal.
"""

import datetime
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from stargate.cli.configuration import STDIN, read_configuration
from stargate.plugins import BadPlugin, installed
from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.causes import Cause
from stargate_core.gateway.explanation import (
    PLACEHOLDER,
    Ending,
    Explanation,
    Limit,
    Message,
    NotWhole,
    Step,
    Way,
    explain,
)
from stargate_core.gateway.plan import Plan
from stargate_core.secret import Private, Secret

_SHOWN_CHARS: Final = 16_384
"""Of a body, for people; programs get all of it."""
_REQUEST_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^ \r\n]+ HTTP/[0-9.]+\r?\n")
_STEERING: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ENDINGS: Final = {
    Ending.SENT: "would be sent",
    Ending.ANSWERED: "would be answered by the gateway",
    Ending.REFUSED: "would be refused",
}


class _Written(Private, msgspec.Struct, forbid_unknown_fields=True):
    """A request as JSON."""

    path: str
    method: str | None = None
    headers: dict[str, str | list[str]] = msgspec.field(default_factory=dict[str, str | list[str]])
    body: Any = msgspec.UNSET


@click.command("explain", context_settings={"show_default": True})
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
        for line in _lines(explanation, shares_keys=config.gateway.store.is_shared):
            click.echo(_STEERING.sub("\N{REPLACEMENT CHARACTER}", line))
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
            return _of_json(msgspec.json.decode(data, type=_Written))
        except (msgspec.DecodeError, ValueError) as error:
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


def _of_json(written: _Written) -> bytes:
    """Raises ValueError for what no request can hold."""
    body = _body(written.body)
    method = written.method or ("GET" if body is None else "POST")
    fields = [
        (name.lower(), value)
        for name, values in written.headers.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    names = {name for name, _ in fields}
    if "host" not in names:
        fields.insert(0, ("host", "stargate"))
    if body is not None:
        if "content-type" not in names and not isinstance(written.body, str):
            fields.append(("content-type", "application/json"))
        if not names & {"content-length", "transfer-encoding"}:
            fields.append(("content-length", str(len(body))))
    lines = [f"{method} {written.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    for line in lines:
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", line):
            raise ValueError("a line end, or another control character, in the method, the path or a header")
    if " " in method or " " in written.path:
        raise ValueError("a blank in the method or the path")
    return "\r\n".join([*lines, "\r\n"]).encode() + (body or b"")


def _body(body: Any) -> bytes | None:
    match body:
        case msgspec.UnsetType():
            return None
        case str():
            return body.encode()
        case _:
            return msgspec.json.encode(body)


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


# ---------------------------------------------------------------------------------------------- what is shown


def _lines(told: Explanation, *, shares_keys: bool) -> Iterator[str]:
    yield f"{told.method} {told.target}: {_ENDINGS[told.ending]}"
    yield ""
    if shares_keys and told.refusal is not None and told.refusal.cause == Cause.KEY_INVALID.name:
        yield "Keys that live in the store are not known here: only those of the file are."
        yield ""
    for name, lines in _paragraphs(told):
        for number, line in enumerate(lines):
            yield f"{name if number == 0 else '':<11} {line}"
    if told.call is not None:
        yield ""
        yield from _message(told.call)
        if told.call.times > 1:
            yield f"(and {told.call.times - 1} more calls like it, for the other inputs)"
    if told.answer is not None:
        yield ""
        yield from _message(told.answer)


def _paragraphs(told: Explanation) -> Iterator[tuple[str, list[str]]]:
    if told.refusal is not None:
        yield "refused", _refusal(told)
    yield "time", [f"{told.at}, request id {told.request_id or 'none'}, generation {told.generation}"]
    yield "route", [_route(told)]
    yield "plugins", _plugins(told.plugins)
    yield "caller", [_caller(told)]
    if told.wanted is not None:
        yield "asks for", _wanted(told)
    if told.ways:
        yield "goes to", _ways(told)
    if told.limits:
        yield "takes", [_limit(limit) for limit in told.limits]
    if told.cache is not None:
        yield "cache", _cache(told)
    if told.asked:
        yield "assumed", [f"{asked.question} ({asked.about}): {asked.assumed}" for asked in told.asked]
    if told.notes:
        yield "notes", list(told.notes)


def _refusal(told: Explanation) -> list[str]:
    refusal = told.refusal
    assert refusal is not None
    where = f" by {refusal.plugin}, in {refusal.phase}" if refusal.plugin else ""
    lines = [f"{refusal.cause} ({refusal.status} {refusal.code}){where}: {refusal.message}"]
    if refusal.detail:
        lines.append(f"the log would add: {refusal.detail}")
    return lines


def _route(told: Explanation) -> str:
    if not told.route:
        return f"none; answers are worded for {told.dialect}"
    if told.service or told.place:
        place = f"service {told.service or 'none'}, route {told.place or 'without a name'}"
    else:
        place = "a built-in path" if told.route == told.dialect else "without a service"
    return f"{told.route}, {place}; speaks {told.dialect}"


def _plugins(steps: tuple[Step, ...]) -> list[str]:
    """A line a phase, in the order of their running."""
    phases: dict[str, list[str]] = {}
    for step in steps:
        mark = "" if step.state in ("ran", "would run") else f" [{step.state}]"
        phases.setdefault(step.phase, []).append(f"{step.plugin} ({step.priority}){mark}")
    return [f"{phase}: {', '.join(hooks)}" for phase, hooks in phases.items()] or ["none"]


def _caller(told: Explanation) -> str:
    caller = told.caller
    if not caller.consumer:
        return "not known"
    groups = f", of {', '.join(caller.groups)}" if caller.groups else ""
    models = "" if caller.models is None else f"; may call {', '.join(caller.models) or 'nothing'}"
    return f"{caller.consumer}, by key {caller.key_id}{groups}{models}"


def _wanted(told: Explanation) -> list[str]:
    wanted = told.wanted
    assert wanted is not None
    name = "no model by name" if wanted.model is None else f"model {wanted.model}"
    if wanted.target and wanted.target != wanted.model:
        name += f", which is {wanted.target}"
    tokens = wanted.output_tokens_max
    limits = "" if tokens is None else f"; at most {tokens} tokens of output"
    chance = "" if wanted.temperature is None else f"; temperature {wanted.temperature:g}"
    form = "as a stream" if wanted.stream else "in one piece"
    operation = f" ({wanted.operation})" if wanted.operation else ""
    return [f"{name}, {form}{operation}{limits}{chance}"]


def _ways(told: Explanation) -> list[str]:
    lines = [line for number, way in enumerate(told.ways, 1) for line in _way(number, way)]
    if told.drawn:
        lines.append("in an order drawn by weight: another request may find another")
    if told.repetitions:
        lines.append(f"repeated up to {told.repetitions} times where that may help")
    return lines


def _way(number: int, way: Way) -> Iterator[str]:
    yield f"{number}. {way.name}: {way.url}"
    refusal = f"; left out: {way.refusal}" if way.refusal else ""
    yield f"   region {way.region}, surface {way.surface}, by authority of {way.authority}{refusal}"


def _limit(limit: Limit) -> str:
    if limit.algorithm == "concurrent":
        window = "at a time"
    else:
        window = f"in {limit.window_seconds:g} s" if limit.window_seconds else "in a month"
    left = "" if limit.remaining is None else f"; {limit.remaining} left of an unused one"
    refused = "; REFUSED" if limit.refused else ""
    return f"{limit.cost} of {limit.limit} {window} ({limit.algorithm}), {limit.bucket}{left}{refused}"


def _cache(told: Explanation) -> list[str]:
    cache = told.cache
    assert cache is not None
    scope = cache.scope or "everybody"
    joins = "joins a call under way" if cache.joins else "joins no call under way"
    headers = ", ".join(f"{name}: {value}" for name, value in cache.headers)
    first = "; of several calls the first one's" if told.call is not None and told.call.times > 1 else ""
    call = f"{cache.operation} ({'stream' if cache.stream else 'plain'}), {cache.method} {cache.target}"
    return [
        f"{cache.digest}, shared by: {scope}{first}",
        f"kept {cache.kept_seconds:g} s, taken up to an age of {cache.age_max_seconds:g} s; {joins}",
        f"made of {call}, {headers}, {cache.body_bytes} bytes; models {', '.join(cache.models)}",
    ]


def _message(message: Message) -> Iterator[str]:
    yield message.start
    for name, value in message.headers:
        yield f"{name}: {value}"
    if message.body:
        yield ""
        if message.encoding != "utf-8":
            yield f"({message.encoding})"
        yield from message.body[:_SHOWN_CHARS].split("\n")
        if len(message.body) > _SHOWN_CHARS:
            yield f"… ({len(message.body)} characters in all; --json shows them)"
