"""The gateway inside a program: its transport, its own small API, and what both leave behind at Bedrock and
in the log. All of it on asyncio and on trio. (What the official SDKs have of it: tests/conformance.)
"""

import contextlib
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import httpx2
import openai
import pytest

from stargate.embedding.chat import Event, Finished, GatewayError, Text, Thought, ToolCall
from stargate.embedding.gateway import Embedded
from support.embedded import BASE_URL, BEARER, LOOPS, in_front_of, records, soon
from support.gateway import KEY
from support.simulator import RunningSimulator
from support.upstream import converse_stream, running_upstream

pytestmark = [
    pytest.mark.anyio,
    # trio says so of the SDKs' own generators, which they leave behind when they have read enough.
    pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning"),
]

HELLO: Final[Any] = [{"role": "user", "content": "Hello"}]
TOOL: Final[Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
URL: Final = f"{BASE_URL}/chat/completions"


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(name="log")
def _log(tmp_path: Path) -> Path:
    return tmp_path / "requests.jsonl"


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"], name="library")
def _library(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(name="model")
def _model(request: pytest.FixtureRequest) -> str:
    """A model's name that is the test's own, for the ledger: an option changes nothing but it."""
    return f"simulator.{{}}:input-tokens.{30_000 + abs(hash(request.node.nodeid)) % 10_000_000}"


def openai_client(gateway: Embedded, library: Any = httpx2, **options: Any) -> openai.AsyncOpenAI:
    client: Any = library.AsyncClient(transport=gateway.transport())
    known = {"base_url": BASE_URL, "api_key": KEY, "max_retries": 0, "http_client": client}
    return openai.AsyncOpenAI(**{**known, **options})


def calls(simulator: RunningSimulator, model: str) -> list[dict[str, Any]]:
    return [call for call in simulator.requests() if call["model_id"] == model]


async def cancelled(simulator: RunningSimulator, log: Path, model: str) -> str:
    """Wait until a model's one call is cancelled at Bedrock, and the log says why; where it was then."""
    (call,) = await soon(
        lambda: [call for call in calls(simulator, model) if call["outcome"] != "running"],
    )
    (record,) = await soon(lambda: records(log, model=model))
    assert (call["outcome"], record["outcome"]) == ("cancelled", "client_left")
    phase: str = call["phase"]
    return phase


async def gathered(gateway: Embedded, **asked: Any) -> list[Event]:
    return [event async for event in gateway.chat(**{"messages": HELLO, "key": KEY, **asked})]


class TestSdks:
    async def test_openai_has_a_plain_answer(
        self, simulator: RunningSimulator, log: Path, library: Any
    ) -> None:
        async with in_front_of(simulator.url, log) as gateway, openai_client(gateway, library) as client:
            answer = await client.chat.completions.create(model="claude", messages=HELLO)
        assert answer.choices[0].message.content
        assert answer.usage is not None
        (record,) = records(log)
        assert (record["outcome"], record["consumer"]) == ("complete", "team-a")
        assert record["output_tokens"] == answer.usage.completion_tokens

    async def test_openai_has_a_stream_as_it_comes(
        self, simulator: RunningSimulator, log: Path, library: Any, model: str
    ) -> None:
        """The first of it is there while Bedrock is still speaking."""
        slow = model.format("slow:ms.100:words.10")
        async with in_front_of(simulator.url, log) as gateway, openai_client(gateway, library) as client:
            stream = await client.chat.completions.create(model=slow, messages=HELLO, stream=True)
            words: list[str] = []
            async for chunk in stream:
                if not words:
                    assert calls(simulator, slow)[0]["outcome"] == "running"
                words += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        assert len(words) >= 10


class TestLeaving:
    async def test_closing_a_response_cancels_the_call(
        self, simulator: RunningSimulator, log: Path, library: Any, model: str
    ) -> None:
        slow = model.format("slow:ms.50:words.400")
        asked = {"model": slow, "messages": HELLO, "stream": True}
        async with in_front_of(simulator.url, log) as gateway:
            async with library.AsyncClient(transport=gateway.transport(), headers=BEARER) as client:
                async with client.stream("POST", URL, json=asked) as answer:
                    async for _ in answer.aiter_bytes():
                        break
                assert await cancelled(simulator, log, slow) == "mid-stream"

    @pytest.mark.parametrize("stream", [True, False])
    async def test_cancelling_a_request_cancels_the_call(
        self, simulator: RunningSimulator, log: Path, library: Any, model: str, stream: bool
    ) -> None:
        stalled = model.format("stall-before-headers")
        asked = {"model": stalled, "messages": HELLO, "stream": stream}
        async with in_front_of(simulator.url, log) as gateway:
            async with library.AsyncClient(transport=gateway.transport(), headers=BEARER) as client:
                async with anyio.create_task_group() as group:
                    group.start_soon(lambda: client.post(URL, json=asked))
                    await soon(lambda: calls(simulator, stalled))
                    group.cancel_scope.cancel()
                assert await cancelled(simulator, log, stalled) == "before-headers"

    @pytest.mark.parametrize("where", ["stall-before-headers", "stall-mid-stream"])
    async def test_a_clients_timeout_cancels_the_call(
        self, simulator: RunningSimulator, log: Path, library: Any, model: str, where: str
    ) -> None:
        stalled = model.format(where)
        asked = {"model": stalled, "messages": HELLO, "stream": True}
        async with in_front_of(simulator.url, log) as gateway:
            async with library.AsyncClient(
                transport=gateway.transport(), headers=BEARER, timeout=0.5
            ) as client:
                with pytest.raises(library.ReadTimeout, match="silent"):
                    await client.post(URL, json=asked)
                assert await cancelled(simulator, log, stalled) in ("before-headers", "mid-stream")

    async def test_so_does_leaving_a_chat(self, simulator: RunningSimulator, log: Path, model: str) -> None:
        slow = model.format("slow:ms.50:words.400")
        async with in_front_of(simulator.url, log) as gateway:
            async with contextlib.aclosing(gateway.chat(model=slow, messages=HELLO, key=KEY)) as events:
                async for _ in events:
                    break
            assert await cancelled(simulator, log, slow) == "mid-stream"


class TestFlow:
    async def test_a_slow_reader_holds_up_bedrock(self, log: Path) -> None:
        """Unread bytes stay near their bound; what else there is stays with Bedrock, and comes later."""
        asked = {"model": "claude", "messages": HELLO, "stream": True}
        with running_upstream(lambda: converse_stream("x" * 10_000, 6_000)) as upstream:
            async with in_front_of(upstream.url, log) as gateway:
                async with httpx2.AsyncClient(transport=gateway.transport(), headers=BEARER) as client:
                    async with client.stream("POST", URL, json=asked) as answer:
                        await anyio.sleep(1)
                        assert upstream.sent_bytes < 30_000_000
                        body = await answer.aread()
        assert body.endswith(b"data: [DONE]\n\n")
        assert body.count(b"x" * 10_000) == 6_000
        assert records(log)[0]["outcome"] == "complete"

    async def test_calls_run_side_by_side(self, simulator: RunningSimulator, log: Path) -> None:
        finished: list[Event] = []

        async def ask(gateway: Embedded) -> None:
            finished.append((await gathered(gateway, model="simulator.slow:ms.20:words.20"))[-1])

        async with in_front_of(simulator.url, log) as gateway:
            with anyio.fail_after(20):
                async with anyio.create_task_group() as group:
                    for _ in range(30):
                        group.start_soon(ask, gateway)
        assert [type(event) for event in finished] == [Finished] * 30
        assert len(records(log, outcome="complete")) == 30

    async def test_leaving_lets_what_runs_finish(self, simulator: RunningSimulator, log: Path) -> None:
        events: list[Event] = []

        async def ask(gateway: Embedded) -> None:
            events.extend(await gathered(gateway, model="simulator.slow:ms.50:words.20"))

        async with anyio.create_task_group() as group:
            async with in_front_of(simulator.url, log, gateway={"drain_seconds": 20}) as gateway:
                group.start_soon(ask, gateway)
                await anyio.sleep(0.3)
        assert isinstance(events[-1], Finished)
        assert records(log)[0]["outcome"] == "complete"

    async def test_what_does_not_finish_in_time_is_told_so(
        self, simulator: RunningSimulator, log: Path
    ) -> None:
        async def ask(gateway: Embedded) -> None:
            with pytest.raises(GatewayError) as caught:
                await gathered(gateway, model="simulator.slow:ms.50:words.400")
            assert caught.value.status == 503

        async with anyio.create_task_group() as group:
            async with in_front_of(simulator.url, log, gateway={"drain_seconds": 0.3}) as gateway:
                group.start_soon(ask, gateway)
                await anyio.sleep(0.5)


class TestChat:
    async def test_a_turn_is_text_and_an_end(self, simulator: RunningSimulator, log: Path) -> None:
        async with in_front_of(simulator.url, log) as gateway:
            *said, end = await gathered(gateway, model="claude")
        assert said
        assert all(isinstance(event, Text) for event in said)
        assert isinstance(end, Finished)
        assert end.reason == "stop"
        assert end.usage.total_tokens == end.usage.prompt_tokens + end.usage.completion_tokens > 0

    async def test_tool_calls_come_whole(self, simulator: RunningSimulator, log: Path) -> None:
        async with in_front_of(simulator.url, log) as gateway:
            events = await gathered(
                gateway,
                model="claude",
                tools=[TOOL],
                tool_choice={"type": "function", "function": {"name": "weather"}},
            )
        (call,) = [event for event in events if isinstance(event, ToolCall)]
        assert call.name == "weather"
        assert call.id
        assert call.arguments.startswith('{"city"')
        assert call.arguments.endswith("}")
        assert isinstance(events[-1], Finished)

    async def test_thoughts_come_apart_from_the_text(self, simulator: RunningSimulator, log: Path) -> None:
        async with in_front_of(simulator.url, log) as gateway:
            events = await gathered(gateway, model="claude", reasoning_effort="low", max_tokens=4000)
        kinds = [type(event) for event in events]
        assert kinds[0] is Thought
        assert {Thought, Text, Finished} == set(kinds)

    @pytest.mark.parametrize(
        ("asked", "code", "status"),
        [
            ({"key": None}, "UNAUTHORIZED", 401),
            ({"key": "sk-wrong"}, "FORBIDDEN", 403),
            ({"model": "simulator.throw-ThrottlingException"}, "RATE_LIMITED", 429),
            ({"model": "simulator.stream-throttlingException"}, "RATE_LIMITED", 429),
            ({"messages": "Hello"}, "INVALID_REQUEST", 400),
        ],
    )
    async def test_every_error_is_one_type(
        self, simulator: RunningSimulator, log: Path, asked: dict[str, Any], code: str, status: int
    ) -> None:
        async with in_front_of(simulator.url, log) as gateway:
            with pytest.raises(GatewayError) as caught:
                await gathered(gateway, **{"model": "claude", **asked})
        error = caught.value
        assert (error.code, error.status) == (code, status)
        assert error.message

    async def test_a_limit_says_when_to_come_again(self, simulator: RunningSimulator, log: Path) -> None:
        limit = {"name": "rate-limiter", "config": {"minute": 1, "by": "consumer"}}
        async with in_front_of(simulator.url, log, plugins=[limit]) as gateway:
            await gathered(gateway, model="claude")
            with pytest.raises(GatewayError) as caught:
                await gathered(gateway, model="claude")
        assert caught.value.status == 429
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= 60


class TestAsk:
    async def test_any_api_can_be_asked(self, simulator: RunningSimulator, log: Path) -> None:
        body = b'{"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}'
        async with in_front_of(simulator.url, log) as gateway:
            status, headers, answer = await gateway.ask("POST", "/model/claude/converse", body, BEARER)
        assert status == 200
        assert dict(headers)[b"content-type"] == b"application/json"
        assert b'"stopReason"' in answer
        assert records(log)[0]["client"] == "embedded"
