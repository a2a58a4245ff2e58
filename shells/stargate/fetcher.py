"""The fetcher: what is at a URL that a caller has named.

Whoever makes the gateway fetch what it names stands, for that moment, inside the gateway's network. So the
rules are strict, and each is checked for every step of the way, redirects included:

- **Only public addresses.** The host is resolved here, once, and every address it has must be a public one:
  a name that leads inside even sometimes leads nowhere. The connection is made to the very address that was
  looked at, so a name that changes its mind between two questions (DNS rebinding) gains nothing. Addresses
  that carry another inside (IPv4-mapped, NAT64, 6to4, Teredo, ISATAP) are as public as the one they carry.
  Numbers that some resolvers take for addresses (`2130706433`, `0x7f.1`, `0177.0.0.1`) are no hosts.
- **Only https**, or http where the operator allows that, at their own ports; only the hosts that the operator
  allows. A certificate must be the host's own.
- **Nobody's authority.** No credentials, no cookies, no user name in the URL, no proxy, no header of the
  caller's.
- **Bounds**: of size, by what is announced and again while reading; of time, for the whole of it; of how many
  are fetched at a time in this process. What comes must be neither compressed nor partial, and have status
  200; three redirects are followed.

Why something can't be had is told to the caller, so it names no address and nothing that was found inside.
A NAT64 prefix that a network has chosen for itself can't be told from any other address: behind such a one,
the network itself must keep the gateway from where it may not go.

Sources: RFC 6890 and the IANA special-purpose address registries; RFC 6052 (NAT64), 3056 (6to4), 4380
(Teredo), 5214 (ISATAP); OWASP, Server-Side Request Forgery Prevention Cheat Sheet.
"""

import functools
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias
from urllib.parse import quote, urljoin, urlsplit

import anyio
import anyio.to_thread
import msgspec

