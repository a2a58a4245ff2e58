"""The conversation: OpenAI's messages as Converse's `messages` and `system`.

What Bedrock demands and OpenAI does not, each rule with its reason:

- Roles alternate, so messages of one role in a row become one.
- All results of an assistant's tool calls stand in the very next user message, before anything else in
  it, whatever order the caller has put them in.
- No text is blank. A blank one is left out; a tool that answers nothing is given a word, since its result
  must be there.
- Instructions are not part of the conversation: `system` and `developer` messages are collected from
  wherever they stand.
- A message with a document has a text. Its name is that text, if there is no other.
- A prompt may be marked for caching after any part, and after any message: `cachePoint` stands behind the
  block of a part that is marked, and behind the last of a message.
- The model's thoughts stand before everything else that it has said. Only those go back that are signed or
  encrypted by their vendor (`thinking_blocks`).

A tool call's arguments are a string of JSON to OpenAI and JSON to Bedrock. They are checked, and go on as
they are spelt.

Sources: AWS API reference, Message and ContentBlock; the texts of Bedrock's ValidationExceptions.
"""

import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Raw

from stargate_core.dialects.converse_tools import safe_name
from stargate_core.dialects.converse_turns import results_first
from stargate_core.dialects.face import Fetched
from stargate_core.dialects.openai_chat_caching import cache_point
from stargate_core.dialects.openai_chat_media import NOTHING, audio, document, image
from stargate_core.dialects.openai_chat_request import (
    AssistantMessage,
    AudioPart,
    CacheControl,
    ChatMessage,
    CustomCall,
    DeveloperMessage,
    FilePart,
    FunctionCall,
    FunctionMessage,
    ImagePart,
    RedactedThinking,
    RefusalPart,
    SystemMessage,
    TextPart,
    ThinkingBlock,
    ToolMessage,
    UserMessage,
)
from stargate_core.faults import Cause, refuse

Block: TypeAlias = dict[str, Any]
_AnyPart: TypeAlias = TextPart | ImagePart | AudioPart | FilePart | RefusalPart

NO_RESULT: Final = "(no output)"
"""What a tool is taken to have said that has said nothing."""
_UNMARKABLE: Final = frozenset({"cachePoint", "reasoningContent"})
_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])


