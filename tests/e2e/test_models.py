"""The list of models in the running gateway: in OpenAI's form and in Anthropic's, of the configuration's
names and of what AWS says there is; and what becomes of it while AWS does not say.
"""

import time
import urllib.request
from collections.abc import Generator
from typing import Any, Final

import anthropic
import openai
import pytest

from support.gateway import KEY, MODELS, NARROW_KEY, RunningGateway, running_gateway
from support.simulator import RunningSimulator, running_simulator

LISTINGS: Final = {"ListFoundationModels", "ListInferenceProfiles"}
NOVA: Final = "amazon.nova-micro-v1:0"


def anthropic_client(gateway: RunningGateway, key: str = KEY) -> anthropic.Anthropic:
    """anthropic-sdk-python, as Claude Code uses it."""
    return anthropic.Anthropic(base_url=gateway.url, api_key=key, max_retries=0, timeout=20)


def listed(gateway: RunningGateway, key: str = KEY) -> list[str]:
    """The names that openai-python reads."""
    with gateway.openai(api_key=key) as sdk:
        return [model.id for model in sdk.models.list()]


def searches(simulator: RunningSimulator) -> int:
    """How often AWS was asked for its models."""
    return len([one for one in simulator.requests() if one["operation"] == "ListFoundationModels"])


def befall(simulator: RunningSimulator, scenario: str) -> None:
    """Let this befall whoever asks for the lists; nothing, if it is empty."""
    page = f"{simulator.url}/_simulator/listing-fault"
    asked = urllib.request.Request(page, data=scenario.encode(), method="PUT")
    with urllib.request.urlopen(asked, timeout=10):
        pass


class TestNames:
    def test_openais_form(self, gateway: RunningGateway) -> None:
        assert listed(gateway) == list(MODELS)
        with gateway.openai() as sdk:
            assert sdk.models.retrieve("claude").id == "claude"
            with pytest.raises(openai.NotFoundError):
                sdk.models.retrieve("nobody")

    def test_anthropics_form(self, gateway: RunningGateway) -> None:
        with anthropic_client(gateway) as sdk:
            page = sdk.models.list(limit=1000)
            assert [model.id for model in page.data] == list(MODELS)
            assert (page.has_more, page.first_id, page.last_id) == (False, "claude", "nova")
            assert [model.id for model in sdk.models.list(limit=1)] == list(MODELS)
            assert sdk.models.retrieve("nova").type == "model"
            assert sdk.models.with_raw_response.list().headers["request-id"]

    def test_errors_have_the_callers_own_envelope(self, gateway: RunningGateway) -> None:
        with anthropic_client(gateway) as sdk:
            with pytest.raises(anthropic.NotFoundError) as missing:
                sdk.models.retrieve("nobody")
            with pytest.raises(anthropic.BadRequestError) as bad:
                sdk.models.list(limit=0)
        with (
            anthropic_client(gateway, "wrong") as sdk,
            pytest.raises(anthropic.PermissionDeniedError) as wrong,
        ):
            sdk.models.list()
        for caught, kind in (
            (missing, "not_found_error"),
            (bad, "invalid_request_error"),
            (wrong, "permission_error"),
        ):
            body: Any = caught.value.body
            assert (body["type"], body["error"]["type"]) == ("error", kind)
            assert body["request_id"]

    def test_nobody_is_shown_what_it_may_not_use(self, gateway: RunningGateway) -> None:
        assert listed(gateway, NARROW_KEY) == ["claude-fast"]
        with anthropic_client(gateway, NARROW_KEY) as sdk:
            assert [model.id for model in sdk.models.list()] == ["claude-fast"]
            with pytest.raises(anthropic.NotFoundError):
                sdk.models.retrieve("nova")

    def test_claude_code_asks_with_its_key_twice(self, gateway: RunningGateway) -> None:
        with anthropic.Anthropic(
            base_url=gateway.url,
            api_key=KEY,
            default_headers={"authorization": f"Bearer {KEY}", "user-agent": "claude-cli/2.0"},
        ) as sdk:
            assert [model.id for model in sdk.models.list(limit=1000)] == list(MODELS)


