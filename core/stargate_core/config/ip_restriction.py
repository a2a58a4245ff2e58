"""What `ip-restriction` may be told: from where the gateway may be used. Kong's names.

`trusted_proxies` is ours: in Kong it is a setting of the whole node (`trusted_ips`).
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta, field

from stargate_core.config.networks import Cidr, misfits_of
from stargate_core.config.problems import Misfit, refuse


class IpRestriction(msgspec.Struct, frozen=True, kw_only=True):
    """From which addresses the gateway may be used."""

    allow: Annotated[list[Cidr], Meta(max_length=65_536)] = field(default_factory=list[str])
    """Nobody else; empty: everybody who is not denied."""
    deny: Annotated[list[Cidr], Meta(max_length=65_536)] = field(default_factory=list[str])
    """Not these, even if they are allowed as well."""
    status: Annotated[int, Meta(ge=400, le=599)] = 403
    """Of the answer to who is refused."""
    message: Annotated[str, Meta(max_length=1024)] = ""
    """What they are told; empty: that their address is not allowed."""
    trusted_proxies: Annotated[list[Cidr], Meta(max_length=4096)] = field(default_factory=list[str])
    """Whose word about the address of the caller is taken (`X-Forwarded-For`); nobody else's is."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        if not (self.allow or self.deny):
            yield Misfit("", "expected allow or deny: without them everybody may use the gateway")
        yield from misfits_of(self.allow, "allow")
        yield from misfits_of(self.deny, "deny")
        yield from misfits_of(self.trusted_proxies, "trusted_proxies")
