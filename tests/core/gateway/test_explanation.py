"""Explanations: that what is told is what happens, and that no secret is told.

The oracle of what happens is the bench, which drives a session as a shell does: the explained call must be
the one that the bench's Bedrock receives, byte for byte but for the signature, and the explained answer the
one that its client receives.
"""

import base64
import itertools
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_core.aws.bearer import BearerToken
from stargate_core.aws.credentials import Credentials
from stargate_core.config.bedrock_proxy import AwsCredentials, ModelTarget, ProxyTarget
from stargate_core.config.plugin_configs import ApiKeyAuth, Retry
from stargate_core.config.rate_limiter import RateLimiter
from stargate_core.config.response_cache import ResponseCache
from stargate_core.config.schema import Consumer, Gateway, KeyCredential, PluginEntry, Route, Service
from stargate_core.dialects.face import Reply
from stargate_core.gateway.cache_key import cache_key
from stargate_core.gateway.explanation import Ending, Explanation, Message, NotWhole, explain
from stargate_core.gateway.plan import Plan
from stargate_core.secret import Secret
from support.hooks import entry, plugin_of
from support.machines import (
    LOG,
    MODEL,
    WALL_EPOCH_NS,
    Bench,
    a_config,
    a_plan,
    chat,
    converse,
    proxy,
    request,
)

KEY: Final = "sk-planted-0123456789abcdef"
AWS_SECRET: Final = "planted-aws-secret"
SESSION_TOKEN: Final = "planted-session-token"
BENCH: Final = Credentials("AKIDSTARGATE", Secret("aws-secret"))
CONSUMERS: Final = [
    Consumer(
        username="ann",
        keyauth_credentials=[KeyCredential(key=Secret(KEY), id="laptop")],
        models=["claude", "anthropic.*"],
        groups=["staff"],
    )
]
AUTH: Final = PluginEntry(name="api-key-auth", config=ApiKeyAuth())
CACHE: Final = PluginEntry(name="response-cache", config=ResponseCache())
LIMITER: Final = PluginEntry(name="rate-limiter", config=RateLimiter(minute=10, tokens_per_minute=9_000))
MODELS: Final = {"claude": ModelTarget(MODEL)}


def policed(**members: Any) -> Plan:
    """A plan with keys, limits, a cache and an alias."""
    plugins = [proxy(models=MODELS), LOG, AUTH, LIMITER, CACHE]
    return a_plan(a_config(**{"plugins": plugins, "consumers": CONSUMERS, **members}))


def explained(data: bytes, plan: Plan | None = None, **options: Any) -> Explanation:
    """The explanation at the bench's time, with its credentials and its seed."""
    given = {"wall_ns": WALL_EPOCH_NS, "credentials": BENCH, "seed": 1, "client": "192.0.2.7", **options}
    return explain(plan or a_plan(), data, **given)


def call_of(told: Explanation) -> Message:
    assert told.call is not None
    return told.call


def answer_of(told: Explanation) -> Message:
    assert told.answer is not None
    return told.answer


def states(told: Explanation, phase: str) -> dict[str, str]:
    return {step.plugin: step.state for step in told.plugins if step.phase == phase}


REQUESTS: Final = {
    "chat": chat(),
    "chat stream": chat(stream=True, max_tokens=5),
    "chat with words": chat(messages=[{"role": "user", "content": "Grüße, 世界"}]),
    "converse": converse(),
    "converse stream": converse("converse-stream"),
    "invoke": request(f"/model/{MODEL.replace(':', '%3A')}/invoke", b'{"prompt": "\xc3\xa9"}'),
    "no json": request("/v1/chat/completions", b"{"),
    "no model": request("/v1/chat/completions", b'{"messages": []}'),
    "no such path": request("/v2/chat"),
    "another method": request("/v1/chat/completions", method="GET"),
    "models": request("/v1/models", method="GET"),
    "head of models": request("/v1/models", method="HEAD"),
    "health": request("/healthz", method="GET"),
    "no host": b"GET /model/m/converse HTTP/1.1\r\n\r\n",
}
PLANS: Final = {
    "plain": a_plan(),
    "cached": a_plan(a_config(CACHE)),
    "no proxy": a_plan(a_config(plugins=[LOG])),
    "prefix": a_plan(a_config(plugins=[proxy(endpoint_url="https://proxy.test/aws"), LOG])),
    "reference": a_plan(a_config(gateway=Gateway(http_codec="reference"))),
}


