"""Where calls go: names and what they stand for, who may use which, regions, endpoints and authority."""

import fnmatch
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.credentials import Credentials
from stargate_core.aws.operations import Operation
from stargate_core.aws.surfaces import Surface
from stargate_core.clock import MILLISECOND, SECOND
from stargate_core.config.bedrock_proxy import (
    AwsAccount,
    AwsCredentials,
    AwsRole,
    BedrockProxy,
    CircuitBreaker,
    ModelTarget,
    ProxyTarget,
    Retry,
    RetryBudget,
)
from stargate_core.config.plugin_configs import ApiKeyAuth
from stargate_core.config.request_options import Discovery
from stargate_core.config.schema import Config, Consumer, KeyCredential, PluginEntry
from stargate_core.dialects.face import Ask
from stargate_core.direction import Account, BreakerPolicy, Direction, Persistence, Role
from stargate_core.entropy import Entropy
from stargate_core.gateway.breaker import Breaker
from stargate_core.messages import CallReported, CredentialsChanged, Health, HealthChanged, Trouble
from stargate_core.plugins.bedrock_proxy import BedrockProxyPlugin, accounts_of, may_use, may_use_all
from stargate_core.questions import ListModels, Models
from stargate_core.secret import Secret
from support.bedrock import aws_error, converse_answer
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
        assert len(plugin._choices) == 4096

    def test_a_long_name_is_not_worth_keeping(self) -> None:
        machine = bench()
        for length in (256, 257):
            asked(machine, "m" * length).answer(converse_answer())
        (plugin,) = (each for each in instances(machine) if isinstance(each, BedrockProxyPlugin))
        assert [len(name) for name, _ in plugin._choices] == [256]

    def test_the_timeout_bounds_the_whole(self) -> None:
        machine = asked(bench(timeout=7_000), "claude")
        machine.advance(7 * SECOND)
        assert machine.only.json["error"]["code"] == "TOTAL_TIMEOUT"


class Drawn:
    """The access context of a plugin that only directs: what it was told, and the chances it draws."""

    consumer = None
    speaks = (Surface.CONVERSE, Surface.INVOKE)

    def __init__(
        self, model: str | None, chances: list[float], *, operation: Operation | None = None
    ) -> None:
        self.ask = Ask(model, False, operation=operation)
        self.directions: tuple[Direction, ...] = ()
        self.persistence: Persistence | None = None
        self._chances = iter(chances)

    def chance(self) -> float:
        """The next one."""
        return next(self._chances)

    def direct(
        self,
        *directions: Direction,
        persistence: Persistence | None = None,
        beside: Direction | None = None,
    ) -> None:
        """Where the call goes."""
        self.directions, self.persistence, self.beside = directions, persistence, beside

    beside: Direction | None

    @property
    def names(self) -> list[str]:
        """What the directions are called."""
        return [direction.name for direction in self.directions]


def directed(
    config: BedrockProxy, model: str | None = "m", *chances: float, operation: Operation | None = None
) -> Drawn:
    """Where a call goes; no chance is drawn but these."""
    context: Any = Drawn(model, list(chances), operation=operation)
    BedrockProxyPlugin(config).access(context)
    drawn: Drawn = context
    assert list(drawn._chances) == []
    return drawn


def regions(*names: str, **fields: Any) -> list[ProxyTarget]:
    """Targets in these regions."""
    return [ProxyTarget(region=name, **fields) for name in names]


