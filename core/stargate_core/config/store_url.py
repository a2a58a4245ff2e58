"""The URL of a Redis store: `redis://[user[:password]@]host[:port][/database][?options]`; `rediss:` for TLS.

That is the form redis-py, redis-cli and most hosting services write. As there, `:password@` stands for the
user `default`, and what is special in a password is written as %XX. The options, each of which may also
stand beside the URL in the configuration:

    protocol=2|3       which RESP to speak; 3 unless the server has none
    timeout_ms=50      the time limit on every question
    ca=/path           CA certificates to trust instead of the system's
    verify=false       take any certificate
    db=1               the database, if it does not stand in the path

The URL may hold a password and is written by hand. So an error says what was expected, and never what was
found: not the host, not an option's name, for a password with an unescaped `?` in it would be both.

Sources: https://www.iana.org/assignments/uri-schemes/prov/redis, redis-py's connection.py (`parse_url`).
"""

import re
from typing import Final
from urllib.parse import unquote

import msgspec

from stargate_core.config.addresses import TcpAddress, parse_address
from stargate_core.config.problems import Misfit
from stargate_core.secret import Secret

_FORM: Final = "expected redis[s]://[user:password@]host[:port][/database][?options]"
_ESCAPE: Final = "write what is special in a password as %XX: @ as %40, / as %2F, ? as %3F, # as %23"
_URL: Final = re.compile(
    r"(?P<scheme>rediss?)://((?P<authority>[^/?#]*)@)?(?P<host>\[[^\]@]*\]|[^\[\]@:/?#]+)(:(?P<port>[0-9]{1,5}))?"
    r"(/(?P<database>[^?#]*))?(\?(?P<options>[^#]*))?"
)
_PORT: Final = 6379
_DATABASE_MAX: Final = 99_999
TIMEOUT_MS_MAX: Final = 10_000
_OPTIONS: Final = ("protocol", "timeout_ms", "ca", "verify", "db")


class StoreServer(msgspec.Struct, frozen=True, kw_only=True):
    """A Redis server, and how to speak to it."""

    host: str
    """A name, or an IPv4 or IPv6 address without brackets."""
    port: int
    tls: bool
    username: str
    """'': the user `default`."""
    password: Secret | None
    database: int
    protocol: int
    timeout_ms: int
    ca: str | None
    """A file of CA certificates, or their PEM text; None: the system's."""
    verify: bool


def parse_store_url(url: Secret, *, timeout_ms: int, ca: str | None, verify: bool) -> StoreServer:
    """The server that a URL names; what it says comes before the arguments. Raises Misfit of `url`."""
    found = _URL.fullmatch(url.reveal())
    if found is None:
        raise Misfit("url", _FORM, hint=_ESCAPE)
    address = _address(found["host"], found["port"])
    username, password = _authority(found["authority"])
    options = _options(found["options"])
    return StoreServer(
        host=address.host,
        port=address.port,
        tls=found["scheme"] == "rediss",
        username=username,
        password=password,
        database=_number(found["database"] or options.get("db") or "0", _DATABASE_MAX, "a database's number"),
        protocol=_protocol(options.get("protocol", "3")),
        timeout_ms=_number(options.get("timeout_ms", str(timeout_ms)), TIMEOUT_MS_MAX, "timeout_ms", least=1),
        ca=options.get("ca", ca),
        verify=_truth(options["verify"]) if "verify" in options else verify,
    )


def _address(host: str, port: str | None) -> TcpAddress:
    try:
        address = parse_address(f"{host}:{port or _PORT}")
    except Misfit:
        raise Misfit("url", "expected a host name or an IP address, and a port up to 65535") from None
    if not isinstance(address, TcpAddress) or not address.port:
        raise Misfit("url", "expected a host name or an IP address, and a port from 1 to 65535")
    return address


def _authority(text: str | None) -> tuple[str, Secret | None]:
    if not text:
        return "", None
    user, colon, password = text.partition(":")
    if not colon or not password:
        raise Misfit("url", "expected user:password@, or :password@ for the default user")
    return unquote(user), Secret(unquote(password))


def _options(text: str | None) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in (text or "").split("&"):
        name, equals, value = part.partition("=")
        if not part:
            continue
        if name not in _OPTIONS or not equals or name in options:
            expected = f"expected options behind the ? of these names, each once: {', '.join(_OPTIONS)}"
            raise Misfit("url", expected, hint=_ESCAPE)
        options[name] = unquote(value)
    return options


def _number(text: str, most: int, what: str, *, least: int = 0) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or not least <= int(text) <= most:
        raise Misfit("url", f"expected {what} from {least} to {most}")
    return int(text)


def _protocol(text: str) -> int:
    if text not in ("2", "3"):
        raise Misfit("url", "expected protocol=2 or protocol=3")
    return int(text)


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise Misfit("url", "expected verify=true or verify=false")
    return text == "true"
