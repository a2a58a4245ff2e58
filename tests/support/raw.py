"""A client that sends the bytes it is told to send, and reads answers as h11 reads them: strictly."""

import contextlib
import json
import socket
import ssl
from collections.abc import Generator, Mapping
from typing import Any, Final

import h11
import msgspec

from support.gateway import KEY

TIMEOUT_SECONDS: Final = 20
READ_BYTES: Final = 65_536


class Answer(msgspec.Struct):
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    whole: bool = False
    """Whether it ended as HTTP says; a cut leaves it false."""

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Raw:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._kept = b""
        """What has come of the next answer already."""

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def answer(self, *, method: str = "POST") -> Answer:
        """Read one answer to its end, or as far as it comes."""
        reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        reader.send(h11.Request(method=method, target="/", headers=[("Host", "gateway")]))
        reader.send(h11.EndOfMessage())
        if self._kept:
            reader.receive_data(self._kept)
        found = Answer(0, {})
        pieces: list[bytes] = []
        with contextlib.suppress(ConnectionError):
            while not found.whole:
                event = reader.next_event()
                if event is h11.NEED_DATA:
                    reader.receive_data(self.sock.recv(READ_BYTES))
                elif isinstance(event, h11.Response):
                    found.status = event.status_code
                    found.headers = {name.decode(): value.decode() for name, value in event.headers}
                elif isinstance(event, h11.Data):
                    pieces.append(bytes(event.data))
                elif isinstance(event, h11.ConnectionClosed):
                    break
                else:
                    found.whole = isinstance(event, h11.EndOfMessage)
        self._kept = reader.trailing_data[0]
        found.body = b"".join(pieces)
        return found

    def rest(self) -> bytes:
        """Everything until the peer's end."""
        pieces = [self._kept]
        self._kept = b""
        with contextlib.suppress(ConnectionError):
            while piece := self.sock.recv(READ_BYTES):
                pieces.append(piece)
        return b"".join(pieces)

    def read_until(self, wanted: bytes, *, keep: bool = False) -> bytes:
        """Read until these bytes have come; `keep`: for `answer` or `rest` to begin with."""
        seen = bytearray(self._kept)
        self._kept = b""
        while wanted not in seen:
            piece = self.sock.recv(READ_BYTES)
            assert piece, f"ended before {wanted!r}: {bytes(seen)!r}"
            seen += piece
        if keep:
            self._kept = bytes(seen)
        return bytes(seen)

    def reset(self) -> None:
        """Break the connection."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()


@contextlib.contextmanager
def connected(url: str, *, tls: ssl.SSLContext | None = None, name: str = "localhost") -> Generator[Raw]:
    """A connection to a gateway's listener, as its URL says; `name`: asked for with SNI."""
    if url.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(url.removeprefix("unix:"))
    else:
        host, _, port = url.partition("://")[2].rpartition(":")
        sock = socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_SECONDS)
    sock.settimeout(TIMEOUT_SECONDS)
    with contextlib.ExitStack() as stack:
        stack.callback(sock.close)
        if tls is not None:
            sock = tls.wrap_socket(sock, server_hostname=name)
            stack.callback(sock.close)
        yield Raw(sock)


def request(
    method: str = "POST",
    path: str = "/v1/chat/completions",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    key: str = KEY,
) -> bytes:
    """A request as any client would send it."""
    lines = {"Host": "gateway", "Authorization": f"Bearer {key}", **(headers or {})}
    if body or method == "POST":
        lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **lines}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def chat(text: str, **more: Any) -> bytes:
    """A chat request's body: one user message, and whatever else is said."""
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": "claude", "messages": messages, **more}, ensure_ascii=False).encode()


def converse(text: str) -> bytes:
    """A Converse request's body."""
    messages = [{"role": "user", "content": [{"text": text}]}]
    return json.dumps({"messages": messages}, ensure_ascii=False).encode()


def deltas(body: bytes) -> str:
    """The text of a stream of chat chunks, which must end in [DONE]."""
    lines = [line.removeprefix(b"data: ") for line in body.split(b"\n\n") if line.startswith(b"data: ")]
    assert lines[-1] == b"[DONE]", lines[-3:]
    chunks = [json.loads(line) for line in lines[:-1]]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
