"""bedrock-proxy's `surfaces`: which of Bedrock's APIs serves which models, and how each is reached.

Every surface has a row of defaults (aws/surfaces.py); what is written here replaces single fields of it. A
row that names models comes before all defaults, in the order of the file. A model whose own entry says
`surface` is not looked for here at all: that is where it is, for every caller.

    surfaces:
      mantle_openai: {models: ["openai.gpt-5*"]}
      invoke: {models: ["*anthropic.claude*", "arn:aws:bedrock:us-east-1:123456789012:application-*/abc"]}
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from stargate_core.aws.endpoints import Endpoint, endpoint, parse_endpoint_url
from stargate_core.aws.surfaces import SURFACES, GuardrailWay, Surface, SurfaceSpec
from stargate_core.config.gateway_block import ModelGlob
from stargate_core.config.problems import Misfit, Path
from stargate_core.globs import GlobTable

SurfaceName: TypeAlias = Literal[
    "converse", "invoke", "openai", "anthropic", "mantle_openai", "mantle_anthropic"
]
_REGION: Final = "{region}"


class SurfaceRow(msgspec.Struct, frozen=True, kw_only=True):
    """What differs from a surface's defaults; None: the default."""

    models: Annotated[list[ModelGlob], Meta(max_length=256)] | None = None
    """The models that are best served here."""
    url: str | None = None
    """http(s)://host:port to call; `{region}` stands for the region. It wins over endpoint_url."""
    path: Annotated[str, Meta(max_length=256, pattern=r"^(/[A-Za-z0-9._~-]+)*\Z")] | None = None
    """What stands before its operations' paths."""
    signing_name: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,64}\Z")] | None = None
    guardrail: Literal["body", "headers", "none"] | None = None
    """How a guardrail travels with a call."""


Rows: TypeAlias = dict[SurfaceName, SurfaceRow]


def surface_specs(rows: Mapping[SurfaceName, SurfaceRow]) -> dict[Surface, SurfaceSpec]:
    """How each surface is reached, with what the file says of it."""
    specs = dict(SURFACES)
    for name, row in rows.items():
        surface = Surface(name)
        changes = {
            field: getattr(row, field)
            for field in ("url", "path", "signing_name")
            if getattr(row, field) is not None
        }
        if row.guardrail is not None:
            changes["guardrail"] = GuardrailWay(row.guardrail)
        if row.models is not None:
            changes["models"] = tuple(row.models)
        specs[surface] = msgspec.structs.replace(specs[surface], **changes)
    return specs


class SurfaceTable:
    """Which surface serves a model best, by globs; the file's rows come first."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Mapping[SurfaceName, SurfaceRow]) -> None:
        specs = surface_specs(rows)
        own = [Surface(name) for name, row in rows.items() if row.models is not None]
        order = [*own, *(surface for surface in specs if surface not in own)]
        self._rows = tuple(
            (surface, GlobTable((glob, True) for glob in specs[surface].models)) for surface in order
        )

    def find(self, model: str, speaks: tuple[Surface, ...]) -> Surface:
        """The first surface that names the model and that a caller can use.

        speaks: what the caller's API can use, the best first; that one where no row fits.
        """
        for surface, globs in self._rows:
            if surface in speaks and globs.find(model):
                return surface
        return speaks[0]


def surface_endpoint(
    spec: SurfaceSpec, region: str, url: str | None, *, fips: bool, dual_stack: bool
) -> Endpoint:
    """Where calls through a surface go. url: the place to call instead of AWS, if any.

    Raises ValueError where the surface has no such endpoint.
    """
    place = url if spec.url is None else spec.url.replace(_REGION, region)
    if place is not None:
        there = parse_endpoint_url(place).signed_for(spec.signing_name, region)
    else:
        there = endpoint(spec.service, region, fips=fips, dual_stack=dual_stack)
        there = msgspec.structs.replace(there, signing_name=spec.signing_name)
    return msgspec.structs.replace(there, prefix=there.prefix + spec.path) if spec.path else there


def misfit_rows(
    rows: Mapping[SurfaceName, SurfaceRow], used: Mapping[SurfaceName, Path], region: str, *, fips: bool
) -> Iterator[Misfit]:
    """What cannot be meant. used: the surfaces that models of the file are at, and where it says so."""
    served: dict[SurfaceName, Path] = {
        name: ("surfaces", name, "models") for name, row in rows.items() if row.models
    }
    everything: dict[SurfaceName, Path] = {**served, **used}
    for name, path in everything.items():
        row = rows.get(name)
        if fips and name.startswith("mantle") and (row is None or row.url is None):
            yield Misfit(
                path, "expected another surface: bedrock-mantle has no FIPS endpoint", name, beside=("fips",)
            )
    for name, row in rows.items():
        if row.url is not None:
            try:
                parse_endpoint_url(row.url.replace(_REGION, region))
            except ValueError as error:
                yield Misfit(("surfaces", name, "url"), str(error))
        if row.guardrail == "body" and name != "converse":
            yield Misfit(
                ("surfaces", name, "guardrail"), "expected headers or none: only Converse's body has it"
            )
        if name == "converse" and row.guardrail == "headers":
            yield Misfit(
                ("surfaces", name, "guardrail"), "expected body or none: Converse takes no such headers"
            )
