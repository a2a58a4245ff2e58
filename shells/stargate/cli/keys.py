"""`stargate keys`: make, add, list and revoke the keys that callers show.

A key is shown once, when it is made; what is kept of it is its SHA-256. No command takes a key as an
argument, where the process list and the shell's history would keep it. In the store a key counts from the
next second on, in the file from the next start; a key of the file's can be revoked through the store too.
"""

import contextlib
import datetime
import hashlib
import os
import re
import secrets
import sys
from collections.abc import Callable, Generator
from typing import Final, NoReturn

import click
import msgspec

from stargate.cli.configuration import read_configuration
from stargate.cli.examples import examples
from stargate.cli.key_store import KeyStore, StoreTrouble, open_key_store
from stargate.plugins import BadPlugin, installed
from stargate_core.config.expand import escape
from stargate_core.config.live_key import DEFAULT_PREFIX, BadLiveKey, LiveKey, parse_live_key, write_live_key
from stargate_core.config.schema import Config

_KEY_PREFIX: Final = "sk-sg-"
"""Says whose it is, to people and to scanners for leaked secrets."""
_KEY_BYTES: Final = 32
_STDIN_CHARS_MAX: Final = 65_536
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _expiry(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime.datetime | None:
    """A time from now (`90d`, `12h`), or one written out. Raises BadParameter."""
    if value is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", value)
    try:
        if found is not None:
            duration = datetime.timedelta(**{_UNITS[found[2]]: int(found[1])})
            return (datetime.datetime.now(datetime.UTC) + duration).replace(microsecond=0)
        time = datetime.datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value!r} is neither like 90d nor like 2027-01-01T00:00:00Z") from None
    if time.tzinfo is None:
        raise click.BadParameter(f"{value!r} lacks an offset: end it with Z for UTC")
    return time


