"""The texts of a request: every place in a caller's JSON body where words stand that a model may read.

Policy that reads what is said (guards) or adds to it (templates) must not know six APIs. It is given places,
in the order of the body: whose words they are, in which message, and a way to put others there.

*A place is a text unless it is known to be none.* The tables name what is no text: identifiers, types,
models, media and signatures. A member that nobody here knows is a text, so an API that grows a new field does
not grow a hole. What is of the caller's own making throughout (what tools are called with, and answer) has no
members with a meaning of ours: there every text counts, the members' names and long whole numbers too.

    form      what stands there              who may change it
    TEXT      words                          anybody
    JSON      a text that is JSON itself     whoever keeps it JSON: the arguments of OpenAI's tool calls
    NAME      the name of a member           anybody; the member keeps its value and its place
    NUMBER    a whole number                 anybody; it becomes a text
    SIGNED    a thought under a signature    nobody: its vendor would refuse it

*What cannot be read is told too* (`unreadable`): images, sound, files, whatever is at a URL or in a store,
and long base64 anywhere. A reader that is to let nothing through must know that there is something.

*What was looked at is what is sent.* JSON may name a member twice. The decoder takes the last, and whoever
reads the bytes later perhaps the first. `Body.plain` says whether the body has none of that; where it has,
`encode` gives the body that was looked at.

Sources: the request types in `openai_chat_request`, `openai_responses_request`, `anthropic_converse_types`;
AWS API reference, Converse, InvokeModel, StartAsyncInvoke, ApplyGuardrail.
"""

import enum
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final, TypeAlias, cast

import msgspec

from stargate_core.faults import Cause, refuse
from stargate_core.secret import Private

Members: TypeAlias = dict[str, Any]

DEPTH_MAX: Final = 200
"""How deep a body may be nested: no API nests its own words deeper than ten."""
DIGITS_MIN: Final = 9
"""A number of fewer digits is a count or a year, and names nobody."""


class Speaker(enum.Enum):
    """Whose words a text is."""

    SYSTEM = "system"
    """Instructions: of `system`, `developer` and their like."""
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    """What a tool has answered."""
    NOBODY = "nobody"
    """What stands beside the conversation: tools on offer, schemas, settings."""


class Form(enum.Enum):
    """What stands in a place."""

    TEXT = "text"
    JSON = "json"
    NAME = "name"
    NUMBER = "number"
    SIGNED = "signed"


class Place(Private, msgspec.Struct):
    """One text of a request or an answer."""

    SHOWN: ClassVar[tuple[str, ...]] = ("speaker", "turn", "form")

    speaker: Speaker
    turn: int
    """The number of its message, from 0; -1: it is part of none."""
    form: Form
    holder: Any
    """The object or array it stands in."""
    key: Any
    """Under which name, or at which number."""

    @property
    def text(self) -> str:
        """What stands there."""
        return str(self.key) if self.form is Form.NAME else str(self.holder[self.key])

    def replace(self, text: str) -> None:
        """Put another text there. Two names of one object that become one lose the first one's value."""
        assert self.form is not Form.SIGNED, "a signed text was to be changed"
        if self.form is not Form.NAME:
            self.holder[self.key] = text
            return
        members: Members = self.holder
        renamed = {text if name == self.key else name: value for name, value in members.items()}
        members.clear()
        members.update(renamed)
        self.key = text


class Texts(Private, msgspec.Struct):
    """What there is to read in a body, and what is there besides."""

    places: list[Place] = msgspec.field(default_factory=list[Place])
    unreadable: list[str] = msgspec.field(default_factory=list[str])
    """The members' names that hold what nobody here can read, in order."""


class Body(Private, msgspec.Struct):
    """A request's body, as plain values."""

    value: Any
    plain: bool
    """Whether the bytes say this and nothing else: no object names a member twice."""

    def encode(self) -> bytes:
        """The body as it is now."""
        return msgspec.json.encode(self.value)


