"""What Claude takes: the body of the Messages API, in its two forms.

In InvokeModel Bedrock's version and beta flags stand in the body, while `model` and `stream` must not; where
AWS serves the vendor's own API it is the other way round. Below the first level both are the same, but for
what only the vendor's own service can do: fetch a URL, read an uploaded file, search the web.

Refusals are in Anthropic's words (pydantic's, mostly), as Bedrock passes them on. A thought must bear a
signature that the simulator has made, and one of the last turn must be as it was.

Sources: anthropic-sdk-python, `types/message_create_params.py` and `lib/bedrock`; recorded answers
(tests/vectors/recorded-bedrock); the beta flags that envoyproxy/ai-gateway has probed live.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import msgspec

from stargate.simulator import thoughts
from stargate.simulator.errors import Refusal, invalid
from stargate.simulator.json_tree import as_array, as_object
from stargate.simulator.shapes import Object, Strict, Typed, misfit

Count = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Cache = Object | None

BETAS: Final = frozenset(
    {
        *("computer-use-2024-10-22", "computer-use-2025-01-24", "context-1m-2025-08-07"),
        *("context-management-2025-06-27", "dev-full-thinking-2025-05-14"),
        *("fine-grained-tool-streaming-2025-05-14", "interleaved-thinking-2025-05-14"),
        *("mcp-client-2025-04-04", "mcp-client-2025-11-20", "model-context-window-exceeded-2025-08-26"),
        *("output-128k-2025-02-19", "pdfs-2024-09-25", "search-results-2025-06-09"),
        *("token-counting-2024-11-01", "token-efficient-tools-2025-02-19", "tool-search-tool-2025-10-19"),
        *("web-search-2025-03-05",),
    }
)
"""The beta flags that Bedrock knows: one other refuses the whole request."""


class Message(Strict):
    """A message; its blocks are looked at one by one."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Object]


class Text(Typed, tag="text"):
    """A text."""

    text: str
    cache_control: Cache = None
    citations: list[Object] | None = None


class Image(Typed, tag="image"):
    """An image."""

    source: Object
    cache_control: Cache = None
    transformations: Object | None = None


class Document(Typed, tag="document"):
    """A document."""

    source: Object
    cache_control: Cache = None
    citations: Object | None = None
    context: str | None = None
    title: str | None = None


class SearchResult(Typed, tag="search_result"):
    """What the application has found."""

    content: list[Text]
    source: str
    title: str
    cache_control: Cache = None
    citations: Object | None = None


class Thinking(Typed, tag="thinking"):
    """A thought, signed."""

    thinking: str
    signature: str


class RedactedThinking(Typed, tag="redacted_thinking"):
    """A thought that is kept from us."""

    data: str


class ToolUse(Typed, tag="tool_use"):
    """A tool's use."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]+$")]
    input: Object
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    cache_control: Cache = None
    caller: Object | None = None
    toolset_name: str | None = None


class ToolResult(Typed, tag="tool_result"):
    """A tool's answer."""

    tool_use_id: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]+$")]
    cache_control: Cache = None
    content: str | list[Object] | None = None
    is_error: bool | None = None
    toolset_name: str | None = None


class Tool(Strict):
    """A tool of the application's."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
    input_schema: Object
    type: Literal["custom"] | None = None
    description: str | None = None
    cache_control: Cache = None
    allowed_callers: list[str] | None = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None
    input_examples: list[Object] | None = None
    strict: bool | None = None


class Auto(Typed, tag="auto"):
    """A tool may be used."""

    disable_parallel_tool_use: bool | None = None


class AnyTool(Typed, tag="any"):
    """Some tool must be."""

    disable_parallel_tool_use: bool | None = None


class OneTool(Typed, tag="tool"):
    """This one must be."""

    name: str
    disable_parallel_tool_use: bool | None = None


class NoTool(Typed, tag="none"):
    """None may be."""


class Enabled(Typed, tag="enabled"):
    """Thinking within a budget."""

    budget_tokens: Annotated[int, msgspec.Meta(ge=1024)]
    display: Literal["summarized", "omitted"] | None = None


class Adaptive(Typed, tag="adaptive"):
    """Thinking at the model's discretion."""

    display: Literal["summarized", "omitted"] | None = None


class BetweenTools(Typed, tag="between_tools"):
    """Thinking between the uses of tools."""


class Disabled(Typed, tag="disabled"):
    """No thinking."""


