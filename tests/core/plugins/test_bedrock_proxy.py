"""Where calls go: names and what they stand for, who may use which, regions, endpoints and authority."""

import fnmatch
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.sigv4 import Credentials
from stargate_core.clock import SECOND
from stargate_core.config.plugin_configs import ApiKeyAuth, AwsCredentials, BedrockProxy, ModelTarget
from stargate_core.config.schema import Config, Consumer, KeyCredential, PluginEntry
from stargate_core.messages import CredentialsChanged
from stargate_core.plugins.bedrock_proxy import BedrockProxyPlugin, may_use
from stargate_core.secret import Secret
from support.bedrock import converse_answer
from support.machines import LOG, Bench, a_plan, chat, converse, request

HAIKU: Final = "anthropic.claude-3-haiku-20240307-v1:0"
SONNET: Final = "anthropic.claude-3-sonnet-20240229-v1:0"
PROFILE: Final = "us.anthropic.claude-3-5-haiku-20241022-v1:0"
ARN: Final = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.x-v1:0"
MODELS: Final = {
    "claude": ModelTarget(SONNET),
    "claude-fast": ModelTarget(PROFILE, region="eu-west-1"),
    "arn": ModelTarget(ARN),
    HAIKU: ModelTarget(HAIKU),
}


def bench(allowed: list[str] | None = None, *, credentials: bool = True, **config: Any) -> Bench:
    """A gateway with this plugin, whose only caller may use these models."""
    config.setdefault("models", MODELS)
    consumer = Consumer(username="ann", keyauth_credentials=[KeyCredential(key=Secret("k"))], models=allowed)
    plugins = [
        PluginEntry(name="api-key-auth", config=ApiKeyAuth()),
        PluginEntry(name="bedrock-proxy", config=BedrockProxy(**config)),
        LOG,
    ]
    return Bench(a_plan(Config(consumers=[consumer], plugins=plugins)), credentials=credentials)


def instances(machine: Bench) -> list[object]:
    """The plugins that run."""
    return [getattr(hook.function, "__self__", None) for hook in machine.plan.outer.access]


def asked(machine: Bench, model: str | None = "claude", *, native: bool = False) -> Bench:
    """The caller asks for a model."""
    if native:
        sent = converse(model=model or "", headers={"x-api-key": "k"})
    else:
        members: dict[str, Any] = {} if model is None else {"model": model}
        sent = chat(headers={"x-api-key": "k"}, **{"model": None, **members})
    machine.ask(sent)
    if machine.asked:
        machine.open()
    return machine


