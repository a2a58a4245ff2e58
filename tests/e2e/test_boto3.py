"""boto3 against the running gateway, nothing changed but its endpoint: every operation, every kind of model
id.

It signs with a key pair of the gateway's own. Over https it may show the gateway's key as its Bedrock API key
instead, which botocore takes from AWS_BEARER_TOKEN_BEDROCK.
"""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from support.gateway import ACCESS_KEY_ID, KEY, NARROW_KEY, RunningGateway, eventually, running_gateway
from support.simulator import REGION, RunningSimulator, texts_of, user
from support.tls import Authority

ACCOUNT: Final = "123456789012"
CLAUDE: Final = "anthropic.claude-3-haiku-20240307-v1:0"
MODEL_IDS: Final = (
    "claude",
    CLAUDE,
    "us.anthropic.claude-3-5-haiku-20241022-v1:0",
    f"arn:aws:bedrock:us-east-1::foundation-model/{CLAUDE}",
    f"arn:aws:bedrock:us-east-1:{ACCOUNT}:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0",
    f"arn:aws:bedrock:us-east-1:{ACCOUNT}:application-inference-profile/a1b2c3d4e5f6",
    f"arn:aws:bedrock:us-east-1:{ACCOUNT}:provisioned-model/abcdef123456",
)
BODY: Final = json.dumps(
    {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": "Tell me of Ålesund"}],
    }
)
WEATHER: Final = {
    "tools": [
        {
            "toolSpec": {
                "name": "weather",
                "inputSchema": {
                    "json": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}},
                        "required": ["city"],
                    }
                },
            }
        }
    ]
}


@pytest.fixture(scope="module")
def authority() -> Authority:
    """A CA of the test's own."""
    return Authority()


@pytest.fixture(scope="module")
def ca_file(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What clients must trust."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_bytes(authority.pem)
    return path


@pytest.fixture(scope="module")
def secure_gateway(simulator: RunningSimulator, authority: Authority) -> Generator[RunningGateway]:
    """A gateway behind TLS."""
    listen = [{"address": "127.0.0.1:0", "tls": authority.issue("127.0.0.1")}]
    with running_gateway(simulator.url, gateway={"listen": listen}) as gateway:
        yield gateway


@pytest.fixture(params=["http", "https", "https with the key as bearer token"])
def client(
    request: pytest.FixtureRequest, gateway: RunningGateway, secure_gateway: RunningGateway, ca_file: Path
) -> Generator[Any]:
    """boto3, in each of the ways it can show who it is."""
    with pytest.MonkeyPatch.context() as environment:
        if request.param == "http":
            sdk = gateway.bedrock()
        elif request.param == "https":
            sdk = secure_gateway.bedrock(verify=str(ca_file))
        else:
            environment.setenv("AWS_BEARER_TOKEN_BEDROCK", KEY)
            sdk = boto3.session.Session().client(
                "bedrock-runtime",
                endpoint_url=secure_gateway.url,
                region_name=REGION,
                verify=str(ca_file),
                config=Config(retries={"total_max_attempts": 1}),
            )
        yield sdk
        sdk.close()


class TestEveryWayOfShowingWhoOneIs:
    def test_converse(self, client: Any) -> None:
        answer = client.converse(modelId="claude", messages=[user("Hello there")])
        assert answer["stopReason"] == "end_turn"
        assert "“Hello there”" in answer["output"]["message"]["content"][0]["text"]
        assert answer["usage"]["totalTokens"] > 0
        assert answer["ResponseMetadata"]["RequestId"]

    def test_converse_stream(self, client: Any) -> None:
        events = list(client.converse_stream(modelId="claude", messages=[user("Hello")])["stream"])
        assert "“Hello”" in texts_of(events)
        assert [next(iter(event)) for event in events[-2:]] == ["messageStop", "metadata"]

    def test_invoke_model(self, client: Any) -> None:
        answer = json.loads(client.invoke_model(modelId="claude", body=BODY)["body"].read())
        assert "“Tell me of Ålesund”" in answer["content"][0]["text"]

    def test_invoke_model_with_response_stream(self, client: Any) -> None:
        stream = client.invoke_model_with_response_stream(modelId="claude", body=BODY)["body"]
        events = [json.loads(event["chunk"]["bytes"]) for event in stream]
        assert [event["type"] for event in (events[0], events[-1])] == ["message_start", "message_stop"]
        text = "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta")
        assert "“Tell me of Ålesund”" in text


@pytest.mark.parametrize("model_id", MODEL_IDS)
class TestModelIds:
    def test_every_kind_reaches_bedrock_as_it_is(
        self, bedrock: Any, simulator: RunningSimulator, model_id: str
    ) -> None:
        bedrock.converse(modelId=model_id, messages=[user(model_id)])
        received = simulator.requests()[-1]
        target = "us.anthropic.claude-sonnet-4-20250514-v1:0" if model_id == "claude" else model_id
        assert (received["model_id"], received["verified"]) == (target, True)

    def test_every_kind_streams(self, bedrock: Any, model_id: str) -> None:
        stream = bedrock.invoke_model_with_response_stream(modelId=model_id, body=BODY)["body"]
        assert json.loads(list(stream)[-1]["chunk"]["bytes"])["type"] == "message_stop"


