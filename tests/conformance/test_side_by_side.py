"""Many gateways in one process, on one loop and on several: each with keys, limits and an end of its own."""

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
import trio

from stargate.embedding.chat import Event, Finished, GatewayError, Text
from stargate.embedding.gateway import Embedded
from support.embedded import LOOPS, in_front_of, records
from support.simulator import RunningSimulator

HELLO: Final[Any] = [{"role": "user", "content": "Hello"}]
PATIENCE_SECONDS: Final = 30
SLOW: Final = "simulator.slow:ms.40:words.25"


def key_of(name: str) -> str:
    return f"sk-{name}-0123456789abcdef"


def a_gateway(upstream: str, folder: Path, name: str, **changes: Any) -> Embedded:
    """One that knows one consumer, of its own name."""
    consumer = {"username": name, "keyauth_credentials": [{"key": key_of(name)}]}
    known = {"consumers": [consumer], "proxy": {"allow_unlisted": True}}
    return in_front_of(upstream, folder / f"{name}.jsonl", **{**known, **changes})


async def asked(gateway: Embedded, name: str, model: str = "claude") -> list[Event]:
    return [event async for event in gateway.chat(model=model, messages=HELLO, key=key_of(name))]


async def refusal(gateway: Embedded, name: str) -> int:
    with pytest.raises(GatewayError) as caught:
        await asked(gateway, name)
    return caught.value.status


@pytest.mark.anyio
class TestOnOneLoop:
    @pytest.fixture(params=LOOPS)
    def anyio_backend(self, request: pytest.FixtureRequest) -> str:
        name: str = request.param
        return name

    async def test_each_has_keys_limits_and_a_cache_of_its_own(
        self, bedrock: RunningSimulator, tmp_path: Path
    ) -> None:
        limit: Any = {"name": "rate-limiter", "config": {"minute": 2, "by": "consumer"}}
        cache: Any = {"name": "response-cache", "config": {"cache_ttl": 60}}
        async with (
            a_gateway(bedrock.url, tmp_path, "one", plugins=[limit]) as one,
            a_gateway(bedrock.url, tmp_path, "two", plugins=[cache]) as two,
            a_gateway(bedrock.url, tmp_path, "three", plugins=[cache]) as three,
        ):
            assert [await refusal(one, "two"), await refusal(two, "one")] == [403, 403]
            bedrock.clear()
            for gateway, name in ((one, "one"), (two, "two"), (three, "three")):
                for _ in range(2):
                    assert isinstance((await asked(gateway, name))[-1], Finished)
            # Both of the first's, which has no cache, and the first of each other's.
            assert len(bedrock.requests()) == 4
            assert await refusal(one, "one") == 429
            assert isinstance((await asked(two, "two"))[-1], Finished)
        for name in ("one", "two", "three"):
            assert {record["consumer"] for record in records(tmp_path / f"{name}.jsonl", status=200)} == {
                name
            }

    async def test_one_ends_and_the_others_go_on(self, bedrock: RunningSimulator, tmp_path: Path) -> None:
        """Also where what it had running does not go on: the grace time is nothing."""
        told: dict[str, list[Event]] = {}
        begun = anyio.Event()
        broken: list[int | None] = []

        async def read(gateway: Embedded, name: str) -> None:
            events = told[name] = []
            async for event in gateway.chat(model=SLOW, messages=HELLO, key=key_of(name)):
                events.append(event)
                if all(told.get(each) for each in ("one", "two")):
                    begun.set()

        async def read_what_breaks(gateway: Embedded, name: str) -> None:
            try:
                await read(gateway, name)
            except GatewayError as error:
                broken.append(error.status)

        async with anyio.create_task_group() as group:
            async with a_gateway(bedrock.url, tmp_path, "one") as one:
                async with a_gateway(bedrock.url, tmp_path, "two", gateway={"drain_seconds": 0}) as two:
                    group.start_soon(read, one, "one")
                    group.start_soon(read_what_breaks, two, "two")
                    await begun.wait()
                assert broken == [503]
                assert isinstance((await asked(one, "one"))[-1], Finished)
                # It may begin again beside what runs.
                async with two:
                    assert isinstance((await asked(two, "two"))[-1], Finished)
        assert isinstance(told["one"][-1], Finished)
        assert sum(isinstance(event, Text) for event in told["one"]) >= 25


def test_gateways_on_loops_of_several_threads_know_nothing_of_each_other(
    bedrock: RunningSimulator, tmp_path: Path
) -> None:
    """One ends, and its loop with it, while the others are in the middle of a stream."""
    all_have_begun = threading.Barrier(4, timeout=PATIENCE_SECONDS)
    first_is_over = threading.Event()

    async def live(name: str, wait: Callable[[Callable[[], object]], Awaitable[object]]) -> list[Event]:
        limit: Any = {"name": "rate-limiter", "config": {"minute": 3, "by": "consumer"}}
        events: list[Event] = []
        async with a_gateway(bedrock.url, tmp_path, name, plugins=[limit]) as gateway:
            assert await refusal(gateway, "somebody") == 403
            model = "claude" if name == "first" else SLOW
            async for event in gateway.chat(model=model, messages=HELLO, key=key_of(name)):
                if not events:
                    await wait(all_have_begun.wait)
                    if name != "first":
                        await wait(functools.partial(first_is_over.wait, PATIENCE_SECONDS))
                events.append(event)
            for _ in range(2):
                assert isinstance((await asked(gateway, name))[-1], Finished)
            assert await refusal(gateway, name) == 429
        return events

    def on_asyncio(name: str) -> list[Event]:
        return asyncio.run(live(name, asyncio.to_thread))

    def on_trio(name: str) -> list[Event]:
        return trio.run(live, name, trio.to_thread.run_sync)

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(on_asyncio, "first")
        others = [pool.submit(on_trio, "a"), pool.submit(on_asyncio, "b"), pool.submit(on_trio, "c")]
        assert isinstance(first.result(PATIENCE_SECONDS)[-1], Finished)
        first_is_over.set()
        for other in others:
            assert isinstance(other.result(PATIENCE_SECONDS)[-1], Finished)
    for name in ("first", "a", "b", "c"):
        log = tmp_path / f"{name}.jsonl"
        assert {record["consumer"] for record in records(log, outcome="complete", status=200)} == {name}
