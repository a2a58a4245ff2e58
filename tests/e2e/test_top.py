"""`stargate top` as people run it: in a terminal (a pty), into a pipe, once; and what it says where there is
nothing to be seen, or is nothing any more.
"""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Generator
from typing import Final

import pytest

from stargate.cli.top import Source
from support.gateway import RunningGateway, on_linux, running_gateway
from support.raw import chat, connected, request
from support.simulator import RunningSimulator

pytestmark = on_linux

TOKEN: Final = "planted-admin-token-0123456789"
TOP: Final = (sys.executable, "-m", "stargate", "top")
PATIENCE_SECONDS: Final = 20
ENTERED, LEFT = b"\x1b[?1049h", b"\x1b[?1049l"


@pytest.fixture(scope="module", name="path")
def _path() -> Generator[str]:
    with tempfile.TemporaryDirectory(prefix="stargate-") as folder:
        yield f"unix:{folder}/admin.sock"


@pytest.fixture(scope="module", name="gateway")
def _gateway(simulator: RunningSimulator, path: str) -> Generator[RunningGateway]:
    """A gateway that has answered somebody already."""
    with running_gateway(simulator.url, gateway={"admin_listen": path, "admin_token": TOKEN}) as gateway:
        with connected(gateway.url) as raw:
            raw.send(request(body=chat("Hello")))
            assert raw.answer().status == 200
        yield gateway


def run(*arguments: str, token: str = TOKEN) -> "subprocess.CompletedProcess[str]":
    """The command, to its end."""
    environment = {**os.environ, "STARGATE_ADMIN_TOKEN": token, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [*TOP, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env=environment,
        check=False,
    )


class Terminal:
    """The command in a terminal of this size."""

    def __init__(self, *arguments: str, columns: int = 100, lines: int = 40) -> None:
        self.shown = b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ.update(STARGATE_ADMIN_TOKEN=TOKEN, TERM="xterm", PYTHONIOENCODING="utf-8")
            os.environ.pop("NO_COLOR", None)
            os.execv(sys.executable, [*TOP, *arguments])
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read_until(self, seen: Callable[[bytes], bool]) -> bytes:
        """What is shown by the time this holds, or the command has ended."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while not seen(self.shown):
            left = give_up_at - time.monotonic()
            assert left > 0, self.shown
            if select.select([self.terminal], [], [], left)[0]:
                try:
                    data = os.read(self.terminal, 65_536)
                except OSError:  # What Linux says at the end of a pty.
                    break
                if not data:
                    break
                self.shown += data
        return self.shown

    def interrupt(self) -> int:
        """Press Ctrl-C; the exit status."""
        os.write(self.terminal, b"\x03")
        return self.wait()

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        self.read_until(lambda _: False)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@contextlib.contextmanager
def terminal(*arguments: str) -> Generator[Terminal]:
    """A terminal; the command in it is ended."""
    made = Terminal(*arguments)
    try:
        yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(made.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(made.pid, 0)
        os.close(made.terminal)


class TestTerminal:
    def test_it_draws_anew_each_second_until_ctrl_c_and_leaves_no_trace(
        self, gateway: RunningGateway, path: str
    ) -> None:
        assert gateway.urls
        with terminal(path) as shown:
            pages = shown.read_until(lambda seen: seen.count(b"Ctrl-C ends") >= 2)
            assert pages.startswith(ENTERED)
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", pages.decode())
            for word in (
                "1/1 workers",
                "requests",
                "first byte",
                "team-a",
                "claude",
                "store",
                "generation 1",
            ):
                assert word in text
            assert shown.interrupt() == 0
            assert shown.shown.rstrip().endswith(LEFT)


class Lossy:
    """A listener that tells one state and hangs up, each time it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.sock = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.sock.accept()
                with peer:
                    peer.recv(65_536)
                    self.asked += 1
                    event = f'event: status\ndata: {{"number": {self.asked}}}\n\n'.encode()
                    peer.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + event)

    def close(self) -> None:
        """Be there no more."""
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self._thread.join(PATIENCE_SECONDS)


def test_a_connection_that_is_lost_is_told_and_tried_again() -> None:
    lossy = Lossy()
    port = lossy.sock.getsockname()[1]
    states = Source(f"http://127.0.0.1:{port}", None, pause_seconds=0.01).states()
    assert next(states) == {"number": 1}
    assert next(states) == "connection lost: the gateway has ended the stream; trying again in 0.01 s"
    assert next(states) == {"number": 2}
    lossy.close()
    told = [next(states) for _ in range(2)]
    assert str(told[1]).endswith("Connection refused; is gateway.admin_listen set?; trying again in 0.02 s")
    states.close()


class TestText:
    def test_once_is_one_page_without_colours(self, gateway: RunningGateway, path: str) -> None:
        assert gateway.urls
        ended = run(path, "--once")
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout.startswith("stargate ")
        assert "team-a" in ended.stdout
        assert "\x1b" not in ended.stdout

    def test_a_pipe_gets_a_line_a_second(self, gateway: RunningGateway, path: str) -> None:
        assert gateway.urls
        environment = {**os.environ, "STARGATE_ADMIN_TOKEN": TOKEN}
        with subprocess.Popen([*TOP, path], stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(2)]
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_SECONDS) == 0
        assert all(re.match(r"\d{4}-\d\d-\d\dT\S+Z  [0-9.]+ requests/s  ", line) for line in lines)


class TestTrouble:
    def test_the_wrong_token_is_told_with_its_cure(self, gateway: RunningGateway, path: str) -> None:
        assert gateway.urls
        for arguments in ((path, "--once"), (path,)):
            ended = run(*arguments, token="another-token")
            assert ended.returncode == 1
            assert "--token, or STARGATE_ADMIN_TOKEN" in ended.stderr
            assert "Traceback" not in ended.stderr

    def test_so_is_a_gateway_that_is_not_there(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        ended = run(f"127.0.0.1:{port}")
        assert ended.returncode == 1
        assert "Connection refused; is gateway.admin_listen set?" in ended.stderr

    def test_and_what_is_no_admin_listener(self, gateway: RunningGateway) -> None:
        ended = run(gateway.url, "--once")
        assert (ended.returncode, "is it an admin listener?" in ended.stderr) == (1, True)

    def test_what_is_no_url_is_a_mistake_of_the_command_line(self) -> None:
        assert run("ftp://127.0.0.1").returncode == 2
