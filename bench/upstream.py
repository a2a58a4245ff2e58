"""A Bedrock stand-in that costs next to nothing: it finds where a request ends, and answers from memory.

It sees whether a request bears a signature, but does not verify it, and reads no body, because it shares a
core with the load generator and whatever it costs is taken from the figures of the fastest gateway. (The
simulator is the stand-in that checks.) A stream
leaves in as many writes as asked for, each in a turn of the event loop of its own: that way they arrive as
separate reads, as the tokens of a model do, and not as one.

    python -m bench.upstream [--writes N]

prints the port it listens on, on 127.0.0.1, and serves until its standard input ends, so that it cannot
outlive whoever started it.
"""

import argparse
import asyncio
import sys
from collections import deque
from collections.abc import Sequence
from typing import Final, cast

import uvloop

from bench.traffic import EVENTS, PLAIN_ANSWER, SIGNED, UNSIGNED_ANSWER, stream_writes

_REQUEST_BYTES_MAX: Final = 1 << 20
_PLAIN: Final = (PLAIN_ANSWER,)


class Upstream(asyncio.Protocol):
    """One connection. Requests may come in pieces or ahead of time; answers keep their order."""

    def __init__(self, stream: list[bytes]) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._data = b""
        self._queue: deque[bytes] = deque()
        """Writes that wait for their turn."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        if self._data:
            data = self._data + data
        while data:
            end = _request_end(data)
            if not 0 < end <= len(data):
                if len(data) > _REQUEST_BYTES_MAX:
                    self._transport.abort()
                break
            self._answer(data if end == len(data) else data[:end])
            data = data[end:]
        self._data = data

    def _answer(self, request: bytes) -> None:
        writes: Sequence[bytes]
        if SIGNED not in request:
            writes = (UNSIGNED_ANSWER,)
        elif b"/converse-stream HTTP/1.1\r\n" in request[: request.find(b"\n") + 1]:
            writes = self._stream
        else:
            writes = _PLAIN
        if self._queue:
            self._queue.extend(writes)
        elif len(writes) == 1:
            self._transport.write(writes[0])
        else:
            self._queue.extend(writes)
            self._write_next()

    def _write_next(self) -> None:
        if self._transport.is_closing():
            self._queue.clear()
            return
        self._transport.write(self._queue[0])
        self._queue.popleft()
        if self._queue:
            self._loop.call_soon(self._write_next)


def _request_end(data: bytes) -> int:
    """Where the first request in `data` ends; 0: its head is not whole."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return 0
    at = data.find(b"ontent-length: ", 0, end)
    if at < 0:
        at = data.find(b"ontent-Length: ", 0, end)
        if at < 0:
            return end + 4
    return end + 4 + int(data[at + 15 : data.index(b"\r", at)])


async def _serve(writes: int) -> None:
    loop = asyncio.get_running_loop()
    stream = stream_writes(writes)
    server = await loop.create_server(lambda: Upstream(stream), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m bench.upstream")
    parser.add_argument("--writes", type=int, default=8, help=f"writes to a stream of {EVENTS} events")
    uvloop.run(_serve(parser.parse_args().writes))


if __name__ == "__main__":
    main()
