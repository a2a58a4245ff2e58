"""URLs of Redis Cluster and Sentinel; urllib is the oracle for what percent-encoding means."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.addresses import TcpAddress
from stargate_core.config.clustered_url import HOSTS_MAX, ClusteredUrl, parse_clustered_url
from stargate_core.config.problems import Misfit
from stargate_core.secret import Secret

HOST = TcpAddress("a", 1)


def parsed(url: str) -> ClusteredUrl:
    return parse_clustered_url(Secret(url), timeout_ms=50)


def expected(**fields: Any) -> ClusteredUrl:
    return ClusteredUrl(**{"hosts": (HOST,), "service": None, "timeout_ms": 50} | fields)


class TestParsing:
    @pytest.mark.parametrize(
        ("url", "meant"),
        [
            ("redis+cluster://a:1", expected()),
            ("redis+cluster://a:1/", expected()),
            ("redis+cluster://a:1/0", expected()),
            (
                "redis+cluster://a:1,[::1]:2,10.0.0.1:3",
                expected(hosts=(HOST, TcpAddress("::1", 2), TcpAddress("10.0.0.1", 3))),
            ),
            (
                "redis+cluster://u:p@a:1?tls=true&ca=/ca.pem&names=false&verify=false&timeout_ms=20",
                expected(
                    username="u",
                    password=Secret("p"),
                    tls=True,
                    ca="/ca.pem",
                    names=False,
                    verify=False,
                    timeout_ms=20,
                ),
            ),
            ("redis+sentinel://a:1/my-master", expected(service="my-master")),
            (
                "redis+sentinel://:p@a:1/m/3?sentinel_username=s&sentinel_password=q",
                expected(
                    service="m",
                    database=3,
                    password=Secret("p"),
                    sentinel_username="s",
                    sentinel_password=Secret("q"),
                ),
            ),
        ],
    )
    def test_the_two_forms(self, url: str, meant: ClusteredUrl) -> None:
        assert parsed(url) == meant

    def test_the_url_comes_before_what_stands_beside_it(self) -> None:
        beside: dict[str, Any] = {"timeout_ms": 7, "ca": "/beside", "verify": False}
        url = Secret("redis+cluster://a:1?tls=true")
        assert parse_clustered_url(url, **beside) == expected(tls=True, **beside)
        url = Secret("redis+cluster://a:1?tls=true&timeout_ms=8&ca=/own&verify=true")
        assert parse_clustered_url(url, **beside) == expected(tls=True, timeout_ms=8, ca="/own", verify=True)

    @given(st.text(min_size=1), st.text(min_size=1))
    def test_any_account_passes_encoded(self, username: str, password: str) -> None:
        found = parsed(f"redis+cluster://{quote(username, safe='')}:{quote(password, safe='')}@a:1")
        assert (found.username, found.password) == (username, Secret(password))

    @given(st.text(min_size=1))
    def test_any_sentinel_password_passes_encoded(self, password: str) -> None:
        found = parsed(f"redis+sentinel://a:1/m?{urlencode({'sentinel_password': password})}")
        assert found.sentinel_password == Secret(password)

    def test_nothing_of_a_password_is_shown(self) -> None:
        assert "hunter2" not in repr(parsed("redis+sentinel://u:hunter2@a:1/m?sentinel_password=hunter2"))


class TestRefusal:
    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("redis://a:1", r"expected redis\+cluster:// or redis\+sentinel://"),
            ("redis+cluster://", r"expected redis\+cluster://\[user:password@\]host:port"),
            ("redis+cluster://a", r"host:port"),
            ("redis+cluster://a:0", r"host:port"),
            ("redis+cluster://a:1,", r"host:port"),
            ("redis+cluster://unix:", r"host:port"),
            (f"redis+cluster://{','.join(['a:1'] * (HOSTS_MAX + 1))}", "at most 64 hosts"),
            ("redis+cluster://a:1/1", "no databases"),
            ("redis+cluster://a:1#x", "no #"),
            ("redis+cluster://user@a:1", "user:password@"),
            ("redis+cluster://a:1?sentinel_password=x", "each at most once: timeout_ms, tls, ca"),
            ("redis+cluster://a:1?tls=yes", "tls=true or tls=false"),
            ("redis+cluster://a:1?ca=/x", "tls=true beside"),
            ("redis+cluster://a:1?tls=true&tls=true", "at most once"),
            ("redis+cluster://a:1?tls", "name=value"),
            ("redis+cluster://a:1?timeout_ms=0", "timeout_ms from 1 to 10000"),
            ("redis+cluster://a:1?timeout_ms=1e3", "timeout_ms from 1 to 10000"),
            ("redis+sentinel://a:1", "the service's name"),
            ("redis+sentinel://a:1/", "the service's name"),
            ("redis+sentinel://a:1/a b", "the service's name"),
            ("redis+sentinel://a:1/m/x", "database's number"),
            ("redis+sentinel://a:1/m/99999", "database's number"),
        ],
    )
    def test_what_is_wrong_is_said(self, url: str, said: str) -> None:
        with pytest.raises(Misfit, match=said):
            parsed(url)

    @pytest.mark.parametrize("mark", list("@/?#%:, &="))
    @pytest.mark.parametrize(
        "form", ["redis+cluster://u:{}@a:1", "redis+sentinel://a:1/m?sentinel_password={}"]
    )
    def test_a_password_that_was_not_encoded_is_not_shown(self, form: str, mark: str) -> None:
        try:
            parsed(form.format(f"hunter2{mark}hunter2"))
        except Misfit as misfit:
            assert "hunter2" not in f"{misfit} {misfit.expected} {misfit.found} {misfit.hint}"

    @given(st.text())
    def test_any_text_is_parsed_or_refused(self, text: str) -> None:
        for scheme in ("redis+cluster", "redis+sentinel"):
            try:
                assert parsed(f"{scheme}://{text}").hosts
            except Misfit as misfit:
                assert misfit.expected.startswith("expected")
