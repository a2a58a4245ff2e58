"""A request to OpenAI's chat completions: bytes to typed values.

The types are the contract with Converse. msgspec names the place of the first mistake
(`$.messages[0].content`), and that place becomes the `param` of the 400, in OpenAI's own notation. Only what
reaches Converse is a field here; the fate of every other parameter stands in `openai_chat_parameters`.

Most requests name nothing but these fields, so they are decoded once, strictly; the first unknown name
sends the body through the slow way, which sorts the rest into ignored, refused and passed on. What is
refused is only noted: whether it counts is known with the target, in `compose`.

A body that Converse could not carry may be good for OpenAI's own API, which a target may have: `policy` reads
no more than must be known before.

Values that go to Bedrock as they came (schemas, and what OpenAI doesn't define) stay raw JSON: a number
keeps its spelling and a schema its order. Raw JSON is not checked for UTF-8 by the decoder, so the body
is, whole and first.

Source: openai-python src/openai/types/chat/*_param.py.
"""

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

from stargate_core.dialects.bounds import INT32_MAX, MESSAGES_MAX, TOOLS_MAX
from stargate_core.dialects.guardrails import Guardrail
from stargate_core.dialects.openai_chat_parameters import PARAMETERS
from stargate_core.dialects.parameters import Fate
from stargate_core.faults import Cause, Refused, refuse
from stargate_core.secret import Private

# ---------------------------------------------------------------------------------------------- message parts


class CacheControl(Private, msgspec.Struct):
    """Anthropic's mark on a part, which many clients of this API send: cache the prompt up to here."""

    type: str = "ephemeral"
    ttl: str | None = None


class _Part(Private, msgspec.Struct, tag_field="type"):
    cache_control: CacheControl | None = None
    prompt_cache_breakpoint: CacheControl | None = None
    """OpenAI's own mark for the same; its lifetimes (30m, 12h) are not Bedrock's, and not passed on."""


class TextPart(_Part, tag="text", kw_only=True):
    """Some text."""

    text: str


class ImageUrl(Private, msgspec.Struct):
    """Where an image is."""

    url: str


class ImagePart(_Part, tag="image_url", kw_only=True):
    """An image."""

    image_url: ImageUrl


class InputAudio(Private, msgspec.Struct):
    """Sound, in base64."""

    data: str
    format: Literal["wav", "mp3"]


class AudioPart(_Part, tag="input_audio", kw_only=True):
    """Sound."""

    input_audio: InputAudio


class File(Private, msgspec.Struct):
    """A document, as data URL or base64, or where it is: OpenAI's Responses name a `file_url`, other services
    take a URL in one of the older fields.
    """

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None
    file_url: str | None = None

    @property
    def url(self) -> str | None:
        """The http(s) URL where it is; None: it is here, or nowhere."""
        for text in (self.file_url, self.file_data, self.file_id):
            if text is not None and is_url(text):
                return text
        return None


class FilePart(_Part, tag="file", kw_only=True):
    """A document."""

    file: File


class RefusalPart(_Part, tag="refusal", kw_only=True):
    """What the assistant said instead of an answer."""

    refusal: str


UserPart: TypeAlias = TextPart | ImagePart | AudioPart | FilePart
ToolPart: TypeAlias = TextPart | ImagePart
AssistantPart: TypeAlias = TextPart | RefusalPart

# --------------------------------------------------------------------------------------------------- messages


class _Message(Private, msgspec.Struct, tag_field="role", kw_only=True):
    cache_control: CacheControl | None = None
    """The mark of the whole message, for contents that are no list of parts."""


class SystemMessage(_Message, tag="system"):
    """Instructions."""

    content: str | list[TextPart]


class DeveloperMessage(_Message, tag="developer"):
    """Instructions, by their newer name."""

    content: str | list[TextPart]


class UserMessage(_Message, tag="user"):
    """What the user says."""

    content: str | list[UserPart]


class CalledFunction(Private, msgspec.Struct):
    """A function and what it is called with: JSON, as a string."""

    name: str
    arguments: str = ""


class FunctionCall(Private, msgspec.Struct, tag_field="type", tag="function"):
    """A call that the assistant has made."""

    id: str
    function: CalledFunction


class CustomCall(Private, msgspec.Struct, tag_field="type", tag="custom"):
    """A call with free text instead of JSON, for which Converse has no place."""

    id: str