class Common(Strict):
    """What both forms have."""

    messages: list[Message]
    max_tokens: Count
    system: str | list[Text] | None = None
    temperature: Share | None = None
    top_p: Share | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    stop_sequences: list[str] | None = None
    tools: list[Object] | None = None
    tool_choice: Auto | AnyTool | OneTool | NoTool | None = None
    thinking: Enabled | Adaptive | BetweenTools | Disabled | None = None
    metadata: Object | None = None
    output_config: Object | None = None
    output_format: Object | None = None
    context_management: Object | None = None
    cache_control: Cache = None
    user_profile_id: str | None = None
    guardrail_config: Object | None = msgspec.field(default=None, name="amazon-bedrock-guardrailConfig")


class InvokeBody(Common, kw_only=True):
    """The body in InvokeModel."""

    anthropic_version: Literal["bedrock-2023-05-31", "2026-10-21"]
    """Bedrock's own; and the one that anthropic-sdk-python 2's `AnthropicBedrock` puts into the body."""
    anthropic_beta: list[str] | None = None


class ApiBody(Common, kw_only=True):
    """The body where AWS serves the vendor's own API."""

    model: str
    stream: bool | None = None
    container: Any = None
    diagnostics: Object | None = None
    inference_geo: str | None = None
    mcp_servers: list[Object] | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    speed: Literal["fast", "standard"] | None = None
    workspace_id: str | None = None


class CountBody(Strict):
    """The body of that API's count of tokens."""

    messages: list[Message]
    model: str
    system: str | list[Text] | None = None
    tools: list[Object] | None = None
    tool_choice: Auto | AnyTool | OneTool | NoTool | None = None
    thinking: Enabled | Adaptive | BetweenTools | Disabled | None = None
    output_config: Object | None = None
    output_format: Object | None = None
    context_management: Object | None = None
    mcp_servers: list[Object] | None = None
    cache_control: Cache = None
    speed: Literal["fast", "standard"] | None = None
    user_profile_id: str | None = None
    workspace_id: str | None = None


_BLOCKS: Final[Mapping[str, type[Typed]]] = MappingProxyType(
    {
        "text": Text,
        "image": Image,
        "document": Document,
        "search_result": SearchResult,
        "thinking": Thinking,
        "redacted_thinking": RedactedThinking,
        "tool_use": ToolUse,
        "tool_result": ToolResult,
    }
)
_SERVERS: Final = (
    *("server_tool_use", "web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result"),
    *("bash_code_execution_tool_result", "text_editor_code_execution_tool_result", "container_upload"),
    *("tool_search_tool_result", "mcp_tool_use", "mcp_tool_result", "compaction"),
)
"""Blocks of the vendor's own tools, whose members are left to the vendor."""
_HOSTED_TOOLS: Final = ("bash_", "text_editor_", "computer_", "memory_", "tool_search_tool_")
"""Tools of the vendor's that run at the caller's, which Bedrock knows too."""


def check(body: Mapping[str, Any], form: type[Strict]) -> None:
    """Hold a body against one of the forms. Raises Refusal."""
    _check_first_level(body, form)
    fetching = form is not InvokeBody
    for flag in as_array(body.get("anthropic_beta")):
        if flag not in BETAS:
            raise invalid("invalid beta flag")
    _check_messages(body["messages"], fetching=fetching)
    _check_tools(as_array(body.get("tools")), as_object(body.get("tool_choice")), fetching=fetching)
    thinking = as_object(body.get("thinking"))
    if thinking.get("type") == "enabled" and thinking["budget_tokens"] >= body.get("max_tokens", 2**63):
        raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_first_level(body: Mapping[str, Any], form: type[Strict]) -> None:
    """All that is missing and all that is too much at once, as pydantic tells them; then the types."""
    fields = msgspec.structs.fields(form)
    problems = [
        f"{field.name}: Field required" for field in fields if field.required and field.name not in body
    ]
    known = {field.encode_name for field in fields}
    problems += [f"{name}: Extra inputs are not permitted" for name in body if name not in known]
    if problems:
        raise invalid(", ".join(problems))
    _conform(body, form)


