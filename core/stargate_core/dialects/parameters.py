"""What becomes of a parameter of a client API, on its way to Bedrock's Converse: one row of a table.

Each translated API has a literal table of them, printed in the documentation and held to its SDK by a test.
The rule behind all of them: nothing that changes what the caller gets is dropped in silence. A parameter is
*mapped* to something Converse has; or *ignored*, when it is a hint, or about the vendor's own house, and the
answer is as good without it; or *refused*, when the caller would otherwise get something else than was asked
for.
"""

import enum
from typing import Any

import msgspec


class Fate(enum.Enum):
    """What becomes of a parameter."""

    MAPPED = "mapped"
    IGNORED = "ignored"
    REFUSED = "refused"


class Parameter(msgspec.Struct, frozen=True):
    """One row."""

    fate: Fate
    reason: str
    """Where it goes; or why it can be left out; or what the caller is told."""
    harmless: tuple[Any, ...] = ()
    """Values that ask for nothing, beside null: a refused parameter is then ignored."""
    droppable: bool = False
    """Whether what cannot be carried may be left out, where the operator lets it."""
    claude: bool = False
    """Whether Claude is given it as it is, in additionalModelRequestFields."""
