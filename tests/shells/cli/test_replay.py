"""`stargate replay`, as a person runs it: on journals that are kept, and on what is none."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from click.testing import CliRunner, Result

from stargate.cli.replay import DIVERGED, UNREADABLE, Folded, replay_command
from stargate.journal_keys import new_pair, sealed
from stargate_core.journal.format import Encoder, Journal, read
from stargate_core.messages import Ticked
from stargate_core.secret import Secret

KEPT: Final = Path(__file__).parents[2] / "journals"
ONE: Final = KEPT / "exception-in-stream.journal"
WHOLE: Final = read(ONE.read_bytes())


def run(*args: str | Path, stdin: bytes | None = None) -> Result:
    """The command."""
    return CliRunner().invoke(replay_command, [str(arg) for arg in args], input=stdin)


def written(folder: Path, journal: Journal) -> Path:
    """A file of this journal."""
    file = folder / "one.journal"
    file.write_bytes(Encoder(Secret.reveal).journal(journal))
    return file


def changed(folder: Path, number: int, **changes: Any) -> Path:
    """The journal with one entry changed."""
    entries = list(WHOLE.entries)
    entries[number] = msgspec.structs.replace(entries[number], **changes)
    return written(folder, Journal(WHOLE.header, entries, WHOLE.trailer))


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another interpreter, whose Stargate throws a word away that ours does not."""
    folder = tmp_path_factory.mktemp("other")
    (folder / "sitecustomize.py").write_text(
        "import stargate_core.gateway.exchange as exchange\n"
        "write = exchange.Exchange.write\n"
        "def changed(self, now, data, out):\n"
        "    write(self, now, data.replace(b'upon ', b'UPON '), out)\n"
        "exchange.Exchange.write = changed\n"
    )
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return python


class TestTelling:
    @pytest.mark.parametrize("file", sorted(KEPT.glob("*.journal")), ids=lambda file: file.stem)
    def test_it_prints_the_conversation_and_the_verdict(self, file: Path) -> None:
        result = run(file)
        journal = read(file.read_bytes())
        verdict = f"same: {len(journal.entries)} entries, fingerprint {journal.trailer.fingerprint}\n"
        assert result.output == file.with_suffix(".txt").read_text(encoding="utf-8") + "\n" + verdict
        assert result.exit_code == 0

    def test_quiet_the_verdict_only(self) -> None:
        result = run("--quiet", ONE)
        assert result.output.startswith("same: ")
        assert len(result.output.splitlines()) == 1

    def test_it_reads_standard_input(self) -> None:
        assert run("--quiet", "-", stdin=ONE.read_bytes()).exit_code == 0

    def test_where_it_goes_otherwise_it_stops_and_says_so(self, tmp_path: Path) -> None:
        file = changed(tmp_path, 3, fold=b"otherwise")
        result = run(file)
        assert result.exit_code == DIVERGED
        assert "Entry 3 is where it parts from the journal: " in result.output
        last = result.output.splitlines()[-1]
        assert last.startswith(f"diverged at entry 3 of {len(WHOLE.entries)}: ")
        assert not last.endswith("without secrets and words")

    def test_what_was_known_when_it_was_written_is_said_too(self, tmp_path: Path) -> None:
        entries = list(WHOLE.entries)
        entries[3] = msgspec.structs.replace(entries[3], raised="AssertionError")
        trailer = msgspec.structs.replace(WHOLE.trailer, diverged_at=3)
        result = run("--quiet", written(tmp_path, Journal(WHOLE.header, entries, trailer)))
        assert result.exit_code == DIVERGED
        assert result.output.rstrip().endswith("so it did when it was written, without secrets and words")


class TestUnreadable:
    @pytest.mark.parametrize(
        ("data", "message"),
        [(b"", "not a journal"), (ONE.read_bytes()[:-9], "it is torn"), (b"x" * 99, "not a journal")],
    )
    def test_it_says_why_and_ends_with_a_status_of_its_own(
        self, tmp_path: Path, data: bytes, message: str
    ) -> None:
        file = tmp_path / "it"
        file.write_bytes(data)
        for options in ((), ("--quiet",), ("--folds",), ("--to-test", str(tmp_path))):
            result = run(file, *options)
            assert result.exit_code == UNREADABLE
            assert message in result.output
            assert str(file) in result.output

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        result = run(tmp_path / "none")
        assert result.exit_code == UNREADABLE
        assert "No such file" in result.output

    def test_a_plugin_that_is_not_installed_is_named(self, tmp_path: Path) -> None:
        config = WHOLE.header.configurations[1].replace(b'"request-logger"', b'"visitors-logger"')
        header = msgspec.structs.replace(WHOLE.header, configurations={1: config})
        result = run(written(tmp_path, Journal(header, WHOLE.entries, WHOLE.trailer)))
        assert result.exit_code == UNREADABLE
        assert "it needs the plugin 'visitors-logger', which is not installed here" in result.output


