"""The body of a Converse call, out of a request for a response: by way of a chat.

What Converse demands of a conversation, and what each family of models demands of its tools and efforts, is
known to the chat dialect (`openai_chat_compose`). A response asks for the same in other words, so its items
become messages: one message each, so that the chat's complaint about a message can be told of the item. Where
it names a place in its own notation, the place is put into this API's.

    message                 user, assistant, system
    function_call           assistant, with the one call
    function_call_output    tool
    reasoning               assistant, with the thought, if it can be given back (openai_responses_thoughts)

Refused here is what only OpenAI can serve: tools and items of its own. Where the operator lets parameters be
dropped, so are these, since no text is lost with them. References to earlier answers have been resolved, or
refused, before (openai_responses_kept).

Source: openai-python src/openai/types/responses/response_input_item_param.py.
"""

import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec

from stargate_core.dialects import openai_chat_request as chat
from stargate_core.dialects.face import Fetched, Target
from stargate_core.dialects.guardrails import Guardrail
from stargate_core.dialects.openai_chat_ask import ChatAsk
from stargate_core.dialects.openai_chat_compose import NOTHING_SAID, converse_body, prepared
from stargate_core.dialects.openai_chat_media import urls
from stargate_core.dialects.openai_responses_kept import made_whole
from stargate_core.dialects.openai_responses_parameters import PARAMETERS
from stargate_core.dialects.openai_responses_request import (
    AllowedFunctions,
    Content,
    Decoded,
    FunctionCall,
    FunctionCallOutput,
    InputFile,
    InputImage,
    InputText,
    Item,
    ItemReference,
    JsonObject,
    JsonSchema,
    Message,
    NamedFunction,
    OutputText,
    Reasoning,
    Refusal,
    Sound,
    Unservable,
)
from stargate_core.dialects.openai_responses_thoughts import unseal
from stargate_core.faults import Cause, Fault, Refused, refuse
from stargate_core.secret import Private

Part: TypeAlias = chat.UserPart | chat.RefusalPart

ENCRYPTED_CONTENT: Final = "reasoning.encrypted_content"
_TIERS: Final[Mapping[str, Literal["default", "flex", "scale", "priority", "fast"]]] = {
    "default": "default",
    "flex": "flex",
    "scale": "scale",
    "priority": "priority",
    "fast": "fast",
}
_STANDARD: Final = (None, "standard")

_IN_MESSAGE: Final = re.compile(r"messages\[(\d+)\]\.?(.*)")
_IN_TOOL: Final = re.compile(r"tools\[(\d+)\](?:\.function)?(.*)")
_PLACES: Final = {
    "messages": "input",
    "reasoning_effort": "reasoning.effort",
    "response_format.json_schema.schema": "text.format.schema",
    "tool_choice.function.name": "tool_choice.name",
}
"""Places of a chat, and what they are called in a response."""
_IN_ITEM: Final = (
    ("tool_calls[0].function.", ""),
    ("tool_calls[0].id", "call_id"),
    ("tool_call_id", "call_id"),
    (".image_url.url", ".image_url"),
    (".file.", "."),
)


