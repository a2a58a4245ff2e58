"""`stargate explain`, as a person runs it: what it reads, what it shows, how it ends."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from stargate.cli.explain import explain_command

KEY: Final = "sk-team-a-0123456789abcdef"
CONFIG: Final = f"""\
consumers:
  - username: team-a
    keyauth_credentials: [{{key: {KEY}, id: laptop}}]
plugins:
  - name: api-key-auth
  - name: rate-limiter
    config: {{minute: 600, concurrency: 5, usd_per_month: 100}}
  - name: response-cache
  - name: bedrock-proxy
    config:
      region: eu-central-1
      models: {{claude: eu.anthropic.claude-sonnet-4-20250514-v1:0}}
"""
BODY: Final = {"messages": [{"role": "user", "content": "hi"}], "model": "claude", "max_tokens": 9}
CHAT: Final = {"path": "/v1/chat/completions", "headers": {"x-api-key": KEY}, "body": BODY}
RAW: Final = (
    f"POST /v1/chat/completions HTTP/1.1\r\nhost: stargate\r\nx-api-key: {KEY}\r\n"
    f"content-length: {len(json.dumps(BODY))}\r\n\r\n{json.dumps(BODY)}"
)
AT: Final = "2026-01-02T03:04:05Z"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_BEARER_TOKEN_BEDROCK",
    ):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(request: str | bytes | dict[str, Any], *args: str, config: str = "gateway.yaml") -> Result:
    """The command, with the request on standard input."""
    data = json.dumps(request) if isinstance(request, dict) else request
    return CliRunner().invoke(
        explain_command, ["-c", config, "--request", "-", "--at", AT, *args], input=data
    )


def told(request: str | bytes | dict[str, Any], *args: str) -> dict[str, Any]:
    """What it tells programs."""
    result = run(request, "--json", *args)
    assert result.exit_code in (0, 1), result.output
    explained: dict[str, Any] = json.loads(result.stdout)
    return explained


class TestText:
    def test_it_tells_a_person_all_there_is(self) -> None:
        result = run(CHAT)
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert lines[0] == "POST /v1/chat/completions: would be sent"
        text = " ".join(result.stdout.split())
        for words in (
            "time 2026-01-02T03:04:05.000Z",
            "route openai-chat, a built-in path; speaks openai-chat",
            "access: api-key-auth (1250), rate-limiter (910), bedrock-proxy (770), response-cache (100)",
            "caller team-a, by key laptop",
            (
                "model claude, which is eu.anthropic.claude-sonnet-4-20250514-v1:0, in one piece (Converse); "
                "at most 9 tokens of output"
            ),
            "1. eu-central-1/eu.anthropic.claude-sonnet-4-20250514-v1:0: https://bedrock-runtime.eu-central-1",
            "region eu-central-1, surface converse, by authority of the usual AWS chain",
            "1 of 600 in 60 s (sliding)",
            "1 of 5 at a time (concurrent)",
            "in a month (fixed)",
            "shared by: consumer team-a",
            "assumed Take",
        ):
            assert words in text
        head = lines.index(
            "POST https://bedrock-runtime.eu-central-1.amazonaws.com"
            "/model/eu.anthropic.claude-sonnet-4-20250514-v1%3A0/converse"
        )
        assert lines[head + 1] == "host: bedrock-runtime.eu-central-1.amazonaws.com"
        assert "x-amz-date: 20260102T030405Z" in lines[head:]
        assert json.loads(lines[-1]) == {
            "messages": [{"role": "user", "content": [{"text": "hi"}]}],
            "inferenceConfig": {"maxTokens": 9},
        }
        assert KEY not in result.output

    def test_a_refusal_ends_with_1_and_says_who_and_why(self) -> None:
        result = run({**CHAT, "headers": {}})
        assert result.exit_code == 1
        assert "refused     KEY_MISSING (401 UNAUTHORIZED) by api-key-auth, in access: " in result.stdout
        assert "rate-limiter (910) [not reached]" in result.stdout
        assert "caller      not known" in result.stdout
        assert "\nHTTP/1.1 401 Unauthorized\n" in result.stdout

    def test_what_is_answered_here_ends_with_0(self) -> None:
        result = run({"path": "/v1/models", "headers": {"x-api-key": KEY}})
        assert result.exit_code == 0
        assert result.stdout.startswith("GET /v1/models: would be answered by the gateway\n")
        assert '"id":"claude"' in result.stdout

    def test_a_long_body_is_cut_for_people_only(self) -> None:
        words = "word " * 10_000
        request = {**CHAT, "body": {**BODY, "messages": [{"role": "user", "content": words}]}}
        result = run(request)
        assert len(result.stdout) < 20_000
        assert "characters in all; --json shows them)" in result.stdout
        assert words in told(request)["call"]["body"]

    def test_no_byte_steers_the_terminal(self) -> None:
        result = run({**CHAT, "path": "/v1/\x1b[31m"})
        assert result.exit_code == 2
        model = {**BODY, "model": "\x1b[31m\u202eclaude"}
        result = run({**CHAT, "body": model})
        assert "\x1b" not in result.stdout
        assert "\u202e" not in result.stdout

    def test_a_batch_says_how_many_calls_it_is(self) -> None:
        body = {"model": "amazon.titan-embed-text-v2:0", "input": ["a", "b", "c"]}
        result = run({**CHAT, "path": "/v1/embeddings", "body": body})
        assert result.exit_code == 0
        assert "of several calls the first one's" in result.stdout
        assert "(and 2 more calls like it, for the other inputs)" in result.stdout

    def test_keys_of_a_store_are_said_to_be_unknown(self, folder: Path) -> None:
        (folder / "gateway.yaml").write_text("gateway: {store: 'redis://127.0.0.1:1'}\n" + CONFIG)
        result = run({**CHAT, "headers": {"x-api-key": "another"}})
        assert result.exit_code == 1
        assert "Keys that live in the store are not known here" in result.stdout

    def test_a_service_and_a_drawn_order_are_told(self, folder: Path) -> None:
        (folder / "gateway.yaml").write_text(
            "services: [{name: llm, routes: [{name: team, paths: [/team]}]}]\n"
            "plugins:\n  - name: bedrock-proxy\n"
            "    config: {balance: weighted, targets: [{region: eu-west-1}, {region: us-west-2}]}\n"
        )
        result = run({"path": "/team/v1/chat/completions", "body": {**BODY, "model": "m"}})
        assert "service llm, route team; speaks openai-chat" in result.stdout
        assert "in an order drawn by weight" in result.stdout


class TestJson:
    def test_it_tells_programs_the_same(self) -> None:
        explained = told(CHAT)
        assert explained["ending"] == "sent"
        assert explained["caller"]["key_id"] == "laptop"
        assert re.fullmatch("[0-9a-f]{32}", explained["request_id"])
        assert explained["call"]["start"].startswith("POST https://")
        assert explained["answer"] is None

    def test_one_seed_tells_one_story(self) -> None:
        assert told(CHAT) == told(CHAT)
        assert told(CHAT)["request_id"] != told(CHAT, "--seed", "7")["request_id"]

    def test_the_callers_address_is_what_it_is_told_to_be(self, folder: Path) -> None:
        (folder / "gateway.yaml").write_text(
            "plugins:\n  - {name: rate-limiter, config: {minute: 5, by: address}}\n  - name: bedrock-proxy\n"
        )
        [limit] = told(CHAT, "--client", "192.0.2.9")["limits"]
        assert "192.0.2.9" in limit["bucket"]


class TestRequests:
    @pytest.mark.parametrize(
        "request_",
        [
            RAW,
            RAW.replace("\r\n", "\n"),
            RAW.replace("\r\n", "\n").replace(f"content-length: {len(json.dumps(BODY))}\n", ""),
            {**CHAT, "method": "POST"},
            {**CHAT, "body": json.dumps(BODY), "headers": {"x-api-key": [KEY], "Host": "a.test"}},
        ],
        ids=["raw", "from an editor", "without a length", "json", "json with a text"],
    )
    def test_each_form_is_the_same_request(self, request_: str | dict[str, Any]) -> None:
        assert told(request_)["call"] == told(CHAT)["call"]

    def test_a_file_is_read(self, folder: Path) -> None:
        (folder / "request.json").write_text(json.dumps(CHAT))
        result = CliRunner().invoke(explain_command, ["-c", "gateway.yaml", "--request", "request.json"])
        assert result.exit_code == 0

    def test_a_head_without_a_body_is_a_request(self) -> None:
        assert told(f"GET /v1/models HTTP/1.1\nhost: a\nx-api-key: {KEY}\n\n")["ending"] == "answered"

    def test_a_body_of_the_largest_size_is_taken(self) -> None:
        request = {**CHAT, "body": " " * 33_554_432}
        assert told(request)["refusal"]["cause"] == "BODY_MALFORMED"
        request = {**CHAT, "body": " " * 33_554_433}
        assert told(request)["refusal"]["cause"] == "BODY_TOO_LARGE"

    @pytest.mark.parametrize(
        ("request_", "words"),
        [
            ("", "expected a request"),
            ("hello", "expected a request"),
            ("\x16\x03\x01", "expected a request"),
            ("POST /v1/chat/completions\n\n", "expected a request"),
            (RAW[:-1], "ends before it is whole"),
            ("{", "expected a request as JSON"),
            ("{}", "missing required field `path`"),
            ('{"path": 1}', "Expected `str`"),
            ('{"path": "/", "query": ""}', "unknown field `query`"),
            ('{"path": "/a b"}', "a blank in the method or the path"),
            ('{"path": "/", "headers": {"a": "b\\r\\nc: d"}}', "a line end"),
        ],
    )
    def test_what_is_none_is_said_to_be_none(self, request_: str, words: str) -> None:
        result = run(request_)
        assert result.exit_code == 2
        assert words in " ".join(result.stderr.split())


class TestOptions:
    def test_credentials_are_a_placeholders(self) -> None:
        assert "Credential=AKIDEXAMPLE/" in json.dumps(told(CHAT)["call"])

    def test_or_the_environments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDMINE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "planted-token")
        call = json.dumps(told(CHAT, "--credentials", "environment")["call"], ensure_ascii=False)
        assert "Credential=AKIDMINE/" in call
        assert '"x-amz-security-token", "…blanked…"' in call
        assert "planted" not in call

    def test_or_an_api_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "ABSKplanted")
        call = json.dumps(told(CHAT, "--credentials", "environment")["call"], ensure_ascii=False)
        assert "Bearer …blanked…" in call
        assert "planted" not in call

    def test_or_none_which_is_refused(self) -> None:
        assert told(CHAT, "--credentials", "none")["refusal"]["cause"] == "CREDENTIALS_MISSING"

    @pytest.mark.parametrize(
        "args",
        [
            ("--credentials", "environment"),
            ("--at", "yesterday"),
            ("--at", "2026-01-02T03:04:05"),
            ("--at", "1969-12-31T23:59:59Z"),
            ("--seed", "x"),
        ],
    )
    def test_what_cannot_be_meant_ends_with_2(self, args: tuple[str, ...]) -> None:
        assert run(CHAT, *args).exit_code == 2

    @pytest.mark.parametrize("config", ["nowhere.yaml", "bad.yaml", "-"])
    def test_so_does_a_configuration_that_is_none(self, folder: Path, config: str) -> None:
        (folder / "bad.yaml").write_text("plugins: [{name: bedrock-prxy}]")
        result = run(CHAT, config=config)
        assert result.exit_code == 2
        assert result.stderr

    def test_nothing_is_found_where_there_is_nothing(self) -> None:
        result = CliRunner().invoke(explain_command, ["--request", "nowhere"])
        assert result.exit_code == 2
        assert "can't be read" in result.stderr