class Conversation:
    """What Bedrock is to read; filled message by message."""

    __slots__ = (
        "_documents",
        "_fetched",
        "_late",
        "_results",
        "marked",
        "messages",
        "system",
        "thoughtful",
        "tools_used",
    )

    def __init__(self, fetched: Mapping[str, Fetched] = NOTHING) -> None:
        self._fetched = fetched
        self.messages: list[Block] = []
        self.system: list[Block] = []
        self.tools_used: dict[str, None] = {}
        """The names of the tools that were called, as Bedrock knows them, in order."""
        self.marked = False
        """Whether the caller has marked any part for caching."""
        self.thoughtful = False
        """Whether there are any thoughts in it."""
        self._documents: dict[str, int] = {}
        self._results = 0
        """How many blocks of the last user message belong to tool results."""
        self._late = False
        """Whether one of them stands behind something else: put right once, at the turn's end."""

    @property
    def mid_turn(self) -> bool:
        """Whether the assistant is in the middle of its turn: the last it was given is a tool's result."""
        return bool(self.messages) and self.messages[-1]["role"] == "user" and self._results > 0

    @property
    def has_thoughts(self) -> bool:
        """Whether the assistant's turn, in the middle of which it is, begins with its thoughts.

        A turn may have many calls and results in it. A model thinks at its beginning, and not again before
        each call. Where the user has said something beside a result, the turn may have begun anew: then there
        must be thoughts behind that too.
        """
        said: list[Block] = []
        for message in reversed(self.messages):
            content: list[Block] = message["content"]
            if message["role"] == "assistant":
                said = content
                continue
            kinds = {next(iter(block)) for block in content}
            if said and kinds - {"toolResult", "cachePoint"} and "reasoningContent" not in said[0]:
                return False
            if "toolResult" not in kinds:
                break
        return bool(said) and "reasoningContent" in said[0]

    def take(self, at: int, message: ChatMessage) -> None:
        """Take in the message `at` this index. Raises Refused."""
        match message:
            case UserMessage(content=str(text)):
                if text and not text.isspace():
                    self._turn("user").append({"text": text})
                    if message.cache_control is not None:
                        self._mark(self._turn("user"), message.cache_control)
            case UserMessage():
                blocks = self._blocks(message.content, f"messages[{at}].content")
                self._extend("user", self._mark(blocks, message.cache_control))
            case AssistantMessage():
                self._assistant(at, message)
            case SystemMessage() | DeveloperMessage():
                blocks = self._blocks(message.content, f"messages[{at}].content")
                self.system += self._mark(blocks, message.cache_control)
            case ToolMessage():
                self._result(at, message)
            case FunctionMessage():
                raise refuse(
                    Cause.BODY_INVALID,
                    "messages with role function are not supported: use role tool, which replaces it",
                    param=f"messages[{at}].role",
                )

    def _assistant(self, at: int, message: AssistantMessage) -> None:
        if message.function_call is not None:
            place = f"messages[{at}].function_call"
            raise refuse(
                Cause.BODY_INVALID,
                f"{place} is not supported: use tool_calls, which replaces it",
                param=place,
            )
        blocks: list[Block] = []
        if message.content is not None:
            blocks = self._blocks(message.content, f"messages[{at}].content")
        if not blocks and message.refusal and not message.refusal.isspace():
            blocks = [{"text": message.refusal}]
        if message.thinking_blocks:
            thoughts = _thoughts(message.thinking_blocks)
            self.thoughtful = self.thoughtful or bool(thoughts)
            blocks = [*thoughts, *blocks]
        for number, call in enumerate(message.tool_calls or ()):
            blocks.append(self._call(call, f"messages[{at}].tool_calls[{number}]"))
        self._extend("assistant", self._mark(blocks, message.cache_control))

    def _call(self, call: FunctionCall | CustomCall, param: str) -> Block:
        if isinstance(call, CustomCall):
            raise refuse(Cause.BODY_INVALID, f"{param} is a call of a custom tool", param=f"{param}.type")
        name = safe_name(_named(call.function.name, f"{param}.function.name"))
        self.tools_used[name] = None
        return {
            "toolUse": {
                "toolUseId": safe_name(_named(call.id, f"{param}.id")),
                "name": name,
                "input": _arguments(call.function.arguments, f"{param}.function.arguments"),
            }
        }

    def _result(self, at: int, message: ToolMessage) -> None:
        param = f"messages[{at}]"
        blocks = self._blocks(message.content, f"{param}.content")
        content = [block for block in blocks if "cachePoint" not in block] or [{"text": NO_RESULT}]
        identity = safe_name(_named(message.tool_call_id, f"{param}.tool_call_id"))
        result: list[Block] = [{"toolResult": {"toolUseId": identity, "content": content}}]
        result += [block for block in blocks if "cachePoint" in block][:1]
        self._mark(result, message.cache_control)
        turn = self._turn("user")
        self._late = self._late or len(turn) > self._results
        turn.extend(result)
        self._results += len(result)

    def _mark(self, blocks: list[Block], mark: CacheControl | None) -> list[Block]:
        """The blocks of a message that may be marked as a whole."""
        # Bedrock has no point of its cache behind a thought.
        if mark is not None and blocks and _UNMARKABLE.isdisjoint(blocks[-1]):
            blocks.append(cache_point(mark))
            self.marked = True
        return blocks

    def _extend(self, role: str, blocks: list[Block]) -> None:
        if blocks:
            self._turn(role).extend(blocks)

    def _turn(self, role: str) -> list[Block]:
        """The blocks of the turn at hand; a new one where the last was the other's."""
        if not self.messages or self.messages[-1]["role"] != role:
            self._end_turn()
            self.messages.append({"role": role, "content": []})
            self._results = 0
        content: list[Block] = self.messages[-1]["content"]
        return content

    def _end_turn(self) -> None:
        if self._late:
            self.messages[-1]["content"] = results_first(self.messages[-1]["content"])
            self._late = False

    def _blocks(self, content: str | Sequence[_AnyPart], param: str) -> list[Block]:
        if isinstance(content, str):
            return [{"text": content}] if content and not content.isspace() else []
        blocks: list[Block] = []
        for number, part in enumerate(content):
            block = self._block(part, f"{param}[{number}]")
            if block is not None:
                blocks.append(block)
                mark = part.cache_control or part.prompt_cache_breakpoint
                if mark is not None:
                    blocks.append(cache_point(mark))
                    self.marked = True
        return blocks

    def _block(self, part: _AnyPart, param: str) -> Block | None:
        match part:
            case TextPart():
                return {"text": part.text} if part.text and not part.text.isspace() else None
            case RefusalPart():
                return {"text": part.refusal} if part.refusal and not part.refusal.isspace() else None
            case ImagePart():
                return image(part.image_url.url, f"{param}.image_url.url", self._fetched)
            case AudioPart():
                return audio(part.input_audio, f"{param}.input_audio")
            case FilePart():
                return document(part.file, self._documents, f"{param}.file", self._fetched)

    def finish(self) -> None:
        """All messages are in. Raises Refused where nothing is left to be answered."""
        if not self.messages:
            raise refuse(
                Cause.BODY_INVALID, "messages hold nothing but blanks or instructions", param="messages"
            )
        self._end_turn()
        for message in self.messages:
            content: list[Block] = message["content"]
            names = [block["document"]["name"] for block in content if "document" in block]
            if names and not any("text" in block for block in content):
                content.append({"text": ", ".join(names)})


def converse(messages: Sequence[ChatMessage], fetched: Mapping[str, Fetched] = NOTHING) -> Conversation:
    """The whole conversation. fetched: what was at URLs. Raises Refused."""
    conversation = Conversation(fetched)
    for at, message in enumerate(messages):
        conversation.take(at, message)
    conversation.finish()
    return conversation


def _thoughts(blocks: Sequence[ThinkingBlock | RedactedThinking]) -> list[Block]:
    """The thoughts that the model can be given back: its own, as its vendor has signed or encrypted them."""
    thoughts: list[Block] = []
    for block in blocks:
        if isinstance(block, RedactedThinking):
            data = binascii.b2a_base64(block.data.encode(), newline=False).decode()
            thoughts.append({"reasoningContent": {"redactedContent": data}})
        elif block.signature:
            signed = {"text": block.thinking, "signature": block.signature}
            thoughts.append({"reasoningContent": {"reasoningText": signed}})
    return thoughts


def _named(name: str, param: str) -> str:
    if not name:
        raise refuse(Cause.BODY_INVALID, f"{param} is empty", param=param)
    return name


def _arguments(text: str, param: str) -> Raw | dict[str, Any]:
    """A call's arguments: the caller's own JSON; an empty string is how clients say that there are none."""
    if not text or text.isspace():
        return {}
    try:
        _OBJECT.decode(text)
    except msgspec.ValidationError:
        raise refuse(Cause.BODY_INVALID, f"{param} is JSON, but no object", param=param) from None
    except (msgspec.DecodeError, RecursionError):
        raise refuse(Cause.BODY_INVALID, f"{param} is not valid JSON", param=param) from None
    return Raw(text.encode())