class TestAnswers:
    def test_a_tool_round_trip(self, bedrock: Any) -> None:
        messages = [user("What is the weather in Tromsø?")]
        first = bedrock.converse(modelId="claude", messages=messages, toolConfig=WEATHER)
        assert first["stopReason"] == "tool_use"
        use = first["output"]["message"]["content"][-1]["toolUse"]
        assert (use["name"], use["input"]) == ("weather", {"city": "Tromsø"})
        result = {"toolUseId": use["toolUseId"], "content": [{"text": "Aurora"}]}
        messages += [first["output"]["message"], {"role": "user", "content": [{"toolResult": result}]}]
        second = bedrock.converse(modelId="claude", messages=messages, toolConfig=WEATHER)
        assert "The tool says: Aurora." in second["output"]["message"]["content"][0]["text"]

    def test_what_only_bedrock_knows_passes_through(self, bedrock: Any) -> None:
        # No other dialect has a place for signed reasoning, or for a request's metadata.
        answer = bedrock.converse(
            modelId="claude", messages=[user("[[simulator: reasoning]]")], requestMetadata={"team": "a"}
        )
        reasoning = answer["output"]["message"]["content"][0]["reasoningContent"]["reasoningText"]
        assert reasoning["signature"]

    def test_headers_of_invoke_model_pass_both_ways(self, bedrock: Any, simulator: RunningSimulator) -> None:
        answer = bedrock.invoke_model(modelId="claude", body=BODY, performanceConfigLatency="optimized")
        answer["body"].read()
        assert answer["performanceConfigLatency"] == "optimized"
        assert int(answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-output-token-count"]) > 0
        assert ["x-amzn-bedrock-performanceconfig-latency", "optimized"] in simulator.requests()[-1][
            "headers"
        ]

    def test_tokens_are_counted(self, bedrock: Any) -> None:
        messages = [user("[[simulator: input-tokens=77]]")]
        # Bedrock counts for models, not for inference profiles.
        counted = bedrock.count_tokens(modelId=CLAUDE, input={"converse": {"messages": messages}})
        assert counted["inputTokens"] == 77

    def test_the_request_id_is_the_logs(self, bedrock: Any, gateway: RunningGateway) -> None:
        answer = bedrock.converse(modelId="claude", messages=[user("Who am I?")])
        record = gateway.record(request_id=answer["ResponseMetadata"]["HTTPHeaders"]["x-request-id"])
        assert (record["consumer"], record["key_id"]) == ("team-a", ACCESS_KEY_ID)
        assert record["upstream_request_id"] == answer["ResponseMetadata"]["RequestId"]


class TestErrors:
    @pytest.mark.parametrize(
        ("scenario", "name", "status"),
        [
            ("throw-ThrottlingException", "ThrottlingException", 429),
            ("throw-ValidationException", "ValidationException", 400),
            ("throw-ModelErrorException", "ModelErrorException", 424),
            ("throw-ModelNotReadyException", "ModelNotReadyException", 429),
            ("throw-ResourceNotFoundException", "ResourceNotFoundException", 404),
            # The gateway's own credentials are at fault, not the caller's.
            ("throw-AccessDeniedException", "ServiceUnavailableException", 503),
        ],
    )
    def test_bedrocks_raise_the_modelled_exception(
        self, bedrock: Any, scenario: str, name: str, status: int
    ) -> None:
        with pytest.raises(getattr(bedrock.exceptions, name)) as caught:
            bedrock.converse(modelId="claude", messages=[user(f"[[simulator: {scenario}]]")])
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status

    def test_a_role_that_is_denied_is_not_named_to_the_caller(
        self, bedrock: Any, gateway: RunningGateway
    ) -> None:
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            bedrock.converse(modelId="simulator.iam-denied", messages=[user("Hello")])
        assert "assumed-role" not in str(caught.value.response)
        request_id = caught.value.response["ResponseMetadata"]["RequestId"]
        record = gateway.record(request_id=request_id)
        assert "assumed-role/gateway" in record["detail"]

    def test_the_sdk_tries_a_throttled_call_again(self, gateway: RunningGateway) -> None:
        client = gateway.bedrock(retries=1)
        model = "simulator.throw-ThrottlingException:message.twice"
        with pytest.raises(client.exceptions.ThrottlingException) as caught:
            client.converse(modelId=model, messages=[user("Hello")])
        client.close()
        assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 1
        eventually(lambda: len(gateway.records(model=model)) == 2)

    def test_a_wrong_secret(self, gateway: RunningGateway) -> None:
        client = gateway.bedrock(secret_access_key="guessed")
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            client.converse(modelId="claude", messages=[user("Hello")])
        client.close()
        assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403

    def test_an_unknown_key_id(self, gateway: RunningGateway) -> None:
        client = gateway.bedrock(access_key_id="AKIDNOBODY")
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            client.converse(modelId="claude", messages=[user("Hello")])
        client.close()
        assert caught.value.response["Error"]["Code"] == "UnrecognizedClientException"

    def test_a_model_the_key_may_not_use(
        self, secure_gateway: RunningGateway, ca_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", NARROW_KEY)
        client = boto3.session.Session().client(
            "bedrock-runtime", endpoint_url=secure_gateway.url, region_name=REGION, verify=str(ca_file)
        )
        with pytest.raises(client.exceptions.AccessDeniedException):
            client.converse(modelId="nova", messages=[user("Hello")])
        client.close()
