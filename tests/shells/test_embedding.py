"""The gateway as a library, without anybody behind it: what it is made from, how it is entered and left."""

import asyncio
import gc
import importlib
import signal
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec
import pytest

from stargate import journals
from stargate.embedding.configuration import compiled
from stargate.in_memory.call import Cut, NotRunning
from stargate.plugins import installed, schemas
from stargate.shell_common.listening import CannotListen
from stargate.tls import BadTls
from stargate_core.config.load import load
from stargate_core.config.problems import ConfigProblems
from stargate_core.config.schema import Config
from stargate_core.gateway.session import Session
from stargate_core.messages import ClientSent, SessionCommand, SessionEvent
from support.embedded import LOOPS, embedded

pytestmark = pytest.mark.anyio

MAPPING: Final[dict[str, Any]] = {
    "gateway": {"listen": ["127.0.0.1:0"], "drain_seconds": 1},
    "consumers": [
        {"username": "a", "keyauth_credentials": [{"key": "${STARGATE_TEST_KEY:-sk-a-0123456789abcdef}"}]}
    ],
    "plugins": [
        {"name": "api-key-auth"},
        {
            "name": "bedrock-proxy",
            "config": {
                "endpoint_url": "http://127.0.0.1:1",
                "models": {"claude": "anthropic.claude-3-haiku-20240307-v1:0"},
                "credentials": {"access_key_id": "AKID", "secret_access_key": "secret"},
            },
        },
    ],
}
TEXT: Final = msgspec.json.encode(MAPPING).decode()


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def own(config: Config) -> dict[str, Any]:
    """What a test can compare of a configuration."""
    return {"listen": config.gateway.listen, "plugins": config.plugins}


class TestConfiguration:
    def test_a_text_a_path_a_mapping_and_a_config_say_the_same(self, tmp_path: Path) -> None:
        file = tmp_path / "stargate.yaml"
        file.write_text(TEXT)
        config = load(TEXT, filename="f", environ={}, schemas=schemas(installed()))
        kinds: list[Any] = [TEXT, file, MAPPING, config]
        said = [own(compiled(kind, ()).plan.config) for kind in kinds]
        assert said == [own(config)] * 4

    def test_variables_are_the_environments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STARGATE_TEST_KEY", "sk-other")
        config = compiled(MAPPING, ()).plan.config
        assert config.consumers[0].keyauth_credentials[0].key is not None
        assert config.consumers[0].keyauth_credentials[0].key.reveal() == "sk-other"

    def test_without_one_it_is_what_serve_has_without_a_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STARGATE_LISTEN", "127.0.0.1:4321")
        config = compiled(None, ()).plan.config
        assert [listener.address for listener in config.gateway.listen] == ["127.0.0.1:4321"]
        assert [plugin.name for plugin in config.plugins] == ["bedrock-proxy", "request-logger"]

    def test_what_is_wrong_is_told_as_stargate_check_tells_it(self) -> None:
        with pytest.raises(ConfigProblems, match=r"gateway\.drain_secnods.*drain_seconds"):
            compiled({"gateway": {"drain_secnods": 1}}, ())

    def test_an_open_gateway_is_warned_of(self) -> None:
        assert any("api-key-auth" in warning for warning in compiled({}, ()).warnings)
        assert compiled(MAPPING, ()).warnings == ()

    def test_plugins_of_the_programs_own_are_known(self) -> None:
        class Mine:
            NAME = "mine"
            PRIORITY = 1
            SCOPES = installed()["request-logger"].SCOPES

            class CONFIG(msgspec.Struct):
                word: str = ""

            def __init__(self, config: Any) -> None:
                self.config = config

        plugins: Any = [Mine]
        config: Any = {"plugins": [{"name": "mine", "config": {"word": "w"}}]}
        made: Any = compiled(config, plugins).plan.config.plugins[0].config
        assert made.word == "w"
        with pytest.raises(ConfigProblems, match="mine"):
            compiled(config, ())


