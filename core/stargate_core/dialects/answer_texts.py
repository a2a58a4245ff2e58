"""The texts of an answer, as it comes: part by part, in every dialect.

A plain answer is JSON, and `texts_of` (texts.py) finds its texts. A stream cuts texts into deltas, and a word
may stand in two of them. So a reader of a stream knows *strands*: each is one text that comes in deltas, in
the order in which they belong together. `StreamTexts` takes a stream's parts and tells a listener

    more(strand, text, form)   the next delta of a strand; what the listener gives back stands there then
    rest(strand)               the strand has ended: what the listener has held back of it
    whole(place)               a text in one piece
    unreadable(name)           a member that holds what is no text: sound, a picture

What a listener has held back goes to the caller in a delta of its own, put *before* the part that ends the
strand, as the dialect has it: before `content_block_stop`, before the chunk with the `finish_reason`, before
`response.output_text.done`. A strand that ends in the same chunk that says its last word takes it there.

    dialect           a strand is                          ends with
    OpenAI chat       a member of a choice's delta, or     the choice's finish_reason
                      one tool call's arguments
    OpenAI responses  a `…delta` event's item and place    its `…done`; the item's; the response's
    Anthropic         a block's text, thought, arguments   content_block_stop; message_delta
    Converse          the same                             contentBlockStop; messageStop

The events of OpenAI's responses are numbered without a gap: where one has been put in between, all behind it
are numbered on.

Deltas of tool arguments are of the form JSON: pieces of a text that is JSON. Texts that an event says again
as a whole (`response.output_text.done`) are told as a whole. Of the log probabilities that some vendors add,
token by token, nothing is told: whoever changes texts has to drop them (`drop_logprobs`).
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol, TypeAlias, cast

import msgspec

from stargate_core.dialects.face import Part
from stargate_core.dialects.texts import NO_TEXTS, Form, Place, texts_in
from stargate_core.faults import Cause, Fault, Refused
from stargate_core.secret import Private

Members: TypeAlias = dict[str, Any]
Strand: TypeAlias = tuple[Any, ...]
_Found: TypeAlias = tuple[Strand, Members, str, Form, tuple[Any, ...]]
"""A delta: its strand, where its text stands, its form, and the way to it from the event's own delta."""

STRANDS_MAX: Final = 4096
"""Strands of one stream that are open at a time: more are no answer."""


class Listener(Protocol):
    """Who is told the texts."""

    def more(self, strand: Strand, text: str, form: Form) -> str:
        """The next of a strand."""
        ...

    def rest(self, strand: Strand) -> str:
        """A strand has ended."""
        ...

    def whole(self, place: Place) -> None:
        """A text in one piece."""
        ...

    def unreadable(self, name: str) -> None:
        """What is no text."""
        ...


class _Open(Private, msgspec.Struct):
    """A strand that has begun: an event that could say more of it, and the way to the place of its text."""

    name: str
    event: Members
    path: tuple[Any, ...]


