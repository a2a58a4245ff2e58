"""A credential_process has limits: of time, of what it prints; and what it says beside that goes nowhere."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from stargate.credentials.problems import Unusable
from stargate.credentials.process import PRINTED_BYTES_MAX, Process


def run(code: str) -> tuple[bytes, bytes]:
    """What Python code prints, as a credential_process."""
    return Process([sys.executable, "-c", code]).communicate()


class TestLimits:
    def test_what_it_prints_is_given(self) -> None:
        process = Process(["echo", "so"])
        assert process.communicate() == (b"so\n", b"")
        assert process.returncode == 0

    def test_one_that_hangs_is_ended_with_its_children(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("stargate.credentials.process.PROCESS_SECONDS", 1.0)
        # The child holds the same pipe: killing the parent alone would not end the reading.
        child = (
            f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
        )
        began = time.monotonic()
        with pytest.raises(Unusable, match="did not end within 1 seconds"):
            run(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])")
        assert time.monotonic() - began < 30
        with pytest.raises(ProcessLookupError):
            for _ in range(500):
                # It is gone once whoever inherited it has looked after it.
                os.kill(int((tmp_path / "pid").read_text()), 0)
                time.sleep(0.01)

    def test_one_that_prints_without_end_is_ended(self) -> None:
        with pytest.raises(Unusable, match=f"more than {PRINTED_BYTES_MAX} bytes"):
            Process(["yes"]).communicate()

    def test_as_much_as_is_allowed_is_read(self) -> None:
        printed, _ = run(f"print('x' * {PRINTED_BYTES_MAX}, end='')")
        assert len(printed) == PRINTED_BYTES_MAX

    def test_its_failure_is_its_status(self) -> None:
        with pytest.raises(Unusable) as caught:
            run("import sys; print('planted', file=sys.stderr); print('planted'); sys.exit(3)")
        assert str(caught.value) == "credential_process ended with status 3"

    def test_one_that_is_killed_is_told(self) -> None:
        with pytest.raises(Unusable, match=f"status -{signal.SIGTERM.value}"):
            run("import os, signal; os.kill(os.getpid(), signal.SIGTERM)")

    def test_it_gets_no_input(self) -> None:
        assert run("import sys; print(len(sys.stdin.read()))")[0] == b"0\n"

    def test_one_that_is_not_there_is_told_without_its_name(self) -> None:
        """Somebody may have quoted the whole command, arguments and all."""
        with pytest.raises(Unusable) as caught:
            Process(["helper --password planted"])
        assert str(caught.value) == "credential_process cannot be started: No such file or directory"
        assert caught.value.__cause__ is None