class ThinkingBlock(Private, msgspec.Struct, tag_field="type", tag="thinking"):
    """A thought, and the signature under it, without which it cannot be given back to the model."""

    thinking: str = ""
    signature: str | None = None


class RedactedThinking(Private, msgspec.Struct, tag_field="type", tag="redacted_thinking"):
    """A thought that only its vendor can read."""

    data: str


class AssistantMessage(_Message, tag="assistant"):
    """What the assistant has said.

    `thinking_blocks` is how many clients keep signed thoughts (the convention is LiteLLM's). A bare
    `reasoning_content` is left out on purpose: Claude refuses thoughts without their signature, and DeepSeek
    refuses thoughts in the history.
    """

    thinking_blocks: list[ThinkingBlock | RedactedThinking] | None = None
    content: str | list[AssistantPart] | None = None
    refusal: str | None = None
    tool_calls: list[FunctionCall | CustomCall] | None = None
    function_call: Any = None
    audio: Any = None


class ToolMessage(_Message, tag="tool"):
    """What a tool has answered."""

    content: str | list[ToolPart]
    tool_call_id: str


class FunctionMessage(Private, msgspec.Struct, tag_field="role", tag="function"):
    """What a function has answered, before there were tools."""


ChatMessage: TypeAlias = (
    SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage
)

# ------------------------------------------------------------------------------------------------------ tools


