"""The response cache in the running gateway: kept answers, shared calls, and who can spoil them for whom.

What is kept and shared is Bedrock's own answer, so native callers get the same bytes, and callers of OpenAI's
dialect the same events under ids of their own. The simulator's ledger says how many calls really reached it.
"""

import contextlib
import json
import re
from collections.abc import Generator, Iterator
from typing import Any, Final

import pytest

from support.gateway import KEY, NARROW_KEY, RunningGateway, eventually, running_gateway
from support.raw import Answer, Raw, chat, connected, deltas, request
from support.redis import needs_redis, running_redis
from support.simulator import RunningSimulator, running_simulator

CROWD: Final = 200
ONCE: Final = "throw-ThrottlingException times=1 words=30 pace=60"
CACHE: Final = {"name": "response-cache", "config": {"cache_ttl": 60}}
MODEL: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"


@pytest.fixture(scope="module")
def bedrock() -> Generator[RunningSimulator]:
    """A Bedrock of this module's own: its calls are counted."""
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="module")
def cached(bedrock: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway with a cache in memory."""
    with running_gateway(bedrock.url, plugins=[CACHE], proxy={"allow_unlisted": True}) as running:
        yield running


@pytest.fixture(autouse=True)
def _forgotten(bedrock: RunningSimulator) -> None:
    bedrock.clear()


def native(text: str, operation: str = "converse-stream", **headers: str) -> bytes:
    """A request to Bedrock's own API, with the gateway's key."""
    body = json.dumps({"messages": [{"role": "user", "content": [{"text": text}]}]}).encode()
    target = f"/model/{MODEL.replace(':', '%3A')}/{operation}"
    return request(path=target, body=body, headers=headers)


def calls(bedrock: RunningSimulator) -> int:
    """How many calls have reached Bedrock since the test began."""
    return len(bedrock.requests())


@contextlib.contextmanager
def crowd(gateway: RunningGateway, data: bytes, number: int = CROWD) -> Iterator[list[Raw]]:
    """So many connections, each of which has sent this request."""
    with contextlib.ExitStack() as stack:
        raws = [stack.enter_context(connected(gateway.url)) for _ in range(number)]
        for raw in raws:
            raw.send(data)
        yield raws


def without_ids(answer: Answer) -> bytes:
    """The body, without what is each caller's own."""
    return re.sub(rb'"(id|created)":("[^"]*"|[0-9]+)', b"", answer.body)


def ask(gateway: RunningGateway, data: bytes) -> Answer:
    """One request on a connection of its own."""
    with connected(gateway.url) as raw:
        raw.send(data)
        return raw.answer()


class TestKept:
    @pytest.mark.parametrize("stream", [False, True])
    def test_the_second_time_bedrock_is_not_asked(
        self, cached: RunningGateway, bedrock: RunningSimulator, stream: bool
    ) -> None:
        data = request(body=chat(f"Kept, stream {stream}", stream=stream))
        first, second = ask(cached, data), ask(cached, data)
        assert (first.status, first.headers["x-cache-status"]) == (200, "Miss")
        assert (second.status, second.headers["x-cache-status"]) == (200, "Hit")
        assert int(second.headers["age"]) >= 0
        assert without_ids(first) == without_ids(second)
        assert first.body != second.body, "each answer has an id of its own"
        assert calls(bedrock) == 1
        record = cached.record(request_id=second.headers["x-request-id"])
        assert (record["cache"], record.get("cost_usd", 0)) == ("hit", 0)

    def test_dialects_share_where_they_ask_the_very_same(
        self, cached: RunningGateway, bedrock: RunningSimulator
    ) -> None:
        data = native("Native and kept")
        first, second = ask(cached, data), ask(cached, data)
        assert first.body == second.body
        assert second.headers["x-cache-status"] == "Hit"
        assert calls(bedrock) == 1

    @pytest.mark.parametrize(
        ("change", "value"),
        [
            ("temperature", 0.3),
            ("max_tokens", 77),
            ("tools", [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]),
            ("stop", ["x"]),
        ],
    )
    def test_what_changes_the_answer_changes_the_key(
        self, cached: RunningGateway, bedrock: RunningSimulator, change: str, value: Any
    ) -> None:
        text = f"Another key by {change}"
        ask(cached, request(body=chat(text)))
        body = {**json.loads(chat(text)), change: value}
        other = ask(cached, request(body=json.dumps(body).encode()))
        assert other.headers["x-cache-status"] == "Miss"
        assert calls(bedrock) == 2

    def test_consumers_do_not_share(self, cached: RunningGateway, bedrock: RunningSimulator) -> None:
        text = "Mine, not yours"
        for key in (KEY, NARROW_KEY):
            body = json.dumps({**json.loads(chat(text)), "model": "claude-fast"}).encode()
            answer = ask(cached, request(body=body, key=key))
            assert (answer.status, answer.headers["x-cache-status"]) == (200, "Miss")
        assert calls(bedrock) == 2

    @pytest.mark.parametrize(
        ("control", "status", "made"),
        [
            ("no-store", "Bypass", 2),
            ("no-cache", "Miss", 2),
            ("max-age=0", "Miss", 2),
            ("max-age=60", "Hit", 1),
        ],
    )
    def test_cache_control_is_honoured(
        self, cached: RunningGateway, bedrock: RunningSimulator, control: str, status: str, made: int
    ) -> None:
        data = chat(f"Controlled by {control}")
        ask(cached, request(body=data))
        answer = ask(cached, request(body=data, headers={"cache-control": control}))
        assert answer.headers["x-cache-status"] == status
        assert calls(bedrock) == made

    @pytest.mark.parametrize(
        "directive",
        [
            "throw-ThrottlingException",
            "cut-mid-frame after=3 words=20",
            "stream-throttlingException after=2 words=20",
            "stop=guardrail_intervened",
            "stop=content_filtered",
        ],
    )
    def test_errors_cuts_and_refusals_are_never_kept(
        self, cached: RunningGateway, bedrock: RunningSimulator, directive: str
    ) -> None:
        data = request(body=chat(f"[[simulator: {directive}]]", stream=True))
        for _ in range(2):
            assert ask(cached, data).headers.get("x-cache-status") != "Hit"
        assert calls(bedrock) == 2


class TestShared:
    @pytest.mark.parametrize("native_api", [False, True])
    def test_one_call_serves_a_crowd(
        self, cached: RunningGateway, bedrock: RunningSimulator, native_api: bool
    ) -> None:
        text = f"[[simulator: words=150 pace=60]] for a crowd, native {native_api}"
        data = native(text) if native_api else request(body=chat(text, stream=True))
        with crowd(cached, data) as raws:
            answers = [raw.answer() for raw in raws]
        assert {answer.status for answer in answers} == {200}
        assert all(answer.whole for answer in answers)
        bodies = {answer.body if native_api else without_ids(answer) for answer in answers}
        assert len(bodies) == 1
        if not native_api:
            assert len({answer.body for answer in answers}) == CROWD
        assert calls(bedrock) == 1
        told = [answer.headers["x-cache-status"] for answer in answers]
        # On a slow machine the last of them come when it is over.
        assert (told.count("Miss"), told.count("Coalesced") + told.count("Hit")) == (1, CROWD - 1)
        assert told.count("Coalesced") > CROWD // 2

    def test_the_first_one_leaves_halfway(self, cached: RunningGateway, bedrock: RunningSimulator) -> None:
        data = request(body=chat("[[simulator: words=60 pace=40]] and the first one leaves", stream=True))
        with connected(cached.url) as first:
            first.send(data)
            assert first.sock.recv(100)
            with crowd(cached, data, CROWD - 1) as raws:
                eventually(lambda: calls(bedrock) == 1)
                first.sock.close()
                answers = [raw.answer() for raw in raws]
        assert all(answer.whole and answer.body.endswith(b"data: [DONE]\n\n") for answer in answers)
        assert len({without_ids(answer) for answer in answers}) == 1
        assert calls(bedrock) == 1

    def test_when_all_have_left_the_call_is_cancelled(
        self, cached: RunningGateway, bedrock: RunningSimulator
    ) -> None:
        data = request(body=chat("[[simulator: words=400 pace=20]] and everybody leaves", stream=True))
        with crowd(cached, data, 5) as raws:
            for raw in raws:
                assert raw.sock.recv(100)
        (left,) = eventually(lambda: [one for one in bedrock.requests() if one.get("outcome") is not None])
        assert left["outcome"] != "complete", left

    def test_a_call_that_fails_poisons_nobody(self, bedrock: RunningSimulator) -> None:
        """The first call is throttled; another one is made for those who wait with it."""
        with running_gateway(bedrock.url, plugins=[CACHE], proxy={"allow_unlisted": True}) as gateway:
            data = request(
                body=chat(
                    "[[simulator: throw-ThrottlingException times=1 words=30 pace=60]] for all", stream=True
                )
            )
            with crowd(gateway, data) as raws:
                answers = [raw.answer() for raw in raws]
        statuses = [answer.status for answer in answers]
        assert (statuses.count(200), statuses.count(429)) == (CROWD - 1, 1)
        good = [answer for answer in answers if answer.status == 200]
        assert len({without_ids(answer) for answer in good}) == 1
        assert calls(bedrock) == 2

    def test_where_calls_are_repeated_nobody_hears_of_it(self, bedrock: RunningSimulator) -> None:
        proxy = {"allow_unlisted": True, "retry": {"count": 2, "delay": 10}}
        with running_gateway(bedrock.url, plugins=[CACHE], proxy=proxy) as gateway:
            data = request(
                body=chat(
                    "[[simulator: throw-ThrottlingException times=1 words=30 pace=60]] again", stream=True
                )
            )
            with crowd(gateway, data) as raws:
                answers = [raw.answer() for raw in raws]
        assert {answer.status for answer in answers} == {200}
        assert len({without_ids(answer) for answer in answers}) == 1
        assert calls(bedrock) == 2

    def test_a_break_on_the_way_reaches_everybody_in_band(
        self, cached: RunningGateway, bedrock: RunningSimulator
    ) -> None:
        data = request(
            body=chat("[[simulator: cut-mid-frame after=120 words=200 pace=40]] for all", stream=True)
        )
        with crowd(cached, data) as raws:
            answers = [raw.answer() for raw in raws]
        assert {answer.status for answer in answers} == {200}
        assert all(b'"code":"upstream_stream_broken"' in answer.body for answer in answers)
        assert not any(b"[DONE]" in answer.body for answer in answers)
        assert calls(bedrock) == 1

    def test_a_slow_one_holds_up_nobody(self, cached: RunningGateway) -> None:
        text = "[[simulator: words=4000]] and one is slow"
        data = request(body=chat(text, stream=True))
        with connected(cached.url) as slow:
            slow.send(data)  # And reads nothing.
            with crowd(cached, data, 20) as raws:
                answers = [raw.answer() for raw in raws]
            assert all(answer.whole for answer in answers)
            assert deltas(slow.answer().body) == deltas(answers[0].body)


@needs_redis
class TestInRedis:
    def test_gateways_share_what_is_kept(self, bedrock: RunningSimulator) -> None:
        with running_redis() as redis, contextlib.ExitStack() as stack:
            gateways = [
                stack.enter_context(
                    running_gateway(bedrock.url, plugins=[CACHE], gateway={"store": redis.url})
                )
                for _ in range(2)
            ]
            data = request(body=chat("Shared by gateways", stream=True))
            first = ask(gateways[0], data)
            assert first.headers["x-cache-status"] == "Miss"

            def hit() -> Answer | None:
                answer = ask(gateways[1], data)
                return answer if answer.headers["x-cache-status"] == "Hit" else None

            second = eventually(hit)
            assert second is not None
            assert without_ids(second) == without_ids(first)

    def test_a_store_that_is_away_costs_nothing_but_the_call(self, bedrock: RunningSimulator) -> None:
        with running_redis() as redis:
            tells = r"warning: .*store|info: .*store"
            store = {"store": redis.url}
            with running_gateway(bedrock.url, plugins=[CACHE], gateway=store, tells=tells) as gateway:
                redis.stop()
                data = request(body=chat("Without a store"))
                for _ in range(2):
                    answer = ask(gateway, data)
                    assert (answer.status, answer.headers["x-cache-status"]) == (200, "Miss")
        assert calls(bedrock) == 2
