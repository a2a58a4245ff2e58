"""Routes: from a request to its place in the configuration and the dialect it speaks.

Without `routes` in the configuration every dialect has its usual paths. With them, only they lead anywhere,
be they switched on or off: a plugin that stands at a route must not be avoidable by the path beside it. A
route claims requests by path, method, host and headers, as Kong's does; what is left of the path when the
route has stripped its own part says which API is spoken, unless the route names a dialect. A dialect takes
its own methods only, wherever it is: any other is 405, while a request that no route claims is 404.

Of several routes that match, the first in Kong's order counts: the one that asks for more kinds of things;
for a host before headers, a path, a method; for whole host names before patterns; by regular expression
before prefix; by more headers; with the higher regex_priority; by the longer prefix; the first in the file.

Source: Kong's kong/router/traditional.lua (sort_categories, sort_routes), on which the tests' order rests.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from stargate_core.config.schema import Config, Route
from stargate_core.dialects.face import Dialect, Request
from stargate_core.dialects.registry import (
    ANTHROPIC_COUNT,
    ANTHROPIC_MESSAGES,
    BEDROCK_NATIVE,
    OPENAI_CHAT,
    OPENAI_EMBEDDINGS,
    OPENAI_MODELS,
    OPENAI_RESPONSES,
    ROUTES,
    dialect_for,
    guess,
    methods_for,
    spoken,
)
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.gateway.places import NOWHERE, Match, Place

_BY_NAME: Final[dict[str, Dialect]] = {
    "openai_chat": OPENAI_CHAT,
    "openai_responses": OPENAI_RESPONSES,
    "openai_embeddings": OPENAI_EMBEDDINGS,
    "openai_models": OPENAI_MODELS,
    "anthropic_messages": ANTHROPIC_MESSAGES,
    "anthropic_count_tokens": ANTHROPIC_COUNT,
    "bedrock_native": BEDROCK_NATIVE,
}


_METHODS: Final = {
    dialect.NAME: tuple(dict.fromkeys(route.method for route in ROUTES if route.dialect is dialect))
    for dialect in _BY_NAME.values()
}
_PORT: Final = re.compile(r":([0-9]+)\Z")


class _Way:
    """One route with one of its paths, ready to be tried."""

    __slots__ = (
        "dialect",
        "headers",
        "hosts",
        "methods",
        "name",
        "pattern",
        "place",
        "prefix",
        "rank",
        "strip",
    )

    def __init__(self, route: Route, service: str | None, path: str | None, number: int) -> None:
        self.name = route.name or f"route-{number}"
        self.place = Place(service, route.name)
        self.prefix = path.encode() if path is not None and not path.startswith("~") else b""
        self.pattern = re.compile(path[1:].encode()) if path is not None and path.startswith("~") else None
        self.methods = frozenset(method.encode() for method in route.methods)
        self.hosts = tuple(host.lower() for host in route.hosts)
        self.headers = {
            name.lower().encode(): frozenset(value.lower().encode() for value in values)
            for name, values in route.headers.items()
        }
        self.strip = route.strip_path
        self.dialect = _BY_NAME[route.dialect] if route.dialect is not None else None
        kinds = (bool(self.hosts), bool(self.headers), path is not None, bool(self.methods))
        wild = [host for host in self.hosts if "*" in host]
        self.rank = (
            -sum(kinds),
            *(not kind for kind in kinds),
            not any(":" in host for host in wild),
            bool(wild),
            self.pattern is None,
            -len(self.headers),
            -route.regex_priority if self.pattern is not None else 0,
            -len(self.prefix),
            number,
        )

    def remainder(self, request: Request, host: str) -> bytes | None:
        """The path as the dialect sees it; None when the request is not for this route."""
        if self.methods and request.method not in self.methods:
            return None
        if self.hosts and not any(_host_matches(pattern, host) for pattern in self.hosts):
            return None
        for name, values in self.headers.items():
            if not any(key == name and value.lower() in values for key, value in request.headers):
                return None
        return self.rest(request.path)

    def rest(self, path: bytes) -> bytes | None:
        """What is left of a path behind this route's own part; None when the route is for other paths."""
        if self.pattern is not None:
            found = self.pattern.match(path)
            if found is None:
                return None
            own = found.end()
        else:
            if not path.startswith(self.prefix):
                return None
            own = len(self.prefix)
        if not self.strip:
            return path
        rest = path[own:]
        return rest if rest.startswith(b"/") else b"/" + rest


class Routes:
    """Finds the place and the dialect of requests."""

    def __init__(self, config: Config) -> None:
        ways: list[_Way] = []
        pairs = [(route, route.service) for route in config.routes]
        pairs += [(route, service.name) for service in config.services for route in service.routes]
        switched_off = {service.name for service in config.services if not service.enabled}
        for number, (route, service) in enumerate(pairs, 1):
            if service not in switched_off:
                ways += [_Way(route, service, path, number) for path in (route.paths or (None,))]
        self._ways = sorted(ways, key=lambda way: way.rank)
        self._usual_paths = not pairs

    def match(self, request: Request) -> Match:
        """Where the request leads. Raises Refused: no such path, or not with this method."""
        if self._usual_paths:
            dialect = dialect_for(request.method, request.path)
            if dialect is None:
                raise Refused(_no_way(methods_for(request.path)))
            dialect = spoken(dialect, request)
            return Match(NOWHERE, dialect.NAME, dialect, request)
        host = (request.header(b"host") or b"").decode("latin-1").lower()
        refusal: Fault | None = None
        for way in self._ways:
            path = way.remainder(request, host)
            if path is None:
                continue
            found = request if path == request.path else msgspec.structs.replace(request, path=path)
            if way.dialect is None:
                dialect, methods = dialect_for(found.method, found.path), methods_for(found.path)
            else:
                methods = _METHODS[way.dialect.NAME]
                dialect = way.dialect if found.method in methods else None
            if dialect is not None:
                return Match(way.place, way.name, spoken(dialect, found), found)
            refusal = refusal or _no_way(methods)
        raise Refused(refusal or Fault(Cause.ROUTE_UNKNOWN))

    @property
    def default(self) -> Dialect:
        """The dialect to word an error in, when nothing is known of a request."""
        return OPENAI_CHAT

    def guess(self, path: bytes) -> Dialect:
        """The dialect to word an error in, when a request has found none: by its path alone."""
        for way in self._ways:
            rest = way.rest(path)
            if rest is not None:
                return way.dialect or guess(rest)
        return guess(path)


def _no_way(methods: Sequence[bytes]) -> Fault:
    """Nothing is at the path, or it takes other methods."""
    if not methods:
        return Fault(Cause.ROUTE_UNKNOWN)
    return Fault(Cause.METHOD_NOT_ALLOWED, headers=((b"allow", b", ".join(methods)),))


def _host_matches(pattern: str, host: str) -> bool:
    """Kong's host patterns: a name, `*.name`, `name.*`; without a port in the pattern any port does."""
    name, _, wanted = pattern.partition(":")
    port = _PORT.search(host)
    if port is not None:
        host = host[: port.start()]
    if wanted and (port is None or port[1] != wanted):
        return False
    if name.startswith("*."):
        return len(host) >= len(name) and host.endswith(name[1:])
    if name.endswith(".*"):
        return len(host) >= len(name) and host.startswith(name[:-1])
    return host == name
