"""boto3 against the running gateway, operation by operation: jobs, guardrails and their checks, and the
control plane's readings, through its own client of Bedrock's control plane.

Every operation of the service models is either served here or refused in words that boto3 raises.
"""

import json
from collections.abc import Callable, Generator
from typing import Any, Final

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from stargate_core.dialects.bedrock_native import SERVED
from support.bedrock_model import service_model
from support.gateway import ACCESS_KEY_ID, KEY, NARROW_KEY, RunningGateway, eventually, running_gateway
from support.simulator import REGION, RunningSimulator, user

NARROW_KEY_ID: Final = "AKIDTEAMB"
CONSUMERS: Final = [
    {
        "username": "team-a",
        "keyauth_credentials": [{"key": KEY}],
        "sigv4_credentials": [{"access_key_id": ACCESS_KEY_ID, "secret_access_key": KEY}],
    },
    {
        "username": "team-b",
        "sigv4_credentials": [{"access_key_id": NARROW_KEY_ID, "secret_access_key": NARROW_KEY}],
        "models": ["reel", "claude"],
    },
]
REEL: Final = "amazon.nova-reel-v1:0"
CLAUDE: Final = "anthropic.claude-3-haiku-20240307-v1:0"
PROFILE: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
OUTPUT: Final[Any] = {"s3OutputDataConfig": {"s3Uri": "s3://bucket/folder"}}
VIDEO: Final[Any] = {"taskType": "TEXT_VIDEO", "textToVideoParams": {"text": "A fjord"}}
GUARDRAIL: Final[Any] = {"guardrailIdentifier": "gr1", "guardrailVersion": "DRAFT"}
CACHE: Final = {"name": "response-cache", "config": {"cache_ttl": 300}}
LIMITER: Final = {"name": "rate-limiter", "config": {"tokens_per_hour": 100, "by": "consumer"}}


def control_client(gateway: RunningGateway, key_id: str = ACCESS_KEY_ID, secret: str = KEY) -> Any:
    """boto3's client of the control plane, pointed at the gateway."""
    return boto3.session.Session().client(
        "bedrock",
        endpoint_url=gateway.url,
        region_name=REGION,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=20),
    )


@pytest.fixture(scope="module")
def gateway(simulator: RunningSimulator) -> Generator[RunningGateway]:
    """A gateway that caches what may be cached, with an alias for a model that makes videos."""
    models = {"reel": REEL, "claude": CLAUDE, "profile": PROFILE}
    with running_gateway(
        simulator.url, proxy={"models": models}, consumers=CONSUMERS, plugins=[CACHE]
    ) as running:
        yield running


@pytest.fixture(scope="module")
def runtime(gateway: RunningGateway) -> Generator[Any]:
    sdk = gateway.bedrock()
    yield sdk
    sdk.close()


@pytest.fixture(scope="module")
def narrow(gateway: RunningGateway) -> Generator[Any]:
    """The runtime, for a consumer who may use two models only."""
    sdk = gateway.bedrock(access_key_id=NARROW_KEY_ID, secret_access_key=NARROW_KEY)
    yield sdk
    sdk.close()


@pytest.fixture(scope="module")
def control(gateway: RunningGateway) -> Generator[Any]:
    sdk = control_client(gateway)
    yield sdk
    sdk.close()