class TestEncrypted:
    def test_with_its_key_it_is_read(self, tmp_path: Path) -> None:
        public, private = new_pair()
        file, key = tmp_path / "sealed", tmp_path / "key"
        file.write_bytes(sealed(ONE.read_bytes(), public))
        key.write_text(f"{private}\n")
        assert run("--key", key, "--quiet", file).exit_code == 0
        without = run("--quiet", file)
        assert without.exit_code == UNREADABLE
        assert "give the file with its private key as --key" in without.output

    def test_with_another_it_is_not(self, tmp_path: Path) -> None:
        file, key = tmp_path / "sealed", tmp_path / "key"
        file.write_bytes(sealed(ONE.read_bytes(), new_pair()[0]))
        for text, message in ((new_pair()[1], "this key does not open it"), ("x", "expected a key")):
            key.write_text(text)
            result = run("--key", key, file)
            assert result.exit_code == UNREADABLE
            assert message in result.output

    def test_a_key_for_what_is_not_encrypted_is_not_needed(self, tmp_path: Path) -> None:
        assert run("--key", tmp_path / "none", "--quiet", ONE).exit_code == 0


class TestAgainst:
    def test_the_same_release_does_the_same(self) -> None:
        result = run("--against", sys.executable, ONE)
        assert result.output == f"same: {len(WHOLE.entries)} entries, here and with {sys.executable}\n"
        assert result.exit_code == 0

    def test_another_is_told_apart_step_by_step(self, other_python: Path) -> None:
        result = run("--against", str(other_python), ONE)
        assert result.exit_code == DIVERGED
        lines = result.output.splitlines()
        assert lines[0].startswith("diverged at entry ")
        here, there = lines.index("here:"), lines.index(f"{other_python}:")
        assert any('"upon "' in line for line in lines[here:there])
        assert any('"UPON "' in line for line in lines[there:])

    def test_what_is_no_interpreter_is_an_error(self, tmp_path: Path) -> None:
        result = run("--against", str(tmp_path / "python"), ONE)
        assert result.exit_code == UNREADABLE
        assert "could not be asked" in result.output

    def test_one_that_cannot_live_it_is_an_error_with_its_words(self, tmp_path: Path) -> None:
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\ncat > /dev/null; echo 'No module named stargate' >&2; exit 1\n")
        python.chmod(0o755)
        result = run("--against", str(python), ONE)
        assert result.exit_code == UNREADABLE
        assert "can't live it: No module named stargate" in result.output

    def test_the_steps_are_lines_of_json(self) -> None:
        result = run("--folds", ONE)
        steps = [msgspec.json.decode(line, type=Folded) for line in result.output.splitlines()]
        assert [step.entry for step in steps] == list(range(len(WHOLE.entries)))
        assert [step.fold for step in steps] == [entry.fold.hex() for entry in WHOLE.entries]


class TestToTest:
    def run_tests(self, folder: Path) -> subprocess.CompletedProcess[str]:
        """What pytest says of them: from an empty directory, without our settings and others' plugins."""
        empty = folder / "empty"
        empty.mkdir()
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider", str(folder)],
            cwd=empty,
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_the_test_passes_now(self, tmp_path: Path) -> None:
        result = run("--to-test", tmp_path / "new", ONE)
        assert result.exit_code == 0
        (test,) = (tmp_path / "new").glob("test_*.py")
        assert test.name == f"test_upstream_model_error_{WHOLE.header.request_id[:8]}.py"
        assert str(test) in result.output
        ran = self.run_tests(tmp_path / "new")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "1 passed" in ran.stdout

    def test_so_does_that_of_one_that_goes_otherwise_by_now(self, tmp_path: Path) -> None:
        """What happens now is what the next release is held to."""
        file = changed(tmp_path, 3, fold=b"otherwise")
        run("--to-test", tmp_path / "new", file)
        assert self.run_tests(tmp_path / "new").returncode == 0

    def test_it_fails_when_something_else_happens(self, tmp_path: Path) -> None:
        run("--to-test", tmp_path, ONE)
        (file,) = tmp_path.glob("*.journal")
        journal = read(file.read_bytes())
        entries = list(journal.entries)
        entries[5] = msgspec.structs.replace(entries[5], event=Ticked())
        file.write_bytes(Encoder(Secret.reveal).journal(Journal(journal.header, entries, journal.trailer)))
        ran = self.run_tests(tmp_path)
        assert ran.returncode == 1
        assert "1 failed" in ran.stdout

    def test_nothing_of_a_journal_can_be_run(self, tmp_path: Path) -> None:
        planted = '""" + open("PLANTED", "w") #\n'
        header = msgspec.structs.replace(WHOLE.header, cause=planted, request_id=planted)
        run("--to-test", tmp_path / "new", written(tmp_path, Journal(header, WHOLE.entries, WHOLE.trailer)))
        (test,) = (tmp_path / "new").glob("test_*.py")
        assert 'open("PLANTED"' not in test.read_text()
        assert self.run_tests(tmp_path / "new").returncode == 0
