"""Surfaces: where each is and what signs for it, held against what AWS's and the vendors' own SDKs do."""

import pytest
from anthropic import AnthropicBedrockMantle
from openai import OpenAI
from openai.providers.bedrock import bedrock

from stargate_core.aws.endpoints import endpoint
from stargate_core.aws.surfaces import SURFACES, GuardrailWay, Surface


def url_of(surface: Surface) -> str:
    """Where a surface is, in eu-west-1."""
    spec = SURFACES[surface]
    return f"https://{endpoint(spec.service, 'eu-west-1').host}{spec.path}"


def test_every_surface_has_its_row() -> None:
    assert set(SURFACES) == set(Surface)


@pytest.mark.parametrize(
    ("surface", "url", "signing_name", "guardrail"),
    [
        ("converse", "bedrock-runtime.eu-west-1.amazonaws.com", "bedrock", "body"),
        ("invoke", "bedrock-runtime.eu-west-1.amazonaws.com", "bedrock", "headers"),
        ("openai", "bedrock-runtime.eu-west-1.amazonaws.com/openai/v1", "bedrock", "headers"),
        ("anthropic", "bedrock-runtime.eu-west-1.amazonaws.com/anthropic/v1", "bedrock", "headers"),
        ("mantle_openai", "bedrock-mantle.eu-west-1.api.aws/openai/v1", "bedrock-mantle", "none"),
        ("mantle_anthropic", "bedrock-mantle.eu-west-1.api.aws/anthropic/v1", "bedrock-mantle", "none"),
    ],
)
def test_where_it_is(surface: str, url: str, signing_name: str, guardrail: str) -> None:
    spec = SURFACES[Surface(surface)]
    assert url_of(Surface(surface)) == f"https://{url}"
    assert spec.signing_name == signing_name == endpoint(spec.service, "eu-west-1").signing_name
    assert spec.guardrail is GuardrailWay(guardrail)


def test_the_vendors_sdks_go_to_the_same_places() -> None:
    """openai-python knows both hosts, anthropic-sdk-python its own; the latter adds /v1 to each path."""
    for surface, where in ((Surface.OPENAI, "runtime"), (Surface.MANTLE_OPENAI, "mantle")):
        provider = bedrock(region="eu-west-1", api_key="k", endpoint=where)  # type: ignore[arg-type]
        assert str(OpenAI(provider=provider).base_url) == f"{url_of(surface)}/"
    client = AnthropicBedrockMantle(aws_region="eu-west-1", api_key="k")
    assert f"{client.base_url}v1" == url_of(Surface.MANTLE_ANTHROPIC)


def test_claude_is_served_by_its_own_body_and_the_rest_by_converse() -> None:
    rows = {surface: spec.models for surface, spec in SURFACES.items() if spec.models}
    assert rows == {Surface.INVOKE: ("*anthropic.claude*",), Surface.CONVERSE: ("*",)}
