"""Where a request stands in the configuration, and what its path has found there, as values.

Who looks is `routes`.
"""

from typing import Final

import msgspec

from stargate_core.dialects.face import Dialect, Request


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
