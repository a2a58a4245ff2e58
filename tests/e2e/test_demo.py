"""`stargate demo`: what it prints can be pasted and works, and whoever ends it ends all of it."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Generator
from pathlib import Path
from typing import Final

import httpx
import pytest

from support.gateway import STOP_SECONDS, eventually, on_linux

ANYWHERE: Final = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")


class Demo:
    """A running demo."""

    def __init__(self, process: "subprocess.Popen[str]", told: str) -> None:
        self.process = process
        self.told = told

    def snippet(self, first_word: str) -> str:
        """The snippet that begins so, as it can be pasted."""
        lines = self.told.splitlines()
        begin = next(i for i, line in enumerate(lines) if line.startswith(f"    {first_word}"))
        end = next(i for i in range(begin, len(lines)) if not lines[i].strip())
        return textwrap.dedent("\n".join(lines[begin:end]))

    def path(self, name: str) -> Path:
        """A file it names."""
        found = re.search(rf"{name} +(\S+)", self.told)
        assert found is not None
        return Path(found[1])

    def parts(self) -> list[int]:
        """The processes it has started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


@contextlib.contextmanager
def running_demo() -> Generator[Demo]:
    """`stargate demo` on a free port, as the leader of a group, as a shell would run it."""
    command = [sys.executable, "-m", "stargate", "demo", *ANYWHERE, "--pace", "200"]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, process_group=0) as process:
        assert process.stdout is not None
        told = ""
        for line in process.stdout:
            told += line
            if "Ctrl-C" in line:
                break
        assert "Ctrl-C ends it." in told
        try:
            yield Demo(process, told)
        finally:
            # In good order, or its parts would be left behind.
            process.terminate()
            process.wait(STOP_SECONDS)


@pytest.fixture
def demo() -> Generator[Demo]:
    """A demo to be ended."""
    with running_demo() as running:
        yield running


@pytest.fixture(scope="module")
def shared() -> Generator[Demo]:
    """A demo to be used."""
    with running_demo() as running:
        yield running


def run(command: list[str]) -> str:
    """What a command prints; it must succeed."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl to paste its line for")
def test_its_line_for_curl_works(shared: Demo) -> None:
    streamed = run(["bash", "-c", shared.snippet("curl")])
    assert streamed.count("data: {") > 5
    assert streamed.rstrip().endswith("data: [DONE]")


def test_its_lines_of_python_work(shared: Demo) -> None:
    assert "What is a stargate?" in run([sys.executable, "-c", shared.snippet("import openai")])
    assert "end_turn" in run([sys.executable, "-c", shared.snippet("import boto3")])
    log = shared.path("Request log")
    eventually(lambda: log.exists() and log.read_text().count("\n") >= 2)
    assert "bedrock-proxy" in shared.path("Configuration").read_text()


def test_its_page_is_where_it_says(shared: Demo) -> None:
    found = re.search(r"Page and metrics +(\S+)", shared.told)
    assert found is not None
    status = httpx.get(f"{found[1]}/api/status").json()
    assert [worker["alive"] for worker in status["workers"]] == [True]


@on_linux
@pytest.mark.parametrize(
    ("number", "to_all"), [(signal.SIGINT, True), (signal.SIGTERM, False)], ids=["Ctrl-C", "kill"]
)
def test_a_signal_ends_all_of_it(demo: Demo, number: signal.Signals, to_all: bool) -> None:
    """Ctrl-C goes to the whole group, `kill` to one process."""
    parts = demo.parts()
    assert len(parts) == 2
    if to_all:
        os.killpg(demo.process.pid, number)
    else:
        demo.process.send_signal(number)
    assert demo.process.wait(STOP_SECONDS) == 0
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in parts))
    assert not demo.path("Configuration").parent.exists()


@on_linux
def test_it_ends_when_its_gateway_does(demo: Demo) -> None:
    """Nothing is left that looks as if it ran."""
    parts = demo.parts()
    gateway = next(pid for pid in parts if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(gateway, signal.SIGKILL)
    assert demo.process.wait(STOP_SECONDS) == 1
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in parts))


def test_an_address_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "stargate", "demo", "--listen", address, "--admin", "127.0.0.1:0"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 1
    assert f"cannot listen on {address}: Address already in use" in result.stderr
    assert "Traceback" not in result.stderr
