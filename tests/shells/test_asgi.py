"""The ASGI application, driven by hand: what becomes of a scope, a body, a client that leaves, a lifespan.

(On real servers: tests/conformance, and tests/e2e/test_asgi.py.)
"""

import asyncio
import json
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.lowlevel
import pytest
import trio

import stargate.asgi
from stargate.in_memory.call import Cut
from stargate.tls import BadTls
from stargate_core.config.problems import ConfigProblems
from stargate_core.gateway.session import Session
from support.embedded import LOOPS
from support.gateway import KEY, configuration
from support.upstream import converse_stream, running_upstream

pytestmark = pytest.mark.anyio

CHAT: Final = {"model": "claude", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
LONG: Final = 6_000


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def an_app(upstream: str = "http://127.0.0.1:1", **changes: Any) -> stargate.asgi.Gateway:
    return stargate.asgi.Gateway(configuration(upstream, "/dev/null", **changes))


class Server:
    """A server with one request. body: in these pieces; None: the client leaves there."""

    def __init__(self, method: str, raw: str, body: Sequence[bytes | None] = (), **scope: Any) -> None:
        self.scope: MutableMapping[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": "/nowhere",
            "raw_path": raw.encode(),
            "query_string": b"",
            "headers": [(b"host", b"h"), (b"authorization", f"Bearer {KEY}".encode())],
            "client": ("192.0.2.7", 1),
            **scope,
        }
        self.sent: list[MutableMapping[str, Any]] = []
        self.begun = anyio.Event()
        self.gone = anyio.Event()
        self.wait_to_take = False
        """Whether the server takes nothing of a body."""
        self.unread = list(body)

    async def receive(self) -> MutableMapping[str, Any]:
        await anyio.lowlevel.checkpoint()
        if not self.unread:
            await self.gone.wait()
            return {"type": "http.disconnect"}
        piece = self.unread.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(self.unread)}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)
        self.begun.set()
        if self.wait_to_take and message["type"] == "http.response.body":
            await anyio.sleep_forever()

    async def run(self, app: stargate.asgi.Gateway) -> None:
        await app(self.scope, self.receive, self.send)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


async def answered(app: stargate.asgi.Gateway, *request: Any, **scope: Any) -> Server:
    server = Server(*request, **{"body": [b""], **scope})
    await server.run(app)
    return server


