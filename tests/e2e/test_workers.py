"""Several workers behind one address: all serve, one that dies is replaced and nobody is refused, what the
supervisor is told reaches all. And sockets that somebody else has opened.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from support.crowd import accepted_ports, stopped
from support.crowd_load import Load
from support.gateway import RunningGateway, configuration, eventually, on_linux, running_gateway
from support.hosts import SHELLS as SHELLS_AND_LOOPS
from support.hosts import params
from support.raw import chat, connected, request
from support.simulator import RunningSimulator

pytestmark = on_linux

SHELLS: Final = {"trio": ("--shell", "trio"), "asyncio": ("--shell", "asyncio")}
TELLS: Final = r"(info|error|warning): "
APART: Final = {"per_worker_limits": True}
SLOW: Final = "simulator.slow:ms.40:words.25"
RELOADED: Final = "the configuration was reloaded: generation 2"


@pytest.fixture(scope="module", params=list(SHELLS), name="options")
def _options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return SHELLS[request.param]


@contextlib.contextmanager
def running(simulator: RunningSimulator, *options: str, **changes: Any) -> Generator[RunningGateway]:
    """A gateway with two workers."""
    gateway = {**APART, **changes.pop("gateway", {})}
    with running_gateway(
        simulator.url, options=("--workers", "2", *options), tells=TELLS, gateway=gateway, **changes
    ) as found:
        yield found


@pytest.fixture(name="gateway")
def _gateway(simulator: RunningSimulator, options: tuple[str, ...]) -> Generator[RunningGateway]:
    with running(simulator, *options) as found:
        yield found


def children(gateway: RunningGateway) -> set[int]:
    """The worker processes."""
    found = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text()
    return set(map(int, found.split()))


def connections(pid: int) -> int:
    """How many sockets a process has open."""
    links: list[str] = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return sum(link.startswith("socket:") for link in links)


def kill(victim: int, gateway: RunningGateway) -> set[int]:
    """Kill a worker, and wait until another has its place; the ports of those whom it had accepted.

    It is stopped before, so that it accepts nobody between our look and its end.
    """
    os.kill(victim, signal.SIGSTOP)
    eventually(lambda: stopped(victim))
    accepted = accepted_ports(victim, gateway.port)
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in children(gateway) and len(children(gateway)) == 2)
    return accepted


def ask(url: str, **more: Any) -> int:
    """The status of a request on a connection of its own."""
    with connected(url) as raw:
        raw.send(request(body=chat("Hello", **more)))
        return raw.answer().status


class TestServing:
    def test_it_is_announced_once(self, gateway: RunningGateway) -> None:
        assert len(gateway.urls) == 1
        ready = [line for line in gateway.told if line.startswith("stargate: ready")]
        assert ready == ["stargate: ready (2 consumers, 2 workers)"]
        assert len(children(gateway)) == 2

    def test_both_serve(self, gateway: RunningGateway) -> None:
        """The system spreads connections by their addresses: of so many both get some."""
        before = {pid: connections(pid) for pid in children(gateway)}
        with contextlib.ExitStack() as stack:
            for _ in range(40):
                raw = stack.enter_context(connected(gateway.url))
                raw.send(request("GET", "/healthz"))
                assert raw.answer(method="GET").status == 200
            grown = {pid: connections(pid) - before[pid] for pid in children(gateway)}
        assert sum(grown.values()) == 40
        assert min(grown.values()) > 0

    def test_a_memory_store_is_refused_unless_that_is_meant(self, simulator: RunningSimulator) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "stargate.yaml")
            file.write_text(json.dumps(configuration(simulator.url, "/dev/null")))
            command = [sys.executable, "-m", "stargate", "serve", "-c", str(file), "--workers", "2"]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert ended.returncode == 1
        assert "2 workers need a store that they share" in ended.stderr

    def test_unix_sockets_are_shared(
        self, simulator: RunningSimulator, options: tuple[str, ...], tmp_path: Path
    ) -> None:
        with running(simulator, *options, gateway={"listen": [f"unix:{tmp_path}/s"]}) as gateway:
            assert [ask(gateway.url) for _ in range(4)] == [200] * 4


class TestDying:
    @pytest.mark.parametrize("shell", params(*SHELLS_AND_LOOPS))
    def test_one_that_is_killed_costs_its_own_requests_and_nobody_elses(
        self, simulator: RunningSimulator, shell: str
    ) -> None:
        """Each in turn, under load: who has failed had been accepted by the one that died; nobody is refused,
        and who had yet to be accepted is served by the one that comes after it.
        """
        with running(simulator, *SHELLS_AND_LOOPS[shell]) as gateway:
            load = Load(gateway.url, each=2)
            accepted: set[int] = set()
            with load.running():
                load.go_on()
                for victim in sorted(children(gateway)):
                    accepted |= kill(victim, gateway)
                    load.go_on()
                allowed = len(load.failed)
                load.go_on()
            assert len(load.failed) == allowed, "behind the last death all is well"
            assert accepted, "the dead had some"
            assert [asked for asked in load.failed if asked.port not in accepted] == []
            assert len(load.failed) <= len(accepted)
            told = "\n".join(line for line in gateway.told if "SIGKILL" in line)
            assert re.findall(r"started again at once \(restart (\d)\)", told) == ["1", "2"]

    def test_workers_that_keep_dying_end_it(
        self, simulator: RunningSimulator, options: tuple[str, ...]
    ) -> None:
        with running(simulator, *options, ends=1) as gateway:

            def kill_them() -> bool:
                for pid in children(gateway) if gateway.process.poll() is None else ():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return gateway.process.poll() is not None

            with contextlib.suppress(FileNotFoundError):
                eventually(kill_them)
            assert gateway.wait_until_ended() == 1
            assert any("5 workers have died young within 10 s" in line for line in gateway.told)

    def test_one_that_is_told_to_drain_alone_leaves_its_place_to_another(
        self, gateway: RunningGateway
    ) -> None:
        with connected(gateway.url) as raw:
            raw.send(request(body=chat("Hello", model=SLOW, stream=True)))
            raw.read_until(b"data: ")
            before = children(gateway)
            for pid in before:
                os.kill(pid, signal.SIGTERM)
            eventually(lambda: len(children(gateway) - before) == 2)
            assert ask(gateway.url) == 200
            assert b"data: [DONE]" in raw.rest()
        eventually(lambda: not before & children(gateway))

    def test_workers_end_when_the_supervisor_is_killed(
        self, simulator: RunningSimulator, options: tuple[str, ...]
    ) -> None:
        with running(simulator, *options, ends=-signal.SIGKILL) as gateway:
            workers = children(gateway)
            gateway.process.kill()
            eventually(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers))


class TestTelling:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_draining_reaches_all(self, gateway: RunningGateway, number: signal.Signals) -> None:
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(connected(gateway.url)) for _ in range(8)]
            for raw in streams:
                raw.send(request(body=chat("Hello", model=SLOW, stream=True)))
                raw.read_until(b"data: ")
            gateway.process.send_signal(number)

            def refused() -> bool:
                try:
                    socket.create_connection(("127.0.0.1", gateway.port), 5).close()
                except ConnectionRefusedError:
                    return True
                return False

            eventually(refused)
            assert all(b"data: [DONE]" in raw.rest() for raw in streams)
        assert gateway.wait_until_ended() == 0

    def test_a_second_signal_waits_for_nobody(self, gateway: RunningGateway) -> None:
        with connected(gateway.url) as raw:
            raw.send(request(body=chat("Hello", model="simulator.slow:ms.40:words.2000", stream=True)))
            raw.read_until(b"data: ")
            gateway.process.send_signal(signal.SIGTERM)
            eventually(lambda: any("draining" in line for line in gateway.told))
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.wait_until_ended() == 0
            assert b"[DONE]" not in raw.rest()

    def test_a_reload_reaches_all_and_those_who_come_later(self, gateway: RunningGateway) -> None:
        written = json.loads(gateway.file.read_text())
        written["plugins"][1]["config"]["models"]["haiku"] = "us.anthropic.claude-3-5-haiku-20241022-v1:0"
        gateway.file.write_text(json.dumps(written))
        gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: any(RELOADED in line for line in gateway.told))
        eventually(lambda: all(ask(gateway.url, model="haiku") == 200 for _ in range(20)))
        assert len([line for line in gateway.told if RELOADED in line]) == 1
        gateway.file.write_text("gateway: [")
        victim = min(children(gateway))
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: victim not in children(gateway) and len(children(gateway)) == 2)
        assert all(ask(gateway.url, model="haiku") == 200 for _ in range(20))
        assert gateway.records()[-1]["generation"] == 2

    def test_a_bad_file_is_told_once(self, gateway: RunningGateway) -> None:
        gateway.file.write_text("gateway: {listne: 1}")
        gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: any("stays (generation 1)" in line for line in gateway.told))
        assert len([line for line in gateway.told if "did you mean listen?" in line]) == 1
        assert ask(gateway.url) == 200


SYSTEMD: Final = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What systemd does for a service with a socket, as a program: the descriptor's number, then the command."""


