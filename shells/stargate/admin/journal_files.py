"""Journals for an operator: which one is a request's, and the file itself.

Only names of the form that the gateway gives are taken, only in the configured directory, and only whole
files that lie there themselves: no link is followed. The directory is read in a thread.
"""

import os
import stat
from collections.abc import AsyncGenerator
from typing import Final

import anyio.to_thread

from stargate.admin.messages import Refused, Streamed, problem, streamed
from stargate.journals import NAME

_PIECE_BYTES: Final = 65_536
_NONE: Final = (
    "no such journal; perhaps it has been deleted for its age, or gateway.journal.directory is not set"
)


def find_journal(directory: str, request_id: str) -> str | None:
    """The name of the request's journal; None: there is none. Blocks."""
    end = f"-{request_id}.session.journal"
    try:
        names = [name for name in os.listdir(directory) if name.endswith(end) and NAME.fullmatch(name)]
    except OSError:
        return None
    return max(names, default=None)


async def journal_of(directory: str | None, request_id: str) -> str | None:
    """The same, for the loop."""
    if directory is None or not request_id.isalnum():
        return None
    return await anyio.to_thread.run_sync(find_journal, directory, request_id, abandon_on_cancel=True)


async def send_journal(directory: str | None, name: str) -> Streamed:
    """A journal as a download. Raises Refused where it is none."""
    if directory is None or NAME.fullmatch(name) is None:
        raise Refused(problem(404, _NONE))
    path = os.path.join(directory, name)
    try:
        os.close(await anyio.to_thread.run_sync(_open, path))
    except OSError:
        raise Refused(problem(404, _NONE)) from None
    answer = streamed(b"application/octet-stream", _pieces(path))
    answer.headers.append((b"content-disposition", b'attachment; filename="%b"' % name.encode()))
    return answer


def _open(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError
    return descriptor


async def _pieces(path: str) -> AsyncGenerator[bytes]:
    """Opened here, so that it is closed here. Raises OSError where it has gone meanwhile."""
    descriptor = await anyio.to_thread.run_sync(_open, path)
    try:
        while piece := await anyio.to_thread.run_sync(os.read, descriptor, _PIECE_BYTES):
            yield piece
    finally:
        os.close(descriptor)