class TestTargets:
    TWO: Final = regions("us-east-1", "us-west-2")

    def test_a_call_may_go_to_all_of_them_in_their_order(self) -> None:
        drawn = directed(BedrockProxy(targets=self.TWO, timeout=9))
        assert drawn.names == ["us-east-1/m", "us-west-2/m"]
        assert [direction.region for direction in drawn.directions] == ["us-east-1", "us-west-2"]
        assert [direction.endpoint.host for direction in drawn.directions] == [
            "bedrock-runtime.us-east-1.amazonaws.com",
            "bedrock-runtime.us-west-2.amazonaws.com",
        ]
        assert {direction.total_ns for direction in drawn.directions} == {9 * MILLISECOND}

    @pytest.mark.parametrize(
        ("config", "names"),
        [
            ({}, ["us-east-1/m"]),
            ({"fips": True}, ["us-east-1+fips/m"]),
            ({"fips": True, "dual_stack": True}, ["us-east-1+fips+dual-stack/m"]),
            ({"profile": "p"}, ["p/us-east-1/m"]),
            ({"endpoint_url": "https://h:8443/x/"}, ["h:8443/x/us-east-1/m"]),
            ({"targets": [ProxyTarget(name="home"), *regions("eu-west-1")]}, ["home/m", "eu-west-1/m"]),
            (
                {"targets": [ProxyTarget(), ProxyTarget(account="b")], "accounts": {"b": AwsAccount()}},
                ["us-east-1/m", "b/us-east-1/m"],
            ),
            (
                {"models": {"m": ModelTarget("eu.m", targets=[ProxyTarget(), ProxyTarget(target="n")])}},
                ["us-east-1/eu.m", "us-east-1/n"],
            ),
        ],
    )
    def test_each_has_a_name_of_its_own(self, config: dict[str, Any], names: list[str]) -> None:
        assert directed(BedrockProxy(**config)).names == names

    def test_those_that_stand_in_for_each_other_are_a_group(self) -> None:
        first, second = (each.breaker for each in directed(BedrockProxy(targets=self.TWO)).directions)
        assert first == second
        assert first.group
        assert first.group_size == 2
        config = BedrockProxy(targets=self.TWO, region="eu-west-1")
        again, other = directed(config), directed(config, "n")
        assert again.directions[0].breaker.group == first.group
        assert other.directions[0].breaker.group not in ("", first.group)
        (alone,) = directed(BedrockProxy()).directions
        assert (alone.breaker.group, alone.breaker.group_size) == ("", 1)

    def test_an_operation_without_a_model_goes_to_the_first_only(self) -> None:
        config = BedrockProxy(targets=self.TWO, balance="weighted", region="eu-west-1")
        assert directed(config, None, operation=Operation.APPLY_GUARDRAIL).names == ["us-east-1"]

    @pytest.mark.parametrize(
        ("region", "names"),
        [("us-west-2", ["us-west-2"]), ("eu-west-1", ["us-east-1", "us-west-2"])],
    )
    def test_an_arn_is_called_in_its_own_region_if_that_may_be(self, region: str, names: list[str]) -> None:
        arn = f"arn:aws:bedrock:{region}:123456789012:inference-profile/us.x"
        drawn = directed(BedrockProxy(targets=self.TWO), arn)
        assert drawn.names == [f"{name}/{arn}" for name in names]
        # What an operator has written at the model itself is meant so.
        listed = BedrockProxy(models={"m": ModelTarget(arn, targets=self.TWO)})
        assert len(directed(listed).names) == 2

    def test_a_surface_is_the_models(self) -> None:
        models = {"m": ModelTarget("t", "invoke", targets=self.TWO)}
        drawn = directed(BedrockProxy(models=models))
        assert {direction.target.surface for direction in drawn.directions} == {Surface.INVOKE}

    def test_a_call_that_fails_at_one_goes_on_to_the_next(self) -> None:
        machine = asked(bench(models={}, targets=self.TWO, attempts_header=True), "m")
        machine.answer(aws_error("ServiceUnavailableException", 503))
        question = machine.reply(True)
        assert (question.target, question.repeats) == ("us-west-2/m", True)  # type: ignore[union-attr]
        machine.open()
        assert machine.call.headers["host"] == "bedrock-runtime.us-west-2.amazonaws.com"
        machine.answer(converse_answer())
        assert machine.only.status == 200
        assert "us-west-2/m" in (machine.only.header("x-stargate-attempts") or "")

    def test_one_that_is_left_alone_is_passed_over(self) -> None:
        machine = bench(models={}, targets=self.TWO)
        machine.tell(HealthChanged("us-east-1/m", Health.OPEN, SECOND))
        assert asked(machine, "m").call.headers["host"] == "bedrock-runtime.us-west-2.amazonaws.com"

    def test_connections_that_can_not_be_made_are_tried_elsewhere_too(self) -> None:
        machine = bench(models={}, targets=self.TWO)
        machine.ask(chat(headers={"x-api-key": "k"}, model="m"))
        machine.refuse(Trouble.REFUSED)
        machine.reply(True)
        machine.open()
        assert machine.call.headers["host"] == "bedrock-runtime.us-west-2.amazonaws.com"