def refused(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    """What boto3 was told: the status and the exception's name."""
    response: Any = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


class TestJobs:
    def test_one_is_begun_looked_up_and_listed(
        self, runtime: Any, simulator: RunningSimulator, gateway: RunningGateway
    ) -> None:
        started = runtime.start_async_invoke(
            modelId="reel", modelInput=VIDEO, outputDataConfig=OUTPUT, tags=[{"key": "a", "value": "b"}]
        )
        arn = started["invocationArn"]
        received = simulator.requests()[-1]
        assert received["verified"]
        assert (received["operation"], received["model_id"]) == ("StartAsyncInvoke", REEL)
        record = gateway.record(request_id=started["ResponseMetadata"]["HTTPHeaders"]["x-request-id"])
        assert (record["model"], record["target"]) == ("reel", REEL)
        done = eventually(
            lambda: (job := runtime.get_async_invoke(invocationArn=arn))["status"] == "Completed" and job
        )
        assert done["modelArn"].endswith(REEL)
        assert done["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"].startswith("s3://bucket/folder/")
        listed = runtime.list_async_invokes(statusEquals="Completed", sortOrder="Descending", maxResults=50)
        assert arn in [job["invocationArn"] for job in listed["asyncInvokeSummaries"]]
        assert done["submitTime"] == listed["asyncInvokeSummaries"][0]["submitTime"]

    def test_the_query_reaches_bedrock(self, runtime: Any, simulator: RunningSimulator) -> None:
        for _ in range(3):
            runtime.start_async_invoke(modelId="reel", modelInput=VIDEO, outputDataConfig=OUTPUT)
        pages = runtime.get_paginator("list_async_invokes").paginate(
            sortBy="SubmissionTime",
            submitTimeAfter="2020-01-01T00:00:00+02:00",
            PaginationConfig={"PageSize": 2},
        )
        arns = [job["invocationArn"] for page in pages for job in page["asyncInvokeSummaries"]]
        assert len(arns) == len(set(arns)) >= 3
        nothing = runtime.list_async_invokes(submitTimeBefore="2020-01-01T00:00:00Z")
        assert nothing["asyncInvokeSummaries"] == []

    def test_the_same_token_is_the_same_job(self, runtime: Any) -> None:
        asked = {
            "modelId": "reel",
            "modelInput": VIDEO,
            "outputDataConfig": OUTPUT,
            "clientRequestToken": "token-0001",
        }
        first, second = runtime.start_async_invoke(**asked), runtime.start_async_invoke(**asked)
        assert first["invocationArn"] == second["invocationArn"]
        with pytest.raises(runtime.exceptions.ConflictException):
            runtime.start_async_invoke(**{**asked, "modelInput": {}})

    def test_no_two_are_one_by_the_cache(self, runtime: Any) -> None:
        asked = {"modelId": "reel", "modelInput": VIDEO, "outputDataConfig": OUTPUT}
        answers = [runtime.start_async_invoke(**asked) for _ in range(2)]
        assert answers[0]["invocationArn"] != answers[1]["invocationArn"]
        for answer in answers:
            assert answer["ResponseMetadata"]["HTTPHeaders"]["x-cache-status"] == "Bypass"

    def test_one_that_nobody_knows(self, runtime: Any) -> None:
        arn = f"arn:aws:bedrock:{REGION}:123456789012:async-invoke/abcdefghijkl"
        with pytest.raises(runtime.exceptions.ValidationException):
            runtime.get_async_invoke(invocationArn=arn)

    def test_a_narrow_key_begins_what_it_may_and_reads_none(self, narrow: Any) -> None:
        started = narrow.start_async_invoke(modelId="reel", modelInput=VIDEO, outputDataConfig=OUTPUT)
        calls: tuple[Callable[[], Any], ...] = (
            lambda: narrow.start_async_invoke(
                modelId="luma.ray-v2:0", modelInput=VIDEO, outputDataConfig=OUTPUT
            ),
            lambda: narrow.get_async_invoke(invocationArn=started["invocationArn"]),
            lambda: narrow.list_async_invokes(),
        )
        for call in calls:
            with pytest.raises(ClientError) as error:
                call()
            assert refused(error) == (403, "AccessDeniedException")


class TestGuardrails:
    def test_apply(self, runtime: Any) -> None:
        content = [{"text": {"text": "hello"}}]
        answer = runtime.apply_guardrail(source="INPUT", content=content, **GUARDRAIL)
        assert answer["action"] in {"NONE", "GUARDRAIL_INTERVENED"}

    def test_checks(self, runtime: Any, simulator: RunningSimulator) -> None:
        answer = runtime.invoke_guardrail_checks(
            messages=[user("hello")],
            checks={"contentFilter": {"categories": [{"category": "HATE"}]}},
        )
        (found,) = answer["results"]["contentFilter"]["results"]
        assert found["category"] == "HATE"
        assert simulator.requests()[-1]["operation"] == "InvokeGuardrailChecks"


class TestControlPlane:
    def test_models(self, control: Any, simulator: RunningSimulator) -> None:
        listed = control.list_foundation_models(byProvider="Anthropic", byInferenceType="ON_DEMAND")
        assert {one["providerName"] for one in listed["modelSummaries"]} == {"Anthropic"}
        assert simulator.requests()[-1]["verified"]
        everything = control.list_foundation_models()["modelSummaries"]
        assert len(everything) > len(listed["modelSummaries"])

    @pytest.mark.parametrize("name", [CLAUDE, "claude"])
    def test_one_model(self, control: Any, name: str) -> None:
        assert control.get_foundation_model(modelIdentifier=name)["modelDetails"]["modelId"] == CLAUDE

    def test_profiles(self, control: Any) -> None:
        pages = control.get_paginator("list_inference_profiles").paginate(
            typeEquals="SYSTEM_DEFINED", PaginationConfig={"PageSize": 7}
        )
        ids = [one["inferenceProfileId"] for page in pages for one in page["inferenceProfileSummaries"]]
        assert PROFILE in ids
        assert len(ids) == len(set(ids)) > 7
        own = control.list_inference_profiles(typeEquals="APPLICATION")["inferenceProfileSummaries"]
        assert {one["type"] for one in own} == {"APPLICATION"}

    @pytest.mark.parametrize(
        "name", [PROFILE, "profile", f"arn:aws:bedrock:{REGION}:123456789012:inference-profile/{PROFILE}"]
    )
    def test_one_profile(self, control: Any, name: str) -> None:
        found = control.get_inference_profile(inferenceProfileIdentifier=name)
        assert found["inferenceProfileId"] == PROFILE

    def test_one_that_is_not_there(self, control: Any) -> None:
        with pytest.raises(control.exceptions.ResourceNotFoundException):
            control.get_foundation_model(modelIdentifier="nobody.knows-v1:0")

    def test_a_narrow_key_reads_of_what_it_may_use(self, gateway: RunningGateway) -> None:
        sdk = control_client(gateway, NARROW_KEY_ID, NARROW_KEY)
        assert sdk.get_foundation_model(modelIdentifier="claude")["modelDetails"]["modelId"] == CLAUDE
        assert sdk.list_foundation_models()["modelSummaries"]
        calls: tuple[Callable[[], Any], ...] = (
            lambda: sdk.get_foundation_model(modelIdentifier=CLAUDE),
            lambda: sdk.get_inference_profile(inferenceProfileIdentifier="profile"),
            lambda: sdk.list_inference_profiles(),
        )
        for call in calls:
            with pytest.raises(ClientError) as error:
                call()
            assert refused(error) == (403, "AccessDeniedException")
        sdk.close()

    def test_nothing_is_changed(self, control: Any, simulator: RunningSimulator) -> None:
        before = len(simulator.requests())
        source = {"copyFrom": f"arn:aws:bedrock:{REGION}::foundation-model/{CLAUDE}"}
        calls: tuple[Callable[[], Any], ...] = (
            lambda: control.create_inference_profile(inferenceProfileName="mine", modelSource=source),
            lambda: control.delete_inference_profile(inferenceProfileIdentifier="mine"),
        )
        for call in calls:
            with pytest.raises(ClientError) as error:
                call()
            assert refused(error) == (405, "UnknownOperationException")
        with pytest.raises(ClientError) as error:
            control.list_guardrails()
        assert refused(error) == (404, "UnknownOperationException")
        assert len(simulator.requests()) == before


def test_no_operation_of_the_runtime_is_left_out() -> None:
    """The bidirectional stream alone is refused: it needs HTTP/2, which boto3 does not speak either."""
    named = set(service_model().operation_names)
    served = {operation.value for operation in SERVED}
    assert named - served == {"InvokeModelWithBidirectionalStream"}
    assert not hasattr(
        boto3.client("bedrock-runtime", region_name=REGION), "invoke_model_with_bidirectional_stream"
    )


def test_what_uses_no_tokens_is_held_up_by_no_limit_on_them(simulator: RunningSimulator) -> None:
    with running_gateway(simulator.url, consumers=CONSUMERS, plugins=[LIMITER]) as gateway:
        runtime, control = gateway.bedrock(), control_client(gateway)
        for _ in range(3):
            runtime.start_async_invoke(modelId=REEL, modelInput={"x": "y" * 500}, outputDataConfig=OUTPUT)
            runtime.list_async_invokes()
            runtime.invoke_guardrail_checks(
                messages=[user("z" * 900)], checks={"contentFilter": {"categories": [{"category": "HATE"}]}}
            )
            control.list_foundation_models()
        with pytest.raises(runtime.exceptions.ThrottlingException):
            for _ in range(2):
                runtime.invoke_model(
                    modelId=CLAUDE,
                    body=json.dumps(
                        {
                            "anthropic_version": "bedrock-2023-05-31",
                            "max_tokens": 60,
                            "messages": [{"role": "user", "content": "x"}],
                        }
                    ),
                )
        runtime.close()
        control.close()
