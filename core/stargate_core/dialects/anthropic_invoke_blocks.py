"""The blocks of a Messages request, gone through without decoding what is none of our business.

A request is carried as it came: order, numbers, escapes and spaces of what a model is to read stay the
caller's own bytes, or a prompt's cache misses and a signature no longer fits. What must be changed all the
same (an image's source, a setting that Bedrock lacks) is changed in its place: the objects on the way to it
are written anew, member by member, and everything beside it is copied.

Gone through are `system`, `tools` and `messages`, their objects, and in those what is called `content` or
`source`: that is where Anthropic nests blocks. A tool's schema and a tool call's input are the caller's own
JSON, whatever their members are called, and are never looked into. Only what may bear what is
looked for is decoded at all. What has another shape than expected is left alone: to refuse it is the model's
part.

Source: anthropic-sdk-python src/anthropic/types (ContentBlockParam, ToolResultBlockParam,
DocumentBlockParam).
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec
from msgspec import Raw

from stargate_core.dialects.converse import NOT_JSON

Members: TypeAlias = dict[str, Raw]
"""A JSON object, its members' values as they came."""
Bears: TypeAlias = Callable[[bytes], bool]
"""Whether some JSON may hold what is looked for: asked before any of it is decoded."""
Visit: TypeAlias = Callable[[Members, str], bool]
"""Looks at an object, and its place (`messages.0.content.1`); whether it has changed the object."""

OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
ARRAY: Final = msgspec.json.Decoder(list[Raw])
_TEXT: Final = msgspec.json.Decoder(str)
_ROOTS: Final = ("system", "tools", "messages")
_NESTS: Final = ("content", "source")
_DEPTH_MAX: Final = 16
"""Deeper than Anthropic nests anything: message, content, tool result, content, document, source, content,
image, source.
"""
encoded: Final = msgspec.json.Encoder().encode


def opening(raw: Raw) -> bytes:
    """The first byte of a value: it tells what kind of value it is."""
    return bytes(memoryview(raw)[:1])


def text_of(raw: Raw | None) -> str | None:
    """A member's text; None where it is none."""
    if raw is None:
        return None
    try:
        return _TEXT.decode(raw)
    except NOT_JSON:
        return None


def go_through(members: Members, bears: Bears, visit: Visit) -> None:
    """Let `visit` see every object of a request that may bear what it looks for, and keep what it changes."""
    visit(members, "")
    for name in _ROOTS:
        raw = members.get(name)
        if raw is not None and bears(bytes(raw)):
            members[name] = _value(raw, name, bears, visit, 0)


def _value(raw: Raw, place: str, bears: Bears, visit: Visit, depth: int) -> Raw:
    """The value after the visit; the very same where nothing in it has changed."""
    if depth > _DEPTH_MAX:
        return raw
    kind = opening(raw)
    try:
        if kind == b"[":
            return _array(raw, place, bears, visit, depth)
        return _object(raw, place, bears, visit, depth) if kind == b"{" else raw
    except NOT_JSON:
        return raw


def _array(raw: Raw, place: str, bears: Bears, visit: Visit, depth: int) -> Raw:
    items = ARRAY.decode(raw)
    changed = False
    for index, item in enumerate(items):
        if bears(bytes(item)):
            items[index] = _value(item, f"{place}.{index}", bears, visit, depth + 1)
            changed = changed or items[index] is not item
    return Raw(encoded(items)) if changed else raw


def _object(raw: Raw, place: str, bears: Bears, visit: Visit, depth: int) -> Raw:
    members = OBJECT.decode(raw)
    changed = visit(members, place)
    for name in _NESTS:
        item = members.get(name)
        if item is not None and bears(bytes(item)):
            members[name] = _value(item, f"{place}.{name}", bears, visit, depth + 1)
            changed = changed or members[name] is not item
    return Raw(encoded(members)) if changed else raw
