"""cors's configuration: which origins are none, what browsers would refuse, and how origins match."""

import pytest

from stargate_core.config.cors import pattern_of_origin, usual_origin
from support.config import examined, marked, places, said

ENTRY = "plugins: [{name: cors, config: {%s}}]"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("origins: [»app.example.com]", "write https://app.example.com"),
        ("origins: ['*', »'https://app.example.com/']", "write https://app.example.com)"),
        ("origins: [»'https://a.example:99999']", "expected an origin: scheme://host"),
        ("origins: [»'https://.*\\.example\\.com']", "write ~https://.*\\.example\\.com if it is a regular"),
        ("origins: [»'~https://(']", "expected a regular expression after ~"),
        ("origins: [»'//']", "expected an origin"),
        ("origins: »[]", "expected at least one origin"),
        ("origins: ['https://a.example', »'*'], credentials: true", "with credentials, browsers take no *"),
        ("origins: ['https://a.example'], headers: [»'*'], credentials: true", "leave headers empty"),
        ("origins: ['https://a.example'], exposed_headers: [»'*'], credentials: true", "exposed_headers by"),
        ("methods: [»FETCH]", "expected"),
        ("methods: »[]", "expected at least one method"),
        ("max_age: »-2", "from -1"),
        ("preflight_continue: »true", "expected false: Bedrock answers no preflight"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_where_it_stands(config: str, problem: str) -> None:
    text, where = marked(ENTRY % config)
    problems = examined(text).problems
    assert places(problems) == where
    assert problem in said(problems)[0]


def test_star_is_the_default_and_goes_with_no_credentials() -> None:
    assert examined(ENTRY % "").problems == ()
    text, where = (
        marked(ENTRY % "credentials: true").text,
        said(examined(ENTRY % "credentials: true").problems),
    )
    assert text
    assert "expected the origins by name" in where[0]


def test_kongs_form() -> None:
    told = examined(
        ENTRY
        % "origins: ['https://*.example.com', 'http://localhost:*', '~https://[a-z]+\\.example', 'null'],"
        "methods: [GET, POST], headers: [authorization, content-type], exposed_headers: [x-request-id],"
        "credentials: true, max_age: 600, private_network: true, allow_origin_absent: false"
    )
    assert told.problems == ()
    assert any("comes from no page" in text for text in said(told.warnings))


@pytest.mark.parametrize(
    ("written", "origin", "matches"),
    [
        ("https://*.example.com", "https://app.example.com", True),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://.example.com", False),
        ("https://*.example.com", "http://app.example.com", False),
        ("https://*.example.com", "https://app.example.com.evil.example", False),
        ("https://*.example.com", "https://app.example.com:8443", False),
        ("https://*.example.com", "https://evil.example/.example.com", False),
        ("https://*.EXAMPLE.com", "https://app.example.com", True),
        ("http://localhost:*", "http://localhost", True),
        ("http://localhost:*", "http://localhost:5173", True),
        ("http://localhost:*", "http://localhost.evil.example", False),
        ("~https://(a|b)\\.example", "https://a.example", True),
        ("~https://(a|b)\\.example", "https://a.example.evil.example", False),
    ],
)
def test_patterns_match_whole_origins(written: str, origin: str, matches: bool) -> None:
    pattern = pattern_of_origin(written)
    assert pattern is not None
    assert (pattern.fullmatch(origin) is not None) == matches


@pytest.mark.parametrize(
    ("written", "usual"),
    [
        ("https://App.Example.com", "https://app.example.com"),
        ("https://a.example:443", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("http://a.example:443", "http://a.example:443"),
        ("tauri://localhost", "tauri://localhost"),
    ],
)
def test_an_origin_as_browsers_write_it(written: str, usual: str) -> None:
    assert pattern_of_origin(written) is None
    assert usual_origin(written) == usual
