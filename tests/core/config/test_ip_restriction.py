"""ip-restriction's configuration: what is wrong with it is named, where it stands."""

import pytest

from support.config import examined, marked, places, said

ENTRY = "plugins: [{name: ip-restriction, config: {%s}}]"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("allow: [192.0.2.0/24, »10.0.0.1/8]", "(write 10.0.0.0/8, or the address alone)"),
        ("deny: [»nowhere]", "expected an IP address, a network like 10.0.0.0/8, or unix:, found"),
        ("deny: ['::1'], trusted_proxies: [»10.0.*.*]", "(write 10.0.0.0/16)"),
        ("deny: ['::1'], status: »200", "from 400 to 599"),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(config: str, problem: str) -> None:
    text, where = marked(ENTRY % config)
    problems = examined(text).problems
    assert places(problems) == where
    assert problem in said(problems)[0]


def test_without_a_list_it_would_do_nothing() -> None:
    assert "expected allow or deny" in said(examined(ENTRY % "").problems)[0]


def test_kongs_form() -> None:
    text = ENTRY % "allow: [10.0.0.0/8, 'unix:'], deny: [10.1.2.3], status: 404, message: no"
    assert examined(text).problems == ()


def test_kongs_name_leads_here() -> None:
    said_of_it = said(examined("plugins: [{name: ip-restriction-x}]").problems)[0]
    assert "did you mean ip-restriction?" in said_of_it
