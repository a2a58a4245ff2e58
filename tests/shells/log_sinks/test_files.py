"""Lines written to a file or a pipe: all of them, in order, and whole where several processes write."""

import os
import select
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import pytest

from stargate.log_sinks import files
from stargate.log_sinks.files import FileWriter, pieces
from stargate.shell_common.lines import Done

ROUNDS: Final = 50
WRITERS: Final = 4


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    writer = FileWriter(path)
    assert writer.write(b"one\n") == Done(4)
    assert writer.write(b"two\n") == Done(4)
    assert Path(path).read_bytes() == b"one\ntwo\n"


def test_what_goes_wrong_is_said(tmp_path: Path) -> None:
    assert FileWriter(str(tmp_path)).write(b"one\n") == Done(0, trouble="Is a directory")


def test_a_full_disk_keeps_whole_lines(tmp_path: Path) -> None:
    """Half a line would be joined to whatever comes next, be it from another process."""
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    data = b"".join(b"%04d\n" % number for number in range(1000))
    script = (
        "import resource, signal, sys;"
        "from stargate.log_sinks.files import FileWriter;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1001, 1001));"
        "done = FileWriter(sys.argv[1]).write(sys.stdin.buffer.read());"
        "print(done.bytes, done.trouble)"
    )
    command = [sys.executable, "-c", script, str(path)]
    said = subprocess.run(command, input=data, capture_output=True, check=True).stdout
    assert said == b"990 File too large\n"
    assert path.read_bytes() == b"before\n" + data[:990]


def test_a_full_device_takes_nothing() -> None:
    assert FileWriter("/dev/full").write(b"one\n") == Done(0, trouble="No space left on device")


def test_a_pipe_that_nobody_has_opened_is_not_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    assert FileWriter(path).write(b"one\n") == Done(0, trouble="No such device or address")


def test_a_full_pipe_takes_whole_lines_and_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_ROOM_SECONDS", 0.01)
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    line = b"x" * 999 + b"\n"
    data = line * 200
    writer = FileWriter(path)
    done = writer.write(data)
    assert done.trouble == "nobody reads it"
    assert 0 < done.bytes < len(data)
    assert done.bytes == writer.progress
    assert os.read(reader, len(data)) == line * (done.bytes // 1000)
    # What it has not done yet is for the next call.
    assert writer.write(data[:4000]) == Done(4000)
    os.close(reader)


def test_who_is_told_to_stop_begins_nothing_more(tmp_path: Path) -> None:
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = FileWriter(path)
    writer.stop()
    assert writer.write(b"one\n") == Done(0, trouble="it was closed")
    os.close(reader)


@pytest.mark.parametrize("sizes", [[1], [100] * 200, [4095, 1, 4096, 5000, 1], [10_000], [4000, 10_000, 10]])
def test_a_piece_for_a_pipe_is_whole_lines_of_what_it_takes_at_once(sizes: list[int]) -> None:
    lines = [bytes([97 + number % 26]) * (size - 1) + b"\n" for number, size in enumerate(sizes)]
    found = list(pieces(b"".join(lines)))
    assert b"".join(found) == b"".join(lines)
    for piece in found:
        assert piece.endswith(b"\n")
        assert len(piece) <= select.PIPE_BUF or piece.count(b"\n") == 1


def test_the_rest_of_a_line_is_a_piece_too() -> None:
    assert list(pieces(b"x" * 9000)) == [b"x" * 9000]
    assert list(pieces(b"")) == []


def test_lines_of_several_writers_stay_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    batches = [b"".join(b"%d" % writer * 200 + b"\n" for _ in range(100)) for writer in range(WRITERS)]

    def repeat(batch: bytes) -> None:
        writer = FileWriter(path)
        for _ in range(ROUNDS):
            assert writer.write(batch) == Done(len(batch))

    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    keeper = os.open(path, os.O_WRONLY)
    threads = [threading.Thread(target=repeat, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    with os.fdopen(reader, "rb") as pipe:
        for _ in range(WRITERS * ROUNDS * 100):
            line = pipe.readline()
            assert len(line) == 201
            assert len(set(line[:-1])) == 1
    os.close(keeper)
    for thread in threads:
        thread.join()
