"""The gateway in this process: what a bug of ours costs, in which order facts are brought, and what sessions
are told that come late. (What it does when all goes well stands in tests/e2e.)
"""

import contextlib
import socket
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.abc import TaskGroup

from stargate import journals
from stargate.asyncio_shell.gateway import Gateway
from stargate.asyncio_shell.sinks import Sinks
from stargate_core.config.load import examine
from stargate_core.config.plugin_configs import BUILT_IN as SCHEMAS
from stargate_core.gateway.plan import Plan
from stargate_core.gateway.session import Session
from stargate_core.limits.buckets import Algorithm, Bucket, Claim, Verdict
from stargate_core.messages import (
    Answered,
    Ask,
    ClientLost,
    ClientSent,
    CredentialsChanged,
    Draining,
    Health,
    HealthChanged,
    KeysChanged,
    SessionCommand,
    SessionEvent,
    Ticked,
    Unanswered,
    UpstreamSent,
    Withdraw,
)
from stargate_core.plugins.registry import BUILT_IN
from stargate_core.questions import ReadEntry, RefreshCredentials, Take
from support.asyncio_channels import settle, tcp_pair, until
from support.asyncio_scripted import Scripted, bare_gateway
from support.raw import Answer, Raw, chat, request
from support.simulator import running_simulator

pytestmark = pytest.mark.anyio
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

    def __init__(self, gateway: Gateway, nursery: TaskGroup) -> None:
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

        return await anyio.to_thread.run_sync(ask)


@contextlib.asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch, notes: list[str]) -> AsyncGenerator[Running]:
    """A gateway whose sessions have bugs, in front of a simulator."""
    monkeypatch.setattr(journals, "Session", Faulty)
    with running_simulator() as simulator:
        async with anyio.create_task_group() as nursery:
            examined = examine(
                CONFIGURATION.format(url=simulator.url), filename="f", environ={}, schemas=SCHEMAS
            )
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
                if not await anyio.to_thread.run_sync(struck.sock.recv, 1):
                    raise ConnectionResetError
            assert (await run.ask(healthy, "Still there?")).status == 200
            assert len(notes) == 1
            assert notes[0].startswith("error: bug: ")
            assert f"on {where}; one session was ended" in notes[0]
            # Its time has come and gone: a broken session is not asked for its deadline again and again.
            await anyio.sleep(1.2)
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


# --------------------------------------------------------------------------- what everybody is told, and when

OPEN = HealthChanged("t", Health.OPEN, 7)
KEYS = KeysChanged({"aa": b"{}"})
TAKE = Take((Claim(Bucket("calls:{a}", Algorithm.CONCURRENT, 1), 1),), "lease", 60_000_000)


async def test_who_is_here_and_who_comes_later_are_told_the_same() -> None:
    async with bare_gateway() as bare:
        early = Scripted()
        bare.join(early)
        facts = [CredentialsChanged("", None), CredentialsChanged("a", None), OPEN, KEYS]
        bare.gateway.change_credentials({"": None, "a": None})
        bare.gateway.broadcast(OPEN)
        bare.gateway.broadcast(KEYS)
        late = Scripted()
        bare.join(late)
        assert early.heard == late.heard == facts


async def test_who_comes_late_is_told_how_things_are_and_not_how_they_were() -> None:
    async with bare_gateway() as bare:
        bare.gateway.broadcast(OPEN)
        bare.gateway.broadcast(HealthChanged("u", Health.HALF_OPEN))
        bare.gateway.broadcast(HealthChanged("t", Health.CLOSED))
        bare.gateway.broadcast(KEYS)
        bare.gateway.broadcast(KeysChanged({}))
        late = Scripted()
        bare.join(late)
        # Whose health nothing was ever told of is healthy: a closed breaker need not be told either.
        assert late.heard == [HealthChanged("u", Health.HALF_OPEN), KeysChanged({})]


async def test_who_comes_while_it_drains_is_told_so() -> None:
    async with bare_gateway() as bare:
        await bare.gateway.drain(0.5)
        late = Scripted()
        bare.join(late)
        assert late.heard == [Draining(500_000_000)]


