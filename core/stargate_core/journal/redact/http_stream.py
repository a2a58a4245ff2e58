"""HTTP/1.1 on one connection, redacted message by message.

What came in pieces is put together before and cut again afterwards, by whoever calls. Here it is one text:
heads and bodies, where the gateway's own codecs find them. A head's lines and a body's framing stay where
they are; what a line says, and what a body holds, is for `Messages` to redact.

What is no HTTP is read by nobody, and blanked: from there on nothing is known. A message that is not whole is
redacted as far as it goes.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias

import msgspec

from stargate_core.secret import Private

_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_LINE: Final = re.compile(rb"([^\r\n]*)(\r?\n|\r|\Z)")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(:[ \t]*)(.*?)([ \t]*)", re.DOTALL)
_REQUEST: Final = re.compile(rb"[A-Z]{1,24} [^ ]+ HTTP/1\.[01]")
_RESPONSE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})(?: .*)?", re.DOTALL)
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,16})([^\r\n]*)(\r?\n)")
_LEADING: Final = re.compile(rb"[\r\n]*")
_UNREAD: Final = re.compile(rb"[^\x00-\x1f\x7f]")
"""All but control characters: by these it is known at once that something is no HTTP."""


Redact: TypeAlias = Callable[[bytes], bytes]


class Field(Private, msgspec.Struct):
    """A line of a head: what stands before its value, the value, what stands behind it."""

    name: bytes
    """In lower case; empty for what is no field."""
    before: bytes
    value: bytes
    after: bytes

    @property
    def raw(self) -> bytes:
        """The whole line, and its end."""
        return self.before + self.value + self.after


class Head(Private, msgspec.Struct):
    """A head: its first line, and its fields."""

    first: Field
    fields: list[Field]
    end: bytes = b""
    """The blank line, where it has come."""

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field."""
        return [field.value for field in self.fields if field.name == name]

    def value(self, name: bytes) -> str:
        """A field's first value, as text; empty where there is none."""
        return next(iter(self.values(name)), b"").decode("latin-1")

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        return b"".join(field.raw for field in (self.first, *self.fields)) + self.end


class Messages(Protocol):
    """What is done with the messages of one side."""

    def message(self, head: Head, body: bytes, end: int) -> bytes:
        """Redact a head in place; the body, redacted: as long as before. end: where the message ends."""
        ...


_EXTRA: Final = re.compile(rb"(?m)^([0-9A-Fa-f]{1,16})([^\r\n]*)|^([^\r\n]+)")


def _between(data: bytes) -> bytes:
    """Chunks' sizes stay, and what may stand beside them goes; so do the values of trailers."""

    def line(found: re.Match[bytes]) -> bytes:
        if found[1] is None:
            name, colon, value = found[3].partition(b":")
            return name + colon + _letters(value) if colon else _letters(found[3])
        return found[1] + _letters(found[2])

    return _EXTRA.sub(line, data)


def _letters(data: bytes) -> bytes:
    return re.sub(rb"[^\s;=\"]", b"x", data)


def _unread(data: bytes) -> bytes:
    return _UNREAD.sub(b"x", data)


def redact_stream(
    data: bytes,
    messages: Messages,
    *,
    responses: bool,
    framing: Redact = _between,
    unread: Redact = _unread,
) -> bytes:
    """All that one side has said. framing: redacts what stands between a body's pieces. unread: what is no
    HTTP; both keep every length.
    """
    made: list[bytes] = []
    at = 0
    while at < len(data):
        leading = _LEADING.match(data, at)
        if leading is not None and leading.end() > at:
            made.append(leading[0])
            at = leading.end()
            continue
        found = _HEAD_END.search(data, at)
        head_end = len(data) if found is None else found.end()
        head = _head(data[at:head_end])
        status = _status(head, responses=responses)
        if status is None:
            break
        if found is None:
            messages.message(head, b"", len(data))
            made.append(head.raw)
            return b"".join(made)
        pieces, end, known = _framed(data, head_end, head, status)
        body = messages.message(head, b"".join(data[begin:stop] for begin, stop in pieces), end)
        made += [head.raw, _in_pieces(data, head_end, end, pieces, body, framing)]
        at = end
        if not known:
            break
    return b"".join(made) + unread(data[at:])


def _head(raw: bytes) -> Head:
    fields: list[Field] = []
    for found in _LINE.finditer(raw):
        line, end = found.groups()
        if not line and not end:
            continue
        parts = _FIELD.fullmatch(line) if fields else None
        if parts is None:
            fields.append(Field(b"", b"", line, end))
        else:
            name, colon, value, blanks = parts.groups()
            fields.append(Field(name.lower(), name + colon, value, blanks + end))
    return Head(fields[0], fields[1:])


def _status(head: Head, *, responses: bool) -> int | None:
    """A response's status, 0 for a request; None where that is no HTTP. A first line may be cut off."""
    first = head.first.value
    if not responses:
        whole = head.first.after or head.fields
        return 0 if _REQUEST.fullmatch(first) or (not whole and _REQUEST_CUT.match(first)) else None
    found = _RESPONSE.fullmatch(first)
    if found is not None:
        return int(found[1])
    return 0 if not head.first.after and b"HTTP/1.1 ".startswith(first[:9]) else None


_REQUEST_CUT: Final = re.compile(rb"[A-Z]{1,24}(?: |\Z)")

_Pieces = Sequence[tuple[int, int]]


def _framed(data: bytes, at: int, head: Head, status: int) -> tuple[_Pieces, int, bool]:
    """Where the body's bytes are, where the message ends, and whether a next one may follow."""
    codings, lengths = head.values(b"transfer-encoding"), head.values(b"content-length")
    if (status and status < 200) or status in (204, 304):
        return (), at, True
    if len(codings) == 1 and not lengths and codings[0].lower() == b"chunked":
        return _chunks(data, at)
    if len(lengths) == 1 and not codings and lengths[0].isdigit() and len(lengths[0]) <= 18:
        end = min(at + int(lengths[0]), len(data))
        return ((at, end),), end, True
    if codings or lengths:
        return (), at, False
    # A response without a length goes on until the connection ends; a request has no body then.
    return (((at, len(data)),), len(data), True) if status else ((), at, True)


def _chunks(data: bytes, at: int) -> tuple[_Pieces, int, bool]:
    pieces: list[tuple[int, int]] = []
    while True:
        found = _CHUNK.match(data, at)
        if found is None:
            # Cut off within a chunk's size, or no chunk at all.
            return pieces, at, False
        size = int(found[1], 16)
        at = found.end()
        if size == 0:
            break
        end = min(at + size, len(data))
        pieces.append((at, end))
        at = min(end + 2, len(data))
    # Trailers, if any, end like a head, and the blank line may be all there is.
    line = _LINE.match(data, at)
    while line is not None and line[1] and line[2]:
        at = line.end()
        line = _LINE.match(data, at)
    return pieces, at if line is None else line.end(), True


def _in_pieces(data: bytes, begin: int, end: int, pieces: _Pieces, body: bytes, framing: Redact) -> bytes:
    """The redacted body where the old one was."""
    made: list[bytes] = []
    at, taken = begin, 0
    for start, stop in pieces:
        made += [framing(data[at:start]), body[taken : taken + stop - start]]
        taken += stop - start
        at = stop
    return b"".join(made) + framing(data[at:end])