def _options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options that several commands have, by name."""
    known = {
        "config": click.option(
            "-c", "--config", "path", type=click.Path(dir_okay=False), help="The configuration, as YAML."
        ),
        "store": click.option(
            "--store", envvar="STARGATE_STORE", metavar="URL", help="The store (or STARGATE_STORE)."
        ),
        "prefix": click.option(
            "--prefix", default=DEFAULT_PREFIX, show_default=True, help="What names in the store begin with."
        ),
        "consumer": click.option("--consumer", metavar="NAME", help="The username it belongs to."),
        "expires": click.option(
            "--expires", callback=_expiry, metavar="WHEN", help="When it ends: 90d, 12h, or a time."
        ),
        "id": click.option("--id", "key_id", metavar="NAME", help="A name for it, for logs."),
        "model": click.option(
            "--model", "models", multiple=True, metavar="GLOB", help="What it may call only; may repeat."
        ),
    }

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for name in reversed(names):
            command = known[name](command)
        return command

    return add


@click.group(
    epilog=examples(
        "stargate keys new",
        "stargate keys new -c stargate.yaml --consumer team-a --expires 90d",
        "stargate keys list -c stargate.yaml",
    ),
)
def keys() -> None:
    """Make, add, list and revoke the keys that callers show."""


@keys.command(
    epilog=examples(
        "stargate keys new",
        "stargate keys new -c stargate.yaml --consumer team-a --expires 90d --model 'claude*'",
        "STARGATE_STORE=redis://store.internal stargate keys new --consumer team-a --id laptop",
    ),
)
@_options("config", "store", "prefix", "consumer", "expires", "id", "model")
def new(
    path: str | None,
    store: str | None,
    prefix: str,
    consumer: str | None,
    expires: datetime.datetime | None,
    key_id: str | None,
    models: tuple[str, ...],
) -> None:
    """Make a key and print it, once; with a store, add it there."""
    config = _configuration(path)
    url = _store_url(store, config)
    key = _KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    digest = hashlib.sha256(key.encode()).hexdigest()
    if url is not None and consumer is not None:
        _add(url, prefix, digest, _live_key(config, consumer, expires, key_id, models))
    elif url is not None and store is not None:
        raise click.UsageError("A key in the store belongs to somebody: give --consumer.")
    click.echo(f"key         {key}\nkey_sha256  {digest}\n")
    if url is not None and consumer is not None:
        click.echo(f"It is in the store, and counts from the next second on. It belongs to {consumer}.")
    else:
        click.echo(_snippet(digest, consumer or "NAME", expires, key_id, models))
    click.echo("The key is shown only now.", err=True)


@keys.command(
    name="hash",
    epilog=examples(
        'printf %s "$KEY" | stargate keys hash',
    ),
)
def hash_() -> None:
    """Print the SHA-256 of a key that standard input holds."""
    click.echo(_digest_of_stdin())


@keys.command(
    epilog=examples(
        "stargate keys add -c stargate.yaml --consumer team-a < key.txt",
        "stargate keys add -c stargate.yaml --consumer team-a --id ci $KEY_SHA256",
    ),
)
@click.argument("key_sha256", required=False)
@_options("config", "store", "prefix", "consumer", "expires", "id", "model")
def add(
    key_sha256: str | None,
    path: str | None,
    store: str | None,
    prefix: str,
    consumer: str | None,
    expires: datetime.datetime | None,
    key_id: str | None,
    models: tuple[str, ...],
) -> None:
    """Add a key to the store: by its KEY_SHA256, or the key that standard input holds.

    An entry that is there already is replaced.
    """
    config = _configuration(path)
    url = _store_url(store, config) or _no_store()
    if consumer is None:
        raise click.UsageError("A key in the store belongs to somebody: give --consumer.")
    digest = _digest_of_stdin() if key_sha256 is None else key_sha256.lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        # It could be a key, so it is not repeated.
        raise click.UsageError("Expected the 64 hexadecimal digits of a SHA-256, never the key itself.")
    _add(url, prefix, digest, _live_key(config, consumer, expires, key_id, models))
    click.echo(
        f"{key_id or _shown(digest)} of {consumer} is in the store, and counts from the next second on."
    )


@keys.command(
    epilog=examples(
        "stargate keys journal journal.key",
    ),
)
@click.argument("file", type=click.Path(dir_okay=False))
def journal(file: str) -> None:
    """Make a pair of keys for journals: the private one into a new FILE, the public one for gateways."""
    try:
        from stargate.journal_keys import new_pair  # An optional library.

        public, private = new_pair()
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as opened:
            opened.write(f"{private}\n")
    except (ImportError, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"gateway:\n  journal:\n    encrypt_to: {public}")
    click.echo(f"Who has {file} can read the journals: stargate replay --key {file} …", err=True)


@keys.command(
    name="list",
    epilog=examples(
        "stargate keys list -c stargate.yaml",
        "stargate keys list --store redis://store.internal",
    ),
)
@_options("config", "store", "prefix")
def list_(path: str | None, store: str | None, prefix: str) -> None:
    """List keys: whose they are, when they end, where they are from; never a key."""
    config = _configuration(path)
    url = _store_url(store, config)
    if config is None and url is None:
        raise click.UsageError("Give a configuration (-c), a store (--store), or both.")
    entries = _entries(url, prefix) if url is not None else {}
    rows = [("CONSUMER", "KEY", "SOURCE", "STATE", "EXPIRES"), *sorted(_rows(config, entries))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


@keys.command(
    epilog=examples(
        "stargate keys revoke -c stargate.yaml laptop",
    ),
)
@click.argument("which", metavar="ID_OR_SHA256")
@_options("config", "store", "prefix")
def revoke(which: str, path: str | None, store: str | None, prefix: str) -> None:
    """Revoke a key: by its id, its SHA-256, or the four digits that `list` shows.

    With -c also a key of the file's, which is then refused although the file still has it.
    """
    config = _configuration(path)
    url = _store_url(store, config) or _no_store()
    with _opened(url, prefix) as opened:
        digest = _found(which, config, opened.entries())
        opened.change(digest, _revoked)
    click.echo(f"{_shown(digest)} is revoked, from the next second on.")


# ------------------------------------------------------------------------------------------------ the store


def _configuration(path: str | None) -> Config | None:
    if path is None:
        return None
    try:
        return read_configuration(path, installed())
    except BadPlugin as error:
        raise click.ClickException(str(error)) from None


def _store_url(store: str | None, config: Config | None) -> str | None:
    """The store to speak to: the one that was given, else the configuration's if it is a shared one."""
    if store is None and config is not None:
        store = config.gateway.store.url.reveal()
    return None if store is None or store == "memory:" else store


def _no_store() -> NoReturn:
    raise click.UsageError("Give a store: --store, STARGATE_STORE, or a configuration (-c) that has one.")


@contextlib.contextmanager
def _opened(url: str, prefix: str) -> Generator[KeyStore]:
    try:
        with open_key_store(url, prefix) as store:
            yield store
    except StoreTrouble as trouble:
        raise click.ClickException(str(trouble)) from None


def _entries(url: str, prefix: str) -> dict[str, bytes]:
    with _opened(url, prefix) as store:
        return store.entries()


def _add(url: str, prefix: str, digest: str, key: LiveKey) -> None:
    with _opened(url, prefix) as store:
        store.change(digest, lambda _before: write_live_key(key))


def _revoked(before: bytes | None) -> bytes:
    """An entry, revoked. What can't be read is replaced: it opened nothing anyway."""
    try:
        key = LiveKey() if before is None else parse_live_key(before)
    except BadLiveKey:
        key = LiveKey()
    return write_live_key(msgspec.structs.replace(key, revoked=True))


# ----------------------------------------------------------------------------------------------------- keys


