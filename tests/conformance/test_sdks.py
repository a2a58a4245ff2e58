"""The official SDKs on every host: answers, streams, tools, embeddings, errors in their own classes."""

import contextlib
import json
from typing import Any, Final

import anthropic
import botocore.exceptions
import openai
import pytest

from support.gateway import RunningGateway
from support.hosts import RunningServer
from support.simulator import RunningSimulator, texts_of, user

MODEL: Final = "anthropic.claude-3-haiku-20240307-v1:0"
TOOL: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
ASKED: Final[Any] = [{"role": "user", "content": "Say it twice"}]
Host = RunningGateway | RunningServer


class TestAnswers:
    def test_chat(self, host: Host) -> None:
        with host.openai() as sdk:
            whole = sdk.chat.completions.create(model="claude", messages=ASKED)
            chunks = list(sdk.chat.completions.create(model="claude", messages=ASKED, stream=True))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert "“Say it twice”" in text
        assert text == whole.choices[0].message.content

    def test_a_tool_is_called_and_its_result_taken(self, host: Host) -> None:
        tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": TOOL}}]
        choice: Any = {"type": "function", "function": {"name": "weather"}}
        with host.openai() as sdk:
            first = sdk.chat.completions.create(
                model="claude", messages=ASKED, tools=tools, tool_choice=choice
            ).choices[0]
            assert first.finish_reason == "tool_calls"
            (call,) = first.message.tool_calls or []
            assert call.type == "function"
            assert "city" in json.loads(call.function.arguments)
            result = {"role": "tool", "tool_call_id": call.id, "content": "It rains."}
            messages: Any = [*ASKED, first.message.model_dump(exclude_none=True), result]
            second = sdk.chat.completions.create(model="claude", messages=messages, tools=tools).choices[0]
        assert second.finish_reason == "stop"

    def test_responses(self, host: Host) -> None:
        with host.openai() as sdk:
            whole = sdk.responses.create(model="claude", input="Say it twice")
            events = list(sdk.responses.create(model="claude", input="Say it twice", stream=True))
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert "“Say it twice”" in text
        assert text == whole.output_text
        assert events[-1].type == "response.completed"

    def test_embeddings(self, host: Host) -> None:
        texts = [f"number {number}" for number in range(12)]
        with host.openai() as sdk:
            answer = sdk.embeddings.create(model="amazon.titan-embed-text-v2:0", input=texts)
        assert [one.index for one in answer.data] == list(range(12))
        assert {len(one.embedding) for one in answer.data} == {1024}

    def test_models(self, host: Host) -> None:
        with host.openai() as sdk:
            assert {"claude", "claude-fast", "nova"} <= {model.id for model in sdk.models.list()}

    def test_messages(self, host: Host) -> None:
        with host.anthropic() as sdk:
            whole = sdk.messages.create(model=MODEL, max_tokens=300, messages=ASKED)
            with sdk.messages.stream(model=MODEL, max_tokens=300, messages=ASKED) as stream:
                text = "".join(stream.text_stream)
        assert "“Say it twice”" in text
        assert [block.text for block in whole.content if block.type == "text"] == [text]

    def test_count_tokens(self, host: Host) -> None:
        with host.anthropic() as sdk:
            few = sdk.messages.count_tokens(model=MODEL, messages=ASKED)
            many = sdk.messages.count_tokens(
                model=MODEL, messages=[{"role": "user", "content": "word " * 500}]
            )
        assert 0 < few.input_tokens < many.input_tokens

    def test_bedrocks_own(self, host: Host) -> None:
        sdk = host.bedrock()
        whole = sdk.converse(modelId="claude", messages=[user("Say it twice")])
        events = list(sdk.converse_stream(modelId="claude", messages=[user("Say it twice")])["stream"])
        body = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 50, "messages": ASKED})
        invoked = json.loads(sdk.invoke_model(modelId=MODEL, body=body)["body"].read())
        chunks = list(sdk.invoke_model_with_response_stream(modelId=MODEL, body=body)["body"])
        sdk.close()
        assert whole["output"]["message"]["content"][0]["text"] == texts_of(events)
        assert [next(iter(event)) for event in events[-2:]] == ["messageStop", "metadata"]
        assert invoked["type"] == "message"
        assert json.loads(chunks[-1]["chunk"]["bytes"])["type"] == "message_stop"


