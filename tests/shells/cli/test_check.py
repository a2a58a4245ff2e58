"""`stargate check`, as a person runs it."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stargate import public_keys
from stargate.cli.check import check

GOOD = """\
plugins:
  - name: bedrock-proxy
    config:
      region: ${BEDROCK_REGION:-us-east-1}
      model: ${BEDROCK_MODEL:-anthropic.claude-3-sonnet-20240229-v1:0}
      timeout: ${BEDROCK_TIMEOUT:-60000}
"""
BAD = "plugins:\n  - name: bedrock-prxy\ngateway:\n  workers: 0\n"


def run(*args: str, stdin: bytes | None = None, **environ: str) -> Result:
    return CliRunner().invoke(check, args, input=stdin, env=environ)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("BEDROCK_REGION", "BEDROCK_MODEL", "BEDROCK_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


class TestGoodFiles:
    def test_it_says_what_the_file_is_and_ends_with_0(self, folder: Path) -> None:
        (folder / "gateway.yaml").write_text(GOOD)
        result = run("gateway.yaml")
        warning, summary = result.output.splitlines()
        assert result.exit_code == 0
        assert warning.startswith("warning: gateway.yaml:2:3: plugins: the gateway is open")
        assert summary.startswith(
            "good: listens on 127.0.0.1:8080; 0 consumers; plugins everywhere: bedrock-proxy; digest "
        )

    def test_it_counts_what_there_is(self, folder: Path) -> None:
        (folder / "gateway.yaml").write_text(
            "gateway: {listen: ['unix:/a', '[::1]:1']}\n"
            "consumers: [{username: a}, {username: b}]\n"
            "services: [{name: s, routes: [{paths: [/]}]}]\n"
            "plugins: [{name: bedrock-proxy, enabled: false}]\n"
        )
        summary = run("gateway.yaml").output.splitlines()[-1]
        assert (
            "listens on unix:/a, [::1]:1; 2 consumers; 1 service; 1 route; plugins everywhere: (" in summary
        )

    def test_it_reads_standard_input(self, folder: Path) -> None:
        assert run("-", stdin=GOOD.encode()).exit_code == 0


class TestBadFiles:
    def test_it_says_all_and_ends_with_1(self, folder: Path) -> None:
        (folder / "gateway.yaml").write_text(BAD)
        result = run("gateway.yaml")
        assert result.exit_code == 1
        first, second, third, last = result.output.splitlines()
        problem = 'plugins[0].name: there is no plugin "bedrock-prxy" (did you mean bedrock-proxy?)'
        assert first == f"gateway.yaml:2:11: {problem}"
        assert second == "gateway.yaml:4:12: gateway.workers: expected an integer from 1 to 1024, found 0"
        assert third.startswith("warning: gateway.yaml:2:3: plugins: the gateway is open")
        assert last == "2 problems"

    def test_the_environment_counts(self, folder: Path) -> None:
        (folder / "gateway.yaml").write_text(GOOD)
        result = run("gateway.yaml", BEDROCK_TIMEOUT="a minute")
        assert result.exit_code == 1
        assert "gateway.yaml:6:16: plugins[0].config.timeout: expected whole milliseconds" in result.output
        assert "a minute" not in result.output

    def test_standard_input_has_a_name(self, folder: Path) -> None:
        result = run("-", stdin=b"a: [")
        assert result.exit_code == 1
        assert result.output.startswith("<stdin>:1:5: not YAML: ")

    def test_a_file_that_is_not_there(self, folder: Path) -> None:
        result = run("none.yaml")
        assert (result.exit_code, result.output) == (
            1,
            "none.yaml:1:1: can't be read: No such file or directory\n1 problem\n",
        )
        assert run(".").exit_code == 1

    def test_a_file_that_is_no_text(self, folder: Path) -> None:
        (folder / "gateway.yaml").write_bytes(
            "a: 1\nü: \xff".encode("latin-1").replace(b"\xfc", "ü".encode())
        )
        result = run("gateway.yaml")
        assert result.exit_code == 1
        assert result.output.splitlines()[0] == "gateway.yaml:2:4: expected UTF-8"


class TestExtras:
    def test_what_must_be_installed_is_told(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        issuer = "{issuer: a, audience: b, jwks_url: 'https://a.test/keys'}"
        text = f"plugins: [{{name: jwt-auth, config: {{issuers: [{issuer}]}}}}]\n"
        assert "stargate-gateway[jwt]" not in run("-", stdin=text.encode()).output
        monkeypatch.setitem(sys.modules, "jwt.algorithms", None)
        public_keys.algorithms.cache_clear()
        try:
            result = run("-", stdin=text.encode())
        finally:
            public_keys.algorithms.cache_clear()
        assert result.exit_code == 0
        assert "public keys can't be verified: install stargate-gateway[jwt]" in result.output


class TestProcess:
    """The command itself, through the table of commands."""

    def test_the_exit_status_is_the_processs(self, folder: Path) -> None:
        program = [sys.executable, "-c", "from stargate.cli.main import main; main()", "check", "-"]
        for text, status in ((GOOD, 0), (BAD, 1)):
            ended = subprocess.run(program, input=text.encode(), capture_output=True, check=False)
            assert (ended.returncode, ended.stderr) == (status, b"")


class TestPlugins:
    def test_a_plugin_that_cannot_be_loaded_is_named(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A distribution beside ours, as an installer would leave it.
        package = folder / "odd-1.0.dist-info"
        package.mkdir()
        (package / "METADATA").write_text("Name: odd\nVersion: 1.0\n")
        (package / "entry_points.txt").write_text("[stargate.plugins]\nodd = no_such_module:Plugin\n")
        monkeypatch.syspath_prepend(str(folder))
        result = run("-", stdin=GOOD.encode())
        assert result.exit_code == 1
        assert "the plugin 'odd' (no_such_module:Plugin) cannot be loaded" in result.output
