"""What consumers, groups, keys and issuers must agree on."""

from typing import Final

import pytest

from support.config import examined, marked, places, said

IDP: Final = "issuer: a, audience: b, jwks_url: 'https://h/keys'"
ANN: Final = "consumers: [{username: ann}]\n"


def jwt_auth(*issuers: str) -> str:
    """A file with jwt-auth and these issuers."""
    written = ", ".join(f"{{{issuer}}}" for issuer in issuers)
    return f"plugins: [{{name: jwt-auth, config: {{issuers: [{written}]}}}}]"


def key(may_call: str, **of: str) -> str:
    """A file with a consumer whose key may call these models."""
    members = "".join(f", {name}: {value}" for name, value in of.items())
    credential = f"{{key: 0123456789abcdef-key, models: {may_call}}}"
    return f"consumers: [{{username: a{members}, keyauth_credentials: [{credential}]}}]\n"


WRONG: Final = [
    (
        "consumers: [{username: a, groups: [red, »rde]}]\nconsumer_groups: [{name: red}]",
        "consumers[0].groups[1]",
        'expected the name of a group, found "rde"',
        "did you mean red?",
    ),
    (
        "consumers:\n- username: a\n  groups:\n  - »${G}\nconsumer_groups: [{name: red}]",
        "consumers[0].groups[0]",
        "found what ${G} gives",
        "",
    ),
    (
        "consumer_groups: [{name: red}, {name: »red}]",
        "consumer_groups[1].name",
        'the name "red" stands twice',
        "",
    ),
    (
        "consumer_groups: [{name: red, plugins: [»{name: api-key-auth}]}]",
        "consumer_groups[0].plugins[0]",
        '"api-key-auth" may not stand at a consumer',
        "",
    ),
    (
        "consumer_groups: [{name: red, plugins: [{name: request-logger}, »{name: request-logger}]}]",
        "consumer_groups[0].plugins[1]",
        '"request-logger" stands here already',
        "",
    ),
    (
        ANN + "consumer_groups: [{name: red, plugins: [{name: request-logger, consumer: »ann}]}]",
        "consumer_groups[0].plugins[0].consumer",
        "expected no consumer: the plugin stands under one",
        "",
    ),
    (
        key("[claude-3, »nova]", models="['claude-*']"),
        "consumers[0].keyauth_credentials[0].models[1]",
        'expected models that its consumer may call, found "nova"',
        "",
    ),
    (
        key("[»nova]", groups="[red]") + "consumer_groups: [{name: red, models: [claude]}]",
        "consumers[0].keyauth_credentials[0].models[0]",
        "expected models that its consumer may call",
        "",
    ),
    (
        "plugins: [{name: jwt-auth, config: »{}}]",
        "plugins[0].config.issuers",
        "expected at least one issuer",
        "",
    ),
    (
        jwt_auth(IDP, IDP.replace("a,", "»a,", 1)),
        "plugins[0].config.issuers[1].issuer",
        "the same issuer stands twice: also at plugins[0].config.issuers[0], line 1",
        "",
    ),
    (
        ANN + jwt_auth(f"{IDP}, consumer: »an"),
        "plugins[0].config.issuers[0].consumer",
        'expected the name of a consumer, found "an"',
        "did you mean ann?",
    ),
    (
        jwt_auth(f"{IDP}, consumers: {{x: »bob}}"),
        "plugins[0].config.issuers[0].consumers.x",
        'expected the name of a consumer, found "bob"',
        "",
    ),
    (
        ANN + jwt_auth(IDP).replace("{name: jwt-auth,", "»{name: jwt-auth, consumer: ann,"),
        "plugins[0]",
        '"jwt-auth" may not stand at a consumer',
        "",
    ),
]

GOOD: Final = [
    "consumers: [{username: a, groups: [whatever]}]",
    "consumers: [{username: a, groups: [b]}]\nconsumer_groups: [{name: b, models: [x], tags: [t], id: i}]",
    "consumer_groups: [{name: b, plugins: &a [{name: request-logger}]}, {name: c, plugins: *a}]",
    key("[nova]"),
    key("['claude-*']", models="[claude-3]"),
    ANN + jwt_auth(f"{IDP}, consumer: ann"),
    "consumers:\nconsumer_groups:",
]

SILENT: Final = [
    # What is broken may be the very thing that is meant.
    "consumers: [{username: a, groups: [red]}]\nconsumer_groups: [{nam: red}, {name: blue}]",
    "consumers: [{usrname: ann}]\n" + jwt_auth(f"{IDP}, consumer: ann"),
    jwt_auth("issuer: a"),
]


class TestProblems:
    @pytest.mark.parametrize(("text", "path", "message", "hint"), WRONG)
    def test_they_are_named_where_they_are(self, text: str, path: str, message: str, hint: str) -> None:
        text, where = marked(text)
        (problem,) = examined(text, {"G": "green"}).problems
        assert places((problem,)) == where
        assert problem.path == path
        assert message in problem.message
        assert hint in problem.hint
        assert "green" not in str(problem)

    @pytest.mark.parametrize("text", GOOD)
    def test_what_is_good_is_left_alone(self, text: str) -> None:
        assert said(examined(text).problems) == []

    @pytest.mark.parametrize("text", SILENT)
    def test_nothing_is_said_of_what_a_broken_piece_may_explain(self, text: str) -> None:
        problems = said(examined(text).problems)
        assert problems
        assert not any("expected the name" in one or "at least one issuer" in one for one in problems)


class TestWarnings:
    def test_tokens_guard_the_gateway_too(self) -> None:
        assert said(examined(ANN + jwt_auth(IDP)).warnings) == []

    def test_keys_may_live_in_the_store(self) -> None:
        guarded = "plugins: [{name: api-key-auth}]\n"
        assert any("nobody can get in" in one for one in said(examined(guarded).warnings))
        shared = guarded + "gateway: {store: 'redis://h:6379'}"
        assert not any("nobody can get in" in one for one in said(examined(shared).warnings))