def _live_key(
    config: Config | None,
    consumer: str,
    expires: datetime.datetime | None,
    key_id: str | None,
    models: tuple[str, ...],
) -> LiveKey:
    """An entry for the store. Raises ClickException for what no gateway would read, or for nobody's key."""
    if config is not None and consumer not in (one.username for one in config.consumers):
        raise click.ClickException(f"there is no consumer {consumer!r} in the configuration")
    key = LiveKey(consumer=consumer, id=key_id, expires_at=expires, models=list(models) or None)
    try:
        return parse_live_key(write_live_key(key))
    except BadLiveKey as error:
        raise click.ClickException(str(error)) from None


def _digest_of_stdin() -> str:
    """The SHA-256 of the key that standard input holds, without the line's end."""
    if sys.stdin.isatty():
        key: str = click.prompt("Key", hide_input=True, err=True)
    else:
        key = sys.stdin.read(_STDIN_CHARS_MAX + 1)
    key = key.rstrip("\r\n")
    if not re.fullmatch(r"[\x21-\x7e]{1,4096}", key):
        raise click.ClickException("expected a key of 1 to 4096 visible ASCII characters on standard input")
    return hashlib.sha256(key.encode()).hexdigest()


def _snippet(
    digest: str,
    consumer: str,
    expires: datetime.datetime | None,
    key_id: str | None,
    models: tuple[str, ...],
) -> str:
    """What to write into the configuration. JSON's strings are YAML's too; `${` would be a variable."""

    def text(value: str) -> str:
        return msgspec.json.encode(escape(value)).decode()

    members = [f"key_sha256: {digest}"]
    if key_id is not None:
        members.append(f"id: {text(key_id)}")
    if expires is not None:
        members.append(f"expires_at: {_time(expires)}")
    if models:
        members.append(f"models: [{', '.join(map(text, models))}]")
    lines = ["consumers:", f"  - username: {text(consumer)}", "    keyauth_credentials:"]
    return "\n".join([*lines, f"      - {{{', '.join(members)}}}"]) + "\n"


def _rows(config: Config | None, entries: dict[str, bytes]) -> Generator[tuple[str, str, str, str, str]]:
    now = datetime.datetime.now(datetime.UTC)
    usernames = None if config is None else [consumer.username for consumer in config.consumers]
    left = dict(entries)
    for consumer in [] if config is None else config.consumers:
        for key in consumer.keyauth_credentials:
            live = _read(left.pop(key.sha256, None))
            states = [_state(LiveKey(disabled=key.disabled, expires_at=key.expires_at), now)]
            ends = [key.expires_at]
            if live is not None:
                states.append(_state(live, now))
                ends.append(live.expires_at if isinstance(live, LiveKey) else None)
            state = next((one for one in states if one != "live"), "live")
            end = min((one for one in ends if one is not None), default=None)
            source = "file" if live is None else "file, store"
            shown = key.id or _shown(key.sha256)
            yield consumer.username, shown, source, state, _ends(end)
    for digest, data in left.items():
        live = _read(data)
        state = _state(live, now)
        if not isinstance(live, LiveKey):
            yield "?", _shown(digest), "store", state, "?"
            continue
        if state == "live" and usernames is not None and live.consumer not in usernames:
            state = "no such consumer"
        yield live.consumer or "?", live.id or _shown(digest), "store", state, _ends(live.expires_at)


def _read(data: bytes | None) -> LiveKey | BadLiveKey | None:
    try:
        return None if data is None else parse_live_key(data)
    except BadLiveKey as error:
        return error


def _state(key: LiveKey | BadLiveKey | None, now: datetime.datetime) -> str:
    if not isinstance(key, LiveKey):
        return "unreadable"
    if key.revoked:
        return "revoked"
    if key.disabled:
        return "disabled"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "live"


def _found(which: str, config: Config | None, entries: dict[str, bytes]) -> str:
    """The digest of the one key that is meant. Raises ClickException if it is none, or could be several."""
    if re.fullmatch(r"[0-9A-Fa-f]{64}", which):
        return which.lower()
    names: dict[str, str | None] = {}
    for digest, data in entries.items():
        live = _read(data)
        names[digest] = live.id if isinstance(live, LiveKey) else None
    for consumer in [] if config is None else config.consumers:
        names.update((key.sha256, key.id) for key in consumer.keyauth_credentials)
    found = [digest for digest, name in names.items() if which in (name, digest[-4:], _shown(digest))]
    if len(found) == 1:
        return found[0]
    if not found:
        hint = "" if config is not None else "; keys of the file's are looked for with -c"
        # It could be a key, so it is not repeated.
        raise click.ClickException(f"there is no key of this id{hint}")
    raise click.ClickException(f"{len(found)} keys go by this name: give the whole SHA-256")


def _shown(digest: str) -> str:
    return f"…{digest[-4:]}"


def _ends(time: datetime.datetime | None) -> str:
    return "never" if time is None else _time(time)


def _time(time: datetime.datetime) -> str:
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