class TestRequests:
    async def test_an_answer_is_started_sent_and_ended(self) -> None:
        async with an_app() as app:
            server = await answered(app, "GET", "/v1/models")
        assert server.status == 200
        assert json.loads(server.body)["object"] == "list"
        assert server.headers[b"content-length"] == str(len(server.body)).encode()
        assert not server.headers.keys() & {b"connection", b"transfer-encoding"}
        assert [message.get("more_body") for message in server.sent] == [None, True, False]

    async def test_the_path_is_taken_as_it_was_sent(self) -> None:
        async with an_app() as app:
            server = await answered(app, "GET", "/v1/models/arn%3Aaws%3Ax%2Fy", path="/v1/models/arn:aws:x/y")
            assert b"arn:aws:x/y" in server.body
            assert json.loads(server.body)["error"]["code"] == "model_not_found"

    async def test_a_server_that_keeps_no_raw_path_still_has_one(self) -> None:
        async with an_app() as app:
            server = await answered(app, "GET", "", path="/v1/models")
            assert server.status == 200

    @pytest.mark.parametrize(
        ("root", "raw", "status"),
        [
            ("/llm", "/llm/v1/models", 200),
            ("/llm/", "/llm/v1/models", 200),
            ("/a/b c", "/a/b%20c/v1/models", 200),
            ("/llm", "/%6clm/v1/models", 200),
            ("/llm", "/v1/models", 200),  # Some frameworks have taken it away already.
            ("/llm", "/llmore/v1/models", 404),
            ("/a/b", "/a%2Fb/v1/models", 404),
        ],
    )
    async def test_below_a_mount_the_path_begins_behind_it(self, root: str, raw: str, status: int) -> None:
        async with an_app() as app:
            assert (await answered(app, "GET", raw, root_path=root)).status == status

    async def test_an_answer_to_head_has_no_body(self) -> None:
        async with an_app() as app:
            server = await answered(app, "HEAD", "/healthz")
        assert (server.status, server.body) == (200, b"")

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [("BREW", "/v1/models", 501), ("GET", "/a b", 400), ("G T", "/", 400), ("GET", "", 400)],
    )
    async def test_what_is_no_good_request_is_refused(self, method: str, path: str, status: int) -> None:
        async with an_app() as app:
            server = await answered(app, method, path, path="")
        assert server.status == status
        assert json.loads(server.body)["error"]["message"]
        assert server.headers[b"x-should-retry"] == b"false"
        assert len(server.headers[b"x-request-id"]) == 32

    @pytest.mark.parametrize("value", [b"a\r\nx-api-key: b", b"a\nb", b"a\0b"])
    async def test_so_is_a_bad_header_in_the_apis_own_words(self, value: bytes) -> None:
        async with an_app() as app:
            headers = [(b"host", b"h"), (b"x", value)]
            server = await answered(app, "POST", "/v1/messages", headers=headers, body=[b"{}"])
        assert server.status == 400
        told = json.loads(server.body)
        assert told["error"]["type"] == "invalid_request_error"
        assert told["request_id"].encode() == server.headers[b"x-request-id"] == server.headers[b"request-id"]

    @pytest.mark.parametrize("told", [True, False])
    async def test_a_body_that_is_too_long_is_refused_in_the_apis_own_words(self, told: bool) -> None:
        headers = [(b"host", b"h"), *([(b"content-length", b"4000")] if told else [])]
        body = [b"x" * 1_000] * 4
        async with an_app(gateway={"max_body_bytes": 2_000}) as app:
            openai = await answered(app, "POST", "/v1/chat/completions", body=body, headers=headers)
            anthropic = await answered(app, "POST", "/v1/messages", body=body, headers=headers)
        assert (openai.status, anthropic.status) == (413, 413)
        assert json.loads(openai.body)["error"]["code"] == "PAYLOAD_TOO_LARGE"
        assert json.loads(anthropic.body)["type"] == "error"

    @pytest.mark.parametrize("version", ["1.1", "2"])
    async def test_what_is_too_long_is_read_to_its_end_on_http_2_alone(
        self, monkeypatch: pytest.MonkeyPatch, version: str
    ) -> None:
        """There a server may not live through bytes behind an answer."""
        monkeypatch.setattr(stargate.asgi, "LINGER_SECONDS", 0)
        body = [b"x" * 1_000] * 600
        async with an_app(gateway={"max_body_bytes": 2_000}) as app:
            server = Server("POST", "/v1/messages", body, http_version=version)
            await server.run(app)
        assert server.status == 413
        assert (server.unread == []) == (version == "2")

    async def test_a_body_in_pieces_arrives_whole(self) -> None:
        async with an_app() as app:
            server = await answered(app, "POST", "/v1/chat/completions", body=[b'{"mod', b'el": 1}'])
        assert (server.status, json.loads(server.body)["error"]["param"]) == (400, "model")

    async def test_a_client_that_leaves_within_its_body_gets_nothing(self) -> None:
        async with an_app() as app:
            server = await answered(app, "POST", "/v1/chat/completions", body=[b"{", None])
        assert server.sent == []

    async def test_the_log_has_the_clients_address(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        config = configuration("http://127.0.0.1:1", log)
        async with stargate.asgi.Gateway(config) as app:
            await answered(app, "GET", "/v1/models")
        assert json.loads(log.read_text())["client"] == "192.0.2.7"

    async def test_there_are_no_websockets(self) -> None:
        async with an_app() as app:
            server = await answered(app, "GET", "/", type="websocket")
        assert server.sent[0]["type"] == "websocket.close"

    async def test_an_unknown_scope_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="telnet"):
            await answered(an_app(), "GET", "/", type="telnet")


