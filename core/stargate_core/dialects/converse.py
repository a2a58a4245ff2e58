"""Converse's answers and stream events as typed values, for the dialects that translate them.

Read leniently where Bedrock may grow (unknown members, unknown events and unknown union keys are skipped;
every payload's padding `p` is never even built) and strictly where a guess would be dishonest: an answer
without `output` or `stopReason`, or an event of the wrong shape, is no answer, and becomes `BadAnswer`.

Token counts may arrive as JSON floats where a guardrail has touched the body, so both kinds of number are
taken. One that cannot be a count is taken for the nearest that can be: limits, prices and the log are
reckoned from it.

Sources: botocore/data/bedrock-runtime/2023-09-30 (ConverseResponse, ConverseStreamOutput); recorded
traffic.
"""

from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from stargate_core.dialects.face import BadAnswer, Usage
from stargate_core.faults import Cause, Fault
from stargate_core.secret import Private

NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""All that msgspec raises on bytes that are no JSON, or not of the expected type."""

MALFORMED_STOPS: Final = frozenset({"malformed_model_output", "malformed_tool_use"})
"""Stop reasons that are failures of the model: no dialect has an honest word of success for them."""

Count: TypeAlias = int | float | None
T = TypeVar("T")


TOKENS_MAX: Final = 2**53 - 1
"""More than any call can use; up to here every reader of JSON keeps a number's digits."""


def token_count(count: Count) -> int:
    """How many tokens a count of upstream's means; nothing, where there is none."""
    if type(count) is int and 0 <= count <= TOKENS_MAX:
        return count  # As nearly always.
    return 0 if count is None else int(min(max(count, 0), TOKENS_MAX))


def _told(raw: msgspec.Raw) -> msgspec.Raw | None:
    """A member of any type, if it is there. (A Raw that may be None is decoded from null only.)"""
    return None if bytes(raw) in (b"", b"null") else raw


class CacheDetail(Private, msgspec.Struct, rename="camel"):
    """How many tokens were written to the prompt cache to stay there for so long."""

    ttl: str | None = None
    input_tokens: Count = 0


class TokenUsage(msgspec.Struct, rename="camel"):
    """What a call has used."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_read_input_tokens: Count = 0
    cache_write_input_tokens: Count = 0
    cache_details: list[CacheDetail] | None = None
    """The tokens written to the cache, by how long they stay there."""

    def counts(self) -> Usage:
        """The same, as everybody else knows it."""
        return Usage(
            token_count(self.input_tokens),
            token_count(self.output_tokens),
            token_count(self.cache_read_input_tokens),
            token_count(self.cache_write_input_tokens),
        )


class ServiceTier(Private, msgspec.Struct):
    """Which tier has served a call."""

    type: str | None = None


# --------------------------------------------------------------------------------------------- a whole answer


class ToolUse(Private, msgspec.Struct, rename="camel"):
    """The model calls a tool. Its `type` says whose: absent or `tool_use`, the caller's; else Bedrock's."""

    tool_use_id: str
    name: str
    input: msgspec.Raw = msgspec.Raw(b"{}")
    type: str | None = None

    @property
    def is_callers(self) -> bool:
        """Whether the caller is asked to run it."""
        return self.type is None or self.type == "tool_use"


class ReasoningText(Private, msgspec.Struct):
    """What the model thought, and its signature under it: whoever sends the thought back sends both."""

    text: str | None = None
    signature: str | None = None


class ReasoningContent(Private, msgspec.Struct, rename="camel"):
    """Thoughts; of redacted ones only the vendor's ciphertext, in base64 once more than the vendor has it."""

    reasoning_text: ReasoningText | None = None
    redacted_content: str | None = None


class CitedText(Private, msgspec.Struct):
    """A piece of text that has citations, or of the source that is cited."""

    text: str | None = None


class Citation(Private, msgspec.Struct, rename="camel"):
    """Where something said comes from."""

    title: str | None = None
    source: str | None = None
    source_content: list[CitedText] | None = None
    location: dict[str, dict[str, Any]] | None = None
    """One key: web, documentChar, documentPage, documentChunk or searchResultLocation, and its numbers."""


class CitationsContent(Private, msgspec.Struct):
    """Text with its citations."""

    content: list[CitedText] | None = None
    citations: list[Citation] | None = None


class ContentBlock(Private, msgspec.Struct, rename="camel"):
    """One block of a message; exactly one member is there, or none that we know."""

    text: str | None = None
    tool_use: ToolUse | None = None
    reasoning_content: ReasoningContent | None = None
    citations_content: CitationsContent | None = None


class Message(Private, msgspec.Struct):
    """What the model said."""

    content: list[ContentBlock]


class Output(Private, msgspec.Struct):
    """Where the message is."""

    message: Message


