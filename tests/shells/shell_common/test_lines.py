"""Lines written to a file or a pipe: all of them, in order, and whole where several processes write."""

import os
import select
import threading
from pathlib import Path
from typing import Final

import pytest

from stargate.shell_common.lines import pieces, write

ROUNDS: Final = 50
WRITERS: Final = 4


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    assert write(path, b"one\n") == (4, "")
    assert write(path, b"two\n") == (4, "")
    assert Path(path).read_bytes() == b"one\ntwo\n"


def test_what_goes_wrong_is_said(tmp_path: Path) -> None:
    assert write(str(tmp_path), b"one\n") == (0, "Is a directory")


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
        for _ in range(ROUNDS):
            write(path, batch)

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
