"""A file that is put aside when it is full: FILE becomes FILE.1, FILE.1 becomes FILE.2, and so on.

Several workers, and several gateways, write to one file; nothing may be lost in the change, and nothing come
twice. So they keep to these rules:

- Who writes holds a lock of the file (`flock`), and looks after he has it whether the file is still the one
  at the path. If not, another has put it aside meanwhile, and he begins anew. So nothing is ever written to
  a file that has been put aside.
- Who finds the file full puts it aside while he holds its lock: he renames the older ones, oldest first, and
  the file itself last. Renaming is one step for the system: a process that dies in between leaves a gap in
  the numbers, and no file is there twice.
- One at a time does so, and packs what was put aside: he holds a lock of FILE.lock until he is done. Another
  who finds the new file full before that lets it grow.
- What is packed grows as FILE.1.gz.part, is renamed when it is whole, and only then the other is deleted. If
  both are found later, the packed one goes. Packing has a thread of its own: lines are written meanwhile.

A file holds whole lines, and at most `max_bytes` unless one line alone is longer. Where it can't be put aside
it goes on growing, and that is told: a large log is better than none.
"""

import contextlib
import fcntl
import gzip
import os
import shutil
import threading
import time
from typing import Final

from stargate.log_sinks.files import FileWriter, open_to_append
from stargate_core.config.request_logger import Rotate

_LOCK_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.01
_LOCKED: Final = "another process holds its lock"


class RotatingWriter(FileWriter):
    """Appends to a file, and puts it aside when it is full."""

    __slots__ = ("_rotate",)

    def __init__(self, path: str, rotate: Rotate) -> None:
        super().__init__(path)
        self._rotate = rotate

    def append(self, data: bytes) -> str:
        """Append it, to as many files as it takes."""
        trouble = ""
        while data and not self._stopped:
            descriptor = self._open_locked()
            if descriptor is None:
                return _LOCKED
            try:
                size = os.fstat(descriptor).st_size
                end = _end(data, self._rotate.max_bytes - size)
                if not end and size and not trouble:
                    trouble = self._put_aside()
                    if not trouble:
                        continue
                # An empty file takes a line of any length, and one that can't be put aside everything.
                end = end or (len(data) if trouble else data.find(b"\n") + 1 or len(data))
                self.fill_file(descriptor, data[:end])
                data = data[end:]
            finally:
                os.close(descriptor)
        return "" if trouble == _BUSY else trouble

    def _open_locked(self) -> int | None:
        """The file that is at the path, locked; None if there was no getting it. Raises OSError."""
        give_up_at = time.monotonic() + _LOCK_SECONDS
        while True:
            descriptor = open_to_append(self._path)
            try:
                if _lock(descriptor, give_up_at) and _is_at(descriptor, self._path):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            if time.monotonic() > give_up_at:
                return None

    def _put_aside(self) -> str:
        """Make room for a new file; what went wrong, or nothing."""
        try:
            lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            return f"it cannot be rotated: {error.strerror}"
        try:
            if not _lock(lock, 0.0):
                return _BUSY
            self._shift()
            os.rename(self._path, f"{self._path}.1")
            if self._rotate.compress:
                packing, lock = lock, -1
                threading.Thread(target=_pack, args=(f"{self._path}.1", packing), daemon=True).start()
        except OSError as error:
            return f"it cannot be rotated: {error.strerror}"
        finally:
            if lock >= 0:
                os.close(lock)
        return ""

    def _shift(self) -> None:
        """Give each of the older ones the next number; the oldest goes. Raises OSError."""
        last = self._rotate.keep
        while _remove(f"{self._path}.{last}", f"{self._path}.{last}.gz"):
            last += 1
        for number in range(self._rotate.keep - 1, 0, -1):
            older, newer = f"{self._path}.{number}", f"{self._path}.{number + 1}"
            if os.path.exists(older):
                _remove(f"{older}.gz")
                os.rename(older, newer)
            elif os.path.exists(f"{older}.gz"):
                os.rename(f"{older}.gz", f"{newer}.gz")


_BUSY: Final = "another is being packed"


def _end(data: bytes, room: int) -> int:
    """How much of it fits into the room, in whole lines."""
    if len(data) <= room:
        return len(data)
    return data.rfind(b"\n", 0, room) + 1 if room > 0 else 0


def _lock(descriptor: int, give_up_at: float) -> bool:
    """Lock a file, or give up. Raises OSError where files can't be locked."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                return False
            time.sleep(_LOOK_SECONDS)
        else:
            return True


def _is_at(descriptor: int, path: str) -> bool:
    """Whether this is the file at the path."""
    opened = os.fstat(descriptor)
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return (opened.st_dev, opened.st_ino) == (there.st_dev, there.st_ino)


def _remove(*paths: str) -> int:
    """Delete these; how many there were."""
    removed = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            removed += 1
    return removed


def _pack(path: str, lock: int) -> None:
    """Pack a file that was put aside. Where that fails it stays as it is."""
    part = f"{path}.gz.part"
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        with (
            open(path, "rb") as plain,
            os.fdopen(descriptor, "wb") as target,
            gzip.GzipFile(fileobj=target, mode="wb", filename="") as packed,
        ):
            shutil.copyfileobj(plain, packed)
        os.rename(part, f"{path}.gz")
        os.unlink(path)
    except OSError:
        with contextlib.suppress(OSError):
            _remove(part)
    finally:
        os.close(lock)
