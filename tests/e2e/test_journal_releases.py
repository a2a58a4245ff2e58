"""Journals between releases: another one is installed beside this, in an environment of its own, with a bug
that this one does not have. Its gateway writes a journal of the bug, which each release lives as itself, and
which becomes a test that only the release without the bug passes.
"""

import os
import shutil
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path
from typing import Final

import openai
import pytest

from stargate_core.journal.format import read
from support.gateway import RunningGateway, eventually, running_gateway
from support.hosts import SHELLS
from support.simulator import running_simulator

ROOT: Final = Path(__file__).parents[2]
BOTH: Final = ("trio", "asyncio")
VERSION: Final = "0.9.0"
SAID: Final = "The purple otter sails at midnight"
SCENARIO: Final = "stream-modelStreamErrorException"
WHERE: Final = "        out: list[SessionCommand] = []\n"
BUG: Final = (
    WHERE
    + """        if type(event) is UpstreamSent and b":exception-type" in event.data:
            raise ZeroDivisionError("a bug of the other release's")
"""
)
"""What is in the other release's session.py: it fails where Bedrock breaks a stream off by an exception."""
FAILS: Final = "!! the machine fails by a bug of its own: ZeroDivisionError\n"
CAUSE: Final = "\nCause: a bug: ZeroDivisionError on UpstreamSent\n"


class Release:
    """Another release, installed."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        (self.packages,) = folder.glob("lib/python*/site-packages")
        self.python = folder / "bin" / "python"
        shutil.copytree(ROOT / "core" / "stargate_core", self.packages / "stargate_core")
        shutil.copytree(ROOT / "shells" / "stargate", self.packages / "stargate")
        session = self.packages / "stargate_core" / "gateway" / "session.py"
        text = session.read_text()
        assert text.count(WHERE) == 1
        session.write_text(text.replace(WHERE, BUG))
        self._tell_its_version()
        # What both need is where it is for this one.
        others = Path(msgspec_file()).parents[1]
        (self.packages / "others.pth").write_text(f"{others}\n")

    def _tell_its_version(self) -> None:
        ours = metadata.distribution("stargate-gateway")
        theirs = self.packages / f"stargate_gateway-{VERSION}.dist-info"
        theirs.mkdir()
        for name in ("METADATA", "entry_points.txt"):
            text = ours.read_text(name) or ""
            (theirs / name).write_text(
                text.replace(f"\nVersion: {ours.version}\n", f"\nVersion: {VERSION}\n")
            )

    def environment(self) -> dict[str, str]:
        """With this, any interpreter runs it."""
        return {"PYTHONPATH": str(self.packages)}


def msgspec_file() -> str:
    """Where a dependency is installed."""
    import msgspec

    assert msgspec.__file__ is not None
    return msgspec.__file__


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The other release."""
    return Release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module", params=BOTH)
def file(request: pytest.FixtureRequest, release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal that the other release's gateway has written when it met the bug, under a real request."""
    folder = tmp_path_factory.mktemp("journals")
    with (
        running_simulator() as simulator,
        running_gateway(
            simulator.url,
            gateway={"journal": {"directory": str(folder)}},
            environment=release.environment(),
            tells="ZeroDivisionError",
            options=SHELLS[request.param],
        ) as gateway,
    ):
        ask(gateway)
        (written,) = eventually(lambda: sorted(folder.glob("*.journal")))
    return written


def ask(gateway: RunningGateway) -> None:
    """Ask for a stream that Bedrock breaks off; the bug breaks the connection."""
    text = f"[[simulator: {SCENARIO}]] {SAID}"
    with pytest.raises(openai.APIError):
        list(
            gateway.openai().chat.completions.create(
                model="claude", messages=[{"role": "user", "content": text}], stream=True
            )
        )


def replayed(python: str | Path, *args: str | Path) -> "subprocess.CompletedProcess[str]":
    """`stargate replay`, by this interpreter."""
    command = [str(python), "-m", "stargate", "replay", *map(str, args)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd="/", env=environment
    )


def test_the_release_that_has_the_bug_lives_it_again_and_names_it(release: Release, file: Path) -> None:
    whole = read(file.read_bytes())
    assert (whole.header.package, whole.header.cause) == (VERSION, "ZeroDivisionError")
    assert whole.trailer.diverged_at is None
    result = replayed(release.python, file)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f", recorded by Stargate {VERSION}. It begins at " in result.stdout
    assert "exception modelStreamErrorException {" in result.stdout
    assert FAILS in result.stdout
    assert CAUSE in result.stdout
    assert result.stdout.endswith(
        f"\nsame: {len(whole.entries)} entries, fingerprint {whole.trailer.fingerprint}\n"
    )
    assert "otter" not in result.stdout


def test_the_release_without_it_goes_on_and_says_where_they_part(file: Path) -> None:
    last = len(read(file.read_bytes()).entries) - 1
    result = replayed(sys.executable, file)
    assert result.returncode == 1
    assert result.stdout.endswith(
        f"\ndiverged at entry {last} of {last + 1}: "
        "then the machine raised ZeroDivisionError, and now nothing\n"
    )


def test_compared_each_side_is_told(release: Release, file: Path) -> None:
    last = len(read(file.read_bytes()).entries) - 1
    result = replayed(sys.executable, "--against", release.python, file)
    assert result.returncode == 1, result.stdout + result.stderr
    first, *_ = result.stdout.splitlines()
    assert first.startswith(f"diverged at entry {last}: Bedrock sends ")
    here, there = result.stdout.split("\nhere:\n")[1].split(f"\n{release.python}:\n")
    assert '"code":"model_error"' in here
    assert "bug" not in here
    assert there == "    it failed by a bug of its own: ZeroDivisionError\n"
    same = replayed(sys.executable, "--against", sys.executable, file)
    assert same.stdout == f"same: {last + 1} entries, here and with {sys.executable}\n"


def test_it_becomes_a_test_that_the_bug_fails(release: Release, file: Path, tmp_path: Path) -> None:
    result = replayed(sys.executable, "--to-test", tmp_path / "tests", file)
    assert result.returncode == 0, result.stdout + result.stderr

    def ran(python: str | Path) -> "subprocess.CompletedProcess[str]":
        options = ("-q", "-c", os.devnull, "-p", "no:cacheprovider", "--rootdir", str(tmp_path))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [str(python), "-m", "pytest", *options, str(tmp_path / "tests")],
            cwd=tmp_path,
            env={**environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    fixed, planted = ran(sys.executable), ran(release.python)
    assert (fixed.returncode, planted.returncode) == (0, 1), fixed.stdout + planted.stdout
    assert "1 passed" in fixed.stdout
    assert "AssertionError: then the machine raised nothing, and now ZeroDivisionError" in planted.stdout
