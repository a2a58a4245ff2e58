"""A request to Anthropic's Messages: bytes to typed values, for the way to Converse.

The types are the contract. msgspec names the place of the first mistake, and it is told in Anthropic's
notation (`messages.0.content.1.source`), as the `param` of the 400 and in its message: Anthropic's envelope
has no other place for it.

The blocks that only Anthropic's own servers make, or understand, are types too: so that they are refused by
name, or left out where the operator wants it, and not merely unknown.

Values that go to Bedrock as they came (schemas, what tools are called with, what Anthropic doesn't define)
stay raw JSON: a number keeps its spelling and a schema its order. Raw JSON is not checked for UTF-8 by the
decoder, so the body is, whole and first.

Source: anthropic-sdk-python src/anthropic/types/*_param.py.
"""

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

from stargate_core.dialects.bounds import INT32_MAX, MESSAGES_MAX, TOOLS_MAX
from stargate_core.faults import Cause, Refused, refuse
from stargate_core.secret import Private

_Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
_Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Tokens: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=INT32_MAX)]
_Pointer: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Index: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=INT32_MAX)]

# ----------------------------------------------------------------------------------------------------- blocks


class CacheControl(Private, msgspec.Struct):
    """A mark: cache the prompt up to here."""

    type: Literal["ephemeral"] = "ephemeral"
    ttl: Literal["5m", "1h"] | None = None


class _Block(Private, msgspec.Struct, tag_field="type", kw_only=True):
    cache_control: CacheControl | None = None


class CharLocation(Private, msgspec.Struct, tag_field="type", tag="char_location"):
    """Characters of a document."""

    document_index: _Index
    start_char_index: _Index
    end_char_index: _Index
    cited_text: str = ""
    document_title: str | None = None


class PageLocation(Private, msgspec.Struct, tag_field="type", tag="page_location"):
    """Pages of a document."""

    document_index: _Index
    start_page_number: _Index
    end_page_number: _Index
    cited_text: str = ""
    document_title: str | None = None


class ContentBlockLocation(Private, msgspec.Struct, tag_field="type", tag="content_block_location"):
    """Blocks of a document."""

    document_index: _Index
    start_block_index: _Index
    end_block_index: _Index
    cited_text: str = ""
    document_title: str | None = None


class SearchResultLocation(Private, msgspec.Struct, tag_field="type", tag="search_result_location"):
    """Blocks of a search result."""

    search_result_index: _Index
    start_block_index: _Index
    end_block_index: _Index
    cited_text: str = ""
    source: str | None = None
    title: str | None = None


class WebLocation(Private, msgspec.Struct, tag_field="type", tag="web_search_result_location"):
    """A page of the web."""

    url: str
    cited_text: str = ""
    title: str | None = None


Location: TypeAlias = CharLocation | PageLocation | ContentBlockLocation | SearchResultLocation | WebLocation


class TextBlock(_Block, tag="text"):
    """Some text, and where what it says comes from."""

    text: str
    citations: list[Location] | None = None


class Base64Source(Private, msgspec.Struct, tag_field="type", tag="base64"):
    """The thing itself."""

    media_type: str
    data: str


class UrlSource(Private, msgspec.Struct, tag_field="type", tag="url"):
    """Where the thing is."""

    url: str


class FileSource(Private, msgspec.Struct, tag_field="type", tag="file"):
    """A file that was uploaded to Anthropic."""


class TextSource(Private, msgspec.Struct, tag_field="type", tag="text"):
    """A document of plain text."""

    data: str


class ContentSource(Private, msgspec.Struct, tag_field="type", tag="content"):
    """A document of blocks that can be cited one by one."""

    content: "str | list[TextBlock | ImageBlock]"


class ImageBlock(_Block, tag="image"):
    """An image."""

    source: Base64Source | UrlSource | FileSource


class Citations(Private, msgspec.Struct):
    """Whether the model is to say where it has something from."""

    enabled: bool | None = None


class DocumentBlock(_Block, tag="document"):
    """A document."""

    source: Base64Source | TextSource | ContentSource | UrlSource | FileSource
    title: str | None = None
    context: str | None = None
    citations: Citations | None = None