class Answer(Private, msgspec.Struct, rename="camel"):
    """A whole answer of Converse."""

    output: Output
    stop_reason: str
    usage: TokenUsage | None = None
    service_tier: ServiceTier | None = None
    trace_json: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="trace")
    fields_json: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="additionalModelResponseFields")

    @property
    def trace(self) -> msgspec.Raw | None:
        """What a guardrail or a prompt router has done, where the caller asked to be told."""
        return _told(self.trace_json)

    @property
    def additional_model_response_fields(self) -> msgspec.Raw | None:
        """What of the model's own answer the caller asked for."""
        return _told(self.fields_json)


# ---------------------------------------------------------------------------------------------- stream events


class ToolUseStart(Private, msgspec.Struct, rename="camel"):
    """The head of a tool call."""

    tool_use_id: str
    name: str
    type: str | None = None

    @property
    def is_callers(self) -> bool:
        """Whether the caller is asked to run it."""
        return self.type is None or self.type == "tool_use"


class Start(Private, msgspec.Struct, rename="camel"):
    """What begins: a tool call, or something that we do not know."""

    tool_use: ToolUseStart | None = None


class ContentBlockStart(Private, msgspec.Struct, rename="camel"):
    """A block begins. Bedrock sends this for tool blocks only."""

    content_block_index: int
    start: Start


class ToolUseDelta(Private, msgspec.Struct):
    """A fragment of a tool call's JSON."""

    input: str = ""


class ReasoningDelta(Private, msgspec.Struct, rename="camel"):
    """A fragment of a thought, or its signature, or a redacted thought (see ReasoningContent)."""

    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class Delta(Private, msgspec.Struct, rename="camel"):
    """One fragment; exactly one member is there, or none that we know."""

    text: str | None = None
    tool_use: ToolUseDelta | None = None
    reasoning_content: ReasoningDelta | None = None
    citation: Citation | None = None


class ContentBlockDelta(Private, msgspec.Struct, rename="camel"):
    """A fragment of a block."""

    content_block_index: int
    delta: Delta


class ContentBlockStop(Private, msgspec.Struct, rename="camel"):
    """A block ends."""

    content_block_index: int


class MessageStop(Private, msgspec.Struct, rename="camel"):
    """The message ends; its usage is still to come."""

    stop_reason: str
    fields_json: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="additionalModelResponseFields")

    @property
    def additional_model_response_fields(self) -> msgspec.Raw | None:
        """What of the model's own answer the caller asked for."""
        return _told(self.fields_json)


class Metadata(Private, msgspec.Struct, rename="camel"):
    """The last event."""

    usage: TokenUsage | None = None
    service_tier: ServiceTier | None = None
    trace_json: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="trace")

    @property
    def trace(self) -> msgspec.Raw | None:
        """What a guardrail or a prompt router has done, where the caller asked to be told."""
        return _told(self.trace_json)


ANSWER: Final = msgspec.json.Decoder(Answer)
BLOCK_START: Final = msgspec.json.Decoder(ContentBlockStart)
BLOCK_DELTA: Final = msgspec.json.Decoder(ContentBlockDelta)
BLOCK_STOP: Final = msgspec.json.Decoder(ContentBlockStop)
MESSAGE_STOP: Final = msgspec.json.Decoder(MessageStop)
METADATA: Final = msgspec.json.Decoder(Metadata)
_encode: Final = msgspec.json.Encoder().encode


def garbled(detail: str) -> BadAnswer:
    """A `BadAnswer` to raise: upstream said something that is none of its words."""
    return BadAnswer(Fault(Cause.UPSTREAM_GARBLED, detail=detail))


def read(decoder: "msgspec.json.Decoder[T]", payload: bytes, what: str) -> T:
    """`payload` as the decoder's type. Raises BadAnswer, whose detail never quotes the payload."""
    try:
        return decoder.decode(payload)
    except NOT_JSON as error:
        raise garbled(f"{what}: {describe(error)}") from None


def describe(error: Exception) -> str:
    """What is wrong with some JSON, without a word of its content."""
    if isinstance(error, msgspec.ValidationError):
        # "Expected `int`, got `str` - at `$.usage.inputTokens`"; an invalid value would be quoted.
        text, _, place = str(error).partition(" - at ")
        return f"{text if text.startswith(('Expected', 'Object')) else 'invalid value'} at {place or '`$`'}"
    return "not JSON"


def check_stop(reason: str) -> None:
    """Raise BadAnswer where the model says of its own output that it is malformed."""
    if reason in MALFORMED_STOPS:
        raise BadAnswer(Fault(Cause.MODEL_OUTPUT_MALFORMED, detail=reason))


def any_json(payload: bytes, what: str) -> Any:
    """`payload` as plain Python values. Raises BadAnswer."""
    try:
        return msgspec.json.decode(payload)
    except NOT_JSON as error:
        raise garbled(f"{what}: {describe(error)}") from None


def encoded(payload: Any) -> bytes:
    """A payload's bytes. Raises BadAnswer where upstream has nested something in it too deeply."""
    try:
        return _encode(payload)
    except RecursionError:
        raise garbled("nested too deeply") from None
