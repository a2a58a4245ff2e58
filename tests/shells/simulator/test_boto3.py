"""The running simulator and AWS's own SDK, nothing patched: every operation, every fault as botocore sees it.

botocore is the judge on both sides: it has signed the request, and it parses the answer by its service model.
"""

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import botocore.session
import pytest
from anthropic import AnthropicBedrock
from botocore.eventstream import ChecksumMismatch, InvalidPayloadLength
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EventStreamError,
    HTTPClientError,
    ParamValidationError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.validate import ParamValidator
from urllib3.exceptions import ProtocolError

from stargate.simulator.errors import ERRORS
from stargate.simulator.settings import ACCESS_KEY_ID, SECRET_ACCESS_KEY
from support.simulator import (
    CLAUDE,
    REGION,
    RunningSimulator,
    running_simulator,
    texts_of,
    user,
)
from support.vectors import RECORDED

PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PROFILE: Final = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-v1:0"
WEATHER: Final[dict[str, Any]] = {
    "tools": [
        {
            "toolSpec": {
                "name": "get_weather",
                "description": "The weather in a city.",
                "inputSchema": {
                    "json": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
                        "required": ["city", "unit"],
                    }
                },
            }
        }
    ]
}
MODEL: Final = botocore.session.Session().get_service_model("bedrock-runtime")


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator("--api-key", "ABSKtest", "--recordings", str(RECORDED)) as running:
        yield running


@pytest.fixture(scope="module")
def client(simulator: RunningSimulator) -> Iterator[Any]:
    client = simulator.client()
    yield client
    client.close()


def ask(client: Any, text: str = "Hello there", **more: Any) -> Any:
    """A Converse call of one message."""
    return client.converse(modelId=CLAUDE, messages=[user(text)], **more)


def stream(client: Any, text: str = "Hello there", **more: Any) -> list[Any]:
    """The events of a ConverseStream call."""
    events: list[Any] = []
    receive(client, text, events, **more)
    return events


def receive(client: Any, text: str, events: list[Any], **more: Any) -> None:
    """Append the events of a ConverseStream call, as far as they come."""
    answer = client.converse_stream(modelId=CLAUDE, messages=[user(text)], **more)
    with contextlib.closing(answer["stream"]) as received:
        events.extend(received)


def check_output(operation: str, answer: dict[str, Any]) -> None:
    """Hold a parsed answer against the operation's output shape."""
    shape = MODEL.operation_model(operation).output_shape
    assert shape is not None
    report = ParamValidator().validate({k: v for k, v in answer.items() if k != "ResponseMetadata"}, shape)
    assert not report.has_errors(), report.generate_report()


