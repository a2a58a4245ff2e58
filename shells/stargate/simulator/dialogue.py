"""What a model is asked, and what it answers: the values between the request formats and the answer
formats.

Every family of models has its own request and answer JSON. Each is read into one `Prompt` and written from
one `Answer`, so what the simulated model says does not depend on the operation it is called through.
"""

import enum
import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from stargate.simulator.json_tree import as_array, as_object

DIRECTIVE: Final = re.compile(r"\[\[simulator:([^\]]*)\]\]")
"""How a prompt asks for a scenario: `[[simulator: slow ms=200]]`."""


class Tool(msgspec.Struct, frozen=True):
    """A tool on offer."""

    name: str
    schema: Mapping[str, Any]


class Choice(enum.Enum):
    """How free the model is in its use of tools."""

    AUTO = "auto"
    ANY = "any"
    NONE = "none"
    ONE = "tool"


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A request, whatever its format."""

    text: str
    """The last user text."""
    tool_results: tuple[str, ...] = ()
    """What tools have answered in the last message."""
    attachments: tuple[str, ...] = ()
    """The last message's images and documents, in words: `png image of 70 bytes`."""
    input_tokens: int
    tools: tuple[Tool, ...] = ()
    choice: Choice = Choice.AUTO
    tool_name: str = ""
    """The tool that must be used, with `Choice.ONE`."""
    tokens_max: int | None = None
    stop_sequences: tuple[str, ...] = ()
    thinking: bool = False
    answer_schema: Mapping[str, Any] | None = None
    """The JSON schema that the answer's text must satisfy."""


class Citation(msgspec.Struct, frozen=True):
    """Where a text has it from."""

    kind: str
    """The place's kind, in Converse's words: documentChar, documentPage, documentChunk, web or
    searchResultLocation.
    """
    title: str
    source: str
    quote: str
    start: int
    end: int

    @property
    def place(self) -> dict[str, object]:
        """The place as Converse writes it."""
        if self.kind == "web":
            return {"web": {"url": self.source, "domain": "example.com"}}
        index = "searchResultIndex" if self.kind == "searchResultLocation" else "documentIndex"
        return {self.kind: {index: 0, "start": self.start, "end": self.end}}


class Text(msgspec.Struct, frozen=True):
    """A block of text, token by token."""

    tokens: tuple[str, ...]
    citations: tuple[Citation, ...] = ()

    @property
    def text(self) -> str:
        """The block as one text."""
        return "".join(self.tokens)


class Reasoning(msgspec.Struct, frozen=True):
    """A block of reasoning, token by token, and its signature."""

    tokens: tuple[str, ...]
    signature: str

    @property
    def text(self) -> str:
        """The block as one text."""
        return "".join(self.tokens)


class RedactedReasoning(msgspec.Struct, frozen=True):
    """Reasoning that the provider keeps to itself: base64 of the vendor's own."""

    data: str


class ToolUse(msgspec.Struct, frozen=True):
    """The model wants a tool used."""

    id: str
    """22 characters; each format puts its own prefix before them."""
    name: str
    arguments: Mapping[str, Any]


Block: TypeAlias = Text | Reasoning | RedactedReasoning | ToolUse


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the model answers."""

    id: str
    """22 characters, as of `ToolUse`."""
    blocks: tuple[Block, ...]
    stop_reason: str
    """In Converse's words."""
    stop_sequence: str | None = None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    latency_ms: int

    @property
    def text(self) -> str:
        """All text, without reasoning."""
        return "".join(block.text for block in self.blocks if isinstance(block, Text))


def count_tokens(value: object) -> int:
    """About how many tokens some JSON is: its words, and one for each of its leaves that is no text."""
    match value:
        case str():
            return len(value.split())
        case bytes():
            return 1 + len(value) // 750
        case dict():
            return sum(map(count_tokens, as_object(value).values()))
        case list() | tuple():
            return sum(map(count_tokens, as_array(value)))
        case None:
            return 0
        case _:
            return 1


def split_tokens(text: str) -> tuple[str, ...]:
    """A text cut into tokens, each but the first with the space before it; their join is the text."""
    return tuple(_TOKEN.findall(text))


_TOKEN: Final = re.compile(r"\s*\S+\s*$|\s*\S+|\s+$")
