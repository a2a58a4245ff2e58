"""Programs as their authors write them, against the running gateway: the Vercel AI SDK (its OpenAI, Anthropic
and Bedrock providers), LangChain (OpenAI and AWS) and LiteLLM. Nothing of them is patched; each has nothing
but a URL and a key.

Plain and streamed answers, tools with their round trip, images, objects of a given shape, embeddings, errors.
"""

from collections.abc import Generator
from typing import Any, Final

import pytest

from support.clients import run_node, run_python
from support.gateway import MODELS, RunningGateway, running_gateway
from support.simulator import RunningSimulator

PLAIN: Final = "“Say it plainly”"
"""The simulated model repeats what it was asked."""
PIXEL: Final = "png"


@pytest.fixture(scope="module")
def served(simulator: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway that also has a name for an embedding model, and keeps answers for a while."""
    models = {**MODELS, "titan": "amazon.titan-embed-text-v2:0"}
    # The Vercel AI SDK refers to items of earlier answers, as OpenAI keeps them.
    store = {"name": "response-store"}
    with running_gateway(simulator.url, proxy={"models": models}, plugins=[store]) as running:
        yield running


@pytest.fixture(scope="module", params=["openai-chat", "openai-responses", "anthropic", "bedrock"])
def vercel(request: pytest.FixtureRequest, served: RunningGateway) -> dict[str, Any]:
    return run_node(served, request.param)


@pytest.mark.timeout(240)
class TestVercelAiSdk:
    def test_a_plain_answer(self, vercel: dict[str, Any]) -> None:
        chat = vercel["chat"]
        assert PLAIN in chat["text"]
        assert chat["finishReason"] == "stop"
        assert chat["input"] > 0
        assert chat["output"] > 0

    def test_a_stream_says_the_same(self, vercel: dict[str, Any]) -> None:
        stream = vercel["stream"]
        assert (stream["failures"], stream["finishReason"]) == ([], "stop")
        assert stream["text"] == vercel["chat"]["text"]
        assert stream["input"] == vercel["chat"]["input"]
        assert stream["pieces"] > 3

    def test_a_tool_is_called_and_its_result_comes_back(self, vercel: dict[str, Any]) -> None:
        for way in ("tools", "streamedTools"):
            (call,) = vercel[way]["calls"]
            assert call["toolName"] == "weather"
            assert f"rain over {call['input']['city']}" in vercel[way]["text"]

    def test_an_image_arrives(self, vercel: dict[str, Any]) -> None:
        assert PIXEL in vercel["image"]["text"]

    def test_an_object_of_a_given_shape(self, vercel: dict[str, Any]) -> None:
        city = vercel["object"]["output"]
        assert isinstance(city["city"], str)
        assert isinstance(city["people"], int | float)

    def test_errors_are_calls_that_failed(self, vercel: dict[str, Any]) -> None:
        unknown, throttled = vercel["unknownModel"], vercel["throttled"]
        assert (unknown["isApiCallError"], unknown["status"], unknown["retryable"]) == (True, 404, False)
        assert (throttled["isApiCallError"], throttled["status"], throttled["retryable"]) == (True, 429, True)

    def test_a_broken_stream_is_no_success(self, vercel: dict[str, Any]) -> None:
        broken = vercel["broken"]
        assert broken.get("failures") or "error" in broken


@pytest.mark.timeout(240)
def test_the_vercel_ai_sdk_embeds(served: RunningGateway) -> None:
    embeddings = run_node(served, "openai-chat")["embeddings"]
    assert embeddings["lengths"] == [1024, 1024, 1024]
    assert embeddings["tokens"] > 0


@pytest.fixture(
    scope="module", params=["openai-chat", "openai-responses", "bedrock-converse", "bedrock-invoke"]
)
def langchain(request: pytest.FixtureRequest, served: RunningGateway) -> dict[str, Any]:
    return run_python(served, "langchain_client.py", request.param)


@pytest.mark.timeout(240)
class TestLangChain:
    def test_a_plain_answer_and_a_stream(self, langchain: dict[str, Any]) -> None:
        chat, stream = langchain["chat"], langchain["stream"]
        assert PLAIN in chat["text"]
        assert stream["text"] == chat["text"]
        assert stream["pieces"] > 3
        for counts in (chat["usage"], stream["usage"]):
            assert counts["input_tokens"] > 0
            assert counts["total_tokens"] == counts["input_tokens"] + counts["output_tokens"]

    def test_a_tool_is_called_and_its_result_comes_back(self, langchain: dict[str, Any]) -> None:
        (call,) = langchain["tools"]["calls"]
        assert call["name"] == "weather"
        assert f"rain over {call['args']['city']}" in langchain["tools"]["text"]

    def test_an_image_arrives(self, langchain: dict[str, Any]) -> None:
        assert PIXEL in langchain["image"]["text"]

    def test_an_object_of_a_given_shape(self, langchain: dict[str, Any]) -> None:
        assert set(langchain["structured"]["city"]) == {"name", "people"}

    def test_a_throttled_call_is_its_own_error(self, langchain: dict[str, Any]) -> None:
        assert langchain["throttled"]["error"] in {
            "RateLimitError",
            "OpenAIRateLimitError",
            "ThrottlingException",
        }

    def test_embeddings(self, langchain: dict[str, Any]) -> None:
        assert langchain["embeddings"]["lengths"] == [1024, 1024, 1024]


@pytest.fixture(scope="module", params=["openai", "anthropic", "bedrock", "bedrock-invoke"])
def litellm(request: pytest.FixtureRequest, served: RunningGateway) -> dict[str, Any]:
    results = run_python(served, "litellm_client.py", request.param)
    return {**results, "way": request.param}


@pytest.mark.timeout(240)
class TestLiteLlm:
    def test_a_plain_answer_and_a_stream(self, litellm: dict[str, Any]) -> None:
        chat, stream = litellm["chat"], litellm["stream"]
        assert PLAIN in chat["text"]
        assert (chat["finish"], stream["finish"]) == ("stop", ["stop"])
        assert stream["text"] == chat["text"]
        assert chat["input"] > 0
        assert chat["output"] > 0

    def test_a_tool_is_called_and_its_result_comes_back(self, litellm: dict[str, Any]) -> None:
        tools = litellm["tools"]
        assert (tools["finish"], tools["name"]) == ("tool_calls", "weather")
        assert isinstance(tools["arguments"]["city"], str)
        assert "rain over there" in tools["text"]

    def test_an_image_arrives(self, litellm: dict[str, Any]) -> None:
        assert PIXEL in litellm["image"]["text"]

    def test_a_throttled_call_is_its_own_error(self, litellm: dict[str, Any]) -> None:
        assert (litellm["throttled"]["error"], litellm["throttled"]["status"]) == ("RateLimitError", 429)

    def test_embeddings(self, litellm: dict[str, Any]) -> None:
        if litellm["way"] == "openai":
            assert litellm["embeddings"]["lengths"] == [1024, 1024, 1024]
            assert litellm["embeddings"]["input"] > 0
