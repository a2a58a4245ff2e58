"""The rules of a conversation that Converse enforces beside its service model, in AWS's words.

The first message is the user's; roles alternate; no text is blank; each `toolUse` of the assistant is
answered by a `toolResult` in the very next message, and none is answered that was not asked; `toolConfig`
must be there whenever the history has either. Then what single models refuse: system messages, tools in
streams.

Recorded traffic shows AWS laxer than its own words, and where it does the simulator is as lax: Claude 4 takes
a conversation that the assistant begins, Titan takes two messages of the same role, and white space may stand
as a text of its own beside a text that says something.

Sources: AWS's answers as quoted in recordings and public issues; the Converse API's reference; recorded
requests that were answered (tests/vectors/recorded-bedrock).
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from stargate.simulator.errors import Refusal, invalid
from stargate.simulator.messages_schema import check_thought
from stargate.simulator.models import is_claude

_DOCUMENT_NAME: Final = re.compile(r"[\w\-()\[\]]+( [\w\-()\[\]]+)*", re.ASCII)
_NO_TOOLS_IN_STREAMS: Final = re.compile(
    r"meta\.llama[34]|deepseek\.r1|mistral\.(mistral-large-2402|pixtral)|writer\.palmyra"
)
_NO_SYSTEM_MESSAGES: Final = re.compile(
    r"amazon\.titan-text|cohere\.command-(light-)?text|mistral\.(mistral-7b|mixtral)|ai21\.j2"
)

_ASSISTANT_MAY_BEGIN: Final = re.compile(r"anthropic\.claude-(sonnet|opus|haiku)-[4-9]")
_ROLES_MAY_REPEAT: Final = re.compile(r"amazon\.titan-text")

Message = Mapping[str, Any]


def check_conversation(model_id: str, members: Mapping[str, Any], *, streaming: bool) -> None:
    """Hold a Converse request, already checked against the model, against the rules. Raises Refusal."""
    messages: Sequence[Message] | None = members.get("messages")
    if messages is None:
        raise invalid(
            "1 validation error detected: Value null at 'messages' failed to satisfy constraint: Member "
            "must not be null"
        )
    _check_roles(messages, model_id)
    for index, message in enumerate(messages):
        _check_content(index, message)
    _check_tool_turns(messages)
    _check_tool_config(messages, members.get("toolConfig"), model_id, streaming=streaming)
    _check_system(members.get("system", ()), model_id)
    if is_claude(model_id):
        _check_thoughts(messages)
        _check_last(messages[-1])


def _check_roles(messages: Sequence[Message], model_id: str) -> None:
    roles = [message["role"] for message in messages if message["role"] != "system"]
    if not roles or (roles[0] != "user" and not _ASSISTANT_MAY_BEGIN.search(model_id)):
        raise invalid(
            "A conversation must start with a user message. Try again with a conversation that starts "
            "with a user message."
        )
    for before, after in itertools.pairwise(roles):
        if before == after and not _ROLES_MAY_REPEAT.search(model_id):
            raise invalid(
                "A conversation must alternate between user and assistant roles. Make sure the "
                "conversation alternates between user and assistant roles and try again."
            )


def _check_content(index: int, message: Message) -> None:
    content: Sequence[Mapping[str, Any]] = message["content"]
    where = f"messages.{index}"
    if not content:
        raise invalid(
            f"The content field in the Message object at {where} is empty. Add a ContentBlock object to "
            "the content field and try again."
        )
    says_something = any(block.get("text", "").strip() for block in content)
    for at, block in enumerate(content):
        path = f"{where}.content.{at}"
        match block:
            case {"text": str(text)} if not text or not (text.strip() or says_something):
                raise _blank("ContentBlock", path)
            case {"toolUse": {"input": given}} if not isinstance(given, dict):
                raise _not_an_object(f"{path}.toolUse.input")
            case {"toolResult": {"content": results}}:
                for part, result in enumerate(results):
                    if "json" in result and not isinstance(result["json"], dict):
                        raise _not_an_object(f"{path}.toolResult.content.{part}.json")
            case {"document": {"name": str(name)}} if _DOCUMENT_NAME.fullmatch(name) is None:
                raise invalid(
                    "The document file name can only contain alphanumeric characters, whitespace "
                    "characters, hyphens, parentheses, and square brackets. The name can't contain more "
                    "than one consecutive whitespace character."
                )
            case {"image": _} | {"document": _} | {"toolResult": _} if message["role"] == "assistant":
                kind = next(iter(block))
                raise invalid(
                    f"The {kind} field in the ContentBlock object at {path} is only allowed for the user "
                    f"role."
                )
            case {"toolUse": _} | {"reasoningContent": _} if message["role"] == "user":
                kind = next(iter(block))
                raise invalid(
                    f"The {kind} field in the ContentBlock object at {path} is only allowed for the "
                    f"assistant role."
                )
            case _:
                pass


def _blank(kind: str, path: str) -> Refusal:
    return invalid(
        f"The text field in the {kind} object at {path} is blank. Add text to the text field, and try again."
    )


def _not_an_object(path: str) -> Refusal:
    return invalid(
        f"The format of the value at {path} is invalid. Provide a json object for the field and try again."
    )


def _check_tool_turns(messages: Sequence[Message]) -> None:
    asked: list[str] = []
    for index, message in enumerate(messages):
        answered = [block["toolResult"]["toolUseId"] for block in message["content"] if "toolResult" in block]
        missing = [use for use in asked if use not in answered]
        if missing:
            raise invalid(
                f"Expected toolResult blocks at messages.{index}.content for the following Ids: "
                f"{', '.join(missing)}"
            )
        if len(answered) > len(asked) or any(result not in asked for result in answered):
            raise invalid(
                f"The number of toolResult blocks at messages.{index}.content exceeds the number of "
                "toolUse blocks of previous turn."
            )
        if message["role"] != "system":
            asked = [block["toolUse"]["toolUseId"] for block in message["content"] if "toolUse" in block]
            if len(set(asked)) < len(asked):
                raise invalid(
                    f"The toolUse blocks at messages.{index}.content contain duplicate Ids: "
                    f"{', '.join(asked)}"
                )


def _check_tool_config(
    messages: Sequence[Message], config: Mapping[str, Any] | None, model_id: str, *, streaming: bool
) -> None:
    if config is None:
        blocks = (block for message in messages for block in message["content"])
        if any("toolUse" in block or "toolResult" in block for block in blocks):
            raise invalid(
                "The toolConfig field must be defined when using toolUse and toolResult content blocks."
            )
        return
    if streaming and _NO_TOOLS_IN_STREAMS.search(model_id):
        raise invalid("This model doesn't support tool use in streaming mode.")
    names: list[str] = []
    for index, tool in enumerate(config["tools"]):
        if "toolSpec" not in tool:
            continue
        names.append(tool["toolSpec"]["name"])
        schema = tool["toolSpec"]["inputSchema"].get("json")
        if not isinstance(schema, dict) or schema.get("type") != "object":  # pyright: ignore[reportUnknownMemberType]
            raise invalid(
                f"The value at toolConfig.tools.{index}.toolSpec.inputSchema.json.type must be one of the "
                f"following: object."
            )
    if len(set(names)) < len(names):
        raise invalid("The tools in toolConfig have duplicate names.")
    match config.get("toolChoice"):
        case {"tool": {"name": str(name)}} if name not in names:
            raise invalid(
                "The model returned the following errors: tool_choice: Tool "
                f"'{name}' not found in provided tools"
            )
        case _:
            pass


def _check_system(system: Sequence[Mapping[str, Any]], model_id: str) -> None:
    if system and _NO_SYSTEM_MESSAGES.search(model_id):
        raise invalid(
            "This model doesn't support system messages. Try again without system messages or use a model "
            "that supports system messages."
        )
    for index, block in enumerate(system):
        if not block.get("text", "something else").strip():
            raise _blank("SystemContentBlock", f"system.{index}")


def _check_thoughts(messages: Sequence[Message]) -> None:
    """Claude takes back only thoughts that it has signed, and those of its last turn only unchanged."""
    last = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    for index, message in enumerate(messages):
        for at, block in enumerate(message["content"]):
            thought = _as_claude_has_it(block.get("reasoningContent"))
            try:
                check_thought(thought, f"messages.{index}.content.{at}", latest=index == last)
            except Refusal as refusal:
                said = refusal.error.message
                raise invalid(f"The model returned the following errors: {said}") from None


def _as_claude_has_it(content: Any) -> Mapping[str, Any]:
    match content:
        case {"reasoningText": {"text": text, **further}}:
            return {"type": "thinking", "thinking": text, "signature": further.get("signature")}
        case {"redactedContent": bytes(data)}:
            return {"type": "redacted_thinking", "data": data.decode("latin-1")}
        case _:
            return {}


def _check_last(message: Message) -> None:
    """Claude's rule about a prefilled answer."""
    match message:
        case {"role": "assistant", "content": [*_, {"text": str(text)}]} if text != text.rstrip():
            raise invalid(
                "The model returned the following errors: messages: final assistant content cannot end "
                "with trailing whitespace"
            )
        case _:
            pass
