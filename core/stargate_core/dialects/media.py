"""What Converse wants of images and documents, whichever API they come from.

*Formats.* The first bytes say what an image is, and whether a document is a PDF, and win over what is claimed
for it: clients label every image `image/png`, and Bedrock then refuses the request with a message about
bytes. What the bytes do not say is believed.

*Base64* goes on as the same text: it is checked, and never decoded to be encoded again.

*Names.* Bedrock wants a name for each document, in few characters, and no two alike in one request.

Each API tells in words of its own what is wrong, so nothing here refuses: what is no format is None, and what
is no base64 a ValueError.

Sources: botocore's bedrock-runtime model (ImageBlock, DocumentBlock); AWS API reference, DocumentBlock, for
the characters that a document's name may have.
"""

import binascii
import re
from typing import Final

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
DOCUMENT_FORMATS: Final = tuple(sorted(_DOCUMENT_TYPES.values()))
"""Bedrock's names of the formats, which are endings of files as well."""
_ENDINGS: Final = {"htm": "html", "markdown": "md", "text": "txt"}
"""Other endings of theirs."""

_HEAD_CHARACTERS: Final = 24
"""Base64 of the first 18 bytes: enough for every signature here."""
_NAME_CHARACTERS_MAX: Final = 200
_NUMBER_CHARACTERS_MAX: Final = 8
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9\-()\[\] ]+")
_SPACES: Final = re.compile(r" {2,}")


def base64_text(data: str) -> tuple[str, bytes]:
    """Base64 text that a strict reader takes, without line breaks, and the first bytes it stands for. Raises
    ValueError.
    """
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        data = "".join(data.split())
        binascii.a2b_base64(data, strict_mode=True)
    return data, binascii.a2b_base64(data[:_HEAD_CHARACTERS])


def image_signature(head: bytes) -> str | None:
    """The format of an image that begins like this, where its bytes say it."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    return None


def image_format(head: bytes, media_type: str) -> str | None:
    """Bedrock's name for the format of an image that begins like this; media_type: what it is said to be."""
    claimed = media_type.removeprefix("image/")
    found = image_signature(head) or _IMAGE_TYPES.get(claimed, claimed)
    return found if found in _IMAGE_FORMATS else None


def document_format(head: bytes, media_type: str, ending: str = "") -> str | None:
    """Bedrock's name for the format of a document that begins like this.

    media_type, ending: what it is said to be, and what its file's name ends with, in lower case.
    """
    if head.startswith(b"%PDF"):
        return "pdf"
    ending = _ENDINGS.get(ending, ending)
    return ending if ending in DOCUMENT_FORMATS else _DOCUMENT_TYPES.get(media_type)


def document_name(title: str, taken: dict[str, int]) -> str:
    """`title` in the characters that Bedrock takes (letters, digits, single spaces, hyphens, brackets), and
    numbered where it is among those that are `taken`; it is one of them then.

    taken: the names so far, and the last number that each of them has been given.
    """
    name = _SPACES.sub(" ", _NOT_IN_NAMES.sub(" ", title)).strip()
    name = name[: _NAME_CHARACTERS_MAX - _NUMBER_CHARACTERS_MAX].strip() or "document"
    if name not in taken:
        taken[name] = 1
        return name
    unique, number = name, taken[name]
    while unique in taken:
        number += 1
        unique = f"{name} ({number})"
    # Counted on, and not from the beginning: thousands may bear one name.
    taken[name], taken[unique] = number, 1
    return unique
