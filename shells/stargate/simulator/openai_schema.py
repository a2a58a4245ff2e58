"""What OpenAI's own APIs take: the bodies of chat completions and of responses, as types.

A body is held against its type and refused at the first thing that does not fit, in OpenAI's words and with
the path of the member in `param`. Unknown members are refused wherever they stand: the real service forgives
some of them, and a stand-in that is laxer than the real thing hides mistakes. Beside OpenAI's members stand
`reasoning` and `reasoning_content` of an assistant's message, which models with open weights give and take,
and Bedrock's own member for a guardrail.

Where a member does not concern the simulator, its type says no more than that there may be one.

Source: openai-python, `types/chat/completion_create_params.py` and `types/responses/`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from stargate.simulator.errors import ERRORS, Refusal
from stargate.simulator.json_tree import as_array, as_object
from stargate.simulator.shapes import Object, Strict, Typed, misfit

Temperature = Annotated[float, msgspec.Meta(ge=0, le=2)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
Metadata = dict[str, str]
Tier = Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Verbosity = Literal["low", "medium", "high"]
Retention = Literal["in_memory", "24h"]


# ------------------------------------------------------------------------------------------ chat completions


class TextPart(Typed, tag="text"):
    """A text."""

    text: str
    prompt_cache_breakpoint: Object | None = None


class ImageUrl(Strict):
    """Where an image is."""

    url: str
    detail: Literal["auto", "low", "high", "original"] = "auto"


class ImagePart(Typed, tag="image_url"):
    """An image."""

    image_url: ImageUrl
    prompt_cache_breakpoint: Object | None = None


class AudioPart(Typed, tag="input_audio"):
    """A sound."""

    input_audio: Object
    prompt_cache_breakpoint: Object | None = None


class FilePart(Typed, tag="file"):
    """A file."""

    file: Object
    prompt_cache_breakpoint: Object | None = None


class RefusalPart(Typed, tag="refusal"):
    """What the assistant would not say."""

    refusal: str


Texts = str | list[TextPart]


class Role(Strict, tag_field="role"):
    """A message, told by its role."""


class System(Role, tag="system"):
    """What the application says."""

    content: Texts
    name: str | None = None


class Developer(Role, tag="developer"):
    """The same under its newer name."""

    content: Texts
    name: str | None = None


class User(Role, tag="user"):
    """What the user says."""

    content: str | list[TextPart | ImagePart | AudioPart | FilePart]
    name: str | None = None


class Called(Strict):
    """The function of a call."""

    name: str
    arguments: str


class FunctionCall(Typed, tag="function"):
    """A call of a function."""

    id: str
    function: Called


class CustomCall(Typed, tag="custom"):
    """A call of a custom tool."""

    id: str
    custom: Object


class Assistant(Role, tag="assistant"):
    """What the model has said."""

    content: str | list[TextPart | RefusalPart] | None = None
    refusal: str | None = None
    name: str | None = None
    audio: Object | None = None
    function_call: Object | None = None
    tool_calls: list[FunctionCall | CustomCall] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


class ToolAnswer(Role, tag="tool"):
    """What a tool has answered."""

    content: Texts
    tool_call_id: str


class FunctionAnswer(Role, tag="function"):
    """The same of the oldest API."""

    content: str | None
    name: str


class FunctionDefinition(Strict):
    """A function on offer."""

    name: Name
    description: str | None = None
    parameters: Object | None = None
    strict: bool | None = None


class FunctionTool(Typed, tag="function"):
    """A tool that is a function."""

    function: FunctionDefinition


class CustomTool(Typed, tag="custom"):
    """A tool that takes text."""

    custom: Object


class NamedFunction(Strict):
    """A function by its name."""

    name: str


class ChooseFunction(Typed, tag="function"):
    """This function must be called."""

    function: NamedFunction


class ChooseCustom(Typed, tag="custom"):
    """This custom tool must be called."""

    custom: NamedFunction


class ChooseAllowed(Typed, tag="allowed_tools"):
    """Only these may be called."""

    allowed_tools: Object


class PlainText(Typed, tag="text"):
    """Any text."""


class AnyJson(Typed, tag="json_object"):
    """Some JSON object."""


class NamedSchema(Strict):
    """A JSON schema."""

    name: Name
    description: str | None = None
    schema: Object | None = None
    strict: bool | None = None


class JsonSchema(Typed, tag="json_schema"):
    """JSON of this schema."""

    json_schema: NamedSchema


class StreamOptions(Strict):
    """What a stream should have."""

    include_usage: bool = False
    include_obfuscation: bool = True


class ChatBody(Strict):
    """The body of a chat completion."""

    messages: Annotated[
        list[System | Developer | User | Assistant | ToolAnswer | FunctionAnswer],
        msgspec.Meta(min_length=1),
    ]
    model: str
    audio: Object | None = None
    frequency_penalty: Penalty | None = None
    function_call: Any = None
    functions: list[Object] | None = None
    logit_bias: dict[str, int] | None = None
    logprobs: bool | None = None
    max_completion_tokens: Count | None = None
    max_tokens: Count | None = None
    metadata: Metadata | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    moderation: Object | None = None
    n: Count | None = None
    parallel_tool_calls: bool | None = None
    prediction: Object | None = None
    presence_penalty: Penalty | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Object | None = None
    prompt_cache_retention: Retention | None = None
    reasoning_effort: Effort | None = None
    response_format: PlainText | AnyJson | JsonSchema | None = None
    safety_identifier: str | None = None
    seed: int | None = None
    service_tier: Tier | None = None
    stop: str | Annotated[list[str], msgspec.Meta(max_length=4)] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    tool_choice: (
        Literal["none", "auto", "required"] | ChooseFunction | ChooseCustom | ChooseAllowed | None
    ) = None
    tools: Annotated[list[FunctionTool | CustomTool], msgspec.Meta(min_length=1)] | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    top_p: Share | None = None
    user: str | None = None
    verbosity: Verbosity | None = None
    web_search_options: Object | None = None
    guardrail_config: Object | None = msgspec.field(default=None, name="amazon-bedrock-guardrailConfig")


def check_chat(body: Mapping[str, Any]) -> None:
    """Hold a chat's body against its type, and its messages against one another. Raises Refusal."""
    conform(body, ChatBody)
    if body.get("stream_options") is not None and not body.get("stream"):
        raise unfit(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options"
        )
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        raise unfit(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            "max_tokens",
        )
    asked: list[str] = []
    for index, message in enumerate(as_array(body["messages"])):
        where = f"messages.[{index}].role"
        if message["role"] == "tool":
            if message["tool_call_id"] not in asked:
                raise unfit(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message "
                    "with 'tool_calls'.",
                    where,
                )
            asked.remove(message["tool_call_id"])
        elif asked:
            raise _unanswered(asked, where)
        elif message["role"] == "assistant":
            asked = [call["id"] for call in as_array(message.get("tool_calls"))]
    if asked:
        raise _unanswered(asked, "messages")


def _unanswered(asked: list[str], where: str) -> Refusal:
    return unfit(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
        f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(asked)}",
        where,
    )


# -------------------------------------------------------------------------------------------------- refusals


def unfit(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    """A `ValidationException` that names the member at fault."""
    members = {"param": param, "code": code}
    return Refusal(msgspec.structs.replace(ERRORS["ValidationException"], message=message, members=members))


def conform(body: object, kind: Any, *before: str | int) -> None:
    """Hold a body against its type; `before`: the path at which it stands. Raises Refusal."""
    found = misfit(body, kind, *before)
    if found is None:
        return
    path = found.bracketed
    if found.what == "unknown":
        raise unfit(f"Unknown parameter: '{path}'.", path, "unknown_parameter")
    if found.what == "missing":
        raise unfit(f"Missing required parameter: '{path}'.", path, "missing_required_parameter")
    raise unfit(f"Invalid value for '{path}': {found.problem}.", path or None, "invalid_value")


def strings_of(value: Any) -> tuple[str, ...]:
    """The texts of a message's content, whether it is one or a list of parts."""
    if isinstance(value, str):
        return (value,)
    return tuple(
        str(as_object(part).get("text", "")) for part in as_array(value) if "text" in as_object(part)
    )
