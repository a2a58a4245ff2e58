"""openai-python against the running gateway, nothing patched: answers, streams, tools, usage, errors,
retries.
"""

import asyncio
import datetime
import json
from collections.abc import Generator
from typing import Any, Final

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from support.gateway import KEY, MODELS, NARROW_KEY, RunningGateway, eventually, running_gateway
from support.simulator import RunningSimulator

WEATHER: Final[Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather somewhere.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def asked(text: str, **more: Any) -> Any:
    """The arguments of a chat call."""
    return {"model": "claude", "messages": [user(text)], **more}


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def reasons_of(chunks: list[ChatCompletionChunk]) -> list[str]:
    return [r for chunk in chunks if chunk.choices and (r := chunk.choices[0].finish_reason) is not None]


@pytest.fixture(scope="module", params=["fast", "reference"])
def sdk(request: pytest.FixtureRequest, simulator: RunningSimulator) -> Generator[openai.OpenAI]:
    """The SDK, before a gateway with either HTTP codec."""
    with running_gateway(simulator.url, gateway={"http_codec": request.param}) as gateway:
        with gateway.openai() as client:
            yield client


class TestEitherCodec:
    def test_an_answer_and_a_stream_say_the_same(self, sdk: openai.OpenAI) -> None:
        # The simulated model's words depend on the bytes of the body it is sent, and on nothing else.
        whole = sdk.chat.completions.create(**asked("Say it twice"))
        chunks = list(sdk.chat.completions.create(**asked("Say it twice"), stream=True))
        assert "“Say it twice”" in (whole.choices[0].message.content or "")
        assert text_of(chunks) == whole.choices[0].message.content
        assert reasons_of(chunks) == [whole.choices[0].finish_reason] == ["stop"]
        assert len(chunks) > 5

    def test_a_long_answer_arrives_whole(self, sdk: openai.OpenAI) -> None:
        text = "[[simulator: words=2000]]"
        whole = sdk.chat.completions.create(**asked(text)).choices[0].message.content
        assert whole is not None
        assert len(whole) > 8_000
        assert text_of(list(sdk.chat.completions.create(**asked(text), stream=True))) == whole

    def test_a_large_request_arrives_whole(self, sdk: openai.OpenAI, simulator: RunningSimulator) -> None:
        text = "Ünïcödé ".encode() * 300_000
        sdk.chat.completions.create(**asked(text.decode()))
        # Too long to be kept whole, so the simulator remembers its length.
        assert simulator.requests()[-1]["body_bytes"] > len(text)

    def test_an_error_in_a_stream_raises(self, sdk: openai.OpenAI) -> None:
        with pytest.raises(openai.APIError) as caught:
            list(sdk.chat.completions.create(**asked("[[simulator: cut-mid-frame]]"), stream=True))
        assert caught.value.code == "upstream_stream_broken"


class TestAnswers:
    def test_usage_is_bedrocks(self, client: openai.OpenAI) -> None:
        text = "[[simulator: words=17 input-tokens=11 cache-read=1000 cache-write=100]]"
        usage = client.chat.completions.create(**asked(text)).usage
        assert usage is not None
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (1111, 17, 1128)
        assert usage.prompt_tokens_details is not None
        assert usage.prompt_tokens_details.cached_tokens == 1000

    def test_the_models_own_limit_is_told(self, client: openai.OpenAI) -> None:
        answer = client.chat.completions.create(**asked("Go on and on", max_tokens=3))
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 3

    def test_the_request_id_is_the_logs(self, client: openai.OpenAI, gateway: RunningGateway) -> None:
        answer = client.chat.completions.create(**asked("Who am I?"))
        record = gateway.record(request_id=answer._request_id)
        assert record["consumer"] == "team-a"
        assert record["model"] == "claude"
        assert record["target"] == MODELS["claude"]
        assert (record["outcome"], record["status"], record["upstream_status"]) == ("complete", 200, 200)

    def test_no_word_of_it_is_logged(self, client: openai.OpenAI, gateway: RunningGateway) -> None:
        answer = client.chat.completions.create(**asked("Xylophonkonzert"))
        record = gateway.record(request_id=answer._request_id)
        assert "Xylophon" in (answer.choices[0].message.content or "")
        assert "Xylophon" not in json.dumps(record)
        assert KEY not in json.dumps(record)


class TestStreams:
    def test_usage_comes_last_when_it_was_asked_for(self, client: openai.OpenAI) -> None:
        options = asked("[[simulator: words=9 input-tokens=4]]", stream_options={"include_usage": True})
        chunks = list(client.chat.completions.create(**options, stream=True))
        assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
        last = chunks[-1]
        assert last.choices == []
        assert last.usage is not None
        assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (4, 9)

    def test_usage_does_not_come_when_it_was_not(
        self, client: openai.OpenAI, gateway: RunningGateway
    ) -> None:
        stream = client.chat.completions.create(**asked("[[simulator: words=6]] unasked"), stream=True)
        with stream:
            chunks = list(stream)
        assert [chunk.usage for chunk in chunks] == [None] * len(chunks)
        # The gateway knows it all the same.
        record = gateway.record(request_id=stream.response.headers["x-request-id"])
        assert record["output_tokens"] == 6

    def test_the_sdks_own_helper_reads_it(self, client: openai.OpenAI) -> None:
        with client.chat.completions.stream(**asked("Help me")) as stream:
            events = [event.type for event in stream]
            final = stream.get_final_completion()
        assert "content.delta" in events
        assert events[-1] == "content.done"
        assert "“Help me”" in (final.choices[0].message.content or "")

    def test_leaving_it_early_leaves_the_client_usable(self, client: openai.OpenAI) -> None:
        with client.chat.completions.create(**asked("Never mind"), stream=True) as stream:
            next(iter(stream))
        assert client.chat.completions.create(**asked("Still there?")).choices[0].finish_reason == "stop"


class TestTools:
    def test_a_round_trip(self, client: openai.OpenAI) -> None:
        messages: list[Any] = [user("What is the weather in Reykjavik?")]
        first = client.chat.completions.create(model="claude", messages=messages, tools=[WEATHER])
        assert first.choices[0].finish_reason == "tool_calls"
        message = first.choices[0].message
        assert message.tool_calls is not None
        (call,) = message.tool_calls
        assert call.type == "function"
        assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Reykjavik"})

        messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "Sleet, 2 °C"}]
        second = client.chat.completions.create(model="claude", messages=messages, tools=[WEATHER])
        assert second.choices[0].finish_reason == "stop"
        assert "The tool says: Sleet, 2 °C." in (second.choices[0].message.content or "")

    def test_a_streamed_call_is_the_same_call(self, client: openai.OpenAI) -> None:
        question = asked("What is the weather in Reykjavik?", tools=[WEATHER])
        whole = client.chat.completions.create(**question).choices[0].message.tool_calls
        assert whole
        with client.chat.completions.stream(**question) as stream:
            pieces = sum(event.type == "tool_calls.function.arguments.delta" for event in stream)
            final = stream.get_final_completion().choices[0]
        assert final.finish_reason == "tool_calls"
        assert pieces > 1
        assert _calls(whole) == _calls(final.message.tool_calls)

    def test_a_tool_can_be_demanded(self, client: openai.OpenAI) -> None:
        choice: Any = {"type": "function", "function": {"name": "weather"}}
        answer = client.chat.completions.create(**asked("Hello", tools=[WEATHER], tool_choice=choice))
        assert [call.type for call in answer.choices[0].message.tool_calls or []] == ["function"]


