"""`stargate top`: a running gateway, live in a terminal.

It reads the state that the admin listener streams, and draws it anew each second. A connection that is lost
is told, and tried again; Ctrl-C ends it, and leaves the terminal as it was. Where standard output is no
terminal each second is one line of text.
"""

import contextlib
import http.client
import json
import os
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Generator, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import click

from stargate.cli.examples import examples
from stargate.cli.top_view import Look, State, line, page

_USUAL: Final = "http://127.0.0.1:8001"
_PATIENCE_SECONDS: Final = 5.0
"""The stream says something each second."""
_PAUSE_SECONDS_MAX: Final = 5.0
_EVENT_BYTES_MAX: Final = 4 << 20
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
"""The other screen, without a cursor and without wrapping of long lines; and back."""
_HOME, _LINE_END, _BELOW = "\x1b[H", "\x1b[K\n", "\x1b[J"


class _Lost(Exception):
    """There is no connection; the text says why."""


class _UnixConnection(http.client.HTTPConnection):
    """A connection to a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_PATIENCE_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@click.command(
    "top",
    epilog=examples(
        "stargate top",
        "stargate top http://127.0.0.1:8001 --once",
        "STARGATE_ADMIN_TOKEN=TOKEN stargate top https://admin.example",
        "stargate top unix:/run/stargate/admin.sock",
        "stargate top | tee traffic.log",
    ),
)
@click.argument("url", default=_USUAL, metavar="[URL]")
@click.option(
    "--token",
    envvar="STARGATE_ADMIN_TOKEN",
    metavar="TOKEN",
    help="The value of gateway.admin_token; better in STARGATE_ADMIN_TOKEN, where nobody sees it.",
)
@click.option("--once", is_flag=True, help="Print the state once, as text, and end.")
def top(url: str, token: str | None, once: bool) -> None:
    """Watch a running gateway: its traffic, latencies, limits and targets, second by second.

    URL is its admin listener, as gateway.admin_listen says; unix:/path for a unix socket.

    Exit status: 0, or 1 if there is no gateway at the URL or it wants another token.
    """
    source = Source(url, token)
    with contextlib.suppress(KeyboardInterrupt):
        if once:
            _print(source.state())
        elif sys.stdout.isatty() and os.environ.get("TERM", "") != "dumb":
            _watch(source)
        else:
            _log(source)


def _print(state: State) -> None:
    look = Look(shutil.get_terminal_size().columns, unicode=_has_unicode())
    click.echo("\n".join(part.rstrip() for part in page(state, look)))


def _log(source: "Source") -> None:
    for told in source.states():
        if isinstance(told, str):
            click.echo(f"stargate: {told}", err=True)
        else:
            click.echo(line(told))
            sys.stdout.flush()


def _watch(source: "Source") -> None:
    states = source.states()
    first = next(states)  # Where there is nothing at all, that is told on the screen as it is.
    colours, unicode = not os.environ.get("NO_COLOR"), _has_unicode()
    last: State = first if not isinstance(first, str) else {}
    sys.stdout.write(_ENTER)
    try:
        told: State | str = first
        while True:
            size = shutil.get_terminal_size()
            look = Look(size.columns, size.lines - 2, colours=colours, unicode=unicode)
            last = last if isinstance(told, str) else told
            lines = page(last, look) if last else []
            words = look.paint(told, "31") if isinstance(told, str) else look.paint("Ctrl-C ends", "2")
            sys.stdout.write(_HOME + "".join(part + _LINE_END for part in lines) + words + "\x1b[K" + _BELOW)
            sys.stdout.flush()
            told = next(states)
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


def _has_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


class Source:
    """Where the state comes from. Raises click.BadParameter for a URL that is none.

    pause_seconds: before the first new attempt; doubled each time.
    """

    def __init__(self, url: str, token: str | None, *, pause_seconds: float = 1.0) -> None:
        self._pause_seconds = pause_seconds
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._path = url.removeprefix("unix:") if url.startswith("unix:") else ""
        parts = urlsplit(url if "://" in url or self._path else f"http://{url}")
        try:
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            self._host, self._port = "", None
        self._tls = parts.scheme == "https"
        self._below = parts.path.rstrip("/") if not self._path else ""
        if not self._path and (parts.scheme not in ("http", "https") or not self._host):
            raise click.BadParameter("expected http://host:port or unix:/path", param_hint="URL")

    def state(self) -> State:
        """The state now. Raises click.ClickException."""
        try:
            with self._asked("/api/status") as answer:
                state: State = json.loads(answer.read(_EVENT_BYTES_MAX))
                return state
        except (_Lost, ValueError) as error:
            raise click.ClickException(str(error)) from None

    def states(self) -> Generator[State | str]:
        """The state each second, for ever; or what to tell while there is none. Raises click.ClickException
        where there never was one.
        """
        ever, pause = False, self._pause_seconds
        while True:
            try:
                with self._asked("/api/stream") as answer:
                    for state in _events(answer):
                        ever, pause = True, self._pause_seconds
                        yield state
                why = "the gateway has ended the stream"
            except (_Lost, OSError, http.client.HTTPException, ValueError) as error:
                why = str(error) or type(error).__name__
            if not ever:
                raise click.ClickException(why)
            yield f"connection lost: {why}; trying again in {pause:g} s"
            time.sleep(pause)
            pause = min(pause * 2, _PAUSE_SECONDS_MAX)

    @contextlib.contextmanager
    def _asked(self, path: str) -> Generator[http.client.HTTPResponse]:
        """The answer. Raises _Lost."""
        connection = self._connection()
        try:
            try:
                connection.request("GET", self._below + path, headers=self._headers)
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                why = getattr(error, "strerror", None) or str(error) or type(error).__name__
                raise _Lost(
                    f"no gateway answers at {self._url}: {why}; is gateway.admin_listen set?"
                ) from None
            if answer.status == 401:
                raise _Lost("it wants the admin token: --token, or STARGATE_ADMIN_TOKEN")
            if answer.status != 200:
                raise _Lost(f"{self._url} answers {answer.status}: is it an admin listener?")
            yield answer
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._path:
            return _UnixConnection(self._path)
        if self._tls:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=_PATIENCE_SECONDS, context=context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=_PATIENCE_SECONDS)


def _events(answer: http.client.HTTPResponse) -> Iterator[State]:
    """The states of a stream. Raises OSError, ValueError."""
    while part := answer.readline(_EVENT_BYTES_MAX):
        if part.startswith(b"data: "):
            state: dict[str, Any] = json.loads(part[6:])
            yield state
