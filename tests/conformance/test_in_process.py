"""What every host must do, without one: the official SDKs on the transport of a gateway in their own process,
on asyncio and on trio. (The transport itself, and the gateway's own small API: tests/e2e/test_embedding.py.)
"""

import contextlib
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

import anthropic
import anyio
import httpx2
import openai
import pytest

from stargate.embedding.gateway import Embedded
from support.embedded import BASE_URL, BEARER, LOOPS, in_front_of, records, soon
from support.gateway import KEY
from support.raw import chat, converse
from support.simulator import RunningSimulator
from support.upstream import converse_stream, running_upstream

pytestmark = [
    pytest.mark.anyio,
    # trio says so of the SDKs' own generators, which they leave behind when they have read enough.
    pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning"),
]

MODEL: Final = "anthropic.claude-3-haiku-20240307-v1:0"
SLOW: Final = "simulator.slow:ms.50:words.400"
HELLO: Final[Any] = [{"role": "user", "content": "Say it twice"}]
TOOL: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Inside:
    """A gateway, and the SDKs on it."""

    def __init__(self, gateway: Embedded, log: Path) -> None:
        self.gateway = gateway
        self.log = log

    def openai(self, key: str = KEY) -> openai.AsyncOpenAI:
        """openai-python."""
        client = httpx2.AsyncClient(transport=self.gateway.transport())
        return openai.AsyncOpenAI(base_url=BASE_URL, api_key=key, max_retries=0, http_client=client)

    def anthropic(self, key: str = KEY) -> anthropic.AsyncAnthropic:
        """anthropic-sdk-python."""
        client = httpx2.AsyncClient(transport=self.gateway.transport())
        return anthropic.AsyncAnthropic(
            base_url="http://stargate", api_key=key, max_retries=0, http_client=client
        )


@contextlib.asynccontextmanager
async def inside(upstream: str, folder: Path, **changes: Any) -> AsyncGenerator[Inside]:
    """A gateway in this process."""
    log = folder / "requests.jsonl"
    async with in_front_of(upstream, log, **{"proxy": {"allow_unlisted": True}, **changes}) as gateway:
        yield Inside(gateway, log)


class TestAnswers:
    async def test_a_tool_is_called_and_its_result_taken(
        self, bedrock: RunningSimulator, tmp_path: Path
    ) -> None:
        tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": TOOL}}]
        choice: Any = {"type": "function", "function": {"name": "weather"}}
        asked: Any = {"model": "claude", "tools": tools}
        async with inside(bedrock.url, tmp_path) as here, here.openai() as sdk:
            first = await sdk.chat.completions.create(messages=HELLO, tool_choice=choice, **asked)
            (call,) = first.choices[0].message.tool_calls or []
            result = {"role": "tool", "tool_call_id": call.id, "content": "It rains."}
            messages: Any = [*HELLO, first.choices[0].message.model_dump(exclude_none=True), result]
            second = await sdk.chat.completions.create(messages=messages, **asked)
        assert "city" in json.loads(call.function.arguments)
        assert [first.choices[0].finish_reason, second.choices[0].finish_reason] == ["tool_calls", "stop"]

    async def test_responses_embeddings_and_models(self, bedrock: RunningSimulator, tmp_path: Path) -> None:
        async with inside(bedrock.url, tmp_path) as here, here.openai() as sdk:
            whole = await sdk.responses.create(model="claude", input="Say it twice")
            stream = await sdk.responses.create(model="claude", input="Say it twice", stream=True)
            events = [event async for event in stream]
            vectors = await sdk.embeddings.create(model="amazon.titan-embed-text-v2:0", input=["a", "b"])
            models = {model.id async for model in sdk.models.list()}
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert text == whole.output_text
        assert events[-1].type == "response.completed"
        assert [len(one.embedding) for one in vectors.data] == [1024, 1024]
        assert "claude" in models

    async def test_messages_and_their_tokens(self, bedrock: RunningSimulator, tmp_path: Path) -> None:
        async with inside(bedrock.url, tmp_path) as here, here.anthropic() as sdk:
            counted = await sdk.messages.count_tokens(model=MODEL, messages=HELLO)
            message = await sdk.messages.create(model=MODEL, max_tokens=300, messages=HELLO)
            async with sdk.messages.stream(model=MODEL, max_tokens=300, messages=HELLO) as stream:
                text = "".join([piece async for piece in stream.text_stream])
        assert counted.input_tokens > 0
        assert [block.text for block in message.content if block.type == "text"] == [text]

    async def test_bedrocks_own_byte_for_byte(self, tmp_path: Path) -> None:
        """The AWS SDKs have no transport to be given one; `ask` speaks for them."""
        path = "/model/claude/converse-stream"
        with running_upstream(lambda: converse_stream("Grüße", 500)) as upstream:
            async with inside(upstream.url, tmp_path) as here:
                status, _, body = await here.gateway.ask("POST", path, converse("Hello"), BEARER)
        frames = b"".join(converse_stream("Grüße", 500)).partition(b"\r\n\r\n")[2]
        pieces: list[bytes] = []
        while frames:
            size, _, frames = frames.partition(b"\r\n")
            pieces.append(frames[: int(size, 16)])
            frames = frames[int(size, 16) + 2 :]
        assert (status, body) == (200, b"".join(pieces))

    async def test_big_bodies_go_both_ways(self, bedrock: RunningSimulator, tmp_path: Path) -> None:
        text = "[[simulator: words=60000]]" + " filler" * 3_000_000
        async with inside(bedrock.url, tmp_path) as here, here.openai() as sdk:
            answer = await sdk.chat.completions.create(
                model="claude", messages=[{"role": "user", "content": text}]
            )
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 60_000


