"""Images and documents of Anthropic's messages, as Converse's blocks.

Bedrock fetches nothing. What travels in the request goes on as the same base64 text: it is checked, and never
decoded to be encoded again. What is at a URL has been fetched before, if it was allowed at all. A file that
was uploaded to Anthropic is out of reach.

The first bytes say what an image or a document is, and win over the type that is claimed for it: Bedrock
refuses an image whose type is wrong.

A document of plain text goes as a file of text, which every model takes that takes documents; where it is to
be cited, as text, so that the places cited are places in the caller's own characters.

Sources: botocore's bedrock-runtime model (ImageBlock, DocumentBlock); AWS API reference, DocumentBlock, for
the characters that a document's name may have.
"""

import binascii
import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

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
from stargate_core.faults import Cause, Refused, refuse

_Block: TypeAlias = dict[str, Any]

_IMAGE_FORMATS: Final = frozenset({"png", "jpeg", "gif", "webp"})
_IMAGE_TYPES: Final = {"jpg": "jpeg", "pjpeg": "jpeg", "x-png": "png"}
_DOCUMENT_TYPES: Final = {
    "application/pdf": "pdf",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
}
_ENDINGS: Final = frozenset(_DOCUMENT_TYPES.values())

_HEAD_CHARACTERS: Final = 24
"""Base64 of the first 18 bytes: enough for every signature below."""
_NAME_CHARACTERS_MAX: Final = 200
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9\-()\[\] ]+")
_SPACES: Final = re.compile(r" {2,}")


def image(block: ImageBlock, fetched: Mapping[str, Fetched], param: str) -> _Block:
    """An image block. Raises Refused, naming a place in `param`."""
    claimed, data, head = _media(block.source, fetched, f"{param}.source")
    subtype = claimed.removeprefix("image/")
    kind = _signature(head) or _IMAGE_TYPES.get(subtype, subtype)
    if kind not in _IMAGE_FORMATS:
        raise _bad(f"{param}.source", "Input should be a png, jpeg, gif or webp image")
    return {"image": {"format": kind, "source": {"bytes": data}}}


def document(block: DocumentBlock, fetched: Mapping[str, Fetched], taken: set[str], param: str) -> _Block:
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
            kind = "pdf" if head.startswith(b"%PDF") else _DOCUMENT_TYPES.get(claimed)
            if kind is None:
                raise _bad(place, f"Input should be a document: {', '.join(sorted(_ENDINGS))}")
            made = {"format": kind, "source": {"bytes": data}}
    made["name"] = _unlike(taken, _name(block.title or ""))
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
            return found.content_type, found.data, found.data[:_HEAD_CHARACTERS]
        case FileSource():
            raise _bad(param, "files uploaded to Anthropic are out of reach; send the data as base64")


def _checked(data: str, param: str) -> tuple[str, bytes]:
    """Base64 text that a strict reader takes, and the first bytes it stands for; line breaks are removed."""
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        data = "".join(data.split())
        try:
            binascii.a2b_base64(data, strict_mode=True)
        except ValueError:
            raise _bad(param, "Input should be valid base64") from None
    if not data:
        raise _bad(param, "Input should not be empty")
    return data, binascii.a2b_base64(data[:_HEAD_CHARACTERS])


def _signature(head: bytes) -> str | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    return None


def _name(title: str) -> str:
    """A title in the characters that Bedrock takes: letters, digits, single spaces, hyphens, brackets."""
    stem, _, ending = title.rpartition(".")
    stem = stem if stem and ending.lower() in _ENDINGS else title
    name = _SPACES.sub(" ", _NOT_IN_NAMES.sub(" ", stem)).strip()
    return name[: _NAME_CHARACTERS_MAX - 8].strip() or "document"


def _unlike(taken: set[str], name: str) -> str:
    """`name`, numbered where it is taken: Bedrock wants each document of a request under its own."""
    unique, number = name, 1
    while unique in taken:
        number += 1
        unique = f"{name} ({number})"
    taken.add(unique)
    return unique


def _bad(param: str, message: str) -> Refused:
    return refuse(Cause.BODY_INVALID, f"{param}: {message}", param=param)
