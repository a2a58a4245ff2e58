"""A third party's plugin in the running gateway: it is found, it works, and its bugs are told as its own."""

import os
import subprocess
import sys
from pathlib import Path

from support.gateway import running_gateway
from support.raw import chat, connected, deltas, request
from support.simulator import RunningSimulator
from support.third_party import install


def path_with(folder: Path) -> dict[str, str]:
    """An environment in which Python finds what is installed in the folder."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))}


def test_it_works(simulator: RunningSimulator, tmp_path: Path) -> None:
    install(tmp_path, stamp="stamps:Stamp")
    plugins = [{"name": "stamp", "config": {"text": "passed", "wait_ms": 5}}]
    with running_gateway(simulator.url, plugins=plugins, environment=path_with(tmp_path)) as gateway:
        with connected(gateway.url) as raw:
            raw.send(request(body=chat("Hello", stream=True)))
            answer = raw.answer()
            assert answer.headers["x-stamp"] == "passed"
            assert "“Hello”" in deltas(answer.body)
            raw.send(request(body=b"{}"))
            assert raw.answer().headers["x-stamp"] == "passed"


def test_its_bugs_are_its_own(simulator: RunningSimulator, tmp_path: Path) -> None:
    install(tmp_path, clumsy="stamps:Clumsy")
    plugins = [{"name": "clumsy", "config": {"text": "a secret"}}]
    with running_gateway(simulator.url, plugins=plugins, environment=path_with(tmp_path)) as gateway:
        with connected(gateway.url) as raw:
            raw.send(request(body=chat("Hello")))
            answer = raw.answer()
            assert (answer.status, answer.json()["error"]["code"]) == (500, "INTERNAL_ERROR")
            assert b"secret" not in answer.body
            raw.send(request("GET", "/healthz"))
            assert raw.answer().status == 200
        record = gateway.record(cause="PLUGIN_FAILED")
        assert "clumsy" in record["detail"]
        assert "KeyError" in record["detail"]
        assert "secret" not in record["detail"]


def test_one_that_cannot_be_loaded_keeps_the_gateway_from_starting(tmp_path: Path) -> None:
    install(tmp_path, module="raise RuntimeError('not on this machine')", stamp="stamps:Stamp")
    command = [sys.executable, "-m", "stargate", "serve", "--listen", "127.0.0.1:0"]
    environment = {**os.environ, **path_with(tmp_path)}
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment, check=False)
    assert result.returncode == 1
    assert "the plugin 'stamp' (stamps:Stamp) cannot be loaded: not on this machine" in result.stderr
    assert "Traceback" not in result.stderr
