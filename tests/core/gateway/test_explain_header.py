"""The explaining header: who gets it, what it says, and where the token goes."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.clock import SECOND
from stargate_core.config.bedrock_proxy import ModelTarget, ProxyTarget
from stargate_core.config.plugin_configs import ApiKeyAuth, Retry
from stargate_core.config.rate_limiter import Limit, RateLimiter
from stargate_core.config.response_cache import ResponseCache
from stargate_core.config.schema import Consumer, Gateway, KeyCredential, PluginEntry, Route, Service
from stargate_core.gateway.explain_header import BYTES_MAX
from stargate_core.gateway.plan import Plan
from stargate_core.limits.buckets import Level, Verdict
from stargate_core.messages import AnswerBegan, AnswerEnded, AnswerSent, Source, Trouble
from stargate_core.secret import Secret
from support.bedrock import (
    LAST_CHUNK,
    aws_error,
    chunk,
    converse_answer,
    converse_story,
    exception,
    stream_head,
)
from support.machines import LOG, MODEL, Answer, Bench, a_config, a_plan, chat, converse, proxy, request

TOKEN: Final = "planted-admin-token"
NAME: Final = "x-stargate-explain"
SHOWN: Final = {NAME: TOKEN}
NATIVE: Final = b'{"messages": [{"role": "user", "content": [{"text": "Hi."}]}]}'
KEY: Final = "sk-planted-0123456789abcdef"
CONSUMERS: Final = [
    Consumer(username="ann", keyauth_credentials=[KeyCredential(key=Secret(KEY), id="laptop")])
]
AUTH: Final = PluginEntry(name="api-key-auth", config=ApiKeyAuth())
CACHE: Final = PluginEntry(name="response-cache", config=ResponseCache())
LIMITER: Final = PluginEntry(name="rate-limiter", config=RateLimiter(minute=10))


def watched(*entries: PluginEntry, token: str | None = TOKEN, **members: Any) -> Plan:
    """A plan of a gateway with an admin's token."""
    gateway = Gateway(admin_token=None if token is None else Secret(token))
    return a_plan(a_config(*entries, gateway=gateway, **members))


def told(answer: Answer) -> dict[str, Any]:
    """What the header says."""
    line = answer.header(NAME)
    assert line is not None
    assert line.isascii()
    assert line.isprintable()
    assert len(line) <= BYTES_MAX
    said: dict[str, Any] = json.loads(line)
    return said


class TestAnswers:
    def test_a_plain_answer_bears_it(self) -> None:
        bench = Bench(watched())
        bench.ask(chat(headers=SHOWN, user="u"))
        bench.open()
        bench.answer(converse_answer())
        assert bench.only.status == 200
        assert told(bench.only) == {
            "request_id": bench.only.header("x-request-id"),
            "generation": 1,
            "route": "openai-chat",
            "service": "",
            "dialect": "openai-chat",
            "plugins": {"access": ["bedrock-proxy"], "log": ["request-logger"]},
            "consumer": "",
            "key_id": "",
            "model": MODEL,
            "stream": False,
            "target": MODEL,
            "surface": "converse",
            "region": "us-east-1",
            "account": "",
            "endpoint": "http://bedrock.test:8000",
            "attempts": 1,
            "tried": [],
            "cache": "",
            "limits": [],
            "cause": "",
            "cut": False,
        }

    @pytest.mark.parametrize(
        "ask", [chat(stream=True, headers=SHOWN), converse("converse-stream", headers=SHOWN)]
    )
    def test_so_does_a_stream(self, ask: bytes) -> None:
        bench = Bench(watched())
        bench.ask(ask)
        bench.open()
        bench.answer(stream_head() + chunk(converse_story().whole) + LAST_CHUNK)
        assert told(bench.only)["stream"]
        assert bench.only.whole

    def test_so_does_a_refusal_before_anything_is_known(self) -> None:
        bench = Bench(watched(AUTH, consumers=CONSUMERS))
        bench.ask(chat(headers={**SHOWN, "x-api-key": "another"}))
        said = told(bench.only)
        assert (bench.only.status, said["cause"], said["target"], said["model"]) == (
            403,
            "KEY_INVALID",
            "",
            "",
        )

    def test_so_does_a_request_for_nothing(self) -> None:
        bench = Bench(watched())
        bench.ask(request("/nowhere", headers=SHOWN))
        assert (told(bench.only)["cause"], told(bench.only)["route"]) == ("ROUTE_UNKNOWN", "")

    def test_so_does_a_list_of_models(self) -> None:
        bench = Bench(watched())
        bench.ask(request("/v1/models", method="GET", headers=SHOWN))
        assert told(bench.only)["dialect"] == "openai-models"

    def test_so_does_bedrocks_error_with_all_that_was_tried(self) -> None:
        targets = [ProxyTarget(region="eu-west-1"), ProxyTarget(region="us-west-2")]
        bench = Bench(watched(plugins=[proxy(targets=targets, retry=Retry(count=1)), LOG]))
        bench.ask(chat(headers=SHOWN))
        bench.refuse(Trouble.REFUSED)
        bench.reply(True)
        bench.open()
        bench.answer(aws_error("ThrottlingException", 429))
        said = told(bench.only)
        assert (bench.only.status, said["cause"], said["region"]) == (429, "UPSTREAM_THROTTLED", "us-west-2")
        assert [one.split(" ")[1] for one in said["tried"]] == ["CONNECT_FAILED", "UPSTREAM_THROTTLED"]

    def test_a_stream_that_fails_later_has_told_what_it_knew(self) -> None:
        bench = Bench(watched())
        bench.ask(chat(stream=True, headers=SHOWN))
        bench.open()
        story = converse_story()
        bench.answer(stream_head() + chunk(story.beginning + story.middle))
        bench.answer(chunk(exception("throttlingException")))
        assert told(bench.only)["cause"] == ""
        assert bench.record["cause"] == "UPSTREAM_THROTTLED"


