"""A crowd of clients in one process: thousands of connections, each answer read to its last byte.

SDKs cost more than a gateway does, so what they would do is done here by hand: a request's bytes are written,
what comes is kept, and when an answer has ended it is read strictly: its framing, its events, its words. Each
connection has a number, and asks `crowd_upstream` for words that bear it.

    python crowd_client.py PORT KEY

reads orders on standard input, JSON, a line each; each is answered by a line (`Crowd.tell`) when it is done.
It ends with its standard input, by resets: a crowd that leaves must not leave thousands of ports behind.
"""

import json
import resource
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

READ_BYTES: Final = 65_536
SLOW_READ_BYTES: Final = 256
SLOW_BUFFER_BYTES: Final = 4096
_RESET: Final = b"\x01\0\0\0\0\0\0\0"  # struct linger {on, 0 seconds}
_ERRORS_KEPT: Final = 5


class Wrong(Exception):
    """An answer is not what was asked for, or not whole."""


class Connection:
    """One connection: what it has asked, and what has come."""

    __slots__ = ("begun", "number", "over", "padding", "pieces", "slow", "sock", "stream", "words")

    def __init__(self, number: int, sock: socket.socket, *, slow: bool) -> None:
        self.number = number
        self.sock = sock
        self.slow = slow
        self.pieces: list[bytes] = []
        self.over = True
        """Nothing is awaited."""
        self.begun = False
        """The first event has come."""
        self.stream = False
        self.words = 0
        self.padding = 0

    @property
    def expected(self) -> str:
        """What the answer is to say."""
        padding = "." * self.padding
        return "".join(f"{self.number}:{place}{padding} " for place in range(self.words))

    def ended(self) -> bool:
        """Whether the answer has come to its end."""
        if self.stream:
            return b"".join(self.pieces[-5:]).endswith(b"\r\n0\r\n\r\n")
        head, _, body = b"".join(self.pieces).partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return bool(length) and len(body) >= int(length)

    def judge(self) -> None:
        """Read the answer. Raises Wrong, or whatever reading nonsense raises."""
        head, _, body = b"".join(self.pieces).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Wrong(f"{head!r} {body[:500]!r}")
        text = read_stream(unchunked(body)) if self.stream else read_plain(body)
        if text != self.expected:
            raise Wrong(f"it says {text[:200]!r} ({len(text)} characters)")


def unchunked(body: bytes) -> bytes:
    """What the chunks of a body hold."""
    pieces: list[bytes] = []
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end], 16)
        at = end + 2
        if not size:
            break
        pieces.append(body[at : at + size])
        if body[at + size : at + size + 2] != b"\r\n":
            raise Wrong("a chunk that is longer than it says")
        at += size + 2
    if body[at:] != b"\r\n":
        raise Wrong("bytes behind the last chunk")
    return b"".join(pieces)


def read_stream(content: bytes) -> str:
    """The text of a stream of chat chunks, which must end as one that is finished."""
    events = [event for event in content.split(b"\n\n") if event and not event.startswith(b":")]
    if events.pop() != b"data: [DONE]":
        raise Wrong("it does not end in [DONE]")
    choices: list[dict[str, Any]] = []
    for event in events:
        chunk = json.loads(event.removeprefix(b"data: "))
        choices += chunk["choices"]
    if choices[-1]["finish_reason"] != "stop":
        raise Wrong("it is not finished")
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def read_plain(body: bytes) -> str:
    """The text of a chat completion."""
    text: str = json.loads(body)["choices"][0]["message"]["content"]
    return text