class TestAsync:
    def test_many_at_once(self, gateway: RunningGateway) -> None:
        async def ask(client: openai.AsyncOpenAI, number: int) -> tuple[str, str]:
            question = asked(f"Number {number}")
            whole = await client.chat.completions.create(**question)
            stream = await client.chat.completions.create(**question, stream=True)
            return whole.choices[0].message.content or "", text_of([chunk async for chunk in stream])

        async def ask_all() -> list[tuple[str, str]]:
            async with openai.AsyncOpenAI(**gateway.openai_options()) as client:
                return await asyncio.gather(*(ask(client, number) for number in range(20)))

        for number, (whole, streamed) in enumerate(asyncio.run(ask_all())):
            assert f"“Number {number}”" in whole
            assert streamed == whole

    def test_an_error_raises(self, gateway: RunningGateway) -> None:
        async def ask() -> None:
            async with openai.AsyncOpenAI(**gateway.openai_options()) as client:
                await client.chat.completions.create(**asked("[[simulator: throw-ThrottlingException]]"))

        with pytest.raises(openai.RateLimitError):
            asyncio.run(ask())


class TestModels:
    def test_the_list_is_the_configurations(self, client: openai.OpenAI) -> None:
        assert {model.id for model in client.models.list()} == MODELS.keys()

    def test_a_narrow_key_sees_what_it_may_use(self, gateway: RunningGateway) -> None:
        with gateway.openai(api_key=NARROW_KEY) as client:
            assert [model.id for model in client.models.list()] == ["claude-fast"]

    def test_one_model(self, client: openai.OpenAI) -> None:
        assert client.models.retrieve("nova").id == "nova"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("gpt-4o")


