"""Who may come from where: lists, and whose word about an address is taken."""

from typing import Any, Final

import pytest

from stargate_core.config.ip_restriction import IpRestriction
from stargate_core.config.schema import PluginEntry
from support.machines import Answer, Bench, a_config, a_plan, chat, converse, request

LEAD: Final = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}


def bench_from(client: str, **config: Any) -> Bench:
    """A bench whose client has this address."""
    bench = Bench(a_plan(a_config(PluginEntry(name="ip-restriction", config=IpRestriction(**config)))))
    bench.session.client = client
    return bench


def passes(client: str, forwarded: str | None = None, **config: Any) -> bool:
    """Whether who comes from there gets through."""
    bench = bench_from(client, **config)
    bench.ask(chat(headers=None if forwarded is None else {"x-forwarded-for": forwarded}))
    if bench.asked:
        return True
    bench.settle()
    assert (bench.only.status, bench.record["cause"]) == (403, "ADDRESS_FORBIDDEN")
    return False


class TestLists:
    @pytest.mark.parametrize(
        ("config", "client", "through"),
        [
            ({"allow": ["192.0.2.0/24"]}, "192.0.2.7", True),
            ({"allow": ["192.0.2.0/24"]}, "192.0.3.7", False),
            ({"deny": ["192.0.2.0/24"]}, "192.0.2.7", False),
            ({"deny": ["192.0.2.0/24"]}, "192.0.3.7", True),
            ({"allow": ["192.0.2.0/24"], "deny": ["192.0.2.7"]}, "192.0.2.7", False),
            ({"allow": ["192.0.2.0/24"], "deny": ["192.0.2.7"]}, "192.0.2.8", True),
            ({"allow": ["192.0.2.7"]}, "::ffff:192.0.2.7", True),
            ({"deny": ["192.0.2.7"]}, "::ffff:192.0.2.7", False),
            ({"allow": ["2001:db8::/32"]}, "2001:db8::7", True),
            ({"allow": ["fe80::/10"]}, "fe80::7%eth0", True),
            ({"allow": ["unix:"]}, "unix", True),
            ({"allow": ["0.0.0.0/0", "::/0"]}, "unix", False),
            ({"deny": ["192.0.2.7"]}, "unix", True),
            ({"deny": ["192.0.2.7"]}, "asgi", False),
            ({"deny": ["192.0.2.7"]}, "", False),
        ],
    )
    def test_who_gets_through(self, config: dict[str, Any], client: str, through: bool) -> None:
        assert passes(client, **config) == through


class TestProxies:
    PROXY: Final[dict[str, Any]] = {"trusted_proxies": ["10.0.0.0/8"], "allow": ["192.0.2.7"]}

    @pytest.mark.parametrize(
        ("client", "forwarded", "through"),
        [
            ("10.0.0.1", "192.0.2.7", True),
            ("10.0.0.1", "192.0.2.8", False),
            ("10.0.0.1", "192.0.2.7, 10.0.0.2", True),
            ("10.0.0.1", "192.0.2.7:5000", True),
            ("10.0.0.1", "203.0.113.1,::ffff:192.0.2.7", True),
            # What stands left of the first stranger, the stranger has written.
            ("10.0.0.1", "192.0.2.7, 203.0.113.1", False),
            ("10.0.0.1", "192.0.2.7, 203.0.113.1, 10.0.0.2", False),
            # Without a word from it the proxy is the caller, and so is the farthest one.
            ("10.0.0.1", None, False),
            ("10.0.0.1", " ", False),
            ("10.0.0.1", "10.0.0.9, 10.0.0.2", False),
            # Who is no proxy may write what it likes.
            ("203.0.113.1", "192.0.2.7", False),
            ("192.0.2.7", "203.0.113.1", True),
            ("10.0.0.1", "unknown", False),
            ("10.0.0.1", "192.0.2.7,", False),
        ],
    )
    def test_whose_word_is_taken(self, client: str, forwarded: str | None, through: bool) -> None:
        assert passes(client, forwarded, **self.PROXY) == through

    def test_without_trust_the_header_is_nothing(self) -> None:
        assert not passes("203.0.113.1", "192.0.2.7", allow=["192.0.2.7"])

    def test_a_proxy_on_a_unix_socket(self) -> None:
        told: dict[str, Any] = {"trusted_proxies": ["unix:"], "deny": ["192.0.2.7"]}
        assert not passes("unix", "192.0.2.7", **told)
        assert passes("unix", "192.0.2.8", **told)

    def test_what_cannot_be_read_is_refused_where_nobody_else_is(self) -> None:
        assert not passes("10.0.0.1", "nobody", trusted_proxies=["10.0.0.1"], deny=["192.0.2.7"])

    def test_several_lines_are_one(self) -> None:
        bench = bench_from("10.0.0.1", **self.PROXY)
        lines = b"host: x\r\nx-forwarded-for: 203.0.113.1\r\nx-forwarded-for: 192.0.2.7\r\n"
        bench.ask(b"GET /v1/models HTTP/1.1\r\n" + lines + b"\r\n")
        assert bench.only.status == 200


class TestWords:
    def answered(self, sent: bytes, **config: Any) -> Answer:
        bench = bench_from("203.0.113.1", deny=["203.0.113.1"], **config)
        bench.ask(sent)
        return bench.only

    def test_in_each_dialect(self) -> None:
        told = "The address is not allowed: 203.0.113.1"
        error = self.answered(chat()).json["error"]
        assert (error["message"], error["type"], error["code"]) == (told, "permission_error", "FORBIDDEN")
        answer = self.answered(request("/v1/messages", b"{}"))
        assert answer.json["error"] == {"type": "permission_error", "message": told}
        answer = self.answered(converse())
        assert answer.header("x-amzn-errortype") == "AccessDeniedException"
        assert answer.json == {"message": told}
        assert answer.header("x-should-retry") == "false"

    @pytest.mark.parametrize(
        "sent", [chat(), request("/v1/messages", b"{}"), converse()], ids=["o", "a", "b"]
    )
    def test_an_operators_own(self, sent: bytes) -> None:
        answer = self.answered(sent, status=404, message="Nothing is here")
        assert answer.status == 404
        assert b"Nothing is here" in answer.body
        assert b"203.0.113.1" not in answer.body
