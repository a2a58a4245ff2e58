"""What several bedrock-proxy plugins must agree on."""

import pytest

from support.config import examined, marked, places

TWO = """
routes:
  - {{name: r, paths: [/r], plugins: [{{name: bedrock-proxy, config: {{{first}}}}}]}}
plugins:
  - name: bedrock-proxy
    config: {{{second}}}
"""
ARN = "arn:aws:iam::123456789012:role/bedrock"


def problem(first: str, second: str) -> str:
    """The one thing that is wrong with two plugins, at the mark; '' if nothing is."""
    text, marks = marked(TWO.format(first=first, second=second))
    found = examined(text)
    assert places(found.problems) == marks
    return found.problems[0].message if found.problems else ""


class TestAccounts:
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            # The same name and the same thing, or a thing that nobody uses.
            ("profile: p", "profile: p"),
            ("profile: p", "profile: q"),
            ("api_key: k", "credentials: {access_key_id: AKID, secret_access_key: s}"),
            (f"role: {ARN}", f"region: eu-west-1, role: {{arn: {ARN}}}"),
            (f"role: {ARN}", f"profile: p, role: {{arn: {ARN}, external_id: e1}}"),
            (
                f"accounts: {{b: {{role: {ARN}}}}}, targets: [{{account: b}}]",
                f"accounts: {{b: {{role: {ARN}}}}}, targets: [{{account: b}}]",
            ),
            (
                f"accounts: {{b: {{role: {ARN}}}}}, targets: [{{account: b}}]",
                "accounts: {b: {profile: p}}",
            ),
        ],
    )
    def test_names_that_may_stand_beside_each_other(self, first: str, second: str) -> None:
        assert problem(first, second) == ""

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (
                f"accounts: {{b: {{role: {ARN}}}}}, targets: [{{account: b}}]",
                "accounts: {b: »{profile: p}}, targets: [{account: b}]",
            ),
            (
                "accounts: {b: {api_key: k1}}, models: {m: {target: t, account: b}}",
                "accounts: {b: »{api_key: k2}}, models: {m: {target: t, targets: [{account: b}]}}",
            ),
            ("profile: b", "accounts: {b: »{profile: p}}, targets: [{account: b}]"),
        ],
    )
    def test_one_name_for_two_is_refused(self, first: str, second: str) -> None:
        message = problem(first, second)
        assert message.startswith("expected the same authority as at routes[0].plugins[0].config")
        assert message.endswith(", line 3, which has the same name")

    def test_a_role_that_is_assumed_in_two_ways_is_two(self) -> None:
        found = examined(
            f"""
            services:
              - name: s
                plugins: [{{name: bedrock-proxy, config: {{role: {{arn: {ARN}, session_tags: {{a: b}}}}}}}}]
            plugins: [{{name: bedrock-proxy, config: {{role: {ARN}}}}}]
            """
        )
        [wrong] = found.problems
        assert wrong.path in {"plugins[0].config", "services[0].plugins[0].config"}
        assert "the same authority as at" in wrong.message

    def test_an_account_that_no_target_uses_is_probably_forgotten(self) -> None:
        text, marks = marked(
            "plugins: [{name: bedrock-proxy, config: {accounts: {a: {}, b: »{}}, targets: [{account: a}]}}]"
        )
        [warning] = [one for one in examined(text).warnings if "account" in one.message]
        assert places((warning,)) == marks
        assert warning.message == "no target uses this account"


class TestNames:
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("targets: [{name: w, region: eu-west-1}]", "targets: [{name: w, region: eu-west-1}]"),
            (
                "region: eu-west-1, targets: [{name: w}]",
                "models: {m: {target: t, region: eu-west-1, targets: [{name: w}]}}",
            ),
            # Nobody calls the model anywhere but at its region, so this is no place.
            ("targets: [{name: w}]", "targets: [{name: v}], models: {m: {target: t, region: eu-west-1}}"),
        ],
    )
    def test_one_name_for_one_place(self, first: str, second: str) -> None:
        assert problem(first, second) == ""

    @pytest.mark.parametrize(
        "second",
        [
            "targets: [{name: »w, region: eu-west-2}]",
            "targets: [{name: »w, region: eu-west-1, endpoint_url: 'https://h'}]",
            "targets: [{name: »w, region: eu-west-1, account: a}], accounts: {a: {}}",
            "targets: [{name: »w, region: eu-west-1}], profile: p",
            "models: {m: {target: t, targets: [{name: »w}]}}",
        ],
    )
    def test_one_name_for_two_is_refused(self, second: str) -> None:
        message = problem("targets: [{name: w, region: eu-west-1}]", second)
        there = "routes[0].plugins[0].config.targets[0].name, line 3"
        assert message == f'"w" is the name of another place already: {there}'
