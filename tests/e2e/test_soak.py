"""Ten thousand requests, and one client in twenty leaves at a random moment: nothing leaks, and nobody else
notices.

What clients do is drawn from a seed, so that a run that has failed can be had again.
"""

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import pytest

from support.gateway import RunningGateway, eventually, on_linux, running_gateway
from support.raw import chat, connected, converse, deltas, request
from support.redis import needs_redis, running_redis
from support.simulator import RunningSimulator, running_simulator

SEED: Final = 20_261_123
REQUESTS: Final = 10_000
CLIENTS: Final = 48
LEAVERS_PERCENT: Final = 5
QUESTIONS: Final = 12
MEGABYTE: Final = 1 << 20
GROWTH_MAX: Final = 6 * MEGABYTE
"""Of the resident memory in the run's second half. Keeping a kilobyte of each request would cost more."""


class Question(msgspec.Struct):
    """One request, and what its answer says."""

    data: bytes
    read: Callable[[bytes], str]
    """The text in an answer's body."""
    text: str = ""


def questions() -> list[Question]:
    """Answers and streams, in both dialects; the same body always gets the same words."""
    found: list[Question] = []
    for number in range(QUESTIONS):
        # Every third stream takes its time, so that there is a middle to leave in.
        pace = " pace=300" if number % 3 == 0 else ""
        prompt = f"Question {number} [[simulator: words={10 + 5 * number}{pace}]]"
        native = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse"
        found += [
            Question(request(body=chat(prompt)), read_chat),
            Question(request(body=chat(prompt, stream=True)), deltas),
            Question(request(path=native, body=converse(prompt)), read_converse),
            Question(request(path=f"{native}-stream", body=converse(prompt)), read_frames),
        ]
    return found


def read_chat(body: bytes) -> str:
    text: str = json.loads(body)["choices"][0]["message"]["content"]
    return text


def read_converse(body: bytes) -> str:
    text: str = json.loads(body)["output"]["message"]["content"][0]["text"]
    return text


def read_frames(body: bytes) -> str:
    """A native stream's text: its frames hold JSON between their heads and their checksums."""
    pieces: list[str] = []
    at = 0
    while at < len(body):
        total, headers = (int.from_bytes(body[i : i + 4], "big") for i in (at, at + 4))
        payload = json.loads(body[at + 12 + headers : at + total - 4])
        pieces.append(payload.get("delta", {}).get("text", ""))
        at += total
    return "".join(pieces)


class Tally(msgspec.Struct):
    """How it went."""

    whole: int = 0
    left: int = 0
    wrong: list[str] = msgspec.field(default_factory=list[str])


class Client:
    """One client after another on one connection after another."""

    def __init__(self, gateway: RunningGateway, rng: random.Random, tally: Tally) -> None:
        self._port = gateway.port
        self._rng = rng
        self._tally = tally
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def run(self, jobs: Iterator[Question]) -> None:
        """Ask until there is nothing left to ask."""
        for question in jobs:
            if self._rng.randrange(100) < LEAVERS_PERCENT:
                await self._leave(question)
                self._tally.left += 1
            else:
                await self._ask(question)
        await self._hang_up()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self._reader, self._writer

    async def _hang_up(self, *, abort: bool = False) -> None:
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            if abort:
                writer.transport.abort()
            writer.close()
            try:
                await writer.wait_closed()
            except ConnectionError:
                pass

    async def _ask(self, question: Question) -> None:
        reader, writer = await self._connection()
        writer.write(question.data)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await _body(reader, head)
        if not head.startswith(b"HTTP/1.1 200 "):
            self._tally.wrong.append(f"{head!r} {body!r}")
        elif question.read(body) != question.text:
            self._tally.wrong.append(f"{question.data!r}: {body!r}")
        else:
            self._tally.whole += 1
        if self._rng.randrange(10) == 0:
            await self._hang_up()

    async def _leave(self, question: Question) -> None:
        """At a random moment: in the request, before the answer, in it, or just behind it."""
        rng = self._rng
        reader, writer = await self._connection()
        if rng.randrange(5) == 0:
            writer.write(question.data[: rng.randrange(len(question.data))])
        else:
            writer.write(question.data)
            if rng.randrange(3):
                await asyncio.sleep(rng.random() * 0.03)
            if rng.randrange(2):
                await reader.read(rng.randrange(1, 20_000))
        await self._hang_up(abort=rng.randrange(2) == 0)


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    if length:
        return await reader.readexactly(int(length))
    pieces: list[bytes] = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(pieces)


def soak(gateway: RunningGateway, asked: list[Question], count: int, seed: int) -> Tally:
    """So many requests, by clients that run side by side."""
    rng = random.Random(seed)
    jobs = iter([rng.choice(asked) for _ in range(count)])
    tally = Tally()

    async def run_all() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(Client(gateway, random.Random(rng.random()), tally).run(jobs))

    asyncio.run(run_all())
    return tally