def opened(raw: bytes) -> Body:
    """A body of JSON. Raises Refused where it is none, or nested beyond all measure."""
    try:
        if not raw.isascii():
            raw.decode()
        value = msgspec.json.decode(raw)
    except UnicodeDecodeError as error:
        raise refuse(Cause.BODY_MALFORMED, f"The request's body is not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise refuse(Cause.BODY_MALFORMED, "The request's body is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise refuse(Cause.BODY_MALFORMED, f"The request's body is not valid JSON: {error}") from None
    _check_depth(value, DEPTH_MAX)
    return Body(value, _STRING.sub(b"", raw).count(b":") == _members_in(value))


def texts_of(value: Any, others: Speaker = Speaker.NOBODY) -> Texts:
    """All texts of a request's body, of any API.

    value: from `opened`. others: whose words those are
    that stand in no message and in no member known to hold instructions: of APIs whose prompt is such a
    member (InvokeModel, embeddings), the user's.
    """
    texts = Texts()
    if not isinstance(value, dict):
        _Walk(texts, others, -1).child({"": value}, "")
        return texts
    members = cast("Members", value)
    for name in list(members):
        if name in _INSTRUCTIONS:
            _Walk(texts, Speaker.SYSTEM, -1).child(members, name)
        elif name in _CONVERSATIONS and isinstance(members[name], list):
            _conversation(texts, members[name], others)
        elif name in _PROMPTS or (name == "input" and isinstance(members[name], str)):
            _Walk(texts, Speaker.USER, -1).child(members, name)
        elif name == "modelInput":
            _Walk(texts, Speaker.USER, -1).free(members, name)
        elif name == "input" and isinstance(members[name], dict):
            inner = _counted(members[name])  # CountTokens' request is another request.
            texts.places += inner.places
            texts.unreadable += inner.unreadable
        else:
            _Walk(texts, others, -1).child(members, name)
    return texts


def texts_in(value: Any) -> Texts:
    """All texts of an answer, or of a part of one: the assistant's, as far as one asks."""
    texts = Texts()
    _Walk(texts, Speaker.ASSISTANT, -1).child({"": value}, "")
    return texts


# ------------------------------------------------------------------------------------------------- the tables

_INSTRUCTIONS: Final = frozenset({"system", "instructions", "preamble"})
_CONVERSATIONS: Final = frozenset({"messages", "input", "chat_history"})
_PROMPTS: Final = frozenset(
    {"prompt", "inputText", "inputs", "message", "query", "texts", "documents", "promptVariables", "content"}
)
_SPEAKERS: Final = {
    "system": Speaker.SYSTEM,
    "developer": Speaker.SYSTEM,
    "assistant": Speaker.ASSISTANT,
    "chatbot": Speaker.ASSISTANT,
    "model": Speaker.ASSISTANT,
    "tool": Speaker.TOOL,
    "function": Speaker.TOOL,
}
_KINDS: Final = {
    "function_call": Speaker.ASSISTANT,
    "custom_tool_call": Speaker.ASSISTANT,
    "mcp_call": Speaker.ASSISTANT,
    "reasoning": Speaker.ASSISTANT,
    "tool_use": Speaker.ASSISTANT,
    "tool_result": Speaker.TOOL,
}
NO_TEXTS: Final = frozenset(
    {
        # What a thing is, which one it is, and which one is meant.
        "type", "role", "object", "status", "format", "id", "item_id", "call_id", "tool_call_id",
        "tool_use_id", "toolUseId", "previous_response_id", "conversation", "model", "modelId", "modelArn",
        "inferenceProfileArn", "media_type", "mediaType", "detail", "ttl", "encoding_format", "embedding",
        "service_tier", "latency", "finish_reason", "stop_reason", "stopReason", "finishReason",
        "completionReason", "system_fingerprint", "anthropic_version", "anthropic_beta", "obfuscation",
        "guardrailIdentifier", "guardrailVersion", "clientRequestToken", "s3Uri", "kmsKeyId", "bucketOwner",
        "invocationArn", "p",
        # What its vendor has signed or sealed.
        "signature", "encrypted_content", "redactedContent",
    }
)  # fmt: skip
"""Members that hold no words, wherever they stand, but for values of the caller's own making."""
_MEDIA: Final = frozenset(
    {"bytes", "s3Location", "file_data", "file_id", "file_url", "image_url", "imageUrl", "audio_data", "body"}
)
"""Members that hold, or name, what is no text."""
_FREE: Final = frozenset({"input", "json", "arguments", "modelInput"})
"""Members whose value, where it is an object, is of the caller's own making."""
_JSON_TEXTS: Final = frozenset({"arguments"})
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SEALED: Final = re.compile(r"(?:data:[^,]{0,256},)?[A-Za-z0-9+/_-]{512,}={0,2}\Z")
"""Base64 that is longer than any word, key or token: something packed."""


class _Walk:
    """Finds the places under one member."""

    __slots__ = ("speaker", "texts", "turn")

    def __init__(self, texts: Texts, speaker: Speaker, turn: int) -> None:
        self.texts = texts
        self.speaker = speaker
        self.turn = turn

    def child(self, holder: Any, key: Any, parent: str = "") -> None:
        """What stands under `key`, by the tables. parent: the member that the holder itself stands under."""
        value = holder[key]
        if isinstance(value, str):
            self._text(holder, key, value, parent)
        elif isinstance(value, list):
            for at in range(len(cast("Sequence[Any]", value))):
                self.child(value, at, key if isinstance(key, str) else parent)
        elif isinstance(value, dict):
            if key in _MEDIA and key == "s3Location":
                self.texts.unreadable.append(key)
            elif key in _FREE:
                self.free(holder, key)
            else:
                self._object(cast("Members", value), key if isinstance(key, str) else parent)

    def free(self, holder: Any, key: Any) -> None:
        """What stands under `key`, where nothing but the caller gives members a meaning."""
        value = holder[key]
        if isinstance(value, str):
            if _SEALED.match(value) is not None:
                self.texts.unreadable.append(str(key))
            else:
                self._add(Form.TEXT, holder, key)
        elif isinstance(value, list):
            for at in range(len(cast("Sequence[Any]", value))):
                self.free(value, at)
        elif isinstance(value, dict):
            for name in list(cast("Members", value)):
                self.free(value, name)
                self._add(Form.NAME, value, name)
        elif type(value) is int and abs(value) >= 10 ** (DIGITS_MIN - 1):
            self._add(Form.NUMBER, holder, key)

    def _object(self, members: Members, parent: str) -> None:
        kind = members.get("type")
        speaker = _KINDS.get(kind) if isinstance(kind, str) else None
        if speaker is None and parent in ("toolResult", "toolUse"):
            speaker = Speaker.TOOL if parent == "toolResult" else Speaker.ASSISTANT
        walk = self if speaker is None else _Walk(self.texts, speaker, self.turn)
        for name in list(members):
            walk.child(members, name, parent)

    def _text(self, holder: Any, key: Any, value: str, parent: str) -> None:
        name = key if isinstance(key, str) else parent
        if name in NO_TEXTS:
            return
        members: Members = cast("Members", holder) if isinstance(holder, dict) else {}
        if name in _MEDIA or _is_media(name, members, parent) or _SEALED.match(value) is not None:
            if members.get("type") != "redacted_thinking":
                self.texts.unreadable.append(name)
        elif members.get("signature") and name in ("thinking", "text"):
            self._add(Form.SIGNED, holder, key)
        else:
            self._add(Form.JSON if name in _JSON_TEXTS else Form.TEXT, holder, key)

    def _add(self, form: Form, holder: Any, key: Any) -> None:
        self.texts.places.append(Place(self.speaker, self.turn, form, holder, key))


def _is_media(name: str, members: Members, parent: str) -> bool:
    """Whether a member is media because of what stands beside it."""
    kind = members.get("type")
    if name == "data":
        if kind == "text":
            return False  # A document of plain text.
        return kind in ("base64", "redacted_thinking") or not {"media_type", "format"}.isdisjoint(members)
    return name == "url" and (kind == "url" or parent in ("image_url", "source"))


def _conversation(texts: Texts, messages: list[Any], others: Speaker) -> None:
    """Messages or items, each with its speaker."""
    otherwise: Speaker = Speaker.USER if others is Speaker.NOBODY else others
    for turn, message in enumerate(messages):
        speaker: Speaker = otherwise
        if isinstance(message, dict):
            members = cast("Members", message)
            role, kind = members.get("role"), members.get("type")
            if isinstance(role, str):
                speaker = _SPEAKERS.get(role.lower(), Speaker.USER)
            elif isinstance(kind, str):
                output = kind.endswith("_output")
                speaker = Speaker.TOOL if output else _KINDS.get(kind, otherwise)
        _Walk(texts, speaker, turn).child(messages, turn)


def _counted(members: Members) -> Texts:
    """The request inside CountTokens': Converse's, or InvokeModel's, of which nothing can be read."""
    inner = members.get("converse")
    if isinstance(inner, dict) and len(members) == 1:
        return texts_of(inner)
    texts = Texts()
    _Walk(texts, Speaker.USER, -1).child({"": members}, "")
    return texts


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        return iter(cast("Members", value).values())
    return iter(cast("Sequence[Any]", value)) if isinstance(value, list) else iter(())


def _check_depth(value: Any, most: int) -> None:
    """Raises Refused where the value is nested deeper than that."""
    level = [value]
    for _ in range(most):
        level = [child for one in level for child in _children(one) if isinstance(child, dict | list)]
        if not level:
            return
    raise refuse(Cause.BODY_MALFORMED, "The request's body is nested too deeply")


def _members_in(value: Any) -> int:
    """How many members all objects of a value have, together."""
    count = 0
    pending: list[Any] = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            count += len(cast("Members", one))
        pending += [child for child in _children(one) if isinstance(child, dict | list)]
    return count