def _conform(value: object, kind: Any, *before: str | int) -> None:
    found = misfit(value, kind, *before)
    if found is None:
        return
    match found.what, found.path:
        case "missing", _:
            raise invalid(f"{found.dotted}: Field required")
        case "unknown", _:
            raise invalid(f"{found.dotted}: Extra inputs are not permitted")
        case _, ("max_tokens",):
            raise invalid("max_tokens: Input should be greater than or equal to 1")
        case _, ("thinking", "budget_tokens"):
            raise invalid("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        case _, ("anthropic_version",):
            raise invalid("anthropic_version: Input should be 'bedrock-2023-05-31'")
        case _:
            raise invalid(f"{found.dotted}: Input should be valid: {found.problem}")


def _check_messages(messages: Sequence[Mapping[str, Any]], *, fetching: bool) -> None:
    if not messages:
        raise invalid("messages: at least one message is required")
    if messages[0]["role"] != "user":
        raise invalid('messages: first message must use the "user" role')
    last = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    for index, message in enumerate(messages):
        for at, block in enumerate(blocks_of(message)):
            where = f"messages.{index}.content.{at}"
            _check_block(block, where, fetching=fetching)
            check_thought(block, where, latest=index == last)
    _check_tool_turns(messages)


def blocks_of(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A message's blocks; a bare text is one."""
    content = message["content"]
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [as_object(block) for block in as_array(content)]


def _check_block(block: Mapping[str, Any], where: str, *, fetching: bool) -> None:
    if "type" not in block:
        raise invalid(f"{where}.type: Field required")
    kind = _BLOCKS.get(block["type"]) if isinstance(block["type"], str) else None
    if kind is not None:
        _conform(block, kind, *where.split("."), *((block["type"],) if block["type"] != "text" else ()))
    elif block["type"] not in _SERVERS:
        raise _unexpected(where, block["type"], (*_BLOCKS, *_SERVERS))
    match block:
        case {"type": "text", "text": text} if not text.strip():
            raise invalid("messages: text content blocks must contain non-whitespace text")
        case {"type": "image" | "document" as name, "source": source}:
            kinds = ("base64",) if name == "image" else ("base64", "content", "text")
            if source.get("type") not in kinds and not (fetching and source.get("type") in ("url", "file")):
                raise _unexpected(f"{where}.{name}.source", source.get("type"), kinds)
        case {"type": "tool_result", "content": content}:
            for at, part in enumerate(as_array(content)):
                if as_object(part).get("type") in ("image", "document", "search_result"):
                    _check_block(as_object(part), f"{where}.tool_result.content.{at}", fetching=fetching)
        case _:
            pass


def _unexpected(where: str, tag: object, expected: Sequence[str]) -> Refusal:
    tags = ", ".join(f"'{name}'" for name in expected)
    return invalid(
        f"{where}: Input tag '{tag}' found using 'type' does not match any of the expected tags: {tags}"
    )


def check_thought(block: Mapping[str, Any], where: str, *, latest: bool) -> None:
    """Whether a thought may be taken back; `latest`: it is of the last turn. Raises Refusal."""
    match block:
        case {"type": "thinking", "signature": signature, "thinking": text}:
            if signature is None:
                raise invalid(f"{where}.thinking.signature: Field required")
            if not thoughts.is_ours(signature):
                raise invalid(f"{where}: Invalid `signature` in `thinking` block")
            if latest and not thoughts.belongs_to(signature, text):
                raise invalid(
                    f"{where}: `thinking` or `redacted_thinking` blocks in the latest assistant message "
                    "cannot be modified. These blocks must remain as they were in the original response."
                )
        case {"type": "redacted_thinking", "data": data} if not thoughts.is_ours(data):
            raise invalid(f"{where}: Invalid `data` in `redacted_thinking` block")
        case _:
            pass


def _check_tool_turns(messages: Sequence[Mapping[str, Any]]) -> None:
    asked: list[str] = []
    for index, message in enumerate(messages):
        blocks = blocks_of(message)
        answered = [block.get("tool_use_id", "") for block in blocks if block.get("type") == "tool_result"]
        missing = [use for use in asked if use not in answered]
        if missing:
            raise invalid(
                f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately "
                f"after: {', '.join(missing)}. Each `tool_use` block must have a corresponding "
                "`tool_result` block in the next message."
            )
        for result in answered:
            if result not in asked:
                raise invalid(
                    f"messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{result}. Each `tool_result` block must have a corresponding `tool_use` block in the "
                    "previous message."
                )
        asked = [block.get("id", "") for block in blocks if block.get("type") == "tool_use"]


def _check_tools(tools: Sequence[Any], choice: Mapping[str, Any], *, fetching: bool) -> None:
    names: list[object] = []
    for index, tool in enumerate(map(as_object, tools)):
        kind = tool.get("type") or "custom"
        if kind == "custom":
            _conform(tool, Tool, "tools", index)
        elif not fetching and not str(kind).startswith(_HOSTED_TOOLS):
            raise _unexpected(f"tools.{index}", kind, ("bash_20250124", "custom", "text_editor_20250124"))
        names.append(tool.get("name"))
    if len(set(map(str, names))) < len(names):
        raise invalid("tools: Tool names must be unique.")
    match choice:
        case {"type": "tool", "name": name} if name not in names:
            raise invalid(f"tool_choice.tool: Tool '{name}' not found in provided tools")
        case _:
            pass
