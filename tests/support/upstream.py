"""An upstream made by hand: it reads a request and writes what its test has prepared, however much that is.

For what the simulator cannot do, being careful and single-threaded: answers of many megabytes, and nothing
between the gateway and the bytes. It verifies nothing.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Final

import msgspec

from stargate_core.wire.eventstream import encode_event

EVENT_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


class Upstream:
    """A server with a thread for each connection."""

    def __init__(self, server: socket.socket, answer: Callable[[], Iterator[bytes]]) -> None:
        self.url = f"http://127.0.0.1:{server.getsockname()[1]}"
        self.sent_bytes = 0
        """Of all answers so far."""
        self._server = server
        self._answer = answer
        self._threads: list[threading.Thread] = []

    def accept(self) -> None:
        """Serve until the listening socket is closed."""
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._server.accept()
                thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            while _read_request(sock):
                for piece in self._answer():
                    sock.sendall(piece)
                    self.sent_bytes += len(piece)


def _read_request(sock: socket.socket) -> bool:
    """Read one request to its end; False when there is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65_536)
        if not piece:
            return False
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(65_536)
    return True


@contextlib.contextmanager
def running_upstream(answer: Callable[[], Iterator[bytes]]) -> Generator[Upstream]:
    """An upstream that writes `answer()` to every request."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        upstream = Upstream(server, answer)
        thread = threading.Thread(target=upstream.accept, daemon=True)
        thread.start()
        try:
            yield upstream
        finally:
            # Closing alone does not wake a thread that accepts.
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def chunk(data: bytes) -> bytes:
    """A piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def converse_stream(text: str, deltas: int) -> Iterator[bytes]:
    """A whole answer of ConverseStream that says the text so many times, in pieces of some hundred events."""
    delta = _event("contentBlockDelta", {"delta": {"text": text}, "contentBlockIndex": 0})
    usage = {"inputTokens": 1, "outputTokens": deltas, "totalTokens": deltas + 1}
    yield EVENT_STREAM_HEAD + chunk(_event("messageStart", {"role": "assistant"}))
    together = 256
    for _ in range(deltas // together):
        yield chunk(delta * together)
    yield chunk(delta * (deltas % together) + _event("contentBlockStop", {"contentBlockIndex": 0}))
    yield chunk(
        _event("messageStop", {"stopReason": "end_turn"})
        + _event("metadata", {"usage": usage, "metrics": {"latencyMs": 1}})
    )
    yield b"0\r\n\r\n"


def converse(text: str) -> Iterator[bytes]:
    """A whole answer of Converse."""
    body = msgspec.json.encode(
        {
            "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
            "metrics": {"latencyMs": 1},
        }
    )
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    yield body


def _event(name: str, payload: object) -> bytes:
    return encode_event(name, msgspec.json.encode(payload))