class SearchResultBlock(_Block, tag="search_result"):
    """What a search of the caller's has found."""

    source: str
    title: str
    content: list[TextBlock]
    citations: Citations | None = None


class ThinkingBlock(_Block, tag="thinking"):
    """What the model thought."""

    thinking: str
    signature: str | None = None


class RedactedThinkingBlock(_Block, tag="redacted_thinking"):
    """What the model thought, for its vendor only."""

    data: str


class ToolUseBlock(_Block, tag="tool_use"):
    """A call that the model has made."""

    id: _Name
    name: _Name
    input: Raw


class AnthropicBlock(_Block):
    """A block that Anthropic's own servers make or read, and nobody else."""


class ServerToolUseBlock(AnthropicBlock, tag="server_tool_use"):
    """A tool that Anthropic has run."""


class WebSearchResultBlock(AnthropicBlock, tag="web_search_tool_result"):
    """What Anthropic has found in the web."""


class WebFetchResultBlock(AnthropicBlock, tag="web_fetch_tool_result"):
    """What Anthropic has fetched from the web."""


class AdvisorResultBlock(AnthropicBlock, tag="advisor_tool_result"):
    """What another model of Anthropic's has advised."""


class CodeResultBlock(AnthropicBlock, tag="code_execution_tool_result"):
    """What some code has said that Anthropic has run."""


class BashResultBlock(AnthropicBlock, tag="bash_code_execution_tool_result"):
    """What a command has said that Anthropic has run."""


class EditorResultBlock(AnthropicBlock, tag="text_editor_code_execution_tool_result"):
    """What an editor has done in a container of Anthropic's."""


class ToolSearchResultBlock(AnthropicBlock, tag="tool_search_tool_result"):
    """Which tools Anthropic has found."""


class McpToolUseBlock(AnthropicBlock, tag="mcp_tool_use"):
    """A call that Anthropic has made to a server."""


class McpResultBlock(AnthropicBlock, tag="mcp_tool_result"):
    """What the server has answered."""


class McpListingBlock(AnthropicBlock, tag="mcp_tool_listing"):
    """Which tools the server has."""


class ContainerUploadBlock(AnthropicBlock, tag="container_upload"):
    """A file for a container of Anthropic's."""


class CompactionBlock(AnthropicBlock, tag="compaction"):
    """What Anthropic has made of a conversation that was too long."""


class FallbackBlock(AnthropicBlock, tag="fallback"):
    """Where another model has stepped in."""


class ToolAdditionBlock(AnthropicBlock, tag="tool_addition"):
    """A tool that there is from here on."""


class ToolRemovalBlock(AnthropicBlock, tag="tool_removal"):
    """A tool that there is no longer."""


class ToolReferenceBlock(AnthropicBlock, tag="tool_reference"):
    """A tool that a search has found."""


class BrowserStateBlock(AnthropicBlock, tag="browser_state"):
    """What Anthropic's browser tools show."""


ResultBlock: TypeAlias = (
    TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | ToolReferenceBlock | BrowserStateBlock
)


class ToolResultBlock(_Block, tag="tool_result"):
    """What a tool has answered."""

    tool_use_id: _Name
    content: str | list[ResultBlock] | None = None
    is_error: bool | None = None


Block: TypeAlias = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ToolResultBlock
    | ServerToolUseBlock
    | WebSearchResultBlock
    | WebFetchResultBlock
    | AdvisorResultBlock
    | CodeResultBlock
    | BashResultBlock
    | EditorResultBlock
    | ToolSearchResultBlock
    | McpToolUseBlock
    | McpResultBlock
    | McpListingBlock
    | ContainerUploadBlock
    | CompactionBlock
    | FallbackBlock
    | ToolAdditionBlock
    | ToolRemovalBlock
)


class Message(Private, msgspec.Struct):
    """What somebody says."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


# ------------------------------------------------------------------------------------------------ the request


class Tool(Private, msgspec.Struct):
    """A tool: the caller's, where its type is `custom` or none, else one that Anthropic knows."""

    name: str = ""
    type: str | None = None
    description: str | None = None
    input_schema: Raw | UnsetType = UNSET
    strict: bool | None = None
    cache_control: CacheControl | None = None


