"""Web pages that may use the gateway: judged as the Fetch standard has browsers judge.

`Page` is a browser's part of it, written from the standard's algorithms and not from the plugin: CORS check,
preflight fetch, safelists. What it lets a page read is held against what the configuration means.
"""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from stargate_core.config.cors import Cors
from stargate_core.config.plugin_configs import ApiKeyAuth, IpRestriction, RateLimiter, ResponseCache
from stargate_core.config.schema import Consumer, KeyCredential, PluginEntry, Route, Service
from stargate_core.secret import Secret
from support.bedrock import LAST_CHUNK, chunk, converse_answer, converse_story, stream_head
from support.machines import Answer, Bench, a_config, a_plan, chat, request, sse

APP: Final = "https://app.example"
STORY: Final = converse_story()
ANN: Final = Consumer(username="ann", keyauth_credentials=[KeyCredential(key=Secret("key-ann"))])
CHAT: Final = "/v1/chat/completions"
SENT: Final = {"authorization": "Bearer key-ann", "content-type": "application/json"}
READABLE: Final = {"cache-control", "content-language", "content-length", "content-type", "expires"}
"""CORS-safelisted response-header names (Fetch, 2.2.2), but for two that nobody sends."""


def listed(answer: Answer, name: str) -> list[str]:
    """A header's values, however they are spread over lines."""
    lines = [value.decode() for key, value in answer.headers if key == name.encode()]
    return [part.strip() for line in lines for part in line.split(",") if part.strip()]


class Page:
    """A page of an origin, in a browser that keeps the Fetch standard."""

    def __init__(self, origin: str = APP, *, credentials: bool = False) -> None:
        self.origin = origin
        self.credentials = credentials

    def may_read(self, answer: Answer) -> bool:
        """The CORS check (Fetch, 4.9)."""
        origins = listed(answer, "access-control-allow-origin")
        if not origins:
            return False
        assert len(origins) == 1, "two origins are an error to every browser"
        if origins == ["*"]:
            return not self.credentials
        if origins != [self.origin]:
            return False
        return not self.credentials or listed(answer, "access-control-allow-credentials") == ["true"]

    def may_send(self, answer: Answer, method: str, headers: Mapping[str, str]) -> bool:
        """What a CORS-preflight fetch comes to (Fetch, 4.8)."""
        if not (200 <= answer.status <= 299 and self.may_read(answer)):
            return False
        methods = listed(answer, "access-control-allow-methods")
        names = [name.lower() for name in listed(answer, "access-control-allow-headers")]
        star = not self.credentials
        if method not in ("GET", "HEAD", "POST") and method not in methods and not (star and "*" in methods):
            return False
        # No * includes Authorization.
        return all(name in names or (star and "*" in names and name != "authorization") for name in headers)

    def exposed(self, answer: Answer) -> set[str]:
        """The names of the headers that the page may read."""
        return READABLE | {name.lower() for name in listed(answer, "access-control-expose-headers")}

    def preflight(self, path: str = CHAT, method: str = "POST", wanted: str = ",".join(sorted(SENT)),
                  **more: str) -> bytes:  # fmt: skip
        """What a browser asks before."""
        told = {"origin": self.origin, "access-control-request-method": method, **more}
        if wanted:
            told["access-control-request-headers"] = wanted
        return request(path, method="OPTIONS", headers=told)


def a_bench(*others: PluginEntry, places: Mapping[str, Any] | None = None, **config: Any) -> Bench:
    """A gateway for which a key is needed, with cors."""
    cors = PluginEntry(name="cors", config=Cors(**config))
    entries = [cors, PluginEntry(name="api-key-auth", config=ApiKeyAuth()), *others]
    return Bench(a_plan(a_config(*entries, consumers=[ANN], **(places or {}))))


def asked(bench: Bench, sent: bytes) -> Answer:
    """What is answered at once."""
    bench.ask(sent)
    bench.settle()
    assert not bench.asks
    return bench.client.answers[-1]