class TestConverse:
    @pytest.mark.parametrize(
        "model_id", [CLAUDE, PROFILE, "us.anthropic.claude-sonnet-4-20250514-v1:0", "amazon.nova-lite-v1:0"]
    )
    def test_models_of_all_kinds(self, simulator: RunningSimulator, client: Any, model_id: str) -> None:
        answer = client.converse(modelId=model_id, messages=[user("Hello there")])
        check_output("Converse", answer)
        assert "“Hello there”" in answer["output"]["message"]["content"][0]["text"]
        assert simulator.requests()[-1]["model_id"] == model_id

    def test_everything_a_request_may_have(self, client: Any) -> None:
        answer = client.converse(
            modelId=CLAUDE,
            messages=[
                user("first"),
                {"role": "assistant", "content": [{"text": "second"}]},
                {
                    "role": "user",
                    "content": [
                        {"text": "third"},
                        {"image": {"format": "png", "source": {"bytes": PNG}}},
                        {"document": {"format": "txt", "name": "Notes", "source": {"bytes": b"hi"}}},
                        {"cachePoint": {"type": "default"}},
                    ],
                },
            ],
            system=[{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
            inferenceConfig={"maxTokens": 500, "temperature": 0.5, "topP": 0.9, "stopSequences": ["never"]},
            toolConfig=WEATHER,
            additionalModelRequestFields={"top_k": 20},
            additionalModelResponseFieldPaths=["/stop_sequence"],
            requestMetadata={"team": "a"},
            performanceConfig={"latency": "standard"},
            serviceTier={"type": "default"},
            guardrailConfig={"guardrailIdentifier": "abc", "guardrailVersion": "1", "trace": "enabled"},
        )
        check_output("Converse", answer)
        text = answer["output"]["message"]["content"][0]["text"]
        assert f"png image of {len(PNG)} bytes" in text
        assert "txt document of 2 bytes" in text
        assert answer["serviceTier"] == {"type": "default"}
        assert answer["trace"]["guardrail"]["inputAssessment"].keys() == {"abc"}

    def test_a_stream_says_the_same(self, client: Any) -> None:
        whole = ask(client)
        events = stream(client)
        assert texts_of(events) == whole["output"]["message"]["content"][0]["text"]
        assert [next(iter(event)) for event in (events[0], *events[-2:])] == [
            *("messageStart", "messageStop", "metadata"),
        ]
        assert events[-1]["metadata"]["usage"] == whole["usage"]

    def test_max_tokens(self, client: Any) -> None:
        answer = ask(client, inferenceConfig={"maxTokens": 4})
        assert (answer["stopReason"], answer["usage"]["outputTokens"]) == ("max_tokens", 4)

    def test_stop_sequences(self, client: Any) -> None:
        answer = ask(
            client,
            "one two three",
            inferenceConfig={"stopSequences": [" three"]},
            additionalModelResponseFieldPaths=["/stop_sequence"],
        )
        assert answer["output"]["message"]["content"][0]["text"].endswith("one two")
        assert answer["stopReason"] == "stop_sequence"
        assert answer["additionalModelResponseFields"] == {"stop_sequence": " three"}

    def test_reasoning(self, client: Any) -> None:
        fields = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
        answer = ask(client, additionalModelRequestFields=fields)
        first = answer["output"]["message"]["content"][0]["reasoningContent"]["reasoningText"]
        deltas = [
            event["contentBlockDelta"]["delta"]["reasoningContent"]
            for event in stream(client, additionalModelRequestFields=fields)
            if "reasoningContent" in event.get("contentBlockDelta", {}).get("delta", {})
        ]
        assert "".join(delta.get("text", "") for delta in deltas) == first["text"]
        assert deltas[-1] == {"signature": first["signature"]}

    def test_redacted_reasoning_is_a_blob(self, client: Any) -> None:
        answer = ask(client, "[[simulator: redacted-reasoning]]")
        content = answer["output"]["message"]["content"][0]["reasoningContent"]
        assert isinstance(content["redactedContent"], bytes)

    def test_an_answer_in_json(self, client: Any) -> None:
        schema = json.dumps(
            {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        )
        structure = {"jsonSchema": {"name": "City", "schema": schema}}
        config = {"textFormat": {"type": "json_schema", "structure": structure}}
        answer = ask(client, "where is Lyon", outputConfig=config)
        assert json.loads(answer["output"]["message"]["content"][0]["text"]) == {"city": "Lyon"}


class TestTools:
    def test_a_round(self, client: Any) -> None:
        question = user("What does get_weather say about Oslo?")
        first = client.converse(modelId=CLAUDE, messages=[question], toolConfig=WEATHER)
        check_output("Converse", first)
        assert first["stopReason"] == "tool_use"
        asked = first["output"]["message"]
        use = asked["content"][-1]["toolUse"]
        assert use["name"] == "get_weather"
        assert use["input"]["city"] == "Oslo"
        assert use["input"]["unit"] in ("C", "F")
        result = {"toolResult": {"toolUseId": use["toolUseId"], "content": [{"json": {"t": -3}}]}}
        messages = [question, asked, {"role": "user", "content": [result]}]
        second = client.converse(modelId=CLAUDE, messages=messages, toolConfig=WEATHER)
        assert second["stopReason"] == "end_turn"
        assert '{"t":-3}' in second["output"]["message"]["content"][0]["text"]

    def test_in_a_stream(self, client: Any) -> None:
        events = stream(client, "get_weather in Oslo", toolConfig=WEATHER)
        whole = ask(client, "get_weather in Oslo", toolConfig=WEATHER)
        starts = [event["contentBlockStart"] for event in events if "contentBlockStart" in event]
        # Only the tool's block has a start: text begins with its first delta.
        assert [start["contentBlockIndex"] for start in starts] == [1]
        use = whole["output"]["message"]["content"][1]["toolUse"]
        assert starts[0]["start"]["toolUse"] == {"toolUseId": use["toolUseId"], "name": "get_weather"}
        fragments = [
            event["contentBlockDelta"]["delta"]["toolUse"]["input"]
            for event in events
            if "toolUse" in event.get("contentBlockDelta", {}).get("delta", {})
        ]
        assert json.loads("".join(fragments)) == use["input"]

    @pytest.mark.parametrize("choice", [{"any": {}}, {"tool": {"name": "get_weather"}}])
    def test_forced(self, client: Any, choice: dict[str, Any]) -> None:
        answer = ask(client, toolConfig={**WEATHER, "toolChoice": choice})
        assert [next(iter(block)) for block in answer["output"]["message"]["content"]] == ["toolUse"]


BODIES: Final[dict[str, dict[str, Any]]] = {
    CLAUDE: {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 400,
        "messages": [{"role": "user", "content": "hi"}],
    },
    "anthropic.claude-v2": {"prompt": "\n\nHuman: hi\n\nAssistant:", "max_tokens_to_sample": 400},
    "amazon.nova-micro-v1:0": {"messages": [user("hi")], "inferenceConfig": {"maxTokens": 400}},
    "amazon.titan-text-express-v1": {"inputText": "hi [[simulator: words=250]]"},
    "meta.llama3-70b-instruct-v1:0": {"prompt": "hi", "max_gen_len": 400},
    "mistral.mistral-7b-instruct-v0:2": {"prompt": "hi", "max_tokens": 400},
    "cohere.command-text-v14": {"prompt": "hi"},
    "cohere.command-r-v1:0": {"message": "hi"},
    "openai.gpt-oss-120b-1:0": {"messages": [{"role": "user", "content": "hi"}]},
}
TEXTS: Final[dict[str, Callable[[Any], str]]] = {
    CLAUDE: lambda body: body["content"][0]["text"],
    "anthropic.claude-v2": lambda body: body["completion"],
    "amazon.nova-micro-v1:0": lambda body: body["output"]["message"]["content"][0]["text"],
    "amazon.titan-text-express-v1": lambda body: body["results"][0]["outputText"],
    "meta.llama3-70b-instruct-v1:0": lambda body: body["generation"],
    "mistral.mistral-7b-instruct-v0:2": lambda body: body["outputs"][0]["text"],
    "cohere.command-text-v14": lambda body: body["generations"][0]["text"],
    "cohere.command-r-v1:0": lambda body: body["text"],
    "openai.gpt-oss-120b-1:0": lambda body: body["choices"][0]["message"]["content"],
}
PIECES: Final[dict[str, Callable[[Any], str]]] = {
    CLAUDE: lambda chunk: chunk.get("delta", {}).get("text", ""),
    "anthropic.claude-v2": lambda chunk: chunk["completion"],
    "amazon.nova-micro-v1:0": lambda chunk: (
        chunk.get("contentBlockDelta", {}).get("delta", {}).get("text", "")
    ),
    "amazon.titan-text-express-v1": lambda chunk: chunk["outputText"],
    "meta.llama3-70b-instruct-v1:0": lambda chunk: chunk["generation"],
    "mistral.mistral-7b-instruct-v0:2": lambda chunk: chunk["outputs"][0]["text"],
    "cohere.command-text-v14": lambda chunk: chunk.get("text", ""),
    "cohere.command-r-v1:0": lambda chunk: chunk.get("text", ""),
    "openai.gpt-oss-120b-1:0": lambda chunk: "".join(
        choice["delta"].get("content", "") for choice in chunk["choices"]
    ),
}


class TestInvoke:
    @pytest.mark.parametrize("model_id", BODIES)
    def test_a_stream_says_the_same(self, client: Any, model_id: str) -> None:
        body = json.dumps(BODIES[model_id])
        answer = client.invoke_model(modelId=model_id, body=body)
        assert answer["contentType"] == "application/json"
        text = TEXTS[model_id](json.loads(answer["body"].read()))
        assert "hi" in text
        streamed = client.invoke_model_with_response_stream(modelId=model_id, body=body)
        assert streamed["contentType"] == "application/json"
        chunks = [json.loads(event["chunk"]["bytes"]) for event in streamed["body"]]
        assert "".join(PIECES[model_id](chunk) for chunk in chunks) == text
        assert len(chunks) > 2
        metrics = chunks[-1]["amazon-bedrock-invocationMetrics"]
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        assert str(metrics["inputTokenCount"]) == headers["x-amzn-bedrock-input-token-count"]
        assert str(metrics["outputTokenCount"]) == headers["x-amzn-bedrock-output-token-count"]

    def test_headers_that_are_members(self, client: Any) -> None:
        answer = client.invoke_model(
            modelId=CLAUDE,
            body=json.dumps(BODIES[CLAUDE]),
            contentType="application/json",
            accept="application/json",
            trace="ENABLED",
            guardrailIdentifier="abc",
            guardrailVersion="DRAFT",
            performanceConfigLatency="standard",
            serviceTier="flex",
        )
        assert (answer["performanceConfigLatency"], answer["serviceTier"]) == ("standard", "flex")
        body = json.loads(answer["body"].read())
        assert body["amazon-bedrock-guardrailAction"] == "NONE"
        assert body["amazon-bedrock-trace"]["guardrail"]["input"].keys() == {"abc"}

    @pytest.mark.parametrize("model_id", BODIES)
    def test_a_body_of_another_family(self, client: Any, model_id: str) -> None:
        with pytest.raises(client.exceptions.ValidationException):
            client.invoke_model(modelId=model_id, body=json.dumps({"question": "hi"}))

    def test_anthropics_own_sdk(self, simulator: RunningSimulator) -> None:
        with AnthropicBedrock(
            base_url=simulator.url,
            aws_access_key=ACCESS_KEY_ID,
            aws_secret_key=SECRET_ACCESS_KEY,
            aws_region=REGION,
            max_retries=0,
        ) as claude:
            message = {"role": "user", "content": "hi"}
            whole = claude.messages.create(model=CLAUDE, max_tokens=400, messages=[message])  # type: ignore[list-item]
            with claude.messages.stream(model=CLAUDE, max_tokens=400, messages=[message]) as streamed:  # type: ignore[list-item]
                final = streamed.get_final_message()
        assert whole.content[0].type == "text"
        assert final.content[0].type == "text"
        assert final.content[0].text
        assert final.usage.output_tokens > 1


class TestEmbeddings:
    def embed(self, client: Any, model_id: str, **body: Any) -> Any:
        answer = client.invoke_model(modelId=model_id, body=json.dumps(body))
        return json.loads(answer["body"].read())

    def test_titan(self, client: Any) -> None:
        model = "amazon.titan-embed-text-v2:0"
        one = self.embed(client, model, inputText="hello there", dimensions=256)
        again = self.embed(client, model, inputText="hello there", dimensions=256)
        other = self.embed(client, model, inputText="good bye")
        assert one == again
        assert (len(one["embedding"]), len(other["embedding"])) == (256, 1024)
        assert sum(x * x for x in one["embedding"]) == pytest.approx(1)
        assert one["inputTextTokenCount"] == 2
        by_type = self.embed(client, model, inputText="x", embeddingTypes=["binary"])
        assert set(by_type["embeddingsByType"]["binary"]) == {0, 1}

    def test_others(self, client: Any) -> None:
        texts = ["one", "two"]
        cohere = self.embed(client, "cohere.embed-english-v3", texts=texts, input_type="search_query")
        assert [len(vector) for vector in cohere["embeddings"]] == [1024, 1024]
        typed = self.embed(
            client,
            "cohere.embed-v4:0",
            texts=texts,
            input_type="search_query",
            embedding_types=["float", "int8"],
        )
        assert typed["embeddings"].keys() == {"float", "int8"}
        image = self.embed(client, "amazon.titan-embed-image-v1", inputText="x")
        assert len(image["embedding"]) == 1024
        nova = self.embed(
            client,
            "amazon.nova-2-multimodal-embeddings-v1:0",
            taskType="SINGLE_EMBEDDING",
            singleEmbeddingParams={"embeddingPurpose": "GENERIC_INDEX", "text": {"value": "x"}},
        )
        assert len(nova["embeddings"][0]["embedding"]) == 3072

    @pytest.mark.parametrize(
        ("model_id", "body"),
        [
            ("amazon.titan-embed-text-v2:0", {"inputText": "x", "dimensions": 7}),
            ("amazon.titan-embed-text-v1", {"inputText": "x", "dimensions": 256}),
            ("cohere.embed-english-v3", {"texts": ["x"]}),
            ("cohere.embed-english-v3", {"texts": ["x"] * 97, "input_type": "search_query"}),
        ],
    )
    def test_refusals(self, client: Any, model_id: str, body: dict[str, Any]) -> None:
        with pytest.raises(client.exceptions.ValidationException):
            self.embed(client, model_id, **body)


class TestOtherOperations:
    def test_count_tokens(self, client: Any) -> None:
        counted = client.count_tokens(modelId=CLAUDE, input={"converse": {"messages": [user("one two")]}})
        assert counted["inputTokens"] == ask(client, "one two")["usage"]["inputTokens"]
        body = json.dumps(BODIES[CLAUDE]).encode()
        assert client.count_tokens(modelId=CLAUDE, input={"invokeModel": {"body": body}})["inputTokens"] > 0

    def test_count_tokens_knows_no_profiles(self, client: Any) -> None:
        with pytest.raises(client.exceptions.ValidationException, match="doesn't support counting tokens"):
            client.count_tokens(modelId=f"us.{CLAUDE}", input={"converse": {"messages": [user("one")]}})

    @pytest.mark.parametrize("identifier", ["abc", "arn:aws:bedrock:us-east-1:123456789012:guardrail/abc"])
    def test_apply_guardrail(self, client: Any, identifier: str) -> None:
        def applied(text: str) -> Any:
            content = [{"text": {"text": text}}]
            return client.apply_guardrail(
                guardrailIdentifier=identifier, guardrailVersion="DRAFT", source="INPUT", content=content
            )

        passed = applied("hello")
        check_output("ApplyGuardrail", passed)
        assert (passed["action"], passed["outputs"]) == ("NONE", [])
        stopped = applied("[[simulator: stop=guardrail_intervened]]")
        check_output("ApplyGuardrail", stopped)
        assert stopped["action"] == "GUARDRAIL_INTERVENED"


class TestErrors:
    @pytest.mark.parametrize("name", [shape.name for shape in MODEL.error_shapes])
    def test_the_models_are_raised_by_their_classes(self, client: Any, name: str) -> None:
        with pytest.raises(getattr(client.exceptions, name)) as raised:
            ask(client, f"[[simulator: throw-{name}]]")
        metadata = raised.value.response["ResponseMetadata"]
        assert metadata["HTTPStatusCode"] == ERRORS[name].status
        assert metadata["RequestId"]

    @pytest.mark.parametrize(
        ("directive", "code", "status"),
        [
            ("throw-ExpiredTokenException", "ExpiredTokenException", 403),
            ("throw-UnrecognizedClientException", "UnrecognizedClientException", 403),
            ("iam-denied", "AccessDeniedException", 403),
            ("html-502", "502", 502),
            ("empty-500", "500", 500),
            ("status=529", "529", 529),
        ],
    )
    def test_others_by_their_codes(self, client: Any, directive: str, code: str, status: int) -> None:
        with pytest.raises(ClientError) as raised:
            ask(client, f"[[simulator: {directive}]]")
        assert raised.value.response["Error"]["Code"] == code
        assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status

    def test_a_wrong_secret(self, simulator: RunningSimulator) -> None:
        with pytest.raises(ClientError, match="InvalidSignatureException") as raised:
            ask(simulator.client(secret_access_key="wrong"))
        assert "Canonical String" in raised.value.response["Error"]["Message"]

    def test_a_wrong_key(self, simulator: RunningSimulator) -> None:
        with pytest.raises(ClientError, match="UnrecognizedClientException"):
            ask(simulator.client(access_key_id="AKIDWRONG"))

    def test_an_expired_token(self, simulator: RunningSimulator) -> None:
        with pytest.raises(ClientError, match="ExpiredTokenException"):
            ask(simulator.client(session_token="expired"))

    def test_a_wrong_region(self, simulator: RunningSimulator) -> None:
        with pytest.raises(ClientError, match="Credential should be scoped to a valid region"):
            ask(simulator.client(region="eu-west-1"))

    def test_botocore_would_have_found_it_too(self, client: Any) -> None:
        # What botocore checks itself never leaves; the simulator's checks are for those who don't.
        with pytest.raises(ParamValidationError):
            client.converse(modelId=CLAUDE, messages=[{"role": "user", "content": [{"txt": "hi"}]}])
        with pytest.raises(client.exceptions.ValidationException, match="enum value set"):
            client.converse(modelId=CLAUDE, messages=[{"role": "tool", "content": [{"text": "hi"}]}])

    def test_retries_get_the_same_answer(self, simulator: RunningSimulator) -> None:
        retrying = simulator.client(retries=1)
        simulator.clear()
        with pytest.raises(ClientError, match=r"reached max retries: 1"):
            ask(retrying, "[[simulator: throw-ThrottlingException]]")
        assert simulator.statistics()["errors"] == {}
        assert simulator.statistics()["operations"] == {"Converse": 2}


class TestBrokenStreams:
    @pytest.mark.parametrize(
        "name",
        [
            *("internalServerException", "modelStreamErrorException", "validationException"),
            *("throttlingException", "serviceUnavailableException"),
        ],
    )
    @pytest.mark.parametrize(("after", "events"), [("0", 0), ("start", 1), ("3", 4)])
    def test_exceptions(self, client: Any, name: str, after: str, events: int) -> None:
        received: list[Any] = []
        with pytest.raises(EventStreamError, match=name):
            receive(client, f"[[simulator: stream-{name} after={after}]]", received)
        assert len(received) == events

    def test_the_one_that_only_invoke_has(self, client: Any) -> None:
        content = "[[simulator: stream-modelTimeoutException after=2]]"
        body = {**BODIES[CLAUDE], "messages": [{"role": "user", "content": content}]}
        answer = client.invoke_model_with_response_stream(modelId=CLAUDE, body=json.dumps(body))
        with (
            contextlib.closing(answer["body"]) as chunks,
            pytest.raises(EventStreamError, match="modelTimeout"),
        ):
            list(chunks)

    def test_error_frames(self, client: Any) -> None:
        with pytest.raises(EventStreamError, match="InternalFailure"):
            stream(client, "[[simulator: stream-error]]")

    @pytest.mark.parametrize(
        ("directive", "error"),
        [
            ("bad-crc", ChecksumMismatch),
            ("bad-prelude-crc", ChecksumMismatch),
            ("garbage", ChecksumMismatch),
            ("oversize-frame", InvalidPayloadLength),
            ("cut-mid-frame", (ProtocolError, ResponseStreamingError)),
            ("cut-between-frames", (ProtocolError, ResponseStreamingError)),
            ("reset-mid-stream", (ProtocolError, ResponseStreamingError)),
        ],
    )
    def test_what_botocore_notices(self, client: Any, directive: str, error: Any) -> None:
        with pytest.raises(Exception) as raised:
            stream(client, f"[[simulator: {directive}]]")
        causes = [raised.value, raised.value.__cause__, raised.value.__context__]
        assert any(isinstance(cause, error) for cause in causes), causes

    @pytest.mark.parametrize("directive", ["end-before-messageStop", "no-metadata", "empty-stream"])
    def test_what_it_takes_for_a_good_end(self, client: Any, directive: str) -> None:
        # This is why a gateway must not ask an SDK whether a stream is complete.
        names = [next(iter(event)) for event in stream(client, f"[[simulator: {directive}]]")]
        assert "metadata" not in names

    @pytest.mark.parametrize("directive", ["unknown-events", "drip", "until-close", "slow ms=1"])
    def test_what_is_odd_but_good(self, client: Any, directive: str) -> None:
        events = stream(client, f"[[simulator: {directive} words=5]]")
        names = [next(iter(event)) for event in events if "SDK_UNKNOWN_MEMBER" not in event]
        assert (names[0], names[-1]) == ("messageStart", "metadata")


class TestBrokenConnections:
    @pytest.mark.parametrize(
        ("directive", "error"),
        [
            ("reset-before-headers", ConnectionClosedError),
            ("close-before-headers", ConnectionClosedError),
            ("malformed-http", (ConnectionClosedError, HTTPClientError)),
        ],
    )
    def test_documents(self, client: Any, directive: str, error: Any) -> None:
        with pytest.raises(error):
            ask(client, f"[[simulator: {directive}]]")

    def test_a_document_cut_short_is_an_empty_answer_to_botocore(self, client: Any) -> None:
        # Another reason not to take an SDK's word for it.
        answer = ask(client, "[[simulator: cut-mid-frame]]")
        assert answer.keys() == {"ResponseMetadata"}

    def test_stalls_run_into_the_clients_patience(self, simulator: RunningSimulator) -> None:
        with contextlib.closing(simulator.client(read_timeout=0.3)) as impatient:
            with pytest.raises(ReadTimeoutError):
                ask(impatient, "[[simulator: stall-before-headers]]")
            with pytest.raises(Exception, match=r"[Tt]imed out"):
                stream(impatient, "[[simulator: stall-mid-stream]]")

    def test_a_connection_closed_after_the_answer(self, simulator: RunningSimulator, client: Any) -> None:
        ask(client, "[[simulator: close-after-answer]]")
        # By the time this is answered the FIN has been sent, so the next call takes a new connection.
        simulator.statistics()
        ask(client)

    def test_a_connection_closed_as_it_is_used_again(self, client: Any) -> None:
        ask(client, "[[simulator: close-on-reuse]]")
        with pytest.raises(ConnectionClosedError):
            ask(client)
        ask(client)


class TestRecordings:
    def test_by_name(self, client: Any) -> None:
        answer = client.converse(modelId="recording.otel__converse__1ace27db2d07", messages=[user("any")])
        assert answer["output"]["message"]["content"][0]["text"]
        assert answer["ResponseMetadata"]["RequestId"] == "67f0b4ef-e481-4c12-853b-d8e992395129"

    def test_a_stream_by_name(self, client: Any) -> None:
        recorded = client.converse_stream(
            modelId="recording.otel__converse-stream__8e88c115ac14", messages=[user("any")]
        )
        names = {next(iter(event)) for event in recorded["stream"]}
        assert {"contentBlockStart", "messageStop", "metadata"} <= names
