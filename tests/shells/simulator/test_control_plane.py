"""The listing of models and profiles: judged by AWS's own model of the control plane, and by boto3."""

from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from stargate.simulator.catalogue import MODELS, profiles
from stargate.simulator.models import check_model, is_known
from stargate.simulator.settings import ACCESS_KEY_ID, SECRET_ACCESS_KEY
from support.bedrock_model import answer_objections
from support.simulator import CLAUDE, REGION, Reply, Wire, running_simulator, signed


def asked(target: str, **changes: Any) -> Reply:
    """The answer to a question of the control plane."""
    return Wire(**changes).ask(signed(target, b"", method="GET"))


def models(query: str = "") -> list[dict[str, Any]]:
    """The models of a listing."""
    reply = asked(f"/foundation-models{query}")
    assert answer_objections("ListFoundationModels", reply.body, "bedrock") == []
    found: list[dict[str, Any]] = reply.json()["modelSummaries"]
    return found


class TestModels:
    def test_all_are_listed(self) -> None:
        assert [model["modelId"] for model in models()] == list(MODELS)

    def test_the_simulator_takes_every_one_of_them(self) -> None:
        for model in MODELS.values():
            assert is_known(model.id)
            if model.inference:
                check_model(model.id, "Converse")

    @pytest.mark.parametrize(
        ("query", "member", "value"),
        [
            ("?byProvider=anthropic", "providerName", "Anthropic"),
            ("?byProvider=Mistral%20AI", "providerName", "Mistral AI"),
            ("?byOutputModality=EMBEDDING", "outputModalities", ["EMBEDDING"]),
            ("?byInferenceType=PROVISIONED", "inferenceTypesSupported", ["ON_DEMAND", "PROVISIONED"]),
            ("?byCustomizationType=FINE_TUNING", "customizationsSupported", ["FINE_TUNING", "DISTILLATION"]),
        ],
    )
    def test_some_are(self, query: str, member: str, value: object) -> None:
        found = models(query)
        assert 0 < len(found) < len(MODELS)
        assert all(model[member] == value for model in found)

    def test_filters_add_up(self) -> None:
        found = models("?byProvider=Anthropic&byInferenceType=ON_DEMAND")
        assert CLAUDE in [model["modelId"] for model in found]
        assert len(found) < len(models("?byProvider=Anthropic"))

    @pytest.mark.parametrize("identifier", [CLAUDE, f"arn:aws:bedrock:us-east-1::foundation-model/{CLAUDE}"])
    def test_one_is_told(self, identifier: str) -> None:
        encoded = identifier.replace(":", "%3A").replace("/", "%2F")
        reply = asked(f"/foundation-models/{encoded}")
        assert answer_objections("GetFoundationModel", reply.body, "bedrock") == []
        assert reply.json()["modelDetails"]["modelId"] == CLAUDE

    def test_or_is_none(self) -> None:
        reply = asked("/foundation-models/anthropic.claude-99")
        assert reply.status == 404
        assert reply.headers["x-amzn-errortype"].startswith("ResourceNotFoundException:")

    @pytest.mark.parametrize("query", ["?byOutputModality=SMELL", "?byProvider=%21"])
    def test_wrong_filters_are_refused(self, query: str) -> None:
        assert asked(f"/foundation-models{query}").status == 400


class TestProfiles:
    def test_all_are_listed_page_by_page(self) -> None:
        found: list[str] = []
        query = "?maxResults=7"
        while query:
            reply = asked(f"/inference-profiles{query}")
            assert answer_objections("ListInferenceProfiles", reply.body, "bedrock") == []
            page = reply.json()
            found += [profile["inferenceProfileId"] for profile in page["inferenceProfileSummaries"]]
            query = f"?maxResults=7&nextToken={page['nextToken']}" if "nextToken" in page else ""
        assert found == [profile.id for profile in profiles(REGION)]
        assert {"us", "eu", "apac", "global"} <= {name.partition(".")[0] for name in found}

    @pytest.mark.parametrize("kind", ["SYSTEM_DEFINED", "APPLICATION"])
    def test_some_are(self, kind: str) -> None:
        found = asked(f"/inference-profiles?type={kind}").json()["inferenceProfileSummaries"]
        assert found
        assert {profile["type"] for profile in found} == {kind}

    def test_they_can_be_asked(self) -> None:
        for profile in profiles(REGION):
            name = profile.id if profile.kind == "SYSTEM_DEFINED" else profile.arn(REGION)
            check_model(name, "Converse")

    @pytest.mark.parametrize("profile", list(profiles("eu-west-1"))[::5], ids=lambda profile: profile.id)
    def test_one_is_told_by_its_id_and_by_its_arn(self, profile: Any) -> None:
        for name in (profile.id, profile.arn(REGION)):
            encoded = name.replace(":", "%3A").replace("/", "%2F")
            reply = asked(f"/inference-profiles/{encoded}")
            assert answer_objections("GetInferenceProfile", reply.body, "bedrock") == []
            assert reply.json()["inferenceProfileName"] == profile.name

    def test_or_is_none(self) -> None:
        assert asked("/inference-profiles/us.no-such").status == 404


class TestFaults:
    @pytest.mark.parametrize("target", ["/foundation-models", "/inference-profiles"])
    def test_by_the_settings(self, target: str) -> None:
        assert asked(target, listing_fault="throw-AccessDeniedException").status == 403

    def test_by_a_page_while_it_runs(self) -> None:
        wire = Wire()
        for wish, statuses in ((b"throw-ThrottlingException times=2", [429, 429, 200]), (b"", [200])):
            wire.ask(signed("/_simulator/listing-fault", wish, method="PUT"))
            for status in statuses:
                assert wire.ask(signed("/foundation-models", b"", method="GET")).status == status

    def test_nonsense_is_refused(self) -> None:
        reply = Wire().ask(signed("/_simulator/listing-fault", b"no-such", method="PUT"))
        assert reply.status == 400

    def test_it_concerns_nobody_else(self) -> None:
        assert asked("/async-invoke", listing_fault="throw-AccessDeniedException").status == 200


def test_boto3_reads_all_of_it() -> None:
    with running_simulator("--listing-fault", "throw-ThrottlingException times=1") as simulator:
        client: Any = boto3.session.Session().client(
            "bedrock",
            endpoint_url=simulator.url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
            config=Config(retries={"total_max_attempts": 1}),
        )
        with pytest.raises(ClientError, match="ThrottlingException"):
            client.list_foundation_models()
        assert len(client.list_foundation_models()["modelSummaries"]) == len(MODELS)
        pages = client.get_paginator("list_inference_profiles").paginate(PaginationConfig={"PageSize": 5})
        found = [profile for page in pages for profile in page["inferenceProfileSummaries"]]
        assert len(found) == len(list(profiles(REGION)))
        simulator.fail_listings("empty-500")
        with pytest.raises(ClientError, match="500"):
            client.list_inference_profiles()
        client.close()
