"""`stargate serve` as a person runs it: with no file, where somebody listens already, with AWS's credentials.

What keeps it from starting stands in shells/cli/test_serve.py.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from support.gateway import RunningGateway, configuration, eventually, running_gateway
from support.raw import chat, connected, request
from support.simulator import RunningSimulator

NO_ACCOUNT: Final = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nowhere/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
}


@pytest.fixture
def environment() -> dict[str, str]:
    """This one without anything of AWS's."""
    return {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | NO_ACCOUNT


class TestWithoutAFile:
    @pytest.fixture
    def running(self, environment: dict[str, str]) -> Generator["subprocess.Popen[str]"]:
        """`stargate serve` with nothing but a free port."""
        command = [sys.executable, "-m", "stargate", "serve", "--listen", "127.0.0.1:0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
            yield process
            process.kill()

    def test_it_serves_and_says_what_is_missing(self, running: "subprocess.Popen[str]") -> None:
        gateway = RunningGateway(running, Path("/nowhere"))
        gateway.wait_until_ready()
        told = "\n".join(gateway.told)
        assert "the gateway is open" in told
        assert "no AWS credentials" in told
        with connected(gateway.url) as raw:
            raw.send(b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n")
            assert raw.answer(method="GET").json() == {"status": "ok"}
            raw.send(request(body=chat("Hello")))
            answer = raw.answer()
        assert (answer.status, answer.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert (answer.headers["x-should-retry"], answer.headers["retry-after"]) == ("false", "60")
        running.send_signal(signal.SIGTERM)
        assert gateway.wait_until_ended() == 0


class TestAnAddressInUse:
    def test_it_is_said_and_the_status_is_1(self, environment: dict[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            command = [sys.executable, "-m", "stargate", "serve", "--listen", address]
            result = subprocess.run(
                command, capture_output=True, text=True, timeout=30, env=environment, check=False
            )
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.splitlines()[-1] == f"error: cannot listen on {address}: Address already in use"


class TestCredentials:
    """The gateway's own, from the usual AWS places; they are the ones that the simulator knows."""

    OWN: Final[dict[str, Any]] = {"credentials": None}

    def test_from_the_environment(self, simulator: RunningSimulator) -> None:
        keys = {
            "AWS_ACCESS_KEY_ID": "AKIDSIMULATOR",
            "AWS_SECRET_ACCESS_KEY": "simulated-secret-access-key",
        }
        with running_gateway(simulator.url, proxy=self.OWN, environment=keys) as gateway:
            assert "stargate: credentials      from env" in gateway.told
            with connected(gateway.url) as raw:
                raw.send(request(body=chat("Hello")))
                assert raw.answer().status == 200

    def test_from_a_profile(self, simulator: RunningSimulator, tmp_path: Path) -> None:
        (tmp_path / "credentials").write_text(
            "[bedrock]\naws_access_key_id = AKIDSIMULATOR\n"
            "aws_secret_access_key = simulated-secret-access-key\n"
        )
        files = {**NO_ACCOUNT, "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
        proxy = {**self.OWN, "profile": "bedrock"}
        with running_gateway(simulator.url, proxy=proxy, environment=files) as gateway:
            assert any("from shared-credentials-file of account bedrock" in line for line in gateway.told)
            with connected(gateway.url) as raw:
                raw.send(request(body=chat("Hello")))
                assert raw.answer().status == 200

    def test_wrong_ones_are_the_gateways_fault(self, simulator: RunningSimulator) -> None:
        keys = {"AWS_ACCESS_KEY_ID": "AKIDSIMULATOR", "AWS_SECRET_ACCESS_KEY": "stale"}
        with running_gateway(simulator.url, proxy=self.OWN, environment=keys) as gateway:
            with connected(gateway.url) as raw:
                raw.send(request(body=chat("Hello")))
                answer = raw.answer()
            assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_auth")
            record = gateway.record(code="UPSTREAM_ERROR")
            assert record["upstream_exception"] == "InvalidSignatureException"


class TestTheLog:
    def test_a_log_that_cannot_be_written_is_told_and_costs_nothing_else(
        self, simulator: RunningSimulator
    ) -> None:
        tells = "cannot write to /nowhere/log|no folder /nowhere|for /nowhere/log could not be written"
        with running_gateway(simulator.url, tells=tells, log="/nowhere/log") as gateway:
            with connected(gateway.url) as raw:
                raw.send(request(body=chat("Hello")))
                assert raw.answer().status == 200
            eventually(lambda: any("cannot write to /nowhere/log" in line for line in gateway.told))

    def test_standard_output_holds_records_and_nothing_else(
        self, simulator: RunningSimulator, tmp_path: Path
    ) -> None:
        file = tmp_path / "stargate.yaml"
        file.write_text(json.dumps(configuration(simulator.url, "/dev/stdout")))
        command = [sys.executable, "-m", "stargate", "serve", "-c", str(file)]
        with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            gateway = RunningGateway(process, Path("/nowhere"))
            gateway.wait_until_ready()
            with connected(gateway.url) as raw:
                raw.send(request(body=chat("Hello")))
                identifier = raw.answer().headers["x-request-id"]
            process.send_signal(signal.SIGTERM)
            assert process.stdout is not None
            (line,) = process.stdout.read().splitlines()
            assert gateway.wait_until_ended() == 0
        assert json.loads(line)["request_id"] == identifier
