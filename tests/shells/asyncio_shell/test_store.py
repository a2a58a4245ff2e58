"""The stores on asyncio: a real redis-server that is stopped, hangs, is slow, forgets, refuses, or wants TLS
and passwords; each time an answer or a failure within the bound, and recovery by itself.

The clock is the test's: it stands still while real bytes travel, and is moved by hand. So what is said of
time here is exact, however slow the machine is.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable
from typing import Any

import anyio
import pytest

from stargate.asyncio_shell.store import LocalStore, RedisStore
from stargate.asyncio_shell.ticker import Ticker, now_ns
from stargate_core.config.gateway_block import Store
from stargate_core.gateway.redis_calls import given_back
from stargate_core.limits.buckets import Verdict
from stargate_core.questions import Entry, ReadEntry, ReadKeys, StoreAnswer, WriteEntry
from stargate_core.secret import Secret
from support.asyncio_channels import running_reactor, settle
from support.redis import RunningRedis, running_redis
from support.redis_peer import a_take
from support.redis_stand_ins import Delay, scripted_server, slow_relay
from support.tls import Authority
from support.virtual_loop import MockClock

pytestmark = pytest.mark.anyio

BOUND_SECONDS = 0.050
GRACE_SECONDS = 1e-6
"""The clock is a float, and the ticker allows for that: see there."""
CUSHION_SECONDS = 0.01
"""Real time, for real bytes to arrive. What takes longer is tried again, as in life, with more patience."""


class User:
    """Who asks; notes what it is told, and when."""

    def __init__(self) -> None:
        self.answers: dict[int, StoreAnswer] = {}
        self.failures: dict[int, str] = {}
        self.notes: list[tuple[str, str]] = []
        self.told_at: dict[int, float] = {}
        self.on_told: Callable[[int], None] = lambda _: None
        self._news = asyncio.Event()

    def store_answered(self, ticket: int, answer: StoreAnswer) -> None:
        assert ticket not in self.told_at
        self.answers[ticket] = answer
        self._told(ticket)

    def store_failed(self, ticket: int, why: str) -> None:
        assert ticket not in self.told_at
        self.failures[ticket] = why
        self._told(ticket)

    def note(self, level: str, text: str) -> None:
        self.notes.append((level, text))
        self._happened()

    @property
    def levels(self) -> list[str]:
        return [level for level, _ in self.notes]

    def _told(self, ticket: int) -> None:
        self.told_at[ticket] = anyio.current_time()
        self._happened()
        self.on_told(ticket)

    def _happened(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for real bytes, while the clock stands still."""
        while not condition():
            await self._news.wait()