class TestNames:
    @pytest.mark.parametrize("native", [False, True])
    @pytest.mark.parametrize(
        ("model", "target", "path"),
        [
            ("claude", SONNET, "/model/anthropic.claude-3-sonnet-20240229-v1%3A0/converse"),
            (HAIKU, HAIKU, "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse"),
            (
                "meta.llama3-1-8b-instruct-v1:0",
                "meta.llama3-1-8b-instruct-v1:0",
                "/model/meta.llama3-1-8b-instruct-v1%3A0/converse",
            ),
            (
                "arn",
                ARN,
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.x-v1%3A0/converse",
            ),
        ],
    )
    def test_a_name_is_what_it_stands_for_and_any_other_goes_as_it_is(
        self, model: str, target: str, path: str, native: bool
    ) -> None:
        machine = asked(bench(), model, native=native)
        assert machine.call.target == path
        machine.answer(converse_answer())
        assert (machine.record["model"], machine.record["target"]) == (model, target)

    @pytest.mark.parametrize(("default", "target"), [(HAIKU, HAIKU), ("claude", SONNET)])
    def test_a_call_that_names_none_gets_the_default(self, default: str, target: str) -> None:
        machine = asked(bench(model=default), None)
        assert machine.call.target == f"/model/{target.replace(':', '%3A')}/converse"

    def test_the_caller_reads_the_name_it_used(self) -> None:
        machine = asked(bench(), "claude")
        machine.answer(converse_answer())
        assert machine.only.json["model"] == "claude"

    def test_where_the_list_is_closed_a_name_beside_it_is_unknown(self) -> None:
        machine = asked(bench(allow_unlisted=False, model="claude"), "gpt-4")
        assert (machine.only.status, machine.only.json["error"]["code"]) == (404, "model_not_found")
        assert machine.only.json["error"]["param"] == "model"
        assert "'gpt-4'" in machine.only.json["error"]["message"]
        machine = asked(bench(allow_unlisted=False, model="claude"), "gpt-4", native=True)
        assert machine.only.header("x-amzn-errortype") == "ResourceNotFoundException"

    def test_but_the_default_is_always_known(self) -> None:
        for model in (None, HAIKU):
            machine = asked(bench(allow_unlisted=False, model=HAIKU, models={}), model)
            assert len(machine.calls) == 1

    def test_the_longest_name_there_may_be_is_served(self) -> None:
        assert len(asked(bench(), "m" * 2048).calls) == 1

    @pytest.mark.parametrize("length", [2049, 100_000])
    def test_a_name_that_is_longer_than_any_is_unknown(self, length: int) -> None:
        """It is kept nowhere, sent nowhere, and logged only at its beginning."""
        machine = asked(bench(), "m" * length)
        assert (machine.only.status, machine.only.json["error"]["code"]) == (404, "model_not_found")
        assert machine.opened == []
        assert machine.record["model"] == "m" * 256
        assert len(machine.only.body) < 500


class TestWhoMay:
    @pytest.mark.parametrize(
        ("globs", "model", "may"),
        [
            (None, "anything", True),
            ([], "claude", False),
            (["claude"], "claude", True),
            (["claude-*"], "claude-fast", True),
            (["claude-*"], "claude", False),
            # Whoever may use a model may use it by any name, and the other way round.
            (["anthropic.*"], "claude", True),
            (["anthropic.*"], HAIKU, True),
            (["anthropic.*"], "claude-fast", False),
            (["us.anthropic.*"], "claude-fast", True),
            (["*"], "whatever", True),
            (["claude"], SONNET, False),
            (["anthropic.claude-?-haiku*"], HAIKU, True),
            (["anthropic.claude-?-haiku*"], "anthropic.claude-35-haiku", False),
            (["CLAUDE"], "claude", False),
            (["clau.e"], "claude", False),
            (["claude"], "claude\n", False),
            (["arn:aws:bedrock:*:123456789012:*"], "arn", True),
        ],
    )
    def test_the_list_of_the_consumer(self, globs: list[str] | None, model: str, may: bool) -> None:
        machine = asked(bench(globs), model)
        if may:
            assert len(machine.calls) == 1
            return
        assert (machine.only.status, machine.only.json["error"]["code"]) == (403, "FORBIDDEN")
        assert machine.record["cause"] == "MODEL_FORBIDDEN"
        assert machine.opened == []

    @given(st.lists(st.text("ab?*.[", max_size=8), max_size=3), st.text("ab.[", max_size=12).filter(bool))
    def test_globs_are_what_pythons_are(self, globs: list[str], name: str) -> None:
        """Python's fnmatch is the judge; brackets, which are classes there, mean themselves here."""
        quoted = [glob.replace("[", "[[]") for glob in globs]
        wanted = any(fnmatch.fnmatchcase(name, glob) for glob in quoted)
        assert may_use(Consumer(username="a", models=globs), name) == wanted

    def test_many_stars_do_not_make_a_long_name_expensive(self) -> None:
        """With a plain `.*` for each star this would take longer than anybody waits."""
        assert not may_use(Consumer(username="a", models=["*a" * 12 + "b"]), "a" * 2048)

    def test_the_default_must_be_allowed_too(self) -> None:
        assert asked(bench(["us.*"], model="claude"), None).only.status == 403

    def test_an_aws_caller_hears_it_in_its_words(self) -> None:
        machine = asked(bench(["us.*"]), HAIKU, native=True)
        assert (machine.only.status, machine.only.header("x-amzn-errortype")) == (
            403,
            "AccessDeniedException",
        )

    def test_without_a_consumer_all_are_allowed(self) -> None:
        assert may_use(None, "x")
        assert not may_use(Consumer(username="a", models=[]), "x")

    def test_an_operation_without_a_model_asks_for_none(self) -> None:
        machine = bench([], allow_unlisted=False, model="claude")
        machine.ask(request("/guardrail/g/version/1/apply", b"{}", headers={"x-api-key": "k"}))
        machine.open()
        assert machine.call.target == "/guardrail/g/version/1/apply"

    def listed(self, machine: Bench) -> list[str]:
        machine.ask(request("/v1/models", method="GET", headers={"x-api-key": "k"}))
        return [card["id"] for card in machine.only.json["data"]]

    def test_the_list_of_models_is_what_the_caller_may_name(self) -> None:
        assert self.listed(bench()) == ["claude", "claude-fast", "arn", HAIKU]
        assert self.listed(bench(["anthropic.*"])) == ["claude", HAIKU]
        assert self.listed(bench([])) == []
        assert self.listed(bench(models={}, model=HAIKU)) == [HAIKU]

    def test_one_model_is_shown_to_those_who_may_name_it(self) -> None:
        for globs, status in ((None, 200), (["us.*"], 404)):
            machine = bench(globs)
            machine.ask(request("/v1/models/claude", method="GET", headers={"x-api-key": "k"}))
            assert machine.only.status == status