class TestBalance:
    WEIGHED: Final = BedrockProxy(
        balance="weighted",
        targets=[
            ProxyTarget(name="a", weight=1),
            ProxyTarget(name="b", region="us-west-2", weight=2),
            ProxyTarget(name="c", region="eu-west-1"),
        ],
    )

    @pytest.mark.parametrize(
        ("first", "second", "order"),
        [
            (0.0, 0.0, "abc"),
            (0.249, 0.666, "abc"),
            (0.249, 0.667, "acb"),
            (0.25, 0.0, "bac"),
            (0.749, 0.5, "bca"),
            (0.75, 0.0, "cab"),
            (0.999999, 0.999999, "cba"),
        ],
    )
    def test_each_is_drawn_by_its_weight_from_those_that_are_left(
        self, first: float, second: float, order: str
    ) -> None:
        assert directed(self.WEIGHED, "m", first, second).names == [f"{name}/m" for name in order]

    def test_over_many_calls_it_comes_out_as_the_weights_say(self) -> None:
        entropy, count = Entropy(1), 4000
        firsts = [
            directed(self.WEIGHED, "m", entropy.fraction(), entropy.fraction()).names[0] for _ in range(count)
        ]
        shares = [firsts.count(f"{name}/m") / count for name in "abc"]
        assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.03)

    def test_a_model_may_say_otherwise(self) -> None:
        targets = regions("us-east-1", "us-west-2")
        ordered = ModelTarget("t", targets=targets, balance="ordered")
        weighted = ModelTarget("t", targets=targets, balance="weighted")
        assert directed(BedrockProxy(balance="weighted", models={"m": ordered})).names[0] == "us-east-1/t"
        assert directed(BedrockProxy(models={"m": weighted}), "m", 0.5).names[0] == "us-west-2/t"

    def test_where_there_is_one_nothing_is_drawn(self) -> None:
        assert directed(BedrockProxy(balance="weighted")).names == ["us-east-1/m"]


class TestPersistence:
    def test_it_is_what_the_configuration_says(self) -> None:
        config = BedrockProxy(
            retry=Retry(count=2, delay=7, budget=RetryBudget(ratio=0.5, min_per_second=4)),
            breaker=CircuitBreaker(
                failures=1,
                ratio=0.3,
                calls_min=4,
                window=5.0,
                open=0.5,
                open_max=7.0,
                probes=8,
                ejected_max=0.9,
            ),
            attempts_header=True,
        )
        drawn = directed(config)
        assert drawn.persistence == Persistence(2, 7 * MILLISECOND, tell_attempts=True)
        assert drawn.directions[0].breaker == BreakerPolicy(
            failures=1,
            ratio=0.3,
            calls_min=4,
            window_ns=5 * SECOND,
            open_ns=SECOND // 2,
            open_max_ns=7 * SECOND,
            probes=8,
            ejected_max=0.9,
            retry_ratio=0.5,
            retry_min_per_second=4,
        )
        assert directed(config, None, operation=Operation.APPLY_GUARDRAIL).persistence == drawn.persistence

    def test_the_defaults_are_the_cores(self) -> None:
        drawn = directed(BedrockProxy())
        assert drawn.persistence == Persistence(3, SECOND)
        assert drawn.directions[0].breaker == BreakerPolicy()

    def test_a_breaker_that_is_switched_off_never_opens(self) -> None:
        config = BedrockProxy(
            breaker=CircuitBreaker(enabled=False), targets=regions("us-east-1", "us-west-2")
        )
        machine = Breaker()
        for direction in directed(config).directions:
            for _ in range(200):
                report = CallReported(direction.name, direction.breaker, ok=False, first=True)
                assert machine.handle(0, report) == []


class TestAccounts:
    ROLE: Final = AwsRole("arn:aws:iam::123456789012:role/b", "s", "e", {"team": "a"}, 900)

    def test_each_target_has_the_authority_it_names(self) -> None:
        fixed = AwsCredentials(access_key_id="AKIDFIXED", secret_access_key=Secret("s"))
        drawn = directed(
            BedrockProxy(
                api_key=Secret("own"),
                accounts={
                    "role": AwsAccount(role=self.ROLE),
                    "fixed": AwsAccount(credentials=fixed),
                    "key": AwsAccount(api_key=Secret("other")),
                },
                targets=[ProxyTarget(), *(ProxyTarget(account=name) for name in ("role", "fixed", "key"))],
            )
        )
        assert [
            (
                direction.account,
                direction.api_key and direction.api_key.reveal(),
                direction.credentials and direction.credentials.access_key_id,
            )
            for direction in drawn.directions
        ] == [("", "own", None), ("role", None, None), ("fixed", None, "AKIDFIXED"), ("key", "other", None)]

    def test_those_are_looked_for_that_the_configuration_does_not_hold(self) -> None:
        accounts = {
            "role": AwsAccount(profile="p", role=self.ROLE),
            "key": AwsAccount(api_key=Secret("k")),
            "unused": AwsAccount(),
        }
        targets = [ProxyTarget(account="role"), ProxyTarget(account="key")]
        role = Role(self.ROLE.arn, "s", "e", (("team", "a"),), 900)
        config = BedrockProxy(accounts=accounts, targets=targets, region="eu-west-1")
        assert accounts_of(config) == (Account("role", "p", role, "eu-west-1"),)

    def test_the_plugins_own_may_be_a_role(self) -> None:
        config = BedrockProxy(role=self.ROLE)
        (account,) = accounts_of(config)
        assert (account.name, account.profile) == ("123456789012:b", None)
        assert directed(config).directions[0].account == account.name


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


