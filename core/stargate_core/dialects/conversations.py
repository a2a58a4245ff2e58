"""Conversations: putting messages before and behind what a caller has said, in the form of each API.

    form        messages stand in       a system text stands in
    CHAT        `messages`              a message of that role, where it is put
    RESPONSES   `input`                 `instructions`; behind the rest, an item of that role
    ANTHROPIC   `messages`              `system`: one more block
    CONVERSE    `messages`              `system`: one more block

Nothing that is there is rewritten, so what a caller has marked for caching stays marked; blocks and messages
are put beside it. Two things make more of it than a list:

- Converse wants users and assistants to take turns, so a message next to one of the same role becomes a block
  of that one. (The other APIs take several in a row.)
- A response that goes on from an earlier one (`previous_response_id`) has had what stands before the
  conversation, and gets it no second time; instructions are not carried over, and are given each time.

Where a body of InvokeModel is told from another's, it is by what only one family writes.

Sources: AWS API reference, Converse; docs.anthropic.com, Messages; OpenAI's API reference, chat completions
and responses.
"""

import enum
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeGuard

import msgspec

Members: TypeAlias = dict[str, Any]


class Form(enum.Enum):
    """How an API writes a conversation."""

    CHAT = "chat"
    RESPONSES = "responses"
    ANTHROPIC = "anthropic"
    CONVERSE = "converse"


class Said(msgspec.Struct, frozen=True):
    """A message of one text."""

    role: str
    """system, user or assistant."""
    text: str


def form_of_invoke(members: Members) -> Form:
    """The form of a body that InvokeModel hands to the model as it is."""
    if "anthropic_version" in members:
        return Form.ANTHROPIC
    if "schemaVersion" in members or "inferenceConfig" in members or _has_bare_blocks(members):
        return Form.CONVERSE
    return Form.CHAT


def put_around(members: Members, form: Form, before: Sequence[Said], behind: Sequence[Said]) -> bool:
    """Put messages before and behind the conversation; False if there is none to be seen."""
    name = "input" if form is Form.RESPONSES else "messages"
    messages = members.get(name)
    if form is Form.RESPONSES and isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not is_list(messages):
        return False
    messages = list(messages)
    if form is Form.RESPONSES:
        _instruct(members, [said.text for said in before if said.role == "system"])
        before = [
            said for said in before if said.role != "system" and not members.get("previous_response_id")
        ]
    elif form is not Form.CHAT:
        _put_system(members, form, before, behind)
        before = [said for said in before if said.role != "system"]
        behind = [said for said in behind if said.role != "system"]
    for said in reversed(before):
        _put(messages, form, said, first=True)
    for said in behind:
        _put(messages, form, said, first=False)
    members[name] = messages
    return True


def put_in(members: Members, form: Form, messages: list[Any]) -> None:
    """Make this the conversation: messages as chat completions have them, with texts for contents.

    A content that is a list of blocks stays as it is, in whatever form it was written.
    """
    if form is Form.RESPONSES:
        members["input"] = messages
        return
    if form is Form.CHAT:
        members["messages"] = messages
        return
    kept: list[Any] = []
    system: list[Said] = []
    for message in messages:
        content = message.get("content") if is_object(message) else None
        if not (is_object(message) and isinstance(content, str)):
            kept.append(message)
        elif message.get("role") in ("system", "developer"):
            system.append(Said("system", content))
        else:
            _put(kept, form, Said(str(message.get("role")), content), first=False)
    members["messages"] = kept
    _put_system(members, form, (), system)


# ------------------------------------------------------------------------------------------------- the pieces


def _put(messages: list[Any], form: Form, said: Said, *, first: bool) -> None:
    """Put one message at an end of the conversation."""
    at = 0 if first else len(messages)
    if form is not Form.CONVERSE:
        messages.insert(at, {"role": said.role, "content": said.text})
        return
    block = {"text": said.text}
    neighbour = messages[0 if first else -1] if messages else None
    if is_object(neighbour) and neighbour.get("role") == said.role and is_list(neighbour.get("content")):
        blocks = neighbour["content"]
        content = [block, *blocks] if first else [*blocks, block]
        messages[0 if first else -1] = {**neighbour, "content": content}
    else:
        messages.insert(at, {"role": said.role, "content": [block]})


def _put_system(members: Members, form: Form, before: Sequence[Said], behind: Sequence[Said]) -> None:
    front, back = _system_blocks(form, before), _system_blocks(form, behind)
    if not (front or back):
        return
    there = members.get("system")
    if isinstance(there, str):
        there = [{"type": "text", "text": there}] if there else []
    if there is None:
        there = []
    if is_list(there):  # Else it is the model's to refuse.
        members["system"] = [*front, *there, *back]


def _system_blocks(form: Form, every: Sequence[Said]) -> list[Members]:
    texts = [said.text for said in every if said.role == "system"]
    if form is Form.ANTHROPIC:
        return [{"type": "text", "text": text} for text in texts]
    return [{"text": text} for text in texts]


def _instruct(members: Members, texts: list[str]) -> None:
    there = members.get("instructions")
    if texts and (there is None or isinstance(there, str)):
        members["instructions"] = "\n\n".join([*texts, there] if there else texts)


def _has_bare_blocks(members: Members) -> bool:
    """Whether a message holds blocks as Converse and Nova write them: without a type."""
    messages = members.get("messages")
    for message in messages if is_list(messages) else ():
        content = message.get("content") if is_object(message) else None
        for block in content if is_list(content) else ():
            if is_object(block):
                return "type" not in block
    return False


def is_object(value: Any) -> TypeGuard[Members]:
    """Whether a plain value is an object."""
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether a plain value is an array."""
    return isinstance(value, list)
