"""A Bedrock stand-in for a crowd: thousands of paced streams from one process, each with words of its own.

The simulator is careful, and spends that care on every event; a crowd needs a stand-in that leaves the
processor to the gateway. It verifies nothing. What it says is what it was asked for in the message's text
(`crowd.wish`): so many words, each with the number of its stream and its place, so that a word that is lost,
doubled, cut or in somebody else's stream is seen by whoever reads it.

A stream that is asked to wait begins with its first word, and goes on when everybody is told to: so all of
them are open at once, and not by chance.

    python crowd_upstream.py

prints JSON, a line each: `{"port": N}` first, then, for each line that it reads on standard input, `{"open":
N, "served": N}`: streams that are under way, answers that are over. The line `go` lets those that wait go on.
It ends with its standard input.
"""

import contextlib
import heapq
import json
import re
import resource
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from typing import Final

from stargate_core.wire.eventstream import encode_event

BACKLOG: Final = 4096
UNSENT_BYTES: Final = 65_536
"""What the kernel keeps of an answer that is not taken: little, so that who does not read is seen not to."""
READ_BYTES: Final = 65_536
WISH: Final = re.compile(rb"crowd number=(\d+) words=(\d+) padding=(\d+) pace=(\d+) together=(\d+) wait=(\d)")
STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def word(number: int, place: int, padding: int) -> str:
    """The word of a stream at a place."""
    return f"{number}:{place}{'.' * padding} "


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(name: str, payload: object) -> bytes:
    return encode_event(name, json.dumps(payload, separators=(",", ":")).encode())


def _delta(text: str) -> bytes:
    return _event("contentBlockDelta", {"delta": {"text": text}, "contentBlockIndex": 0})


def streamed(number: int, words: int, padding: int, together: int) -> Iterator[bytes]:
    """A whole answer of ConverseStream, the first word by itself, then so many words in a piece."""
    yield STREAM_HEAD + _chunk(
        _event("messageStart", {"role": "assistant"}) + _delta(word(number, 0, padding))
    )
    for at in range(1, words, together):
        places = range(at, min(at + together, words))
        yield _chunk(b"".join(_delta(word(number, place, padding)) for place in places))
    usage = {"inputTokens": 1, "outputTokens": words, "totalTokens": words + 1}
    yield (
        _chunk(
            _event("contentBlockStop", {"contentBlockIndex": 0})
            + _event("messageStop", {"stopReason": "end_turn"})
            + _event("metadata", {"usage": usage, "metrics": {"latencyMs": 1}})
        )
        + b"0\r\n\r\n"
    )


def plain(number: int, words: int, padding: int) -> Iterator[bytes]:
    """The same as an answer of Converse."""
    text = "".join(word(number, place, padding) for place in range(words))
    body = json.dumps(
        {
            "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 1, "outputTokens": words, "totalTokens": words + 1},
            "metrics": {"latencyMs": 1},
        }
    ).encode()
    yield (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )


def _say(**what: int) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Connection:
    """One connection, and the answer that is under way on it."""

    __slots__ = ("due", "heard", "held_up", "interval", "piece", "pieces", "sock", "unsent", "waits")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.heard = b""
        self.pieces: Iterator[bytes] | None = None
        self.piece = b""
        """The next one. It is known before it is due, and so is which one is the last."""
        self.due = 0.0
        self.interval = 0.0
        """Seconds between two pieces; 0: as fast as they are taken."""
        self.unsent = b""
        self.held_up = False
        """There was no room for all of a piece."""
        self.waits = False
        """The rest comes when everybody is told to go on."""


class CrowdUpstream:
    """Serves until standard input ends."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._due: list[tuple[float, int, Connection]] = []
        self._order = 0
        self._open = 0
        self._served = 0
        self._waiting: list[Connection] = []

    def run(self) -> None:
        """Serve."""
        self._server.setblocking(False)
        self._selector.register(self._server, selectors.EVENT_READ, "server")
        self._selector.register(sys.stdin, selectors.EVENT_READ, "stdin")
        _say(port=self._server.getsockname()[1])
        while True:
            pause = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for key, events in self._selector.select(pause):
                if key.data == "server":
                    self._accept()
                elif key.data == "stdin":
                    line = sys.stdin.readline()
                    if not line:
                        return
                    if line == "go\n":
                        self._go()
                    _say(open=self._open, served=self._served)
                elif events & selectors.EVENT_WRITE:
                    self._send(key.data)
                else:
                    self._read(key.data)
            now = time.monotonic()
            ready: list[tuple[float, int, Connection]] = []
            while self._due and self._due[0][0] <= now:
                ready.append(heapq.heappop(self._due))
            for due, _, connection in ready:
                self._turn(connection, due)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self._server.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_BYTES)
                self._selector.register(sock, selectors.EVENT_READ, Connection(sock))

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(READ_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            self._drop(connection)
            return
        connection.heard += data
        head, _, body = connection.heard.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
        if len(body) < length:
            return
        connection.heard = b""
        found = WISH.search(body)
        assert found is not None, body
        number, words, padding, pace, together, wait = map(int, found.groups())
        is_stream = b"/converse-stream HTTP/1.1\r\n" in head + b"\r\n"
        connection.pieces = (
            streamed(number, words, padding, together) if is_stream else plain(number, words, padding)
        )
        connection.piece = next(connection.pieces)
        connection.interval = 1 / pace if pace else 0.0
        connection.waits = wait == 1
        self._open += 1
        self._turn(connection, time.monotonic())

    def _turn(self, connection: Connection, due: float) -> None:
        """Send the next piece of an answer, and see when the one behind it is due."""
        if connection.pieces is None:
            return
        connection.unsent, connection.piece = connection.piece, next(connection.pieces, b"")
        connection.due = due + connection.interval
        self._send(connection)

    def _send(self, connection: Connection) -> None:
        try:
            sent = connection.sock.send(connection.unsent)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            self._drop(connection)
            return
        held_up = connection.held_up
        connection.unsent = connection.unsent[sent:]
        connection.held_up = bool(connection.unsent)
        if connection.held_up:
            if not held_up:
                self._selector.modify(connection.sock, selectors.EVENT_WRITE, connection)
            return
        if held_up:
            self._selector.modify(connection.sock, selectors.EVENT_READ, connection)
        if not connection.piece:
            connection.pieces = None
            self._open -= 1
            self._served += 1
        elif connection.waits:
            self._waiting.append(connection)
        else:
            self._schedule(connection)

    def _schedule(self, connection: Connection) -> None:
        self._order += 1
        heapq.heappush(self._due, (connection.due, self._order, connection))

    def _drop(self, connection: Connection) -> None:
        self._selector.unregister(connection.sock)
        connection.sock.close()
        if connection.pieces is not None:
            connection.pieces = None
            self._open -= 1

    def _go(self) -> None:
        """Let those that wait go on, spread over their interval as clients are that came one by one."""
        now = time.monotonic()
        waiting, self._waiting = self._waiting, []
        for at, connection in enumerate(waiting):
            connection.waits = False
            connection.due = now + connection.interval * at / len(waiting)
            self._schedule(connection)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    CrowdUpstream().run()