class ToolChoice(Private, msgspec.Struct):
    """How the model is to use the tools."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Private, msgspec.Struct):
    """How the model is to think."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: _Tokens | None = None


Effort: TypeAlias = Literal["low", "medium", "high", "xhigh", "max"]


class JsonFormat(Private, msgspec.Struct):
    """JSON that the answer must be."""

    type: Literal["json_schema"]
    schema: Raw


class OutputConfig(Private, msgspec.Struct):
    """What the answer is to be like."""

    effort: Effort | None = None
    format: JsonFormat | None = None


class Metadata(Private, msgspec.Struct):
    """About the request."""

    user_id: str | None = None


class PerformanceConfig(Private, msgspec.Struct):
    """How fast the model is to be, as Converse has it."""

    latency: Literal["standard", "optimized"] = "standard"


class MessagesRequest(Private, msgspec.Struct):
    """A request, as far as Converse has a place for it."""

    messages: Annotated[list[Message], msgspec.Meta(min_length=1, max_length=MESSAGES_MAX)]
    max_tokens: _Tokens | None = None
    system: str | list[TextBlock] | None = None
    temperature: _Share | None = None
    top_p: _Share | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0, le=INT32_MAX)] | None = None
    stop_sequences: list[str] | None = None
    tools: Annotated[list[Tool], msgspec.Meta(max_length=TOOLS_MAX)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: JsonFormat | None = None
    cache_control: CacheControl | None = None
    metadata: Metadata | None = None
    user_profile_id: str | None = None
    service_tier: (
        Literal["auto", "standard_only", "standard", "default", "priority", "flex", "reserved"] | None
    ) = None
    performance: PerformanceConfig | None = msgspec.field(default=None, name="performanceConfig")
    request_metadata: dict[str, str] | None = msgspec.field(default=None, name="requestMetadata")
    response_field_paths: list[_Pointer] | None = msgspec.field(
        default=None, name="additionalModelResponseFieldPaths"
    )


_REQUEST: Final = msgspec.json.Decoder(MessagesRequest)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, Raw])
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")
_NUMBERED: Final = re.compile(r"\[(\d+)\]")


def decode(body: bytes) -> tuple[MessagesRequest, dict[str, Raw]]:
    """The request, and all its members as raw JSON. Raises Refused."""
    try:
        if not body.isascii():
            body.decode()
        return _REQUEST.decode(body), _MEMBERS.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from None


def lacking(param: str, reason: str, *, drop: bool) -> None:
    """Refuse what the model has no place for; nothing where the operator lets it be dropped."""
    if not drop:
        raise refuse(Cause.BODY_INVALID, f"{param}: {reason}", param=param)


def value_of(raw: Raw) -> Any:
    """Raw JSON as plain values; None, too, where it is nested beyond all measure."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


def _malformed(error: Exception) -> Refused:
    """A body that is no JSON, or no UTF-8, or nested beyond all measure."""
    if isinstance(error, UnicodeDecodeError):
        return refuse(Cause.BODY_MALFORMED, f"The request body is not UTF-8 (byte {error.start})")
    if isinstance(error, RecursionError):
        return refuse(Cause.BODY_MALFORMED, "The request body is nested too deeply")
    return refuse(Cause.BODY_MALFORMED, f"The request body is not valid JSON: {error}")


def _invalid(error: msgspec.ValidationError) -> Refused:
    """A body of the wrong shape: the message and `param` name the place, in Anthropic's notation."""
    text, _, place = str(error).partition(" - at ")
    param = _NUMBERED.sub(r".\1", place.strip("`").removeprefix("$")).removeprefix(".")
    missing = _MISSING.match(text)
    if missing is not None:
        param = f"{param}.{missing[1]}" if param else missing[1]
        text = "Field required"
    return refuse(Cause.BODY_INVALID, f"{param}: {text}" if param else text, param=param or None)