class ResponsesAsk(Private, msgspec.Struct):
    """A request as it was read, and what has been made of it so far."""

    decoded: Decoded | None
    guardrail: Guardrail | None = None
    invalid: Fault | None = None
    """What is wrong with the request for Converse; another surface may take it."""
    chats: dict[bool, "Chat"] = msgspec.field(default_factory=dict[bool, "Chat"])
    """What it is as a chat; by whether what cannot be carried is left out."""
    is_whole: bool = False
    """What it refers to stands in its place."""

    def whole(self) -> Decoded:
        """The request. Raises Refused where Converse can't carry it."""
        if self.decoded is None:
            raise Refused(self.invalid or Fault(Cause.BODY_INVALID))
        return self.decoded

    def recall(self, recalled: Mapping[str, bytes], *, remembers: bool) -> None:
        """Put what the request refers to in its place, once. Raises Refused."""
        if self.decoded is not None and not self.is_whole:
            self.decoded = made_whole(self.decoded, recalled, remembers=remembers)
            self.is_whole = True
            self.chats.clear()

    def as_chat(self, *, may_drop: bool) -> "Chat":
        """The request as a chat; made once. Raises Refused."""
        made = self.chats.get(may_drop)
        if made is None:
            made = self.chats[may_drop] = _Translation(self.whole(), may_drop=may_drop).chat_made()
        return made

    @property
    def urls(self) -> tuple[str, ...]:
        """The http(s) URLs of images and documents, each once. Raises Refused."""
        return urls(self.as_chat(may_drop=True).ask.request.messages)

    @property
    def names(self) -> Mapping[str, str]:
        """Bedrock's name of a tool to the caller's, where they differ. Raises Refused."""
        made = next(iter(self.chats.values()), None) or self.as_chat(may_drop=True)
        return prepared(made.ask).names


class Chat(Private, msgspec.Struct):
    """A request as a chat."""

    ask: ChatAsk
    places: list[str]
    """Where in the request each message stands."""
    tools: list[int]
    """Which of the request's tools each tool is."""

    def own(self, fault: Fault) -> Fault:
        """What is wrong with the chat, told of the request."""
        param = fault.param
        if not param:
            return fault
        place = self._place(param)
        return msgspec.structs.replace(fault, param=place, message=fault.message.replace(param, place))

    def _place(self, param: str) -> str:
        message = _IN_MESSAGE.fullmatch(param)
        if message is not None:
            place, inner = self.places[int(message[1])], message[2]
            if "[" not in place:
                return place
            if isinstance(self.ask.request.messages[int(message[1])], chat.ToolMessage):
                inner = re.sub("^content", "output", inner)
            for theirs, ours in _IN_ITEM:
                inner = inner.replace(theirs, ours)
            return f"{place}.{inner}".removesuffix(".file").removesuffix(".")
        tool = _IN_TOOL.fullmatch(param)
        if tool is not None:
            return f"tools[{self.tools[int(tool[1])]}]{tool[2]}"
        return _PLACES.get(param, param)


def responses_body(
    ask: ResponsesAsk,
    target: Target,
    guardrail: Guardrail | None,
    fetched: Mapping[str, Fetched],
    served: Mapping[str, Any] = NOTHING_SAID,
    *,
    stream: bool,
) -> bytes:
    """The body of the call to a target. fetched: what was at URLs; served: what the caller's headers say of
    how it is to be served. Raises Refused.
    """
    made = ask.as_chat(may_drop=target.options.drop_params)
    made.ask.fetched = fetched
    try:
        return converse_body(made.ask, target, guardrail, served, stream=stream)
    except Refused as refused:
        raise Refused(made.own(refused.fault)) from None


