"""A whole gateway in virtual time, on both loops: every time limit strikes when it is due, by itself and in
the caller's own words.

The caller and Bedrock are connections in memory, so nothing is on its way while time stands still: what takes
ten minutes here takes as long as its bytes. What the limits are is the core's to know, and tested there; here
stands that a shell keeps its time for each of them: sessions', the pool's, a client's that takes nothing, the
grace time's.
"""

import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, Final

import anyio
import pytest
from anyio.abc import TaskGroup
from trio.testing import MockClock as TrioClock

from stargate.embedding.gateway import Embedded
from stargate.in_memory.call import Answer, Cut, call, compose
from stargate.in_memory.channel import MemoryChannel
from support.bedrock import LAST_CHUNK, chunk, converse_story, event, stream_head
from support.embedded import LOOPS, embedded
from support.raw import chat
from support.virtual_loop import MockClock, VirtualLoop

pytestmark = pytest.mark.anyio

LIMITS: Final = {"connect": 3, "pool": 5, "first_token": 60, "idle": 40, "total": 600, "client_idle": 75}
PATH: Final = b"/v1/chat/completions"
DELTA: Final = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "word "}})
Bedrock = Callable[[MemoryChannel], Awaitable[None]]


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A loop whose clock jumps to what is due next as soon as nothing else happens."""
    if request.param == "trio":
        return "trio", {"clock": TrioClock(autojump_threshold=0)}
    clock = MockClock(autojump=True)
    monkeypatch.setattr(VirtualLoop, "clock", clock)
    monkeypatch.setattr("stargate.asyncio_shell.ticker.time", SimpleNamespace(monotonic_ns=clock.now_ns))
    return "asyncio", {"loop_factory": VirtualLoop}


class ToBedrock(MemoryChannel):
    """A connection in memory in the place of one on a socket, which a task of the gateway's waits for."""

    async def wait_over(self, *_: float) -> None:
        """Wait until it has ended."""
        over = anyio.Event()
        self.when_over(over.set)
        try:
            await over.wait()
        finally:
            self.dispose()


class World:
    """A gateway in the test's hands on both sides, and its time."""

    def __init__(self, group: TaskGroup, bedrock: Bedrock) -> None:
        self.connections: list[MemoryChannel] = []
        """To Bedrock, as they were opened."""
        self.connects_after: float = 0
        """Seconds until a connection to Bedrock stands."""
        self._begun = anyio.current_time()
        self._group = group
        self._bedrock = bedrock

    @property
    def now(self) -> float:
        """Seconds since it began."""
        return round(anyio.current_time() - self._begun, 1)

    async def connect(self, *_: Any) -> MemoryChannel:
        """What the shells' `connect` would be."""
        await anyio.sleep(self.connects_after)
        channel = ToBedrock()
        self.connections.append(channel)
        self._group.start_soon(self._talk, channel)
        return channel

    async def _talk(self, channel: MemoryChannel) -> None:
        try:
            await self._bedrock(channel)
        except ConnectionResetError:
            pass  # The gateway has dropped it.


@pytest.fixture(name="world_of")
def _world_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[TaskGroup, Bedrock], World]:
    def world_of(group: TaskGroup, bedrock: Bedrock) -> World:
        world = World(group, bedrock)
        for shell in ("asyncio_shell", "trio_shell"):
            monkeypatch.setattr(f"stargate.{shell}.gateway.connect", world.connect)
        return world

    return world_of


WorldOf = Callable[[TaskGroup, Bedrock], World]


def a_gateway(**settings: Any) -> Embedded:
    limits = {**LIMITS, **settings.pop("time_limits", {})}
    proxy = {
        "endpoint_url": "http://bedrock.test",
        "credentials": {"access_key_id": "AKID", "secret_access_key": "secret"},
        "models": {"claude": "anthropic.claude-3-haiku-20240307-v1:0"},
        "retry": {"count": 0},
    }
    return embedded(
        {
            "gateway": {"time_limits": limits, "keepalive_seconds": 500, **settings},
            "plugins": [{"name": "bedrock-proxy", "config": proxy}],
        }
    )


