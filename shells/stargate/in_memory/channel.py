"""A client's connection that is nothing but memory.

One object has both ends. Towards the gateway it is a channel like one on a socket: what comes is handed to
its owner at once, `write` never waits. Towards the caller it is `send`, `receive` and `leave`. Because bytes
go through as they would on a socket, everything behind it (sessions, dialects, limits, the request log) is
the same for a caller in this process as for one from outside.

The bound is the one difference. A socket takes what its buffers hold and refuses the rest; memory would take
everything. So as soon as more than 64 KiB lie unread the owner is told that its client is stalled, and does
not read its upstream until all of it has been taken. (An answer that is written in one piece lies there in
one piece, however long.)

Nothing has to linger here: what was written before the end is read by the caller whenever it likes, and a
connection that breaks loses what the caller has not read, as a reset does. So nobody needs to wait for the
end either: whoever must know of it is told (`when_over`), and a call costs the gateway no task.

Both ends live on one loop, and are not to be touched from another thread.
"""

from collections.abc import Callable
from typing import Final

import anyio
import anyio.lowlevel

from stargate.shell_common.channels import Owner

UNREAD_BYTES_MAX: Final = 65_536


class MemoryChannel:
    """One connection, both ends of it."""

    __slots__ = (
        "_broken",
        "_left",
        "_news",
        "_owner",
        "_paused",
        "_sent",
        "_unread",
        "_unread_bytes",
        "_when_over",
        "closed",
        "pending",
    )

    def __init__(self) -> None:
        self.closed = False
        self.pending = False
        """More lies unread than may; false again when all of it has been taken."""
        self._owner: Owner | None = None
        self._paused = False
        self._sent: list[bytes] = []
        """What the caller has said before the owner would hear it."""
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._left = False
        self._broken = False
        self._news: anyio.Event | None = None
        """Set when there is something for the caller, bytes or the end: there while it waits."""
        self._when_over: Callable[[], None] | None = None

    # --------------------------------------------------------------------------------------- the caller's end

    def send(self, data: bytes) -> None:
        """Say this to the gateway; what follows from it at once is done before this returns."""
        if self._owner is None or self._paused:
            self._sent.append(data)
        elif not self.closed:
            self._owner.heard(data)

    @property
    def has_news(self) -> bool:
        """Whether `receive` would not wait."""
        return bool(self._unread) or self.closed

    async def receive(self) -> bytes:
        """What has come, all of it; nothing at the end. Raises ConnectionResetError if it broke.

        Where something has come others do not get their turn: it came while they had it.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        while not self._unread:
            if self._broken:
                raise ConnectionResetError
            if self.closed:
                return b""
            self._news = anyio.Event()
            try:
                await self._news.wait()
            finally:
                self._news = None
        data = b"".join(self._unread)
        self._unread.clear()
        self._unread_bytes = 0
        if self.pending:
            self.pending = False
            if self._owner is not None and not self.closed:
                self._owner.drained()
        return data

    def leave(self) -> None:
        """The caller wants nothing more. May be said again."""
        if self._left:
            return
        self._left = True
        self._forget()
        if not self.closed:
            self.dispose()
            if self._owner is not None:
                self._owner.lost()

    # -------------------------------------------------------------------------------------- the gateway's end

    def start(self, owner: Owner) -> None:
        """From now on the owner hears what comes."""
        self._owner = owner
        self._bring()

    def pause(self) -> None:
        """Let what the caller says wait."""
        self._paused = True

    def resume(self) -> None:
        """Bring it."""
        self._paused = False
        self._bring()

    def _bring(self) -> None:
        while self._sent and self._owner is not None and not (self._paused or self.closed):
            self._owner.heard(self._sent.pop(0))

    def write(self, data: bytes) -> None:
        """Let the caller have this. Raises BrokenPipeError when it is gone."""
        if self.closed:
            raise BrokenPipeError
        self._unread.append(data)
        self._unread_bytes += len(data)
        self._wake()
        if self._unread_bytes > UNREAD_BYTES_MAX and not self.pending:
            self.pending = True
            if self._owner is not None:
                self._owner.stalled()

    def finish(self) -> None:
        """End in good order: the caller reads what was written, and then the end."""
        self._close()

    def when_over(self, tell: Callable[[], None]) -> None:
        """Tell this once the connection has ended. What the caller has not read yet waits for it."""
        if self.closed:
            tell()
        else:
            self._when_over = tell

    def abort(self) -> None:
        """Break it: the caller gets nothing more."""
        if not self.closed:
            self._forget()
            self.dispose()

    def dispose(self) -> None:
        """Close it now. If it has not ended, it is cut."""
        if not self.closed:
            self._broken = True
            self._close()

    def _close(self) -> None:
        self.closed = True
        self._wake()
        tell, self._when_over = self._when_over, None
        if tell is not None:
            tell()

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set()

    def _forget(self) -> None:
        self._unread.clear()
        self._unread_bytes = 0
        self.pending = False
