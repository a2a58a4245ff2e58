"""The values of the HTTP/1.1 codecs: limits, events, signals and the one exception.

Everything a codec tells its caller is one of the types below; everything it can object to is one `Reason`.

Rules kept here, and why:

- A request's body arrives as one `RequestBody`, never in pieces: the gateway signs the call it makes, a
  signature covers the hash of the whole body, so nothing useful can be done with half of one. And nothing but
  that event says "the request is whole": there is no separate end to forget.
- A response's body arrives as it was received, because streams must flow; its end is an event of its own,
  because an answer that merely stopped must never look like one that ended.
- Trailers are checked and dropped. Nobody here has a use for them, and merging them into the headers is how
  trailer smuggling works (RFC 9110 section 6.5.1).
- An error names a reason and a status to answer with. Its message never contains a byte of the peer's, so
  that it can be logged and sent back as it is.

Sources: RFC 9112 (messages), RFC 9110 (semantics); the shape of h11's events and of its `error_status_hint`.
"""

import enum
from typing import ClassVar, Final, Literal

import msgspec

from stargate_core.secret import Private

Headers = list[tuple[bytes, bytes]]
"""Header fields in order of arrival, names in lower case, values without surrounding blanks."""


class Limits(msgspec.Struct, frozen=True, gc=False):
    """The bounds of one connection. Whatever lies one past a bound is refused."""

    head_bytes_max: int = 65_536
    """Start line and headers with all line ends. node.js and h11: 16 KiB; nginx: 8 KiB and four times 8 KiB
    more; AWS ALB: 64 KiB. Session tokens of several KiB in headers are usual among AWS's clients.
    """
    target_bytes_max: int = 8_192
    """The request target. RFC 9110 section 4.1 asks for at least 8000."""
    headers_max: int = 128
    """Header fields of a head, and trailer fields of a body. Apache and Go's HTTP/2: 100; Envoy: 100."""
    body_bytes_max: int = 33_554_432
    """A request's body, without its chunked framing; Bedrock itself takes at most 25 MB. Responses have no
    such bound: their bytes are handed on as they come.
    """
    trailer_bytes_max: int = 8_192
    """All trailer lines of a chunked body."""
    pipelined_bytes_max: int = 65_536
    """Bytes kept of requests that were sent before the present one was answered."""
    interim_max: int = 16
    """1xx responses before the real one."""


DEFAULT_LIMITS: Final = Limits()


class RequestHead(Private, msgspec.Struct, frozen=True, gc=False):
    """A request's start line and headers, found to be acceptable. `RequestBody` follows."""

    SHOWN: ClassVar[tuple[str, ...]] = ("method", "version")

    method: bytes
    target: bytes
    """As sent: origin-form, absolute-form, or (OPTIONS) `*` or (CONNECT) authority-form."""
    version: bytes
    """`b"1.1"` or `b"1.0"`."""
    headers: Headers
    keep_alive: bool
    """False when the client asked for close, speaks 1.0, or sent CONNECT."""
    expects_continue: bool
    """The client waits for `continue_100()` before it sends the body, and the body may be sent."""
    content_length: int | None
    """None: chunked, or no body announced (which means none)."""
    chunked: bool


class RequestBody(Private, msgspec.Struct, frozen=True, gc=False):
    """The whole body of the request, perhaps empty. The request ends here."""

    data: bytes


class ResponseHead(Private, msgspec.Struct, frozen=True, gc=False):
    """A final response's status line and headers. `Body`s and one `EndOfMessage` follow."""

    SHOWN: ClassVar[tuple[str, ...]] = ("version",)

    status: int
    reason: bytes
    version: bytes
    """`b"1.1"` or `b"1.0"`."""
    headers: Headers
    keep_alive: bool
    """Whether the upstream will take another request on this connection."""
    content_length: int | None
    """The body's length where it is known beforehand."""
    chunked: bool


class Body(Private, msgspec.Struct, frozen=True, gc=False):
    """Some bytes of a response's body, never empty; cut where the network cut them."""

    data: bytes


