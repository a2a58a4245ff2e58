"""A request to OpenAI's responses: bytes to typed values.

The types are the contract with Converse, and msgspec names the place of the first mistake, as in a chat
(`openai_chat_request`). What has too many kinds for one type is looked at twice, first for its kind: an input
item may leave its `type` out, and a tool or an item that only OpenAI can serve is to be named in the refusal,
whatever else is in it.

Parameters that are refused are only noted: whether that counts is known with the target. And a body that
Converse could not carry at all may be good for OpenAI's own API, which a target may have: `policy` reads no
more than must be known before.

Source: openai-python src/openai/types/responses/*_param.py.
"""

from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from stargate_core.dialects.bounds import INT32_MAX, MESSAGES_MAX, TOOLS_MAX
from stargate_core.dialects.guardrails import Guardrail
from stargate_core.dialects.openai_chat_request import (
    CacheControl,
    Effort,
    InputAudio,
    PerformanceConfig,
    invalid,
    malformed,
)
from stargate_core.dialects.openai_responses_parameters import PARAMETERS
from stargate_core.dialects.parameters import Fate
from stargate_core.faults import Cause, refuse
from stargate_core.secret import Private

T = TypeVar("T")

# ---------------------------------------------------------------------------------------------- message parts


class _Part(Private, msgspec.Struct, tag_field="type"):
    cache_control: CacheControl | None = None
    prompt_cache_breakpoint: CacheControl | None = None


class InputText(_Part, tag="input_text", kw_only=True):
    """Some text."""

    text: str


class OutputText(_Part, tag="output_text", kw_only=True):
    """What the assistant has said; its annotations are for readers, not for the model."""

    text: str


class Refusal(_Part, tag="refusal", kw_only=True):
    """What the assistant said instead of an answer."""

    refusal: str


class InputImage(_Part, tag="input_image", kw_only=True):
    """An image."""

    image_url: str | None = None
    file_id: str | None = None


class InputFile(_Part, tag="input_file", kw_only=True):
    """A document."""

    file_data: str | None = None
    file_url: str | None = None
    file_id: str | None = None
    filename: str | None = None


class Sound(_Part, tag="input_audio", kw_only=True):
    """Sound."""

    input_audio: InputAudio


Content: TypeAlias = InputText | OutputText | Refusal | InputImage | InputFile | Sound

# ------------------------------------------------------------------------------------------------------ items


class Message(Private, msgspec.Struct):
    """Something said, by whomever."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Content]


class FunctionCall(Private, msgspec.Struct):
    """A call that the assistant has made."""

    call_id: str
    name: str
    arguments: str = ""


class FunctionCallOutput(Private, msgspec.Struct):
    """What a function has answered."""

    call_id: str
    output: str | list[InputText | OutputText | InputImage | InputFile]


class SummaryText(Private, msgspec.Struct):
    """A piece of a thought."""

    text: str = ""


class Reasoning(Private, msgspec.Struct):
    """A thought of the assistant's."""

    summary: list[SummaryText] = msgspec.field(default_factory=list[SummaryText])
    encrypted_content: str | None = None


class Unservable(Private, msgspec.Struct):
    """Something that only OpenAI can serve."""

    kind: str
    """Its `type`."""


class ItemReference(Private, msgspec.Struct):
    """An item of an earlier answer, which stands here."""

    SHOWN: ClassVar[tuple[str, ...]] = ("id",)

    id: str


Item: TypeAlias = Message | FunctionCall | FunctionCallOutput | Reasoning | ItemReference | Unservable

# ------------------------------------------------------------------------------------------------------ tools


