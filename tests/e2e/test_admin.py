"""The admin listener of a real `stargate serve` with two workers, on both shells: its API, its gateway, and
what it does with those who may not ask.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from stargate.journals import NAME
from stargate_core.journal.format import MAGIC
from support.gateway import KEY, RunningGateway, eventually, on_linux, running_gateway
from support.raw import connected, request
from support.simulator import RunningSimulator

pytestmark = on_linux

SHELLS: Final = {"trio": ("--shell", "trio"), "asyncio": ("--shell", "asyncio")}
TOKEN: Final = "planted-admin-token-0123456789"
TELLS: Final = r"(info|error|warning): "
HERE: Final = {"Host": "localhost"}
CHAT: Final = {"model": "claude", "messages": [{"role": "user", "content": "Hello"}]}


class Told(msgspec.Struct):
    """An answer of the admin listener's."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """What an error says."""
        said: str = self.value["error"]["message"]
        return said


class Admin:
    """An admin listener. url: where it is."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, *, method: str = "GET", body: Any = None, **headers: str) -> Told:
        """One request on a connection of its own."""
        data = b"" if body is None else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        with connected(self.url) as raw:
            host = sent.pop("host", self.url.partition("://")[2] or "localhost")
            lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
            length = f"content-length: {len(data)}\r\n" if data else ""
            raw.send(f"{method} {path} HTTP/1.1\r\nhost: {host}\r\n{lines}{length}\r\n".encode() + data)
            answer = raw.answer(method=method)
        assert answer.whole
        return Told(answer.status, answer.headers, answer.body)

    def status(self) -> Any:
        """The state."""
        told = self.ask("/api/status")
        assert told.status == 200
        return told.value


class Behind(msgspec.Struct):
    """A gateway and its admin listener."""

    gateway: RunningGateway
    admin: Admin
    journals: Path

    @property
    def workers(self) -> set[int]:
        """Their processes."""
        pid = self.gateway.process.pid
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def admin_of(gateway: RunningGateway) -> Admin:
    """The listener that it has told of."""
    (line,) = [line for line in gateway.told if line.startswith("stargate: admin listens on ")]
    return Admin(next(word for word in line.split() if word.startswith("http")))


@pytest.fixture(scope="module", params=list(SHELLS))
def behind(request: pytest.FixtureRequest, simulator: RunningSimulator) -> Generator[Behind]:
    with tempfile.TemporaryDirectory(prefix="stargate-test-") as folder:
        settings = {
            "admin_listen": "127.0.0.1:0",
            "per_worker_limits": True,
            "workers": 2,
            "journal": {"directory": folder, "on": ["all"]},
        }
        options = SHELLS[request.param]
        with running_gateway(simulator.url, gateway=settings, tells=TELLS, options=options) as gateway:
            yield Behind(gateway, admin_of(gateway), Path(folder))


def asked(behind: Behind, **members: Any) -> str:
    """Ask the gateway something; the request's id."""
    with connected(behind.gateway.url) as raw:
        raw.send(request(body=json.dumps({**CHAT, **members}).encode()))
        return raw.answer().headers["x-request-id"]


class TestStatus:
    def test_any_worker_tells_of_all(self, behind: Behind) -> None:
        before = {pid: behind.admin.status() for pid in range(4)}[3]
        for _ in range(6):
            asked(behind)
        # Whoever answers: connections are taken by either worker.
        for _ in range(8):
            status = behind.admin.status()
            assert {worker["pid"] for worker in status["workers"]} == behind.workers
            assert [worker["place"] for worker in status["workers"]] == [1, 2]
            assert all(worker["alive"] for worker in status["workers"])
            assert status["generation"] == 1
            assert (status["open"], status["reload_error"]) == (False, None)
            assert "bedrock-proxy" in status["plugins"]
        found = eventually(lambda: {row["name"]: row for row in behind.admin.status()["consumers"]})
        assert found["team-a"]["requests"] >= 1
        assert found["team-a"]["input_tokens"] > 0
        assert len(before["series"]["requests"]) == 120

    def test_it_comes_each_second_as_events(self, behind: Behind) -> None:
        with connected(behind.admin.url) as raw:
            raw.send(request("GET", "/api/stream", headers=HERE))
            for _ in range(2):
                head, _, data = raw.read_until(b"}\n\n").partition(b"data: ")
                assert b"event: status\n" in head
                assert json.loads(data.partition(b"\n")[0])["version"]

    def test_a_refused_reload_is_told_by_every_worker_and_by_those_that_come_later(
        self, behind: Behind
    ) -> None:
        good = behind.gateway.file.read_text()
        behind.gateway.file.write_text("gateway: {listne: 1}")
        behind.gateway.process.send_signal(signal.SIGHUP)

        def everybody_knows() -> bool:
            told = [behind.admin.status()["reload_error"] for _ in range(8)]
            return all(lines and "did you mean listen?" in lines[0] for lines in told)

        eventually(everybody_knows)
        victim = min(behind.workers)
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: victim not in behind.workers and len(behind.workers) == 2)
        eventually(everybody_knows)
        eventually(lambda: {worker["pid"] for worker in behind.admin.status()["workers"]} == behind.workers)
        behind.gateway.file.write_text(good)
        behind.gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: all(behind.admin.status()["reload_error"] is None for _ in range(8)))
        assert behind.admin.status()["generation"] == 2


