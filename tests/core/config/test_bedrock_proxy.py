"""bedrock-proxy's config: how it is written, what is left out, and what contradicts itself."""

from typing import Any, Final

import msgspec
import pytest

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
    targets_of,
)
from stargate_core.config.problems import Misfit
from stargate_core.secret import Secret
from support.config import examined, loaded, said

MODEL: Final = "anthropic.claude-3-sonnet-20240229-v1:0"
ARN: Final = "arn:aws:iam::123456789012:role/team/bedrock"
FIXED: Final = AwsCredentials(access_key_id="AKID", secret_access_key=Secret("s"))
URL: Final = "https://proxy.test"


def proxy(text: str) -> BedrockProxy:
    """The config that this YAML writes."""
    indented = "\n".join(f"      {line}" for line in text.splitlines())
    config = loaded(f"plugins:\n  - name: bedrock-proxy\n    config:\n{indented}\n").plugins[0].config
    assert isinstance(config, BedrockProxy)
    return config


def problems(config: str) -> list[str]:
    """What is wrong with it, each from the plugin's config on."""
    found = examined(f"plugins: [{{name: bedrock-proxy, config: {{{config}}}}}]")
    return [message.removeprefix("plugins[0].config.") for message in said(found.problems)]


class TestForms:
    def test_defaults(self) -> None:
        config = BedrockProxy()
        assert (config.region, config.model, config.timeout) == ("us-east-1", MODEL, None)
        assert config.retry == Retry(count=3, delay=1000, budget=RetryBudget(ratio=0.2, min_per_second=3))
        assert config.breaker.enabled
        assert config.models == {}
        assert config.allow_unlisted
        assert not config.attempts_header

    def test_a_model_is_written_short_or_long(self) -> None:
        config = proxy(
            f"models:\n"
            f"  claude: {MODEL}\n"
            f"  fast: {{target: us.anthropic.haiku, surface: converse, region: eu-west-1}}\n"
            f"  {MODEL}: {MODEL}\n"
        )
        assert config.models == {
            "claude": ModelTarget(MODEL),
            "fast": ModelTarget("us.anthropic.haiku", "converse", "eu-west-1"),
            MODEL: ModelTarget(MODEL),
        }

    def test_everything_at_once(self) -> None:
        config = proxy(
            f"""
            retry: {{count: 2, delay: 50, budget: {{ratio: 0.5, min_per_second: 0}}}}
            breaker:
              {{failures: 5, ratio: 0.25, calls_min: 10, window: 20, open: 1.5, open_max: 60, probes: 2,
                ejected_max: 0.5, enabled: true}}
            attempts_header: true
            balance: weighted
            targets:
              - {{region: us-east-1, weight: 3}}
              - {{name: west, region: us-west-2, account: other}}
            accounts:
              other:
                role: {{arn: {ARN}, external_id: e-1, session_tags: {{team: a}}, duration_seconds: 900}}
              short: {{profile: p, role: {ARN}}}
              key: {{api_key: k}}
              usual: {{}}
            models:
              claude:
                target: {MODEL}
                balance: ordered
                targets: [{{}}, {{target: eu.claude, region: eu-west-1, endpoint_url: {URL}}}]
            """
        )
        assert config == BedrockProxy(
            retry=Retry(count=2, delay=50, budget=RetryBudget(ratio=0.5, min_per_second=0)),
            breaker=CircuitBreaker(
                failures=5, ratio=0.25, calls_min=10, window=20, open=1.5, open_max=60, probes=2,
                ejected_max=0.5,
            ),
            attempts_header=True,
            balance="weighted",
            targets=[
                ProxyTarget(region="us-east-1", weight=3),
                ProxyTarget(name="west", region="us-west-2", account="other"),
            ],
            accounts={
                "other": AwsAccount(
                    role=AwsRole(ARN, external_id="e-1", session_tags={"team": "a"}, duration_seconds=900)
                ),
                "short": AwsAccount(profile="p", role=AwsRole(ARN)),
                "key": AwsAccount(api_key=Secret("k")),
                "usual": AwsAccount(),
            },
            models={
                "claude": ModelTarget(
                    MODEL,
                    balance="ordered",
                    targets=[
                        ProxyTarget(),
                        ProxyTarget(target="eu.claude", region="eu-west-1", endpoint_url=URL),
                    ],
                )
            },
        )  # fmt: skip


