"""`stargate explain` beside the running gateway: what it says would happen is what happens.

One configuration is explained and served; the simulator's ledger tells what has truly been sent to Bedrock,
the answers what callers were truly told.
"""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from stargate.cli.explain import explain_command
from support.gateway import KEY, MODELS, NARROW_KEY, RunningGateway, configuration, running_gateway
from support.simulator import RunningSimulator

CHAT: Final = {"model": "nova", "messages": [{"role": "user", "content": "Grüße"}], "max_tokens": 20}
CONVERSE: Final = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
TOKEN: Final = "planted-admin-token-0123456789"
NOT_REPEATED: Final = {"x-request-id", "x-amzn-requestid", "date"}


def request(path: str, body: Any = None, key: str = KEY, method: str | None = None) -> dict[str, Any]:
    written: dict[str, Any] = {"path": path, "headers": {"x-api-key": key, "host": "stargate.test"}}
    if body is not None:
        written["body"] = body
    return written if method is None else {**written, "method": method}


SENT: Final = {
    "chat": request("/v1/chat/completions", CHAT),
    "a streamed chat": request("/v1/chat/completions", {**CHAT, "stream": True}),
    "converse": request(f"/model/{MODELS['nova'].replace(':', '%3A')}/converse", CONVERSE),
    "a response": request("/v1/responses", {"model": "nova", "input": "hi", "stream": True}),
    "messages over Converse": request("/v1/messages", CHAT),
    "messages of Claude's": request("/v1/messages", {**CHAT, "model": "claude"}),
    "a count": request("/v1/messages/count_tokens", {"model": "claude", "messages": CHAT["messages"]}),
    "an embedding": request("/v1/embeddings", {"model": "amazon.titan-embed-text-v2:0", "input": "hi"}),
    "an alias of converse's": request("/model/claude/converse-stream", CONVERSE),
}
ANSWERED: Final = {
    "a list of models": request("/v1/models"),
    "one model": request("/v1/models/claude"),
    "health": request("/healthz"),
    "another method": request("/v1/chat/completions", method="DELETE"),
    "no key": request("/v1/chat/completions", CHAT, key="sk-wrong"),
    "a model it may not use": request("/v1/chat/completions", CHAT, key=NARROW_KEY),
    "no such path": request("/v3/chat", CHAT),
    "bad JSON": request("/v1/chat/completions", "{"),
    "a bad member": request("/v1/chat/completions", {**CHAT, "temperature": "hot"}),
    "a bad native path": request("/model/m/nonsense", CONVERSE),
}


