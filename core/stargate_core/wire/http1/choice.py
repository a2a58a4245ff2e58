"""Which codec stands behind the face: llhttp's or h11's.

They accept the same messages, refuse the same messages for the same reasons, and see every message end at the
same byte. "fast" is for work. "reference" is ten times slower, and for whoever suspects the other.
"""

from stargate_core.wire.http1.codec import ClientCodec, ServerCodec
from stargate_core.wire.http1.events import DEFAULT_LIMITS, CodecKind, Limits
from stargate_core.wire.http1.fast_client import FastClientCodec
from stargate_core.wire.http1.fast_server import FastServerCodec
from stargate_core.wire.http1.reference_client import ReferenceClientCodec
from stargate_core.wire.http1.reference_server import ReferenceServerCodec


def server_codec(limits: Limits = DEFAULT_LIMITS, codec: CodecKind = "fast") -> ServerCodec:
    """A codec for one client connection."""
    return FastServerCodec(limits) if codec == "fast" else ReferenceServerCodec(limits)


def client_codec(limits: Limits = DEFAULT_LIMITS, codec: CodecKind = "fast") -> ClientCodec:
    """A codec for one upstream response."""
    return FastClientCodec(limits) if codec == "fast" else ReferenceClientCodec(limits)