from stargate.web import CannotGet, Got, connect, get
from stargate_core.dialects.face import Fetched
from stargate_core.globs import pattern_of
from stargate_core.questions import FetchUrl
from stargate_core.secret import Private
from stargate_core.wire.http1 import request

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host. Raises OSError."""

PLACES: Final = 16
"""How many are fetched at a time."""
PORTS: Final = frozenset({80, 443})
REDIRECTS_MAX: Final = 3
URL_CHARS_MAX: Final = 8_000
"""Of a URL, and of what is asked for when all in it is encoded that must be."""
_ADDRESSES_MAX: Final = 4
"""Of a host's addresses, how many are tried."""
_CONNECT_SECONDS: Final = 3.0
"""For each of them."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_HOST: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*", re.ASCII)
_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)
"""A host whose last label is a number: an address, or what a resolver may take for one."""
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f\\]")

_NEVER: Final = tuple(
    IPv4Network(network)
    for network in (
        "192.0.0.0/24",  # IETF protocol assignments; a cloud's metadata service lives at 192.0.0.192
        "192.88.99.0/24",  # relays of 6to4
        "168.63.129.16/32",  # Azure's own services, at a public address
    )
)
"""Beside what the standard library knows to be not global; older versions of it know of less."""
_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_ISATAP: Final = (0x00005EFE, 0x02005EFE)


class Fetcher:
    """Fetches. The parameters are for tests.

    allowed: whether an address may be asked; resolve: finds a host's addresses; ports: those that may be
    asked; context: whom to trust, None for the system's CAs.
    """

    def __init__(
        self,
        *,
        allowed: Callable[[str], bool] | None = None,
        resolve: Resolve | None = None,
        ports: Collection[int] = PORTS,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = is_public if allowed is None else allowed
        self._resolve: Resolve = _Threads() if resolve is None else resolve
        self._ports = ports
        self._context = context
        self._places = anyio.CapacityLimiter(PLACES)

    async def fetch(self, question: FetchUrl) -> Fetched | str:
        """What is at the URL, or why it cannot be had, in words for the caller."""
        seconds = question.timeout_ns / 1e9
        with anyio.move_on_after(seconds):
            try:
                async with self._places:
                    return await self._fetch(question)
            except CannotGet as cannot:
                return str(cannot)
        return f"it was not there within {seconds:g} s"

    async def _fetch(self, question: FetchUrl) -> Fetched:
        url = question.url
        for _ in range(REDIRECTS_MAX + 1):
            got = await self._get(_place(url, question, self._ports), question.bytes_max)
            if got.status not in _REDIRECTS:
                return _fetched(got)
            url = _redirected(url, got)
        raise CannotGet(f"it is behind more than {REDIRECTS_MAX} redirects")

    async def _get(self, place: "_Place", bytes_max: int) -> Got:
        tls = self._tls() if place.scheme == "https" else None
        cannot = CannotGet("its server cannot be reached")
        for address in await self._addresses(place):
            try:
                with anyio.fail_after(_CONNECT_SECONDS):
                    stream = await connect(address, place.port, tls, place.host)
            except TimeoutError:
                continue
            except CannotGet as refused:
                cannot = refused
                continue
            return await get(stream, place.request, bytes_max)
        raise cannot

    async def _addresses(self, place: "_Place") -> Sequence[str]:
        """The addresses to try. Raises CannotGet unless all that the host has may be asked."""
        if place.is_address:
            addresses: Sequence[str] = [place.host]
        else:
            try:
                addresses = await self._resolve(place.host, place.port)
            except (OSError, UnicodeError):
                addresses = ()
        if not addresses:
            raise CannotGet("its host is unknown")
        if not all(self._allowed(address) for address in addresses):
            raise CannotGet("its host is not on the public internet")
        return addresses[:_ADDRESSES_MAX]

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context


class _Threads:
    """Resolves in threads of its own: names that take for ever must not keep others from being resolved."""

    def __init__(self) -> None:
        self._limiter: anyio.CapacityLimiter | None = None

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(PLACES)
        found = await anyio.to_thread.run_sync(
            functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM),
            abandon_on_cancel=True,
            limiter=self._limiter,
        )
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


# ----------------------------------------------------------------------------------------------------- places


class _Place(Private, msgspec.Struct, frozen=True):
    """Where a URL leads, and what to say there."""

    scheme: str
    host: str
    port: int
    is_address: bool
    request: bytes


def _place(url: str, question: FetchUrl, ports: Collection[int]) -> _Place:
    """Where a URL leads, if it may lead there. Raises CannotGet."""
    if len(url) > URL_CHARS_MAX:
        raise CannotGet("it is too long")
    if _UNSAFE.search(url):
        raise CannotGet("it holds blanks, control characters or backslashes")
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port
    except ValueError:
        raise CannotGet("it is not a URL") from None
    scheme = parts.scheme
    if scheme != "https" and not (scheme == "http" and question.plain):
        raise CannotGet("only https is fetched" if not question.plain else "only https and http are fetched")
    if "@" in parts.netloc:
        raise CannotGet("it must not hold a user name or password")
    if port is None:
        port = _DEFAULT_PORTS[scheme]
    if port not in ports:
        raise CannotGet("its port must be 80 or 443")
    host, is_address = _host(name)
    if pattern_of(question.hosts).fullmatch(host) is None:
        raise CannotGet("its host is not one that may be asked")
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~?")
    if len(target) > URL_CHARS_MAX:
        raise CannotGet("it is too long")
    authority = f"[{host}]" if ":" in host else host
    if port != _DEFAULT_PORTS[scheme]:
        authority += f":{port}"
    headers = [
        (b"host", authority.encode()),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"stargate"),
        (b"connection", b"close"),
    ]
    try:
        asked = request(b"GET", target.encode(), headers, b"")
    except ValueError:
        raise CannotGet("it is not a URL") from None
    return _Place(scheme, host, port, is_address, asked)


def _host(name: str) -> tuple[str, bool]:
    """A host as it is asked for, and whether it is an address. Raises CannotGet."""
    try:
        if ":" in name:
            return str(IPv6Address(name)), True
        host = name.encode("idna").decode().lower().removesuffix(".")
        if _NUMBER.fullmatch(host):
            return str(IPv4Address(host)), True
    except ValueError:
        raise CannotGet("it names no host") from None
    if not _HOST.fullmatch(host):
        raise CannotGet("it names no host")
    return host, False


def _redirected(url: str, got: Got) -> str:
    """Where a redirect leads. Raises CannotGet."""
    location = got.header(b"location")
    if not location:
        raise CannotGet(f"its server answered {got.status} without saying where it is")
    try:
        return urljoin(url, location.decode())
    except ValueError:
        raise CannotGet("its server redirects to what is not a URL") from None


def _fetched(got: Got) -> Fetched:
    """An answer, if it is a good one. Raises CannotGet."""
    if got.status != 200:
        raise CannotGet(f"its server answered {got.status}")
    encoding = got.header(b"content-encoding") or b"identity"
    if encoding.lower() != b"identity":
        raise CannotGet("its server sends it compressed, though it was asked not to")
    content_type = (got.header(b"content-type") or b"").decode("latin-1")
    return Fetched(content_type.partition(";")[0].strip().lower(), got.body)


# -------------------------------------------------------------------------------------------------- addresses


def is_public(text: str) -> bool:
    """Whether this address is one of the public internet's, and so is every address that it carries."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return _is_public(address)
    if address.scope_id is not None:
        return False
    if address.ipv4_mapped is not None:
        return _is_public(address.ipv4_mapped)
    if address in _NAT64:
        return _is_public(_last(address))
    return (
        address in _UNICAST
        and address.is_global
        and not address.is_multicast
        and all(_is_public(inner) for inner in _carried(address))
    )


def _is_public(address: IPv4Address) -> bool:
    return (
        address.is_global
        and not (address.is_multicast or address.is_reserved or address.is_unspecified)
        and not any(address in network for network in _NEVER)
    )


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    """The addresses that a tunnel's address carries."""
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        yield _last(address)


def _last(address: IPv6Address) -> IPv4Address:
    """The IPv4 address in the last four octets."""
    return IPv4Address(int(address) & 0xFFFFFFFF)