def really(data: bytes, plan: Plan) -> Bench:
    """What the bench makes of it, up to its call."""
    bench = Bench(plan)
    bench.ask(data)
    return bench


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("beta=true&limit=5", "beta=true&limit=5"),
        ("key=sk-1&API_Key=sk-2&a%70ikey=sk-3", "key=…blanked…&API_Key=…blanked…&a%70ikey=…blanked…"),
        (
            "X-Amz-Signature=ab&X-Amz-Date=1&x-amz-security-token=t=u",
            "X-Amz-Signature=…blanked…&X-Amz-Date=1&x-amz-security-token=…blanked…",
        ),
        ("key&=x&&token=", "key&=x&&token=…blanked…"),
        ("", ""),
    ],
)
def test_no_secret_of_a_query_is_shown(query: str, shown: str) -> None:
    told = explained(request(f"/v1/models?{query}", method="GET"))
    assert told.target == f"/v1/models?{shown}"
    assert b"sk-" not in msgspec.json.encode(told)


class TestTruth:
    @pytest.mark.parametrize("plan", PLANS, ids=str)
    @pytest.mark.parametrize("data", REQUESTS, ids=str)
    def test_what_is_told_is_what_happens(self, data: str, plan: str) -> None:
        told = explained(REQUESTS[data], PLANS[plan])
        bench = really(REQUESTS[data], PLANS[plan])
        if bench.asked:
            bench.open()
            head = bench.call.head
            assert told.ending is Ending.SENT
            method, _, url = call_of(told).start.partition(" ")
            assert method.encode() == head.method
            assert url.partition("://")[2].partition("/")[2] == bench.call.target[1:]
            assert call_of(told).body.encode() == bench.call.body
            sent = bench.call.headers
            for name, value in call_of(told).headers:
                if name == "authorization":
                    assert value.partition("Signature=")[0] == sent[name].partition("Signature=")[0]
                else:
                    assert value == sent[name]
            assert {name for name, _ in call_of(told).headers} == sent.keys()
        elif bench.followed:
            [follow] = bench.followed.values()
            assert told.ending is Ending.SENT
            assert told.cache is not None
            assert told.cache.digest == follow.order.key
            assert call_of(told).body.encode() == follow.order.call.body
            assert told == msgspec.structs.replace(
                explained(REQUESTS[data]),
                cache=told.cache,
                plugins=told.plugins,
            )
        else:
            assert told.ending is not Ending.SENT
            answer, only = answer_of(told), bench.only
            assert answer.start.split(" ")[1] == str(only.status)
            assert [(name.encode(), value.encode()) for name, value in answer.headers] == only.headers
            assert answer.body.encode() == only.body
            assert (told.ending is Ending.REFUSED) == (only.status >= 400)

    def test_the_record_of_a_refusal_says_the_same(self) -> None:
        told, record = explained(REQUESTS["no json"]), really(REQUESTS["no json"], a_plan()).record
        assert told.refusal is not None
        assert (told.refusal.cause, told.refusal.code) == (record["cause"], record["code"])
        assert (told.request_id, told.route, told.dialect) == (
            record["request_id"],
            record["route"],
            record["dialect"],
        )

    @given(st.binary(max_size=300), st.booleans())
    def test_whatever_comes_is_explained_or_not_whole(self, data: bytes, has_head: bool) -> None:
        data = request("/v1/chat/completions", data) if has_head else data
        try:
            told = explained(data)
        except NotWhole:
            assert not has_head
        else:
            assert told.ending is Ending.REFUSED or has_head
            msgspec.json.encode(told)


