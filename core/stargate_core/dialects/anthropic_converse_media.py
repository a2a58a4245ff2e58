"""Images and documents of Anthropic's messages, as Converse's blocks.

Bedrock fetches nothing. What travels in the request goes on as the same base64 text. What is at a URL has
been fetched before, if it was allowed at all. A file that was uploaded to Anthropic is out of reach. Formats
and names are told in `media`.

A document of plain text goes as a file of text, which every model takes that takes documents; where it is to
be cited, as text, so that the places cited are places in the caller's own characters.

Source: botocore's bedrock-runtime model (ImageBlock, DocumentBlock).
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from stargate_core.dialects.anthropic_converse_types import (
    Base64Source,
    Citations,
    ContentSource,
    DocumentBlock,
    FileSource,
    ImageBlock,
    TextBlock,
    TextSource,
    UrlSource,
)
from stargate_core.dialects.face import Fetched
from stargate_core.dialects.media import (
    DOCUMENT_FORMATS,
    base64_text,
    document_format,
    document_name,
    image_format,
)
from stargate_core.faults import Cause, Refused, refuse

_Block: TypeAlias = dict[str, Any]


def image(block: ImageBlock, fetched: Mapping[str, Fetched], param: str) -> _Block:
    """An image block. Raises Refused, naming a place in `param`."""
    claimed, data, head = _media(block.source, fetched, f"{param}.source")
    kind = image_format(head, claimed)
    if kind is None:
        raise _bad(f"{param}.source", "Input should be a png, jpeg, gif or webp image")
    return {"image": {"format": kind, "source": {"bytes": data}}}


def document(
    block: DocumentBlock, fetched: Mapping[str, Fetched], taken: dict[str, int], param: str
) -> _Block:
    """A document block, its name unlike those in `taken`. Raises Refused, naming a place in `param`."""
    cited = citations(block.citations)
    source, place = block.source, f"{param}.source"
    made: _Block = {}
    match source:
        case TextSource():
            if not source.data or source.data.isspace():
                raise _bad(f"{place}.data", "Input should not be blank")
            text = {"text": source.data} if cited else {"bytes": source.data.encode()}
            made = {"format": "txt", "source": text}
        case ContentSource():
            made = {"source": {"content": _content(source, f"{place}.content")}}
        case _:
            claimed, data, head = _media(source, fetched, place)
            kind = document_format(head, claimed)
            if kind is None:
                raise _bad(place, f"Input should be a document: {', '.join(DOCUMENT_FORMATS)}")
            made = {"format": kind, "source": {"bytes": data}}
    made["name"] = document_name(_without_ending(block.title or ""), taken)
    if block.context and not block.context.isspace():
        made["context"] = block.context
    return {"document": made | cited}


def citations(asked: Citations | None) -> _Block:
    """What a block says of its citations: nothing, where the caller wants none."""
    return {"citations": {"enabled": True}} if asked is not None and asked.enabled else {}


def _content(source: ContentSource, param: str) -> list[_Block]:
    texts: list[str] = []
    if isinstance(source.content, str):
        texts.append(source.content)
    else:
        for at, piece in enumerate(source.content):
            if not isinstance(piece, TextBlock):
                raise _bad(f"{param}.{at}.type", "Converse takes documents of text only")
            texts.append(piece.text)
    # A blank piece stays: places are counted by pieces.
    if all(not text or text.isspace() for text in texts):
        raise _bad(param, "Input should not be blank")
    return [{"text": text} for text in texts]


def _media(
    source: Base64Source | UrlSource | FileSource, fetched: Mapping[str, Fetched], param: str
) -> tuple[str, str | bytes, bytes]:
    """The type that is claimed, in lower case; the data, in base64 or to be encoded; their first bytes."""
    match source:
        case Base64Source():
            data, head = _checked(source.data, f"{param}.data")
            return source.media_type.lower().partition(";")[0].strip(), data, head
        case UrlSource():
            found = fetched.get(source.url)
            if found is None:
                raise _bad(f"{param}.url", "this gateway does not fetch it; send the data as base64")
            if not found.data:
                raise _bad(f"{param}.url", "there is nothing at this URL")
            return found.content_type, found.data, found.data
        case FileSource():
            raise _bad(param, "files uploaded to Anthropic are out of reach; send the data as base64")


def _checked(data: str, param: str) -> tuple[str, bytes]:
    """The base64 text to send, and the first bytes it stands for."""
    try:
        text, head = base64_text(data)
    except ValueError:
        raise _bad(param, "Input should be valid base64") from None
    if not text:
        raise _bad(param, "Input should not be empty")
    return text, head


def _without_ending(title: str) -> str:
    """A title may be a file's name; the format is told apart."""
    stem, _, ending = title.rpartition(".")
    return stem if stem and ending.lower() in DOCUMENT_FORMATS else title


def _bad(param: str, message: str) -> Refused:
    return refuse(Cause.BODY_INVALID, f"{param}: {message}", param=param)