def learn(gateway: RunningGateway, asked: list[Question]) -> None:
    """Ask everything once, to know the answers."""
    with connected(gateway.url) as raw:
        for question in asked:
            raw.send(question.data)
            answer = raw.answer()
            assert answer.status == 200
            question.text = question.read(answer.body)
    # All four ways say the same of the same prompt, but for the two dialects' different bodies.
    for number in range(QUESTIONS):
        first = asked[4 * number : 4 * number + 4]
        assert first[0].text == first[1].text
        assert first[2].text == first[3].text
        assert all(len(question.text) > 20 for question in first)


@on_linux
@pytest.mark.timeout(300)
def test_ten_thousand_requests() -> None:
    with running_simulator() as simulator, running_gateway(simulator.url) as gateway:
        asked = questions()
        learn(gateway, asked)
        eventually(lambda: len(gateway.records()) == len(asked))
        own = gateway.descriptors() - connections_at(simulator)
        soak(gateway, asked, REQUESTS // 10, SEED)  # Allocators warm up too.
        first = soak(gateway, asked, REQUESTS // 2, SEED + 1)
        halfway = gateway.resident_bytes()
        second = soak(gateway, asked, REQUESTS // 2, SEED + 2)

        assert (first.wrong, second.wrong) == ([], [])
        assert first.whole + first.left + second.whole + second.left == REQUESTS
        assert 300 < first.left + second.left < 700

        # What the pool keeps open stays open; all else has been given back.
        eventually(lambda: simulator.statistics()["running"] == 0)
        eventually(lambda: gateway.descriptors() == own + connections_at(simulator))
        assert gateway.resident_bytes() - halfway < GROWTH_MAX
        check_records(gateway, simulator, len(asked) + REQUESTS // 10 + REQUESTS)


POLICY: Final = [
    {
        "name": "rate-limiter",
        "config": {
            "day": 1_000_000,
            "tokens_per_day": 10_000_000_000,
            "usd_per_day": 1_000_000,
            "concurrency": 1000,
        },
    },
    {"name": "response-cache", "config": {"cache_ttl": 1}},
]
"""All that may hold something for somebody: limits that nobody reaches, and answers that soon grow old."""


@on_linux
@needs_redis
@pytest.mark.timeout(300)
def test_with_the_whole_policy_in_redis() -> None:
    """Whoever leaves, and whenever: no lease stays taken, and what was reserved and not used goes back."""
    with running_redis() as redis, running_simulator() as simulator:
        options: dict[str, Any] = {"plugins": POLICY, "gateway": {"store": redis.url}}
        with running_gateway(simulator.url, **options) as gateway, redis.client() as store:
            asked = questions()
            learn(gateway, asked)
            eventually(lambda: len(gateway.records()) == len(asked))
            own = gateway.descriptors() - connections_at(simulator)
            soak(gateway, asked, REQUESTS // 10, SEED)
            first = soak(gateway, asked, REQUESTS // 5, SEED + 1)
            halfway = gateway.resident_bytes()
            second = soak(gateway, asked, REQUESTS // 5, SEED + 2)

            assert (first.wrong, second.wrong) == ([], [])
            eventually(lambda: simulator.statistics()["running"] == 0)
            eventually(lambda: gateway.descriptors() == own + connections_at(simulator))
            assert gateway.resident_bytes() - halfway < GROWTH_MAX
            caches = [record.get("cache") for record in gateway.records()]
            assert {"hit", "miss", "coalesced"} <= set(caches)
            eventually(lambda: not store.keys("*:concurrency:*"))
            eventually(lambda: taken(store, "tokens") == tokens_of(gateway.records()))


def taken(store: Any, unit: str) -> int:
    """What the sliding bucket of this unit holds."""
    (bucket,) = store.keys(f"*:{unit}:*")
    slices = {name: int(value) for name, value in store.hgetall(bucket).items() if name.isdigit()}
    return sum(slices.values())


def tokens_of(records: list[dict[str, Any]]) -> int:
    """What the log says has been used and not come from the cache."""
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    made = [record for record in records if record.get("cache") not in ("hit", "coalesced")]
    return sum(record.get(name, 0) for record in made for name in names)


def connections_at(simulator: RunningSimulator) -> int:
    """How many connections the gateway has to it: all but the one that asks."""
    count: int = simulator.statistics()["open_connections"]
    return count - 1


def attempts_of(records: list[dict[str, Any]]) -> int:
    """How many calls to Bedrock the log tells of."""
    return sum(record.get("attempts", 0) for record in records)


def check_records(gateway: RunningGateway, simulator: RunningSimulator, requests: int) -> None:
    """Each admitted request has left one record; one that never came whole has left none."""
    calls = sum(simulator.statistics()["operations"].values())
    assert simulator.statistics()["outcomes"]["cancelled"] > 0
    # A call that is dropped at once may never arrive whole.
    eventually(lambda: calls <= attempts_of(gateway.records()) <= calls * 1.01)
    records = gateway.records()
    identifiers = {record["request_id"] for record in records}
    assert len(identifiers) == len(records)
    outcomes = [record["outcome"] for record in records]
    assert set(outcomes) == {"complete", "client_left"}
    assert requests * 0.97 < len(records) <= requests
    assert 0 < outcomes.count("client_left") < requests * 0.07