async def ask(gateway: Embedded, *, stream: bool = True) -> Answer:
    """A call, once its head is there."""
    headers = [(b"content-type", b"application/json")]
    return await call(gateway, compose(b"POST", PATH, headers, chat("Hello", stream=stream)))


def code_in(body: bytes) -> str:
    """The error that a body is, or that a stream ends in."""
    last = body.rpartition(b"data: ")[2]
    code: str = json.loads(last)["error"]["code"]
    return code


def saying(*pieces: bytes, then: float | None = None, every: float = 0) -> Bedrock:
    """A Bedrock that hears a call and says these, `every` so many seconds. then: it says nothing for so long
    and ends well; None: it says nothing for ever.
    """

    async def say(channel: MemoryChannel) -> None:
        await channel.receive()
        channel.send(stream_head())
        for piece in pieces:
            await anyio.sleep(every)
            if channel.closed:
                return
            channel.send(chunk(piece))
        if then is not None:
            await anyio.sleep(then)
            channel.send(chunk(converse_story().end) + LAST_CHUNK)
        await channel.receive()

    return say


START: Final = converse_story().beginning


class TestBedrockIsSlow:
    async def test_a_connection_that_does_not_stand_in_time(self, world_of: WorldOf) -> None:
        async with anyio.create_task_group() as group:
            world = world_of(group, saying())
            world.connects_after = 1_000
            async with a_gateway() as gateway:
                answer = await ask(gateway)
                assert (world.now, answer.status) == (3.0, 504)
                assert code_in(await answer.read()) == "CONNECT_TIMEOUT"

    async def test_a_pool_that_has_none_free_in_time(self, world_of: WorldOf) -> None:
        async with anyio.create_task_group() as group:
            world = world_of(group, saying(START, DELTA))
            async with a_gateway(pool={"max_connections_per_endpoint": 1}) as gateway:
                first = await ask(gateway)
                begun = world.now
                second = await ask(gateway)
                assert (world.now - begun, second.status) == (5.0, 504)
                assert code_in(await second.read()) == "POOL_TIMEOUT"
                first.leave()

    @pytest.mark.parametrize(
        ("stream", "due", "code"), [(True, 60.0, "FIRST_TOKEN_TIMEOUT"), (False, 600.0, "TOTAL_TIMEOUT")]
    )
    async def test_no_answer_in_time(self, world_of: WorldOf, stream: bool, due: float, code: str) -> None:
        async def silent(channel: MemoryChannel) -> None:
            while await channel.receive():
                pass

        async with anyio.create_task_group() as group:
            world = world_of(group, silent)
            async with a_gateway() as gateway:
                answer = await ask(gateway, stream=stream)
                assert (world.now, answer.status) == (due, 504)
                assert code_in(await answer.read()) == code
            assert [channel.closed for channel in world.connections] == [True]

    async def test_silence_in_the_middle_of_a_stream(self, world_of: WorldOf) -> None:
        async with anyio.create_task_group() as group:
            world = world_of(group, saying(START, DELTA, DELTA, every=30))
            async with a_gateway() as gateway:
                answer = await ask(gateway)
                assert (world.now, answer.status) == (60.0, 200)
                body = await answer.read()
                assert (world.now, code_in(body)) == (130.0, "IDLE_TIMEOUT")
                assert b"[DONE]" not in body
            assert world.connections[0].closed

    async def test_a_stream_that_goes_on_and_on(self, world_of: WorldOf) -> None:
        async with anyio.create_task_group() as group:
            world = world_of(group, saying(START, *[DELTA] * 1_000, every=7))
            async with a_gateway() as gateway:
                body = await (await ask(gateway)).read()
                assert (world.now, code_in(body)) == (600.0, "TOTAL_TIMEOUT")
                assert body.count(b'"word "') == 600 // 7 - 1
                assert b"[DONE]" not in body

    async def test_what_comes_within_every_limit_comes(self, world_of: WorldOf) -> None:
        async with anyio.create_task_group() as group:
            world = world_of(group, saying(START + DELTA, *[DELTA] * 13, every=39, then=39))
            async with a_gateway() as gateway:
                body = await (await ask(gateway)).read()
                assert world.now == 39.0 * 15
                assert b"[DONE]" in body


