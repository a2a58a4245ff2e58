"""What settings must agree on with each other; and what is probably not meant."""

import hashlib

import pytest

from stargate_core.config.schema import Config
from support.config import examined, loaded, marked, places

GUARD = "plugins: [{name: api-key-auth}]\n"
KEY = "0123456789abcdef-key"

WRONG = [
    # References.
    (
        "plugins: [{name: request-logger, service: »a}]\nservices: [{name: aa}]",
        "plugins[0].service",
        'expected the name of a service, found "a"',
        "did you mean aa?",
    ),
    (
        "plugins: [{name: request-logger, route: »a}]",
        "plugins[0].route",
        "expected the name of a route",
        "there is no route at all",
    ),
    (
        "plugins: [{name: request-logger, consumer: »zz}]\nconsumers: [{username: a}]",
        "plugins[0].consumer",
        "expected the name of a consumer",
        "",
    ),
    ("routes: [{paths: [/], service: »a}]", "routes[0].service", "expected the name of a service", "at all"),
    (
        "services: [{name: a, routes: [{paths: [/], service: »a}]}]",
        "services[0].routes[0].service",
        "expected no service: the route stands under one",
        "",
    ),
    (
        "plugins: [{name: api-key-auth, config: {anonymous: »guest}}]\nconsumers: [{username: guests}]",
        "plugins[0].config.anonymous",
        'expected the name of a consumer, found "guest"',
        "did you mean guests?",
    ),
    # Where plugins stand.
    (
        "consumers: [{username: a, plugins: [»{name: api-key-auth}]}]",
        "consumers[0].plugins[0]",
        '"api-key-auth" may not stand at a consumer',
        "global, service, route",
    ),
    (
        "consumers: [{username: a}]\nplugins: [»{name: api-key-auth, consumer: a}]",
        "plugins[0]",
        '"api-key-auth" may not stand at a consumer',
        "",
    ),
    (
        "plugins: [{name: request-logger}, »{name: request-logger}]",
        "plugins[1]",
        '"request-logger" stands here already: plugins[0], line 1',
        "",
    ),
    (
        (
            "services: [{name: a, plugins: [{name: api-key-auth}]}]\n"
            "plugins: [»{service: a, name: api-key-auth}]"
        ),
        "plugins[0]",
        "stands here already: services[0].plugins[0], line 1",
        "",
    ),
    (
        "consumers: [{username: a, plugins: [{name: request-logger, consumer: »a}]}]",
        "consumers[0].plugins[0].consumer",
        "expected no consumer: the plugin stands under one",
        "",
    ),
    (
        "routes: [{name: r, paths: [/], plugins: [{name: request-logger, route: »r}]}]",
        "routes[0].plugins[0].route",
        "expected no route",
        "",
    ),
    (
        "services: [{name: s, routes: [{name: r, paths: [/], plugins: [{name: x}]}]}]".replace("x}", "»x}"),
        "services[0].routes[0].plugins[0].name",
        'there is no plugin "x"',
        "known: api-key-auth, bedrock-guardrail, bedrock-proxy, ",
    ),
    # Only once.
    (
        "consumers: [{username: a}, {username: »a}]",
        "consumers[1].username",
        'the name "a" stands twice: also at consumers[0].username, line 1',
        "",
    ),
    (
        "consumers: [{username: a, custom_id: x}, {username: b, custom_id: »x}]",
        "consumers[1].custom_id",
        'the name "x" stands twice',
        "",
    ),
    ("services: [{name: a}, {name: »a}]", "services[1].name", 'the name "a" stands twice', ""),
    (
        "services: [{name: s, routes: [{name: r, paths: [/]}]}]\nroutes: [{name: »r, paths: [/b]}]",
        "routes[0].name",
        'the name "r" stands twice: also at services[0].routes[0].name',
        "",
    ),
    (
        "plugins: [{name: request-logger, instance_name: i}, {name: bedrock-proxy, instance_name: »i}]",
        "plugins[1].instance_name",
        'the name "i" stands twice',
        "",
    ),
    (
        "certificates: [{cert: c, key: k, snis: [a.b]}, {cert: c, key: k, snis: [x, »A.B]}]",
        "certificates[1].snis[1]",
        'the name "a.b" stands twice',
        "",
    ),
    (
        (
            f"consumers: [{{username: a, keyauth_credentials: [{{key: {KEY}}}]}},"
            f" {{username: b, keyauth_credentials: [»{{key: {KEY}}}]}}]"
        ),
        "consumers[1].keyauth_credentials[0]",
        "the same key stands twice: also at consumers[0].keyauth_credentials[0], line 1",
        "",
    ),
    (
        (
            f"consumers: [{{username: a, keyauth_credentials: [{{key: {KEY}}},"
            f" »{{key_sha256: {hashlib.sha256(KEY.encode()).hexdigest().upper()}}}]}}]"
        ),
        "consumers[0].keyauth_credentials[1]",
        "the same key stands twice",
        "",
    ),
    (
        (
            "consumers: [{username: a, sigv4_credentials: [{access_key_id: AKID, secret_access_key: s},"
            " {access_key_id: »AKID, secret_access_key: t}]}]"
        ),
        "consumers[0].sigv4_credentials[1].access_key_id",
        "the same access_key_id stands twice",
        "",
    ),
    # A service's own upstream.
    (
        ("services: [{name: s, url: 'https://h'}]\nplugins: [{name: bedrock-proxy, config: {fips: »true}}]"),
        "plugins[0].config.fips",
        'the url of service "s" says already where calls go',
        "",
    ),
    (
        (
            "services: [{name: s, url: 'https://h',"
            " plugins: [{name: bedrock-proxy, config: {dual_stack: »true}}]}]"
        ),
        "services[0].plugins[0].config.dual_stack",
        "says already where calls go",
        "",
    ),
    # The gateway.
    ("gateway: {workers: »2}", "gateway.workers", "2 workers need a store that they share", "redis://"),
    ("gateway: {listen: ['h:1', »'h:1']}", "gateway.listen[1]", "the same as gateway.listen[0]", ""),
    (
        "gateway: {listen: ['h:1'], admin_listen: »'h:1', admin_token: t}",
        "gateway.admin_listen",
        "the same as gateway.listen[0]",
        "",
    ),
    (
        "gateway: {admin_listen: »'0.0.0.0:8001'}",
        "gateway.admin_listen",
        "expected an admin_token beside it",
        "127.0.0.1",
    ),
    ("gateway: {admin_listen: »'gate.example:8001'}", "gateway.admin_listen", "expected an admin_token", ""),
]