class TestPlaces:
    def test_a_built_in_path(self) -> None:
        told = explained(converse("converse-stream"))
        assert (told.route, told.service, told.place, told.dialect) == (
            "bedrock-native",
            "",
            "",
            "bedrock-native",
        )
        assert told.at == "2027-01-15T08:00:00.000Z"

    def test_a_route_of_a_service_and_its_plugins(self) -> None:
        extra = entry(name="extra")
        route = Route(name="chat", paths=["/team"], dialect="openai_chat", plugins=[extra])
        services = [Service(name="llm", url="http://elsewhere.test:9000", routes=[route])]
        plan = a_plan(a_config(services=services), plugin_of({"access": lambda _: None}, "extra", 2000))
        told = explained(
            request(
                "/team/v1/chat/completions", b'{"model": "m", "messages": [{"role":"user","content":"a"}]}'
            ),
            plan,
        )
        assert (told.service, told.place, told.route) == ("llm", "chat", "chat")
        assert call_of(told).start.startswith("POST http://elsewhere.test:9000/model/m/")
        assert [step.plugin for step in told.plugins if step.phase == "access"] == ["extra", "bedrock-proxy"]
        assert told.plugins[0].priority == 2000


class TestPlugins:
    def test_all_run_where_a_call_is_made(self) -> None:
        told = explained(chat(model="claude", headers={"x-api-key": KEY}), policed())
        assert [(step.phase, step.plugin, step.priority, step.state) for step in told.plugins] == [
            ("access", "api-key-auth", 1250, "ran"),
            ("access", "rate-limiter", 910, "ran"),
            ("access", "bedrock-proxy", 770, "ran"),
            ("access", "response-cache", 100, "ran"),
            ("header_filter", "rate-limiter", 910, "would run"),
            ("header_filter", "response-cache", 100, "would run"),
            ("log", "rate-limiter", 910, "would run"),
            ("log", "request-logger", 9, "would run"),
        ]

    def test_one_that_refuses_is_named(self) -> None:
        told = explained(chat(model="claude", headers={"x-api-key": "another"}), policed())
        assert states(told, "access") == {
            "api-key-auth": "stopped here",
            "rate-limiter": "not reached",
            "bedrock-proxy": "not reached",
            "response-cache": "not reached",
        }
        assert set(states(told, "log").values()) == {"ran"}
        assert told.refusal is not None
        assert (told.refusal.cause, told.refusal.phase, told.refusal.plugin, told.refusal.status) == (
            "KEY_INVALID",
            "access",
            "api-key-auth",
            403,
        )

    @pytest.mark.parametrize("phase", ["rewrite", "access"])
    def test_so_is_one_that_answers(self, phase: str) -> None:
        def answer(ctx: Any) -> None:
            ctx.reply(Reply(200, [(b"x-from", b"probe")], b"here"))

        plan = a_plan(
            a_config(entry(), entry(name="later")),
            plugin_of({phase: answer}),
            plugin_of({"rewrite": lambda _: None, "access": lambda _: None}, "later", 5),
        )
        told = explained(chat(), plan)
        assert told.ending is Ending.ANSWERED
        assert states(told, phase)["probe"] == "stopped here"
        assert states(told, phase)["later"] == "not reached"
        assert answer_of(told).body == "here"

    def test_no_hook_is_blamed_for_what_the_gateway_finds_itself(self) -> None:
        told = explained(request("/nowhere"))
        assert told.refusal is not None
        assert (told.refusal.cause, told.refusal.plugin) == ("ROUTE_UNKNOWN", "")
        assert set(states(told, "access").values()) == {"not reached"}

    def test_rewrite_hooks_are_told_first(self) -> None:
        plan = a_plan(
            a_config(entry()), plugin_of({"rewrite": lambda _: None, "body_filter": lambda _: None})
        )
        told = explained(chat(), plan)
        assert (told.plugins[0].phase, told.plugins[0].state) == ("rewrite", "ran")
        assert states(told, "body_filter") == {"probe": "would run"}

    def test_what_an_operator_would_be_told_is_told(self) -> None:
        plan = a_plan(a_config(entry()), plugin_of({"access": lambda ctx: ctx.note("warning", "beware")}))
        assert explained(chat(), plan).notes == ("warning: probe: beware",)


