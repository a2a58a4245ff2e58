"""The gateway in this process: what a bug of ours costs. (What it does when all goes well stands in
tests/e2e.)
"""

import contextlib
import socket
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio

from stargate.trio_shell import gateway as gateway_module
from stargate.trio_shell.gateway import Gateway
from stargate.trio_shell.sinks import Sinks
from stargate_core.config.load import examine
from stargate_core.config.plugin_configs import BUILT_IN as SCHEMAS
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.session import Session
from stargate_core.messages import ClientSent, SessionCommand, SessionEvent, UpstreamSent
from stargate_core.plugins.registry import BUILT_IN
from support.channels import tcp_pair, until
from support.raw import Answer, Raw, chat, request
from support.simulator import start_simulator

pytestmark = pytest.mark.trio
CONFIGURATION = """\
gateway: {{time_limits: {{client_idle: 1}}}}
plugins:
  - name: bedrock-proxy
    config:
      endpoint_url: {url}
      credentials: {{access_key_id: AKIDSIMULATOR, secret_access_key: simulated-secret-access-key}}
      models: {{claude: us.anthropic.claude-sonnet-4-20250514-v1:0}}
"""


class Faulty(Session):
    """A session with two bugs: one strikes when the client says so, one when Bedrock does."""

    __slots__ = ()

    def handle(self, now: int, event: SessionEvent) -> list[SessionCommand]:
        if isinstance(event, ClientSent) and b"strike at once" in event.data:
            raise AssertionError("a bug")
        if isinstance(event, UpstreamSent) and b"strike later" in event.data:
            raise KeyError("another bug")
        return super().handle(now, event)


class Running:
    """A gateway, clients to it, and what it has told."""

    def __init__(self, gateway: Gateway, nursery: trio.Nursery) -> None:
        self.gateway = gateway
        self._nursery = nursery

    def connect(self) -> Raw:
        """A client's connection."""
        ours, theirs = tcp_pair()
        theirs.settimeout(10)
        self._nursery.start_soon(self.gateway.serve, ours, "test")
        return Raw(theirs)

    async def ask(self, raw: Raw, text: str) -> Answer:
        """One question and its answer."""

        def ask() -> Answer:
            raw.send(request(body=chat(text)))
            return raw.answer()

        return await trio.to_thread.run_sync(ask)


@contextlib.asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch, notes: list[str]) -> AsyncGenerator[Running]:
    """A gateway whose sessions have bugs, in front of a simulator."""
    monkeypatch.setattr(gateway_module, "Session", Faulty)
    async with trio.open_nursery() as nursery:
        _, url = await start_simulator(nursery)
        examined = examine(CONFIGURATION.format(url=url), filename="f", environ={}, schemas=SCHEMAS)
        assert examined.config is not None, examined.problems
        sinks = Sinks(nursery)
        monkeypatch.setattr(sinks, "note", lambda level, text: notes.append(f"{level}: {text}"))

        def no_tls(_: Any) -> Any:
            raise AssertionError

        yield Running(Gateway(Plan(examined.config, BUILT_IN), nursery, sinks=sinks, tls=no_tls), nursery)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("text", "where"), [("strike at once", "ClientSent"), ("strike later", "UpstreamSent")]
)
async def test_a_bug_ends_one_session_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, text: str, where: str
) -> None:
    notes: list[str] = []
    async with running(monkeypatch, notes) as run:
        with contextlib.ExitStack() as stack:
            healthy, struck = run.connect(), run.connect()
            stack.callback(healthy.sock.close)
            stack.callback(struck.sock.close)
            assert (await run.ask(healthy, "Hello")).status == 200
            with pytest.raises(ConnectionError):
                struck.send(request(body=chat(text)))
                if not await trio.to_thread.run_sync(struck.sock.recv, 1):
                    raise ConnectionResetError
            assert (await run.ask(healthy, "Still there?")).status == 200
            assert len(notes) == 1
            assert notes[0].startswith("error: bug: ")
            assert f"on {where}; one session was ended" in notes[0]
            # Its time has come and gone: a broken session is not asked for its deadline again and again.
            await trio.sleep(1.2)
            left = run.gateway.statistics
            await until(lambda: not (left()["lent"] or left()["waiting"]))
        await until(lambda: not run.gateway.clients)
        assert len(notes) == 1


async def test_nothing_is_left_of_clients_that_have_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch, []) as run:
        for number in range(20):
            raw = run.connect()
            assert (await run.ask(raw, f"Number {number}")).status == 200
            if number % 2:
                raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            raw.sock.close()
        await until(lambda: not run.gateway.clients)
        assert run.gateway.statistics() == {
            "clients": 0, "tickets": 0, "idle": 1, "opening": 0, "lent": 0, "waiting": 0,
        }  # fmt: skip
