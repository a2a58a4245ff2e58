"""Routes: from a request to its place in the configuration and the dialect it speaks.

Without `routes` in the configuration every dialect has its usual paths. With them, only they lead anywhere: a
plugin that stands at a route must not be avoidable by the path beside it. A route claims requests by path,
method, host and headers, as Kong's does; what is left of the path when the route has stripped its own part
says which API is spoken, unless the route names a dialect.

Of several routes that match, the one that asks for more kinds of things comes first (Kong's rule), then
regular expressions before prefixes by their priority, then the longer prefix.
"""

import re
from typing import Final

import msgspec

from stargate_core.config.schema import Config, Route
from stargate_core.dialects.face import Dialect, Request
from stargate_core.dialects.registry import (
    BEDROCK_NATIVE,
    OPENAI_CHAT,
    OPENAI_MODELS,
    dialect_for,
    guess,
    methods_for,
)
from stargate_core.faults import Cause, Fault, Refused

_BY_NAME: Final[dict[str, Dialect]] = {
    "openai_chat": OPENAI_CHAT,
    "openai_models": OPENAI_MODELS,
    "bedrock_native": BEDROCK_NATIVE,
}


class Place(msgspec.Struct, frozen=True):
    """Where a request stands in the configuration: a service and a route, None for the built-in paths."""

    service: str | None = None
    route: str | None = None


NOWHERE: Final = Place()


class Match(msgspec.Struct, frozen=True):
    """What a request has found."""

    place: Place
    name: str
    """For the log: the route's name, or the built-in path's dialect."""
    dialect: Dialect
    request: Request
    """With the path as the dialect sees it."""


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
            name.lower().encode(): frozenset(value.encode() for value in values)
            for name, values in route.headers.items()
        }
        self.strip = route.strip_path
        self.dialect = _BY_NAME[route.dialect] if route.dialect is not None else None
        kinds = sum((bool(route.paths), bool(self.methods), bool(self.hosts), bool(self.headers)))
        self.rank = (-kinds, self.pattern is None, -route.regex_priority, -len(self.prefix), number)

    def remainder(self, request: Request, host: str) -> bytes | None:
        """The path behind this route's own part; None when the request is not for it."""
        if self.methods and request.method not in self.methods:
            return None
        if self.hosts and not any(_host_matches(pattern, host) for pattern in self.hosts):
            return None
        for name, values in self.headers.items():
            if not any(key == name and value in values for key, value in request.headers):
                return None
        path = request.path
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
        pairs += [
            (route, service.name)
            for service in config.services
            if service.enabled
            for route in service.routes
        ]
        for number, (route, service) in enumerate(pairs, 1):
            ways += [_Way(route, service, path, number) for path in (route.paths or (None,))]
        self._ways = sorted(ways, key=lambda way: way.rank)

    def match(self, request: Request) -> Match:
        """Where the request leads. Raises Refused: no such path, or not with this method."""
        if not self._ways:
            dialect = dialect_for(request.method, request.path)
            if dialect is None:
                raise Refused(_no_way(request))
            return Match(NOWHERE, dialect.NAME, dialect, request)
        host = (request.header(b"host") or b"").decode("latin-1").lower()
        refusal: Fault | None = None
        for way in self._ways:
            path = way.remainder(request, host)
            if path is None:
                continue
            found = request if path == request.path else msgspec.structs.replace(request, path=path)
            dialect = way.dialect or dialect_for(found.method, found.path)
            if dialect is not None:
                return Match(way.place, way.name, dialect, found)
            refusal = refusal or _no_way(found)
        raise Refused(refusal or Fault(Cause.ROUTE_UNKNOWN))

    def guess(self, path: bytes) -> Dialect:
        """The dialect to word an error in, when a request has found none."""
        return guess(path)


def _no_way(request: Request) -> Fault:
    return Fault(Cause.METHOD_NOT_ALLOWED if methods_for(request.path) else Cause.ROUTE_UNKNOWN)


def _host_matches(pattern: str, host: str) -> bool:
    """Kong's host patterns: a name, `*.name`, `name.*`; without a port in the pattern any port does."""
    if ":" not in pattern:
        host = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    if pattern.endswith(".*"):
        return host.startswith(pattern[:-1])
    return host == pattern
