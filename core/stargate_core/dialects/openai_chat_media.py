"""Images, sounds and documents of a chat, as Converse's blocks.

What travels in the request itself, as a data URL or as base64, goes on as the same base64 text. Formats and
names are told in `media`.

Bedrock fetches nothing. What is at an http(s) URL is there already when a block is made of it, or the URL is
refused: whether, and from where, the gateway fetches what a caller names is its operator's to say (`urls`
tells what there is to fetch).

Source: botocore's bedrock-runtime model (ImageBlock, AudioBlock, DocumentBlock).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from stargate_core.dialects.face import Fetched
from stargate_core.dialects.media import (
    DOCUMENT_FORMATS,
    base64_text,
    document_format,
    document_name,
    image_format,
)
from stargate_core.dialects.openai_chat_request import (
    ChatMessage,
    File,
    FilePart,
    ImagePart,
    InputAudio,
    ToolMessage,
    UserMessage,
    is_url,
)
from stargate_core.faults import Cause, refuse

_LAST_OF_PATH: Final = re.compile(r"^[^/]*//[^/?#]*(?:[^?#]*/)?([^/?#]*)")
"""What a document at a URL is called there."""

NOTHING: Final[Mapping[str, Fetched]] = MappingProxyType({})
"""No URL has been fetched."""


def urls(messages: Sequence[ChatMessage]) -> tuple[str, ...]:
    """The http(s) URLs of a conversation's images and documents, each once, in order."""
    return tuple(dict.fromkeys(_urls(messages)))


def _urls(messages: Sequence[ChatMessage]) -> Iterator[str]:
    for message in messages:
        if not isinstance(message, UserMessage | ToolMessage) or isinstance(message.content, str):
            continue
        for part in message.content:
            if isinstance(part, ImagePart) and is_url(part.image_url.url):
                yield part.image_url.url
            elif isinstance(part, FilePart) and part.file.url is not None:
                yield part.file.url


def image(url: str, param: str, fetched: Mapping[str, Fetched] = NOTHING) -> dict[str, Any]:
    """An image block. fetched: what was at URLs. Raises Refused, naming `param`."""
    data: str | bytes
    if is_url(url):
        found = _found(url, "image", param, fetched)
        media_type, data, head = found.content_type, found.data, found.data
    elif url[:5].lower() == "data:":
        media_type, text = _data_url(url, param)
        data, head = _checked(text, param)
    else:
        raise refuse(
            Cause.BODY_INVALID,
            f"{param} is no URL of an image; send the image itself: data:image/png;base64,...",
            param=param,
        )
    kind = image_format(head, media_type)
    if kind is None:
        raise refuse(Cause.BODY_INVALID, f"{param} is no png, jpeg, gif or webp image", param=param)
    return {"image": {"format": kind, "source": {"bytes": data}}}


def audio(part: InputAudio, param: str) -> dict[str, Any]:
    """A sound block. Raises Refused, naming `param`."""
    data, _ = _checked(part.data, f"{param}.data")
    return {"audio": {"format": part.format, "source": {"bytes": data}}}


def document(
    file: File, taken: dict[str, int], param: str, fetched: Mapping[str, Fetched] = NOTHING
) -> dict[str, Any]:
    """A document block, its name unlike those in `taken`. fetched: what was at URLs. Raises Refused, naming
    `param`.
    """
    data: str | bytes
    filename = file.filename or ""
    if file.url is not None:
        found = _found(file.url, "file", param, fetched)
        media_type, data, head = found.content_type, found.data, found.data
        filename = filename or _LAST_OF_PATH.findall(file.url)[0]
    else:
        media_type, data, head = _sent(file, param)
    stem, _, ending = filename.rpartition(".")
    kind = document_format(head, media_type, ending.lower())
    if kind is None:
        known = ", ".join(DOCUMENT_FORMATS)
        raise refuse(Cause.BODY_INVALID, f"{param} is none of {known}; a filename would say", param=param)
    name = document_name(stem or filename, taken)
    return {"document": {"format": kind, "name": name, "source": {"bytes": data}}}


def _sent(file: File, param: str) -> tuple[str, str, bytes]:
    """The media type, where said, the base64 text and the first bytes of a document in the request."""
    if file.file_data is None:
        said = "names a file that was uploaded elsewhere" if file.file_id is not None else "has no file_data"
        raise refuse(Cause.BODY_INVALID, f"{param} {said}; send it as file_data", param=param)
    place = f"{param}.file_data"
    media_type, text = "", file.file_data
    if text[:5].lower() == "data:":
        media_type, text = _data_url(text, place)
    return media_type, *_checked(text, place)


def _found(url: str, kind: str, param: str, fetched: Mapping[str, Fetched]) -> Fetched:
    found = fetched.get(url)
    if found is None:
        raise refuse(
            Cause.BODY_INVALID,
            f"{param}: {kind} URLs are not fetched here; send a data: URL, "
            "or let the operator enable image_urls",
            param=param,
        )
    if not found.data:
        raise refuse(Cause.BODY_INVALID, f"{param}: there is nothing at this URL", param=param)
    return found


def _data_url(url: str, param: str) -> tuple[str, str]:
    """The media type, in lower case, and the base64 text of a data URL."""
    head, comma, data = url[5:].partition(",")
    media_type, *settings = head.lower().split(";")
    if not comma or "base64" not in [setting.strip() for setting in settings]:
        raise refuse(Cause.BODY_INVALID, f"{param} is no data URL in base64", param=param)
    return media_type.strip(), data


def _checked(data: str, param: str) -> tuple[str, bytes]:
    """The base64 text to send, and the first bytes it stands for."""
    try:
        text, head = base64_text(data)
    except ValueError:
        raise refuse(Cause.BODY_INVALID, f"{param} is not base64", param=param) from None
    if not text:
        raise refuse(Cause.BODY_INVALID, f"{param} is empty", param=param)
    return text, head