class TestTargets:
    """Where a model is called, and what a target takes from whom."""

    PLACES: Final = [ProxyTarget(region="us-east-2"), ProxyTarget(region="us-west-2")]

    def called(self, model: ModelTarget, **config: Any) -> list[tuple[Any, ...]]:
        """Model id, region, account and URL of each target."""
        config.setdefault("accounts", {"a": AwsAccount(), "b": AwsAccount()})
        found = targets_of(BedrockProxy(**config), model)
        return [(one.target, one.region, one.account, one.endpoint_url) for one in found]

    def test_without_any_it_is_called_at_the_plugins_region(self) -> None:
        assert self.called(ModelTarget("m"), region="eu-west-1") == [("m", "eu-west-1", None, None)]
        assert self.called(ModelTarget("m"), endpoint_url=URL) == [("m", "us-east-1", None, URL)]

    def test_a_models_own_come_first(self) -> None:
        model = ModelTarget("m", region="eu-west-1", account="a", targets=[ProxyTarget(), *self.PLACES])
        assert self.called(model, targets=[ProxyTarget(region="eu-west-3")]) == [
            ("m", "eu-west-1", "a", None),
            ("m", "us-east-2", "a", None),
            ("m", "us-west-2", "a", None),
        ]

    def test_then_the_plugins(self) -> None:
        places = [*self.PLACES, ProxyTarget(account="b", endpoint_url=URL)]
        assert self.called(ModelTarget("m"), targets=places, endpoint_url="https://h") == [
            ("m", "us-east-2", None, "https://h"),
            ("m", "us-west-2", None, "https://h"),
            ("m", "us-east-1", "b", URL),
        ]

    @pytest.mark.parametrize(
        ("model", "called"),
        [
            (ModelTarget("m", region="eu-west-1"), ("m", "eu-west-1", None, None)),
            (ModelTarget("m", account="a"), ("m", "us-east-1", "a", None)),
        ],
    )
    def test_but_a_model_with_a_place_of_its_own_stays_there(self, model: ModelTarget, called: Any) -> None:
        assert self.called(model, targets=self.PLACES) == [called]

    def test_a_target_may_be_another_model(self) -> None:
        model = ModelTarget("m", targets=[ProxyTarget(), ProxyTarget(target="n")])
        assert [target for target, *_ in self.called(model)] == ["m", "n"]

    def test_a_service_elsewhere_takes_all_of_them(self) -> None:
        """And two that differ only in where they were called are one then."""
        there = [
            ProxyTarget(name="x", endpoint_url=URL),
            ProxyTarget(region="us-east-1"),
            ProxyTarget(region="us-west-2"),
        ]
        config = BedrockProxy(
            targets=there, models={"m": ModelTarget("t", targets=there)}, endpoint_url="https://old"
        ).placed("http://new:1")
        for model in (ModelTarget("t"), config.models["m"]):
            assert [(one.region, one.endpoint_url) for one in targets_of(config, model)] == [
                ("us-east-1", "http://new:1"),
                ("us-west-2", "http://new:1"),
            ]


class TestAccounts:
    @pytest.mark.parametrize(
        ("config", "name"),
        [
            ({}, ""),
            ({"api_key": Secret("k")}, ""),
            ({"profile": "p"}, "p"),
            ({"role": AwsRole(ARN)}, "123456789012:team/bedrock"),
            ({"profile": "p", "role": AwsRole(ARN)}, "p:123456789012:team/bedrock"),
        ],
    )
    def test_the_plugins_own_has_a_name_for_logs(self, config: dict[str, Any], name: str) -> None:
        assert BedrockProxy(**config).account_name(None) == name

    def test_others_have_the_ones_they_were_given(self) -> None:
        config = BedrockProxy(profile="p", accounts={"a": AwsAccount(profile="q")})
        assert config.account_name("a") == "a"
        assert config.account("a") == AwsAccount(profile="q")
        assert config.account(None) == AwsAccount(profile="p")

    def test_those_are_used_that_a_target_names(self) -> None:
        accounts = {name: AwsAccount() for name in "abcd"}
        config = BedrockProxy(
            accounts=accounts,
            targets=[ProxyTarget(account="a")],
            models={
                "m": ModelTarget("t", account="b"),
                "n": ModelTarget("t", account="b", targets=[ProxyTarget(account="c")]),
            },
        )
        assert set(config.accounts_used()) == {"a", "b", "c"}
        assert set(BedrockProxy(accounts=accounts).accounts_used()) == {None}


