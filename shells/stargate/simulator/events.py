"""The events of an answer's stream, and the frames they become on the wire: AWS's binary event stream, or the
server-sent events of the vendors' own APIs.

Every real payload of the former bears a padding member `p` of random length (2 to 61 characters of one fixed
alphabet), so that the size of a frame does not give away the token in it; so do these.

Sources: recorded streams (tests/vectors/recorded-bedrock); the service model's ConverseStreamOutput and
ResponseStream.
"""

import base64
import enum
import random
from collections.abc import Mapping
from typing import Final

import msgspec

from stargate_core.wire.eventstream import encode_event

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_PADDINGS: Final = tuple(_ALPHABET[:length] for length in range(2, 62))

DONE: Final = b"data: [DONE]\n\n"
"""How a stream of OpenAI's chat completions ends."""

Headers = list[tuple[bytes, bytes]]


class Kind(enum.Enum):
    """What an event is to the one who reads the stream, whatever its name in this format."""

    START = "start"
    """The first: the message begins."""
    BLOCK = "block"
    """A content block begins or ends."""
    DELTA = "delta"
    """A piece of content."""
    STOP = "stop"
    """The message is over, and why."""
    METADATA = "metadata"
    """The last: what it cost."""
    END = "end"
    """What stands after the last, where a format has such a thing: `[DONE]`."""
    DOCUMENT = "document"
    """Not an event: the body of an answer that is no stream."""


class StreamEvent(msgspec.Struct, frozen=True):
    """One event of a stream, before it is framed."""

    kind: Kind
    name: str
    """`:event-type`, or the member `type` of an InvokeModel chunk or a server-sent event, if it has one."""
    payload: Mapping[str, object]


def converse_frame(event: StreamEvent, rng: random.Random) -> bytes:
    """The frame of a ConverseStream event; members in alphabetical order, as Bedrock writes them."""
    payload = {**event.payload, "p": _padding(rng)}
    return encode_event(event.name, msgspec.json.encode(dict(sorted(payload.items()))))


def chunk_frame(event: StreamEvent, rng: random.Random) -> bytes:
    """The frame of an InvokeModelWithResponseStream event: the model's own JSON, in base64."""
    inner = base64.b64encode(msgspec.json.encode(event.payload)).decode()
    return encode_event("chunk", msgspec.json.encode({"bytes": inner, "p": _padding(rng)}))


def sse_frame(event: StreamEvent) -> bytes:
    """A server-sent event: its name, if it has one, and its payload on one line."""
    if event.kind is Kind.END:
        return DONE
    name = f"event: {event.name}\n".encode() if event.name else b""
    return name + b"data: " + msgspec.json.encode(event.payload) + b"\n\n"


def _padding(rng: random.Random) -> str:
    return _PADDINGS[int(rng.random() * len(_PADDINGS))]
