"""Sinks: every line once and in order, a bound on what waits, and a word about what was lost."""

import contextlib
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from stargate.asyncio_shell.sinks import Sink, Sinks
from stargate.shell_common.lines import BUFFERED_BYTES_MAX, SinkState
from stargate_core.config.request_logger import LogSink, Rotate
from support.asyncio_channels import until
from support.collectors import BROKEN, http_collector

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def running(sink: Sink) -> AsyncGenerator[None]:
    """The sink writes while the block runs, and to its end afterwards."""
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(sink.run)
        yield
        sink.close()


def no_note(level: str, text: str) -> None:
    raise AssertionError(f"{level}: {text}")


class Notes(list[str]):
    """What was told to the operator."""

    def tell(self, level: str, text: str) -> None:
        self.append(f"{level}: {text}")


class TestWriting:
    async def test_lines_come_whole_and_in_order(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        sink = Sink(str(path), no_note)
        async with running(sink):
            for number in range(1_000):
                sink.put(b"%d\n" % number)
                if number % 300 == 0:
                    await until(lambda: path.exists() and path.read_bytes().endswith(b"%d\n" % number))  # noqa: B023
        assert path.read_bytes() == b"".join(b"%d\n" % number for number in range(1_000))

    async def test_what_has_gathered_is_written_together(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        sink = Sink(str(path), no_note)
        async with running(sink):
            sink.put(b"one\n")
            sink.put(b"two\n")
            await until(path.exists)
        assert path.read_bytes() == b"one\ntwo\n"

    async def test_a_file_that_is_there_is_continued(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        path.write_bytes(b"before\n")
        sink = Sink(str(path), no_note)
        async with running(sink):
            sink.put(b"after\n")
        assert path.read_bytes() == b"before\nafter\n"

    async def test_a_file_that_was_moved_away_is_made_anew(self, tmp_path: Path) -> None:
        """Whoever rotates logs need not tell the gateway."""
        path = tmp_path / "log"
        sink = Sink(str(path), no_note)
        async with running(sink):
            sink.put(b"one\n")
            await until(path.exists)
            path.rename(tmp_path / "log.1")
            sink.put(b"two\n")
        assert (path.read_bytes(), (tmp_path / "log.1").read_bytes()) == (b"two\n", b"one\n")

    async def test_others_may_not_read_it(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        sink = Sink(str(path), no_note)
        async with running(sink):
            sink.put(b"one\n")
        assert path.stat().st_mode & 0o007 == 0


class TestTrouble:
    async def test_what_cannot_be_written_is_kept_and_tried_again(self, tmp_path: Path) -> None:
        notes = Notes()
        path = tmp_path / "folder" / "log"
        sink = Sink(str(path), notes.tell)
        async with running(sink):
            sink.put(b"one\n")
            await until(lambda: bool(notes))
            sink.put(b"two\n")
            path.parent.mkdir()
            await until(path.exists)
            sink.put(b"three\n")
        assert path.read_bytes() == b"one\ntwo\nthree\n"
        assert notes == [
            f"error: cannot write to {path}: No such file or directory; lines are kept for a while",
            f"info: writing to {path} again; 0 lines were lost",
        ]

    async def test_but_not_without_end(self, tmp_path: Path) -> None:
        notes = Notes()
        path = tmp_path / "folder" / "log"
        sink = Sink(str(path), notes.tell)
        line = b"x" * 99_999 + b"\n"
        room = BUFFERED_BYTES_MAX // len(line)
        async with running(sink):
            sink.put(line)
            await until(lambda: bool(notes))
            for _ in range(room + 4):
                sink.put(line)
            path.parent.mkdir()
            await until(path.exists)
        assert path.read_bytes() == line * room + b'{"dropped_lines":5}\n'
        assert notes[1] == f"info: writing to {path} again; 5 lines were lost"

    async def test_a_sink_that_never_can_be_written_can_be_closed(self, tmp_path: Path) -> None:
        notes = Notes()
        sink = Sink(str(tmp_path / "folder" / "log"), notes.tell)
        with anyio.fail_after(10):
            async with running(sink):
                sink.put(b"one\n")
                await until(lambda: bool(notes))
        assert len(notes) == 1

    async def test_a_full_pipe_costs_lines_and_bounded_memory_but_holds_up_nobody(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "pipe"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(reader, True)
        line = b"x" * 99_999 + b"\n"
        count = 3 * BUFFERED_BYTES_MAX // len(line)
        sink = Sink(str(path), no_note)
        async with anyio.create_task_group() as nursery:
            nursery.start_soon(sink.run)
            for _ in range(count):
                sink.put(line)  # Never waits, although nobody reads.
            received = bytearray()

            def read() -> None:
                with os.fdopen(reader, "rb", buffering=0) as file:
                    while b"last\n" not in received[-10:]:
                        received.extend(file.read(1 << 20))

            async def read_in_a_thread() -> None:
                await anyio.to_thread.run_sync(read)

            nursery.start_soon(read_in_a_thread)
            await until(lambda: b"dropped_lines" in received[-100:])
            sink.put(b"last\n")
            sink.close()
        dropped = int(bytes(received).partition(b'{"dropped_lines":')[2].partition(b"}")[0])
        written = received.count(line)
        assert written + dropped == count
        assert written * len(line) <= BUFFERED_BYTES_MAX


class TestAll:
    async def test_each_path_has_one(self, tmp_path: Path) -> None:
        async with anyio.create_task_group() as nursery:
            sinks = Sinks(nursery)
            for name in ("a", "b", "a"):
                sinks.emit(str(tmp_path / name), b"line\n")
            await sinks.close()
        assert (tmp_path / "a").read_bytes() == b"line\nline\n"
        assert (tmp_path / "b").read_bytes() == b"line\n"

    async def test_closing_waits_for_the_last_line(self, tmp_path: Path) -> None:
        async with anyio.create_task_group() as nursery:
            sinks = Sinks(nursery)
            sinks.emit(str(tmp_path / "log"), b"last words\n")
            await sinks.close()
            assert (tmp_path / "log").read_bytes() == b"last words\n"
            nursery.cancel_scope.cancel()

    async def test_but_not_for_ever(self, tmp_path: Path) -> None:
        path = tmp_path / "pipe"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        async with anyio.create_task_group() as nursery:
            sinks = Sinks(nursery)
            sinks.emit(str(path), b"x" * 1_000_000)
            with anyio.fail_after(10):
                await sinks.close()
            nursery.cancel_scope.cancel()
        os.close(reader)  # Frees the thread that writes.

    @pytest.mark.parametrize(
        ("level", "told"),
        [
            ("debug", ["debug", "info", "warning", "error"]),
            ("info", ["info", "warning", "error"]),
            ("error", ["error"]),
        ],
    )
    async def test_notes_have_levels(
        self, capfd: pytest.CaptureFixture[str], level: str, told: list[str]
    ) -> None:
        async with anyio.create_task_group() as nursery:
            sinks = Sinks(nursery, level=level)
            for each in ("debug", "info", "warning", "error"):
                sinks.note(each, "text")
            await sinks.close()
        lines = capfd.readouterr().err.splitlines()
        assert [line.split(" ", 1)[1] for line in lines] == [f"{each}: text" for each in told]

    @pytest.mark.parametrize("path", ["/dev/stdout", "-"])
    async def test_standard_output(self, capfd: pytest.CaptureFixture[str], path: str) -> None:
        async with anyio.create_task_group() as nursery:
            sinks = Sinks(nursery)
            sinks.emit(path, b"line\n")
            await sinks.close()
        assert capfd.readouterr().out == "line\n"


class TestSettings:
    async def test_a_sink_is_written_as_the_configuration_says_and_says_anew(self, tmp_path: Path) -> None:
        path = str(tmp_path / "log")
        line = b"x" * 3000 + b"\n"
        async with anyio.create_task_group() as nursery:
            sinks = Sinks(nursery, settings={path: LogSink(path=path, rotate=Rotate(max_bytes=4096))})
            for number in range(2):
                sinks.emit(path, line)
                await until(lambda: sinks.statistics()[0].written_lines == number + 1)  # noqa: B023
            assert (tmp_path / "log.1").read_bytes() == line
            sinks.use({path: LogSink(path=path)})
            for number in range(2):
                sinks.emit(path, line)
                await until(lambda: sinks.statistics()[0].written_lines == number + 3)  # noqa: B023
            assert (tmp_path / "log").read_bytes() == line * 3
            sinks.use({})
            sinks.emit(path, line)
            await sinks.close()
        assert (tmp_path / "log").read_bytes() == line * 4

    async def test_a_line_that_a_collector_gave_up_is_told_to_it(self) -> None:
        with http_collector() as collector:
            collector.answers = [BROKEN.replace(b"500", b"400")]
            async with anyio.create_task_group() as nursery:
                sinks = Sinks(nursery)
                sinks.emit(collector.url, b"one\n")
                await until(lambda: sinks.statistics()[0].dropped_lines == 1)
                sinks.emit(collector.url, b"two\n")
                await sinks.close()
                (state, _notes) = sinks.statistics()
        assert collector.taken == [b"two", b'{"dropped_lines":1}']
        assert state == SinkState(collector.url, 0, 1, 1, "")

    async def test_a_collector_that_hangs_holds_up_nobody_and_its_lines_are_told(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with http_collector() as collector:
            collector.answer = None
            async with anyio.create_task_group() as nursery:
                sinks = Sinks(nursery)
                sinks.emit(collector.url, b"one\n")
                await until(lambda: bool(collector.batches))
                sinks.emit(collector.url, b"two\n")
                await sinks.close()
                nursery.cancel_scope.cancel()
        assert capfd.readouterr().err.endswith(
            f"warning: 2 lines for {collector.url} could not be written, and are lost\n"
        )


class TestCounting:
    async def test_each_line_is_written_dropped_or_buffered(self, tmp_path: Path) -> None:
        path = str(tmp_path / "log")
        notes = Notes()
        async with anyio.create_task_group() as nursery:
            sinks = Sinks(nursery)
            assert sinks.statistics() == []
            sinks.emit(path, b"one\n")
            assert sinks.statistics() == [SinkState(path, 4, 0, 0, "")]
            await sinks.close()
            assert sinks.statistics() == [SinkState(path, 0, 1, 0, "")]
        sink = Sink("/dev/full", notes.tell)
        async with running(sink):
            for _ in range(3):
                sink.put(b"x" * 3_000_000 + b"\n")
            await until(lambda: bool(notes))
            assert sink.state() == SinkState("/dev/full", 6_000_002, 0, 1, "No space left on device")

    async def test_what_is_lost_at_the_end_is_told(self, capfd: pytest.CaptureFixture[str]) -> None:
        async with anyio.create_task_group() as nursery:
            sinks = Sinks(nursery)
            for _ in range(3):
                sinks.emit("/dev/full", b"line\n")
            await sinks.close()
            (full, _notes) = sinks.statistics()
        assert (full.written_lines, full.dropped_lines, full.buffered_bytes) == (0, 3, 0)
        assert (
            capfd.readouterr()
            .err.splitlines()[-1]
            .endswith("warning: 3 lines for /dev/full could not be written, and are lost")
        )

    async def test_what_a_pipe_has_taken_before_it_was_full_is_not_lost(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "pipe"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        line = b"x" * 999 + b"\n"
        async with anyio.create_task_group() as nursery:
            sinks = Sinks(nursery)
            for _ in range(1000):
                sinks.emit(str(path), line)
            await sinks.close()
            nursery.cancel_scope.cancel()
        read = os.read(reader, 1_000_000).count(line)
        os.close(reader)
        lost = int(capfd.readouterr().err.rpartition("warning: ")[2].partition(" ")[0])
        assert 0 < read < 1000
        assert read + lost == 1000
        (pipe, _notes) = sinks.statistics()
        assert (pipe.written_lines, pipe.dropped_lines) == (read, lost)