class Crowd:
    """All of them."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key
        self._selector = selectors.DefaultSelector()
        self._connections: list[Connection] = []
        self._queue: deque[tuple[Connection, bytes]] = deque()
        """Requests that wait until fewer are under way."""
        self._under_way = 0
        self._at_once = sys.maxsize
        self._slow_pause = 0.0
        """Seconds between two reads of a slow reader."""
        self._whole = 0
        self._wrong: list[str] = []

    # ------------------------------------------------------------------------------------------------- orders

    def obey(self, order: dict[str, Any]) -> None:
        """Do as one is told."""
        orders: dict[str, Callable[..., None]] = {
            "connect": self._connect,
            "ask": self._ask,
            "wait": self._wait,
            "hurry": self._hurry,
        }
        orders[order.pop("do")](**order)

    def tell(self) -> dict[str, Any]:
        """How things stand."""
        awaited = [connection for connection in self._connections if not connection.over]
        return {
            "connected": len(self._connections),
            "whole": self._whole,
            "begun": sum(each.begun for each in awaited),
            "fast_awaited": sum(not each.slow for each in awaited),
            "slow_awaited": sum(each.slow for each in awaited),
            "wrong": self._wrong,
        }

    def _connect(self, count: int, slow_bytes_per_second: int = 0) -> None:
        """Open so many connections more; slow ones are read at that pace."""
        for _ in range(count):
            sock = socket.socket()
            if slow_bytes_per_second:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)
                self._slow_pause = SLOW_READ_BYTES / slow_bytes_per_second
            sock.connect(("127.0.0.1", self._port))
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            slow = bool(slow_bytes_per_second)
            connection = Connection(len(self._connections), sock, slow=slow)
            self._connections.append(connection)
            if not slow:
                self._selector.register(sock, selectors.EVENT_READ, connection)

    def _ask(
        self,
        *,
        first: int = 0,
        step: int = 1,
        stream: bool,
        words: int,
        padding: int = 0,
        pace: int = 0,
        together: int = 1,
        wait: bool = False,
        at_once: int = sys.maxsize,
    ) -> None:
        """Ask on every `step`th connection from `first` on."""
        for connection in self._connections[first::step]:
            wish = f"crowd number={connection.number} words={words} padding={padding}"
            wish += f" pace={pace} together={together} wait={wait:d}"
            body = json.dumps(
                {"model": "claude", "stream": stream, "messages": [{"role": "user", "content": wish}]}
            )
            head = (
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
                f"Authorization: Bearer {self._key}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            connection.stream, connection.over = stream, False
            connection.words, connection.padding = words, padding
            connection.pieces, connection.begun = [], False
            self._queue.append((connection, (head + body).encode()))
        self._at_once = at_once
        self._send_more()

    def _send_more(self) -> None:
        while self._queue and self._under_way < self._at_once:
            connection, data = self._queue.popleft()
            self._under_way += 1
            connection.sock.send(data)

    def _wait(self, until: str) -> None:
        """`begun`: each answer that is awaited has said its first word. `fast`: those that are read fast are
        over. `all`: all are.
        """
        slow = deque(connection for connection in self._connections if connection.slow)
        turn = time.monotonic()
        while not self._reached(until) and not self._wrong:
            pause = None
            if slow and self._slow_pause:
                pause = max(0.0, turn - time.monotonic())
            for key, _ in self._selector.select(pause):
                self._read(key.data, READ_BYTES)
            if pause is not None and time.monotonic() >= turn:
                turn += self._slow_pause
                for connection in slow:
                    if not connection.over:
                        self._read(connection, SLOW_READ_BYTES)

    def _reached(self, until: str) -> bool:
        if until == "begun":
            return all(connection.over or connection.begun for connection in self._connections)
        if until == "fast":
            return all(connection.over or connection.slow for connection in self._connections)
        return self._under_way == 0 and not self._queue

    def _hurry(self) -> None:
        """From now on the slow ones read as fast as all others."""
        self._slow_pause = 0.0
        for connection in self._connections:
            if connection.slow:
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BYTES)
                self._selector.register(connection.sock, selectors.EVENT_READ, connection)

    def _read(self, connection: Connection, size: int) -> None:
        try:
            data = connection.sock.recv(size)
        except BlockingIOError:
            return
        except ConnectionError as error:
            data = b""
            self._fail(connection, f"{error!r}")
        if not data:
            self._fail(connection, "it was closed")
            return
        connection.pieces.append(data)
        connection.begun = connection.begun or b"data: " in b"".join(connection.pieces)
        if connection.over:
            self._fail(connection, f"unasked: {data[:200]!r}")
        elif connection.ended():
            self._under_way -= 1
            connection.over = True
            try:
                connection.judge()
            except Exception as error:  # noqa: BLE001  (whatever an answer can be wrong in)
                self._fail(connection, f"{type(error).__name__}: {error}")
            else:
                self._whole += 1
            connection.pieces = []
            self._send_more()

    def _fail(self, connection: Connection, why: str) -> None:
        if len(self._wrong) < _ERRORS_KEPT:
            self._wrong.append(f"connection {connection.number}: {why}")


def main() -> None:
    """Obey until there are no more orders."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(int(sys.argv[1]), sys.argv[2])
    for line in sys.stdin:
        crowd.obey(json.loads(line))
        sys.stdout.write(json.dumps(crowd.tell()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