WRONG: Final = [
    # authority
    ({"profile": "p", "api_key": Secret("k")}, ("api_key",), "at most one of"),
    ({"credentials": FIXED, "profile": "p"}, ("profile",), "not credentials and profile"),
    ({"credentials": FIXED, "role": AwsRole(ARN)}, ("role",), "expected no role beside credentials"),
    ({"api_key": Secret("k"), "role": AwsRole(ARN)}, ("role",), "expected no role beside api_key"),
    # where
    ({"endpoint_url": "localhost:1"}, ("endpoint_url",), "expected http"),
    ({"endpoint_url": "http://h", "fips": True}, ("fips",), "expected false"),
    ({"endpoint_url": "http://h", "dual_stack": True}, ("dual_stack",), "expected false"),
    (
        {"targets": [ProxyTarget(endpoint_url="ftp://h")]},
        ("targets", 0, "endpoint_url"),
        "expected http",
    ),
    (
        {"models": {"m": ModelTarget("t", targets=[ProxyTarget(endpoint_url=URL)])}, "fips": True},
        ("fips",),
        "the endpoint_url of models.m.targets\\[0\\] says already",
    ),
    # names
    (
        {"models": {"a": ModelTarget("b"), "b": ModelTarget("m")}},
        ("models", "a"),
        "a model of Bedrock's",
    ),
    (
        {"models": {"a": ModelTarget("m", targets=[ProxyTarget(target="a")])}},
        ("models", "a", "targets", 0, "target"),
        "a model of Bedrock's",
    ),
    (
        {"models": {"a": ModelTarget("m")}, "allow_unlisted": False},
        ("model",),
        "expected a name from models",
    ),
    ({"targets": [ProxyTarget(target="m")]}, ("targets", 0, "target"), "every model is called here"),
    # accounts
    ({"targets": [ProxyTarget(account="a")]}, ("targets", 0, "account"), "expected a name from accounts"),
    (
        {"models": {"m": ModelTarget("t", account="a")}, "accounts": {"b": AwsAccount()}},
        ("models", "m", "account"),
        "expected a name from accounts",
    ),
    (
        {"models": {"m": ModelTarget("t", targets=[ProxyTarget(account="a")])}},
        ("models", "m", "targets", 0, "account"),
        "expected a name from accounts",
    ),
    # weights
    ({"targets": [ProxyTarget(weight=1)]}, ("targets", 0, "weight"), "since balance is ordered"),
    (
        {
            "balance": "weighted",
            "models": {"m": ModelTarget("t", balance="ordered", targets=[ProxyTarget(weight=1)])},
        },
        ("models", "m", "targets", 0, "weight"),
        "since balance is ordered",
    ),
    # twice
    (
        {"targets": [ProxyTarget(), ProxyTarget(region="us-east-1")]},
        ("targets", 1),
        "the same place as targets\\[0\\]",
    ),
    (
        {"targets": [ProxyTarget(region="eu-west-1", name="a"), ProxyTarget(region="eu-west-1", name="b")]},
        ("targets", 1),
        "the same place as targets\\[0\\]",
    ),
    (
        {
            "models": {
                "m": ModelTarget("t", targets=[ProxyTarget(name="a"), ProxyTarget(name="a", target="u")])
            }
        },
        ("models", "m", "targets", 1, "name"),
        "expected a name of its own",
    ),
]