class TestRequests:
    def test_the_newest_come_first_and_can_be_chosen(self, behind: Behind) -> None:
        ids = [asked(behind) for _ in range(3)]
        failed = asked(behind, model="simulator.error:ValidationException")

        def listed(query: str) -> list[str]:
            told = behind.admin.ask(f"/api/requests?{query}").value["requests"]
            times = [one["time"] for one in told]
            assert times == sorted(times, reverse=True)
            return [one["request_id"] for one in told]

        # A record is there a moment after its answer.
        eventually(lambda: set(listed("limit=4")) == {failed, *ids})
        assert set(listed("consumer=team-a&model=claude&limit=3")) == set(ids)
        newest = listed("limit=4")
        assert listed(f"before={newest[1]}&limit=2") == newest[2:]
        assert behind.admin.ask("/api/requests?consumer=nobody").value == {"requests": []}

    @pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=9999", "outcome=bad", "what=1"])
    def test_what_cannot_be_meant_is_said(self, behind: Behind, query: str) -> None:
        told = behind.admin.ask(f"/api/requests?{query}")
        assert (told.status, told.problem.startswith("expected ")) == (400, True)

    def test_one_is_explained_and_its_journal_is_at_hand(self, behind: Behind) -> None:
        request_id = asked(behind)
        path = f"/api/requests/{request_id}"
        eventually(lambda: behind.admin.ask(path).value.get("journal"))  # It is written in a thread.
        told = behind.admin.ask(path).value
        assert told["request"]["request_id"] == request_id
        words = {part["title"]: part["text"] for part in told["explanation"]}
        assert words["How it ended"].startswith("Answered 200, to its end.")
        assert "team-a" in words["Who asked"]
        journal = behind.admin.ask(f"/api/journals/{told['journal']}")
        assert journal.status == 200
        assert journal.body == (behind.journals / told["journal"]).read_bytes()
        assert journal.body.startswith(MAGIC)
        assert "attachment" in journal.headers["content-disposition"]

    def test_one_that_nobody_knows_is_not_found(self, behind: Behind) -> None:
        assert behind.admin.ask("/api/requests/0123").status == 404

    @pytest.mark.parametrize(
        "name",
        ["..%2f..%2fetc%2fpasswd", "../../etc/passwd", "link.session.journal", "x", "", "%2fetc%2fpasswd"],
    )
    def test_nothing_else_of_the_disk_is(self, behind: Behind, name: str) -> None:
        assert behind.admin.ask(f"/api/journals/{name}").status == 404

    def test_no_link_is_followed(self, behind: Behind) -> None:
        name = "20260102T030405Z-abc.session.journal"
        assert NAME.fullmatch(name)
        (behind.journals / name).symlink_to("/etc/passwd")
        assert behind.admin.ask(f"/api/journals/{name}").status == 404


class TestExplain:
    def test_it_tells_what_the_running_configuration_would_do(self, behind: Behind) -> None:
        wanted = {"path": "/v1/chat/completions", "headers": {"x-api-key": KEY}, "body": CHAT}
        told = behind.admin.ask("/api/explain", method="POST", body=wanted).value
        assert told["ending"] == "sent"
        assert told["lines"][0] == "POST /v1/chat/completions: would be sent"
        assert told["explanation"]["caller"]["consumer"] == "team-a"
        assert KEY not in json.dumps(told)

    @pytest.mark.parametrize("body", [[], {"pat": 1}, {"path": "/\r\nx: y"}, "x"])
    def test_what_is_no_request_is_said(self, behind: Behind, body: Any) -> None:
        told = behind.admin.ask("/api/explain", method="POST", body=body)
        assert (told.status, "as JSON" in told.problem) == (400, True)

    def test_a_large_one_is_refused_before_it_comes(self, behind: Behind) -> None:
        with connected(behind.admin.url) as raw:
            raw.send(b"POST /api/explain HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999\r\n\r\n")
            assert raw.answer().status == 413
            assert raw.rest() == b""