class TestWhere:
    @pytest.mark.parametrize(
        ("config", "model", "host", "region"),
        [
            ({}, "claude", "bedrock-runtime.us-east-1.amazonaws.com", "us-east-1"),
            (
                {"region": "eu-central-1"},
                "claude",
                "bedrock-runtime.eu-central-1.amazonaws.com",
                "eu-central-1",
            ),
            (
                {"region": "eu-central-1"},
                "claude-fast",
                "bedrock-runtime.eu-west-1.amazonaws.com",
                "eu-west-1",
            ),
            ({"fips": True}, "claude", "bedrock-runtime-fips.us-east-1.amazonaws.com", "us-east-1"),
            ({"dual_stack": True}, "claude", "bedrock-runtime.us-east-1.api.aws", "us-east-1"),
            ({"region": "cn-north-1"}, "claude", "bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ],
    )
    def test_awss_own_endpoints(self, config: dict[str, Any], model: str, host: str, region: str) -> None:
        machine = asked(bench(**config), model)
        endpoint = machine.opened[0].endpoint
        assert (endpoint.scheme, endpoint.host, endpoint.port) == ("https", host, 443)
        assert machine.call.headers["host"] == host
        assert f"/{region}/bedrock/aws4_request" in machine.call.headers["authorization"]
        machine.answer(converse_answer())
        assert machine.record["region"] == region

    @pytest.mark.parametrize(
        ("url", "scheme", "host", "port", "authority", "prefix"),
        [
            ("http://127.0.0.1:9", "http", "127.0.0.1", 9, "127.0.0.1:9", ""),
            ("https://proxy.test", "https", "proxy.test", 443, "proxy.test", ""),
            ("https://proxy.test/aws/", "https", "proxy.test", 443, "proxy.test", "/aws"),
            ("http://[::1]:80/a/b", "http", "::1", 80, "[::1]", "/a/b"),
        ],
    )
    def test_or_one_of_the_configurations(
        self, url: str, scheme: str, host: str, port: int, authority: str, prefix: str
    ) -> None:
        machine = asked(bench(endpoint_url=url), "claude")
        endpoint = machine.opened[0].endpoint
        assert (endpoint.scheme, endpoint.host, endpoint.port) == (scheme, host, port)
        assert machine.call.headers["host"] == authority
        assert machine.call.target == f"{prefix}/model/anthropic.claude-3-sonnet-20240229-v1%3A0/converse"

    def test_endpoints_and_directions_are_made_once(self) -> None:
        machine = bench()
        for _ in range(2):
            asked(machine, "claude").answer(converse_answer())
        assert machine.opened[0].endpoint is machine.opened[1].endpoint

    def test_any_number_of_names_is_served(self) -> None:
        """Directions are kept for the first thousands; the others are made each time."""
        machine = bench()
        for number in range(4100):
            machine.ask(chat(headers={"x-api-key": "k"}, model=f"m{number}"))
            machine.open()
            machine.answer(converse_answer())
        (plugin,) = (each for each in instances(machine) if isinstance(each, BedrockProxyPlugin))
        assert len(plugin._directions) == 4096

    def test_the_timeout_bounds_the_whole(self) -> None:
        machine = asked(bench(timeout=7_000), "claude")
        machine.advance(7 * SECOND)
        assert machine.only.json["error"]["code"] == "TOTAL_TIMEOUT"


class TestAuthority:
    FIXED: Final = AwsCredentials(
        access_key_id="AKIDFIXED", secret_access_key=Secret("planted"), session_token=Secret("token")
    )

    def test_the_usual_credentials(self) -> None:
        machine = asked(bench(), "claude")
        assert "Credential=AKIDSTARGATE/" in machine.call.headers["authorization"]

    def test_fixed_ones_need_nobody_to_find_any(self) -> None:
        machine = asked(bench(credentials=False), "claude")
        assert machine.only.status == 503
        consumer = Consumer(username="ann", keyauth_credentials=[KeyCredential(key=Secret("k"))])
        entry = PluginEntry(name="bedrock-proxy", config=BedrockProxy(credentials=self.FIXED))
        machine = Bench(a_plan(Config(consumers=[consumer], plugins=[entry, LOG])), credentials=False)
        asked(machine, HAIKU)
        assert "Credential=AKIDFIXED/" in machine.call.headers["authorization"]
        assert machine.call.headers["x-amz-security-token"] == "token"
        assert "planted" not in str(machine.call.headers)

    def test_a_profile_has_an_account_of_its_own(self) -> None:
        machine = bench(profile="team")
        asked(machine, "claude")
        assert machine.only.status == 503
        machine = bench(profile="team")
        machine.tell(CredentialsChanged("team", Credentials("AKIDTEAM", Secret("s"))))
        asked(machine, "claude")
        assert "Credential=AKIDTEAM/" in machine.call.headers["authorization"]

    @pytest.mark.parametrize("native", [False, True])
    def test_an_api_key_of_bedrocks_is_a_bearer_token(self, native: bool) -> None:
        machine = asked(
            bench(api_key=Secret("bedrock-api-key-1"), credentials=False), "claude", native=native
        )
        assert machine.call.headers["authorization"] == "Bearer bedrock-api-key-1"
        assert "x-amz-date" not in machine.call.headers

    def test_new_credentials_sign_from_the_next_call_on(self) -> None:
        machine = bench()
        asked(machine, "claude").answer(converse_answer())
        machine.tell(CredentialsChanged("", Credentials("AKIDNEXT", Secret("s"))))
        asked(machine, "claude")
        assert "Credential=AKIDNEXT/" in machine.call.headers["authorization"]
        machine.answer(converse_answer())
        machine.tell(CredentialsChanged("", None))
        asked(machine, "claude")
        assert machine.client.answers[-1].status == 503

    def test_no_secret_is_shown(self) -> None:
        config = BedrockProxy(credentials=self.FIXED)
        assert "planted" not in repr(config) + str(msgspec.structs.asdict(config))
