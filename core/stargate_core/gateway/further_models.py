"""Further models: those that a request's body names beside the one that it is for.

Vendors let a request bring other models in: to take over when the first refuses (`fallbacks`), or to be asked
for advice by it (a tool with a `model`). Where that is carried, in a model's own words, it must not lead a
caller to a model which its key may not use.

A member that stands twice is looked at twice: which of the two counts is not for us to say. `"default"` for
fallbacks leaves the choice to the vendor, and so may lead to any model.

Sources: anthropic-sdk-python src/anthropic/types/beta (BetaFallbackParam, BetaAdvisorTool20260301Param).
"""

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Raw

from stargate_core.dialects.converse import NOT_JSON

ANY: Final = "fallbacks of the vendor's choice"
"""What a choice is called that is not the caller's."""
_PLACES: Final = frozenset({"fallbacks", "tools"})
_INSIDE: Final = "additionalModelRequestFields"
"""Where Converse has a model's own words."""


class _Name:
    """A member's name. Each is another one, so that of two with the same text both are seen."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


_OBJECT: Final = msgspec.json.Decoder(dict[_Name, Raw], dec_hook=lambda _, text: _Name(text))
_ARRAY: Final = msgspec.json.Decoder(list[Raw])
_TEXT: Final = msgspec.json.Decoder(str)


def further_models(body: bytes) -> tuple[str, ...]:
    """The names, each once; of what is no JSON object, none."""
    return tuple(dict.fromkeys(_in_body(Raw(body))))


def _in_body(body: Raw) -> Iterator[str]:
    for name, value in _members(body):
        if name == _INSIDE:
            for inner_name, inner in _members(value):
                if inner_name in _PLACES:
                    yield from _in_place(inner_name, inner)
        elif name in _PLACES:
            yield from _in_place(name, value)


def _in_place(name: str, value: Raw) -> Iterator[str]:
    """The models of one place: `model` of each entry; of fallbacks a name alone, too."""
    for entry in _items(value):
        yield from (model for key, raw in _members(entry) if key == "model" for model in _texts(raw))
        if name == "fallbacks":
            yield from _texts(entry)
    if name == "fallbacks" and any(_texts(value)):
        yield ANY


def _members(raw: Raw) -> list[tuple[str, Raw]]:
    try:
        return [(name.text, value) for name, value in _OBJECT.decode(raw).items()]
    except NOT_JSON:
        return []


def _items(raw: Raw) -> list[Raw]:
    try:
        return _ARRAY.decode(raw)
    except NOT_JSON:
        return []


def _texts(raw: Raw) -> list[str]:
    """The text, if it is one."""
    try:
        return [_TEXT.decode(raw)]
    except NOT_JSON:
        return []