class _Translation:
    """One request on its way to a chat."""

    __slots__ = ("_asked", "_may_drop", "_messages", "_places")

    def __init__(self, asked: Decoded, *, may_drop: bool) -> None:
        self._asked = asked
        self._may_drop = may_drop
        self._messages: list[chat.ChatMessage] = []
        self._places: list[str] = []

    def chat_made(self) -> Chat:
        """The chat. Raises Refused."""
        asked, told = self._asked, self._asked.request
        self._check()
        if told.instructions is not None:
            self._add("instructions", chat.SystemMessage(told.instructions))
        for item, place in zip(asked.items, asked.places, strict=True):
            self._item(item, place)
        places, tools = self._tools()
        request = chat.ChatRequest(
            self._messages,
            max_completion_tokens=told.max_output_tokens,
            temperature=told.temperature,
            top_p=told.top_p,
            tools=tools,
            tool_choice=self._tool_choice(bool(tools)),
            parallel_tool_calls=told.parallel_tool_calls,
            response_format=self._format(),
            reasoning_effort=None if told.reasoning is None else told.reasoning.effort,
            user=told.user,
            safety_identifier=told.safety_identifier,
            metadata=told.metadata,
            service_tier=_TIERS.get(told.service_tier or ""),
            performance=told.performance,
            request_metadata=told.request_metadata,
            response_field_paths=told.response_field_paths,
        )
        return Chat(ChatAsk(request, asked.extras), self._places, places)

    # ---------------------------------------------------------------------------------------- what is refused

    def _check(self) -> None:
        told = self._asked.request
        for name in self._asked.refused:
            parameter = PARAMETERS[name]
            if not (self._may_drop and parameter.droppable):
                raise refuse(Cause.BODY_INVALID, f"{name} is not supported: {parameter.reason}", param=name)
        if isinstance(told.input, msgspec.UnsetType):
            raise refuse(Cause.BODY_INVALID, "input is missing", param="input")
        if self._may_drop:
            return
        for at, name in enumerate(told.include or ()):
            if name != ENCRYPTED_CONTENT:
                said = f"include: {name} is not to be had here; {ENCRYPTED_CONTENT} is"
                raise refuse(Cause.BODY_INVALID, said, param=f"include[{at}]")
        if told.reasoning is not None and told.reasoning.mode not in _STANDARD:
            said = "reasoning.mode: models on Bedrock have only `standard`"
            raise refuse(Cause.BODY_INVALID, said, param="reasoning.mode")
        if told.prompt_cache_options is not None and told.prompt_cache_options.prewarm:
            place = "prompt_cache_options.prewarm"
            raise refuse(Cause.BODY_INVALID, f"{place} is not supported: Bedrock always answers", param=place)

    def _unservable(self, kind: str, place: str, what: str) -> None:
        """What only OpenAI can serve: left out, or refused."""
        if not self._may_drop:
            said = f"{place}: {what} of type {kind} are not supported; models on Bedrock call functions"
            raise refuse(Cause.BODY_INVALID, said, param=f"{place}.type")

    # -------------------------------------------------------------------------------------------------- items

    def _add(self, place: str, message: chat.ChatMessage) -> None:
        self._messages.append(message)
        self._places.append(place)

    def _item(self, item: Item, place: str) -> None:
        match item:
            case Message():
                self._add(place, self._message(item, place))
            case FunctionCall():
                function = chat.CalledFunction(item.name, item.arguments)
                self._add(
                    place, chat.AssistantMessage(tool_calls=[chat.FunctionCall(item.call_id, function)])
                )
            case FunctionCallOutput():
                told = item.output
                content = told if isinstance(told, str) else self._parts(told, f"{place}.output")
                # Documents too: Converse has a place for them, though a chat has no form.
                tool_parts = cast("str | list[chat.ToolPart]", content)
                self._add(place, chat.ToolMessage(tool_parts, item.call_id))
            case Reasoning():
                self._add(place, chat.AssistantMessage(thinking_blocks=_thoughts(item, place)))
            case ItemReference():
                pass  # Its place is not yet filled: what is looked for are URLs.
            case Unservable():
                self._unservable(item.kind, place, "items")

    def _message(self, message: Message, place: str) -> chat.ChatMessage:
        said = message.content
        content = said if isinstance(said, str) else self._parts(said, f"{place}.content")
        if message.role == "user":
            # A refusal is the assistant's; whoever puts it into another mouth quotes it.
            return chat.UserMessage(cast("str | list[chat.UserPart]", content))
        kinds = (chat.TextPart, chat.RefusalPart) if message.role == "assistant" else (chat.TextPart,)
        for at, part in enumerate(() if isinstance(content, str) else content):
            if not isinstance(part, kinds):
                where = f"{place}.content[{at}].type"
                said = f"{where}: a message of the role {message.role} has only texts"
                raise refuse(Cause.BODY_INVALID, said, param=where)
        if message.role == "assistant":
            return chat.AssistantMessage(content=cast("str | list[chat.AssistantPart]", content))
        return chat.SystemMessage(cast("str | list[chat.TextPart]", content))

    def _parts(self, content: Sequence[Content], place: str) -> list[Part]:
        return [_part(part, f"{place}[{at}]") for at, part in enumerate(content)]

    # -------------------------------------------------------------------------------------------------- tools

    def _tools(self) -> tuple[list[int], list[chat.FunctionTool | chat.CustomTool]]:
        """Which tools the model is given, and what they are."""
        places: list[int] = []
        tools: list[chat.FunctionTool | chat.CustomTool] = []
        for at, tool in enumerate(self._asked.tools):
            if isinstance(tool, Unservable):
                self._unservable(tool.kind, f"tools[{at}]", "tools")
                continue
            function = chat.Function(tool.name, tool.description, tool.parameters, tool.strict)
            tools.append(chat.FunctionTool(function, tool.cache_control))
            places.append(at)
        return places, tools

    def _tool_choice(self, has_tools: bool) -> chat.ToolChoice | None:
        choice = self._asked.tool_choice
        if not has_tools and self._may_drop and any(isinstance(t, Unservable) for t in self._asked.tools):
            return None
        match choice:
            case NamedFunction(name=name):
                return chat.NamedTool(chat.FunctionName(name))
            case AllowedFunctions(mode=mode, tools=tools):
                allowed: list[chat.AllowedTool] = []
                for at, tool in enumerate(tools):
                    if tool.type == "function":
                        allowed.append(chat.AllowedTool(chat.FunctionName(tool.name)))
                    else:
                        self._unservable(tool.type, f"tool_choice.tools[{at}]", "tools")
                return chat.AllowedToolsChoice(chat.AllowedTools(mode, allowed))
            case Unservable(kind=kind):
                self._unservable(kind, "tool_choice", "choices")
                return None
            case _:
                return choice

    def _format(self) -> chat.TextFormat | chat.JsonObjectFormat | chat.JsonSchemaFormat | None:
        config = self._asked.request.text
        match None if config is None else config.format:
            case JsonSchema() as form:
                return chat.JsonSchemaFormat(chat.JsonSchema(form.name, form.schema, form.description))
            case JsonObject():
                return chat.JsonObjectFormat()
            case _:
                return None