class TestErrors:
    @pytest.mark.parametrize(
        ("scenario", "raised", "status", "type_", "code"),
        [
            ("ValidationException", openai.BadRequestError, 400, "invalid_request_error", "INVALID_REQUEST"),
            ("ResourceNotFoundException", openai.NotFoundError, 404, "invalid_request_error",
             "model_not_found"),
            ("ConflictException", openai.ConflictError, 409, "invalid_request_error", "CONFLICT"),
            ("ThrottlingException", openai.RateLimitError, 429, "rate_limit_error", "rate_limit_exceeded"),
            ("ServiceQuotaExceededException", openai.InternalServerError, 503, "insufficient_quota",
             "insufficient_quota"),
            ("AccessDeniedException", openai.InternalServerError, 503, "server_error", "SERVICE_UNAVAILABLE"),
            ("ModelTimeoutException", openai.InternalServerError, 504, "server_error", "timeout"),
        ],
    )  # fmt: skip
    def test_bedrocks_raise_the_sdks_own(
        self,
        client: openai.OpenAI,
        scenario: str,
        raised: type[openai.APIStatusError],
        status: int,
        type_: str,
        code: str,
    ) -> None:
        with pytest.raises(raised) as caught:
            client.chat.completions.create(**asked(f"[[simulator: throw-{scenario}]]"))
        error = caught.value
        assert type(error) is raised
        assert (error.status_code, error.type, error.code) == (status, type_, code)
        assert error.request_id
        assert error.response.headers["x-should-retry"] in ("true", "false")
        retry_after = error.response.headers.get("retry-after")
        assert (retry_after is not None) == (status in (429, 503))

    def test_a_wrong_parameter_is_named(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**asked("Hello", temperature="hot"))
        assert caught.value.param == "temperature"

    def test_without_a_key(self, gateway: RunningGateway) -> None:
        with gateway.openai() as client:
            with pytest.raises(openai.AuthenticationError) as caught:
                client.chat.completions.create(
                    **asked("Hello"), extra_headers={"Authorization": openai.Omit()}
                )
        assert caught.value.code == "invalid_api_key"

    def test_with_a_wrong_key(self, gateway: RunningGateway) -> None:
        with gateway.openai(api_key="sk-nobody") as client:
            with pytest.raises(openai.PermissionDeniedError) as caught:
                client.chat.completions.create(**asked("Hello"))
        assert caught.value.code == "invalid_api_key"

    def test_with_a_model_the_key_may_not_use(self, gateway: RunningGateway) -> None:
        with gateway.openai(api_key=NARROW_KEY) as client:
            with pytest.raises(openai.PermissionDeniedError) as caught:
                client.chat.completions.create(**asked("Hello", model="nova"))
        assert (caught.value.code, caught.value.param) == ("FORBIDDEN", "model")


class TestRetries:
    def test_what_may_pass_is_tried_again_after_the_wait_that_was_told(self, gateway: RunningGateway) -> None:
        model = "simulator.retry-after:seconds.1"
        with gateway.openai(max_retries=1) as client:
            with pytest.raises(openai.RateLimitError):
                client.chat.completions.create(**asked("Hello", model=model))
        eventually(lambda: len(gateway.records(model=model)) >= 2)
        times = [datetime.datetime.fromisoformat(record["time"]) for record in gateway.records(model=model)]
        assert len(times) == 2
        assert times[1] - times[0] >= datetime.timedelta(seconds=1)

    @pytest.mark.parametrize("name", ["UnrecognizedClientException", "AccessDeniedException"])
    def test_what_will_not_pass_is_not_tried_again(self, gateway: RunningGateway, name: str) -> None:
        # A status of 500 and above makes the SDK try again, but for x-should-retry.
        model = f"simulator.throw-{name}:message.once"
        with gateway.openai(max_retries=2) as client:
            with pytest.raises(openai.InternalServerError) as caught:
                client.chat.completions.create(**asked("Hello", model=model))
        assert caught.value.response.headers["x-should-retry"] == "false"
        assert gateway.record(model=model)["request_id"] == caught.value.request_id


def _calls(calls: Any) -> list[tuple[str, str, str]]:
    """The calls of a message, for comparison: the SDK's own helper adds members of its own."""
    return [(call.id, call.function.name, call.function.arguments) for call in calls]