class TestFacts:
    def test_the_caller_and_the_names(self) -> None:
        plugins = [proxy(models={"claude": ModelTarget(MODEL)}), AUTH]
        bench = Bench(watched(plugins=plugins, consumers=CONSUMERS))
        bench.ask(chat(model="claude", headers={**SHOWN, "x-api-key": KEY}))
        bench.open()
        bench.answer(converse_answer())
        said = told(bench.only)
        assert (said["consumer"], said["key_id"], said["model"], said["target"]) == (
            "ann",
            "laptop",
            "claude",
            MODEL,
        )
        assert KEY not in json.dumps(said)

    @pytest.mark.parametrize("allowed", [True, False])
    def test_limits_and_what_is_left_of_them(self, allowed: bool) -> None:
        bench = Bench(watched(LIMITER))
        bench.ask(chat(headers=SHOWN))
        bench.reply(Verdict(allowed, 0, (Level(3, 0),), refused=-1 if allowed else 0))
        if allowed:
            bench.open()
            bench.answer(converse_answer())
        [limit] = told(bench.only)["limits"]
        assert (limit["limit"], limit["cost"], limit["remaining"]) == (10, 1, 3)
        assert told(bench.only)["cause"] == ("" if allowed else "RATE_LIMITED")

    @pytest.mark.parametrize(
        ("source", "word"), [(Source.KEPT, "hit"), (Source.MADE, "miss"), (Source.JOINED, "coalesced")]
    )
    def test_what_the_cache_had_to_do_with_it(self, source: Source, word: str) -> None:
        bench = Bench(watched(CACHE))
        bench.ask(chat(headers=SHOWN))
        [ticket] = bench.followed
        head, _, body = converse_answer().partition(b"\r\n\r\n")
        assert head
        bench.tell(AnswerBegan(ticket, source, [(b"content-type", b"application/json")]))
        bench.tell(AnswerSent(ticket, body))
        bench.tell(AnswerEnded(ticket))
        del bench.followed[ticket]
        assert told(bench.only)["cache"] == word

    def test_a_cache_that_was_not_asked(self) -> None:
        bench = Bench(watched(CACHE))
        bench.ask(chat(headers={**SHOWN, "cache-control": "no-store"}))
        bench.open()
        bench.answer(converse_answer())
        assert told(bench.only)["cache"] == "bypass"