def _part(part: Content, place: str) -> Part:
    marks = {"cache_control": part.cache_control, "prompt_cache_breakpoint": part.prompt_cache_breakpoint}
    match part:
        case InputText() | OutputText():
            return chat.TextPart(text=part.text, **marks)
        case Refusal():
            return chat.RefusalPart(refusal=part.refusal, **marks)
        case InputImage():
            if part.image_url is None:
                said = "names a file that was uploaded elsewhere" if part.file_id else "has no image_url"
                raise refuse(Cause.BODY_INVALID, f"{place} {said}; send it as image_url", param=place)
            return chat.ImagePart(image_url=chat.ImageUrl(part.image_url), **marks)
        case InputFile():
            file = chat.File(part.file_data, part.file_id, part.filename, part.file_url)
            return chat.FilePart(file=file, **marks)
        case Sound():
            return chat.AudioPart(input_audio=part.input_audio, **marks)


def _thoughts(item: Reasoning, place: str) -> list[chat.ThinkingBlock | chat.RedactedThinking]:
    """The thought, as far as it can be given back to the model. Raises Refused where it is damaged."""
    param = f"{place}.encrypted_content"
    try:
        sealed = unseal(item.encrypted_content or "")
        redacted = binascii.a2b_base64((sealed and sealed.redacted) or "", strict_mode=True).decode()
    except ValueError:
        raise refuse(Cause.BODY_INVALID, f"{param} is damaged; send it as it came", param=param) from None
    blocks: list[chat.ThinkingBlock | chat.RedactedThinking] = []
    if sealed is not None and sealed.signature:
        text = "".join(piece.text for piece in item.summary)
        blocks.append(chat.ThinkingBlock(text, sealed.signature))
    if redacted:
        blocks.append(chat.RedactedThinking(redacted))
    return blocks