class EndOfMessage(msgspec.Struct, frozen=True, gc=False):
    """The response is whole."""


END_OF_MESSAGE: Final = EndOfMessage()


class Signal(enum.Enum):
    """What `next_event` answers when there is no event."""

    NEED_DATA = "need data"
    """Call again after `receive_data` or `receive_eof`."""
    PAUSED = "paused"
    """The message is whole. Server: nothing is read until `start_next_cycle`. Client: nothing more, ever."""
    CLOSED = "closed"
    """The peer closed between messages. Server: no request is under way. Client: it closed before the first
    byte of an answer, which a pooled connection may do at any time.
    """


NEED_DATA: Final = Signal.NEED_DATA
PAUSED: Final = Signal.PAUSED
CLOSED: Final = Signal.CLOSED

ServerEvent = RequestHead | RequestBody | Signal
ClientEvent = ResponseHead | Body | EndOfMessage | Signal
CodecKind = Literal["fast", "reference"]


class Reason(enum.StrEnum):
    """Why a message was refused; one name for each cause, stable enough to count and to alert on."""

    TLS_ON_PLAIN_PORT = "TLS_ON_PLAIN_PORT"
    HTTP2_PREFACE = "HTTP2_PREFACE"
    BAD_REQUEST_LINE = "BAD_REQUEST_LINE"
    BAD_STATUS_LINE = "BAD_STATUS_LINE"
    UNKNOWN_METHOD = "UNKNOWN_METHOD"
    BAD_TARGET = "BAD_TARGET"
    TARGET_TOO_LONG = "TARGET_TOO_LONG"
    UNSUPPORTED_VERSION = "UNSUPPORTED_VERSION"
    HEAD_TOO_LARGE = "HEAD_TOO_LARGE"
    TOO_MANY_HEADERS = "TOO_MANY_HEADERS"
    BARE_LINE_END = "BARE_LINE_END"
    CONTROL_BYTE = "CONTROL_BYTE"
    OBSOLETE_FOLD = "OBSOLETE_FOLD"
    BAD_HEADER = "BAD_HEADER"
    MISSING_HOST = "MISSING_HOST"
    REPEATED_HOST = "REPEATED_HOST"
    BAD_HOST = "BAD_HOST"
    BAD_CONTENT_LENGTH = "BAD_CONTENT_LENGTH"
    REPEATED_CONTENT_LENGTH = "REPEATED_CONTENT_LENGTH"
    TWO_FRAMINGS = "TWO_FRAMINGS"
    UNSUPPORTED_TRANSFER_CODING = "UNSUPPORTED_TRANSFER_CODING"
    UNEXPECTED_BODY = "UNEXPECTED_BODY"
    BODY_TOO_LARGE = "BODY_TOO_LARGE"
    BAD_CHUNK = "BAD_CHUNK"
    BAD_TRAILER = "BAD_TRAILER"
    TOO_MANY_INTERIM = "TOO_MANY_INTERIM"
    INCOMPLETE_MESSAGE = "INCOMPLETE_MESSAGE"
    PARSERS_DISAGREE = "PARSERS_DISAGREE"


class ProtocolError(Exception):
    """The peer broke HTTP/1.1, or a bound of ours. The connection can't be used for another message.

    The only exception `next_event` raises; once raised, every later call raises it again.
    """

    def __init__(self, reason: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.reason: Final = reason
        """The cause, for machines: a `Reason`, or a name of the caller's own in the same style."""
        self.message: Final = message
        """The cause, for people; holds no byte of the peer's."""
        self.status: int = status
        """What to answer: 400, 413, 414, 431, 501 or 505 to a client; always 502 for an upstream's fault."""
        self.method: bytes | None = None
        """The refused request's method, where its request line could be read."""
        self.target: bytes | None = None
        """Its target likewise, so that the refusal can be worded in the dialect of that path."""

    def __repr__(self) -> str:
        return f"ProtocolError({self.reason!s}, {self.message!r}, {self.status})"