class TestWhoGetsIt:
    @pytest.mark.parametrize(
        ("token", "shown"),
        [
            (TOKEN, {}),
            (TOKEN, {NAME: ""}),
            (TOKEN, {NAME: TOKEN[:-1]}),
            (TOKEN, {NAME: TOKEN + "x"}),
            (TOKEN, {NAME: TOKEN.upper()}),
            (TOKEN, {"authorization": f"Bearer {TOKEN}"}),
            (None, SHOWN),
            ("", {NAME: ""}),
            ("", SHOWN),
        ],
    )
    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/nowhere"])
    def test_nobody_else(self, token: str | None, shown: dict[str, str], path: str) -> None:
        """And nothing says whether there is a token."""
        answers = []
        for headers in (shown, {}):
            bench = Bench(watched(token=token))
            bench.ask(request(path, b"{}", headers=headers))
            answers.append(
                (bench.only.status, bench.only.headers, bench.only.body, bench.records, bench.notes)
            )
        assert answers[0] == answers[1]
        assert NAME.encode() not in dict(answers[0][1])

    def test_a_token_of_any_script_is_known(self) -> None:
        bench = Bench(watched(token="schlüssel"))
        data = request("/nowhere", headers={NAME: "TOKEN"}).replace(b"TOKEN", "schlüssel".encode())
        bench.ask(data)
        assert told(bench.only)

    @given(st.binary(min_size=1, max_size=60))
    def test_whatever_is_shown_is_survived(self, shown: bytes) -> None:
        bench = Bench(watched())
        bench.send(request("/nowhere", headers={NAME: "TOKEN"}).replace(b"TOKEN", shown))


class TestWhereTheTokenGoes:
    @pytest.mark.parametrize("entries", [(), (CACHE,)], ids=["alone", "shared"])
    @pytest.mark.parametrize("ask", [chat(headers=SHOWN), converse(headers=SHOWN)], ids=["chat", "converse"])
    @pytest.mark.parametrize("token", [TOKEN, "another"])
    def test_nowhere(self, entries: tuple[PluginEntry, ...], ask: bytes, token: str) -> None:
        bench = Bench(watched(*entries, token=token))
        bench.ask(ask)
        if entries:
            [follow] = bench.followed.values()
            assert TOKEN.encode() not in b"".join(value for _, value in follow.order.call.headers)
            return
        bench.open()
        bench.answer(converse_answer())
        assert NAME not in bench.call.headers
        assert TOKEN not in str(bench.call.headers)
        assert TOKEN not in str(bench.only.headers)
        assert TOKEN not in str((bench.records, bench.notes))


class TestBounds:
    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=2_048))
    def test_it_is_ascii_and_bounded_whatever_the_name(self, model: str) -> None:
        bench = Bench(watched())
        bench.ask(chat(model=model, headers=SHOWN))
        if bench.asked:
            bench.open()
            bench.answer(converse_answer())
        said = told(bench.only)
        assert said["model"] == model or (said["cut"] and model.startswith(said["model"]))
        assert said["request_id"] == bench.only.header("x-request-id")

    @pytest.mark.parametrize("model", ["m", "\u4e16" * 600])
    def test_of_many_limits_at_least_some_are_told(self, model: str) -> None:
        limits = [Limit(unit="requests", limit=10 * number, window=number) for number in range(1, 17)]
        limiter = PluginEntry(name="rate-limiter", config=RateLimiter(limits=limits))
        bench = Bench(watched(limiter))
        bench.ask(chat(model=model, headers=SHOWN))
        bench.reply(Verdict(True, 0, tuple(Level(number, 0) for number in range(16))))
        bench.open()
        bench.answer(converse_answer())
        said = told(bench.only)
        assert said["limits"][1]["remaining"] == 1
        assert said["cut"] == (len(said["limits"]) < 16) == (len(model) > 1)

    def test_the_longest_names_leave_the_whole_within_bounds(self) -> None:
        name = "\U0001f600" * 250
        consumers = [
            Consumer(username=name, keyauth_credentials=[KeyCredential(key=Secret(KEY), id=name * 10)])
        ]
        plugins = [proxy(), AUTH, LIMITER, LOG]
        bench = Bench(watched(plugins=plugins, consumers=consumers))
        bench.ask(chat(model="x" * 2_048, headers={**SHOWN, "x-api-key": KEY}))
        bench.reply(Verdict(True, 0, (Level(3, 0),)))
        bench.open()
        bench.answer(converse_answer())
        said = told(bench.only)
        assert said["cut"]
        assert name.startswith(said["consumer"])
        assert said["consumer"]

    def test_where_nothing_else_fits_the_lists_are_left_out(self) -> None:
        name = "\U0001f600" * 250
        consumers = [Consumer(username=name, keyauth_credentials=[KeyCredential(key=Secret(KEY), id=name)])]
        limits = [Limit(unit="requests", limit=10 * number, window=number) for number in range(1, 17)]
        limiter = PluginEntry(name="rate-limiter", config=RateLimiter(limits=limits))
        services = [Service(name=name, routes=[Route(name=name, paths=["/v1"], strip_path=False)])]
        plugins = [proxy(), AUTH, limiter, LOG]
        bench = Bench(watched(plugins=plugins, consumers=consumers, services=services))
        bench.ask(chat(model=name, headers={**SHOWN, "x-api-key": KEY}))
        bench.reply(Verdict(True, 0, tuple(Level(number, 0) for number in range(16))))
        bench.open()
        bench.answer(converse_answer())
        said = told(bench.only)
        assert (said["cut"], said["limits"], said["plugins"]["access"]) == (True, [], [])
        assert said["consumer"] == name[:16]
        assert said["request_id"] == bench.only.header("x-request-id")