class StreamTexts:
    """Reads one stream. dialect: its name; listener: who is told."""

    __slots__ = ("_dialect", "_listener", "_open", "_shift", "_taken")

    def __init__(self, dialect: str, listener: Listener) -> None:
        self._dialect = dialect
        self._listener = listener
        self._open: dict[Strand, _Open] = {}
        self._taken: list[tuple[Members, str]] = []
        """The places of the part at hand that were told as deltas."""
        self._shift = 0

    def read(self, part: Part) -> list[Part]:
        """Read a part, and let the listener change it in place; the parts that belong before it. Raises
        Refused where a stream has more strands than any answer has.
        """
        told = part.payload
        if not isinstance(told, dict):
            return []
        payload = cast("Members", told)
        self._taken.clear()
        match self._dialect:
            case "openai-chat":
                before = self._chat(payload)
            case "openai-responses":
                before = self._responses(payload)
            case _ if self._dialect == "anthropic-messages" or part.name == "chunk":
                before = self._anthropic(payload)
            case _:
                before = self._converse(part.name, payload)
        texts = texts_in(payload)
        for name in texts.unreadable:
            self._listener.unreadable(name)
        for place in texts.places:
            if not any(place.holder is holder and place.key == key for holder, key in self._taken):
                self._listener.whole(place)
        if len(self._open) > STRANDS_MAX:
            raise Refused(Fault(Cause.UPSTREAM_GARBLED, detail=f"more than {STRANDS_MAX} texts at a time"))
        wrapped = part.name == "chunk"
        return [
            msgspec.structs.replace(part, name=part.name if wrapped else name, payload=event)
            for name, event in before
        ]

    def _more(self, strand: Strand, holder: Members, key: str, form: Form) -> bool:
        """A delta of a strand; whether it is the first."""
        self._taken.append((holder, key))
        holder[key] = self._listener.more(strand, holder[key], form)
        return strand not in self._open

    def _ends(self, *prefix: Any) -> list[tuple[Strand, _Open, str]]:
        """End all strands that begin so; those that something was held back of, with that."""
        found: list[tuple[Strand, _Open, str]] = []
        for strand in [strand for strand in self._open if strand[: len(prefix)] == prefix]:
            begun = self._open.pop(strand)
            rest = self._listener.rest(strand)
            if rest:
                found.append((strand, begun, rest))
        return found

    # ------------------------------------------------------------------------------------------ OpenAI's chat

    def _chat(self, payload: Members) -> list[tuple[str, Members]]:
        before: list[tuple[str, Members]] = []
        for choice in _list(payload.get("choices")):
            if isinstance(choice, dict):
                before += self._choice(payload, cast("Members", choice))
        return before

    def _choice(self, payload: Members, choice: Members) -> list[tuple[str, Members]]:
        at = choice.get("index")
        here: dict[Strand, tuple[Members, str]] = {}
        for strand, holder, key, form, path in _deltas(at, _object(choice.get("delta"))):
            if self._more(strand, holder, key, form):
                again = {"index": at, "delta": _grown(path), "logprobs": None, "finish_reason": None}
                event = {**payload, "choices": [again]}
                if "usage" in event:
                    event["usage"] = None
                self._open[strand] = _Open("", event, ("choices", 0, "delta", *path))
            here[strand] = holder, key
        if choice.get("finish_reason") is None:
            return []
        before: list[tuple[str, Members]] = []
        for strand, begun, rest in self._ends(at):
            if strand in here:
                holder, key = here[strand]
                holder[key] += rest
            else:
                before.append((begun.name, _said(begun, rest)))
        return before

    # ------------------------------------------------------------------------------------- OpenAI's responses

    def _responses(self, payload: Members) -> list[tuple[str, Members]]:
        told = payload.get("type")
        kind = told if isinstance(told, str) else ""
        stem, _, verb = kind.rpartition(".")
        item = payload.get("output_index")
        place = (item, stem, *[payload.get(name) for name in _PLACE])
        before: list[tuple[Strand, _Open, str]] = []
        if verb == "delta" and isinstance(payload.get("delta"), str):
            if stem.endswith("audio"):
                self._taken.append((payload, "delta"))
                self._listener.unreadable("delta")
            else:
                form = Form.JSON if stem.endswith("_arguments") else Form.TEXT
                if self._more(place, payload, "delta", form):
                    event = {name: value for name, value in payload.items() if name not in _OF_ONE_DELTA}
                    self._open[place] = _Open(kind, event, ("delta",))
        elif kind == "response.output_item.done":
            before = self._ends(item)
        elif verb == "done":
            before = self._ends(*place)
        elif kind in _RESPONSE_ENDS:
            before = self._ends()
        events = [(begun.name, _said(begun, rest)) for _, begun, rest in before]
        number = payload.get("sequence_number")
        if isinstance(number, int):
            for _, event in events:
                event["sequence_number"] = number + self._shift
                self._shift += 1
            payload["sequence_number"] = number + self._shift
        return events

    # ----------------------------------------------------------------------------------------------- Claude's

    def _anthropic(self, payload: Members) -> list[tuple[str, Members]]:
        at = payload.get("index")
        match payload.get("type"):
            case "content_block_start":
                block = _object(payload.get("content_block"))
                kind = block.get("type")
                if kind in ("text", "thinking") and isinstance(block.get(kind), str):
                    self._fragment(at, f"{kind}_delta", block, kind, Form.TEXT)
                return []
            case "content_block_delta":
                delta = _object(payload.get("delta"))
                kind = delta.get("type")
                if kind != "citations_delta" and isinstance(kind, str):
                    for name, value in list(delta.items()):
                        if isinstance(value, str) and name not in NO_TEXTS:
                            form = Form.JSON if name == "partial_json" else Form.TEXT
                            self._fragment(at, kind, delta, name, form)
                return []
            case "content_block_stop":
                ending = self._ends(at)
            case "message_delta" | "message_stop":
                ending = self._ends()
            case _:
                return []
        return [(begun.name, _said(begun, rest)) for _, begun, rest in ending]

    def _fragment(self, at: Any, kind: str, holder: Members, name: str, form: Form) -> None:
        if self._more((at, name), holder, name, form):
            event = {"type": "content_block_delta", "index": at, "delta": {"type": kind, name: ""}}
            self._open[at, name] = _Open("content_block_delta", event, ("delta", name))

    # --------------------------------------------------------------------------------------------- Converse's

    def _converse(self, name: str, payload: Members) -> list[tuple[str, Members]]:
        at = payload.get("contentBlockIndex")
        match name:
            case "contentBlockDelta":
                self._nested(at, _object(payload.get("delta")), ())
                return []
            case "contentBlockStop":
                ending = self._ends(at)
            case "messageStop" | "metadata":
                ending = self._ends()
            case _:
                return []
        return [(begun.name, _said(begun, rest)) for _, begun, rest in ending]

    def _nested(self, at: Any, holder: Members, path: tuple[str, ...]) -> None:
        """The texts of a delta, which stand in objects that say what they are texts of."""
        for name, value in list(holder.items()):
            way = (*path, name)
            if isinstance(value, str):
                if name in NO_TEXTS or name == "bytes":
                    continue
                form = Form.JSON if way == ("toolUse", "input") else Form.TEXT
                if self._more((at, *way), holder, name, form):
                    event = {"contentBlockIndex": at, "delta": _grown(way)}
                    self._open[at, *way] = _Open("contentBlockDelta", event, ("delta", *way))
            elif isinstance(value, dict) and name != "citation":
                self._nested(at, cast("Members", value), way)


