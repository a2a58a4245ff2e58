"""A small reader of HTTP/1.1 answers, independent of the core's and of h11: is this one whole answer?

It takes bytes that lie there and says what they are. It knows what the simulated Bedrock writes when it
behaves, lengths and chunks, and takes everything else for no answer at all.
"""

import msgspec


class HttpAnswer(msgspec.Struct):
    """What could be read."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool
    rest: bytes = b""
    """What lies behind it."""
    closes: bool = False
    """Nothing may follow on its connection."""


def read_answer(data: bytes) -> HttpAnswer | None:
    """The answer that these bytes begin with; None where they hold no whole head, or none that is known."""
    while True:
        head, between, rest = data.partition(b"\r\n\r\n")
        if not between:
            return None
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.1") or not words[1].isdecimal():
            return None
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or name.lower() in headers or line[:1] in " \t":
                return None
            headers[name.lower()] = value.strip()
        status = int(words[1])
        if status >= 200:
            break
        data = rest  # An interim answer.
    closes = headers.get("connection", "").lower() == "close"
    length = headers.get("content-length")
    if headers.get("transfer-encoding", "").lower() == "chunked" and length is None:
        body, whole, rest = _chunks(rest)
    elif length is not None and length.isdecimal():
        count = int(length)
        body, whole, rest = rest[:count], len(rest) >= count, rest[count:]
    else:
        return HttpAnswer(status, headers, rest, whole=False, closes=True)
    return HttpAnswer(status, headers, body, whole, rest, closes)


def _chunks(data: bytes) -> tuple[bytes, bool, bytes]:
    pieces: list[bytes] = []
    at = 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            break
        size_text = data[at:end]
        try:
            size = int(size_text, 16)
        except ValueError:
            break
        start = end + 2
        if size == 0:
            return b"".join(pieces), data[start : start + 2] == b"\r\n", data[start + 2 :]
        if len(data) < start + size + 2:
            pieces.append(data[start : start + size])
            break
        pieces.append(data[start : start + size])
        at = start + size + 2
    return b"".join(pieces), False, b""