class TestLife:
    async def test_only_a_running_gateway_can_be_called(self) -> None:
        gateway = embedded(MAPPING)
        with pytest.raises(NotRunning):
            await gateway.ask("GET", "/healthz")
        async with gateway:
            assert (await gateway.ask("GET", "/healthz")).status == 200
            with pytest.raises(RuntimeError, match="already"):
                await gateway.__aenter__()
        with pytest.raises(NotRunning):
            await gateway.ask("GET", "/healthz")

    async def test_it_can_be_entered_again(self) -> None:
        gateway = embedded(MAPPING)
        for _ in range(2):
            async with gateway:
                assert (await gateway.ask("GET", "/healthz")).status == 200

    async def test_an_error_of_the_programs_own_stays_what_it_is(self) -> None:
        with pytest.raises(LookupError, match="mine"):
            async with embedded(MAPPING):
                raise LookupError("mine")

    async def test_a_program_that_is_cancelled_does_not_wait_for_the_grace_time(self) -> None:
        patient = {**MAPPING, "gateway": {**MAPPING["gateway"], "drain_seconds": 60}}
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                async with embedded(patient) as gateway:
                    gateway.connect().send(b"POST /v1")  # A request that never ends.
                    await anyio.wait_all_tasks_blocked()
                    group.cancel_scope.cancel()

    async def test_nothing_of_the_process_is_changed(self) -> None:
        before = (gc.get_threshold(), gc.get_freeze_count(), signal.getsignal(signal.SIGTERM))
        async with embedded(MAPPING):
            assert (gc.get_threshold(), gc.get_freeze_count(), signal.getsignal(signal.SIGTERM)) == before
        assert (gc.get_threshold(), gc.get_freeze_count(), signal.getsignal(signal.SIGTERM)) == before

    async def test_who_calls_while_it_is_left_gets_no_answer(self) -> None:
        async with anyio.create_task_group() as group:
            async with embedded(MAPPING) as gateway:
                gateway.connect().send(b"POST /v1")
                await anyio.wait_all_tasks_blocked()

                async def late() -> None:
                    await anyio.sleep(0.1)
                    with pytest.raises(Cut):
                        await gateway.ask("GET", "/healthz")

                group.start_soon(late)

    async def test_there_is_no_limit_on_connections_in_memory(self) -> None:
        async with embedded({**MAPPING, "gateway": {"max_connections": 1}}) as gateway:
            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(gateway.ask, "GET", "/healthz")


class Faulty(Session):
    """A session with a bug, which strikes when the client says so."""

    __slots__ = ()

    def handle(self, now: int, event: SessionEvent) -> list[SessionCommand]:
        if isinstance(event, ClientSent) and b"strike" in event.data:
            raise AssertionError("a bug")
        return super().handle(now, event)


class TestBugs:
    async def test_a_bug_of_ours_cuts_one_call_and_nothing_else(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(journals, "Session", Faulty)
        async with embedded(MAPPING) as gateway:
            with pytest.raises(Cut):
                await gateway.ask("GET", "/strike")
            assert (await gateway.ask("GET", "/healthz")).status == 200


class TestServing:
    async def test_it_listens_where_the_configuration_says_until_it_is_left(self) -> None:
        gateway = embedded(MAPPING, serve=True)
        async with gateway:
            (url,) = gateway.urls
            host, _, port = url.removeprefix("http://").partition(":")
            async with await anyio.connect_tcp(host, int(port)) as stream:
                await stream.send(b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n")
                assert (await stream.receive()).startswith(b"HTTP/1.1 200 OK\r\n")
        assert gateway.urls == []
        with pytest.raises(OSError, match=r"."):
            await anyio.connect_tcp(host, int(port))

    async def test_it_does_not_listen_unless_it_is_told_to(self) -> None:
        async with embedded(MAPPING) as gateway:
            assert gateway.urls == []

    async def test_an_address_that_cannot_be_had_is_raised_as_it_is(self) -> None:
        taken = {**MAPPING, "gateway": {"listen": ["192.0.2.1:1"]}}
        with pytest.raises(CannotListen, match=r"192\.0\.2\.1"):
            async with embedded(taken, serve=True):
                pass

    async def test_so_are_bad_certificates(self) -> None:
        listen = [{"address": "127.0.0.1:0", "tls": {"cert": "/nowhere.pem", "key": "/nowhere.pem"}}]
        with pytest.raises(BadTls):
            async with embedded({**MAPPING, "gateway": {"listen": listen}}, serve=True):
                pass


def test_asyncio_means_asyncio_inside_the_package() -> None:
    ours = importlib.import_module("stargate.asyncio")
    assert ours is not asyncio
    assert vars(ours)["asyncio"] is asyncio
