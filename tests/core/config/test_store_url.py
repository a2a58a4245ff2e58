"""The store's URL against redis-py's own reading of it, and what is refused, without a word of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.config.problems import Misfit
from stargate_core.config.store_url import StoreServer, parse_store_url
from stargate_core.secret import Secret

redis_connection = pytest.importorskip("redis.connection", reason="redis-py, the oracle, is not installed")


def parsed(url: str, *, timeout_ms: int = 50, ca: str | None = None, verify: bool = True) -> StoreServer:
    return parse_store_url(Secret(url), timeout_ms=timeout_ms, ca=ca, verify=verify)


class TestAgainstRedisPy:
    @pytest.mark.parametrize(
        "url",
        [
            "redis://h",
            "redis://h/",
            "redis://h:6380/3",
            "redis://127.0.0.1:1",
            "redis://[::1]:6380/1",
            "redis://:secret@h",
            "redis://user:secret@h:6379/0",
            "redis://user:p%40ss%2Fw%3For%23d%25@h",
            "redis://user:p@ss@h",
            "redis://user:with:colon@h",
            "redis://h?db=4",
            "rediss://h:6380",
        ],
    )
    def test_both_read_the_same(self, url: str) -> None:
        theirs = redis_connection.parse_url(url)
        ours = parsed(url)
        password = None if ours.password is None else ours.password.reveal()
        assert ours.host == theirs["host"]
        assert ours.port == theirs.get("port", 6379)
        assert ours.username == theirs.get("username", "")
        assert password == theirs.get("password")
        assert ours.database == theirs.get("db", 0)
        assert ours.tls == ("connection_class" in theirs)

    @given(st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()))
    def test_any_password_that_is_escaped(self, password: str) -> None:
        escaped = "".join(f"%{byte:02X}" for byte in password.encode())
        found = parsed(f"redis://:{escaped}@h").password
        assert found is not None
        assert found.reveal() == password == redis_connection.parse_url(f"redis://:{escaped}@h")["password"]


class TestOptions:
    def test_without_any_the_arguments_count(self) -> None:
        server = parsed("rediss://h", timeout_ms=70, ca="/ca.pem", verify=False)
        assert (server.protocol, server.timeout_ms, server.ca, server.verify) == (3, 70, "/ca.pem", False)

    def test_those_of_the_url_come_first(self) -> None:
        server = parsed("rediss://h/2?protocol=2&timeout_ms=20&ca=%2Fx.pem&verify=true", verify=False)
        assert (server.protocol, server.timeout_ms, server.ca, server.verify) == (2, 20, "/x.pem", True)
        assert server.database == 2


class TestRefusing:
    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("redis:/h", r"expected redis\[s\]://"),
            ("redis://", r"expected redis\[s\]://"),
            ("redis://h:0", "a port from 1 to 65535"),
            ("redis://h:65536", "a port up to 65535"),
            ("redis://h:x", r"expected redis\[s\]://"),
            ("redis://hunter2@h", "expected user:password@"),
            ("redis://user:@h", "expected user:password@"),
            ("redis://:hunter2#@h", r"expected redis\[s\]://"),
            ("redis://:hunter2?@h", r"expected redis\[s\]://"),
            ("redis://:hunter2/@h", r"expected redis\[s\]://"),
            ("redis://hunter2!", "expected a host name"),
            ("redis://[::1", r"expected redis\[s\]://"),
            ("redis://[hunter2]", "expected a host name"),
            ("redis://h/hunter2", "a database's number from 0"),
            ("redis://h/-1", "a database's number from 0"),
            ("redis://h?hunter2", "expected options behind"),
            ("redis://h?hunter2=1", "expected options behind"),
            ("redis://h?protocol=4", "expected protocol=2 or protocol=3"),
            ("redis://h?protocol=2&protocol=3", "each once"),
            ("redis://h?timeout_ms=0", "expected timeout_ms from 1 to 10000"),
            ("redis://h?timeout_ms=50ms", "expected timeout_ms from 1"),
            ("redis://h?verify=no", "expected verify=true or verify=false"),
        ],
    )
    def test_it_says_what_was_expected_and_never_what_was_found(self, url: str, expected: str) -> None:
        with pytest.raises(Misfit, match=expected) as caught:
            parsed(url)
        assert "hunter2" not in f"{caught.value}{caught.value.hint}{caught.value.found}"
        assert caught.value.__cause__ is None

    def test_a_password_is_not_shown(self) -> None:
        assert "hunter2" not in repr(parsed("redis://:hunter2@h"))
