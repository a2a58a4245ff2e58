"""Faults: everything that can go wrong with a request, in one table.

A fault is data, not an exception: who is to blame, what the caller is told in each dialect, whether trying again helps.
`TABLE` is the only place where a cause meets a status; dialects only dress a row in their own envelope. Where the field
has no settled answer, the choice and its reason stand beside the row.

Sources: the official SDKs' retry rules (openai-python and anthropic-sdk-python retry 408, 409, 429 and >= 500, and obey
`x-should-retry`), botocore's bedrock-runtime model for the exception names, Anthropic's published error types.
"""

import enum
from typing import Final

import msgspec

RETRY_AFTER_SECONDS_MAX: Final = 60  # Claude Code and anthropic-sdk-python give up on, or ignore, anything longer.


class Blame(enum.Enum):
    """Whose mistake a fault is."""

    CLIENT = "client"
    GATEWAY = "gateway"
    UPSTREAM = "upstream"


class Row(msgspec.Struct, frozen=True):
    """What one cause means to everybody concerned."""

    blame: Blame
    status: int
    code: str
    """The gateway's own code, SCREAMING_SNAKE; also the OpenAI `code` where OpenAI has none of its own."""
    openai_type: str
    openai_code: str | None
    """OpenAI's own code for this case; None: the gateway's code stands there."""
    anthropic_type: str
    aws_name: str
    """The exception a native Bedrock caller sees, in the PascalCase of HTTP answers."""
    message: str
    """What the caller reads when nothing better is known."""
    retry_here: bool = False
    """May the gateway itself try again before anything has reached the client?"""
    should_retry: bool | None = None
    """`x-should-retry` for the caller's SDK; None leaves the header out."""
    anthropic_status: int | None = None
    """Where Anthropic uses a status of its own (529 overloaded)."""
    retry_after_seconds: int | None = None
    """Retry-After when the cause itself carries none."""
