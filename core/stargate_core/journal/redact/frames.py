"""Event streams, redacted frame by frame.

A frame's lengths stay, and so its prelude does. Its payload is redacted as what it is, of its headers what
others have said; then its last checksum is made anew. One that was right is right again, and one that was
wrong is wrong in the same bits: the difference between what it said and what it should have been stays.

A frame that was cut off stays cut off. Where a prelude can't be believed, nobody knows where the next frame
begins, and nobody reads on; what is there is blanked.
"""

import re
import struct
import zlib
from collections.abc import Callable
from typing import Final

from stargate_core.journal.redact.words import Words

Text = Callable[[str], str]
"""Redacts a payload's text, aligned."""

_PRELUDE: Final = struct.Struct(">III")
_PRELUDE_BYTES: Final = 12
_FRAME_BYTES_MIN: Final = 16
_FRAME_BYTES_MAX: Final = 1 << 30
_WIDTHS: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value, by its type; 6 and 7 say their length."""
_NAMED: Final = re.compile(rb"[A-Za-z0-9_.:/#+-]{1,128}")
_NAMES: Final = (b":event-type", b":exception-type", b":error-code", b":message-type", b":content-type")


def redact_frames(data: bytes, words: Words, text: Text) -> bytes:
    """A stream, or the beginning of one."""
    made: list[bytes] = []
    at = 0
    while len(data) - at >= _PRELUDE_BYTES:
        total, headers_bytes, crc = _PRELUDE.unpack_from(data, at)
        if zlib.crc32(data[at : at + 8]) != crc or not _FRAME_BYTES_MIN + headers_bytes <= total:
            break
        frame = data[at : at + total]
        made.append(_frame(frame, headers_bytes, total, words, text))
        at += len(frame)
    return b"".join(made) + _unreadable(data[at:], words)


def _unreadable(rest: bytes, words: Words) -> bytes:
    """What can't be a frame, or is too short to be known as one."""
    begins = _PRELUDE_BYTES if len(rest) < _FRAME_BYTES_MAX and rest[:1] == b"\0" else 0
    return rest[:begins] + words.blank(rest[begins:])


def _frame(frame: bytes, headers_bytes: int, total: int, words: Words, text: Text) -> bytes:
    begins = _PRELUDE_BYTES + headers_bytes
    head = frame[:_PRELUDE_BYTES] + _headers(frame[_PRELUDE_BYTES:begins], words)
    payload = frame[begins : total - 4]
    made = text(payload.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    whole = head + made
    if len(frame) < total:
        # Of its checksum a part may have come; without the rest it says nothing.
        return whole + frame[total - 4 :]
    said = int.from_bytes(frame[total - 4 :], "big")
    wrong = said ^ zlib.crc32(frame[: total - 4])
    return whole + (zlib.crc32(whole) ^ wrong).to_bytes(4, "big")


def _headers(block: bytes, words: Words) -> bytes:
    """The headers, as far as they can be read; the rest is blanked."""
    made = bytearray()
    at = 0
    while at < len(block):
        name_end = at + 1 + block[at]
        if name_end >= len(block):
            break
        name, kind = block[at + 1 : name_end], block[name_end]
        begins = name_end + 1
        width = _WIDTHS.get(kind)
        if width is None:
            if kind not in (6, 7):
                break
            width = int.from_bytes(block[begins : begins + 2], "big")
            begins += 2
        value = block[begins : begins + width]
        made += (
            block[at:begins] if name[:1] == b":" or _NAMED.fullmatch(name) else words.blank(block[at:begins])
        )
        made += value if _stays(name, kind, value) else _like(value, words)
        at = begins + width
    made += words.blank(block[len(made) :])
    return bytes(made[: len(block)])


def _stays(name: bytes, kind: int, value: bytes) -> bool:
    return kind not in (6, 7) or (name in _NAMES and _NAMED.fullmatch(value) is not None)


def _like(value: bytes, words: Words) -> bytes:
    return words.word(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