class TestErrors:
    def test_openais(self, host: Host) -> None:
        with host.openai(api_key="sk-wrong") as sdk, pytest.raises(openai.PermissionDeniedError) as caught:
            sdk.chat.completions.create(model="claude", messages=ASKED)
        told = caught.value.response.headers
        assert (caught.value.code, told["x-should-retry"]) == ("invalid_api_key", "false")
        assert caught.value.request_id
        with host.openai() as sdk:
            with pytest.raises(openai.RateLimitError) as throttled:
                sdk.chat.completions.create(model="simulator.throw-ThrottlingException", messages=ASKED)
            assert 1 <= int(throttled.value.response.headers["retry-after"]) <= 60
            with pytest.raises(openai.BadRequestError) as bad:
                sdk.chat.completions.create(model="claude", messages="no list")  # type: ignore[arg-type]
            assert bad.value.code == "INVALID_REQUEST"
            with pytest.raises(openai.NotFoundError, match="arn:aws:x/y"):
                sdk.get("/models/arn%3Aaws%3Ax%2Fy", cast_to=object)

    def test_anthropics(self, host: Host) -> None:
        with host.anthropic(api_key="sk-wrong") as sdk, pytest.raises(anthropic.PermissionDeniedError):
            sdk.messages.create(model=MODEL, max_tokens=9, messages=ASKED)
        with host.anthropic() as sdk, pytest.raises(anthropic.InternalServerError) as caught:
            model = "simulator.throw-ServiceUnavailableException"
            sdk.messages.create(model=model, max_tokens=9, messages=ASKED)
        assert caught.value.status_code == 529
        assert isinstance(caught.value.body, dict)
        assert caught.value.body["error"]["type"] == "overloaded_error"
        assert caught.value.body["request_id"] == caught.value.request_id

    def test_bedrocks(self, host: Host) -> None:
        sdk = host.bedrock()
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            sdk.converse(modelId="simulator.throw-ThrottlingException", messages=[user("Hello")])
        sdk.close()
        assert caught.value.response["Error"]["Code"] == "ThrottlingException"

    def test_a_body_beyond_the_bound(self, host: Host) -> None:
        """And the client may tell it by the answer, not by a broken pipe."""
        with host.openai() as sdk, pytest.raises(openai.APIStatusError) as caught:
            sdk.chat.completions.create(
                model="claude", messages=[{"role": "user", "content": "x" * 41_000_000}]
            )
        assert (caught.value.status_code, caught.value.code) == (413, "PAYLOAD_TOO_LARGE")

    @pytest.mark.parametrize("scenario", ["stream-throttlingException", "bad-crc", "cut-mid-frame"])
    def test_a_stream_never_ends_well_that_did_not(self, host: Host, scenario: str) -> None:
        model = f"simulator.{scenario}:after.2"
        with host.openai() as sdk, pytest.raises(openai.APIError):
            list(sdk.chat.completions.create(model=model, messages=ASKED, stream=True))
        with host.anthropic() as claude, pytest.raises(anthropic.APIError):
            list(claude.messages.create(model=model, max_tokens=300, messages=ASKED, stream=True))
        sdk = host.bedrock()
        stream = sdk.converse_stream(modelId=model, messages=[user("Hello")])["stream"]
        # An SDK's stream does not close itself behind an error.
        with contextlib.closing(stream), pytest.raises(botocore.exceptions.EventStreamError):
            list(stream)
        sdk.close()


def test_what_a_request_was_is_in_the_log(host: Host, bedrock: RunningSimulator) -> None:
    with host.openai() as sdk:
        answer = sdk.chat.completions.create(model="claude", messages=ASKED)
    record = host.record(request_id=answer._request_id)
    assert (record["client"], record["consumer"]) == ("127.0.0.1", "team-a")
    assert (record["outcome"], record["status"]) == ("complete", 200)
