"""Whole files: what they become, what is said about them, and that no text does harm."""

import datetime
import hashlib
import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

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
from stargate_core.config.expand import escape
from stargate_core.config.load import DEFAULTS_NAME, default_config, digest, examine, load
from stargate_core.config.plugin_configs import (
    BUILT_IN,
    ApiKeyAuth,
    RequestLogger,
    ResponseTransform,
    Values,
)
from stargate_core.config.problems import PROBLEMS_MAX, ConfigProblems
from stargate_core.config.schema import (
    Certificate,
    Config,
    Consumer,
    Gateway,
    KeyCredential,
    Listener,
    PluginEntry,
    Route,
    Service,
    Sigv4Credential,
    Store,
    TimeLimits,
    Tls,
)
from stargate_core.secret import Secret
from support.config import examined, loaded, marked, places, said

SEED = """\
plugins:
  - name: bedrock-proxy
    config:
      region: ${BEDROCK_REGION:-us-east-1}
      model: ${BEDROCK_MODEL:-anthropic.claude-3-sonnet-20240229-v1:0}
      timeout: ${BEDROCK_TIMEOUT:-60000}
"""

WHOLE = """\
_format_version: "3.0"
gateway:
  listen: ["127.0.0.1:8080", "unix:/run/stargate", {address: "[::1]:8443", tls: {cert: c.pem, key: k.pem}}]
  admin_listen: "127.0.0.1:8001"
  admin_token: ${STARGATE_ADMIN_TOKEN:-}
  store: ${STARGATE_STORE:-memory:}
  workers: 1
  max_body_bytes: 33554432
  drain_seconds: 30
  time_limits: {connect: 3, pool: 5, first_token: 60, idle: 60, total: 600}
  journal: {directory: null, on: [error], redact: true}
consumers:
  - username: team-a
    keyauth_credentials: [{key: "${TEAM_A_KEY}"}, {key_sha256: "%s", expires_at: 2027-01-01T00:00:00Z}]
    sigv4_credentials: [{access_key_id: AKIDTEAMA, secret_access_key: "${TEAM_A_SECRET}"}]
    models: ["claude-*", "amazon.nova-*"]
plugins:
  - name: api-key-auth
  - name: bedrock-proxy
    config:
      region: ${BEDROCK_REGION:-us-east-1}
      model: ${BEDROCK_MODEL:-anthropic.claude-3-sonnet-20240229-v1:0}   # when the caller names none
      models:
        claude: anthropic.claude-3-sonnet-20240229-v1:0
        claude-fast: {target: us.anthropic.claude-3-5-haiku-20241022-v1:0, surface: converse}
      timeout: ${BEDROCK_TIMEOUT:-60000}
      retry: {count: 3, delay: 1000}
      endpoint_url: ${BEDROCK_ENDPOINT_URL:-}
  - name: request-logger
    config: {path: /dev/stdout}
services: []
""" % ("ab" * 32)