async def test_one_session_is_told_while_another_is_at_work() -> None:
    """What a fact leads to is done before the next is brought, in whose name ever it comes."""
    order: list[str] = []
    async with bare_gateway() as bare:

        def busy(event: SessionEvent) -> list[SessionCommand]:
            order.append(f"one hears {type(event).__name__}")
            if isinstance(event, Ticked):
                bare.gateway.broadcast(KEYS)
                order.append("one goes on")
            return []

        def idle(event: SessionEvent) -> list[SessionCommand]:
            order.append(f"other hears {type(event).__name__}")
            return []

        one = bare.join(Scripted(busy))
        bare.join(Scripted(idle))
        bare.gateway.tell(one, Ticked())
    assert order[:2] == ["one hears Ticked", "one goes on"]
    assert sorted(order[2:]) == ["one hears KeysChanged", "other hears KeysChanged"]


async def test_an_answer_comes_before_all_that_waits() -> None:
    """Else a session that has lost its client would withdraw a question that is answered already, and what
    was taken for it would be taken for nothing.
    """
    async with bare_gateway() as bare:

        def script(event: SessionEvent) -> list[SessionCommand]:
            match event:
                case Ticked():
                    bare.gateway.tell(asking, ClientLost())
                    return [Ask(4, TAKE)]
                case ClientLost():
                    return [Withdraw(4)]
                case _:
                    return []

        machine = Scripted(script)
        asking = bare.join(machine)
        bare.gateway.tell(asking, Ticked())
        assert machine.names() == ["Ticked", "Answered", "ClientLost"]
        answered = machine.heard[1]
        assert isinstance(answered, Answered)
        assert isinstance(answered.answer, Verdict)
        assert (answered.ticket, answered.answer.allowed) == (4, True)
        assert bare.gateway.statistics()["tickets"] == 0


async def test_an_answer_finds_whoever_asked_by_their_own_ticket() -> None:
    async with bare_gateway() as bare:
        machines = [Scripted(lambda event: [Ask(1, ReadEntry("k"))] if isinstance(event, Ticked) else [])]
        machines.append(Scripted(lambda event: [Ask(1, TAKE)] if isinstance(event, Ticked) else []))
        for machine in machines:
            bare.gateway.tell(bare.join(machine), Ticked())
        read, taken = (machine.heard[-1] for machine in machines)
        assert read == Answered(1, None)
        assert (taken.ticket, taken.answer.allowed) == (1, True)


async def test_an_answer_to_what_was_withdrawn_is_brought_to_nobody() -> None:
    async with bare_gateway() as bare:

        def script(event: SessionEvent) -> list[SessionCommand]:
            return [Ask(1, RefreshCredentials("", "AKID")), Withdraw(1)] if isinstance(event, Ticked) else []

        machine = Scripted(script)
        bare.gateway.tell(bare.join(machine), Ticked())
        await settle()
        assert machine.names() == ["Ticked"]
        bare.gateway.answer(1, True)
        bare.gateway.leave_unanswered(1, "late")
        assert machine.names() == ["Ticked"]


async def test_why_there_is_no_answer_is_told() -> None:
    async with bare_gateway() as bare:

        def script(event: SessionEvent) -> list[SessionCommand]:
            return [Ask(9, RefreshCredentials("", "AKID"))] if isinstance(event, Ticked) else []

        machine = Scripted(script)
        bare.gateway.tell(bare.join(machine), Ticked())
        bare.gateway.leave_unanswered(1, "the store is down")
        assert machine.heard[-1] == Unanswered(9, "the store is down")


async def test_what_a_broken_session_waits_for_is_taken_back() -> None:
    async with bare_gateway() as bare:

        def script(event: SessionEvent) -> list[SessionCommand]:
            if isinstance(event, ClientLost):
                raise KeyError("PLANTED")
            return [Ask(1, RefreshCredentials("", "AKID"))] if isinstance(event, Ticked) else []

        machine = Scripted(script)
        caller = bare.join(machine)
        bare.gateway.tell(caller, Ticked())
        assert bare.gateway.statistics()["tickets"] == 1
        bare.gateway.tell(caller, ClientLost())
        assert bare.gateway.statistics()["tickets"] == 0
        await settle()
        bare.gateway.broadcast(KEYS)
        assert machine.names() == ["Ticked", "ClientLost"], "it is told nothing any more"
        ((level, text),) = bare.notes
        assert (level, "PLANTED" in text) == ("error", False)