class TestPreflight:
    @pytest.mark.parametrize("others", [
        (),
        (
            PluginEntry(name="rate-limiter", config=RateLimiter(minute=1)),
            PluginEntry(name="response-cache", config=ResponseCache()),
            PluginEntry(name="ip-restriction", config=IpRestriction(allow=["198.51.100.1"])),
        ),
    ], ids=["alone", "others"])  # fmt: skip
    def test_it_needs_no_key_and_counts_for_nobody(self, others: tuple[PluginEntry, ...]) -> None:
        page = Page()
        bench = a_bench(*others, origins=[APP], max_age=600)
        answer = asked(bench, page.preflight())
        assert (answer.status, answer.body) == (204, b"")
        assert page.may_send(answer, "POST", SENT)
        assert answer.header("access-control-max-age") == "600"
        assert (bench.record["outcome"], bench.record["method"]) == ("complete", "OPTIONS")
        assert "consumer" not in bench.record
        assert bench.notes == []

    @pytest.mark.parametrize(
        ("config", "origin", "credentials", "allowed"),
        [
            ({}, APP, False, True),
            ({}, APP, True, False),
            ({}, "null", False, True),
            ({"origins": [APP]}, APP, False, True),
            ({"origins": [APP]}, APP, True, False),
            ({"origins": [APP], "credentials": True}, APP, True, True),
            ({"origins": [APP]}, "https://app.example:444", False, False),
            ({"origins": [APP + ":443"]}, APP, False, True),
            ({"origins": [APP]}, "http://app.example", False, False),
            ({"origins": [APP]}, "null", False, False),
            ({"origins": ["null"]}, "null", False, True),
            ({"origins": ["https://*.example"]}, APP, False, True),
            ({"origins": ["https://*.example"]}, APP + ".evil.test", False, False),
            ({"origins": ["~https://(app|api)\\.example"]}, APP, False, True),
            ({"origins": ["https://*"]}, "https://" + "a" * 2000, False, False),
        ],
    )
    def test_whose_page(self, config: dict[str, Any], origin: str, credentials: bool, allowed: bool) -> None:
        page = Page(origin, credentials=credentials)
        answer = asked(a_bench(**config), page.preflight())
        assert page.may_send(answer, "POST", SENT) == allowed
        assert answer.status == 204

    @pytest.mark.parametrize(
        ("headers", "allowed"),
        [([], True), (["Authorization", "Content-Type"], True), (["content-type"], False), (["*"], False)],
    )
    def test_which_headers(self, headers: list[str], allowed: bool) -> None:
        page = Page()
        answer = asked(a_bench(headers=headers), page.preflight())
        assert page.may_send(answer, "POST", SENT) == allowed
        assert ("access-control-request-headers" in listed(answer, "vary")) == (not headers)

    def test_without_headers_of_its_own(self) -> None:
        page = Page()
        answer = asked(a_bench(), page.preflight(wanted=""))
        assert page.may_send(answer, "POST", {})
        assert answer.header("access-control-allow-headers") is None

    def test_of_what_is_not_there(self) -> None:
        page = Page()
        for sent, status in ((page.preflight("/nothing"), 404), (page.preflight(method="DELETE"), 405)):
            answer = asked(a_bench(origins=[APP]), sent)
            assert answer.status == status
            assert page.may_read(answer)
            assert not page.may_send(answer, "POST", SENT)

    def test_a_private_network(self) -> None:
        wanted = {"access-control-request-private-network": "true"}
        sent = Page().preflight(**wanted)
        allow = "access-control-allow-private-network"
        assert asked(a_bench(private_network=True), sent).header(allow) == "true"
        assert asked(a_bench(private_network=True), Page().preflight()).header(allow) is None
        assert asked(a_bench(), sent).header(allow) is None

    @pytest.mark.parametrize("missing", ["origin", "access-control-request-method"])
    def test_options_that_is_none(self, missing: str) -> None:
        told = {"origin": APP, "access-control-request-method": "POST"}
        del told[missing]
        answer = asked(a_bench(), request(CHAT, method="OPTIONS", headers=told))
        assert (answer.status, answer.header("allow")) == (405, "POST")

    def test_without_the_plugin_it_is_refused_as_ever(self) -> None:
        bench = Bench(a_plan(a_config()))
        answer = asked(bench, Page().preflight())
        assert (answer.status, answer.header("allow")) == (405, "POST")

    def test_at_a_place_of_its_own(self) -> None:
        cors = PluginEntry(name="cors", config=Cors(origins=[APP]))
        open_route = Route(name="open", paths=["/open"], methods=["POST"], plugins=[cors])
        closed = Route(name="closed", paths=["/closed"])
        service = Service(name="team", routes=[open_route, closed])
        plan = a_plan(a_config(services=[service]))
        page = Page()
        assert page.may_send(asked(Bench(plan), page.preflight("/open" + CHAT)), "POST", SENT)
        refused = asked(Bench(plan), page.preflight("/closed" + CHAT))
        assert (refused.status, page.may_read(refused)) == (405, False)