def drop_logprobs(value: Any) -> None:
    """Take the log probabilities out of a part of OpenAI's: they say the text again, token by token."""
    if isinstance(value, dict):
        members = cast("Members", value)
        told = members.get("logprobs")
        if told:
            members["logprobs"] = [] if isinstance(told, list) else None
        for one in members.values():
            if isinstance(one, dict | list):
                drop_logprobs(one)
    elif isinstance(value, list):
        for one in cast("Sequence[Any]", value):
            drop_logprobs(one)


_PLACE: Final = ("item_id", "content_index", "summary_index")
_OF_ONE_DELTA: Final = frozenset({"obfuscation", "logprobs"})
_RESPONSE_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_PIECES: Final = ("text", "summary", "transcript")
_WHOLE: Final = frozenset({"thinking_blocks", "annotations", "citations"})
"""Lists of a delta whose members are whole."""


def _deltas(at: Any, delta: Members) -> Iterator[_Found]:
    """The strands of a choice's delta."""
    for name, value in list(delta.items()):
        if isinstance(value, str):
            if name not in NO_TEXTS:
                yield (at, name), delta, name, Form.TEXT, (name,)
        elif name == "function_call":
            members = _object(value)
            if isinstance(members.get("arguments"), str):
                yield (at, name), members, "arguments", Form.JSON, (name, "arguments")
        elif isinstance(value, dict):
            yield from _pieces((at, name), cast("Members", value), (name,))
        elif name not in _WHOLE:
            for number, one in enumerate(_list(value)):
                members = _object(one)
                which = members.get("index", number)
                if name == "tool_calls":
                    yield from _call(at, which, members)
                else:
                    yield from _pieces((at, name, which), members, (name, _Numbered(which)))


def _pieces(strand: Strand, members: Members, path: tuple[Any, ...]) -> Iterator[_Found]:
    for name in _PIECES:
        if isinstance(members.get(name), str):
            yield (*strand, name), members, name, Form.TEXT, (*path, name)


def _call(at: Any, which: Any, call: Members) -> Iterator[_Found]:
    """What a tool is called with."""
    for outer, inner, form in (("function", "arguments", Form.JSON), ("custom", "input", Form.TEXT)):
        called = _object(call.get(outer))
        if isinstance(called.get(inner), str):
            path = ("tool_calls", _Numbered(which), outer, inner)
            yield (at, "tool_calls", which, outer), called, inner, form, path


class _Numbered(Private, msgspec.Struct, frozen=True):
    """In a path: the only member of an array, an object that bears this number."""

    index: Any


def _grown(path: Sequence[Any]) -> Any:
    """The object with nothing but this path in it, and an empty text at its end."""
    value: Any = ""
    for step in reversed(path):
        if isinstance(step, _Numbered):
            value = [{"index": step.index, **value}]
        else:
            value = {step: value}
    return value


def _said(begun: _Open, text: str) -> Members:
    """The event that says one more text of a strand."""
    event: Members = _copy(begun.event)
    holder: Any = event
    for step in begun.path[:-1]:
        holder = holder[0 if isinstance(step, _Numbered) else step]
    holder[begun.path[-1]] = text
    return event


def _copy(value: Any) -> Any:
    """The same, of which nothing is shared."""
    if isinstance(value, dict):
        return {name: _copy(one) for name, one in cast("Members", value).items()}
    return [_copy(one) for one in cast("Sequence[Any]", value)] if isinstance(value, list) else value


def _object(value: Any) -> Members:
    return cast("Members", value) if isinstance(value, dict) else {}


def _list(value: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, list) else ()
