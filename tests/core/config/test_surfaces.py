"""bedrock-proxy's table of surfaces: which one serves a model, where it is, and what cannot be meant."""

from typing import Any, Final

import pytest

from stargate_core.aws.surfaces import SURFACES, GuardrailWay, Surface
from stargate_core.config.bedrock_proxy import BedrockProxy, ModelTarget
from stargate_core.config.problems import Misfit
from stargate_core.config.surfaces import SurfaceRow, SurfaceTable, surface_endpoint, surface_specs
from support.config import loaded

CHAT: Final = (Surface.CONVERSE, Surface.OPENAI, Surface.MANTLE_OPENAI)
MESSAGES: Final = (Surface.INVOKE, Surface.CONVERSE, Surface.ANTHROPIC, Surface.MANTLE_ANTHROPIC)
EMBEDDINGS: Final = (Surface.INVOKE,)
CLAUDE: Final = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


class TestFinding:
    @pytest.mark.parametrize(
        ("model", "speaks", "surface"),
        [
            (CLAUDE, CHAT, Surface.CONVERSE),
            (CLAUDE, MESSAGES, Surface.INVOKE),
            ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-v2", MESSAGES, Surface.INVOKE),
            ("amazon.nova-pro-v1:0", MESSAGES, Surface.CONVERSE),
            ("amazon.nova-pro-v1:0", CHAT, Surface.CONVERSE),
            ("amazon.titan-embed-text-v2:0", EMBEDDINGS, Surface.INVOKE),
        ],
    )
    def test_the_defaults(self, model: str, speaks: tuple[Surface, ...], surface: Surface) -> None:
        assert SurfaceTable({}).find(model, speaks) is surface

    def test_the_files_rows_come_first_in_their_order(self) -> None:
        table = SurfaceTable(
            {
                "mantle_openai": SurfaceRow(models=["openai.gpt-5*"]),
                "openai": SurfaceRow(models=["openai.*"]),
                "anthropic": SurfaceRow(models=["*claude-opus*"]),
            }
        )
        assert table.find("openai.gpt-5-mini", CHAT) is Surface.MANTLE_OPENAI
        assert table.find("openai.gpt-oss-120b-1:0", CHAT) is Surface.OPENAI
        assert table.find("anthropic.claude-opus-4-6", MESSAGES) is Surface.ANTHROPIC

    def test_a_row_that_the_caller_cannot_use_is_passed_over(self) -> None:
        table = SurfaceTable({"mantle_openai": SurfaceRow(models=["*"])})
        assert table.find(CLAUDE, MESSAGES) is Surface.INVOKE
        assert table.find("amazon.titan-embed-text-v2:0", EMBEDDINGS) is Surface.INVOKE

    def test_a_row_without_models_keeps_the_defaults(self) -> None:
        table = SurfaceTable({"invoke": SurfaceRow(url="https://here")})
        assert table.find(CLAUDE, MESSAGES) is Surface.INVOKE
        assert SurfaceTable({"invoke": SurfaceRow(models=[])}).find(CLAUDE, MESSAGES) is Surface.CONVERSE


class TestReaching:
    def test_what_a_row_says_replaces_the_default(self) -> None:
        row = SurfaceRow(path="/v1", signing_name="bedrock", guardrail="headers")
        spec = surface_specs({"mantle_openai": row})[Surface.MANTLE_OPENAI]
        assert (spec.path, spec.signing_name, spec.guardrail) == ("/v1", "bedrock", GuardrailWay.HEADERS)
        assert spec.service == "bedrock-mantle"

    def test_a_surfaces_own_url_wins_and_knows_the_region(self) -> None:
        row = SurfaceRow(url="https://vpce-1.{region}.example:8443/proxy")
        spec = surface_specs({"openai": row})[Surface.OPENAI]
        there = surface_endpoint(spec, "eu-west-1", "http://elsewhere:1", fips=False, dual_stack=False)
        assert (there.host, there.port) == ("vpce-1.eu-west-1.example", 8443)
        assert (there.prefix, there.signing_name) == ("/proxy/openai/v1", "bedrock")

    @pytest.mark.parametrize("surface", Surface)
    def test_one_place_may_stand_for_all(self, surface: Surface) -> None:
        spec = SURFACES[surface]
        there = surface_endpoint(spec, "us-east-1", "http://127.0.0.1:1", fips=False, dual_stack=False)
        assert (there.host, there.port, there.prefix) == ("127.0.0.1", 1, spec.path)
        assert (there.signing_name, there.signing_region) == (spec.signing_name, "us-east-1")

    def test_a_file_says_it(self) -> None:
        config: Any = (
            loaded(
                """\
                plugins:
                  - name: bedrock-proxy
                    config:
                      surfaces:
                        mantle_openai: {models: ["openai.gpt-5*"], path: /v1}
                      models:
                        opus: {target: anthropic.claude-opus-4-6, surface: mantle_anthropic}
                """
            )
            .plugins[0]
            .config
        )
        assert config.surfaces == {"mantle_openai": SurfaceRow(models=["openai.gpt-5*"], path="/v1")}
        assert config.models["opus"].surface == "mantle_anthropic"


class TestMisfits:
    @pytest.mark.parametrize(
        ("config", "path"),
        [
            ({"surfaces": {"openai": SurfaceRow(url="ftp://x")}}, ("surfaces", "openai", "url")),
            ({"surfaces": {"openai": SurfaceRow(url="https://u:p@x")}}, ("surfaces", "openai", "url")),
            ({"surfaces": {"invoke": SurfaceRow(guardrail="body")}}, ("surfaces", "invoke", "guardrail")),
            (
                {"surfaces": {"converse": SurfaceRow(guardrail="headers")}},
                ("surfaces", "converse", "guardrail"),
            ),
            (
                {"fips": True, "surfaces": {"mantle_openai": SurfaceRow(models=["*"])}},
                ("surfaces", "mantle_openai", "models"),
            ),
            (
                {"fips": True, "models": {"m": ModelTarget("x", surface="mantle_openai")}},
                ("models", "m", "surface"),
            ),
        ],
    )
    def test_what_cannot_be_meant_is_said(self, config: dict[str, Any], path: tuple[str, ...]) -> None:
        with pytest.raises(Misfit) as misfit:
            BedrockProxy(**config)
        assert misfit.value.path == path

    def test_a_url_of_its_own_may_be_of_validated_cryptography(self) -> None:
        BedrockProxy(
            fips=True, surfaces={"mantle_openai": SurfaceRow(models=["*"], url="https://fips.example")}
        )


class TestWhereAwsIs:
    @pytest.mark.parametrize("surface", Surface)
    def test_without_a_url_it_is_awss_own_host(self, surface: Surface) -> None:
        spec = SURFACES[surface]
        if spec.url is not None:
            assert "{region}" in spec.url
        there = surface_endpoint(spec, "eu-west-1", None, fips=False, dual_stack=False)
        assert (there.scheme, there.signing_name, there.signing_region) == (
            "https",
            spec.signing_name,
            "eu-west-1",
        )
        assert "eu-west-1" in there.host
        assert there.prefix.endswith(spec.path or "")
