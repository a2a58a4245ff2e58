"""A collector of log lines, as bad as they come: a real HTTP/1.1 server that answers as it is told to.

One thread a connection. `batches` has every post that it has read whole. `answer` is what it answers each
with, as bytes; None: nothing at all, for ever.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Generator
from typing import Final, NamedTuple

GOOD: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
BROKEN: Final = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\nsick"
CLOSING: Final = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"


class Batch(NamedTuple):
    """One post."""

    target: str
    headers: dict[str, str]
    body: bytes
    answered: bytes | None

    @property
    def lines(self) -> list[bytes]:
        """Its lines, without their ends."""
        return self.body.splitlines()


class HttpCollector:
    """The server. answers: the first ones, before `answer` is what each post gets."""

    def __init__(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        self._listening = listening
        self._context = context
        self.batches: list[Batch] = []
        self.answer: bytes | None = GOOD
        self.answers: list[bytes | None] = []
        self.closes = False
        """Whether it closes each connection after an answer, without a word."""
        self.pause_seconds = 0.0
        """How long it thinks before it answers."""
        self.connections = 0
        self.closing = threading.Event()
        scheme = "http" if context is None else "https"
        host = "127.0.0.1" if context is None else "localhost"
        self.url = f"{scheme}://{host}:{listening.getsockname()[1]}/logs?index=a"

    @property
    def taken(self) -> list[bytes]:
        """The lines it has said yes to."""
        good = (
            batch for batch in self.batches if batch.answered and batch.answered.startswith(b"HTTP/1.1 2")
        )
        return [line for batch in good for line in batch.lines]

    def serve(self) -> None:
        """Accept until closed."""
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listening.accept()
                self.connections += 1
                threading.Thread(target=self._attend, args=(sock,), daemon=True).start()

    def _attend(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            with sock, sock.makefile("rb") as file:
                while (line := file.readline()).startswith(b"POST"):
                    answer = self.answers.pop(0) if self.answers else self.answer
                    headers: dict[str, str] = {}
                    while head := file.readline().strip():
                        name, _, value = head.decode("latin-1").partition(": ")
                        headers[name.lower()] = value
                    body = file.read(int(headers["content-length"]))
                    self.batches.append(Batch(line.split()[1].decode(), headers, body, answer))
                    if answer is None:
                        self.closing.wait()
                        return
                    self.closing.wait(self.pause_seconds)
                    sock.sendall(answer)
                    if self.closes or b"close" in answer:
                        return


@contextlib.contextmanager
def http_collector(context: ssl.SSLContext | None = None) -> Generator[HttpCollector]:
    """A collector while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        collector = HttpCollector(listening, context)
        thread = threading.Thread(target=collector.serve, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            collector.closing.set()
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
            thread.join()


def dead_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