class TestContradictions:
    @pytest.mark.parametrize(("fields", "path", "message"), WRONG)
    def test_settings_that_contradict_each_other(
        self, fields: Any, path: tuple[str | int, ...], message: str
    ) -> None:
        with pytest.raises(Misfit, match=message) as caught:
            BedrockProxy(**fields)
        assert caught.value.path == path
        assert caught.value.others == ()

    @pytest.mark.parametrize(
        "fields",
        [
            {"profile": "p", "role": AwsRole(ARN)},
            {"balance": "weighted", "targets": [ProxyTarget(weight=5), ProxyTarget(region="eu-west-1")]},
            {"models": {"m": ModelTarget("t", balance="weighted", targets=[ProxyTarget(weight=1)])}},
            {"models": {MODEL: ModelTarget(MODEL, targets=[ProxyTarget(target=MODEL)])}},
            {"targets": [ProxyTarget(), ProxyTarget(account="a")], "accounts": {"a": AwsAccount()}},
        ],
    )
    def test_settings_that_do_not(self, fields: Any) -> None:
        BedrockProxy(**fields)

    def test_all_are_told_at_once(self) -> None:
        with pytest.raises(Misfit) as caught:
            BedrockProxy(targets=[ProxyTarget(account="a", weight=1)], fips=True, endpoint_url=URL)
        assert len(caught.value.others) == 2

    def test_an_account_says_one_thing_too(self) -> None:
        with pytest.raises(Misfit, match="at most one of credentials, profile and api_key"):
            AwsAccount(profile="p", api_key=Secret("k"))
        with pytest.raises(Misfit, match="no role beside credentials"):
            AwsAccount(credentials=FIXED, role=AwsRole(ARN))

    def test_a_breaker_is_not_left_open_shorter_than_at_first(self) -> None:
        with pytest.raises(Misfit, match="at least as long as open"):
            CircuitBreaker(open=10, open_max=9)

    def test_sts_takes_fifty_tags(self) -> None:
        AwsRole(ARN, session_tags={f"k{number}": "v" for number in range(50)})
        with pytest.raises(Misfit, match="at most 50 tags"):
            AwsRole(ARN, session_tags={f"k{number}": "v" for number in range(51)})


class TestMessages:
    @pytest.mark.parametrize(
        ("config", "problem"),
        [
            (
                "targets: [{account: prd}], accounts: {prod: {}}",
                'targets[0].account: expected a name from accounts, found "prd" (did you mean prod?)',
            ),
            (
                "targets: [{account: prod}]",
                'targets[0].account: expected a name from accounts, found "prod" (there are no accounts)',
            ),
            (
                "targets: [{weight: 2}]",
                "targets[0].weight: expected no weight, since balance is ordered (set balance: weighted)",
            ),
            (
                "balance: round-robin",
                'balance: expected one of "ordered" and "weighted", found the string "round-robin"',
            ),
            ("targets: [{region: useast1}]", "targets[0].region: expected an AWS region such as us-east-1, "),
            (
                "targets: [{weight: 0}], balance: weighted",
                "targets[0].weight: expected an integer from 1 to 1000",
            ),
            ("accounts: {a/b: {}}", 'accounts["a/b"]: expected a name of 1 to 64 letters, digits and _ . -'),
            (
                "role: arn:aws:iam::1:role/x",
                "role: expected a role's ARN such as arn:aws:iam::123456789012:role/",
            ),
            (
                f"role: {{arn: {ARN}, duration_seconds: 60}}",
                "role.duration_seconds: expected an integer from 900 to 43200, found 60",
            ),
            (
                "breaker: {ratio: 1.5}",
                "breaker.ratio: expected a share, more than 0 and at most 1, found 1.5",
            ),
            ("breaker: {open: 5, open_max: 1}", "breaker.open_max: expected at least as long as open"),
            ("retry: {budget: {ratio: -1}}", "retry.budget.ratio: expected a number from 0 to 10, found -1"),
            ("targets: [" + "{}, " * 17 + "]", "targets: expected a list of at most 16, found a list of 17"),
        ],
    )
    def test_what_is_wrong_is_named(self, config: str, problem: str) -> None:
        assert problems(config)[0].startswith(problem)

    def test_secrets_of_accounts_are_not_shown(self) -> None:
        told = problems("accounts: {a: {credentials: {access_key_id: 'a b', secret_access_key: [hunter2]}}}")
        assert told
        assert "hunter2" not in str(told)
        assert "a b" not in str(told)
        config = BedrockProxy(accounts={"a": AwsAccount(api_key=Secret("hunter2"))})
        assert "hunter2" not in repr(config) + str(msgspec.structs.asdict(config))


@pytest.mark.parametrize(
    ("url", "said_of_it"),
    [("https://control.test", []), ("ftp://control.test", ["discovery.url"]), ("nowhere", ["discovery.url"])],
)
def test_the_control_planes_url_is_one(url: str, said_of_it: list[str]) -> None:
    found = problems(f"discovery: {{enabled: true, url: '{url}'}}")
    assert [message.partition(":")[0] for message in found] == said_of_it
