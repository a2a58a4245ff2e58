"""What is asked of the admin listener, and what it answers.

Answers are for programs and for one page of ours: nothing else may frame them, embed them, guess their type
or keep them. Every error is JSON, `{"error": {"message": …}}`, and its message says what to do about it.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, ClassVar, Final, TypeAlias
from urllib.parse import parse_qsl, unquote

import msgspec

from stargate_core.secret import Private
from stargate_core.wire.http1 import Headers, RequestHead

PARAMETERS_MAX: Final = 32
JSON: Final = b"application/json"
_GUARDS: Final[Headers] = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


class Request(Private, msgspec.Struct, frozen=True):
    """A whole request. peer: where it comes from, for the log."""

    SHOWN: ClassVar[tuple[str, ...]] = ("path",)

    head: RequestHead
    body: bytes
    path: str
    """Decoded once, without the query."""
    parameters: dict[str, str]
    """Of the query; of a name that stands twice the last one."""
    peer: str = ""

    @property
    def method(self) -> str:
        """As it was sent."""
        return self.head.method.decode("ascii")

    def header(self, name: bytes) -> bytes | None:
        """The first header of this lower-case name."""
        return header_of(self.head, name)


class Reply(Private, msgspec.Struct, frozen=True):
    """A whole answer. closes: nothing more is taken on the connection."""

    SHOWN: ClassVar[tuple[str, ...]] = ("status",)

    status: int
    headers: Headers
    body: bytes = b""
    closes: bool = False


def _nothing() -> None:
    """There is nothing to be left."""


class Streamed(Private, msgspec.Struct, frozen=True):
    """An answer that comes piece by piece.

    Whoever gets it closes `pieces` and calls `leave` at the end, however that comes. (A generator that was
    never begun does nothing when it is closed.)
    """

    SHOWN: ClassVar[tuple[str, ...]] = ("status",)

    status: int
    headers: Headers
    pieces: AsyncGenerator[bytes]
    leave: Callable[[], None] = _nothing


class Awaited(Private, msgspec.Struct, frozen=True):
    """An answer that may take long to begin: it is not waited for any longer once the client leaves."""

    SHOWN: ClassVar[tuple[str, ...]] = ()

    begin: Callable[[], Awaitable[Reply | Streamed]]


Answer: TypeAlias = Reply | Streamed | Awaited


class Refused(Exception):
    """The request gets this answer."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def header_of(head: RequestHead, name: bytes) -> bytes | None:
    """The first header of this lower-case name."""
    return next((value for key, value in head.headers if key == name), None)


def split_target(target: bytes) -> tuple[str, str]:
    """A target's path, decoded, and its query, as it is. Of an absolute one the host is left out."""
    if b"://" in target and not target.startswith(b"/"):
        _, _, rest = target.partition(b"://")
        _, slash, path = rest.partition(b"/")
        target = slash + path or b"/"
    before, _, query = target.decode("latin-1").partition("?")
    return unquote(before, errors="replace"), query


def request_of(head: RequestHead, body: bytes, peer: str = "") -> Request:
    """What is asked. Raises Refused for a query that has too much in it."""
    path, query = split_target(head.target)
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=PARAMETERS_MAX, errors="replace")
    except ValueError:
        raise Refused(problem(400, f"expected at most {PARAMETERS_MAX} parameters")) from None
    return Request(head, body, path, dict(pairs), peer)


def json_reply(value: Any, *, status: int = 200, headers: Headers | None = None) -> Reply:
    """A value as JSON."""
    return data_reply(msgspec.json.encode(value), JSON, status=status, headers=headers)


def data_reply(body: bytes, kind: bytes, *, status: int = 200, headers: Headers | None = None) -> Reply:
    """Bytes of a content type."""
    return Reply(status, [(b"content-type", kind), *_GUARDS, *(headers or [])], body)


def streamed(kind: bytes, pieces: AsyncGenerator[bytes]) -> Streamed:
    """Pieces of a content type."""
    return Streamed(200, [(b"content-type", kind), *_GUARDS], pieces)


def problem(status: int, message: str, *, headers: Headers | None = None, closes: bool = False) -> Reply:
    """An error. message: what is wrong, and the cure; it holds nothing that a caller has sent."""
    reply = json_reply({"error": {"message": message}}, status=status, headers=headers)
    return msgspec.structs.replace(reply, closes=True) if closes else reply
