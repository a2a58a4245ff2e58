"""The running simulator and the vendors' own SDKs, nothing patched: what they make of answers and faults."""

import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final

import anthropic
import openai
import pytest

from support.simulator import RunningSimulator, running_simulator

KEY: Final = "ABSKfor-tests"
GPT: Final = "openai.gpt-oss-20b-1:0"
CLAUDE: Final = "anthropic.claude-haiku-4-5-20251001-v1:0"
TIMEOUT: Final = 1.0


@pytest.fixture(scope="module")
def simulator() -> Generator[RunningSimulator]:
    """One for all."""
    with running_simulator("--api-key", KEY) as running:
        yield running


@pytest.fixture(scope="module")
def openai_client(simulator: RunningSimulator) -> Generator[openai.OpenAI]:
    """OpenAI's SDK."""
    url = f"{simulator.url}/openai/v1"
    with openai.OpenAI(api_key=KEY, base_url=url, max_retries=0, timeout=TIMEOUT) as client:
        yield client


@pytest.fixture(scope="module")
def anthropic_client(simulator: RunningSimulator) -> Generator[anthropic.Anthropic]:
    """Anthropic's SDK."""
    url = f"{simulator.url}/anthropic"
    with anthropic.Anthropic(api_key=KEY, base_url=url, max_retries=0, timeout=TIMEOUT) as client:
        yield client


class Callers:
    """The three streaming calls: each gives the text, or raises what its SDK raises."""

    def __init__(self, openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic) -> None:
        self._openai = openai_client
        self._anthropic = anthropic_client

    def chat(self, wish: str) -> str:
        """Chat completions."""
        messages: Any = [{"role": "user", "content": f"hi [[simulator: {wish}]]"}]
        stream = self._openai.chat.completions.create(model=GPT, messages=messages, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    def responses(self, wish: str) -> str:
        """Responses. The SDK hands over as an event what says that one has failed; here it is raised."""
        stream = self._openai.responses.create(model=GPT, input=f"hi [[simulator: {wish}]]", stream=True)
        said = ""
        for event in stream:
            if event.type == "response.output_text.delta":
                said += event.delta
            elif event.type in ("error", "response.failed"):
                raise Told(event.type)
        return said

    def messages(self, wish: str) -> str:
        """Messages."""
        messages: Any = [{"role": "user", "content": f"hi [[simulator: {wish}]]"}]
        with self._anthropic.messages.stream(model=CLAUDE, max_tokens=999, messages=messages) as stream:
            return "".join(stream.text_stream)


class Told(Exception):
    """An event said that the response has failed."""


@pytest.fixture(scope="module")
def callers(openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic) -> Callers:
    """All of them."""
    return Callers(openai_client, anthropic_client)


def calls(callers: Callers) -> Iterator[Callable[[str], str]]:
    """The three calls."""
    yield from (callers.chat, callers.responses, callers.messages)


def both(name: str) -> tuple[Any, Any, Any]:
    """An exception of both SDKs, for the three calls."""
    return getattr(openai, name), getattr(openai, name), getattr(anthropic, name)


class TestGoodStreams:
    @pytest.mark.parametrize("wish", ["words=40", "words=40 pace=2000"])
    @pytest.mark.parametrize(
        "scenario", ["", "odd-lines", "until-close", "early-hints", "close-after-answer"]
    )
    def test_however_they_come(self, callers: Callers, scenario: str, wish: str) -> None:
        for call in calls(callers):
            assert len(call(f"{scenario} {wish}".strip()).split()) >= 38

    def test_even_byte_by_byte(self, callers: Callers) -> None:
        for call in calls(callers):
            assert call("drip words=5")

    def test_unknown_events_are_no_harm_to_those_who_name_theirs(self, callers: Callers) -> None:
        assert callers.messages("unknown-events")
        assert callers.responses("unknown-events")


class TestFaults:
    @pytest.mark.parametrize(
        ("wish", "chat", "responses", "messages"),
        [
            ("throw-ThrottlingException", *both("RateLimitError")),
            ("throw-ServiceUnavailableException", *both("InternalServerError")),
            ("stream-throttlingException", openai.APIError, Told, anthropic.APIStatusError),
            ("stream-modelStreamErrorException after=0", openai.APIError, Told, anthropic.APIStatusError),
            ("stream-validationException style=failed", openai.APIError, Told, anthropic.APIStatusError),
            ("stream-error code=overloaded_error", openai.APIError, Told, anthropic.APIStatusError),
            ("reset-before-headers", *both("APIConnectionError")),
            ("stall-before-headers", *both("APITimeoutError")),
        ],
    )
    def test_are_told(self, callers: Callers, wish: str, chat: Any, responses: Any, messages: Any) -> None:
        for call, expected in zip(calls(callers), (chat, responses, messages), strict=True):
            with pytest.raises(expected):
                call(wish)

    @pytest.mark.parametrize("wish", ["cut-mid-frame", "reset-mid-stream", "stall-mid-stream", "bad-json"])
    def test_broken_streams_are_seen_by_everybody(self, callers: Callers, wish: str) -> None:
        for call in calls(callers):
            with pytest.raises(Exception) as caught:
                call(wish)
            assert not isinstance(caught.value, AssertionError | Told)

    @pytest.mark.parametrize("wish", ["end-before-messageStop", "end-before-done"])
    def test_a_silent_end_is_not(self, callers: Callers, wish: str) -> None:
        """Which is why a gateway must look for the end itself."""
        assert callers.chat(wish)
        assert callers.responses(wish)


class TestLedger:
    def test_who_leaves_is_noted(self, simulator: RunningSimulator, openai_client: openai.OpenAI) -> None:
        messages: Any = [{"role": "user", "content": "[[simulator: slow ms=20 words=99]]"}]
        stream = openai_client.chat.completions.create(model=GPT, messages=messages, stream=True)
        next(iter(stream))
        stream.close()
        deadline = time.monotonic() + 5
        while (last := simulator.requests()[-1])["outcome"] == "running" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (last["operation"], last["outcome"], last["phase"]) == (
            "ChatCompletions",
            "cancelled",
            "mid-stream",
        )


def test_tokens_are_counted(anthropic_client: anthropic.Anthropic) -> None:
    counted = anthropic_client.messages.count_tokens(
        model=CLAUDE, messages=[{"role": "user", "content": "one two three"}]
    )
    assert counted.input_tokens == 4


def test_a_conversation_with_thoughts_and_tools(anthropic_client: anthropic.Anthropic) -> None:
    tools: Any = [{"name": "get_weather", "input_schema": {"type": "object", "properties": {}}}]
    messages: Any = [{"role": "user", "content": "get_weather please"}]
    options: Any = {"model": CLAUDE, "max_tokens": 9999, "tools": tools, "thinking": {"type": "adaptive"}}
    first = anthropic_client.messages.create(messages=messages, **options)
    assert [block.type for block in first.content] == ["thinking", "text", "tool_use"]
    result = {"type": "tool_result", "tool_use_id": first.content[2].id, "content": "rain"}
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = anthropic_client.messages.create(messages=messages, **options)
    assert any("rain" in block.text for block in second.content if block.type == "text")
