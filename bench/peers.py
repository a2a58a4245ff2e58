"""Other gateways that are no wheels of this environment: how each is installed, configured and started.

    python -m bench peers

brings them into `.bench/` in the repository's root, each from its registry and nowhere else, in the versions
that the recorded figures are of. Each is optional: what is not there is skipped, and so is what cannot be
installed here; a line says why.

- *nginx* (Debian's package, unpacked; or the one that is installed) does nothing but pass on, with one
  worker. It is the floor: what a proxy costs that neither signs nor translates. The load generator asks as
  upstream wants to be asked, with a signature of nobody's.
- *Portkey's gateway* (npm) translates and signs. It checks no key of its own; where upstream is and how to
  sign, it is told with every request.
- *LiteLLM's proxy* (PyPI, in an environment of its own) checks a key, translates and signs, with one worker.

All three are asked to speak to the same stand-in as Stargate and Envoy.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

import yaml

from bench.gateways import AWS, REGION, Missing
from bench.processes import Process, answering, free_port, running
from bench.traffic import GATEWAY_KEY, MODEL

FOLDER: Final = Path(__file__).parents[1] / ".bench"
NGINX: Final = "nginx"
PORTKEY: Final = "portkey"
LITELLM: Final = "litellm"

_PORTKEY_PACKAGE: Final = "@portkey-ai/gateway"
_PORTKEY_VERSION: Final = "1.15.2"
_LITELLM_VERSION: Final = "1.108.7"
_INSTALL: Final = "`python -m bench peers` installs it"


# ------------------------------------------------------------------------------------------------------ nginx


def _nginx_binary(folder: Path) -> Path:
    unpacked = folder / NGINX / "usr" / "sbin" / "nginx"
    if unpacked.exists():
        return unpacked
    installed = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if installed is None:
        raise Missing(f"there is no nginx; {_INSTALL}")
    return Path(installed)


def _nginx_config(port: int, upstream_port: int) -> str:
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "".join(
        f"  {kind}_temp_path temp-{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""{user}
worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr crit;
worker_rlimit_nofile 65536;
events {{ worker_connections 32768; }}
http {{
  access_log off;
{temporary}
  client_body_buffer_size 64k;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  upstream bedrock {{
    server 127.0.0.1:{upstream_port};
    keepalive 4096;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://bedrock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, core: set[int], upstream_port: int) -> Generator[Process]:
    """nginx, passing on. Raises Missing."""
    binary, port = _nginx_binary(folder), free_port()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "nginx.conf")
        path.write_text(_nginx_config(port, upstream_port))
        command = [str(binary), "-p", place, "-c", str(path), "-e", "stderr"]
        with running(command, core, answering(port)) as process:
            yield process


def _install_nginx(folder: Path) -> str:
    if shutil.which("apt-get") is None:
        raise Missing("there is no apt-get here; nginx from elsewhere is found on PATH")
    with tempfile.TemporaryDirectory() as place:
        _ran(["apt-get", "download", "nginx"], place, "after `apt-get update`, as root, it may be there")
        (package,) = Path(place).glob("nginx_*.deb")
        _ran(["dpkg", "-x", str(package), str(folder / NGINX)], place)
    return str(_nginx_binary(folder))


# ---------------------------------------------------------------------------------------------------- portkey


def _portkey_package(folder: Path) -> Path:
    return folder / PORTKEY / "node_modules" / _PORTKEY_PACKAGE


@contextlib.contextmanager
def portkey(folder: Path, core: set[int], upstream_port: int) -> Generator[Process]:
    """Portkey's gateway. Raises Missing."""
    script = _portkey_package(folder) / "build" / "start-server.js"
    node = shutil.which("node")
    if node is None or not script.exists():
        raise Missing(f"there is no {'node' if node is None else 'Portkey gateway'}; {_INSTALL}")
    port = free_port()
    command = [node, str(script), f"--port={port}", "--headless"]
    with running(command, core, answering(port), NODE_ENV="production") as process:
        process.headers = {
            "x-portkey-provider": "bedrock",
            "x-portkey-aws-access-key-id": AWS["AWS_ACCESS_KEY_ID"],
            "x-portkey-aws-secret-access-key": AWS["AWS_SECRET_ACCESS_KEY"],
            "x-portkey-aws-region": REGION,
            "x-portkey-custom-host": f"http://127.0.0.1:{upstream_port}",
        }
        yield process