class TestErrors:
    async def test_they_are_the_sdks_own(self, bedrock: RunningSimulator, tmp_path: Path) -> None:
        settings = {"max_body_bytes": 100_000}
        async with inside(bedrock.url, tmp_path, gateway=settings) as here:
            async with here.openai("sk-wrong") as wrong:
                with pytest.raises(openai.PermissionDeniedError) as refused:
                    await wrong.chat.completions.create(model="claude", messages=HELLO)
            async with here.openai() as sdk:
                with pytest.raises(openai.APIStatusError) as big:
                    await sdk.chat.completions.create(
                        model="claude", messages=[{"role": "user", "content": "x" * 100_001}]
                    )
                with pytest.raises(openai.RateLimitError) as throttled:
                    await sdk.chat.completions.create(
                        model="simulator.throw-ThrottlingException", messages=HELLO
                    )
                with pytest.raises(openai.NotFoundError, match="arn:aws:x/y"):
                    await sdk.get("/models/arn%3Aaws%3Ax%2Fy", cast_to=object)
            async with here.anthropic() as claude:
                with pytest.raises(anthropic.InternalServerError) as busy:
                    model = "simulator.throw-ServiceUnavailableException"
                    await claude.messages.create(model=model, max_tokens=9, messages=HELLO)
        assert refused.value.response.headers["x-should-retry"] == "false"
        assert refused.value.request_id
        assert (big.value.status_code, big.value.code) == (413, "PAYLOAD_TOO_LARGE")
        assert 1 <= int(throttled.value.response.headers["retry-after"]) <= 60
        assert busy.value.status_code == 529
        assert isinstance(busy.value.body, dict)
        assert busy.value.body["request_id"] == busy.value.request_id

    @pytest.mark.parametrize("scenario", ["stream-throttlingException", "bad-crc", "cut-mid-frame"])
    async def test_a_stream_never_ends_well_that_did_not(
        self, bedrock: RunningSimulator, tmp_path: Path, scenario: str
    ) -> None:
        model = f"simulator.{scenario}:after.2"
        async with inside(bedrock.url, tmp_path) as here:
            async with here.openai() as sdk:
                chunks = await sdk.chat.completions.create(model=model, messages=HELLO, stream=True)
                with pytest.raises(openai.APIError):
                    async for _ in chunks:
                        pass
            async with here.anthropic() as claude:
                with pytest.raises(anthropic.APIError):
                    async with claude.messages.stream(model=model, max_tokens=300, messages=HELLO) as stream:
                        async for _ in stream:
                            pass


class TestStreams:
    async def test_anthropics_comes_while_it_is_made_and_ends_when_it_is_left(
        self, bedrock: RunningSimulator, tmp_path: Path
    ) -> None:
        async with inside(bedrock.url, tmp_path) as here, here.anthropic() as sdk:
            bedrock.clear()
            async with sdk.messages.stream(model=SLOW, max_tokens=900, messages=HELLO) as stream:
                async for piece in stream.text_stream:
                    assert piece
                    break
                assert bedrock.requests()[-1]["outcome"] == "running"
            (record,) = await soon(lambda: records(here.log, model=SLOW))
            assert record["outcome"] == "client_left"
            assert await soon(lambda: bedrock.requests()[-1]["outcome"] == "cancelled")

    @pytest.mark.parametrize("how", ["closed", "cancelled"])
    async def test_openais_ends_when_it_is_left(
        self, bedrock: RunningSimulator, tmp_path: Path, how: str
    ) -> None:
        async with inside(bedrock.url, tmp_path) as here, here.openai() as sdk:
            bedrock.clear()
            begun = anyio.Event()

            async def read() -> None:
                stream = await sdk.chat.completions.create(model=SLOW, messages=HELLO, stream=True)
                async for chunk in stream:
                    if chunk.choices and chunk.choices[0].delta.content:
                        begun.set()
                        if how == "closed":
                            break
                await stream.close()

            async with anyio.create_task_group() as group:
                group.start_soon(read)
                await begun.wait()
                if how == "cancelled":
                    group.cancel_scope.cancel()
            (record,) = await soon(lambda: records(here.log, model=SLOW))
            assert record["outcome"] == "client_left"
            assert await soon(lambda: bedrock.requests()[-1]["outcome"] == "cancelled")

    async def test_silence_is_broken_by_keepalives(self, bedrock: RunningSimulator, tmp_path: Path) -> None:
        body = chat("Hello", model="simulator.stall-before-first-token", stream=True)
        settings = {"keepalive_seconds": 0.2}
        async with inside(bedrock.url, tmp_path, gateway=settings) as here:
            transport = here.gateway.transport()
            async with httpx2.AsyncClient(transport=transport, headers=BEARER) as client:
                async with client.stream("POST", f"{BASE_URL}/chat/completions", content=body) as answer:
                    assert answer.status_code == 200
                    async for piece in answer.aiter_bytes():
                        assert piece.startswith(b": keep-alive")
                        break


async def test_limits_and_the_cache_count(bedrock: RunningSimulator, tmp_path: Path) -> None:
    plugins: Any = [
        {"name": "rate-limiter", "config": {"minute": 3, "by": "consumer"}},
        {"name": "response-cache", "config": {"cache_ttl": 60}},
    ]
    async with inside(bedrock.url, tmp_path, plugins=plugins) as here:
        answers = [
            await here.gateway.ask("POST", "/v1/chat/completions", chat("The same, please"), BEARER)
            for _ in range(4)
        ]
    told = [(answer.status, dict(answer.headers).get(b"x-cache-status")) for answer in answers]
    assert told == [(200, b"Miss"), (200, b"Hit"), (200, b"Hit"), (429, None)]
    assert 1 <= int(dict(answers[-1].headers)[b"retry-after"]) <= 60
