"""A Bedrock stand-in that costs next to nothing: it finds where a request ends, and answers from memory.

It sees whether a request bears a signature, but does not verify it, and reads of a body only whether some
words are in it (traffic.py), because it shares a core with the load generator and whatever it costs is taken
from the figures of the fastest gateway. (The simulator is the stand-in that checks.)

A stream leaves in as many writes as asked for, each in a turn of the event loop of its own: that way they
arrive as separate reads, as the tokens of a model do, and not as one. A paced stream leaves at the pace that
its request wishes for, from the moment that the request came; if the stand-in falls behind, it catches up, so
that its own delay is no longer than it has to be. All paced streams share one clock of a millisecond: a timer
for each of two thousand would cost more than the writes.

    python -m bench.upstream [--writes N]

prints the port it listens on, on 127.0.0.1, and serves until its standard input ends, so that it cannot
outlive whoever started it.
"""

import argparse
import asyncio
import gc
import heapq
import sys
from collections import deque
from collections.abc import Sequence
from typing import Final, cast

import uvloop

from bench.traffic import (
    EVENTS,
    PACED,
    PLAIN_ANSWER,
    SIGNED,
    TOOL,
    TOOL_ANSWER,
    UNSIGNED_ANSWER,
    paced_writes,
    stream_writes,
)

_REQUEST_BYTES_MAX: Final = 1 << 20
_PLAIN: Final = (PLAIN_ANSWER,)
_TOOL_USE: Final = (TOOL_ANSWER,)
_TOOL_NAME: Final = TOOL.encode()
_TICK_SECONDS: Final = 0.001


class Clock:
    """Writes the paced streams, each piece when it is due."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: list[tuple[float, int, Upstream, Sequence[bytes], int, float]] = []
        """When, a number that makes the order total, for whom, of which pieces the how-manieth, how far
        apart they are."""
        self._number = 0
        self._ticking = False

    def begin(self, connection: "Upstream", pieces: Sequence[bytes], period: float) -> None:
        """Write the first piece now, and the others when their time comes."""
        self._number += 1
        now = self._loop.time()
        connection.write(pieces[0])
        if len(pieces) > 1:
            heapq.heappush(self._due, (now + period, self._number, connection, pieces, 1, period))
            if not self._ticking:
                self._ticking = True
                self._loop.call_later(_TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        due, now = self._due, self._loop.time()
        while due and due[0][0] <= now:
            when, number, connection, pieces, at, period = due[0]
            more = connection.write(pieces[at]) and at + 1 < len(pieces)
            if more:
                heapq.heapreplace(due, (when + period, number, connection, pieces, at + 1, period))
            else:
                heapq.heappop(due)
        self._ticking = bool(due)
        if due:
            self._loop.call_later(_TICK_SECONDS, self._tick)


class Upstream(asyncio.Protocol):
    """One connection. Requests may come in pieces or ahead of time; answers keep their order, but for a paced
    stream, behind which nobody may ask ahead.
    """

    def __init__(self, stream: list[bytes], clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
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

    def write(self, data: bytes) -> bool:
        """Write at once; whether there is anybody to write to."""
        if self._transport.is_closing():
            return False
        self._transport.write(data)
        return True

    def _answer(self, request: bytes) -> None:
        writes: Sequence[bytes]
        if SIGNED not in request:
            writes = (UNSIGNED_ANSWER,)
        elif b"/converse-stream HTTP/1.1\r\n" in request[: request.find(b"\n") + 1]:
            wish = request.find(PACED)
            if wish >= 0:
                events, per_second = request[wish + len(PACED) : request.index(b")", wish)].split()
                self._clock.begin(self, paced_writes(int(events)), 1 / float(per_second))
                return
            writes = self._stream
        else:
            writes = _TOOL_USE if _TOOL_NAME in request else _PLAIN
        if self._queue:
            self._queue.extend(writes)
        elif len(writes) == 1:
            self._transport.write(writes[0])
        else:
            self._queue.extend(writes)
            self._write_next()

    def _write_next(self) -> None:
        if not self.write(self._queue[0]):
            self._queue.clear()
            return
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
    stream, clock = stream_writes(writes), Clock()
    server = await loop.create_server(lambda: Upstream(stream, clock), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m bench.upstream")
    parser.add_argument("--writes", type=int, default=8, help=f"writes to a stream of {EVENTS} events")
    given = parser.parse_args()
    gc.disable()  # a pause of ours would look like one of the gateway's
    uvloop.run(_serve(given.writes))


if __name__ == "__main__":
    main()
