"""`stargate import-kong`, as a person runs it, and what the new file then does with a request."""

import json
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from stargate.cli.explain import explain_command
from stargate.cli.import_kong import import_kong

GOLDEN: Final = Path(__file__).parents[2] / "golden" / "kong"
KONG: Final = str(GOLDEN / "two-routes.kong.yaml")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_new_file_goes_to_standard_output_and_what_changed_beside_it() -> None:
    result = CliRunner().invoke(import_kong, [KONG])
    assert result.exit_code == 0
    assert "\nservices:\n- name: llm\n" in result.stdout
    assert "dropped: service old-api: no AI plugin stands there" in result.stderr
    assert "# - dropped: service old-api: no AI plugin stands there" in result.stdout


def test_a_request_then_goes_where_kong_would_have_sent_it(folder: Path) -> None:
    assert CliRunner().invoke(import_kong, [KONG, "-o", "stargate.yaml"]).exit_code == 0
    body = {"messages": [{"role": "user", "content": "hi"}]}
    asked = {"path": "/chat", "headers": {"apikey": "alice-secret-key-1"}, "body": body}
    (folder / "request.json").write_text(json.dumps(asked))
    environ = {"DECK_AWS_ACCESS_KEY_ID": "AKIDKONG", "DECK_AWS_SECRET_ACCESS_KEY": "s", "DECK_KEY2": "k" * 20}
    environ |= {"DECK_AWS_REGION": "eu-west-1", "REDIS_PASSWORD": "p"}
    result = CliRunner().invoke(
        explain_command, ["-c", "stargate.yaml", "--request", "request.json", "--json"], env=environ
    )
    assert result.exit_code == 0, result.output
    told = result.stdout
    assert "meta.llama3-70b-instruct-v1:0" in told
    assert "alice" in told
    assert "us-east-1" in told
    assert "us-west-2" in told


def test_it_overwrites_nothing_unless_it_is_told_to(folder: Path) -> None:
    (folder / "stargate.yaml").write_text("mine")
    refused = CliRunner().invoke(import_kong, [KONG, "-o", "stargate.yaml"])
    assert (refused.exit_code, (folder / "stargate.yaml").read_text()) == (1, "mine")
    assert "--force overwrites it" in refused.stderr
    assert CliRunner().invoke(import_kong, [KONG, "-o", "stargate.yaml", "--force"]).exit_code == 0


def test_what_needs_a_hand_ends_with_1() -> None:
    kong = """\
_format_version: "3.0"
plugins:
  - {name: ai-proxy, config: {model: {provider: bedrock, name: m, options: {bedrock: {aws_region: mars}}}}}
"""
    result = CliRunner().invoke(import_kong, ["-"], input=kong)
    assert result.exit_code == 1
    assert "expected an AWS region such as us-east-1" in result.stderr
    assert "needs a hand" in result.stderr


@pytest.mark.parametrize(("text", "why"), [("a: [", "neither YAML nor JSON"), ("[1]", "expected a mapping")])
def test_what_is_not_kongs_is_refused(text: str, why: str) -> None:
    result = CliRunner().invoke(import_kong, ["-"], input=text)
    assert result.exit_code == 1
    assert why in result.stderr


def test_a_file_that_is_not_there_is_told() -> None:
    result = CliRunner().invoke(import_kong, ["nowhere.yaml"])
    assert result.exit_code == 1
    assert "nowhere.yaml: No such file" in result.stderr