class TestCost:
    def costs(self, bench: Bench) -> tuple[str | None, str | None]:
        """What the answer says it has cost, and whether that is an estimate."""
        return bench.only.header("x-stargate-cost-usd"), bench.only.header("x-stargate-cost-estimated")

    @pytest.mark.parametrize(
        ("model", "estimated"), [("anthropic.claude-3-haiku-20240307-v1:0", None), ("some.model", "true")]
    )
    @pytest.mark.parametrize("api", ["openai", "native"])
    def test_a_whole_answer_says_what_the_log_does(self, model: str, estimated: str | None, api: str) -> None:
        bench = Bench(watched(LOG))
        native = request(f"/model/{model}/converse", NATIVE, headers=SHOWN)
        bench.ask(chat(model=model, headers=SHOWN) if api == "openai" else native)
        bench.open()
        bench.answer(converse_answer("Hello."))
        cost, told_estimated = self.costs(bench)
        assert cost is not None
        assert float(cost) == pytest.approx(bench.record["cost_usd"], abs=1e-12)
        assert float(cost) > 0
        assert "e" not in cost
        assert told_estimated == estimated

    def test_a_refusal_costs_nothing(self) -> None:
        bench = Bench(watched(LOG, AUTH, consumers=CONSUMERS))
        bench.ask(chat(headers=SHOWN))
        assert (bench.only.status, *self.costs(bench)) == (401, "0.000000000", None)

    def test_a_failure_says_what_bedrock_has_worked_for(self) -> None:
        bench = Bench(watched(LOG))
        bench.ask(chat(model=MODEL, headers=SHOWN))
        bench.open()
        bench.advance(1000 * SECOND)
        assert bench.only.status == 504
        cost, _ = self.costs(bench)
        assert float(cost or 0) == pytest.approx(bench.record.get("cost_usd", 0.0), abs=1e-12)

    def test_of_a_stream_it_is_not_known_yet(self) -> None:
        bench = Bench(watched(LOG))
        bench.ask(chat(stream=True, headers=SHOWN))
        bench.open()
        bench.answer(stream_head() + chunk(converse_story(("One.",)).whole) + LAST_CHUNK)
        assert bench.only.header(NAME) is not None
        assert self.costs(bench) == (None, None)
        assert bench.record["cost_usd"] > 0

    @pytest.mark.parametrize("headers", [{}, {NAME: "wrong"}])
    def test_others_are_told_nothing(self, headers: dict[str, str]) -> None:
        bench = Bench(watched(LOG))
        bench.ask(chat(headers=headers))
        bench.open()
        bench.answer(converse_answer("Hello."))
        assert self.costs(bench) == (None, None)

    @pytest.mark.parametrize(
        ("source", "paid"), [(Source.KEPT, False), (Source.JOINED, False), (Source.MADE, True)]
    )
    def test_an_answer_that_was_not_made_for_it_costs_nothing(self, source: Source, paid: bool) -> None:
        bench = Bench(watched(LOG, CACHE))
        bench.ask(chat(headers=SHOWN))
        [ticket] = bench.followed
        body = converse_answer().partition(b"\r\n\r\n")[2]
        bench.tell(AnswerBegan(ticket, source, [(b"content-type", b"application/json")]))
        bench.tell(AnswerSent(ticket, body))
        bench.tell(AnswerEnded(ticket))
        del bench.followed[ticket]
        cost, estimated = self.costs(bench)
        assert (float(cost or 0) > 0, estimated) == (paid, None)
        assert float(cost or 0) == pytest.approx(bench.record["cost_usd"], abs=1e-12)
