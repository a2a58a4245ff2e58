"""The keys that live in the store, for a command: read, and changed one at a time.

A plain blocking connection, because a command asks one thing and ends. Two names are all there
is (stargate_core/config/live_key.py): a hash of the keys, and a version that grows with every change, so that
gateways need to ask for one number only. Both change in one transaction; an entry that somebody else changes
meanwhile is read again (WATCH).

Only redis:// and rediss:// are spoken to. Of a cluster or of servers behind Sentinels, give the URL of the
server that holds the keys now; a cluster's will say if it is another one.
"""

import contextlib
import socket
import ssl
from collections.abc import Callable, Generator
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from stargate_core.config.live_key import ENTRIES_NAME, VERSION_NAME
from stargate_core.wire.eventstream import NEED_DATA
from stargate_core.wire.resp import BadReply, ErrorReply, ReplyReader, command

_TIMEOUT_SECONDS: Final = 5.0
_TRIES_MAX: Final = 10
_READ_BYTES: Final = 65_536
_PORT: Final = 6379


class StoreTrouble(Exception):
    """The store can't be asked, or has refused; the text says why and holds no secret."""


class KeyStore:
    """An open connection to the store."""

    def __init__(self, connection: socket.socket, prefix: str) -> None:
        self._connection = connection
        self._replies = ReplyReader()
        self._entries = f"{prefix}{ENTRIES_NAME}"
        self._version = f"{prefix}{VERSION_NAME}"

    def entries(self) -> dict[str, bytes]:
        """All keys: SHA-256 in hexadecimal digits to its JSON. Raises StoreTrouble."""
        found = self.ask("HGETALL", self._entries)
        pairs = zip(found[::2], found[1::2], strict=True)
        return {digest.decode(errors="replace"): data for digest, data in pairs}

    def change(self, digest: str, change: Callable[[bytes | None], bytes]) -> None:
        """Change one entry, from what it is (None: there is none). Raises StoreTrouble."""
        for _ in range(_TRIES_MAX):
            self.ask("WATCH", self._entries)
            entry = change(self.ask("HGET", self._entries, digest))
            self.ask("MULTI")
            self.ask("HSET", self._entries, digest, entry)
            self.ask("INCR", self._version)
            if self.ask("EXEC") is not None:
                return
        raise StoreTrouble("somebody else keeps changing the keys")

    def ask(self, *words: str | bytes) -> Any:
        """The answer to one command. Raises StoreTrouble."""
        try:
            self._connection.sendall(command(*words))
            while (answer := self._replies.next_reply()) is NEED_DATA:
                data = self._connection.recv(_READ_BYTES)
                if not data:
                    raise StoreTrouble("the store has closed the connection")
                self._replies.receive_data(data)
        except (OSError, BadReply) as error:
            raise StoreTrouble(str(error) or type(error).__name__) from None
        if isinstance(answer, ErrorReply):
            raise StoreTrouble(f"the store refuses {words[0]!s}: {answer}")
        return answer


@contextlib.contextmanager
def open_key_store(url: str, prefix: str) -> Generator[KeyStore]:
    """Connect to a store. Raises StoreTrouble."""
    parts, port, database = _parsed(url)
    try:
        connection = socket.create_connection((parts.hostname or "", port), _TIMEOUT_SECONDS)
    except OSError as error:
        raise StoreTrouble(f"{parts.hostname}:{port}: {error}") from None
    with contextlib.ExitStack() as stack:
        stack.enter_context(connection)
        if parts.scheme == "rediss":
            connection = stack.enter_context(
                _secured(connection, parts.hostname or "", parse_qs(parts.query))
            )
        store = KeyStore(connection, prefix)
        if parts.password:
            user = [unquote(parts.username)] if parts.username else []
            store.ask("AUTH", *user, unquote(parts.password))
        if database:
            store.ask("SELECT", database)
        yield store


def _parsed(url: str) -> tuple[Any, int, str]:
    """A store's URL, its port, its database. Raises StoreTrouble, without the URL: it may hold a password."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORT
    except ValueError:
        raise StoreTrouble("this is no URL of a store") from None
    database = parts.path.strip("/")
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise StoreTrouble("expected redis://host:port or rediss://host:port")
    if database and not database.isdecimal():
        raise StoreTrouble("expected a number for the database, as in redis://host:port/0")
    return parts, port, database


def _secured(connection: socket.socket, host: str, options: dict[str, list[str]]) -> ssl.SSLSocket:
    """The connection with TLS. Raises StoreTrouble."""
    try:
        context = ssl.create_default_context(cafile=options["tls_ca"][0] if "tls_ca" in options else None)
        if options.get("tls_hostname") == ["false"]:
            context.check_hostname = False
        return context.wrap_socket(connection, server_hostname=host)
    except OSError as error:
        raise StoreTrouble(f"TLS: {getattr(error, 'reason', None) or error}") from None