class FunctionTool(Private, msgspec.Struct):
    """A function that the model may call."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    description: str | None = None
    parameters: Raw | UnsetType = UNSET
    strict: bool | None = None
    cache_control: CacheControl | None = None


Tool: TypeAlias = FunctionTool | Unservable


class NamedFunction(Private, msgspec.Struct):
    """This function and no other."""

    name: str


class AllowedFunctions(Private, msgspec.Struct):
    """Some of the tools."""

    mode: Literal["auto", "required"]
    tools: list["AllowedTool"]


class AllowedTool(Private, msgspec.Struct):
    """One of the tools that may be called."""

    type: str
    name: str = ""


ToolChoice: TypeAlias = Literal["none", "auto", "required"] | NamedFunction | AllowedFunctions | Unservable

# ------------------------------------------------------------------------------------------------ the request


class PlainText(Private, msgspec.Struct, tag_field="type", tag="text"):
    """Any text."""


class JsonObject(Private, msgspec.Struct, tag_field="type", tag="json_object"):
    """Any JSON object."""


class JsonSchema(Private, msgspec.Struct, tag_field="type", tag="json_schema"):
    """JSON of this schema."""

    name: str
    schema: Raw | UnsetType = UNSET
    description: str | None = None
    strict: bool | None = None


class TextConfig(Private, msgspec.Struct):
    """How the text is to be."""

    format: PlainText | JsonObject | JsonSchema | None = None


class ReasoningConfig(Private, msgspec.Struct):
    """How the model is to think."""

    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    mode: str | None = None


class PromptCacheOptions(Private, msgspec.Struct):
    """How prompts are cached."""

    prewarm: bool | None = None


_Tokens: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=INT32_MAX)]
_Pointer: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class ResponsesRequest(Private, msgspec.Struct):
    """A request, as far as Converse has a place for it, or its answer says it again."""

    input: str | Annotated[list[Raw], msgspec.Meta(max_length=MESSAGES_MAX)] | UnsetType = UNSET
    model: str | None = None
    stream: bool | None = None
    instructions: str | None = None
    max_output_tokens: _Tokens | None = None
    temperature: float | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    tools: Annotated[list[Raw], msgspec.Meta(max_length=TOOLS_MAX)] | None = None
    tool_choice: Raw | UnsetType = UNSET
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: ReasoningConfig | None = None
    include: list[str] | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    truncation: Literal["auto", "disabled"] | None = None
    max_tool_calls: int | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    cache_route: str | None = msgspec.field(default=None, name="prompt_cache_key")
    prompt_cache_options: PromptCacheOptions | None = None
    guardrail: Guardrail | None = msgspec.field(default=None, name="guardrailConfig")
    performance: PerformanceConfig | None = msgspec.field(default=None, name="performanceConfig")
    request_metadata: dict[str, str] | None = msgspec.field(default=None, name="requestMetadata")
    response_field_paths: Annotated[list[_Pointer], msgspec.Meta(max_length=10)] | None = msgspec.field(
        default=None, name="additionalModelResponseFieldPaths"
    )


class Policy(Private, msgspec.Struct):
    """What must be known of every request, whatever carries it."""

    model: str | None = None
    stream: bool | None = None
    max_output_tokens: _Tokens | None = None
    temperature: float | None = None
    guardrail: Guardrail | None = msgspec.field(default=None, name="guardrailConfig")


class Decoded(Private, msgspec.Struct, frozen=True):
    """A request, whole."""

    request: ResponsesRequest
    items: list[Item]
    """The input; a bare text is a message of the user's."""
    raws: list[Raw]
    """The same, as they were written."""
    places: list[str]
    """Where each of them stands."""
    tools: list[Tool]
    tool_choice: ToolChoice | None
    extras: dict[str, Raw]
    """Members that OpenAI doesn't define."""
    refused: tuple[str, ...]
    """The names of those that ask for what Converse cannot give."""
    stores: bool = False
    """Whether the answer is kept, for later requests to refer to."""


class _Kind(Private, msgspec.Struct):
    type: str | None = None
    role: Any = None
    id: Any = None


_POLICY: Final = msgspec.json.Decoder(Policy)
_REQUEST: Final = msgspec.json.Decoder(ResponsesRequest)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, Raw])
_KIND: Final = msgspec.json.Decoder(_Kind)
_ITEMS: Final[dict[str, "msgspec.json.Decoder[Any]"]] = {
    "message": msgspec.json.Decoder(Message),
    "function_call": msgspec.json.Decoder(FunctionCall),
    "function_call_output": msgspec.json.Decoder(FunctionCallOutput),
    "reasoning": msgspec.json.Decoder(Reasoning),
}
_FUNCTION: Final = msgspec.json.Decoder(FunctionTool)
_MODE: Final = msgspec.json.Decoder(Literal["none", "auto", "required"])
_CHOICES: Final[dict[str, "msgspec.json.Decoder[Any]"]] = {
    "function": msgspec.json.Decoder(NamedFunction),
    "allowed_tools": msgspec.json.Decoder(AllowedFunctions),
}
_FIELDS: Final = frozenset(ResponsesRequest.__struct_encode_fields__)