def _install_portkey(folder: Path) -> str:
    npm = shutil.which("npm")
    if npm is None:
        raise Missing("there is no npm here")
    # What its own scripts would patch is in its bundle already.
    options = ["--no-audit", "--no-fund", "--ignore-scripts"]
    place = folder / PORTKEY
    place.mkdir(parents=True, exist_ok=True)
    _ran([npm, "install", "--prefix", str(place), *options, f"{_PORTKEY_PACKAGE}@{_PORTKEY_VERSION}"], place)
    return str(_portkey_package(folder))


# ---------------------------------------------------------------------------------------------------- litellm


def _litellm_config(upstream_port: int) -> dict[str, object]:
    parameters = {
        "model": f"bedrock/converse/{MODEL}",
        "aws_access_key_id": AWS["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": AWS["AWS_SECRET_ACCESS_KEY"],
        "aws_region_name": REGION,
        "aws_bedrock_runtime_endpoint": f"http://127.0.0.1:{upstream_port}",
    }
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": parameters}],
        "general_settings": {"master_key": GATEWAY_KEY},
        "litellm_settings": {"telemetry": False},
    }


@contextlib.contextmanager
def litellm(folder: Path, core: set[int], upstream_port: int) -> Generator[Process]:
    """LiteLLM's proxy, with one worker. Raises Missing."""
    binary, port = folder / LITELLM / "bin" / "litellm", free_port()
    if not binary.exists():
        raise Missing(f"there is no LiteLLM proxy; {_INSTALL}")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "litellm.yaml")
        path.write_text(yaml.safe_dump(_litellm_config(upstream_port)))
        command = [str(binary), "--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
        # Of prices it takes the list that it brings, and asks nobody. Lines about each request are off.
        environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        command += ["--num_workers", "1", "--telemetry", "False"]
        with running(command, core, answering(port), **environment) as process:
            yield process


def _install_litellm(folder: Path) -> str:
    place = folder / LITELLM
    _ran([sys.executable, "-m", "venv", str(place)], folder)
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "-q"]
    _ran([*pip, f"litellm[proxy]=={_LITELLM_VERSION}"], folder)
    return str(place)


# -------------------------------------------------------------------------------------------- all of them

STARTERS: Final = {NGINX: nginx, PORTKEY: portkey, LITELLM: litellm}
_INSTALLERS: Final[dict[str, Callable[[Path], str]]] = {
    NGINX: _install_nginx,
    PORTKEY: _install_portkey,
    LITELLM: _install_litellm,
}


def _ran(command: list[str], place: str | Path, hint: str = "") -> None:
    """Run a command. Raises Missing, with the last that it said."""
    ran = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if ran.returncode:
        said = (ran.stderr.strip() or ran.stdout.strip()).splitlines()
        raise Missing(f"{command[0]} failed: {said[-1] if said else ran.returncode}; {hint}".rstrip("; "))


def install(folder: Path, say: Callable[[str], None]) -> None:
    """Bring them all here, as far as that goes."""
    folder.mkdir(exist_ok=True)
    for name, installer in _INSTALLERS.items():
        try:
            say(f"{name}: {installer(folder)}")
        except (Missing, OSError) as failure:
            say(f"{name}: not installed, {failure}")


def versions(folder: Path) -> dict[str, str]:
    """Of those that are here."""
    found: dict[str, str] = {}
    with contextlib.suppress(Missing, OSError):
        said = subprocess.run([_nginx_binary(folder), "-v"], capture_output=True, text=True, check=True)
        if number := re.search(r"nginx/([\d.]+)", said.stderr + said.stdout):
            found["nginx"] = number[1]
    with contextlib.suppress(OSError):
        found["Portkey"] = json.loads((_portkey_package(folder) / "package.json").read_text())["version"]
    for path in (folder / LITELLM).glob("lib/python*/site-packages/litellm-*.dist-info"):
        found["LiteLLM"] = path.name.removeprefix("litellm-").removesuffix(".dist-info")
    return found
