"""Where a listener listens: `host:port`, `[::1]:port` or `unix:/path`.

A host is always written out. `:8080` means "every interface" to some programs and "this machine" to others,
and the difference is whether strangers can reach the gateway; so the person who writes the file decides it.
"""

import ipaddress
import re
from typing import Final, TypeAlias

import msgspec

from stargate_core.config.problems import Misfit

_PORT: Final = re.compile(r"[0-9]{1,5}")
_HOST: Final = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*"
)
_UNIX_PATH_BYTES_MAX: Final = 107  # sockaddr_un.sun_path is 108 bytes on Linux, with its closing NUL
_FORMS: Final = "expected host:port, [ipv6]:port or unix:/path"


class TcpAddress(msgspec.Struct, frozen=True, gc=False):
    """A TCP address to listen on; port 0 lets the system choose one."""

    host: str
    """A name, or an IPv4 or IPv6 address without brackets."""
    port: int


class UnixAddress(msgspec.Struct, frozen=True, gc=False):
    """A Unix socket's path."""

    path: str


Address: TypeAlias = TcpAddress | UnixAddress


def parse_address(text: str, field: str = "address") -> Address:
    """The address that `text` writes. Raises Misfit, naming `field`."""
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"), field)
    host, colon, port_text = text.rpartition(":")
    if not colon or text.endswith("]"):
        # The commonest slips are a port alone and a host alone.
        host_given = f"{text}:8080" if _HOST.fullmatch(text) or text.endswith("]") else ""
        hint = f"127.0.0.1:{text}" if _PORT.fullmatch(text) else host_given
        raise Misfit(field, _FORMS, text, hint and f"write {hint}")
    if not _PORT.fullmatch(port_text) or int(port_text) > 65535:
        raise Misfit(field, "expected a port from 0 to 65535 after the colon", port_text)
    port = int(port_text)
    if not host or host == "*":
        hint = f"write 127.0.0.1:{port} for this machine only, 0.0.0.0:{port} for every interface"
        raise Misfit(field, "expected a host before the colon", text, hint)
    if host.startswith("[") and host.endswith("]"):
        return TcpAddress(_ipv6(host[1:-1], text, field), port)
    if ":" in host:
        raise Misfit(field, _FORMS, text, "put an IPv6 address in brackets")
    if not _HOST.fullmatch(host):
        raise Misfit(field, "expected a host name or an IP address", host)
    if host.replace(".", "").isdigit() and not _is_ipv4(host):
        raise Misfit(field, "expected an IPv4 address of four numbers from 0 to 255", host)
    return TcpAddress(host, port)


def is_local(address: Address) -> bool:
    """Whether only this machine can reach it. A name other than localhost may lead anywhere."""
    match address:
        case UnixAddress():
            return True
        case TcpAddress(host="localhost"):
            return True
        case TcpAddress(host):
            try:
                return ipaddress.ip_address(host).is_loopback
            except ValueError:
                return False


def _unix(path: str, field: str) -> UnixAddress:
    if not path.startswith("/"):
        raise Misfit(field, "expected an absolute path after unix:", path)
    if len(path.encode()) > _UNIX_PATH_BYTES_MAX or "\0" in path:
        raise Misfit(field, f"expected a socket path of at most {_UNIX_PATH_BYTES_MAX} bytes")
    return UnixAddress(path)


def _ipv6(host: str, text: str, field: str) -> str:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise Misfit(field, "expected an IPv6 address in the brackets", text) from None
    return host


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