@contextlib.contextmanager
def handed(
    simulator: RunningSimulator, folder: Path, *options: str, as_systemd: bool = False
) -> Generator[str]:
    """A gateway on a socket of ours, named by `--fd` or as systemd names it; its URL."""
    file = folder / "stargate.yaml"
    file.write_text(json.dumps(configuration(simulator.url, folder / "log", gateway=APART)))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        number = sock.fileno()
        command = [sys.executable, "-m", "stargate", "serve", "-c", str(file), *options]
        if as_systemd:
            command = [sys.executable, "-c", SYSTEMD, str(number), *command]
        else:
            command += ["--fd", str(number)]
        with subprocess.Popen(command, pass_fds=(number,), stderr=subprocess.PIPE, text=True) as process:
            gateway = RunningGateway(process, folder / "log")
            try:
                gateway.wait_until_ready()
                assert gateway.port == sock.getsockname()[1]
                yield gateway.url
                process.send_signal(signal.SIGTERM)
                assert gateway.wait_until_ended() == 0
            finally:
                process.kill()


class TestHandedIn:
    def test_a_socket_by_its_descriptor(
        self, simulator: RunningSimulator, options: tuple[str, ...], tmp_path: Path
    ) -> None:
        with handed(simulator, tmp_path, *options) as url:
            assert ask(url) == 200

    def test_with_several_workers(
        self, simulator: RunningSimulator, options: tuple[str, ...], tmp_path: Path
    ) -> None:
        with handed(simulator, tmp_path, "--workers", "2", *options) as url:
            assert [ask(url) for _ in range(4)] == [200] * 4

    def test_as_systemd_hands_it_over(self, simulator: RunningSimulator, tmp_path: Path) -> None:
        with handed(simulator, tmp_path, as_systemd=True) as url:
            assert ask(url) == 200
