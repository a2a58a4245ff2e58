"""What `request-size` may be told: how much one request may ask for.

Kong's names for the bytes (`allowed_payload_size`, `size_unit`); the rest is what costs money at a model.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from stargate_core.config.problems import Misfit, refuse

_UNITS: Final = {"megabytes": 1 << 20, "kilobytes": 1 << 10, "bytes": 1}


class RequestSize(msgspec.Struct, frozen=True, kw_only=True):
    """How much one request may ask for."""

    KONG_UNUSED: ClassVar[Mapping[str, str]] = {
        "require_content_length": "a body without a length is counted as it comes, and bounded alike"
    }

    allowed_payload_size: Annotated[int, Meta(ge=0, le=1 << 31)] | None = None
    """The most a body may have, in `size_unit`."""
    size_unit: Literal["megabytes", "kilobytes", "bytes"] = "megabytes"
    """Of 1024 times 1024, or 1024, bytes."""
    max_body_bytes: Annotated[int, Meta(ge=0, le=1 << 31)] | None = None
    """The same in bytes; one of the two."""
    max_messages: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    """Items of `messages`, or of a response's `input`."""
    max_prompt_tokens: Annotated[int, Meta(ge=1, le=1 << 31)] | None = None
    """About so many: estimated from the body, as limits are (docs/limits.md)."""
    max_output_tokens: Annotated[int, Meta(ge=1, le=1 << 31)] | None = None
    """The most that a caller may let the model produce, where it says so."""
    on_output_excess: Literal["reject", "clamp"] = "reject"
    """What is done with a caller that wants more: it is refused, or its number is lowered."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        if self.allowed_payload_size is not None and self.max_body_bytes is not None:
            message = "expected either max_body_bytes or allowed_payload_size, not both"
            yield Misfit("max_body_bytes", message, beside=("allowed_payload_size",))
        limits = (self.body_bytes_max, self.max_messages, self.max_prompt_tokens, self.max_output_tokens)
        if all(limit is None for limit in limits):
            yield Misfit("", "expected at least one limit", hint="for instance allowed_payload_size: 8")

    @property
    def body_bytes_max(self) -> int | None:
        """The most bytes a body may have; None: as many as the gateway takes."""
        if self.allowed_payload_size is not None:
            return self.allowed_payload_size * _UNITS[self.size_unit]
        return self.max_body_bytes