class Scene:
    """A store, its user, and the clock."""

    def __init__(self, store: RedisStore, user: User, clock: MockClock) -> None:
        self.store = store
        self.user = user
        self.clock = clock
        self.tickets = 0

    def ask(self, question: Any = None) -> int:
        """Ask, a Take if nothing else is named."""
        self.tickets += 1
        self.store.ask(self.tickets, a_take(f"l{self.tickets}") if question is None else question)
        return self.tickets

    async def answer(self, question: Any = None) -> StoreAnswer:
        """Ask, and wait for the answer."""
        ticket = self.ask(question)
        await self.user.until(lambda: ticket in self.user.told_at)
        assert ticket in self.user.answers, self.user.failures.get(ticket)
        return self.user.answers[ticket]

    async def allowed(self) -> Verdict:
        """A Take that is allowed."""
        verdict = await self.answer()
        assert isinstance(verdict, Verdict)
        assert verdict.allowed
        return verdict

    async def failure(self) -> str:
        """Ask, and let time pass until the failure, which must come within the bound."""
        ticket, asked_at = self.ask(), anyio.current_time()
        if ticket not in self.user.told_at:
            self.clock.jump(BOUND_SECONDS + GRACE_SECONDS)
            await self.user.until(lambda: ticket in self.user.told_at)
        assert self.user.told_at[ticket] - asked_at <= BOUND_SECONDS + 2 * GRACE_SECONDS
        return self.user.failures[ticket]

    def fails_at_once(self) -> str:
        """Ask while it is down: the failure comes from within the asking."""
        return self.user.failures[self.ask()]

    async def go_on(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Let time pass until this is so."""
        for number in range(int(seconds / 0.04)):
            if condition():
                return
            self.clock.jump(0.04)
            await settle(CUSHION_SECONDS * (1 + number // 100))
        assert condition(), "in spite of all the time it had"

    async def recovered(self) -> None:
        """Up again by itself, told once, and of use."""
        await self.go_on(lambda: self.store.up)
        assert self.user.levels == ["warning", "info"]
        await self.allowed()


@contextlib.asynccontextmanager
async def a_scene(
    url: str, clock: MockClock, *, waits: bool = True, **settings: Any
) -> AsyncGenerator[Scene]:
    """A store on this server. waits: until it is up."""
    configured = Store(Secret(url), **settings)
    server = configured.server
    assert server is not None
    user, ticker = User(), Ticker()
    async with running_reactor() as reactor, anyio.create_task_group() as nursery:
        nursery.start_soon(ticker.run)
        store = RedisStore(user, ticker, reactor, nursery, server=server, prefix=configured.prefix)
        scene = Scene(store, user, clock)
        if waits:
            await scene.go_on(lambda: store.up)
            # A machine under load may miss the first greeting; what the test counts begins here.
            user.notes.clear()
        yield scene
        nursery.cancel_scope.cancel()


class TestServing:
    async def test_questions_are_answered_and_statements_heard(self, mock_clock: MockClock) -> None:
        with running_redis() as server:
            async with a_scene(server.url, mock_clock) as scene:
                first = await scene.allowed()
                second = await scene.allowed()
                assert [level.remaining for level in first.levels] == [9, 4]
                assert [level.remaining for level in second.levels] == [8, 3]
                scene.store.tell(given_back(a_take("l1"), first))
                third = await scene.allowed()
                assert [level.remaining for level in third.levels] == [8, 3]
                scene.store.tell(WriteEntry("k", b"value", 60_000_000))
                assert await scene.answer(ReadEntry("k")) == Entry(b"value", 0)
                assert await scene.answer(ReadKeys("")) is None
                assert scene.user.notes == []

    async def test_many_at_once(self, mock_clock: MockClock) -> None:
        with running_redis() as server:
            async with a_scene(server.url, mock_clock) as scene:
                for _ in range(500):
                    scene.ask(ReadEntry("k"))
                await scene.user.until(lambda: len(scene.user.told_at) == 500)
                assert list(scene.user.answers) == list(range(1, 501))

    async def test_what_is_asked_from_within_an_answer_is_served_after_it(
        self, mock_clock: MockClock
    ) -> None:
        with running_redis() as server:
            async with a_scene(server.url, mock_clock) as scene:
                scene.store.tell(WriteEntry("b", b"B", 60_000_000))

                def ask_on(ticket: int) -> None:
                    if ticket <= 3:
                        scene.store.ask(ticket + 10, ReadEntry("b"))

                scene.user.on_told = ask_on
                for ticket in (1, 2, 3):
                    scene.store.ask(ticket, ReadEntry("a"))
                await scene.user.until(lambda: len(scene.user.told_at) == 6)
                assert scene.user.answers == {
                    **dict.fromkeys((1, 2, 3)),
                    **dict.fromkeys((11, 12, 13), Entry(b"B", 0)),
                }

    async def test_what_is_withdrawn_is_given_back(self, mock_clock: MockClock) -> None:
        with running_redis() as server:
            async with a_scene(server.url, mock_clock) as scene:
                scene.store.withdraw(scene.ask())
                await scene.answer(ReadEntry("behind"))
                await scene.answer(ReadEntry("behind the settlement"))
                verdict = await scene.allowed()
                assert [level.remaining for level in verdict.levels] == [9, 4]
                assert sorted(scene.user.told_at) == [2, 3, 4]

    async def test_a_database_and_a_prefix(self, mock_clock: MockClock) -> None:
        with running_redis() as server:
            async with a_scene(f"{server.url}/3", mock_clock, prefix="mine:") as scene:
                await scene.allowed()
            with server.client(db=3) as client:
                assert sorted(client.keys()) == [
                    b"mine:calls:{team-a}",
                    b"mine:link",
                    b"mine:requests:{team-a}",
                ]


class TestTrouble:
    async def test_stopped_and_started_again_empty(self, mock_clock: MockClock) -> None:
        with running_redis() as server:
            async with a_scene(server.url, mock_clock) as scene:
                await scene.allowed()
                server.stop()
                await scene.user.until(lambda: bool(scene.user.notes))
                assert "the store is down" in scene.fails_at_once()
                await scene.go_on(lambda: anyio.current_time() > 3)
                assert "the store is down" in scene.fails_at_once()
                assert scene.user.levels == ["warning"]
                server.start()
                await scene.recovered()

    async def test_never_there(self, mock_clock: MockClock) -> None:
        with running_redis() as server:
            server.stop()
            async with a_scene(server.url, mock_clock, waits=False) as scene:
                await scene.failure()
                await scene.go_on(lambda: anyio.current_time() > 4)
                assert "Connection refused" in scene.fails_at_once()
                assert scene.user.levels == ["warning"]
                server.start()
                await scene.recovered()

    async def test_hanging(self, mock_clock: MockClock) -> None:
        with running_redis() as server:
            async with a_scene(server.url, mock_clock) as scene:
                server.pause()
                for _ in range(3):
                    assert scene.user.notes == []
                    assert await scene.failure() == "the store has not answered within 50 ms"
                assert "3 calls in a row" in scene.fails_at_once()
                # The kernel still takes connections for it; that is no reason to say that it is up.
                await scene.go_on(lambda: anyio.current_time() > 4)
                assert scene.user.levels == ["warning"]
                server.resume()
                await scene.recovered()

    async def test_slow(self, mock_clock: MockClock) -> None:
        delay = Delay()
        with running_redis() as server:
            async with (
                slow_relay(server.port, delay) as port,
                a_scene(f"redis://127.0.0.1:{port}", mock_clock) as scene,
            ):
                await scene.allowed()
                delay.seconds = 0.070
                for _ in range(3):
                    assert await scene.failure() == "the store has not answered within 50 ms"
                assert "3 calls in a row" in scene.fails_at_once()
                await scene.go_on(lambda: anyio.current_time() > 4)
                assert scene.user.levels == ["warning"]
                delay.seconds = 0
                await scene.recovered()

    async def test_late_once(self, mock_clock: MockClock) -> None:
        delay = Delay()
        with running_redis() as server:
            async with (
                slow_relay(server.port, delay) as port,
                a_scene(f"redis://127.0.0.1:{port}", mock_clock) as scene,
            ):
                delay.seconds = 0.070
                await scene.failure()
                delay.seconds = 0
                mock_clock.jump(0.03)
                # The late verdict is nobody's, and what it took has been given back.
                await scene.answer(ReadEntry("behind"))
                await scene.answer(ReadEntry("behind the settlement"))
                verdict = await scene.allowed()
                assert [level.remaining for level in verdict.levels] == [9, 4]
                assert scene.user.notes == []

    async def test_forgotten_scripts(self, mock_clock: MockClock) -> None:
        with running_redis() as server:
            async with a_scene(server.url, mock_clock) as scene:
                for _ in range(2):
                    with server.client() as client:
                        client.script_flush()
                    await scene.allowed()
                assert scene.user.notes == []

    @pytest.mark.parametrize("code", [b"LOADING", b"READONLY", b"MOVED 1 127.0.0.1:1"])
    async def test_not_the_one_to_ask(self, mock_clock: MockClock, code: bytes) -> None:
        trouble = False

        def reply(words: list[bytes]) -> bytes:
            if trouble:
                return b"-%b\r\n" % code
            return VERDICT if words[0] == b"EVALSHA" else b"+OK\r\n"

        async with (
            scripted_server(reply) as port,
            a_scene(f"redis://127.0.0.1:{port}", mock_clock) as scene,
        ):
            await scene.allowed()
            trouble = True
            ticket = scene.ask()
            await scene.user.until(lambda: ticket in scene.user.told_at)
            assert scene.user.failures[ticket] == f"the store has answered -{code.decode().split()[0]}"
            assert "the store is down" in scene.fails_at_once()
            await scene.go_on(lambda: anyio.current_time() > 4)
            assert scene.user.levels == ["warning"]
            trouble = False
            await scene.recovered()

    async def test_a_full_one_answers_still(self, mock_clock: MockClock) -> None:
        with running_redis() as server:
            async with a_scene(server.url, mock_clock) as scene:
                with server.client() as client:
                    client.config_set("maxmemory", 1)
                ticket = scene.ask()
                await scene.user.until(lambda: ticket in scene.user.told_at)
                assert scene.user.failures == {ticket: "the store has answered -OOM"}
                assert await scene.answer(ReadEntry("k")) is None
                with server.client() as client:
                    client.config_set("maxmemory", 0)
                await scene.allowed()
                text = "the store refuses what it is asked: it answers -OOM"
                assert scene.user.notes == [("warning", text)]

    async def test_a_replica_is_not_asked(self, mock_clock: MockClock) -> None:
        with running_redis() as server:
            async with a_scene(server.url, mock_clock) as scene:
                with server.client() as client:
                    client.replicaof("127.0.0.1", 1)
                ticket = scene.ask()
                await scene.user.until(lambda: ticket in scene.user.told_at)
                await scene.go_on(lambda: anyio.current_time() > 3)
                assert scene.user.notes == [("warning", "the store is down: it answers -READONLY")]
                with server.client() as client:
                    client.replicaof("NO", "ONE")
                await scene.recovered()

    async def test_something_else_than_redis(self, mock_clock: MockClock) -> None:
        async with (
            scripted_server(lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n") as port,
            a_scene(f"redis://127.0.0.1:{port}", mock_clock, waits=False) as scene,
        ):
            await scene.go_on(lambda: anyio.current_time() > 3)
            assert scene.user.notes == [("warning", "the store is down: the reply breaks the protocol")]
            scene.fails_at_once()

    async def test_what_was_told_meanwhile_is_said_afterwards(self, mock_clock: MockClock) -> None:
        with running_redis() as server:
            async with a_scene(server.url, mock_clock) as scene:
                first = await scene.allowed()
                delayed = given_back(a_take("l1"), first)
                with server.client() as client:
                    client.client_kill_filter(_type="normal", skipme=True)
                await scene.user.until(lambda: bool(scene.user.notes))
                scene.store.tell(delayed)
                scene.store.drain(1_000_000_000)
                await scene.go_on(lambda: scene.store.up)
                verdict = await scene.allowed()
                assert [level.remaining for level in verdict.levels] == [9, 4]


VERDICT = b"*8\r\n:1\r\n:1800000000000000\r\n:-1\r\n:0\r\n:9\r\n:60000000\r\n:4\r\n:0\r\n"


class TestSecurity:
    async def test_tls(self, mock_clock: MockClock) -> None:
        authority = Authority()
        with running_redis(tls=_server_context(authority)) as server:
            async with a_scene(server.url, mock_clock, ca=authority.text, timeout_ms=5000) as scene:
                await scene.allowed()

    async def test_tls_of_a_stranger(self, mock_clock: MockClock) -> None:
        with running_redis(tls=_server_context(Authority())) as server:
            async with a_scene(server.url, mock_clock, waits=False) as scene:
                await scene.go_on(lambda: bool(scene.user.notes))
                assert "certificate verify failed" in scene.user.notes[0][1]
                scene.fails_at_once()
            async with a_scene(f"{server.url}?verify=false", mock_clock, timeout_ms=5000) as scene:
                await scene.allowed()

    async def test_a_user_and_a_password(self, mock_clock: MockClock) -> None:
        with running_redis() as server:
            _add_user(server)
            async with a_scene(f"redis://me:p%40ss@127.0.0.1:{server.port}", mock_clock) as scene:
                await scene.allowed()
            async with a_scene(
                f"redis://me:hunter2@127.0.0.1:{server.port}", mock_clock, waits=False
            ) as scene:
                await scene.go_on(lambda: bool(scene.user.notes))
                text = scene.user.notes[0][1]
                assert text == "the store is down: it answers -WRONGPASS to HELLO"

    async def test_a_password_for_all(self, mock_clock: MockClock) -> None:
        with running_redis("--requirepass", "pw") as server:
            for protocol in (2, 3):
                url = f"redis://:pw@127.0.0.1:{server.port}?protocol={protocol}"
                async with a_scene(url, mock_clock) as scene:
                    await scene.allowed()
            async with a_scene(server.url, mock_clock, waits=False) as scene:
                await scene.go_on(lambda: bool(scene.user.notes))
                assert scene.user.notes == [("warning", "the store is down: it answers -NOAUTH to HELLO")]


def _server_context(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure(context, "localhost")
    return context


def _add_user(server: RunningRedis) -> None:
    """One that may do what a gateway does, with keys of its prefix."""
    with server.client() as client:
        allowed = ["~stargate:*", "+@read", "+@write", "+@scripting", "+@connection", "-@dangerous"]
        client.execute_command("ACL", "SETUSER", "me", "on", ">p@ss", *allowed)
        client.execute_command("ACL", "SETUSER", "me", "+time")


class TestLocal:
    async def test_answers_come_from_within_the_asking(self, autojump_clock: MockClock) -> None:
        async with anyio.create_task_group() as nursery:
            ticker, user = Ticker(), User()
            nursery.start_soon(ticker.run)
            store = LocalStore(user, ticker, wall_ns=now_ns)
            store.ask(1, a_take("a"))
            first = user.answers[1]
            assert isinstance(first, Verdict)
            store.tell(given_back(a_take("a"), first))
            store.ask(2, a_take("b"))
            second = user.answers[2]
            assert isinstance(second, Verdict)
            assert [level.remaining for level in second.levels] == [9, 4]
            store.withdraw(2)
            store.tell(WriteEntry("k", b"v", 60_000_000))
            store.ask(3, ReadEntry("k"))
            assert user.answers[3] == Entry(b"v", 0)
            assert store.statistics()["buckets"] == 2
            await anyio.sleep(3600)
            assert store.statistics()["buckets"] == 0, "the ticker has let it sweep"
            nursery.cancel_scope.cancel()
