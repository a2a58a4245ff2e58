"""What `cors` may be told: which web pages may use the gateway. Kong's names.

An origin is written as browsers write it (scheme, host, a port that is not the scheme's own), with `*` for a
part of the host, or as `~` and a regular expression that must match the whole of it. Kong takes an expression
without the `~`, and lets it match anywhere in the origin: `https://good.example` would then let
`https://good.example.evil.example` in. So one that looks like an expression is refused, with the cure.

What browsers refuse is refused here, where its author sees it: with credentials, no `*` counts
(https://fetch.spec.whatwg.org/#cors-protocol-and-credentials).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from stargate_core.config.problems import Misfit, refuse
from stargate_core.config.schema import HeaderName

Method: TypeAlias = Literal["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT"]
_Origin: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1, max_length=1024, description="an origin: https://app.example.com, *, or ~ and a pattern"
    ),
]
_WRITTEN: Final = re.compile(
    r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|(?:[a-z0-9_-]+|\*)(?:\.(?:[a-z0-9_-]+|\*))*)(?::([0-9]{1,5}|\*))?"
)
_USUAL_PORTS: Final = {"http": "80", "https": "443"}
_PATTERN_SIGNS: Final = frozenset("\\^$()[]?+|{}")
ANY: Final = "*"
OPAQUE: Final = "null"
"""What a browser says of a page that has no origin: a sandbox, a file."""


class Cors(msgspec.Struct, frozen=True, kw_only=True):
    """Which web pages may use the gateway, and how."""

    KONG_UNUSED: ClassVar[Mapping[str, str]] = {
        "allow_origin_absent": "a request without an Origin comes from no page, and needs no permission"
    }

    origins: Annotated[list[_Origin], Meta(max_length=1024)] = field(default_factory=lambda: [ANY])
    """Whose pages: `*` for any."""
    methods: list[Method] = field(
        default_factory=lambda: [
            "GET",
            "HEAD",
            "PUT",
            "PATCH",
            "POST",
            "DELETE",
            "OPTIONS",
            "TRACE",
            "CONNECT",
        ]
    )
    """By which methods."""
    headers: list[HeaderName] = field(default_factory=list[str])
    """Which headers they may send; empty: whichever they ask for."""
    exposed_headers: list[HeaderName] = field(default_factory=list[str])
    """Which headers of answers they may read, beside the few that they always may."""
    credentials: bool = False
    """Whether browsers may add cookies and the like of their own. A key that the page itself sends needs no
    such thing.
    """
    max_age: Annotated[int, Meta(ge=-1, le=86_400)] | None = None
    """Seconds for which a browser may remember the answer; -1: not at all."""
    private_network: bool = False
    """Whether a public page may use the gateway at a private address."""
    preflight_continue: bool = False
    """Kept for Kong's files: Bedrock answers no preflight, so only false is accepted."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        if self.preflight_continue:
            message = "expected false: Bedrock answers no preflight, so the gateway must"
            yield Misfit("preflight_continue", message)
        for index, origin in enumerate(self.origins):
            yield from _misfit_origin(origin, index)
        for name, values in (("origins", self.origins), ("headers", self.headers),
                             ("exposed_headers", self.exposed_headers)):  # fmt: skip
            if ANY in values and self.credentials:
                message = f"expected the {name} by name: with credentials, browsers take no *"
                hint = (
                    "leave headers empty to allow what is asked for"
                    if name == "headers"
                    else "or set credentials to false"
                )
                yield Misfit((name, values.index(ANY)), message, hint=hint, beside=("credentials",))
        if not self.origins:
            yield Misfit("origins", "expected at least one origin", hint="write * for any")
        if not self.methods:
            yield Misfit("methods", "expected at least one method")


def pattern_of_origin(origin: str) -> re.Pattern[str] | None:
    """What an origin with `*` or `~` must match, whole; None: it is just this text."""
    if origin.startswith("~"):
        return re.compile(origin[1:])
    if ANY not in origin:
        return None
    scheme, _, host = origin.lower().partition("://")
    port = r"(?::[0-9]{1,5})?" if host.endswith(":*") else ""
    host = host.removesuffix(":*") if port else host
    return re.compile(re.escape(f"{scheme}://{host}").replace(r"\*", r"[a-z0-9_.-]+") + port)


def usual_origin(origin: str) -> str:
    """An origin as browsers write it: small letters, and no port that goes without saying."""
    origin = origin.lower()
    scheme = origin.partition("://")[0]
    return origin.removesuffix(f":{_USUAL_PORTS[scheme]}") if scheme in _USUAL_PORTS else origin


def _misfit_origin(origin: str, index: int) -> Iterator[Misfit]:
    where = ("origins", index)
    if origin in (ANY, OPAQUE):
        return
    if origin.startswith("~"):
        try:
            re.compile(origin[1:])
        except (re.error, OverflowError, RecursionError) as error:
            yield Misfit(where, "expected a regular expression after ~", origin, str(error))
        return
    found = _WRITTEN.fullmatch(origin.lower())
    if found is not None and (found[3] in (None, ANY) or int(found[3]) <= 65_535):
        return
    message = "expected an origin: scheme://host, with a port if it is not the usual one"
    if _PATTERN_SIGNS & set(origin):
        hint = f"write ~{origin} if it is a regular expression; it must match the whole origin"
    elif re.fullmatch(r"[A-Za-z0-9.*-]+(:[0-9]+)?", origin):
        hint = f"write https://{origin}"
    else:
        found = _WRITTEN.match(origin.lower())
        hint = "" if found is None else f"write {origin[: found.end()]}"
    yield Misfit(where, message, origin, hint)