class TestCallers:
    def test_a_caller_is_named_by_its_key(self) -> None:
        caller = explained(chat(model="claude", headers={"x-api-key": KEY}), policed()).caller
        assert (caller.consumer, caller.key_id, caller.groups, caller.models) == (
            "ann",
            "laptop",
            ("staff",),
            ("claude", "anthropic.*"),
        )

    def test_nobody_is_known_without_a_plugin_that_asks(self) -> None:
        assert explained(chat()).caller.consumer == ""


class TestCalls:
    def test_what_is_asked_for(self) -> None:
        wanted = explained(
            chat(model="claude", stream=True, max_tokens=7, temperature=0.5),
            a_plan(a_config(plugins=[proxy(models=MODELS)])),
        ).wanted
        assert wanted is not None
        assert msgspec.to_builtins(wanted) == {
            "model": "claude",
            "stream": True,
            "operation": "ConverseStream",
            "output_tokens_max": 7,
            "temperature": 0.5,
            "target": MODEL,
        }

    def test_directions_are_told_in_their_order(self) -> None:
        targets = [
            ProxyTarget(region="eu-west-1"),
            ProxyTarget(region="us-west-2", target="us.anthropic.claude-3-haiku-20240307-v1:0", name="west"),
        ]
        models = {"claude": ModelTarget(MODEL, targets=targets)}
        plan = a_plan(a_config(plugins=[proxy(endpoint_url=None, models=models, retry=Retry(count=2))]))
        told = explained(chat(model="claude"), plan)
        assert [(way.region, way.url.partition("/model")[0]) for way in told.ways] == [
            ("eu-west-1", "https://bedrock-runtime.eu-west-1.amazonaws.com"),
            ("us-west-2", "https://bedrock-runtime.us-west-2.amazonaws.com"),
        ]
        assert told.ways[1].name.startswith("west/")
        assert told.repetitions == 2
        assert not told.drawn
        assert "bedrock-runtime.eu-west-1." in call_of(told).start

    def test_a_drawn_order_is_called_one_and_is_the_seeds(self) -> None:
        targets = [ProxyTarget(region="eu-west-1"), ProxyTarget(region="us-west-2")]
        plan = a_plan(a_config(plugins=[proxy(endpoint_url=None, targets=targets, balance="weighted")]))
        told = [explained(chat(), plan, seed=seed) for seed in range(20)]
        assert all(one.drawn for one in told)
        assert {one.ways[0].region for one in told} == {"eu-west-1", "us-west-2"}
        assert all(one.ways[0].region in call_of(one).start for one in told)

    def test_a_list_of_models_goes_nowhere(self) -> None:
        told = explained(request("/v1/models", method="GET"))
        assert (told.ending, told.ways, told.call) == (Ending.ANSWERED, (), None)

    @pytest.mark.parametrize("kept", [False, True])
    def test_a_batch_is_told_by_its_first_call(self, kept: bool) -> None:
        body = {"model": "amazon.titan-embed-text-v2:0", "input": [f"text {number}" for number in range(20)]}
        plan = a_plan(a_config(*[CACHE] * kept))
        told = explained(request("/v1/embeddings", msgspec.json.encode(body)), plan)
        assert (told.ending, call_of(told).times) == (Ending.SENT, 20)
        assert "text 0" in call_of(told).body
        assert (told.cache is not None) == kept

    def test_a_body_that_is_no_text_is_told_in_base64(self) -> None:
        body = b"\xff\xfe"
        headers = {"content-type": "application/octet-stream"}
        told = explained(request(f"/model/{MODEL}/invoke", body, headers=headers))
        assert call_of(told).encoding == "base64"
        assert base64.b64decode(call_of(told).body) == body


