"""The URL of a store that is several servers: a Redis Cluster, or Redis behind Sentinels.

    redis+cluster://[user:password@]host:port[,host:port…][?…]
    redis+sentinel://[user:password@]host:port[,host:port…]/service[/database][?…]

The hosts are where to begin: some nodes of the cluster, from which the others are found, or the Sentinels.
User and password are those of the Redis servers, percent-encoded where they hold `@`, `/`, `?`, `#` or `%`;
Sentinels may have their own. After the question mark, the first three as for `redis://` (store_url.py):

    timeout_ms=50       the time limit on every question
    ca=/path            CA certificates to trust instead of the system's
    verify=false        take any certificate
    tls=true            speak TLS, for which these two schemes have no name of their own
    names=false         take a good certificate of any name
    sentinel_username=…, sentinel_password=…

redis-py and coredis know neither scheme, so there is no precedent for several hosts but that of Lettuce
(`redis-sentinel://host1,host2/0#service`) and of libpq's and MongoDB's lists, whose commas these are. A
certificate's name is compared unless one says otherwise, unlike in coredis; `names=false` is for clusters
that tell their nodes' bare addresses (`cluster-announce-hostname` came with Redis 7).

A URL may hold a password in any of its parts if somebody forgets to encode it, so no error quotes it.
"""

import re
from typing import Final
from urllib.parse import parse_qsl, unquote

import msgspec

from stargate_core.config.addresses import TcpAddress, parse_address
from stargate_core.config.problems import Misfit
from stargate_core.config.store_url import TIMEOUT_MS_MAX
from stargate_core.secret import Secret

CLUSTER: Final = "redis+cluster"
SENTINEL: Final = "redis+sentinel"
HOSTS_MAX: Final = 64
_DATABASE_MAX: Final = 65_535
_SERVICE: Final = re.compile(r"[A-Za-z0-9._-]{1,255}")
"""Sentinel itself takes no other names."""
_FORMS: Final = {
    CLUSTER: "expected redis+cluster://[user:password@]host:port[,host:port…]",
    SENTINEL: "expected redis+sentinel://[user:password@]host:port[,host:port…]/service[/database]",
}
_BOOLEANS: Final = {"true": True, "false": False}
_OPTIONS: Final = ("timeout_ms", "tls", "ca", "verify", "names")
_SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password")


class ClusteredUrl(msgspec.Struct, frozen=True, kw_only=True):
    """Such a URL, parsed."""

    hosts: tuple[TcpAddress, ...]
    """Some nodes of the cluster, or the Sentinels; at least one."""
    service: str | None
    """What the Sentinels call the master; None: it is a cluster."""
    database: int = 0
    username: str | None = None
    password: Secret | None = None
    sentinel_username: str | None = None
    sentinel_password: Secret | None = None
    tls: bool = False
    """Spoken with all of them, Sentinels too."""
    ca: str | None = None
    """A file of CA certificates, or their PEM text; None: the system's."""
    verify: bool = True
    names: bool = True
    """Whether a certificate must bear the server's name."""
    timeout_ms: int


def parse_clustered_url(
    url: Secret, *, timeout_ms: int, ca: str | None = None, verify: bool = True
) -> ClusteredUrl:
    """What a URL of the two schemes says; it comes before the arguments. Raises Misfit, which quotes nothing
    of it.
    """
    scheme, _, rest = url.reveal().partition("://")
    if scheme not in _FORMS:
        raise Misfit("", "expected redis+cluster:// or redis+sentinel://")
    rest, _, query = rest.partition("?")
    if "#" in rest or "#" in query:
        raise Misfit("", "expected no # (in a password write %23)")
    authority, _, path = rest.partition("/")
    account, at, hosts = authority.rpartition("@")
    username, password = _account(account) if at else (None, None)
    service, database = _service(path) if scheme == SENTINEL else (None, 0)
    if scheme == CLUSTER and path not in {"", "0"}:
        raise Misfit("", "expected nothing after the hosts: a cluster has no databases, and no service")
    options = _options(query, (*_OPTIONS, *_SENTINEL_OPTIONS) if scheme == SENTINEL else _OPTIONS)
    tls = _boolean(options, "tls", False)
    if not tls and any(name in options for name in ("ca", "verify", "names")):
        raise Misfit("", "expected tls=true beside ca, verify and names")
    return ClusteredUrl(
        hosts=_hosts(hosts, _FORMS[scheme]),
        service=service,
        database=database,
        username=username,
        password=password,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=Secret(options["sentinel_password"]) if "sentinel_password" in options else None,
        tls=tls,
        ca=options.get("ca", ca),
        verify=_boolean(options, "verify", verify),
        names=_boolean(options, "names", True),
        timeout_ms=_number(options.get("timeout_ms", str(timeout_ms)), 1, TIMEOUT_MS_MAX, "timeout_ms"),
    )


def _account(text: str) -> tuple[str | None, Secret | None]:
    username, colon, password = text.partition(":")
    if not colon or not password:
        raise Misfit("", "expected user:password@ or :password@ before the hosts")
    return unquote(username) or None, Secret(unquote(password))


def _hosts(text: str, form: str) -> tuple[TcpAddress, ...]:
    parts = text.split(",")
    if len(parts) > HOSTS_MAX:
        raise Misfit("", f"expected at most {HOSTS_MAX} hosts")
    found: list[TcpAddress] = []
    for part in parts:
        try:
            address = parse_address(part)
        except Misfit:
            raise Misfit("", form) from None
        if not isinstance(address, TcpAddress) or address.port == 0:
            raise Misfit("", form)
        found.append(address)
    return tuple(found)


def _service(path: str) -> tuple[str, int]:
    service, _, database = path.partition("/")
    if not _SERVICE.fullmatch(service):
        raise Misfit("", "expected the service's name after the Sentinels: …/mymaster or …/mymaster/0")
    return service, _number(database or "0", 0, _DATABASE_MAX, "a database's number after the service")


def _options(query: str, known: tuple[str, ...]) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=16)
    except ValueError:
        raise Misfit("", "expected name=value&name=value after the question mark") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known or not value or name in found:
            raise Misfit("", f"expected after the question mark each at most once: {', '.join(known)}")
        found[name] = value
    return found


def _boolean(options: dict[str, str], name: str, default: bool) -> bool:
    if name not in options:
        return default
    if options[name] not in _BOOLEANS:
        raise Misfit("", f"expected {name}=true or {name}=false")
    return _BOOLEANS[options[name]]


def _number(text: str, least: int, most: int, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not least <= int(text) <= most:
        raise Misfit("", f"expected {what} from {least} to {most}")
    return int(text)