@pytest.fixture
def aws() -> Generator[RunningSimulator]:
    """An AWS of the test's own."""
    with running_simulator() as running:
        yield running


DISCOVERY: Final = {"enabled": True, "ttl": 300}


class TestDiscovery:
    def test_what_aws_names_comes_behind_our_own(self, aws: RunningSimulator) -> None:
        with running_gateway(aws.url, proxy={"discovery": DISCOVERY}) as gateway:
            names = listed(gateway)
            assert names[: len(MODELS)] == list(MODELS)
            assert {
                NOVA,
                "us.anthropic.claude-sonnet-4-20250514-v1:0",
                "amazon.titan-embed-text-v2:0",
            } <= set(names)
            # Neither what draws, nor what is old, nor what only a profile reaches.
            assert not {
                "amazon.nova-canvas-v1:0",
                "amazon.titan-text-express-v1",
                "anthropic.claude-sonnet-4-20250514-v1:0",
                "us.anthropic.claude-3-7-sonnet-20250219-v1:0",
            } & set(names)
            with anthropic_client(gateway) as sdk:
                assert [model.id for model in sdk.models.list(limit=3)] == names
                assert sdk.models.retrieve(NOVA).id == NOVA
            assert listed(gateway, NARROW_KEY) == ["claude-fast"]
            # All that was one search, signed with the gateway's own credentials.
            asked = [one for one in aws.requests() if one["operation"] in LISTINGS]
            assert sorted(one["operation"] for one in asked) == sorted(LISTINGS)
            assert all(one["verified"] for one in asked)
            with gateway.openai() as client:
                answer = client.chat.completions.create(model=NOVA, messages=[user_of("hi")])
                assert answer.choices[0].message.content

    def test_it_is_looked_for_again_when_it_is_old(self, aws: RunningSimulator) -> None:
        with running_gateway(aws.url, proxy={"discovery": {"enabled": True, "ttl": 0.2}}) as gateway:
            listed(gateway)
            time.sleep(0.25)
            listed(gateway)
            assert searches(aws) == 2

    def test_an_aws_that_fails_is_told_of_once(self, aws: RunningSimulator) -> None:
        befall(aws, "throw-AccessDeniedException")
        with running_gateway(
            aws.url, proxy={"discovery": DISCOVERY}, tells=r"\S+ warning: the models at"
        ) as gateway:
            for _ in range(3):
                assert listed(gateway) == list(MODELS)
            told = [line for line in gateway.told if "warning" in line]
            assert len(told) == 1
            assert "AccessDeniedException" in told[0]
            assert searches(aws) == 1

    def test_the_last_list_serves_while_it_fails(self, aws: RunningSimulator) -> None:
        with running_gateway(
            aws.url,
            proxy={"discovery": {"enabled": True, "ttl": 0.1}},
            tells=r"\S+ warning: the models at",
        ) as gateway:
            names = listed(gateway)
            befall(aws, "throw-InternalServerException")
            time.sleep(0.15)
            assert listed(gateway) == names
            assert NOVA in names

    def test_a_silent_aws_holds_nobody_up_for_long(self, aws: RunningSimulator) -> None:
        befall(aws, "stall-before-headers")
        with running_gateway(
            aws.url, proxy={"discovery": DISCOVERY}, tells=r"\S+ warning: the models at"
        ) as gateway:
            begun = time.monotonic()
            assert listed(gateway) == list(MODELS)
            assert time.monotonic() - begun < 3
            # Whoever comes after does not wait at all.
            begun = time.monotonic()
            assert listed(gateway) == list(MODELS)
            assert time.monotonic() - begun < 1

    def test_a_control_plane_elsewhere(self, aws: RunningSimulator, simulator: RunningSimulator) -> None:
        discovery = {**DISCOVERY, "url": aws.url}
        with running_gateway(simulator.url, proxy={"discovery": discovery}) as gateway:
            assert NOVA in listed(gateway)
            assert searches(aws) == 1


def user_of(text: str) -> Any:
    return {"role": "user", "content": text}