class Function(Private, msgspec.Struct):
    """A function the model may call."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    description: str | None = None
    parameters: Raw | UnsetType = UNSET
    strict: bool | None = None
    cache_control: CacheControl | None = None
    """The mark of its tool; clients write it in either place."""


class FunctionTool(Private, msgspec.Struct, tag_field="type", tag="function"):
    """A tool that is a function."""

    function: Function
    cache_control: CacheControl | None = None

    @property
    def mark(self) -> CacheControl | None:
        """Whether, and how long, the prompt is to be cached up to here."""
        return self.cache_control or self.function.cache_control


class CustomTool(Private, msgspec.Struct, tag_field="type", tag="custom"):
    """A tool that takes free text."""


class FunctionName(Private, msgspec.Struct):
    """A function, by name."""

    name: str


class NamedTool(Private, msgspec.Struct, tag_field="type", tag="function"):
    """This tool and no other."""

    function: FunctionName


class NamedCustomTool(Private, msgspec.Struct, tag_field="type", tag="custom"):
    """This custom tool and no other."""


class AllowedTool(Private, msgspec.Struct):
    """One of the tools that may be called."""

    function: FunctionName


class AllowedTools(Private, msgspec.Struct):
    """The tools that may be called."""

    mode: Literal["auto", "required"]
    tools: list[AllowedTool]


class AllowedToolsChoice(Private, msgspec.Struct, tag_field="type", tag="allowed_tools"):
    """Some of the tools."""

    allowed_tools: AllowedTools


ToolChoice: TypeAlias = Literal["none", "auto", "required"] | NamedTool | NamedCustomTool | AllowedToolsChoice

# ------------------------------------------------------------------------------------------------ the request


class JsonSchema(Private, msgspec.Struct):
    """A schema that the answer must follow."""

    name: str
    schema: Raw | UnsetType = UNSET
    description: str | None = None


class TextFormat(Private, msgspec.Struct, tag_field="type", tag="text"):
    """Any text."""


class JsonObjectFormat(Private, msgspec.Struct, tag_field="type", tag="json_object"):
    """Any JSON object."""


class JsonSchemaFormat(Private, msgspec.Struct, tag_field="type", tag="json_schema"):
    """JSON of this schema."""

    json_schema: JsonSchema


class StreamOptions(Private, msgspec.Struct):
    """How a stream is to be."""

    include_usage: bool | None = None


class PerformanceConfig(Private, msgspec.Struct):
    """How fast the model is to be, as Converse has it."""

    latency: Literal["standard", "optimized"] = "standard"


_Pointer: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
_Tokens: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=INT32_MAX)]


class ChatRequest(Private, msgspec.Struct, forbid_unknown_fields=True):
    """A request, as far as Converse has a place for it."""

    messages: Annotated[list[ChatMessage], msgspec.Meta(min_length=1, max_length=MESSAGES_MAX)]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: _Tokens | None = None
    max_completion_tokens: _Tokens | None = None
    temperature: float | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    tools: Annotated[list[FunctionTool | CustomTool], msgspec.Meta(max_length=TOOLS_MAX)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    reasoning_effort: Effort | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, str] | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    guardrail: Guardrail | None = msgspec.field(default=None, name="guardrailConfig")
    performance: PerformanceConfig | None = msgspec.field(default=None, name="performanceConfig")
    request_metadata: dict[str, str] | None = msgspec.field(default=None, name="requestMetadata")
    response_field_paths: Annotated[list[_Pointer], msgspec.Meta(max_length=10)] | None = msgspec.field(
        default=None, name="additionalModelResponseFieldPaths"
    )

    @property
    def output_tokens_max(self) -> int | None:
        """The most tokens the caller lets the model produce."""
        return self.max_completion_tokens or self.max_tokens


class _OpenChatRequest(ChatRequest, forbid_unknown_fields=False):
    pass


class _Policy(Private, msgspec.Struct):
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: _Tokens | None = None
    max_completion_tokens: _Tokens | None = None
    temperature: float | None = None
    guardrail: Guardrail | None = msgspec.field(default=None, name="guardrailConfig")


_POLICY: Final = msgspec.json.Decoder(_Policy)
_POLICY_FIELDS: Final = _Policy.__struct_fields__
_STRICT: Final = msgspec.json.Decoder(ChatRequest)
_OPEN: Final = msgspec.json.Decoder(_OpenChatRequest)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, Raw])
_FIELDS: Final = frozenset(ChatRequest.__struct_encode_fields__)

_UNKNOWN: Final = "Object contains unknown field"
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")


def decode(body: bytes) -> tuple[ChatRequest, dict[str, Raw], tuple[str, ...]]:
    """The request; the members that OpenAI doesn't define, as raw JSON; and the names of those that ask for
    what Converse cannot give. Raises Refused.
    """
    try:
        if not body.isascii():
            body.decode()
        return _STRICT.decode(body), {}, ()
    except msgspec.ValidationError as error:
        if not str(error).startswith(_UNKNOWN):
            raise invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error) from None
    try:
        request = _OPEN.decode(body)
        members = _MEMBERS.decode(body)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error) from None
    return request, *_sorted_out(members)


def policy(body: bytes) -> ChatRequest:
    """What must be known of a body whose target may not be Converse: a request without messages. Raises
    Refused.
    """
    try:
        told = _POLICY.decode(body)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error) from None
    return ChatRequest([], **{name: getattr(told, name) for name in _POLICY_FIELDS})


def _sorted_out(members: dict[str, Raw]) -> tuple[dict[str, Raw], tuple[str, ...]]:
    """The members that go on to the model, and the names of those that ask for what cannot be given."""
    extras: dict[str, Raw] = {}
    refused: list[str] = []
    for name, raw in members.items():
        if name in _FIELDS:
            continue
        parameter = PARAMETERS.get(name)
        if parameter is None:
            extras[name] = raw
        elif parameter.fate is Fate.REFUSED and not _asks_for_nothing(raw, parameter.harmless):
            refused.append(name)
    return extras, tuple(refused)


def _asks_for_nothing(raw: Raw, harmless: tuple[Any, ...]) -> bool:
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return value is None or any(value == one and type(value) in (type(one), float) for one in harmless)


def is_url(text: str) -> bool:
    """Whether a text is an http(s) URL."""
    return text[:8].lower().startswith(("http://", "https://"))


def malformed(error: Exception) -> Refused:
    """A body that is no JSON, or no UTF-8, or nested beyond all measure."""
    if isinstance(error, UnicodeDecodeError):
        return refuse(Cause.BODY_MALFORMED, f"The request's body is not UTF-8 (byte {error.start})")
    if isinstance(error, RecursionError):
        return refuse(Cause.BODY_MALFORMED, "The request's body is nested too deeply")
    return refuse(Cause.BODY_MALFORMED, f"The request's body is not valid JSON: {error}")


def invalid(error: msgspec.ValidationError) -> Refused:
    """A body of the wrong shape: `param` names the place, in OpenAI's notation."""
    text, _, place = str(error).partition(" - at ")
    param = place.strip("`").removeprefix("$").removeprefix(".")
    missing = _MISSING.match(text)
    if missing is not None:
        param = f"{param}.{missing[1]}" if param else missing[1]
        return refuse(Cause.BODY_INVALID, f"{param} is missing", param=param)
    said = text[:1].lower() + text[1:]
    return refuse(Cause.BODY_INVALID, f"{param}: {said}" if param else text, param=param or None)
