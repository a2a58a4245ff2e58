"""The gateway's block: its defaults, and what it refuses when it is built in code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.addresses import TcpAddress, UnixAddress
from stargate_core.config.gateway_block import (
    Gateway,
    Listener,
    ModelPrice,
    Store,
    TimeLimits,
    UpstreamPool,
    nanoseconds,
)
from stargate_core.config.problems import Misfit
from stargate_core.secret import Secret
from support.config import examined, loaded, marked, places, said


class TestDefaults:
    def test_they_are_the_documented_ones(self) -> None:
        gateway = Gateway()
        assert [listener.address for listener in gateway.listen] == ["127.0.0.1:8080"]
        assert (gateway.store.kind, gateway.workers, gateway.drain_seconds) == ("memory", 1, 30)
        assert gateway.max_body_bytes == 32 * 1024 * 1024
        limits = gateway.time_limits
        assert (limits.connect, limits.pool, limits.first_token, limits.idle, limits.total) == (
            3,
            5,
            60,
            60,
            600,
        )

    def test_they_fit_behind_an_aws_load_balancer(self) -> None:
        # It closes a connection after 60 s of silence, and NAT forgets one after 350 s.
        assert TimeLimits().client_idle > 60
        assert Gateway().keepalive_seconds < 60
        assert UpstreamPool().idle_seconds < 350

    def test_nothing_is_shared_between_two(self) -> None:
        Gateway().listen.append(Listener("127.0.0.1:1"))
        assert len(Gateway().listen) == 1


class TestListener:
    def test_its_address_is_parsed(self) -> None:
        assert Listener("[::1]:80").endpoint == TcpAddress("::1", 80)
        assert Listener("unix:/x").endpoint == UnixAddress("/x")

    def test_a_wrong_one_is_refused_in_code_too(self) -> None:
        with pytest.raises(Misfit, match="address: expected"):
            Listener("8080")
        with pytest.raises(Misfit, match="admin_listen: expected"):
            Gateway(admin_listen="8001")


class TestStore:
    @pytest.mark.parametrize(
        ("url", "kind"),
        [
            ("memory:", "memory"),
            ("redis://h", "redis"),
            ("rediss://u:p@h:6380/1", "rediss"),
            ("redis+cluster://a:1,b:2", "redis+cluster"),
            ("redis+sentinel://a:1/name", "redis+sentinel"),
        ],
    )
    def test_the_kinds(self, url: str, kind: str) -> None:
        assert Store(Secret(url)).kind == kind

    @pytest.mark.parametrize(
        "url",
        ["", "memory", "memory:x", "redis", "redis:", "redis://", "redis:///0", "http://h", "Redis://h"],
    )
    def test_others_are_refused(self, url: str) -> None:
        with pytest.raises(Misfit):
            Store(Secret(url))

    def test_what_stands_beside_the_url_is_the_servers(self) -> None:
        store = Store(Secret("rediss://h"), timeout_ms=20, ca="/ca.pem", verify=False)
        server = store.server
        assert server is not None
        assert (server.timeout_ms, server.ca, server.verify, store.prefix) == (
            20,
            "/ca.pem",
            False,
            "stargate:",
        )

    def test_it_may_be_written_as_a_mapping(self) -> None:
        text = "gateway:\n  store: {url: '${URL}', timeout_ms: 20, prefix: 'mine:', verify: false}\n"
        store = loaded(text, URL="rediss://:hunter2@h").gateway.store
        assert store == Store(Secret("rediss://:hunter2@h"), timeout_ms=20, prefix="mine:", verify=False)

    @pytest.mark.parametrize(
        ("store", "expected"),
        [
            ("»redis://:hunter2@h:x", "expected redis[s]://"),
            ("{url: »'redis://h?hunter2=1'}", "expected options"),
            ("{url: 'redis://h', timeout_ms: »0}", "1"),
            ("{url: 'redis://h', prefix: »'a b'}", "visible ASCII"),
        ],
    )
    def test_what_is_wrong_with_it_is_told_where_it_stands(self, store: str, expected: str) -> None:
        text, where = marked(f"gateway:\n  store: {store}\n")
        found = examined(text).problems
        assert places(found) == where
        assert expected in str(found[0])
        assert "hunter2" not in str(found[0])

    def test_which_are_shared(self) -> None:
        assert not Store().is_shared
        assert Store().server is None
        assert Store(Secret("redis://h")).is_shared

    @pytest.mark.parametrize("url", ["redis://h:0", "redis://h/x", "rediss://h?unknown=1", "redis://user@h"])
    def test_a_servers_url_is_read_when_it_is_checked(self, url: str) -> None:
        with pytest.raises(Misfit):
            Store(Secret(url))

    @pytest.mark.parametrize("url", ["redis+cluster://a:1,b:2", "redis+sentinel://a:1/name"])
    def test_several_servers_are_not_one(self, url: str) -> None:
        store = Store(Secret(url), timeout_ms=20)
        assert store.is_shared
        assert store.server is None
        assert store.cluster is not None
        assert store.cluster.timeout_ms == 20

    def test_one_server_is_not_several(self) -> None:
        assert Store().cluster is Store(Secret("redis://h")).cluster is None

    @pytest.mark.parametrize("url", ["redis+cluster://a", "redis+cluster://a:1/name", "redis+sentinel://a:1"])
    def test_a_clusters_url_is_read_when_it_is_checked(self, url: str) -> None:
        with pytest.raises(Misfit):
            Store(Secret(url))

    def test_a_password_is_not_shown(self) -> None:
        assert "hunter2" not in repr(Store(Secret("redis://:hunter2@h")))
        with pytest.raises(Misfit) as caught:
            Store(Secret("hunter2://h"))
        assert "hunter2" not in f"{caught.value}{caught.value.hint}"


class TestPrices:
    def test_a_model_by_its_name_or_a_glob(self) -> None:
        config = loaded(
            """
            gateway:
              prices:
                anthropic.claude-*: {input: 3, output: 15, cache_read: 0.3, cache_write: 3.75}
                amazon.titan-embed-text-v2:0: {input: 0.02}
            """
        )
        assert config.gateway.prices == {
            "anthropic.claude-*": ModelPrice(input=3, output=15, cache_read=0.3, cache_write=3.75),
            "amazon.titan-embed-text-v2:0": ModelPrice(input=0.02),
        }

    @pytest.mark.parametrize(
        ("price", "message"),
        [
            ("{output: 1}", "input: this setting is required"),
            ("{input: -1}", "input: expected US dollars for a million tokens"),
            ("{input: 3, cached: 1}", "cached: there is no such setting"),
        ],
    )
    def test_a_mistake_is_named(self, price: str, message: str) -> None:
        (problem,) = said(examined(f"gateway: {{prices: {{claude: {price}}}}}").problems)
        assert message in problem


class TestNanoseconds:
    @given(st.integers(1, 86_400_000))
    def test_milliseconds_stay_exact(self, milliseconds: int) -> None:
        assert nanoseconds(milliseconds / 1000) == milliseconds * 1_000_000


@pytest.mark.parametrize(
    "config",
    [
        "cache: {memory_bytes: 1048576, max_entry_bytes: »1048577}",
        "journal: {memory_bytes: 1048576, max_journal_bytes: »1048577}",
    ],
)
def test_one_of_many_is_no_larger_than_all_may_be(config: str) -> None:
    text, marks = marked(f"gateway: {{{config}}}")
    found = examined(text)
    assert places(found.problems) == marks
    assert "expected at most memory_bytes: 1048576" in said(found.problems)[0]
    assert examined(text.replace("1048577", "1048576")).problems == ()
