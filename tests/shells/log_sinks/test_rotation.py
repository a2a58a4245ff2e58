"""Rotated files: every line once, in whole lines, whoever else writes and whatever is cut short."""

import fcntl
import gzip
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from stargate.log_sinks import rotation
from stargate.log_sinks.rotation import RotatingWriter
from stargate.shell_common.lines import Done
from stargate_core.config.request_logger import Rotate
from support.gateway import eventually

SMALL: Final = 4096
LINE: Final = b"x" * 63 + b"\n"


def lines_of(path: Path) -> list[bytes]:
    """All lines, oldest first, of a file and those that were put aside."""
    numbered = {
        int(found[1]): other
        for other in path.parent.iterdir()
        if (found := re.fullmatch(rf"{path.name}\.([0-9]+)(\.gz)?", other.name))
    }
    files = [numbered[number] for number in sorted(numbered, reverse=True)]
    data = [gzip.decompress(one.read_bytes()) if one.suffix == ".gz" else one.read_bytes() for one in files]
    return b"".join([*data, path.read_bytes()]).splitlines(keepends=True)


def numbers(count: int) -> bytes:
    return b"".join(b"%07d\n" % number for number in range(count))


class TestOne:
    def test_a_full_file_is_put_aside_and_holds_whole_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        writer = RotatingWriter(str(path), Rotate(max_bytes=SMALL, keep=100))
        data = numbers(4000)
        assert writer.write(data) == Done(len(data))
        assert b"".join(lines_of(path)) == data
        files = [one for one in tmp_path.iterdir() if one.suffix != ".lock"]
        assert len(files) == -(-len(data) // SMALL)
        assert {one.stat().st_size for one in files} <= {SMALL, len(data) % SMALL or SMALL}
        assert all(one.stat().st_mode & 0o007 == 0 for one in tmp_path.iterdir())

    def test_only_so_many_are_kept_the_newest(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        data = numbers(4000)
        for name in ("log.3", "log.4", "log.5.gz"):  # More were kept once.
            (tmp_path / name).write_bytes(b"")
        RotatingWriter(str(path), Rotate(max_bytes=SMALL, keep=2)).write(data)
        assert sorted(one.name for one in tmp_path.iterdir()) == ["log", "log.1", "log.2", "log.lock"]
        assert data.endswith(b"".join(lines_of(path)))

    def test_a_line_that_is_longer_than_a_file_has_one_of_its_own(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        long = b"y" * (2 * SMALL) + b"\n"
        writer = RotatingWriter(str(path), Rotate(max_bytes=SMALL))
        assert writer.write(LINE + long + LINE).trouble == ""
        assert [(tmp_path / name).read_bytes() for name in ("log.2", "log.1", "log")] == [LINE, long, LINE]

    def test_a_gap_and_a_file_that_is_there_twice_do_no_harm(self, tmp_path: Path) -> None:
        """As a process leaves them that dies in between."""
        path = tmp_path / "log"
        path.write_bytes(LINE * 64)
        (tmp_path / "log.2").write_bytes(b"plain\n")
        (tmp_path / "log.2.gz").write_bytes(gzip.compress(b"plain\n"))
        (tmp_path / "log.2.gz.part").write_bytes(b"half")
        RotatingWriter(str(path), Rotate(max_bytes=SMALL)).write(b"new\n")
        assert lines_of(path) == [b"plain\n", *[LINE] * 64, b"new\n"]

    def test_a_folder_that_may_not_be_written_lets_the_file_grow(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "log"
        path.write_bytes(LINE * 64)

        def refuse(source: str, target: str) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "rename", refuse)
        done = RotatingWriter(str(path), Rotate(max_bytes=SMALL)).write(LINE * 3)
        assert done == Done(3 * len(LINE), trouble="it cannot be rotated: Permission denied")
        assert path.read_bytes() == LINE * 67


class TestPacking:
    def test_what_was_put_aside_is_packed(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        writer = RotatingWriter(str(path), Rotate(max_bytes=SMALL, compress=True))
        for _ in range(3):
            writer.write(LINE * 64)
            eventually(lambda: not (tmp_path / "log.1").exists())
        assert sorted(one.name for one in tmp_path.iterdir()) == ["log", "log.1.gz", "log.2.gz", "log.lock"]
        assert lines_of(path) == [LINE] * 192

    def test_while_one_is_packed_the_next_grows(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        path.write_bytes(LINE * 64)
        writer = RotatingWriter(str(path), Rotate(max_bytes=SMALL, compress=True))
        with (tmp_path / "log.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert writer.write(LINE) == Done(len(LINE))
        assert lines_of(path) == [LINE] * 65
        assert writer.write(LINE) == Done(len(LINE))
        assert path.read_bytes() == LINE


class TestSeveral:
    def test_processes_that_share_a_file_lose_nothing_and_repeat_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        script = (
            "import sys;"
            "from stargate.log_sinks.rotation import RotatingWriter;"
            "from stargate_core.config.request_logger import Rotate;"
            "writer = RotatingWriter(sys.argv[1], Rotate(max_bytes=4096, keep=1000, compress=True));"
            "lines = [b'%s-%05d\\n' % (sys.argv[2].encode(), number) for number in range(3000)];"
            "[writer.write(b''.join(lines[at:at + 7])) for at in range(0, 3000, 7)];"
            "import threading;"
            "[one.join() for one in threading.enumerate() if one is not threading.current_thread()]"
        )
        children = [subprocess.Popen([sys.executable, "-c", script, str(path), name]) for name in "abc"]
        assert [child.wait(60) for child in children] == [0, 0, 0]
        lines = lines_of(path)
        assert len([one for one in tmp_path.iterdir() if ".gz" in one.name]) > 1
        for name in "abc":
            own = [line for line in lines if line.startswith(name.encode())]
            assert own == [b"%s-%05d\n" % (name.encode(), number) for number in range(3000)]
        assert len(lines) == 9000

    def test_a_lock_that_is_never_given_back_is_not_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rotation, "_LOCK_SECONDS", 0.02)
        path = tmp_path / "log"
        writer = RotatingWriter(str(path), Rotate(max_bytes=SMALL))
        with path.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert writer.write(LINE) == Done(0, trouble="another process holds its lock")
        assert writer.write(LINE) == Done(len(LINE))

    def test_a_file_that_was_put_aside_while_its_lock_was_waited_for_is_left_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "log"
        path.write_bytes(b"old\n")
        lock = rotation._lock
        moved: list[int] = []

        def late(descriptor: int, give_up_at: float) -> bool:
            if not moved:
                moved.append(1)
                os.rename(path, tmp_path / "log.1")
            return lock(descriptor, give_up_at)

        monkeypatch.setattr(rotation, "_lock", late)
        RotatingWriter(str(path), Rotate(max_bytes=SMALL)).write(b"new\n")
        assert (path.read_bytes(), (tmp_path / "log.1").read_bytes()) == (b"new\n", b"old\n")
