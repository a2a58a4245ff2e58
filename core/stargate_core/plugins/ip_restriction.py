"""ip-restriction: from where the gateway may be used.

Who is denied is refused, and so is who is not allowed, where anybody is; of both lists `deny` counts first.
It looks after the caller is known (Kong's place for it), so that a consumer may have lists of its own.

*Whose address.* The socket's, which nobody can forge on TCP. `X-Forwarded-For` is a header like any other,
and anybody may write it; it is believed only where the socket's address is one of `trusted_proxies`. Then it
is read from its right end, where the nearest proxy has written whom it speaks for: each address that is
itself a trusted proxy is passed over, and the first that is not is the caller. What stands to the left of it
came from the caller, and is not looked at. If all are trusted, it is the leftmost. (nginx's
`real_ip_recursive on`, and the algorithm that MDN recommends for the header.)

An address that cannot be read is nobody's, and refused: it is behind no list that one can hold it against.

Sources: Kong's kong/plugins/ip-restriction/handler.lua; nginx, ngx_http_realip_module.
"""

from typing import ClassVar, Final, NoReturn

import msgspec

from stargate_core.config.ip_restriction import IpRestriction
from stargate_core.config.networks import Address, Networks, parse_ip
from stargate_core.config.plugin_configs import BUILT_IN
from stargate_core.config.schema import Scope
from stargate_core.dialects.face import Request
from stargate_core.faults import Cause, Fault
from stargate_core.views import Access

_FORWARDED_FOR: Final = b"x-forwarded-for"
_UNIX_PEER: Final = "unix"
"""What the shells call a peer without an address."""
_HOPS_MAX: Final = 64
"""Addresses of the header that are looked at, from its right end."""


class IpRestrictionPlugin:
    """Refuses by address."""

    NAME: ClassVar[str] = "ip-restriction"
    PRIORITY: ClassVar[int] = 990
    CONFIG: ClassVar[type[msgspec.Struct]] = IpRestriction
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["ip-restriction"].scopes

    def __init__(self, config: IpRestriction) -> None:
        self._allow = Networks(config.allow)
        self._deny = Networks(config.deny)
        self._trusted = Networks(config.trusted_proxies)
        self._message = config.message
        self._status = config.status

    def access(self, ctx: Access) -> None:
        """Refuse who may not come from there."""
        try:
            address = self._caller(ctx.request)
        except ValueError:
            self._refuse(ctx, "what cannot be read as an address")
        if self._deny.has(address) or not (self._allow.is_empty or self._allow.has(address)):
            self._refuse(ctx, "a Unix socket" if address is None else str(address))

    def _caller(self, request: Request) -> Address | None:
        """The address of the caller; None: it came by a Unix socket. Raises ValueError."""
        address = None if request.client == _UNIX_PEER else parse_ip(request.client)
        if self._trusted.is_empty or not self._trusted.has(address):
            return address
        told = b",".join([value for name, value in request.headers if name == _FORWARDED_FOR])
        hops = told.decode("latin-1").split(",") if told.strip() else []
        for hop in hops[: -_HOPS_MAX - 1 : -1]:
            address = parse_ip(hop.strip())
            if not self._trusted.has(address):
                break
        return address

    def _refuse(self, ctx: Access, whence: str) -> NoReturn:
        message = self._message or f"The address is not allowed: {whence}"
        fault = Fault(Cause.ADDRESS_FORBIDDEN, message, detail=whence, status=self._status)
        ctx.reject(fault)
