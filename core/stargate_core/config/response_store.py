"""response-store's config: for how long answers can be referred to, and how much of them is kept.

Conversations are kept, words and all: nothing else of the gateway's does that but the response cache, so it
is off unless this plugin is there. They are kept in `gateway.store`, under the consumer's name.
"""

from typing import Annotated

import msgspec
from msgspec import Meta


class ResponseStore(msgspec.Struct, frozen=True, kw_only=True):
    """Keep answers of OpenAI's responses API, so that later requests can refer to them."""

    ttl: Annotated[
        float, Meta(gt=0, le=2_592_000, description="seconds, more than 0 and at most 2592000 (30 days)")
    ] = 3600.0
    """Seconds for which an answer can be referred to."""
    max_bytes: Annotated[int, Meta(ge=1_024, le=16_777_216)] = 1_048_576
    """Of one answer together with the conversation before it; a longer one is not kept."""
