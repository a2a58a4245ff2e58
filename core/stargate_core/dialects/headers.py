"""Headers that more than one dialect writes, and those of upstream's answer that go on.

What goes on is an allow list, as it is on the way in: what an answer is, whose call it was, and what Bedrock
says beside it (token counts, latency). Everything else in an answer's head is between the gateway and AWS, or
about a connection that is not the caller's.
"""

from typing import Final

from stargate_core.dialects.face import Headers

JSON: Final = (b"content-type", b"application/json")
JSON_HEADERS: Final = (JSON,)
SSE_HEADERS: Final = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))

_KEPT: Final = frozenset({b"content-type", b"x-amzn-requestid"})
_PREFIX_KEPT: Final = b"x-amzn-bedrock-"


def kept(headers: Headers, own_id: bytes | None = None) -> Headers:
    """What goes on of an answer's headers; own_id: where a vendor's API tells the id of a request."""
    return [
        (name, value)
        for name, value in headers
        if name in _KEPT or name.startswith(_PREFIX_KEPT) or name == own_id
    ]
