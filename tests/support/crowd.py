"""A crowd for a test: thousands of clients and what they speak to, in processes of their own.

What can be seen of a process from outside is here too: how much memory each of a crowd costs it.
"""

import contextlib
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from support.gateway import KEY, STOP_SECONDS, RunningGateway

FEW_DESCRIPTORS: Final = 1024
"""The soft limit that most systems start programs with."""
_FOLDER: Final = Path(__file__).parent


def needs_descriptors(count: int) -> pytest.MarkDecorator:
    """For tests that need a process to have so many files open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    short = hard != resource.RLIM_INFINITY and hard < count
    return pytest.mark.skipif(short, reason=f"the hard limit on open files here is {hard}, below {count}")


@contextlib.contextmanager
def few_descriptors() -> Generator[None]:
    """Whoever is started within starts with the soft limit that most systems have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FEW_DESCRIPTORS, before[1]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Program:
    """One of ours, that is told a line and answers by one."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def heard(self) -> dict[str, Any]:
        """The next line it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it has ended with status {self.process.wait(STOP_SECONDS)}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def say(self, line: str) -> None:
        """Tell it something, and do not wait for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line: str) -> dict[str, Any]:
        """Tell it something; what it answers when it is done."""
        self.say(line)
        return self.heard()


class CrowdUpstream(Program):
    """`crowd_upstream`."""

    url: str

    def go(self) -> None:
        """Let all streams that wait go on."""
        self.ask("go")

    def open_streams(self) -> int:
        """How many answers are under way."""
        found: int = self.ask("look")["open"]
        return found


class Crowd(Program):
    """`crowd_client`. Each method gives how things stand then."""

    def connect(self, count: int, **how: Any) -> dict[str, Any]:
        """Open so many connections more."""
        return self._order("connect", count=count, **how)

    def send(self, **wish: Any) -> dict[str, Any]:
        """Ask on all connections, or on some (`first`, `step`)."""
        return self._order("ask", **wish)

    def wait(self, until: str) -> dict[str, Any]:
        """Until `begun`, `fast` or `all` are done; or until something is wrong."""
        return self._order("wait", until=until)

    def hurry(self) -> dict[str, Any]:
        """The slow ones are slow no more."""
        return self._order("hurry")

    def _order(self, what: str, **how: Any) -> dict[str, Any]:
        return self.ask(json.dumps({"do": what, **how}))


@contextlib.contextmanager
def _running(*command: str) -> Generator["subprocess.Popen[str]"]:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, *command], stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(STOP_SECONDS) == 0
        finally:
            process.kill()


@contextlib.contextmanager
def crowd_upstream() -> Generator[CrowdUpstream]:
    """A stand-in for thousands of streams."""
    with _running(str(_FOLDER / "crowd_upstream.py")) as process:
        upstream = CrowdUpstream(process)
        upstream.url = f"http://127.0.0.1:{upstream.heard()['port']}"
        yield upstream


@contextlib.contextmanager
def crowd_of(gateway: RunningGateway) -> Generator[Crowd]:
    """A crowd in front of a gateway; they leave at the end."""
    with _running(str(_FOLDER / "crowd_client.py"), str(gateway.port), KEY) as process:
        yield Crowd(process)


def processor_seconds(pid: int) -> float:
    """How much of a processor's time a process has had, in its own code and the kernel's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_bytes(pid: int) -> int:
    """The most memory a process has had in use."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def stopped(pid: int) -> bool:
    """Whether a process is stopped, as SIGSTOP stops it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T")


def accepted_ports(pid: int, port: int) -> set[int]:
    """The other ends of the connections that a process has accepted at its port and not yet closed."""
    links: set[str] = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.add(str(descriptor.readlink()))
    found: set[int] = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ours, theirs = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
        if ours == port and theirs and f"socket:[{fields[9]}]" in links:
            found.add(theirs)
    return found
