"""What bedrock-proxy lets a request do beside asking a model: fetch what it points at, name values that AWS
knows otherwise; and how the list of models is made.
"""

from collections.abc import Iterator
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from stargate_core.config.gateway_block import Seconds
from stargate_core.config.problems import Misfit

BETAS_DROPPED: Final = (
    "prompt-caching-2024-07-31",
    "extended-cache-ttl-2025-04-11",
    "files-api-2025-04-14",
    "code-execution-2025-05-22",
    "memory-2025-08-18",
    "thinking-token-count-2026-05-13",
)
"""Betas of Anthropic's own API that Bedrock answers with `invalid beta flag` (probed by Envoy AI Gateway's
authors, internal/translator/anthropic_awsanthropic.go).
"""
BETAS_RENAMED: Final = {"advanced-tool-use-2025-11-20": "tool-search-tool-2025-10-19"}

Beta: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,128}\Z")]
HostGlob: TypeAlias = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_.*?-]{1,253}\Z", description="a host, with * and ?")
]


class ImageUrls(msgspec.Struct, frozen=True, kw_only=True):
    """Whether images and documents may be named by URL, for the gateway to fetch. Only public addresses are
    ever asked.
    """

    enabled: bool = False
    hosts: Annotated[list[HostGlob], Meta(max_length=256)] = field(default_factory=lambda: ["*"])
    """The hosts that may be asked."""
    plain_http: bool = False
    """Whether http will do; else only https."""
    max_bytes: Annotated[int, Meta(ge=1, le=25_000_000)] = 5_000_000
    """Of each."""
    max_count: Annotated[int, Meta(ge=1, le=100)] = 20
    """In one request."""
    timeout: Seconds = 10.0
    """For each, redirects included."""


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the list of models also names what AWS says there is: ListFoundationModels and
    ListInferenceProfiles.
    """

    enabled: bool = False
    ttl: Seconds = 300.0
    """How long an answer of AWS's is kept."""
    url: str | None = None
    """http(s)://host:port of the control plane; None: endpoint_url if there is one, else AWS's."""


class AnthropicBetas(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of the values of `anthropic-beta`. All others are passed on, known or not."""

    drop: Annotated[list[Beta], Meta(max_length=256)] = field(default_factory=lambda: list(BETAS_DROPPED))
    """Values that Bedrock refuses."""
    rename: dict[Beta, Beta] = field(default_factory=lambda: dict(BETAS_RENAMED))
    """Values that Bedrock knows by another name."""

    def __post_init__(self) -> None:
        both = sorted(set(self.drop) & set(self.rename))
        if both:
            raise Misfit("rename", f"{both[0]} is dropped already", beside=("drop",))


Caching: TypeAlias = Literal["explicit", "auto"]


def misfit_discovery(discovery: Discovery, *, allow_unlisted: bool) -> Iterator[Misfit]:
    """What contradicts itself, or that callers may use what AWS names."""
    if discovery.enabled and not allow_unlisted:
        yield Misfit(
            ("discovery", "enabled"),
            "expected false, since allow_unlisted is false: callers may use only what models names",
            beside=("allow_unlisted",),
        )
    if discovery.url is not None and not discovery.enabled:
        yield Misfit(
            ("discovery", "url"), "expected discovery to be enabled: nothing asks there", beside=("enabled",)
        )
