"""Sources of images and documents that are not in the request itself.

Anthropic takes a picture or a document in base64, by its URL, or by the id of a file uploaded before.
Bedrock takes the first kind only. What is at a URL is fetched by the gateway, where its operator allows
that, and put into the request in place of the URL; a URL whose content is not there is refused, and says so.
A file's id means nothing to Bedrock and is refused always.

A server's word for what it has sent is taken where Anthropic has that type; else the first bytes tell, as
they do for pictures that are served as mere octets.

Source: anthropic-sdk-python src/anthropic/types (Base64ImageSourceParam, Base64PDFSourceParam,
PlainTextSourceParam, URLImageSourceParam, URLPDFSourceParam).
"""

import binascii
from collections.abc import Mapping
from typing import Final

from msgspec import Raw

from stargate_core.dialects.anthropic_invoke_blocks import Members, encoded, go_through, text_of
from stargate_core.dialects.face import Fetched
from stargate_core.dialects.media import image_signature
from stargate_core.faults import Cause, refuse

_SHOWN_CHARACTERS: Final = 200
_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "application/pdf"})


def urls_of(members: Members) -> tuple[str, ...]:
    """The http(s) URLs that a request names as sources, each once."""
    urls: dict[str, None] = {}

    def look(source: Members, place: str) -> bool:
        url = text_of(source.get("url")) if place.endswith(".source") else None
        if url is not None and text_of(source.get("type")) == "url" and _is_http(url):
            urls[url] = None
        return False

    go_through(dict(members), _may_be_elsewhere, look)
    return tuple(urls)


def bring(members: Members, fetched: Mapping[str, Fetched], *, all_of_them: bool) -> None:
    """Put what was fetched in the place of its URL.

    all_of_them: nothing may be left that Bedrock would have to fetch, or look up; else Refused is raised.
    """

    def replace(source: Members, place: str) -> bool:
        kind = text_of(source.get("type")) if place.endswith(".source") else None
        if kind == "file" and all_of_them:
            raise refuse(
                Cause.BODY_INVALID,
                f"{place}: Bedrock has no files to refer to; send the content in base64",
                param=place,
            )
        if kind != "url":
            return False
        url = text_of(source.get("url"))
        found = None if url is None else fetched.get(url)
        if found is not None:
            told = _source(found, place)
            source.clear()
            source.update(told)
        elif all_of_them:
            raise refuse(
                Cause.BODY_INVALID,
                f"{place}: Bedrock fetches no URLs, and neither does this gateway"
                f"{'' if url is None else f' ({url[:_SHOWN_CHARACTERS]!r})'}; send the content in base64",
                param=place,
            )
        return found is not None

    go_through(members, _may_be_elsewhere, replace)


def _may_be_elsewhere(data: bytes) -> bool:
    return b'"url"' in data or b'"file"' in data


def _source(found: Fetched, place: str) -> Members:
    """What was fetched, as a source of its own. Raises Refused where Anthropic knows nothing like it."""
    media_type, data = found.content_type, found.data
    if media_type not in _TYPES:
        media_type = _type_of(data) or media_type
    if media_type in _TYPES:
        kind, text = "base64", binascii.b2a_base64(data, newline=False).decode()
    elif media_type.startswith("text/"):
        kind, media_type, text = "text", "text/plain", data.decode(errors="replace")
    else:
        raise refuse(
            Cause.BODY_INVALID,
            f"{place}: what is at this URL is {media_type or 'of no known type'!r}; expected a JPEG, PNG,"
            " GIF or WebP image, a PDF or text",
            param=place,
        )
    told = {"type": kind, "media_type": media_type, "data": text}
    return {name: Raw(encoded(value)) for name, value in told.items()}


def _type_of(data: bytes) -> str | None:
    image = image_signature(data)
    if image is not None:
        return f"image/{image}"
    return "application/pdf" if data.startswith(b"%PDF-") else None


def _is_http(url: str) -> bool:
    return url[:8].lower().startswith(("http://", "https://"))
