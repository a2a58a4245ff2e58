"""response-cache's config: which answers are kept, for how long, and for whom.

Names and defaults are Kong's proxy-cache's where it has them: `cache_ttl` 300 seconds. What differs:

- `scope`. An answer is kept for the consumer who asked, not for everybody. A prompt may hold what only its
  author may know, and so may its answer; who asks the same by chance learns that somebody has asked before.
  `global` shares among all who may use the model, `key` among the calls with one key.
- There is no list of methods, statuses and content types: what is cached are Bedrock's operations, and of
  their answers the good ones only.
- How much memory is set aside belongs to the whole gateway: `gateway.cache`. With a shared store
  (`gateway.store`) answers are kept there.

`max_temperature` is for those who want chance where they have asked for it: a request whose temperature is
higher, or which says none (that is 1), is neither kept nor shared.
"""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

OperationName: TypeAlias = Literal[
    "converse", "converse_stream", "invoke_model", "invoke_model_with_response_stream"
]
"""What can be cached. To count tokens costs nothing, and a guardrail's verdict is as new as its rules."""


class ResponseCache(msgspec.Struct, frozen=True, kw_only=True):
    """Keep Bedrock's answers, and make one call for all who ask the same at the same time."""

    cache_ttl: Annotated[
        float, Meta(gt=0, le=2_592_000, description="seconds, more than 0 and at most 2592000 (30 days)")
    ] = 300.0
    """Seconds for which an answer is kept."""
    scope: Literal["consumer", "key", "global"] = "consumer"
    """Who shares: all calls of one consumer, all with one key, or all."""
    max_temperature: Annotated[float, Meta(ge=0, le=2, description="a number from 0 to 2")] | None = None
    """Requests with a higher temperature go past the cache; None: none do."""
    operations: Annotated[list[OperationName], Meta(min_length=1)] = field(
        default_factory=lambda: [
            "converse",
            "converse_stream",
            "invoke_model",
            "invoke_model_with_response_stream",
        ]
    )
    """What is cached. Requests in other dialects than Bedrock's own count as converse, or converse_stream."""
