"""Networks: addresses of clients as a configuration writes them, and whether an address is among them.

Written as one address (`192.0.2.7`, `2001:db8::1`) or in CIDR notation (RFC 4632; RFC 4291, 2.3), or as
`unix:` for whoever comes by a Unix socket, which has no address. What has bits set behind its prefix
(`10.0.0.1/8`) is refused: one of the two halves is a slip, and which one nobody can tell.

An IPv4 address that comes in IPv6's clothes (`::ffff:192.0.2.7`, RFC 4291, 2.5.5.2), as on a socket that
takes both, is the IPv4 address; so is a network of them. A zone (`fe80::1%eth0`) says by which wire an
address is reached, and counts for nothing here.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from stargate_core.config.problems import Misfit, Path

UNIX: Final = "unix:"
"""Who comes by a Unix socket."""
Cidr: TypeAlias = Annotated[
    str,
    Meta(max_length=64, description="an IP address, a network like 10.0.0.0/8 or 2001:db8::/32, or unix:"),
]
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAPPED_BITS: Final = 96
_WITH_PORT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.%a-z]+)\]|([0-9.]+))(?::[0-9]{1,5})?")


class Networks:
    """A set of networks. Looking an address up costs as much for ten thousand of them as for one."""

    __slots__ = ("_by_length", "_has_unix", "is_empty")

    def __init__(self, written: Iterable[str]) -> None:
        texts = list(written)
        self.is_empty = not texts
        self._has_unix = UNIX in texts
        self._by_length: dict[tuple[int, int], set[int]] = {}
        for text in texts:
            if text != UNIX:
                network = _parsed(text)
                shift = network.max_prefixlen - network.prefixlen
                place = (network.version, shift)
                self._by_length.setdefault(place, set()).add(int(network.network_address) >> shift)

    def has(self, address: Address | None) -> bool:
        """Whether it is in one of them. None: it came by a Unix socket."""
        if address is None:
            return self._has_unix
        number, version = int(address), address.version
        return any(
            number >> shift in numbers
            for (of_version, shift), numbers in self._by_length.items()
            if of_version == version
        )


def parse_ip(text: str) -> Address:
    """One address, with or without a port, brackets or a zone. Raises ValueError."""
    found = _WITH_PORT.fullmatch(text)
    if found is not None:
        text = found[1] or found[2]
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def misfits_of(written: Iterable[str], field: str) -> Iterator[Misfit]:
    """What is wrong with a list of networks, each with its place."""
    for index, text in enumerate(written):
        where: Path = (field, index)
        if text == UNIX:
            continue
        try:
            _parsed(text)
        except ValueError:
            message = "expected an IP address, a network like 10.0.0.0/8, or unix:"
            yield Misfit(where, message, text, _cure(text))


def _parsed(text: str) -> _Network:
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


def _cure(text: str) -> str:
    """What was probably meant."""
    try:
        return f"write {ipaddress.ip_network(text, strict=False)}, or the address alone"
    except ValueError:
        pass
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,3}){0,3})(?:\.\*)+", text)
    if found is None:
        return ""
    parts = found[1].split(".")
    return f"write {'.'.join(parts + ['0'] * (4 - len(parts)))}/{8 * len(parts)}"
