"""The admin listener's sockets: who is let in, and how long anybody may take.

All workers accept on the same sockets, opened before they were forked; whoever is awake first takes a
connection. There are few: when all places are taken, the one that has waited longest for its next request is
closed for a new one, so that a forgotten browser keeps no health check out; if none waits, the new one is
answered 503.

Nobody may hold a place without end (`Bounds`). An answer is written in pieces, so what is kept for a slow
reader is what the kernel keeps, and one piece.

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
from typing import Final, TypeAlias, cast

import anyio
import msgspec
from anyio.abc import TaskGroup

from stargate.admin.dialogue import Dialogue, Judge, More, Over
from stargate.admin.messages import Answer, Awaited, Reply, Request, Streamed, problem
from stargate.in_memory.call import Cut
from stargate.shell_common.facts import bug
from stargate.shell_common.listening import GONE_ALREADY, OUT_OF_DESCRIPTORS, RECOVERY_SECONDS
from stargate_core.wire.http1 import Limits

_READ_BYTES: Final = 65_536
_WRITE_BYTES: Final = 65_536
_LINGER_SECONDS: Final = 2.0
_FULL: Final = problem(503, "too many connections to the admin listener; try again", closes=True)

Answering: TypeAlias = Callable[[Request], Awaitable[Answer]]


class Bounds(msgspec.Struct, frozen=True):
    """How many there may be in each worker, and how long each may take."""

    connections_max: int = 64
    idle_seconds: float = 75.0
    """Between two requests."""
    request_seconds: float = 60.0
    """For a request, from its first byte to its last."""
    stall_seconds: float = 20.0
    """In which a client takes nothing of what lies there for it."""


USUAL: Final = Bounds()


class _Gone(Exception):
    """The client is gone, or has had its time."""


class _Visit:
    """One connection."""

    def __init__(self, sock: socket.socket, dialogue: Dialogue, bounds: Bounds) -> None:
        self.sock = sock
        self.dialogue = dialogue
        self.bounds = bounds
        self.scope = anyio.CancelScope()
        self.waits = True
        """Whether it is between two requests."""


class Door:
    """Accepts connections and answers what is asked on them. judge, answer: the site's."""

    def __init__(
        self,
        judge: Judge,
        answer: Answering,
        limits: Limits,
        note: Callable[[str, str], None],
        bounds: Bounds = USUAL,
    ) -> None:
        self._bounds = bounds
        self._judge = judge
        self._answer = answer
        self._limits = limits
        self._note = note
        self._visits: dict[int, _Visit] = {}
        """By number; those that have waited longest come first."""
        self._numbers = itertools.count()
        self._sockets: set[socket.socket] = set()
        """All connections."""

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._visits)

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Accept for ever."""
        try:
            async with anyio.create_task_group() as group:
                for sock in sockets:
                    group.start_soon(self._accept, sock, group)
        finally:
            # asyncio does not begin a task that is cancelled before it has had its turn.
            for sock in self._sockets:
                sock.close()

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
            self._sockets.add(sock)
            sock.setblocking(False)
            peer = cast("tuple[str, int]", address)[0] if isinstance(address, tuple) else "unix"
            visit = _Visit(sock, Dialogue(self._limits, self._judge, peer), self._bounds)
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
        except Exception as error:  # noqa: BLE001  (a bug of ours costs one connection, never the gateway)
            self._note("error", f"admin listener: {bug(_first(error))}")
        finally:
            self._visits.pop(number, None)
            visit.sock.close()
            self._sockets.discard(visit.sock)

    def _has_room(self) -> bool:
        if len(self._visits) < self._bounds.connections_max:
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
            answer: Answer = asked if isinstance(asked, Reply) else await self._answer(asked)
            if isinstance(answer, Awaited):
                answer = await _begun(visit, answer)
            if isinstance(answer, Reply):
                await _send(visit, dialogue.whole(answer))
            else:
                await _stream(visit, answer)
            if not dialogue.go_on():
                await _linger(visit.sock)
                return
            visit.waits = True
            if number in self._visits:  # It is the last now to be closed for a new one.
                self._visits[number] = self._visits.pop(number)


def _first(error: BaseException) -> Exception:
    """What a group was made for."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error if isinstance(error, Exception) else RuntimeError()


async def _request(visit: _Visit) -> Request | Reply | Over:
    """The next request. Raises _Gone."""
    dialogue = visit.dialogue
    with anyio.move_on_after(visit.bounds.idle_seconds) as limit:
        while True:
            asked = dialogue.next()
            if not isinstance(asked, More):
                return asked
            if asked.say:
                await _send(visit, asked.say)
            if visit.waits and not dialogue.idle:
                visit.waits = False
                limit.deadline = anyio.current_time() + visit.bounds.request_seconds
            dialogue.hear(await _receive(visit.sock))
    if dialogue.idle:
        raise _Gone
    return problem(408, "the request did not come in time", closes=True)


async def _begun(visit: _Visit, answer: Awaited) -> Reply | Streamed:
    """What it becomes. Raises _Gone where the client leaves before."""
    begun: Reply | Streamed | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(_listen, visit, group.cancel_scope)
        begun = await answer.begin()
        group.cancel_scope.cancel()
    if begun is None:
        raise _Gone
    return begun


async def _stream(visit: _Visit, answer: Streamed) -> None:
    """Write an answer as it comes, while the client is there. Raises _Gone."""
    dialogue = visit.dialogue
    whole = False
    async with anyio.create_task_group() as group:
        group.start_soon(_listen, visit, group.cancel_scope)
        try:
            await _send(visit, dialogue.begin(answer))
            async for piece in answer.pieces:
                await _send(visit, dialogue.piece(piece))
            await _send(visit, dialogue.end())
            whole = True
        except (_Gone, Cut, OSError):
            pass  # Here it is cut, and the client sees that.
        finally:
            with anyio.CancelScope(shield=True):
                await answer.pieces.aclose()
            answer.leave()
            group.cancel_scope.cancel()
    if not whole:
        raise _Gone


async def _listen(visit: _Visit, scope: anyio.CancelScope) -> None:
    """See whether the client leaves; then nothing of this scope is wanted any more."""
    try:
        while data := await _receive(visit.sock):
            visit.dialogue.hear(data)  # Of a next request; the codec keeps no more of it than it may.
    except _Gone:
        pass
    scope.cancel()


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


async def _send(visit: _Visit, data: bytes) -> None:
    """Raises _Gone, also when the client takes nothing for its time."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[visit.sock.send(rest[:_WRITE_BYTES]) :]
        except BlockingIOError:
            with anyio.move_on_after(visit.bounds.stall_seconds):
                await anyio.wait_writable(visit.sock)
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