class TestProblems:
    @pytest.mark.parametrize(("text", "path", "message", "hint"), WRONG)
    def test_a_contradiction_is_named(self, text: str, path: str, message: str, hint: str) -> None:
        text, marks = marked(text)
        found = examined(text).problems
        assert places(found) == marks
        assert found[0].path == path
        assert message in found[0].message
        assert hint in found[0].hint

    @pytest.mark.parametrize(
        "text",
        [
            "gateway: {workers: 2, per_worker_limits: true}",
            "gateway: {workers: 2, store: 'redis://h'}",
            "gateway: {listen: ['127.0.0.1:0', '127.0.0.1:0'], admin_listen: '127.0.0.1:0'}",
            "gateway: {admin_listen: 'unix:/run/admin.sock'}",
            "gateway: {admin_listen: '0.0.0.0:1', admin_token: t}",
            "plugins: &p [{name: request-logger}]\nconsumers: [{username: a, plugins: *p}]",
            "routes: [{name: r, hosts: [h], plugins: &p [{name: api-key-auth}]}]\nplugins: *p",
            (
                "services: [{name: s, url: 'https://h'},"
                " {name: t, plugins: [{name: bedrock-proxy, config: {fips: true}}]}]"
            ),
            "services: [{name: s}]\nroutes: [{paths: [/], service: s}, {paths: [/b]}]",
            (
                "consumers: [{username: a}]\nservices: [{name: s}]\nplugins: [{name: request-logger},"
                " {name: request-logger, service: s}, {name: request-logger, service: s, consumer: a}]"
            ),
        ],
    )
    def test_what_agrees_is_accepted(self, text: str) -> None:
        assert isinstance(loaded(text), Config)

    @pytest.mark.parametrize(
        "text",
        [
            "plugins: [{name: request-logger, service: a}]\nservices: [{name: 12}]",
            "plugins: [{name: request-logger, route: a}]\nroutes: [{name: a}]",
        ],
    )
    def test_a_name_is_not_missed_where_its_bearer_is_broken(self, text: str) -> None:
        assert len(examined(text).problems) == 1

    @pytest.mark.parametrize(
        "text",
        [
            "plugins: [{name: request-logger, service: '${V}'}]",
            "consumers: [{username: '${V}'}, {username: '${V}'}]",
            "services: [{name: '${V}'}, {name: '${V}'}]",
        ],
    )
    def test_a_name_from_the_environment_is_not_shown(self, text: str) -> None:
        found = examined(text, {"V": "hunter2"}).problems
        assert len(found) == 1
        assert "hunter2" not in str(found[0])