class TestPlayground:
    def test_the_gateway_answers_as_it_does_elsewhere(self, behind: Behind) -> None:
        told = behind.admin.ask("/v1/chat/completions", method="POST", body=CHAT, x_api_key=KEY)
        assert told.value["choices"][0]["message"]["content"]
        assert behind.gateway.record(request_id=told.headers["x-request-id"])["client"] == "127.0.0.1"
        refused = behind.admin.ask("/v1/chat/completions", method="POST", body=CHAT, x_api_key="wrong")
        assert (refused.status, refused.value["error"]["code"]) == (403, "invalid_api_key")
        assert behind.admin.ask("/v1/models", x_api_key=KEY).value["object"] == "list"
        assert behind.admin.ask("/readyz").status == 200

    def test_a_stream_comes_as_it_is_made(self, behind: Behind) -> None:
        body = json.dumps({**CHAT, "stream": True, "model": "simulator.stall-mid-stream"}).encode()
        with connected(behind.admin.url) as raw:
            raw.send(request(body=body, headers=HERE))
            assert b"data: {" in raw.read_until(b"data: ")

    @pytest.mark.parametrize("stream", [True, False])
    def test_who_leaves_cancels_the_call(
        self, behind: Behind, simulator: RunningSimulator, stream: bool
    ) -> None:
        model = f"simulator.stall-before-headers:input-tokens.{20_000 + stream}"
        body = json.dumps({**CHAT, "stream": stream, "model": model}).encode()

        def outcomes() -> set[str]:
            return {call["outcome"] for call in simulator.requests() if call["model_id"] == model}

        with connected(behind.admin.url) as raw:
            raw.send(request(body=body, headers=HERE))
            eventually(lambda: "running" in outcomes())
        eventually(lambda: outcomes() and "running" not in outcomes())
        assert outcomes() == {"cancelled"}


class TestRoutes:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/healthz", 200), ("HEAD", "/healthz", 200), ("HEAD", "/api/status", 200),
            ("POST", "/healthz", 405), ("DELETE", "/api/status", 405), ("GET", "/api/explain", 405),
            ("HEAD", "/api/stream", 405), ("GET", "/api/nothing", 404), ("GET", "/nowhere", 404),
            ("GET", "/page/%2e%2e%2fpart.py", 404), ("GET", "/page/../part.py", 404), ("GET", "/page/", 404),
            ("GET", "/api", 404), ("GET", "//api/status", 404),
        ],
    )  # fmt: skip
    def test_each_has_its_answer(self, behind: Behind, method: str, path: str, status: int) -> None:
        told = behind.admin.ask(path, method=method)
        assert told.status == status
        assert told.headers["x-content-type-options"] == "nosniff"
        if status >= 400 and method != "HEAD":
            assert told.problem
        if status == 405:
            assert told.headers["allow"]

    def test_a_strangers_page_may_not_ask(self, behind: Behind) -> None:
        assert behind.admin.ask("/api/status", host="evil.example:8001").status == 403
        assert behind.admin.ask("/api/status", origin="http://evil.example").status == 403
        told = behind.admin.ask(
            "/v1/chat/completions", method="POST", body=CHAT, x_api_key=KEY, origin="http://evil.example"
        )
        assert told.status == 403


@pytest.fixture(scope="module", name="locked")
def _locked(simulator: RunningSimulator) -> Generator[Admin]:
    with tempfile.TemporaryDirectory(prefix="stargate-") as folder:
        path = f"unix:{folder}/admin.sock"
        settings = {"admin_listen": path, "admin_token": TOKEN}
        with running_gateway(simulator.url, gateway=settings):
            yield Admin(path)


class TestToken:
    @pytest.mark.parametrize(
        "path", ["/api/status", "/api/stream", "/api/requests", "/api/nothing", "/v1/models"]
    )
    def test_nothing_is_told_without_it(self, locked: Admin, path: str) -> None:
        for headers in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"x_api_key": KEY}):
            told = locked.ask(path, **headers)
            assert (told.status, told.headers["www-authenticate"]) == (401, 'Bearer realm="stargate admin"')

    def test_with_it_everything_is(self, locked: Admin) -> None:
        known = {"authorization": f"Bearer {TOKEN}"}
        assert locked.ask("/api/status", **known).value["workers"]
        # The token is the admin's: the gateway is shown the caller's key alone.
        assert locked.ask("/v1/models", **known).status == 401
        assert locked.ask("/v1/models", x_api_key=KEY, **known).status == 200

    def test_health_is_no_secret(self, locked: Admin) -> None:
        assert locked.ask("/healthz").value == {"status": "ok"}


def test_an_address_that_is_taken_is_told_before_anything_starts(simulator: RunningSimulator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, tempfile.TemporaryDirectory() as folder:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        file = Path(folder, "f.yaml")
        file.write_text(json.dumps({"gateway": {"listen": ["127.0.0.1:0"], "admin_listen": address}}))
        command = [sys.executable, "-m", "stargate", "serve", "-c", str(file)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert f"cannot listen on {address}: Address already in use" in ended.stderr
    assert "listening" not in ended.stderr
