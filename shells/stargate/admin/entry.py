"""Who may ask the admin listener, decided by a request's head alone.

*With `gateway.admin_token`* whoever shows it, and nobody else: `Authorization: Bearer TOKEN`, compared in a
time that says nothing of it. A browser does not add such a header by itself, so no other site's page can use
it.

*Without one* the listener is on an address of this machine only (the configuration's checks see to that), and
every program on it may ask. A browser is the exception: pages of anywhere run in it. A page of another site
can send requests here, but says so (`Origin`, `Sec-Fetch-Site`), and is refused. A page whose own name was
made to point here after it was loaded (DNS rebinding) says its own name in `Host`; only names of this machine
are taken. No browser reaches a unix socket: whoever may open it may ask.

The page's files and `/healthz` are for everybody: they say nothing that is not in the package.

Source: RFC 6750 section 2.1; https://www.w3.org/TR/fetch-metadata/; CVE-2018-7160 for what rebinding does.
"""

import hashlib
import hmac
import ipaddress
import re
from typing import Final

from stargate.admin.messages import Reply, header_of, problem
from stargate_core.config.addresses import Address, UnixAddress
from stargate_core.secret import Secret
from stargate_core.wire.http1 import RequestHead

_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/@]+)(?::([0-9]{1,5}))?")
_OWN: Final = frozenset({b"same-origin", b"none"})
_UNKNOWN: Final = (
    "missing or wrong admin token: send Authorization: Bearer with the value of gateway.admin_token"
)
_NO_HOST: Final = (
    "this name is not known to be this machine's: ask for 127.0.0.1 or localhost, or set gateway.admin_token"
)
_NO_SITE: Final = "another site's page may not ask: open the page of this listener itself"


class Entry:
    """Decides. address: where the admin listener listens."""

    def __init__(self, address: Address, token: Secret | None) -> None:
        self._digest = None if token is None else _digest(token.reveal().encode())
        self._is_unix = isinstance(address, UnixAddress)
        self._own = b"" if isinstance(address, UnixAddress) else address.host.lower().encode()

    @property
    def wants_token(self) -> bool:
        """Whether a token is asked for."""
        return self._digest is not None

    def refusal(self, head: RequestHead) -> Reply | None:
        """What a request is refused with; None: it may ask."""
        if self._digest is not None:
            if hmac.compare_digest(self._digest, _digest(_bearer(head))):
                return None
            return problem(401, _UNKNOWN, headers=[(b"www-authenticate", b'Bearer realm="stargate admin"')])
        if self._is_unix:
            return None
        host = header_of(head, b"host")
        if host is not None and not self._is_ours(host):
            return problem(403, _NO_HOST)
        if not _is_from_here(head, host):
            return problem(403, _NO_SITE)
        return None

    def _is_ours(self, host: bytes) -> bool:
        """Whether a Host names this machine."""
        found = _HOST.fullmatch(host.strip().lower())
        if found is None:
            return False
        name = found[1].rstrip(b".")
        if name in (b"localhost", self._own):
            return True
        try:
            return ipaddress.ip_address(name.strip(b"[]").decode("ascii")).is_loopback
        except ValueError:  # UnicodeDecodeError is one as well.
            return False


def _is_from_here(head: RequestHead, host: bytes | None) -> bool:
    """Whether no browser says that it is another site's page that asks."""
    origin = header_of(head, b"origin")
    if origin is not None:
        scheme, _, name = origin.lower().partition(b"://")
        if scheme not in (b"http", b"https") or host is None or name != host.strip().lower():
            return False
    site = header_of(head, b"sec-fetch-site")
    return site is None or site in _OWN


def _bearer(head: RequestHead) -> bytes:
    """The token that a request shows; nothing: none."""
    scheme, _, token = (header_of(head, b"authorization") or b"").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


def _digest(token: bytes) -> bytes:
    """Of equal length for all, so that comparing does not tell the length."""
    return hashlib.sha256(token).digest()
