"""Every way to have a gateway listen: its own three shells, and the servers that host its ASGI application.

`running_host` starts one of them by name, with one configuration for all; what it gives is `Served`, so that
a test need not know which it is. A server of somebody else's has its own tongue: `stop` ends it as its users
would, and what it prints is its own affair.
"""

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from support.gateway import STOP_SECONDS, RunningGateway, Served, configuration, eventually, running_gateway

SHELLS: Final[Mapping[str, Sequence[str]]] = {
    "trio": ("--shell", "trio"),
    "asyncio": ("--shell", "asyncio", "--loop", "asyncio"),
    "uvloop": ("--shell", "asyncio", "--loop", "uvloop"),
}
SERVERS: Final[Mapping[str, Sequence[str]]] = {
    # Only a worker of a master's ends in good order on trio.
    "hypercorn-trio": ("hypercorn", "--workers", "1", "--worker-class", "trio", "--bind", "fd://{fd}"),
    "hypercorn-asyncio": ("hypercorn", "--workers", "0", "--worker-class", "asyncio", "--bind", "fd://{fd}"),
    "uvicorn": ("uvicorn", "--log-level", "warning", "--lifespan", "on", "--fd", "{fd}"),
    "granian": ("granian", "--interface", "asgi", "--no-ws", "--log-level", "error", "--port", "{port}"),
}
"""Commands, as modules of Python. `{fd}`: a socket that listens already; `{port}`: one to listen on."""
HOSTS: Final = (*SHELLS, *SERVERS)
_MODULES: Final = {"uvloop": "uvloop", **{name: name.partition("-")[0] for name in SERVERS}}
_TESTS: Final = Path(__file__).parents[1]


def params(*names: str) -> list[Any]:
    """These hosts as a fixture's parameters; what is not installed skips, and says so."""
    return [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                name in _MODULES and importlib.util.find_spec(_MODULES[name]) is None,
                reason=f"{_MODULES.get(name)} is not installed",
            ),
        )
        for name in names or HOSTS
    ]


class RunningServer(Served):
    """An ASGI server in a process of its own. mount: the path below which the gateway is."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", server_url: str, log: Path, *, mount: str = ""
    ) -> None:
        super().__init__(log)
        self.process = process
        self.server_url = server_url
        self.mount = mount

    @property
    def url(self) -> str:
        """Where the gateway is."""
        return self.server_url + self.mount

    def stop(self) -> int:
        """Its status, after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


@contextlib.contextmanager
def running_host(name: str, upstream: str, **changes: Any) -> Generator[RunningGateway | RunningServer]:
    """A gateway in front of `upstream` on this host, with `configuration`'s changes."""
    if name in SHELLS:
        with running_gateway(upstream, options=SHELLS[name], **changes) as gateway:
            yield gateway
    else:
        with running_server(SERVERS[name], upstream, **changes) as server:
            yield server


@contextlib.contextmanager
def running_server(
    command: Sequence[str],
    upstream: str,
    *,
    application: str = "stargate.asgi:app",
    mount: str = "",
    scheme: str = "http",
    **changes: Any,
) -> Generator[RunningServer]:
    """An ASGI server with an application that has the gateway in it. scheme: as its command has it."""
    with tempfile.TemporaryDirectory(prefix="stargate-test-") as folder, contextlib.ExitStack() as stack:
        log, file = Path(folder, "requests.jsonl"), Path(folder, "stargate.yaml")
        file.write_text(json.dumps(configuration(upstream, log, **changes)))
        path = os.pathsep.join([str(_TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "STARGATE_CONFIG": str(file), "PYTHONPATH": path}
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port, descriptor = listening.getsockname()[1], listening.fileno()
        options = [option.format(fd=descriptor, port=port) for option in command]
        opens_its_own = options != [option.format(fd=descriptor, port="") for option in command]
        if opens_its_own:
            listening.close()
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", *options, application],
                pass_fds=[] if opens_its_own else [descriptor],
                env=environment,
            )
        )
        try:
            if opens_its_own:
                eventually(lambda: process.poll() is not None or _listens(port))
            # Connections to a socket that listens already wait in it until the server is ready.
            yield RunningServer(process, f"{scheme}://127.0.0.1:{port}", log, mount=mount)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            finally:
                process.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return False
    return True
