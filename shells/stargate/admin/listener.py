"""The admin listener's sockets: who is let in, and how long anybody may take.

All workers accept on the same sockets, opened before they were forked; whoever is awake first takes a
connection. There are few: when `CONNECTIONS_MAX` are open, the one that has waited longest for its next
request is closed for a new one, so that a forgotten browser keeps no health check out; if none waits, the new
one is answered 503.

Nobody may hold the place without end: a request has `REQUEST_SECONDS` from its first byte, a client that
reads nothing `STALL_SECONDS` for each piece, one that asks nothing `IDLE_SECONDS`. An answer is written in
pieces, so what is kept for a slow reader is what the kernel keeps, and one piece.

While an answer comes piece by piece the client is listened to as well. When it ends its side, that is to say
it leaves: what the answer was made of is cancelled, at Bedrock too.

There is no TLS here: it is for this machine, or stands behind something that has it (docs/admin.md).
"""

import contextlib
import errno
import itertools
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio
from anyio.abc import TaskGroup

from stargate.admin.dialogue import Dialogue, Judge, More, Over
from stargate.admin.messages import Reply, Request, Streamed, problem
from stargate.shell_common.listening import GONE_ALREADY, OUT_OF_DESCRIPTORS, RECOVERY_SECONDS
from stargate_core.wire.http1 import Limits

CONNECTIONS_MAX: Final = 64
"""By each worker."""
IDLE_SECONDS: Final = 75.0
REQUEST_SECONDS: Final = 60.0
STALL_SECONDS: Final = 20.0
_READ_BYTES: Final = 65_536
_WRITE_BYTES: Final = 65_536
_LINGER_SECONDS: Final = 2.0
_FULL: Final = problem(503, "too many connections to the admin listener; try again", closes=True)

Answer = Callable[[Request], Awaitable[Reply | Streamed]]


class _Gone(Exception):
    """The client is gone, or has had its time."""


class _Visit:
    """One connection."""

    def __init__(self, sock: socket.socket, dialogue: Dialogue) -> None:
        self.sock = sock
        self.dialogue = dialogue
        self.scope = anyio.CancelScope()
        self.waits = True
        """Whether it is between two requests."""