class TestAnswers:
    def answered(self, bench: Bench, *said: bytes, headers: Mapping[str, str], **members: Any) -> Answer:
        bench.ask(chat(headers=headers, **members))
        if bench.asked:
            bench.open()
            bench.answer(*said)
        bench.settle()
        return bench.only

    def test_a_plain_one_and_what_of_it_may_be_read(self) -> None:
        page = Page(credentials=True)
        bench = a_bench(origins=[APP], credentials=True, exposed_headers=["X-Request-Id"])
        answer = self.answered(bench, converse_answer("Hi."), headers={"origin": APP, **SENT})
        assert answer.status == 200
        assert page.may_read(answer)
        assert page.exposed(answer) == READABLE | {"x-request-id"}
        assert listed(answer, "vary") == ["origin"]

    def test_a_stream(self) -> None:
        bench = a_bench(origins=[APP])
        bench.ask(chat(stream=True, headers={"origin": APP, **SENT}))
        bench.open()
        bench.answer(stream_head(), chunk(STORY.whole), LAST_CHUNK)
        assert sse(bench.only.body)[-1] == "[DONE]"
        assert Page().may_read(bench.only)

    @pytest.mark.parametrize("sent", [{}, {"authorization": "Bearer wrong"}], ids=["none", "wrong"])
    def test_a_refusal_for_want_of_a_key(self, sent: dict[str, str]) -> None:
        answer = self.answered(a_bench(origins=[APP]), headers={"origin": APP, **sent})
        assert answer.status in (401, 403)
        assert Page().may_read(answer)

    def test_a_failure_of_bedrocks(self) -> None:
        said = b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n"
        answer = self.answered(a_bench(), said, headers={"origin": APP, **SENT})
        assert answer.status >= 500
        assert Page().may_read(answer)

    def test_a_strangers_page_is_served_and_may_not_read(self) -> None:
        bench = a_bench(origins=[APP])
        answer = self.answered(bench, converse_answer("Hi."), headers={"origin": "https://evil.test", **SENT})
        assert answer.status == 200
        assert not Page("https://evil.test").may_read(answer)
        # A cache that keeps it must not give it to the page that may.
        assert listed(answer, "vary") == ["origin"]

    def test_without_an_origin_nothing_is_allowed_and_caches_are_told(self) -> None:
        answer = self.answered(a_bench(origins=[APP]), converse_answer("Hi."), headers=SENT)
        assert answer.header("access-control-allow-origin") is None
        assert listed(answer, "vary") == ["origin"]

    def test_any_origin_is_one_answer_for_all(self) -> None:
        answer = self.answered(a_bench(), converse_answer("Hi."), headers={"origin": APP, **SENT})
        assert answer.header("access-control-allow-origin") == "*"
        assert answer.header("vary") is None
