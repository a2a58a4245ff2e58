"""`stargate serve` where it does not start: every problem is told, without a traceback; the status is 1."""

import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner, Result

from stargate.cli.serve import serve

NO_ACCOUNT: Final[Mapping[str, str]] = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nowhere/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
}


def served(*arguments: str) -> Result:
    """`stargate serve` that is expected to end by itself."""
    return CliRunner().invoke(serve, arguments, env=NO_ACCOUNT)


class TestBadFiles:
    def test_all_problems_are_told_at_once(self, tmp_path: Path) -> None:
        file = tmp_path / "stargate.yaml"
        file.write_text(
            "gateway: {listne: [x]}\n"
            "plugins:\n"
            "  - name: api-key-auht\n"
            "  - name: bedrock-proxy\n"
            "    config: {region: 7, timeout: soon}\n"
        )
        result = served("-c", str(file))
        assert (result.exit_code, result.stdout) == (1, "")
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert [line.split(":")[2] for line in errors] == ["1", "3", "5", "5"]
        assert "did you mean listen?" in errors[0]
        assert "Traceback" not in result.stderr

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (None, "can't be read: No such file or directory"),
            (b"gateway: {workers: \xff}", "expected UTF-8"),
            (b"gateway: [", "1:"),
            (b"- a\n- b\n", "1:1"),
            (b"consumers: [{username: a, keyauth_credentials: [{key: '${NO_SUCH_KEY}'}]}]", "NO_SUCH_KEY"),
        ],
    )
    def test_it_ends_with_1(self, tmp_path: Path, content: bytes | None, told: str) -> None:
        file = tmp_path / "stargate.yaml"
        if content is not None:
            file.write_bytes(content)
        result = served("-c", str(file))
        assert result.exit_code == 1
        assert told in result.stderr
        assert result.stderr.startswith("error: ")
        assert "Traceback" not in result.stderr

    def test_certificates_that_cannot_be_used(self, tmp_path: Path) -> None:
        file = tmp_path / "stargate.yaml"
        file.write_text(
            'gateway: {listen: [{address: "127.0.0.1:0", tls: {cert: /nowhere/cert.pem, key: k}}]}'
        )
        result = served("-c", str(file))
        last = result.stderr.splitlines()[-1]
        assert result.exit_code == 1
        assert last == (
            "error: TLS of the listener 127.0.0.1:0: /nowhere/cert.pem: No such file or directory"
        )


class TestAddresses:
    def test_one_in_use(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            result = served("--listen", address)
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1] == f"error: cannot listen on {address}: Address already in use"

    @pytest.mark.parametrize(
        ("address", "told"),
        [
            ("203.0.113.7:80", "error: cannot listen on 203.0.113.7:80: Cannot assign requested address"),
            ("unix:/nowhere/s", "error: cannot listen on unix:/nowhere/s: No such file or directory"),
        ],
    )
    def test_one_that_cannot_be_had(self, address: str, told: str) -> None:
        result = served("--listen", address)
        assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, told)

    def test_one_that_is_none(self) -> None:
        result = served("--listen", "nonsense")
        assert result.exit_code == 2
        assert "--listen" in result.stderr
        assert "expected host:port" in result.stderr
        assert "Traceback" not in result.stderr


class TestLoops:
    @pytest.mark.parametrize("arguments", [("--loop", "uvloop"), ("--shell", "trio", "--loop", "asyncio")])
    def test_trio_is_a_loop_of_its_own(self, arguments: tuple[str, ...]) -> None:
        result = served(*arguments)
        assert result.exit_code == 2
        assert "trio is a loop of its own" in result.stderr

    def test_a_loop_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "uvloop", None)
        result = served("--shell", "asyncio", "--loop", "uvloop")
        assert result.exit_code == 1
        assert result.stderr.endswith("Error: it needs uvloop: pip install 'stargate-gateway[uvloop]'\n")

    @pytest.mark.parametrize("loop", ["auto", "asyncio"])
    def test_an_address_that_cannot_be_had_on_asyncio(self, loop: str) -> None:
        result = served("--shell", "asyncio", "--loop", loop, "--listen", "unix:/nowhere/s")
        assert result.exit_code == 1
        told = "error: cannot listen on unix:/nowhere/s: No such file or directory"
        assert result.stderr.splitlines()[-1] == told