class TestFlow:
    async def test_a_server_that_takes_nothing_holds_up_bedrock(self) -> None:
        with running_upstream(lambda: converse_stream("x" * 10_000, LONG)) as upstream:
            async with an_app(upstream.url) as app, anyio.create_task_group() as group:
                server = Server("POST", "/v1/chat/completions", [json.dumps(CHAT).encode()])
                server.wait_to_take = True
                group.start_soon(server.run, app)
                await anyio.sleep(1)
                assert 0 < upstream.sent_bytes < LONG * 5_000
                assert len(server.body) < 1_000_000
                server.gone.set()

    async def test_a_stream_that_nobody_can_end_well_is_raised(self) -> None:
        """The grace time is over, and the client does not take the error: only a cut can tell it."""
        with running_upstream(lambda: converse_stream("x" * 10_000, LONG)) as upstream:
            limits = {"time_limits": {"client_stall": 0.3}}
            async with an_app(upstream.url, gateway=limits) as app:
                server = Server("POST", "/v1/chat/completions", [json.dumps(CHAT).encode()])
                taking = server.send

                async def slowly(message: MutableMapping[str, Any]) -> None:
                    await taking(message)
                    if message["type"] == "http.response.body":
                        await anyio.sleep(2)

                with pytest.raises(Cut):
                    await app(server.scope, server.receive, slowly)

    async def test_a_server_is_left_alone_with_the_end_of_an_answer(self) -> None:
        """It tells of a disconnect as soon as it has the last of it, and may have more to do then."""
        ended: list[bool] = []
        async with an_app() as app:
            server = Server("GET", "/v1/models", [b""])
            taking = server.send

            async def closing(message: MutableMapping[str, Any]) -> None:
                await taking(message)
                if message.get("more_body") is False:
                    server.gone.set()
                    await anyio.wait_all_tasks_blocked()
                    ended.append(True)

            await app(server.scope, server.receive, closing)
        assert ended == [True]

    @pytest.mark.parametrize(("path", "status"), [("/v1/chat/completions", 503), ("/v1/messages", 529)])
    async def test_who_comes_while_it_ends_is_told_so(self, path: str, status: int) -> None:
        """Here by a stream that nobody takes; it would have had 20 seconds."""
        late = Server("POST", path, [b"{}"])
        with running_upstream(lambda: converse_stream("x" * 10_000, LONG)) as upstream:
            async with anyio.create_task_group() as group:
                async with an_app(upstream.url, gateway={"drain_seconds": 20}) as app:
                    held = Server("POST", "/v1/chat/completions", [json.dumps(CHAT).encode()])
                    held.wait_to_take = True
                    group.start_soon(held.run, app)
                    await held.begun.wait()

                    async def come() -> None:
                        await late.run(app)
                        held.gone.set()

                    group.start_soon(come)
        assert late.status == status
        assert late.headers[b"x-should-retry"] == b"true"
        assert 1 <= int(late.headers[b"retry-after"]) <= 60
        assert late.headers[b"content-length"] == str(len(late.body)).encode()
        assert len(late.headers[b"x-request-id"]) == 32
        assert "shutting down" in json.loads(late.body)["error"]["message"]

    async def test_who_is_struck_by_a_bug_of_ours_is_told_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def strike(*_: Any) -> Any:
            raise AssertionError("a bug")

        monkeypatch.setattr(Session, "handle", strike)
        async with an_app() as app:
            server = await answered(app, "GET", "/v1/models")
        assert (server.status, json.loads(server.body)["error"]["code"]) == (500, "INTERNAL_ERROR")


class TestLifespan:
    async def test_it_starts_and_ends_the_gateway(self) -> None:
        app = an_app()
        started, ending = anyio.Event(), anyio.Event()
        told: list[str] = []
        asked = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> MutableMapping[str, Any]:
            kind = next(asked)
            if kind == "lifespan.shutdown":
                await ending.wait()
            return {"type": kind}

        async def send(message: MutableMapping[str, Any]) -> None:
            told.append(message["type"])
            started.set()

        async with anyio.create_task_group() as group:
            group.start_soon(app, {"type": "lifespan"}, receive, send)
            await started.wait()
            assert (await answered(app, "GET", "/healthz")).status == 200
            ending.set()
        assert told == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    async def test_a_failure_is_told_the_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STARGATE_CONFIG", "/nowhere/stargate.yaml")
        told: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "lifespan.startup"}

        async def send(message: MutableMapping[str, Any]) -> None:
            told.append(message)

        await stargate.asgi.app({"type": "lifespan"}, receive, send)
        assert [message["type"] for message in told] == ["lifespan.startup.failed"]
        assert "/nowhere/stargate.yaml" in told[0]["message"]

    def test_a_bad_configuration_is_told_where_it_is_written(self) -> None:
        with pytest.raises(ConfigProblems):
            stargate.asgi.Gateway({"gatewya": {}})

    async def test_the_module_has_one_that_the_environment_configures(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        file = tmp_path / "stargate.yaml"
        file.write_text(json.dumps(configuration("http://127.0.0.1:1", "/dev/null")))
        monkeypatch.setenv("STARGATE_CONFIG", str(file))
        async with stargate.asgi.app as app:
            assert b'"nova"' in (await answered(app, "GET", "/v1/models")).body


async def test_what_it_cannot_start_with_everybody_who_waits_is_told() -> None:
    app = an_app(gateway={"upstream_tls": {"ca": "/nowhere.pem"}})
    for _ in range(2):
        with pytest.raises(BadTls, match="upstream_tls"):
            await answered(app, "GET", "/healthz")


@pytest.mark.parametrize("loop", LOOPS)
def test_without_a_lifespan_it_starts_by_itself_on_each_loop(loop: str) -> None:
    """And many first requests start it once."""
    app = an_app()
    statuses: list[int] = []

    async def one() -> None:
        statuses.append((await answered(app, "GET", "/healthz")).status)

    async def several() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(one)
        await one()

    for _ in range(2):
        if loop == "trio":
            trio.run(several)
        else:
            asyncio.run(several())
    assert statuses == [200] * 12
