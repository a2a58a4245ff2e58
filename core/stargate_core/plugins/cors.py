"""cors: web pages that may use the gateway.

A browser lets a page of another origin read an answer only if the answer says so, and before it sends what no
form could send (JSON, an Authorization header) it asks, by a *preflight*: OPTIONS with an Origin and
`Access-Control-Request-Method`. The rules are the Fetch standard's:

- A preflight is answered here, before anybody is asked for a key: browsers send none with it. It stands at
  the place of the request that it announces: the same path, the same method. For a path or a method that the
  gateway does not have it is refused like the request itself.
- All answers bear the headers: errors, streams, and refusals of other plugins. A page that may not read a
  401 would see nothing but a network error.
- The page's own origin is named, not `*`, unless any origin may come; then a cache must not give one page's
  answer to another, so each answer says `Vary: Origin`, also one to a request that has no Origin.
- An origin that is not allowed gets no header, and the browser does the rest. It is no access control: the
  request itself is served, for anybody can send one without a browser. Keys are for that.
- What the page asks to send is allowed by name: `*` does not include `Authorization`.

Sources: https://fetch.spec.whatwg.org/#http-cors-protocol; Kong's kong/plugins/cors/handler.lua (its place,
its names); https://wicg.github.io/private-network-access/.
"""

from typing import ClassVar, Final

import msgspec

from stargate_core.config.cors import ANY, Cors, pattern_of_origin, usual_origin
from stargate_core.config.plugin_configs import BUILT_IN
from stargate_core.config.schema import Scope
from stargate_core.dialects.face import Headers, Reply, Request
from stargate_core.views import Access, HeaderFilter

_ORIGIN: Final = b"origin"
_WANTED_HEADERS: Final = b"access-control-request-headers"
_WANTED_PRIVATE: Final = b"access-control-request-private-network"
_ORIGIN_BYTES_MAX: Final = 1024
"""No origin is longer; what is longer matches nothing, and no pattern is tried on it."""


class CorsPlugin:
    """Says to browsers whose pages may use the gateway."""

    NAME: ClassVar[str] = "cors"
    PRIORITY: ClassVar[int] = 2000
    CONFIG: ClassVar[type[msgspec.Struct]] = Cors
    SCOPES: ClassVar[frozenset[Scope]] = BUILT_IN["cors"].scopes

    def __init__(self, config: Cors) -> None:
        patterns = [(origin, pattern_of_origin(origin)) for origin in config.origins if origin != ANY]
        self._names = frozenset(
            usual_origin(origin).encode() for origin, pattern in patterns if pattern is None
        )
        self._patterns = [pattern for _, pattern in patterns if pattern is not None]
        self._any = ANY in config.origins
        self._granted: Headers = (
            [(b"access-control-allow-credentials", b"true")] if config.credentials else []
        )
        exposed = ", ".join(config.exposed_headers).encode()
        self._exposed: Headers = [(b"access-control-expose-headers", exposed)] if exposed else []
        self._preflight: Headers = [(b"access-control-allow-methods", ", ".join(config.methods).encode())]
        if config.max_age is not None:
            self._preflight.append((b"access-control-max-age", b"%d" % config.max_age))
        self._headers = ", ".join(config.headers).encode()
        self._private = config.private_network

    def access(self, ctx: Access) -> None:
        """Answer a preflight."""
        request = ctx.request
        if not is_preflight(request):
            return
        ctx.kept = True
        headers: Headers = []
        if self._allowed(request.header(_ORIGIN)) is not None:
            headers += self._preflight
            wanted = self._headers or request.header(_WANTED_HEADERS)
            if wanted:
                headers.append((b"access-control-allow-headers", wanted))
            if self._private and request.header(_WANTED_PRIVATE) == b"true":
                headers.append((b"access-control-allow-private-network", b"true"))
        if not self._headers:
            headers.append((b"vary", _WANTED_HEADERS))
        ctx.reply(Reply(204, headers, b""))

    def header_filter(self, ctx: HeaderFilter) -> None:
        """Say who may read the answer."""
        headers = ctx.headers
        if not self._any:
            headers.append((b"vary", _ORIGIN))
        allowed = self._allowed(ctx.request.header(_ORIGIN))
        if allowed is not None:
            headers.append((b"access-control-allow-origin", allowed))
            headers += self._granted
            if not ctx.kept:
                headers += self._exposed

    def _allowed(self, origin: bytes | None) -> bytes | None:
        """What `Access-Control-Allow-Origin` says to this origin; None: nothing."""
        if origin is None:
            return None
        if self._any:
            return b"*"
        if origin in self._names:
            return origin
        if len(origin) <= _ORIGIN_BYTES_MAX and self._patterns:
            text = origin.decode("latin-1")
            if any(pattern.fullmatch(text) is not None for pattern in self._patterns):
                return origin
        return None


def is_preflight(request: Request) -> bool:
    """Whether a browser asks if it may send what it announces (Fetch, 3.3.2)."""
    return (
        request.method == b"OPTIONS"
        and request.header(_ORIGIN) is not None
        and request.header(b"access-control-request-method") is not None
    )