class TestGoodFiles:
    def test_three_settings_are_a_configuration(self) -> None:
        config = loaded(SEED)
        assert config == Config(
            plugins=[PluginEntry(name="bedrock-proxy", config=BedrockProxy(timeout=60_000))]
        )

    def test_the_environment_decides(self) -> None:
        config = loaded(
            SEED, BEDROCK_REGION="eu-west-1", BEDROCK_MODEL="amazon.nova-lite-v1:0", BEDROCK_TIMEOUT="5"
        )
        expected = BedrockProxy(region="eu-west-1", model="amazon.nova-lite-v1:0", timeout=5)
        assert config.plugins[0].config == expected

    def test_a_whole_file(self) -> None:
        config = loaded(
            WHOLE, TEAM_A_KEY="123456789012345678", TEAM_A_SECRET="true", BEDROCK_REGION="eu-west-1"
        )
        assert config == Config(
            gateway=Gateway(
                listen=[
                    Listener("127.0.0.1:8080"),
                    Listener("unix:/run/stargate"),
                    Listener("[::1]:8443", Tls(cert="c.pem", key=Secret("k.pem"))),
                ],
                admin_listen="127.0.0.1:8001",
            ),
            consumers=[
                Consumer(
                    username="team-a",
                    keyauth_credentials=[
                        KeyCredential(key=Secret("123456789012345678")),
                        KeyCredential(
                            key_sha256="ab" * 32,
                            expires_at=datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC),
                        ),
                    ],
                    sigv4_credentials=[
                        Sigv4Credential(access_key_id="AKIDTEAMA", secret_access_key=Secret("true"))
                    ],
                    models=["claude-*", "amazon.nova-*"],
                )
            ],
            plugins=[
                PluginEntry(name="api-key-auth", config=ApiKeyAuth()),
                PluginEntry(
                    name="bedrock-proxy",
                    config=BedrockProxy(
                        region="eu-west-1",
                        timeout=60_000,
                        models={
                            "claude": ModelTarget("anthropic.claude-3-sonnet-20240229-v1:0"),
                            "claude-fast": ModelTarget(
                                "us.anthropic.claude-3-5-haiku-20241022-v1:0", "converse"
                            ),
                        },
                    ),
                ),
                PluginEntry(name="request-logger", config=RequestLogger(path="/dev/stdout")),
            ],
        )

    def test_kongs_services_and_routes(self) -> None:
        config = loaded(
            """
            _format_version: "2.1"
            services:
              - name: llm
                host: bedrock.internal
                port: 8443
                protocol: https
                routes:
                  - name: chat
                    paths: [/ai, ~/v\\d/ai]
                    methods: [POST]
                    headers: {x-team: [a, b]}
                    strip_path: false
                    dialect: openai_chat
                    plugins: [{name: request-logger, tags: [x]}]
            routes: [{paths: [/x], service: llm}]
            certificates: [{cert: "-----BEGIN CERTIFICATE-----", key: k, snis: [a.example, "*.b.example"]}]
            """
        )
        [service] = config.services
        assert service.endpoint_url == "https://bedrock.internal:8443"
        assert service.routes == [
            Route(
                name="chat",
                paths=["/ai", "~/v\\d/ai"],
                methods=["POST"],
                headers={"x-team": ["a", "b"]},
                strip_path=False,
                dialect="openai_chat",
                plugins=[PluginEntry(name="request-logger", config=RequestLogger(), tags=["x"])],
            )
        ]
        assert config.routes == [Route(paths=["/x"], service="llm")]
        assert config.certificates[0].snis == ["a.example", "*.b.example"]