class TestTheAccount:
    """What is about no model, or about the account, goes where that lives; who may ask it is told apart."""

    JOB: Final = "arn:aws:bedrock:eu-west-1:123456789012:async-invoke/abc"
    JOB_PATH: Final = "/async-invoke/" + JOB.replace(":", "%3A").replace("/", "%2F")

    @staticmethod
    def got(machine: Bench, path: str, method: str = "GET", body: bytes = b"") -> Bench:
        machine.ask(request(path, body, method=method, headers={"x-api-key": "k"}))
        if machine.asked:
            machine.open()
        return machine

    @staticmethod
    def where(machine: Bench) -> str:
        (asked_for,) = machine.opened
        return asked_for.endpoint.host

    @pytest.mark.parametrize(
        ("config", "host"),
        [
            ({}, "bedrock.us-east-1.amazonaws.com"),
            ({"region": "eu-west-1"}, "bedrock.eu-west-1.amazonaws.com"),
            ({"endpoint_url": "http://here.test:1"}, "here.test"),
            ({"discovery": Discovery(enabled=True, url="http://there.test:1")}, "there.test"),
        ],
    )
    def test_readings_go_to_the_control_plane(self, config: dict[str, Any], host: str) -> None:
        for path in ("/foundation-models", "/inference-profiles/claude"):
            assert self.where(self.got(bench(**config), path)) == host

    def test_a_job_lives_where_its_name_says_and_is_begun_once(self) -> None:
        targets = [ProxyTarget(region="us-east-1"), ProxyTarget(region="eu-west-1")]
        assert self.where(self.got(bench(targets=targets), self.JOB_PATH)) == (
            "bedrock-runtime.eu-west-1.amazonaws.com"
        )
        body = msgspec.json.encode({"modelId": "claude", "modelInput": {}, "outputDataConfig": {}})
        machine = self.got(bench(retry=Retry(count=3, delay=0)), "/async-invoke", "POST", body)
        machine.answer(aws_error("ThrottlingException", 429))
        assert (machine.only.status, len(machine.calls)) == (429, 1)

    def test_a_guardrail_is_applied_at_the_first_target(self) -> None:
        machine = self.got(bench(), "/guardrail/g/version/1/apply", "POST", b"{}")
        assert self.where(machine) == "bedrock-runtime.us-east-1.amazonaws.com"

    @pytest.mark.parametrize("path", [JOB_PATH, "/async-invoke", "/inference-profiles"])
    def test_what_tells_of_all_models_is_for_who_may_use_them(self, path: str) -> None:
        machine = self.got(bench(["claude"]), path)
        assert (machine.opened, machine.record["cause"]) == ([], "MODEL_FORBIDDEN")
        assert len(self.got(bench(["*"]), path).opened) == 1

    @pytest.mark.parametrize(
        ("models", "all_of_them"), [(None, True), (["*"], True), (["claude", "*"], True), (["claude"], False)]
    )
    def test_who_that_is(self, models: list[str] | None, all_of_them: bool) -> None:
        assert may_use_all(Consumer(username="ann", models=models)) is all_of_them
        assert may_use_all(None)

    @pytest.mark.parametrize("configured", [MODELS, {}], ids=["names", "none"])
    def test_a_list_of_models_also_names_what_aws_says_there_is(self, configured: Any) -> None:
        machine = self.got(bench(models=configured, discovery=Discovery(enabled=True)), "/v1/models")
        assert isinstance(machine.reply(Models(("amazon.nova-lite-v1:0", HAIKU))), ListModels)
        names = [model["id"] for model in machine.only.json["data"]]
        assert names == [*configured, "amazon.nova-lite-v1:0", *(() if configured else (HAIKU,))]
