"""What OpenAI's Responses API takes, as types; and what its items must be to one another.

Source: openai-python, `types/responses/response_create_params.py` and `response_input_param.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

from stargate.simulator import thoughts
from stargate.simulator.json_tree import as_array, as_object
from stargate.simulator.openai_schema import (
    Count,
    Effort,
    Metadata,
    Name,
    Retention,
    Share,
    Temperature,
    Tier,
    Verbosity,
    conform,
    unfit,
)
from stargate.simulator.shapes import Object, Strict, Typed

Status = Literal["in_progress", "completed", "incomplete"]


class InputText(Typed, tag="input_text"):
    """A text."""

    text: str
    prompt_cache_breakpoint: Object | None = None


class InputImage(Typed, tag="input_image"):
    """An image."""

    detail: Literal["low", "high", "auto", "original"] | None = None
    file_id: str | None = None
    image_url: str | None = None
    prompt_cache_breakpoint: Object | None = None


class InputFile(Typed, tag="input_file"):
    """A file."""

    detail: str | None = None
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None
    prompt_cache_breakpoint: Object | None = None


class OutputText(Typed, tag="output_text"):
    """What the model has said."""

    text: str
    annotations: list[Object] | None = None
    logprobs: list[Object] | None = None


class OutputRefusal(Typed, tag="refusal"):
    """What it would not say."""

    refusal: str


class Message(Typed, tag="message"):
    """A message, of whomever."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[InputText | InputImage | InputFile | OutputText | OutputRefusal]
    id: str | None = None
    status: Status | None = None
    phase: Literal["commentary", "final_answer"] | None = None


class FunctionCall(Typed, tag="function_call"):
    """A call of a function; answers refer to `call_id`, never to `id`."""

    call_id: str
    name: str
    arguments: str
    id: str | None = None
    namespace: str | None = None
    caller: Object | None = None
    asynchronous: bool | None = msgspec.field(default=None, name="async")
    status: Status | None = None


class FunctionOutput(Typed, tag="function_call_output"):
    """What a function has answered."""

    call_id: str
    output: str | list[InputText | InputImage | InputFile]
    id: str | None = None
    caller: Object | None = None
    status: Status | None = None


class SummaryText(Typed, tag="summary_text"):
    """A part of a thought's summary."""

    text: str


class ReasoningText(Typed, tag="reasoning_text"):
    """A part of a thought."""

    text: str


class Reasoning(Typed, tag="reasoning"):
    """A thought."""

    summary: list[SummaryText]
    id: str | None = None
    content: list[ReasoningText] | None = None
    encrypted_content: str | None = None
    status: Status | None = None


class ItemReference(Typed, tag="item_reference"):
    """An item that the service keeps."""

    id: str


Item = Message | FunctionCall | FunctionOutput | Reasoning | ItemReference


class FunctionTool(Typed, tag="function"):
    """A function on offer."""

    name: Name
    parameters: Object | None = None
    strict: bool | None = None
    description: str | None = None
    defer_loading: bool | None = None
    allowed_callers: Any = None
    asynchronous: bool | None = msgspec.field(default=None, name="async")
    output_schema: Object | None = None


class ChooseFunction(Typed, tag="function"):
    """This function must be called."""

    name: str


class ChooseAllowed(Typed, tag="allowed_tools"):
    """Only these may be called."""

    mode: Literal["auto", "required"]
    tools: list[Object]


class PlainText(Typed, tag="text"):
    """Any text."""


class AnyJson(Typed, tag="json_object"):
    """Some JSON object."""


class JsonSchema(Typed, tag="json_schema"):
    """JSON of this schema."""

    name: Name
    schema: Object
    description: str | None = None
    strict: bool | None = None


class TextConfig(Strict):
    """What the text should be."""

    format: PlainText | AnyJson | JsonSchema | None = None
    verbosity: Verbosity | None = None


class ReasoningConfig(Strict):
    """How the model should think."""

    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    context: str | None = None
    mode: str | None = None


class ResponsesBody(Strict):
    """The body of a response's creation. AWS asks for a model and an input, which OpenAI need not have."""

    model: str
    input: str | list[Object]
    access_programs: Object | None = None
    background: bool | None = None
    background_options: Object | None = None
    context_management: list[Object] | None = None
    conversation: Any = None
    image: Object | None = None
    include: list[str] | None = None
    instructions: str | None = None
    max_output_tokens: Count | None = None
    max_tool_calls: Count | None = None
    metadata: Metadata | None = None
    moderation: Object | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    prompt: Object | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Object | None = None
    prompt_cache_retention: Retention | None = None
    reasoning: ReasoningConfig | None = None
    safety_identifier: str | None = None
    service_tier: Tier | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: Object | None = None
    temperature: Temperature | None = None
    text: TextConfig | None = None
    tool_choice: Literal["none", "auto", "required"] | ChooseFunction | ChooseAllowed | None = None
    tools: list[Object] | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    top_p: Share | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None
    guardrail_config: Object | None = msgspec.field(default=None, name="amazon-bedrock-guardrailConfig")


_ENCRYPTED: Final = (
    "The encrypted content could not be verified. Reason: encrypted content is not this model's."
)


def check_responses(body: Mapping[str, Any]) -> None:
    """Hold a body against its type, and its items against one another. Raises Refusal."""
    conform(body, ResponsesBody)
    for index, tool in enumerate(as_array(body.get("tools"))):
        if as_object(tool).get("type") != "function":
            raise unfit(
                f"Tool type '{as_object(tool).get('type')}' is not supported.", f"tools[{index}].type"
            )
        conform(tool, FunctionTool, "tools", index)
    if body.get("background"):
        raise unfit("Background responses are not supported.", "background")
    _check_items(items_of(body), continued=body.get("previous_response_id") is not None)


def items_of(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The input as a list of items, each with its `type`."""
    if isinstance(body["input"], str):
        return [{"type": "message", "role": "user", "content": body["input"]}]
    return [{"type": "message", **item} if "role" in item else item for item in map(as_object, body["input"])]


def _check_items(items: Sequence[Mapping[str, Any]], *, continued: bool) -> None:
    if not items:
        raise unfit("One of 'input' or 'prompt' must be provided.", "input")
    asked: set[str] = set()
    answered: set[str] = set()
    for index, item in enumerate(items):
        conform(item, Item, "input", index)
        match item["type"]:
            case "function_call":
                asked.add(item["call_id"])
            case "function_call_output":
                if item["call_id"] not in asked and not continued:
                    message = f"No tool call found for function call output with call_id {item['call_id']}."
                    raise unfit(message, "input")
                answered.add(item["call_id"])
            case "reasoning":
                sealed = item.get("encrypted_content")
                if sealed is not None and not thoughts.is_ours(sealed):
                    raise unfit(_ENCRYPTED, f"input[{index}]", "invalid_encrypted_content")
            case _:
                pass
    for call_id in sorted(asked - answered):
        raise unfit(f"No tool output found for function call {call_id}.", "input")