class TestDefaults:
    def test_without_a_file(self) -> None:
        assert default_config({}, BUILT_IN) == Config(
            plugins=[
                PluginEntry(name="bedrock-proxy", config=BedrockProxy()),
                PluginEntry(name="request-logger", config=RequestLogger()),
            ]
        )

    @pytest.mark.parametrize(
        "text", ["", "# nothing\n", "{}", "~", "---\n", "plugins: ", "gateway: {}", "_comment: x"]
    )
    def test_a_file_without_plugins_has_the_usual_ones(self, text: str) -> None:
        config = loaded(text)
        names = [entry.name for entry in config.plugins]
        assert names == (
            ["bedrock-proxy"] if text.startswith("plugins") else ["bedrock-proxy", "request-logger"]
        )

    def test_the_way_to_bedrock_is_never_missing(self) -> None:
        config = loaded("plugins: [{name: api-key-auth}]", BEDROCK_REGION="eu-west-1")
        assert [entry.name for entry in config.plugins] == ["api-key-auth", "bedrock-proxy"]
        assert config.plugins[1].config == BedrockProxy(region="eu-west-1")

    @pytest.mark.parametrize(
        "text",
        [
            "plugins: [{name: bedrock-proxy, enabled: false}]",
            "services: [{name: s, plugins: [{name: bedrock-proxy}]}]\nplugins: []",
        ],
    )
    def test_unless_the_file_has_its_own(self, text: str) -> None:
        assert sum(entry.name == "bedrock-proxy" for entry in loaded(text).plugins) == text.startswith(
            "plugins"
        )

    @pytest.mark.parametrize(
        ("environ", "region"),
        [
            ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
            ({"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
            ({"AWS_REGION": "eu-west-1", "BEDROCK_REGION": "eu-west-3"}, "eu-west-3"),
            ({"AWS_REGION": "", "BEDROCK_REGION": ""}, "us-east-1"),
        ],
    )
    def test_the_region_is_that_of_the_aws_tools(self, environ: dict[str, str], region: str) -> None:
        proxy = default_config(environ, BUILT_IN).plugins[0].config
        assert isinstance(proxy, BedrockProxy)
        assert proxy.region == region

    def test_nonsense_in_the_environment_is_named(self) -> None:
        with pytest.raises(ConfigProblems) as caught:
            default_config({"BEDROCK_TIMEOUT": "hunter2"}, BUILT_IN)
        [problem] = caught.value.problems
        assert (problem.file, problem.path) == (DEFAULTS_NAME, "plugins[0].config.timeout")
        assert "${BEDROCK_TIMEOUT}" in problem.message
        assert "hunter2" not in str(problem)
        # It is no matter for a file that says itself what it wants.
        found = examined("plugins: [{name: bedrock-proxy}]", {"BEDROCK_TIMEOUT": "hunter2"})
        assert found.problems == ()

    def test_an_open_gateway_says_so(self) -> None:
        for text in (None, "", SEED):
            [warning] = examined(text).warnings
            assert "the gateway is open" in warning.message

    def test_plugins_that_nobody_knows_are_not_assumed(self) -> None:
        few = {"request-logger": BUILT_IN["request-logger"]}
        config = load("", filename="f", environ={}, schemas=few)
        assert [entry.name for entry in config.plugins] == ["request-logger"]
        assert [entry.name for entry in default_config({}, few).plugins] == ["request-logger"]


BAD_FILES = [
    ("»[]", "expected a mapping, found an empty list"),
    ("»hello", "expected a mapping, found a string"),
    ("a: »*b", "this alias has no anchor before it (put a text that begins with * in quotes)"),
    (
        "_format_version: »'4.0'",
        '_format_version: expected one of "1.1", "2.1" and "3.0", found the string "4.0"',
    ),
    ("_format_version: »3.0", "_format_version: expected one of"),
    ("»gatway: {}", "gatway: there is no such setting (did you mean gateway?)"),
    ("»listen: []", "listen: there is no such setting (did you mean gateway.listen?)"),
    ("»upstreams: []", "upstreams: there is no such setting"),
    ("»keyauth_credentials: []", "(did you mean consumers[].keyauth_credentials?)"),
    ("gateway: {listen: »[]}", "gateway.listen: expected a list of at least 1"),
    (
        "gateway: {listen: [»'8080']}",
        'gateway.listen[0]: expected host:port, [ipv6]:port or unix:/path, found "8080"',
    ),
    ("gateway: {listen: [{address: »'x:1:2'}]}", "gateway.listen[0].address: expected host:port"),
    (
        "gateway: {listen: [{address: 'h:1', tls: »{cert: c}}]}",
        "gateway.listen[0].tls.key: this setting is required",
    ),
    ("gateway: {admin_listen: »'8001'}", "gateway.admin_listen: expected host:port"),
    ("gateway: {workers: »0}", "gateway.workers: expected an integer from 1 to 1024, found 0"),
    ("gateway: {store: »'mysql://h'}", "gateway.store: expected memory:, redis://"),
    ("gateway: {time_limits: {connect: »0}}", "gateway.time_limits.connect: expected seconds, more than 0"),
    ("gateway: {time_limits: {total: »10m}}", "(write the bare number, without a unit)"),
    ("gateway: {time_limits: {»first_tokens: 1}}", "(did you mean first_token?)"),
    ("gateway: {pool: {idle_seconds: »350}}", "less than 350"),
    ("gateway: {http_codec: »h11}", 'expected one of "fast" and "reference", found the string "h11"'),
    ("gateway: {journal: {on: [»errors]}}", 'gateway.journal.on[0]: expected one of "all" and "error"'),
    ("gateway: {journal: {on: »[]}}", "gateway.journal.on: expected"),
    ("gateway: {journal: {encrypt_to: »abc}}", "the public key that `stargate keys journal` has printed"),
    (
        "gateway: {journal: {memory_bytes: 1048576, max_journal_bytes: »1048577}}",
        "gateway.journal.max_journal_bytes: expected at most memory_bytes: 1048576",
    ),
    ("consumers: [»{}]", "consumers[0].username: this setting is required, and missing"),
    ("consumers: [{username: »''}]", "consumers[0].username: expected a non-blank text"),
    ("consumers: [{username: a, models: [»'']}]", "consumers[0].models[0]: expected a model name or id"),
    ("consumers: [{username: a, models: [»'a[bc]']}]", "consumers[0].models[0]: expected a model name or id"),
    ("consumers: [{username: a, keyauth_credentials: [»{}]}]", "expected exactly one of key and key_sha256"),
    (
        "consumers: [{username: a, keyauth_credentials: [{key: »12345678}]}]",
        "found a number (write it in quotes)",
    ),
    (
        "consumers: [{username: a, keyauth_credentials: [{key: »'a b'}]}]",
        "visible ASCII characters without blanks",
    ),
    ("consumers: [{username: a, keyauth_credentials: [{key_sha256: »abc}]}]", "the 64 hexadecimal digits"),
    (
        "consumers: [{username: a, keyauth_credentials: [{key: k, expires_at: »2027-01-01}]}]",
        "(write 2027-01-01T00:00:00Z)",
    ),
    (
        "consumers: [{username: a, sigv4_credentials: [»{access_key_id: AKID}]}]",
        "secret_access_key: this setting",
    ),
    ("plugins: [»{config: {}}]", "plugins[0].name: this setting is required, and missing"),
    (
        "plugins: [{name: »key-auth}]",
        'plugins[0].name: there is no plugin "key-auth" (did you mean api-key-auth?)',
    ),
    ('plugins: [{name: »"${UNSET}"}]', "plugins[0].name: the environment variable UNSET is not set"),
    ("plugins: [{name: »ai-proxy}]", "(did you mean bedrock-proxy?)"),
    ("plugins: [{name: »reqest-logger}]", "(did you mean request-logger?)"),
    ("plugins: [{name: request-logger, »path: /x}]", "plugins[0].path: there is no such setting"),
    (
        "plugins: [{name: request-logger, config: {»pth: /x}}]",
        "plugins[0].config.pth: there is no such setting",
    ),
    ("plugins: [{name: request-logger, enabled: »'no'}]", "expected true or false"),
    (
        "plugins: [{name: bedrock-proxy, config: {region: »us_east_1}}]",
        "expected an AWS region such as us-east-1",
    ),
    ("plugins: [{name: bedrock-proxy, config: {model: »' '}}]", "expected a model id without blanks"),
    ("plugins: [{name: bedrock-proxy, config: {models: {a: »''}}}]", "config.models.a: expected a model id"),
    ("plugins: [{name: bedrock-proxy, config: {models: {a: »}}}]", "config.models.a"),
    (
        "plugins: [{name: bedrock-proxy, config: {models: {a: {target: x, surface: »chat}}}}]",
        "surface: expected one of",
    ),
    (
        "plugins: [{name: bedrock-proxy, config: {timeout: »60s}}]",
        "expected whole milliseconds from 1 to 86400000",
    ),
    ("plugins: [{name: bedrock-proxy, config: {timeout: »0.5}}]", "expected whole milliseconds"),
    (
        "plugins: [{name: bedrock-proxy, config: {retry: {count: »11}}}]",
        "expected an integer from 0 to 10, found 11",
    ),
    ("plugins: [{name: bedrock-proxy, config: {endpoint_url: »localhost}}]", "expected http(s)://host:port"),
    ("services: [»{url: 'http://h'}]", "services[0].name: this setting is required"),
    ("services: [{name: s, port: »0, host: h}]", "services[0].port: expected an integer from 1 to 65535"),
    (
        "services: [{name: s, routes: [»{name: r}]}]",
        "expected at least one of paths, methods, hosts and headers",
    ),
    (
        "routes: [{paths: [»v1]}]",
        'routes[0].paths[0]: expected a path that starts with /, or ~ and a pattern, found "v1"',
    ),
    ("routes: [{paths: [»'~/(']}]", "routes[0].paths[0]: expected a regular expression after ~"),
    ("routes: [{methods: [»post]}]", "routes[0].methods[0]: expected a method in capitals"),
    ("routes: [{headers: {»'x y': [a]}}]", "expected the name of a header"),
    ("routes: [{paths: [/], dialect: »openai-chat}]", "(did you mean openai_chat?)"),
    ("certificates: [{cert: »'', key: k}]", "certificates[0].cert: expected a string that isn't empty"),
]


class TestBadFiles:
    @pytest.mark.parametrize(("text", "message"), BAD_FILES)
    def test_the_mistake_is_named_in_its_place(self, text: str, message: str) -> None:
        text, marks = marked(text)
        found = examined(text)
        assert found.config is None
        assert places(found.problems) == marks
        assert message in said(found.problems)[0]

    def test_the_mistakes_of_a_whole_file_are_named_at_once_and_in_order(self) -> None:
        text, marks = marked(
            """\
_format_version: »3
»gatway: {}
gateway:
  workers: »2
  time_limits: {connect: »"3", »totl: 5}
consumers:
  - username: a
    keyauth_credentials: [»{}, {key: »123}]
  - username: »a
    plugins:
      - »name: api-key-auth
plugins:
  - name: »rate-limitr
  - name: bedrock-proxy
    »name: x
    config:
      timeout: »${UNSET}
      retry: {count: »99, count: 3}
""".replace("count: 3", "»count: 3")
        )
        found = examined(text)
        assert places(found.problems) == marks
        with pytest.raises(ConfigProblems) as caught:
            loaded(text)
        assert caught.value.problems == found.problems

    def test_there_is_an_end_to_it(self) -> None:
        found = examined("gateway:\n" + "".join(f"  x{n}: 1\n" for n in range(10 * PROBLEMS_MAX)))
        assert len(found.problems) == PROBLEMS_MAX
        assert "there may be more" in found.problems[-1].message

    @given(st.text(st.characters() | st.sampled_from("${}[]:-#&*!|>'\" \n")))
    @example("\ud800")
    @example("plugins: [&a {name: *a}]")
    @example("a: " + "[" * 10_000)
    def test_no_text_raises_anything_else(self, text: str) -> None:
        try:
            loaded(text)
        except ConfigProblems as error:
            assert error.problems

    @given(st.randoms(use_true_random=False), st.integers(1, 12))
    def test_no_damage_to_a_good_file_does_either(self, randomness: random.Random, hits: int) -> None:
        text = WHOLE
        for _ in range(hits):
            at, length = randomness.randrange(len(text)), randomness.randrange(4)
            text = (
                text[:at]
                + randomness.choice(["", " ", "\n", ":", "[", "}", '"', "x", "- ", "$", "&a "])
                + text[at + length :]
            )
        found = examined(text, {"TEAM_A_KEY": "k", "TEAM_A_SECRET": "s"})
        assert (found.config is None) == bool(found.problems)
        for problem in found.problems:
            assert 1 <= problem.line <= text.count("\n") + 2


CANARY = "sk-hunter2-0123456789"


def guarded(value: str) -> str:
    """A file with `value` in every place for a secret."""
    return f"""\
gateway:
  listen: [{{address: "127.0.0.1:1", tls: {{cert: c, key: {value}}}}}]
  admin_token: {value}
  store: "redis://:{value.strip('"')}@h"
consumers:
  - username: a
    keyauth_credentials:
      - key: {value}
        id: one
      - {{key_sha256: "{"ab" * 32}", disabled: false}}
    sigv4_credentials:
      - access_key_id: AKID
        secret_access_key: {value}
plugins:
  - name: bedrock-proxy
    config:
      credentials:
        access_key_id: AKID
        secret_access_key: {value}
        session_token: {value}
  - name: bedrock-proxy
    consumer: a
    config: {{api_key: {value}}}
certificates:
  - cert: c
    key: {value}
    snis: [a.example]
"""


class TestSecrets:
    def test_a_good_file_shows_none(self) -> None:
        for value, environ in ((CANARY, {}), ('"${S}"', {"S": CANARY})):
            found = examined(guarded(value), environ)
            assert found.problems == ()
            assert "hunter2" not in f"{found!r}{found}{found.config}"
            assert isinstance(found.config, Config)
            assert "hunter2" not in digest(found.config)

    @given(st.data())
    def test_no_slip_of_the_pen_shows_one(self, data: st.DataObject) -> None:
        # As people make them beside a secret: a missing blank, colon or quote, a word spelt wrong.
        text = guarded(CANARY)
        spans = [
            at
            for at in range(len(text))
            if CANARY not in text[max(0, at - 30) : at + 30] or _is_outside(text, at)
        ]
        at = data.draw(st.sampled_from(spans))
        slip = data.draw(
            st.sampled_from(["", " ", ":", "x", "-", '"', "'", "[", "{", "\t", "*", "!", "&", "?", "|"])
        )
        removed = data.draw(st.sampled_from([0, 1]))
        found = examined(text[:at] + slip + text[at + removed :])
        assert "hunter2" not in repr(found)

    @pytest.mark.parametrize(
        "value",
        [
            "[sk-hunter2]",
            "{sk-hunter2: x}",
            "{a: sk-hunter2}",
            "*sk-hunter2",
            "!sk-hunter2 x",
            '"sk-hunter2 x"',
            "sk-hunter2: x",
            "&sk-hunter2 [x]",
            "| \n\n sk-hunter2",
        ],
    )
    def test_no_wrong_value_is_shown(self, value: str) -> None:
        found = examined(guarded(value))
        assert found.problems
        assert "hunter2" not in repr(found)


def _is_outside(text: str, at: int) -> bool:
    """Whether a place in a text is not inside a secret."""
    return not any(start < at < start + len(CANARY) for start in _starts(text))


def _starts(text: str) -> Iterator[int]:
    at = text.find(CANARY)
    while at >= 0:
        yield at
        at = text.find(CANARY, at + 1)


class TestDigest:
    BASE = Config(
        consumers=[Consumer(username="a", keyauth_credentials=[KeyCredential(key=Secret("k"))])],
        plugins=[PluginEntry(name="bedrock-proxy", config=BedrockProxy(timeout=5))],
    )

    def test_it_is_the_same_for_the_same_settings(self) -> None:
        short, long = (
            loaded(SEED),
            loaded(SEED + "_format_version: '3.0'\n# and a word\ngateway: {workers: 1}"),
        )
        assert digest(short) == digest(long) == digest(loaded(SEED, BEDROCK_TIMEOUT="60000"))
        assert len(bytes.fromhex(digest(short))) == hashlib.sha256().digest_size

    @pytest.mark.parametrize(
        "other",
        [
            Config(),
            msgspec.structs.replace(BASE, gateway=Gateway(workers=2)),
            msgspec.structs.replace(
                BASE, plugins=[PluginEntry(name="bedrock-proxy", config=BedrockProxy(timeout=6))]
            ),
            msgspec.structs.replace(
                BASE, plugins=[PluginEntry(name="bedrock-prox", config=BedrockProxy(timeout=5))]
            ),
            msgspec.structs.replace(
                BASE, consumers=[Consumer(username="a", keyauth_credentials=[KeyCredential(key=Secret("l"))])]
            ),
        ],
    )
    def test_every_setting_counts_and_secrets_too(self, other: Config) -> None:
        assert digest(other) != digest(self.BASE)


texts = st.text(
    st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12
).filter(str.strip)
words = st.sampled_from(["a", "b-1", "c--", "no", "on", "12x"])
models = st.sampled_from(["claude", "nova.lite-v1:0", "arn:aws:bedrock:x:1:m/y", "a${b}", "$${", "x*?"])
keys = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20).map(Secret)
moments = st.none() | st.datetimes(timezones=st.just(datetime.UTC))
numbers = st.integers(1, 1000)
proxies = st.builds(
    BedrockProxy,
    region=st.sampled_from(["us-east-1", "us-gov-west-1"]),
    model=models,
    models=st.dictionaries(
        words.map("alias-{}".format), st.builds(ModelTarget, models.map("m.{}".format)), max_size=2
    ),
    timeout=numbers,
    retry=st.builds(Retry, count=st.integers(0, 10), budget=st.builds(RetryBudget, ratio=st.floats(0, 10))),
    breaker=st.builds(CircuitBreaker, enabled=st.booleans(), open=st.floats(0.001, 120), probes=numbers),
    targets=st.lists(
        st.builds(
            ProxyTarget,
            region=st.sampled_from([None, "eu-west-1", "us-west-2"]),
            account=st.sampled_from([None, "other"]),
        ),
        unique=True,
        max_size=3,
    ),
    accounts=st.just(
        {
            "other": AwsAccount(
                profile="p", role=AwsRole("arn:aws:iam::123456789012:role/r", session_tags={"a b": "${c"})
            )
        }
    ),
    fips=st.booleans(),
    credentials=st.none()
    | st.builds(
        AwsCredentials, access_key_id=st.just("AKID"), secret_access_key=keys, session_token=st.none() | keys
    ),
)
transforms = st.builds(
    ResponseTransform,
    add=st.builds(
        Values, headers=st.lists(words.map("{}: ${{X}}".format)), json=st.lists(words.map("{}:1".format))
    ),
)
entries = st.one_of(
    st.builds(PluginEntry, name=st.just("bedrock-proxy"), config=proxies, enabled=st.booleans()),
    st.builds(
        PluginEntry, name=st.just("response-transform"), config=transforms, tags=st.lists(texts, max_size=2)
    ),
    st.builds(PluginEntry, name=st.just("request-logger"), config=st.builds(RequestLogger, path=texts)),
)
some_entries = st.lists(entries, unique_by=lambda entry: entry.name)
credentials = st.one_of(
    st.builds(KeyCredential, key=keys, expires_at=moments, disabled=st.booleans(), id=st.none() | texts),
    st.builds(KeyCredential, key_sha256=st.binary(min_size=32, max_size=32).map(bytes.hex)),
)
consumers = st.builds(
    Consumer,
    username=texts,
    groups=st.lists(texts, max_size=2),
    keyauth_credentials=st.lists(credentials, max_size=1),
    models=st.none() | st.lists(models, max_size=2),
    plugins=some_entries,
)
routes = st.builds(
    Route, name=texts, paths=st.lists(words.map("/{}".format), min_size=1, max_size=2), plugins=some_entries
)
services = st.builds(
    Service,
    name=texts,
    # A url of its own would contradict a proxy's fips.
    url=st.none(),
    plugins=some_entries,
)
configs = st.builds(
    Config,
    gateway=st.builds(
        Gateway,
        listen=st.just([Listener("[::1]:0"), Listener("unix:/x", Tls(cert="c", key=Secret("${k}")))]),
        admin_token=st.none() | keys,
        store=st.sampled_from(["memory:", "redis://:p@h/0"]).map(Secret).map(Store),
        time_limits=st.builds(TimeLimits, connect=st.floats(0.001, 1000), total=numbers.map(float)),
        max_connections=numbers,
    ),
    consumers=st.lists(consumers, max_size=2, unique_by=lambda consumer: consumer.username),
    services=st.lists(services, max_size=2, unique_by=lambda service: service.name),
    routes=st.lists(routes, max_size=2, unique_by=lambda route: route.name),
    plugins=some_entries.map(
        lambda found: [*found, PluginEntry(name="bedrock-proxy", config=BedrockProxy())]
    ).map(lambda found: list({entry.name: entry for entry in found}.values())),
    certificates=st.lists(st.builds(Certificate, cert=texts, key=keys), max_size=1),
)


def written(value: Any) -> Any:
    """A Config as a person would write it down, secrets and all."""

    def revealed(secret: object) -> str:
        assert isinstance(secret, Secret)
        return secret.reveal()

    def escaped(part: Any) -> Any:
        if isinstance(part, str):
            return escape(part)
        if isinstance(part, list):
            items: list[Any] = part
            return [escaped(item) for item in items]
        if isinstance(part, dict):
            entries: dict[str, Any] = part
            return {key: escaped(item) for key, item in entries.items()}
        return part

    plain = escaped(msgspec.to_builtins(value, enc_hook=revealed))
    plain["gateway"]["store"] = plain["gateway"]["store"]["url"]
    return plain


class TestRoundTrip:
    @settings(max_examples=settings().max_examples // 3)  # each is slow to make
    @given(configs)
    def test_what_is_written_down_is_read_again(self, config: Config) -> None:
        digests = [key.sha256 for consumer in config.consumers for key in consumer.keyauth_credentials]
        text = msgspec.json.encode(written(config)).decode()
        found = examine(text, filename="f", environ={}, schemas=BUILT_IN)
        if len(set(digests)) == len(digests):
            assert found.problems == ()
            assert found.config == config
        else:
            assert found.config is None


class Odd(msgspec.Struct, frozen=True):
    """A third party's config with a value that has no JSON."""

    odd: complex = 1j


def test_what_has_no_json_has_no_digest() -> None:
    config = Config(plugins=[PluginEntry(name="odd", config=Odd())])
    with pytest.raises(TypeError, match="can't have a complex"):
        digest(config)