@pytest.fixture(scope="module")
def config(simulator: RunningSimulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The session's gateway's configuration."""
    folder = tmp_path_factory.mktemp("explain")
    file = folder / "stargate.yaml"
    file.write_text(json.dumps(configuration(simulator.url, folder / "requests.jsonl")))
    return file


@pytest.fixture(scope="module")
def watched(simulator: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway with a token for its admin."""
    with running_gateway(simulator.url, gateway={"admin_token": TOKEN}) as running:
        yield running


def explained(config: Path, written: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """What the command says, and its exit status."""
    args = ["-c", str(config), "--request", "-", "--json"]
    result = CliRunner().invoke(explain_command, args, input=json.dumps(written))
    assert result.stderr == ""
    told: dict[str, Any] = json.loads(result.stdout)
    return told, result.exit_code


def really(gateway: RunningGateway, written: dict[str, Any]) -> tuple[int, dict[str, str], str]:
    """What the running gateway answers."""
    body = written.get("body")
    compact = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    data = None if body is None else (body if isinstance(body, str) else compact).encode()
    method = written.get("method") or ("GET" if data is None else "POST")
    headers = {"content-type": "application/json", **written["headers"]}
    sent = urllib.request.Request(gateway.url + written["path"], data, headers, method=method)
    try:
        with urllib.request.urlopen(sent, timeout=20) as answer:
            return answer.status, dict(answer.headers.items()), answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers.items()), error.read().decode()


@pytest.mark.parametrize("name", SENT)
def test_the_call_it_shows_is_the_call_that_is_sent(
    simulator: RunningSimulator, gateway: RunningGateway, config: Path, name: str
) -> None:
    told, status = explained(config, SENT[name])
    assert (told["ending"], status) == ("sent", 0)
    assert really(gateway, SENT[name])[0] == 200
    ledger = simulator.requests()[-1]
    call = told["call"]
    assert call["start"] == f"{ledger['method']} {simulator.url}{ledger['target']}"
    assert json.loads(call["body"]) == ledger["body"]
    assert len(call["body"].encode()) == ledger["body_bytes"]
    sent, shown = dict(ledger["headers"]), dict(call["headers"])
    assert shown.keys() == sent.keys()
    for volatile in ("authorization", "x-amz-date"):
        assert shown.pop(volatile)[:20] == sent.pop(volatile)[:20] or volatile == "x-amz-date"
    assert shown == sent


@pytest.mark.parametrize("name", ANSWERED)
def test_the_answer_it_shows_is_the_answer_that_is_given(
    simulator: RunningSimulator, gateway: RunningGateway, config: Path, name: str
) -> None:
    before = len(simulator.requests())
    told, exit_status = explained(config, ANSWERED[name])
    status, headers, body = really(gateway, ANSWERED[name])
    assert len(simulator.requests()) == before
    answer = told["answer"]
    assert answer["start"].split(" ")[1] == str(status)
    assert exit_status == (1 if status >= 400 else 0)
    assert (told["refusal"] is not None) == (status >= 400)
    assert answer["body"] == body
    shown = {name: value for name, value in answer["headers"] if name not in NOT_REPEATED}
    given = {name.lower(): value for name, value in headers.items()}
    given.pop("connection", None)  # urllib asks for it to be closed.
    assert shown == {name: value for name, value in given.items() if name not in NOT_REPEATED}


def test_nothing_is_sent_and_nothing_is_asked(
    simulator: RunningSimulator, config: Path, tmp_path: Path
) -> None:
    """Not of a store either: there is none where this one should be."""
    given = json.loads(config.read_text())
    given["gateway"]["store"] = "redis://127.0.0.1:1"
    given["plugins"].append({"name": "rate-limiter", "config": {"minute": 5}})
    file = tmp_path / "stargate.yaml"
    file.write_text(json.dumps(given))
    before = simulator.statistics()
    told, status = explained(file, SENT["chat"])
    assert (told["ending"], status) == ("sent", 0)
    assert [limit["remaining"] for limit in told["limits"]] == [4]
    after = simulator.statistics()
    # What asks for statistics is a connection itself.
    assert {**before, "connections": 0} == {**after, "connections": 0}
    assert told["call"]["body"]


def test_it_runs_as_a_command_of_its_own(config: Path) -> None:
    command = [sys.executable, "-m", "stargate", "explain", "-c", str(config), "--request", "-"]
    text = json.dumps(SENT["chat"]).encode()
    ended = subprocess.run(command, input=text, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.startswith(b"POST /v1/chat/completions: would be sent\n")


def test_no_key_and_no_credential_is_shown(config: Path) -> None:
    given = json.loads(config.read_text())
    text = json.dumps([explained(config, written)[0] for written in (SENT["chat"], ANSWERED["no key"])])
    [proxy] = [one["config"] for one in given["plugins"] if one["name"] == "bedrock-proxy"]
    assert proxy["credentials"]["access_key_id"] in text
    for secret in (KEY, NARROW_KEY, "sk-wrong", proxy["credentials"]["secret_access_key"]):
        assert secret not in text


class TestLive:
    """The header that explains a live request to its operator."""

    @pytest.mark.parametrize("name", ["chat", "a streamed chat", "an alias of converse's"])
    def test_what_was_explained_is_what_is_said_of_it(
        self, simulator: RunningSimulator, watched: RunningGateway, config: Path, name: str
    ) -> None:
        written = {**SENT[name], "headers": {**SENT[name]["headers"], "x-stargate-explain": TOKEN}}
        status, headers, _ = really(watched, written)
        assert status == 200
        said = json.loads(headers["x-stargate-explain"])
        told, _ = explained(config, SENT[name])
        [way] = told["ways"]
        assert (said["route"], said["dialect"], said["consumer"], said["key_id"], said["target"]) == (
            told["route"],
            told["dialect"],
            told["caller"]["consumer"],
            told["caller"]["key_id"],
            way["target"],
        )
        assert way["url"].startswith(said["endpoint"])
        assert said["request_id"] == headers["x-request-id"]
        assert TOKEN not in json.dumps(simulator.requests()[-1])

    def test_the_token_is_written_down_nowhere(self, watched: RunningGateway) -> None:
        for token in (TOKEN, TOKEN[:-1]):
            written = {**ANSWERED["no key"], "headers": {"x-stargate-explain": token}}
            status, headers, body = really(watched, written)
            assert status == 401
            assert ("x-stargate-explain" in headers) == (token == TOKEN)
            assert TOKEN[:-1] not in body + str(headers)
        assert TOKEN[:-1] not in json.dumps(watched.records()) + "".join(watched.told)
