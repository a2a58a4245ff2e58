"""The conversation: Anthropic's messages as Converse's `messages` and `system`.

Most blocks have a twin. What Bedrock demands and Anthropic does not, each rule with its reason:

- Roles alternate, so messages of one role in a row become one.
- All results of an assistant's tool calls stand in the very next user message, before anything else in it.
- No text is blank. A blank one is left out; a tool that answers nothing is given a word, since its result
  must be there.
- Instructions are not part of the conversation: a message with the role system joins the system text.
- A message with a document has a text. Its name is that text, if there is no other.
- A tool's result has no marks of the cache within; one that is there stands behind the result.

- Some models refuse whatever is said beside a tool's result: there it goes on inside (`converse_turns`).
- Writer's Palmyra takes no `status` of a result: there a failure is told in words.

Thoughts go back to who may have thought them, and are left out elsewhere: Bedrock refuses the whole request
for a thought that the model does not read. Claude reads what it has signed, and nothing else; no other model
takes a signature. Models of OpenAI, Qwen, MiniMax and Moonshot take thoughts that nobody has signed; Nova and
DeepSeek refuse even their own. A model behind an opaque name gets what is signed, for it may be a Claude.

Blocks of Anthropic's own servers (their searches, their containers) mean nothing to another model. They are
refused by name, or left out where the operator lets it be.

Sources: AWS API reference, Message, ContentBlock and ToolResultBlock; the texts of Bedrock's
ValidationExceptions, and from which models pi, oh-my-pi, strands-agents, langchain-aws and pydantic-ai have
got them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from stargate_core.dialects.anthropic_converse_answer import redacted_content
from stargate_core.dialects.anthropic_converse_caching import Marks
from stargate_core.dialects.anthropic_converse_media import citations, document, image
from stargate_core.dialects.anthropic_converse_types import (
    AnthropicBlock,
    Block,
    CharLocation,
    ContentBlockLocation,
    DocumentBlock,
    ImageBlock,
    Location,
    Message,
    PageLocation,
    RedactedThinkingBlock,
    SearchResultBlock,
    SearchResultLocation,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    WebLocation,
    lacking,
)
from stargate_core.dialects.converse_tools import safe_name
from stargate_core.dialects.converse_turns import nothing_beside_results, results_first, with_all_inside
from stargate_core.dialects.face import Fetched, Target
from stargate_core.dialects.reasoning import takes_thoughts
from stargate_core.faults import Cause, Refused, refuse

_Made: TypeAlias = dict[str, Any]
_AnyBlock: TypeAlias = Block | AnthropicBlock

NO_RESULT: Final = "(no output)"
"""What a tool is taken to have said that has said nothing."""
FAILED: Final = "(the tool has failed)"
"""How a failure is told where it has no member of its own."""
_TAKES_UNSIGNED: Final = ("openai.", "qwen.", "minimax.", "moonshot")
_NO_STATUS: Final = "writer."
_THOUGHTS: Final = (ThinkingBlock, RedactedThinkingBlock)
_OF_THE_ASSISTANT: Final = (ToolUseBlock, ThinkingBlock, RedactedThinkingBlock)


class Conversation:
    """What Bedrock is to read; filled message by message."""

    __slots__ = (
        "_documents",
        "_drop",
        "_fetched",
        "_late",
        "_marks",
        "_model",
        "_results",
        "_signed",
        "messages",
        "system",
        "tools_used",
    )

    def __init__(self, target: Target, fetched: Mapping[str, Fetched], marks: Marks) -> None:
        self.messages: list[_Made] = []
        self.system: list[_Made] = []
        self.tools_used: dict[str, None] = {}
        """The names of the tools that were called, as Bedrock knows them, in order."""
        self._model = target.model
        self._signed = takes_thoughts(target.model)
        self._drop = target.options.drop_params
        self._fetched = fetched
        self._marks = marks
        self._documents: dict[str, int] = {}
        self._results = 0
        """How many blocks of the last user message belong to tool results."""
        self._late = False
        """Whether one of them stands behind something else: put right once, at the turn's end."""

    def instruct(self, content: str | Sequence[_AnyBlock], param: str) -> None:
        """Take in instructions. Raises Refused."""
        if isinstance(content, str):
            self.system += _texts(content)
            return
        for at, block in enumerate(content):
            if not isinstance(block, TextBlock):
                raise _bad(f"{param}.{at}.type", "instructions are text")
            # Nothing is cited in instructions.
            if texts := _texts(block.text):
                self.system += [*texts, *self._marks.points(block.cache_control)]

    def take(self, at: int, message: Message) -> None:
        """Take in the message `at` this index. Raises Refused."""
        param = f"messages.{at}.content"
        if message.role == "system":
            self.instruct(message.content, param)
        elif isinstance(message.content, str):
            self._extend(message.role, _texts(message.content))
        else:
            for number, block in enumerate(message.content):
                self._take_block(message.role, block, f"{param}.{number}")

    def _take_block(self, role: str, block: _AnyBlock, param: str) -> None:
        if isinstance(block, ToolResultBlock):
            if role != "user":
                raise _bad(param, "`tool_result` blocks can only be in `user` messages")
            self._result(block, param)
            return
        if isinstance(block, _OF_THE_ASSISTANT) and role != "assistant":
            raise _bad(param, f"`{_tag(block)}` blocks can only be in `assistant` messages")
        made = self._block(block, param)
        if made is not None:
            # Bedrock has no point of its cache behind a thought.
            points = [] if isinstance(block, _THOUGHTS) else self._marks.points(block.cache_control)
            self._extend(role, [made, *points])

    def _block(self, block: _AnyBlock, param: str) -> _Made | None:
        """One block's twin; None: it is left out."""
        match block:
            case TextBlock():
                return _text(block)
            case ImageBlock():
                return image(block, self._fetched, param)
            case DocumentBlock():
                return document(block, self._fetched, self._documents, param)
            case SearchResultBlock():
                return _search_result(block, param)
            case ThinkingBlock():
                return self._thought(block)
            case RedactedThinkingBlock():
                if not self._signed or not block.data:
                    return None
                return {"reasoningContent": {"redactedContent": redacted_content(block.data)}}
            case ToolUseBlock():
                return self._call(block, param)
            case _:
                lacking(f"{param}.type", f"this model has no `{_tag(block)}` blocks", drop=self._drop)
                return None

    def _thought(self, block: ThinkingBlock) -> _Made | None:
        if block.signature:
            thought = {"text": block.thinking, "signature": block.signature}
            return {"reasoningContent": {"reasoningText": thought}} if self._signed else None
        taken = any(family in self._model for family in _TAKES_UNSIGNED)
        if not taken or not block.thinking or block.thinking.isspace():
            return None
        return {"reasoningContent": {"reasoningText": {"text": block.thinking}}}

    def _call(self, block: ToolUseBlock, param: str) -> _Made:
        if not bytes(block.input).startswith(b"{"):
            raise _bad(f"{param}.input", "Input should be a valid dictionary")
        name = safe_name(block.name)
        self.tools_used[name] = None
        return {"toolUse": {"toolUseId": safe_name(block.id), "name": name, "input": block.input}}

    def _result(self, block: ToolResultBlock, param: str) -> None:
        content: list[_Made] = []
        points: list[_Made] = []
        if isinstance(block.content, str):
            content = _texts(block.content)
        else:
            for at, piece in enumerate(block.content or ()):
                made = self._block(piece, f"{param}.content.{at}")
                if made is not None:
                    content.append(made)
                    points += self._marks.points(piece.cache_control)
        points += self._marks.points(block.cache_control)
        wordless = block.is_error and _NO_STATUS in self._model
        if wordless:
            content = [{"text": FAILED}, *content]
        result: _Made = {
            "toolUseId": safe_name(block.tool_use_id),
            "content": content or [{"text": NO_RESULT}],
        }
        if block.is_error and not wordless:
            result["status"] = "error"
        turn = self._turn("user")
        whole = [{"toolResult": result}, *points[-1:]]
        self._late = self._late or len(turn) > self._results
        turn.extend(whole)
        self._results += len(whole)

    def _extend(self, role: str, blocks: list[_Made]) -> None:
        if blocks:
            self._turn(role).extend(blocks)

    def _turn(self, role: str) -> list[_Made]:
        """The blocks of the turn at hand; a new one where the last was the other's."""
        if not self.messages or self.messages[-1]["role"] != role:
            self._end_turn()
            self.messages.append({"role": role, "content": []})
            self._results = 0
        content: list[_Made] = self.messages[-1]["content"]
        return content

    def _end_turn(self) -> None:
        if self._late:
            self.messages[-1]["content"] = results_first(self.messages[-1]["content"])
            self._late = False

    def finish(self) -> None:
        """All messages are in. Raises Refused where nothing is left to be answered."""
        if not self.messages:
            raise _bad("messages", "there is nothing but blanks and instructions in them")
        self._end_turn()
        for message in self.messages:
            content: list[_Made] = message["content"]
            names = [block["document"]["name"] for block in content if "document" in block]
            if names and not any("text" in block for block in content):
                content.append({"text": ", ".join(names)})
        if nothing_beside_results(self._model):
            self.messages = with_all_inside(self.messages)