ITEM_REFERENCE: Final = "item_reference"


def policy(body: bytes) -> Policy:
    """What must be known of a body that Converse cannot carry. Raises Refused."""
    return _decoded(_POLICY, body)


def decode(body: bytes) -> Decoded:
    """The request. Raises Refused."""
    request = _decoded(_REQUEST, body)
    raws: list[Raw] = []
    places: list[str] = []
    match request.input:
        case str(text):
            said = {"type": "message", "role": "user", "content": text}
            raws, places = [Raw(msgspec.json.encode(said))], ["input"]
        case list(given):
            raws, places = given, [f"input[{at}]" for at in range(len(given))]
        case _:
            pass  # Whoever asks for a prompt kept elsewhere sends none: that is the better thing to refuse.
    extras: dict[str, Raw] = {}
    refused: list[str] = []
    for name, raw in _decoded(_MEMBERS, body).items():
        parameter = PARAMETERS.get(name)
        if parameter is None:
            if name not in _FIELDS:
                extras[name] = raw
        elif parameter.fate is Fate.REFUSED and not _asks_for_nothing(raw, parameter.harmless):
            refused.append(name)
    return Decoded(
        request,
        [item_of(raw, place) for raw, place in zip(raws, places, strict=True)],
        raws,
        places,
        [_tool(raw, f"tools[{at}]") for at, raw in enumerate(request.tools or ())],
        _tool_choice(request.tool_choice),
        extras,
        tuple(refused),
    )


def _decoded(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """The whole body; raw parts of it are not checked for UTF-8 by the decoder. Raises Refused."""
    try:
        if not body.isascii():
            body.decode()
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error) from None


def _part(decoder: "msgspec.json.Decoder[T]", raw: Raw, place: str) -> T:
    """A part of the body, which stands at this place; it is known to be JSON. Raises Refused."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        text, _, inner = str(error).partition(" - at ")
        inner = inner.strip("`").removeprefix("$")
        raise invalid(msgspec.ValidationError(f"{text} - at `$.{place}{inner}`")) from None


def _kind(raw: Raw, place: str) -> str:
    kind = _part(_KIND, raw, place).type
    if kind is None:
        raise refuse(Cause.BODY_INVALID, f"{place}.type is missing", param=f"{place}.type")
    return kind


def item_of(raw: Raw, place: str) -> Item:
    """An item of the input, which stands at this place. Raises Refused."""
    seen = _part(_KIND, raw, place)
    kind = seen.type
    if kind is None:
        if seen.role is None and seen.id is None:
            raise refuse(Cause.BODY_INVALID, f"{place}.type is missing", param=f"{place}.type")
        kind = ITEM_REFERENCE if seen.role is None else "message"
    if kind == ITEM_REFERENCE:
        if not isinstance(seen.id, str):
            raise refuse(Cause.BODY_INVALID, f"{place}.id is missing", param=f"{place}.id")
        return ItemReference(seen.id)
    decoder = _ITEMS.get(kind)
    return Unservable(kind) if decoder is None else _part(decoder, raw, place)


def _tool(raw: Raw, place: str) -> Tool:
    kind = _kind(raw, place)
    return _part(_FUNCTION, raw, place) if kind == "function" else Unservable(kind)


def _tool_choice(raw: Raw | UnsetType) -> ToolChoice | None:
    if isinstance(raw, UnsetType) or bytes(raw) == b"null":
        return None
    if bytes(raw).startswith(b'"'):
        return _part(_MODE, raw, "tool_choice")
    kind = _kind(raw, "tool_choice")
    decoder = _CHOICES.get(kind)
    return Unservable(kind) if decoder is None else _part(decoder, raw, "tool_choice")


def _asks_for_nothing(raw: Raw, harmless: tuple[Any, ...]) -> bool:
    try:
        value = msgspec.json.decode(raw)
    except msgspec.ValidationError:
        return False  # A number that no Python number can hold.
    return value is None or any(value == one and type(value) is type(one) for one in harmless)