WARNED = [
    ("plugins: »[{name: request-logger}]", "plugins", "the gateway is open", ""),
    ("plugins: »[{name: api-key-auth, enabled: false}]", "plugins", "the gateway is open", ""),
    (
        f"consumers: [{{username: a, keyauth_credentials: [{{key: {KEY}}}]}}]",
        "plugins",
        "the gateway is open",
        "its consumers' keys are not asked for",
    ),
    (GUARD, "consumers", "nobody can get in: no consumer has a key", ""),
    (GUARD + "consumers: »[{username: a}]", "consumers", "nobody can get in", ""),
    (
        GUARD + "consumers: [{username: a, keyauth_credentials: [{key: »short}]}]",
        "consumers[0].keyauth_credentials[0].key",
        "a key of less than 16 characters can be guessed",
        "",
    ),
]
WARNED_BESIDE = [
    (
        "gateway: {workers: »2, per_worker_limits: true}",
        "gateway.workers",
        "each of 2 workers counts limits and keeps answers for itself",
        "",
    ),
    (
        "gateway: {journal: {directory: /tmp/j, redact: »false}}",
        "gateway.journal.redact",
        "what people say to models, and models to them, is written down in the clear",
        "",
    ),
    ("gateway: {admin_token: »short}", "gateway.admin_token", "a token of less than 16 characters", ""),
    ("gateway: {upstream_tls: {verify: »false}}", "gateway.upstream_tls.verify", "is believed", ""),
    (
        "plugins: [{name: bedrock-proxy, config: {endpoint_url: »'http://10.0.0.1:80'}}]",
        "plugins[0].config.endpoint_url",
        "unencrypted",
        "use https",
    ),
    (
        "plugins: [{name: bedrock-proxy, config: {targets: [{endpoint_url: »'http://10.0.0.1:80'}]}}]",
        "plugins[0].config.targets[0].endpoint_url",
        "unencrypted",
        "use https",
    ),
    ("services: [»{name: s, host: bedrock.example}]", "services[0]", "unencrypted", "use https"),
    # One of the checks of its own file.
    (
        "plugins: [{name: bedrock-proxy, config: {accounts: {b: »{}}}}]",
        "plugins[0].config.accounts.b",
        "no target uses this account",
        "",
    ),
]


class TestWarnings:
    @pytest.mark.parametrize(("text", "path", "message", "hint"), WARNED)
    def test_what_is_probably_not_meant(self, text: str, path: str, message: str, hint: str) -> None:
        text, marks = marked(text)
        found = examined(text)
        assert found.config is not None
        [warning] = found.warnings
        assert places((warning,)) == (marks or [(1, 1)])
        assert warning.path == path
        assert message in warning.message
        assert warning.hint == hint

    @pytest.mark.parametrize(("text", "path", "message", "hint"), WARNED_BESIDE)
    def test_it_is_said_beside_the_open_gateway(self, text: str, path: str, message: str, hint: str) -> None:
        text, marks = marked(text)
        found = examined(text)
        assert found.config is not None
        [warning] = [one for one in found.warnings if "open" not in one.message]
        assert places((warning,)) == marks
        assert warning.path == path
        assert message in warning.message
        assert warning.hint == hint

    @pytest.mark.parametrize(
        "text",
        [
            GUARD + f"consumers: [{{username: a, keyauth_credentials: [{{key: {KEY}}}]}}]",
            GUARD
            + "consumers: [{username: a, sigv4_credentials: [{access_key_id: AKID, secret_access_key: s}]}]",
            "plugins: [{name: api-key-auth, config: {anonymous: a}}]\nconsumers: [{username: a}]",
            GUARD + f"consumers: [{{username: a, keyauth_credentials: [{{key: {KEY}}}]}}]\n"
            "services: [{name: s, url: 'http://127.0.0.1:1'}, {name: t, url: 'http://[::1]'},"
            " {name: u, url: 'https://10.0.0.1'}, {name: v, host: localhost}]",
        ],
    )
    def test_nothing_is_said_without_need(self, text: str) -> None:
        assert examined(text).warnings == ()


def test_targets_are_looked_at_one_by_one() -> None:
    urls = ("endpoint_url: 'https://a.example'", "endpoint_url: 'http://b.example'", "region: eu-west-1")
    targets = f"targets: [{', '.join(f'{{{url}}}' for url in urls)}]"
    found = examined(f"plugins: [{{name: bedrock-proxy, config: {{{targets}}}}}]")
    clear = [problem.path for problem in found.warnings if "unencrypted" in problem.message]
    assert clear == ["plugins[0].config.targets[1].endpoint_url"]
