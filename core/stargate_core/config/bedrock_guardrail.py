"""What `bedrock-guardrail` may be told: which guardrail looks on, and in which of two ways.

Source of the forms: botocore's bedrock-runtime model (GuardrailIdentifier, GuardrailVersion).
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from stargate_core.config.gateway_block import Seconds
from stargate_core.config.problems import Misfit, refuse


class BedrockGuardrail(msgspec.Struct, frozen=True, kw_only=True):
    """Which guardrail of AWS's looks on, and how."""

    identifier: Annotated[
        str,
        Meta(
            max_length=2048,
            pattern=r"^([a-z0-9]+|arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:guardrail/[a-z0-9]+)?\Z",
            description="the id of a guardrail, or its ARN",
        ),
    ] = ""
    version: Annotated[
        str,
        Meta(
            pattern=r"^([1-9][0-9]{0,7}|DRAFT)\Z", description='the number of a version in quotes, or "DRAFT"'
        ),
    ] = "DRAFT"
    attach: bool = True
    """Have Bedrock hold the guardrail against each call, its input and its answer, streams included."""
    apply: bool = False
    """Hold it against what is asked before the call is made (ApplyGuardrail)."""
    override: Literal["deny", "allow"] = "deny"
    """Whether a caller that names a guardrail of its own is attached that one instead."""
    trace: Literal["enabled", "disabled", "enabled_full"] | None = None
    """Of the attached guardrail; None: as the caller says."""
    stream_processing_mode: Literal["sync", "async"] | None = None
    """Whether a stream waits for the attached guardrail, where the call is Converse's."""
    on_block: Literal["answer", "error"] = "answer"
    """How a caller is told that what it asked is blocked (`apply`)."""
    on_failure: Literal["reject", "allow"] = "reject"
    """What happens while the guardrail cannot be applied."""
    unguarded: Literal["reject", "allow"] = "reject"
    """What happens to what the guardrail cannot look at."""
    timeout: Seconds = 5.0
    """For each ApplyGuardrail, repetitions included."""
    chunk_chars: Annotated[int, Meta(ge=100, le=100_000)] = 20_000
    """How much text one ApplyGuardrail is given; longer conversations take several, one after another."""

    def __post_init__(self) -> None:
        refuse(self._misfits())

    def _misfits(self) -> Iterator[Misfit]:
        if not self.identifier:
            yield Misfit("identifier", "expected the id of a guardrail, or its ARN")
        if not (self.attach or self.apply):
            yield Misfit("attach", "expected true, or apply: it would do nothing", beside=("apply",))
