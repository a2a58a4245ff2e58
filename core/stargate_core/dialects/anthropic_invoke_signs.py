"""Signs that a Messages request must be changed on its way: one quick reading, before it is gone through.

Nearly every request is carried untouched, and some are large: a long session of Claude Code's sends
megabytes, turn after turn. So first the request is read for what may have to be changed, and for nothing
else: sources by URL, sources by a file's id, marks of the prompt cache and their scopes. The decoder skips
the rest at the speed of a scan, where to search for words would take twice as long, and find them in every
tool that has a URL for a parameter.

A request of another shape than is known here shows all signs: it is then gone through with more patience
(`anthropic_invoke_blocks`), which takes nothing amiss.

Source: anthropic-sdk-python src/anthropic/types (ContentBlockParam and what it is made of).
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from stargate_core.dialects.converse import NOT_JSON
from stargate_core.secret import Private


class Signs(msgspec.Struct):
    """What a request has that may have to be changed."""

    urls: bool = False
    files: bool = False
    scopes: bool = False
    marks: bool = False
    """The prompt cache is told, somewhere, up to where to keep."""


class _Control(msgspec.Struct):
    scope: Raw | UnsetType = UNSET


class _Source(Private, msgspec.Struct):
    type: str | None = None
    content: "list[_Block] | str | None" = None


class _Block(Private, msgspec.Struct):
    """A block, a message, or a tool: what may nest, and what is looked for."""

    source: _Source | str | None = None
    content: "list[_Block] | _Block | str | None" = None
    cache_control: _Control | None = None


class _Request(Private, msgspec.Struct):
    messages: list[_Block]
    system: list[_Block] | str | None = None
    tools: list[_Block] | None = None
    cache_control: _Control | None = None


_REQUEST: Final = msgspec.json.Decoder(_Request)


def signs_of(body: bytes) -> Signs:
    """The signs of a request."""
    signs = Signs()
    try:
        request = _REQUEST.decode(body)
        _note_control(request.cache_control, signs)
        for blocks in (request.system, request.tools, request.messages):
            if isinstance(blocks, list):
                _note(blocks, signs)
    except NOT_JSON:
        return Signs(urls=True, files=True, scopes=True, marks=True)
    return signs


def _note(blocks: "Iterable[_Block]", signs: Signs) -> None:
    for block in blocks:
        source, content = block.source, block.content
        if block.cache_control is not None:
            _note_control(block.cache_control, signs)
        if isinstance(source, _Source):
            signs.urls = signs.urls or source.type == "url"
            signs.files = signs.files or source.type == "file"
            if isinstance(source.content, list):
                _note(source.content, signs)
        if isinstance(content, list):
            _note(content, signs)
        elif isinstance(content, _Block):
            _note((content,), signs)


def _note_control(control: _Control | None, signs: Signs) -> None:
    if control is not None:
        signs.marks = True
        signs.scopes = signs.scopes or control.scope is not UNSET