class TestSilence:
    async def test_it_is_broken_again_and_again(self, world_of: WorldOf) -> None:
        heard: list[float] = []
        async with anyio.create_task_group() as group:
            world = world_of(group, saying(START, DELTA, every=20, then=35))
            async with a_gateway(keepalive_seconds=15) as gateway:
                answer = await ask(gateway)
                assert (world.now, answer.status) == (15.0, 200)
                body = b""
                while piece := await answer.receive():
                    if b": keep-alive" in piece:
                        heard.append(world.now)
                    body += piece
        # It counts from what came last: the first event at 20, the second at 40.
        assert heard == [15.0, 35.0, 55.0, 70.0]
        assert body.endswith(b"data: [DONE]\n\n")


class TestTheClientIsSlow:
    async def test_one_that_takes_nothing_is_cut_and_so_is_its_call(self, world_of: WorldOf) -> None:
        async with anyio.create_task_group() as group:
            much = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "x" * 10_000}})
            world = world_of(group, saying(START, *[much] * 10))
            async with a_gateway(time_limits={"client_stall": 25}) as gateway:
                answer = await ask(gateway)
                await anyio.sleep(24.5)
                assert not world.connections[0].closed
                await anyio.sleep(1)
                assert world.connections[0].closed
                with pytest.raises(Cut):
                    await answer.read()

    async def test_one_that_says_nothing_is_not_kept(self, world_of: WorldOf) -> None:
        async with anyio.create_task_group() as group:
            world = world_of(group, saying())
            async with a_gateway() as gateway:
                channel = gateway.connect()
                assert (await channel.receive(), world.now) == (b"", 75.0)

    async def test_one_that_does_not_end_its_request_is_told_so(self, world_of: WorldOf) -> None:
        async with anyio.create_task_group() as group:
            world = world_of(group, saying())
            async with a_gateway() as gateway:
                channel = gateway.connect()
                channel.send(b"POST /v1/chat/completions HTTP/1.1\r\n")
                assert (await channel.receive()).startswith(b"HTTP/1.1 408 ")
                assert world.now == 10.0


class TestLeaving:
    """The time is taken when the caller has its answer: what else a gateway does at its end may need threads,
    which do not live in virtual time.
    """

    async def left_while_reading(self, gateway: Embedded, world: World) -> tuple[bytes, float]:
        """What a stream says that has begun before its gateway is left, and when that was said."""
        said: list[tuple[bytes, float]] = []

        async def read(answer: Answer) -> None:
            body = await answer.read()
            said.append((body, world.now))

        async with anyio.create_task_group() as group:
            async with gateway:
                group.start_soon(read, await ask(gateway))
            assert len(said) == 1, "it was not waited for"
        return said[0]

    async def test_what_runs_may_end(self, world_of: WorldOf) -> None:
        async with anyio.create_task_group() as group:
            world = world_of(group, saying(START, *[DELTA] * 20, then=1, every=1))
            body, told_at = await self.left_while_reading(a_gateway(drain_seconds=30), world)
        assert told_at == 22.0
        assert body.endswith(b"data: [DONE]\n\n")

    async def test_but_not_for_ever(self, world_of: WorldOf) -> None:
        async with anyio.create_task_group() as group:
            world = world_of(group, saying(START + DELTA, *[DELTA] * 500, every=1))
            body, told_at = await self.left_while_reading(a_gateway(drain_seconds=30), world)
            assert world.connections[0].closed
        assert told_at == 31.0
        assert code_in(body) == "SERVICE_UNAVAILABLE"
        assert b"[DONE]" not in body