class Door:
    """Accepts connections and answers what is asked on them. judge, answer: the site's."""

    def __init__(
        self, judge: Judge, answer: Answer, limits: Limits, note: Callable[[str, str], None]
    ) -> None:
        self._judge = judge
        self._answer = answer
        self._limits = limits
        self._note = note
        self._visits: dict[int, _Visit] = {}
        """By number; those that have waited longest come first."""
        self._numbers = itertools.count()

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Accept for ever."""
        async with anyio.create_task_group() as group:
            for sock in sockets:
                group.start_soon(self._accept, sock, group)

    async def _accept(self, listening: socket.socket, group: TaskGroup) -> None:
        failing = False
        while True:
            await anyio.wait_readable(listening)
            try:
                sock, address = listening.accept()
            except BlockingIOError:
                continue  # Another worker was quicker.
            except OSError as error:
                if error.errno in GONE_ALREADY:
                    continue
                if error.errno not in OUT_OF_DESCRIPTORS:
                    raise
                if not failing:
                    why = os.strerror(error.errno or 0)
                    self._note("error", f"the admin listener cannot accept connections: {why}")
                failing = True
                await anyio.sleep(RECOVERY_SECONDS)
                continue
            failing = False
            sock.setblocking(False)
            peer = address[0] if isinstance(address, tuple) and address else "unix"
            visit = _Visit(sock, Dialogue(self._limits, self._judge, str(peer)))
            group.start_soon(self._attend, visit)

    async def _attend(self, visit: _Visit) -> None:
        number = next(self._numbers)
        try:
            if not self._has_room():
                _turn_away(visit)
                return
            self._visits[number] = visit
            with visit.scope, contextlib.suppress(_Gone):
                await self._converse(visit, number)
        finally:
            self._visits.pop(number, None)
            visit.sock.close()

    def _has_room(self) -> bool:
        if len(self._visits) < CONNECTIONS_MAX:
            return True
        for number, visit in self._visits.items():
            if visit.waits and visit.dialogue.idle:
                del self._visits[number]
                visit.scope.cancel()
                return True
        return False

    async def _converse(self, visit: _Visit, number: int) -> None:
        """Answer one request after the other. Raises _Gone."""
        dialogue = visit.dialogue
        while True:
            asked = await _request(visit)
            if isinstance(asked, Over):
                return
            visit.waits = False
            if isinstance(asked, Reply):
                answer: Reply | Streamed = asked
            else:
                answer = await self._answer(asked)
            if isinstance(answer, Reply):
                await _send(visit.sock, dialogue.whole(answer))
            else:
                await _stream(visit, answer)
            if not dialogue.go_on():
                await _linger(visit.sock)
                return
            visit.waits = True
            if number in self._visits:  # It is the last now to be closed for a new one.
                self._visits[number] = self._visits.pop(number)


async def _request(visit: _Visit) -> Request | Reply | Over:
    """The next request. Raises _Gone."""
    dialogue = visit.dialogue
    with anyio.move_on_after(IDLE_SECONDS) as limit:
        while True:
            asked = dialogue.next()
            if not isinstance(asked, More):
                return asked
            if asked.say:
                await _send(visit.sock, asked.say)
            if visit.waits and not dialogue.idle:
                visit.waits = False
                limit.deadline = anyio.current_time() + REQUEST_SECONDS
            dialogue.hear(await _receive(visit.sock))
    if dialogue.idle:
        raise _Gone
    return problem(408, "the request did not come in time", closes=True)


async def _stream(visit: _Visit, answer: Streamed) -> None:
    """Write an answer as it comes, and see whether the client leaves. Raises _Gone."""
    dialogue = visit.dialogue
    left = whole = False

    async def listen(scope: anyio.CancelScope) -> None:
        nonlocal left
        try:
            while data := await _receive(visit.sock):
                dialogue.hear(data)  # Of a next request; the codec keeps no more of it than it may.
        except _Gone:
            pass
        left = True
        scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(listen, group.cancel_scope)
        try:
            await _send(visit.sock, dialogue.begin(answer))
            async for piece in answer.pieces:
                await _send(visit.sock, dialogue.piece(piece))
            await _send(visit.sock, dialogue.end())
            whole = True
        except Exception:  # noqa: BLE001  (whoever made the pieces has told of it; here it is cut)
            left = True
        finally:
            with anyio.CancelScope(shield=True):
                await answer.pieces.aclose()
            answer.leave()
            group.cancel_scope.cancel()
    if left and not whole:
        raise _Gone


def _turn_away(visit: _Visit) -> None:
    """Say that there is no room, as far as that takes no time: there may be thousands at the door."""
    with contextlib.suppress(OSError):
        visit.sock.send(visit.dialogue.whole(_FULL))
        visit.sock.shutdown(socket.SHUT_WR)
        visit.sock.recv(_READ_BYTES)  # What lies unread when a socket is closed takes our last words with it.


async def _receive(sock: socket.socket) -> bytes:
    """What comes next; nothing: the client has ended its side. Raises _Gone."""
    while True:
        try:
            return sock.recv(_READ_BYTES)
        except BlockingIOError:
            await anyio.wait_readable(sock)
        except OSError:
            raise _Gone from None


async def _send(sock: socket.socket, data: bytes) -> None:
    """Raises _Gone, also when the client takes nothing for its time."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[sock.send(rest[:_WRITE_BYTES]) :]
        except BlockingIOError:
            with anyio.move_on_after(STALL_SECONDS):
                await anyio.wait_writable(sock)
                continue
            raise _Gone from None
        except OSError:
            raise _Gone from None


async def _linger(sock: socket.socket) -> None:
    """End our side, and wait a little for the client's: closing on unread bytes would take our last words."""
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError as error:
        if error.errno in (errno.ENOTCONN, errno.EPIPE):
            return
        raise
    with anyio.move_on_after(_LINGER_SECONDS), contextlib.suppress(_Gone):
        while await _receive(sock):
            pass