class TestLimitsAndCache:
    def test_what_is_taken_is_told_with_what_is_left(self) -> None:
        told = explained(chat(model="claude", max_tokens=100, headers={"x-api-key": KEY}), policed())
        assert [(limit.limit, limit.window_seconds, limit.refused) for limit in told.limits] == [
            (10, 60, False),
            (9_000, 60, False),
        ]
        for limit in told.limits:
            assert limit.remaining == limit.limit - limit.cost
            assert "ann" in limit.bucket
        assert told.limits[1].cost > 100

    def test_what_is_too_much_for_ever_is_refused_and_marked(self) -> None:
        told = explained(chat(model="claude", max_tokens=10_000, headers={"x-api-key": KEY}), policed())
        assert told.refusal is not None
        assert told.refusal.cause == "LIMIT_TOO_SMALL"
        assert [limit.refused for limit in told.limits] == [False, True]

    def test_a_name_in_the_cache_is_told_with_its_parts(self) -> None:
        told = explained(chat(model="claude", headers={"x-api-key": KEY}), policed())
        cache = told.cache
        assert cache is not None
        assert (cache.scope, cache.kept_seconds, cache.joins, cache.models) == (
            "consumer ann",
            300,
            True,
            (MODEL,),
        )
        [follow] = really(
            chat(model="claude"), a_plan(a_config(CACHE, plugins=[proxy(models=MODELS), CACHE]))
        ).followed.values()
        assert cache.digest == cache_key(follow.order.call, MODEL, cache.scope)
        assert cache.body_bytes == len(follow.order.call.body)

    def test_a_caller_that_wants_no_cache_gets_none(self) -> None:
        assert explained(chat(headers={"cache-control": "no-store"}), a_plan(a_config(CACHE))).cache is None


class TestSecrets:
    @pytest.mark.parametrize("plan", [policed(), policed(plugins=[proxy(models=MODELS), LOG, AUTH])])
    def test_none_is_told(self, plan: Plan) -> None:
        credentials = Credentials("AKIDX", Secret(AWS_SECRET), Secret(SESSION_TOKEN))
        told = explained(chat(model="claude", headers={"x-api-key": KEY}), plan, credentials=credentials)
        text = msgspec.json.encode(told).decode()
        assert told.ending is Ending.SENT
        headers = dict(call_of(told).headers)
        assert headers["authorization"].endswith("Signature=…blanked…")
        assert "AKIDX/20270115/us-east-1/bedrock/" in headers["authorization"]
        assert headers["x-amz-security-token"] == "…blanked…"
        for secret in (KEY, AWS_SECRET, SESSION_TOKEN):
            assert secret not in text

    @pytest.mark.parametrize("fixed", [True, False])
    def test_nor_is_an_api_key(self, fixed: bool) -> None:
        api_key = Secret("ABSKplanted")
        if fixed:
            told = explained(chat(), a_plan(a_config(plugins=[proxy(api_key=api_key)])))
            assert told.ways[0].authority == "a Bedrock API key of the configuration"
        else:
            told = explained(chat(), credentials=BearerToken(api_key))
        assert dict(call_of(told).headers)["authorization"] == "Bearer …blanked…"
        assert b"planted" not in msgspec.json.encode(told)

    def test_fixed_credentials_are_named_by_their_id(self) -> None:
        fixed = AwsCredentials(access_key_id="AKIDFIXED", secret_access_key=Secret(AWS_SECRET))
        told = explained(chat(), a_plan(a_config(plugins=[proxy(credentials=fixed)])))
        assert told.ways[0].authority == "the configuration's access key AKIDFIXED"
        assert "Credential=AKIDFIXED/" in dict(call_of(told).headers)["authorization"]
        assert AWS_SECRET.encode() not in msgspec.json.encode(told)

    def test_what_was_said_is_not_in_what_a_debugger_shows(self) -> None:
        told = explained(chat(messages=[{"role": "user", "content": "PLANTED"}]))
        assert "PLANTED" in call_of(told).body
        assert "PLANTED" not in repr(told)


class TestNotWhole:
    @pytest.mark.parametrize("data", [b"", b"POST", converse()[:-1]])
    def test_it_is_said(self, data: bytes) -> None:
        with pytest.raises(NotWhole, match="before it is whole"):
            explained(data)

    def test_every_cut_of_a_request_is_not_whole(self) -> None:
        data = converse()
        for end in itertools.chain(range(0, len(data), 17), [len(data) - 1]):
            with pytest.raises(NotWhole):
                explained(data[:end])


def test_the_answer_is_told_and_not_the_leave_to_go_on() -> None:
    data = request("/nowhere", b"{}", headers={"expect": "100-continue"})
    answer = explained(data).answer
    assert answer is not None
    assert answer.start.startswith("HTTP/1.1 404 ")