def _texts(text: str) -> list[_Made]:
    return [{"text": text}] if text and not text.isspace() else []


def _text(block: TextBlock) -> _Made | None:
    if not block.text or block.text.isspace():
        return None
    if not block.citations:
        return {"text": block.text}
    cited = [_citation(location) for location in block.citations]
    return {"citationsContent": {"content": [{"text": block.text}], "citations": cited}}


def _citation(place: Location) -> _Made:
    """A citation of an earlier answer, as Converse gave it."""
    match place:
        case WebLocation():
            location: _Made = {"web": {"url": place.url}}
        case CharLocation():
            spot = _span(place.start_char_index, place.end_char_index)
            location = {"documentChar": {"documentIndex": place.document_index, **spot}}
        case PageLocation():
            spot = _span(place.start_page_number, place.end_page_number)
            location = {"documentPage": {"documentIndex": place.document_index, **spot}}
        case ContentBlockLocation():
            spot = _span(place.start_block_index, place.end_block_index)
            location = {"documentChunk": {"documentIndex": place.document_index, **spot}}
        case _:
            spot = _span(place.start_block_index, place.end_block_index)
            location = {"searchResultLocation": {"searchResultIndex": place.search_result_index, **spot}}
    made: _Made = {"location": location}
    if place.cited_text:
        made["sourceContent"] = [{"text": place.cited_text}]
    title = place.title if isinstance(place, SearchResultLocation | WebLocation) else place.document_title
    if title:
        made["title"] = title
    if isinstance(place, SearchResultLocation) and place.source:
        made["source"] = place.source
    return made


def _span(start: int, end: int) -> dict[str, Any]:
    return {"start": start, "end": end}


def _search_result(block: SearchResultBlock, param: str) -> _Made:
    content = [{"text": piece.text} for piece in block.content if piece.text]
    if not content:
        raise _bad(f"{param}.content", "Input should not be empty")
    found = {"source": block.source, "title": block.title, "content": content}
    return {"searchResult": found | citations(block.citations)}


def _tag(block: _AnyBlock) -> str:
    return str(block.__struct_config__.tag)


def _bad(param: str, message: str) -> Refused:
    return refuse(Cause.BODY_INVALID, f"{param}: {message}", param=param)
