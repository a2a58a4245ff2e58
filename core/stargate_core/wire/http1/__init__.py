"""HTTP/1.1 without I/O: the face that the session and the upstream machine use.

    codec = server_codec(limits)                      # where a client is connected to us
    codec.receive_data(data)
    codec.next_event()                                # RequestHead
    codec.next_event()                                # RequestBody, always the whole body
    out = codec.response(200, headers, body)          # or response_head, chunk, chunk, end
    codec.start_next_cycle() if codec.keep_alive else ...

    out = request(b"POST", target, headers, body)     # where we are connected to an upstream
    codec = client_codec(limits)                      # one for each call
    codec.receive_data(data)
    codec.next_event()                                # ResponseHead, Body, Body, EndOfMessage
    codec.reusable

The shape is h11's: bytes go in, events come out, one documented exception; only the end of the connection has
a method of its own. Two codecs stand behind the face, "fast" (llhttp) and "reference" (h11). They accept the
same messages, refuse the same messages for the same reasons, and see every message end at the same byte;
where llhttp and h11 differ, both give the stricter one's answer. head.py lists the rules of grammar,
framing.py those of framing, chunked.py those of chunks.
"""

from stargate_core.wire.http1.choice import client_codec, server_codec
from stargate_core.wire.http1.codec import ClientCodec, ServerCodec
from stargate_core.wire.http1.events import (
    CLOSED,
    DEFAULT_LIMITS,
    NEED_DATA,
    PAUSED,
    Body,
    ClientEvent,
    CodecKind,
    EndOfMessage,
    Headers,
    Limits,
    ProtocolError,
    Reason,
    RequestBody,
    RequestHead,
    ResponseHead,
    ServerEvent,
    Signal,
)
from stargate_core.wire.http1.write import request

__all__ = [
    "CLOSED",
    "DEFAULT_LIMITS",
    "NEED_DATA",
    "PAUSED",
    "Body",
    "ClientCodec",
    "ClientEvent",
    "CodecKind",
    "EndOfMessage",
    "Headers",
    "Limits",
    "ProtocolError",
    "Reason",
    "RequestBody",
    "RequestHead",
    "ResponseHead",
    "ServerCodec",
    "ServerEvent",
    "Signal",
    "client_codec",
    "request",
    "server_codec",
]
