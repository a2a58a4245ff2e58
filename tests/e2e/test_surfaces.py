"""Surfaces: the same callers, served by the vendors' APIs that AWS hosts instead of by Converse or
InvokeModel.

Which one is called, under which path and signing name, is the simulator's ledger's to say. A stream of
server-sent events is held to the same promises as a stream of frames.
"""

import contextlib
from collections.abc import Generator, Mapping
from typing import Any, Final

import anthropic
import openai
import pytest

from support.gateway import RunningGateway, running_gateway
from support.simulator import CLAUDE, RunningSimulator

SURFACES: Final[Mapping[str, Any]] = {
    "openai": {"models": ["openai.gpt-oss-120b*", "runtime.*"]},
    "mantle_openai": {"models": ["openai.gpt-oss-20b*", "mantle.*"]},
    "anthropic": {"models": ["us.anthropic.claude-sonnet-4-*", "runtime.*"]},
    "mantle_anthropic": {"models": ["anthropic.claude-3-haiku*", "mantle.*"]},
}
RUNTIME_GPT, MANTLE_GPT = "openai.gpt-oss-120b-1:0", "openai.gpt-oss-20b-1:0"
RUNTIME_CLAUDE, MANTLE_CLAUDE = "us.anthropic.claude-sonnet-4-20250514-v1:0", CLAUDE
OPENAI: Final = (RUNTIME_GPT, MANTLE_GPT)
ANTHROPIC: Final = (RUNTIME_CLAUDE, MANTLE_CLAUDE)
SIGNING_NAMES: Final = {
    RUNTIME_GPT: "bedrock",
    MANTLE_GPT: "bedrock-mantle",
    RUNTIME_CLAUDE: "bedrock",
    MANTLE_CLAUDE: "bedrock-mantle",
}
GUARDRAIL: Final = {
    "X-Amzn-Bedrock-GuardrailIdentifier": "gr1abcdefghi",
    "X-Amzn-Bedrock-GuardrailVersion": "DRAFT",
}
BETAS: Final = "context-1m-2025-08-07,token-counting-2024-11-01"
WEATHER: Final[Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def served(simulator: RunningSimulator) -> Generator[RunningGateway]:
    with running_gateway(simulator.url, proxy={"surfaces": SURFACES}) as gateway:
        yield gateway


@pytest.fixture
def chat(served: RunningGateway) -> Generator[openai.OpenAI]:
    with served.openai() as sdk:
        yield sdk


@pytest.fixture
def claude(served: RunningGateway) -> Generator[anthropic.Anthropic]:
    with served.anthropic() as sdk:
        yield sdk


def called(simulator: RunningSimulator) -> tuple[str, str]:
    """Under which name the last call was signed, and its path."""
    last = simulator.requests()[-1]
    assert last["verified"]
    return last["signing_name"], last["target"]


def broken_by(model: str, scenario: str) -> str:
    """A model at the same place, with which that happens."""
    return f"{'mantle' if SIGNING_NAMES[model] == 'bedrock-mantle' else 'runtime'}.simulator.{scenario}"


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("model", OPENAI)
class TestChat:
    def test_an_answer_and_a_stream(
        self, chat: openai.OpenAI, simulator: RunningSimulator, model: str
    ) -> None:
        whole = chat.chat.completions.create(model=model, messages=user("Say it twice"))
        assert called(simulator) == (SIGNING_NAMES[model], "/openai/v1/chat/completions")
        assert whole.model == model
        assert whole.usage is not None
        chunks = list(
            chat.chat.completions.create(
                model=model,
                messages=user("Say it twice"),
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        # What the simulated model says depends on the body, and `stream` stands in it.
        for said in (text, whole.choices[0].message.content or ""):
            assert "“Say it twice”" in said
        assert {chunk.model for chunk in chunks} == {model}
        (usage,) = [chunk.usage for chunk in chunks if chunk.usage]
        assert usage.prompt_tokens == whole.usage.prompt_tokens > 0

    def test_who_wants_no_usage_gets_none_and_the_log_has_it(
        self, chat: openai.OpenAI, served: RunningGateway, model: str
    ) -> None:
        stream = chat.chat.completions.with_raw_response.create(
            model=model, messages=user("How much?"), stream=True
        )
        request_id = stream.headers["x-request-id"]
        assert not any(chunk.usage or not chunk.choices for chunk in stream.parse())
        record = served.record(request_id=request_id)
        assert record["input_tokens"] > 0
        assert record["output_tokens"] > 0
        assert record["operation"] == "ChatCompletions"

    def test_a_tool_is_called(self, chat: openai.OpenAI, model: str) -> None:
        answer = chat.chat.completions.create(
            model=model, messages=user("Use weather"), tools=[WEATHER], logit_bias={"7": 1}, seed=3
        )
        calls: list[Any] = answer.choices[0].message.tool_calls or []
        assert [call.function.name for call in calls] == ["weather"]

    def test_what_the_model_refuses_is_refused_in_its_words(self, chat: openai.OpenAI, model: str) -> None:
        with pytest.raises(openai.RateLimitError) as caught:
            chat.chat.completions.create(
                model=broken_by(model, "throw-ThrottlingException"), messages=user("x")
            )
        assert caught.value.code == "rate_limit_exceeded"
        with pytest.raises(openai.BadRequestError):
            chat.chat.completions.create(
                model=broken_by(model, "throw-ValidationException"), messages=user("x")
            )

    @pytest.mark.parametrize(
        "scenario",
        [
            "stream-throttlingException",
            "cut-mid-frame",
            "cut-between-frames",
            "end-before-done",
            "end-mid-frame",
            "reset-mid-stream",
            "bad-json",
        ],
    )
    def test_a_broken_stream_is_never_a_success(self, chat: openai.OpenAI, model: str, scenario: str) -> None:
        broken = broken_by(model, scenario)
        with pytest.raises(openai.APIError):
            for _ in chat.chat.completions.create(model=broken, messages=user("x"), stream=True):
                pass

    def test_an_error_before_the_first_word_is_an_http_error(self, chat: openai.OpenAI, model: str) -> None:
        broken = broken_by(model, "stream-throttlingException:after.start")
        with pytest.raises(openai.RateLimitError):
            chat.chat.completions.create(model=broken, messages=user("x"), stream=True)


@pytest.mark.parametrize("model", OPENAI)
class TestResponses:
    def test_an_answer_and_a_stream(
        self, chat: openai.OpenAI, simulator: RunningSimulator, model: str
    ) -> None:
        whole = chat.responses.create(model=model, input="Say it twice")
        assert called(simulator) == (SIGNING_NAMES[model], "/openai/v1/responses")
        assert (whole.model, whole.status) == (model, "completed")
        with chat.responses.stream(model=model, input="Say it twice") as stream:
            for _ in stream:
                pass
            final = stream.get_final_response()
        for answer in (whole, final):
            assert "“Say it twice”" in answer.output_text
            assert answer.usage is not None
            assert answer.usage.output_tokens > 0

    @pytest.mark.parametrize(
        "scenario", ["stream-throttlingException", "cut-between-frames", "end-before-done", "cut-mid-frame"]
    )
    def test_a_broken_stream_is_never_a_success(self, chat: openai.OpenAI, model: str, scenario: str) -> None:
        broken = broken_by(model, scenario)
        statuses = []
        with contextlib.suppress(openai.APIError):
            for event in chat.responses.create(model=broken, input="x", stream=True):
                statuses.append(event.type)
        assert "response.completed" not in statuses


@pytest.mark.parametrize("model", ANTHROPIC)
class TestMessages:
    def test_an_answer_and_a_stream(
        self, claude: anthropic.Anthropic, simulator: RunningSimulator, model: str
    ) -> None:
        asked: Any = {"model": model, "max_tokens": 200, "messages": user("Say it twice")}
        whole = claude.messages.create(
            **asked, extra_headers={"anthropic-beta": "context-1m-2025-08-07,token-counting-2024-11-01"}
        )
        assert called(simulator) == (SIGNING_NAMES[model], "/anthropic/v1/messages")
        headers = dict(simulator.requests()[-1]["headers"])
        assert headers["anthropic-version"] == claude.default_headers["anthropic-version"]
        assert headers["anthropic-beta"] == BETAS
        assert whole.model == model
        with claude.messages.stream(**asked) as stream:
            final = stream.get_final_message()
        answers: list[Any] = [whole, final]
        for answer in answers:
            assert "“Say it twice”" in "".join(block.text for block in answer.content if block.type == "text")
            assert answer.usage.output_tokens > 0

    def test_tokens_are_counted(
        self, claude: anthropic.Anthropic, simulator: RunningSimulator, model: str
    ) -> None:
        counted = claude.messages.count_tokens(model=model, messages=user("How many?"))
        assert counted.input_tokens > 0
        assert called(simulator) == (SIGNING_NAMES[model], "/anthropic/v1/messages/count_tokens")

    def test_what_the_model_refuses_is_refused(self, claude: anthropic.Anthropic, model: str) -> None:
        with pytest.raises(anthropic.RateLimitError):
            claude.messages.create(
                model=broken_by(model, "throw-ThrottlingException"), max_tokens=9, messages=user("x")
            )

    @pytest.mark.parametrize(
        "scenario",
        [
            "stream-throttlingException",
            "cut-mid-frame",
            "cut-between-frames",
            "end-before-done",
            "end-mid-frame",
            "reset-mid-stream",
            "bad-json",
        ],
    )
    def test_a_broken_stream_is_never_a_success(
        self, claude: anthropic.Anthropic, model: str, scenario: str
    ) -> None:
        broken = broken_by(model, scenario)
        seen = []
        with pytest.raises(anthropic.APIError):
            for event in claude.messages.create(
                model=broken, max_tokens=200, messages=user("x"), stream=True
            ):
                seen.append(event.type)
        assert "message_stop" not in seen


class TestGuardrails:
    def test_at_the_runtime_they_travel_in_headers(
        self, chat: openai.OpenAI, claude: anthropic.Anthropic, simulator: RunningSimulator
    ) -> None:
        chat.chat.completions.create(model=RUNTIME_GPT, messages=user("x"), extra_headers=GUARDRAIL)
        assert simulator.requests()[-1]["guardrail_id"] == "gr1abcdefghi"
        claude.messages.create(
            model=RUNTIME_CLAUDE, max_tokens=9, messages=user("x"), extra_headers=GUARDRAIL
        )
        assert simulator.requests()[-1]["guardrail_id"] == "gr1abcdefghi"

    def test_on_converse_they_travel_in_the_body(
        self, chat: openai.OpenAI, simulator: RunningSimulator
    ) -> None:
        chat.chat.completions.create(model="nova", messages=user("x"), extra_headers=GUARDRAIL)
        last = simulator.requests()[-1]
        assert last["body"]["guardrailConfig"]["guardrailIdentifier"] == "gr1abcdefghi"

    def test_where_they_cannot_travel_the_call_is_refused(
        self, chat: openai.OpenAI, claude: anthropic.Anthropic
    ) -> None:
        with pytest.raises(openai.BadRequestError, match="guardrail"):
            chat.chat.completions.create(model=MANTLE_GPT, messages=user("x"), extra_headers=GUARDRAIL)
        with pytest.raises(anthropic.BadRequestError, match="guardrail"):
            claude.messages.create(
                model=MANTLE_CLAUDE, max_tokens=9, messages=user("x"), extra_headers=GUARDRAIL
            )


def test_a_model_that_is_said_to_be_elsewhere_is_not_called_by_callers_who_cannot_reach_it(
    simulator: RunningSimulator,
) -> None:
    models = {"far": {"target": "anthropic.claude-sonnet-4", "surface": "mantle_anthropic"}}
    with running_gateway(simulator.url, proxy={"models": models}) as gateway:
        before = len(simulator.requests())
        with gateway.openai() as sdk, pytest.raises(openai.BadRequestError) as caught:
            sdk.chat.completions.create(model="far", messages=user("x"))
        assert caught.value.param == "model"
        assert len(simulator.requests()) == before


def test_shared_answers_of_the_vendors_apis(simulator: RunningSimulator) -> None:
    """One call, two streams that say the same: the cache keeps server-sent events as it keeps frames."""
    cache = {"name": "response-cache", "config": {"cache_ttl": 60}}
    with running_gateway(simulator.url, proxy={"surfaces": SURFACES}, plugins=[cache]) as gateway:
        with gateway.openai() as sdk, gateway.anthropic() as claude:
            texts = []
            for status in ("Miss", "Hit"):
                raw = sdk.chat.completions.with_raw_response.create(
                    model=RUNTIME_GPT, messages=user("Once"), stream=True
                )
                assert raw.headers["x-cache-status"] == status
                chunks = [chunk for chunk in raw.parse() if chunk.choices]
                texts.append("".join(chunk.choices[0].delta.content or "" for chunk in chunks))
            assert texts[0] == texts[1] != ""
            messages = []
            for status in ("Miss", "Hit"):
                asked = claude.messages.with_raw_response.create(
                    model=RUNTIME_CLAUDE, max_tokens=90, messages=user("Once")
                )
                assert asked.headers["x-cache-status"] == status
                messages.append(asked.parse().content)
            assert messages[0] == messages[1]
