"""`stargate simulate`: what it prints, what it takes, how it stops. The command itself, as a process."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner

from stargate.cli.simulate import simulate
from stargate.simulator.scenarios import SCENARIOS
from support.simulator import CLAUDE, STOP_SECONDS, bedrock_client, running_simulator, user
from support.vectors import RECORDED

COMMAND = [sys.executable, "-m", "stargate.cli.simulate"]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_and_stops_when_told(ending: signal.Signals) -> None:
    command = [*COMMAND, "--listen", "127.0.0.1:0", "--session-token", "token", "--region", "eu-west-1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # The first line is for programs to read, at once: the port was 0.
        first = process.stdout.readline()
        found = re.fullmatch(r"listening on (http://127\.0\.0\.1:\d+)\n", first)
        assert found is not None
        url = found.group(1)
        with urllib.request.urlopen(f"{url}/healthz", timeout=STOP_SECONDS) as answer:
            assert json.load(answer) == {"status": "ok"}
        process.send_signal(ending)
        rest = process.stdout.read()
        assert process.wait(STOP_SECONDS) == 0
    exports = dict(re.findall(r"export (\w+)=(\S+)", rest))
    assert exports == {
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url,
        "AWS_ENDPOINT_URL_BEDROCK": url,
        "AWS_ACCESS_KEY_ID": "AKIDSIMULATOR",
        "AWS_SECRET_ACCESS_KEY": "simulated-secret-access-key",
        "AWS_SESSION_TOKEN": "token",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }


def test_options_reach_the_simulator() -> None:
    options = {
        "--access-key-id": "AKIDOTHER",
        "--secret-access-key": "other",
        "--session-token": "token",
        "--region": "eu-west-1",
        "--scenario": "throw-ModelTimeoutException",
        "--recordings": str(RECORDED),
        "--seed": "7",
    }
    with running_simulator(*(word for pair in options.items() for word in pair)) as running:
        client = bedrock_client(
            running.url,
            access_key_id="AKIDOTHER",
            secret_access_key="other",
            session_token="token",
            region="eu-west-1",
        )
        with pytest.raises(client.exceptions.ModelTimeoutException):
            client.converse(modelId=CLAUDE, messages=[user("hi")])
        client.close()


def test_https(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key, trust = (tmp_path / name for name in ("cert.pem", "key.pem", "ca.pem"))
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(trust))
    options = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with running_simulator(*options) as running:
        assert running.url.startswith("https://")
        client = bedrock_client(running.url, verify=str(trust))
        answer = client.converse(modelId=CLAUDE, messages=[user("hi")])
        client.close()
    assert answer["stopReason"] == "end_turn"


def test_the_list_of_scenarios() -> None:
    result = CliRunner().invoke(simulate, ["--list-scenarios"])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [line.split()[0] for line in lines] == list(SCENARIOS)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--listen", "nowhere"], "--listen must be HOST:PORT"),
        (["--listen", "127.0.0.1:99999"], "--listen must be HOST:PORT"),
        (["--listen", "192.0.2.1:80"], "cannot listen on 192.0.2.1:80"),
        (["--scenario", "no-such"], "there is no scenario no-such"),
        (["--listing-fault", "no-such"], "there is no scenario no-such"),
        (["--scenario", "slow us=3"], "slow has no option us"),
        (["--recordings", "."], "--recordings: "),
        (["--tls-cert", __file__], "--tls-cert: "),
    ],
)
def test_wrong_options_are_explained(options: list[str], words: str) -> None:
    result = CliRunner().invoke(simulate, ["--listen", "127.0.0.1:0", *options])
    assert result.exit_code == 1
    assert words in result.output


def test_help_does_not_wait_for_the_service_model() -> None:
    script = "import sys, stargate.cli.simulate; print('botocore' in sys.modules or 'trio' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
